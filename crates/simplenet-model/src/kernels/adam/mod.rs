//! One step of Adam (Kingma and Ba 2015) or AdamW (Loshchilov and Hutter 2019), as PyTorch computes them.
//! In: parameters w, moments m and v, the gradient g, each of L numbers in f32. Out: w, m and v of the next step, in place.
//!
//! ```text
//! g ← g + coupled · w
//! m ← β₁·m + (1 - β₁)·g
//! v ← β₂·v + (1 - β₂)·g·g
//! w ← keep·w - rate·m / (sqrt(v)·root + ε)
//! ```
//!
//! Every operation is rounded by itself, from left to right: the same bits on every CPU and on a GPU.

#[cfg(any(test, feature = "cuda"))]
mod cuda;
pub(crate) mod reference;
mod tensor;

pub use tensor::step;

/// The constants of a step, bias corrections in them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamStep {
    /// The learning rate over the first moment's bias correction, 1 - β₁ᵗ.
    pub rate: f32,
    /// 1 over the root of the second moment's bias correction.
    pub root: f32,
    /// Weight decay that is added to the gradient (Adam's); 0 for none.
    pub coupled: f32,
    /// What decoupled weight decay (AdamW's) leaves of a parameter; 1 for all.
    pub keep: f32,
    /// β₁ and β₂.
    pub betas: [f32; 2],
    /// 1 - β₁ and 1 - β₂, rounded by themselves.
    pub rests: [f32; 2],
    /// Added to the root of the second moment.
    pub eps: f32,
}

#[cfg(test)]
mod tests;
