//! How many bits the camera fills, found from photographs.
//!
//! In: the photographs of good parts, all of them. Out: decode options that hold each of their samples, and sentences for
//! a person. Only files whose header leaves the range open are decoded for it.

use std::path::PathBuf;

use image::RgbImage;
use rayon::prelude::*;

use super::header::image_header;
use super::options::{BitDepth, DecodeOptions, FloatRange, SixteenBit};
use super::source::ImageSource;
use super::{decode_image, read_file};

/// Photographs that the contrast is measured on, spread over the set.
const CONTRAST_OF: usize = 8;
/// Grey levels, of 256, that a photograph should use at least: a tenth.
const FEW_LEVELS: u8 = 26;
/// Fewer photographs say nothing of how the camera takes them.
const FEWEST: usize = 5;
/// Share of the pixels that may lie below, and above, what counts as used.
const OUTLIERS: f64 = 0.005;
/// A value that uses no more than the lowest 14 bits is not aligned to the left of 16.
const LEFT_ALIGNED_FROM: f64 = 16_384.0;

/// What samples of files with more than 8 bits reach, over many files.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
#[non_exhaustive]
pub struct SampleRange {
    /// Files with whole numbers.
    pub files: usize,
    /// Their largest sample.
    pub largest: f64,
    /// How many of the lowest bits are 0 in every sample of them.
    pub unused_low_bits: u8,
    /// The most bits that one of them stores for a sample.
    pub stored_bits: u8,
    /// Files with floating-point numbers.
    pub float_files: usize,
    /// Their largest sample.
    pub float_largest: f64,
}

impl SampleRange {
    /// Looks at the files of these whose header leaves the range open. Files that cannot be read are passed over.
    pub fn of(paths: &[PathBuf], options: &DecodeOptions) -> Self {
        let look = |path: &PathBuf| {
            if !image_header(path, options).ok()?.open_range {
                return None;
            }
            let bytes = read_file(path, options.max_pixels).ok()?;
            Some(decode_image(&bytes, path, options).ok()?.source)
        };
        let sources: Vec<Option<ImageSource>> = paths.par_iter().map(look).collect();
        let mut range = Self::default();
        sources.iter().flatten().for_each(|source| range.see(source));
        range
    }

    /// Whether the options hold every sample.
    pub fn fits(&self, options: &DecodeOptions) -> bool {
        let whole = match (options.sixteen_bit, options.bit_depth) {
            _ if self.files == 0 => true,
            (SixteenBit::Clip, _) => self.largest <= 255.0,
            (SixteenBit::Scale, BitDepth::Auto) => true,
            (SixteenBit::Scale, depth) => self.largest <= depth.white(),
        };
        whole && (self.float_files == 0 || self.float_largest <= options.float_white())
    }

    /// Takes a file in.
    pub fn see(&mut self, source: &ImageSource) {
        let Some(largest) = source.largest.filter(|_| !source.named_range) else { return };
        if source.float {
            self.float_files += 1;
            self.float_largest = self.float_largest.max(largest);
            return;
        }
        self.unused_low_bits = match self.files {
            0 => source.unused_low_bits,
            _ => self.unused_low_bits.min(source.unused_low_bits),
        };
        self.files += 1;
        self.largest = self.largest.max(largest);
        self.stored_bits = self.stored_bits.max(source.bits);
    }

    /// The options, with what they leave open filled in from these files: the smallest depth that holds every sample. What is
    /// aligned to the left of 16 bits fills all 16.
    pub fn resolve(&self, options: &DecodeOptions) -> DecodeOptions {
        let mut found = options.clone();
        let clips = options.sixteen_bit == SixteenBit::Clip;
        if self.files > 0
            && self.largest <= BitDepth::Auto.white()
            && options.bit_depth == BitDepth::Auto
            && !clips
        {
            found.bit_depth = BitDepth::holding(self.largest);
        }
        if self.float_files > 0 && options.float_range == FloatRange::Auto {
            if self.float_largest <= 1.0 {
                found.float_range = FloatRange::Unit;
            } else {
                found.float_range = FloatRange::Bits;
                if options.bit_depth == BitDepth::Auto {
                    found.bit_depth = BitDepth::holding(self.float_largest.max(self.largest));
                }
            }
        }
        found
    }

    /// What was found, for a person, given the options in use; nothing where no file leaves its range open.
    pub fn notes(&self, options: &DecodeOptions) -> Vec<String> {
        [self.whole_numbers(options), self.floats(options)].into_iter().flatten().collect()
    }

