//! The compiled network over batches, on one device: what runs on a GPU. In: photographs of the network's size, as bytes. Out:
//! their patch scores and anomaly maps.
//!
//! The same folding as [`crate::Predictor`], made of the ops' tensor forms: on a GPU each is a kernel of this crate, on the
//! CPU its plain reference, which the tests compare with and which is slow. Images are independent of each other and every
//! sum has one order: scores do not depend on the batch.

mod head;

use std::{fmt, str::FromStr};

use candle_core::{DType, Device, Tensor};
use serde::{Deserialize, Serialize};

use super::check_tile;
use crate::{
    anomaly_map::AnomalyMapConfig,
    error::ModelError,
    graph::COLOURS,
    kernels::pack_image::Normalisation,
    kernels::{anomaly_map::AnomalyMapTensor, patch_aggregate::PatchAggregateTensor, transfer::Transfers},
    lower::device::TensorProgram,
    simplenet::{FeatureExtractor, SimpleNet},
};
use head::BatchHead;

/// The numbers that a batch is computed in; sums are always in f32.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BatchPrecision {
    /// f32, by ordinary multiply-adds: agrees with the reference network to rounding.
    #[default]
    F32,
    /// f16 activations and weights on the tensor cores.
    F16,
}

impl BatchPrecision {
    fn dtype(self) -> DType {
        match self {
            Self::F32 => DType::F32,
            Self::F16 => DType::F16,
        }
    }
}

impl fmt::Display for BatchPrecision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
        })
    }
}

impl FromStr for BatchPrecision {
    type Err = ModelError;

    fn from_str(text: &str) -> Result<Self, ModelError> {
        [Self::F32, Self::F16].into_iter().find(|precision| precision.to_string() == text).ok_or_else(|| {
            ModelError::Configuration {
                what: "precision",
                reason: format!("`{text}`; batches take f32 or f16"),
            }
        })
    }
}

/// The frozen half for batches of images of one size, on one device.
#[derive(Debug)]
struct BatchBackbone {
    sides: [usize; 2],
    device: Device,
    dtype: DType,
    program: TensorProgram,
    transfers: Transfers,
}

impl BatchBackbone {
    fn compile(
        extractor: &FeatureExtractor,
        sides: [usize; 2],
        device: &Device,
        precision: BatchPrecision,
    ) -> Result<Self, ModelError> {
        let (graph, dtype) = (extractor.backbone().graph(sides)?, precision.dtype());
        let program = TensorProgram::compile(&graph, device, dtype)?;
        Ok(Self { sides, device: device.clone(), dtype, program, transfers: Transfers::default() })
    }

    fn grids(&self) -> Vec<[usize; 2]> {
        self.program.grids()
    }

    /// How many images these are.
    ///
    /// # Errors
    /// `ModelError::InputShape` where they are no whole number of images, or none.
    fn count(&self, len: usize, what: &str) -> Result<usize, ModelError> {
        let [height, width] = self.sides;
        let one = COLOURS * height * width;
        match len.checked_div(one) {
            Some(count) if count > 0 && len.is_multiple_of(one) => Ok(count),
            _ => Err(ModelError::InputShape {
                what: "predictor",
                expected: format!("images of 3 x {height} x {width} {what}"),
                actual: vec![len],
            }),
        }
    }

    /// (B, H, W, 3) bytes -> the taps, (B, h, w, C) each.
    fn run_rgb(&self, rgb: &[u8], normalisation: &Normalisation) -> Result<Vec<Tensor>, ModelError> {
        let count = self.count(rgb.len(), "bytes")?;
        let [height, width] = self.sides;
        let images = self.transfers.upload(rgb, &[count, height, width, COLOURS], &self.device)?;
        Ok(self.program.run(self.program.pack().forward_rgb(&images, normalisation)?)?)
    }

    /// (B, 3, H, W), normalised -> the taps.
    fn run_planes(&self, planes: &[f32]) -> Result<Vec<Tensor>, ModelError> {
        let count = self.count(planes.len(), "numbers")?;
        let [height, width] = self.sides;
        let images = Tensor::from_slice(planes, (count, COLOURS, height, width), &self.device)?;
        Ok(self.program.run(self.program.pack().forward_planes(&images)?)?)
    }
}

/// SimpleNet compiled for batches of images of one size on one device; `Send + Sync`.
#[derive(Debug)]
pub struct BatchPredictor {
    backbone: BatchBackbone,
    head: BatchHead,
    map: AnomalyMapTensor,
    normalisation: Normalisation,
}

