//! Large and odd photographs: tiles whose seams cannot be seen, a region of interest, a least area of regions, rectangular inputs;
//! through the library and as a person uses them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // helpers of tests

use std::{
    fs,
    path::Path,
    sync::{Arc, Mutex, Weak},
};

use image::{GrayImage, Luma, Rgb, RgbImage};
use serde_json::Value;
use simplenet_data::RegionOfInterest;
use simplenet_inference::{Detector, Inspection};
use simplenet_model::checkpoint;
use simplenet_tests::{
    detector::{open, open_with},
    files::{json, predictions},
    program::run,
};
use tempfile::TempDir;

/// Photographs of the tests; tiles of 160 with an overlap of 32 are 3 x 2 of them.
const SIZE: (u32, u32) = (400, 256);
const TILE: u32 = 160;
/// Where tiles begin: evenly spread.
const STARTS: [&[u32]; 2] = [&[0, 120, 240], &[0, 96]];
/// Width of the defect.
const DEFECT: u32 = 14;

/// A number from 0 to 1 for a place and a picture (Knuth's multiplicative hash).
fn noise(x: u32, y: u32, picture: u32) -> f32 {
    let mixed = (x ^ y.rotate_left(16) ^ picture.rotate_left(24)).wrapping_mul(2_654_435_761);
    let mixed = (mixed ^ mixed >> 15).wrapping_mul(2_246_822_519);
    (mixed ^ mixed >> 13) as f32 / u32::MAX as f32
}

/// A woven texture with noise, shifted a little from picture to picture: nothing in it tells one tile from another.
fn good(picture: u32, (width, height): (u32, u32)) -> RgbImage {
    let phase = noise(1, 2, picture) * 2.0;
    RgbImage::from_fn(width, height, |x, y| {
        let weave = ((x as f32 + phase) * 0.785).sin() * ((y as f32 + phase) * 0.785).sin();
        let level = 120.0 + 25.0 * weave + 14.0 * (noise(x, y, picture) - 0.5);
        Rgb([level as u8, (level * 0.9) as u8, (level * 0.7) as u8])
    })
}

/// A dark spot about a place.
fn spoil(photograph: &RgbImage, (left, top): (u32, u32)) -> RgbImage {
    let mut spoilt = photograph.clone();
    let reach = i64::from(DEFECT / 2);
    for (dx, dy) in (-reach..=reach).flat_map(|dx| (-reach..=reach).map(move |dy| (dx, dy))) {
        let (x, y) = (i64::from(left) + dx, i64::from(top) + dy);
        if dx * dx + dy * dy <= reach * reach
            && let Some(pixel) = spoilt.get_pixel_mut_checked(x as u32, y as u32)
        {
            *pixel = Rgb(pixel.0.map(|v| v / 2));
        }
    }
    spoilt
}

/// A category of textures in `data/`.
fn write(root: &Path, size: (u32, u32)) {
    let save = |file: &str, photograph: RgbImage| {
        let path = root.join("data").join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        photograph.save(path).unwrap();
    };
    (0..16).for_each(|i| save(&format!("train/good/{i:02}.png"), good(i, size)));
    (20..23).for_each(|i| save(&format!("test/good/{i}.png"), good(i, size)));
    for i in 30..33 {
        let at = (size.0 * (i - 29) / 4, size.1 * (i - 29) / 4);
        save(&format!("test/spot/{i}.png"), spoil(&good(i, size), at));
        let mask = spoil(&RgbImage::from_pixel(size.0, size.1, Rgb([255; 3])), at);
        let mask = GrayImage::from_fn(size.0, size.1, |x, y| {
            Luma([if mask.get_pixel(x, y)[0] < 255 { 255 } else { 0 }])
        });
        let path = root.join(format!("data/ground_truth/spot/{i}_mask.png"));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        mask.save(path).unwrap();
    }
}

const TILED: &str = "simplenet train --data data --out out --tile 160 --overlap 32 --epochs 3";

