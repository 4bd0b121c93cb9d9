//! The device of a run: opened, and said once. In: `--device` and `--batch`. Out: the device, with a line on standard error
//! where it is not simply the CPU.

use simplenet_model::{DeviceChoice, Opened, device};

use crate::{error::CliError, progress::TerminalProgress};

/// Opens the device that was chosen. A GPU is named on standard error; so is the reason why `auto` has come to the CPU.
///
/// # Errors
/// A GPU that cannot be used; says what to do.
pub fn open(choice: DeviceChoice, progress: &TerminalProgress) -> Result<Opened, CliError> {
    let opened = device::open(choice)?;
    match &opened.note {
        Some(note) => progress.note(note),
        None if opened.device.is_cpu() => {}
        None => progress.note(&format!("computing on {}", opened.name)),
    }
    Ok(opened)
}

/// Checks what `--batch` asks for. On the CPU photographs go through the network one by one; where `auto` has come to it,
/// this is said, and otherwise refused.
///
/// # Errors
/// A batch of several on a CPU that was chosen.
pub fn check_batches(
    batches: &[u16],
    choice: DeviceChoice,
    opened: &Opened,
    progress: &TerminalProgress,
) -> Result<(), CliError> {
    let Some(batch) = batches.iter().find(|&&batch| batch > 1).filter(|_| opened.device.is_cpu()) else {
        return Ok(());
    };
    let one_by_one = "the CPU takes photographs one by one, several at once on its threads";
    match choice {
        DeviceChoice::Auto => {
            progress.warn(&format!("--batch {batch} is left aside: {one_by_one}"));
            Ok(())
        }
        _ => Err(CliError::Usage(format!(
            "--batch {batch} is for GPUs: {one_by_one}; leave it out, or add `--device cuda`"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_refused_where_they_cannot_be() {
        let progress = TerminalProgress::plain();
        let check = |batches: &[u16], choice| {
            check_batches(batches, choice, &Opened::cpu(), &progress).map_err(|error| error.to_string())
        };
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
