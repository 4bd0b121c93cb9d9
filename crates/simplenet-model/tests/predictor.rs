//! The compiled network against the reference one: patch scores and features, for every backbone, head, instruction set
//! and odd sizes.

#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a failed expectation must stop them

use candle_core::{Device, Tensor};
use simplenet_model::{
    ActivationRanges, BackboneId, CompiledExtractor, Levels, ModelError, Normalisation, Precision, Predictor,
    PredictorOptions,
    compute::Isa,
    simplenet::{FeatureExtractor, SimpleNet},
};

mod drawn_net;
use drawn_net::{drawn_image, drawn_net, drawn_net_with, with_positions};

/// Share of the largest number. Issue and documentation ask for 1e-3; Winograd and another order of sums give 1e-5.
const TOLERANCE: f32 = 2e-5;

fn options(isa: Isa) -> PredictorOptions {
    let mut options = PredictorOptions::default();
    options.isa = isa;
    options
}

fn assert_close(got: &[f32], want: &[f32], what: &str) {
    drawn_net::assert_close(got, want, TOLERANCE, what);
}

/// Scores and features of one drawn image, both ways.
fn check(net: &SimpleNet, height: usize, width: usize, isa: Isa) {
    let backbone = net.extractor().backbone();
    let what = format!("{}, levels {}, at {height}x{width}, {isa:?}", backbone.id(), backbone.levels());
    let image = drawn_image(height, width);
    let input = Tensor::from_slice(&image, (1, 3, height, width), net.extractor().device()).unwrap();
    let numbers = |tensor: Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();

    let predictor = Predictor::compile(net, height, width, &options(isa)).unwrap();
    assert_eq!(predictor.grid(), net.extractor().grid(height, width), "{what}");
    let scores = predictor.patch_scores(&image).unwrap();
    assert_close(&scores, &numbers(net.patch_scores(&input).unwrap()), &format!("scores, {what}"));
    assert_eq!(scores, predictor.patch_scores(&image).unwrap(), "{what}: reused memory changes the result");

    let extractor = CompiledExtractor::compile(net.extractor(), height, width, &options(isa)).unwrap();
    assert_eq!(extractor.grid(), predictor.grid());
    let features = extractor.features(&image).unwrap();
    let want = numbers(net.extractor().features(&input).unwrap());
    assert_close(&features, &want, &format!("features, {what}"));
    assert_eq!(features, extractor.features(&image).unwrap(), "{what}: reused memory changes the result");
}

#[test]
fn every_backbone_with_the_papers_head() {
    for id in BackboneId::ALL {
        // Those of 101 layers have the layers of those of 50, more often.
        let deep = matches!(id, BackboneId::ResNet101 | BackboneId::WideResNet101x2);
        let side = id.nearest_side(if deep { 96 } else { 288 });
        check(&drawn_net(id, true), side, side, Isa::detect());
    }
}

#[test]
fn any_number_of_layers_in_the_adaptor() {
    for layers in [0, 1, 2, 4] {
        check(
            &drawn_net_with(BackboneId::EfficientNetLite0, Levels::default(), false, layers),
            64,
            95,
            Isa::detect(),
        );
    }
}

#[test]
fn every_instruction_set_at_odd_sizes() {
    for id in [BackboneId::EfficientNetLite2, BackboneId::ResNet18] {
        let net = drawn_net(id, false);
        for isa in Isa::available() {
            for (height, width) in [(1, 1), (17, 40), (33, 47), (64, 31), (96, 120)] {
                check(&net, height, width, isa);
            }
        }
    }
}

/// One, two and three tapped layers, with the finest or without the coarsest: the whole way, on every instruction set.
#[test]
fn every_choice_of_levels() {
    for id in [BackboneId::EfficientNetLite0, BackboneId::ResNet18] {
        for numbers in [&[1, 2, 3][..], &[2, 3], &[3], &[2], &[1, 2], &[1], &[1, 3]] {
            let levels = Levels::new(numbers).unwrap();
            let net = drawn_net_with(id, levels, false, 1);
            // Patches lie on the grid of the finest level, each side rounded up.
            let cells = |side: usize| side.div_ceil(2 << numbers[0]);
            assert_eq!(net.extractor().grid(97, 121), (cells(97), cells(121)), "{id} {levels}");
            for isa in Isa::available() {
                for (height, width) in [(1, 1), (33, 47)] {
                    check(&net, height, width, isa);
                }
            }
            check(&net, 97, 121, Isa::detect());
            check(&with_positions(net, [97, 121], 3, 20), 97, 121, Isa::detect());
        }
        // The official pooling, whose outputs straddle channels and need not be whole rows of a patch.
        for numbers in [&[1, 2, 3][..], &[3]] {
            check(&drawn_net_with(id, Levels::new(numbers).unwrap(), true, 1), 64, 96, Isa::detect());
        }
    }
}

