//! A frame with two axes: grid, ticks, names, and where values lie in it.
//!
//! In: a rectangle of the canvas, two [`Scale`]s, a [`Look`]. Out: shapes on the canvas, places of values.

use super::bins::ticks;
use super::canvas::{Anchor, Canvas, Point, Shape};
use super::style::Look;

/// An axis: its ends, its ticks and its name.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::output) struct Scale {
    pub(in crate::output) low: f64,
    pub(in crate::output) high: f64,
    pub(in crate::output) ticks: Vec<(f64, String)>,
    pub(in crate::output) name: String,
    /// Whether equal distances are equal factors.
    pub(in crate::output) logarithmic: bool,
}

impl Scale {
    /// A fraction from 0 to `high`, in steps.
    pub(in crate::output) fn fraction(high: f64, step: f64, name: &str) -> Self {
        let decimals = if (step * 10.0).fract() > 0.0 { 2 } else { 1 };
        let count = (high / step).round() as usize;
        let tick = |i: usize| (i as f64 * step, format!("{:.decimals$}", i as f64 * step));
        Self { low: 0.0, high, ticks: (0..=count).map(tick).collect(), name: name.into(), logarithmic: false }
    }

    /// Any range, with round ticks.
    pub(in crate::output) fn linear(low: f64, high: f64, name: &str) -> Self {
        Self { low, high, ticks: ticks(low, high), name: name.into(), logarithmic: false }
    }

    /// Where a value lies, 0 at the low end and 1 at the high one.
    fn at(&self, value: f64) -> f64 {
        let scale = |v: f64| if self.logarithmic { v.ln() } else { v };
        (scale(value) - scale(self.low)) / (scale(self.high) - scale(self.low))
    }
}

/// The frame.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::output) struct Axes {
    pub(in crate::output) look: Look,
    pub(in crate::output) x: Scale,
    pub(in crate::output) y: Scale,
    pub(in crate::output) left: f64,
    pub(in crate::output) right: f64,
    pub(in crate::output) top: f64,
    pub(in crate::output) bottom: f64,
}

impl Axes {
    /// A frame across a chart of this width.
    pub(in crate::output) fn new(
        look: Look,
        (x, y): (Scale, Scale),
        width: f64,
        (top, bottom): (f64, f64),
    ) -> Self {
        let (left, right, _) = look.room;
        Self { look, x, y, left, right: width - right, top, bottom }
    }

    /// An empty chart with room for the frame and what stands below it.
    pub(in crate::output) fn canvas(&self) -> Canvas {
        let (_, right, below) = self.look.room;
        Canvas::new(self.right + right, self.bottom + below)
    }

    /// Where a pair of values lies.
    pub(in crate::output) fn at(&self, x: f64, y: f64) -> Point {
        (
            self.left + self.x.at(x) * (self.right - self.left),
            self.bottom - self.y.at(y) * (self.bottom - self.top),
        )
    }

    /// The grid, to be drawn below everything.
    pub(in crate::output) fn grid(&self, canvas: &mut Canvas) {
        for (value, _) in &self.x.ticks {
            let (x, _) = self.at(*value, self.y.low);
            canvas.line(vec![(x, self.top), (x, self.bottom)], 0.4, self.look.grid);
        }
        for (value, _) in &self.y.ticks {
            let (_, y) = self.at(self.x.low, *value);
            canvas.line(vec![(self.left, y), (self.right, y)], 0.4, self.look.grid);
        }
    }

    /// Frame, ticks, numbers and names, to be drawn above the grid and what is filled.
    pub(in crate::output) fn frame(&self, canvas: &mut Canvas) {
        let Look { text, sizes: (small, large), .. } = self.look;
        let (left, right, top, bottom) = (self.left, self.right, self.top, self.bottom);
        let across = self.x.ticks.iter().map(|(value, label)| (self.at(*value, self.y.low), label));
        let upwards = self.y.ticks.iter().map(|(value, label)| (self.at(self.x.low, *value), label));
        if let Some(colour) = self.look.frame {
            let corners = vec![(left, top), (right, top), (right, bottom), (left, bottom), (left, top)];
            canvas.line(corners, 0.6, colour);
            for ((x, y), _) in across.clone() {
                canvas.line(vec![(x, y), (x, y + 2.5)], 0.6, colour);
            }
            for ((x, y), _) in upwards.clone() {
                canvas.line(vec![(x - 2.5, y), (x, y)], 0.6, colour);
            }
        }
        for ((x, y), label) in across {
            canvas.text((x, y + small + 1.5), small, Anchor::Middle, text, label.as_str());
        }
        for ((x, y), label) in upwards {
            canvas.text((x - 5.0, y), small, Anchor::End, text, label.as_str());
        }
        let below = bottom + self.look.room.2 - 0.9 * large;
        canvas.text(((left + right) / 2.0, below), large, Anchor::Middle, text, self.x.name.clone());
        canvas.shapes.push(Shape::Text {
            at: (0.9 * large, (top + bottom) / 2.0),
            size: large,
            anchor: Anchor::Middle,
            turned: true,
            colour: text,
            text: self.y.name.clone(),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::chart::style::PAPER;

    #[test]
    fn values_lie_between_the_ends() {
        let logarithmic =
            |low, high| Scale { low, high, ticks: vec![], name: String::new(), logarithmic: true };
        let scales = (logarithmic(1.0, 100.0), Scale::fraction(0.3, 0.05, "y"));
        let axes = Axes::new(PAPER, scales, 241.0, (10.0, 110.0));
        assert_eq!(axes.at(1.0, 0.0), (axes.left, 110.0));
        let (x, y) = axes.at(10.0, 0.15);
        assert!((x - (axes.left + axes.right) / 2.0).abs() < 1e-9 && (y - 60.0).abs() < 1e-9, "{x} {y}");
        let labels: Vec<&str> = axes.y.ticks.iter().map(|(_, label)| label.as_str()).collect();
        assert_eq!(labels, ["0.00", "0.05", "0.10", "0.15", "0.20", "0.25", "0.30"]);
    }
}
