//! EfficientNet-Lite up to the fifth row of its table or an earlier one (Tan and Le, "EfficientNet", 2019, in the "lite" variant: ReLU6, no
//! squeeze-and-excitation; stem and first row are not scaled). In: (B, 3, H, W). Out: the outputs of the last blocks of
//! rows 2 to 5, at a 4th, 8th, 16th and 16th of the input; in Lite0 blocks 2, 4, 7 and 10 with 24, 40, 80, 112 channels.
//!
//! Follows the PyTorch port whose weights are embedded: batch-norm ε 1e-3, TensorFlow's "same" padding worked out for
//! the actual input size, no activation after a block's projection or sum.

use candle_core::{Device, Tensor};

use super::{
    Stage, TensorSpec,
    family::EfficientNetLite,
    layers::{After, Conv, Pointwise, fold},
};
use crate::{
    error::ModelError,
    ops::{
        Isa,
        dense::Clamp,
        depthwise_conv::{DepthwiseConv, Parameters, same_padding},
    },
    predictor::network::{NetworkBuilder, Padding, Value},
    weights::BackboneWeights,
};

const BATCH_NORM_EPSILON: f64 = 1e-3;
const STEM: &str = "_conv_stem";
const STEM_CHANNELS: usize = 32;
const STEM_KERNEL: usize = 3;
const STEM_STRIDE: usize = 2;
const ACTIVATION_LIMIT: f32 = 6.0;

/// One row of the architecture's table: blocks of one kernel and expansion, the first with `stride` and the change of
/// channels.
struct Row {
    kernel: usize,
    stride: usize,
    expansion: usize,
}

/// The table of EfficientNet-B0, up to the last tap; how many blocks and channels a row has is the member's own.
const ROWS: [Row; 5] = [
    Row { kernel: 3, stride: 1, expansion: 1 },
    Row { kernel: 3, stride: 2, expansion: 6 },
    Row { kernel: 5, stride: 2, expansion: 6 },
    Row { kernel: 3, stride: 2, expansion: 6 },
    Row { kernel: 5, stride: 1, expansion: 6 },
];

struct BlockPlan {
    kernel: usize,
    stride: usize,
    input: usize,
    hidden: usize,
    output: usize,
}

impl BlockPlan {
    fn expands(&self) -> bool {
        self.hidden != self.input
    }
}

fn block_plans(net: &EfficientNetLite) -> Vec<BlockPlan> {
    let mut input = STEM_CHANNELS;
    let mut plans = Vec::new();
    for ((row, repeats), output) in ROWS.iter().zip(net.repeats).zip(net.channels) {
        for repeat in 0..*repeats {
            plans.push(BlockPlan {
                kernel: row.kernel,
                stride: if repeat == 0 { row.stride } else { 1 },
                input,
                hidden: input * row.expansion,
                output: *output,
            });
            input = *output;
        }
    }
    plans
}

/// Index of the last block of every row but the first: the stages that have a name.
fn stage_ends(net: &EfficientNetLite) -> Vec<usize> {
    let ends = net.repeats.iter().scan(0, |end, repeats| {
        *end += repeats;
        Some(*end - 1)
    });
    ends.skip(1).collect()
}

/// Rows of the table up to the last one at each level's stride.
const ROWS_OF_LEVELS: [usize; 3] = [2, 3, 5];

/// The network cut after this level, from 1.
pub(super) fn up_to(net: EfficientNetLite, level: usize) -> EfficientNetLite {
    let rows = level.checked_sub(1).and_then(|i| ROWS_OF_LEVELS.get(i).copied()).unwrap_or(ROWS.len());
    let cut = |of_rows: &'static [usize]| of_rows.get(..rows).unwrap_or(of_rows);
    EfficientNetLite { repeats: cut(net.repeats), channels: cut(net.channels) }
}

/// Names and shapes of every tensor.
pub(super) fn tensor_specs(net: &EfficientNetLite) -> Vec<TensorSpec> {
    let mut specs = Vec::new();
    let mut push = |conv: String, norm: String, shape: [usize; 4]| {
        specs.push(TensorSpec { name: format!("{conv}.weight"), shape: shape.to_vec() });
        for name in ["weight", "bias", "running_mean", "running_var"] {
            specs.push(TensorSpec { name: format!("{norm}.{name}"), shape: vec![shape[0]] });
        }
    };
    push(STEM.into(), "_bn0".into(), [STEM_CHANNELS, 3, STEM_KERNEL, STEM_KERNEL]);
    for (i, plan) in block_plans(net).iter().enumerate() {
        let names = BlockNames::new(i);
        if plan.expands() {
            push(names.expand, names.expand_norm, [plan.hidden, plan.input, 1, 1]);
        }
        push(names.depthwise, names.depthwise_norm, [plan.hidden, 1, plan.kernel, plan.kernel]);
        push(names.project, names.project_norm, [plan.output, plan.hidden, 1, 1]);
    }
    specs
}

/// Every named stage with its channels.
#[cfg(test)]
pub(super) fn stages(net: &EfficientNetLite) -> Vec<(String, usize)> {
    let plans = block_plans(net);
    stage_ends(net).into_iter().map(|i| (format!("_blocks.{i}"), plans[i].output)).collect()
}

/// The source framework's names of a block's parts.
struct BlockNames {
    expand: String,
    expand_norm: String,
    depthwise: String,
    depthwise_norm: String,
    project: String,
    project_norm: String,
}

impl BlockNames {
    fn new(index: usize) -> Self {
        let name = |part: &str| format!("_blocks.{index}.{part}");
        Self {
            expand: name("_expand_conv"),
            expand_norm: name("_bn0"),
            depthwise: name("_depthwise_conv"),
            depthwise_norm: name("_bn1"),
            project: name("_project_conv"),
            project_norm: name("_bn2"),
        }
    }
}

