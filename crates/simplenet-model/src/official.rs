//! Reads the official code's `ckpt.pth`, and writes it ([`export`]). In: a checkpoint of its training routine. Out: the head
//! that it holds, bit for bit. The backbone is not in it: the official code loads torchvision's.
//!
//! The file is a dictionary of two state dictionaries, `discriminator` and, unless it was trained with `--pre_proj 0`,
//! `pre_projection`. Checkpoints of the whole module, which the official code reads too, have the same tensors under the same
//! names beside others, which are passed over.

pub mod export;

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use candle_core::{Device, Tensor};

use crate::{
    discriminator::{self, DiscriminatorConfig},
    error::ModelError,
    feature_adaptor::{self, FeatureAdaptorConfig},
    file, pth,
    simplenet::{Head, HeadConfig},
    tensor_check::require_finite,
    weights::sha256_hex,
};

/// The trained tensors of an official checkpoint.
#[derive(Debug, Clone)]
pub struct OfficialCheckpoint {
    /// Where it came from.
    pub path: PathBuf,
    /// SHA-256 of the file, 64 hexadecimal digits.
    pub sha256: String,
    /// Sizes read off the tensors; the constants are the official code's.
    pub config: HeadConfig,
    /// Every tensor of `pre_projection` and `discriminator`, named with that prefix, as stored.
    pub tensors: HashMap<String, Tensor>,
}

impl OfficialCheckpoint {
    /// Reads `path`. Nothing in the file is run: see [`pth`].
    ///
    /// # Errors
    /// A file that cannot be read or is not a PyTorch checkpoint; one without a discriminator, or with layers
    /// of another kind than the official scripts train (one block of linear, batch norm and LeakyReLU).
    pub fn read(path: &Path) -> Result<Self, ModelError> {
        let prefixes = [feature_adaptor::PREFIX, discriminator::PREFIX];
        let wanted = |name: &str| name.split_once('.').is_some_and(|(first, _)| prefixes.contains(&first));
        let bytes = file::read(path)?;
        let tensors: HashMap<String, Tensor> = pth::read_tensors(&bytes, path, wanted)?.into_iter().collect();
        // In the order of the names, so that the same one is named each time.
        let mut names: Vec<&String> = tensors.keys().collect();
        names.sort_unstable();
        names.into_iter().try_for_each(|name| require_finite(name, &tensors[name], path))?;
        let invalid = |reason: String| ModelError::InvalidFile { file: path.to_path_buf(), reason };
        let of_discriminator = |name: &String| name.split('.').next() == Some(discriminator::PREFIX);
        if !tensors.keys().any(of_discriminator) {
            return Err(invalid(
                "a PyTorch checkpoint, but not the official code's: it has no `discriminator` (expected `discriminator` and \
                 `pre_projection`, as `ckpt.pth` of its training routine)"
                    .into(),
            ));
        }
        let blocks = blocks(&tensors);
        if blocks != 1 {
            return Err(invalid(format!(
                "its discriminator has {blocks} hidden layers, and one is supported, as in the official scripts (--dsc_layers 2; \
                 this one was trained with --dsc_layers {})",
                blocks + 1
            )));
        }
        let config = sizes(&tensors).map_err(invalid)?;
        let known = config.tensor_names();
        if let Some(name) = tensors.keys().filter(|name| !known.contains(name)).min() {
            return Err(invalid(format!(
                "its tensor `{name}` belongs to a layer that the official scripts do not train, and that is not supported"
            )));
        }
        Ok(Self { path: path.to_path_buf(), sha256: sha256_hex(&bytes), config, tensors })
    }

    /// The head, ready to score features: (N, D) as the official aggregator gives them, not scaled.
    ///
    /// # Errors
    /// A tensor that is missing, has another shape, or is not f32.
    pub fn head(&self, device: &Device) -> Result<Head, ModelError> {
        Head::from_tensors(self.config, &self.tensors, device, &self.path)
    }
}

