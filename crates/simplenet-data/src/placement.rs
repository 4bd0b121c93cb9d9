//! Where a network input lies in its original image, and the way back.
//!
//! In: maps and boxes in the network input's pixels. Out: the same in the original image's pixels. Pixel
//! centres lie at half-integers throughout, so that a resize maps edges onto edges.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::DataError;

/// A box of pixels: `x0 <= x < x1`, `y0 <= y < y1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PixelBox {
    /// First column.
    pub x0: u32,
    /// First row.
    pub y0: u32,
    /// Column after the last.
    pub x1: u32,
    /// Row after the last.
    pub y1: u32,
}

/// How one image became a network input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    /// Width and height of the decoded image.
    pub original: (u32, u32),
    /// Width and height after the resize.
    pub resized: (u32, u32),
    /// The part of the resized image that the network sees: left, top, width, height.
    pub crop: (u32, u32, u32, u32),
}

impl Placement {
    /// Whether every pixel of the image is one of the network's.
    pub fn is_identity(&self) -> bool {
        let (width, height) = self.original;
        self.resized == self.original && self.crop == (0, 0, width, height)
    }

    /// Share of the image's area that the network sees, 0 to 1.
    pub fn inspected_share(&self) -> f64 {
        let (_, _, width, height) = self.crop;
        let area = |w, h| f64::from(w) * f64::from(h);
        area(width, height) / area(self.resized.0, self.resized.1).max(1.0)
    }

    /// The part of the original image that the network sees.
    pub fn inspected_box(&self) -> PixelBox {
        let (_, _, width, height) = self.crop;
        self.box_to_original(PixelBox { x0: 0, y0: 0, x1: width, y1: height })
    }

    /// A box in the network input's pixels -> the smallest box of the original's pixels that covers it.
    pub fn box_to_original(&self, input: PixelBox) -> PixelBox {
        let (left, top, _, _) = self.crop;
        let low = |v: u32, offset, from: u32, to: u32| {
            // Integer arithmetic: rounding must not add a pixel at an edge that falls onto an edge.
            (u64::from(v) + u64::from(offset)) * u64::from(to) / u64::from(from.max(1))
        };
        let high = |v: u32, offset, from: u32, to: u32| {
            ((u64::from(v) + u64::from(offset)) * u64::from(to)).div_ceil(u64::from(from.max(1)))
        };
        let (rw, rh) = self.resized;
        let (w, h) = self.original;
        let clamp = |v: u64, most: u32| u32::try_from(v).unwrap_or(u32::MAX).min(most);
        PixelBox {
            x0: clamp(low(input.x0, left, rw, w), w),
            y0: clamp(low(input.y0, top, rh, h), h),
            x1: clamp(high(input.x1, left, rw, w), w),
            y1: clamp(high(input.y1, top, rh, h), h),
        }
    }

    /// A map over the network input, (crop height, crop width), -> the original image's pixels, (height, width).
    ///
    /// Bilinear; pixels whose centre lies outside the crop get `outside`, those between an edge and the
    /// outermost centres the edge's value.
    ///
    /// # Errors
    /// [`DataError::WrongSize`] when `map` has another size than the crop.
    pub fn map_to_original(&self, map: &[f32], outside: f32) -> Result<Vec<f32>, DataError> {
        let (left, top, crop_width, crop_height) = self.crop;
        let (width, height) = (self.original.0 as usize, self.original.1 as usize);
        let row = crop_width as usize;
        if map.len() != row * crop_height as usize || map.is_empty() {
            return Err(DataError::WrongSize {
                what: "the map to put back into the image",
                found: format!("{} values", map.len()),
                expected: format!("{crop_width} x {crop_height}, not empty"),
            });
        }
        if self.is_identity() {
            return Ok(map.to_vec());
        }
        let columns = samples(self.original.0, self.resized.0, left, crop_width);
        let rows = samples(self.original.1, self.resized.1, top, crop_height);
        let mut out = vec![outside; width * height];
        if width == 0 {
            return Ok(out);
        }
        out.par_chunks_mut(width).zip(&rows).for_each_init(
            || vec![0.0; row],
            |line, (to, sample)| {
                let Some(s) = sample else { return };
                let (above, below) = (&map[s.low * row..][..row], &map[s.high * row..][..row]);
                line.iter_mut().zip(above.iter().zip(below)).for_each(|(l, (a, b))| *l = mix(*a, *b, s.part));
                for (to, column) in to.iter_mut().zip(&columns) {
                    if let Some(s) = column {
                        *to = mix(line[s.low], line[s.high], s.part);
                    }
                }
            },
        );
        Ok(out)
    }
}

/// Two neighbours in the map and the share of the second.
struct Sample {
    low: usize,
    high: usize,
    part: f32,
}