/// What a batch gives, image after image.
#[derive(Debug, Clone, PartialEq)]
pub struct BatchOutput {
    /// Raw patch scores, (B, h, w); higher = more anomalous.
    pub patch_scores: Vec<f32>,
    /// Anomaly maps at the network's input size, (B, H, W).
    pub maps: Vec<f32>,
}

impl BatchPredictor {
    /// Folds `net`'s layers for images of (`height`, `width`) and puts them on `device`.
    ///
    /// # Errors
    /// Sides that the backbone cannot take; statistics of another grid; a device that is out of
    /// memory.
    pub fn compile(
        net: &SimpleNet,
        height: usize,
        width: usize,
        normalisation: Normalisation,
        map: AnomalyMapConfig,
        device: &Device,
        precision: BatchPrecision,
    ) -> Result<Self, ModelError> {
        let backbone = BatchBackbone::compile(net.extractor(), [height, width], device, precision)?;
        let grids = backbone.grids();
        let head = BatchHead::compile(net, &grids, backbone.dtype, device)?;
        let grid = grids.first().copied().unwrap_or_default();
        let map = AnomalyMapTensor::new(grid[0], grid[1], height, width, &map, device)?;
        Ok(Self { backbone, head, map, normalisation })
    }

    /// Rows and columns of an image's patch scores.
    pub fn grid(&self) -> (usize, usize) {
        let [rows, columns] = self.backbone.grids().first().copied().unwrap_or_default();
        (rows, columns)
    }

    /// Where it computes.
    pub fn device(&self) -> &Device {
        &self.backbone.device
    }

    /// Photographs of the network's size, (B, H, W, 3) bytes, RGB, row by row -> their scores and maps.
    ///
    /// # Errors
    /// `ModelError::InputShape` for another number of bytes; a device that is out of memory (take fewer at once).
    pub fn run(&self, rgb: &[u8]) -> Result<BatchOutput, ModelError> {
        self.run_tile(rgb, 0)
    }

    /// How many tiles of a photograph have statistics of their own: a batch is of one of them. 1 where all tiles are alike.
    pub fn tiles(&self) -> usize {
        self.head.tiles()
    }

    /// The same for one tile, the same of each photograph, as [`crate::Predictor::patch_scores_of_tile`].
    ///
    /// # Errors
    /// As [`BatchPredictor::run`]; `ModelError::InputShape` for a tile that the statistics do not have.
    pub fn run_tile(&self, rgb: &[u8], tile: usize) -> Result<BatchOutput, ModelError> {
        check_tile(tile, self.tiles())?;
        let scores = self.head.run(&self.backbone.run_rgb(rgb, &self.normalisation)?, tile)?;
        let maps = self.map.forward(&scores)?;
        let transfers = &self.backbone.transfers;
        Ok(BatchOutput { patch_scores: transfers.download(&scores)?, maps: transfers.download(&maps)? })
    }
}

/// The frozen half compiled for batches: what training runs once per image.
#[derive(Debug)]
pub struct BatchExtractor {
    backbone: BatchBackbone,
    aggregate: PatchAggregateTensor,
}

impl BatchExtractor {
    /// Folds the backbone for images of (`height`, `width`) and puts it on `device`.
    ///
    /// # Errors
    /// As [`BatchPredictor::compile`].
    pub fn compile(
        extractor: &FeatureExtractor,
        height: usize,
        width: usize,
        device: &Device,
        precision: BatchPrecision,
    ) -> Result<Self, ModelError> {
        let backbone = BatchBackbone::compile(extractor, [height, width], device, precision)?;
        let op = extractor.aggregator().op();
        let aggregate = PatchAggregateTensor::new(op, &backbone.grids(), backbone.dtype, device)?;
        Ok(Self { backbone, aggregate })
    }

    /// Rows and columns of an image's patches.
    pub fn grid(&self) -> (usize, usize) {
        let [rows, columns] = self.backbone.grids().first().copied().unwrap_or_default();
        (rows, columns)
    }

    /// Images (B, 3, H, W), normalised -> (B, h, w, D) patch features, not scaled, f32.
    ///
    /// # Errors
    /// `ModelError::InputShape` for another number of values; a device that is out of memory.
    pub fn features(&self, images: &[f32]) -> Result<Vec<f32>, ModelError> {
        let features = self.aggregate.forward(&self.backbone.run_planes(images)?)?;
        Ok(self.backbone.transfers.download(&features.to_dtype(DType::F32)?)?)
    }
}
