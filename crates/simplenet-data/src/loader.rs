//! Many images from disk to network inputs, on all cores, in order.
//!
//! In: paths and a [`Preprocess`]. Out: an iterator of [`PreparedImage`] in the order of the paths, whatever the
//! thread count. No more than [`LoaderOptions::look_ahead`] images are held at a time. A bad image yields
//! its error at its place; the others are not affected.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::time::{Duration, Instant};

use image::RgbImage;

use crate::augment::Augment;
use crate::decode::decode_file;
use crate::error::DataError;
use crate::preprocess::Preprocess;
use crate::rng::SplitMix64;

/// Whether the decoded pixels stay with the result.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum KeepPixels {
    /// Freed as soon as the network input is made.
    #[default]
    No,
    /// Kept in [`PreparedImage::pixels`], to draw a heat map over them.
    Original,
}

/// How a [`Loader`] works.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LoaderOptions {
    /// Images prepared or being prepared before they are asked for; 0 chooses twice the number of threads.
    pub look_ahead: usize,
    /// Random changes, off by default.
    pub augment: Augment,
    /// Seed of the random changes: image `i` gets a stream of its own from the seed and `i`, so pass another
    /// seed for every epoch.
    pub seed: u64,
    /// Whether the decoded pixels are kept.
    pub keep: KeepPixels,
}

/// One image ready for the network.
#[derive(Debug, Clone)]
pub struct PreparedImage {
    /// Place in the list of paths.
    pub index: usize,
    /// Width and height after decoding, before the resize: what `Preprocess::placement` takes.
    pub original: (u32, u32),
    /// The network input, (3, height, width) with the size of `Preprocess::network_size`.
    pub tensor: Vec<f32>,
    /// The decoded pixels, where they were to be kept.
    pub pixels: Option<RgbImage>,
    /// Time to read and decode the file, on one core.
    pub decode: Duration,
    /// Time to resize, crop, change and normalise, on one core.
    pub preprocess: Duration,
}

/// An iterator over prepared images; see [`Loader::new`].
#[derive(Debug)]
pub struct Loader {
    job: Arc<Job>,
    look_ahead: usize,
    /// Index of the next image to start on.
    next: usize,
    /// Results to come, in order.
    pending: VecDeque<Receiver<Result<PreparedImage, DataError>>>,
}

#[derive(Debug)]
struct Job {
    paths: Vec<PathBuf>,
    preprocess: Preprocess,
    options: LoaderOptions,
    cancelled: AtomicBool,
}

impl Loader {
    /// Starts on the first images at once, on rayon's threads.
    ///
    /// # Errors
    /// The preprocessing or the augmentation is invalid.
    pub fn new(
        paths: Vec<PathBuf>,
        preprocess: &Preprocess,
        options: &LoaderOptions,
    ) -> Result<Self, DataError> {
        preprocess.validate()?;
        options.augment.validate()?;
        let look_ahead = match options.look_ahead {
            0 => 2 * rayon::current_num_threads(),
            chosen => chosen,
        };
        let job = Job {
            paths,
            preprocess: preprocess.clone(),
            options: options.clone(),
            cancelled: AtomicBool::new(false),
        };
        let mut loader = Self { job: Arc::new(job), look_ahead, next: 0, pending: VecDeque::new() };
        loader.fill();
        Ok(loader)
    }

    fn fill(&mut self) {
        while self.pending.len() < self.look_ahead && self.next < self.job.paths.len() {
            let (job, index) = (Arc::clone(&self.job), self.next);
            let (sender, receiver) = sync_channel(1);
            rayon::spawn(move || {
                if !job.cancelled.load(Ordering::Relaxed) {
                    // The receiver is gone when the loader was dropped meanwhile: nobody wants the result.
                    let _ = sender.send(prepare(&job.paths[index], index, &job.preprocess, &job.options));
                }
            });
            self.pending.push_back(receiver);
            self.next += 1;
        }
    }
}

impl Iterator for Loader {
    type Item = Result<PreparedImage, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        let index = self.next - self.pending.len();
        let receiver = self.pending.pop_front()?;
        let result = wait(&receiver).unwrap_or_else(|| {
            let source = std::io::Error::other("the task that read it was lost");
            Err(DataError::Io { action: "prepare", path: self.job.paths[index].clone(), source })
        });
        self.fill();
        Some(result)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.pending.len() + self.job.paths.len() - self.next;
        (left, Some(left))
    }
}

impl ExactSizeIterator for Loader {}

impl Drop for Loader {
    fn drop(&mut self) {
        self.job.cancelled.store(true, Ordering::Relaxed);
    }
}

/// Waits for a result; `None` when its task ended without one. On one of rayon's own threads it works on waiting
/// tasks instead of sleeping: with one thread nobody else would.
fn wait<T>(receiver: &Receiver<T>) -> Option<T> {
    loop {
        match receiver.try_recv() {
            Ok(result) => return Some(result),
            Err(TryRecvError::Disconnected) => return None,
            Err(TryRecvError::Empty) => match rayon::yield_now() {
                None => return receiver.recv().ok(),
                Some(rayon::Yield::Executed) => {}
                Some(rayon::Yield::Idle) => std::thread::yield_now(),
            },
        }
    }
}

