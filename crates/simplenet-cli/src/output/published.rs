//! Published results on MVTec AD beside ours.
//!
//! In: the embedded table `assets/published_mvtec.csv` (image/pixel AUROC in percent of ten methods: from the
//! comparison table of the SimpleNet paper, Liu et al., CVPR 2023, arXiv 2303.15140, and one published
//! reproduction of SimpleNet) and a [`ResultTable`]. Out: for the categories that bear an MVTec AD name, Markdown
//! with ours first. The name alone decides, so the text says that a category of one's own may only share it.

use super::OutputError;
use super::table::{Column, MISSING, ResultTable, markdown_row, markdown_rule};

const EMBEDDED: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/assets/published_mvtec.csv"));

/// Image and pixel AUROC in percent; `None` where it was not published.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct AurocPair {
    /// Image AUROC, percent.
    pub image: Option<f64>,
    /// Pixel AUROC, percent.
    pub pixel: Option<f64>,
}

/// The published table.
#[derive(Debug, Clone, PartialEq)]
pub struct Published {
    /// Names of the methods, in the order of the columns.
    pub methods: Vec<String>,
    /// Category and one pair a method.
    pub categories: Vec<(String, Vec<AurocPair>)>,
}

impl Published {
    /// The table that travels with the program.
    pub fn embedded() -> Result<Self, OutputError> {
        Self::parse(EMBEDDED)
    }

    /// Parse `category,method,…` and lines of `name,image/pixel,…` with `-` for unpublished. The row `average` is
    /// left out: averages are taken over the categories that are shown.
    pub fn parse(csv: &str) -> Result<Self, OutputError> {
        let mut lines = csv.lines().enumerate().filter(|(_, l)| !l.trim().is_empty());
        let header = lines.next().map(|(_, l)| l).unwrap_or_default();
        let methods: Vec<String> = header.split(',').skip(1).map(|m| m.trim().to_string()).collect();
        let mut categories = Vec::new();
        for (index, line) in lines {
            let error = |reason: String| OutputError::Published { line: index + 1, reason };
            let mut fields = line.split(',').map(str::trim);
            let name = fields.next().unwrap_or_default().to_string();
            let pairs = fields
                .map(|f| pair(f).ok_or_else(|| error(format!("{f:?} is not of the form image/pixel"))))
                .collect::<Result<Vec<_>, _>>()?;
            if pairs.len() != methods.len() {
                return Err(error(format!("{} values for {} methods", pairs.len(), methods.len())));
            }
            if name != "average" {
                categories.push((name, pairs));
            }
        }
        Ok(Self { methods, categories })
    }

    /// The published pairs of a category, one a method.
    pub fn category(&self, name: &str) -> Option<&[AurocPair]> {
        self.categories.iter().find(|(n, _)| n == name).map(|(_, pairs)| pairs.as_slice())
    }

    /// A Markdown section that sets ours beside the published numbers; `None` when no category has an MVTec AD name.
    pub fn compare(&self, table: &ResultTable) -> Option<String> {
        let rows: Vec<(&str, AurocPair, &[AurocPair])> = table
            .rows
            .iter()
            .filter_map(|row| {
                let percent = |column| row.cell(column).map(|m| m.mean * 100.0);
                let ours =
                    AurocPair { image: percent(Column::ImageAuroc), pixel: percent(Column::PixelAuroc) };
                Some((row.category.as_str(), ours, self.category(&row.category)?))
            })
            .collect();
        if rows.is_empty() {
            return None;
        }
        let columns = std::iter::once("**ours**".to_string()).chain(self.methods.iter().cloned());
        let mut text = String::from("## Beside published results (image/pixel AUROC, %)\n\n");
        text.push_str(&markdown_row("category", columns));
        text.push_str(&markdown_rule(self.methods.len() + 1));
        for (name, ours, published) in &rows {
            let cells =
                std::iter::once(format!("**{}**", show(*ours))).chain(published.iter().map(|p| show(*p)));
            text.push_str(&markdown_row(&name.replace('_', "\\_"), cells));
        }
        let ours = average(rows.iter().map(|r| r.1));
        let cells = std::iter::once(format!("**{}**", show(ours)))
            .chain((0..self.methods.len()).map(|m| show(average(rows.iter().map(|r| r.2[m])))));
        text.push_str(&markdown_row(&format!("mean of {}", rows.len()), cells));
        text.push_str(NOTE);
        Some(text)
    }
}

