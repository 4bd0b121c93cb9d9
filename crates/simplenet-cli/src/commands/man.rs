//! `simplenet man`: the manual pages, from the same definitions as `--help`, with what help has no room for: files, environment,
//! exit codes, examples.

use std::path::Path;

use clap::{
    Command, CommandFactory,
    builder::{Resettable, StyledStr},
};
use clap_mangen::Man;

use crate::{
    args::{Cli, ManArgs},
    error::CliError,
    output::atomic,
    tell,
};

/// What a run ends with.
const EXIT_CODES: [(&str, &str); 4] = [
    ("0", "All went well. A verdict is no failure: anomalous photographs do not change the exit code."),
    ("1", "Something failed: a photograph, a file, a setting. The others were worked on."),
    ("2", "The command line cannot be read."),
    (
        "130",
        "Stopped by Ctrl-C or SIGTERM. What was complete is kept, and the same command goes on after it.",
    ),
];

/// What lies where.
const FILES: [(&str, &str); 5] = [
    (
        "results/NAME/model.safetensors",
        "A trained model, with config.toml, training.json and metrics beside it.",
    ),
    ("results/infer/", "Heat maps, raw anomaly maps and predictions.jsonl of `simplenet infer`."),
    ("FILE.toml of --config", "Flags and settings. No file is read that was not named."),
    ("~/.cache/simplenet/features/", "Features of photographs, kept from training to training."),
    ("~/.cache/huggingface/hub/", "Downloaded backbone weights."),
];

/// Variables that are looked at.
const ENVIRONMENT: [(&str, &str); 7] = [
    ("NO_COLOR", "Not empty: no colours, in bars, help and errors. https://no-color.org"),
    ("TERM", "`dumb`: no bars."),
    ("HF_HOME, HF_HUB_CACHE", "Where downloaded weights lie."),
    ("HF_ENDPOINT, HF_TOKEN", "Where they are downloaded from, and the token for it."),
    ("HF_HUB_OFFLINE", "Set: nothing is downloaded."),
    ("HF_HUB_DOWNLOAD_TIMEOUT", "Seconds after which a server that sends next to nothing is given up; 20."),
    ("XDG_CACHE_HOME", "In the place of ~/.cache, for features."),
];

/// Calls that a person may begin with.
const EXAMPLES: [(&str, &str); 6] = [
    (
        "simplenet train --normal photographs/good --out results/part",
        "Train on a folder of photographs of good parts.",
    ),
    (
        "simplenet infer --model results/part/model.safetensors --input photographs/new",
        "Inspect photographs: a line, a heat map and a record of each.",
    ),
    (
        "simplenet calibrate --model results/part/model.safetensors --normal photographs/more --false-reject 0.5%",
        "Set the threshold anew from further good parts.",
    ),
    ("simplenet infer --config line.toml --print-config", "See what a configuration file makes of a call."),
    (
        "simplenet infer --config line.toml --log-format json 2>> line.log",
        "On a line: everything from one file, every event as a line of JSON.",
    ),
    ("simplenet verify --model results/part/model.safetensors", "Does this machine give the model's scores?"),
];

/// Runs the verb.
///
/// # Errors
/// A folder that cannot be written.
pub fn run(args: &ManArgs) -> Result<(), CliError> {
    let pages = pages()?;
    let Some(folder) = &args.out else {
        // The first one is the program's.
        pages.first().into_iter().for_each(|(_, page)| tell::data(page));
        return Ok(());
    };
    std::fs::create_dir_all(folder).map_err(CliError::io("create", folder))?;
    for (name, page) in &pages {
        atomic::write_text(&folder.join(name), page)?;
    }
    println!("{} pages in {}", pages.len(), folder.display());
    Ok(())
}

/// Every page with its file's name; the program's first.
///
/// # Errors
/// A page that cannot be made.
pub fn pages() -> Result<Vec<(String, String)>, CliError> {
    let mut program = Cli::command();
    program.build();
    let mut pages = vec![];
    collect(&program, &mut pages)?;
    Ok(pages)
}

fn collect(command: &Command, pages: &mut Vec<(String, String)>) -> Result<(), CliError> {
    // `simplenet-infer`; the program's own name has no more parts.
    let name = command.get_display_name().unwrap_or(command.get_name()).to_string();
    // Its own section would join the lines.
    let described = command.clone().after_help(Resettable::<StyledStr>::Reset);
    let page = Man::new(described).title(name.to_uppercase()).source(simplenet_train::program());
    let mut text = vec![];
    page.render(&mut text).map_err(CliError::io("make", Path::new(&page.get_filename())))?;
    let mut text = String::from_utf8_lossy(&text).into_owned();
    if let Some(notes) = command.get_after_help().filter(|_| !pages.is_empty()) {
        let lines: String = notes.to_string().lines().map(|line| roff(line) + "\n").collect();
        text += &format!(".SH \"NOTES\"\n.nf\n{lines}.fi\n");
    }
    text += &section("EXIT STATUS", &EXIT_CODES);
    if pages.is_empty() {
        text += &section("FILES", &FILES);
        text += &section("ENVIRONMENT", &ENVIRONMENT);
        text += &section("EXAMPLES", &EXAMPLES);
    } else {
        text += ".SH \"SEE ALSO\"\n\\fBsimplenet\\fR(1)\n";
    }
    pages.push((page.get_filename(), text));
    let verbs = command.get_subcommands().filter(|verb| verb.get_name() != "help" && !verb.is_hide_set());
    verbs.into_iter().try_for_each(|verb| collect(verb, pages))
}

/// A list of terms, each with what it means.
fn section(title: &str, items: &[(&str, &str)]) -> String {
    let item = |(term, meaning): &(&str, &str)| format!(".TP\n\\fB{}\\fR\n{}\n", roff(term), roff(meaning));
    format!(".SH \"{title}\"\n{}", items.iter().map(item).collect::<String>())
}

/// Text as roff reads it: hyphens that may be copied, and no line that begins with a request's sign.
fn roff(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-").replace('~', "\\(ti");
    if text.starts_with(['.', '\'']) { format!("\\&{text}") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verb_has_a_page() {
        let pages = pages().unwrap();
        let names: Vec<&str> = pages.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names[0], "simplenet.1");
        for verb in ["train", "eval", "infer", "calibrate", "info", "verify", "bench", "completions", "man"] {
            assert!(names.contains(&format!("simplenet-{verb}.1").as_str()), "{verb} in {names:?}");
        }
        for word in ["EXIT STATUS", "NO_COLOR", "HF_HOME", "FILES", "EXAMPLES", "130"] {
            assert!(pages[0].1.contains(word), "{word}");
        }
        let infer = pages.iter().find(|(name, _)| name == "simplenet-infer.1").unwrap();
        assert!(infer.1.contains("map\\-format") && infer.1.contains("SEE ALSO"), "{}", infer.1);
    }
}
