//! Flags that name a data set: of `train` and `eval`, and those of `data check`.

use std::path::PathBuf;

use clap::{
    ArgGroup, Args, Subcommand,
    builder::{PossibleValuesParser, TypedValueParser},
};
use simplenet_data::dataset::{Folders, LayoutId, Source};

use crate::error::CliError;

/// Where images come from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct DataSource {
    /// A data set, one of its category folders, or a list. Its layout is recognised: MVTec AD, MVTec AD 2, MVTec LOCO AD,
    /// MVTec 3D-AD, MPDD, BTAD, VisA, Real-IAD, Kolektor SDD2, a CSV file with the columns path and label, perhaps mask,
    /// split and category; or a plain folder of good parts.
    #[arg(long, value_name = "PATH", conflicts_with_all = ["normal", "normal_test", "abnormal", "masks"])]
    pub data: Option<PathBuf>,
    /// Which category, where --data is a data set of several.
    #[arg(long, value_name = "NAME", requires = "data")]
    pub category: Option<String>,
    /// The layout of --data, where it is not to be recognised.
    #[arg(long, value_name = "LAYOUT", requires = "data", value_parser = layouts())]
    pub layout: Option<LayoutId>,
    /// Or plain folders.
    #[command(flatten)]
    pub folders: FolderArgs,
}

/// Plain folders, named one by one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct FolderArgs {
    /// Plain folders of photographs of good parts, read with their sub-folders; nothing else is needed to train.
    #[arg(long, value_name = "DIR", num_args = 1..)]
    pub normal: Vec<PathBuf>,
    /// Plain folders of good parts to test on, none of those that are trained on.
    #[arg(long, value_name = "DIR", num_args = 1..)]
    pub normal_test: Vec<PathBuf>,
    /// Plain folders of defective parts to test on; a sub-folder's name is that of its defect.
    #[arg(long, value_name = "DIR", num_args = 1..)]
    pub abnormal: Vec<PathBuf>,
    /// The masks of --abnormal, of the same name as their image, with `_mask` or the like after it or without: folders of
    /// them, or JSON files of LabelMe or COCO. Masks that lie beside their images are found without.
    #[arg(long, value_name = "DIR", num_args = 1.., requires = "abnormal")]
    pub masks: Vec<PathBuf>,
}

/// The names of layouts, so that help, completions and errors know them.
pub fn layouts() -> impl TypedValueParser<Value = LayoutId> {
    PossibleValuesParser::new(LayoutId::ALL.map(LayoutId::name)).try_map(|name| name.parse::<LayoutId>())
}

impl DataSource {
    /// What the flags name.
    ///
    /// # Errors
    /// They name nothing.
    pub fn source(&self) -> Result<Source, CliError> {
        if let Some(data) = &self.data {
            let (category, layout) = (self.category.clone(), self.layout);
            return Ok(Source::Path { data: data.clone(), category, layout });
        }
        let FolderArgs { normal, normal_test, abnormal, masks } = self.folders.clone();
        let folders = Folders { normal, normal_test, abnormal, masks };
        if folders.all().next().is_none() {
            return Err(CliError::Usage("name the images: --data, or --normal and its kin".into()));
        }
        Ok(Source::Folders(folders))
    }
}

/// Flags of `data`.
#[derive(Debug, Args)]
pub struct DataArgs {
    /// What to do.
    #[command(subcommand)]
    pub verb: DataVerb,
}

/// The verbs of `data`.
#[derive(Debug, Subcommand)]
pub enum DataVerb {
    /// Recognise the layout of a data set, count everything, and list all that is wrong.
    Check(DataCheckArgs),
}

/// Flags of `data check`.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit code 1 when something is wrong, 0 when there are notes only.",
    group = ArgGroup::new("images").args(["path", "normal", "normal_test", "abnormal"]).required(true).multiple(true),
)]
pub struct DataCheckArgs {
    /// A data set, one of its category folders, a folder of photographs, or a CSV file.
    #[arg(value_name = "PATH", conflicts_with_all = ["normal", "normal_test", "abnormal", "masks"])]
    pub path: Option<PathBuf>,
    /// Only this category.
    #[arg(long, value_name = "NAME", requires = "path")]
    pub category: Option<String>,
    /// The layout, where it is not to be recognised.
    #[arg(long, value_name = "LAYOUT", requires = "path", value_parser = layouts())]
    pub layout: Option<LayoutId>,
    /// Or plain folders.
    #[command(flatten)]
    pub folders: FolderArgs,
    /// Decode every pixel of every image: finds files that are cut off. Masks are decoded always.
    #[arg(long)]
    pub decode: bool,
    /// Print at most so many findings of a kind; the JSON file has all.
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub most: usize,
    /// Also write everything as JSON here.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

impl DataCheckArgs {
    /// What the flags name.
    ///
    /// # Errors
    /// They name nothing.
    pub fn source(&self) -> Result<Source, CliError> {
        let source = DataSource {
            data: self.path.clone(),
            category: self.category.clone(),
            layout: self.layout,
            folders: self.folders.clone(),
        };
        source.source()
    }
}
