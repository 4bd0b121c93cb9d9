//! Anomaly maps and image scores against PyTorch's resize and SciPy's filter, driven by the manifest of the
//! `anomaly_map` case.

mod common;

use simplenet_model::anomaly_map::{AnomalyMapConfig, ImageScore, anomaly_map, image_score, resize_bilinear};
use simplenet_tests::read_manifest;

use common::{check, flat, input, list, number, text};

#[test]
fn reference_anomaly_map() {
    let manifest = read_manifest("anomaly_map");
    for test in list(&manifest, "tests") {
        let name = text(test, "name");
        let scores = input(&test["input"]);
        let (images, h, w) = scores.dims3().unwrap();
        let scores = flat(&scores);
        let size: Vec<usize> = serde_json::from_value(test["target_size_hw"].clone()).unwrap();
        let [out_h, out_w] = size[..] else { panic!("{name}: target_size_hw is {size:?}") };
        let config = AnomalyMapConfig { sigma: number(test, "sigma"), ..Default::default() };
        // Every image by one function, the results one after another.
        let each =
            |work: &dyn Fn(&[f32]) -> Vec<f32>| scores.chunks(h * w).flat_map(work).collect::<Vec<f32>>();
        for expected in list(test, "expected") {
            let (dims, got) = match text(expected, "key") {
                "map" => (vec![images, out_h, out_w], each(&|s| anomaly_map(s, h, w, out_h, out_w, &config))),
                "image_score" => {
                    (vec![images], each(&|s| vec![image_score(s, s.len(), ImageScore::Largest)]))
                }
                "upsampled_row0" => {
                    (vec![images, out_w], each(&|s| resize_bilinear(s, h, w, out_h, out_w)[..out_w].to_vec()))
                }
                other => panic!("{name}: unknown expectation `{other}`"),
            };
            check("anomaly_map", name, expected, &dims, &got);
        }
    }
}
