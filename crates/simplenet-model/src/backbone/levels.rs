//! Which feature levels of a backbone are tapped: the paper's ablation compares several choices, and the official code
//! names them in `layers_to_extract_from`. In: a choice as in a configuration, `[2, 3]`. Out: the levels in order.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::ModelError;

/// How many levels there are to choose from.
const COUNT: usize = 3;

/// A choice of feature levels, at least one. Level 1 lies at a fourth of the image's sides, 2 at an eighth, 3 at a
/// sixteenth: torchvision's `layer1` to `layer3`. The default is the paper's, 2 and 3.
///
/// Patches lie on the grid of the finest level that is chosen, and a network ends after the coarsest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Vec<usize>", into = "Vec<usize>")]
pub struct Levels {
    /// Whether level i + 1 is chosen; one is.
    chosen: [bool; COUNT],
}

impl Levels {
    /// Levels 2 and 3.
    pub const PAPER: Self = Self { chosen: [false, true, true] };
    /// Every level.
    pub const ALL: Self = Self { chosen: [true; COUNT] };

    /// Of their numbers, from the finest to the coarsest.
    ///
    /// # Errors
    /// `ModelError::Configuration` when there is none, one of another number than 1, 2, 3, or numbers that do not rise.
    pub fn new(numbers: &[usize]) -> Result<Self, ModelError> {
        let rise = numbers.is_sorted_by(|a, b| a < b);
        if numbers.is_empty() || !rise || numbers.iter().any(|n| !(1..=COUNT).contains(n)) {
            return Err(ModelError::Configuration {
                what: "levels",
                reason: format!("{numbers:?}, must be some of 1, 2, 3 in this order, as in [2, 3]"),
            });
        }
        Ok(Self { chosen: std::array::from_fn(|i| numbers.contains(&(i + 1))) })
    }

    /// The numbers, 1 to 3, from the finest to the coarsest.
    pub fn numbers(self) -> impl Iterator<Item = usize> {
        (1..).zip(self.chosen).filter_map(|(number, chosen)| chosen.then_some(number))
    }

    /// The number of the coarsest.
    pub fn last(self) -> usize {
        self.numbers().last().unwrap_or(COUNT)
    }
}

impl Default for Levels {
    fn default() -> Self {
        Self::PAPER
    }
}

impl fmt::Display for Levels {
    /// As in the paper: `2+3`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let numbers: Vec<String> = self.numbers().map(|number| number.to_string()).collect();
        f.pad(&numbers.join("+"))
    }
}

impl TryFrom<Vec<usize>> for Levels {
    type Error = ModelError;

    fn try_from(numbers: Vec<usize>) -> Result<Self, Self::Error> {
        Self::new(&numbers)
    }
}

impl From<Levels> for Vec<usize> {
    fn from(levels: Levels) -> Self {
        levels.numbers().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_round_trip_as_lists_and_others_are_refused() {
        for (json, shown) in [
            ("[1]", "1"),
            ("[2]", "2"),
            ("[3]", "3"),
            ("[1,2]", "1+2"),
            ("[1,3]", "1+3"),
            ("[2,3]", "2+3"),
            ("[1,2,3]", "1+2+3"),
        ] {
            let levels: Levels = serde_json::from_str(json).unwrap();
            assert_eq!(serde_json::to_string(&levels).unwrap(), json);
            assert_eq!(levels.to_string(), shown);
            assert!(shown.ends_with(&levels.last().to_string()), "{shown}");
        }
        assert_eq!(Levels::default().to_string(), "2+3");
        assert_eq!(Levels::ALL.to_string(), "1+2+3");
        for json in ["[]", "[0]", "[4]", "[3,2]", "[2,2]", "[1,2,3,4]"] {
            let message = serde_json::from_str::<Levels>(json).unwrap_err().to_string();
            assert!(message.contains("levels") && message.contains("[2, 3]"), "{json}: {message}");
        }
    }
}
