//! The fused training step against the plain layers with automatic differentiation, on sizes that fit no block, and what
//! else it promises. (The official code's steps: `tests/tests/reference_head.rs`.)

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // helpers of tests

use std::{collections::HashMap, path::Path};

use candle_core::{Device, Tensor};
use simplenet_model::simplenet::{Head, HeadConfig};
use simplenet_train::{
    config::Loss,
    head::{
        head_step::{HeadStep, HeadTensors, Noise, RunningStatistics, StepConfig},
        loss::{cross_entropy, truncated_l1},
    },
    noise::{Generator, Purpose},
};

const CPU: Device = Device::Cpu;
/// Largest difference of a gradient, relative to the largest gradient of its tensor: f32 sums of up to 258 rows and 129
/// columns in two orders. Measured: up to 1.9e-6, but for the two sizes whose batch norm cancels all but rounding.
const TOLERANCE: f32 = 1e-5;

/// Shares of normal and of anomalous rows beyond the margin.
type Shares = (f64, f64);
/// Loss, gradients and running statistics of a step.
type Fused = (f64, HeadTensors, RunningStatistics);

/// Numbers of one step.
struct Case {
    rows: usize,
    config: StepConfig,
    features: Vec<f32>,
    noise: Vec<f32>,
    head: HeadTensors,
    statistics: RunningStatistics,
}

impl Case {
    /// Reproducible numbers for n rows of width D with a hidden layer of width H. `spread` widens the logits: at 1 most
    /// rows are inside the margin and count, at 100 most are beyond it on one side or the other.
    fn new(size: (usize, usize, usize), margin: f32, spread: f32) -> Self {
        Self::adapted(size, margin, spread, 1)
    }

    /// The same with so many layers in the adaptor.
    fn adapted(
        (rows, dim, hidden): (usize, usize, usize),
        margin: f32,
        spread: f32,
        adaptor_layers: usize,
    ) -> Self {
        let mut stream = Generator::new(rows as u64).stream(Purpose::Initialisation);
        let mut draw = |count: usize, deviation: f32| -> Vec<f32> {
            (0..count).map(|_| deviation * stream.normal()).collect()
        };
        let config = StepConfig {
            dim,
            adaptor_layers,
            hidden,
            discriminators: 1,
            loss: Loss::TruncatedL1,
            margin,
            leaky_slope: 0.2,
            norm_epsilon: 1e-5,
            norm_momentum: 0.1,
        };
        Self {
            rows,
            config,
            features: draw(rows * dim, 1.0),
            noise: draw(rows * dim, 0.25),
            head: HeadTensors {
                adaptor_weights: (0..adaptor_layers)
                    .map(|_| draw(dim * dim, 1.0 / (dim as f32).sqrt()))
                    .collect(),
                hidden_weight: draw(hidden * dim, 1.0 / (dim as f32).sqrt()),
                norm_weight: draw(hidden, 0.3).iter().map(|g| 1.0 + g).collect(),
                norm_bias: draw(hidden, 0.3),
                tail_weight: draw(hidden, spread / (hidden as f32).sqrt()),
            },
            statistics: RunningStatistics {
                mean: draw(hidden, 0.5),
                variance: draw(hidden, 0.3).iter().map(|v| 1.0 + v.abs()).collect(),
            },
        }
    }

    /// Loss, gradients and statistics of the fused step.
    fn fused(&self) -> Fused {
        let mut step = HeadStep::new(self.config);
        let mut statistics = self.statistics.clone();
        let outcome =
            step.run(&self.features, Noise::Given(&self.noise), &self.head, &mut statistics).unwrap();
        (outcome.loss, step.gradients, statistics)
    }

    /// What the fused step says of rows beyond the margin.
    fn shares(&self) -> Shares {
        let mut statistics = self.statistics.clone();
        let noise = Noise::Given(&self.noise);
        let mut step = HeadStep::new(self.config);
        let outcome = step.run(&self.features, noise, &self.head, &mut statistics).unwrap();
        (outcome.p_true, outcome.p_fake)
    }

