//! `cargo xtask ablate`: what each part of the method is worth: the paper's ablations, and those of what is ours.
//!
//! In: a data set (by default the demo set, made on the spot) and base settings. Out: a folder a run with a
//! folder a variant, category and seed, `ablation.csv` and `ablation.md`. Each table changes one setting of the base;
//! PaDiM and PatchCore are measured once a category and seed, on the base's features. What is complete is kept.

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
use simplenet_train::config::TrainConfig;

use crate::jobs::{Job, Leaves, Runner, baselines, data_root, run_name, select};

mod report;
mod tables;

use tables::Ablation;

/// Folder of the base settings' results.
const BASE: &str = "base";

/// Flags of `ablate`.
#[derive(Debug, Args)]
pub(crate) struct AblateArgs {
    /// A data set of any layout that `simplenet data check` recognises [default: the demo set, made in data/demo].
    #[arg(long, value_name = "PATH")]
    data: Option<PathBuf>,
    /// Its layout, where it is not to be recognised.
    #[arg(long, value_name = "LAYOUT", requires = "data", value_parser = layouts())]
    layout: Option<LayoutId>,
    /// Only these categories.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    categories: Vec<String>,
    /// Seeds; what variants differ by is often less than what seeds do.
    #[arg(long, value_name = "SEEDS", value_delimiter = ',', default_value = "0,1,2")]
    seeds: Vec<u64>,
    /// Only these tables: adaptor, loss, levels, patch-size, sigma, position, discriminators, image-score.
    #[arg(long, value_name = "TABLES", value_delimiter = ',')]
    only: Vec<String>,
    /// The run's folder [default: results/ablate-DATASET-BACKBONE-PRESET].
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Train everything again, complete or not.
    #[arg(long)]
    fresh: bool,
    /// Share of the training patches that PatchCore's memory bank keeps; the official scripts have 0.1
    /// [default: 0.01].
    #[arg(long, value_name = "SHARE")]
    coreset_share: Option<f64>,
    /// The base settings.
    #[command(flatten)]
    settings: SettingArgs,
    /// What a training leaves while it runs; with a folder for curves, each has a folder in it.
    #[command(flatten)]
    run: RunArgs,
}

/// Settings that are trained once, whichever tables show them.
struct Subject {
    /// Its folder in the run's.
    folder: String,
    what: String,
    config: TrainConfig,
}

/// Runs the task; gives the number of trainings that failed.
///
/// # Errors
/// What concerns all trainings: no data, unusable settings, an unknown table, no weights, a folder that cannot be written.
pub(crate) fn run(
    args: &AblateArgs,
    file: Option<&ConfigFile>,
    progress: &TerminalProgress,
) -> Result<usize, CliError> {
    let root = data_root(args.data.as_deref(), progress)?;
    let categories = select(&root, args.layout, &args.categories)?;
    let base = resolve(&args.settings, None, file)?;
    let ablations = chosen(tables::ablations(&base), &args.only)?;
    let subjects = subjects(&base, &ablations)?;
    let of_base = baselines(base.backbone, args.coreset_share)?;
    let weights = backbone_weights(base.backbone, &weights_source(&args.settings), progress)?;
    let named = || Path::new(RESULTS).join(format!("ablate-{}", run_name(&root, &base, &args.settings)));
    let run_folder = args.out.clone().unwrap_or_else(named);
    std::fs::create_dir_all(&run_folder).map_err(CliError::io("create", &run_folder))?;
    let interrupt = Interrupt::on_signals()?;
    let runner = Runner {
        weights: &weights,
        folder: &run_folder,
        leaves: Leaves::Numbers,
        settings: &args.settings,
        run: &args.run,
        fresh: args.fresh,
        interrupt: &interrupt,
        progress,
    };

    // All variants of one category and seed together: they have the same features, but for what changes these.
    let mut jobs = vec![];
    for category in &categories {
        for &seed in &args.seeds {
            for (index, subject) in subjects.iter().enumerate() {
                let name = category.name.clone();
                jobs.push(Job {
                    what: format!("{name}, seed {seed}: {}", subject.what),
                    category: category.clone(),
                    config: TrainConfig { seed, ..subject.config.clone() },
                    baselines: (index == 0).then_some(of_base),
                    out: run_folder.join(&subject.folder).join(name).join(format!("seed-{seed}")),
                });
            }
        }
    }
    let done = runner.run_all(jobs)?;
    let failed = done.iter().filter(|done| done.outcome.is_err()).count();
    report::write(&run_folder, &root, &base, &ablations, &done)?;
    Ok(failed)
}

/// The tables that `--only` names; all without names.
fn chosen(all: Vec<Ablation>, names: &[String]) -> Result<Vec<Ablation>, CliError> {
    let keys: Vec<&str> = all.iter().map(|ablation| ablation.key).collect();
    if let Some(unknown) = names.iter().find(|name| !keys.contains(&name.as_str())) {
        return Err(CliError::Usage(format!("no table `{unknown}`; --only takes: {}", keys.join(", "))));
    }
    let wanted = |ablation: &Ablation| names.is_empty() || names.iter().any(|name| name == ablation.key);
    Ok(all.into_iter().filter(wanted).collect())
}

/// What is trained: the base first, then every variant that is neither the base nor in an earlier table.
fn subjects(base: &TrainConfig, ablations: &[Ablation]) -> Result<Vec<Subject>, CliError> {
    let mut subjects = vec![Subject { folder: BASE.into(), what: BASE.into(), config: base.clone() }];
    for ablation in ablations {
        for variant in &ablation.variants {
            variant.config.validate()?;
            if subjects.iter().all(|subject| subject.config != variant.config) {
                subjects.push(Subject {
                    folder: format!("{}-{}", ablation.key, slug(&variant.name)),
                    what: format!("{}, {}", ablation.key, variant.name),
                    config: variant.config.clone(),
                });
            }
        }
    }
    Ok(subjects)
}

/// A name as a folder's: letters, digits and points, with one `-` for what lies between.
fn slug(name: &str) -> String {
    let words = name.split(|c: char| !c.is_ascii_alphanumeric() && c != '.');
    words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join("-")
}
