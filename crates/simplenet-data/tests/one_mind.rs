//! `data check` and `train` are of one mind about every folder: both accept it with the same numbers, or both refuse it with
//! the same words. And the shapes of folders that people have.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // helpers of tests

mod common;

use std::path::{Path, PathBuf};

use common::slashed;
use image::{GrayImage, Luma, Rgb, RgbImage};
use simplenet_data::{
    Category, DecodeOptions, Label,
    dataset::{
        CheckOptions, Folders, Source, check,
        folder::{load_good, load_normal},
    },
};

/// A tree of pictures: `name*3` is three of them, `name` without ending a folder of it; what lies in a folder of masks, or is
/// called so, is a mask.
fn tree(names: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let mut seed = 0u8;
    for name in names.split_whitespace() {
        let (folder, count) = name.split_once('*').unwrap_or((name, "2"));
        let root = dir.path().join("set").join(folder.trim_start_matches('.'));
        std::fs::create_dir_all(&root).unwrap();
        for i in 0..count.parse::<usize>().unwrap() {
            seed = seed.wrapping_add(1);
            if ["mask", "MASK", "ground_truth", "gt"].iter().any(|word| folder.contains(word)) {
                mask(&root.join(format!("{i}.png")));
            } else {
                RgbImage::from_fn(24, 16, |x, y| Rgb([(x * 9 + y * 3) as u8 ^ seed, seed, (y * 12) as u8]))
                    .save(root.join(format!("{i}.png")))
                    .unwrap();
            }
        }
    }
    dir
}

fn mask(path: &Path) {
    GrayImage::from_fn(24, 16, |x, y| Luma([if (4..9).contains(&x) && y < 6 { 255 } else { 0 }]))
        .save(path)
        .unwrap();
}

/// Training images, good and anomalous test images, of these with a mask.
fn numbers(category: &Category) -> [usize; 4] {
    let (masked, anomalous) = category.masked();
    [category.train.len(), category.test.len() - anomalous, anomalous, masked]
}

/// What `data check` and what `train` say of a source: numbers, or the words of the refusal. They must be the same.
fn said(source: &Source) -> Result<[usize; 4], String> {
    let trained =
        source.load(&DecodeOptions::default()).map(|category| numbers(&category)).map_err(|e| e.to_string());
    let checked = match source.recognise() {
        Err(error) => Err(error.to_string()),
        Ok(found) => {
            let report = check(&found.places[0].path, &found, &CheckOptions::default(), &|_, _| {});
            let of = &report.categories[0];
            let stops = [
                "other-parts",
                "unclear-name",
                "missing-folder",
                "empty-folder",
                "image-without-label",
                "list",
                "listed-file-missing",
            ];
            match report.problems.iter().find(|problem| stops.contains(&problem.kind)) {
                Some(problem) => Err(problem.message.clone()),
                None => Ok([of.train, of.test_good, of.test_anomalous, of.masked]),
            }
        }
    };
    match (&trained, &checked) {
        // `check` gives paths below what it checks.
        (Err(one), Err(other)) => {
            let above = if let Source::Path { data, .. } = source { data.clone() } else { PathBuf::new() };
            let above = if above.is_file() { above.parent().unwrap().to_path_buf() } else { above };
            let below = |text: &str| text.replace(&format!("{}/", above.display()), "");
            assert_eq!(below(one), below(other));
        }
        _ => assert_eq!(trained, checked, "{source:?}"),
    }
    trained
}

/// Numbers, or words of the refusal.
type Expected = Result<[usize; 4], &'static [&'static str]>;

