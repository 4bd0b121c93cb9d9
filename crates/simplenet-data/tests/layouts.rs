//! Every layout on the small made-up data set of its kind in `fixtures/`: recognised, counted, labelled, paired.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // helpers of tests

mod common;

use std::path::Path;

use common::{copy, fixture, slashed};
use simplenet_data::{
    Category, DataError, DecodeOptions, Label,
    dataset::{Folders, GroundTruth, LayoutId, SaturationArea, Source, categories, recognise},
};

/// A category of a fixture.
fn load(fixture: &Path, name: Option<&str>) -> Category {
    let source = Source::Path { data: fixture.to_path_buf(), category: name.map(Into::into), layout: None };
    source.load(&DecodeOptions::default()).unwrap_or_else(|e| panic!("{}: {e}", fixture.display()))
}

/// train, validation, good test images, anomalous ones, those with ground truth; left out by reason.
fn counts(category: &Category) -> ([usize; 5], Vec<(&str, usize)>) {
    let (masked, anomalous) = category.masked();
    let good = category.test.len() - anomalous;
    let left_out = category.left_out.iter().map(|left| (left.why, left.images.len())).collect();
    ([category.train.len(), category.validation.len(), good, anomalous, masked], left_out)
}

/// Image, defect and masks of each anomalous test image, relative to the fixture.
fn anomalous(category: &Category, root: &Path) -> Vec<(String, String, Vec<String>)> {
    let below = |path: &Path| slashed(path.strip_prefix(root).unwrap());
    let test = category.test.iter().filter(|sample| sample.label == Label::Anomalous);
    test.map(|sample| {
        let masks = sample.mask.iter().flat_map(GroundTruth::files).map(|mask| below(mask)).collect();
        (below(&sample.path), sample.defect.clone(), masks)
    })
    .collect()
}

#[test]
fn every_fixture_is_recognised_as_what_it_is() {
    for (name, layout, known) in [
        ("mvtec", LayoutId::Mvtec, &["bolt", "cloth"][..]),
        ("mvtec_ad_2", LayoutId::MvtecAd2, &["can"]),
        ("mvtec_loco", LayoutId::MvtecLoco, &["pushpins"]),
        ("btad", LayoutId::Btad, &["01", "02"]),
        ("mvtec_3d", LayoutId::Mvtec3d, &["bagel"]),
        ("real_iad", LayoutId::RealIad, &["cap"]),
        ("real_iad/realiad_256", LayoutId::RealIad, &["cap"]),
        ("real_iad/realiad_jsons_fuiad_0.1/cap.json", LayoutId::RealIad, &["cap"]),
        ("visa", LayoutId::Visa, &["candle", "pcb1"]),
        ("visa/split_csv/2cls_fewshot.csv", LayoutId::Visa, &["candle", "pcb1"]),
        ("kolektor_sdd2", LayoutId::KolektorSdd2, &["kolektor_sdd2"]),
        ("folders", LayoutId::Folders, &["folders"]),
        ("csv/parts.csv", LayoutId::Csv, &["cap", "lid"]),
        ("csv/short.csv", LayoutId::Csv, &["short"]),
    ] {
        let path = fixture(name);
        let found = recognise(&path, None).unwrap();
        let names: Vec<&str> = found.places.iter().map(|place| place.name.as_str()).collect();
        assert_eq!((found.layout, names.as_slice()), (layout, known), "{name}");
        assert!(!found.why.is_empty() && found.absent.is_empty(), "{name}: {found:?}");
        assert_eq!(categories(&path, None).unwrap(), found.places, "{name}");
        // What a record keeps is enough to read each again, and every sample is there.
        for place in &found.places {
            let text = serde_json::to_string(place).unwrap();
            let category = serde_json::from_str::<simplenet_data::dataset::Place>(&text)
                .unwrap()
                .load(&DecodeOptions::default());
            let category = category.unwrap();
            assert!(category.train.iter().all(|s| s.label == Label::Normal && s.mask.is_none()), "{name}");
            assert!(category.samples().all(|sample| sample.path.is_file()), "{name}");
            assert!(
                category.test.iter().all(|s| s.label == Label::Anomalous || s.defect == "good"),
                "{name}"
            );
        }
    }
}

