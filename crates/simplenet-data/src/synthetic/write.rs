//! Writes the demo categories to disk, each whole or not at all.
//!
//! In: a root folder and [`DemoOptions`]. Out: one folder a category in MVTec layout. A category is drawn in
//! a hidden folder beside its place and moved there by one rename when its last file is on disk; a run that
//! is interrupted, by an error or by the power, leaves no category that looks complete and is not.

use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use std::{fs, process};

use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ExtendedColorType, ImageEncoder};
use rayon::prelude::*;

use super::{PRODUCTS, Picture, Product};
use crate::error::DataError;

/// Hidden folders of unfinished categories start with this and go on with a process number.
const UNFINISHED: &str = ".demo-";
/// An unfinished folder that nobody has touched for so long belongs to a run that was killed.
const ABANDONED: Duration = Duration::from_secs(3600);

/// How much demo data to draw.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DemoOptions {
    /// Chooses every random draw; equal seeds give equal pixels on every machine.
    pub seed: u64,
    /// Width and height of the pictures in pixels, 96 to 2048; below, small defects would vanish.
    pub image_size: u32,
    /// Good parts to train on, per category, 1 to 1000.
    pub train_good: usize,
    /// Good parts to test on, per category, 0 to 1000.
    pub test_good: usize,
    /// Defective parts to test on, per defect kind, 0 to 1000.
    pub test_per_defect: usize,
}

impl Default for DemoOptions {
    fn default() -> Self {
        Self { seed: 0, image_size: 320, train_good: 40, test_good: 16, test_per_defect: 7 }
    }
}

impl DemoOptions {
    fn validate(&self) -> Result<(), DataError> {
        let check = |option, value: usize, low: usize, high: usize| {
            if (low..=high).contains(&value) {
                return Ok(());
            }
            let expected = format!("{low} to {high}");
            Err(DataError::InvalidOption { option, found: value.to_string(), expected })
        };
        check("image_size", self.image_size as usize, 96, 2048)?;
        check("train_good", self.train_good, 1, 1000)?;
        check("test_good", self.test_good, 0, 1000)?;
        check("test_per_defect", self.test_per_defect, 0, 1000)
    }
}

/// Draws every category of [`DEMO_CATEGORIES`](super::DEMO_CATEGORIES) that is not yet below `root`, which
/// is created if absent. `progress` hears, on the calling thread, how many pictures are done of how many;
/// those of categories that are already there count as done.
///
/// A category that is already there is kept as it is, with whatever options it was drawn: its `readme.txt`
/// tells. Remove the folder to draw it anew.
///
/// # Errors
/// [`DataError::InvalidOption`] for counts or sizes out of range; [`DataError::Io`] and
/// [`DataError::Encode`] where writing fails. Categories finished before the error stay.
pub fn write_demo(
    root: &Path,
    options: &DemoOptions,
    progress: &dyn Fn(usize, usize),
) -> Result<(), DataError> {
    options.validate()?;
    fs::create_dir_all(root).map_err(DataError::io("create", root))?;
    remove_abandoned(root);
    let total = PRODUCTS.iter().map(|product| jobs(product, options).len()).sum();
    let mut done = 0;
    for product in &PRODUCTS {
        let before = done;
        if !is_complete(&root.join(product.name)) {
            write_category(root, product, options, &mut || {
                done += 1;
                progress(done, total);
            })?;
        }
        done = before + jobs(product, options).len();
        progress(done, total);
    }
    Ok(())
}

/// One picture to draw and where it goes.
struct Job {
    folder: &'static str,
    kind: Option<&'static str>,
    series: u64,
    index: usize,
}

fn jobs(product: &Product, options: &DemoOptions) -> Vec<Job> {
    let good = |folder, series, count| (0..count).map(move |index| Job { folder, kind: None, series, index });
    let mut jobs: Vec<Job> = good("train/good", 0, options.train_good).collect();
    jobs.extend(good("test/good", 1, options.test_good));
    for (number, &kind) in product.defects.iter().enumerate() {
        let series = number as u64 + 2;
        jobs.extend((0..options.test_per_defect).map(|index| Job {
            folder: "test",
            kind: Some(kind),
            series,
            index,
        }));
    }
    jobs
}

