//! From a folder of good photographs to a calibrated detector: the whole of training in one call.
//!
//! In: a configuration, the samples to train on, the backbone's weights. Out: a `Fit`: the detector and what is known
//! about how it came to be. Test images take part only in the `oracle`, which reports and never chooses.

use std::{
    path::{Path, PathBuf},
    time::Instant,
};

use candle_core::{Device, Tensor};
use serde::{Deserialize, Serialize};
use simplenet_data::{
    dataset::{Label, Sample},
    loader::{Loader, LoaderOptions, PreparedImage},
};
use simplenet_model::{
    ActivationRanges, BackboneWeights, CompiledExtractor, PredictorOptions,
    anomaly_map::{AnomalyMapConfig, image_score},
    checkpoint::{GoldenInput, ModelRecord, RecordInput},
    feature_norm::FeatureNorm,
    position_energy::PositionEnergy,
    simplenet::{FeatureExtractor, Head, SimpleNet},
};

use crate::{
    activation_ranges::activation_ranges,
    calibrate::{self, calibrate_detector},
    config::{Augmentation, Batch, FeatureScale, Position, TrainConfig},
    detector::{Detector, timed},
    error::TrainError,
    feature_cache::{FeatureCache, FeatureStatistics, Precision},
    noise::{Generator, Purpose},
    position_statistics::{fit_positions, weigh, weighed_images},
    reporter::Reporter,
    resume::{KeepState, Keeper, stop_if_asked},
    trainer::{self, Epoch, TrainedHead},
    training_set::TrainingSet,
    training_state::Identity,
};

/// Fewest good images that can be trained on.
const FEWEST_IMAGES: usize = 2;
/// Width and height of the small inputs in the model file that `verify` runs again.
const GOLDEN_SIZE: usize = 96;
/// Width of their coloured squares.
const GOLDEN_SQUARE: usize = 8;
/// How many there are.
const GOLDENS: usize = 2;
/// Epochs between two looks of the oracle at the test set (the official code: 4).
pub const ORACLE_EVERY: usize = 4;

/// A trained detector and how it was made.
pub struct Fit {
    /// The detector, calibrated.
    pub detector: Detector,
    /// The network that it was compiled from.
    pub net: SimpleNet,
    /// Facts about the run.
    pub report: FitReport,
}

impl Fit {
    /// Writes the model file, whole or not at all.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save(&mut self, path: &Path) -> Result<(), TrainError> {
        self.detector.save(path, &self.net)
    }
}

/// Facts about a training run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FitReport {
    /// Images trained on.
    pub trained_images: usize,
    /// Good images held out for the threshold.
    pub held_out_images: usize,
    /// Standard deviation of the unscaled training features.
    pub feature_deviation: f64,
    /// Mean loss of every epoch.
    pub losses: Vec<f64>,
    /// Seconds for reading the images and computing their features.
    pub extraction_seconds: f64,
    /// Seconds for training adaptor and discriminator.
    pub training_seconds: f64,
    /// Seconds from start to calibrated detector, without the oracle's.
    pub fit_seconds: f64,
    /// The best epoch on the test set, when it was asked for.
    pub oracle: Option<Oracle>,
}

/// The epoch that a look at the test set would have chosen. Reported beside the result, never used for it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Oracle {
    /// The epoch, from 1.
    pub epoch: usize,
    /// Its image AUROC on the test set.
    #[serde(rename = "image_AUROC")]
    pub image_auroc: f64,
}

/// Trains, calibrates and returns a detector. `oracle` is a test set to report the best epoch on.
///
/// # Errors
/// Too few or unreadable images, unusable settings, weights that do not fit, a diverging loss.
pub fn fit(
    config: &TrainConfig,
    train: &[Sample],
    weights: &BackboneWeights,
    oracle: Option<&[Sample]>,
    reporter: &dyn Reporter,
) -> Result<Fit, TrainError> {
    fit_kept(config, train, weights, oracle, None, reporter)
}

