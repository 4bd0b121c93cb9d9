//! What a kept result is found by: a hash of everything that it depends on.
//!
//! In: the configuration, the compiled network, a photograph's bytes. Out: a key; two results that could differ in a bit
//! have different ones.

use std::path::Path;

use simplenet_data::loader::{LoaderOptions, augmentation_seed};
use simplenet_model::simplenet::FeatureExtractor;

use crate::{
    config::{Precision, TrainConfig},
    error::TrainError,
    features::{rows::Rows, store::Key},
};

/// What is written into keys: to be counted up where a file's content or the way to it changes in a manner that the other
/// parts of a key do not show, such as another resize.
const VERSION: &str = concat!("2, simplenet ", env!("CARGO_PKG_VERSION"));

/// The part of the keys that all images of a run share: from pixels to rows.
///
/// Other kernels, another instruction set or a GPU may round differently, and results must be the same bits with the folder and
/// without it. So the features of one drawn image stand in the key: they are those of the very engine that `features_of` is.
pub(crate) fn network_key(
    config: &TrainConfig,
    extractor: &FeatureExtractor,
    precision: Precision,
    features_of: impl FnOnce(&[f32]) -> Result<Vec<f32>, TrainError>,
) -> Result<Key, TrainError> {
    let json = |value: Result<String, serde_json::Error>| {
        value.map_err(|error| TrainError::config(Path::new("the key of the feature cache"), error))
    };
    let (width, height) = config.preprocess.network_size();
    let drawn: Vec<f32> = (0..3 * width * height).map(drawn_value).collect();
    let features = Rows::F32(features_of(&drawn)?);
    Ok(Key::of(&[
        VERSION.as_bytes(),
        config.backbone.to_string().as_bytes(),
        extractor.weights().sha256.as_bytes(),
        json(serde_json::to_string(&config.levels))?.as_bytes(),
        json(serde_json::to_string(&config.preprocess))?.as_bytes(),
        json(serde_json::to_string(&config.aggregator))?.as_bytes(),
        format!("{precision:?}").as_bytes(),
        &features.to_bytes(),
    ]))
}

/// Numbers between -2 and 2 without order (Knuth's multiplicative hash).
fn drawn_value(index: u32) -> f32 {
    (index.wrapping_mul(2_654_435_761) >> 16) as f32 / 16384.0 - 2.0
}

