//! A trained detector: what it takes from a decoded image to a decision, in one object.
//!
//! In: a decoded RGB image of any size, or several. Out: the raw image score, the anomaly map at the network's size and in
//! the image's own pixels, the regions above the threshold, and the time each part took.

mod finish;

use std::path::Path;

use image::RgbImage;
use rayon::prelude::*;
use simplenet_data::{DataError, FileTraits, ImageProfile, ImageTraits, preprocess::Preprocess};
use simplenet_model::{
    Opened,
    checkpoint::{self, ModelRecord, Threshold},
    device,
    simplenet::SimpleNet,
};

use crate::{
    error::InferenceError,
    inspection::{Inspection, timed},
    network::{Network, Prepared, Scored},
    options::DetectorOptions,
    precision::InferencePrecision,
    profile::profile_of,
    views::{View, Views},
};

/// A network, compiled, with the preprocessing and the threshold that belong to it; `Send + Sync`, and every call may come from
/// another thread. The network that it was compiled from is not kept: inspecting does not need it.
pub struct Detector {
    /// Compiled for the preprocessing's size.
    network: Network,
    /// The device's name.
    device: String,
    device_note: Option<String>,
    precision: InferencePrecision,
    preprocess: Preprocess,
    /// What of images is looked at.
    views: Views,
    record: ModelRecord,
    /// What the images were like that it was trained on, where the record says it.
    profile: Option<ImageProfile>,
}

impl Detector {
    /// Opens the device, reads a model file and compiles its network; everything needed is inside the file.
    ///
    /// # Errors
    /// A device that cannot be used; a file that is missing, truncated, edited, of a newer format or not a model of this
    /// program; as [`Detector::from_network`].
    pub fn open(path: &Path, options: &DetectorOptions) -> Result<Self, InferenceError> {
        let opened = device::open(options.device)?;
        let (net, record) = checkpoint::load(path, &Opened::cpu().device)?;
        Self::compile(&net, record, options, opened)
    }

    /// Joins a network that is at hand with its record, as training and calibration do, and compiles it for the record's
    /// input size.
    ///
    /// # Errors
    /// A device that cannot be used, or is out of memory; [`InferenceError::Record`] when the preprocessing in the record
    /// cannot be read; [`InferenceError::Setting`] for a precision that the device does not have;
    /// [`InferenceError::NoActivationRanges`] for int8 and a model of a version that did not measure them; a region of
    /// interest that is none; a network that cannot be compiled.
    pub fn from_network(
        net: &SimpleNet,
        record: ModelRecord,
        options: &DetectorOptions,
    ) -> Result<Self, InferenceError> {
        Self::compile(net, record, options, device::open(options.device)?)
    }

    fn compile(
        net: &SimpleNet,
        mut record: ModelRecord,
        options: &DetectorOptions,
        opened: Opened,
    ) -> Result<Self, InferenceError> {
        let mut preprocess = preprocess_of(&record)?;
        if let Some(pixels) = options.max_pixels {
            preprocess.decode.max_pixels = pixels;
        }
        let profile = profile_of(&record)?;
        let region = options.roi.as_ref().map(|roi| roi.region(&preprocess.decode)).transpose()?;
        let network = Network::compile(net, &record, &preprocess, options, &opened)?;
        let views = Views::new(&preprocess, region.as_slice(), network.grid());
        if let Some(value) = options.threshold {
            record.threshold = Some(by_hand(value, record.threshold));
        }
        check_threshold(&record)?;
        if let Some(pixels) = options.min_area {
            record.min_region_area = pixels;
        }
        let Opened { name: device, note: device_note, .. } = opened;
        let precision = options.precision;
        Ok(Self { network, device, device_note, precision, preprocess, views, record, profile })
    }

    /// The record of the model file, with what the options have overridden.
    pub fn record(&self) -> &ModelRecord {
        &self.record
    }

    /// Takes another record of the same network in the place of its own, as a calibration makes it or saving gives it back.
    ///
    /// # Errors
    /// [`InferenceError::Record`] for one of another network or preprocessing, or with a threshold that is not a number.
    pub fn set_record(&mut self, record: ModelRecord) -> Result<(), InferenceError> {
        if record.network() != self.record.network() || record.preprocessing != self.record.preprocessing {
            return Err(InferenceError::record("record", "it describes another network than the detector's"));
        }
        check_threshold(&record)?;
        self.profile = profile_of(&record)?;
        self.record = record;
        Ok(())
    }

    /// The numbers that the network computes in.
    pub fn precision(&self) -> InferencePrecision {
        self.precision
    }

    /// The name of the device that the network runs on: `CPU`, or a GPU's.
    pub fn device(&self) -> &str {
        &self.device
    }

    /// Why [`DeviceChoice::Auto`](simplenet_model::DeviceChoice::Auto) has come to the CPU; one sentence.
    pub fn device_note(&self) -> Option<&str> {
        self.device_note.as_deref()
    }

    /// How many images go through the network at once, at most: 1 on the CPU.
    pub fn batch(&self) -> usize {
        self.network.batch().unwrap_or(1)
    }

    /// Whether images go through the network in batches, as on a GPU, rather than one on each of the CPU's threads.
    pub fn takes_batches(&self) -> bool {
        self.network.batch().is_some()
    }

    /// From image to network input.
    pub fn preprocess(&self) -> &Preprocess {
        &self.preprocess
    }

