//! What a person types: verbs and flags, as clap reads them. Nothing is decided here; `commands/` resolves and runs.

mod data;
mod global;
mod inference;
mod interchange;
mod model;
pub(crate) mod parse;
mod shell;
mod train;

use clap::{Args, Parser, Subcommand};
use simplenet_model::DeviceChoice;

pub use data::*;
pub use global::*;
pub use inference::*;
pub use interchange::*;
pub use model::*;
pub use shell::*;
pub use train::*;

/// Image anomaly detection for industrial inspection: train on photographs of good parts, then inspect new ones.
#[derive(Debug, Parser)]
#[command(name = "simplenet", version, propagate_version = true, arg_required_else_help = true)]
#[command(
    after_help = "Exit codes: 0 all went well, 1 something failed (an image, a file, a setting), 2 the command line cannot be read, 130 stopped by Ctrl-C."
)]
pub struct Cli {
    /// Flags of every verb.
    #[command(flatten)]
    pub global: GlobalArgs,
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Train a detector on photographs of good parts.
    Train(TrainArgs),
    /// Measure a detector on a labelled test set.
    Eval(EvalArgs),
    /// Inspect photographs: verdict, heat map, regions and time of each.
    Infer(InferArgs),
    /// Set a model's threshold anew from photographs of good parts, with a band of parts for review; nothing is trained.
    Calibrate(CalibrateArgs),
    /// Show what is in a model file.
    Info(ModelArgs),
    /// Run the check that a model file carries: same scores on this machine?
    Verify(ModelArgs),
    /// Measure how long an inspection takes on this machine: each part, images a second, memory.
    Bench(BenchArgs),
    /// Make a model file of the official code's checkpoint.
    ///
    /// Where it was trained with other settings than the official script's (widths, layers, image size), these stand in the file of
    /// --config, over the paper preset.
    Import(ImportArgs),
    /// Write a model for other programs: as an ONNX graph, or as the official code's checkpoint.
    Export(ExportArgs),
    /// Look at a data set before a training does.
    Data(DataArgs),
    /// Write the script by which a shell completes this program's verbs and flags.
    Completions(CompletionsArgs),
    /// Write this program's manual pages.
    Man(ManArgs),
}

/// Where to compute; every verb that runs a network takes it.
#[derive(Debug, Clone, Copy, Default, Args)]
pub struct DeviceArgs {
    /// Where to compute: cpu, cuda (the first GPU of NVIDIA's), cuda:N (GPU number N, from 0), or auto (the first GPU where it
    /// can be used, else the CPU, which is then said). The default is cpu in a build without CUDA, auto in one with it.
    #[arg(long, value_name = "DEVICE", default_value_t)]
    pub device: DeviceChoice,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn definition_is_consistent() {
        Cli::command().debug_assert();
    }
}
