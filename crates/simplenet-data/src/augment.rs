//! Random changes of training images, seeded, all off by default.
//!
//! In: 8-bit RGB, a seed. Out: 8-bit RGB of the same size. The options are those of the official data set
//! class, their meaning and order torchvision's: colour jitter, flips, gray, then one affine warp, all
//! between resize and crop (see `Preprocess::resize_augment_crop`). The random numbers are our own, and the warp
//! rounds to the nearest grey level where Pillow cuts off, so that images do not darken.

use image::{Rgb, RgbImage};
use serde::{Deserialize, Serialize};

use crate::error::DataError;
use crate::rng::SplitMix64;

/// Which changes are drawn, and how strong. The default changes nothing.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Augment {
    /// Turned by an angle between −this and +this, degrees; 0 to 180.
    pub rotate_degrees: f64,
    /// Shifted by up to this share of the width and of the height; 0 to 1.
    pub translate: f64,
    /// Scaled by a factor between 1 − this and 1 + this; 0 to below 1.
    pub scale: f64,
    /// Brightness times a factor between 1 − this (not below 0) and 1 + this; at least 0.
    pub brightness: f64,
    /// Distance from the mean gray times such a factor.
    pub contrast: f64,
    /// Distance of each pixel from its gray times such a factor.
    pub saturation: f64,
    /// Probability of a gray image; 0 to 1.
    pub gray_probability: f64,
    /// Probability of a mirror image, left and right exchanged.
    pub horizontal_flip_probability: f64,
    /// Probability of a mirror image, top and bottom exchanged.
    pub vertical_flip_probability: f64,
}

impl Augment {
    /// Whether nothing is ever changed.
    pub fn is_off(&self) -> bool {
        *self == Self::default()
    }

    /// Checks the ranges that the fields name.
    ///
    /// # Errors
    /// [`DataError::InvalidOption`] with the field, its value and its range.
    pub fn validate(&self) -> Result<(), DataError> {
        let below_one = 1.0 - f64::EPSILON;
        let fields = [
            ("rotate_degrees", self.rotate_degrees, 180.0, "0 to 180"),
            ("translate", self.translate, 1.0, "0 to 1"),
            ("scale", self.scale, below_one, "0 to below 1"),
            ("brightness", self.brightness, f64::MAX, "0 or more"),
            ("contrast", self.contrast, f64::MAX, "0 or more"),
            ("saturation", self.saturation, f64::MAX, "0 or more"),
            ("gray_probability", self.gray_probability, 1.0, "0 to 1"),
            ("horizontal_flip_probability", self.horizontal_flip_probability, 1.0, "0 to 1"),
            ("vertical_flip_probability", self.vertical_flip_probability, 1.0, "0 to 1"),
        ];
        match fields.into_iter().find(|(_, value, most, _)| !(0.0..=*most).contains(value)) {
            None => Ok(()),
            Some((option, value, _, range)) => Err(DataError::InvalidOption {
                option,
                found: value.to_string(),
                expected: format!("a number of {range}"),
            }),
        }
    }

    /// Changes an image; the same options, image and seed give the same result.
    pub fn apply(&self, image: &RgbImage, seed: u64) -> RgbImage {
        let mut rng = SplitMix64::new(seed);
        let mut out = image.clone();
        // Every number is drawn whether it is used or not: switching one option on leaves the others' draws.
        let mut jitters = [Jitter::Brightness, Jitter::Contrast, Jitter::Saturation];
        rng.shuffle(&mut jitters);
        let mut factor = |strength: f64| rng.range((1.0 - strength).max(0.0), 1.0 + strength);
        let factors = [factor(self.brightness), factor(self.contrast), factor(self.saturation)];
        for jitter in jitters {
            let factor = factors[jitter as usize];
            if factor != 1.0 {
                jitter.apply(&mut out, factor);
            }
        }
        if rng.chance(self.horizontal_flip_probability) {
            image::imageops::flip_horizontal_in_place(&mut out);
        }
        if rng.chance(self.vertical_flip_probability) {
            image::imageops::flip_vertical_in_place(&mut out);
        }
        if rng.chance(self.gray_probability) {
            out.pixels_mut().for_each(|p| p.0 = [gray(p); 3]);
        }
        let warp = Warp::draw(self, out.dimensions(), &mut rng);
        if warp == Warp::NONE { out } else { warp.apply(&out) }
    }
}

#[derive(Clone, Copy)]
enum Jitter {
    Brightness,
    Contrast,
    Saturation,
}

