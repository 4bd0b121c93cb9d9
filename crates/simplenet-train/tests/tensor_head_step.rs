//! The training step over tensors against `HeadStep` with `Moments`, over several steps. On the CPU here, by the ops'
//! references; with the feature `cuda` of `simplenet-model` and a GPU, there too.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // helpers of tests

use candle_core::{Device, Tensor};
use simplenet_train::{
    config::Loss,
    head::{
        head_step::{HeadStep, HeadTensors, Noise, RunningStatistics, StepConfig},
        optimizer::{AdamConfig, Moments, WeightDecay},
        tensor_head_step::{TensorHeadStep, outcomes},
    },
    noise::{Generator, Purpose},
};

/// Largest difference of a gradient, relative to the largest of its tensor: f32 sums of up to 260 rows and 64 columns in two
/// orders, behind a batch norm that cancels. Cross entropy's slope carries the logit's rounding error.
const GRADIENT: f32 = 2e-5;
/// Largest difference of a parameter after three steps, relative to the learning rate, which is what Adam moves a number by:
/// gradients near zero are divided by their own size.
const MOVED: f32 = 2e-3;
/// Largest difference of loss and running statistics.
const LOSS: f64 = 2e-6;
const RATE: f64 = 1e-3;
const STEPS: u32 = 3;

fn devices() -> Vec<Device> {
    let mut devices = vec![Device::Cpu];
    if candle_core::utils::cuda_is_available() {
        match Device::new_cuda(0) {
            Ok(device) => devices.push(device),
            Err(error) => eprintln!("skipped: no GPU: {error}"),
        }
    }
    devices
}

fn head(config: &StepConfig) -> (HeadTensors, RunningStatistics) {
    let StepConfig { dim, adaptor_layers, hidden, .. } = *config;
    let mut stream = Generator::new(11).stream(Purpose::Initialisation);
    let mut draw = |count: usize, deviation: f32, mean: f32| -> Vec<f32> {
        (0..count).map(|_| mean + deviation * stream.normal()).collect()
    };
    let of_dim = 1.0 / (dim as f32).sqrt();
    let part = (hidden / config.discriminators) as f32;
    let tensors = HeadTensors {
        adaptor_weights: (0..adaptor_layers).map(|_| draw(dim * dim, of_dim, 0.0)).collect(),
        hidden_weight: draw(hidden * dim, of_dim, 0.0),
        norm_weight: draw(hidden, 0.3, 1.0),
        norm_bias: draw(hidden, 0.3, 0.0),
        tail_weight: draw(hidden, 1.0 / part.sqrt(), 0.0),
    };
    let mean = draw(hidden, 0.5, 0.0);
    let variance = draw(hidden, 0.3, 0.0).iter().map(|v| 1.0 + v.abs()).collect();
    (tensors, RunningStatistics { mean, variance })
}

fn check(rows: usize, config: StepConfig, device: &Device) {
    let what = format!("{rows} rows, {config:?}, {device:?}");
    let (mut tensors, mut statistics) = head(&config);
    let mut moments: Vec<Moments> =
        tensors.parameters().into_iter().map(|values| Moments::new(values.len())).collect();
    let mut literal = HeadStep::new(config);
    let mut step = TensorHeadStep::new(config, &tensors, &statistics, &moments, device).unwrap();
    let of_adaptor = AdamConfig {
        learning_rate: RATE,
        weight_decay: WeightDecay::Decoupled(1e-2),
        ..AdamConfig::default()
    };
    let of_discriminator =
        AdamConfig { learning_rate: RATE, weight_decay: WeightDecay::Coupled(1e-4), ..AdamConfig::default() };

    let generator = Generator::new(5);
    let mut waiting = vec![];
    let mut expected = vec![];
    for number in 0..STEPS {
        let mut features = vec![0.0; rows * config.dim];
        generator.fill_normal(Purpose::Golden, number, 1.0, &mut features);
        let rate = 1.0 - 0.2 * f64::from(number);
        let noise = Noise::Drawn(generator, number, 0.5);
        expected.push(literal.run(&features, noise, &tensors, &mut statistics).unwrap());
        let batch = Tensor::from_slice(&features, (rows, config.dim), device).unwrap();
        let got = step.run(&batch, noise).unwrap();

        let flat = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let columns = flat(&got.columns);
        let mut gradients: Vec<Vec<f32>> = got.adaptor.iter().map(flat).collect();
        gradients.push(flat(&got.hidden));
        gradients.extend(columns.chunks_exact(config.hidden).map(<[f32]>::to_vec));
        let wanted = literal.gradients.parameters();
        assert_eq!(gradients.len(), wanted.len(), "{what}");
        // After the first step parameters differ by rounding already.
        let allowed = GRADIENT * if number == 0 { 1.0 } else { 5.0 };
        for (i, (got, want)) in gradients.iter().zip(wanted).enumerate() {
            let largest = want.iter().fold(0.0f32, |most, v| most.max(v.abs()));
            close(&format!("{what}: step {number}, gradient {i}"), got, want, allowed * largest);
            assert!(largest > 0.0, "{what}: gradient {i} is zero");
        }

        let updates =
            tensors.parameters_mut().into_iter().zip(literal.gradients.parameters()).zip(&mut moments);
        for (i, ((values, gradient), moments)) in updates.enumerate() {
            let config = if i < config.adaptor_layers { &of_adaptor } else { &of_discriminator };
            moments.step(config, rate, values, gradient);
        }
        step.update(&got, &of_adaptor, &of_discriminator, rate).unwrap();
        waiting.push(got.outcome);
    }

    for (number, (got, want)) in outcomes(&waiting).unwrap().iter().zip(&expected).enumerate() {
        let off = (got.loss - want.loss).abs();
        assert!(off <= LOSS * (1.0 + want.loss), "{what}: loss {} for {}", got.loss, want.loss);
        // The same rows are told apart: a share is one row's at least.
        let shares = [(got.p_true, want.p_true), (got.p_fake, want.p_fake)];
        assert!(shares.iter().all(|(a, b)| (a - b).abs() < 1e-6), "{what}: step {number}, {shares:?}");
    }
    let (got, running, got_moments) = step.read().unwrap();
    for (i, (got, want)) in got.parameters().into_iter().zip(tensors.parameters()).enumerate() {
        close(&format!("{what}: parameter {i}"), got, want, MOVED * RATE as f32);
    }
    let allowed = |values: &[f32]| LOSS as f32 * values.iter().fold(1.0f32, |most, v| most.max(v.abs()));
    close(&format!("{what}: running mean"), &running.mean, &statistics.mean, allowed(&statistics.mean));
    let variance = &statistics.variance;
    close(&format!("{what}: running variance"), &running.variance, variance, allowed(variance));

    // What is read goes on to the same bits as what stays on the device.
    let mut again = TensorHeadStep::new(config, &got, &running, &got_moments, device).unwrap();
    let features = Tensor::ones((rows, config.dim), candle_core::DType::F32, device).unwrap();
    let noise = Noise::Drawn(generator, STEPS, 0.5);
    let both = [&mut step, &mut again].map(|step| {
        let gradients = step.run(&features, noise).unwrap();
        step.update(&gradients, &of_adaptor, &of_discriminator, 1.0).unwrap();
        step.read().unwrap()
    });
    assert!(both[0] == both[1], "{what}: after reading and going on");
}

