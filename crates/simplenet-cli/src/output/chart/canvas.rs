//! What a chart consists of: lines, areas and texts, in points from the upper left corner.
//!
//! In: calls of the charts. Out: [`Shape`]s, which `svg.rs` and `png.rs` draw alike.

use super::style::{BLACK, Colour, LARGE, WHITE, plain, wrap};
use crate::output::OutputError;

/// A place, in points: to the right, down.
pub(in crate::output) type Point = (f64, f64);

/// Something drawn.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::output) enum Shape {
    /// A line through points.
    Line { points: Vec<Point>, width: f64, colour: Colour },
    /// A filled polygon.
    Area { points: Vec<Point>, colour: Colour },
    /// A filled rectangle, its corners rounded; `tip` is what the page says of it.
    Bar { from: Point, to: Point, round: f64, colour: Colour, tip: String },
    /// A filled circle.
    Disc { at: Point, radius: f64, colour: Colour, tip: String },
    /// A line of text; `at` is its end named by `anchor`, at half the height of an x.
    Text { at: Point, size: f64, anchor: Anchor, turned: bool, colour: Colour, text: String },
}

/// Which end of a text is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::output) enum Anchor {
    Start,
    Middle,
    End,
}

/// How a point is marked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::output) enum Marker {
    Disc,
    Square,
    Up,
    Down,
    Diamond,
    Star,
}

/// A figure in the making.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::output) struct Canvas {
    pub(in crate::output) width: f64,
    pub(in crate::output) height: f64,
    pub(in crate::output) shapes: Vec<Shape>,
}

/// Lengths of the drawn and the left out parts of dashed lines.
pub(in crate::output) const DASHES: (f64, f64) = (4.0, 2.4);
/// The same of dotted lines.
pub(in crate::output) const DOTS: (f64, f64) = (1.0, 1.8);

impl Canvas {
    pub(in crate::output) fn new(width: f64, height: f64) -> Self {
        Self { width, height, shapes: vec![] }
    }

    pub(in crate::output) fn line(&mut self, points: Vec<Point>, width: f64, colour: Colour) {
        self.shapes.push(Shape::Line { points, width, colour });
    }

    /// A straight line of dashes.
    pub(in crate::output) fn dashed(
        &mut self,
        from: Point,
        to: Point,
        (drawn, left_out): (f64, f64),
        width: f64,
        colour: Colour,
    ) {
        let length = (to.0 - from.0).hypot(to.1 - from.1);
        let at = |distance: f64| {
            let share = (distance / length).min(1.0);
            (from.0 + (to.0 - from.0) * share, from.1 + (to.1 - from.1) * share)
        };
        let mut begin = 0.0;
        while begin < length {
            self.line(vec![at(begin), at(begin + drawn)], width, colour);
            begin += drawn + left_out;
        }
    }

    pub(in crate::output) fn area(&mut self, points: Vec<Point>, colour: Colour) {
        self.shapes.push(Shape::Area { points, colour });
    }

    pub(in crate::output) fn rectangle(&mut self, (x0, y0): Point, (x1, y1): Point, colour: Colour) {
        self.area(vec![(x0, y0), (x1, y0), (x1, y1), (x0, y1)], colour);
    }

    /// Slanting lines inside a rectangle whose first corner is the upper left one. Those of all rectangles meet.
    pub(in crate::output) fn hatched(
        &mut self,
        (x0, y0): Point,
        (x1, y1): Point,
        distance: f64,
        colour: Colour,
    ) {
        // Along such a line x + y stays the same.
        let mut sum = ((x0 + y0) / distance).ceil() * distance;
        while sum < x1 + y1 {
            let (right, left) = (x1.min(sum - y0), x0.max(sum - y1));
            if right - left > 0.2 {
                self.line(vec![(left, sum - left), (right, sum - right)], 0.5, colour);
            }
            sum += distance;
        }
    }

    /// A bar as the page has it, with what is said of it.
    pub(in crate::output) fn bar(&mut self, from: Point, to: Point, colour: Colour, tip: impl Into<String>) {
        self.shapes.push(Shape::Bar { from, to, round: 0.0, colour, tip: tip.into() });
    }

