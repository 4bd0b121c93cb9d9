//! What a person types: verbs and flags, as clap reads them. Nothing is decided here; `commands/` resolves and runs.

use std::path::PathBuf;

use bytesize::ByteSize;
use clap::{Args, Parser, Subcommand, ValueEnum};
use simplenet_model::{BackboneId, DeviceChoice};
use simplenet_train::InferencePrecision;

use crate::output::anomaly_map_file::MapFormat;

/// Image anomaly detection for industrial inspection: train on photographs of good parts, then inspect new ones.
#[derive(Debug, Parser)]
#[command(name = "simplenet", version, propagate_version = true, arg_required_else_help = true)]
#[command(
    after_help = "Exit codes: 0 all went well, 1 something failed (an image, a file, a setting), 2 the command line cannot be read, 130 stopped by Ctrl-C."
)]
pub struct Cli {
    /// Processor threads to use; all by default.
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub threads: Option<u16>,
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
}

/// Flags of `train`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("source").required(true).args(["data", "normal"]))]
pub struct TrainArgs {
    /// A category folder in MVTec layout (train/good, test/…, ground_truth/…).
    #[arg(long, value_name = "CATEGORY_DIR")]
    pub data: Option<PathBuf>,
    /// A plain folder of photographs of good parts; nothing else is needed.
    #[arg(long, value_name = "DIR")]
    pub normal: Option<PathBuf>,
    /// Where the model and its record go [default: results/NAME, NAME being that of the data folder].
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// The settings.
    #[command(flatten)]
    pub settings: SettingArgs,
    /// Random seed [default: 0].
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Begin anew, also where an interrupted training could go on.
    #[arg(long)]
    pub fresh: bool,
    /// What the run leaves while it runs.
    #[command(flatten)]
    pub run: RunArgs,
}

/// What a training leaves while it runs; `train-all` takes the same.
#[derive(Debug, Clone, Args)]
pub struct RunArgs {
    /// Write TensorBoard event files (loss, p_true, p_fake, rates of every step) into this folder
    /// [default: tensorboard/ beside the model].
    #[arg(long, value_name = "DIR", num_args = 0..=1)]
    pub tensorboard: Option<Option<PathBuf>>,
    /// Keep the state of the training at most every so many seconds: what a kill can cost.
    #[arg(long, value_name = "SECONDS", default_value_t = 10.0, value_parser = parse_seconds)]
    pub save_every: f64,
}

/// Flags that change the training settings; `train-all` takes the same.
#[derive(Debug, Clone, Default, Args)]
pub struct SettingArgs {
    /// Network that gives the features: efficientnet-lite0 (embedded, fast), wide-resnet50-2 (the paper's,
    /// downloaded); also resnet18, resnet50, resnet101, wide-resnet101-2, dinov2-vits14 (downloaded), and
    /// efficientnet-lite1, efficientnet-lite2 (with --weights) [default: efficientnet-lite0].
    #[arg(long, value_name = "ID")]
    pub backbone: Option<BackboneId>,
    /// Backbone weights from a file (.safetensors or the source framework's .pth) instead of the embedded or downloaded ones.
    #[arg(long, value_name = "FILE")]
    pub weights: Option<PathBuf>,
    /// Named settings to start from [default: default].
    #[arg(long, value_enum)]
    pub preset: Option<PresetArg>,
    /// Settings from a TOML file, over the preset's; flags win over the file.
    #[arg(long, value_name = "FILE.toml")]
    pub config: Option<PathBuf>,
    /// Passes over the training patches.
    #[arg(long, value_name = "N")]
    pub epochs: Option<usize>,
    /// Size of the network's input, in pixels: 288, or WIDTHxHEIGHT. The whole image is resized to it.
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub size: Option<(u32, u32)>,
    /// Inspect only the centre: resize the shorter side to the larger of `--size`'s sides times
    /// 329/288, then cut `--size` out.
    #[arg(long)]
    pub centre_crop: bool,
    /// Standard deviation of the training noise.
    #[arg(long, value_name = "SIGMA")]
    pub noise_sigma: Option<f64>,
    /// Share of the good images held out for the threshold, 0 for none.
    #[arg(long, value_name = "SHARE")]
    pub held_out: Option<f64>,
    /// Share of good parts that may be rejected; sets the threshold.
    #[arg(long, value_name = "SHARE")]
    pub false_reject_rate: Option<f64>,
    /// Also report the epoch that is best on the test set (for comparing with papers that choose so; never used).
    #[arg(long)]
    pub oracle: bool,
    /// Where features lie.
    #[command(flatten)]
    pub storage: StorageArgs,
    /// The device.
    #[command(flatten)]
    pub device: DeviceArgs,
}

/// Where to compute; every verb that runs a network takes it.
#[derive(Debug, Clone, Copy, Default, Args)]
pub struct DeviceArgs {
    /// Where to compute: cpu, cuda (the first GPU of NVIDIA's), cuda:N (GPU number N, from 0), or auto (the first GPU where it
    /// can be used, else the CPU, which is then said). The default is cpu in a build without CUDA, auto in one with it.
    #[arg(long, value_name = "DEVICE", default_value_t)]
    pub device: DeviceChoice,
}

