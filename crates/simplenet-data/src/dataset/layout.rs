//! What a layout of data sets is: how it is recognised, which categories it has, how one of them is read.
//!
//! [`Layout::scan`] is written once for both of its users. Where something is wrong it tells `problems` and goes on if
//! that returns `Ok`: reading a category to train on refuses at the first problem, checking a data set collects all.

use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

use serde::{Deserialize, Serialize};

use super::{
    Category, btad::Btad, child, csv::Csv, folder::Folders, folder::PlainFolders, folder_name,
    kolektor_sdd2::KolektorSdd2, list, mvtec::Mvtec, mvtec_3d::Mvtec3d, mvtec_ad_2::MvtecAd2,
    mvtec_loco::MvtecLoco, real_iad::RealIad, require_folder, tree::good_folder, visa::Visa,
};
use crate::{decode::DecodeOptions, error::DataError};

/// Takes what is wrong; an error that it returns ends the scan.
pub type Problems<'a> = dyn FnMut(DataError) -> Result<(), DataError> + 'a;

/// A layout of data sets.
pub trait Layout: Sync {
    /// Its name.
    fn id(&self) -> LayoutId;

    /// Which data sets have it, in a few words.
    fn description(&self) -> &'static str;

    /// What tells it from others, in the folder of a category.
    fn signs(&self, folder: &Path) -> Vec<Sign>;

    /// The category that a folder is, by itself.
    ///
    /// # Errors
    /// A folder that cannot be read.
    fn place(&self, folder: &Path) -> Result<Place, DataError> {
        Ok(Place { layout: self.id(), path: folder.to_path_buf(), name: folder_name(folder)?, folders: None })
    }

    /// The categories below `root`, sorted: the folders that have this layout's signs; none is no error.
    ///
    /// # Errors
    /// `root` is missing or cannot be listed.
    fn places(&self, root: &Path) -> Result<Vec<Place>, DataError> {
        require_folder(root, "a folder of categories")?;
        let (_, folders) = list(root)?;
        folders.iter().filter(|folder| self.fits(folder)).map(|folder| self.place(folder)).collect()
    }

    /// Reads a category: lists and headers, and masks where these tell the labels. What is wrong goes to `problems`.
    ///
    /// # Errors
    /// What `problems` returns; a folder that cannot be listed.
    fn scan(
        &self,
        place: &Place,
        decode: &DecodeOptions,
        problems: &mut Problems<'_>,
    ) -> Result<Category, DataError>;

    /// Whether the folder has all the signs that a category of this layout needs.
    fn fits(&self, folder: &Path) -> bool {
        let signs = self.signs(folder);
        signs.iter().any(|sign| sign.needed) && signs.iter().all(|sign| sign.found || !sign.needed)
    }
}

/// Something that tells a layout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sign {
    /// A path below the folder, or a few words.
    pub what: String,
    /// Whether it is there.
    pub found: bool,
    /// Whether the layout cannot be without it.
    pub needed: bool,
}

impl Sign {
    /// A folder that must be there, in any case.
    pub(crate) fn folder(root: &Path, path: &str) -> Self {
        let found = path.split('/').fold(root.to_path_buf(), |folder, name| child(&folder, name)).is_dir();
        Self { what: path.to_string(), found, needed: true }
    }

    /// A folder of good parts below another one that must be there, by whichever of its names; mostly called `name`.
    pub(crate) fn good(root: &Path, above: &str, name: &str) -> Self {
        let found = good_folder(&child(root, above));
        let called = |folder: &PathBuf| folder.file_name().map(|name| name.to_string_lossy().into_owned());
        let name = found.as_ref().ok().and_then(Option::as_ref).and_then(called).unwrap_or(name.to_string());
        // Two such folders are told when they are read.
        Self { what: format!("{above}/{name}"), found: !matches!(found, Ok(None)), needed: true }
    }

    /// The same, where it may be absent.
    pub(crate) fn optional(self) -> Self {
        Self { needed: false, ..self }
    }
}

