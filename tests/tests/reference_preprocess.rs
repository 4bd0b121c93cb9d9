//! Decoding, resizing, cropping and normalising against the reference vectors of the case `preprocess`.
//!
//! Driven by the manifest: every test in it is run, images as masks; a pipeline, variant or mask rule that is
//! not known here fails.

#![allow(clippy::expect_used, clippy::panic)] // tests: a broken manifest must stop them

use std::path::{Path, PathBuf};

use image::{GrayImage, RgbImage};
use serde_json::Value;
use simplenet_data::{CropSize, Exif, MaskRule, Preprocess, Resize, SixteenBit, decode_file, decode_mask};
use simplenet_tests::{Tensors, assert_close, golden_dir, read_manifest, reference_dir};

const CASE: &str = "preprocess";

/// Share of a mask's pixels that a resize within its tolerance may flip (the manifest's "why" states it).
const FLIPPED_SHARE: f64 = 0.001;

#[test]
fn reference_preprocess() {
    let dir = reference_dir(CASE);
    let manifest = read_manifest(CASE);
    for test in tests(&manifest) {
        match &test["expected"] {
            Value::String(_) => check_image(&dir, &manifest, test),
            Value::Object(rules) => rules.keys().for_each(|rule| check_mask(&dir, &manifest, test, rule)),
            other => panic!("{}: expected is {other}", text(test, "name")),
        }
    }
}

/// The manifest allows a grey level of difference; our resize needs none. JPEG files enter as decoded by
/// Pillow's decoder.
#[test]
fn reference_resize_equals_pillow_in_every_pixel() {
    let dir = golden_dir().join(CASE);
    let manifest =
        std::fs::read_to_string(dir.join("manifest.json")).expect("the golden copy has a manifest");
    let manifest: Value = serde_json::from_str(&manifest).expect("the manifest is JSON");
    for test in tests(&manifest) {
        let name = text(test, "name");
        if let Some(rules) = test["expected"].as_object() {
            for rule in rules.keys() {
                assert_eq!(
                    mask(&dir, &manifest, test, rule),
                    open_gray(&dir, text(&test["expected"], rule)),
                    "{name} {rule}"
                );
            }
            continue;
        }
        let want = open_rgb(&dir, text(test, "expected"));
        let preprocess = preprocess(&manifest, test);
        let input = if is_exact(test) {
            decode_file(&dir.join(text(test, "input")), &preprocess.decode).expect("the input is decoded")
        } else {
            let decoded = decoded_file(&dir, test).unwrap_or_else(|| panic!("{name}: no decoded pixels"));
            image::open(decoded).expect("decoded pixels").to_rgb8()
        };
        let got = preprocess.resize_crop(&input).expect("resized");
        assert_eq!(largest_difference(&got, &want), 0, "{name}");
    }
}

/// One image test: sizes, 8-bit pixels, normalised values.
fn check_image(dir: &Path, manifest: &Value, test: &Value) {
    let name = text(test, "name");
    let preprocess = preprocess(manifest, test);
    let decoded = decode_file(&dir.join(text(test, "input")), &preprocess.decode)
        .unwrap_or_else(|e| panic!("{name}: {e}"));
    let (width, height) = decoded.dimensions();
    assert_eq!((width, height), size(test, "input_size_wh"), "{name}: decoded size");
    assert_eq!(preprocess.placement(width, height).resized, size(test, "resized_wh"), "{name}: resized");

    let tolerance = &test["tolerance"];
    let (largest, mean) = (number(tolerance, "max_abs_u8"), number(tolerance, "mean_abs_u8"));
    let got = preprocess.resize_crop(&decoded).unwrap_or_else(|e| panic!("{name}: {e}"));
    let want = open_rgb(dir, text(test, "expected"));
    check_pixels(name, &got, &want, largest, mean);
    // What the allowed differences come to after the division by 255 and the standard deviation.
    let deviation = preprocess.std.iter().copied().fold(f32::INFINITY, f32::min);
    let normalised = |levels: f64| if is_exact(test) { 0.0 } else { levels / 255.0 / f64::from(deviation) };
    check_normalised(dir, &preprocess, test, &got, normalised(largest), normalised(mean));

    // Another JPEG decoder gives other pixels; from the reference's own pixels the rest must follow.
    if let Some(file) = decoded_file(dir, test).filter(|_| !is_exact(test)) {
        let pixels = image::open(file).unwrap_or_else(|e| panic!("{name}: {e}")).to_rgb8();
        let got = preprocess.resize_crop(&pixels).unwrap_or_else(|e| panic!("{name}: {e}"));
        check_pixels(name, &got, &want, 1.0, 0.02);
        check_normalised(dir, &preprocess, test, &got, 0.0, 0.0);
    }
}

