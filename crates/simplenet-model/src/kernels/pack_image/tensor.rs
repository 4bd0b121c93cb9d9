//! The op over batches, on either device.

use candle_core::{CpuStorage, DType, Result, Shape, Tensor, bail};

use super::Normalisation;
use super::{CHANNELS, COLOURS, PackImage, reference};
use crate::kernels::tensor_op::{CpuInput, custom_op, decoded, encoded};

/// The op's name, in errors too.
const NAME: &str = "pack-image";

/// How the images lie.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Form {
    /// (B, H, W, 3) bytes, and how they become numbers.
    Rgb(Normalisation),
    /// (B, 3, H, W) f32, normalised.
    Planes,
}

struct Op {
    pack: PackImage,
    form: Form,
}

impl PackImage {
    /// (B, H, W, 3) u8, RGB -> (B, padded height, padded width, 4), normalised.
    ///
    /// # Errors
    /// Another shape or type; padded sides that have no room for the images; a map of another type than f32 and f16.
    pub(crate) fn forward_rgb(&self, images: &Tensor, normalisation: &Normalisation) -> Result<Tensor> {
        images.contiguous()?.apply_op1_no_bwd(&Op { pack: *self, form: Form::Rgb(*normalisation) })
    }

    /// (B, 3, H, W) f32, already normalised -> (B, padded height, padded width, 4).
    ///
    /// # Errors
    /// As [`PackImage::forward_rgb`].
    pub(crate) fn forward_planes(&self, images: &Tensor) -> Result<Tensor> {
        images.contiguous()?.apply_op1_no_bwd(&Op { pack: *self, form: Form::Planes })
    }
}

impl Op {
    /// Batch, height and width.
    fn check(&self, dtype: DType, dims: &[usize]) -> Result<[usize; 3]> {
        let PackImage { before, padded, .. } = self.pack;
        let (takes, found) = match (self.form, dims) {
            (Form::Rgb(_), &[b, h, w, COLOURS]) if dtype == DType::U8 => ("", Some([b, h, w])),
            (Form::Rgb(_), _) => ("(B, H, W, 3) u8", None),
            (Form::Planes, &[b, COLOURS, h, w]) if dtype == DType::F32 => ("", Some([b, h, w])),
            (Form::Planes, _) => ("(B, 3, H, W) f32", None),
        };
        let Some([b, h, w]) = found.filter(|sides| !sides.contains(&0)) else {
            bail!("{}: takes {takes} with B, H, W > 0, not {dims:?} {dtype:?}", NAME);
        };
        if before[0] + h > padded[0] || before[1] + w > padded[1] {
            bail!(
                "{}: images of {h}x{w} behind {before:?} rows and columns of zeros do not fit into {padded:?}",
                NAME
            );
        }
        Ok([b, h, w])
    }

    fn shape(&self, batch: usize) -> Shape {
        let [height, width] = self.pack.padded;
        Shape::from((batch, height, width, CHANNELS))
    }
}

custom_op!(CustomOp1 for Op, NAME, x x_layout);

impl Op {
    fn cpu(&self, [(storage, layout)]: [CpuInput<'_>; 1]) -> Result<(CpuStorage, Shape)> {
        let dtype = candle_core::backend::BackendStorage::dtype(storage);
        let [batch, height, width] = self.check(dtype, layout.dims())?;
        let PackImage { before, padded, .. } = self.pack;
        let (x, shape) = (decoded(storage, layout)?, self.shape(batch));
        let mut out = vec![0.0; shape.elem_count()];
        let one_out = out.len() / batch;
        for (x, out) in x.chunks_exact(COLOURS * height * width).zip(out.chunks_exact_mut(one_out)) {
            let value = |row: usize, column: usize, c: usize| match self.form {
                Form::Rgb(normalisation) => {
                    let byte = x[(row * width + column) * COLOURS + c];
                    reference::normalised(byte, normalisation.mean[c], normalisation.std[c])
                }
                Form::Planes => x[(c * height + row) * width + column],
            };
            reference::pack([height, width], before, padded, value, out);
        }
        Ok((encoded(out, self.pack.dtype)?, shape))
    }

    #[cfg(feature = "cuda")]
    fn cuda(
        &self,
        [(storage, layout)]: [crate::kernels::tensor_op::CudaInput<'_>; 1],
    ) -> Result<(candle_core::CudaStorage, Shape)> {
        use crate::kernels::cuda;
        use candle_core::backend::BackendStorage;
        let sides = self.check(storage.dtype(), layout.dims())?;
        if !matches!(self.pack.dtype, DType::F32 | DType::F16) {
            bail!("{}: gives f32 and f16, not {:?}", NAME, self.pack.dtype);
        }
        let shape = self.shape(sides[0]);
        cuda::check_len(NAME, shape.elem_count())?;
        let (out, to) = cuda::output_like(storage, self.pack.dtype, shape.elem_count())?;
        let launch = super::cuda::launch(&self.pack, self.form, sides, cuda::address(storage, layout)?, to);
        // SAFETY: `x` has the layout's numbers and `out` the shape's; `check` has compared both with the sides.
        unsafe { cuda::run(storage.device(), &[launch])? };
        Ok((out, shape))
    }
}
