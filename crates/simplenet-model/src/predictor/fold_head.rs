//! The trained half as one matrix. In: a network. Out: what a compiled head needs.
//!
//! The aggregator is a fixed linear map, the feature norm is affine, the adaptor is linear, and so is the discriminator's first
//! layer with its batch norm in evaluation mode: all of it up to the LeakyReLU is one matrix (H, D) and a shift, worked out in
//! f64.

use candle_core::{Device, Tensor};

use crate::{error::ModelError, graph::doubles, position_energy::PositionEnergy, simplenet::SimpleNet};

/// score = Σ over h of tail[h] · LeakyReLU(hidden(features)[h]).
pub(crate) struct FoldedHead {
    /// From features to the input of the LeakyReLU.
    pub(crate) hidden: Affine,
    /// Weights of the last layer, negated: their sum over the hidden layer is the anomaly score.
    pub(crate) tail: Vec<f32>,
    /// The LeakyReLU's.
    pub(crate) slope: f32,
    /// From features to what the position-aware half looks at, if there is one.
    pub(crate) projection: Option<Affine>,
}

/// matrix · features + shift, as (outputs, D) rows.
pub(crate) struct Affine {
    pub(crate) matrix: Vec<f64>,
    pub(crate) shift: Vec<f64>,
}

/// Folds the head of `net`.
///
/// # Errors
/// A failing tensor operation.
pub(crate) fn fold_head(net: &SimpleNet) -> Result<FoldedHead, ModelError> {
    let tail = values(net.head().discriminator.named_tensors(), "tail.weight")?;
    Ok(FoldedHead {
        hidden: fold_hidden(net)?,
        tail: tail.into_iter().map(|weight| -weight as f32).collect(),
        slope: net.config().head.discriminator.leaky_slope as f32,
        projection: net.position().map(|energy| fold_projection(net, energy)).transpose()?,
    })
}

/// Everything from features to the input of the LeakyReLU as one affine map.
fn fold_hidden(net: &SimpleNet) -> Result<Affine, ModelError> {
    let config = net.config().head;
    let (dim, hidden) = (config.discriminator.dim, config.discriminator.hidden);
    let discriminator = net.head().discriminator.named_tensors();
    let value = |name: &str| values(discriminator.clone(), name);
    let (gamma, beta) = (value("body.block1.1.weight")?, value("body.block1.1.bias")?);
    let (mean, variance) = (value("body.block1.1.running_mean")?, value("body.block1.1.running_var")?);
    let bias = value("body.block1.0.bias")?;
    let mut matrix = value("body.block1.0.weight")?;
    let mut shift = vec![0.0; hidden];
    for (h, row) in matrix.chunks_exact_mut(dim).enumerate() {
        let scale = gamma[h] / (variance[h] + config.discriminator.norm_epsilon).sqrt();
        row.iter_mut().for_each(|weight| *weight *= scale);
        shift[h] = (bias[h] - mean[h]) * scale + beta[h];
    }
    // matrix · (A x + b) = (matrix · A) x + matrix · b, from the adaptor's last layer to its first.
    let adaptor = net.head().adaptor.named_tensors();
    for layer in (0..config.adaptor.layers).rev() {
        let bias = values(adaptor.clone(), &format!("layers.{layer}fc.bias"))?;
        add_product(&mut shift, &matrix, &bias);
        let weight = values(adaptor.clone(), &format!("layers.{layer}fc.weight"))?;
        let left = Tensor::from_vec(matrix, (hidden, dim), &Device::Cpu)?;
        matrix =
            left.matmul(&Tensor::from_vec(weight, (dim, dim), &Device::Cpu)?)?.flatten_all()?.to_vec1()?;
    }
    let mut affine = Affine { matrix, shift };
    fold_norm(net, &mut affine)?;
    Ok(affine)
}

/// The projection of the position-aware half as one affine map of the features before the norm.
fn fold_projection(net: &SimpleNet, energy: &PositionEnergy) -> Result<Affine, ModelError> {
    let matrix = energy.projection.iter().map(|&v| f64::from(v)).collect();
    let mut affine = Affine { matrix, shift: vec![0.0; energy.config.dim] };
    fold_norm(net, &mut affine)?;
    Ok(affine)
}

/// matrix · ((x − mean) · scale) + shift, as one affine map of x.
fn fold_norm(net: &SimpleNet, Affine { matrix, shift }: &mut Affine) -> Result<(), ModelError> {
    let norm = net.norm().named_tensors();
    let (mean, scale) = (values(norm.clone(), "feature_norm.mean")?, values(norm, "feature_norm.scale")?);
    for row in matrix.chunks_exact_mut(scale.len()) {
        row.iter_mut().zip(&scale).for_each(|(weight, scale)| *weight *= scale);
    }
    let negative: Vec<f64> = mean.iter().map(|mean| -mean).collect();
    add_product(shift, matrix, &negative);
    Ok(())
}

/// `to += matrix · x`.
fn add_product(to: &mut [f64], matrix: &[f64], x: &[f64]) {
    for (to, row) in to.iter_mut().zip(matrix.chunks_exact(x.len())) {
        *to += row.iter().zip(x).map(|(weight, x)| weight * x).sum::<f64>();
    }
}

/// The values of one of `tensors`, in f64.
fn values(tensors: Vec<(String, Tensor)>, name: &str) -> Result<Vec<f64>, ModelError> {
    let found = tensors.into_iter().find(|(other, _)| other == name);
    let (_, tensor) = found.ok_or_else(|| ModelError::Configuration {
        what: "predictor",
        reason: format!("the head has no tensor {name}"),
    })?;
    doubles(&tensor)
}
