//! One line of `predictions.jsonl`: what the model said about one photograph.
//!
//! In: raw scores, boxes and times. Out: a serde record whose field names are the file's contract. All boxes and
//! areas are in the ORIGINAL photograph's pixels; scores are raw (unscaled), times are milliseconds. A photograph that
//! could not be judged has the error form `{path, error}` instead.

use super::OutputError;
use serde::{Deserialize, Serialize};
use simplenet_data::Difference;
use simplenet_inference::InferencePrecision;
use simplenet_model::checkpoint::Decision;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A line of the file: a prediction, or why there is none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
#[allow(clippy::large_enum_variant)] // nearly every line is a prediction: a box would only add an allocation
pub enum PredictionLine {
    /// The photograph could not be judged.
    Error(PredictionError),
    /// The photograph was judged.
    Prediction(PredictionRecord),
}

/// A photograph that could not be judged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PredictionError {
    /// The photograph.
    #[serde(flatten)]
    pub path: JsonPath,
    /// Why, in one sentence.
    pub error: String,
}

/// The model's judgement of one photograph.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PredictionRecord {
    /// The photograph.
    #[serde(flatten)]
    pub path: JsonPath,
    /// Raw image score; higher is more anomalous.
    pub score: f32,
    /// The model's threshold on `score`; null when the model carries none.
    pub threshold: Option<f32>,
    /// `anomalous` when the score reaches the threshold; null without one.
    pub verdict: Option<Verdict>,
    /// The score from which on a person should look; absent unless the model has a band for review.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub review_threshold: Option<f32>,
    /// `pass`, `review` or `reject`; absent unless the model has a band for review. What is to be reviewed is below the
    /// threshold, so its verdict is `normal`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<Decision>,
    /// Connected regions of the anomaly map that reach the threshold.
    pub regions: Vec<PredictedRegion>,
    /// Time spent on this photograph.
    pub milliseconds: Milliseconds,
    /// Width and height of the original photograph.
    pub image_size: [u32; 2],
    /// In what the photograph is unlike those that the model was trained on; absent where it is like them, and of models
    /// that do not know it. No verdict depends on it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub differences: Vec<Difference>,
    /// Share of the photograph's area the network saw, 0..=1; below 1 when the preprocessing crops.
    pub inspected_share: f64,
    /// Identity of the model file: the first 12 hexadecimal digits of its content's hash.
    pub model_id: String,
    /// In which numbers the network computed; f32 in files that do not say it.
    #[serde(default)]
    pub precision: InferencePrecision,
    /// On which device: `CPU`, or a GPU's name; the CPU in files that do not say it.
    #[serde(default = "cpu")]
    pub device: String,
    /// Heat-map overlay, relative to the folder of the predictions file; null when none was written.
    pub heatmap: Option<String>,
    /// Raw anomaly map, relative likewise; null when none was written.
    pub anomaly_map: Option<String>,
    /// The data set's own label; absent outside evaluation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<Verdict>,
    /// The data set's kind of defect (`good`, `scratch`, …); absent outside evaluation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub defect: Option<String>,
}

/// Normal or anomalous: a verdict, or a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// A good part.
    Normal,
    /// A part with a defect.
    Anomalous,
}

/// How a verdict fails its label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mistake {
    /// A defective part was judged normal.
    FalseAccept,
    /// A good part was judged anomalous.
    FalseReject,
}

/// One connected region of raised scores.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PredictedRegion {
    /// `[x0, y0, x1, y1]` in original pixels; x1 and y1 are exclusive.
    #[serde(rename = "box")]
    pub bounding_box: [u32; 4],
    /// Area in original pixels.
    pub area: u64,
    /// Highest map score inside.
    pub peak_score: f32,
}

/// Time by step, in milliseconds, rounded to microseconds. Writing files is not part of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Milliseconds {
    /// Reading and decoding the file.
    pub decode: f64,
    /// Resizing and cropping.
    pub preprocess: f64,
    /// Normalising, backbone and head.
    pub network: f64,
    /// Map back into original pixels, regions.
    pub postprocess: f64,
    /// The four together.
    pub total: f64,
}

/// A path inside JSON: the field `path`, and for names that are not UTF-8 also `path_bytes`.
///
/// JSON strings are Unicode; such a name gets U+FFFD for what cannot be shown in `path`, and its exact bytes (the
/// platform's own encoding) as hexadecimal digits in `path_bytes`, so that no file is lost or confused with another.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct JsonPath {
    /// The readable path.
    #[serde(rename = "path")]
    text: String,
    #[serde(rename = "path_bytes", default, skip_serializing_if = "Option::is_none")]
    bytes: Option<String>,
}

