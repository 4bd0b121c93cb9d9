//! `check` on the fixtures: nothing is wrong with them, and every way to break one is found and named, all at once.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // helpers of tests

mod common;

use std::fs;
use std::path::Path;

use common::{copy, fixture};
use image::{GrayImage, RgbImage};
use simplenet_data::dataset::{
    CheckOptions, CheckReport, Source, check,
    check::{Depth, Finding},
};

fn report(path: &Path, depth: Depth) -> CheckReport {
    let found = Source::path(path).recognise().unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let options = CheckOptions { depth, ..CheckOptions::default() };
    let report = check(path, &found, &options, &|done, total| assert!(done <= total));
    // What is written as JSON is all of it.
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["problems"].as_array().unwrap().len(), report.problems.len());
    report
}

fn kinds(findings: &[Finding]) -> Vec<&str> {
    let mut kinds: Vec<&str> = findings.iter().map(|finding| finding.kind).collect();
    kinds.sort_unstable();
    kinds
}

#[test]
fn nothing_is_wrong_with_the_fixtures() {
    for (name, notes) in [
        ("mvtec", &["few-images", "few-images"][..]),
        ("mvtec_ad_2", &["few-images", "few-images", "left-out", "left-out"]),
        ("mvtec_loco", &["few-images", "few-images"]),
        ("btad", &["few-images", "few-images"]),
        ("mvtec_3d", &["few-images", "few-images"]),
        ("real_iad", &["few-images"]),
        ("visa", &["few-images", "few-images"]),
        ("visa/candle", &["few-images"]),
        ("kolektor_sdd2", &["duplicate", "few-images", "left-out", "left-out"]),
        ("folders", &["few-images"]),
        ("csv/parts.csv", &["few-images", "few-images", "few-images", "few-images", "left-out", "left-out"]),
        ("folders/normal", &["few-images", "no-test"]),
    ] {
        let report = report(&fixture(name), Depth::Pixels);
        assert!(report.problems.is_empty(), "{name}: {:?}", report.problems);
        assert_eq!(kinds(&report.notes), notes, "{name}: {:?}", report.notes);
    }
}

#[test]
fn everything_is_counted() {
    let report = report(&fixture("mvtec"), Depth::Headers);
    let bolt = &report.categories[0];
    assert_eq!((bolt.name.as_str(), bolt.train, bolt.test_good, bolt.test_anomalous), ("bolt", 3, 1, 3));
    assert_eq!(
        bolt.defects.clone().into_iter().collect::<Vec<_>>(),
        [("bent".into(), 1), ("scratch".into(), 2)]
    );
    assert_eq!((bolt.masked, bolt.mask_files), (3, 3));
    assert_eq!((bolt.sizes[0].size, bolt.sizes[0].images), ([24, 16], 7));
    assert_eq!(bolt.pixels["RGB, 8 bit"], 7);
    let loco = self::report(&fixture("mvtec_loco"), Depth::Headers);
    assert_eq!((loco.categories[0].masked, loco.categories[0].mask_files), (3, 4));
}

