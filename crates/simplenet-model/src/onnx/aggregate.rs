//! The aggregation as nodes. In: a tapped map. Out: its part of the patch features, on its own grid.
//!
//! The means of channels are an average pool. The official chain of two pools reads runs of consecutive unfolded values:
//! a convolution whose groups are as many as there are places where no run crosses from one to the next.

use std::ops::Range;

use super::{
    backbone::Map,
    graph::{Attribute, Graph},
};
use crate::{
    kernels::patch_aggregate::LayerPlan,
    patch_aggregator::{PatchAggregator, Reduction},
};

/// The features that layer `index` gives, and which dimensions of the whole they are.
pub(super) fn add(
    graph: &mut Graph,
    aggregator: &PatchAggregator,
    index: usize,
    map: &Map,
) -> (Map, Range<usize>) {
    let config = aggregator.config();
    let (side, pad) = (config.patch_size as i64, (config.patch_size / 2) as i64);
    let window = [("kernel_shape", Attribute::Ints(&[side; 2])), ("pads", Attribute::Ints(&[pad; 4]))];
    let plan = aggregator.op().layer_plan(index);
    let (edge, channels) = match config.reduction {
        Reduction::ChannelMean if config.patch_size == 1 => (map.edge.clone(), map.channels),
        Reduction::ChannelMean => {
            // Zeros beyond the border count, as in an unfolding with padding.
            let settings = [&window[..], &[("count_include_pad", Attribute::Int(1))]].concat();
            (graph.node("AveragePool", &[&map.edge], &settings), map.channels)
        }
        Reduction::AdaptivePool { .. } => {
            let groups = groups(plan);
            let weight = weight(plan, config.patch_size, groups);
            let shape = [plan.outputs.len(), plan.channels / groups, config.patch_size, config.patch_size];
            let weight = graph.floats(&weight, &shape);
            let settings = [&window[..], &[("group", Attribute::Int(groups))]].concat();
            (graph.node("Conv", &[&map.edge, &weight], &settings), plan.outputs.len())
        }
    };
    (Map { edge, channels, ..map.clone() }, plan.outputs.clone())
}

/// The most groups that channels and outputs can be cut into so that no output reads channels of another group.
fn groups(plan: &LayerPlan) -> usize {
    let (channels, outputs) = (plan.channels, plan.outputs.len());
    let fits = |groups: usize| {
        let own = |output: usize| output * groups / outputs;
        (0..outputs)
            .all(|output| plan.taps(output).iter().all(|tap| tap.channel * groups / channels == own(output)))
    };
    let divides = |groups: &usize| channels.is_multiple_of(*groups) && outputs.is_multiple_of(*groups);
    (1..=channels.min(outputs)).rev().filter(divides).find(|&groups| fits(groups)).unwrap_or(1)
}

/// (outputs, channels of a group, k, k), row-major.
fn weight(plan: &LayerPlan, patch_size: usize, groups: usize) -> Vec<f32> {
    let (channels, outputs) = (plan.channels / groups, plan.outputs.len());
    let window = patch_size * patch_size;
    let mut weight = vec![0.0; outputs * channels * window];
    for (output, of_output) in weight.chunks_exact_mut((channels * window).max(1)).enumerate() {
        for tap in plan.taps(output) {
            of_output[tap.channel % channels * window + tap.row * patch_size + tap.column] += tap.weight;
        }
    }
    weight
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::patch_aggregator::PatchAggregatorConfig;

    #[test]
    fn groups_are_the_finest_cut_and_keep_every_weight() {
        for (dims, channels, expected) in [
            ([1536, 1536], vec![512, 1024], vec![256, 256]), // the paper's: 2 and 4 channels, 3 outputs each
            ([1536, 1536], vec![40, 112], vec![8, 16]),
            ([16, 24], vec![5, 7], vec![1, 1]),
        ] {
            let config = PatchAggregatorConfig::adaptive_pool(3, dims[0], dims[1]);
            let aggregator = PatchAggregator::new(config, &channels).unwrap();
            for (index, expected) in expected.into_iter().enumerate() {
                let plan = aggregator.op().layer_plan(index);
                let found = groups(plan);
                assert_eq!(found, expected, "{channels:?}, layer {index}");
                let total: f64 = weight(plan, 3, found).into_iter().map(f64::from).sum();
                let taps = (0..plan.outputs.len()).flat_map(|i| plan.taps(i));
                let wanted: f64 = taps.map(|tap| f64::from(tap.weight)).sum();
                assert!((total - wanted).abs() < 1e-3 * wanted, "{total} for {wanted}");
            }
        }
    }
}