/// The device of files that do not name one.
pub fn cpu() -> String {
    simplenet_model::device::CPU.into()
}

impl PredictionLine {
    /// The photograph's path.
    pub fn path(&self) -> &JsonPath {
        match self {
            Self::Error(e) => &e.path,
            Self::Prediction(p) => &p.path,
        }
    }

    /// One line of JSON without its newline. Refuses scores that are not finite: JSON cannot hold them.
    pub fn to_json(&self) -> Result<String, OutputError> {
        if let Self::Prediction(record) = self {
            record.check_finite()?;
        }
        serde_json::to_string(self).map_err(|source| OutputError::Json {
            path: PathBuf::from("<memory>"),
            line: 0,
            source,
        })
    }
}

impl PredictionRecord {
    /// Whether the verdict contradicts the label; `None` when right, or when either is missing.
    pub fn mistake(&self) -> Option<Mistake> {
        match (self.label?, self.verdict?) {
            (Verdict::Anomalous, Verdict::Normal) => Some(Mistake::FalseAccept),
            (Verdict::Normal, Verdict::Anomalous) => Some(Mistake::FalseReject),
            _ => None,
        }
    }

    fn check_finite(&self) -> Result<(), OutputError> {
        let numbers = [
            ("image score", Some(self.score)),
            ("threshold", self.threshold),
            ("review threshold", self.review_threshold),
        ];
        let peaks = self.regions.iter().map(|r| Some(r.peak_score)).enumerate();
        let bad = |value: &Option<f32>| value.is_some_and(|v| !v.is_finite());
        let found = numbers
            .into_iter()
            .map(|(what, value)| (what, 0, value))
            .chain(peaks.map(|(i, value)| ("region's peak score", i, value)))
            .find(|(_, _, value)| bad(value));
        match found {
            Some((what, index, Some(value))) => Err(OutputError::NotFinite { what, index, value }),
            _ => Ok(()),
        }
    }
}

impl Verdict {
    /// The verdict on `score`: anomalous when it reaches the threshold.
    pub fn of(score: f32, threshold: f32) -> Self {
        if score >= threshold { Self::Anomalous } else { Self::Normal }
    }

    /// `normal` or `anomalous`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Anomalous => "anomalous",
        }
    }
}

impl Milliseconds {
    /// From measured durations; `total` is their sum.
    pub fn new(decode: Duration, preprocess: Duration, network: Duration, postprocess: Duration) -> Self {
        let ms = |d: Duration| (d.as_secs_f64() * 1e6).round() / 1e3;
        Self {
            decode: ms(decode),
            preprocess: ms(preprocess),
            network: ms(network),
            postprocess: ms(postprocess),
            total: ms(decode + preprocess + network + postprocess),
        }
    }
}

impl JsonPath {
    /// Any path of the platform.
    pub fn new(path: &Path) -> Self {
        match path.to_str() {
            Some(text) => Self { text: text.to_string(), bytes: None },
            None => Self {
                text: path.to_string_lossy().into_owned(),
                bytes: Some(path.as_os_str().as_encoded_bytes().iter().map(|b| format!("{b:02x}")).collect()),
            },
        }
    }

    /// The readable form.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The readable last component: what to call the photograph in a list.
    pub fn file_name(&self) -> &str {
        self.text.rsplit(['/', '\\']).next().unwrap_or(&self.text)
    }

    /// The path itself; on Unix exact, elsewhere from the readable form.
    pub fn to_path_buf(&self) -> PathBuf {
        #[cfg(unix)]
        if let Some(bytes) = self.bytes.as_deref().and_then(from_hex) {
            use std::os::unix::ffi::OsStringExt;
            return std::ffi::OsString::from_vec(bytes).into();
        }
        PathBuf::from(&self.text)
    }
}

impl From<&Path> for JsonPath {
    fn from(path: &Path) -> Self {
        Self::new(path)
    }
}

