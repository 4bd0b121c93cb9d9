//! From flags to a complete training configuration: preset, then the TOML file, then the flags.

use simplenet_data::{
    RegionOfInterest, SixteenBit, Tiles,
    preprocess::{CropSize, Preprocess, Resize},
};
use simplenet_model::BackboneId;
use simplenet_train::config::{Preset, TrainConfig};

use super::ConfigFile;
use crate::{
    args::{PresetArg, SettingArgs},
    error::CliError,
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
