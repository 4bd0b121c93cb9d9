//! Tests of the figures: what they say, that they are not blank, that they are the same each time.

use super::*;
use crate::output::chart::canvas::Shape;
use crate::output::chart::style::{self, BLUE, Colour, PALE_BLUE};
use crate::output::prediction::tests::record;
use crate::output::prediction::{PredictionLine, PredictionRecord, Verdict};
use crate::output::published_speed::PublishedSpeed;
use crate::output::report::{Curve, CurvePoint};
use crate::output::table::Measurement;

fn point(x: f64, y: f64, threshold: Option<f32>) -> CurvePoint {
    CurvePoint { x, y, threshold }
}

/// A category with scores of good and of anomalous images, and curves.
fn category(name: &str) -> CategoryReport {
    let points = vec![
        point(0.0, 0.0, None),
        point(0.0, 0.5, Some(0.9)),
        point(0.2, 0.8, Some(0.7)),
        point(0.4, 0.9, Some(0.5)),
        point(1.0, 1.0, Some(0.1)),
    ];
    let curve = Curve { area: Some(0.875), points, threshold: Some(0.6) };
    let good = (0..30).map(|i| (i as f32 * 0.02, Some(Verdict::Normal)));
    let bad = (0..7).map(|i| (0.5 + i as f32 * 0.1, Some(Verdict::Anomalous)));
    CategoryReport {
        name: name.into(),
        threshold: Some(0.6),
        review_threshold: Some(0.45),
        predictions: good.chain(bad).map(|(score, label)| line(score, label)).collect(),
        roc: Some(curve.clone()),
        pro: Some(curve),
        ..CategoryReport::default()
    }
}

fn line(score: f32, label: Option<Verdict>) -> PredictionLine {
    PredictionLine::Prediction(PredictionRecord { label, ..record("a.png", score) })
}

fn own(tested_on: TestedOn) -> OwnSpeed {
    OwnSpeed {
        what: "efficientnet-lite0, f32".into(),
        data: "my_parts".into(),
        tested_on,
        categories: (5, 5),
        image_auroc: Measurement { mean: 0.97, deviation: Some(0.004) },
        milliseconds: 8.0,
        batch: 1,
        hardware: "Some Processor, 2 threads".into(),
    }
}

fn picture(plot: Plot, category: &CategoryReport) -> Picture {
    plot.draw(category).unwrap().unwrap_or_else(|| panic!("no {}", plot.name()))
}

/// The numbers of points of lines with this colour.
fn lines(canvas: &Canvas, wanted: Colour) -> Vec<usize> {
    let of = |shape: &Shape| match shape {
        Shape::Line { points, colour, .. } if *colour == wanted => Some(points.len()),
        _ => None,
    };
    canvas.shapes.iter().filter_map(of).collect()
}

/// What an SVG says, its lines joined.
fn said(svg: &str) -> String {
    let texts = svg.lines().filter(|line| !line.starts_with('<'));
    texts.collect::<Vec<_>>().join(" ").replace('\u{a0}', " ").replace("&apos;", "'")
}

fn check_texts(svg: &str, texts: &[&str]) {
    let said = said(svg);
    for text in texts {
        assert!(said.contains(text), "no {text:?} in {said}");
    }
}

#[test]
fn curves_have_their_points_their_area_and_their_axes() {
    let category = category("bolt");
    // The curve, and its line in the legend.
    assert_eq!(lines(&curve::paper(Kind::Roc, &category).unwrap().unwrap(), BLUE), [5, 2]);
    // Three points up to 0.2, and one at 0.3.
    assert_eq!(lines(&curve::paper(Kind::Pro, &category).unwrap().unwrap(), BLUE), [4, 2]);
    let svg = picture(Plot::Roc, &category).svg;
    let texts =
        ["bolt", "AUROC 0.8750", "false-positive rate", "true-positive rate", "chance", "model's threshold"];
    check_texts(&svg, &texts);
    let svg = picture(Plot::Pro, &category).svg;
    check_texts(&svg, &["AUPRO@0.30 0.8750", "per-region overlap", "0.30"]);
    assert!(svg.contains("font-family=\"sans-serif\"") && svg.contains("width=\"241pt\""), "{svg}");
}

