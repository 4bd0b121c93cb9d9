//! Signed distances: negative inside, positive outside, in part coordinates.
//!
//! In: a point. Out: the distance to a shape's outline, and [`cover`], which turns it into the share of a
//! pixel that the shape covers (antialiasing without supersampling).

/// Share of a pixel of width `pixel` that lies inside a shape at signed distance `distance`.
pub(super) fn cover(distance: f32, pixel: f32) -> f32 {
    (0.5 - distance / pixel).clamp(0.0, 1.0)
}

/// Distance from the origin.
pub(super) fn length(x: f32, y: f32) -> f32 {
    (x * x + y * y).sqrt()
}

/// Rectangle about the origin with half sides `(w, h)` and rounded corners.
pub(super) fn rounded_box(x: f32, y: f32, w: f32, h: f32, corner: f32) -> f32 {
    let (dx, dy) = (x.abs() - w + corner, y.abs() - h + corner);
    length(dx.max(0.0), dy.max(0.0)) + dx.max(dy).min(0.0) - corner
}

/// Distance to the segment from `a` to `b` (never negative).
pub(super) fn segment(x: f32, y: f32, a: (f32, f32), b: (f32, f32)) -> f32 {
    let (dx, dy) = (b.0 - a.0, b.1 - a.1);
    let along = ((x - a.0) * dx + (y - a.1) * dy) / (dx * dx + dy * dy).max(1e-12);
    let t = along.clamp(0.0, 1.0);
    length(x - a.0 - t * dx, y - a.1 - t * dy)
}

/// Distance to a chain of segments (never negative), and how far along it the nearest point lies, 0 to 1
/// by segment count. A chain of fewer than two points is infinitely far.
pub(super) fn chain(x: f32, y: f32, points: &[(f32, f32)]) -> (f32, f32) {
    let mut best = (f32::INFINITY, 0.0);
    let count = points.len().saturating_sub(1).max(1) as f32;
    for (index, pair) in points.windows(2).enumerate() {
        let distance = segment(x, y, pair[0], pair[1]);
        if distance < best.0 {
            let (dx, dy) = (pair[1].0 - pair[0].0, pair[1].1 - pair[0].1);
            let along = ((x - pair[0].0) * dx + (y - pair[0].1) * dy) / (dx * dx + dy * dy).max(1e-12);
            best = (distance, (index as f32 + along.clamp(0.0, 1.0)) / count);
        }
    }
    best
}

/// Rounded profile of a bead or groove: 1 on the centre line, 0 at `half_width` and beyond.
pub(super) fn bead(distance: f32, half_width: f32) -> f32 {
    let t = distance / half_width;
    (1.0 - t * t).max(0.0)
}

/// Pen strokes of a character on a grid 2 wide and 4 high (y down), for imprints and silk screen.
/// Unknown characters are blank.
fn strokes(character: char) -> &'static [&'static [(f32, f32)]] {
    match character {
        '0' => &[&[(0.0, 0.0), (2.0, 0.0), (2.0, 4.0), (0.0, 4.0), (0.0, 0.0)]],
        '1' => &[&[(0.4, 0.7), (1.2, 0.0), (1.2, 4.0)]],
        '2' => &[&[(0.0, 0.0), (2.0, 0.0), (2.0, 2.0), (0.0, 2.0), (0.0, 4.0), (2.0, 4.0)]],
        '4' => &[&[(0.0, 0.0), (0.0, 2.2), (2.0, 2.2)], &[(1.6, 0.8), (1.6, 4.0)]],
        '5' | 'S' => &[&[(2.0, 0.0), (0.0, 0.0), (0.0, 2.0), (2.0, 2.0), (2.0, 4.0), (0.0, 4.0)]],
        '7' => &[&[(0.0, 0.0), (2.0, 0.0), (0.8, 4.0)]],
        'C' => &[&[(2.0, 0.0), (0.0, 0.0), (0.0, 4.0), (2.0, 4.0)]],
        'L' => &[&[(0.0, 0.0), (0.0, 4.0), (2.0, 4.0)]],
        'N' => &[&[(0.0, 4.0), (0.0, 0.0), (2.0, 4.0), (2.0, 0.0)]],
        'R' => &[&[(0.0, 4.0), (0.0, 0.0), (2.0, 0.0), (2.0, 2.0), (0.0, 2.0)], &[(0.6, 2.0), (2.0, 4.0)]],
        'U' => &[&[(0.0, 0.0), (0.0, 4.0), (2.0, 4.0), (2.0, 0.0)]],
        'X' => &[&[(0.0, 0.0), (2.0, 4.0)], &[(2.0, 0.0), (0.0, 4.0)]],
        _ => &[],
    }
}

/// The strokes of `text` as segments centred on the origin; `height` of a character in part coordinates.
pub(super) fn text_segments(text: &str, height: f32) -> Vec<[(f32, f32); 2]> {
    let unit = height / 4.0;
    let advance = 3.1;
    let width = text.chars().count() as f32 * advance - (advance - 2.0);
    let mut segments = Vec::new();
    for (index, character) in text.chars().enumerate() {
        let left = index as f32 * advance - width / 2.0;
        for stroke in strokes(character) {
            let place = |(x, y): (f32, f32)| ((x + left) * unit, (y - 2.0) * unit);
            segments.extend(stroke.windows(2).map(|pair| [place(pair[0]), place(pair[1])]));
        }
    }
    segments
}

/// Distance to the nearest of `segments`; infinite where there are none.
pub(super) fn nearest(x: f32, y: f32, segments: &[[(f32, f32); 2]]) -> f32 {
    segments.iter().fold(f32::INFINITY, |best, s| best.min(segment(x, y, s[0], s[1])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_signed_and_exact() {
        assert_eq!(rounded_box(0.0, 0.0, 2.0, 1.0, 0.0), -1.0);
        assert_eq!(rounded_box(3.0, 0.0, 2.0, 1.0, 0.5), 1.0);
        assert_eq!(segment(0.0, 2.0, (-1.0, 0.0), (1.0, 0.0)), 2.0);
        let (distance, along) = chain(2.5, 1.0, &[(0.0, 0.0), (2.0, 0.0), (3.0, 0.0)]);
        assert_eq!((distance, along), (1.0, 0.75));
        assert_eq!(cover(0.0, 0.1), 0.5);
        assert!(nearest(0.0, 0.0, &text_segments(" ", 1.0)).is_infinite());
    }
}
