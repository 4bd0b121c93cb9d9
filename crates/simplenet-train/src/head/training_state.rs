//! A training in the middle: everything that the next step depends on, and its file.
//!
//! In: the state after a step. Out: a safetensors file, written whole or not at all, from which the training goes on to the
//! same weights, bit for bit. Order and noise are drawn by the step's number, so no generator is in it. The file says which
//! training it belongs to: settings, features, program; and it has a checksum of all its bytes, so that a damaged one is never
//! gone on from.

use std::{collections::HashMap, ops::Range, path::Path};

use candle_core::Device;
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use simplenet_files::Durability;

use crate::{
    config::TrainConfig,
    error::TrainError,
    features::cache::FeatureCache,
    head::{optimizer::Moments, trained_head::TrainedHead},
};

/// The newest format, the only one that is read: a state does not outlive an update of the program.
const FORMAT: u32 = 3;
/// Where the header is in the safetensors metadata.
const METADATA_KEY: &str = "simplenet-training";

/// What stands before the digits of the checksum in the file: JSON within JSON.
const CHECKSUM_MARK: &[u8] = br#"\"crc32\":\""#;
/// The digits while the checksum is being taken.
const BLANK_CHECKSUM: &str = "00000000";

/// A training after some of its steps.
#[derive(Debug, Clone)]
pub struct TrainingState {
    /// Steps done.
    pub step: usize,
    /// Adaptor and discriminator, with the running statistics.
    pub head: TrainedHead,
    /// The optimisers' moments, in the order of the trained tensors.
    pub(crate) moments: Vec<Moments>,
    /// Mean loss of every epoch that is over.
    pub losses: Vec<f64>,
    /// Sum of the losses of the steps since.
    pub(crate) loss_sum: f64,
    /// The best epoch on the test set so far, when it was asked for.
    pub oracle: Option<Oracle>,
}

/// The epoch that a look at the test set would have chosen. Reported beside the result, never used for it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Oracle {
    /// The epoch, from 1.
    pub epoch: usize,
    /// Its image AUROC on the test set.
    #[serde(rename = "image_AUROC")]
    pub image_auroc: f64,
}

/// The name of a kind of device in reports and states.
pub(crate) fn kind(device: &Device) -> &'static str {
    match device {
        Device::Cpu => "cpu",
        Device::Cuda(_) => "cuda",
        Device::Metal(_) => "metal",
    }
}

/// Which training a state belongs to. Another one must not go on from it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    /// Program and version.
    program: String,
    /// SHA-256 of the configuration.
    config_sha256: String,
    /// SHA-256 of the features: photographs, their order, preprocessing and backbone are all in it, and how this CPU
    /// rounds.
    features_sha256: String,
    /// Whether the best epoch on the test set is looked for.
    oracle: bool,
    /// The kind of device that trains: sums are made in another order on each.
    #[serde(default)]
    pub(crate) device: String,
}

impl Identity {
    pub(crate) fn new(
        config: &TrainConfig,
        cache: &FeatureCache,
        oracle: bool,
        device: &Device,
    ) -> Result<Self, TrainError> {
        let mut hash = Sha256::new();
        hash.update(config.to_toml()?);
        let config_sha256 = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Self {
            program: crate::program(),
            config_sha256,
            features_sha256: cache.sha256()?,
            oracle,
            device: kind(device).into(),
        })
    }

    /// What another identity differs in, in words; none if in nothing.
    fn difference(&self, other: &Self) -> Option<&'static str> {
        match () {
            _ if self.program != other.program => Some("another version of the program wrote it"),
            _ if self.config_sha256 != other.config_sha256 => Some("its settings were others"),
            _ if self.features_sha256 != other.features_sha256 => {
                Some("its photographs or backbone were others, or this is another processor")
            }
            _ if self.device != other.device => Some("another device trained it (--device)"),
            _ if self.oracle != other.oracle => Some("--oracle was given for one of the two only"),
            () => None,
        }
    }
}

