//! The aggregator as one fixed sparse linear map. In: patch size, the two dimensions, each layer's channels. Out: for
//! every layer, which unfolded values each output number reads and with which weights.
//!
//! The official chain is: unfold k×k, adaptive average pool of each layer's C·k·k values to its `pretrain_dim`, stack the
//! layers, adaptive average pool of the stack to `target_dim`. Both pools act on channels only, so their product can
//! be written down once. Every output reads a run of consecutive (channel, ky, kx) values of one layer, or of
//! neighbouring layers where `target_dim` does not divide the stack evenly.

use std::ops::Range;

/// One unfolded value that an output reads.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Tap {
    /// Channel of the layer's feature map.
    pub(crate) channel: usize,
    /// Row of the patch, 0..patch size; its middle row is the patch's own.
    pub(crate) row: usize,
    /// Column of the patch.
    pub(crate) column: usize,
    /// Share of this value in the output.
    pub(crate) weight: f32,
}

/// What one layer contributes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct LayerPlan {
    /// Channels of the layer's feature map.
    pub(crate) channels: usize,
    /// The outputs that this layer contributes to: always a run.
    pub(crate) outputs: Range<usize>,
    /// For each of `outputs`, its run of `taps`.
    windows: Vec<Range<usize>>,
    taps: Vec<Tap>,
}

impl LayerPlan {
    /// The taps of the `index`-th of this layer's `outputs`, in (channel, row, column) order.
    pub(crate) fn taps(&self, index: usize) -> &[Tap] {
        &self.taps[self.windows[index].clone()]
    }

    /// The channels that a run of this layer's `outputs` reads.
    pub(crate) fn channels_of(&self, outputs: &Range<usize>) -> Range<usize> {
        let taps = &self.taps[self.windows[outputs.start].start..self.windows[outputs.end - 1].end];
        match (taps.first(), taps.last()) {
            (Some(first), Some(last)) => first.channel..last.channel + 1,
            _ => 0..0,
        }
    }
}

/// The whole map.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Plan {
    /// Side of the patch, odd.
    pub(crate) patch_size: usize,
    /// Numbers of one output row.
    pub(crate) dim: usize,
    /// One a tapped layer.
    pub(crate) layers: Vec<LayerPlan>,
}

impl Plan {
    /// The product of the two pools. All arguments must be at least 1.
    pub(crate) fn new(
        patch_size: usize,
        pretrain_dims: &[usize],
        target_dim: usize,
        channels: &[usize],
    ) -> Self {
        let stacked = pretrain_dims.iter().sum();
        let mut start = 0;
        let layers = channels
            .iter()
            .zip(pretrain_dims)
            .map(|(&channels, &pretrain_dim)| {
                let own = start..start + pretrain_dim;
                start = own.end;
                layer_plan(patch_size, own, target_dim, stacked, channels)
            })
            .collect();
        Self { patch_size, dim: target_dim, layers }
    }
}

/// The values that output `i` of an adaptive average pool of `from` values to `to` reads: PyTorch's rule, windows
/// overlap where `to` does not divide `from`.
pub(crate) fn pool_window(i: usize, from: usize, to: usize) -> Range<usize> {
    i * from / to..((i + 1) * from).div_ceil(to)
}

/// `own` is where this layer's pooled values lie in the stack of `stacked` values.
fn layer_plan(
    patch_size: usize,
    own: Range<usize>,
    target_dim: usize,
    stacked: usize,
    channels: usize,
) -> LayerPlan {
    let patch = patch_size * patch_size;
    let unfolded = channels * patch;
    let mut plan = LayerPlan { channels, outputs: 0..0, windows: Vec::new(), taps: Vec::new() };
    for output in 0..target_dim {
        let second = pool_window(output, stacked, target_dim);
        let pooled = second.start.max(own.start)..second.end.min(own.end);
        if pooled.is_empty() {
            continue;
        }
        if plan.windows.is_empty() {
            plan.outputs.start = output;
        }
        plan.outputs.end = output + 1;
        let window_of = |i: usize| pool_window(i - own.start, unfolded, own.len());
        let reach = window_of(pooled.start).start..window_of(pooled.end - 1).end;
        let mut weights = vec![0f64; reach.len()];
        for i in pooled {
            let first = window_of(i);
            let weight = 1.0 / (first.len() as f64 * second.len() as f64);
            for value in first {
                weights[value - reach.start] += weight;
            }
        }
        let start = plan.taps.len();
        plan.taps.extend(reach.zip(weights).map(|(value, weight)| Tap {
            channel: value / patch,
            row: value % patch / patch_size,
            column: value % patch_size,
            weight: weight as f32,
        }));
        plan.windows.push(start..plan.taps.len());
    }
    plan
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_papers_map_is_means_of_6_and_of_12() {
        let plan = Plan::new(3, &[1536, 1536], 1536, &[512, 1024]);
        for (layer, outputs, taps) in [(0, 0..768, 6), (1, 768..1536, 12)] {
            let layer = &plan.layers[layer];
            assert_eq!(layer.outputs, outputs);
            for i in 0..outputs.len() {
                assert_eq!(layer.taps(i).len(), taps);
                for (j, tap) in layer.taps(i).iter().enumerate() {
                    let value = i * taps + j;
                    assert_eq!((tap.channel, tap.row, tap.column), (value / 9, value % 9 / 3, value % 3));
                    assert!((tap.weight * taps as f32 - 1.0).abs() < 1e-6);
                }
            }
        }
    }

    #[test]
    fn a_channels_mean_is_its_nine_values() {
        let plan = Plan::new(3, &[2, 3], 5, &[2, 3]);
        for (layer, outputs) in [(0, 0..2), (1, 2..5)] {
            let layer = &plan.layers[layer];
            assert_eq!(layer.outputs, outputs);
            for i in 0..outputs.len() {
                assert_eq!(layer.taps(i).len(), 9);
                assert!(
                    layer.taps(i).iter().all(|tap| tap.channel == i && (tap.weight * 9.0 - 1.0).abs() < 1e-6)
                );
            }
        }
    }

    #[test]
    fn every_output_is_an_average() {
        for (patch_size, pretrain, target, channels) in [
            (3, 512, 512, vec![40, 112]),
            (1, 7, 5, vec![3]),
            (5, 11, 13, vec![2, 9, 4]),
            (7, 300, 1, vec![1, 2]),
        ] {
            let plan = Plan::new(patch_size, &vec![pretrain; channels.len()], target, &channels);
            let mut sums = vec![0f64; target];
            for layer in &plan.layers {
                for (i, output) in layer.outputs.clone().enumerate() {
                    sums[output] += layer.taps(i).iter().map(|t| f64::from(t.weight)).sum::<f64>();
                }
            }
            assert!(sums.iter().all(|s| (s - 1.0).abs() < 1e-5), "{patch_size} {channels:?}: {sums:?}");
        }
    }
}