#[test]
fn check_and_train_agree_about_every_shape() {
    let refused = |words: &'static [&'static str]| Err(words);
    #[rustfmt::skip]
    let shapes: [(&str, Expected); 29] = [
        (".*5", Ok([5, 0, 0, 0])),
        ("batch1 batch2*3", Ok([5, 0, 0, 0])),
        ("OK", Ok([2, 0, 0, 0])),
        ("train/good", refused(&["test is not a folder", "give the folder of good"])),
        ("train/good*3 test/good test/hole", Ok([3, 2, 2, 0])),
        ("train/Good*3 test/GOOD test/hole ground_truth/hole", Ok([3, 2, 2, 2])),
        ("train/OK*3 test/OK test/NG ground_truth/NG", Ok([3, 2, 2, 2])),
        ("train/normal*3 test/normal test/abnormal", Ok([3, 2, 2, 0])),
        ("train/iO*3 test/pass test/fail", Ok([3, 2, 2, 0])),
        ("Train/good*3 Test/good Test/hole Ground_Truth/hole", Ok([3, 2, 2, 2])),
        ("train/good/day1*3 train/good/day2 test/good/a test/hole/b", Ok([5, 2, 2, 0])),
        ("normal*3 abnormal", Ok([3, 0, 2, 0])),
        ("Normal*3 Abnormal masks", Ok([3, 0, 2, 2])),
        ("OK*3 NG", refused(&["set is to hold good parts only", "NG (2 images)", "--normal ", "set/OK", "--abnormal ", "set/NG"])),
        ("OK*3 NG MASK", refused(&["--masks ", "set/MASK"])),
        ("good bad", refused(&["bad (2 images)", "set/good --abnormal ", "set/bad"])),
        ("good scratch", refused(&["scratch (2 images)"])),
        ("good hole", refused(&["hole (2 images)"])),
        (".*3 NG*1", refused(&["NG (1 image)", "move out of"])),
        ("day1 day2 defects", refused(&["defects (2 images)", "set/day1 ", "set/day2"])),
        ("day1/parts day1/NG day2", refused(&["day1/NG (2 images)", "name their folders too"])),
        ("parts ground_truth", refused(&["train/good is not a folder", "mvtec"])),
        ("parts masks", refused(&["masks (2 images)", "set/parts"])),
        ("train/fine*3 test/good", refused(&["train/good is not a folder", "mvtec"])),
        ("train/good_ones*3 test/good test/x", refused(&["call good_ones so if its parts are good"])),
        ("train/good*3 train/OK test/good test/x", refused(&["both called as good parts are"])),
        ("train/good*3 test/good test/good_later test/x", refused(&["good_later", "good parts or defective"])),
        ("train/good*3 test/negative test/positive", refused(&["negative", "good parts or defective"])),
        ("train/good*3 train/good/NG test/good test/x", refused(&["NG (2 images)", "move "])),
    ];
    for (names, expected) in shapes {
        let dir = tree(names);
        let found = said(&Source::path(dir.path().join("set")));
        match (&found, expected) {
            (Ok(found), Ok(expected)) => assert_eq!(*found, expected, "{names}"),
            (Err(message), Err(words)) => {
                let message = slashed(Path::new(message));
                words.iter().for_each(|word| {
                    assert!(message.contains(word), "{names}: {word:?} is not in: {message}")
                });
            }
            _ => panic!("{names}: {found:?}"),
        }
        // The same with --normal: only what holds good parts and nothing else.
        let named = said(&Source::Folders(Folders::of_good([dir.path().join("set")])));
        let good_only =
            [".*5", "batch1 batch2*3", "OK", "train/good", "train/fine*3 test/good"].contains(&names);
        match named {
            Ok([train, ..]) => assert!(good_only && train > 0, "{names} is taken for good parts"),
            Err(message) => assert!(!good_only || names.contains("test"), "{names}: {message}"),
        }
    }
}

