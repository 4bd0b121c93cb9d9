//! One training step of adaptor and discriminator: loss and gradients, forward and backward in one place.
//!
//! In: a batch of normal features (n, D) and the parameters. Out: the loss and the gradient of every parameter;
//! the running batch statistics are updated. Fused by hand because a tape of elementwise tensors costs more time
//! than the matrix products: bias, noise, batch norm, LeakyReLU, tail and loss are two passes over (2n, H), and the
//! gradient of the adapted features is taken once for normal and anomalous rows together. The plain candle layers
//! of `simplenet_model` with the losses of `loss` are the reference that the tests compare with. `TensorHeadStep` is the same
//! step over tensors, for a GPU.
//!
//! Sums over rows are made in blocks of fixed size and added in order: the thread count does not change a bit.

use std::ops::Range;

use rayon::prelude::*;
use simplenet_model::compute::{Matrix, matmul_into};

use crate::{
    config::Loss,
    error::TrainError,
    noise::{Generator, Purpose},
};

/// Rows a block of the passes over rows.
const ROWS: usize = 64;

/// The constants of a step.
#[derive(Debug, Clone, Copy)]
pub struct StepConfig {
    /// Width of the features, D.
    pub dim: usize,
    /// Linear layers of the adaptor.
    pub adaptor_layers: usize,
    /// Width of the hidden layer of all discriminators together, H.
    pub hidden: usize,
    /// Discriminators trained side by side, each on an equal part of the hidden layer, with a loss of its own; the paper
    /// has one. They share the adaptor, the noise and the batch norm's rows, and differ by their initial weights.
    pub discriminators: usize,
    /// What is made small.
    pub loss: Loss,
    /// Margin of the truncated L1 loss, and of what counts as told apart with either.
    pub margin: f32,
    /// Slope of the LeakyReLU below zero.
    pub leaky_slope: f32,
    /// Epsilon of the batch norm.
    pub norm_epsilon: f64,
    /// Momentum of the running statistics.
    pub norm_momentum: f64,
}

/// The numbers of adaptor and discriminator that a step reads, and the gradients that it writes.
///
/// The biases before the batch norm are absent: a batch norm removes any constant shift, so their gradient is
/// zero exactly. (Automatic differentiation gives rounding noise there, which Adam blows up to full steps.)
#[derive(Debug, Clone, PartialEq)]
pub struct HeadTensors {
    /// The adaptor's layers, first layer first, each (D, D) row-major, output by input.
    pub adaptor_weights: Vec<Vec<f32>>,
    /// First layer of the discriminator, (H, D).
    pub hidden_weight: Vec<f32>,
    /// Scale of the batch norm, (H).
    pub norm_weight: Vec<f32>,
    /// Shift of the batch norm, (H).
    pub norm_bias: Vec<f32>,
    /// Last layer of the discriminators, one after another, (H).
    pub tail_weight: Vec<f32>,
}

impl HeadTensors {
    fn zeros(config: &StepConfig) -> Self {
        let StepConfig { dim, adaptor_layers, hidden, .. } = *config;
        Self {
            adaptor_weights: vec![vec![0.0; dim * dim]; adaptor_layers],
            hidden_weight: vec![0.0; hidden * dim],
            norm_weight: vec![0.0; hidden],
            norm_bias: vec![0.0; hidden],
            tail_weight: vec![0.0; hidden],
        }
    }

    /// Every tensor in a fixed order: the adaptor's layers, then the discriminator's four.
    pub fn parameters(&self) -> Vec<&Vec<f32>> {
        let of_discriminator = [&self.hidden_weight, &self.norm_weight, &self.norm_bias, &self.tail_weight];
        self.adaptor_weights.iter().chain(of_discriminator).collect()
    }

    /// The same to be changed, in the same order.
    pub fn parameters_mut(&mut self) -> Vec<&mut Vec<f32>> {
        let of_discriminator =
            [&mut self.hidden_weight, &mut self.norm_weight, &mut self.norm_bias, &mut self.tail_weight];
        self.adaptor_weights.iter_mut().chain(of_discriminator).collect()
    }
}

/// Running statistics of the batch norm, for inference. Without the biases before the norm, which shift the mean only.
#[derive(Debug, Clone, PartialEq)]
pub struct RunningStatistics {
    /// Mean, (H).
    pub mean: Vec<f32>,
    /// Unbiased variance, (H).
    pub variance: Vec<f32>,
}

