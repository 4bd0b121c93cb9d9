//! One list of cases over the reference and each instruction set.

use super::*;
use crate::ops::numbers;

/// Largest difference from the f64 reference: 25 products of numbers up to 6 in f32.
const TOLERANCE: f32 = 2e-5;

/// (height, width): single pixels, odd sides, outputs narrower than a block of columns, just as wide, one more.
const SIDES: [[usize; 2]; 12] =
    [[1, 1], [1, 9], [9, 1], [2, 3], [5, 4], [3, 6], [4, 7], [7, 11], [6, 12], [6, 13], [18, 18], [11, 37]];
const CHANNELS: [usize; 8] = [1, 3, 16, 17, 24, 40, 96, 144];

/// One layer and one image, without zeros between the pixels.
struct Case {
    geometry: Geometry,
    limit: f32,
    weight: Vec<f32>,
    bias: Vec<f32>,
    input: Vec<f32>,
}

impl Case {
    fn new(geometry: Geometry, channels: usize, limit: f32) -> Self {
        let [height, width] = geometry.input;
        let weight = numbers(channels * geometry.kernel * geometry.kernel, 1);
        let input = numbers(height * width * channels, 3);
        Self {
            geometry,
            limit,
            weight: weight.into_iter().map(|v| 0.5 * v).collect(),
            bias: numbers(channels, 2),
            // Activated.
            input: input.into_iter().map(|v| (8.0 * v).clamp(0.0, 6.0)).collect(),
        }
    }

    fn layer(&self, isa: Isa) -> PackedDepthwise {
        let Geometry { kernel, stride, .. } = self.geometry;
        PackedDepthwise::new(kernel, stride, &self.weight, &self.bias, self.limit, isa)
    }

    fn pixels(&self) -> usize {
        self.geometry.output().iter().product()
    }

    /// (h, w, C).
    fn reference(&self) -> Vec<f32> {
        let mut out = vec![f32::NAN; self.pixels() * self.bias.len()];
        reference::depthwise(&self.geometry, &self.weight, &self.bias, self.limit, &self.input, &mut out);
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
            for (kernel, stride) in [(3, 1), (3, 2), (5, 1), (5, 2)] {
                let same = Geometry::same(height, width, kernel, stride);
                let lopsided = Geometry { vertical: (2, 6), horizontal: (7, 4), ..same };
                let none = Geometry { vertical: (0, 0), horizontal: (0, 0), ..same };
                for (geometry, limit) in [(same, 6.0), (lopsided, f32::INFINITY), (none, 6.0)] {
                    let case = Case::new(geometry, channels, limit);
                    check(&case, &format!("{channels} channels, limit {limit}, {geometry:?}"));
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
        let written_out = Case { geometry, limit: case.limit, weight, bias, input: padded };
        for isa in Isa::available() {
            assert_eq!(bits(&case.run(isa)), bits(&written_out.run(isa)), "{isa:?} {what}");
        }
    });
}

#[test]
fn what_is_not_a_number_stays_so() {
    for isa in Isa::available() {
        let mut case = Case::new(Geometry::same(3, 14, 3, 1), 2, 6.0);
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
    for (kernel, stride, weights, limit, expected) in [
        (4, 1, 32, 6.0, "kernel 3 or 5"),
        (3, 3, 18, 6.0, "stride 1 or 2"),
        (3, 1, 17, 6.0, "weight (C, 3, 3)"),
        (3, 1, 18, f32::NAN, "limit"),
    ] {
        let message = panic_message(move || {
            PackedDepthwise::new(kernel, stride, &vec![0.0; weights], &[0.0; 2], limit, Isa::Scalar);
        });
        assert!(message.contains(expected), "{message}");
    }
    for (geometry, input, out, expected) in [
        (Geometry::same(4, 4, 5, 1), 64, 64, "kernel 3 and stride 1, got 5 and 1"),
        (Geometry::same(4, 4, 3, 1), 63, 64, "lengths [64, 64]"),
        (Geometry::same(4, 4, 3, 1), 64, 65, "lengths [64, 64]"),
    ] {
        let message = panic_message(move || {
            let layer = PackedDepthwise::new(3, 1, &[0.0; 18], &[0.0; 2], 6.0, Isa::Scalar);
            layer.forward(&geometry, &vec![0.0; input], &mut vec![0.0; out]);
        });
        assert!(message.contains(expected), "{message}");
    }
}
