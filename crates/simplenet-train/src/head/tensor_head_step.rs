//! The training step over tensors, for a GPU: `HeadStep` and the optimisers on a device.
//!
//! In: the parameters, their moments and the running statistics once; then batches of normal features (n, D), on the device.
//! Out: the loss of every step, and the parameters when they are asked for. Matrix products are candle's (cuBLAS on a GPU);
//! noise, loss with its gradient, and Adam are ops of `simplenet_model` with kernels of their own. Nothing comes back to the
//! host between steps. The noise is that of `HeadStep` to the bit; sums are made in another order.

use candle_core::{Device, Tensor};
use simplenet_model::compute::{Cost, DiscriminatorLoss, adam_step, loss_and_gradient, with_normal_noise};

use crate::{
    config::Loss,
    error::TrainError,
    head::{
        head_step::{HeadTensors, Noise, RunningStatistics, StepConfig, StepOutcome},
        optimizer::{AdamConfig, Moments},
    },
    noise::Purpose,
};

/// Adaptor and discriminator in the middle of a training, on a device.
pub struct TensorHeadStep {
    config: StepConfig,
    device: Device,
    /// Of each layer of the adaptor, (3, D·D): weights, first and second moments.
    adaptor: Vec<Tensor>,
    /// Of the discriminator's first layer, (3, H·D).
    hidden: Tensor,
    /// Of γ, β and tail one after another, (3, 3·H).
    columns: Tensor,
    /// Running mean and variance, (2, H).
    running: Tensor,
    /// Steps of the optimisers; they go together.
    steps: i32,
}

/// What a step gives, on the device.
#[derive(Debug, Clone)]
pub struct TensorStep {
    /// Gradients of the adaptor's layers, (D, D) each.
    pub adaptor: Vec<Tensor>,
    /// Gradient of the discriminator's first layer, (H, D).
    pub hidden: Tensor,
    /// Gradients of γ, β and tail, (3, H).
    pub columns: Tensor,
    /// Loss, `p_true` and `p_fake`, (3): [`outcomes`] reads them.
    pub outcome: Tensor,
}

/// What steps tell about themselves, read back at once.
///
/// # Errors
/// What the device says of the work that it was given before.
pub fn outcomes(steps: &[Tensor]) -> Result<Vec<StepOutcome>, TrainError> {
    if steps.is_empty() {
        return Ok(vec![]);
    }
    let rows = Tensor::stack(steps, 0)?.to_vec2::<f32>()?;
    let outcome = |row: &Vec<f32>| {
        let [loss, p_true, p_fake] = [0, 1, 2].map(|i| row.get(i).copied().map_or(f64::NAN, f64::from));
        StepOutcome { loss, p_true, p_fake }
    };
    Ok(rows.iter().map(outcome).collect())
}

/// A matrix (`rows`, L / `rows`) out of a state (3, L).
fn weights(state: &Tensor, rows: usize) -> candle_core::Result<Tensor> {
    state.get(0)?.reshape((rows, ()))
}

impl TensorHeadStep {
    /// Of parameters, statistics and moments, which are in the order of [`HeadTensors::parameters`] and of equally many steps.
    ///
    /// # Errors
    /// `TrainError::Setting` when there are other tensors than the configuration says, `TrainError::Tensor` when they have
    /// other sizes or the device is out of memory.
    pub fn new(
        config: StepConfig,
        head: &HeadTensors,
        statistics: &RunningStatistics,
        moments: &[Moments],
        device: &Device,
    ) -> Result<Self, TrainError> {
        let StepConfig { dim, adaptor_layers, hidden, .. } = config;
        let parameters = head.parameters();
        if head.adaptor_weights.len() != adaptor_layers || moments.len() != parameters.len() {
            let problem = format!("the adaptor has {} layers", head.adaptor_weights.len());
            return Err(TrainError::setting("adaptor_layers", adaptor_layers, problem));
        }
        // (3, L) of several tensors one after another.
        let state = |tensors: std::ops::Range<usize>, len: usize| -> Result<Tensor, TrainError> {
            let (parameters, moments) = (&parameters[tensors.clone()], &moments[tensors]);
            let values = parameters.iter().flat_map(|values| values.iter());
            let first = moments.iter().flat_map(|moments| &moments.first);
            let second = moments.iter().flat_map(|moments| &moments.second);
            let all: Vec<f32> = values.chain(first).chain(second).copied().collect();
            Ok(Tensor::from_vec(all, (3, len), device)?)
        };
        let layers = adaptor_layers;
        let running = [&statistics.mean[..], &statistics.variance].concat();
        Ok(Self {
            config,
            device: device.clone(),
            adaptor: (0..layers).map(|i| state(i..i + 1, dim * dim)).collect::<Result<_, _>>()?,
            hidden: state(layers..layers + 1, hidden * dim)?,
            columns: state(layers + 1..layers + 4, 3 * hidden)?,
            running: Tensor::from_vec(running, (2, hidden), device)?,
            steps: moments.first().map_or(0, |moments| moments.steps),
        })
    }

