//! What the network sees of an image: its tiles, which patches of each are inside the region of interest, and the way from
//! the tiles' maps back to one.
//!
//! In: the preprocessing, regions beside its own, the size of an image. Out: a [`View`], which images of one size share.
//! An image that is not cut is one tile; one without a region is inside throughout. [`Detector`](crate::Detector) uses them,
//! and training, which must see what it will inspect.

mod tile;
mod view;

use std::{
    collections::HashMap,
    ops::Range,
    sync::{Arc, Mutex, PoisonError},
};

use simplenet_data::{
    DataError, Placement, Preprocess, RegionOfInterest,
    tiles::{TileAxis, TileLayout},
};

use crate::error::InferenceError;
pub use tile::TileView;
pub(crate) use tile::tile_map;
use view::Region;
pub use view::View;

/// Image sizes that are remembered: a line has one or two.
const REMEMBERED: usize = 8;
/// A patch is inside from this share of its pixels on.
const INSIDE: f64 = 0.5;

/// Makes views, and remembers them.
#[derive(Debug)]
pub struct Views {
    preprocess: Preprocess,
    /// Regions beside that of the preprocessing; what is inspected lies in all of them.
    regions: Vec<RegionOfInterest>,
    /// Rows and columns of patches of a network input.
    grid: (usize, usize),
    made: Mutex<HashMap<(u32, u32), Arc<View>>>,
}

impl Views {
    /// Views by a preprocessing and its region of interest; what is inspected lies in all of `regions` too. `grid` are the
    /// rows and columns of patches of a network input.
    pub fn new(preprocess: &Preprocess, regions: &[RegionOfInterest], grid: (usize, usize)) -> Self {
        let regions = preprocess.roi.iter().chain(regions).cloned().collect();
        Self { preprocess: preprocess.clone(), regions, grid, made: Mutex::default() }
    }

    /// The view of photographs of this size.
    ///
    /// # Errors
    /// A photograph smaller than a tile; a region that leaves no patch of it.
    pub fn of(&self, size: (u32, u32)) -> Result<Arc<View>, InferenceError> {
        let known = self.made().get(&size).map(Arc::clone);
        if let Some(view) = known {
            return Ok(view);
        }
        let view = Arc::new(self.make(size)?);
        let mut made = self.made();
        if made.len() >= REMEMBERED {
            made.clear();
        }
        made.insert(size, Arc::clone(&view));
        Ok(view)
    }

