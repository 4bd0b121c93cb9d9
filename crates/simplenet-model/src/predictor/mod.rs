//! The compiled network. In: one image (3, H, W), normalised. Out: its patch scores ([`Predictor`]), or its patch
//! features for training ([`CompiledExtractor`]).
//!
//! A predictor is made once from a [`SimpleNet`] for one image size: batch norm is folded into the convolutions,
//! filters are transformed and packed, the head becomes one matrix a layer, and every value between two layers gets a
//! place in reused memory. A backbone without a compiled form (DINOv2) runs its literal layers instead, in f32. It agrees with [`SimpleNet::patch_scores`] up to rounding (tested); where that one is
//! there to be trained and read, this one is there to be fast.

mod backbone;
mod batch;
mod cells;
pub(crate) mod head;
mod image;
pub(crate) mod network;
mod precision;
pub(crate) mod program;

pub use batch::{BatchExtractor, BatchOutput, BatchPrecision, BatchPredictor};
pub use image::Normalisation;
pub use precision::{ActivationRanges, Precision};

use std::sync::{Mutex, PoisonError};

use crate::{
    error::ModelError,
    ops::{
        Isa,
        patch_aggregate::{PatchAggregate, to_planes},
        team::with_team,
    },
    simplenet::{FeatureExtractor, SimpleNet},
};
use backbone::{CompiledBackbone, Memory};
use head::{Head, HeadWorkspace};
use image::Image;
use program::Map;

/// How a predictor is compiled.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct PredictorOptions {
    /// The instruction set to use; one that the machine lacks falls back to a lower one.
    pub isa: Isa,
    /// The numbers to compute in.
    pub precision: Precision,
}

impl Default for PredictorOptions {
    fn default() -> Self {
        Self { isa: Isa::detect(), precision: Precision::F32 }
    }
}

/// SimpleNet compiled for images of one size; `Send + Sync`, and every call may come from another thread.
///
/// ```
/// use simplenet_model::{Normalisation, Predictor, PredictorOptions, simplenet::SimpleNet};
/// # fn show(net: &SimpleNet, photograph: &[f32]) -> Result<(), simplenet_model::ModelError> {
/// let predictor = Predictor::compile(net, 288, 288, &PredictorOptions::default())?;
/// let scores = predictor.patch_scores(photograph)?; // (3, 288, 288) f32, normalised
/// let image_score = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
/// // Or from the bytes of an image, (288, 288, 3), with the mean and deviation of the model's record:
/// let normalisation = Normalisation { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] };
/// let scores = predictor.patch_scores_rgb(&[0; 3 * 288 * 288], &normalisation)?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Predictor {
    backbone: CompiledBackbone,
    head: Head,
    spare: Spare<(Memory, HeadWorkspace)>,
}

/// The frozen half compiled for images of one size: what training runs once an image.
#[derive(Debug)]
pub struct CompiledExtractor {
    backbone: CompiledBackbone,
    aggregate: PatchAggregate,
    /// The backbone's memory, and the taps as planes.
    spare: Spare<(Memory, Vec<Vec<f32>>)>,
}

impl CompiledExtractor {
    /// Folds, transforms and packs the backbone for (3, `height`, `width`) images.
    ///
    /// # Errors
    /// As [`Predictor::compile`].
    pub fn compile(
        extractor: &FeatureExtractor,
        height: usize,
        width: usize,
        options: &PredictorOptions,
    ) -> Result<Self, ModelError> {
        let backbone =
            CompiledBackbone::compile(extractor, [height, width], options.isa, &options.precision)?;
        Ok(Self { backbone, aggregate: extractor.aggregator().op().clone(), spare: Spare::default() })
    }

    /// Rows and columns of patches.
    pub fn grid(&self) -> (usize, usize) {
        self.backbone.grid()
    }

    /// What one run needs.
    fn memory(&self) -> (Memory, Vec<Vec<f32>>) {
        let planes = |map: &Map| vec![0.0; map.channels * map.pixels()];
        (self.backbone.memory(), self.backbone.maps().iter().map(planes).collect())
    }

    /// One image (3, H, W), normalised, row by row -> (h, w, D) patch features, not scaled. Runs on this thread
    /// and helpers, as many threads as the current rayon pool has.
    ///
    /// # Errors
    /// `ModelError::InputShape` for another number of values.
    pub fn features(&self, image: &[f32]) -> Result<Vec<f32>, ModelError> {
        let image = Image::Planes(image);
        let maps = self.backbone.maps();
        let (mut memory, mut planes) = self.spare.take(|| self.memory());
        self.backbone.prepare(image, &mut memory)?;
        with_team(|team| {
            self.backbone.run(team, image, &mut memory, |_, _| {});
            let taps = self.backbone.taps(&memory);
            for ((map, tap), planes) in maps.iter().zip(taps).zip(&mut planes) {
                to_planes(team, map.pixels(), map.stride, (tap, map.encoding), planes);
            }
        });
        // Not in the team: the aggregation shares its work by rayon, whose workers would compete with the team's helpers.
        let inputs = maps.iter().zip(&planes).map(|(map, planes)| (planes.as_slice(), map.height, map.width));
        let features = self.aggregate.planes(&inputs.collect::<Vec<_>>());
        self.spare.put((memory, planes));
        Ok(features)
    }
}

