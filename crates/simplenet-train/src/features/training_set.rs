//! What a person should know about the photographs of good parts that a model is made from: few of them, the same one twice, several
//! sizes. In: what is remembered of each image as the network gets it. Out: sentences, none where nothing is wrong.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use image::RgbImage;
use simplenet_data::{DataError, ImageProfile, ImageTraits, PreparedImage, Preprocess};

/// Below this, what varies between good parts is hardly seen.
const FEW: usize = 10;
/// Cells along a side of the small copies that are compared.
const CELLS: usize = 16;
/// Grey levels that no cell of two pictures of one part differs by: a cell is the mean of some 300 pixels at 288×288, so
/// a camera's noise of two levels leaves about 0.1. Two parts, however well aligned, differ by more somewhere.
const SAME: f32 = 0.5;
/// Pairs that are named.
const NAMED: usize = 3;

/// What is remembered of the photographs.
#[derive(Debug, Default)]
pub(crate) struct TrainingSet {
    photographs: Vec<Photograph>,
    sizes: BTreeMap<(u32, u32), usize>,
    traits: Vec<ImageTraits>,
}

#[derive(Debug)]
struct Photograph {
    path: PathBuf,
    cells: Vec<f32>,
}

/// What is remembered of a photograph.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Appearance {
    /// What is kept of it in the model file, with those of the others.
    pub(crate) traits: ImageTraits,
    /// (3, CELLS, CELLS) means in grey levels.
    pub(crate) cells: Vec<f32>,
}

/// Side of the small copy that is compared of a photograph that is cut into tiles.
const SMALL: u32 = 64;

impl Appearance {
    /// Of a photograph: as the network gets it or, where it gets tiles, of a small copy of all of it.
    ///
    /// # Errors
    /// A photograph without pixels.
    pub(crate) fn of_photograph(
        name: &Path,
        images: &[PreparedImage],
        pixels: &RgbImage,
        preprocess: &Preprocess,
    ) -> Result<Self, DataError> {
        let [image, ..] = images else { return Err(DataError::lost(name)) };
        if preprocess.tiles.is_none() {
            return Ok(Self::of(image, preprocess));
        }
        let small = Self::preprocess(preprocess);
        let copy = small.resize_crop(pixels)?;
        let mut tensor = vec![0.0; copy.as_raw().len()];
        small.normalise(&copy, &mut tensor)?;
        Ok(Self { traits: image.traits.clone(), cells: all_cells(&tensor, &small) })
    }

    /// The preprocessing whose images are compared.
    pub(crate) fn preprocess(preprocess: &Preprocess) -> Preprocess {
        match preprocess.tiles {
            None => preprocess.clone(),
            Some(_) => {
                let Preprocess { decode, roi, .. } = preprocess.clone();
                Preprocess { decode, roi, ..Preprocess::whole_image(SMALL, SMALL) }
            }
        }
    }

    pub(crate) fn of(image: &PreparedImage, preprocess: &Preprocess) -> Self {
        Self { traits: image.traits.clone(), cells: all_cells(&image.tensor, preprocess) }
    }
}

impl TrainingSet {
    /// Takes a photograph in.
    pub(crate) fn see(&mut self, path: &Path, appearance: Appearance) {
        let Appearance { traits, cells } = appearance;
        *self.sizes.entry((traits.width, traits.height)).or_default() += 1;
        self.traits.push(traits);
        self.photographs.push(Photograph { path: path.to_path_buf(), cells });
    }

    /// What all of them are like.
    pub(crate) fn profile(&self) -> Option<ImageProfile> {
        ImageProfile::of(&self.traits)
    }

    /// One sentence for each thing to know.
    pub(crate) fn notes(&self) -> Vec<String> {
        [self.few(), self.twice(), self.mixed()].into_iter().flatten().collect()
    }

    fn few(&self) -> Option<String> {
        let count = self.photographs.len();
        (count < FEW).then(|| {
            format!(
                "only {count} photographs of good parts: what varies between good parts is hardly seen, and the threshold \
                 is a guess; 40 or more are better"
            )
        })
    }