/// The same, but the state of the training is kept in a file, and the training goes on from it if it was interrupted, by a
/// kill or by `Reporter::stop`: with the same weights in the end. The caller removes the file once the result is safe.
///
/// # Errors
/// As [`fit`]; `TrainError::Interrupted` when the reporter asked to stop.
pub fn fit_kept(
    config: &TrainConfig,
    train: &[Sample],
    weights: &BackboneWeights,
    oracle: Option<&[Sample]>,
    keep: Option<&KeepState>,
    reporter: &dyn Reporter,
) -> Result<Fit, TrainError> {
    let start = Instant::now();
    config.validate()?;
    let (train, held_out) = training_samples(config, train)?;
    let device = Device::Cpu;
    let extractor = FeatureExtractor::load(config.backbone, weights, config.aggregator, &device)?;
    let dim = extractor.feature_dim();
    let (width, height) = config.preprocess.network_size();
    let options = PredictorOptions::default();
    let compiled = CompiledExtractor::compile(&extractor, height as usize, width as usize, &options)?;

    let mut set = TrainingSet::default();
    let see = &mut |image: &PreparedImage| set.see(&train[image.index].path, image, &config.preprocess);
    let cache = extract(config, &compiled, dim, &train, "computing features", reporter, see)?;
    let extraction_seconds = start.elapsed().as_secs_f64();
    // Those that are held out too: a copy among them is what spoils a threshold.
    let paths: Vec<PathBuf> = held_out.iter().map(|sample| sample.path.clone()).collect();
    for image in Loader::new(paths, &config.preprocess, &LoaderOptions::default())? {
        let image = image?;
        set.see(&held_out[image.index].path, &image, &config.preprocess);
    }
    set.notes().iter().for_each(|note| reporter.note(note));
    let statistics = cache.statistics();
    let norm = feature_norm(config, &statistics, &device)?;
    let ranges = activation_ranges(config, &compiled, &train, reporter)?;

    let (test, mut oracle_time) =
        timed(|| oracle.map(|samples| OracleSet::new(config, &compiled, dim, samples, reporter)).transpose());
    let test = test?;
    let (rows, columns) = compiled.grid();
    drop(compiled);
    let extraction_of_test = oracle_time;
    let training = Instant::now();
    let positions = positions(config, &cache, &norm, [rows, columns])?;
    let mut state = trainer::begin(config, dim, norm);
    let mut keeper = match keep {
        Some(keep) => {
            let identity = Identity::new(config, &cache, test.is_some())?;
            Keeper::new(keep, identity, &mut state, reporter)
        }
        None => Keeper::none(),
    };
    let mut on_epoch = |epoch: Epoch<'_>| {
        let looks = epoch.number.is_multiple_of(ORACLE_EVERY) || epoch.number == config.epochs;
        if let Some(test) = test.as_ref().filter(|_| looks) {
            let (image_auroc, looking) = timed(|| {
                let scoring = Scoring::of(config, epoch.head, positions.clone(), &cache)?;
                test.image_auroc(config, &epoch.head.norm, &scoring, columns)
            });
            oracle_time += looking;
            let image_auroc = image_auroc?;
            if epoch.oracle.is_none_or(|best| image_auroc > best.image_auroc) {
                *epoch.oracle = Some(Oracle { epoch: epoch.number, image_auroc });
            }
        }
        Ok(())
    };
    let state = trainer::train_head(config, &cache, state, &mut keeper, reporter, &mut on_epoch)?;
    let head = state.head;
    let looking = oracle_time - extraction_of_test;
    let training_seconds = (training.elapsed() - looking).as_secs_f64();
    let scoring = Scoring::of(config, &head, positions, &cache)?;
    drop(cache);

    let net = SimpleNet::new(extractor, head.norm.clone(), scoring.head)?;
    let net = match scoring.positions {
        Some(positions) => net.with_position(positions)?,
        None => net,
    };
    let record = record(config, &net, ranges)?;
    let mut detector = Detector::new(&net, record)?;
    calibrate_detector(&mut detector, config, &held_out, &train, reporter)?;
    let report = FitReport {
        trained_images: train.len(),
        held_out_images: held_out.len(),
        feature_deviation: statistics.global_deviation,
        losses: state.losses,
        extraction_seconds,
        training_seconds,
        fit_seconds: (start.elapsed() - oracle_time).as_secs_f64(),
        oracle: state.oracle,
    };
    Ok(Fit { detector, net, report })
}

/// The good samples that are trained on, and those that are held out for the threshold.
pub(crate) fn training_samples(
    config: &TrainConfig,
    samples: &[Sample],
) -> Result<(Vec<Sample>, Vec<Sample>), TrainError> {
    let good: Vec<Sample> = samples.iter().filter(|s| s.label == Label::Normal).cloned().collect();
    if good.len() < FEWEST_IMAGES {
        return Err(TrainError::TooFewImages {
            what: "training",
            needed: FEWEST_IMAGES,
            found: good.len(),
            hint: "add photographs of good parts; 20 or more give a usable threshold".into(),
        });
    }
    let split = calibrate::split(good.len(), &config.calibration, &Generator::new(config.seed));
    Ok((pick(&good, &split.train), pick(&good, &split.held_out)))
}

fn pick(samples: &[Sample], positions: &[usize]) -> Vec<Sample> {
    positions.iter().filter_map(|&i| samples.get(i).cloned()).collect()
}

/// A deviation below this share of the global one is taken for this much: a dimension that never changes on good parts
/// must not drown all others when it does.
const LEAST_DEVIATION: f64 = 1e-3;

