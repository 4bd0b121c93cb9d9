//! Where normal ends: one border, or two with a band of parts between them that a person looks at.
//!
//! In: a raw image score. Out: what to do with the part, and from which map score on its regions count.

use serde::{Deserialize, Serialize};

/// The border between normal and anomalous; a score at it is anomalous.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Threshold {
    /// On the raw image score.
    pub value: f32,
    /// On the anomaly map, for regions.
    pub map_value: f32,
    /// Share of good parts that may be called anomalous, which it was chosen for.
    pub target_false_reject_rate: f64,
    /// How many held-out normal images it was chosen from; 0 where a person chose it.
    pub held_out: usize,
    /// The scores below `value` at which a person should look; none without a band, and in files before version 3.
    #[serde(default)]
    pub review: Option<ReviewBand>,
}

/// The band below a threshold: parts that are neither passed nor rejected without a look.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReviewBand {
    /// The lowest raw image score of the band, which ends below the threshold's.
    pub value: f32,
    /// The same on the anomaly map, for the regions of a part in the band.
    pub map_value: f32,
    /// Share of good parts that may lie in the band, which it was chosen for.
    pub target_share: f64,
}

/// What to do with a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Decision {
    /// Below the band, or below the threshold where there is no band.
    Pass,
    /// In the band.
    Review,
    /// At or above the threshold.
    Reject,
}

impl Decision {
    /// `pass`, `review` or `reject`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Review => "review",
            Self::Reject => "reject",
        }
    }
}

impl Threshold {
    /// One that a person chose: nothing is promised of it.
    pub fn by_hand(value: f32, map_value: f32) -> Self {
        Self { value, map_value, target_false_reject_rate: 0.0, held_out: 0, review: None }
    }

    /// Whether a person chose it, rather than scores of good parts.
    pub fn is_by_hand(&self) -> bool {
        self.held_out == 0
    }

    /// What to do with a part of this raw image score.
    pub fn decide(&self, score: f32) -> Decision {
        match self.review {
            _ if score >= self.value => Decision::Reject,
            Some(band) if score >= band.value => Decision::Review,
            _ => Decision::Pass,
        }
    }

    /// The map score from which on pixels belong to a region of a part of this raw image score; none for one that passes.
    pub fn regions_from(&self, score: f32) -> Option<f32> {
        match self.decide(score) {
            Decision::Pass => None,
            Decision::Review => self.review.map(|band| band.map_value),
            Decision::Reject => Some(self.map_value),
        }
    }

    /// Whether every number is one, and the band ends at the threshold.
    pub fn is_usable(&self) -> bool {
        let own = self.value.is_finite() && self.map_value.is_finite();
        let band = self.review.is_none_or(|band| {
            let finite =
                band.value.is_finite() && band.map_value.is_finite() && band.target_share.is_finite();
            finite && band.value <= self.value && band.map_value <= self.map_value
        });
        own && self.target_false_reject_rate.is_finite() && band
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_score_is_passed_looked_at_or_rejected() {
        let plain = Threshold {
            value: 2.0,
            map_value: 1.5,
            target_false_reject_rate: 0.01,
            held_out: 100,
            review: None,
        };
        let band = ReviewBand { value: 1.0, map_value: 0.75, target_share: 0.05 };
        let banded = Threshold { review: Some(band), ..plain };
        use Decision::{Pass, Reject, Review};
        for (score, without, with, regions) in [
            (0.5, Pass, Pass, None),
            (1.0f32.next_down(), Pass, Pass, None),
            (1.0, Pass, Review, Some(0.75)),
            (2.0f32.next_down(), Pass, Review, Some(0.75)),
            (2.0, Reject, Reject, Some(1.5)),
            (9.0, Reject, Reject, Some(1.5)),
        ] {
            assert_eq!((plain.decide(score), banded.decide(score)), (without, with), "{score}");
            assert_eq!(banded.regions_from(score), regions, "{score}");
            assert_eq!(plain.regions_from(score), (without == Reject).then_some(1.5), "{score}");
        }
        assert!(plain.is_usable() && banded.is_usable());
        for wrong in [
            ReviewBand { value: 2.5, ..band },
            ReviewBand { map_value: f32::NAN, ..band },
            ReviewBand { target_share: f64::INFINITY, ..band },
        ] {
            assert!(!Threshold { review: Some(wrong), ..plain }.is_usable(), "{wrong:?}");
        }
    }
}