/// What is done to a copy of a fixture, and the kind and words of the only problem that follows.
type Case = (&'static str, fn(&Path), &'static str, &'static str);

fn each_is_found(cases: &[Case]) {
    for (name, change, kind, words) in cases {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("set");
        copy(&fixture(name), &root);
        change(&root);
        let report = report(&root, Depth::Pixels);
        let [problem] = report.problems.as_slice() else { panic!("{name}, {kind}: {:?}", report.problems) };
        assert_eq!(problem.kind, *kind, "{name}: {}", problem.message);
        assert!(problem.message.contains(words), "{name}: {words:?} is not in: {}", problem.message);
        assert!(!problem.message.contains("/set/"), "{name}: not relative: {}", problem.message);
    }
}

fn save_mask(path: &Path, width: u32, height: u32, value: u8) {
    GrayImage::from_pixel(width, height, image::Luma([value])).save(path).unwrap();
}

#[test]
fn masks_that_are_wrong() {
    each_is_found(&[
        (
            "mvtec",
            |r| save_mask(&r.join("bolt/ground_truth/bent/007_mask.png"), 24, 16, 255),
            "mask-without-image",
            "bolt/ground_truth/bent/007_mask.png has no image",
        ),
        (
            "mvtec",
            |r| fs::remove_file(r.join("bolt/ground_truth/bent/000_mask.png")).unwrap(),
            "image-without-mask",
            "bolt/test/bent/000.png is anomalous and has no mask",
        ),
        (
            "btad",
            |r| save_mask(&r.join("01/ground_truth/ko/0001.png"), 16, 24, 255),
            "mask-size",
            "01/ground_truth/ko/0001.png is 16 x 24",
        ),
        (
            "mvtec_ad_2",
            |r| save_mask(&r.join("can/test_public/ground_truth/bad/000_regular_mask.png"), 24, 16, 0),
            "empty-mask",
            "000_regular_mask.png marks nothing",
        ),
        (
            "mvtec_loco",
            |r| save_mask(&r.join("pushpins/ground_truth/logical_anomalies/001/000.png"), 24, 16, 7),
            "defect-mask",
            "holds the value 7",
        ),
        (
            "mvtec_loco",
            |r| fs::remove_dir_all(r.join("pushpins/test/structural_anomalies")).unwrap(),
            "mask-without-image",
            "structural_anomalies/000/000.png has no image",
        ),
        (
            "mvtec_loco",
            |r| {
                let config = r.join("pushpins/defects_config.json");
                let text = fs::read_to_string(&config).unwrap();
                fs::write(config, text.replace("253", "252")).unwrap();
            },
            "defect-mask",
            "which pushpins/defects_config.json does not list",
        ),
        (
            "kolektor_sdd2",
            |r| fs::remove_file(r.join("train/10000_GT.png")).unwrap(),
            "image-without-ground-truth",
            "train/10000.png has no ground truth",
        ),
        (
            "folders",
            |r| {
                fs::rename(r.join("masks/2.png"), r.join("masks/1.png")).unwrap();
                fs::remove_file(r.join("abnormal/stain/2.jpg")).unwrap();
            },
            "ambiguous-name",
            "both go by the name 1",
        ),
    ]);
}

#[test]
fn images_that_are_wrong() {
    each_is_found(&[
        (
            "mvtec",
            |r| {
                let path = r.join("cloth/train/good/001.png");
                let bytes = fs::read(&path).unwrap();
                fs::write(path, &bytes[..bytes.len() - 30]).unwrap();
            },
            "unreadable-file",
            "cloth/train/good/001.png is truncated",
        ),
        (
            "mvtec_ad_2",
            |r| fs::write(r.join("can/test_private/000.png"), "").unwrap(),
            "unreadable-file",
            "can/test_private/000.png is empty",
        ),
        (
            "visa",
            |r| fs::write(r.join("candle/Data/Images/Anomaly/000.JPG"), "text").unwrap(),
            "unreadable-file",
            "candle/Data/Images/Anomaly/000.JPG is not a PNG",
        ),
        (
            "visa",
            |r| fs::remove_file(r.join("candle/Data/Images/Normal/0003.JPG")).unwrap(),
            "listed-file-missing",
            "candle/Data/Images/Normal/0003.JPG, which is not there",
        ),
        (
            "mvtec",
            |r| RgbImage::new(24, 16).save(r.join("bolt/test/000.png")).unwrap(),
            "image-without-label",
            "bolt/test/000.png lies beside",
        ),
        (
            "mvtec",
            |r| {
                fs::copy(r.join("bolt/train/good/002.png"), r.join("bolt/test/good/009.png")).unwrap();
            },
            "leak",
            "bolt/train/good/002.png = bolt/test/good/009.png",
        ),
        (
            "mvtec_loco",
            |r| {
                let p = r.join("pushpins");
                fs::copy(p.join("train/good/000.png"), p.join("validation/good/9.png")).unwrap();
            },
            "leak",
            "in the validation set and in another",
        ),
        (
            "folders",
            |r| {
                fs::remove_dir_all(r.join("masks")).unwrap();
                fs::copy(r.join("normal_test/7.png"), r.join("abnormal/dent/7.png")).unwrap();
            },
            "contradiction",
            "normal_test/7.png = abnormal/dent/7.png",
        ),
    ]);
}

#[test]
fn what_is_missing() {
    each_is_found(&[
        (
            "mvtec",
            |r| {
                for name in ["000", "001"] {
                    fs::remove_file(r.join(format!("bolt/train/good/{name}.png"))).unwrap();
                }
            },
            "too-few-images",
            "1 good images to train on",
        ),
        (
            "folders",
            |r| fs::remove_dir_all(r.join("normal_test")).unwrap(),
            "no-good-test-images",
            "no image AUROC",
        ),
        (
            "mvtec_ad_2",
            |r| fs::remove_dir_all(r.join("can/validation")).unwrap(),
            "missing-folder",
            "can/validation/good is not a folder",
        ),
        (
            "mvtec",
            |r| {
                fs::create_dir(r.join("bolt/test/hole")).unwrap();
            },
            "empty-folder",
            "bolt/test/hole holds no",
        ),
        (
            "visa",
            |r| {
                let split = r.join("split_csv/1cls.csv");
                let text = fs::read_to_string(&split).unwrap();
                fs::write(
                    split,
                    text.replace(
                        ",normal,candle/Data/Images/Normal/0002",
                        ",fine,candle/Data/Images/Normal/0002",
                    ),
                )
                .unwrap();
            },
            "list",
            "the label is `fine`",
        ),
    ]);
}

#[test]
fn all_that_is_wrong_is_listed_and_not_only_the_first() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("set");
    copy(&fixture("mvtec"), &root);
    for i in 0..20 {
        save_mask(&root.join(format!("bolt/ground_truth/scratch/1{i:02}_mask.png")), 24, 16, 255);
    }
    fs::remove_file(root.join("cloth/ground_truth/scratch/001_mask.png")).unwrap();
    fs::write(root.join("cloth/train/good/000.png"), "text").unwrap();
    let report = report(&root, Depth::Headers);
    let found = kinds(&report.problems);
    assert_eq!(found.iter().filter(|kind| **kind == "mask-without-image").count(), 20);
    assert!(found.contains(&"image-without-mask") && found.contains(&"unreadable-file"), "{found:?}");
    assert_eq!(found.len(), 22);
    assert!(report.problems.iter().any(|problem| problem.category == "cloth"));
}

