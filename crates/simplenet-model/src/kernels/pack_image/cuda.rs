//! The launch of `pack_image.cu`.

use candle_core::DType;

use super::{PackImage, tensor::Form};
use crate::kernels::cuda::{Argument, Launch, blocks, u32_of};

const THREADS: u32 = 256;

/// `x` is a batch of images of these sides, `out` (B, padded height, padded width, 4).
pub(super) fn launch(
    pack: &PackImage,
    form: Form,
    [batch, height, width]: [usize; 3],
    x: u64,
    out: u64,
) -> Launch {
    let PackImage { before, padded, dtype } = *pack;
    let pixels = batch * padded[0] * padded[1];
    let mut arguments = vec![Argument::Address(x), Argument::Address(out)];
    arguments.extend([pixels, height, width, before[0], before[1], padded[0], padded[1]].map(u32_of));
    if let Form::Rgb(normalisation) = form {
        arguments.extend(normalisation.mean.into_iter().chain(normalisation.std).map(Argument::F32));
    }
    Launch {
        op: "pack_image",
        kernel: match (form, dtype) {
            (Form::Rgb(_), DType::F16) => "pack_rgb_f16",
            (Form::Rgb(_), _) => "pack_rgb_f32",
            (Form::Planes, DType::F16) => "pack_planes_f16",
            (Form::Planes, _) => "pack_planes_f32",
        },
        grid: [blocks(pixels, THREADS), 1, 1],
        threads: THREADS,
        shared_bytes: 0,
        arguments,
    }
}
