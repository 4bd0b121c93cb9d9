//! One list of cases over the reference and each instruction set.

use super::*;
use crate::kernels::{dense::Clamp, numbers};

/// Largest difference from the f64 reference: 25 products of numbers up to 6 in f32.
const TOLERANCE: f32 = 2e-5;

/// (height, width): single pixels, odd sides, outputs narrower than a block of columns, just as wide, one more.
const SIDES: [[usize; 2]; 12] =
    [[1, 1], [1, 9], [9, 1], [2, 3], [5, 4], [3, 6], [4, 7], [7, 11], [6, 12], [6, 13], [18, 18], [11, 37]];
const CHANNELS: [usize; 8] = [1, 3, 16, 17, 24, 40, 96, 144];

/// One layer and one image, without zeros between the pixels.
struct Case {
    geometry: Geometry,
    clamp: Clamp,
    weight: Vec<f32>,
    bias: Vec<f32>,
    input: Vec<f32>,
}

impl Case {
    fn new(geometry: Geometry, channels: usize, clamp: Clamp) -> Self {
        let [height, width] = geometry.input;
        let weight = numbers(channels * geometry.kernel * geometry.kernel, 1);
        let input = numbers(height * width * channels, 3);
        Self {
            geometry,
            clamp,
            weight: weight.into_iter().map(|v| 0.5 * v).collect(),
            bias: numbers(channels, 2),
            // Activated.
            input: input.into_iter().map(|v| (8.0 * v).clamp(0.0, 6.0)).collect(),
        }
    }

    fn layer(&self, isa: Isa) -> PackedDepthwise {
        let Geometry { kernel, stride, .. } = self.geometry;
        PackedDepthwise::new(kernel, stride, &self.weight, &self.bias, self.clamp, isa)
    }

    fn pixels(&self) -> usize {
        self.geometry.output().iter().product()
    }

    /// (h, w, C).
    fn reference(&self) -> Vec<f32> {
        let mut out = vec![f32::NAN; self.pixels() * self.bias.len()];
        reference::depthwise(&self.geometry, &self.weight, &self.bias, self.clamp, &self.input, &mut out);
        out
    }

    /// (h, w, C').
    fn run(&self, isa: Isa) -> Vec<f32> {
        let layer = self.layer(isa);
        let input = widen(&self.input, self.bias.len(), layer.lanes_channels());
        let mut out = vec![f32::NAN; self.pixels() * layer.lanes_channels()];
        layer.forward(&self.geometry, &input, &mut out);
        out
    }
}

/// Every kernel and stride with "same" padding, more than that and none.
fn for_each_case(check: impl Fn(&Case, &str)) {
    for [height, width] in SIDES {
        for channels in CHANNELS {
            for (kernel, stride) in [(3, 1), (3, 2), (5, 1), (5, 2), (7, 1), (7, 2)] {
                let same = Geometry::same(height, width, kernel, stride);
                let lopsided = Geometry { vertical: (2, 6), horizontal: (7, 4), ..same };
                let none = Geometry { vertical: (0, 0), horizontal: (0, 0), ..same };
                for (geometry, clamp) in [(same, Clamp::RELU6), (lopsided, Clamp::RELU), (none, Clamp::NONE)]
                {
                    let case = Case::new(geometry, channels, clamp);
                    check(&case, &format!("{channels} channels, {clamp:?}, {geometry:?}"));
                }
            }
        }
    }
}

/// (pixels, from) -> (pixels, to), with zeros.
fn widen(values: &[f32], from: usize, to: usize) -> Vec<f32> {
    let mut wide = vec![0.0; values.len() / from * to];
    for (wide, values) in wide.chunks_exact_mut(to).zip(values.chunks_exact(from)) {
        wide[..from].copy_from_slice(values);
    }
    wide
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|v| v.to_bits()).collect()
}

#[test]
fn every_instruction_set_agrees_with_the_reference_and_keeps_the_zeros() {
    for_each_case(|case, what| {
        let (channels, expected) = (case.bias.len(), case.reference());
        for isa in Isa::available() {
            let got = case.run(isa);
            let wide = channels.next_multiple_of(lanes(isa));
            let expected = widen(&expected, channels, wide);
            assert_eq!(got.len(), expected.len(), "{isa:?} {what}");
            for (i, (g, e)) in got.iter().zip(&expected).enumerate() {
                let tolerance = if i % wide < channels { TOLERANCE * e.max(1.0) } else { 0.0 };
                assert!((g - e).abs() <= tolerance, "{isa:?} {what}: element {i}: {g}, expected {e}");
            }
        }
    });
}

