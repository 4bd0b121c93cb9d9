//! The step between frozen features and the head: subtract a mean, multiply by a scale, one pair a dimension. In:
//! (…, D) patch features as the backbone gives them. Out: the same, of deviation about 1 over the training set, so that
//! the training noise means the same for every backbone and every dimension.
//!
//! The official code has no such step: [`FeatureNorm::identity`] leaves every bit as it is.

use std::{collections::HashMap, path::Path};

use candle_core::{Device, Tensor};

use crate::{error::ModelError, tensor_check::require_f32};

const MEAN: &str = "feature_norm.mean";
const SCALE: &str = "feature_norm.scale";

/// A mean and a scale for every dimension.
#[derive(Debug, Clone)]
pub struct FeatureNorm {
    mean: Tensor,
    scale: Tensor,
    /// The same numbers for code that works on rows of its own.
    pairs: Vec<(f32, f32)>,
}

impl FeatureNorm {
    /// A norm of width D = `mean.len()`: (x − mean) · scale.
    ///
    /// # Errors
    /// `ModelError::Configuration` when the lengths differ, a mean is not a number, or a scale is not a number above 0.
    pub fn new(mean: &[f32], scale: &[f32], device: &Device) -> Result<Self, ModelError> {
        let invalid = |reason| Err(ModelError::Configuration { what: "feature norm", reason });
        if mean.len() != scale.len() || mean.is_empty() {
            return invalid(format!(
                "{} means and {} scales; both must be D, at least 1",
                mean.len(),
                scale.len()
            ));
        }
        if let Some(i) = mean.iter().position(|m| !m.is_finite()) {
            return invalid(format!("mean {i} is {}", mean[i]));
        }
        if let Some(i) = scale.iter().position(|s| !(s.is_finite() && *s > 0.0)) {
            return invalid(format!("scale {i} is {}, must be a number above 0", scale[i]));
        }
        Ok(Self {
            mean: Tensor::from_slice(mean, mean.len(), device)?,
            scale: Tensor::from_slice(scale, scale.len(), device)?,
            pairs: mean.iter().copied().zip(scale.iter().copied()).collect(),
        })
    }

    /// The norm that changes nothing.
    ///
    /// # Errors
    /// A width of 0.
    pub fn identity(dim: usize, device: &Device) -> Result<Self, ModelError> {
        Self::new(&vec![0.0; dim], &vec![1.0; dim], device)
    }

    /// Takes the norm out of a file's tensors; `origin` is used in errors only.
    ///
    /// # Errors
    /// A tensor that is missing, misshapen or not f32; numbers that [`FeatureNorm::new`] refuses.
    pub fn from_tensors(
        dim: usize,
        tensors: &HashMap<String, Tensor>,
        device: &Device,
        origin: &Path,
    ) -> Result<Self, ModelError> {
        require_f32(&Self::tensor_specs(dim), tensors, origin)?;
        let values = |name: &str| -> Result<Vec<f32>, ModelError> {
            tensors.get(name).map_or(Ok(vec![]), |tensor| Ok(tensor.to_vec1::<f32>()?))
        };
        Self::new(&values(MEAN)?, &values(SCALE)?, device).map_err(|error| ModelError::InvalidFile {
            file: origin.to_path_buf(),
            reason: format!("its `{MEAN}` and `{SCALE}` are unusable: {error}"),
        })
    }

    /// Names and shapes of its tensors in a file.
    pub fn tensor_specs(dim: usize) -> Vec<(String, Vec<usize>)> {
        vec![(MEAN.into(), vec![dim]), (SCALE.into(), vec![dim])]
    }

    /// Its tensors under their names in a file.
    pub fn named_tensors(&self) -> Vec<(String, Tensor)> {
        vec![(MEAN.into(), self.mean.clone()), (SCALE.into(), self.scale.clone())]
    }

    /// The same norm on another device.
    ///
    /// # Errors
    /// A device that is out of memory.
    pub fn to_device(&self, device: &Device) -> Result<Self, ModelError> {
        let (mean, scale) = (self.mean.to_device(device)?, self.scale.to_device(device)?);
        Ok(Self { mean, scale, pairs: self.pairs.clone() })
    }

    /// Mean and scale of every dimension.
    pub fn pairs(&self) -> &[(f32, f32)] {
        &self.pairs
    }

    /// D.
    pub fn dim(&self) -> usize {
        self.pairs.len()
    }

    /// [`FeatureNorm::forward`] on one row (D) in place, bit for bit; numbers beyond D stay as they are.
    pub fn apply_to_row(&self, row: &mut [f32]) {
        for (value, (mean, scale)) in row.iter_mut().zip(&self.pairs) {
            *value = (*value - mean) * scale;
        }
    }

    /// (…, D) f32 -> (…, D) f32.
    ///
    /// # Errors
    /// Another last dimension or type.
    pub fn forward(&self, features: &Tensor) -> Result<Tensor, ModelError> {
        Ok(features.broadcast_sub(&self.mean)?.broadcast_mul(&self.scale)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forward_is_its_formula_and_identity_changes_no_bit() {
        let x = Tensor::new(&[[1.0f32, -2.5, 1e-30], [0.1, 7.0, -3.0]], &Device::Cpu).unwrap();
        let norm = FeatureNorm::new(&[1.0, 0.5, -1.0], &[2.0, 4.0, 0.5], &Device::Cpu).unwrap();
        let got = norm.forward(&x).unwrap().to_vec2::<f32>().unwrap();
        assert_eq!(got, [[0.0, -12.0, 0.5], [-1.8, 26.0, -1.0]]);
        for (mut row, want) in x.to_vec2::<f32>().unwrap().into_iter().zip(&got) {
            norm.apply_to_row(&mut row);
            assert_eq!(&row, want);
        }
        let same = FeatureNorm::identity(3, &Device::Cpu).unwrap().forward(&x).unwrap();
        assert_eq!(same.to_vec2::<f32>().unwrap(), x.to_vec2::<f32>().unwrap());
    }

    #[test]
    fn unusable_numbers_are_named() {
        for (mean, scale, word) in [
            (vec![0.0], vec![1.0, 1.0], "1 means and 2 scales"),
            (vec![], vec![], "at least 1"),
            (vec![f32::NAN], vec![1.0], "mean 0"),
            (vec![0.0, 0.0], vec![1.0, 0.0], "scale 1 is 0"),
            (vec![0.0], vec![f32::INFINITY], "scale 0"),
        ] {
            let error = FeatureNorm::new(&mean, &scale, &Device::Cpu).unwrap_err().to_string();
            assert!(error.contains(word), "{word} in {error}");
        }
    }

    #[test]
    fn tensors_come_back() {
        let norm = FeatureNorm::new(&[1.0, 2.0], &[0.5, 3.0], &Device::Cpu).unwrap();
        let tensors: HashMap<_, _> = norm.named_tensors().into_iter().collect();
        let back = FeatureNorm::from_tensors(2, &tensors, &Device::Cpu, Path::new("x")).unwrap();
        assert_eq!(back.scale.to_vec1::<f32>().unwrap(), [0.5, 3.0]);
        let error = FeatureNorm::from_tensors(3, &tensors, &Device::Cpu, Path::new("x")).unwrap_err();
        assert!(matches!(error, ModelError::TensorShape { .. }));
    }
}
