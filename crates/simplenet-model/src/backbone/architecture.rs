//! What a kind of network has to say of itself: one file per kind implements it, rows of the table hold its members.

use std::{cell::RefCell, fmt::Debug};

use super::{Levels, TensorSpec, reader::Reader};
use crate::{error::ModelError, graph::Graph};

/// Strides of a convolutional network's levels.
const STRIDES: &[usize] = &[4, 8, 16];
/// A side that every network takes, in its own multiple: to look at a network without an image.
const ANY_SIDE: usize = 32;

/// A kind of network with what sets its members apart.
pub(crate) trait Architecture: Debug + Sync {
    /// The levels that it has.
    fn levels(&self) -> Levels {
        Levels::ALL
    }

    /// Whether it can be tapped at any of its levels alone, or only at all of them.
    fn takes(&self, levels: Levels) -> bool {
        levels.numbers().all(|level| self.levels().numbers().any(|own| own == level))
    }

    /// How many input pixels one cell of each level's grid spans, per side.
    fn strides(&self) -> &'static [usize] {
        STRIDES
    }

    /// What both sides of an image must be a multiple of.
    fn side_multiple(&self) -> usize {
        1
    }

    /// Adds the network up to a level (from 1) to `graph` for images of the graph's sides, and names its stages. Tensors are
    /// asked for in the order of the forward pass.
    ///
    /// # Errors
    /// Tensors that are missing or of another shape.
    fn add_to(&self, graph: &mut Graph, up_to_level: usize, reader: &Reader<'_>) -> Result<(), ModelError>;
}

/// Names and shapes of every tensor up to a level.
pub(super) fn tensor_specs(network: &dyn Architecture, up_to_level: usize) -> Vec<TensorSpec> {
    sketch(network, up_to_level).1
}

/// The network without weights, and the tensors that it asks for.
pub(super) fn sketch(network: &dyn Architecture, up_to_level: usize) -> (Graph, Vec<TensorSpec>) {
    let specs = Reader::Recorder(RefCell::default());
    let mut graph = Graph::new([ANY_SIDE * network.side_multiple(); 2]);
    // Placeholders are of the shapes that were asked for: nothing can be refused.
    let _complete = network.add_to(&mut graph, up_to_level, &specs);
    match specs {
        Reader::Recorder(specs) => (graph, specs.into_inner()),
        Reader::Weights(_) => (graph, Vec::new()),
    }
}
