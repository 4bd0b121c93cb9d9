//! The tensor op and the kernel against the reference, to the bit. (The reference against the definition in f64:
//! `simplenet_train::head::optimizer`.)

use candle_core::{DType, Device, Tensor};

use super::*;
use crate::kernels::{
    cuda::emulated::{self, Memory},
    numbers,
    tensor_op::test_devices,
};

fn steps() -> [AdamStep; 3] {
    let plain = AdamStep {
        rate: 0.01,
        root: 3.0,
        coupled: 0.0,
        keep: 1.0,
        betas: [0.9, 0.999],
        rests: [0.1, 0.001],
        eps: 1e-8,
    };
    [plain, AdamStep { coupled: 1e-2, ..plain }, AdamStep { keep: 0.99, rate: 2.0, ..plain }]
}

#[test]
fn tensors_and_the_cuda_kernel_step_to_the_bits_of_the_reference() {
    for (seed, step) in steps().into_iter().enumerate() {
        for len in [1, 2, 255, 256, 1000] {
            let what = format!("{len} numbers, {step:?}");
            let mut state = numbers(3 * len, seed as u32);
            // Second moments are squares; some are zero, as before the first step.
            state[2 * len..]
                .iter_mut()
                .enumerate()
                .for_each(|(i, v)| *v = if i % 3 == 0 { 0.0 } else { *v * *v });
            let gradient = numbers(len, 77);
            let mut want = state.clone();
            {
                let (values, moments) = want.split_at_mut(len);
                let (first, second) = moments.split_at_mut(len);
                reference::update(&step, values, &gradient, first, second);
            }
            assert!(want.iter().zip(&state).all(|(a, b)| a != b), "{what}: all numbers move");
            for device in test_devices() {
                let tensor = Tensor::from_slice(&state, (3, len), &device).unwrap();
                let gradient = Tensor::from_slice(&gradient, (1, len), &device).unwrap();
                super::step(&tensor, &gradient, step).unwrap();
                assert_eq!(
                    tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap(),
                    want,
                    "{what} {device:?}"
                );
            }
            for &order in emulated::orders() {
                let (mut to, mut from) = (Memory::of_slice(&state), Memory::of_slice(&gradient));
                let launch = super::cuda::launch(&step, len, to.address(), from.address());
                // SAFETY: 3 L and L numbers.
                unsafe { emulated::run(&[launch], order) };
                assert_eq!(to.floats(DType::F32), want, "{what}, threads in order {order}");
            }
        }
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let zeros = |shape: &[usize], dtype| Tensor::zeros(shape, dtype, &Device::Cpu).unwrap();
    let view = zeros(&[6, 4], DType::F32).narrow(0, 3, 3).unwrap();
    for (state, gradient, word) in [
        (zeros(&[2, 4], DType::F32), zeros(&[4], DType::F32), "(3, L)"),
        (zeros(&[3, 4], DType::F32), zeros(&[5], DType::F32), "(3, L)"),
        (view, zeros(&[4], DType::F32), "contiguous"),
        (zeros(&[3, 4], DType::F64), zeros(&[4], DType::F32), "f32"),
    ] {
        let error = step(&state, &gradient, steps()[0]).unwrap_err().to_string();
        assert!(error.contains(word), "{word} in {error}");
    }
}
