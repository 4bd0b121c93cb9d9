//! `cargo xtask train-all`: every category of a data set trained, evaluated and put into one table.
//!
//! In: a root in MVTec layout (by default the demo set, made on the spot). Out: a folder a run with a folder a
//! category, `table.csv`, `table.md` and `report.html`. What is complete is kept: an interrupted run goes on where it
//! stopped. A category that fails is reported and the others still run.

use std::path::{Path, PathBuf};

use clap::Args;
use simplenet_cli::{
    CliError,
    args::{PresetArg, RunArgs, SettingArgs},
    commands::{MODEL_FILE, RESULTS, backbone_weights, train},
    evaluation::{METRICS_FILE, MetricsFile, evaluate_category, summarise, write_metrics},
    inspect::PREDICTIONS_FILE,
    interrupt::Interrupt,
    machine::{peak_memory_mib, reset_peak_memory},
    progress::TerminalProgress,
    settings::{feature_storage, resolve, weights_source},
    training_reporter::TrainingReporter,
};
use simplenet_data::{
    dataset::mvtec,
    synthetic::{DEMO_CATEGORIES, DemoOptions, write_demo},
};
use simplenet_model::{BackboneId, BackboneWeights};
use simplenet_train::{
    baselines::{BaselineConfig, evaluate_baselines},
    config::TrainConfig,
    error::TrainError,
    fit::{FitOptions, fit},
};

mod summary;

/// Where the demo set is made.
const DEMO_ROOT: &str = "data/demo";

/// Flags of `train-all`.
#[derive(Debug, Args)]
pub(crate) struct TrainAllArgs {
    /// A data set in MVTec layout, a folder a category [default: the demo set, made in data/demo].
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Only these categories.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    categories: Vec<String>,
    /// Seeds; several give mean and standard deviation.
    #[arg(long, value_name = "SEEDS", value_delimiter = ',', default_value = "0")]
    seeds: Vec<u64>,
    /// The run's folder [default: results/DATASET-BACKBONE-PRESET].
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Train everything again, complete or not.
    #[arg(long)]
    fresh: bool,
    /// Also measure PaDiM and PatchCore on the same features, beside SimpleNet.
    #[arg(long)]
    baselines: bool,
    /// Share of the training patches that PatchCore's memory bank keeps; the official scripts have 0.1
    /// [default: 0.01].
    #[arg(long, value_name = "SHARE", requires = "baselines")]
    coreset_share: Option<f64>,
    /// The settings.
    #[command(flatten)]
    settings: SettingArgs,
    /// What the run leaves while it runs; with a folder for curves, a category has a folder in it.
    #[command(flatten)]
    run: RunArgs,
}

impl TrainAllArgs {
    /// The baselines to measure, if any.
    fn baselines(&self, backbone: BackboneId) -> Result<Option<BaselineConfig>, CliError> {
        if !self.baselines {
            return Ok(None);
        }
        let mut config = BaselineConfig::for_backbone(backbone);
        if let Some(share) = self.coreset_share {
            config.patch_core.coreset_share = share;
            config.patch_core.validate()?;
        }
        Ok(Some(config))
    }
}

/// One category with one seed.
struct Job<'a> {
    category: &'a Path,
    config: TrainConfig,
    baselines: Option<BaselineConfig>,
    out: PathBuf,
}

/// Runs the task; gives the number of categories (times seeds) that failed.
///
/// # Errors
/// What concerns all categories: no data, unusable settings, no weights, a folder that cannot be written.
pub(crate) fn run(args: &TrainAllArgs, progress: &TerminalProgress) -> Result<usize, CliError> {
    let root = data_root(args, progress)?;
    let categories = select(&root, &args.categories)?;
    let base = resolve(&args.settings, None)?;
    let baselines = args.baselines(base.backbone)?;
    let weights = backbone_weights(base.backbone, &weights_source(&args.settings), progress)?;
    let run_folder = args.out.clone().unwrap_or_else(|| default_run_folder(&root, &base, &args.settings));
    std::fs::create_dir_all(&run_folder).map_err(CliError::io("create", &run_folder))?;
    let interrupt = Interrupt::on_signals()?;

    let mut results: Vec<summary::Entry> = vec![];
    let mut failures: Vec<summary::Failure> = vec![];
    let total = categories.len() * args.seeds.len();
    for category in &categories {
        for &seed in &args.seeds {
            let name = file_name(category);
            let out = match args.seeds.len() {
                1 => run_folder.join(&name),
                _ => run_folder.join(&name).join(format!("seed-{seed}")),
            };
            let mut config = base.clone();
            config.seed = seed;
            let job = Job { category, config, baselines, out };
            let number = results.len() + failures.len() + 1;
            let what = if args.seeds.len() == 1 { name.clone() } else { format!("{name}, seed {seed}") };
            progress.context(&format!("[{number}/{total}] {what}"));
            match run_job(&job, &weights, args, &run_folder, &interrupt, progress) {
                Ok(metrics) => results.push(summary::Entry { metrics, out: job.out }),
                Err(error @ CliError::Train(TrainError::Interrupted { .. })) => {
                    progress.context("");
                    return Err(error);
                }
                Err(error) => {
                    eprintln!("error: {what}: {error}");
                    let reason = if args.seeds.len() == 1 {
                        error.to_string()
                    } else {
                        format!("seed {seed}: {error}")
                    };
                    failures.push(summary::Failure { category: name, reason });
                }
            }
        }
    }
    progress.context("");
    summary::write(&run_folder, &root, &base, &results, &failures)?;
    Ok(failures.len())
}

