//! Lines around regions, readable on any photograph.
//!
//! In: a picture and, for each of its pixels (row-major), whether it belongs to a region. Out: the picture with a
//! coloured line just outside every region and a thin dark halo around that line. The region's own pixels are not
//! covered, so a small defect stays visible inside its outline.

use super::OutputError;
use super::error::check_size;
use image::{Rgb, RgbImage};

/// Colours and thickness of an outline, in pixels of the picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutlineStyle {
    /// The line itself.
    pub line: [u8; 3],
    /// The halo outside (and, for regions with holes, inside) the line.
    pub halo: [u8; 3],
    /// Thickness of the line; the halo is half as thick, at least one pixel.
    pub width: u32,
}

impl OutlineStyle {
    /// What the model found: cyan, a hue that the heat map's colours never take.
    pub fn predicted(picture: (u32, u32)) -> Self {
        Self { line: [0, 229, 255], halo: [0, 30, 40], width: line_width(picture) }
    }

    /// What the data set says: spring green.
    pub fn ground_truth(picture: (u32, u32)) -> Self {
        Self { line: [64, 255, 96], halo: [0, 32, 8], width: line_width(picture) }
    }
}

/// Draw the outlines of all regions at once.
///
/// `inside` has one entry per pixel, row-major. Where a region touches the picture's edge, it is left open.
pub fn draw_outlines(
    picture: &mut RgbImage,
    inside: &[bool],
    style: &OutlineStyle,
) -> Result<(), OutputError> {
    let (width, height) = picture.dimensions();
    check_size("region mask", inside.len(), (width, height))?;
    let (w, h) = (width as usize, height as usize);
    let line = style.width.max(1) as isize;
    let halo = line + (line / 2).max(1);
    let stamp = disc(line, halo);
    let mut layer = vec![Layer::Nothing; inside.len()];
    for y in 0..h {
        for x in 0..w {
            if !inside[y * w + x] || !on_border(inside, w, h, x, y) {
                continue;
            }
            for &(dx, dy, what) in &stamp {
                let (px, py) = (x as isize + dx, y as isize + dy);
                if px < 0 || py < 0 || px >= w as isize || py >= h as isize {
                    continue;
                }
                let at = py as usize * w + px as usize;
                if !inside[at] {
                    layer[at] = layer[at].max(what);
                }
            }
        }
    }
    for (pixel, what) in picture.pixels_mut().zip(layer) {
        match what {
            Layer::Nothing => {}
            Layer::Halo => *pixel = blend(*pixel, style.halo, 0.6),
            Layer::Line => *pixel = Rgb(style.line),
        }
    }
    Ok(())
}

/// One pixel in 200 of the shorter side, at least one: visible on a large photograph, and in its thumbnail.
fn line_width((width, height): (u32, u32)) -> u32 {
    ((f64::from(width.min(height)) / 200.0).round() as u32).max(1)
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Layer {
    Nothing,
    Halo,
    Line,
}

fn on_border(inside: &[bool], w: usize, h: usize, x: usize, y: usize) -> bool {
    (x > 0 && !inside[y * w + x - 1])
        || (x + 1 < w && !inside[y * w + x + 1])
        || (y > 0 && !inside[(y - 1) * w + x])
        || (y + 1 < h && !inside[(y + 1) * w + x])
}

/// Offsets around a border pixel: the line up to `line` away (rounded corners), the halo up to `halo`.
fn disc(line: isize, halo: isize) -> Vec<(isize, isize, Layer)> {
    let reach = |radius: isize| (radius as f64 + 0.5).powi(2);
    let mut offsets = Vec::new();
    for dy in -halo..=halo {
        for dx in -halo..=halo {
            let distance = (dx * dx + dy * dy) as f64;
            if distance <= reach(line) {
                offsets.push((dx, dy, Layer::Line));
            } else if distance <= reach(halo) {
                offsets.push((dx, dy, Layer::Halo));
            }
        }
    }
    offsets
}

/// `share` of `colour` over a pixel.
pub(crate) fn blend(under: Rgb<u8>, colour: [u8; 3], share: f32) -> Rgb<u8> {
    Rgb(std::array::from_fn(|c| {
        let (below, above) = (f32::from(under.0[c]), f32::from(colour[c]));
        (below + (above - below) * share).round() as u8
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(w: usize, h: usize, is_inside: impl Fn(usize, usize) -> bool) -> Vec<bool> {
        (0..w * h).map(|i| is_inside(i % w, i / w)).collect()
    }

    #[test]
    fn the_line_surrounds_the_region_and_spares_it() {
        let mut picture = RgbImage::from_pixel(20, 16, Rgb([90, 90, 90]));
        let inside = mask(20, 16, |x, y| (6..10).contains(&x) && (5..9).contains(&y));
        let style = OutlineStyle { line: [255, 0, 0], halo: [0, 0, 0], width: 1 };
        draw_outlines(&mut picture, &inside, &style).unwrap();
        for (x, y, pixel) in picture.enumerate_pixels() {
            if inside[y as usize * 20 + x as usize] {
                assert_eq!(pixel.0, [90, 90, 90], "region pixel {x},{y} was painted");
            }
        }
        assert_eq!(picture.get_pixel(5, 6).0, [255, 0, 0]);
        assert_eq!(picture.get_pixel(10, 6).0, [255, 0, 0]);
        assert_eq!(picture.get_pixel(4, 6).0, [36, 36, 36], "halo");
        assert_eq!(picture.get_pixel(0, 0).0, [90, 90, 90]);
    }

    #[test]
    fn edges_empty_and_full_masks_are_fine() {
        let style = OutlineStyle::predicted((4, 3));
        for (name, inside) in [("empty", vec![false; 12]), ("full", vec![true; 12])] {
            let mut picture = RgbImage::from_pixel(4, 3, Rgb([1, 2, 3]));
            draw_outlines(&mut picture, &inside, &style).unwrap();
            assert!(picture.pixels().all(|p| p.0 == [1, 2, 3]), "{name}");
        }
        let mut corner = RgbImage::new(4, 3);
        draw_outlines(&mut corner, &mask(4, 3, |x, y| x == 0 && y == 0), &style).unwrap();
        assert_eq!(corner.get_pixel(1, 0).0, style.line);
    }

    #[test]
    fn a_mask_of_another_size_is_refused() {
        let error = draw_outlines(&mut RgbImage::new(4, 3), &[true; 11], &OutlineStyle::predicted((4, 3)));
        assert_eq!(error.unwrap_err().to_string(), "region mask: 11 values, but 4×3 pixels need 12");
    }
}
