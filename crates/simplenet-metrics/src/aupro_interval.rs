//! AUPRO with its bootstrap interval.
//!
//! Comes in: maps, the limit of the false-positive rate, how to draw ([`Bootstrap`]). Goes out: an [`Interval`].
//!
//! A replicate has a curve of its own, a point for each distinct score of its images: too many to walk 2000
//! times. So every image's curve is tabulated once, at common thresholds; the curve of a replicate is a weighted
//! sum of them. Up to [`EXACT_SCORES`] distinct anomalous scores, every point where a curve can bend is
//! tabulated: a replicate is exact. Above, thresholds are chosen from the exact curve of the whole set, so
//! that between neighbours neither rate moves by more than 1 / [`RESOLUTION`] of its range, or only one of both
//! moves, or all that lies between them is one score.
//!
//! The table says how wrong each replicate can be ([`crate::curve_table`]); if any is above [`MAX_ERROR`], all are
//! computed anew at twice the resolution: the bound holds for every replicate, however uneven the draw.

use std::cmp::Ordering;

use crate::MetricError;
use crate::anomaly_map::AnomalyMap;
use crate::bootstrap::{Bootstrap, Interval};
use crate::curve_table::{Point, Table};
use crate::overlap::check_limit;
use crate::pixel::PixelRanking;
use crate::ranking::Ranking;
use crate::score_key::key;
use crate::sum::Sum;

/// With no more distinct scores of anomalous pixels than this, every replicate is exact.
const EXACT_SCORES: usize = 4096;

/// Otherwise the curve is first sampled at this many parts of each rate's range: the overlap's 0 to 1, and of
/// the false-positive rate 0 to the limit, with steps that grow in proportion beyond it (a replicate's rate may
/// reach the limit later than the set's).
const RESOLUTION: f64 = 2048.0;

/// The largest error of a replicate (AUPRO is 0 to 1).
const MAX_ERROR: f64 = 1.0 / 2048.0;

