//! The formula as it stands.

use crate::ops::dense::Clamp;

/// `x` and `residual` are planes of `plane` numbers, channel after channel, image after image; `bias` is (C).
pub(crate) fn conv_epilogue(
    plane: usize,
    bias: &[f32],
    residual: Option<&[f32]>,
    clamp: Clamp,
    x: &[f32],
) -> Vec<f32> {
    let number = |(i, &x): (usize, &f32)| {
        let sum = x + bias[i / plane % bias.len()];
        let sum = residual.map_or(sum, |residual| sum + residual[i]);
        // Neither is true of NaN.
        match sum {
            sum if sum < clamp.low => clamp.low,
            sum if sum > clamp.high => clamp.high,
            sum => sum,
        }
    };
    x.iter().enumerate().map(number).collect()
}
