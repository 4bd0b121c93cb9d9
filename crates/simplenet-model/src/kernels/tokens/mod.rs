//! From patch embeddings to the tokens of a vision transformer. In: (patches, stride) f32. Out: (1 + patches, stride) f32: the class
//! token, then each patch with the embedding of its position added.

use crate::kernels::team::Team;

/// Rows per task.
const ROWS: usize = 64;

/// The class token and the positions, in rows of the map's stride.
#[derive(Debug, Clone)]
pub(crate) struct PackedTokens {
    stride: usize,
    /// The class token, then the positions: (1 + patches, stride).
    rows: Vec<f32>,
}

impl PackedTokens {
    /// `class` is (C), with its position added; `positions` is (patches, C); `stride` is at least C.
    pub(crate) fn new(class: &[f32], positions: &[f32], stride: usize) -> Self {
        let channels = class.len().max(1);
        let mut rows = vec![0.0; (1 + positions.len() / channels) * stride];
        for (to, from) in
            rows.chunks_exact_mut(stride).zip(class.chunks(channels).chain(positions.chunks(channels)))
        {
            to[..channels].copy_from_slice(from);
        }
        Self { stride, rows }
    }

    /// Makes the tokens of an image.
    ///
    /// # Panics
    /// Lengths that do not fit: a mistake in this crate's planning.
    pub(crate) fn forward(&self, team: &mut Team<'_>, input: &[f32], out: &mut [f32]) {
        assert!(out.len() == self.rows.len() && input.len() + self.stride == out.len());
        team.for_each_chunk(out, ROWS * self.stride, |block, out| {
            let start = block * ROWS * self.stride;
            out.copy_from_slice(&self.rows[start..][..out.len()]);
            // The class token has no patch.
            let skipped = self.stride.saturating_sub(start).min(out.len());
            let patches = &input[(start + skipped).saturating_sub(self.stride)..];
            out[skipped..].iter_mut().zip(patches).for_each(|(out, patch)| *out += patch);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::{numbers, team::with_team};

    #[test]
    fn the_class_token_comes_first_and_positions_are_added() {
        for (patches, channels, stride) in [(1, 3, 4), (63, 5, 8), (64, 5, 8), (200, 16, 16)] {
            let (class, positions) = (numbers(channels, 1), numbers(patches * channels, 2));
            let input = numbers(patches * stride, 3);
            let mut got = vec![f32::NAN; (1 + patches) * stride];
            with_team(|team| PackedTokens::new(&class, &positions, stride).forward(team, &input, &mut got));
            assert_eq!(got[..channels], class);
            for (patch, got) in got.chunks(stride).skip(1).enumerate() {
                for (c, got) in got[..channels].iter().enumerate() {
                    assert_eq!(*got, positions[patch * channels + c] + input[patch * stride + c]);
                }
            }
        }
    }
}
