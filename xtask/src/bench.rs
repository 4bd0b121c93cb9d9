//! `cargo xtask bench`: how long one image takes from the stem to the patch scores, and how long other engines take for
//! a part of that.
//!
//! In: a backbone's id. Out: a Markdown table on standard output and every single time in `target/bench/results.json`,
//! in milliseconds. All methods of a network take turns: a round is one turn of every method, and each round begins
//! with another one; or, without a pause, one method runs back to back after the other. Medians over the rounds of one call
//! are compared, never the numbers of two calls.

use std::{cell::RefCell, path::Path, path::PathBuf, thread::sleep, time::Duration};

use clap::Args;
use simplenet_cli::{CliError, output::atomic, progress::TerminalProgress};
use simplenet_inference::timed;
use simplenet_model::{BackboneId, CompiledExtractor, ModelError, Precision, Predictor, PredictorOptions};

mod peers;
mod report;
mod subject;

use peers::Worker;
use report::{Report, Row};
use subject::Subject;

/// What goes from here to the peers, and the results.
const FOLDER: &str = "target/bench";
/// Rounds before the first that counts: pools and lazily made buffers settle.
const WARM_UP: usize = 3;
/// Milliseconds between two methods, so that no idle thread of the one before still spins when the next begins: ONNX
/// Runtime's were seen to spin for 36 ms, PyTorch's for 10.
const PAUSE_MS: u64 = 100;

/// Flags of `bench`.
#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    /// Also time OpenVINO, ONNX Runtime and PyTorch, in Python, on the same weights and image. They compute the two
    /// feature maps only. Needs `pip install -r tests/peers/requirements-engines.txt`.
    #[arg(long)]
    peers: bool,
    /// The Python that has the peers' packages.
    #[arg(long, value_name = "PATH", default_value = "python3", requires = "peers")]
    python: PathBuf,
    /// Only these backbones. A ResNet gets the paper's preset, another one the default preset. The weights are random but
    /// for EfficientNet-Lite0's. The peers know the ResNets and efficientnet-lite0.
    #[arg(
        long,
        value_name = "ID",
        value_delimiter = ',',
        default_values_t = [BackboneId::WideResNet50x2, BackboneId::EfficientNetLite0]
    )]
    backbone: Vec<BackboneId>,
    /// Rounds that count; a round is one turn of every method.
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Milliseconds between two turns, in which idle threads of the method before stop spinning. With 0 there are no turns:
    /// all runs of a method are back to back, as on a line without a pause between parts, and another method begins
    /// 100 ms later.
    #[arg(long, value_name = "N", default_value_t = PAUSE_MS)]
    pause_ms: u64,
}

/// Something that is timed.
struct Method<'a> {
    name: String,
    role: Role,
    /// What one run computes.
    computes: &'static str,
    /// How far its numbers are from those of our reference network, over the largest of these; none for that path itself.
    deviation: Option<f64>,
    /// One run, in milliseconds.
    run: Box<dyn FnMut() -> Result<f64, CliError> + 'a>,
}

/// What a method is compared with.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Role {
    /// Our path of plain layers: others are held against its numbers.
    Reference,
    /// Our compiled network, and the engine of the same kind.
    Ours { precision: &'static str, rival: &'static str },
    /// Another engine.
    Peer { engine: String },
}

/// A way of ours from the image to the patch scores.
type Scores<'a> = Box<dyn FnMut() -> Result<Vec<f32>, ModelError> + 'a>;

/// Runs the task.
///
/// # Errors
/// With `--peers`: no Python or a package that is missing, a peer whose numbers are not ours.
pub(crate) fn run(args: &BenchArgs, progress: &TerminalProgress) -> Result<(), CliError> {
    let rounds = args.rounds as usize;
    let pause = Duration::from_millis(args.pause_ms);
    let mut report = Report::new(WARM_UP, rounds, args.pause_ms);
    for &id in &args.backbone {
        progress.note(&format!("{id}: preparing"));
        let folder = Path::new(FOLDER).join(id.name());
        let subject = Subject::new(id, &folder)?;
        let worker;
        let mut methods = ours(&subject)?;
        if args.peers {
            let (started, engines) = Worker::start(&args.python, id, &folder)?;
            worker = RefCell::new(started);
            methods.extend(engines.into_iter().map(|engine| peer(engine, &worker)));
        }
        let times = match args.pause_ms {
            0 => back_to_back(&mut methods, rounds, &|done, all| {
                progress.set(&format!("{id}: methods"), done, all);
            }),
            _ => interleave(&mut methods, rounds, pause, &|done| {
                progress.set(&format!("{id}: rounds"), done, WARM_UP + rounds);
            }),
        }?;
        let row = |(method, ms): (Method<'_>, Vec<f64>)| Row::new(method, ms);
        report.add(&subject, methods.into_iter().zip(times).map(row).collect());
    }
    println!("{}", report.to_markdown());
    let path = Path::new(FOLDER).join("results.json");
    atomic::write_json(&path, &report)?;
    println!("every time: {}", path.display());
    Ok(())
}

/// Our methods: the reference network first, whose scores the others are held against. int8 gets the ranges that the image itself
/// shows.
fn ours(subject: &Subject) -> Result<Vec<Method<'_>>, CliError> {
    let Subject { net, side, image, .. } = subject;
    let pixels = image.flatten_all().and_then(|flat| flat.to_vec1::<f32>()).map_err(ModelError::from)?;
    let extractor = CompiledExtractor::compile(net.extractor(), *side, *side, &PredictorOptions::default())?;
    let ranges = extractor.observe(&pixels)?;
    drop(extractor);
    let mut paths: Vec<(String, Role, Scores<'_>)> = vec![(
        "simplenet, `SimpleNet` (candle), f32".into(),
        Role::Reference,
        Box::new(|| Ok(net.patch_scores(image)?.flatten_all()?.to_vec1::<f32>()?)),
    )];
    let precisions = [
        (Precision::F32, "openvino-f32"),
        (Precision::Bf16, "openvino-bf16"),
        (Precision::Int8(ranges), "openvino-bf16"),
    ];
    for (precision, rival) in precisions {
        let name = precision.name();
        let mut options = PredictorOptions::default();
        options.precision = precision;
        let (predictor, pixels) = (Predictor::compile(net, *side, *side, &options)?, pixels.clone());
        paths.push((
            format!("simplenet, `Predictor`, {name}"),
            Role::Ours { precision: name, rival },
            Box::new(move || predictor.patch_scores(&pixels)),
        ));
    }
    let mut reference: Option<Vec<f32>> = None;
    let mut methods = vec![];
    for (name, role, mut scores) in paths {
        let got = scores()?;
        let deviation = reference.as_ref().map(|want| deviation(&got, want));
        reference.get_or_insert(got);
        methods.push(Method {
            name,
            role,
            computes: "image to patch scores",
            deviation,
            run: Box::new(move || {
                let (scores, time) = timed(&mut scores);
                std::hint::black_box(scores?);
                Ok(time.as_secs_f64() * 1e3)
            }),
        });
    }
    Ok(methods)
}

