//! Draws on the CPU. The loop over blocks is plain code without branches, which the compiler turns into vectors of each
//! instruction set; none of them joins a product and a sum, so all give the same bits, and those of `normal_noise.cu`.

#![allow(clippy::excessive_precision, reason = "as many digits as name one f32 here and in the kernel")]

use rayon::prelude::*;

use super::Draws;
use crate::kernels::isa::{Isa, Simd, for_each_isa};

/// Multipliers and key increments of Philox4x32 (the paper's table 2 and section 4.2).
const MULTIPLIERS: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];
const ROUNDS: usize = 10;

/// Blocks that a thread makes in one go. A power of two: the lower word of their index does not overflow on the way.
const BLOCKS: usize = 1 << 12;

/// ln(1 + f) = f - f²/2 + f³·P(f) for f in [√½ - 1, √2 - 1], and sin x = x + x³·S(x²), cos x = 1 - x²/2 + x⁴·C(x²) for |x| up to
/// π/4. Minimax in the relative error of the whole, by Lawson's iteration, one coefficient rounded to f32 after the other and
/// those behind it fitted again: relative errors of 2^-27.3, 2^-27.9 and 2^-32.9 before rounding.
const LN: [f32; 8] = [
    0.333_333_313_5,
    -0.250_008_195_6,
    0.200_012_415_6,
    -0.166_234_090_9,
    0.142_015_799_9,
    -0.131_596_103_3,
    0.127_622_172_2,
    -0.076_364_390_55,
];
const SIN: [f32; 3] = [-0.166_666_552_42, 0.008_332_189_173, -0.000_195_182_845_3];
const COS: [f32; 3] = [0.041_666_645_557, -0.001_388_730_946_9, 2.443_232_733_6e-5];
/// ln 2 in two parts: a multiple of 2^-9, so that its products with whole numbers up to 32 are exact, and the rest.
const LN2_HIGH: f32 = 355.0 / 512.0;
const LN2_LOW: f32 = -2.121_944_400_5e-4;
/// The bits of √½, where a mantissa's range begins.
const ROOT_HALF: u32 = 0x3F35_04F3;

/// Fills `out` with draws of standard deviation `sigma`: number `i` depends on `draws` and `i` only. On the current rayon
/// pool.
pub fn fill(isa: Isa, draws: Draws, sigma: f32, out: &mut [f32]) {
    let token = isa.token();
    out.par_chunks_mut(4 * BLOCKS).enumerate().for_each(|(chunk, out)| {
        let first = (chunk * BLOCKS) as u64;
        let (fours, rest) = out.as_chunks_mut::<4>();
        blocks(token, &draws, sigma, first, fours);
        for (slot, draw) in rest.iter_mut().zip(normals(draws.block(first + fours.len() as u64))) {
            *slot = draw * sigma;
        }
    });
}

for_each_isa! {
    fn blocks(draws: &Draws, sigma: f32, first: u64, out: &mut [[f32; 4]]) => blocks_of
}

/// Blocks from `first` on, a multiple of [`BLOCKS`].
#[inline(always)]
fn blocks_of<S: Simd>(_: S, draws: &Draws, sigma: f32, first: u64, out: &mut [[f32; 4]]) {
    let Draws { key, stream } = *draws;
    let (low, high) = (first as u32, (first >> 32) as u32);
    for (i, four) in out.iter_mut().enumerate() {
        let words = philox([low.wrapping_add(i as u32), high, stream[0], stream[1]], key);
        let [a, b, c, d] = normals(words);
        *four = [a * sigma, b * sigma, c * sigma, d * sigma];
    }
}

/// Philox4x32 with 10 rounds: four random words of a counter and a key.
#[inline(always)]
pub(crate) fn philox(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for _ in 0..ROUNDS {
        let product = |m: u32, x: u32| {
            let wide = u64::from(m) * u64::from(x);
            ((wide >> 32) as u32, wide as u32)
        };
        let (high0, low0) = product(MULTIPLIERS[0], counter[0]);
        let (high1, low1) = product(MULTIPLIERS[1], counter[2]);
        counter = [high1 ^ counter[1] ^ key[0], low1, high0 ^ counter[3] ^ key[1], low0];
        key = [key[0].wrapping_add(WEYL[0]), key[1].wrapping_add(WEYL[1])];
    }
    counter
}

/// Four standard normal draws of four words; the radius stays below 6.67, as 32 bits allow.
#[inline(always)]
pub fn normals([a, b, c, d]: [u32; 4]) -> [f32; 4] {
    let [w, x] = normal_pair(a, b);
    let [y, z] = normal_pair(c, d);
    [w, x, y, z]
}

#[inline(always)]
fn normal_pair(a: u32, b: u32) -> [f32; 2] {
    let radius = (-2.0 * ln_of_uniform(a)).sqrt();
    let [cos, sin] = cos_sin_of_turn(b);
    [radius * cos, radius * sin]
}

/// ln((a + ½) / 2³²), at most 0; within 1 unit of the last place.
#[inline(always)]
pub(super) fn ln_of_uniform(a: u32) -> f32 {
    // 31 bits: a signed number, which every instruction set converts.
    let u = ((a >> 1) as i32 as f32 + 0.5) * (1.0 / 2_147_483_648.0);
    let above = u.to_bits().wrapping_sub(ROOT_HALF);
    // u = 2^exponent · (1 + f)
    let exponent = ((above as i32) >> 23) as f32;
    let f = f32::from_bits((above & 0x007F_FFFF) + ROOT_HALF) - 1.0;
    let mut p = LN[7];
    p = p * f + LN[6];
    p = p * f + LN[5];
    p = p * f + LN[4];
    p = p * f + LN[3];
    p = p * f + LN[2];
    p = p * f + LN[1];
    p = p * f + LN[0];
    let square = f * f;
    // The small parts first.
    let small = p * f * square + exponent * LN2_LOW - 0.5 * square;
    (small + f) + exponent * LN2_HIGH
}

/// Cosine and sine of b / 2³² of a turn; within 3 units of the last place.
#[inline(always)]
pub(super) fn cos_sin_of_turn(b: u32) -> [f32; 2] {
    // The nearest quarter, and what is left: within an eighth of a turn on both sides.
    let quarter = b.wrapping_add(1 << 29) >> 30;
    let x = b.wrapping_sub(quarter << 30) as i32 as f32 * (std::f32::consts::TAU / 4_294_967_296.0);
    let z = x * x;
    let s = ((SIN[2] * z + SIN[1]) * z + SIN[0]) * (z * x) + x;
    let c = ((COS[2] * z + COS[1]) * z + COS[0]) * (z * z) - 0.5 * z + 1.0;
    let odd = quarter & 1 == 1;
    let (cos, sin) = (if odd { s } else { c }, if odd { c } else { s });
    // The cosine is below zero in quarters 1 and 2, the sine in 2 and 3.
    let [cos_sign, sin_sign] = [(quarter + 1) & 2, quarter & 2].map(|bit| bit << 30);
    [f32::from_bits(cos.to_bits() ^ cos_sign), f32::from_bits(sin.to_bits() ^ sin_sign)]
}
