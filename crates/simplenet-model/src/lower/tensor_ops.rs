//! The operations of transformers on candle's tensors, for the lowerings that have no kernels of their own for them. In and out:
//! batches (B, h, w, C), a position's channels consecutive; the tokens of an image are (1, T). Computed in f32 whatever the type,
//! and given back in the type that came in. Every image is computed by itself: results do not depend on the batch.

use candle_core::{D, DType, Result, Tensor};
use candle_nn::ops::{layer_norm as candle_layer_norm, softmax_last_dim};

/// Layer norm over the channels; `weight` and `bias` are (C) f32.
pub(super) fn layer_norm(x: &Tensor, weight: &Tensor, bias: &Tensor, epsilon: f64) -> Result<Tensor> {
    in_f32(x, |x| candle_layer_norm(&x.contiguous()?, weight, bias, epsilon as f32))
}

/// x · (1 + erf(x / √2)) / 2.
pub(super) fn gelu(x: &Tensor) -> Result<Tensor> {
    in_f32(x, Tensor::gelu_erf)
}

/// Patch embeddings (B, h, w, C) -> tokens (B, 1, 1 + h · w, C); `class` is (1, C), `positions` (h · w, C).
pub(super) fn tokens(x: &Tensor, class: &Tensor, positions: &Tensor) -> Result<Tensor> {
    in_f32(x, |x| {
        let (batch, height, width, channels) = x.dims4()?;
        let patches = x.reshape((batch, height * width, channels))?.broadcast_add(positions)?;
        let class = class.reshape((1, 1, channels))?.broadcast_as((batch, 1, channels))?.contiguous()?;
        Tensor::cat(&[&class, &patches], 1)?.unsqueeze(1)
    })
}

/// Tokens (B, 1, 1 + h · w, C) -> the patches' (B, h, w, C).
pub(super) fn patches(x: &Tensor, [height, width]: [usize; 2]) -> Result<Tensor> {
    let (batch, _, _, channels) = x.dims4()?;
    x.narrow(2, 1, height * width)?.contiguous()?.reshape((batch, height, width, channels))
}

/// Multi-head attention: (B, 1, T, 3 · C), queries, keys and values side by side -> (B, 1, T, C).
pub(super) fn attention(x: &Tensor, heads: usize) -> Result<Tensor> {
    in_f32(x, |x| {
        let (batch, _, tokens, width) = x.dims4()?;
        let (width, depth) = (width / 3, width / 3 / heads);
        let one = |image: usize| -> Result<Tensor> {
            let qkv = x.get(image)?.reshape((tokens, 3, heads, depth))?.permute((1, 2, 0, 3))?;
            let part = |index: usize| qkv.get(index)?.contiguous();
            let query = (part(0)? * (depth as f64).sqrt().recip())?;
            let weights =
                softmax_last_dim(&query.matmul(&part(1)?.transpose(D::Minus1, D::Minus2)?.contiguous()?)?)?;
            weights.matmul(&part(2)?)?.transpose(0, 1)?.contiguous()?.reshape((1, tokens, width))
        };
        Tensor::stack(&(0..batch).map(one).collect::<Result<Vec<_>>>()?, 0)
    })
}

fn in_f32(x: &Tensor, run: impl FnOnce(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
    run(&x.to_dtype(DType::F32)?)?.to_dtype(x.dtype())
}
