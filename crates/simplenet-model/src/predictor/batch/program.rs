//! A backbone as a list of ops over channels-last tensors of one device. In: a batch of images. Out: the tapped maps.
//!
//! [`TensorBuilder`] is filled once, layer by layer, like the processor's builder: weights go to the device in the type that
//! is computed in. A tensor is dropped after its last use, so that the device's memory is used again at once.

use candle_core::{DType, Device, Tensor};

use crate::{
    error::ModelError,
    ops::{
        dense::{Clamp, ConvGeometry, DenseTensor, Reads},
        depthwise_channels_last::DepthwiseTensor,
        depthwise_conv::{Geometry, same_padding},
        max_pool_channels_last::max_pool,
        pack_image::{self, PackImage},
        tensor_op::CHANNELS_TOGETHER,
    },
    predictor::{
        image::COLOURS,
        network::{Convolution, NetworkBuilder, Padding, Value},
    },
};

/// What a step does with its input.
#[derive(Debug)]
enum Work {
    Dense { layer: DenseTensor, residual: Option<Value> },
    Depthwise(DepthwiseTensor),
    MaxPool,
}

#[derive(Debug)]
struct Step {
    work: Work,
    /// The packed image for the first step.
    input: Option<Value>,
    out: Value,
}

impl Step {
    fn uses(&self) -> impl Iterator<Item = Value> {
        let residual = match &self.work {
            Work::Dense { residual, .. } => *residual,
            _ => None,
        };
        self.input.into_iter().chain(residual)
    }
}

/// Takes layers in and puts their weights on a device.
#[derive(Debug)]
pub(super) struct TensorBuilder {
    device: Device,
    dtype: DType,
    pack: Option<PackImage>,
    steps: Vec<Step>,
    /// Height, width and channels of every value.
    sizes: Vec<[usize; 3]>,
    /// What went wrong first.
    failed: Option<candle_core::Error>,
}

/// Steps, ready to run.
#[derive(Debug)]
pub(super) struct TensorProgram {
    pack: PackImage,
    steps: Vec<Step>,
    taps: Vec<Value>,
    sizes: Vec<[usize; 3]>,
    /// Values that no step and no tap needs after each step.
    done: Vec<Vec<Value>>,
}

impl TensorBuilder {
    /// `dtype` is f32 or f16.
    pub(super) fn new(device: &Device, dtype: DType) -> Self {
        Self { device: device.clone(), dtype, pack: None, steps: vec![], sizes: vec![], failed: None }
    }

    fn value(&mut self, [height, width]: [usize; 2], channels: usize) -> Value {
        self.sizes.push([height, width, channels]);
        Value(self.sizes.len() - 1)
    }

    /// Adds a step of a layer that may not have come about.
    fn step(
        &mut self,
        work: candle_core::Result<Work>,
        input: Option<Value>,
        sides: [usize; 2],
        channels: usize,
    ) -> Value {
        let out = self.value(sides, channels);
        match work {
            Ok(work) => self.steps.push(Step { work, input, out }),
            Err(error) => {
                self.failed.get_or_insert(error);
            }
        }
        out
    }

    /// A layer of `dtype` in and out; `weight(tap, number, output)`.
    fn dense(
        &self,
        geometry: ConvGeometry,
        [depth, pixel]: [usize; 2],
        conv: &Convolution<'_>,
        weight: impl Fn(usize, usize, usize) -> f32 + Sync,
    ) -> candle_core::Result<DenseTensor> {
        let reads = Reads { depth, pixel, dtype: self.dtype, out: self.dtype };
        DenseTensor::new(geometry, reads, conv.bias, conv.clamp, weight, &self.device)
    }

    /// Joins the steps; `taps` are what a run gives.
    ///
    /// # Errors
    /// Whatever went wrong with a layer; a network without a first layer.
    pub(super) fn finish(self, taps: Vec<Value>) -> Result<TensorProgram, ModelError> {
        if let Some(error) = self.failed {
            return Err(error.into());
        }
        let Some(pack) = self.pack else {
            return Err(ModelError::Configuration {
                what: "predictor",
                reason: "the network has no layers".into(),
            });
        };
        let mut last_use = vec![0; self.sizes.len()];
        for (index, step) in self.steps.iter().enumerate() {
            step.uses().chain([step.out]).for_each(|value| last_use[value.0] = index);
        }
        taps.iter().for_each(|tap| last_use[tap.0] = self.steps.len());
        let mut done = vec![vec![]; self.steps.len()];
        for (value, &last) in last_use.iter().enumerate() {
            if let Some(done) = done.get_mut(last) {
                done.push(Value(value));
            }
        }
        Ok(TensorProgram { pack, steps: self.steps, taps, sizes: self.sizes, done })
    }
}

