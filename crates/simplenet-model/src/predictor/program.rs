//! A backbone as a list of steps over reused buffers. In: an image (3, H, W). Out: the tapped maps, channels-last.
//!
//! [`Builder`] is filled once, layer by layer, for one image size: it folds, transforms and packs weights, and finds for
//! every value a buffer that is free from the value's first step to its last. No buffer is allocated per
//! image: values lie in a [`Workspace`], and what kernels need beside them stays with their threads. A run does make small
//! things around it: vectors of pointers to the taps and to the helpers.

use super::{
    image::{COLOURS, Image},
    network::{Convolution, NetworkBuilder, Padding, Value},
    precision::Precision,
};
use crate::{
    error::ModelError,
    ops::{
        Isa,
        aligned::Aligned,
        dense::{Clamp, ConvGeometry, Dense, Input, Output},
        depthwise_channels_last::PackedDepthwise,
        depthwise_conv::{Geometry, same_padding},
        encoding::Encoding,
        inverted_residual::InvertedResidual,
        max_pool_channels_last,
        team::Team,
        winograd::{Tile, Winograd},
    },
};

/// A map in a buffer: (height, width, stride) numbers in that encoding, the first `channels` of each pixel in use.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Map {
    buffer: usize,
    pub(crate) height: usize,
    pub(crate) width: usize,
    pub(crate) channels: usize,
    pub(crate) stride: usize,
    pub(crate) encoding: Encoding,
}

impl Map {
    /// A map of f32 without padding that lies in no program's buffer.
    pub(crate) fn dense(height: usize, width: usize, channels: usize) -> Self {
        Self { buffer: 0, height, width, channels, stride: channels, encoding: Encoding::F32 }
    }

    pub(crate) fn pixels(&self) -> usize {
        self.height * self.width
    }

    /// Words.
    fn len(&self) -> usize {
        self.encoding.words(self.pixels() * self.stride)
    }
}

#[derive(Debug)]
enum Work {
    /// The image with its padding, a pixel's colours together.
    PackImage {
        image: [usize; 2],
        before: [usize; 2],
        padded: [usize; 2],
    },
    Dense {
        layer: Dense,
        residual: Option<Value>,
    },
    Winograd {
        layer: Winograd,
        residual: Option<Value>,
        scratch: [Value; 2],
    },
    InvertedResidual(Box<InvertedResidual>),
    MaxPool,
}

#[derive(Debug)]
struct Step {
    work: Work,
    /// The image itself for the first step.
    input: Option<Value>,
    out: Value,
}

/// Takes layers in and packs them.
#[derive(Debug)]
pub(crate) struct Builder {
    isa: Isa,
    precision: Precision,
    steps: Vec<Step>,
    /// `buffer` is not yet known.
    values: Vec<Map>,
    /// What the layers with weights give, in order: what [`super::ActivationRanges`] speaks of.
    layers: Vec<Value>,
}

/// Steps and buffers, ready to run.
#[derive(Debug)]
pub(crate) struct Program {
    isa: Isa,
    steps: Vec<Step>,
    values: Vec<Map>,
    layers: Vec<Value>,
    /// Words that each buffer holds.
    buffers: Vec<usize>,
}

/// The buffers of one run.
#[derive(Debug)]
pub(crate) struct Workspace(Vec<Aligned>);

impl Builder {
    pub(crate) fn new(isa: Isa, precision: &Precision) -> Self {
        let precision = precision.clone();
        Self { isa: isa.or_lower(), precision, steps: vec![], values: vec![], layers: vec![] }
    }

    fn value(
        &mut self,
        [height, width]: [usize; 2],
        channels: usize,
        stride: usize,
        encoding: Encoding,
    ) -> Value {
        self.values.push(Map { buffer: 0, height, width, channels, stride, encoding });
        Value(self.values.len() - 1)
    }

    /// What a layer gives.
    fn layer(&mut self, sides: [usize; 2], channels: usize, stride: usize, encoding: Encoding) -> Value {
        let out = self.value(sides, channels, stride, encoding);
        self.layers.push(out);
        out
    }