/// AUPRO up to `limit` (0 < limit <= 1) with its bootstrap interval; `estimate` is [`crate::aupro`], exactly.
///
/// Images with a region and images without one are drawn each on their own. A replicate is the AUPRO of the
/// images drawn: exact if the anomalous pixels have at most 4096 distinct scores, otherwise from a sampled curve
/// and wrong by at most 1/2048, a bound that is checked for every replicate. Should a draw hold no defect-free
/// pixel (only where masks cover whole images), it is repeated.
///
/// Memory beside that of [`crate::aupro`]: a table of 12 bytes an image and threshold, 4 if the image has no
/// region, with 8 192 thresholds or about as many.
///
/// # Errors
/// Fewer than 2 replicates, a confidence outside (0, 1), and those of [`crate::aupro`].
pub fn aupro_interval(
    maps: &[AnomalyMap<'_>],
    limit: f64,
    bootstrap: &Bootstrap,
) -> Result<Interval, MetricError> {
    bootstrap.check()?;
    check_limit(limit)?;
    let ranking = PixelRanking::of(maps)?;
    let estimate = ranking.aupro(limit)?;
    let set = ranking.ranking();
    let replicates = replicates(maps, set, limit, bootstrap, first_resolution(set))?;
    Ok(bootstrap.interval(estimate, replicates))
}

/// Infinite = every point of the curve.
fn first_resolution(set: &Ranking) -> f64 {
    if set.steps().count() <= EXACT_SCORES { f64::INFINITY } else { RESOLUTION }
}

/// The AUPRO of every replicate, none wrong by more than [`MAX_ERROR`].
fn replicates(
    maps: &[AnomalyMap<'_>],
    set: &Ranking,
    limit: f64,
    bootstrap: &Bootstrap,
    mut resolution: f64,
) -> Result<Vec<f64>, MetricError> {
    let mut maps = maps.to_vec();
    maps.retain(|map| !map.scores.is_empty());
    maps.sort_by(by_content);
    loop {
        let table = Table::new(&maps, sampled_keys(set, limit, resolution));
        let areas = bootstrap.replicates(|mut stream| Ok(table.area(&table.draw(&mut stream), limit)))?;
        if areas.iter().all(|area| area.error <= MAX_ERROR) {
            return Ok(areas.into_iter().map(|area| area.value).collect());
        }
        // This ends: once the resolution tells single pixels apart, every point is there and no error left.
        resolution *= 2.0;
    }
}

/// An order in which only images that are interchangeable are equal.
fn by_content(a: &AnomalyMap<'_>, b: &AnomalyMap<'_>) -> Ordering {
    let scores = a.scores.iter().map(|&score| key(score)).cmp(b.scores.iter().map(|&score| key(score)));
    let masks = || a.mask.iter().map(|&value| value != 0).cmp(b.mask.iter().map(|&value| value != 0));
    scores.then_with(masks).then(a.width.cmp(&b.width))
}

/// Thresholds for the table, as keys, descending; the last one is the lowest score of an anomalous pixel.
///
/// The curve bends only just above the score of an anomalous pixel and at it. Of those points, one is left out
/// if the step from the last one taken to the one after it is small in both rates. So two neighbours are
/// close, or adjacent on the curve of the set: joined by a straight line in every replicate.
fn sampled_keys(set: &Ranking, limit: f64, resolution: f64) -> Vec<u32> {
    let limit_count = limit * set.totals.negatives as f64;
    let rise = set.regions as f64 / resolution;
    let far = |from: Point, to: Point| {
        to.false_positives - from.false_positives > limit_count.max(from.false_positives) / resolution
            || to.overlap - from.overlap > rise
    };
    let mut keys = Vec::new();
    let (mut taken, mut previous, mut overlap) = (Point::START, Point::START, Sum::default());
    for step in set.steps() {
        let key = key(step.score);
        let above =
            Point { key: key + 1, false_positives: step.negatives_above as f64, overlap: overlap.value() };
        overlap.add(step.overlap);
        let at = Point {
            key,
            false_positives: (step.negatives_above + step.negatives) as f64,
            overlap: overlap.value(),
        };
        for point in [above, at] {
            if far(taken, point) && previous.key != taken.key {
                keys.push(previous.key);
                taken = previous;
            }
            previous = point;
        }
    }
    keys.push(previous.key);
    keys
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aupro;
    use crate::resample::SplitMix64;

    const WIDTH: usize = 150;

    type Image = (Vec<f32>, Vec<u8>);

    /// Images of all but no ties, every second one with two defects. Defects stand out by another amount in each
    /// image, and image 1 has higher scores than all others: the curve depends much on the draw.
    fn noise(images: usize) -> Vec<Image> {
        let mut state = 1u64;
        let mut uniform = || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 40) as f32 / (1 << 24) as f32
        };
        let mut image = |index: usize| {
            let defect =
                |x: usize, y: usize| index.is_multiple_of(2) && y / 50 == 1 && !(60..90).contains(&x);
            let mask: Vec<u8> = (0..WIDTH * WIDTH).map(|i| u8::from(defect(i % WIDTH, i / WIDTH))).collect();
            let shift = f32::from(index == 1);
            let gain = index as f32 / images as f32;
            let scores = mask.iter().map(|&mask| uniform() + shift + f32::from(mask) * gain).collect();
            (scores, mask)
        };
        (0..images).map(&mut image).collect()
    }

    fn maps(images: &[Image]) -> Vec<AnomalyMap<'_>> {
        images.iter().map(|(scores, mask)| AnomalyMap { scores, mask, width: WIDTH, height: WIDTH }).collect()
    }

    /// Every replicate against [`aupro`] of the images really drawn. Gives back the largest error.
    fn check(maps: &[AnomalyMap<'_>], limit: f64, resolution: f64, allowed: f64) -> f64 {
        let bootstrap = Bootstrap { replicates: 30, ..Bootstrap::default() };
        let ranking = PixelRanking::of(maps).unwrap();
        let set = ranking.ranking();
        let got = replicates(maps, set, limit, &bootstrap, resolution).unwrap();
        let mut ordered = maps.to_vec();
        ordered.sort_by(by_content);
        ordered.sort_by_key(|map| map.mask.iter().all(|&value| value == 0));
        let table = Table::new(&ordered, vec![0]);
        let mut largest = 0.0f64;
        for (index, got) in got.into_iter().enumerate() {
            let times = table.draw(&mut SplitMix64::of_replicate(bootstrap.seed, index));
            let drawn: Vec<AnomalyMap<'_>> = ordered
                .iter()
                .zip(times)
                .flat_map(|(&map, times)| std::iter::repeat_n(map, times as usize))
                .collect();
            assert_eq!(drawn.len(), ordered.len());
            let want = aupro(&drawn, limit).unwrap();
            assert!((got - want).abs() <= allowed, "limit {limit}, replicate {index}: {got}, not {want}");
            largest = largest.max((got - want).abs());
        }
        largest
    }

    #[test]
    fn sampled_curves_keep_the_bound() {
        let images = noise(8);
        let maps = maps(&images);
        let ranking = PixelRanking::of(&maps).unwrap();
        let set = ranking.ranking();
        assert_eq!(first_resolution(set), RESOLUTION);
        for limit in [0.3, 0.05, 1.0] {
            let keys = sampled_keys(set, limit, RESOLUTION);
            assert!(keys.is_sorted_by(|a, b| a > b), "limit {limit}");
            assert!(keys.len() < 12_000, "limit {limit}: {} thresholds", keys.len());
            let largest = check(&maps, limit, RESOLUTION, MAX_ERROR);
            // The curve's steps go up and right in turn, so the halves of the rectangles mostly cancel.
            assert!(largest < MAX_ERROR / 10.0, "limit {limit}: {largest}");
        }
    }

    #[test]
    fn a_coarse_table_is_refined_until_the_bound_holds() {
        let images = noise(6);
        let maps = maps(&images);
        let ranking = PixelRanking::of(&maps).unwrap();
        let set = ranking.ranking();
        let coarse = Table::new(&maps, sampled_keys(set, 0.3, 4.0));
        assert!(coarse.area(&[1; 6], 0.3).error > MAX_ERROR);
        check(&maps, 0.3, 4.0, MAX_ERROR);
    }

    #[test]
    fn every_point_leaves_no_error() {
        let images = noise(4);
        let maps = maps(&images);
        check(&maps, 0.3, f64::INFINITY, 1e-12);
        let ranking = PixelRanking::of(&maps).unwrap();
        let set = ranking.ranking();
        let table = Table::new(&maps, sampled_keys(set, 0.3, f64::INFINITY));
        assert_eq!(table.area(&[1; 4], 0.3).error, 0.0);
    }
}
