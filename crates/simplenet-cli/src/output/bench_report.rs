//! What `bench` measured: its fields are those of the JSON file, its text is for people.
//!
//! Times are wall-clock milliseconds, memory is in MiB, throughput in photographs a second.

use serde::Serialize;
use simplenet_inference::InferencePrecision;
use simplenet_model::device::CPU;

use super::{
    prediction::JsonPath,
    table::{LastRow, MISSING, plain_table},
};

/// Up to so many inspections, the 99th percentile lies between the slowest two.
const FEW: usize = 101;

/// All of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BenchReport {
    /// Name and version of the program.
    pub program: String,
    /// What was measured.
    pub model: BenchedModel,
    /// In which numbers.
    pub precision: InferencePrecision,
    /// Where the network ran: `CPU`, or a GPU's name.
    pub device: String,
    /// On what.
    pub machine: BenchedMachine,
    /// With what.
    pub photographs: Photographs,
    /// Once: from the model file to the first verdict.
    pub start_milliseconds: Start,
    /// One photograph after the other, all threads on each.
    pub one_at_a_time: OneAtATime,
    /// Several photographs at once, each on one thread; null where there is only one thread, and on a GPU.
    pub several_at_once: Option<SeveralAtOnce>,
    /// On a GPU: batches, in the order in which they were asked for, without those that its memory does not hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub batches: Vec<Batch>,
}

/// The model.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BenchedModel {
    /// Its file.
    #[serde(flatten)]
    pub path: JsonPath,
    /// The first 12 digits of its content's hash.
    pub model_id: String,
    /// Size of the file.
    pub file_bytes: u64,
    /// Its frozen network.
    pub backbone: String,
    /// Width and height of the network's input, in pixels.
    pub network_size: [u32; 2],
    /// The preset that its settings are nearest to; null where they cannot be read.
    pub preset: Option<NearestPreset>,
}

/// A preset, and where a model's settings leave it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NearestPreset {
    /// `default` or `paper`.
    pub name: String,
    /// Names of the settings that differ; the seed is not looked at.
    pub changed: Vec<String>,
}

/// The machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BenchedMachine {
    /// CPU, threads, system.
    pub description: String,
    /// The highest instruction set here that the network can use.
    pub instruction_set: String,
    /// Threads in use.
    pub threads: usize,
}

/// The photographs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Photographs {
    /// How many there were.
    pub found: usize,
    /// How many of them were inspected, once or several times.
    pub used: usize,
    /// Width and height of the one with the fewest pixels.
    pub smallest: [u32; 2],
    /// Width and height of the one with the most.
    pub largest: [u32; 2],
}

/// The way to the first verdict.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Start {
    /// Opening the GPU; absent on the CPU.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub open: Option<f64>,
    /// Reading and checking the model file, building the network.
    pub load: f64,
    /// Compiling the network for this machine.
    pub compile: f64,
    /// The first photograph, file to regions.
    pub first_inspection: f64,
    /// All of them.
    pub to_first_verdict: f64,
}

/// One photograph after the other.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct OneAtATime {
    /// Inspections that were measured.
    pub inspections: usize,
    /// How long each part took.
    pub milliseconds: Parts,
    /// Photographs a second, file to regions: the inverse of the mean total.
    pub images_per_second: f64,
    /// Highest memory use from the start of the process to the end of this; null where the system does not tell.
    pub peak_memory_mib: Option<f64>,
}

/// Several photographs at once.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct SeveralAtOnce {
    /// How many at once.
    pub at_once: usize,
    /// Inspections that were measured.
    pub inspections: usize,
    /// Photographs a second, file to regions.
    pub images_per_second: f64,
    /// Highest memory use from the start of the process to the end; null where the system does not tell.
    pub peak_memory_mib: Option<f64>,
}

/// Batches of one size on a GPU.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Batch {
    /// Photographs at once.
    pub batch: usize,
    /// The network alone: from the photographs' bytes, at its size and in the machine's memory, to scores and maps there.
    pub network: BatchedNetwork,
    /// Whole inspections: from files to regions, several groups of photographs on their way at once, as in `infer`.
    pub inspection: BatchedInspection,
}

