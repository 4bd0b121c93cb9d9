//! From flags to a complete training configuration: preset, then the TOML file, then the flags. And back: which preset a
//! model was trained with.

use bytesize::ByteSize;
use simplenet_data::preprocess::{CropSize, Preprocess, Resize};
use simplenet_model::{BackboneId, WeightsSource};
use simplenet_train::{
    FeatureStorage,
    config::{Preset, TrainConfig},
};

use crate::{
    args::{PresetArg, SettingArgs, StorageArgs},
    error::CliError,
    machine::free_memory,
    output::bench_report::NearestPreset,
};

/// The paper's ratio of resized shorter side to crop.
const RESIZE_TO_CROP: f64 = 329.0 / 288.0;

/// The configuration that the flags ask for.
///
/// # Errors
/// A configuration file that cannot be read, an unknown key, a setting that cannot work.
pub fn resolve(args: &SettingArgs, seed: Option<u64>) -> Result<TrainConfig, CliError> {
    let file = match &args.config {
        Some(path) => Some((std::fs::read_to_string(path).map_err(CliError::io("read", path))?, path)),
        None => None,
    };
    let backbone = match (args.backbone, &file) {
        (Some(id), _) => id,
        (None, Some((text, path))) => backbone_in(text, path)?.unwrap_or(BackboneId::EfficientNetLite0),
        (None, None) => BackboneId::EfficientNetLite0,
    };
    let preset = match args.preset {
        Some(PresetArg::Paper) => Preset::Paper,
        Some(PresetArg::Default) | None => Preset::Default,
    };
    let mut config = TrainConfig::preset(preset, backbone);
    if let Some((text, path)) = &file {
        config = config.overridden_by(text, path)?;
    }
    config.backbone = backbone;
    if let Some(seed) = seed {
        config.seed = seed;
    }
    if let Some(epochs) = args.epochs {
        config.epochs = epochs;
    }
    if let Some(sigma) = args.noise_sigma {
        config.noise_sigma = sigma;
    }
    if let Some(share) = args.held_out {
        config.calibration.held_out_share = share;
        config.calibration.fewest_held_out = 0;
    }
    if let Some(rate) = args.false_reject_rate {
        config.calibration.target_false_reject_rate = rate;
    }
    resize(&mut config.preprocess, args);
    config.validate()?;
    Ok(config)
}

/// The preset that the settings in a model file are nearest to, and where they leave it; the seed is not looked at.
/// `None` where these are not the settings of a training.
pub fn nearest_preset(training: &serde_json::Value) -> Option<NearestPreset> {
    // Through the type: an f32 reads otherwise as a JSON number in a text than as one made from the f32 itself.
    let config: TrainConfig = serde_json::from_value(training.clone()).ok()?;
    let settings = serde_json::to_value(&config).ok()?;
    let near = |preset: Preset| {
        let standard = serde_json::to_value(TrainConfig::preset(preset, config.backbone)).ok()?;
        let differs = |name: &&String| *name != "seed" && settings.get(*name) != standard.get(name.as_str());
        let changed = settings.as_object()?.keys().filter(differs).cloned().collect();
        Some(NearestPreset { name: serde_json::to_value(preset).ok()?.as_str()?.to_string(), changed })
    };
    [Preset::Default, Preset::Paper].into_iter().filter_map(near).min_by_key(|near| near.changed.len())
}

/// Where the backbone's weights come from.
pub fn weights_source(args: &SettingArgs) -> WeightsSource {
    args.weights.clone().map_or(WeightsSource::Default, WeightsSource::File)
}

/// The share of the free memory that training features may take, when no limit is given: the network, the head's training
/// and whatever else runs need some too.
const FEATURE_SHARE: u64 = 2;

/// Most bytes of the folder that keeps features, when no limit is given: WideResNet-50-2's of 2,500 photographs.
const FOLDER_LIMIT: ByteSize = ByteSize::gb(10);

/// Where features may lie. A user without a cache folder has none from run to run.
pub fn feature_storage(args: &StorageArgs) -> FeatureStorage {
    let folder = || Some(dirs::cache_dir()?.join("simplenet").join("features"));
    FeatureStorage {
        folder: if args.no_feature_cache { None } else { args.feature_cache.clone().or_else(folder) },
        folder_limit: args.feature_cache_limit.unwrap_or(FOLDER_LIMIT).as_u64(),
        memory_limit: args.memory_limit.map_or_else(|| free_memory() / FEATURE_SHARE, |limit| limit.as_u64()),
    }
}

fn resize(preprocess: &mut Preprocess, args: &SettingArgs) {
    if args.size.is_none() && !args.centre_crop {
        return;
    }
    let (width, height) = args.size.unwrap_or_else(|| preprocess.network_size());
    if args.centre_crop || (args.size.is_some() && preprocess.crop.is_some()) {
        let shorter = (f64::from(width.max(height)) * RESIZE_TO_CROP).round() as u32;
        preprocess.resize = Resize::ShorterSide(shorter);
        preprocess.crop = Some(CropSize { width, height });
    } else {
        preprocess.resize = Resize::Exact { width, height };
        preprocess.crop = None;
    }
}

/// The backbone that a configuration file names, if it does.
fn backbone_in(text: &str, path: &std::path::Path) -> Result<Option<BackboneId>, CliError> {
    #[derive(serde::Deserialize)]
    struct OnlyBackbone {
        backbone: Option<BackboneId>,
    }
    toml::from_str::<OnlyBackbone>(text)
        .map(|file| file.backbone)
        .map_err(|e| CliError::Usage(format!("{}: {e}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_tells_its_preset_and_what_was_changed() {
        let backbone = BackboneId::EfficientNetLite0;
        for (preset, name) in [(Preset::Default, "default"), (Preset::Paper, "paper")] {
            let mut config = TrainConfig::preset(preset, backbone);
            config.seed = 7;
            let near = |config: &TrainConfig| {
                let text = serde_json::to_string(config).unwrap();
                nearest_preset(&serde_json::from_str(&text).unwrap())
            };
            assert_eq!(near(&config), Some(NearestPreset { name: name.into(), changed: vec![] }));
            config.epochs += 1;
            config.preprocess.resize = Resize::Exact { width: 96, height: 64 };
            let changed = vec!["epochs".to_string(), "preprocess".into()];
            assert_eq!(near(&config), Some(NearestPreset { name: name.into(), changed }));
        }
        for other in [serde_json::Value::Null, serde_json::json!({"made_by": "hand"})] {
            assert_eq!(nearest_preset(&other), None, "{other}");
        }
    }
}
