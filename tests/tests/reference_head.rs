//! Adaptor, discriminator, loss and optimisers against the official code's, driven by the manifest of the `head` case:
//! inference at full size, and training steps at a small one.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // helpers of tests

mod common;

use std::{collections::HashMap, path::Path};

use candle_core::{Device, Tensor};
use serde_json::Value;
use simplenet_model::simplenet::{Head, HeadConfig};
use simplenet_tests::{
    read_manifest,
    scheme::{self, Kind},
};
use simplenet_train::{
    loss::truncated_l1,
    optimizer::{Adam, AdamConfig, WeightDecay},
};

use common::{check_tensor, count, flat, input, list, number, text};

/// The margin of the loss, which the manifest gives in words ("max(0, 0.5 - true)").
const MARGIN: f64 = 0.5;

#[test]
fn reference_head() {
    let manifest = read_manifest("head");
    for test in list(&manifest, "tests") {
        match test.get("steps") {
            None => inference(test),
            Some(_) => training(test),
        }
    }
}

fn inference(test: &Value) {
    let (name, head) = (text(test, "name"), head(test));
    let projection = head.adaptor.forward(&input(&test["input"])).unwrap();
    let logits = head.discriminator.forward_eval(&projection).unwrap().unsqueeze(1).unwrap();
    for expected in list(test, "expected") {
        let got = match text(expected, "key") {
            "projection" => &projection,
            "discriminator" => &logits,
            other => panic!("{name}: unknown expectation `{other}`"),
        };
        check_tensor("head", name, expected, got);
    }
}

fn training(test: &Value) {
    let (name, head, steps) = (text(test, "name"), head(test), count(test, "steps"));
    let optimizer = |which: &str, vars| Adam::new(vars, adam_config(&test["optimizers"][which]));
    let mut adaptor = optimizer("pre_projection", head.adaptor.trainable_vars());
    let mut discriminator = optimizer("discriminator", head.discriminator.trainable_vars());

    let per_step = &test["per_step"];
    let mut states: HashMap<String, Tensor> = HashMap::new();
    for step in 0..steps {
        let features = input(&list(test, "features")[step]);
        let adapted = head.adaptor.forward(&features).unwrap();
        let anomalous = (&adapted + input(&list(test, "noise")[step])).unwrap();
        let n = adapted.dim(0).unwrap();
        let logits =
            head.discriminator.forward_train(&Tensor::cat(&[&adapted, &anomalous], 0).unwrap()).unwrap();
        let (normal, anomalous) = (logits.narrow(0, 0, n).unwrap(), logits.narrow(0, n, n).unwrap());
        let loss = truncated_l1(&normal, &anomalous, MARGIN).unwrap();

        let got = f64::from(loss.to_scalar::<f32>().unwrap());
        let want = list(per_step, "loss")[step].as_f64().unwrap();
        assert!(
            (got - want).abs() <= number(test, "loss_atol"),
            "{name}: loss of step {step}: {got} for {want}"
        );
        let share = |logits: &Tensor, hit: &dyn Fn(f64) -> bool| {
            flat(logits).into_iter().filter(|&v| hit(v.into())).count() as f64 / n as f64
        };
        let p_true = share(&normal, &|v| v >= MARGIN);
        let p_fake = share(&anomalous, &|v| v < -MARGIN);
        assert_eq!(Some(p_true), list(per_step, "p_true")[step].as_f64(), "{name}: p_true of step {step}");
        assert_eq!(Some(p_fake), list(per_step, "p_fake")[step].as_f64(), "{name}: p_fake of step {step}");

        let gradients = loss.backward().unwrap();
        adaptor.step(&gradients).unwrap();
        discriminator.step(&gradients).unwrap();
        for (key, tensor) in head.named_tensors() {
            states.insert(format!("step{}.{key}", step + 1), tensor.copy().unwrap());
        }
    }

    let features = input(&test["eval_features"]);
    let adapted = head.adaptor.forward(&features).unwrap();
    let (logits, _) = head.discriminator.forward_with_batch_statistics(&adapted).unwrap();
    states.insert(format!("batch_stat_scores_step{steps}"), logits.neg().unwrap());
    states.insert(format!("eval_scores_step{steps}"), head.score(&features).unwrap());
    for expected in list(test, "expected") {
        let key = text(expected, "key");
        let got = states.get(key).unwrap_or_else(|| panic!("{name}: unknown expectation `{key}`"));
        check_tensor("head", name, expected, got);
    }
}

/// A head with the scheme's weights for the sizes that a case names.
fn head(test: &Value) -> Head {
    let config = HeadConfig::new(count(test, "dim"), count(test, "hidden"));
    let tensors = config.tensor_specs().into_iter().map(|(name, shape)| {
        let kind = match (name.rsplit('.').next().unwrap(), shape.len()) {
            ("weight", 2) => Kind::LinearWeight,
            ("weight", 1) => Kind::NormWeight(1.0),
            ("bias", 1) => Kind::LinearBias,
            ("running_mean", 1) => Kind::NormShift,
            ("running_var", 1) => Kind::NormVariance,
            other => panic!("{name}: unknown kind of tensor {other:?}"),
        };
        let values = scheme::values(&format!("{}{name}", text(test, "weight_prefix")), &shape, kind);
        (name, Tensor::from_vec(values, shape, &Device::Cpu).unwrap())
    });
    Head::from_tensors(config, &tensors.collect(), &Device::Cpu, Path::new("scheme")).unwrap()
}

fn adam_config(optimizer: &Value) -> AdamConfig {
    let decay = number(optimizer, "weight_decay");
    let kind = text(optimizer, "type");
    let weight_decay = match kind.split_whitespace().next() {
        Some("AdamW") => WeightDecay::Decoupled(decay),
        Some("Adam") => WeightDecay::Coupled(decay),
        _ => panic!("unknown optimiser `{kind}`"),
    };
    let betas = &optimizer["betas"];
    AdamConfig {
        learning_rate: number(optimizer, "lr"),
        betas: (betas[0].as_f64().unwrap(), betas[1].as_f64().unwrap()),
        eps: number(optimizer, "eps"),
        weight_decay,
    }
}
