//! Flags of what works on a model file: `calibrate`, `info`, `verify`.

use std::path::PathBuf;

use clap::Args;

use super::{
    DeviceArgs,
    parse::{parse_score, parse_share},
};

/// Flags of `calibrate`.
#[derive(Debug, Args)]
pub struct CalibrateArgs {
    /// The model file; its threshold is replaced unless --out is given.
    #[arg(long, value_name = "FILE")]
    pub model: PathBuf,
    /// A folder of photographs of good parts (read with its sub-folders) that the model was not trained on; may be several.
    #[arg(long, value_name = "DIR", num_args = 1.., required_unless_present = "threshold")]
    pub normal: Vec<PathBuf>,
    /// Write this threshold on the raw image score into the model, without photographs and without a promise.
    #[arg(
        long,
        value_name = "SCORE",
        allow_negative_numbers = true,
        value_parser = parse_score,
        conflicts_with_all = ["normal", "false_reject", "review", "roi", "strict"],
    )]
    pub threshold: Option<f32>,
    /// Share of good parts that may be rejected: 0.5% or 0.005.
    #[arg(long, value_name = "SHARE", default_value = "1%", value_parser = parse_share)]
    pub false_reject: f64,
    /// Share of good parts that a person may have to look at, beside those rejected; 0 for no band.
    #[arg(long, value_name = "SHARE", default_value = "5%", value_parser = parse_share)]
    pub review: f64,
    /// Look only at this part of the photographs: a mask image of any size (white: look, black: ignore), or a JSON file of
    /// polygons. The threshold is then for that part; the model does not keep the region, so give it to `infer` too.
    #[arg(long, value_name = "FILE")]
    pub roi: Option<PathBuf>,
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
