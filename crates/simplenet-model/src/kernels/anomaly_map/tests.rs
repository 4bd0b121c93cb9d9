//! One list of cases over the two steps one after the other, the plan on the CPU, tensors and the CUDA kernel.

use candle_core::{DType, Device, Tensor};

use super::*;
use crate::{
    anomaly_map::AnomalyMapConfig,
    kernels::{
        cuda::emulated::{self, Memory},
        numbers,
        tensor_op::test_devices,
    },
};

/// Patches, pixels and deviation. The presets' first.
const CASES: [([usize; 2], [usize; 2], f64); 14] = [
    ([36, 36], [288, 288], 4.0),
    ([36, 36], [97, 130], 4.0),
    ([1, 1], [1, 1], 4.0),
    ([1, 1], [9, 35], 4.0),
    // Smaller than the Gaussian's reach: reflected again and again.
    ([3, 2], [5, 3], 4.0),
    ([2, 3], [17, 1], 9.0),
    ([4, 5], [6, 7], 300.0),
    ([5, 33], [5, 33], 0.4),
    ([5, 33], [40, 33], 0.1),
    // No Gaussian.
    ([7, 3], [7, 3], 0.0),
    ([7, 3], [29, 31], 0.0),
    // Smaller than the scores; more of these than a block holds at once.
    ([41, 23], [9, 11], 1.3),
    ([70, 9], [33, 5], 12.0),
    ([21, 17], [21, 64], 1.3),
];

/// The reference rounds three times to f32, after the resize and after each pass; ours rounds the weights, two sums of up to
/// as many terms as a band has, and the products between. Weights are positive and add up to 1, so each rounding is 2⁻²⁴ of
/// the largest score at most; wide bands have small weights.
const TOLERANCE: f32 = 1e-6;

fn config(sigma: f64) -> AnomalyMapConfig {
    AnomalyMapConfig { sigma, ..Default::default() }
}

fn assert_near(got: &[f32], want: &[f32], largest: f32, case: &str) {
    assert_eq!(got.len(), want.len(), "{case}");
    for (i, (got, want)) in got.iter().zip(want).enumerate() {
        let same = got.is_nan() && want.is_nan();
        assert!(same || (got - want).abs() <= TOLERANCE * largest, "{case}: number {i} is {got}, not {want}");
    }
}

/// The kernel's own text on the CPU.
fn emulated(
    op: &AnomalyMapTensor,
    from: [usize; 2],
    to: [usize; 2],
    scores: &Tensor,
    order: i32,
) -> Vec<f32> {
    let batch = scores.dim(0).unwrap();
    let [rows, columns] = &op.tables;
    let tables = [&rows.bands, &rows.weights, &columns.bands, &columns.weights];
    let mut memory = tables.map(Memory::of);
    let addresses = memory.each_mut().map(Memory::address);
    let launches = |x, out| vec![cuda::launch(batch, from, to, addresses, x, out)];
    emulated::on_tensor(scores, batch * to[0] * to[1], DType::F32, launches, order)
}

#[test]
fn every_implementation_agrees_with_the_two_steps() {
    for (from, to, sigma) in CASES {
        let (config, batch, patches) = (config(sigma), 2, from[0] * from[1]);
        let plain: Vec<f32> = numbers(batch * patches, 7).iter().map(|v| 3.0 * v + 1.0).collect();
        let mut broken = plain.clone();
        broken[patches / 2] = f32::NAN;
        for (scores, name) in [(plain, "numbers"), (broken, "one NaN")] {
            let case = format!("{from:?} to {to:?}, sigma {sigma}, {name}");
            let want: Vec<f32> =
                scores.chunks(patches).flat_map(|s| reference::anomaly_map(s, from, to, &config)).collect();
            assert_eq!(
                want.iter().any(|v| v.is_nan()),
                name == "one NaN" && sees(from, to, patches / 2, &config),
                "{case}"
            );
            let plan = AnomalyMapPlan::new(from, to, &config);
            let got: Vec<f32> = scores.chunks(patches).flat_map(|s| anomaly_map(&plan, s)).collect();
            assert_near(&got, &want, 4.0, &case);
            let tensor = Tensor::from_slice(&scores, (batch, from[0], from[1]), &Device::Cpu).unwrap();
            for device in test_devices() {
                let op = AnomalyMapTensor::new(from[0], from[1], to[0], to[1], &config, &device).unwrap();
                let got = op.forward(&tensor.to_device(&device).unwrap()).unwrap();
                assert_eq!(got.dims(), [batch, to[0], to[1]]);
                let got = got.flatten_all().unwrap().to_vec1().unwrap();
                assert_near(&got, &want, 4.0, &format!("{case}, {device:?}"));
            }
            let op = AnomalyMapTensor::new(from[0], from[1], to[0], to[1], &config, &Device::Cpu).unwrap();
            for &order in emulated::orders() {
                let got = emulated(&op, from, to, &tensor, order);
                assert_near(&got, &want, 4.0, &format!("{case}, threads in order {order}"));
            }
        }
    }
}

