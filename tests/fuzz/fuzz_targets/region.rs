//! A region of interest: a file of polygons, LabelMe's or COCO's JSON, a mask image; and one as a model file keeps it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use simplenet_data::{Placement, RegionOfInterest, dataset::read_drawings, decode::DecodeOptions};
use simplenet_fuzz::file;

fn use_it(region: &RegionOfInterest) {
    region.describe();
    let placement = Placement { original: (37, 29), resized: (32, 24), crop: (3, 2, 20, 17) };
    assert_eq!(region.pixels(&placement).len(), 20 * 17);
}

fuzz_target!(|bytes: &[u8]| {
    let options = DecodeOptions { max_pixels: 1 << 18, ..DecodeOptions::default() };
    let path = file("region.json", bytes);
    if let Ok(region) = RegionOfInterest::read(&path, &options) {
        region.validate().expect("a region that was read is valid");
        use_it(&region);
    }
    let _ = read_drawings(&path, options.max_pixels);
    if let Ok(region) = serde_json::from_slice::<RegionOfInterest>(bytes)
        && region.validate().is_ok()
    {
        use_it(&region);
        let text = serde_json::to_vec(&region).expect("JSON");
        assert!(serde_json::from_slice::<RegionOfInterest>(&text).is_ok());
    }
});
