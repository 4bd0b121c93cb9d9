//! No instructions beyond the target's baseline: vectors of four lanes, worked on lane by lane. Products are rounded before
//! they are added.

use super::Simd;
use crate::kernels::encoding::bf16;

/// Every machine has it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scalar;

/// Defines the operations of [`Scalar`], lane by lane.
macro_rules! lane_by_lane {
    ($($name:ident($a:ident, $b:ident) = $value:expr;)*) => {$(
        #[inline(always)]
        fn $name(self, a: Self::Vector, b: Self::Vector) -> Self::Vector {
            std::array::from_fn(|i| { let ($a, $b) = (a[i], b[i]); $value })
        }
    )*};
}

impl Simd for Scalar {
    type Vector = [f32; 4];
    type Words = [u32; 4];
    type Lanes = [f32; 4];
    type Halves = [f32; 2];
    type Bytes = [f32; 1];
    const LANES: usize = 4;
    const TILE_ROWS: usize = 4;

    #[inline(always)]
    fn splat(self, value: f32) -> [f32; 4] {
        [value; 4]
    }

    #[inline(always)]
    fn read(self, from: &[f32; 4]) -> [f32; 4] {
        *from
    }

    #[inline(always)]
    fn write(self, to: &mut [f32; 4], value: [f32; 4]) {
        *to = value;
    }

    lane_by_lane! {
        add(a, b) = a + b;
        subtract(a, b) = a - b;
        multiply(a, b) = a * b;
        max(a, b) = if a > b { a } else { b };
        min(a, b) = if a < b { a } else { b };
    }

    #[inline(always)]
    fn multiply_add(self, a: [f32; 4], b: [f32; 4], c: [f32; 4]) -> [f32; 4] {
        std::array::from_fn(|i| a[i] * b[i] + c[i])
    }

    #[inline(always)]
    fn prefetch(self, _: *const f32) {}

    #[inline(always)]
    fn read_words(self, from: &[f32; 4]) -> [u32; 4] {
        from.map(f32::to_bits)
    }

    #[inline(always)]
    fn splat_word(self, word: f32) -> [u32; 4] {
        [word.to_bits(); 4]
    }

    #[inline(always)]
    fn no_words(self) -> [u32; 4] {
        [0; 4]
    }

    #[inline(always)]
    fn first_half(self, words: [u32; 4]) -> [f32; 4] {
        words.map(|word| f32::from_bits(word << 16))
    }

    #[inline(always)]
    fn second_half(self, words: [u32; 4]) -> [f32; 4] {
        words.map(|word| f32::from_bits(word & 0xffff_0000))
    }

    #[inline(always)]
    fn add_byte_products(self, sum: [u32; 4], a: [u32; 4], b: [u32; 4]) -> [u32; 4] {
        std::array::from_fn(|i| {
            let products = a[i].to_le_bytes().into_iter().zip(b[i].to_le_bytes());
            let added: i32 = products.map(|(a, b)| i32::from(a) * i32::from(b as i8)).sum();
            sum[i].wrapping_add(added as u32)
        })
    }

    #[inline(always)]
    fn to_f32(self, words: [u32; 4]) -> [f32; 4] {
        words.map(|word| word as i32 as f32)
    }

    #[inline(always)]
    fn read_bf16(self, from: &[f32; 2]) -> [f32; 4] {
        let [a, b] = from.map(f32::to_bits);
        [a << 16, a & 0xffff_0000, b << 16, b & 0xffff_0000].map(f32::from_bits)
    }

    #[inline(always)]
    fn write_bf16(self, to: &mut [f32; 2], value: [f32; 4]) {
        let [a, b, c, d] = value.map(|v| u32::from(bf16(v)));
        *to = [a | b << 16, c | d << 16].map(f32::from_bits);
    }

    #[inline(always)]
    fn read_u8(self, from: &[f32; 1]) -> [f32; 4] {
        from[0].to_bits().to_le_bytes().map(f32::from)
    }

    #[inline(always)]
    fn write_u8(self, to: &mut [f32; 1], value: [f32; 4]) {
        // The conversion keeps within 0 and 255 by itself.
        let bytes = value.map(|v| v.round_ties_even() as u8);
        *to = [f32::from_bits(u32::from_le_bytes(bytes))];
    }
}
