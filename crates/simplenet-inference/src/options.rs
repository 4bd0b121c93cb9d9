//! How a detector is opened: plain values, all of which have a default.

use std::path::PathBuf;

use simplenet_data::{DecodeOptions, RegionOfInterest};
use simplenet_model::DeviceChoice;

use crate::{error::InferenceError, precision::InferencePrecision};

/// Images that go through the network at once on a GPU, when no number is given.
pub const BATCH: usize = 16;

/// How a detector is opened. What overrides the model file does so for one detector only.
///
/// ```
/// use simplenet_inference::DetectorOptions;
///
/// let mut options = DetectorOptions::default();
/// options.threshold = Some(0.5);
/// options.roi = Some(std::path::PathBuf::from("roi.json").into());
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct DetectorOptions {
    /// Where to compute; the CPU, or in a build for GPUs the first one if there is any.
    pub device: DeviceChoice,
    /// The numbers to compute in; f32. The model's threshold was set with scores in f32.
    pub precision: InferencePrecision,
    /// Images that a GPU is given at once, at most; [`BATCH`]. The CPU takes them one by one.
    pub batch: Option<usize>,
    /// Another threshold on the raw image score, chosen by hand, without a band for review. The threshold on the map goes
    /// down with it, so that a part that only this one rejects has a region too; it does not go up, since the map is smoothed
    /// and its peak may stay below the image's score.
    pub threshold: Option<f32>,
    /// Inspects only what lies in this region too: where the model has a region of interest of its own, what lies in both.
    pub roi: Option<Roi>,
    /// Gives only regions of at least so many of the image's pixels. Scores and decisions do not change by it.
    pub min_area: Option<u64>,
    /// Reads images of up to so many pixels.
    pub max_pixels: Option<u64>,
    /// For tests: the form for GPUs on the CPU too, by plain loops that are slow.
    #[doc(hidden)]
    pub batches_on_cpu: bool,
}

/// A region of interest, or the file that it is in.
#[derive(Debug, Clone, PartialEq)]
pub enum Roi {
    /// The region itself.
    Region(RegionOfInterest),
    /// A mask image or a file of polygons, as [`RegionOfInterest::read`] takes it.
    File(PathBuf),
}

impl From<RegionOfInterest> for Roi {
    fn from(region: RegionOfInterest) -> Self {
        Self::Region(region)
    }
}

impl From<PathBuf> for Roi {
    fn from(file: PathBuf) -> Self {
        Self::File(file)
    }
}

impl Roi {
    /// The region; a mask is decoded as the model's images are.
    ///
    /// # Errors
    /// A file that cannot be read; a region that is none.
    pub(crate) fn region(&self, decode: &DecodeOptions) -> Result<RegionOfInterest, InferenceError> {
        match self {
            Self::Region(region) => region.validate().map(|()| region.clone()).map_err(Into::into),
            Self::File(path) => Ok(RegionOfInterest::read(path, decode)?),
        }
    }
}
