//! From photographs to patch features by the compiled engine, each photograph once, tile by tile where it is cut: what an
//! earlier run has computed is read from the feature cache's folder.
//!
//! In: samples, a configuration, the frozen network. Out: a [`FeatureCache`] of their rows, what is to be known of each
//! photograph, the ranges of the activations. A photograph whose results are in the folder is read and hashed, but not
//! decoded. The folder is a convenience: where it fails, training goes on without it, and the results are the same bits.

pub mod cache;
mod engine;
mod key;
mod rows;
mod store;
pub(crate) mod training_set;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use candle_core::Device;
use safetensors::Dtype;
use serde::{Deserialize, Serialize};
use simplenet_data::{
    Ahead, DataError, Lost, PreparedImage,
    dataset::Sample,
    decode::{image_size, image_size_of, read_file},
    loader::{LoaderOptions, prepare_tiles},
};
use simplenet_inference::views::{TileView, View, Views};
use simplenet_model::{ActivationRanges, simplenet::FeatureExtractor};

use crate::{
    config::{Position, Precision, TrainConfig},
    error::TrainError,
    features::{
        cache::{CachedImage, FeatureCache, Room},
        engine::FeatureEngine,
        key::{image_key, network_key},
        rows::{ImageRows, Rows},
        store::{Array, Arrays, FeatureStore, Found, Key},
        training_set::Appearance,
    },
    reporter::{Reporter, stop_if_asked},
};
use simplenet_model::position_energy::ONE_TILE;

/// Most images that are looked at. A layer gives a number for each of thousands of places, so a few images show how far
/// it reaches; more would take longer and add outliers, which make the steps of all bytes coarser.
pub(crate) const RANGE_IMAGES: usize = 32;

/// Photographs that are cut into tiles and are prepared before they are asked for: each may have dozens of tiles, whose time in the
/// network is long beside the decoding.
const TILED_AHEAD: usize = 2;

/// The folder is trimmed each time that this share of its limit was written.
const TRIMMED_AFTER: u64 = 8;

/// Where features may lie. The default keeps all of them in memory, and nothing from run to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeatureStorage {
    /// The folder that keeps them from run to run.
    pub folder: Option<PathBuf>,
    /// Most bytes of files in the folder; those that were not used for longest are removed.
    pub folder_limit: u64,
    /// Most bytes of features in memory; the others lie in a file while a run lasts.
    pub memory_limit: u64,
}

impl Default for FeatureStorage {
    fn default() -> Self {
        Self { folder: None, folder_limit: u64::MAX, memory_limit: u64::MAX }
    }
}

/// Where the training features came from and where they were kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeatureUse {
    /// Images, changed copies with them; of photographs that are cut, their tiles.
    pub images: usize,
    /// Those of them whose features an earlier run had computed.
    pub from_cache: usize,
    /// Bytes of features in memory.
    pub bytes_in_memory: u64,
    /// Bytes of features in a file, beyond the memory limit.
    pub bytes_on_disk: u64,
}

/// The frozen network, compiled, with the folder of what it has computed before.
pub(crate) struct Extraction<'a> {
    config: &'a TrainConfig,
    pub(crate) engine: FeatureEngine<'a>,
    /// What of photographs is looked at.
    views: Arc<Views>,
    shape: Shape,
    keeping: Option<Keeping>,
    /// Bytes of features that may still go into memory.
    memory: u64,
    /// The folder for features beyond that.
    beyond: PathBuf,
    reporter: &'a dyn Reporter,
}

/// The folder, and what this run does with it.
struct Keeping {
    store: Arc<FeatureStore>,
    /// The part of the keys that all images share.
    network: Key,
    /// What this run has put there.
    put: Vec<Key>,
    /// Bytes of files that this run has read or put.
    used: u64,
    put_since_trim: u64,
    /// Results that did not fit under the limit.
    left_out: usize,
    damaged: Vec<PathBuf>,
}

/// What a file must hold to be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Shape {
    precision: Precision,
    patches: usize,
    dim: usize,
}

/// A result that can be kept in a file.
trait Kept: Send + Sized + 'static {
    /// A word for the key.
    const KIND: &'static str;
    fn to_arrays(&self, shape: Shape) -> Arrays;
    /// `None` where a file does not hold such a result.
    fn from_arrays(arrays: &Arrays, shape: Shape) -> Option<Self>;
}

