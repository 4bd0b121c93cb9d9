//! Heat maps people look at: an anomaly map over its photograph, side-by-side panels, thumbnails.
//!
//! In: the photograph (8-bit RGB) and a map of raw scores with one value per pixel of that photograph, row-major,
//! higher meaning more anomalous; NaN marks pixels the model did not inspect. Out: an RGB picture. Scores up to the
//! range's low end leave the photograph untouched; above it, colour and opacity grow together, so what is normal
//! stays a photograph. Pixels that were not inspected are dimmed and hatched: they must not look like a pass.

use super::OutputError;
use super::colour::inferno;
use super::error::check_size;
use super::legend::legend;
use super::outline::{OutlineStyle, blend, draw_outlines};
use super::shrink::shrink;
use image::imageops::{self, FilterType};
use image::{Rgb, RgbImage};

/// Where on the colour scale a barely raised score begins: inferno's first fifth is nearly black and would only
/// darken the photograph.
pub const COLOUR_START: f32 = 0.22;

/// The scores between which a heat map's colours are spread.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ScoreRange {
    low: f32,
    high: f32,
}

impl ScoreRange {
    /// Both ends finite, `low < high`.
    pub fn new(low: f32, high: f32) -> Result<Self, OutputError> {
        if low.is_finite() && high.is_finite() && low < high && (high - low).is_finite() {
            Ok(Self { low, high })
        } else {
            Err(OutputError::Range { low, high })
        }
    }

    /// The score that leaves the photograph untouched.
    pub fn low(self) -> f32 {
        self.low
    }

    /// The score of the brightest colour.
    pub fn high(self) -> f32 {
        self.high
    }

    /// 0 at `low`, 1 at `high`, beyond them outside 0..=1.
    pub fn position(self, score: f32) -> f32 {
        (score - self.low) / (self.high - self.low)
    }
}

/// Whether a legend strip is put below the overlay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Legend {
    /// The overlay has exactly the photograph's size.
    #[default]
    None,
    /// A strip with the range and the threshold's tick is added below.
    Below,
}

/// How an overlay looks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OverlayOptions {
    /// Opacity of the highest scores, 0..=1.
    pub max_opacity: f32,
    /// Outline every region whose scores reach this threshold; `None` draws no outline.
    pub outline_from: Option<f32>,
    /// Legend strip.
    pub legend: Legend,
}

impl Default for OverlayOptions {
    fn default() -> Self {
        Self { max_opacity: 0.7, outline_from: None, legend: Legend::None }
    }
}

/// The anomaly map over its photograph.
///
/// `map` has one score per pixel of `photograph`, row-major. Infinite scores are an error, NaN is "not inspected".
pub fn overlay(
    photograph: &RgbImage,
    map: &[f32],
    range: ScoreRange,
    options: &OverlayOptions,
) -> Result<RgbImage, OutputError> {
    let size = photograph.dimensions();
    check_size("anomaly map", map.len(), size)?;
    if let Some(index) = map.iter().position(|s| s.is_infinite()) {
        return Err(OutputError::NotFinite { what: "anomaly map score", index, value: map[index] });
    }
    let shades = shades(options.max_opacity);
    let mut picture = photograph.clone();
    for (index, (pixel, &score)) in picture.pixels_mut().zip(map).enumerate() {
        if score.is_nan() {
            *pixel = not_inspected(*pixel, index, size);
            continue;
        }
        let t = range.position(score);
        if t > 0.0 {
            let (colour, opacity) = shades[(t.min(1.0) * (SHADES - 1) as f32).round() as usize];
            *pixel = blend(*pixel, colour, opacity);
        }
    }
    if let Some(threshold) = options.outline_from {
        let inside: Vec<bool> = map.iter().map(|s| *s >= threshold).collect();
        draw_outlines(&mut picture, &inside, &OutlineStyle::predicted(size))?;
    }
    Ok(match options.legend {
        Legend::None => picture,
        Legend::Below => stack(&picture, &legend(size.0, range, options.outline_from)),
    })
}

/// The photograph with the data set's own defect outlined.
///
/// `mask` has one value per pixel, row-major; 0 is normal, anything else anomalous.
pub fn ground_truth(photograph: &RgbImage, mask: &[u8]) -> Result<RgbImage, OutputError> {
    let inside: Vec<bool> = mask.iter().map(|m| *m != 0).collect();
    let mut picture = photograph.clone();
    draw_outlines(&mut picture, &inside, &OutlineStyle::ground_truth(photograph.dimensions()))?;
    Ok(picture)
}

/// A copy whose longer side is at most `longest` pixels; small pictures are not enlarged.
pub fn thumbnail(picture: &RgbImage, longest: u32) -> RgbImage {
    let (width, height) = picture.dimensions();
    let side = width.max(height);
    if side <= longest || longest == 0 {
        return picture.clone();
    }
    let scaled = |v: u32| ((f64::from(v) * f64::from(longest) / f64::from(side)).round() as u32).max(1);
    resize(picture, scaled(width), scaled(height))
}

/// Steps of the precomputed colour scale; finer than 8-bit output can show.
const SHADES: usize = 512;

/// Share of the full opacity at `t` in 0..=1: the smoothstep curve 3t² − 2t³. The small ups and downs of normal scores
/// stay faint, the threshold's neighbourhood changes fastest.
pub(super) fn opacity(t: f32) -> f32 {
    t * t * (3.0 - 2.0 * t)
}

