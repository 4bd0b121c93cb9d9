//! Tests of preprocessing that need no reference files; the goldens are a test of the workspace.

use super::*;
use image::{Luma, Rgb};

fn custom(resize: Resize, crop: Option<(u32, u32)>) -> Preprocess {
    let crop = crop.map(|(width, height)| CropSize { width, height });
    Preprocess { resize, crop, ..Preprocess::default() }
}

#[test]
fn sizes_and_offsets() {
    // Longer side rounded down; offset half to even: 20.5 -> 20, 73.5 -> 74.
    let paper = Preprocess::paper();
    let cases = [
        ((211, 137), (506, 329), (109, 20)),
        ((160, 121), (435, 329), (74, 20)),
        ((700, 900), (329, 423), (20, 68)),
        ((1000, 1000), (329, 329), (20, 20)),
        ((329, 329), (329, 329), (20, 20)),
    ];
    for ((width, height), resized, (x, y)) in cases {
        let placement = paper.placement(width, height);
        assert_eq!(placement.original, (width, height));
        assert_eq!((placement.resized, placement.crop), (resized, (x, y, 288, 288)));
    }
    // Extreme and impossible sizes do not overflow.
    assert_eq!(paper.placement(u32::MAX, 1).resized, (u32::MAX, 329));
    assert_eq!(paper.placement(0, 0).resized.0, 329);
}

#[test]
fn rectangular_inputs() {
    let pixels = RgbImage::from_fn(120, 90, |x, y| Rgb([x as u8, y as u8, 0]));
    let cases = [
        (custom(Resize::Exact { width: 64, height: 32 }, None), (64, 32)),
        (custom(Resize::Exact { width: 64, height: 32 }, Some((60, 8))), (60, 8)),
        (custom(Resize::ShorterSide(40), Some((40, 24))), (40, 24)),
    ];
    for (preprocess, (width, height)) in cases {
        preprocess.validate().unwrap();
        assert_eq!(preprocess.network_size(), (width, height));
        let input = preprocess.resize_crop(&pixels).unwrap();
        assert_eq!(input.dimensions(), (width, height));
        // Red grows to the right, green downwards: nothing is transposed.
        assert!(input.get_pixel(width - 1, 0).0[0] > input.get_pixel(0, 0).0[0] + 30);
        assert!(input.get_pixel(0, height - 1).0[1] > input.get_pixel(0, 0).0[1] + 10);
        let mask = preprocess.mask(&GrayImage::from_pixel(120, 90, Luma([255])), MaskRule::FullOnly).unwrap();
        assert_eq!(mask, vec![1; (width * height) as usize]);
    }
}

#[test]
fn normalised_planes() {
    let pixels = RgbImage::from_fn(3, 2, |x, y| Rgb([x as u8 * 100, y as u8 * 200, 255]));
    let preprocess = Preprocess::default();
    let mut out = vec![f32::NAN; 18];
    preprocess.normalise(&pixels, &mut out).unwrap();
    for (i, &got) in out.iter().enumerate() {
        let (c, y, x) = (i / 6, i / 3 % 2, i % 3);
        let v = f32::from(pixels.get_pixel(x as u32, y as u32).0[c]);
        assert_eq!(got, (v / 255.0 - IMAGENET_MEAN[c]) / IMAGENET_STD[c]);
    }
    let error = preprocess.normalise(&pixels, &mut out[..17]).unwrap_err();
    assert!(error.to_string().contains("17 values, expected 3 x 2 x 3"), "{error}");
}

#[test]
fn mask_rules_decide_about_soft_edges() {
    // One edge in the middle of 3 columns, resized to 2: the second output is mixed.
    let mask = GrayImage::from_raw(4, 1, vec![0, 0, 255, 255]).unwrap();
    let preprocess = custom(Resize::Exact { width: 3, height: 1 }, None);
    let soft = preprocess.soft_mask(&mask).unwrap().into_raw();
    assert!(soft[0] < 128 && (1..255).contains(&soft[1]) && soft[2] >= 128, "{soft:?}");
    let rule = |rule| preprocess.mask(&mask, rule).unwrap();
    let by_hand = |least| soft.iter().map(|&v| u8::from(v >= least)).collect::<Vec<_>>();
    assert_eq!(rule(MaskRule::Half), by_hand(128));
    assert_eq!(rule(MaskRule::FullOnly), by_hand(255));
    assert_eq!(rule(MaskRule::AnyPositive), by_hand(1));
    assert_ne!(rule(MaskRule::FullOnly), rule(MaskRule::AnyPositive));
}

