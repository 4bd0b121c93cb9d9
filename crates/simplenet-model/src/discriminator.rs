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
            return invalid(format!("dim is {}, hidden is {}; both must be at least 1", self.dim, self.hidden));
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
        let batches = match vb.contains_tensor(BATCHES) {
            true => vb.get_with_hints_dtype((), BATCHES, Default::default(), DType::I64)?.to_scalar::<i64>()?,
            false => 0,
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
        let hidden = self.hidden(features)?;
        let deviation = (self.running_var.as_detached_tensor() + self.config.norm_epsilon)?.sqrt()?;
        let normalised =
            hidden.broadcast_sub(&self.running_mean.as_detached_tensor())?.broadcast_div(&deviation)?;
        self.logits(&normalised)
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
        let logits = self.logits(&centred.broadcast_div(&deviation)?)?;
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
        let mut specs = vec![
            (format!("{LINEAR}.weight"), vec![hidden, dim]),
            (format!("{LINEAR}.bias"), vec![hidden]),
        ];
        specs.extend(
            ["weight", "bias", "running_mean", "running_var"].map(|end| (format!("{NORM}.{end}"), vec![hidden])),
        );
        specs.push((TAIL.to_string(), vec![1, hidden]));
        specs
    }

    fn hidden(&self, features: &Tensor) -> Result<Tensor> {
        features.matmul(&self.weight.t()?)?.broadcast_add(&self.bias)
    }

    fn logits(&self, normalised: &Tensor) -> Result<Tensor> {
        let x = normalised.broadcast_mul(&self.norm_weight)?.broadcast_add(&self.norm_bias)?;
        candle_nn::ops::leaky_relu(&x, self.config.leaky_slope)?.matmul(&self.tail.t()?)?.squeeze(D::Minus1)
    }
}
