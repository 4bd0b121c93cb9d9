//! One list of cases over the statistics' own energies, tensors and the CUDA kernel.

use candle_core::{DType, Device, Tensor};

use super::*;
use crate::{
    kernels::{
        cuda::emulated::{self, Memory},
        numbers,
        tensor_op::test_devices,
    },
    position_energy::{PositionEnergy, PositionEnergyConfig, ScoreWeights},
};

/// Statistics (rows, columns, cell, d), images (B, h, w) and numbers of a feature's row.
const CASES: [([usize; 4], [usize; 3], usize); 9] = [
    ([1, 1, 1, 1], [1, 1, 1], 1),
    ([5, 7, 3, 4], [2, 5, 7], 4),
    // Features in whole packs; images smaller than the statistics, by whole cells and not.
    ([5, 7, 3, 5], [3, 2, 4], 8),
    ([7, 6, 3, 33], [1, 4, 3], 40),
    // Blocks of columns: one less, equal, one more.
    ([3, 3, 3, 31], [2, 3, 3], 31),
    ([3, 4, 2, 32], [5, 3, 4], 32),
    ([2, 2, 2, 97], [7, 2, 2], 104),
    // More patches in a cell than a block makes, and more outputs than it has threads.
    ([4, 5, 9, 256], [1, 4, 5], 256),
    ([3, 4, 3, 545], [1, 3, 4], 552),
];

/// Sums of up to 545 products in f32 against f64; the sums grow as the root of their number and energies as d.
const TOLERANCE: f32 = 2e-6;

struct Numbers {
    statistics: PositionEnergy,
    /// (B, h, w, stride) and (B, h, w).
    features: Tensor,
    scores: Tensor,
    want: Vec<f32>,
}

/// With a projection that changes nothing, [`PositionEnergy::energies`] takes projected features.
fn numbers_of(
    [rows, columns, cell, dim]: [usize; 4],
    [b, h, w]: [usize; 3],
    stride: usize,
    nan: bool,
) -> Numbers {
    let config = PositionEnergyConfig { rows, columns, cell, dim, tiles: [1, 1] };
    let statistics = PositionEnergy {
        config,
        projection: (0..dim * dim).map(|i| if i / dim == i % dim { 1.0 } else { 0.0 }).collect(),
        centre: numbers(rows * columns * dim, 2),
        whitening: numbers(config.cells() * config.triangle(), 3),
        weights: ScoreWeights { head: 0.5, energy: 2.0, offset: -1.0 },
    };
    let (mut features, scores) = (numbers(b * h * w * stride, 4), numbers(b * h * w, 5));
    if nan {
        features[b * h * w / 2 * stride] = f32::NAN;
    }
    let patches: Vec<f32> = features.chunks(stride).flat_map(|row| row[..dim].to_vec()).collect();
    let images = patches.chunks(h * w * dim);
    let energies = images.flat_map(|image| statistics.energies(image, h, w).unwrap());
    let want = energies.zip(&scores).map(|(energy, &score)| statistics.weights.join(score, energy)).collect();
    Numbers {
        statistics,
        features: Tensor::from_vec(features, (b, h, w, stride), &Device::Cpu).unwrap(),
        scores: Tensor::from_vec(scores, (b, h, w), &Device::Cpu).unwrap(),
        want,
    }
}

fn assert_near(got: &[f32], want: &[f32], dim: usize, case: &str) {
    assert_eq!(got.len(), want.len(), "{case}");
    for (i, (got, want)) in got.iter().zip(want).enumerate() {
        let near = (got - want).abs() <= TOLERANCE * (1.0 + dim as f32);
        assert!(near || (got.is_nan() && want.is_nan()), "{case}: number {i} is {got}, not {want}");
    }
}