/// The data set's folder; the demo set is made when none is named.
fn data_root(args: &TrainAllArgs, progress: &TerminalProgress) -> Result<PathBuf, CliError> {
    if let Some(root) = &args.data {
        return Ok(root.clone());
    }
    let root = PathBuf::from(DEMO_ROOT);
    let missing = DEMO_CATEGORIES.iter().filter(|name| !root.join(name).is_dir()).count();
    if missing > 0 {
        println!("no --data: making {missing} demo categories in {DEMO_ROOT}");
    }
    write_demo(&root, &DemoOptions::default(), &|done, total| {
        progress.set("drawing demo images", done, total)
    })?;
    Ok(root)
}

fn select(root: &Path, names: &[String]) -> Result<Vec<PathBuf>, CliError> {
    let all = mvtec::list_categories(root)?;
    if names.is_empty() {
        return Ok(all);
    }
    let known: Vec<String> = all.iter().map(|path| file_name(path)).collect();
    if let Some(unknown) = names.iter().find(|name| !known.contains(name)) {
        return Err(CliError::Usage(format!(
            "no category `{unknown}` in {}; there are: {}",
            root.display(),
            known.join(", ")
        )));
    }
    Ok(all.into_iter().filter(|path| names.contains(&file_name(path))).collect())
}

fn default_run_folder(root: &Path, config: &TrainConfig, settings: &SettingArgs) -> PathBuf {
    let preset = match settings.preset {
        Some(PresetArg::Paper) => "paper",
        _ => "default",
    };
    Path::new(RESULTS).join(format!("{}-{}-{preset}", file_name(root), config.backbone))
}

fn file_name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_else(|| "data".into())
}

/// Trains and evaluates one category, or reads what an earlier run with the same settings has left.
fn run_job(
    job: &Job<'_>,
    weights: &BackboneWeights,
    args: &TrainAllArgs,
    run_folder: &Path,
    interrupt: &Interrupt,
    progress: &TerminalProgress,
) -> Result<MetricsFile, CliError> {
    let metrics_path = job.out.join(METRICS_FILE);
    let category = mvtec::load_category_with(job.category, &job.config.preprocess.decode)?;
    let origin = train::Origin::of(&category, weights)?;
    if !args.fresh
        && let Some(metrics) = complete(job, &origin, args.settings.oracle)
    {
        println!("{}: complete, kept (--fresh trains it again)", job.out.display());
        return Ok(metrics);
    }
    reset_peak_memory();
    let curves = args.run.tensorboard.as_ref().map(|asked| match asked {
        Some(folder) => folder.join(job.out.strip_prefix(run_folder).unwrap_or(&job.out)),
        None => job.out.join(train::TENSORBOARD),
    });
    let reporter = TrainingReporter::new(progress, interrupt, curves.as_deref())?;
    let options = FitOptions {
        storage: feature_storage(&args.settings.storage),
        oracle: args.settings.oracle.then_some(category.test.as_slice()),
        keep: Some(train::keep_state(&args.run, &job.out, args.fresh)?),
    };
    let mut trained = fit(&job.config, &category.train, weights, &options, &reporter)?;
    train::write(&mut trained, &job.config, &category.name, origin, &job.out)?;
    // Written last: metrics.json says that the folder is complete.
    let evaluation = evaluate_category(&trained.detector, &category, &job.config, Some(&job.out), &reporter)?;
    let mut metrics = summarise(
        &trained.detector,
        &category,
        &evaluation,
        job.config.seed,
        Some(&trained.report),
        peak_memory_mib(),
    );
    if let Some(baselines) = &job.baselines {
        let (net, images) = (&trained.net, &evaluation.images);
        let (train, storage) = (&category.train, &options.storage);
        metrics.baselines =
            Some(evaluate_baselines(baselines, &job.config, net, train, images, storage, &reporter)?);
    }
    write_metrics(&metrics_path, &metrics)?;
    // Not before: an interrupted evaluation would cost a long training.
    if let Some(keep) = &options.keep {
        keep.remove().map_err(CliError::io("remove", &keep.path))?;
    }
    Ok(metrics)
}

/// The metrics of a folder that is complete and was made with the same settings from the same data and weights.
fn complete(job: &Job<'_>, origin: &train::Origin, oracle: bool) -> Option<MetricsFile> {
    let read = |name: &str| std::fs::read_to_string(job.out.join(name)).ok();
    let metrics: MetricsFile = serde_json::from_str(&read(METRICS_FILE)?).ok()?;
    let config = TrainConfig::from_toml(&read("config.toml")?, Path::new("config.toml")).ok()?;
    let made_from: train::Origin = serde_json::from_str(&read(train::TRAINING_FILE)?).ok()?;
    let files = [MODEL_FILE, PREDICTIONS_FILE].iter().all(|name| job.out.join(name).is_file());
    let has_oracle = metrics.oracle.is_some() || !oracle;
    let has_baselines =
        job.baselines.is_none() || metrics.baselines.as_ref().map(|found| found.config) == job.baselines;
    let complete = config == job.config && made_from == *origin && files && has_oracle && has_baselines;
    complete.then_some(metrics)
}
