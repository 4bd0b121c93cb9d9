//! A network written down once, as data: nodes over images of one size, with the shape of every value. In: what a backbone
//! adds, node by node. Out: a [`Graph`] that passes rewrite ([`crate::passes`]) and lowerings run or write down
//! ([`crate::lower`]).
//!
//! Values are maps (height, width, channels) of one image. The tokens of a transformer are a map of height 1.

mod node;
mod shape;

pub(crate) use node::{
    ChannelAffine, Convolution, InvertedResidual, LayerNorm, Op, Padding, Tokens, Values, doubles, floats,
};
pub(crate) use shape::Shape;

use crate::error::ModelError;

/// Colours of an image.
pub(crate) const COLOURS: usize = 3;

/// The number of a node, and of the value that it gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct NodeId(pub(crate) usize);

/// One operation of a network.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) op: Op,
    /// What it reads; of a sum and of a convolution's residual the second.
    pub(crate) inputs: Vec<NodeId>,
    /// Of its value.
    pub(crate) shape: Shape,
}

/// A network for images of one size, in the order in which it runs. Node 0 is the image.
#[derive(Debug, Clone)]
pub(crate) struct Graph {
    nodes: Vec<Node>,
    stages: Vec<(String, NodeId)>,
}

impl Graph {
    /// The node of the image.
    pub(crate) const IMAGE: NodeId = NodeId(0);

    /// A graph of nothing but an image of these sides.
    pub(crate) fn new([height, width]: [usize; 2]) -> Self {
        let shape = Shape { height, width, channels: COLOURS };
        Self { nodes: vec![Node { op: Op::Image, inputs: vec![], shape }], stages: vec![] }
    }

    /// Adds a node and infers the shape of its value.
    ///
    /// # Errors
    /// `ModelError::Configuration` for inputs whose shapes the operation does not take.
    pub(crate) fn add(&mut self, op: Op, inputs: &[NodeId]) -> Result<NodeId, ModelError> {
        let shapes: Vec<Shape> = inputs.iter().map(|&id| self.shape(id)).collect();
        let shape = shape::infer(&op, &shapes)?;
        self.nodes.push(Node { op, inputs: inputs.to_vec(), shape });
        Ok(NodeId(self.nodes.len() - 1))
    }

    /// Names a value: a stage of the network, which may be tapped.
    pub(crate) fn name_stage(&mut self, name: impl Into<String>, value: NodeId) {
        self.stages.push((name.into(), value));
    }

    /// Every named value, in order.
    pub(crate) fn stages(&self) -> &[(String, NodeId)] {
        &self.stages
    }

    /// Keeps only the stages that are wanted, and the nodes that they need.
    pub(crate) fn retain_stages(&mut self, wanted: impl Fn(&str) -> bool) {
        self.stages.retain(|(name, _)| wanted(name));
        let mut needed = vec![false; self.nodes.len()];
        self.stages.iter().for_each(|(_, id)| needed[id.0] = true);
        for index in (0..self.nodes.len()).rev().filter(|&index| index > 0) {
            if needed[index] {
                self.nodes[index].inputs.iter().for_each(|input| needed[input.0] = true);
            }
        }
        needed[0] = true;
        let mut new = Vec::with_capacity(self.nodes.len());
        let mut count = 0;
        for &needed in &needed {
            new.push(NodeId(count));
            count += usize::from(needed);
        }
        let mut keep = needed.iter();
        self.nodes.retain(|_| keep.next() == Some(&true));
        let inputs = self.nodes.iter_mut().flat_map(|node| &mut node.inputs);
        inputs.chain(self.stages.iter_mut().map(|(_, id)| id)).for_each(|id| *id = new[id.0]);
    }

    /// Every node with its number.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = (NodeId, &Node)> {
        self.nodes.iter().enumerate().map(|(index, node)| (NodeId(index), node))
    }

    pub(crate) fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.0]
    }

    pub(crate) fn shape(&self, id: NodeId) -> Shape {
        self.nodes[id.0].shape
    }

    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// How often each value is read; a stage counts as a reader.
    pub(crate) fn uses(&self) -> Vec<usize> {
        let mut uses = vec![0; self.nodes.len()];
        let read = self.nodes.iter().flat_map(|node| &node.inputs);
        read.chain(self.stages.iter().map(|(_, id)| id)).for_each(|id| uses[id.0] += 1);
        uses
    }

    /// The last node that reads each value; `len` for a stage, which stays until the end.
    pub(crate) fn last_uses(&self) -> Vec<usize> {
        let mut last: Vec<usize> = (0..self.nodes.len()).collect();
        for (id, node) in self.nodes() {
            node.inputs.iter().for_each(|input| last[input.0] = id.0);
        }
        self.stages.iter().for_each(|(_, id)| last[id.0] = self.nodes.len());
        last
    }

    /// A graph of the same nodes in which some are merged into the node before them.
    ///
    /// `merge` is given the new graph so far, a node of this one with its inputs in the new one, and how often each value of
    /// the new graph is read in the whole of this one; it changes the new graph and returns the node that now gives this
    /// one's value, or `None` to keep the node as it is.
    pub(crate) fn rewritten(
        &self,
        mut merge: impl FnMut(&mut Self, &Node, &[usize]) -> Option<NodeId>,
    ) -> Self {
        let uses = self.uses();
        let mut to = Self { nodes: vec![], stages: vec![] };
        let (mut new, mut reads): (Vec<NodeId>, Vec<usize>) = (vec![], vec![]);
        for (old, node) in self.nodes() {
            let inputs = node.inputs.iter().map(|input| new[input.0]).collect();
            let renumbered = Node { op: node.op.clone(), inputs, shape: node.shape };
            let id = merge(&mut to, &renumbered, &reads).unwrap_or_else(|| {
                to.nodes.push(renumbered);
                NodeId(to.nodes.len() - 1)
            });
            reads.resize(to.nodes.len(), 0);
            reads[id.0] = uses[old.0];
            new.push(id);
        }
        to.stages = self.stages.iter().map(|(name, id)| (name.clone(), new[id.0])).collect();
        to
    }

    /// A node of a graph that is being rewritten.
    pub(crate) fn node_mut(&mut self, id: NodeId) -> &mut Node {
        &mut self.nodes[id.0]
    }

    /// Takes the last `count` nodes off a graph that is being rewritten, and puts one in their place.
    pub(crate) fn replace_last(&mut self, count: usize, node: Node) -> NodeId {
        self.nodes.truncate(self.nodes.len() - count);
        self.nodes.push(node);
        NodeId(self.nodes.len() - 1)
    }
}
