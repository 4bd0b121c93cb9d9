//! The tiles of images of one size, and the way from the tiles' maps back to one.
//!
//! In: a map of each tile. Out: the joined map at the network's scale and the same in the image's own pixels; NaN where nothing was
//! inspected.

use rayon::prelude::*;
use simplenet_data::{Placement, tiles::TileLayout};

use super::tile::TileView;
use crate::error::InferenceError;

/// What the network sees of photographs of one size.
#[derive(Debug)]
pub struct View {
    /// Where all tiles together lie in the photograph.
    pub placement: Placement,
    /// All tiles.
    pub layout: TileLayout,
    /// Those with a patch inside the region.
    pub tiles: Vec<TileView>,
    /// Share of the photograph's area that is inspected.
    pub inspected_share: f64,
    pub(super) region: Option<Region>,
}

/// Pixels inside the region of interest.
#[derive(Debug)]
pub(super) struct Region {
    /// Of the image that the tiles are cut from.
    pub(super) input: Vec<bool>,
    /// Of the photograph.
    pub(super) photograph: Vec<bool>,
}

impl View {
    /// Width and height of the joined map.
    pub fn map_size(&self) -> (u32, u32) {
        (self.placement.crop.2, self.placement.crop.3)
    }

    /// The tiles' maps, (tile height, tile width) each and in the order of `tiles`, joined, and the same in the photograph's
    /// pixels; NaN outside the region and where a crop left pixels out. Where tiles overlap, one hands over to the next along
    /// a straight line, so that no seam shows.
    ///
    /// # Errors
    /// Maps of another size.
    pub(crate) fn join(&self, maps: Vec<Vec<f32>>) -> Result<(Vec<f32>, Vec<f32>), InferenceError> {
        let mut map = match self.layout.count() {
            1 => maps.into_iter().next().unwrap_or_default(),
            _ => self.blend(&maps),
        };
        // First enlarged, then cut: a pixel at the region's edge must not mix with one that has no score.
        let mut in_photograph = self.placement.map_to_original(&map, f32::NAN)?;
        if let Some(region) = &self.region {
            for (map, inside) in [(&mut map, &region.input), (&mut in_photograph, &region.photograph)] {
                map.par_iter_mut()
                    .zip(inside)
                    .filter(|(_, inside)| !**inside)
                    .for_each(|(v, _)| *v = f32::NAN);
            }
        }
        Ok((map, in_photograph))
    }

    fn blend(&self, maps: &[Vec<f32>]) -> Vec<f32> {
        let (width, height) = self.map_size();
        let (width, height) = (width as usize, height as usize);
        let TileLayout { columns, rows } = &self.layout;
        let across: Vec<Vec<f32>> = (0..columns.starts.len()).map(|i| columns.weights(i)).collect();
        let down: Vec<Vec<f32>> = (0..rows.starts.len()).map(|i| rows.weights(i)).collect();
        // Without a region every weight counts, and they sum to 1.
        let whole = self.region.is_none();
        let mut joined = vec![0.0f32; width * height];
        joined.par_chunks_mut(width.max(1)).enumerate().for_each(|(y, line)| {
            let mut sums = vec![0.0f32; if whole { 0 } else { width }];
            for (tile, map) in self.tiles.iter().zip(maps) {
                let [row, column] = self.layout.place(tile.index);
                let Some(in_tile) = y.checked_sub(rows.starts[row] as usize) else { continue };
                let Some(&vertical) = down[row].get(in_tile).filter(|weight| **weight > 0.0) else {
                    continue;
                };
                let side = columns.tile as usize;
                let (Some(from), start) =
                    (map.get(in_tile * side..(in_tile + 1) * side), columns.starts[column])
                else {
                    continue;
                };
                let to = &mut line[start as usize..];
                let pixels = from.iter().zip(&across[column]);
                if whole {
                    to.iter_mut().zip(pixels).for_each(|(to, (v, weight))| *to += vertical * weight * v);
                } else {
                    let sums = &mut sums[start as usize..];
                    for ((to, sum), (v, weight)) in to.iter_mut().zip(sums).zip(pixels) {
                        if !v.is_nan() {
                            *to += vertical * weight * v;
                            *sum += vertical * weight;
                        }
                    }
                }
            }
            // Where a tile was left out, or has no score, the others count alone.
            line.iter_mut()
                .zip(&sums)
                .for_each(|(to, sum)| *to = if *sum > 0.0 { *to / sum } else { f32::NAN });
        });
        joined
    }
}
