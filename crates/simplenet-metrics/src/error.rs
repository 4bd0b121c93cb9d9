//! Why a metric has no value: one error for the whole crate.
//!
//! Every variant says what is wrong, where, and (in its message) what to do about it.

use crate::saturation::Saturation;

/// Why a metric could not be computed.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum MetricError {
    /// No score at all.
    #[error("no scores: the input is empty; pass at least one score")]
    Empty,

    /// Scores and labels differ in number.
    #[error("{scores} scores but {labels} labels; pass one label for each score")]
    LengthMismatch {
        /// Number of scores.
        scores: usize,
        /// Number of labels.
        labels: usize,
    },

    /// A score is NaN or infinite.
    #[error("score {index} is {value}; only finite scores can be ranked: repair or drop it")]
    NonFiniteScore {
        /// Index into the scores.
        index: usize,
        /// The score itself.
        value: f32,
    },

    /// A pixel of an anomaly map is NaN or infinite.
    #[error("image {image}, pixel x {x} y {y}: the score is {value}; only finite scores can be ranked")]
    NonFinitePixel {
        /// Index of the image in the set.
        image: usize,
        /// Column, from 0.
        x: usize,
        /// Row, from 0.
        y: usize,
        /// The score itself.
        value: f32,
    },

    /// Width x height of a map is not the number of its scores or of its mask's pixels.
    #[error(
        "image {image}: {width}x{height} needs {expected} pixels, but the map has {scores} and the mask \
         {mask}; bring both to one size first"
    )]
    ShapeMismatch {
        /// Index of the image in the set.
        image: usize,
        /// Stated width.
        width: usize,
        /// Stated height.
        height: usize,
        /// width x height.
        expected: usize,
        /// Number of scores.
        scores: usize,
        /// Number of mask pixels.
        mask: usize,
    },

    /// Width x height of a map is not the number of its scores.
    #[error("image {image}: {width}x{height} needs {expected} scores, but the map has {actual}")]
    MapShape {
        /// Index of the image in the set.
        image: usize,
        /// Stated width.
        width: usize,
        /// Stated height.
        height: usize,
        /// width x height.
        expected: usize,
        /// Number of scores.
        actual: usize,
    },

    /// A mask with a bit a pixel has another length than its image needs.
    #[error("image {image}: a mask of {width}x{height} bits takes {expected} bytes, but it has {actual}")]
    PackedMaskLength {
        /// Index of the image in the set.
        image: usize,
        /// Stated width.
        width: usize,
        /// Stated height.
        height: usize,
        /// ceil(width x height / 8).
        expected: usize,
        /// Number of bytes.
        actual: usize,
    },

    /// Two views of one image differ in shape.
    #[error(
        "the scores have shape {scores:?} and the mask {mask:?} (rows, columns); bring both to one size first"
    )]
    ViewShapes {
        /// Rows and columns of the scores.
        scores: (usize, usize),
        /// Rows and columns of the mask.
        mask: (usize, usize),
    },

    /// A view cannot be read as one slice.
    #[error("the view of the {view} is not contiguous row by row; pass its `as_standard_layout()`")]
    ViewLayout {
        /// "scores" or "mask".
        view: &'static str,
    },

    /// A mask is not width x height.
    #[error("the mask has {actual} pixels, but {width}x{height} needs {expected}")]
    MaskShape {
        /// Stated width.
        width: usize,
        /// Stated height.
        height: usize,
        /// width x height.
        expected: usize,
        /// Number of mask pixels.
        actual: usize,
    },

    /// More pixels in one image than a region number can count.
    #[error("{width}x{height} is more than 2^32 - 1 pixels in one image; cut it into tiles")]
    ImageTooLarge {
        /// Stated width.
        width: usize,
        /// Stated height.
        height: usize,
    },

    /// Two classes are needed and there is only one.
    #[error("only one class is present ({positives} anomalous, {negatives} normal); the metric needs both")]
    SingleClass {
        /// Number of anomalous scores.
        positives: u64,
        /// Number of normal scores.
        negatives: u64,
    },

    /// Nothing is anomalous.
    #[error("none of the {count} scores is labelled anomalous; the metric needs at least one")]
    NoPositives {
        /// Number of scores.
        count: u64,
    },

    /// Nothing is normal.
    #[error("all of the {count} scores are labelled anomalous; the metric needs at least one normal one")]
    NoNegatives {
        /// Number of scores.
        count: u64,
    },

    /// No mask marks a region.
    #[error("no mask marks a defect, so there is no region whose overlap could be measured")]
    NoRegions,

    /// A defect that no found pixel could saturate.
    #[error(
        "image {image}, defect {defect}: {area} pixels with saturation {saturation:?} leave a saturation area of 0; \
         it must be at least one pixel of the defect"
    )]
    NoSaturationArea {
        /// Index of the image in the set.
        image: usize,
        /// Index of the defect in the image.
        defect: usize,
        /// Pixels that the defect's mask marks.
        area: usize,
        /// As passed.
        saturation: Saturation,
    },

    /// AUPIMO's false-positive rate comes from normal images, and there is none.
    #[error("no image is normal (without a pixel that its mask marks); AUPIMO needs at least one")]
    NoNormalImages,

    /// AUPIMO is a score of anomalous images, and there is none.
    #[error("no image is anomalous (its mask marks a pixel); AUPIMO needs at least one")]
    NoAnomalousImages,

    /// Bounds of the false-positive rate that are not 0 < lower < upper <= 1.
    #[error(
        "the bounds of the false-positive rate are {lower} and {upper}; they must be 0 < lower < upper <= 1"
    )]
    InvalidBounds {
        /// The lower bound passed.
        lower: f64,
        /// The upper bound passed.
        upper: f64,
    },

    /// The false-positive rate on normal images jumps over AUPIMO's lower bound.
    #[error(
        "the smallest false-positive rate above 0 on the normal images is {smallest}, above the lower bound \
         {lower}: they have too few pixels, or too many of them share the highest score; use more of them, larger \
         maps or higher bounds"
    )]
    CoarseFalsePositiveRate {
        /// Smallest rate above 0.
        smallest: f64,
        /// The lower bound.
        lower: f64,
    },

    /// The limit of the false-positive rate is not in (0, 1].
    #[error("the limit of the false-positive rate is {limit}; it must be above 0 and at most 1")]
    InvalidLimit {
        /// The limit passed.
        limit: f64,
    },

    /// A rate or probability is not in [0, 1].
    #[error("{name} is {value}; it must lie between 0 and 1")]
    InvalidRate {
        /// What the value stands for.
        name: &'static str,
        /// The value passed.
        value: f64,
    },

    /// A threshold is NaN.
    #[error("the threshold is NaN; pass a number")]
    InvalidThreshold,

    /// Too few bootstrap replicates for a standard error.
    #[error("{replicates} bootstrap replicates; at least {needed} are needed, and 2000 are usual")]
    TooFewReplicates {
        /// Replicates asked for.
        replicates: usize,
        /// The fewest that give a standard error.
        needed: usize,
    },

    /// The confidence of an interval is not in (0, 1).
    #[error("the confidence of the interval is {confidence}; it must be above 0 and below 1, such as 0.95")]
    InvalidConfidence {
        /// The confidence passed.
        confidence: f64,
    },

    /// SimpleNet's own PRO spaces its thresholds over the range of scores, and there is no range.
    #[error("the scores run from {min} to {max}, a range that cannot be cut into {steps} steps")]
    NoScoreRange {
        /// Lowest score.
        min: f32,
        /// Highest score.
        max: f32,
        /// Steps wanted.
        steps: usize,
    },

    /// SimpleNet's own PRO has no curve to integrate below its limit.
    #[error(
        "only {points} of the thresholds have a false-positive rate below {limit}, the largest being \
         {largest}; an area needs two points and a rate above 0"
    )]
    TooFewProPoints {
        /// Points below the limit.
        points: usize,
        /// The limit of the false-positive rate.
        limit: f64,
        /// The largest rate below the limit (0 if there is none).
        largest: f64,
    },
}
