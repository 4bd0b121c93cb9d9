//! What flags say beside the training's configuration: where weights come from and features may lie. And back from a
//! model: which preset it was trained with.

use bytesize::ByteSize;
use simplenet_model::WeightsSource;
use simplenet_train::{
    FeatureStorage,
    config::{Preset, TrainConfig},
};

use crate::{
    args::{SettingArgs, StorageArgs},
    machine::free_memory,
    output::bench_report::NearestPreset,
};

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

#[cfg(test)]
mod tests {
    use simplenet_data::preprocess::Resize;
    use simplenet_model::BackboneId;

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
