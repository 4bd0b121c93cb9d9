//! The one walk through folders of photographs.
//!
//! In: a file or a folder, with what is to be left out. Out: the images at and below it in the order of their paths' bytes;
//! what was passed over and why; and what could not be looked at (an unreadable folder, a link that leads back, a named
//! pipe), each with its error, so that one such entry does not hide the others.
//!
//! A name with an image's extension is an image, whatever it holds: decoding says what is wrong with it. Of other names,
//! and those without extension, the first bytes decide. What the caller names itself is read even where its name would be
//! passed over. Links are followed.

use std::ffi::OsStr;
use std::fs::{File, FileType};
use std::io::Read;
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use super::{has_image_extension, is_hidden};
use crate::decode::{SNIFF_BYTES, require_file, sniff, special};
use crate::error::DataError;

/// What a walk leaves out beside what it always passes over.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct ListOptions {
    /// Folders into which results are written: what is theirs below them ([`RESULT_FOLDERS`]) is not looked at.
    pub outputs: Vec<PathBuf>,
}

/// What is at and below a path.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Listing {
    /// The images, in the order of their paths.
    pub images: Vec<PathBuf>,
    /// Files and folders that were passed over, in the order of their paths. Documents are not among them.
    pub passed_over: Vec<PassedOver>,
    /// What could not be looked at, in the order of their paths.
    pub failed: Vec<Failed>,
}

/// A file or a folder that was passed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PassedOver {
    /// Which.
    pub path: PathBuf,
    /// Why.
    pub reason: Reason,
}

/// An entry that could not be looked at.
#[derive(Debug)]
pub struct Failed {
    /// Which.
    pub path: PathBuf,
    /// Why; names the path.
    pub error: DataError,
}

/// Why something was passed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// Files of a NAS or an operating system: thumbnails, deleted files, folder settings.
    System,
    /// A name that begins with a dot.
    Hidden,
    /// Heat maps and other results of this program.
    Results,
    /// A copy that is not finished, by its name.
    Unfinished,
    /// Neither an image by its name nor by its first bytes.
    NoImage,
    /// The mask of a photograph beside it, by name and content. The walk itself does not tell them: see [`super::apart`].
    Mask,
}

impl Reason {
    /// The reason in words that go after a number and a noun: "3 files, …".
    pub fn words(self) -> &'static str {
        match self {
            Self::System => "of a NAS or the operating system",
            Self::Hidden => "hidden",
            Self::Results => "results of this program",
            Self::Unfinished => "copies that are not finished",
            Self::NoImage => "no images that are read",
            Self::Mask => "masks of photographs beside them",
        }
    }

    /// The reason in one word, for programs.
    pub fn name(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Hidden => "hidden",
            Self::Results => "results",
            Self::Unfinished => "unfinished",
            Self::NoImage => "no_image",
            Self::Mask => "mask",
        }
    }
}

/// Folders of pictures that this program writes, below a folder of results.
pub const RESULT_FOLDERS: [&str; 3] = ["heatmaps", "anomaly_maps", "plots"];

/// The file by which a folder is known as one of results.
const RESULT_FILE: &str = "predictions.jsonl";

/// Folders that a NAS, an operating system or an archive leaves between photographs, in lower case.
const SYSTEM_FOLDERS: [&str; 22] = [
    "@eadir",                    // Synology: thumbnails
    "#recycle",                  // Synology: deleted files
    "#snapshot",                 // Synology: older states
    "@recycle",                  // QNAP: deleted files
    "@recently-snapshot",        // QNAP: older states
    "@tmp",                      // Synology
    "@sharebin",                 // Synology
    ".@__thumb",                 // QNAP: thumbnails
    "$recycle.bin",              // Windows: deleted files
    "recycler",                  // Windows, older
    "recycled",                  // Windows, older still
    "system volume information", // Windows
    "found.000",                 // Windows: recovered files
    "lost+found",                // ext file systems: recovered files
    "__macosx",                  // archives made by macOS
    ".appledouble",              // netatalk
    ".appledb",                  // netatalk
    ".trashes",                  // macOS: deleted files
    ".trash",                    // deleted files
    ".trash-1000",               // Linux desktops: deleted files
    ".spotlight-v100",           // macOS
    ".fseventsd",                // macOS
];

/// Files that they leave, in lower case; also with more after the name, as in `Thumbs.db:encryptable`.
const SYSTEM_FILES: [&str; 7] =
    ["thumbs.db", "ehthumbs.db", "desktop.ini", ".ds_store", "zbthumbnail.info", "picasa.ini", ".picasa.ini"];

/// Endings of copies that are still being written.
const UNFINISHED: [&str; 9] =
    ["part", "partial", "tmp", "temp", "crdownload", "filepart", "download", "upload", "!ut"];