#[test]
fn a_mask_file_must_have_its_images_size() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("m.png");
    GrayImage::from_pixel(30, 20, Luma([255])).save(&path).unwrap();
    let truth = GroundTruth::bright(path);
    let read = |size| Preprocess::default().ground_truth(&truth, Path::new("i.png"), size, MaskRule::Half);
    assert_eq!(read((30, 20)).unwrap(), vec![1; 288 * 288]);
    let error = read((20, 30)).unwrap_err();
    assert!(error.to_string().contains("is 30 x 20 but its image i.png is 20 x 30"), "{error}");
}

#[test]
fn augmentation_comes_between_resize_and_crop() {
    let white = RgbImage::from_pixel(400, 300, Rgb([255; 3]));
    let preprocess = custom(Resize::Exact { width: 100, height: 100 }, Some((60, 60)));
    let shift = Augment { translate: 0.2, ..Augment::default() };
    for seed in 0..20 {
        // Shifts of up to 20 of 100 pixels move the black border no further than the crop's edge.
        let out = preprocess.resize_augment_crop(&white, &shift, seed).unwrap();
        assert_eq!(out, RgbImage::from_pixel(60, 60, Rgb([255; 3])), "{seed}");
    }
    let off = preprocess.resize_augment_crop(&white, &Augment::default(), 1).unwrap();
    assert_eq!(off, preprocess.resize_crop(&white).unwrap());
}

#[test]
fn invalid_configurations_say_what_is_allowed() {
    let exact = |width, height| Resize::Exact { width, height };
    let tiled = |width, overlap, resize| {
        let tiles = Some(Tiles { width, height: 64, overlap });
        Preprocess { tiles, ..custom(resize, None) }
    };
    let mut no_std = Preprocess::default();
    no_std.std[1] = 0.0;
    let mut no_mean = Preprocess::default();
    no_mean.mean[2] = f32::NAN;
    let mut no_pixels = Preprocess::default();
    no_pixels.decode.max_pixels = 0;
    let mut no_limit = Preprocess::default();
    no_limit.decode.max_pixels = u64::MAX;
    let cases = [
        (custom(exact(0, 5), None), "invalid resize: 0 x 5"),
        (custom(exact(5, 10_000), None), "1 to 8192"),
        (custom(Resize::ShorterSide(0), Some((1, 1))), "invalid resize"),
        (custom(Resize::ShorterSide(256), None), "invalid crop: none; expected a crop size"),
        (custom(exact(64, 64), Some((65, 64))), "invalid crop: 65 x 64; expected 1 x 1 to 64 x 64"),
        (custom(exact(64, 64), Some((0, 64))), "invalid crop"),
        (tiled(0, 0, exact(64, 64)), "invalid tiles: 0 x 64"),
        (tiled(64, 33, exact(64, 64)), "invalid tiles.overlap: 33; expected at most 32"),
        (
            Preprocess { crop: Some(CropSize { width: 9, height: 9 }), ..tiled(64, 8, exact(64, 64)) },
            "invalid tiles: beside a crop",
        ),
        (
            Preprocess { roi: Some(RegionOfInterest::default()), ..Preprocess::default() },
            "invalid roi: nothing",
        ),
        (custom(exact(8192, 8192), None), "at most 4194304 pixels"),
        (custom(Resize::ShorterSide(8192), Some((4096, 2048))), "4096 x 2048 at the network"),
        (tiled(8, 0, exact(288, 288)), "8 x 64, each enlarged to 288 x 288; expected larger tiles"),
        (tiled(1, 0, exact(8192, 64)), "at most 16 times"),
        (Preprocess { std: [1e-45; 3], ..Preprocess::default() }, "invalid std"),
        (Preprocess { mean: [3e38, -3e38, 1e38], ..Preprocess::default() }, "invalid std"),
        (no_limit, "invalid decode.max_pixels"),
        (no_std, "invalid std"),
        (no_mean, "invalid mean"),
        (no_pixels, "max_pixels"),
    ];
    let pixels = RgbImage::new(10, 10);
    for (preprocess, part) in cases {
        let error = preprocess.validate().unwrap_err().to_string();
        assert!(error.contains(part), "{part:?} is not in: {error}");
        // Unvalidated use is an error, not a panic.
        assert!(preprocess.resize_crop(&pixels).is_err());
        preprocess.placement(3, 100);
    }
    assert!(Preprocess::default().resize_crop(&RgbImage::new(0, 7)).is_err());
    let narrow = RgbImage::new(1, 700_000);
    let turn = Augment { rotate_degrees: 5.0, ..Augment::default() };
    let error = Preprocess::paper().resize_augment_crop(&narrow, &turn, 0).unwrap_err();
    assert!(error.to_string().contains("aspect ratio"), "{error}");
    // Without augmentation only the crop is ever made.
    assert_eq!(Preprocess::paper().resize_crop(&narrow).unwrap().dimensions(), (288, 288));
}