/// For each of `original` pixels, where it lies in a crop of `length` at `offset` of the `resized` line.
fn samples(original: u32, resized: u32, offset: u32, length: u32) -> Vec<Option<Sample>> {
    let scale = f64::from(resized) / f64::from(original.max(1));
    let last = f64::from(length) - 1.0;
    (0..original)
        .map(|position| {
            let at = (f64::from(position) + 0.5) * scale - f64::from(offset);
            if at < 0.0 || at >= f64::from(length) {
                return None;
            }
            let at = (at - 0.5).clamp(0.0, last);
            let low = at.floor();
            Some(Sample { low: low as usize, high: (low + 1.0).min(last) as usize, part: (at - low) as f32 })
        })
        .collect()
}

fn mix(a: f32, b: f32, part: f32) -> f32 {
    a + (b - a) * part
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preprocess::Preprocess;

    #[test]
    fn share_and_boxes_of_the_paper_preset() {
        // 329 · 900 / 700 = 423; crop offsets 67.5 -> 68 and 20.5 -> 20, half to even.
        let placement = Preprocess::paper().placement(900, 700);
        assert_eq!((placement.resized, placement.crop), ((423, 329), (68, 20, 288, 288)));
        assert!((placement.inspected_share() - 288.0 * 288.0 / (423.0 * 329.0)).abs() < 1e-12);
        // 68 · 900/423 = 144.7, (68+288) · 900/423 = 757.4; 20 · 700/329 = 42.6, 308 · 700/329 = 655.3.
        assert_eq!(placement.inspected_box(), PixelBox { x0: 144, y0: 42, x1: 758, y1: 656 });
        let corner = placement.box_to_original(PixelBox { x0: 287, y0: 287, x1: 288, y1: 288 });
        assert_eq!(corner, PixelBox { x0: 755, y0: 653, x1: 758, y1: 656 });
    }

    #[test]
    fn a_whole_image_is_inspected_wholly() {
        for (width, height) in [(1, 1), (3, 1000), (288, 288), (1920, 1080)] {
            let placement = Preprocess::whole_image(320, 256).placement(width, height);
            assert_eq!(placement.inspected_share(), 1.0);
            assert_eq!(placement.inspected_box(), PixelBox { x0: 0, y0: 0, x1: width, y1: height });
            let back = placement.map_to_original(&vec![2.5; 320 * 256], -1.0).unwrap();
            assert_eq!(back, vec![2.5; (width * height) as usize]);
        }
    }

    #[test]
    fn a_map_lands_where_its_box_says() {
        for preprocess in [Preprocess::paper(), Preprocess::whole_image(288, 288)] {
            for (width, height) in [(900, 700), (150, 400), (64, 64)] {
                let placement = preprocess.placement(width, height);
                let hot = PixelBox { x0: 100, y0: 180, x1: 140, y1: 200 };
                let map: Vec<f32> = (0..288 * 288)
                    .map(|i| (i % 288, i / 288))
                    .map(|(x, y)| f32::from((100..140).contains(&x) && (180..200).contains(&y)))
                    .collect();
                let back = placement.map_to_original(&map, f32::NEG_INFINITY).unwrap();
                let found = placement.box_to_original(hot);
                let inspected = placement.inspected_box();
                for (i, &v) in back.iter().enumerate() {
                    let (x, y) = (i as u32 % width, i as u32 / width);
                    let inside = |b: PixelBox| (b.x0..b.x1).contains(&x) && (b.y0..b.y1).contains(&y);
                    assert!(v < 0.5 || inside(found), "hot at {x},{y}, box {found:?}");
                    assert!(v.is_infinite() || inside(inspected), "inspected at {x},{y}, box {inspected:?}");
                }
                let middle = (found.y0 + found.y1) / 2 * width + (found.x0 + found.x1) / 2;
                assert_eq!(back[middle as usize], 1.0);
            }
        }
    }

    #[test]
    fn a_ramp_stays_a_ramp() {
        // A linear map over the input is linear over the original, away from the outermost half pixels.
        let placement = Preprocess::whole_image(64, 32).placement(160, 96);
        let map: Vec<f32> =
            (0..64 * 32).map(|i| (i % 64) as f32 + 0.5 + 100.0 * ((i / 64) as f32 + 0.5)).collect();
        let back = placement.map_to_original(&map, 0.0).unwrap();
        for (y, x) in (2..94).flat_map(|y| (2..158).map(move |x| (y, x))) {
            let want = (x as f32 + 0.5) * 64.0 / 160.0 + 100.0 * (y as f32 + 0.5) * 32.0 / 96.0;
            assert!((back[y * 160 + x] - want).abs() < 2e-3, "{x},{y}");
        }
    }

    #[test]
    fn a_map_of_another_size_is_refused() {
        let placement = Preprocess::paper().placement(100, 100);
        let error = placement.map_to_original(&[0.0; 10], 0.0).unwrap_err();
        assert!(error.to_string().contains("10 values, expected 288 x 288"), "{error}");
    }
}
