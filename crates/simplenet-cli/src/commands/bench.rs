//! `simplenet bench`: how long an inspection takes on this machine, part by part, how many photographs go through in a
//! second, and how much memory that needs. Nothing is written but the JSON file that is asked for.
//!
//! In turn: load, compile and inspect once (the start); every photograph once, unmeasured, so that files are in the
//! cache and memory is there; then one at a time, as a line sends them; then several at once, as `infer` takes them: on the
//! CPU one a thread, on a GPU batch by batch (`bench_batches`).

use std::path::Path;

use candle_core::Device;
use simplenet_inference::{Detector, DetectorOptions, inspect_one, inspect_stream, timed};
use simplenet_metrics::quantiles;
use simplenet_model::{checkpoint, compute::Isa};
use simplenet_train::TrainError;

use super::{bench_batches, model_path, warn_of_slow_precision};
use crate::{
    args::BenchArgs,
    device,
    error::CliError,
    inputs::{Input, inputs, passed_over_words},
    inspect::milliseconds,
    machine,
    output::{
        atomic,
        bench_report::{
            BenchReport, BenchedMachine, BenchedModel, OneAtATime, Parts, Percentiles, Photographs,
            SeveralAtOnce, Start,
        },
        prediction::{JsonPath, Milliseconds},
    },
    progress::TerminalProgress,
    settings::nearest_preset,
    tell,
};

/// Of several at once, each thread gets at least so many: else the last ones, which wait for nobody, decide.
const LEAST_PER_THREAD: usize = 8;

/// Runs the verb.
///
/// # Errors
/// A model or a photograph that cannot be read, no photograph at all, a JSON file that cannot be written.
pub fn run(args: &BenchArgs, progress: &TerminalProgress) -> Result<BenchReport, CliError> {
    let path = model_path(args.photographs.model.as_deref())?;
    let choice = args.inference.device.device;
    device::check_batches(&args.batch, choice)?;
    // Stays open while the detector opens it too, so that `compile` is without it.
    let (opened, open) = timed(|| device::open(choice, progress));
    let opened = opened?;
    let open = (!opened.device.is_cpu()).then_some(open);
    let (loaded, load) = timed(|| checkpoint::load(&path, &Device::Cpu));
    let (net, record) = loaded?;
    let mut options = DetectorOptions::default();
    options.device = choice;
    options.precision = args.inference.precision.precision();
    let (detector, compile) = timed(|| {
        let detector = Detector::from_network(&net, record, &options);
        drop(net);
        detector
    });
    let detector = detector?;
    device::tell_of_batches(&detector, &args.batch, progress);
    warn_of_slow_precision(&detector);
    let found = inputs(&args.photographs.input, &[], &path, &detector)?;
    if !found.passed_over.is_empty() {
        progress.note(&passed_over_words(&found.passed_over));
    }
    let found = found.photographs;
    if let Some(problem) = found.iter().find_map(|input| input.problem.as_ref()) {
        return Err(CliError::Usage(problem.clone()));
    }
    let repeats = args.repeats as usize;
    let turns = turns(&found, repeats);
    let distinct = &turns[..found.len().min(repeats)];

    let [first, ..] = turns[..] else {
        return Err(CliError::Usage("nothing to inspect: give --input IMAGE_OR_FOLDER".into()));
    };
    let (inspected, first_inspection) = timed(|| inspect_one(&detector, &first.path));
    inspected?;
    progress.start("warming up", distinct.len() as u64);
    let mut sizes = vec![];
    for input in distinct {
        sizes.push(inspect_one(&detector, &input.path)?.photograph.dimensions());
        progress.advance(1);
    }
    progress.finish();

    let one_at_a_time = one_at_a_time(&detector, &turns, progress)?;
    let several_at_once = several_at_once(&detector, &turns, progress)?;
    let with_batch = |batch: usize| {
        let mut options = options.clone();
        options.batch = Some(batch);
        Detector::open(&path, &options)
    };
    let batches = if detector.takes_batches() {
        bench_batches::measure(with_batch, &turns, &args.batch, progress)?
    } else {
        vec![]
    };

    let ms = |time: std::time::Duration| rounded(time.as_secs_f64() * 1e3);
    let report = BenchReport {
        program: concat!("simplenet ", env!("CARGO_PKG_VERSION")).into(),
        model: benched_model(&path, &detector)?,
        precision: detector.precision(),
        device: detector.device().to_string(),
        machine: BenchedMachine {
            description: machine::description(),
            instruction_set: Isa::detect().name().into(),
            threads: rayon::current_num_threads(),
        },
        photographs: photographs(found.len(), &sizes),
        start_milliseconds: Start {
            open: open.map(ms),
            load: ms(load),
            compile: ms(compile),
            first_inspection: ms(first_inspection),
            to_first_verdict: ms(open.unwrap_or_default() + load + compile + first_inspection),
        },
        one_at_a_time,
        several_at_once,
        batches,
    };
    tell::result("bench", &report.to_terminal(), &report);
    if let Some(file) = &args.json {
        atomic::write_json(file, &report)?;
        println!("the same as JSON: {}", file.display());
    }
    Ok(report)
}

/// The photograph of each of `repeats` inspections: all of them again and again or, of more than `repeats`, evenly
/// spread ones (test images stand together by kind of defect). Those of the first round come first.
fn turns(found: &[Input], repeats: usize) -> Vec<&Input> {
    if found.len() > repeats {
        (0..repeats).filter_map(|turn| found.get(turn * found.len() / repeats)).collect()
    } else {
        found.iter().cycle().take(repeats).collect()
    }
}

