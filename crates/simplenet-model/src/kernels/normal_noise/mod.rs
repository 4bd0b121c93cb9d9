//! Normal noise from a counter-based generator: the same bits on every CPU, instruction set and GPU.
//! In: a seed's [`Draws`], a standard deviation. Out: draws in f32, or features with their noise added.
//!
//! ```text
//! a, b, c, d = Philox4x32-10(counter = [i mod 2³², i / 2³², stream], key)       four words of block i
//! draws 4i, 4i+1 = σ·r·cos φ, σ·r·sin φ with r = sqrt(-2 ln u), u = (a + ½) / 2³², φ = 2π·b / 2³²
//! draws 4i+2, 4i+3: the same of c, d
//! ```
//!
//! Philox: Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011. Two normal draws of two
//! words: Box and Muller 1958. Philox is integers; logarithm, sine and cosine are polynomials of single operations in a
//! stated order, each rounded (`cpu.rs`, `normal_noise.cu`): no library's version of them is called, since no two agree.

mod cpu;
#[cfg(any(test, feature = "cuda"))]
mod cuda;
#[cfg(test)]
mod reference;
mod tensor;

pub(crate) use cpu::philox;
pub use cpu::{fill, normals};
pub use tensor::with_normal_noise;

/// A stream of draws.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Draws {
    /// The generator's key: the seed.
    pub key: [u32; 2],
    /// The upper half of its counter: which stream of the seed.
    pub stream: [u32; 2],
}

impl Draws {
    /// The four words of block `index`.
    pub fn block(&self, index: u64) -> [u32; 4] {
        philox([index as u32, (index >> 32) as u32, self.stream[0], self.stream[1]], self.key)
    }
}

#[cfg(test)]
mod tests;
