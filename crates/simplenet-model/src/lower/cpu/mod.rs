//! A graph compiled for this CPU: what a network's layers become ([`compile()`]), and how they run ([`Program`]).

mod compile;
mod image;
mod program;

pub(crate) use compile::compile;
pub(crate) use image::Image;
pub(crate) use program::{Map, Program, Workspace};
