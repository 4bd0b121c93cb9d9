//! The official chain step by step, in candle's own operations: slow, obvious, for any device. The kernel is compared
//! with it.

use candle_core::{Result, Tensor};

use super::plan::pool_window;

/// (B, C, h, w) maps of one type, the first one's grid deciding -> (B, h, w, target_dim).
///
/// # Errors
/// Maps of different batch sizes, an empty list, a device that is out of memory.
pub(crate) fn aggregate(
    maps: &[Tensor],
    patch_size: usize,
    pretrain_dims: &[usize],
    target_dim: usize,
) -> Result<Tensor> {
    let (batch, _, h, w) = maps.first().ok_or_else(|| candle_core::Error::msg("no feature map"))?.dims4()?;
    let mut pooled = Vec::with_capacity(maps.len());
    for (map, &pretrain_dim) in maps.iter().zip(pretrain_dims) {
        let patches = unfold(map, patch_size)?;
        let (_, _, own_h, own_w) = patches.dims4()?;
        let patches =
            if (own_h, own_w) == (h, w) { patches } else { patches.upsample_bilinear2d(h, w, false)? };
        let rows = patches.permute((0, 2, 3, 1))?.reshape((batch * h * w, ()))?;
        pooled.push(adaptive_average_pool(&rows, pretrain_dim)?);
    }
    let stacked = Tensor::cat(&pooled, 1)?;
    adaptive_average_pool(&stacked, target_dim)?.reshape((batch, h, w, target_dim))
}

/// (B, C, H, W) -> (B, C·k·k, H, W): each pixel's k×k neighbourhood in (channel, ky, kx) order, zeros outside.
fn unfold(map: &Tensor, patch_size: usize) -> Result<Tensor> {
    let (batch, channels, h, w) = map.dims4()?;
    let padding = patch_size / 2;
    let padded = map.pad_with_zeros(2, padding, padding)?.pad_with_zeros(3, padding, padding)?;
    let mut shifted = Vec::with_capacity(patch_size * patch_size);
    for ky in 0..patch_size {
        for kx in 0..patch_size {
            shifted.push(padded.narrow(2, ky, h)?.narrow(3, kx, w)?);
        }
    }
    Tensor::stack(&shifted, 2)?.reshape((batch, channels * patch_size * patch_size, h, w))
}

/// (N, L) -> (N, D): PyTorch's `adaptive_avg_pool1d`.
fn adaptive_average_pool(rows: &Tensor, dim: usize) -> Result<Tensor> {
    let (n, length) = rows.dims2()?;
    if length.is_multiple_of(dim) {
        return rows.reshape((n, dim, length / dim))?.mean(2);
    }
    let mut means = Vec::with_capacity(dim);
    for i in 0..dim {
        let window = pool_window(i, length, dim);
        means.push(rows.narrow(1, window.start, window.len())?.mean_keepdim(1)?);
    }
    Tensor::cat(&means, 1)
}
