//! What the name of a folder, or a label in a list, says of the parts that have it.
//!
//! In: a name as people write it, in any case and with any signs between its words. Out: its [`Meaning`]. This is the
//! only table of such names; docs/reference.md lists it.

/// What a name says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// Good parts.
    Good,
    /// Defective parts, of whatever kind.
    Defective,
    /// Masks or annotations, no photographs.
    Masks,
    /// A test set.
    Test,
    /// It has a word for good parts in it, and is in no table.
    SoundsGood,
    /// Some call good parts so, others defective ones.
    Unclear,
    /// Nothing that is known here: the name of a defect, a batch, a product.
    Other,
}

/// Names of good parts, without the signs between their words.
pub const GOOD_NAMES: [&str; 44] = [
    "good",
    "goods",
    "ok",
    "okay",
    "normal",
    "normals",
    "nominal",
    "io",
    "pass",
    "passed",
    "accept",
    "accepted",
    "acceptable",
    "conform",
    "conforming",
    "conforme",
    "correct",
    "healthy",
    "intact",
    "flawless",
    "faultless",
    "undamaged",
    "defectfree",
    "nodefect",
    "nodefects",
    "nondefect",
    "nondefective",
    "withoutdefect",
    "withoutdefects",
    "anomalyfree",
    "noanomaly",
    "nonanomalous",
    "gut",
    "gutteil",
    "gutteile",
    "inordnung",
    "fehlerfrei",
    "bon",
    "buono",
    "bueno",
    "良品",
    "合格",
    "正常",
    "정상",
];

/// Names of defective parts, and words that make a name one.
const DEFECTIVE_NAMES: [&str; 57] = [
    "ng",
    "nok",
    "nio",
    "ko",
    "notok",
    "notgood",
    "nogood",
    "notinordnung",
    "bad",
    "defect",
    "defects",
    "defective",
    "defectives",
    "defekt",
    "defekte",
    "abnormal",
    "abnormals",
    "anomaly",
    "anomalies",
    "anomalous",
    "anormal",
    "fail",
    "failed",
    "failure",
    "failures",
    "fault",
    "faults",
    "faulty",
    "reject",
    "rejects",
    "rejected",
    "scrap",
    "broken",
    "damaged",
    "crack",
    "cracks",
    "cracked",
    "dent",
    "dents",
    "scratch",
    "scratches",
    "scratched",
    "schlecht",
    "schlechtteil",
    "schlechtteile",
    "ausschuss",
    "fehler",
    "fehlerhaft",
    "mauvais",
    "malo",
    "difettoso",
    "不良",
    "不良品",
    "不合格",
    "缺陷",
    "异常",
    "불량",
];

/// Names of masks.
const MASK_NAMES: [&str; 20] = [
    "mask",
    "masks",
    "gt",
    "gts",
    "groundtruth",
    "groundtruths",
    "label",
    "labels",
    "annotation",
    "annotations",
    "annot",
    "seg",
    "segmentation",
    "segmentations",
    "segmentationclass",
    "segmentationclasspng",
    "segmentationobject",
    "maskimages",
    "maskimage",
    "gtmasks",
];

/// Names that mean either.
const UNCLEAR_NAMES: [&str; 6] = ["positive", "positives", "pos", "negative", "negatives", "neg"];

/// Words that turn the others round.
const NEGATIONS: [&str; 8] = ["no", "not", "non", "without", "free", "ohne", "kein", "keine"];

/// Words that say nothing about the parts: `good_parts` is `good`.
const FILLERS: [&str; 18] = [
    "part",
    "parts",
    "piece",
    "pieces",
    "image",
    "images",
    "img",
    "imgs",
    "photo",
    "photos",
    "photographs",
    "picture",
    "pictures",
    "sample",
    "samples",
    "product",
    "products",
    "teile",
];

