//! From patch scores to a picture of where the anomaly is. In: the raw patch scores of one image, (h, w). Out: the
//! anomaly map at the network input's size and the image's score. Both as the official code: bilinear resize, then
//! SciPy's Gaussian filter, both in one (`kernels/anomaly_map`); the image score is taken of the raw patch scores, before either, and is their largest there.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::{
    bilinear::fits,
    error::ModelError,
    kernels::{self, anomaly_map::AnomalyMapPlan},
};
pub use crate::{bilinear::resize_bilinear, kernels::anomaly_map::AnomalyMapConfig};

/// How patch scores become the image's score.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ImageScore {
    /// The largest patch score: the paper.
    #[default]
    Largest,
    /// The largest mean over a square of this many patches a side, an odd number; at the border over those inside.
    LargestMean(usize),
}

impl ImageScore {
    /// Checks the number.
    ///
    /// # Errors
    /// `ModelError::Configuration` for an even number of patches, or more than 63.
    pub fn validate(&self) -> Result<(), ModelError> {
        match *self {
            Self::LargestMean(side) if side.is_multiple_of(2) || side > 63 => {
                Err(ModelError::Configuration {
                    what: "image score",
                    reason: format!("a square of {side} patches a side; must be an odd number up to 63"),
                })
            }
            _ => Ok(()),
        }
    }
}

/// An image's score, of its patch scores (h, w), row-major, with `columns` = w. NaN if any score is NaN, so that a broken
/// network is not taken for a good part; negative infinity without scores.
pub fn image_score(scores: &[f32], columns: usize, rule: ImageScore) -> f32 {
    let columns = columns.max(1);
    image_score_within(scores, [0..scores.len() / columns, 0..columns], columns, None, rule)
}

/// The same for a part of an image: largest over the squares about patches in these rows and columns. Where only some
/// patches are `inside`, one value a patch, squares are about these and hold only these.
pub fn image_score_within(
    scores: &[f32],
    [own_rows, own_columns]: [Range<usize>; 2],
    columns: usize,
    inside: Option<&[bool]>,
    rule: ImageScore,
) -> f32 {
    let larger = |max: f32, s: f32| if s.is_nan() || s > max { s } else { max };
    let side = match rule {
        ImageScore::Largest => 1,
        ImageScore::LargestMean(side) => side,
    };
    let (columns, reach) = (columns.max(1), side / 2);
    let rows = scores.len() / columns;
    let around = |at: usize, end: usize| at.saturating_sub(reach)..(at + reach + 1).min(end);
    let counts = |&place: &usize| inside.is_none_or(|inside| inside.get(place) == Some(&true));
    let mean = |y: usize, x: usize| {
        let (ys, xs) = (around(y, rows), around(x, columns));
        match inside {
            None => {
                let count = (ys.len() * xs.len()) as f32;
                ys.flat_map(|y| &scores[y * columns..][xs.clone()]).sum::<f32>() / count
            }
            Some(_) => {
                let square = ys.flat_map(|y| xs.clone().map(move |x| y * columns + x)).filter(counts);
                let (sum, count) = square.fold((0.0, 0.0), |(sum, n), place| (sum + scores[place], n + 1.0));
                sum / count
            }
        }
    };
    let own_columns = own_columns.start..own_columns.end.min(columns);
    let places =
        (own_rows.start..own_rows.end.min(rows)).flat_map(|y| own_columns.clone().map(move |x| (y, x)));
    let places = places.filter(|(y, x)| counts(&(y * columns + x)));
    places.fold(f32::NEG_INFINITY, |max, (y, x)| larger(max, mean(y, x)))
}

