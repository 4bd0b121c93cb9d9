//! `report.html` in a real browser: what `eval`, `infer` and `train-all` leave is opened in a headless Chromium, clicked and
//! typed at, and what then stands on the page is compared with numbers worked out here from predictions.jsonl.
//!
//! Without a Chromium in the path each test says so and passes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // helpers of tests

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, Weak},
};

use simplenet_data::synthetic::{DemoOptions, write_demo};
use simplenet_tests::{
    browser::{Browser, program},
    files::json,
    program::run,
};
use tempfile::TempDir;

#[path = "report/part.rs"]
mod part;
#[path = "report/thousands.rs"]
mod thousands;

use part::{Expected, Part};

/// Good and defective photographs of each category to test on: 12, and 4 of each of 5 defects.
const GOOD: usize = 12;
const EACH_DEFECT: usize = 4;
/// A folder whose name a browser must escape.
const AWAY: &str = "größere Teile № 7 #1 %41";

/// A folder with the demo set in `demo/`, a model of `demo/oak_plank` in `out/` and its page, moved away from what it was
/// made from, in [`AWAY`]. The tests share it.
fn folder() -> Arc<TempDir> {
    static SHARED: Mutex<Weak<TempDir>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    if let Some(folder) = shared.upgrade() {
        return folder;
    }
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let root = folder.path();
    let mut options = DemoOptions::default();
    (options.image_size, options.train_good, options.test_good, options.test_per_defect) =
        (96, 10, GOOD, EACH_DEFECT);
    write_demo(&root.join("demo"), &options, &|_, _| {}).unwrap();
    run(root, "simplenet train --data demo/oak_plank --out out --size 96 --epochs 20").ok();
    run(root, "simplenet eval --model out/model.safetensors --data demo/oak_plank --output seen").ok();
    fs::create_dir(root.join(AWAY)).unwrap();
    fs::rename(root.join("seen/report.html"), root.join(AWAY).join("bericht über alles.html")).unwrap();
    *shared = Arc::downgrade(&folder);
    folder
}

/// The page of the shared folder, its gallery made, and what predictions.jsonl says.
fn evaluated(program: &Path, folder: &TempDir) -> (Browser, Expected) {
    let mut browser = Browser::start(program, 1440, 1000);
    browser.open(&folder.path().join(AWAY).join("bericht über alles.html"));
    Part::first().show_gallery(&mut browser);
    (browser, Expected::read(&folder.path().join("seen/predictions.jsonl")))
}

