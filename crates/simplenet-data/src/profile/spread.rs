//! How a measure is distributed over the images that a model was trained on, and from where on a value is unlike them.

use serde::{Deserialize, Serialize};

use super::Trait;
use crate::traits::{median, rounded};

/// From a normal distribution's median absolute deviation to its standard deviation.
const MAD_TO_DEVIATION: f64 = 1.4826;

/// How a measure is distributed over the images.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spread {
    /// The smallest value.
    pub least: f32,
    /// The median.
    pub median: f32,
    /// The greatest value.
    pub greatest: f32,
    /// Median absolute deviation, times 1.4826: robust against single images.
    pub deviation: f32,
}

impl Spread {
    /// Of these values; none of none.
    pub(super) fn of(values: impl Iterator<Item = f32>) -> Option<Self> {
        let values: Vec<f32> = values.collect();
        let wide = || values.iter().map(|&v| f64::from(v));
        let middle = median(wide())?;
        let deviation = MAD_TO_DEVIATION * median(wide().map(|v| (v - middle).abs()))?;
        Some(Self {
            least: values.iter().copied().min_by(f32::total_cmp)?,
            median: rounded(middle),
            greatest: values.iter().copied().max_by(f32::total_cmp)?,
            deviation: rounded(deviation),
        })
    }

    /// Between these a value is like the others.
    pub(super) fn limits(&self, Margin { least, fraction, deviations }: Margin) -> [f32; 2] {
        let least = least.max(fraction * self.median);
        let wide = least.max(deviations * self.deviation);
        [(self.least - least).min(self.median - wide), (self.greatest + least).max(self.median + wide)]
    }

    pub(super) fn shown(&self, kind: Trait) -> String {
        range(kind, [self.least, self.greatest])
    }
}

/// How far a value may lie from the others.
#[derive(Debug, Clone, Copy)]
pub(super) struct Margin {
    /// Beyond the least and the greatest, and from the median: at least so much …
    least: f32,
    /// … or this fraction of the median.
    fraction: f32,
    /// From the median, so many deviations.
    deviations: f32,
}

/// Chosen on a half of the sets in docs/reference.md, confirmed on the other half.
pub(super) fn margin(kind: Trait, few: bool) -> Margin {
    let (least, fraction) = match kind {
        Trait::Brightness => (3.0, 0.06),
        Trait::Contrast => (0.7, 0.10),
        _ => (0.0, 0.07),
    };
    let times = if few { 2.0 } else { 1.0 };
    Margin { least: times * least, fraction: times * fraction, deviations: 4.0 }
}

pub(super) fn shown(kind: Trait, value: f32) -> String {
    match kind {
        Trait::Sharpness | Trait::Aspect => format!("{value:.3}"),
        _ => format!("{value:.1}"),
    }
}

pub(super) fn range(kind: Trait, [least, greatest]: [f32; 2]) -> String {
    match [least, greatest].map(|value| shown(kind, value)) {
        [least, greatest] if least == greatest => least,
        [least, greatest] => format!("{least} to {greatest}"),
    }
}