/// Patch scores (h, w), row-major -> anomaly map (out_h, out_w), row-major. `scores` must have h·w numbers, at least
/// one, and `config` must be valid; the map is NaN otherwise, which every metric refuses.
pub fn anomaly_map(
    scores: &[f32],
    h: usize,
    w: usize,
    out_h: usize,
    out_w: usize,
    config: &AnomalyMapConfig,
) -> Vec<f32> {
    if !fits(scores, h, w) || config.validate().is_err() {
        return vec![f32::NAN; out_h * out_w];
    }
    kernels::anomaly_map::anomaly_map(&AnomalyMapPlan::new([h, w], [out_h, out_w], config), scores)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::anomaly_map::reference::reflect;

    /// The filter by its definition: the whole kernel in two dimensions at once.
    fn slow_filter(map: &[f32], h: usize, w: usize, config: &AnomalyMapConfig) -> Vec<f32> {
        let radius = config.radius() as isize;
        let weight = |i: isize| (-0.5 * (i as f64 / config.sigma).powi(2)).exp();
        let total: f64 = (-radius..=radius).map(weight).sum();
        let mut out = Vec::new();
        for y in 0..h as isize {
            for x in 0..w as isize {
                let mut sum = 0.0;
                for dy in -radius..=radius {
                    for dx in -radius..=radius {
                        let v = map[reflect(y + dy, h) * w + reflect(x + dx, w)];
                        sum += weight(dy) * weight(dx) / (total * total) * f64::from(v);
                    }
                }
                out.push(sum as f32);
            }
        }
        out
    }

    #[test]
    fn filter_agrees_with_its_definition_on_small_and_odd_maps() {
        for (h, w, sigma) in
            [(1, 1, 4.0), (3, 2, 4.0), (1, 40, 4.0), (21, 17, 1.3), (5, 33, 0.4), (6, 6, 0.1)]
        {
            let config = AnomalyMapConfig { sigma, ..Default::default() };
            let map: Vec<f32> = (0..h * w).map(|i| ((i * 37 + 11) % 101) as f32 / 7.0 - 5.0).collect();
            let want = slow_filter(&map, h, w, &config);
            let got = anomaly_map(&map, h, w, h, w, &config);
            for (i, (g, w)) in got.iter().zip(&want).enumerate() {
                assert!((g - w).abs() <= 2e-6 * w.abs().max(1.0), "{h}x{w}, sigma {sigma}, {i}: {g} for {w}");
            }
        }
    }

    #[test]
    fn resize_keeps_constants_and_the_same_size() {
        let scores = [1.5f32, -2.0, 0.25, 7.0, 3.0, -1.0];
        assert_eq!(resize_bilinear(&scores, 2, 3, 2, 3), scores);
        assert!(resize_bilinear(&[0.5; 12], 3, 4, 17, 9).iter().all(|&v| v == 0.5));
        // half-pixel centres: positions -0.25 (clamped), 0.25, 0.75, 1.25 (clamped)
        assert_eq!(resize_bilinear(&[0.0, 1.0], 1, 2, 1, 4), [0.0, 0.25, 0.75, 1.0]);
    }

    #[test]
    fn image_score_is_the_maximum_and_shows_nan() {
        for rule in [ImageScore::Largest, ImageScore::LargestMean(1), ImageScore::LargestMean(3)] {
            assert!(image_score(&[1.0, f32::NAN, 2.0], 3, rule).is_nan(), "{rule:?}");
            assert!(image_score(&[f32::NAN], 1, rule).is_nan());
            assert_eq!(image_score(&[], 0, rule), f32::NEG_INFINITY);
        }
        assert_eq!(image_score(&[-3.0, -1.0, -2.0], 3, ImageScore::Largest), -1.0);
        // 2 x 4: the left corner's square holds four patches, the others' four or six.
        let scores = [4.0, 0.0, 0.0, 9.0, 4.0, 2.0, 0.0, 0.0];
        assert_eq!(image_score(&scores, 4, ImageScore::LargestMean(1)), 9.0);
        assert_eq!(image_score(&scores, 4, ImageScore::LargestMean(3)), 2.5);
        assert!(
            ImageScore::LargestMean(4).validate().is_err() && ImageScore::LargestMean(3).validate().is_ok()
        );
    }

    #[test]
    fn a_part_of_an_image_has_a_score_of_its_own() {
        // 2 x 4.
        let scores = [4.0, 0.0, 0.0, 9.0, 4.0, 2.0, 0.0, 0.0];
        let of = |rows, columns, inside, rule| image_score_within(&scores, [rows, columns], 4, inside, rule);
        let (largest, mean) = (ImageScore::Largest, ImageScore::LargestMean(3));
        assert_eq!(of(0..2, 0..4, None, mean), image_score(&scores, 4, mean));
        assert_eq!(of(0..2, 1..3, None, largest), 2.0);
        // The square about a patch reaches beyond the part: (0 + 0 + 9 + 2 + 0 + 0) / 6.
        assert_eq!(of(0..2, 2..3, None, mean), 11.0 / 6.0);
        assert_eq!(of(0..9, 3..9, None, largest), 9.0);
        let inside = [true, true, false, false, true, true, false, true];
        assert_eq!(of(0..2, 0..4, Some(&inside), largest), 4.0);
        assert_eq!(of(0..2, 0..4, Some(&inside), mean), 2.5);
        assert_eq!(of(0..2, 2..4, Some(&inside), mean), 0.0);
        assert_eq!(of(0..2, 2..3, Some(&inside), mean), f32::NEG_INFINITY);
        let broken = [f32::NAN, 1.0, 2.0, f32::NAN];
        assert_eq!(
            image_score_within(&broken, [0..1, 0..4], 4, Some(&[false, true, true, false]), mean),
            1.5
        );
    }

    #[test]
    fn wrong_sizes_and_settings_show() {
        let config = AnomalyMapConfig::default();
        let nan = |map: Vec<f32>| map.len() == 4 && map.iter().all(|v| v.is_nan());
        assert!(nan(anomaly_map(&[0.0; 5], 2, 3, 2, 2, &config)));
        assert!(nan(anomaly_map(&[], 0, 3, 2, 2, &config)));
        assert!(anomaly_map(&[1.0], 1, 1, 0, 4, &config).is_empty());
        for sigma in [-1.0, f64::NAN, f64::INFINITY, 1e9] {
            let config = AnomalyMapConfig { sigma, ..config };
            assert!(config.validate().is_err(), "{sigma}");
            assert!(nan(anomaly_map(&[0.0; 6], 2, 3, 2, 2, &config)));
        }
    }
}
