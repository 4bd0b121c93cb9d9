//! Trainings over the categories of a data set: what `train-all` and `ablate` share.
//!
//! In: jobs, one category with one seed and settings each. Out: a folder a job and its metrics. What is complete is kept:
//! an interrupted run goes on where it stopped. A job that fails is reported and the others still run.

use std::path::{Path, PathBuf};

use simplenet_cli::{
    CliError,
    args::{PresetArg, RegionArgs, RunArgs, SettingArgs},
    commands::{MODEL_FILE, train},
    device,
    evaluation::{METRICS_FILE, MetricsFile, evaluate_category, summarise, write_metrics},
    inspect::PREDICTIONS_FILE,
    interrupt::Interrupt,
    machine::{peak_memory_mib, reset_peak_memory},
    output::TRAINING_FILE,
    progress::TerminalProgress,
    settings::feature_storage,
    tell::{self, Level},
    training_reporter::TrainingReporter,
};
use simplenet_data::{
    dataset::{LayoutId, Place, categories},
    synthetic::{DEMO_CATEGORIES, DemoOptions, write_demo},
};
use simplenet_model::{BackboneId, BackboneWeights, Opened};
use simplenet_train::{
    baselines::{BaselineConfig, evaluate_baselines},
    config::TrainConfig,
    error::TrainError,
    fit::{FitOptions, fit},
};

/// Where the demo set is made.
const DEMO_ROOT: &str = "data/demo";

/// One category with one seed and settings.
pub(crate) struct Job {
    /// What it is called where progress and errors are told.
    pub(crate) what: String,
    /// Where the category lies.
    pub(crate) category: Place,
    /// The settings, the seed among them.
    pub(crate) config: TrainConfig,
    /// The baselines to measure beside it, if any.
    pub(crate) baselines: Option<BaselineConfig>,
    /// Its folder.
    pub(crate) out: PathBuf,
}

/// What a job leaves in its folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leaves {
    /// Model, settings, metrics, predictions and heat maps.
    Everything,
    /// Settings and metrics.
    Numbers,
}

/// A job that is over: its metrics, or why it failed.
pub(crate) struct Done {
    pub(crate) job: Job,
    pub(crate) outcome: Result<MetricsFile, CliError>,
}

/// What all jobs of a run have in common.
pub(crate) struct Runner<'a> {
    /// The backbone's weights.
    pub(crate) weights: &'a BackboneWeights,
    /// The run's folder; the jobs' are below it.
    pub(crate) folder: &'a Path,
    pub(crate) leaves: Leaves,
    /// The flags of the settings; of these the oracle and where features may lie are looked at.
    pub(crate) settings: &'a SettingArgs,
    /// What a training leaves while it runs.
    pub(crate) run: &'a RunArgs,
    /// Trains again what is complete.
    pub(crate) fresh: bool,
    pub(crate) interrupt: &'a Interrupt,
    pub(crate) progress: &'a TerminalProgress,
}