/// The key of a result for one tile of a photograph, none where it is not cut: `index` is the photograph's place among those of the
/// run, which decides its random changes.
pub(crate) fn image_key(
    kind: &str,
    network: &Key,
    options: &LoaderOptions,
    index: usize,
    bytes: &[u8],
    tile: Option<usize>,
) -> Key {
    let changes = if options.augment.is_off() {
        String::new()
    } else {
        format!("{:?}, seed {}", options.augment, augmentation_seed(options.seed, index))
    };
    let (network, tile) = (network.hex(), tile.map(|tile| format!("tile {tile}")));
    let mut parts = vec![kind.as_bytes(), network.as_bytes(), changes.as_bytes(), bytes];
    parts.extend(tile.as_ref().map(String::as_bytes));
    Key::of(&parts)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use candle_core::Device;
    use simplenet_data::{Augment, RegionOfInterest, Tiles, preprocess::Resize};
    use simplenet_model::{BackboneId, BackboneWeights, CompiledExtractor, PredictorOptions, compute::Isa};

    use super::*;
    use crate::config::Preset;

    fn config() -> TrainConfig {
        let mut config = TrainConfig::preset(Preset::Default, BackboneId::EfficientNetLite0);
        config.preprocess.resize = Resize::Exact { width: 64, height: 32 };
        config
    }

    fn key(config: &TrainConfig, weights: &BackboneWeights, isa: Isa) -> Key {
        let extractor =
            FeatureExtractor::load(config.backbone, config.levels, weights, config.aggregator, &Device::Cpu)
                .unwrap();
        let (width, height) = config.preprocess.network_size();
        let mut options = PredictorOptions::default();
        options.isa = isa;
        let compiled =
            CompiledExtractor::compile(&extractor, height as usize, width as usize, &options).unwrap();
        network_key(config, &extractor, config.feature_precision, |drawn| Ok(compiled.features(drawn)?))
            .unwrap()
    }

    #[test]
    fn each_ingredient_of_the_way_to_features_changes_the_key_and_nothing_else_does() {
        let weights = BackboneWeights::embedded(BackboneId::EfficientNetLite0).unwrap();
        let isa = Isa::detect();
        let mut keys = HashMap::from([(key(&config(), &weights, isa), "the configuration itself")]);
        let mut is_new = |what: &'static str, key: Key| {
            if let Some(same) = keys.insert(key, what) {
                panic!("{what}: the key of {same}");
            }
        };
        type Change = fn(&mut TrainConfig);
        let changes: [(&str, Change); 12] = [
            ("levels", |c| c.levels = simplenet_model::Levels::ALL),
            ("width", |c| c.preprocess.resize = Resize::Exact { width: 72, height: 32 }),
            ("sides exchanged", |c| c.preprocess.resize = Resize::Exact { width: 32, height: 64 }),
            ("mean", |c| c.preprocess.mean[1] += 1e-6),
            ("deviation", |c| c.preprocess.std[2] += 1e-6),
            ("orientation", |c| c.preprocess.decode.exif = simplenet_data::Exif::Ignore),
            ("16 bits", |c| c.preprocess.decode.sixteen_bit = simplenet_data::SixteenBit::Clip),
            ("aggregator", |c| {
                c.aggregator = TrainConfig::preset(Preset::Paper, c.backbone).aggregator;
            }),
            ("region", |c| {
                let ignore = vec![vec![[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]];
                c.preprocess.roi = Some(RegionOfInterest { ignore, ..RegionOfInterest::default() });
            }),
            ("tiles", |c| c.preprocess.tiles = Some(Tiles { width: 64, height: 32, overlap: 4 })),
            ("overlap", |c| c.preprocess.tiles = Some(Tiles { width: 64, height: 32, overlap: 5 })),
            ("precision", |c| c.feature_precision = Precision::F32),
        ];
        for (what, change) in changes {
            let mut changed = config();
            change(&mut changed);
            is_new(what, key(&changed, &weights, isa));
        }
        is_new(
            "another file of weights",
            key(&config(), &BackboneWeights { sha256: "0".repeat(64), ..weights.clone() }, isa),
        );
        // The engine's own numbers count, whatever a name says.
        let mut other = weights.clone();
        let (name, tensor) = other.tensors.iter().find(|(name, _)| name.contains("conv_stem")).unwrap();
        let (name, tensor) = (name.clone(), tensor.affine(1.01, 0.0).unwrap());
        other.tensors.insert(name, tensor);
        is_new("other weights of the same name", key(&config(), &other, isa));

        if isa != Isa::Scalar {
            is_new("sums in another order", key(&config(), &weights, Isa::Scalar));
        }

        let kept: [(&str, Change); 5] = [
            ("nothing", |_| {}),
            ("seed", |c| c.seed = 99),
            ("epochs", |c| c.epochs += 1),
            ("noise", |c| c.noise_sigma *= 2.0),
            ("held out", |c| c.calibration.held_out_share = 0.5),
        ];
        for (what, change) in kept {
            let mut changed = config();
            change(&mut changed);
            assert_eq!(key(&changed, &weights, isa), key(&config(), &weights, isa), "{what}");
        }
    }

    #[test]
    fn a_photograph_and_its_changes_have_keys_of_their_own() {
        let networks = [Key::of(&[b"a"]), Key::of(&[b"b"])];
        let plain = LoaderOptions::default();
        let changed = |seed, rotate_degrees| LoaderOptions {
            augment: Augment { rotate_degrees, ..Augment::default() },
            seed,
            ..LoaderOptions::default()
        };
        let keys = [
            image_key("features", &networks[0], &plain, 0, b"photograph", None),
            image_key("features", &networks[1], &plain, 0, b"photograph", None),
            image_key("ranges", &networks[0], &plain, 0, b"photograph", None),
            image_key("features", &networks[0], &plain, 0, b"another", None),
            image_key("features", &networks[0], &changed(1, 5.0), 0, b"photograph", None),
            image_key("features", &networks[0], &changed(2, 5.0), 0, b"photograph", None),
            image_key("features", &networks[0], &changed(1, 5.5), 0, b"photograph", None),
            image_key("features", &networks[0], &changed(1, 5.0), 1, b"photograph", None),
            image_key("features", &networks[0], &plain, 0, b"photograph", Some(0)),
            image_key("features", &networks[0], &plain, 0, b"photograph", Some(1)),
        ];
        for (i, key) in keys.iter().enumerate() {
            assert!(!keys[..i].contains(key), "key {i}");
        }
        // Unchanged, its place and the seed do not matter: the same photograph in another folder is the same.
        let unchanged = LoaderOptions { seed: 7, ..plain.clone() };
        assert_eq!(image_key("features", &networks[0], &unchanged, 5, b"photograph", None), keys[0]);
    }
}