/// A folder with the textures in `data/` and a tiled model of them in `out/`, shared by the tests.
fn trained() -> Arc<TempDir> {
    static SHARED: Mutex<Weak<TempDir>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    if let Some(folder) = shared.upgrade() {
        return folder;
    }
    let folder = Arc::new(tempfile::tempdir().unwrap());
    write(folder.path(), SIZE);
    run(folder.path(), TILED).ok().says(&["features of 84 images computed"]);
    *shared = Arc::downgrade(&folder);
    folder
}

fn detector(root: &Path, model: &str) -> Detector {
    open(&root.join(model))
}

/// Column and row of the largest number of the map in the photograph.
fn peak(inspection: &Inspection) -> (u32, u32) {
    let width = inspection.placement.original.0;
    let map = inspection.photograph_map.iter().enumerate();
    let (at, _) = map.filter(|(_, v)| !v.is_nan()).max_by(|a, b| a.1.total_cmp(b.1)).unwrap();
    (at as u32 % width, at as u32 / width)
}

/// Half way through the overlaps: where one tile hands over to the next.
fn seams(axis: usize) -> Vec<u32> {
    STARTS[axis].windows(2).map(|pair| (pair[0] + TILE + pair[1]) / 2).collect()
}

#[test]
fn a_defect_on_a_seam_is_found_as_well_as_elsewhere() {
    let shared = trained();
    let detector = detector(shared.path(), "out/model.safetensors");
    let (xs, ys) = (seams(0), seams(1));
    let mut groups: [Vec<f32>; 3] = Default::default();
    for picture in 40..43 {
        let photograph = good(picture, SIZE);
        let without = detector.inspect(&photograph).unwrap();
        // In the middle of each tile; on a seam, also beside its middle; where four tiles meet.
        let middles =
            STARTS[0].iter().flat_map(|x| STARTS[1].iter().map(move |y| (x + TILE / 2, y + TILE / 2)));
        let on_seams = xs.iter().flat_map(|&x| [(x, 60), (x - 10, 200), (x + 13, 48)]);
        let on_seams = on_seams.chain([60, 200, 330].map(|x| (x, ys[0])));
        let corners = xs.iter().flat_map(|&x| [(x, ys[0]), (x + 7, ys[0] - 9)]);
        let places: [Vec<(u32, u32)>; 3] = [middles.collect(), on_seams.collect(), corners.collect()];
        for (scores, places) in groups.iter_mut().zip(places) {
            for (x, y) in places {
                let found = detector.inspect(&spoil(&photograph, (x, y))).unwrap();
                let (px, py) = peak(&found);
                assert!(
                    px.abs_diff(x) <= DEFECT && py.abs_diff(y) <= DEFECT,
                    "at {x},{y}, peak at {px},{py}"
                );
                assert!(
                    found.score > 1.5 * without.score,
                    "at {x},{y}: {}, {} without",
                    found.score,
                    without.score
                );
                // How far it stands out from the good part.
                scores.push(found.score - without.score);
            }
        }
    }
    let mean = |scores: &[f32]| scores.iter().sum::<f32>() / scores.len() as f32;
    let least = |scores: &[f32]| scores.iter().copied().fold(f32::INFINITY, f32::min);
    let [middles, on_seams, corners] = &groups;
    println!("mean and least: {:?}", groups.each_ref().map(|scores| (mean(scores), least(scores))));
    for (what, scores) in [("on seams", on_seams), ("at corners", corners)] {
        let ratio = mean(scores) / mean(middles);
        assert!((0.85..1.18).contains(&ratio), "{what}: {ratio} of what it is in the middle of a tile");
        let ratio = least(scores) / least(middles);
        assert!(ratio > 0.75, "{what}: the least is {ratio} of the least in the middle of a tile");
    }
}

