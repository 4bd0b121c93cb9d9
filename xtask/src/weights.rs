//! `cargo xtask weights [ID]…`: downloads backbone weights from the Hugging Face Hub and checks their hash. What the table
//! of backbones does not pin is printed as it would stand there.

use std::path::Path;

use clap::Args;
use simplenet_cli::{CliError, progress::TerminalProgress};
use simplenet_model::{
    BackboneId, BackboneWeights,
    weights::{self, HubConfig, HubFile, Origin},
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
        if let (Origin::Hub(file), Some(path)) = (weights::origin(id), path)
            && let Some(row) = missing_pin(file, &path, &weights.sha256)
        {
            println!(
                "{id} is not pinned to a commit and a hash; for its row in backbone/registry.rs:\n    {row}"
            );
        }
    }
    Ok(())
}

/// The origin as a row would have it, where the table names no whole commit or no hash. The cache keeps a file in a folder
/// that is named after the commit.
fn missing_pin(file: &HubFile, path: &Path, sha256: &str) -> Option<String> {
    const COMMIT_DIGITS: usize = 40;
    if file.revision.len() == COMMIT_DIGITS && file.sha256.is_some() {
        return None;
    }
    let commit = path.parent()?.file_name()?.to_str()?;
    Some(format!("origin: hub({:?}, {commit:?}, Some({sha256:?})),", file.repo))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_not_pinned_is_printed_for_the_table() {
        let commit = "0123456789abcdef0123456789abcdef01234567";
        let path = format!("hub/models--timm--net/snapshots/{commit}/model.safetensors");
        let file = |revision: &str, sha256: Option<&str>| HubFile {
            repo: "timm/net".into(),
            revision: revision.to_string().into(),
            file: "model.safetensors".into(),
            sha256: sha256.map(|sha256| sha256.to_string().into()),
        };
        let printed = |file: &HubFile| missing_pin(file, Path::new(&path), "abc");
        assert_eq!(printed(&file(commit, Some("abc"))), None);
        let want = format!("origin: hub(\"timm/net\", \"{commit}\", Some(\"abc\")),");
        for unpinned in [file("main", None), file("0123456", Some("abc")), file(commit, None)] {
            assert_eq!(printed(&unpinned), Some(want.clone()));
        }
    }
}