#[test]
fn the_same_steps_as_on_slices() {
    for device in devices() {
        // Rows around blocks of 64, hidden layers that fill no vector.
        for (rows, dim, hidden, discriminators) in
            [(7, 5, 6, 1), (33, 12, 24, 3), (64, 20, 33, 1), (65, 31, 40, 8), (130, 9, 64, 2)]
        {
            for adaptor_layers in [0, 1, 2] {
                for loss in [Loss::TruncatedL1, Loss::CrossEntropy] {
                    let config = StepConfig {
                        dim,
                        adaptor_layers,
                        hidden,
                        discriminators,
                        loss,
                        margin: 0.5,
                        leaky_slope: 0.2,
                        norm_epsilon: 1e-5,
                        norm_momentum: 0.1,
                    };
                    check(rows, config, &device);
                }
            }
        }
    }
}

#[test]
fn given_noise_is_added_as_it_is() {
    let config = StepConfig {
        dim: 4,
        adaptor_layers: 1,
        hidden: 6,
        discriminators: 2,
        loss: Loss::TruncatedL1,
        margin: 0.5,
        leaky_slope: 0.2,
        norm_epsilon: 1e-5,
        norm_momentum: 0.1,
    };
    let (tensors, statistics) = head(&config);
    let moments: Vec<Moments> =
        tensors.parameters().iter().map(|values| Moments::new(values.len())).collect();
    let generator = Generator::new(5);
    let mut noise = vec![0.0; 9 * 4];
    generator.fill_normal(Purpose::Noise, 3, 0.5, &mut noise);
    let features = Tensor::ones((9, 4), candle_core::DType::F32, &Device::Cpu).unwrap();
    let runs = [Noise::Given(&noise), Noise::Drawn(generator, 3, 0.5)].map(|noise| {
        let mut step = TensorHeadStep::new(config, &tensors, &statistics, &moments, &Device::Cpu).unwrap();
        let got = step.run(&features, noise).unwrap();
        (outcomes(&[got.outcome]).unwrap(), got.hidden.to_vec2::<f32>().unwrap())
    });
    assert_eq!(runs[0], runs[1]);
    let mut step = TensorHeadStep::new(config, &tensors, &statistics, &moments, &Device::Cpu).unwrap();
    assert!(step.run(&features, Noise::Given(&noise[1..])).is_err());
    let two_layers = StepConfig { adaptor_layers: 2, ..config };
    let error = TensorHeadStep::new(two_layers, &tensors, &statistics, &moments, &Device::Cpu).err().unwrap();
    assert!(error.to_string().contains("adaptor_layers"), "{error}");
}

fn close(what: &str, got: &[f32], want: &[f32], allowed: f32) {
    assert_eq!(got.len(), want.len(), "{what}: length");
    for (i, (got, want)) in got.iter().zip(want).enumerate() {
        let difference = (got - want).abs();
        assert!(difference <= allowed, "{what}: element {i} is {got}, expected {want}, allowed {allowed:e}");
    }
}
