//! Trains adaptor and discriminator on cached features.
//!
//! In: a feature cache of good images and a configuration. Out: the trained numbers, which `TrainedHead` turns into
//! tensors with the official names. The last epoch is the result; nothing here has seen a test image.

use candle_core::Device;
use simplenet_model::{discriminator::DiscriminatorConfig, feature_norm::FeatureNorm};

use crate::{
    config::{Batch, Schedule, TrainConfig},
    error::TrainError,
    features::cache::FeatureCache,
    head::{
        head_step::{HeadTensors, RunningStatistics, StepConfig, StepOutcome},
        optimizer::Moments,
        resume::{Due, Keeper},
        steps::{self, Steps},
        trained_head::TrainedHead,
        training_state::{Oracle, TrainingState},
    },
    noise::{Generator, Purpose},
    reporter::{Reporter, StepScalars},
};

/// What is known at the end of an epoch.
pub struct Epoch<'a> {
    /// Number of the epoch, from 1.
    pub number: usize,
    /// The best epoch on the test set so far, for whoever looks; kept with the state of the training.
    pub oracle: &'a mut Option<Oracle>,
    head: &'a mut TrainedHead,
    moments: &'a mut Vec<Moments>,
    steps: &'a mut dyn Steps,
}

impl Epoch<'_> {
    /// The head as it is now, which is copied from the device if it is trained on one.
    ///
    /// # Errors
    /// What the device says.
    pub fn head(&mut self) -> Result<&TrainedHead, TrainError> {
        self.steps.store(self.head, self.moments)?;
        Ok(self.head)
    }
}

/// The state before the first step.
pub fn begin(config: &TrainConfig, dim: usize, norm: FeatureNorm) -> TrainingState {
    let head = initial_head(config, dim, norm, &Generator::new(config.seed));
    let moments = head.tensors.parameters().into_iter().map(|values| Moments::new(values.len())).collect();
    TrainingState { step: 0, head, moments, losses: vec![], loss_sum: 0.0, oracle: None }
}