#[test]
fn the_map_of_a_good_part_is_as_smooth_across_seams_as_elsewhere() {
    let shared = trained();
    let detector = detector(shared.path(), "out/model.safetensors");
    let (width, height) = (SIZE.0 as usize, SIZE.1 as usize);
    let [mut at_seams, mut elsewhere, mut level_at, mut level] = [(0.0f64, 0u32); 4];
    let add = |to: &mut (f64, u32), value: f32| *to = (to.0 + f64::from(value), to.1 + 1);
    for picture in 50..56 {
        let map = detector.inspect(&good(picture, SIZE)).unwrap().map;
        assert_eq!(map.len(), width * height);
        let near = |v: usize, seams: &[u32]| seams.iter().any(|seam| v.abs_diff(*seam as usize) <= 16);
        // Away from the photograph's own border, which is another matter.
        for (y, x) in (16..height - 16).flat_map(|y| (16..width - 16).map(move |x| (y, x))) {
            let step = (map[y * width + x + 1] - map[y * width + x]).abs();
            add(if near(x, &seams(0)) { &mut at_seams } else { &mut elsewhere }, step);
            let step = (map[(y + 1) * width + x] - map[y * width + x]).abs();
            add(if near(y, &seams(1)) { &mut at_seams } else { &mut elsewhere }, step);
            let on_a_seam = near(x, &seams(0)) || near(y, &seams(1));
            add(if on_a_seam { &mut level_at } else { &mut level }, map[y * width + x]);
        }
    }
    let mean = |(sum, count): (f64, u32)| sum / f64::from(count);
    let ratio = mean(at_seams) / mean(elsewhere);
    println!("steps: {ratio}; levels: {} and {}", mean(level_at), mean(level));
    assert!((0.7..1.3).contains(&ratio), "steps across seams are {ratio} of those elsewhere");
    // Nor is a seam brighter or darker, by a share of how far a defect stands out.
    let found = detector.inspect(&spoil(&good(50, SIZE), (100, 100))).unwrap();
    let stands_out = f64::from(found.map.iter().copied().fold(f32::MIN, f32::max)) - mean(level);
    let apart = (mean(level_at) - mean(level)).abs();
    assert!(apart < 0.05 * stands_out, "levels are {apart} apart, a defect {stands_out}");
}

#[test]
fn tiles_in_batches_are_tiles_one_by_one() {
    let shared = trained();
    let single = detector(shared.path(), "out/model.safetensors");
    let batches = open_with(&shared.path().join("out/model.safetensors"), |options| {
        options.batches_on_cpu = true;
        options.batch = Some(2);
    });
    // Six tiles each, three of one place: batches of two and one.
    let photographs = [good(60, SIZE), spoil(&good(61, SIZE), (130, 100)), good(62, SIZE)];
    let got = batches.inspect_batch(&photographs).unwrap();
    for (got, photograph) in got.iter().zip(&photographs) {
        let want = single.inspect(photograph).unwrap();
        let largest = want.map.iter().fold(0.0f32, |most, v| most.max(v.abs()));
        let apart = got.map.iter().zip(&want.map).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(apart <= 1e-4 * largest, "{apart} of {largest}");
        assert!(
            (got.score - want.score).abs() <= 1e-4 * want.score.abs(),
            "{} for {}",
            got.score,
            want.score
        );
    }
}

