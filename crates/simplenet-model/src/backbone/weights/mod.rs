//! Where a backbone's weights come from. In: a backbone's id and a source. Out: its tensors as they were stored, checked
//! for presence, shape and type, with the SHA-256 of the file they came from.
//!
//! EfficientNet-Lite0 is embedded in this crate. DINOv2 and the ResNets whose hash is known are fetched from the Hugging Face
//! Hub at a registered revision on first use and cached. Lite1 and Lite2 are in Python packages, ResNet-101 and
//! WideResNet-101-2 are files of PyTorch's: a person downloads them. A file of the user's own replaces any. A backbone is never
//! replaced by another one: what cannot be had is an error that says what to do. Fetching is the feature `hub`.

#[cfg(feature = "hub")]
mod hub;
mod origin;
#[cfg(feature = "hub")]
mod resolve;

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use candle_core::{DType, Device, Tensor, safetensors::SliceSafetensors};
use sha2::{Digest, Sha256};

use crate::{
    backbone::{BackboneId, Levels},
    error::ModelError,
    file, pth,
    tensor_check::require_finite,
};

#[cfg(feature = "hub")]
pub use hub::{DownloadProgress, HubConfig, NetworkUse, Silent, fetch};
pub use origin::{HubFile, Origin, PackageFile, WebFile, origin};
#[cfg(feature = "hub")]
pub use resolve::{download, resolve, resolve_with};

/// The weights of EfficientNet-Lite0 up to its last tap, f16; see `assets/README.md`.
static EMBEDDED: &[u8] = include_bytes!("../../../assets/efficientnet_lite0.f16.safetensors");
const EMBEDDED_NAME: &str = "embedded efficientnet_lite0.f16.safetensors";

/// A backbone's tensors as its source stores them (names, shapes, types), without any that it does not need.
#[derive(Debug, Clone)]
pub struct BackboneWeights {
    /// The network they belong to.
    pub id: BackboneId,
    /// Tensors by the source framework's names, on the CPU.
    pub tensors: HashMap<String, Tensor>,
    /// SHA-256 of the source file, 64 hexadecimal digits.
    pub sha256: String,
}

/// Which weights to take.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum WeightsSource {
    /// The registered ones: embedded, or from the Hub.
    #[default]
    Default,
    /// A safetensors file or a PyTorch checkpoint with the source framework's names. Its hash is recorded, not checked.
    File(PathBuf),
}

impl BackboneWeights {
    /// The weights compiled into this crate.
    ///
    /// # Errors
    /// `id` is another backbone than the embedded one.
    pub fn embedded(id: BackboneId) -> Result<Self, ModelError> {
        Self::from_safetensors_bytes(id, EMBEDDED, Path::new(EMBEDDED_NAME))
    }

    /// Reads a safetensors file or a PyTorch checkpoint; the content decides which, not the name.
    ///
    /// # Errors
    /// The file cannot be read, is of neither form, lacks a tensor or has one of another shape or type.
    pub fn from_file(id: BackboneId, path: &Path) -> Result<Self, ModelError> {
        let bytes = file::read(path)?;
        // A safetensors file: the length of a JSON header, then the header.
        if bytes.get(8) == Some(&b'{') {
            Self::from_safetensors_bytes(id, &bytes, path)
        } else if pth::is_checkpoint(&bytes) {
            Self::from_pth_bytes(id, &bytes, path)
        } else {
            let what = file::foreign(&bytes).unwrap_or("neither a safetensors file nor a PyTorch checkpoint");
            Err(ModelError::InvalidFile { file: path.to_path_buf(), reason: what.into() })
        }
    }

    /// Reads the content of a safetensors file; `name` is used in errors only.
    ///
    /// # Errors
    /// As [`BackboneWeights::from_file`].
    pub fn from_safetensors_bytes(id: BackboneId, bytes: &[u8], name: &Path) -> Result<Self, ModelError> {
        let file = SliceSafetensors::new(bytes).map_err(|error| ModelError::InvalidFile {
            file: name.to_path_buf(),
            reason: format!("not a readable safetensors file: {error}"),
        })?;
        let mut tensors = HashMap::new();
        for spec in id.tensor_specs() {
            if file.get(&spec.name).is_ok() {
                let tensor = file.load(&spec.name, &Device::Cpu)?;
                tensors.insert(spec.name, tensor);
            }
        }
        Self::new(id, tensors, sha256_hex(bytes), name)
    }

