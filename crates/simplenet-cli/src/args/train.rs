//! Flags of `train`, most of which `train-all` and `ablate` take too.

use std::path::PathBuf;

use bytesize::ByteSize;
use clap::{Args, ValueEnum};
use simplenet_data::BitDepth;
use simplenet_model::BackboneId;

use super::{
    DataSource, DeviceArgs,
    parse::{parse_seconds, parse_size},
};

/// Flags of `train`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("source").required(true).args(["data", "normal"]))]
pub struct TrainArgs {
    /// The images.
    #[command(flatten)]
    pub source: DataSource,
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
    /// downloaded); also resnet18, resnet50, dinov2-vits14, convnext-tiny (downloaded), and resnet101, wide-resnet101-2,
    /// efficientnet-lite1, efficientnet-lite2 (with --weights) [default: efficientnet-lite0].
    #[arg(long, value_name = "ID")]
    pub backbone: Option<BackboneId>,
    /// Backbone weights from a file (.safetensors or the source framework's .pth) instead of the embedded or downloaded ones.
    #[arg(long, value_name = "FILE")]
    pub weights: Option<PathBuf>,
    /// Named settings to start from [default: default].
    #[arg(long, value_enum)]
    pub preset: Option<PresetArg>,
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
    /// Cut photographs into overlapping tiles of this size, in their own pixels: 512, or WIDTHxHEIGHT. Each tile is a network
    /// input of that size, or of --size.
    #[arg(long, value_name = "SIZE", value_parser = parse_size, conflicts_with = "centre_crop")]
    pub tile: Option<(u32, u32)>,
    /// Least pixels of the photograph that neighbouring tiles have in common [default: an eighth of the tile's shorter side].
    #[arg(long, value_name = "PIXELS")]
    pub overlap: Option<u32>,
    /// Look only at this part of the photographs: a mask image of any size (white: look, black: ignore), or a JSON file of
    /// polygons. The model keeps it.
    #[arg(long, value_name = "FILE")]
    pub roi: Option<PathBuf>,
    /// Regions of fewer pixels of the photograph are not given. Changes no score and no verdict [default: 0, all are given].
    #[arg(long, value_name = "PIXELS")]
    pub min_region_area: Option<u64>,
    /// Bits that the camera fills, from the lowest on, in files of 16 bits: auto, 8, 10, 12, 14 or 16. The model keeps it
    /// [default: auto, the fewest that hold every photograph of a good part].
    #[arg(long, value_name = "BITS")]
    pub bit_depth: Option<BitDepth>,
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
