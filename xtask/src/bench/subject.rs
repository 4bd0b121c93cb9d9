//! The network that is timed, its numbers and its image. In: a backbone's id. Out: the whole network as the preset
//! builds it, and two safetensors files from which another program makes the same backbone and checks it:
//! `weights.safetensors` (f32, the source framework's names) and `example.safetensors` (`image`, `tap0`, `tap1`).

use std::{collections::HashMap, fs, path::Path};

use candle_core::{DType, Device, Tensor, safetensors};
use simplenet_model::{
    BackboneId, BackboneWeights, ModelError,
    feature_norm::FeatureNorm,
    simplenet::{HeadConfig, SimpleNet, SimpleNetConfig},
    weights::{self, Origin},
};
use simplenet_train::{
    config::{FeatureScale, Preset, TrainConfig},
    noise::{Generator, Purpose},
};

/// Height and width of the image, in pixels: the presets' own, or the side next to it that the network takes.
const SIDE: usize = 288;

/// Spread of batch norm's parameters about what does nothing.
const SPREAD: f32 = 0.05;

/// A network and an image for it.
pub(super) struct Subject {
    pub(super) id: BackboneId,
    pub(super) preset: Preset,
    pub(super) net: SimpleNet,
    /// Height and width of the image.
    pub(super) side: usize,
    /// (1, 3, `side`, `side`) f32: normal draws, of the mean and deviation that normalised photographs have.
    pub(super) image: Tensor,
}

impl Subject {
    /// Builds the network and writes the files. The backbone is read back from the file, so that all programs start
    /// from the same bytes.
    ///
    /// # Errors
    /// A folder that cannot be written; numbers that leave the range on the way through the network.
    pub(super) fn new(id: BackboneId, folder: &Path) -> Result<Self, ModelError> {
        let tensors = match weights::origin(id) {
            Origin::Embedded => embedded(id)?,
            Origin::Hub(_) | Origin::Package(_) | Origin::Web(_) => random_backbone(id)?,
        };
        // The paper's preset for the networks of its table; no other one was made for it.
        let preset = if id.name().contains("resnet") { Preset::Paper } else { Preset::Default };
        fs::create_dir_all(folder).map_err(ModelError::io(folder))?;
        let path = folder.join("weights.safetensors");
        safetensors::save(&tensors, &path)?;
        let weights = BackboneWeights::from_file(id, &path)?;
        let net = network(&TrainConfig::preset(preset, id), &weights)?;

        let side = id.nearest_side(SIDE);
        let mut pixels = vec![0.0; 3 * side * side];
        Generator::new(2).fill_normal(Purpose::Golden, 0, 1.0, &mut pixels);
        let image = Tensor::from_vec(pixels, (1, 3, side, side), &Device::Cpu)?;
        let mut example = HashMap::from([("image".to_string(), image.clone())]);
        for (i, tap) in net.extractor().backbone().forward(&image)?.into_iter().enumerate() {
            require_sane(&tap, id)?;
            example.insert(format!("tap{i}"), tap);
        }
        safetensors::save(&example, folder.join("example.safetensors"))?;
        Ok(Self { id, preset, net, side, image })
    }
}

/// The preset's network with a random head; the norm between the halves does nothing where the preset has none.
fn network(config: &TrainConfig, weights: &BackboneWeights) -> Result<SimpleNet, ModelError> {
    let taps = config.backbone.taps(config.levels)?;
    let dim = config.aggregator.dim(&taps.iter().map(|tap| tap.channels).collect::<Vec<_>>());
    let mut head = HeadConfig::new(dim, config.hidden * config.discriminators);
    head.adaptor.layers = config.adaptor_layers;
    let generator = Generator::new(1);
    let mut tensors = random(head.tensor_specs(), &generator)?;
    let norm = match config.feature_scale {
        FeatureScale::None => FeatureNorm::identity(dim, &Device::Cpu)?,
        FeatureScale::GlobalDeviation | FeatureScale::PerDimension => {
            let mut means = vec![0.0; dim];
            generator.fill_normal(Purpose::Noise, 0, SPREAD, &mut means);
            let scales: Vec<f32> = means.iter().rev().map(|x| x.exp()).collect();
            FeatureNorm::new(&means, &scales, &Device::Cpu)?
        }
    };
    tensors.extend(norm.named_tensors());
    let TrainConfig { levels, aggregator, .. } = *config;
    let config = SimpleNetConfig { backbone: weights.id, levels, aggregator, head, position: None };
    SimpleNet::from_tensors(&config, weights, &tensors, &Device::Cpu, Path::new("random head"))
}

/// The embedded weights in f32.
fn embedded(id: BackboneId) -> Result<HashMap<String, Tensor>, ModelError> {
    let tensors = BackboneWeights::embedded(id)?.tensors;
    tensors.into_iter().map(|(name, tensor)| Ok((name, tensor.to_dtype(DType::F32)?))).collect()
}

fn random_backbone(id: BackboneId) -> Result<HashMap<String, Tensor>, ModelError> {
    let specs = id.tensor_specs().into_iter().map(|spec| (spec.name, spec.shape)).collect();
    random(specs, &Generator::new(0))
}

/// Draws every tensor, the same for the same order of names: normal weights, biases and running means about 0, norm
/// weights and running variances about 1. The weights have half the variance of He's (He et al., "Delving deep into
/// rectifiers", 2015, equation 10), with which a residual network's numbers would double in variance at each block.
fn random(
    specs: Vec<(String, Vec<usize>)>,
    generator: &Generator,
) -> Result<HashMap<String, Tensor>, ModelError> {
    let mut tensors = HashMap::new();
    for (stream, (name, shape)) in specs.into_iter().enumerate() {
        let fan_in: usize = shape.iter().skip(1).product();
        let mut values = vec![0.0; shape.iter().product()];
        let sigma = if shape.len() > 1 { (1.0 / fan_in as f32).sqrt() } else { SPREAD };
        generator.fill_normal(Purpose::Initialisation, stream as u32, sigma, &mut values);
        if shape.len() == 1 && (name.ends_with(".weight") || name.ends_with(".running_var")) {
            values.iter_mut().for_each(|value| *value = value.exp());
        }
        tensors.insert(name, Tensor::from_vec(values, shape, &Device::Cpu)?);
    }
    Ok(tensors)
}

/// Times and deviations mean nothing where numbers are infinite, not numbers, or all the same.
fn require_sane(tap: &Tensor, id: BackboneId) -> Result<(), ModelError> {
    /// Far from the largest f16, so from that of every type that an engine may calculate in.
    const LARGEST: f32 = 1e3;
    let values = tap.flatten_all()?.to_vec1::<f32>()?;
    let largest = values.iter().fold(0.0, |largest: f32, value| largest.max(value.abs()));
    let nonzero = values.iter().filter(|value| **value != 0.0).count();
    if values.iter().all(|value| value.is_finite()) && largest <= LARGEST && 4 * nonzero > values.len() {
        return Ok(());
    }
    Err(ModelError::Configuration {
        what: "benchmark weights",
        reason: format!(
            "a tap of {id} reaches {largest} and {nonzero} of its {} numbers are not 0; expected finite numbers up to \
             {LARGEST}, more than a quarter of them not 0",
            values.len()
        ),
    })
}
