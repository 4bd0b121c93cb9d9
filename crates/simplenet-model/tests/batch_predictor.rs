//! The network over batches against the reference one, image by image: scores, maps and features, for every kind of backbone
//! and head, odd sizes, f32 and f16; on the CPU, and on a GPU where this was built with the feature `cuda` and there is one.

#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a failed expectation must stop them

use candle_core::{Device, Tensor};
use simplenet_model::{
    BackboneId, BatchExtractor, BatchPrecision, BatchPredictor, Levels, ModelError, Normalisation,
    anomaly_map::{AnomalyMapConfig, anomaly_map},
    device::{DeviceChoice, open},
    simplenet::{FeatureExtractor, SimpleNet},
};

mod drawn_net;
use drawn_net::{assert_close, drawn_net, drawn_net_with, with_positions};

const NORMALISATION: Normalisation =
    Normalisation { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] };

/// Share of the largest number. f32: as the CPU's compiled network. f16 keeps 11 bits of every activation and weight;
/// up to 53 layers add up to a few of them.
const TOLERANCES: [(BatchPrecision, f32); 2] = [(BatchPrecision::F32, 2e-5), (BatchPrecision::F16, 2e-2)];

fn devices() -> Vec<Device> {
    let mut devices = vec![Device::Cpu];
    match open(DeviceChoice::Cuda(0)) {
        Ok(opened) => devices.push(opened.device),
        Err(error) => eprintln!("skipped: no GPU: {error}"),
    }
    devices
}

/// Photographs that differ from each other.
fn photographs(count: usize, height: usize, width: usize) -> Vec<u8> {
    let byte = |i: usize| ((i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as u8;
    let smooth = |i: usize| (128.0 + 100.0 * (i as f32 / 97.0).sin()) as u8;
    (0..count * height * width * 3).map(|i| smooth(i) ^ (byte(i) >> 3)).collect()
}

/// (3, H, W), as the data crate makes it.
fn normalised(rgb: &[u8]) -> Vec<f32> {
    let value = |c: usize, &v: &u8| (f32::from(v) / 255.0 - NORMALISATION.mean[c]) / NORMALISATION.std[c];
    (0..3).flat_map(|c| rgb.iter().skip(c).step_by(3).map(move |v| value(c, v))).collect()
}

/// Two photographs, both ways.
fn check(net: &SimpleNet, height: usize, width: usize) {
    let rgb = photographs(2, height, width);
    let planes: Vec<f32> = rgb.chunks(3 * height * width).flat_map(normalised).collect();
    let images = Tensor::from_slice(&planes, (2, 3, height, width), &Device::Cpu).unwrap();
    let numbers = |tensor: Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    let features = numbers(net.extractor().features(&images).unwrap());
    let scores = numbers(net.patch_scores(&images).unwrap());
    let (rows, columns) = net.extractor().grid(height, width);
    let config = AnomalyMapConfig::default();
    let maps: Vec<f32> = scores
        .chunks(rows * columns)
        .flat_map(|scores| anomaly_map(scores, rows, columns, height, width, &config))
        .collect();
    let backbone = net.extractor().backbone();
    for device in devices() {
        if !device.is_cpu() {
            // The reference layers too, by candle's kernels and this crate's planar ones.
            let (id, levels, weights) = (backbone.id(), backbone.levels(), backbone.weights());
            let aggregator = *net.extractor().aggregator().config();
            let reference = FeatureExtractor::load(id, levels, weights, aggregator, &device).unwrap();
            let got = numbers(reference.features(&images.to_device(&device).unwrap()).unwrap());
            assert_close(
                &got,
                &features,
                TOLERANCES[0].1,
                &format!("reference features of {id} on {device:?}"),
            );
        }
        for (precision, tolerance) in TOLERANCES {
            let what = format!("{} at {height}x{width} in {precision} on {device:?}", backbone.id());
            let predictor =
                BatchPredictor::compile(net, height, width, NORMALISATION, config, &device, precision)
                    .unwrap();
            assert_eq!(predictor.grid(), (rows, columns), "{what}");
            let got = predictor.run(&rgb).unwrap();
            assert_close(&got.patch_scores, &scores, tolerance, &format!("scores, {what}"));
            assert_close(&got.maps, &maps, tolerance, &format!("maps, {what}"));
            // One by one: the same bits.
            let one = rgb.len() / 2;
            for (i, photograph) in rgb.chunks(one).enumerate() {
                let alone = predictor.run(photograph).unwrap();
                assert_eq!(
                    alone.patch_scores,
                    got.patch_scores[i * rows * columns..][..rows * columns],
                    "{what}"
                );
                assert_eq!(alone.maps, got.maps[i * height * width..][..height * width], "{what}");
            }
            let extractor =
                BatchExtractor::compile(net.extractor(), height, width, &device, precision).unwrap();
            assert_eq!(extractor.grid(), (rows, columns), "{what}");
            let got = extractor.features(&planes).unwrap();
            assert_close(&got, &features, tolerance, &format!("features, {what}"));
        }
    }
}

#[test]
fn every_kind_of_backbone() {
    for (id, paper, side) in [
        (BackboneId::WideResNet50x2, true, 64),
        (BackboneId::ResNet18, true, 72),
        (BackboneId::EfficientNetLite0, false, 96),
        (BackboneId::EfficientNetLite2, false, 64),
        (BackboneId::DinoV2Small, false, 56),
        (BackboneId::ConvNextTiny, false, 48),
    ] {
        check(&drawn_net(id, paper), side, side);
    }
}

#[test]
fn odd_sizes_levels_and_adaptors() {
    for (height, width) in [(1, 1), (17, 40), (33, 47)] {
        check(&drawn_net(BackboneId::EfficientNetLite0, false), height, width);
        check(&drawn_net(BackboneId::ResNet18, false), height, width);
    }
    for numbers in [&[1, 2, 3][..], &[3], &[1, 3]] {
        let levels = Levels::new(numbers).unwrap();
        for layers in [0, 2] {
            check(&drawn_net_with(BackboneId::EfficientNetLite0, levels, false, layers), 48, 56);
        }
    }
}

#[test]
fn scores_that_know_the_place() {
    for ([height, width], cell, dim) in
        [([33, 47], 3, 152), ([64, 72], 3, 40), ([8, 64], 5, 1), ([48, 40], 1, 7)]
    {
        check(
            &with_positions(drawn_net(BackboneId::EfficientNetLite0, false), [height, width], cell, dim),
            height,
            width,
        );
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let net = drawn_net(BackboneId::EfficientNetLite0, false);
    let compile = |height, width| {
        let (map, device) = (AnomalyMapConfig::default(), Device::Cpu);
        BatchPredictor::compile(&net, height, width, NORMALISATION, map, &device, BatchPrecision::F32)
    };
    for sides in [(0, 32), (32, 0)] {
        let error = compile(sides.0, sides.1).unwrap_err();
        assert!(
            matches!(error, ModelError::Configuration { .. } | ModelError::InputShape { .. }),
            "{error:?}"
        );
    }
    let predictor = compile(32, 40).unwrap();
    let one = 3 * 32 * 40;
    for bytes in [0, one - 1, one + 3, 2 * one - 1] {
        let message = predictor.run(&vec![0; bytes]).unwrap_err().to_string();
        assert!(message.contains("3 x 32 x 40 bytes"), "{message}");
    }
    assert_eq!("f16".parse::<BatchPrecision>().unwrap(), BatchPrecision::F16);
    assert!("bf16".parse::<BatchPrecision>().unwrap_err().to_string().contains("f32 or f16"));
}
