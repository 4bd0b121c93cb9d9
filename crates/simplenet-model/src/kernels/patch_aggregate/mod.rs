//! Patch aggregation as one op: k×k unfold, two adaptive average pools and the bilinear resize between the layers.
//!
//! In: one to three contiguous f32 maps (B, C, h, w), the first one's grid deciding. Out: (B, h, w, D) f32. The map is
//! fixed and the features are frozen, so there is no gradient. [`PatchAggregate::reference`] is the reference chain.
//! [`PatchAggregateTensor`] is the same for channels-last maps, with what a GPU needs worked out beforehand.

mod channels_last;
mod cpu;
#[cfg(any(test, feature = "cuda"))]
mod cuda;
mod plan;
mod reference;
mod tensor;

use std::ops::Range;

use candle_core::{CpuStorage, Layout, Result, Shape, Tensor, WithDType, bail};

use super::{
    Isa,
    encoding::{Encoding, number},
    team::Team,
    tensor_op::{CpuInput, custom_op},
};
use channels_last::PatchRows;
use cpu::Map;
pub(crate) use plan::LayerPlan;
use plan::Plan;
pub(crate) use tensor::PatchAggregateTensor;

/// The largest number of layers that can be aggregated: candle's custom ops take up to three tensors.
pub(crate) const MAX_LAYERS: usize = 3;

/// The op for given dimensions; made once, it holds the whole map (some 14,000 taps at the paper's dimensions).
#[derive(Debug, Clone)]
pub(crate) struct PatchAggregate {
    plan: Plan,
    pretrain_dims: Vec<usize>,
}

impl PatchAggregate {
    /// Writes the linear map down. `channels` are those of the layers, one to three, and `pretrain_dims` what each is
    /// pooled to; all numbers at least 1 and `patch_size` odd (the caller checks).
    pub(crate) fn new(
        patch_size: usize,
        pretrain_dims: &[usize],
        target_dim: usize,
        channels: &[usize],
    ) -> Self {
        let plan = Plan::new(patch_size, pretrain_dims, target_dim, channels);
        Self { plan, pretrain_dims: pretrain_dims.to_vec() }
    }

    /// (B, C, h, w) f32 maps -> (B, h, w, D) f32, on the CPU or, with the feature `cuda`, a GPU.
    ///
    /// # Errors
    /// Another number of maps than layers, other channels, types, ranks or batch sizes, another device.
    pub(crate) fn forward(&self, maps: &[Tensor]) -> Result<Tensor> {
        match maps {
            [a] => a.contiguous()?.apply_op1_no_bwd(self),
            [a, b] => a.contiguous()?.apply_op2_no_bwd(&b.contiguous()?, self),
            [a, b, c] => a.contiguous()?.apply_op3_no_bwd(&b.contiguous()?, &c.contiguous()?, self),
            _ => bail!("patch aggregation takes 1 to {MAX_LAYERS} feature maps, got {}", maps.len()),
        }
    }

    /// The same by the reference chain of candle operations: slow, on any device.
    ///
    /// # Errors
    /// As [`PatchAggregate::forward`].
    pub(crate) fn reference(&self, maps: &[Tensor]) -> Result<Tensor> {
        reference::aggregate(maps, self.plan.patch_size, &self.pretrain_dims, self.plan.dim)
    }

    /// What one layer contributes, as numbers.
    pub(crate) fn layer_plan(&self, index: usize) -> &LayerPlan {
        &self.plan.layers[index]
    }

    /// Planes (C, h, w) of one image, one map a layer with its height and width -> (h, w, D) on the first one's grid.
    pub(crate) fn planes(&self, maps: &[(&[f32], usize, usize)]) -> Vec<f32> {
        let map = |&(data, height, width): &(_, usize, usize)| Map { data, height, width };
        cpu::aggregate(&self.plan, &maps.iter().map(map).collect::<Vec<_>>(), 1)
    }