    /// The plain layers with the same numbers; the biases before the norm are given values, which must not matter.
    fn layers(&self) -> Head {
        let StepConfig { dim, adaptor_layers, hidden, .. } = self.config;
        let mut config = HeadConfig::new(dim, hidden);
        config.adaptor.layers = adaptor_layers;
        let tensors = config.tensor_specs().into_iter().map(|(name, shape)| {
            let values = match name.as_str() {
                "pre_projection.layers.0fc.weight" => self.head.adaptor_weights[0].clone(),
                "pre_projection.layers.1fc.weight" => self.head.adaptor_weights[1].clone(),
                "discriminator.body.block1.0.weight" => self.head.hidden_weight.clone(),
                "discriminator.body.block1.1.weight" => self.head.norm_weight.clone(),
                "discriminator.body.block1.1.bias" => self.head.norm_bias.clone(),
                "discriminator.body.block1.1.running_mean" => self.statistics.mean.clone(),
                "discriminator.body.block1.1.running_var" => self.statistics.variance.clone(),
                "discriminator.tail.weight" => self.head.tail_weight.clone(),
                "pre_projection.layers.0fc.bias"
                | "pre_projection.layers.1fc.bias"
                | "discriminator.body.block1.0.bias" => {
                    (0..shape[0]).map(|i| BIAS * (i % 3) as f32).collect()
                }
                other => panic!("unknown tensor {other}"),
            };
            (name, Tensor::from_vec(values, shape, &CPU).unwrap())
        });
        Head::from_tensors(config, &tensors.collect(), &CPU, Path::new("test")).unwrap()
    }
}

impl Case {
    /// The discriminator `index` of `count` alone, over the same features and noise.
    fn single(&self, index: usize, count: usize) -> Self {
        let StepConfig { dim, hidden, .. } = self.config;
        let part = hidden / count;
        let own =
            |values: &[f32], width: usize| values[index * part * width..(index + 1) * part * width].to_vec();
        Self {
            rows: self.rows,
            config: StepConfig { hidden: part, discriminators: 1, ..self.config },
            features: self.features.clone(),
            noise: self.noise.clone(),
            head: HeadTensors {
                adaptor_weights: self.head.adaptor_weights.clone(),
                hidden_weight: own(&self.head.hidden_weight, dim),
                norm_weight: own(&self.head.norm_weight, 1),
                norm_bias: own(&self.head.norm_bias, 1),
                tail_weight: own(&self.head.tail_weight, 1),
            },
            statistics: RunningStatistics {
                mean: own(&self.statistics.mean, 1),
                variance: own(&self.statistics.variance, 1),
            },
        }
    }
}