fn nothing_amiss(browser: &mut Browser) {
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn counts_curves_and_filters_follow_the_threshold() {
    let Some(program) = program() else { return };
    let folder = folder();
    let (mut browser, mut expected) = evaluated(&program, &folder);
    let part = Part::first();
    let model = expected.threshold;
    part.check(&mut browser, &expected, "the model's threshold");
    assert_eq!(browser.value("document.querySelector('.cut button').disabled"), true, "nothing was moved");

    // Typed exactly; between two scores each, and on one: a score at the threshold is rejected.
    let scores = expected.sorted_scores();
    for threshold in
        [(scores[4] + scores[5]) / 2.0, scores[9], scores[scores.len() - 1] + 1.0, scores[0] - 1.0]
    {
        browser.write(".cut input[type=number]", &threshold.to_string());
        expected.threshold = threshold;
        part.check(&mut browser, &expected, &format!("typed {threshold}"));
    }

    // By the slider's keys, and by dragging in the histogram: where the threshold then is, the page says.
    browser.click(".cut button");
    for (what, act) in [
        ("the slider's arrows", (|browser| browser.press(&["ArrowLeft"; 40])) as fn(&mut Browser)),
        ("the slider's end", |browser| browser.press(&["End"])),
        ("the slider, clicked", |browser| browser.drag(".cut input[type=range]", 0.9, 0.3)),
        ("the histogram, dragged", |browser| browser.drag("svg.histogram", 0.8, 0.45)),
    ] {
        browser.value("document.querySelector('.cut input[type=range]').focus()");
        let before = expected.threshold;
        act(&mut browser);
        browser.settle();
        // The field shows seven digits; a score this close to the threshold would make the test say nothing.
        expected.threshold = browser
            .value("document.querySelector('.cut input[type=number]').valueAsNumber")
            .as_f64()
            .unwrap();
        assert_ne!(expected.threshold, before, "{what}");
        part.check(&mut browser, &expected, what);
    }

    browser.click(".cut button");
    expected.threshold = model;
    part.check(&mut browser, &expected, "the model's threshold again");
    nothing_amiss(&mut browser);
}

#[test]
fn the_gallery_is_sorted_filtered_and_searched() {
    let Some(program) = program() else { return };
    let folder = folder();
    let (mut browser, mut expected) = evaluated(&program, &folder);
    // A threshold in the middle of the good ones, so that there are wrong verdicts of both kinds or at least of one.
    let good = expected.sorted_scores_of(false);
    expected.threshold = (good[GOOD / 2] + good[GOOD / 2 - 1]) / 2.0;
    browser.write(".cut input[type=number]", &expected.threshold.to_string());
    let part = Part::first();
    type Order = fn(&Expected, usize) -> f64;
    let orders: [(&str, Order); 3] = [
        ("low", |e, i| e.lines[i].score),
        ("wrong", |e, i| -e.wrongness(i)),
        ("high", |e, i| -e.lines[i].score),
    ];
    for (name, key) in orders {
        browser.choose("[data-role=sort]", name);
        assert_eq!(
            part.cards(&mut browser),
            expected.order(|_| true, |i| key(&expected, i)),
            "sorted: {name}"
        );
    }
    browser.choose("[data-role=sort]", "name");
    let shown = part.cards(&mut browser);
    assert!(shown.windows(2).all(|w| expected.lines[w[0]].path < expected.lines[w[1]].path), "{shown:?}");
    browser.choose("[data-role=sort]", "wrong");

    let all = expected.clone();
    let by = |i: usize| -all.wrongness(i);
    for (filter, holds) in expected.filters() {
        browser.click(&format!("[data-filter={filter}]"));
        assert_eq!(part.cards(&mut browser), expected.order(holds, by), "filter {filter}");
    }
    browser.click("[data-filter=all]");

    let defects = expected.lines.iter().map(|line| line.defect.clone());
    let defects: BTreeMap<String, usize> = defects.fold(BTreeMap::new(), |mut counts, defect| {
        *counts.entry(defect).or_default() += 1;
        counts
    });
    assert_eq!(defects.len(), 6, "five defects and good: {defects:?}");
    for (defect, count) in &defects {
        browser.choose("[data-role=defect]", defect);
        assert_eq!(part.cards(&mut browser).len(), *count, "{defect}");
        assert_eq!(browser.text("[data-role=where]"), format!("1–{count} of {count}"));
    }
    browser.choose("[data-role=defect]", "");

    for text in ["003", "GOOD/", "no such name"] {
        browser.write("[data-role=search]", text);
        let within = |i: usize| all.lines[i].path.to_lowercase().contains(&text.to_lowercase());
        let want = expected.order(within, by);
        assert_eq!(part.cards(&mut browser), want, "search {text}");
        if want.is_empty() {
            assert_eq!(browser.text("[data-role=where]"), "none");
        }
    }
    browser.write("[data-role=search]", "");
    assert_eq!(part.cards(&mut browser).len(), expected.lines.len());

    // Wrong verdicts say so in words, not by their colour alone.
    for (i, line) in expected.lines.iter().enumerate() {
        let label = browser
            .value(&format!("document.querySelector('[data-line=\"{i}\"]').getAttribute('aria-label')"));
        let label = label.as_str().unwrap();
        let rejected = line.score >= expected.threshold;
        let mistake = match (line.anomalous, rejected) {
            (true, false) => ", missed",
            (false, true) => ", false reject",
            _ => "",
        };
        let verdict = if rejected { "anomalous" } else { "normal" };
        assert!(label.ends_with(&format!("judged {verdict}{mistake}")), "{label}");
    }
    nothing_amiss(&mut browser);
}

#[test]
fn the_viewer_is_driven_by_keys() {
    let Some(program) = program() else { return };
    let folder = folder();
    let (mut browser, expected) = evaluated(&program, &folder);
    let order = expected.order(|_| true, |i| -expected.lines[i].score);
    let last = order.len() - 1;
    browser.click(&format!("[data-line=\"{}\"]", order[2]));
    let mut at = 2;
    let steps: [(&str, usize); 10] = [
        ("ArrowRight", 3),
        ("j", 4),
        ("ArrowLeft", 3),
        ("k", 2),
        ("Home", 0),
        ("ArrowLeft", 0),
        ("k", 0),
        ("End", last),
        ("ArrowRight", last),
        ("Home", 0),
    ];
    for (key, to) in steps {
        expected.check_viewer(&mut browser, order[at], at, key);
        browser.press(&[key]);
        at = to;
    }
    // Every photograph: its picture is there and of its shape, its regions and the true defect are drawn where they are.
    for (index, line) in order.iter().enumerate() {
        expected.check_viewer(&mut browser, *line, index, "stepping");
        browser.press(&["ArrowRight"]);
    }
    let (mut drawn, mut outlined) = (0, 0);
    for line in &expected.lines {
        drawn += line.regions.len();
        outlined += usize::from(line.anomalous);
    }
    assert!(drawn > 5 && outlined == 5 * EACH_DEFECT, "{drawn} regions, {outlined} defects");
    browser.click(".viewer .previous");
    assert_eq!(browser.text("[data-role=place]"), format!("{} of {}", last, last + 1));
    browser.click(".viewer .next");

    // Layers by keys and by mouse; both controls of a layer agree.
    let opacity = "getComputedStyle(document.querySelector('.viewer .heat')).getPropertyValue('--heat')";
    browser.press(&["["; 3]);
    assert_eq!(browser.value(opacity), "0.4");
    browser.press(&["]"; 9]);
    assert_eq!(browser.value(opacity), "1");
    assert_eq!(
        browser
            .value("new Set([...document.querySelectorAll('[data-layer=opacity]')].map(i => i.value)).size"),
        1
    );
    browser.press(&["Home"]);
    for (key, layer) in [("h", "heat"), ("g", "truth"), ("r", "regions")] {
        // The first photograph has the highest score: heat, outline and regions are all there.
        let hidden =
            format!("getComputedStyle(document.querySelector('.viewer .{layer}')).display === 'none'");
        let unchecked =
            format!("[...document.querySelectorAll('[data-layer={layer}]')].every(i => !i.checked)");
        assert_eq!(
            (browser.value(&hidden), browser.value(&unchecked)),
            (false.into(), false.into()),
            "{layer}"
        );
        browser.press(&[key]);
        assert_eq!((browser.value(&hidden), browser.value(&unchecked)), (true.into(), true.into()), "{key}");
        browser.click(&format!(".viewer [data-layer={layer}]"));
        assert_eq!(
            (browser.value(&hidden), browser.value(&unchecked)),
            (false.into(), false.into()),
            "{layer}"
        );
    }

    // The keys are explained over the viewer, and Escape leaves one thing at a time.
    browser.press_shifted(&["?"]);
    let open = "[...document.querySelectorAll('dialog[open]')].map(d => d.className).join()";
    assert_eq!(browser.value(open), "viewer,help");
    browser.press(&["Escape"]);
    assert_eq!(browser.value(open), "viewer");
    browser.press(&["ArrowRight", "Escape"]);
    browser.settle();
    assert_eq!(browser.value(open), "");
    let focus = browser.value("document.activeElement.dataset.line");
    assert_eq!(focus, order[1].to_string(), "the card of the photograph that was seen last");
    // On from there by keys alone.
    browser.press(&["ArrowRight", "Enter"]);
    browser.settle();
    expected.check_viewer(&mut browser, order[2], 2, "Enter");
    browser.click(".viewer .close");
    assert_eq!(browser.value(open), "");
    nothing_amiss(&mut browser);
}

#[test]
fn light_and_dark_follow_the_system_or_the_button() {
    let Some(program) = program() else { return };
    let folder = folder();
    let (mut browser, _) = evaluated(&program, &folder);
    let dark = "(() => { const [r, g, b] = getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number);
        return r + g + b < 384; })()";
    let mut all = vec![];
    for theme in ["auto", "light", "dark", "auto"] {
        assert_eq!(browser.text(".theme"), format!("theme: {theme}"));
        for system in ["light", "dark"] {
            browser.prefer(system);
            browser.settle();
            let wanted = if theme == "auto" { system } else { theme };
            assert_eq!(browser.value(dark), wanted == "dark", "theme {theme}, system {system}");
            all.push(browser.value("getComputedStyle(document.querySelector('.panel')).backgroundColor"));
        }
        browser.click(".theme");
    }
    assert!(all[0] != all[1] && all[2] == all[3] && all[4] == all[5], "{all:?}");
    // Text is read on its ground in both: 4.5 to 1 is what WCAG 2.2 asks for (1.4.3).
    for system in ["light", "dark"] {
        browser.prefer(system);
        while browser.text(".theme") != "theme: auto" {
            browser.click(".theme");
        }
        let worst = part::lowest_contrast(&mut browser);
        assert!(worst.0 >= 4.5, "{system}: {:.2} to 1 at {}", worst.0, worst.1);
    }
    nothing_amiss(&mut browser);
}