    /// Inspects the pixels of one image; [`inspect_one`](crate::inspect_one) reads a file.
    ///
    /// # Errors
    /// An image without pixels; one smaller than a tile, or of another number of tiles than the model was trained on, if it
    /// knows their positions; a region of interest that leaves nothing of it; a failing tensor operation.
    pub fn inspect(&self, image: &RgbImage) -> Result<Inspection, InferenceError> {
        self.finish(self.network.score(self.prepare(image, None)?)?)
    }

    /// Inspects the pixels of an image that is not a file: (height, width, 3) bytes, RGB, row by row, as cameras and
    /// other libraries hold them.
    ///
    /// # Errors
    /// Another number of bytes than `3 · width · height`; as [`Detector::inspect`].
    pub fn inspect_rgb(&self, width: u32, height: u32, rgb: &[u8]) -> Result<Inspection, InferenceError> {
        let image = RgbImage::from_raw(width, height, rgb.to_vec()).ok_or(DataError::WrongSize {
            what: "the photograph's pixels",
            found: format!("{} bytes", rgb.len()),
            expected: format!("3 x {width} x {height}"),
        })?;
        self.inspect(&image)
    }

    /// Inspects several images, which may be of different sizes: on a GPU in batches, on the CPU one after the other.
    /// The scores are those of [`Detector::inspect`], however many go together.
    ///
    /// # Errors
    /// As [`Detector::inspect`], for the first image that has one, by its number from 0. A device whose memory does not hold
    /// one image; batches that it does not hold are halved.
    pub fn inspect_batch(&self, images: &[RgbImage]) -> Result<Vec<Inspection>, InferenceError> {
        let prepared = in_turn(images.par_iter().map(|image| self.prepare(image, None)))?;
        in_turn(self.score_all(prepared)?.into_par_iter().map(|scored| self.finish(scored)))
    }

    /// Runs the network alone, for benchmarks: images of [`Preprocess::network_size`], (B, H, W, 3) bytes, as one batch.
    /// The scores are dropped.
    ///
    /// # Errors
    /// Another number of bytes; a device whose memory does not hold the batch, which is not halved.
    pub fn run_network(&self, rgb: &[u8]) -> Result<(), InferenceError> {
        let (width, height) = self.preprocess.network_size();
        self.network.run_only(rgb, 3 * width as usize * height as usize)
    }

    /// Resize and crop; in what it is unlike those trained on.
    pub(crate) fn prepare(
        &self,
        image: &RgbImage,
        file: Option<FileTraits>,
    ) -> Result<Prepared, InferenceError> {
        let (prepared, time) = timed(|| -> Result<_, InferenceError> {
            let view = self.views.of(image.dimensions())?;
            self.check_tiles(image.dimensions(), &view)?;
            let differences = self
                .profile
                .as_ref()
                .map_or_else(Vec::new, |profile| profile.differences(&ImageTraits::of_file(image, file)));
            Ok((self.preprocess.resize_crop(image)?, view, differences))
        });
        let (input, view, differences) = prepared?;
        Ok(Prepared { input, view, differences, time })
    }

    /// The network, for one.
    pub(crate) fn score(&self, prepared: Prepared) -> Result<Scored, InferenceError> {
        self.network.score(prepared)
    }

    /// The network, for several; in their order.
    pub(crate) fn score_all(&self, prepared: Vec<Prepared>) -> Result<Vec<Scored>, InferenceError> {
        self.network.score_all(prepared)
    }

    /// A network that knows the positions of tiles takes images of as many.
    fn check_tiles(&self, (width, height): (u32, u32), view: &View) -> Result<(), InferenceError> {
        let Some(known) = self.record.position.map(|position| position.tiles) else { return Ok(()) };
        let found = view.layout.grid();
        if found == known {
            return Ok(());
        }
        let tiles = |[down, across]: [usize; 2]| format!("{across} x {down} tiles");
        Err(DataError::WrongSize {
            what: "the photograph",
            found: format!("{width} x {height} pixels, {}", tiles(found)),
            expected: format!(
                "{} as the photographs that the model was trained on, whose places it knows; photographs of another size need \
                 a model of their own, or one trained with `position = \"unaware\"`",
                tiles(known)
            ),
        }
        .into())
    }
}

/// A threshold that a person chose, in the place of another one.
fn by_hand(value: f32, before: Option<Threshold>) -> Threshold {
    let map_value = match before {
        Some(before) => before.map_value.min(before.map_value + (value - before.value)),
        None => value,
    };
    Threshold::by_hand(value, map_value)
}

fn preprocess_of(record: &ModelRecord) -> Result<Preprocess, InferenceError> {
    let preprocess: Preprocess = serde_json::from_value(record.preprocessing.clone())
        .map_err(|e| InferenceError::record("model file, preprocessing", e))?;
    preprocess.validate()?;
    Ok(preprocess)
}

/// A threshold that is no number would pass every part.
fn check_threshold(record: &ModelRecord) -> Result<(), InferenceError> {
    match record.threshold.filter(|threshold| !threshold.is_usable()) {
        None => Ok(()),
        Some(threshold) => {
            let problem =
                format!("{} or its band for review is not finite, or the band not below", threshold.value);
            Err(InferenceError::record("threshold", problem))
        }
    }
}

/// The results in their order, or the error of the first image that has one.
fn in_turn<T: Send>(
    results: impl IndexedParallelIterator<Item = Result<T, InferenceError>>,
) -> Result<Vec<T>, InferenceError> {
    let results: Vec<_> = results.collect();
    let named = |(i, result): (usize, Result<T, InferenceError>)| {
        result.map_err(|error| error.of_image(Path::new(&format!("image {i}"))))
    };
    results.into_iter().enumerate().map(named).collect()
}
