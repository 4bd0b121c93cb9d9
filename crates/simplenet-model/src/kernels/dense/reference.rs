//! The layer as its formula reads, summed in f64.

use super::{Clamp, ConvGeometry};

/// Channels-last `input` with `stride` numbers a pixel, `depth` of them read; `weight(tap, channel, output)`.
/// Out: (h, w, `bias.len()`).
pub(crate) fn dense(
    geometry: &ConvGeometry,
    depth: usize,
    stride: usize,
    bias: &[f32],
    clamp: Clamp,
    weight: impl Fn(usize, usize, usize) -> f32,
    input: &[f32],
    residual: Option<&[f32]>,
) -> Vec<f32> {
    let ConvGeometry { input: [height, width], kernel, stride: step, before, output } = *geometry;
    let mut out = Vec::new();
    for pixel in 0..geometry.pixels() {
        let (y, x) = (pixel / output[1], pixel % output[1]);
        for (o, &bias) in bias.iter().enumerate() {
            let mut sum = f64::from(bias);
            for tap in 0..kernel[0] * kernel[1] {
                let row = (y * step + tap / kernel[1]).wrapping_sub(before[0]);
                let column = (x * step + tap % kernel[1]).wrapping_sub(before[1]);
                if row >= height || column >= width {
                    continue;
                }
                for c in 0..depth {
                    let value = input[(row * width + column) * stride + c];
                    sum += f64::from(value) * f64::from(weight(tap, c, o));
                }
            }
            sum += residual
                .map_or(0.0, |residual| f64::from(residual[pixel * bias_len(residual, geometry) + o]));
            out.push((sum as f32).clamp(clamp.low, clamp.high));
        }
    }
    out
}

/// Numbers a pixel of the residual has.
fn bias_len(residual: &[f32], geometry: &ConvGeometry) -> usize {
    residual.len() / geometry.pixels()
}
