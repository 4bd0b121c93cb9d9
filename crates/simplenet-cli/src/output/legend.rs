//! A strip that explains a heat map's colours: low score, colour bar with the threshold's tick, high score.
//!
//! In: the score range, an optional threshold and the strip's width. Out: a small RGB picture to put below the heat
//! map. Its numbers are drawn with a built-in 5×7 dot font, so no font file travels with the program.

use super::colour::inferno;
use super::heatmap::{COLOUR_START, ScoreRange};
use image::{Rgb, RgbImage};

const BACKGROUND: Rgb<u8> = Rgb([24, 24, 27]);
const INK: Rgb<u8> = Rgb([235, 235, 235]);
const TICK: Rgb<u8> = Rgb([0, 229, 255]);
/// Columns and rows of a glyph, and the columns from one glyph to the next.
const GLYPH: (u32, u32, u32) = (5, 7, 6);

/// Draw the strip, `width` pixels wide. Below about 120 pixels the numbers are left out.
pub fn legend(width: u32, range: ScoreRange, threshold: Option<f32>) -> RgbImage {
    let scale = (width / 360).max(1);
    let height = (GLYPH.1 + 8) * scale;
    let mut strip = RgbImage::from_pixel(width, height, BACKGROUND);
    let margin = 6 * scale;
    let (low, high) = (number(range.low()), number(range.high()));
    let text_width = |text: &str| text.len() as u32 * GLYPH.2 * scale;
    let mut bar = margin..width.saturating_sub(margin);
    let needed = text_width(&low) + text_width(&high) + 4 * margin;
    if width >= needed + 40 * scale {
        let top = (height - GLYPH.1 * scale) / 2;
        write(&mut strip, &low, (margin, top), scale);
        write(&mut strip, &high, (width - margin - text_width(&high), top), scale);
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

fn write(strip: &mut RgbImage, text: &str, (left, top): (u32, u32), scale: u32) {
    for (position, character) in text.chars().enumerate() {
        for (row, bits) in glyph(character).into_iter().enumerate() {
            for column in (0..GLYPH.0).filter(|c| bits & (1 << (GLYPH.0 - 1 - c)) != 0) {
                let x = left + (position as u32 * GLYPH.2 + column) * scale;
                let y = top + row as u32 * scale;
                for (dx, dy) in (0..scale * scale).map(|i| (i % scale, i / scale)) {
                    if x + dx < strip.width() && y + dy < strip.height() {
                        strip.put_pixel(x + dx, y + dy, INK);
                    }
                }
            }
        }
    }
}

/// Seven rows of five dots, the leftmost dot in bit 4. Only what a number needs.
fn glyph(character: char) -> [u8; 7] {
    match character {
        '0' => [0b01110, 0b10001, 0b10011, 0b10101, 0b11001, 0b10001, 0b01110],
        '1' => [0b00100, 0b01100, 0b00100, 0b00100, 0b00100, 0b00100, 0b01110],
        '2' => [0b01110, 0b10001, 0b00001, 0b00110, 0b01000, 0b10000, 0b11111],
        '3' => [0b11110, 0b00001, 0b00001, 0b01110, 0b00001, 0b00001, 0b11110],
        '4' => [0b00010, 0b00110, 0b01010, 0b10010, 0b11111, 0b00010, 0b00010],
        '5' => [0b11111, 0b10000, 0b11110, 0b00001, 0b00001, 0b10001, 0b01110],
        '6' => [0b00110, 0b01000, 0b10000, 0b11110, 0b10001, 0b10001, 0b01110],
        '7' => [0b11111, 0b00001, 0b00010, 0b00100, 0b00100, 0b01000, 0b01000],
        '8' => [0b01110, 0b10001, 0b10001, 0b01110, 0b10001, 0b10001, 0b01110],
        '9' => [0b01110, 0b10001, 0b10001, 0b01111, 0b00001, 0b00010, 0b01100],
        'e' => [0b00000, 0b00000, 0b01110, 0b10001, 0b11111, 0b10000, 0b01110],
        '-' => [0b00000, 0b00000, 0b00000, 0b11111, 0b00000, 0b00000, 0b00000],
        '.' => [0b00000, 0b00000, 0b00000, 0b00000, 0b00000, 0b01100, 0b01100],
        _ => [0; 7],
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
