//! The file is what its messages say: decoded again, its names are whole, its shapes are the model's. That engines compute
//! the model's numbers with it is `tests/peers/onnx_peers.py`'s business.

use std::{collections::HashSet, path::Path};

use candle_core::{DType, Device, Tensor};

use super::*;
use crate::{
    BackboneId, BackboneWeights, Levels,
    anomaly_map::{AnomalyMapConfig, ImageScore},
    backbone::TensorSpec,
    checkpoint::{RecordInput, ReviewBand, Threshold},
    feature_adaptor::FeatureAdaptorConfig,
    feature_norm::FeatureNorm,
    patch_aggregator::PatchAggregatorConfig,
    position_energy::{PositionEnergy, PositionEnergyConfig, ScoreWeights},
    simplenet::{FeatureExtractor, Head, HeadConfig},
};
use candle_nn::VarBuilder;
use proto::{NodeProto, TensorProto, ValueInfoProto, data_type};

const SIDES: [usize; 2] = [72, 104];

/// The embedded backbone, or another one without numbers, with a head of zeros: a graph like any other.
fn net_of(
    id: BackboneId,
    levels: Levels,
    aggregator: PatchAggregatorConfig,
    sides: Option<[usize; 2]>,
) -> SimpleNet {
    let cpu = Device::Cpu;
    let zeros = |spec: &TensorSpec| Tensor::zeros(spec.shape.as_slice(), DType::F32, &cpu).unwrap();
    let weights = match id {
        BackboneId::EfficientNetLite0 => BackboneWeights::embedded(id).unwrap(),
        _ => {
            let tensors = id.tensor_specs().iter().map(|spec| (spec.name.clone(), zeros(spec))).collect();
            BackboneWeights::new(id, tensors, "0".repeat(64), Path::new("zeros")).unwrap()
        }
    };
    let extractor = FeatureExtractor::load(id, levels, &weights, aggregator, &cpu).unwrap();
    let dim = extractor.feature_dim();
    let adaptor = FeatureAdaptorConfig { dim, layers: 0 };
    let config = HeadConfig { adaptor, ..HeadConfig::new(dim, 8) };
    let head = Head::new(config, VarBuilder::zeros(DType::F32, &cpu)).unwrap();
    let grid = sides.map(|[height, width]| extractor.grid(height, width));
    let net = SimpleNet::new(extractor, FeatureNorm::identity(dim, &cpu).unwrap(), head).unwrap();
    let Some((rows, columns)) = grid else { return net };
    let config = PositionEnergyConfig { tiles: [1, 1], rows, columns, cell: 4, dim: 5 };
    net.with_position(PositionEnergy {
        config,
        projection: vec![0.1; 5 * dim],
        centre: vec![0.2; rows * columns * 5],
        whitening: vec![0.3; config.cells() * config.triangle()],
        weights: ScoreWeights { head: 0.5, energy: 0.25, offset: -1.0 },
    })
    .unwrap()
}

/// The default preset's kind of network.
fn net() -> SimpleNet {
    let means = PatchAggregatorConfig::channel_mean(3);
    net_of(BackboneId::EfficientNetLite0, Levels::default(), means, Some(SIDES))
}

fn record(net: &SimpleNet, threshold: Option<Threshold>) -> ModelRecord {
    let input = RecordInput {
        created_by: "tests".into(),
        anomaly_map: AnomalyMapConfig::default(),
        image_score: ImageScore::LargestMean(3),
        mean: [0.485, 0.456, 0.406],
        std: [0.229, 0.224, 0.225],
        preprocessing: serde_json::json!({"any": 1}),
        training: serde_json::Value::Null,
        goldens: vec![],
    };
    ModelRecord { threshold, ..ModelRecord::new(net, input).unwrap() }
}

fn decoded(
    net: &SimpleNet,
    record: &ModelRecord,
    sides: [usize; 2],
    input: InputRange,
    batch: Batch,
) -> ModelProto {
    let bytes = export(net, record, sides, OnnxOptions { input, batch }).unwrap();
    assert_eq!(
        bytes,
        export(net, record, sides, OnnxOptions { input, batch }).unwrap(),
        "the same bytes again"
    );
    ModelProto::decode(bytes.as_slice()).unwrap()
}

/// Name, number type and sides; 0 for a side that is free.
fn describe(value: &ValueInfoProto) -> (String, i32, Vec<i64>) {
    let tensor = value.r#type.clone().unwrap().tensor_type.unwrap();
    let sides = tensor.shape.unwrap().dim.into_iter().map(|dim| {
        assert!(dim.dim_value.is_some() != dim.dim_param.is_some(), "a side is a length or a name");
        dim.dim_value.unwrap_or(0)
    });
    (value.name.clone().unwrap(), tensor.elem_type.unwrap(), sides.collect())
}

