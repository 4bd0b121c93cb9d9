//! The whole detector as one ONNX graph. In: a network, its record and the size of its input. Out: the bytes of an `.onnx`
//! file: input `input` (N, 3, H, W) f32; outputs `anomaly_map` (N, 1, H, W) and `pred_score` (N) f32, raw as everywhere, and
//! with a threshold `pred_label` (N) and `pred_mask` (N, 1, H, W) bool. The names are anomalib's.
//!
//! Weights are f32. Batch norm is folded and the head is one matrix per layer, as in [`crate::Predictor`]; resizes are products
//! with constant matrices. Only operators that engines have had for long are used (operator set 17). What belongs to the
//! model beside the graph stands in the file's metadata. docs/interchange.md is for those who run it.

mod aggregate;
mod backbone;
mod graph;
mod head;
mod output;
mod position;
pub mod proto;

use prost::Message;

use crate::{
    checkpoint::{ModelRecord, model_id},
    error::ModelError,
    simplenet::SimpleNet,
};
use graph::{Edge, Graph};
use proto::{ModelProto, OperatorSetIdProto, StringStringEntryProto};

/// The format's version that belongs to [`OPSET`].
pub const IR_VERSION: i64 = 8;
/// The operators' version: the first with layer normalisation; the last in which sums take their axes as a setting.
pub const OPSET: i64 = 17;
/// Name of the input.
pub const INPUT: &str = "input";

/// What the graph is to take in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InputRange {
    /// RGB from 0 to 1: the graph subtracts the mean and divides by the deviation.
    Unit,
    /// RGB that was normalised already, with the model's mean and deviation.
    Normalised,
}

/// How many images the graph takes at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Batch {
    /// One.
    One,
    /// As many as it is given.
    Free,
}

/// How a detector becomes a graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OnnxOptions {
    /// What it takes in.
    pub input: InputRange,
    /// How many at once.
    pub batch: Batch,
}

/// The detector of `net` and `record` for images of [height, width], as the bytes of an ONNX file. The same network, record
/// and options give the same bytes.
///
/// # Errors
/// Sides that the backbone cannot take; position-aware statistics of another size, or of several tiles; weights
/// that do not fit.
pub fn export(
    net: &SimpleNet,
    record: &ModelRecord,
    sides: [usize; 2],
    options: OnnxOptions,
) -> Result<Vec<u8>, ModelError> {
    let mut graph = Graph::default();
    let batch = match options.batch {
        Batch::One => Some(1),
        Batch::Free => None,
    };
    let input = graph.input(INPUT, batch, &[3, sides[0], sides[1]]);
    let image = match options.input {
        InputRange::Normalised => input,
        InputRange::Unit => normalised(&mut graph, &input, record),
    };
    let taps = backbone::add(&mut graph, &net.extractor().backbone().graph(sides)?, image, batch)?;
    let scores = head::add(&mut graph, net, &taps)?;
    output::add(&mut graph, &scores, sides, batch, record);

    let model = ModelProto {
        ir_version: Some(IR_VERSION),
        producer_name: Some("simplenet".into()),
        producer_version: Some(env!("CARGO_PKG_VERSION").into()),
        doc_string: Some(format!(
            "SimpleNet anomaly detector on {}, model {}",
            record.backbone,
            model_id(record)
        )),
        graph: Some(graph.finish("simplenet")),
        opset_import: vec![OperatorSetIdProto { domain: Some(String::new()), version: Some(OPSET) }],
        metadata_props: metadata(record, sides, options)
            .into_iter()
            .map(|(key, value)| StringStringEntryProto { key: Some(key.into()), value: Some(value) })
            .collect(),
    };
    Ok(model.encode_to_vec())
}

/// ((x − mean) / std) of the record, colour by colour. Not folded into the first convolution: its padding is 0 after this.
fn normalised(graph: &mut Graph, input: &Edge, record: &ModelRecord) -> Edge {
    let mean = graph.floats(&record.mean, &[1, 3, 1, 1]);
    let std = graph.floats(&record.std, &[1, 3, 1, 1]);
    let centred = graph.node("Sub", &[input, &mean], &[]);
    graph.node("Div", &[&centred, &std], &[])
}

/// What belongs to the model beside the graph, by name. Numbers are the shortest text that gives them back; what is more
/// than one is JSON.
fn metadata(
    record: &ModelRecord,
    [height, width]: [usize; 2],
    options: OnnxOptions,
) -> Vec<(&'static str, String)> {
    let mut facts = vec![
        ("task", "anomaly detection".into()),
        ("program", record.created_by.clone()),
        ("model_id", model_id(record)),
        ("backbone", record.backbone.to_string()),
        ("levels", json(&record.levels)),
        ("input_width", width.to_string()),
        ("input_height", height.to_string()),
        ("input_colours", "RGB".into()),
        (
            "input_normalisation",
            match options.input {
                InputRange::Unit => "inside: the input is from 0 to 1 (bytes divided by 255)".into(),
                InputRange::Normalised => {
                    "outside: the input is (v - mean) / std, of v from 0 to 1 (bytes divided by 255)".into()
                }
            },
        ),
        ("mean", json(&record.mean)),
        ("std", json(&record.std)),
        ("preprocessing", record.preprocessing.to_string()),
        ("image_score", json(&record.image_score)),
    ];
    if let Some(threshold) = record.threshold {
        facts.push(("threshold", threshold.value.to_string()));
        facts.push(("map_threshold", threshold.map_value.to_string()));
        if let Some(band) = threshold.review {
            facts.push(("review_threshold", band.value.to_string()));
            facts.push(("review_map_threshold", band.map_value.to_string()));
        }
    }
    if let Some((low, high)) = record.display_range {
        facts.push(("display_range", json(&[low, high])));
    }
    facts
}

/// As JSON; these types cannot fail.
fn json<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

#[cfg(test)]
mod tests;
