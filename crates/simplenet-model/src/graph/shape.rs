//! The shapes of values, inferred in this one place. In: an operation and the shapes that it reads. Out: the shape of what it
//! gives, or why there is none.

use super::{Convolution, Op};
use crate::{
    error::ModelError,
    kernels::{geometry::Geometry, max_pool_channels_last},
};

/// A map of one image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) height: usize,
    pub(crate) width: usize,
    pub(crate) channels: usize,
}

impl Shape {
    /// Height and width.
    pub(crate) fn sides(self) -> [usize; 2] {
        [self.height, self.width]
    }

    pub(crate) fn pixels(self) -> usize {
        self.height * self.width
    }

    fn with_channels(self, channels: usize) -> Self {
        Self { channels, ..self }
    }
}

/// The shape that `op` gives.
pub(super) fn infer(op: &Op, inputs: &[Shape]) -> Result<Shape, ModelError> {
    let refused = || ModelError::Configuration {
        what: "graph",
        reason: format!("{} does not take {inputs:?}", op.name()),
    };
    let (Some(&first), rest) = (inputs.first(), inputs.get(1..).unwrap_or_default()) else {
        return Err(refused());
    };
    let shape = match (op, rest) {
        (Op::Convolution(conv), rest) => {
            let shape = convolved(conv, first).filter(|shape| rest.iter().all(|other| other == shape));
            shape.filter(|_| rest.len() < 2)
        }
        (Op::InvertedResidual(block), []) => {
            let expanded = block.expand.as_ref().map_or(Some(first), |conv| convolved(conv, first));
            let filtered = expanded.and_then(|shape| convolved(&block.depthwise, shape));
            filtered.and_then(|shape| convolved(&block.project, shape))
        }
        (Op::Affine(affine), []) => (affine.scale.len() == first.channels).then_some(first),
        (Op::LayerNorm(norm), []) => (norm.weight.elem_count() == first.channels).then_some(first),
        (Op::Clamp(_) | Op::Gelu, []) => Some(first),
        (Op::Add, [second]) => (*second == first).then_some(first),
        (Op::MaxPool, []) => {
            let [height, width] = max_pool_channels_last::output(first.height, first.width);
            Some(Shape { height, width, ..first })
        }
        (Op::Tokens(tokens), []) => (tokens.class.elem_count() == first.channels).then(|| Shape {
            height: 1,
            width: 1 + first.pixels(),
            ..first
        }),
        (Op::Patches { sides: [height, width] }, []) => {
            let fits = first.height == 1 && first.width == 1 + height * width;
            fits.then_some(Shape { height: *height, width: *width, ..first })
        }
        (Op::Attention { heads }, []) => {
            let width = first.channels / 3;
            (width * 3 == first.channels && width.is_multiple_of(*heads)).then(|| first.with_channels(width))
        }
        _ => None,
    };
    shape.filter(|shape| shape.pixels() > 0).ok_or_else(refused)
}

fn convolved(conv: &Convolution, input: Shape) -> Option<Shape> {
    let [outputs, inputs, kernel, other] = conv.shape();
    let groups = if conv.depthwise { outputs } else { 1 };
    if kernel != other || inputs * groups != input.channels || conv.stride == 0 {
        return None;
    }
    let (sides, stride) = (input.sides(), conv.stride);
    let [vertical, horizontal] = conv.padding.around(sides, kernel, stride);
    let [height, width] = Geometry { input: sides, kernel, stride, vertical, horizontal }.output();
    Some(Shape { height, width, channels: outputs })
}
