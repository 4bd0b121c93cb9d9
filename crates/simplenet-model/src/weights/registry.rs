//! Where each backbone's weights are kept, at which revision, and what their bytes must hash to.

use crate::backbone::BackboneId;

/// A file on the Hugging Face Hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubFile {
    /// `owner/name`.
    pub repo: String,
    /// Commit (short or whole) or branch.
    pub revision: String,
    /// Path in the repository.
    pub file: String,
    /// SHA-256 of the content, 64 lower-case hexadecimal digits; `None` where this project has never had the file in
    /// hand: its bytes are then not checked, and only the hash recorded in the model file tells which they were.
    pub sha256: Option<String>,
    /// The weights' licence.
    pub licence: &'static str,
}

/// Where a backbone's weights come from by default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// In this crate.
    Embedded,
    /// On the Hub.
    Hub(HubFile),
}

/// The registered origin of a backbone's weights.
///
/// All of the Hub's are torchvision's first ImageNet weights (`IMAGENET1K_V1`), which the paper uses; the second ones
/// are other models, for which the paper's noise level does not hold. Only WideResNet-50-2 is pinned to a commit and a
/// hash; ResNet-18 and ResNet-50 are taken from the branch `main`, unchecked.
pub fn origin(id: BackboneId) -> Origin {
    let hub = |repo: &str, revision: &str, sha256: Option<&str>| {
        Origin::Hub(HubFile {
            repo: repo.into(),
            revision: revision.into(),
            file: "model.safetensors".into(),
            sha256: sha256.map(Into::into),
            licence: "BSD-3-Clause",
        })
    };
    match id {
        BackboneId::EfficientNetLite0 => Origin::Embedded,
        BackboneId::WideResNet50x2 => hub(
            "timm/wide_resnet50_2.tv_in1k",
            "a616519",
            Some("df6fb6c4824769769de18e14088475fd6ee94236849aa4e5d8022ba9d9a9a16c"),
        ),
        BackboneId::ResNet18 => hub("timm/resnet18.tv_in1k", "main", None),
        BackboneId::ResNet50 => hub("timm/resnet50.tv_in1k", "main", None),
    }
}