    /// Reads a PyTorch checkpoint with the source framework's names, in the zip form or the older plain one.
    ///
    /// # Errors
    /// As [`BackboneWeights::from_file`].
    pub fn from_pth(id: BackboneId, path: &Path) -> Result<Self, ModelError> {
        let bytes = file::read(path)?;
        Self::from_pth_bytes(id, &bytes, path)
    }

    fn from_pth_bytes(id: BackboneId, bytes: &[u8], name: &Path) -> Result<Self, ModelError> {
        let needed: Vec<String> = id.tensor_specs().into_iter().map(|spec| spec.name).collect();
        let tensors = pth::read_tensors(bytes, name, |key| needed.iter().any(|n| n == key))?;
        Self::new(id, tensors.into_iter().collect(), sha256_hex(bytes), name)
    }

    /// Takes tensors from anywhere, keeps those that the backbone needs up to its last level and checks them; `name` is
    /// used in errors only.
    ///
    /// # Errors
    /// A tensor is missing, has another shape or a type other than f16, bf16, f32, f64, or a value that is not finite; a
    /// variance is below 0.
    pub fn new(
        id: BackboneId,
        tensors: HashMap<String, Tensor>,
        sha256: String,
        name: &Path,
    ) -> Result<Self, ModelError> {
        Self::checked(id, id.levels(), tensors, sha256, name)
    }

    /// The same for a backbone that is tapped at these levels, which may need fewer.
    ///
    /// # Errors
    /// As [`BackboneWeights::new`].
    pub(crate) fn checked(
        id: BackboneId,
        levels: Levels,
        mut tensors: HashMap<String, Tensor>,
        sha256: String,
        name: &Path,
    ) -> Result<Self, ModelError> {
        let mut kept = HashMap::new();
        for spec in id.tensor_specs_for(levels) {
            let Some(tensor) = tensors.remove(&spec.name) else {
                return Err(ModelError::MissingTensor {
                    file: name.to_path_buf(),
                    name: spec.name,
                    expected: spec.shape,
                });
            };
            if tensor.dims() != spec.shape {
                return Err(ModelError::TensorShape {
                    file: name.to_path_buf(),
                    name: spec.name,
                    expected: spec.shape,
                    actual: tensor.dims().to_vec(),
                });
            }
            if !matches!(tensor.dtype(), DType::F16 | DType::BF16 | DType::F32 | DType::F64) {
                return Err(ModelError::TensorType {
                    file: name.to_path_buf(),
                    name: spec.name,
                    expected: "f16, bf16, f32 or f64".into(),
                    actual: format!("{:?}", tensor.dtype()).to_lowercase(),
                });
            }
            require_finite(&spec.name, &tensor, name)?;
            kept.insert(spec.name, tensor);
        }
        Ok(Self { id, tensors: kept, sha256 })
    }

    /// Those that the backbone needs when it is tapped at these levels.
    ///
    /// # Errors
    /// One is missing: these are weights for finer levels only.
    pub fn for_levels(&self, levels: Levels) -> Result<Self, ModelError> {
        let specs = self.id.tensor_specs_for(levels).into_iter();
        let kept = specs.map(|spec| Ok((spec.name.clone(), self.get(&spec.name)?.clone())));
        let tensors = kept.collect::<Result<_, ModelError>>()?;
        Ok(Self { id: self.id, tensors, sha256: self.sha256.clone() })
    }

    /// A tensor by name.
    ///
    /// # Errors
    /// There is none: the struct was filled by hand without [`BackboneWeights::new`], or is for finer levels only.
    pub fn get(&self, name: &str) -> Result<&Tensor, ModelError> {
        self.tensors.get(name).ok_or_else(|| ModelError::MissingTensor {
            file: PathBuf::from(format!("weights of {}", self.id)),
            name: name.to_string(),
            expected: Vec::new(),
        })
    }
}

/// SHA-256 as 64 lower-case hexadecimal digits.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
