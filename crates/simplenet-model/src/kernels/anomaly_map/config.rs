//! How an anomaly map is smoothed: the settings of SciPy's Gaussian filter.

use serde::{Deserialize, Serialize};

use crate::error::ModelError;

/// A Gaussian of this deviation would reach over any image; also keeps a damaged file from asking for a huge kernel.
const MAX_SIGMA: f64 = 1000.0;
const MAX_TRUNCATE: f64 = 100.0;

/// How the map is smoothed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AnomalyMapConfig {
    /// Standard deviation of the Gaussian, in pixels of the map; 0 for no smoothing. The official code: 4.
    pub sigma: f64,
    /// Where the Gaussian is cut off, in standard deviations; SciPy's default: 4.
    pub truncate: f64,
}

impl Default for AnomalyMapConfig {
    fn default() -> Self {
        Self { sigma: 4.0, truncate: 4.0 }
    }
}

impl AnomalyMapConfig {
    /// Checks both numbers.
    ///
    /// # Errors
    /// `ModelError::Configuration` names the first one that cannot work.
    pub fn validate(&self) -> Result<(), ModelError> {
        for (name, value, max) in
            [("sigma", self.sigma, MAX_SIGMA), ("truncate", self.truncate, MAX_TRUNCATE)]
        {
            if !(0.0..=max).contains(&value) {
                return Err(ModelError::Configuration {
                    what: "anomaly map",
                    reason: format!("{name} is {value}, must lie between 0 and {max}"),
                });
            }
        }
        Ok(())
    }

    /// The reach of the kernel to either side: SciPy's rule.
    pub fn radius(&self) -> usize {
        (self.truncate * self.sigma + 0.5) as usize
    }
}
