//! One suite of cases over the reference and every instruction set.

use super::*;
use crate::kernels::{
    encoding::{convert, decode},
    numbers,
    team::with_team,
};

/// Sums of up to 1,600 products of numbers below 1.
const TOLERANCE: f32 = 2e-4;

/// Runs a layer on every instruction set and compares it with the reference.
fn check(
    geometry: ConvGeometry,
    depth: usize,
    stride: usize,
    outputs: usize,
    clamp: Clamp,
    with_residual: bool,
) {
    let taps = geometry.kernel[0] * geometry.kernel[1];
    let weights = numbers(taps * depth * outputs, 1);
    let weight =
        |tap: usize, channel: usize, output: usize| weights[(tap * depth + channel) * outputs + output];
    let bias = numbers(outputs, 2);
    let input = numbers(geometry.input[0] * geometry.input[1] * stride, 3);
    for isa in Isa::available() {
        let layer = Dense::new(isa, geometry, depth, stride, &bias, clamp, weight);
        let mut residual = vec![0.0; layer.output_len()];
        let padded = layer.output_stride();
        for (row, values) in
            residual.chunks_mut(padded).zip(numbers(geometry.pixels() * outputs, 4).chunks(outputs))
        {
            row[..outputs].copy_from_slice(values);
        }
        let residual = with_residual.then_some(residual.as_slice());
        let want = reference::dense(&geometry, depth, stride, &bias, clamp, weight, &input, residual);
        let run = |threads: usize| {
            let mut out = vec![f32::NAN; layer.output_len()];
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| with_team(|team| layer.forward(team, &input, residual, &mut out)));
            out
        };
        let got = run(1);
        assert_eq!(got, run(3), "{isa:?} {geometry:?}: threads change the result");
        for (pixel, (got, want)) in got.chunks(padded).zip(want.chunks(outputs)).enumerate() {
            for (o, (g, w)) in got.iter().zip(want).enumerate() {
                assert!(
                    (g - w).abs() <= TOLERANCE,
                    "{isa:?} {geometry:?} pixel {pixel} output {o}: {g} not {w}"
                );
            }
            assert!(got[outputs..].iter().all(|&v| v == 0.0), "{isa:?}: padding is not 0");
        }
    }
}

#[test]
fn what_is_not_a_number_stays_so() {
    let geometry = ConvGeometry::centred([5, 5], 3, 1);
    for isa in Isa::available() {
        let layer = Dense::new(isa, geometry, 8, 8, &[0.0; 16], Clamp::RELU6, |_, _, _| 0.5);
        let mut input = vec![1.0; 25 * 8];
        input[0] = f32::NAN;
        let mut out = vec![0.0; layer.output_len()];
        with_team(|team| layer.forward(team, &input, None, &mut out));
        let pixel = |index: usize| out[index * layer.output_stride()];
        // The first pixel reaches the four around it.
        let lost: Vec<usize> = (0..25).filter(|&index| pixel(index).is_nan()).collect();
        assert_eq!(lost, [0, 1, 5, 6], "{isa:?}");
    }
}

#[test]
fn matrix_products() {
    // Around every tile of rows (4, 6, 11) and every vector of columns (4, 8, 16).
    for rows in [1, 2, 3, 5, 7, 10, 11, 12, 13, 23, 67] {
        for (depth, outputs) in [(1, 1), (3, 17), (40, 16), (16, 33), (65, 40), (31, 70)] {
            check(ConvGeometry::rows(rows), depth, depth, outputs, Clamp::NONE, rows % 2 == 0);
        }
    }
    check(ConvGeometry::rows(300), 300, 304, 48, Clamp::RELU, true);
}

#[test]
fn convolutions() {
    for input in [[1, 1], [1, 5], [4, 3], [7, 8], [13, 12]] {
        for kernel in [1, 3, 7] {
            for stride in [1, 2] {
                let geometry = ConvGeometry::centred(input, kernel, stride);
                check(geometry, 5, 8, 20, Clamp::RELU, false);
                check(geometry, 3, 3, 9, Clamp::RELU6, true);
            }
        }
        // Padding of another size on each side, as TensorFlow's "same" has it.
        let output = input.map(|side: usize| side.div_ceil(2));
        check(
            ConvGeometry { input, kernel: [3; 2], stride: 2, before: [0, 1], output },
            4,
            4,
            8,
            Clamp::NONE,
            false,
        );
    }
}

