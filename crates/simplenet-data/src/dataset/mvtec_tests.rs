//! Tests of the MVTec layout, on small trees made for each.

use super::super::*;
use super::*;
use image::{GrayImage, RgbImage};

/// A tree of images; a name may end in `@WxH` for another size than 8 x 6, in `/` for an empty folder.
fn tree(names: &[&str]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for name in names {
        let (name, size) = name.split_once('@').unwrap_or((name, "8x6"));
        let path = dir.path().join(name);
        if name.ends_with('/') {
            std::fs::create_dir_all(path).unwrap();
            continue;
        }
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let (w, h) = size.split_once('x').unwrap();
        let (w, h) = (w.parse().unwrap(), h.parse().unwrap());
        if name.contains("ground_truth") {
            GrayImage::new(w, h).save(path).unwrap();
        } else {
            RgbImage::new(w, h).save(path).unwrap();
        }
    }
    dir
}

const PLAIN: [&str; 5] = [
    "train/good/000.png",
    "test/good/000.png",
    "test/scratch/000.png",
    "test/scratch/001.png",
    "ground_truth/scratch/000_mask.png",
];

/// The plain tree with more files.
fn with(more: &[&str]) -> tempfile::TempDir {
    tree(&[&PLAIN, more].concat())
}

/// The error of a tree: its message must name every one of the parts.
fn refused(dir: &tempfile::TempDir, parts: &[&str]) -> DataError {
    let error = load_category(dir.path()).unwrap_err();
    let message = error.to_string().replace('\\', "/");
    for part in parts {
        assert!(message.contains(part), "{part:?} is not in: {message}");
    }
    error
}

#[test]
fn samples_labels_and_masks_in_byte_order() {
    let dir = tree(&[
        "train/good/b.JPG",
        "train/good/a.png",
        "train/good/B.bmp",
        "test/good/2.png",
        "test/good/10.png",
        "test/Zebra/x.tiff",
        "test/hole/1.png@5x7",
        "test/hole/2.png",
        "test/hole/3_mask.png",
        "ground_truth/hole/1.png@5x7",
        "ground_truth/hole/2_mask.bmp",
        "ground_truth/hole/3_mask.png",
        "ground_truth/good/2_mask.png",
    ]);
    for clutter in ["train/good/.DS_Store", "train/good/notes.txt", "test/hole/._1.png", "test/readme.md"] {
        std::fs::write(dir.path().join(clutter), "x").unwrap();
    }
    let category = load_category(dir.path()).unwrap();
    let name = |p: &Path| p.strip_prefix(dir.path()).unwrap().display().to_string().replace('\\', "/");
    let train: Vec<String> = category.train.iter().map(|s| name(&s.path)).collect();
    assert_eq!(train, ["train/good/B.bmp", "train/good/a.png", "train/good/b.JPG"]);
    assert!(category.train.iter().all(|s| s.label == Label::Normal && s.defect == GOOD && s.mask.is_none()));
    let test: Vec<(String, Label, &str, Option<String>)> = category
        .test
        .iter()
        .map(|s| (name(&s.path), s.label, s.defect.as_str(), s.mask.as_ref().map(|m| name(&m.files()[0]))))
        .collect();
    let row = |path: &str, label, defect, mask: Option<&str>| {
        (path.to_string(), label, defect, mask.map(|m| format!("ground_truth/hole/{m}")))
    };
    assert_eq!(
        test,
        [
            row("test/Zebra/x.tiff", Label::Anomalous, "Zebra", None),
            row("test/good/10.png", Label::Normal, GOOD, None),
            row("test/good/2.png", Label::Normal, GOOD, None),
            row("test/hole/1.png", Label::Anomalous, "hole", Some("1.png")),
            row("test/hole/2.png", Label::Anomalous, "hole", Some("2_mask.bmp")),
            row("test/hole/3_mask.png", Label::Anomalous, "hole", Some("3_mask.png")),
        ]
    );
    assert_eq!(category.masked(), (3, 4));
    assert_eq!(category.name, dir.path().file_name().unwrap().to_string_lossy());
    assert_eq!(load_category(dir.path()).unwrap(), category);
}

#[test]
fn without_ground_truth_there_are_image_labels_only() {
    let dir = tree(&PLAIN[..4]);
    assert_eq!(load_category(dir.path()).unwrap().masked(), (0, 2));
}

