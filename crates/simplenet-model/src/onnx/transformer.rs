//! DINOv2 as nodes. In: its literal layers and an image (N, 3, H, W), normalised. Out: its taps, (N, C, H / 14, W / 14).
//!
//! The position embedding is resized for the image's size beforehand, so that it is a constant.

use candle_core::{DType, Device, Tensor};
use candle_nn::{LayerNorm, Linear};

use super::{
    backbone::Map,
    graph::{Attribute, Edge, Graph},
};
use crate::{
    backbone::dinov2::{Block, Layers},
    error::ModelError,
};

/// Adds every block; gives the tokens of those that `is_tapped` names, as maps.
///
/// # Errors
/// A failing tensor operation.
pub(super) fn add(
    graph: &mut Graph,
    layers: &Layers,
    image: &Edge,
    [height, width]: [usize; 2],
    batch: Option<usize>,
    is_tapped: impl Fn(&str) -> bool,
) -> Result<Vec<Map>, ModelError> {
    let (patch, channels) = (layers.net.patch, layers.net.width);
    let (rows, columns) = (height / patch, width / patch);
    let patches = rows * columns;
    // The embedding is a convolution whose stride is its kernel; its bias and the positions are one constant.
    let side = patch as i64;
    let weight = graph.floats(&numbers(layers.patch_embedding.weight())?, &[channels, 3, patch, patch]);
    let embedded = graph.node(
        "Conv",
        &[image, &weight],
        &[("kernel_shape", Attribute::Ints(&[side; 2])), ("strides", Attribute::Ints(&[side; 2]))],
    );
    let embedded = graph.reshape(&embedded, &[channels, patches]);
    let embedded = graph.transpose(&embedded, &[0, 2, 1]);
    let positions = layers.positions_of(rows, columns)?;
    let positions = match layers.patch_embedding.bias() {
        Some(bias) => positions.broadcast_add(bias)?,
        None => positions,
    };
    let positions = graph.floats(&numbers(&positions)?, &[1, patches, channels]);
    let tokens = graph.node("Add", &[&embedded, &positions], &[]);
    let class = (&layers.class_token + &layers.class_position)?;
    let class = graph.floats(&numbers(&class)?, &[1, 1, channels]);
    let class = match batch {
        Some(1) => class,
        _ => {
            let images =
                graph.node("Shape", &[image], &[("start", Attribute::Int(0)), ("end", Attribute::Int(1))]);
            let rest = graph.integers(&[1, channels as i64]);
            let shape = graph.node("Concat", &[&images, &rest], &[("axis", Attribute::Int(0))]);
            graph.node("Expand", &[&class, &shape], &[])
        }
    };
    let mut x = graph.node("Concat", &[&class, &tokens], &[("axis", Attribute::Int(1))]);
    let mut taps = Vec::new();
    for (index, block) in layers.blocks.iter().enumerate() {
        x = add_block(graph, block, &x, [patches + 1, channels], layers.net.heads)?;
        if is_tapped(&format!("blocks.{index}")) {
            let [start, end, axis] = [1, patches as i64 + 1, 1].map(|v| graph.integers(&[v]));
            let tokens = graph.node("Slice", &[&x, &start, &end, &axis], &[]);
            let tokens = norm(graph, &layers.norm, &tokens)?;
            let planes = graph.transpose(&tokens, &[0, 2, 1]);
            let edge = graph.reshape(&planes, &[channels, rows, columns]);
            taps.push(Map { edge, channels, height: rows, width: columns });
        }
    }
    Ok(taps)
}

/// (N, tokens, width) -> the same.
fn add_block(
    graph: &mut Graph,
    block: &Block,
    x: &Edge,
    [tokens, width]: [usize; 2],
    heads: usize,
) -> Result<Edge, ModelError> {
    let normed = norm(graph, &block.norm1, x)?;
    let qkv = linear(graph, &block.qkv, &normed)?;
    let depth = width / heads;
    let parts = graph.split(&qkv, 2, &[width; 3]);
    let part = |graph: &mut Graph, index: usize, order: &[i64]| {
        let part = graph.reshape(&parts[index], &[tokens, heads, depth]);
        graph.transpose(&part, order)
    };
    let query = part(graph, 0, &[0, 2, 1, 3]);
    let key = part(graph, 1, &[0, 2, 3, 1]);
    let value = part(graph, 2, &[0, 2, 1, 3]);
    let scale = graph.number((depth as f64).sqrt().recip() as f32);
    let query = graph.node("Mul", &[&query, &scale], &[]);
    let products = graph.node("MatMul", &[&query, &key], &[]);
    let weights = graph.node("Softmax", &[&products], &[("axis", Attribute::Int(3))]);
    let mixed = graph.node("MatMul", &[&weights, &value], &[]);
    let mixed = graph.transpose(&mixed, &[0, 2, 1, 3]);
    let mixed = graph.reshape(&mixed, &[tokens, width]);
    let attention = linear(graph, &block.project, &mixed)?;
    let x = graph.node("Add", &[x, &attention], &[]);

    let normed = norm(graph, &block.norm2, &x)?;
    let hidden = linear(graph, &block.first, &normed)?;
    let hidden = gelu(graph, &hidden);
    let second = linear(graph, &block.second, &hidden)?;
    Ok(graph.node("Add", &[&x, &second], &[]))
}

/// x · (1 + erf(x / √2)) / 2; the operator of its own came with a later version.
fn gelu(graph: &mut Graph, x: &Edge) -> Edge {
    let (root, one, half) = (graph.number(std::f32::consts::SQRT_2), graph.number(1.0), graph.number(0.5));
    let scaled = graph.node("Div", &[x, &root], &[]);
    let erf = graph.node("Erf", &[&scaled], &[]);
    let shifted = graph.node("Add", &[&erf, &one], &[]);
    let product = graph.node("Mul", &[x, &shifted], &[]);
    graph.node("Mul", &[&product, &half], &[])
}

fn norm(graph: &mut Graph, layer: &LayerNorm, x: &Edge) -> Result<Edge, ModelError> {
    let weight = numbers(layer.weight())?;
    let bias = layer.bias().map_or_else(|| Ok(vec![0.0; weight.len()]), numbers)?;
    let (weight, bias) = (graph.floats(&weight, &[weight.len()]), graph.floats(&bias, &[bias.len()]));
    let settings = [("axis", Attribute::Int(2)), ("epsilon", Attribute::Float(layer.eps() as f32))];
    Ok(graph.node("LayerNormalization", &[x, &weight, &bias], &settings))
}

fn linear(graph: &mut Graph, layer: &Linear, x: &Edge) -> Result<Edge, ModelError> {
    let weight = numbers(layer.weight())?;
    let outputs = layer.weight().dim(0)?;
    let bias = layer.bias().map_or_else(|| Ok(vec![0.0; outputs]), numbers)?;
    Ok(graph.linear(x, &weight, &bias))
}

fn numbers(tensor: &Tensor) -> Result<Vec<f32>, ModelError> {
    Ok(tensor.to_device(&Device::Cpu)?.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?)
}
