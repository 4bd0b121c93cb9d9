//! Aggregation and folded head over batches. In: the tapped maps. Out: patch scores.
//!
//! On a GPU the features are few beside the backbone's maps: they are made in one pass, (B, h, w, D), and go through one
//! matrix; what the CPU's head saves by working on each layer's own grid is a twentieth of the arithmetic here.

use candle_core::{DType, Device, Tensor};

use crate::{
    error::ModelError,
    kernels::{
        dense::{Clamp, ConvGeometry, DenseTensor, Reads},
        leaky_dot::ScoreHead,
        patch_aggregate::PatchAggregateTensor,
        position_energy::PositionEnergyTensor,
        tensor_op::CHANNELS_TOGETHER,
    },
    predictor::fold_head::{Affine, FoldedHead, fold_head},
    simplenet::SimpleNet,
};

/// The folded head on a device.
#[derive(Debug)]
pub(super) struct BatchHead {
    aggregate: PatchAggregateTensor,
    scores: ScoreHead,
    position: Option<Position>,
}

#[derive(Debug)]
struct Position {
    /// From features to their projection, in f32, padded to whole packs.
    projection: DenseTensor,
    dim: usize,
    /// One a tile.
    energies: Vec<PositionEnergyTensor>,
}

impl BatchHead {
    /// Folds the head of `net` for taps of these grids.
    ///
    /// # Errors
    /// Features that are not a multiple of 8 wide; statistics of another grid; a device that is out of memory.
    pub(super) fn compile(
        net: &SimpleNet,
        grids: &[[usize; 2]],
        dtype: DType,
        device: &Device,
    ) -> Result<Self, ModelError> {
        let aggregate = PatchAggregateTensor::new(net.extractor().aggregator().op(), grids, dtype, device)?;
        let config = net.config().head.discriminator;
        if !config.dim.is_multiple_of(CHANNELS_TOGETHER) {
            return Err(ModelError::Configuration {
                what: "predictor",
                reason: format!(
                    "features {} wide; batches take widths of a multiple of {CHANNELS_TOGETHER}",
                    config.dim
                ),
            });
        }
        let FoldedHead { hidden: Affine { mut matrix, mut shift }, mut tail, slope, projection } =
            fold_head(net)?;
        // Neurons that count for nothing.
        let hidden = shift.len().next_multiple_of(CHANNELS_TOGETHER);
        matrix.resize(hidden * config.dim, 0.0);
        shift.resize(hidden, 0.0);
        tail.resize(hidden, 0.0);
        let scores = ScoreHead::new(&floats(&matrix), &floats(&shift), &tail, slope, dtype, device)?;
        let grid = grids.first().copied().unwrap_or_default();
        let position = net.position().zip(projection);
        let position = position.map(|(energy, Affine { matrix, shift })| -> Result<_, ModelError> {
            energy.check_grid(grid[0], grid[1])?;
            let dim = shift.len();
            let mut bias = floats(&shift);
            bias.resize(dim.next_multiple_of(CHANNELS_TOGETHER), 0.0);
            let geometry = ConvGeometry::centred(grid, 1, 1);
            let reads = Reads { depth: config.dim, pixel: config.dim, dtype, out: DType::F32 };
            let weight = |_, d: usize, o: usize| matrix.get(o * config.dim + d).map_or(0.0, |&w| w as f32);
            let projection = DenseTensor::new(geometry, reads, &bias, Clamp::NONE, weight, device)?;
            let tiles = 0..energy.config.tile_count();
            let energies = tiles.map(|tile| PositionEnergyTensor::new(&energy.tile(tile), device));
            Ok(Position { projection, dim, energies: energies.collect::<candle_core::Result<_>>()? })
        });
        Ok(Self { aggregate, scores, position: position.transpose()? })
    }

    /// How many tiles have statistics of their own.
    pub(super) fn tiles(&self) -> usize {
        self.position.as_ref().map_or(1, |position| position.energies.len())
    }

    /// The taps of one tile, (B, h, w, C) each -> (B, h, w) f32 raw patch scores, higher = more anomalous.
    ///
    /// # Errors
    /// Other shapes; a device that is out of memory.
    pub(super) fn run(&self, taps: &[Tensor], tile: usize) -> candle_core::Result<Tensor> {
        let features = self.aggregate.forward(taps)?;
        let scores = self.scores.forward(&features)?;
        let Some(Position { projection, dim, energies }) = &self.position else { return Ok(scores) };
        // One set of statistics serves every tile.
        let Some(energy) = energies.get(tile).or_else(|| energies.first()) else { return Ok(scores) };
        let projected = projection.forward(&features, None)?.narrow(3, 0, *dim)?.contiguous()?;
        energy.forward(&projected, &scores)
    }
}

fn floats(values: &[f64]) -> Vec<f32> {
    values.iter().map(|&v| v as f32).collect()
}
