//! ResNets, wide ones too, as torchvision defines them, cut after `layer3` or earlier (He et al., "Deep Residual
//! Learning for Image Recognition", 2015; the stride of a bottleneck sits on its 3×3, as in torchvision; Zagoruyko and
//! Komodakis, "Wide Residual Networks", 2016).
//! In: (B, 3, H, W). Out: `layer1`, `layer2`, `layer3`, as far as it goes, after the last ReLU of each.

use candle_core::{Device, Tensor};

use super::{
    Stage, TensorSpec,
    family::ResNet,
    layers::{After, Conv, Pointwise, fold},
};
use crate::{
    error::ModelError,
    ops::dense::Clamp,
    predictor::network::{NetworkBuilder, Padding, Value},
    weights::BackboneWeights,
};

/// PyTorch's default ε of batch norm.
const BATCH_NORM_EPSILON: f64 = 1e-5;
/// Output channels of the 7×7 stem.
const STEM_CHANNELS: usize = 64;

/// One convolution with its batch norm: names, shape and stride.
struct ConvPlan {
    conv: String,
    norm: String,
    shape: [usize; 4],
    stride: usize,
}

/// One residual block: its main path and, where shape or stride change, the projection beside it.
struct BlockPlan {
    main: Vec<ConvPlan>,
    projection: Option<ConvPlan>,
}

/// The network cut after this stage, from 1.
pub(super) fn up_to(net: ResNet, stage: usize) -> ResNet {
    ResNet { blocks: net.blocks.get(..stage).unwrap_or(net.blocks), ..net }
}

fn stem_plan() -> ConvPlan {
    ConvPlan { conv: "conv1".into(), norm: "bn1".into(), shape: [STEM_CHANNELS, 3, 7, 7], stride: 2 }
}

/// Blocks of each stage in order.
fn stage_plans(net: &ResNet) -> Vec<Vec<BlockPlan>> {
    let ResNet { blocks, expansion, widening } = *net;
    let mut input = STEM_CHANNELS;
    let mut stages = Vec::new();
    for (stage, &count) in blocks.iter().enumerate() {
        let base = 64 << stage;
        let output = base * expansion;
        let mut plans = Vec::new();
        for block in 0..count {
            let prefix = format!("layer{}.{block}", stage + 1);
            let stride = if block == 0 && stage > 0 { 2 } else { 1 };
            let conv = |index: usize, shape: [usize; 4], stride: usize| ConvPlan {
                conv: format!("{prefix}.conv{index}"),
                norm: format!("{prefix}.bn{index}"),
                shape,
                stride,
            };
            let main = if expansion == 1 {
                vec![conv(1, [base, input, 3, 3], stride), conv(2, [base, base, 3, 3], 1)]
            } else {
                let width = base * widening;
                vec![
                    conv(1, [width, input, 1, 1], 1),
                    conv(2, [width, width, 3, 3], stride),
                    conv(3, [output, width, 1, 1], 1),
                ]
            };
            let projection = (block == 0 && (stride != 1 || input != output)).then(|| ConvPlan {
                conv: format!("{prefix}.downsample.0"),
                norm: format!("{prefix}.downsample.1"),
                shape: [output, input, 1, 1],
                stride,
            });
            plans.push(BlockPlan { main, projection });
            input = output;
        }
        stages.push(plans);
    }
    stages
}

/// Names and shapes of every tensor.
pub(super) fn tensor_specs(net: &ResNet) -> Vec<TensorSpec> {
    let mut specs = Vec::new();
    let mut push = |plan: &ConvPlan| {
        specs.push(TensorSpec { name: format!("{}.weight", plan.conv), shape: plan.shape.to_vec() });
        for name in ["weight", "bias", "running_mean", "running_var"] {
            specs.push(TensorSpec { name: format!("{}.{name}", plan.norm), shape: vec![plan.shape[0]] });
        }
    };
    push(&stem_plan());
    for block in stage_plans(net).iter().flatten() {
        block.main.iter().chain(&block.projection).for_each(&mut push);
    }
    specs
}

/// Every stage with its output channels.
#[cfg(test)]
pub(super) fn stages(net: &ResNet) -> Vec<(String, usize)> {
    (0..net.blocks.len()).map(|i| (format!("layer{}", i + 1), (64 << i) * net.expansion)).collect()
}

#[derive(Debug, Clone)]
enum Layer {
    Conv(Conv),
    Pointwise(Pointwise),
}

