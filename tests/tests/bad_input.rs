//! What goes wrong with files at the user's end, through the program: each is one sentence that says what is wrong, where,
//! and what to do, and nothing is left behind.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // helpers of tests

use std::{collections::HashMap, fs, path::Path};

use candle_core::{DType, Device, Tensor};
use image::{ExtendedColorType, ImageEncoder, codecs::png::PngEncoder};
use simplenet_model::{BackboneId, BackboneWeights, checkpoint};
use simplenet_tests::{demo, program::run};

/// What is wrong, the change that makes it so (of a category or a file), and words of the error that follows.
type Case = (&'static str, fn(&Path), &'static [&'static str]);

#[test]
fn folders_that_are_missing_or_empty() {
    each_is_refused(&[
        ("no such category", |c| remove(c), &["oak_plank is not a folder", "train/good, test/good"]),
        (
            "no train/good",
            |c| remove(&c.join("train/good")),
            &["train/good is not a folder", "good parts to train on"],
        ),
        (
            "no good images",
            |c| clear(&c.join("train/good")),
            &["train/good holds no PNG, JPEG, BMP, TIFF, WebP or PNM file"],
        ),
        (
            "no test",
            |c| remove(&c.join("test")),
            &["test is not a folder", "give the folder of good images instead"],
        ),
        ("an empty test", |c| clear(&c.join("test")), &["test holds no", "test/<defect>"]),
        ("an empty defect", |c| clear(&c.join("test/dent")), &["test/dent holds no", "remove the folder"]),
        (
            "one good image",
            |c| {
                let good = c.join("train/good");
                let first = fs::read(good.join("000.png")).unwrap();
                clear(&good);
                fs::write(good.join("000.png"), first).unwrap();
            },
            &["needs at least 2 good image(s)", "1 found", "add photographs of good parts"],
        ),
    ]);
}

#[test]
fn masks_that_do_not_fit() {
    each_is_refused(&[
        (
            "a mask without its image",
            |c| rename(&c.join("test/dent/000.png"), "test/dent/other.png"),
            &["the mask", "ground_truth/dent/000_mask.png has no image", "add the image or remove the mask"],
        ),
        (
            "a mask of another size",
            |c| image::GrayImage::new(95, 96).save(c.join("ground_truth/dent/000_mask.png")).unwrap(),
            &["000_mask.png is 95 x 96", "000.png is 96 x 96", "a mask has the size of its image"],
        ),
        (
            "a mask that is no image",
            |c| fs::write(c.join("ground_truth/dent/000_mask.png"), "mask").unwrap(),
            &["ground_truth/dent/000_mask.png is not a PNG, JPEG, BMP, TIFF, WebP or PNM image"],
        ),
        (
            "an image beside the folders",
            |c| rename(&c.join("test/good/000.png"), "test/000.png"),
            &["test/000.png", "move it to test/good or to test/<defect>"],
        ),
    ]);
}

#[test]
fn images_that_cannot_be_read() {
    let first = |c: &Path| c.join("train/good/004.png");
    let damage: [Case; 5] = [
        ("truncated", |p| keep_half(p), &["004.png is truncated", "copy the file again"]),
        (
            "0 bytes",
            |p| fs::write(p, "").unwrap(),
            &["004.png is empty (0 bytes)", "copy it again or remove it"],
        ),
        (
            "a text",
            |p| fs::write(p, "a text").unwrap(),
            &["004.png is not a PNG", "but a text", "remove it from the folder"],
        ),
        (
            "huge",
            |p| fs::write(p, huge_png()).unwrap(),
            &["004.png is 30000 x 30000", "limit", "scale it down"],
        ),
        (
            "a folder named like an image",
            |p| {
                fs::remove_file(p).unwrap();
                fs::create_dir(p).unwrap();
            },
            &[],
        ),
    ];
    for (what, change, words) in damage {
        let folder = demo::folder();
        change(&first(&folder.path().join("demo/oak_plank")));
        let line = |source: &str| format!("simplenet train {source} --out out --size 96 --epochs 1");
        for source in ["--data demo/oak_plank", "--normal demo/oak_plank/train/good"] {
            let finished = run(folder.path(), &line(source));
            // A folder is no image whatever it is called: it is passed over, its content with it.
            if words.is_empty() {
                drop(finished.ok())
            } else {
                finished.refused(words).check(!folder.path().join("out").exists(), what);
            }
        }
    }
}

#[test]
fn images_of_a_test_set_that_cannot_be_read_stop_an_evaluation_by_name() {
    let shared = demo::trained();
    for (what, change, words) in [
        ("truncated", keep_half as fn(&Path), &["test/good/001.png is truncated"][..]),
        ("huge", |p| fs::write(p, huge_png()).unwrap(), &["test/good/001.png is 30000 x 30000"]),
    ] {
        let folder = shared.path().join(format!("unreadable-{what}"));
        demo::copy(&shared.path().join("demo/oak_plank"), &folder.join("oak_plank"));
        change(&folder.join("oak_plank/test/good/001.png"));
        let line =
            "simplenet eval --model ../out/model.safetensors --data oak_plank --output out --json m.json";
        run(&folder, line).refused(words);
        for left in ["m.json", "out/metrics.json", "out/predictions.jsonl"] {
            assert!(!folder.join(left).exists(), "{what}: {left} of an evaluation that failed");
        }
    }
}

#[test]
fn model_files_that_are_not_whole() {
    let shared = demo::trained();
    let folder = shared.path().join("models");
    fs::create_dir_all(&folder).unwrap();
    let good = fs::read(shared.path().join("out/model.safetensors")).unwrap();
    let record = |from: &str, to: &str| {
        assert_eq!(from.len(), to.len(), "offsets must not move");
        replace(&good, from, to)
    };
    let newer = checkpoint::FORMAT_VERSION + 1;
    let mut flipped = good.clone();
    *flipped.last_mut().unwrap() ^= 1;
    let version = format!("\\\"format_version\\\":{}", checkpoint::FORMAT_VERSION);
    for (name, bytes, words) in [
        ("truncated", good[..good.len() / 2].to_vec(), &["cut short", "copy it again"][..]),
        ("empty", vec![], &["empty"]),
        ("text", b"a text".to_vec(), &["not a safetensors file"]),
        ("weights-only", weights_file(|_| ()), &["not a model file"]),
        ("edited-tensor", flipped, &["changed after it was saved", "copy it again or train it again"]),
        (
            "edited-record",
            record(
                "\\\"backbone\\\":\\\"efficientnet-lite0\\\"",
                "\\\"backbone\\\":\\\"efficientnet-lite9\\\"",
            ),
            &["changed after it was saved"],
        ),
        ("edited-seed", record("\\\"margin\\\":0.5", "\\\"margin\\\":0.6"), &["changed after it was saved"]),
        (
            "newer",
            record(&version, &format!("\\\"format_version\\\":{newer}")),
            &["update it", "made by simplenet"],
        ),
    ] {
        let file = format!("{name}.safetensors");
        fs::write(folder.join(&file), bytes).unwrap();
        for verb in
            ["info", "verify", "eval --data ../demo/oak_plank", "infer --input ../demo/oak_plank/test"]
        {
            run(&folder, &format!("simplenet {verb} --model {file}")).refused(&[&file]).fails(1, words);
        }
    }
}

#[test]
fn backbone_files_that_do_not_fit() {
    const NAME: &str = "_blocks.3._project_conv.weight";
    let folder = demo::folder();
    let zeros = |shape: &[usize]| Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap();
    for (name, bytes, words) in [
        ("missing", weights_file(|t| drop(t.remove(NAME))), &[NAME, "missing", "[40, 144, 1, 1]"][..]),
        (
            "misshapen",
            weights_file(|t| drop(t.insert(NAME.into(), zeros(&[40, 143, 1, 1])))),
            &[NAME, "[40, 143, 1, 1]", "expected [40, 144, 1, 1]"],
        ),
        ("cut", weights_file(|_| ())[..9999].to_vec(), &[]),
    ] {
        let file = format!("{name}.safetensors");
        fs::write(folder.path().join(&file), bytes).unwrap();
        let line = format!("simplenet train --data demo/oak_plank --out out --weights {file}");
        run(folder.path(), &line).refused(&[&file]).fails(1, words);
        assert!(!folder.path().join("out").exists(), "{name}");
    }
    // The whole file is taken.
    fs::write(folder.path().join("whole.safetensors"), weights_file(|_| ())).unwrap();
    run(
        folder.path(),
        "simplenet train --data demo/oak_plank --out out --weights whole.safetensors --size 96 --epochs 1",
    )
    .ok();
}

/// Changes a fresh copy of a category for each case; training on it must fail with these words and leave no folder.
fn each_is_refused(cases: &[Case]) {
    let folder = demo::folder();
    for (what, change, words) in cases {
        let case = tempfile::tempdir().unwrap();
        let category = case.path().join("oak_plank");
        demo::copy(&folder.path().join("demo/oak_plank"), &category);
        change(&category);
        run(case.path(), "simplenet train --data oak_plank --out out --size 96 --epochs 1")
            .refused(words)
            .check(!case.path().join("out").exists(), what);
    }
}

fn remove(folder: &Path) {
    fs::remove_dir_all(folder).unwrap();
}

/// Empties a folder.
fn clear(folder: &Path) {
    remove(folder);
    fs::create_dir(folder).unwrap();
}

/// Renames a file within its category.
fn rename(file: &Path, other: &str) {
    let category = file.ancestors().nth(3).unwrap();
    fs::rename(file, category.join(other)).unwrap();
}

fn keep_half(file: &Path) {
    let bytes = fs::read(file).unwrap();
    fs::write(file, &bytes[..bytes.len() / 2]).unwrap();
}

/// A whole PNG of one pixel whose header says 30,000 x 30,000, checksum included.
fn huge_png() -> Vec<u8> {
    let mut png = vec![];
    PngEncoder::new(&mut png).write_image(&[0], 1, 1, ExtendedColorType::L8).unwrap();
    png[16..20].copy_from_slice(&30_000u32.to_be_bytes());
    png[20..24].copy_from_slice(&30_000u32.to_be_bytes());
    let checksum = !png[12..29].iter().fold(!0u32, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |c, _| (c >> 1) ^ (0xEDB8_8320 * (c & 1)))
    });
    png[29..33].copy_from_slice(&checksum.to_be_bytes());
    png
}

/// The embedded backbone as a weights file, after a change.
fn weights_file(change: impl FnOnce(&mut HashMap<String, Tensor>)) -> Vec<u8> {
    let mut tensors = BackboneWeights::embedded(BackboneId::EfficientNetLite0).unwrap().tensors;
    change(&mut tensors);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.safetensors");
    candle_core::safetensors::save(&tensors, &path).unwrap();
    fs::read(path).unwrap()
}

/// The bytes with one text put in the place of its first occurrence.
fn replace(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
    let at = bytes.windows(from.len()).position(|window| window == from.as_bytes());
    let at = at.unwrap_or_else(|| panic!("`{from}` is not in the file"));
    let mut changed = bytes.to_vec();
    changed[at..at + to.len()].copy_from_slice(to.as_bytes());
    changed
}
