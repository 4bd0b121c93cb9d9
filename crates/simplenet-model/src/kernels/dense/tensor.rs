//! Dense layers over batches of channels-last tensors, on either device.

use candle_core::{CpuStorage, DType, Device, Result, Shape, Tensor, backend::BackendStorage, bail};
use rayon::prelude::*;

use super::{Clamp, ConvGeometry, reference};
use crate::kernels::tensor_op::{
    CHANNELS_TOGETHER, CpuInput, check_channels_last, custom_op, decoded, encoded,
};

/// The op's name, in errors too.
const NAME: &str = "dense-channels-last";

/// A dense layer with its weights on a device.
#[derive(Debug, Clone)]
pub(crate) struct DenseTensor {
    geometry: ConvGeometry,
    depth: usize,
    pixel: usize,
    clamp: Clamp,
    /// (outputs, taps · depth), in the type that the layer computes in.
    weight: Tensor,
    /// (outputs), f32.
    bias: Tensor,
    /// What results are kept in.
    out: DType,
}

/// What a [`DenseTensor`] reads and gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reads {
    /// Consecutive numbers that are read from each tap's pixel on; a multiple of 8.
    pub depth: usize,
    /// Numbers from one pixel to the next; `depth` for an ordinary convolution, fewer where a tap stands for a row of the
    /// kernel. Every tap begins at a multiple of 16 bytes.
    pub pixel: usize,
    /// f32 or f16: inputs and weights.
    pub dtype: DType,
    /// f32 or f16: results; f16 from f16 only.
    pub out: DType,
}

impl DenseTensor {
    /// `weight(tap, number, output)`; a bias for each output, a multiple of 8 of them.
    ///
    /// # Errors
    /// Sizes that are no multiples of 8; another type; a device that is out of memory.
    pub(crate) fn new(
        geometry: ConvGeometry,
        reads: Reads,
        bias: &[f32],
        clamp: Clamp,
        weight: impl Fn(usize, usize, usize) -> f32 + Sync,
        device: &Device,
    ) -> Result<Self> {
        let Reads { depth, pixel, dtype, out } = reads;
        let outputs = bias.len();
        if [depth, outputs].iter().any(|n| *n == 0 || !n.is_multiple_of(CHANNELS_TOGETHER)) {
            bail!(
                "a dense layer reads and gives multiples of {CHANNELS_TOGETHER} numbers, not {depth} and {outputs}"
            );
        }
        if !matches!((dtype, out), (DType::F32, DType::F32) | (DType::F16, DType::F32 | DType::F16)) {
            bail!("a dense layer computes f32 of f32, and f16 or f32 of f16, not {out:?} of {dtype:?}");
        }
        let taps = geometry.kernel[0] * geometry.kernel[1];
        let k = taps * depth;
        let mut matrix = vec![0.0f32; outputs * k];
        matrix.par_chunks_mut(k).enumerate().for_each(|(output, row)| {
            for (i, value) in row.iter_mut().enumerate() {
                *value = weight(i / depth, i % depth, output);
            }
        });
        Ok(Self {
            geometry,
            depth,
            pixel,
            clamp,
            weight: Tensor::from_vec(matrix, (outputs, k), &Device::Cpu)?
                .to_dtype(dtype)?
                .to_device(device)?,
            bias: Tensor::from_slice(bias, outputs, device)?,
            out,
        })
    }

    /// (B, H, W, pixel) -> (B, h, w, outputs); `residual`, of the result's shape and type, is added before the clamp.
    ///
    /// # Errors
    /// Other shapes or types; a device that is out of memory.
    pub(crate) fn forward(&self, x: &Tensor, residual: Option<&Tensor>) -> Result<Tensor> {
        let x = x.contiguous()?;
        match residual {
            None => x.apply_op1_no_bwd(self),
            Some(residual) => x.apply_op2_no_bwd(&residual.contiguous()?, self),
        }
    }

    /// Checks the input; gives the result's shape.
    fn shape(&self, dtype: DType, dims: &[usize]) -> Result<Shape> {
        let [height, width] = self.geometry.input;
        let (&[b, h, w, pixel], true) = (dims, dtype == self.weight.dtype()) else {
            bail!("a dense layer takes (B, H, W, C) of {:?}, not {dims:?} of {dtype:?}", self.weight.dtype());
        };
        if b == 0 || [h, w, pixel] != [height, width, self.pixel] {
            bail!("a dense layer for (B, {height}, {width}, {}) was given {dims:?}", self.pixel);
        }
        let [h, w] = self.geometry.output;
        Ok(Shape::from((b, h, w, self.bias.elem_count())))
    }

    fn check_residual(&self, dtype: DType, dims: &[usize], shape: &Shape) -> Result<()> {
        check_channels_last("a residual", dtype, dims)?;
        if dims == shape.dims() && dtype == self.out {
            Ok(())
        } else {
            bail!("a residual of {dims:?} {dtype:?} is added to {shape:?} {:?}", self.out)
        }
    }

