//! A graph that is written node by node. In: operations on values, constants. Out: a `GraphProto`. Nodes come in the order
//! in which they run; names are made here, so that no two are alike.

use super::proto::{
    AttributeProto, Dimension, GraphProto, NodeProto, TensorProto, TensorShapeProto, TensorType, TypeProto,
    ValueInfoProto, attribute_type, data_type,
};

/// The name of the free side of a batch that is not fixed.
pub(super) const FREE_BATCH: &str = "batch";

/// A value between two nodes, an input or a constant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Edge(String);

/// A setting of a node.
#[derive(Debug, Clone, Copy)]
pub(super) enum Attribute<'a> {
    Float(f32),
    Int(usize),
    Ints(&'a [i64]),
}

/// The number type of an output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Float,
    Bool,
}

/// Takes nodes and constants in.
#[derive(Debug, Default)]
pub(super) struct Graph {
    proto: GraphProto,
    /// How many names were made.
    names: usize,
}

impl Graph {
    /// An f32 input of this shape; the first side may be free.
    pub(super) fn input(&mut self, name: &str, batch: Option<usize>, sides: &[usize]) -> Edge {
        self.proto.input.push(described(name, Kind::Float, batch, sides));
        Edge(name.into())
    }

    /// Gives the value of a node another name, and makes it an output. (OpenVINO takes both names where an `Identity` stands
    /// between, and who asks it for one may get the other.)
    pub(super) fn output(
        &mut self,
        value: Edge,
        name: &str,
        kind: Kind,
        batch: Option<usize>,
        sides: &[usize],
    ) -> Edge {
        for node in &mut self.proto.node {
            let uses = node.input.iter_mut().chain(&mut node.output);
            uses.filter(|used| **used == value.0).for_each(|used| *used = name.into());
        }
        self.proto.output.push(described(name, kind, batch, sides));
        Edge(name.into())
    }

    /// A node of one output.
    pub(super) fn node(&mut self, op: &str, inputs: &[&Edge], attributes: &[(&str, Attribute<'_>)]) -> Edge {
        let output = self.name(op);
        self.push(op, inputs, attributes, output)
    }

    /// The same in parts of these lengths along an axis.
    pub(super) fn split(&mut self, value: &Edge, axis: usize, lengths: &[usize]) -> Vec<Edge> {
        let sizes = self.sizes(lengths);
        let outputs: Vec<String> = lengths.iter().map(|_| self.name("Split")).collect();
        self.proto.node.push(NodeProto {
            input: vec![value.0.clone(), sizes.0],
            output: outputs.clone(),
            name: outputs.first().map(|output| format!("node_{output}")),
            op_type: Some("Split".into()),
            attribute: vec![attribute("axis", Attribute::Int(axis))],
        });
        outputs.into_iter().map(Edge).collect()
    }

    /// An f32 constant.
    pub(super) fn floats(&mut self, values: &[f32], shape: &[usize]) -> Edge {
        debug_assert_eq!(values.len(), shape.iter().product::<usize>());
        let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.constant(data_type::FLOAT, shape, bytes)
    }

    /// A single f32, which goes with any shape.
    pub(super) fn number(&mut self, value: f32) -> Edge {
        self.floats(&[value], &[])
    }

    /// An i64 constant of one side, as shapes and axes are given. −1 stands for a side that follows from the others.
    pub(super) fn integers(&mut self, values: &[i64]) -> Edge {
        let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.constant(data_type::INT64, &[values.len()], bytes)
    }

    fn sizes(&mut self, values: &[usize]) -> Edge {
        let values: Vec<i64> = values.iter().map(|&v| v as i64).collect();
        self.integers(&values)
    }

    /// A reshape to a batch of these sides.
    pub(super) fn reshape(&mut self, value: &Edge, sides: &[usize]) -> Edge {
        let shape: Vec<i64> = std::iter::once(-1).chain(sides.iter().map(|&side| side as i64)).collect();
        let shape = self.integers(&shape);
        self.node("Reshape", &[value, &shape], &[])
    }

    /// Axes in another order.
    pub(super) fn transpose(&mut self, value: &Edge, order: &[i64]) -> Edge {
        self.node("Transpose", &[value], &[("perm", Attribute::Ints(order))])
    }

    /// A linear layer: (…, from) · (from, to) + bias, of a weight (to, from).
    pub(super) fn linear(&mut self, value: &Edge, weight: &[f32], bias: &[f32]) -> Edge {
        let (to, from) = (bias.len(), weight.len() / bias.len().max(1));
        let transposed: Vec<f32> =
            (0..from).flat_map(|i| weight.iter().skip(i).step_by(from.max(1)).copied()).collect();
        let (weight, bias) = (self.floats(&transposed, &[from, to]), self.floats(bias, &[to]));
        let product = self.node("MatMul", &[value, &weight], &[]);
        self.node("Add", &[&product, &bias], &[])
    }

    /// What has been written.
    pub(super) fn finish(self, name: &str) -> GraphProto {
        GraphProto { name: Some(name.into()), ..self.proto }
    }

    fn push(
        &mut self,
        op: &str,
        inputs: &[&Edge],
        attributes: &[(&str, Attribute<'_>)],
        output: String,
    ) -> Edge {
        self.proto.node.push(NodeProto {
            input: inputs.iter().map(|edge| edge.0.clone()).collect(),
            output: vec![output.clone()],
            name: Some(format!("node_{output}")),
            op_type: Some(op.into()),
            attribute: attributes.iter().map(|(name, value)| attribute(name, *value)).collect(),
        });
        Edge(output)
    }

    fn constant(&mut self, kind: i32, shape: &[usize], bytes: Vec<u8>) -> Edge {
        let name = self.name("constant");
        self.proto.initializer.push(TensorProto {
            dims: shape.iter().map(|&side| side as i64).collect(),
            data_type: Some(kind),
            name: Some(name.clone()),
            raw_data: Some(bytes),
        });
        Edge(name)
    }

    fn name(&mut self, op: &str) -> String {
        self.names += 1;
        format!("{}_{}", op.to_lowercase(), self.names)
    }
}

fn attribute(name: &str, value: Attribute<'_>) -> AttributeProto {
    let mut proto = AttributeProto { name: Some(name.into()), ..AttributeProto::default() };
    match value {
        Attribute::Float(v) => (proto.f, proto.r#type) = (Some(v), Some(attribute_type::FLOAT)),
        Attribute::Int(v) => (proto.i, proto.r#type) = (Some(v as i64), Some(attribute_type::INT)),
        Attribute::Ints(v) => (proto.ints, proto.r#type) = (v.to_vec(), Some(attribute_type::INTS)),
    }
    proto
}

fn described(name: &str, kind: Kind, batch: Option<usize>, sides: &[usize]) -> ValueInfoProto {
    let fixed = |side: usize| Dimension { dim_value: Some(side as i64), dim_param: None };
    let first = match batch {
        Some(images) => fixed(images),
        None => Dimension { dim_value: None, dim_param: Some(FREE_BATCH.into()) },
    };
    let dim = std::iter::once(first).chain(sides.iter().copied().map(fixed)).collect();
    let elem_type = match kind {
        Kind::Float => data_type::FLOAT,
        Kind::Bool => data_type::BOOL,
    };
    let tensor_type = TensorType { elem_type: Some(elem_type), shape: Some(TensorShapeProto { dim }) };
    ValueInfoProto { name: Some(name.into()), r#type: Some(TypeProto { tensor_type: Some(tensor_type) }) }
}
