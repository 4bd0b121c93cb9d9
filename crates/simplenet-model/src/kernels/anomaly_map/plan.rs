//! The two linear maps. In: lengths before and after, the Gaussian. Out: for every new position the run of old ones that it
//! reads, and their weights, worked out in f64.

use super::AnomalyMapConfig;
use crate::bilinear::{Source, sources};

/// The linear maps of both axes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct AnomalyMapPlan {
    pub(crate) rows: Bands,
    pub(crate) columns: Bands,
}

/// The linear map of one axis, (to, from).
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Bands {
    /// Old positions.
    pub(crate) from: usize,
    /// For each new position where its band begins, and where its weights begin in `weights`. Neither its first nor its last
    /// old position lies before that of the new position before it.
    pub(crate) starts: Vec<[usize; 2]>,
    pub(crate) weights: Vec<f32>,
}

impl AnomalyMapPlan {
    /// For (h, w) -> (H, W). h and w must be at least 1 and `config` valid.
    pub(crate) fn new(from: [usize; 2], to: [usize; 2], config: &AnomalyMapConfig) -> Self {
        let kernel = half_kernel(config);
        let rows = Bands::new(from[0], to[0], &kernel);
        let square = from[0] == from[1] && to[0] == to[1];
        let columns = if square { rows.clone() } else { Bands::new(from[1], to[1], &kernel) };
        Self { rows, columns }
    }
}

impl Bands {
    /// The Gaussian after the resize; `kernel` is its middle and one side.
    fn new(from: usize, to: usize, kernel: &[f64]) -> Self {
        let sources = sources(from, to);
        let folded = Folded::new(kernel, to);
        let reach = kernel.len() - 1;
        let mut bands = Self { from, starts: Vec::with_capacity(to), weights: Vec::new() };
        let mut sums = Vec::new();
        for i in 0..to {
            // What is reflected lies among these too: it is nearer to the border than the border to i.
            let pixels = i.saturating_sub(reach)..(i + reach + 1).min(to);
            // A weight of 0 stays when the resize reads its position, so NaN goes where it goes in two steps.
            let first = sources[pixels.start].low;
            sums.clear();
            sums.resize(sources[pixels.end - 1].high + 1 - first, 0.0);
            for (pixel, &Source { low, high, share }) in pixels.clone().zip(&sources[pixels]) {
                let weight = folded.weight(i, pixel);
                sums[low - first] += weight * f64::from(1.0 - share);
                sums[high - first] += weight * f64::from(share);
            }
            bands.starts.push([first, bands.weights.len()]);
            bands.weights.extend(sums.iter().map(|&sum| sum as f32));
        }
        bands
    }

    /// Where the band of a new position begins, and its weights.
    pub(crate) fn band(&self, to: usize) -> (usize, &[f32]) {
        let [first, start] = self.starts[to];
        let end = self.starts.get(to + 1).map_or(self.weights.len(), |next| next[1]);
        (first, &self.weights[start..end])
    }
}

/// A symmetric kernel on a line that is reflected at both ends, d c b a | a b c d | d c b a, again and again: it repeats
/// after twice the line's length.
struct Folded {
    len: usize,
    /// The sum of the kernel at every distance that is this one after whole repetitions.
    weights: Vec<f64>,
}

impl Folded {
    fn new(kernel: &[f64], len: usize) -> Self {
        let mut weights = vec![0.0; 2 * len];
        if len > 0 {
            for (distance, weight) in kernel.iter().enumerate() {
                weights[distance % (2 * len)] += weight;
                if distance > 0 {
                    weights[(2 * len - distance % (2 * len)) % (2 * len)] += weight;
                }
            }
        }
        Self { len, weights }
    }

    /// What position `i` takes of `pixel`, directly and from its mirror image.
    fn weight(&self, i: usize, pixel: usize) -> f64 {
        let repeat = 2 * self.len;
        let at = |place: usize| self.weights[if place >= i { place - i } else { place + repeat - i }];
        at(pixel) + at(repeat - 1 - pixel)
    }
}

/// The kernel's middle and one side; middle + 2 · side = 1.
pub(super) fn half_kernel(config: &AnomalyMapConfig) -> Vec<f64> {
    let radius = config.radius();
    let weight = |i: usize| (-0.5 * (i as f64 / config.sigma).powi(2)).exp();
    let kernel: Vec<f64> = std::iter::once(1.0).chain((1..=radius).map(weight)).collect();
    let total = kernel[0] + 2.0 * kernel[1..].iter().sum::<f64>();
    kernel.into_iter().map(|k| k / total).collect()
}
