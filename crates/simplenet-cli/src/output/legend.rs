//! A strip that explains a heat map's colours: low score, colour bar with the threshold's tick, high score.
//!
//! In: the score range, an optional threshold and the strip's width. Out: a small RGB picture to put below the heat
//! map.

use ab_glyph::{Font, PxScale, ScaleFont, point};
use image::{Rgb, RgbImage};

use super::chart::style::{font, width_of};
use super::colour::inferno;
use super::heatmap::{COLOUR_START, ScoreRange};

const BACKGROUND: Rgb<u8> = Rgb([24, 24, 27]);
const INK: Rgb<u8> = Rgb([235, 235, 235]);
const TICK: Rgb<u8> = Rgb([0, 229, 255]);
/// Rows of a digit, and the size of the font that has them.
const DIGIT: u32 = 7;
const SIZE: f64 = 9.6;

/// Draw the strip, `width` pixels wide. Below about 120 pixels the numbers are left out.
pub fn legend(width: u32, range: ScoreRange, threshold: Option<f32>) -> RgbImage {
    let scale = (width / 360).max(1);
    let height = (DIGIT + 8) * scale;
    let mut strip = RgbImage::from_pixel(width, height, BACKGROUND);
    let margin = 6 * scale;
    let (low, high) = (number(range.low()), number(range.high()));
    let size = SIZE * f64::from(scale);
    // The embedded font can be read.
    let text_width = |text: &str| width_of(text, size).unwrap_or_default().ceil() as u32;
    let mut bar = margin..width.saturating_sub(margin);
    let needed = text_width(&low) + text_width(&high) + 4 * margin;
    if width >= needed + 40 * scale {
        let below = (height + DIGIT * scale) / 2;
        write(&mut strip, &low, (margin, below), size);
        write(&mut strip, &high, (width - margin - text_width(&high), below), size);
        bar = margin * 2 + text_width(&low)..width - 2 * margin - text_width(&high);
    }
    if bar.is_empty() {
        return strip;
    }
    let span = (bar.end - bar.start).max(2) - 1;
    for x in bar.clone() {
        let t = (x - bar.start) as f32 / span as f32;
        let colour = Rgb(inferno(COLOUR_START + (1.0 - COLOUR_START) * t));
        for y in 4 * scale..height - 4 * scale {
            strip.put_pixel(x, y, colour);
        }
    }
    if let Some(at) = threshold.map(|t| range.position(t)).filter(|t| (0.0..=1.0).contains(t)) {
        let centre = bar.start + (at * span as f32).round() as u32;
        for x in centre..(centre + scale).min(bar.end) {
            for y in scale..height - scale {
                strip.put_pixel(x, y, TICK);
            }
        }
    }
    strip
}

/// Three significant digits, without an exponent for everyday sizes.
fn number(value: f32) -> String {
    match value.abs() {
        0.0 => "0".into(),
        v if !(1e-3..1e5).contains(&v) => format!("{value:.1e}"),
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        v if v >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// Writes a text to the right of a place, on the line that runs through it.
fn write(strip: &mut RgbImage, text: &str, (left, line): (u32, u32), size: f64) {
    let Ok(font) = font() else { return };
    let height = font.height_unscaled() / font.units_per_em().unwrap_or(2048.0);
    let scale = PxScale::from(size as f32 * height);
    let mut pen = point(left as f32, line as f32);
    for letter in text.chars() {
        let glyph = font.glyph_id(letter);
        if let Some(outline) = font.outline_glyph(glyph.with_scale_and_position(scale, pen)) {
            let corner = outline.px_bounds().min;
            outline.draw(|x, y, covered| {
                // Thin strokes cover a part of their pixels: a little more, to be read on dark.
                let covered = (covered * 1.5).min(1.0);
                let mix = |under: u8, ink: u8| {
                    (f32::from(under) + covered * (f32::from(ink) - f32::from(under))).round() as u8
                };
                let (x, y) = (corner.x as u32 + x, corner.y as u32 + y);
                if let Some(pixel) = strip.get_pixel_mut_checked(x, y) {
                    pixel.0 = std::array::from_fn(|channel| mix(pixel.0[channel], INK.0[channel]));
                }
            });
        }
        pen.x += font.as_scaled(scale).h_advance(glyph);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let cases = [
            (0.0, "0"),
            (-0.4567, "-0.457"),
            (1.234, "1.23"),
            (-12.34, "-12.3"),
            (1234.5, "1234"),
            (1e-5, "1.0e-5"),
            (2.5e7, "2.5e7"),
        ];
        for (value, expected) in cases {
            assert_eq!(number(value), expected);
        }
    }

    #[test]
    fn the_bar_brightens_and_carries_the_tick() {
        let range = ScoreRange::new(-0.5, 1.5).unwrap();
        let strip = legend(400, range, Some(0.5));
        let middle = strip.height() / 2;
        let is_ink = |p: &Rgb<u8>| *p == INK;
        assert!(strip.pixels().any(is_ink), "numbers are drawn");
        let ticks = (0..400).filter(|x| *strip.get_pixel(*x, middle) == TICK).count();
        assert_eq!(ticks, 1);
        assert!(!legend(400, range, Some(9.0)).pixels().any(|p| *p == TICK), "a threshold off the scale");
    }

    #[test]
    fn any_width_is_fine() {
        for width in [0, 1, 7, 12, 13, 40, 119, 5000] {
            let strip = legend(width, ScoreRange::new(0.0, 1.0).unwrap(), Some(1.0));
            assert_eq!(strip.width(), width);
        }
    }
}