fn check_pixels(name: &str, got: &RgbImage, want: &RgbImage, largest: f64, mean: f64) {
    assert_eq!(got.dimensions(), want.dimensions(), "{name}: size");
    let found = largest_difference(got, want);
    assert!(f64::from(found) <= largest, "{name}: a value is off by {found}, allowed {largest}");
    let sum: u64 = got.iter().zip(want.iter()).map(|(g, w)| u64::from(g.abs_diff(*w))).sum();
    let found = sum as f64 / want.len() as f64;
    assert!(found <= mean, "{name}: values are off by {found} on average, allowed {mean}");
}

/// The stored sample of the normalised tensor, and the mean of each of its channels. `extra` widens the first
/// tolerance, `extra_mean` the second.
fn check_normalised(
    dir: &Path,
    preprocess: &Preprocess,
    test: &Value,
    pixels: &RgbImage,
    extra: f64,
    extra_mean: f64,
) {
    let name = text(test, "name");
    let (width, height) = (pixels.width() as usize, pixels.height() as usize);
    let mut tensor = vec![0.0; 3 * height * width];
    preprocess.normalise(pixels, &mut tensor).unwrap_or_else(|e| panic!("{name}: {e}"));

    let stored = &test["normalized_sub"];
    let (shape, want) = Tensors::open(dir.join(text(stored, "file"))).f32(text(stored, "key"));
    // "tensor[:, ::32, ::32]"
    let steps: Vec<usize> =
        text(stored, "slice").split("::").skip(1).map(|step| leading_number(step).0 as usize).collect();
    let &[step_y, step_x] = &steps[..] else { panic!("{name}: slice {}", text(stored, "slice")) };
    assert_eq!(shape, [3, height.div_ceil(step_y), width.div_ceil(step_x)], "{name}: shape of the sample");
    let got: Vec<f32> = tensor
        .chunks_exact(width)
        .enumerate()
        .filter(|(row, _)| (row % height).is_multiple_of(step_y))
        .flat_map(|(_, row)| row.iter().step_by(step_x))
        .copied()
        .collect();
    assert_close(name, &got, &want, number(stored, "atol") + extra, number(stored, "rtol"));

    // A difference of one level in every fiftieth value, which exact tests allow, moves a mean by 4e-4.
    for (channel, plane) in tensor.chunks_exact(height * width).enumerate() {
        let want = test["channel_mean"][channel].as_f64().expect("a mean for each channel");
        let got = plane.iter().map(|&v| f64::from(v)).sum::<f64>() / plane.len() as f64;
        assert!(
            (got - want).abs() <= 4e-4 + extra_mean,
            "{name}: mean of channel {channel} is {got}, expected {want}"
        );
    }
}

/// One rule of one mask test.
fn check_mask(dir: &Path, manifest: &Value, test: &Value, rule: &str) {
    let name = text(test, "name");
    let got = mask(dir, manifest, test, rule);
    let want = open_gray(dir, text(&test["expected"], rule));
    assert_eq!(got.dimensions(), want.dimensions(), "{name} {rule}: size");
    let count = |mask: &GrayImage| mask.iter().filter(|&&v| v > 0).count() as u64;
    assert_eq!(Some(count(&want)), test["pixel_counts"][rule].as_u64(), "{name} {rule}: the file itself");
    if rule == "soft" {
        let largest = number(&test["tolerance"], "max_abs_u8");
        let found = got.iter().zip(want.iter()).map(|(g, w)| g.abs_diff(*w)).max().unwrap_or(0);
        assert!(f64::from(found) <= largest, "{name}: a soft value is off by {found}, allowed {largest}");
    } else {
        let flipped = got.iter().zip(want.iter()).filter(|(g, w)| g != w).count();
        let allowed = want.len() as f64 * FLIPPED_SHARE;
        assert!(flipped as f64 <= allowed, "{name} {rule}: {flipped} pixels differ, allowed {allowed}");
    }
}

