//! The table of results: one row a category, the mean last.
//!
//! In: for each category the numbers of one run per seed, any of them missing. Out: mean and, with several seeds,
//! sample standard deviation per cell, and the table as terminal text, Markdown, CSV or a grid of strings for HTML.
//! What is missing is `n/a` everywhere, never 0 or NaN.
//!
//! Rules. A cell needs its number from every seed. The last row averages, seed by seed, over the categories that
//! have the number; where that is not all of them, the cell carries `*` and a note under the table says how many.

mod csv;
mod grid;
mod markdown;
mod plain;
mod terminal;

pub use csv::csv_line;
pub use grid::{Cell, Grid};
pub use markdown::{escape, markdown_row, markdown_rule};
pub use plain::{LastRow, plain_table};
pub use terminal::terminal_width;

/// Shown for a number that does not exist.
pub const MISSING: &str = "n/a";

/// A column of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Column {
    /// Area under the ROC curve of image scores.
    ImageAuroc,
    /// Area under the ROC curve of pixel scores.
    PixelAuroc,
    /// Area under the per-region-overlap curve up to a false-positive rate of 0.30.
    Aupro30,
    /// The same up to 0.05.
    Aupro05,
    /// Best F1 of image scores.
    ImageF1Max,
    /// Seconds from the first photograph read to the model file written.
    FitSeconds,
    /// Milliseconds for one photograph, from file to verdict.
    InferenceMilliseconds,
    /// Peak resident memory of the run, MiB.
    PeakMemoryMib,
    /// Image AUROC of the epoch that is best on the TEST set: the paper's protocol, for comparison only.
    OracleImageAuroc,
    /// PaDiM on the same features: image AUROC.
    PadimImageAuroc,
    /// PaDiM on the same features: AUPRO up to 0.30.
    PadimAupro30,
    /// PatchCore on the same features: image AUROC.
    PatchCoreImageAuroc,
    /// PatchCore on the same features: AUPRO up to 0.30.
    PatchCoreAupro30,
}

impl Column {
    /// All columns in the table's order.
    pub const ALL: [Self; 13] = [
        Self::ImageAuroc,
        Self::PixelAuroc,
        Self::Aupro30,
        Self::Aupro05,
        Self::ImageF1Max,
        Self::FitSeconds,
        Self::InferenceMilliseconds,
        Self::PeakMemoryMib,
        Self::OracleImageAuroc,
        Self::PadimImageAuroc,
        Self::PadimAupro30,
        Self::PatchCoreImageAuroc,
        Self::PatchCoreAupro30,
    ];

    /// Columns that a table has only when some category has the number.
    const OPTIONAL: [Self; 5] = [
        Self::OracleImageAuroc,
        Self::PadimImageAuroc,
        Self::PadimAupro30,
        Self::PatchCoreImageAuroc,
        Self::PatchCoreAupro30,
    ];

    /// The heading, in two lines for narrow columns.
    pub fn heading(self) -> [&'static str; 2] {
        self.names().0
    }

    /// The heading in one line.
    pub fn title(self) -> &'static str {
        self.names().1
    }

    /// The column's name in the CSV; metrics are called as in `metrics.json`.
    pub fn key(self) -> &'static str {
        self.names().2
    }

    /// Heading, title and key.
    fn names(self) -> ([&'static str; 2], &'static str, &'static str) {
        match self {
            Self::ImageAuroc => (["image", "AUROC"], "image AUROC", "image_AUROC"),
            Self::PixelAuroc => (["pixel", "AUROC"], "pixel AUROC", "pixel_AUROC"),
            Self::Aupro30 => (["AUPRO", "@0.30"], "AUPRO@0.30", "pixel_AUPRO"),
            Self::Aupro05 => (["AUPRO", "@0.05"], "AUPRO@0.05", "pixel_AUPRO_005"),
            Self::ImageF1Max => (["image", "F1-max"], "image F1-max", "image_F1Max"),
            Self::FitSeconds => (["fit", "s"], "fit s", "fit_seconds"),
            Self::InferenceMilliseconds => {
                (["inference", "ms/image"], "inference ms/image", "inference_ms_per_image")
            }
            Self::PeakMemoryMib => (["memory", "peak MiB"], "peak memory MiB", "peak_memory_mib"),
            Self::OracleImageAuroc => (["oracle", "image AUROC"], "oracle image AUROC", "oracle_image_AUROC"),
            Self::PadimImageAuroc => (["PaDiM", "image AUROC"], "PaDiM image AUROC", "padim_image_AUROC"),
            Self::PadimAupro30 => (["PaDiM", "AUPRO@0.30"], "PaDiM AUPRO@0.30", "padim_pixel_AUPRO"),
            Self::PatchCoreImageAuroc => {
                (["PatchCore", "image AUROC"], "PatchCore image AUROC", "patch_core_image_AUROC")
            }
            Self::PatchCoreAupro30 => {
                (["PatchCore", "AUPRO@0.30"], "PatchCore AUPRO@0.30", "patch_core_pixel_AUPRO")
            }
        }
    }

    /// Whether the column measures accuracy (0..=1), as opposed to time or memory.
    pub fn is_metric(self) -> bool {
        !matches!(self, Self::FitSeconds | Self::InferenceMilliseconds | Self::PeakMemoryMib)
    }

    /// A cell for people: accuracy shows its deviation; time and memory show the mean alone.
    pub fn format(self, Measurement { mean, deviation }: Measurement) -> String {
        let decimals = self.decimals();
        match deviation {
            Some(deviation) if self.is_metric() => format!("{mean:.decimals$} ± {deviation:.decimals$}"),
            _ => format!("{mean:.decimals$}"),
        }
    }

    fn decimals(self) -> usize {
        match self {
            Self::PeakMemoryMib => 0,
            Self::FitSeconds | Self::InferenceMilliseconds => 1,
            _ => 4,
        }
    }
}