/// Where the noise of a step comes from.
#[derive(Debug, Clone, Copy)]
pub enum Noise<'a> {
    /// Drawn: the seed's generator, the step's number, the standard deviation.
    Drawn(Generator, u32, f32),
    /// Given, (n, D): for tests.
    Given(&'a [f32]),
}

/// What a step tells about itself.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepOutcome {
    /// The loss before the step, mean over the discriminators.
    pub loss: f64,
    /// Share of the normal rows whose logit reaches the margin, mean over the discriminators; the official code's `p_true`.
    pub p_true: f64,
    /// Share of the anomalous rows whose logit is below minus the margin; the official code's `p_fake`.
    pub p_fake: f64,
}

/// Reusable memory of the steps; gradients are read from it.
pub struct HeadStep {
    config: StepConfig,
    between: Vec<Vec<f32>>, // (n, D) each: what every layer of the adaptor but the last gives
    adapted: Vec<f32>,      // (2n, D): adapted features, then the same with noise
    hidden: Vec<f32>,       // (2n, H): hidden layer, then normalised, then its gradient
    gradient: Vec<f32>,     // (n, D): of the adapted features, then of what each layer of the adaptor gets
    before: Vec<f32>,       // (n, D): the gradient one layer further down, while it is worked out
    slopes: Vec<f32>,       // (2n, discriminators): gradient of the loss by the logits
    /// Gradients of the last step.
    pub gradients: HeadTensors,
}

impl HeadStep {
    /// Memory for steps of this configuration.
    pub fn new(config: StepConfig) -> Self {
        let gradients = HeadTensors::zeros(&config);
        Self {
            config,
            between: vec![vec![]; config.adaptor_layers.saturating_sub(1)],
            adapted: vec![],
            hidden: vec![],
            gradient: vec![],
            before: vec![],
            slopes: vec![],
            gradients,
        }
    }

    /// Loss and gradients of one batch: `features` is (n, D), row-major.
    ///
    /// # Errors
    /// `TrainError::Model` when a slice does not have the size that the configuration says, `TrainError::Setting` when the
    /// adaptor has another number of layers.
    pub fn run(
        &mut self,
        features: &[f32],
        noise: Noise<'_>,
        head: &HeadTensors,
        statistics: &mut RunningStatistics,
    ) -> Result<StepOutcome, TrainError> {
        let StepConfig { dim, hidden: width, .. } = self.config;
        let n = features.len() / dim;
        if let Noise::Given(given) = noise {
            Matrix::row_major(given, n, dim)?;
        }
        if head.adaptor_weights.len() != self.config.adaptor_layers {
            let problem = format!("the adaptor has {} layers", head.adaptor_weights.len());
            return Err(TrainError::setting("adaptor_layers", self.config.adaptor_layers, problem));
        }
        self.adapted.resize(2 * n * dim, 0.0);
        self.hidden.resize(2 * n * width, 0.0);
        self.slopes.resize(2 * n * self.config.discriminators, 0.0);

        let x = Matrix::row_major(features, n, dim)?;
        let hidden_weight = Matrix::row_major(&head.hidden_weight, width, dim)?;

        let (normal, anomalous) = self.adapted.split_at_mut(n * dim);
        adapt(features, dim, &head.adaptor_weights, &mut self.between, normal)?;
        add_noise(normal, noise, anomalous);
        let adapted = Matrix::row_major(&self.adapted, 2 * n, dim)?;
        matmul_into(adapted, hidden_weight.transposed(), &mut self.hidden)?;

        let (mean, variance) = column_statistics(&self.hidden, width);
        update_running(statistics, &mean, &variance, 2 * n, self.config.norm_momentum);
        let outcome = self.backward_to_hidden(n, head, &mean, &variance);

        let adapted = Matrix::row_major(&self.adapted, 2 * n, dim)?;
        let hidden_gradient = Matrix::row_major(&self.hidden, 2 * n, width)?;
        matmul_into(hidden_gradient.transposed(), adapted, &mut self.gradients.hidden_weight)?;
        if head.adaptor_weights.is_empty() {
            return Ok(outcome);
        }
        // Normal and anomalous rows share the adapted feature: their gradients add before the product.
        let (normal, anomalous) = self.hidden.split_at_mut(n * width);
        normal.par_chunks_mut(ROWS * width).zip(anomalous.par_chunks(ROWS * width)).for_each(|(a, b)| {
            a.iter_mut().zip(b).for_each(|(a, b)| *a += b);
        });
        self.gradient.resize(n * dim, 0.0);
        matmul_into(Matrix::row_major(normal, n, width)?, hidden_weight, &mut self.gradient)?;
        self.backward_through_adaptor(x, n, head)?;
        Ok(outcome)
    }

