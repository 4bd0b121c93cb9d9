//! What a person names: a data set, one of its categories, a list, or folders one by one.

use std::path::{Path, PathBuf};

use super::{
    Category, Folders, LayoutId, Place, Recognised, mvtec::no_categories, recognise, recognise::has_signs,
};
use crate::decode::DecodeOptions;
use crate::error::DataError;

/// Where a category is to be found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// In a folder or a list whose layout is recognised.
    Path {
        /// A data set, a category's folder, or a list.
        data: PathBuf,
        /// Which of its categories, where there are several.
        category: Option<String>,
        /// Its layout, where it is not to be recognised.
        layout: Option<LayoutId>,
    },
    /// In folders that were named one by one.
    Folders(Folders),
}

impl Source {
    /// A folder or list, without more being said.
    pub fn path(data: impl Into<PathBuf>) -> Self {
        Self::Path { data: data.into(), category: None, layout: None }
    }

    /// Finds the category.
    ///
    /// # Errors
    /// No layout fits; a data set of several categories of which none was named; a name that there is not; folders that
    /// hold other parts than they are to.
    pub fn place(&self) -> Result<Place, DataError> {
        let (data, category) = match self {
            Self::Folders(folders) => {
                folders.require_only_what_they_say()?;
                return Ok(folders.place());
            }
            Self::Path { data, category, .. } => (data, category),
        };
        let Recognised { layout, mut places, .. } = self.of_path()?;
        let root = data.clone();
        let known: Vec<String> = places.iter().map(|place| place.name.clone()).collect();
        match category {
            Some(name) => match places.iter().position(|place| place.name == *name) {
                Some(position) => Ok(places.swap_remove(position)),
                None => Err(DataError::NoSuchCategory { root, name: name.clone(), known }),
            },
            None if places.len() > 1 => {
                Err(DataError::SeveralCategories { root, layout: layout.to_string(), known })
            }
            None => places.pop().ok_or_else(|| no_categories(data, false)),
        }
    }

    /// Finds and reads the category.
    ///
    /// # Errors
    /// As [`place`](Self::place) and [`Place::load`].
    pub fn load(&self, decode: &DecodeOptions) -> Result<Category, DataError> {
        self.place()?.load(decode)
    }

    /// All that there is to look at: every category of a data set; a plain folder of images too.
    ///
    /// # Errors
    /// No layout fits; folders that hold other parts than they are to.
    pub fn recognise(&self) -> Result<Recognised, DataError> {
        match self {
            Self::Folders(folders) => {
                folders.require_only_what_they_say()?;
                Ok(plain(folders, "folders that were named"))
            }
            Self::Path { category, .. } => {
                let mut found = self.of_path()?;
                if category.is_some() {
                    found.places = vec![self.place()?];
                }
                Ok(found)
            }
        }
    }

    /// What a path is; one judgement for all that ask. A folder without any sign of a layout is one of good parts.
    fn of_path(&self) -> Result<Recognised, DataError> {
        let Self::Path { data, layout, .. } = self else { return self.recognise() };
        match recognise(data, *layout) {
            Err(DataError::UnknownLayout { .. }) if layout.is_none() && !has_signs(data) => {
                let folders = Folders::of_good([data.clone()]);
                folders.require_only_what_they_say()?;
                Ok(plain(&folders, "images and no folder that a layout has: good parts, nothing to test on"))
            }
            other => other,
        }
    }
}

fn plain(folders: &Folders, why: &str) -> Recognised {
    Recognised {
        layout: LayoutId::Folders,
        places: vec![folders.place()],
        is_category: true,
        why: vec![why.to_string()],
        absent: vec![],
    }
}

/// The categories of a data set, sorted.
///
/// # Errors
/// `root` is missing or holds no category; the message says so when `root` is a category itself.
pub fn categories(root: &Path, layout: Option<LayoutId>) -> Result<Vec<Place>, DataError> {
    match recognise(root, layout) {
        Ok(found) if found.is_category && found.layout.has_category_folders() && root.is_dir() => {
            Err(no_categories(root, true))
        }
        Ok(found) => Ok(found.places),
        Err(DataError::UnknownLayout { .. }) => Err(no_categories(root, false)),
        Err(other) => Err(other),
    }
}
