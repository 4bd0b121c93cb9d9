//! Runs a model file's golden inputs again. In: a loaded network and its record. Out: for each input, the score where
//! the model was made, the score here, and whether they agree.

use serde::Serialize;

use crate::{error::ModelError, simplenet::SimpleNet};

use super::ModelRecord;

/// Scores may differ by this much, absolutely. They are sums over thousands of f32 products, made in another order on
/// another CPU; what that changes is about 1e-5. The loss puts the border between normal and anomalous at scores
/// 0.5 apart or more.
pub const VERIFY_ABSOLUTE: f64 = 1e-3;
/// And by this share of the expected score.
pub const VERIFY_RELATIVE: f64 = 1e-3;

/// What [`verify`] found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct VerifyReport {
    /// One a golden input, in the record's order.
    pub checks: Vec<GoldenCheck>,
}

/// One golden input's scores.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GoldenCheck {
    /// Name of the input's tensor.
    pub tensor: String,
    /// The score in the file.
    pub expected: f32,
    /// The score here.
    pub actual: f32,
    /// How far apart they may be.
    pub tolerance: f64,
}

impl GoldenCheck {
    /// Whether the scores agree. Not when either is not a number.
    pub fn passed(&self) -> bool {
        (f64::from(self.actual) - f64::from(self.expected)).abs() <= self.tolerance
    }
}

impl VerifyReport {
    /// Whether all scores agree, and there was one at all.
    pub fn passed(&self) -> bool {
        !self.checks.is_empty() && self.checks.iter().all(GoldenCheck::passed)
    }
}

/// Scores every golden input of `record` with `net`.
///
/// # Errors
/// A failing tensor operation. Scores that differ are in the report, not an error.
pub fn verify(net: &SimpleNet, record: &ModelRecord) -> Result<VerifyReport, ModelError> {
    let checks = record
        .goldens
        .iter()
        .map(|golden| {
            let actual = golden.input.image_score(net, record.mean, record.std, record.image_score)?;
            let expected = golden.image_score;
            let tolerance = VERIFY_ABSOLUTE + VERIFY_RELATIVE * f64::from(expected).abs();
            Ok(GoldenCheck { tensor: golden.tensor.clone(), expected, actual, tolerance })
        })
        .collect::<Result<_, ModelError>>()?;
    Ok(VerifyReport { checks })
}