fn one_at_a_time(
    detector: &Detector,
    turns: &[&Input],
    progress: &TerminalProgress,
) -> Result<OneAtATime, CliError> {
    progress.start("one at a time", turns.len() as u64);
    let mut times = vec![];
    for input in turns {
        times.push(milliseconds(&inspect_one(detector, &input.path)?));
        progress.advance(1);
    }
    progress.finish();
    let total_seconds: f64 = times.iter().map(|time| time.total / 1e3).sum();
    Ok(OneAtATime {
        inspections: times.len(),
        milliseconds: Parts {
            decode: percentiles(&times, |time| time.decode)?,
            preprocess: percentiles(&times, |time| time.preprocess)?,
            network: percentiles(&times, |time| time.network)?,
            postprocess: percentiles(&times, |time| time.postprocess)?,
            total: percentiles(&times, |time| time.total)?,
        },
        images_per_second: rounded(times.len() as f64 / total_seconds),
        peak_memory_mib: machine::peak_memory_mib().map(rounded),
    })
}

/// As many inspections as turns or more; nothing with one thread, which can only take one at a time, and on a GPU, which
/// takes batches.
fn several_at_once(
    detector: &Detector,
    turns: &[&Input],
    progress: &TerminalProgress,
) -> Result<Option<SeveralAtOnce>, CliError> {
    let at_once = rayon::current_num_threads();
    if at_once < 2 || detector.takes_batches() {
        return Ok(None);
    }
    let inspections = turns.len().max(LEAST_PER_THREAD * at_once);
    let inspect = |count: usize, progress: &TerminalProgress| {
        let paths = turns.iter().map(|input| &input.path).cycle().take(count);
        inspect_stream(
            detector,
            paths,
            |_, inspected| inspected.map(drop),
            |_, result| {
                progress.advance(1);
                result.map_err(CliError::from)
            },
        )
    };
    // Each thread's memory, before the clock runs.
    inspect(at_once, &TerminalProgress::plain())?;
    progress.start("several at once", inspections as u64);
    let (done, time) = timed(|| inspect(inspections, progress));
    done?;
    progress.finish();
    Ok(Some(SeveralAtOnce {
        at_once,
        inspections,
        images_per_second: rounded(inspections as f64 / time.as_secs_f64()),
        peak_memory_mib: machine::peak_memory_mib().map(rounded),
    }))
}

fn benched_model(path: &Path, detector: &Detector) -> Result<BenchedModel, CliError> {
    let record = detector.record();
    let (width, height) = detector.preprocess().network_size();
    Ok(BenchedModel {
        path: JsonPath::new(path),
        model_id: checkpoint::model_id(record),
        file_bytes: std::fs::metadata(path).map_err(CliError::io("read", path))?.len(),
        backbone: record.backbone.to_string(),
        network_size: [width, height],
        preset: nearest_preset(&record.training),
    })
}

fn photographs(found: usize, sizes: &[(u32, u32)]) -> Photographs {
    let pixels = |&&(width, height): &&(u32, u32)| u64::from(width) * u64::from(height);
    let side = |size: Option<&(u32, u32)>| size.map_or([0, 0], |&(width, height)| [width, height]);
    Photographs {
        found,
        used: sizes.len(),
        smallest: side(sizes.iter().min_by_key(pixels)),
        largest: side(sizes.iter().max_by_key(pixels)),
    }
}

/// # Errors
/// No times.
fn percentiles(times: &[Milliseconds], part: impl Fn(&Milliseconds) -> f64) -> Result<Percentiles, CliError> {
    let values: Vec<f32> = times.iter().map(|time| part(time) as f32).collect();
    let at = |share: f64| -> Result<f64, CliError> {
        let found = quantiles(&values, &[share]).map_err(TrainError::from)?;
        Ok(found.first().map_or(0.0, |&value| rounded(value.into())))
    };
    Ok(Percentiles { p50: at(0.5)?, p95: at(0.95)?, p99: at(0.99)?, max: at(1.0)? })
}

/// To three places: microseconds, where it is a time.
pub(super) fn rounded(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_are_spread_over_the_photographs() {
        for (found, repeats, expected) in [
            (1, 3, &[0, 0, 0][..]),
            (3, 3, &[0, 1, 2]),
            (3, 5, &[0, 1, 2, 0, 1]),
            (7, 3, &[0, 2, 4]),
            (4, 1, &[0]),
            (0, 2, &[]),
        ] {
            let name =
                |index: usize| Input { path: format!("{index}").into(), name: "".into(), problem: None };
            let found: Vec<Input> = (0..found).map(name).collect();
            let expected: Vec<&Input> = expected.iter().map(|&index: &usize| &found[index]).collect();
            assert_eq!(turns(&found, repeats), expected, "{repeats} of {}", found.len());
        }
    }

    #[test]
    fn percentiles_interpolate_and_end_at_the_longest() {
        let time = |ms: u32| Milliseconds { network: f64::from(ms), ..Milliseconds::default() };
        let times: Vec<Milliseconds> = (0..=100).rev().map(time).collect();
        let got = percentiles(&times, |time| time.network).unwrap();
        assert_eq!(got, Percentiles { p50: 50.0, p95: 95.0, p99: 99.0, max: 100.0 });
        let got = percentiles(&times[..2], |time| time.network).unwrap();
        assert_eq!(got, Percentiles { p50: 99.5, p95: 99.95, p99: 99.99, max: 100.0 });
        assert!(percentiles(&[], |time| time.total).is_err());
    }

    #[test]
    fn sizes_are_ordered_by_pixels() {
        let got = photographs(9, &[(50, 50), (10, 1000), (60, 40)]);
        assert_eq!(got, Photographs { found: 9, used: 3, smallest: [60, 40], largest: [10, 1000] });
    }
}
