//! The op over batches of tensors, on either device.

use candle_core::{CpuStorage, DType, Device, Result, Shape, Tensor, backend::BackendStorage, bail};

#[cfg(any(test, feature = "cuda"))]
use super::cuda::Tables;
use super::reference;
use crate::{
    kernels::tensor_op::{CpuInput, custom_op, decoded},
    position_energy::PositionEnergy,
};

/// The op's name, in errors too.
const NAME: &str = "position-energy";

/// The statistics, ready on a device.
#[derive(Debug, Clone)]
pub(crate) struct PositionEnergyTensor {
    statistics: PositionEnergy,
    #[cfg(any(test, feature = "cuda"))]
    pub(super) tables: Tables,
}

impl PositionEnergyTensor {
    /// Packs the statistics for a device: d(d + 32)/2 numbers a cell.
    ///
    /// # Errors
    /// Statistics that do not pass [`PositionEnergy::validate`]; a device that is out of memory.
    pub(crate) fn new(statistics: &PositionEnergy, device: &Device) -> Result<Self> {
        statistics.validate().map_err(candle_core::Error::wrap)?;
        #[cfg(not(any(test, feature = "cuda")))]
        let _ = device;
        Ok(Self {
            statistics: statistics.clone(),
            #[cfg(any(test, feature = "cuda"))]
            tables: Tables::new(statistics, device)?,
        })
    }

    /// Projected features (B, h, w, d) f32, before the mean is taken off, and the discriminator's scores (B, h, w) f32 ->
    /// joined scores (B, h, w) f32. Features may be wider than d: what lies beyond is not read. Images of fewer patches than
    /// the statistics know are taken for their upper left part.
    ///
    /// # Errors
    /// Other shapes or types; more patches a side than the statistics know; a device that is out of memory.
    pub(crate) fn forward(&self, features: &Tensor, scores: &Tensor) -> Result<Tensor> {
        features.contiguous()?.apply_op2_no_bwd(&scores.contiguous()?, self)
    }

    /// Checks both tensors; gives (B, h, w, stride).
    fn check(&self, features: (DType, &[usize]), scores: (DType, &[usize])) -> Result<[usize; 4]> {
        let dim = self.statistics.config.dim;
        let (&[b, h, w, stride], true) = (features.1, features.0 == DType::F32) else {
            bail!("position energies take (B, h, w, {dim}) F32, not {:?} {:?}", features.1, features.0);
        };
        if [b, h, w].contains(&0) || stride < dim {
            bail!("position energies of width {dim} were given features of {:?}", features.1);
        }
        if scores != (DType::F32, &[b, h, w][..]) {
            bail!("position energies of {:?} join scores of that shape in F32, not {scores:?}", [b, h, w]);
        }
        self.statistics.check_grid(h, w).map_err(candle_core::Error::wrap)?;
        Ok([b, h, w, stride])
    }
}

custom_op!(CustomOp2 for PositionEnergyTensor, NAME, x x_layout, y y_layout);

impl PositionEnergyTensor {
    fn cpu(
        &self,
        [(features, features_layout), (scores, scores_layout)]: [CpuInput<'_>; 2],
    ) -> Result<(CpuStorage, Shape)> {
        let [b, h, w, stride] =
            self.check((features.dtype(), features_layout.dims()), (scores.dtype(), scores_layout.dims()))?;
        let (features, scores) = (decoded(features, features_layout)?, decoded(scores, scores_layout)?);
        let images = features.chunks_exact(h * w * stride).zip(scores.chunks_exact(h * w));
        let joined = images.flat_map(|(x, scores)| reference::join(&self.statistics, w, stride, x, scores));
        Ok((CpuStorage::F32(joined.collect()), Shape::from((b, h, w))))
    }

    #[cfg(feature = "cuda")]
    fn cuda(
        &self,
        [(features, features_layout), (scores, scores_layout)]: [crate::kernels::tensor_op::CudaInput<'_>; 2],
    ) -> Result<(candle_core::CudaStorage, Shape)> {
        use super::cuda::{Sizes, launch};
        use crate::kernels::cuda;
        let [batch, height, width, stride] =
            self.check((features.dtype(), features_layout.dims()), (scores.dtype(), scores_layout.dims()))?;
        cuda::check_len(NAME, features_layout.shape().elem_count())?;
        let shape = Shape::from((batch, height, width));
        let tables = [cuda::address_of(&self.tables.means)?, cuda::address_of(&self.tables.whitening)?];
        let inputs = [cuda::address(features, features_layout)?, cuda::address(scores, scores_layout)?];
        let (out, to) = cuda::output_like(features, DType::F32, shape.elem_count())?;
        let sizes = Sizes { batch, height, width, stride };
        let launch = launch(&self.statistics.config, self.statistics.weights, &sizes, tables, inputs, to);
        // SAFETY: `check` has compared both inputs with the statistics; `out` has a number for each score.
        unsafe { cuda::run(features.device(), &[launch])? };
        Ok((out, shape))
    }
}
