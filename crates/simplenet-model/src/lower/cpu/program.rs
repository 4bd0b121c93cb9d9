//! A graph as a list of steps over reused buffers. In: an image (3, H, W). Out: the graph's stages, channels-last.
//!
//! A program is compiled once for one image size ([`super::compile`]). No buffer is allocated per image: values lie in a
//! [`Workspace`], and what kernels need beside them stays with their threads. A run does make small things around it: vectors
//! of pointers to the taps and to the helpers.

use super::image::Image;
use crate::kernels::{
    Isa, aligned::Aligned, attention::Attention, channel_norm::ChannelNorm, dense::Dense,
    depthwise_channels_last::PackedDepthwise, encoding::Encoding, gelu, geometry::Geometry,
    inverted_residual::InvertedResidual, max_pool_channels_last, team::Team, tokens::PackedTokens,
    winograd::Winograd,
};

/// A map in a buffer: (height, width, stride) values in that encoding, the first `channels` of each pixel in use.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Map {
    pub(super) buffer: usize,
    pub(crate) height: usize,
    pub(crate) width: usize,
    pub(crate) channels: usize,
    pub(crate) stride: usize,
    pub(crate) encoding: Encoding,
}

impl Map {
    pub(crate) fn pixels(&self) -> usize {
        self.height * self.width
    }

    /// Words.
    pub(super) fn len(&self) -> usize {
        self.encoding.words(self.pixels() * self.stride)
    }
}

/// A value between two steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Value(pub(super) usize);

#[derive(Debug)]
pub(super) enum Work {
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
    Depthwise {
        layer: PackedDepthwise,
        geometry: Geometry,
    },
    MaxPool,
    ChannelNorm(ChannelNorm),
    Gelu,
    Tokens(PackedTokens),
    Attention(Attention),
    Patches,
}

#[derive(Debug)]
pub(super) struct Step {
    pub(super) work: Work,
    /// The image itself for the first step.
    pub(super) input: Option<Value>,
    pub(super) out: Value,
    /// Its place among the outputs whose ranges are measured.
    pub(super) observed: Option<usize>,
}

/// Steps and buffers, ready to run.
#[derive(Debug)]
pub(crate) struct Program {
    pub(super) isa: Isa,
    pub(super) steps: Vec<Step>,
    pub(super) values: Vec<Map>,
    /// The graph's stages.
    pub(super) taps: Vec<Value>,
    /// Words that each buffer holds.
    pub(super) buffers: Vec<usize>,
}

/// The buffers of one run.
#[derive(Debug)]
pub(crate) struct Workspace(Vec<Aligned>);

impl Step {
    /// Values that are written here.
    pub(super) fn makes(&self) -> impl Iterator<Item = Value> {
        let scratch = match &self.work {
            Work::Winograd { scratch, .. } => scratch.as_slice(),
            _ => &[],
        };
        scratch.iter().copied().chain([self.out])
    }

    /// Values that must exist here.
    pub(super) fn uses(&self) -> impl Iterator<Item = Value> {
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

    /// The map of each stage.
    pub(crate) fn taps(&self) -> Vec<Map> {
        self.taps.iter().map(|&tap| self.map(tap)).collect()
    }

    fn map(&self, value: Value) -> Map {
        self.values[value.0]
    }

    /// An image of the program's size -> every stage in the workspace. `observe` is given the number and the words of each
    /// output whose range is measured.
    pub(crate) fn run(
        &self,
        team: &mut Team<'_>,
        image: Image<'_>,
        workspace: &mut Workspace,
        mut observe: impl FnMut(usize, &[f32]),
    ) {
        for step in &self.steps {
            let to = self.map(step.out);
            let mut buffer = workspace.take(to);
            let out = &mut buffer[..to.len()];
            let from = step.input.map(|input| self.map(input));
            let input = from.map_or(&[][..], |from| workspace.get(from));
            match (&step.work, from) {
                (Work::PackImage { image: sides, before, padded }, _) => {
                    image.pack(team, *sides, *before, *padded, out);
                }
                (Work::Dense { layer, residual }, _) => {
                    let residual = residual.map(|residual| workspace.get(self.map(residual)));
                    layer.forward(team, input, residual, out);
                }
                (Work::Winograd { layer, residual, scratch }, Some(from)) => {
                    let maps = scratch.map(|value| self.map(value));
                    let mut buffers = maps.map(|map| workspace.take(map));
                    let residual = residual.map(|residual| workspace.get(self.map(residual)));
                    let scratch = buffers.each_mut().map(|buffer| &mut **buffer);
                    layer.forward(team, workspace.get(from), residual, out, scratch);
                    maps.into_iter().zip(buffers).for_each(|(map, buffer)| workspace.put(map, buffer));
                }
                (Work::InvertedResidual(block), _) => block.forward(team, input, out),
                (Work::Depthwise { layer, geometry }, _) => layer.forward_rows(team, geometry, input, out),
                (Work::MaxPool, Some(Map { height, width, stride, encoding, .. })) => {
                    max_pool_channels_last::forward(
                        team, self.isa, height, width, stride, encoding, input, out,
                    );
                }
                (Work::ChannelNorm(layer), Some(from)) => {
                    layer.forward(team, from.stride, input, out, to.encoding);
                }
                (Work::Gelu, Some(from)) => {
                    gelu::forward(team, self.isa, from.stride, input, out, to.encoding)
                }
                (Work::Tokens(layer), _) => layer.forward(team, input, out),
                (Work::Attention(layer), Some(from)) => {
                    layer.forward(team, from.stride, input, to.stride, out, to.encoding);
                }
                // The class token comes first.
                (Work::Patches, Some(from)) => out.copy_from_slice(&input[from.stride..]),
                (_, None) => {}
            }
            workspace.put(to, buffer);
            if let Some(number) = step.observed {
                observe(number, workspace.get(to));
            }
        }
    }

    /// The stages of the last run.
    pub(crate) fn outputs<'a>(&self, workspace: &'a Workspace) -> Vec<&'a [f32]> {
        self.taps.iter().map(|&tap| workspace.get(self.map(tap))).collect()
    }
}

impl Workspace {
    /// The values of a map.
    fn get(&self, map: Map) -> &[f32] {
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
