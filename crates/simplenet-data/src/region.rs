//! The region of interest: which part of a photograph is inspected. In: a mask image, or a file of polygons. Out: a region that
//! travels in the preprocessing, and for a placement one `bool` a pixel of the network's image.
//!
//! Everything is relative to the photograph, 0 to 1 from its left upper corner, so that one region serves photographs of any
//! size.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::dataset::{Drawing, drawn};
use crate::decode::{DecodeOptions, decode_mask_with, read_file};
use crate::error::DataError;
use crate::placement::Placement;

/// Most pixels of a mask: more than any photograph has that is read.
const MAX_MASK_PIXELS: u64 = 1 << 32;
/// Most runs of a mask; one of 200 megapixels that a person or a tool has drawn has some hundred thousand.
const MAX_RUNS: usize = 16_000_000;
/// Most polygons, and most corners of all together. Each costs time in every row of every photograph.
const MAX_POLYGONS: usize = 10_000;
const MAX_CORNERS: usize = 100_000;

/// Corners of a polygon, (x, y) each, 0 to 1.
pub type Polygon = Vec<[f64; 2]>;

/// Which part of a photograph is inspected: what lies inside the mask (where there is one) and inside one of the polygons
/// (where there are any), and in none of those to ignore.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RegionOfInterest {
    /// Inspected, where there are any; a polygon that crosses itself has its inside by the even-odd rule.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub polygons: Vec<Polygon>,
    /// Not inspected, whatever else says so.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ignore: Vec<Polygon>,
    /// A mask that was drawn.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mask: Option<RunMask>,
}

/// A black and white picture as the lengths of its runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunMask {
    /// Pixels across.
    pub width: u32,
    /// Pixels down.
    pub height: u32,
    /// Pixels outside, inside, outside, … row by row over the whole picture, separated by spaces.
    pub runs: String,
}

/// A file of polygons.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PolygonFile {
    #[serde(default)]
    polygons: Vec<Polygon>,
    #[serde(default)]
    ignore: Vec<Polygon>,
    /// Width and height that the corners are in pixels of; without it they are relative.
    size: Option<[f64; 2]>,
}

impl RegionOfInterest {
    /// Reads a region: from a mask image of any size (white is inspected, black is not), from a JSON file
    /// `{"polygons": [[[x, y], …], …], "ignore": […], "size": [width, height]}`, or from LabelMe's or COCO's of one image.
    /// The content decides which.
    ///
    /// # Errors
    /// A file that cannot be read as either; a mask without a white pixel; polygons as [`RegionOfInterest::validate`].
    pub fn read(path: &Path, options: &DecodeOptions) -> Result<Self, DataError> {
        let bytes = read_file(path, options.max_pixels)?;
        let wrong = |problem: String| DataError::Region { path: path.to_path_buf(), problem };
        let drawings = match bytes.trim_ascii_start().first() {
            Some(b'{') => drawn::parse(&bytes, options.max_pixels).map_err(wrong)?,
            _ => None,
        };
        let region = match (drawings, bytes.trim_ascii_start().first()) {
            (Some(drawings), _) => Self::of_drawings(drawings).map_err(wrong)?,
            (None, Some(b'{')) => {
                let file: PolygonFile = serde_json::from_slice(&bytes).map_err(|e| {
                    wrong(format!(
                        "{e}; expected {{\"polygons\": [[[x, y], …], …], \"ignore\": […], \"size\": [w, h]}}"
                    ))
                })?;
                let [width, height] = file.size.unwrap_or([1.0; 2]);
                if ![width, height].iter().all(|side| side.is_finite() && *side > 0.0) {
                    return Err(wrong(format!("its size is {width} x {height}; expected sides above 0")));
                }
                let relative = |polygons: Vec<Polygon>| -> Vec<Polygon> {
                    let corner = |[x, y]: [f64; 2]| [x / width, y / height];
                    polygons.into_iter().map(|polygon| polygon.into_iter().map(corner).collect()).collect()
                };
                Self { polygons: relative(file.polygons), ignore: relative(file.ignore), mask: None }
            }
            _ => {
                let mask = decode_mask_with(path, options)?;
                let (width, height) = mask.dimensions();
                let inside: Vec<bool> = mask.as_raw().iter().map(|&v| v >= 128).collect();
                Self { mask: Some(RunMask::of(width, height, &inside)), ..Self::default() }
            }
        };
        region.validate().map_err(|error| wrong(error.to_string()))?;
        Ok(region)
    }

