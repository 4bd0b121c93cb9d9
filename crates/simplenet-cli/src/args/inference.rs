//! Flags of what runs a trained detector over photographs: `eval`, `infer`, `bench`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use simplenet_inference::InferencePrecision;

use super::{
    DataSource, DeviceArgs,
    parse::{parse_pixels, parse_score},
};
use crate::output::anomaly_map_file::MapFormat;

/// Flags of `eval`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("test").required(true).multiple(true).args(["data", "normal_test", "abnormal"]))]
pub struct EvalArgs {
    /// The model file.
    #[arg(long, value_name = "FILE")]
    pub model: PathBuf,
    /// The images.
    #[command(flatten)]
    pub source: DataSource,
    /// Write the metrics as JSON here.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Also write predictions.jsonl, heat maps, report.html and plots into this folder.
    #[arg(long, value_name = "DIR")]
    pub output: Option<PathBuf>,
    /// The part of photographs and of results.
    #[command(flatten)]
    pub region: RegionArgs,
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

/// What of photographs is looked at and given: flags of `eval` and `infer`.
#[derive(Debug, Clone, Default, Args)]
pub struct RegionArgs {
    /// Look only at this part of the photographs: a mask image of any size (white: look, black: ignore), or a JSON file of
    /// polygons. Where the model has a region of its own, only at what lies in both.
    #[arg(long, value_name = "FILE")]
    pub roi: Option<PathBuf>,
    /// Regions of fewer pixels of the photograph are not given. Changes no score and no verdict [default: the model's].
    #[arg(long, value_name = "PIXELS")]
    pub min_region_area: Option<u64>,
    /// Read photographs of up to so many pixels, width times height: 400000000, or 400MP. Each that is worked on takes about
    /// 13 bytes of memory per pixel [default: the model's, usually 200MP].
    #[arg(long, value_name = "PIXELS", value_parser = parse_pixels)]
    pub max_pixels: Option<u64>,
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

/// What `infer` and `bench` inspect, and by which model.
#[derive(Debug, Args)]
pub struct PhotographArgs {
    /// The model file [default: the newest model.safetensors under results/].
    #[arg(long, value_name = "FILE")]
    pub model: Option<PathBuf>,
    /// Images and folders (read with their sub-folders), one or several; may be given several times
    /// [default: the test images of the category that the model was trained on].
    #[arg(long, value_name = "PATH", num_args = 1..)]
    pub input: Vec<PathBuf>,
}

/// Flags of `infer`.
#[derive(Debug, Args)]
pub struct InferArgs {
    /// The model and the photographs.
    #[command(flatten)]
    pub photographs: PhotographArgs,
    /// Where heat maps, maps, predictions.jsonl and report.html go.
    #[arg(long, value_name = "DIR", default_value = "results/infer")]
    pub output: PathBuf,
    /// File format of the raw anomaly maps.
    #[arg(long, value_enum, default_value_t = MapFormatArg::Npy)]
    pub map_format: MapFormatArg,
    /// Use this threshold on the raw score instead of the model's.
    #[arg(long, value_name = "SCORE", allow_negative_numbers = true, value_parser = parse_score)]
    pub threshold: Option<f32>,
    /// Go on with what an interrupted run has left in --output: photographs that have their line in predictions.jsonl are not
    /// inspected again. Refused where model, threshold, precision or another setting that moves numbers is not the same.
    #[arg(long)]
    pub resume: bool,
    /// Write no report.html and no plots.
    #[arg(long)]
    pub no_report: bool,
    /// The part of photographs and of results.
    #[command(flatten)]
    pub region: RegionArgs,
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

/// Flags of `bench`.
#[derive(Debug, Args)]
pub struct BenchArgs {
    /// The model and the photographs.
    #[command(flatten)]
    pub photographs: PhotographArgs,
    /// Inspections to measure, one at a time. Fewer photographs are taken again and again, of more than that, evenly
    /// spread ones.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    pub repeats: u32,
    /// Batches to measure on a GPU too, one after the other [default: 1,16,64]; of each, so many runs as inspections above.
    #[arg(long, value_name = "N,...", value_delimiter = ',', value_parser = clap::value_parser!(u16).range(1..))]
    pub batch: Vec<u16>,
    /// Also write the numbers as JSON here; nothing else is written.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// The precision and the device.
    #[command(flatten)]
    pub inference: InferenceArgs,
}
