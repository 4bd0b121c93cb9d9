//! One list of cases over the reference, candle's own layers, tensors on every device, and the kernel's own text on the CPU.

use candle_core::{DType, Device, Tensor};

use super::*;
use crate::ops::{cuda::emulated, dense::Clamp, numbers, tensor_op::test_devices};

/// (B, C, H, W): planes of one number, planes that end inside of 16 bytes, whole ones, a whole that does not.
const SHAPES: [[usize; 4]; 8] = [
    [1, 1, 1, 1],
    [2, 5, 1, 1],
    [1, 3, 1, 3],
    [2, 3, 5, 5],
    [1, 4, 6, 8],
    [3, 2, 9, 7],
    [1, 37, 3, 2],
    [2, 16, 36, 36],
];
const CLAMPS: [Clamp; 3] = [Clamp::NONE, Clamp::RELU, Clamp { low: -0.5, high: 1.0 }];

struct Case {
    x: Tensor,
    bias: Tensor,
    residual: Option<Tensor>,
    clamp: Clamp,
    what: String,
}

impl Case {
    fn want(&self) -> Vec<f32> {
        let (_, _, height, width) = self.x.dims4().unwrap();
        let residual = self.residual.as_ref().map(floats);
        let out = reference::conv_epilogue(
            height * width,
            &floats(&self.bias),
            residual.as_deref(),
            self.clamp,
            &floats(&self.x),
        );
        floats(&Tensor::new(out, &Device::Cpu).unwrap().to_dtype(self.x.dtype()).unwrap())
    }
}

