//! Makes the block of mobile networks one node (Sandler et al., "MobileNetV2", 2018): its maps in between are several times as
//! wide as those around, and a kernel that goes through the block in bands keeps them in the cache
//! (`kernels/inverted_residual`).

use crate::{
    graph::{Convolution, Graph, InvertedResidual, Node, NodeId, Op, Padding},
    kernels::dense::Clamp,
};

/// 1×1 expansion (if there is one) -> depthwise -> 1×1 projection (+ the block's input) becomes one node. Runs after
/// [`super::fuse_epilogues`].
pub(crate) fn fuse_inverted_residuals(graph: &Graph) -> Graph {
    graph.rewritten(|to, node, own| {
        let Op::Convolution(project) = &node.op else { return None };
        let (&filtered, residual) = (node.inputs.first()?, node.inputs.get(1).copied());
        if !own[0] || !is_pointwise(project) || project.clamp != Clamp::NONE {
            return None;
        }
        let last = to.len().checked_sub(1)?;
        let (depthwise, expanded) = match &to.node(filtered) {
            Node { op: Op::Convolution(conv), inputs, .. } if is_filter(conv) => {
                ((**conv).clone(), inputs[0])
            }
            _ => return None,
        };
        // The node just before, which nothing else reads: what it gives is as wide as the depthwise layer.
        let expand = match &to.node(expanded) {
            Node { op: Op::Convolution(conv), inputs, .. }
                if is_pointwise(conv)
                    && inputs.len() == 1
                    && expanded.0 + 1 == last
                    && graph_reads_once(to, expanded) =>
            {
                Some(((**conv).clone(), inputs[0]))
            }
            _ => None,
        };
        let (expand, input, merged) = match expand {
            Some((conv, input)) => (Some(conv), input, 2),
            None => (None, expanded, 1),
        };
        if filtered.0 != last || residual.is_some_and(|residual| residual != input) {
            return None;
        }
        let block = InvertedResidual {
            expand,
            depthwise,
            project: (**project).clone(),
            residual: residual.is_some(),
        };
        let op = Op::InvertedResidual(Box::new(block));
        Some(to.replace_last(merged, Node { op, inputs: vec![input], shape: node.shape }))
    })
}

/// Whether a value has one reader in what has been rewritten so far. What comes later cannot read it: the block's nodes follow
/// each other, and the rewriting is given whether the last of them has no other reader.
fn graph_reads_once(graph: &Graph, id: NodeId) -> bool {
    graph.nodes().flat_map(|(_, node)| &node.inputs).filter(|input| **input == id).count() == 1
}

fn is_pointwise(conv: &Convolution) -> bool {
    !conv.depthwise && conv.kernel() == 1 && conv.stride == 1
}

/// Whether the block's kernel has this depthwise layer.
fn is_filter(conv: &Convolution) -> bool {
    conv.depthwise
        && conv.padding == Padding::Same
        && conv.clamp.low == 0.0
        && matches!(conv.kernel(), 3 | 5)
        && matches!(conv.stride, 1 | 2)
}
