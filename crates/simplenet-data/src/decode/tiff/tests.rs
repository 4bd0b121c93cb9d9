//! Each kind of TIFF file that cameras and programs write: read to the right pixels, or refused by its name.

use std::path::Path;

use image::{GrayImage, RgbImage};
use tiff::encoder::{TiffEncoder, colortype};

use super::*;
use crate::decode::{Channels, DecodeOptions, Decoded, decode_image};
use crate::rng::SplitMix64;

const SHORT: u16 = 3;
const LONG: u16 = 4;

/// A tag: number, type, values.
type TagOf = (u16, u16, Vec<u32>);

/// A little-endian file of pages; each has its tags and one strip of bytes.
fn file(pages: &[(Vec<TagOf>, Vec<u8>)]) -> Vec<u8> {
    let mut out = b"II\x2A\0\0\0\0\0".to_vec();
    let mut link = 4;
    for (tags, strip) in pages {
        let mut tags = tags.clone();
        let strip_at = out.len() as u32;
        out.extend(strip);
        out.resize(out.len().next_multiple_of(2), 0);
        tags.push((273, LONG, vec![strip_at]));
        tags.push((279, LONG, vec![strip.len() as u32]));
        tags.sort_by_key(|tag| tag.0);
        let mut entries = vec![];
        for (number, kind, values) in &tags {
            let bytes: Vec<u8> = match *kind {
                SHORT => values.iter().flat_map(|&v| (v as u16).to_le_bytes()).collect(),
                _ => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
            };
            entries.extend(number.to_le_bytes());
            entries.extend(kind.to_le_bytes());
            entries.extend((values.len() as u32).to_le_bytes());
            let mut place = if bytes.len() <= 4 {
                bytes
            } else {
                let at = (out.len() as u32).to_le_bytes();
                out.extend(bytes);
                at.to_vec()
            };
            place.resize(4, 0);
            entries.extend(place);
        }
        let directory = (out.len() as u32).to_le_bytes();
        out[link..link + 4].copy_from_slice(&directory);
        out.extend((tags.len() as u16).to_le_bytes());
        out.extend(entries);
        link = out.len();
        out.extend([0; 4]);
    }
    out
}

/// The tags of a page without compression.
fn tags(size: (u32, u32), bits: u32, photometric: u32, samples: u32) -> Vec<TagOf> {
    vec![
        (256, LONG, vec![size.0]),
        (257, LONG, vec![size.1]),
        (258, SHORT, vec![bits; samples as usize]),
        (259, SHORT, vec![1]),
        (262, SHORT, vec![photometric]),
        (277, SHORT, vec![samples]),
        (278, LONG, vec![size.1]),
    ]
}

fn with(mut tags: Vec<TagOf>, number: u16, kind: u16, values: Vec<u32>) -> Vec<TagOf> {
    tags.retain(|tag| tag.0 != number);
    tags.push((number, kind, values));
    tags
}

fn decoded(bytes: &[u8]) -> Result<Decoded, DataError> {
    decode_image(bytes, Path::new("part 7.tif"), &DecodeOptions::default())
}

fn refused(bytes: &[u8], parts: &[&str]) {
    let text = decoded(bytes).unwrap_err().to_string();
    for part in parts.iter().chain(&["part 7.tif"]) {
        assert!(text.contains(part), "{part:?} is not in: {text}");
    }
}

fn gray() -> GrayImage {
    let mut rng = SplitMix64::new(3);
    GrayImage::from_fn(37, 11, |_, _| image::Luma([rng.below(256) as u8]))
}

fn tripled(gray: &GrayImage) -> RgbImage {
    image::DynamicImage::ImageLuma8(gray.clone()).into_rgb8()
}

fn packed(values: &[u32], width: usize, bits: u32) -> Vec<u8> {
    let mut out = vec![];
    for row in values.chunks_exact(width) {
        let (mut buffer, mut held) = (0u64, 0);
        for value in row {
            buffer = buffer << bits | u64::from(*value);
            held += bits;
            while held >= 8 {
                held -= 8;
                out.push((buffer >> held) as u8);
            }
        }
        if held > 0 {
            out.push((buffer << (8 - held)) as u8);
        }
    }
    out
}

