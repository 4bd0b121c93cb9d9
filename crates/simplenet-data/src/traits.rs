//! What one photograph is like, in a few cheap measures: so that photographs of another size, light or sharpness than a
//! model was trained on can be told.
//!
//! In: decoded 8-bit RGB, and the file's kind where there is a file. Out: [`ImageTraits`]. Every measure looks at no more
//! than some 65,000 pixels of a photograph of any size, in whole numbers: the same on every machine, for any number of
//! threads. docs/reference.md has the formulas.

use image::RgbImage;
use serde::{Deserialize, Serialize};

use crate::decode::ImageSource;

/// Columns and rows of the grid of pixels that brightness, contrast and colour are taken from, at most.
const SAMPLED: u32 = 256;
/// Cells along a side, in the middle of each of which sharpness is measured.
const CELLS: u32 = 8;
/// Pixels along a side of what is looked at of a cell, at most.
const PATCH: usize = 32;
/// Pixels along a side of the smallest cell.
const SMALLEST_CELL: u32 = 8;
/// The distance in pixels that a step from one pixel to the next is compared with.
const FAR: usize = 4;
/// Cells that say how much structure there is: the busiest ones.
const BUSIEST: usize = 16;
/// A cell counts that has this fraction of the structure of the busiest ones: flat background says nothing of sharpness.
const BUSY: f64 = 0.3;
/// Mean squared difference over [`FAR`] pixels, in squared grey levels, below which nothing is to be seen but rounding.
const FLAT: f64 = 1.0;
/// Added to mean squared differences: about what rounding to whole grey levels adds.
const ROUNDING: f64 = 0.25;
/// A pixel is gray whose channels differ by no more grey levels.
const GRAY: u8 = 2;
/// Quantiles of the luma between which contrast lies.
const CONTRAST: [f64; 2] = [0.1, 0.9];

/// What one photograph is like.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ImageTraits {
    /// Pixels across, after decoding.
    pub width: u32,
    /// Pixels down.
    pub height: u32,
    /// Mean luma, 0 to 255.
    pub brightness: f32,
    /// The luma's 90th percentile less its 10th, in grey levels.
    pub contrast: f32,
    /// Steps between neighbours over steps between pixels four apart, in the parts with structure: 0.25 for a straight
    /// slope, 1 for noise. None where nothing is to be seen.
    pub sharpness: Option<f32>,
    /// Whether any pixel has a colour.
    pub colour: bool,
    /// What kind of file it came from; none of pixels alone.
    pub file: Option<FileTraits>,
}

/// What kind of file a photograph came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct FileTraits {
    /// `PNG`, `JPEG`, `TIFF`, …
    pub format: String,
    /// Bits per channel in the file.
    pub bits: u8,
    /// Samples outside the range that the options name: above white, or below 0.
    pub outside_range: u64,
}

impl FileTraits {
    /// The kind of a file whose samples are all within the range.
    pub fn new(format: impl Into<String>, bits: u8) -> Self {
        Self { format: format.into(), bits, outside_range: 0 }
    }
}

impl From<&ImageSource> for FileTraits {
    fn from(source: &ImageSource) -> Self {
        Self { outside_range: source.outside_range, ..Self::new(source.format.name(), source.bits) }
    }
}

impl ImageTraits {
    /// Of decoded pixels.
    pub fn of(pixels: &RgbImage) -> Self {
        let (width, height) = pixels.dimensions();
        let Light { brightness, contrast, colour } = light(pixels);
        Self { width, height, brightness, contrast, sharpness: sharpness(pixels), colour, file: None }
    }

    /// Of pixels that were decoded from a file of this kind, where it is known.
    pub fn of_file(pixels: &RgbImage, file: impl Into<Option<FileTraits>>) -> Self {
        Self { file: file.into(), ..Self::of(pixels) }
    }
}

struct Light {
    brightness: f32,
    contrast: f32,
    colour: bool,
}

/// From an even grid of pixels.
fn light(pixels: &RgbImage) -> Light {
    let (width, height) = pixels.dimensions();
    let [across, down] = [width, height].map(|side| side.div_ceil(SAMPLED).max(1) as usize);
    let mut counts = [0u32; 256];
    let mut widest = 0;
    let row = 3 * width.max(1) as usize;
    for line in pixels.as_raw().chunks_exact(row).skip(down / 2).step_by(down) {
        for &[r, g, b] in line.as_chunks::<3>().0.iter().skip(across / 2).step_by(across) {
            counts[usize::from(luma([r, g, b]))] += 1;
            widest = widest.max(r.max(g).max(b) - r.min(g).min(b));
        }
    }
    let total: u64 = counts.iter().map(|&count| u64::from(count)).sum();
    let sum: u64 = (0..).zip(&counts).map(|(level, &count): (u64, _)| level * u64::from(count)).sum();
    let [low, high] = CONTRAST.map(|fraction| quantile(&counts, total, fraction));
    Light {
        brightness: rounded(sum as f64 / total.max(1) as f64),
        contrast: rounded(high - low),
        colour: widest > GRAY,
    }
}

