//! Which photographs matter most to who reads a report.

use crate::output::prediction::{PredictionLine, PredictionRecord};

/// The records of a category with the numbers of their lines.
pub(super) fn records(lines: &[PredictionLine]) -> impl Iterator<Item = (usize, &PredictionRecord)> {
    lines.iter().enumerate().filter_map(|(number, line)| match line {
        PredictionLine::Prediction(record) => Some((number, record)),
        PredictionLine::Error(_) => None,
    })
}

/// The lines' numbers, most telling first: wrong verdicts, the furthest from the threshold first, then the highest and
/// the lowest scores in turn; without labels all of them from the highest score to the lowest.
pub(super) fn by_interest(lines: &[PredictionLine]) -> Vec<usize> {
    let mut by_score: Vec<(usize, &PredictionRecord)> = records(lines).collect();
    by_score.sort_by(|a, b| b.1.score.total_cmp(&a.1.score).then(a.0.cmp(&b.0)));
    let labelled = by_score.iter().any(|(_, r)| r.label.is_some());
    let (mut wrong, others): (Vec<_>, Vec<_>) =
        by_score.into_iter().partition(|(_, r)| r.mistake().is_some());
    let distance = |r: &PredictionRecord| (r.score - r.threshold.unwrap_or(0.0)).abs();
    wrong.sort_by(|a, b| distance(b.1).total_cmp(&distance(a.1)).then(a.0.cmp(&b.0)));
    let mut order: Vec<usize> = wrong.into_iter().map(|(number, _)| number).collect();
    let mut others = others.into_iter().map(|(number, _)| number);
    while let Some(high) = others.next() {
        order.push(high);
        if labelled {
            order.extend(others.next_back());
        }
    }
    order
}