fn feature_norm(
    config: &TrainConfig,
    statistics: &FeatureStatistics,
    device: &Device,
) -> Result<FeatureNorm, TrainError> {
    let global = statistics.global_deviation;
    let dim = statistics.mean.len();
    let norm = match config.feature_scale {
        FeatureScale::None => FeatureNorm::identity(dim, device),
        _ if global <= 0.0 => {
            return Err(TrainError::Setting {
                name: "feature_scale",
                value: format!("{:?}", config.feature_scale),
                problem: "the features of all training images are one constant: are the images blank?".into(),
            });
        }
        FeatureScale::GlobalDeviation => {
            FeatureNorm::new(&vec![0.0; dim], &vec![(1.0 / global) as f32; dim], device)
        }
        FeatureScale::PerDimension => {
            let mean: Vec<f32> = statistics.mean.iter().map(|&m| m as f32).collect();
            let inverse = |d: &f64| (1.0 / d.max(LEAST_DEVIATION * global)) as f32;
            let scale: Vec<f32> = statistics.deviation.iter().map(inverse).collect();
            FeatureNorm::new(&mean, &scale, device)
        }
    };
    Ok(norm?)
}

/// Features of width `dim` of every sample (and its augmented copies), in order; `see` is shown each unchanged image.
pub(crate) fn extract(
    config: &TrainConfig,
    compiled: &CompiledExtractor,
    dim: usize,
    samples: &[Sample],
    what: &str,
    reporter: &dyn Reporter,
    see: &mut dyn FnMut(&PreparedImage),
) -> Result<FeatureCache, TrainError> {
    let (rows, columns) = compiled.grid();
    let precision = match config.batch {
        Batch::Images(_) => Precision::F32,
        Batch::Patches { .. } => Precision::F16,
    };
    let passes = 1 + config.augmentation.copies;
    let mut cache = FeatureCache::new(precision, samples.len() * passes, rows * columns, dim);
    let paths: Vec<PathBuf> = samples.iter().map(|s| s.path.clone()).collect();
    reporter.start(what, (samples.len() * passes) as u64);
    for pass in 0..passes {
        // The first pass is unchanged; every further one changes each image anew.
        let options = match pass {
            0 => LoaderOptions::default(),
            _ => LoaderOptions {
                augment: config.augmentation.options.clone(),
                seed: config.seed.wrapping_add(pass as u64),
                ..LoaderOptions::default()
            },
        };
        for image in Loader::new(paths.clone(), &config.preprocess, &options)? {
            let image = image?;
            if pass == 0 {
                see(&image);
            }
            cache.push(&compiled.features(&image.tensor)?);
            reporter.advance(1);
            stop_if_asked(reporter)?;
        }
    }
    reporter.finish();
    Ok(cache)
}

/// Features and labels of a test set, for the oracle.
struct OracleSet {
    cache: FeatureCache,
    labels: Vec<bool>,
}

impl OracleSet {
    fn new(
        config: &TrainConfig,
        compiled: &CompiledExtractor,
        dim: usize,
        samples: &[Sample],
        reporter: &dyn Reporter,
    ) -> Result<Self, TrainError> {
        let plain = TrainConfig {
            augmentation: Augmentation { copies: 0, ..config.augmentation.clone() },
            ..config.clone()
        };
        let cache = extract(
            &plain,
            compiled,
            dim,
            samples,
            "computing test features for the oracle",
            reporter,
            &mut |_| {},
        )?;
        Ok(Self { cache, labels: samples.iter().map(|s| s.label == Label::Anomalous).collect() })
    }

    fn image_auroc(
        &self,
        config: &TrainConfig,
        norm: &FeatureNorm,
        scoring: &Scoring,
        columns: usize,
    ) -> Result<f64, TrainError> {
        let score = |image| {
            let scores = scoring.patch_scores(&self.cache, norm, image, columns)?;
            Ok(image_score(&scores, columns, config.image_score))
        };
        let scores: Vec<f32> = (0..self.cache.images()).map(score).collect::<Result<_, TrainError>>()?;
        Ok(simplenet_metrics::auroc(&scores, &self.labels)?)
    }
}

/// What makes patch scores of cached features, as the finished network does.
struct Scoring {
    head: Head,
    positions: Option<PositionEnergy>,
}

impl Scoring {
    /// A head as it is now, and its positions' energy brought to its scale on images of `cache`.
    fn of(
        config: &TrainConfig,
        head: &TrainedHead,
        positions: Option<PositionEnergy>,
        cache: &FeatureCache,
    ) -> Result<Self, TrainError> {
        let mut scoring = Self { head: model_head(head, &Device::Cpu)?, positions };
        if let (Position::Cells(position), Some(energy)) = (&config.position, &mut scoring.positions) {
            let (rows, columns) = (energy.config.rows, energy.config.columns);
            let (mut scores, mut energies) = (vec![], vec![]);
            for image in weighed_images(cache) {
                let features = rows_of(cache, &head.norm, image);
                energies.extend(energy.energies(&features, rows, columns)?);
                scores.extend(score_rows(&scoring.head, &features)?);
            }
            energy.weights = weigh(&scores, &energies, position.head_weight);
        }
        Ok(scoring)
    }

