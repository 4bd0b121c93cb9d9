//! Tests of decoding: what each pixel type becomes, and how bad files are refused.

use std::fs::File;
use std::io::Cursor;
use std::path::PathBuf;

use super::*;
use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, GrayImage, ImageEncoder, ImageFormat, Luma, LumaA, Rgb, Rgba};

use crate::rng::SplitMix64;

/// A JPEG of one colour with an EXIF segment (APP1) that holds nothing but the orientation.
pub(crate) fn jpeg_with_orientation(width: u32, height: u32, orientation: u8) -> Vec<u8> {
    let mut plain = Vec::new();
    let pixels = vec![128; (width * height * 3) as usize];
    JpegEncoder::new(&mut plain).encode(&pixels, width, height, ExtendedColorType::Rgb8).unwrap();
    let mut exif = b"Exif\0\0MM\0\x2A\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0".to_vec();
    exif.extend([orientation, 0, 0, 0, 0, 0, 0]);
    let mut out = plain[..2].to_vec();
    out.extend([0xFF, 0xE1]);
    out.extend((exif.len() as u16 + 2).to_be_bytes());
    out.extend(exif);
    out.extend(&plain[2..]);
    out
}

fn name() -> PathBuf {
    PathBuf::from("part 7.png")
}

fn decode(bytes: &[u8]) -> Result<RgbImage, DataError> {
    decode_bytes(bytes, &name(), &DecodeOptions::default())
}

/// The message must name the file and every one of the parts.
fn refused(bytes: &[u8], parts: &[&str]) -> DataError {
    let error = decode(bytes).unwrap_err();
    for part in parts.iter().chain(&["part 7.png"]) {
        assert!(error.to_string().contains(part), "{part:?} is not in: {error}");
    }
    error
}

fn encode(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut out = Cursor::new(Vec::new());
    image.write_to(&mut out, format).unwrap();
    out.into_inner()
}

fn picture() -> RgbImage {
    let mut rng = SplitMix64::new(5);
    RgbImage::from_fn(37, 23, |_, _| Rgb(std::array::from_fn(|_| rng.below(256) as u8)))
}

#[test]
fn formats_by_content_whatever_the_name() {
    let rgb = DynamicImage::ImageRgb8(picture());
    for format in [ImageFormat::Png, ImageFormat::Bmp, ImageFormat::Tiff] {
        assert_eq!(decode(&encode(&rgb, format)).unwrap(), picture(), "{format:?}");
    }
    let flat = jpeg_with_orientation(9, 5, 1);
    assert!(decode(&flat).unwrap().iter().all(|v| v.abs_diff(128) <= 1));
}

#[test]
fn eight_bit_pixels_become_rgb() {
    let one = |image: DynamicImage| decode(&encode(&image, ImageFormat::Png)).unwrap().get_pixel(0, 0).0;
    assert_eq!(one(GrayImage::from_pixel(1, 1, Luma([77])).into()), [77; 3]);
    // Alpha is dropped, not composited, even where it is 0.
    assert_eq!(one(image::GrayAlphaImage::from_pixel(1, 1, LumaA([77, 0])).into()), [77; 3]);
    assert_eq!(one(image::RgbaImage::from_pixel(1, 1, Rgba([1, 2, 3, 0])).into()), [1, 2, 3]);
}

#[test]
fn sixteen_bits_are_scaled_or_clipped_as_pillow_does() {
    let first = |image: &DynamicImage, sixteen_bit, format| {
        let options = DecodeOptions { sixteen_bit, ..DecodeOptions::default() };
        decode_bytes(&encode(image, format), &name(), &options).unwrap().get_pixel(0, 0).0
    };
    for v in [0u16, 100, 128, 129, 255, 256, 385, 386, 32_768, 65_406, 65_407, 65_535] {
        let scaled = (f64::from(v) * 255.0 / 65_535.0).round() as u8;
        let high = (v >> 8) as u8;
        let gray = image::ImageBuffer::from_pixel(1, 1, Luma([v])).into();
        let gray_alpha = image::ImageBuffer::from_pixel(1, 1, LumaA([v, 9])).into();
        let rgb = image::ImageBuffer::from_pixel(1, 1, Rgb([v, 0, 65_535])).into();
        let rgba = image::ImageBuffer::from_pixel(1, 1, Rgba([v, 0, 65_535, 3])).into();
        use SixteenBit::{Clip, Scale};
        for format in [ImageFormat::Png, ImageFormat::Tiff] {
            assert_eq!(first(&gray, Scale, format), [scaled; 3]);
            assert_eq!(first(&gray, Clip, format), [v.min(255) as u8; 3]);
            for colour in [&rgb, &rgba] {
                assert_eq!(first(colour, Scale, format), [scaled, 0, 255]);
                assert_eq!(first(colour, Clip, format), [high, 0, 255]);
            }
        }
        assert_eq!(first(&gray_alpha, Scale, ImageFormat::Png), [scaled; 3]);
        assert_eq!(first(&gray_alpha, Clip, ImageFormat::Png), [high; 3]);
    }
}