#[test]
fn the_histogram_has_bars_counts_and_borders() {
    let category = category("bolt");
    let canvas = histogram::paper(&category).unwrap().unwrap();
    let filled = |shape: &&Shape| matches!(shape, Shape::Area { colour, .. } if *colour == PALE_BLUE);
    let bins = canvas.shapes.iter().filter(filled).count() - 1;
    assert!((15..=20).contains(&bins), "scores of good images lie in about half of the range: {bins} bars");
    let svg = picture(Plot::Histogram, &category).svg;
    let texts = [
        "good (30)",
        "anomalous (7)",
        "threshold 0.600",
        "review from 0.450",
        "image score",
        "images of each kind (%)",
    ];
    check_texts(&svg, &texts);
}

#[test]
fn what_is_undefined_has_no_figure() {
    let empty = CategoryReport { name: "bolt".into(), ..CategoryReport::default() };
    let no_points = CategoryReport { roc: Some(Curve::default()), ..empty.clone() };
    let infinite = CategoryReport { predictions: vec![line(f32::NAN, None); 20], ..empty.clone() };
    for category in [&empty, &no_points, &infinite] {
        for plot in Plot::ALL {
            assert_eq!(plot.draw(category).unwrap(), None, "{}", plot.name());
        }
    }
    // Without labels a few scores are not worth a figure.
    let unlabelled = |count: usize| CategoryReport {
        predictions: (0..count).map(|i| line(i as f32, None)).collect(),
        ..empty.clone()
    };
    assert_eq!(Plot::Histogram.draw(&unlabelled(FEWEST_UNLABELLED - 1)).unwrap(), None);
    let svg = picture(Plot::Histogram, &unlabelled(FEWEST_UNLABELLED)).svg;
    assert!(svg.contains("all images (10)") && !svg.contains("good"), "{svg}");
}

#[test]
fn every_published_point_names_its_hardware() {
    let published = PublishedSpeed::embedded().unwrap();
    let svg = speed_against_auroc(&own(TestedOn::MvtecAd), &published).unwrap().svg;
    for speed in &published {
        check_texts(&svg, &[&format!("{}, {}", speed.method, speed.hardware)]);
    }
    check_texts(&svg, &["this run: efficientnet-lite0, f32, Some Processor, 2 threads", "images per second"]);
    check_texts(
        &svg,
        &[
            "image AUROC (%)",
            "mean of 15 categories",
            "batch of 16",
            "from file to verdict. Bar: deviation over seeds.",
        ],
    );
    assert!(!svg.contains("not MVTec"), "{svg}");

    // As many markers as measurements: a white rim below each, also in the legend.
    let canvas = speed::speed(&own(TestedOn::MvtecAd), &published).unwrap();
    let rims = |shape: &&Shape| matches!(shape, Shape::Area { colour, .. } | Shape::Disc { colour, .. } if *colour == style::WHITE);
    let measured: usize = published
        .iter()
        .map(|s| usize::from(s.milliseconds.is_some()) + usize::from(s.images_per_second.is_some()))
        .sum();
    let open = published.iter().filter(|s| s.batch.is_some()).count();
    let in_legend = published.len() + 1;
    assert_eq!(canvas.shapes.iter().filter(rims).count(), measured + open + 1 + in_legend);
}

#[test]
fn other_data_than_mvtec_ad_cannot_be_taken_for_it() {
    let published = PublishedSpeed::embedded().unwrap();
    let svg = speed_against_auroc(&own(TestedOn::Other), &published).unwrap().svg;
    // The title, the label of the point, the legend.
    let title = "Published: MVTec AD. This run: my_parts, not MVTec AD, so its AUROC does not compare.";
    check_texts(&svg, &[title, "this run: not MVTec AD", "f32, on my_parts (not MVTec AD)"]);
    let svg = speed_against_auroc(&own(TestedOn::PartOfMvtecAd(3)), &published).unwrap().svg;
    check_texts(
        &svg,
        &["This run: 3 of them, so its AUROC does not compare", "this run: 3 of 15 categories"],
    );
    let incomplete = OwnSpeed { categories: (4, 5), batch: 16, ..own(TestedOn::Other) };
    let svg = speed_against_auroc(&incomplete, &published).unwrap().svg;
    check_texts(&svg, &["4 of 5", "batch 16"]);
    let one_seed = Measurement { mean: 0.97, deviation: None };
    let one_seed = OwnSpeed { image_auroc: one_seed, ..own(TestedOn::Other) };
    assert!(!speed_against_auroc(&one_seed, &published).unwrap().svg.contains("Bar"), "one seed has no bar");
}

