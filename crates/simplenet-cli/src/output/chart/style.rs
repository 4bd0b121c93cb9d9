//! The look of charts: sizes, colours, the embedded font and what its text takes.
//!
//! A figure is as wide as a column of a paper. Its colours are those of Okabe and Ito ("Color Universal Design", 2008), which
//! colour-blind readers tell apart; what they tell, dashes, markers or hatching tell too, for print in gray.

use std::sync::OnceLock;

use ab_glyph::{Font, FontRef};

use crate::output::OutputError;

/// Width of a figure: 8.5 cm.
pub(in crate::output) const WIDTH: f64 = 241.0;
/// Size of titles and axis names.
pub(in crate::output) const LARGE: f64 = 8.0;
/// Size of everything else.
pub(in crate::output) const SMALL: f64 = 7.0;
/// From one line of small text to the next.
pub(in crate::output) const LINE: f64 = 9.5;
/// Width of curves.
pub(in crate::output) const CURVE: f64 = 1.3;

/// What a shape is filled or drawn with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::output) enum Colour {
    /// Red, green and blue.
    Rgb([u8; 3]),
    /// A class of the page's style sheet, which says more than the colour.
    Class(&'static str),
}

pub(in crate::output) const BLACK: Colour = Colour::Rgb([0, 0, 0]);
pub(in crate::output) const WHITE: Colour = Colour::Rgb([255, 255, 255]);
pub(in crate::output) const GRAY: Colour = Colour::Rgb([115, 115, 115]);
pub(in crate::output) const GRID: Colour = Colour::Rgb([225, 225, 225]);
pub(in crate::output) const BLUE: Colour = Colour::Rgb([0, 114, 178]);
pub(in crate::output) const PALE_BLUE: Colour = Colour::Rgb([166, 206, 230]);
pub(in crate::output) const VERMILION: Colour = Colour::Rgb([213, 94, 0]);
pub(in crate::output) const GREEN: Colour = Colour::Rgb([0, 158, 115]);
pub(in crate::output) const ORANGE: Colour = Colour::Rgb([230, 159, 0]);
pub(in crate::output) const PURPLE: Colour = Colour::Rgb([170, 80, 130]);
/// What the page's style sheet says of every text of a chart.
pub(in crate::output) const OF_PAGE: Colour = Colour::Class("");

/// How axes look.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::output) struct Look {
    pub(in crate::output) grid: Colour,
    /// Around the axes, and their ticks; none on the page.
    pub(in crate::output) frame: Option<Colour>,
    pub(in crate::output) text: Colour,
    /// Sizes of the numbers and of the axes' names.
    pub(in crate::output) sizes: (f64, f64),
    /// Room left of, right of and below the frame.
    pub(in crate::output) room: (f64, f64, f64),
}

/// A figure for papers.
pub(in crate::output) const PAPER: Look =
    Look { grid: GRID, frame: Some(BLACK), text: BLACK, sizes: (SMALL, LARGE), room: (36.0, 11.0, 27.0) };
/// A chart of the report's page, whose style sheet sets the size of its text.
pub(in crate::output) const PAGE: Look = Look {
    grid: Colour::Class("grid"),
    frame: None,
    text: OF_PAGE,
    sizes: (13.0, 13.0),
    room: (62.0, 14.0, 44.0),
};

const FONT: &[u8] = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/assets/font/DejaVuSans-subset.ttf"));
/// Half the height of an x, in em: so far below the middle of a text its letters stand.
pub(in crate::output) const HALF_X: f64 = 0.265;
/// What a PNG shows for a character that the embedded font has not; the SVG holds the character itself.
const REPLACEMENT: char = '□';

/// The embedded font.
pub(in crate::output) fn font() -> Result<&'static FontRef<'static>, OutputError> {
    static LOADED: OnceLock<Option<FontRef<'static>>> = OnceLock::new();
    let unreadable = || OutputError::Encode { what: "plot", reason: "the embedded font is damaged".into() };
    LOADED.get_or_init(|| FontRef::try_from_slice(FONT).ok()).as_ref().ok_or_else(unreadable)
}

/// The text with [`REPLACEMENT`] for what the embedded font cannot draw.
pub(in crate::output) fn drawable(text: &str) -> Result<String, OutputError> {
    let font = font()?;
    Ok(text.chars().map(|c| if font.glyph_id(c).0 == 0 { REPLACEMENT } else { c }).collect())
}

/// Units of the font's outlines in an em.
pub(in crate::output) fn units_per_em(font: &FontRef<'_>) -> f64 {
    f64::from(font.units_per_em().unwrap_or(2048.0))
}

/// The text on one line, without what XML cannot hold.
pub(in crate::output) fn plain(text: &str) -> String {
    let odd = |c: char| c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}');
    text.chars().map(|c| if odd(c) { '\u{fffd}' } else { c }).collect()
}

/// Points that a text takes in the embedded font.
pub(in crate::output) fn width_of(text: &str, size: f64) -> Result<f64, OutputError> {
    let font = font()?;
    let unit = size / units_per_em(font);
    // A character that is not in the font is as wide as it is high, as most of those are.
    let advance = |c: char| match font.glyph_id(c) {
        id if id.0 == 0 => size,
        id => f64::from(font.h_advance_unscaled(id)) * unit,
    };
    Ok(text.chars().map(advance).sum())
}

/// The text in lines no wider than `width` points, broken at spaces (not at no-break ones) where there are any; at most `most` lines, of which the last
/// ends in an ellipsis where text is left out.
pub(in crate::output) fn wrap(
    text: &str,
    size: f64,
    width: f64,
    most: usize,
) -> Result<Vec<String>, OutputError> {
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
