//! What holds for every backbone whatever its weights: shapes for odd sizes, and results that depend neither on the rest
//! of the batch nor on the number of threads.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // helpers of tests

use std::path::Path;

use candle_core::{Device, Tensor};
use simplenet_model::{Backbone, BackboneId, BackboneWeights, Levels};

/// The embedded network, and one of each other kind with small made-up weights, at every level that they have.
fn backbones() -> [Backbone; 4] {
    let lite = BackboneWeights::embedded(BackboneId::EfficientNetLite0).unwrap();
    let made_up = [BackboneId::ResNet18, BackboneId::DinoV2Small, BackboneId::ConvNextTiny].map(made_up);
    let [resnet, transformer, convnext] = made_up;
    [lite, resnet, transformer, convnext]
        .map(|weights| Backbone::load(weights.id, weights.id.levels(), &weights, &Device::Cpu).unwrap())
}

fn made_up(id: BackboneId) -> BackboneWeights {
    let tensors = id.tensor_specs().into_iter().enumerate().map(|(i, spec)| {
        let count: usize = spec.shape.iter().product();
        let fan_in = spec.shape.iter().skip(1).product::<usize>() as f32;
        let wave = |k: usize| ((k * 37 + i * 11) % 101) as f32 / 50.5 - 1.0;
        let values: Vec<f32> = match spec.name.rsplit('.').next() {
            Some("weight") if spec.shape.len() > 1 => (0..count).map(|k| wave(k) / fan_in.sqrt()).collect(),
            Some("weight" | "running_var") => vec![1.0; count],
            _ => (0..count).map(|k| 0.1 * wave(k)).collect(),
        };
        (spec.name, Tensor::from_vec(values, spec.shape, &Device::Cpu).unwrap())
    });
    BackboneWeights::new(id, tensors.collect(), String::new(), Path::new("made up")).unwrap()
}

fn images(batch: usize, height: usize, width: usize) -> Tensor {
    let values = (0..batch * 3 * height * width).map(|i| ((i * 7919) % 1009) as f32 / 504.5 - 1.0).collect();
    Tensor::from_vec::<_, f32>(values, (batch, 3, height, width), &Device::Cpu).unwrap()
}

fn bits(tensor: &Tensor) -> Vec<u32> {
    tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap().into_iter().map(f32::to_bits).collect()
}

#[test]
fn taps_have_the_input_over_their_stride_rounded_up() {
    for backbone in backbones() {
        for (height, width) in [(32, 32), (33, 47), (1, 1), (17, 64), (40, 24)] {
            let [height, width] = [height, width].map(|side| backbone.id().nearest_side(side));
            let taps = backbone.forward(&images(1, height, width)).unwrap();
            assert_eq!(taps.len(), backbone.id().levels().numbers().count(), "{}", backbone.id());
            for (map, tap) in taps.iter().zip(backbone.taps()) {
                let expected = [1, tap.channels, height.div_ceil(tap.stride), width.div_ceil(tap.stride)];
                assert_eq!(map.dims(), expected, "{} at {height}x{width}", backbone.id());
                assert!(map.is_contiguous());
            }
        }
    }
}

/// A choice of levels gives the maps of all levels at these, bit for bit, and runs nothing after the last of them.
#[test]
fn a_choice_of_levels_is_a_part_of_all_of_them() {
    for all in backbones().into_iter().filter(|backbone| backbone.id().levels() == Levels::ALL) {
        let id = all.id();
        let [height, width] = [33, 47].map(|side| id.nearest_side(side));
        let images = images(1, height, width);
        let maps = all.forward(&images).unwrap();
        for numbers in [&[1][..], &[2], &[3], &[1, 2], &[1, 3], &[2, 3]] {
            let levels = Levels::new(numbers).unwrap();
            let backbone = Backbone::load(id, levels, all.weights(), &Device::Cpu).unwrap();
            let found: Vec<_> = backbone.forward(&images).unwrap().iter().map(bits).collect();
            let want: Vec<_> = levels.numbers().map(|number| bits(&maps[number - 1])).collect();
            assert_eq!(found, want, "{id} {levels}");
            let stages = backbone.forward_stages(&images).unwrap();
            assert_eq!(stages.last().unwrap().name, backbone.taps().last().unwrap().stage, "{id} {levels}");
            assert_eq!(backbone.weights().tensors.len(), id.tensor_specs_for(levels).len(), "{id} {levels}");
            // What was cut off is gone: weights for finer levels do not do for coarser ones.
            let again = Backbone::load(id, Levels::ALL, backbone.weights(), &Device::Cpu);
            assert_eq!(again.is_ok(), levels.last() == 3, "{id} {levels}");
        }
    }
}