/// The luma below which this fraction lies: between the levels that occur, each of which stands in the middle of its pixels.
/// Whole levels would be coarse where a picture has few of them.
fn quantile(counts: &[u32; 256], total: u64, fraction: f64) -> f64 {
    let rank = fraction * total as f64;
    let (mut below, mut before) = (0.0, None);
    for (level, &count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
        let (level, middle) = (level as f64, below + 0.5 * f64::from(count));
        match before {
            Some((from, at)) if middle >= rank => return from + (level - from) * (rank - at) / (middle - at),
            None if middle >= rank => return level,
            _ => before = Some((level, middle)),
        }
        below += f64::from(count);
    }
    before.map_or(0.0, |(level, _)| level)
}

/// Mean squared differences of a cell, over one pixel and over [`FAR`].
#[derive(Clone, Copy)]
struct Steps {
    near: f64,
    far: f64,
}

/// The median over cells with structure: a defect is in few of them.
fn sharpness(pixels: &RgbImage) -> Option<f32> {
    let (width, height) = pixels.dimensions();
    let [across, down] = [width, height].map(|side| (side / SMALLEST_CELL).min(CELLS));
    let mut cells = vec![];
    for row in 0..down {
        for column in 0..across {
            let inside = |at: u32, of: u32, side: u32| {
                let [from, to] = [at, at + 1].map(|i| (i * side / of) as usize);
                let length = (to - from).min(PATCH);
                (from + (to - from - length) / 2, length)
            };
            cells.push(steps(pixels, inside(column, across, width), inside(row, down, height)));
        }
    }
    cells.sort_by(|a, b| b.far.total_cmp(&a.far));
    let structure = median(cells.iter().take(BUSIEST).map(|cell| cell.far))?;
    if structure < FLAT {
        return None;
    }
    let busy = cells.iter().take_while(|cell| cell.far >= BUSY * structure);
    median(busy.map(|cell| ((cell.near + ROUNDING) / (cell.far + ROUNDING)).sqrt())).map(rounded)
}

fn steps(pixels: &RgbImage, (x0, across): (usize, usize), (y0, down): (usize, usize)) -> Steps {
    let row = 3 * pixels.width() as usize;
    let mut cell = [[0u8; PATCH]; PATCH];
    let lines = pixels.as_raw().chunks_exact(row).skip(y0).take(down);
    for (to, line) in cell.iter_mut().zip(lines) {
        let from = &line.as_chunks::<3>().0[x0..x0 + across];
        to.iter_mut().zip(from).for_each(|(to, &rgb)| *to = luma(rgb));
    }
    let mean = |distance: usize| {
        let lines = cell.iter().take(down).map(|line| squares(&line[..across - distance], &line[distance..]));
        let horizontal: u32 = lines.sum();
        let pairs = cell.iter().zip(&cell[distance..]).take(down - distance);
        let vertical: u32 = pairs.map(|(a, b)| squares(&a[..across], &b[..across])).sum();
        let each = |sum: u32, count: usize| f64::from(sum) / count as f64;
        0.5 * (each(horizontal, down * (across - distance)) + each(vertical, across * (down - distance)))
    };
    Steps { near: mean(1), far: mean(FAR) }
}

fn squares(a: &[u8], b: &[u8]) -> u32 {
    a.iter().zip(b).map(|(&a, &b)| u32::from(a.abs_diff(b)).pow(2)).sum()
}

/// ITU-R BT.601 in 256ths.
fn luma([r, g, b]: [u8; 3]) -> u8 {
    ((77 * u32::from(r) + 150 * u32::from(g) + 29 * u32::from(b) + 128) >> 8) as u8
}

/// The middle one, of an even number the mean of both.
pub(crate) fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match (values.get(middle), values.len() % 2) {
        (Some(&high), 0) => Some(0.5 * (values[middle - 1] + high)),
        (high, _) => high.copied(),
    }
}