#[test]
fn a_choice_that_the_backbone_does_not_have_is_refused() {
    let net = drawn_net(BackboneId::DinoV2Small, false);
    for numbers in [&[1, 2, 3][..], &[3], &[2], &[1, 2]] {
        let (levels, weights) = (Levels::new(numbers).unwrap(), net.extractor().weights());
        let config = *net.extractor().aggregator().config();
        let refused = FeatureExtractor::load(weights.id, levels, weights, config, &Device::Cpu).unwrap_err();
        let message = refused.to_string();
        assert!(message.contains("dinov2-vits14") && message.contains(&levels.to_string()), "{message}");
    }
}

#[test]
fn scores_that_know_the_place() {
    for (id, sizes) in [(BackboneId::EfficientNetLite0, [152, 40]), (BackboneId::ResNet18, [384, 33])] {
        for isa in Isa::available() {
            for ([height, width], cell, dim) in
                [([33, 47], 3, sizes[0]), ([96, 120], 3, sizes[1]), ([8, 64], 5, 1), ([160, 176], 1, 7)]
            {
                let net = with_positions(drawn_net(id, false), [height, width], cell, dim);
                check(&net, height, width, isa);
            }
        }
    }
    // An image of fewer patches is taken for the upper left part, one of more cannot be told.
    let net = with_positions(drawn_net(BackboneId::EfficientNetLite0, false), [96, 120], 3, 40);
    check(&net, 40, 88, Isa::detect());
    let error = Predictor::compile(&net, 96, 121, &PredictorOptions::default()).unwrap_err();
    assert!(error.to_string().contains("12 x 15 patches"), "{error}");
}

/// The ranges of the activations on a few drawn images.
fn ranges(net: &SimpleNet, height: usize, width: usize) -> ActivationRanges {
    let extractor =
        CompiledExtractor::compile(net.extractor(), height, width, &PredictorOptions::default()).unwrap();
    let mut ranges = extractor.observe(&drawn_image(height, width)).unwrap();
    let darker: Vec<f32> = drawn_image(height, width).iter().map(|v| v * 0.5).collect();
    ranges.join(&extractor.observe(&darker).unwrap());
    ranges
}

/// Reduced precision on every instruction set: the scores rise and fall as those in f32 do.
#[test]
fn bf16_and_bytes_follow_f32_on_every_instruction_set() {
    let correlation = |a: &[f32], b: &[f32]| {
        let mean = |v: &[f32]| v.iter().sum::<f32>() / v.len() as f32;
        let (of_a, of_b) = (mean(a), mean(b));
        let sum = |f: &dyn Fn(f32, f32) -> f32| -> f32 {
            a.iter().zip(b).map(|(&a, &b)| f(a - of_a, b - of_b)).sum()
        };
        sum(&|a, b| a * b) / (sum(&|a, _| a * a) * sum(&|_, b| b * b)).sqrt()
    };
    // Least correlation in bf16 and in int8. Another choice of levels draws another head, and how far what a drawn head sums
    // cancels is chance: measured 0.9985 and 0.989 for level 3 alone of Lite0, on every instruction set.
    let choices = [(&[2, 3][..], [0.9995, 0.997]), (&[1, 2, 3], [0.9985, 0.985]), (&[3], [0.9975, 0.985])];
    let nets = [BackboneId::EfficientNetLite0, BackboneId::ResNet18].into_iter().flat_map(|id| {
        choices.map(|(numbers, least)| (drawn_net_with(id, Levels::new(numbers).unwrap(), false, 1), least))
    });
    let normed =
        [BackboneId::DinoV2Small, BackboneId::ConvNextTiny].map(|id| (drawn_net(id, false), [0.9995, 0.997]));
    for (net, [least_bf16, least_int8]) in nets.chain(normed) {
        let backbone = net.extractor().backbone();
        let id = format!("{}, levels {}", backbone.id(), backbone.levels());
        let [height, width] = [97, 121].map(|side| backbone.id().nearest_side(side));
        let image = drawn_image(height, width);
        let ranges = ranges(&net, height, width);
        let want = Predictor::compile(&net, height, width, &PredictorOptions::default())
            .unwrap()
            .patch_scores(&image)
            .unwrap();
        for (precision, least) in [(Precision::Bf16, least_bf16), (Precision::Int8(ranges), least_int8)] {
            for isa in Isa::available() {
                let mut options = options(isa);
                options.precision = precision.clone();
                let predictor = Predictor::compile(&net, height, width, &options).unwrap();
                let got = predictor.patch_scores(&image).unwrap();
                let found = correlation(&want, &got);
                assert!(found >= least, "{id} {} {isa:?}: correlation {found}", precision.name());
                let alone = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
                assert_eq!(
                    alone.install(|| predictor.patch_scores(&image)).unwrap(),
                    got,
                    "threads change the result"
                );
            }
        }
    }
}

