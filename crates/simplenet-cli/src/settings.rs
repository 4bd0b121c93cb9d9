//! From flags to a complete training configuration: preset, then the TOML file, then the flags. And back: which preset a
//! model was trained with.

use bytesize::ByteSize;
use simplenet_data::{
    RegionOfInterest, SixteenBit, Tiles,
    preprocess::{CropSize, Preprocess, Resize},
};
use simplenet_model::{BackboneId, WeightsSource};
use simplenet_train::{
    FeatureStorage,
    config::{Preset, TrainConfig},
};

use crate::{
    args::{PresetArg, SettingArgs, StorageArgs},
    config_file::ConfigFile,
    error::CliError,
    machine::free_memory,
    output::bench_report::NearestPreset,
};

/// The paper's ratio of resized shorter side to crop.
const RESIZE_TO_CROP: f64 = 329.0 / 288.0;

/// The configuration that the flags and the configuration file ask for.
///
/// # Errors
/// An unknown key or a wrong type in the file, a setting that cannot work.
pub fn resolve(
    args: &SettingArgs,
    seed: Option<u64>,
    file: Option<&ConfigFile>,
) -> Result<TrainConfig, CliError> {
    let in_file = file.map(ConfigFile::training).transpose()?;
    // A preset's settings depend on the backbone. What is no backbone's name is refused below, with its line.
    let in_file = in_file.and_then(|table| table.get("backbone")?.as_str()?.parse().ok());
    let backbone = args.backbone.or(in_file).unwrap_or(BackboneId::EfficientNetLite0);
    let preset = match args.preset {
        Some(PresetArg::Paper) => Preset::Paper,
        Some(PresetArg::Default) | None => Preset::Default,
    };
    let mut config = TrainConfig::preset(preset, backbone);
    if let Some(file) = file {
        config = file.change(&config)?;
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
    tile(&mut config, args)?;
    if let Some(depth) = args.bit_depth {
        config.preprocess.decode.bit_depth = depth;
        // Whoever names a depth wants it looked at, also with the paper's preset, which clips.
        config.preprocess.decode.sixteen_bit = SixteenBit::Scale;
    }
    if let Some(file) = &args.roi {
        config.preprocess.roi = Some(RegionOfInterest::read(file, &config.preprocess.decode)?);
    }
    if let Some(pixels) = args.min_region_area {
        config.min_region_area = pixels;
    }
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
        preprocess.tiles = None;
        preprocess.resize = Resize::ShorterSide(shorter);
        preprocess.crop = Some(CropSize { width, height });
    } else {
        preprocess.resize = Resize::Exact { width, height };
        preprocess.crop = None;
    }
}

/// Tiles of the size and overlap that were asked for. Without a network's size beside them, tiles are not resized, but for
/// backbones that take only some sides.
fn tile(config: &mut TrainConfig, args: &SettingArgs) -> Result<(), CliError> {
    let preprocess = &mut config.preprocess;
    if let Some((width, height)) = args.tile {
        preprocess.tiles = Some(Tiles::of(width, height));
        preprocess.crop = None;
        let size = args.size.unwrap_or_else(|| {
            let side = |side: u32| config.backbone.nearest_side(side as usize) as u32;
            (side(width), side(height))
        });
        preprocess.resize = Resize::Exact { width: size.0, height: size.1 };
    }
    match (args.overlap, &mut preprocess.tiles) {
        (Some(overlap), Some(tiles)) => tiles.overlap = overlap,
        (Some(_), None) => return Err(CliError::Usage("--overlap is of tiles: give --tile too".into())),
        (None, _) => {}
    }
    Ok(())
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
