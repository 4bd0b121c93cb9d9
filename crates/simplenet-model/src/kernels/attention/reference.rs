//! The formula as it stands, in f64: what the fast implementation is compared with.

/// `input` is (tokens, stride), `out` (tokens, C).
pub(crate) fn attention(heads: usize, channels: usize, stride: usize, input: &[f32], out: &mut [f32]) {
    let (depth, tokens) = (channels / heads, input.len() / stride);
    let at = |part: usize, token: usize, channel: usize| {
        f64::from(input[token * stride + part * channels + channel])
    };
    for (token, head) in (0..tokens).flat_map(|token| (0..heads).map(move |head| (token, head))) {
        let own = head * depth..(head + 1) * depth;
        let dot = |other: usize| own.clone().map(|c| at(0, token, c) * at(1, other, c)).sum::<f64>();
        let weights: Vec<f64> = (0..tokens).map(|s| (dot(s) / (depth as f64).sqrt()).exp()).collect();
        let sum: f64 = weights.iter().sum();
        for c in own.clone() {
            let mixed: f64 = weights.iter().enumerate().map(|(s, weight)| weight * at(2, s, c)).sum();
            out[token * channels + c] = (mixed / sum) as f32;
        }
    }
}
