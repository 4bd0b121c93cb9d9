//! A trained detector: what it takes from a decoded photograph to a verdict, in one object.
//!
//! In: a decoded RGB photograph of any size, or several. Out: the raw image score, the anomaly map at the network's size and in
//! the photograph's own pixels, the regions above the threshold, and the time each part took.

mod settings;

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use candle_core::Device;
use image::RgbImage;
use rayon::prelude::*;
use simplenet_data::{
    DataError, Difference, FileTraits, ImageProfile, ImageTraits,
    decode::Decoded,
    loader::cut,
    preprocess::{Placement, Preprocess},
};
use simplenet_model::{
    BatchPredictor, Normalisation, Opened, Predictor, PredictorOptions,
    anomaly_map::image_score_within,
    checkpoint::{self, ModelRecord},
    device,
    simplenet::SimpleNet,
};

pub use crate::regions::{AnomalousRegion, regions_above};
use crate::{
    batch_limit::BatchLimit,
    error::TrainError,
    image_profile::profile_of,
    inference_precision::InferencePrecision,
    views::{TileView, View, Views, tile_map},
};

/// Photographs that go through the network at once on a GPU, when no number is given.
pub const BATCH: usize = 16;

/// A network, compiled, with the preprocessing and the threshold that belong to it. The network that it was compiled from
/// is not kept: inspecting does not need it.
pub struct Detector {
    /// Compiled for the preprocessing's size.
    network: Network,
    /// The device's name.
    device: String,
    precision: InferencePrecision,
    preprocess: Preprocess,
    /// What of photographs is looked at.
    views: Views,
    record: ModelRecord,
    /// What the images were like that it was trained on, where the record says it.
    profile: Option<ImageProfile>,
}

/// The two forms of a compiled network.
enum Network {
    /// One image at a time, on the CPU.
    Single(Box<Predictor>),
    /// Batches, on a GPU.
    Batches(Box<BatchPredictor>, BatchLimit),
}

/// What was found in one photograph.
#[derive(Debug, Clone)]
pub struct Inspection {
    /// Raw image score: of the raw patch scores, by the rule in the record. Higher is more anomalous; no fixed range.
    pub score: f32,
    /// Anomaly map at the network's input size, or that of all tiles together, (height, width) row-major: raw patch scores,
    /// enlarged and smoothed; NaN outside the region of interest.
    pub map: Vec<f32>,
    /// Width and height of `map`.
    pub map_size: (u32, u32),
    /// The same map in the photograph's own pixels, (height, width) row-major; NaN where a crop left them out, and outside the
    /// region of interest.
    pub photograph_map: Vec<f32>,
    /// The regions of an anomalous photograph or one for review, largest peak first; none for a normal one or without a
    /// threshold. None that is smaller than the least area in the record.
    pub regions: Vec<AnomalousRegion>,
    /// Where the network's input, or all tiles together, lies in the photograph.
    pub placement: Placement,
    /// Share of the photograph's area that was inspected, 0 to 1: not what a crop or the region of interest leaves out.
    pub inspected_share: f64,
    /// In what the photograph is unlike those that the model was trained on, beyond their spread. No verdict depends on it.
    /// Of pixels alone ([`Detector::inspect`]) size, light and sharpness; of files their kind too. None by a model of a
    /// version that did not measure it.
    pub differences: Vec<Difference>,
    /// How long each part took.
    pub times: Times,
}

/// How long the parts of one inspection took (decoding the file is not part of it). Of a batch, `network` is the time of the
/// whole batch over the number of its photographs.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Times {
    /// Resize and crop.
    pub preprocess: Duration,
    /// The input's bytes to patch scores, with normalising.
    pub network: Duration,
    /// Patch scores to both maps, score and regions.
    pub postprocess: Duration,
}

/// A photograph made ready for the network.
pub(crate) struct Prepared {
    /// What its tiles are cut from.
    input: RgbImage,
    view: Arc<View>,
    differences: Vec<Difference>,
    time: Duration,
}

impl Prepared {
    /// The pixels of a tile.
    fn tile(&self, tile: &TileView) -> RgbImage {
        cut(&self.input, self.view.layout.window(tile.index))
    }
}

/// What the network says of a photograph.
pub(crate) struct Scored {
    /// One of each tile of the view.
    tiles: Vec<ScoredTile>,
    view: Arc<View>,
    differences: Vec<Difference>,
    preprocess: Duration,
    network: Duration,
}

/// What the network says of one tile.
struct ScoredTile {
    patch_scores: Vec<f32>,
    /// Where the network makes it; else it is still to be made.
    map: Option<Vec<f32>>,
    time: Duration,
}

