//! The results: one Markdown table a network for people, JSON with every single time for programs.

use std::{fs, time::SystemTime};

use serde::Serialize;
use simplenet_cli::machine;
use simplenet_train::config::Preset;

use super::{Method, Role, subject::Subject};

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
    /// CPU, threads, system.
    machine: String,
    cores: usize,
    /// Those of [`INSTRUCTION_SETS`] that it has; empty where the system does not tell.
    instruction_sets: Vec<&'static str>,
    /// UTC, year-month-day.
    date: String,
    warm_up_rounds: usize,
    rounds: usize,
    /// Between two turns; 0 for runs back to back.
    pause_ms: u64,
    networks: Vec<Network>,
}

/// The methods of one network.
#[derive(Debug, Serialize)]
struct Network {
    backbone: &'static str,
    preset: Preset,
    /// Height and width of the image, in pixels.
    image: [usize; 2],
    rows: Vec<Row>,
}

/// One method.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    method: String,
    #[serde(skip)]
    role: Role,
    computes: &'static str,
    /// From our reference network's numbers, over the largest of them; null for that path itself.
    deviation: Option<f64>,
    median_ms: f64,
    min_ms: f64,
    /// The median over that of our compiled network in f32.
    ratio: f64,
    /// The engine that this is compared with, if there is one: OpenVINO in f32 for f32, in bf16 for bf16 and int8.
    rival: Option<Rival>,
    /// Every counted run, in order.
    ms: Vec<f64>,
}

/// The engine of the same kind.
#[derive(Debug, Serialize)]
struct Rival {
    method: String,
    /// Its median over ours: above 1 ours is faster.
    ratio: f64,
}

impl Row {
    /// A method and the milliseconds of its counted runs, at least one.
    pub(super) fn new(method: Method<'_>, ms: Vec<f64>) -> Self {
        let Method { name, role, computes, deviation, .. } = method;
        let min_ms = ms.iter().copied().fold(f64::INFINITY, f64::min);
        let median_ms = median(&ms);
        Self { method: name, role, computes, deviation, median_ms, min_ms, ratio: 1.0, rival: None, ms }
    }
}

impl Report {
    /// A report without results of this machine, today.
    pub(super) fn new(warm_up_rounds: usize, rounds: usize, pause_ms: u64) -> Self {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let days = SystemTime::UNIX_EPOCH.elapsed().map_or(0, |time| time.as_secs() / 86_400);
        Self {
            machine: machine::description(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            instruction_sets: instruction_sets(&cpuinfo),
            date: date(days),
            warm_up_rounds,
            rounds,
            pause_ms,
            networks: vec![],
        }
    }

    /// Adds a network's methods.
    pub(super) fn add(&mut self, subject: &Subject, mut rows: Vec<Row>) {
        compare(&mut rows);
        let image = [subject.side; 2];
        self.networks.push(Network { backbone: subject.id.name(), preset: subject.preset, image, rows });
    }

    /// The machine and a table a network.
    pub(super) fn to_markdown(&self) -> String {
        let mut text = format!(
            "{}, {} cores; {}; {}.\nOne image a run, {} rounds after {} that do not count; {}.\n",
            self.machine,
            self.cores,
            self.instruction_sets.join(" "),
            self.date,
            self.rounds,
            self.warm_up_rounds,
            match self.pause_ms {
                0 => "each method back to back".into(),
                ms => format!("methods take turns, {ms} ms apart"),
            }
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
        let [height, width] = self.image;
        let mut text = format!("\n{}, {preset} preset, {width}×{height}:\n\n", self.backbone);
        text += "| method | what a run computes | median | fastest | median / ours in f32 | OpenVINO / it | largest deviation |\n";
        text += "| --- | --- | ---: | ---: | ---: | ---: | ---: |\n";
        for Row { method, computes, deviation, median_ms, min_ms, ratio, rival, .. } in &self.rows {
            let deviation = deviation.map(|value| format!("{value:.0e}")).unwrap_or_default();
            let rival = rival.as_ref().map(|rival| format!("{:.2}", rival.ratio)).unwrap_or_default();
            text += &format!(
                "| {method} | {computes} | {median_ms:.1} ms | {min_ms:.1} ms | {ratio:.2} | {rival} | {deviation} |\n"
            );
        }
        text
    }
}

/// Holds every method against our compiled network in f32, and what is ours against the engine of the same kind.
fn compare(rows: &mut [Row]) {
    let is_base = |row: &&Row| matches!(row.role, Role::Ours { precision: "f32", .. });
    let base = rows.iter().find(is_base).map_or(1.0, |row| row.median_ms);
    let engine = |row: &Row| match &row.role {
        Role::Peer { engine } => Some((engine.clone(), row.method.clone(), row.median_ms)),
        Role::Reference | Role::Ours { .. } => None,
    };
    let engines: Vec<_> = rows.iter().filter_map(engine).collect();
    for row in rows {
        row.ratio = row.median_ms / base;
        let Role::Ours { rival, .. } = row.role else { continue };
        let found = engines.iter().find(|(engine, ..)| engine == rival);
        row.rival = found
            .map(|(_, method, median_ms)| Rival { method: method.clone(), ratio: median_ms / row.median_ms });
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
        let row = |role: Role, deviation, median_ms| Row {
            method: "a".into(),
            role,
            computes: "x",
            deviation,
            median_ms,
            min_ms: 1.0,
            ratio: 1.0,
            rival: None,
            ms: vec![],
        };
        let ours = |precision, rival| Role::Ours { precision, rival };
        let peer = |engine: &str| Role::Peer { engine: engine.into() };
        let mut rows = vec![
            row(Role::Reference, None, 200.0),
            row(ours("f32", "other-f32"), Some(2.4e-6), 20.04),
            row(ours("bf16", "other-bf16"), Some(1e-2), 16.0),
            row(ours("int8", "other-bf16"), Some(3e-2), 8.0),
            row(peer("other-f32"), Some(1e-6), 30.06),
        ];
        let table = |rows: Vec<Row>| {
            Network { backbone: "resnet18", preset: Preset::Paper, image: [288, 288], rows }.to_markdown()
        };
        compare(&mut rows);
        assert!(rows[2].rival.is_none(), "an engine that was not run");
        rows.push(row(peer("other-bf16"), Some(9e-3), 12.0));
        compare(&mut rows);
        let want = "\nresnet18, paper preset, 288×288:\n\n\
            | method | what a run computes | median | fastest | median / ours in f32 | OpenVINO / it | largest deviation |\n\
            | --- | --- | ---: | ---: | ---: | ---: | ---: |\n\
            | a | x | 200.0 ms | 1.0 ms | 9.98 |  |  |\n\
            | a | x | 20.0 ms | 1.0 ms | 1.00 | 1.50 | 2e-6 |\n\
            | a | x | 16.0 ms | 1.0 ms | 0.80 | 0.75 | 1e-2 |\n\
            | a | x | 8.0 ms | 1.0 ms | 0.40 | 1.50 | 3e-2 |\n\
            | a | x | 30.1 ms | 1.0 ms | 1.50 |  | 1e-6 |\n\
            | a | x | 12.0 ms | 1.0 ms | 0.60 |  | 9e-3 |\n";
        assert_eq!(table(rows), want);
    }
}
