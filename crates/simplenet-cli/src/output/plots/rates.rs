//! Curves over the false-positive rate: ROC of the images, and per-region overlap up to the limit of AUPRO.
//!
//! In: a category's [`Curve`]. Out: a canvas; `None` where the curve is undefined.

use simplenet_metrics::AUPRO_LIMIT;

use super::axes::{Axes, BELOW, Scale};
use super::canvas::{Anchor, Canvas, DASHES, Marker, Point};
use super::style::{BLUE, CURVE, GRAY, LINE, SMALL, VERMILION, WHITE, width_of};
use super::title;
use crate::output::OutputError;
use crate::output::report::{CategoryReport, Curve, CurvePoint};

/// Height of the frame: a rate is as long upwards as across.
const FRAME: f64 = 160.0;

/// The ROC curve of the image scores.
pub(super) fn roc(category: &CategoryReport) -> Result<Option<Canvas>, OutputError> {
    let Some(curve) = defined(category.roc.as_ref()) else { return Ok(None) };
    let x = Scale::share(1.0, 0.2, "false-positive rate (images)");
    let y = Scale::share(1.0, 0.2, "true-positive rate (images)");
    let mut figure = Figure::begin(&category.name, x, y)?;
    let (low, high) = (figure.axes.at(0.0, 0.0), figure.axes.at(1.0, 1.0));
    figure.canvas.dashed(low, high, DASHES, 0.7, GRAY);
    figure.curve(&curve.points);
    let name = named("ROC of images", "AUROC", curve.area);
    figure.legend(&[(Key::Curve, name), (Key::Chance, "chance".into())], curve)?;
    Ok(Some(figure.canvas))
}

/// The mean per-region overlap, up to the false-positive rate that AUPRO counts.
pub(super) fn pro(category: &CategoryReport) -> Result<Option<Canvas>, OutputError> {
    let Some(curve) = defined(category.pro.as_ref()) else { return Ok(None) };
    let x = Scale::share(AUPRO_LIMIT, 0.05, "false-positive rate (pixels)");
    let y = Scale::share(1.0, 0.2, "mean per-region overlap");
    let mut figure = Figure::begin(&category.name, x, y)?;
    let points = up_to(&curve.points, AUPRO_LIMIT);
    figure.curve(&points);
    let name = named("per-region overlap", &format!("AUPRO@{AUPRO_LIMIT:.2}"), curve.area);
    figure.legend(&[(Key::Curve, name)], curve)?;
    Ok(Some(figure.canvas))
}

fn defined(curve: Option<&Curve>) -> Option<&Curve> {
    curve.filter(|curve| !curve.points.is_empty())
}

fn named(curve: &str, metric: &str, area: Option<f64>) -> String {
    area.map_or(curve.to_string(), |area| format!("{curve}, {metric} {area:.4}"))
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

struct Figure {
    canvas: Canvas,
    axes: Axes,
}

impl Figure {
    fn begin(name: &str, x: Scale, y: Scale) -> Result<Self, OutputError> {
        let top = 16.0;
        let bottom = top + FRAME;
        let mut canvas = Canvas::new(bottom + BELOW);
        let axes = Axes::new(x, y, top, bottom);
        title(&mut canvas, name, axes.left, axes.right)?;
        axes.grid(&mut canvas);
        Ok(Self { canvas, axes })
    }

    fn curve(&mut self, points: &[CurvePoint]) {
        let places: Vec<Point> = points.iter().map(|point| self.axes.at(point.x, point.y)).collect();
        // Above the frame: good curves lie along it.
        self.axes.frame(&mut self.canvas);
        self.canvas.line(places, CURVE, BLUE);
    }

    /// The legend in the lower right corner, where such curves are not, and the mark of the model's threshold on the curve.
    fn legend(&mut self, lines: &[(Key, String)], curve: &Curve) -> Result<(), OutputError> {
        let mut lines: Vec<(&Key, String)> = lines.iter().map(|(key, text)| (key, text.clone())).collect();
        let threshold = curve.at_threshold().filter(|point| point.x <= self.axes.x.high);
        if let Some(point) = threshold {
            let at = self.axes.at(point.x, point.y);
            self.canvas.marker(Marker::Disc, at, 2.6, VERMILION, true);
            lines.push((&Key::Threshold, "at the model's threshold".into()));
        }
        let widths = lines.iter().map(|(_, text)| width_of(text, SMALL));
        let widest = widths.collect::<Result<Vec<_>, _>>()?.into_iter().fold(0.0, f64::max);
        let (sample, gap, margin) = (16.0, 4.0, 6.0);
        let left = self.axes.right - margin - widest - gap - sample;
        let first = self.axes.bottom - margin - LINE * (lines.len() as f64 - 0.5);
        let corner = (self.axes.right - 1.0, self.axes.bottom - 1.0);
        self.canvas.rectangle((left - 4.0, first - LINE / 2.0 - 2.0), corner, WHITE);
        for (index, (key, text)) in lines.into_iter().enumerate() {
            let y = first + LINE * index as f64;
            let (from, to) = ((left, y), (left + sample, y));
            match key {
                Key::Curve => self.canvas.line(vec![from, to], CURVE, BLUE),
                Key::Chance => self.canvas.dashed(from, to, DASHES, 0.7, GRAY),
                Key::Threshold => {
                    self.canvas.marker(Marker::Disc, (left + sample / 2.0, y), 2.6, VERMILION, true);
                }
            }
            self.canvas.text((left + sample + gap, y), SMALL, Anchor::Start, text);
        }
        Ok(())
    }
}
