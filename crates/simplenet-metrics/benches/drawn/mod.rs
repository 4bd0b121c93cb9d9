//! Draws test sets that look like a real one's to the metrics: smooth maps (a coarse grid of scores, brought to the
//! image's size by bilinear interpolation, as a network's patch scores are) and elliptic defects that score higher.
//!
//! Comes in: a seed and a size. Goes out: scores and a mask. The same seed gives the same image.

/// One image with what it owns.
pub(crate) struct Drawn {
    pub(crate) scores: Vec<f32>,
    /// 1 = defect.
    pub(crate) mask: Vec<u8>,
}

/// Patches a side.
const GRID: usize = 36;

/// Draws a `height` x `width` image with `defects` ellipses, about 1.5 % of the image each.
pub(crate) fn draw(seed: u64, width: usize, height: usize, defects: usize) -> Drawn {
    let mut state = seed;
    // SplitMix64 (Steele, Lea, Flood 2014), as a number in [0, 1).
    let mut unit = move || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 40) as f32 / (1u32 << 24) as f32
    };
    let grid: Vec<f32> = (0..(GRID + 1) * (GRID + 1)).map(|_| (0..4).map(|_| unit()).sum::<f32>()).collect();
    let mut scores = Vec::with_capacity(width * height);
    for y in 0..height {
        let (row, below) = place(y, height);
        let at = |x: usize| {
            let upper = grid[row * (GRID + 1) + x];
            upper + (grid[(row + 1) * (GRID + 1) + x] - upper) * below
        };
        let nodes: [f32; GRID + 1] = std::array::from_fn(at);
        scores.extend((0..width).map(|x| {
            let (column, right) = place(x, width);
            nodes[column] + (nodes[column + 1] - nodes[column]) * right
        }));
    }
    let mut mask = vec![0; width * height];
    for _ in 0..defects {
        let (radius_x, radius_y) =
            (width as f32 * (0.05 + 0.05 * unit()), height as f32 * (0.05 + 0.05 * unit()));
        let (centre_x, centre_y) =
            (width as f32 * (0.1 + 0.8 * unit()), height as f32 * (0.1 + 0.8 * unit()));
        let range = |centre: f32, radius: f32, end: usize| {
            (centre - radius).max(0.0) as usize..((centre + radius) as usize + 1).min(end)
        };
        for y in range(centre_y, radius_y, height) {
            for x in range(centre_x, radius_x, width) {
                let distance =
                    ((x as f32 - centre_x) / radius_x).powi(2) + ((y as f32 - centre_y) / radius_y).powi(2);
                if distance < 1.0 {
                    mask[y * width + x] = 1;
                    scores[y * width + x] += 1.5 * (1.0 - distance);
                }
            }
        }
    }
    Drawn { scores, mask }
}

/// The cell of the grid and the part of it at `position` of `length`.
fn place(position: usize, length: usize) -> (usize, f32) {
    let at = position as f32 * GRID as f32 / length as f32;
    (at as usize, at.fract())
}
