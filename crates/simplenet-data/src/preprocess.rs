//! From decoded pixels to the network's input.
//!
//! In: 8-bit RGB of any size. Out: f32 (3, height, width) of one fixed size, and masks of that size. The
//! configuration travels in the model file: training, evaluation and inference use the same one.

use image::{GrayImage, RgbImage};
use serde::{Deserialize, Serialize};
use std::path::Path;

use crate::augment::Augment;
use crate::dataset::GroundTruth;
use crate::decode::{DecodeOptions, Exif, SixteenBit};
use crate::error::DataError;
pub use crate::placement::{PixelBox, Placement};
use crate::region::RegionOfInterest;
use crate::resize::{Window, resize};
use crate::tiles::{TileAxis, TileLayout, Tiles};

/// Mean of the ImageNet training pictures, RGB, on the scale 0 to 1; what torchvision's weights expect.
pub const IMAGENET_MEAN: [f32; 3] = [0.485, 0.456, 0.406];
/// Standard deviation that belongs to [`IMAGENET_MEAN`].
pub const IMAGENET_STD: [f32; 3] = [0.229, 0.224, 0.225];

/// Sides beyond this are a mistake.
const MAX_NETWORK_SIDE: u32 = 8192;
/// Most pixels of one network input, 2048 × 2048: its features alone take some hundred megabytes.
const MAX_NETWORK_PIXELS: u64 = 1 << 22;
/// Most tiles of one photograph: 200 megapixels in tiles of 256 × 256 that overlap by an eighth are about 4000.
const MAX_TILES: u64 = 1 << 14;
/// A tile is enlarged by this much at most to become a network input.
const MAX_ENLARGEMENT: u32 = 16;
/// All tiles of a photograph together have at most this many times as many pixels as a photograph may have.
const MAX_ENLARGED: u64 = 2;
/// Largest limit on a photograph's pixels that may be set.
const MAX_PIXELS: u64 = 1 << 32;
/// Largest magnitude of a normalised value: 0 to 1 without a mean, on a scale of 0 to 255, is far below.
const MAX_NORMALISED: f32 = 1e6;

/// How the whole image is resized before a crop, always bilinear with antialiasing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Resize {
    /// To exactly this size; the aspect ratio may change.
    Exact {
        /// Pixels across.
        width: u32,
        /// Pixels down.
        height: u32,
    },
    /// The shorter side to this length, the longer one to `length · longer / shorter`, rounded down.
    ShorterSide(u32),
}

/// Size of a centre crop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CropSize {
    /// Pixels across.
    pub width: u32,
    /// Pixels down.
    pub height: u32,
}

/// Which pixels of a resized mask, whose edges the resize made soft, count as anomalous.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MaskRule {
    /// At least half anomalous: 128 and above.
    #[default]
    Half,
    /// Wholly anomalous: 255 only. What the official evaluation does (`astype(int)` of values up to 1).
    FullOnly,
    /// Anomalous in the least part: above 0.
    AnyPositive,
}

/// Configuration of the way from decoded pixels to the network's input.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preprocess {
    /// The resize of the whole image.
    pub resize: Resize,
    /// A centre crop after it; what lies outside is not inspected. Without one nothing is lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crop: Option<CropSize>,
    /// Large photographs are cut into overlapping tiles, and `resize` (exact) is what becomes of each. Without them the
    /// whole photograph is one network input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tiles: Option<Tiles>,
    /// What of the photograph is inspected; without it all that the network sees. What lies outside is painted over with the
    /// mean colour, so that it reaches no patch: patches see far beyond their own pixels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub roi: Option<RegionOfInterest>,
    /// Subtracted from the values on the scale 0 to 1, RGB.
    pub mean: [f32; 3],
    /// Divides after that, RGB.
    pub std: [f32; 3],
    /// How files become pixels.
    #[serde(default)]
    pub decode: DecodeOptions,
}

impl Default for Preprocess {
    /// The whole image at 288×288.
    fn default() -> Self {
        Self::whole_image(288, 288)
    }
}

