//! Raw anomaly maps as files: what other programs read to do their own thresholding.
//!
//! In: one f32 score per pixel of the ORIGINAL photograph, row-major (H rows of W), higher meaning more anomalous,
//! NaN where the model did not inspect. Out, by choice:
//!
//! - `.npy` (the default; exact): NumPy format version 1.0, `<f4`, C order, shape `(H, W)`. `numpy.load` reads it.
//! - 16-bit gray PNG (smaller, viewable; rounded): code 0 is "not inspected"; codes 1 to 65535 run linearly from
//!   `low` to `high`, and scores outside are clamped. The ends stand in tEXt chunks, so that
//!   `score = low + (code - 1) / 65534 * (high - low)`, within half a step of `(high - low) / 65534`.
//!
//! Sources: NumPy's `numpy.lib.format` description; PNG specification (third edition), section 11.3.3 for tEXt.

use super::error::check_size;
use super::heatmap::ScoreRange;
use super::{OutputError, atomic};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// File format of a raw anomaly map.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MapFormat {
    /// NumPy array of f32, exact.
    #[default]
    Npy,
    /// 16-bit gray PNG, linear between the two scores in its tEXt chunks.
    Png16,
}

impl MapFormat {
    /// The file name's extension, without the dot.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Npy => "npy",
            Self::Png16 => "png",
        }
    }
}

/// A raw map read back: `scores` row-major, `height` rows of `width`.
#[derive(Debug, Clone, PartialEq)]
pub struct RawMap {
    /// One score per pixel; NaN was not inspected.
    pub scores: Vec<f32>,
    /// Pixels across.
    pub width: u32,
    /// Pixels down.
    pub height: u32,
}

/// Write a map in either format; `range` is used by the PNG only.
pub fn write_map(
    path: &Path,
    format: MapFormat,
    scores: &[f32],
    size: (u32, u32),
    range: ScoreRange,
) -> Result<(), OutputError> {
    let bytes = match format {
        MapFormat::Npy => npy_bytes(scores, size)?,
        MapFormat::Png16 => png16_bytes(scores, size, range)?,
    };
    atomic::write_bytes(path, &bytes)
}

/// The bytes of a `.npy` file. `size` is (width, height); the array's shape is `(height, width)`.
pub fn npy_bytes(scores: &[f32], size: (u32, u32)) -> Result<Vec<u8>, OutputError> {
    check_size("anomaly map", scores.len(), size)?;
    let (width, height) = size;
    let mut header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({height}, {width}), }}");
    // The whole preamble is padded to a multiple of 64 bytes, so that the data is aligned when memory-mapped.
    let unpadded = NPY_MAGIC.len() + 2 + header.len() + 1;
    header.push_str(&" ".repeat(unpadded.next_multiple_of(64) - unpadded));
    header.push('\n');
    let mut bytes = Vec::with_capacity(NPY_MAGIC.len() + 2 + header.len() + 4 * scores.len());
    bytes.extend_from_slice(NPY_MAGIC);
    bytes.extend_from_slice(&(header.len() as u16).to_le_bytes());
    bytes.extend_from_slice(header.as_bytes());
    bytes.extend(scores.iter().flat_map(|s| s.to_le_bytes()));
    Ok(bytes)
}

/// Read back what [`npy_bytes`] wrote: two-dimensional `<f4` in C order, nothing else.
pub fn parse_npy(bytes: &[u8]) -> Result<RawMap, OutputError> {
    let bad = |reason: &str| OutputError::MapFormat {
        reason: reason.to_string(),
        expected: "a version 1.0 .npy file holding a C-order '<f4' array of shape (H, W)",
    };
    let rest = bytes.strip_prefix(NPY_MAGIC).ok_or_else(|| bad("the file does not begin like one"))?;
    let (length, rest) = rest.split_first_chunk::<2>().ok_or_else(|| bad("the header is cut off"))?;
    let (header, data) = rest
        .split_at_checked(usize::from(u16::from_le_bytes(*length)))
        .ok_or_else(|| bad("the header is cut off"))?;
    let header = std::str::from_utf8(header).map_err(|_| bad("the header is not text"))?;
    if !header.contains("'descr': '<f4'") || !header.contains("'fortran_order': False") {
        return Err(bad("the array has another type or order"));
    }
    let shape: Vec<u32> = header
        .split_once("'shape': (")
        .and_then(|(_, s)| s.split_once(')'))
        .map(|(s, _)| s.split(',').filter_map(|n| n.trim().parse().ok()).collect())
        .unwrap_or_default();
    let &[height, width] = shape.as_slice() else { return Err(bad("the shape is not two-dimensional")) };
    if data.len() as u64 != u64::from(width) * u64::from(height) * 4 {
        return Err(bad("the data does not fill the shape"));
    }
    let scores = data.chunks_exact(4).map(|c| f32::from_le_bytes([c[0], c[1], c[2], c[3]])).collect();
    Ok(RawMap { scores, width, height })
}

