//! The walk down the scores that every metric is computed from.
//!
//! Comes in: anomalous and normal scores, sorted once. Goes out: [`Step`]s from the highest score to the
//! lowest, one for each distinct score, with integer counts; equal scores are one step.
//!
//! Metrics move only where an anomalous score stands, so a producer may leave out steps that hold normal
//! scores alone ([`crate::ranking::Ranking::steps`] does): the next step's `negatives_above` counts them.

use rayon::slice::ParallelSliceMut;

use crate::MetricError;
use crate::score_key::{check, key, score};

/// All samples that share one score.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Step {
    /// The score.
    pub(crate) score: f32,
    /// Anomalous samples with this score.
    pub(crate) positives: u64,
    /// Normal samples with this score.
    pub(crate) negatives: u64,
    /// Normal samples with a higher score.
    pub(crate) negatives_above: u64,
    /// Sum of 1 / area of the region over the anomalous pixels with this score; 0 where there are no regions.
    pub(crate) overlap: f64,
}

/// A metric that is computed while walking down the steps. Several can share one walk.
pub(crate) trait Fold {
    /// What comes out.
    type Value;
    /// Takes the next step in.
    fn add(&mut self, step: &Step);
    /// The metric over all steps taken in.
    fn value(&self) -> Self::Value;
}

/// Walks down the steps for one metric.
pub(crate) fn fold<F: Fold>(steps: impl Iterator<Item = Step>, mut fold: F) -> F::Value {
    steps.for_each(|step| fold.add(&step));
    fold.value()
}

/// Size of both classes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Totals {
    /// Anomalous samples.
    pub(crate) positives: u64,
    /// Normal samples.
    pub(crate) negatives: u64,
}

impl Totals {
    /// Both classes are there, or [`MetricError::SingleClass`].
    pub(crate) fn need_both(self) -> Result<Self, MetricError> {
        let Self { positives, negatives } = self;
        if positives == 0 || negatives == 0 {
            return Err(MetricError::SingleClass { positives, negatives });
        }
        Ok(self)
    }

    /// Something is anomalous, or [`MetricError::NoPositives`].
    pub(crate) fn need_positives(self) -> Result<Self, MetricError> {
        if self.positives == 0 {
            return Err(MetricError::NoPositives { count: self.negatives });
        }
        Ok(self)
    }

    /// Something is normal, or [`MetricError::NoNegatives`].
    pub(crate) fn need_negatives(self) -> Result<Self, MetricError> {
        if self.negatives == 0 {
            return Err(MetricError::NoNegatives { count: self.positives });
        }
        Ok(self)
    }
}

/// An anomalous sample for sorting: its key above, the area of its region (0: no regions) below.
///
/// The area instead of the region's number: all that a pixel's weight needs, and equal whatever the order
/// of the images.
pub(crate) fn pack(key: u32, area: u32) -> u64 {
    (u64::from(key) << 32) | u64::from(area)
}

/// The key of a packed sample.
pub(crate) fn packed_key(packed: u64) -> u32 {
    (packed >> 32) as u32
}

/// Every score of a set, split by class and sorted. 8 bytes an anomalous sample, 4 a normal one.
#[derive(Debug)]
pub(crate) struct SortedScores {
    positives: Vec<u64>,
    negatives: Vec<u32>,
}

impl SortedScores {
    /// Checks and sorts scores with their labels.
    pub(crate) fn new(scores: &[f32], labels: &[bool]) -> Result<Self, MetricError> {
        if scores.len() != labels.len() {
            return Err(MetricError::LengthMismatch { scores: scores.len(), labels: labels.len() });
        }
        check(scores)?;
        let count = labels.iter().filter(|&&label| label).count();
        let mut positives = Vec::with_capacity(count);
        let mut negatives = Vec::with_capacity(scores.len() - count);
        for (&score, &label) in scores.iter().zip(labels) {
            if label { positives.push(pack(key(score), 0)) } else { negatives.push(key(score)) }
        }
        positives.par_sort_unstable();
        negatives.par_sort_unstable();
        Ok(Self { positives, negatives })
    }

