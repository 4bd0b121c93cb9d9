//! Tests of the page as a whole, and of the choice of photographs.

use super::*;
use crate::output::prediction::{JsonPath, Milliseconds, PredictionError, Verdict};
use crate::output::table::{ResultRow, RunNumbers};
use std::path::Path;

fn record(name: &str, score: f32, label: Option<Verdict>) -> PredictionRecord {
    PredictionRecord {
        path: JsonPath::new(Path::new(name)),
        score,
        threshold: Some(0.5),
        verdict: Some(Verdict::of(score, 0.5)),
        review_threshold: None,
        decision: None,
        regions: vec![],
        milliseconds: Milliseconds::default(),
        image_size: [64, 48],
        inspected_share: 1.0,
        model_id: "abc".into(),
        precision: Default::default(),
        device: crate::output::prediction::cpu(),
        heatmap: None,
        anomaly_map: None,
        label,
        defect: label.map(|l| if l == Verdict::Normal { "good".into() } else { "hole".into() }),
    }
}

fn report(predictions: Vec<PredictionLine>) -> Report {
    let run = RunNumbers { image_auroc: Some(0.975), ..RunNumbers::default() };
    Report {
        title: "Run <7>".into(),
        facts: vec![Fact::new("machine", "2 cores & more")],
        settings: vec![Fact::new("epochs", "40")],
        table: ResultTable { rows: vec![ResultRow::new("bolt", vec![run])] },
        categories: vec![CategoryReport {
            name: "bolt".into(),
            metrics: vec![Fact::new("pixel AUROC", "n/a").with_detail("no masks")],
            threshold: Some(0.5),
            predictions,
            note: None,
        }],
    }
}

fn picture() -> Option<Pictures> {
    let photograph = RgbImage::from_pixel(64, 48, image::Rgb([9, 99, 199]));
    Some(Pictures { overlay: Some(photograph.clone()), photograph })
}

fn lines(records: impl IntoIterator<Item = PredictionRecord>) -> Vec<PredictionLine> {
    records.into_iter().map(PredictionLine::Prediction).collect()
}

/// Opening and closing tags of the elements that need both must balance.
fn check_balanced(html: &str) {
    for tag in
        ["div", "section", "table", "figure", "figcaption", "span", "dl", "ul", "details", "svg", "main", "p"]
    {
        let opened = html.matches(&format!("<{tag}>")).count() + html.matches(&format!("<{tag} ")).count();
        assert_eq!(opened, html.matches(&format!("</{tag}>")).count(), "<{tag}>");
    }
}

#[test]
fn the_page_is_whole_and_self_contained() {
    use Verdict::{Anomalous, Normal};
    let mut predictions = lines([
        record("good/001.png", 0.7, Some(Normal)),
        record("hole/002.png", 0.1, Some(Anomalous)),
        record("hole/003.png", 0.9, Some(Anomalous)),
    ]);
    predictions.push(PredictionLine::Error(PredictionError {
        path: JsonPath::new(Path::new("bad.png")),
        error: "truncated".into(),
    }));
    let html = render(&report(predictions), &ReportOptions::default(), &mut |_, _| picture()).unwrap();
    check_balanced(&html);
    for expected in [
        "<title>Run &lt;7&gt;</title>",
        "2 cores &amp; more",
        "0.9750",
        "no masks",
        "href=\"#category-1\"",
        "false accept",
        "false reject",
        "truth: hole",
        "<b>1</b> of 2 defective parts found",
        "Could not be judged: 1",
        "All 3 images",
    ] {
        assert!(html.contains(expected), "{expected}");
    }
    assert_eq!(html.matches("src=\"data:image/jpeg;base64,").count(), 6);
    for outside in ["http://", "https://", "<script", "@import", "url("] {
        assert!(!html.contains(outside), "{outside}");
    }
}

#[test]
fn hostile_names_stay_text() {
    let name = "\"><script>alert(1)</script>.png";
    let mut page = report(lines([record(name, 0.2, None)]));
    page.categories[0].name = "<b>bolt".into();
    page.table.rows[0].category = "<b>bolt".into();
    let html = render(&page, &ReportOptions::default(), &mut |_, _| None).unwrap();
    check_balanced(&html);
    assert!(!html.contains("<script") && !html.contains("<b>bolt"));
    assert!(html.contains("picture not available"));
}

#[test]
fn the_cap_holds_and_the_page_says_so() {
    let many = (0..100).map(|i| record(&format!("{i}.png"), i as f32 / 100.0, Some(Verdict::Normal)));
    let options = ReportOptions { photographs_per_category: 60, ..ReportOptions::default() };
    let mut asked = 0;
    let html = render(&report(lines(many)), &options, &mut |_, _| {
        asked += 1;
        None
    })
    .unwrap();
    assert_eq!((asked, html.matches("<figure").count()), (60, 60));
    assert!(
        html.contains("60 of 100 images to keep this file small: all 50 wrong verdicts, then the highest")
    );
}

#[test]
fn an_empty_report_is_a_page() {
    let html = render(&Report::default(), &ReportOptions::default(), &mut |_, _| None).unwrap();
    check_balanced(&html);
    let failed = CategoryReport { note: Some("failed: no images".into()), ..CategoryReport::default() };
    let page = Report { categories: vec![failed], ..Report::default() };
    let html = render(&page, &ReportOptions::default(), &mut |_, _| None).unwrap();
    check_balanced(&html);
    assert!(html.contains("failed: no images"));
}

#[test]
fn wrong_verdicts_first_then_both_ends() {
    use Verdict::{Anomalous, Normal};
    let scores = [
        (0.10, Normal),
        (0.20, Normal),
        (0.30, Normal),
        (0.45, Anomalous), // missed
        (0.60, Normal),    // rejected
        (0.70, Anomalous),
        (0.80, Anomalous),
        (0.05, Anomalous), // missed, far
    ];
    let records: Vec<PredictionRecord> =
        scores.iter().map(|(s, l)| record(&format!("{s}"), *s, Some(*l))).collect();
    let refs: Vec<&PredictionRecord> = records.iter().collect();
    let cases: [(usize, &[usize]); 6] = [
        (0, &[]),
        (1, &[7]),
        (2, &[4, 7]),
        (5, &[6, 4, 3, 0, 7]),
        (6, &[6, 5, 4, 3, 0, 7]),
        (99, &[6, 5, 4, 3, 2, 1, 0, 7]),
    ];
    for (cap, expected) in cases {
        assert_eq!(gallery::choose(&refs, cap), expected, "cap {cap}");
    }
}
