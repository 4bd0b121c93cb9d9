//! The discriminator (paper, section 3.4): how normal an adapted feature looks. In: (N, D) adapted features. Out: (N)
//! logits, higher = more normal; the anomaly score is the negative.
//!
//! Linear(D, H) with bias, batch norm, LeakyReLU, Linear(H, 1) without bias, under the official names.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use candle_core::{D, DType, Device, Result, Tensor, Var};
use candle_nn::{VarBuilder, VarMap};
use serde::{Deserialize, Serialize};

use crate::{
    error::ModelError,
    initializer::{Initializer, put},
};

/// Where the discriminator's tensors are in a file: the official name.
pub const PREFIX: &str = "discriminator";

const LINEAR: &str = "body.block1.0";
const NORM: &str = "body.block1.1";
const TAIL: &str = "tail.weight";
/// An integer: how many batches the running statistics have seen.
pub(crate) const BATCHES: &str = "body.block1.1.num_batches_tracked";

/// Sizes and constants of the discriminator.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DiscriminatorConfig {
    /// Width of the features, D.
    pub dim: usize,
    /// Width of the hidden layer, H. The official scripts: 1024.
    pub hidden: usize,
    /// Slope of the LeakyReLU below zero.
    pub leaky_slope: f64,
    /// Added to the variance before its root is taken.
    pub norm_epsilon: f64,
    /// Share of a batch's statistics in the running ones (PyTorch's convention).
    pub norm_momentum: f64,
}

impl Default for DiscriminatorConfig {
    fn default() -> Self {
        Self { dim: 1536, hidden: 1024, leaky_slope: 0.2, norm_epsilon: 1e-5, norm_momentum: 0.1 }
    }
}

impl DiscriminatorConfig {
    /// The official constants with these sizes.
    pub fn new(dim: usize, hidden: usize) -> Self {
        Self { dim, hidden, ..Self::default() }
    }

    /// Checks every number.
    ///
    /// # Errors
    /// `ModelError::Configuration` names the first one that cannot work.
    pub fn validate(&self) -> std::result::Result<(), ModelError> {
        let invalid = |reason| Err(ModelError::Configuration { what: "discriminator", reason });
        if self.dim == 0 || self.hidden == 0 {
            return invalid(format!(
                "dim is {}, hidden is {}; both must be at least 1",
                self.dim, self.hidden
            ));
        }
        if !(0.0..=1.0).contains(&self.leaky_slope) || !(0.0..=1.0).contains(&self.norm_momentum) {
            return invalid(format!(
                "leaky_slope is {}, norm_momentum is {}; both must lie between 0 and 1",
                self.leaky_slope, self.norm_momentum
            ));
        }
        if !(self.norm_epsilon.is_finite() && self.norm_epsilon > 0.0) {
            return invalid(format!("norm_epsilon is {}, must be above 0", self.norm_epsilon));
        }
        Ok(())
    }
}

/// The discriminator's layers; trainable.
#[derive(Debug, Clone)]
pub struct Discriminator {
    config: DiscriminatorConfig,
    weight: Var,
    bias: Var,
    norm_weight: Var,
    norm_bias: Var,
    running_mean: Var,
    running_var: Var,
    tail: Var,
    /// Shared by clones, as the variables are.
    batches: Arc<AtomicI64>,
}

/// Mean and biased variance of a batch's hidden layer, (1, H) each, with gradient.
#[derive(Debug, Clone)]
pub struct BatchStatistics {
    mean: Tensor,
    variance: Tensor,
    rows: usize,
}

