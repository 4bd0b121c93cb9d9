//! What is inspected on the machine with a GPU, and by which models. In: the built program. Out: `data/CATEGORY`, a model of the
//! embedded backbone trained on it, and the shapes of WideResNet-50-2's weights, which are drawn there: 100 MB of random numbers
//! do not travel.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use serde_json::json;
use simplenet_cli::{CliError, output::atomic, progress::TerminalProgress};
use simplenet_data::synthetic::{DemoOptions, write_demo};
use simplenet_model::BackboneId;

/// Where the demo set is drawn.
const DEMO_ROOT: &str = "data/demo";
/// The category that is taken along.
const CATEGORY: &str = "steel_gear";

/// Writes it all below `folder`.
///
/// # Errors
/// A file that cannot be written; a training that fails, on the CPU and without any library of CUDA's.
pub(super) fn write(simplenet: &Path, folder: &Path, progress: &TerminalProgress) -> Result<(), CliError> {
    let set = |done, total| progress.set("drawing demo pictures", done, total);
    write_demo(Path::new(DEMO_ROOT), &DemoOptions::default(), &set)?;
    copy_folder(&Path::new(DEMO_ROOT).join(CATEGORY), &folder.join("data").join(CATEGORY))?;
    let shapes = json!({
        "backbone": BackboneId::WideResNet50x2.name(),
        "tensors": BackboneId::WideResNet50x2
            .tensor_specs()
            .into_iter()
            .map(|spec| json!({ "name": spec.name, "shape": spec.shape }))
            .collect::<Vec<_>>(),
    });
    atomic::write_json(&folder.join("wide_resnet50_2.json"), &shapes)?;

    progress.note("training a model on the CPU");
    let simplenet = simplenet.canonicalize().map_err(CliError::io("find", simplenet))?;
    let mut command = Command::new(simplenet);
    // From within, so that the model remembers a path that holds there too.
    command
        .current_dir(folder)
        .args(["train", "--device", "cpu", "--no-feature-cache", "--data"])
        .arg(format!("data/{CATEGORY}"));
    command.args(["--out", "models/efficientnet-lite0"]).stdout(Stdio::null());
    let status = command.status().map_err(CliError::io("run", "simplenet train"))?;
    if status.success() {
        Ok(())
    } else {
        Err(CliError::Usage("the training failed; its own words are above".into()))
    }
}

fn copy_folder(from: &Path, to: &Path) -> Result<(), CliError> {
    fs::create_dir_all(to).map_err(CliError::io("create", to))?;
    for entry in fs::read_dir(from).map_err(CliError::io("list", from))? {
        let entry = entry.map_err(CliError::io("list", from))?;
        let (path, to) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy_folder(&path, &to)?
        } else {
            fs::copy(&path, &to).map(|_| ()).map_err(CliError::io("copy", &path))?
        }
    }
    Ok(())
}
