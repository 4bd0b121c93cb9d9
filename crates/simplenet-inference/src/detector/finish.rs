//! From patch scores to what is said of an image. In: the patch scores of its tiles. Out: score, decision, maps, regions.

use simplenet_model::anomaly_map::image_score_within;

use super::Detector;
use crate::{
    error::InferenceError,
    inspection::{Inspection, Times, timed},
    network::{Scored, ScoredTile},
    regions::{AnomalousRegion, regions_above},
    views::{TileView, tile_map},
};

impl Detector {
    /// Score, maps and regions.
    pub(crate) fn finish(&self, scored: Scored) -> Result<Inspection, InferenceError> {
        let Scored { tiles, view, differences, preprocess, network } = scored;
        let (width, height) = self.preprocess.network_size();
        let (rows, columns) = self.network.grid();
        let original = view.placement.original;
        let (found, postprocess) = timed(|| -> Result<_, InferenceError> {
            // Not a number where any tile's is not, so that a broken network is not taken for a good part.
            let larger = |max: f32, score: f32| if score.is_nan() || score > max { score } else { max };
            let of_tile = |(tile, scored): (&TileView, &ScoredTile)| {
                let (inside, rule) = (tile.inside.as_deref(), self.record.image_score);
                image_score_within(&scored.patch_scores, tile.own.clone(), columns, inside, rule)
            };
            let score = view.tiles.iter().zip(&tiles).map(of_tile).fold(f32::NEG_INFINITY, larger);
            if !score.is_finite() {
                return Err(InferenceError::NonFiniteScore { path: None, score });
            }
            let size = (width as usize, height as usize);
            let map = |(tile, scored): (&TileView, ScoredTile)| match scored.map {
                Some(map) if tile.inside.is_none() => map,
                _ => tile_map(tile, &scored.patch_scores, (rows, columns), size, &self.record.anomaly_map),
            };
            let maps: Vec<Vec<f32>> = view.tiles.iter().zip(tiles).map(map).collect();
            let (map, photograph_map) = view.join(maps)?;
            let regions = self.regions(score, &photograph_map, original)?;
            Ok((score, map, photograph_map, regions))
        });
        let (score, map, photograph_map, regions) = found?;
        Ok(Inspection {
            score,
            decision: self.record.threshold.map(|threshold| threshold.decide(score)),
            map,
            map_size: view.map_size(),
            photograph_map,
            regions,
            placement: view.placement,
            inspected_share: view.inspected_share,
            differences,
            times: Times { preprocess, network, postprocess },
            note: self.network.take_note(&self.device),
        })
    }

    /// A region is an 8-connected set of pixels at or above the map threshold, or the lower border of the band for an image in
    /// it. The image score is the largest raw patch score and the map is smoothed: a small defect may raise the first above its
    /// threshold and leave the second below. Then the region around the map's peak is given, down to half way from the peak to
    /// the mean. Regions of less than the record's least area are left out.
    fn regions(
        &self,
        score: f32,
        map: &[f32],
        (width, height): (u32, u32),
    ) -> Result<Vec<AnomalousRegion>, InferenceError> {
        let Some(from) = self.record.threshold.and_then(|threshold| threshold.regions_from(score)) else {
            return Ok(vec![]);
        };
        if map.is_empty() {
            return Ok(vec![]);
        }
        let (width, height) = (width as usize, height as usize);
        let large_enough = |region: &AnomalousRegion| region.area >= self.record.min_region_area;
        let mut found = regions_above(map, width, height, from)?;
        if !found.is_empty() {
            found.retain(large_enough);
            return Ok(found);
        }
        let inspected = || map.iter().copied().filter(|v| !v.is_nan());
        let peak = inspected().fold(f32::NEG_INFINITY, f32::max);
        let mean = inspected().map(f64::from).sum::<f64>() / inspected().count().max(1) as f64;
        let mut around = regions_above(map, width, height, 0.5 * (peak + mean as f32))?;
        around.truncate(1);
        around.retain(large_enough);
        Ok(around)
    }
}
