//! The end of the head: Σ `tail[h]` · LeakyReLU(`hidden[h]`), with LeakyReLU(v) = max(v, slope · v) for slopes up to 1.
//!
//! In: one row of the hidden layer and the tail's weights, whole vectors of both. Out: one number. Lanes are summed apart
//! and then together, in one order. Before it, [`add_weighted`] adds what coarser layers say, resized.

use super::Isa;
use super::simd::{MAX_LANES, Simd, for_each_isa};

/// See the module.
///
/// # Panics
/// Lengths that differ or are not whole vectors of `isa`.
pub fn leaky_dot(isa: Isa, hidden: &[f32], tail: &[f32], slope: f32) -> f32 {
    let isa = isa.or_lower();
    assert!(hidden.len() == tail.len() && hidden.len().is_multiple_of(super::channels_last::lanes(isa)));
    // SAFETY: the machine has `isa`; lengths are equal whole vectors.
    unsafe { dispatch(isa, hidden, tail, slope) }
}

for_each_isa! {
    /// # Safety
    /// The machine has `isa`, whose lanes divide both lengths, which are equal.
    dispatch => sum(hidden: &[f32], tail: &[f32], slope: f32) -> f32
}

#[inline(always)]
unsafe fn sum<V: Simd>(hidden: &[f32], tail: &[f32], slope: f32) -> f32 {
    // SAFETY: the caller's contract: every vector lies in both slices; `lanes` has room for one.
    unsafe {
        let (mut sum, slope) = (V::splat(0.0), V::splat(slope));
        for at in (0..hidden.len()).step_by(V::LANES) {
            let value = V::load(hidden.as_ptr().add(at));
            let leaky = V::max(value, V::multiply(slope, value));
            sum = V::multiply_add(V::load(tail.as_ptr().add(at)), leaky, sum);
        }
        let mut lanes = [0.0; MAX_LANES];
        V::store(lanes.as_mut_ptr(), sum);
        lanes[..V::LANES].iter().sum()
    }
}

/// `row += Σ shares[i] · corners[i]`: the bilinear mean of four rows.
///
/// # Panics
/// Lengths that differ or are not whole vectors of `isa`.
pub fn add_weighted(isa: Isa, corners: [&[f32]; 4], shares: [f32; 4], row: &mut [f32]) {
    let isa = isa.or_lower();
    assert!(row.len().is_multiple_of(super::channels_last::lanes(isa)));
    assert!(corners.iter().all(|corner| corner.len() == row.len()));
    // SAFETY: the machine has `isa`; lengths are equal whole vectors.
    unsafe { dispatch_add(isa, corners, shares, row) }
}

for_each_isa! {
    /// # Safety
    /// The machine has `isa`, whose lanes divide the lengths, which are equal.
    dispatch_add => add(corners: [&[f32]; 4], shares: [f32; 4], row: &mut [f32]) -> ()
}

#[inline(always)]
unsafe fn add<V: Simd>(corners: [&[f32]; 4], shares: [f32; 4], row: &mut [f32]) {
    // SAFETY: the caller's contract: every vector lies in all slices.
    unsafe {
        for at in (0..row.len()).step_by(V::LANES) {
            let mut sum = V::load(row.as_ptr().add(at));
            for (corner, share) in corners.iter().zip(shares) {
                sum = V::multiply_add(V::splat(share), V::load(corner.as_ptr().add(at)), sum);
            }
            V::store(row.as_mut_ptr().add(at), sum);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::numbers;

    #[test]
    fn adds_the_mean_of_four_rows() {
        let rows: Vec<Vec<f32>> = (1..=5).map(|seed| numbers(48, seed)).collect();
        let corners: [&[f32]; 4] = std::array::from_fn(|i| rows[i].as_slice());
        let shares = [0.1, 0.2, 0.3, 0.4];
        for isa in Isa::available() {
            let mut row = rows[4].clone();
            add_weighted(isa, corners, shares, &mut row);
            for (i, got) in row.into_iter().enumerate() {
                let want = rows[4][i] + (0..4).map(|c| shares[c] * corners[c][i]).sum::<f32>();
                assert!((got - want).abs() < 1e-6, "{isa:?}: {got} not {want}");
            }
        }
    }

    #[test]
    fn agrees_with_the_formula() {
        for length in [16, 64, 1024] {
            let (hidden, tail) = (numbers(length, 1), numbers(length, 2));
            for slope in [0.0, 0.2, 1.0] {
                let leaky = |v: f32| f64::from(if v > 0.0 { v } else { slope * v });
                let want: f64 = hidden.iter().zip(&tail).map(|(&h, &t)| leaky(h) * f64::from(t)).sum();
                for isa in Isa::available() {
                    let got = leaky_dot(isa, &hidden, &tail, slope);
                    assert!(
                        (f64::from(got) - want).abs() < 1e-4,
                        "{isa:?} {length} {slope}: {got} not {want}"
                    );
                }
            }
        }
    }
}
