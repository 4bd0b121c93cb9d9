//! Where the defects of an image are: one mask, or one mask for each defect with the area that has to be found of it.
//!
//! In: mask files, read when they are asked for. Out: the union of all defects in the image's own size, and for MVTec
//! LOCO AD each defect with its saturation area.

use std::{collections::BTreeMap, path::Path, path::PathBuf, sync::Arc};

use image::{DynamicImage, GrayImage, Luma, metadata::Orientation};
use serde::Deserialize;

use super::{drawn::Drawing, pairing::swaps};
use crate::decode::{DecodeOptions, decode_labels, decode_mask_with, upright_header};
use crate::error::DataError;

/// Width and height of a picture, and how the camera's orientation turned it.
pub(super) type Upright = ((u32, u32), Orientation);

/// Which values of a mask file are a defect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MaskValues {
    /// Those that stand out, by the rule of [`decode_mask_with`].
    Bright,
    /// All above 0: values are class numbers.
    AboveZero,
}

/// The ground truth of an anomalous image.
#[derive(Debug, Clone, PartialEq)]
pub enum GroundTruth {
    /// One file marks all defects.
    Mask {
        /// The file.
        path: PathBuf,
        /// Which of its values count.
        values: MaskValues,
    },
    /// An annotation tool's file marks all defects by their outlines.
    Drawn {
        /// The file.
        path: PathBuf,
        /// What it says of the image.
        drawing: Arc<Drawing>,
    },
    /// A file for each defect, whose pixel value says of which kind it is: MVTec LOCO AD.
    Defects {
        /// The files, sorted.
        masks: Vec<PathBuf>,
        /// What the pixel values mean.
        kinds: Arc<DefectKinds>,
    },
}

/// One defect of an image.
#[derive(Debug, Clone, PartialEq)]
pub struct DefectMask {
    /// 255 where the defect is, 0 elsewhere; the size of the image.
    pub mask: GrayImage,
    /// The defect's kind.
    pub kind: DefectKind,
}

/// A kind of defect.
#[derive(Debug, Clone, PartialEq)]
pub struct DefectKind {
    /// Its name.
    pub name: String,
    /// How much of it must be found.
    pub saturation: SaturationArea,
}

/// The area at which a defect counts as found in full.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum SaturationArea {
    /// Pixels of the image in its own size.
    Pixels(u32),
    /// Share of the defect's area.
    Share(f64),
}

impl GroundTruth {
    /// One mask, of which bright values are defects.
    pub fn bright(path: PathBuf) -> Self {
        Self::Mask { path, values: MaskValues::Bright }
    }

    /// One mask, of which all values above 0 are defects.
    pub fn above_zero(path: PathBuf) -> Self {
        Self::Mask { path, values: MaskValues::AboveZero }
    }

    /// The mask files.
    pub fn files(&self) -> &[PathBuf] {
        match self {
            Self::Mask { path, .. } | Self::Drawn { path, .. } => std::slice::from_ref(path),
            Self::Defects { masks, .. } => masks,
        }
    }

    /// Whether its defects have saturation areas.
    pub fn has_saturation(&self) -> bool {
        matches!(self, Self::Defects { .. })
    }

    /// Each file with width and height of its mask, and how the camera's orientation turned it; of a drawing that does not
    /// say its size, nothing.
    pub(super) fn sizes(&self, decode: &DecodeOptions) -> Vec<(PathBuf, Result<Upright, DataError>)> {
        match self {
            Self::Drawn { path, drawing } => {
                let size = drawing.size.map(|size| (path.clone(), Ok((size, Orientation::NoTransforms))));
                size.into_iter().collect()
            }
            Self::Mask { .. } | Self::Defects { .. } => {
                self.files().iter().map(|path| (path.clone(), upright_header(path, decode))).collect()
            }
        }
    }

