//! The frozen network, compiled for where it computes. In: one image (3, H, W), normalised. Out: its patch features.
//!
//! Also what its layers' activations reach, for int8, which the processor computes in: that is always measured there.

use std::sync::OnceLock;

use candle_core::Device;
use simplenet_model::{
    ActivationRanges, BatchExtractor, BatchPrecision, CompiledExtractor, PredictorOptions,
    simplenet::FeatureExtractor,
};

use crate::{config::TrainConfig, error::TrainError};

/// A compiled extractor for images of the configuration's size.
pub(crate) struct FeatureEngine<'a> {
    extractor: &'a FeatureExtractor,
    /// Height and width.
    sides: [usize; 2],
    /// What computes, where that is not the processor.
    device: Option<BatchExtractor>,
    /// Made when it is first asked for.
    processor: OnceLock<CompiledExtractor>,
}

impl<'a> FeatureEngine<'a> {
    /// Compiles `extractor` for `device`; in f32 on either.
    ///
    /// # Errors
    /// Sides that the network cannot take; a device that is out of memory.
    pub(crate) fn new(
        config: &TrainConfig,
        extractor: &'a FeatureExtractor,
        device: &Device,
    ) -> Result<Self, TrainError> {
        let (width, height) = config.preprocess.network_size();
        let [height, width] = [height as usize, width as usize];
        let compile = || BatchExtractor::compile(extractor, height, width, device, BatchPrecision::F32);
        let on_device = if device.is_cpu() { None } else { Some(compile()?) };
        let engine =
            Self { extractor, sides: [height, width], device: on_device, processor: OnceLock::new() };
        if engine.device.is_none() {
            engine.processor()?;
        }
        Ok(engine)
    }

    /// Rows and columns of patches.
    pub(crate) fn grid(&self) -> (usize, usize) {
        self.extractor.grid(self.sides[0], self.sides[1])
    }

    /// (3, H, W), normalised -> (h, w, D), not scaled.
    ///
    /// # Errors
    /// Another number of values; a device that fails.
    pub(crate) fn features(&self, image: &[f32]) -> Result<Vec<f32>, TrainError> {
        Ok(match &self.device {
            Some(device) => device.features(image)?,
            None => self.processor()?.features(image)?,
        })
    }

    /// The largest absolute output of every layer for one image, on the processor.
    ///
    /// # Errors
    /// Another number of values.
    pub(crate) fn observe(&self, image: &[f32]) -> Result<ActivationRanges, TrainError> {
        Ok(self.processor()?.observe(image)?)
    }

    fn processor(&self) -> Result<&CompiledExtractor, TrainError> {
        if let Some(compiled) = self.processor.get() {
            return Ok(compiled);
        }
        let [height, width] = self.sides;
        let compiled =
            CompiledExtractor::compile(self.extractor, height, width, &PredictorOptions::default())?;
        Ok(self.processor.get_or_init(|| compiled))
    }
}
