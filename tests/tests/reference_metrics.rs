//! The metrics crate against the reference vectors of the case `metrics`.
//!
//! Driven by the manifest: every test in it is run and every number it expects is checked; an expected key
//! that is not known here fails. `null` = undefined: the metric must be an error.

#![allow(clippy::expect_used, clippy::panic)] // tests: a broken manifest must stop them

use serde_json::Value;
use simplenet_metrics::{
    AnomalyMap, Connectivity, auroc, average_precision, confusion, connected_components, f1_max,
    pixel_metrics, precision_recall_curve, pro_curve, simplenet_compute_pro,
};
use simplenet_tests::{Tensors, read_manifest, reference_dir};

#[test]
fn reference_metrics() {
    let manifest = read_manifest("metrics");
    let tests = manifest["tests"].as_array().expect("the manifest lists tests");
    assert!(!tests.is_empty(), "the manifest lists no test");
    let tolerances = Tolerances(&manifest["tolerances"]);
    for test in tests {
        let name = test["name"].as_str().expect("a test has a name");
        let tensors = Tensors::open(reference_dir("metrics").join(text(test, "file")));
        let case = Case { name, tolerances: &tolerances, expected: &test["expected"] };
        match text(test, "level") {
            "image" => {
                let (_, scores) = tensors.f32(text(test, "scores"));
                let (_, labels) = tensors.f32(text(test, "labels"));
                let labels: Vec<bool> = labels.iter().map(|&label| label != 0.0).collect();
                case.check(|key| case.check_scores(key, &scores, &labels));
            }
            "pixel" => {
                let set = Set::read(&tensors, text(test, "maps"), text(test, "masks"));
                case.check_pixels(&set);
                if test.get("curve").is_some() {
                    case.check_curve(&set, &tensors);
                }
            }
            other => panic!("{name}: level {other} is not known"),
        }
    }
}

/// Maps and masks of one test.
struct Set {
    scores: Vec<f32>,
    mask: Vec<u8>,
    width: usize,
    height: usize,
}

impl Set {
    fn read(tensors: &Tensors, maps: &str, masks: &str) -> Self {
        let (shape, scores) = tensors.f32(maps);
        let (mask_shape, mask) = tensors.f32(masks);
        assert_eq!(shape, mask_shape, "maps and masks");
        let &[_, height, width] = &shape[..] else { panic!("maps are (n, h, w), not {shape:?}") };
        Self { scores, mask: mask.into_iter().map(|v| u8::from(v != 0.0)).collect(), width, height }
    }

    fn maps(&self) -> Vec<AnomalyMap<'_>> {
        let (width, height) = (self.width, self.height);
        let pixels = width * height;
        self.scores
            .chunks(pixels)
            .zip(self.mask.chunks(pixels))
            .map(|(scores, mask)| AnomalyMap { scores, mask, width, height })
            .collect()
    }

    fn labels(&self) -> Vec<bool> {
        self.mask.iter().map(|&mask| mask != 0).collect()
    }

    fn region_sizes(&self) -> Vec<usize> {
        let regions = |map: &AnomalyMap<'_>| {
            let found = connected_components(map.mask, map.width, map.height, Connectivity::Eight);
            found.expect("masks have their shape").regions
        };
        self.maps().iter().flat_map(regions).map(|region| region.area).collect()
    }
}

/// Tolerances by metric.
struct Tolerances<'a>(&'a Value);

impl Tolerances<'_> {
    fn of(&self, metric: &str) -> f64 {
        self.0[metric].as_f64().unwrap_or_else(|| panic!("no tolerance for {metric}"))
    }
}

/// One test of the manifest.
struct Case<'a> {
    name: &'a str,
    tolerances: &'a Tolerances<'a>,
    expected: &'a Value,
}

