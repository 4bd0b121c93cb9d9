//! Many images from disk to network inputs, on all cores, in order.
//!
//! In: paths and a [`Preprocess`]. Out: an iterator of [`PreparedImage`] in the order of the paths, whatever the
//! thread count. No more than [`LoaderOptions::look_ahead`] images are held at a time. A bad image yields
//! its error at its place; the others are not affected.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use image::RgbImage;

use crate::ahead::{Ahead, Lost};
use crate::augment::Augment;
use crate::decode::{Decoded, decode_image, read_file};
use crate::error::DataError;
use crate::preprocess::{PixelBox, Preprocess};
use crate::rng::SplitMix64;
use crate::traits::{FileTraits, ImageTraits};

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
    /// What the image is like, before any random change; the same for all tiles of one.
    pub traits: ImageTraits,
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
    images: Ahead<Result<PreparedImage, DataError>>,
}

#[derive(Debug)]
struct Job {
    paths: Vec<PathBuf>,
    preprocess: Preprocess,
    options: LoaderOptions,
}

impl Loader {
    /// Starts on the first images at once, on rayon's threads.
    ///
    /// # Errors
    /// The preprocessing or the augmentation is invalid, or the preprocessing has tiles.
    pub fn new(
        paths: Vec<PathBuf>,
        preprocess: &Preprocess,
        options: &LoaderOptions,
    ) -> Result<Self, DataError> {
        preprocess.validate()?;
        options.augment.validate()?;
        refuse_tiles(preprocess)?;
        let job = Arc::new(Job { paths, preprocess: preprocess.clone(), options: options.clone() });
        let shared = Arc::clone(&job);
        let images = Ahead::new(job.paths.len(), options.look_ahead, move |index| {
            let Job { paths, preprocess, options } = &*shared;
            prepare(&paths[index], index, preprocess, options)
        });
        Ok(Self { job, images })
    }
}

impl Iterator for Loader {
    type Item = Result<PreparedImage, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        let lost = |Lost { index }| Err(DataError::lost(&self.job.paths[index]));
        Some(self.images.next()?.unwrap_or_else(lost))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.images.size_hint()
    }
}

impl ExactSizeIterator for Loader {}

/// One image is one network input here.
fn refuse_tiles(preprocess: &Preprocess) -> Result<(), DataError> {
    match preprocess.tiles {
        None => Ok(()),
        Some(_) => Err(DataError::InvalidOption {
            option: "tiles",
            found: "in a loader of whole photographs".into(),
            expected: "none here: `prepare_tiles` gives the tiles of a photograph".into(),
        }),
    }
}

fn prepare(
    path: &Path,
    index: usize,
    preprocess: &Preprocess,
    options: &LoaderOptions,
) -> Result<PreparedImage, DataError> {
    let start = Instant::now();
    let bytes = read_file(path, preprocess.decode.max_pixels)?;
    let reading = start.elapsed();
    let image = prepare_bytes(&bytes, path, index, preprocess, options)?;
    Ok(PreparedImage { decode: reading + image.decode, ..image })
}

/// Prepares one image as a [`Loader`] does, from a file's bytes; `name` stands for the path in errors, `index` for its
/// place in the list.
///
/// # Errors
/// Bytes that cannot be decoded; an invalid configuration, or one with tiles.
pub fn prepare_bytes(
    bytes: &[u8],
    name: &Path,
    index: usize,
    preprocess: &Preprocess,
    options: &LoaderOptions,
) -> Result<PreparedImage, DataError> {
    refuse_tiles(preprocess)?;
    let (mut inputs, pixels) = prepare_tiles(bytes, name, index, preprocess, options, &[0])?;
    let mut image = inputs.pop().ok_or_else(|| DataError::lost(name))?;
    image.pixels = match options.keep {
        KeepPixels::No => None,
        KeepPixels::Original => Some(pixels),
    };
    Ok(image)
}

