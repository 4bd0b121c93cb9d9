//! Demo categories drawn by the crate itself, in MVTec layout, for a machine with no data set.
//!
//! In: a folder and [`DemoOptions`]. Out: `root/<category>/{train,test,ground_truth}` for each of
//! [`DEMO_CATEGORIES`], with photograph-like pictures of parts and exact masks of their defects.
//!
//! The way of a picture: a category's `paint` lays out the part's materials and heights (`canvas`, `shapes`,
//! `noise`), with a defect (`defects`) or without, and lights them; `camera` exposes both, takes the mask
//! from their difference, and adds the sensor's noise. Everything is drawn from the seed by arithmetic that
//! gives the same bits on every machine (`math`), so the same seed gives the same pixels everywhere.

mod board;
mod board_layout;
mod camera;
mod canvas;
mod defects;
mod fabric;
mod gear;
mod math;
mod noise;
mod shapes;
mod tablet;
mod wood;
mod write;

pub use write::{DemoOptions, write_demo};

use image::{GrayImage, RgbImage};

use camera::{CameraStyle, Shot, defect_mask};
use canvas::Canvas;
use defects::Defect;
use noise::Draw;

/// Names of the demo categories, in the order in which they are written.
pub const DEMO_CATEGORIES: &[&str] =
    &[PRODUCTS[0].name, PRODUCTS[1].name, PRODUCTS[2].name, PRODUCTS[3].name, PRODUCTS[4].name];

const PRODUCTS: [Product; 5] =
    [board::PRODUCT, tablet::PRODUCT, fabric::PRODUCT, wood::PRODUCT, gear::PRODUCT];

/// A mask has at least this many pixels; a defect that shows less is drawn anew.
const SMALLEST_MASK: usize = 12;

/// Share of the defects that are drawn weak, so that no detector finds all of them.
const HARD_SHARE: f32 = 0.15;

/// A category: what it is called, what can be wrong with it, how it is drawn and photographed.
struct Product {
    name: &'static str,
    defects: &'static [&'static str],
    camera: CameraStyle,
    /// Draws the part that belongs to a stream, good or with a defect; apart from the defect, equal streams
    /// give equal parts.
    paint: fn(size: usize, part: Draw, defect: Option<Defect>) -> Canvas,
}

/// Which picture of a category.
#[derive(Clone, Copy)]
struct Picture {
    seed: u64,
    size: usize,
    /// Number of the split or defect kind, and of the picture in it; both choose the random streams.
    series: u64,
    index: u64,
}

impl Picture {
    fn stream(&self, product: &Product, purpose: u64) -> Draw {
        let name =
            product.name.bytes().fold(0u64, |hash, byte| hash.wrapping_mul(257).wrapping_add(byte.into()));
        Draw::stream(self.seed, &[name, self.series, self.index, purpose])
    }

    /// A picture of a good part.
    fn good(&self, product: &Product) -> RgbImage {
        let shot = Shot::draw(&product.camera, &mut self.stream(product, 1));
        let scene = (product.paint)(self.size, self.stream(product, 0), None);
        shot.develop(&shot.expose(&scene), &mut self.stream(product, 2))
    }

    /// A picture of a defective part, and the mask of the pixels that the defect changed.
    fn defective(&self, product: &Product, kind: &'static str) -> (RgbImage, GrayImage) {
        let shot = Shot::draw(&product.camera, &mut self.stream(product, 1));
        let good = shot.expose(&(product.paint)(self.size, self.stream(product, 0), None));
        let mut attempt = 0;
        loop {
            let mut draw = self.stream(product, 100 + attempt);
            let hard = draw.unit() < HARD_SHARE;
            // Where a defect came out invisible (a scratch beside the part, say), the next is stronger.
            let drawn = if hard { draw.range(0.10, 0.32) } else { draw.range(0.50, 1.0) };
            let strength = (drawn + 0.02 * attempt as f32).min(1.0);
            let defect = Defect { kind, strength, draw };
            let scene = (product.paint)(self.size, self.stream(product, 0), Some(defect));
            let exposure = shot.expose(&scene);
            let mask = defect_mask(&good, &exposure);
            let area = mask.pixels().filter(|pixel| pixel[0] != 0).count();
            if area >= SMALLEST_MASK || attempt >= 60 {
                return (shot.develop(&exposure, &mut self.stream(product, 2)), mask);
            }
            attempt += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(series: u64, index: u64) -> Picture {
        Picture { seed: 7, size: 96, series, index }
    }

    #[test]
    fn every_defect_kind_shows_and_its_mask_is_true() {
        for product in &PRODUCTS {
            for (number, &kind) in product.defects.iter().enumerate() {
                for index in 0..3 {
                    let picture = picture(number as u64 + 2, index);
                    let (defective, mask) = picture.defective(product, kind);
                    let name = format!("{}/{kind} {index}", product.name);
                    assert_eq!((mask.dimensions(), defective.dimensions()), ((96, 96), (96, 96)), "{name}");
                    let area = mask.pixels().filter(|p| p[0] == 255).count();
                    assert!((SMALLEST_MASK..96 * 96 / 4).contains(&area), "{name}: {area} mask pixels");
                    // The same part without its defect: outside the mask the pictures agree to what is not visible.
                    let good = picture.good(product);
                    let loud = good.enumerate_pixels().filter(|(x, y, pixel)| {
                        let other = defective.get_pixel(*x, *y);
                        let change = (0..3).map(|c| pixel[c].abs_diff(other[c])).max().unwrap_or(0);
                        change > 8 && mask.get_pixel(*x, *y)[0] == 0
                    });
                    let loud = loud.count();
                    assert!(loud <= area / 4 + 6, "{name}: {loud} changed pixels outside a mask of {area}");
                }
            }
        }
    }

    #[test]
    fn names_are_folder_names_and_distinct() {
        for (index, name) in DEMO_CATEGORIES.iter().enumerate() {
            assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{name}");
            assert!(!DEMO_CATEGORIES[..index].contains(name), "{name} twice");
        }
        for product in &PRODUCTS {
            assert!(product.defects.len() >= 4 && !product.defects.contains(&"good"), "{}", product.name);
        }
    }

    #[test]
    fn pictures_repeat_and_differ_by_seed_and_index() {
        for product in &PRODUCTS {
            let first = picture(0, 0).good(product);
            assert_eq!(first, picture(0, 0).good(product), "{}", product.name);
            assert_ne!(first, picture(0, 1).good(product), "{}", product.name);
            assert_ne!(first, picture(1, 0).good(product), "{}", product.name);
            assert_ne!(first, Picture { seed: 8, ..picture(0, 0) }.good(product), "{}", product.name);
        }
    }
}
