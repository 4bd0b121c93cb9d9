//! Folds scales and shifts per channel (batch norm, layer scale) into the convolutions before them.

use crate::graph::{ChannelAffine, Graph, Op};

/// Every scale and shift that follows a convolution becomes part of it; its values are worked out when they are asked for.
pub(crate) fn fold_affine(graph: &Graph) -> Graph {
    graph.rewritten(|to, node, reads| {
        let (Op::Affine(affine), [input]) = (&node.op, &node.inputs[..]) else { return None };
        if reads[input.0] > 1 {
            return None;
        }
        let before = to.node_mut(*input);
        let Op::Convolution(conv) = &mut before.op else { return None };
        if before.inputs.len() > 1 || conv.clamp != crate::kernels::dense::Clamp::NONE {
            return None;
        }
        conv.affine = Some(match conv.affine.take() {
            None => affine.clone(),
            Some(first) => composed(&first, affine),
        });
        Some(*input)
    })
}

/// First one, then the other.
fn composed(first: &ChannelAffine, second: &ChannelAffine) -> ChannelAffine {
    let scale = first.scale.iter().zip(&second.scale).map(|(a, b)| a * b).collect();
    let shifts = first.shift.iter().zip(&second.scale).zip(&second.shift);
    ChannelAffine { scale, shift: shifts.map(|((shift, scale), other)| shift * scale + other).collect() }
}
