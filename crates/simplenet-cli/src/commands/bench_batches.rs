//! The part of `bench` that is for GPUs: batches of several sizes, the network alone and whole inspections. In: a detector and
//! photographs. Out: how long a batch takes, and how many photographs go through in a second.

use std::collections::HashSet;

use simplenet_data::decode;
use simplenet_inference::{Detector, InferenceError, inspect_stream, timed};
use simplenet_metrics::quantiles;

use super::bench::rounded;
use crate::{
    error::CliError,
    inputs::Input,
    output::bench_report::{Batch, BatchTimes, BatchedInspection, BatchedNetwork},
    progress::TerminalProgress,
};

/// Batches that are measured when none are named.
const BATCHES: [u16; 3] = [1, 16, 64];
/// Runs before those that count: buffers are made, and clocks rise.
const WARM_UP: usize = 3;
/// Photographs that batches are made of, again and again: more would only fill memory.
const MOST_INPUTS: usize = 256;
/// From files, at least so many batches: while the first is decoded and the last is finished, the GPU waits.
const LEAST_BATCHES: usize = 8;

/// Measures batches of these sizes, or of the usual ones, by a detector that `open` gives for each. As many runs of each as
/// `turns`. A batch that memory does not hold is left out, which is said.
///
/// # Errors
/// A photograph that cannot be read, a network that cannot run.
pub fn measure(
    open: impl Fn(usize) -> Result<Detector, InferenceError>,
    turns: &[&Input],
    asked: &[u16],
    progress: &TerminalProgress,
) -> Result<Vec<Batch>, CliError> {
    let mut measured = vec![];
    let mut inputs = vec![];
    for &batch in if asked.is_empty() { &BATCHES } else { asked } {
        let batch = usize::from(batch);
        let detector = open(batch)?;
        if inputs.is_empty() {
            inputs = network_inputs(&detector, turns)?;
        }
        match network(&detector, &inputs, batch, turns.len(), progress) {
            Ok(network) => {
                let inspection = inspection(&detector, turns, batch, progress)?;
                measured.push(Batch { batch, network, inspection });
            }
            Err(error) if error.is_out_of_memory() => {
                progress.warn(&format!("a batch of {batch} is left out: {error}"));
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(measured)
}

/// The photographs' bytes at the network's size, each photograph once, of the first ones.
fn network_inputs(detector: &Detector, turns: &[&Input]) -> Result<Vec<Vec<u8>>, CliError> {
    let preprocess = detector.preprocess();
    let mut seen = HashSet::new();
    let distinct = turns.iter().map(|input| &input.path).filter(|path| seen.insert(*path));
    distinct
        .take(MOST_INPUTS)
        .map(|path| {
            let photograph = decode::decode_file(path, &preprocess.decode)?;
            Ok(preprocess.resize_crop(&photograph)?.into_raw())
        })
        .collect()
}

fn network(
    detector: &Detector,
    inputs: &[Vec<u8>],
    batch: usize,
    runs: usize,
    progress: &TerminalProgress,
) -> Result<BatchedNetwork, InferenceError> {
    let bytes: Vec<u8> = inputs.iter().cycle().take(batch).flatten().copied().collect();
    for _ in 0..WARM_UP {
        detector.run_network(&bytes)?;
    }
    progress.start(&format!("batches of {batch}"), runs as u64);
    let mut times = vec![];
    for _ in 0..runs {
        let (done, time) = timed(|| detector.run_network(&bytes));
        done?;
        times.push((time.as_secs_f64() * 1e3) as f32);
        progress.advance(1);
    }
    progress.finish();
    let mean = times.iter().map(|&ms| f64::from(ms)).sum::<f64>() / runs as f64;
    let found = quantiles(&times, &[0.5, 0.95, 1.0])?;
    let at = |index: usize| found.get(index).map_or(0.0, |&ms| rounded(ms.into()));
    Ok(BatchedNetwork {
        runs,
        milliseconds: BatchTimes { p50: at(0), p95: at(1), max: at(2) },
        images_per_second: rounded(1e3 * batch as f64 / mean),
    })
}

fn inspection(
    detector: &Detector,
    turns: &[&Input],
    batch: usize,
    progress: &TerminalProgress,
) -> Result<BatchedInspection, CliError> {
    let inspections = turns.len().max(LEAST_BATCHES * batch);
    let paths = turns.iter().map(|input| &input.path).cycle().take(inspections);
    progress.start(&format!("from files, batches of {batch}"), inspections as u64);
    let note = |note: Option<String>| note.iter().for_each(|note| progress.warn(note));
    let (done, time) = timed(|| {
        inspect_stream(
            detector,
            paths,
            |_, inspected| inspected.map(|it| note(it.inspection.note)),
            |_, result| {
                progress.advance(1);
                result.map_err(CliError::from)
            },
        )
    });
    done?;
    progress.finish();
    Ok(BatchedInspection { inspections, images_per_second: rounded(inspections as f64 / time.as_secs_f64()) })
}
