use std::{
    fs,
    sync::Mutex,
    time::{Duration, SystemTime},
};

use candle_core::{Device, Tensor};
use image::{Rgb, RgbImage};
use simplenet_data::{Label, preprocess::Resize};
use simplenet_model::{BackboneId, BackboneWeights, feature_norm::FeatureNorm};
use tempfile::TempDir;

use super::*;
use crate::config::Preset;

/// Keeps what is noted.
#[derive(Default)]
struct Notes(Mutex<Vec<String>>);

impl Reporter for Notes {
    fn start(&self, _what: &str, _total: u64) {}
    fn advance(&self, _n: u64) {}
    fn finish(&self) {}
    fn note(&self, text: &str) {
        self.0.lock().unwrap().push(text.into());
    }
}

/// Photographs, a network and a place for a feature cache.
struct Bench {
    dir: TempDir,
    samples: Vec<Sample>,
    config: TrainConfig,
    extractor: FeatureExtractor,
}

/// What an extraction gave.
#[derive(Debug)]
struct Given {
    rows: Vec<f32>,
    seen: Vec<(PathBuf, Appearance)>,
    ranges: ActivationRanges,
    use_of: FeatureUse,
    notes: Vec<String>,
}

const COUNT: usize = 5;

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let samples = (0..COUNT).map(|number| photograph(dir.path(), number)).collect();
        let mut config = TrainConfig::preset(Preset::Default, BackboneId::EfficientNetLite0);
        config.preprocess.resize = Resize::Exact { width: 64, height: 48 };
        config.augmentation.options.rotate_degrees = 20.0;
        let weights = BackboneWeights::embedded(config.backbone).unwrap();
        let extractor =
            FeatureExtractor::load(config.backbone, config.levels, &weights, config.aggregator, &Device::Cpu)
                .unwrap();
        Self { dir, samples, config, extractor }
    }

    fn storage(&self) -> FeatureStorage {
        FeatureStorage { folder: Some(self.dir.path().join("cache")), ..FeatureStorage::default() }
    }

    fn files(&self) -> Vec<PathBuf> {
        let mut files: Vec<PathBuf> =
            fs::read_dir(self.dir.path().join("cache")).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files
    }

    fn extract(&self, storage: &FeatureStorage, copies: usize) -> Given {
        self.extract_after(storage, copies, || {})
    }

    /// `between` is done after the folder was opened.
    fn extract_after(&self, storage: &FeatureStorage, copies: usize, between: impl FnOnce()) -> Given {
        let notes = Notes::default();
        let mut extraction =
            Extraction::new(&self.config, &self.extractor, &Device::Cpu, storage, &notes).unwrap();
        between();
        let mut seen = vec![];
        let mut see = |path: &Path, appearance| seen.push((path.to_path_buf(), appearance));
        let (cache, use_of) = extraction.features(&self.samples, copies, "features", &mut see).unwrap();
        let ranges = extraction
            .activation_ranges(self.samples.iter().map(|sample| sample.path.clone()).collect())
            .unwrap();
        drop(extraction);
        let indices: Vec<u32> = (0..cache.rows() as u32).collect();
        let mut rows = vec![];
        cache
            .gather(&indices, &FeatureNorm::identity(cache.dim(), &Device::Cpu).unwrap(), &mut rows)
            .unwrap();
        Given { rows, seen, ranges, use_of, notes: notes.0.into_inner().unwrap() }
    }
}

impl Given {
    /// The same bits, from wherever.
    fn is(&self, other: &Self, what: &str) {
        assert!(self.rows == other.rows, "{what}: other features");
        assert_eq!(self.seen, other.seen, "{what}: other photographs");
        assert_eq!(self.ranges, other.ranges, "{what}: other ranges");
    }

    fn notes(&self, words: &[&str]) {
        let found = words.iter().all(|word| self.notes.iter().any(|note| note.contains(word)));
        assert!(found && self.notes.len() == usize::from(!words.is_empty()), "{words:?} in {:?}", self.notes);
    }
}

