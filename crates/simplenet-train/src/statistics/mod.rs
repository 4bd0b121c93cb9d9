//! What is measured once, in closed form or by looking: what is normal at each place, how far activations reach, what the
//! photographs are like and which of their samples is white.
//!
//! In: training features, or files. Out: numbers that travel in the model file, or settings that they complete.

pub(crate) mod activation_ranges;
pub(crate) mod cholesky;
pub(crate) mod image_profile;
pub mod positions;
pub(crate) mod sample_range;
