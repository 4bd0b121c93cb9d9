//! Which settings are varied: one table a question, one variant a row.
//!
//! In: the base settings. Out: the tables. The paper's own numbers, where it has them, are MVTec AD's with
//! WideResNet-50-2 (Liu, Zhou, Xu, Wang, CVPR 2023, arXiv 2303.15140).

use simplenet_model::{Levels, anomaly_map::ImageScore};
use simplenet_train::config::{Loss, Position, PositionConfig, TrainConfig};

/// What one setting does: the rows of a table.
pub(super) struct Ablation {
    /// What `--only` calls it.
    pub(super) key: &'static str,
    pub(super) title: &'static str,
    pub(super) variants: Vec<Variant>,
}

/// One row.
pub(super) struct Variant {
    pub(super) name: String,
    /// The base settings with what the variant changes.
    pub(super) config: TrainConfig,
    /// What the paper reports, if it does.
    pub(super) paper: Option<Reported>,
}

/// Image and pixel AUROC on MVTec AD in the paper, percent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reported {
    pub(super) image: f64,
    pub(super) pixel: f64,
}

/// Factors on the preset's deviation of the noise.
const SIGMAS: [(&str, f64); 5] = [("1/4", 0.25), ("1/2", 0.5), ("1", 1.0), ("2", 2.0), ("4", 4.0)];
/// Patches a side that are supported.
const PATCH_SIZES: [usize; 4] = [1, 3, 5, 7];
/// Levels that are tapped together, with the paper's image and pixel AUROC.
const LEVELS: [(&[usize], f64, f64); 3] =
    [(&[2, 3], 99.6, 98.1), (&[3], 99.2, 97.5), (&[1, 2, 3], 99.1, 98.1)];
/// Layers of the deeper adaptor.
const DEEPER: usize = 2;

/// Every ablation, the paper's before ours. One more is one more entry.
pub(super) fn ablations(base: &TrainConfig) -> Vec<Ablation> {
    let rows = Rows(base);
    vec![
        Ablation {
            key: "adaptor",
            title: "Feature adaptor (the paper's ablation)",
            variants: vec![
                rows.of("none", |c| c.adaptor_layers = 0).reported(99.2, 97.9),
                rows.of("linear", |c| c.adaptor_layers = 1).reported(99.6, 98.1),
                rows.of(format!("deeper: {DEEPER} layers"), |c| c.adaptor_layers = DEEPER)
                    .reported(98.3, 97.2),
            ],
        },
        Ablation {
            key: "loss",
            title: "Loss (the paper's ablation)",
            variants: vec![
                rows.of("truncated L1", |c| c.loss = Loss::TruncatedL1).reported(99.6, 98.1),
                rows.of("cross entropy", |c| c.loss = Loss::CrossEntropy).reported(99.4, 97.8),
            ],
        },
        Ablation {
            key: "levels",
            title: "Feature levels (the paper's ablation)",
            variants: LEVELS
                .iter()
                .filter_map(|&(numbers, image, pixel)| {
                    // A network that lacks a level has one row less.
                    let levels = Levels::new(numbers).ok()?;
                    base.backbone.taps(levels).ok()?;
                    let name = numbers.iter().map(usize::to_string).collect::<Vec<_>>().join(" + ");
                    Some(rows.of(name, |c| c.levels = levels).reported(image, pixel))
                })
                .collect(),
        },
        Ablation {
            key: "patch-size",
            title: "Neighbourhood of a patch (the paper's ablation)",
            variants: PATCH_SIZES
                .map(|size| rows.of(format!("{size} x {size}"), |c| c.aggregator.patch_size = size))
                .into(),
        },
        Ablation {
            key: "sigma",
            title: "Deviation of the noise (the paper's ablation)",
            variants: SIGMAS
                .map(|(name, factor)| {
                    let sigma = base.noise_sigma * factor;
                    rows.of(format!("{sigma} (times {name})"), |c| c.noise_sigma = sigma)
                })
                .into(),
        },
        Ablation {
            key: "position",
            title: "What is known of each place (ours)",
            variants: vec![
                rows.of("discriminator alone", |c| c.position = Position::Unaware),
                rows.of("joined", |c| c.position = Position::Cells(cells(base))),
                rows.of("energy alone", |c| {
                    c.position = Position::Cells(PositionConfig { head_weight: 0.0, ..cells(base) });
                }),
            ],
        },
        Ablation {
            key: "discriminators",
            title: "Discriminators side by side (ours)",
            variants: [1, 8]
                .map(|count| {
                    rows.of(format!("{count} of width {}", base.hidden), |c| c.discriminators = count)
                })
                .into(),
        },
        Ablation {
            key: "image-score",
            title: "From patch scores to the image's (ours)",
            variants: vec![
                rows.of("largest", |c| c.image_score = ImageScore::Largest),
                rows.of("largest mean of 3 x 3", |c| c.image_score = ImageScore::LargestMean(3)),
            ],
        },
    ]
}

/// The base's statistics of places; the default ones if it has none.
fn cells(base: &TrainConfig) -> PositionConfig {
    match base.position {
        Position::Cells(config) => config,
        Position::Unaware => PositionConfig::default(),
    }
}

/// Makes variants of the base settings.
struct Rows<'a>(&'a TrainConfig);

impl Rows<'_> {
    fn of(&self, name: impl Into<String>, change: impl FnOnce(&mut TrainConfig)) -> Variant {
        let mut config = self.0.clone();
        change(&mut config);
        Variant { name: name.into(), config, paper: None }
    }
}

impl Variant {
    fn reported(self, image: f64, pixel: f64) -> Self {
        Self { paper: Some(Reported { image, pixel }), ..self }
    }
}

#[cfg(test)]
mod tests {
    use simplenet_model::BackboneId;
    use simplenet_train::config::Preset;

    use super::*;

    #[test]
    fn every_variant_can_be_trained_and_one_of_each_table_is_the_preset() {
        for preset in [Preset::Default, Preset::Paper] {
            let base = TrainConfig::preset(preset, BackboneId::WideResNet50x2);
            for ablation in ablations(&base) {
                let key = ablation.key;
                for (i, variant) in ablation.variants.iter().enumerate() {
                    variant.config.validate().unwrap();
                    let same = |other: &Variant| other.config == variant.config;
                    assert_eq!(ablation.variants.iter().filter(|o| same(o)).count(), 1, "{key} {i}");
                }
                let of_preset = ablation.variants.iter().filter(|variant| variant.config == base).count();
                assert_eq!(of_preset, 1, "{preset:?}: {key}");
            }
        }
    }
}