#[test]
fn every_value_is_made_before_it_is_read_and_once() {
    let (means, pools) =
        (PatchAggregatorConfig::channel_mean(3), PatchAggregatorConfig::adaptive_pool(5, 60, 50));
    let all = Levels::new(&[1, 2, 3]).unwrap();
    let one = Levels::new(&[3]).unwrap();
    let none = PatchAggregatorConfig::channel_mean(1);
    for (id, levels, aggregator, sides, positions) in [
        (BackboneId::EfficientNetLite0, all, means, SIDES, true),
        (BackboneId::EfficientNetLite0, one, none, [65, 33], false),
        (BackboneId::ResNet18, all, pools, [67, 96], true),
        (BackboneId::DinoV2Small, Levels::default(), means, [70, 98], true),
        (BackboneId::ConvNextTiny, Levels::default(), means, [64, 96], true),
    ] {
        let net = net_of(id, levels, aggregator, positions.then_some(sides));
        let input = if positions { InputRange::Unit } else { InputRange::Normalised };
        let graph = decoded(&net, &record(&net, None), sides, input, Batch::Free).graph.unwrap();
        let mut known: HashSet<String> =
            graph.input.iter().map(|value| value.name.clone().unwrap()).collect();
        for TensorProto { name, dims, data_type, raw_data, .. } in &graph.initializer {
            assert!(known.insert(name.clone().unwrap()), "{name:?} twice");
            let numbers: i64 = dims.iter().product();
            let bytes = if *data_type == Some(data_type::INT64) { 8 } else { 4 };
            assert_eq!(raw_data.as_ref().unwrap().len() as i64, bytes * numbers, "{name:?} of {dims:?}");
        }
        let mut read = HashSet::new();
        for NodeProto { input, output, op_type, attribute, .. } in &graph.node {
            for name in input {
                assert!(known.contains(name), "{op_type:?} reads {name} before it is made");
                read.insert(name.clone());
            }
            for name in output {
                assert!(known.insert(name.clone()), "{name} is made twice");
            }
            assert!(attribute.iter().all(|a| a.name.is_some() && a.r#type.is_some()), "{op_type:?}");
        }
        let outputs: HashSet<String> = graph.output.iter().map(|value| value.name.clone().unwrap()).collect();
        let unused: Vec<_> =
            known.iter().filter(|name| !read.contains(*name) && !outputs.contains(*name)).collect();
        assert!(unused.is_empty(), "made and not used: {unused:?}");
        assert!(outputs.iter().all(|name| known.contains(name)));
    }
}

#[test]
fn inputs_and_outputs_are_described_as_they_are_asked_for() {
    let net = net();
    let band = ReviewBand { value: 1.0, map_value: 0.5, target_share: 0.05 };
    let threshold = Threshold {
        value: 1.25,
        map_value: 0.1,
        target_false_reject_rate: 0.01,
        held_out: 9,
        review: Some(band),
    };
    let [h, w] = SIDES.map(|side| side as i64);
    let (float, boolean) = (data_type::FLOAT, data_type::BOOL);
    for (batch, n) in [(Batch::One, 1), (Batch::Free, 0)] {
        for threshold in [None, Some(threshold)] {
            let model = decoded(&net, &record(&net, threshold), SIDES, InputRange::Unit, batch);
            assert_eq!((model.ir_version, model.opset_import[0].version), (Some(8), Some(17)));
            let graph = model.graph.unwrap();
            assert_eq!(
                graph.input.iter().map(describe).collect::<Vec<_>>(),
                [("input".into(), float, vec![n, 3, h, w])]
            );
            let mut expected = vec![
                ("anomaly_map".to_string(), float, vec![n, 1, h, w]),
                ("pred_score".into(), float, vec![n]),
            ];
            if threshold.is_some() {
                expected.push(("pred_label".into(), boolean, vec![n]));
                expected.push(("pred_mask".into(), boolean, vec![n, 1, h, w]));
            }
            assert_eq!(graph.output.iter().map(describe).collect::<Vec<_>>(), expected);
            let fact = |key: &str| {
                let found = model.metadata_props.iter().find(|fact| fact.key.as_deref() == Some(key));
                found.map(|fact| fact.value.clone().unwrap())
            };
            let text = |value: &str| Some(value.to_string());
            assert_eq!(fact("input_width"), text("104"));
            assert_eq!(fact("mean"), text("[0.485,0.456,0.406]"));
            assert_eq!(fact("preprocessing"), text("{\"any\":1}"));
            assert_eq!(fact("threshold"), threshold.and(text("1.25")));
            assert_eq!(fact("map_threshold"), threshold.and(text("0.1")));
            assert_eq!(fact("review_threshold"), threshold.and(text("1")));
            assert!(fact("input_normalisation").unwrap().starts_with("inside"));
        }
    }
}

#[test]
fn another_size_than_the_statistics_is_refused() {
    let net = net();
    let options = OnnxOptions { input: InputRange::Unit, batch: Batch::One };
    let message = export(&net, &record(&net, None), [288, 288], options).unwrap_err().to_string();
    assert!(message.contains("position energy") && message.contains("[36, 36]"), "{message}");
}
