//! Philox's published answers, errors against f64, and the same bits everywhere.

use candle_core::{DType, Device, Tensor};

use super::{cpu::cos_sin_of_turn, cpu::ln_of_uniform, *};
use crate::kernels::{Isa, cuda::emulated, tensor_op::test_devices};

/// Known answers published with the Random123 library (kat_vectors, philox4x32 10).
#[test]
fn philox_known_answers() {
    let cases = [
        ([0; 4], [0; 2], [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]),
        ([u32::MAX; 4], [u32::MAX; 2], [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]),
        (
            [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
            [0xa409_3822, 0x299f_31d0],
            [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1],
        ),
    ];
    for (counter, key, want) in cases {
        assert_eq!(philox(counter, key), want);
    }
}

/// Words at the ends, around every quarter and every power of two, and between.
fn words() -> Vec<u32> {
    let around =
        (0..32).flat_map(|bit| [0u32, 1, 2, 3].map(|i| (1u32 << bit).wrapping_add(i).wrapping_sub(2)));
    let quarters =
        (0..8u32).flat_map(|eighth| [0u32, 1, 2, 3].map(|i| (eighth << 29).wrapping_add(i).wrapping_sub(2)));
    let between = (0..1u32 << 21).map(|i| i.wrapping_mul(0x9E37_79B1));
    around.chain(quarters).chain(between).collect()
}

/// The distance of neighbouring f32 at a number.
fn ulp(of: f64) -> f64 {
    let of = (of.abs() as f32).max(f32::MIN_POSITIVE);
    f64::from(f32::from_bits(of.to_bits() + 1)) - f64::from(of)
}

/// Largest errors, in units of the last place of the true value: measured 0.83 for the logarithm, 2.6 and 2.7 for cosine and
/// sine, where the three roundings of a small angle add up.
const LN_ULP: f64 = 1.0;
const TURN_ULP: f64 = 3.0;

#[test]
fn logarithm_sine_and_cosine_are_within_their_errors() {
    let mut most = [0.0f64; 3];
    for word in words() {
        let want = reference::uniform(word).ln();
        let [cos, sin] = cos_sin_of_turn(word);
        let [want_cos, want_sin] = reference::cos_sin_of_turn(word);
        let pairs = [(ln_of_uniform(word), want), (cos, want_cos), (sin, want_sin)];
        for (most, (got, want)) in most.iter_mut().zip(pairs) {
            *most = most.max((f64::from(got) - want).abs() / ulp(want));
        }
        assert!(ln_of_uniform(word) <= 0.0, "ln of word {word:#x} is above 0");
    }
    let [ln, cos, sin] = most;
    assert!(ln <= LN_ULP && cos <= TURN_ULP && sin <= TURN_ULP, "ln {ln}, cos {cos}, sin {sin} ulp");
}

#[test]
fn draws_are_those_of_the_definition() {
    for (a, b) in words().into_iter().zip(words().into_iter().rev()) {
        let want = reference::normal_pair(a, b);
        let got = normals([a, b, b, a]);
        for (got, want) in got.iter().zip(want.into_iter().chain(reference::normal_pair(b, a))) {
            // Four roundings of 2^-24 and the functions' errors, of a radius below 6.67.
            assert!((f64::from(*got) - want).abs() < 2e-6, "words {a:#x}, {b:#x}: {got} for {want}");
        }
    }
}

/// Lengths around blocks of the generator, chunks of a thread, and no numbers.
const LENGTHS: [usize; 9] = [0, 1, 3, 4, 5, 63, 1027, 16_384, 40_001];

fn streams() -> [Draws; 4] {
    [
        Draws { key: [0, 0], stream: [0, 2] },
        Draws { key: [7, 0], stream: [3, 2] },
        Draws { key: [u32::MAX, 0x1234_5678], stream: [u32::MAX, 2] },
        Draws { key: [0xDEAD_BEEF, 1], stream: [4000, 8] },
    ]
}

fn one_by_one(draws: Draws, sigma: f32, count: usize) -> Vec<f32> {
    (0..count.div_ceil(4) as u64)
        .flat_map(|i| normals(draws.block(i)))
        .map(|draw| draw * sigma)
        .take(count)
        .collect()
}

fn bits(numbers: &[f32]) -> Vec<u32> {
    numbers.iter().map(|v| v.to_bits()).collect()
}

#[test]
fn the_same_bits_for_every_instruction_set_and_thread_count() {
    for draws in streams() {
        for count in LENGTHS {
            let want = bits(&one_by_one(draws, 0.4, count));
            for isa in Isa::available() {
                for threads in [1, 3] {
                    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                    let mut got = vec![f32::NAN; count];
                    pool.install(|| fill(isa, draws, 0.4, &mut got));
                    assert!(bits(&got) == want, "{isa:?}, {count} of {draws:?}, {threads} threads");
                }
            }
        }
    }
}

#[test]
fn tensors_and_the_cuda_kernel_give_the_same_bits() {
    for (seed, draws) in streams().into_iter().enumerate() {
        for (n, dim) in [(1, 1), (1, 3), (3, 5), (7, 9), (33, 152), (257, 37)] {
            let count = n * dim;
            let x = crate::kernels::numbers(count, seed as u32);
            let noise = one_by_one(draws, 0.015, count);
            let noisy: Vec<f32> = x.iter().zip(&noise).map(|(x, noise)| noise + x).collect();
            let want = bits(&[&x[..], &noisy].concat());
            let tensor = Tensor::from_slice(&x, (n, dim), &Device::Cpu).unwrap();
            for device in test_devices() {
                let got = with_normal_noise(&tensor.to_device(&device).unwrap(), draws, 0.015).unwrap();
                assert_eq!(got.dims(), [2 * n, dim]);
                let got = got.flatten_all().unwrap().to_vec1::<f32>().unwrap();
                assert!(bits(&got) == want, "({n}, {dim}) of {draws:?} on {device:?}");
            }
            for &order in emulated::orders() {
                let launch = |x, out| vec![super::cuda::launch(draws, 0.015, count, x, out)];
                let got = emulated::on_tensor(&tensor, 2 * count, DType::F32, launch, order);
                assert!(bits(&got) == want, "({n}, {dim}) of {draws:?}, threads in order {order}");
            }
        }
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let draws = streams()[0];
    let zeros = |shape: &[usize], dtype| Tensor::zeros(shape, dtype, &Device::Cpu).unwrap();
    for (x, word) in [(zeros(&[2, 3, 4], DType::F32), "(n, D)"), (zeros(&[2, 3], DType::F16), "takes f32")] {
        let error = with_normal_noise(&x, draws, 1.0).unwrap_err();
        assert!(error.to_string().contains(word), "{error}");
    }
}
