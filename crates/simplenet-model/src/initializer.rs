//! Fresh values for the trainable layers. In: two sources of random numbers, which belong to the caller (the training
//! crate's seeded generator). Out: tensors filled as the official code fills them.

use std::fmt;

use candle_core::{DType, Device, Result, Shape, Tensor, Var};
use candle_nn::VarMap;

/// Sources of random numbers, drawn from in a fixed order: the same sources give the same layers.
pub struct Initializer<'a> {
    /// Draws from the normal distribution of mean 0 and deviation 1.
    pub normal: &'a mut dyn FnMut() -> f32,
    /// Draws from the uniform distribution over [-1, 1).
    pub uniform: &'a mut dyn FnMut() -> f32,
}

impl fmt::Debug for Initializer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Initializer").finish_non_exhaustive()
    }
}

impl Initializer<'_> {
    /// Xavier-normal, gain 1, for a linear weight (out, in): deviation sqrt(2 / (out + in)). Row-major order.
    pub fn linear_weight(&mut self, out: usize, input: usize) -> Vec<f32> {
        let deviation = (2.0 / (out + input) as f64).sqrt();
        (0..out * input).map(|_| (f64::from((self.normal)()) * deviation) as f32).collect()
    }

    /// PyTorch's default for a linear layer's bias, which the official code leaves as it is: uniform within
    /// ±1/sqrt(in).
    pub fn linear_bias(&mut self, out: usize, input: usize) -> Vec<f32> {
        let bound = 1.0 / (input as f64).sqrt();
        (0..out).map(|_| (f64::from((self.uniform)()) * bound) as f32).collect()
    }
}

/// Puts values into a `VarMap` under `name`, so that a layer built over the map finds them.
pub(crate) fn put(
    vars: &VarMap,
    name: &str,
    values: Vec<f32>,
    shape: impl Into<Shape>,
    device: &Device,
) -> Result<()> {
    let tensor = Tensor::from_vec(values, shape, device)?.to_dtype(DType::F32)?;
    let var = Var::from_tensor(&tensor)?;
    let mut map = vars.data().lock().map_err(|_| candle_core::Error::msg("a VarMap's lock is poisoned"))?;
    map.insert(name.to_string(), var);
    Ok(())
}
