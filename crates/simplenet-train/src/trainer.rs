//! Trains adaptor and discriminator on cached features.
//!
//! In: a feature cache of good images and a configuration. Out: the trained numbers, which `TrainedHead` turns into
//! tensors with the official names. The last epoch is the result; nothing here has seen a test image.

use std::collections::HashMap;

use candle_core::{Device, Tensor};
use simplenet_model::{discriminator::DiscriminatorConfig, feature_norm::FeatureNorm};

use crate::{
    config::{Batch, Optimizer, Schedule, TrainConfig},
    error::TrainError,
    feature_cache::FeatureCache,
    head_step::{HeadStep, HeadTensors, Noise, RunningStatistics, StepConfig},
    noise::{Generator, Purpose},
    optimizer::{AdamConfig, Moments, WeightDecay},
    reporter::Reporter,
};

/// Adaptor and discriminator after training (or in the middle of it).
#[derive(Debug, Clone)]
pub struct TrainedHead {
    /// Width of the features, D.
    pub dim: usize,
    /// Width of the hidden layer of all discriminators together, H.
    pub hidden: usize,
    /// Discriminators trained side by side.
    pub discriminators: usize,
    /// What is done to cached features before the head.
    pub norm: FeatureNorm,
    /// The weights.
    pub tensors: HeadTensors,
    /// The batch norm's statistics for inference.
    pub statistics: RunningStatistics,
}

/// What is known at the end of an epoch.
#[derive(Debug)]
pub struct Epoch<'a> {
    /// Number of the epoch, from 1.
    pub number: usize,
    /// Mean loss of its steps.
    pub loss: f64,
    /// The head as it is now.
    pub head: &'a TrainedHead,
}