impl Layer {
    fn load(plan: &ConvPlan, weights: &BackboneWeights, device: &Device) -> Result<Self, ModelError> {
        let folded = fold(weights, &plan.conv, &plan.norm, BATCH_NORM_EPSILON)?;
        Ok(match (plan.shape, plan.stride) {
            ([_, _, 1, 1], 1) => Self::Pointwise(Pointwise::new(folded, device)?),
            (_, stride) => Self::Conv(Conv::new(folded, stride, device)?),
        })
    }

    fn forward(&self, x: &Tensor, after: After<'_>) -> Result<Tensor, ModelError> {
        match self {
            Self::Conv(layer) => layer.forward(x, after),
            Self::Pointwise(layer) => layer.forward(x, after),
        }
    }
}

#[derive(Debug, Clone)]
struct Block {
    main: Vec<Layer>,
    projection: Option<Layer>,
}

impl Block {
    /// ReLU after every convolution; the last one's comes after the sum.
    fn forward(&self, x: &Tensor) -> Result<Tensor, ModelError> {
        let shortcut = match &self.projection {
            Some(layer) => layer.forward(x, After::NOTHING)?,
            None => x.clone(),
        };
        let mut y = x.clone();
        for (i, layer) in self.main.iter().enumerate() {
            let residual = (i + 1 == self.main.len()).then_some(&shortcut);
            y = layer.forward(&y, After { residual, ..After::RELU })?;
        }
        Ok(y)
    }
}

/// Adds every layer to a program for images of these sides; gives each stage's output.
pub(super) fn compile(
    net: &ResNet,
    weights: &BackboneWeights,
    image: [usize; 2],
    builder: &mut dyn NetworkBuilder,
) -> Result<Vec<(String, Value)>, ModelError> {
    let folded = |plan: &ConvPlan| fold(weights, &plan.conv, &plan.norm, BATCH_NORM_EPSILON);
    let plan = stem_plan();
    let stem = folded(&plan)?;
    let stem = builder.stem(image, &stem.convolution(plan.stride, Clamp::RELU), Padding::Centred);
    let mut x = builder.max_pool(stem);
    let mut stages = Vec::new();
    for (i, blocks) in stage_plans(net).iter().enumerate() {
        for block in blocks {
            let shortcut = match &block.projection {
                Some(plan) => builder.conv(x, &folded(plan)?.convolution(plan.stride, Clamp::NONE), None),
                None => x,
            };
            for (i, plan) in block.main.iter().enumerate() {
                let residual = (i + 1 == block.main.len()).then_some(shortcut);
                x = builder.conv(x, &folded(plan)?.convolution(plan.stride, Clamp::RELU), residual);
            }
        }
        stages.push((format!("layer{}", i + 1), x));
    }
    Ok(stages)
}

/// The network with its weights.
#[derive(Debug, Clone)]
pub(super) struct Layers {
    stem: Layer,
    stages: Vec<Vec<Block>>,
}

impl Layers {
    /// Reads and folds every layer.
    pub(super) fn load(net: &ResNet, weights: &BackboneWeights, device: &Device) -> Result<Self, ModelError> {
        let load = |plan: &ConvPlan| Layer::load(plan, weights, device);
        let block = |plan: &BlockPlan| -> Result<Block, ModelError> {
            Ok(Block {
                main: plan.main.iter().map(load).collect::<Result<_, _>>()?,
                projection: plan.projection.as_ref().map(load).transpose()?,
            })
        };
        let stages = stage_plans(net)
            .iter()
            .map(|plans| plans.iter().map(block).collect::<Result<Vec<_>, _>>())
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Self { stem: load(&stem_plan())?, stages })
    }

    /// (B, 3, H, W) -> each stage's output by name.
    pub(super) fn forward_stages(&self, images: &Tensor) -> Result<Vec<Stage>, ModelError> {
        // A ReLU came before: zeros are as good as the minus infinity that max pooling would pad with.
        let stem = self.stem.forward(images, After::RELU)?;
        let padded = stem.pad_with_zeros(2, 1, 1)?.pad_with_zeros(3, 1, 1)?;
        let mut x = padded.max_pool2d_with_stride(3, 2)?;
        let mut out = Vec::new();
        for (i, stage) in self.stages.iter().enumerate() {
            for block in stage {
                x = block.forward(&x)?;
            }
            out.push(Stage { name: format!("layer{}", i + 1), features: x.clone() });
        }
        Ok(out)
    }
}
