//! Curves over the false-positive rate: ROC of the images, and per-region overlap.
//!
//! In: a [`Curve`]. Out: a figure for papers, which ends at the limit of AUPRO, or a `<figure>` of the page, whose mark the script
//! moves; nothing where the curve is undefined.

use simplenet_metrics::{AUPRO_LIMIT, thin_curve};

use super::axes::{Axes, Scale};
use super::canvas::{Anchor, Canvas, DASHES, Marker, Point, Shape};
use super::style::{
    BLACK, BLUE, CURVE, Colour, GRAY, LINE, PAGE, PAPER, SMALL, VERMILION, WHITE, WIDTH, width_of,
};
use super::{canvas, svg};
use crate::output::OutputError;
use crate::output::report::{CategoryReport, Curve, CurvePoint};

/// Height of a figure's frame: a rate is as long upwards as across.
const FRAME: f64 = 160.0;
/// Width of a chart of the page, and its frame's upper and lower edges.
const PAGE_WIDTH: f64 = 380.0;
const PAGE_FRAME: (f64, f64) = (12.0, 256.0);
/// Parts of a rate that the page's curves tell apart.
const PARTS: usize = 300;

/// What a curve shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::output) enum Kind {
    Roc,
    Pro,
}

impl Kind {
    fn name(self, names: (&str, &str), metric_of_pro: &str, area: Option<f64>) -> String {
        let (curve, metric) = match self {
            Self::Roc => (names.0, "AUROC"),
            Self::Pro => (names.1, metric_of_pro),
        };
        area.map_or(curve.to_string(), |area| format!("{curve}, {metric} {area:.4}"))
    }
}

/// The figure for papers.
pub(in crate::output) fn paper(kind: Kind, category: &CategoryReport) -> Result<Option<Canvas>, OutputError> {
    let (curve, x, y) = match kind {
        Kind::Roc => (
            &category.roc,
            Scale::fraction(1.0, 0.2, "false-positive rate (images)"),
            Scale::fraction(1.0, 0.2, "true-positive rate (images)"),
        ),
        Kind::Pro => (
            &category.pro,
            Scale::fraction(AUPRO_LIMIT, 0.05, "false-positive rate (pixels)"),
            Scale::fraction(1.0, 0.2, "mean per-region overlap"),
        ),
    };
    let Some(curve) = curve.as_ref().filter(|curve| !curve.points.is_empty()) else { return Ok(None) };
    let axes = Axes::new(PAPER, (x, y), WIDTH, (16.0, 16.0 + FRAME));
    let mut canvas = axes.canvas();
    canvas::title(&mut canvas, &category.name, axes.left, axes.right)?;
    axes.grid(&mut canvas);
    if kind == Kind::Roc {
        canvas.dashed(axes.at(0.0, 0.0), axes.at(1.0, 1.0), DASHES, 0.7, GRAY);
    }
    // Below the curve: good ones lie along it.
    axes.frame(&mut canvas);
    let points = up_to(&curve.points, axes.x.high);
    canvas.line(points.iter().map(|point| axes.at(point.x, point.y)).collect(), CURVE, BLUE);
    let name =
        kind.name(("ROC of images", "per-region overlap"), &format!("AUPRO@{AUPRO_LIMIT:.2}"), curve.area);
    let mut lines = vec![(Key::Curve, name)];
    if kind == Kind::Roc {
        lines.push((Key::Chance, "chance".into()));
    }
    if let Some(point) = curve.at_threshold().filter(|point| point.x <= axes.x.high) {
        canvas.marker(Marker::Disc, axes.at(point.x, point.y), 2.6, VERMILION, true);
        lines.push((Key::Threshold, "at the model's threshold".into()));
    }
    legend(&mut canvas, &axes, lines)?;
    Ok(Some(canvas))
}