/// Whether any pixel reads this patch: where a map is smaller than its scores, the resize leaves some out.
fn sees(from: [usize; 2], to: [usize; 2], patch: usize, config: &AnomalyMapConfig) -> bool {
    let plan = AnomalyMapPlan::new(from, to, config);
    let reads = |bands: &plan::Bands, at: usize| {
        (0..bands.starts.len()).any(|i| {
            let (first, weights) = bands.band(i);
            (first..first + weights.len()).contains(&at)
        })
    };
    reads(&plan.rows, patch / from[1]) && reads(&plan.columns, patch % from[1])
}

#[test]
fn bands_are_averages_and_go_on() {
    for (from, to, sigma) in CASES {
        let AnomalyMapPlan { rows, columns } = AnomalyMapPlan::new(from, to, &config(sigma));
        for bands in [rows, columns] {
            let mut last = (0, 0);
            for i in 0..bands.starts.len() {
                let (first, weights) = bands.band(i);
                let end = first + weights.len();
                assert!(
                    first >= last.0 && end >= last.1 && end <= bands.from,
                    "{from:?} {to:?} {sigma}: {i}"
                );
                let sum: f64 = weights.iter().map(|&w| f64::from(w)).sum();
                assert!(
                    (sum - 1.0).abs() < 1e-6 && weights.iter().all(|&w| w >= 0.0),
                    "{from:?} {to:?}: {sum}"
                );
                last = (first, end);
            }
        }
    }
    let plan = AnomalyMapPlan::new([36, 36], [288, 288], &config(4.0));
    assert_eq!((0..288).map(|i| plan.rows.band(i).1.len()).max(), Some(6));
}

#[test]
fn reflection_repeats() {
    let got: Vec<usize> = (-7..9).map(|i| reference::reflect(i, 3)).collect();
    assert_eq!(got, [0, 0, 1, 2, 2, 1, 0, 0, 1, 2, 2, 1, 0, 0, 1, 2]);
    assert!((-9..9).all(|i| reference::reflect(i, 1) == 0));
}

#[test]
fn the_thread_count_changes_no_bit() {
    let scores = numbers(36 * 36, 3);
    let plan = AnomalyMapPlan::new([36, 36], [640, 480], &config(4.0));
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| anomaly_map(&plan, &scores)).into_iter().map(f32::to_bits).collect::<Vec<_>>()
    };
    assert_eq!(run(1), run(3));
}

#[test]
fn what_does_not_fit_is_refused() {
    let new =
        |from: [usize; 2], sigma| AnomalyMapTensor::new(from[0], from[1], 4, 4, &config(sigma), &Device::Cpu);
    assert!(new([0, 3], 4.0).unwrap_err().to_string().contains("[0, 3]"));
    assert!(new([2, 3], -1.0).unwrap_err().to_string().contains("sigma"));
    let op = new([2, 3], 4.0).unwrap();
    for (scores, word) in [
        (Tensor::zeros((1, 3, 2), DType::F32, &Device::Cpu), "[1, 3, 2]"),
        (Tensor::zeros((2, 3), DType::F32, &Device::Cpu), "(B, 2, 3)"),
        (Tensor::zeros((1, 2, 3), DType::F16, &Device::Cpu), "F16"),
    ] {
        let error = op.forward(&scores.unwrap()).unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
    }
}
