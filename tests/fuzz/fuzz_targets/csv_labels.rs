//! A list of images with labels (CSV), beside the photographs that the seeds name.

#![no_main]

use std::{fs, sync::Once};

use libfuzzer_sys::fuzz_target;
use simplenet_data::{
    dataset::{CheckOptions, Source, check},
    decode::DecodeOptions,
};
use simplenet_fuzz::{file, folder};

/// 2×2 pixels, black and white.
const PHOTOGRAPH: &[u8] = b"P5 2 2 255 \x00\xff\xff\x00";

fuzz_target!(|bytes: &[u8]| {
    static PHOTOGRAPHS: Once = Once::new();
    PHOTOGRAPHS.call_once(|| {
        fs::create_dir_all(folder().join("photos")).expect("a folder");
        for name in ["photos/a.pgm", "photos/b.pgm", "photos/c.pgm", "photos/c_mask.pgm"] {
            file(name, PHOTOGRAPH);
        }
    });
    // A list may name any file of the machine: whatever lies outside the folder is no business of this target.
    let text = String::from_utf8_lossy(bytes);
    if ["..", "/dev", "/proc", "/sys"].iter().any(|outside| text.contains(outside)) {
        return;
    }
    let path = file("list.csv", bytes);
    let Ok(recognised) = Source::path(&path).recognise() else { return };
    let decode = DecodeOptions { max_pixels: 1 << 16, ..DecodeOptions::default() };
    for place in &recognised.places {
        if let Ok(category) = place.load(&decode) {
            assert!(!category.train.is_empty() || !category.test.is_empty() || !category.left_out.is_empty());
        }
    }
    let options = CheckOptions { decode, ..CheckOptions::default() };
    let _ = check(&path, &recognised, &options, &|_, _| {});
});