#[test]
fn a_kernel_row_as_one_piece() {
    // The stem: three channels, rows of the kernel read at once from an image that has its padding.
    let (height, width) = (11, 13);
    let output = [(height - 7) / 2 + 1, (width - 7) / 2 + 1];
    let geometry = ConvGeometry { input: [height, width], kernel: [7, 1], stride: 2, before: [0, 0], output };
    let weights = numbers(7 * 21 * 18, 1);
    let weight = |tap: usize, k: usize, output: usize| weights[(tap * 21 + k) * 18 + output];
    let input = numbers(height * width * 3, 3);
    for isa in Isa::available() {
        let layer = Dense::new(isa, geometry, 21, 3, &[0.5; 18], Clamp::RELU, weight);
        let mut out = vec![f32::NAN; layer.output_len()];
        with_team(|team| layer.forward(team, &input, None, &mut out));
        for (pixel, got) in out.chunks(layer.output_stride()).enumerate() {
            let (y, x) = (pixel / output[1] * 2, pixel % output[1] * 2);
            for (o, &got) in got[..18].iter().enumerate() {
                let sum: f32 = (0..7)
                    .flat_map(|ky| (0..21).map(move |k| (ky, k)))
                    .map(|(ky, k)| input[((y + ky) * width + x) * 3 + k] * weight(ky, k, o))
                    .sum();
                assert!((got - (sum + 0.5).max(0.0)).abs() <= TOLERANCE, "{isa:?} pixel {pixel} output {o}");
            }
        }
    }
}

/// Pixels of three bf16 do not begin at words, whatever the step from one output to the next.
#[test]
fn what_does_not_fit_is_refused() {
    let refused = |geometry: ConvGeometry, stride: usize, expected: &str| {
        let encoding = Encoding::Bf16;
        let input = Input { depth: stride, stride, encoding };
        let output = Output { clamp: Clamp::NONE, encoding, residual: encoding };
        let run = || Dense::encoded(Isa::Scalar, geometry, input, output, &[0.0; 4], |_, _, _| 0.0);
        let payload = std::panic::catch_unwind(run).expect_err("no panic");
        let message = payload.downcast_ref::<String>().expect("a formatted message");
        assert!(message.contains(expected), "{message}");
    };
    refused(ConvGeometry::centred([8, 8], 1, 2), 3, "do not begin at words");
    refused(ConvGeometry::centred([8, 8], 1, 1), 3, "do not begin at words");
    refused(ConvGeometry::centred([1 << 32, 1 << 32], 1, 1), 4, "more than memory can hold");
    refused(
        ConvGeometry { before: [0, usize::MAX], ..ConvGeometry::centred([8, 8], 1, 1) },
        4,
        "beyond memory",
    );
}

/// Activations and residual as they are kept, and results as they come back.
struct Kept {
    words: Vec<f32>,
    numbers: Vec<f32>,
}

/// Encodes numbers; what they then are.
fn keep(numbers: &[f32], encoding: Encoding) -> Kept {
    let mut padded = numbers.to_vec();
    padded.resize(numbers.len().next_multiple_of(16), 0.0);
    let mut words = vec![0.0; encoding.words(padded.len())];
    convert(Isa::Scalar, padded.len(), &padded, Encoding::F32, &mut words, encoding);
    let mut numbers_kept = decode(&words, encoding);
    numbers_kept.truncate(numbers.len());
    words.truncate(encoding.words(numbers.len()));
    Kept { words, numbers: numbers_kept }
}

