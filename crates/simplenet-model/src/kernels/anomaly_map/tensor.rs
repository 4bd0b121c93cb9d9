//! The op over batches of patch scores, on either device.

use candle_core::{CpuStorage, DType, Device, Result, Shape, Tensor, bail};

use super::AnomalyMapConfig;
use super::AnomalyMapPlan;
#[cfg(any(test, feature = "cuda"))]
use super::cuda::Tables;
use crate::kernels::tensor_op::{CpuInput, custom_op, decoded};

/// The op's name, in errors too.
const NAME: &str = "anomaly-map";

/// Anomaly maps of one size from patch scores of one size, with the tables on a device.
#[derive(Debug, Clone)]
pub(crate) struct AnomalyMapTensor {
    plan: AnomalyMapPlan,
    from: [usize; 2],
    to: [usize; 2],
    /// Of the rows and of the columns.
    #[cfg(any(test, feature = "cuda"))]
    pub(super) tables: [Tables; 2],
}

impl AnomalyMapTensor {
    /// For scores of `height` x `width` patches and maps of `out_height` x `out_width` pixels.
    ///
    /// # Errors
    /// Sizes of zero, a configuration that cannot work, a device that is out of memory.
    pub(crate) fn new(
        height: usize,
        width: usize,
        out_height: usize,
        out_width: usize,
        config: &AnomalyMapConfig,
        device: &Device,
    ) -> Result<Self> {
        config.validate().map_err(candle_core::Error::wrap)?;
        let (from, to) = ([height, width], [out_height, out_width]);
        if from.contains(&0) || to.contains(&0) {
            bail!("an anomaly map of {to:?} pixels from {from:?} patches; both must have some");
        }
        let plan = AnomalyMapPlan::new(from, to, config);
        #[cfg(not(any(test, feature = "cuda")))]
        let _ = device;
        Ok(Self {
            #[cfg(any(test, feature = "cuda"))]
            tables: [Tables::new(&plan.rows, device)?, Tables::new(&plan.columns, device)?],
            plan,
            from,
            to,
        })
    }

    /// (B, h, w) f32 -> (B, H, W) f32.
    ///
    /// # Errors
    /// Another shape or type; a device that is out of memory.
    pub(crate) fn forward(&self, scores: &Tensor) -> Result<Tensor> {
        scores.contiguous()?.apply_op1_no_bwd(self)
    }

    /// Checks the scores; gives the maps' shape.
    fn shape(&self, dtype: DType, dims: &[usize]) -> Result<Shape> {
        let ([height, width], [out_height, out_width]) = (self.from, self.to);
        match *dims {
            [batch, h, w] if batch > 0 && [h, w] == self.from && dtype == DType::F32 => {
                Ok(Shape::from((batch, out_height, out_width)))
            }
            _ => bail!("anomaly maps of (B, {height}, {width}) F32 scores were given {dims:?} {dtype:?}"),
        }
    }
}

custom_op!(CustomOp1 for AnomalyMapTensor, NAME, x x_layout);

impl AnomalyMapTensor {
    fn cpu(&self, [(storage, layout)]: [CpuInput<'_>; 1]) -> Result<(CpuStorage, Shape)> {
        let shape = self.shape(candle_core::backend::BackendStorage::dtype(storage), layout.dims())?;
        let scores = decoded(storage, layout)?;
        let images = scores.chunks_exact(self.from[0] * self.from[1]);
        let maps = images.flat_map(|scores| super::anomaly_map(&self.plan, scores)).collect();
        Ok((CpuStorage::F32(maps), shape))
    }

    #[cfg(feature = "cuda")]
    fn cuda(
        &self,
        [(storage, layout)]: [crate::kernels::tensor_op::CudaInput<'_>; 1],
    ) -> Result<(candle_core::CudaStorage, Shape)> {
        use crate::kernels::cuda;
        use candle_core::backend::BackendStorage;
        let shape = self.shape(storage.dtype(), layout.dims())?;
        cuda::check_len(NAME, shape.elem_count())?;
        let [rows, columns] = &self.tables;
        let tables = [
            cuda::address_of(&rows.bands)?,
            cuda::address_of(&rows.weights)?,
            cuda::address_of(&columns.bands)?,
            cuda::address_of(&columns.weights)?,
        ];
        let (out, to) = cuda::output_like(storage, DType::F32, shape.elem_count())?;
        let scores = cuda::address(storage, layout)?;
        let launch = super::cuda::launch(shape.dims()[0], self.from, self.to, tables, scores, to);
        // SAFETY: scores and tables are of the sizes that the launch is for; `out` has the shape's numbers.
        unsafe { cuda::run(storage.device(), &[launch])? };
        Ok((out, shape))
    }
}
