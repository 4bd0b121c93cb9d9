//! Position energies of batches, joined with the discriminator's scores.
//!
//! joined[b, y, x] = head · score + energy · |W (p - m)| + offset, with p the projected feature, m the mean at (y, x) and W
//! the whitening of the cell that (y, x) lies in, lower triangular. In: projected features (B, h, w, d), before the mean is
//! taken off, and scores (B, h, w). Out: (B, h, w). All f32. The statistics and what they mean:
//! [`crate::position_energy`].

#[cfg(any(test, feature = "cuda"))]
mod cuda;
mod reference;
mod tensor;

pub(crate) use tensor::PositionEnergyTensor;

#[cfg(test)]
mod tests;