    /// From the gradient of the adapted features to those of the adaptor's weights, last layer first.
    fn backward_through_adaptor(
        &mut self,
        x: Matrix<'_>,
        n: usize,
        head: &HeadTensors,
    ) -> Result<(), TrainError> {
        let dim = self.config.dim;
        let layers = head.adaptor_weights.iter().zip(&mut self.gradients.adaptor_weights);
        for (layer, (weight, weight_gradient)) in layers.enumerate().rev() {
            let gradient = Matrix::row_major(&self.gradient, n, dim)?;
            let Some(below) = layer.checked_sub(1) else {
                matmul_into(gradient.transposed(), x, weight_gradient)?;
                break;
            };
            let input = Matrix::row_major(&self.between[below], n, dim)?;
            matmul_into(gradient.transposed(), input, weight_gradient)?;
            self.before.resize(n * dim, 0.0);
            matmul_into(gradient, Matrix::row_major(weight, dim, dim)?, &mut self.before)?;
            std::mem::swap(&mut self.gradient, &mut self.before);
        }
        Ok(())
    }

    /// Batch norm, LeakyReLU, tail and loss, and back again: `self.hidden` becomes the gradient of the hidden layer.
    fn backward_to_hidden(
        &mut self,
        n: usize,
        head: &HeadTensors,
        mean: &[f64],
        variance: &[f64],
    ) -> StepOutcome {
        let StepConfig { hidden: width, discriminators, loss, margin, leaky_slope, norm_epsilon, .. } =
            self.config;
        let part = width / discriminators;
        let inverse: Vec<f32> = variance.iter().map(|v| (1.0 / (v + norm_epsilon).sqrt()) as f32).collect();
        let mean: Vec<f32> = mean.iter().map(|&m| m as f32).collect();
        let share = 1.0 / n as f32;

        let partial: Vec<BlockSums> = self
            .hidden
            .par_chunks_mut(ROWS * width)
            .zip(self.slopes.par_chunks_mut(ROWS * discriminators))
            .enumerate()
            .map(|(block, (rows, slopes))| {
                let mut sums = BlockSums::new(width);
                let slopes = slopes.chunks_exact_mut(discriminators);
                for (i, (row, slopes)) in rows.chunks_exact_mut(width).zip(slopes).enumerate() {
                    normalise(row, &mean, &inverse);
                    // Means over normal rows of a cost of -D(q), over anomalous ones of the same of D(q-).
                    let sign = if block * ROWS + i < n { -1.0 } else { 1.0 };
                    for (d, slope) in slopes.iter_mut().enumerate() {
                        let own = d * part..(d + 1) * part;
                        let wrong = sign * logit(row, head, own.clone(), leaky_slope);
                        let excess = margin + wrong;
                        sums.told_normal += usize::from(sign < 0.0 && excess <= 0.0);
                        sums.told_anomalous += usize::from(sign > 0.0 && excess < 0.0);
                        let (cost, rise) = cost_and_rise(loss, margin, wrong);
                        *slope = if rise != 0.0 { sign * share * rise } else { 0.0 };
                        if rise != 0.0 {
                            sums.loss += f64::from(cost);
                            sums.add(row, *slope, head, own, leaky_slope);
                        }
                    }
                }
                sums
            })
            .collect();
        let mut total = BlockSums::new(width);
        partial.iter().for_each(|block| total.merge(block));

        self.gradients.norm_weight.copy_from_slice(&total.norm_weight);
        self.gradients.norm_bias.copy_from_slice(&total.norm_bias);
        self.gradients.tail_weight.copy_from_slice(&total.tail_weight);

        // d hidden = γ / σ · (du − mean(du) − x̂ · mean(du · x̂)), du = slope · tail · leaky'(γ x̂ + β)
        let rows_inverse = 1.0 / (2 * n) as f32;
        let scale: Vec<f32> = head.norm_weight.iter().zip(&inverse).map(|(g, i)| g * i).collect();
        let mean_du: Vec<f32> = total.norm_bias.iter().map(|s| s * rows_inverse).collect();
        let mean_du_x: Vec<f32> = total.norm_weight.iter().map(|s| s * rows_inverse).collect();
        let blocks = self.hidden.par_chunks_mut(ROWS * width);
        blocks.zip(self.slopes.par_chunks(ROWS * discriminators)).for_each(|(rows, slopes)| {
            for (row, slopes) in rows.chunks_exact_mut(width).zip(slopes.chunks_exact(discriminators)) {
                for (d, &slope) in slopes.iter().enumerate() {
                    for c in d * part..(d + 1) * part {
                        let x = row[c];
                        let positive = head.norm_weight[c] * x + head.norm_bias[c] > 0.0;
                        let du = slope * head.tail_weight[c] * if positive { 1.0 } else { leaky_slope };
                        row[c] = scale[c] * (du - mean_du[c] - x * mean_du_x[c]);
                    }
                }
            }
        });
        let each = (n * discriminators) as f64;
        StepOutcome {
            loss: total.loss / each,
            p_true: total.told_normal as f64 / each,
            p_fake: total.told_anomalous as f64 / each,
        }
    }
}

