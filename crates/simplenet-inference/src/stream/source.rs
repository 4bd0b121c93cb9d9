//! Where a stream's images come from: files, or whatever else gives pixels.

use std::path::{Path, PathBuf};

use image::RgbImage;
use simplenet_data::{
    DecodeOptions, FileTraits, Sample,
    decode::{Decoded, decode_image, read_file},
};

use crate::error::InferenceError;

/// An image that a stream will ask for when a thread is free: a file, a frame of a camera.
pub trait Source {
    /// What errors call it.
    fn path(&self) -> &Path;

    /// Reads and decodes it, as the model's images are decoded.
    ///
    /// # Errors
    /// An image that cannot be had; [`InferenceError::Source`] for reasons of a source's own.
    fn read(&self, options: &DecodeOptions) -> Result<SourceImage, InferenceError>;
}

/// What a [`Source`] gives.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SourceImage {
    /// The pixels.
    pub pixels: RgbImage,
    /// The kind of its file, where it has one.
    pub file: Option<FileTraits>,
}

impl From<RgbImage> for SourceImage {
    fn from(pixels: RgbImage) -> Self {
        Self { pixels, file: None }
    }
}

impl From<Decoded> for SourceImage {
    fn from(Decoded { pixels, source, .. }: Decoded) -> Self {
        Self { pixels, file: Some(FileTraits::from(&source)) }
    }
}

impl Source for Path {
    fn path(&self) -> &Path {
        self
    }

    fn read(&self, options: &DecodeOptions) -> Result<SourceImage, InferenceError> {
        Ok(decode_image(&read_file(self, options.max_pixels)?, self, options)?.into())
    }
}

impl Source for PathBuf {
    fn path(&self) -> &Path {
        self
    }

    fn read(&self, options: &DecodeOptions) -> Result<SourceImage, InferenceError> {
        self.as_path().read(options)
    }
}

/// A test image of a data set.
impl Source for Sample {
    fn path(&self) -> &Path {
        &self.path
    }

    fn read(&self, options: &DecodeOptions) -> Result<SourceImage, InferenceError> {
        self.path.read(options)
    }
}

impl<S: Source + ?Sized> Source for &S {
    fn path(&self) -> &Path {
        (**self).path()
    }

    fn read(&self, options: &DecodeOptions) -> Result<SourceImage, InferenceError> {
        (**self).read(options)
    }
}

/// With a number, as `enumerate` gives it.
impl<S: Source> Source for (usize, S) {
    fn path(&self) -> &Path {
        self.1.path()
    }

    fn read(&self, options: &DecodeOptions) -> Result<SourceImage, InferenceError> {
        self.1.read(options)
    }
}