    /// What was drawn on one image with an annotation tool. Corners outside the image are moved to its edge.
    fn of_drawings(mut drawings: Vec<Drawing>) -> Result<Self, String> {
        drawings.retain(|drawing| !drawing.polygons.is_empty() || !drawing.runs.is_empty());
        let drawing = match (drawings.pop(), drawings.len()) {
            (Some(drawing), 0) => drawing,
            (None, _) => return Err("no polygon or rectangle is drawn in it".into()),
            (_, others) => return Err(format!("it is of {} images; a region is drawn on one", others + 1)),
        };
        let (width, height) = match drawing.size {
            Some((width, height)) if width > 0 && height > 0 => (width, height),
            _ => return Err("it does not say the size of its image (imageWidth and imageHeight)".into()),
        };
        if !drawing.runs.is_empty() {
            let mask = drawing.mask((width, height));
            let inside: Vec<bool> = mask.iter().map(|&value| value > 0).collect();
            return Ok(Self { mask: Some(RunMask::of(width, height, &inside)), ..Self::default() });
        }
        let relative = |[x, y]: [f64; 2]| {
            [(x / f64::from(width)).clamp(0.0, 1.0), (y / f64::from(height)).clamp(0.0, 1.0)]
        };
        let polygons =
            drawing.polygons.into_iter().map(|polygon| polygon.into_iter().map(relative).collect());
        Ok(Self { polygons: polygons.collect(), ..Self::default() })
    }

    /// Checks that the region is one.
    ///
    /// # Errors
    /// [`DataError::InvalidOption`]: no polygon and no mask; a polygon of fewer than three corners, or with one outside
    /// the photograph; more polygons or corners than there is time for; a mask that is too large, whose runs do not fill it,
    /// or that is black throughout.
    pub fn validate(&self) -> Result<(), DataError> {
        let invalid = |found: String, expected: &str| {
            Err(DataError::InvalidOption { option: "roi", found, expected: expected.into() })
        };
        if self.polygons.is_empty() && self.ignore.is_empty() && self.mask.is_none() {
            return invalid("nothing".into(), "a polygon at least, or a mask");
        }
        let polygons = || self.polygons.iter().chain(&self.ignore);
        let (count, corners) = (polygons().count(), polygons().map(Vec::len).sum::<usize>());
        if count > MAX_POLYGONS || corners > MAX_CORNERS {
            let expected = format!(
                "at most {MAX_POLYGONS} polygons of {MAX_CORNERS} corners together; draw fewer, or give a mask image"
            );
            return invalid(format!("{count} polygons of {corners} corners"), &expected);
        }
        for polygon in polygons() {
            if polygon.len() < 3 {
                return invalid(format!("a polygon of {} corners", polygon.len()), "three corners or more");
            }
            let outside = |corner: &&[f64; 2]| !corner.iter().all(|v| (0.0..=1.0).contains(v));
            if let Some([x, y]) = polygon.iter().find(outside) {
                let expected =
                    "corners inside the photograph: 0 to 1, or pixels beside the \"size\" of the photograph";
                return invalid(format!("a corner at ({x}, {y})"), expected);
            }
        }
        let Some(mask) = &self.mask else { return Ok(()) };
        let RunMask { width, height, .. } = *mask;
        if u64::from(width) * u64::from(height) > MAX_MASK_PIXELS {
            let expected =
                format!("at most {MAX_MASK_PIXELS} pixels; draw it smaller: it fits photographs of any size");
            return invalid(format!("a mask of {width} x {height} pixels"), &expected);
        }
        match mask.borders() {
            None => invalid(
                "a mask whose runs do not fill it".into(),
                &format!("runs of width times height pixels, {MAX_RUNS} of them at most"),
            ),
            Some(borders) if !has_inside(&borders) => invalid(
                "a mask that is black throughout".into(),
                "white where the photograph is to be inspected",
            ),
            Some(_) => Ok(()),
        }
    }

