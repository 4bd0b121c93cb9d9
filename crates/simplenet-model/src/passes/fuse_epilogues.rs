//! Makes sums and clamps part of the convolution before them, whose kernels do both while a result is in a register.

use crate::{
    graph::{Graph, NodeId, Op},
    kernels::dense::Clamp,
};

/// conv -> sum -> clamp becomes one node, as far as it is there. Of a sum of two convolutions the later one takes the other
/// as its residual.
pub(crate) fn fuse_epilogues(graph: &Graph) -> Graph {
    graph.rewritten(|to, node, reads| match (&node.op, &node.inputs[..]) {
        (Op::Add, &[a, b]) => {
            let takes = |conv: NodeId, other: NodeId| reads[conv.0] == 1 && conv > other && is_bare(to, conv);
            let (conv, other) = if takes(a, b) {
                (a, b)
            } else if takes(b, a) {
                (b, a)
            } else {
                return None;
            };
            to.node_mut(conv).inputs.push(other);
            Some(conv)
        }
        (Op::Clamp(clamp), &[input]) if reads[input.0] == 1 => match &mut to.node_mut(input).op {
            Op::Convolution(conv) if conv.clamp == Clamp::NONE => {
                conv.clamp = *clamp;
                Some(input)
            }
            _ => None,
        },
        _ => None,
    })
}

/// Whether a node is a convolution over all channels that nothing has been fused into.
fn is_bare(graph: &Graph, id: NodeId) -> bool {
    let node = graph.node(id);
    matches!(&node.op, Op::Convolution(conv) if !conv.depthwise && conv.clamp == Clamp::NONE)
        && node.inputs.len() == 1
}