/// Pixels that are not white: inside the rectangle of shares, and outside.
fn inked(png: &[u8], (x0, y0, x1, y1): (f64, f64, f64, f64)) -> (usize, usize) {
    let picture = image::load_from_memory(png).unwrap().to_rgb8();
    let (width, height) = (f64::from(picture.width()), f64::from(picture.height()));
    let mut counts = (0, 0);
    for (x, y, pixel) in picture.enumerate_pixels() {
        let (x, y) = (f64::from(x) / width, f64::from(y) / height);
        let inside = (x0..x1).contains(&x) && (y0..y1).contains(&y);
        if pixel.0 != [255; 3] {
            *if inside { &mut counts.0 } else { &mut counts.1 } += 1;
        }
    }
    counts
}

#[test]
fn pngs_are_drawn_inside_and_outside_of_the_frame_and_the_same_each_time() {
    let category = category("bolt");
    let mut pictures: Vec<(&str, Picture, Picture)> =
        Plot::ALL.map(|plot| (plot.name(), picture(plot, &category), picture(plot, &category))).into();
    let published = PublishedSpeed::embedded().unwrap();
    let draw = || speed_against_auroc(&own(TestedOn::Other), &published).unwrap();
    pictures.push((SPEED_AUROC, draw(), draw()));
    for (name, first, second) in pictures {
        assert!(first == second, "{name} differs from itself");
        let picture = image::load_from_memory(&first.png).unwrap();
        assert_eq!(picture.width(), 964, "{name}");
        let (inside, outside) = inked(&first.png, (0.16, 0.2, 0.94, 0.45));
        assert!(inside > 1000 && outside > 4000, "{name}: {inside} and {outside} pixels");
        assert!(inside < 200_000, "{name}: {inside} pixels");
        let physical = png::Decoder::new(std::io::Cursor::new(&first.png)).read_info().unwrap();
        assert_eq!(physical.info().pixel_dims.unwrap().xppu, 11_339, "{name} is a column wide in print");
    }
}

#[test]
fn names_may_hold_anything() {
    for (name, in_svg) in [
        ("a<b&\"c'", "a&lt;b&amp;&quot;c&apos;"),
        ("螺丝 M4", "螺丝 M4"),
        ("line\nbreak\u{1}", "line\u{fffd}break\u{fffd}"),
        ("", "sans-serif"),
    ] {
        let category = category(name);
        for plot in Plot::ALL {
            let Picture { svg, png } = picture(plot, &category);
            assert!(svg.contains(in_svg), "{name:?}: {svg}");
            assert!(!svg.chars().any(|c| c.is_control() && c != '\n'), "{name:?}");
            // What the font has not is drawn as boxes, not left out.
            let (title, _) = inked(&png, (0.0, 0.0, 1.0, 0.06));
            assert_eq!(title > 50, !name.is_empty(), "{name:?}: {title} pixels of a title");
        }
    }
    let long = "a_very_long_name_of_a_category_".repeat(9);
    let svg = picture(Plot::Roc, &category(&long)).svg;
    assert!(svg.contains('…') && !svg.contains(&long), "{svg}");
    let run = OwnSpeed { hardware: long.clone(), data: long, ..own(TestedOn::Other) };
    let svg = speed_against_auroc(&run, &PublishedSpeed::embedded().unwrap()).unwrap().svg;
    check_texts(&svg, &["does not compare", "this run: not MVTec AD", "…"]);
}

#[test]
fn odd_numbers_do_not_break_a_figure() {
    let published = PublishedSpeed::embedded().unwrap();
    for (milliseconds, auroc) in [(1e-3, 1.0), (1e6, 0.0), (12.0, 0.5)] {
        let image_auroc = Measurement { mean: auroc, deviation: None };
        let run = OwnSpeed { milliseconds, image_auroc, ..own(TestedOn::MvtecAd) };
        for published in [&published[..], &[]] {
            let svg = speed_against_auroc(&run, published).unwrap().svg;
            assert!(!svg.contains("NaN") && !svg.contains("-2147483648"), "{svg}");
        }
    }
    for score in [0.0, 1e30, -1e-30] {
        let category =
            CategoryReport { predictions: vec![line(score, Some(Verdict::Normal))], ..category("x") };
        assert!(!picture(Plot::Histogram, &category).svg.contains("NaN"));
    }
}
