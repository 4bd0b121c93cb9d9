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
