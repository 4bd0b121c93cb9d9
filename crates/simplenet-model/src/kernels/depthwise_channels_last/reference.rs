//! The formula as it stands, one output at a time, summed in f64: what the fast implementation is compared with.

use crate::kernels::{dense::Clamp, geometry::Geometry};

/// `input` is (H, W, C), `weight` (C, k, k), `bias` (C), `out` (h, w, C): without the zeros that fill a vector.
pub(crate) fn depthwise(
    geometry: &Geometry,
    weight: &[f32],
    bias: &[f32],
    clamp: Clamp,
    input: &[f32],
    out: &mut [f32],
) {
    let [height, width] = geometry.input;
    let [out_height, out_width] = geometry.output();
    let (k, channels) = (geometry.kernel, bias.len());
    let at = |y: usize, x: usize, c: usize| -> f64 {
        // Coordinates in the padded image.
        match (y.checked_sub(geometry.vertical.0), x.checked_sub(geometry.horizontal.0)) {
            (Some(y), Some(x)) if y < height && x < width => f64::from(input[(y * width + x) * channels + c]),
            _ => 0.0,
        }
    };
    for y in 0..out_height {
        for x in 0..out_width {
            for c in 0..channels {
                let mut sum = f64::from(bias[c]);
                for ky in 0..k {
                    for kx in 0..k {
                        let weight = f64::from(weight[(c * k + ky) * k + kx]);
                        sum += weight * at(y * geometry.stride + ky, x * geometry.stride + kx, c);
                    }
                }
                out[(y * out_width + x) * channels + c] =
                    sum.clamp(f64::from(clamp.low), f64::from(clamp.high)) as f32;
            }
        }
    }
}