    /// All defects of the image at `image`, whose size is `size`, in one mask of that size: 255 for a defect, 0 elsewhere.
    ///
    /// A mask that has the image's size only with width and height exchanged was drawn on the pixels as the camera stored
    /// them: where its orientation turns the image so, the mask is turned with it.
    ///
    /// # Errors
    /// As [`read_union`](Self::read_union); a mask of another size.
    pub fn read_for(
        &self,
        image: &Path,
        size: (u32, u32),
        decode: &DecodeOptions,
    ) -> Result<GrayImage, DataError> {
        let mask = match self {
            Self::Drawn { drawing, .. } => drawing.mask(drawing.size.unwrap_or(size)),
            Self::Mask { .. } | Self::Defects { .. } => self.read_union(decode)?,
        };
        if mask.dimensions() == size {
            return Ok(mask);
        }
        let mask_size = mask.dimensions();
        if (mask_size.1, mask_size.0) == size && !self.has_saturation() {
            let turned = |path: &Path| {
                upright_header(path, decode).map_or(Orientation::NoTransforms, |(_, turned)| turned)
            };
            let own = match self {
                Self::Mask { path, .. } => turned(path),
                _ => Orientation::NoTransforms,
            };
            let turned = turned(image);
            if swaps(turned) && own == Orientation::NoTransforms {
                let mut mask = DynamicImage::ImageLuma8(mask);
                mask.apply_orientation(turned);
                return Ok(mask.into_luma8());
            }
        }
        Err(DataError::MaskSize {
            mask: self.files().first().cloned().unwrap_or_default(),
            mask_size,
            image: image.to_path_buf(),
            image_size: size,
        })
    }

    /// All defects in one mask of the mask files' own size: (height, width), 255 for a defect, 0 elsewhere. A drawing that
    /// does not say its size has none: see [`read_for`](Self::read_for).
    ///
    /// # Errors
    /// A mask that cannot be read, of another size than the first, or with values of no kind.
    pub fn read_union(&self, decode: &DecodeOptions) -> Result<GrayImage, DataError> {
        match self {
            Self::Mask { path, values: MaskValues::Bright } => decode_mask_with(path, decode),
            Self::Mask { path, values: MaskValues::AboveZero } => {
                let labels = decode_labels(path, decode)?;
                Ok(marked(&labels, |value| value > 0))
            }
            Self::Drawn { drawing, .. } => Ok(drawing.mask(drawing.size.unwrap_or_default())),
            Self::Defects { masks, .. } => {
                let mut defects = self.read_defects(decode)?.into_iter();
                let Some(DefectMask { mask: mut union, .. }) = defects.next() else {
                    return Err(DataError::NoImages {
                        path: masks.first().cloned().unwrap_or_default(),
                        expected: "at least one mask".to_string(),
                    });
                };
                for defect in defects {
                    union.iter_mut().zip(defect.mask.iter()).for_each(|(any, &value)| *any |= value);
                }
                Ok(union)
            }
        }
    }

    /// Each defect with its saturation area; none where the ground truth has no saturation areas.
    ///
    /// # Errors
    /// As [`read_union`](Self::read_union).
    pub fn read_defects(&self, decode: &DecodeOptions) -> Result<Vec<DefectMask>, DataError> {
        let Self::Defects { masks, kinds } = self else { return Ok(vec![]) };
        let mut defects: Vec<DefectMask> = Vec::with_capacity(masks.len());
        for path in masks {
            let defect = kinds.read(path, decode)?;
            if let (Some(first), Some(image)) = (defects.first(), masks.first())
                && first.mask.dimensions() != defect.mask.dimensions()
            {
                return Err(DataError::MaskSize {
                    mask: path.clone(),
                    mask_size: defect.mask.dimensions(),
                    image: image.clone(),
                    image_size: first.mask.dimensions(),
                });
            }
            defects.push(defect);
        }
        Ok(defects)
    }
}

/// The kinds of defects of a category, by pixel value: what `defects_config.json` holds.
#[derive(Debug, Clone, PartialEq)]
pub struct DefectKinds {
    path: PathBuf,
    kinds: BTreeMap<u16, DefectKind>,
}

/// An entry of `defects_config.json`.
#[derive(Deserialize)]
struct Entry {
    defect_name: String,
    pixel_value: u16,
    saturation_threshold: f64,
    relative_saturation: bool,
}

