//! The backbones by name. What is fixed about each (taps, channels, weights) is looked up in its row of the table.

use std::{borrow::Cow, fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

use super::{
    Levels,
    architecture::tensor_specs,
    registry::{Spec, TABLE},
};
use crate::error::ModelError;

/// A supported pretrained network. Every fact about one is in its row of the table (`registry.rs`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BackboneId {
    /// EfficientNet-Lite0 up to its 112-channel stage; the embedded default.
    EfficientNetLite0,
    /// EfficientNet-Lite1 up to its 112-channel stage: Lite0 with more blocks.
    EfficientNetLite1,
    /// EfficientNet-Lite2 up to its 120-channel stage: more blocks, and wider.
    EfficientNetLite2,
    /// WideResNet-50-2, torchvision's first ImageNet weights; the paper's.
    WideResNet50x2,
    /// WideResNet-101-2.
    WideResNet101x2,
    /// ResNet-18.
    ResNet18,
    /// ResNet-50.
    ResNet50,
    /// ResNet-101.
    ResNet101,
    /// DINOv2's smallest vision transformer, patches of 14×14 pixels, without registers.
    DinoV2Small,
    /// ConvNeXt-Tiny, the paper's ImageNet-1k weights.
    ConvNextTiny,
}

/// A feature map that is taken out of a backbone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tap {
    /// The stage whose output it is, as [`super::Stage::name`] spells it.
    pub stage: &'static str,
    /// Its channels.
    pub channels: usize,
    /// How many input pixels one cell of its grid spans, per side.
    pub stride: usize,
}

/// A tensor that a backbone needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorSpec {
    /// Key in the source framework's state dictionary.
    pub name: String,
    /// Shape; a convolution's weight is (out, in / groups, kh, kw), batch norm's parameters are (channels,).
    pub shape: Vec<usize>,
}

impl BackboneId {
    /// All of them, the default first.
    pub const ALL: [Self; TABLE.len()] = {
        let mut all = [Self::EfficientNetLite0; TABLE.len()];
        let mut row = 0;
        while row < TABLE.len() {
            all[row] = TABLE[row].id;
            row += 1;
        }
        all
    };

    /// Its row.
    pub(crate) fn spec(self) -> &'static Spec {
        &TABLE[self as usize]
    }

    /// The name used on the command line and in files.
    pub fn name(self) -> &'static str {
        self.spec().name
    }

    /// Every level that it has: all three, or of a vision transformer its two taps, as 2 and 3.
    pub fn levels(self) -> Levels {
        self.spec().network.levels()
    }

    /// What is tapped at these levels, from the finest to the coarsest grid.
    ///
    /// # Errors
    /// `ModelError::Configuration` for a choice that the network does not have: a vision transformer has its own two taps
    /// only.
    pub fn taps(self, levels: Levels) -> Result<Vec<Tap>, ModelError> {
        let Spec { stages, channels, network, .. } = self.spec();
        if !network.takes(levels) {
            return Err(ModelError::Configuration {
                what: "levels",
                reason: format!(
                    "{levels}, where {self} has its own two taps only ({}): leave `levels` at {:?}, or take another backbone",
                    stages.join(", "),
                    Vec::from(network.levels()),
                ),
            });
        }
        let tap = |((&stage, &channels), &stride)| Tap { stage, channels, stride };
        let all = stages.iter().zip(*channels).zip(network.strides()).map(tap);
        let numbered = network.levels().numbers().zip(all);
        Ok(numbered
            .filter(|&(number, _)| levels.numbers().any(|n| n == number))
            .map(|(_, tap)| tap)
            .collect())
    }

    /// The weights' licence.
    pub fn licence(self) -> &'static str {
        self.spec().licence
    }

    /// What both sides of an image must be a multiple of, in pixels: 1 for the convolutional networks, the patch's side
    /// for a vision transformer.
    pub fn side_multiple(self) -> usize {
        self.spec().network.side_multiple()
    }

    /// The side next to `side` (pixels) that the network can take, the larger of two that are equally near.
    pub fn nearest_side(self, side: usize) -> usize {
        let multiple = self.side_multiple();
        (side.saturating_add(multiple / 2) / multiple * multiple).max(multiple)
    }

    /// Checks the sides of an image, in pixels.
    ///
    /// # Errors
    /// `ModelError::Configuration` for a side that is 0 or no multiple of [`BackboneId::side_multiple`].
    pub fn check_sides(self, height: usize, width: usize) -> Result<(), ModelError> {
        let multiple = self.side_multiple();
        let fits = |side: usize| side > 0 && side.is_multiple_of(multiple);
        if fits(height) && fits(width) {
            return Ok(());
        }
        Err(ModelError::Configuration {
            what: "input size",
            reason: format!(
                "{width}x{height} pixels, where {self} takes sides that are multiples of {multiple} above 0: \
                 set it to {}x{} (`--size`)",
                self.nearest_side(width),
                self.nearest_side(height)
            ),
        })
    }

    /// Every tensor the network needs up to its last level, in the order of the forward pass. Tensors beyond these (the
    /// classifier, later stages, `num_batches_tracked`) are ignored when a file is read.
    pub fn tensor_specs(self) -> Vec<TensorSpec> {
        self.tensor_specs_for(self.levels())
    }

    /// Those that it needs when it is tapped at these levels: nothing after the last of them.
    pub fn tensor_specs_for(self, levels: Levels) -> Vec<TensorSpec> {
        tensor_specs(self.spec().network, levels.last())
    }
}