/// Trains on the cache's rows on a device, from the first step or from where an interrupted training stopped; `on_epoch` may
/// look at the head after every epoch (for the oracle column), `keeper` keeps the state when it is time. On the CPU by
/// `HeadStep`, elsewhere by `TensorHeadStep`: the same draws and batches, sums in another order.
///
/// # Errors
/// A loss that is not a number (`TrainError::Diverged`), which on a GPU is found some steps later, within the epoch; what
/// `on_epoch` returns; `TrainError::Interrupted` when the reporter asked to stop.
pub fn train_head(
    device: &Device,
    config: &TrainConfig,
    cache: &FeatureCache,
    state: TrainingState,
    keeper: &mut Keeper<'_>,
    reporter: &dyn Reporter,
    on_epoch: &mut dyn FnMut(Epoch<'_>) -> Result<(), TrainError>,
) -> Result<TrainingState, TrainError> {
    let mut steps = steps::on(device, config, step_config(config, cache.dim()), cache, &state)?;
    train_by(&mut *steps, config, cache, state, keeper, reporter, on_epoch)
}

/// [`train_head`] by whoever does the steps.
pub(crate) fn train_by(
    steps: &mut dyn Steps,
    config: &TrainConfig,
    cache: &FeatureCache,
    mut state: TrainingState,
    keeper: &mut Keeper<'_>,
    reporter: &dyn Reporter,
    on_epoch: &mut dyn FnMut(Epoch<'_>) -> Result<(), TrainError>,
) -> Result<TrainingState, TrainError> {
    let generator = Generator::new(config.seed);
    let per_epoch = steps_per_epoch(config.batch, cache);
    let total = per_epoch * config.epochs;
    // Steps that are done but for their outcomes: their numbers, from 1, and their rates.
    let mut waiting: Vec<(usize, f64)> = vec![];
    let settle = |steps: &mut dyn Steps, state: &mut TrainingState, waiting: &mut Vec<(usize, f64)>| {
        for ((step, rate), outcome) in waiting.drain(..).zip(steps.outcomes()?) {
            if !outcome.loss.is_finite() {
                let epoch = step.div_ceil(per_epoch.max(1));
                return Err(TrainError::Diverged { epoch, loss: outcome.loss });
            }
            state.loss_sum += outcome.loss;
            reporter.step(&scalars(config, step, &outcome, rate));
            reporter.advance(1);
        }
        Ok(())
    };

    reporter.start("training", total as u64);
    reporter.advance(state.step as u64);
    for epoch in state.step / per_epoch.max(1)..config.epochs {
        let done = state.step - epoch * per_epoch;
        for rows in batches(config.batch, cache, &generator, epoch).iter().skip(done) {
            let rate = rate_factor(config.schedule, state.step, total);
            steps.step(&mut state, rows, rate)?;
            state.step += 1;
            waiting.push((state.step, rate));
            let over = state.step == (epoch + 1) * per_epoch;
            if over || waiting.len() >= steps.ahead() {
                settle(steps, &mut state, &mut waiting)?;
            }
            if over {
                state.losses.push(state.loss_sum / per_epoch as f64);
                state.loss_sum = 0.0;
                let TrainingState { head, moments, oracle, .. } = &mut state;
                on_epoch(Epoch { number: epoch + 1, oracle, head, moments, steps })?;
            }
            let due = keeper.due(state.step, total, reporter);
            if due != Due::Nothing {
                settle(steps, &mut state, &mut waiting)?;
                steps.store(&mut state.head, &mut state.moments)?;
                keeper.keep(due, &state, total, reporter)?;
            }
        }
    }
    steps.store(&mut state.head, &mut state.moments)?;
    reporter.finish();
    Ok(state)
}

/// The numbers of a step for curves; `rate` is the factor on the learning rates.
fn scalars(config: &TrainConfig, step: usize, outcome: &StepOutcome, rate: f64) -> StepScalars {
    StepScalars {
        step,
        loss: outcome.loss,
        p_true: outcome.p_true,
        p_fake: outcome.p_fake,
        adaptor_rate: config.adaptor.learning_rate * rate,
        discriminator_rate: config.discriminator.learning_rate * rate,
    }
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
            let order = generator.permutation(Purpose::Order, stream, cache.images());
            let rows = |image: &u32| cache.counted_rows_of(*image as usize);
            order.chunks(count).map(|images| images.iter().flat_map(rows).collect()).collect()
        }
        Batch::Patches { size, steps } => {
            // As many whole passes in random order as the epoch needs; a small data set is visited several times.
            let size = size.min(cache.counted());
            let rows = (0..).flat_map(|pass| {
                generator.permutation(
                    Purpose::Order,
                    stream.wrapping_mul(MAX_PASSES).wrapping_add(pass),
                    cache.counted(),
                )
            });
            let rows = rows.map(|index| cache.counted_row(index));
            let rows: Vec<u32> = rows.take(if cache.counted() == 0 { 0 } else { steps * size }).collect();
            rows.chunks(size.max(1)).map(<[u32]>::to_vec).collect()
        }
    }
}

/// Passes over a small data set within an epoch that have an order of their own.
const MAX_PASSES: u32 = 1 << 10;

pub(crate) fn step_config(config: &TrainConfig, dim: usize) -> StepConfig {
    let hidden = config.hidden * config.discriminators;
    let discriminator = DiscriminatorConfig::new(dim, hidden);
    StepConfig {
        dim,
        adaptor_layers: config.adaptor_layers,
        hidden,
        discriminators: config.discriminators,
        loss: config.loss,
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
        adaptor_weights: (0..config.adaptor_layers).map(|_| xavier(1, dim, dim)).collect(),
        hidden_weight: xavier(discriminators, part, dim),
        norm_weight: vec![1.0; hidden],
        norm_bias: vec![0.0; hidden],
        tail_weight: xavier(discriminators, 1, part),
    };
    let statistics = RunningStatistics { mean: vec![0.0; hidden], variance: vec![1.0; hidden] };
    TrainedHead { dim, hidden, discriminators, norm, tensors, statistics }
}
