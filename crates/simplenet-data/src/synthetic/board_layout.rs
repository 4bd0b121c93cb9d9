//! What lies where on the circuit board: components, tracks, vias, in board coordinates.
//!
//! In: nothing, the design is fixed as that of a product is. Out: lists that `board.rs` draws.

use super::shapes::text_segments;

/// Half sides of the board.
pub(super) const HALF: (f32, f32) = (0.93, 0.82);

/// Kinds of component bodies.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Body {
    /// Black with white end caps and a printed value.
    Resistor,
    /// Tan, no print.
    Capacitor,
    /// Square package, `pins` leads on each side, half side.
    Quad { half: f32, pins: usize },
    /// Leads on the two long sides.
    Dual { half: (f32, f32), pins: usize },
    /// Round aluminium can of this radius.
    Can(f32),
    /// Metal can of a crystal.
    Crystal,
}

/// One component: place, rotation in turns, what it is, and the text on its body, lines split at `/`.
#[derive(Clone, Copy)]
pub(super) struct Component {
    pub(super) at: (f32, f32),
    pub(super) turns: f32,
    pub(super) body: Body,
    pub(super) text: &'static str,
}

/// Half length and half width of a resistor or capacitor.
pub(super) const CHIP: (f32, f32) = (0.058, 0.031);

/// Every component; the first [`PASSIVES`] are the small ones that get lost or shifted.
pub(super) const COMPONENTS: [Component; 18] = [
    part(-0.68, -0.34, 0.0, Body::Resistor, "100"),
    part(-0.68, -0.20, 0.0, Body::Resistor, "472"),
    part(-0.68, -0.06, 0.0, Body::Resistor, "100"),
    part(-0.68, 0.12, 0.0, Body::Capacitor, ""),
    part(-0.68, 0.26, 0.0, Body::Capacitor, ""),
    part(-0.50, 0.58, 0.25, Body::Capacitor, ""),
    part(0.10, 0.58, 0.25, Body::Capacitor, ""),
    part(0.30, 0.10, 0.25, Body::Resistor, "221"),
    part(0.44, 0.10, 0.25, Body::Resistor, "221"),
    part(0.58, 0.10, 0.25, Body::Capacitor, ""),
    part(0.72, 0.10, 0.25, Body::Resistor, "102"),
    part(0.24, -0.36, 0.0, Body::Capacitor, ""),
    part(0.24, -0.50, 0.0, Body::Resistor, "000"),
    part(0.30, 0.42, 0.0, Body::Capacitor, ""),
    part(-0.20, 0.00, 0.0, Body::Quad { half: 0.20, pins: 9 }, "RX 20/1N 47"),
    part(0.60, -0.36, 0.0, Body::Dual { half: (0.11, 0.155), pins: 4 }, "LN"),
    part(0.62, 0.50, 0.0, Body::Can(0.165), "47"),
    part(-0.20, 0.58, 0.0, Body::Crystal, "12"),
];

/// How many of [`COMPONENTS`] are resistors and capacitors.
pub(super) const PASSIVES: usize = 14;

/// Places of the mounting holes.
pub(super) const MOUNTS: [(f32, f32); 4] = [(-0.82, -0.70), (0.82, -0.70), (-0.82, 0.70), (0.86, 0.72)];

const fn part(x: f32, y: f32, turns: f32, body: Body, text: &'static str) -> Component {
    Component { at: (x, y), turns, body, text }
}

/// Centres of a component's leads in its own coordinates, with their half width and half height.
pub(super) fn leads(body: Body) -> Vec<(f32, f32, f32, f32)> {
    let spread = |index: usize, count: usize, pitch: f32| (index as f32 - (count as f32 - 1.0) / 2.0) * pitch;
    let mut leads = Vec::new();
    match body {
        Body::Quad { half, pins } => {
            for index in 0..pins {
                let at = spread(index, pins, 0.041);
                for side in [-1.0, 1.0] {
                    leads.push((side * (half + 0.022), at, 0.026, 0.011));
                    leads.push((at, side * (half + 0.022), 0.011, 0.026));
                }
            }
        }
        Body::Dual { half, pins } => {
            for index in 0..pins {
                let at = spread(index, pins, 0.075);
                for side in [-1.0, 1.0] {
                    leads.push((side * (half.0 + 0.028), at, 0.032, 0.018));
                }
            }
        }
        _ => {}
    }
    leads
}

/// Places of the header's round pads.
pub(super) fn header() -> impl Iterator<Item = (f32, f32)> {
    (0..9).map(|index| (-0.60 + 0.088 * index as f32, -0.66))
}