    /// The range of a layer's output that was measured; [`Builder::finish`] finds the layers that have none.
    fn range(&self, layer: usize) -> f32 {
        match &self.precision {
            Precision::Int8(ranges) => ranges.as_slice().get(layer).copied().unwrap_or_default(),
            _ => 0.0,
        }
    }

    /// How the next layer's output is kept.
    fn next_encoding(&self, clamp: Clamp) -> Encoding {
        match &self.precision {
            Precision::F32 => Encoding::F32,
            Precision::Bf16 => Encoding::Bf16,
            Precision::Int8(_) if clamp.low == 0.0 => Encoding::up_to(self.range(self.layers.len())),
            // Shortcuts: few, and of both signs.
            Precision::Int8(_) => Encoding::Bf16,
        }
    }

    fn map(&self, value: Value) -> Map {
        self.values[value.0]
    }

    /// Gives every value a buffer. `taps` stay whole until the end of a run.
    ///
    /// # Errors
    /// Ranges of the activations that are not those of these layers.
    pub(crate) fn finish(mut self, taps: &[Value]) -> Result<Program, ModelError> {
        if let Precision::Int8(ranges) = &self.precision {
            ranges.check(self.layers.len())?;
        }
        let mut last_use: Vec<usize> = vec![0; self.values.len()];
        for (index, step) in self.steps.iter().enumerate() {
            step.uses().for_each(|value| last_use[value.0] = index);
        }
        taps.iter().for_each(|tap| last_use[tap.0] = self.steps.len());
        let mut buffers: Vec<usize> = Vec::new();
        let mut busy_until: Vec<usize> = Vec::new();
        for (index, step) in self.steps.iter().enumerate() {
            for value in step.makes() {
                let len = self.values[value.0].len();
                // The free buffer that grows least; of those that are large enough the smallest.
                let cost = |&b: &usize| (len.saturating_sub(buffers[b]), buffers[b]);
                let free = (0..buffers.len()).filter(|&b| busy_until[b] < index).min_by_key(cost);
                let buffer = free.unwrap_or_else(|| {
                    buffers.push(0);
                    busy_until.push(0);
                    buffers.len() - 1
                });
                buffers[buffer] = buffers[buffer].max(len);
                busy_until[buffer] = last_use[value.0].max(index);
                self.values[value.0].buffer = buffer;
            }
        }
        Ok(Program { isa: self.isa, steps: self.steps, values: self.values, layers: self.layers, buffers })
    }
}

impl NetworkBuilder for Builder {
    fn stem(&mut self, image: [usize; 2], conv: &Convolution<'_>, padding: Padding) -> Value {
        let Convolution { weight, bias, kernel, stride, clamp } = *conv;
        let sides = image.map(|side| match padding {
            Padding::Centred => (kernel / 2, kernel / 2),
            Padding::Same => same_padding(side, kernel, stride),
        });
        let before = sides.map(|side| side.0);
        let padded = [0, 1].map(|axis| image[axis] + sides[axis].0 + sides[axis].1);
        let packed = self.value(padded, COLOURS, COLOURS, Encoding::F32);
        self.steps.push(Step { work: Work::PackImage { image, before, padded }, input: None, out: packed });

        let output = padded.map(|side| (side - kernel) / stride + 1);
        let geometry = ConvGeometry { input: padded, kernel: [kernel, 1], stride, before: [0, 0], output };
        let depth = kernel * COLOURS;
        let input = Input { depth, stride: COLOURS, encoding: Encoding::F32 };
        let encoding = self.next_encoding(clamp);
        let stored = Output { clamp, encoding, residual: encoding };
        let layer = Dense::encoded(self.isa, geometry, input, stored, bias, |ky, k, o| {
            let (kx, colour) = (k / COLOURS, k % COLOURS);
            weight[((o * COLOURS + colour) * kernel + ky) * kernel + kx]
        });
        let out = self.layer(output, bias.len(), layer.output_stride(), encoding);
        self.steps.push(Step { work: Work::Dense { layer, residual: None }, input: Some(packed), out });
        out
    }

