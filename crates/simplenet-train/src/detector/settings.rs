//! What of a detector can be set after it was made: by a calibration for the model file, by a caller for one object.

use simplenet_data::{ImageProfile, RegionOfInterest};
use simplenet_model::checkpoint::Threshold;

use super::Detector;
use crate::{error::TrainError, fit::to_json};

impl Detector {
    /// Sets what good images are like (calibration of a model that does not know it).
    ///
    /// # Errors
    /// `TrainError::Config` for a profile that JSON cannot hold.
    pub fn set_image_profile(&mut self, profile: ImageProfile) -> Result<(), TrainError> {
        self.record.image_profile = Some(to_json(&profile)?);
        self.profile = Some(profile);
        Ok(())
    }

    /// Sets threshold and quantiles (calibration).
    pub fn set_threshold(&mut self, threshold: Threshold, normal_score_quantiles: Vec<(f64, f32)>) {
        self.record.threshold = Some(threshold);
        self.record.normal_score_quantiles = normal_score_quantiles;
    }

    /// Sets the map scores between which heat maps spread their colours (calibration).
    pub fn set_display_range(&mut self, range: (f32, f32)) {
        self.record.display_range = Some(range);
    }

    /// Says which program set the threshold after the training (calibration).
    pub fn set_calibrated_by(&mut self, program: String) {
        self.record.calibrated_by = Some(program);
    }

    /// Uses another threshold on the raw image score, chosen by hand, without a band for review. The threshold on the map goes
    /// down with it, so that a part that only this one rejects has a region too; it does not go up, since the map is smoothed
    /// and its peak may stay below the image's score.
    pub fn override_threshold(&mut self, value: f32) {
        let map_value = match self.record.threshold {
            Some(before) => before.map_value.min(before.map_value + (value - before.value)),
            None => value,
        };
        self.record.threshold = Some(Threshold::by_hand(value, map_value));
    }

    /// Inspects only what lies in this region too, for this object only: where the model has a region of interest of its own,
    /// what lies in both.
    ///
    /// # Errors
    /// A region that is none.
    pub fn narrow(&mut self, region: RegionOfInterest) -> Result<(), TrainError> {
        region.validate()?;
        self.views.narrow(region);
        Ok(())
    }

    /// Gives only regions of at least so many of the photograph's pixels, for this object only. Scores and verdicts do not
    /// change by it.
    pub fn override_min_region_area(&mut self, pixels: u64) {
        self.record.min_region_area = pixels;
    }
}