impl DefectKinds {
    /// Reads `defects_config.json`.
    ///
    /// # Errors
    /// The file cannot be read, is no such list, or has a value that cannot be.
    pub fn read_file(path: &Path) -> Result<Self, DataError> {
        let wrong = |problem: String| DataError::List { path: path.to_path_buf(), line: None, problem };
        let text = std::fs::read_to_string(path).map_err(DataError::io("read", path))?;
        let entries: Vec<Entry> =
            serde_json::from_str(&text).map_err(|e| wrong(format!("it is no list of defects ({e})")))?;
        let mut kinds = BTreeMap::new();
        for Entry { defect_name, pixel_value, saturation_threshold, relative_saturation } in entries {
            let saturation = match relative_saturation {
                true if saturation_threshold > 0.0 && saturation_threshold <= 1.0 => {
                    SaturationArea::Share(saturation_threshold)
                }
                false if (1.0..=f64::from(u32::MAX)).contains(&saturation_threshold) => {
                    SaturationArea::Pixels(saturation_threshold as u32)
                }
                _ => {
                    let wanted =
                        if relative_saturation { "a share above 0, at most 1" } else { "pixels, 1 or more" };
                    return Err(wrong(format!(
                        "`{defect_name}` has a saturation_threshold of {saturation_threshold}; expected {wanted}"
                    )));
                }
            };
            if pixel_value == 0 {
                return Err(wrong(format!("`{defect_name}` has the pixel_value 0, which means no defect")));
            }
            let kind = DefectKind { name: defect_name, saturation };
            if let Some(before) = kinds.insert(pixel_value, kind) {
                return Err(wrong(format!(
                    "`{}` and another defect share pixel_value {pixel_value}",
                    before.name
                )));
            }
        }
        Ok(Self { path: path.to_path_buf(), kinds })
    }

    /// Reads the mask of one defect.
    fn read(&self, path: &Path, decode: &DecodeOptions) -> Result<DefectMask, DataError> {
        let labels = decode_labels(path, decode)?;
        let wrong = |problem: String| DataError::DefectMask { path: path.to_path_buf(), problem };
        let value = labels.iter().copied().find(|&value| value > 0);
        let value = value.ok_or_else(|| wrong("marks nothing".to_string()))?;
        if let Some(other) = labels.iter().find(|&&other| other > 0 && other != value) {
            return Err(wrong(format!("holds the values {value} and {other}; a mask of one defect has one")));
        }
        let kind = self.kinds.get(&value).cloned().ok_or_else(|| {
            wrong(format!("holds the value {value}, which {} does not list", self.path.display()))
        })?;
        Ok(DefectMask { mask: marked(&labels, |found| found > 0), kind })
    }
}

