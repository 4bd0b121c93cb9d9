//! Where an anomaly map is high. In: a map in any size, with NaN where nothing is known, and a threshold. Out: the connected
//! regions at or above it.

use simplenet_data::DataError;
use simplenet_metrics::{Connectivity, connected_components};

use crate::error::InferenceError;

/// A connected region of the map at or above the map threshold, in the photograph's pixels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AnomalousRegion {
    /// Left, top, right, bottom; right and bottom exclusive.
    pub bounds: [u32; 4],
    /// Pixels.
    pub area: u64,
    /// Largest map value.
    pub peak_score: f32,
}

/// The 8-connected regions of a map at or above a threshold, largest peak first.
///
/// # Errors
/// A map that does not have `width` times `height` numbers.
pub(crate) fn regions_above(
    map: &[f32],
    width: usize,
    height: usize,
    threshold: f32,
) -> Result<Vec<AnomalousRegion>, InferenceError> {
    if map.len() != width * height {
        return Err(DataError::WrongSize {
            what: "the anomaly map",
            found: format!("{} numbers", map.len()),
            expected: format!("{width} x {height}"),
        }
        .into());
    }
    // Only the window that holds them all is searched: defects are small, and a photograph has a million pixels.
    let Some(window) = window_above(map, width, threshold) else { return Ok(vec![]) };
    let [left, top, right, bottom] = window;
    let rows = || (top..bottom).map(|y| &map[y * width + left..y * width + right]);
    let mask: Vec<u8> = rows().flatten().map(|&v| u8::from(v >= threshold)).collect();
    let components = connected_components(&mask, right - left, bottom - top, Connectivity::Eight)?;
    let mut peaks = vec![f32::NEG_INFINITY; components.regions.len()];
    for (&label, &value) in components.labels.iter().zip(rows().flatten()) {
        if let Some(peak) = (label as usize).checked_sub(1).and_then(|i| peaks.get_mut(i)) {
            *peak = peak.max(value);
        }
    }
    let mut regions: Vec<AnomalousRegion> = components
        .regions
        .iter()
        .zip(peaks)
        .map(|(r, peak_score)| AnomalousRegion {
            bounds: [r.x0 + left, r.y0 + top, r.x1 + left, r.y1 + top].map(|edge| edge as u32),
            area: r.area as u64,
            peak_score,
        })
        .collect();
    regions.sort_by(|a, b| b.peak_score.total_cmp(&a.peak_score));
    Ok(regions)
}

/// Left, top, right and bottom (these two exclusive) of the numbers at or above a threshold; none if there are none.
fn window_above(map: &[f32], width: usize, threshold: f32) -> Option<[usize; 4]> {
    let mut window: Option<[usize; 4]> = None;
    for (y, row) in map.chunks_exact(width.max(1)).enumerate() {
        // Most rows have none, and a test without branches says so fastest.
        if !row.iter().fold(false, |any, &v| any | (v >= threshold)) {
            continue;
        }
        let first = row.iter().position(|&v| v >= threshold)?;
        let end = row.iter().rposition(|&v| v >= threshold)? + 1;
        let [left, top, right, _] = window.unwrap_or([first, y, end, y]);
        window = Some([left.min(first), top, right.max(end), y + 1]);
    }
    window
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The regions of a window are those of the whole map, wherever they lie.
    #[test]
    fn regions_are_those_of_the_whole_map() {
        let (width, height) = (40, 23);
        for spots in
            [&[][..], &[(0, 0)], &[(39, 22)], &[(3, 4), (4, 5), (30, 20)], &[(0, 22), (39, 0), (20, 10)]]
        {
            let mut map = vec![0.25f32; width * height];
            map[7] = f32::NAN;
            for (i, &(x, y)) in spots.iter().enumerate() {
                map[y * width + x] = 1.0 + i as f32;
            }
            let mask: Vec<u8> = map.iter().map(|&v| u8::from(v >= 1.0)).collect();
            let whole = connected_components(&mask, width, height, Connectivity::Eight).unwrap();
            let found = regions_above(&map, width, height, 1.0).unwrap();
            let mut bounds: Vec<[u32; 4]> = found.iter().map(|region| region.bounds).collect();
            let mut want: Vec<[u32; 4]> =
                whole.regions.iter().map(|r| [r.x0, r.y0, r.x1, r.y1].map(|edge| edge as u32)).collect();
            bounds.sort_unstable();
            want.sort_unstable();
            assert_eq!(bounds, want, "{spots:?}");
            assert!(found.is_sorted_by(|a, b| a.peak_score >= b.peak_score), "{found:?}");
            assert_eq!(found.iter().map(|region| region.area).sum::<u64>(), spots.len() as u64);
        }
        assert!(regions_above(&[0.0; 5], 2, 3, 1.0).is_err());
        assert_eq!(regions_above(&[], 0, 0, 1.0).unwrap(), vec![]);
    }
}