impl Preprocess {
    /// As the official code: shorter side 329, centre crop 288×288, EXIF orientation ignored, 16 bits clipped.
    pub fn paper() -> Self {
        Self {
            resize: Resize::ShorterSide(329),
            crop: Some(CropSize { width: 288, height: 288 }),
            tiles: None,
            roi: None,
            mean: IMAGENET_MEAN,
            std: IMAGENET_STD,
            decode: DecodeOptions {
                exif: Exif::Ignore,
                sixteen_bit: SixteenBit::Clip,
                ..DecodeOptions::default()
            },
        }
    }

    /// Tiles of a large photograph, each at this size; EXIF orientation applied, 16 bits scaled.
    pub fn tiled(tiles: Tiles, width: u32, height: u32) -> Self {
        Self { tiles: Some(tiles), ..Self::whole_image(width, height) }
    }

    /// The whole image at the given size, nothing cropped; EXIF orientation applied, 16 bits scaled.
    pub fn whole_image(width: u32, height: u32) -> Self {
        Self {
            resize: Resize::Exact { width, height },
            crop: None,
            tiles: None,
            roi: None,
            mean: IMAGENET_MEAN,
            std: IMAGENET_STD,
            decode: DecodeOptions::default(),
        }
    }

    /// Checks that the configuration gives inputs of one size and finite values.
    ///
    /// # Errors
    /// [`DataError::InvalidOption`]: a side that is 0 or too large, an input of too many pixels, a crop larger than the resize, a
    /// shorter side without a crop (the size would depend on the image), tiles beside either, a region that is none, a mean
    /// or deviation out of range.
    pub fn validate(&self) -> Result<(), DataError> {
        let invalid = |option, found: String, expected: &str| {
            Err(DataError::InvalidOption { option, found, expected: expected.to_string() })
        };
        let side = |v: u32| (1..=MAX_NETWORK_SIDE).contains(&v);
        let (width, height) = match self.resize {
            Resize::Exact { width, height } => (width, height),
            Resize::ShorterSide(length) => (length, length),
        };
        if !side(width) || !side(height) {
            return invalid("resize", format!("{width} x {height}"), "sides of 1 to 8192 pixels");
        }
        let (across, down) = self.network_size();
        if u64::from(across) * u64::from(down) > MAX_NETWORK_PIXELS {
            let expected = format!(
                "at most {MAX_NETWORK_PIXELS} pixels, as 2048 x 2048 has; a larger photograph is cut into tiles"
            );
            return invalid("resize", format!("{across} x {down} at the network"), &expected);
        }
        match (self.crop, self.resize) {
            (Some(c), _) if c.width == 0 || c.height == 0 || c.width > width || c.height > height => {
                let expected = format!("1 x 1 to {width} x {height}, the size after the resize");
                return invalid("crop", format!("{} x {}", c.width, c.height), &expected);
            }
            (None, Resize::ShorterSide(_)) => {
                let expected = "a crop size beside resize.shorter_side, since inputs must have one size; or \
                                resize.exact, which takes in the whole image";
                return invalid("crop", "none".to_string(), expected);
            }
            _ => {}
        }
        if let Some(tiles) = &self.tiles {
            tiles.validate(MAX_NETWORK_SIDE)?;
            if self.crop.is_some() || !matches!(self.resize, Resize::Exact { .. }) {
                let found = "beside a crop or resize.shorter_side".to_string();
                return invalid("tiles", found, "no crop and resize.exact, which is each tile's size");
            }
            let enlarged = |side: u32, tile: u32| side > tile.saturating_mul(MAX_ENLARGEMENT);
            if enlarged(width, tiles.width) || enlarged(height, tiles.height) {
                let found =
                    format!("{} x {}, each enlarged to {width} x {height}", tiles.width, tiles.height);
                return invalid("tiles", found, "larger tiles: a tile is enlarged at most 16 times");
            }
        }
        if let Some(roi) = &self.roi {
            roi.validate()?;
        }
        if !self.mean.iter().all(|v| v.is_finite()) {
            return invalid("mean", format!("{:?}", self.mean), "finite numbers");
        }
        if !self.std.iter().all(|v| v.is_finite() && *v > 0.0) {
            return invalid("std", format!("{:?}", self.std), "finite numbers above 0");
        }
        let extreme = |(mean, std): (&f32, &f32)| (mean.abs().max((1.0 - mean).abs())) / std > MAX_NORMALISED;
        if self.mean.iter().zip(&self.std).any(extreme) {
            let found = format!("{:?} with mean {:?}", self.std, self.mean);
            return invalid("std", found, "numbers that leave normalised values below 1000000");
        }
        if !(1..=MAX_PIXELS).contains(&self.decode.max_pixels) {
            let found = self.decode.max_pixels.to_string();
            return invalid("decode.max_pixels", found, &format!("1 to {MAX_PIXELS}"));
        }
        Ok(())
    }

