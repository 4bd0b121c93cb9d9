//! One bounded stream of images through a detector. In: sources of images, which are asked for one by one. Out: a result each,
//! in their order.
//!
//! On the CPU each thread takes one image at a time, from its file to the end, so that none waits for another. On a GPU the
//! network runs on a batch, and meanwhile the CPU's threads work on what the batch before has given and decode the one after.
//! On either, results wait for the oldest that is not there yet, and threads rest rather than begin more than a few ahead of it.

mod schedule;
mod source;

use std::time::Duration;

use image::RgbImage;

use crate::{
    detector::Detector,
    error::InferenceError,
    inspection::{Inspection, timed},
    network::{Prepared, Scored},
};
use schedule::{Step, Work, in_order};
pub use source::{Source, SourceImage};

/// An image that was read and inspected.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Inspected {
    /// Its pixels.
    pub photograph: RgbImage,
    /// What was found.
    pub inspection: Inspection,
    /// How long reading and decoding took.
    pub decode: Duration,
}

/// Reads, decodes and inspects one image, on all threads.
///
/// # Errors
/// An image that cannot be read or does not fit the model; a score that is not a number; a failing tensor operation.
pub fn inspect_one(
    detector: &Detector,
    source: &(impl Source + ?Sized),
) -> Result<Inspected, InferenceError> {
    let (read, prepared) = read(detector, source)?;
    read.inspected(detector, source, detector.score(prepared)?)
}

/// Inspects images as they come. `finish` is given each with its inspection, or why there is none, on one of several threads; what
/// it returns is handed to `on_result`, on this thread, in the images' order. A single image gets all threads.
///
/// At most four images a thread, and on a GPU two batches more, are begun ahead of the one whose result is due: memory is
/// bounded, however many there are and however slow one of them is. The scores of an image do not depend on the others, nor
/// on the number of threads.
///
/// # Errors
/// The first error of `on_result`, after which no new image is begun; threads that cannot be started; on a GPU a network that
/// cannot run, which is no image's fault. The call returns once `sources` has returned from the image that it was last asked
/// for: where that may take long, as with a camera, end the iterator to stop at once.
pub fn inspect_stream<I, R, E>(
    detector: &Detector,
    sources: I,
    finish: impl Fn(&I::Item, Result<Inspected, InferenceError>) -> R + Sync,
    on_result: impl FnMut(I::Item, R) -> Result<(), E>,
) -> Result<(), E>
where
    I: IntoIterator,
    I::IntoIter: Send,
    I::Item: Source + Send,
    R: Send,
    E: From<InferenceError>,
{
    in_order(sources.into_iter(), &Stages { detector, finish }, on_result)
}

/// What remains of an image while the network looks at it.
struct Read {
    photograph: RgbImage,
    decode: Duration,
}

impl Read {
    fn inspected(
        self,
        detector: &Detector,
        source: &(impl Source + ?Sized),
        scored: Scored,
    ) -> Result<Inspected, InferenceError> {
        let inspection = detector.finish(scored).map_err(|e| e.of_image(source.path()))?;
        Ok(Inspected { photograph: self.photograph, inspection, decode: self.decode })
    }
}

fn read(detector: &Detector, source: &(impl Source + ?Sized)) -> Result<(Read, Prepared), InferenceError> {
    let (image, decode) = timed(|| source.read(&detector.preprocess().decode));
    let SourceImage { pixels: photograph, file } = image?;
    let prepared = detector.prepare(&photograph, file).map_err(|e| e.of_image(source.path()))?;
    Ok((Read { photograph, decode }, prepared))
}

/// An image's way through a detector.
struct Stages<'a, F> {
    detector: &'a Detector,
    finish: F,
}

impl<S, R, F> Work<S> for Stages<'_, F>
where
    S: Source + Send,
    R: Send,
    F: Fn(&S, Result<Inspected, InferenceError>) -> R + Sync,
{
    type Ready = (Read, Prepared);
    type Scored = (Read, Scored);
    type Result = R;

    fn batch(&self) -> Option<usize> {
        self.detector.takes_batches().then(|| self.detector.batch())
    }

    fn begin(&self, source: &S) -> Step<Self::Ready, R> {
        if !self.detector.takes_batches() {
            return Step::Done((self.finish)(source, inspect_one(self.detector, source)));
        }
        match read(self.detector, source) {
            Ok(ready) => Step::Network(ready),
            Err(error) => Step::Done((self.finish)(source, Err(error))),
        }
    }

    fn run(&self, batch: Vec<Self::Ready>) -> Result<Vec<Self::Scored>, InferenceError> {
        let (read, prepared): (Vec<Read>, Vec<Prepared>) = batch.into_iter().unzip();
        Ok(read.into_iter().zip(self.detector.score_all(prepared)?).collect())
    }

    fn end(&self, source: &S, (read, scored): Self::Scored) -> R {
        (self.finish)(source, read.inspected(self.detector, source, scored))
    }
}
