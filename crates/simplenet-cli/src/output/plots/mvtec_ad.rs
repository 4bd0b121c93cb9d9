//! Whether a run was tested on MVTec AD, so that its AUROC may stand beside published ones without a warning.
//!
//! In: names and test images of a run's categories. Out: [`TestedOn`]. A name alone does not do: somebody's own `bottle` is not
//! MVTec AD's.

/// The categories of MVTec AD with their good and anomalous test images (Bergmann, Fauser, Sattlegger, Steger: "MVTec AD", CVPR
/// 2019, table 1).
const CATEGORIES: [(&str, usize, usize); 15] = [
    ("carpet", 28, 89),
    ("grid", 21, 57),
    ("leather", 32, 92),
    ("tile", 33, 84),
    ("wood", 19, 60),
    ("bottle", 20, 63),
    ("cable", 58, 92),
    ("capsule", 23, 109),
    ("hazelnut", 40, 70),
    ("metal_nut", 22, 93),
    ("pill", 26, 141),
    ("screw", 41, 119),
    ("toothbrush", 12, 30),
    ("transistor", 60, 40),
    ("zipper", 32, 119),
];

/// A category that was tested.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestSet {
    /// Its name.
    pub category: String,
    /// Good test images.
    pub normal: usize,
    /// Anomalous test images.
    pub anomalous: usize,
}

/// What a run's mean is a mean over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TestedOn {
    /// All of MVTec AD, as the published means.
    MvtecAd,
    /// So many of its 15 categories.
    PartOfMvtecAd(usize),
    /// Something else, or something else too.
    Other,
}

impl TestedOn {
    /// Looks at names and numbers of images.
    pub fn of(sets: &[TestSet]) -> Self {
        let is_theirs =
            |set: &TestSet| CATEGORIES.contains(&(set.category.as_str(), set.normal, set.anomalous));
        if sets.is_empty() || !sets.iter().all(is_theirs) {
            return Self::Other;
        }
        let mut names: Vec<&str> = sets.iter().map(|set| set.category.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        match names.len() {
            n if n == CATEGORIES.len() => Self::MvtecAd,
            n => Self::PartOfMvtecAd(n),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_data_set_is_known_by_its_test_images() {
        let all: Vec<TestSet> = CATEGORIES
            .iter()
            .map(|&(name, normal, anomalous)| TestSet { category: name.into(), normal, anomalous })
            .collect();
        assert_eq!(all.iter().map(|set| set.normal + set.anomalous).sum::<usize>(), 1725);
        assert_eq!(TestedOn::of(&all), TestedOn::MvtecAd);
        assert_eq!(TestedOn::of(&[all.clone(), all[..2].to_vec()].concat()), TestedOn::MvtecAd, "two seeds");
        assert_eq!(TestedOn::of(&all[3..8]), TestedOn::PartOfMvtecAd(5));
        assert_eq!(TestedOn::of(&[]), TestedOn::Other);
        let own = TestSet { normal: 21, ..all[5].clone() };
        assert_eq!(TestedOn::of(&[own]), TestedOn::Other, "a bottle of one's own");
        let gear = TestSet { category: "steel_gear".into(), normal: 16, anomalous: 35 };
        assert_eq!(TestedOn::of(&[all[0].clone(), gear]), TestedOn::Other);
    }
}
