//! A large photograph as overlapping tiles, each of which is one network input.
//!
//! In: the length of a side and of a tile, and how far neighbours overlap. Out: where tiles begin, which place belongs to
//! which tile, and with what weight each tile counts where several see a place. All of it goes axis by axis: a tile is
//! a column's stretch times a row's.

use serde::{Deserialize, Serialize};

use crate::error::DataError;
use crate::placement::PixelBox;

/// How a photograph is cut, in its own pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tiles {
    /// Pixels across.
    pub width: u32,
    /// Pixels down.
    pub height: u32,
    /// Least pixels that neighbours have in common.
    pub overlap: u32,
}

impl Tiles {
    /// Tiles of this size with the usual overlap: an eighth of the shorter side.
    pub fn of(width: u32, height: u32) -> Self {
        Self { width, height, overlap: width.min(height) / 8 }
    }

    /// Checks that tiles can cover a photograph.
    ///
    /// # Errors
    /// [`DataError::InvalidOption`]: a side of 0 or beyond `most`, an overlap of more than half a side.
    pub(crate) fn validate(&self, most: u32) -> Result<(), DataError> {
        let Self { width, height, overlap } = *self;
        let invalid = |option, found, expected| Err(DataError::InvalidOption { option, found, expected });
        if ![width, height].iter().all(|side| (1..=most).contains(side)) {
            return invalid("tiles", format!("{width} x {height}"), format!("sides of 1 to {most} pixels"));
        }
        let largest = width.min(height) / 2;
        if overlap > largest {
            let expected = format!("at most {largest} pixels, half of the shorter side of a tile");
            return invalid("tiles.overlap", overlap.to_string(), expected);
        }
        Ok(())
    }
}

/// The tiles of one image, in its pixels: row by row, left to right.
#[derive(Debug, Clone, PartialEq)]
pub struct TileLayout {
    /// Across.
    pub columns: TileAxis,
    /// Down.
    pub rows: TileAxis,
}

impl TileLayout {
    /// How many tiles there are.
    pub fn count(&self) -> usize {
        self.columns.starts.len() * self.rows.starts.len()
    }

    /// Rows and columns of tiles.
    pub fn grid(&self) -> [usize; 2] {
        [self.rows.starts.len(), self.columns.starts.len()]
    }

    /// Row and column of tile `index`.
    pub fn place(&self, index: usize) -> [usize; 2] {
        let across = self.columns.starts.len().max(1);
        [index / across, index % across]
    }

    /// The pixels that tile `index` sees.
    pub fn window(&self, index: usize) -> PixelBox {
        let [row, column] = self.place(index);
        let (x0, y0) = (self.columns.starts[column], self.rows.starts[row]);
        PixelBox { x0, y0, x1: x0 + self.columns.tile, y1: y0 + self.rows.tile }
    }
}

/// One axis of a [`TileLayout`].
#[derive(Debug, Clone, PartialEq)]
pub struct TileAxis {
    /// Pixels of the image.
    pub length: u32,
    /// Pixels of a tile.
    pub tile: u32,
    /// First pixel of each tile, ascending.
    pub starts: Vec<u32>,
    /// Half of the width in which one tile hands over to the next.
    half_ramp: f64,
}

impl TileAxis {
    /// Tiles of `tile` pixels that cover `length`, as few as overlap by at least `overlap`, evenly spread: where they
    /// overlap by more, neighbours share it.
    ///
    /// The caller has checked that `tile` is not 0, that `length` is at least `tile` and `overlap` at most half of it.
    pub(crate) fn new(length: u32, tile: u32, overlap: u32) -> Self {
        let rest = length - tile;
        let gaps = rest.div_ceil((tile - overlap).max(1));
        let start = |i: u32| (u64::from(i) * u64::from(rest) / u64::from(gaps.max(1))) as u32;
        let starts: Vec<u32> = (0..=gaps).map(start).collect();
        // Two ramps must not meet, so that at most two tiles count at a place.
        let step = starts.windows(2).map(|pair| pair[1] - pair[0]).min().unwrap_or(0);
        Self { length, tile, starts, half_ramp: f64::from(overlap.min(step)) / 2.0 }
    }

