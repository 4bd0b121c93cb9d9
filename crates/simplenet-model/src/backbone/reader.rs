//! Where a backbone gets its tensors from while it adds nodes. In: names and shapes. Out: the tensors of a set of weights, or
//! placeholders while the names are noted down: so the list of tensors that a network needs is the network itself.

use std::cell::RefCell;

use candle_core::{DType, Device, Tensor};

use super::{TensorSpec, weights::BackboneWeights};
use crate::{
    error::ModelError,
    graph::{ChannelAffine, LayerNorm, doubles},
};

/// Gives tensors by name.
#[derive(Debug)]
pub(crate) enum Reader<'a> {
    /// Those of these weights.
    Weights(&'a BackboneWeights),
    /// Zeros that take no memory; notes what was asked for.
    Recorder(RefCell<Vec<TensorSpec>>),
}

impl Reader<'_> {
    /// A tensor of this shape.
    ///
    /// # Errors
    /// There is none of this name, or it has another shape.
    pub(crate) fn tensor(&self, name: &str, shape: &[usize]) -> Result<Tensor, ModelError> {
        match self {
            Self::Weights(weights) => {
                let tensor = weights.get(name)?;
                if tensor.dims() != shape {
                    return Err(ModelError::InputShape {
                        what: "backbone",
                        expected: format!("a tensor {name} of shape {shape:?}"),
                        actual: tensor.dims().to_vec(),
                    });
                }
                Ok(tensor.clone())
            }
            Self::Recorder(specs) => {
                specs.borrow_mut().push(TensorSpec { name: name.into(), shape: shape.to_vec() });
                Ok(Tensor::zeros(vec![1; shape.len()], DType::F32, &Device::Cpu)?.broadcast_as(shape)?)
            }
        }
    }

    /// Batch norm in evaluation mode over so many channels, as a factor and a shift per channel:
    /// γ · (x − μ) / √(σ² + ε) + β.
    ///
    /// # Errors
    /// As [`Reader::tensor`].
    pub(crate) fn batch_norm(
        &self,
        name: &str,
        channels: usize,
        epsilon: f64,
    ) -> Result<ChannelAffine, ModelError> {
        let part = |part: &str| self.tensor(&format!("{name}.{part}"), &[channels]);
        let parts = [part("weight")?, part("bias")?, part("running_mean")?, part("running_var")?];
        if matches!(self, Self::Recorder(_)) {
            return Ok(ChannelAffine { scale: vec![0.0; channels], shift: vec![0.0; channels] });
        }
        let [gamma, beta, mean, variance] = parts.each_ref().map(doubles);
        let (gamma, beta, mean, variance) = (gamma?, beta?, mean?, variance?);
        let scale: Vec<f64> = gamma.iter().zip(&variance).map(|(g, v)| g / (v + epsilon).sqrt()).collect();
        let shift = beta.iter().zip(&mean).zip(&scale).map(|((b, m), s)| b - m * s).collect();
        Ok(ChannelAffine { scale, shift })
    }

    /// A layer norm over so many channels.
    ///
    /// # Errors
    /// As [`Reader::tensor`].
    pub(crate) fn layer_norm(
        &self,
        name: &str,
        channels: usize,
        epsilon: f64,
    ) -> Result<LayerNorm, ModelError> {
        let part = |part: &str| self.tensor(&format!("{name}.{part}"), &[channels]);
        Ok(LayerNorm { weight: part("weight")?, bias: part("bias")?, epsilon })
    }
}