#[test]
fn orientation_is_applied_or_ignored() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("turned.jpg");
    for orientation in 1..=8 {
        let bytes = jpeg_with_orientation(16, 8, orientation);
        std::fs::write(&path, &bytes).unwrap();
        for (exif, size) in
            [(Exif::Apply, if orientation > 4 { (8, 16) } else { (16, 8) }), (Exif::Ignore, (16, 8))]
        {
            let options = DecodeOptions { exif, ..DecodeOptions::default() };
            assert_eq!(decode_file(&path, &options).unwrap().dimensions(), size, "{orientation}");
            assert_eq!(image_size(&path, &options).unwrap(), size, "{orientation}");
        }
    }
}

#[test]
fn masks_of_any_kind() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("mask.png");
    let check = |image: DynamicImage, want: [u8; 3]| {
        image.save(&path).unwrap();
        assert_eq!(decode_mask(&path).unwrap().into_raw(), want, "{:?}", image.color());
    };
    let gray = |v: [u8; 3]| GrayImage::from_raw(3, 1, v.to_vec()).unwrap();
    let gray16 = |v: [u16; 3]| image::ImageBuffer::<Luma<u16>, _>::from_raw(3, 1, v.to_vec()).unwrap();
    // Soft edges: half of the range.
    check(gray([0, 100, 255]).into(), [0, 0, 255]);
    check(gray16([0, 40_000, 65_535]).into(), [0, 255, 255]);
    // Class numbers.
    check(gray([0, 1, 3]).into(), [0, 255, 255]);
    check(gray16([0, 1, 255]).into(), [0, 255, 255]);
    check(gray([0, 0, 0]).into(), [0, 0, 0]);
    // The brightest channel; alpha does not count.
    let colours = [0, 0, 0, 255, 0, 0, 10, 200, 30];
    check(RgbImage::from_raw(3, 1, colours.to_vec()).unwrap().into(), [0, 255, 255]);
    let with_alpha = [0, 0, 0, 255, 255, 0, 0, 0, 10, 200, 30, 9];
    check(image::RgbaImage::from_raw(3, 1, with_alpha.to_vec()).unwrap().into(), [0, 255, 255]);
}

#[test]
fn files_that_are_no_images() {
    assert!(matches!(refused(b"", &["0 bytes"]), DataError::EmptyFile { .. }));
    let text = refused(b"Dear Sir,\nplease find", &["but a text", "the content decides", "remove it"]);
    assert!(matches!(text, DataError::ForeignFile { .. }));
    let unknown =
        refused(b"\x01\x02\x03", &["not a PNG, JPEG, BMP, TIFF, WebP or PNM image", "x01", "remove it"]);
    assert!(matches!(unknown, DataError::UnknownFormat { .. }));
    assert!(matches!(refused(b"P", &["\"P\""]), DataError::UnknownFormat { .. }));
}

