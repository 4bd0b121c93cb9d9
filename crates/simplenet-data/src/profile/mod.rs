//! What the photographs are like that a model was trained on, and how another one differs from them.
//!
//! In: the [`ImageTraits`] of many photographs, in any order. Out: an [`ImageProfile`], which travels in the model file,
//! and [`ImageProfile::differences`], none for a photograph like them. No verdict depends on it.

mod difference;
mod spread;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use self::difference::{Difference, DifferenceCount, DifferenceCounts, Trait};
pub use self::spread::Spread;
use self::spread::{margin, range, shown};
use crate::traits::{FileTraits, ImageTraits, rounded};

/// Sizes that a profile lists; of more it keeps the ranges.
const MOST_SIZES: usize = 16;
/// Up to so many sizes are those of cameras, and another one is another camera's; more are those of cut-outs.
const CAMERA_SIZES: usize = 3;
/// By this fraction sides may differ from a camera's size, and the aspect from those that were seen.
const SAME_SIDE: f64 = 0.02;
/// By this fraction the sides of cut-outs may lie outside the range of those that were seen.
const CUT_OUT_SIDE: f64 = 0.10;
/// Below so many images their spread is hardly known, and the least margins are doubled.
const FEW: usize = 10;

/// What the images that a model was trained on are like. Tests hold that it does not depend on their order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ImageProfile {
    /// How many images.
    pub images: usize,
    /// Sizes and how many images have each; empty where there are more than sixteen.
    pub sizes: Vec<SizeCount>,
    /// Least and greatest width.
    pub width: [u32; 2],
    /// Least and greatest height.
    pub height: [u32; 2],
    /// Least and greatest width over height.
    pub aspect: [f32; 2],
    /// Formats of the files and how many have each.
    pub formats: BTreeMap<String, usize>,
    /// Bits per channel in the files and how many have each.
    pub bits: BTreeMap<u8, usize>,
    /// How many images have samples outside the range that the options name.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub outside_range: usize,
    /// How many images have colour; the others are gray.
    pub colour: usize,
    /// Of [`ImageTraits::brightness`].
    pub brightness: Spread,
    /// Of [`ImageTraits::contrast`].
    pub contrast: Spread,
    /// Of [`ImageTraits::sharpness`], where any image has one.
    pub sharpness: Option<Spread>,
}

fn is_zero(count: &usize) -> bool {
    *count == 0
}

/// A size in pixels, and how many images have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SizeCount {
    /// Pixels across.
    pub width: u32,
    /// Pixels down.
    pub height: u32,
    /// Images.
    pub images: usize,
}

