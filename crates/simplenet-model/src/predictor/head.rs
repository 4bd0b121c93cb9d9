//! Aggregation and head folded into one matrix a layer. In: the tapped maps. Out: patch scores.
//!
//! All of it up to the LeakyReLU is one matrix (H, D) and a shift ([`super::fold_head`]). Each layer's columns of it are
//! applied on the layer's own grid; resizing to the first layer's grid comes after, because it acts on space and the matrix
//! on channels.

use std::cell::RefCell;

use super::cells::Cells;
use crate::{
    bilinear::{Source, sources},
    error::ModelError,
    kernels::{
        Isa,
        aligned::Aligned,
        dense::{Clamp, ConvGeometry, Dense, Input, Output},
        encoding::Encoding,
        leaky_dot,
        patch_aggregate::Pooling,
        team::Team,
    },
    lower::cpu::Map,
    precision::Precision,
    predictor::fold_head::{Affine, FoldedHead, fold_head},
    simplenet::SimpleNet,
};

/// The folded head for given maps.
#[derive(Debug)]
pub(crate) struct Head {
    isa: Isa,
    layers: Vec<Layer>,
    /// Weights of the last layer, negated: their sum is the anomaly score. Padded with zeros.
    tail: Vec<f32>,
    slope: f32,
    /// The position-aware half of each tile, if the network has one.
    cells: Vec<Cells>,
}

/// One tapped layer's way to the hidden layer.
#[derive(Debug)]
struct Layer {
    map: Map,
    pooling: Pooling,
    product: Dense,
    /// Its way to the projected features of the position-aware half.
    projection: Option<Dense>,
    /// From this layer's grid to the first one's, rows then columns; none for the first layer.
    resize: Option<[Vec<Source>; 2]>,
}

/// The buffers of one run, one of each kind a layer.
#[derive(Debug)]
pub(crate) struct HeadWorkspace {
    planes: Vec<Aligned>,
    pooled: Vec<Aligned>,
    hidden: Vec<Aligned>,
    projected: Vec<Aligned>,
}

/// Pixels of a band, about: each band reads all weights again. At the paper's sizes the hidden layer of 216 pixels is 0.9 MB.
const BAND_PIXELS: usize = 220;

thread_local! {
    /// Features, hidden layer and projected features of a band; kept to save the allocation.
    static BAND: RefCell<[Aligned; 3]> = RefCell::default();
}

impl Head {
    /// Folds the head of `net` for `maps`, one for each layer of its aggregator.
    pub(crate) fn compile(
        net: &SimpleNet,
        maps: &[Map],
        isa: Isa,
        precision: &Precision,
    ) -> Result<Self, ModelError> {
        let FoldedHead { hidden: hidden_layer, mut tail, slope, projection } = fold_head(net)?;
        let dim = net.norm().dim();
        let aggregate = net.extractor().aggregator().op();
        let first = maps.first().copied();
        let layers = maps.iter().enumerate().map(|(index, &map)| {
            let kept = (map.stride, map.encoding);
            // Bytes would be too coarse here: features differ from the normal ones by little.
            let wanted = if *precision == Precision::F32 { Encoding::F32 } else { Encoding::Bf16 };
            let pooling = aggregate.layer(index, isa, [map.height, map.width], kept, wanted);
            let outputs = pooling.outputs();
            let geometry = ConvGeometry::rows(map.pixels());
            let (depth, encoding) = (outputs.len(), pooling.encoding());
            let reads = Input { depth, stride: depth, encoding };
            let stored = Output { clamp: Clamp::NONE, encoding: Encoding::F32, residual: Encoding::F32 };
            let dense = |Affine { matrix, shift }: &Affine| {
                // The shift is added once, with the first layer.
                let share = if index == 0 { 1.0 } else { 0.0 };
                let bias: Vec<f32> = shift.iter().map(|v| (share * v) as f32).collect();
                Dense::encoded(isa, geometry, reads, stored, &bias, |_, d, h| {
                    matrix[h * dim + outputs.start + d] as f32
                })
            };
            let (product, projection) = (dense(&hidden_layer), projection.as_ref().map(dense));
            let grid = first.filter(|_| index > 0);
            let resize = grid.map(|to| [sources(map.height, to.height), sources(map.width, to.width)]);
            Layer { map, pooling, product, projection, resize }
        });
        let layers: Vec<Layer> = layers.collect();
        tail.resize(layers.first().map_or(0, |layer| layer.product.output_stride()), 0.0);
        let cells = match (net.position(), first) {
            (Some(energy), Some(grid)) => {
                energy.check_grid(grid.height, grid.width)?;
                (0..energy.config.tile_count()).map(|tile| Cells::compile(isa, &energy.tile(tile))).collect()
            }
            _ => vec![],
        };
        Ok(Self { isa, layers, tail, slope, cells })
    }

