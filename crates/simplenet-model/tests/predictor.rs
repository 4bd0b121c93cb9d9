//! The compiled network against the literal one.

#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a failed expectation must stop them

use std::time::Instant;

use candle_core::Tensor;
use simplenet_model::{BackboneId, Predictor, PredictorOptions, simplenet::SimpleNet};

mod drawn_net;
use drawn_net::{drawn_image, drawn_net};

/// The largest difference over the largest score.
fn difference(net: &SimpleNet, height: usize, width: usize, options: &PredictorOptions) -> f32 {
    let image = drawn_image(height, width);
    let input = Tensor::from_slice(&image, (1, 3, height, width), net.extractor().device()).unwrap();
    let t = Instant::now();
    let want = net.patch_scores(&input).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
    let literal = t.elapsed();
    let t = Instant::now();
    let predictor = Predictor::compile(net, height, width, options).unwrap();
    let compile = t.elapsed();
    let got = predictor.patch_scores(&image).unwrap();
    let mut times: Vec<f64> = (0..15)
        .map(|_| {
            let t = Instant::now();
            predictor.patch_scores(&image).unwrap();
            t.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    times.sort_by(f64::total_cmp);
    println!("literal {literal:?} compile {compile:?} run {:.2} ms", times[7]);
    assert_eq!(got, predictor.patch_scores(&image).unwrap(), "a second run differs");
    let largest = want.iter().fold(0.0f32, |largest, v| largest.max(v.abs()));
    want.iter().zip(&got).map(|(w, g)| (w - g).abs()).fold(0.0, f32::max) / largest
}

#[test]
fn agrees_with_the_literal_network() {
    for id in BackboneId::ALL {
        let net = drawn_net(id, true);
        let d = difference(&net, 288, 288, &PredictorOptions::default());
        println!("{id:?}: {d:e}");
        assert!(d < 1e-3, "{id:?}: {d}");
    }
}
