//! A camera of 12 bits whose photographs lie in 16-bit files: trained on, told, kept in the model file and inspected as if they
//! had been saved in 8 bits.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // helpers of tests

use std::{fs, path::Path};

use image::{DynamicImage, GrayImage, ImageBuffer, Luma};
use simplenet_tests::{files::predictions, program::run};

/// A number from 0 to 1 for a place and a picture (Knuth's multiplicative hash).
fn noise(x: u32, y: u32, picture: u32) -> f64 {
    let mixed = (x ^ y.rotate_left(16) ^ picture.rotate_left(24)).wrapping_mul(2_654_435_761);
    let mixed = (mixed ^ mixed >> 15).wrapping_mul(2_246_822_519);
    f64::from(mixed ^ mixed >> 13) / f64::from(u32::MAX)
}

/// Brightness from 0 to 255 of a plate with grooves; a defective one has a stain of eight grey levels.
fn brightness(x: u32, y: u32, picture: u32, stained: bool) -> f64 {
    let grooves = 20.0 * (f64::from(x) * 0.3).sin() * (f64::from(y) * 0.3).sin();
    let away = (f64::from(x) - 60.0).powi(2) + (f64::from(y) - 40.0).powi(2);
    let stain = if stained { 12.0 * (-away / 100.0).exp() } else { 0.0 };
    110.0 + grooves + 3.0 * (noise(x, y, picture) - 0.5) - stain
}

/// The same photographs twice: `eight/` in 8 bits, `twelve/` with the 12 bits of the camera in the low bits of 16.
fn write(root: &Path) {
    for (part, first, count, stained) in
        [("good", 0, 16, false), ("test-good", 100, 4, false), ("bad", 200, 4, true)]
    {
        for picture in first..first + count {
            let sample = |white: f64| {
                move |x, y| (brightness(x, y, picture, stained) * white / 255.0).round().clamp(0.0, white)
            };
            let (eight, twelve) = (sample(255.0), sample(4095.0));
            let narrow = GrayImage::from_fn(96, 80, |x, y| Luma([eight(x, y) as u8]));
            let wide = ImageBuffer::from_fn(96, 80, |x, y| Luma([twelve(x, y) as u16]));
            for (kind, image) in [("eight", DynamicImage::from(narrow)), ("twelve", wide.into())] {
                let folder = root.join(kind).join(part);
                fs::create_dir_all(&folder).unwrap();
                image
                    .save(folder.join(format!("{picture}.{}", if kind == "eight" { "png" } else { "tif" })))
                    .unwrap();
            }
        }
    }
}

fn scores(root: &Path, model: &str, input: &str) -> Vec<f64> {
    let output = format!("{model}-{}", input.replace('/', "-"));
    run(
        root,
        &format!(
            "simplenet infer --model {model}/model.safetensors --input {input} --output {output} --no-report"
        ),
    );
    predictions(&root.join(output)).iter().map(|line| line["score"].as_f64().unwrap()).collect()
}

#[test]
fn twelve_bits_are_as_eight() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    write(root);
    let train = "--epochs 3 --size 96x80 --save-every 0";
    run(root, &format!("simplenet train --normal eight/good --out m8 {train}")).ok();
    let told = run(root, &format!("simplenet train --normal twelve/good --out m12 {train}")).ok();
    told.check(told.err.contains("hold 12 bits in 16-bit files"), "the depth should be told");
    let margin = |model: &str, kind: &str| {
        let good = scores(root, model, &format!("{kind}/test-good")).into_iter().fold(f64::MIN, f64::max);
        let bad = scores(root, model, &format!("{kind}/bad")).into_iter().fold(f64::MAX, f64::min);
        (good, bad)
    };
    for (model, kind) in [("m8", "eight"), ("m12", "twelve")] {
        let (good, bad) = margin(model, kind);
        assert!(bad > good, "{kind}: the best defective part has {bad}, the worst good one {good}");
    }
    let depth = |model: &str| {
        let text = fs::read_to_string(root.join(model).join("config.toml")).unwrap();
        text.lines().find(|line| line.starts_with("bit_depth")).unwrap().to_string()
    };
    assert_eq!(depth("m12"), "bit_depth = \"auto\"", "a second training finds it anew");
    // The same photographs in 8 bits, judged by the model of 12: as its own, up to rounding to whole grey levels.
    let (own, other) = (scores(root, "m12", "twelve/bad"), scores(root, "m12", "eight/bad"));
    for (own, other) in own.iter().zip(&other) {
        assert!((own - other).abs() < 0.05 * own.abs(), "{own} and {other}");
    }

    // Named instead of found; what lies above is told.
    let given =
        run(root, &format!("simplenet train --normal twelve/good --out m10 --bit-depth 10 {train}")).ok();
    given.check(given.err.contains("above the 1023 of 10 bits"), "what is above should be told");
    run(root, "simplenet train --normal twelve/good --out m9 --bit-depth 9")
        .fails(2, &["`9` is no bit depth; expected auto, 8, 10, 12, 14 or 16"]);
    run(root, "simplenet data check twelve/good").says(&["hold 12 bits in 16-bit files"]);
}