#[test]
fn the_message_names_the_data_set_and_the_way_out_works() {
    let dir = tree("part/train/good*3 part/test/good part/test/NG part/ground_truth/NG");
    let part = dir.path().join("set/part");
    let error = load_normal(&part).unwrap_err().to_string();
    for words in [
        "ground_truth (2 images), test (4 images)",
        "mvtec layout: give --data ",
        "set/part, or only",
        "train/good",
    ] {
        assert!(slashed(Path::new(&error)).contains(words), "{words:?}: {error}");
    }
    let above = load_normal(&dir.path().join("set")).unwrap_err().to_string();
    assert!(above.contains("--category part"), "{above}");
    // Good parts in a folder of such a name: naming it too says so, and each image is taken once.
    let dir = tree(".*3 NG*2");
    let root = dir.path().join("set");
    assert!(load_normal(&root).is_err());
    assert_eq!(load_good(&[root.clone(), root.join("NG")]).unwrap().train.len(), 5);
    assert_eq!(load_normal(&root.join("NG")).unwrap().train.len(), 2);
    // Defective parts: good ones and masks below are refused.
    let dir = tree("good NG/a NG/b/masks");
    let root = dir.path().join("set");
    let of = |abnormal: &Path, masks: &[PathBuf]| {
        let folders = Folders {
            normal_test: vec![root.join("good")],
            abnormal: vec![abnormal.to_path_buf()],
            masks: masks.to_vec(),
            ..Folders::default()
        };
        said(&Source::Folders(folders))
    };
    assert!(of(&root, &[]).unwrap_err().contains("good (2 images)"));
    assert!(of(&root.join("NG"), &[]).unwrap_err().contains("masks (2 images)"));
    assert_eq!(of(&root.join("NG/a"), &[root.join("NG/b/masks")]).unwrap(), [0, 2, 2, 2]);
}

#[test]
fn several_folders_are_one_set() {
    let dir = tree("day1*2 day2*3 later*1 NG1/hole*2 NG2*1 masks/hole*2");
    let at = |name: &str| dir.path().join("set").join(name);
    let folders = Folders {
        normal: vec![at("day1"), at("day2")],
        normal_test: vec![at("later")],
        abnormal: vec![at("NG1"), at("NG2")],
        masks: vec![at("masks")],
    };
    let source = Source::Folders(folders.clone());
    assert_eq!(said(&source).unwrap(), [5, 1, 3, 2]);
    let category = source.load(&DecodeOptions::default()).unwrap();
    let defects: Vec<&str> = category
        .test
        .iter()
        .filter(|sample| sample.label == Label::Anomalous)
        .map(|sample| sample.defect.as_str())
        .collect();
    assert_eq!(defects, ["hole", "hole", "NG2"]);
    // A record of several is read again, and one of the time when there could be one only.
    let text = serde_json::to_string(&category.place).unwrap();
    assert_eq!(serde_json::from_str::<simplenet_data::dataset::Place>(&text).unwrap(), category.place);
    let old = r#"{"normal": "a", "abnormal": "b"}"#;
    let read: Folders = serde_json::from_str(old).unwrap();
    assert_eq!((read.normal.clone(), read.abnormal.clone()), (vec!["a".into()], vec!["b".into()]));
    assert_eq!(serde_json::to_value(&read).unwrap(), serde_json::from_str::<serde_json::Value>(old).unwrap());
}

#[test]
fn masks_beside_photographs_are_masks() {
    let dir = tree("good*3 bad*3 train/good*3 test/good test/dent");
    let at = |name: &str| dir.path().join("set").join(name);
    for (i, name) in ["0_mask.png", "1_GT.png", "2.mask.png"].iter().enumerate() {
        mask(&at("bad").join(name));
        mask(&at("good").join(format!("{i}_seg.png")));
        mask(&at("train/good").join(format!("{i}_label.png")));
        if i < 2 {
            mask(&at("test/dent").join(format!("{i}_mask.png")));
        }
    }
    let folders = |masks: Vec<PathBuf>| Folders {
        normal: vec![at("good")],
        abnormal: vec![at("bad")],
        masks,
        ..Folders::default()
    };
    for masks in [vec![], vec![at("bad")], vec![dir.path().join("set/bad/")]] {
        let source = Source::Folders(folders(masks.clone()));
        assert_eq!(said(&source).unwrap(), [3, 0, 3, 3], "{masks:?}");
        let category = source.load(&DecodeOptions::default()).unwrap();
        assert_eq!(
            (category.left_out[0].why, category.left_out[0].images.len()),
            ("masks beside their images", 3)
        );
    }
    std::fs::remove_dir_all(at("bad")).unwrap();
    std::fs::remove_dir_all(at("good")).unwrap();
    assert_eq!(said(&Source::path(dir.path().join("set"))).unwrap(), [3, 2, 2, 2]);
}

