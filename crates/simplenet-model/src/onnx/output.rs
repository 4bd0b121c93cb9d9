//! What comes out of the graph, as nodes. In: patch scores (N, 1, h, w). Out: the anomaly map, the image score and, where the
//! model has a threshold, label and mask.

use super::{
    backbone::Map,
    graph::{Attribute, Edge, Graph, Kind},
    head::transposed,
};
use crate::{
    anomaly_map::{AnomalyMapConfig, ImageScore},
    checkpoint::{ModelRecord, Threshold},
    kernels::anomaly_map::plan::{AnomalyMapPlan, Bands},
};

/// The outputs' names, which are anomalib's.
pub(super) const MAP: &str = "anomaly_map";
pub(super) const SCORE: &str = "pred_score";
pub(super) const LABEL: &str = "pred_label";
pub(super) const MASK: &str = "pred_mask";

/// Adds the four outputs; without a threshold the first two.
pub(super) fn add(
    graph: &mut Graph,
    scores: &Map,
    sides: [usize; 2],
    batch: Option<usize>,
    record: &ModelRecord,
) {
    let map = anomaly_map(graph, scores, sides, &record.anomaly_map);
    let score = image_score(graph, scores, record.image_score);
    let [height, width] = sides;
    let map = graph.output(map, MAP, Kind::Float, batch, &[1, height, width]);
    let score = graph.output(score, SCORE, Kind::Float, batch, &[]);
    if let Some(Threshold { value, map_value, .. }) = record.threshold {
        // A score at the threshold is anomalous.
        let value = graph.number(value);
        let label = graph.node("GreaterOrEqual", &[&score, &value], &[]);
        graph.output(label, LABEL, Kind::Bool, batch, &[]);
        let value = graph.number(map_value);
        let mask = graph.node("GreaterOrEqual", &[&map, &value], &[]);
        graph.output(mask, MASK, Kind::Bool, batch, &[1, height, width]);
    }
}

/// Resize and Gaussian together are one matrix an axis: rows · scores · columns.
fn anomaly_map(graph: &mut Graph, scores: &Map, to: [usize; 2], config: &AnomalyMapConfig) -> Edge {
    let Map { height, width, .. } = *scores;
    let plan = AnomalyMapPlan::new([height, width], to, config);
    let columns = transposed(&dense(&plan.columns), [to[1], width]);
    let columns = graph.floats(&columns, &[width, to[1]]);
    let wide = graph.node("MatMul", &[&scores.edge, &columns], &[]);
    let rows = graph.floats(&dense(&plan.rows), &[1, 1, to[0], height]);
    graph.node("MatMul", &[&rows, &wide], &[])
}

/// The bands as a matrix (to, from).
fn dense(bands: &Bands) -> Vec<f32> {
    let mut matrix = vec![0.0; bands.starts.len() * bands.from];
    for (to, row) in matrix.chunks_exact_mut(bands.from.max(1)).enumerate() {
        let (first, weights) = bands.band(to);
        row[first..first + weights.len()].copy_from_slice(weights);
    }
    matrix
}

/// (N, 1, h, w) -> (N).
fn image_score(graph: &mut Graph, scores: &Map, rule: ImageScore) -> Edge {
    let means = match rule {
        ImageScore::Largest | ImageScore::LargestMean(1) => scores.edge.clone(),
        ImageScore::LargestMean(side) => {
            let (side, pad) = (side as i64, (side / 2) as i64);
            // At the border over the patches that are there.
            graph.node(
                "AveragePool",
                &[&scores.edge],
                &[
                    ("kernel_shape", Attribute::Ints(&[side; 2])),
                    ("pads", Attribute::Ints(&[pad; 4])),
                    ("count_include_pad", Attribute::Int(0)),
                ],
            )
        }
    };
    graph.node(
        "ReduceMax",
        &[&means],
        &[("axes", Attribute::Ints(&[1, 2, 3])), ("keepdims", Attribute::Int(0))],
    )
}
