//! `cargo xtask weights [ID]…`: downloads backbone weights from the Hugging Face Hub and checks their hash.

use clap::Args;
use simplenet_cli::{CliError, progress::TerminalProgress};
use simplenet_model::{
    BackboneId, BackboneWeights,
    weights::{self, HubConfig},
};

/// Flags of `weights`.
#[derive(Debug, Args)]
pub(crate) struct WeightsArgs {
    /// Backbones to download [default: wide-resnet50-2].
    #[arg(value_name = "ID")]
    ids: Vec<BackboneId>,
}

/// Runs the task.
///
/// # Errors
/// No network, a wrong hash, a full disk: the sentence says the ways out.
pub(crate) fn run(args: &WeightsArgs, progress: &TerminalProgress) -> Result<(), CliError> {
    let default = [BackboneId::WideResNet50x2];
    let ids = if args.ids.is_empty() { &default[..] } else { &args.ids };
    for &id in ids {
        let path = weights::download(id, &HubConfig::from_env(), progress)?;
        let weights = match &path {
            Some(path) => BackboneWeights::from_file(id, path)?,
            None => BackboneWeights::embedded(id)?,
        };
        println!("{id}: {} tensors, SHA-256 {}", weights.tensors.len(), weights.sha256);
    }
    Ok(())
}
