//! From a file or bytes to 8-bit pixels.
//!
//! In: PNG, JPEG, BMP or TIFF, recognised by content, not by extension. Out: RGB for images, gray for masks.
//! Gray is replicated to three channels, palettes are expanded, alpha is dropped (not composited), 16 bits a
//! channel become 8. Sizes are checked against [`DecodeOptions::max_pixels`] before any pixel is allocated.
//! Not read, with an error that says so: floating-point pixels, palettes in TIFF files, GIF, WebP.

use std::fs::File;
use std::io::{BufRead, BufReader, Cursor, ErrorKind, Read, Seek};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use image::metadata::Orientation;
use image::{
    ColorType, DynamicImage, GrayImage, ImageBuffer, ImageDecoder, ImageError, ImageFormat, ImageReader,
    Limits, Luma, LumaA, Rgb, RgbImage, Rgba,
};
use serde::{Deserialize, Serialize};

use crate::error::DataError;

/// Default of [`DecodeOptions::max_pixels`]: twice the largest sensors of today's industrial cameras.
pub const DEFAULT_MAX_PIXELS: u64 = 200_000_000;

/// The widest pixel that is decoded: four channels of 16 bits.
const MAX_BYTES_PER_PIXEL: u64 = 8;

/// What a decoder and a file may need beyond the pixels: tables, metadata, colour profiles.
const HEADROOM_BYTES: u64 = 64 << 20;

/// What to do with the orientation that a camera noted in the file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exif {
    /// Turn the pixels so that the picture stands upright, as every viewer does.
    #[default]
    Apply,
    /// Leave the pixels as the sensor stored them, as the official code does.
    Ignore,
}

/// How 16 bits a channel become 8.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SixteenBit {
    /// The whole range to the whole range: `(v + 128) / 257`, which is `round(v · 255 / 65535)`.
    #[default]
    Scale,
    /// As Pillow's `convert("RGB")`, which the official code calls: a gray value above 255 becomes 255 (so
    /// nearly everything is white); of colour and of gray with alpha, the upper byte.
    Clip,
}

/// How files are turned into pixels; part of a model's preprocessing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DecodeOptions {
    /// The camera's orientation.
    pub exif: Exif,
    /// 16 bits a channel.
    pub sixteen_bit: SixteenBit,
    /// The most pixels (width times height) that a file may announce.
    pub max_pixels: u64,
}

impl Default for DecodeOptions {
    fn default() -> Self {
        Self { exif: Exif::Apply, sixteen_bit: SixteenBit::Scale, max_pixels: DEFAULT_MAX_PIXELS }
    }
}

/// Decodes an image file to 8-bit RGB, (height, width, 3) interleaved.
///
/// # Errors
/// The file cannot be read, is empty, truncated, damaged, of another format or larger than allowed; each has
/// its own variant of [`DataError`].
pub fn decode_file(path: &Path, options: &DecodeOptions) -> Result<RgbImage, DataError> {
    decode_bytes(&read_file(path, options.max_pixels)?, path, options)
}

/// Decodes an image in memory to 8-bit RGB; `name` stands for the path in errors.
///
/// # Errors
/// As [`decode_file`].
pub fn decode_bytes(bytes: &[u8], name: &Path, options: &DecodeOptions) -> Result<RgbImage, DataError> {
    to_rgb(decode_any(bytes, name, options)?, name, options.sixteen_bit)
}

/// Decodes a ground-truth mask of any format to 8-bit gray with the default options; see [`decode_mask_with`].
///
/// # Errors
/// As [`decode_file`].
pub fn decode_mask(path: &Path) -> Result<GrayImage, DataError> {
    decode_mask_with(path, &DecodeOptions::default())
}

/// Decodes a ground-truth mask of any format to 8-bit gray: the largest of the colour channels, soft edges kept.
///
/// A mask that never reaches half of its range holds class numbers (1, 2, …), not brightness: there every
/// pixel other than 0 becomes 255. [`DecodeOptions::sixteen_bit`] does not apply, masks are always scaled.
///
/// # Errors
/// As [`decode_file`].
pub fn decode_mask_with(path: &Path, options: &DecodeOptions) -> Result<GrayImage, DataError> {
    to_mask(decode_any(&read_file(path, options.max_pixels)?, path, options)?, path)
}

/// Decodes a mask of class numbers: its values as they are, of colour the largest channel.
///
/// # Errors
/// As [`decode_file`].
pub(crate) fn decode_labels(
    path: &Path,
    options: &DecodeOptions,
) -> Result<ImageBuffer<Luma<u16>, Vec<u16>>, DataError> {
    to_labels(decode_any(&read_file(path, options.max_pixels)?, path, options)?, path)
}

/// What an image file's header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageHeader {
    /// Width and height that [`decode_file`] will return.
    pub size: (u32, u32),
    /// The kind of its pixels, such as `RGB, 8 bit`.
    pub pixels: &'static str,
}