/// A picture of its own for each number.
fn photograph(folder: &Path, number: usize) -> Sample {
    let path = folder.join(format!("{number}.png"));
    let level = |x: u32, y: u32| ((x * 7 + y * (3 + number as u32) * 5) % 251) as u8;
    RgbImage::from_fn(80 + number as u32, 60, |x, y| Rgb([level(x, y), level(y, x), (40 * number) as u8]))
        .save(&path)
        .unwrap();
    Sample { path, label: Label::Normal, defect: "good".into(), mask: None }
}

/// Weights that are finite, and too large for what comes of them.
#[test]
fn features_that_are_not_finite_name_the_photograph() {
    let bench = Bench::new();
    let BackboneWeights { id, mut tensors, sha256 } =
        BackboneWeights::embedded(bench.config.backbone).unwrap();
    for (_, tensor) in tensors.iter_mut().filter(|(name, _)| name.ends_with("_bn2.weight")) {
        *tensor = Tensor::full(3e38f32, tensor.dims(), &Device::Cpu).unwrap();
    }
    let weights = BackboneWeights::new(id, tensors, sha256, Path::new("huge")).unwrap();
    let Bench { config, .. } = &bench;
    let extractor =
        FeatureExtractor::load(id, config.levels, &weights, config.aggregator, &Device::Cpu).unwrap();
    let (storage, notes) = (bench.storage(), Notes::default());
    let mut extraction = Extraction::new(config, &extractor, &Device::Cpu, &storage, &notes).unwrap();
    let error = extraction.features(&bench.samples, 0, "features", &mut |_, _| {}).unwrap_err().to_string();
    assert!(error.contains("0.png") && error.contains("not finite"), "{error}");
    drop(extraction);
    assert_eq!(bench.files(), [] as [PathBuf; 0], "such features must not be kept");
}

#[test]
fn a_second_run_takes_what_the_first_has_kept_and_gets_the_same_bits() {
    let bench = Bench::new();
    let without = bench.extract(&FeatureStorage::default(), 1);
    assert_eq!((without.use_of.images, without.use_of.from_cache), (2 * COUNT, 0));
    let first = bench.extract(&bench.storage(), 1);
    first.is(&without, "the first run");
    assert_eq!(first.use_of.from_cache, 0);
    // Features, changed copies and ranges.
    assert_eq!(bench.files().len(), 3 * COUNT);

    let image = first.use_of.bytes_in_memory / (2 * COUNT as u64);
    for (limit, in_memory) in [(u64::MAX, 10), (10 * image, 10), (7 * image + 1, 7), (image, 1), (0, 0)] {
        let storage = FeatureStorage { memory_limit: limit, ..bench.storage() };
        let again = bench.extract(&storage, 1);
        again.is(&without, &format!("limit {limit}"));
        assert_eq!(again.use_of.from_cache, 2 * COUNT);
        assert_eq!(again.use_of.bytes_in_memory, in_memory * image, "limit {limit}");
        assert_eq!(again.use_of.bytes_on_disk, (10 - in_memory) * image, "limit {limit}");
        again.notes(if in_memory < 10 { &["over the memory limit", "lie in a file"] } else { &[] });
    }
    assert_eq!(bench.files().len(), 3 * COUNT, "the file beyond the limit has no name");
}

#[test]
fn one_more_photograph_is_all_that_is_computed() {
    let mut bench = Bench::new();
    bench.extract(&bench.storage(), 0);
    bench.samples.insert(2, photograph(bench.dir.path(), 100));
    let more = bench.extract(&bench.storage(), 0);
    assert_eq!((more.use_of.images, more.use_of.from_cache), (COUNT + 1, COUNT));
    // Another name and another time are the same photograph.
    let moved = bench.dir.path().join("moved.png");
    fs::rename(&bench.samples[0].path, &moved).unwrap();
    fs::File::options().append(true).open(&moved).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
    bench.samples[0].path = moved;
    assert_eq!(bench.extract(&bench.storage(), 0).use_of.from_cache, COUNT + 1);
    // The same name with other pixels is another one.
    fs::copy(photograph(bench.dir.path(), 50).path, &bench.samples[0].path).unwrap();
    let changed = bench.extract(&bench.storage(), 0);
    assert_eq!(changed.use_of.from_cache, COUNT);
    changed.is(&bench.extract(&FeatureStorage::default(), 0), "after the change");
}

