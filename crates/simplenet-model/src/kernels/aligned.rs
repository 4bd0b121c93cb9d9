//! Memory for numbers that begins at a cache line, so that no vector lies across two.
//!
//! Large amounts (packed weights, wide maps) are mapped from the system with the wish for huge pages: a network's weights
//! are read from end to end for every image, and with pages of 4 KiB each of them costs a fault when it is filled and a
//! walk through the page tables when it is read. Where the system grants no huge pages, nothing is lost.

use std::ops::{Deref, DerefMut};

use memmap2::MmapMut;

/// f32 numbers of a cache line.
const LINE: usize = 16;
/// From here on huge pages (2 MiB on x86-64) can help, in bytes.
const LARGE: usize = 4 << 20;

/// A cache line.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; LINE]);

/// A fixed number of f32, zeros at first; a slice of them in every respect.
#[derive(Debug, Default)]
pub(crate) struct Aligned {
    memory: Memory,
    len: usize,
}

#[derive(Debug)]
enum Memory {
    Lines(Vec<Line>),
    /// Begins at a page.
    Mapped(MmapMut),
}

impl Default for Memory {
    fn default() -> Self {
        Self::Lines(Vec::new())
    }
}

impl Aligned {
    /// `len` zeros.
    ///
    /// # Panics
    /// More than memory can hold.
    pub(crate) fn zeros(len: usize) -> Self {
        let memory = map(size([len, size_of::<f32>()]));
        let lines = || Memory::Lines(vec![Line([0.0; LINE]); len.div_ceil(LINE)]);
        Self { memory: memory.map_or_else(lines, Memory::Mapped), len }
    }
}

impl Aligned {
    /// The first `len` numbers; there is more memory if there was less, and then all are zeros.
    pub(crate) fn at_least(&mut self, len: usize) -> &mut [f32] {
        if self.len < len {
            *self = Self::zeros(len);
        }
        &mut self[..len]
    }
}

/// A product of sizes, as checked entry points multiply them.
///
/// # Panics
/// More values than memory can hold.
pub(crate) fn size<const N: usize>(factors: [usize; N]) -> usize {
    let product = factors.into_iter().try_fold(1usize, usize::checked_mul);
    let product = product.filter(|&product| product <= isize::MAX as usize / size_of::<f32>());
    assert!(product.is_some(), "sizes of {factors:?} are more than memory can hold");
    product.unwrap_or(0)
}

/// Zeroed memory from the system; none for small amounts, or where it cannot be had that way.
fn map(bytes: usize) -> Option<MmapMut> {
    if bytes < LARGE {
        return None;
    }
    let memory = MmapMut::map_anon(bytes).ok()?;
    #[cfg(target_os = "linux")]
    // Only a wish: without huge pages it works as well.
    let _granted = memory.advise(memmap2::Advice::HugePage);
    Some(memory)
}

impl Clone for Aligned {
    fn clone(&self) -> Self {
        let mut copy = Self::zeros(self.len);
        copy.copy_from_slice(self);
        copy
    }
}

impl Deref for Aligned {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        let start: *const f32 = match &self.memory {
            Memory::Lines(lines) => lines.as_ptr().cast(),
            Memory::Mapped(memory) => memory.as_ptr().cast(),
        };
        // SAFETY: `zeros` made room for at least `len` f32: lines are arrays of them without padding, and a mapping
        // begins at a page, so both are aligned. Every bit pattern is an f32, and the memory is zeroed.
        unsafe { std::slice::from_raw_parts(start, self.len) }
    }
}

impl DerefMut for Aligned {
    fn deref_mut(&mut self) -> &mut [f32] {
        let start: *mut f32 = match &mut self.memory {
            Memory::Lines(lines) => lines.as_mut_ptr().cast(),
            Memory::Mapped(memory) => memory.as_mut_ptr().cast(),
        };
        // SAFETY: as in `deref`, and `self` is borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(start, self.len) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "more than memory can hold")]
    fn more_than_memory_can_hold_is_refused() {
        let _ = Aligned::zeros(usize::MAX / 4 + 2);
    }

    #[test]
    fn is_a_slice_at_a_cache_line() {
        for len in [0, 1, 15, 16, 17, 1000, LARGE / 4 - 1, LARGE / 4, LARGE / 2 + 7] {
            let mut numbers = Aligned::zeros(len);
            assert!(numbers.len() == len && numbers.iter().all(|&v| v == 0.0));
            assert!(numbers.as_ptr().addr().is_multiple_of(64));
            numbers.iter_mut().enumerate().for_each(|(i, v)| *v = i as f32);
            let copy = numbers.clone();
            numbers.fill(-1.0);
            assert!(copy.iter().enumerate().all(|(i, &v)| v == i as f32));
        }
    }
}
