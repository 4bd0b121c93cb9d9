//! From a mask file to where the defect is: every pixel is decided at the mask's own size, before anything is resized.
//!
//! In: a file as annotation tools write them. Out: 255 for a defect, 0 for background. The rule, in this order:
//!
//! 1. A PNG with a palette: index 0 is background, all others are defects. Where the palette was sorted by another hand
//!    (index 0 is not black, and black is used), black is background.
//! 2. The same colour everywhere and an opacity that changes: the opacity is the mask.
//! 3. One or two colours: black is background, the other a defect. Two of which none is black: the rarer is the defect.
//! 4. Brightness that never reaches half of its range: class numbers, all above 0 are defects; in JPEG, whose zeros are
//!    no zeros, all from half of the brightest on.
//! 5. Else soft edges: brightness of half of the range and above.
//!
//! Brightness is the largest of the colour channels.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::path::Path;

use image::metadata::Orientation;
use image::{DynamicImage, GrayImage, ImageBuffer, Luma};

use super::file::read_file;
use super::format::FileFormat;
use super::options::DecodeOptions;
use super::raster::Samples;
use super::sink::{Range, Sink, Stored};
use crate::error::DataError;

/// The value of a defect's pixels.
const DEFECT: u8 = 255;
/// Darker than this at its brightest, a JPEG marks nothing.
const DARKEST_JPEG: u32 = 16;
/// With so many values or fewer, those below half of the range may be class numbers.
const FEW_VALUES: usize = 16;

/// A mask, and what may be wrong with how it was read.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Mask {
    /// 255 where the defect is, 0 elsewhere.
    pub pixels: GrayImage,
    /// Of a mask with soft edges (rule 5) and few values: how many pixels are neither 0 nor bright enough. Many of them
    /// are class numbers rather than edges.
    pub faint: usize,
}

/// Decodes a ground-truth mask of any format with the default options; see [`decode_mask_with`].
///
/// # Errors
/// As [`decode_file`](super::decode_file).
pub fn decode_mask(path: &Path) -> Result<GrayImage, DataError> {
    decode_mask_with(path, &DecodeOptions::default())
}

/// Decodes a ground-truth mask of any format: 255 where the defect is, 0 elsewhere; see the rule above.
/// [`DecodeOptions::sixteen_bit`] does not apply.
///
/// # Errors
/// As [`decode_file`](super::decode_file).
pub fn decode_mask_with(path: &Path, options: &DecodeOptions) -> Result<GrayImage, DataError> {
    read_mask(path, options).map(|mask| mask.pixels)
}

/// The same, with what may be wrong with it.
///
/// # Errors
/// As [`decode_file`](super::decode_file).
pub fn read_mask(path: &Path, options: &DecodeOptions) -> Result<Mask, DataError> {
    let bytes = read_file(path, options.max_pixels)?;
    let mut sink = MaskSink::default();
    let turned = super::decode_into(&bytes, path, options, &mut sink)?;
    let stored = sink.stored.ok_or_else(|| DataError::lost(path))?;
    let (marked, faint) = match palette_of(&bytes, stored) {
        Some(palette) => (palette.marked(), 0),
        None => sink.marked(stored),
    };
    let mut pixels =
        GrayImage::from_raw(stored.width, stored.height, marked).ok_or_else(|| DataError::lost(path))?;
    if turned != Orientation::NoTransforms {
        let mut image = DynamicImage::ImageLuma8(pixels);
        image.apply_orientation(turned);
        pixels = image.into_luma8();
    }
    Ok(Mask { pixels, faint })
}

/// Decodes a mask of class numbers: its values as they are, of colour the largest channel.
///
/// # Errors
/// As [`decode_file`](super::decode_file).
pub(crate) fn decode_labels(
    path: &Path,
    options: &DecodeOptions,
) -> Result<ImageBuffer<Luma<u16>, Vec<u16>>, DataError> {
    let raster = super::decode_raster(&read_file(path, options.max_pixels)?, path, options)?.0;
    let (width, height) = (raster.width, raster.height);
    let labels = match raster.brightest() {
        Samples::U8(values) => values.into_iter().map(u16::from).collect(),
        Samples::U16(values) => values,
    };
    ImageBuffer::from_raw(width, height, labels).ok_or_else(|| DataError::lost(path))
}

/// A PNG's palette and the index of each pixel.
struct Palette {
    indices: Vec<u8>,
    colours: Vec<[u8; 3]>,
}

impl Palette {
    /// Rule 1.
    fn marked(&self) -> Vec<u8> {
        let is_black = |index: u8| self.colours.get(usize::from(index)) == Some(&[0; 3]);
        let by_colour = !is_black(0) && self.indices.iter().any(|&index| is_black(index));
        let is_background = |index: u8| if by_colour { is_black(index) } else { index == 0 };
        self.indices.iter().map(|&index| if is_background(index) { 0 } else { DEFECT }).collect()
    }
}