/// Where a category lies and how it is to be read; enough to read it again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// How.
    pub layout: LayoutId,
    /// Its folder, or the list that names its images.
    pub path: PathBuf,
    /// Its name.
    pub name: String,
    /// The folders, where a person named each by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folders: Option<Folders>,
}

impl Place {
    /// Reads the category; `decode` is the model's, since the EXIF orientation decides about the size that a mask must
    /// have.
    ///
    /// # Errors
    /// The first thing that is wrong: a missing folder, a mask that does not fit, a header that cannot be read.
    pub fn load(&self, decode: &DecodeOptions) -> Result<Category, DataError> {
        self.layout.layout().scan(self, decode, &mut |problem| Err(problem))
    }
}

/// The layouts that are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LayoutId {
    /// MVTec AD 2.
    #[serde(rename = "mvtec-ad-2")]
    MvtecAd2,
    /// MVTec LOCO AD.
    MvtecLoco,
    /// MVTec 3D-AD: its colour images.
    #[serde(rename = "mvtec-3d")]
    Mvtec3d,
    /// BTAD.
    Btad,
    /// MVTec AD, MPDD and many others.
    Mvtec,
    /// VisA, by its split files.
    Visa,
    /// Real-IAD, by its JSON files.
    RealIad,
    /// Kolektor SDD2.
    #[serde(rename = "kolektor-sdd2")]
    KolektorSdd2,
    /// Plain folders of good images, of defective ones and of masks.
    Folders,
    /// A CSV file of paths, labels and masks.
    Csv,
}

impl LayoutId {
    /// All of them, those with more signs first: the first that fits is the one.
    pub const ALL: [Self; 10] = [
        Self::MvtecAd2,
        Self::MvtecLoco,
        Self::Mvtec3d,
        Self::Btad,
        Self::Mvtec,
        Self::Visa,
        Self::RealIad,
        Self::KolektorSdd2,
        Self::Folders,
        Self::Csv,
    ];

    /// Its implementation.
    pub fn layout(self) -> &'static dyn Layout {
        match self {
            Self::MvtecAd2 => &MvtecAd2,
            Self::MvtecLoco => &MvtecLoco,
            Self::Mvtec3d => &Mvtec3d,
            Self::Mvtec => &Mvtec,
            Self::Btad => &Btad,
            Self::Visa => &Visa,
            Self::RealIad => &RealIad,
            Self::KolektorSdd2 => &KolektorSdd2,
            Self::Folders => &PlainFolders,
            Self::Csv => &Csv,
        }
    }

    /// Its name, as `--layout` takes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::MvtecAd2 => "mvtec-ad-2",
            Self::MvtecLoco => "mvtec-loco",
            Self::Mvtec3d => "mvtec-3d",
            Self::Mvtec => "mvtec",
            Self::Btad => "btad",
            Self::Visa => "visa",
            Self::RealIad => "real-iad",
            Self::KolektorSdd2 => "kolektor-sdd2",
            Self::Folders => "folders",
            Self::Csv => "csv",
        }
    }

    /// Whether its categories are folders below that of the data set; else a data set is one category.
    pub(crate) fn has_category_folders(self) -> bool {
        let one = [Self::KolektorSdd2, Self::Folders, Self::Csv];
        !one.contains(&self)
    }
}

impl fmt::Display for LayoutId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for LayoutId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|id| id.name().eq_ignore_ascii_case(text)).ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            format!("unknown layout `{text}`; there are: {names}")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_same_everywhere() {
        for id in LayoutId::ALL {
            assert_eq!(id.name().parse::<LayoutId>().unwrap(), id);
            assert_eq!(serde_json::to_string(&id).unwrap(), format!("\"{}\"", id.name()));
            assert_eq!(id.layout().id(), id);
        }
        assert!("coco".parse::<LayoutId>().unwrap_err().contains("mvtec-ad-2, mvtec-loco"));
    }
}