    fn conv(&mut self, input: Value, conv: &Convolution<'_>, residual: Option<Value>) -> Value {
        let Convolution { weight, bias, kernel, stride, clamp } = *conv;
        let from = self.map(input);
        let (channels, taps) = (from.channels, kernel * kernel);
        let value =
            |tap: usize, channel: usize, output: usize| weight[(output * channels + channel) * taps + tap];
        let sides = [from.height, from.width];
        let encoding = self.next_encoding(clamp);
        let tile = Tile::best(sides, stride).filter(|_| kernel == 3 && self.precision == Precision::F32);
        if let Some(tile) = tile {
            let layer = Winograd::new(self.isa, tile, sides, channels, from.stride, bias, clamp, value);
            let scratch = layer.scratch_lens().map(|len| self.value([1, 1], len, len, Encoding::F32));
            let out = self.layer(layer.output(), bias.len(), layer.output_stride(), encoding);
            let work = Work::Winograd { layer, residual, scratch };
            self.steps.push(Step { work, input: Some(input), out });
            return out;
        }
        let geometry = ConvGeometry::centred(sides, kernel, stride);
        let reads = Input { depth: channels, stride: from.stride, encoding: from.encoding };
        let residual_encoding = residual.map_or(encoding, |residual| self.map(residual).encoding);
        let stored = Output { clamp, encoding, residual: residual_encoding };
        let layer = Dense::encoded(self.isa, geometry, reads, stored, bias, value);
        let out = self.layer(geometry.output, bias.len(), layer.output_stride(), encoding);
        self.steps.push(Step { work: Work::Dense { layer, residual }, input: Some(input), out });
        out
    }

    fn inverted_residual(
        &mut self,
        input: Value,
        expand: Option<&Convolution<'_>>,
        filter: &Convolution<'_>,
        project: &Convolution<'_>,
        residual: bool,
    ) -> Value {
        let from = self.map(input);
        // What the depthwise layer gives is mostly small beside its upper clamp, which is 255 steps away: with bytes there,
        // the image AUROC on photographs of solar cells lost up to 0.5 point instead of 0.2.
        let (reads, projects) = match &self.precision {
            Precision::F32 => (Encoding::F32, Encoding::F32),
            Precision::Bf16 => (Encoding::Bf16, Encoding::Bf16),
            Precision::Int8(_) => {
                let made_by = self.layers.iter().position(|&layer| layer == input);
                let range = made_by.map_or(0.0, |layer| self.range(layer));
                (Encoding::around_zero(range), Encoding::Bf16)
            }
        };
        let pointwise = |sides: [usize; 2], reads: Input, conv: &Convolution<'_>| {
            let Convolution { weight, bias, clamp, .. } = *conv;
            let stored = Output { clamp, encoding: Encoding::F32, residual: Encoding::F32 };
            let geometry = ConvGeometry::centred(sides, 1, 1);
            Dense::encoded(self.isa, geometry, reads, stored, bias, |_, c, o| weight[o * reads.depth + c])
        };
        let Convolution { weight, bias, kernel, stride, clamp } = *filter;
        let sides = [from.height, from.width];
        let expand = expand.map(|conv| {
            let reads = Input { depth: from.channels, stride: from.stride, encoding: reads };
            pointwise(sides, reads, conv)
        });
        let depthwise = PackedDepthwise::new(kernel, stride, weight, bias, clamp.high, self.isa);
        let geometry = Geometry::same(from.height, from.width, kernel, stride);
        let output = geometry.output();
        let outputs = project.bias.len();
        let reads = Input { depth: bias.len(), stride: depthwise.lanes_channels(), encoding: projects };
        let project = pointwise(output, reads, project);
        let out = self.layer(output, outputs, project.output_stride(), Encoding::F32);
        let isa = self.isa;
        let block =
            InvertedResidual { isa, input: from.encoding, expand, depthwise, geometry, project, residual };
        self.steps.push(Step { work: Work::InvertedResidual(Box::new(block)), input: Some(input), out });
        out
    }

    fn max_pool(&mut self, input: Value) -> Value {
        let from = self.map(input);
        let sides = max_pool_channels_last::output(from.height, from.width);
        let out = self.value(sides, from.channels, from.stride, from.encoding);
        self.steps.push(Step { work: Work::MaxPool, input: Some(input), out });
        out
    }
}

