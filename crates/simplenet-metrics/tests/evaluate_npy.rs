//! The example `evaluate_npy` on files as numpy writes them: its numbers and its messages.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // tests: a failed expectation must stop them

#[allow(dead_code)] // its main
#[path = "../examples/evaluate_npy.rs"]
mod evaluate_npy;

use std::fs;
use std::path::{Path, PathBuf};

use ndarray::{Array2, Array3, ShapeBuilder};
use ndarray_npy::write_npy;
use simplenet_metrics::{AnomalyMap, auroc, average_precision, f1_max, pixel_metrics};

/// A folder with `maps` and `masks`, gone when the test ends.
struct Folder(PathBuf);

impl Folder {
    fn new(test: &str) -> Self {
        let root = std::env::temp_dir().join(format!("evaluate_npy-{}-{test}", std::process::id()));
        fs::create_dir_all(root.join("maps")).unwrap();
        fs::create_dir_all(root.join("masks")).unwrap();
        Self(root)
    }

    fn map(&self, name: &str) -> PathBuf {
        self.0.join("maps").join(name)
    }

    fn mask(&self, name: &str) -> PathBuf {
        self.0.join("masks").join(name)
    }

    fn run(&self, options: &[&str]) -> Result<String, String> {
        run(&[&[self.0.to_str().unwrap()], options].concat())
    }

