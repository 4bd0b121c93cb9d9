//! What a calibration came to, for people and as JSON.
//!
//! In: the thresholds, and the raw scores of the good photographs that they were set from. Out: a table of borders with what
//! each is to be expected to do to good parts, and sentences where the photographs are too few to promise it.

use std::fmt::Write;

use serde::Serialize;
use simplenet_model::checkpoint::Threshold;
use simplenet_train::calibration::false_reject::{
    CONFIDENCE, confident_false_reject_rate, expected_false_reject_rate, images_needed,
};

use super::prediction::JsonPath;

/// How many of the highest scores are named for people.
const NAMED: usize = 5;

/// What `calibrate --json` writes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CalibrationReport {
    /// Name and version of the program.
    pub program: String,
    /// The model file that was written.
    pub model: JsonPath,
    /// Its id.
    pub model_id: String,
    /// The id of the model that was calibrated.
    pub calibrated_model_id: String,
    /// The folders of the good photographs.
    pub normal: Vec<JsonPath>,
    /// How many there are.
    pub images: usize,
    /// The threshold before; null if there was none.
    pub before: Option<Threshold>,
    /// How many of these photographs the threshold before would reject; null if there was none.
    pub rejected_before: Option<usize>,
    /// The threshold now.
    pub threshold: Threshold,
    /// Good parts at or above the threshold.
    pub rejected: Border,
    /// Good parts at or above the lower border of the band, those rejected among them; null without a band.
    pub rejected_or_reviewed: Option<Border>,
    /// Quantiles of the image scores: (share, score).
    pub normal_score_quantiles: Vec<(f64, f32)>,
    /// Every photograph, highest score first.
    pub scores: Vec<ScoredImage>,
}

/// A border on the raw image score, and good parts at or above it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Border {
    /// The lowest score at or above it.
    pub score: f32,
    /// How many of the photographs are at or above it.
    pub images: usize,
    /// The share of good parts that was asked for.
    pub asked: f64,
    /// The share of good parts to be expected, whatever the distribution of their scores.
    pub expected: f64,
    /// The share that is not exceeded with 95 % confidence.
    pub at_most: f64,
    /// The fewest photographs that can promise the share that was asked for.
    pub images_needed: Option<usize>,
    /// Whether there are as many: without, the border is an estimate that takes scores for normally distributed.
    pub enough: bool,
}

/// A good photograph and its score.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ScoredImage {
    /// The photograph.
    #[serde(flatten)]
    pub path: JsonPath,
    /// Its raw image score.
    pub score: f32,
}

impl Border {
    /// The border at `score`, set for a share of good parts, over these scores of good photographs.
    pub fn new(score: f32, asked: f64, scores: &[f32]) -> Self {
        let needed = images_needed(asked);
        Self {
            score,
            images: scores.iter().filter(|&&s| s >= score).count(),
            asked,
            expected: expected_false_reject_rate(scores.len(), asked),
            at_most: confident_false_reject_rate(scores.len(), asked),
            images_needed: needed,
            enough: needed.is_some_and(|needed| scores.len() >= needed),
        }
    }
}

impl CalibrationReport {
    /// Sentences that a person must know: borders that the photographs are too few for.
    pub fn notes(&self) -> Vec<String> {
        let borders = [("rejecting", Some(self.rejected)), ("not passing", self.rejected_or_reviewed)];
        let too_few = borders.into_iter().filter_map(|(what, border)| Some((what, border?)));
        let sentence = |(what, border): (&str, Border)| {
            let needed = border.images_needed.map_or("more".into(), |n| n.to_string());
            format!(
                "{} photographs are too few to promise {what} at most {} of good parts: that takes {needed}. The border is \
                 an estimate that takes the scores of good parts for normally distributed; without that assumption expect \
                 up to {}, and with {:.0} % confidence at most {}",
                self.images,
                percent(border.asked),
                percent(border.expected),
                100.0 * CONFIDENCE,
                percent(border.at_most),
            )
        };
        too_few.filter(|(_, border)| !border.enough).map(sentence).collect()
    }