    /// Size of both classes.
    pub(crate) fn totals(&self) -> Totals {
        Totals { positives: self.positives.len() as u64, negatives: self.negatives.len() as u64 }
    }

    /// One step for every distinct score, descending.
    pub(crate) fn steps(&self) -> impl Iterator<Item = Step> + '_ {
        let mut groups = PositiveGroups::new(&self.positives).peekable();
        let mut negatives = self.negatives.as_slice();
        let mut negatives_above = 0;
        std::iter::from_fn(move || {
            let positive_key = groups.peek().map(|group| group.key);
            let key = positive_key.max(negatives.last().copied())?;
            let group = groups.next_if(|group| group.key == key);
            let left = negatives.len() - run_from_end(negatives, |&negative| negative == key);
            let equal = (negatives.len() - left) as u64;
            negatives = &negatives[..left];
            let step = Step {
                score: score(key),
                positives: group.map_or(0, |group| group.count),
                negatives: equal,
                negatives_above,
                overlap: group.map_or(0.0, |group| group.overlap),
            };
            negatives_above += equal;
            Some(step)
        })
    }
}

/// Anomalous samples that share one score.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct PositiveGroup {
    /// The key of the score.
    pub(crate) key: u32,
    /// How many.
    pub(crate) count: u64,
    /// As in [`Step`].
    pub(crate) overlap: f64,
}

/// Groups of packed samples, from the highest key to the lowest.
#[derive(Debug)]
pub(crate) struct PositiveGroups<'a> {
    rest: &'a [u64],
}

impl<'a> PositiveGroups<'a> {
    /// `sorted`: packed samples, ascending.
    pub(crate) fn new(sorted: &'a [u64]) -> Self {
        Self { rest: sorted }
    }
}

impl Iterator for PositiveGroups<'_> {
    type Item = PositiveGroup;

    fn next(&mut self) -> Option<PositiveGroup> {
        let key = packed_key(*self.rest.last()?);
        let mut group = PositiveGroup { key, count: 0, overlap: 0.0 };
        while let Some(&packed) = self.rest.last()
            && packed_key(packed) == key
        {
            // Equal areas are counted before they are divided: fewer roundings, and always the same ones.
            let run = run_from_end(self.rest, |&other| other == packed);
            self.rest = &self.rest[..self.rest.len() - run];
            group.count += run as u64;
            let area = packed as u32;
            if area != 0 {
                group.overlap += run as f64 / f64::from(area);
            }
        }
        Some(group)
    }
}

/// Length of the run at the end of `values` that `same` accepts.
fn run_from_end<T>(values: &[T], same: impl Fn(&T) -> bool) -> usize {
    values.iter().rev().take_while(|value| same(value)).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_group_ties_and_count_what_is_above() {
        let scores = [0.5, 0.0, 2.0, -0.0, 0.5, 2.0, 2.0, -1.0];
        let labels = [true, true, false, false, false, false, true, false];
        let sorted = SortedScores::new(&scores, &labels).unwrap();
        let step = |score, positives, negatives, negatives_above| Step {
            score,
            positives,
            negatives,
            negatives_above,
            overlap: 0.0,
        };
        let steps: Vec<_> = sorted.steps().collect();
        assert_eq!(steps, [step(2.0, 1, 2, 0), step(0.5, 1, 1, 2), step(0.0, 1, 1, 3), step(-1.0, 0, 1, 4)]);
        assert_eq!(sorted.totals(), Totals { positives: 3, negatives: 5 });
    }

    #[test]
    fn overlap_is_the_sum_of_weights() {
        let mut packed = vec![pack(7, 4), pack(7, 2), pack(7, 4), pack(3, 4), pack(9, 0)];
        packed.sort_unstable();
        let groups: Vec<_> = PositiveGroups::new(&packed).collect();
        let expected = [(9, 1, 0.0), (7, 3, 1.0), (3, 1, 0.25)];
        assert_eq!(
            groups,
            expected.map(|(key, count, overlap)| PositiveGroup { key, count, overlap }).to_vec()
        );
    }
}