#[test]
fn big_tiff_is_read_and_its_header_too() {
    let picture = tripled(&gray());
    let mut bytes = Cursor::new(vec![]);
    let mut encoder = TiffEncoder::new_big(&mut bytes).unwrap();
    encoder.write_image::<colortype::RGB8>(37, 11, &picture).unwrap();
    let bytes = bytes.into_inner();
    assert_eq!(decoded(&bytes).unwrap().pixels, picture);
    let size = crate::decode::image_size_of(&bytes, Path::new("big.tif"), &DecodeOptions::default());
    assert_eq!(size.unwrap(), (37, 11));
    refused(&bytes[..bytes.len() / 2], &[]);
}

#[test]
fn packed_samples_have_the_range_of_their_bits() {
    let picture = gray();
    for bits in [2, 4, 6, 10, 12, 14] {
        let white = (1u32 << bits) - 1;
        let values: Vec<u32> = picture.iter().map(|&v| (u32::from(v) * white + 127) / 255).collect();
        // Black may be 0 or white.
        for photometric in [0, 1] {
            let stored: Vec<u32> =
                values.iter().map(|&v| if photometric == 0 { white - v } else { v }).collect();
            let bytes = file(&[(tags((37, 11), bits, photometric, 1), packed(&stored, 37, bits))]);
            let got = decoded(&bytes).unwrap_or_else(|e| panic!("{bits} bits: {e}"));
            let want: Vec<u8> = values.iter().map(|&v| ((v * 510 + white) / (2 * white)) as u8).collect();
            assert_eq!(got.pixels, tripled(&GrayImage::from_raw(37, 11, want).unwrap()), "{bits} bits");
            assert_eq!((u32::from(got.source.bits), got.source.named_range), (bits, true));
            if bits >= 8 {
                assert!(got.pixels.iter().zip(tripled(&picture).iter()).all(|(a, b)| a.abs_diff(*b) <= 1));
            }
        }
    }
    // Colours too.
    let values: Vec<u32> = (0..36 * 11).map(|i| i * 10 % 4096).collect();
    let bytes = file(&[(tags((12, 11), 12, 2, 3), packed(&values, 36, 12))]);
    let got = decoded(&bytes).unwrap();
    assert_eq!((got.source.channels, got.pixels.get_pixel(1, 0).0), (Channels::Rgb, [2, 2, 3]));
    refused(&bytes[..40], &[]);
}

#[test]
fn palettes_are_expanded() {
    let picture = gray();
    for (bits, shift) in [(8, 0), (4, 4), (1, 7)] {
        let count = 1u32 << bits;
        let places: Vec<u32> = picture.iter().map(|&v| u32::from(v >> shift)).collect();
        // Red as the place, green its reverse, blue 7; of 16 bits, and of 8 as some programs write.
        for scale in [257, 1] {
            let map: Vec<u32> =
                (0..count).chain((0..count).rev()).chain((0..count).map(|_| 7)).map(|v| v * scale).collect();
            let page = with(tags((37, 11), bits, 3, 1), 320, SHORT, map);
            let got = decoded(&file(&[(page, packed(&places, 37, bits))])).unwrap();
            for (pixel, place) in got.pixels.pixels().zip(&places) {
                assert_eq!(pixel.0, [*place as u8, (count - 1 - place) as u8, 7], "{bits} bits");
            }
        }
    }
    refused(&file(&[(tags((37, 11), 8, 3, 1), vec![0; 37 * 11])]), &["palette is cut short"]);
}

