//! Rewrites of a graph, one per file, and what is worked out from one. In: a graph. Out: a graph
//! of fewer nodes that computes the same up to rounding; the encoding of each value.

pub(crate) mod encodings;
mod fold_affine;
mod fuse_epilogues;
mod fuse_inverted_residuals;

pub(crate) use fold_affine::fold_affine;
pub(crate) use fuse_epilogues::fuse_epilogues;
pub(crate) use fuse_inverted_residuals::fuse_inverted_residuals;
