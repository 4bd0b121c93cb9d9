//! One photograph as the report shows it: a small copy, its heat map as a layer of its own, the true defect's outline.
//!
//! In: photograph, anomaly map and mask at their own sizes. Out: a JPEG, a PNG whose colours carry their opacity (so
//! that the page can fade it over the photograph), and SVG path data; as one line of JSON they make up
//! `pictures.jsonl`, whose line i belongs to line i of predictions.jsonl.

use super::OutputError;
use super::colour::inferno;
use super::error::check_size;
use super::heatmap::{COLOUR_START, ScoreRange, opacity, thumbnail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use image::RgbImage;
use jpeg_encoder::{ColorType, Encoder};
use serde::{Deserialize, Serialize};

/// The pictures of one photograph, encoded.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layers {
    /// The photograph: a JPEG, base64.
    pub photograph: String,
    /// The heat map: a PNG with a palette and opacity, base64. Its colours are those of `heatmaps/`, at full strength.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heat: Option<String>,
    /// The outline of the ground truth, SVG path data in the photograph's own pixels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub truth: Option<String>,
}

/// How large the pictures are; smaller photographs are not enlarged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LayerSizes {
    /// Longer side of the photograph, pixels.
    pub photograph: u32,
    /// Longer side of the heat map.
    pub heat: u32,
}

/// Up to so many photographs, each is kept large.
const FEW: usize = 200;
const JPEG_QUALITY: u8 = 82;
/// Colours of a heat map; the next entry of the palette is for what was not inspected.
const STEPS: u8 = 63;

impl LayerSizes {
    /// What a set of so many photographs is given: all of them go into one file.
    pub fn for_count(photographs: usize) -> Self {
        match photographs {
            ..=FEW => Self { photograph: 640, heat: 256 },
            _ => Self { photograph: 384, heat: 160 },
        }
    }
}

impl Layers {
    /// The layers of a photograph and its map, which has a score for each of its pixels, row-major, NaN where it was not
    /// inspected.
    ///
    /// # Errors
    /// A map of another size; a picture that cannot be encoded.
    pub fn draw(
        photograph: &RgbImage,
        map: &[f32],
        range: ScoreRange,
        sizes: LayerSizes,
    ) -> Result<Self, OutputError> {
        let size = photograph.dimensions();
        check_size("anomaly map", map.len(), size)?;
        let heat = shrunk(map, size, sizes.heat, f32::max, |score| step(score, range));
        Ok(Self {
            photograph: jpeg(photograph, sizes.photograph)?,
            heat: Some(heat_png(&heat.0, heat.1)?),
            truth: None,
        })
    }

    /// A photograph without a map.
    ///
    /// # Errors
    /// A picture that cannot be encoded.
    pub fn of_photograph(photograph: &RgbImage, sizes: LayerSizes) -> Result<Self, OutputError> {
        Ok(Self { photograph: jpeg(photograph, sizes.photograph)?, heat: None, truth: None })
    }

    /// The same, smaller.
    ///
    /// # Errors
    /// Pictures that cannot be read or encoded.
    pub fn smaller(&self, sizes: LayerSizes) -> Result<Self, OutputError> {
        let bad = |reason: String| OutputError::Encode { what: "small", reason };
        let bytes = BASE64.decode(&self.photograph).map_err(|e| bad(e.to_string()))?;
        let photograph = image::load_from_memory(&bytes).map_err(|e| bad(e.to_string()))?.to_rgb8();
        let heat = match &self.heat {
            Some(heat) => {
                let bytes = BASE64.decode(heat).map_err(|e| bad(e.to_string()))?;
                let (steps, size) = read_heat(&bytes).map_err(|e| bad(e.to_string()))?;
                let (steps, size) = shrunk(&steps, size, sizes.heat, higher, |step| step);
                Some(heat_png(&steps, size)?)
            }
            None => None,
        };
        Ok(Self { photograph: jpeg(&photograph, sizes.photograph)?, heat, truth: self.truth.clone() })
    }