#[test]
fn foreign_files_go_by_their_names() {
    let files: [(&[u8], &str); 16] = [
        (b"GIF89a............", "a GIF picture"),
        (b"\0\0\0\x1Cftypavif\0\0\0\0", "an AVIF picture"),
        (b"\0\0\0\x18ftypheic\0\0\0\0", "a HEIC picture"),
        (b"\0\0\0\x18ftypcrx \0\0\0\0", "raw file (CR3)"),
        (b"II*\0\x10\0\0\0CR\x02\0", "raw file (CR2)"),
        (b"FUJIFILMCCD-RAW 0201", "raw file (RAF)"),
        (b"\0\0\0\x0CjP  \r\n\x87\n", "a JPEG 2000 picture"),
        (b"\xFF\x0A\xFF\x07\x08", "a JPEG XL picture"),
        (b"%PDF-1.7\n", "a PDF document"),
        (b"PK\x03\x04\x14\0", "a ZIP archive"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1", "run `git lfs pull`"),
        (b"\n <!DOCTYPE html><html>", "an HTML page"),
        (b"{\"shapes\": []}", "a JSON text"),
        (b"\x93NUMPY\x01\0", "a NumPy array"),
        (b"BM is not always a bitmap, it may be a text", "a text"),
        (&[0; 64], "zeros where a header should be"),
    ];
    for (bytes, name) in files {
        let error = refused(bytes, &[name]);
        assert!(matches!(error, DataError::ForeignFile { .. }), "{error:?}");
        assert_eq!(sniff(bytes), None);
    }
}

#[test]
fn web_p_and_netpbm_are_read() {
    let rgb = DynamicImage::ImageRgb8(picture());
    for format in [ImageFormat::WebP, ImageFormat::Pnm] {
        let bytes = encode(&rgb, format);
        assert_eq!(decode(&bytes).unwrap(), picture(), "{format:?}");
        assert!(matches!(
            refused(&bytes[..bytes.len() * 2 / 3], &["truncated"]),
            DataError::Truncated { .. }
        ));
    }
    assert_eq!(decode(b"P1\n3 1\n1 0 1\n").unwrap().into_raw(), [0, 0, 0, 255, 255, 255, 0, 0, 0]);
    assert_eq!(decode(b"P2\n2 1\n100\n50 100\n").unwrap().into_raw(), [128, 128, 128, 255, 255, 255]);
    let wide = decode(b"P5 2 1 65535\n\x80\x80\xFF\xFF").unwrap();
    assert_eq!(wide.into_raw(), [128, 128, 128, 255, 255, 255]);
}

#[test]
fn opacity_is_counted() {
    let one =
        |alpha| image::RgbaImage::from_fn(4, 2, |x, _| Rgba([1, 2, 3, if x == 0 { alpha } else { 255 }]));
    for (alpha, count) in [(0, 2), (254, 2), (255, 0)] {
        let bytes = encode(&one(alpha).into(), ImageFormat::Png);
        let source = decode_image(&bytes, &name(), &DecodeOptions::default()).unwrap().source;
        assert_eq!((source.transparent, source.channels), (count, Channels::Rgba));
    }
}

#[test]
fn truncated_files_of_every_format() {
    let rgb = DynamicImage::ImageRgb8(picture());
    let mut jpeg = Vec::new();
    JpegEncoder::new(&mut jpeg).encode_image(&rgb).unwrap();
    let files = [
        encode(&rgb, ImageFormat::Png),
        encode(&rgb, ImageFormat::Bmp),
        encode(&rgb, ImageFormat::Tiff),
        jpeg,
    ];
    for file in files {
        // In the pixels, and in the header.
        for keep in [file.len() * 2 / 3, 40] {
            let error = refused(&file[..keep], &[]);
            let known = matches!(error, DataError::Truncated { .. } | DataError::Decode { .. });
            assert!(known, "{error:?}");
        }
        // Bytes after the end do no harm.
        let longer = [file.clone(), b"appended".to_vec()].concat();
        assert!(decode(&longer).is_ok());
    }
    let png = encode(&rgb, ImageFormat::Png);
    let error = refused(&png[..png.len() / 2], &["PNG", "truncated", "copy the file again"]);
    assert!(matches!(error, DataError::Truncated { .. }));
}

#[test]
fn a_damaged_png_says_so() {
    let mut png = encode(&DynamicImage::ImageRgb8(picture()), ImageFormat::Png);
    let middle = png.len() / 2;
    png[middle] ^= 0x55;
    assert!(matches!(refused(&png, &["cannot be decoded as PNG"]), DataError::Decode { .. }));
}

/// A PNG whose header announces a size and that has almost no content.
fn png_header(width: u32, height: u32) -> Vec<u8> {
    let mut png = Vec::new();
    PngEncoder::new(&mut png).write_image(&[0], 1, 1, ExtendedColorType::L8).unwrap();
    png[16..20].copy_from_slice(&width.to_be_bytes());
    png[20..24].copy_from_slice(&height.to_be_bytes());
    let checksum = crc32(&png[12..29]);
    png[29..33].copy_from_slice(&checksum.to_be_bytes());
    png
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc: u32, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |c, _| (c >> 1) ^ (0xEDB8_8320 * (c & 1)))
    })
}

