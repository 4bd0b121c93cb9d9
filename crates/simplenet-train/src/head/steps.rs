//! Who does the steps of a training: the CPU, or a device with memory of its own.
//!
//! In: the training's state once, then the rows of every step. Out: outcomes of the steps, in order, and the state when it is
//! asked for. A device is not waited for after each step, which would idle it: its outcomes are read some at a time.

use candle_core::{Device, Tensor};
use simplenet_model::feature_norm::FeatureNorm;

use crate::{
    config::{Optimizer, TrainConfig},
    error::TrainError,
    features::cache::FeatureCache,
    head::{
        head_step::{HeadStep, Noise, StepConfig, StepOutcome},
        optimizer::{AdamConfig, Moments, WeightDecay},
        tensor_head_step::{TensorHeadStep, outcomes},
        trained_head::TrainedHead,
        training_state::TrainingState,
    },
    noise::Generator,
};

/// Steps that a device may be ahead of what the host knows. A loss that is not a number is found after so many steps at the
/// latest, and at the end of an epoch.
const AHEAD: usize = 64;

/// Does the steps of a training, one after another.
pub(crate) trait Steps {
    /// Step `state.step` on these rows of the cache, the learning rates multiplied by `rate`. What `state` holds of the head
    /// may be behind from now on: see [`Steps::store`].
    ///
    /// # Errors
    /// Rows that cannot be read; what the device says.
    fn step(&mut self, state: &mut TrainingState, rows: &[u32], rate: f64) -> Result<(), TrainError>;

    /// Steps whose outcomes may wait to be read; 1 for who has them at once.
    fn ahead(&self) -> usize;

    /// Outcomes of the steps since the last call, in order.
    ///
    /// # Errors
    /// What the device says.
    fn outcomes(&mut self) -> Result<Vec<StepOutcome>, TrainError>;

    /// Brings the head and the moments up to the last step.
    ///
    /// # Errors
    /// What the device says.
    fn store(&mut self, head: &mut TrainedHead, moments: &mut Vec<Moments>) -> Result<(), TrainError>;
}

/// The steps of a training on this device, from this state on.
///
/// # Errors
/// A device that is out of memory.
pub(crate) fn on<'a>(
    device: &Device,
    config: &'a TrainConfig,
    step_config: StepConfig,
    cache: &'a FeatureCache,
    state: &TrainingState,
) -> Result<Box<dyn Steps + 'a>, TrainError> {
    Ok(match device {
        Device::Cpu => Box::new(HostSteps::new(config, step_config, cache)),
        _ => Box::new(TensorSteps::new(device, config, step_config, cache, state)?),
    })
}

/// The two optimisers.
struct Optimizers {
    adaptor: AdamConfig,
    discriminator: AdamConfig,
}

impl Optimizers {
    fn new(config: &TrainConfig) -> Self {
        let adam = |optimizer: Optimizer, weight_decay| AdamConfig {
            learning_rate: optimizer.learning_rate,
            weight_decay,
            ..AdamConfig::default()
        };
        Self {
            adaptor: adam(config.adaptor, WeightDecay::Decoupled(config.adaptor.weight_decay)),
            discriminator: adam(
                config.discriminator,
                WeightDecay::Coupled(config.discriminator.weight_decay),
            ),
        }
    }
}

fn noise(config: &TrainConfig, number: usize) -> Noise<'static> {
    Noise::Drawn(Generator::new(config.seed), number as u32, config.noise_sigma as f32)
}

/// On the CPU, in the state itself.
struct HostSteps<'a> {
    config: &'a TrainConfig,
    cache: &'a FeatureCache,
    optimizers: Optimizers,
    step: HeadStep,
    batch: Vec<f32>,
    outcomes: Vec<StepOutcome>,
}

impl<'a> HostSteps<'a> {
    fn new(config: &'a TrainConfig, step_config: StepConfig, cache: &'a FeatureCache) -> Self {
        let (optimizers, step) = (Optimizers::new(config), HeadStep::new(step_config));
        Self { config, cache, optimizers, step, batch: vec![], outcomes: vec![] }
    }
}

impl Steps for HostSteps<'_> {
    fn step(&mut self, state: &mut TrainingState, rows: &[u32], rate: f64) -> Result<(), TrainError> {
        let TrainedHead { norm, tensors, statistics, .. } = &mut state.head;
        self.cache.gather(rows, norm, &mut self.batch)?;
        let noise = noise(self.config, state.step);
        self.outcomes.push(self.step.run(&self.batch, noise, tensors, statistics)?);
        let of_adaptor = tensors.adaptor_weights.len();
        let gradients = self.step.gradients.parameters();
        let updates = tensors.parameters_mut().into_iter().zip(gradients).zip(&mut state.moments);
        for (i, ((values, gradient), moments)) in updates.enumerate() {
            let Optimizers { adaptor, discriminator } = &self.optimizers;
            moments.step(if i < of_adaptor { adaptor } else { discriminator }, rate, values, gradient);
        }
        Ok(())
    }

    fn ahead(&self) -> usize {
        1
    }

    fn outcomes(&mut self) -> Result<Vec<StepOutcome>, TrainError> {
        Ok(std::mem::take(&mut self.outcomes))
    }

    fn store(&mut self, _: &mut TrainedHead, _: &mut Vec<Moments>) -> Result<(), TrainError> {
        Ok(())
    }
}