impl CompiledExtractor {
    /// The largest absolute output of every layer for one image (3, H, W), normalised: what [`Precision::Int8`] needs to
    /// know, over a few images like those to come. Of an extractor in f32. No layer where the backbone has no compiled form.
    ///
    /// # Errors
    /// `ModelError::InputShape` for another number of values; `ModelError::Configuration` for another precision.
    pub fn observe(&self, image: &[f32]) -> Result<ActivationRanges, ModelError> {
        if !self.backbone.is_f32() {
            return Err(ModelError::Configuration {
                what: "activation ranges",
                reason: "they are measured with an extractor compiled in f32".into(),
            });
        }
        let image = Image::Planes(image);
        let mut ranges = ActivationRanges::default();
        let (mut memory, planes) = self.spare.take(|| self.memory());
        self.backbone.prepare(image, &mut memory)?;
        with_team(|team| {
            self.backbone.run(team, image, &mut memory, |layer, outputs| {
                let largest = outputs.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
                ranges.widen(layer, largest);
            });
        });
        self.spare.put((memory, planes));
        Ok(ranges)
    }
}

impl Predictor {
    /// Folds, transforms and packs `net` for (3, `height`, `width`) images. Takes about as long as a few images.
    ///
    /// # Errors
    /// An image without pixels or of sides that the backbone cannot take; a precision that it has not; weights that do not
    /// fit; a device that is out of memory.
    pub fn compile(
        net: &SimpleNet,
        height: usize,
        width: usize,
        options: &PredictorOptions,
    ) -> Result<Self, ModelError> {
        let isa = options.isa.or_lower();
        let backbone = CompiledBackbone::compile(net.extractor(), [height, width], isa, &options.precision)?;
        let head = Head::compile(net, backbone.maps(), isa, &options.precision)?;
        Ok(Self { backbone, head, spare: Spare::default() })
    }

    /// Rows and columns of the patch scores.
    pub fn grid(&self) -> (usize, usize) {
        self.backbone.grid()
    }

    /// One image (3, H, W), normalised, row by row -> (h · w) raw patch scores, higher = more anomalous.
    ///
    /// Runs on this thread and helpers, as many threads as the current rayon pool has; helpers go to one call at a time.
    /// Several threads may call it at once; each call then uses memory of its own,
    /// which is kept for later calls.
    ///
    /// # Errors
    /// `ModelError::InputShape` for another number of values.
    pub fn patch_scores(&self, image: &[f32]) -> Result<Vec<f32>, ModelError> {
        self.run(Image::Planes(image))
    }

    /// The same for the pixels of a photograph: (H, W, 3) bytes, RGB, row by row, of the network's size. The bits are those
    /// of [`Predictor::patch_scores`] of the normalised image, without the way through it.
    ///
    /// # Errors
    /// As [`Predictor::patch_scores`].
    pub fn patch_scores_rgb(
        &self,
        rgb: &[u8],
        normalisation: &Normalisation,
    ) -> Result<Vec<f32>, ModelError> {
        self.run(Image::Rgb { bytes: rgb, worth: &normalisation.table() })
    }

    fn run(&self, image: Image<'_>) -> Result<Vec<f32>, ModelError> {
        let (rows, columns) = self.grid();
        let mut scores = vec![0.0; rows * columns];
        let (mut memory, mut head) = self.spare.take(|| (self.backbone.memory(), self.head.workspace()));
        self.backbone.prepare(image, &mut memory)?;
        with_team(|team| {
            self.backbone.run(team, image, &mut memory, |_, _| {});
            self.head.run(team, &self.backbone.taps(&memory), &mut head, &mut scores);
        });
        self.spare.put((memory, head));
        Ok(scores)
    }
}

/// Memory of runs that are over, for runs to come: as much as there ever were runs at once.
#[derive(Debug)]
struct Spare<T>(Mutex<Vec<T>>);

impl<T> Default for Spare<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T> Spare<T> {
    fn take(&self, new: impl FnOnce() -> T) -> T {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        kept.unwrap_or_else(new)
    }

    fn put(&self, memory: T) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(memory);
    }
}
