//! What a detector refuses rather than call a part good.

#![allow(clippy::unwrap_used, clippy::panic)] // tests: a failed expectation must stop them

mod drawn;

use simplenet_inference::{Detector, DetectorOptions, InferenceError, Threshold, inspect_one};

#[test]
fn a_network_that_overflows_gives_no_verdict() {
    let (folder, _, photographs) = drawn::folder(1);
    let model = folder.path().join("overflowing.safetensors");
    drawn::write_model(&model, 1e30);
    let detector = Detector::open(&model, &DetectorOptions::default()).unwrap();
    let image = drawn::photograph(0);
    let broken = "the network gave a score of";
    let (width, height) = image.dimensions();
    let of_bytes = detector.inspect_rgb(width, height, image.as_raw()).unwrap_err().to_string();
    assert!(of_bytes.starts_with(broken), "{of_bytes}");
    let of_several = detector.inspect_batch(&[image.clone(), image]).unwrap_err().to_string();
    assert!(of_several.starts_with(&format!("image 0: {broken}")), "{of_several}");
    let empty = image::RgbImage::new(0, 0);
    let of_empty =
        detector.inspect_batch(&[drawn::photograph(1), empty.clone(), empty]).unwrap_err().to_string();
    assert!(of_empty.starts_with("image 1: "), "{of_empty}");
    let of_file = inspect_one(&detector, &photographs[0]).unwrap_err().to_string();
    assert!(of_file.contains("0.png: the network gave a score of"), "{of_file}");
}

#[test]
fn a_threshold_that_is_no_number_is_refused() {
    let (_folder, model, _) = drawn::folder(0);
    for value in [f32::NAN, f32::INFINITY] {
        let mut options = DetectorOptions::default();
        options.threshold = Some(value);
        let error = Detector::open(&model, &options).err().unwrap();
        assert!(error.to_string().starts_with("threshold: "), "{error}");
    }
    let mut detector = Detector::open(&model, &DetectorOptions::default()).unwrap();
    let mut record = detector.record().clone();
    record.threshold = Some(Threshold::by_hand(f32::NAN, 0.0));
    assert!(matches!(detector.set_record(record), Err(InferenceError::Record { .. })));
}
