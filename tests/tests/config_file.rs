//! The configuration file: every flag of every verb in it, who wins over whom, what a wrong one says, and what `--print-config`
//! writes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // helpers of tests

use std::{ffi::OsString, fs};

use clap::CommandFactory;
use simplenet_cli::{
    args::{Cli, MapFormatArg, Verb},
    config_file::{Asked, Call, Refused, Vocabulary, call},
    tell::LogFormat,
};
use simplenet_tests::{
    config_calls::{every_flag_can_stand_in_a_file, what_is_printed_gives_the_same_call},
    demo,
    files::json,
    program::run,
};

fn vocabulary() -> Vocabulary {
    Vocabulary::of_simplenet(Cli::command())
}

/// A call with the file `text`: `simplenet LINE --config FILE`.
fn asked(text: &str, line: &str) -> Asked<Cli> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("line.toml");
    fs::write(&file, text).unwrap();
    let words = ["simplenet"].into_iter().chain(line.split_whitespace()).map(OsString::from);
    call(&vocabulary(), words.chain(["--config".into(), file.into()]).collect())
}

fn verb(text: &str, line: &str) -> Verb {
    match asked(text, line).call {
        Ok(Call::Run { arguments, .. }) => arguments.verb,
        other => panic!("{line} with\n{text}\n{other:?}"),
    }
}

fn refused(text: &str, line: &str) -> String {
    match asked(text, line).call {
        Err(Refused::File(error)) => error.to_string(),
        Err(Refused::CommandLine(error)) => error.to_string(),
        other => panic!("{line} with\n{text}\n{other:?}"),
    }
}

#[test]
fn every_flag() {
    every_flag_can_stand_in_a_file::<Cli>(&vocabulary());
}

#[test]
fn every_verb_printed() {
    what_is_printed_gives_the_same_call::<Cli>(&vocabulary());
}

#[test]
fn the_command_line_wins_over_the_table_and_the_table_over_the_top() {
    let text = "threads = 1\n[infer]\nthreads = 2\nmap_format = \"png\"\ninput = [\"a\", \"b\"]\n[eval]\nbatch = 3\n";
    let threads = |line: &str| match asked(text, line).call {
        Ok(Call::Run { arguments, .. }) => arguments.global.threads,
        other => panic!("{other:?}"),
    };
    assert_eq!(threads("info"), Some(1), "the top");
    assert_eq!(threads("infer"), Some(2), "the table");
    assert_eq!(threads("infer --threads 4"), Some(4), "behind the verb");
    assert_eq!(threads("--threads 4 infer"), Some(4), "before the verb");
    let Verb::Infer(infer) = verb(text, "infer --input c") else { panic!("infer") };
    assert_eq!((infer.map_format, infer.photographs.input), (MapFormatArg::Png, vec!["c".into()]));
    assert_eq!(infer.batch.batch, None, "another verb's table");
}

#[test]
fn what_is_typed_sets_aside_what_contradicts_it() {
    let text = "[train]\ndata = \"a\"\nfeature_cache = \"c\"\n";
    let Verb::Train(train) = verb(text, "train --normal b --no-feature-cache") else { panic!("train") };
    assert_eq!((train.source.data, train.source.folders.normal), (None, vec!["b".into()]));
    assert_eq!(train.settings.storage.feature_cache, None);
    // Switches that are off and flags that are their default are as if they were not there.
    let text =
        "[train]\nnormal = \"a\"\nno_feature_cache = false\nfeature_cache = \"c\"\ntensorboard = false\n";
    let Verb::Train(train) = verb(text, "train") else { panic!("train") };
    assert_eq!((train.settings.storage.feature_cache, train.run.tensorboard), (Some("c".into()), None));
}

