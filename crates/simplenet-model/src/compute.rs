//! The kernels that other crates use: matrix products, the ops of a training step, and what they have to know about the
//! machine. Everything else that computes is private to this crate.

pub use crate::kernels::{
    Isa,
    adam::{AdamStep, reference::update as adam_update, step as adam_step},
    device_memory::free_bytes,
    discriminator_loss::{Cost, DiscriminatorLoss, LossAndGradient, loss_and_gradient},
    heap::release_free_memory,
    matmul::{Matrix, matmul_into},
    normal_noise::{Draws, fill as fill_normal_noise, normals, with_normal_noise},
};