/// To a thousandth: the same number after a way through JSON.
pub(crate) fn rounded(value: f64) -> f32 {
    ((1000.0 * value).round() / 1000.0) as f32
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::rng::SplitMix64;
    use image::Rgb;

    /// A made-up part: a coloured disc with a texture of the camera's noise before a lighter ground.
    pub(crate) fn part(side: u32, seed: u64) -> RgbImage {
        let mut rng = SplitMix64::for_stream(seed, 0);
        let (centre, radius) = (side as f32 / 2.0, side as f32 / 3.0);
        RgbImage::from_fn(side, side, |x, y| {
            let far = ((x as f32 - centre).powi(2) + (y as f32 - centre).powi(2)).sqrt();
            let level = if far < radius { 90.0 + 20.0 * (x as f32 / 5.0).sin() } else { 170.0 };
            let noise = (rng.next_u64() % 9) as f32 - 4.0;
            Rgb([level + noise, 0.9 * level + noise, 0.8 * level + noise].map(|v| v.clamp(0.0, 255.0) as u8))
        })
    }

    pub(crate) fn changed(image: &RgbImage, change: impl Fn(f32) -> f32) -> RgbImage {
        let mut image = image.clone();
        image.iter_mut().for_each(|v| *v = change(f32::from(*v)).round().clamp(0.0, 255.0) as u8);
        image
    }

    #[test]
    fn measures_are_those_of_their_formulas() {
        let flat = ImageTraits::of(&RgbImage::from_pixel(40, 30, Rgb([100, 100, 101])));
        assert_eq!((flat.width, flat.height, flat.brightness, flat.contrast), (40, 30, 100.0, 0.0));
        assert_eq!((flat.sharpness, flat.colour, flat.file), (None, false, None));
        // A slope of 3 levels per pixel: steps of 9 and 144 squared levels along it, none across.
        let slope = RgbImage::from_fn(64, 64, |x, _| Rgb([3 * x as u8; 3]));
        let slope = ImageTraits::of(&slope);
        let want = ((4.5f32 + 0.25) / (72.0 + 0.25)).sqrt();
        assert!((slope.sharpness.unwrap() - want).abs() < 1e-3, "{slope:?}, expected {want}");
        // Luma 0, 3 … 189, each as often: four fifths of 64 steps.
        assert_eq!((slope.brightness, slope.contrast), (94.5, 153.6));
        let mut rng = SplitMix64::for_stream(1, 0);
        let noise = RgbImage::from_fn(64, 64, |_, _| Rgb([(rng.next_u64() % 200) as u8; 3]));
        let noise = ImageTraits::of(&noise).sharpness.unwrap();
        assert!((noise - 1.0).abs() < 0.03, "{noise}");
        assert!(ImageTraits::of(&RgbImage::from_pixel(9, 9, Rgb([10, 20, 30]))).colour);
    }

    #[test]
    fn no_size_is_too_small_or_too_large() {
        for (width, height) in [(1, 1), (3, 900), (8, 8), (15, 63), (257, 255), (3000, 11), (1021, 2047)] {
            let image = RgbImage::from_fn(width, height, |x, y| Rgb([(x * 7 + y * 13) as u8; 3]));
            let traits = ImageTraits::of(&image);
            assert_eq!((traits.width, traits.height), (width, height));
            assert!(traits.brightness > 0.0 || width == 1, "{traits:?}");
            assert!(traits.sharpness.is_none_or(f32::is_finite), "{traits:?}");
        }
    }

    #[test]
    fn a_blur_lowers_sharpness_and_more_light_or_contrast_does_not() {
        let image = part(320, 3);
        let of = |image: &RgbImage| ImageTraits::of(image);
        let plain = of(&image);
        let blurred = of(&image::imageops::blur(&image, 1.0));
        let brighter = of(&changed(&image, |v| 1.25 * v));
        let softer = of(&changed(&image, |v| 128.0 + 0.75 * (v - 128.0)));
        let relative = |a: f32, b: f32| (a / b - 1.0).abs();
        let sharpness = |traits: &ImageTraits| traits.sharpness.unwrap();
        assert!(sharpness(&blurred) < 0.8 * sharpness(&plain), "{blurred:?} of {plain:?}");
        assert!(relative(blurred.brightness, plain.brightness) < 0.01);
        for other in [&brighter, &softer] {
            assert!(relative(sharpness(other), sharpness(&plain)) < 0.05, "{other:?} of {plain:?}");
        }
        assert!(relative(brighter.brightness, plain.brightness) > 0.2);
        assert!(relative(softer.contrast, plain.contrast) > 0.2, "{softer:?} of {plain:?}");
    }

    #[test]
    fn json_gives_back_the_same_traits() {
        let traits = ImageTraits::of_file(&part(97, 5), FileTraits::new("PNG", 8));
        let json = serde_json::to_string(&traits).unwrap();
        assert_eq!(serde_json::from_str::<ImageTraits>(&json).unwrap(), traits, "{json}");
    }
}