/// Features of one image and what is to be known of the photograph.
struct Features {
    rows: ImageRows,
    appearance: Arc<Appearance>,
}

/// What a photograph's task gives for one of its tiles.
struct Fetched<T> {
    tile: TileView,
    state: State<T>,
}

enum State<T> {
    /// The result of an earlier run, and the bytes of its file.
    Ready(T, u64),
    /// What it is computed from; where the result belongs; a file there that is not whole.
    ToDo(Box<Prepared>, Option<Key>, Option<PathBuf>),
}

/// A tile, and what is to be known of its photograph.
struct Prepared {
    image: PreparedImage,
    appearance: Arc<Appearance>,
}

impl<'a> Extraction<'a> {
    /// Compiles the network for `device` and opens the folder. A folder that cannot be used is said and done without.
    ///
    /// # Errors
    /// A network that cannot be compiled for the configuration's size; a device that is out of memory.
    pub(crate) fn new(
        config: &'a TrainConfig,
        extractor: &'a FeatureExtractor,
        device: &Device,
        storage: &FeatureStorage,
        reporter: &'a dyn Reporter,
    ) -> Result<Self, TrainError> {
        config.preprocess.validate()?;
        let engine = FeatureEngine::new(config, extractor, device)?;
        let (rows, columns) = engine.grid();
        let views = Arc::new(Views::new(&config.preprocess, &[], engine.grid()));
        let shape = Shape {
            precision: config.feature_precision,
            patches: rows * columns,
            dim: extractor.feature_dim(),
        };
        let opened =
            storage.folder.as_ref().map(|folder| (folder, FeatureStore::open(folder, storage.folder_limit)));
        let store = match opened {
            None => None,
            Some((_, Ok(store))) => Some(store),
            Some((folder, Err(error))) => {
                reporter.warn(&format!(
                    "no feature cache: {}: {error}; features are computed, and not kept for the next run",
                    folder.display()
                ));
                None
            }
        };
        let beyond = store.as_ref().map_or_else(std::env::temp_dir, |store| store.folder().to_path_buf());
        let keeping = match store {
            None => None,
            Some(store) => Some(Keeping {
                store: Arc::new(store),
                network: network_key(config, extractor, shape.precision, |drawn| engine.features(drawn))?,
                put: vec![],
                used: 0,
                put_since_trim: 0,
                left_out: 0,
                damaged: vec![],
            }),
        };
        Ok(Self { config, engine, views, shape, keeping, memory: storage.memory_limit, beyond, reporter })
    }

