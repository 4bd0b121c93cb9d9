//! How each value of a graph is kept between two nodes, for the compiled network on the CPU. In: a fused graph and a precision.
//! Out: an encoding per value.
//!
//! Convolutions with a ReLU give what convolutions read: in int8 they are kept as bytes. Shortcuts, few and of both signs, are
//! kept in bf16. What a transformer adds up from block to block stays in f32; only what its dense layers read is reduced.

use crate::{
    error::ModelError,
    graph::{Convolution, Graph, Node, NodeId, Op},
    kernels::encoding::Encoding,
    precision::Precision,
};

/// The nodes whose largest output [`crate::ActivationRanges`] holds, in their order.
pub(crate) fn observed(graph: &Graph) -> Vec<NodeId> {
    let has_range = |op: &Op| {
        matches!(
            op,
            Op::Convolution(_) | Op::InvertedResidual(_) | Op::LayerNorm(_) | Op::Attention { .. } | Op::Gelu
        )
    };
    graph.nodes().filter(|(_, node)| has_range(&node.op)).map(|(id, _)| id).collect()
}

/// The largest absolute output of each node; 0 for those that are not observed.
///
/// # Errors
/// `ModelError::Configuration` for ranges that are not those of this graph.
pub(crate) fn ranges(graph: &Graph, precision: &Precision) -> Result<Vec<f32>, ModelError> {
    let mut ranges = vec![0.0; graph.len()];
    if let Precision::Int8(measured) = precision {
        let observed = observed(graph);
        measured.check(observed.len())?;
        observed.iter().zip(measured.as_slice()).for_each(|(id, &range)| ranges[id.0] = range);
    }
    Ok(ranges)
}

/// An encoding per node. `ranges` are those of [`ranges`].
pub(crate) fn encodings(graph: &Graph, precision: &Precision, ranges: &[f32]) -> Vec<Encoding> {
    let mut encodings = vec![Encoding::F32; graph.len()];
    if *precision == Precision::F32 {
        return encodings;
    }
    let readers = readers(graph);
    for (id, node) in graph.nodes() {
        encodings[id.0] = match &node.op {
            Op::MaxPool => encodings[node.inputs[0].0],
            Op::Convolution(conv) if is_reduced(conv, node, &readers[id.0], &encodings) => match precision {
                Precision::Int8(_) if conv.clamp.low == 0.0 => Encoding::up_to(ranges[id.0]),
                _ => Encoding::Bf16,
            },
            Op::LayerNorm(_) | Op::Attention { .. } | Op::Gelu
                if !readers[id.0].is_empty()
                    && readers[id.0].iter().all(|reader| reader.is_some_and(is_dense)) =>
            {
                match precision {
                    // Kernels take bytes around zero at single taps only.
                    Precision::Int8(_) if readers[id.0].iter().flatten().all(|op| is_pointwise(op)) => {
                        Encoding::around_zero(ranges[id.0])
                    }
                    _ => Encoding::Bf16,
                }
            }
            _ => Encoding::F32,
        };
    }
    encodings
}

/// Whether a convolution's output is kept in fewer bits: only convolutions, pooling and the head read it, and it adds nothing
/// in f32.
fn is_reduced(conv: &Convolution, node: &Node, readers: &[Option<&Op>], encodings: &[Encoding]) -> bool {
    let read_by = |reader: &Option<&Op>| match reader {
        None | Some(Op::MaxPool | Op::InvertedResidual(_)) => true,
        Some(op) => is_dense(op),
    };
    let residual = node.inputs.get(1).map(|input| encodings[input.0]);
    !conv.depthwise && residual != Some(Encoding::F32) && readers.iter().all(read_by)
}

/// Whether an operation is a convolution over all channels.
fn is_dense(op: &Op) -> bool {
    matches!(op, Op::Convolution(conv) if !conv.depthwise)
}

/// Whether it is one with a single tap.
fn is_pointwise(op: &Op) -> bool {
    matches!(op, Op::Convolution(conv) if conv.kernel() == 1)
}

/// The operations that read each value; `None` stands for what is outside of the graph.
fn readers(graph: &Graph) -> Vec<Vec<Option<&Op>>> {
    let mut readers = vec![vec![]; graph.len()];
    for (_, node) in graph.nodes() {
        node.inputs.iter().for_each(|input| readers[input.0].push(Some(&node.op)));
    }
    graph.stages().iter().for_each(|(_, id)| readers[id.0].push(None));
    readers
}
