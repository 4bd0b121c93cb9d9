//! A frame with two axes: grid, ticks, names, and where values lie in it.
//!
//! In: a rectangle of the canvas, two [`Scale`]s. Out: shapes on the canvas, places of values.

use super::canvas::{Anchor, Canvas, Point};
use super::style::{BLACK, GRID, LARGE, SMALL, WIDTH};

/// An axis: its ends, its ticks and its name.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Scale {
    pub(super) low: f64,
    pub(super) high: f64,
    pub(super) ticks: Vec<(f64, String)>,
    pub(super) name: String,
    /// Whether equal distances are equal factors.
    pub(super) logarithmic: bool,
}

impl Scale {
    /// A share from 0 to `high`, in steps.
    pub(super) fn share(high: f64, step: f64, name: &str) -> Self {
        let decimals = if step < 0.1 { 2 } else { 1 };
        let count = (high / step).round() as usize;
        let tick = |i: usize| (i as f64 * step, format!("{:.decimals$}", i as f64 * step));
        let ticks = (0..=count).map(tick).collect();
        Self { low: 0.0, high, ticks, name: name.into(), logarithmic: false }
    }

    /// Where a value lies, 0 at the low end and 1 at the high one.
    fn at(&self, value: f64) -> f64 {
        let scale = |v: f64| if self.logarithmic { v.ln() } else { v };
        (scale(value) - scale(self.low)) / (scale(self.high) - scale(self.low))
    }
}

/// Room left of a frame for numbers and a name, and right of it.
const LEFT: f64 = 36.0;
const RIGHT: f64 = 11.0;
/// Room below a frame for numbers and a name.
pub(super) const BELOW: f64 = 27.0;

/// The frame.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Axes {
    pub(super) x: Scale,
    pub(super) y: Scale,
    pub(super) left: f64,
    pub(super) right: f64,
    pub(super) top: f64,
    pub(super) bottom: f64,
}

impl Axes {
    /// A frame across the figure.
    pub(super) fn new(x: Scale, y: Scale, top: f64, bottom: f64) -> Self {
        Self { x, y, left: LEFT, right: WIDTH - RIGHT, top, bottom }
    }

    /// Where a pair of values lies.
    pub(super) fn at(&self, x: f64, y: f64) -> Point {
        (
            self.left + self.x.at(x) * (self.right - self.left),
            self.bottom - self.y.at(y) * (self.bottom - self.top),
        )
    }

    /// The grid, to be drawn below everything.
    pub(super) fn grid(&self, canvas: &mut Canvas) {
        for (value, _) in &self.x.ticks {
            let (x, _) = self.at(*value, self.y.low);
            canvas.line(vec![(x, self.top), (x, self.bottom)], 0.4, GRID);
        }
        for (value, _) in &self.y.ticks {
            let (_, y) = self.at(self.x.low, *value);
            canvas.line(vec![(self.left, y), (self.right, y)], 0.4, GRID);
        }
    }

    /// Frame, ticks, numbers and names, to be drawn above the grid and what is filled.
    pub(super) fn frame(&self, canvas: &mut Canvas) {
        let (left, right, top, bottom) = (self.left, self.right, self.top, self.bottom);
        canvas.line(
            vec![(left, top), (right, top), (right, bottom), (left, bottom), (left, top)],
            0.6,
            BLACK,
        );
        for (value, label) in &self.x.ticks {
            let (x, _) = self.at(*value, self.y.low);
            canvas.line(vec![(x, bottom), (x, bottom + 2.5)], 0.6, BLACK);
            canvas.text((x, bottom + 8.5), SMALL, Anchor::Middle, label.clone());
        }
        for (value, label) in &self.y.ticks {
            let (_, y) = self.at(self.x.low, *value);
            canvas.line(vec![(left - 2.5, y), (left, y)], 0.6, BLACK);
            canvas.text((left - 5.0, y), SMALL, Anchor::End, label.clone());
        }
        let middle = (left + right) / 2.0;
        canvas.text((middle, bottom + BELOW - 7.0), LARGE, Anchor::Middle, self.x.name.clone());
        canvas.turned_text((7.5, (top + bottom) / 2.0), LARGE, self.y.name.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_lie_between_the_ends() {
        let logarithmic =
            |low, high| Scale { low, high, ticks: vec![], name: String::new(), logarithmic: true };
        let axes = Axes::new(logarithmic(1.0, 100.0), Scale::share(0.3, 0.05, "y"), 10.0, 110.0);
        assert_eq!(axes.at(1.0, 0.0), (axes.left, 110.0));
        let (x, y) = axes.at(10.0, 0.15);
        assert!((x - (axes.left + axes.right) / 2.0).abs() < 1e-9 && (y - 60.0).abs() < 1e-9, "{x} {y}");
        let labels: Vec<&str> = axes.y.ticks.iter().map(|(_, label)| label.as_str()).collect();
        assert_eq!(labels, ["0.00", "0.05", "0.10", "0.15", "0.20", "0.25", "0.30"]);
    }
}