/// A method that runs in the worker.
fn peer(engine: peers::Engine, worker: &RefCell<Worker>) -> Method<'_> {
    let peers::Engine { name, label, deviation } = engine;
    Method {
        name: label,
        role: Role::Peer { engine: name.clone() },
        computes: "backbone to the two taps only",
        deviation: Some(deviation),
        run: Box::new(move || worker.borrow_mut().run(&name)),
    }
}

/// Runs all methods in turns; gives the milliseconds of each. A turn is two runs, of which the second counts: the first
/// wakes the method's threads and fills the caches. `progress` gets the number of rounds that are done.
fn interleave(
    methods: &mut [Method<'_>],
    rounds: usize,
    pause: Duration,
    progress: &dyn Fn(usize),
) -> Result<Vec<Vec<f64>>, CliError> {
    let mut times = vec![Vec::with_capacity(rounds); methods.len()];
    for round in 0..WARM_UP + rounds {
        progress(round);
        for turn in 0..methods.len() {
            let i = (round + turn) % methods.len();
            sleep(pause);
            (methods[i].run)()?;
            let ms = (methods[i].run)()?;
            if round >= WARM_UP {
                times[i].push(ms);
            }
        }
    }
    progress(WARM_UP + rounds);
    Ok(times)
}

/// Runs one method after the other, each back to back; gives the milliseconds of each. `progress` gets the number of methods
/// that are done, and of all.
fn back_to_back(
    methods: &mut [Method<'_>],
    rounds: usize,
    progress: &dyn Fn(usize, usize),
) -> Result<Vec<Vec<f64>>, CliError> {
    let mut times = vec![];
    let all = methods.len();
    for (done, method) in methods.iter_mut().enumerate() {
        progress(done, all);
        sleep(Duration::from_millis(PAUSE_MS));
        let runs = (0..WARM_UP + rounds).map(|_| (method.run)()).collect::<Result<Vec<f64>, _>>()?;
        times.push(runs[WARM_UP..].to_vec());
    }
    progress(all, all);
    Ok(times)
}

/// The largest difference over the largest magnitude of `want`; infinite where the lengths differ.
fn deviation(got: &[f32], want: &[f32]) -> f64 {
    if got.len() != want.len() {
        return f64::INFINITY;
    }
    let largest = |values: &mut dyn Iterator<Item = f64>| values.fold(0.0, |a: f64, b| a.max(b.abs()));
    let difference = largest(&mut got.iter().zip(want).map(|(a, b)| f64::from(*a) - f64::from(*b)));
    difference / largest(&mut want.iter().map(|b| f64::from(*b)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Method `i`, which notes its runs in `order` and takes as many milliseconds as there were runs so far.
    fn method(order: &RefCell<Vec<usize>>, i: usize) -> Method<'_> {
        Method {
            name: i.to_string(),
            role: Role::Reference,
            computes: "",
            deviation: None,
            run: Box::new(move || {
                order.borrow_mut().push(i);
                Ok(order.borrow().len() as f64)
            }),
        }
    }

    #[test]
    fn every_round_gives_every_method_a_turn_and_begins_with_another_one() {
        let order = RefCell::new(vec![]);
        let mut methods = [method(&order, 0), method(&order, 1)];
        let times = interleave(&mut methods, 2, Duration::from_millis(1), &|_| {}).unwrap();
        assert_eq!(order.borrow()[..8], [0, 0, 1, 1, 1, 1, 0, 0]);
        // The first three rounds, twelve runs, do not count; nor does the first run of a turn.
        assert_eq!(times, [[16.0, 18.0], [14.0, 20.0]]);
    }

    #[test]
    fn without_a_pause_a_method_runs_back_to_back() {
        let order = RefCell::new(vec![]);
        let times = back_to_back(&mut [method(&order, 0), method(&order, 1)], 2, &|_, _| {}).unwrap();
        assert_eq!(order.borrow()[..], [0, 0, 0, 0, 0, 1, 1, 1, 1, 1]);
        assert_eq!(times, [[4.0, 5.0], [9.0, 10.0]]);
    }

    #[test]
    fn deviations() {
        assert_eq!(deviation(&[1.0, -4.5], &[1.0, -4.0]), 0.125);
        assert_eq!(deviation(&[1.0], &[1.0, 2.0]), f64::INFINITY);
    }
}
