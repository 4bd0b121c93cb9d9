//! What the network sees of a photograph: its tiles, which patches of each are inside the region of interest, and the way from
//! the tiles' maps back to one.
//!
//! In: the preprocessing, regions beside its own, the size of a photograph. Out: a [`View`], which photographs of one size share.
//! A photograph that is not cut is one tile; one without a region is inside throughout.

use std::{
    collections::HashMap,
    ops::Range,
    sync::{Arc, Mutex, PoisonError},
};

use rayon::prelude::*;
use simplenet_data::{
    DataError, Placement, Preprocess, RegionOfInterest,
    tiles::{TileAxis, TileLayout},
};
use simplenet_model::anomaly_map::{AnomalyMapConfig, anomaly_map};

use crate::error::TrainError;

/// Photograph sizes that are remembered: a line has one or two.
const REMEMBERED: usize = 8;
/// A patch is inside from this share of its pixels on.
const INSIDE: f64 = 0.5;
/// Share of the smoothing's weight that must lie on patches inside for a pixel to have a score.
const LEAST_REACH: f32 = 1e-3;

/// What the network sees of photographs of one size.
#[derive(Debug)]
pub(crate) struct View {
    /// Where all tiles together lie in the photograph.
    pub(crate) placement: Placement,
    /// All tiles.
    pub(crate) layout: TileLayout,
    /// Those with a patch inside the region.
    pub(crate) tiles: Vec<TileView>,
    /// Share of the photograph's area that is inspected.
    pub(crate) inspected_share: f64,
    region: Option<Region>,
}

/// What of one tile counts.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TileView {
    /// Its number in the layout.
    pub(crate) index: usize,
    /// Rows and columns of patches that no other tile sees better.
    pub(crate) own: [Range<usize>; 2],
    /// Which patches are inside the region, row by row; all without it.
    pub(crate) inside: Option<Arc<[bool]>>,
}

/// Pixels inside the region of interest.
#[derive(Debug)]
struct Region {
    /// Of the image that the tiles are cut from.
    input: Vec<bool>,
    /// Of the photograph.
    photograph: Vec<bool>,
}

impl TileView {
    /// A whole photograph.
    pub(crate) fn whole() -> Self {
        Self { index: 0, own: [0..usize::MAX, 0..usize::MAX], inside: None }
    }

    /// Whether a patch counts.
    pub(crate) fn counts(&self, patch: usize) -> bool {
        self.inside.as_ref().is_none_or(|inside| inside.get(patch) == Some(&true))
    }
}

/// Makes views, and remembers them.
#[derive(Debug)]
pub(crate) struct Views {
    preprocess: Preprocess,
    /// Regions beside that of the preprocessing; what is inspected lies in all of them.
    regions: Vec<RegionOfInterest>,
    /// Rows and columns of patches of a network input.
    grid: (usize, usize),
    made: Mutex<HashMap<(u32, u32), Arc<View>>>,
}

impl Views {
    pub(crate) fn new(preprocess: &Preprocess, grid: (usize, usize)) -> Self {
        let regions = preprocess.roi.iter().cloned().collect();
        Self { preprocess: preprocess.clone(), regions, grid, made: Mutex::default() }
    }

    /// Inspects only what lies in this region too.
    pub(crate) fn narrow(&mut self, region: RegionOfInterest) {
        self.regions.push(region);
        *self.made.get_mut().unwrap_or_else(PoisonError::into_inner) = HashMap::new();
    }

    /// The view of photographs of this size.
    ///
    /// # Errors
    /// A photograph smaller than a tile; a region that leaves no patch of it.
    pub(crate) fn of(&self, size: (u32, u32)) -> Result<Arc<View>, TrainError> {
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

    fn make(&self, size: (u32, u32)) -> Result<View, TrainError> {
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

impl View {
    /// Width and height of the joined map.
    pub(crate) fn map_size(&self) -> (u32, u32) {
        (self.placement.crop.2, self.placement.crop.3)
    }

    /// The tiles' maps, (tile height, tile width) each and in the order of `tiles`, joined, and the same in the photograph's
    /// pixels; NaN outside the region and where a crop left pixels out. Where tiles overlap, one hands over to the next along
    /// a straight line, so that no seam shows.
    ///
    /// # Errors
    /// Maps of another size.
    pub(crate) fn join(&self, maps: Vec<Vec<f32>>) -> Result<(Vec<f32>, Vec<f32>), TrainError> {
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

/// The anomaly map of a tile: of patches inside the region alone, where it does not hold all of them. What lies outside may be
/// anything, a hand or a belt, and must not reach in with the smoothing: the map is a mean of patches inside.
pub(crate) fn tile_map(
    tile: &TileView,
    scores: &[f32],
    (rows, columns): (usize, usize),
    (width, height): (usize, usize),
    config: &AnomalyMapConfig,
) -> Vec<f32> {
    let smooth = |scores: &[f32]| anomaly_map(scores, rows, columns, height, width, config);
    let Some(inside) = &tile.inside else { return smooth(scores) };
    let kept = |(&score, &inside): (&f32, &bool)| if inside { score } else { 0.0 };
    let sums = smooth(&scores.iter().zip(inside.iter()).map(kept).collect::<Vec<_>>());
    let reach = smooth(&inside.iter().map(|&inside| f32::from(u8::from(inside))).collect::<Vec<_>>());
    let mean = |(sum, reach)| if reach >= LEAST_REACH { sum / reach } else { f32::NAN };
    sums.into_iter().zip(reach).map(mean).collect()
}

#[cfg(test)]
mod tests {
    use simplenet_data::Tiles;

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
            let view = Views::new(&tiled(), (8, 8)).of(size).unwrap();
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
        let view = Views::new(&tiled(), (8, 8)).of(size).unwrap();
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
        let mut views = Views::new(&tiled(), (8, 8));
        views.narrow(square(0.0, 0.5));
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
        let mut views = Views::new(&Preprocess::whole_image(64, 64), (8, 8));
        // 28 of 64 pixels: three and a half patches.
        views.narrow(square(0.0, 28.0 / 64.0));
        let view = views.of((640, 640)).unwrap();
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
        views.narrow(square(0.9, 1.0));
        let error = views.of((640, 640)).unwrap_err().to_string();
        assert!(error.contains("no patch of a 640 x 640 photograph"), "{error}");
    }
}
