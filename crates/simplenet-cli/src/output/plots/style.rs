//! The look of the figures: sizes in points of paper, colours, the font of the PNGs and what its text takes.
//!
//! A figure is as wide as a column of a paper. Colours are those of Okabe and Ito ("Color Universal Design", 2008), which
//! colour-blind readers tell apart; what they tell, dashes, markers or hatching tell too, for print in gray.

use ab_glyph::{Font, FontRef, ScaleFont};
use plotters::style::{FontStyle, register_font};
use std::sync::OnceLock;

use crate::output::OutputError;

/// Width of a figure: 8.5 cm.
pub(super) const WIDTH: f64 = 241.0;
/// Size of titles and axis names.
pub(super) const LARGE: f64 = 8.0;
/// Size of everything else.
pub(super) const SMALL: f64 = 7.0;
/// From one line of small text to the next.
pub(super) const LINE: f64 = 9.5;
/// Width of curves.
pub(super) const CURVE: f64 = 1.3;

/// A colour, red, green and blue.
pub(super) type Colour = [u8; 3];

pub(super) const BLACK: Colour = [0, 0, 0];
pub(super) const WHITE: Colour = [255, 255, 255];
pub(super) const GRAY: Colour = [115, 115, 115];
pub(super) const GRID: Colour = [225, 225, 225];
pub(super) const BLUE: Colour = [0, 114, 178];
pub(super) const PALE_BLUE: Colour = [166, 206, 230];
pub(super) const VERMILION: Colour = [213, 94, 0];
pub(super) const GREEN: Colour = [0, 158, 115];
pub(super) const ORANGE: Colour = [230, 159, 0];
pub(super) const PURPLE: Colour = [170, 80, 130];

/// The family that SVG names and under which the embedded font is known.
pub(super) const FAMILY: &str = "sans-serif";
const FONT: &[u8] = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/assets/font/DejaVuSans-subset.ttf"));
/// What a PNG shows for a character that the embedded font has not; the SVG holds the character itself.
const REPLACEMENT: char = '□';

/// The embedded font, made known to plotters at the first call.
pub(super) fn font() -> Result<&'static FontRef<'static>, OutputError> {
    static LOADED: OnceLock<Option<FontRef<'static>>> = OnceLock::new();
    let load = || {
        register_font(FAMILY, FontStyle::Normal, FONT).ok()?;
        FontRef::try_from_slice(FONT).ok()
    };
    let unreadable = || OutputError::Encode { what: "plot", reason: "the embedded font is damaged".into() };
    LOADED.get_or_init(load).as_ref().ok_or_else(unreadable)
}

/// The text with [`REPLACEMENT`] for what the embedded font cannot draw.
pub(super) fn drawable(text: &str) -> Result<String, OutputError> {
    let font = font()?;
    Ok(text.chars().map(|c| if font.glyph_id(c).0 == 0 { REPLACEMENT } else { c }).collect())
}

/// The text on one line, without what XML cannot hold.
pub(super) fn plain(text: &str) -> String {
    let odd = |c: char| c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}');
    text.chars().map(|c| if odd(c) { '\u{fffd}' } else { c }).collect()
}

/// Points that a text takes in the embedded font.
pub(super) fn width_of(text: &str, size: f64) -> Result<f64, OutputError> {
    let font = font()?;
    let em = f64::from(font.units_per_em().unwrap_or(2048.0));
    let height = f64::from(font.height_unscaled());
    let scaled = font.as_scaled((height / em * size) as f32);
    // A character that is not in the font is as wide as it is high, as most of those are.
    let advance = |c: char| match font.glyph_id(c) {
        id if id.0 == 0 => size,
        id => f64::from(scaled.h_advance(id)),
    };
    Ok(text.chars().map(advance).sum())
}

/// The text in lines no wider than `width` points, broken at spaces (not at no-break ones) where there are any; at most `most` lines, of which the last
/// ends in an ellipsis where text is left out.
pub(super) fn wrap(text: &str, size: f64, width: f64, most: usize) -> Result<Vec<String>, OutputError> {
    let mut lines: Vec<String> = vec![String::new()];
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        let last = lines.len() - 1;
        let longer = if lines[last].is_empty() { word.into() } else { format!("{} {word}", lines[last]) };
        if width_of(&longer, size)? <= width {
            lines[last] = longer;
            continue;
        }
        if !lines[last].is_empty() {
            lines.push(String::new());
        }
        for c in word.chars() {
            let last = lines.len() - 1;
            if !lines[last].is_empty() && width_of(&format!("{}{c}", lines[last]), size)? > width {
                lines.push(String::new());
            }
            let last = lines.len() - 1;
            lines[last].push(c);
        }
    }
    if lines.len() > most {
        lines.truncate(most);
        if let Some(last) = lines.last_mut() {
            while !last.is_empty() && width_of(&format!("{last}…"), size)? > width {
                last.pop();
            }
            last.push('…');
        }
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_character_that_figures_draw_is_in_the_font() {
        let own = "AUROC 0.9839 %–×·±≥…□\u{fffd} (batch 16) Größe Łódź деталь µ";
        assert_eq!(drawable(own).unwrap(), own);
        assert_eq!(drawable("螺丝 M4").unwrap(), "□□ M4");
    }

    #[test]
    fn control_characters_do_not_reach_xml() {
        assert_eq!(plain("a\nb\u{1}c<&\""), "a\u{fffd}b\u{fffd}c<&\"");
    }

    #[test]
    fn long_texts_are_broken_and_cut() {
        let text = "EfficientAD-M (batches of 16) on a machine with a very long name, 128 threads";
        let lines = wrap(text, SMALL, 100.0, 9).unwrap();
        assert!(lines.len() > 2, "{lines:?}");
        assert_eq!(lines.join(" "), text);
        let unbroken = "x".repeat(200);
        let lines = wrap(&unbroken, SMALL, 100.0, 2).unwrap();
        assert!(lines.len() == 2 && lines[1].ends_with('…'), "{lines:?}");
        assert!(lines.iter().all(|line| width_of(line, SMALL).unwrap() <= 100.0), "{lines:?}");
        assert_eq!(wrap("", SMALL, 100.0, 2).unwrap(), [""]);
    }
}