/// Trains on the cache's rows; `on_epoch` sees the head after every epoch (to log, or for the oracle column).
///
/// # Errors
/// A loss that is not a number (`TrainError::Diverged`); what `on_epoch` returns.
pub fn train_head(
    config: &TrainConfig,
    cache: &FeatureCache,
    norm: FeatureNorm,
    reporter: &dyn Reporter,
    on_epoch: &mut dyn FnMut(Epoch<'_>) -> Result<(), TrainError>,
) -> Result<TrainedHead, TrainError> {
    let generator = Generator::new(config.seed);
    let mut head = initial_head(config, cache.dim(), norm, &generator);
    let mut optimizers = Optimizers::new(config, &head.tensors);
    let mut step = HeadStep::new(step_config(config, cache.dim()));
    let per_epoch = steps_per_epoch(config.batch, cache);
    let total = per_epoch * config.epochs;
    let mut batch = vec![];

    reporter.start("training", total as u64);
    for epoch in 0..config.epochs {
        let mut losses = 0.0;
        for (i, rows) in batches(config.batch, cache, &generator, epoch).iter().enumerate() {
            let number = epoch * per_epoch + i;
            cache.gather(rows, &head.norm, &mut batch)?;
            let noise = Noise::Drawn(generator, number as u32, config.noise_sigma as f32);
            let outcome = step.run(&batch, noise, &head.tensors, &mut head.statistics)?;
            if !outcome.loss.is_finite() {
                return Err(TrainError::Diverged { epoch: epoch + 1, loss: outcome.loss });
            }
            losses += outcome.loss;
            let rate = rate_factor(config.schedule, number, total);
            optimizers.step(&mut head.tensors, &step.gradients, rate);
            reporter.advance(1);
        }
        on_epoch(Epoch { number: epoch + 1, loss: losses / per_epoch.max(1) as f64, head: &head })?;
    }
    reporter.finish();
    Ok(head)
}

/// The factor on the learning rates at step `number` of `total`.
fn rate_factor(schedule: Schedule, number: usize, total: usize) -> f64 {
    match schedule {
        Schedule::Constant => 1.0,
        Schedule::Cosine => 0.5 * (1.0 + (std::f64::consts::PI * number as f64 / total.max(1) as f64).cos()),
    }
}

fn steps_per_epoch(batch: Batch, cache: &FeatureCache) -> usize {
    match batch {
        Batch::Images(count) => cache.images().div_ceil(count),
        Batch::Patches { steps, .. } => steps,
    }
}

/// The row numbers of every step of an epoch.
fn batches(batch: Batch, cache: &FeatureCache, generator: &Generator, epoch: usize) -> Vec<Vec<u32>> {
    let stream = epoch as u32;
    match batch {
        Batch::Images(count) => {
            let patches = cache.patches() as u32;
            let order = generator.permutation(Purpose::Order, stream, cache.images());
            let rows = |image: &u32| image * patches..(image + 1) * patches;
            order.chunks(count).map(|images| images.iter().flat_map(rows).collect()).collect()
        }
        Batch::Patches { size, steps } => {
            // As many whole passes in random order as the epoch needs; a small data set is visited several times.
            let size = size.min(cache.rows());
            let rows = (0..).flat_map(|pass| {
                generator.permutation(
                    Purpose::Order,
                    stream.wrapping_mul(MAX_PASSES).wrapping_add(pass),
                    cache.rows(),
                )
            });
            let rows: Vec<u32> = rows.take(if cache.rows() == 0 { 0 } else { steps * size }).collect();
            rows.chunks(size.max(1)).map(<[u32]>::to_vec).collect()
        }
    }
}

/// Passes over a small data set within an epoch that have an order of their own.
const MAX_PASSES: u32 = 1 << 10;

fn step_config(config: &TrainConfig, dim: usize) -> StepConfig {
    let hidden = config.hidden * config.discriminators;
    let discriminator = DiscriminatorConfig::new(dim, hidden);
    StepConfig {
        dim,
        hidden,
        discriminators: config.discriminators,
        margin: config.margin as f32,
        leaky_slope: discriminator.leaky_slope as f32,
        norm_epsilon: discriminator.norm_epsilon,
        norm_momentum: discriminator.norm_momentum,
    }
}

/// Xavier-normal weights (Glorot and Bengio 2010), as the official code's `init_weight`.
fn initial_head(config: &TrainConfig, dim: usize, norm: FeatureNorm, generator: &Generator) -> TrainedHead {
    let mut stream = generator.stream(Purpose::Initialisation);
    // `copies` weights of one shape, one after another: the deviation is that of a single one.
    let mut xavier = |copies: usize, outputs: usize, inputs: usize| -> Vec<f32> {
        let deviation = (2.0 / (inputs + outputs) as f64).sqrt() as f32;
        (0..copies * outputs * inputs).map(|_| stream.normal() * deviation).collect()
    };
    let (discriminators, part) = (config.discriminators, config.hidden);
    let hidden = discriminators * part;
    let tensors = HeadTensors {
        adaptor_weight: xavier(1, dim, dim),
        hidden_weight: xavier(discriminators, part, dim),
        norm_weight: vec![1.0; hidden],
        norm_bias: vec![0.0; hidden],
        tail_weight: xavier(discriminators, 1, part),
    };
    let statistics = RunningStatistics { mean: vec![0.0; hidden], variance: vec![1.0; hidden] };
    TrainedHead { dim, hidden, discriminators, norm, tensors, statistics }
}

/// Adam moments of every tensor.
struct Optimizers {
    adaptor: AdamConfig,
    discriminator: AdamConfig,
    moments: [Moments; 5],
}

impl Optimizers {
    fn new(config: &TrainConfig, tensors: &HeadTensors) -> Self {
        let adam = |optimizer: Optimizer, weight_decay| AdamConfig {
            learning_rate: optimizer.learning_rate,
            weight_decay,
            ..AdamConfig::default()
        };
        let moments = parameters(tensors).map(|values| Moments::new(values.len()));
        Self {
            adaptor: adam(config.adaptor, WeightDecay::Decoupled(config.adaptor.weight_decay)),
            discriminator: adam(
                config.discriminator,
                WeightDecay::Coupled(config.discriminator.weight_decay),
            ),
            moments,
        }
    }

    fn step(&mut self, tensors: &mut HeadTensors, gradients: &HeadTensors, rate: f64) {
        let configs =
            [self.adaptor, self.discriminator, self.discriminator, self.discriminator, self.discriminator];
        let targets = [
            &mut tensors.adaptor_weight,
            &mut tensors.hidden_weight,
            &mut tensors.norm_weight,
            &mut tensors.norm_bias,
            &mut tensors.tail_weight,
        ];
        let updates = targets.into_iter().zip(parameters(gradients)).zip(&mut self.moments).zip(configs);
        for (((values, gradient), moments), config) in updates {
            moments.step(&config, rate, values, gradient);
        }
    }
}

/// The trained tensors in a fixed order: adaptor, then discriminator.
fn parameters(tensors: &HeadTensors) -> [&Vec<f32>; 5] {
    [
        &tensors.adaptor_weight,
        &tensors.hidden_weight,
        &tensors.norm_weight,
        &tensors.norm_bias,
        &tensors.tail_weight,
    ]
}

impl TrainedHead {
    /// The head as tensors with the official names (`pre_projection.…`, `discriminator.…`). The biases before the
    /// batch norm are zero: the norm cancels them. Several discriminators become one of their joint width: the mean of
    /// their logits is a single tail whose weights are divided by their number.
    ///
    /// # Errors
    /// Out of memory.
    pub fn to_tensors(&self, device: &Device) -> Result<HashMap<String, Tensor>, TrainError> {
        let Self { dim, hidden, tensors, statistics, .. } = self;
        let (dim, hidden) = (*dim, *hidden);
        let zeros = vec![0.0f32; dim.max(hidden)];
        let tail: Vec<f32> = tensors.tail_weight.iter().map(|w| w / self.discriminators as f32).collect();
        let entries: [(&str, &[f32], Vec<usize>); 9] = [
            ("pre_projection.layers.0fc.weight", &tensors.adaptor_weight, vec![dim, dim]),
            ("pre_projection.layers.0fc.bias", &zeros[..dim], vec![dim]),
            ("discriminator.body.block1.0.weight", &tensors.hidden_weight, vec![hidden, dim]),
            ("discriminator.body.block1.0.bias", &zeros[..hidden], vec![hidden]),
            ("discriminator.body.block1.1.weight", &tensors.norm_weight, vec![hidden]),
            ("discriminator.body.block1.1.bias", &tensors.norm_bias, vec![hidden]),
            ("discriminator.body.block1.1.running_mean", &statistics.mean, vec![hidden]),
            ("discriminator.body.block1.1.running_var", &statistics.variance, vec![hidden]),
            ("discriminator.tail.weight", &tail, vec![1, hidden]),
        ];
        entries
            .into_iter()
            .map(|(name, values, shape)| Ok((name.to_string(), Tensor::from_slice(values, shape, device)?)))
            .collect()
    }
}