/// The network alone, batch after batch.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct BatchedNetwork {
    /// Batches that were measured.
    pub runs: usize,
    /// How long a batch took.
    pub milliseconds: BatchTimes,
    /// Photographs a second: the batch over the mean time.
    pub images_per_second: f64,
}

/// How the time of a batch is distributed, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct BatchTimes {
    /// Median.
    pub p50: f64,
    /// 95 of 100 take no longer.
    pub p95: f64,
    /// The longest.
    pub max: f64,
}

/// Whole inspections in batches.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct BatchedInspection {
    /// Inspections that were measured.
    pub inspections: usize,
    /// Photographs a second.
    pub images_per_second: f64,
}

/// The parts of an inspection.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Parts {
    /// Reading and decoding the file.
    pub decode: Percentiles,
    /// Resizing and cropping.
    pub preprocess: Percentiles,
    /// Normalising, backbone and head.
    pub network: Percentiles,
    /// Maps, score and regions.
    pub postprocess: Percentiles,
    /// The four together, inspection by inspection: not the sum of the rows above.
    pub total: Percentiles,
}

/// How a time is distributed, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Percentiles {
    /// Median.
    pub p50: f64,
    /// 95 of 100 take no longer.
    pub p95: f64,
    /// 99 of 100 take no longer.
    pub p99: f64,
    /// The longest.
    pub max: f64,
}

impl BenchReport {
    /// The text for people; ends in a newline.
    pub fn to_terminal(&self) -> String {
        let Self { model, precision, machine, photographs, start_milliseconds: start, one_at_a_time, .. } =
            self;
        let mut text = String::new();
        let mut row = |name: &str, value: String| text += &format!("{name:<13}{value}\n");
        let mebibytes = model.file_bytes as f64 / f64::from(1 << 20);
        row("model", format!("{}, {mebibytes:.1} MiB", model.path.text()));
        let preset = model.preset.as_ref().map_or(format!("preset {MISSING}"), NearestPreset::to_terminal);
        row("", format!("{}, {} pixels, {preset}", model.backbone, size(model.network_size)));
        row(
            "precision",
            if self.device == CPU {
                precision.name().into()
            } else {
                format!("{}, on {}", precision.name(), self.device)
            },
        );
        row("machine", format!("{}; {}", machine.description, machine.instruction_set));
        row("photographs", photographs.to_terminal());
        row(
            "start",
            format!(
                "model file to first verdict {:.1} ms: {}load {:.1}, compile {:.1}, first inspection {:.1}",
                start.to_first_verdict,
                start.open.map_or(String::new(), |open| format!("GPU {open:.1}, ")),
                start.load,
                start.compile,
                start.first_inspection
            ),
        );
        text += &format!("\n{} inspections, one at a time, in milliseconds:\n\n", one_at_a_time.inspections);
        text += &one_at_a_time.milliseconds.to_terminal();
        text.push('\n');
        if one_at_a_time.inspections <= FEW {
            let note = "p99 of so few lies between the slowest two; --repeats 1000 makes it firmer";
            text += &format!("{note}\n\n");
        }
        let several = self.several_at_once;
        let beside = |value: &dyn Fn(SeveralAtOnce) -> String| {
            several.map_or(String::new(), |s| format!(", {} {} at once", value(s), s.at_once))
        };
        let rate = |rate: f64| format!("{rate:.1} images/s");
        let other = beside(&|several| rate(several.images_per_second));
        text += &format!("throughput   {} one at a time{other}\n", rate(one_at_a_time.images_per_second));
        let memory = |mib: Option<f64>| mib.map_or(MISSING.to_string(), |mib| format!("{mib:.0} MiB"));
        let other = beside(&|several| memory(several.peak_memory_mib));
        text += &format!("peak memory  {} one at a time{other}\n", memory(one_at_a_time.peak_memory_mib));
        text + &batch_table(&self.batches)
    }
}

impl NearestPreset {
    fn to_terminal(&self) -> String {
        if self.changed.is_empty() {
            format!("{} preset", self.name)
        } else {
            format!("{} preset but for {}", self.name, self.changed.join(", "))
        }
    }
}

