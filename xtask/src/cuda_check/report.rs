//! What `cuda-check` found: its fields are those of the JSON file, its texts are for people.

use std::collections::BTreeMap;

use serde::Serialize;
use simplenet_cli::output::table::{LastRow, MISSING, plain_table};

/// Kernels that may keep numbers in local memory, and why. Everything else that spills is a failure: memory traffic that nobody
/// planned.
const MAY_SPILL: &[(&str, &str)] = &[];

/// A check that was made or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Outcome<T> {
    /// It was made: what it found.
    Checked(T),
    /// It cannot be made here.
    Skipped { reason: String },
}

/// Everything that the compiler said.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(super) struct Compiled {
    /// What each kernel takes, for each target.
    pub(super) kernels: Vec<Kernel>,
    /// Files that do not compile, each with target and the compiler's words.
    pub(super) errors: Vec<String>,
}

/// One kernel, compiled for one target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Kernel {
    /// The op whose file holds it.
    pub(super) op: String,
    /// Its name.
    pub(super) kernel: String,
    /// Such as `sm_90`.
    pub(super) target: String,
    /// Registers of a thread.
    pub(super) registers: u32,
    /// Bytes of shared memory of a block that the file itself asks for; a launch may add to it.
    pub(super) shared_bytes: u32,
    /// Bytes of local memory of a thread, spilled registers among them.
    pub(super) stack_bytes: u32,
    /// Bytes of registers stored to local memory.
    pub(super) spill_store_bytes: u32,
    /// Bytes of registers loaded back.
    pub(super) spill_load_bytes: u32,
}

impl Kernel {
    /// Whether numbers that should be in registers are in local memory, without a reason in [`MAY_SPILL`].
    fn spills(&self) -> bool {
        let excused = MAY_SPILL.iter().any(|(kernel, _)| *kernel == self.kernel);
        !excused && (self.stack_bytes, self.spill_store_bytes, self.spill_load_bytes) != (0, 0, 0)
    }
}

/// Both checks.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) kernels: Outcome<Compiled>,
    /// Whether the Rust code with the feature `cuda` is free of errors and warnings; none before it was looked at.
    pub(super) types: Option<Outcome<bool>>,
}

impl Report {
    pub(super) fn new(kernels: Outcome<Compiled>) -> Self {
        Self { kernels, types: None }
    }

    /// How many things are wrong.
    pub(super) fn failures(&self) -> usize {
        let of_kernels = match &self.kernels {
            Outcome::Checked(Compiled { kernels, errors }) => {
                errors.len() + kernels.iter().filter(|kernel| kernel.spills()).count()
            }
            Outcome::Skipped { .. } => 0,
        };
        of_kernels + usize::from(self.types == Some(Outcome::Checked(false)))
    }

    /// How many checks were not made.
    pub(super) fn skipped(&self) -> usize {
        usize::from(matches!(self.kernels, Outcome::Skipped { .. }))
            + usize::from(matches!(self.types, Some(Outcome::Skipped { .. })))
    }

    /// The table of the kernels and what is wrong with them.
    pub(super) fn kernels_text(&self) -> String {
        let Compiled { kernels, errors } = match &self.kernels {
            Outcome::Checked(compiled) => compiled,
            Outcome::Skipped { reason } => return format!("kernels: SKIPPED, not compiled: {reason}"),
        };
        let mut text = table(kernels);
        for error in errors {
            text += &format!("FAILED: {error}\n");
        }
        for kernel in kernels.iter().filter(|kernel| kernel.spills()) {
            let Kernel { kernel, target, stack_bytes, spill_store_bytes, spill_load_bytes, .. } = kernel;
            text += &format!(
                "FAILED: {kernel} for {target} keeps {stack_bytes} bytes a thread in local memory ({spill_store_bytes} \
                 spilled, {spill_load_bytes} loaded back); it must fit into registers\n"
            );
        }
        let failures = self.failures();
        text + &match failures {
            0 => format!("kernels: {} compile, none spills", names(kernels).len()),
            _ => format!("kernels: {failures} failures"),
        }
    }

    /// One line about the Rust code.
    pub(super) fn types_text(&self) -> String {
        match &self.types {
            Some(Outcome::Checked(true)) => {
                "Rust code with the feature `cuda`: no errors, no warnings".into()
            }
            Some(Outcome::Checked(false)) => "Rust code with the feature `cuda`: FAILED, see above".into(),
            Some(Outcome::Skipped { reason }) => {
                format!("Rust code with the feature `cuda`: SKIPPED: {reason}")
            }
            None => String::new(),
        }
    }
}

