//! The model file: what is saved comes back, and every way in which a file can be wrong is told apart.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // helpers of tests

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use candle_core::{DType, Device, Tensor};
use candle_nn::{VarBuilder, VarMap};
use safetensors::{SafeTensors, tensor::TensorView};
use simplenet_model::{
    ActivationRanges, BackboneId, BackboneWeights, Levels, ModelError,
    anomaly_map::{AnomalyMapConfig, ImageScore},
    checkpoint::{
        FORMAT_VERSION, GoldenInput, METADATA_KEY, ModelRecord, RecordInput, ReviewBand, TensorEntry,
        Threshold, inspect, load, model_id, save, verify,
    },
    discriminator::{self, Discriminator},
    feature_adaptor::{self, FeatureAdaptor},
    feature_norm::FeatureNorm,
    initializer::Initializer,
    patch_aggregator::PatchAggregatorConfig,
    position_energy::{PositionEnergy, PositionEnergyConfig, ScoreWeights},
    simplenet::{FeatureExtractor, Head, HeadConfig, SimpleNet},
};

const CPU: Device = Device::Cpu;

/// Reproducible numbers in [-1, 1).
fn numbers(seed: u64) -> impl FnMut() -> f32 {
    let mut state = seed;
    move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }
}

/// A small network on a random backbone, the same every time.
fn network() -> (SimpleNet, ModelRecord) {
    network_with(Levels::default(), 1)
}

/// The same, tapped at these levels and with so many layers in the adaptor.
fn network_with(levels: Levels, adaptor_layers: usize) -> (SimpleNet, ModelRecord) {
    let id = BackboneId::EfficientNetLite0;
    let mut draw = numbers(1);
    let tensors: HashMap<String, Tensor> = id
        .tensor_specs()
        .into_iter()
        .map(|spec| {
            let count: usize = spec.shape.iter().product();
            let fan_in: usize = spec.shape.iter().skip(1).product();
            let values: Vec<f32> = match spec.name.rsplit('.').next() {
                _ if spec.shape.len() == 4 => {
                    (0..count).map(|_| draw() * (6.0 / fan_in as f32).sqrt()).collect()
                }
                Some("weight" | "running_var") => (0..count).map(|_| 1.0 + 0.1 * draw()).collect(),
                _ => (0..count).map(|_| 0.1 * draw()).collect(),
            };
            let tensor = Tensor::from_vec(values, spec.shape, &CPU).unwrap().to_dtype(DType::F16).unwrap();
            (spec.name, tensor)
        })
        .collect();
    let weights = BackboneWeights::new(id, tensors, "ab".repeat(32), Path::new("random")).unwrap();
    let config = PatchAggregatorConfig::adaptive_pool(3, 24, 24);
    let extractor = FeatureExtractor::load(id, levels, &weights, config, &CPU).unwrap();

    let mut config = HeadConfig::new(24, 10);
    config.adaptor.layers = adaptor_layers;
    let (mut normal, mut uniform) = (numbers(2), numbers(3));
    let mut initializer = Initializer { normal: &mut normal, uniform: &mut uniform };
    let vars = VarMap::new();
    FeatureAdaptor::initialise(config.adaptor, &vars, feature_adaptor::PREFIX, &CPU, &mut initializer)
        .unwrap();
    Discriminator::initialise(config.discriminator, &vars, discriminator::PREFIX, &CPU, &mut initializer)
        .unwrap();
    let head = Head::new(config, VarBuilder::from_varmap(&vars, DType::F32, &CPU)).unwrap();
    let mut draw = numbers(4);
    let batch = Tensor::from_vec((0..24 * 8).map(|_| draw()).collect::<Vec<_>>(), (8, 24), &CPU).unwrap();
    head.discriminator.forward_train(&batch).unwrap();
    let mean: Vec<f32> = (0..24).map(|_| draw()).collect();
    let norm = FeatureNorm::new(&mean, &[1.0 / 3.0; 24], &CPU).unwrap();
    let net = SimpleNet::new(extractor, norm, head).unwrap();

    let goldens = (0..2u8)
        .map(|i| {
            let (w, h) = (48, 40);
            let rgb: Vec<u8> = (0..w * h * 3).map(|p| (p as u8).wrapping_mul(7 + i)).collect();
            GoldenInput::from_interleaved(w, h, &rgb).unwrap()
        })
        .collect();
    let input = RecordInput {
        created_by: "tests 0.0".into(),
        anomaly_map: AnomalyMapConfig::default(),
        image_score: ImageScore::Largest,
        mean: [0.485, 0.456, 0.406],
        std: [0.229, 0.224, 0.225],
        preprocessing: serde_json::json!({"resize": {"exact": {"width": 48, "height": 40}}, "share": 0.1}),
        training: serde_json::json!({"seed": 7}),
        goldens,
    };
    let mut record = ModelRecord::new(&net, input).unwrap();
    record.threshold = Some(Threshold {
        value: 0.1,
        map_value: 0.07,
        target_false_reject_rate: 0.01,
        held_out: 20,
        review: Some(ReviewBand { value: 0.05, map_value: 0.0625, target_share: 0.25 }),
    });
    record.calibrated_by = Some("tests 0.1".into());
    record.normal_score_quantiles = vec![(0.5, -0.3), (0.99, 0.1)];
    record.activation_ranges = Some(ranges("[0.0,1.75]"));
    record.image_profile = Some(serde_json::json!({"images": 3}));
    (net, record)
}

