//! What can go wrong with images and data sets.
//!
//! Every message is complete by itself: which file or folder, what was found, what was expected, what to do
//! next. A program need print the outermost message only.

use std::path::{Path, PathBuf};

/// Image formats this crate reads, for messages.
pub(crate) const FORMATS: &str = "PNG, JPEG, BMP, TIFF, WebP or PNM";

/// Errors of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// The operating system refused to read or write.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried: "read", "list", "write", "create".
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },

    /// A named pipe, a socket or a device in the place of a file: reading it might never end.
    #[error("{} is {what}, not a file; remove it, or name the photographs without it", path.display())]
    NotAFile {
        /// Where it lies.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },

    /// A file without a single byte.
    #[error("{} is empty (0 bytes): its copy was probably cut off; copy it again or remove it", path.display())]
    EmptyFile {
        /// The file.
        path: PathBuf,
    },

    /// The first bytes belong to no format that this crate reads.
    #[error(
        "{} is not a {FORMATS} image: its first bytes are {found}; the content decides, not the extension. \
         Convert the file or remove it",
        path.display()
    )]
    UnknownFormat {
        /// The file.
        path: PathBuf,
        /// The first bytes, readable.
        found: String,
    },

    /// The content ends before the last pixel.
    #[error("{} is truncated: the {format} data ends before the last pixel; copy the file again", path.display())]
    Truncated {
        /// The file.
        path: PathBuf,
        /// The format that its first bytes announce.
        format: &'static str,
    },

    /// The decoder gave up.
    #[error("{} cannot be decoded as {format}: {reason}; save it again from an image editor or remove it", path.display())]
    Decode {
        /// The file.
        path: PathBuf,
        /// The format that its first bytes announce.
        format: &'static str,
        /// The decoder's reason.
        reason: String,
    },

    /// A file of a kind that is known and is no image that this crate reads.
    #[error("{} is not a {FORMATS} image but {name}; the content decides, not the extension: {advice}", path.display())]
    ForeignFile {
        /// The file.
        path: PathBuf,
        /// What it is.
        name: &'static str,
        /// What to do about it.
        advice: &'static str,
    },

    /// An image of a format that is read, but with something that is not.
    #[error("{} is not read: {what}; {advice}", path.display())]
    Unread {
        /// The file.
        path: PathBuf,
        /// What it is, or has.
        what: String,
        /// What to do about it.
        advice: &'static str,
    },

    /// The header announces more pixels than allowed.
    #[error(
        "{} is {width} x {height} = {} pixels, over the limit of {limit}; scale it down or, if the size is meant, \
         raise the limit: --max-pixels where photographs are inspected, `max_pixels` in [preprocess.decode] of --config in a \
         training",
        path.display(), u64::from(*width) * u64::from(*height)
    )]
    TooManyPixels {
        /// The file.
        path: PathBuf,
        /// Pixels across, as the header says.
        width: u32,
        /// Pixels down, as the header says.
        height: u32,
        /// The most pixels allowed.
        limit: u64,
    },

    /// The file is larger than any image within the pixel limit can be.
    #[error(
        "{} has {bytes} bytes; no image within the limit of {limit} pixels is that large. Check that it is an \
         image, or raise the limit: --max-pixels where photographs are inspected, `max_pixels` in [preprocess.decode] of \
         --config in a training",
        path.display()
    )]
    FileTooLarge {
        /// The file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
        /// The most pixels allowed.
        limit: u64,
    },

    /// The header announces an image without pixels.
    #[error("{} is {width} x {height}: an image without pixels; remove it", path.display())]
    NoPixels {
        /// The file.
        path: PathBuf,
        /// Pixels across.
        width: u32,
        /// Pixels down.
        height: u32,
    },

    /// An image could not be written.
    #[error("cannot write the image {}: {reason}", path.display())]
    Encode {
        /// The file.
        path: PathBuf,
        /// The encoder's reason.
        reason: String,
    },

    /// Options that contradict themselves or are out of range.
    #[error("invalid {option}: {found}; expected {expected}")]
    InvalidOption {
        /// Which option, as it is written in a configuration.
        option: &'static str,
        /// What it was.
        found: String,
        /// What is allowed.
        expected: String,
    },

    /// A file that is not a region of interest.
    #[error("the region of interest {} cannot be used: {problem}", path.display())]
    Region {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and what is expected.
        problem: String,
    },

    /// A buffer or image of another size than the call needs.
    #[error("{what} has {found}, expected {expected}")]
    WrongSize {
        /// Which argument.
        what: &'static str,
        /// Its size.
        found: String,
        /// The size needed.
        expected: String,
    },

    /// A folder that must exist does not, or is a file.
    #[error("{} is not a folder; expected {expected}", path.display())]
    MissingFolder {
        /// The folder looked for.
        path: PathBuf,
        /// What it should hold, and what to do.
        expected: String,
    },

    /// A folder without images.
    #[error("{} holds no {FORMATS} file; expected {expected}", path.display())]
    NoImages {
        /// The folder.
        path: PathBuf,
        /// What it should hold, and what to do.
        expected: String,
    },

    /// A folder of good parts (or of defective ones) below which others lie.
    #[error(
        "{} is to hold {parts} parts only, and below it lie {found}: {advice}. {way_out}",
        folder.display()
    )]
    NotOnly {
        /// The folder.
        folder: PathBuf,
        /// What its parts are to be: good or defective.
        parts: &'static str,
        /// The folders that say otherwise, with their numbers of images.
        found: String,
        /// The call that is right.
        advice: String,
        /// What to do where these parts are what they are to be all the same.
        way_out: String,
    },

    /// A folder or a label whose name leaves open what its parts are.
    #[error("{}: {problem}", path.display())]
    UnclearName {
        /// The folder.
        path: PathBuf,
        /// What is unclear, and what to do.
        problem: String,
    },

    /// A photograph in the place of its own mask.
    #[error("{} is the photograph itself, not its mask; name the folder of masks, or draw the mask", mask.display())]
    OwnMask {
        /// The file that stands in the place of the mask.
        mask: PathBuf,
    },

    /// No category below a root.
    #[error("{} holds no category: a category is a folder with train/good inside; {hint}", path.display())]
    NoCategories {
        /// The root.
        path: PathBuf,
        /// What to do next.
        hint: String,
    },

    /// An image that lies where only folders are expected, and so has no label.
    #[error("{} lies beside the folders that give images their label; {hint}", path.display())]
    UnlabelledImage {
        /// The image.
        path: PathBuf,
        /// Where it should be.
        hint: String,
    },

    /// A mask that belongs to no image.
    #[error(
        "the mask {} has no image: no {FORMATS} file named {stem} in {}; add the image or remove the mask",
        mask.display(), folder.display()
    )]
    MaskWithoutImage {
        /// The mask.
        mask: PathBuf,
        /// The image's name without extension.
        stem: String,
        /// Where the image was looked for.
        folder: PathBuf,
    },

    /// More than one mask for an image, or more than one image for a mask.
    #[error(
        "{} and {} both go by the name {stem}: which belongs to which is unclear; remove or rename one",
        first.display(), second.display()
    )]
    AmbiguousName {
        /// The first in order.
        first: PathBuf,
        /// The second in order.
        second: PathBuf,
        /// The name both share.
        stem: String,
    },

    /// A mask of another size than its image.
    #[error(
        "the mask {} is {} x {} but its image {} is {} x {}; a mask has the size of its image",
        mask.display(), mask_size.0, mask_size.1, image.display(), image_size.0, image_size.1
    )]
    MaskSize {
        /// The mask.
        mask: PathBuf,
        /// Its width and height.
        mask_size: (u32, u32),
        /// The image.
        image: PathBuf,
        /// Its width and height.
        image_size: (u32, u32),
    },

    /// A data set of no layout that is known.
    #[error("{reason}. No known layout fits {}; {nearest} comes nearest", path.display())]
    UnknownLayout {
        /// The folder.
        path: PathBuf,
        /// The layout that comes nearest.
        nearest: String,
        /// What keeps it from being that.
        reason: Box<DataError>,
    },

    /// A category was asked for that the data set does not have.
    #[error("no category `{name}` in {}; there are: {}", root.display(), known.join(", "))]
    NoSuchCategory {
        /// The data set.
        root: PathBuf,
        /// The name.
        name: String,
        /// The names that there are.
        known: Vec<String>,
    },

    /// A data set of several categories where one is needed.
    #[error(
        "{} holds {} categories ({layout}); name one of them: {}",
        root.display(), known.len(), known.join(", ")
    )]
    SeveralCategories {
        /// The data set.
        root: PathBuf,
        /// Its layout.
        layout: String,
        /// The names of its categories.
        known: Vec<String>,
    },

    /// A list of a data set, such as a CSV file, that cannot be used.
    #[error("{}{}: {problem}", path.display(), line.map(|n| format!(", line {n}")).unwrap_or_default())]
    List {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: Option<u64>,
        /// What is wrong and what would be right.
        problem: String,
    },

    /// A file that a list names and that is not there.
    #[error("{} names {}, which is not there; add the file or remove the line", at(list, *line), path.display())]
    ListedFileMissing {
        /// The list.
        list: PathBuf,
        /// The line, from 1.
        line: u64,
        /// The file.
        path: PathBuf,
    },

    /// An image whose label only its ground truth would tell, and that has none.
    #[error("{} has no ground truth: its label is unknown without {}; add it or remove the image", path.display(), expected.display())]
    NoGroundTruth {
        /// The image.
        path: PathBuf,
        /// The file looked for.
        expected: PathBuf,
    },

    /// The mask of one defect that cannot be one.
    #[error("the mask {} {problem}; draw it again or remove it", path.display())]
    DefectMask {
        /// The mask.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
}

impl DataError {
    /// Turns a system error into [`DataError::Io`]; made for `map_err`.
    pub fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Io { action, path: path.to_path_buf(), source }
    }

    /// The task that prepared an image ended without a result.
    pub fn lost(path: &Path) -> Self {
        let source = std::io::Error::other("the task that read it was lost");
        Self::Io { action: "prepare", path: path.to_path_buf(), source }
    }
}

fn at(list: &Path, line: u64) -> String {
    format!("{}, line {line}", list.display())
}
