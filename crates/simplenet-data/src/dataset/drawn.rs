//! What an annotation tool keeps of a defect: its outline, not its pixels.
//!
//! In: a JSON file of LabelMe (one image) or COCO (one image or many). Out: for each image a [`Drawing`], which becomes a mask
//! of the image's size. All labels count as defects. Polygons are filled by the even-odd rule where a pixel's centre is
//! inside; lines are as wide as a pixel; points mark nothing.

use std::collections::HashMap;
use std::path::Path;

use image::{GrayImage, Luma};
use serde::Deserialize;

use crate::decode::read_file;
use crate::error::DataError;

/// Corners of what stands in for a circle.
const CIRCLE_CORNERS: usize = 64;
/// Most bytes of a file of annotations; those of some hundred thousand images.
const MAX_BYTES: u64 = 256 << 20;
/// Half the width of a line.
const HALF_LINE: f64 = 0.75;

/// What was drawn on one image.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Drawing {
    /// The image that it is of, as the file names it.
    pub(crate) image: String,
    /// Width and height of that image, where the file says it.
    pub(crate) size: Option<(u32, u32)>,
    /// Corners in pixels.
    pub(crate) polygons: Vec<Vec<[f64; 2]>>,
    /// Pictures by the lengths of their runs.
    pub(crate) runs: Vec<ColumnRuns>,
}

/// A black and white picture, column by column: so many pixels of background, of the defect, of background, …
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ColumnRuns {
    pub(crate) width: u32,
    pub(crate) height: u32,
    counts: Vec<u32>,
}

impl ColumnRuns {
    /// (x, y) of every pixel of the defect.
    pub(crate) fn pixels(&self) -> impl Iterator<Item = (u32, u32)> {
        let height = u64::from(self.height.max(1));
        let all = u64::from(self.width) * u64::from(self.height);
        let mut at = 0u64;
        let runs = self.counts.iter().enumerate().filter_map(move |(i, &count)| {
            let from = at;
            at += u64::from(count);
            (i % 2 == 1).then(|| from.min(all)..at.min(all))
        });
        runs.flatten().map(move |i| ((i / height) as u32, (i % height) as u32))
    }
}

impl Drawing {
    /// The mask of an image of this size: 255 inside, 0 outside.
    pub fn mask(&self, (width, height): (u32, u32)) -> GrayImage {
        let mut mask = GrayImage::new(width, height);
        for polygon in &self.polygons {
            fill(&mut mask, polygon);
        }
        for (x, y) in self.runs.iter().flat_map(ColumnRuns::pixels) {
            if let Some(pixel) = mask.get_pixel_mut_checked(x, y) {
                *pixel = Luma([255]);
            }
        }
        mask
    }
}

/// Reads a file; `None` where it is neither LabelMe's nor COCO's. `max_pixels` bounds its size and pictures in it.
///
/// # Errors
/// A file that cannot be read, or one of these that is damaged or has a shape of no known kind.
pub fn read_drawings(path: &Path, max_pixels: u64) -> Result<Option<Vec<Drawing>>, DataError> {
    let problem = |problem: String| DataError::List { path: path.to_path_buf(), line: None, problem };
    let bytes = std::fs::metadata(path).map_err(DataError::io("read", path))?.len();
    if bytes > MAX_BYTES {
        return Err(problem(format!(
            "it has {bytes} bytes; at most {MAX_BYTES} are read of a file of annotations"
        )));
    }
    parse(&read_file(path, max_pixels)?, max_pixels).map_err(problem)
}

/// The same of a file's content; an error is what is wrong with it.
pub(crate) fn parse(bytes: &[u8], max_pixels: u64) -> Result<Option<Vec<Drawing>>, String> {
    let Ok(value) = serde_json::from_slice::<serde_json::Value>(bytes) else { return Ok(None) };
    let has = |key: &str| value.get(key).is_some_and(serde_json::Value::is_array);
    if has("shapes") {
        let file = serde_json::from_value(value).map_err(|e| format!("it is no file of LabelMe ({e})"))?;
        return label_me(file, max_pixels).and_then(|drawing| within(vec![drawing], max_pixels)).map(Some);
    }
    if has("images") && has("annotations") {
        let file = serde_json::from_value(value).map_err(|e| format!("it is no file of COCO ({e})"))?;
        return coco(file, max_pixels).and_then(|drawings| within(drawings, max_pixels)).map(Some);
    }
    Ok(None)
}

