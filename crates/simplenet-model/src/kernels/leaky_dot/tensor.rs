//! The whole end of the head over batches of features, on either device: the folded hidden layer and the tail, without the
//! hidden layer's way through memory.

use candle_core::{CpuStorage, DType, Device, Result, Shape, Tensor, bail};

use crate::kernels::tensor_op::{CHANNELS_TOGETHER, CpuInput, custom_op, decoded};

/// ```text
/// score = Σ over h of tail[h] · LeakyReLU(Σ over d of weight[h, d] · feature[d] + bias[h])
/// ```
#[derive(Debug, Clone)]
pub(crate) struct ScoreHead {
    /// (H, D), in the type of the features.
    weight: Tensor,
    /// (H) f32 each.
    bias: Tensor,
    tail: Tensor,
    slope: f32,
}

impl ScoreHead {
    /// `weight` (H, D), row by row; `bias` and `tail` (H). H and D are multiples of 8.
    ///
    /// # Errors
    /// Other sizes; another type than f32 or f16; a device that is out of memory.
    pub(crate) fn new(
        weight: &[f32],
        bias: &[f32],
        tail: &[f32],
        slope: f32,
        dtype: DType,
        device: &Device,
    ) -> Result<Self> {
        let hidden = bias.len();
        let dim = weight.len() / hidden.max(1);
        if hidden == 0 || dim == 0 || weight.len() != hidden * dim || tail.len() != hidden {
            bail!("a head of {} weights, {hidden} biases and a tail of {}", weight.len(), tail.len());
        }
        if [hidden, dim].iter().any(|n| !n.is_multiple_of(CHANNELS_TOGETHER)) {
            bail!(
                "a head takes multiples of {CHANNELS_TOGETHER}: features of {dim}, hidden layer of {hidden}"
            );
        }
        if !matches!(dtype, DType::F32 | DType::F16) {
            bail!("a head computes in f32 or f16, not {dtype:?}");
        }
        Ok(Self {
            weight: Tensor::from_slice(weight, (hidden, dim), &Device::Cpu)?
                .to_dtype(dtype)?
                .to_device(device)?,
            bias: Tensor::from_slice(bias, hidden, device)?,
            tail: Tensor::from_slice(tail, hidden, device)?,
            slope,
        })
    }

    /// (…, D) of the head's type -> (…) f32.
    ///
    /// # Errors
    /// Another width or type; a device that is out of memory.
    pub(crate) fn forward(&self, features: &Tensor) -> Result<Tensor> {
        features.contiguous()?.apply_op1_no_bwd(self)
    }

    fn shape(&self, dtype: DType, dims: &[usize]) -> Result<Shape> {
        let (_, dim) = self.weight.dims2()?;
        match dims.split_last() {
            Some((&width, rows)) if width == dim && dtype == self.weight.dtype() && !rows.contains(&0) => {
                Ok(Shape::from(rows))
            }
            _ => bail!(
                "a head for features (…, {dim}) of {:?} was given {dims:?} of {dtype:?}",
                self.weight.dtype()
            ),
        }
    }

    #[cfg(any(test, feature = "cuda"))]
    pub(crate) fn sizes(&self, rows: usize) -> Result<crate::kernels::dense::cuda::Sizes> {
        use crate::kernels::dense::{ConvGeometry, cuda::Sizes};
        let (outputs, dim) = self.weight.dims2()?;
        Ok(Sizes { geometry: ConvGeometry::rows(rows), batch: 1, depth: dim, pixel: dim, outputs })
    }

    /// Weight, bias and tail.
    #[cfg(test)]
    pub(crate) fn tensors(&self) -> [&Tensor; 3] {
        [&self.weight, &self.bias, &self.tail]
    }
}

custom_op!(CustomOp1 for ScoreHead, "score-head", x x_layout);

impl ScoreHead {
    fn cpu(&self, [(features, layout)]: [CpuInput<'_>; 1]) -> Result<(CpuStorage, Shape)> {
        use rayon::prelude::*;
        let shape = self.shape(candle_core::backend::BackendStorage::dtype(features), layout.dims())?;
        let (_, dim) = self.weight.dims2()?;
        let features = decoded(features, layout)?;
        let weight = self.weight.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
        let (bias, tail) = (self.bias.to_vec1::<f32>()?, self.tail.to_vec1::<f32>()?);
        let score = |feature: &[f32]| {
            let hidden = weight.chunks_exact(dim).zip(&bias).map(|(row, &bias)| {
                let sum: f64 = row.iter().zip(feature).map(|(w, v)| f64::from(*w) * f64::from(*v)).sum();
                let value = sum + f64::from(bias);
                if value > 0.0 { value } else { value * f64::from(self.slope) }
            });
            hidden.zip(&tail).map(|(value, &tail)| value * f64::from(tail)).sum::<f64>() as f32
        };
        Ok((CpuStorage::F32(features.par_chunks_exact(dim).map(score).collect()), shape))
    }

    #[cfg(feature = "cuda")]
    fn cuda(
        &self,
        [(features, layout)]: [crate::kernels::tensor_op::CudaInput<'_>; 1],
    ) -> Result<(candle_core::CudaStorage, Shape)> {
        use crate::kernels::{
            cuda,
            dense::cuda::{End, Operands, Tile, leaky_dot, tiles},
        };
        use candle_core::backend::BackendStorage;
        let dtype = features.dtype();
        let shape = self.shape(dtype, layout.dims())?;
        cuda::check_len("features", layout.shape().elem_count())?;
        let sizes = self.sizes(shape.elem_count())?;
        let processors = cuda::processors(features.device())?;
        let tiles = tiles(dtype, DType::F32, End::LeakyDot);
        let Some(tile) = Tile::best(&tiles, sizes.rows(), sizes.outputs, processors) else {
            bail!("there is no kernel for a head of {dtype:?}");
        };
        let (partial, parts) =
            cuda::output_like(features, DType::F32, sizes.rows() * tile.across(sizes.outputs))?;
        let (out, to) = cuda::output_like(features, DType::F32, shape.elem_count())?;
        let operands = Operands {
            x: cuda::address(features, layout)?,
            weight: cuda::address_of(&self.weight)?,
            bias: cuda::address_of(&self.bias)?,
        };
        let launches =
            leaky_dot(&sizes, &tile, self.slope, operands, cuda::address_of(&self.tail)?, parts, to);
        // SAFETY: shapes were checked; `partial` and `out` are as large as the launches say.
        unsafe { cuda::run(features.device(), &launches)? };
        drop(partial);
        Ok((out, shape))
    }
}