#[test]
fn a_tiled_model_as_a_person_uses_it() {
    let shared = trained();
    let root = shared.path();
    run(root, "simplenet eval --model out/model.safetensors --data data --output eval").ok();
    let metrics = json(&root.join("eval/metrics.json"));
    for name in ["image_AUROC", "pixel_AUROC", "pixel_AUPRO"] {
        assert!(metrics[name].as_f64().unwrap() > 0.95, "{name}: {metrics}");
    }
    run(root, "simplenet info --model out/model.safetensors")
        .ok()
        .says(&["160 x 160 pixels, overlap 32, network input 160 x 160", "photographs of 3 x 2 tiles"]);
    run(root, "simplenet verify --model out/model.safetensors").ok();
    run(
        root,
        "simplenet infer --model out/model.safetensors --input data/test/spot --output int8 --precision int8",
    )
    .ok();
    assert!(predictions(&root.join("int8")).iter().all(|line| line["verdict"] == "anomalous"));
    run(root, "simplenet bench --model out/model.safetensors --input data/test/good --repeats 1").ok();
    run(root, "simplenet export --model out/model.safetensors --format onnx --out m.onnx")
        .refused(&["each tile"]);

    // Photographs that do not fit are errors of their own, and the others are inspected.
    fs::create_dir_all(root.join("odd")).unwrap();
    good(1, (120, 300)).save(root.join("odd/a-small.png")).unwrap();
    good(2, (800, 256)).save(root.join("odd/b-wide.png")).unwrap();
    good(3, SIZE).save(root.join("odd/c-fits.png")).unwrap();
    let odd = run(root, "simplenet infer --model out/model.safetensors --input odd --output odd-out");
    odd.check(odd.code == Some(1), "two photographs fail");
    let lines = predictions(&root.join("odd-out"));
    for (line, words) in
        lines.iter().zip([["a-small.png", "160 x 160 of a tile"], ["b-wide.png", "3 x 2 tiles"]])
    {
        let error = line["error"].as_str().unwrap();
        assert!(words.iter().all(|word| error.contains(word)), "{error}");
    }
    assert_eq!(lines[2]["verdict"], "normal", "{}", lines[2]);

    // The features of tiles are kept from run to run, and where they lie changes nothing.
    let again = run(root, &TILED.replace("--out out", "--out again --memory-limit 1MB")).ok();
    again.says(&["features of 84 images from the feature cache", "on disk"]);
    let id = |folder: &str| checkpoint::inspect(&root.join(folder).join("model.safetensors")).unwrap().record;
    assert_eq!(id("again").content_sha256, id("out").content_sha256);
}

#[test]
fn settings_of_tiles_that_cannot_work_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    write(root, (200, 200));
    let train = |flags: &str| run(root, &format!("simplenet train --data data --out o --epochs 1 {flags}"));
    train("--tile 128 --overlap 90").refused(&["tiles.overlap: 90", "at most 64"]);
    train("--overlap 9").refused(&["--tile"]);
    train("--tile 256").refused(&["00.png", "256 x 256 of a tile"]);
    train("--tile 128 --centre-crop").fails(2, &["--centre-crop"]);
    good(1, (400, 200)).save(root.join("data/train/good/05.png")).unwrap();
    train("--tile 128").refused(&["preprocess.tiles", "05.png", "unaware"]);
    // A model that knows no places takes any number of tiles.
    let settings = "position = \"unaware\"\n[preprocess]\ntiles = { width = 128, height = 128, overlap = 16 }\n\
                    resize = { exact = { width = 96, height = 96 } }\n";
    fs::write(root.join("c.toml"), settings).unwrap();
    train("--config c.toml --oracle").ok();
    run(root, "simplenet eval --model o/model.safetensors --data data").ok();
    // Each tile is resized: the map is at the network's scale, and that of the photograph at its own.
    let inspection = detector(root, "o/model.safetensors").inspect(&good(9, (320, 200))).unwrap();
    assert_eq!((inspection.map_size, inspection.map.len()), ((240, 150), 240 * 150));
    assert_eq!(inspection.photograph_map.len(), 320 * 200);
}

