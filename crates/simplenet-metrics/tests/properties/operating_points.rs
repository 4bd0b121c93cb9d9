//! Points of the ROC curve, their definitions read literally: of all points that meet the target, the best.

use simplenet_metrics::{OperatingPoint, RocPoint, fpr_at_tpr, recall_at_fpr, roc_curve};

use crate::support::{ALL_SCORES, Rng};

/// Targets that no rate meets exactly, and all that one does.
fn targets(curve: &[RocPoint]) -> Vec<f64> {
    let rates = curve.iter().flat_map(|point| [point.true_positive_rate, point.false_positive_rate]);
    let near = rates.flat_map(|rate| [rate.next_down(), rate, rate.next_up()]);
    near.chain([0.05, 0.29, 0.95]).filter(|rate| (0.0..=1.0).contains(rate)).collect()
}

fn point(point: &RocPoint) -> OperatingPoint {
    OperatingPoint {
        threshold: point.threshold,
        true_positive_rate: point.true_positive_rate,
        false_positive_rate: point.false_positive_rate,
    }
}

/// Of the points that `allowed` lets through, the first (highest threshold) that no other one beats.
fn best(
    curve: &[RocPoint],
    allowed: impl Fn(&RocPoint) -> bool,
    beats: impl Fn(&RocPoint, &RocPoint) -> bool,
) -> OperatingPoint {
    let allowed: Vec<&RocPoint> = curve.iter().filter(|point| allowed(point)).collect();
    let unbeaten = |candidate: &&&RocPoint| !allowed.iter().any(|other| beats(other, candidate));
    point(allowed.iter().find(unbeaten).unwrap())
}

#[test]
fn best_of_all_points() {
    let mut defined = 0;
    for scores in ALL_SCORES {
        for seed in 0..30 {
            let mut rng = Rng::new(seed);
            let one_in = 1 + rng.below(6);
            let labels: Vec<bool> = (0..1 + rng.below(60)).map(|_| rng.below(one_in) == 0).collect();
            let values: Vec<f32> = labels.iter().map(|&label| scores.draw(&mut rng, label)).collect();
            let Ok(curve) = roc_curve(&values, &labels) else { continue };
            defined += 1;
            for target in targets(&curve) {
                let what = format!("{scores:?} seed {seed}, target {target}");
                let want = best(
                    &curve,
                    |point| point.true_positive_rate >= target,
                    |a, b| a.false_positive_rate < b.false_positive_rate,
                );
                assert_eq!(fpr_at_tpr(&values, &labels, target), Ok(want), "{what}");
                let want = best(
                    &curve,
                    |point| point.false_positive_rate <= target,
                    |a, b| a.true_positive_rate > b.true_positive_rate,
                );
                assert_eq!(recall_at_fpr(&values, &labels, target), Ok(want), "{what}");
            }
        }
    }
    assert!(defined > 80, "only {defined} of the sets have both classes");
}