/// Width and height that [`decode_file`] will return, from the header alone.
///
/// # Errors
/// The header cannot be read, or announces more pixels than allowed.
pub fn image_size(path: &Path, options: &DecodeOptions) -> Result<(u32, u32), DataError> {
    image_header(path, options).map(|header| header.size)
}

/// Reads a header.
///
/// # Errors
/// The header cannot be read, or announces more pixels than allowed.
pub fn image_header(path: &Path, options: &DecodeOptions) -> Result<ImageHeader, DataError> {
    let file = File::open(path).map_err(DataError::io("read", path))?;
    header_in(BufReader::new(file), path, options)
}

/// The same of an image in memory; `name` stands for the path in errors.
///
/// # Errors
/// As [`image_size`].
pub fn image_size_of(bytes: &[u8], name: &Path, options: &DecodeOptions) -> Result<(u32, u32), DataError> {
    header_in(Cursor::new(bytes), name, options).map(|header| header.size)
}

fn header_in<'a, R: BufRead + Seek + 'a>(
    source: R,
    path: &Path,
    options: &DecodeOptions,
) -> Result<ImageHeader, DataError> {
    let (mut decoder, format) = open_decoder(source, path, options.max_pixels)?;
    let (width, height) = decoder.dimensions();
    let upright = match options.exif {
        Exif::Ignore => Orientation::NoTransforms,
        Exif::Apply => decoder.orientation().map_err(|e| explain(e, path, format))?,
    };
    let size = match upright {
        Orientation::Rotate90
        | Orientation::Rotate270
        | Orientation::Rotate90FlipH
        | Orientation::Rotate270FlipH => (height, width),
        _ => (width, height),
    };
    Ok(ImageHeader { size, pixels: kind_of_pixels(decoder.color_type()) })
}

fn kind_of_pixels(color: ColorType) -> &'static str {
    match color {
        ColorType::L8 => "gray, 8 bit",
        ColorType::La8 => "gray with alpha, 8 bit",
        ColorType::Rgb8 => "RGB, 8 bit",
        ColorType::Rgba8 => "RGB with alpha, 8 bit",
        ColorType::L16 => "gray, 16 bit",
        ColorType::La16 => "gray with alpha, 16 bit",
        ColorType::Rgb16 => "RGB, 16 bit",
        ColorType::Rgba16 => "RGB with alpha, 16 bit",
        _ => "floating point",
    }
}

/// The bytes of an image file, as [`decode_bytes`] takes them.
///
/// # Errors
/// The file cannot be read, or is larger than any image of `max_pixels`.
pub fn read_file(path: &Path, max_pixels: u64) -> Result<Vec<u8>, DataError> {
    let file = File::open(path).map_err(DataError::io("read", path))?;
    let bytes = file.metadata().map_err(DataError::io("read", path))?.len();
    let most = max_bytes(max_pixels);
    let too_large = |bytes| DataError::FileTooLarge { path: path.to_path_buf(), bytes, limit: max_pixels };
    if bytes > most {
        return Err(too_large(bytes));
    }
    let mut content = Vec::with_capacity(bytes as usize + 1);
    // A device file announces 0 bytes and never ends: the limit holds for what is read, too.
    let read = file.take(most + 1).read_to_end(&mut content).map_err(DataError::io("read", path))?;
    if read as u64 > most { Err(too_large(read as u64)) } else { Ok(content) }
}

fn max_bytes(max_pixels: u64) -> u64 {
    max_pixels.saturating_mul(MAX_BYTES_PER_PIXEL).saturating_add(HEADROOM_BYTES)
}

fn decode_any(bytes: &[u8], path: &Path, options: &DecodeOptions) -> Result<DynamicImage, DataError> {
    let (mut decoder, format) = open_decoder(Cursor::new(bytes), path, options.max_pixels)?;
    // The JPEG decoder paints what is missing gray and says nothing; half a part must not get a verdict.
    if format == "JPEG" && !jpeg_is_complete(bytes) {
        return Err(DataError::Truncated { path: path.to_path_buf(), format });
    }
    let upright = match options.exif {
        Exif::Ignore => Orientation::NoTransforms,
        Exif::Apply => decoder.orientation().map_err(|e| explain(e, path, format))?,
    };
    // No known file makes a decoder panic; should one turn up, it must not stop the other images.
    let decoded = catch_unwind(AssertUnwindSafe(|| DynamicImage::from_decoder(decoder)));
    let mut image = match decoded {
        Ok(image) => image.map_err(|e| explain(e, path, format))?,
        Err(_) => {
            let reason = "the decoder stopped at an internal fault".to_string();
            return Err(DataError::Decode { path: path.to_path_buf(), format, reason });
        }
    };
    image.apply_orientation(upright);
    Ok(image)
}

