//! One suite of cases over the reference and every instruction set.

use super::*;
use crate::ops::{
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