    fn whole_numbers(&self, options: &DecodeOptions) -> Option<String> {
        if self.files == 0 {
            return None;
        }
        let (largest, stored) = (self.largest, self.stored_bits);
        if options.sixteen_bit == SixteenBit::Clip && stored <= 16 {
            return (largest > 255.0).then(|| {
                format!(
                    "the photographs have {stored} bits and values up to {largest}, of which all above 255 are taken for white, \
                     as in the official code (sixteen_bit = \"clip\"): give --bit-depth {} to see them",
                    BitDepth::holding(largest)
                )
            });
        }
        if largest > BitDepth::Auto.white() {
            return Some(format!(
                "the photographs store {stored} bits, with values up to {largest}: white is all of their range"
            ));
        }
        let white = options.bit_depth.white();
        if largest > white {
            return Some(format!(
                "the photographs have values up to {largest}, above the {white} of {} bits: what is brighter counts as white; \
                 give --bit-depth auto",
                options.bit_depth
            ));
        }
        let left = self.left_aligned().map(|bits| format!("{bits} bits, aligned to the left, "));
        let held = left.unwrap_or_else(|| format!("{} bits ", options.bit_depth_or_all()));
        Some(format!(
            "the photographs hold {held}in {stored}-bit files, with values up to {largest}: white is {white}"
        ))
    }

    fn floats(&self, options: &DecodeOptions) -> Option<String> {
        let (largest, white) = (self.float_largest, options.float_white());
        (self.float_files > 0).then(|| if largest > white { format!(
                "the photographs hold floating-point values up to {largest}, above the {white} that is white: what is brighter \
                 counts as white; save them with 16 bits"
            ) } else { format!("the photographs hold floating-point values up to {largest}: white is {white}") })
    }

    /// How many bits there are, where they are aligned to the left of 16.
    fn left_aligned(&self) -> Option<u8> {
        let aligned = self.stored_bits == 16 && self.largest >= LEFT_ALIGNED_FROM;
        (aligned && (2..=8).contains(&self.unused_low_bits)).then_some(16 - self.unused_low_bits)
    }
}

/// What is to say of the contrast of these photographs, looked at in a few of them. Files that cannot be read are passed over.
pub fn contrast_note(paths: &[PathBuf], options: &DecodeOptions) -> Option<String> {
    let step = paths.len().div_ceil(CONTRAST_OF).max(1);
    let some: Vec<&PathBuf> = paths.iter().step_by(step).collect();
    let levels: Vec<Option<u8>> =
        some.par_iter().map(|path| Some(grey_levels(&super::decode_file(path, options).ok()?))).collect();
    low_contrast(levels.into_iter().flatten().collect())
}

/// What is to say of photographs, given the grey levels that each uses; of fewer than five, nothing.
pub fn low_contrast(mut levels: Vec<u8>) -> Option<String> {
    levels.sort_unstable();
    let &median = levels.get(levels.len() / 2)?;
    (levels.len() >= FEWEST && median < FEW_LEVELS).then(|| {
        format!(
            "the photographs have little contrast: they use about {} of 256 grey levels, so that faint defects are lost; expose \
             longer or light them better, and if their files have more than 8 bits, see --bit-depth",
            u16::from(median) + 1
        )
    })
}

/// How far the grey levels of a photograph reach, from the darkest to the brightest but for a few outliers, in the channel
/// where they reach farthest.
pub fn grey_levels(pixels: &RgbImage) -> u8 {
    let mut counts = [[0u64; 256]; 3];
    for pixel in pixels.pixels() {
        for (counts, &value) in counts.iter_mut().zip(&pixel.0) {
            counts[usize::from(value)] += 1;
        }
    }
    let outliers = (OUTLIERS * f64::from(pixels.width()) * f64::from(pixels.height())) as u64;
    let reach = |counts: &[u64; 256]| {
        let (low, high) = (beyond(counts, outliers, 0..256), beyond(counts, outliers, (0..256).rev()));
        high.unwrap_or(0).saturating_sub(low.unwrap_or(0)) as u8
    };
    counts.iter().map(reach).max().unwrap_or(0)
}

/// The first of these values with more than so many pixels up to it.
fn beyond(counts: &[u64; 256], outliers: u64, mut values: impl Iterator<Item = usize>) -> Option<usize> {
    let mut passed = 0;
    values.find(|&value| {
        passed += counts[value];
        passed > outliers
    })
}

#[cfg(test)]
#[path = "depth_tests.rs"]
mod tests;
