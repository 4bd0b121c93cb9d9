//! Which rows stand for all: greedy k-centre selection (PatchCore's algorithm 1; Sener and Savarese, ICLR 2018).
//!
//! In: points (n, width). Out: the positions of those chosen: each the farthest from all before it. Exact, where the
//! official code takes distances to ten random rows for a start. It begins with the point farthest from the origin and
//! decides ties by the points' own numbers, so neither threads nor the order of the points matter.

use std::cmp::Ordering;

use rayon::prelude::*;

/// Points that one thread looks at in one go.
const CHUNK: usize = 2048;
/// A point is passed over only if it is nearer to its own choice than rounding could undo.
const CERTAIN: f32 = 0.999;
/// Numbers that are summed side by side.
const LANES: usize = 8;

/// A point and how far (squared) it is from the chosen ones.
type Farthest = (f32, usize);

/// Chooses up to `count` of the points; fewer where the rest are repetitions of these.
pub(super) fn greedy_coreset(points: &[f32], width: usize, count: usize) -> Vec<u32> {
    let row = |i: usize| &points[i * width..(i + 1) * width];
    let farther =
        |a: Farthest, b: Farthest| match a.0.total_cmp(&b.0).then_with(|| compare(row(a.1), row(b.1))) {
            Ordering::Less => b,
            Ordering::Greater => a,
            Ordering::Equal => (a.0, a.1.min(b.1)),
        };
    let origin = vec![0.0; width];
    let all = points.par_chunks_exact(width).enumerate().map(|(i, p)| (squared_distance(p, &origin), i));
    let Some((_, first)) = all.reduce_with(farther) else { return vec![] };

    let mut chosen: Vec<u32> = vec![];
    // To each point: its squared distance to the nearest chosen point, and which that is.
    let mut nearest: Vec<(f32, u32)> = vec![(f32::INFINITY, 0); points.len() / width];
    let mut next = (f32::INFINITY, first);
    while chosen.len() < count && next.0 > 0.0 {
        let new = row(next.1);
        // A point that is less than half as far from its choice as that is from the new one stays (triangle inequality):
        // a quarter in squares. It spares 27 % of the distances on the demo's oak_plank (44,064 points, 440 chosen).
        let reach: Vec<f32> = chosen
            .par_iter()
            .with_min_len(CHUNK)
            .map(|&old| 0.25 * CERTAIN * squared_distance(row(old as usize), new))
            .collect();
        let number = chosen.len() as u32;
        let farthest = nearest.par_chunks_mut(CHUNK).enumerate().map(|(chunk, part)| {
            let mut best = (f32::NEG_INFINITY, chunk * CHUNK);
            for (i, (distance, choice)) in (chunk * CHUNK..).zip(part) {
                if reach.get(*choice as usize).is_none_or(|&reach| *distance > reach) {
                    let to_new = squared_distance(row(i), new);
                    if to_new < *distance {
                        (*distance, *choice) = (to_new, number);
                    }
                }
                if *distance >= best.0 {
                    best = farther(best, (*distance, i));
                }
            }
            best
        });
        chosen.push(next.1 as u32);
        next = farthest.reduce(|| (f32::NEG_INFINITY, first), farther);
    }
    chosen
}

/// |a − b|², in a fixed order of addition.
pub(super) fn squared_distance(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0f32; LANES];
    let (a_lanes, b_lanes) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest: f32 = a_lanes.remainder().iter().zip(b_lanes.remainder()).map(|(x, y)| (x - y) * (x - y)).sum();
    for (x, y) in a_lanes.zip(b_lanes) {
        for ((sum, x), y) in sums.iter_mut().zip(x).zip(y) {
            *sum += (x - y) * (x - y);
        }
    }
    sums.iter().sum::<f32>() + rest
}

fn compare(a: &[f32], b: &[f32]) -> Ordering {
    a.iter().zip(b).map(|(x, y)| x.total_cmp(y)).find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
}

#[cfg(test)]
mod tests {
    use super::{
        super::tests::{in_pool, numbers},
        *,
    };

    /// The definition, in f64.
    fn naive(points: &[f32], width: usize, count: usize) -> Vec<u32> {
        let rows: Vec<&[f32]> = points.chunks_exact(width).collect();
        let distance =
            |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| f64::from(x - y).powi(2)).sum::<f64>();
        let farthest = |value: &dyn Fn(&[f32]) -> f64| {
            (0..rows.len()).max_by(|&a, &b| value(rows[a]).total_cmp(&value(rows[b]))).unwrap()
        };
        let origin = vec![0.0; width];
        let mut chosen = vec![farthest(&|row| distance(row, &origin))];
        while chosen.len() < count {
            let to_chosen =
                |row: &[f32]| chosen.iter().map(|&c| distance(row, rows[c])).fold(f64::INFINITY, f64::min);
            chosen.push(farthest(&to_chosen));
        }
        chosen.into_iter().map(|i| i as u32).collect()
    }

    #[test]
    fn every_choice_is_the_farthest() {
        // More than one chunk among them.
        for (n, width, count) in [(1, 1, 1), (5, 3, 5), (301, 13, 40), (5000, 17, 60), (700, 1, 9)] {
            let points = numbers(n * width, n as u32);
            assert_eq!(greedy_coreset(&points, width, count), naive(&points, width, count), "{n} {width}");
        }
    }

    #[test]
    fn neither_threads_nor_order_matter() {
        // Numbers on a coarse grid, so that there are ties and repetitions.
        let (n, width, count) = (5000, 3, 50);
        let points: Vec<f32> = numbers(n * width, 1).iter().map(|v| (v * 4.0).round()).collect();
        let rows = |points: &[f32], chosen: Vec<u32>| -> Vec<Vec<f32>> {
            chosen.into_iter().map(|i| points[i as usize * width..][..width].to_vec()).collect()
        };
        let want = in_pool(1, || greedy_coreset(&points, width, count));
        assert_eq!(in_pool(4, || greedy_coreset(&points, width, count)), want);
        let reversed: Vec<f32> = points.chunks_exact(width).rev().flatten().copied().collect();
        let got = greedy_coreset(&reversed, width, count);
        assert_eq!(rows(&reversed, got), rows(&points, want));
    }

    #[test]
    fn repetitions_are_not_chosen_twice() {
        let one = numbers(8, 2);
        assert_eq!(greedy_coreset(&one.repeat(5), 8, 3).len(), 1);
        assert_eq!(greedy_coreset(&one.repeat(5), 4, 9).len(), 2);
        assert_eq!(greedy_coreset(&[0.0; 12], 4, 2).len(), 1, "all at the origin");
        assert!(greedy_coreset(&[], 4, 2).is_empty());
    }
}