/// Refuses sizes that no image has.
fn within(drawings: Vec<Drawing>, max_pixels: u64) -> Result<Vec<Drawing>, String> {
    let too_large = |(width, height): (u32, u32)| u64::from(width) * u64::from(height) > max_pixels;
    match drawings.iter().filter_map(|drawing| drawing.size).find(|size| too_large(*size)) {
        Some((width, height)) => {
            Err(format!("it says that an image is {width} x {height}, over the limit of {max_pixels} pixels"))
        }
        None => Ok(drawings),
    }
}

/// A file of LabelMe.
#[derive(Deserialize)]
struct LabelMe {
    shapes: Vec<Shape>,
    #[serde(rename = "imagePath", default)]
    image_path: Option<String>,
    #[serde(rename = "imageWidth", default)]
    width: Option<u32>,
    #[serde(rename = "imageHeight", default)]
    height: Option<u32>,
}

#[derive(Deserialize)]
struct Shape {
    #[serde(default)]
    shape_type: Option<String>,
    #[serde(default)]
    points: Vec<[f64; 2]>,
    /// Of `mask`: a PNG in base64 that lies in the rectangle of the points.
    #[serde(default)]
    mask: Option<String>,
}

fn label_me(file: LabelMe, max_pixels: u64) -> Result<Drawing, String> {
    let image = file.image_path.unwrap_or_default();
    let mut drawing = Drawing { image, size: file.width.zip(file.height), ..Drawing::default() };
    for Shape { shape_type, points, mask } in file.shapes {
        if points.iter().flatten().any(|value| !value.is_finite()) {
            return Err("a shape has a corner that is no number".into());
        }
        match (shape_type.as_deref().unwrap_or("polygon"), points.as_slice()) {
            ("point" | "points", _) => {}
            ("rectangle", &[[ax, ay], [bx, by]]) => {
                drawing.polygons.push(vec![[ax, ay], [bx, ay], [bx, by], [ax, by]]);
            }
            ("circle", &[centre, edge]) => drawing.polygons.push(circle(centre, edge)),
            ("line" | "linestrip", points) => {
                drawing.polygons.extend(points.windows(2).map(|ends| line(ends[0], ends[1])));
            }
            ("mask", &[[left, top], _]) if mask.is_some() => {
                let runs = picture(mask.as_deref().unwrap_or_default(), [left, top], max_pixels)
                    .ok_or("a shape of the type mask holds no picture that lies in its image")?;
                drawing.runs.push(runs);
            }
            ("polygon" | "rectangle" | "oriented_rectangle", points) if points.len() > 2 => {
                drawing.polygons.push(points.to_vec());
            }
            (kind, points) => {
                return Err(format!(
                    "a shape of the type `{kind}` with {} points is not read; draw it as a polygon",
                    points.len()
                ));
            }
        }
    }
    Ok(drawing)
}

fn circle([x, y]: [f64; 2], [ex, ey]: [f64; 2]) -> Vec<[f64; 2]> {
    let radius = (ex - x).hypot(ey - y);
    let corner = |i: usize| {
        let angle = std::f64::consts::TAU * i as f64 / CIRCLE_CORNERS as f64;
        [x + radius * angle.cos(), y + radius * angle.sin()]
    };
    (0..CIRCLE_CORNERS).map(corner).collect()
}

fn line([ax, ay]: [f64; 2], [bx, by]: [f64; 2]) -> Vec<[f64; 2]> {
    let length = (bx - ax).hypot(by - ay).max(f64::MIN_POSITIVE);
    let (dx, dy) = ((by - ay) / length * HALF_LINE, (bx - ax) / length * HALF_LINE);
    vec![[ax + dx, ay - dy], [bx + dx, by - dy], [bx - dx, by + dy], [ax - dx, ay + dy]]
}