/// What a name says.
pub fn meaning(name: &str) -> Meaning {
    let words = words(name);
    let whole: String = words.concat();
    let plain: String = words.iter().filter(|word| !FILLERS.contains(&word.as_str())).cloned().collect();
    let has = |table: &[&str]| words.iter().any(|word| table.contains(&word.as_str()));
    let is = |table: &[&str]| table.contains(&whole.as_str()) || table.contains(&plain.as_str());
    let negated = has(&NEGATIONS);
    if is(&GOOD_NAMES) {
        Meaning::Good
    } else if is(&MASK_NAMES) || has(&["mask", "masks", "groundtruth"]) || whole.contains("groundtruth") {
        Meaning::Masks
    } else if is(&UNCLEAR_NAMES) {
        Meaning::Unclear
    } else if is(&DEFECTIVE_NAMES) || (has(&DEFECTIVE_NAMES) && !negated) || (has(&GOOD_NAMES) && negated) {
        Meaning::Defective
    } else if words
        .first()
        .is_some_and(|first| ["test", "tests", "testing", "testset"].contains(&first.as_str()))
    {
        Meaning::Test
    } else if has(&GOOD_NAMES) || has(&DEFECTIVE_NAMES) {
        Meaning::SoundsGood
    } else {
        Meaning::Other
    }
}

/// Whether a name is one of good parts.
pub fn is_good(name: &str) -> bool {
    meaning(name) == Meaning::Good
}

/// The first word of a name that good parts do not have.
pub(crate) fn defective_word(name: &str) -> Option<String> {
    words(name).into_iter().find(|word| DEFECTIVE_NAMES.contains(&word.as_str()))
}

/// The words of a name in lower case: runs of letters, parted by signs, digits and a capital after a small letter. Names of
/// few letters that a capital would part, such as `nOK` and `iO`, stay whole.
fn words(name: &str) -> Vec<String> {
    let letters: String = name.chars().filter(|c| c.is_alphabetic()).flat_map(char::to_lowercase).collect();
    let signs: usize = name.chars().filter(|c| !c.is_alphabetic()).count();
    // `i.O.` and `n. i. O.` are abbreviations: their signs part nothing.
    if letters.chars().count() <= 3
        && (signs == 0 || name.split(['.', ' ']).all(|part| part.chars().count() <= 1))
    {
        return if letters.is_empty() { vec![] } else { vec![letters] };
    }
    let mut words = vec![String::new()];
    let mut before = ' ';
    for c in name.chars() {
        let begins = before.is_lowercase() && c.is_uppercase();
        if (!c.is_alphabetic() || begins) && words.last().is_some_and(|word| !word.is_empty()) {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut().filter(|_| c.is_alphabetic()) {
            word.extend(c.to_lowercase());
        }
        before = c;
    }
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_as_people_write_them() {
        for (expected, names) in [
            (
                Meaning::Good,
                "good|Good|GOOD|ok|OK|Ok|okay|normal|Normal|io|IO|iO|i.O.|pass|PASSED|gut|Gutteile|no_defect|NoDefect|\
                 no defects|defect-free|DefectFree|non_defective|good_parts|OK parts|good images|GoodSamples|in Ordnung|\
                 without-defects|良品|正常",
            ),
            (
                Meaning::Defective,
                "NG|ng|NOK|nok|nOK|NIO|nio|n.i.O.|KO|bad|Bad_parts|01_NG|NG-2024|defect|defects|Defective|anomaly|abnormal|\
                 Abnormal|anomalous_parts|fail|FAILED|reject|not_ok|NotOK|not good|no_good|scratch|deep scratch|crack_2|不良",
            ),
            (
                Meaning::Masks,
                "mask|Masks|ground_truth|Ground Truth|groundtruth|GT|labels|annotations|bad_masks|gt_masks",
            ),
            (Meaning::Test, "test|Test|test_public|testing|test2"),
            (Meaning::SoundsGood, "good_ones_2|batch_ok|normal light|really good|no_scratch"),
            (Meaning::Unclear, "positive|Negative|neg"),
            (Meaning::Other, "hole|stain|batch1|2024-03-01|fine|cap|day2"),
        ] {
            for name in names.split('|') {
                assert_eq!(meaning(name), expected, "{name}");
            }
        }
        assert_eq!(defective_word("ng-4.png").as_deref(), Some("ng"));
        assert_eq!(defective_word("bent_one.png"), None);
    }
}