impl Case<'_> {
    /// Calls `known` with every expected key; a key it does not know fails.
    fn check(&self, known: impl Fn(&str) -> bool) {
        let expected = self.expected.as_object().expect("a test has expected values");
        assert!(!expected.is_empty(), "{}: nothing is expected", self.name);
        for key in expected.keys() {
            assert!(known(key), "{}: the expected key {key} is not known to this test", self.name);
        }
    }

    /// What image and pixel level share, from one list of scores. False: the key is another one.
    fn check_scores(&self, key: &str, scores: &[f32], labels: &[bool]) -> bool {
        match key {
            "n" => self.count(key, scores.len()),
            "positives" => self.count(key, labels.iter().filter(|&&label| label).count()),
            "auroc" => self.close(key, key, &auroc(scores, labels)),
            "average_precision" => self.close(key, key, &average_precision(scores, labels)),
            "auc_pr_trapezoid" => {
                let area = precision_recall_curve(scores, labels).map(|curve| {
                    let part = |pair: &[simplenet_metrics::PrecisionRecallPoint]| {
                        (pair[1].recall - pair[0].recall) * (pair[0].precision + pair[1].precision) / 2.0
                    };
                    curve.windows(2).map(part).sum::<f64>()
                });
                self.close(key, "average_precision", &area);
            }
            "f1_max" => self.close(key, key, &f1_max(scores, labels).map(|best| best.f1)),
            "f1_max_threshold" | "f1_max_tied_thresholds" => {
                self.threshold(key, f1_max(scores, labels).map(|best| best.threshold).ok());
            }
            _ => return false,
        }
        true
    }

    fn check_pixels(&self, set: &Set) {
        let labels = set.labels();
        let limits: Vec<f64> =
            self.expected.as_object().into_iter().flatten().filter_map(|(key, _)| aupro_limit(key)).collect();
        let got = pixel_metrics(&set.maps(), &limits);
        self.check(|key| {
            match key {
                // These twice: from the shared pass here, from the flat list below.
                "n" => self.count(key, (got.normal_pixels + got.anomalous_pixels) as usize),
                "positives" => self.count(key, got.anomalous_pixels as usize),
                "auroc" => self.close(key, key, &got.auroc),
                "average_precision" => self.close(key, key, &got.average_precision),
                "f1_max" => self.close(key, key, &got.f1_max.clone().map(|best| best.f1)),
                "f1_max_threshold" => {
                    self.threshold(key, got.f1_max.as_ref().map(|best| best.threshold).ok());
                }
                "regions" => self.count(key, got.regions as usize),
                "region_sizes" => {
                    let want: Vec<usize> =
                        numbers(&self.expected[key]).into_iter().map(|size| size as usize).collect();
                    assert_eq!(set.region_sizes(), want, "{}: {key}", self.name);
                }
                // Its definition has no tolerance of its own: an area under a PRO curve, as AUPRO.
                "simplenet_compute_pro" => self.close(key, "aupro", &simplenet_compute_pro(&set.maps())),
                _ => {}
            }
            if let Some(limit) = aupro_limit(key) {
                let index = limits.iter().position(|&other| other == limit).expect("the limit was asked for");
                self.close(key, "aupro", &got.aupro[index]);
                return true;
            }
            matches!(key, "regions" | "region_sizes" | "simplenet_compute_pro")
                || self.check_scores(key, &set.scores, &labels)
        });
    }

    /// The stored curve: one row a distinct score, region by region.
    fn check_curve(&self, set: &Set, tensors: &Tensors) {
        let tolerance = self.tolerances.of("curve");
        let read = |name: &str| tensors.f64(name).1;
        let (thresholds, fpr, pro) = (read("curve.threshold"), read("curve.fpr"), read("curve.pro"));
        let curve = pro_curve(&set.maps()).expect("the stored curve is defined");
        let points = &curve[1..]; // the stored curve leaves (0, 0) out
        assert_eq!(points.len(), thresholds.len(), "{}: points of the curve", self.name);
        for (i, point) in points.iter().enumerate() {
            assert_eq!(f64::from(point.threshold), thresholds[i], "{}: threshold {i}", self.name);
            near(&format!("{}: fpr {i}", self.name), point.false_positive_rate, fpr[i], tolerance);
            near(&format!("{}: pro {i}", self.name), point.region_overlap, pro[i], tolerance);
        }

        // Labels count on from image to image.
        let mut labels = Vec::new();
        let mut regions = 0;
        for map in set.maps() {
            let found =
                connected_components(map.mask, map.width, map.height, Connectivity::Eight).expect("shape");
            labels.extend(found.labels.iter().map(|&label| if label == 0 { 0 } else { label + regions }));
            regions += found.regions.len() as u32;
        }
        let want: Vec<u32> = read("curve.region_labels").into_iter().map(|label| label as u32).collect();
        assert_eq!(labels, want, "{}: region labels", self.name);

        let overlap = read("curve.region_overlap");
        assert_eq!(overlap.len(), regions as usize * thresholds.len(), "{}: region_overlap", self.name);
        for region in 1..=regions {
            let inside: Vec<f32> = labels
                .iter()
                .zip(&set.scores)
                .filter(|&(&l, _)| l == region)
                .map(|(_, &score)| score)
                .collect();
            let row = &overlap[(region - 1) as usize * thresholds.len()..];
            for (&threshold, &want) in thresholds.iter().zip(row) {
                let counts = confusion(&inside, &vec![true; inside.len()], threshold as f32).expect("finite");
                let got = counts.true_positives as f64 / inside.len() as f64;
                near(&format!("{}: region {region} at {threshold}", self.name), got, want, tolerance);
            }
        }
    }

    /// A metric's value, or an error where `null` is expected.
    fn close<E: std::fmt::Debug>(&self, key: &str, metric: &str, got: &Result<f64, E>) {
        match (got, self.expected[key].as_f64()) {
            (Ok(got), Some(want)) => {
                near(&format!("{}: {key}", self.name), *got, want, self.tolerances.of(metric));
            }
            (Err(_), None) => assert!(self.expected[key].is_null(), "{}: {key} is no number", self.name),
            (got, want) => panic!("{}: {key} is {got:?}, expected {want:?}", self.name),
        }
    }

    /// The threshold of F1-max is the lowest of those that reach it; which of them the reference itself
    /// reports may have been decided by rounding.
    fn threshold(&self, key: &str, got: Option<f32>) {
        let got = got.map(f64::from);
        let tied = &self.expected["f1_max_tied_thresholds"];
        let want = if tied.is_null() {
            self.expected[key].as_f64()
        } else {
            numbers(tied).into_iter().reduce(f64::min)
        };
        assert_eq!(got, want, "{}: {key}", self.name);
        assert_eq!(got.is_none(), self.expected[key].is_null(), "{}: {key}", self.name);
    }

    fn count(&self, key: &str, got: usize) {
        assert_eq!(Some(got as u64), self.expected[key].as_u64(), "{}: {key}", self.name);
    }
}

/// The limit in a key such as `aupro_0.3`.
fn aupro_limit(key: &str) -> Option<f64> {
    key.strip_prefix("aupro_")?.parse().ok()
}

fn near(what: &str, got: f64, want: f64, tolerance: f64) {
    assert!((got - want).abs() <= tolerance, "{what} is {got}, expected {want} within {tolerance:e}");
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("{key} is missing in {value}"))
}

fn numbers(value: &Value) -> Vec<f64> {
    let values = value.as_array().unwrap_or_else(|| panic!("{value} is not a list"));
    values.iter().map(|value| value.as_f64().expect("a number")).collect()
}