/// A picture in base64, at a place of the image; as runs of the part that it covers.
fn picture(base64: &str, [left, top]: [f64; 2], max_pixels: u64) -> Option<ColumnRuns> {
    use base64::Engine;
    let bytes = base64::engine::general_purpose::STANDARD.decode(base64).ok()?;
    let path = Path::new("shape");
    let options = crate::decode::DecodeOptions { max_pixels, ..Default::default() };
    let picture = crate::decode::decode_bytes(&bytes, path, &options).ok()?;
    let (left, top) = (left.max(0.0) as u32, top.max(0.0) as u32);
    let (width, height) = (left.checked_add(picture.width())?, top.checked_add(picture.height())?);
    if u64::from(width) * u64::from(height) > max_pixels {
        return None;
    }
    let mut counts = vec![0u32];
    let mut inside = false;
    for x in 0..width {
        for y in 0..height {
            let at = (x.checked_sub(left), y.checked_sub(top));
            let marked = match at {
                (Some(x), Some(y)) => picture.get_pixel(x, y).0 != [0; 3],
                _ => false,
            };
            if marked != inside {
                counts.push(0);
                inside = marked;
            }
            if let Some(last) = counts.last_mut() {
                *last += 1;
            }
        }
    }
    Some(ColumnRuns { width, height, counts })
}

/// A file of COCO.
#[derive(Deserialize)]
struct Coco {
    images: Vec<CocoImage>,
    annotations: Vec<CocoAnnotation>,
}

#[derive(Deserialize)]
struct CocoImage {
    id: serde_json::Value,
    file_name: String,
    #[serde(default)]
    width: Option<u32>,
    #[serde(default)]
    height: Option<u32>,
}

