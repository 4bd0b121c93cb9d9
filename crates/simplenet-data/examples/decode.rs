//! Decodes files and says what they were: `cargo run --example decode -- FILE…`.

use std::path::Path;
use std::time::Instant;

use simplenet_data::decode::{DecodeOptions, decode_image, read_file};

fn main() {
    let options = DecodeOptions::default();
    for path in std::env::args().skip(1) {
        let path = Path::new(&path);
        let bytes = match read_file(path, options.max_pixels) {
            Ok(bytes) => bytes,
            Err(e) => {
                println!("{e}");
                continue;
            }
        };
        let start = Instant::now();
        match decode_image(&bytes, path, &options) {
            Ok(decoded) => {
                let sum =
                    decoded.pixels.iter().fold(0u64, |sum, &v| sum.wrapping_mul(31).wrapping_add(v.into()));
                let time = start.elapsed().as_secs_f64() * 1e3;
                let size = decoded.pixels.dimensions();
                println!("{} {size:?} {sum:016x} {time:.2} ms {:?}", path.display(), decoded.source);
            }
            Err(e) => println!("ERR {e}"),
        }
    }
}
