//! The feature adaptor (paper, section 3.2): moves frozen features towards the domain at hand. In: (N, D) patch
//! features. Out: (N, D) adapted ones. One linear layer in the paper; more are the official code's plain stack, none leaves
//! the features as they are.

use candle_core::{Device, Result, Tensor, Var};
use candle_nn::{VarBuilder, VarMap};
use serde::{Deserialize, Serialize};

use crate::{
    error::ModelError,
    initializer::{Initializer, put},
};

/// Where the adaptor's tensors are in a file: the official name.
pub const PREFIX: &str = "pre_projection";
/// Most layers: ablations go to a few; a bound for damaged files.
pub const MAX_LAYERS: usize = 16;

/// Sizes of the adaptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeatureAdaptorConfig {
    /// Width of the features, D.
    pub dim: usize,
    /// Linear layers, with nothing between them (the official layer type 0). The paper: 1; 0 is no adaptor.
    pub layers: usize,
}

impl Default for FeatureAdaptorConfig {
    fn default() -> Self {
        Self { dim: 1536, layers: 1 }
    }
}

impl FeatureAdaptorConfig {
    /// The paper's single layer of this width.
    pub fn new(dim: usize) -> Self {
        Self { dim, ..Self::default() }
    }

    /// Checks every number.
    ///
    /// # Errors
    /// `ModelError::Configuration` names the first one that cannot work.
    pub fn validate(&self) -> std::result::Result<(), ModelError> {
        let Self { dim, layers } = *self;
        if dim == 0 || layers > MAX_LAYERS {
            return Err(ModelError::Configuration {
                what: "feature adaptor",
                reason: format!(
                    "dim {dim} and {layers} layers: dim must be at least 1, and layers at most {MAX_LAYERS}"
                ),
            });
        }
        Ok(())
    }
}

/// The adaptor's layers; trainable.
#[derive(Debug, Clone)]
pub struct FeatureAdaptor {
    config: FeatureAdaptorConfig,
    layers: Vec<(Var, Var)>,
}

impl FeatureAdaptor {
    /// Takes `layers.{i}fc.weight` (D, D) and `layers.{i}fc.bias` (D) from `vb`, which points at the adaptor
    /// (`vb.pp(PREFIX)` of a file). Over a `VarMap` the layers share the map's variables; other tensors are copied.
    ///
    /// # Errors
    /// A tensor that is missing or has another shape.
    pub fn new(config: FeatureAdaptorConfig, vb: VarBuilder<'_>) -> Result<Self> {
        let dim = config.dim;
        let mut layers = Vec::with_capacity(config.layers);
        for i in 0..config.layers {
            let vb = vb.pp(layer_name(i));
            let weight = vb.get((dim, dim), "weight")?;
            let bias = vb.get(dim, "bias")?;
            layers.push((Var::from_tensor(&weight)?, Var::from_tensor(&bias)?));
        }
        Ok(Self { config, layers })
    }

    /// Puts fresh values into `vars` under `prefix`: xavier-normal weights, PyTorch's default bias.
    ///
    /// # Errors
    /// A device that is out of memory.
    pub fn initialise(
        config: FeatureAdaptorConfig,
        vars: &VarMap,
        prefix: &str,
        device: &Device,
        initializer: &mut Initializer<'_>,
    ) -> Result<()> {
        let dim = config.dim;
        for i in 0..config.layers {
            let name = format!("{prefix}.{}", layer_name(i));
            put(vars, &format!("{name}.weight"), initializer.linear_weight(dim, dim), (dim, dim), device)?;
            put(vars, &format!("{name}.bias"), initializer.linear_bias(dim, dim), dim, device)?;
        }
        Ok(())
    }

    /// What it was made from.
    pub fn config(&self) -> &FeatureAdaptorConfig {
        &self.config
    }

    /// (N, D) f32 -> (N, D) f32, with gradient.
    ///
    /// # Errors
    /// Another shape or type.
    pub fn forward(&self, features: &Tensor) -> Result<Tensor> {
        let mut x = features.clone();
        for (weight, bias) in &self.layers {
            x = x.matmul(&weight.t()?)?.broadcast_add(bias)?;
        }
        Ok(x)
    }

    /// The trainable parameters, weight before bias, first layer first.
    pub fn trainable_vars(&self) -> Vec<Var> {
        self.layers.iter().flat_map(|(weight, bias)| [weight.clone(), bias.clone()]).collect()
    }

