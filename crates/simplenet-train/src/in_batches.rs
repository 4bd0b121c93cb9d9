//! Photographs from their files through a detector, in order. In: paths. Out: an inspection each, or why there is none.
//!
//! On a GPU three things go on at once: the network runs on a group of photographs, and meanwhile the CPU's threads work on
//! what the group before has given and decode the group after. On the CPU they come one after the other, all threads on each.

use std::{ops::Range, path::Path, time::Duration};

use image::RgbImage;
use rayon::prelude::*;
use simplenet_data::{DataError, FileTraits, decode};

use crate::{
    detector::{Detector, Inspection, Prepared, Scored, timed},
    error::TrainError,
    features::named,
    reporter::Reporter,
};

/// A photograph that was read and inspected.
#[derive(Debug, Clone)]
pub struct Inspected {
    /// Its pixels.
    pub photograph: RgbImage,
    /// What was found.
    pub inspection: Inspection,
    /// How long reading and decoding took.
    pub decode: Duration,
}

/// Reads, decodes and inspects one photograph.
///
/// # Errors
/// A file that is not an image or not whole; a score that is not a number; a failing tensor operation.
pub fn inspect_file(detector: &Detector, path: &Path) -> Result<Inspected, TrainError> {
    let (decoded, decode) = timed(|| read_image(detector, path));
    let decoded = decoded?;
    let inspection = with_score(path, detector.inspect_decoded(&decoded).map_err(|e| named(path, e))?)?;
    Ok(Inspected { photograph: decoded.pixels, inspection, decode })
}

fn read_image(detector: &Detector, path: &Path) -> Result<decode::Decoded, DataError> {
    let options = &detector.preprocess().decode;
    decode::decode_image(&decode::read_file(path, options.max_pixels)?, path, options)
}

/// Inspects files. `finish` is given each inspection with its number, or why there is none; on a GPU on several threads at
/// once. `on_result` is given what it returns, on this thread, in the files' order.
///
/// On a GPU the numbers of a photograph do not depend on which others are with it in its batch ([`Detector::batch`]).
///
/// # Errors
/// The first error of `on_result`, after which no new photograph is begun; on a GPU also that of a network that cannot run,
/// which is no photograph's fault.
pub fn inspect_files<P: AsRef<Path> + Sync, R: Send, E: From<TrainError> + Send>(
    detector: &Detector,
    paths: &[P],
    reporter: &dyn Reporter,
    finish: impl Fn(usize, Result<Inspected, TrainError>) -> R + Sync,
    mut on_result: impl FnMut(usize, R) -> Result<(), E>,
) -> Result<(), E> {
    if detector.batch_predictor().is_none() {
        let mut numbered = paths.iter().enumerate();
        return numbered
            .try_for_each(|(i, path)| on_result(i, finish(i, inspect_file(detector, path.as_ref()))));
    }
    let pipeline = Pipeline { detector, paths, finish: &finish };
    let mut groups = groups(paths.len(), detector.batch(), rayon::current_num_threads()).into_iter();
    let mut decoded = groups.next().map(|group| pipeline.decode(group));
    let mut scored: Option<Group<(Decoded, Scored)>> = None;
    while decoded.is_some() || scored.is_some() {
        let (before, next) = (scored.take(), groups.next());
        scored = std::thread::scope(|scope| {
            let network = decoded.take().map(|group| scope.spawn(|| pipeline.score(group)));
            let (results, after) = rayon::join(
                || before.map(|group| pipeline.finish(group)),
                || next.map(|group| pipeline.decode(group)),
            );
            decoded = after;
            let (first, results) = results.unwrap_or_default();
            for (i, result) in (first..).zip(results) {
                on_result(i, result)?;
            }
            network.map(join).transpose().map_err(E::from)
        })?;
        if let Some(note) = detector.take_note() {
            reporter.warn(&note);
        }
    }
    Ok(())
}

