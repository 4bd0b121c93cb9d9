//! Curves over the false-positive rate as inline SVG: ROC and per-region overlap.
//!
//! In: a [`Curve`]. Out: one `<figure>`; its colours come from the page's style. The script moves the mark of the ROC curve.

use super::Curve;
use simplenet_metrics::{AUPRO_LIMIT, thin_curve};
use std::fmt::Write;

const WIDTH: f64 = 380.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 62.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 44.0;
/// Parts of a rate that the page's curves tell apart.
const PARTS: usize = 300;

/// What a figure shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Roc,
    Pro,
}

fn x(rate: f64) -> f64 {
    LEFT + rate * (WIDTH - LEFT - RIGHT)
}

fn y(rate: f64) -> f64 {
    HEIGHT - BOTTOM - rate * (HEIGHT - TOP - BOTTOM)
}

/// The figure; empty text without points.
pub(super) fn figure(kind: Kind, curve: &Curve) -> String {
    if curve.points.is_empty() {
        return String::new();
    }
    let area = |name: &str| curve.area.map_or(String::new(), |area| format!(", {name} {area:.4}"));
    let (title, vertical, role) = match kind {
        Kind::Roc => (format!("ROC of images{}", area("AUROC")), "defective parts found", "roc"),
        Kind::Pro => (format!("Per-region overlap{}", area("AUPRO@0.30")), "mean overlap of regions", "pro"),
    };
    let across = match kind {
        Kind::Roc => "good parts rejected",
        Kind::Pro => "false-positive rate of pixels",
    };
    let mut html = format!(
        "<figure class=\"curve\" data-role=\"{role}\"><figcaption>{title}</figcaption>\
         <svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{title}\" data-left=\"{LEFT}\" \
         data-right=\"{}\" data-top=\"{TOP}\" data-bottom=\"{}\">",
        WIDTH - RIGHT,
        HEIGHT - BOTTOM
    );
    if kind == Kind::Pro {
        let _ = write!(
            html,
            "<rect class=\"limit\" x=\"{:.1}\" y=\"{TOP}\" width=\"{:.1}\" height=\"{:.1}\"><title>the area up to \
             {AUPRO_LIMIT} counts</title></rect>",
            x(0.0),
            x(AUPRO_LIMIT) - x(0.0),
            HEIGHT - TOP - BOTTOM
        );
    }
    axes(&mut html, across, vertical);
    if kind == Kind::Roc {
        let _ = write!(
            html,
            "<line class=\"chance\" x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\"/>",
            x(0.0),
            y(0.0),
            x(1.0),
            y(1.0)
        );
    }
    line(&mut html, curve);
    mark(&mut html, kind, curve);
    html.push_str("</svg></figure>");
    html
}

fn axes(html: &mut String, across: &str, vertical: &str) {
    for tick in [0.0, 0.25, 0.5, 0.75, 1.0] {
        let _ = write!(
            html,
            "<line class=\"grid\" x1=\"{0:.1}\" x2=\"{0:.1}\" y1=\"{1:.1}\" y2=\"{2:.1}\"/>\
             <line class=\"grid\" x1=\"{3:.1}\" x2=\"{4:.1}\" y1=\"{5:.1}\" y2=\"{5:.1}\"/>\
             <text x=\"{0:.1}\" y=\"{6:.1}\" text-anchor=\"middle\">{tick}</text>\
             <text x=\"{7:.1}\" y=\"{8:.1}\" text-anchor=\"end\">{tick}</text>",
            x(tick),
            y(0.0),
            y(1.0),
            x(0.0),
            x(1.0),
            y(tick),
            y(0.0) + 17.0,
            x(0.0) - 6.0,
            y(tick) + 4.0
        );
    }
    let middle = (y(0.0) + y(1.0)) / 2.0;
    let _ = write!(
        html,
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{across}</text>\
         <text x=\"14\" y=\"{middle:.1}\" text-anchor=\"middle\" transform=\"rotate(-90 14 {middle:.1})\">{vertical}</text>",
        (x(0.0) + x(1.0)) / 2.0,
        HEIGHT - 8.0
    );
}

fn line(html: &mut String, curve: &Curve) {
    let points = thin_curve(curve.points.iter().copied(), |p| (p.x, p.y), PARTS);
    let mut path = String::new();
    for (index, point) in points.iter().enumerate() {
        let letter = if index == 0 { 'M' } else { 'L' };
        let _ = write!(path, "{letter}{:.2} {:.2}", x(point.x), y(point.y));
    }
    let end = points.last().map_or(0.0, |point| point.x);
    let _ = write!(
        html,
        "<path class=\"under\" d=\"{path}L{:.2} {:.2}L{:.2} {:.2}Z\"/><path class=\"line\" d=\"{path}\"/>",
        x(end),
        y(0.0),
        x(0.0),
        y(0.0)
    );
}

fn mark(html: &mut String, kind: Kind, curve: &Curve) {
    let Some(point) = curve.at_threshold() else { return };
    let name = match kind {
        Kind::Roc => "threshold",
        Kind::Pro => "the model's threshold on the map",
    };
    let _ = write!(
        html,
        "<circle class=\"mark\" cx=\"{:.2}\" cy=\"{:.2}\" r=\"5.5\"><title>{name}: {:.4}, {:.4}</title></circle>",
        x(point.x),
        y(point.y),
        point.x,
        point.y
    );
}