#[test]
fn what_is_wrong_is_named_with_file_line_and_what_would_do() {
    let cases: [(&str, &str, &[&str]); 24] = [
        ("x = 1", "info", &["line 1: unknown key `x`"]),
        ("\nthread = 2", "info", &["line 2: unknown key `thread`; did you mean `threads`?"]),
        ("[infr]", "info", &["line 1: unknown table `infr`; did you mean `infer`?"]),
        (
            "[infer]\nmap_fromat = \"npy\"",
            "info",
            &["line 2:", "`map_fromat`; did you mean `map_format`? (in [infer])"],
        ),
        ("[infer]\nmap-format = \"npy\"", "info", &["did you mean `map_format`?"]),
        ("[train]\nhidden = 3", "info", &["line 2:", "setting of the training", "above all tables"]),
        ("preset = \"paper\"", "info", &["`preset`", "[train]"]),
        ("[train]\nconfig = \"a\"", "info", &["unknown key `config`"]),
        (
            "noise_sgima = 1.0",
            "train --normal a",
            &["line 1: unknown key `noise_sgima`; did you mean `noise_sigma`?"],
        ),
        ("infer = 3", "info", &["`infer` must be a table: `[infer]`"]),
        ("threads = \"four\"", "info", &["`threads` must be a whole number, like `threads = 1`", "\"four\""]),
        (
            "[infer]\nmodel = 3",
            "info",
            &["`model` must be a text in quotes, like `model = \"FILE\"`", "(in [infer])"],
        ),
        ("[train]\nfresh = \"yes\"", "info", &["`fresh` must be true or false, like `fresh = true`"]),
        ("[infer]\ninput = [[1]]", "info", &["`input` must be a value or a list", "`[1]`"]),
        ("[infer]\nmodel = 1979-05-27", "info", &["a date or time: `1979-05-27`"]),
        (
            "[infer]\nmap_format = \"nyp\"",
            "infer",
            &[
                "line 2: `map_format = \"nyp\"` in [infer]: unknown value `nyp`; the nearest known one is `npy` (it takes npy, png, none)",
            ],
        ),
        ("threads = 0", "info", &["line 1: `threads = 0`: ", "`threads = 1`"]),
        (
            "[train]\nnormal = \"a\"\nsize = 8",
            "train",
            &["line 3: `size = 8` in [train]: `8` is not a number of pixels"],
        ),
        (
            "[train]\nnormal = \"a\"\nsave_every = \"soon\"",
            "train",
            &["`soon` is not a number of seconds", "`save_every = 10`"],
        ),
        (
            "[train]\ndata = \"a\"\n\nnormal = \"b\"",
            "train",
            &["in [train]: it cannot stand beside `", "(line ", "line.toml"],
        ),
        ("[eval]\ndata = \"a\"", "eval", &["--model <FILE>", "line.toml may say it too, in [eval]"]),
        ("[infer\n", "info", &["line.toml: line 1: "]),
        ("a = 1\na = 2\n", "info", &["line.toml: line 2: "]),
        (
            "[infer]\nmap_format = \"npy\"",
            "infer --map-format gif",
            &["invalid value 'gif' for '--map-format"],
        ),
    ];
    for (text, line, words) in cases {
        let said = refused(text, line);
        for word in words {
            assert!(said.contains(word), "no {word:?} for {text:?}:\n{said}");
        }
    }
    // What `cargo xtask` checks is passed over here, and so are the settings of the training.
    verb("epochs = 3\n[train-all]\nseeds = [1]\n[xtask.bench]\nrounds = 3", "info");
}

#[test]
fn the_files_form_of_the_log_holds_for_its_own_errors() {
    let asked = asked("log_format = \"json\"\n[infer]\nbatch = 0\n", "infer");
    assert!(matches!(asked.call, Err(Refused::File(_))));
    assert_eq!(asked.log_format, LogFormat::Json);
}

#[test]
fn one_file_trains_and_inspects() {
    let folder = demo::folder();
    let text = "
threads = 2
epochs = 4
[calibration]
held_out_share = 0.25
[train]
data = \"demo/oak_plank\"
out = \"out\"
size = 96
epochs = 3
[infer]
model = \"out/model.safetensors\"
input = [\"demo/oak_plank/test/dent\"]
output = \"seen\"
map_format = \"none\"
";
    fs::write(folder.path().join("line.toml"), text).unwrap();
    run(folder.path(), "simplenet train --config line.toml").ok().says(&["model: out/model.safetensors"]);
    let record = json(&folder.path().join("out/training.json"));
    assert_eq!(record["losses"].as_array().unwrap().len(), 3, "the table wins over the top");
    let config = fs::read_to_string(folder.path().join("out/config.toml")).unwrap();
    assert!(config.contains("held_out_share = 0.25"), "{config}");
    run(folder.path(), "simplenet infer --config line.toml").ok().says(&["1 anomalous", "are in seen"]);
    assert!(!folder.path().join("seen/anomaly_maps").exists());

    // The printed configuration is complete, does nothing, and trains the same model.
    let printed = run(folder.path(), "simplenet train --config line.toml --out again --print-config").ok();
    assert!(!folder.path().join("again").exists());
    printed.check(printed.err.is_empty(), "nothing else is said");
    fs::write(folder.path().join("again.toml"), &printed.out).unwrap();
    run(folder.path(), "simplenet train --config again.toml").ok();
    for file in ["model.safetensors", "config.toml"] {
        let read = |out: &str| fs::read(folder.path().join(out).join(file)).unwrap();
        assert!(read("out") == read("again"), "{file} differs");
    }
    // A model's own settings are a configuration file too, for any verb.
    run(folder.path(), "simplenet info --model out/model.safetensors --config out/config.toml").ok();
    // A file in the working directory is not read unless it is named.
    fs::write(folder.path().join("simplenet.toml"), "nonsense").unwrap();
    run(folder.path(), "simplenet info --model out/model.safetensors").ok();
    run(folder.path(), "simplenet info --config simplenet.toml").refused(&["simplenet.toml: line 1: "]);
}