/// A layer on activations kept as `encoding` against the reference on the same rounded numbers. The weights are rounded to
/// bf16 or to bytes, and so are the results: the error is bounded by what that rounding can be.
fn check_encoded(geometry: ConvGeometry, depth: usize, encodings: [Encoding; 3], with_residual: bool) {
    let [encoding, kept_residual, out_encoding] = encodings;
    let (taps, outputs) = (geometry.kernel[0] * geometry.kernel[1], 21);
    let stride = depth.next_multiple_of(16);
    let weights = numbers(taps * depth * outputs, 1);
    let weight =
        |tap: usize, channel: usize, output: usize| weights[(tap * depth + channel) * outputs + output];
    let bias = numbers(outputs, 2);
    let positive = |numbers: Vec<f32>| numbers.into_iter().map(f32::abs).collect::<Vec<_>>();
    let input = keep(&positive(numbers(geometry.input[0] * geometry.input[1] * stride, 3)), encoding);
    let of_weights = match encoding {
        Encoding::F32 => 1e-6,
        Encoding::Bf16 => 1.0 / 512.0,
        Encoding::U8 { .. } => 0.5 / 127.0,
    };
    let mut first: Option<(usize, Vec<f32>)> = None;
    for isa in Isa::available() {
        let clamp = Clamp::RELU;
        let output = Output { clamp, encoding: out_encoding, residual: kept_residual };
        let layer = Dense::encoded(isa, geometry, Input { depth, stride, encoding }, output, &bias, weight);
        let padded = layer.output_stride();
        let mut residual = vec![0.0; layer.output_len()];
        for (row, values) in
            residual.chunks_mut(padded).zip(positive(numbers(geometry.pixels() * outputs, 4)).chunks(outputs))
        {
            row[..outputs].copy_from_slice(values);
        }
        let residual = keep(&residual, kept_residual);
        let added = with_residual.then_some(residual.numbers.as_slice());
        let want = reference::dense(&geometry, depth, stride, &bias, clamp, weight, &input.numbers, added);
        let run = |threads: usize| {
            let mut out = vec![f32::NAN; out_encoding.words(layer.output_len())];
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let residual = with_residual.then_some(residual.words.as_slice());
            pool.install(|| with_team(|team| layer.forward(team, &input.words, residual, &mut out)));
            decode(&out, out_encoding)
        };
        let got = run(1);
        assert_eq!(got, run(3), "{isa:?} {geometry:?}: threads change the result");
        // A product may be off by the rounding of its weight (below 1) times the activation (at most 1).
        // Their sum grows as a random walk does.
        let of_sums = 2.0 * of_weights * ((taps * depth) as f32).sqrt();
        for (pixel, (got, want)) in got.chunks(padded).zip(want.chunks(outputs)).enumerate() {
            for (o, (g, w)) in got.iter().zip(want).enumerate() {
                let of_result = match out_encoding {
                    Encoding::F32 => 0.0,
                    Encoding::Bf16 => w / 256.0,
                    Encoding::U8 { step, .. } => step * 0.51,
                };
                assert!(
                    (g - w).abs() <= of_sums + of_result + 1e-4,
                    "{isa:?} {encodings:?} {geometry:?} pixel {pixel} output {o}: {g} not {w}"
                );
            }
            assert!(got[outputs..].iter().all(|&v| v == 0.0), "{isa:?}: padding is not 0");
        }
        // Sums of bytes are exact: the results are those of every other instruction set, but for padding.
        if matches!(encoding, Encoding::U8 { .. }) && out_encoding == Encoding::F32 {
            let used: Vec<f32> = got.chunks(padded).flat_map(|row| &row[..outputs]).copied().collect();
            let (_, before) = first.get_or_insert_with(|| (padded, used.clone()));
            let close = before.iter().zip(&used).all(|(a, b)| (a - b).abs() <= 1e-6 * a.abs().max(1.0));
            assert!(close, "{isa:?} {geometry:?}: sums of bytes differ");
        }
    }
}

#[test]
fn every_encoding() {
    let bytes = Encoding::up_to(1.0);
    let large = Encoding::up_to(40.0);
    for (encoding, residual, out) in [
        (Encoding::Bf16, Encoding::Bf16, Encoding::Bf16),
        (Encoding::Bf16, Encoding::F32, Encoding::F32),
        (bytes, bytes, large),
        (bytes, Encoding::Bf16, Encoding::Bf16),
        (bytes, Encoding::F32, Encoding::F32),
        (Encoding::F32, bytes, large),
    ] {
        for depth in [1, 3, 16, 21, 64] {
            for with_residual in [false, true] {
                check_encoded(ConvGeometry::rows(13), depth, [encoding, residual, out], with_residual);
            }
            for (input, kernel, stride) in [([7, 8], 3, 1), ([13, 12], 3, 2), ([5, 4], 1, 2)] {
                let geometry = ConvGeometry::centred(input, kernel, stride);
                check_encoded(geometry, depth, [encoding, residual, out], true);
            }
        }
    }
    // Bytes around zero.
    for depth in [16, 24, 40] {
        check_encoded(ConvGeometry::rows(23), depth, [Encoding::around_zero(1.0), bytes, large], true);
    }
}

/// Tensors on every device, and every tile of the kernel in the emulator.
mod tensors {
    use candle_core::{DType, Device, Tensor};

