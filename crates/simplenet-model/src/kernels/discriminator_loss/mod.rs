//! From the discriminators' hidden layer to the loss, and the loss's gradient back to that layer: batch norm, LeakyReLU, last
//! layer and loss of one training step. In: hidden (2n, H) f32, n rows of normal features and n of anomalous ones;
//! γ, β and tail (3, H); running mean and variance (2, H). Out: [`LossAndGradient`].
//!
//! ```text
//! x̂ = (hidden - mean) / sqrt(variance + ε)              over the 2n rows of a column, variance biased
//! u = γ·x̂ + β,  a = LeakyReLU(u)
//! D(row, d) = Σ tail·a over the columns of discriminator d, an equal part of H
//! z = -D for normal rows, D for anomalous ones
//! cost = max(0, margin + z)  or  ln(1 + eᶻ);  slope = ∂ cost / ∂ D / n
//! loss = Σ cost / (n · discriminators)
//! ∂ tail = Σ slope·a,  du = slope·tail·a'(u),  ∂ β = Σ du,  ∂ γ = Σ du·x̂
//! ∂ hidden = γ / sqrt(variance + ε) · (du - mean(du) - x̂·mean(du·x̂))
//! ```
//!
//! Gradients are of the sum of the discriminators' losses, each of which trains its own part; `loss` is their mean. On a GPU
//! sums over rows are made in blocks of 64 rows and added in order, those over a row by a warp in a fixed tree.

#[cfg(any(test, feature = "cuda"))]
mod cuda;
pub(crate) mod reference;
mod tensor;

pub use tensor::{LossAndGradient, loss_and_gradient};

/// What a logit costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cost {
    /// max(0, margin + z): the paper's truncated L1 loss.
    TruncatedL1,
    /// ln(1 + eᶻ): binary cross entropy.
    CrossEntropy,
}

/// The constants of the loss.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DiscriminatorLoss {
    /// Discriminators side by side.
    pub discriminators: usize,
    /// What is summed.
    pub cost: Cost,
    /// Margin of the truncated L1 loss, and of what counts as told apart with either.
    pub margin: f32,
    /// Slope of the LeakyReLU below zero.
    pub leaky_slope: f32,
    /// ε of the batch norm.
    pub norm_epsilon: f64,
    /// Momentum of the running statistics.
    pub norm_momentum: f64,
}

/// Numbers behind the gradient of the hidden layer in the op's single output: gradients of γ, β and tail, running mean and
/// variance, and loss and shares.
#[cfg(any(test, feature = "cuda"))]
fn len_behind(width: usize) -> usize {
    5 * width + OUTCOME
}

/// Loss, share of the normal rows at or above the margin, share of the anomalous ones below minus the margin.
const OUTCOME: usize = 3;

#[cfg(test)]
mod tests;
