//! PyTorch's bilinear resize with `align_corners=False`, one axis at a time. In: the old and the new length. Out: for
//! every new position, the two old ones that it reads and their shares.

/// Where a resized position reads from: `share` of `high`, the rest of `low`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Source {
    pub(crate) low: usize,
    pub(crate) high: usize,
    pub(crate) share: f32,
}

/// One source a new position: pixel centres at halves, positions beyond the first or last centre clamped to it.
/// `from` must be at least 1.
pub(crate) fn sources(from: usize, to: usize) -> Vec<Source> {
    let scale = from as f64 / to as f64;
    (0..to)
        .map(|i| {
            let at = ((i as f64 + 0.5) * scale - 0.5).max(0.0);
            let low = (at as usize).min(from - 1);
            Source { low, high: (low + 1).min(from - 1), share: (at - low as f64) as f32 }
        })
        .collect()
}

/// The first step alone: bilinear resize with half-pixel centres (PyTorch's `align_corners=False`), without
/// antialiasing. (h, w) -> (out_h, out_w), row-major; NaN where `scores` does not have h·w numbers, at least one.
pub fn resize_bilinear(scores: &[f32], h: usize, w: usize, out_h: usize, out_w: usize) -> Vec<f32> {
    if !fits(scores, h, w) {
        return vec![f32::NAN; out_h * out_w];
    }
    let (rows, columns) = (sources(h, out_h), sources(w, out_w));
    let mut map = Vec::with_capacity(out_h * out_w);
    for row in &rows {
        let (low, high) = (&scores[row.low * w..][..w], &scores[row.high * w..][..w]);
        for column in &columns {
            let across =
                |line: &[f32]| (1.0 - column.share) * line[column.low] + column.share * line[column.high];
            map.push((1.0 - row.share) * across(low) + row.share * across(high));
        }
    }
    map
}

/// Whether there are h·w scores, at least one.
pub(crate) fn fits(scores: &[f32], h: usize, w: usize) -> bool {
    !scores.is_empty() && h.checked_mul(w) == Some(scores.len())
}