#[test]
fn several_discriminators_are_as_many_single_ones_over_one_adaptor() {
    for (size, count) in [((65, 12, 24), 3), ((130, 9, 64), 8), ((7, 5, 6), 6)] {
        let mut joint = Case::new(size, 0.5, 3.0);
        let singles: Vec<_> = (0..count).map(|i| joint.single(i, count).fused()).collect();
        joint.config.discriminators = count;
        let (loss, gradients, statistics) = joint.fused();
        let what = format!("{count} discriminators, (rows, D, H) = {size:?}");

        let mean = singles.iter().map(|single| single.0).sum::<f64>() / count as f64;
        assert!((loss - mean).abs() <= 1e-6 * mean, "{what}: loss {loss} for {mean}");
        let mut single_shares = (0.0, 0.0);
        for i in 0..count {
            let (p_true, p_fake) = joint.single(i, count).shares();
            single_shares =
                (single_shares.0 + p_true / count as f64, single_shares.1 + p_fake / count as f64);
        }
        let (p_true, p_fake) = joint.shares();
        let off = (p_true - single_shares.0).abs().max((p_fake - single_shares.1).abs());
        assert!(off < 1e-9, "{what}: {p_true}, {p_fake} for {single_shares:?}");
        let joined =
            |pick: &dyn Fn(&Fused) -> Vec<f32>| -> Vec<f32> { singles.iter().flat_map(pick).collect() };
        for (name, got, want) in [
            ("hidden_weight", &gradients.hidden_weight, joined(&|s| s.1.hidden_weight.clone())),
            ("norm_weight", &gradients.norm_weight, joined(&|s| s.1.norm_weight.clone())),
            ("norm_bias", &gradients.norm_bias, joined(&|s| s.1.norm_bias.clone())),
            ("tail_weight", &gradients.tail_weight, joined(&|s| s.1.tail_weight.clone())),
            ("running mean", &statistics.mean, joined(&|s| s.2.mean.clone())),
            ("running variance", &statistics.variance, joined(&|s| s.2.variance.clone())),
        ] {
            close(&format!("{what}: {name}"), got, &want, 1e-6 * largest(&want).max(1e-3));
        }
        let mut adaptor = vec![0.0; gradients.adaptor_weights[0].len()];
        for (_, single, _) in &singles {
            adaptor.iter_mut().zip(&single.adaptor_weights[0]).for_each(|(sum, g)| *sum += g);
        }
        close(
            &format!("{what}: adaptor"),
            &gradients.adaptor_weights[0],
            &adaptor,
            TOLERANCE * largest(&adaptor),
        );
    }
}

/// Margin, spread, layers of the adaptor, loss.
fn combinations() -> Vec<(f32, f32, usize, Loss)> {
    let mut all = vec![];
    for (margin, spread) in [(0.5, 1.0), (0.5, 100.0), (0.0, 1.0)] {
        for layers in [0, 1, 2] {
            all.extend([Loss::TruncatedL1, Loss::CrossEntropy].map(|loss| (margin, spread, layers, loss)));
        }
    }
    all
}

/// Size of the plain layers' biases.
const BIAS: f32 = 0.1;

