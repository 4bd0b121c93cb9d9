//! How far the backbone's activations reach on good parts: what a model needs to be run in int8.
//!
//! In: the compiled extractor and the images that are trained on. Out: the largest absolute output of each layer.

use simplenet_data::dataset::Sample;
use simplenet_model::ActivationRanges;

use crate::{
    error::TrainError,
    features::{Extraction, RANGE_IMAGES},
};

/// Measures the ranges on up to [`RANGE_IMAGES`] of `trained`, evenly spread and not augmented. Largest values do not
/// depend on the order in which they are looked at, so neither does the result.
///
/// # Errors
/// An image that cannot be read.
pub(crate) fn activation_ranges(
    extraction: &mut Extraction<'_>,
    trained: &[Sample],
) -> Result<ActivationRanges, TrainError> {
    let paths = spread(trained.len()).filter_map(|i| Some(trained.get(i)?.path.clone()));
    extraction.activation_ranges(paths.collect())
}

/// The positions of up to [`RANGE_IMAGES`] of `n` images.
fn spread(n: usize) -> impl Iterator<Item = usize> {
    let count = n.min(RANGE_IMAGES);
    (0..count).map(move |i| i * n / count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_distinct_and_reach_over_all_images() {
        for (n, count, last) in [(0, 0, None), (1, 1, Some(0)), (32, 32, Some(31)), (33, 32, Some(31))] {
            let positions: Vec<usize> = spread(n).collect();
            assert_eq!((positions.len(), positions.last().copied()), (count, last), "{n} images");
        }
        for n in [40, 64, 1000] {
            let positions: Vec<usize> = spread(n).collect();
            let steps: Vec<usize> = positions.windows(2).map(|pair| pair[1] - pair[0]).collect();
            let even = n / RANGE_IMAGES..=n.div_ceil(RANGE_IMAGES);
            assert!(steps.iter().all(|step| even.contains(step)), "{n} images: {positions:?}");
            assert!(n - positions[RANGE_IMAGES - 1] <= n.div_ceil(RANGE_IMAGES), "{n} images: {positions:?}");
        }
    }
}