fn marked(labels: &image::ImageBuffer<Luma<u16>, Vec<u16>>, is_defect: impl Fn(u16) -> bool) -> GrayImage {
    let mut mask = GrayImage::new(labels.width(), labels.height());
    mask.iter_mut().zip(labels.iter()).for_each(|(to, &from)| *to = if is_defect(from) { 255 } else { 0 });
    mask
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = r#"[
        {"defect_name": "missing_pin", "pixel_value": 255, "saturation_threshold": 40, "relative_saturation": false},
        {"defect_name": "bent", "pixel_value": 254, "saturation_threshold": 0.5, "relative_saturation": true}
    ]"#;

    fn write(dir: &Path, name: &str, values: [u8; 6]) -> PathBuf {
        let path = dir.join(name);
        GrayImage::from_raw(3, 2, values.to_vec()).unwrap().save(&path).unwrap();
        path
    }

    fn kinds(dir: &Path, text: &str) -> Result<DefectKinds, DataError> {
        let path = dir.join("defects_config.json");
        std::fs::write(&path, text).unwrap();
        DefectKinds::read_file(&path)
    }

    #[test]
    fn each_defect_and_their_union() {
        let dir = tempfile::tempdir().unwrap();
        let decode = DecodeOptions::default();
        let masks = vec![
            write(dir.path(), "000.png", [255, 255, 0, 0, 0, 0]),
            write(dir.path(), "001.png", [0, 254, 0, 0, 254, 0]),
        ];
        let truth = GroundTruth::Defects { masks, kinds: Arc::new(kinds(dir.path(), CONFIG).unwrap()) };
        assert_eq!(truth.read_union(&decode).unwrap().into_raw(), [255, 255, 0, 0, 255, 0]);
        let found = truth.read_defects(&decode).unwrap();
        let found: Vec<_> = found.iter().map(|d| (d.kind.name.as_str(), d.kind.saturation)).collect();
        let pixels = SaturationArea::Pixels(40);
        assert_eq!(found, [("missing_pin", pixels), ("bent", SaturationArea::Share(0.5))]);
        assert!(truth.has_saturation() && truth.files().len() == 2);
    }

    #[test]
    fn class_numbers_count_however_large_they_are() {
        let dir = tempfile::tempdir().unwrap();
        let path = write(dir.path(), "classes.png", [0, 1, 7, 130, 200, 0]);
        let decode = DecodeOptions::default();
        let all = GroundTruth::above_zero(path.clone()).read_union(&decode).unwrap();
        assert_eq!(all.into_raw(), [0, 255, 255, 255, 255, 0]);
        // Of a bright mask, soft edges are decided at half of the range.
        let soft = GroundTruth::bright(path).read_union(&decode).unwrap();
        assert_eq!(soft.into_raw(), [0, 0, 0, 255, 255, 0]);
        // 16 bits: 5 of 65535 is a class number too, beside 40000.
        let wide = dir.path().join("wide.png");
        image::ImageBuffer::<Luma<u16>, _>::from_raw(2, 1, vec![5, 40000]).unwrap().save(&wide).unwrap();
        assert_eq!(GroundTruth::above_zero(wide).read_union(&decode).unwrap().into_raw(), [255, 255]);
    }

    #[test]
    fn a_mask_drawn_on_the_stored_pixels_is_turned_with_its_photograph() {
        let dir = tempfile::tempdir().unwrap();
        let image = dir.path().join("photo.jpg");
        // Stored 8 across and 6 down, shown 6 across and 8 down: turned clockwise by a quarter.
        std::fs::write(&image, crate::decode::tests::jpeg_with_orientation(8, 6, 6)).unwrap();
        let path = dir.path().join("mask.png");
        let corner = |width, height| {
            GrayImage::from_fn(width, height, |x, y| Luma([if x + y == 0 { 255 } else { 0 }]))
        };
        let truth = GroundTruth::bright(path.clone());
        let decode = DecodeOptions::default();
        let at = |size, decode: &DecodeOptions| -> Result<Vec<(u32, u32)>, DataError> {
            let mask = truth.read_for(&image, size, decode)?;
            assert_eq!(mask.dimensions(), size);
            Ok(mask.enumerate_pixels().filter(|(.., p)| p.0[0] > 0).map(|(x, y, _)| (x, y)).collect())
        };
        corner(8, 6).save(&path).unwrap();
        assert_eq!(at((6, 8), &decode).unwrap(), [(5, 0)], "the upper left corner of what is stored");
        corner(6, 8).save(&path).unwrap();
        assert_eq!(at((6, 8), &decode).unwrap(), [(0, 0)], "drawn on the upright photograph");
        corner(3, 4).save(&path).unwrap();
        assert!(matches!(at((6, 8), &decode), Err(DataError::MaskSize { .. })));
        // As stored: nothing is turned.
        let ignore = DecodeOptions { exif: crate::decode::Exif::Ignore, ..decode };
        corner(6, 8).save(&path).unwrap();
        assert!(matches!(at((8, 6), &ignore), Err(DataError::MaskSize { .. })));
    }

    #[test]
    fn what_cannot_be_a_defect_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let entry = |value: u32, threshold: f64, relative: bool| {
            format!(
                r#"{{"defect_name": "a", "pixel_value": {value}, "saturation_threshold": {threshold}, "relative_saturation": {relative}}}"#
            )
        };
        for (text, part) in [
            ("{}".to_string(), "no list of defects"),
            (format!("[{}]", entry(255, 1.5, true)), "at most 1"),
            (format!("[{}]", entry(255, 0.0, false)), "1 or more"),
            (format!("[{}]", entry(0, 9.0, false)), "pixel_value 0"),
            (format!("[{0},{0}]", entry(9, 9.0, false)), "share pixel_value 9"),
        ] {
            let error = kinds(dir.path(), &text).unwrap_err().to_string();
            assert!(error.contains(part) && error.contains("defects_config.json"), "{error}");
        }
        let kinds = Arc::new(kinds(dir.path(), CONFIG).unwrap());
        for (values, part) in [
            ([0; 6], "marks nothing"),
            ([255, 254, 0, 0, 0, 0], "255 and 254"),
            ([9, 0, 0, 0, 0, 0], "the value 9, which"),
        ] {
            let masks = vec![write(dir.path(), "x.png", values)];
            let truth = GroundTruth::Defects { masks, kinds: kinds.clone() };
            let error = truth.read_union(&DecodeOptions::default()).unwrap_err().to_string();
            assert!(error.contains(part) && error.contains("x.png"), "{error}");
        }
    }
}