/// Networks of layer norms like any other: any size that patches fill, the bytes of a photograph, every instruction set.
#[test]
fn dinov2_and_convnext_are_compiled() {
    let net = drawn_net(BackboneId::DinoV2Small, false);
    let convnext = drawn_net(BackboneId::ConvNextTiny, false);
    for isa in Isa::available() {
        for (height, width) in [(14, 14), (42, 70)] {
            check(&net, height, width, isa);
        }
        for (height, width) in [(16, 16), (48, 80)] {
            check(&convnext, height, width, isa);
        }
    }
    let predictor = Predictor::compile(&net, 28, 42, &PredictorOptions::default()).unwrap();
    let normalisation = Normalisation { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] };
    let rgb: Vec<u8> = (0..3 * 28 * 42).map(|i| (i * 37 % 256) as u8).collect();
    let value = |i: usize, c: usize| {
        (f32::from(rgb[3 * i + c]) / 255.0 - normalisation.mean[c]) / normalisation.std[c]
    };
    let planes: Vec<f32> = (0..3).flat_map(|c| (0..28 * 42).map(move |i| value(i, c))).collect();
    let scores = predictor.patch_scores_rgb(&rgb, &normalisation).unwrap();
    assert_eq!(scores, predictor.patch_scores(&planes).unwrap());
    let alone = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    assert_eq!(
        alone.install(|| predictor.patch_scores(&planes)).unwrap(),
        scores,
        "threads change the result"
    );
    assert!(predictor.patch_scores(&planes[1..]).is_err());

    let message = Predictor::compile(&net, 288, 288, &PredictorOptions::default()).unwrap_err().to_string();
    assert!(message.contains("multiples of 14") && message.contains("294x294"), "{message}");
}

#[test]
fn ranges_that_are_not_those_of_the_backbone_are_refused() {
    let net = drawn_net(BackboneId::EfficientNetLite0, false);
    let mut options = PredictorOptions::default();
    for ranges in [ActivationRanges::default(), ranges(&drawn_net(BackboneId::ResNet18, false), 64, 64)] {
        options.precision = Precision::Int8(ranges);
        let refused = Predictor::compile(&net, 64, 64, &options);
        assert!(matches!(refused, Err(ModelError::Configuration { what: "int8", .. })), "{refused:?}");
    }
    options.precision = Precision::Bf16;
    let extractor = CompiledExtractor::compile(net.extractor(), 64, 64, &options).unwrap();
    assert!(extractor.observe(&drawn_image(64, 64)).is_err());
}

#[test]
fn threads_and_concurrent_calls_change_no_bit() {
    let net = drawn_net(BackboneId::EfficientNetLite0, true);
    let (height, width) = (80, 72);
    let predictor = Predictor::compile(&net, height, width, &PredictorOptions::default()).unwrap();
    let image = drawn_image(height, width);
    let want = predictor.patch_scores(&image).unwrap();
    for threads in [1, 3] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        assert_eq!(pool.install(|| predictor.patch_scores(&image)).unwrap(), want, "{threads} threads");
    }
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..5 {
                    assert_eq!(predictor.patch_scores(&image).unwrap(), want);
                }
            });
        }
    });
}

#[test]
fn the_bytes_of_an_image_give_the_bits_of_the_normalised_one() {
    let net = drawn_net(BackboneId::EfficientNetLite0, false);
    let (height, width) = (33, 47);
    let rgb: Vec<u8> = (0..3 * height * width).map(|i| (i * 37 % 256) as u8).collect();
    let normalisation = Normalisation { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] };
    let value = |i: usize| {
        let (c, pixel) = (i / (height * width), i % (height * width));
        (f32::from(rgb[pixel * 3 + c]) / 255.0 - normalisation.mean[c]) / normalisation.std[c]
    };
    let planes: Vec<f32> = (0..rgb.len()).map(value).collect();
    let predictor = Predictor::compile(&net, height, width, &PredictorOptions::default()).unwrap();
    let got = predictor.patch_scores_rgb(&rgb, &normalisation).unwrap();
    assert_eq!(got, predictor.patch_scores(&planes).unwrap());
}

#[test]
fn images_that_do_not_fit_are_errors() {
    let net = drawn_net(BackboneId::EfficientNetLite0, false);
    let refused = |result: Result<Vec<f32>, ModelError>| {
        assert!(matches!(result, Err(ModelError::InputShape { .. })), "{result:?}");
    };
    assert!(Predictor::compile(&net, 0, 32, &PredictorOptions::default()).is_err());
    let predictor = Predictor::compile(&net, 32, 40, &PredictorOptions::default()).unwrap();
    refused(predictor.patch_scores(&drawn_image(40, 40)));
    let normalisation = Normalisation { mean: [0.5; 3], std: [0.25; 3] };
    refused(predictor.patch_scores_rgb(&[0; 3 * 32 * 40 - 1], &normalisation));
    let extractor =
        CompiledExtractor::compile(net.extractor(), 32, 40, &PredictorOptions::default()).unwrap();
    refused(extractor.features(&[]));
}