/// Hidden layers of the discriminator.
fn blocks(tensors: &HashMap<String, Tensor>) -> usize {
    let has = |block: &usize| {
        let prefix = format!("{}.body.block{block}.", discriminator::PREFIX);
        tensors.keys().any(|name| name.starts_with(&prefix))
    };
    (1..).take_while(has).count()
}

/// Layers are counted and measured by their weights; or a sentence about those that do not fit each other.
fn sizes(tensors: &HashMap<String, Tensor>) -> Result<HeadConfig, String> {
    let weight = |name: &str| -> Result<Option<(usize, usize)>, String> {
        let Some(tensor) = tensors.get(name) else { return Ok(None) };
        let shape = tensor.dims2();
        shape.map(Some).map_err(|_| format!("its `{name}` has shape {:?}, expected two sides", tensor.dims()))
    };
    let first = format!("{}.body.block1.0.weight", discriminator::PREFIX);
    let (hidden, dim) = weight(&first)?.ok_or_else(|| format!("its `{first}` is missing"))?;
    let mut layers = 0;
    loop {
        let name = format!("{}.layers.{layers}fc.weight", feature_adaptor::PREFIX);
        match weight(&name)? {
            None => break,
            Some((outputs, inputs)) if (outputs, inputs) == (dim, dim) => layers += 1,
            Some((outputs, inputs)) => {
                return Err(format!(
                    "its `{name}` has shape [{outputs}, {inputs}], expected [{dim}, {dim}]: the discriminator takes features \
                     of width {dim}"
                ));
            }
        }
    }
    let config = HeadConfig {
        adaptor: FeatureAdaptorConfig { dim, layers },
        discriminator: DiscriminatorConfig::new(dim, hidden),
    };
    config.validate().map_err(|e| format!("its sizes cannot be: {e}"))?;
    Ok(config)
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
        assert!(error_of(&empty).contains("no `discriminator`"), "{}", error_of(&empty));
        for bytes in [&b""[..], b"a text file", &empty[..empty.len() / 2]] {
            assert!(error_of(bytes).contains("PyTorch checkpoint"), "{}", error_of(bytes));
        }
        assert!(matches!(OfficialCheckpoint::read(Path::new("no/such.pth")), Err(ModelError::Io { .. })));
    }

    #[test]
    fn values_that_are_not_finite_are_named() {
        for (name, value) in [("body.block1.1.running_var", -1.0f32), ("tail.weight", f32::NAN)] {
            let tensor = Tensor::new(&[0.0, value], &Device::Cpu).unwrap();
            let bytes = pth::to_bytes(&[("discriminator", vec![(name.to_string(), tensor)])]).unwrap();
            let (error, want) = (error_of(&bytes), format!("`discriminator.{name}` holds {value} (value 1)"));
            assert!(error.contains(&want), "{want}: {error}");
        }
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
        for (found, layers) in [(&[first, second, block][..], 2), (&[first, block], 1), (&[block], 0)] {
            let config = sizes(&tensors(found)).unwrap();
            let sizes = (config.adaptor.dim, config.adaptor.layers, config.discriminator.hidden);
            assert_eq!(sizes, (6, layers, 4), "{found:?}");
        }
        let flat: (&str, &[usize]) = ("discriminator.body.block1.0.weight", &[24]);
        for (wrong, word) in [
            (&[first][..], "block1.0.weight` is missing"),
            (&[first, other], "expected [7, 7]"),
            (&[first, flat], "shape [24]"),
        ] {
            let message = sizes(&tensors(wrong)).unwrap_err();
            assert!(message.contains(word), "no `{word}` in: {message}");
        }
    }

    #[test]
    fn hidden_layers_are_counted() {
        let names = ["discriminator.body.block1.0.weight", "discriminator.body.block2.0.weight"];
        for count in 0..=2 {
            let specs: Vec<(&str, &[usize])> =
                names[..count].iter().map(|&name| (name, &[1, 1][..])).collect();
            assert_eq!(blocks(&tensors(&specs)), count);
        }
    }
}