impl Jitter {
    /// Moves every value away from (factor above 1) or towards (below 1) what the image would be without
    /// brightness, contrast or colour.
    fn apply(self, image: &mut RgbImage, factor: f64) {
        let mean = match self {
            Self::Contrast => mean_gray(image),
            _ => 0.0,
        };
        for pixel in image.pixels_mut() {
            let without = match self {
                Self::Brightness | Self::Contrast => mean,
                Self::Saturation => f64::from(gray(pixel)),
            };
            // A cast cuts off the fraction and clamps to 0..=255, as Pillow's blend does.
            pixel.0 = pixel.0.map(|v| (without + factor * (f64::from(v) - without)) as u8);
        }
    }
}

/// ITU-R 601 luma in Pillow's 16-bit fixed point.
fn gray(&Rgb([r, g, b]): &Rgb<u8>) -> u8 {
    ((19_595 * u32::from(r) + 38_470 * u32::from(g) + 7_471 * u32::from(b) + 0x8000) >> 16) as u8
}

/// Mean gray, rounded to a whole number.
fn mean_gray(image: &RgbImage) -> f64 {
    let sum: u64 = image.pixels().map(|p| u64::from(gray(p))).sum();
    let count = (u64::from(image.width()) * u64::from(image.height())).max(1);
    (sum as f64 / count as f64 + 0.5).floor()
}

/// Rotation and scale about the centre, then a shift in whole pixels.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Warp {
    degrees: f64,
    shift: (f64, f64),
    scale: f64,
}

impl Warp {
    const NONE: Self = Self { degrees: 0.0, shift: (0.0, 0.0), scale: 1.0 };

    fn draw(options: &Augment, (width, height): (u32, u32), rng: &mut SplitMix64) -> Self {
        let mut within = |most: f64| rng.range(-most, most);
        Self {
            degrees: within(options.rotate_degrees),
            shift: (
                within(options.translate * f64::from(width)).round(),
                within(options.translate * f64::from(height)).round(),
            ),
            scale: 1.0 + within(options.scale),
        }
    }

