//! The formula as it stands, summed in f64: what the fast implementation is compared with.

/// `input` is (positions, stride), `weight` and `bias` (C), `out` (positions, C).
pub(crate) fn layer_norm(
    stride: usize,
    input: &[f32],
    weight: &[f32],
    bias: &[f32],
    epsilon: f64,
    out: &mut [f32],
) {
    let channels = weight.len();
    for (out, x) in out.chunks_exact_mut(channels).zip(input.chunks_exact(stride)) {
        let x: Vec<f64> = x[..channels].iter().map(|&v| f64::from(v)).collect();
        let mean = x.iter().sum::<f64>() / channels as f64;
        let variance = x.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / channels as f64;
        for (c, out) in out.iter_mut().enumerate() {
            let normed = (x[c] - mean) / (variance + epsilon).sqrt();
            *out = (normed * f64::from(weight[c]) + f64::from(bias[c])) as f32;
        }
    }
}
