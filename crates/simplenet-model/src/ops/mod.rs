//! Hand-written kernels, one folder an op: a plain reference, the CPU implementations and candle's custom op on top.

pub mod depthwise_conv;
mod isa;
pub mod matmul;
pub mod patch_aggregate;

pub use isa::Isa;
