//! A model file with the embedded backbone and a head of drawn numbers, and photographs for it.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use candle_core::{DType, Device, Tensor};
use image::{Rgb, RgbImage};
use simplenet_data::Preprocess;
use simplenet_model::{
    BackboneId, BackboneWeights, Levels,
    anomaly_map::{AnomalyMapConfig, ImageScore},
    checkpoint::{self, ModelRecord, RecordInput, Threshold},
    patch_aggregator::PatchAggregatorConfig,
    simplenet::{HeadConfig, SimpleNet, SimpleNetConfig},
};

/// Height and width of the network's input.
pub(crate) const SIDE: u32 = 64;

/// A folder with `model.safetensors` and `count` photographs.
pub(crate) fn folder(count: usize) -> (tempfile::TempDir, PathBuf, Vec<PathBuf>) {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model.safetensors");
    write_model(&model, 1.0);
    let photographs: Vec<PathBuf> = (0..count).map(|i| folder.path().join(format!("{i}.png"))).collect();
    for (i, path) in photographs.iter().enumerate() {
        photograph(i as u32).save(path).unwrap();
    }
    (folder, model, photographs)
}

/// A photograph of some size, each another one.
pub(crate) fn photograph(number: u32) -> RgbImage {
    RgbImage::from_fn(SIDE + 3 * number, SIDE, |x, y| {
        let value = |step: u32| ((x * step) ^ (y * (step + number))) as u8;
        Rgb([value(3), value(5), value(7)])
    })
}

/// Waves rather than noise: numbers of mean 0 that no two tensors share.
fn drawn(shape: &[usize], number: usize) -> Tensor {
    let value = |i: usize| ((i * 7 + number * 1013) as f32 * 0.618).sin();
    let inputs = shape.get(1).copied().unwrap_or(1);
    let values = (0..shape.iter().product()).map(|i| value(i) / (inputs as f32).sqrt());
    Tensor::from_vec(values.collect::<Vec<f32>>(), shape, &Device::Cpu).unwrap()
}

/// A model whose head's numbers are `scale` times those of [`folder`]'s.
pub(crate) fn write_model(path: &Path, scale: f64) {
    let (backbone, levels) = (BackboneId::EfficientNetLite0, Levels::default());
    let aggregator = PatchAggregatorConfig::channel_mean(3);
    let taps = backbone.taps(levels).unwrap();
    let dim = aggregator.dim(&taps.iter().map(|tap| tap.channels).collect::<Vec<_>>());
    let head = HeadConfig::new(dim, 16);
    let mut tensors = HashMap::new();
    for (number, (name, shape)) in head.tensor_specs().into_iter().enumerate() {
        let tensor = if name.ends_with("running_var") {
            Tensor::ones(shape, DType::F32, &Device::Cpu).unwrap()
        } else {
            (drawn(&shape, number) * scale).unwrap()
        };
        tensors.insert(name, tensor);
    }
    let norm = simplenet_model::feature_norm::FeatureNorm::identity(dim, &Device::Cpu).unwrap();
    tensors.extend(norm.named_tensors());
    let weights = BackboneWeights::embedded(backbone).unwrap();
    let config = SimpleNetConfig { backbone, levels, aggregator, head, position: None };
    let net = SimpleNet::from_tensors(&config, &weights, &tensors, &Device::Cpu, Path::new("drawn")).unwrap();
    let preprocess = Preprocess::whole_image(SIDE, SIDE);
    let input = RecordInput {
        created_by: "a test".into(),
        anomaly_map: AnomalyMapConfig::default(),
        image_score: ImageScore::default(),
        mean: preprocess.mean,
        std: preprocess.std,
        preprocessing: serde_json::to_value(&preprocess).unwrap(),
        training: serde_json::Value::Null,
        goldens: vec![],
    };
    let threshold = Some(Threshold::by_hand(0.0, 0.0));
    let record = ModelRecord { threshold, ..ModelRecord::new(&net, input).unwrap() };
    checkpoint::save(path, &net, &record).unwrap();
}