#[test]
fn a_category_folder_is_the_category_of_its_root() {
    for (root, name) in [
        ("mvtec", "bolt"),
        ("mvtec_ad_2", "can"),
        ("mvtec_loco", "pushpins"),
        ("btad", "02"),
        ("mvtec_3d", "bagel"),
        ("real_iad/realiad_256", "cap"),
        ("visa", "candle"),
    ] {
        let of_root = load(&fixture(root), Some(name));
        assert_eq!(of_root, load(&fixture(&format!("{root}/{name}")), None), "{root}");
        let error = categories(&fixture(&format!("{root}/{name}")), None).unwrap_err().to_string();
        assert!(error.contains("is itself a category"), "{error}");
    }
    let unnamed = Source::path(fixture("mvtec")).place().unwrap_err().to_string();
    assert!(unnamed.contains("2 categories (mvtec)") && unnamed.contains("bolt, cloth"), "{unnamed}");
    let source = Source::Path { data: fixture("btad"), category: Some("03".into()), layout: None };
    let unknown = source.place().unwrap_err();
    assert!(
        matches!(&unknown, DataError::NoSuchCategory { known, .. } if known == &["01", "02"]),
        "{unknown}"
    );
}

#[test]
fn numbers_of_every_layout() {
    for (name, category, numbers, left_out) in [
        ("mvtec", Some("bolt"), [3, 0, 1, 3, 3], &[][..]),
        ("mvtec", Some("cloth"), [3, 0, 1, 2, 2], &[]),
        (
            "mvtec_ad_2",
            None,
            [3, 2, 1, 2, 2],
            &[("test_private, no labels", 2), ("test_private_mixed, no labels", 1)],
        ),
        ("mvtec_loco", None, [3, 2, 2, 3, 3], &[]),
        ("btad", Some("01"), [3, 0, 1, 2, 2], &[]),
        ("btad", Some("02"), [2, 0, 1, 1, 1], &[]),
        ("mvtec_3d", None, [3, 2, 1, 2, 2], &[]),
        ("real_iad", None, [3, 0, 3, 2, 2], &[]),
        ("real_iad/realiad_256/cap", None, [3, 0, 3, 2, 2], &[]),
        ("real_iad/realiad_jsons/cap.json", None, [3, 0, 3, 2, 2], &[]),
        ("real_iad/realiad_jsons_fuiad_0.1/cap.json", None, [3, 0, 3, 1, 1], &[("anomalous, in train", 1)]),
        ("visa", Some("candle"), [3, 0, 1, 2, 2], &[]),
        ("visa/split_csv/2cls_highshot.csv", Some("pcb1"), [3, 0, 1, 1, 1], &[("anomalous, in train", 1)]),
        ("kolektor_sdd2", None, [3, 0, 2, 2, 2], &[("copies", 1), ("anomalous, in train", 1)]),
        ("folders", None, [3, 0, 1, 3, 3], &[]),
        ("csv/parts.csv", Some("cap"), [2, 1, 1, 1, 1], &[("no label", 1), ("anomalous, in train", 1)]),
        ("csv/parts.csv", Some("lid"), [2, 1, 1, 1, 1], &[]),
        // Without a split good parts are trained on, and others are tested on.
        ("csv/short.csv", None, [4, 0, 0, 2, 1], &[]),
    ] {
        let found = load(&fixture(name), category);
        assert_eq!(counts(&found), (numbers, left_out.to_vec()), "{name} {category:?}");
    }
}