fn prepare(
    path: &Path,
    index: usize,
    preprocess: &Preprocess,
    options: &LoaderOptions,
) -> Result<PreparedImage, DataError> {
    let start = Instant::now();
    let pixels = decode_file(path, &preprocess.decode)?;
    let decoded = Instant::now();
    let seed = SplitMix64::for_stream(options.seed, index as u64).next_u64();
    let input = preprocess.resize_augment_crop(&pixels, &options.augment, seed)?;
    let mut tensor = vec![0.0; input.as_raw().len()];
    preprocess.normalise(&input, &mut tensor)?;
    Ok(PreparedImage {
        index,
        original: pixels.dimensions(),
        tensor,
        pixels: match options.keep {
            KeepPixels::No => None,
            KeepPixels::Original => Some(pixels),
        },
        decode: decoded - start,
        preprocess: decoded.elapsed(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::Rgb;

    /// `count` images of which the red value is the index; the third one is a text.
    fn folder(count: usize) -> (tempfile::TempDir, Vec<PathBuf>) {
        let dir = tempfile::tempdir().unwrap();
        let paths: Vec<PathBuf> = (0..count).map(|i| dir.path().join(format!("{i}.png"))).collect();
        for (i, path) in paths.iter().enumerate() {
            // Larger images first, so that later ones are ready earlier.
            let side = 40 + 4 * (count - i) as u32;
            RgbImage::from_pixel(side, side, Rgb([i as u8, 7, 9])).save(path).unwrap();
        }
        std::fs::write(&paths[2], "not a picture").unwrap();
        (dir, paths)
    }

    fn red(image: &PreparedImage) -> u8 {
        ((image.tensor[0] * 0.229 + 0.485) * 255.0).round() as u8
    }

    #[test]
    fn in_order_whatever_the_look_ahead_and_an_error_stays_at_its_place() {
        let (_dir, paths) = folder(12);
        let preprocess = Preprocess::whole_image(16, 8);
        for look_ahead in [0, 1, 3, 100] {
            let options = LoaderOptions { look_ahead, ..LoaderOptions::default() };
            let mut loader = Loader::new(paths.clone(), &preprocess, &options).unwrap();
            for (i, path) in paths.iter().enumerate() {
                assert_eq!(loader.len(), 12 - i);
                match loader.next().unwrap() {
                    Err(error) => assert!(i == 2 && error.to_string().contains(&path.display().to_string())),
                    Ok(image) => {
                        assert_eq!((image.index, red(&image)), (i, i as u8));
                        assert_eq!(image.original.0, 40 + 4 * (12 - i) as u32);
                        assert_eq!(image.tensor.len(), 3 * 16 * 8);
                        assert!(image.pixels.is_none() && image.decode > Duration::ZERO);
                    }
                }
            }
            assert!(loader.next().is_none() && loader.next().is_none());
        }
    }

    #[test]
    fn never_more_than_the_look_ahead_and_dropped_in_the_middle() {
        let (_dir, paths) = folder(12);
        let options = LoaderOptions { look_ahead: 3, keep: KeepPixels::Original, ..LoaderOptions::default() };
        let mut loader = Loader::new(paths, &Preprocess::paper(), &options).unwrap();
        assert_eq!((loader.pending.len(), loader.next), (3, 3));
        let first = loader.next().unwrap().unwrap();
        assert_eq!(first.pixels.unwrap().dimensions(), first.original);
        assert_eq!((loader.pending.len(), loader.next), (3, 4));
    }

    #[test]
    fn works_on_the_only_thread_of_a_pool() {
        let (_dir, paths) = folder(6);
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        let count = pool.install(|| {
            let loader = Loader::new(paths, &Preprocess::default(), &LoaderOptions::default()).unwrap();
            loader.filter(Result::is_ok).count()
        });
        assert_eq!(count, 5);
    }

    #[test]
    fn augmentation_depends_on_seed_and_index_alone() {
        let (_dir, paths) = folder(8);
        let load = |seed, look_ahead| -> Vec<u8> {
            let augment = Augment { brightness: 0.9, ..Augment::default() };
            let options = LoaderOptions { look_ahead, augment, seed, ..LoaderOptions::default() };
            let same = vec![paths[7].clone(); 20];
            Loader::new(same, &Preprocess::default(), &options).unwrap().map(|i| red(&i.unwrap())).collect()
        };
        assert_eq!(load(1, 1), load(1, 7));
        assert_ne!(load(1, 1), load(2, 1));
        let mut seen = load(1, 1);
        seen.sort_unstable();
        seen.dedup();
        assert!(seen.len() > 3, "{seen:?}");
    }

    #[test]
    fn an_invalid_configuration_is_refused_at_once() {
        let mut preprocess = Preprocess::paper();
        preprocess.crop = None;
        assert!(Loader::new(Vec::new(), &preprocess, &LoaderOptions::default()).is_err());
        let augment = Augment { scale: -1.0, ..Augment::default() };
        let options = LoaderOptions { augment, ..LoaderOptions::default() };
        assert!(Loader::new(Vec::new(), &Preprocess::paper(), &options).is_err());
    }
}