#[test]
fn loss_and_gradients_are_those_of_the_plain_layers() {
    let mut beyond = 0;
    for size in [(2, 1, 1), (3, 5, 7), (17, 33, 16), (64, 16, 48), (65, 31, 33), (129, 40, 129), (1, 9, 4)] {
        for (margin, spread, layers, loss) in combinations() {
            let mut case = Case::adapted(size, margin, spread, layers);
            case.config.loss = loss;
            let what = format!(
                "(rows, D, H) = {size:?}, margin {margin}, spread {spread}, {layers} adaptor layers, {loss:?}"
            );
            let (cost, gradients, statistics) = case.fused();

            let plain = case.layers();
            let matrix =
                |values: &[f32]| Tensor::from_slice(values, (case.rows, case.config.dim), &CPU).unwrap();
            let adapted = plain.adaptor.forward(&matrix(&case.features)).unwrap();
            let anomalous = (&adapted + matrix(&case.noise)).unwrap();
            let both = Tensor::cat(&[&adapted, &anomalous], 0).unwrap();
            let logits = plain.discriminator.forward_train(&both).unwrap();
            let [normal, anomalous] = [0, case.rows].map(|from| logits.narrow(0, from, case.rows).unwrap());
            let expected = match loss {
                Loss::TruncatedL1 => truncated_l1(&normal, &anomalous, margin.into()).unwrap(),
                Loss::CrossEntropy => cross_entropy(&normal, &anomalous).unwrap(),
            };
            beyond += flat(&normal).iter().filter(|&&logit| logit > margin).count();
            // The official code's p_true and p_fake. A logit within rounding of the margin may count either way.
            let (p_true, p_fake) = case.shares();
            for (name, share, logits, sign) in
                [("p_true", p_true, &normal, 1.0), ("p_fake", p_fake, &anomalous, -1.0)]
            {
                let told =
                    |slack: f32| flat(logits).iter().filter(|&&l| sign * l > margin + slack).count() as f64;
                let (least, most) = (told(1e-3) / case.rows as f64, told(-1e-3) / case.rows as f64);
                assert!((least..=most).contains(&share), "{what}: {name} {share} not in {least} to {most}");
            }
            let by_tape = expected.backward().unwrap();
            let expected = f64::from(expected.to_scalar::<f32>().unwrap());
            assert!((cost - expected).abs() <= 1e-5 * (1.0 + expected), "{what}: loss {cost} for {expected}");

            let named =
                |vars: Vec<candle_core::Var>| vars.into_iter().map(|var| flat(by_tape.get(&var).unwrap()));
            // Weight and bias of one layer after another.
            let of_adaptor: Vec<Vec<f32>> = named(plain.adaptor.trainable_vars()).collect();
            assert_eq!((of_adaptor.len(), gradients.adaptor_weights.len()), (2 * layers, layers), "{what}");
            let [hidden_weight, hidden_bias, norm_weight, norm_bias, tail_weight]: [Vec<f32>; 5] =
                named(plain.discriminator.trainable_vars()).collect::<Vec<_>>().try_into().unwrap();
            // Cross entropy falls as e^-|logit|: a logit's rounding error is its gradient's relative one.
            let tolerance = match loss {
                Loss::TruncatedL1 => TOLERANCE,
                Loss::CrossEntropy => TOLERANCE * largest(&flat(&logits)).max(1.0),
            };
            // A batch norm over few rows, or over one feature, lets next to nothing through: there the measure is what
            // enters it, divided by the deviation as the norm does it.
            let through = match size {
                (..=2, ..) | (_, 1, _) => {
                    let before = &case.statistics.variance;
                    let batch =
                        statistics.variance.iter().zip(before).map(|(now, old)| 10.0 * (now - 0.9 * old));
                    largest(&case.head.tail_weight) / batch.fold(f32::MAX, f32::min).max(1e-4).sqrt()
                }
                _ => largest(&norm_bias),
            };
            let entering = through * largest(&case.head.hidden_weight).max(1.0);
            for (layer, got) in gradients.adaptor_weights.iter().enumerate() {
                let want = &of_adaptor[2 * layer];
                let allowed = tolerance * largest(want).max(entering);
                close(&format!("{what}: gradient of adaptor layer {layer}"), got, want, allowed);
            }
            for (name, got, want, least) in [
                ("hidden_weight", &gradients.hidden_weight, &hidden_weight, entering),
                ("norm_weight", &gradients.norm_weight, &norm_weight, 0.0),
                ("norm_bias", &gradients.norm_bias, &norm_bias, 0.0),
                ("tail_weight", &gradients.tail_weight, &tail_weight, 0.0),
            ] {
                close(
                    &format!("{what}: gradient of {name}"),
                    got,
                    want,
                    tolerance * largest(want).max(least),
                );
            }
            // Why the fused step does without the biases before the norm.
            let adaptor_biases = of_adaptor.iter().skip(1).step_by(2).map(|bias| ("adaptor", bias));
            for (name, gradient) in adaptor_biases.chain([("hidden", &hidden_bias)]) {
                let (size, allowed) = (largest(gradient), 2e-6 * entering * case.rows as f32);
                assert!(
                    size <= allowed.max(1e-6),
                    "{what}: gradient of the {name} bias is {size:e}, not rounding noise"
                );
            }

            // The biases shift the mean; the fused statistics are of a layer without them.
            let zero = Tensor::zeros((1, case.config.dim), candle_core::DType::F32, &CPU).unwrap();
            let bias = plain.adaptor.forward(&zero).unwrap();
            let plain: HashMap<String, Tensor> = plain.named_tensors().into_iter().collect();
            let variance = flat(&plain["discriminator.body.block1.1.running_var"]);
            close(
                &format!("{what}: running variance"),
                &statistics.variance,
                &variance,
                1e-5 * largest(&variance),
            );
            let weight = plain["discriminator.body.block1.0.weight"].t().unwrap();
            let shift = bias.matmul(&weight).unwrap();
            let shift = flat(&shift.broadcast_add(&plain["discriminator.body.block1.0.bias"]).unwrap());
            let mean: Vec<f32> = flat(&plain["discriminator.body.block1.1.running_mean"])
                .iter()
                .zip(shift)
                .map(|(mean, shift)| mean - 0.1 * shift)
                .collect();
            close(&format!("{what}: running mean"), &statistics.mean, &mean, 1e-5);
        }
    }
    assert!(
        beyond > 100,
        "only {beyond} rows were beyond the margin: their gradient of zero was hardly tested"
    );
}

