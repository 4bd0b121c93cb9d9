//! Writes the smallest model files that the format has, as seeds for `model_file`, and both presets, for `configuration`:
//! `cargo run --release --manifest-path tests/fuzz/Cargo.toml --example model_seed -- tests/fuzz/seeds`.

use std::{env, fs, path::PathBuf};

use simplenet_data::{Preprocess, dataset::folder, synthetic::DemoOptions, synthetic::write_demo};
use simplenet_model::{BackboneId, BackboneWeights, Levels};
use simplenet_train::{FitOptions, Preset, Silent, TrainConfig, config::Position, fit::fit};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let seeds = PathBuf::from(env::args().nth(1).ok_or("the folder of the seeds")?);
    for (name, preset) in [("paper", Preset::Paper), ("default", Preset::Default)] {
        let config = TrainConfig::preset(preset, BackboneId::EfficientNetLite0);
        fs::write(seeds.join("configuration").join(name).with_extension("toml"), config.to_toml()?)?;
    }
    let out = seeds.join("model_file");
    let demo = env::temp_dir().join("simplenet-fuzz-demo");
    let mut options = DemoOptions::default();
    (options.image_size, options.train_good, options.test_good, options.test_per_defect) = (96, 8, 0, 0);
    write_demo(&demo, &options, &|_, _| {})?;
    let good = folder::load_normal(&demo.join("steel_gear/train/good"))?.train;

    let mut config = TrainConfig::preset(Preset::Default, BackboneId::EfficientNetLite0);
    config.levels = Levels::new(&[1])?;
    (config.epochs, config.hidden, config.discriminators) = (1, 4, 1);
    config.preprocess = Preprocess::whole_image(32, 32);
    (config.calibration.held_out_share, config.calibration.fewest_held_out) = (0.25, 2);
    let weights = BackboneWeights::embedded(config.backbone)?.for_levels(config.levels)?;
    for (name, position) in [("plain", Position::Unaware), ("positions", config.position)] {
        config.position = position;
        let mut trained = fit(&config, &good, &weights, &FitOptions::default(), &Silent)?;
        trained.save(&out.join(format!("{name}.safetensors")))?;
    }
    fs::remove_dir_all(demo)?;
    Ok(())
}