/// The same image with its padding written out has no borders: only the fast path computes it.
#[test]
fn borders_have_the_same_bits_as_the_interior() {
    for_each_case(|case, what| {
        let Geometry { input: [height, width], vertical, horizontal, .. } = case.geometry;
        let channels = case.bias.len();
        let line = (horizontal.0 + width + horizontal.1) * channels;
        let mut padded = vec![0.0; (vertical.0 + height + vertical.1) * line];
        for (y, row) in case.input.chunks_exact(width * channels).enumerate() {
            let start = (vertical.0 + y) * line + horizontal.0 * channels;
            padded[start..start + row.len()].copy_from_slice(row);
        }
        let geometry = Geometry {
            input: [vertical.0 + height + vertical.1, horizontal.0 + width + horizontal.1],
            vertical: (0, 0),
            horizontal: (0, 0),
            ..case.geometry
        };
        let (weight, bias) = (case.weight.clone(), case.bias.clone());
        let written_out = Case { geometry, clamp: case.clamp, weight, bias, input: padded };
        for isa in Isa::available() {
            assert_eq!(bits(&case.run(isa)), bits(&written_out.run(isa)), "{isa:?} {what}");
        }
    });
}

#[test]
fn what_is_not_a_number_stays_so() {
    for isa in Isa::available() {
        let mut case = Case::new(Geometry::same(3, 14, 3, 1), 2, Clamp::RELU6);
        case.input[0] = f32::NAN;
        let got = case.run(isa);
        assert!(got[0].is_nan() && got[lanes(isa)].is_nan() && !got[1].is_nan(), "{isa:?}");
    }
}

fn panic_message(run: impl FnOnce() + std::panic::UnwindSafe) -> String {
    let payload = std::panic::catch_unwind(run).expect_err("no panic");
    payload.downcast_ref::<String>().expect("a formatted message").clone()
}

#[test]
fn what_does_not_fit_is_refused() {
    for (kernel, stride, weights, clamp, expected) in [
        (4, 1, 32, Clamp::RELU6, "kernel 3, 5 or 7"),
        (3, 3, 18, Clamp::RELU6, "stride 1 or 2"),
        (3, 1, 17, Clamp::RELU6, "weight (C, 3, 3)"),
        (3, 1, 18, Clamp { low: 0.0, high: f32::NAN }, "clamp"),
    ] {
        let message = panic_message(move || {
            PackedDepthwise::new(kernel, stride, &vec![0.0; weights], &[0.0; 2], clamp, Isa::Scalar);
        });
        assert!(message.contains(expected), "{message}");
    }
    for (geometry, input, out, expected) in [
        (Geometry::same(4, 4, 5, 1), 64, 64, "kernel 3 and stride 1, got 5 and 1"),
        (Geometry::same(4, 4, 3, 1), 63, 64, "lengths [64, 64]"),
        (Geometry::same(4, 4, 3, 1), 64, 65, "lengths [64, 64]"),
        (
            Geometry { vertical: (1 << 62, 0), horizontal: (1 << 62, 0), ..Geometry::same(4, 4, 3, 1) },
            64,
            64,
            "more than memory can hold",
        ),
        (Geometry { vertical: (usize::MAX, 9), ..Geometry::same(4, 4, 3, 1) }, 64, 64, "more than memory"),
    ] {
        let message = panic_message(move || {
            let layer = PackedDepthwise::new(3, 1, &[0.0; 18], &[0.0; 2], Clamp::RELU6, Isa::Scalar);
            layer.forward(&geometry, &vec![0.0; input], &mut vec![0.0; out]);
        });
        assert!(message.contains(expected), "{message}");
    }
}

