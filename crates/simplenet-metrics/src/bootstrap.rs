//! How far a metric would move with other images: confidence intervals by the bootstrap.
//!
//! Comes in: scores with labels (here) or maps (`aupro_interval`), and how to draw. Goes out: an [`Interval`].
//!
//! Method: the test set is drawn again from itself, image by image and with replacement, and the metric is
//! computed each time; the interval runs between two quantiles of those values (the percentile interval of
//! Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13). Normal and anomalous images are
//! drawn each on their own, as many as there are: whoever made the test set fixed both numbers, and no
//! replicate loses a class (Davison and Hinkley, "Bootstrap Methods and their Application", 1997, section 3.2).
//!
//! Images are put in order by their content before drawing, so their order in the input changes nothing; each
//! replicate has its own random stream, so the number of threads does not either.

use rayon::iter::{IntoParallelIterator, ParallelIterator};

use crate::MetricError;
use crate::resample::SplitMix64;
use crate::roc::OrderedPairs;
use crate::steps::{SortedScores, Step, fold};
use crate::threshold::interpolated;

/// How the bootstrap draws. The same values give the same interval, bit by bit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bootstrap {
    /// How often the test set is drawn again, at least 2. Default: 2000, of which 50 lie beyond each end of a
    /// 95 % interval.
    pub replicates: usize,
    /// Share of the replicates between the ends of the interval, above 0 and below 1. Default: 0.95.
    pub confidence: f64,
    /// Seed of the draws. Default: 0.
    pub seed: u64,
}

impl Default for Bootstrap {
    fn default() -> Self {
        Self { replicates: 2000, confidence: 0.95, seed: 0 }
    }
}

/// A metric and how far it would move with other images.
///
/// The replicates can only hold what the test set holds: with few images of a class the interval is too
/// narrow, and a metric that is 1 for the set has the interval [1, 1].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    /// The metric of the set itself. It can lie outside the interval: drawing again may shift the metric.
    pub estimate: f64,
    /// Quantile (1 - confidence) / 2 of the replicates.
    pub lower: f64,
    /// Quantile (1 + confidence) / 2 of the replicates.
    pub upper: f64,
    /// Standard deviation of the replicates (divisor: their number - 1).
    pub standard_error: f64,
}

/// AUROC with its bootstrap interval; `estimate` is [`crate::auroc`], and so is, exactly, every replicate.
///
/// `labels`: `true` = anomalous, one for each score; one score an image.
///
/// # Errors
/// Fewer than 2 replicates, a confidence outside (0, 1), and those of [`crate::auroc`].
pub fn auroc_interval(
    scores: &[f32],
    labels: &[bool],
    bootstrap: &Bootstrap,
) -> Result<Interval, MetricError> {
    bootstrap.check()?;
    let sorted = SortedScores::new(scores, labels)?;
    let totals = sorted.totals();
    let estimate = fold(sorted.steps(), OrderedPairs::new(totals)?);
    let ranks = Ranks::new(&sorted);
    let replicate = |mut stream| Ok(fold(ranks.redrawn(&mut stream), OrderedPairs::new(totals)?));
    let replicates = bootstrap.replicates(replicate)?;
    Ok(bootstrap.interval(estimate, replicates))
}

/// The rank of every image: its place among the distinct scores, descending.
struct Ranks {
    /// One for each anomalous image, ascending.
    positives: Vec<usize>,
    /// One for each normal image, ascending.
    negatives: Vec<usize>,
    /// The distinct scores.
    scores: Vec<f32>,
}

impl Ranks {
    fn new(sorted: &SortedScores) -> Self {
        let mut ranks = Self { positives: Vec::new(), negatives: Vec::new(), scores: Vec::new() };
        for (rank, step) in sorted.steps().enumerate() {
            ranks.positives.extend((0..step.positives).map(|_| rank));
            ranks.negatives.extend((0..step.negatives).map(|_| rank));
            ranks.scores.push(step.score);
        }
        ranks
    }

    /// The steps of a replicate.
    fn redrawn(&self, stream: &mut SplitMix64) -> impl Iterator<Item = Step> + '_ {
        let mut counts = vec![(0, 0); self.scores.len()];
        stream.resample(self.positives.len(), |index| counts[self.positives[index]].0 += 1);
        stream.resample(self.negatives.len(), |index| counts[self.negatives[index]].1 += 1);
        let mut negatives_above = 0;
        self.scores.iter().zip(counts).map(move |(&score, (positives, negatives))| {
            let step = Step { score, positives, negatives, negatives_above, overlap: 0.0 };
            negatives_above += negatives;
            step
        })
    }
}

impl Bootstrap {
    /// Refuses what cannot give an interval.
    pub(crate) fn check(&self) -> Result<(), MetricError> {
        let Self { replicates, confidence, .. } = *self;
        if replicates < FEWEST_REPLICATES {
            return Err(MetricError::TooFewReplicates { replicates, needed: FEWEST_REPLICATES });
        }
        if confidence > 0.0 && confidence < 1.0 {
            Ok(())
        } else {
            Err(MetricError::InvalidConfidence { confidence })
        }
    }

    /// What `replicate` makes of each stream, in the order of the streams; in parallel.
    pub(crate) fn replicates<T: Send>(
        &self,
        replicate: impl Fn(SplitMix64) -> Result<T, MetricError> + Send + Sync,
    ) -> Result<Vec<T>, MetricError> {
        let stream = |index| SplitMix64::of_replicate(self.seed, index);
        (0..self.replicates).into_par_iter().map(stream).map(replicate).collect()
    }

