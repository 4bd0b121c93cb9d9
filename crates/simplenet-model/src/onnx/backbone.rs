//! The frozen network as nodes. In: the layers of a convolutional backbone, handed in one after another as to the compiled
//! networks. Out: its taps, (N, C, h, w).

use super::graph::{Attribute, Edge, Graph};
use crate::{
    ops::{
        dense::Clamp,
        depthwise_conv::{Geometry, same_padding},
        max_pool_channels_last,
    },
    predictor::network::{Convolution, NetworkBuilder, Padding, Value},
};

/// A value with its shape, without the batch.
#[derive(Debug, Clone)]
pub(super) struct Map {
    pub(super) edge: Edge,
    pub(super) channels: usize,
    pub(super) height: usize,
    pub(super) width: usize,
}

/// Writes layers as nodes. Batch norm is folded into what it is given.
#[derive(Debug)]
pub(super) struct Layers<'a> {
    graph: &'a mut Graph,
    image: Edge,
    maps: Vec<Map>,
}

impl<'a> Layers<'a> {
    /// Onto `image`, (N, 3, H, W), normalised.
    pub(super) fn new(graph: &'a mut Graph, image: Edge) -> Self {
        Self { graph, image, maps: Vec::new() }
    }

    /// The values that the network's layers have given.
    pub(super) fn take(self, taps: &[Value]) -> Vec<Map> {
        taps.iter().filter_map(|tap| self.maps.get(tap.0).cloned()).collect()
    }

    fn value(&mut self, edge: Edge, channels: usize, [height, width]: [usize; 2]) -> Value {
        self.maps.push(Map { edge, channels, height, width });
        Value(self.maps.len() - 1)
    }

    /// A convolution of `group` groups, and what is done to its sums.
    fn convolve(
        &mut self,
        input: &Edge,
        conv: &Convolution<'_>,
        group: usize,
        [vertical, horizontal]: [(usize, usize); 2],
        residual: Option<&Edge>,
    ) -> Edge {
        let Convolution { weight, bias, kernel, stride, clamp } = *conv;
        let (outputs, side) = (bias.len(), kernel as i64);
        let inputs = weight.len() / (outputs * kernel * kernel).max(1);
        let weight = self.graph.floats(weight, &[outputs, inputs, kernel, kernel]);
        let bias = self.graph.floats(bias, &[outputs]);
        let pads = [vertical.0, horizontal.0, vertical.1, horizontal.1].map(|pad| pad as i64);
        let sums = self.graph.node(
            "Conv",
            &[input, &weight, &bias],
            &[
                ("kernel_shape", Attribute::Ints(&[side; 2])),
                ("strides", Attribute::Ints(&[stride as i64; 2])),
                ("pads", Attribute::Ints(&pads)),
                ("group", Attribute::Int(group)),
            ],
        );
        let sums = match residual {
            Some(residual) => self.graph.node("Add", &[&sums, residual], &[]),
            None => sums,
        };
        clamped(self.graph, sums, clamp)
    }
}

fn clamped(graph: &mut Graph, value: Edge, clamp: Clamp) -> Edge {
    if clamp == Clamp::NONE {
        return value;
    }
    if clamp == Clamp::RELU {
        return graph.node("Relu", &[&value], &[]);
    }
    let (low, high) = (graph.number(clamp.low), graph.number(clamp.high));
    graph.node("Clip", &[&value, &low, &high], &[])
}

impl NetworkBuilder for Layers<'_> {
    fn stem(&mut self, image: [usize; 2], conv: &Convolution<'_>, padding: Padding) -> Value {
        let Convolution { kernel, stride, bias, .. } = *conv;
        let pads = image.map(|side| match padding {
            Padding::Centred => (kernel / 2, kernel / 2),
            Padding::Same => same_padding(side, kernel, stride),
        });
        let sides = [0, 1].map(|axis| (image[axis] + pads[axis].0 + pads[axis].1 - kernel) / stride + 1);
        let input = self.image.clone();
        let edge = self.convolve(&input, conv, 1, pads, None);
        self.value(edge, bias.len(), sides)
    }

    fn conv(&mut self, input: Value, conv: &Convolution<'_>, residual: Option<Value>) -> Value {
        let Convolution { kernel, stride, bias, .. } = *conv;
        let Map { edge, height, width, .. } = self.maps[input.0].clone();
        let residual = residual.map(|value| self.maps[value.0].edge.clone());
        let pad = kernel / 2;
        let edge = self.convolve(&edge, conv, 1, [(pad, pad); 2], residual.as_ref());
        self.value(edge, bias.len(), [height, width].map(|side| (side + 2 * pad - kernel) / stride + 1))
    }

    fn inverted_residual(
        &mut self,
        input: Value,
        expand: Option<&Convolution<'_>>,
        filter: &Convolution<'_>,
        project: &Convolution<'_>,
        residual: bool,
    ) -> Value {
        let hidden = expand.map_or(input, |expand| self.conv(input, expand, None));
        let Map { edge, channels, height, width } = self.maps[hidden.0].clone();
        let geometry = Geometry::same(height, width, filter.kernel, filter.stride);
        let pads = [geometry.vertical, geometry.horizontal];
        let edge = self.convolve(&edge, filter, channels, pads, None);
        let filtered = self.value(edge, channels, geometry.output());
        self.conv(filtered, project, residual.then_some(input))
    }

    fn max_pool(&mut self, input: Value) -> Value {
        let Map { edge, channels, height, width } = self.maps[input.0].clone();
        let pooled = self.graph.node(
            "MaxPool",
            &[&edge],
            &[
                ("kernel_shape", Attribute::Ints(&[3, 3])),
                ("strides", Attribute::Ints(&[2, 2])),
                ("pads", Attribute::Ints(&[1, 1, 1, 1])),
            ],
        );
        self.value(pooled, channels, max_pool_channels_last::output(height, width))
    }
}
