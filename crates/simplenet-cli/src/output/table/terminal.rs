//! The table as text for a terminal: aligned by display width, split into blocks where the terminal is narrow.

use super::{Cell, Grid, ResultTable};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Spaces between columns.
const GAP: usize = 2;
/// Longer category names are shortened, so that numbers stay on the screen.
const LONGEST_NAME: usize = 32;

impl ResultTable {
    /// Aligned text ending in a newline. `width` is the terminal's; `None` (a pipe) puts all columns in one block.
    pub fn to_terminal(&self, width: Option<usize>) -> String {
        let grid = self.grid();
        let names: Vec<String> = std::iter::once(String::from("category"))
            .chain(grid.rows.iter().map(|(name, _)| shorten(&one_line(name), LONGEST_NAME)))
            .chain([String::from("mean")])
            .collect();
        let name_width = names.iter().map(|n| n.width()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..grid.columns.len()).map(|c| column_width(&grid, c)).collect();
        let mut text = String::new();
        for block in blocks(&widths, name_width, width.unwrap_or(usize::MAX)) {
            if !text.is_empty() {
                text.push('\n');
            }
            write_block(&mut text, &grid, &names, name_width, &widths, block);
        }
        for note in &grid.notes {
            text.push_str(&one_line(note));
            text.push('\n');
        }
        text
    }
}

/// The terminal's width in columns; `None` when standard output is not a terminal.
pub fn terminal_width() -> Option<usize> {
    terminal_size::terminal_size_of(std::io::stdout()).map(|(width, _)| usize::from(width.0))
}

fn column_width(grid: &Grid, column: usize) -> usize {
    let cells = grid.rows.iter().map(|(_, cells)| cells).chain([&grid.mean]);
    let widest = cells.map(|cells| aligned(grid, column, &cells[column]).width()).max().unwrap_or(0);
    grid.columns[column].heading().iter().map(|h| h.width()).fold(widest, usize::max)
}

/// Ranges of columns that fit beside the names; at least one column a block.
fn blocks(widths: &[usize], name_width: usize, terminal: usize) -> Vec<std::ops::Range<usize>> {
    let mut blocks = Vec::new();
    let (mut start, mut used) = (0, name_width);
    for (index, width) in widths.iter().enumerate() {
        if index > start && used + GAP + width > terminal {
            blocks.push(start..index);
            (start, used) = (index, name_width);
        }
        used += GAP + width;
    }
    if start < widths.len() {
        blocks.push(start..widths.len());
    }
    blocks
}

fn write_block(
    text: &mut String,
    grid: &Grid,
    names: &[String],
    name_width: usize,
    widths: &[usize],
    block: std::ops::Range<usize>,
) {
    let mut line = |name: &str, cells: &dyn Fn(usize) -> String| {
        let cells = block.clone().map(|column| (cells(column), widths[column]));
        text.push_str(&aligned_line(name, name_width, cells));
    };
    let rule = |column: usize| "─".repeat(widths[column]);
    line("", &|column| grid.columns[column].heading()[0].to_string());
    line(&names[0], &|column| grid.columns[column].heading()[1].to_string());
    line(&"─".repeat(name_width), &rule);
    for (name, (_, cells)) in names[1..].iter().zip(&grid.rows) {
        line(name, &|column| aligned(grid, column, &cells[column]));
    }
    line(&"─".repeat(name_width), &rule);
    line("mean", &|column| aligned(grid, column, &grid.mean[column]));
}

/// The name to the left, each cell to the right in its width; ends in a newline.
pub(super) fn aligned_line(
    name: &str,
    name_width: usize,
    cells: impl Iterator<Item = (String, usize)>,
) -> String {
    let mut line = pad_right(name, name_width);
    for (cell, width) in cells {
        line.push_str(&" ".repeat(GAP));
        line.push_str(&pad_left(&cell, width));
    }
    format!("{}\n", line.trim_end())
}

