//! The training features, computed once: the backbone is frozen, so an image's patches never change.
//!
//! In: patch features of one image after another, (h·w, D) each. Out: rows by index, normalised, in f32; and mean and
//! deviation of every dimension. Rows lie in memory up to a limit and in a file beyond it; where a row lies changes no
//! bit of it. The file has no name: the system removes it when the run ends, however it ends.
//!
//! Rows of the file are read one by one, by position, not through a memory map: 4096 random rows of 1536 f16 numbers take
//! 2.8 ms so, 1.9 ms through a map and 2.5 ms out of memory (two cores; the file in the system's page cache), against
//! hundreds for the step that they are for. A file that is cut short is an error then, where a map ends the process.

use std::{
    fs::File,
    io::{self, Write},
    path::PathBuf,
};

use candle_core::{Device, Tensor};
use rayon::prelude::*;
use sha2::{Digest, Sha256};
use simplenet_inference::views::TileView;
use simplenet_model::{compute::free_bytes, feature_norm::FeatureNorm};

pub use crate::features::rows::ImageRows;
use crate::{
    config::Precision,
    error::TrainError,
    features::rows::{BLOCK, Rows, Sums},
};
use simplenet_model::position_energy::ONE_TILE;

/// Where the rows of a cache may lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Room {
    /// Most bytes of rows in memory.
    pub memory: u64,
    /// The folder of the file with all others.
    pub folder: PathBuf,
}

impl Default for Room {
    /// All in memory.
    fn default() -> Self {
        Self { memory: u64::MAX, folder: std::env::temp_dir() }
    }
}

/// The patch features of a set of images: photographs, or tiles of photographs.
#[derive(Debug)]
pub struct FeatureCache {
    /// Those of the first images.
    memory: Rows,
    /// Those of the others, once there are any.
    rest: Option<Rest>,
    room: Room,
    /// Images that are kept in memory, at most.
    fitting: usize,
    /// What each image is.
    images: Vec<CachedImage>,
    /// The rows that count, where not all do.
    counted: Option<Vec<u32>>,
    /// Rows and columns of the photographs' tiles.
    tiles: [usize; 2],
    dim: usize,
    patches: usize,
    sums: Sums,
}

/// What an image of a cache is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct CachedImage {
    /// Number of the photograph; tiles of one photograph stand together.
    pub(crate) photograph: usize,
    /// Which tile of it, and which patches count.
    pub(crate) tile: TileView,
}

/// Rows in a file without a name.
#[derive(Debug)]
struct Rest {
    file: File,
}

/// Mean and standard deviation of every dimension, and the deviation of all numbers together.
#[derive(Debug, Clone, PartialEq)]
pub struct FeatureStatistics {
    /// Mean of each dimension, (D).
    pub mean: Vec<f64>,
    /// Standard deviation of each dimension, (D).
    pub deviation: Vec<f64>,
    /// Standard deviation of all numbers.
    pub global_deviation: f64,
}

/// Bytes read at a time for the hash.
const HASHED_AT_ONCE: usize = 1 << 17;

impl FeatureCache {
    /// An empty cache for images of `patches` patches with `dim` numbers each, with room in memory for `images`.
    pub fn new(precision: Precision, images: usize, patches: usize, dim: usize) -> Self {
        Self::within(Room::default(), precision, images, patches, dim)
    }

    /// The same with rows in a file beyond a limit. Images are not divided between the two.
    pub fn within(room: Room, precision: Precision, images: usize, patches: usize, dim: usize) -> Self {
        let an_image = (patches * dim * precision.bytes()).max(1);
        let fitting = usize::try_from(room.memory / an_image as u64).unwrap_or(usize::MAX);
        let capacity = images.min(fitting) * patches * dim;
        let memory = Rows::with_capacity(precision, capacity);
        let sums = Sums::zeros(dim);
        let (images, counted, tiles) = (vec![], None, ONE_TILE);
        Self { memory, rest: None, room, fitting, images, counted, tiles, dim, patches, sums }
    }

    /// The same for tiles of photographs that have so many rows and columns of them.
    pub(crate) fn of_tiles(self, tiles: [usize; 2]) -> Self {
        Self { tiles, ..self }
    }

    /// Adds the next image's features, (patches, dim) row-major; a slice of several images adds all of them.
    ///
    /// # Errors
    /// As [`FeatureCache::push_rows`].
    pub fn push(&mut self, features: &[f32]) -> Result<(), TrainError> {
        let precision = self.memory.precision();
        let mut images = features.chunks_exact((self.patches * self.dim).max(1));
        images.try_for_each(|image| self.push_rows(&ImageRows::new(precision, self.dim, image)))
    }

