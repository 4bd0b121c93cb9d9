//! Rewrites of a graph, one per file, and what is worked out from one. In: a graph, or the network's trained half. Out: a graph
//! of fewer nodes that computes the same up to rounding; the encoding of each value; the head as one matrix.

pub(crate) mod encodings;
mod fold_affine;
pub(crate) mod fold_head;
mod fuse_epilogues;
mod fuse_inverted_residuals;

pub(crate) use fold_affine::fold_affine;
pub(crate) use fuse_epilogues::fuse_epilogues;
pub(crate) use fuse_inverted_residuals::fuse_inverted_residuals;