#[test]
fn missing_and_empty_folders() {
    refused(&tree(&["test/good/0.png"]), &["train/good is not a folder", "good parts to train on"]);
    refused(
        &tree(&["train/good/", "test/good/0.png"]),
        &["train/good holds no PNG, JPEG, BMP, TIFF, WebP or PNM"],
    );
    refused(&tree(&["train/good/0.png"]), &["test is not a folder", "give the folder of good images"]);
    refused(&tree(&["train/good/0.png", "test/"]), &["test holds no", "test/<defect>"]);
    refused(&with(&["test/dent/"]), &["test/dent holds no", "remove the folder"]);
    let dir = with(&[]);
    let missing = load_category(&dir.path().join("bottle")).unwrap_err();
    assert!(matches!(missing, DataError::MissingFolder { .. }), "{missing}");
    std::fs::remove_dir_all(dir.path().join("ground_truth")).unwrap();
    std::fs::write(dir.path().join("ground_truth"), "a file").unwrap();
    refused(&dir, &["ground_truth is not a folder"]);
}

#[test]
fn masks_that_fit_no_image() {
    let error = refused(
        &with(&["ground_truth/scratch/007_mask.png"]),
        &["007_mask.png", "named 007 in", "test/scratch"],
    );
    assert!(matches!(error, DataError::MaskWithoutImage { .. }));
    refused(&with(&["ground_truth/dent/000_mask.png"]), &["dent/000_mask.png has no image", "test/dent"]);
    // Two masks for one image, two images for one mask.
    refused(&with(&["ground_truth/scratch/000.png"]), &["000.png", "000_mask.png", "unclear"]);
    refused(&with(&["test/scratch/000.jpg"]), &["000.jpg", "000.png", "unclear"]);
    // Two images of one name without a mask are no trouble.
    assert!(load_category(with(&["test/scratch/001.jpg"]).path()).is_ok());
}

#[test]
fn masks_of_another_size() {
    let dir = with(&["ground_truth/scratch/001_mask.png@6x8"]);
    let error = refused(&dir, &["001_mask.png is 6 x 8", "001.png is 8 x 6"]);
    assert!(matches!(error, DataError::MaskSize { .. }));
}

#[test]
fn the_size_of_a_turned_photograph_depends_on_the_options() {
    use crate::decode::Exif;
    let dir = with(&["ground_truth/scratch/photo.png@6x8"]);
    let jpeg = crate::decode::tests::jpeg_with_orientation(8, 6, 6);
    std::fs::write(dir.path().join("test/scratch/photo.jpg"), jpeg).unwrap();
    assert!(load_category(dir.path()).is_ok());
    let ignored = DecodeOptions { exif: Exif::Ignore, ..DecodeOptions::default() };
    assert!(matches!(load_category_with(dir.path(), &ignored), Err(DataError::MaskSize { .. })));
}

#[test]
fn masks_of_turned_photographs() {
    // Stored 8 x 6. Of a quarter the mask's size tells how it was drawn, of half a turn nothing does: that is noted.
    for (orientation, mask, notes) in [(6, "8x6", 0), (6, "6x8", 0), (3, "8x6", 1), (1, "8x6", 0)] {
        let dir = with(&[&format!("ground_truth/scratch/photo.png@{mask}")]);
        let jpeg = crate::decode::tests::jpeg_with_orientation(8, 6, orientation);
        std::fs::write(dir.path().join("test/scratch/photo.jpg"), jpeg).unwrap();
        let category = load_category(dir.path()).unwrap();
        assert_eq!(category.notes.len(), notes, "{orientation}, {mask}: {:?}", category.notes);
        assert!(
            category.notes.iter().all(|note| note.kind == "turned-masks" && note.message.contains("EXIF"))
        );
    }
}

#[test]
fn damaged_masked_images_show_before_a_training() {
    for (content, part) in
        [("", "is empty (0 bytes)"), ("a text", "is not a PNG, JPEG, BMP, TIFF, WebP or PNM image")]
    {
        let dir = with(&[]);
        std::fs::write(dir.path().join("test/scratch/000.png"), content).unwrap();
        refused(&dir, &["test/scratch/000.png", part]);
    }
}

#[test]
fn an_image_beside_the_defect_folders_has_no_label() {
    refused(&with(&["test/stray.png"]), &["test/stray.png", "move it to test/good or to test/<defect>"]);
}

#[test]
fn categories_are_sorted_and_a_category_given_as_root_is_explained() {
    let dir =
        tree(&["zipper/train/good/0.png", "Bottle/train/good/0.png", "cable/train/good/0.png", "docs/x.png"]);
    let found = list_categories(dir.path()).unwrap();
    let names: Vec<String> = found.iter().map(|p| last_name(p)).collect();
    assert_eq!(names, ["Bottle", "cable", "zipper"]);
    let error = list_categories(&dir.path().join("zipper")).unwrap_err();
    assert!(error.to_string().contains("itself a category"), "{error}");
    assert!(list_categories(&dir.path().join("docs")).unwrap_err().to_string().contains("check the path"));
    assert!(matches!(list_categories(&dir.path().join("no")), Err(DataError::MissingFolder { .. })));
}
