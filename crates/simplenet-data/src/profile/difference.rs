//! In what a photograph is unlike those that a model was trained on: of one photograph, and counted over a run.

use std::fmt;

use serde::{Deserialize, Serialize};

/// In what a photograph differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Trait {
    /// Width and height.
    Size,
    /// Width over height.
    Aspect,
    /// Compressed with loss or not.
    Format,
    /// More than 8 bits per channel or not.
    BitDepth,
    /// Values beyond the white, or below the black, of the bit depth that the model was trained with.
    Range,
    /// Colour or gray.
    Colour,
    /// Mean luma.
    Brightness,
    /// Spread of the luma.
    Contrast,
    /// Fine structure against coarser.
    Sharpness,
}

impl Trait {
    /// A word for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Size => "size",
            Self::Aspect => "aspect",
            Self::Format => "format",
            Self::BitDepth => "bit depth",
            Self::Range => "range",
            Self::Colour => "colour",
            Self::Brightness => "brightness",
            Self::Contrast => "contrast",
            Self::Sharpness => "sharpness",
        }
    }
}

impl fmt::Display for Trait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One thing in which a photograph is unlike those that were trained on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// What differs.
    pub kind: Trait,
    /// What the photograph has.
    pub found: String,
    /// What those had that were trained on.
    pub trained_on: String,
}

impl fmt::Display for Difference {
    /// As `brightness 183.2, trained on 102.8 to 148.4`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, found, trained_on } = self;
        match kind {
            // These say by themselves what they are.
            Trait::Size | Trait::Format | Trait::BitDepth | Trait::Range | Trait::Colour => {
                write!(f, "{found}, trained on {trained_on}")
            }
            _ => write!(f, "{kind} {found}, trained on {trained_on}"),
        }
    }
}

/// The differences of a run's photographs, counted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct DifferenceCounts {
    /// Photographs that were looked at.
    pub images: usize,
    /// Those of them with any difference.
    pub differing: usize,
    /// Each kind that was found.
    pub kinds: Vec<DifferenceCount>,
}

/// One kind of difference in a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct DifferenceCount {
    /// Photographs that have it.
    pub images: usize,
    /// The first of them.
    #[serde(flatten)]
    pub first: Difference,
    /// Whether the others have the same.
    pub alike: bool,
}

impl DifferenceCounts {
    /// Takes in one photograph's differences.
    pub fn add(&mut self, differences: &[Difference]) {
        self.images += 1;
        self.differing += usize::from(!differences.is_empty());
        for difference in differences {
            match self.kinds.iter_mut().find(|count| count.first.kind == difference.kind) {
                Some(count) => {
                    count.images += 1;
                    count.alike &= count.first.found == difference.found;
                }
                None => {
                    self.kinds.push(DifferenceCount { images: 1, first: difference.clone(), alike: true })
                }
            }
        }
    }

    /// What a person should know at the end of a run; nothing where all are like those that were trained on.
    pub fn sentence(&self) -> Option<String> {
        let mut kinds: Vec<&DifferenceCount> = self.kinds.iter().collect();
        kinds.sort_by_key(|count| (std::cmp::Reverse(count.images), count.first.kind));
        let each = kinds.iter().map(|DifferenceCount { images, first, alike }| {
            let such_as = if *alike { "" } else { "for example " };
            format!("{such_as}{first} ({images})")
        });
        let each: Vec<String> = each.collect();
        (self.differing > 0).then(|| {
            format!(
                "{} of {} photographs differ from those that the model was trained on: {}. No verdict was changed, but scores \
                 may be higher for it: train on photographs as the line takes them, or take these as those were taken",
                self.differing,
                self.images,
                each.join("; ")
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn difference(kind: Trait, found: &str, trained_on: &str) -> Difference {
        Difference { kind, found: found.into(), trained_on: trained_on.into() }
    }

    #[test]
    fn a_run_is_summed_up_by_the_commonest_first() {
        let mut counts = DifferenceCounts::default();
        counts.add(&[]);
        assert_eq!(counts.sentence(), None);
        let jpeg = difference(Trait::Format, "JPEG", "PNG");
        let dark = |found| difference(Trait::Brightness, found, "100.0 to 110.0");
        counts.add(&[dark("60.0"), jpeg.clone()]);
        counts.add(&[dark("61.0"), jpeg.clone()]);
        counts.add(std::slice::from_ref(&jpeg));
        assert_eq!((counts.images, counts.differing), (4, 3));
        let sentence = counts.sentence().unwrap();
        let want = "3 of 4 photographs differ from those that the model was trained on: JPEG, trained on PNG (3); for \
                    example brightness 60.0, trained on 100.0 to 110.0 (2). No verdict was changed";
        assert!(sentence.starts_with(want), "{sentence}");
        let json = serde_json::to_value(&counts).unwrap();
        assert_eq!(json["kinds"][1]["kind"], "format");
        assert_eq!(json["kinds"][1]["images"], 3);
    }
}
