//! One suite of cases over the reference and every instruction set.

use super::*;
use crate::ops::{numbers, team::with_team};

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