/// Ranges of activations, as they stand in a record.
fn ranges(json: &str) -> ActivationRanges {
    serde_json::from_str(json).unwrap()
}

/// Those of [`network`] in its record.
const LEVELS: &str = "\"levels\":[2,3],";
const POSITION: &str = "\"position\":null,";
const IMAGE_SCORE: &str = "\"image_score\":\"largest\",";
const RANGES: &str = "\"activation_ranges\":[0.0,1.75],";
const PROFILE: &str = "\"image_profile\":{\"images\":3},";
/// The band of [`network`]'s threshold and who set it, in its record.
const REVIEW: &str = ",\"review\":{\"value\":0.05,\"map_value\":0.0625,\"target_share\":0.25}";
const CALIBRATED_BY: &str = "\"calibrated_by\":\"tests 0.1\",";

/// The bytes of a good file, made once.
static GOOD: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    let (net, record) = network();
    let path = folder.path().join("model.safetensors");
    save(&path, &net, &record).unwrap();
    fs::read(path).unwrap()
});

fn images() -> Tensor {
    let mut draw = numbers(9);
    Tensor::from_vec((0..2 * 3 * 40 * 56).map(|_| draw()).collect::<Vec<_>>(), (2, 3, 40, 56), &CPU).unwrap()
}

fn bits(tensor: &Tensor) -> Vec<u32> {
    tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap().into_iter().map(f32::to_bits).collect()
}

/// Loads bytes as a file. `load` and `inspect` must agree on what is wrong, unless only `load` can see it.
fn load_bytes(bytes: &[u8]) -> Result<(SimpleNet, ModelRecord), ModelError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    fs::write(&path, bytes).unwrap();
    load(&path, &CPU)
}

fn message(bytes: &[u8]) -> String {
    let message = load_bytes(bytes).map(|_| "loaded".to_string()).unwrap_or_else(|e| e.to_string());
    assert!(message == "loaded" || message.contains("model.safetensors"), "no path in: {message}");
    message
}

/// The record's text and the tensors of a file.
fn parts(bytes: &[u8]) -> (String, SafeTensors<'_>) {
    let (_, metadata) = SafeTensors::read_metadata(bytes).unwrap();
    let record = metadata.metadata().as_ref().unwrap()[METADATA_KEY].clone();
    (record, SafeTensors::deserialize(bytes).unwrap())
}