impl Runner<'_> {
    /// Runs the jobs one after another.
    ///
    /// # Errors
    /// An interruption, a GPU that cannot be used. What concerns one job is in its outcome.
    pub(crate) fn run_all(&self, jobs: Vec<Job>) -> Result<Vec<Done>, CliError> {
        let total = jobs.len();
        let opened = device::open(self.settings.device.device, self.progress)?;
        let mut all = vec![];
        for (number, job) in (1..).zip(jobs) {
            self.progress.context(&format!("[{number}/{total}] {}", job.what));
            let outcome = match self.run_job(&job, &opened) {
                Err(error @ CliError::Train(TrainError::Interrupted { .. })) => {
                    self.progress.context("");
                    return Err(error);
                }
                outcome => outcome,
            };
            if let Err(error) = &outcome {
                let text = format!("{}: {error}", job.what);
                tell::line(Level::Error, "error", &text, &tell::NoFields {});
            }
            if let Ok(metrics) = &outcome {
                tell::event(Level::Info, "metrics", &job.what, metrics);
            }
            all.push(Done { job, outcome });
        }
        self.progress.context("");
        Ok(all)
    }

    /// Trains and evaluates one category, or reads what an earlier run with the same settings has left.
    fn run_job(&self, job: &Job, opened: &Opened) -> Result<MetricsFile, CliError> {
        let metrics_path = job.out.join(METRICS_FILE);
        let category = job.category.load(&job.config.preprocess.decode)?;
        let origin = train::Origin::of(&category, self.weights)?;
        if !self.fresh
            && let Some(metrics) = self.complete(job, &origin)
        {
            println!("{}: complete, kept (--fresh trains it again)", job.out.display());
            return Ok(metrics);
        }
        let is_peak_its_own = reset_peak_memory();
        let options = FitOptions {
            storage: feature_storage(&self.settings.storage),
            validation: &category.validation,
            oracle: self.settings.oracle.then_some(category.test.as_slice()),
            keep: Some(train::keep_state(self.run, &job.out, self.fresh)?),
            device: opened.device.clone(),
        };
        let curves = self.run.tensorboard.as_ref().map(|asked| match asked {
            Some(folder) => folder.join(job.out.strip_prefix(self.folder).unwrap_or(&job.out)),
            None => job.out.join(train::TENSORBOARD),
        });
        let reporter = TrainingReporter::new(self.progress, self.interrupt, curves.as_deref())?;
        let mut trained = fit(&job.config, &category.train, self.weights, &options, &reporter)?;
        let left = match self.leaves {
            Leaves::Everything => {
                train::write(&mut trained, &job.config, &category.name, origin, &job.out)?;
                Some(job.out.as_path())
            }
            Leaves::Numbers => {
                train::write_record(&trained, &job.config, &category.name, origin, &job.out)?;
                None
            }
        };
        // Written last: metrics.json says that the folder is complete.
        let whole = RegionArgs::default();
        let (evaluation, _without_maps) =
            evaluate_category(&trained.detector, &category, &job.config, &whole, left, &reporter)?;
        let mut metrics = summarise(
            &trained.detector,
            &category,
            &evaluation,
            job.config.seed,
            Some(&trained.report),
            is_peak_its_own.then(peak_memory_mib).flatten(),
        );
        if let Some(baselines) = &job.baselines {
            let (net, images) = (&trained.net, &evaluation.images);
            let (train, validation, storage) = (&category.train, &category.validation, &options.storage);
            let config = &job.config;
            metrics.baselines = Some(evaluate_baselines(
                baselines, config, net, train, validation, images, storage, &reporter,
            )?);
        }
        write_metrics(&metrics_path, &metrics)?;
        // Not before: an interrupted evaluation would cost a long training.
        if let Some(keep) = &options.keep {
            keep.remove().map_err(CliError::io("remove", &keep.path))?;
        }
        Ok(metrics)
    }

    /// The metrics of a folder that is complete and was made with the same settings from the same data and weights.
    fn complete(&self, job: &Job, origin: &train::Origin) -> Option<MetricsFile> {
        let read = |name: &str| std::fs::read_to_string(job.out.join(name)).ok();
        let metrics: MetricsFile = serde_json::from_str(&read(METRICS_FILE)?).ok()?;
        let config = TrainConfig::from_toml(&read("config.toml")?, Path::new("config.toml")).ok()?;
        let made_from: train::Origin = serde_json::from_str(&read(TRAINING_FILE)?).ok()?;
        let files = match self.leaves {
            Leaves::Everything => &[MODEL_FILE, PREDICTIONS_FILE][..],
            Leaves::Numbers => &[],
        };
        let has_files = files.iter().all(|name| job.out.join(name).is_file());
        let has_oracle = metrics.oracle.is_some() || !self.settings.oracle;
        let has_baselines =
            job.baselines.is_none() || metrics.baselines.as_ref().map(|found| found.config) == job.baselines;
        let complete =
            config == job.config && made_from == *origin && has_files && has_oracle && has_baselines;
        complete.then_some(metrics)
    }
}

/// The settings of the baselines, with PatchCore's share of the training patches if it is asked for.
///
/// # Errors
/// A share that cannot work.
pub(crate) fn baselines(
    backbone: BackboneId,
    coreset_share: Option<f64>,
) -> Result<BaselineConfig, CliError> {
    let mut config = BaselineConfig::for_backbone(backbone);
    if let Some(share) = coreset_share {
        config.patch_core.coreset_share = share;
        config.patch_core.validate()?;
    }
    Ok(config)
}

/// The data set's folder; the demo set is made when none is named.
pub(crate) fn data_root(asked: Option<&Path>, progress: &TerminalProgress) -> Result<PathBuf, CliError> {
    if let Some(root) = asked {
        return Ok(root.to_path_buf());
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

/// The categories of the data set `root` with these names; all without names.
///
/// # Errors
/// A name that is not there.
pub(crate) fn select(
    root: &Path,
    layout: Option<LayoutId>,
    names: &[String],
) -> Result<Vec<Place>, CliError> {
    let all = categories(root, layout)?;
    if names.is_empty() {
        return Ok(all);
    }
    let known: Vec<&str> = all.iter().map(|place| place.name.as_str()).collect();
    if let Some(unknown) = names.iter().find(|name| !known.contains(&name.as_str())) {
        return Err(CliError::Usage(format!(
            "no category `{unknown}` in {}; there are: {}",
            root.display(),
            known.join(", ")
        )));
    }
    Ok(all.into_iter().filter(|place| names.contains(&place.name)).collect())
}

/// What a run over `root` is called: data set, backbone, preset.
pub(crate) fn run_name(root: &Path, config: &TrainConfig, settings: &SettingArgs) -> String {
    let preset = match settings.preset {
        Some(PresetArg::Paper) => "paper",
        _ => "default",
    };
    let root = if root.is_file() { root.with_extension("") } else { root.to_path_buf() };
    format!("{}-{}-{preset}", file_name(&root), config.backbone)
}

/// The last part of a path.
fn file_name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_else(|| "data".into())
}
