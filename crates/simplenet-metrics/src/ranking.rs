//! The pixels of a set, reduced to what every pixel metric needs, and walked down.
//!
//! Comes in: anomalous pixels as packed keys with the weight of their region, normal pixels as a [`Tally`]. Goes
//! out: [`Step`]s, one for each distinct score of an anomalous pixel, or for each distinct score at all.

use std::sync::{Mutex, PoisonError};

use rayon::slice::ParallelSliceMut;

use crate::MetricError;
use crate::score_key::score;
use crate::steps::{PositiveGroup, PositiveGroups, Step, Totals};
use crate::tally::{Tally, lock};

/// Pixels as they come in, from any thread.
#[derive(Debug)]
pub(crate) struct Pixels {
    normal: Tally,
    anomalous: Mutex<Anomalous>,
}

#[derive(Debug, Default)]
struct Anomalous {
    /// Packed ([`crate::steps::pack`]). One vector: growing moves no memory where the system can remap pages, and
    /// collecting the images apart would need twice as much at the end.
    pixels: Vec<u64>,
    regions: u64,
}

impl Pixels {
    pub(crate) fn new() -> Self {
        Self { normal: Tally::new(), anomalous: Mutex::default() }
    }

    /// Takes an image in: slices of normal scores, packed anomalous pixels, and the number of regions.
    pub(crate) fn add<'a>(
        &self,
        normal: impl Iterator<Item = &'a [f32]>,
        anomalous: Vec<u64>,
        regions: usize,
    ) {
        self.normal.add(normal);
        if regions > 0 {
            let mut all = lock(&self.anomalous);
            all.pixels.extend(anomalous);
            all.regions += regions as u64;
        }
    }

    /// Sorts the anomalous pixels.
    ///
    /// # Errors
    /// No pixel at all.
    pub(crate) fn rank(self) -> Result<Ranking, MetricError> {
        let Anomalous { pixels: mut positives, regions } =
            self.anomalous.into_inner().unwrap_or_else(PoisonError::into_inner);
        positives.par_sort_unstable();
        let totals = Totals { positives: positives.len() as u64, negatives: self.normal.total() };
        match totals {
            Totals { positives: 0, negatives: 0 } => Err(MetricError::Empty),
            _ => Ok(Ranking { positives, normal: self.normal, totals, regions }),
        }
    }
}

/// All pixels of a set in the order of their scores.
#[derive(Debug)]
pub(crate) struct Ranking {
    /// Packed, ascending.
    pub(crate) positives: Vec<u64>,
    pub(crate) normal: Tally,
    pub(crate) totals: Totals,
    pub(crate) regions: u64,
}

impl Ranking {
    /// One step for each distinct score of an anomalous pixel, descending.
    pub(crate) fn steps(&self) -> impl Iterator<Item = Step> + '_ {
        let mut descent = self.normal.descend();
        PositiveGroups::new(&self.positives).map(move |group| {
            let standing = descent.standing(group.key);
            step(group.key, Some(group), standing.equal, standing.above)
        })
    }

    /// One step for each distinct score of any pixel, descending.
    pub(crate) fn all_steps(&self) -> impl Iterator<Item = Step> + '_ {
        let mut groups = PositiveGroups::new(&self.positives).peekable();
        let mut entries = self.normal.entries().peekable();
        let mut above = 0;
        std::iter::from_fn(move || {
            let (positive, negative) =
                (groups.peek().map(|group| group.key), entries.peek().map(|entry| entry.0));
            let key = positive.max(negative)?;
            let group = groups.next_if(|group| group.key == key);
            let equal = entries.next_if(|entry| entry.0 == key).map_or(0, |entry| entry.1);
            let step = step(key, group, equal, above);
            above += equal;
            Some(step)
        })
    }
}

fn step(key: u32, group: Option<PositiveGroup>, negatives: u64, negatives_above: u64) -> Step {
    Step {
        score: score(key),
        positives: group.map_or(0, |group| group.count),
        negatives,
        negatives_above,
        overlap: group.map_or(0.0, |group| group.overlap),
    }
}
