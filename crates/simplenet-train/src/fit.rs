//! From a folder of good photographs to a calibrated detector: the whole of training in one call.
//!
//! In: a configuration, the samples to train on, the backbone's weights. Out: a `Fit`: the detector and what is known
//! about how it came to be. Test images take part only in the `oracle`, which reports and never chooses.

use std::{
    path::{Path, PathBuf},
    time::Instant,
};

use candle_core::Device;
use serde::{Deserialize, Serialize};
use simplenet_data::{
    ImageProfile,
    dataset::{Label, Sample},
    loader::{Loader, LoaderOptions},
};
use simplenet_inference::{Detector, DetectorOptions, DeviceChoice, timed};
use simplenet_model::{
    ActivationRanges, BackboneWeights,
    anomaly_map::AnomalyMapConfig,
    checkpoint::{self, GoldenInput, ModelRecord, RecordInput},
    feature_norm::FeatureNorm,
    simplenet::{FeatureExtractor, SimpleNet},
};

use crate::{
    calibration::{self, calibrate_detector},
    config::{FeatureScale, TrainConfig, to_json},
    error::TrainError,
    evaluation::oracle::{OracleSet, Places, model_head},
    features::{
        Extraction, FeatureStorage, FeatureUse,
        cache::FeatureStatistics,
        training_set::{Appearance, TrainingSet},
    },
    head::{
        resume::{KeepState, Keeper},
        trainer::{self, Epoch},
        training_state::{Identity, Oracle, kind},
    },
    noise::{Generator, Purpose},
    reporter::Reporter,
    statistics::{activation_ranges::activation_ranges, sample_range::with_sample_range},
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
        let saved = checkpoint::save(path, &self.net, self.detector.record())?;
        Ok(self.detector.set_record(saved)?)
    }
}

/// Facts about a training run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FitReport {
    /// Images trained on.
    pub trained_images: usize,
    /// Good images held out of these for the threshold.
    pub held_out_images: usize,
    /// Good images of the data set's own validation set, which gave the threshold instead.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub validation_images: usize,
    /// Standard deviation of the unscaled training features.
    pub feature_deviation: f64,
    /// Mean loss of every epoch.
    pub losses: Vec<f64>,
    /// Where the features came from and where they were kept.
    #[serde(default)]
    pub features: FeatureUse,
    /// What computed features and trained adaptor and discriminator: `cpu` or `cuda`.
    #[serde(default)]
    pub device: String,
    /// Seconds for reading the images and computing their features.
    pub extraction_seconds: f64,
    /// Seconds for training adaptor and discriminator.
    pub training_seconds: f64,
    /// Seconds from start to calibrated detector, without the oracle's.
    pub fit_seconds: f64,
    /// The best epoch on the test set, when it was asked for.
    pub oracle: Option<Oracle>,
}

fn is_zero(count: &usize) -> bool {
    *count == 0
}

/// What a training may do beside training. By default the CPU trains, features stay in memory, there is no oracle, and
/// nothing is kept.
#[derive(Debug, Clone)]
pub struct FitOptions<'a> {
    /// Where features may lie. It changes no bit of the result.
    pub storage: FeatureStorage,
    /// Good images apart from those to train on, which give the threshold. Where there are any, none is held out.
    pub validation: &'a [Sample],
    /// A test set to report the best epoch on.
    pub oracle: Option<&'a [Sample]>,
    /// Where the state of the training is kept. The training goes on from it if it was interrupted, by a kill or by
    /// `Reporter::stop`: with the same weights in the end. The caller removes the file once the result is safe.
    pub keep: Option<KeepState>,
    /// What computes features and trains adaptor and discriminator. The threshold is set with the CPU's scores.
    pub device: Device,
}

impl Default for FitOptions<'_> {
    fn default() -> Self {
        Self {
            storage: FeatureStorage::default(),
            validation: &[],
            oracle: None,
            keep: None,
            device: Device::Cpu,
        }
    }
}

