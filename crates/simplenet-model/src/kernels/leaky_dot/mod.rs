//! The end of the head: Σ `tail[h]` · LeakyReLU(`hidden[h]`), with LeakyReLU(v) = max(v, slope · v) for slopes up to 1.
//!
//! In: one row of the hidden layer and the tail's weights, whole vectors of both. Out: one number. Lanes are summed apart
//! and then together, in one order. Before it, [`add_weighted`] adds what coarser layers say, resized.

mod tensor;

use super::isa::{Isa, MAX_LANES, Simd, for_each_isa};
pub(crate) use tensor::ScoreHead;

/// See the module.
///
/// # Panics
/// Lengths that differ or are not whole vectors of `isa`.
pub(crate) fn leaky_dot(isa: Isa, hidden: &[f32], tail: &[f32], slope: f32) -> f32 {
    let token = isa.token();
    assert!(hidden.len() == tail.len() && hidden.len().is_multiple_of(token.lanes()));
    dispatch(token, hidden, tail, slope)
}

for_each_isa! {
    fn dispatch(hidden: &[f32], tail: &[f32], slope: f32) -> f32 => sum
}

#[inline(always)]
fn sum<S: Simd>(simd: S, hidden: &[f32], tail: &[f32], slope: f32) -> f32 {
    let (mut sum, slope) = (simd.splat(0.0), simd.splat(slope));
    for (hidden, tail) in hidden.chunks_exact(S::LANES).zip(tail.chunks_exact(S::LANES)) {
        let value = simd.load(hidden);
        let leaky = simd.max(value, simd.multiply(slope, value));
        sum = simd.multiply_add(simd.load(tail), leaky, sum);
    }
    let mut lanes = [0.0; MAX_LANES];
    simd.store(&mut lanes, sum);
    lanes[..S::LANES].iter().sum()
}

/// `row += Σ shares[i] · corners[i]`: the bilinear mean of four rows.
///
/// # Panics
/// Lengths that differ or are not whole vectors of `isa`.
pub(crate) fn add_weighted(isa: Isa, corners: [&[f32]; 4], shares: [f32; 4], row: &mut [f32]) {
    let token = isa.token();
    assert!(row.len().is_multiple_of(token.lanes()));
    assert!(corners.iter().all(|corner| corner.len() == row.len()));
    dispatch_add(token, corners, shares, row);
}

for_each_isa! {
    fn dispatch_add(corners: [&[f32]; 4], shares: [f32; 4], row: &mut [f32]) => add
}

#[inline(always)]
fn add<S: Simd>(simd: S, corners: [&[f32]; 4], shares: [f32; 4], row: &mut [f32]) {
    let corners = corners.map(|corner| &corner[..row.len()]);
    for (i, row) in row.chunks_exact_mut(S::LANES).enumerate() {
        let mut sum = simd.load(row);
        for (corner, share) in corners.iter().zip(shares) {
            sum = simd.multiply_add(simd.splat(share), simd.load(&corner[i * S::LANES..]), sum);
        }
        simd.store(row, sum);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::numbers;

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

        use crate::kernels::{
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