    /// Bilinear; black where the source has no pixel.
    fn apply(&self, image: &RgbImage) -> RgbImage {
        let (width, height) = image.dimensions();
        let (center_x, center_y) = (f64::from(width) / 2.0, f64::from(height) / 2.0);
        let (sin, cos) = self.degrees.to_radians().sin_cos();
        let (last_x, last_y) = (width.saturating_sub(1), height.saturating_sub(1));
        RgbImage::from_fn(width, height, |x, y| {
            let dx = f64::from(x) + 0.5 - center_x - self.shift.0;
            let dy = f64::from(y) + 0.5 - center_y - self.shift.1;
            let from_x = (cos * dx + sin * dy) / self.scale + center_x;
            let from_y = (cos * dy - sin * dx) / self.scale + center_y;
            let inside =
                (0.0..f64::from(width)).contains(&from_x) && (0.0..f64::from(height)).contains(&from_y);
            if !inside {
                return Rgb([0; 3]);
            }
            let (from_x, from_y) = (from_x - 0.5, from_y - 0.5);
            let (part_x, part_y) = (from_x - from_x.floor(), from_y - from_y.floor());
            // −1 becomes 0 in the cast: the edge is repeated.
            let (x0, y0) = (from_x.floor() as u32, from_y.floor() as u32);
            let (x1, y1) = ((from_x.floor() + 1.0) as u32, (from_y.floor() + 1.0) as u32);
            let at = |x: u32, y: u32, c: usize| f64::from(image.get_pixel(x.min(last_x), y.min(last_y)).0[c]);
            Rgb(std::array::from_fn(|c| {
                let upper = at(x0, y0, c) + part_x * (at(x1, y0, c) - at(x0, y0, c));
                let lower = at(x0, y1, c) + part_x * (at(x1, y1, c) - at(x0, y1, c));
                (upper + part_y * (lower - upper)).round() as u8
            }))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture() -> RgbImage {
        RgbImage::from_fn(40, 30, |x, y| Rgb([(x * 6) as u8, (y * 8) as u8, ((x * y) % 200) as u8]))
    }

    /// The option alone at the given strength; checks that it is seeded and leaves the size.
    fn only(set: impl Fn(&mut Augment), seed: u64) -> RgbImage {
        let mut augment = Augment::default();
        set(&mut augment);
        assert!(!augment.is_off());
        augment.validate().unwrap();
        let out = augment.apply(&picture(), seed);
        assert_eq!(out, augment.apply(&picture(), seed));
        assert_eq!(out.dimensions(), picture().dimensions());
        out
    }

    #[test]
    fn off_by_default() {
        assert!(Augment::default().is_off());
        for seed in 0..20 {
            assert_eq!(Augment::default().apply(&picture(), seed), picture());
        }
    }

    #[test]
    fn flips_and_gray_at_probability_one() {
        let flipped = only(|a| a.horizontal_flip_probability = 1.0, 1);
        assert_eq!(flipped, image::imageops::flip_horizontal(&picture()));
        let flipped = only(|a| a.vertical_flip_probability = 1.0, 1);
        assert_eq!(flipped, image::imageops::flip_vertical(&picture()));
        let gray = only(|a| a.gray_probability = 1.0, 1);
        assert!(gray.pixels().all(|p| p.0[0] == p.0[1] && p.0[1] == p.0[2]));
        // 0.299 · 60 + 0.587 · 80 + 0.114 · 100 = 76.3
        assert_eq!(gray.get_pixel(10, 10).0, [76; 3]);
    }

    #[test]
    fn a_probability_of_a_half_happens_half_the_time() {
        let flips =
            (0..400).filter(|&seed| only(|a| a.vertical_flip_probability = 0.5, seed) != picture()).count();
        assert!((150..250).contains(&flips), "{flips}");
    }

    #[test]
    fn jitters_move_the_right_quantity_both_ways() {
        let spread = |image: &RgbImage| {
            let mean = mean_gray(image);
            image.pixels().map(|p| (f64::from(gray(p)) - mean).abs()).sum::<f64>()
        };
        let colour = |image: &RgbImage| {
            image
                .pixels()
                .map(|p| f64::from(p.0[0].abs_diff(p.0[1])) + f64::from(p.0[1].abs_diff(p.0[2])))
                .sum()
        };
        type Measure<'a> = &'a dyn Fn(&RgbImage) -> f64;
        type Case<'a> = (&'a str, fn(&mut Augment), Measure<'a>);
        let cases: [Case<'_>; 3] = [
            ("brightness", |a| a.brightness = 0.4, &mean_gray),
            ("contrast", |a| a.contrast = 0.4, &spread),
            ("saturation", |a| a.saturation = 0.4, &colour),
        ];
        for (name, set, measure) in cases {
            let before = measure(&picture());
            let ratios: Vec<f64> = (0..40).map(|seed| measure(&only(set, seed)) / before).collect();
            assert!(ratios.iter().all(|r| (0.55..1.45).contains(r)), "{name}: {ratios:?}");
            assert!(
                ratios.iter().any(|&r| r < 0.85) && ratios.iter().any(|&r| r > 1.1),
                "{name}: {ratios:?}"
            );
        }
    }

    #[test]
    fn warps_are_exact_where_the_grid_is_hit() {
        let warp = |w: Warp| w.apply(&picture());
        assert_eq!(warp(Warp::NONE), picture());
        let shifted = warp(Warp { shift: (3.0, -2.0), ..Warp::NONE });
        assert_eq!(shifted.get_pixel(13, 8), picture().get_pixel(10, 10));
        assert_eq!(shifted.get_pixel(2, 8).0, [0; 3]);
        let turned = warp(Warp { degrees: 180.0, ..Warp::NONE });
        assert_eq!(turned, image::imageops::rotate180(&picture()));
        // Twice the size: the four pixels around the centre come from within one pixel of it.
        let grown = warp(Warp { scale: 2.0, ..Warp::NONE });
        assert!(grown.get_pixel(20, 15).0[0].abs_diff(picture().get_pixel(20, 15).0[0]) <= 3);
        // A positive angle turns the right-hand side down, as torchvision's does on the screen.
        let mut dot = RgbImage::new(41, 41);
        dot.put_pixel(35, 20, Rgb([255; 3]));
        let turned = Warp { degrees: 90.0, ..Warp::NONE }.apply(&dot);
        assert_eq!(turned.get_pixel(20, 35).0, [255; 3]);
    }

    #[test]
    fn drawn_warps_stay_within_their_options() {
        let options = Augment { rotate_degrees: 10.0, translate: 0.1, scale: 0.2, ..Augment::default() };
        for seed in 0..200 {
            let warp = Warp::draw(&options, (200, 100), &mut SplitMix64::new(seed));
            assert!(warp.degrees.abs() <= 10.0 && (0.8..=1.2).contains(&warp.scale), "{warp:?}");
            assert!(warp.shift.0.abs() <= 20.0 && warp.shift.1.abs() <= 10.0, "{warp:?}");
        }
    }

    #[test]
    fn values_out_of_range_are_named() {
        let bad: [fn(&mut Augment); 5] = [
            |a| a.rotate_degrees = 181.0,
            |a| a.translate = -0.1,
            |a| a.scale = 1.0,
            |a| a.contrast = f64::NAN,
            |a| a.gray_probability = 1.5,
        ];
        for set in bad {
            let mut augment = Augment::default();
            set(&mut augment);
            let error = augment.validate().unwrap_err().to_string();
            assert!(error.starts_with("invalid ") && error.contains("expected a number of 0"), "{error}");
        }
    }
}
