//! The table as strings: the one place that formats cells and notes, shared by terminal, Markdown and HTML.

use super::{Column, MISSING, Measurement, ResultTable};

/// A cell: its text and how it should be emphasised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cell {
    /// A number, formatted.
    Number(String),
    /// A number that does not exist; shown as [`MISSING`].
    Missing,
}

impl Cell {
    /// What to print.
    pub fn text(&self) -> &str {
        match self {
            Self::Number(text) => text,
            Self::Missing => MISSING,
        }
    }
}

/// A [`ResultTable`] ready to be laid out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grid {
    /// Columns after the category's name.
    pub columns: Vec<Column>,
    /// Category and cells, in the table's order.
    pub rows: Vec<(String, Vec<Cell>)>,
    /// The last row.
    pub mean: Vec<Cell>,
    /// Sentences to put under the table: failures, incomplete means, what ± is.
    pub notes: Vec<String>,
}

impl ResultTable {
    /// Format every cell.
    pub fn grid(&self) -> Grid {
        let columns = self.columns();
        let rows = self
            .rows
            .iter()
            .map(|row| {
                (row.category.clone(), columns.iter().map(|c| format_cell(row.cell(*c), *c)).collect())
            })
            .collect();
        let mean = columns.iter().map(|c| self.mean_cell(*c)).collect();
        Grid { rows, mean, notes: self.notes(&columns), columns }
    }

    fn mean_cell(&self, column: Column) -> Cell {
        let Some(mean) = self.mean(column) else { return Cell::Missing };
        match format_cell(Some(mean.measurement), column) {
            Cell::Number(text) if mean.categories < self.rows.len() => Cell::Number(text + "*"),
            cell => cell,
        }
    }

    fn notes(&self, columns: &[Column]) -> Vec<String> {
        let mut notes = Vec::new();
        let mut partial: Vec<(usize, Vec<&str>)> = Vec::new();
        for column in columns {
            let Some(mean) = self.mean(*column).filter(|m| m.categories < self.rows.len()) else { continue };
            match partial.iter_mut().find(|(n, _)| *n == mean.categories) {
                Some((_, titles)) => titles.push(column.title()),
                None => partial.push((mean.categories, vec![column.title()])),
            }
        }
        for (categories, titles) in partial {
            let titles = if titles.len() == columns.len() { "all columns".into() } else { titles.join(", ") };
            notes.push(format!("* mean over {categories} of {} categories: {titles}", self.rows.len()));
        }
        let seeds = self.rows.iter().map(|r| r.runs.len()).max().unwrap_or(0);
        if seeds > 1 {
            notes.push(format!("± is the sample standard deviation over {seeds} seeds"));
        }
        if columns.contains(&Column::OracleImageAuroc) {
            notes.push("oracle: the epoch chosen on the test set, as in the paper's protocol".into());
        }
        if columns.contains(&Column::PadimImageAuroc) {
            notes.push("PaDiM, PatchCore: on the features, training images and maps of the same run".into());
        }
        for row in &self.rows {
            if let Some(reason) = &row.failure {
                notes.push(format!("{} failed: {reason}", row.category));
            }
        }
        notes
    }
}

/// The text of a number, if there is one (the CSV has every deviation).
fn format_cell(measurement: Option<Measurement>, column: Column) -> Cell {
    measurement.map_or(Cell::Missing, |measurement| Cell::Number(column.format(measurement)))
}

#[cfg(test)]
mod tests {
    use super::super::tests::run;
    use super::super::{ResultRow, ResultTable};
    use super::*;

    #[test]
    fn cells_and_notes() {
        let table = ResultTable {
            rows: vec![
                ResultRow::new("bolt", vec![run(0.91, Some(0.8)), run(0.93, Some(0.8))]),
                ResultRow::new("cloth", vec![run(1.0, None), run(1.0, None)]),
                ResultRow::failed("rod", "no good images"),
            ],
        };
        let grid = table.grid();
        let text =
            |cells: &[Cell]| cells.iter().map(|c| c.text().to_string()).collect::<Vec<_>>().join(" | ");
        assert_eq!(
            text(&grid.rows[0].1),
            "0.9200 ± 0.0141 | 0.8000 ± 0.0000 | n/a | n/a | n/a | 12.3 | 8.1 | 512"
        );
        assert!(grid.rows[2].1.iter().all(|c| *c == Cell::Missing));
        assert_eq!(
            text(&grid.mean),
            "0.9600 ± 0.0071* | 0.8000 ± 0.0000* | n/a | n/a | n/a | 12.3* | 8.1* | 512*"
        );
        assert_eq!(
            grid.notes,
            [
                "* mean over 2 of 3 categories: image AUROC, fit s, inference ms/image, peak memory MiB",
                "* mean over 1 of 3 categories: pixel AUROC",
                "± is the sample standard deviation over 2 seeds",
                "rod failed: no good images",
            ]
        );
    }

    #[test]
    fn an_empty_table_is_all_missing() {
        let grid = ResultTable::default().grid();
        assert!(grid.rows.is_empty() && grid.notes.is_empty());
        assert!(grid.mean.iter().all(|c| *c == Cell::Missing));
    }
}