/// A decoder that has read the header, and whose size is within the limit.
fn open_decoder<'a, R: BufRead + Seek + 'a>(
    mut source: R,
    path: &Path,
    max_pixels: u64,
) -> Result<(impl ImageDecoder + 'a, &'static str), DataError> {
    let start = peek(&mut source).map_err(DataError::io("read", path))?;
    if start.is_empty() {
        return Err(DataError::EmptyFile { path: path.to_path_buf() });
    }
    let (kind, format) = match image::guess_format(&start) {
        Ok(kind @ ImageFormat::Png) => (kind, "PNG"),
        Ok(kind @ ImageFormat::Jpeg) => (kind, "JPEG"),
        Ok(kind @ ImageFormat::Bmp) => (kind, "BMP"),
        Ok(kind @ ImageFormat::Tiff) => (kind, "TIFF"),
        _ => {
            let found = format!("\"{}\"", start[..start.len().min(8)].escape_ascii());
            return Err(DataError::UnknownFormat { path: path.to_path_buf(), found });
        }
    };
    // A PNG's size stands at a fixed place: checked first, since a huge row would make the decoder fail on
    // its memory limit, with a message that does not name the size.
    if let (ImageFormat::Png, Some(&[a, b, c, d, e, f, g, h])) = (kind, start.get(16..24)) {
        check_size((u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h])), path, max_pixels)?;
    }
    let mut reader = ImageReader::with_format(source, kind);
    let mut limits = Limits::default();
    limits.max_alloc = Some(max_bytes(max_pixels));
    reader.limits(limits);
    let decoder = reader.into_decoder().map_err(|e| explain(e, path, format))?;
    check_size(decoder.dimensions(), path, max_pixels)?;
    Ok((decoder, format))
}

fn peek(source: &mut (impl BufRead + Seek)) -> std::io::Result<Vec<u8>> {
    let mut start = Vec::new();
    source.by_ref().take(24).read_to_end(&mut start)?;
    source.rewind()?;
    Ok(start)
}

fn check_size((width, height): (u32, u32), path: &Path, limit: u64) -> Result<(), DataError> {
    let path = path.to_path_buf();
    if width == 0 || height == 0 {
        Err(DataError::NoPixels { path, width, height })
    } else if u64::from(width) * u64::from(height) > limit {
        Err(DataError::TooManyPixels { path, width, height, limit })
    } else {
        Ok(())
    }
}

fn explain(error: ImageError, path: &Path, format: &'static str) -> DataError {
    let path = path.to_path_buf();
    match error {
        ImageError::IoError(e) if e.kind() == ErrorKind::UnexpectedEof => {
            DataError::Truncated { path, format }
        }
        ImageError::IoError(source) => DataError::Io { action: "read", path, source },
        ImageError::Unsupported(feature) => {
            DataError::UnsupportedPixels { path, pixels: feature.to_string() }
        }
        other => DataError::Decode { path, format, reason: other.to_string() },
    }
}

/// Whether the end-of-image marker is there (ITU-T T.81, annex B). Bytes may follow it; the end marker of a
/// thumbnail lies inside a segment, which is skipped as a whole.
fn jpeg_is_complete(bytes: &[u8]) -> bool {
    const END_OF_IMAGE: u8 = 0xD9;
    if bytes.ends_with(&[0xFF, END_OF_IMAGE]) {
        return true;
    }
    let mut at = 2;
    while let Some(&[first, marker]) = bytes.get(at..at + 2) {
        at += match (first, marker) {
            (0xFF, END_OF_IMAGE) => return true,
            (0xFF, 0xFF) => 1, // fill byte
            // Stuffed zero, restart markers, and the others that stand alone.
            (0xFF, 0x00 | 0x01 | 0xD0..=0xD8) => 2,
            (0xFF, _) => match bytes.get(at + 2..at + 4) {
                Some(&[high, low]) => 2 + usize::from(u16::from_be_bytes([high, low])),
                _ => return false,
            },
            _ => 1, // entropy-coded data
        };
    }
    false
}

fn to_rgb(image: DynamicImage, path: &Path, rule: SixteenBit) -> Result<RgbImage, DataError> {
    let gray16 = |v: u16| match rule {
        SixteenBit::Scale => scale16(v),
        SixteenBit::Clip => v.min(255) as u8,
    };
    let color16 = |v: u16| match rule {
        SixteenBit::Scale => scale16(v),
        SixteenBit::Clip => (v >> 8) as u8,
    };
    Ok(match image {
        DynamicImage::ImageRgb8(pixels) => pixels,
        DynamicImage::ImageLuma8(p) => map(&p, |&Luma([v])| Rgb([v; 3])),
        DynamicImage::ImageLumaA8(p) => map(&p, |&LumaA([v, _])| Rgb([v; 3])),
        DynamicImage::ImageRgba8(p) => map(&p, |&Rgba([r, g, b, _])| Rgb([r, g, b])),
        DynamicImage::ImageLuma16(p) => map(&p, |&Luma([v])| Rgb([gray16(v); 3])),
        DynamicImage::ImageLumaA16(p) => map(&p, |&LumaA([v, _])| Rgb([color16(v); 3])),
        DynamicImage::ImageRgb16(p) => map(&p, |&Rgb(v)| Rgb(v.map(color16))),
        DynamicImage::ImageRgba16(p) => map(&p, |&Rgba([r, g, b, _])| Rgb([r, g, b].map(color16))),
        other => return Err(unsupported(&other, path)),
    })
}