impl NetworkBuilder for TensorBuilder {
    fn stem(&mut self, image: [usize; 2], conv: &Convolution<'_>, padding: Padding) -> Value {
        let Convolution { weight, bias, kernel, stride, .. } = *conv;
        let sides = image.map(|side| match padding {
            Padding::Centred => (kernel / 2, kernel / 2),
            Padding::Same => same_padding(side, kernel, stride),
        });
        let output = [0, 1].map(|axis| (image[axis] + sides[axis].0 + sides[axis].1 - kernel) / stride + 1);
        // A row of the kernel is read at once: with its colours padded, and as many pixels as fill whole packs.
        let pixel = pack_image::CHANNELS;
        let depth = (kernel * pixel).next_multiple_of(CHANNELS_TOGETHER);
        // As wide as the last tap reads; an even width keeps every second pixel at a multiple of 16 bytes.
        let width = ((output[1] - 1) * stride + depth / pixel).max(image[1] + sides[1].0).next_multiple_of(2);
        let padded = [((output[0] - 1) * stride + kernel).max(image[0] + sides[0].0), width];
        if !stride.is_multiple_of(2) {
            let reason = format!(
                "a first convolution of stride {stride}; the kernels read whole packs at even pixels"
            );
            self.failed.get_or_insert(candle_core::Error::Msg(reason));
        }
        self.pack = Some(PackImage { before: [sides[0].0, sides[1].0], padded, dtype: self.dtype });
        let geometry = ConvGeometry { input: padded, kernel: [kernel, 1], stride, before: [0, 0], output };
        let layer = self.dense(geometry, [depth, pixel], conv, |ky, k, o| {
            let (kx, colour) = (k / pixel, k % pixel);
            match kx < kernel && colour < COLOURS {
                true => weight[((o * COLOURS + colour) * kernel + ky) * kernel + kx],
                false => 0.0,
            }
        });
        let work = layer.map(|layer| Work::Dense { layer, residual: None });
        self.step(work, None, output, bias.len())
    }

    fn conv(&mut self, input: Value, conv: &Convolution<'_>, residual: Option<Value>) -> Value {
        let Convolution { weight, bias, kernel, stride, .. } = *conv;
        let [height, width, channels] = self.sizes[input.0];
        let geometry = ConvGeometry::centred([height, width], kernel, stride);
        let taps = kernel * kernel;
        let layer = self.dense(geometry, [channels; 2], conv, |tap, channel, output| {
            weight[(output * channels + channel) * taps + tap]
        });
        let work = layer.map(|layer| Work::Dense { layer, residual });
        self.step(work, Some(input), geometry.output, bias.len())
    }

    fn inverted_residual(
        &mut self,
        input: Value,
        expand: Option<&Convolution<'_>>,
        filter: &Convolution<'_>,
        project: &Convolution<'_>,
        residual: bool,
    ) -> Value {
        let hidden = expand.map_or(input, |expand| self.conv(input, expand, None));
        let [height, width, channels] = self.sizes[hidden.0];
        let Convolution { weight, bias, kernel, stride, clamp: Clamp { high, .. } } = *filter;
        let geometry = Geometry::same(height, width, kernel, stride);
        let layer = DepthwiseTensor::new(kernel, stride, weight, bias, high, &self.device);
        let filtered = self.step(layer.map(Work::Depthwise), Some(hidden), geometry.output(), channels);
        self.conv(filtered, project, residual.then_some(input))
    }

    fn max_pool(&mut self, input: Value) -> Value {
        let [height, width, channels] = self.sizes[input.0];
        let sides = crate::ops::max_pool_channels_last::output(height, width);
        self.step(Ok(Work::MaxPool), Some(input), sides, channels)
    }
}

impl TensorProgram {
    /// Rows and columns of each tap.
    pub(super) fn grids(&self) -> Vec<[usize; 2]> {
        self.taps.iter().map(|tap| self.sizes[tap.0]).map(|[height, width, _]| [height, width]).collect()
    }

    /// How images become the first map.
    pub(super) fn pack(&self) -> &PackImage {
        &self.pack
    }

    /// The first map of a batch, as [`TensorProgram::pack`] makes it -> the taps, (B, h, w, C) each.
    ///
    /// # Errors
    /// Another shape; a device that is out of memory.
    pub(super) fn run(&self, packed: Tensor) -> candle_core::Result<Vec<Tensor>> {
        let mut values: Vec<Option<Tensor>> = vec![None; self.sizes.len()];
        let missing = || candle_core::Error::Msg("a step of the network reads what no step has made".into());
        let mut packed = Some(packed);
        for (step, done) in self.steps.iter().zip(&self.done) {
            let get = |value: Value| values[value.0].clone().ok_or_else(missing);
            let input = match step.input {
                Some(input) => get(input)?,
                None => packed.take().ok_or_else(missing)?,
            };
            let out = match &step.work {
                Work::Dense { layer, residual } => {
                    let residual = residual.map(get).transpose()?;
                    layer.forward(&input, residual.as_ref())?
                }
                Work::Depthwise(layer) => layer.forward(&input)?,
                Work::MaxPool => max_pool(&input)?,
            };
            values[step.out.0] = Some(out);
            done.iter().for_each(|value| values[value.0] = None);
        }
        self.taps.iter().map(|tap| values[tap.0].clone().ok_or_else(missing)).collect()
    }
}