    /// Which pixels of the network's image, (crop height, crop width) of `placement`, have their centre inside.
    pub fn pixels(&self, placement: &Placement) -> Vec<bool> {
        let (left, top, width, height) = placement.crop;
        let (all_width, all_height) = placement.resized;
        let at =
            |pixel: u32, offset: u32, all: u32| (f64::from(pixel + offset) + 0.5) / f64::from(all.max(1));
        let xs: Vec<f64> = (0..width).map(|x| at(x, left, all_width)).collect();
        let mask = self.mask.as_ref().map(|mask| (mask, mask.borders().unwrap_or_default()));
        let mut pixels = Vec::with_capacity(xs.len() * height as usize);
        let (mut line, mut covered) = (vec![false; xs.len()], vec![false; xs.len()]);
        for y in (0..height).map(|y| at(y, top, all_height)) {
            line.fill(self.polygons.is_empty());
            for polygon in &self.polygons {
                scan(polygon, y, &xs, &mut covered);
                line.iter_mut().zip(&covered).for_each(|(to, &inside)| *to |= inside);
            }
            for polygon in &self.ignore {
                scan(polygon, y, &xs, &mut covered);
                line.iter_mut().zip(&covered).for_each(|(to, &inside)| *to &= !inside);
            }
            if let Some((mask, borders)) = &mask {
                let row = (y * f64::from(mask.height)) as u64 * u64::from(mask.width);
                let of = |x: f64| is_inside(borders, row + (x * f64::from(mask.width)) as u64);
                line.iter_mut().zip(&xs).for_each(|(to, &x)| *to &= of(x));
            }
            pixels.extend_from_slice(&line);
        }
        pixels
    }

    /// In a few words, for people.
    pub fn describe(&self) -> String {
        let polygons = |list: &[Polygon], what| match list.len() {
            0 => None,
            1 => Some(format!("1 polygon {what}")),
            n => Some(format!("{n} polygons {what}")),
        };
        let mask =
            self.mask.as_ref().map(|mask| format!("a mask of {} x {} pixels", mask.width, mask.height));
        let parts = [mask, polygons(&self.polygons, "inspected"), polygons(&self.ignore, "ignored")];
        parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }
}

impl RunMask {
    /// Of one `bool` a pixel, row by row.
    fn of(width: u32, height: u32, inside: &[bool]) -> Self {
        let mut runs: Vec<String> = vec![];
        // The first run is of pixels outside, of which there may be none.
        if inside.first() == Some(&true) {
            runs.push("0".into());
        }
        runs.extend(inside.chunk_by(|a, b| a == b).map(|run| run.len().to_string()));
        Self { width, height, runs: runs.join(" ") }
    }

    /// Where each run ends, in pixels from the beginning; none where the runs are not those of such a picture. What it takes
    /// depends on how many runs there are, not on how large the picture is.
    fn borders(&self) -> Option<Vec<u64>> {
        let (mut borders, mut end) = (vec![], 0u64);
        for run in self.runs.split_whitespace() {
            end = end.checked_add(run.parse().ok()?)?;
            if borders.len() == MAX_RUNS {
                return None;
            }
            borders.push(end);
        }
        let pixels = u64::from(self.width) * u64::from(self.height);
        (end == pixels && pixels > 0).then_some(borders)
    }
}

/// Whether a pixel lies in one of the runs that are inside: every second one.
fn is_inside(borders: &[u64], pixel: u64) -> bool {
    let run = borders.partition_point(|&end| end <= pixel);
    run < borders.len() && run % 2 == 1
}

fn has_inside(borders: &[u64]) -> bool {
    borders.windows(2).step_by(2).any(|pair| pair[1] > pair[0])
}

/// Which of `xs`, ascending, lie inside a polygon at the height `y`, by the even-odd rule.
fn scan(polygon: &Polygon, y: f64, xs: &[f64], inside: &mut [bool]) {
    let next = polygon.iter().cycle().skip(1);
    let mut crossings: Vec<f64> = polygon
        .iter()
        .zip(next)
        .filter(|([_, ay], [_, by])| (*ay <= y) != (*by <= y))
        .map(|([ax, ay], [bx, by])| ax + (y - ay) / (by - ay) * (bx - ax))
        .collect();
    crossings.sort_by(f64::total_cmp);
    inside.fill(false);
    for pair in crossings.as_chunks::<2>().0 {
        let [from, to] = pair.map(|crossing| xs.partition_point(|&x| x < crossing));
        inside[from..to].fill(true);
    }
}

#[cfg(test)]
mod tests {
    use image::{GrayImage, Luma};

    use super::*;
    use crate::preprocess::Preprocess;

    fn square(low: f64, high: f64) -> Polygon {
        vec![[low, low], [high, low], [high, high], [low, high]]
    }

    fn picture(region: &RegionOfInterest, preprocess: &Preprocess, size: (u32, u32)) -> (Vec<bool>, usize) {
        let pixels = region.pixels(&preprocess.placement(size.0, size.1));
        let count = pixels.iter().filter(|&&inside| inside).count();
        (pixels, count)
    }

