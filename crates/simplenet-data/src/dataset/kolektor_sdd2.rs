//! The layout of Kolektor SDD2: `train` and `test`, each with `NNNNN.png` and `NNNNN_GT.png`.
//!
//! In: the data set's folder, which is one category. Out: a [`Category`]. An image is anomalous if any pixel of its
//! ground truth is above 0, so all of these are decoded. `train` holds anomalous images too: they are left out. So are
//! the copies that the published archive holds by mistake (`10301 (copy).png`).

use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::{
    Category, GroundTruth, Label, Layout, LayoutId, Place, Problems, Sample, Sign, list,
    pairing::{check_sizes, compare_sizes},
    require_folder, require_images,
};
use crate::decode::{DecodeOptions, decode_labels};
use crate::error::DataError;

/// The end of a ground truth's stem.
const SUFFIX: &str = "_GT";
/// The end of a stem that a file manager made.
const COPY: &str = " (copy)";
/// How the test images' defects are called: the data set tells no kinds.
const DEFECT: &str = "defect";

/// The layout.
pub(super) struct KolektorSdd2;

impl Layout for KolektorSdd2 {
    fn id(&self) -> LayoutId {
        LayoutId::KolektorSdd2
    }

    fn description(&self) -> &'static str {
        "Kolektor SDD2: train and test with NNNNN.png and NNNNN_GT.png"
    }

    fn signs(&self, folder: &Path) -> Vec<Sign> {
        let has_ground_truth = |name: &str| {
            let entries = std::fs::read_dir(folder.join(name)).into_iter().flatten().flatten();
            entries.map(|entry| entry.path()).any(|path| stem(&path).ends_with(SUFFIX))
        };
        ["train", "test"]
            .map(|name| Sign {
                what: format!("{name}/*{SUFFIX}.png"),
                found: has_ground_truth(name),
                needed: name == "train",
            })
            .to_vec()
    }

    fn scan(
        &self,
        place: &Place,
        decode: &DecodeOptions,
        problems: &mut Problems<'_>,
    ) -> Result<Category, DataError> {
        let mut category = Category::new(place, &place.path);
        let train = split(&place.path.join("train"), decode, &mut category, problems)?;
        let (good, anomalous) = train.into_iter().partition(|sample| sample.label == Label::Normal);
        category.train = good;
        let anomalous: Vec<Sample> = anomalous;
        category
            .others
            .extend(anomalous.iter().filter_map(|s| s.mask.as_ref()).flat_map(|m| m.files().to_vec()));
        compare_sizes(&anomalous, decode, problems)?;
        category.leave_out("anomalous, in train", anomalous.into_iter().map(|sample| sample.path).collect());
        category.test = split(&place.path.join("test"), decode, &mut category, problems)?;
        require_images(
            &category.train.iter().map(|sample| sample.path.clone()).collect::<Vec<_>>(),
            &place.path.join("train"),
            "images of good parts to train on",
        )
        .or_else(&mut *problems)?;
        check_sizes(&mut category, decode, problems)?;
        Ok(category)
    }
}

/// The samples of `train` or `test`; masks of good images go to the category's other files.
fn split(
    dir: &Path,
    decode: &DecodeOptions,
    category: &mut Category,
    problems: &mut Problems<'_>,
) -> Result<Vec<Sample>, DataError> {
    if let Err(missing) = require_folder(dir, "the images and their ground truth, NNNNN.png and NNNNN_GT.png")
    {
        problems(missing)?;
        return Ok(vec![]);
    }
    let (files, _) = list(dir)?;
    let (copies, files): (Vec<PathBuf>, Vec<PathBuf>) =
        files.into_iter().partition(|path| stem(path).ends_with(COPY));
    let (copied_masks, copies) =
        copies.into_iter().partition(|path| stem(path).trim_end_matches(COPY).ends_with(SUFFIX));
    category.others.extend::<Vec<PathBuf>>(copied_masks);
    category.leave_out("copies", copies);
    let (masks, images): (Vec<PathBuf>, Vec<PathBuf>) =
        files.into_iter().partition(|path| stem(path).ends_with(SUFFIX));
    let mut masks: std::collections::BTreeMap<String, PathBuf> =
        masks.into_iter().map(|mask| (stem(&mask).trim_end_matches(SUFFIX).to_string(), mask)).collect();
    let paired: Vec<(PathBuf, Option<PathBuf>)> = images
        .into_iter()
        .map(|image| {
            let mask = masks.remove(&stem(&image));
            (image, mask)
        })
        .collect();
    for (stem, mask) in masks {
        problems(DataError::MaskWithoutImage { mask, stem, folder: dir.to_path_buf() })?;
    }
    let marks: Vec<Option<Result<bool, DataError>>> = paired
        .par_iter()
        .map(|(_, mask)| {
            let labels = decode_labels(mask.as_deref()?, decode);
            Some(labels.map(|labels| labels.iter().any(|&value| value > 0)))
        })
        .collect();
    let mut samples = vec![];
    for ((image, mask), marks) in paired.into_iter().zip(marks) {
        match (mask, marks) {
            (Some(mask), Some(Ok(true))) => {
                samples.push(Sample::anomalous(image, DEFECT, Some(GroundTruth::above_zero(mask))));
            }
            (Some(mask), Some(Ok(false))) => {
                category.others.push(mask);
                samples.push(Sample::normal(image));
            }
            (Some(mask), Some(Err(error))) => {
                category.others.extend([image, mask]);
                problems(error)?;
            }
            _ => {
                let expected = dir.join(format!("{}{SUFFIX}.png", stem(&image)));
                category.others.push(image.clone());
                problems(DataError::NoGroundTruth { path: image, expected })?;
            }
        }
    }
    Ok(samples)
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}