#[derive(Deserialize)]
struct CocoAnnotation {
    image_id: serde_json::Value,
    #[serde(default)]
    segmentation: Option<Segmentation>,
    #[serde(default)]
    bbox: Option<Vec<f64>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Segmentation {
    Polygons(Vec<Vec<f64>>),
    Runs { counts: Counts, size: [u32; 2] },
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Counts {
    Plain(Vec<u32>),
    Packed(String),
}

fn coco(file: Coco, max_pixels: u64) -> Result<Vec<Drawing>, String> {
    let mut drawings: Vec<Drawing> = vec![];
    let mut by_id: HashMap<String, usize> = HashMap::new();
    for CocoImage { id, file_name, width, height } in file.images {
        by_id.insert(id.to_string(), drawings.len());
        drawings.push(Drawing { image: file_name, size: width.zip(height), ..Drawing::default() });
    }
    for CocoAnnotation { image_id, segmentation, bbox } in file.annotations {
        let of_image = by_id.get(&image_id.to_string()).and_then(|&at| drawings.get_mut(at));
        let drawing = of_image
            .ok_or_else(|| format!("an annotation is of the image {image_id}, which is not listed"))?;
        match (segmentation, bbox.as_deref()) {
            (Some(Segmentation::Polygons(polygons)), _) if !polygons.is_empty() => {
                for polygon in polygons {
                    let corners = polygon.as_chunks::<2>().0;
                    if corners.len() < 3 || polygon.iter().any(|value| !value.is_finite()) {
                        return Err(format!(
                            "a polygon of the image {image_id} has {} numbers",
                            polygon.len()
                        ));
                    }
                    drawing.polygons.push(corners.to_vec());
                }
            }
            (Some(Segmentation::Runs { counts, size: [height, width] }), _) => {
                if u64::from(height) * u64::from(width) > max_pixels {
                    return Err(format!(
                        "a segmentation is {width} x {height}, over the limit of {max_pixels} pixels"
                    ));
                }
                let counts = match counts {
                    Counts::Plain(counts) => counts,
                    Counts::Packed(text) => unpacked(&text)
                        .ok_or_else(|| format!("a segmentation of the image {image_id} is damaged"))?,
                };
                drawing.runs.push(ColumnRuns { width, height, counts });
            }
            (_, Some(&[x, y, width, height])) => {
                let (right, bottom) = (x + width, y + height);
                drawing.polygons.push(vec![[x, y], [right, y], [right, bottom], [x, bottom]]);
            }
            _ => {
                return Err(format!("an annotation of the image {image_id} has no segmentation and no bbox"));
            }
        }
    }
    Ok(drawings)
}

/// COCO's packed runs: five bits a sign, least first, from the fourth run on as the difference to the last but one.
fn unpacked(text: &str) -> Option<Vec<u32>> {
    let mut counts: Vec<i64> = vec![];
    let mut signs = text.bytes();
    while let Some(first) = signs.next() {
        let (mut value, mut shift, mut sign) = (0i64, 0u32, first);
        loop {
            let bits = i64::from(sign.checked_sub(48)?);
            value |= (bits & 0x1F).checked_shl(shift)?;
            shift += 5;
            if shift > 35 {
                return None;
            }
            if bits & 0x20 == 0 {
                if bits & 0x10 != 0 {
                    value |= -1i64 << shift;
                }
                break;
            }
            sign = signs.next()?;
        }
        if counts.len() > 2 {
            value += counts[counts.len() - 2];
        }
        counts.push(value);
    }
    counts.into_iter().map(|count| u32::try_from(count).ok()).collect()
}

/// Fills a polygon where a pixel's centre is inside.
fn fill(mask: &mut GrayImage, polygon: &[[f64; 2]]) {
    let (width, height) = mask.dimensions();
    let (top, bottom) =
        polygon.iter().fold((f64::MAX, f64::MIN), |(low, high), [_, y]| (low.min(*y), high.max(*y)));
    let last = (bottom.ceil().max(0.0) as u32).min(height);
    let mut crossings: Vec<f64> = vec![];
    for y in (top.floor().max(0.0) as u32).min(height)..last {
        let centre = f64::from(y) + 0.5;
        crossings.clear();
        let next = polygon.iter().cycle().skip(1);
        let crossing = |([ax, ay], [bx, by]): (&[f64; 2], &[f64; 2])| {
            ((*ay <= centre) != (*by <= centre)).then(|| ax + (centre - ay) / (by - ay) * (bx - ax))
        };
        crossings.extend(polygon.iter().zip(next).filter_map(crossing));
        crossings.sort_by(f64::total_cmp);
        for &[from, to] in crossings.as_chunks::<2>().0 {
            let first = |x: f64| ((x - 0.5).ceil().max(0.0) as u32).min(width);
            (first(from)..first(to)).for_each(|x| mask.put_pixel(x, y, Luma([255])));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Option<Vec<Drawing>>, DataError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.json");
        std::fs::write(&path, text).unwrap();
        read_drawings(&path, 1_000_000)
    }

    fn mask(text: &str, size: (u32, u32)) -> Vec<(u32, u32)> {
        let drawings = read(text).unwrap().unwrap();
        let mask = drawings[0].mask(size);
        mask.enumerate_pixels().filter(|(_, _, p)| p.0[0] == 255).map(|(x, y, _)| (x, y)).collect()
    }

    fn shape(kind: &str, points: &str) -> String {
        format!(
            r#"{{"version": "5", "shapes": [{{"label": "x", "shape_type": "{kind}", "points": {points}}}],
               "imagePath": "1.png", "imageWidth": 8, "imageHeight": 6}}"#
        )
    }

    #[test]
    fn shapes_of_label_me() {
        let square: Vec<(u32, u32)> = (1..3).flat_map(|y| (2..5).map(move |x| (x, y))).collect();
        assert_eq!(mask(&shape("polygon", "[[2, 1], [5, 1], [5, 3], [2, 3]]"), (8, 6)), square);
        assert_eq!(mask(&shape("rectangle", "[[5, 3], [2, 1]]"), (8, 6)), square);
        assert_eq!(mask(&shape("circle", "[[4, 3], [5, 3]]"), (8, 6)), [(3, 2), (4, 2), (3, 3), (4, 3)]);
        assert_eq!(mask(&shape("linestrip", "[[0, 2.5], [8, 2.5]]"), (8, 6)).len(), 8);
        assert_eq!(mask(&shape("point", "[[1, 1]]"), (8, 6)), []);
        // Corners outside the picture.
        assert_eq!(mask(&shape("rectangle", "[[-3, -3], [2, 1]]"), (8, 6)), [(0, 0), (1, 0)]);
        let error = read(&shape("spline", "[[1, 1]]")).unwrap_err().to_string();
        assert!(
            error.contains("`spline`") && error.contains("polygon") && error.contains("a.json"),
            "{error}"
        );
    }

    #[test]
    fn pictures_inside_label_me() {
        use base64::Engine;
        let mut png = std::io::Cursor::new(vec![]);
        GrayImage::from_raw(2, 2, vec![255, 0, 0, 255])
            .unwrap()
            .write_to(&mut png, image::ImageFormat::Png)
            .unwrap();
        let text = base64::engine::general_purpose::STANDARD.encode(png.into_inner());
        let file = format!(
            r#"{{"shapes": [{{"shape_type": "mask", "points": [[3, 1], [4, 2]], "mask": "{text}"}}]}}"#
        );
        assert_eq!(mask(&file, (8, 6)), [(3, 1), (4, 2)]);
    }

    #[test]
    fn coco_polygons_boxes_and_runs() {
        let file = |annotation: &str| {
            format!(
                r#"{{"images": [{{"id": 3, "file_name": "a/1.png", "width": 4, "height": 3}}],
                    "annotations": [{{"image_id": 3, {annotation}}}], "categories": []}}"#
            )
        };
        let polygon = file(r#""segmentation": [[1, 1, 3, 1, 3, 3, 1, 3]], "bbox": [0, 0, 4, 3]"#);
        assert_eq!(mask(&polygon, (4, 3)), [(1, 1), (2, 1), (1, 2), (2, 2)]);
        assert_eq!(mask(&file(r#""bbox": [1, 0, 2, 1]"#), (4, 3)), [(1, 0), (2, 0)]);
        // Column by column: 4 of background, 2 of the defect.
        let runs = r#""segmentation": {"size": [3, 4], "counts": [4, 2, 6]}"#;
        assert_eq!(mask(&file(runs), (4, 3)), [(1, 1), (1, 2)]);
        // The same packed: 4, 2, 6.
        let packed = r#""segmentation": {"size": [3, 4], "counts": "426"}"#;
        assert_eq!(mask(&file(packed), (4, 3)), [(1, 1), (1, 2)]);
        assert!(read(&file(r#""area": 3"#)).unwrap_err().to_string().contains("no segmentation"));
    }

    #[test]
    fn packed_runs_go_up_and_down() {
        // As pycocotools packs them.
        assert_eq!(unpacked("0X13mNQl0L").unwrap(), [0, 40, 3, 5, 900, 1]);
        assert_eq!(unpacked("0X"), None);
        assert_eq!(unpacked(" "), None);
    }

    #[test]
    fn sizes_that_no_image_has_are_refused() {
        let huge =
            shape("rectangle", "[[2, 1], [5, 3]]").replace("\"imageWidth\": 8", "\"imageWidth\": 4294967295");
        assert!(read(&huge).unwrap_err().to_string().contains("over the limit of 1000000 pixels"));
        let far =
            r#"{"shapes": [{"shape_type": "mask", "points": [[4e9, 4e9], [4e9, 4e9]], "mask": "AAAA"}]}"#;
        assert!(read(far).unwrap_err().to_string().contains("holds no picture"));
    }

    #[test]
    fn other_json_is_none() {
        assert_eq!(read("{\"meta\": 3}").unwrap(), None);
        assert_eq!(read("no json").unwrap(), None);
        assert_eq!(read("[]").unwrap(), None);
    }
}