/// Copper tracks: points and half width.
pub(super) fn tracks() -> Vec<(Vec<(f32, f32)>, f32)> {
    let thin = 0.008;
    let mut tracks = Vec::new();
    let pin = |index: usize| (index as f32 - 4.0) * 0.041;
    // Left side of the controller to the left column; top side to the header.
    for (index, row) in [-0.34, -0.20, -0.06, 0.12, 0.26].into_iter().enumerate() {
        tracks.push((route((-0.44, pin(index * 2)), (-0.62, row), 0.02), thin));
        tracks.push((vec![(-0.74, row), (-0.86, row), (-0.86, row + 0.05)], thin));
    }
    for (index, pad) in header().enumerate().skip(1).take(7) {
        tracks
            .push((route((-0.20 + pin(index), -0.24), pad, 0.03 + 0.012 * (index as f32 - 4.0).abs()), thin));
    }
    // Right side to the resistor row, bottom side to the crystal and its capacitors.
    for (index, column) in [0.30, 0.44, 0.58, 0.72].into_iter().enumerate() {
        let lane = pin(5 - index) - 0.012 * index as f32;
        let bend = [
            (0.03, pin(5 - index)),
            (0.10, lane),
            (column - 0.04, lane),
            (column, lane + 0.04),
            (column, 0.05),
        ];
        tracks.push((bend.to_vec(), thin));
        tracks.push((vec![(column, 0.16), (column, 0.24), (column - 0.05, 0.29)], thin));
    }
    for (from, to) in [(1, (-0.50, 0.52)), (3, (-0.30, 0.56)), (5, (-0.10, 0.56)), (7, (0.10, 0.52))] {
        tracks.push((route((-0.20 + pin(from), 0.24), to, 0.05), thin));
    }
    tracks.push((route((0.04, pin(7)), (0.24, 0.42), 0.03), thin));
    // Supply: wider.
    tracks.push((vec![(0.36, 0.42), (0.44, 0.42), (0.50, 0.45)], 0.018));
    tracks.push((vec![(0.10, -0.66), (0.40, -0.66), (0.47, -0.59), (0.47, -0.47)], 0.018));
    tracks.push((vec![(0.30, -0.36), (0.47, -0.39)], thin));
    tracks.push((vec![(0.30, -0.50), (0.40, -0.50), (0.47, -0.40)], thin));
    for index in 0..3 {
        let y = -0.47 + 0.075 * index as f32;
        tracks.push((vec![(0.75, y), (0.80, y), (0.86, y + 0.06), (0.86, 0.20 - 0.1 * index as f32)], thin));
    }
    tracks
}

/// Via places.
pub(super) fn vias() -> Vec<(f32, f32)> {
    let mut vias = vec![(-0.86, -0.26), (-0.86, -0.12), (-0.86, 0.02), (-0.86, 0.18), (-0.86, 0.34)];
    vias.extend([0.30, 0.44, 0.58, 0.72].map(|column| (column - 0.05, 0.29)));
    vias.extend([(0.10, -0.12), (0.16, 0.30), (-0.45, 0.36), (0.02, 0.36), (-0.62, 0.46), (-0.70, 0.46)]);
    vias.extend([(0.86, 0.20), (0.86, 0.10), (0.86, 0.0), (0.40, -0.24), (-0.02, 0.74), (-0.38, 0.74)]);
    vias
}

/// Silk screen: line segments of outlines and of reference texts.
pub(super) fn silk_screen() -> Vec<[(f32, f32); 2]> {
    let mut lines = Vec::new();
    let mut write = |text: &str, at: (f32, f32), height: f32| {
        lines.extend(text_segments(text, height).iter().map(|s| s.map(|(x, y)| (x + at.0, y + at.1))));
    };
    write("SN 72", (0.58, -0.70), 0.055);
    write("R1", (-0.54, -0.40), 0.05);
    write("C4", (-0.54, 0.19), 0.05);
    write("U1", (0.09, -0.25), 0.05);
    write("R5", (0.37, 0.21), 0.05);
    write("C12", (0.30, 0.52), 0.05);
    write("L0", (-0.72, 0.60), 0.055);
    let corner =
        |x: f32, y: f32| [[(x, y), (x - x.signum() * 0.05, y)], [(x, y), (x, y - y.signum() * 0.05)]];
    for (x, y) in [(-0.21, -0.21), (0.21, -0.21), (-0.21, 0.21), (0.21, 0.21)] {
        lines.extend(corner(x, y).map(|s| s.map(|(x, y)| (x - 0.20, y))));
    }
    let frame = [(-0.66, -0.72), (0.17, -0.72), (0.17, -0.60), (-0.66, -0.60)];
    for index in 0..4 {
        lines.push([frame[index], frame[(index + 1) % 4]]);
    }
    lines
}

/// From `a` to `b` with a straight stub of length `stub` at either end, parallel to the longer leg, and 45
/// degree bends where the legs allow them.
fn route(a: (f32, f32), b: (f32, f32), stub: f32) -> Vec<(f32, f32)> {
    let (dx, dy) = (b.0 - a.0, b.1 - a.1);
    if dx.abs() > dy.abs() {
        let (first, diagonal) = (dx.signum() * stub, dx.signum() * dy.abs());
        vec![a, (a.0 + first, a.1), (a.0 + first + diagonal, b.1), b]
    } else {
        let (first, diagonal) = (dy.signum() * stub, dy.signum() * dx.abs());
        vec![a, (a.0, a.1 + first), (b.0, a.1 + first + diagonal), b]
    }
}