/// Endings of files that lie beside photographs and are no images: passed over without a word.
const DOCUMENTS: [&str; 44] = [
    "txt",
    "md",
    "rst",
    "csv",
    "tsv",
    "json",
    "jsonl",
    "ndjson",
    "pdf",
    "html",
    "htm",
    "xml",
    "yaml",
    "yml",
    "toml",
    "ini",
    "cfg",
    "log",
    "xls",
    "xlsx",
    "ods",
    "doc",
    "docx",
    "odt",
    "ppt",
    "pptx",
    "py",
    "sh",
    "bat",
    "ps1",
    "npy",
    "npz",
    "mat",
    "h5",
    "safetensors",
    "pth",
    "onnx",
    "db",
    "sqlite",
    "zip",
    "gz",
    "tar",
    "7z",
    "url",
];

/// All that is at and below `root`: the file itself, of whatever name, where it is one.
///
/// # Errors
/// `root` does not exist, is neither a file nor a folder, or is a folder that cannot be listed.
pub fn list(root: &Path, options: &ListOptions) -> Result<Listing, DataError> {
    let mut listing = Listing::default();
    let metadata = std::fs::metadata(root).map_err(DataError::io("read", root))?;
    if !metadata.is_dir() {
        require_file(root, &metadata)?;
        listing.images.push(root.to_path_buf());
        return Ok(listing);
    }
    // Not by the walk: what the person named and cannot be listed is no entry of its own.
    drop(std::fs::read_dir(root).map_err(DataError::io("list", root))?);
    let walk = Walk {
        root,
        outputs: options.outputs.iter().filter_map(|output| output.canonicalize().ok()).collect(),
    };
    walk.run(&mut listing);
    listing.images.sort_unstable();
    listing.passed_over.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    listing.failed.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(listing)
}

/// Whether a folder is one that a NAS, an operating system or an archive leaves between photographs, by its name.
pub(crate) fn is_system_folder(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    SYSTEM_FOLDERS.contains(&&*name) || name.starts_with(".trash-")
}

struct Walk<'a> {
    root: &'a Path,
    /// Canonical.
    outputs: Vec<PathBuf>,
}

impl Walk<'_> {
    fn run(&self, listing: &mut Listing) {
        let mut entries = WalkDir::new(self.root).follow_links(true).into_iter();
        while let Some(entry) = entries.next() {
            let (path, file_type, depth, is_link) = match &entry {
                Ok(entry) => (entry.path(), Some(entry.file_type()), entry.depth(), entry.path_is_symlink()),
                Err(error) => (error.path().unwrap_or(self.root), None, error.depth(), true),
            };
            let is_folder = file_type.map_or_else(|| path.is_dir(), |kind| kind.is_dir());
            if depth > 0
                && let Some(reason) = self.passed_over(path, is_folder)
            {
                listing.passed_over.push(PassedOver { path: path.to_path_buf(), reason });
                if file_type.is_some_and(|kind| kind.is_dir()) {
                    entries.skip_current_dir();
                }
                continue;
            }
            match (&entry, file_type) {
                (_, Some(kind)) if kind.is_dir() => {
                    if depth > 0 && is_link && leads_back(path) {
                        listing.failed.push(Failed { path: path.to_path_buf(), error: loop_error(path) });
                        entries.skip_current_dir();
                    }
                }
                (_, Some(kind)) => file(path, kind, listing),
                (Err(error), None) => broken(path, error, listing),
                (Ok(_), None) => {}
            }
        }
    }

    /// Whether an entry below the root is passed over by its name and place.
    fn passed_over(&self, path: &Path, is_folder: bool) -> Option<Reason> {
        let name = path.file_name()?.to_string_lossy().to_lowercase();
        if is_folder {
            if is_system_folder(path) {
                return Some(Reason::System);
            }
            if RESULT_FOLDERS.iter().any(|folder| path.ends_with(folder))
                && self.is_of_results(path.parent()?)
            {
                return Some(Reason::Results);
            }
        } else if SYSTEM_FILES.iter().any(|file| name.starts_with(file)) || name.starts_with("._") {
            return Some(Reason::System);
        }
        is_hidden(path).then_some(Reason::Hidden)
    }

    fn is_of_results(&self, folder: &Path) -> bool {
        folder.join(RESULT_FILE).is_file()
            || (!self.outputs.is_empty()
                && folder.canonicalize().is_ok_and(|real| self.outputs.contains(&real)))
    }
}

