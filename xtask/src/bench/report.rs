//! The results: one Markdown table a network for people, JSON with every single time for programs.

use std::{fs, time::SystemTime};

use serde::Serialize;
use simplenet_cli::machine;
use simplenet_train::config::Preset;

use super::{
    Method,
    subject::{SIDE, Subject},
};

/// Instruction sets that decide how fast a convolution can be, as Linux names them.
const INSTRUCTION_SETS: [&str; 10] = [
    "avx2",
    "fma",
    "avx_vnni",
    "avx512f",
    "avx512_vnni",
    "avx512_bf16",
    "avx512_fp16",
    "amx_tile",
    "amx_int8",
    "amx_bf16",
];

/// A whole run of the benchmark.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// Processor, threads, system.
    machine: String,
    cores: usize,
    /// Those of [`INSTRUCTION_SETS`] that it has; empty where the system does not tell.
    instruction_sets: Vec<&'static str>,
    /// UTC, year-month-day.
    date: String,
    /// Height and width of the image, in pixels.
    image: [usize; 2],
    warm_up_rounds: usize,
    rounds: usize,
    networks: Vec<Network>,
}

/// The methods of one network.
#[derive(Debug, Serialize)]
struct Network {
    backbone: &'static str,
    preset: Preset,
    rows: Vec<Row>,
}

/// One method.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    method: String,
    computes: &'static str,
    /// From our literal path's numbers, over the largest of them; null for that path itself.
    deviation: Option<f64>,
    median_ms: f64,
    min_ms: f64,
    /// The median over that of the last of ours, the fast one.
    ratio: f64,
    /// Every counted run, in order.
    ms: Vec<f64>,
}

impl Row {
    /// A method and the milliseconds of its counted runs, at least one.
    pub(super) fn new(method: Method<'_>, ms: Vec<f64>) -> Self {
        let Method { name, computes, deviation, .. } = method;
        let min_ms = ms.iter().copied().fold(f64::INFINITY, f64::min);
        Self { method: name, computes, deviation, median_ms: median(&ms), min_ms, ratio: 1.0, ms }
    }
}

impl Report {
    /// A report without results of this machine, today.
    pub(super) fn new(warm_up_rounds: usize, rounds: usize) -> Self {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let days = SystemTime::UNIX_EPOCH.elapsed().map_or(0, |time| time.as_secs() / 86_400);
        Self {
            machine: machine::description(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            instruction_sets: instruction_sets(&cpuinfo),
            date: date(days),
            image: [SIDE, SIDE],
            warm_up_rounds,
            rounds,
            networks: vec![],
        }
    }

    /// Adds a network's methods, of which the first `ours` are ours; ratios are to the last of these.
    pub(super) fn add(&mut self, subject: &Subject, ours: usize, mut rows: Vec<Row>) {
        let base = rows[..ours].last().map_or(1.0, |row| row.median_ms);
        rows.iter_mut().for_each(|row| row.ratio = row.median_ms / base);
        self.networks.push(Network { backbone: subject.id.name(), preset: subject.preset, rows });
    }

    /// The machine and a table a network.
    pub(super) fn to_markdown(&self) -> String {
        let mut text = format!(
            "{}, {} cores; {}; {}.\nOne {}×{} image a run, {} rounds after {} that do not count.\n",
            self.machine,
            self.cores,
            self.instruction_sets.join(" "),
            self.date,
            self.image[0],
            self.image[1],
            self.rounds,
            self.warm_up_rounds
        );
        self.networks.iter().for_each(|network| text += &network.to_markdown());
        text
    }
}

impl Network {
    fn to_markdown(&self) -> String {
        let preset = match self.preset {
            Preset::Default => "default",
            Preset::Paper => "paper",
        };
        let mut text = format!("\n{}, {preset} preset:\n\n", self.backbone);
        text += "| method | what a run computes | median | fastest | median / ours | largest deviation |\n";
        text += "| --- | --- | ---: | ---: | ---: | ---: |\n";
        for Row { method, computes, deviation, median_ms, min_ms, ratio, .. } in &self.rows {
            let deviation = deviation.map(|value| format!("{value:.0e}")).unwrap_or_default();
            text += &format!(
                "| {method} | {computes} | {median_ms:.1} ms | {min_ms:.1} ms | {ratio:.2} | {deviation} |\n"
            );
        }
        text
    }
}

/// The middle value, or the mean of the two in the middle; 0 for none.
fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match (sorted.len() / 2, sorted.len() % 2) {
        (0, 0) => 0.0,
        (middle, 1) => sorted[middle],
        (middle, _) => (sorted[middle - 1] + sorted[middle]) / 2.0,
    }
}