    /// The part of one layer on its own grid, for a channels-last map of these sides with `stride` numbers a pixel, kept as
    /// `encoding`. The features are bf16 where they are `wanted` so and the shapes have the short way, otherwise f32.
    pub(crate) fn layer(
        &self,
        index: usize,
        isa: Isa,
        size: [usize; 2],
        (stride, encoding): (usize, Encoding),
        wanted: Encoding,
    ) -> Pooling {
        let layer = self.plan.layers[index].clone();
        let rows = PatchRows::new(&layer, self.plan.patch_size, stride);
        let halves = rows.is_some() && wanted == Encoding::Bf16 && layer.outputs.len().is_multiple_of(2);
        let features = if halves { Encoding::Bf16 } else { Encoding::F32 };
        Pooling {
            layer,
            patch_size: self.plan.patch_size,
            isa,
            size,
            stride,
            kept: encoding,
            encoding: features,
            rows,
        }
    }

    /// Checks planar maps; gives their sides and the result's shape.
    fn check(&self, layouts: &[&Layout]) -> Result<(Vec<[usize; 2]>, Shape)> {
        if layouts.len() != self.plan.layers.len() {
            bail!("patch aggregation of {} layers got {} maps", self.plan.layers.len(), layouts.len());
        }
        let mut grids = Vec::with_capacity(layouts.len());
        let mut batch = None;
        for (layout, layer) in layouts.iter().zip(&self.plan.layers) {
            let (b, channels, height, width) = layout.shape().dims4()?;
            if channels != layer.channels || *batch.get_or_insert(b) != b || height == 0 || width == 0 {
                bail!(
                    "patch aggregation: map of shape {:?}, expected ({}, {}, h > 0, w > 0)",
                    layout.shape(),
                    batch.unwrap_or(b),
                    layer.channels
                );
            }
            grids.push([height, width]);
        }
        let [h, w] = grids.first().copied().unwrap_or_default();
        Ok((grids, Shape::from((batch.unwrap_or(0), h, w, self.plan.dim))))
    }

