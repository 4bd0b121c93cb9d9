//! The saturated per-region overlap (sPRO) of a test set whose defects have saturation areas: MVTec LOCO AD.
//!
//! In: each image's anomaly map in its own size, and its ground truth. Out: the area under the sPRO curve at two limits.
//! Saturation areas count pixels of the image in its own size, so the maps are those that were put back into it. What a
//! crop left out is not looked at, nor a defect that lies there wholly.

use std::collections::BTreeMap;

use simplenet_data::{
    DecodeOptions,
    dataset::{DefectMask, GroundTruth, Label, Sample, SaturationArea},
};
use simplenet_metrics::{Defect, DefectMap, MetricError, Saturation, SproAccumulator};
use std::sync::Mutex;

use crate::{error::TrainError, evaluation::Metrics};

/// Limits of the false-positive rate, and the metrics' names.
const LIMITS: [(f64, &str); 2] = [(0.30, "pixel_AUsPRO"), (0.05, "pixel_AUsPRO_005")];

/// Takes in the images of a test set one by one, from any thread.
pub(crate) struct SaturatedOverlap {
    set: SproAccumulator,
    /// Why the metric is undefined, of the first image in order.
    undefined: Mutex<BTreeMap<usize, MetricError>>,
}

impl SaturatedOverlap {
    /// For a test set; none unless its defects have saturation areas.
    pub(crate) fn of<'a>(mut samples: impl Iterator<Item = &'a Sample>) -> Option<Self> {
        let has_saturation = |sample: &Sample| sample.mask.as_ref().is_some_and(GroundTruth::has_saturation);
        let set = || Self { set: SproAccumulator::new(), undefined: Mutex::default() };
        samples.any(has_saturation).then(set)
    }

    /// Takes an image in: its number, and its map in its own size, not a number where a crop left it out.
    ///
    /// # Errors
    /// A mask that cannot be read.
    pub(crate) fn add(
        &self,
        number: usize,
        sample: &Sample,
        map: &[f32],
        decode: &DecodeOptions,
    ) -> Result<(), TrainError> {
        let truth = match (&sample.mask, sample.label) {
            (Some(truth), _) => truth.read_defects(decode)?,
            (None, Label::Normal) => vec![],
            // There are no pixel metrics then.
            (None, Label::Anomalous) => return Ok(()),
        };
        let inspected: Vec<f32> = map.iter().copied().filter(|score| !score.is_nan()).collect();
        let masks = truth.iter().map(|defect| inspected_part(defect, map));
        let masks: Vec<(Vec<u8>, Saturation)> =
            masks.filter(|(mask, _)| mask.iter().any(|&v| v > 0)).collect();
        let defects: Vec<Defect<'_>> =
            masks.iter().map(|(mask, saturation)| Defect { mask, saturation: *saturation }).collect();
        // One row: what is a neighbour of what does not matter, since each defect has its own mask.
        let (width, height) = (inspected.len(), 1);
        if let Err(error) = self.set.add(&DefectMap { scores: &inspected, defects: &defects, width, height })
        {
            let mut undefined = self.undefined.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            undefined.insert(number, error);
        }
        Ok(())
    }

    /// Adds the metrics to those of the set.
    pub(crate) fn finish(self, metrics: &mut Metrics) {
        let undefined = self.undefined.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        let ranking = match undefined.into_values().next() {
            Some(error) => Err(error),
            None => self.set.finish(),
        };
        let slots = [&mut metrics.pixel_AUsPRO, &mut metrics.pixel_AUsPRO_005];
        for ((limit, name), slot) in LIMITS.into_iter().zip(slots) {
            // As for every pixel metric: one anomalous image without a mask is enough for none.
            if let Some(reason) = metrics.reasons.get("pixel_AUPRO").filter(|_| metrics.pixel_AUPRO.is_none())
            {
                let reason = reason.clone();
                metrics.reasons.insert(name.to_string(), reason);
                continue;
            }
            match ranking.as_ref().map_err(Clone::clone).and_then(|ranking| ranking.auspro(limit)) {
                Ok(area) => *slot = Some(area),
                Err(error) => {
                    metrics.reasons.insert(name.to_string(), error.to_string());
                }
            }
        }
    }
}

/// The part of a defect that was inspected, in the order of the inspected scores.
fn inspected_part(defect: &DefectMask, map: &[f32]) -> (Vec<u8>, Saturation) {
    let mask =
        defect.mask.iter().zip(map).filter(|(_, score)| !score.is_nan()).map(|(&value, _)| value).collect();
    let saturation = match defect.kind.saturation {
        SaturationArea::Pixels(pixels) => Saturation::Pixels(pixels),
        SaturationArea::Share(share) => Saturation::Share(share),
    };
    (mask, saturation)
}

#[cfg(test)]
mod tests {
    use std::{path::Path, sync::Arc};

    use image::GrayImage;
    use simplenet_data::dataset::DefectKinds;

    use super::*;

    /// A defect of 4 pixels, of which 2 are enough; a good image.
    fn set(dir: &Path, left_out: impl Fn(usize) -> bool) -> Metrics {
        let config = dir.join("defects_config.json");
        let kind =
            r#"{"defect_name":"a","pixel_value":255,"saturation_threshold":2,"relative_saturation":false}"#;
        std::fs::write(&config, format!("[{kind}]")).unwrap();
        let mask = dir.join("000.png");
        GrayImage::from_raw(4, 2, vec![255, 255, 255, 255, 0, 0, 0, 0]).unwrap().save(&mask).unwrap();
        let kinds = Arc::new(DefectKinds::read_file(&config).unwrap());
        let truth = GroundTruth::Defects { masks: vec![mask], kinds };
        let samples =
            [Sample::anomalous("x.png".into(), "logical", Some(truth)), Sample::normal("y.png".into())];
        let maps: [[f32; 8]; 2] = [[9.0, 8.0, 0.0, 0.0, 1.0, 2.0, 3.0, 4.0], [5.0; 8]];
        let overlap = SaturatedOverlap::of(samples.iter()).unwrap();
        for (number, (sample, map)) in samples.iter().zip(&maps).enumerate() {
            let map: Vec<f32> =
                map.iter().enumerate().map(|(i, &v)| if left_out(i) { f32::NAN } else { v }).collect();
            overlap.add(number, sample, &map, &DecodeOptions::default()).unwrap();
        }
        let mut metrics = Metrics::default();
        overlap.finish(&mut metrics);
        metrics
    }

    #[test]
    fn a_saturated_defect_counts_in_full() {
        let dir = tempfile::tempdir().unwrap();
        // The two highest pixels of all are the defect's, and two are enough.
        let metrics = set(dir.path(), |_| false);
        assert_eq!((metrics.pixel_AUsPRO, metrics.pixel_AUsPRO_005), (Some(1.0), Some(1.0)));
        // Of the defect one pixel was inspected, and it scores highest.
        assert_eq!(set(dir.path(), |i| (1..4).contains(&i)).pixel_AUsPRO, Some(1.0));
        // Its first two were cropped off: what is left lies below every normal pixel.
        assert_eq!(set(dir.path(), |i| i < 2).pixel_AUsPRO, Some(0.0));
        // No defect is left at all.
        let none = set(dir.path(), |i| i < 4);
        assert!(none.pixel_AUsPRO.is_none() && none.reasons.contains_key("pixel_AUsPRO"), "{none:?}");
    }

    #[test]
    fn other_test_sets_have_none() {
        let plain = [Sample::normal("y.png".into()), Sample::anomalous("x.png".into(), "hole", None)];
        assert!(SaturatedOverlap::of(plain.iter()).is_none());
    }
}