    /// Patch scores of one image of a cache.
    fn patch_scores(
        &self,
        cache: &FeatureCache,
        norm: &FeatureNorm,
        image: usize,
        columns: usize,
    ) -> Result<Vec<f32>, TrainError> {
        let features = rows_of(cache, norm, image);
        let mut scores = score_rows(&self.head, &features)?;
        if let Some(energy) = &self.positions {
            let energies = energy.energies(&features, scores.len() / columns, columns)?;
            scores.iter_mut().zip(energies).for_each(|(score, e)| *score = energy.weights.join(*score, e));
        }
        Ok(scores)
    }
}

/// The statistics of every place, if the settings ask for them.
fn positions(
    config: &TrainConfig,
    cache: &FeatureCache,
    norm: &FeatureNorm,
    grid: [usize; 2],
) -> Result<Option<PositionEnergy>, TrainError> {
    match &config.position {
        Position::Unaware => Ok(None),
        Position::Cells(position) => {
            fit_positions(cache, norm, grid, position, &Generator::new(config.seed)).map(Some)
        }
    }
}

/// Features of one image of a cache, after the norm: (h·w, D).
fn rows_of(cache: &FeatureCache, norm: &FeatureNorm, image: usize) -> Vec<f32> {
    let patches = cache.patches() as u32;
    let indices: Vec<u32> = (image as u32 * patches..(image as u32 + 1) * patches).collect();
    let mut rows = vec![];
    cache.gather(&indices, norm, &mut rows);
    rows
}

/// The discriminator's scores of rows of features.
fn score_rows(head: &Head, rows: &[f32]) -> Result<Vec<f32>, TrainError> {
    let dim = head.config().adaptor.dim;
    let features = Tensor::from_slice(rows, (rows.len() / dim, dim), &Device::Cpu)?;
    Ok(head.score(&features)?.to_vec1::<f32>().map_err(simplenet_model::ModelError::from)?)
}

/// The trained numbers as the model crate's layers.
fn model_head(head: &TrainedHead, device: &Device) -> Result<Head, TrainError> {
    Ok(Head::from_tensors(head.config(), &head.to_tensors(device)?, device, Path::new("the trained head"))?)
}

/// As JSON, by way of its text: 0.485 as an f32 stays 0.485, where `to_value` would widen it to 0.48500001430511475.
fn to_json<T: Serialize>(value: &T) -> Result<serde_json::Value, TrainError> {
    serde_json::to_string(value)
        .and_then(|text| serde_json::from_str(&text))
        .map_err(|e| TrainError::config(Path::new("model file"), e))
}

/// The record that travels in the model file, without a threshold yet.
fn record(
    config: &TrainConfig,
    net: &SimpleNet,
    ranges: ActivationRanges,
) -> Result<ModelRecord, TrainError> {
    let input = RecordInput {
        created_by: crate::program(),
        anomaly_map: AnomalyMapConfig { sigma: config.map_sigma, ..AnomalyMapConfig::default() },
        image_score: config.image_score,
        mean: config.preprocess.mean,
        std: config.preprocess.std,
        preprocessing: to_json(&config.preprocess)?,
        training: to_json(config)?,
        goldens: golden_inputs(&Generator::new(config.seed), config.backbone.nearest_side(GOLDEN_SIZE))?,
    };
    Ok(ModelRecord { activation_ranges: Some(ranges), ..ModelRecord::new(net, input)? })
}

/// Small inputs whose scores the model file keeps for `verify`: coloured squares drawn by the seed. Not photographs: a
/// model file may travel further than the pictures of the parts it was trained on.
fn golden_inputs(generator: &Generator, side: usize) -> Result<Vec<GoldenInput>, TrainError> {
    let colour = |golden: usize, x: usize, y: usize| {
        let square = (y / GOLDEN_SQUARE) * side + x / GOLDEN_SQUARE;
        generator.block(Purpose::Golden, golden as u32, square as u64)[..3].to_vec()
    };
    (0..GOLDENS)
        .map(|golden| {
            let pixels = (0..side * side).map(|i| colour(golden, i % side, i / side));
            let rgb: Vec<u8> = pixels.flatten().map(|word| (word >> 24) as u8).collect();
            Ok(GoldenInput::from_interleaved(side, side, &rgb)?)
        })
        .collect()
}