/// A file of other parts, without any check.
fn assemble(record: Option<&str>, tensors: Vec<(String, TensorView<'_>)>) -> Vec<u8> {
    let metadata = record.map(|r| HashMap::from([(METADATA_KEY.to_string(), r.to_string())]));
    safetensors::serialize(tensors, metadata).unwrap()
}

#[test]
fn what_is_saved_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let (net, record) = network();
    let saved = save(&path, &net, &record).unwrap();
    let (loaded, read) = load(&path, &CPU).unwrap();
    assert_eq!(read, saved);
    assert_eq!(ModelRecord { content_sha256: String::new(), ..read.clone() }, record);
    assert_eq!(model_id(&read).len(), 12);
    assert_eq!(loaded.config(), net.config());
    assert!(bits(&loaded.patch_scores(&images()).unwrap()) == bits(&net.patch_scores(&images()).unwrap()));
    let all = |net: &SimpleNet| {
        let mut tensors = net.head().named_tensors();
        tensors.extend(net.extractor().weights().tensors.clone());
        tensors.sort_by(|a, b| a.0.cmp(&b.0));
        tensors
            .into_iter()
            .map(|(name, t)| (name, t.dtype(), bits(&t.to_dtype(DType::F32).unwrap())))
            .collect()
    };
    let (a, b): (Vec<_>, Vec<_>) = (all(&loaded), all(&net));
    assert!(a == b, "tensors differ");

    let report = verify(&loaded, &read).unwrap();
    assert!(report.passed() && report.checks.len() == 2, "{report:?}");
    let file = inspect(&path).unwrap();
    assert_eq!((file.record, file.bytes), (read, fs::metadata(&path).unwrap().len()));
    let entry = |name: &str| file.tensors.iter().find(|t| t.name == name).unwrap();
    assert_eq!(entry("golden.1.rgb").shape, [3, 40, 48]);
    assert_eq!(entry("pre_projection.layers.0fc.weight").dtype, "f32");
    assert_eq!(entry("discriminator.body.block1.1.num_batches_tracked").dtype, "i64");
    assert_eq!(
        file.tensors.iter().filter(|t| t.dtype == "f16").count(),
        net.extractor().weights().tensors.len()
    );
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 1, "a temporary file was left behind");
}

#[test]
fn any_number_of_adaptor_layers_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    for layers in [0, 2, 5] {
        let (net, record) = network_with(Levels::default(), layers);
        save(&path, &net, &record).unwrap();
        let (loaded, read) = load(&path, &CPU).unwrap();
        assert_eq!((read.adaptor.layers, loaded.config()), (layers, net.config()));
        let scores = |net: &SimpleNet| bits(&net.patch_scores(&images()).unwrap());
        assert!(scores(&loaded) == scores(&net), "{layers} layers: other scores");
        let of_adaptor = |t: &&TensorEntry| t.name.starts_with(feature_adaptor::PREFIX);
        assert_eq!(inspect(&path).unwrap().tensors.iter().filter(of_adaptor).count(), 2 * layers);
    }
}

#[test]
fn position_statistics_come_back() {
    let (net, record) = network();
    let config = PositionEnergyConfig { rows: 5, columns: 6, cell: 2, dim: 4, tiles: [1, 1] };
    let mut draw = numbers(5);
    let mut draw = |count: usize| (0..count).map(|_| draw()).collect::<Vec<f32>>();
    let energy = PositionEnergy {
        config,
        projection: draw(4 * 24),
        centre: draw(5 * 6 * 4),
        whitening: draw(9 * 10),
        weights: ScoreWeights { head: 0.5, energy: 2.0, offset: -1.0 },
    };
    let net = net.with_position(energy.clone()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let error = save(&path, &net, &record).unwrap_err().to_string();
    assert!(error.contains("another network"), "{error}");

    let mut record =
        ModelRecord { position: Some(config), image_score: ImageScore::LargestMean(3), ..record };
    for golden in &mut record.goldens {
        let rule = record.image_score;
        golden.image_score = golden.input.image_score(&net, record.mean, record.std, rule).unwrap();
    }
    let saved = save(&path, &net, &record).unwrap();
    let (loaded, read) = load(&path, &CPU).unwrap();
    assert_eq!((loaded.position(), &read), (Some(&energy), &saved));
    assert!(verify(&loaded, &read).unwrap().passed());
}

#[test]
fn the_same_model_gives_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("again.safetensors");
    for _ in 0..3 {
        let (net, record) = network();
        save(&path, &net, &record).unwrap();
        assert!(fs::read(&path).unwrap() == *GOOD);
    }
}

#[test]
fn verify_sees_another_score() {
    let (net, mut record) = network();
    record.goldens[1].image_score += 0.01;
    let report = verify(&net, &record).unwrap();
    assert!(!report.passed() && report.checks[0].passed() && !report.checks[1].passed(), "{report:?}");
    record.goldens.clear();
    assert!(!verify(&net, &record).unwrap().passed(), "nothing was checked");
}

