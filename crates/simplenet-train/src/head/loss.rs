//! The losses on candle tensors: the reference of the fused training step. The truncated L1 loss is the paper's (equations 6
//! and 7), cross entropy is what its ablation compares with.
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

/// Binary cross entropy on the logits: mean(softplus(−D(q))) + mean(softplus(D(q⁻))), softplus(z) = ln(1 + eᶻ), for logits
/// (N) and (M) -> scalar. The means are added, as in the truncated L1 loss.
///
/// # Errors
/// Tensors without elements, or on different devices.
pub fn cross_entropy(normal_logits: &Tensor, anomalous_logits: &Tensor) -> Result<Tensor> {
    softplus(&normal_logits.neg()?)?.mean_all()? + softplus(anomalous_logits)?.mean_all()?
}

/// max(z, 0) + ln(1 + e^−|z|): no exponential overflows.
fn softplus(z: &Tensor) -> Result<Tensor> {
    z.relu()? + z.abs()?.neg()?.exp()?.affine(1.0, 1.0)?.log()?
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

    #[test]
    fn cross_entropy_is_its_formula_and_does_not_overflow() {
        let tensor = |values: &[f32]| Tensor::new(values, &Device::Cpu).unwrap();
        let softplus = |z: f64| (1.0 + z.exp()).ln();
        for (normal, anomalous, want) in [
            (&[0.0f32][..], &[0.0f32][..], 2.0 * softplus(0.0)),
            (&[1.5, -0.5], &[2.0], 0.5 * (softplus(-1.5) + softplus(0.5)) + softplus(2.0)),
            (&[200.0], &[-200.0, -300.0], 0.0),
            (&[-200.0], &[300.0], 500.0),
        ] {
            let loss = cross_entropy(&tensor(normal), &tensor(anomalous)).unwrap();
            let loss = f64::from(loss.to_scalar::<f32>().unwrap());
            assert!(
                (loss - want).abs() <= 1e-6 * (1.0 + want),
                "{normal:?}, {anomalous:?}: {loss} for {want}"
            );
        }
    }
}
