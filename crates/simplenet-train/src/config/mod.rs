//! Everything that decides what a training run does: one plain struct, checked once, written beside every result.

mod parts;
pub mod text;

use std::path::Path;

use serde::{Deserialize, Serialize};
use simplenet_data::{
    augment::Augment,
    preprocess::{MaskRule, Preprocess},
};
use simplenet_model::{
    anomaly_map::ImageScore,
    backbone::{BackboneId, Levels},
    feature_adaptor::MAX_LAYERS,
    patch_aggregator::PatchAggregatorConfig,
};

pub use parts::{PositionConfig, Precision};

use crate::error::TrainError;

/// Settings of a training run. `TrainConfig::preset` gives complete ones; a TOML file may change any of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainConfig {
    /// The frozen network that gives the features.
    pub backbone: BackboneId,
    /// Which of its feature levels are tapped; patches lie on the grid of the finest of them. Files from before there was a
    /// choice mean the paper's.
    #[serde(default)]
    pub levels: Levels,
    /// Seed of initialisation, noise, patch order and held-out images. At most `i64::MAX`, which TOML can hold.
    pub seed: u64,
    /// Passes over the training patches.
    pub epochs: usize,
    /// Standard deviation of the noise that makes anomalous features (after `feature_scale`).
    pub noise_sigma: f64,
    /// What training makes small.
    pub loss: Loss,
    /// The margin of the truncated L1 loss (0.5 in the paper, equation 6); with either loss, what `p_true` and `p_fake` count
    /// from.
    pub margin: f64,
    /// Linear layers of the feature adaptor, with nothing between them: 1 in the paper, 0 for none.
    pub adaptor_layers: usize,
    /// Width of a discriminator's hidden layer.
    pub hidden: usize,
    /// Discriminators trained side by side, whose scores are averaged; the paper has one. The model file holds their
    /// average as one discriminator of the joint width.
    pub discriminators: usize,
    /// What features are divided by before the adaptor.
    pub feature_scale: FeatureScale,
    /// How the learning rates change over the run.
    pub schedule: Schedule,
    /// What one optimiser step sees.
    pub batch: Batch,
    /// AdamW of the feature adaptor.
    pub adaptor: Optimizer,
    /// Adam of the discriminator.
    pub discriminator: Optimizer,
    /// How patches are made of feature maps.
    pub aggregator: PatchAggregatorConfig,
    /// What is known of each place of the grid.
    pub position: Position,
    /// How patch scores become the image's score.
    pub image_score: ImageScore,
    /// How the training features are kept; models of older versions do not say it.
    #[serde(default)]
    pub feature_precision: Precision,
    /// Standard deviation, in pixels of the network's input, of the Gaussian that smooths the anomaly map.
    pub map_sigma: f64,
    /// Fewest pixels of the photograph that a region has; smaller ones are not given. 0 gives all. It changes no score and no
    /// verdict.
    #[serde(default)]
    pub min_region_area: u64,
    /// How the threshold is found.
    pub calibration: Calibration,
    /// How a resized ground-truth mask becomes black and white.
    pub mask_rule: MaskRule,
    /// From decoded photograph to network input.
    pub preprocess: Preprocess,
    /// Random changes of the training images, off by default.
    pub augmentation: Augmentation,
}

/// The named sets of settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Preset {
    /// What this project recommends: whole image, scaled features, decaying rate, threshold from held-out images.
    Default,
    /// The official code's settings, to compare with published numbers.
    Paper,
}

/// What features are divided by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FeatureScale {
    /// Nothing: the official code.
    None,
    /// The standard deviation of all numbers of all training features, so that `noise_sigma` means the same for any
    /// backbone.
    GlobalDeviation,
    /// The standard deviation of each dimension over the training features, after its mean was taken off, so that the
    /// noise is of one size in every dimension.
    PerDimension,
}