    #[test]
    fn polygons_are_filled_and_ignored_ones_cut_out() {
        let whole = Preprocess::whole_image(40, 20);
        let region = RegionOfInterest { polygons: vec![square(0.25, 0.75)], ..Default::default() };
        let (pixels, count) = picture(&region, &whole, (400, 300));
        assert_eq!(count, 20 * 10);
        assert!(pixels[5 * 40 + 10] && !pixels[4 * 40 + 10] && !pixels[5 * 40 + 9] && pixels[14 * 40 + 29]);
        let region = RegionOfInterest { ignore: vec![square(0.5, 1.0)], ..region };
        assert_eq!(picture(&region, &whole, (400, 300)).1, 20 * 10 - 10 * 5);
        let all_but = RegionOfInterest { ignore: vec![square(0.5, 1.0)], ..Default::default() };
        assert_eq!(picture(&all_but, &whole, (7, 9)).1, 800 - 200);
        // A triangle has half of its square, but for the pixels on the diagonal.
        let triangle = RegionOfInterest {
            polygons: vec![vec![[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]],
            ..Default::default()
        };
        let count = picture(&triangle, &Preprocess::whole_image(100, 100), (9, 9)).1;
        assert!((4900..=5050).contains(&count), "{count}");
        // The crop sees the middle: 288 of 329 pixels, of which the square's 164.5 are all inside.
        let region = RegionOfInterest { polygons: vec![square(0.25, 0.75)], ..Default::default() };
        let count = picture(&region, &Preprocess::paper(), (500, 500)).1;
        assert!((164 * 164..=165 * 165).contains(&count), "{count}");
    }

    #[test]
    fn a_mask_of_any_size_is_laid_over_the_photograph() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("roi.png");
        GrayImage::from_fn(10, 4, |x, y| Luma([if x >= 5 && y < 2 { 255 } else { 0 }])).save(&path).unwrap();
        let region = RegionOfInterest::read(&path, &DecodeOptions::default()).unwrap();
        assert_eq!(region.mask.as_ref().unwrap().runs, "5 5 5 5 20");
        assert!(region.describe().contains("10 x 4"));
        let (pixels, count) = picture(&region, &Preprocess::whole_image(60, 40), (123, 77));
        assert_eq!(count, 30 * 20);
        assert!(pixels[30] && !pixels[29] && pixels[19 * 60 + 59] && !pixels[20 * 60 + 59]);
        let text = serde_json::to_string(&region).unwrap();
        assert_eq!(serde_json::from_str::<RegionOfInterest>(&text).unwrap(), region);
    }

