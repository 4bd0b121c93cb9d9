//! Cameras of 10, 12 and 14 bits: the range is found, and pixels are as if the photographs had been saved in 8 bits.

use std::path::{Path, PathBuf};

use image::{GrayImage, ImageBuffer, Luma};

use super::*;
use crate::rng::SplitMix64;

fn picture() -> GrayImage {
    let mut rng = SplitMix64::new(8);
    GrayImage::from_fn(40, 30, |x, y| Luma([if (x, y) == (3, 4) { 255 } else { rng.below(240) as u8 }]))
}

fn save(dir: &Path, name: &str, sample: impl Fn(u8) -> u16) -> PathBuf {
    let path = dir.join(name);
    let picture = picture();
    ImageBuffer::from_fn(40, 30, |x, y| Luma([sample(picture.get_pixel(x, y).0[0])])).save(&path).unwrap();
    path
}

#[test]
fn every_depth_is_found_and_is_as_8_bits() {
    let dir = tempfile::tempdir().unwrap();
    let options = DecodeOptions::default();
    for (bits, left) in [(8, 0), (10, 0), (12, 0), (14, 0), (16, 0), (10, 6), (12, 4), (14, 2)] {
        let white = ((1u32 << bits) - 1) as f64;
        let sample = |v: u8| ((f64::from(v) / 255.0 * white).round() as u16) << left;
        let paths: Vec<PathBuf> =
            ["a.png", "b.tif"].iter().map(|name| save(dir.path(), name, sample)).collect();
        let range = SampleRange::of(&paths, &options);
        let found = range.resolve(&options);
        assert_eq!(found.bit_depth, BitDepth::Bits(if left > 0 { 16 } else { bits }));
        assert!(range.fits(&found));
        let note = range.notes(&found).remove(0);
        assert!(note.contains(&format!("hold {bits} bits")), "{note}");
        assert_eq!(note.contains("aligned to the left"), left > 0, "{note}");
        for path in &paths {
            let bytes = std::fs::read(path).unwrap();
            let got = decode_image(&bytes, path, &found).unwrap();
            assert_eq!(got.source.outside_range, 0);
            let worst = got.pixels.pixels().zip(picture().iter()).map(|(a, b)| a.0[0].abs_diff(*b)).max();
            assert!(worst <= Some(1), "{bits} bits, {left} to the left: {worst:?}");
        }
    }
}

#[test]
fn an_image_outside_the_range_says_so_and_the_rest_stays() {
    let dir = tempfile::tempdir().unwrap();
    let path = save(dir.path(), "bright.png", |v| u16::from(v) * 257);
    let bytes = std::fs::read(&path).unwrap();
    let options = DecodeOptions { bit_depth: BitDepth::Bits(12), ..DecodeOptions::default() };
    let got = decode_image(&bytes, &path, &options).unwrap();
    let above = picture().iter().filter(|&&v| u16::from(v) * 257 > 4095).count() as u64;
    assert_eq!(got.source.outside_range, above);
    assert_eq!(got.pixels.get_pixel(3, 4).0, [255; 3]);
    // Files of 8 bits have a range of their own, and so has a packed or a PGM file that names its largest value.
    let pgm = [&b"P5\n# by a camera\n2 1\n1023\n"[..], &[0x03, 0xFF, 0x01, 0xFF]].concat();
    let got = decode_image(&pgm, Path::new("part.pgm"), &options).unwrap();
    assert_eq!((got.pixels.into_raw(), got.source.bits), (vec![255, 255, 255, 127, 127, 127], 10));
    assert!(
        got.source.named_range
            && SampleRange::default() == {
                let mut range = SampleRange::default();
                range.see(&decode_image(&pgm, Path::new("part.pgm"), &options).unwrap().source);
                range
            }
    );
}

#[test]
fn clipping_is_left_as_it_is_and_told() {
    let dir = tempfile::tempdir().unwrap();
    let paths = [save(dir.path(), "a.png", |v| u16::from(v) * 16)];
    let options = DecodeOptions { sixteen_bit: SixteenBit::Clip, ..DecodeOptions::default() };
    let range = SampleRange::of(&paths, &options);
    assert_eq!(range.resolve(&options), options);
    assert!(!range.fits(&options));
    assert!(range.notes(&options)[0].contains("give --bit-depth 12"));
}

#[test]
fn little_contrast_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let dull: Vec<PathBuf> =
        (0..9).map(|i| save(dir.path(), &format!("dull {i}.png"), |v| u16::from(v) * 12)).collect();
    let options = DecodeOptions::default();
    let note = contrast_note(&dull, &options).unwrap();
    assert!(note.contains("of 256 grey levels"), "{note}");
    assert_eq!(contrast_note(&dull[..4], &options), None);
    let full: Vec<PathBuf> =
        (0..9).map(|i| save(dir.path(), &format!("full {i}.png"), |v| u16::from(v) * 257)).collect();
    assert_eq!(contrast_note(&full, &options), None);
    assert_eq!(contrast_note(&[], &options), None);
    // A few outliers are no contrast.
    let mut flat = image::RgbImage::from_pixel(50, 50, image::Rgb([90, 92, 94]));
    flat.put_pixel(0, 0, image::Rgb([255, 0, 255]));
    assert_eq!(grey_levels(&flat), 0);
}

#[test]
fn bit_depths_in_a_configuration() {
    for (text, depth) in
        [("\"auto\"", BitDepth::Auto), ("12", BitDepth::Bits(12)), ("\"14\"", BitDepth::Bits(14))]
    {
        assert_eq!(serde_json::from_str::<BitDepth>(text).unwrap(), depth);
    }
    for wrong in ["\"deep\"", "9", "-8", "\"0\""] {
        let error = serde_json::from_str::<BitDepth>(wrong).unwrap_err().to_string();
        assert!(error.contains("expected auto, 8, 10, 12, 14 or 16"), "{error}");
    }
}