    /// Features of every sample (and of `copies` changed copies), in order; `see` is told of each unchanged photograph.
    ///
    /// # Errors
    /// An image that cannot be read; photographs of other numbers of tiles than the first, where places are to be known; features
    /// beyond the memory limit that cannot be written; `TrainError::Interrupted` when the reporter asked to stop.
    pub(crate) fn features(
        &mut self,
        samples: &[Sample],
        copies: usize,
        what: &str,
        see: &mut dyn FnMut(&Path, Appearance),
    ) -> Result<(FeatureCache, FeatureUse), TrainError> {
        let Shape { precision, patches, dim } = self.shape;
        let passes = 1 + copies;
        let paths: Arc<[PathBuf]> = samples.iter().map(|sample| sample.path.clone()).collect();
        let (tiles, grid) = self.tiles(&paths)?;
        let images = tiles * passes;
        let room = Room { memory: self.memory, folder: self.beyond.clone() };
        let mut cache = FeatureCache::within(room, precision, images, patches, dim).of_tiles(grid);
        let mut from_cache = 0;
        self.reporter.start(what, (samples.len() * passes) as u64);
        for pass in 0..passes {
            // The first pass is unchanged; every further one changes each image anew.
            let options = match pass {
                0 => LoaderOptions::default(),
                _ => LoaderOptions {
                    augment: self.config.augmentation.options.clone(),
                    seed: self.config.seed.wrapping_add(pass as u64),
                    ..LoaderOptions::default()
                },
            };
            let compute = |engine: &FeatureEngine<'_>, tile: &Prepared| {
                let features = engine.features(&tile.image.tensor)?;
                check_finite(&features, dim, &paths[tile.image.index])?;
                let rows = ImageRows::new(precision, dim, &features);
                Ok(Features { rows, appearance: Arc::clone(&tile.appearance) })
            };
            let mut seen = None;
            let take = &mut |index: usize, tile: TileView, features: Features| {
                // Once a photograph, whichever of its tiles comes first.
                if pass == 0 && seen != Some(index) {
                    see(&paths[index], Appearance::clone(&features.appearance));
                    seen = Some(index);
                }
                let photograph = pass * paths.len() + index;
                cache.push_image(&features.rows, CachedImage { photograph, tile })
            };
            from_cache += self.visit(&paths, &options, usize::MAX, compute, take)?;
        }
        self.reporter.finish();
        self.memory -= cache.bytes();
        let (bytes_in_memory, bytes_on_disk) = (cache.bytes(), cache.bytes_on_disk());
        if bytes_on_disk > 0 {
            self.reporter.note(&format!(
                "the features of {images} images are {}, over the memory limit of {}: {} of them lie in a file in {} while \
                 this runs",
                megabytes(bytes_in_memory + bytes_on_disk),
                megabytes(bytes_in_memory + self.memory),
                megabytes(bytes_on_disk),
                self.beyond.display()
            ));
        }
        Ok((cache, FeatureUse { images, from_cache, bytes_in_memory, bytes_on_disk }))
    }

    /// How many tiles there are of all photographs, and the rows and columns of tiles that each has.
    ///
    /// # Errors
    /// A photograph whose header cannot be read; other numbers of tiles, where places are to be known.
    fn tiles(&self, paths: &[PathBuf]) -> Result<(usize, [usize; 2]), TrainError> {
        let preprocess = &self.config.preprocess;
        if preprocess.tiles.is_none() {
            return Ok((paths.len(), ONE_TILE));
        }
        let mut count = 0;
        let mut first: Option<(&PathBuf, [usize; 2])> = None;
        for path in paths {
            let view = self.views.of(image_size(path, &preprocess.decode)?).map_err(|e| e.of_image(path))?;
            count += view.tiles.len();
            let grid = view.layout.grid();
            let (of, known) = *first.get_or_insert((path, grid));
            if known != grid && matches!(self.config.position, Position::Cells(_)) {
                let tiles = |[down, across]: [usize; 2]| format!("{across} x {down} tiles");
                return Err(TrainError::setting(
                    "preprocess.tiles",
                    format!("{} of {}, {} of {}", tiles(known), of.display(), tiles(grid), path.display()),
                    "must be as many of every photograph, because the statistics know their places: take photographs of one \
                     size, or set `position = \"unaware\"`",
                ));
            }
        }
        Ok((count, first.map_or(ONE_TILE, |(_, grid)| grid)))
    }

    /// What the activations of some photographs reach, joined. Of photographs that are cut, so many tiles in all.
    ///
    /// # Errors
    /// An image that cannot be read.
    pub(crate) fn activation_ranges(&mut self, paths: Vec<PathBuf>) -> Result<ActivationRanges, TrainError> {
        let mut ranges = ActivationRanges::default();
        self.reporter.start("measuring activations", paths.len() as u64);
        let compute = |engine: &FeatureEngine<'_>, tile: &Prepared| engine.observe(&tile.image.tensor);
        let take = &mut |_, _, seen: ActivationRanges| {
            ranges.join(&seen);
            Ok(())
        };
        let most = RANGE_IMAGES.div_ceil(paths.len().max(1));
        self.visit(&paths.into(), &LoaderOptions::default(), most, compute, take)?;
        self.reporter.finish();
        Ok(ranges)
    }

    /// Gives `take` the result for every tile of every photograph, in order: an earlier run's, or what `compute` makes of it, which
    /// is kept. At most `most` tiles of a photograph, other ones of each. Returns how many are an earlier run's.
    fn visit<T: Kept>(
        &mut self,
        paths: &Arc<[PathBuf]>,
        options: &LoaderOptions,
        most: usize,
        compute: impl Fn(&FeatureEngine<'a>, &Prepared) -> Result<T, TrainError>,
        take: &mut dyn FnMut(usize, TileView, T) -> Result<(), TrainError>,
    ) -> Result<usize, TrainError> {
        self.config.preprocess.validate()?;
        options.augment.validate()?;
        let look_ahead =
            if self.config.preprocess.tiles.is_some() { TILED_AHEAD } else { options.look_ahead };
        let fetch = self.fetch(paths, options, most);
        let mut ready = 0;
        for (index, fetched) in Ahead::new(paths.len(), look_ahead, fetch).enumerate() {
            let fetched = fetched.unwrap_or_else(|Lost { index }| Err(DataError::lost(&paths[index]).into()));
            for Fetched { tile, state } in fetched? {
                let result = match state {
                    State::Ready(result, size) => {
                        ready += 1;
                        if let Some(keeping) = &mut self.keeping {
                            keeping.used += size;
                        }
                        result
                    }
                    State::ToDo(image, key, damaged) => {
                        let result = compute(&self.engine, &image)?;
                        let shape = self.shape;
                        if let (Some(keeping), Some(key)) = (&mut self.keeping, key) {
                            keeping.damaged.extend(damaged);
                            if let Err(error) = keeping.put(key, || result.to_arrays(shape)) {
                                self.stop_keeping(&error);
                            }
                        }
                        result
                    }
                };
                take(index, tile, result)?;
            }
            self.reporter.advance(1);
            stop_if_asked(self.reporter)?;
        }
        Ok(ready)
    }

    /// What a photograph's task does: reads the file, looks for what is kept of its tiles, and decodes it once if any is missing.
    fn fetch<T: Kept>(
        &self,
        paths: &Arc<[PathBuf]>,
        options: &LoaderOptions,
        most: usize,
    ) -> impl Fn(usize) -> Result<Vec<Fetched<T>>, TrainError> + Send + Sync + use<T> {
        let (paths, preprocess, options) =
            (Arc::clone(paths), self.config.preprocess.clone(), options.clone());
        let kept = self.keeping.as_ref().map(|keeping| (Arc::clone(&keeping.store), keeping.network));
        let (views, shape) = (Arc::clone(&self.views), self.shape);
        move |index: usize| {
            let path: &Path = &paths[index];
            let bytes = read_file(path, preprocess.decode.max_pixels)?;
            let view =
                views.of(image_size_of(&bytes, path, &preprocess.decode)?).map_err(|e| e.of_image(path))?;
            let mut missing = vec![];
            type Looked<T> = (TileView, Option<State<T>>, Option<Key>, Option<PathBuf>);
            let mut fetched: Vec<Looked<T>> = vec![];
            for tile in some_tiles(&view, index, most) {
                let number = preprocess.tiles.map(|_| tile.index);
                let key = kept
                    .as_ref()
                    .map(|(_, network)| image_key(T::KIND, network, &options, index, &bytes, number));
                let (mut damaged, mut ready) = (None, None);
                if let (Some((store, _)), Some(key)) = (&kept, &key) {
                    match store.get(key) {
                        Found::Nothing => {}
                        Found::Damaged(file) => damaged = Some(file),
                        Found::Whole(arrays, size) => match T::from_arrays(&arrays, shape) {
                            Some(result) => ready = Some(State::Ready(result, size)),
                            None => damaged = Some(store.path(key)),
                        },
                    }
                }
                if ready.is_none() {
                    missing.push(tile.index);
                }
                fetched.push((tile.clone(), ready, key, damaged));
            }
            // Of the bytes that were hashed: the file may be another one by now.
            let mut prepared = vec![];
            if !missing.is_empty() {
                let (images, pixels) = prepare_tiles(&bytes, path, index, &preprocess, &options, &missing)?;
                let appearance = Arc::new(Appearance::of_photograph(path, &images, &pixels, &preprocess)?);
                let with_appearance = |image| Prepared { image, appearance: Arc::clone(&appearance) };
                prepared = images.into_iter().map(with_appearance).collect();
            }
            let mut prepared = prepared.into_iter();
            let states = fetched.into_iter().filter_map(|(tile, ready, key, damaged)| {
                let state = match ready {
                    Some(ready) => ready,
                    None => State::ToDo(Box::new(prepared.next()?), key, damaged),
                };
                Some(Fetched { tile, state })
            });
            Ok(states.collect())
        }
    }

    /// Goes on without the folder. What this run has put there goes: where a disk is full, the model needs the room.
    fn stop_keeping(&mut self, error: &std::io::Error) {
        let Some(keeping) = self.keeping.take() else { return };
        for key in &keeping.put {
            let _nothing_more_can_be_done = keeping.store.remove(key);
        }
        self.reporter.warn(&format!(
            "the feature cache cannot be written: {}: {error}; training goes on without it, and the next run computes the \
             features again",
            keeping.store.folder().display()
        ));
    }
}