/// The palette of a PNG that has one.
fn palette_of(bytes: &[u8], stored: Stored) -> Option<Palette> {
    if stored.format != FileFormat::Png {
        return None;
    }
    let size = (stored.width, stored.height);
    let mut decoder = png::Decoder::new(Cursor::new(bytes));
    decoder.set_transformations(png::Transformations::IDENTITY);
    let mut reader = decoder.read_info().ok()?;
    let info = reader.info();
    if info.color_type != png::ColorType::Indexed || (info.width, info.height) != size {
        return None;
    }
    let colours = info.palette.as_ref()?.as_chunks::<3>().0.to_vec();
    let bits = usize::from(info.bit_depth as u8);
    let mut packed = vec![0; reader.output_buffer_size()?];
    let frame = reader.next_frame(&mut packed).ok()?;
    let (per_byte, mask) = (8 / bits.max(1), ((1u16 << bits) - 1) as u8);
    let row = |line: &[u8]| -> Vec<u8> {
        let unpack = |x: usize| {
            line.get(x / per_byte).map_or(0, |byte| byte >> (8 - bits * (x % per_byte + 1)) & mask)
        };
        (0..size.0 as usize).map(unpack).collect()
    };
    let indices = packed.chunks_exact(frame.line_size.max(1)).take(size.1 as usize).flat_map(row).collect();
    Some(Palette { indices, colours })
}

/// Keeps all samples of a mask.
#[derive(Default)]
struct MaskSink {
    stored: Option<Stored>,
    narrow: Vec<u8>,
    wide: Vec<u16>,
    float: Vec<f32>,
}

impl MaskSink {
    /// Rules 2 to 5, with the pixels that rule 5 finds faint.
    fn marked(self, stored: Stored) -> (Vec<u8>, usize) {
        let alpha = stored.channels.has_alpha();
        let colours = stored.channels.count() - usize::from(alpha);
        // WebP is either; what is lossy has many values.
        let many = || few_colours(self.narrow.chunks_exact(stored.channels.count()), FEW_VALUES).is_none();
        let lossy = match stored.format {
            FileFormat::Jpeg => true,
            FileFormat::WebP => many(),
            _ => false,
        };
        if !self.float.is_empty() {
            // From 0 to 1 as brightness; what is larger is a number of its own.
            let scale = if self.float.iter().all(|&value| value <= 1.0) { 255.0 } else { 1.0 };
            let values: Vec<u32> = self.float.iter().map(|value| (value * scale).round() as u32).collect();
            return decide(&values, colours, alpha, 1 << 7, lossy);
        }
        let half = match stored.range {
            Range::Named(white) | Range::Container(white) => (white / 2.0).ceil() as u32,
            Range::Float => 1 << 7,
        };
        if self.wide.is_empty() {
            decide(&self.narrow, colours, alpha, half, lossy)
        } else {
            decide(&self.wide, colours, alpha, half, lossy)
        }
    }
}

impl Sink for MaskSink {
    fn begin(&mut self, stored: Stored) {
        self.stored = Some(stored);
    }

    fn u8(&mut self, samples: &[u8]) {
        self.narrow.extend_from_slice(samples);
    }

    fn u16(&mut self, samples: &[u16]) {
        self.wide.extend_from_slice(samples);
    }

    fn f32(&mut self, samples: &[f32]) {
        self.float.extend_from_slice(samples);
    }

    fn all_u8(&mut self, samples: Vec<u8>) {
        self.narrow = samples;
    }
}

/// Of pixels with so many colour channels, and one of opacity perhaps; `half` of the range.
fn decide<T: Copy + Ord + Into<u32>>(
    samples: &[T],
    colours: usize,
    alpha: bool,
    half: u32,
    lossy: bool,
) -> (Vec<u8>, usize) {
    let pixels = || samples.chunks_exact((colours + usize::from(alpha)).max(1));
    let opacity_changes = || {
        let first = samples.get(colours);
        alpha && pixels().any(|pixel| pixel.get(colours) != first)
    };
    let first = pixels().next().unwrap_or_default();
    let one_colour = pixels().all(|pixel| pixel[..colours] == first[..colours]);
    if one_colour && opacity_changes() {
        let opacity: Vec<T> = pixels().map(|pixel| pixel[colours]).collect();
        return decide(&opacity, 1, false, half, lossy);
    }
    let brightness = |pixel: &[T]| -> u32 { pixel[..colours].iter().copied().max().map_or(0, Into::into) };
    let mark = |is_defect: &dyn Fn(&[T]) -> bool| -> Vec<u8> {
        pixels().map(|pixel| if is_defect(&pixel[..colours]) { DEFECT } else { 0 }).collect()
    };
    if let Some(counts) =
        few_colours(pixels().map(|pixel| &pixel[..colours]), 2).filter(|_| !lossy || one_colour)
    {
        let is_black = |colour: &[T]| brightness(colour) == 0;
        let rarer = counts.iter().min_by_key(|(_, count)| **count).map(|(colour, _)| *colour);
        return if counts.len() == 2 && !counts.keys().any(|colour| is_black(colour)) {
            (mark(&|colour| Some(colour) == rarer), 0)
        } else {
            (mark(&|colour| !is_black(colour)), 0)
        };
    }
    let brightest = pixels().map(brightness).max().unwrap_or_default();
    if brightest < half {
        let least = if lossy { brightest.max(DARKEST_JPEG).div_ceil(2) } else { 1 };
        return (mark(&|colour| brightness(colour) >= least), 0);
    }
    let few = !lossy && few_colours(pixels().map(|pixel| &pixel[..colours]), FEW_VALUES).is_some();
    let is_faint = |pixel: &[T]| brightness(pixel) > 0 && brightness(pixel) < half;
    let faint = if few { pixels().filter(|pixel| is_faint(pixel)).count() } else { 0 };
    (mark(&|colour| brightness(colour) >= half), faint)
}