/// On a device: parameters, moments and running statistics stay there.
pub(crate) struct TensorSteps<'a> {
    config: &'a TrainConfig,
    optimizers: Optimizers,
    step: TensorHeadStep,
    features: DeviceFeatures<'a>,
    outcomes: Vec<Tensor>,
}

impl<'a> TensorSteps<'a> {
    pub(crate) fn new(
        device: &Device,
        config: &'a TrainConfig,
        step_config: StepConfig,
        cache: &'a FeatureCache,
        state: &TrainingState,
    ) -> Result<Self, TrainError> {
        let TrainedHead { norm, tensors, statistics, .. } = &state.head;
        let step = TensorHeadStep::new(step_config, tensors, statistics, &state.moments, device)?;
        let features = DeviceFeatures::new(cache, norm, cache.on_device(device)?, device)?;
        Ok(Self { config, optimizers: Optimizers::new(config), step, features, outcomes: vec![] })
    }
}

impl Steps for TensorSteps<'_> {
    fn step(&mut self, state: &mut TrainingState, rows: &[u32], rate: f64) -> Result<(), TrainError> {
        let batch = self.features.batch(rows)?;
        let gradients = self.step.run(&batch, noise(self.config, state.step))?;
        let Optimizers { adaptor, discriminator } = &self.optimizers;
        self.step.update(&gradients, adaptor, discriminator, rate)?;
        self.outcomes.push(gradients.outcome);
        Ok(())
    }

    fn ahead(&self) -> usize {
        AHEAD
    }

    fn outcomes(&mut self) -> Result<Vec<StepOutcome>, TrainError> {
        let waiting = std::mem::take(&mut self.outcomes);
        outcomes(&waiting)
    }

    fn store(&mut self, head: &mut TrainedHead, moments: &mut Vec<Moments>) -> Result<(), TrainError> {
        (head.tensors, head.statistics, *moments) = self.step.read()?;
        Ok(())
    }
}

/// Rows of a cache, after the norm, on a device.
struct DeviceFeatures<'a> {
    cache: &'a FeatureCache,
    norm: FeatureNorm,
    /// All rows as they are kept, where they fit; otherwise each batch is gathered on the host.
    rows: Option<Tensor>,
    device: Device,
    batch: Vec<f32>,
}

impl<'a> DeviceFeatures<'a> {
    fn new(
        cache: &'a FeatureCache,
        norm: &FeatureNorm,
        rows: Option<Tensor>,
        device: &Device,
    ) -> Result<Self, TrainError> {
        Ok(Self { cache, norm: norm.to_device(device)?, rows, device: device.clone(), batch: vec![] })
    }

    /// (indices, dim) f32: the bits of [`FeatureCache::gather`] either way.
    fn batch(&mut self, indices: &[u32]) -> Result<Tensor, TrainError> {
        let Some(rows) = &self.rows else {
            self.cache.gather(indices, &self.norm, &mut self.batch)?;
            return Ok(Tensor::from_slice(&self.batch, (indices.len(), self.cache.dim()), &self.device)?);
        };
        let indices = Tensor::from_slice(indices, indices.len(), &self.device)?;
        let some = rows.index_select(&indices, 0)?.to_dtype(candle_core::DType::F32)?;
        Ok(self.norm.forward(&some)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::Precision, features::cache::Room, noise::Purpose};

    #[test]
    fn rows_on_the_device_and_rows_from_the_host_are_the_same_bits() {
        let (dim, device) = (5, Device::Cpu);
        let mut numbers = vec![0.0; 4 * 6 * dim];
        Generator::new(3).fill_normal(Purpose::Initialisation, 0, 3.0, &mut numbers);
        let norm =
            FeatureNorm::new(&[0.1, -2.0, 0.0, 3.0, 0.7], &[2.0, 0.3, 1.0, 7.0, 0.9], &device).unwrap();
        for precision in [Precision::F16, Precision::F32] {
            let mut cache = FeatureCache::within(Room::default(), precision, 4, 6, dim);
            cache.push(&numbers).unwrap();
            let indices = [23, 0, 7, 7, 12];
            let mut want = vec![];
            cache.gather(&indices, &norm, &mut want).unwrap();
            let rows = cache.memory_on(&device).unwrap();
            assert_eq!(rows.dims(), [24, dim]);
            for rows in [None, Some(rows)] {
                let mut features = DeviceFeatures::new(&cache, &norm, rows, &device).unwrap();
                let got = features.batch(&indices).unwrap();
                assert_eq!(got.dims(), [5, dim]);
                assert_eq!(got.flatten_all().unwrap().to_vec1::<f32>().unwrap(), want, "{precision:?}");
            }
        }
    }
}