/// What training makes small, of the discriminator's logits D: high for normal features q, low for anomalous ones q⁻.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Loss {
    /// mean(max(0, margin − D(q))) + mean(max(0, margin + D(q⁻))): the paper, equations 6 and 7. A logit beyond the margin
    /// costs nothing.
    TruncatedL1,
    /// mean(ln(1 + exp(−D(q)))) + mean(ln(1 + exp(D(q⁻)))): what the paper's ablation compares with.
    CrossEntropy,
}

/// How the learning rates change over the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Schedule {
    /// Not at all: the official code.
    Constant,
    /// Half a cosine from the full rate to zero.
    Cosine,
}

/// What is known of each place of the grid, beside what the discriminator says.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Position {
    /// Nothing: one discriminator for all places, as in the paper.
    Unaware,
    /// Its mean, and its cell's covariance: for parts that lie alike in every photograph. Where they do not, the means are
    /// alike, and it does no harm.
    Cells(PositionConfig),
}

/// What one optimiser step sees.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Batch {
    /// All patches of this many images; an epoch visits every image (the official code: 8).
    Images(usize),
    /// This many patches drawn over all images; an epoch is a fixed number of steps, so that the length of a training
    /// does not depend on the number of images.
    Patches {
        /// Patches a step.
        size: usize,
        /// Steps an epoch.
        steps: usize,
    },
}

/// One Adam optimiser; its betas and epsilon are PyTorch's defaults.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Optimizer {
    /// Learning rate at the start.
    pub learning_rate: f64,
    /// Weight decay: decoupled (AdamW) for the adaptor, added to the gradient (Adam with L2) for the discriminator.
    pub weight_decay: f64,
}

/// How the threshold is found.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// Share of the good training images that are not trained on but give the threshold; 0 for no threshold.
    pub held_out_share: f64,
    /// Fewest that are held out, where no more than a third of the images is needed for it: a bound estimated from three scores
    /// lies so high that most defects pass. 0 for none, and in files that do not say it.
    #[serde(default)]
    pub fewest_held_out: usize,
    /// Share of good parts that may be called anomalous.
    pub target_false_reject_rate: f64,
}

/// Random changes of the training images.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Augmentation {
    /// Changed copies of each training image beside the unchanged one; 0 switches augmentation off.
    pub copies: usize,
    /// The changes.
    pub options: Augment,
}

/// Margin of the truncated L1 loss (paper, equation 6).
pub(crate) const MARGIN: f64 = 0.5;
/// Patch width of the paper's local features.
const PATCH_SIZE: usize = 3;

impl TrainConfig {
    /// The settings of a preset for a backbone.
    pub fn preset(preset: Preset, backbone: BackboneId) -> Self {
        match preset {
            Preset::Paper => Self::paper(backbone),
            Preset::Default => Self::recommended(backbone),
        }
    }

    fn paper(backbone: BackboneId) -> Self {
        Self {
            backbone,
            levels: Levels::PAPER,
            seed: 0,
            epochs: 160,
            noise_sigma: 0.015,
            loss: Loss::TruncatedL1,
            margin: MARGIN,
            adaptor_layers: 1,
            hidden: 1024,
            discriminators: 1,
            feature_scale: FeatureScale::None,
            schedule: Schedule::Constant,
            batch: Batch::Images(8),
            adaptor: Optimizer { learning_rate: 1e-4, weight_decay: 1e-2 },
            discriminator: Optimizer { learning_rate: 2e-4, weight_decay: 1e-5 },
            aggregator: PatchAggregatorConfig::adaptive_pool(PATCH_SIZE, 1536, 1536),
            position: Position::Unaware,
            image_score: ImageScore::Largest,
            feature_precision: Precision::F16,
            map_sigma: 4.0,
            min_region_area: 0,
            calibration: Calibration {
                held_out_share: 0.0,
                fewest_held_out: 0,
                target_false_reject_rate: 0.01,
            },
            mask_rule: MaskRule::FullOnly,
            preprocess: Preprocess::paper(),
            augmentation: Augmentation { copies: 0, options: Augment::default() },
        }
    }