impl Detector {
    /// Joins a network with its record and compiles it in f32 for the record's input size; the record's preprocessing must
    /// be one that this program knows.
    ///
    /// # Errors
    /// `TrainError::Config` when the preprocessing in the record cannot be read; a network that cannot be compiled.
    pub fn new(net: &SimpleNet, record: ModelRecord) -> Result<Self, TrainError> {
        Self::new_in(net, record, InferencePrecision::F32)
    }

    /// The same, compiled in another precision. The record's threshold was set with scores in f32.
    ///
    /// # Errors
    /// As [`Detector::new`]; `TrainError::NoActivationRanges` for int8 and a model of a version that did not measure them.
    pub fn new_in(
        net: &SimpleNet,
        record: ModelRecord,
        precision: InferencePrecision,
    ) -> Result<Self, TrainError> {
        let preprocess = preprocess_of(&record)?;
        let (width, height) = preprocess.network_size();
        let mut options = PredictorOptions::default();
        options.precision = precision.of(&record)?;
        let predictor = Predictor::compile(net, height as usize, width as usize, &options)?;
        let views = Views::new(&preprocess, predictor.grid());
        let network = Network::Single(Box::new(predictor));
        let (device, profile) = (device::CPU.into(), profile_of(&record)?);
        Ok(Self { network, device, precision, preprocess, views, record, profile })
    }

    /// The same for a device that was opened: on the CPU as [`Detector::new_in`], on a GPU as [`Detector::in_batches`].
    ///
    /// # Errors
    /// As these.
    pub fn on_device(
        net: &SimpleNet,
        record: ModelRecord,
        precision: InferencePrecision,
        opened: &Opened,
    ) -> Result<Self, TrainError> {
        match opened.device.is_cpu() {
            true => Self::new_in(net, record, precision),
            false => Self::in_batches(net, record, precision, opened),
        }
    }

    /// Compiles the network for batches, of up to [`BATCH`] photographs. It is made for GPUs; on the CPU it gives the same
    /// scores by plain loops, for tests.
    ///
    /// # Errors
    /// `TrainError::Config` when the preprocessing in the record cannot be read; another precision than f32 and f16; a
    /// network that cannot be compiled; a device that is out of memory.
    pub fn in_batches(
        net: &SimpleNet,
        record: ModelRecord,
        precision: InferencePrecision,
        opened: &Opened,
    ) -> Result<Self, TrainError> {
        let preprocess = preprocess_of(&record)?;
        let (width, height) = preprocess.network_size();
        let predictor = BatchPredictor::compile(
            net,
            height as usize,
            width as usize,
            normalisation(&preprocess),
            record.anomaly_map,
            &opened.device,
            precision.of_batches()?,
        )?;
        let views = Views::new(&preprocess, predictor.grid());
        let network = Network::Batches(Box::new(predictor), BatchLimit::new(BATCH));
        let (device, profile) = (opened.name.clone(), profile_of(&record)?);
        Ok(Self { network, device, precision, preprocess, views, record, profile })
    }

    /// Puts at most so many photographs through the network at once, at least one. Changes nothing on the CPU, which takes
    /// them one by one.
    #[must_use]
    pub fn with_batch(mut self, most: usize) -> Self {
        if let Network::Batches(_, limit) = &mut self.network {
            *limit = BatchLimit::new(most);
        }
        self
    }

    /// Reads a model file and compiles it in f32; everything needed is inside it.
    ///
    /// # Errors
    /// A file that is missing, truncated, edited, of a newer format or not a model of this program.
    pub fn load(path: &Path, device: &Device) -> Result<Self, TrainError> {
        Self::load_in(path, device, InferencePrecision::F32)
    }

    /// The same, compiled in another precision.
    ///
    /// # Errors
    /// As [`Detector::load`] and [`Detector::new_in`].
    pub fn load_in(path: &Path, device: &Device, precision: InferencePrecision) -> Result<Self, TrainError> {
        let (net, record) = checkpoint::load(path, device)?;
        Self::new_in(&net, record, precision)
    }

    /// Reads a model file and compiles it for a device that was opened.
    ///
    /// # Errors
    /// As [`Detector::load`] and [`Detector::on_device`].
    pub fn load_on(path: &Path, precision: InferencePrecision, opened: &Opened) -> Result<Self, TrainError> {
        let (net, record) = checkpoint::load(path, &Device::Cpu)?;
        Self::on_device(&net, record, precision, opened)
    }

