//! Tests of the page as a whole, of the order of photographs and of the room that they are given.

use super::budget::{Size, plan};
use super::interest::by_interest;
use super::*;
use crate::output::heatmap::ScoreRange;
use crate::output::layers::LayerSizes;
use crate::output::prediction::{JsonPath, Milliseconds, PredictionError, PredictionRecord, Verdict};
use crate::output::table::{ResultRow, RunNumbers};
use image::RgbImage;
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
        differences: vec![],
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
    let point = |x, y, threshold| CurvePoint { x, y, threshold };
    let points = vec![
        point(0.0, 0.0, None),
        point(0.0, 0.5, Some(0.9)),
        point(0.5, 1.0, Some(0.5)),
        point(1.0, 1.0, Some(0.1)),
    ];
    let curve = Curve { area: Some(0.875), points, threshold: Some(0.6) };
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
            roc: Some(curve.clone()),
            pro: Some(curve),
            ..CategoryReport::default()
        }],
    }
}

/// The same pictures for every prediction, or none.
struct Same(Option<Layers>);

impl PictureSource for Same {
    fn page_bytes(&self, _: usize, _: usize) -> usize {
        self.0.as_ref().map_or(0, Layers::page_bytes)
    }

    fn read(&mut self, _: usize, _: usize) -> Result<Option<Layers>, OutputError> {
        Ok(self.0.clone())
    }
}

fn layers() -> Layers {
    // A pattern that is worth compressing: its size falls with its side.
    let photograph =
        RgbImage::from_fn(640, 480, |x, y| image::Rgb([(x * y % 251) as u8, (x * 7 % 256) as u8, 9]));
    let range = ScoreRange::new(0.0, 1.0).unwrap();
    Layers::draw(&photograph, &vec![0.4; 640 * 480], range, LayerSizes::for_count(1)).unwrap()
}

fn page(report: &Report, options: &ReportOptions, pictures: Option<Layers>) -> String {
    let mut html = String::new();
    render(report, options, &mut Same(pictures), &mut |piece| {
        html.push_str(piece);
        Ok(())
    })
    .unwrap();
    html
}

fn lines(records: impl IntoIterator<Item = PredictionRecord>) -> Vec<PredictionLine> {
    records.into_iter().map(PredictionLine::Prediction).collect()
}

/// The page without its script, style and embedded data.
fn body(html: &str) -> &str {
    let start = html.find("<body>").unwrap();
    &html[start..html.find("<script type=\"application/json\"").unwrap()]
}

/// What the script reads.
fn data(html: &str) -> serde_json::Value {
    let (_, rest) = html.split_once("<script type=\"application/json\" id=\"data\">").unwrap();
    serde_json::from_str(rest.split_once("</script>").unwrap().0).unwrap()
}