    /// The reference on every image.
    fn on_cpu(&self, x: &[f32], residual: Option<&[f32]>, shape: Shape) -> Result<(CpuStorage, Shape)> {
        let (outputs, k) = self.weight.dims2()?;
        let weight = self.weight.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
        let bias = self.bias.to_vec1::<f32>()?;
        let ConvGeometry { input: [height, width], .. } = self.geometry;
        let one_out = self.geometry.pixels() * outputs;
        let image = |(index, x): (usize, &[f32])| {
            let residual = residual.map(|residual| &residual[index * one_out..][..one_out]);
            let weight = |tap: usize, c: usize, o: usize| weight[o * k + tap * self.depth + c];
            reference::dense(&self.geometry, self.depth, self.pixel, &bias, self.clamp, weight, x, residual)
        };
        let images = x.par_chunks(height * width * self.pixel).enumerate();
        Ok((encoded(images.flat_map_iter(image).collect(), self.out)?, shape))
    }

    #[cfg(feature = "cuda")]
    fn on_cuda(
        &self,
        x: crate::kernels::tensor_op::CudaInput<'_>,
        residual: Option<crate::kernels::tensor_op::CudaInput<'_>>,
        shape: Shape,
    ) -> Result<(candle_core::CudaStorage, Shape)> {
        use super::cuda::{End, Operands, Tile, store, tiles};
        use crate::kernels::cuda;
        for (what, len) in
            [("a dense layer's input", x.1.shape().elem_count()), ("its result", shape.elem_count())]
        {
            cuda::check_len(what, len)?;
        }
        let sizes = self.sizes(shape.dims()[0]);
        let processors = cuda::processors(x.0.device())?;
        let tiles = tiles(self.weight.dtype(), self.out, End::Store);
        let Some(tile) = Tile::best(&tiles, sizes.rows(), sizes.outputs, processors) else {
            bail!("there is no dense kernel of {:?}", self.weight.dtype());
        };
        let (out, to) = cuda::output_like(x.0, self.out, shape.elem_count())?;
        let operands = Operands {
            x: cuda::address(x.0, x.1)?,
            weight: cuda::address_of(&self.weight)?,
            bias: cuda::address_of(&self.bias)?,
        };
        let residual = residual.map_or(Ok(0), |(storage, layout)| cuda::address(storage, layout))?;
        let launch = store(&sizes, &tile, self.clamp, operands, residual, to);
        // SAFETY: shapes were checked against those of the layer; `out` has the shape's numbers.
        unsafe { cuda::run(x.0.device(), &[launch])? };
        Ok((out, shape))
    }

    #[cfg(any(test, feature = "cuda"))]
    pub(super) fn sizes(&self, batch: usize) -> super::cuda::Sizes {
        let Self { geometry, depth, pixel, .. } = *self;
        super::cuda::Sizes { geometry, batch, depth, pixel, outputs: self.bias.elem_count() }
    }

    /// Weight and bias.
    #[cfg(test)]
    pub(super) fn tensors(&self) -> [&Tensor; 2] {
        [&self.weight, &self.bias]
    }
}

custom_op!(CustomOp1 for DenseTensor, NAME, x x_layout);
custom_op!(CustomOp2 for DenseTensor, NAME, x x_layout, residual residual_layout);

impl DenseTensor {
    /// Of the input, and of the residual where there is one.
    fn cpu<const N: usize>(&self, inputs: [CpuInput<'_>; N]) -> Result<(CpuStorage, Shape)> {
        let shape = self.check(inputs.map(|(storage, layout)| (storage.dtype(), layout.dims())))?;
        let residual = inputs.get(1).map(|(storage, layout)| decoded(storage, layout)).transpose()?;
        self.on_cpu(&decoded(inputs[0].0, inputs[0].1)?, residual.as_deref(), shape)
    }

    #[cfg(feature = "cuda")]
    fn cuda<const N: usize>(
        &self,
        inputs: [crate::kernels::tensor_op::CudaInput<'_>; N],
    ) -> Result<(candle_core::CudaStorage, Shape)> {
        let shape = self.check(inputs.map(|(storage, layout)| (storage.dtype(), layout.dims())))?;
        self.on_cuda(inputs[0], inputs.get(1).copied(), shape)
    }

    /// Checks the input, and the residual where there is one; gives the output's shape.
    fn check<const N: usize>(&self, inputs: [(DType, &[usize]); N]) -> Result<Shape> {
        let shape = self.shape(inputs[0].0, inputs[0].1)?;
        if let Some(&(dtype, dims)) = inputs.get(1) {
            self.check_residual(dtype, dims, &shape)?;
        }
        Ok(shape)
    }
}