    /// Writes the model file of `net`, which this was compiled from, whole or not at all.
    ///
    /// # Errors
    /// A network of another structure or backbone; a file that cannot be written.
    pub fn save(&mut self, path: &Path, net: &SimpleNet) -> Result<(), TrainError> {
        self.record = checkpoint::save(path, net, &self.record)?;
        Ok(())
    }

    /// The record that travels in the model file.
    pub fn record(&self) -> &ModelRecord {
        &self.record
    }

    /// The numbers that the network computes in.
    pub fn precision(&self) -> InferencePrecision {
        self.precision
    }

    /// The name of the device that the network runs on: `CPU`, or a GPU's.
    pub fn device(&self) -> &str {
        &self.device
    }

    /// How many photographs go through the network at once, at most: 1 on the CPU.
    pub fn batch(&self) -> usize {
        match &self.network {
            Network::Single(_) => 1,
            Network::Batches(_, limit) => limit.most(),
        }
    }

    /// The network that takes batches; none on the CPU.
    pub fn batch_predictor(&self) -> Option<&BatchPredictor> {
        match &self.network {
            Network::Single(_) => None,
            Network::Batches(predictor, _) => Some(predictor),
        }
    }

    /// What a person should know after a run, said once: that the device's memory has made the batches smaller.
    pub fn take_note(&self) -> Option<String> {
        match &self.network {
            Network::Single(_) => None,
            Network::Batches(_, limit) => limit.take_note(&self.device),
        }
    }

    /// From photograph to network input.
    pub fn preprocess(&self) -> &Preprocess {
        &self.preprocess
    }

    /// What the images were like that it was trained on; none in models of versions that did not measure it.
    pub fn image_profile(&self) -> Option<&ImageProfile> {
        self.profile.as_ref()
    }

    /// Reads photographs of up to so many pixels, for this object only.
    pub fn override_max_pixels(&mut self, pixels: u64) {
        self.preprocess.decode.max_pixels = pixels;
    }

    /// Inspects one photograph.
    ///
    /// # Errors
    /// An image without pixels; one smaller than a tile, or of another number of tiles than the model was trained on, if it
    /// knows their places; a region of interest that leaves nothing of it; a failing tensor operation.
    pub fn inspect(&self, photograph: &RgbImage) -> Result<Inspection, TrainError> {
        self.finish(self.score(self.prepare(photograph, None)?)?)
    }

    /// Inspects one photograph that was decoded from a file, whose kind is compared with those trained on, too.
    ///
    /// # Errors
    /// As [`Detector::inspect`].
    pub fn inspect_decoded(&self, photograph: &Decoded) -> Result<Inspection, TrainError> {
        let file = FileTraits::from(&photograph.source);
        self.finish(self.score(self.prepare(&photograph.pixels, Some(file))?)?)
    }

    /// Inspects several photographs, which may be of different sizes: on a GPU in batches, on the CPU one after the other.
    /// The scores are those of [`Detector::inspect`], however many go together.
    ///
    /// # Errors
    /// As [`Detector::inspect`], for the first photograph that has one. A device whose memory does not hold one photograph;
    /// batches that it does not hold are halved.
    pub fn inspect_batch(&self, photographs: &[RgbImage]) -> Result<Vec<Inspection>, TrainError> {
        let prepared: Vec<Prepared> = photographs
            .par_iter()
            .map(|photograph| self.prepare(photograph, None))
            .collect::<Result<_, _>>()?;
        self.score_all(prepared)?.into_par_iter().map(|scored| self.finish(scored)).collect()
    }

    /// Resize and crop; in what it is unlike those trained on.
    pub(crate) fn prepare(
        &self,
        photograph: &RgbImage,
        file: Option<FileTraits>,
    ) -> Result<Prepared, TrainError> {
        let (prepared, time) = timed(|| -> Result<_, TrainError> {
            let view = self.views.of(photograph.dimensions())?;
            self.check_tiles(photograph.dimensions(), &view)?;
            let differences = self.profile.as_ref().map_or_else(Vec::new, |profile| {
                profile.differences(&ImageTraits::of_file(photograph, file))
            });
            Ok((self.preprocess.resize_crop(photograph)?, view, differences))
        });
        let (input, view, differences) = prepared?;
        Ok(Prepared { input, view, differences, time })
    }

    /// A network that knows the places of tiles takes photographs of as many.
    fn check_tiles(&self, (width, height): (u32, u32), view: &View) -> Result<(), TrainError> {
        let Some(known) = self.record.position.map(|position| position.tiles) else { return Ok(()) };
        let found = view.layout.grid();
        if found == known {
            return Ok(());
        }
        let tiles = |[down, across]: [usize; 2]| format!("{across} x {down} tiles");
        Err(DataError::WrongSize {
            what: "the photograph",
            found: format!("{width} x {height} pixels, {}", tiles(found)),
            expected: format!(
                "{} as the photographs that the model was trained on, whose places it knows; photographs of another size need \
                 a model of their own, or one trained with `position = \"unaware\"`",
                tiles(known)
            ),
        }
        .into())
    }