/// The numbers of one training run (one category, one seed).
#[derive(Debug, Clone, Copy, Default, PartialEq)]
#[allow(missing_docs)] // each field is the column of its name
pub struct RunNumbers {
    pub image_auroc: Option<f64>,
    pub pixel_auroc: Option<f64>,
    pub aupro_30: Option<f64>,
    pub aupro_05: Option<f64>,
    pub image_f1_max: Option<f64>,
    pub fit_seconds: Option<f64>,
    pub inference_milliseconds: Option<f64>,
    pub peak_memory_mib: Option<f64>,
    pub oracle_image_auroc: Option<f64>,
    pub padim_image_auroc: Option<f64>,
    pub padim_aupro_30: Option<f64>,
    pub patch_core_image_auroc: Option<f64>,
    pub patch_core_aupro_30: Option<f64>,
}

impl RunNumbers {
    /// The number of one column; `None` when missing or not finite.
    pub fn get(&self, column: Column) -> Option<f64> {
        let value = match column {
            Column::ImageAuroc => self.image_auroc,
            Column::PixelAuroc => self.pixel_auroc,
            Column::Aupro30 => self.aupro_30,
            Column::Aupro05 => self.aupro_05,
            Column::ImageF1Max => self.image_f1_max,
            Column::FitSeconds => self.fit_seconds,
            Column::InferenceMilliseconds => self.inference_milliseconds,
            Column::PeakMemoryMib => self.peak_memory_mib,
            Column::OracleImageAuroc => self.oracle_image_auroc,
            Column::PadimImageAuroc => self.padim_image_auroc,
            Column::PadimAupro30 => self.padim_aupro_30,
            Column::PatchCoreImageAuroc => self.patch_core_image_auroc,
            Column::PatchCoreAupro30 => self.patch_core_aupro_30,
        };
        value.filter(|v| v.is_finite())
    }
}

/// One category.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ResultRow {
    /// The category's name.
    pub category: String,
    /// One entry a seed, in the order of the seeds.
    pub runs: Vec<RunNumbers>,
    /// Why the category has no result, when it failed.
    pub failure: Option<String>,
}

/// The table.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ResultTable {
    /// One row a category; the mean is computed.
    pub rows: Vec<ResultRow>,
}

/// Mean over seeds, and how much it varies.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measurement {
    /// Arithmetic mean.
    pub mean: f64,
    /// Sample standard deviation (divisor n − 1); `None` for a single seed.
    pub deviation: Option<f64>,
}

/// A cell of the last row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MeanCell {
    /// Mean over categories (and seeds).
    pub measurement: Measurement,
    /// How many categories have the number.
    pub categories: usize,
}

impl Measurement {
    /// Of the values of all seeds; `None` without any.
    pub fn of(values: &[f64]) -> Option<Self> {
        if values.is_empty() {
            return None;
        }
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let deviation = (values.len() > 1)
            .then(|| (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0)).sqrt());
        Some(Self { mean, deviation })
    }
}

impl ResultRow {
    /// A category that succeeded.
    pub fn new(category: impl Into<String>, runs: Vec<RunNumbers>) -> Self {
        Self { category: category.into(), runs, failure: None }
    }

    /// A category that failed.
    pub fn failed(category: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { category: category.into(), runs: Vec::new(), failure: Some(reason.into()) }
    }

    /// One cell; `None` unless every seed has the number.
    pub fn cell(&self, column: Column) -> Option<Measurement> {
        Measurement::of(&self.values(column)?)
    }

    fn values(&self, column: Column) -> Option<Vec<f64>> {
        if self.failure.is_some() {
            return None;
        }
        self.runs.iter().map(|run| run.get(column)).collect()
    }
}