/// The bytes of the 16-bit PNG form. `size` is (width, height). Infinite scores are clamped like any other.
pub fn png16_bytes(scores: &[f32], size: (u32, u32), range: ScoreRange) -> Result<Vec<u8>, OutputError> {
    check_size("anomaly map", scores.len(), size)?;
    let encode =
        |e: png::EncodingError| OutputError::Encode { what: "16-bit anomaly map", reason: e.to_string() };
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, size.0, size.1);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_depth(png::BitDepth::Sixteen);
    encoder.set_compression(png::Compression::Fast);
    for (keyword, text) in [
        (KEY_LOW, range.low().to_string()),
        (KEY_HIGH, range.high().to_string()),
        (KEY_ENCODING, "0 = not inspected; score = low + (code - 1) / 65534 * (high - low)".to_string()),
    ] {
        encoder.add_text_chunk(keyword.to_string(), text).map_err(encode)?;
    }
    let codes: Vec<u8> = scores.iter().flat_map(|s| code(*s, range).to_be_bytes()).collect();
    let mut writer = encoder.write_header().map_err(encode)?;
    writer.write_image_data(&codes).map_err(encode)?;
    writer.finish().map_err(encode)?;
    Ok(bytes)
}

/// Magic string and version 1.0.
const NPY_MAGIC: &[u8] = b"\x93NUMPY\x01\x00";
const KEY_LOW: &str = "anomaly-low";
const KEY_HIGH: &str = "anomaly-high";
const KEY_ENCODING: &str = "anomaly-encoding";
/// Codes 1 to 65535 hold this many steps.
const STEPS: f64 = 65534.0;

