//! Networks with random weights, for tests that need no trained ones.

use std::{collections::HashMap, path::Path};

use candle_core::{Device, Tensor};
use simplenet_model::{
    BackboneId, BackboneWeights, Levels,
    patch_aggregator::PatchAggregatorConfig,
    position_energy::{PositionEnergy, PositionEnergyConfig, ScoreWeights},
    simplenet::{HeadConfig, SimpleNet, SimpleNetConfig},
};

/// SplitMix64 (Steele, Lea, Flood 2014).
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Mean 0, deviation 1, within 3.5: a sum of uniform numbers.
    fn normal(&mut self) -> f32 {
        let sum: f32 = (0..4).map(|_| (self.next() >> 40) as f32 / (1 << 24) as f32 - 0.5).sum();
        sum * 3f32.sqrt()
    }

    fn tensor(&mut self, shape: &[usize], centre: f32, deviation: f32) -> Tensor {
        let values: Vec<f32> =
            (0..shape.iter().product()).map(|_| centre + deviation * self.normal()).collect();
        Tensor::from_vec(values, shape, &Device::Cpu).expect("shape and length fit")
    }
}

/// A network of this backbone with the paper's head (`paper`) or the default preset's, all numbers drawn. Convolutions
/// keep the size of what passes through them; a residual block's last norm is small, as in trained networks.
pub(crate) fn drawn_net(id: BackboneId, paper: bool) -> SimpleNet {
    drawn_net_with(id, Levels::default(), paper, 1)
}

/// The same, tapped at these levels and with so many layers in the adaptor.
pub(crate) fn drawn_net_with(
    id: BackboneId,
    levels: Levels,
    paper: bool,
    adaptor_layers: usize,
) -> SimpleNet {
    let mut rng = Rng(id as u64);
    let draw = |spec: &simplenet_model::backbone::TensorSpec| {
        let shape = spec.shape.as_slice();
        let tensor = match (shape, spec.name.rsplit('.').next()) {
            ([_, inputs, h, w], _) => rng.tensor(shape, 0.0, (2.0 / (inputs * h * w) as f32).sqrt()),
            ([_, inputs], _) => rng.tensor(shape, 0.0, (1.0 / *inputs as f32).sqrt()),
            (_, Some("weight")) if spec.name.contains("bn3") => rng.tensor(shape, 0.3, 0.05),
            (_, Some("weight" | "running_var")) => rng.tensor(shape, 1.0, 0.1),
            _ => rng.tensor(shape, 0.0, 0.1),
        };
        (spec.name.clone(), tensor)
    };
    let tensors: HashMap<String, Tensor> = id.tensor_specs().iter().map(draw).collect();
    let weights =
        BackboneWeights::new(id, tensors, "0".repeat(64), Path::new("drawn")).expect("drawn as specified");
    let (aggregator, hidden) = if paper {
        (PatchAggregatorConfig::default(), 1024)
    } else {
        (PatchAggregatorConfig::channel_mean(3), 64)
    };
    let taps = id.taps(levels).expect("levels that it has");
    let dim = aggregator.dim(&taps.iter().map(|tap| tap.channels).collect::<Vec<_>>());
    let mut head = HeadConfig::new(dim, hidden);
    head.adaptor.layers = adaptor_layers;
    let config = SimpleNetConfig { backbone: id, levels, aggregator, head, position: None };
    let mut tensors: HashMap<String, Tensor> = HashMap::new();
    for (name, shape) in config.head.tensor_specs() {
        let tensor = match shape.as_slice() {
            [_, inputs] => rng.tensor(&shape, 0.0, (1.0 / *inputs as f32).sqrt()),
            _ if name.ends_with("weight") || name.ends_with("running_var") => rng.tensor(&shape, 1.0, 0.1),
            _ => rng.tensor(&shape, 0.0, 0.1),
        };
        tensors.insert(name, tensor);
    }
    tensors.insert("feature_norm.mean".into(), rng.tensor(&[dim], 0.2, 0.1));
    tensors.insert("feature_norm.scale".into(), rng.tensor(&[dim], 1.0, 0.1));
    SimpleNet::from_tensors(&config, &weights, &tensors, &Device::Cpu, Path::new("drawn"))
        .expect("drawn as specified")
}

/// The same network with a position-aware half for images of this size, in cells of `cell` patches a side; `dim` numbers of
/// a patch are whitened.
pub(crate) fn with_positions(
    net: SimpleNet,
    [height, width]: [usize; 2],
    cell: usize,
    dim: usize,
) -> SimpleNet {
    let mut rng = Rng(dim as u64);
    let (rows, columns) = net.extractor().grid(height, width);
    let config = PositionEnergyConfig { rows, columns, cell, dim, tiles: [1, 1] };
    let mut draw = |count: usize, deviation: f32| (0..count).map(|_| deviation * rng.normal()).collect();
    let features = net.norm().dim();
    let energy = PositionEnergy {
        config,
        projection: draw(dim * features, (features as f32).sqrt().recip()),
        centre: draw(rows * columns * dim, 0.2),
        whitening: draw(config.cells() * config.triangle(), (dim as f32).sqrt().recip()),
        weights: ScoreWeights { head: 0.5, energy: 0.25, offset: -1.0 },
    };
    net.with_position(energy).expect("drawn as specified")
}

/// (3, height, width) numbers of mean 0 and deviation 1.
#[allow(dead_code)] // of some of the tests that share this module
pub(crate) fn drawn_image(height: usize, width: usize) -> Vec<f32> {
    let mut rng = Rng(77);
    (0..3 * height * width).map(|_| rng.normal()).collect()
}

/// Numbers that differ by at most a share of the largest of those that are wanted.
#[allow(dead_code)] // of some of the tests that share this module
pub(crate) fn assert_close(got: &[f32], want: &[f32], tolerance: f32, what: &str) {
    assert_eq!(got.len(), want.len(), "{what}");
    let largest = want.iter().fold(0.0f32, |largest, v| largest.max(v.abs()));
    assert!(
        largest > 0.0 && largest.is_finite(),
        "{what}: the reference network gives nothing to compare with"
    );
    let worst = want.iter().zip(got).map(|(w, g)| (w - g).abs()).fold(0.0, f32::max);
    assert!(worst <= tolerance * largest, "{what}: off by {worst}, the largest number is {largest}");
}