/// The kernel's own text on the CPU.
fn emulated(op: &PositionEnergyTensor, all: &Numbers, order: i32) -> Vec<f32> {
    let mut memory = [&op.tables.means, &op.tables.whitening, &all.features, &all.scores].map(Memory::of);
    let mut out = Memory::room(all.want.len(), DType::F32);
    let [means, whitening, x, scores] = memory.each_mut().map(Memory::address);
    let (batch, height, width, stride) = all.features.dims4().unwrap();
    let sizes = cuda::Sizes { batch, height, width, stride };
    let PositionEnergy { config, weights, .. } = &all.statistics;
    let launch = cuda::launch(config, *weights, &sizes, [means, whitening], [x, scores], out.address());
    // SAFETY: the launch is for tensors of these sizes; guards show where it is not.
    unsafe { emulated::run(&[launch], order) };
    out.floats(DType::F32)
}

#[test]
fn tensors_and_the_cuda_kernel_agree_with_the_statistics() {
    for (sizes, images, stride) in CASES {
        for nan in [false, true] {
            let all = numbers_of(sizes, images, stride, nan);
            assert_eq!(all.want.iter().filter(|v| v.is_nan()).count(), usize::from(nan));
            let case = format!("{sizes:?}, images {images:?}, NaN {nan}");
            for device in test_devices() {
                let op = PositionEnergyTensor::new(&all.statistics, &device).unwrap();
                let on = |tensor: &Tensor| tensor.to_device(&device).unwrap();
                let got = op.forward(&on(&all.features), &on(&all.scores)).unwrap();
                assert_eq!(got.dims(), images);
                let got = got.flatten_all().unwrap().to_vec1().unwrap();
                assert_near(&got, &all.want, sizes[3], &format!("{case}, {device:?}"));
            }
            let op = PositionEnergyTensor::new(&all.statistics, &Device::Cpu).unwrap();
            for &order in emulated::orders() {
                let got = emulated(&op, &all, order);
                assert_near(&got, &all.want, sizes[3], &format!("{case}, threads in order {order}"));
            }
        }
    }
}

/// Which patches share a block depends on the batch; their numbers must not.
#[test]
fn the_kernel_gives_a_batch_the_bits_of_its_images() {
    let mut all = numbers_of([5, 7, 3, 70], [3, 5, 7], 72, false);
    let op = PositionEnergyTensor::new(&all.statistics, &Device::Cpu).unwrap();
    let bits = |numbers: Vec<f32>| numbers.into_iter().map(f32::to_bits).collect::<Vec<_>>();
    for &order in emulated::orders() {
        let whole = bits(emulated(&op, &all, order));
        let (features, scores, want) = (all.features.clone(), all.scores.clone(), all.want.clone());
        for image in 0..3 {
            all.features = features.narrow(0, image, 1).unwrap();
            all.scores = scores.narrow(0, image, 1).unwrap();
            all.want.truncate(35);
            assert_eq!(bits(emulated(&op, &all, order)), whole[35 * image..][..35], "image {image}");
        }
        (all.features, all.scores, all.want) = (features, scores, want);
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let all = numbers_of([5, 7, 3, 4], [2, 5, 7], 4, false);
    let broken = PositionEnergy { centre: vec![], ..all.statistics.clone() };
    assert!(PositionEnergyTensor::new(&broken, &Device::Cpu).unwrap_err().to_string().contains("centre"));
    let op = PositionEnergyTensor::new(&all.statistics, &Device::Cpu).unwrap();
    let zeros = |shape: &[usize], dtype| Tensor::zeros(shape, dtype, &Device::Cpu).unwrap();
    let scores = zeros(&[2, 5, 7], DType::F32);
    for (features, scores, word) in [
        (zeros(&[2, 5, 7, 3], DType::F32), &scores, "width 4"),
        (zeros(&[2, 35, 4], DType::F32), &scores, "(B, h, w, 4)"),
        (zeros(&[2, 5, 7, 4], DType::F16), &scores, "F16"),
        (zeros(&[2, 5, 6, 4], DType::F32), &scores, "[2, 5, 6]"),
        (zeros(&[2, 5, 8, 4], DType::F32), &zeros(&[2, 5, 8], DType::F32), "5 x 7"),
    ] {
        let error = op.forward(&features, scores).unwrap_err().to_string();
        assert!(error.contains(word), "expected `{word}` in: {error}");
    }
}
