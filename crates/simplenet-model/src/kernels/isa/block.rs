//! Arrays of words that one vector is read from or written to.

/// So many consecutive words.
pub(crate) trait Block: Copy {
    /// The first of a slice.
    ///
    /// # Panics
    /// A slice that is shorter.
    fn first(words: &[f32]) -> &Self;

    /// The first of a slice, to be written.
    ///
    /// # Panics
    /// A slice that is shorter.
    fn first_mut(words: &mut [f32]) -> &mut Self;
}

impl<const N: usize> Block for [f32; N] {
    #[inline(always)]
    fn first(words: &[f32]) -> &Self {
        &words.as_chunks::<N>().0[0]
    }

    #[inline(always)]
    fn first_mut(words: &mut [f32]) -> &mut Self {
        &mut words.as_chunks_mut::<N>().0[0]
    }
}