impl Photographs {
    fn to_terminal(self) -> String {
        let Self { found, used, smallest, largest } = self;
        let count = if used < found { format!("{used} of {found}") } else { found.to_string() };
        if smallest == largest {
            format!("{count}, {} pixels", size(smallest))
        } else {
            format!("{count}, {} to {} pixels", size(smallest), size(largest))
        }
    }
}

impl Parts {
    fn to_terminal(self) -> String {
        let cells = |Percentiles { p50, p95, p99, max }: Percentiles| -> Vec<String> {
            [p50, p95, p99, max].map(|ms| format!("{ms:.2}")).to_vec()
        };
        let Self { decode, preprocess, network, postprocess, total } = self;
        let rows = [
            ("decode", cells(decode)),
            ("preprocess", cells(preprocess)),
            ("network", cells(network)),
            ("postprocess", cells(postprocess)),
            ("total", cells(total)),
        ];
        plain_table(&["p50", "p95", "p99", "max"], &rows, LastRow::SumsUp)
    }
}

/// Nothing for none.
fn batch_table(batches: &[Batch]) -> String {
    let Some(first) = batches.first() else { return String::new() };
    let cells = |Batch { network, inspection, .. }: &Batch| -> Vec<String> {
        let BatchTimes { p50, p95, max } = network.milliseconds;
        let times = [p50, p95, max].map(|ms| format!("{ms:.2}"));
        let rates =
            [network.images_per_second, inspection.images_per_second].map(|rate| format!("{rate:.1}"));
        [&times[..], &rates[..]].concat()
    };
    let names: Vec<String> = batches.iter().map(|batch| format!("batch of {}", batch.batch)).collect();
    let rows: Vec<(&str, Vec<String>)> =
        names.iter().map(String::as_str).zip(batches.iter().map(cells)).collect();
    let headings = ["p50", "p95", "max", "images/s", "images/s from files"];
    format!(
        "\n{} runs of the network alone, bytes to maps, in milliseconds; and inspections from files:\n\n{}",
        first.network.runs,
        plain_table(&headings, &rows, LastRow::Ordinary)
    )
}

