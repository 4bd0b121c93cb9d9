//! Any bytes -> pixels. A file that is decoded has the size that its header announces, within the limit.

#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use simplenet_data::decode::{DecodeOptions, Exif, SixteenBit, decode_image, image_size_of};

/// Enough for every seed; keeps what one input may cost small.
const MAX_PIXELS: u64 = 1 << 18;

fuzz_target!(|bytes: &[u8]| {
    let name = Path::new("fuzzed");
    for (exif, sixteen_bit) in [(Exif::Apply, SixteenBit::Scale), (Exif::Ignore, SixteenBit::Clip)] {
        let options = DecodeOptions { exif, sixteen_bit, max_pixels: MAX_PIXELS, ..DecodeOptions::default() };
        let announced = image_size_of(bytes, name, &options);
        if let Ok(decoded) = decode_image(bytes, name, &options) {
            let (width, height) = decoded.pixels.dimensions();
            assert!(u64::from(width) * u64::from(height) <= MAX_PIXELS);
            assert_eq!(announced.expect("a header"), (width, height));
        }
    }
});