impl ResultTable {
    /// The columns to show: all but the oracle's and the baselines', which appear only when some category has them.
    pub fn columns(&self) -> Vec<Column> {
        let measured = |column: Column| self.rows.iter().any(|row| row.cell(column).is_some());
        Column::ALL.into_iter().filter(|&c| !Column::OPTIONAL.contains(&c) || measured(c)).collect()
    }

    /// One cell of the last row; `None` when no category has the number.
    pub fn mean(&self, column: Column) -> Option<MeanCell> {
        let rows: Vec<Vec<f64>> =
            self.rows.iter().filter_map(|r| r.values(column)).filter(|v| !v.is_empty()).collect();
        let seeds = rows.first()?.len();
        let categories = rows.len();
        let measurement = if rows.iter().all(|r| r.len() == seeds) {
            let of_seed = |s: usize| rows.iter().map(|r| r[s]).sum::<f64>() / categories as f64;
            Measurement::of(&(0..seeds).map(of_seed).collect::<Vec<_>>())?
        } else {
            // Categories with different numbers of seeds: the mean of their means, without a deviation.
            let means: Vec<f64> = rows.iter().filter_map(|r| Measurement::of(r)).map(|m| m.mean).collect();
            Measurement { mean: Measurement::of(&means)?.mean, deviation: None }
        };
        Some(MeanCell { measurement, categories })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn run(auroc: f64, pixel: Option<f64>) -> RunNumbers {
        RunNumbers {
            image_auroc: Some(auroc),
            pixel_auroc: pixel,
            fit_seconds: Some(12.34),
            inference_milliseconds: Some(8.06),
            peak_memory_mib: Some(512.4),
            ..RunNumbers::default()
        }
    }

    #[test]
    fn mean_and_sample_deviation() {
        let m = Measurement::of(&[0.9, 0.95, 1.0]).unwrap();
        assert!((m.mean - 0.95).abs() < 1e-12 && (m.deviation.unwrap() - 0.05).abs() < 1e-12);
        assert_eq!(Measurement::of(&[0.5]).unwrap().deviation, None);
        assert_eq!(Measurement::of(&[]), None);
    }

    #[test]
    fn missing_and_not_finite_are_the_same() {
        let row = ResultRow::new("a", vec![run(f64::NAN, Some(0.9)), run(0.8, None)]);
        assert_eq!(row.cell(Column::ImageAuroc), None);
        assert_eq!(row.cell(Column::PixelAuroc), None, "one seed lacks it");
        assert_eq!(row.cell(Column::Aupro30), None);
        assert_eq!(ResultRow::failed("b", "no images").cell(Column::ImageAuroc), None);
        assert_eq!(ResultRow::new("c", vec![]).cell(Column::ImageAuroc), None);
    }

    #[test]
    fn the_last_row_averages_seed_by_seed() {
        // Per-seed means are 0.8 and 0.9: their deviation is 0.0707, although each category varies differently.
        let table = ResultTable {
            rows: vec![
                ResultRow::new("a", vec![run(0.7, None), run(1.0, None)]),
                ResultRow::new("b", vec![run(0.9, Some(0.5)), run(0.8, Some(0.7))]),
                ResultRow::failed("c", "x"),
            ],
        };
        let image = table.mean(Column::ImageAuroc).unwrap();
        assert_eq!(image.categories, 2);
        assert!((image.measurement.mean - 0.85).abs() < 1e-12);
        assert!((image.measurement.deviation.unwrap() - 0.005f64.sqrt()).abs() < 1e-12);
        assert_eq!(table.mean(Column::PixelAuroc).unwrap().categories, 1);
        assert_eq!(table.mean(Column::Aupro05), None);
    }

    #[test]
    fn different_numbers_of_seeds_have_no_common_deviation() {
        let table = ResultTable {
            rows: vec![
                ResultRow::new("a", vec![run(0.8, None), run(0.9, None)]),
                ResultRow::new("b", vec![run(0.95, None)]),
            ],
        };
        let mean = table.mean(Column::ImageAuroc).unwrap().measurement;
        assert!((mean.mean - 0.9).abs() < 1e-12);
        assert_eq!(mean.deviation, None);
    }

    #[test]
    fn optional_columns_appear_only_when_measured() {
        let mut table = ResultTable { rows: vec![ResultRow::new("a", vec![run(0.8, None)])] };
        assert_eq!(table.columns().len(), 8);
        table.rows[0].runs[0].oracle_image_auroc = Some(0.9);
        assert_eq!(table.columns().last(), Some(&Column::OracleImageAuroc));
        table.rows[0].runs[0].padim_image_auroc = Some(0.95);
        assert_eq!(table.columns()[8..], [Column::OracleImageAuroc, Column::PadimImageAuroc]);
    }
}
