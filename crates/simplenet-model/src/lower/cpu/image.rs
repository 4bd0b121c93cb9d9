//! What a compiled network is given: an image in either form in which programs hold one. Out: the network's first map.

use crate::{error::ModelError, graph::COLOURS, ops::team::Team};

/// An image of the network's size.
#[derive(Clone, Copy)]
pub(crate) enum Image<'a> {
    /// (3, H, W), normalised.
    Planes(&'a [f32]),
    /// (H, W, 3) bytes, and what each of a colour is worth.
    Rgb { bytes: &'a [u8], worth: &'a [[f32; 256]; COLOURS] },
}

/// How the bytes of a photograph become the network's input: ((v / 255) − mean) / std, RGB.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Normalisation {
    /// On a scale of 0 to 1.
    pub mean: [f32; COLOURS],
    /// On a scale of 0 to 1, above 0.
    pub std: [f32; COLOURS],
}

impl Normalisation {
    /// What each byte of each colour becomes; every step in single precision, as the data crate does it.
    pub(crate) fn table(&self) -> [[f32; 256]; COLOURS] {
        let Self { mean, std } = *self;
        std::array::from_fn(|c| std::array::from_fn(|v| (v as f32 / 255.0 - mean[c]) / std[c]))
    }
}

impl Image<'_> {
    /// # Errors
    /// Another number of values than an image of these sides has.
    pub(super) fn check(&self, [height, width]: [usize; 2]) -> Result<(), ModelError> {
        let (found, form) = match self {
            Self::Planes(values) => (values.len(), "numbers"),
            Self::Rgb { bytes, .. } => (bytes.len(), "bytes"),
        };
        if found == COLOURS * height * width {
            return Ok(());
        }
        Err(ModelError::InputShape {
            what: "predictor",
            expected: format!("an image of 3 x {height} x {width} {form}"),
            actual: vec![found],
        })
    }

    /// -> (padded height, padded width, 3) with zeros around, `before` of them above and to the left.
    pub(super) fn pack(
        self,
        team: &mut Team<'_>,
        [height, width]: [usize; 2],
        before: [usize; 2],
        padded: [usize; 2],
        out: &mut [f32],
    ) {
        let line = padded[1] * COLOURS;
        team.for_each_chunk(&mut out[..padded[0] * line], line, |y, row| {
            row.fill(0.0);
            let y = y.wrapping_sub(before[0]);
            if y >= height {
                return;
            }
            let pixels = row[before[1] * COLOURS..].as_chunks_mut::<COLOURS>().0.iter_mut().take(width);
            match self {
                Self::Planes(image) => {
                    let planes: [&[f32]; COLOURS] =
                        std::array::from_fn(|c| &image[(c * height + y) * width..][..width]);
                    for (x, pixel) in pixels.enumerate() {
                        *pixel = planes.map(|plane| plane[x]);
                    }
                }
                Self::Rgb { bytes, worth } => {
                    let from = bytes[y * width * COLOURS..].as_chunks::<COLOURS>().0;
                    for (pixel, from) in pixels.zip(from) {
                        *pixel = std::array::from_fn(|c| worth[c][usize::from(from[c])]);
                    }
                }
            }
        });
    }
}
