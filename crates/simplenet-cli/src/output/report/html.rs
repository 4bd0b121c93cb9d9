//! Text and pictures made safe to stand inside a page.

use crate::output::OutputError;
use crate::output::heatmap::thumbnail;
use base64::Engine;
use image::RgbImage;
use image::codecs::jpeg::JpegEncoder;

/// Text for element content and quoted attributes. Control characters, which HTML cannot hold, become U+FFFD.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' | '\t' => out.push(' '),
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

/// A picture, shrunk to `side`, as a JPEG `data:` URI.
pub(super) fn data_uri(picture: &RgbImage, side: u32, quality: u8) -> Result<String, OutputError> {
    let mut jpeg = Vec::new();
    thumbnail(picture, side)
        .write_with_encoder(JpegEncoder::new_with_quality(&mut jpeg, quality.clamp(1, 100)))
        .map_err(|e| OutputError::Encode { what: "thumbnail", reason: e.to_string() })?;
    let mut uri = String::from("data:image/jpeg;base64,");
    base64::engine::general_purpose::STANDARD.encode_string(&jpeg, &mut uri);
    Ok(uri)
}

/// A score as people read it: three decimals, or an exponent where that would show nothing.
pub(super) fn score(value: f32) -> String {
    if value != 0.0 && !(1e-2..1e5).contains(&value.abs()) {
        format!("{value:.2e}")
    } else {
        format!("{value:.3}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_become_markup() {
        assert_eq!(
            escape("<img src=x onerror='a()'>&\"\u{0}\n"),
            "&lt;img src=x onerror=&#39;a()&#39;&gt;&amp;&quot;\u{fffd} "
        );
        assert_eq!(escape("größe 螺丝"), "größe 螺丝");
    }

    #[test]
    fn thumbnails_are_small_jpegs() {
        let uri = data_uri(&RgbImage::from_pixel(900, 600, image::Rgb([200, 30, 30])), 90, 80).unwrap();
        let base64 = uri.strip_prefix("data:image/jpeg;base64,").unwrap();
        let bytes = base64::engine::general_purpose::STANDARD.decode(base64).unwrap();
        let back = image::load_from_memory(&bytes).unwrap().to_rgb8();
        assert_eq!(back.dimensions(), (90, 60));
        assert!(back.get_pixel(45, 30).0[0] > 180);
    }

    #[test]
    fn scores_are_short() {
        for (value, expected) in [(0.0, "0.000"), (-0.4567, "-0.457"), (12.0, "12.000"), (1.5e-4, "1.50e-4")]
        {
            assert_eq!(score(value), expected);
        }
    }
}