#[test]
fn what_may_be_meant_is_a_note() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("set");
    copy(&fixture("mvtec"), &root);
    let bolt = root.join("bolt");
    RgbImage::from_pixel(20, 20, image::Rgb([3; 3])).save(bolt.join("train/good/bent_one.png")).unwrap();
    RgbImage::from_pixel(20, 20, image::Rgb([4; 3])).save(bolt.join("train/good/ng-4.png")).unwrap();
    image::ImageBuffer::from_pixel(24, 16, image::Luma([9000u16]))
        .save(bolt.join("train/good/wide.png"))
        .unwrap();
    fs::copy(bolt.join("train/good/000.png"), bolt.join("train/good/again.png")).unwrap();
    fs::create_dir_all(bolt.join("train/bad")).unwrap();
    RgbImage::new(5, 5).save(bolt.join("train/bad/0.png")).unwrap();
    RgbImage::new(6, 5).save(bolt.join("spare.png")).unwrap();
    fs::write(bolt.join("photo.heic"), "x").unwrap();
    fs::create_dir_all(bolt.join("@eaDir")).unwrap();
    fs::write(bolt.join("@eaDir/0.jpg"), "x").unwrap();
    fs::write(bolt.join("train/good/.hidden.png"), "x").unwrap();
    fs::remove_dir_all(root.join("cloth/ground_truth")).unwrap();
    let report = report(&root, Depth::Pixels);
    assert!(report.problems.is_empty(), "{:?}", report.problems);
    for (kind, words) in [
        ("suspicious-name", "bolt/train/good/ng-4.png is trained on as good, and its name says `ng`"),
        ("mixed-sizes", "24 x 16 (9), 20 x 20 (2)"),
        ("mixed-pixels", "RGB, 8 bit (10), gray, 16 bit (1)"),
        ("duplicate", "bolt/train/good/000.png = bolt/train/good/again.png"),
        ("images-beside-training", "bolt/train/bad holds 1 image not trained on: 0.png"),
        ("unused-images", "bolt holds 1 image that nothing uses: spare.png"),
        ("other-file", "bolt/photo.heic"),
        ("hidden", "bolt/train/good/.hidden.png"),
        ("passed-over", "bolt/@eaDir is passed over: of a NAS"),
        ("no-masks", "none of 2 anomalous images has a mask"),
    ] {
        let found: Vec<&Finding> = report.notes.iter().filter(|note| note.kind == kind).collect();
        assert!(
            found.iter().any(|note| note.message.contains(words)),
            "{kind}, {words:?}: {:?}",
            report.notes
        );
        assert_eq!(found.len(), 1, "{kind}: {found:?}");
    }
}