/// The kernels' names without the targets.
fn names(kernels: &[Kernel]) -> BTreeMap<(&str, &str), Vec<&Kernel>> {
    let mut names: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for kernel in kernels {
        names.entry((&kernel.op[..], &kernel.kernel[..])).or_default().push(kernel);
    }
    names
}

/// A line a kernel: registers of each target, then what is the largest of them.
fn table(kernels: &[Kernel]) -> String {
    let mut targets: Vec<&str> = kernels.iter().map(|kernel| &kernel.target[..]).collect();
    targets.sort_unstable();
    targets.dedup();
    let mut headings: Vec<String> = targets.iter().map(|target| format!("registers {target}")).collect();
    headings.extend(["shared bytes", "stack bytes", "spilled, loaded back"].map(String::from));
    let headings: Vec<&str> = headings.iter().map(String::as_str).collect();
    let largest = |kernels: &[&Kernel], of: fn(&Kernel) -> u32| {
        kernels.iter().map(|kernel| of(kernel)).max().map_or_else(|| MISSING.into(), |most| most.to_string())
    };
    let rows: Vec<(String, Vec<String>)> = names(kernels)
        .into_iter()
        .map(|((op, name), compiled)| {
            let registers = targets.iter().map(|target| {
                let of_target = compiled.iter().find(|kernel| kernel.target == *target);
                of_target.map_or_else(|| MISSING.into(), |kernel| kernel.registers.to_string())
            });
            let mut cells: Vec<String> = registers.collect();
            cells.push(largest(&compiled, |kernel| kernel.shared_bytes));
            cells.push(largest(&compiled, |kernel| kernel.stack_bytes));
            let (stored, loaded) = (
                largest(&compiled, |kernel| kernel.spill_store_bytes),
                largest(&compiled, |kernel| kernel.spill_load_bytes),
            );
            cells.push(format!("{stored}, {loaded}"));
            (format!("{op}: {name}"), cells)
        })
        .collect();
    let rows: Vec<(&str, Vec<String>)> =
        rows.iter().map(|(name, cells)| (&name[..], cells.clone())).collect();
    plain_table(&headings, &rows, LastRow::Ordinary)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kernel(name: &str, target: &str, registers: u32, stack_bytes: u32) -> Kernel {
        Kernel {
            op: "op".into(),
            kernel: name.into(),
            target: target.into(),
            registers,
            shared_bytes: 1024,
            stack_bytes,
            spill_store_bytes: 0,
            spill_load_bytes: stack_bytes / 2,
        }
    }

    fn checked(kernels: Vec<Kernel>, errors: Vec<String>) -> Report {
        Report::new(Outcome::Checked(Compiled { kernels, errors }))
    }

    #[test]
    fn a_line_a_kernel_with_the_registers_of_each_target() {
        let report = checked(vec![kernel("k", "sm_90", 40, 0), kernel("k", "sm_80", 32, 0)], vec![]);
        let text = report.kernels_text();
        let row = text.lines().find(|line| line.starts_with("op: k")).unwrap();
        assert_eq!(
            row.split_whitespace().collect::<Vec<_>>(),
            ["op:", "k", "32", "40", "1024", "0", "0,", "0"]
        );
        assert!(text.ends_with("kernels: 1 compile, none spills"), "{text}");
        assert_eq!((report.failures(), report.skipped()), (0, 0));
    }

    #[test]
    fn errors_spills_and_warnings_fail() {
        let mut report = checked(vec![kernel("k", "sm_90", 255, 16)], vec!["other.cu: no".into()]);
        report.types = Some(Outcome::Checked(false));
        assert_eq!(report.failures(), 3);
        let text = report.kernels_text();
        assert!(text.contains("FAILED: other.cu: no"), "{text}");
        assert!(
            text.contains("k for sm_90 keeps 16 bytes a thread in local memory (0 spilled, 8 loaded back)"),
            "{text}"
        );
    }

    #[test]
    fn what_is_skipped_says_why_and_is_no_failure() {
        let skipped = || Outcome::Skipped { reason: "no Python".to_string() };
        let report =
            Report { kernels: skipped(), types: Some(Outcome::Skipped { reason: "no bash".into() }) };
        assert_eq!((report.failures(), report.skipped()), (0, 2));
        assert!(report.kernels_text().contains("SKIPPED, not compiled: no Python"));
        assert!(report.types_text().contains("SKIPPED: no bash"));
    }
}
