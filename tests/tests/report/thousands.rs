//! The page of two thousand photographs: how large it is, how soon it is there, how fast it follows. What is measured is printed;
//! the limits are wide, so that a busy machine passes.
//!
//! `cargo test -p simplenet-tests --test report -- --ignored --nocapture two_thousand`

use std::{
    fs,
    time::{Duration, Instant},
};

use serde_json::json;
use simplenet_data::synthetic::{DEMO_CATEGORIES, DemoOptions, write_demo};
use simplenet_tests::{
    browser::{Browser, program},
    files::names,
    program::run,
};

use super::part::{Expected, Part};

/// Good photographs, and as many defective ones of five kinds together.
const GOOD: usize = 1000;
/// Drawing is slow: each photograph is there this many times.
const COPIES: usize = 20;
/// Width and height: more than the page keeps of so many photographs, so that they are made smaller as real ones are.
const SIDE: u32 = 448;
/// Cards on one page of the gallery.
const CARDS: usize = 48;
/// Steps of the viewer, and moves of the slider.
const STEPS: usize = 120;
const MOVES: usize = 60;

/// Milliseconds from each key or move of the slider until what it changed was drawn, its pictures decoded.
const WATCH: &str = "window.took = [];
    const after = event => Promise.all([...document.querySelectorAll('.viewer[open] .frame img')].map(i => i.decode()))
      .then(() => requestAnimationFrame(() => setTimeout(() => window.took.push(performance.now() - event.timeStamp))));
    addEventListener('keydown', event => { if (!event.target.matches('input')) after(event); });
    addEventListener('input', event => { if (event.target.matches('.cut input[type=range]')) after(event); });";

/// What [`WATCH`] saw of `n` events: median and longest, milliseconds.
fn took(browser: &mut Browser, n: usize) -> (f64, f64) {
    browser.wait(&format!("window.took.length === {n}"));
    let mut all: Vec<f64> = serde_json::from_value(browser.value("window.took.splice(0)")).unwrap();
    all.sort_by(f64::total_cmp);
    (all[n / 2], all[n - 1])
}

/// Where the photographs of a kind of the demo set go.
fn folder_of(kind: &str) -> String {
    if kind == "good" { kind.to_string() } else { format!("bad/{kind}") }
}

#[test]
#[ignore = "inspects 2,000 photographs: about a minute"]
fn two_thousand_photographs_do_not_slow_the_page() {
    let Some(program) = program() else { return };
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let mut options = DemoOptions::default();
    (options.image_size, options.train_good, options.test_good, options.test_per_defect) =
        (SIDE, 10, GOOD / COPIES, GOOD / COPIES / 5);
    // A category that is there is not drawn.
    for category in DEMO_CATEGORIES.iter().filter(|name| **name != "oak_plank") {
        fs::create_dir_all(root.join("demo").join(category)).unwrap();
    }
    write_demo(&root.join("demo"), &options, &|_, _| {}).unwrap();
    for kind in names(&root.join("demo/oak_plank/test")) {
        let (from, to) = (root.join("demo/oak_plank/test").join(&kind), root.join(folder_of(&kind)));
        fs::create_dir_all(&to).unwrap();
        for (name, copy) in names(&from).iter().flat_map(|name| (0..COPIES).map(move |copy| (name, copy))) {
            fs::hard_link(from.join(name), to.join(format!("{copy:02}-{name}"))).unwrap();
        }
    }
    run(root, "simplenet train --data demo/oak_plank --out out --size 96 --epochs 4").ok();
    let test = "--normal-test good --abnormal bad --output seen";
    run(root, &format!("simplenet eval --model out/model.safetensors {test}")).ok();
    let page = root.join("seen/report.html");
    let mib = fs::metadata(&page).unwrap().len() as f64 / f64::from(1 << 20);

    let mut browser = Browser::start(&program, 1440, 1000);
    let ready = browser.open(&page);
    let began = Instant::now();
    let part = Part::first();
    part.show_gallery(&mut browser);
    let gallery = began.elapsed();
    let mut expected = Expected::read(&root.join("seen/predictions.jsonl"));
    assert_eq!(expected.lines.len(), 2 * GOOD);
    expected.outlined = false;
    part.check(&mut browser, &expected, "two thousand");
    let order = expected.order(|_| true, |i| -expected.lines[i].score);
    assert_eq!(part.cards(&mut browser), order[..CARDS]);
    assert_eq!(browser.text("[data-role=where]"), format!("1–{CARDS} of {}", 2 * GOOD));
    browser.click("[aria-label='Page after']");
    assert_eq!(part.cards(&mut browser), order[CARDS..2 * CARDS]);
    browser.value(WATCH);

    // The viewer goes through all of them; closing it leads to the page of the gallery where the last one is.
    browser.click(&format!("[data-line=\"{}\"]", order[CARDS]));
    browser.press(&["End", "Home"]);
    took(&mut browser, 2);
    for index in 1..=STEPS {
        browser.press(&["ArrowRight"]);
        if index % 30 == 0 {
            expected.check_viewer(&mut browser, order[index], index, "stepping");
        }
    }
    let step = took(&mut browser, STEPS);
    browser.press(&["Escape"]);
    took(&mut browser, 1);
    let focus = browser.value("document.activeElement.dataset.line");
    assert_eq!(focus, json!(order[STEPS].to_string()));

    // The slider: all counts, filters and the gallery follow.
    browser.value("document.querySelector('.cut input[type=range]').focus()");
    browser.press(&["ArrowRight"; MOVES]);
    let slider = took(&mut browser, MOVES);
    expected.threshold =
        browser.value("document.querySelector('.cut input[type=number]').valueAsNumber").as_f64().unwrap();
    part.check(&mut browser, &expected, "moved");

    let began = Instant::now();
    browser.write("[data-role=search]", "good/07-");
    let search = began.elapsed();
    let heap = browser.value("performance.memory.usedJSHeapSize").as_f64().unwrap() / f64::from(1 << 20);
    assert_eq!(browser.complaints(), Vec::<String>::new());

    println!(
        "{} photographs: page {mib:.1} MiB, ready after {ready:.2?}, gallery after another {gallery:.2?}; a step of the \
         viewer {:.1} ms (longest {:.1}), a move of the slider {:.1} ms (longest {:.1}), a search {search:.2?}; script's \
         memory {heap:.0} MiB",
        2 * GOOD,
        step.0,
        step.1,
        slider.0,
        slider.1
    );
    assert!(mib < 64.0, "a page of {mib:.1} MiB");
    assert!(ready < Duration::from_secs(20) && gallery < Duration::from_secs(5), "{ready:?}, {gallery:?}");
    assert!(step.0 < 250.0 && slider.0 < 250.0, "{step:?}, {slider:?}");
}