#[test]
fn masks_belong_to_their_images() {
    /// Image, defect, masks.
    type Expected = (&'static str, &'static str, Vec<&'static str>);
    let cases: [(&str, Option<&str>, Vec<Expected>); 8] = [
        (
            "mvtec_3d",
            None,
            vec![
                ("bagel/test/hole/rgb/000.png", "hole", vec!["bagel/test/hole/gt/000.png"]),
                ("bagel/test/hole/rgb/001.png", "hole", vec!["bagel/test/hole/gt/001.png"]),
            ],
        ),
        (
            "real_iad/realiad_256",
            None,
            vec![
                (
                    "cap/NG/HS/S0000/cap_0000_NG_HS_C1_2023.jpg",
                    "HS",
                    vec!["cap/NG/HS/S0000/cap_0000_NG_HS_C1_2023.png"],
                ),
                (
                    "cap/NG/HS/S0001/cap_0001_NG_HS_C1_2023.jpg",
                    "HS",
                    vec!["cap/NG/HS/S0001/cap_0001_NG_HS_C1_2023.png"],
                ),
            ],
        ),
        (
            "mvtec_loco",
            None,
            vec![
                (
                    "pushpins/test/logical_anomalies/000.png",
                    "logical_anomalies",
                    vec![
                        "pushpins/ground_truth/logical_anomalies/000/000.png",
                        "pushpins/ground_truth/logical_anomalies/000/001.png",
                    ],
                ),
                (
                    "pushpins/test/logical_anomalies/001.png",
                    "logical_anomalies",
                    vec!["pushpins/ground_truth/logical_anomalies/001/000.png"],
                ),
                (
                    "pushpins/test/structural_anomalies/000.png",
                    "structural_anomalies",
                    vec!["pushpins/ground_truth/structural_anomalies/000/000.png"],
                ),
            ],
        ),
        (
            "mvtec_ad_2",
            None,
            vec![
                (
                    "can/test_public/bad/000_regular.png",
                    "bad",
                    vec!["can/test_public/ground_truth/bad/000_regular_mask.png"],
                ),
                (
                    "can/test_public/bad/001_overexposed.png",
                    "bad",
                    vec!["can/test_public/ground_truth/bad/001_overexposed_mask.png"],
                ),
            ],
        ),
        ("btad", Some("02"), vec![("02/test/ko/0000.png", "ko", vec!["02/ground_truth/ko/0000.bmp"])]),
        (
            "visa",
            Some("pcb1"),
            vec![
                ("pcb1/Data/Images/Anomaly/000.JPG", "anomaly", vec!["pcb1/Data/Masks/Anomaly/000.png"]),
                ("pcb1/Data/Images/Anomaly/001.JPG", "anomaly", vec!["pcb1/Data/Masks/Anomaly/001.png"]),
            ],
        ),
        (
            "kolektor_sdd2",
            None,
            vec![
                ("test/10006.png", "defect", vec!["test/10006_GT.png"]),
                ("test/10007.png", "defect", vec!["test/10007_GT.png"]),
            ],
        ),
        (
            "folders",
            None,
            vec![
                ("abnormal/dent/1.png", "dent", vec!["masks/dent/1.png"]),
                ("abnormal/stain/1.png", "stain", vec!["masks/stain/1_mask.png"]),
                ("abnormal/stain/2.jpg", "stain", vec!["masks/2.png"]),
            ],
        ),
    ];
    for (name, category, expected) in cases {
        let found = anomalous(&load(&fixture(name), category), &fixture(name));
        let found: Vec<_> = found
            .iter()
            .map(|(image, defect, masks)| {
                (image.as_str(), defect.as_str(), masks.iter().map(String::as_str).collect::<Vec<_>>())
            })
            .collect();
        assert_eq!(found, expected, "{name}");
    }
}

#[test]
fn the_ground_truth_of_every_anomalous_image_marks_something() {
    for (name, category) in [
        ("mvtec", Some("bolt")),
        ("mvtec_ad_2", None),
        ("mvtec_loco", None),
        ("btad", Some("01")),
        ("mvtec_3d", None),
        ("real_iad", None),
        ("visa", Some("candle")),
        ("kolektor_sdd2", None),
        ("folders", None),
        ("csv/parts.csv", Some("lid")),
    ] {
        for sample in load(&fixture(name), category).test {
            let Some(truth) = sample.mask else { continue };
            let union = truth.read_union(&DecodeOptions::default()).unwrap();
            let marked = union.iter().filter(|&&value| value == 255).count();
            // The square that `make.py` draws, and for the missing part of LOCO's its places.
            assert!(marked >= 36 && marked < union.len(), "{name}: {marked} in {}", sample.path.display());
        }
    }
}

#[test]
fn saturation_areas_of_loco() {
    let category = load(&fixture("mvtec_loco"), None);
    let of = |i: usize| {
        let truth = category.test[i].mask.as_ref().unwrap();
        let defects = truth.read_defects(&DecodeOptions::default()).unwrap();
        defects.into_iter().map(|defect| (defect.kind.name, defect.kind.saturation)).collect::<Vec<_>>()
    };
    // Two good test images come first.
    assert_eq!(
        of(2),
        [
            ("additional_pushpin".to_string(), SaturationArea::Share(1.0)),
            ("missing_pushpin".to_string(), SaturationArea::Pixels(20)),
        ]
    );
    assert_eq!(of(4), [("broken".to_string(), SaturationArea::Share(0.5))]);
}

#[test]
fn folders_are_named_one_by_one_too() {
    let at = |name: &str| vec![fixture(&format!("folders/{name}"))];
    let folders = Folders {
        normal: at("normal"),
        normal_test: at("normal_test"),
        abnormal: at("abnormal"),
        masks: at("masks"),
    };
    let named = Source::Folders(folders).load(&DecodeOptions::default()).unwrap();
    let inside = load(&fixture("folders"), None);
    assert_eq!((&named.train, &named.test), (&inside.train, &inside.test));
    assert_eq!((named.name.as_str(), named.root), ("normal", fixture("folders")));
    // To test on only.
    let folders = Folders { normal_test: at("normal_test"), abnormal: at("abnormal"), ..Folders::default() };
    let tested = Source::Folders(folders).load(&DecodeOptions::default()).unwrap();
    assert_eq!(counts(&tested).0, [0, 0, 1, 3, 0]);
}

#[test]
fn what_has_no_layout_says_what_comes_nearest() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("set");
    copy(&fixture("btad/01"), &root);
    std::fs::rename(root.join("train/ok"), root.join("train/fine")).unwrap();
    let error = recognise(&root, None).unwrap_err();
    assert!(matches!(error, DataError::UnknownLayout { .. }), "{error:?}");
    let message = slashed(Path::new(&error.to_string()));
    assert!(message.contains("train/ok is not a folder"), "{message}");
    assert!(message.contains("btad, without train/ok, comes nearest"), "{message}");
    assert!(matches!(recognise(&dir.path().join("no"), None), Err(DataError::MissingFolder { .. })));
    // A layout that was asked for is not exchanged for another one.
    let forced = recognise(&fixture("mvtec"), Some(LayoutId::Btad)).unwrap_err().to_string();
    assert!(forced.contains("btad"), "{forced}");
    // The tree of AD 2 read as MVTec's has no test folder.
    let forced =
        Source::Path { data: fixture("mvtec_ad_2/can"), category: None, layout: Some(LayoutId::Mvtec) };
    let error = forced.load(&DecodeOptions::default()).unwrap_err().to_string();
    assert!(error.contains("test is not a folder"), "{error}");
}