/// A `<figure>` of the page; empty text without points.
pub(in crate::output) fn page(kind: Kind, curve: &Curve) -> String {
    if curve.points.is_empty() {
        return String::new();
    }
    let (role, across, upwards, mark) = match kind {
        Kind::Roc => ("roc", "good parts rejected", "defective parts found", "threshold"),
        Kind::Pro => (
            "pro",
            "false-positive rate of pixels",
            "mean overlap of regions",
            "the model's threshold on the map",
        ),
    };
    let title = kind.name(("ROC of images", "Per-region overlap"), "AUPRO@0.30", curve.area);
    let scales = (Scale::fraction(1.0, 0.25, across), Scale::fraction(1.0, 0.25, upwards));
    let axes = Axes::new(PAGE, scales, PAGE_WIDTH, PAGE_FRAME);
    let mut canvas = axes.canvas();
    if kind == Kind::Pro {
        let tip = format!("the area up to {AUPRO_LIMIT} counts");
        canvas.bar(axes.at(0.0, 1.0), axes.at(AUPRO_LIMIT, 0.0), Colour::Class("limit"), tip);
    }
    axes.grid(&mut canvas);
    axes.frame(&mut canvas);
    if kind == Kind::Roc {
        canvas.line(vec![axes.at(0.0, 0.0), axes.at(1.0, 1.0)], 1.0, Colour::Class("chance"));
    }
    let points = thin_curve(curve.points.iter().copied(), |p| (p.x, p.y), PARTS);
    let line: Vec<Point> = points.iter().map(|point| axes.at(point.x, point.y)).collect();
    let end = points.last().map_or(0.0, |point| point.x);
    canvas.area([&line[..], &[axes.at(end, 0.0), axes.at(0.0, 0.0)]].concat(), Colour::Class("under"));
    canvas.line(line, 2.2, Colour::Class("line"));
    if let Some(point) = curve.at_threshold() {
        let at = axes.at(point.x, point.y);
        let tip = format!("{mark}: {:.4}, {:.4}", point.x, point.y);
        canvas.shapes.push(Shape::Disc { at, radius: 5.5, colour: Colour::Class("mark"), tip });
    }
    let (left, right, top, bottom) = (axes.left, axes.right, axes.top, axes.bottom);
    let edges =
        format!(" data-left=\"{left}\" data-right=\"{right}\" data-top=\"{top}\" data-bottom=\"{bottom}\"");
    let svg = svg::inline(&canvas, &title, &edges);
    format!("<figure class=\"curve\" data-role=\"{role}\"><figcaption>{title}</figcaption>{svg}</figure>")
}

/// The points up to a false-positive rate, the last one interpolated there.
fn up_to(points: &[CurvePoint], limit: f64) -> Vec<CurvePoint> {
    let inside = points.iter().take_while(|point| point.x <= limit).count();
    let mut cut = points[..inside].to_vec();
    if let (Some(last), Some(next)) = (cut.last().copied(), points.get(inside))
        && last.x < limit
    {
        let share = (limit - last.x) / (next.x - last.x);
        cut.push(CurvePoint { x: limit, y: last.y + share * (next.y - last.y), threshold: None });
    }
    cut
}

/// What a line of the legend shows.
enum Key {
    Curve,
    Chance,
    Threshold,
}

/// The legend in the lower right corner, where such curves are not.
fn legend(canvas: &mut Canvas, axes: &Axes, lines: Vec<(Key, String)>) -> Result<(), OutputError> {
    let widths = lines.iter().map(|(_, text)| width_of(text, SMALL));
    let widest = widths.collect::<Result<Vec<_>, _>>()?.into_iter().fold(0.0, f64::max);
    let (sample, gap, margin) = (16.0, 4.0, 6.0);
    let left = axes.right - margin - widest - gap - sample;
    let first = axes.bottom - margin - LINE * (lines.len() as f64 - 0.5);
    let corner = (axes.right - 1.0, axes.bottom - 1.0);
    canvas.rectangle((left - 4.0, first - LINE / 2.0 - 2.0), corner, WHITE);
    for (index, (key, text)) in lines.into_iter().enumerate() {
        let y = first + LINE * index as f64;
        let (from, to) = ((left, y), (left + sample, y));
        match key {
            Key::Curve => canvas.line(vec![from, to], CURVE, BLUE),
            Key::Chance => canvas.dashed(from, to, DASHES, 0.7, GRAY),
            Key::Threshold => {
                canvas.marker(Marker::Disc, (left + sample / 2.0, y), 2.6, VERMILION, true);
            }
        }
        canvas.text((left + sample + gap, y), SMALL, Anchor::Start, BLACK, text);
    }
    Ok(())
}