    fn made(&self) -> std::sync::MutexGuard<'_, HashMap<(u32, u32), Arc<View>>> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn make(&self, size: (u32, u32)) -> Result<View, InferenceError> {
        let layout = self.preprocess.layout(size.0, size.1)?;
        let placement = self.preprocess.placement(size.0, size.1);
        let whole = Placement { original: size, resized: size, crop: (0, 0, size.0, size.1) };
        let region = (!self.regions.is_empty()).then(|| Region {
            input: pixels_in_all(&self.regions, &placement),
            photograph: pixels_in_all(&self.regions, &whole),
        });
        let width = placement.crop.2 as usize;
        let tiles: Vec<TileView> = (0..layout.count())
            .filter_map(|index| {
                let inside =
                    region.as_ref().map(|region| self.patches_inside(&layout, index, &region.input, width));
                match inside {
                    Some(inside) if !inside.contains(&true) => None,
                    Some(inside) if inside.contains(&false) => Some((index, Some(inside.into()))),
                    _ => Some((index, None)),
                }
            })
            .map(|(index, inside)| TileView { index, own: self.own(&layout, index), inside })
            .collect();
        if tiles.is_empty() {
            return Err(DataError::InvalidOption {
                option: "roi",
                found: format!("no patch of a {} x {} photograph inside", size.0, size.1),
                expected:
                    "a region that holds a patch of the network, some 8 to 16 pixels of its input, at least"
                        .into(),
            }
            .into());
        }
        let inspected_share =
            placement.inspected_share() * region.as_ref().map_or(1.0, |region| share(&region.input));
        Ok(View { placement, layout, tiles, inspected_share, region })
    }

    /// Patches whose centres belong to a tile.
    fn own(&self, layout: &TileLayout, index: usize) -> [Range<usize>; 2] {
        let [row, column] = layout.place(index);
        let range = |axis: &TileAxis, at: usize, patches: usize| {
            let [low, high] = axis.own(at);
            let step = f64::from(axis.tile) / patches as f64;
            // The first patch whose centre is at `border` or after it.
            let first =
                |border: f64| ((border - f64::from(axis.starts[at])) / step - 0.5).ceil().max(0.0) as usize;
            first(low)..first(high).min(patches)
        };
        [range(&layout.rows, row, self.grid.0), range(&layout.columns, column, self.grid.1)]
    }

    /// For each patch of a tile, whether at least half of its pixels are inside.
    fn patches_inside(&self, layout: &TileLayout, index: usize, inside: &[bool], width: usize) -> Vec<bool> {
        let window = layout.window(index);
        let (rows, columns) = self.grid;
        let stretch = |start: u32, length: u32, patch: usize, patches: usize| {
            let at = |patch: usize| start as usize + patch * length as usize / patches;
            at(patch)..at(patch + 1).max(at(patch) + 1)
        };
        let patch = |patch: usize| {
            let (y, x) = (patch / columns, patch % columns);
            let ys = stretch(window.y0, window.y1 - window.y0, y, rows);
            let xs = stretch(window.x0, window.x1 - window.x0, x, columns);
            let pixels = ys.len() * xs.len();
            let count = ys.flat_map(|y| inside.get(y * width + xs.start..y * width + xs.end)).flatten();
            count.filter(|&&pixel| pixel).count() as f64 >= INSIDE * pixels as f64
        };
        (0..rows * columns).map(patch).collect()
    }
}

fn pixels_in_all(regions: &[RegionOfInterest], placement: &Placement) -> Vec<bool> {
    let mut pixels: Vec<Vec<bool>> = regions.iter().map(|region| region.pixels(placement)).collect();
    let mut all = pixels.pop().unwrap_or_default();
    for other in pixels {
        all.iter_mut().zip(other).for_each(|(to, inside)| *to &= inside);
    }
    all
}

