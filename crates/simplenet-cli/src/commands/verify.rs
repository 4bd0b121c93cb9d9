//! `simplenet verify`: does the model give, on this machine, the scores it gave where it was made?

use candle_core::Device;
use simplenet_model::checkpoint;

use super::model_path;
use crate::{args::ModelArgs, error::CliError};

/// Runs the verb.
///
/// # Errors
/// A file that is not whole, or scores that differ by more than the tolerance.
pub fn run(args: &ModelArgs) -> Result<(), CliError> {
    let path = model_path(args.model.as_deref())?;
    let (net, record) = checkpoint::load(&path, &Device::Cpu)?;
    let report = checkpoint::verify(&net, &record)?;
    for check in &report.checks {
        println!(
            "{}: score {:.6} here, {:.6} where the model was made (allowed difference {:.6})",
            check.tensor, check.actual, check.expected, check.tolerance
        );
    }
    if !report.passed() {
        return Err(CliError::Usage(format!(
            "{}: this machine does not reproduce the model's scores; do not trust its verdicts here. Train again on \
             this machine, or report the processor and this output",
            path.display()
        )));
    }
    println!("{}: verified", path.display());
    Ok(())
}