/// Those of [`INSTRUCTION_SETS`] in the text of /proc/cpuinfo.
fn instruction_sets(cpuinfo: &str) -> Vec<&'static str> {
    let Some(flags) = cpuinfo.lines().find(|line| line.starts_with("flags")) else { return vec![] };
    INSTRUCTION_SETS.into_iter().filter(|name| flags.split_whitespace().any(|flag| flag == *name)).collect()
}

/// The date that lies this many days after 1970-01-01 (Howard Hinnant, "chrono-compatible low-level date algorithms",
/// `civil_from_days`, for days that are not negative): years begin in March, so that the leap day is their last.
fn date(days: u64) -> String {
    const DAYS_TO_EPOCH: u64 = 719_468; // from 0000-03-01 to 1970-01-01
    const DAYS_IN_400_YEARS: u64 = 146_097;
    let days = days + DAYS_TO_EPOCH;
    let (era, day) = (days / DAYS_IN_400_YEARS, days % DAYS_IN_400_YEARS);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day_of_year + 2) / 153; // 0 is March
    let day_of_month = day_of_year - (153 * month + 2) / 5 + 1;
    let (month, next_year) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    format!("{:04}-{month:02}-{day_of_month:02}", year + era * 400 + next_year)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        for (values, want) in
            [(vec![], 0.0), (vec![3.0], 3.0), (vec![9.0, 1.0, 2.0], 2.0), (vec![4.0, 1.0, 2.0, 9.0], 3.0)]
        {
            assert_eq!(median(&values), want, "{values:?}");
        }
    }

    #[test]
    fn dates() {
        for (days, want) in [
            (0, "1970-01-01"),
            (31 + 28, "1970-03-01"),
            (11_016, "2000-02-29"),
            (20_779, "2026-11-22"),
            (20_780, "2026-11-23"),
            (20_818, "2026-12-31"),
            (20_819, "2027-01-01"),
        ] {
            assert_eq!(date(days), want, "{days}");
        }
    }

    #[test]
    fn instruction_sets_are_whole_words() {
        let cpuinfo = "model name\t: x\nflags\t\t: fpu fma avx512_bf16 avx2x avx512f\n";
        assert_eq!(instruction_sets(cpuinfo), ["fma", "avx512f", "avx512_bf16"]);
        assert!(instruction_sets("").is_empty());
    }

    #[test]
    fn a_table() {
        let row = |method: &str, deviation, median_ms, ratio| Row {
            method: method.into(),
            computes: "x",
            deviation,
            median_ms,
            min_ms: 1.0,
            ratio,
            ms: vec![],
        };
        let rows = vec![row("a", None, 20.0, 1.0), row("b", Some(2.4e-6), 10.04, 0.502)];
        let network = Network { backbone: "resnet18", preset: Preset::Paper, rows };
        let want = "\nresnet18, paper preset:\n\n\
            | method | what a run computes | median | fastest | median / ours | largest deviation |\n\
            | --- | --- | ---: | ---: | ---: | ---: |\n\
            | a | x | 20.0 ms | 1.0 ms | 1.00 |  |\n\
            | b | x | 10.0 ms | 1.0 ms | 0.50 | 2e-6 |\n";
        assert_eq!(network.to_markdown(), want);
    }
}
