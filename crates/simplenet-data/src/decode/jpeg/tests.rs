//! Whole files of every kind are read; what lost its end is refused, whatever marker stands there.

use std::path::Path;

use jpeg_encoder::{ColorType, Encoder, SamplingFactor};

use super::*;
use crate::decode::{DecodeOptions, decode_bytes};
use crate::rng::SplitMix64;

/// How a file is encoded.
#[derive(Debug, Clone, Copy)]
struct How {
    color: ColorType,
    sampling: SamplingFactor,
    progressive: bool,
    restart: u16,
    optimised: bool,
}

fn encode(width: u16, height: u16, how: How) -> Vec<u8> {
    let channels = match how.color {
        ColorType::Luma => 1,
        ColorType::Cmyk | ColorType::CmykAsYcck => 4,
        _ => 3,
    };
    let mut rng = SplitMix64::new(9);
    let count = usize::from(width) * usize::from(height) * channels;
    // Neither noise nor one colour: most blocks have a few coefficients, some none.
    let pixels: Vec<u8> =
        (0..count).map(|i| (i / 90 % 7 * 30 + rng.below(i / 4000 % 3 * 9 + 1)) as u8).collect();
    let mut bytes = vec![];
    let mut encoder = Encoder::new(&mut bytes, 90);
    encoder.set_sampling_factor(how.sampling);
    encoder.set_progressive(how.progressive);
    encoder.set_optimized_huffman_tables(how.optimised);
    if how.restart > 0 {
        encoder.set_restart_interval(how.restart);
    }
    encoder.encode(&pixels, width, height, how.color).unwrap();
    bytes
}

fn kinds() -> Vec<How> {
    let mut kinds = vec![];
    for color in [ColorType::Luma, ColorType::Rgb, ColorType::Cmyk, ColorType::CmykAsYcck] {
        for sampling in [SamplingFactor::F_1_1, SamplingFactor::F_2_1, SamplingFactor::F_2_2] {
            for progressive in [false, true] {
                for restart in [0, 5] {
                    let optimised = sampling == SamplingFactor::F_2_1;
                    if color == ColorType::Cmyk && sampling != SamplingFactor::F_1_1 {
                        continue; // Not read; below.
                    }
                    kinds.push(How { color, sampling, progressive, restart, optimised });
                }
            }
        }
    }
    kinds
}

fn decoded(bytes: &[u8]) -> Result<image::RgbImage, DataError> {
    decode_bytes(bytes, Path::new("part.jpg"), &DecodeOptions::default())
}

#[test]
fn whole_files_are_read_whatever_they_are() {
    for how in kinds() {
        for (width, height) in [(160, 120), (123, 77), (8, 200), (7, 5), (1, 1)] {
            let bytes = encode(width, height, how);
            assert_eq!(judge(&[], &bytes), Verdict::Whole, "{how:?} {width} x {height}");
            let image = decoded(&bytes).unwrap_or_else(|e| panic!("{how:?} {width} x {height}: {e}"));
            assert_eq!(image.dimensions(), (width.into(), height.into()));
            // Bytes behind the end do no harm: a vendor's, another picture's.
            for behind in [vec![0; 300], b"VENDOR".to_vec(), bytes.clone()] {
                assert_eq!(decoded(&[bytes.clone(), behind].concat()).unwrap(), image);
            }
        }
    }
}

#[test]
fn what_lost_its_end_is_truncated_even_with_an_end_marker() {
    for how in kinds() {
        let bytes = encode(160, 120, how);
        let data = bytes.windows(2).position(|two| two == [0xFF, 0xDA]).unwrap() + 16;
        for share in [1, 20, 50, 80, 90, 97] {
            let keep = data + (bytes.len() - 2 - data) * share / 100;
            for end in [&[0xFF, 0xD9][..], &[]] {
                let cut = [&bytes[..keep], end].concat();
                let error = decoded(&cut).expect_err(&format!("{how:?}: {share} % were taken for whole"));
                assert!(error.to_string().contains("JPEG"), "{error}");
                if !how.progressive {
                    assert!(matches!(error, DataError::Truncated { .. }), "{how:?} {share} %: {error}");
                }
            }
        }
    }
}

#[test]
fn a_part_that_is_missing_in_the_middle_is_seen_by_the_restart_markers() {
    let how = How {
        color: ColorType::Rgb,
        sampling: SamplingFactor::F_2_2,
        progressive: false,
        restart: 4,
        optimised: false,
    };
    let bytes = encode(160, 120, how);
    let marker = |n: u8| bytes.windows(2).position(|two| two == [0xFF, 0xD0 + n]).unwrap();
    let without = [&bytes[..marker(2)], &bytes[marker(3)..]].concat();
    assert!(decoded(&without).unwrap_err().to_string().contains("between restart markers is missing"));
}

#[test]
fn kinds_that_are_not_read_have_names() {
    let how = kinds()[0];
    let mut bytes = encode(16, 16, how);
    let frame = bytes.windows(2).position(|two| two == [0xFF, 0xC0]).unwrap();
    bytes[frame + 4] = 12;
    assert!(decoded(&bytes).unwrap_err().to_string().contains("12 bits for each sample"));
    (bytes[frame + 1], bytes[frame + 4]) = (0xC9, 8);
    assert!(decoded(&bytes).unwrap_err().to_string().contains("arithmetic coding"));
    let odd = How { color: ColorType::Cmyk, sampling: SamplingFactor::F_2_1, ..how };
    assert!(decoded(&encode(32, 32, odd)).unwrap_err().to_string().contains("inks of several sizes"));
    bytes[frame + 1] = 0xC3;
    assert!(decoded(&bytes).unwrap_err().to_string().contains("lossless JPEG"));
}