    fn twice(&self) -> Option<String> {
        let same =
            |a: &Photograph, b: &Photograph| a.cells.iter().zip(&b.cells).all(|(a, b)| (a - b).abs() <= SAME);
        let mut pairs = vec![];
        for (i, first) in self.photographs.iter().enumerate() {
            // Each further copy once, with the first that it is a copy of.
            if let Some(copy) = self.photographs[..i].iter().find(|earlier| same(earlier, first)) {
                pairs.push(format!("{} and {}", copy.path.display(), first.path.display()));
            }
        }
        let more = match pairs.len().saturating_sub(NAMED) {
            0 => String::new(),
            more => format!(", and {more} more"),
        };
        (!pairs.is_empty()).then(|| {
            format!(
                "the same picture twice: {}{more}; copies count double in training, and one that is held out beside its \
                 copy sets the threshold too low: keep one of each",
                pairs[..pairs.len().min(NAMED)].join("; ")
            )
        })
    }

    fn mixed(&self) -> Option<String> {
        let size = |(&(width, height), count): (&(u32, u32), &usize)| format!("{width} x {height} ({count})");
        let (first, last) = (self.sizes.first_key_value()?, self.sizes.last_key_value()?);
        (self.sizes.len() > 1).then(|| {
            format!(
                "photographs of {} sizes, {} to {}: all become one input size, so parts differ in scale or shape; take or \
                 crop them alike",
                self.sizes.len(),
                size(first),
                size(last)
            )
        })
    }
}

/// Of all three channels, in grey levels.
fn all_cells(tensor: &[f32], preprocess: &Preprocess) -> Vec<f32> {
    let (width, height) = preprocess.network_size();
    let plane = (width * height) as usize;
    let planes = tensor.chunks_exact(plane.max(1)).zip(&preprocess.std);
    planes.flat_map(|(plane, std)| cells(plane, width as usize, 255.0 * std)).collect()
}

/// Means of CELLS x CELLS parts of a plane, times `scale`.
fn cells(plane: &[f32], width: usize, scale: f32) -> Vec<f32> {
    let height = plane.len() / width.max(1);
    let mut sums = vec![(0.0f32, 0.0f32); CELLS * CELLS];
    for (y, row) in plane.chunks_exact(width.max(1)).enumerate() {
        for (x, value) in row.iter().enumerate() {
            let (sum, count) = &mut sums[y * CELLS / height * CELLS + x * CELLS / width];
            (*sum, *count) = (*sum + value, *count + 1.0);
        }
    }
    sums.into_iter().map(|(sum, count)| scale * sum / count.max(1.0)).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Notes about pictures with one bright square each at `place` and noise of one level, of these sizes.
    fn notes(pictures: &[(usize, u32)]) -> Vec<String> {
        let preprocess = Preprocess::default();
        let (width, height) = preprocess.network_size();
        let (width, height) = (width as usize, height as usize);
        let mut set = TrainingSet::default();
        for (index, &(place, size)) in pictures.iter().enumerate() {
            let level = |i: usize| {
                let (x, y) = (i % width, i / width % height);
                let noise = (i * 7919 + index * 104_729) % 3;
                noise as f32 + if x / 30 == place && y / 30 == place { 40.0 } else { 100.0 }
            };
            let tensor =
                (0..3 * width * height).map(|i| level(i) / (255.0 * preprocess.std[i / (width * height)]));
            let image = PreparedImage {
                index,
                original: (size, 320),
                tensor: tensor.collect(),
                traits: ImageTraits::of(&RgbImage::new(size, 320)),
                pixels: None,
                decode: Duration::ZERO,
                preprocess: Duration::ZERO,
            };
            set.see(Path::new(&format!("{index}.png")), Appearance::of(&image, &preprocess));
        }
        set.notes()
    }

    #[test]
    fn what_is_wrong_is_said_and_nothing_else() {
        let ten: Vec<(usize, u32)> = (0..9).map(|place| (place, 320)).chain([(20, 320)]).collect();
        assert_eq!(notes(&ten), Vec::<String>::new());

        let few = notes(&ten[..9]);
        assert!(few.len() == 1 && few[0].contains("only 9 photographs of good parts"), "{few:?}");

        let mut twice = ten.clone();
        twice.extend([(3, 320), (3, 320)]);
        let twice = notes(&twice);
        assert!(twice.len() == 1 && twice[0].contains("3.png and 10.png; 3.png and 11.png;"), "{twice:?}");

        let mut mixed = ten.clone();
        mixed[4].1 = 640;
        let mixed = notes(&mixed);
        assert!(
            mixed.len() == 1 && mixed[0].contains("2 sizes, 320 x 320 (9) to 640 x 320 (1)"),
            "{mixed:?}"
        );
    }
}
