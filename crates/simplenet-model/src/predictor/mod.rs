//! The compiled network. In: one image (3, H, W), normalised. Out: its patch scores ([`Predictor`]), or its patch
//! features for training ([`CompiledExtractor`]).
//!
//! A predictor is made once from a [`SimpleNet`] for one image size: batch norm is folded into the convolutions,
//! filters are transformed and packed, the head becomes one matrix a layer, and every value between two layers gets a
//! place in reused memory. It agrees with [`SimpleNet::patch_scores`] up to rounding (tested); where that one is
//! there to be trained and read, this one is there to be fast.

mod cells;
mod head;
mod image;
mod precision;
pub(crate) mod program;

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
use head::{Head, HeadWorkspace};
use image::Image;
use program::{Builder, Map, Program, Value, Workspace};

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
    spare: Spare<(Workspace, HeadWorkspace)>,
}

/// A backbone compiled for one image size.
#[derive(Debug)]
struct CompiledBackbone {
    program: Program,
    taps: Vec<Value>,
    height: usize,
    width: usize,
}

impl CompiledBackbone {
    /// Rows and columns of patches.
    fn grid(&self) -> (usize, usize) {
        self.taps.first().map_or((0, 0), |&tap| (self.program.map(tap).height, self.program.map(tap).width))
    }

    fn compile(
        extractor: &FeatureExtractor,
        height: usize,
        width: usize,
        isa: Isa,
        precision: &Precision,
    ) -> Result<Self, ModelError> {
        if height == 0 || width == 0 {
            return Err(ModelError::InputShape {
                what: "predictor",
                expected: "an image with height and width above 0".into(),
                actual: vec![height, width],
            });
        }
        let mut builder = Builder::new(isa, precision);
        let id = extractor.backbone().id();
        let taps = id.compile(extractor.weights(), [height, width], &mut builder)?;
        Ok(Self { program: builder.finish(&taps)?, taps, height, width })
    }
}

/// The frozen half compiled for images of one size: what training runs once an image.
#[derive(Debug)]
pub struct CompiledExtractor {
    backbone: CompiledBackbone,
    aggregate: PatchAggregate,
    /// The program's memory, and the taps as planes.
    spare: Spare<(Workspace, Vec<Vec<f32>>)>,
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
        let backbone = CompiledBackbone::compile(extractor, height, width, options.isa, &options.precision)?;
        Ok(Self { backbone, aggregate: extractor.aggregator().op().clone(), spare: Spare::default() })
    }

    /// Rows and columns of patches.
    pub fn grid(&self) -> (usize, usize) {
        self.backbone.grid()
    }

    /// What one run needs.
    fn memory(&self) -> (Workspace, Vec<Vec<f32>>) {
        let CompiledBackbone { program, taps, .. } = &self.backbone;
        let maps = taps.iter().map(|&tap| program.map(tap));
        (program.workspace(), maps.map(|map| vec![0.0; map.channels * map.pixels()]).collect())
    }

    /// One image (3, H, W), normalised, row by row -> (h, w, D) patch features, not scaled. Runs on this thread
    /// and helpers, as many threads as the current rayon pool has.
    ///
    /// # Errors
    /// `ModelError::InputShape` for another number of values.
    pub fn features(&self, image: &[f32]) -> Result<Vec<f32>, ModelError> {
        let image = Image::Planes(image);
        image.check(self.backbone.height, self.backbone.width)?;
        let CompiledBackbone { program, taps, .. } = &self.backbone;
        let maps: Vec<Map> = taps.iter().map(|&tap| program.map(tap)).collect();
        let (mut workspace, mut planes) = self.spare.take(|| self.memory());
        with_team(|team| {
            program.run(team, image, &mut workspace, |_, _| {});
            for (&map, planes) in maps.iter().zip(&mut planes) {
                to_planes(team, map.pixels(), map.stride, (workspace.get(map), map.encoding), planes);
            }
        });
        // Not in the team: the aggregation shares its work by rayon, whose workers would compete with the team's helpers.
        let inputs = maps.iter().zip(&planes).map(|(map, planes)| (planes.as_slice(), map.height, map.width));
        let features = self.aggregate.planes(&inputs.collect::<Vec<_>>());
        self.spare.put((workspace, planes));
        Ok(features)
    }
}

impl CompiledExtractor {
    /// The largest absolute output of every layer for one image (3, H, W), normalised: what [`Precision::Int8`] needs to
    /// know, over a few images like those to come. Of an extractor in f32.
    ///
    /// # Errors
    /// `ModelError::InputShape` for another number of values; `ModelError::Configuration` for another precision.
    pub fn observe(&self, image: &[f32]) -> Result<ActivationRanges, ModelError> {
        let image = Image::Planes(image);
        image.check(self.backbone.height, self.backbone.width)?;
        let program = &self.backbone.program;
        if !program.is_f32() {
            return Err(ModelError::Configuration {
                what: "activation ranges",
                reason: "they are measured with an extractor compiled in f32".into(),
            });
        }
        let mut ranges = ActivationRanges::default();
        let (mut workspace, planes) = self.spare.take(|| self.memory());
        with_team(|team| {
            program.run(team, image, &mut workspace, |layer, outputs| {
                let largest = outputs.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
                ranges.widen(layer, largest);
            });
        });
        self.spare.put((workspace, planes));
        Ok(ranges)
    }
}

impl Predictor {
    /// Folds, transforms and packs `net` for (3, `height`, `width`) images. Takes about as long as a few images.
    ///
    /// # Errors
    /// An image without pixels; weights that do not fit; a device that is out of memory.
    pub fn compile(
        net: &SimpleNet,
        height: usize,
        width: usize,
        options: &PredictorOptions,
    ) -> Result<Self, ModelError> {
        let isa = options.isa.or_lower();
        let backbone = CompiledBackbone::compile(net.extractor(), height, width, isa, &options.precision)?;
        let maps: Vec<_> = backbone.taps.iter().map(|&tap| backbone.program.map(tap)).collect();
        let head = Head::compile(net, &maps, isa, &options.precision)?;
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
        image.check(self.backbone.height, self.backbone.width)?;
        let (rows, columns) = self.grid();
        let mut scores = vec![0.0; rows * columns];
        let CompiledBackbone { program, taps, .. } = &self.backbone;
        let (mut workspace, mut head) = self.spare.take(|| (program.workspace(), self.head.workspace()));
        with_team(|team| {
            program.run(team, image, &mut workspace, |_, _| {});
            let maps: Vec<&[f32]> = taps.iter().map(|&tap| workspace.get(program.map(tap))).collect();
            self.head.run(team, &maps, &mut head, &mut scores);
        });
        self.spare.put((workspace, head));
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