fn floats(tensor: &Tensor) -> Vec<f32> {
    let tensor = tensor.to_device(&Device::Cpu).unwrap().to_dtype(DType::F32).unwrap();
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

fn for_each_case(check: impl Fn(&Case)) {
    for shape in SHAPES {
        for dtype in [DType::F32, DType::F16] {
            let tensor = |seed: u32| {
                let numbers = numbers(shape.iter().product(), seed);
                Tensor::from_vec(numbers, &shape[..], &Device::Cpu).unwrap().to_dtype(dtype).unwrap()
            };
            let bias = Tensor::from_vec(numbers(shape[1], 3), shape[1], &Device::Cpu).unwrap();
            for clamp in CLAMPS {
                for residual in [None, Some(tensor(2))] {
                    let what = format!("{shape:?} {dtype:?} {clamp:?}, residual: {}", residual.is_some());
                    check(&Case { x: tensor(1), bias: bias.clone(), residual, clamp, what });
                }
            }
        }
    }
}

#[test]
fn tensors_and_the_cuda_kernel_agree_with_the_reference() {
    for_each_case(|case| {
        let Case { x, bias, residual, clamp, what } = case;
        let want = case.want();
        for device in test_devices() {
            // Taken out of a larger tensor, so that it does not begin at a multiple of 16 bytes on any device.
            let lone = Tensor::zeros((1, 1), x.dtype(), &device).unwrap();
            let on = |tensor: &Tensor| tensor.to_device(&device).unwrap();
            let shifted = |tensor: &Tensor| {
                let row = on(tensor).flatten_all().unwrap().unsqueeze(0).unwrap();
                let all = Tensor::cat(&[&lone, &row], 1).unwrap();
                all.narrow(1, 1, row.elem_count()).unwrap().reshape(tensor.shape()).unwrap()
            };
            for residual in [residual.as_ref().map(on), residual.as_ref().map(shifted)] {
                let fresh = on(x).copy().unwrap();
                let got = conv_epilogue(fresh, &on(bias), residual.as_ref(), *clamp).unwrap();
                assert_eq!(got.dims(), x.dims(), "{what}");
                assert_eq!(floats(&got), want, "{what} {device:?}");
            }
        }
        let (_, channels, height, width) = x.dims4().unwrap();
        for &order in emulated::orders() {
            let launch = |x: u64, bias: u64, residual: Option<u64>| {
                let sides = [channels, height * width];
                [super::cuda::launch(case.x.dtype(), want.len(), sides, *clamp, x, bias, residual)]
            };
            let mut bias = emulated::Memory::of(bias);
            let mut whole = emulated::Memory::of(x);
            let mut added = residual.as_ref().map(emulated::Memory::of);
            let launches = launch(whole.address(), bias.address(), added.as_mut().map(|r| r.address()));
            // SAFETY: `x` and the residual hold as many numbers as `want`, `bias` one a channel.
            unsafe { emulated::run(&launches, order) };
            assert_eq!(whole.floats(x.dtype()), want, "{what}, threads in order {order}");

            // The same behind one number more: its memory begins between two multiples of 16 bytes.
            let lone = Tensor::ones(1, x.dtype(), &Device::Cpu).unwrap();
            let all = Tensor::cat(&[&lone, &x.flatten_all().unwrap()], 0).unwrap();
            let mut shifted = emulated::Memory::of(&all);
            let from = shifted.address() + x.dtype().size_in_bytes() as u64;
            let launches = launch(from, bias.address(), added.as_mut().map(|r| r.address()));
            // SAFETY: as above.
            unsafe { emulated::run(&launches, order) };
            let got = shifted.floats(x.dtype());
            assert_eq!((got[0], &got[1..]), (1.0, &want[..]), "{what}, shifted, order {order}");
        }
    });
}

#[test]
fn agrees_with_candles_own_layers() {
    for_each_case(|case| {
        if case.x.dtype() == DType::F16 {
            return;
        }
        let bias = case.bias.reshape((1, (), 1, 1)).unwrap();
        let mut sum = case.x.broadcast_add(&bias).unwrap();
        if let Some(residual) = &case.residual {
            sum = (sum + residual).unwrap();
        }
        assert_eq!(
            floats(&sum.clamp(case.clamp.low, case.clamp.high).unwrap()),
            case.want(),
            "{}",
            case.what
        );
    });
}

#[test]
fn what_is_not_a_number_stays_so() {
    let x = Tensor::new(&[[[[f32::NAN, -1.0]]]], &Device::Cpu).unwrap();
    let bias = Tensor::zeros(1, DType::F32, &Device::Cpu).unwrap();
    for residual in [None, Some(x.copy().unwrap())] {
        let got = floats(&conv_epilogue(x.copy().unwrap(), &bias, residual.as_ref(), Clamp::RELU).unwrap());
        assert!(got[0].is_nan() && got[1] == 0.0, "{got:?}");
    }
}

#[test]
fn what_does_not_fit_is_an_error() {
    let zeros = |shape: &[usize], dtype| Tensor::zeros(shape, dtype, &Device::Cpu).unwrap();
    let x = || zeros(&[1, 2, 3, 4], DType::F32);
    let check = |x: Tensor, bias: Tensor, residual: Option<Tensor>, word: &str| {
        let error = conv_epilogue(x, &bias, residual.as_ref(), Clamp::NONE).unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
    };
    let bias = || zeros(&[2], DType::F32);
    check(zeros(&[2, 3, 4], DType::F32), bias(), None, "takes (B, C, H, W)");
    check(zeros(&[1, 2, 3, 4], DType::F64), bias(), None, "takes f32 or f16");
    check(x(), zeros(&[3], DType::F32), None, "a bias of shape [2] in f32");
    check(x(), zeros(&[2], DType::F16), None, "a bias of shape [2] in f32");
    check(zeros(&[1, 2, 0, 4], DType::F32), bias(), None, "at least one pixel");
    check(x(), bias(), Some(zeros(&[1, 2, 4, 3], DType::F32)), "residual like its input");
    check(x(), bias(), Some(zeros(&[1, 2, 3, 4], DType::F16)), "residual like its input");
    // Adding a map to itself in its own memory is not written.
    let same = x();
    check(same.clone(), bias(), Some(same), "shares storage");
}
