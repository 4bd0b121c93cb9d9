//! What a compiled network is given: an image in either form in which programs hold one. Out: the network's first map.

use crate::{error::ModelError, graph::COLOURS, kernels::team::Team};

/// An image of the network's size.
#[derive(Clone, Copy)]
pub(crate) enum Image<'a> {
    /// (3, H, W), normalised.
    Planes(&'a [f32]),
    /// (H, W, 3) bytes, and the value that each of a colour stands for.
    Rgb { bytes: &'a [u8], lut: &'a [[f32; 256]; COLOURS] },
}

impl Image<'_> {
    /// # Errors
    /// Another number of values than an image of these sides has.
    pub(crate) fn check(&self, [height, width]: [usize; 2]) -> Result<(), ModelError> {
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
                Self::Rgb { bytes, lut } => {
                    let from = bytes[y * width * COLOURS..].as_chunks::<COLOURS>().0;
                    for (pixel, from) in pixels.zip(from) {
                        *pixel = std::array::from_fn(|c| lut[c][usize::from(from[c])]);
                    }
                }
            }
        });
    }
}