/// Sums over a block of rows.
struct BlockSums {
    loss: f64,
    /// Logits of normal rows at or above the margin.
    told_normal: usize,
    /// Logits of anomalous rows below minus the margin.
    told_anomalous: usize,
    norm_weight: Vec<f32>,
    norm_bias: Vec<f32>,
    tail_weight: Vec<f32>,
}

impl BlockSums {
    fn new(width: usize) -> Self {
        let zeros = || vec![0.0; width];
        Self {
            loss: 0.0,
            told_normal: 0,
            told_anomalous: 0,
            norm_weight: zeros(),
            norm_bias: zeros(),
            tail_weight: zeros(),
        }
    }

    /// Adds a normalised row's share of the gradients of one discriminator's part of tail and batch norm.
    fn add(&mut self, row: &[f32], slope: f32, head: &HeadTensors, own: Range<usize>, leaky_slope: f32) {
        let row = &row[own.clone()];
        let width = row.len();
        let (gamma, beta) = (&head.norm_weight[own.clone()][..width], &head.norm_bias[own.clone()][..width]);
        let tail = &head.tail_weight[own.clone()][..width];
        let to_gamma = &mut self.norm_weight[own.clone()][..width];
        let to_beta = &mut self.norm_bias[own.clone()][..width];
        let to_tail = &mut self.tail_weight[own][..width];
        for c in 0..width {
            let u = gamma[c] * row[c] + beta[c];
            let factor = if u > 0.0 { 1.0 } else { leaky_slope };
            let du = slope * tail[c] * factor;
            to_tail[c] += slope * u * factor;
            to_beta[c] += du;
            to_gamma[c] += du * row[c];
        }
    }

    fn merge(&mut self, other: &Self) {
        self.loss += other.loss;
        self.told_normal += other.told_normal;
        self.told_anomalous += other.told_anomalous;
        for (to, from) in [
            (&mut self.norm_weight, &other.norm_weight),
            (&mut self.norm_bias, &other.norm_bias),
            (&mut self.tail_weight, &other.tail_weight),
        ] {
            to.iter_mut().zip(from).for_each(|(a, b)| *a += b);
        }
    }
}

/// What a logit costs, and how fast that rises, by how far it lies on the wrong side of zero. What is not a number costs what
/// is not a number: a training that diverges is found by its loss.
fn cost_and_rise(loss: Loss, margin: f32, wrong: f32) -> (f32, f32) {
    match loss {
        Loss::TruncatedL1 if margin + wrong <= 0.0 => (0.0, 0.0),
        Loss::TruncatedL1 => (margin + wrong, 1.0),
        // ln(1 + e^z) and its derivative 1 / (1 + e^-z), by way of e^-|z|, which does not overflow.
        Loss::CrossEntropy => {
            let small = (-wrong.abs()).exp();
            let rise = if wrong > 0.0 { 1.0 } else { small } / (1.0 + small);
            (wrong.max(0.0) + small.ln_1p(), rise)
        }
    }
}