    /// Width and height of every network input.
    pub fn network_size(&self) -> (u32, u32) {
        match (self.crop, self.resize) {
            (Some(crop), _) => (crop.width, crop.height),
            (None, Resize::Exact { width, height }) => (width, height),
            // Refused by `validate`; square images would have this size.
            (None, Resize::ShorterSide(length)) => (length, length),
        }
    }

    /// Where the network input of an image of `width` × `height` pixels lies in that image; with tiles, where all of them
    /// together do.
    pub fn placement(&self, width: u32, height: u32) -> Placement {
        let resized = match (self.resize, self.tiles) {
            (Resize::Exact { width: to_width, height: to_height }, Some(tiles)) => {
                (scaled(width, tiles.width, to_width), scaled(height, tiles.height, to_height))
            }
            (Resize::Exact { width, height }, None) => (width, height),
            (Resize::ShorterSide(length), _) if width <= height => {
                (length, longer_side(length, height, width))
            }
            (Resize::ShorterSide(length), _) => (longer_side(length, width, height), length),
        };
        let crop = match self.crop {
            None => (0, 0, resized.0, resized.1),
            Some(CropSize { width, height }) => {
                let (width, height) = (width.min(resized.0), height.min(resized.1));
                (crop_offset(resized.0, width), crop_offset(resized.1, height), width, height)
            }
        };
        Placement { original: (width, height), resized, crop }
    }

    /// The tiles of what [`resize_crop`](Self::resize_crop) makes of an image of `width` × `height` pixels, in its pixels:
    /// one that is all of it without `tiles`.
    ///
    /// # Errors
    /// The configuration is invalid, the image has no pixels, or is smaller than a tile.
    pub fn layout(&self, width: u32, height: u32) -> Result<TileLayout, DataError> {
        let (_, _, width, height) = self.checked_placement((width, height))?.crop;
        let axis = |length: u32, tile: u32, side: u32, overlap: u32| {
            let overlap = u64::from(overlap) * u64::from(side) / u64::from(tile);
            TileAxis::new(length, side, overlap as u32)
        };
        Ok(match (self.tiles, self.network_size()) {
            (None, _) => {
                TileLayout { columns: TileAxis::new(width, width, 0), rows: TileAxis::new(height, height, 0) }
            }
            (Some(tiles), (tile_width, tile_height)) => TileLayout {
                columns: axis(width, tiles.width, tile_width, tiles.overlap),
                rows: axis(height, tiles.height, tile_height, tiles.overlap),
            },
        })
    }

    /// Resize and crop: 8-bit RGB of any size to [`network_size`](Self::network_size), equal to Pillow's
    /// result in every pixel, but for those outside the region of interest. With tiles, the image that all of them are cut from: see [`layout`](Self::layout).
    ///
    /// # Errors
    /// The configuration is invalid, the image has no pixels, or is smaller than a tile.
    pub fn resize_crop(&self, rgb: &RgbImage) -> Result<RgbImage, DataError> {
        let placement = self.checked_placement(rgb.dimensions())?;
        let input = if placement.is_identity() {
            rgb.clone()
        } else {
            let (x, y, width, height) = placement.crop;
            let window = Window { columns: x..x + width, rows: y..y + height };
            into_image(width, height, resize::<3>(rgb, placement.original, placement.resized, &window))?
        };
        Ok(self.without_outside(input, &placement))
    }

