//! Curves with fewer points, for drawing.
//!
//! Comes in: the points of a curve whose two rates only rise. Goes out: some of these points, unchanged.

/// Leaves points out so that few remain: of two neighbours that are kept, either both rates differ by at most
/// 1/`parts`, or they are neighbours in the full curve too. The first and the last point are kept.
///
/// `rates` gives a point's two rates, each in [0, 1] and never falling. At most 4 · `parts` + 3 points remain; no point
/// is moved, so that straight lines between them differ from those of the full curve by at most 1/`parts` in either
/// direction. The points may come from an iterator that never holds all of them. 0 parts count as 1.
///
/// ```
/// use simplenet_metrics::{roc_curve, thin_curve};
///
/// let scores: Vec<f32> = (0..10_000).map(|i| i as f32).collect();
/// let labels: Vec<bool> = (0..10_000).map(|i| i % 3 == 0).collect();
/// let curve = roc_curve(&scores, &labels)?;
/// let few = thin_curve(curve, |p| (p.false_positive_rate, p.true_positive_rate), 100);
/// assert!(few.len() < 200);
/// # Ok::<(), simplenet_metrics::MetricError>(())
/// ```
pub fn thin_curve<P: Copy>(
    points: impl IntoIterator<Item = P>,
    rates: impl Fn(&P) -> (f64, f64),
    parts: usize,
) -> Vec<P> {
    let most = 1.0 / parts.max(1) as f64;
    let far = |from: &P, to: &P| {
        let ((x0, y0), (x1, y1)) = (rates(from), rates(to));
        x1 - x0 > most || y1 - y0 > most
    };
    let mut kept: Vec<P> = vec![];
    // The point before the one at hand, if it is not kept yet.
    let mut waiting: Option<P> = None;
    for point in points {
        let Some(last) = kept.last() else {
            kept.push(point);
            continue;
        };
        if far(last, &point) {
            // The point before is within reach of the last one; this one may be a jump away from it.
            match waiting.take() {
                Some(before) => {
                    let jump = far(&before, &point);
                    kept.push(before);
                    if jump {
                        kept.push(point);
                        continue;
                    }
                }
                None => {
                    kept.push(point);
                    continue;
                }
            }
        }
        waiting = Some(point);
    }
    kept.extend(waiting);
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_stay_and_straight_parts_lose_points() {
        let check = |points: &[(f64, f64)], parts, want: &[(f64, f64)]| {
            assert_eq!(thin_curve(points.iter().copied(), |p| *p, parts), want, "{points:?} {parts}");
        };
        check(&[], 10, &[]);
        check(&[(0.0, 0.0)], 10, &[(0.0, 0.0)]);
        let line: Vec<(f64, f64)> = (0..=8).map(|i| (f64::from(i) / 8.0, f64::from(i) / 8.0)).collect();
        check(&line, 2, &[(0.0, 0.0), (0.5, 0.5), (1.0, 1.0)]);
        check(&line, 0, &[(0.0, 0.0), (1.0, 1.0)]);
        check(&line, 100, &line);
        // A jump: both of its ends are kept.
        let jump = [(0.0, 0.0), (0.01, 0.0), (0.02, 0.0), (0.02, 0.9), (0.03, 0.9), (1.0, 1.0)];
        check(&jump, 10, &[(0.0, 0.0), (0.02, 0.0), (0.02, 0.9), (0.03, 0.9), (1.0, 1.0)]);
    }
}
