//! What the page's script reads: scores, labels, names and regions as one block of JSON.
//!
//! In: the report and what becomes of its pictures. Out: JSON that can stand inside a `<script>` element, whatever a file
//! is called.

use super::budget::{Plan, Size};
use super::interest::records;
use super::{CategoryReport, Report};
use crate::output::OutputError;
use crate::output::chart::bins::extent_of;
use crate::output::prediction::{PredictionRecord, Verdict};
use serde::Serialize;

#[derive(Serialize)]
struct Page<'a> {
    categories: Vec<Category<'a>>,
}

#[derive(Serialize)]
struct Category<'a> {
    name: &'a str,
    /// The folder that all photographs are below, which their names leave out.
    folder: &'a str,
    threshold: Option<f32>,
    review: Option<f32>,
    /// Ends of the histogram; null without scores.
    range: Option<(f64, f64)>,
    labelled: bool,
    images: Vec<Image<'a>>,
}

#[derive(Serialize)]
struct Image<'a> {
    /// The line's number, which its pictures' element bears.
    i: usize,
    /// Name below the folder.
    n: &'a str,
    /// Score.
    s: f32,
    /// 0 good, 1 defective.
    #[serde(skip_serializing_if = "Option::is_none")]
    l: Option<u8>,
    /// Kind of defect.
    #[serde(skip_serializing_if = "Option::is_none")]
    d: Option<&'a str>,
    /// Width and height of the photograph.
    z: [u32; 2],
    /// Regions: box, area, peak score.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    r: Vec<([u32; 4], u64, f32)>,
    /// Milliseconds: decode, preprocess, network, postprocess, total.
    t: [f64; 5],
    /// Share of the photograph that was inspected, where not all of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    v: Option<f64>,
    /// In what it is unlike those trained on, a sentence each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    u: Vec<String>,
    /// Pictures: 2 as kept, 1 small, 0 none.
    p: u8,
}

/// The JSON; every `<` is written as an escape, so that no name can end the element or begin a comment.
pub(super) fn json(report: &Report, plan: &Plan) -> Result<String, OutputError> {
    let categories = report
        .categories
        .iter()
        .zip(&plan.sizes)
        .map(|(category, sizes)| describe(category, sizes))
        .collect();
    let json = serde_json::to_string(&Page { categories }).map_err(|source| OutputError::Json {
        path: "<memory>".into(),
        line: 0,
        source,
    })?;
    Ok(json.replace('<', "\\u003c"))
}

fn describe<'a>(category: &'a CategoryReport, sizes: &[Size]) -> Category<'a> {
    let folder = common_folder(records(&category.predictions).map(|(_, r)| r.path.text()));
    let image = |(i, record): (usize, &'a PredictionRecord)| {
        let ms = record.milliseconds;
        Image {
            i,
            n: &record.path.text()[folder.len()..],
            s: record.score,
            l: record.label.map(|label| u8::from(label == Verdict::Anomalous)),
            d: record.defect.as_deref(),
            z: record.image_size,
            r: record.regions.iter().map(|r| (r.bounding_box, r.area, r.peak_score)).collect(),
            t: [ms.decode, ms.preprocess, ms.network, ms.postprocess, ms.total],
            v: (record.inspected_share < 1.0).then_some(record.inspected_share),
            u: record.differences.iter().map(ToString::to_string).collect(),
            p: match sizes.get(i) {
                Some(Size::Kept) => 2,
                Some(Size::Small) => 1,
                _ => 0,
            },
        }
    };
    Category {
        name: &category.name,
        folder,
        threshold: category.threshold,
        review: category.review_threshold,
        range: extent_of(category),
        labelled: records(&category.predictions).any(|(_, r)| r.label.is_some()),
        images: records(&category.predictions).map(image).collect(),
    }
}

/// The longest folder, with its final separator, that all paths begin with.
fn common_folder<'a>(mut paths: impl Iterator<Item = &'a str>) -> &'a str {
    let cut = |text: &'a str| text.rfind(['/', '\\']).map_or("", |at| &text[..=at]);
    let Some(mut folder) = paths.next().map(cut) else { return "" };
    for path in paths {
        while !path.starts_with(folder) {
            folder = cut(&folder[..folder.len() - 1]);
        }
    }
    folder
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_leave_the_common_folder_out() {
        let cases: [(&[&str], &str); 6] = [
            (&[], ""),
            (&["a.png"], ""),
            (&["in/a.png", "in/b.png"], "in/"),
            (&["in/test/good/1.png", "in/test/hole/1.png"], "in/test/"),
            (&["/a/b.png", "/c/b.png"], "/"),
            (&["in/ab/1.png", "in/a/1.png", "x.png"], ""),
        ];
        for (paths, want) in cases {
            assert_eq!(common_folder(paths.iter().copied()), want, "{paths:?}");
        }
    }
}