impl Discriminator {
    /// Takes the official tensors from `vb`, which points at the discriminator (`vb.pp(PREFIX)` of a file). Over a
    /// `VarMap` the layers share the map's variables; other tensors are copied.
    ///
    /// # Errors
    /// A tensor that is missing or has another shape.
    pub fn new(config: DiscriminatorConfig, vb: VarBuilder<'_>) -> Result<Self> {
        let DiscriminatorConfig { dim, hidden, .. } = config;
        let (linear, norm) = (vb.pp(LINEAR), vb.pp(NORM));
        let var = |tensor: Result<Tensor>| Var::from_tensor(&tensor?);
        let batches = if vb.contains_tensor(BATCHES) {
            vb.get_with_hints_dtype((), BATCHES, Default::default(), DType::I64)?.to_scalar::<i64>()?
        } else {
            0
        };
        Ok(Self {
            config,
            weight: var(linear.get((hidden, dim), "weight"))?,
            bias: var(linear.get(hidden, "bias"))?,
            norm_weight: var(norm.get(hidden, "weight"))?,
            norm_bias: var(norm.get(hidden, "bias"))?,
            running_mean: var(norm.get(hidden, "running_mean"))?,
            running_var: var(norm.get(hidden, "running_var"))?,
            tail: var(vb.get((1, hidden), TAIL))?,
            batches: Arc::new(AtomicI64::new(batches)),
        })
    }

    /// Puts fresh values into `vars` under `prefix`: xavier-normal weights, PyTorch's default bias, and a batch norm
    /// that does nothing yet.
    ///
    /// # Errors
    /// A device that is out of memory.
    pub fn initialise(
        config: DiscriminatorConfig,
        vars: &VarMap,
        prefix: &str,
        device: &Device,
        initializer: &mut Initializer<'_>,
    ) -> Result<()> {
        let DiscriminatorConfig { dim, hidden, .. } = config;
        let name = |name: &str| format!("{prefix}.{name}");
        let linear = |end: &str| name(&format!("{LINEAR}.{end}"));
        let norm = |end: &str| name(&format!("{NORM}.{end}"));
        put(vars, &linear("weight"), initializer.linear_weight(hidden, dim), (hidden, dim), device)?;
        put(vars, &linear("bias"), initializer.linear_bias(hidden, dim), hidden, device)?;
        for (end, value) in [("weight", 1.0), ("bias", 0.0), ("running_mean", 0.0), ("running_var", 1.0)] {
            put(vars, &norm(end), vec![value; hidden], hidden, device)?;
        }
        put(vars, &name(TAIL), initializer.linear_weight(1, hidden), (1, hidden), device)
    }

    /// What it was made from.
    pub fn config(&self) -> &DiscriminatorConfig {
        &self.config
    }

    /// (N, D) f32 -> (N) logits by the running statistics, with gradient.
    ///
    /// # Errors
    /// Another shape or type.
    pub fn forward_eval(&self, features: &Tensor) -> Result<Tensor> {
        // Batch norm by fixed statistics is one factor and one shift a column; the layer's bias joins the shift.
        let deviation = (self.running_var.as_detached_tensor() + self.config.norm_epsilon)?.sqrt()?;
        let scale = self.norm_weight.div(&deviation)?;
        let centre = self.bias.sub(&self.running_mean.as_detached_tensor())?;
        let shift = (centre * &scale)?.add(&self.norm_bias)?;
        let product = features.matmul(&self.weight.t()?)?;
        self.tail(&product.broadcast_mul(&scale)?.broadcast_add(&shift)?)
    }

    /// (N, D) f32 -> (N) logits by the statistics of this batch, with gradient; the running statistics take them in.
    ///
    /// # Errors
    /// Another shape or type; a batch of fewer than two rows, whose variance says nothing.
    pub fn forward_train(&self, features: &Tensor) -> Result<Tensor> {
        let (logits, statistics) = self.forward_with_batch_statistics(features)?;
        self.update_running(&statistics)?;
        Ok(logits)
    }

    /// As [`Discriminator::forward_train`], but the running statistics stay as they are.
    ///
    /// # Errors
    /// As [`Discriminator::forward_train`].
    pub fn forward_with_batch_statistics(&self, features: &Tensor) -> Result<(Tensor, BatchStatistics)> {
        let rows = features.dim(0)?;
        if rows < 2 {
            candle_core::bail!("batch statistics need at least 2 rows, got {rows}");
        }
        let hidden = self.hidden(features)?;
        let mean = hidden.mean_keepdim(0)?;
        let centred = hidden.broadcast_sub(&mean)?;
        let variance = centred.sqr()?.mean_keepdim(0)?;
        let deviation = (&variance + self.config.norm_epsilon)?.sqrt()?;
        let scale = self.norm_weight.unsqueeze(0)?.div(&deviation)?;
        let logits = self.tail(&centred.broadcast_mul(&scale)?.broadcast_add(&self.norm_bias)?)?;
        Ok((logits, BatchStatistics { mean, variance, rows }))
    }