    /// Adds the next image's features: `patches` rows of this cache's precision.
    ///
    /// # Errors
    /// `TrainError::FeatureFile` when they are beyond the limit and the file cannot be written.
    pub fn push_rows(&mut self, image: &ImageRows) -> Result<(), TrainError> {
        let photograph = self.images.len();
        self.push_image(image, CachedImage { photograph, tile: TileView::whole() })
    }

    /// The same of a tile; patches outside the region of interest count for nothing, neither in the statistics nor in training.
    ///
    /// # Errors
    /// As [`FeatureCache::push_rows`].
    pub(crate) fn push_image(&mut self, image: &ImageRows, what: CachedImage) -> Result<(), TrainError> {
        if self.images.len() < self.fitting {
            self.memory.extend(&image.rows);
        } else {
            let failed = |source| TrainError::FeatureFile { folder: self.room.folder.clone(), source };
            let mut rest = match self.rest.take() {
                Some(rest) => rest,
                None => Rest { file: tempfile::tempfile_in(&self.room.folder).map_err(failed)? },
            };
            rest.file.write_all(&image.rows.to_bytes()).map_err(failed)?;
            self.rest = Some(rest);
        }
        match what.tile.inside {
            None => self.sums.add(&image.sums),
            Some(_) => {
                let inside = image.rows.only(self.dim, |patch| what.tile.counts(patch));
                self.sums.add(&Sums::of(&inside, self.dim));
            }
        }
        let before = self.rows() as u32;
        if what.tile.inside.is_some() {
            self.counted.get_or_insert_with(|| (0..before).collect());
        }
        if let Some(counted) = &mut self.counted {
            counted.extend(
                (0..self.patches).filter(|&patch| what.tile.counts(patch)).map(|patch| before + patch as u32),
            );
        }
        self.images.push(what);
        Ok(())
    }

    /// SHA-256 of all rows, as they are kept, and their shape: 64 hexadecimal digits, the same wherever the rows lie.
    ///
    /// # Errors
    /// As [`FeatureCache::gather`].
    pub fn sha256(&self) -> Result<String, TrainError> {
        let mut hash = Sha256::new();
        hash.update([self.dim as u64, self.patches as u64].map(u64::to_le_bytes).concat());
        let (numbers, at_once) = (self.memory.len(), HASHED_AT_ONCE / self.memory.precision().bytes());
        for start in (0..numbers).step_by(at_once) {
            hash.update(self.memory.bytes(start..numbers.min(start + at_once)));
        }
        if let Some(rest) = &self.rest {
            let (end, mut buffer) = (self.bytes_on_disk(), vec![0; HASHED_AT_ONCE]);
            for start in (0..end).step_by(HASHED_AT_ONCE) {
                let some = &mut buffer[..HASHED_AT_ONCE.min((end - start) as usize)];
                read_exact_at(&rest.file, some, start)
                    .map_err(|source| TrainError::FeatureFile { folder: self.room.folder.clone(), source })?;
                hash.update(some);
            }
        }
        Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// Numbers in a row.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Patches an image.
    pub fn patches(&self) -> usize {
        self.patches
    }

    /// Images so far.
    pub fn images(&self) -> usize {
        self.images.len()
    }

    /// Rows so far: images times patches.
    pub fn rows(&self) -> usize {
        self.images.len() * self.patches
    }

    /// What each image is.
    pub(crate) fn described(&self) -> &[CachedImage] {
        &self.images
    }

    /// Rows and columns of the photographs' tiles.
    pub(crate) fn tiles(&self) -> [usize; 2] {
        self.tiles
    }

    /// How many rows count: all, but for those outside the region of interest.
    pub fn counted(&self) -> usize {
        self.counted.as_ref().map_or_else(|| self.rows(), Vec::len)
    }

    /// The number of the `index`-th row that counts.
    pub(crate) fn counted_row(&self, index: u32) -> u32 {
        self.counted
            .as_ref()
            .map_or(index, |counted| counted.get(index as usize).copied().unwrap_or_default())
    }

    /// The rows of one image that count.
    pub(crate) fn counted_rows_of(&self, image: usize) -> impl Iterator<Item = u32> + '_ {
        let tile = self.images.get(image).map(|what| &what.tile);
        let counts = move |patch: &usize| tile.is_some_and(|tile| tile.counts(*patch));
        (0..self.patches).filter(counts).map(move |patch| (image * self.patches + patch) as u32)
    }

    /// Mean and deviation of the rows that count; zeros for an empty cache.
    pub fn statistics(&self) -> FeatureStatistics {
        let count = self.counted().max(1) as f64;
        let deviation = |sum: f64, squares: f64, count: f64| {
            let mean = sum / count;
            (squares / count - mean * mean).max(0.0).sqrt()
        };
        let Sums { sum, squares } = &self.sums;
        FeatureStatistics {
            mean: sum.iter().map(|s| s / count).collect(),
            deviation: sum
                .iter()
                .zip(squares)
                .map(|(&sum, &squares)| deviation(sum, squares, count))
                .collect(),
            global_deviation: deviation(
                sum.iter().sum(),
                squares.iter().sum(),
                count * self.dim.max(1) as f64,
            ),
        }
    }