/// At most so many tiles of a photograph: from another one on for each photograph.
fn some_tiles(view: &View, photograph: usize, most: usize) -> impl Iterator<Item = &TileView> {
    let tiles = &view.tiles;
    let first = if most < tiles.len() { photograph * most % tiles.len() } else { 0 };
    tiles.iter().cycle().skip(first).take(most.min(tiles.len()))
}

/// Features (patches, `dim`) must be finite: what is kept of them is clamped, and would no longer show it.
fn check_finite(features: &[f32], dim: usize, path: &Path) -> Result<(), TrainError> {
    let Some(at) = features.iter().position(|value| !value.is_finite()) else { return Ok(()) };
    Err(TrainError::Photograph {
        path: path.to_path_buf(),
        problem: format!(
            "its features are not finite (value {} of patch {} is {}): the backbone's weights are damaged, or do not fit \
             the normalisation (preprocess.mean, preprocess.std)",
            at % dim.max(1),
            at / dim.max(1),
            features[at]
        ),
    })
}

impl Drop for Extraction<'_> {
    /// Trims the folder and says what a person should know about it.
    fn drop(&mut self) {
        let Some(keeping) = self.keeping.take() else { return };
        let folder = keeping.store.folder().display();
        if let Some(first) = keeping.damaged.first() {
            self.reporter.warn(&format!(
                "{} file(s) of the feature cache were damaged and have been computed again, the first is {}",
                keeping.damaged.len(),
                first.display()
            ));
        }
        if keeping.left_out > 0 {
            self.reporter.warn(&format!(
                "the feature cache in {folder} is limited to {}: the features of {} image(s) are not kept, and the next run \
                 computes them again; raise its limit to keep them",
                megabytes(keeping.store.limit()),
                keeping.left_out
            ));
        }
        if let Err(error) = keeping.store.trim() {
            self.reporter.warn(&format!("the feature cache in {folder} cannot be tidied: {error}"));
        }
    }
}