impl fmt::Display for BackboneId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for BackboneId {
    type Err = ModelError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|id| id.name() == name).ok_or_else(|| ModelError::UnknownBackbone {
            name: name.to_string(),
            known: Self::ALL.map(Self::name).join(", "),
        })
    }
}

impl Serialize for BackboneId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for BackboneId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = Cow::<str>::deserialize(deserializer)?;
        name.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_as_text_and_as_json() {
        for id in BackboneId::ALL {
            assert_eq!(id.to_string().parse::<BackboneId>().unwrap(), id);
            assert_eq!(serde_json::to_string(&id).unwrap(), format!("\"{id}\""));
            assert_eq!(serde_json::from_str::<BackboneId>(&format!("\"{id}\"")).unwrap(), id);
        }
    }

    #[test]
    fn sizes_that_patches_do_not_fill_are_refused_with_the_next_ones() {
        let id = BackboneId::DinoV2Small;
        assert!(id.check_sides(280, 294).is_ok());
        let message = id.check_sides(288, 200).unwrap_err().to_string();
        assert!(message.contains("200x288") && message.contains("196x294"), "{message}");
        assert!(id.check_sides(0, 14).is_err());
        assert_eq!([1, 7, 287, 288].map(|side| id.nearest_side(side)), [14, 14, 294, 294]);
        assert_eq!(BackboneId::ResNet18.nearest_side(287), 287);
        assert!(BackboneId::ResNet18.check_sides(1, 17).is_ok());
    }

    #[test]
    fn a_choice_of_levels_gives_its_taps_or_says_that_there_is_none() {
        let taps = |id: BackboneId, numbers: &[usize]| id.taps(Levels::new(numbers).unwrap());
        let tap = |stage, channels, stride| Tap { stage, channels, stride };
        let (lite, resnet, dino) =
            (BackboneId::EfficientNetLite0, BackboneId::WideResNet50x2, BackboneId::DinoV2Small);
        let [first, second, third] =
            [tap("_blocks.2", 24, 4), tap("_blocks.4", 40, 8), tap("_blocks.10", 112, 16)];
        assert_eq!(taps(lite, &[1, 2, 3]).unwrap(), [first, second, third]);
        assert_eq!(taps(lite, &[1, 3]).unwrap(), [first, third]);
        assert_eq!(taps(lite, &[2]).unwrap(), [second]);
        assert_eq!(taps(resnet, &[1, 2]).unwrap(), [tap("layer1", 256, 4), tap("layer2", 512, 8)]);
        assert_eq!(taps(dino, &[2, 3]).unwrap(), [tap("blocks.5", 384, 14), tap("blocks.8", 384, 14)]);
        for numbers in [&[3][..], &[1, 2, 3], &[1, 2]] {
            let message = taps(dino, numbers).unwrap_err().to_string();
            assert!(message.contains("dinov2-vits14") && message.contains("[2, 3]"), "{message}");
        }
    }

    #[test]
    fn fewer_levels_need_fewer_tensors() {
        for id in BackboneId::ALL {
            let all = id.tensor_specs();
            for numbers in [&[1][..], &[2], &[1, 2, 3]] {
                let levels = Levels::new(numbers).unwrap();
                if id.taps(levels).is_err() {
                    continue;
                }
                let needed = id.tensor_specs_for(levels);
                assert_eq!(needed, all[..needed.len()], "{id} {levels}: the beginning of the network");
                assert_eq!(needed.len() < all.len(), levels.last() < 3, "{id} {levels}");
            }
        }
    }

    #[test]
    fn an_unknown_name_lists_the_known_ones() {
        let message = "resnet-18".parse::<BackboneId>().unwrap_err().to_string();
        assert!(message.contains("`resnet-18`") && message.contains("wide-resnet50-2"), "{message}");
    }
}