#[test]
fn files_that_are_not_models_say_so() {
    let foreign = {
        let data = vec![0u8; 16];
        let view = TensorView::new(safetensors::Dtype::F32, vec![4], &data).unwrap();
        assemble(None, vec![("conv1.weight".into(), view)])
    };
    let other_record = assemble(Some("{\"hello\": 1}"), vec![]);
    for (bytes, words) in [
        (&b""[..], &["empty"][..]),
        (b"abc", &["not a safetensors file"]),
        (b"This is a text file that someone named model.safetensors.\n", &["not a safetensors file"]),
        (&[0x89, b'P', b'N', b'G', 13, 10, 26, 10, 0, 0], &["not a safetensors file"]),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", &["Git LFS pointer", "git lfs pull"]),
        (b"<!DOCTYPE html>\n<html>Not found</html>", &["a web page"]),
        (&[2, 0, 0, 0, 0, 0, 0, 0, b'{', b'x'], &["not a safetensors file"]),
        (&foreign, &["not a model file", "no `simplenet` record", "`conv1.weight`", "--weights"]),
        (&other_record, &["record cannot be read", "format_version"]),
    ] {
        let message = message(bytes);
        assert!(words.iter().all(|word| message.contains(word)), "expected {words:?} in: {message}");
    }
    let missing = load(Path::new("no/such/model.safetensors"), &CPU).unwrap_err();
    assert!(matches!(missing, ModelError::Io { .. }) && missing.to_string().contains("no/such"), "{missing}");
}

#[test]
fn a_file_cut_short_anywhere_is_called_so() {
    let good = &*GOOD;
    let header = u64::from_le_bytes(good[..8].try_into().unwrap()) as usize;
    for length in [9, 100, 8 + header - 1, 8 + header, 8 + header + 1, good.len() / 2, good.len() - 1] {
        match load_bytes(&good[..length]) {
            Err(ModelError::Truncated { actual, expected, .. }) => {
                assert_eq!(actual, length as u64);
                assert!(expected > actual && expected <= good.len() as u64, "{expected} of {}", good.len());
            }
            other => panic!("{length} bytes: {:?}", other.map(|_| "loaded")),
        }
    }
    let mut longer = good.clone();
    longer.push(0);
    assert!(matches!(load_bytes(&longer), Err(ModelError::InvalidFile { .. })));
}

#[test]
fn an_edited_file_is_refused() {
    let good = &*GOOD;
    let header = u64::from_le_bytes(good[..8].try_into().unwrap()) as usize;
    let mut edits: Vec<(String, Vec<u8>)> = Vec::new();
    // One bit of a tensor: the first, one in the middle, the last.
    for at in [8 + header, (8 + header + good.len()) / 2, good.len() - 1] {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        edits.push((format!("byte {at}"), bytes));
    }
    let (record, tensors) = parts(good);
    // The record: a threshold, the hash itself, an added space.
    let hash = load_bytes(good).unwrap().1.content_sha256;
    for (from, to) in [
        ("\"value\":0.1", "\"value\":9.1"),
        (&hash[..], &"f".repeat(64)[..]),
        (&hash[..], "short"),
        (&hash[..], &hash.to_uppercase()[..]),
        ("{\"format_version\"", "{ \"format_version\""),
    ] {
        assert!(record.contains(from), "{from} is not in {record}");
        edits.push((
            format!("{from} -> {to}"),
            assemble(Some(&record.replacen(from, to, 1)), tensors.tensors()),
        ));
    }
    // Tensors: one renamed, one left out, one of another shape.
    let renamed =
        tensors.tensors().into_iter().map(|(name, view)| (name.replace("0fc", "1fc"), view)).collect();
    edits.push(("renamed".into(), assemble(Some(&record), renamed)));
    edits.push(("left out".into(), assemble(Some(&record), tensors.tensors().split_off(1))));
    let reshaped = tensors.tensors().into_iter().map(|(name, view)| {
        let shape = view.shape().iter().rev().copied().collect();
        (name, TensorView::new(view.dtype(), shape, view.data()).unwrap())
    });
    edits.push(("reshaped".into(), assemble(Some(&record), reshaped.collect())));
    for (what, bytes) in edits {
        match load_bytes(&bytes) {
            Err(error @ ModelError::Edited { .. }) => {
                assert!(error.to_string().contains("changed"), "{error}")
            }
            other => panic!("{what}: {:?}", other.map(|_| "loaded")),
        }
    }
}