    fn recommended(backbone: BackboneId) -> Self {
        // 288, or what of it a vision transformer's patches fill.
        let side = backbone.nearest_side(288) as u32;
        Self {
            epochs: 20,
            noise_sigma: 0.4,
            hidden: 64,
            discriminators: 8,
            feature_scale: FeatureScale::PerDimension,
            schedule: Schedule::Cosine,
            batch: Batch::Patches { size: 4096, steps: 12 },
            adaptor: Optimizer { learning_rate: 1e-3, weight_decay: 1e-2 },
            discriminator: Optimizer { learning_rate: 2e-3, weight_decay: 1e-5 },
            aggregator: PatchAggregatorConfig::channel_mean(PATCH_SIZE),
            position: Position::Cells(PositionConfig::default()),
            image_score: ImageScore::LargestMean(3),
            calibration: Calibration {
                held_out_share: 0.15,
                fewest_held_out: 6,
                target_false_reject_rate: 0.01,
            },
            mask_rule: MaskRule::Half,
            preprocess: Preprocess::whole_image(side, side),
            ..Self::paper(backbone)
        }
    }

    /// Checks every setting that could not work.
    ///
    /// # Errors
    /// `TrainError::Setting` names the first one, its value and what would work.
    pub fn validate(&self) -> Result<(), TrainError> {
        let positive = |name, value: f64| {
            if value.is_finite() && value > 0.0 {
                Ok(())
            } else {
                Err(TrainError::setting(name, value, "must be a number above 0"))
            }
        };
        let at_least_one = |name, value: usize| match value {
            0 => Err(TrainError::setting(name, value, "must be at least 1")),
            _ => Ok(()),
        };
        let share = |name, value: f64, max: f64| {
            if (0.0..=max).contains(&value) {
                Ok(())
            } else {
                Err(TrainError::setting(name, value, format!("must lie between 0 and {max}")))
            }
        };
        if i64::try_from(self.seed).is_err() {
            return Err(TrainError::setting("seed", self.seed, format!("must be at most {}", i64::MAX)));
        }
        self.backbone.taps(self.levels)?;
        at_least_one("epochs", self.epochs)?;
        positive("noise_sigma", self.noise_sigma)?;
        positive("margin", self.margin)?;
        if self.adaptor_layers > MAX_LAYERS {
            let problem = format!("must be at most {MAX_LAYERS}; 0 is no adaptor");
            return Err(TrainError::setting("adaptor_layers", self.adaptor_layers, problem));
        }
        at_least_one("hidden", self.hidden)?;
        at_least_one("discriminators", self.discriminators)?;
        positive("map_sigma", self.map_sigma)?;
        for (name, optimizer) in [("adaptor", self.adaptor), ("discriminator", self.discriminator)] {
            positive(name, optimizer.learning_rate)?;
            if !(optimizer.weight_decay.is_finite() && optimizer.weight_decay >= 0.0) {
                return Err(TrainError::setting(
                    name,
                    optimizer.weight_decay,
                    "weight_decay must be 0 or more",
                ));
            }
        }
        match self.batch {
            Batch::Images(n) => at_least_one("batch.images", n)?,
            Batch::Patches { size, steps } => {
                if size < 2 {
                    return Err(TrainError::setting("batch.patches.size", size, "must be at least 2"));
                }
                at_least_one("batch.patches.steps", steps)?;
            }
        }
        share("calibration.held_out_share", self.calibration.held_out_share, 0.9)?;
        share("calibration.target_false_reject_rate", self.calibration.target_false_reject_rate, 0.5)?;
        if let Position::Cells(position) = &self.position {
            position.validate()?;
        }
        self.image_score.validate()?;
        self.aggregator.validate()?;
        self.preprocess.validate()?;
        Ok(())
    }

    /// The configuration as TOML, complete.
    ///
    /// # Errors
    /// `TrainError::Config` when a value cannot stand in TOML (a seed above `i64::MAX`).
    pub fn to_toml(&self) -> Result<String, TrainError> {
        toml::to_string_pretty(self).map_err(|e| TrainError::config(Path::new("config.toml"), e))
    }
}