    /// How many bytes of a page they are.
    pub fn page_bytes(&self) -> usize {
        let length = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        self.photograph.len() + length(&self.heat) + length(&self.truth)
    }

    /// One line of JSON, without its newline.
    ///
    /// # Errors
    /// None that is known of.
    pub fn to_json(&self) -> Result<String, OutputError> {
        serde_json::to_string(self).map_err(|source| OutputError::Json {
            path: "<memory>".into(),
            line: 0,
            source,
        })
    }
}

/// The palette's entry of a score.
fn step(score: f32, range: ScoreRange) -> u8 {
    if score.is_nan() {
        return STEPS;
    }
    (range.position(score).clamp(0.0, 1.0) * f32::from(STEPS - 1)).round() as u8
}

/// The higher of two entries of the palette; what was not inspected counts for less than any.
fn higher(a: u8, b: u8) -> u8 {
    match (a, b) {
        (STEPS, other) | (other, STEPS) => other,
        _ => a.max(b),
    }
}

/// The entries of a smaller grid of the same shape. Each is the highest in its cell (of at most 4 by 4 that are looked
/// at), so that a small spot does not vanish, and "not inspected" only where nothing in the cell was: `highest` gives way
/// to what was not, as `f32::max` does to NaN.
fn shrunk<T: Copy>(
    values: &[T],
    (width, height): (u32, u32),
    longest: u32,
    highest: impl Fn(T, T) -> T,
    entry: impl Fn(T) -> u8,
) -> (Vec<u8>, (u32, u32)) {
    let side = width.max(height).max(1);
    let scaled = |v: u32| (u64::from(v) * u64::from(longest.min(side))).div_ceil(u64::from(side)) as u32;
    let (w, h) = (scaled(width), scaled(height));
    let places = |from: u32, to: u32, index: u32| -> [usize; 4] {
        let (start, end) = (u64::from(index) * u64::from(from), u64::from(index + 1) * u64::from(from));
        // Four places, the middles of the cell's quarters.
        std::array::from_fn(|k| {
            ((start * 8 + (end - start) * (2 * k as u64 + 1)) / (8 * u64::from(to))) as usize
        })
    };
    let columns: Vec<[usize; 4]> = (0..w).map(|x| places(width, w, x)).collect();
    let mut out = Vec::with_capacity(w as usize * h as usize);
    let mut row = Vec::with_capacity(width as usize);
    for y in 0..h {
        // Four rows make one, then four of its places one entry.
        let [a, b, c, d] = places(height, h, y).map(|y| &values[y * width as usize..][..width as usize]);
        row.clear();
        let rows = a.iter().zip(b).zip(c.iter().zip(d));
        row.extend(rows.map(|((a, b), (c, d))| highest(highest(*a, *b), highest(*c, *d))));
        out.extend(
            columns
                .iter()
                .map(|&[a, b, c, d]| entry(highest(highest(row[a], row[b]), highest(row[c], row[d])))),
        );
    }
    (out, (w, h))
}

/// A small copy by jpeg-encoder: with the `image` crate's own encoder a report takes twice the time (docs/benchmarks.md).
fn jpeg(photograph: &RgbImage, side: u32) -> Result<String, OutputError> {
    let failed = |reason: String| OutputError::Encode { what: "small", reason };
    let small = thumbnail(photograph, side);
    let [width, height] = [small.width(), small.height()].map(u16::try_from);
    let (Ok(width), Ok(height)) = (width, height) else {
        return Err(failed(format!("{} x {} pixels are too many for a JPEG", small.width(), small.height())));
    };
    let mut bytes = Vec::new();
    Encoder::new(&mut bytes, JPEG_QUALITY)
        .encode(&small, width, height, ColorType::Rgb)
        .map_err(|e| failed(e.to_string()))?;
    Ok(BASE64.encode(bytes))
}

