//! The formula as it stands: what the fast implementation is compared with.

/// `input` is (H, W, C), `out` (h, w, C).
pub(crate) fn max_pool(height: usize, width: usize, channels: usize, input: &[f32], out: &mut [f32]) {
    let [out_height, out_width] = super::output(height, width);
    for y in 0..out_height {
        for x in 0..out_width {
            for c in 0..channels {
                let mut best = f32::NEG_INFINITY;
                for iy in (2 * y).saturating_sub(1)..(2 * y + 2).min(height) {
                    for ix in (2 * x).saturating_sub(1)..(2 * x + 2).min(width) {
                        best = best.max(input[(iy * width + ix) * channels + c]);
                    }
                }
                out[(y * out_width + x) * channels + c] = best;
            }
        }
    }
}