impl Step {
    /// Values that are written here.
    fn makes(&self) -> impl Iterator<Item = Value> {
        let scratch = match &self.work {
            Work::Winograd { scratch, .. } => scratch.as_slice(),
            _ => &[],
        };
        scratch.iter().copied().chain([self.out])
    }

    /// Values that must exist here.
    fn uses(&self) -> impl Iterator<Item = Value> {
        let residual = match &self.work {
            Work::Winograd { residual, .. } | Work::Dense { residual, .. } => *residual,
            _ => None,
        };
        self.makes().chain(self.input).chain(residual)
    }
}

impl Program {
    /// Buffers for one run at a time.
    pub(crate) fn workspace(&self) -> Workspace {
        Workspace(self.buffers.iter().map(|&len| Aligned::zeros(len)).collect())
    }

    /// Whether every value is f32.
    pub(crate) fn is_f32(&self) -> bool {
        self.values.iter().all(|map| map.encoding == Encoding::F32)
    }

    /// The map that a value is.
    pub(crate) fn map(&self, value: Value) -> Map {
        self.values[value.0]
    }

    /// An image of the builder's size -> every tap of [`Builder::finish`] in the workspace. `observe` is given the words of
    /// each layer's output.
    pub(crate) fn run(
        &self,
        team: &mut Team<'_>,
        image: Image<'_>,
        workspace: &mut Workspace,
        mut observe: impl FnMut(usize, &[f32]),
    ) {
        let mut layer = 0;
        for step in &self.steps {
            let mut out = workspace.take(self.map(step.out));
            let input = step.input.map(|input| self.map(input));
            match (&step.work, input) {
                (Work::PackImage { image: sides, before, padded }, _) => {
                    image.pack(team, *sides, *before, *padded, &mut out);
                }
                (Work::Dense { layer, residual }, Some(input)) => {
                    let residual = residual.map(|residual| workspace.get(self.map(residual)));
                    layer.forward(team, workspace.get(input), residual, &mut out);
                }
                (Work::Winograd { layer, residual, scratch }, Some(input)) => {
                    let maps = scratch.map(|value| self.map(value));
                    let mut buffers = maps.map(|map| workspace.take(map));
                    let residual = residual.map(|residual| workspace.get(self.map(residual)));
                    layer.forward(
                        team,
                        workspace.get(input),
                        residual,
                        &mut out,
                        buffers.each_mut().map(|buffer| &mut **buffer),
                    );
                    maps.into_iter().zip(buffers).for_each(|(map, buffer)| workspace.put(map, buffer));
                }
                (Work::InvertedResidual(block), Some(input)) => {
                    block.forward(team, workspace.get(input), &mut out[..self.map(step.out).len()]);
                }
                (Work::MaxPool, Some(input)) => {
                    let (from, to) = (workspace.get(input), &mut out[..self.map(step.out).len()]);
                    let from = &from[..input.len()];
                    max_pool_channels_last::forward(
                        team,
                        self.isa,
                        input.height,
                        input.width,
                        input.stride,
                        input.encoding,
                        from,
                        to,
                    );
                }
                (_, None) => {}
            }
            workspace.put(self.map(step.out), out);
            if self.layers.get(layer) == Some(&step.out) {
                observe(layer, workspace.get(self.map(step.out)));
                layer += 1;
            }
        }
    }
}

impl Workspace {
    /// The numbers of a map.
    pub(crate) fn get(&self, map: Map) -> &[f32] {
        &self.0[map.buffer][..map.len()]
    }

    /// A map's buffer, to be written and put back.
    fn take(&mut self, map: Map) -> Aligned {
        std::mem::take(&mut self.0[map.buffer])
    }

    fn put(&mut self, map: Map, buffer: Aligned) {
        self.0[map.buffer] = buffer;
    }
}