#[test]
fn a_newer_version_asks_for_an_update() {
    let (record, tensors) = parts(&GOOD);
    let newer = format!("\"format_version\":{}", FORMAT_VERSION + 1);
    let record = record.replacen(&format!("\"format_version\":{FORMAT_VERSION}"), &newer, 1);
    let message = message(&assemble(Some(&record), tensors.tensors()));
    assert!(message.contains("update") && message.contains("tests 0.0"), "{message}");
}

#[test]
fn files_of_older_versions_lack_what_they_did_not_know() {
    let (record, tensors) = parts(&GOOD);
    for (version, later) in [
        (1, &[PROFILE, RANGES, REVIEW, CALIBRATED_BY, POSITION, IMAGE_SCORE, LEVELS][..]),
        (2, &[PROFILE, REVIEW, CALIBRATED_BY, POSITION, IMAGE_SCORE, LEVELS]),
        (3, &[PROFILE]),
    ] {
        let newest = format!("\"format_version\":{FORMAT_VERSION}");
        let mut text = record.replacen(&newest, &format!("\"format_version\":{version}"), 1);
        assert!(text != record, "{newest} is not in {record}");
        for part in later {
            assert!(text.contains(part), "{part} is not in {text}");
            text = text.replacen(part, "", 1);
        }
        let (net, old) = load_bytes(&with_its_hash(&text, &|| tensors.tensors())).unwrap();
        assert_eq!((old.format_version, old.activation_ranges.is_some()), (version, version > 1));
        let calibrated = (old.threshold.unwrap().review.is_some(), old.calibrated_by.is_some());
        assert_eq!(calibrated, (version > 2, version > 2), "version {version}");
        assert_eq!(old.image_profile, None, "version {version}");
        assert_eq!((old.levels, net.config().levels), (Levels::PAPER, Levels::PAPER), "version {version}");
        assert!(verify(&net, &old).unwrap().passed());

        // Saved again it is of the newest version.
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        let saved = save(&path, &net, &old).unwrap();
        assert_eq!((saved.format_version, saved.threshold), (FORMAT_VERSION, old.threshold));
        assert_eq!(saved.activation_ranges, old.activation_ranges);
        assert_eq!(load(&path, &CPU).unwrap().1, saved);
    }
}

/// A file holds what its levels need and no more, and comes back as it was.
#[test]
fn every_choice_of_levels_round_trips() {
    let folder = tempfile::tempdir().unwrap();
    for numbers in [&[1, 2, 3][..], &[2, 3], &[3], &[2], &[1, 2], &[1]] {
        let levels = Levels::new(numbers).unwrap();
        let (net, record) = network_with(levels, 1);
        let path = folder.path().join(format!("{levels}.safetensors"));
        let saved = save(&path, &net, &record).unwrap();
        let (loaded, read) = load(&path, &CPU).unwrap();
        assert_eq!((&read, loaded.config(), read.levels), (&saved, net.config(), levels));
        assert!(verify(&loaded, &read).unwrap().passed(), "{levels}");
        let in_file = inspect(&path).unwrap().tensors.into_iter().filter(|t| t.name.starts_with("backbone."));
        assert_eq!(in_file.count(), record.backbone.tensor_specs_for(levels).len(), "{levels}");
        // Saved again from what was read it is the same file.
        let again = folder.path().join("again.safetensors");
        save(&again, &loaded, &read).unwrap();
        assert_eq!(fs::read(&again).unwrap(), fs::read(&path).unwrap(), "{levels}");
    }
}

#[test]
fn levels_that_a_model_cannot_have_are_refused() {
    let (record, tensors) = parts(&GOOD);
    assert!(record.contains(LEVELS), "{record}");
    let backbone = "\"backbone\":\"efficientnet-lite0\"";
    assert!(record.contains(backbone), "{record}");
    for (id, levels, word) in [
        ("efficientnet-lite0", "[]", "must be some of 1, 2, 3"),
        ("efficientnet-lite0", "[4]", "must be some of 1, 2, 3"),
        ("efficientnet-lite0", "[3,2]", "must be some of 1, 2, 3"),
        ("dinov2-vits14", "[3]", "its own two taps only"),
    ] {
        let text = record.replacen(LEVELS, &format!("\"levels\":{levels},"), 1);
        let text = text.replacen(backbone, &format!("\"backbone\":\"{id}\""), 1);
        let found = message(&with_its_hash(&text, &|| tensors.tensors()));
        assert!(found.contains(word), "{id} {levels}: {found}");
    }
}