    /// Where tile `index` takes over from the one before it, and where it hands over to the next: half way through the
    /// overlap, the image's edges for the outermost.
    pub fn own(&self, index: usize) -> [f64; 2] {
        let border = |before: usize, after: usize| {
            let (before, after) = (self.starts[before] + self.tile, self.starts[after]);
            (f64::from(before) + f64::from(after)) / 2.0
        };
        let low = if index == 0 { 0.0 } else { border(index - 1, index) };
        let high =
            if index + 1 == self.starts.len() { f64::from(self.length) } else { border(index, index + 1) };
        [low, high]
    }

    /// What tile `index` counts at each of its pixels: 1 in its middle; a straight line down to 0 around each border
    /// with a neighbour, as wide as the overlap that was asked for. At every pixel of the image the tiles' weights sum
    /// to 1.
    pub fn weights(&self, index: usize) -> Vec<f32> {
        let [low, high] = self.own(index);
        let start = self.starts[index];
        let rise = |distance: f64| {
            if self.half_ramp > 0.0 {
                (0.5 + distance / (2.0 * self.half_ramp)).clamp(0.0, 1.0)
            } else {
                // Without an overlap, or with one of 0: one or the other.
                f64::from(u8::from(distance >= 0.0))
            }
        };
        (start..start + self.tile)
            .map(|pixel| {
                let centre = f64::from(pixel) + 0.5;
                let from_left = if index == 0 { 1.0 } else { rise(centre - low) };
                let to_right = if index + 1 == self.starts.len() { 1.0 } else { 1.0 - rise(centre - high) };
                (from_left * to_right) as f32
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_cover_the_whole_with_at_least_the_overlap() {
        for (length, tile, overlap, count) in [
            (2048, 512, 64, 5),
            (1536, 512, 64, 4),
            (512, 512, 64, 1),
            (513, 512, 64, 2),
            (961, 512, 64, 3),
            (960, 512, 64, 2),
            (1024, 512, 0, 2),
            (1025, 512, 256, 4),
            (7, 2, 1, 6),
            (5, 1, 0, 5),
        ] {
            let axis = TileAxis::new(length, tile, overlap);
            assert_eq!(axis.starts.len(), count, "{length} by {tile}, {overlap}");
            assert_eq!((axis.starts[0], axis.starts[count - 1] + tile), (0, length));
            for pair in axis.starts.windows(2) {
                assert!(pair[0] < pair[1] && pair[1] + overlap <= pair[0] + tile, "{:?}", axis.starts);
            }
            // Weights sum to one everywhere, and each place belongs to one tile, which sees it.
            let mut sums = vec![0.0f32; length as usize];
            let mut end = 0.0;
            for (i, &start) in axis.starts.iter().enumerate() {
                let weights = axis.weights(i);
                weights.iter().zip(&mut sums[start as usize..]).for_each(|(w, sum)| *sum += w);
                let [low, high] = axis.own(i);
                assert!(low == end && low < high, "{low} to {high}");
                assert!(f64::from(start) <= low && high <= f64::from(start + tile));
                // A tile counts for little where its neighbour sees better.
                for (x, &weight) in weights.iter().enumerate() {
                    let centre = f64::from(start) + x as f64 + 0.5;
                    assert!(
                        (low..high).contains(&centre) == (weight > 0.5) || weight == 0.5,
                        "{centre}: {weight}"
                    );
                }
                end = high;
            }
            assert_eq!(end, f64::from(length));
            assert!(sums.iter().all(|sum| (sum - 1.0).abs() < 1e-6), "{length} by {tile}, {overlap}");
        }
    }

    #[test]
    fn tiles_stand_row_by_row() {
        let layout = TileLayout { columns: TileAxis::new(20, 8, 2), rows: TileAxis::new(11, 8, 2) };
        assert_eq!((layout.count(), layout.grid()), (6, [2, 3]));
        assert_eq!(layout.window(0), PixelBox { x0: 0, y0: 0, x1: 8, y1: 8 });
        assert_eq!(layout.window(4), PixelBox { x0: 6, y0: 3, x1: 14, y1: 11 });
        assert_eq!(layout.place(4), [1, 1]);
    }
}