#[test]
fn everything_has_a_name_a_focus_and_room() {
    let Some(program) = program() else { return };
    let folder = folder();
    let (mut browser, expected) = evaluated(&program, &folder);
    let named = |browser: &mut Browser, what: &str| {
        let controls = [
            "button",
            "checkbox",
            "slider",
            "spinbutton",
            "searchbox",
            "textbox",
            "combobox",
            "link",
            "dialog",
        ];
        let found: Vec<_> =
            browser.accessible().into_iter().filter(|(role, _)| controls.contains(&role.as_str())).collect();
        for (role, name) in &found {
            assert!(!name.trim().is_empty(), "{what}: a {role} without a name among {found:?}");
        }
        found.len()
    };
    // The browser makes this tree when it has time: what is missing at first is waited for.
    let at_least = |browser: &mut Browser, what: &str, n: usize| {
        let found = (0..100).any(|_| {
            browser.settle();
            named(browser, what) >= n
        });
        assert!(found, "{what}: fewer than {n} controls");
    };
    at_least(&mut browser, "page", expected.lines.len() + 11);
    browser.click("[data-line=\"0\"]");
    at_least(&mut browser, "viewer", 7);
    browser.press(&["Escape"]);
    // The focus goes back to the card a little later.
    browser.wait("document.activeElement.dataset.line === '0'");

    // Tab goes through everything, and each place is seen: an outline of two pixels.
    browser.value("document.querySelector('header summary').focus()");
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..25 {
        browser.press(&["Tab"]);
        let focus = browser.value(
            "(() => { const e = document.activeElement, s = getComputedStyle(e);
             return [e.tagName + '.' + e.className + '#' + (e.dataset.filter ?? e.dataset.role ?? e.type ?? ''),
               s.outlineStyle !== 'none' && parseFloat(s.outlineWidth) >= 2]; })()",
        );
        let name = focus[0].as_str().unwrap().to_string();
        assert!(focus[1] == true || name.starts_with("BODY"), "{name} has the focus and does not show it");
        seen.insert(name);
    }
    assert!(seen.len() >= 15, "Tab reaches {seen:?}");

    // A telephone's width, and paper; the settings unfolded, the longest lines of all.
    browser.click("header summary");
    for width in [400, 320, 800, 1440] {
        browser.resize(width, 800);
        browser.settle();
        let wide = browser.value("document.documentElement.scrollWidth").as_u64().unwrap();
        assert!(wide <= width.into(), "{wide} pixels wide in a window of {width}");
        browser.click("[data-line=\"1\"]");
        let fits = "(() => { const b = document.querySelector('.viewer').getBoundingClientRect();
            return b.left >= 0 && b.right <= innerWidth && b.top >= 0 && b.bottom <= innerHeight; })()";
        assert_eq!(browser.value(fits), true, "the viewer in a window of {width}");
        let large = "(() => { const b = document.querySelector('.viewer .frame').getBoundingClientRect();
            return b.width >= innerWidth / 2 && b.height >= innerHeight / 3; })()";
        assert_eq!(browser.value(large), true, "the viewer's photograph in a window of {width}");
        browser.press(&["Escape"]);
    }
    let paper = browser.print();
    assert!(paper.starts_with(b"%PDF-") && paper.len() > 40_000, "{} bytes on paper", paper.len());
    nothing_amiss(&mut browser);
}