    use super::super::{
        Clamp, ConvGeometry, DenseTensor, Reads,
        cuda::{End, Operands, store, tiles},
        reference,
    };
    use crate::kernels::{
        cuda::emulated::{self, Memory},
        numbers,
        tensor_op::test_devices,
    };

    struct Case {
        batch: usize,
        geometry: ConvGeometry,
        depth: usize,
        pixel: usize,
        outputs: usize,
        residual: bool,
        clamp: Clamp,
    }

    fn cases() -> Vec<Case> {
        let conv = |batch, sides, kernel, stride, depth, outputs, residual, clamp| Case {
            batch,
            geometry: ConvGeometry::centred(sides, kernel, stride),
            depth,
            pixel: depth,
            outputs,
            residual,
            clamp,
        };
        // Rows of a 7x7 kernel at once: 7 pixels of 4 numbers and one more that counts for nothing.
        let stem =
            ConvGeometry { input: [23, 26], kernel: [7, 1], stride: 2, before: [0, 0], output: [9, 10] };
        vec![
            conv(1, [1, 1], 1, 1, 8, 8, false, Clamp::NONE),
            conv(2, [9, 7], 3, 1, 16, 24, true, Clamp::RELU),
            conv(1, [13, 11], 3, 2, 24, 72, false, Clamp::RELU6),
            conv(3, [6, 5], 1, 1, 136, 136, true, Clamp::NONE),
            conv(1, [12, 12], 1, 2, 40, 64, false, Clamp::NONE),
            conv(1, [17, 9], 5, 1, 8, 152, true, Clamp::RELU),
            Case {
                batch: 2,
                geometry: stem,
                depth: 32,
                pixel: 4,
                outputs: 64,
                residual: false,
                clamp: Clamp::RELU,
            },
        ]
    }

    /// Halves: inputs and weights are rounded before, so only the f32 sums of up to 200 products and the result's rounding
    /// differ. Floats: sums of up to 200 products of numbers below 1.
    fn tolerance(out: DType, magnitude: f32) -> f32 {
        match out {
            DType::F16 => 2e-5 + magnitude / 1024.0,
            _ => 2e-5,
        }
    }

