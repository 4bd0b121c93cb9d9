//! The end of the head: Σ `tail[h]` · LeakyReLU(`hidden[h]`), with LeakyReLU(v) = max(v, slope · v) for slopes up to 1.
//!
//! In: one row of the hidden layer and the tail's weights, whole vectors of both. Out: one number. Lanes are summed apart
//! and then together, in one order. Before it, [`add_weighted`] adds what coarser layers say, resized.

mod tensor;

use super::Isa;
use super::simd::{MAX_LANES, Simd, for_each_isa};
pub(crate) use tensor::ScoreHead;

/// See the module.
///
/// # Panics
/// Lengths that differ or are not whole vectors of `isa`.
pub(crate) fn leaky_dot(isa: Isa, hidden: &[f32], tail: &[f32], slope: f32) -> f32 {
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
pub(crate) fn add_weighted(isa: Isa, corners: [&[f32]; 4], shares: [f32; 4], row: &mut [f32]) {
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

    /// Tensors on every device, and the kernels in the emulator, against the formula in f64.
    #[test]
    fn heads_of_tensors_agree_with_the_formula() {
        use candle_core::{DType, Device, Tensor};

        use crate::ops::{
            cuda::emulated::{self, Memory},
            dense::cuda::{End, Operands, Tile, leaky_dot, tiles},
            tensor_op::test_devices,
        };
        for (rows, dim, hidden) in [(1, 8, 8), (130, 40, 136), (67, 152, 264)] {
            for dtype in [DType::F32, DType::F16] {
                let rounded = |values: Vec<f32>, shape: (usize, usize)| {
                    Tensor::from_vec(values, shape, &Device::Cpu).unwrap().to_dtype(dtype).unwrap()
                };
                let floats = |tensor: &Tensor| {
                    let tensor = tensor.to_device(&Device::Cpu).unwrap().to_dtype(DType::F32).unwrap();
                    tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap()
                };
                let x = rounded(numbers(rows * dim, 1), (rows, dim));
                let scale = (dim as f32).sqrt();
                let weight = numbers(hidden * dim, 2).into_iter().map(|w| w / scale).collect();
                let weight = floats(&rounded(weight, (hidden, dim)));
                let (bias, tail, slope) = (numbers(hidden, 3), numbers(hidden, 4), 0.2);
                let want: Vec<f64> = floats(&x)
                    .chunks(dim)
                    .map(|x| {
                        let neuron = |h: usize| {
                            let row = &weight[h * dim..][..dim];
                            let sum: f64 =
                                row.iter().zip(x).map(|(&w, &v)| f64::from(w) * f64::from(v)).sum();
                            let value = sum + f64::from(bias[h]);
                            f64::from(tail[h]) * if value > 0.0 { value } else { value * f64::from(slope) }
                        };
                        (0..hidden).map(neuron).sum()
                    })
                    .collect();
                // Products are exact or nearly; sums of `dim`, then of `hidden` numbers around 1, in f32.
                let check = |got: &[f32], what: &str| {
                    assert_eq!(got.len(), rows);
                    for (i, (&got, want)) in got.iter().zip(&want).enumerate() {
                        assert!(
                            (f64::from(got) - want).abs() < 5e-5,
                            "{what}, {dtype:?}: row {i} is {got}, not {want}"
                        );
                    }
                };
                for device in test_devices() {
                    let head = ScoreHead::new(&weight, &bias, &tail, slope, dtype, &device).unwrap();
                    let got = head.forward(&x.to_device(&device).unwrap()).unwrap();
                    assert_eq!(got.dims(), [rows]);
                    check(&floats(&got), &format!("{device:?}"));
                }
                let head = ScoreHead::new(&weight, &bias, &tail, slope, dtype, &Device::Cpu).unwrap();
                let sizes = head.sizes(rows).unwrap();
                let [tile] = tiles(dtype, DType::F32, End::LeakyDot)[..] else {
                    panic!("one tile, so that neither the batch nor the GPU changes a bit")
                };
                assert_eq!(Tile::best(&[tile], rows, hidden, 132), Some(tile));
                for &order in emulated::orders() {
                    let [mut w, mut b, mut t] = head.tensors().map(Memory::of);
                    let mut x = Memory::of(&x);
                    let mut partial = Memory::room(rows * tile.across(hidden), DType::F32);
                    let mut out = Memory::room(rows, DType::F32);
                    let operands = Operands { x: x.address(), weight: w.address(), bias: b.address() };
                    let launches = leaky_dot(
                        &sizes,
                        &tile,
                        slope,
                        operands,
                        t.address(),
                        partial.address(),
                        out.address(),
                    );
                    // SAFETY: memory of these sizes; guards show where it is not.
                    unsafe { emulated::run(&launches, order) };
                    check(&out.floats(DType::F32), &format!("in order {order}"));
                }
                for wrong in [x.narrow(1, 0, dim / 2).unwrap(), x.to_dtype(DType::F64).unwrap()] {
                    assert!(head.forward(&wrong).unwrap_err().to_string().contains("a head for features"));
                }
            }
        }
        let new = |weights: usize, hidden: usize, tail: usize| {
            let (bias, tail) = (vec![0.0; hidden], vec![0.0; tail]);
            ScoreHead::new(&vec![0.0; weights], &bias, &tail, 0.2, DType::F32, &Device::Cpu)
        };
        assert!(new(64, 8, 8).is_ok());
        for (weights, hidden, tail) in [(64, 8, 7), (63, 8, 8), (0, 0, 0), (8 * 12, 8, 8), (8 * 12, 12, 12)] {
            assert!(new(weights, hidden, tail).is_err(), "{weights} {hidden} {tail}");
        }
    }
}
