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
        let config = sizes(&tensors).ok_or_else(|| {
            invalid("its adaptor or discriminator is not of the official scripts' kind".into())
        })?;
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

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn error_of(bytes: &[u8]) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ckpt.pth");
        std::fs::write(&path, bytes).unwrap();
        let error = OfficialCheckpoint::read(&path).unwrap_err().to_string();
        assert!(error.contains("ckpt.pth"), "no path in: {error}");
        error
    }

    #[test]
    fn other_files_say_what_they_lack() {
        let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        let stored =
            zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
        zip.start_file("ckpt/data.pkl", stored).unwrap();
        zip.write_all(b"\x80\x02}.").unwrap(); // the pickle of an empty dictionary
        let empty = zip.finish().unwrap().into_inner();
        assert!(error_of(&empty).contains("no `pre_projection`"), "{}", error_of(&empty));
        for bytes in [&b""[..], b"a text file", &empty[..empty.len() / 2]] {
            assert!(error_of(bytes).contains("PyTorch checkpoint"), "{}", error_of(bytes));
        }
        assert!(matches!(OfficialCheckpoint::read(Path::new("no/such.pth")), Err(ModelError::Io { .. })));
    }

    fn tensors(specs: &[(&str, &[usize])]) -> HashMap<String, Tensor> {
        let zeros = |shape: &[usize]| Tensor::zeros(shape, candle_core::DType::F32, &Device::Cpu).unwrap();
        specs.iter().map(|(name, shape)| (name.to_string(), zeros(shape))).collect()
    }

    #[test]
    fn sizes_are_read_off_the_weights() {
        let first: (&str, &[usize]) = ("pre_projection.layers.0fc.weight", &[6, 6]);
        let second: (&str, &[usize]) = ("pre_projection.layers.1fc.weight", &[6, 6]);
        let block: (&str, &[usize]) = ("discriminator.body.block1.0.weight", &[4, 6]);
        let other: (&str, &[usize]) = ("discriminator.body.block1.0.weight", &[4, 7]);
        let config = sizes(&tensors(&[first, second, block])).unwrap();
        assert_eq!((config.adaptor.dim, config.adaptor.layers, config.discriminator.hidden), (6, 2, 4));
        for wrong in [&[first][..], &[block], &[first, other], &[second, block]] {
            assert!(sizes(&tensors(wrong)).is_none(), "{wrong:?}");
        }
    }
}