    /// Loss and gradients of one batch, `features` (n, D) f32 on the device; the running statistics are updated.
    ///
    /// # Errors
    /// Features of another shape, type or device; given noise of another size; a device that is out of memory.
    pub fn run(&mut self, features: &Tensor, noise: Noise<'_>) -> Result<TensorStep, TrainError> {
        let StepConfig { dim, hidden: width, .. } = self.config;
        let hidden_weight = weights(&self.hidden, width)?;
        let layers: Vec<Tensor> =
            self.adaptor.iter().map(|state| weights(state, dim)).collect::<Result<_, _>>()?;
        // What every layer of the adaptor gets.
        let mut inputs = vec![];
        let mut adapted = features.clone();
        for weight in &layers {
            let output = adapted.matmul(&weight.t()?)?;
            inputs.push(std::mem::replace(&mut adapted, output));
        }
        let n = adapted.dim(0)?;
        let both = match noise {
            Noise::Drawn(generator, step, sigma) => {
                with_normal_noise(&adapted, generator.draws(Purpose::Noise, step), sigma)?
            }
            Noise::Given(given) => {
                let given = Tensor::from_slice(given, (n, dim), &self.device)?;
                Tensor::cat(&[&adapted, &(&adapted + given)?], 0)?
            }
        };
        let hidden = both.matmul(&hidden_weight.t()?)?;
        let columns = weights(&self.columns, 3)?;
        let loss = loss_and_gradient(self.loss(), &hidden, &columns, &self.running)?;
        // Copies: a view would keep the whole hidden layer.
        self.running = loss.running.force_contiguous()?;

        let of_hidden_weight = loss.hidden.t()?.matmul(&both)?;
        let mut of_adaptor = vec![];
        if !layers.is_empty() {
            // Normal and anomalous rows share the adapted feature: their gradients add before the product.
            let joint = (loss.hidden.narrow(0, 0, n)? + loss.hidden.narrow(0, n, n)?)?;
            let mut gradient = joint.matmul(&hidden_weight)?;
            for (layer, (weight, input)) in layers.iter().zip(&inputs).enumerate().rev() {
                of_adaptor.push(gradient.t()?.matmul(input)?);
                if layer > 0 {
                    gradient = gradient.matmul(weight)?;
                }
            }
            of_adaptor.reverse();
        }
        Ok(TensorStep {
            adaptor: of_adaptor,
            hidden: of_hidden_weight,
            columns: loss.parameters,
            outcome: loss.outcome.force_contiguous()?,
        })
    }

    /// One step of the optimisers along the gradients, the learning rates multiplied by `rate`.
    ///
    /// # Errors
    /// Gradients of another configuration.
    pub fn update(
        &mut self,
        gradients: &TensorStep,
        adaptor: &AdamConfig,
        discriminator: &AdamConfig,
        rate: f64,
    ) -> Result<(), TrainError> {
        self.steps = self.steps.saturating_add(1);
        let step = adaptor.constants(rate, self.steps);
        for (state, gradient) in self.adaptor.iter().zip(&gradients.adaptor) {
            adam_step(state, gradient, step)?;
        }
        let step = discriminator.constants(rate, self.steps);
        adam_step(&self.hidden, &gradients.hidden, step)?;
        adam_step(&self.columns, &gradients.columns, step)?;
        Ok(())
    }

    /// Copies parameters, statistics and moments to the host.
    ///
    /// # Errors
    /// What the device says of the work that it was given before.
    pub fn read(&self) -> Result<(HeadTensors, RunningStatistics, Vec<Moments>), TrainError> {
        let (mut parameters, mut moments) = (vec![], vec![]);
        let single = self.adaptor.iter().chain([&self.hidden]).map(|state| (state, 1));
        for (state, count) in single.chain([(&self.columns, 3)]) {
            let [values, first, second] =
                [0, 1, 2].map(|row| state.get(row).and_then(|values| values.to_vec1::<f32>()));
            let (values, first, second) = (values?, first?, second?);
            let len = values.len() / count;
            for i in 0..count {
                let own = i * len..(i + 1) * len;
                parameters.push(values[own.clone()].to_vec());
                let (first, second) = (first[own.clone()].to_vec(), second[own].to_vec());
                moments.push(Moments { first, second, steps: self.steps });
            }
        }
        let mut parameters = parameters.into_iter();
        let mut next = || parameters.next().unwrap_or_default();
        let head = HeadTensors {
            adaptor_weights: self.adaptor.iter().map(|_| next()).collect(),
            hidden_weight: next(),
            norm_weight: next(),
            norm_bias: next(),
            tail_weight: next(),
        };
        let running = |row: usize| self.running.get(row).and_then(|values| values.to_vec1::<f32>());
        let statistics = RunningStatistics { mean: running(0)?, variance: running(1)? };
        Ok((head, statistics, moments))
    }

    fn loss(&self) -> DiscriminatorLoss {
        DiscriminatorLoss {
            discriminators: self.config.discriminators,
            cost: match self.config.loss {
                Loss::TruncatedL1 => Cost::TruncatedL1,
                Loss::CrossEntropy => Cost::CrossEntropy,
            },
            margin: self.config.margin,
            leaky_slope: self.config.leaky_slope,
            norm_epsilon: self.config.norm_epsilon,
            norm_momentum: self.config.norm_momentum,
        }
    }
}