    /// Paints over what lies outside the region of interest.
    fn without_outside(&self, mut input: RgbImage, placement: &Placement) -> RgbImage {
        if let Some(roi) = &self.roi {
            let mean = image::Rgb(self.mean.map(|v| (255.0 * v).round().clamp(0.0, 255.0) as u8));
            let outside = input.pixels_mut().zip(roi.pixels(placement)).filter(|(_, inside)| !inside);
            outside.for_each(|(pixel, _)| *pixel = mean);
        }
        input
    }

    /// As [`resize_crop`](Self::resize_crop), with a random change between resize and crop, where the
    /// official code has it: what a shift moves into the crop is picture, not black border.
    ///
    /// # Errors
    /// As `resize_crop`; also when a long, narrow image would have more than `max_pixels` after the resize.
    pub fn resize_augment_crop(
        &self,
        rgb: &RgbImage,
        augment: &Augment,
        seed: u64,
    ) -> Result<RgbImage, DataError> {
        if augment.is_off() {
            return self.resize_crop(rgb);
        }
        let placement = self.checked_placement(rgb.dimensions())?;
        let (all_width, all_height) = placement.resized;
        if u64::from(all_width) * u64::from(all_height) > self.decode.max_pixels {
            return Err(DataError::WrongSize {
                what: "the image before augmentation",
                found: format!("{all_width} x {all_height} pixels"),
                expected: format!(
                    "at most {} pixels; its aspect ratio is too extreme",
                    self.decode.max_pixels
                ),
            });
        }
        let window = Window { columns: 0..all_width, rows: 0..all_height };
        let pixels = resize::<3>(rgb, placement.original, placement.resized, &window);
        let changed = augment.apply(&into_image(all_width, all_height, pixels)?, seed);
        let (x, y, width, height) = placement.crop;
        let input = image::imageops::crop_imm(&changed, x, y, width, height).to_image();
        Ok(self.without_outside(input, &placement))
    }

    /// `((v / 255) − mean) / std`, each step in single precision: (height, width, 3) 8-bit to `out`
    /// (3, height, width).
    ///
    /// # Errors
    /// [`DataError::WrongSize`] when `out` does not have `3 · height · width` places.
    pub fn normalise(&self, rgb: &RgbImage, out: &mut [f32]) -> Result<(), DataError> {
        let pixels = rgb.as_raw().as_chunks::<3>().0;
        if out.len() != 3 * pixels.len() || pixels.is_empty() {
            return Err(DataError::WrongSize {
                what: "the buffer for the network input",
                found: format!("{} values", out.len()),
                expected: format!("3 x {} x {}, not empty", rgb.height(), rgb.width()),
            });
        }
        for (channel, plane) in out.chunks_exact_mut(pixels.len()).enumerate() {
            let (mean, std) = (self.mean[channel], self.std[channel]);
            let table: [f32; 256] = std::array::from_fn(|v| (v as f32 / 255.0 - mean) / std);
            plane.iter_mut().zip(pixels).for_each(|(to, pixel)| *to = table[usize::from(pixel[channel])]);
        }
        Ok(())
    }

    /// Resizes and crops a mask as its image, and decides about the soft edges: (height, width) of
    /// [`network_size`](Self::network_size), 0 normal, 1 anomalous.
    ///
    /// # Errors
    /// As [`resize_crop`](Self::resize_crop).
    pub fn mask(&self, mask: &GrayImage, rule: MaskRule) -> Result<Vec<u8>, DataError> {
        let least = match rule {
            MaskRule::Half => 128,
            MaskRule::FullOnly => 255,
            MaskRule::AnyPositive => 1,
        };
        Ok(self.soft_mask(mask)?.iter().map(|&v| u8::from(v >= least)).collect())
    }

    /// Resizes and crops a mask as its image, soft edges kept: 0 to 255.
    ///
    /// # Errors
    /// As [`resize_crop`](Self::resize_crop).
    pub fn soft_mask(&self, mask: &GrayImage) -> Result<GrayImage, DataError> {
        let placement = self.checked_placement(mask.dimensions())?;
        let (x, y, width, height) = placement.crop;
        let window = Window { columns: x..x + width, rows: y..y + height };
        into_image(width, height, resize::<1>(mask, placement.original, placement.resized, &window))
    }

