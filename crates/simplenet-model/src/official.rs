//! Reads the official code's `ckpt.pth`. In: a checkpoint of its training routine. Out: the head that it holds, bit for
//! bit. The backbone is not in it: the official code loads torchvision's.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use candle_core::{Device, Tensor};

use crate::{
    discriminator::{self, DiscriminatorConfig},
    error::ModelError,
    feature_adaptor::{self, FeatureAdaptorConfig},
    pth,
    simplenet::{Head, HeadConfig},
};

/// The trained tensors of an official checkpoint.
#[derive(Debug, Clone)]
pub struct OfficialCheckpoint {
    /// Where it came from.
    pub path: PathBuf,
    /// Sizes read off the tensors; the constants are the official code's.
    pub config: HeadConfig,
    /// Every tensor of `pre_projection` and `discriminator`, named with that prefix, as stored.
    pub tensors: HashMap<String, Tensor>,
}

impl OfficialCheckpoint {
    /// Reads `path`. Nothing in the file is run: see [`pth`].
    ///
    /// # Errors
    /// A file that cannot be read or is not a PyTorch checkpoint; one without adaptor or discriminator, or with layers
    /// of another kind than the official scripts train (one block of linear, batch norm and LeakyReLU).
    pub fn read(path: &Path) -> Result<Self, ModelError> {
        let prefixes = [feature_adaptor::PREFIX, discriminator::PREFIX];
        let wanted = |name: &str| name.split_once('.').is_some_and(|(first, _)| prefixes.contains(&first));
        let tensors: HashMap<String, Tensor> = pth::read_tensors(path, wanted)?.into_iter().collect();
        let invalid = |reason: String| ModelError::InvalidFile { file: path.to_path_buf(), reason };
        for prefix in prefixes {
            if !tensors.keys().any(|name| name.split('.').next() == Some(prefix)) {
                return Err(invalid(format!(
                    "a PyTorch checkpoint, but not the official code's: it has no `{prefix}` (expected \
                     `pre_projection` and `discriminator`, as `ckpt.pth` of its training routine)"
                )));
            }
        }
        let config = sizes(&tensors)
            .ok_or_else(|| invalid("its adaptor or discriminator is not of the official scripts' kind".into()))?;
        let known = config.tensor_names();
        if let Some(name) = tensors.keys().filter(|name| !known.contains(name)).min() {
            return Err(invalid(format!(
                "its tensor `{name}` belongs to a layer that is not supported: the discriminator may have one block \
                 (--dsc_layers 2)"
            )));
        }
        Ok(Self { path: path.to_path_buf(), config, tensors })
    }

    /// The head, ready to score features: (N, D) as the official aggregator gives them, not scaled.
    ///
    /// # Errors
    /// A tensor that is missing, has another shape, or is not f32.
    pub fn head(&self, device: &Device) -> Result<Head, ModelError> {
        Head::from_tensors(self.config, &self.tensors, device, &self.path)
    }
}

/// Layers are counted and measured by their weights.
fn sizes(tensors: &HashMap<String, Tensor>) -> Option<HeadConfig> {
    let weight = |name: String| tensors.get(&name).and_then(|t| t.dims2().ok());
    let adaptor_weight = |i: usize| weight(format!("{}.layers.{i}fc.weight", feature_adaptor::PREFIX));
    let (dim, _) = adaptor_weight(0)?;
    let layers = (0..).take_while(|&i| adaptor_weight(i).is_some()).count();
    let (hidden, input) = weight(format!("{}.body.block1.0.weight", discriminator::PREFIX))?;
    let config = HeadConfig {
        adaptor: FeatureAdaptorConfig { dim, layers },
        discriminator: DiscriminatorConfig::new(input, hidden),
    };
    config.validate().is_ok().then_some(config)
}