/// Photographs that go through the three steps together, from this number on.
struct Group<T> {
    first: usize,
    items: Vec<Result<T, TrainError>>,
}

struct Decoded {
    photograph: RgbImage,
    decode: Duration,
}

struct Pipeline<'a, P, F> {
    detector: &'a Detector,
    paths: &'a [P],
    finish: &'a F,
}

impl<P: AsRef<Path> + Sync, F> Pipeline<'_, P, F> {
    fn decode(&self, group: Range<usize>) -> Group<(Decoded, Prepared)> {
        let one = |path: &P| {
            let (decoded, decode) = timed(|| read_image(self.detector, path.as_ref()));
            let decode::Decoded { pixels: photograph, source, .. } = decoded?;
            let file = Some(FileTraits::from(&source));
            let prepared = self.detector.prepare(&photograph, file).map_err(|e| named(path.as_ref(), e))?;
            Ok((Decoded { photograph, decode }, prepared))
        };
        Group { first: group.start, items: self.paths[group].par_iter().map(one).collect() }
    }

    /// # Errors
    /// A network that cannot run.
    fn score(&self, group: Group<(Decoded, Prepared)>) -> Result<Group<(Decoded, Scored)>, TrainError> {
        let mut readable = vec![];
        let apart = group.items.into_iter().map(|item| {
            item.map(|(decoded, prepared)| {
                readable.push(prepared);
                decoded
            })
        });
        let apart: Vec<Result<Decoded, TrainError>> = apart.collect();
        let mut scored = self.detector.score_all(readable)?.into_iter();
        let with_scores = |item: Result<Decoded, TrainError>| {
            item.and_then(|decoded| Ok((decoded, scored.next().ok_or(TrainError::Stopped)?)))
        };
        Ok(Group { first: group.first, items: apart.into_iter().map(with_scores).collect() })
    }

    fn finish<R: Send>(&self, group: Group<(Decoded, Scored)>) -> (usize, Vec<R>)
    where
        F: Fn(usize, Result<Inspected, TrainError>) -> R + Sync,
    {
        let Group { first, items } = group;
        let one = |(i, item): (usize, Result<(Decoded, Scored), TrainError>)| {
            let number = first + i;
            let inspected = item.and_then(|(Decoded { photograph, decode }, scored)| {
                let inspection = with_score(self.paths[number].as_ref(), self.detector.finish(scored)?)?;
                Ok(Inspected { photograph, inspection, decode })
            });
            (self.finish)(number, inspected)
        };
        (first, items.into_par_iter().enumerate().map(one).collect())
    }
}

/// Groups of whole batches, of at least one photograph for every thread: decoding and finishing are theirs.
fn groups(photographs: usize, batch: usize, threads: usize) -> Vec<Range<usize>> {
    let size = batch * threads.div_ceil(batch);
    (0..photographs).step_by(size).map(|start| start..(start + size).min(photographs)).collect()
}

fn join<T>(thread: std::thread::ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// # Errors
/// A score that is not a number.
fn with_score(path: &Path, inspection: Inspection) -> Result<Inspection, TrainError> {
    match inspection.score.is_finite() {
        true => Ok(inspection),
        false => Err(TrainError::NonFiniteScore { path: path.to_path_buf(), score: inspection.score }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(clippy::single_range_in_vec_init)] // one group is what is meant
    fn groups_are_whole_batches_with_work_for_every_thread() {
        for (photographs, batch, threads, want) in [
            (0, 16, 2, &[][..]),
            (7, 16, 2, &[0..7]),
            (40, 16, 2, &[0..16, 16..32, 32..40]),
            (9, 1, 4, &[0..4, 4..8, 8..9]),
            (9, 3, 4, &[0..6, 6..9]),
        ] {
            assert_eq!(groups(photographs, batch, threads), want, "{photographs} by {batch} on {threads}");
        }
    }
}
