//! The formula as it stands, one output at a time, summed in f64: what the fast implementations are compared with.

use super::{Geometry, Parameters};

/// `input` holds planes of (H, W), channel after channel, image after image; `out` the same with the output's sides.
pub(crate) fn depthwise_conv(geometry: &Geometry, parameters: &Parameters, input: &[f32], out: &mut [f32]) {
    let [height, width] = geometry.input;
    let [out_height, out_width] = geometry.output();
    let k = geometry.kernel;
    let channels = parameters.bias.len();
    let limit = f64::from(parameters.limit);
    for (plane, out) in out.chunks_exact_mut(out_height * out_width).enumerate() {
        let c = plane % channels;
        let at = |y: usize, x: usize| -> f64 {
            // Coordinates in the padded plane; padding is zero and is not activated.
            let (Some(y), Some(x)) =
                (y.checked_sub(geometry.vertical.0), x.checked_sub(geometry.horizontal.0))
            else {
                return 0.0;
            };
            if y >= height || x >= width {
                return 0.0;
            }
            let value = input[(plane * height + y) * width + x] + parameters.input_bias[c];
            f64::from(value).clamp(0.0, limit)
        };
        for y in 0..out_height {
            for x in 0..out_width {
                let mut sum = f64::from(parameters.bias[c]);
                for ky in 0..k {
                    for kx in 0..k {
                        let weight = parameters.weight[(c * k + ky) * k + kx];
                        sum += f64::from(weight) * at(y * geometry.stride + ky, x * geometry.stride + kx);
                    }
                }
                out[y * out_width + x] = sum.clamp(0.0, limit) as f32;
            }
        }
    }
}
