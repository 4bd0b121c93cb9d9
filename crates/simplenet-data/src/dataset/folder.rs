//! A plain folder of images, read recursively.
//!
//! In: a path. Out: image paths, or a category that has good images to train on and nothing to test on. Hidden
//! files and folders are passed over, links are followed. Files count as images by extension here (PNG, JPEG,
//! BMP, TIFF in any case); what they hold shows when they are decoded.

use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use super::{
    Category, GOOD, Label, Sample, folder_name, has_image_extension, is_hidden, require_folder,
    require_images,
};
use crate::error::DataError;

/// A folder of good images, sub-folders included, as a category without test samples.
///
/// # Errors
/// The folder is missing, cannot be listed, or holds no image.
pub fn load_normal(dir: &Path) -> Result<Category, DataError> {
    require_folder(dir, "a folder of images of good parts")?;
    let train = walk(dir)?
        .into_iter()
        .map(|path| Sample { path, label: Label::Normal, defect: GOOD.to_string(), mask: None })
        .collect();
    Ok(Category { name: folder_name(dir)?, root: dir.to_path_buf(), train, test: Vec::new() })
}

/// The image itself where `path` is a file, of whatever extension; all images below it where it is a folder.
///
/// # Errors
/// The path does not exist, cannot be listed, or the folder holds no image.
pub fn list_images(path: &Path) -> Result<Vec<PathBuf>, DataError> {
    if std::fs::metadata(path).map_err(DataError::io("read", path))?.is_dir() {
        walk(path)
    } else {
        Ok(vec![path.to_path_buf()])
    }
}

fn walk(dir: &Path) -> Result<Vec<PathBuf>, DataError> {
    let mut images = Vec::new();
    let visible = WalkDir::new(dir)
        .follow_links(true)
        .into_iter()
        // What the caller names is read even when it is hidden.
        .filter_entry(|entry| entry.depth() == 0 || !is_hidden(entry.path()));
    for entry in visible {
        match entry {
            Ok(entry) if !entry.file_type().is_dir() && has_image_extension(entry.path()) => {
                images.push(entry.into_path());
            }
            Ok(_) => {}
            // A link to nowhere that is named like an image: reading it gives the error, for this file only.
            Err(error) if error.path().is_some_and(|p| has_image_extension(p) && !p.is_dir()) => {
                images.extend(error.path().map(Path::to_path_buf));
            }
            Err(error) => {
                let path = error.path().unwrap_or(dir).to_path_buf();
                let source = error.into_io_error().unwrap_or_else(|| {
                    std::io::Error::other("a link leads back to a folder above it; remove the link")
                });
                return Err(DataError::Io { action: "list", path, source });
            }
        }
    }
    images.sort_unstable();
    require_images(&images, dir, "at least one image, in it or in its sub-folders")?;
    Ok(images)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(names: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for name in names {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "x").unwrap();
        }
        dir
    }

    #[test]
    fn recursive_sorted_and_images_only() {
        let dir = tree(&[
            "b.PNG",
            "a/2.jpeg",
            "a/10.tiff",
            "B.bmp",
            "notes.txt",
            ".hidden.png",
            ".git/x.png",
            "c.TIF",
        ]);
        let found = list_images(dir.path()).unwrap();
        let names: Vec<String> = found
            .iter()
            .map(|p| p.strip_prefix(dir.path()).unwrap().display().to_string().replace('\\', "/"))
            .collect();
        assert_eq!(names, ["B.bmp", "a/10.tiff", "a/2.jpeg", "b.PNG", "c.TIF"]);
        let category = load_normal(dir.path()).unwrap();
        assert_eq!(category.train.iter().map(|s| s.path.clone()).collect::<Vec<_>>(), found);
        assert!(category.test.is_empty() && category.masked() == (0, 0));
        assert!(category.train.iter().all(|s| s.label == Label::Normal && s.defect == GOOD));
        assert_eq!(category.name, dir.path().file_name().unwrap().to_string_lossy());
    }

    #[test]
    fn one_file_is_taken_whatever_its_name() {
        let dir = tree(&["photo"]);
        let file = dir.path().join("photo");
        assert_eq!(list_images(&file).unwrap(), [file]);
    }

    #[test]
    fn nothing_there_is_an_error_that_names_the_folder() {
        let dir = tree(&["notes.txt"]);
        let missing = dir.path().join("missing");
        for error in [
            list_images(dir.path()).unwrap_err(),
            load_normal(dir.path()).unwrap_err(),
            list_images(&missing).unwrap_err(),
            load_normal(&missing).unwrap_err(),
            load_normal(&dir.path().join("notes.txt")).unwrap_err(),
        ] {
            assert!(error.to_string().contains(&dir.path().display().to_string()), "{error}");
        }
        assert!(matches!(list_images(dir.path()), Err(DataError::NoImages { .. })));
        assert!(matches!(load_normal(&missing), Err(DataError::MissingFolder { .. })));
    }

    #[cfg(unix)]
    #[test]
    fn links() {
        let dir = tree(&["real/1.png"]);
        let link = |to: &str, name: &str| std::os::unix::fs::symlink(to, dir.path().join(name)).unwrap();
        link("real", "also");
        link("nowhere", "broken.png");
        assert_eq!(list_images(dir.path()).unwrap().len(), 3);
        link("..", "real/up");
        let error = list_images(dir.path()).unwrap_err();
        assert!(error.to_string().contains("leads back"), "{error}");
    }
}