    /// The borders as a table, and the photographs with the highest scores.
    pub fn to_terminal(&self) -> String {
        let mut text = format!(
            "calibrated on {} photographs of good parts in {}\n{:<10} {:>10} {:>12} {:>9} {:>9} {:>18}\n",
            self.images,
            self.normal.iter().map(JsonPath::text).collect::<Vec<_>>().join(", "),
            "",
            "from score",
            "of these",
            "asked",
            "expected",
            format!("{:.0} % sure: below", 100.0 * CONFIDENCE)
        );
        let mut row = |name: &str, border: Border| {
            let _ = writeln!(
                text,
                "{name:<10} {:>10.4} {:>12} {:>9} {:>9} {:>18}",
                border.score,
                format!("{} of {}", border.images, self.images),
                percent(border.asked),
                percent(border.expected),
                percent(border.at_most)
            );
        };
        row("reject", self.rejected);
        match self.rejected_or_reviewed {
            Some(border) => {
                row("or review", border);
                text.push_str("pass       below; shares are of good parts, those rejected counted in the second line too\n");
            }
            None => text.push_str("pass       below; shares are of good parts\n"),
        }
        if let (Some(before), Some(rejected)) = (self.before, self.rejected_before) {
            let _ = writeln!(
                text,
                "before: threshold {:.4}, which rejects {rejected} of these {}",
                before.value, self.images
            );
        }
        let named: Vec<String> = self
            .scores
            .iter()
            .take(NAMED)
            .map(|image| format!("{:.4} {}", image.score, image.path.text()))
            .collect();
        let _ = writeln!(
            text,
            "highest scores, to be looked at: a part that is not good spoils the thresholds\n  {}",
            named.join("\n  ")
        );
        text
    }
}

/// A share as a person writes it: 0.5 %, 0.05 %.
fn percent(share: f64) -> String {
    match 100.0 * share {
        tiny if tiny < 0.1 => format!("{tiny:.3} %"),
        percent => format!("{percent:.2} %"),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use simplenet_model::checkpoint::ReviewBand;

    use super::*;

    fn report(images: usize) -> CalibrationReport {
        let scores: Vec<f32> = (0..images).map(|i| i as f32 / images as f32).collect();
        let band = ReviewBand { value: 0.875, map_value: 0.5, target_share: 0.045 };
        let threshold = Threshold {
            value: 0.9995,
            map_value: 0.75,
            target_false_reject_rate: 0.005,
            held_out: images,
            review: Some(band),
        };
        CalibrationReport {
            program: "simplenet 0".into(),
            model: JsonPath::new(Path::new("model.safetensors")),
            model_id: "a".into(),
            calibrated_model_id: "b".into(),
            normal: vec![JsonPath::new(Path::new("good"))],
            images,
            before: Some(Threshold { value: 0.5, review: None, ..threshold }),
            rejected_before: Some(images / 2),
            threshold,
            rejected: Border::new(threshold.value, 0.005, &scores),
            rejected_or_reviewed: Some(Border::new(band.value, 0.05, &scores)),
            normal_score_quantiles: vec![],
            scores: scores
                .iter()
                .rev()
                .enumerate()
                .map(|(i, &score)| ScoredImage { path: JsonPath::new(Path::new(&format!("{i}.png"))), score })
                .collect(),
        }
    }

    #[test]
    fn the_table_has_every_border() {
        assert_eq!(
            report(200).to_terminal(),
            "calibrated on 200 photographs of good parts in good
           from score     of these     asked  expected   95 % sure: below
reject         0.9995     0 of 200    0.50 %    0.50 %             1.49 %
or review      0.8750    25 of 200    5.00 %    4.98 %             7.72 %
pass       below; shares are of good parts, those rejected counted in the second line too
before: threshold 0.5000, which rejects 100 of these 200
highest scores, to be looked at: a part that is not good spoils the thresholds
  0.9950 0.png
  0.9900 1.png
  0.9850 2.png
  0.9800 3.png
  0.9750 4.png
"
        );
    }

    #[test]
    fn too_few_photographs_are_said_with_how_many_it_takes() {
        for (images, words) in [
            (199, vec![]),
            (198, vec![["198 photographs", "rejecting at most 0.50 %", "takes 199"]]),
            (
                10,
                vec![
                    ["10 photographs", "rejecting at most 0.50 %", "takes 199"],
                    ["up to 9.09 %", "not passing at most 5.00 %", "takes 19"],
                ],
            ),
        ] {
            let notes = report(images).notes();
            assert_eq!(notes.len(), words.len(), "{images}: {notes:?}");
            for (note, words) in notes.iter().zip(&words) {
                assert!(words.iter().all(|word| note.contains(word)), "{words:?} in: {note}");
            }
        }
    }
}