    /// A line of text.
    pub(in crate::output) fn text(
        &mut self,
        at: Point,
        size: f64,
        anchor: Anchor,
        colour: Colour,
        text: impl Into<String>,
    ) {
        self.shapes.push(Shape::Text { at, size, anchor, turned: false, colour, text: text.into() });
    }

    /// A marker with a thin white rim, so that it stays visible on others; `open` ones have a white inside.
    pub(in crate::output) fn marker(
        &mut self,
        marker: Marker,
        at: Point,
        radius: f64,
        colour: Colour,
        open: bool,
    ) {
        self.marker_part(marker, at, radius + 0.6, WHITE);
        self.marker_part(marker, at, radius, colour);
        if open {
            // The rim of a triangle or a star is measured across, not towards its corners.
            let inside = match marker {
                Marker::Disc | Marker::Square | Marker::Diamond => 0.62,
                Marker::Up | Marker::Down => 0.5,
                Marker::Star => 0.55,
            };
            self.marker_part(marker, at, radius * inside, WHITE);
        }
    }

    fn marker_part(&mut self, marker: Marker, (x, y): Point, radius: f64, colour: Colour) {
        // Corners as (angle from straight up in parts of a turn, share of the radius); areas about equal to the eye.
        let regular = |count: usize, first: f64, size: f64| -> Vec<(f64, f64)> {
            (0..count).map(|i| (first + i as f64 / count as f64, size)).collect()
        };
        let corners = match marker {
            Marker::Disc => {
                self.shapes.push(Shape::Disc { at: (x, y), radius, colour, tip: String::new() });
                return;
            }
            Marker::Square => regular(4, 0.125, 1.22),
            Marker::Diamond => regular(4, 0.0, 1.3),
            Marker::Up => regular(3, 0.0, 1.35),
            Marker::Down => regular(3, 0.5, 1.35),
            Marker::Star => {
                (0..10).map(|i| (i as f64 / 10.0, if i % 2 == 0 { 1.55 } else { 0.68 })).collect()
            }
        };
        let corner = |(turn, size): (f64, f64)| {
            let angle = turn * std::f64::consts::TAU;
            (x + radius * size * angle.sin(), y - radius * size * angle.cos())
        };
        self.area(corners.into_iter().map(corner).collect(), colour);
    }
}

/// The name above a frame, cut where it would be too long.
pub(in crate::output) fn title(
    canvas: &mut Canvas,
    name: &str,
    left: f64,
    right: f64,
) -> Result<(), OutputError> {
    if let Some(line) = wrap(&plain(name), LARGE, right - left, 1)?.into_iter().next() {
        canvas.text((left, 8.0), LARGE, Anchor::Start, BLACK, line);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dashes_end_where_the_line_ends() {
        let mut canvas = Canvas::new(10.0, 10.0);
        canvas.dashed((0.0, 0.0), (10.0, 0.0), (4.0, 2.0), 1.0, BLACK);
        let ends: Vec<(f64, f64)> = canvas
            .shapes
            .iter()
            .map(|shape| match shape {
                Shape::Line { points, .. } => (points[0].0, points[1].0),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(ends, [(0.0, 4.0), (6.0, 10.0)]);
        canvas.dashed((3.0, 3.0), (3.0, 3.0), DASHES, 1.0, BLACK);
        assert_eq!(canvas.shapes.len(), 2, "a line without length has no dashes");
    }

    #[test]
    fn hatching_stays_inside() {
        let mut canvas = Canvas::new(10.0, 10.0);
        canvas.hatched((1.0, 2.0), (6.0, 9.0), 1.5, BLACK);
        assert!(canvas.shapes.len() >= 6, "{}", canvas.shapes.len());
        for shape in &canvas.shapes {
            let Shape::Line { points, .. } = shape else { panic!("{shape:?}") };
            assert!(
                points.iter().all(|(x, y)| (1.0..=6.0).contains(x) && (2.0..=9.0).contains(y)),
                "{points:?}"
            );
        }
    }
}
