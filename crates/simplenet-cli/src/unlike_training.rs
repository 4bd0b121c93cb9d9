//! What a run says of photographs that are unlike those that the model was trained on: a mark on each one's line, a sentence at
//! the end of the run. No verdict depends on it.

use simplenet_data::{Difference, DifferenceCounts};

use crate::tell::{self, Level};

/// What stands behind a photograph's line; nothing where it is like those trained on.
pub fn mark(differences: &[Difference]) -> String {
    let kinds: Vec<&str> = differences.iter().map(|difference| difference.kind.name()).collect();
    match kinds.as_slice() {
        [] => String::new(),
        kinds => format!(", unlike the training's in {}", kinds.join(", ")),
    }
}

/// Sums a run up: in text a warning where photographs differ; in JSON an event in any case.
pub fn warn(counts: &DifferenceCounts) {
    match counts.sentence() {
        Some(sentence) => tell::line(Level::Warn, "differences", &sentence, counts),
        None => {
            tell::event(Level::Info, "differences", "no photograph differs from those trained on", counts)
        }
    }
}
