//! GELU (Hendrycks and Gimpel, "Gaussian Error Linear Units", 2016): y = x · (1 + erf(x / √2)) / 2, in its exact form.
//!
//! In: (positions, stride) f32. Out: the same of any encoding. The error function is a rational approximation whose terms are plain
//! products and sums: loops over it vectorise, and results do not depend on the instruction set.

use std::cell::RefCell;

use crate::kernels::{
    Isa,
    encoding::{Encoding, convert},
    team::Team,
};

/// Values per task, about.
const VALUES: usize = 16 * 1024;

thread_local! {
    /// A position's values before they are encoded; kept to save the allocation.
    static ROW: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// `input` is (positions, stride), `out` the same in `encoding`; slices are words, `stride` whole vectors.
///
/// # Panics
/// Lengths that do not fit: a mistake in this crate's planning.
pub(crate) fn forward(
    team: &mut Team<'_>,
    isa: Isa,
    stride: usize,
    input: &[f32],
    out: &mut [f32],
    encoding: Encoding,
) {
    let words = encoding.words(stride);
    assert!(input.len().is_multiple_of(stride) && out.len() == input.len() / stride * words);
    let positions = (VALUES / stride).max(1);
    team.for_each_chunk(out, positions * words, |block, out| {
        let rows = input.chunks_exact(stride).skip(block * positions);
        for (out, x) in out.chunks_exact_mut(words).zip(rows) {
            if encoding == Encoding::F32 {
                out.iter_mut().zip(x).for_each(|(out, &x)| *out = gelu(x));
            } else {
                ROW.with_borrow_mut(|row| {
                    row.clear();
                    row.extend(x.iter().map(|&x| gelu(x)));
                    convert(isa, stride, row, Encoding::F32, out, encoding);
                });
            }
        }
    });
}

/// One value.
#[inline(always)]
fn gelu(x: f32) -> f32 {
    0.5 * x * (1.0 + erf(x * std::f32::consts::FRAC_1_SQRT_2))
}

/// Beyond this the error function is 1 in f32.
const ERF_LIMIT: f32 = 4.0;
/// x · P(x²) / Q(x²): the coefficients of Eigen's `generic_fast_erf_float` (Eigen 3.4, MPL-2.0; a minimax fit on [−4, 4]),
/// the highest power first.
const ERF_P: [f32; 7] = [
    -2.726_142_4e-10,
    2.770_681_4e-8,
    -2.101_024e-6,
    -5.692_506_4e-5,
    -7.349_906_3e-4,
    -2.954_6e-3,
    -1.609_603_3e-2,
];
const ERF_Q: [f32; 5] = [-1.456_607_2e-5, -2.133_740_6e-4, -1.682_827e-3, -7.373_329e-3, -1.426_473_9e-2];

/// The error function, within 3e-7.
#[inline(always)]
fn erf(x: f32) -> f32 {
    // In this order of arguments what is not a number stays so.
    let x = if x > ERF_LIMIT { ERF_LIMIT } else { x };
    let x = if x < -ERF_LIMIT { -ERF_LIMIT } else { x };
    let square = x * x;
    let mut p = ERF_P[0];
    for factor in &ERF_P[1..] {
        p = p * square + factor;
    }
    let mut q = ERF_Q[0];
    for factor in &ERF_Q[1..] {
        q = q * square + factor;
    }
    x * p / q
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::{encoding::decode, team::with_team};

    /// Simpson's rule over the defining integral.
    fn erf_by_integration(x: f64) -> f64 {
        let steps = 2000;
        let step = x / f64::from(steps);
        let density = |i: i32| (-(f64::from(i) * step).powi(2)).exp();
        let weight = |i: i32| {
            if i == 0 || i == steps {
                1.0
            } else if i % 2 == 1 {
                4.0
            } else {
                2.0
            }
        };
        let sum: f64 = (0..=steps).map(|i| weight(i) * density(i)).sum();
        sum * step / 3.0 * 2.0 / std::f64::consts::PI.sqrt()
    }

    #[test]
    fn the_error_function_is_exact_to_rounding() {
        for i in -1200..=1200 {
            let x = f64::from(i) / 200.0;
            let (got, want) = (f64::from(erf(x as f32)), erf_by_integration(x));
            assert!((got - want).abs() < 4e-7, "{x}: {got}, not {want}");
        }
        assert!(erf(f32::NAN).is_nan() && gelu(f32::NAN).is_nan());
        assert!((gelu(40.0) - 40.0).abs() < 1e-5 && gelu(-40.0).abs() < 1e-5 && gelu(0.0) == 0.0);
    }

    #[test]
    fn every_encoding_holds_the_same() {
        for isa in Isa::available() {
            let (positions, stride) = (70, 64);
            let input: Vec<f32> = (0..positions * stride).map(|i| (i % 613) as f32 / 100.0 - 3.0).collect();
            for (encoding, tolerance) in
                [(Encoding::F32, 0.0), (Encoding::Bf16, 0.01), (Encoding::around_zero(3.2), 0.013)]
            {
                let mut got = vec![f32::NAN; positions * encoding.words(stride)];
                with_team(|team| forward(team, isa, stride, &input, &mut got, encoding));
                for (got, &x) in decode(&got, encoding).iter().zip(&input) {
                    assert!((got - gelu(x)).abs() <= tolerance, "{isa:?} {encoding:?} {x}: {got}");
                }
            }
        }
    }
}