/// A file of which the record says that there is more of the backbone than its tensors are.
#[test]
fn tensors_of_a_level_that_are_missing_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let (net, record) = network_with(Levels::new(&[1, 2]).unwrap(), 1);
    save(&path, &net, &record).unwrap();
    let bytes = fs::read(&path).unwrap();
    let (text, tensors) = parts(&bytes);
    let more = text.replacen("\"levels\":[1,2],", LEVELS, 1);
    assert!(more != text, "{text}");
    let found = message(&with_its_hash(&more, &|| tensors.tensors()));
    assert!(found.contains("`backbone._blocks.5.") && found.contains("missing"), "{found}");
}

/// A file whose hash is right but whose tensors are not: what a faulty writer would make.
fn rewritten(change: impl Fn(&mut Vec<(String, Tensor)>)) -> String {
    let (net, record) = network();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    save(&path, &net, &record).unwrap();
    let mut tensors: Vec<_> = candle_core::safetensors::load(&path, &CPU).unwrap().into_iter().collect();
    change(&mut tensors);
    let bytes = fs::read(&path).unwrap();
    let (record, _) = parts(&bytes);
    let data: Vec<_> = tensors
        .iter()
        .map(|(name, tensor)| {
            use safetensors::View;
            (name.clone(), View::dtype(tensor), tensor.dims().to_vec(), View::data(tensor).into_owned())
        })
        .collect();
    let views = || {
        data.iter()
            .map(|(n, d, s, b)| (n.clone(), TensorView::new(*d, s.clone(), b).unwrap()))
            .collect::<Vec<_>>()
    };
    message(&with_its_hash(&record, &views))
}

/// A file of other parts, with the hash that belongs to them: the error about the wrong one tells it.
fn with_its_hash<'a>(record: &str, tensors: &dyn Fn() -> Vec<(String, TensorView<'a>)>) -> Vec<u8> {
    let Err(ModelError::Edited { actual, expected, .. }) = load_bytes(&assemble(Some(record), tensors()))
    else {
        panic!("the change was not noticed");
    };
    assemble(Some(&record.replacen(&expected, &actual, 1)), tensors())
}

#[test]
fn missing_and_misshapen_tensors_are_named() {
    let swap = |from: &'static str, to: Option<Tensor>| {
        rewritten(move |tensors| {
            let at = tensors.iter().position(|(name, _)| name == from).unwrap();
            match &to {
                Some(tensor) => tensors[at].1 = tensor.clone(),
                None => drop(tensors.remove(at)),
            }
        })
    };
    let zeros = |shape: &[usize], dtype| Some(Tensor::zeros(shape, dtype, &CPU).unwrap());
    let stem = BackboneId::EfficientNetLite0.tensor_specs().swap_remove(0);
    let stem_name: &'static str = format!("backbone.{}", stem.name).leak();
    for (name, to, words) in [
        ("discriminator.tail.weight", None, ["[1, 10]", "missing"]),
        ("feature_norm.mean", None, ["[24]", "missing"]),
        ("feature_norm.scale", zeros(&[24], DType::F32), ["scale 0 is 0", "above 0"]),
        ("pre_projection.layers.0fc.bias", zeros(&[23], DType::F32), ["[23]", "[24]"]),
        ("pre_projection.layers.0fc.bias", zeros(&[24], DType::F64), ["f64", "f32"]),
        (stem_name, None, ["missing", "backbone."]),
        (stem_name, zeros(&[1, 2], DType::F16), ["[1, 2]", "backbone."]),
        ("golden.0.rgb", None, ["[3, 40, 48]", "missing"]),
        ("golden.0.rgb", zeros(&[3, 40, 47], DType::U8), ["[3, 40, 47]", "[3, 40, 48]"]),
        ("golden.0.rgb", zeros(&[3, 40, 48], DType::F32), ["f32", "u8"]),
    ] {
        let message = swap(name, to);
        assert!(
            message.contains(name) && words.iter().all(|w| message.contains(w)),
            "{words:?} in: {message}"
        );
    }
}