    /// Reads the ground truth of an image of size `original` and brings the union of its defects to the network's size.
    ///
    /// # Errors
    /// A mask that cannot be read, or has another size than the image; as [`GroundTruth::read_for`].
    pub fn ground_truth(
        &self,
        truth: &GroundTruth,
        image: &Path,
        original: (u32, u32),
        rule: MaskRule,
    ) -> Result<Vec<u8>, DataError> {
        let mask = truth.read_for(image, original, &self.decode)?;
        self.mask(&mask, rule)
    }

    fn checked_placement(&self, (width, height): (u32, u32)) -> Result<Placement, DataError> {
        self.validate()?;
        if width == 0 || height == 0 {
            return Err(DataError::WrongSize {
                what: "the image",
                found: format!("{width} x {height} pixels"),
                expected: "at least 1 x 1".to_string(),
            });
        }
        if let Some(tiles) = self.tiles.filter(|tiles| width < tiles.width || height < tiles.height) {
            return Err(DataError::WrongSize {
                what: "the photograph",
                found: format!("{width} x {height} pixels"),
                expected: format!(
                    "at least the {} x {} of a tile: train with smaller tiles, or without",
                    tiles.width, tiles.height
                ),
            });
        }
        let placement = self.placement(width, height);
        if let Some(tiles) = self.tiles {
            self.check_tiles(tiles, &placement)?;
        }
        Ok(placement)
    }

    /// A photograph's tiles are so many, and have so many pixels, as there is time and memory for.
    fn check_tiles(&self, tiles: Tiles, placement: &Placement) -> Result<(), DataError> {
        let ((width, height), (all_width, all_height)) = (placement.original, placement.resized);
        let most = self.decode.max_pixels.saturating_mul(MAX_ENLARGED);
        if u64::from(all_width) * u64::from(all_height) > most {
            return Err(DataError::WrongSize {
                what: "the photograph with every tile enlarged",
                found: format!("{all_width} x {all_height} pixels"),
                expected: format!(
                    "at most {most}, twice decode.max_pixels: take larger tiles, or a smaller network input"
                ),
            });
        }
        // As many as `TileAxis` makes, without making them.
        let along = |side: u32, tile: u32| {
            1 + u64::from(side.saturating_sub(tile).div_ceil((tile - tiles.overlap).max(1)))
        };
        let count = along(width, tiles.width) * along(height, tiles.height);
        if count > MAX_TILES {
            return Err(DataError::WrongSize {
                what: "the photograph",
                found: format!(
                    "{width} x {height} pixels, {count} tiles of {} x {}",
                    tiles.width, tiles.height
                ),
                expected: format!("at most {MAX_TILES} tiles: train with larger ones, or with less overlap"),
            });
        }
        Ok(())
    }
}

/// Pixels of a side when each `tile` of them become `to`, rounded to the nearest.
fn scaled(side: u32, tile: u32, to: u32) -> u32 {
    let tile = u64::from(tile.max(1));
    u32::try_from((u64::from(side) * u64::from(to) + tile / 2) / tile).unwrap_or(u32::MAX).max(1)
}

/// `int(length · longer / shorter)`, torchvision's rule.
fn longer_side(length: u32, longer: u32, shorter: u32) -> u32 {
    let side = u64::from(length) * u64::from(longer) / u64::from(shorter.max(1));
    u32::try_from(side).unwrap_or(u32::MAX)
}

/// `(size − crop) / 2`, half rounded to even: Python's `round`, as torchvision's centre crop uses it.
fn crop_offset(size: u32, crop: u32) -> u32 {
    let twice = size - crop;
    let down = twice / 2;
    down + (twice % 2) * (down % 2)
}

fn into_image<P: image::Pixel<Subpixel = u8>>(
    width: u32,
    height: u32,
    pixels: Vec<u8>,
) -> Result<image::ImageBuffer<P, Vec<u8>>, DataError> {
    let found = format!("{} values", pixels.len());
    image::ImageBuffer::from_raw(width, height, pixels).ok_or_else(|| DataError::WrongSize {
        what: "the resized image",
        found,
        expected: format!("{width} x {height} pixels"),
    })
}

#[cfg(test)]
#[path = "preprocess_tests.rs"]
mod tests;