fn size([width, height]: [u32; 2]) -> String {
    format!("{width}×{height}")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn report() -> BenchReport {
        let part = |ms: f64| Percentiles { p50: ms, p95: 1.5 * ms, p99: 2.0 * ms, max: 3.0 * ms };
        BenchReport {
            program: "simplenet 0.0.0".into(),
            model: BenchedModel {
                path: JsonPath::new(Path::new("results/part/model.safetensors")),
                model_id: "0123456789ab".into(),
                file_bytes: 5 << 19,
                backbone: "efficientnet-lite0".into(),
                network_size: [288, 192],
                preset: Some(NearestPreset { name: "default".into(), changed: vec![] }),
            },
            precision: InferencePrecision::Int8,
            device: CPU.into(),
            machine: BenchedMachine {
                description: "a processor, 2 threads, linux x86_64".into(),
                instruction_set: "AVX2".into(),
                threads: 2,
            },
            photographs: Photographs { found: 7, used: 7, smallest: [640, 480], largest: [640, 480] },
            start_milliseconds: Start {
                open: None,
                load: 20.0,
                compile: 30.25,
                first_inspection: 10.0,
                to_first_verdict: 60.25,
            },
            one_at_a_time: OneAtATime {
                inspections: 50,
                milliseconds: Parts {
                    decode: part(1.5),
                    preprocess: part(0.5),
                    network: part(8.0),
                    postprocess: part(0.25),
                    total: part(10.25),
                },
                images_per_second: 97.5,
                peak_memory_mib: Some(80.4),
            },
            several_at_once: Some(SeveralAtOnce {
                at_once: 2,
                inspections: 50,
                images_per_second: 160.0,
                peak_memory_mib: Some(91.0),
            }),
            batches: vec![],
        }
    }

    #[test]
    fn the_text_looks_like_this() {
        let expected = "
model        results/part/model.safetensors, 2.5 MiB
             efficientnet-lite0, 288×192 pixels, default preset
precision    int8
machine      a processor, 2 threads, linux x86_64; AVX2
photographs  7, 640×480 pixels
start        model file to first verdict 60.2 ms: load 20.0, compile 30.2, first inspection 10.0

50 inspections, one at a time, in milliseconds:

               p50    p95    p99    max
───────────  ─────  ─────  ─────  ─────
decode        1.50   2.25   3.00   4.50
preprocess    0.50   0.75   1.00   1.50
network       8.00  12.00  16.00  24.00
postprocess   0.25   0.38   0.50   0.75
───────────  ─────  ─────  ─────  ─────
total        10.25  15.38  20.50  30.75

p99 of so few lies between the slowest two; --repeats 1000 makes it firmer

throughput   97.5 images/s one at a time, 160.0 images/s 2 at once
peak memory  80 MiB one at a time, 91 MiB 2 at once
";
        assert_eq!(report().to_terminal(), expected[1..]);
    }

    #[test]
    fn a_gpu_is_named_and_its_batches_have_a_table() {
        let mut report = report();
        let of_cpu = serde_json::to_value(&report).unwrap();
        assert_eq!((&of_cpu["device"], of_cpu.get("batches")), (&"CPU".into(), None));
        report.device = "Some GPU (cuda:0)".into();
        report.precision = InferencePrecision::F16;
        report.start_milliseconds.open = Some(200.5);
        report.several_at_once = None;
        report.batches = [1, 64]
            .map(|batch| Batch {
                batch,
                network: BatchedNetwork {
                    runs: 50,
                    milliseconds: BatchTimes { p50: 1.5, p95: 1.75, max: 2.0 + batch as f64 },
                    images_per_second: 640.0 * batch as f64,
                },
                inspection: BatchedInspection { inspections: 512, images_per_second: 321.5 },
            })
            .to_vec();
        let text = report.to_terminal();
        for words in
            ["\nprecision    f16, on Some GPU (cuda:0)\n", "first verdict 60.2 ms: GPU 200.5, load 20.0"]
        {
            assert!(text.contains(words), "no `{words}` in:\n{text}");
        }
        let end = "
peak memory  80 MiB one at a time

50 runs of the network alone, bytes to maps, in milliseconds; and inspections from files:

              p50   p95    max  images/s  images/s from files
───────────  ────  ────  ─────  ────────  ───────────────────
batch of 1   1.50  1.75   3.00     640.0                321.5
batch of 64  1.50  1.75  66.00   40960.0                321.5
";
        assert!(text.ends_with(end), "{text}");
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["batches"][1]["network"]["milliseconds"]["max"], 66.0);
        assert_eq!(json["batches"][0]["inspection"]["inspections"], 512);
    }

    #[test]
    fn what_is_unknown_or_differs_is_said() {
        let mut report = report();
        report.model.preset = None;
        report.photographs = Photographs { found: 900, used: 200, smallest: [96, 96], largest: [4000, 3000] };
        report.one_at_a_time.inspections = 200;
        report.one_at_a_time.peak_memory_mib = None;
        report.several_at_once.as_mut().unwrap().peak_memory_mib = None;
        let text = report.to_terminal();
        for words in
            ["preset n/a", "200 of 900, 96×96 to 4000×3000 pixels", "n/a one at a time, n/a 2 at once"]
        {
            assert!(text.contains(words), "no `{words}` in:\n{text}");
        }
        assert!(!text.contains("p99 of so few"), "{text}");
        let changed = vec!["epochs".into(), "preprocess".into()];
        report.model.preset = Some(NearestPreset { name: "paper".into(), changed });
        assert!(report.to_terminal().contains("paper preset but for epochs, preprocess\n"));
        report.several_at_once = None;
        assert!(
            report.to_terminal().ends_with("97.5 images/s one at a time\npeak memory  n/a one at a time\n")
        );
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["one_at_a_time"]["peak_memory_mib"], serde_json::Value::Null);
        assert_eq!(json["model"]["path"], "results/part/model.safetensors");
    }
}