    fn cpu<const N: usize>(&self, inputs: [CpuInput<'_>; N]) -> Result<(CpuStorage, Shape)> {
        let layouts: Vec<&Layout> = inputs.iter().map(|input| input.1).collect();
        let (grids, shape) = self.check(&layouts)?;
        let mut maps = Vec::with_capacity(inputs.len());
        for ((storage, layout), [height, width]) in inputs.iter().zip(grids) {
            let Some((start, end)) = layout.contiguous_offsets() else {
                bail!("patch aggregation needs contiguous maps");
            };
            maps.push(Map { data: &f32::cpu_storage_as_slice(storage)?[start..end], height, width });
        }
        Ok((CpuStorage::F32(cpu::aggregate(&self.plan, &maps, shape.dims()[0])), shape))
    }

    /// The tables are made for every call: planar maps come from the reference network, which is not in a hurry.
    #[cfg(feature = "cuda")]
    fn cuda<const N: usize>(
        &self,
        inputs: [super::tensor_op::CudaInput<'_>; N],
    ) -> Result<(candle_core::CudaStorage, Shape)> {
        use super::cuda as device;
        use candle_core::{DType, Device, backend::BackendStorage};
        let layouts: Vec<&Layout> = inputs.iter().map(|input| input.1).collect();
        let (grids, shape) = self.check(&layouts)?;
        let (Some((first, _)), true) = (inputs.first(), shape.elem_count() > 0) else {
            bail!("patch aggregation takes at least one image");
        };
        device::check_len("patch aggregation", shape.elem_count())?;
        let mut maps = Vec::with_capacity(inputs.len());
        for (storage, layout) in inputs {
            if storage.dtype() != DType::F32 {
                bail!("patch aggregation takes f32, not {:?}", storage.dtype());
            }
            maps.push(device::address(storage, layout)?);
        }
        let on = Device::Cuda(first.device().clone());
        let cuda::Tables { sizes, table, taps } =
            &cuda::Tables::new(&self.plan, &grids, cuda::Order::Planar, &on)?;
        let tables = [device::address_of(table)?, device::address_of(taps)?];
        let (out, to) = device::output_like(first, DType::F32, shape.elem_count())?;
        let launch = cuda::launch(DType::F32, sizes, shape.dims()[0], &maps, tables, to);
        // SAFETY: `check` has compared every map with the plan; `out` has the shape's numbers.
        unsafe { device::run(first.device(), &[launch])? };
        Ok((out, shape))
    }
}

/// What one layer contributes to the features, without the resize to the first layer's grid.
#[derive(Debug, Clone)]
pub(crate) struct Pooling {
    layer: LayerPlan,
    patch_size: usize,
    isa: Isa,
    size: [usize; 2],
    stride: usize,
    /// How the map is kept.
    kept: Encoding,
    /// How the features are kept.
    encoding: Encoding,
    /// The short way, where the shapes have one.
    rows: Option<PatchRows>,
}

impl Pooling {
    /// The features that the layer contributes to.
    pub(crate) fn outputs(&self) -> Range<usize> {
        self.layer.outputs.clone()
    }

    /// Numbers that [`Pooling::run`] needs for the map's planes.
    pub(crate) fn planes_len(&self) -> usize {
        match self.rows {
            Some(_) => 0,
            None => self.layer.channels * self.size[0] * self.size[1],
        }
    }

    /// How the features are kept.
    pub(crate) fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// Whether [`Pooling::rows`] is there for the shapes.
    pub(crate) fn has_rows(&self) -> bool {
        self.rows.is_some()
    }

    /// Rows of (h, w, outputs) from `first` on, as many as `out` holds, on this thread; nothing where the shapes have no
    /// short way.
    pub(crate) fn rows(&self, first: usize, map: &[f32], out: &mut [f32]) {
        if let Some(rows) = &self.rows {
            rows.rows(self.isa, self.size, first, (map, self.kept), (out, self.encoding));
        }
    }

    /// (h, w, stride) -> (h, w, outputs).
    pub(crate) fn run(&self, team: &mut Team<'_>, map: &[f32], planes: &mut [f32], out: &mut [f32]) {
        let [height, width] = self.size;
        if let Some(rows) = &self.rows {
            return rows.run(team, self.isa, self.size, (map, self.kept), (out, self.encoding));
        }
        to_planes(team, height * width, self.stride, (map, self.kept), planes);
        cpu::pool_image(team, &self.layer, self.patch_size, Map { data: planes, height, width }, out);
    }
}

/// A channels-last map of `stride` numbers a pixel as planes (C, pixels), C = `planes.len() / pixels`.
pub(crate) fn to_planes(
    team: &mut Team<'_>,
    pixels: usize,
    stride: usize,
    (from, encoding): (&[f32], Encoding),
    planes: &mut [f32],
) {
    /// Pixels and channels of a block: two blocks of 4 KiB.
    const SIDE: usize = 32;
    team.for_each_chunk(planes, pixels * SIDE, |group, planes| {
        for start in (0..pixels).step_by(SIDE) {
            let end = (start + SIDE).min(pixels);
            for (c, plane) in planes.chunks_exact_mut(pixels).enumerate() {
                let channel = group * SIDE + c;
                for (pixel, to) in (start..end).zip(&mut plane[start..end]) {
                    *to = number(from, pixel * stride + channel, encoding);
                }
            }
        }
    });
}

custom_op!(CustomOp1 for PatchAggregate, "patch-aggregate", x x_layout);
custom_op!(CustomOp2 for PatchAggregate, "patch-aggregate", x x_layout, y y_layout);
custom_op!(CustomOp3 for PatchAggregate, "patch-aggregate", x x_layout, y y_layout, z z_layout);

#[cfg(test)]
mod tests;
