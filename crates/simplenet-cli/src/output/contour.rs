//! The outlines of a mask's regions as a path for SVG.
//!
//! In: a mask, and where its grid lies in the photograph. Out: closed lines in the photograph's pixels. They run
//! through the middles of the mask's pixel edges and are simplified by the method of Douglas and Peucker, so that a
//! round defect looks round at any size; no point of the mask's border is further than a pixel of the mask away.

use std::fmt::Write;

/// How far a simplified line may leave the border, in pixels of the mask.
const TOLERANCE: f32 = 0.6;

/// Where a mask's grid lies in a photograph: the box that it covers, `[x0, y0, x1, y1]` in the photograph's pixels.
pub type Place = [u32; 4];

/// SVG path data of the outlines of a mask of `width` columns, row-major, 0 outside; empty without a region or for a
/// mask that has not `width` columns.
pub fn outline_path(mask: &[u8], width: usize, place: Place) -> String {
    if width == 0 || !mask.len().is_multiple_of(width) {
        return String::new();
    }
    let height = mask.len() / width;
    let [x0, y0, x1, y1] = place.map(|v| v as f32);
    let (across, down) = ((x1 - x0) / width as f32, (y1 - y0) / height as f32);
    let mut path = String::new();
    for ring in rings(mask, width, height) {
        for (index, (x, y)) in simplified(&ring).into_iter().enumerate() {
            let letter = if index == 0 { 'M' } else { 'L' };
            let _ = write!(path, "{letter}{} {}", short(x0 + x * across), short(y0 + y * down));
        }
        path.push('Z');
    }
    path
}

/// One decimal, none where it is 0.
fn short(value: f32) -> f32 {
    (value * 10.0).round() / 10.0
}

/// Steps along the four edges of a pixel, clockwise: right, down, left, up.
const STEPS: [(isize, isize); 4] = [(1, 0), (0, 1), (-1, 0), (0, -1)];

/// The borders, each as the middles of its pixel edges, with the region on the right-hand side.
fn rings(mask: &[u8], width: usize, height: usize) -> Vec<Vec<(f32, f32)>> {
    let inside = |x: isize, y: isize| {
        x >= 0
            && y >= 0
            && (x as usize) < width
            && (y as usize) < height
            && mask[y as usize * width + x as usize] != 0
    };
    let corners = width + 1;
    // For each corner, the directions in which a border leaves it, a bit each.
    let mut leaving = vec![0u8; corners * (height + 1)];
    for y in 0..height {
        for x in 0..width {
            let (ix, iy) = (x as isize, y as isize);
            if !inside(ix, iy) {
                continue;
            }
            let sides = [(0, -1, x, y), (1, 0, x + 1, y), (0, 1, x + 1, y + 1), (-1, 0, x, y + 1)];
            for (direction, (dx, dy, cx, cy)) in sides.into_iter().enumerate() {
                if !inside(ix + dx, iy + dy) {
                    leaving[cy * corners + cx] |= 1 << direction;
                }
            }
        }
    }
    let mut rings = vec![];
    for start in 0..leaving.len() {
        while leaving[start] != 0 {
            let mut ring = vec![];
            let (mut at, mut direction) = (start, leaving[start].trailing_zeros() as usize);
            loop {
                leaving[at] &= !(1 << direction);
                let (x, y) = ((at % corners) as isize, (at / corners) as isize);
                let (dx, dy) = STEPS[direction];
                ring.push((x as f32 + dx as f32 / 2.0, y as f32 + dy as f32 / 2.0));
                at = (y + dy) as usize * corners + (x + dx) as usize;
                // Left before straight on before right: regions that touch at a corner are one, as the metrics have it.
                let Some(next) = [3, 0, 1]
                    .map(|turn| (direction + turn) % 4)
                    .into_iter()
                    .find(|d| leaving[at] & (1 << d) != 0)
                else {
                    break;
                };
                direction = next;
            }
            rings.push(ring);
        }
    }
    rings
}

