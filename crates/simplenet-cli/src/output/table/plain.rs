//! A small table as text in the style of the table of results: names to the left, cells to the right, a rule under the
//! headings and above a last row that sums up the others.

use unicode_width::UnicodeWidthStr;

use super::terminal::aligned_line;

/// What the last row is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LastRow {
    /// One as the others.
    Ordinary,
    /// It sums them up: a rule stands above it.
    SumsUp,
}

/// Aligned lines, the last one ending in a newline; every row has as many cells as there are headings.
pub fn plain_table(headings: &[&str], rows: &[(&str, Vec<String>)], last: LastRow) -> String {
    let name_width = rows.iter().map(|(name, _)| name.width()).max().unwrap_or(0);
    let widths: Vec<usize> = headings
        .iter()
        .enumerate()
        .map(|(column, heading)| {
            let cells = rows.iter().filter_map(|(_, cells)| cells.get(column));
            cells.map(|cell| cell.width()).fold(heading.width(), usize::max)
        })
        .collect();
    let line = |name: &str, cells: Vec<String>| {
        aligned_line(name, name_width, cells.into_iter().zip(widths.iter().copied()))
    };
    let rule = line(&"─".repeat(name_width), widths.iter().map(|&width| "─".repeat(width)).collect());
    let mut text = line("", headings.iter().map(|heading| heading.to_string()).collect());
    text += &rule;
    for (index, (name, cells)) in rows.iter().enumerate() {
        if last == LastRow::SumsUp && index > 0 && index + 1 == rows.len() {
            text += &rule;
        }
        text += &line(name, cells.clone());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_like_this() {
        let cells = |texts: [&str; 2]| texts.map(String::from).to_vec();
        let rows = [
            ("größe", cells(["1.00", "12.50"])),
            ("b", cells(["10.00", "n/a"])),
            ("sum", cells(["11.00", "13"])),
        ];
        let expected = "
         p50    p99
─────  ─────  ─────
größe   1.00  12.50
b      10.00    n/a
─────  ─────  ─────
sum    11.00     13
";
        assert_eq!(plain_table(&["p50", "p99"], &rows, LastRow::SumsUp), expected[1..]);
        let small = "   p50\n─  ───\na    1\nb    2\n";
        let rows = [("a", vec!["1".into()]), ("b", vec!["2".into()])];
        assert_eq!(plain_table(&["p50"], &rows, LastRow::Ordinary), small);
        assert_eq!(plain_table(&["p50"], &rows[..1], LastRow::SumsUp), small[..small.len() - 7]);
    }
}