    pub(crate) fn workspace(&self) -> HeadWorkspace {
        // Of the first layer, only what its bands do not make.
        let buffers = |of_first: bool, len: &dyn Fn(&Layer) -> usize| {
            let buffer = |(i, layer)| Aligned::zeros(if i > 0 || of_first { len(layer) } else { 0 });
            self.layers.iter().enumerate().map(buffer).collect()
        };
        let first_is_pooled = self.layers.first().is_some_and(|layer| !layer.pooling.has_rows());
        HeadWorkspace {
            planes: buffers(true, &|layer| layer.pooling.planes_len()),
            pooled: buffers(first_is_pooled, &|layer| layer.pooled_len(layer.map.pixels())),
            hidden: buffers(false, &|layer| layer.product.output_len()),
            projected: buffers(false, &|layer| layer.projection.as_ref().map_or(0, Dense::output_len)),
        }
    }

    /// How many tiles have statistics of their own.
    pub(crate) fn tiles(&self) -> usize {
        self.cells.len().max(1)
    }

    /// The layers' maps of a tile -> a score for each place of the first one's grid.
    pub(crate) fn run(
        &self,
        team: &mut Team<'_>,
        maps: &[&[f32]],
        workspace: &mut HeadWorkspace,
        tile: usize,
        scores: &mut [f32],
    ) {
        // One set of statistics serves every tile.
        let cells = self.cells.get(tile).or_else(|| self.cells.first());
        let HeadWorkspace { planes, pooled, hidden, projected } = workspace;
        for (i, (layer, map)) in self.layers.iter().zip(maps).enumerate() {
            if i > 0 || !layer.pooling.has_rows() {
                layer.pooling.run(team, map, &mut planes[i], &mut pooled[i]);
            }
            if i > 0 {
                layer.product.forward(team, &pooled[i], None, &mut hidden[i]);
                if let Some(projection) = &layer.projection {
                    projection.forward(team, &pooled[i], None, &mut projected[i]);
                }
            }
        }
        let (Some(first), Some(map)) = (self.layers.first(), maps.first()) else { return };
        let (stride, Map { height, width, .. }) = (self.tail.len(), first.map);
        let most = (BAND_PIXELS / width).max(1);
        let rows = height.div_ceil(height.div_ceil(most).next_multiple_of(team.threads()));
        let rows = rows.next_multiple_of(cells.map_or(1, Cells::rows_together));
        team.for_each_chunk(scores, rows * width, |band, scores| {
            let start = band * rows;
            BAND.with_borrow_mut(|[features, hidden_rows, projected_rows]| {
                let words = first.pooled_len(scores.len());
                let features: &[f32] = if first.pooling.has_rows() {
                    let features = features.at_least(words);
                    first.pooling.rows(start, map, features);
                    features
                } else {
                    &pooled[0][first.pooled_len(start * width)..][..words]
                };
                let hidden_rows = hidden_rows.at_least(scores.len() * stride);
                first.product.forward_pixels(features, None, hidden_rows);
                for (pixel, (score, row)) in
                    scores.iter_mut().zip(hidden_rows.chunks_exact_mut(stride)).enumerate()
                {
                    self.add_others(hidden, start + pixel / width, pixel % width, row);
                    *score = leaky_dot::leaky_dot(self.isa, row, &self.tail, self.slope);
                }
                if let (Some(cells), Some(projection)) = (cells, &first.projection) {
                    let stride = projection.output_stride();
                    let rows = projected_rows.at_least(scores.len() * stride);
                    projection.forward_pixels(features, None, rows);
                    for (pixel, row) in rows.chunks_exact_mut(stride).enumerate() {
                        self.add_others(projected, start + pixel / width, pixel % width, row);
                    }
                    cells.join(rows, start, width, scores);
                }
            });
        });
    }

    /// Adds what the coarser layers have at place (y, x) of the first layer's grid to `row`.
    fn add_others(&self, of_layers: &[Aligned], y: usize, x: usize, row: &mut [f32]) {
        for (layer, values) in self.layers.iter().zip(of_layers).skip(1) {
            layer.add_resized(self.isa, values, y, x, row);
        }
    }
}

impl Layer {
    /// Words of the features of so many pixels.
    fn pooled_len(&self, pixels: usize) -> usize {
        self.pooling.encoding().words(pixels * self.pooling.outputs().len())
    }

    /// Adds the hidden layer at place (y, x) of the first layer's grid to `row`.
    fn add_resized(&self, isa: Isa, hidden: &[f32], y: usize, x: usize, row: &mut [f32]) {
        let Some([ys, xs]) = &self.resize else { return };
        let (y, x) = (ys[y], xs[x]);
        let at = |y: usize, x: usize| &hidden[(y * self.map.width + x) * row.len()..][..row.len()];
        let corners = [at(y.low, x.low), at(y.low, x.high), at(y.high, x.low), at(y.high, x.high)];
        let shares = [
            (1.0 - y.share) * (1.0 - x.share),
            (1.0 - y.share) * x.share,
            y.share * (1.0 - x.share),
            y.share * x.share,
        ];
        leaky_dot::add_weighted(isa, corners, shares, row);
    }
}
