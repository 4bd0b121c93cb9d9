//! The formula as it stands, in f64.

use super::{Cost, DiscriminatorLoss};

/// What the op gives, in f64 and row-major.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Numbers {
    /// Gradient of the hidden layer, (2n, H).
    pub hidden: Vec<f64>,
    /// Gradients of γ, β and tail, (3, H).
    pub parameters: Vec<f64>,
    /// Running mean and unbiased variance after the step, (2, H).
    pub running: Vec<f64>,
    /// Loss and both shares.
    pub outcome: [f64; super::OUTCOME],
    /// The logits, (2n, discriminators).
    pub logits: Vec<f64>,
}

/// `hidden` (2n, H), `parameters` (3, H), `running` (2, H).
pub(crate) fn loss_and_gradient(
    config: &DiscriminatorLoss,
    width: usize,
    hidden: &[f32],
    parameters: &[f32],
    running: &[f32],
) -> Numbers {
    let rows = hidden.len() / width;
    let (n, count) = (rows as f64 / 2.0, config.discriminators);
    let part = width / count;
    let leaky = f64::from(config.leaky_slope);
    let parameter = |which: usize, c: usize| f64::from(parameters[which * width + c]);
    let [gamma, beta, tail] = [0, 1, 2].map(|which| move |c| parameter(which, c));
    let x = |row: usize, c: usize| f64::from(hidden[row * width + c]);
    let mean_of = |term: &dyn Fn(usize) -> f64| (0..rows).map(term).sum::<f64>() / rows as f64;
    let mean: Vec<f64> = (0..width).map(|c| mean_of(&|row| x(row, c))).collect();
    let variance: Vec<f64> = (0..width).map(|c| mean_of(&|row| (x(row, c) - mean[c]).powi(2))).collect();
    let inverse: Vec<f64> = variance.iter().map(|v| 1.0 / (v + config.norm_epsilon).sqrt()).collect();

    let normalised = |row: usize, c: usize| (x(row, c) - mean[c]) * inverse[c];
    let before = |row: usize, c: usize| gamma(c) * normalised(row, c) + beta(c);
    let rise = |row: usize, c: usize| if before(row, c) > 0.0 { 1.0 } else { leaky };

    let (mut outcome, mut slopes, mut logits) = ([0.0; super::OUTCOME], vec![], vec![]);
    for row in 0..rows {
        for d in 0..count {
            let logit: f64 =
                (d * part..(d + 1) * part).map(|c| tail(c) * before(row, c) * rise(row, c)).sum();
            let normal = row < rows / 2;
            let sign = if normal { -1.0 } else { 1.0 };
            let (cost, slope) = cost_and_slope(config, sign * logit);
            let excess = f64::from(config.margin) + sign * logit;
            let share = 1.0 / n / count as f64;
            outcome[0] += cost * share;
            outcome[1] += if normal && excess <= 0.0 { share } else { 0.0 };
            outcome[2] += if !normal && excess < 0.0 { share } else { 0.0 };
            slopes.push(sign * slope / n);
            logits.push(logit);
        }
    }
    let slope = |row: usize, c: usize| slopes[row * count + c / part];
    let du = |row: usize, c: usize| slope(row, c) * tail(c) * rise(row, c);
    let sums = |term: &dyn Fn(usize, usize) -> f64| -> Vec<f64> {
        (0..width).map(|c| (0..rows).map(|row| term(row, c)).sum()).collect()
    };
    let of_gamma = sums(&|row, c| du(row, c) * normalised(row, c));
    let of_beta = sums(&du);
    let of_tail = sums(&|row, c| slope(row, c) * before(row, c) * rise(row, c));
    let hidden = (0..rows * width).map(|i| (i / width, i % width)).map(|(row, c)| {
        let means = (of_beta[c] + normalised(row, c) * of_gamma[c]) / rows as f64;
        gamma(c) * inverse[c] * (du(row, c) - means)
    });
    let hidden = hidden.collect();

    let unbiased = rows as f64 / (rows as f64 - 1.0).max(1.0);
    let now = mean.iter().copied().chain(variance.iter().map(|v| v * unbiased));
    let momentum = config.norm_momentum;
    let running =
        running.iter().zip(now).map(|(&old, now)| f64::from(old) * (1.0 - momentum) + momentum * now);
    let running = running.collect();
    Numbers { hidden, parameters: [of_gamma, of_beta, of_tail].concat(), running, outcome, logits }
}

/// What a logit costs, and how fast that rises, by how far it lies on the wrong side of zero. What is not a number costs what
/// is not a number.
fn cost_and_slope(config: &DiscriminatorLoss, wrong: f64) -> (f64, f64) {
    match config.cost {
        Cost::TruncatedL1 if f64::from(config.margin) + wrong <= 0.0 => (0.0, 0.0),
        Cost::TruncatedL1 => (f64::from(config.margin) + wrong, 1.0),
        // By way of e^-|z|, which does not overflow.
        Cost::CrossEntropy => {
            let small = (-wrong.abs()).exp();
            let rise = if wrong > 0.0 { 1.0 } else { small } / (1.0 + small);
            (if wrong > 0.0 { wrong } else { 0.0 } + small.ln_1p(), rise)
        }
    }
}
