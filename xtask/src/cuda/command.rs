//! Runs programs that may not be there.

use std::process::{Command, Output};

/// Why something cannot be done on this machine: a reason that a person reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unavailable(pub(crate) String);

/// Runs a program to its end, with its output kept.
///
/// # Errors
/// It cannot be started, or it ends with a failure: says which line of its own says why.
pub(crate) fn output(what: &str, command: &mut Command) -> Result<Output, Unavailable> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|e| Unavailable(format!("{what}: cannot run `{program}`: {e}")))?;
    if output.status.success() {
        Ok(output)
    } else {
        Err(Unavailable(format!("{what}: {}", reason(&output))))
    }
}

/// The first line that calls itself an error, else the last one that is not empty, else the exit status.
fn reason(output: &Output) -> String {
    let text =
        format!("{}\n{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let lines = || text.lines().map(str::trim).filter(|line| !line.is_empty());
    let error = lines().find(|line| line.to_ascii_lowercase().starts_with("error"));
    error.or_else(|| lines().next_back()).map_or_else(|| output.status.to_string(), str::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_is_not_there_or_fails_says_why() {
        let Unavailable(reason) = output("first", &mut Command::new("/no/such/program")).unwrap_err();
        assert!(reason.starts_with("first: cannot run `/no/such/program`"), "{reason}");
        let mut shell = Command::new("sh");
        shell.args(["-c", "echo fine; echo 'ERROR: no network' >&2; echo more >&2; exit 3"]);
        assert_eq!(
            output("second", &mut shell).unwrap_err(),
            Unavailable("second: ERROR: no network".into())
        );
        let mut silent = Command::new("sh");
        let Unavailable(reason) = output("third", silent.args(["-c", "exit 3"])).unwrap_err();
        assert!(reason.contains('3'), "{reason}");
    }
}
