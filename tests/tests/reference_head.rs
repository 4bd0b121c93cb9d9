//! Adaptor, discriminator, loss and optimisers against the official code's, driven by the manifest of the `head` case:
//! inference at full size, and training steps at a small one.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // helpers of tests

mod common;

use std::{collections::HashMap, path::Path};

use candle_core::{DType, Device, Tensor};
use serde_json::Value;
use simplenet_model::simplenet::{Head, HeadConfig};
use simplenet_tests::{
    read_manifest,
    scheme::{self, Kind},
};
use simplenet_train::{
    config::Loss,
    head::{
        head_step::{HeadStep, HeadTensors, Noise, RunningStatistics, StepConfig},
        loss::truncated_l1,
        optimizer::{Adam, AdamConfig, Moments, WeightDecay},
    },
};

use common::{check, check_tensor, count, flat, input, list, number, shape, text};

/// The margin of the loss, which the manifest gives in words ("max(0, 0.5 - true)").
const MARGIN: f64 = 0.5;
/// Official names.
const ADAPTOR_WEIGHT: &str = "pre_projection.layers.0fc.weight";
const ADAPTOR_BIAS: &str = "pre_projection.layers.0fc.bias";
const HIDDEN_WEIGHT: &str = "discriminator.body.block1.0.weight";
const HIDDEN_BIAS: &str = "discriminator.body.block1.0.bias";
const NORM_WEIGHT: &str = "discriminator.body.block1.1.weight";
const NORM_BIAS: &str = "discriminator.body.block1.1.bias";
const RUNNING_MEAN: &str = "discriminator.body.block1.1.running_mean";
const RUNNING_VARIANCE: &str = "discriminator.body.block1.1.running_var";
const BATCHES: &str = "num_batches_tracked";
const TAIL_WEIGHT: &str = "discriminator.tail.weight";

