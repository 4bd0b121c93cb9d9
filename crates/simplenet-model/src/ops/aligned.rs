//! Memory for numbers that begins at a cache line, so that no vector lies across two.

use std::ops::{Deref, DerefMut};

/// f32 numbers of a cache line.
const LINE: usize = 16;

/// A cache line.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; LINE]);

/// A fixed number of f32, zeros at first; a slice of them in every respect.
#[derive(Debug, Clone, Default)]
pub(crate) struct Aligned {
    lines: Vec<Line>,
    len: usize,
}

impl Aligned {
    /// `len` zeros.
    pub(crate) fn zeros(len: usize) -> Self {
        Self { lines: vec![Line([0.0; LINE]); len.div_ceil(LINE)], len }
    }
}

impl Deref for Aligned {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        // SAFETY: `Line` is an array of LINE f32 without padding, so `lines` holds at least `len` f32 in a row.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.len) }
    }
}

impl DerefMut for Aligned {
    fn deref_mut(&mut self) -> &mut [f32] {
        // SAFETY: as in `deref`, and `self` is borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.len) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_a_slice_at_a_cache_line() {
        for len in [0, 1, 15, 16, 17, 1000] {
            let mut numbers = Aligned::zeros(len);
            assert!(numbers.len() == len && numbers.iter().all(|&v| v == 0.0));
            assert!(numbers.as_ptr().addr().is_multiple_of(64));
            numbers.iter_mut().enumerate().for_each(|(i, v)| *v = i as f32);
            assert!(numbers.iter().enumerate().all(|(i, &v)| v == i as f32));
        }
    }
}