#[test]
fn inspected_photographs_without_ground_truth_and_with_a_band_for_review() {
    let Some(program) = program() else { return };
    let folder = folder();
    let root = folder.path();
    fs::create_dir_all(root.join("new")).unwrap();
    fs::write(root.join("new/broken.png"), b"no photograph").unwrap();
    let mut number = 0;
    for kind in fs::read_dir(root.join("demo/oak_plank/test")).unwrap() {
        for photograph in fs::read_dir(kind.unwrap().path()).unwrap() {
            number += 1;
            fs::copy(photograph.unwrap().path(), root.join(format!("new/part {number}.png"))).unwrap();
        }
    }
    let calibrated =
        "--normal demo/oak_plank/test/good --false-reject 10% --review 0.4 --out banded.safetensors";
    run(root, &format!("simplenet calibrate --model out/model.safetensors {calibrated}")).ok();
    let inspect = "simplenet infer --model banded.safetensors --input new --output inspected";
    run(root, inspect).fails(1, &[]);

    let expected = Expected::read(&root.join("inspected/predictions.jsonl"));
    let review = expected.review.expect("a band");
    let mut browser = Browser::start(&program, 1440, 1000);
    browser.open(&root.join("inspected/report.html"));
    let part = Part::first();
    part.show_gallery(&mut browser);
    let count = |expected: &Expected, from: f64, to: f64| {
        expected.lines.iter().filter(|line| line.score >= from && line.score < to).count()
    };
    let mut threshold = expected.threshold;
    for _ in 0..2 {
        let counts = [
            count(&expected, f64::NEG_INFINITY, review),
            count(&expected, review, threshold),
            count(&expected, threshold, f64::INFINITY),
        ];
        assert!(counts.iter().all(|n| *n > 0), "{counts:?}");
        for (column, n) in counts.iter().enumerate() {
            assert_eq!(browser.text(&format!("[data-n=none-{column}]")), n.to_string());
            let name = ["pass", "review", "reject"][column];
            let filter = format!("[data-filter=verdict-{column}]");
            assert_eq!(browser.text(&filter), format!("judged {name} {n}"));
            browser.click(&filter);
            assert_eq!(part.cards(&mut browser).len(), *n);
        }
        let sentence = format!("{} of {} parts rejected.", counts[2], expected.lines.len());
        assert_eq!(browser.text("[data-role=sentence]"), sentence);
        let scores = expected.sorted_scores();
        threshold = (scores[scores.len() - 3] + scores[scores.len() - 4]) / 2.0;
        browser.write(".cut input[type=number]", &threshold.to_string());
    }
    browser.click("[data-filter=all]");
    for absent in
        ["[data-role=roc]", "[data-role=pro]", "[data-n=good-0]", "[data-role=defect]", "[data-filter=wrong]"]
    {
        assert_eq!(
            browser.value(&format!("document.querySelector('{absent}')")),
            serde_json::Value::Null,
            "{absent}"
        );
    }
    assert!(
        browser.text(".failures").contains("Could not be judged: 1")
            && browser.text(".failures").contains("broken.png")
    );
    let order = expected.order(|_| true, |i| -expected.lines[i].score);
    browser.click(&format!("[data-line=\"{}\"]", expected.lines[order[0]].line));
    for (index, i) in order.iter().enumerate() {
        expected.check_viewer(&mut browser, *i, index, "infer");
        browser.press(&["j"]);
    }
    nothing_amiss(&mut browser);
}

