//! Connected components of a mask, with area, bounding box and centroid.
//!
//! Comes in: a mask, row by row, 0 = background. Goes out: a label for each pixel and one [`Region`] for each
//! component. Rows are cut into runs, runs of neighbouring rows are joined (union-find): one read of the mask,
//! and memory for the runs only.

use crate::MetricError;

/// Which pixels are neighbours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Connectivity {
    /// Left, right, above, below.
    Four,
    /// Those and the four diagonal ones.
    Eight,
}

/// The components of a mask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Components {
    /// `height` x `width` labels, row by row: 0 = background, `i + 1` = `regions[i]`.
    pub labels: Vec<u32>,
    /// The components, in the order of their first pixels, row by row.
    pub regions: Vec<Region>,
}

/// One component, in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Region {
    /// Number of pixels.
    pub area: usize,
    /// First column.
    pub x0: usize,
    /// First row.
    pub y0: usize,
    /// One past the last column.
    pub x1: usize,
    /// One past the last row.
    pub y1: usize,
    /// Sum of the columns of all pixels.
    pub sum_x: u64,
    /// Sum of the rows of all pixels.
    pub sum_y: u64,
}

impl Region {
    /// Mean column and row of the pixels (a pixel's own coordinates are those of its centre).
    pub fn centroid(&self) -> (f64, f64) {
        (self.sum_x as f64 / self.area as f64, self.sum_y as f64 / self.area as f64)
    }
}

/// Finds the connected components of a `height` x `width` mask (0 = background).
///
/// Components are numbered by their first pixel, row by row.
///
/// # Errors
/// A mask that is not width x height, or 2^32 pixels and more.
pub fn connected_components(
    mask: &[u8],
    width: usize,
    height: usize,
    connectivity: Connectivity,
) -> Result<Components, MetricError> {
    let expected = pixels(width, height)?;
    if mask.len() != expected {
        return Err(MetricError::MaskShape { width, height, expected, actual: mask.len() });
    }
    let (runs, count) = label_runs(mask, width, connectivity);
    let none = Region { area: 0, x0: usize::MAX, y0: usize::MAX, x1: 0, y1: 0, sum_x: 0, sum_y: 0 };
    let mut regions = vec![none; count];
    let mut labels = vec![0; mask.len()];
    for run in &runs {
        labels[run.y * width..][run.start..run.end].fill(run.region as u32 + 1);
        regions[run.region].add(run);
    }
    Ok(Components { labels, regions })
}

/// The number of pixels of an image.
///
/// # Errors
/// More than a region's area can count.
pub(crate) fn pixels(width: usize, height: usize) -> Result<usize, MetricError> {
    let pixels = width.checked_mul(height).filter(|&pixels| pixels <= u32::MAX as usize);
    pixels.ok_or(MetricError::ImageTooLarge { width, height })
}

/// Neighbouring anomalous pixels of one row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Run {
    /// The row.
    pub(crate) y: usize,
    /// First column.
    pub(crate) start: usize,
    /// One past the last column.
    pub(crate) end: usize,
    /// Index of the component.
    pub(crate) region: usize,
}

/// The runs of a mask, row by row, and the number of components. `mask.len()` is a multiple of `width`.
pub(crate) fn label_runs(mask: &[u8], width: usize, connectivity: Connectivity) -> (Vec<Run>, usize) {
    let reach = match connectivity {
        Connectivity::Four => 0,
        Connectivity::Eight => 1,
    };
    let mut runs: Vec<Run> = Vec::new();
    // parents[i] <= i: the root of a component is its first run.
    let mut parents: Vec<usize> = Vec::new();
    let mut previous = 0..0;
    for (y, row) in mask.chunks_exact(width.max(1)).enumerate() {
        let first = runs.len();
        push_runs(row, y, &mut runs);
        parents.extend(first..runs.len());
        let mut above = previous.start;
        for current in first..runs.len() {
            let Run { start, end, .. } = runs[current];
            // Runs above that end before this one begins cannot touch a later one either.
            while above < previous.end && runs[above].end + reach <= start {
                above += 1;
            }
            let touching = runs[above..previous.end].iter().take_while(|run| run.start < end + reach);
            for index in above..above + touching.count() {
                join(&mut parents, index, current);
            }
        }
        previous = first..runs.len();
    }
    let mut regions = 0;
    for index in 0..runs.len() {
        let root = find(&mut parents, index);
        if root == index {
            runs[index].region = regions;
            regions += 1;
        } else {
            runs[index].region = runs[root].region;
        }
    }
    (runs, regions)
}

