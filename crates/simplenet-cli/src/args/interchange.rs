//! Flags of what exchanges models with other programs: `import`, `export`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use simplenet_model::BackboneId;

use super::parse::parse_share;

/// Flags of `import`.
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// The official code's ckpt.pth. Nothing in it is run.
    #[arg(long, value_name = "FILE.pth")]
    pub checkpoint: PathBuf,
    /// The backbone that it was trained with; the official script's by default.
    #[arg(long, value_name = "ID", default_value_t = BackboneId::WideResNet50x2)]
    pub backbone: BackboneId,
    /// Backbone weights from a file (.safetensors or the source framework's .pth) instead of the embedded or downloaded ones.
    #[arg(long, value_name = "FILE")]
    pub weights: Option<PathBuf>,
    /// The model file to write.
    #[arg(long, value_name = "FILE", default_value = "model.safetensors")]
    pub out: PathBuf,
    /// Folders of photographs of good parts (read with their sub-folders) that the checkpoint was not trained on: they set
    /// the threshold, as `calibrate` does.
    #[arg(long, value_name = "DIR", num_args = 1..)]
    pub normal: Vec<PathBuf>,
    /// With --normal: share of good parts that may be rejected, 0.5% or 0.005.
    #[arg(long, value_name = "SHARE", default_value = "1%", value_parser = parse_share, requires = "normal")]
    pub false_reject: f64,
    /// With --normal: share of good parts that a person may have to look at, beside those rejected; 0 for no band.
    #[arg(long, value_name = "SHARE", default_value = "5%", value_parser = parse_share, requires = "normal")]
    pub review: f64,
}

/// Flags of `export`.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// The model file [default: the newest model.safetensors under results/].
    #[arg(long, value_name = "FILE")]
    pub model: Option<PathBuf>,
    /// What to write.
    #[arg(long, value_enum)]
    pub format: ExportFormat,
    /// The file to write [default: model.onnx or ckpt.pth beside the model].
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// onnx: the graph takes RGB from 0 to 1 and normalises it itself. Without it the graph takes what is normalised already.
    #[arg(long)]
    pub normalise_inside: bool,
    /// onnx: the graph takes any number of images at once. Without it, one.
    #[arg(long)]
    pub dynamic_batch: bool,
}

/// Formats of other programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ExportFormat {
    /// The whole detector as one graph, for ONNX Runtime, TensorRT, OpenVINO and others.
    Onnx,
    /// The official code's checkpoint: adaptor and discriminator.
    Pth,
}
