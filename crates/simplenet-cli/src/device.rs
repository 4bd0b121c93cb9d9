//! The device of a run, said once. In: `--device` and `--batch`. Out: the device, with a line on standard error where it is not
//! simply the CPU.

use simplenet_inference::Detector;
use simplenet_model::{
    DeviceChoice, Opened,
    device::{self, CPU},
};

use crate::{error::CliError, progress::TerminalProgress};

/// Why the CPU takes no batches.
const ONE_BY_ONE: &str = "the CPU takes photographs one by one, several at once on its threads";

/// Opens the device that was chosen, and says which, where it is not simply the CPU.
///
/// # Errors
/// A GPU that cannot be used; says what to do.
pub fn open(choice: DeviceChoice, progress: &TerminalProgress) -> Result<Opened, CliError> {
    let opened = device::open(choice)?;
    tell(&opened.name, opened.note.as_deref(), progress);
    Ok(opened)
}

/// Says which device a detector computes on, where it is not simply the CPU; and that it leaves batches of these sizes aside,
/// where `auto` has come to the CPU.
pub fn tell_of(detector: &Detector, batches: &[u16], progress: &TerminalProgress) {
    tell(detector.device(), detector.device_note(), progress);
    tell_of_batches(detector, batches, progress);
}

/// The second half of [`tell_of`].
pub fn tell_of_batches(detector: &Detector, batches: &[u16], progress: &TerminalProgress) {
    if let Some(batch) = several(batches).filter(|_| !detector.takes_batches()) {
        progress.warn(&format!("--batch {batch} is left aside: {ONE_BY_ONE}"));
    }
}

/// A GPU is named on standard error; so is the reason why `auto` has come to the CPU.
fn tell(name: &str, note: Option<&str>, progress: &TerminalProgress) {
    match note {
        Some(note) => progress.note(note),
        None if name == CPU => {}
        None => progress.note(&format!("computing on {name}")),
    }
}

/// Checks what `--batch` asks for: on the CPU photographs go through the network one by one.
///
/// # Errors
/// A batch of several on a CPU that was chosen.
pub fn check_batches(batches: &[u16], choice: DeviceChoice) -> Result<(), CliError> {
    match several(batches).filter(|_| choice == DeviceChoice::Cpu) {
        None => Ok(()),
        Some(batch) => Err(CliError::Usage(format!(
            "--batch {batch} is for GPUs: {ONE_BY_ONE}; leave it out, or add `--device cuda`"
        ))),
    }
}

fn several(batches: &[u16]) -> Option<u16> {
    batches.iter().copied().find(|&batch| batch > 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_refused_where_they_cannot_be() {
        let check =
            |batches: &[u16], choice| check_batches(batches, choice).map_err(|error| error.to_string());
        for batches in [&[][..], &[1], &[1, 1]] {
            assert_eq!(check(batches, DeviceChoice::Cpu), Ok(()));
        }
        let message = check(&[1, 16, 64], DeviceChoice::Cpu).unwrap_err();
        for words in ["--batch 16", "one by one", "--device cuda"] {
            assert!(message.contains(words), "no `{words}` in: {message}");
        }
        assert_eq!(check(&[16], DeviceChoice::Auto), Ok(()));
    }
}
