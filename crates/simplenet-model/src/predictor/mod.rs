//! The compiled network. In: one image (3, H, W), normalised. Out: its patch scores ([`Predictor`]), or its patch
//! features for training ([`CompiledExtractor`]).
//!
//! A predictor is made once from a [`SimpleNet`] for one image size: batch norm is folded into the convolutions,
//! filters are transformed and packed, the head becomes one matrix per layer, and every value between two layers gets a
//! place in reused memory. It agrees with [`SimpleNet::patch_scores`] up to rounding (tested); where that one is there to be
//! trained and read, this one is there to be fast.

mod batch;
mod cells;
pub(crate) mod fold_head;
mod head;

pub use batch::{BatchExtractor, BatchOutput, BatchPrecision, BatchPredictor};

use std::sync::{Mutex, PoisonError};

use crate::{
    ActivationRanges, Precision,
    error::ModelError,
    kernels::pack_image::Normalisation,
    kernels::{
        Isa,
        patch_aggregate::{PatchAggregate, to_planes},
        team::with_team,
    },
    lower::cpu::{Image, Map, Program, Workspace, compile},
    simplenet::{FeatureExtractor, SimpleNet},
};
use head::{Head, HeadWorkspace};

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
    backbone: Backbone,
    head: Head,
    spare: Spare<(Workspace, HeadWorkspace)>,
}

/// The frozen half compiled for images of one size: what training runs once per image.
#[derive(Debug)]
pub struct CompiledExtractor {
    backbone: Backbone,
    aggregate: PatchAggregate,
    /// The backbone's buffers, and the taps as planes.
    spare: Spare<(Workspace, Vec<Vec<f32>>)>,
}

/// The frozen half for one image size.
#[derive(Debug)]
struct Backbone {
    sides: [usize; 2],
    program: Program,
    /// One per tap.
    maps: Vec<Map>,
}

impl Backbone {
    /// # Errors
    /// Sides that the network cannot take; ranges of another network; weights that do not fit.
    fn compile(
        extractor: &FeatureExtractor,
        sides: [usize; 2],
        options: &PredictorOptions,
    ) -> Result<Self, ModelError> {
        let graph = extractor.backbone().graph(sides)?;
        let program = compile(&graph, options.isa, &options.precision)?;
        let maps = program.taps();
        Ok(Self { sides, program, maps })
    }

    /// Rows and columns of patches.
    fn grid(&self) -> (usize, usize) {
        self.maps.first().map_or((0, 0), |map| (map.height, map.width))
    }
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
        let backbone = Backbone::compile(extractor, [height, width], options)?;
        Ok(Self { backbone, aggregate: extractor.aggregator().op().clone(), spare: Spare::default() })
    }

    /// Rows and columns of patches.
    pub fn grid(&self) -> (usize, usize) {
        self.backbone.grid()
    }

    /// What one run needs.
    fn memory(&self) -> (Workspace, Vec<Vec<f32>>) {
        let planes = |map: &Map| vec![0.0; map.channels * map.pixels()];
        (self.backbone.program.workspace(), self.backbone.maps.iter().map(planes).collect())
    }

    /// One image (3, H, W), normalised, row by row -> (h, w, D) patch features, not scaled. Runs on this thread
    /// and helpers, as many threads as the current rayon pool has.
    ///
    /// # Errors
    /// `ModelError::InputShape` for another number of values.
    pub fn features(&self, image: &[f32]) -> Result<Vec<f32>, ModelError> {
        let image = Image::Planes(image);
        let maps = &self.backbone.maps;
        image.check(self.backbone.sides)?;
        let (mut memory, mut planes) = self.spare.take(|| self.memory());
        with_team(|team| {
            self.backbone.program.run(team, image, &mut memory, |_, _| {});
            let taps = self.backbone.program.outputs(&memory);
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
    /// know, over a few images like those to come. Of an extractor in f32.
    ///
    /// # Errors
    /// `ModelError::InputShape` for another number of values; `ModelError::Configuration` for another precision.
    pub fn observe(&self, image: &[f32]) -> Result<ActivationRanges, ModelError> {
        if !self.backbone.program.is_f32() {
            return Err(ModelError::Configuration {
                what: "activation ranges",
                reason: "they are measured with an extractor compiled in f32".into(),
            });
        }
        let image = Image::Planes(image);
        let mut ranges = ActivationRanges::default();
        image.check(self.backbone.sides)?;
        let (mut memory, planes) = self.spare.take(|| self.memory());
        with_team(|team| {
            self.backbone.program.run(team, image, &mut memory, |layer, outputs| {
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
    /// An image without pixels or of sides that the backbone cannot take; ranges of another network; weights that do not
    /// fit; a device that is out of memory.
    pub fn compile(
        net: &SimpleNet,
        height: usize,
        width: usize,
        options: &PredictorOptions,
    ) -> Result<Self, ModelError> {
        let backbone = Backbone::compile(net.extractor(), [height, width], options)?;
        let head = Head::compile(net, &backbone.maps, options.isa.or_lower(), &options.precision)?;
        Ok(Self { backbone, head, spare: Spare::default() })
    }

    /// Rows and columns of the patch scores.
    pub fn grid(&self) -> (usize, usize) {
        self.backbone.grid()
    }

    /// How many tiles of a photograph have statistics of their own; 1 where all tiles are alike.
    pub fn tiles(&self) -> usize {
        self.head.tiles()
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
        self.run(Image::Planes(image), 0)
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
        self.patch_scores_of_tile(rgb, normalisation, 0)
    }

    /// The same for one tile of a photograph, whose places a position-aware network knows apart: they are counted row by row.
    /// A network without statistics of places takes any tile alike.
    ///
    /// # Errors
    /// As [`Predictor::patch_scores`]; `ModelError::InputShape` for a tile that the statistics do not have.
    pub fn patch_scores_of_tile(
        &self,
        rgb: &[u8],
        normalisation: &Normalisation,
        tile: usize,
    ) -> Result<Vec<f32>, ModelError> {
        self.run(Image::Rgb { bytes: rgb, lut: &normalisation.table() }, tile)
    }

    fn run(&self, image: Image<'_>, tile: usize) -> Result<Vec<f32>, ModelError> {
        check_tile(tile, self.head.tiles())?;
        let (rows, columns) = self.grid();
        let mut scores = vec![0.0; rows * columns];
        image.check(self.backbone.sides)?;
        let (mut memory, mut head) =
            self.spare.take(|| (self.backbone.program.workspace(), self.head.workspace()));
        with_team(|team| {
            self.backbone.program.run(team, image, &mut memory, |_, _| {});
            self.head.run(team, &self.backbone.program.outputs(&memory), &mut head, tile, &mut scores);
        });
        self.spare.put((memory, head));
        Ok(scores)
    }
}

/// Statistics of one tile are those of any: of a network that has none, or of photographs that are not cut.
fn check_tile(tile: usize, tiles: usize) -> Result<(), ModelError> {
    if tiles > 1 && tile >= tiles {
        return Err(ModelError::InputShape {
            what: "predictor",
            expected: format!("one of the {tiles} tiles that the position statistics are of"),
            actual: vec![tile],
        });
    }
    Ok(())
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