#[test]
fn the_same_bits_for_any_number_of_threads_and_after_any_step() {
    for size in [(65, 31, 33), (400, 64, 40)] {
        let case = Case::new(size, 0.5, 1.0);
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| case.fused())
        };
        let one = run(1);
        for threads in [2, 3, 8] {
            assert!(run(threads) == one, "{size:?}: {threads} threads");
        }
        // Memory that another, larger step has used.
        let mut step = HeadStep::new(case.config);
        let larger = Case::new((size.0 + 70, size.1, size.2), 0.5, 100.0);
        let mut other = larger.statistics.clone();
        step.run(&larger.features, Noise::Given(&larger.noise), &larger.head, &mut other).unwrap();
        let mut statistics = case.statistics.clone();
        let outcome =
            step.run(&case.features, Noise::Given(&case.noise), &case.head, &mut statistics).unwrap();
        assert!((outcome.loss, step.gradients, statistics) == one, "{size:?}: after another step");
    }
}

#[test]
fn drawn_noise_is_the_generators() {
    let case = Case::new((33, 20, 12), 0.5, 1.0);
    let (generator, number, sigma) = (Generator::new(9), 4, 0.25);
    let mut noise = vec![0.0; case.features.len()];
    generator.fill_normal(Purpose::Noise, number, sigma, &mut noise);
    let given = Case { noise, ..Case::new((33, 20, 12), 0.5, 1.0) }.fused();
    let mut step = HeadStep::new(case.config);
    let mut statistics = case.statistics.clone();
    let drawn = Noise::Drawn(generator, number, sigma);
    let outcome = step.run(&case.features, drawn, &case.head, &mut statistics).unwrap();
    // Normal + noise in either order of addition is the same number.
    assert!((outcome.loss, step.gradients, statistics) == given);
}

#[test]
fn slices_of_another_size_are_an_error() {
    let good = Case::new((8, 6, 4), 0.5, 1.0);
    let mut cases = [0, 1, 2, 3, 4].map(|_| Case::new((8, 6, 4), 0.5, 1.0));
    cases[0].features.pop();
    cases[1].head.adaptor_weights[0].pop();
    cases[2].head.hidden_weight.push(0.0);
    cases[3].noise.pop();
    cases[4].head.adaptor_weights.pop();
    for (i, case) in cases.iter().enumerate() {
        let mut statistics = good.statistics.clone();
        let result = HeadStep::new(good.config).run(
            &case.features,
            Noise::Given(&case.noise),
            &case.head,
            &mut statistics,
        );
        assert!(result.is_err(), "case {i}");
    }
}

fn flat(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

fn largest(values: &[f32]) -> f32 {
    values.iter().fold(0.0, |most, v| most.max(v.abs()))
}

fn close(what: &str, got: &[f32], want: &[f32], allowed: f32) {
    assert_eq!(got.len(), want.len(), "{what}: length");
    for (i, (got, want)) in got.iter().zip(want).enumerate() {
        let difference = (got - want).abs();
        assert!(difference <= allowed, "{what}: element {i} is {got}, expected {want}, allowed {allowed:e}");
    }
}