    /// Copies rows into `out`, (indices, dim), after the norm. Indices beyond the
    /// last row give zeros.
    ///
    /// # Errors
    /// `TrainError::FeatureFile` when the file of the rows beyond the limit cannot be read.
    pub fn gather(&self, indices: &[u32], norm: &FeatureNorm, out: &mut Vec<f32>) -> Result<(), TrainError> {
        let dim = self.dim;
        out.resize(indices.len() * dim, 0.0);
        let rows = out.par_chunks_exact_mut(dim).zip(indices.par_iter()).with_min_len(BLOCK);
        rows.try_for_each_init(Vec::new, |buffer, (to, &index)| {
            let index = index as usize;
            if index >= self.rows() {
                to.fill(0.0);
                return Ok(());
            }
            self.read_row(index, buffer, to)
                .map_err(|source| TrainError::FeatureFile { folder: self.room.folder.clone(), source })?;
            norm.apply_to_row(to);
            Ok(())
        })
    }

    /// All rows as they are kept, (rows, dim), on a device with memory of its own, if they fit into half of what it has free;
    /// none where they do not, where some lie in the file, or where candle could not count their numbers.
    ///
    /// # Errors
    /// What the device says.
    pub(crate) fn on_device(&self, device: &Device) -> Result<Option<Tensor>, TrainError> {
        let room = free_bytes(device).unwrap_or(0) / 2;
        // candle's `index_select` counts in 32 bits.
        let countable = u32::try_from(self.rows() * self.dim).is_ok();
        if self.rest.is_some() || self.images.is_empty() || self.bytes() > room || !countable {
            return Ok(None);
        }
        Ok(Some(self.memory_on(device)?))
    }

    /// The rows in memory, (rows, dim), as they are kept.
    pub(crate) fn memory_on(&self, device: &Device) -> Result<Tensor, TrainError> {
        Ok(self.memory.to_tensor(self.dim, device)?)
    }

    fn read_row(&self, index: usize, buffer: &mut Vec<u8>, to: &mut [f32]) -> io::Result<()> {
        let kept = self.memory.len() / self.dim.max(1);
        match &self.rest {
            Some(rest) if index >= kept => {
                let bytes = self.dim * self.memory.precision().bytes();
                buffer.resize(bytes, 0);
                read_exact_at(&rest.file, buffer, (index - kept) as u64 * bytes as u64)?;
                Rows::from_bytes(self.memory.precision(), buffer).copy_to(0, to);
            }
            _ => self.memory.copy_to(index * self.dim, to),
        }
        Ok(())
    }

    /// Bytes of rows in memory.
    pub fn bytes(&self) -> u64 {
        (self.memory.len() * self.memory.precision().bytes()) as u64
    }

    /// Bytes of rows in the file beyond the limit.
    pub fn bytes_on_disk(&self) -> u64 {
        let all = self.rows() * self.dim * self.memory.precision().bytes();
        all as u64 - self.bytes()
    }
}

#[cfg(unix)]
fn read_exact_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, buffer, offset)
}