/// Tensors on every device, and the kernel's own text on the CPU, against the reference; batches of several images, widths
/// around a thread's four columns, borders on every side.
#[test]
fn tensors_and_the_cuda_kernel_agree_with_the_reference() {
    use crate::kernels::{cuda::emulated, tensor_op::test_devices};
    use candle_core::{DType, Device, Tensor};
    let floats = |t: &Tensor| {
        let t = t.to_device(&Device::Cpu).unwrap().to_dtype(DType::F32).unwrap();
        t.flatten_all().unwrap().to_vec1::<f32>().unwrap()
    };
    for (batch, [height, width], channels) in [
        (1, [1, 1], 8),
        (2, [5, 4], 24),
        (3, [3, 9], 8),
        (1, [9, 1], 16),
        (2, [11, 13], 40),
        (1, [18, 17], 16),
    ] {
        for (kernel, stride) in [(3, 1), (3, 2), (5, 1), (5, 2), (7, 1)] {
            let same = Geometry::same(height, width, kernel, stride);
            let lopsided = Geometry { vertical: (2, 6), horizontal: (7, 4), ..same };
            for (geometry, clamp) in [(same, Clamp::RELU6), (lopsided, Clamp::NONE)] {
                let Case { weight, bias, .. } = Case::new(geometry, channels, clamp);
                let x: Vec<f32> = numbers(batch * height * width * channels, 7);
                let x: Vec<f32> = x.into_iter().map(|v| (8.0 * v).clamp(0.0, 6.0)).collect();
                let x = Tensor::from_vec(x, (batch, height, width, channels), &Device::Cpu).unwrap();
                for dtype in [DType::F32, DType::F16] {
                    let x = x.to_dtype(dtype).unwrap();
                    let pixels: usize = geometry.output().iter().product();
                    let mut want = vec![f32::NAN; batch * pixels * channels];
                    for (x, out) in floats(&x)
                        .chunks_exact(height * width * channels)
                        .zip(want.chunks_exact_mut(pixels * channels))
                    {
                        reference::depthwise(&geometry, &weight, &bias, clamp, x, out);
                    }
                    // And half a step of f16.
                    let tolerance = if dtype == DType::F16 { TOLERANCE + 4.9e-4 } else { TOLERANCE };
                    let check = |got: &[f32], what: &str| {
                        assert_eq!(got.len(), want.len());
                        for (i, (g, w)) in got.iter().zip(&want).enumerate() {
                            assert!(
                                (g - w).abs() <= tolerance * w.abs().max(1.0),
                                "{dtype:?} {geometry:?} {what}: element {i}: {g}, expected {w}"
                            );
                        }
                    };
                    for device in test_devices() {
                        let layer =
                            DepthwiseTensor::new(kernel, stride, &weight, &bias, clamp, &device).unwrap();
                        let pads = [geometry.vertical, geometry.horizontal];
                        let got = layer.forward(&x.to_device(&device).unwrap(), pads).unwrap();
                        assert_eq!(got.dims()[1..3], geometry.output());
                        check(&floats(&got), &format!("{device:?}"));
                    }
                    let by_tap = Tensor::from_slice(&weight, (channels, kernel * kernel), &Device::Cpu);
                    let by_tap = by_tap.unwrap().t().unwrap().contiguous().unwrap();
                    let bias = Tensor::from_slice(&bias, channels, &Device::Cpu).unwrap();
                    let mut bits = None;
                    for &order in emulated::orders() {
                        let launch = |inputs: &[u64], out| {
                            let &[x, weight, bias] = inputs else { unreachable!() };
                            let sizes = [batch, channels];
                            vec![super::cuda::launch(dtype, &geometry, sizes, clamp, x, weight, bias, out)]
                        };
                        let got =
                            emulated::on_tensors(&[&x, &by_tap, &bias], want.len(), dtype, launch, order);
                        check(&got, &format!("threads in order {order}"));
                        let got = self::bits(&got);
                        assert_eq!(*bits.get_or_insert(got.clone()), got, "threads in order {order}");
                    }
                }
            }
        }
    }
}

#[test]
fn tensors_that_do_not_fit_are_errors() {
    use candle_core::{DType, Device, Tensor};
    let layer = |kernel, stride, weights: usize, channels: usize, clamp| {
        DepthwiseTensor::new(kernel, stride, &vec![0.0; weights], &vec![0.0; channels], clamp, &Device::Cpu)
    };
    for (kernel, stride, weights, channels, clamp, word) in [
        (4, 1, 128, 8, Clamp::RELU6, "kernel of 3 or 5"),
        (3, 3, 72, 8, Clamp::RELU6, "stride of 1 or 2"),
        (3, 1, 71, 8, Clamp::RELU6, "(C, 3, 3)"),
        (3, 1, 108, 12, Clamp::RELU6, "multiple of 8"),
        (3, 1, 72, 8, Clamp { low: 0.0, high: f32::NAN }, "clamp"),
    ] {
        let error = layer(kernel, stride, weights, channels, clamp).unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
    }
    let layer = layer(3, 1, 72, 8, Clamp::RELU6).unwrap();
    for (shape, dtype, word) in [
        (&[1, 2, 2, 16][..], DType::F32, "(B, H, W, 8)"),
        (&[2, 2, 8], DType::F32, "(B, H, W, C)"),
        (&[1, 2, 2, 8], DType::F64, "f32 or f16"),
    ] {
        let error =
            layer.forward(&Tensor::zeros(shape, dtype, &Device::Cpu).unwrap(), [(1, 1); 2]).unwrap_err();
        assert!(error.to_string().contains(word), "{error}");
    }
}