/// Trains, calibrates and returns a detector.
///
/// # Errors
/// Too few or unreadable images, unusable settings, weights that do not fit, a diverging loss;
/// `TrainError::Interrupted` when the reporter asked to stop.
pub fn fit(
    config: &TrainConfig,
    train: &[Sample],
    weights: &BackboneWeights,
    options: &FitOptions<'_>,
    reporter: &dyn Reporter,
) -> Result<Fit, TrainError> {
    let start = Instant::now();
    config.validate()?;
    let config = &with_sample_range(config, train, options.validation, reporter);
    let (train, held_out) = training_samples(config, train, options.validation)?;
    let has_validation = !options.validation.is_empty();
    let device = Device::Cpu;
    let extractor =
        FeatureExtractor::load(config.backbone, config.levels, weights, config.aggregator, &device)?;
    let mut extraction = Extraction::new(config, &extractor, &options.device, &options.storage, reporter)?;

    let mut set = TrainingSet::default();
    let see = &mut |path: &Path, appearance| set.see(path, appearance);
    let copies = config.augmentation.copies;
    let (cache, features) = extraction.features(&train, copies, "computing features", see)?;
    let extraction_seconds = start.elapsed().as_secs_f64();
    // Those that are held out too: a copy among them is what spoils a threshold.
    let paths: Vec<PathBuf> = held_out.iter().map(|sample| sample.path.clone()).collect();
    let compared = Appearance::preprocess(&config.preprocess);
    for image in Loader::new(paths, &compared, &LoaderOptions::default())? {
        let image = image?;
        set.see(&held_out[image.index].path, Appearance::of(&image, &compared));
    }
    set.notes().iter().for_each(|note| reporter.warn(note));
    let statistics = cache.statistics();
    let norm = feature_norm(config, &statistics, &device)?;
    let ranges = activation_ranges(&mut extraction, &train)?;

    let grid = extraction.engine.grid();
    let (places, fitting) = timed(|| Places::fit(config, &cache, &norm, grid));
    let places = places?;
    let (test, mut oracle_time) = timed(|| {
        let set = |samples| OracleSet::new(&mut extraction, samples, places.as_ref(), &norm);
        options.oracle.map(set).transpose()
    });
    let test = test?;
    drop(extraction);
    let extraction_of_test = oracle_time;
    let training = Instant::now();
    let mut state = trainer::begin(config, cache.dim(), norm);
    let mut keeper = match &options.keep {
        Some(keep) => {
            let identity = Identity::new(config, &cache, test.is_some(), &options.device)?;
            Keeper::new(keep, identity, &mut state, reporter)
        }
        None => Keeper::none(),
    };
    let mut on_epoch = |mut epoch: Epoch<'_>| {
        let looks = epoch.number.is_multiple_of(ORACLE_EVERY) || epoch.number == config.epochs;
        if let Some(test) = test.as_ref().filter(|_| looks) {
            let head = epoch.head()?;
            let look = || test.image_auroc(config, head, places.as_ref(), &cache);
            let (image_auroc, looking) = timed(look);
            oracle_time += looking;
            let image_auroc = image_auroc?;
            if epoch.oracle.is_none_or(|best| image_auroc > best.image_auroc) {
                *epoch.oracle = Some(Oracle { epoch: epoch.number, image_auroc });
            }
        }
        Ok(())
    };
    let trainer = &options.device;
    let state = trainer::train_head(trainer, config, &cache, state, &mut keeper, reporter, &mut on_epoch)?;
    let head = state.head;
    let looking = oracle_time - extraction_of_test;
    let training_seconds = (fitting + training.elapsed() - looking).as_secs_f64();
    let layers = model_head(&head, &device)?;
    let positions = places.map(|places| places.joined(&layers, &head.norm, &cache)).transpose()?;
    drop(cache);

    let net = SimpleNet::new(extractor, head.norm.clone(), layers)?;
    let net = match positions {
        Some(positions) => net.with_position(positions)?,
        None => net,
    };
    let record = record(config, &net, Some(ranges), set.profile().as_ref())?;
    let mut detector = Detector::from_network(&net, record, &on_cpu())?;
    calibrate_detector(&mut detector, config, &held_out, &train, reporter)?;
    let report = FitReport {
        trained_images: train.len(),
        held_out_images: if has_validation { 0 } else { held_out.len() },
        validation_images: if has_validation { held_out.len() } else { 0 },
        feature_deviation: statistics.global_deviation,
        losses: state.losses,
        features,
        device: kind(&options.device).into(),
        extraction_seconds,
        training_seconds,
        fit_seconds: (start.elapsed() - oracle_time).as_secs_f64(),
        oracle: state.oracle,
    };
    Ok(Fit { detector, net, report })
}

/// A detector as calibration needs it: the threshold is set with the CPU's scores.
pub(crate) fn on_cpu() -> DetectorOptions {
    let mut options = DetectorOptions::default();
    options.device = DeviceChoice::Cpu;
    options
}

/// The good samples that are trained on, and those that give the threshold: the validation set, or samples held out where
/// there is none.
pub(crate) fn training_samples(
    config: &TrainConfig,
    samples: &[Sample],
    validation: &[Sample],
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
    if !validation.is_empty() {
        return Ok((good, validation.to_vec()));
    }
    let split = calibration::split(good.len(), &config.calibration, &Generator::new(config.seed));
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

/// The record that travels in the model file, without a threshold yet.
pub(crate) fn record(
    config: &TrainConfig,
    net: &SimpleNet,
    ranges: Option<ActivationRanges>,
    profile: Option<&ImageProfile>,
) -> Result<ModelRecord, TrainError> {
    let input = RecordInput {
        created_by: crate::program(),
        anomaly_map: AnomalyMapConfig { sigma: config.map_sigma, ..AnomalyMapConfig::default() },
        image_score: config.image_score,
        mean: config.preprocess.mean,
        std: config.preprocess.std,
        preprocessing: to_json(&config.preprocess)?,
        training: to_json(config)?,
        goldens: golden_inputs(&Generator::new(config.seed), golden_sides(config))?,
    };
    let min_region_area = config.min_region_area;
    Ok(ModelRecord {
        activation_ranges: ranges,
        image_profile: profile.map(to_json).transpose()?,
        min_region_area,
        ..ModelRecord::new(net, input)?
    })
}

/// Width and height of the golden inputs: no larger than the network's, whose places the position-aware statistics know.
fn golden_sides(config: &TrainConfig) -> [usize; 2] {
    let (width, height) = config.preprocess.network_size();
    let most = config.backbone.nearest_side(GOLDEN_SIZE);
    [width, height].map(|side| most.min(side as usize))
}

/// Small inputs whose scores the model file keeps for `verify`: coloured squares drawn by the seed. Not photographs: a
/// model file may travel further than the pictures of the parts it was trained on.
fn golden_inputs(generator: &Generator, [width, height]: [usize; 2]) -> Result<Vec<GoldenInput>, TrainError> {
    let colour = |golden: usize, x: usize, y: usize| {
        let square = (y / GOLDEN_SQUARE) * width + x / GOLDEN_SQUARE;
        generator.block(Purpose::Golden, golden as u32, square as u64)[..3].to_vec()
    };
    (0..GOLDENS)
        .map(|golden| {
            let pixels = (0..width * height).map(|i| colour(golden, i % width, i / width));
            let rgb: Vec<u8> = pixels.flatten().map(|word| (word >> 24) as u8).collect();
            Ok(GoldenInput::from_interleaved(width, height, &rgb)?)
        })
        .collect()
}