/// A picture whose values are entries of the heat map's palette.
fn heat_png(steps: &[u8], (width, height): (u32, u32)) -> Result<String, OutputError> {
    let (mut colours, mut opacities) = (vec![], vec![]);
    for entry in 0..STEPS {
        let t = f32::from(entry) / f32::from(STEPS - 1);
        colours.extend(inferno(COLOUR_START + (1.0 - COLOUR_START) * t));
        opacities.push((opacity(t) * 255.0).round() as u8);
    }
    colours.extend([128, 128, 128]);
    opacities.push(200);
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(png::ColorType::Indexed);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_palette(colours);
    encoder.set_trns(opacities);
    encoder.set_compression(png::Compression::Fast);
    encoder.set_filter(png::Filter::NoFilter);
    let encoded = encoder.write_header().and_then(|mut writer| writer.write_image_data(steps));
    encoded.map_err(|e| OutputError::Encode { what: "heat-map layer", reason: e.to_string() })?;
    Ok(BASE64.encode(bytes))
}

fn read_heat(bytes: &[u8]) -> Result<(Vec<u8>, (u32, u32)), png::DecodingError> {
    let mut decoder = png::Decoder::new(std::io::Cursor::new(bytes));
    decoder.set_transformations(png::Transformations::IDENTITY);
    let mut reader = decoder.read_info()?;
    let size = reader.info().size();
    let mut steps = vec![0; size.0 as usize * size.1 as usize];
    reader.next_frame(&mut steps)?;
    Ok((steps, size))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range() -> ScoreRange {
        ScoreRange::new(0.0, 1.0).unwrap()
    }

    fn decoded(layer: &str) -> image::DynamicImage {
        image::load_from_memory(&BASE64.decode(layer).unwrap()).unwrap()
    }

    #[test]
    fn layers_are_small_and_normal_scores_are_clear() {
        let photograph = RgbImage::from_pixel(900, 600, image::Rgb([200, 30, 30]));
        let mut map = vec![-3.0; 900 * 600];
        map[300 * 900 + 450] = 0.5; // one pixel of 540 000
        map[..30 * 900].fill(f32::NAN);
        let sizes = LayerSizes { photograph: 90, heat: 300 };
        let layers = Layers::draw(&photograph, &map, range(), sizes).unwrap();
        let small = decoded(&layers.photograph).to_rgb8();
        assert_eq!(small.dimensions(), (90, 60));
        assert!(small.get_pixel(45, 30).0[0] > 180);
        let heat = decoded(&layers.heat.clone().unwrap()).to_rgba8();
        assert_eq!(heat.dimensions(), (300, 200));
        assert_eq!(heat.get_pixel(20, 100).0[3], 0, "normal is clear");
        assert_eq!(heat.get_pixel(20, 2).0, [128, 128, 128, 200], "not inspected is gray");
        assert!(heat.get_pixel(150, 100).0[3] > 100, "a spot of one pixel stays");
        let again = layers.smaller(LayerSizes { photograph: 45, heat: 60 }).unwrap();
        assert_eq!(decoded(&again.photograph).to_rgb8().dimensions(), (45, 30));
        let heat = decoded(&again.heat.clone().unwrap()).to_rgba8();
        assert_eq!(heat.dimensions(), (60, 40));
        assert!(heat.get_pixel(30, 20).0[3] > 100, "and in the smaller one");
        assert!(again.page_bytes() < layers.page_bytes());
        let json = again.to_json().unwrap();
        assert_eq!(serde_json::from_str::<Layers>(&json).unwrap(), again);
    }

    #[test]
    fn odd_sizes() {
        for (width, height) in [(1, 1), (7, 3), (1, 500), (641, 2)] {
            let photograph = RgbImage::new(width, height);
            let map = vec![0.3; (width * height) as usize];
            let layers = Layers::draw(&photograph, &map, range(), LayerSizes::for_count(1)).unwrap();
            layers.smaller(LayerSizes { photograph: 5, heat: 5 }).unwrap();
        }
        let wrong = Layers::draw(&RgbImage::new(4, 4), &[0.0; 15], range(), LayerSizes::for_count(1));
        assert!(matches!(wrong, Err(OutputError::Size { .. })));
    }
}