#[cfg(unix)]
fn from_hex(digits: &str) -> Option<Vec<u8>> {
    if !digits.is_ascii() || !digits.len().is_multiple_of(2) {
        return None;
    }
    (0..digits.len()).step_by(2).map(|i| u8::from_str_radix(&digits[i..i + 2], 16).ok()).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use simplenet_data::Trait;

    pub(crate) fn record(name: &str, score: f32) -> PredictionRecord {
        PredictionRecord {
            path: JsonPath::new(Path::new(name)),
            score,
            threshold: Some(0.25),
            verdict: Some(Verdict::of(score, 0.25)),
            review_threshold: None,
            decision: None,
            regions: vec![PredictedRegion { bounding_box: [4, 5, 16, 9], area: 31, peak_score: score }],
            milliseconds: Milliseconds::new(
                Duration::from_micros(1500),
                Duration::from_nanos(250_400),
                Duration::from_millis(20),
                Duration::ZERO,
            ),
            image_size: [900, 600],
            differences: vec![],
            inspected_share: 1.0,
            model_id: "0123456789ab".into(),
            precision: InferencePrecision::Bf16,
            device: cpu(),
            heatmap: Some("heatmaps/a.png".into()),
            anomaly_map: None,
            label: None,
            defect: None,
        }
    }

    #[test]
    fn the_line_has_the_documented_fields() {
        let line = PredictionLine::Prediction(record("in/a.png", 0.5)).to_json().unwrap();
        assert_eq!(
            line,
            "{\"path\":\"in/a.png\",\"score\":0.5,\"threshold\":0.25,\"verdict\":\"anomalous\",\
             \"regions\":[{\"box\":[4,5,16,9],\"area\":31,\"peak_score\":0.5}],\
             \"milliseconds\":{\"decode\":1.5,\"preprocess\":0.25,\"network\":20.0,\"postprocess\":0.0,\"total\":21.75},\
             \"image_size\":[900,600],\"inspected_share\":1.0,\"model_id\":\"0123456789ab\",\
             \"precision\":\"bf16\",\"device\":\"CPU\",\"heatmap\":\"heatmaps/a.png\",\"anomaly_map\":null}"
        );
    }

    #[test]
    fn every_form_round_trips() {
        let mut labelled = record("b.png", 0.1 + 0.2);
        labelled.label = Some(Verdict::Anomalous);
        labelled.defect = Some("scratch \"deep\"".into());
        let mut bare = record("c.png", -1.5e-7);
        (bare.threshold, bare.verdict, bare.regions) = (None, None, vec![]);
        let mut banded = record("e.png", 0.2);
        (banded.review_threshold, banded.decision) = (Some(0.125), Some(Decision::Review));
        let mut unlike = record("f.png", 0.5);
        unlike.differences.push(Difference {
            kind: Trait::BitDepth,
            found: "16 bits".into(),
            trained_on: "8 bits".into(),
        });
        let error = PredictionError { path: JsonPath::new(Path::new("d.png")), error: "truncated".into() };
        for line in [
            PredictionLine::Prediction(labelled),
            PredictionLine::Prediction(bare),
            PredictionLine::Prediction(banded),
            PredictionLine::Prediction(unlike),
            PredictionLine::Error(error),
        ] {
            let json = line.to_json().unwrap();
            assert_eq!(serde_json::from_str::<PredictionLine>(&json).unwrap(), line, "{json}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn paths_that_are_not_utf8_survive() {
        use std::os::unix::ffi::OsStrExt;
        let path = Path::new(std::ffi::OsStr::from_bytes(b"in/caf\xe9.png"));
        let json = serde_json::to_string(&JsonPath::new(path)).unwrap();
        assert_eq!(json, "{\"path\":\"in/caf\u{fffd}.png\",\"path_bytes\":\"696e2f636166e92e706e67\"}");
        let back: JsonPath = serde_json::from_str(&json).unwrap();
        assert_eq!(back.to_path_buf(), path);
        assert_eq!(back.file_name(), "caf\u{fffd}.png");
        let plain = JsonPath::new(Path::new("größe/ä.png"));
        assert_eq!(serde_json::to_string(&plain).unwrap(), "{\"path\":\"größe/ä.png\"}");
    }

    #[test]
    fn scores_that_are_not_finite_are_refused() {
        let mut peak = record("a.png", 0.5);
        peak.regions[0].peak_score = f32::INFINITY;
        for bad in [record("a.png", f32::NAN), peak] {
            let error = PredictionLine::Prediction(bad).to_json().unwrap_err();
            assert!(matches!(error, OutputError::NotFinite { .. }), "{error}");
        }
    }

    #[test]
    fn mistakes_have_the_inspector_s_names() {
        use Verdict::{Anomalous, Normal};
        let cases = [
            (Some(Normal), Some(Anomalous), Some(Mistake::FalseReject)),
            (Some(Anomalous), Some(Normal), Some(Mistake::FalseAccept)),
            (Some(Normal), Some(Normal), None),
            (None, Some(Anomalous), None),
            (Some(Anomalous), None, None),
        ];
        for (label, verdict, expected) in cases {
            let mut record = record("a.png", 0.0);
            (record.label, record.verdict) = (label, verdict);
            assert_eq!(record.mistake(), expected, "{label:?} judged {verdict:?}");
        }
        assert_eq!(Verdict::of(0.25, 0.25), Anomalous);
    }
}