const NOTE: &str = "\n\
Published: the comparison table of the SimpleNet paper (arXiv 2303.15140) and a published reproduction of it. The \
paper's SimpleNet keeps the epoch that is best on the test set; ours is the last epoch, chosen without test data. \
Rows are matched by name: they compare only if these categories are MVTec AD's own.\n";

fn pair(field: &str) -> Option<AurocPair> {
    let (image, pixel) = field.split_once('/')?;
    let number = |text: &str| match text.trim() {
        "-" => Some(None),
        text => text.parse::<f64>().ok().filter(|v| (0.0..=100.0).contains(v)).map(Some),
    };
    Some(AurocPair { image: number(image)?, pixel: number(pixel)? })
}

fn show(pair: AurocPair) -> String {
    let number = |v: Option<f64>| v.map_or(MISSING.to_string(), |v| format!("{v:.1}"));
    format!("{}/{}", number(pair.image), number(pair.pixel))
}

/// The mean where every category has the number, else missing.
fn average(pairs: impl Iterator<Item = AurocPair> + Clone) -> AurocPair {
    let mean = |values: Option<Vec<f64>>| {
        values.filter(|v| !v.is_empty()).map(|v| v.iter().sum::<f64>() / v.len() as f64)
    };
    AurocPair {
        image: mean(pairs.clone().map(|p| p.image).collect()),
        pixel: mean(pairs.map(|p| p.pixel).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::table::{ResultRow, RunNumbers};

    fn row(name: &str, image: f64, pixel: Option<f64>) -> ResultRow {
        let run = RunNumbers { image_auroc: Some(image), pixel_auroc: pixel, ..RunNumbers::default() };
        ResultRow::new(name, vec![run])
    }

    #[test]
    fn the_embedded_table_is_complete() {
        let published = Published::embedded().unwrap();
        assert_eq!((published.methods.len(), published.categories.len()), (10, 15));
        let screw = published.category("screw").unwrap();
        assert_eq!(screw[8], AurocPair { image: Some(98.2), pixel: Some(99.3) });
        assert_eq!(published.category("carpet").unwrap()[4].pixel, None);
        assert_eq!(published.category("gear"), None);
    }

    #[test]
    fn the_printed_averages_follow_from_the_rows() {
        // The source prints SimpleNet's mean as 99.6/98.1.
        let published = Published::embedded().unwrap();
        let mean = average(published.categories.iter().map(|(_, p)| p[8]));
        assert!(
            (mean.image.unwrap() - 99.6).abs() < 0.05 && (mean.pixel.unwrap() - 98.1).abs() < 0.06,
            "{mean:?}"
        );
    }

    #[test]
    fn only_categories_of_mvtec_are_compared() {
        let published = Published::embedded().unwrap();
        let table = ResultTable {
            rows: vec![row("metal_nut", 0.9876, Some(0.98)), row("gear", 0.9, None), row("screw", 0.5, None)],
        };
        let text = published.compare(&table).unwrap();
        assert!(text.contains("| metal\\_nut | **98.8/98.0** | 89.0/60.3 |"), "{text}");
        assert!(text.contains("| screw | **50.0/n/a** |"), "{text}");
        assert!(text.contains("| mean of 2 | **74.4/n/a** |"), "{text}");
        assert!(!text.contains("gear"));
        assert_eq!(published.compare(&ResultTable { rows: vec![row("gear", 1.0, None)] }), None);
    }

    #[test]
    fn damaged_tables_are_refused_with_the_line() {
        for csv in ["category,A\nbottle,12\n", "category,A\nbottle,1/2,3/4\n", "category,A\nbottle,900/2\n"] {
            let message = Published::parse(csv).unwrap_err().to_string();
            assert!(message.contains("line 2"), "{message}");
        }
    }
}
