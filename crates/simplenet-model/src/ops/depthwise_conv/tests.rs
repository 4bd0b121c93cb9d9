//! One list of cases over the reference, each instruction set, the tensor op and candle's own convolution.

use candle_core::{Device, Tensor};

use super::*;
use crate::ops::{cuda::emulated, numbers, tensor_op::test_devices};

/// Largest difference from the f64 reference: 25 products of numbers up to 6 in f32.
const TOLERANCE: f32 = 2e-5;

/// `numbers` in [-scale, scale).
fn scaled(count: usize, seed: u32, scale: f32) -> Vec<f32> {
    numbers(count, seed).into_iter().map(|v| v * scale).collect()
}

fn parameters(channels: usize, kernel: usize) -> Parameters {
    Parameters {
        weight: scaled(channels * kernel * kernel, 1, 0.5).into(),
        bias: numbers(channels, 2).into(),
        input_bias: scaled(channels, 3, 2.0).into(),
        limit: 6.0,
    }
}

/// (batch, channels, height, width): tiny, odd, wider than a register block, just around one.
const SHAPES: [[usize; 4]; 10] = [
    [1, 1, 1, 1],
    [1, 2, 2, 3],
    [2, 3, 5, 4],
    [1, 5, 7, 31],
    [1, 4, 6, 32],
    [1, 4, 6, 33],
    [2, 7, 9, 64],
    [1, 3, 18, 18],
    [1, 2, 3, 129],
    [3, 11, 36, 36],
];

fn for_each_case(check: impl Fn(&Geometry, &Parameters, [usize; 2], &[f32], &[f32])) {
    for [batch, channels, height, width] in SHAPES {
        for (kernel, stride) in [(3, 1), (3, 2), (5, 1), (5, 2)] {
            let parameters = parameters(channels, kernel);
            let input = scaled(batch * channels * height * width, 4, 8.0);
            let same = Geometry::same(height, width, kernel, stride);
            let lopsided = Geometry { vertical: (2, 3), horizontal: (3, 4), ..same };
            for geometry in [same, lopsided] {
                let [h, w] = geometry.output();
                let mut expected = vec![f32::NAN; batch * channels * h * w];
                reference::depthwise_conv(&geometry, &parameters, &input, &mut expected);
                check(&geometry, &parameters, [batch, channels], &input, &expected);
            }
        }
    }
}

fn assert_close(got: &[f32], expected: &[f32], what: &str) {
    assert_eq!(got.len(), expected.len(), "{what}");
    for (i, (g, e)) in got.iter().zip(expected).enumerate() {
        assert!((g - e).abs() <= TOLERANCE, "{what}: element {i}: {g}, expected {e}");
    }
}

#[test]
fn every_instruction_set_agrees_with_the_reference() {
    for isa in Isa::available() {
        for_each_case(|geometry, parameters, _, input, expected| {
            let mut got = vec![f32::NAN; expected.len()];
            cpu::depthwise_conv(isa, geometry, parameters, input, &mut got);
            assert_close(&got, expected, &format!("{isa:?} {geometry:?}"));
        });
    }
}