/// How many pixels each colour has, where there are so many colours at most.
fn few_colours<'a, T: Copy + Ord + 'a>(
    pixels: impl Iterator<Item = &'a [T]>,
    most: usize,
) -> Option<BTreeMap<&'a [T], usize>> {
    let mut counts = BTreeMap::new();
    for pixel in pixels {
        *counts.entry(pixel).or_insert(0) += 1;
        if counts.len() > most {
            return None;
        }
    }
    Some(counts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(dir: &tempfile::TempDir, name: &str, bytes: &[u8]) -> std::path::PathBuf {
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    fn palette_png(bits: png::BitDepth, colours: &[[u8; 3]], width: u32, packed: &[u8]) -> Vec<u8> {
        let mut bytes = vec![];
        let mut encoder = png::Encoder::new(&mut bytes, width, 1);
        encoder.set_color(png::ColorType::Indexed);
        encoder.set_depth(bits);
        encoder.set_palette(colours.concat());
        encoder.write_header().unwrap().write_image_data(packed).unwrap();
        bytes
    }

    #[test]
    fn a_palettes_index_decides() {
        let dir = tempfile::tempdir().unwrap();
        let (black, red, white) = ([0; 3], [128, 0, 0], [255; 3]);
        for (name, bytes, want) in [
            // What LabelMe writes for its first class, and a class whose colour is black by mistake.
            ("voc", palette_png(png::BitDepth::Eight, &[black, red], 3, &[0, 1, 0]), [0, 255, 0]),
            ("blind", palette_png(png::BitDepth::Eight, &[black, red, black], 3, &[0, 2, 1]), [0, 255, 255]),
            ("bits", palette_png(png::BitDepth::Two, &[black, red, white], 3, &[0b0001_1000]), [0, 255, 255]),
            (
                "white first",
                palette_png(png::BitDepth::One, &[white, black], 3, &[0b0100_0000]),
                [255, 0, 255],
            ),
            ("any colours", palette_png(png::BitDepth::One, &[white, red], 3, &[0b0100_0000]), [0, 255, 0]),
        ] {
            let path = write(&dir, "m.png", &bytes);
            assert_eq!(decode_mask(&path).unwrap().into_raw(), want, "{name}");
        }
    }

    #[test]
    fn values_of_every_kind() {
        let gray = |values: &[u32]| decide(values, 1, false, 128, false);
        for (what, values, want) in [
            ("gray 128", [0, 128, 0, 0], [0, 255, 0, 0]),
            ("gray 100", [0, 100, 0, 100], [0, 255, 0, 255]),
            ("0 and 1", [0, 1, 1, 0], [0, 255, 255, 0]),
            ("class numbers", [0, 1, 2, 7], [0, 255, 255, 255]),
            ("soft edges", [0, 90, 128, 255], [0, 0, 255, 255]),
            ("no black", [30, 30, 30, 200], [0, 0, 0, 255]),
            ("inverted, as it is", [255, 255, 0, 255], [255, 255, 0, 255]),
            ("all", [255, 255, 255, 255], [255, 255, 255, 255]),
            ("nothing", [0, 0, 0, 0], [0, 0, 0, 0]),
        ] {
            assert_eq!(gray(&values).0, want, "{what}");
        }
        assert_eq!(gray(&[0, 60, 120, 180]).1, 2, "two faint ones");
        // JPEG: noise about 0, a mask of gray 100, and one that marks nothing.
        let jpeg = |values: &[u32]| decide(values, 1, false, 128, true).0;
        assert_eq!(jpeg(&[0, 3, 97, 100]), [0, 0, 255, 255]);
        assert_eq!(jpeg(&[0, 1, 0, 3]), [0, 0, 0, 0]);
        assert_eq!(jpeg(&[2, 250, 0, 140]), [0, 255, 0, 255]);
        // Opacity alone; beside colours it does not count.
        let rgba = [[0u32, 0, 0, 0], [0, 0, 0, 255], [0, 0, 0, 30]].concat();
        assert_eq!(decide(&rgba, 3, true, 128, false).0, [0, 255, 0]);
        let rgba = [[0u32, 0, 0, 255], [255, 0, 0, 0], [0, 200, 0, 255]].concat();
        assert_eq!(decide(&rgba, 3, true, 128, false).0, [0, 255, 255]);
        // Red on white: the rarer of two colours.
        let rgb = [[255u32, 255, 255], [255, 0, 0], [255, 255, 255]].concat();
        assert_eq!(decide(&rgb, 3, false, 128, false).0, [0, 255, 0]);
    }
}