fn is_complete(category: &Path) -> bool {
    category.join("train/good").is_dir() && category.join("test").is_dir()
}

fn write_category(
    root: &Path,
    product: &Product,
    options: &DemoOptions,
    advance: &mut dyn FnMut(),
) -> Result<(), DataError> {
    let unfinished = Unfinished::create(root)?;
    let folder = unfinished.0.join(product.name);
    for sub in ["train/good", "test/good"] {
        create_folder(&folder.join(sub))?;
    }
    for kind in product.defects {
        create_folder(&folder.join("test").join(kind))?;
        create_folder(&folder.join("ground_truth").join(kind))?;
    }
    // Small batches, so that the calling thread can report in between.
    for batch in jobs(product, options).chunks(4 * rayon::current_num_threads()) {
        batch.par_iter().try_for_each(|job| draw(&folder, product, options, job))?;
        batch.iter().for_each(|_| advance());
    }
    let note = format!(
        "{}: drawn by simplenet-data {}, not photographed; free of rights.\n\
         seed {}, image_size {}, train_good {}, test_good {}, test_per_defect {}\n",
        product.name,
        env!("CARGO_PKG_VERSION"),
        options.seed,
        options.image_size,
        options.train_good,
        options.test_good,
        options.test_per_defect
    );
    write_file(&folder.join("readme.txt"), note.as_bytes())?;
    let target = root.join(product.name);
    match fs::rename(&folder, &target) {
        // Another process may have finished the same category meanwhile.
        Err(_) if is_complete(&target) => Ok(()),
        other => other.map_err(DataError::io("create", &target)),
    }
}

fn draw(folder: &Path, product: &Product, options: &DemoOptions, job: &Job) -> Result<(), DataError> {
    let size = options.image_size;
    let picture =
        Picture { seed: options.seed, size: size as usize, series: job.series, index: job.index as u64 };
    let Some(kind) = job.kind else {
        let path = folder.join(job.folder).join(format!("{:03}.png", job.index));
        return write_png(&path, picture.good(product).as_raw(), size, ExtendedColorType::Rgb8);
    };
    let (image, mask) = picture.defective(product, kind);
    let path = folder.join(job.folder).join(kind).join(format!("{:03}.png", job.index));
    write_png(&path, image.as_raw(), size, ExtendedColorType::Rgb8)?;
    let path = folder.join("ground_truth").join(kind).join(format!("{:03}_mask.png", job.index));
    write_png(&path, mask.as_raw(), size, ExtendedColorType::L8)
}

fn write_png(path: &Path, pixels: &[u8], size: u32, colour: ExtendedColorType) -> Result<(), DataError> {
    let mut bytes = Vec::new();
    PngEncoder::new_with_quality(&mut bytes, CompressionType::Fast, FilterType::Adaptive)
        .write_image(pixels, size, size, colour)
        .map_err(|error| DataError::Encode { path: path.to_path_buf(), reason: error.to_string() })?;
    write_file(path, &bytes)
}

fn write_file(path: &Path, bytes: &[u8]) -> Result<(), DataError> {
    let write = || {
        let mut file = BufWriter::new(fs::File::create(path)?);
        file.write_all(bytes)?;
        file.into_inner()?.sync_all()
    };
    write().map_err(DataError::io("write", path))
}

fn create_folder(path: &Path) -> Result<(), DataError> {
    fs::create_dir_all(path).map_err(DataError::io("create", path))
}

/// A hidden folder that is removed with all it holds when it goes out of scope.
struct Unfinished(PathBuf);

impl Unfinished {
    fn create(root: &Path) -> Result<Self, DataError> {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = root.join(format!("{UNFINISHED}{}-{number}", process::id()));
        create_folder(&folder)?;
        Ok(Self(folder))
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // Nothing depends on it: what cannot be removed now is removed by a later run.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Removes what killed runs have left; what cannot be read or removed is let be.
fn remove_abandoned(root: &Path) {
    for entry in fs::read_dir(root).into_iter().flatten().flatten() {
        let ours = entry.file_name().to_string_lossy().starts_with(UNFINISHED);
        let touched = entry.metadata().and_then(|data| data.modified()).ok();
        let age = touched.and_then(|time| time.elapsed().ok()).unwrap_or_default();
        if ours && age > ABANDONED {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}