#[test]
fn a_photograph_is_never_its_own_mask() {
    let dir = tree("good*2 bad*3 copies*0");
    let at = |name: &str| dir.path().join("set").join(name);
    for i in 0..3 {
        std::fs::copy(at("bad").join(format!("{i}.png")), at("copies").join(format!("{i}.png"))).unwrap();
    }
    for (masks, words) in
        [("bad", "masks beside the photographs"), ("copies", "is the photograph itself, not its mask")]
    {
        let folders = Folders {
            normal_test: vec![at("good")],
            abnormal: vec![at("bad")],
            masks: vec![at(masks)],
            ..Folders::default()
        };
        let error = Source::Folders(folders).load(&DecodeOptions::default()).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn annotation_files_are_masks() {
    let dir = tree("good*2 bad*3 notes*0");
    let at = |name: &str| dir.path().join("set").join(name);
    let label_me = |image: &str| {
        format!(
            r#"{{"shapes": [{{"label": "x", "shape_type": "rectangle", "points": [[4, 0], [9, 6]]}}],
               "imagePath": "{image}", "imageWidth": 24, "imageHeight": 16}}"#
        )
    };
    let coco = r#"{"images": [{"id": 0, "file_name": "0.png", "width": 24, "height": 16},
        {"id": 1, "file_name": "sub\\1.png", "width": 24, "height": 16}], "categories": [],
        "annotations": [{"image_id": 0, "segmentation": [[4, 0, 9, 0, 9, 6, 4, 6]]}, {"image_id": 1, "bbox": [4, 0, 5, 6]}]}"#;
    let load = |masks: &[PathBuf]| {
        let folders = Folders {
            normal_test: vec![at("good")],
            abnormal: vec![at("bad")],
            masks: masks.to_vec(),
            ..Folders::default()
        };
        Source::Folders(folders).load(&DecodeOptions::default()).unwrap()
    };
    let marked = |category: &Category| -> Vec<usize> {
        let masked = category.test.iter().filter_map(|sample| Some((sample, sample.mask.as_ref()?)));
        masked
            .map(|(sample, truth)| {
                let mask = truth.read_for(&sample.path, (24, 16), &DecodeOptions::default()).unwrap();
                mask.iter().filter(|&&value| value == 255).count()
            })
            .collect()
    };
    std::fs::write(at("notes/instances.json"), coco).unwrap();
    // A folder above all of them: photographs of good parts are no masks of those called alike.
    assert_eq!(marked(&load(&[dir.path().join("set")])), [30, 30]);
    assert_eq!(marked(&load(&[at("notes")])), [30, 30]);
    assert_eq!(marked(&load(&[at("notes/instances.json")])), [30, 30]);
    // Beside the images, and of another name inside than the file's.
    std::fs::write(at("bad/2.json"), label_me("elsewhere/7.png")).unwrap();
    std::fs::write(at("bad/settings.json"), "{}").unwrap();
    assert_eq!(marked(&load(&[])), [30]);
    assert_eq!(marked(&load(&[at("notes")])), [30, 30, 30]);
    // A drawing of another size than its image.
    std::fs::write(at("bad/2.json"), label_me("2.png").replace("24", "30")).unwrap();
    let folders = Folders { abnormal: vec![at("bad")], ..Folders::default() };
    let error = Source::Folders(folders).load(&DecodeOptions::default()).unwrap_err().to_string();
    assert!(error.contains("2.json is 30 x 16 but its image"), "{error}");
}

