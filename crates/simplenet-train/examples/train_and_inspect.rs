//! The whole way in one program: good parts -> a trained and calibrated model file -> verdicts on new parts.
//!
//! In: nothing; the parts are drawn into a temporary folder. Out: the model file there, a line per inspected part.
//!
//! ```sh
//! cargo run --release -p simplenet-train --example train_and_inspect
//! ```

use std::{env, path::Path};

use simplenet_data::{
    Preprocess,
    dataset::mvtec,
    decode_file,
    synthetic::{DemoOptions, write_demo},
};
use simplenet_model::{BackboneId, BackboneWeights};
use simplenet_train::{FitOptions, Preset, Silent, TrainConfig, fit::fit};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = env::temp_dir().join("simplenet-train-and-inspect");
    let mut options = DemoOptions::default();
    (options.image_size, options.train_good, options.test_good, options.test_per_defect) = (160, 24, 3, 1);
    write_demo(&folder, &options, &|_, _| {})?;
    let category = mvtec::load_category(&folder.join("steel_gear"))?;

    let mut config = TrainConfig::preset(Preset::Default, BackboneId::EfficientNetLite0);
    config.preprocess = Preprocess::whole_image(160, 160); // smaller than the preset's, to be done in seconds
    let weights = BackboneWeights::embedded(config.backbone)?;
    let mut trained = fit(&config, &category.train, &weights, &FitOptions::default(), &Silent)?;
    let model = folder.join("model.safetensors");
    trained.save(&model)?;
    println!("trained on {} parts: {}", category.train.len(), model.display());

    for sample in &category.test {
        let photograph = decode_file(&sample.path, &config.preprocess.decode)?;
        let inspection = trained.detector.inspect(&photograph)?;
        let name = sample.path.file_name().map(Path::new).unwrap_or(Path::new("")).display();
        let regions = inspection.regions.len();
        println!("{:>12} {name}: score {:6.2}, {regions} regions", sample.defect, inspection.score);
    }
    Ok(())
}