    /// Blends a batch's statistics into the running ones: `norm_momentum` of the mean and of the unbiased variance.
    ///
    /// # Errors
    /// Statistics of another width.
    pub fn update_running(&self, statistics: &BatchStatistics) -> Result<()> {
        let momentum = self.config.norm_momentum;
        let rows = statistics.rows as f64;
        let blend = |running: &Var, now: &Tensor, factor: f64| {
            let now = (now.detach().squeeze(0)? * (momentum * factor))?;
            running.set(&((running.as_detached_tensor() * (1.0 - momentum))? + now)?)
        };
        blend(&self.running_mean, &statistics.mean, 1.0)?;
        blend(&self.running_var, &statistics.variance, rows / (rows - 1.0))?;
        self.batches.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// The trainable parameters, in the order of the forward pass; the running statistics are not among them.
    pub fn trainable_vars(&self) -> Vec<Var> {
        [&self.weight, &self.bias, &self.norm_weight, &self.norm_bias, &self.tail].map(Clone::clone).to_vec()
    }

    /// Every tensor under its official name within the discriminator, detached; `num_batches_tracked` is i64. They
    /// share memory with the layers: copy them to keep a state while training goes on.
    pub fn named_tensors(&self) -> Vec<(String, Tensor)> {
        let named = |name: String, var: &Var| (name, var.as_detached_tensor());
        let mut tensors = vec![
            named(format!("{LINEAR}.weight"), &self.weight),
            named(format!("{LINEAR}.bias"), &self.bias),
            named(format!("{NORM}.weight"), &self.norm_weight),
            named(format!("{NORM}.bias"), &self.norm_bias),
            named(format!("{NORM}.running_mean"), &self.running_mean),
            named(format!("{NORM}.running_var"), &self.running_var),
        ];
        // A number of one element cannot fail to become a tensor on the CPU; were it to, it is not needed to score.
        tensors.extend(
            Tensor::new(self.batches.load(Ordering::Relaxed), &Device::Cpu)
                .map(|batches| (BATCHES.to_string(), batches)),
        );
        tensors.push(named(TAIL.to_string(), &self.tail));
        tensors
    }

    /// Names and shapes of the float tensors that [`Discriminator::new`] takes, within the discriminator.
    pub fn tensor_specs(config: &DiscriminatorConfig) -> Vec<(String, Vec<usize>)> {
        let DiscriminatorConfig { dim, hidden, .. } = *config;
        let mut specs =
            vec![(format!("{LINEAR}.weight"), vec![hidden, dim]), (format!("{LINEAR}.bias"), vec![hidden])];
        specs.extend(
            ["weight", "bias", "running_mean", "running_var"]
                .map(|end| (format!("{NORM}.{end}"), vec![hidden])),
        );
        specs.push((TAIL.to_string(), vec![1, hidden]));
        specs
    }

    fn hidden(&self, features: &Tensor) -> Result<Tensor> {
        features.matmul(&self.weight.t()?)?.broadcast_add(&self.bias)
    }

    /// LeakyReLU and the last layer: (N, H) -> (N). With a slope of at most 1 the LeakyReLU is the larger of two.
    fn tail(&self, x: &Tensor) -> Result<Tensor> {
        let x = x.maximum(&(x * self.config.leaky_slope)?)?;
        x.matmul(&self.tail.t()?)?.squeeze(D::Minus1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CPU: Device = Device::Cpu;

    fn numbers(seed: u32) -> impl FnMut() -> f32 {
        let mut state = seed;
        move || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1u32 << 23) as f32 - 1.0
        }
    }

    fn discriminator(config: DiscriminatorConfig) -> Discriminator {
        // A stand-in for normal draws of deviation 1: uniform within ±sqrt(3).
        let (mut draw, mut uniform) = (numbers(1), numbers(2));
        let mut normal = || 3f32.sqrt() * draw();
        let mut initializer = Initializer { normal: &mut normal, uniform: &mut uniform };
        let vars = VarMap::new();
        Discriminator::initialise(config, &vars, PREFIX, &CPU, &mut initializer).unwrap();
        Discriminator::new(config, VarBuilder::from_varmap(&vars, DType::F32, &CPU).pp(PREFIX)).unwrap()
    }

    fn rows(n: usize, dim: usize) -> Tensor {
        let mut draw = numbers(3);
        Tensor::from_vec((0..n * dim).map(|_| 2.0 * draw() + 1.0).collect::<Vec<_>>(), (n, dim), &CPU)
            .unwrap()
    }

    fn values(tensor: &Tensor) -> Vec<f32> {
        tensor.flatten_all().unwrap().to_vec1().unwrap()
    }

    fn mean_square(tensor: &Tensor) -> f64 {
        let values = values(tensor);
        values.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>() / values.len() as f64
    }

    #[test]
    fn fresh_layers_have_the_official_spread() {
        let (dim, hidden) = (300, 200);
        let layer = discriminator(DiscriminatorConfig::new(dim, hidden));
        // Xavier: variance 2 / (in + out). 60,000 and 200 draws: 2 % and 25 % are more than four standard errors.
        assert!((mean_square(&layer.weight) * 250.0 - 1.0).abs() < 0.02);
        assert!((mean_square(&layer.tail) * 100.5 - 1.0).abs() < 0.25);
        let bound = 1.0 / (dim as f32).sqrt();
        let bias = values(&layer.bias);
        assert!(bias.iter().all(|b| b.abs() <= bound) && bias.iter().any(|b| b.abs() > 0.9 * bound));
        assert_eq!(layer.trainable_vars().len(), 5);
    }

    #[test]
    fn running_statistics_blend_mean_and_unbiased_variance() {
        let config = DiscriminatorConfig { norm_momentum: 0.25, ..DiscriminatorConfig::new(6, 4) };
        let layer = discriminator(config);
        let x = rows(5, 6);
        let hidden = layer.hidden(&x).unwrap().to_vec2::<f32>().unwrap();
        let trained = layer.forward_train(&x).unwrap();
        let (mean, variance) = (values(&layer.running_mean), values(&layer.running_var));
        for c in 0..4 {
            let column: Vec<f64> = hidden.iter().map(|row| row[c].into()).collect();
            let m = column.iter().sum::<f64>() / 5.0;
            let v = column.iter().map(|x| (x - m).powi(2)).sum::<f64>() / 4.0;
            assert!((f64::from(mean[c]) - 0.25 * m).abs() < 1e-6);
            assert!((f64::from(variance[c]) - (0.75 + 0.25 * v)).abs() < 1e-6);
        }
        let (again, _) = layer.forward_with_batch_statistics(&x).unwrap();
        assert_eq!(values(&trained), values(&again), "the running statistics must not matter in training");
        assert_eq!(values(&layer.running_mean), mean, "only forward_train updates");
        let (_, batches) = layer.named_tensors().into_iter().find(|(name, _)| name == BATCHES).unwrap();
        assert_eq!(batches.to_scalar::<i64>().unwrap(), 1);
    }

    #[test]
    fn one_row_has_no_statistics() {
        let layer = discriminator(DiscriminatorConfig::new(6, 4));
        assert!(layer.forward_train(&rows(1, 6)).unwrap_err().to_string().contains("at least 2 rows"));
        assert_eq!(layer.forward_eval(&rows(1, 6)).unwrap().dims(), [1]);
    }

    #[test]
    fn impossible_configurations_are_refused() {
        let good = DiscriminatorConfig::new(6, 4);
        assert!(good.validate().is_ok());
        for bad in [
            DiscriminatorConfig { hidden: 0, ..good },
            DiscriminatorConfig { leaky_slope: f64::NAN, ..good },
            DiscriminatorConfig { norm_momentum: 1.5, ..good },
            DiscriminatorConfig { norm_epsilon: 0.0, ..good },
        ] {
            assert!(bad.validate().is_err(), "{bad:?}");
        }
    }
}
