//! The frozen network, compiled for where it computes. In: one image (3, H, W), normalised. Out: its patch features.
//!
//! Also what its layers' activations reach, for int8, which the CPU computes in: that is always measured there.

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
    /// What computes, where that is not the CPU.
    device: Option<BatchExtractor>,
    /// Made when it is first asked for.
    cpu: OnceLock<CompiledExtractor>,
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
        if device.is_cpu() {
            let engine = Self { extractor, sides: sides(config), device: None, cpu: OnceLock::new() };
            engine.cpu()?;
            Ok(engine)
        } else {
            Self::in_batches(config, extractor, device)
        }
    }

    /// The form for GPUs. On the CPU it gives the same by plain loops, for tests.
    ///
    /// # Errors
    /// As [`FeatureEngine::new`].
    pub(crate) fn in_batches(
        config: &TrainConfig,
        extractor: &'a FeatureExtractor,
        device: &Device,
    ) -> Result<Self, TrainError> {
        let [height, width] = sides(config);
        let device = BatchExtractor::compile(extractor, height, width, device, BatchPrecision::F32)?;
        Ok(Self { extractor, sides: [height, width], device: Some(device), cpu: OnceLock::new() })
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
            None => self.cpu()?.features(image)?,
        })
    }

    /// The largest absolute output of every layer for one image, on the CPU.
    ///
    /// # Errors
    /// Another number of values.
    pub(crate) fn observe(&self, image: &[f32]) -> Result<ActivationRanges, TrainError> {
        Ok(self.cpu()?.observe(image)?)
    }

    fn cpu(&self) -> Result<&CompiledExtractor, TrainError> {
        if let Some(compiled) = self.cpu.get() {
            return Ok(compiled);
        }
        let [height, width] = self.sides;
        let compiled =
            CompiledExtractor::compile(self.extractor, height, width, &PredictorOptions::default())?;
        Ok(self.cpu.get_or_init(|| compiled))
    }
}

/// Height and width of the network's input.
fn sides(config: &TrainConfig) -> [usize; 2] {
    let (width, height) = config.preprocess.network_size();
    [height as usize, width as usize]
}

#[cfg(test)]
mod tests {
    use simplenet_data::preprocess::Resize;
    use simplenet_model::{BackboneId, BackboneWeights};

    use super::*;
    use crate::config::Preset;

    #[test]
    fn features_are_the_same_in_either_form() {
        let mut config = TrainConfig::preset(Preset::Default, BackboneId::EfficientNetLite0);
        config.preprocess.resize = Resize::Exact { width: 72, height: 56 };
        let weights = BackboneWeights::embedded(config.backbone).unwrap();
        let extractor =
            FeatureExtractor::load(config.backbone, config.levels, &weights, config.aggregator, &Device::Cpu)
                .unwrap();
        let cpu = FeatureEngine::new(&config, &extractor, &Device::Cpu).unwrap();
        let batches = FeatureEngine::in_batches(&config, &extractor, &Device::Cpu).unwrap();
        assert!(cpu.device.is_none() && batches.device.is_some());
        assert_eq!(cpu.grid(), batches.grid());
        let image: Vec<f32> = (0..3 * 72 * 56).map(|i| (i as f32 / 50.0).sin()).collect();
        let (want, got) = (cpu.features(&image).unwrap(), batches.features(&image).unwrap());
        let largest = want.iter().fold(0.0f32, |largest, v| largest.max(v.abs()));
        let worst = want.iter().zip(&got).map(|(w, g)| (w - g).abs()).fold(0.0, f32::max);
        // As the model crate's comparison of its two compiled forms.
        assert!(want.len() == got.len() && worst <= 2e-5 * largest, "off by {worst} of {largest}");
        // For int8, which the CPU computes in, that is asked, whoever makes the features.
        assert_eq!(cpu.observe(&image).unwrap(), batches.observe(&image).unwrap());
    }
}