impl Keeping {
    /// Keeps a result, unless this run's files would then be over the limit: it would push out its own first ones, and
    /// the next run would find none.
    fn put(&mut self, key: Key, arrays: impl FnOnce() -> Arrays) -> std::io::Result<()> {
        if self.used >= self.store.limit() {
            self.left_out += 1;
            return Ok(());
        }
        let size = self.store.put(&key, &arrays())?;
        self.put.push(key);
        self.used += size;
        self.put_since_trim += size;
        if self.put_since_trim > self.store.limit() / TRIMMED_AFTER {
            self.put_since_trim = 0;
            self.store.trim()?;
        }
        Ok(())
    }
}

impl Kept for Features {
    const KIND: &'static str = "features";

    fn to_arrays(&self, shape: Shape) -> Arrays {
        let rows = &self.rows.rows;
        let dtype = dtype(rows.precision());
        let Appearance { traits, cells } = &*self.appearance;
        Arrays::from([
            ("rows".into(), Array { dtype, shape: vec![shape.patches, shape.dim], bytes: rows.to_bytes() }),
            ("photograph.traits".into(), Array::of_json(traits)),
            ("photograph.cells".into(), Array::of_f32(cells)),
        ])
    }

    fn from_arrays(arrays: &Arrays, shape: Shape) -> Option<Self> {
        let rows = arrays.get("rows")?;
        if rows.dtype != dtype(shape.precision) || rows.shape != [shape.patches, shape.dim] {
            return None;
        }
        let traits = arrays.get("photograph.traits")?.json()?;
        let cells = arrays.get("photograph.cells")?.f32()?;
        let rows = ImageRows::of(Rows::from_bytes(shape.precision, &rows.bytes), shape.dim);
        Some(Self { rows, appearance: Arc::new(Appearance { traits, cells }) })
    }
}

impl Kept for ActivationRanges {
    const KIND: &'static str = "activation ranges";

    fn to_arrays(&self, _shape: Shape) -> Arrays {
        Arrays::from([("ranges".into(), Array::of_f32(self.as_slice()))])
    }

    fn from_arrays(arrays: &Arrays, _shape: Shape) -> Option<Self> {
        Some(arrays.get("ranges")?.f32()?.into())
    }
}

fn dtype(precision: Precision) -> Dtype {
    match precision {
        Precision::F16 => Dtype::F16,
        Precision::F32 => Dtype::F32,
    }
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

#[cfg(test)]
mod tests;
