//! What the labels of a list mean: good parts, the name of a defect, or something that some read one way and others the
//! other. Names are those of `names`; numbers and words of truth depend on the column and on the other labels.

use super::csv::Table;
use super::names::{Meaning, meaning};

/// What labels mean in one table.
pub(super) struct Labels {
    /// Whether true and 1 are good parts, and not false and 0: by the name of the column. `None` where it says neither.
    truth_is_good: Option<bool>,
    /// Whether there are negative numbers among the labels.
    signed: bool,
}

/// What one label means.
pub(super) enum Labelled {
    Good,
    Defective(String),
    /// There is none.
    Not,
    /// Why.
    Unclear(String),
}

impl Labels {
    /// Of all labels of a table.
    pub(super) fn of_table(table: &Table) -> Self {
        let column = table.name("label").unwrap_or_default();
        let truth_is_good = match column.trim_start_matches("is_") {
            "good" => Some(true),
            "anomaly" | "anomalous" | "defective" | "defect" => Some(false),
            _ => None,
        };
        let signed =
            table.values("label").iter().any(|label| label.parse::<f64>().is_ok_and(|number| number < 0.0));
        Self { truth_is_good, signed }
    }

    /// Of one label.
    pub(super) fn of(&self, label: &str) -> Labelled {
        let number = label.parse::<f64>().ok();
        let defective = || Labelled::Defective("anomaly".to_string());
        let truth = |is_true: bool| match self.truth_is_good {
            Some(truth_is_good) if truth_is_good == is_true => Labelled::Good,
            Some(_) => defective(),
            None => Labelled::Unclear(format!(
                "the label is `{label}`: is true good or defective? Write good or the name of the defect, or call the \
                 column `anomaly` or `good`"
            )),
        };
        match (label.to_ascii_lowercase().as_str(), number) {
            ("", _) => Labelled::Not,
            ("true" | "yes", _) => truth(true),
            ("false" | "no", _) => truth(false),
            (_, Some(number)) if self.signed && (number == 1.0 || number == -1.0 || number == 0.0) => {
                Labelled::Unclear(format!(
                    "the labels are 1 and -1: in scikit-learn 1 is good and -1 anomalous, elsewhere it is the other way \
                     round; here is `{label}`. Write good or the name of the defect, or 0 for good parts and 1 for others"
                ))
            }
            (_, Some(0.0)) if self.truth_is_good == Some(true) => defective(),
            (_, Some(1.0)) if self.truth_is_good == Some(true) => Labelled::Good,
            (_, Some(0.0)) => Labelled::Good,
            (_, Some(1.0)) => defective(),
            _ => match meaning(label) {
                Meaning::Good => Labelled::Good,
                Meaning::SoundsGood | Meaning::Unclear => Labelled::Unclear(format!(
                    "the label is `{label}`: is that a good part or a defective one? Write good, or the name of the defect"
                )),
                _ => Labelled::Defective(label.to_string()),
            },
        }
    }
}