    /// The network, for one.
    fn score(&self, prepared: Prepared) -> Result<Scored, TrainError> {
        let one = |tile: &TileView| -> Result<ScoredTile, TrainError> {
            let input = prepared.tile(tile);
            let (scores, time) = timed(|| match &self.network {
                Network::Single(predictor) => {
                    let normalisation = normalisation(&self.preprocess);
                    let scores = predictor.patch_scores_of_tile(&input, &normalisation, tile.index)?;
                    Ok::<_, TrainError>((scores, None))
                }
                Network::Batches(predictor, _) => {
                    let output = predictor.run_tile(&input, tile.index)?;
                    Ok((output.patch_scores, Some(output.maps)))
                }
            });
            let (patch_scores, map) = scores?;
            Ok(ScoredTile { patch_scores, map, time })
        };
        let tiles = prepared.view.tiles.iter().map(one).collect::<Result<Vec<_>, _>>()?;
        Ok(joined(prepared, tiles))
    }

    /// The network, for several; in their order.
    pub(crate) fn score_all(&self, prepared: Vec<Prepared>) -> Result<Vec<Scored>, TrainError> {
        let Network::Batches(predictor, limit) = &self.network else {
            return prepared.into_iter().map(|one| self.score(one)).collect();
        };
        let tiles = |(i, one): (usize, &Prepared)| (0..one.view.tiles.len()).map(move |nth| (i, nth));
        let mut inputs: Vec<(usize, usize)> = prepared.iter().enumerate().flat_map(tiles).collect();
        // A batch is of one place in the photographs, where the network knows places apart.
        let place = |&(i, nth): &(usize, usize)| match predictor.tiles() {
            1 => 0,
            _ => prepared[i].view.tiles[nth].index,
        };
        inputs.sort_by_key(place);
        let mut scored: Vec<Vec<Option<ScoredTile>>> =
            prepared.iter().map(|one| one.view.tiles.iter().map(|_| None).collect()).collect();
        for group in inputs.chunk_by(|a, b| place(a) == place(b)) {
            let of_group = limit.run_all(group, |batch| self.score_batch(predictor, &prepared, batch))?;
            for (&(i, nth), tile) in group.iter().zip(of_group) {
                scored[i][nth] = Some(tile);
            }
        }
        let with_tiles = |(one, tiles): (Prepared, Vec<Option<ScoredTile>>)| {
            let tiles: Option<Vec<ScoredTile>> = tiles.into_iter().collect();
            Ok(joined(one, tiles.ok_or(TrainError::Stopped)?))
        };
        prepared.into_iter().zip(scored).map(with_tiles).collect()
    }

    /// Tiles of the same place: photograph, and place among its tiles.
    fn score_batch(
        &self,
        predictor: &BatchPredictor,
        prepared: &[Prepared],
        batch: &[(usize, usize)],
    ) -> Result<Vec<ScoredTile>, TrainError> {
        let tile = |&(i, nth): &(usize, usize)| &prepared[i].view.tiles[nth];
        let index = batch.first().map_or(0, |first| tile(first).index);
        let (output, time) = timed(|| {
            let inputs: Vec<RgbImage> = batch.iter().map(|at| prepared[at.0].tile(tile(at))).collect();
            let inputs: Vec<&[u8]> = inputs.iter().map(|input| input.as_raw().as_slice()).collect();
            predictor.run_tile(&inputs.concat(), index)
        });
        let output = output?;
        let (rows, columns) = predictor.grid();
        let (width, height) = self.preprocess.network_size();
        let scores = output.patch_scores.chunks_exact(rows * columns);
        let maps = output.maps.chunks_exact(width as usize * height as usize);
        let scored = scores.zip(maps).map(|(scores, map)| ScoredTile {
            patch_scores: scores.to_vec(),
            map: Some(map.to_vec()),
            time: time / batch.len() as u32,
        });
        Ok(scored.collect())
    }