fn share(inside: &[bool]) -> f64 {
    inside.iter().filter(|&&pixel| pixel).count() as f64 / inside.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use simplenet_data::Tiles;
    use simplenet_model::anomaly_map::AnomalyMapConfig;

    use super::*;

    fn square(low: f64, high: f64) -> RegionOfInterest {
        let polygon = vec![[low, low], [high, low], [high, high], [low, high]];
        RegionOfInterest { polygons: vec![polygon], ..RegionOfInterest::default() }
    }

    fn tiled() -> Preprocess {
        Preprocess::tiled(Tiles { width: 64, height: 64, overlap: 16 }, 64, 64)
    }

    #[test]
    fn every_place_belongs_to_one_tile() {
        for size in [(64, 64), (200, 130), (65, 112), (113, 300)] {
            let view = Views::new(&tiled(), &[], (8, 8)).of(size).unwrap();
            assert_eq!((view.tiles.len(), view.map_size()), (view.layout.count(), size));
            let mut seen = vec![0u32; (size.0 * size.1) as usize];
            for tile in &view.tiles {
                let window = view.layout.window(tile.index);
                let [rows, columns] = &tile.own;
                for (y, x) in rows.clone().flat_map(|y| columns.clone().map(move |x| (y as u32, x as u32))) {
                    // A patch covers 8 pixels; those in its middle are seen by no other tile's own patches.
                    seen[((window.y0 + 8 * y + 4) * size.0 + window.x0 + 8 * x + 4) as usize] += 1;
                }
            }
            assert!(seen.iter().all(|&count| count <= 1), "{size:?}");
            let patches: u32 = seen.iter().sum();
            let area = f64::from(size.0 * size.1) / 64.0;
            assert!((f64::from(patches) / area - 1.0).abs() < 0.25, "{patches} patches for {area}, {size:?}");
        }
    }

    #[test]
    fn a_map_that_all_tiles_agree_on_comes_back() {
        let size = (200, 130);
        let view = Views::new(&tiled(), &[], (8, 8)).of(size).unwrap();
        let value = |x: u32, y: u32| (x as f32 * 0.1).sin() + y as f32 * 0.03;
        let maps: Vec<Vec<f32>> = (view.tiles.iter())
            .map(|tile| {
                let window = view.layout.window(tile.index);
                let pixels = (window.y0..window.y1).flat_map(|y| (window.x0..window.x1).map(move |x| (x, y)));
                pixels.map(|(x, y)| value(x, y)).collect()
            })
            .collect();
        let (map, in_photograph) = view.join(maps.clone()).unwrap();
        assert_eq!((&map, map.len()), (&in_photograph, 200 * 130));
        for (i, v) in map.iter().enumerate() {
            let want = value(i as u32 % 200, i as u32 / 200);
            assert!((v - want).abs() < 1e-5, "{i}: {v} for {want}");
        }
        // The same where a region leaves tiles out; what lies outside has no score.
        let views = Views::new(&tiled(), &[square(0.0, 0.5)], (8, 8));
        let narrow = views.of(size).unwrap();
        assert!(narrow.tiles.len() < view.tiles.len() && (narrow.inspected_share - 0.25).abs() < 1e-9);
        let of = |tile: &TileView| maps[tile.index].clone();
        let (part, _) = narrow.join(narrow.tiles.iter().map(of).collect()).unwrap();
        for (i, (v, whole)) in part.iter().zip(&map).enumerate() {
            let inside = i % 200 < 100 && i / 200 < 65;
            assert!(if inside { (v - whole).abs() < 1e-5 } else { v.is_nan() }, "{i}: {v} for {whole}");
        }
    }

    #[test]
    fn patches_count_from_half_inside_on_and_the_rest_does_not_reach_in() {
        // 28 of 64 pixels: three and a half patches.
        let corner = square(0.0, 28.0 / 64.0);
        let preprocess = Preprocess::whole_image(64, 64);
        let view = Views::new(&preprocess, std::slice::from_ref(&corner), (8, 8)).of((640, 640)).unwrap();
        let tile = &view.tiles[0];
        let inside = tile.inside.as_ref().unwrap();
        assert!(inside[3] && !inside[4] && inside[2 * 8 + 2] && !inside[3 * 8 + 4] && !tile.counts(63));
        // The corner patch has a quarter inside.
        assert_eq!(inside.iter().filter(|&&inside| inside).count(), 15);
        let scores: Vec<f32> = inside.iter().map(|&inside| if inside { 2.0 } else { 1e6 }).collect();
        let config = AnomalyMapConfig::default();
        let (map, in_photograph) =
            view.join(vec![tile_map(tile, &scores, (8, 8), (64, 64), &config)]).unwrap();
        assert_eq!((map.len(), in_photograph.len()), (64 * 64, 640 * 640));
        for (map, width, edge) in [(map, 64, 28), (in_photograph, 640, 280)] {
            for (i, v) in map.iter().enumerate() {
                let inside = i % width < edge && i / width < edge;
                assert!(
                    if inside { (v - 2.0).abs() < 1e-4 } else { v.is_nan() },
                    "{}, {}: {v}",
                    i % width,
                    i / width
                );
            }
        }
        let apart = Views::new(&preprocess, &[corner, square(0.9, 1.0)], (8, 8));
        let error = apart.of((640, 640)).unwrap_err().to_string();
        assert!(error.contains("no patch of a 640 x 640 photograph"), "{error}");
    }
}