/// Sorts a file in, that is no folder.
fn file(path: &Path, kind: FileType, listing: &mut Listing) {
    let mut failed = |error| listing.failed.push(Failed { path: path.to_path_buf(), error });
    let is_image = has_image_extension(path);
    if let Some(what) = special(kind) {
        // A socket of another program is nothing that would be a photograph.
        if is_image || path.extension().is_none() {
            failed(DataError::NotAFile { path: path.to_path_buf(), what })
        } else {
            listing.passed_over.push(PassedOver { path: path.to_path_buf(), reason: Reason::NoImage })
        }
        return;
    }
    if is_image {
        listing.images.push(path.to_path_buf());
    } else if has_extension(path, &UNFINISHED) {
        listing.passed_over.push(PassedOver { path: path.to_path_buf(), reason: Reason::Unfinished });
    } else if !is_document(path) {
        match first_bytes(path) {
            Ok(bytes) if sniff(&bytes).is_some() => listing.images.push(path.to_path_buf()),
            Ok(_) => {
                listing.passed_over.push(PassedOver { path: path.to_path_buf(), reason: Reason::NoImage })
            }
            Err(source) => failed(DataError::Io { action: "read", path: path.to_path_buf(), source }),
        }
    }
}

/// Sorts in what the walk could not open: a folder, or a link that leads nowhere or back.
fn broken(path: &Path, error: &walkdir::Error, listing: &mut Listing) {
    let is_loop = error.loop_ancestor().is_some();
    let is_folder = is_loop || path.is_dir();
    if !is_folder && is_document(path) {
        return;
    }
    let error = if is_loop {
        loop_error(path)
    } else {
        let source = match error.io_error() {
            Some(error) => std::io::Error::new(error.kind(), error.to_string()),
            None => std::io::Error::other(error.to_string()),
        };
        let action = if is_folder { "list" } else { "read" };
        DataError::Io { action, path: path.to_path_buf(), source }
    };
    listing.failed.push(Failed { path: path.to_path_buf(), error });
}

fn loop_error(path: &Path) -> DataError {
    let source = std::io::Error::other("a link leads back to a folder above it; remove the link");
    DataError::Io { action: "list", path: path.to_path_buf(), source }
}

/// Whether a link leads to a folder that it lies in, also above the folder that was named.
fn leads_back(link: &Path) -> bool {
    let parent = link.parent().map(Path::canonicalize);
    match (link.canonicalize(), parent) {
        (Ok(target), Some(Ok(parent))) => parent.starts_with(target),
        _ => false,
    }
}

fn has_extension(path: &Path, extensions: &[&str]) -> bool {
    path.extension().is_some_and(|found| extensions.iter().any(|known| found.eq_ignore_ascii_case(known)))
}

/// Whether a file is one of those that go with a data set and are no images, by its name.
pub(crate) fn is_document(path: &Path) -> bool {
    if path.extension().is_some() {
        return has_extension(path, &DOCUMENTS);
    }
    const NAMES: [&str; 6] = ["licen", "readme", "changelog", "notice", "makefile", "citation"];
    let name = path.file_name().map(OsStr::to_ascii_lowercase).unwrap_or_default();
    NAMES.iter().any(|known| name.as_encoded_bytes().starts_with(known.as_bytes()))
}