#[test]
fn what_is_damaged_is_computed_again_and_said() {
    let bench = Bench::new();
    let without = bench.extract(&FeatureStorage::default(), 0);
    type Harm = fn(&Path);
    let harms: [(&str, Harm); 4] = [
        ("cut off", |path| fs::File::options().write(true).open(path).unwrap().set_len(1000).unwrap()),
        ("empty", |path| fs::write(path, "").unwrap()),
        ("another's", |path| fs::write(path, "not features").unwrap()),
        ("a bit", |path| {
            let mut bytes = fs::read(path).unwrap();
            *bytes.last_mut().unwrap() ^= 1;
            fs::write(path, bytes).unwrap();
        }),
    ];
    for (what, harm) in harms {
        bench.extract(&bench.storage(), 0);
        let files = bench.files();
        files.iter().step_by(3).for_each(|path| harm(path));
        let repaired = bench.extract(&bench.storage(), 0);
        repaired.is(&without, what);
        repaired.notes(&[&format!("{} file(s)", files.len().div_ceil(3)), "the first is"]);
        let after = bench.extract(&bench.storage(), 0);
        assert_eq!((after.use_of.from_cache, after.notes.len()), (COUNT, 0), "{what}");
    }
}

#[test]
fn a_folder_that_fails_is_done_without() {
    let bench = Bench::new();
    let without = bench.extract(&FeatureStorage::default(), 0);
    // Below a file there can be no folder.
    let storage =
        FeatureStorage { folder: Some(bench.samples[0].path.join("cache")), ..FeatureStorage::default() };
    let given = bench.extract(&storage, 0);
    given.is(&without, "no folder");
    given.notes(&["no feature cache", "0.png"]);
    // It can be opened, but not written any more.
    let folder = bench.dir.path().join("cache");
    let given = bench.extract_after(&bench.storage(), 0, || fs::remove_dir_all(&folder).unwrap());
    given.is(&without, "a folder that goes away");
    given.notes(&["cannot be written", "training goes on without it"]);
}

#[test]
fn a_limit_keeps_what_fits_and_the_next_run_finds_it() {
    let bench = Bench::new();
    let without = bench.extract(&FeatureStorage::default(), 0);
    bench.extract(&bench.storage(), 0);
    let mut sizes: Vec<u64> = bench.files().iter().map(|path| path.metadata().unwrap().len()).collect();
    sizes.sort_unstable();
    let of_features = sizes[2 * COUNT - 1];
    fs::remove_dir_all(bench.dir.path().join("cache")).unwrap();

    let storage = FeatureStorage { folder_limit: 3 * of_features, ..bench.storage() };
    let first = bench.extract(&storage, 0);
    first.is(&without, "the first run under a limit");
    first.notes(&["is limited to", "not kept"]);
    let total: u64 = bench.files().iter().map(|path| path.metadata().unwrap().len()).sum();
    assert!(total <= storage.folder_limit, "{total} bytes");
    let second = bench.extract(&storage, 0);
    second.is(&without, "the second run under a limit");
    assert_eq!(second.use_of.from_cache, 3);

    // What older runs left makes room.
    let old = SystemTime::now() - Duration::from_secs(1000);
    for path in bench.files() {
        fs::File::options().append(true).open(path).unwrap().set_modified(old).unwrap();
    }
    let mut other = bench;
    other.config.preprocess.mean[0] = 0.4;
    let third = other.extract(&storage, 0);
    assert_eq!(third.use_of.from_cache, 0);
    assert_eq!(other.extract(&storage, 0).use_of.from_cache, 3, "the new ones are kept, the old ones went");
}

#[test]
fn runs_at_once_share_a_folder() {
    let bench = Bench::new();
    let without = bench.extract(&FeatureStorage::default(), 1);
    std::thread::scope(|scope| {
        let runs: Vec<_> = (0..3).map(|_| scope.spawn(|| bench.extract(&bench.storage(), 1))).collect();
        for run in runs {
            let given = run.join().unwrap();
            given.is(&without, "beside other runs");
            given.notes(&[]);
        }
    });
    assert_eq!(bench.files().len(), 3 * COUNT);
    assert_eq!(bench.extract(&bench.storage(), 1).use_of.from_cache, 2 * COUNT);
}