    /// Every tensor under its official name within the adaptor, detached. They share memory with the layers: copy them
    /// to keep a state while training goes on.
    pub fn named_tensors(&self) -> Vec<(String, Tensor)> {
        let mut named = Vec::new();
        for (i, (weight, bias)) in self.layers.iter().enumerate() {
            let name = layer_name(i);
            named.push((format!("{name}.weight"), weight.as_detached_tensor()));
            named.push((format!("{name}.bias"), bias.as_detached_tensor()));
        }
        named
    }

    /// Names and shapes of the tensors that [`FeatureAdaptor::new`] takes, within the adaptor.
    pub fn tensor_specs(config: &FeatureAdaptorConfig) -> Vec<(String, Vec<usize>)> {
        let dim = config.dim;
        (0..config.layers)
            .map(layer_name)
            .flat_map(|name| {
                [(format!("{name}.weight"), vec![dim, dim]), (format!("{name}.bias"), vec![dim])]
            })
            .collect()
    }
}

fn layer_name(i: usize) -> String {
    format!("layers.{i}fc")
}

#[cfg(test)]
mod tests {
    use candle_core::DType;

    use super::*;

    #[test]
    fn layers_follow_each_other_and_share_the_maps_variables() {
        let device = Device::Cpu;
        let config = FeatureAdaptorConfig { dim: 3, layers: 2 };
        let mut count = 0.0;
        let mut next = || {
            count += 1.0;
            0.01 * count
        };
        let mut zero = || 0.5;
        let mut initializer = Initializer { normal: &mut next, uniform: &mut zero };
        let vars = VarMap::new();
        FeatureAdaptor::initialise(config, &vars, "a", &device, &mut initializer).unwrap();
        let adaptor =
            FeatureAdaptor::new(config, VarBuilder::from_varmap(&vars, DType::F32, &device).pp("a")).unwrap();
        let names: Vec<String> = adaptor.named_tensors().into_iter().map(|(name, _)| name).collect();
        let specs: Vec<String> =
            FeatureAdaptor::tensor_specs(&config).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, specs);
        assert_eq!(names, ["layers.0fc.weight", "layers.0fc.bias", "layers.1fc.weight", "layers.1fc.bias"]);

        let x = Tensor::new(&[[1f32, -2.0, 0.5]], &device).unwrap();
        let mut by_hand = vec![1f64, -2.0, 0.5];
        for layer in 0..2 {
            let weight =
                |out: usize, i: usize| (0.01 * (1 + 9 * layer + 3 * out + i) as f64) * (2f64 / 6.0).sqrt();
            by_hand = (0..3)
                .map(|out| (0..3).map(|i| weight(out, i) * by_hand[i]).sum::<f64>() + 0.5 / 3f64.sqrt())
                .collect();
        }
        let got = adaptor.forward(&x).unwrap().to_vec2::<f32>().unwrap();
        for (g, w) in got[0].iter().zip(&by_hand) {
            assert!((f64::from(*g) - w).abs() < 1e-6, "{got:?} for {by_hand:?}");
        }

        let gradients = adaptor.forward(&x).unwrap().sum_all().unwrap().backward().unwrap();
        let map = vars.data().lock().unwrap();
        assert!(map.values().all(|var| gradients.get(var).is_some()), "a variable got no gradient");
    }

    #[test]
    fn no_layers_leave_the_features_as_they_are() {
        let config = FeatureAdaptorConfig { dim: 3, layers: 0 };
        config.validate().unwrap();
        assert!(FeatureAdaptor::tensor_specs(&config).is_empty());
        let adaptor = FeatureAdaptor::new(config, VarBuilder::zeros(DType::F32, &Device::Cpu)).unwrap();
        let x = Tensor::new(&[[1f32, -2.0, 0.5]], &Device::Cpu).unwrap();
        let got = adaptor.forward(&x).unwrap().to_vec2::<f32>().unwrap();
        assert_eq!(got, x.to_vec2::<f32>().unwrap());
        for wrong in [
            FeatureAdaptorConfig { dim: 0, layers: 1 },
            FeatureAdaptorConfig { dim: 3, layers: MAX_LAYERS + 1 },
        ] {
            wrong.validate().unwrap_err();
        }
    }
}