/// Expand 1×1, depthwise, project 1×1; the sum where shapes allow it.
///
/// The bias and ReLU6 that end the expansion (for the first block: the stem) are applied by the depthwise op while it
/// reads its input, which saves two passes over the network's largest maps.
#[derive(Debug, Clone)]
struct Block {
    expand: Option<Pointwise>,
    depthwise: DepthwiseConv,
    project: Pointwise,
    residual: Residual,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Residual {
    Added,
    None,
}

impl Block {
    fn forward(&self, x: &Tensor) -> Result<Tensor, ModelError> {
        let hidden = match &self.expand {
            Some(expand) => expand.forward_no_bias(x)?,
            None => x.clone(),
        };
        let residual = (self.residual == Residual::Added).then_some(x);
        self.project.forward(&self.depthwise.forward(&hidden)?, After { residual, ..After::NOTHING })
    }
}

/// Adds every layer to a program for images of these sides; gives each stage's output.
pub(super) fn compile(
    net: &EfficientNetLite,
    weights: &BackboneWeights,
    image: [usize; 2],
    builder: &mut dyn NetworkBuilder,
) -> Result<Vec<(String, Value)>, ModelError> {
    let folded = |conv: &str, norm: &str| fold(weights, conv, norm, BATCH_NORM_EPSILON);
    let stem = folded(STEM, "_bn0")?;
    let mut x = builder.stem(image, &stem.convolution(STEM_STRIDE, Clamp::RELU6), Padding::Same);
    let mut stages = Vec::new();
    for (i, plan) in block_plans(net).iter().enumerate() {
        let names = BlockNames::new(i);
        let expand = plan.expands().then(|| folded(&names.expand, &names.expand_norm)).transpose()?;
        let expand = expand.as_ref().map(|expand| expand.convolution(1, Clamp::RELU6));
        let depthwise = folded(&names.depthwise, &names.depthwise_norm)?;
        let project = folded(&names.project, &names.project_norm)?;
        x = builder.inverted_residual(
            x,
            expand.as_ref(),
            &depthwise.convolution(plan.stride, Clamp::RELU6),
            &project.convolution(1, Clamp::NONE),
            plan.stride == 1 && plan.input == plan.output,
        );
        if stage_ends(net).contains(&i) {
            stages.push((format!("_blocks.{i}"), x));
        }
    }
    Ok(stages)
}

/// The network with its weights.
#[derive(Debug, Clone)]
pub(super) struct Layers {
    stem: Conv,
    blocks: Vec<Block>,
    /// Indices of the blocks whose outputs have a name.
    ends: Vec<usize>,
}

impl Layers {
    /// Reads and folds every layer.
    pub(super) fn load(
        net: &EfficientNetLite,
        weights: &BackboneWeights,
        device: &Device,
    ) -> Result<Self, ModelError> {
        let mut stem = fold(weights, STEM, "_bn0", BATCH_NORM_EPSILON)?;
        // What the next depthwise op has to add to its input before the activation.
        let mut pending_bias = std::mem::take(&mut stem.bias);
        stem.bias = vec![0.0; STEM_CHANNELS];
        let stem = Conv::new(stem, STEM_STRIDE, device)?;

        let mut blocks = Vec::new();
        for (i, plan) in block_plans(net).iter().enumerate() {
            let names = BlockNames::new(i);
            let expand = if plan.expands() {
                let mut folded = fold(weights, &names.expand, &names.expand_norm, BATCH_NORM_EPSILON)?;
                pending_bias = std::mem::replace(&mut folded.bias, vec![0.0; plan.hidden]);
                Some(Pointwise::new(folded, device)?)
            } else {
                None
            };
            let folded = fold(weights, &names.depthwise, &names.depthwise_norm, BATCH_NORM_EPSILON)?;
            let parameters = Parameters {
                weight: folded.weight.into(),
                bias: folded.bias.into(),
                input_bias: std::mem::take(&mut pending_bias).into(),
                limit: ACTIVATION_LIMIT,
            };
            let depthwise = DepthwiseConv::new(plan.kernel, plan.stride, parameters, Isa::detect(), device)?;
            let project = fold(weights, &names.project, &names.project_norm, BATCH_NORM_EPSILON)?;
            blocks.push(Block {
                expand,
                depthwise,
                project: Pointwise::new(project, device)?,
                residual: if plan.stride == 1 && plan.input == plan.output {
                    Residual::Added
                } else {
                    Residual::None
                },
            });
        }
        Ok(Self { stem, blocks, ends: stage_ends(net) })
    }

    /// (B, 3, H, W) -> the outputs of the last block of each stage by name.
    pub(super) fn forward_stages(&self, images: &Tensor) -> Result<Vec<Stage>, ModelError> {
        let (_, _, h, w) = images.dims4()?;
        let (top, bottom) = same_padding(h, STEM_KERNEL, STEM_STRIDE);
        let (left, right) = same_padding(w, STEM_KERNEL, STEM_STRIDE);
        let padded = images.pad_with_zeros(2, top, bottom)?.pad_with_zeros(3, left, right)?;
        let mut x = self.stem.forward_padded_no_bias(&padded, 0)?;
        let mut out = Vec::new();
        for (i, block) in self.blocks.iter().enumerate() {
            x = block.forward(&x)?;
            if self.ends.contains(&i) {
                out.push(Stage { name: format!("_blocks.{i}"), features: x.clone() });
            }
        }
        Ok(out)
    }
}
