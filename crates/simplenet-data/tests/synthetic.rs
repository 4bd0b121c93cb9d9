//! The demo data as a user meets it: files on disk, in MVTec layout, whole or absent, the same everywhere.

#![allow(clippy::unwrap_used)] // in a test a failed step may panic, helpers included

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use simplenet_data::dataset::mvtec;
use simplenet_data::synthetic::{DEMO_CATEGORIES, DemoOptions, write_demo};
use simplenet_data::{DataError, Label};

/// Hash of every pixel of the tiny demo of seed 3. It may change only with the drawing code, never with the
/// machine: a change on another CPU or system is a fault.
const TINY_HASH: u64 = 0x2840_F776_2290_981F;

fn tiny(seed: u64) -> DemoOptions {
    let mut options = DemoOptions::default();
    options.seed = seed;
    options.image_size = 96;
    options.train_good = 2;
    options.test_good = 1;
    options.test_per_defect = 1;
    options
}

fn write(root: &Path, options: &DemoOptions) -> Result<(), DataError> {
    write_demo(root, options, &|_, _| {})
}

/// Every file below `root` with a hash of its content: of the pixels where it is a picture (FNV-1a).
fn contents(root: &Path) -> BTreeMap<PathBuf, u64> {
    let files =
        walkdir::WalkDir::new(root).into_iter().map(Result::unwrap).filter(|e| e.file_type().is_file());
    files
        .map(|entry| {
            let path = entry.path();
            let bytes = if path.extension().is_some_and(|e| e == "png") {
                image::open(path).unwrap().into_bytes()
            } else {
                fs::read(path).unwrap()
            };
            (path.strip_prefix(root).unwrap().to_path_buf(), fnv(&bytes))
        })
        .collect()
}

fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xCBF2_9CE4_8422_2325, |hash, &b| (hash ^ u64::from(b)).wrapping_mul(0x0100_0000_01B3))
}

fn names(root: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(root).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn equal_seeds_give_equal_pixels_on_every_machine() {
    let (first, second, other) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    write(first.path(), &tiny(3)).unwrap();
    write(second.path(), &tiny(3)).unwrap();
    write(other.path(), &tiny(4)).unwrap();
    let (first, second, other) = (contents(first.path()), contents(second.path()), contents(other.path()));
    assert_eq!(first, second);
    assert_eq!(first.keys().collect::<Vec<_>>(), other.keys().collect::<Vec<_>>());
    for (path, hash) in &first {
        assert_ne!(hash, &other[path], "{} is the same for another seed", path.display());
    }
    let pixels = first.iter().filter(|(path, _)| path.extension().is_some_and(|e| e == "png"));
    let hashes: Vec<u8> = pixels.flat_map(|(_, hash)| hash.to_le_bytes()).collect();
    assert_eq!(fnv(&hashes), TINY_HASH, "0x{:016X}: did the drawing code change?", fnv(&hashes));
}

#[test]
fn the_loader_finds_every_category_with_its_masks() {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), &tiny(1)).unwrap();
    let categories = mvtec::list_categories(root.path()).unwrap();
    assert_eq!(categories.len(), DEMO_CATEGORIES.len());
    for folder in categories {
        let category = mvtec::load_category(&folder).unwrap();
        assert!(DEMO_CATEGORIES.contains(&category.name.as_str()), "{}", category.name);
        assert_eq!(category.train.len(), 2, "{}", category.name);
        let defective: Vec<_> = category.test.iter().filter(|s| s.label == Label::Anomalous).collect();
        assert!(defective.len() >= 4 && category.test.len() == defective.len() + 1, "{}", category.name);
        for sample in defective {
            let mask = image::open(&sample.mask.as_ref().unwrap().files()[0]).unwrap().into_luma8();
            assert_eq!(mask.dimensions(), (96, 96), "{}", sample.path.display());
            assert!(mask.pixels().all(|p| p[0] == 0 || p[0] == 255), "{}", sample.path.display());
            let area = mask.pixels().filter(|p| p[0] == 255).count();
            assert!((12..96 * 96 / 3).contains(&area), "{}: {area} pixels", sample.path.display());
        }
    }
}

#[test]
fn an_interrupted_run_leaves_no_half_category_and_the_next_goes_on() {
    let root = tempfile::tempdir().unwrap();
    let (options, calls) = (tiny(2), Cell::new(0));
    let total = Cell::new(0);
    let interrupted = catch_unwind(AssertUnwindSafe(|| {
        write_demo(root.path(), &options, &|_, of| {
            total.set(of);
            calls.set(calls.get() + 1);
            assert!(calls.get() < 12, "interrupted by the test");
        })
    }));
    assert!(interrupted.is_err());
    assert_eq!(names(root.path()), DEMO_CATEGORIES[..1], "the first is whole, the second was under way");

    let marker = root.path().join(DEMO_CATEGORIES[0]).join("marker");
    fs::write(&marker, "kept").unwrap();
    let last = Cell::new((0, 0));
    write_demo(root.path(), &options, &|done, of| {
        assert!(done > last.get().0 || done == of || done == last.get().0, "{done} after {:?}", last.get());
        last.set((done, of));
    })
    .unwrap();
    assert_eq!(last.get(), (total.get(), total.get()));
    assert!(marker.exists(), "a complete category is kept");
    assert_eq!(names(root.path()).len(), DEMO_CATEGORIES.len());
}

#[test]
fn errors_name_what_is_wrong_and_leave_nothing_behind() {
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join(DEMO_CATEGORIES[0]), "a file in the way").unwrap();
    let error = write(root.path(), &tiny(1)).unwrap_err();
    assert!(
        matches!(error, DataError::Io { .. }) && error.to_string().contains(DEMO_CATEGORIES[0]),
        "{error}"
    );
    assert_eq!(names(root.path()), DEMO_CATEGORIES[..1]);

    let fresh = tempfile::tempdir().unwrap();
    type Spoil = fn(&mut DemoOptions);
    let cases: [(&str, Spoil); 4] = [
        ("image_size", |o| o.image_size = 8),
        ("train_good", |o| o.train_good = 0),
        ("test_good", |o| o.test_good = 5000),
        ("test_per_defect", |o| o.test_per_defect = 5000),
    ];
    for (name, spoil) in cases {
        let mut options = tiny(1);
        spoil(&mut options);
        let error = write(fresh.path(), &options).unwrap_err();
        assert!(matches!(error, DataError::InvalidOption { option, .. } if option == name), "{error}");
    }
    assert!(names(fresh.path()).is_empty());
}