/// The part of the header that is the same in every version.
#[derive(Deserialize)]
struct Envelope {
    format: u32,
}

/// What is in the file beside numbers.
#[derive(Serialize, Deserialize)]
struct Header {
    format: u32,
    /// CRC-32 of the whole file, with these digits as zeros.
    crc32: String,
    #[serde(flatten)]
    identity: Identity,
    step: usize,
    /// Steps of each optimiser.
    moment_steps: Vec<i32>,
    oracle_epoch: Option<usize>,
}

impl TrainingState {
    /// Writes the state: to a temporary name beside `path`, flushed to the disk, then renamed.
    pub(crate) fn save(&self, path: &Path, identity: &Identity) -> std::io::Result<()> {
        let header = Header {
            format: FORMAT,
            crc32: BLANK_CHECKSUM.into(),
            identity: identity.clone(),
            step: self.step,
            moment_steps: self.moments.iter().map(|moments| moments.steps).collect(),
            oracle_epoch: self.oracle.map(|oracle| oracle.epoch),
        };
        let mut parts: Vec<(String, Dtype, Vec<u8>)> = self
            .numbers()
            .into_iter()
            .map(|(name, values)| (name, Dtype::F32, values.iter().flat_map(|v| v.to_le_bytes()).collect()))
            .collect();
        let exact = |values: &[f64]| values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
        parts.push(("losses".into(), Dtype::F64, exact(&self.losses)));
        let oracle = self.oracle.map_or(0.0, |oracle| oracle.image_auroc);
        parts.push(("loss_sum_and_oracle".into(), Dtype::F64, exact(&[self.loss_sum, oracle])));
        let views = parts
            .iter()
            .map(|(name, dtype, data)| {
                let length = data.len() * 8 / dtype.bitsize();
                Ok((name.as_str(), TensorView::new(*dtype, vec![length], data)?))
            })
            .collect::<Result<Vec<_>, safetensors::SafeTensorError>>()
            .map_err(std::io::Error::other)?;
        let metadata = HashMap::from([(METADATA_KEY.to_string(), serde_json::to_string(&header)?)]);
        let mut bytes = safetensors::serialize(views, Some(metadata)).map_err(std::io::Error::other)?;
        let place =
            checksum_place(&bytes).ok_or_else(|| std::io::Error::other("no place for the checksum"))?;
        let digits = checksum(&bytes, &place);
        bytes[place].copy_from_slice(digits.as_bytes());
        let folder = simplenet_files::parent_folder(path);
        std::fs::create_dir_all(folder)?;
        simplenet_files::clear(folder);
        simplenet_files::write(path, &bytes, Durability::Disk)
    }

