//! From flags to a complete training configuration: preset, then the TOML file, then the flags.

use simplenet_data::preprocess::{CropSize, Preprocess, Resize};
use simplenet_model::{BackboneId, WeightsSource};
use simplenet_train::config::{Preset, TrainConfig};

use crate::{
    args::{PresetArg, SettingArgs},
    error::CliError,
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
    }
    if let Some(rate) = args.false_reject_rate {
        config.calibration.target_false_reject_rate = rate;
    }
    resize(&mut config.preprocess, args);
    config.validate()?;
    Ok(config)
}

/// Where the backbone's weights come from.
pub fn weights_source(args: &SettingArgs) -> WeightsSource {
    args.weights.clone().map_or(WeightsSource::Default, WeightsSource::File)
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