#[test]
fn headers_of_huge_images_are_refused_before_any_allocation() {
    for (width, height) in [(30_000, 30_000), (0x7FFF_FFFF, 0x7FFF_FFFF), (0x7FFF_FFFF, 1)] {
        let size = format!("{width} x {height}");
        let error = refused(&png_header(width, height), &[&size, "limit of 200000000", "max_pixels"]);
        assert!(matches!(error, DataError::TooManyPixels { .. }));
    }
    // The same in a BMP, whose size stands at bytes 18 to 25, and in a JPEG's frame header.
    let mut bmp = encode(&DynamicImage::ImageRgb8(picture()), ImageFormat::Bmp);
    bmp[18..22].copy_from_slice(&30_000u32.to_le_bytes());
    bmp[22..26].copy_from_slice(&30_000u32.to_le_bytes());
    refused(&bmp, &["30000 x 30000 = 900000000 pixels"]);
    let mut jpeg = jpeg_with_orientation(8, 8, 1);
    let frame = jpeg.windows(2).position(|w| w == [0xFF, 0xC0]).unwrap();
    jpeg[frame + 5..frame + 7].copy_from_slice(&60_000u16.to_be_bytes());
    jpeg[frame + 7..frame + 9].copy_from_slice(&60_000u16.to_be_bytes());
    refused(&jpeg, &["60000 x 60000"]);
    // Just under the limit: refused only for its content.
    let error = refused(&png_header(20_000, 10_000), &[]);
    assert!(!matches!(error, DataError::TooManyPixels { .. }), "{error}");
    assert!(matches!(refused(&png_header(0, 5), &["0 x 5"]), DataError::NoPixels { .. }));
}

#[test]
fn the_limit_holds_for_masks_and_headers_and_file_sizes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("large.png");
    picture().save(&path).unwrap();
    let options = DecodeOptions { max_pixels: 37 * 23 - 1, ..DecodeOptions::default() };
    let too_many = |e: DataError| matches!(e, DataError::TooManyPixels { limit: 850, .. });
    assert!(too_many(decode_file(&path, &options).unwrap_err()));
    assert!(too_many(decode_mask_with(&path, &options).unwrap_err()));
    assert!(too_many(image_size(&path, &options).unwrap_err()));
    // A sparse file: nothing of it is read.
    let file = File::create(&path).unwrap();
    file.set_len(u64::from(u32::MAX)).unwrap();
    assert!(matches!(decode_file(&path, &DecodeOptions::default()), Err(DataError::FileTooLarge { .. })));
}

#[test]
fn missing_files_and_folders_name_their_path() {
    let dir = tempfile::tempdir().unwrap();
    for path in [dir.path().join("none.png"), dir.path().to_path_buf()] {
        for error in [
            decode_file(&path, &DecodeOptions::default()).unwrap_err(),
            decode_mask(&path).unwrap_err(),
            image_size(&path, &DecodeOptions::default()).unwrap_err(),
        ] {
            assert!(error.to_string().starts_with(&format!("cannot read {}: ", path.display())), "{error}");
        }
    }
}

#[test]
fn random_damage_never_panics() {
    let small = image::imageops::crop_imm(&picture(), 0, 0, 16, 12).to_image();
    let rgb = DynamicImage::ImageRgb8(small.clone());
    let mut files: Vec<Vec<u8>> =
        [ImageFormat::Png, ImageFormat::Bmp, ImageFormat::Tiff].map(|f| encode(&rgb, f)).to_vec();
    files.push(encode(&rgb.to_luma16().into(), ImageFormat::Tiff));
    files.push(jpeg_with_orientation(16, 12, 6));
    let options = DecodeOptions { max_pixels: 1 << 20, ..DecodeOptions::default() };
    let mut rng = SplitMix64::new(11);
    let mut refused = 0;
    for file in files {
        for _ in 0..600 {
            let mut damaged = file.clone();
            for _ in 0..=rng.below(4) {
                let at = rng.below(damaged.len());
                damaged[at] = [0, 255, rng.next_u64() as u8][rng.below(3)];
            }
            damaged.truncate(damaged.len() - rng.below(2) * rng.below(file.len()));
            match decode_bytes(&damaged, &name(), &options) {
                Ok(_) => {}
                Err(e) => {
                    refused += 1;
                    assert!(!e.to_string().contains("internal fault"), "{e}");
                }
            }
        }
    }
    assert!(refused > 300, "{refused}");
}

#[test]
fn options_are_readable_and_strict_in_a_configuration() {
    let text = serde_json::to_string(&DecodeOptions::default()).unwrap();
    assert_eq!(
        text,
        r#"{"exif":"apply","sixteen_bit":"scale","bit_depth":"auto","float_range":"auto","max_pixels":200000000}"#
    );
    assert_eq!(serde_json::from_str::<DecodeOptions>("{}").unwrap(), DecodeOptions::default());
    assert!(serde_json::from_str::<DecodeOptions>(r#"{"exiff":"apply"}"#).is_err());
}