fn code(score: f32, range: ScoreRange) -> u16 {
    if score.is_nan() {
        return 0;
    }
    let (low, high) = (f64::from(range.low()), f64::from(range.high()));
    let position = ((f64::from(score) - low) / (high - low)).clamp(0.0, 1.0);
    (position * STEPS).round() as u16 + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Read back what [`png16_bytes`] wrote, with the range it was written in.
    fn parse_png16(bytes: &[u8]) -> Result<(RawMap, ScoreRange), OutputError> {
        let bad = |reason: String| OutputError::MapFormat {
            reason,
            expected: "a 16-bit gray PNG with the tEXt chunks anomaly-low and anomaly-high",
        };
        let mut reader =
            png::Decoder::new(std::io::Cursor::new(bytes)).read_info().map_err(|e| bad(e.to_string()))?;
        let (width, height) = (reader.info().width, reader.info().height);
        if reader.output_color_type() != (png::ColorType::Grayscale, png::BitDepth::Sixteen) {
            return Err(bad(format!("the pixels are {:?}", reader.output_color_type())));
        }
        let end = |keyword: &str| {
            let chunk = reader.info().uncompressed_latin1_text.iter().find(|t| t.keyword == keyword);
            chunk
                .and_then(|t| t.text.parse::<f32>().ok())
                .ok_or_else(|| bad(format!("no number in the tEXt chunk {keyword}")))
        };
        let range = ScoreRange::new(end(KEY_LOW)?, end(KEY_HIGH)?)?;
        let size = reader.output_buffer_size().ok_or_else(|| bad("the picture is too large".into()))?;
        let mut codes = vec![0; size];
        reader.next_frame(&mut codes).map_err(|e| bad(e.to_string()))?;
        let scores = codes.chunks_exact(2).map(|c| decode(u16::from_be_bytes([c[0], c[1]]), range)).collect();
        Ok((RawMap { scores, width, height }, range))
    }

    fn decode(code: u16, range: ScoreRange) -> f32 {
        if code == 0 {
            return f32::NAN;
        }
        let (low, high) = (f64::from(range.low()), f64::from(range.high()));
        (low + f64::from(code - 1) / STEPS * (high - low)) as f32
    }

    /// A map with negative, tiny, huge and missing scores.
    fn sample(width: u32, height: u32) -> Vec<f32> {
        (0..width * height)
            .map(|i| match i % 11 {
                3 => f32::NAN,
                5 => -1e-7,
                n => (i as f32 * 0.37).sin() * 2.0 + n as f32 * 0.01,
            })
            .collect()
    }

    fn same_bits(a: &[f32], b: &[f32]) -> bool {
        a.iter().map(|v| v.to_bits()).eq(b.iter().map(|v| v.to_bits()))
    }

    #[test]
    fn npy_round_trips_bit_for_bit() {
        for size in [(1, 1), (7, 5), (640, 3), (100_000, 1)] {
            let scores = sample(size.0, size.1);
            let bytes = npy_bytes(&scores, size).unwrap();
            let header_end = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
            assert_eq!(header_end % 64, 0, "data must be aligned");
            assert_eq!(bytes[header_end - 1], b'\n');
            let back = parse_npy(&bytes).unwrap();
            assert_eq!((back.width, back.height), size);
            assert!(same_bits(&back.scores, &scores));
        }
    }

    #[test]
    fn npy_header_is_what_numpy_expects() {
        let bytes = npy_bytes(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], (3, 2)).unwrap();
        assert!(bytes.starts_with(b"\x93NUMPY\x01\x00\x76\x00{'descr': '<f4', 'fortran_order': False, "));
        assert_eq!(bytes.len(), 128 + 24);
        assert_eq!(&bytes[128..132], &1.0f32.to_le_bytes());
    }

    #[test]
    fn png_round_trips_within_half_a_step() {
        let range = ScoreRange::new(-1.5, 2.25).unwrap();
        let scores = sample(37, 23);
        let (back, read_range) = parse_png16(&png16_bytes(&scores, (37, 23), range).unwrap()).unwrap();
        assert_eq!((back.width, back.height, read_range), (37, 23, range));
        let half_step = (range.high() - range.low()) / 65534.0 / 2.0 + 1e-6;
        for (got, wanted) in back.scores.iter().zip(&scores) {
            if wanted.is_nan() {
                assert!(got.is_nan());
            } else {
                assert!((got - wanted.clamp(-1.5, 2.25)).abs() <= half_step, "{got} for {wanted}");
            }
        }
    }

    #[test]
    fn png_clamps_and_keeps_the_ends() {
        let range = ScoreRange::new(0.1, 0.7).unwrap();
        let scores = [f32::NEG_INFINITY, 0.1, 0.7, f32::INFINITY];
        let (back, _) = parse_png16(&png16_bytes(&scores, (2, 2), range).unwrap()).unwrap();
        assert_eq!(back.scores, [0.1, 0.1, 0.7, 0.7]);
    }

    #[test]
    fn foreign_and_damaged_files_are_refused() {
        let good = npy_bytes(&[0.0; 6], (3, 2)).unwrap();
        let mut doubles = good.clone();
        let at = doubles.windows(3).position(|w| w == b"<f4").unwrap();
        doubles[at + 2] = b'8';
        for (name, bytes) in [
            ("empty", &[][..]),
            ("cut header", &good[..40]),
            ("cut data", &good[..good.len() - 1]),
            ("f8", &doubles),
        ] {
            assert!(matches!(parse_npy(bytes), Err(OutputError::MapFormat { .. })), "{name}");
        }
        let picture = atomic::png_bytes(&image::RgbImage::new(3, 2)).unwrap();
        assert!(parse_png16(&picture).unwrap_err().to_string().contains("16-bit gray PNG"));
        assert!(parse_png16(b"no").is_err());
        assert!(npy_bytes(&[0.0; 5], (3, 2)).is_err());
    }

    #[test]
    fn the_format_chooses_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let range = ScoreRange::new(0.0, 1.0).unwrap();
        for format in [MapFormat::Npy, MapFormat::Png16] {
            let path = dir.path().join("map").with_extension(format.extension());
            write_map(&path, format, &[0.0, 0.25, 0.5, 1.0], (2, 2), range).unwrap();
            let bytes = std::fs::read(&path).unwrap();
            let back = match format {
                MapFormat::Npy => parse_npy(&bytes).unwrap(),
                MapFormat::Png16 => parse_png16(&bytes).unwrap().0,
            };
            assert!(back.scores.iter().zip([0.0, 0.25, 0.5, 1.0]).all(|(a, b)| (a - b).abs() < 1e-5));
        }
    }
}