fn first_bytes(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = vec![];
    File::open(path)?.take(SNIFF_BYTES as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";

    fn tree(files: &[(&str, &[u8])]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, content) in files {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        dir
    }

    fn names<'a>(paths: impl IntoIterator<Item = &'a PathBuf>, dir: &Path) -> Vec<String> {
        let below = |path: &PathBuf| path.strip_prefix(dir).unwrap().to_string_lossy().replace('\\', "/");
        paths.into_iter().map(below).collect()
    }

    fn passed_over(listing: &Listing, dir: &Path) -> Vec<(String, Reason)> {
        let paths = names(listing.passed_over.iter().map(|entry| &entry.path), dir);
        paths.into_iter().zip(listing.passed_over.iter().map(|entry| entry.reason)).collect()
    }

    #[test]
    fn extension_or_content_makes_an_image() {
        let dir = tree(&[
            ("b.PNG", b"x"),
            ("a.jfif", b"x"),
            ("a.JPE", b"x"),
            ("c.webp", b"x"),
            ("d.pgm", b"x"),
            ("sub/noext", PNG),
            ("sub/000123.cam1", b"\xff\xd8\xff\xe0"),
            ("sub/P5", b"P5 4 4 255\n"),
            ("sub/bitmap", b"BM\x10\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0"),
            ("notes", b"BM is no bitmap"),
            ("x.heic", b"\0\0\0\x18ftypheic"),
            ("readme", b"x"),
            ("labels.csv", b"x"),
            ("copy.png.part", PNG),
        ]);
        let listing = list(dir.path(), &ListOptions::default()).unwrap();
        assert_eq!(
            names(&listing.images, dir.path()),
            [
                "a.JPE",
                "a.jfif",
                "b.PNG",
                "c.webp",
                "d.pgm",
                "sub/000123.cam1",
                "sub/P5",
                "sub/bitmap",
                "sub/noext"
            ]
        );
        let want =
            [("copy.png.part", Reason::Unfinished), ("notes", Reason::NoImage), ("x.heic", Reason::NoImage)];
        assert_eq!(passed_over(&listing, dir.path()), want.map(|(name, reason)| (name.to_string(), reason)));
        assert!(listing.failed.is_empty());
    }

    #[test]
    fn what_a_nas_and_the_system_leave_is_named() {
        let dir = tree(&[
            ("1.png", PNG),
            ("@eaDir/1.png/THUMB_M.jpg", PNG),
            ("#recycle/1.png", PNG),
            ("$RECYCLE.BIN/1.png", PNG),
            ("System Volume Information/1.png", PNG),
            ("lost+found/1.png", PNG),
            ("deep/.AppleDouble/1.png", PNG),
            ("._1.png", PNG),
            (".hidden.png", PNG),
            ("Thumbs.db", PNG),
            ("Thumbs.db:encryptable", PNG),
        ]);
        let listing = list(dir.path(), &ListOptions::default()).unwrap();
        assert_eq!(names(&listing.images, dir.path()), ["1.png"]);
        let reasons: Vec<Reason> = listing.passed_over.iter().map(|entry| entry.reason).collect();
        assert_eq!(reasons.len(), 10, "{:?}", listing.passed_over);
        assert_eq!(reasons.iter().filter(|reason| **reason == Reason::Hidden).count(), 1);
        // Named by the caller, each is read.
        for named in ["@eaDir", "#recycle", ".hidden.png"] {
            let listing = list(&dir.path().join(named), &ListOptions::default()).unwrap();
            assert_eq!(listing.images.len(), 1, "{named}");
        }
    }

    #[test]
    fn own_results_are_left_out_wherever_they_lie() {
        let dir = tree(&[
            ("1.png", PNG),
            ("predictions.jsonl", b""),
            ("heatmaps/1.png", PNG),
            ("older/results/predictions.jsonl", b""),
            ("older/results/heatmaps/1.png", PNG),
            ("older/results/anomaly_maps/1.png", PNG),
            ("older/results/2.png", PNG),
            ("new/heatmaps/1.png", PNG),
            ("theirs/heatmaps/1.png", PNG),
        ]);
        let options = ListOptions { outputs: vec![dir.path().join("new")] };
        let listing = list(dir.path(), &options).unwrap();
        assert_eq!(
            names(&listing.images, dir.path()),
            ["1.png", "older/results/2.png", "theirs/heatmaps/1.png"]
        );
        let want = ["heatmaps", "new/heatmaps", "older/results/anomaly_maps", "older/results/heatmaps"];
        assert_eq!(names(listing.passed_over.iter().map(|entry| &entry.path), dir.path()), want);
    }

    #[cfg(unix)]
    #[test]
    fn one_bad_entry_does_not_hide_the_others() {
        let dir = tree(&[("real/1.png", PNG), ("sockets/2.png", PNG)]);
        let path = |name: &str| dir.path().join(name);
        let link = |to: &str, name: &str| std::os::unix::fs::symlink(to, path(name)).unwrap();
        link("real", "also");
        link("nowhere", "broken.png");
        link("nowhere", "broken.txt");
        link(".", "real/again");
        link("../..", "real/up");
        let socket = std::os::unix::net::UnixListener::bind(path("sockets/s.png")).unwrap();
        let other = std::os::unix::net::UnixListener::bind(path("sockets/agent.sock")).unwrap();
        let listing = list(dir.path(), &ListOptions::default()).unwrap();
        assert_eq!(names(&listing.images, dir.path()), ["also/1.png", "real/1.png", "sockets/2.png"]);
        let failed = names(listing.failed.iter().map(|entry| &entry.path), dir.path());
        assert_eq!(failed, ["also/again", "also/up", "broken.png", "real/again", "real/up", "sockets/s.png"]);
        for (entry, words) in
            listing.failed.iter().zip(["back", "back", "cannot read", "back", "back", "a socket"])
        {
            let message = entry.error.to_string();
            assert!(
                message.contains(words) && message.contains(&entry.path.display().to_string()),
                "{message}"
            );
        }
        let error = list(&path("sockets/s.png"), &ListOptions::default()).unwrap_err();
        assert!(matches!(error, DataError::NotAFile { .. }), "{error}");
        drop((socket, other));
    }
}
