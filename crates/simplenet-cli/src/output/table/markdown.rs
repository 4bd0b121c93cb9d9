//! The table as GitHub-flavoured Markdown.

use super::{Cell, ResultTable};

impl ResultTable {
    /// The table, an empty line and its notes as a list; ends in a newline.
    pub fn to_markdown(&self) -> String {
        let grid = self.grid();
        let mut text = markdown_row("category", grid.columns.iter().map(|c| c.title().to_string()));
        text.push_str(&markdown_rule(grid.columns.len()));
        for (name, cells) in &grid.rows {
            text.push_str(&markdown_row(&escape(name), cells.iter().map(|c| c.text().to_string())));
        }
        let bold = |cell: &Cell| match cell {
            Cell::Number(text) => format!("**{}**", text.replace('*', "\\*")),
            Cell::Missing => cell.text().to_string(),
        };
        text.push_str(&markdown_row("**mean**", grid.mean.iter().map(bold)));
        if !grid.notes.is_empty() {
            text.push('\n');
        }
        for note in &grid.notes {
            text.push_str(&format!("- {}\n", escape(note)));
        }
        text
    }
}

/// `| name | cell | … |` with a newline.
pub fn markdown_row(name: &str, cells: impl Iterator<Item = String>) -> String {
    let mut row = format!("| {name} |");
    for cell in cells {
        row.push_str(&format!(" {cell} |"));
    }
    row.push('\n');
    row
}

/// The line under the headings: names to the left, numbers to the right.
pub fn markdown_rule(columns: usize) -> String {
    format!("| --- |{}\n", " ---: |".repeat(columns))
}

/// Text that Markdown shows literally, inside a table cell or a list item.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '|' | '*' | '_' | '`' | '\\' | '[' | ']' | '~' | '#' => out.extend(['\\', c]),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::tests::run;
    use super::super::{ResultRow, ResultTable};

    #[test]
    fn table_mean_and_notes() {
        let table = ResultTable {
            rows: vec![
                ResultRow::new("metal_nut", vec![run(0.95, Some(0.9))]),
                ResultRow::failed("a|b\n<i>", "no <good> images"),
            ],
        };
        let expected = "\
| category | image AUROC | pixel AUROC | AUPRO@0.30 | AUPRO@0.05 | image F1-max | fit s | inference ms/image | peak memory MiB |
| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |
| metal\\_nut | 0.9500 | 0.9000 | n/a | n/a | n/a | 12.3 | 8.1 | 512 |
| a\\|b &lt;i&gt; | n/a | n/a | n/a | n/a | n/a | n/a | n/a | n/a |
| **mean** | **0.9500\\*** | **0.9000\\*** | n/a | n/a | n/a | **12.3\\*** | **8.1\\*** | **512\\*** |

- \\* mean over 1 of 2 categories: image AUROC, pixel AUROC, fit s, inference ms/image, peak memory MiB
- a\\|b &lt;i&gt; failed: no &lt;good&gt; images
";
        assert_eq!(table.to_markdown(), expected);
    }
}