#[test]
fn labels_of_lists() {
    let dir = tree("p*4");
    let list = dir.path().join("set/list.csv");
    let load = |labels: [&str; 4], column: &str| -> Result<[usize; 4], String> {
        let rows: String =
            labels.iter().enumerate().map(|(i, label)| format!("p/{i}.png,{label}\n")).collect();
        std::fs::write(&list, format!("path,{column}\n{rows}")).unwrap();
        said(&Source::path(&list))
    };
    for good in
        ["good", "Good", "OK", "ok", "normal", "pass", "PASSED", "IO", "i.O.", "no_defect", "0", "0.0"]
    {
        let bad = if good.starts_with('0') { "1.0" } else { "crack" };
        assert_eq!(load([good, good, bad, bad], "label"), Ok([2, 0, 2, 0]), "{good}");
    }
    assert_eq!(load(["pass", "pass", "fail", "fail"], "label"), Ok([2, 0, 2, 0]));
    assert_eq!(load(["IO", "io", "NIO", "nio"], "label"), Ok([2, 0, 2, 0]));
    // What true means is told by the column.
    assert_eq!(load(["False", "False", "True", "True"], "is_anomaly"), Ok([2, 0, 2, 0]));
    assert_eq!(load(["True", "1", "false", "0"], "good"), Ok([2, 0, 2, 0]));
    for (labels, words) in [
        (["True", "True", "False", "False"], &["line 2", "is true good or defective?"][..]),
        (["1", "1", "-1", "-1"], &["line 2", "1 and -1", "scikit-learn", "0 for good parts"]),
        (["A", "A", "B", "B"], &["no label is one of good parts", "there are: A, B"]),
        (["1", "1", "2", "2"], &["there are: 1, 2"]),
        (["negative", "good", "x", "x"], &["line 2", "good part or a defective one?"]),
    ] {
        let message = load(labels, "label").unwrap_err();
        words
            .iter()
            .for_each(|word| assert!(message.contains(word), "{labels:?}: {word:?} is not in: {message}"));
    }
}

#[test]
fn lists_as_windows_and_excel_write_them() {
    let dir = tree("p*3");
    let list = dir.path().join("set/list.csv");
    let rows = "path;label\r\np\\0.png;good\r\np\\1.png;good\r\np\\2.png;crack\r\n";
    let wide = |mark: [u8; 2], bytes: fn(u16) -> [u8; 2]| {
        [&mark[..], &rows.encode_utf16().flat_map(bytes).collect::<Vec<u8>>()].concat()
    };
    for (name, bytes) in [
        ("backslashes", rows.as_bytes().to_vec()),
        ("UTF-8 with mark", [b"\xEF\xBB\xBF", rows.as_bytes()].concat()),
        ("UTF-16", wide([0xFF, 0xFE], u16::to_le_bytes)),
        ("UTF-16, the other way", wide([0xFE, 0xFF], u16::to_be_bytes)),
        ("sep=", [b"sep=;\r\n", rows.as_bytes()].concat()),
    ] {
        std::fs::write(&list, bytes).unwrap();
        assert_eq!(said(&Source::path(&list)), Ok([2, 0, 1, 0]), "{name}");
    }
    std::fs::write(&list, b"path;label\np/0.png;good\np/1.png;gr\xFCn\n").unwrap();
    let error = said(&Source::path(&list)).unwrap_err();
    assert!(error.contains("line 3") && error.contains("save the list as CSV UTF-8"), "{error}");
    std::fs::write(&list, "sep=;\npath;label\np/9.png;good\n").unwrap();
    assert!(said(&Source::path(&list)).unwrap_err().contains("line 3"));
}
