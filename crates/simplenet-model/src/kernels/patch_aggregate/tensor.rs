//! The op over batches of channels-last maps, on either device.

use candle_core::{CpuStorage, DType, Device, Result, Shape, Storage, Tensor, backend::BackendStorage, bail};

#[cfg(any(test, feature = "cuda"))]
use super::cuda::{Order, Tables};
use super::{PatchAggregate, cpu};
use crate::kernels::tensor_op::{CpuInput, custom_op, decoded, encoded};

/// The op's name, in errors too.
const NAME: &str = "patch-aggregate-channels-last";

/// Layers that can be aggregated.
const MOST_LAYERS: usize = 4;

/// [`PatchAggregate`] for channels-last maps of given sides, with its tables on a device.
#[derive(Debug, Clone)]
pub(crate) struct PatchAggregateTensor {
    op: PatchAggregate,
    /// Height and width of each map.
    grids: Vec<[usize; 2]>,
    dtype: DType,
    #[cfg(any(test, feature = "cuda"))]
    pub(super) tables: Tables,
}

/// One run: candle's ops take three tensors at most, so all but the first map come along.
struct Run<'a> {
    op: &'a PatchAggregateTensor,
    others: &'a [Tensor],
}

impl PatchAggregateTensor {
    /// For maps of these sides, one to four, the first one's deciding, all f32 or all f16.
    ///
    /// # Errors
    /// Another number of sides than layers; empty maps, or larger ones than a kernel counts; another type; a device that is
    /// out of memory.
    pub(crate) fn new(
        op: &PatchAggregate,
        grids: &[[usize; 2]],
        dtype: DType,
        device: &Device,
    ) -> Result<Self> {
        let layers = op.plan.layers.len();
        if grids.len() != layers || layers > MOST_LAYERS || grids.iter().any(|grid| grid.contains(&0)) {
            bail!("patch aggregation of {layers} layers, {MOST_LAYERS} at most, got maps of {grids:?}");
        }
        if !matches!(dtype, DType::F32 | DType::F16) {
            bail!("patch aggregation takes f32 or f16, not {dtype:?}");
        }
        #[cfg(not(any(test, feature = "cuda")))]
        let _ = device;
        Ok(Self {
            op: op.clone(),
            grids: grids.to_vec(),
            dtype,
            #[cfg(any(test, feature = "cuda"))]
            tables: Tables::new(&op.plan, grids, Order::ChannelsLast, device)?,
        })
    }

    /// Maps (B, h, w, C), one a layer, each on its own grid -> (B, h, w, D) of the same type on the first one's grid.
    ///
    /// # Errors
    /// Other maps than the op was made for; a device that is out of memory.
    pub(crate) fn forward(&self, maps: &[Tensor]) -> Result<Tensor> {
        let maps = maps.iter().map(Tensor::contiguous).collect::<Result<Vec<_>>>()?;
        self.check(&maps)?;
        let [first, others @ ..] = &maps[..] else { bail!("patch aggregation takes at least one map") };
        first.apply_op1_no_bwd(&Run { op: self, others })
    }

    fn check(&self, maps: &[Tensor]) -> Result<()> {
        if maps.len() != self.grids.len() {
            bail!("patch aggregation of {} layers got {} maps", self.grids.len(), maps.len());
        }
        let batch = maps[0].dims().first().copied().unwrap_or(0).max(1);
        for ((map, &[h, w]), layer) in maps.iter().zip(&self.grids).zip(&self.op.plan.layers) {
            let expected = [batch, h, w, layer.channels];
            if map.dims() != expected || map.dtype() != self.dtype {
                bail!(
                    "patch aggregation: map of shape {:?} {:?}, expected {expected:?} {:?}",
                    map.dims(),
                    map.dtype(),
                    self.dtype
                );
            }
            if !map.device().same_device(maps[0].device()) {
                bail!("patch aggregation: maps on different devices");
            }
        }
        Ok(())
    }

    /// (B, h, w, D).
    fn shape(&self, batch: usize) -> Shape {
        let [h, w] = self.grids[0];
        Shape::from((batch, h, w, self.op.plan.dim))
    }
}

custom_op!(CustomOp1 for Run<'_>, NAME, x x_layout);

impl Run<'_> {
    /// The planar kernel between two changes of the order.
    fn cpu(&self, [(first, layout)]: [CpuInput<'_>; 1]) -> Result<(CpuStorage, Shape)> {
        let PatchAggregateTensor { op, grids, .. } = self.op;
        let mut planes = vec![planes(&decoded(first, layout)?, grids[0], op.plan.layers[0].channels)];
        for ((map, &grid), layer) in self.others.iter().zip(&grids[1..]).zip(&op.plan.layers[1..]) {
            let (storage, layout) = map.storage_and_layout();
            let Storage::Cpu(storage) = &*storage else { bail!("{}: maps on different devices", NAME) };
            planes.push(self::planes(&decoded(storage, layout)?, grid, layer.channels));
        }
        let maps: Vec<_> = planes
            .iter()
            .zip(grids)
            .map(|(data, &[height, width])| cpu::Map { data, height, width })
            .collect();
        let batch = layout.dims()[0];
        Ok((encoded(cpu::aggregate(&op.plan, &maps, batch), first.dtype())?, self.op.shape(batch)))
    }

    #[cfg(feature = "cuda")]
    fn cuda(
        &self,
        [(first, layout)]: [crate::kernels::tensor_op::CudaInput<'_>; 1],
    ) -> Result<(candle_core::CudaStorage, Shape)> {
        use crate::kernels::cuda;
        let Tables { sizes, table, taps } = &self.op.tables;
        let (batch, dtype) = (layout.dims()[0], self.op.dtype);
        let shape = self.op.shape(batch);
        cuda::check_len(NAME, shape.elem_count())?;
        let mut maps = vec![cuda::address(first, layout)?];
        for map in self.others {
            maps.push(cuda::address_of(map)?);
        }
        let tables = [cuda::address_of(table)?, cuda::address_of(taps)?];
        let (out, to) = cuda::output_like(first, dtype, shape.elem_count())?;
        let launch = super::cuda::launch(dtype, sizes, batch, &maps, tables, to);
        // SAFETY: `check` has compared every map with the tables' sides; `out` has the shape's numbers.
        unsafe { cuda::run(first.device(), &[launch])? };
        Ok((out, shape))
    }
}

/// (B, h, w, C) -> (B, C, h, w).
fn planes(map: &[f32], [height, width]: [usize; 2], channels: usize) -> Vec<f32> {
    let pixels = height * width;
    let mut planes = vec![0.0; map.len()];
    for (map, planes) in map.chunks_exact(pixels * channels).zip(planes.chunks_exact_mut(pixels * channels)) {
        for (pixel, numbers) in map.chunks_exact(channels).enumerate() {
            for (channel, &number) in numbers.iter().enumerate() {
                planes[channel * pixels + pixel] = number;
            }
        }
    }
    planes
}