/// Activations would clamp such values away, and the model would find nothing.
#[test]
fn values_that_are_not_finite_are_named_and_so_is_a_variance_below_zero() {
    let stem = BackboneId::EfficientNetLite0.tensor_specs().swap_remove(0).name;
    let stem: &'static str = format!("backbone.{stem}").leak();
    for name in [
        stem,
        "backbone._bn0.running_var",
        "backbone._blocks.10._bn2.weight",
        "feature_norm.mean",
        "feature_norm.scale",
        "pre_projection.layers.0fc.weight",
        "discriminator.body.block1.1.running_var",
        "discriminator.tail.weight",
    ] {
        for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -1.0] {
            let message = rewritten(|tensors| {
                let (_, tensor) = tensors.iter_mut().find(|(n, _)| n == name).unwrap();
                let (dtype, shape) = (tensor.dtype(), tensor.dims().to_vec());
                let values = tensor.to_dtype(DType::F32).unwrap().flatten_all().unwrap();
                let mut values = values.to_vec1::<f32>().unwrap();
                *values.last_mut().unwrap() = value;
                *tensor = Tensor::from_vec(values, shape, &CPU).unwrap().to_dtype(dtype).unwrap();
            });
            let is_refused = message.contains(&format!("`{name}` holds {value}"));
            assert_eq!(is_refused, !value.is_finite() || name.ends_with("running_var"), "{name}: {message}");
        }
    }
}

/// A file without bytes on the disk whose header claims many.
#[test]
fn a_tensor_of_any_size_is_refused_before_memory_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let (record, _) = parts(&GOOD);
    let sparse = |length: u64| {
        let header = serde_json::json!({
            "__metadata__": { METADATA_KEY: record },
            "a": { "dtype": "U8", "shape": [length], "data_offsets": [0, length] },
        });
        let mut text = header.to_string();
        text.extend(std::iter::repeat_n(' ', text.len().next_multiple_of(8) - text.len()));
        let mut bytes = (text.len() as u64).to_le_bytes().to_vec();
        bytes.extend(text.bytes());
        fs::write(&path, &bytes).unwrap();
        let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
        file.set_len(bytes.len() as u64 + length).unwrap();
    };
    sparse(64 << 30);
    for message in [load(&path, &CPU).map(drop), inspect(&path).map(drop)].map(|r| r.unwrap_err().to_string())
    {
        assert!(message.contains("68719476736 bytes") && message.contains("at most"), "{message}");
    }
    // What the record does not describe is hashed, not kept.
    sparse(64 << 20);
    assert!(matches!(load(&path, &CPU), Err(ModelError::Edited { .. })));
    let weights = BackboneWeights::from_file(BackboneId::EfficientNetLite0, &path).unwrap_err();
    assert!(matches!(weights, ModelError::MissingTensor { .. }), "{weights}");
    sparse(5 << 30);
    let weights = BackboneWeights::from_file(BackboneId::EfficientNetLite0, &path).unwrap_err().to_string();
    assert!(weights.contains("a file of weights has 4294967296 at most"), "{weights}");
}

#[test]
fn what_cannot_be_saved_leaves_the_old_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    fs::write(&path, "old").unwrap();
    let (net, record) = network();
    let with = |change: &dyn Fn(&mut ModelRecord)| {
        let mut record = record.clone();
        change(&mut record);
        save(&path, &net, &record).unwrap_err().to_string()
    };
    for (message, word) in [
        (with(&|r| r.normal_score_quantiles = vec![(0.5, f32::NAN)]), "quantile"),
        (with(&|r| r.activation_ranges = Some(ranges("[1.0,-0.5]"))), "range of the activations"),
        (with(&|r| r.goldens[0].image_score = f32::INFINITY), "golden.0.rgb"),
        (with(&|r| r.goldens[0].input.rgb.clear()), "golden.0.rgb"),
        (with(&|r| r.std[1] = 0.0), "std"),
        (with(&|r| r.threshold.as_mut().unwrap().value = f32::NAN), "threshold"),
        (with(&|r| r.threshold.as_mut().unwrap().review.as_mut().unwrap().value = 0.2), "threshold"),
        (with(&|r| r.discriminator.hidden = 11), "another network"),
        (with(&|r| r.backbone_sha256.clear()), "another network"),
    ] {
        assert!(message.contains(word) && message.contains("model.safetensors"), "`{word}` in: {message}");
    }
    assert_eq!(fs::read_to_string(&path).unwrap(), "old");
    let nowhere: PathBuf = folder.path().join("no/folder/model.safetensors");
    assert!(matches!(save(&nowhere, &net, &record), Err(ModelError::Io { .. })));
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
}
