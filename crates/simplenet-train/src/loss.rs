//! The truncated L1 loss (paper, equations 6 and 7) on candle tensors: the reference of the fused training step.
//!
//! In: the discriminator's logits of normal and of anomalous features, high meaning normal. Out: a scalar with gradient.

use candle_core::{Result, Tensor};

/// mean(max(0, th − D(q))) + mean(max(0, th + D(q⁻))) for logits (N) and (M) and the margin th -> scalar.
///
/// # Errors
/// Tensors without elements, or on different devices.
pub fn truncated_l1(normal_logits: &Tensor, anomalous_logits: &Tensor, margin: f64) -> Result<Tensor> {
    let normal = normal_logits.affine(-1.0, margin)?.relu()?.mean_all()?;
    let anomalous = anomalous_logits.affine(1.0, margin)?.relu()?.mean_all()?;
    normal + anomalous
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    #[test]
    fn values_beyond_the_margin_cost_nothing() {
        let tensor = |values: &[f32]| Tensor::new(values, &Device::Cpu).unwrap();
        for (normal, anomalous, want) in [
            (&[0.5f32, 2.0][..], &[-0.5f32, -3.0][..], 0.0),
            (&[0.0, 0.5], &[-1.0, -1.0], 0.25),
            (&[1.0], &[0.5, -0.5], 0.5),
            (&[-1.0], &[1.0], 3.0),
        ] {
            let loss = truncated_l1(&tensor(normal), &tensor(anomalous), 0.5).unwrap();
            assert_eq!(loss.to_scalar::<f32>().unwrap(), want);
        }
    }
}
