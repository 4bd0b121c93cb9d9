//! From the taps to patch scores as nodes: aggregation, and all that is linear up to the LeakyReLU as one matrix a layer, as
//! in the compiled network. In: the tapped maps. Out: raw patch scores (N, 1, h, w).

use super::{
    aggregate,
    backbone::Map,
    graph::{Attribute, Edge, Graph},
    position,
};
use crate::{
    bilinear::{Source, sources},
    error::ModelError,
    position_energy::ONE_TILE,
    predictor::fold_head::{Affine, FoldedHead, fold_head},
    simplenet::SimpleNet,
};

/// Adds the head of `net` behind the taps.
///
/// # Errors
/// Statistics of another grid, or of several tiles; a failing tensor operation.
pub(super) fn add(graph: &mut Graph, net: &SimpleNet, taps: &[Map]) -> Result<Map, ModelError> {
    let Some(first) = taps.first() else {
        return Err(ModelError::Configuration { what: "ONNX", reason: "the network has no taps".into() });
    };
    let config = net.config().head.discriminator;
    let grid = [first.height, first.width];
    let FoldedHead { hidden: Affine { mut matrix, mut shift }, tail, slope, projection } = fold_head(net)?;
    let hidden = shift.len();
    // What the position-aware half looks at is linear in the features too: further rows of the same matrix.
    if let Some(energy) = net.position() {
        energy.check_grid(grid[0], grid[1])?;
        if energy.config.tiles != ONE_TILE {
            return Err(ModelError::Configuration {
                what: "ONNX",
                reason: "the model knows the places of each tile apart, and a graph is of one network input"
                    .into(),
            });
        }
    }
    if let Some(projection) = projection {
        matrix.extend(projection.matrix);
        shift.extend(projection.shift);
    }

    let mut sums: Option<Edge> = None;
    for (index, map) in taps.iter().enumerate() {
        let (features, dims) = aggregate::add(graph, net.extractor().aggregator(), index, map);
        let columns = |row: &[f64]| row[dims.clone()].iter().map(|&v| v as f32).collect::<Vec<_>>();
        let weight: Vec<f32> = matrix.chunks_exact(config.dim).flat_map(columns).collect();
        let weight = graph.floats(&weight, &[shift.len(), dims.len(), 1, 1]);
        // The shift is added once, with the first layer.
        let bias: Vec<f32> = shift.iter().map(|&v| v as f32).collect();
        let product = match index {
            0 => {
                let bias = graph.floats(&bias, &[shift.len()]);
                graph.node("Conv", &[&features.edge, &weight, &bias], &[])
            }
            _ => graph.node("Conv", &[&features.edge, &weight], &[]),
        };
        let product = resized(graph, &product, [map.height, map.width], grid);
        sums = Some(match sums {
            Some(sums) => graph.node("Add", &[&sums, &product], &[]),
            None => product,
        });
    }
    let Some(sums) = sums else {
        return Err(ModelError::Configuration { what: "ONNX", reason: "the network has no features".into() });
    };
    let scores = match net.position() {
        None => tail_of(graph, &sums, &tail, slope, None),
        Some(energy) => {
            let parts = graph.split(&sums, 1, &[hidden, energy.config.dim]);
            // The discriminator's factor goes into its last layer's weights, what is added is its bias.
            let tail: Vec<f32> = tail.iter().map(|weight| weight * energy.weights.head).collect();
            let score = tail_of(graph, &parts[0], &tail, slope, Some(energy.weights.offset));
            let energies = position::add(graph, energy, &parts[1], grid);
            let factor = graph.number(energy.weights.energy);
            let energies = graph.node("Mul", &[&energies, &factor], &[]);
            graph.node("Add", &[&score, &energies], &[])
        }
    };
    Ok(Map { edge: scores, channels: 1, height: grid[0], width: grid[1] })
}

/// LeakyReLU and the last layer: (N, H, h, w) -> (N, 1, h, w).
fn tail_of(graph: &mut Graph, sums: &Edge, tail: &[f32], slope: f32, bias: Option<f32>) -> Edge {
    let active = graph.node("LeakyRelu", &[sums], &[("alpha", Attribute::Float(slope))]);
    let weight = graph.floats(tail, &[1, tail.len(), 1, 1]);
    match bias {
        None => graph.node("Conv", &[&active, &weight], &[]),
        Some(bias) => {
            let bias = graph.floats(&[bias], &[1]);
            graph.node("Conv", &[&active, &weight, &bias], &[])
        }
    }
}

/// The bilinear resize as two matrices: (N, C, h, w) -> (N, C, H, W). Every engine then computes the same; their own
/// resizes differ in what they take for a pixel's centre.
fn resized(graph: &mut Graph, value: &Edge, from: [usize; 2], to: [usize; 2]) -> Edge {
    if from == to {
        return value.clone();
    }
    let columns = transposed(&bilinear(from[1], to[1]), [to[1], from[1]]);
    let columns = graph.floats(&columns, &[from[1], to[1]]);
    let wide = graph.node("MatMul", &[value, &columns], &[]);
    let rows = graph.floats(&bilinear(from[0], to[0]), &[1, 1, to[0], from[0]]);
    graph.node("MatMul", &[&rows, &wide], &[])
}

/// (to, from), row-major.
fn bilinear(from: usize, to: usize) -> Vec<f32> {
    let mut matrix = vec![0.0; to * from];
    for (row, Source { low, high, share }) in matrix.chunks_exact_mut(from.max(1)).zip(sources(from, to)) {
        row[low] += 1.0 - share;
        row[high] += share;
    }
    matrix
}

/// (rows, columns) row-major -> (columns, rows).
pub(super) fn transposed(matrix: &[f32], [rows, columns]: [usize; 2]) -> Vec<f32> {
    (0..columns).flat_map(|column| (0..rows).map(move |row| matrix[row * columns + column])).collect()
}