#[test]
fn what_lies_outside_the_region_counts_for_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    write(root, (256, 192));
    // Outside the region, every photograph holds something else, in training too.
    let inside = |x: u32, y: u32| (64..224).contains(&x) && (32..160).contains(&y);
    let litter = |path: &Path, seed: u32| {
        let mut photograph = image::open(path).unwrap().to_rgb8();
        for (x, y, pixel) in photograph.enumerate_pixels_mut().filter(|(x, y, _)| !inside(*x, *y)) {
            *pixel = Rgb([0, 1, 2].map(|c| (255.0 * noise(x / 24, y / 24 + c, seed)) as u8));
        }
        photograph.save(path).unwrap();
    };
    for kind in ["train/good", "test/good", "test/spot"] {
        for entry in fs::read_dir(root.join("data").join(kind)).unwrap() {
            let path = entry.unwrap().path();
            let seed = path.file_stem().unwrap().to_str().unwrap().parse().unwrap();
            litter(&path, seed);
        }
    }
    let mask = GrayImage::from_fn(256, 192, |x, y| Luma([if inside(x, y) { 255 } else { 0 }]));
    mask.save(root.join("roi.png")).unwrap();
    for (name, flags) in [("whole", "--size 256x192"), ("tiled", "--tile 128x96 --overlap 32")] {
        let line = format!("simplenet train --data data --out {name} --epochs 3 --roi roi.png {flags}");
        let trained = run(root, &line).ok();
        trained.check(trained.err.contains("41.7 % of each 256 x 192 photograph"), "the share is said");
        let model = format!("{name}/model.safetensors");
        run(root, &format!("simplenet eval --model {model} --data data --output {name}-eval")).ok();
        let metrics = json(&root.join(format!("{name}-eval/metrics.json")));
        // One of the three spots, at 64,48, lies half outside.
        for metric in ["image_AUROC", "pixel_AUROC", "pixel_AUPRO"] {
            assert!(metrics[metric].as_f64().unwrap() > 0.9, "{name}, {metric}: {metrics}");
        }
        let lines = predictions(&root.join(format!("{name}-eval")));
        for line in &lines {
            assert!((line["inspected_share"].as_f64().unwrap() - 0.4167).abs() < 0.01, "{line}");
            for region in line["regions"].as_array().unwrap() {
                let edges: Vec<u64> =
                    region["box"].as_array().unwrap().iter().map(|v| v.as_u64().unwrap()).collect();
                assert!(edges[0] >= 64 && edges[1] >= 32 && edges[2] <= 224 && edges[3] <= 160, "{region}");
            }
        }
        // What is outside changes no bit of the score.
        let detector = detector(root, &model);
        let photograph = image::open(root.join("data/test/good/20.png")).unwrap().to_rgb8();
        let inspection = detector.inspect(&photograph).unwrap();
        let mut other = photograph.clone();
        let outside = other.enumerate_pixels_mut().filter(|(x, y, _)| !inside(*x, *y));
        outside.for_each(|(x, _, pixel)| *pixel = Rgb([x as u8, 255, 0]));
        assert_eq!(detector.inspect(&other).unwrap().score, inspection.score);
        for (i, v) in inspection.photograph_map.iter().enumerate() {
            assert_eq!(v.is_nan(), !inside(i as u32 % 256, i as u32 / 256), "{name}, {i}");
        }
        run(root, &format!("simplenet info --model {model}"))
            .ok()
            .says(&["region of interest", "a mask of 256 x 192"]);
    }
    // A region at inference narrows the model's own.
    let corner = vec![vec![[0.0, 0.0], [0.5, 0.0], [0.5, 1.0], [0.0, 1.0]]];
    let corner = RegionOfInterest { polygons: corner, ..RegionOfInterest::default() };
    let narrow =
        open_with(&root.join("whole/model.safetensors"), |options| options.roi = Some(corner.into()));
    let share = narrow.inspect(&good(20, (256, 192))).unwrap().inspected_share;
    assert!((share - 64.0 * 128.0 / (256.0 * 192.0)).abs() < 0.01, "{share}");
    fs::write(
        root.join("half.json"),
        r#"{"polygons": [[[0,0],[128,0],[128,192],[0,192]]], "size": [256,192]}"#,
    )
    .unwrap();
    run(root, "simplenet infer --model whole/model.safetensors --input data/test/good --output half --roi half.json").ok();
    let line = &predictions(&root.join("half"))[0];
    assert!((line["inspected_share"].as_f64().unwrap() - share).abs() < 1e-9, "{line}");
    let refused = |file: &str, words: &[&str]| {
        let line = format!(
            "simplenet infer --model whole/model.safetensors --input data/test/good --output x --roi {file}"
        );
        run(root, &line).refused(words);
    };
    GrayImage::new(9, 9).save(root.join("black.png")).unwrap();
    fs::write(root.join("two.json"), r#"{"polygons": [[[0,0],[1,1]]]}"#).unwrap();
    refused("black.png", &["black.png", "black throughout"]);
    refused("two.json", &["two.json", "a polygon of 2 corners"]);
    refused("absent.png", &["absent.png"]);
}