/// What is sensible for the largest photographs is allowed, and what costs hours or all memory is refused before it begins.
#[test]
fn tiles_of_a_photograph_are_as_many_as_there_is_time_for() {
    // 200 megapixels, pixel by pixel and somewhat enlarged.
    let largest = (16_384, 12_200);
    for (tile, side) in [(256, 256), (256, 320), (512, 288), (1024, 1024)] {
        let preprocess = Preprocess::tiled(Tiles::of(tile, tile), side, side);
        let layout = preprocess.layout(largest.0, largest.1).unwrap();
        assert!(layout.count() as u64 <= MAX_TILES, "{tile}: {}", layout.count());
    }
    let many = Preprocess::tiled(Tiles { width: 64, height: 64, overlap: 32 }, 64, 64);
    let error = many.layout(largest.0, largest.1).unwrap_err().to_string();
    assert!(error.contains("tiles of 64 x 64") && error.contains("at most 16384 tiles"), "{error}");
    let enlarged = Preprocess::tiled(Tiles::of(128, 128), 288, 288);
    let error = enlarged.layout(largest.0, largest.1).unwrap_err().to_string();
    assert!(error.contains("at most 400000000"), "{error}");
    // The count is the one that is made.
    for (length, tile, overlap) in [(100, 30, 10), (100, 50, 0), (30, 30, 15), (101, 7, 3)] {
        let preprocess = Preprocess::tiled(Tiles { width: tile, height: tile, overlap }, tile, tile);
        let made = preprocess.layout(length, length).unwrap().columns.starts.len() as u64;
        let along = 1 + u64::from((length - tile).div_ceil(tile - overlap));
        assert_eq!(made, along, "{length} {tile} {overlap}");
    }
}

#[test]
fn presets_survive_a_configuration_file() {
    let tiled = Preprocess::tiled(Tiles::of(512, 640), 256, 320);
    for preprocess in [Preprocess::paper(), Preprocess::whole_image(320, 256), tiled] {
        preprocess.validate().unwrap();
        let text = serde_json::to_string(&preprocess).unwrap();
        assert_eq!(serde_json::from_str::<Preprocess>(&text).unwrap(), preprocess, "{text}");
    }
    let text = serde_json::to_string(&Preprocess::paper()).unwrap();
    assert!(text.contains(r#""resize":{"shorter_side":329},"crop":{"width":288,"height":288}"#), "{text}");
    assert!(
        !text.contains("tiles") && !text.contains("roi"),
        "files of those who have none stay as they were: {text}"
    );
    assert!(text.contains(r#""exif":"ignore","sixteen_bit":"clip""#), "{text}");
    let unknown = text.replace("\"mean\"", "\"center\"");
    assert!(serde_json::from_str::<Preprocess>(&unknown).is_err());
}