#[test]
fn what_is_wrong_with_a_list_is_named_by_its_line() {
    let dir = tempfile::tempdir().unwrap();
    copy(&fixture("csv"), dir.path());
    let list = dir.path().join("list.csv");
    for (text, parts) in [
        ("path,label\nphotos/no.png,good\n", &["line 2", "photos/no.png, which is not there"][..]),
        (
            "path,label\nphotos/cap0.png,good\nphotos/cap0.png,good\n",
            &["line 3", "is listed in line 2 already"],
        ),
        ("path,split\nphotos/cap0.png,train\n", &["no column `label`"]),
        ("path,label,split\nphotos/cap0.png,good,later\n", &["line 2", "the split is `later`"]),
        ("path,label\nphotos/cap0.png,good,3\n", &["cannot be read as CSV"]),
        ("path,label\n", &["lists no image"]),
        ("path,label,mask\nphotos/cap_crack.png,crack,masks/no.png\n", &["line 2", "masks/no.png"]),
        ("path,label,mask\nphotos/cap_crack.png,crack,photos/../../x\n", &["line 2", "which is not there"]),
    ] {
        std::fs::write(&list, text).unwrap();
        let error = Source::path(&list).load(&DecodeOptions::default()).unwrap_err().to_string();
        for part in parts {
            assert!(error.contains(part), "{part:?} is not in: {error}");
        }
    }
}
