//! The table as CSV (RFC 4180 quoting, UTF-8, lines end in a newline): full precision, for programs.
//!
//! Columns: `category`, `seeds`, then each column's key and, with several seeds, `<key>_std`, then `note` (why a
//! category failed; how many categories an incomplete mean covers). Missing numbers are `n/a`.

use super::{Column, MISSING, Measurement, ResultTable};

impl ResultTable {
    /// The whole file.
    pub fn to_csv(&self) -> String {
        let columns = self.columns();
        let seeds = self.rows.iter().map(|r| r.runs.len()).max().unwrap_or(0);
        let mut header = vec![String::from("category"), String::from("seeds")];
        for column in &columns {
            header.push(column.key().into());
            if seeds > 1 {
                header.push(format!("{}_std", column.key()));
            }
        }
        header.push("note".into());
        let mut text = csv_line(&header);
        for row in &self.rows {
            let note = row.failure.as_ref().map(|reason| format!("failed: {reason}")).unwrap_or_default();
            let cell = |c: Column| row.cell(c);
            text.push_str(&csv_line(&fields(&row.category, row.runs.len(), &columns, seeds, &cell, note)));
        }
        let incomplete: Vec<String> = columns
            .iter()
            .filter_map(|c| self.mean(*c).map(|m| (c, m.categories)))
            .filter(|(_, n)| *n < self.rows.len())
            .map(|(c, n)| format!("{} over {n} of {}", c.key(), self.rows.len()))
            .collect();
        let mean = |c: Column| self.mean(c).map(|m| m.measurement);
        text.push_str(&csv_line(&fields("mean", seeds, &columns, seeds, &mean, incomplete.join("; "))));
        text
    }
}

fn fields(
    name: &str,
    runs: usize,
    columns: &[Column],
    seeds: usize,
    cell: &dyn Fn(Column) -> Option<Measurement>,
    note: String,
) -> Vec<String> {
    let number = |value: Option<f64>| value.map_or(MISSING.to_string(), |v| format!("{v:.6}"));
    let mut fields = vec![name.to_string(), runs.to_string()];
    for column in columns {
        let measurement = cell(*column);
        fields.push(number(measurement.map(|m| m.mean)));
        if seeds > 1 {
            fields.push(number(measurement.and_then(|m| m.deviation)));
        }
    }
    fields.push(note);
    fields
}

/// One record: fields with a comma, a quote or a line break are quoted, quotes doubled.
pub fn csv_line(fields: &[String]) -> String {
    let quoted: Vec<String> = fields
        .iter()
        .map(|field| {
            if field.contains([',', '"', '\n', '\r']) {
                format!("\"{}\"", field.replace('"', "\"\""))
            } else {
                field.clone()
            }
        })
        .collect();
    quoted.join(",") + "\n"
}

#[cfg(test)]
mod tests {
    use super::super::tests::run;
    use super::super::{ResultRow, ResultTable};

    #[test]
    fn one_seed() {
        let table = ResultTable {
            rows: vec![
                ResultRow::new("bolt", vec![run(0.95, None)]),
                ResultRow::failed("a,\"b\"", "line one\nline two"),
            ],
        };
        let expected = "\
category,seeds,image_AUROC,pixel_AUROC,pixel_AUPRO,pixel_AUPRO_005,image_F1Max,fit_seconds,inference_ms_per_image,peak_memory_mib,note
bolt,1,0.950000,n/a,n/a,n/a,n/a,12.340000,8.060000,512.400000,
\"a,\"\"b\"\"\",0,n/a,n/a,n/a,n/a,n/a,n/a,n/a,n/a,\"failed: line one
line two\"
mean,1,0.950000,n/a,n/a,n/a,n/a,12.340000,8.060000,512.400000,image_AUROC over 1 of 2; fit_seconds over 1 of 2; inference_ms_per_image over 1 of 2; peak_memory_mib over 1 of 2
";
        assert_eq!(table.to_csv(), expected);
    }

    #[test]
    fn several_seeds_have_deviations() {
        let table = ResultTable { rows: vec![ResultRow::new("bolt", vec![run(0.9, None), run(1.0, None)])] };
        let csv = table.to_csv();
        let lines: Vec<Vec<&str>> = csv.lines().map(|l| l.split(',').collect()).collect();
        assert!(lines.iter().all(|l| l.len() == lines[0].len()));
        assert_eq!(lines[0][2..4], ["image_AUROC", "image_AUROC_std"]);
        assert_eq!(lines[1][1..6], ["2", "0.950000", "0.070711", "n/a", "n/a"]);
    }
}