#[test]
fn several_categories_stand_on_one_page() {
    let Some(program) = program() else { return };
    let folder = folder();
    let root = folder.path();
    let names = ["oak_plank", "steel_gear"];
    run(root, "xtask train-all --data demo --categories oak_plank,steel_gear --size 96 --epochs 3 --out all")
        .ok();
    let mut browser = Browser::start(&program, 1200, 900);
    browser.open(&root.join("all/report.html"));
    for (number, name) in names.iter().enumerate() {
        let part = Part(number + 1);
        // The table leads to the category.
        browser.click(&format!("a[href=\"#category-{}\"]", number + 1));
        assert_eq!(browser.text(&part.of("h2")), *name);
        part.show_gallery(&mut browser);
        let mut expected = Expected::read(&root.join("all").join(name).join("predictions.jsonl"));
        part.check(&mut browser, &expected, name);
        // Each has a threshold of its own.
        let scores = expected.sorted_scores();
        expected.threshold = (scores[10] + scores[11]) / 2.0;
        browser.write(&part.of(".cut input[type=number]"), &expected.threshold.to_string());
        part.check(&mut browser, &expected, name);
    }
    let metrics = json(&root.join("all/oak_plank/metrics.json"));
    let auroc = metrics["image_AUROC"].as_f64().unwrap();
    let cell = browser.text("tbody tr:first-child td");
    assert_eq!(cell, format!("{auroc:.4}"), "the table's first cell is the image AUROC");
    nothing_amiss(&mut browser);
}