/// As JSON, by way of its text: 0.485 as an f32 stays 0.485, where `to_value` would widen it to 0.48500001430511475.
pub(crate) fn to_json<T: Serialize>(value: &T) -> Result<serde_json::Value, TrainError> {
    serde_json::to_string(value)
        .and_then(|text| serde_json::from_str(&text))
        .map_err(|e| TrainError::config(Path::new("model file"), e))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all_presets() -> impl Iterator<Item = TrainConfig> {
        let backbones = [BackboneId::EfficientNetLite0, BackboneId::WideResNet50x2];
        backbones.into_iter().flat_map(|b| {
            [Preset::Default, Preset::Paper].into_iter().map(move |p| TrainConfig::preset(p, b))
        })
    }

    #[test]
    fn presets_are_valid_and_survive_toml() {
        for config in all_presets() {
            config.validate().unwrap();
            let text = config.to_toml().unwrap();
            assert_eq!(TrainConfig::from_toml(&text, Path::new("x.toml")).unwrap(), config, "{text}");
        }
    }

    #[test]
    fn levels_may_be_chosen_and_older_files_mean_the_papers() {
        let base = TrainConfig::preset(Preset::Paper, BackboneId::ResNet18);
        assert_eq!(base.levels, Levels::PAPER);
        for numbers in [&[1, 2, 3][..], &[2, 3], &[3], &[2], &[1, 2]] {
            let changed = base.overridden_by(&format!("levels = {numbers:?}"), Path::new("x.toml")).unwrap();
            let want = TrainConfig { levels: Levels::new(numbers).unwrap(), ..base.clone() };
            assert_eq!(changed, want);
            assert_eq!(
                TrainConfig::from_toml(&changed.to_toml().unwrap(), Path::new("x.toml")).unwrap(),
                want
            );
        }
        let mut older = toml::Table::try_from(&base).unwrap();
        older.remove("levels").expect("it is written");
        assert_eq!(TrainConfig::from_toml(&older.to_string(), Path::new("x.toml")).unwrap(), base);
    }

    #[test]
    fn a_file_changes_only_what_it_names() {
        let base = TrainConfig::preset(Preset::Default, BackboneId::EfficientNetLite0);
        let text = "epochs = 3\nposition = \"unaware\"\nbatch = { images = 2 }\n[calibration]\nheld_out_share = 0.5\n";
        let changed = base.overridden_by(text, Path::new("x.toml")).unwrap();
        let want = TrainConfig {
            epochs: 3,
            position: Position::Unaware,
            batch: Batch::Images(2),
            calibration: Calibration { held_out_share: 0.5, ..base.calibration },
            ..base.clone()
        };
        assert_eq!(changed, want);
    }

    #[test]
    fn wrong_settings_are_named() {
        let base = TrainConfig::preset(Preset::Default, BackboneId::EfficientNetLite0);
        for (text, word) in [
            ("epochs = 0", "epochs"),
            ("noise_sigma = -1.0", "noise_sigma"),
            ("epoch = 3", "epoch"),
            ("adaptor_layers = 17", "adaptor_layers"),
            ("loss = \"hinge\"", "cross-entropy"),
            ("[aggregator]\npatch_size = 4", "1, 3, 5 or 7"),
            ("seed = -1", "seed"),
            ("backbone = \"resnet99\"", "resnet99"),
            ("[calibration]\nheld_out_share = 1.5", "held_out_share"),
            ("batch = { patches = { size = 1, steps = 5 } }", "size"),
            ("[position.cells]\ncell = 0", "position.cell"),
            ("image_score = { largest-mean = 2 }", "odd number"),
            ("levels = [3, 2]", "[3, 2]"),
            ("levels = []", "must be some of 1, 2, 3"),
            ("levels = [4]", "must be some of 1, 2, 3"),
            ("backbone = \"dinov2-vits14\"\nlevels = [3]", "its own two taps"),
            ("epochs = ", "x.toml"),
        ] {
            let error = base.overridden_by(text, Path::new("x.toml")).unwrap_err().to_string();
            assert!(error.contains(word), "{text}: {error}");
        }
    }
}
