//! One suite of cases over the dense layer's reference and every instruction set.

use super::*;
use crate::kernels::channels_last::lanes;
use crate::kernels::dense::{ConvGeometry, reference};
use crate::kernels::{numbers, team::with_team};

/// Share of the largest output. 9 x 70 products, and transforms that grow numbers up to a hundredfold.
const TOLERANCE: f32 = 1e-5;

fn check(tile: Tile, size: [usize; 2], channels: usize, outputs: usize, clamp: Clamp, with_residual: bool) {
    let weights = numbers(9 * channels * outputs, 1);
    let weight =
        |tap: usize, channel: usize, output: usize| weights[(tap * channels + channel) * outputs + output];
    let bias = numbers(outputs, 2);
    for isa in Isa::available() {
        let stride = channels.next_multiple_of(lanes(isa));
        let mut input = vec![0.0; size[0] * size[1] * stride];
        for (pixel, values) in
            input.chunks_mut(stride).zip(numbers(size[0] * size[1] * channels, 3).chunks(channels))
        {
            pixel[..channels].copy_from_slice(values);
        }
        let geometry = ConvGeometry::centred(size, 3, tile.stride());
        let layer = Winograd::new(isa, tile, size, channels, stride, &bias, clamp, weight);
        let padded = layer.output_stride();
        let mut residual = vec![0.0; layer.output_len()];
        for (row, values) in
            residual.chunks_mut(padded).zip(numbers(geometry.pixels() * outputs, 4).chunks(outputs))
        {
            row[..outputs].copy_from_slice(values);
        }
        let residual = with_residual.then_some(residual.as_slice());
        let want = reference::dense(&geometry, channels, stride, &bias, clamp, weight, &input, residual);
        let largest = want.iter().fold(1.0f32, |largest, v| largest.max(v.abs()));
        let run = |threads: usize| {
            let mut out = vec![f32::NAN; layer.output_len()];
            let [mut inputs, mut products] = layer.scratch_lens().map(|len| vec![f32::NAN; len]);
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                with_team(|team| {
                    layer.forward(team, &input, residual, &mut out, [&mut inputs, &mut products])
                })
            });
            out
        };
        let got = run(1);
        assert_eq!(got, run(3), "{isa:?} {size:?}: threads change the result");
        for (pixel, (got, want)) in got.chunks(padded).zip(want.chunks(outputs)).enumerate() {
            for (o, (g, w)) in got.iter().zip(want).enumerate() {
                assert!(
                    (g - w).abs() <= TOLERANCE * largest,
                    "{isa:?} {size:?} pixel {pixel} output {o}: {g} not {w}"
                );
            }
            assert!(got[outputs..].iter().all(|&v| v == 0.0), "{isa:?}: padding is not 0");
        }
    }
}

#[test]
#[should_panic(expected = "more than memory can hold")]
fn sizes_beyond_memory_are_refused() {
    Winograd::new(Isa::Scalar, Tile::Four, [1 << 31, 1 << 31], 4, 4, &[0.0; 4], Clamp::NONE, |_, _, _| 0.0);
}

#[test]
fn agrees_with_the_direct_form() {
    for tile in [Tile::Three, Tile::Four, Tile::ThreeWithStride2] {
        for size in [[1, 1], [1, 9], [3, 4], [4, 4], [5, 8], [18, 18], [7, 13]] {
            check(tile, size, 3, 5, Clamp::NONE, false);
            check(tile, size, 17, 16, Clamp::RELU, true);
            check(tile, size, 70, 33, Clamp::RELU, false);
        }
    }
}

#[test]
fn what_is_not_a_number_stays_so() {
    for isa in Isa::available() {
        let size = [8, 8];
        let layer = Winograd::new(isa, Tile::Four, size, 16, 16, &[0.0; 16], Clamp::RELU, |_, _, _| 0.5);
        let mut input = vec![1.0; 64 * 16];
        input[0] = f32::NAN;
        let mut out = vec![0.0; layer.output_len()];
        let [mut inputs, mut products] = layer.scratch_lens().map(|len| vec![0.0; len]);
        with_team(|team| layer.forward(team, &input, None, &mut out, [&mut inputs, &mut products]));
        let pixel = |y: usize, x: usize| out[(y * 8 + x) * layer.output_stride()];
        // It is lost for its whole tile of 4 x 4, and for no other.
        assert!((0..16).all(|i| pixel(i / 4, i % 4).is_nan()), "{isa:?}");
        assert!((4..8).all(|y| pixel(y, y) > 0.0), "{isa:?}");
    }
}