/// Opening and closing tags of the elements that need both must balance.
fn check_balanced(html: &str) {
    for tag in [
        "div",
        "section",
        "table",
        "figure",
        "figcaption",
        "span",
        "dl",
        "ul",
        "details",
        "svg",
        "main",
        "p",
        "tr",
    ] {
        let opened = html.matches(&format!("<{tag}>")).count() + html.matches(&format!("<{tag} ")).count();
        let closed = html.matches(&format!("</{tag}>")).count();
        // The body is cut before its end.
        assert_eq!(opened, closed, "<{tag}>");
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
    let html = page(&report(predictions), &ReportOptions::default(), Some(layers()));
    check_balanced(body(&html));
    for expected in [
        "<title>Run &lt;7&gt;</title>",
        "2 cores &amp; more",
        "0.9750",
        "no masks",
        "href=\"#category-1\"",
        "<b>1</b> of 2 defective parts found",
        "data-n=\"good-2\">1<",
        "data-rate=\"recall\">50.0 %",
        "AUROC 0.8750",
        "AUPRO@0.30 0.8750",
        "Could not be judged: 1",
    ] {
        assert!(html.contains(expected), "{expected}");
    }
    assert!(!html.contains("To keep this file small"));
    assert_eq!(html.matches("<script type=\"text/plain\" id=\"p0-").count(), 3);
    assert_eq!(data(&html)["categories"][0]["images"][1]["n"], "hole/002.png");
    assert_eq!(data(&html)["categories"][0]["images"][1]["l"], 1);
    // Only the names of SVG and HTML themselves: nothing is loaded.
    for outside in ["https://", "@import", "url(", " src=\"http", " href=\"http"] {
        assert!(!html.contains(outside), "{outside}");
    }
}

#[test]
fn hostile_names_stay_text() {
    let name = "\"></script><script>alert(1)</script><!--.png";
    let mut hostile = report(lines([record(name, 0.2, None)]));
    hostile.categories[0].name = "<b>bolt".into();
    hostile.table.rows[0].category = "<b>bolt".into();
    let html = page(&hostile, &ReportOptions::default(), None);
    check_balanced(body(&html));
    assert!(!html.contains("<script>alert") && !html.contains("<b>bolt") && !html.contains("<!--"));
    assert_eq!(
        data(&html)["categories"][0]["images"][0]["n"],
        "script><!--.png",
        "below the folder that looks like one"
    );
    assert_eq!(data(&html)["categories"][0]["images"][0]["p"], 0);
}

#[test]
fn pictures_keep_to_their_room_and_the_page_says_so() {
    let many = || (0..60).map(|i| record(&format!("{i}.png"), i as f32 / 60.0, Some(Verdict::Normal)));
    let each = layers().page_bytes();
    for (share, kept) in [(2.0, 60..61), (0.5, 5..40), (0.02, 0..2)] {
        let room = (each as f64 * 60.0 * share) as usize;
        let html = page(&report(lines(many())), &ReportOptions { picture_bytes: room }, Some(layers()));
        let sizes: Vec<i64> = data(&html)["categories"][0]["images"]
            .as_array()
            .unwrap()
            .iter()
            .map(|image| image["p"].as_i64().unwrap())
            .collect();
        let count = |size: i64| sizes.iter().filter(|s| **s == size).count();
        assert!(kept.contains(&count(2)), "share {share}: {} kept, {} small", count(2), count(1));
        let embedded: usize = html.split("<script type=\"text/plain\"").skip(1).map(str::len).sum();
        assert!(embedded <= room + room / 8 + 4096, "share {share}: {embedded} bytes for {room}");
        assert_eq!(html.contains("To keep this file small"), share < 1.0);
        if share == 0.5 {
            assert_eq!((count(1) + count(2), sizes[59]), (60, 2), "all are there, the wrong ones large");
        }
    }
}

#[test]
fn categories_get_the_same_number_of_large_pictures() {
    let lots = |n: usize| lines((0..n).map(|i| record(&format!("{i}.png"), i as f32, None)));
    let mut two = report(lots(40));
    two.categories.push(CategoryReport { predictions: lots(8), ..CategoryReport::default() });
    let each = layers().page_bytes();
    let plan = plan(&two, each * 24, &mut Same(Some(layers()))).unwrap();
    let kept = |c: usize| plan.sizes[c].iter().filter(|s| **s == Size::Kept).count();
    assert!(kept(0).abs_diff(kept(1)) <= 1 || kept(1) == 8, "{} and {}", kept(0), kept(1));
    assert!(kept(0) > 2);
}

#[test]
fn an_empty_report_is_a_page() {
    let html = page(&Report::default(), &ReportOptions::default(), None);
    check_balanced(body(&html));
    let failed = CategoryReport { note: Some("failed: no images".into()), ..CategoryReport::default() };
    let html =
        page(&Report { categories: vec![failed], ..Report::default() }, &ReportOptions::default(), None);
    check_balanced(body(&html));
    assert!(html.contains("failed: no images"));
}

#[test]
fn a_band_for_review_has_its_column() {
    let mut banded = report(lines((0..10).map(|i| record(&format!("{i}"), i as f32 / 10.0, None))));
    banded.categories[0].review_threshold = Some(0.3);
    let html = page(&banded, &ReportOptions::default(), None);
    for cell in ["data-n=\"none-0\">3<", "data-n=\"none-1\">2<", "data-n=\"none-2\">5<"] {
        assert!(html.contains(cell), "{cell}");
    }
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
    let labelled = lines(scores.iter().map(|(s, l)| record(&format!("{s}"), *s, Some(*l))));
    assert_eq!(by_interest(&labelled), [7, 4, 3, 6, 0, 5, 1, 2]);
    let plain = lines(scores.iter().map(|(s, _)| record(&format!("{s}"), *s, None)));
    assert_eq!(by_interest(&plain), [6, 5, 4, 3, 2, 1, 0, 7]);
}