#[test]
fn reference_head() {
    let manifest = read_manifest("head");
    for test in list(&manifest, "tests") {
        match test.get("steps") {
            None => inference(test),
            Some(_) => {
                training(test);
                fused_training(test);
            }
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

    states.extend(scores(test, &head));
    for expected in list(test, "expected") {
        let key = text(expected, "key");
        let got = states.get(key).unwrap_or_else(|| panic!("{name}: unknown expectation `{key}`"));
        check_tensor("head", name, expected, got);
    }
}

/// The same steps through `HeadStep` and `Moments`, which train in practice. They have no biases before the batch norm.
fn fused_training(test: &Value) {
    let (name, official, steps) =
        (format!("{}, fused", text(test, "name")), head(test), count(test, "steps"));
    let start: HashMap<String, Tensor> = official.named_tensors().into_iter().collect();
    let values = |name: &str| flat(&start[name]);
    // The biases shift the hidden layer by so much, and its running mean with it; the batch norm takes both away.
    let nothing = Tensor::zeros((1, count(test, "dim")), DType::F32, &Device::Cpu).unwrap();
    let shift =
        official.adaptor.forward(&nothing).unwrap().matmul(&start[HIDDEN_WEIGHT].t().unwrap()).unwrap();
    let shift = flat(&shift.broadcast_add(&start[HIDDEN_BIAS]).unwrap());
    let shifted = |mean: &[f32], sign: f32| -> Vec<f32> {
        mean.iter().zip(&shift).map(|(mean, shift)| mean + sign * shift).collect()
    };
    let mut trained = HeadTensors {
        adaptor_weights: vec![values(ADAPTOR_WEIGHT)],
        hidden_weight: values(HIDDEN_WEIGHT),
        norm_weight: values(NORM_WEIGHT),
        norm_bias: values(NORM_BIAS),
        tail_weight: values(TAIL_WEIGHT),
    };
    let mut statistics =
        RunningStatistics { mean: shifted(&values(RUNNING_MEAN), -1.0), variance: values(RUNNING_VARIANCE) };
    let config = official.config().discriminator;
    let mut step = HeadStep::new(StepConfig {
        dim: config.dim,
        adaptor_layers: 1,
        hidden: config.hidden,
        discriminators: 1,
        loss: Loss::TruncatedL1,
        margin: MARGIN as f32,
        leaky_slope: config.leaky_slope as f32,
        norm_epsilon: config.norm_epsilon,
        norm_momentum: config.norm_momentum,
    });
    let adaptor = adam_config(&test["optimizers"]["pre_projection"]);
    let discriminator = adam_config(&test["optimizers"]["discriminator"]);
    let mut moments: Vec<Moments> =
        trained.parameters().into_iter().map(|values| Moments::new(values.len())).collect();

    let mut states: HashMap<String, Vec<f32>> = HashMap::new();
    for i in 0..steps {
        let features = flat(&input(&list(test, "features")[i]));
        let noise = flat(&input(&list(test, "noise")[i]));
        let got = step.run(&features, Noise::Given(&noise), &trained, &mut statistics).unwrap().loss;
        let want = list(&test["per_step"], "loss")[i].as_f64().unwrap();
        let allowed = number(test, "loss_atol");
        assert!((got - want).abs() <= allowed, "{name}: loss of step {i}: {got} for {want}");

        let configs = [adaptor, discriminator, discriminator, discriminator, discriminator];
        let gradients = step.gradients.parameters();
        let updates = trained.parameters_mut().into_iter().zip(gradients).zip(&mut moments).zip(configs);
        for (((values, gradients), moments), config) in updates {
            moments.step(&config, 1.0, values, gradients);
        }
        let names = [ADAPTOR_WEIGHT, HIDDEN_WEIGHT, NORM_WEIGHT, NORM_BIAS, TAIL_WEIGHT];
        for (key, values) in names.into_iter().zip(trained.parameters()) {
            states.insert(format!("step{}.{key}", i + 1), values.clone());
        }
        states.insert(format!("step{}.{RUNNING_MEAN}", i + 1), shifted(&statistics.mean, 1.0));
        states.insert(format!("step{}.{RUNNING_VARIANCE}", i + 1), statistics.variance.clone());
    }

    // The trained numbers in the layers of inference, with biases of zero.
    let last = |key: &str| match key {
        RUNNING_MEAN => statistics.mean.clone(),
        _ => {
            states.get(&format!("step{steps}.{key}")).cloned().unwrap_or_else(|| vec![0.0; values(key).len()])
        }
    };
    let tensors = official.config().tensor_specs().into_iter().map(|(key, shape)| {
        let tensor = Tensor::from_vec(last(&key), shape, &Device::Cpu).unwrap();
        (key, tensor)
    });
    let scorer =
        Head::from_tensors(official.config(), &tensors.collect(), &Device::Cpu, Path::new("fused")).unwrap();
    states.extend(scores(test, &scorer).map(|(key, scores)| (key, flat(&scores))));
    for expected in list(test, "expected") {
        let key = text(expected, "key");
        if [ADAPTOR_BIAS, HIDDEN_BIAS, BATCHES].iter().any(|absent| key.ends_with(absent)) {
            continue;
        }
        let got = states.get(key).unwrap_or_else(|| panic!("{name}: unknown expectation `{key}`"));
        check("head", &name, expected, &shape(expected), got);
    }
}

/// What a head gives for the features that the case evaluates on, with the batch's own statistics and with the running
/// ones, under the keys of the manifest.
fn scores(test: &Value, head: &Head) -> [(String, Tensor); 2] {
    let (features, steps) = (input(&test["eval_features"]), count(test, "steps"));
    let adapted = head.adaptor.forward(&features).unwrap();
    let (logits, _) = head.discriminator.forward_with_batch_statistics(&adapted).unwrap();
    [
        (format!("batch_stat_scores_step{steps}"), logits.neg().unwrap()),
        (format!("eval_scores_step{steps}"), head.score(&features).unwrap()),
    ]
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