    /// The interval from the replicates of a metric; there are at least two.
    pub(crate) fn interval(&self, estimate: f64, mut replicates: Vec<f64>) -> Interval {
        replicates.sort_unstable_by(f64::total_cmp);
        let quantile =
            |probability| interpolated(probability, replicates.len() - 1, |index| replicates[index]);
        let tail = (1.0 - self.confidence) / 2.0;
        let count = replicates.len() as f64;
        let mean = replicates.iter().sum::<f64>() / count;
        let squares: f64 = replicates.iter().map(|value| (value - mean).powi(2)).sum();
        Interval {
            estimate,
            lower: quantile(tail),
            upper: quantile(1.0 - tail),
            standard_error: (squares / (count - 1.0)).sqrt(),
        }
    }
}

/// A standard deviation needs two values.
const FEWEST_REPLICATES: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AnomalyMap, aupro_interval, auroc};

    #[test]
    fn interval_of_known_replicates() {
        let bootstrap = Bootstrap { confidence: 0.5, ..Bootstrap::default() };
        let got = bootstrap.interval(0.25, vec![5.0, 1.0, 3.0, 2.0, 4.0]);
        assert_eq!(got, Interval { estimate: 0.25, lower: 2.0, upper: 4.0, standard_error: 2.5f64.sqrt() });
    }

    #[test]
    fn separated_classes_have_no_width() {
        let got = auroc_interval(&[0.1, 0.2, 0.3, 0.4], &[false, false, true, true], &Bootstrap::default());
        let want = Interval { estimate: 1.0, lower: 1.0, upper: 1.0, standard_error: 0.0 };
        assert_eq!(got, Ok(want));
    }

    #[test]
    fn standard_error_is_that_of_theory() {
        // 150 of each class. Hanley and McNeil (Radiology, 1982) give the standard error of an AUROC from the
        // same two probabilities that the bootstrap draws from, so both must agree closely.
        let scores: Vec<f32> = (0..300u16)
            .map(|i| ((u32::from(i) * 7919) % 300) as f32 + f32::from(i % 2 == 1) * 60.0)
            .collect();
        let labels: Vec<bool> = (0..300).map(|i| i % 2 == 1).collect();
        let got = auroc_interval(&scores, &labels, &Bootstrap::default()).unwrap();
        let area = auroc(&scores, &labels).unwrap();
        assert_eq!(got.estimate, area);
        assert!(got.lower < area && area < got.upper, "{got:?}");
        let (q1, q2) = placements(&scores, &labels);
        let n = 150.0;
        let variance = (area * (1.0 - area) + (n - 1.0) * (q1 - area * area + q2 - area * area)) / (n * n);
        let ratio = got.standard_error / variance.sqrt();
        assert!((0.93..1.07).contains(&ratio), "{ratio}");
        // Close to normal, so the 95 % interval is about 2 x 1.96 standard errors wide.
        let widths = (got.upper - got.lower) / got.standard_error;
        assert!((3.6..4.2).contains(&widths), "{widths}");
    }

    /// Mean squared share of the other class that an anomalous, and a normal, score is on the right side of.
    fn placements(scores: &[f32], labels: &[bool]) -> (f64, f64) {
        let of = |class: bool| -> Vec<f32> {
            scores.iter().zip(labels).filter(|(_, label)| **label == class).map(|(&score, _)| score).collect()
        };
        let (high, low) = (of(true), of(false));
        let right = |a: f32, b: f32| {
            if a > b {
                1.0
            } else if a == b {
                0.5
            } else {
                0.0
            }
        };
        let mean = |values: Vec<f64>| values.iter().sum::<f64>() / values.len() as f64;
        let share = |values: Vec<f64>| mean(values).powi(2);
        (
            mean(high.iter().map(|&a| share(low.iter().map(|&b| right(a, b)).collect())).collect()),
            mean(low.iter().map(|&b| share(high.iter().map(|&a| right(a, b)).collect())).collect()),
        )
    }

    #[test]
    fn undefined_input_is_an_error() {
        let map = AnomalyMap { scores: &[1.0, 2.0], mask: &[0, 1], width: 2, height: 1 };
        let check = |bootstrap: Bootstrap, want: MetricError| {
            assert_eq!(auroc_interval(&[1.0, 2.0], &[false, true], &bootstrap), Err(want.clone()));
            assert_eq!(aupro_interval(&[map], 0.3, &bootstrap), Err(want));
        };
        let default = Bootstrap::default();
        for replicates in [0, 1] {
            let want = MetricError::TooFewReplicates { replicates, needed: 2 };
            check(Bootstrap { replicates, ..default }, want);
        }
        for confidence in [0.0, 1.0, -0.5, f64::INFINITY] {
            check(Bootstrap { confidence, ..default }, MetricError::InvalidConfidence { confidence });
        }
        let nan = auroc_interval(&[1.0], &[true], &Bootstrap { confidence: f64::NAN, ..default });
        assert!(matches!(nan, Err(MetricError::InvalidConfidence { .. })), "{nan:?}");
        assert_eq!(auroc_interval(&[], &[], &default), Err(MetricError::Empty));
        let one_class = MetricError::SingleClass { positives: 1, negatives: 0 };
        assert_eq!(auroc_interval(&[1.0], &[true], &default), Err(one_class));
        assert_eq!(aupro_interval(&[], 0.3, &default), Err(MetricError::Empty));
        assert_eq!(aupro_interval(&[map], 0.0, &default), Err(MetricError::InvalidLimit { limit: 0.0 }));
        let normal = AnomalyMap { mask: &[0, 0], ..map };
        assert_eq!(aupro_interval(&[normal], 0.3, &default), Err(MetricError::NoRegions));
        let defect = AnomalyMap { mask: &[1, 1], ..map };
        assert_eq!(aupro_interval(&[defect], 0.3, &default), Err(MetricError::NoNegatives { count: 2 }));
    }
}