    #[test]
    fn they_agree_with_the_reference_on_every_tile() {
        for (index, case) in cases().iter().enumerate() {
            let Case { batch, geometry, depth, pixel, outputs, residual, clamp } = *case;
            let [height, width] = geometry.input;
            let taps = geometry.kernel[0] * geometry.kernel[1];
            let k = taps * depth;
            for (dtype, out) in [(DType::F32, DType::F32), (DType::F16, DType::F16), (DType::F16, DType::F32)]
            {
                let rounded = |values: Vec<f32>, dtype: DType, shape: &[usize]| {
                    Tensor::from_vec(values, shape, &Device::Cpu).unwrap().to_dtype(dtype).unwrap()
                };
                let floats = |tensor: &Tensor| {
                    let tensor = tensor.to_device(&Device::Cpu).unwrap().to_dtype(DType::F32).unwrap();
                    tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap()
                };
                let x = rounded(
                    numbers(batch * height * width * pixel, 1),
                    dtype,
                    &[batch, height, width, pixel],
                );
                let scale = (k as f32).sqrt();
                let weights: Vec<f32> = numbers(outputs * k, 2).into_iter().map(|w| w / scale).collect();
                let weights = floats(&rounded(weights, dtype, &[outputs, k]));
                let weight = |tap: usize, c: usize, o: usize| weights[o * k + tap * depth + c];
                let bias = numbers(outputs, 3);
                let shape = [batch, geometry.output[0], geometry.output[1], outputs];
                let count: usize = shape.iter().product();
                let added = residual.then(|| rounded(numbers(count, 4), out, &shape));
                let added_floats = added.as_ref().map(floats);
                let one_out = count / batch;
                let want: Vec<f32> = floats(&x)
                    .chunks(height * width * pixel)
                    .enumerate()
                    .flat_map(|(i, x)| {
                        let added = added_floats.as_ref().map(|added| &added[i * one_out..][..one_out]);
                        reference::dense(&geometry, depth, pixel, &bias, clamp, weight, x, added)
                    })
                    .collect();
                let check = |got: &[f32], what: &str| {
                    assert_eq!(got.len(), want.len(), "{what}");
                    for (i, (got, want)) in got.iter().zip(&want).enumerate() {
                        let close = (got - want).abs() <= tolerance(out, want.abs());
                        assert!(
                            close,
                            "case {index}, {dtype:?} to {out:?}, {what}: number {i} is {got}, not {want}"
                        );
                    }
                };
                let reads = Reads { depth, pixel, dtype, out };
                for device in test_devices() {
                    let layer = DenseTensor::new(geometry, reads, &bias, clamp, weight, &device).unwrap();
                    let x = x.to_device(&device).unwrap();
                    let added = added.as_ref().map(|added| added.to_device(&device).unwrap());
                    let got = layer.forward(&x, added.as_ref()).unwrap();
                    assert_eq!(got.dims(), shape);
                    check(&floats(&got), &format!("{device:?}"));
                }
                let layer = DenseTensor::new(geometry, reads, &bias, clamp, weight, &Device::Cpu).unwrap();
                let mut bits: Option<Vec<u32>> = None;
                for &order in emulated::orders() {
                    for tile in tiles(dtype, out, End::Store) {
                        let [w, b] = layer.tensors().map(Memory::of);
                        let (mut x, mut w, mut b) = (Memory::of(&x), w, b);
                        let mut added = added.as_ref().map(Memory::of);
                        let mut to = Memory::room(count, out);
                        let operands = Operands { x: x.address(), weight: w.address(), bias: b.address() };
                        let residual = added.as_mut().map_or(0, Memory::address);
                        let launch =
                            store(&layer.sizes(batch), &tile, clamp, operands, residual, to.address());
                        // SAFETY: memory of the layer's sizes; guards show where it is not.
                        unsafe { emulated::run(std::slice::from_ref(&launch), order) };
                        let got = to.floats(out);
                        check(&got, &format!("{} in order {order}", launch.kernel));
                        // Neither the tile nor the order of threads changes a bit.
                        let got: Vec<u32> = got.into_iter().map(f32::to_bits).collect();
                        assert!(
                            bits.get_or_insert_with(|| got.clone()) == &got,
                            "case {index}, {}",
                            launch.kernel
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let geometry = ConvGeometry::centred([4, 4], 3, 1);
        let reads = Reads { depth: 8, pixel: 8, dtype: DType::F32, out: DType::F32 };
        let new = |reads, outputs| {
            DenseTensor::new(geometry, reads, &vec![0.0; outputs], Clamp::NONE, |_, _, _| 0.0, &Device::Cpu)
        };
        for (reads, outputs, word) in [
            (Reads { depth: 12, ..reads }, 8, "multiples of 8"),
            (reads, 9, "multiples of 8"),
            (Reads { out: DType::F16, ..reads }, 8, "not F16 of F32"),
        ] {
            assert!(new(reads, outputs).unwrap_err().to_string().contains(word), "{reads:?} {outputs}");
        }
        let layer = new(reads, 8).unwrap();
        let zeros = |shape: &[usize], dtype| Tensor::zeros(shape, dtype, &Device::Cpu).unwrap();
        let x = zeros(&[1, 4, 4, 8], DType::F32);
        for (x, residual, word) in [
            (zeros(&[1, 4, 5, 8], DType::F32), None, "(B, 4, 4, 8)"),
            (zeros(&[4, 4, 8], DType::F32), None, "(B, H, W, C)"),
            (zeros(&[1, 4, 4, 8], DType::F16), None, "F16"),
            (x.clone(), Some(zeros(&[1, 4, 4, 16], DType::F32)), "is added to"),
            (x.clone(), Some(zeros(&[1, 4, 4, 8], DType::F16)), "is added to"),
        ] {
            let error = layer.forward(&x, residual.as_ref()).unwrap_err().to_string();
            assert!(error.contains(word), "expected `{word}` in: {error}");
        }
    }

    #[test]
    fn tiles_give_every_multiprocessor_work() {
        use super::super::cuda::Tile;
        let halves = tiles(DType::F16, DType::F16, End::Store);
        for (rows, columns, kernel) in [
            (64 * 72 * 72, 256, 0), // a large batch: the largest tile
            (64 * 72 * 72, 64, 1),  // no more columns than half the largest tile has
            (36 * 36, 256, 2),      // one image: as many blocks as can be
            (18 * 18, 512, 2),
        ] {
            assert_eq!(Tile::best(&halves, rows, columns, 132), Some(halves[kernel]), "{rows} {columns}");
        }
        assert_eq!(Tile::best(&[], 1, 1, 1), None);
    }
}
