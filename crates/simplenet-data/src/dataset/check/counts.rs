//! How much there is of a category.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;

use crate::dataset::{Category, Label};

/// Numbers of images.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CategoryCounts {
    /// The category's name.
    pub name: String,
    /// Where it lies.
    pub path: PathBuf,
    /// Good images to train on.
    pub train: usize,
    /// Good images of the validation set.
    pub validation: usize,
    /// Good test images.
    pub test_good: usize,
    /// Defective test images.
    pub test_anomalous: usize,
    /// The same by defect.
    pub defects: BTreeMap<String, usize>,
    /// Defective test images with ground truth.
    pub masked: usize,
    /// Mask files of these.
    pub mask_files: usize,
    /// Images that are neither trained on nor tested on, by reason.
    pub left_out: BTreeMap<String, usize>,
    /// Images by size, most first.
    pub sizes: Vec<SizeCount>,
    /// Images by kind of pixels.
    pub pixels: BTreeMap<String, usize>,
}

/// Images of one size.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SizeCount {
    /// Width and height.
    pub size: [u32; 2],
    /// How many.
    pub images: usize,
}

impl CategoryCounts {
    pub(super) fn of(category: &Category) -> Self {
        let mut defects = BTreeMap::new();
        for sample in category.test.iter().filter(|sample| sample.label == Label::Anomalous) {
            *defects.entry(sample.defect.clone()).or_insert(0) += 1;
        }
        let (masked, test_anomalous) = category.masked();
        Self {
            name: category.name.clone(),
            path: category.place.path.clone(),
            train: category.train.len(),
            validation: category.validation.len(),
            test_good: category.test.len() - test_anomalous,
            test_anomalous,
            defects,
            masked,
            mask_files: category.test.iter().filter_map(|s| s.mask.as_ref()).map(|m| m.files().len()).sum(),
            left_out: category
                .left_out
                .iter()
                .map(|left| (left.why.to_string(), left.images.len()))
                .collect(),
            sizes: vec![],
            pixels: BTreeMap::new(),
        }
    }

    /// Adds what a header says.
    pub(super) fn see(&mut self, (width, height): (u32, u32), pixels: &str) {
        let size = [width, height];
        match self.sizes.iter_mut().find(|known| known.size == size) {
            Some(known) => known.images += 1,
            None => self.sizes.push(SizeCount { size, images: 1 }),
        }
        *self.pixels.entry(pixels.to_string()).or_insert(0) += 1;
    }

    pub(super) fn sort_sizes(&mut self) {
        self.sizes.sort_by(|a, b| b.images.cmp(&a.images).then(a.size.cmp(&b.size)));
    }
}