/// Prepares some tiles of one image, which is decoded once: those of these numbers, in order, of
/// [`Preprocess::layout`], which has a single one, 0, for a preprocessing without tiles. Random changes are of the whole image.
/// Also returns the decoded pixels.
///
/// # Errors
/// Bytes that cannot be decoded; an invalid configuration; an image smaller than a tile; a tile that there is not.
pub fn prepare_tiles(
    bytes: &[u8],
    name: &Path,
    index: usize,
    preprocess: &Preprocess,
    options: &LoaderOptions,
    wanted: &[usize],
) -> Result<(Vec<PreparedImage>, RgbImage), DataError> {
    let start = Instant::now();
    let Decoded { pixels, source } = decode_image(bytes, name, &preprocess.decode)?;
    let mut decode = start.elapsed();
    let original = pixels.dimensions();
    let mut begun = Instant::now();
    let traits = ImageTraits::of_file(&pixels, FileTraits::from(&source));
    let layout = preprocess.layout(original.0, original.1)?;
    let seed = augmentation_seed(options.seed, index);
    let input = preprocess.resize_augment_crop(&pixels, &options.augment, seed)?;
    let mut images = Vec::with_capacity(wanted.len());
    for &tile in wanted {
        if tile >= layout.count() {
            return Err(DataError::WrongSize {
                what: "the image",
                found: format!("{} tiles", layout.count()),
                expected: format!("a tile {tile}"),
            });
        }
        let mut tensor = vec![];
        let of_tile = match layout.count() {
            1 => None,
            _ => Some(cut(&input, layout.window(tile))),
        };
        let of_tile = of_tile.as_ref().unwrap_or(&input);
        tensor.resize(of_tile.as_raw().len(), 0.0);
        preprocess.normalise(of_tile, &mut tensor)?;
        images.push(PreparedImage {
            index,
            original,
            tensor,
            traits: traits.clone(),
            pixels: None,
            decode,
            preprocess: begun.elapsed(),
        });
        // What all tiles share is counted with the first.
        (decode, begun) = (Duration::ZERO, Instant::now());
    }
    Ok((images, pixels))
}

/// A part of an image.
pub fn cut(image: &RgbImage, window: PixelBox) -> RgbImage {
    let PixelBox { x0, y0, x1, y1 } = window;
    image::imageops::crop_imm(image, x0, y0, x1 - x0, y1 - y0).to_image()
}

/// The seed of the changes of image `index`, given that of the whole list.
pub fn augmentation_seed(seed: u64, index: usize) -> u64 {
    SplitMix64::for_stream(seed, index as u64).next_u64()
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
    fn pixels_are_kept_where_asked_for_and_it_may_be_dropped_in_the_middle() {
        let (_dir, paths) = folder(12);
        let options = LoaderOptions { look_ahead: 3, keep: KeepPixels::Original, ..LoaderOptions::default() };
        let mut loader = Loader::new(paths, &Preprocess::paper(), &options).unwrap();
        assert_eq!(loader.len(), 12);
        let first = loader.next().unwrap().unwrap();
        assert_eq!(first.pixels.unwrap().dimensions(), first.original);
        assert_eq!(loader.len(), 11);
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
    fn tiles_are_parts_of_the_whole_and_a_photograph_must_hold_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("large.png");
        let large = RgbImage::from_fn(50, 41, |x, y| Rgb([x as u8, y as u8, 0]));
        large.save(&path).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        let tiles = crate::tiles::Tiles { width: 20, height: 20, overlap: 4 };
        let plain = LoaderOptions::default();
        // As they are, and at half size: red is the column, green the row, in the photograph's pixels.
        for (preprocess, scale, sizes) in
            [(Preprocess::tiled(tiles, 20, 20), 1, [3, 3]), (Preprocess::tiled(tiles, 10, 10), 2, [3, 3])]
        {
            let layout = preprocess.layout(50, 41).unwrap();
            assert_eq!(layout.grid(), sizes);
            let wanted = [0, 4, 8, 5];
            let (images, pixels) = prepare_tiles(&bytes, &path, 3, &preprocess, &plain, &wanted).unwrap();
            assert_eq!((images.len(), pixels.dimensions()), (4, (50, 41)));
            for (tile, image) in wanted.iter().zip(&images) {
                assert_eq!(
                    (image.index, image.original, image.tensor.len()),
                    (3, (50, 41), 3 * 20 * 20 / scale / scale)
                );
                let window = layout.window(*tile);
                let got = f32::from(red(image)) / scale as f32;
                assert!(
                    (got - window.x0 as f32).abs() <= 1.0,
                    "tile {tile} begins at {got}, not {}",
                    window.x0
                );
            }
            assert!(prepare_tiles(&bytes, &path, 0, &preprocess, &plain, &[9]).is_err());
            assert!(prepare_bytes(&bytes, &path, 0, &preprocess, &plain).is_err());
            assert!(Loader::new(vec![], &preprocess, &plain).is_err());
            let error = preprocess.resize_crop(&RgbImage::new(50, 19)).unwrap_err().to_string();
            assert!(error.contains("50 x 19 pixels, expected at least the 20 x 20 of a tile"), "{error}");
        }
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