/// A closed line with fewer points: the two halves between its first point and the one furthest from it.
fn simplified(ring: &[(f32, f32)]) -> Vec<(f32, f32)> {
    let Some(&first) = ring.first() else { return vec![] };
    let distance = |p: &(f32, f32)| (p.0 - first.0).powi(2) + (p.1 - first.1).powi(2);
    let far = (0..ring.len()).max_by(|a, b| distance(&ring[*a]).total_cmp(&distance(&ring[*b]))).unwrap_or(0);
    let closed: Vec<(f32, f32)> = ring.iter().copied().chain([first]).collect();
    let mut keep = vec![false; closed.len()];
    (keep[0], keep[far]) = (true, true);
    let mut open = vec![(0, far), (far, closed.len() - 1)];
    while let Some((from, to)) = open.pop() {
        let furthest = (from + 1..to)
            .map(|i| (i, off_line(closed[i], closed[from], closed[to])))
            .max_by(|a, b| a.1.total_cmp(&b.1));
        if let Some((i, distance)) = furthest
            && distance > TOLERANCE
        {
            keep[i] = true;
            open.extend([(from, i), (i, to)]);
        }
    }
    closed.into_iter().zip(keep).filter_map(|(point, kept)| kept.then_some(point)).collect()
}

/// How far a point is from the line through two others, or from them where they are one.
fn off_line(p: (f32, f32), a: (f32, f32), b: (f32, f32)) -> f32 {
    let (dx, dy) = (b.0 - a.0, b.1 - a.1);
    let (px, py) = (p.0 - a.0, p.1 - a.1);
    let length = dx.hypot(dy);
    if length == 0.0 { px.hypot(py) } else { (px * dy - py * dx).abs() / length }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_box_is_drawn_where_it_lies() {
        // Two by two pixels in the middle of four by four, which cover a photograph of 40 by 80.
        let mask = [0, 0, 0, 0, 0, 1, 1, 0, 0, 1, 1, 0, 0, 0, 0, 0];
        let path = outline_path(&mask, 4, [0, 0, 40, 80]);
        assert!(path.starts_with('M') && path.ends_with('Z') && path.matches('M').count() == 1, "{path}");
        let numbers: Vec<f32> = path
            .split(|c: char| !c.is_ascii_digit() && c != '.')
            .filter(|t| !t.is_empty())
            .map(|t| t.parse().unwrap())
            .collect();
        let (xs, ys): (Vec<f32>, Vec<f32>) = numbers.chunks(2).map(|p| (p[0], p[1])).unzip();
        let range =
            |v: &[f32]| (v.iter().copied().fold(f32::MAX, f32::min), v.iter().copied().fold(0.0, f32::max));
        assert_eq!((range(&xs), range(&ys)), ((10.0, 30.0), (20.0, 60.0)), "{path}");
        let moved = outline_path(&mask, 4, [100, 0, 140, 80]);
        assert!(moved.starts_with("M115 20"), "{moved}");
    }

    #[test]
    fn holes_and_corners() {
        let rings_of = |rows: &[&str]| {
            let mask: Vec<u8> = rows.concat().bytes().map(|b| u8::from(b == b'#')).collect();
            rings(&mask, rows[0].len(), rows.len()).iter().map(Vec::len).collect::<Vec<_>>()
        };
        assert_eq!(rings_of(&["...", ".#.", "..."]), [4]);
        assert_eq!(rings_of(&["###", "#.#", "###"]), [12, 4]);
        assert_eq!(rings_of(&["#.", ".#"]), [8], "one region");
        assert_eq!(rings_of(&["#..#"]), [4, 4]);
        assert_eq!(rings_of(&["##", "##"]), [8], "at the edges of the picture too");
    }

    #[test]
    fn nothing_and_wrong_sizes_draw_nothing() {
        for (mask, width) in [(vec![0; 9], 3), (vec![], 3), (vec![1; 7], 3), (vec![1; 4], 0)] {
            assert_eq!(outline_path(&mask, width, [0, 0, 9, 9]), "", "{mask:?}");
        }
    }

    #[test]
    fn a_disc_needs_few_points() {
        let side = 120;
        let mask: Vec<u8> = (0..side * side)
            .map(|i| {
                let (x, y) = ((i % side) as f32 - 60.0, (i / side) as f32 - 60.0);
                u8::from(x.hypot(y) < 40.0)
            })
            .collect();
        let path = outline_path(&mask, side, [0, 0, 120, 120]);
        let points = path.matches(['M', 'L']).count();
        assert!((8..40).contains(&points), "{points} points: {path}");
        for point in path.trim_end_matches('Z').split(['M', 'L']).filter(|t| !t.is_empty()) {
            let (x, y) = point.split_once(' ').unwrap();
            let radius = (x.parse::<f32>().unwrap() - 60.0).hypot(y.parse::<f32>().unwrap() - 60.0);
            assert!((radius - 40.0).abs() < 1.5, "{point}: {radius}");
        }
    }
}