#[test]
fn wide_signed_and_floating_point_samples() {
    let picture = gray();
    let page = |bits, format| with(tags((37, 11), bits, 1, 1), 339, SHORT, vec![format]);
    let check = |bits, format, strip: Vec<u8>| {
        let got =
            decoded(&file(&[(page(bits, format), strip)])).unwrap_or_else(|e| panic!("{bits} {format}: {e}"));
        assert_eq!(got.pixels, tripled(&picture), "{bits} bits of format {format}");
        assert_eq!((got.source.outside_range, u32::from(got.source.bits)), (0, bits));
    };
    check(32, 1, picture.iter().flat_map(|&v| (u32::from(v) * 16_843_009).to_le_bytes()).collect());
    check(
        16,
        2,
        picture.iter().flat_map(|&v| (i32::from(v) * 32_767 / 255).to_le_bytes()[..2].to_vec()).collect(),
    );
    check(32, 3, picture.iter().flat_map(|&v| (f32::from(v) / 255.0).to_le_bytes()).collect());
    check(64, 3, picture.iter().flat_map(|&v| (f64::from(v) / 255.0).to_le_bytes()).collect());
    // Outside the range: counted; no number at all: refused.
    let outside: Vec<u8> = (0..37 * 11).flat_map(|i| (i as f32 - 1.0).to_le_bytes()).collect();
    let got = decoded(&file(&[(page(32, 3), outside)])).unwrap();
    assert_eq!((got.source.outside_range, got.source.largest), (37 * 11 - 2, Some(405.0)));
    let nan: Vec<u8> = (0..37 * 11).flat_map(|_| f32::NAN.to_le_bytes()).collect();
    refused(&file(&[(page(32, 3), nan)]), &["407 of its samples are not numbers"]);
}

#[test]
fn the_first_page_of_full_size_is_read_and_pages_are_counted() {
    let picture = gray();
    let page = (tags((37, 11), 8, 1, 1), picture.to_vec());
    let small = (tags((9, 3), 8, 1, 1), vec![1; 27]);
    let marked = (with(small.0.clone(), 254, LONG, vec![1]), small.1.clone());
    let other = (tags((37, 11), 8, 1, 1), vec![9; 37 * 11]);
    for pages in [vec![page.clone(), other], vec![small, page.clone()], vec![marked, page.clone()]] {
        let got = decoded(&file(&pages)).unwrap();
        assert_eq!((got.pixels, got.source.pages), (tripled(&picture), 2));
    }
}

#[test]
fn what_is_not_read_has_its_name() {
    let strip = vec![0; 37 * 11];
    let page = || tags((37, 11), 8, 1, 1);
    for (number, name) in [
        (50_000, "ZSTD"),
        (34_925, "LZMA"),
        (34_887, "LERC"),
        (34_712, "JPEG 2000"),
        (50_001, "WebP"),
        (777, "777"),
    ] {
        let bytes = file(&[(with(page(), 259, SHORT, vec![number]), strip.clone())]);
        refused(&bytes, &["compressed with", name, "LZW, deflate or no compression"]);
        // `data check` reads headers only.
        let header = crate::decode::image_size_of(&bytes, Path::new("a.tif"), &DecodeOptions::default());
        assert!(header.unwrap_err().to_string().contains(name));
    }
    refused(&file(&[(with(page(), 50706, 1, vec![1]), strip.clone())]), &["raw file", "develop it"]);
    refused(&file(&[(with(page(), 262, SHORT, vec![32_803]), strip.clone())]), &["raw file"]);
    refused(&file(&[(with(page(), 262, SHORT, vec![8]), strip)]), &["L*a*b*"]);
}

#[test]
fn extra_channels_and_planes() {
    let picture = gray();
    let with_two: Vec<u8> = picture.iter().flat_map(|&v| [v, v, v, 9, 9]).collect();
    let page = with(tags((37, 11), 8, 2, 5), 338, SHORT, vec![0, 0]);
    assert_eq!(decoded(&file(&[(page, with_two)])).unwrap().pixels, tripled(&picture));
    // Gray with opacity: dropped, and counted where it is not full.
    let with_alpha: Vec<u8> = picture.iter().flat_map(|&v| [v, 254]).collect();
    let page = with(tags((37, 11), 8, 1, 2), 338, SHORT, vec![2]);
    let got = decoded(&file(&[(page, with_alpha)])).unwrap();
    assert_eq!((got.pixels, got.source.transparent), (tripled(&picture), 37 * 11));
    assert_eq!(got.source.channels, Channels::GrayAlpha);
}
