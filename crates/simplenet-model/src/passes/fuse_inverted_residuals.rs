//! Makes the block of mobile networks one node (Sandler et al., "MobileNetV2", 2018): its maps in between are several times as
//! wide as those around, and a kernel that goes through the block in bands keeps them in the cache
//! (`kernels/inverted_residual`).

use crate::{
    graph::{Convolution, Graph, InvertedResidual, Node, Op, Padding},
    kernels::dense::Clamp,
};

/// 1×1 expansion (if there is one) -> depthwise -> 1×1 projection (+ the block's input) becomes one node. Runs after
/// [`super::fuse_epilogues`].
pub(crate) fn fuse_inverted_residuals(graph: &Graph) -> Graph {
    graph.rewritten(|to, node, reads| {
        let Op::Convolution(project) = &node.op else { return None };
        let (&filtered, residual) = (node.inputs.first()?, node.inputs.get(1).copied());
        if reads[filtered.0] > 1 || !is_pointwise(project) || project.clamp != Clamp::NONE {
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
                    && reads[expanded.0] == 1 =>
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

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device, Tensor};

    use super::*;
    use crate::{graph::Shape, passes::fuse_epilogues};

    fn conv(shape: [usize; 4], depthwise: bool, clamp: Clamp) -> Op {
        let weight = Tensor::zeros(&shape, DType::F32, &Device::Cpu).unwrap();
        let padding = Padding::Same;
        Op::Convolution(Box::new(Convolution { depthwise, padding, clamp, ..Convolution::new(weight) }))
    }

    /// Stem, expansion, depthwise, projection, sum; the stage is the block, and what `also` names of its nodes.
    fn block(also: Option<usize>) -> Graph {
        let mut graph = Graph::new([8, 8]);
        let stem = graph.add(conv([4, 3, 3, 3], false, Clamp::RELU6), &[Graph::IMAGE]).unwrap();
        let expanded = graph.add(conv([24, 4, 1, 1], false, Clamp::RELU6), &[stem]).unwrap();
        let filtered = graph.add(conv([24, 1, 3, 3], true, Clamp::RELU6), &[expanded]).unwrap();
        let projected = graph.add(conv([4, 24, 1, 1], false, Clamp::NONE), &[filtered]).unwrap();
        let sum = graph.add(Op::Add, &[projected, stem]).unwrap();
        if let Some(node) = also {
            graph.name_stage("inside", [stem, expanded, filtered][node]);
        }
        graph.name_stage("block", sum);
        fuse_inverted_residuals(&fuse_epilogues(&graph))
    }

    #[test]
    fn a_block_is_one_node_and_what_is_read_elsewhere_stays() {
        let expands = |graph: &Graph| {
            let (_, id) = graph.stages().last().unwrap();
            assert_eq!(graph.shape(*id), Shape { height: 8, width: 8, channels: 4 });
            match &graph.node(*id).op {
                Op::InvertedResidual(block) => Some((block.expand.is_some(), block.residual)),
                _ => None,
            }
        };
        for (also, nodes, expected) in [
            (None, 3, Some((true, true))),
            (Some(0), 3, Some((true, true))),
            // The expansion stays a node of its own; its output is no residual of the block without it.
            (Some(1), 5, None),
            (Some(2), 5, None),
        ] {
            let graph = block(also);
            assert_eq!((graph.len(), expands(&graph)), (nodes, expected), "{also:?}");
            if also == Some(1) {
                assert_eq!(graph.shape(graph.stages()[0].1).channels, 24, "the stage is still the expansion");
            }
        }
    }
}