    /// Goes on from a file: this state, which must be the training's first, becomes the one that was saved. Otherwise says
    /// why not, and is unchanged.
    pub(crate) fn resume(&mut self, bytes: &[u8], identity: &Identity) -> Result<(), String> {
        let unreadable = |e: &dyn std::fmt::Display| format!("it cannot be read ({e})");
        let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(|e| unreadable(&e))?;
        let text =
            metadata.metadata().as_ref().and_then(|m| m.get(METADATA_KEY)).cloned().unwrap_or_default();
        let envelope: Envelope = serde_json::from_str(&text).map_err(|e| unreadable(&e))?;
        if envelope.format != FORMAT {
            return Err("another version of the program wrote it".into());
        }
        let is_whole = |place: Range<usize>| bytes[place.clone()] == *checksum(bytes, &place).as_bytes();
        if !checksum_place(bytes).is_some_and(is_whole) {
            return Err("it is damaged: its bytes do not have the checksum that it names".into());
        }
        let header: Header = serde_json::from_str(&text).map_err(|e| unreadable(&e))?;
        if let Some(difference) = identity.difference(&header.identity) {
            return Err(difference.into());
        }
        let tensors = SafeTensors::deserialize(bytes).map_err(|e| unreadable(&e))?;
        let data = |name: &str, dtype: Dtype| match tensors.tensor(name) {
            Ok(view) if view.dtype() == dtype => Ok(view.data().to_vec()),
            Ok(_) => Err(unreadable(&format!("`{name}` is of another type"))),
            Err(e) => Err(unreadable(&e)),
        };
        let exact = |name: &str| -> Result<Vec<f64>, String> {
            let bytes = data(name, Dtype::F64)?;
            Ok(bytes.as_chunks::<8>().0.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect())
        };
        let mut resumed = self.clone();
        for (name, values) in resumed.numbers_mut() {
            let bytes = data(&name, Dtype::F32)?;
            if bytes.len() != 4 * values.len() {
                return Err(unreadable(&format!("`{name}` is of another size")));
            }
            for (value, bytes) in values.iter_mut().zip(bytes.as_chunks::<4>().0) {
                *value = f32::from_le_bytes(*bytes);
            }
        }
        resumed.losses = exact("losses")?;
        let [loss_sum, image_auroc] = exact("loss_sum_and_oracle")?[..] else {
            return Err(unreadable(&"`loss_sum_and_oracle` is of another size"));
        };
        resumed.loss_sum = loss_sum;
        resumed.oracle = header.oracle_epoch.map(|epoch| Oracle { epoch, image_auroc });
        resumed.step = header.step;
        if header.moment_steps.len() != resumed.moments.len() {
            return Err(unreadable(&"its optimisers are of another number of tensors"));
        }
        for (moments, steps) in resumed.moments.iter_mut().zip(header.moment_steps) {
            moments.steps = steps;
        }
        *self = resumed;
        Ok(())
    }

    /// Every f32 of the state, by name.
    fn numbers(&self) -> Vec<(String, &Vec<f32>)> {
        let mut numbers: Vec<(String, &Vec<f32>)> = vec![];
        for (i, (values, moments)) in
            self.head.tensors.parameters().into_iter().zip(&self.moments).enumerate()
        {
            numbers.push((format!("parameter.{i}"), values));
            numbers.push((format!("first_moment.{i}"), &moments.first));
            numbers.push((format!("second_moment.{i}"), &moments.second));
        }
        numbers.push(("running_mean".into(), &self.head.statistics.mean));
        numbers.push(("running_variance".into(), &self.head.statistics.variance));
        numbers
    }

    /// The same to be changed, in the same order.
    fn numbers_mut(&mut self) -> Vec<(String, &mut Vec<f32>)> {
        let parameters = self.head.tensors.parameters_mut();
        let mut numbers: Vec<(String, &mut Vec<f32>)> = vec![];
        for (i, (values, moments)) in parameters.into_iter().zip(&mut self.moments).enumerate() {
            numbers.push((format!("parameter.{i}"), values));
            numbers.push((format!("first_moment.{i}"), &mut moments.first));
            numbers.push((format!("second_moment.{i}"), &mut moments.second));
        }
        numbers.push(("running_mean".into(), &mut self.head.statistics.mean));
        numbers.push(("running_variance".into(), &mut self.head.statistics.variance));
        numbers
    }
}

/// Where the digits of the checksum stand in a state's file.
fn checksum_place(bytes: &[u8]) -> Option<Range<usize>> {
    let length = u64::from_le_bytes(*bytes.first_chunk::<8>()?);
    let header = bytes.get(8..)?.get(..usize::try_from(length).ok()?)?;
    let mark = header.windows(CHECKSUM_MARK.len()).position(|window| window == CHECKSUM_MARK)?;
    let start = 8 + mark + CHECKSUM_MARK.len();
    let place = start..start + BLANK_CHECKSUM.len();
    (place.end <= bytes.len()).then_some(place)
}

/// CRC-32 over all bytes, with those at `place` as zeros: eight digits.
fn checksum(bytes: &[u8], place: &Range<usize>) -> String {
    let mut hash = crc32fast::Hasher::new();
    hash.update(&bytes[..place.start]);
    hash.update(BLANK_CHECKSUM.as_bytes());
    hash.update(&bytes[place.end..]);
    format!("{:08x}", hash.finalize())
}