    /// The message must hold every one of `parts`.
    fn fails(&self, parts: &[&str]) {
        let message = self.run(&[]).expect_err("no error");
        for part in parts {
            assert!(message.contains(part), "{message:?} lacks {part:?}");
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn run(args: &[&str]) -> Result<String, String> {
    let args: Vec<String> = args.iter().map(|arg| arg.to_string()).collect();
    let mut out = Vec::new();
    evaluate_npy::run(&args, &mut out)?;
    Ok(String::from_utf8(out).unwrap())
}

const WIDTH: usize = 7;
const HEIGHT: usize = 5;

/// Scores with ties, in [-1, 1).
fn scores(image: usize) -> Vec<f32> {
    (0..WIDTH * HEIGHT).map(|pixel| ((pixel * 37 + image * 53) % 32) as f32 / 16.0 - 1.0).collect()
}

/// Two regions that touch at a corner (one region, then), and one apart.
fn mask(image: usize) -> Vec<u8> {
    let marked = [8, 9, 10 + WIDTH + image, 28];
    (0..WIDTH * HEIGHT).map(|pixel| u8::from(marked.contains(&pixel))).collect()
}

fn rows<T>(values: Vec<T>) -> Array2<T> {
    Array2::from_shape_vec((HEIGHT, WIDTH), values).unwrap()
}

/// The same array with its columns one after the other in memory.
fn columns(values: Vec<f32>) -> Array2<f32> {
    let mut array = Array2::zeros((HEIGHT, WIDTH).f());
    array.assign(&rows(values));
    array
}

/// A field of the JSON object, as text.
fn field<'a>(json: &'a str, key: &str) -> &'a str {
    let start = json.find(&format!("\"{key}\": ")).unwrap_or_else(|| panic!("no {key} in {json}"));
    let rest = &json[start + key.len() + 4..];
    &rest[..rest.find([',', '}']).unwrap()]
}

#[test]
fn numbers_are_those_of_the_crate_for_every_type() {
    let folder = Folder::new("types");
    // Image 0 is good for want of a mask, image 1 because its mask is empty.
    let masks: Vec<Vec<u8>> =
        (0..8).map(|image| if image < 2 { vec![0; WIDTH * HEIGHT] } else { mask(image % 3) }).collect();
    for (image, values) in masks.iter().enumerate() {
        let name = format!("{image:03}.npy");
        match image {
            3 => write_npy(folder.map(&name), &rows(scores(image).into_iter().map(f64::from).collect())),
            4 => write_npy(folder.map(&name), &columns(scores(image))),
            _ => write_npy(folder.map(&name), &rows(scores(image))),
        }
        .unwrap();
        let path = folder.mask(&name);
        match image {
            0 => continue,
            1 | 2 => write_npy(path, &rows(values.clone())),
            3 => write_npy(path, &rows(values.iter().map(|&value| value * 255).collect())),
            4 => write_npy(path, &rows(values.iter().map(|&value| value == 1).collect())),
            5 => write_npy(path, &rows(values.iter().map(|&value| i64::from(value)).collect())),
            6 => write_npy(path, &rows(values.iter().map(|&value| f64::from(value)).collect())),
            _ => write_npy(path, &columns(values.iter().map(|&value| f32::from(value)).collect())),
        }
        .unwrap();
    }
    fs::write(folder.map("notes.txt"), "no map").unwrap();

    let scores: Vec<Vec<f32>> = (0..8).map(scores).collect();
    let maps: Vec<AnomalyMap<'_>> = scores
        .iter()
        .zip(&masks)
        .map(|(scores, mask)| AnomalyMap { scores, mask, width: WIDTH, height: HEIGHT })
        .collect();
    let pixels = pixel_metrics(&maps, &[0.30, 0.05]);
    let best: Vec<f32> = scores.iter().map(|map| map.iter().copied().fold(f32::MIN, f32::max)).collect();
    let labels: Vec<bool> = (0..8).map(|image| image >= 2).collect();

    let json = folder.run(&["--json"]).unwrap();
    let table = folder.run(&[]).unwrap();
    let check = |key: &str, label: &str, want: f64| {
        let got: f64 = field(&json, key).parse().unwrap();
        assert_eq!(got, want, "{key}");
        assert!(table.contains(&format!("{label:<16}{want:.6}\n")), "{label} {want} in {table}");
    };
    check("image_auroc", "image AUROC", auroc(&best, &labels).unwrap());
    check("image_average_precision", "image AP", average_precision(&best, &labels).unwrap());
    check("image_f1_max", "image F1-max", f1_max(&best, &labels).unwrap().f1);
    check("pixel_auroc", "pixel AUROC", pixels.auroc.unwrap());
    check("pixel_average_precision", "pixel AP", pixels.average_precision.unwrap());
    check("pixel_f1_max", "pixel F1-max", pixels.f1_max.clone().unwrap().f1);
    check("aupro_0.30", "AUPRO@0.30", pixels.aupro[0].clone().unwrap());
    check("aupro_0.05", "AUPRO@0.05", pixels.aupro[1].clone().unwrap());
    let threshold = pixels.f1_max.unwrap().threshold;
    assert_eq!(field(&json, "pixel_f1_max_threshold").parse(), Ok(threshold));
    assert!(table.contains(&format!("  at threshold  {threshold}\n")), "{threshold} in {table}");
    assert_eq!(field(&json, "images"), "8");
    assert_eq!(field(&json, "good_images"), "2");
    assert_eq!(field(&json, "anomalous_images"), "6");
    assert_eq!(field(&json, "normal_pixels"), pixels.normal_pixels.to_string());
    assert_eq!(field(&json, "anomalous_pixels"), pixels.anomalous_pixels.to_string());
    assert_eq!(field(&json, "regions"), pixels.regions.to_string());
    assert!(json.ends_with("\"undefined\": {}}\n"), "{json}");
    assert!(table.starts_with("images          8 (2 good, 6 anomalous)\n"), "{table}");
}

#[test]
fn undefined_metrics_say_why() {
    let folder = Folder::new("undefined");
    write_npy(folder.map("a.npy"), &rows(scores(0))).unwrap();
    let table = folder.run(&[]).unwrap();
    assert!(table.contains("pixel AUROC     n/a (only one class is present"), "{table}");
    assert!(table.contains("AUPRO@0.05      n/a (no mask marks a defect"), "{table}");
    assert!(table.contains("regions         0\n"), "{table}");
    let json = folder.run(&["--json"]).unwrap();
    assert_eq!(field(&json, "aupro_0.30"), "null");
    let reasons = &json[json.find("\"undefined\"").unwrap()..];
    assert!(reasons.contains("\"aupro_0.30\": \"no mask marks a defect"), "{json}");
}

#[test]
fn arguments_that_do_not_fit_are_said() {
    let fails = |args: &[&str], part: &str| {
        let message = run(args).expect_err("no error");
        assert!(message.contains(part) && message.contains("usage: evaluate_npy DIR"), "{message}");
    };
    fails(&[], "usage");
    fails(&["a", "b"], "b: only one folder");
    fails(&["a", "--csv"], "--csv: no such option");
    let message = run(&["no/such/folder"]).expect_err("no error");
    assert!(message.contains(&Path::new("no/such/folder").join("maps").display().to_string()), "{message}");
}

#[test]
fn files_that_do_not_fit_are_named() {
    let folder = Folder::new("files");
    folder.fails(&["maps: no .npy file", "one anomaly map for each image"]);

    write_npy(folder.map("a.npy"), &rows(scores(0))).unwrap();
    write_npy(folder.mask("b.npy"), &rows(mask(0))).unwrap();
    folder.fails(&["b.npy: no map for this mask", "take the mask away"]);

    write_npy(folder.map("b.npy"), &rows(scores(0))).unwrap();
    write_npy(folder.mask("b.npy"), &Array2::<u8>::zeros((WIDTH, HEIGHT))).unwrap();
    folder.fails(&["b.npy: 7 rows and 5 columns", "its map", "has 5 and 7", "resize the map"]);

    write_npy(folder.mask("b.npy"), &rows(vec![0.5f32; WIDTH * HEIGHT])).unwrap();
    folder.fails(&["b.npy: holds 0.5, neither 0 nor 1", "bool or uint8"]);
    write_npy(folder.mask("b.npy"), &rows(vec![1u64; WIDTH * HEIGHT])).unwrap();
    folder.fails(&["b.npy: not a type that masks have", "bool or uint8"]);
    fs::remove_file(folder.mask("b.npy")).unwrap();

    write_npy(folder.map("b.npy"), &Array3::<f32>::zeros((1, HEIGHT, WIDTH))).unwrap();
    folder.fails(&["b.npy: 3 dimensions", "(rows, columns)"]);
    write_npy(folder.map("b.npy"), &rows(vec![1i64; WIDTH * HEIGHT])).unwrap();
    folder.fails(&["b.npy: not float32 or float64"]);
    write_npy(folder.map("b.npy"), &Array2::<f32>::zeros((0, WIDTH))).unwrap();
    folder.fails(&["b.npy: a map without pixels"]);
    fs::write(folder.map("b.npy"), "not numpy's").unwrap();
    folder.fails(&["b.npy: ", "save it again with numpy.save"]);

    let mut broken = scores(0);
    broken[2 * WIDTH + 3] = f32::NAN;
    write_npy(folder.map("b.npy"), &rows(broken)).unwrap();
    folder.fails(&["b.npy: the score at row 2, column 3 is NaN", "finite"]);
}
