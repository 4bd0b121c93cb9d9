//! What the kernels for channels-last activations share: (H, W, C') f32, row-major, C' whole vectors of channels.

use std::ops::Range;

#[cfg(target_arch = "x86_64")]
use crate::kernels::isa::{Avx2, Avx512};
use crate::kernels::isa::{Isa, Scalar, Simd};

/// Output columns that a kernel computes together. With the weights of a kernel's row they fit the 16 registers of
/// AVX2, and the widths of EfficientNet-Lite0 at 288 pixels are multiples of it.
pub(crate) const COLUMNS: usize = 6;

/// f32 numbers in a vector of a set, whether this machine has it or not: C' is a multiple of it.
pub(crate) fn lanes(isa: Isa) -> usize {
    match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 | Isa::Avx512Vnni | Isa::Avx512Bf16 => Avx512::LANES,
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 | Isa::Avx2Vnni => Avx2::LANES,
        _ => Scalar::LANES,
    }
}

/// Of `count` taps from place `start` of a padded side, those that lie in its `length` numbers after `before` of
/// padding.
#[inline(always)]
pub(crate) fn inside(start: usize, count: usize, before: usize, length: usize) -> Range<usize> {
    before.saturating_sub(start).min(count)..(before + length).saturating_sub(start).min(count)
}

/// The blocks of an output row, as (first column, columns). The last block moves back to be a whole one and repeats
/// what it shares with the one before; rows narrower than a block go column by column.
#[inline(always)]
pub(crate) fn blocks(width: usize) -> impl Iterator<Item = (usize, usize)> {
    let count = if width < COLUMNS { 1 } else { COLUMNS };
    (0..width).step_by(count).map(move |x| (x.min(width - count), count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_cover_every_column_and_stay_in_the_row() {
        for width in 0..40 {
            let mut covered = vec![false; width];
            for (first, count) in blocks(width) {
                assert!(count == 1 || count == COLUMNS, "{width}");
                covered[first..first + count].fill(true);
            }
            assert!(covered.iter().all(|&c| c), "{width}");
        }
    }

    #[test]
    fn taps_inside_are_those_that_are_not_padding() {
        for (start, count, before, length, expected) in [
            (0, 3, 1, 8, 1..3),
            (1, 3, 1, 8, 0..3),
            (7, 3, 1, 8, 0..2),
            (0, 5, 2, 1, 2..3),
            (0, 3, 4, 8, 3..3),
            (12, 3, 1, 8, 0..0),
        ] {
            assert_eq!(inside(start, count, before, length), expected, "{start} {count} {before} {length}");
        }
    }
}
