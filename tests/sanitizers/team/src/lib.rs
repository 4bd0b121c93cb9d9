//! The thread team of `simplenet-model`, with its tests.
#![allow(dead_code)]

#[path = "../../../../crates/simplenet-model/src/kernels/team.rs"]
mod team;

#[path = "../../../../crates/simplenet-model/src/kernels/time_slice.rs"]
mod time_slice;