/// The pixels of each of `regions` components.
pub(crate) fn areas(runs: &[Run], regions: usize) -> Vec<u32> {
    let mut areas = vec![0; regions];
    for run in runs {
        areas[run.region] += (run.end - run.start) as u32;
    }
    areas
}

impl Region {
    /// Takes a run in.
    fn add(&mut self, run: &Run) {
        let length = run.end - run.start;
        self.area += length;
        self.x0 = self.x0.min(run.start);
        self.x1 = self.x1.max(run.end);
        self.y0 = self.y0.min(run.y);
        self.y1 = self.y1.max(run.y + 1);
        // start + ... + (end - 1); one of the two factors is even.
        self.sum_x += (length as u64) * ((run.start + run.end - 1) as u64) / 2;
        self.sum_y += (length as u64) * (run.y as u64);
    }
}

/// Appends the runs of one row.
fn push_runs(row: &[u8], y: usize, runs: &mut Vec<Run>) {
    // Most rows of most masks are empty: this test is vectorised, the search below is not.
    if row.iter().fold(0, |any, &value| any | value) == 0 {
        return;
    }
    let mut end = 0;
    while let Some(gap) = row[end..].iter().position(|&value| value != 0) {
        let start = end + gap;
        end = row[start..].iter().position(|&value| value == 0).map_or(row.len(), |length| start + length);
        runs.push(Run { y, start, end, region: 0 });
    }
}

/// The root of a run's component; halves the path on the way.
fn find(parents: &mut [usize], mut index: usize) -> usize {
    while parents[index] != index {
        parents[index] = parents[parents[index]];
        index = parents[index];
    }
    index
}

/// Joins two components; the earlier root stays.
fn join(parents: &mut [usize], a: usize, b: usize) {
    let (a, b) = (find(parents, a), find(parents, b));
    parents[a.max(b)] = a.min(b);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Draws masks as text: `.` is background, the expected label otherwise.
    fn check(picture: &[&str], connectivity: Connectivity) -> Vec<Region> {
        let width = picture.first().map_or(0, |row| row.len());
        let want: Vec<u32> =
            picture.iter().flat_map(|row| row.chars()).map(|c| c.to_digit(10).unwrap_or(0)).collect();
        let mask: Vec<u8> = want.iter().map(|&label| u8::from(label != 0) * 200).collect();
        let got = connected_components(&mask, width, picture.len(), connectivity).unwrap();
        assert_eq!(got.labels, want, "{picture:?}");
        assert_eq!(got.regions.len(), want.iter().copied().max().unwrap_or(0) as usize);
        got.regions
    }

    #[test]
    fn labels_pictures() {
        use Connectivity::{Eight, Four};
        check(&[], Eight);
        check(&["...", "..."], Eight);
        check(&["111", "111"], Four);
        check(&["1.2", ".3.", "4.5"], Four);
        check(&["1.1", ".1.", "1.1"], Eight);
        // A spiral and a U: joined only late, numbered by the first pixel.
        check(&["1111.2", "...1.2", "11.1.2", "1..1..", "1111.3"], Four);
        check(&["1..1.2.2", "1111.222"], Four);
        // A row's end does not touch the next row's start.
        check(&["..1", "2..", "..3"], Eight);
        check(&[".1.2", "3.4."], Four);
        check(&[".1.1", "1.1."], Eight);
        check(&["1.1.1", ".1.1."], Eight);
    }

    #[test]
    fn measures_regions() {
        let regions = check(&["..1.", "111.", "...2"], Connectivity::Four);
        assert_eq!(regions[0], Region { area: 4, x0: 0, y0: 0, x1: 3, y1: 2, sum_x: 5, sum_y: 3 });
        assert_eq!(regions[0].centroid(), (1.25, 0.75));
        assert_eq!(regions[1], Region { area: 1, x0: 3, y0: 2, x1: 4, y1: 3, sum_x: 3, sum_y: 2 });
    }

    #[test]
    fn wrong_shapes_are_refused() {
        let got = connected_components(&[0; 5], 2, 2, Connectivity::Eight);
        assert_eq!(got, Err(MetricError::MaskShape { width: 2, height: 2, expected: 4, actual: 5 }));
        let got = connected_components(&[], usize::MAX, 2, Connectivity::Eight);
        assert_eq!(got, Err(MetricError::ImageTooLarge { width: usize::MAX, height: 2 }));
        assert!(connected_components(&[], 0, 3, Connectivity::Four).unwrap().regions.is_empty());
    }
}