    /// Score, maps and regions.
    pub(crate) fn finish(&self, scored: Scored) -> Result<Inspection, TrainError> {
        let Scored { tiles, view, differences, preprocess, network } = scored;
        let (width, height) = self.preprocess.network_size();
        let (rows, columns) = match &self.network {
            Network::Single(predictor) => predictor.grid(),
            Network::Batches(predictor, _) => predictor.grid(),
        };
        let original = view.placement.original;
        let (found, postprocess) = timed(|| -> Result<_, TrainError> {
            // Not a number where any tile's is not, so that a broken network is not taken for a good part.
            let larger = |max: f32, score: f32| if score.is_nan() || score > max { score } else { max };
            let of_tile = |(tile, scored): (&TileView, &ScoredTile)| {
                let (inside, rule) = (tile.inside.as_deref(), self.record.image_score);
                image_score_within(&scored.patch_scores, tile.own.clone(), columns, inside, rule)
            };
            let score = view.tiles.iter().zip(&tiles).map(of_tile).fold(f32::NEG_INFINITY, larger);
            let size = (width as usize, height as usize);
            let map = |(tile, scored): (&TileView, ScoredTile)| match scored.map {
                Some(map) if tile.inside.is_none() => map,
                _ => tile_map(tile, &scored.patch_scores, (rows, columns), size, &self.record.anomaly_map),
            };
            let maps: Vec<Vec<f32>> = view.tiles.iter().zip(tiles).map(map).collect();
            let (map, photograph_map) = view.join(maps)?;
            let regions = self.regions(score, &photograph_map, original)?;
            Ok((score, map, photograph_map, regions))
        });
        let (score, map, photograph_map, regions) = found?;
        let times = Times { preprocess, network, postprocess };
        let View { placement, inspected_share, .. } = *view;
        let map_size = view.map_size();
        Ok(Inspection {
            score,
            map,
            map_size,
            photograph_map,
            regions,
            placement,
            inspected_share,
            differences,
            times,
        })
    }

    /// Inspects the pixels of a photograph that is not a file: (height, width, 3) bytes, RGB, row by row, as cameras and
    /// other libraries hold them.
    ///
    /// # Errors
    /// Another number of bytes than `3 · width · height`; as [`Detector::inspect`].
    pub fn inspect_rgb(&self, width: u32, height: u32, rgb: &[u8]) -> Result<Inspection, TrainError> {
        let photograph = RgbImage::from_raw(width, height, rgb.to_vec()).ok_or(DataError::WrongSize {
            what: "the photograph's pixels",
            found: format!("{} bytes", rgb.len()),
            expected: format!("3 x {width} x {height}"),
        })?;
        self.inspect(&photograph)
    }

    /// A region is an 8-connected set of pixels at or above the map threshold, or the lower border of the band for a
    /// photograph in it. The image score is the largest raw
    /// patch score and the map is smoothed: a small defect may raise the first above its threshold and leave the
    /// second below. Then the region around the map's peak is given, down to half way from the peak to the mean. Regions of
    /// less than the record's least area are left out.
    fn regions(
        &self,
        score: f32,
        map: &[f32],
        (width, height): (u32, u32),
    ) -> Result<Vec<AnomalousRegion>, TrainError> {
        let Some(from) = self.record.threshold.and_then(|threshold| threshold.regions_from(score)) else {
            return Ok(vec![]);
        };
        if map.is_empty() {
            return Ok(vec![]);
        }
        let (width, height) = (width as usize, height as usize);
        let large_enough = |region: &AnomalousRegion| region.area >= self.record.min_region_area;
        let mut found = regions_above(map, width, height, from)?;
        if !found.is_empty() {
            found.retain(large_enough);
            return Ok(found);
        }
        let inspected = || map.iter().copied().filter(|v| !v.is_nan());
        let peak = inspected().fold(f32::NEG_INFINITY, f32::max);
        let mean = inspected().map(f64::from).sum::<f64>() / inspected().count().max(1) as f64;
        let mut around = regions_above(map, width, height, 0.5 * (peak + mean as f32))?;
        around.truncate(1);
        around.retain(large_enough);
        Ok(around)
    }
}

fn joined(Prepared { view, differences, time, .. }: Prepared, tiles: Vec<ScoredTile>) -> Scored {
    let network = tiles.iter().map(|tile| tile.time).sum();
    Scored { tiles, view, differences, preprocess: time, network }
}

fn preprocess_of(record: &ModelRecord) -> Result<Preprocess, TrainError> {
    let preprocess: Preprocess = serde_json::from_value(record.preprocessing.clone())
        .map_err(|e| TrainError::config(Path::new("model file, preprocessing"), e))?;
    preprocess.validate()?;
    Ok(preprocess)
}

fn normalisation(preprocess: &Preprocess) -> Normalisation {
    Normalisation { mean: preprocess.mean, std: preprocess.std }
}

/// Runs `work` and gives its result and how long it took.
pub fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let result = work();
    (result, start.elapsed())
}