#[test]
fn the_tensor_op_agrees_with_the_reference_and_with_candle() {
    for_each_case(|geometry, parameters, [batch, channels], input, expected| {
        let Geometry { input: [height, width], kernel, stride, .. } = *geometry;
        if *geometry != Geometry::same(height, width, kernel, stride) {
            return;
        }
        let x = Tensor::from_slice(input, (batch, channels, height, width), &Device::Cpu).unwrap();
        // A transposed view as input: the op must not read past its layout.
        let view = x.transpose(2, 3).unwrap().contiguous().unwrap().transpose(2, 3).unwrap();
        for device in test_devices() {
            let layer =
                DepthwiseConv::new(kernel, stride, parameters.clone(), Isa::detect(), &device).unwrap();
            for x in [&x, &view] {
                let got = layer.forward(&x.to_device(&device).unwrap()).unwrap();
                let got = got.to_device(&Device::Cpu).unwrap();
                let got = got.flatten_all().unwrap().to_vec1::<f32>().unwrap();
                assert_close(&got, expected, &format!("op {geometry:?} {device:?}"));
            }
        }

        let row = |v: &[f32]| Tensor::from_slice(v, (1, channels, 1, 1), &Device::Cpu).unwrap();
        let weight =
            Tensor::from_slice(&parameters.weight, (channels, 1, kernel, kernel), &Device::Cpu).unwrap();
        let candle = x.broadcast_add(&row(&parameters.input_bias)).unwrap().clamp(0f32, 6f32).unwrap();
        let candle = candle.pad_with_zeros(2, geometry.vertical.0, geometry.vertical.1).unwrap();
        let candle = candle.pad_with_zeros(3, geometry.horizontal.0, geometry.horizontal.1).unwrap();
        let candle = candle.conv2d(&weight, 0, stride, 1, channels).unwrap();
        let candle = candle.broadcast_add(&row(&parameters.bias)).unwrap().clamp(0f32, 6f32).unwrap();
        let candle = candle.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_close(&candle, expected, &format!("candle {geometry:?}"));
    });
}

/// The kernel's own text on the CPU, and the same bits for threads in any order.
#[test]
fn the_cuda_kernel_agrees_with_the_reference() {
    for_each_case(|geometry, parameters, [batch, channels], input, expected| {
        let x = Tensor::new(input, &Device::Cpu).unwrap();
        let numbers = [&*parameters.weight, &*parameters.bias, &*parameters.input_bias].concat();
        let numbers = Tensor::new(numbers, &Device::Cpu).unwrap();
        let mut first = None;
        for &order in emulated::orders() {
            let launch = |inputs: &[u64], out| {
                let &[x, numbers] = inputs else { unreachable!() };
                vec![super::cuda::launch(geometry, [batch, channels], parameters.limit, x, numbers, out)]
            };
            let dtype = candle_core::DType::F32;
            let got = emulated::on_tensors(&[&x, &numbers], expected.len(), dtype, launch, order);
            assert_close(&got, expected, &format!("{geometry:?}, threads in order {order}"));
            assert_eq!(*first.get_or_insert(got.clone()), got, "{geometry:?}, threads in order {order}");
        }
    });
}

#[test]
fn results_are_the_same_bits_for_any_thread_count() {
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let mut all = Vec::new();
        pool.install(|| {
            let geometry = Geometry::same(36, 36, 5, 2);
            let mut out = vec![0.0; 2 * 40 * 18 * 18];
            let input = scaled(2 * 40 * 36 * 36, 4, 8.0);
            cpu::depthwise_conv(Isa::detect(), &geometry, &parameters(40, 5), &input, &mut out);
            all.extend(out.into_iter().map(f32::to_bits));
        });
        all
    };
    assert_eq!(run(1), run(3));
}

#[test]
fn same_padding_puts_the_odd_zero_after() {
    for (length, kernel, stride, expected) in [
        (288, 3, 2, (0, 1)),
        (288, 5, 2, (1, 2)),
        (288, 3, 1, (1, 1)),
        (287, 3, 2, (1, 1)),
        (287, 5, 2, (2, 2)),
        (1, 3, 2, (1, 1)),
    ] {
        assert_eq!(same_padding(length, kernel, stride), expected, "{length} {kernel} {stride}");
    }
}

#[test]
fn parameters_that_do_not_belong_together_are_refused() {
    for (kernel, stride, channels) in [(4, 1, 2), (3, 3, 2), (5, 1, 2)] {
        let error = DepthwiseConv::new(kernel, stride, parameters(channels, 3), Isa::Scalar, &Device::Cpu)
            .unwrap_err();
        assert!(error.to_string().contains("depthwise convolution"), "{error}");
    }
    let layer = DepthwiseConv::new(3, 1, parameters(4, 3), Isa::Scalar, &Device::Cpu).unwrap();
    let wrong = Tensor::zeros((1, 5, 8, 8), candle_core::DType::F32, &Device::Cpu).unwrap();
    assert!(layer.forward(&wrong).unwrap_err().to_string().contains("(B, 4, H, W)"));
}