fn to_mask(image: DynamicImage, path: &Path) -> Result<GrayImage, DataError> {
    let max8 = |v: [u8; 3]| v[0].max(v[1]).max(v[2]);
    let max16 = |v: [u16; 3]| Luma([v[0].max(v[1]).max(v[2])]);
    let wide = |mut pixels: image::ImageBuffer<Luma<u16>, Vec<u16>>| {
        let labels = pixels.iter().all(|&v| v < 1 << 15);
        if labels {
            pixels.iter_mut().for_each(|v| *v = if *v == 0 { 0 } else { u16::MAX });
        }
        map(&pixels, |&Luma([v])| Luma([scale16(v)]))
    };
    let mut mask: GrayImage = match image {
        DynamicImage::ImageLuma8(p) => p,
        DynamicImage::ImageLumaA8(p) => map(&p, |&LumaA([v, _])| Luma([v])),
        DynamicImage::ImageRgb8(p) => map(&p, |&Rgb(v)| Luma([max8(v)])),
        DynamicImage::ImageRgba8(p) => map(&p, |&Rgba([r, g, b, _])| Luma([max8([r, g, b])])),
        DynamicImage::ImageLuma16(p) => wide(p),
        DynamicImage::ImageLumaA16(p) => wide(map(&p, |&LumaA([v, _])| Luma([v]))),
        DynamicImage::ImageRgb16(p) => wide(map(&p, |&Rgb(v)| max16(v))),
        DynamicImage::ImageRgba16(p) => wide(map(&p, |&Rgba([r, g, b, _])| max16([r, g, b]))),
        other => return Err(unsupported(&other, path)),
    };
    if mask.iter().all(|&v| v < 128) {
        mask.iter_mut().for_each(|v| *v = if *v == 0 { 0 } else { 255 });
    }
    Ok(mask)
}

fn to_labels(image: DynamicImage, path: &Path) -> Result<ImageBuffer<Luma<u16>, Vec<u16>>, DataError> {
    let narrow = |v: [u8; 3]| Luma([u16::from(v[0].max(v[1]).max(v[2]))]);
    let wide = |v: [u16; 3]| Luma([v[0].max(v[1]).max(v[2])]);
    Ok(match image {
        DynamicImage::ImageLuma8(p) => map(&p, |&Luma([v])| Luma([u16::from(v)])),
        DynamicImage::ImageLumaA8(p) => map(&p, |&LumaA([v, _])| Luma([u16::from(v)])),
        DynamicImage::ImageRgb8(p) => map(&p, |&Rgb(v)| narrow(v)),
        DynamicImage::ImageRgba8(p) => map(&p, |&Rgba([r, g, b, _])| narrow([r, g, b])),
        DynamicImage::ImageLuma16(p) => p,
        DynamicImage::ImageLumaA16(p) => map(&p, |&LumaA([v, _])| Luma([v])),
        DynamicImage::ImageRgb16(p) => map(&p, |&Rgb(v)| wide(v)),
        DynamicImage::ImageRgba16(p) => map(&p, |&Rgba([r, g, b, _])| wide([r, g, b])),
        other => return Err(unsupported(&other, path)),
    })
}

fn scale16(v: u16) -> u8 {
    ((u32::from(v) + 128) / 257) as u8
}

/// A new image of the same size, pixel by pixel.
fn map<P, Q>(
    pixels: &image::ImageBuffer<P, Vec<P::Subpixel>>,
    f: impl Fn(&P) -> Q,
) -> image::ImageBuffer<Q, Vec<Q::Subpixel>>
where
    P: image::Pixel,
    Q: image::Pixel,
{
    let mut out = image::ImageBuffer::new(pixels.width(), pixels.height());
    out.pixels_mut().zip(pixels.pixels()).for_each(|(to, from)| *to = f(from));
    out
}

fn unsupported(image: &DynamicImage, path: &Path) -> DataError {
    DataError::UnsupportedPixels { path: path.to_path_buf(), pixels: format!("{:?}", image.color()) }
}

#[cfg(test)]
#[path = "decode_tests.rs"]
pub(crate) mod tests;