/// A cell's text; where the mean carries its mark, the other cells leave room for it, so that digits stand in line.
fn aligned(grid: &Grid, column: usize, cell: &Cell) -> String {
    let marked = |cell: &Cell| cell.text().ends_with('*');
    let room = if marked(&grid.mean[column]) && !marked(cell) { " " } else { "" };
    format!("{}{room}", cell.text())
}

fn pad_left(text: &str, width: usize) -> String {
    format!("{}{text}", " ".repeat(width.saturating_sub(text.width())))
}

fn pad_right(text: &str, width: usize) -> String {
    format!("{text}{}", " ".repeat(width.saturating_sub(text.width())))
}

/// Control characters (a folder's name may hold a newline or an escape) become U+FFFD.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

fn shorten(text: &str, longest: usize) -> String {
    if text.width() <= longest {
        return text.to_string();
    }
    let mut used = 1;
    let mut short: String = text
        .chars()
        .take_while(|c| {
            used += c.width().unwrap_or(0);
            used <= longest
        })
        .collect();
    short.push('…');
    short
}

#[cfg(test)]
mod tests {
    use super::super::tests::run;
    use super::super::{ResultRow, ResultTable};
    use super::*;

    fn table(names: &[&str]) -> ResultTable {
        let rows = names.iter().map(|n| ResultRow::new(*n, vec![run(0.95, Some(0.9))])).collect();
        ResultTable { rows }
    }

    fn starting(text: &str, with: &str) -> usize {
        text.lines().filter(|l| l.starts_with(with)).count()
    }

    #[test]
    fn one_block_looks_like_this() {
        let expected = "
           image   pixel  AUPRO  AUPRO   image   fit  inference    memory
category   AUROC   AUROC  @0.30  @0.05  F1-max     s   ms/image  peak MiB
────────  ──────  ──────  ─────  ─────  ──────  ────  ─────────  ────────
bolt      0.9500  0.9000    n/a    n/a     n/a  12.3        8.1       512
────────  ──────  ──────  ─────  ─────  ──────  ────  ─────────  ────────
mean      0.9500  0.9000    n/a    n/a     n/a  12.3        8.1       512
";
        assert_eq!(table(&["bolt"]).to_terminal(Some(80)), expected[1..]);
    }

    #[test]
    fn narrow_terminals_get_blocks_that_fit() {
        let table = table(&["bolt", "a rather long category"]);
        for width in [34, 40, 60, 79] {
            let text = table.to_terminal(Some(width));
            assert!(text.lines().all(|l| l.width() <= width), "width {width}:\n{text}");
            assert_eq!(starting(&text, "mean"), starting(&text, "category"), "{text}");
        }
        assert_eq!(starting(&table.to_terminal(Some(1)), "mean"), 8, "one column a block at the least");
        assert!(table.to_terminal(None).lines().count() == 7);
    }

    #[test]
    fn digits_stand_in_line_beside_a_marked_mean() {
        let mut table = table(&["a", "b"]);
        table.rows[0].runs[0].fit_seconds = Some(1234.5);
        table.rows.push(ResultRow::failed("c", "no images"));
        let text = table.to_terminal(None);
        let points = |line: usize| -> Vec<usize> {
            text.lines()
                .nth(line)
                .unwrap()
                .char_indices()
                .filter(|(_, c)| *c == '.')
                .map(|(i, _)| i)
                .collect()
        };
        assert_eq!(points(3), points(4), "{text}");
        assert_eq!(points(3), points(7), "{text}");
    }

    #[test]
    fn wide_and_odd_names_stay_aligned() {
        let names = ["螺丝", "größe", "a\nb\u{1b}[31m", &"x".repeat(90), &"丝".repeat(40)];
        let text = table(&names).to_terminal(None);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[1..].iter().all(|l| l.width() == lines[2].width()), "{text}");
        assert!(!text.contains('\u{1b}') && text.contains('…'));
    }
}
