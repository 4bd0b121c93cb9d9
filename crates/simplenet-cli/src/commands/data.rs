//! `simplenet data check`: a data set in; its layout, how much there is of it and all that is wrong with it out.

use simplenet_data::dataset::{
    CheckOptions, CheckReport, Recognised, Source,
    check::{CategoryCounts, Depth, Finding},
};

use crate::{
    args::{DataArgs, DataCheckArgs, DataVerb},
    error::CliError,
    output::{
        atomic,
        table::{LastRow, plain_table},
    },
    progress::TerminalProgress,
    tell,
};

/// Runs the verb; gives the number of problems.
///
/// # Errors
/// No layout fits; a folder that cannot be listed; a file that cannot be written.
pub fn run(args: &DataArgs, progress: &TerminalProgress) -> Result<usize, CliError> {
    match &args.verb {
        DataVerb::Check(args) => check(args, progress).map(|report| report.problems.len()),
    }
}

fn check(args: &DataCheckArgs, progress: &TerminalProgress) -> Result<CheckReport, CliError> {
    let source = args.source()?;
    let recognised = source.recognise()?;
    let place = recognised.places.first().map(|place| place.path.clone()).unwrap_or_default();
    let path = match &source {
        // Only this category is looked at, also for files that nothing uses.
        Source::Path { category: Some(_), data, .. } if data.is_dir() => place,
        Source::Path { data, .. } => data.clone(),
        Source::Folders(_) => place,
    };
    let depth = if args.decode { Depth::Pixels } else { Depth::Headers };
    let options = CheckOptions { depth, ..CheckOptions::default() };
    let report = simplenet_data::dataset::check(&path, &recognised, &options, &|done, total| {
        progress.set("reading images", done, total);
    });
    tell::result("data_set", &describe(&report, &recognised, args.most), &report);
    if let Some(file) = &args.json {
        atomic::write_json(file, &report)?;
    }
    Ok(report)
}

/// The report as lines for people.
fn describe(report: &CheckReport, recognised: &Recognised, most: usize) -> String {
    let layout = report.layout;
    let mut text = format!("{}: {layout} ({})\n", report.path.display(), layout.layout().description());
    let among = match recognised.places.as_slice() {
        [first, _, ..] => format!(" in {}", first.name),
        _ => String::new(),
    };
    text += &format!("recognised by {}{among}", report.recognised_by.join(", "));
    if !report.absent.is_empty() {
        text += &format!("; without {}", report.absent.join(", "));
    }
    text += "\n\n";
    text += &counts(&report.categories);
    text.push('\n');
    for (heading, findings) in [("problem", &report.problems), ("note", &report.notes)] {
        text += &list(heading, findings, recognised.places.len() > 1, most);
    }
    text + &format!(
        "{}, {}\n",
        several(report.problems.len(), "problem"),
        several(report.notes.len(), "note")
    )
}

/// A row a category with a row for each of its defects below.
fn counts(categories: &[CategoryCounts]) -> String {
    let headings = ["train", "validation", "test good", "anomalous", "with mask", "left out"];
    let mut names: Vec<String> = vec![];
    let mut cells: Vec<Vec<String>> = vec![];
    let mut row = |name: String, numbers: [Option<usize>; 6]| {
        names.push(name);
        cells.push(numbers.map(|n| n.map(|n| n.to_string()).unwrap_or_default()).to_vec());
    };
    for one in categories {
        let left_out: usize = one.left_out.values().sum();
        let numbers = [one.train, one.validation, one.test_good, one.test_anomalous, one.masked, left_out];
        row(one.name.clone(), numbers.map(Some));
        for (defect, count) in &one.defects {
            row(format!("  {defect}"), [None, None, None, Some(*count), None, None]);
        }
    }
    let total = |number: fn(&CategoryCounts) -> usize| Some(categories.iter().map(number).sum());
    let last = if categories.len() > 1 {
        row(
            "all".to_string(),
            [
                total(|one| one.train),
                total(|one| one.validation),
                total(|one| one.test_good),
                total(|one| one.test_anomalous),
                total(|one| one.masked),
                total(|one| one.left_out.values().sum()),
            ],
        );
        LastRow::SumsUp
    } else {
        LastRow::Ordinary
    };
    let rows: Vec<(&str, Vec<String>)> = names.iter().map(String::as_str).zip(cells).collect();
    plain_table(&headings, &rows, last)
}

/// The findings by kind, at most so many of each.
fn list(heading: &str, findings: &[Finding], name_categories: bool, most: usize) -> String {
    let mut kinds: Vec<&str> = vec![];
    for finding in findings {
        if !kinds.contains(&finding.kind) {
            kinds.push(finding.kind);
        }
    }
    let mut text = String::new();
    for kind in kinds {
        let of_kind: Vec<&Finding> = findings.iter().filter(|finding| finding.kind == kind).collect();
        text += &format!("{heading}: {} ({})\n", kind.replace('-', " "), of_kind.len());
        for Finding { category, message, .. } in of_kind.iter().take(most) {
            let category = if name_categories && !category.is_empty() && !message.contains(category.as_str())
            {
                format!("{category}: ")
            } else {
                String::new()
            };
            text += &format!("  {category}{message}\n");
        }
        if of_kind.len() > most {
            text += &format!("  and {} more\n", of_kind.len() - most);
        }
        text.push('\n');
    }
    text
}

fn several(count: usize, what: &str) -> String {
    match count {
        1 => format!("1 {what}"),
        _ => format!("{count} {what}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_are_grouped_and_cut() {
        let finding =
            |kind, message: &str| Finding { kind, category: "gear".into(), message: message.into() };
        let findings = [
            finding("leak", "a"),
            finding("mask-size", "gear/m.png"),
            finding("leak", "b"),
            finding("leak", "c"),
        ];
        let text = list("problem", &findings, true, 2);
        assert_eq!(
            text,
            "problem: leak (3)\n  gear: a\n  gear: b\n  and 1 more\n\nproblem: mask size (1)\n  gear/m.png\n\n"
        );
        assert_eq!(several(1, "note") + &several(0, "note"), "1 note0 notes");
    }
}
