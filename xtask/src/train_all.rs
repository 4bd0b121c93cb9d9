//! `cargo xtask train-all`: every category of a data set trained, evaluated and put into one table.
//!
//! In: a data set (by default the demo set, made on the spot). Out: a folder a run with a folder a
//! category, `table.csv`, `table.md` and `report.html`. What is complete is kept: an interrupted run goes on where it
//! stopped. A category that fails is reported and the others still run.

use std::path::{Path, PathBuf};

use clap::Args;
use simplenet_cli::{
    CliError,
    args::{RunArgs, SettingArgs, layouts},
    commands::{RESULTS, backbone_weights},
    config_file::{ConfigFile, resolve},
    interrupt::Interrupt,
    progress::TerminalProgress,
    settings::weights_source,
};
use simplenet_data::dataset::LayoutId;

use crate::jobs::{Job, Leaves, Runner, baselines, data_root, run_name, select};

mod summary;

/// Flags of `train-all`.
#[derive(Debug, Args)]
pub(crate) struct TrainAllArgs {
    /// A data set of any layout that `simplenet data check` recognises [default: the demo set, made in data/demo].
    #[arg(long, value_name = "PATH")]
    data: Option<PathBuf>,
    /// Its layout, where it is not to be recognised.
    #[arg(long, value_name = "LAYOUT", requires = "data", value_parser = layouts())]
    layout: Option<LayoutId>,
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

/// Runs the task; gives the number of categories (times seeds) that failed.
///
/// # Errors
/// What concerns all categories: no data, unusable settings, no weights, a folder that cannot be written.
pub(crate) fn run(
    args: &TrainAllArgs,
    file: Option<&ConfigFile>,
    progress: &TerminalProgress,
) -> Result<usize, CliError> {
    let root = data_root(args.data.as_deref(), progress)?;
    let categories = select(&root, args.layout, &args.categories)?;
    let base = resolve(&args.settings, None, file)?;
    let baselines = if args.baselines { Some(baselines(base.backbone, args.coreset_share)?) } else { None };
    let weights = backbone_weights(base.backbone, &weights_source(&args.settings), progress)?;
    let named = || Path::new(RESULTS).join(run_name(&root, &base, &args.settings));
    let run_folder = args.out.clone().unwrap_or_else(named);
    std::fs::create_dir_all(&run_folder).map_err(CliError::io("create", &run_folder))?;
    let interrupt = Interrupt::on_signals()?;
    let runner = Runner {
        weights: &weights,
        folder: &run_folder,
        leaves: Leaves::Everything,
        settings: &args.settings,
        run: &args.run,
        fresh: args.fresh,
        interrupt: &interrupt,
        progress,
    };

    let several = args.seeds.len() > 1;
    let mut jobs = vec![];
    for category in &categories {
        for &seed in &args.seeds {
            let name = category.name.clone();
            let (what, out) = if several {
                (format!("{name}, seed {seed}"), run_folder.join(&name).join(format!("seed-{seed}")))
            } else {
                (name.clone(), run_folder.join(&name))
            };
            let mut config = base.clone();
            config.seed = seed;
            jobs.push(Job { what, category: category.clone(), config, baselines, out });
        }
    }
    let mut results: Vec<summary::Entry> = vec![];
    let mut failures: Vec<summary::Failure> = vec![];
    for done in runner.run_all(jobs)? {
        let (category, seed) = (done.job.category.name.clone(), done.job.config.seed);
        match done.outcome {
            Ok(metrics) => results.push(summary::Entry { metrics, out: done.job.out }),
            Err(error) => {
                let reason = if several { format!("seed {seed}: {error}") } else { error.to_string() };
                failures.push(summary::Failure { category, reason });
            }
        }
    }
    summary::write(&run_folder, &root, &base, &results, &failures)?;
    Ok(failures.len())
}