/// Where a test that makes pictures for the documentation puts them.
fn pictures() -> PathBuf {
    std::env::var_os("SIMPLENET_SCREENSHOTS").map(PathBuf::from).expect("SIMPLENET_SCREENSHOTS=FOLDER")
}

#[test]
#[ignore = "makes pictures to look at: SIMPLENET_REPORT=report.html SIMPLENET_SCREENSHOTS=FOLDER"]
fn pictures_of_a_report() {
    let program = program().expect("a Chromium");
    let page = PathBuf::from(std::env::var_os("SIMPLENET_REPORT").expect("SIMPLENET_REPORT=report.html"));
    let out = pictures();
    fs::create_dir_all(&out).unwrap();
    let mut browser = Browser::start(&program, 1440, 1000);
    for scheme in ["light", "dark"] {
        for (width, height) in [(1440, 1000), (400, 860)] {
            browser.resize(width, height);
            browser.prefer(scheme);
            browser.open(&page);
            let file = |name: &str| out.join(format!("{name}-{scheme}-{width}.png"));
            browser.screenshot(&file("page"));
            Part::first().show_gallery(&mut browser);
            browser.value("document.querySelector('section.category').scrollIntoView()");
            browser.screenshot(&file("category"));
            browser.value("document.querySelector('.gallery').scrollIntoView()");
            browser.screenshot(&file("gallery"));
            browser.click(".card:nth-child(3)");
            browser.value("Promise.all([...document.querySelectorAll('.viewer img')].map(i => i.decode())).then(() => true)");
            browser.screenshot(&file("viewer"));
        }
    }
}