#[test]
fn small_regions_are_left_out_and_the_verdict_stays() {
    let shared = trained();
    let root = shared.path();
    let regions = |flags: &str, out: &str| -> Vec<Vec<u64>> {
        let line = format!(
            "simplenet infer --model out/model.safetensors --input data/test/spot --output {out} {flags}"
        );
        run(root, &line).ok().says(&["0 normal, 3 anomalous"]);
        let area = |line: &Value| -> Vec<u64> {
            line["regions"]
                .as_array()
                .unwrap()
                .iter()
                .map(|region| region["area"].as_u64().unwrap())
                .collect()
        };
        predictions(&root.join(out)).iter().map(area).collect()
    };
    let all = regions("", "all");
    assert!(all.iter().all(|areas| !areas.is_empty()), "{all:?}");
    let most = *all.iter().flatten().max().unwrap();
    let want: Vec<Vec<u64>> =
        all.iter().map(|areas| areas.iter().copied().filter(|&area| area >= most).collect()).collect();
    assert_eq!(regions(&format!("--min-region-area {most}"), "some"), want);
    assert!(regions(&format!("--min-region-area {}", most + 1), "none").iter().all(Vec::is_empty));
    // In the model file, and over it.
    run(root, &format!("{} --min-region-area {}", TILED.replace("--out out", "--out least"), most + 1)).ok();
    let least = detector(root, "least/model.safetensors");
    assert_eq!(least.record().min_region_area, most + 1);
    let photograph = image::open(root.join("data/test/spot/30.png")).unwrap().to_rgb8();
    assert!(least.inspect(&photograph).unwrap().regions.is_empty());
    run(root, "simplenet info --model least/model.safetensors").ok().says(&["least region area"]);
}

#[test]
fn rectangular_inputs_and_portrait_photographs_work_from_end_to_end() {
    for (size, photographs) in [("150x101", (190, 130)), ("96x160", (120, 210)), ("97x131", (101, 140))] {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        write(root, photographs);
        run(root, &format!("simplenet train --data data --out out --epochs 3 --size {size}")).ok();
        run(root, "simplenet eval --model out/model.safetensors --data data --output eval").ok();
        let metrics = json(&root.join("eval/metrics.json"));
        assert!(metrics["pixel_AUROC"].as_f64().unwrap() > 0.95, "{size}: {metrics}");
        run(root, "simplenet verify --model out/model.safetensors").ok();
        run(root, "simplenet infer --model out/model.safetensors --input data/test/spot --output int8 --precision int8").ok();
        for line in predictions(&root.join("int8")) {
            assert_eq!(line["image_size"], serde_json::json!([photographs.0, photographs.1]), "{line}");
        }
        let detector = detector(root, "out/model.safetensors");
        for place in [(photographs.0 / 4, photographs.1 / 4), (photographs.0 * 3 / 4, photographs.1 * 3 / 4)]
        {
            let (x, y) = peak(&detector.inspect(&spoil(&good(70, photographs), place)).unwrap());
            assert!(
                x.abs_diff(place.0) <= DEFECT && y.abs_diff(place.1) <= DEFECT,
                "{size}: {x},{y} for {place:?}"
            );
        }
    }
}