impl ImageProfile {
    /// Of these images; none of none.
    pub fn of<'a>(images: impl IntoIterator<Item = &'a ImageTraits>) -> Option<Self> {
        let images: Vec<&ImageTraits> = images.into_iter().collect();
        let mut sizes: BTreeMap<(u32, u32), usize> = BTreeMap::new();
        let (mut formats, mut bits) = (BTreeMap::new(), BTreeMap::new());
        for image in &images {
            *sizes.entry((image.width, image.height)).or_default() += 1;
            if let Some(file) = &image.file {
                *formats.entry(file.format.clone()).or_default() += 1;
                *bits.entry(file.bits).or_default() += 1;
            }
        }
        let range = |of: fn(&ImageTraits) -> u32| {
            let values = images.iter().map(|image| of(image));
            Some([values.clone().min()?, values.max()?])
        };
        let aspects = || images.iter().map(|image| rounded(aspect(image)));
        let mut listed = vec![];
        if sizes.len() <= MOST_SIZES {
            listed.extend(sizes.into_iter().map(|((width, height), images)| SizeCount {
                width,
                height,
                images,
            }));
        }
        Some(Self {
            images: images.len(),
            sizes: listed,
            width: range(|image| image.width)?,
            height: range(|image| image.height)?,
            aspect: [aspects().min_by(f32::total_cmp)?, aspects().max_by(f32::total_cmp)?],
            formats,
            bits,
            outside_range: images.iter().filter(|image| outside(image) > 0).count(),
            colour: images.iter().filter(|image| image.colour).count(),
            brightness: Spread::of(images.iter().map(|image| image.brightness))?,
            contrast: Spread::of(images.iter().map(|image| image.contrast))?,
            sharpness: Spread::of(images.iter().filter_map(|image| image.sharpness)),
        })
    }

    /// In what a photograph differs from these images by more than they do from one another.
    pub fn differences(&self, image: &ImageTraits) -> Vec<Difference> {
        let file = image.file.as_ref();
        let few = self.images < FEW;
        let measure = |kind: Trait, value: f32, spread: &Spread| {
            let [low, high] = spread.limits(margin(kind, few));
            (!(low..=high).contains(&value)).then(|| Difference {
                kind,
                found: shown(kind, value),
                trained_on: spread.shown(kind),
            })
        };
        let sharpness = image.sharpness.zip(self.sharpness.as_ref());
        [
            self.size(image),
            self.aspect(image),
            file.and_then(|file| self.format(file)),
            file.and_then(|file| self.bits(file)),
            self.range(image),
            self.colour(image),
            measure(Trait::Brightness, image.brightness, &self.brightness),
            measure(Trait::Contrast, image.contrast, &self.contrast),
            sharpness.and_then(|(value, spread)| measure(Trait::Sharpness, value, spread)),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// A name and a text for each thing that is known, for people.
    pub fn describe(&self) -> Vec<(&'static str, String)> {
        let measure = |kind: Trait, spread: &Spread| {
            format!("{}, median {}", spread.shown(kind), { shown(kind, spread.median) })
        };
        let mut rows = vec![("size", self.shown_sizes())];
        if !self.formats.is_empty() {
            rows.push(("format", counted(&self.formats, |name| name.clone())));
            rows.push(("bit depth", counted(&self.bits, |bits| format!("{bits} bits"))));
        }
        rows.push(("colour", self.shown_colour()));
        rows.push(("brightness", measure(Trait::Brightness, &self.brightness)));
        rows.push(("contrast", measure(Trait::Contrast, &self.contrast)));
        rows.extend(self.sharpness.iter().map(|spread| ("sharpness", measure(Trait::Sharpness, spread))));
        rows
    }

    fn size(&self, image: &ImageTraits) -> Option<Difference> {
        let near = |side: u32, seen: u32| {
            let [side, seen] = [side, seen].map(f64::from);
            (side - seen).abs() <= SAME_SIDE * seen
        };
        let within = |side: u32, [least, greatest]: [u32; 2]| {
            let [side, least, greatest] = [side, least, greatest].map(f64::from);
            ((1.0 - CUT_OUT_SIDE) * least..=(1.0 + CUT_OUT_SIDE) * greatest).contains(&side)
        };
        let fits = if (1..=CAMERA_SIZES).contains(&self.sizes.len()) {
            self.sizes.iter().any(|seen| near(image.width, seen.width) && near(image.height, seen.height))
        } else {
            within(image.width, self.width) && within(image.height, self.height)
        };
        (!fits).then(|| Difference {
            kind: Trait::Size,
            found: format!("{} x {} pixels", image.width, image.height),
            trained_on: self.shown_sizes(),
        })
    }

    fn aspect(&self, image: &ImageTraits) -> Option<Difference> {
        let [least, greatest] = self.aspect.map(f64::from);
        let found = aspect(image);
        let fits = ((1.0 - SAME_SIDE) * least..=(1.0 + SAME_SIDE) * greatest).contains(&found);
        (!fits).then(|| Difference {
            kind: Trait::Aspect,
            found: shown(Trait::Aspect, rounded(found)),
            trained_on: range(Trait::Aspect, self.aspect),
        })
    }

    fn format(&self, file: &FileTraits) -> Option<Difference> {
        let class = loses(&file.format);
        let seen = self.formats.keys().any(|format| loses(format) == class);
        (!seen && !self.formats.is_empty()).then(|| Difference {
            kind: Trait::Format,
            found: file.format.clone(),
            trained_on: counted(&self.formats, |name| name.clone()),
        })
    }

    fn bits(&self, file: &FileTraits) -> Option<Difference> {
        let class = file.bits > 8;
        let seen = self.bits.keys().any(|&bits| (bits > 8) == class);
        (!seen && !self.bits.is_empty()).then(|| Difference {
            kind: Trait::BitDepth,
            found: format!("{} bits", file.bits),
            trained_on: counted(&self.bits, |bits| format!("{bits} bits")),
        })
    }

    fn range(&self, image: &ImageTraits) -> Option<Difference> {
        let found = outside(image);
        (found > 0 && self.outside_range == 0).then(|| Difference {
            kind: Trait::Range,
            found: format!("{found} values outside the model's bit depth"),
            trained_on: "none".into(),
        })
    }

    fn colour(&self, image: &ImageTraits) -> Option<Difference> {
        let seen = if image.colour { self.colour > 0 } else { self.colour < self.images };
        (!seen).then(|| Difference {
            kind: Trait::Colour,
            found: if image.colour { "colour" } else { "gray" }.into(),
            trained_on: self.shown_colour(),
        })
    }

    fn shown_sizes(&self) -> String {
        let [from, to] = [0, 1].map(|end| format!("{} x {}", self.width[end], self.height[end]));
        match self.sizes.as_slice() {
            [one] => format!("{} x {}", one.width, one.height),
            few if (1..=CAMERA_SIZES).contains(&few.len()) => {
                let each =
                    few.iter().map(|size| format!("{} x {} ({})", size.width, size.height, size.images));
                each.collect::<Vec<_>>().join(", ")
            }
            _ => format!("{from} to {to}"),
        }
    }

    fn shown_colour(&self) -> String {
        match self.images - self.colour.min(self.images) {
            0 => "colour".into(),
            gray if gray == self.images => "gray".into(),
            gray => format!("colour ({}), gray ({gray})", self.colour),
        }
    }
}

fn aspect(image: &ImageTraits) -> f64 {
    f64::from(image.width) / f64::from(image.height.max(1))
}

fn outside(image: &ImageTraits) -> u64 {
    image.file.as_ref().map_or(0, |file| file.outside_range)
}

/// How files of a format lose fine detail: in JPEG's way, perhaps in WebP's, or not at all.
fn loses(format: &str) -> u8 {
    match format {
        "JPEG" => 1,
        "WebP" => 2,
        _ => 0,
    }
}

/// `PNG`, or `JPEG (3), PNG (97)`.
fn counted<K>(counts: &BTreeMap<K, usize>, name: impl Fn(&K) -> String) -> String {
    let mut each: Vec<String> =
        counts.iter().map(|(key, count)| format!("{} ({count})", name(key))).collect();
    match counts.keys().next() {
        Some(only) if counts.len() == 1 => name(only),
        _ => {
            each.sort();
            each.join(", ")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::traits::tests::{changed, part};
    use image::imageops::{self, FilterType};
    use image::{Rgb, RgbImage};

    fn png(pixels: &RgbImage) -> ImageTraits {
        ImageTraits::of_file(pixels, FileTraits::new("PNG", 8))
    }

    /// Twelve parts of 320 x 320 pixels, each in a light of its own.
    fn trained() -> Vec<ImageTraits> {
        let light = |seed: u64| 0.98 + 0.004 * (seed * 7 % 11) as f32;
        (0..12).map(|seed| png(&changed(&part(320, seed), |v| light(seed) * v))).collect()
    }

    fn kinds(profile: &ImageProfile, image: &ImageTraits) -> Vec<Trait> {
        profile.differences(image).into_iter().map(|difference| difference.kind).collect()
    }

    #[test]
    fn each_kind_is_noted_and_another_part_of_the_same_camera_is_not() {
        let profile = ImageProfile::of(&trained()).unwrap();
        let image = part(320, 99);
        let gray = RgbImage::from_fn(320, 320, |x, y| Rgb([image.get_pixel(x, y)[1]; 3]));
        let scaled = |side: u32, image: &RgbImage| imageops::resize(image, side, side, FilterType::Triangle);
        let stretched = imageops::resize(&image, 320, 240, FilterType::Triangle);
        let file = |format: &str, bits| ImageTraits::of_file(&image, FileTraits::new(format, bits));
        let mut beyond = FileTraits::new("PNG", 16);
        beyond.outside_range = 7;
        let cases: [(&str, ImageTraits, &[Trait]); 17] = [
            ("another part", png(&image), &[]),
            ("pixels alone", ImageTraits::of(&image), &[]),
            ("a pixel more", png(&part(321, 99)), &[]),
            ("lossless", file("TIFF", 8), &[]),
            ("JPEG", file("JPEG", 8), &[Trait::Format]),
            ("16 bits", file("PNG", 16), &[Trait::BitDepth]),
            ("WebP", file("WebP", 8), &[Trait::Format]),
            ("above white", ImageTraits::of_file(&image, beyond), &[Trait::BitDepth, Trait::Range]),
            ("gray", png(&gray), &[Trait::Colour]),
            ("larger", png(&scaled(640, &image)), &[Trait::Size, Trait::Sharpness]),
            ("smaller", png(&scaled(160, &image)), &[Trait::Size]),
            ("stretched", png(&stretched), &[Trait::Size, Trait::Aspect]),
            ("enlarged again", png(&scaled(320, &scaled(160, &image))), &[Trait::Sharpness]),
            ("blurred", png(&imageops::blur(&image, 1.0)), &[Trait::Sharpness]),
            ("brighter", png(&changed(&image, |v| v + 30.0)), &[Trait::Brightness]),
            ("darker", png(&changed(&image, |v| 0.75 * v)), &[Trait::Brightness, Trait::Contrast]),
            ("softer", png(&changed(&image, |v| 150.0 + 0.7 * (v - 150.0))), &[Trait::Contrast]),
        ];
        for (what, traits, want) in cases {
            let found = kinds(&profile, &traits);
            assert!(want.iter().all(|kind| found.contains(kind)), "{what}: {found:?}, expected {want:?}");
            // Resizing changes more than the size, depending on what is seen.
            let exact = !["larger", "smaller", "stretched"].contains(&what);
            assert!(!exact || found == want, "{what}: {:?}", profile.differences(&traits));
        }
    }

    #[test]
    fn what_was_seen_is_no_difference_whatever_the_spread() {
        let mut images = trained();
        images.push(png(&changed(&part(320, 50), |v| 0.5 * v)));
        images.push(ImageTraits::of_file(&part(200, 51), FileTraits::new("JPEG", 8)));
        let profile = ImageProfile::of(&images).unwrap();
        for (i, image) in images.iter().enumerate() {
            assert_eq!(profile.differences(image), [], "image {i}");
        }
        assert_eq!(profile.describe()[0], ("size", "200 x 200 (1), 320 x 320 (13)".to_string()));
        assert_eq!(profile.describe()[1], ("format", "JPEG (1), PNG (13)".to_string()));
    }

    #[test]
    fn cut_outs_of_many_sizes_have_a_range() {
        let of = |width, height| ImageTraits { width, height, ..png(&part(64, 1)) };
        let images: Vec<ImageTraits> = (0..20).map(|i| of(100 + 5 * i, 200 - 2 * i)).collect();
        let profile = ImageProfile::of(&images).unwrap();
        assert!(profile.sizes.is_empty());
        assert_eq!(kinds(&profile, &of(133, 171)), []);
        assert_eq!(kinds(&profile, &of(92, 185)), []);
        assert_eq!(kinds(&profile, &of(266, 342)), [Trait::Size]);
        assert_eq!(kinds(&profile, &of(200, 150)), [Trait::Aspect]);
    }

    #[test]
    fn the_order_and_a_way_through_json_change_nothing() {
        let images = trained();
        let profile = ImageProfile::of(&images).unwrap();
        let turned = ImageProfile::of(images.iter().skip(5).chain(&images[..5]).rev()).unwrap();
        let json = serde_json::to_string(&profile).unwrap();
        assert_eq!(serde_json::to_string(&turned).unwrap(), json);
        assert_eq!(serde_json::from_str::<ImageProfile>(&json).unwrap(), profile, "{json}");
        assert_eq!(ImageProfile::of(&[]), None);
    }

    #[test]
    fn differences_are_sentences() {
        let profile = ImageProfile::of(&trained()).unwrap();
        let image = imageops::resize(&part(320, 4), 160, 120, FilterType::Triangle);
        let image = ImageTraits::of_file(&changed(&image, |v| v / 2.0), FileTraits::new("JPEG", 8));
        let said: Vec<String> = profile.differences(&image).iter().map(ToString::to_string).collect();
        assert_eq!(
            said[..3],
            [
                "160 x 120 pixels, trained on 320 x 320",
                "aspect 1.333, trained on 1.000",
                "JPEG, trained on PNG",
            ]
        );
        assert!(said[3].starts_with("brightness ") && said[3].contains(", trained on "), "{said:?}");
    }
}