/// Flags about memory and disk: they change no bit of a result.
#[derive(Debug, Clone, Default, Args)]
pub struct StorageArgs {
    /// Most memory for the training features, such as 2GB or 500MiB; what is beyond it lies in a file while training runs
    /// [default: half of the memory that is free].
    #[arg(long, value_name = "SIZE")]
    pub memory_limit: Option<ByteSize>,
    /// Folder that keeps computed features from run to run, so that a second training of the same photographs starts at
    /// once [default: simplenet/features in the user's cache folder].
    #[arg(long, value_name = "DIR")]
    pub feature_cache: Option<PathBuf>,
    /// Most bytes of that folder; features that were not used for longest are removed [default: 10GB].
    #[arg(long, value_name = "SIZE")]
    pub feature_cache_limit: Option<ByteSize>,
    /// Keep no features from run to run.
    #[arg(long, conflicts_with_all = ["feature_cache", "feature_cache_limit"])]
    pub no_feature_cache: bool,
}

/// Named settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PresetArg {
    /// This project's recommendation: whole image, scaled features, decaying rate, threshold.
    Default,
    /// The official code's settings, to compare with published numbers.
    Paper,
}

/// Flags of `eval`.
#[derive(Debug, Args)]
pub struct EvalArgs {
    /// The model file.
    #[arg(long, value_name = "FILE")]
    pub model: PathBuf,
    /// A category folder in MVTec layout with a test set.
    #[arg(long, value_name = "CATEGORY_DIR")]
    pub data: PathBuf,
    /// Write the metrics as JSON here.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Also write predictions.jsonl, heat maps and report.html into this folder.
    #[arg(long, value_name = "DIR")]
    pub output: Option<PathBuf>,
    /// The precision and the device.
    #[command(flatten)]
    pub inference: InferenceArgs,
    /// The batch.
    #[command(flatten)]
    pub batch: BatchArgs,
}

/// What `eval`, `infer` and `bench` have in common.
#[derive(Debug, Clone, Copy, Args)]
pub struct InferenceArgs {
    /// Numbers to compute in. bf16 is faster than f32 where the CPU has AVX-512 BF16, int8 where it has VNNI; GPUs have f16
    /// instead. These move scores a little, and the threshold was set with scores in f32: a part close to it may get the
    /// other verdict.
    #[arg(long, value_enum, default_value_t = PrecisionArg::F32)]
    pub precision: PrecisionArg,
    /// The device.
    #[command(flatten)]
    pub device: DeviceArgs,
}

/// What `eval` and `infer` have in common.
#[derive(Debug, Clone, Copy, Args)]
pub struct BatchArgs {
    /// Photographs that a GPU is given at once [default: 16]. Fewer are taken where its memory does not hold them. The CPU takes
    /// them one by one.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub batch: Option<u16>,
}

/// Numbers to compute in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PrecisionArg {
    /// 32 bits: what the model was trained and its threshold set in.
    F32,
    /// 16 bits.
    Bf16,
    /// 8 bits in the backbone, bf16 in the head.
    Int8,
    /// 16 bits, on GPUs only.
    F16,
}

impl PrecisionArg {
    /// The detector's name for it.
    pub fn precision(self) -> InferencePrecision {
        match self {
            Self::F32 => InferencePrecision::F32,
            Self::Bf16 => InferencePrecision::Bf16,
            Self::Int8 => InferencePrecision::Int8,
            Self::F16 => InferencePrecision::F16,
        }
    }
}

/// Flags of `infer`.
#[derive(Debug, Args)]
pub struct InferArgs {
    /// The model file [default: the newest model.safetensors under results/].
    #[arg(long, value_name = "FILE")]
    pub model: Option<PathBuf>,
    /// An image or a folder (read with its sub-folders); may be given several times
    /// [default: the test images of the category that the model was trained on].
    #[arg(long, value_name = "PATH")]
    pub input: Vec<PathBuf>,
    /// Where heat maps, maps and predictions.jsonl go.
    #[arg(long, value_name = "DIR", default_value = "results/infer")]
    pub output: PathBuf,
    /// File format of the raw anomaly maps.
    #[arg(long, value_enum, default_value_t = MapFormatArg::Npy)]
    pub map_format: MapFormatArg,
    /// Use this threshold on the raw score instead of the model's.
    #[arg(long, value_name = "SCORE", allow_negative_numbers = true)]
    pub threshold: Option<f32>,
    /// The precision and the device.
    #[command(flatten)]
    pub inference: InferenceArgs,
    /// The batch.
    #[command(flatten)]
    pub batch: BatchArgs,
}

/// File formats of raw anomaly maps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum MapFormatArg {
    /// NumPy array of f32, raw scores.
    Npy,
    /// 16-bit gray PNG, linear between two scores that the file names.
    Png,
    /// None.
    None,
}