/// Colour and opacity of each step; below an opacity of 1 the strongest score still lets the photograph show through.
fn shades(max_opacity: f32) -> Vec<([u8; 3], f32)> {
    (0..SHADES)
        .map(|i| {
            let t = i as f32 / (SHADES - 1) as f32;
            (inferno(COLOUR_START + (1.0 - COLOUR_START) * t), max_opacity.clamp(0.0, 1.0) * opacity(t))
        })
        .collect()
}

/// Dimmed, with diagonal lines whose spacing follows the picture's size.
fn not_inspected(pixel: Rgb<u8>, index: usize, (width, height): (u32, u32)) -> Rgb<u8> {
    let (x, y) = (index as u32 % width, index as u32 / width);
    let spacing = (width.min(height) / 40).max(4);
    let share = if (x + y) % spacing < (spacing / 5).max(1) { 0.35 } else { 0.7 };
    blend(pixel, [128, 128, 128], share)
}

/// Shrinking averages all source pixels; enlarging interpolates.
fn resize(picture: &RgbImage, width: u32, height: u32) -> RgbImage {
    if (width, height) == picture.dimensions() {
        picture.clone()
    } else if width <= picture.width() && height <= picture.height() {
        shrink(picture, width, height)
    } else {
        imageops::resize(picture, width, height, FilterType::Triangle)
    }
}

fn stack(above: &RgbImage, below: &RgbImage) -> RgbImage {
    let mut both = RgbImage::new(above.width(), above.height() + below.height());
    imageops::replace(&mut both, above, 0, 0);
    imageops::replace(&mut both, below, 0, i64::from(above.height()));
    both
}

#[cfg(test)]
mod tests {
    use super::*;

    fn photograph(width: u32, height: u32) -> RgbImage {
        RgbImage::from_fn(width, height, |x, y| Rgb([(x * 7 % 256) as u8, (y * 5 % 256) as u8, 120]))
    }

    fn range() -> ScoreRange {
        ScoreRange::new(-0.5, 0.5).unwrap()
    }

    #[test]
    fn low_scores_leave_the_photograph_untouched() {
        let photo = photograph(16, 9);
        for score in [-0.5, -0.51, -100.0] {
            let drawn = overlay(&photo, &[score; 144], range(), &OverlayOptions::default()).unwrap();
            assert_eq!(drawn, photo, "score {score}");
        }
    }

    #[test]
    fn colour_covers_more_as_the_score_rises() {
        let photo = RgbImage::from_pixel(5, 1, Rgb([20, 40, 60]));
        let map = [-0.5, -0.25, 0.0, 0.25, 9.0];
        let drawn = overlay(&photo, &map, range(), &OverlayOptions::default()).unwrap();
        let reds: Vec<u8> = drawn.pixels().map(|p| p.0[0]).collect();
        assert!(reds.windows(2).all(|w| w[0] < w[1]), "{reds:?}");
    }

    #[test]
    fn uninspected_pixels_differ_from_normal_ones() {
        let photo = RgbImage::from_pixel(40, 40, Rgb([200, 40, 40]));
        let mut map = vec![-1.0; 1600];
        map[..400].fill(f32::NAN);
        let drawn = overlay(&photo, &map, range(), &OverlayOptions::default()).unwrap();
        assert!(drawn.pixels().take(400).all(|p| p.0 != [200, 40, 40]));
        assert!(drawn.pixels().skip(400).all(|p| p.0 == [200, 40, 40]));
    }

    #[test]
    fn outline_and_legend() {
        let photo = photograph(120, 80);
        let mut map = vec![-0.5; 120 * 80];
        for y in 30..40 {
            map[y * 120 + 50..y * 120 + 60].fill(0.4);
        }
        let options =
            OverlayOptions { outline_from: Some(0.1), legend: Legend::Below, ..OverlayOptions::default() };
        let drawn = overlay(&photo, &map, range(), &options).unwrap();
        assert_eq!(drawn.width(), 120);
        assert!(drawn.height() > 80);
        assert_eq!(drawn.get_pixel(49, 35).0, OutlineStyle::predicted((120, 80)).line);
        assert_ne!(drawn.get_pixel(55, 35), photo.get_pixel(55, 35));
        assert_eq!(drawn.get_pixel(5, 5), photo.get_pixel(5, 5));
    }

    #[test]
    fn wrong_sizes_infinities_and_ranges_are_refused() {
        let photo = photograph(4, 3);
        let draw = |map: &[f32]| overlay(&photo, map, range(), &OverlayOptions::default());
        assert!(matches!(draw(&[0.0; 11]), Err(OutputError::Size { expected: 12, actual: 11, .. })));
        let mut map = [0.0; 12];
        map[7] = f32::INFINITY;
        assert!(matches!(draw(&map), Err(OutputError::NotFinite { index: 7, .. })));
        assert!(matches!(ground_truth(&photo, &[0; 5]), Err(OutputError::Size { .. })));
        for (low, high) in
            [(1.0, 1.0), (2.0, 1.0), (f32::NAN, 1.0), (0.0, f32::INFINITY), (f32::MIN, f32::MAX)]
        {
            assert!(ScoreRange::new(low, high).is_err(), "{low} {high}");
        }
    }

    #[test]
    fn thumbnails_keep_proportions() {
        let (wide, tall) = (photograph(200, 100), photograph(60, 120));
        assert_eq!(thumbnail(&wide, 64).dimensions(), (64, 32));
        assert_eq!(thumbnail(&tall, 500), tall);
        assert_eq!(thumbnail(&photograph(1000, 1), 10).dimensions(), (10, 1));
        let flat = RgbImage::from_pixel(300, 200, Rgb([10, 200, 30]));
        assert!(thumbnail(&flat, 64).pixels().all(|p| p.0 == [10, 200, 30]));
    }
}
