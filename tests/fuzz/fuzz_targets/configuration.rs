//! A configuration's text: whole, and laid over a preset. What is accepted comes back the same from its own text.

#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use simplenet_model::BackboneId;
use simplenet_train::{Preset, TrainConfig};

fuzz_target!(|text: &str| {
    let origin = Path::new("fuzzed.toml");
    let preset = TrainConfig::preset(Preset::Default, BackboneId::EfficientNetLite0);
    for config in [TrainConfig::from_toml(text, origin), preset.overridden_by(text, origin)] {
        let Ok(config) = config else { continue };
        let written = config.to_toml().expect("an accepted configuration can be written");
        let again = TrainConfig::from_toml(&written, origin).expect("and read");
        assert_eq!(config, again, "{written}");
    }
});