#[test]
fn an_images_features_do_not_depend_on_the_rest_of_the_batch() {
    for backbone in backbones() {
        let [height, width] = [64, 48].map(|side| backbone.id().nearest_side(side));
        let batch = images(3, height, width);
        let together = backbone.forward(&batch).unwrap();
        for i in 0..3 {
            let alone = backbone.forward(&batch.narrow(0, i, 1).unwrap()).unwrap();
            for (alone, together) in alone.iter().zip(&together) {
                assert_eq!(
                    bits(alone),
                    bits(&together.narrow(0, i, 1).unwrap()),
                    "{} image {i}",
                    backbone.id()
                );
            }
        }
    }
}

#[test]
fn features_are_the_same_bits_for_any_thread_count() {
    for backbone in backbones() {
        let side = backbone.id().nearest_side(64);
        let images = images(2, side, side);
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| backbone.forward(&images).unwrap().iter().map(bits).collect::<Vec<_>>())
        };
        assert_eq!(run(1), run(3), "{}", backbone.id());
    }
}

#[test]
fn inputs_of_another_shape_are_refused() {
    for backbone in backbones() {
        for shape in [&[3, 32, 32][..], &[1, 1, 32, 32], &[0, 3, 32, 32], &[1, 3, 0, 32]] {
            let x = Tensor::zeros(shape, candle_core::DType::F32, &Device::Cpu).unwrap();
            let message = backbone.forward(&x).unwrap_err().to_string();
            assert!(message.contains("(B, 3, H, W)") && message.contains(&format!("{shape:?}")), "{message}");
        }
    }
}

/// Every layer of the reference networks has a form for GPUs, and it computes the same. Nothing is done without a GPU.
#[cfg(feature = "cuda")]
#[test]
fn a_gpu_agrees_with_the_cpu() {
    use simplenet_model::device::{DeviceChoice, open};
    /// Of the largest magnitude of a map: sums in another order; cuDNN may round the factors of a convolution to TF32.
    const TOLERANCE: f32 = if cfg!(feature = "cudnn") { 1e-2 } else { 1e-3 };
    let gpu = match open(DeviceChoice::Cuda(0)) {
        Ok(opened) => opened.device,
        Err(error) => return eprintln!("skipped: no GPU: {error}"),
    };
    for cpu in backbones() {
        let [height, width] = [65, 48].map(|side| cpu.id().nearest_side(side));
        let images = images(2, height, width);
        let on_gpu = Backbone::load(cpu.id(), cpu.levels(), cpu.weights(), &gpu).unwrap();
        let got = on_gpu.forward_stages(&images.to_device(&gpu).unwrap()).unwrap();
        for (got, want) in got.into_iter().zip(cpu.forward_stages(&images).unwrap()) {
            let numbers = |tensor: &Tensor| {
                tensor.to_device(&Device::Cpu).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap()
            };
            let (found, wanted) = (numbers(&got.features), numbers(&want.features));
            assert_eq!(got.features.dims(), want.features.dims(), "{} {}", cpu.id(), want.name);
            let largest = wanted.iter().fold(0.0f32, |most, v| most.max(v.abs()));
            for (i, (g, w)) in found.iter().zip(&wanted).enumerate() {
                let off = (g - w).abs();
                assert!(off <= TOLERANCE * largest, "{} {}: element {i}: {g}, not {w}", cpu.id(), want.name);
            }
        }
    }
}