    #[test]
    fn pixels_beside_a_size_are_relative_then() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("roi.json");
        let text = r#" {"polygons": [[[100, 50], [300, 50], [300, 150]]], "size": [400, 200]}"#;
        std::fs::write(&path, text).unwrap();
        let region = RegionOfInterest::read(&path, &DecodeOptions::default()).unwrap();
        assert_eq!(region.polygons, [[[0.25, 0.25], [0.75, 0.25], [0.75, 0.75]]]);
    }

    #[test]
    fn annotation_tools_draw_regions_too() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("roi.json");
        let read = |text: &str| {
            std::fs::write(&path, text).unwrap();
            RegionOfInterest::read(&path, &DecodeOptions::default()).map_err(|error| error.to_string())
        };
        let label_me = |rest: &str| {
            format!(r#"{{"shapes": [{{"shape_type": "rectangle", "points": [[-1, 10], [20, 30]]}}]{rest}}}"#)
        };
        let region = read(&label_me(r#", "imageWidth": 40, "imageHeight": 40"#)).unwrap();
        assert_eq!(region.polygons, [[[0.0, 0.25], [0.5, 0.25], [0.5, 0.75], [0.0, 0.75]]]);
        let coco = |images: &str, rest: &str| {
            format!(r#"{{"images": [{images}], "annotations": [{{"image_id": 1, {rest}}}]}}"#)
        };
        let image = r#"{"id": 1, "file_name": "a.png", "width": 4, "height": 2}"#;
        let region = read(&coco(image, r#""segmentation": [[1, 0, 3, 0, 3, 2, 1, 2]]"#)).unwrap();
        assert_eq!(region.polygons, [[[0.25, 0.0], [0.75, 0.0], [0.75, 1.0], [0.25, 1.0]]]);
        let runs = r#""segmentation": {"size": [2, 4], "counts": [2, 4, 2]}"#;
        assert_eq!(read(&coco(image, runs)).unwrap().mask.unwrap().runs, "1 2 2 2 1");
        assert!(read(&label_me("")).unwrap_err().contains("imageWidth"));
        assert!(
            read(r#"{"shapes": [], "imageWidth": 4, "imageHeight": 4}"#).unwrap_err().contains("no polygon")
        );
    }

    #[test]
    fn what_is_no_region_says_why() {
        let dir = tempfile::tempdir().unwrap();
        let black = dir.path().join("black.png");
        GrayImage::new(8, 8).save(&black).unwrap();
        let mut cases = vec![(black, "black throughout")];
        let texts = [
            (r#"{"polygons": [[[0, 0], [1, 1]]]}"#, "a polygon of 2 corners"),
            (r#"{"polygons": [[[0, 0], [1, 1], [0, 20]]]}"#, "(0, 20)"),
            (r#"{"polygons": [[[0, 0], [1, 1], [0, 2]]], "size": [0, 5]}"#, "0 x 5"),
            (r#"{"polygon": []}"#, "expected {\"polygons\""),
            ("{}", "nothing"),
            ("neither", "PNG, JPEG"),
            ("", "0 bytes"),
        ];
        for (i, (text, part)) in texts.into_iter().enumerate() {
            let path = dir.path().join(format!("{i}.json"));
            std::fs::write(&path, text).unwrap();
            cases.push((path, part));
        }
        cases.push((dir.path().join("absent"), "cannot read"));
        for (path, part) in cases {
            let error = RegionOfInterest::read(&path, &DecodeOptions::default()).unwrap_err().to_string();
            assert!(error.contains(part) && error.contains(&path.display().to_string()), "{part:?}: {error}");
        }
        for runs in ["3", "3 x", "2 3", "", "18446744073709551615 2"] {
            let mask = RunMask { width: 2, height: 2, runs: runs.into() };
            let region = RegionOfInterest { mask: Some(mask), ..Default::default() };
            assert!(region.validate().is_err(), "{runs:?}");
            region.pixels(&Preprocess::default().placement(3, 3));
        }
    }

    /// A few bytes that stand for more than there is memory or time for.
    #[test]
    fn a_region_costs_what_its_text_has_not_what_it_claims() {
        let mask = |width, height, runs: &str| RegionOfInterest {
            mask: Some(RunMask { width, height, runs: runs.into() }),
            ..Default::default()
        };
        let (most, triangle) = (u32::MAX, vec![[0.0, 0.0], [1.0, 0.5], [0.3, 1.0]]);
        let many = |count| RegionOfInterest { polygons: vec![triangle.clone(); count], ..Default::default() };
        let corner = |i: usize| [(i % 97) as f64 / 97.0, (i % 89) as f64 / 89.0];
        let fine = vec![(0..=MAX_CORNERS).map(corner).collect()];
        for (region, part) in [
            (mask(1_000_000, 1_000_000, "0 1000000000000"), "a mask of 1000000 x 1000000 pixels"),
            (mask(most, most, "0 18446744065119617025"), "a mask of 4294967295 x"),
            (many(MAX_POLYGONS + 1), "10001 polygons"),
            (RegionOfInterest { ignore: fine, ..Default::default() }, "100001 corners"),
        ] {
            let error = region.validate().unwrap_err().to_string();
            assert!(error.contains(part) && error.contains("at most"), "{part}: {error}");
        }
        // A large mask of few runs takes no more than a small one.
        let region = mask(60_000, 60_000, "1800000000 1800000000");
        region.validate().unwrap();
        let (pixels, count) = picture(&region, &Preprocess::whole_image(20, 20), (30, 30));
        assert_eq!(count, 200);
        assert!(!pixels[199] && pixels[200]);
        many(MAX_POLYGONS).validate().unwrap();
    }

    /// The borders of runs say the same as one `bool` a pixel.
    #[test]
    fn runs_mark_the_pixels_that_they_were_made_of() {
        for picture in 0..1u32 << 12 {
            let inside: Vec<bool> = (0..12).map(|i| picture >> i & 1 == 1).collect();
            let borders = RunMask::of(4, 3, &inside).borders().unwrap();
            let got: Vec<bool> = (0..12).map(|pixel| is_inside(&borders, pixel)).collect();
            assert_eq!((got, has_inside(&borders)), (inside, picture != 0), "{picture:b}");
            assert!(!is_inside(&borders, 12));
        }
    }
}