impl MapFormatArg {
    /// The writer's format; `None` when no map is wanted.
    pub fn format(self) -> Option<MapFormat> {
        match self {
            Self::Npy => Some(MapFormat::Npy),
            Self::Png => Some(MapFormat::Png16),
            Self::None => None,
        }
    }
}

/// Flags of `calibrate`.
#[derive(Debug, Args)]
pub struct CalibrateArgs {
    /// The model file; its threshold is replaced unless --out is given.
    #[arg(long, value_name = "FILE")]
    pub model: PathBuf,
    /// A folder of photographs of good parts (read with its sub-folders) that the model was not trained on.
    #[arg(long, value_name = "DIR")]
    pub normal: PathBuf,
    /// Share of good parts that may be rejected: 0.5% or 0.005.
    #[arg(long, value_name = "SHARE", default_value = "1%", value_parser = parse_share)]
    pub false_reject: f64,
    /// Share of good parts that a person may have to look at, beside those rejected; 0 for no band.
    #[arg(long, value_name = "SHARE", default_value = "5%", value_parser = parse_share)]
    pub review: f64,
    /// Refuse when the photographs are too few to promise the false-reject rate; without it this is said, and the threshold is
    /// an estimate.
    #[arg(long)]
    pub strict: bool,
    /// Write the calibrated model here and leave the other as it is.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Also write the numbers and every photograph's score as JSON here.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// The device.
    #[command(flatten)]
    pub device: DeviceArgs,
}

/// Flags of `info` and `verify`.
#[derive(Debug, Args)]
pub struct ModelArgs {
    /// The model file [default: the newest model.safetensors under results/].
    #[arg(long, value_name = "FILE")]
    pub model: Option<PathBuf>,
}

/// Flags of `bench`.
#[derive(Debug, Args)]
pub struct BenchArgs {
    /// The model file [default: the newest model.safetensors under results/].
    #[arg(long, value_name = "FILE")]
    pub model: Option<PathBuf>,
    /// An image or a folder (read with its sub-folders); may be given several times
    /// [default: the test images of the category that the model was trained on].
    #[arg(long, value_name = "IMAGE_OR_FOLDER")]
    pub input: Vec<PathBuf>,
    /// Inspections to measure, one at a time. Fewer photographs are taken again and again, of more than that, evenly
    /// spread ones.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    pub repeats: u32,
    /// Batches to measure on a GPU too, one after the other [default: 1,16,64]; of each, so many runs as inspections above.
    #[arg(long, value_name = "N,…", value_delimiter = ',', value_parser = clap::value_parser!(u16).range(1..))]
    pub batch: Vec<u16>,
    /// Also write the numbers as JSON here; nothing else is written.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// The precision and the device.
    #[command(flatten)]
    pub inference: InferenceArgs,
}

/// `288` or `384x288` (width x height).
fn parse_size(text: &str) -> Result<(u32, u32), String> {
    let number = |part: &str| match part.parse::<u32>() {
        Ok(n @ 32..=4096) => Ok(n),
        _ => Err(format!("`{part}` is not a number of pixels between 32 and 4096")),
    };
    match text.split_once(['x', 'X', '×']) {
        Some((width, height)) => Ok((number(width)?, number(height)?)),
        None => number(text).map(|n| (n, n)),
    }
}

/// A time, 0 or more.
fn parse_seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.0..=1e9).contains(&seconds) => Ok(seconds),
        _ => Err(format!("`{text}` is not a number of seconds")),
    }
}

/// A share of parts: `0.5%` or `0.005`.
fn parse_share(text: &str) -> Result<f64, String> {
    let wrong = || format!("`{text}` is not a share of parts, like 0.5% or 0.005");
    let share = match text.strip_suffix('%') {
        // Not a division: 0.3% must be the number that 0.003 is.
        Some(percent) => format!("{}e-2", percent.trim_end()).parse::<f64>(),
        None => text.parse::<f64>(),
    };
    let share = share.map_err(|_| wrong())?;
    match (0.0..=1.0).contains(&share) {
        true => Ok(share),
        false if share > 1.0 && !text.ends_with('%') => {
            Err(format!("{}: write {text}% for percent", wrong()))
        }
        false => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn shares() {
        for (text, share) in [
            ("0.5%", 0.005),
            ("0.005", 0.005),
            ("0.3 %", 0.003),
            ("5%", 0.05),
            ("0", 0.0),
            ("100%", 1.0),
            ("7%", 0.07),
        ] {
            assert_eq!(parse_share(text), Ok(share), "{text}");
        }
        assert!(parse_share("5").unwrap_err().contains("write 5%"));
        for wrong in ["", "%", "-1%", "half", "101%", "nan", "0.5%%", "1e9"] {
            assert!(parse_share(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn sizes() {
        assert_eq!(parse_size("288"), Ok((288, 288)));
        assert_eq!(parse_size("384x256"), Ok((384, 256)));
        for wrong in ["", "0", "31", "x", "10000", "288x", "-3", "288x288x3"] {
            assert!(parse_size(wrong).is_err(), "{wrong}");
        }
    }
}