/// `features` (n, D) through the adaptor's layers into `adapted`; what lies between two layers goes into `between`.
fn adapt(
    features: &[f32],
    dim: usize,
    weights: &[Vec<f32>],
    between: &mut [Vec<f32>],
    adapted: &mut [f32],
) -> Result<(), TrainError> {
    let Some((last, others)) = weights.split_last() else {
        adapted.copy_from_slice(features);
        return Ok(());
    };
    let n = features.len() / dim;
    let mut input = Matrix::row_major(features, n, dim)?;
    for (weight, out) in others.iter().zip(between) {
        out.resize(n * dim, 0.0);
        matmul_into(input, Matrix::row_major(weight, dim, dim)?.transposed(), out)?;
        input = Matrix::row_major(out, n, dim)?;
    }
    matmul_into(input, Matrix::row_major(last, dim, dim)?.transposed(), adapted)?;
    Ok(())
}

fn normalise(row: &mut [f32], mean: &[f32], inverse: &[f32]) {
    for ((x, m), i) in row.iter_mut().zip(mean).zip(inverse) {
        *x = (*x - m) * i;
    }
}

/// One discriminator's tail · LeakyReLU(γ x̂ + β), summed in 16 lanes so that the loop vectorises.
fn logit(row: &[f32], head: &HeadTensors, own: Range<usize>, leaky_slope: f32) -> f32 {
    const LANES: usize = 16;
    let row = &row[own.clone()];
    let width = row.len();
    let (gamma, beta) = (&head.norm_weight[own.clone()][..width], &head.norm_bias[own.clone()][..width]);
    let tail = &head.tail_weight[own][..width];
    let term = |c: usize| {
        let u = gamma[c] * row[c] + beta[c];
        tail[c] * if u > 0.0 { u } else { leaky_slope * u }
    };
    let mut lanes = [0.0f32; LANES];
    let whole = width / LANES * LANES;
    for start in (0..whole).step_by(LANES) {
        for (lane, sum) in lanes.iter_mut().enumerate() {
            *sum += term(start + lane);
        }
    }
    lanes.iter().sum::<f32>() + (whole..width).map(term).sum::<f32>()
}

fn add_noise(normal: &[f32], noise: Noise<'_>, anomalous: &mut [f32]) {
    match noise {
        Noise::Given(noise) => {
            for ((out, a), b) in anomalous.iter_mut().zip(normal).zip(noise) {
                *out = a + b;
            }
        }
        Noise::Drawn(generator, step, sigma) => {
            generator.fill_normal(Purpose::Noise, step, sigma, anomalous);
            anomalous.par_chunks_mut(1 << 14).zip(normal.par_chunks(1 << 14)).for_each(|(out, a)| {
                out.iter_mut().zip(a).for_each(|(out, a)| *out += a);
            });
        }
    }
}

/// Mean and biased variance of every column, in two passes (the squares of centred numbers do not cancel).
fn column_statistics(rows: &[f32], width: usize) -> (Vec<f64>, Vec<f64>) {
    let count = (rows.len() / width) as f64;
    let mean: Vec<f64> = column_sums(rows, width, |x, _| x).into_iter().map(|s| s / count).collect();
    let centre: Vec<f32> = mean.iter().map(|&m| m as f32).collect();
    let squares = column_sums(rows, width, |x, c| (x - centre[c]) * (x - centre[c]));
    (mean, squares.into_iter().map(|s| s / count).collect())
}

/// Sum of `term(value, column)` over every column: f32 within a block of rows, f64 over the blocks.
fn column_sums<F: Fn(f32, usize) -> f32 + Sync>(rows: &[f32], width: usize, term: F) -> Vec<f64> {
    let blocks: Vec<Vec<f32>> = rows
        .par_chunks(ROWS * width)
        .map(|block| {
            let mut sums = vec![0.0f32; width];
            for row in block.chunks_exact(width) {
                for (c, (sum, &x)) in sums.iter_mut().zip(row).enumerate() {
                    *sum += term(x, c);
                }
            }
            sums
        })
        .collect();
    let mut total = vec![0.0f64; width];
    for block in &blocks {
        total.iter_mut().zip(block).for_each(|(t, &b)| *t += f64::from(b));
    }
    total
}

fn update_running(
    statistics: &mut RunningStatistics,
    mean: &[f64],
    variance: &[f64],
    rows: usize,
    momentum: f64,
) {
    let unbiased = rows as f64 / (rows as f64 - 1.0).max(1.0);
    for (running, &now) in statistics.mean.iter_mut().zip(mean) {
        *running = (f64::from(*running) * (1.0 - momentum) + momentum * now) as f32;
    }
    for (running, &now) in statistics.variance.iter_mut().zip(variance) {
        *running = (f64::from(*running) * (1.0 - momentum) + momentum * now * unbiased) as f32;
    }
}