#[cfg(windows)]
fn read_exact_at(file: &File, mut buffer: &mut [u8], mut offset: u64) -> io::Result<()> {
    while !buffer.is_empty() {
        match std::os::windows::fs::FileExt::seek_read(file, buffer, offset)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => (buffer, offset) = (&mut buffer[read..], offset + read as u64),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRECISIONS: [Precision; 2] = [Precision::F16, Precision::F32];

    /// Two images of three patches of four numbers, of which `memory` bytes may stay in memory.
    fn filled(precision: Precision, memory: u64) -> FeatureCache {
        let room = Room { memory, ..Room::default() };
        let mut cache = FeatureCache::within(room, precision, 2, 3, 4);
        for image in 0..2 {
            let features: Vec<f32> = (0..12).map(|i| (image * 12 + i) as f32 * 0.25).collect();
            cache.push(&features).unwrap();
        }
        cache
    }

    #[test]
    fn rows_come_back_normalised_in_the_asked_order_wherever_they_lie() {
        let device = candle_core::Device::Cpu;
        let norm = FeatureNorm::new(&[0.0, 0.25, 0.0, 0.75], &[2.0, 2.0, 4.0, 4.0], &device).unwrap();
        for precision in PRECISIONS {
            let image = 12 * precision.bytes() as u64;
            for (memory, kept) in [(u64::MAX, 2), (2 * image, 2), (2 * image - 1, 1), (image, 1), (0, 0)] {
                let cache = filled(precision, memory);
                assert_eq!((cache.images(), cache.rows(), cache.dim(), cache.patches()), (2, 6, 4, 3));
                assert_eq!((cache.bytes(), cache.bytes_on_disk()), (kept * image, (2 - kept) * image));
                let mut out = vec![];
                cache.gather(&[5, 0, 99], &norm, &mut out).unwrap();
                assert_eq!(out, [10.0, 10.0, 22.0, 20.0, 0.0, 0.0, 2.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
                assert_eq!(cache.statistics(), filled(precision, u64::MAX).statistics(), "limit {memory}");
                let in_memory = filled(precision, u64::MAX).sha256().unwrap();
                assert_eq!(cache.sha256().unwrap(), in_memory, "limit {memory}");
            }
        }
    }

    #[test]
    fn each_number_is_in_the_hash() {
        // Image 0 fits under the limit, image 1 does not; both are longer than what is hashed at once.
        let (patches, dim) = (3, HASHED_AT_ONCE / 2);
        let bytes = (patches * dim * Precision::F16.bytes()) as u64;
        let hash = |memory: u64, changed: Option<usize>| {
            let room = Room { memory, ..Room::default() };
            let mut cache = FeatureCache::within(room, Precision::F16, 2, patches, dim);
            let mut features = vec![0.5; 2 * patches * dim];
            changed.into_iter().for_each(|i| features[i] = 0.25);
            cache.push(&features).unwrap();
            cache.sha256().unwrap()
        };
        let changes =
            [None, Some(0), Some(dim), Some(patches * dim - 1), Some(patches * dim), Some(6 * dim - 1)];
        let hashes = changes.map(|changed| hash(bytes, changed));
        for (i, first) in hashes.iter().enumerate() {
            assert_eq!(first, &hash(u64::MAX, changes[i]), "{:?}", changes[i]);
            assert!(!hashes[..i].contains(first), "{:?} has the hash of another change", changes[i]);
        }
    }

    #[test]
    fn statistics_are_those_of_the_numbers() {
        // 0, 1, ... 23 quarters in rows of four: every dimension has the variance of 0, 1, ... 5, which is 35/12.
        let statistics = filled(Precision::F16, u64::MAX).statistics();
        let close = |got: f64, want: f64| assert!((got - want).abs() < 1e-12, "{got} for {want}");
        close(statistics.global_deviation, (575.0f64 / 12.0 / 16.0).sqrt());
        for d in 0..4 {
            close(statistics.mean[d], 2.5 + 0.25 * d as f64);
            close(statistics.deviation[d], (35.0f64 / 12.0).sqrt());
        }
        assert_eq!(FeatureCache::new(Precision::F16, 0, 1, 1).statistics().global_deviation, 0.0);
    }

    #[test]
    fn rows_outside_the_region_count_for_nothing() {
        let inside =
            |inside: [bool; 3]| TileView { inside: Some(inside.to_vec().into()), ..TileView::whole() };
        let kinds =
            [TileView::whole(), inside([false, true, false]), inside([true, true, false]), TileView::whole()];
        let row = |row: usize| (row * 4..row * 4 + 4).map(|i| i as f32 * 0.25);
        let mut cache = FeatureCache::new(Precision::F16, 4, 3, 4);
        for (image, tile) in kinds.into_iter().enumerate() {
            let features: Vec<f32> = (3 * image..3 * image + 3).flat_map(row).collect();
            let rows = ImageRows::new(Precision::F16, 4, &features);
            cache.push_image(&rows, CachedImage { photograph: image / 2, tile }).unwrap();
        }
        let counted = [0, 1, 2, 4, 6, 7, 9, 10, 11];
        let got: Vec<u32> = (0..cache.counted() as u32).map(|i| cache.counted_row(i)).collect();
        assert_eq!((got.as_slice(), cache.rows()), (&counted[..], 12));
        let got: Vec<u32> = (0..4).flat_map(|image| cache.counted_rows_of(image)).collect();
        assert_eq!(got, counted);
        // As if nothing else had ever been there.
        let mut only = FeatureCache::new(Precision::F16, 9, 1, 4);
        only.push(&counted.iter().flat_map(|&i| row(i as usize)).collect::<Vec<f32>>()).unwrap();
        assert_eq!(cache.statistics(), only.statistics());
    }

    #[test]
    fn a_file_that_cannot_be_made_is_an_error_that_names_its_folder() {
        let room = Room { memory: 0, folder: PathBuf::from("/no/such/folder") };
        let mut cache = FeatureCache::within(room, Precision::F16, 1, 1, 1);
        let error = cache.push(&[1.0]).unwrap_err().to_string();
        assert!(error.contains("/no/such/folder") && error.contains("memory"), "{error}");
    }
}