/// A mask as the reference stores it: gray for `soft`, 0 and 255 for the rules.
fn mask(dir: &Path, manifest: &Value, test: &Value, rule: &str) -> GrayImage {
    let name = text(test, "name");
    let preprocess = preprocess(manifest, test);
    let decoded = decode_mask(&dir.join(text(test, "input"))).unwrap_or_else(|e| panic!("{name}: {e}"));
    let chosen = match rule {
        "soft" => return preprocess.soft_mask(&decoded).unwrap_or_else(|e| panic!("{name}: {e}")),
        "official_astype_int" => MaskRule::FullOnly,
        "gt_half" => MaskRule::Half,
        "gt_zero" => MaskRule::AnyPositive,
        other => panic!("{name}: rule {other} is not known"),
    };
    let binary = preprocess.mask(&decoded, chosen).unwrap_or_else(|e| panic!("{name}: {e}"));
    let (width, height) = preprocess.network_size();
    GrayImage::from_raw(width, height, binary.into_iter().map(|v| v * 255).collect())
        .expect("the network's size")
}

/// The configuration that a test's pipeline and variant stand for.
fn preprocess(manifest: &Value, test: &Value) -> Preprocess {
    let pipeline = text(test, "pipeline");
    let unknown = || -> ! { panic!("{}: pipeline {pipeline} is not known", text(test, "name")) };
    let sizes = pipeline.trim_start_matches("mask: ").strip_prefix("resize").unwrap_or_else(|| unknown());
    let (first, rest) = leading_number(sizes);
    let (resize, crop) = match (rest.strip_prefix('x'), rest.strip_prefix("_crop")) {
        (Some(height), _) => (Resize::Exact { width: first, height: leading_number(height).0 }, None),
        (_, Some(crop)) => (Resize::ShorterSide(first), Some(leading_number(crop).0)),
        _ => unknown(),
    };
    let paper = Preprocess::paper();
    let mut decode = Preprocess::default().decode;
    match test.get("variant").and_then(Value::as_str) {
        None | Some("plain") => {}
        Some("raw" | "official") => decode = paper.decode,
        Some("oriented") => decode.exif = Exif::Apply,
        Some("scaled") => decode.sixteen_bit = SixteenBit::Scale,
        Some(other) => panic!("{}: variant {other} is not known", text(test, "name")),
    }
    let three = |key: &str| -> [f32; 3] {
        std::array::from_fn(|c| manifest["normalize"][key][c].as_f64().expect("three numbers") as f32)
    };
    let crop = crop.map(|side| CropSize { width: side, height: side });
    Preprocess { resize, crop, mean: three("mean"), std: three("std"), decode, ..Preprocess::paper() }
}

/// The reference decoder's pixels for a JPEG: `decoded/<stem>.<variant>.png` or `decoded/<stem>.png`.
fn decoded_file(dir: &Path, test: &Value) -> Option<PathBuf> {
    let stem = Path::new(text(test, "input")).file_stem()?.to_str()?;
    let names = [format!("{stem}.{}.png", text(test, "variant")), format!("{stem}.png")];
    names.iter().map(|name| dir.join("decoded").join(name)).find(|path| path.is_file())
}

fn tests(manifest: &Value) -> &[Value] {
    let tests = manifest["tests"].as_array().expect("the manifest lists tests");
    assert!(!tests.is_empty(), "the manifest lists no test");
    tests
}

fn is_exact(test: &Value) -> bool {
    test["tolerance"]["exact"].as_bool().expect("a tolerance says whether it is exact")
}

fn open_rgb(dir: &Path, file: &str) -> RgbImage {
    image::open(dir.join(file)).unwrap_or_else(|e| panic!("{file}: {e}")).to_rgb8()
}

fn open_gray(dir: &Path, file: &str) -> GrayImage {
    image::open(dir.join(file)).unwrap_or_else(|e| panic!("{file}: {e}")).to_luma8()
}

fn largest_difference(a: &RgbImage, b: &RgbImage) -> u8 {
    assert_eq!(a.dimensions(), b.dimensions());
    a.iter().zip(b.iter()).map(|(a, b)| a.abs_diff(*b)).max().unwrap_or(0)
}

/// The number that a text begins with, and what follows.
fn leading_number(text: &str) -> (u32, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    (text[..end].parse().unwrap_or_else(|e| panic!("{text:?}: {e}")), &text[end..])
}

fn size(test: &Value, key: &str) -> (u32, u32) {
    let side = |i: usize| test[key][i].as_u64().and_then(|v| u32::try_from(v).ok());
    (side(0).expect("a width"), side(1).expect("a height"))
}

fn number(object: &Value, key: &str) -> f64 {
    object[key].as_f64().unwrap_or_else(|| panic!("{key} is not a number in {object}"))
}

fn text<'a>(object: &'a Value, key: &str) -> &'a str {
    object[key].as_str().unwrap_or_else(|| panic!("{key} is not a text in {object}"))
}
