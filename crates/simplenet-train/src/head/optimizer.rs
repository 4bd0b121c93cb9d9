//! Adam (Kingma and Ba 2015) and AdamW (Loshchilov and Hutter 2019) exactly as PyTorch computes them: bias-corrected,
//! epsilon added to the root of the corrected second moment.
//!
//! In: parameters and their gradients. Out: updated parameters. `Moments` works on slices (the fused training step);
//! `Adam` drives the same arithmetic over candle variables (the plain layers).

use candle_core::{Result, Tensor, Var, backprop::GradStore};
use rayon::prelude::*;
use simplenet_model::compute::{AdamStep, adam_update};

/// Numbers a thread updates in one go.
const CHUNK: usize = 1 << 14;

/// Settings of one optimiser; the defaults are PyTorch's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamConfig {
    /// Learning rate.
    pub learning_rate: f64,
    /// Decay rates of the first and the second moment.
    pub betas: (f64, f64),
    /// Added to the root of the second moment.
    pub eps: f64,
    /// What pulls every parameter (biases and batch norm too) towards zero.
    pub weight_decay: WeightDecay,
}

impl Default for AdamConfig {
    fn default() -> Self {
        Self { learning_rate: 1e-3, betas: (0.9, 0.999), eps: 1e-8, weight_decay: WeightDecay::None }
    }
}

impl AdamConfig {
    /// The constants of step `number`, from 1, with the learning rate multiplied by `rate`.
    pub(crate) fn constants(&self, rate: f64, number: i32) -> AdamStep {
        let (beta1, beta2) = self.betas;
        let learning_rate = self.learning_rate * rate;
        let (coupled, keep) = match self.weight_decay {
            WeightDecay::None => (0.0, 1.0),
            WeightDecay::Coupled(decay) => (decay as f32, 1.0),
            WeightDecay::Decoupled(decay) => (0.0, (1.0 - learning_rate * decay) as f32),
        };
        AdamStep {
            rate: (learning_rate / (1.0 - beta1.powi(number))) as f32,
            root: (1.0 / (1.0 - beta2.powi(number)).sqrt()) as f32,
            coupled,
            keep,
            betas: [beta1 as f32, beta2 as f32],
            rests: [(1.0 - beta1) as f32, (1.0 - beta2) as f32],
            eps: self.eps as f32,
        }
    }
}

/// The two kinds of weight decay.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum WeightDecay {
    /// None.
    None,
    /// L2: added to the gradient, so that Adam scales it too (PyTorch's `Adam(weight_decay=…)`).
    Coupled(f64),
    /// Taken off the parameter in proportion to the learning rate (AdamW).
    Decoupled(f64),
}

/// First and second moment of one parameter tensor.
#[derive(Debug, Clone, PartialEq)]
pub struct Moments {
    pub(crate) first: Vec<f32>,
    pub(crate) second: Vec<f32>,
    pub(crate) steps: i32,
}

impl Moments {
    /// Moments of `len` parameters before the first step.
    pub fn new(len: usize) -> Self {
        Self { first: vec![0.0; len], second: vec![0.0; len], steps: 0 }
    }

    /// One step on `values` with the learning rate multiplied by `rate` (a schedule's factor). Slices that are longer
    /// than the moments are updated as far as the moments reach.
    pub fn step(&mut self, config: &AdamConfig, rate: f64, values: &mut [f32], gradients: &[f32]) {
        self.steps = self.steps.saturating_add(1);
        let step = config.constants(rate, self.steps);
        values
            .par_chunks_mut(CHUNK)
            .zip(gradients.par_chunks(CHUNK))
            .zip(self.first.par_chunks_mut(CHUNK).zip(self.second.par_chunks_mut(CHUNK)))
            .for_each(|((values, gradients), (first, second))| {
                adam_update(&step, values, gradients, first, second);
            });
    }
}

/// One optimiser over candle variables.
#[derive(Debug)]
pub struct Adam {
    config: AdamConfig,
    parameters: Vec<(Var, Moments)>,
}

impl Adam {
    /// An optimiser of f32 variables.
    pub fn new(vars: Vec<Var>, config: AdamConfig) -> Self {
        let parameters = vars
            .into_iter()
            .map(|var| {
                let moments = Moments::new(var.elem_count());
                (var, moments)
            })
            .collect();
        Self { config, parameters }
    }

    /// One step along the gradients; a variable without a gradient stays as it is.
    ///
    /// # Errors
    /// Variables that are not f32.
    pub fn step(&mut self, gradients: &GradStore) -> Result<()> {
        for (var, moments) in &mut self.parameters {
            let Some(gradient) = gradients.get(var.as_tensor()) else { continue };
            let mut values = var.flatten_all()?.to_vec1::<f32>()?;
            moments.step(&self.config, 1.0, &mut values, &gradient.flatten_all()?.to_vec1::<f32>()?);
            var.set(&Tensor::from_vec(values, var.shape(), var.device())?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three steps on one parameter, by hand in f64.
    #[test]
    fn follows_the_definition() {
        for decay in [WeightDecay::None, WeightDecay::Coupled(0.1), WeightDecay::Decoupled(0.1)] {
            let config = AdamConfig { learning_rate: 0.01, weight_decay: decay, ..AdamConfig::default() };
            let mut moments = Moments::new(1);
            let mut value = [0.5f32];
            let (mut w, mut m, mut v) = (0.5f64, 0.0f64, 0.0f64);
            for (t, &g) in (1..).zip(&[0.3f64, -0.2, 0.7]) {
                moments.step(&config, 1.0, &mut value, &[g as f32]);
                let mut g = g;
                match decay {
                    WeightDecay::Coupled(d) => g += d * w,
                    WeightDecay::Decoupled(d) => w -= 0.01 * d * w,
                    WeightDecay::None => {}
                }
                m = 0.9 * m + 0.1 * g;
                v = 0.999 * v + 0.001 * g * g;
                let (m_hat, v_hat) = (m / (1.0 - 0.9f64.powi(t)), v / (1.0 - 0.999f64.powi(t)));
                w -= 0.01 * m_hat / (v_hat.sqrt() + 1e-8);
                assert!((f64::from(value[0]) - w).abs() < 1e-6, "{decay:?}, step {t}: {} for {w}", value[0]);
            }
        }
    }

    #[test]
    fn variables_and_slices_take_the_same_steps() {
        let device = candle_core::Device::Cpu;
        let var = Var::from_tensor(&Tensor::new(&[1.0f32, -2.0], &device).unwrap()).unwrap();
        let config = AdamConfig { learning_rate: 0.1, ..AdamConfig::default() };
        let mut adam = Adam::new(vec![var.clone()], config);
        let (mut values, mut moments) = ([1.0f32, -2.0], Moments::new(2));
        for _ in 0..3 {
            let loss = var.as_tensor().sqr().unwrap().sum_all().unwrap();
            adam.step(&loss.backward().unwrap()).unwrap();
            let gradients = values.map(|x| 2.0 * x);
            moments.step(&config, 1.0, &mut values, &gradients);
        }
        assert_eq!(var.to_vec1::<f32>().unwrap(), values);
    }
}
