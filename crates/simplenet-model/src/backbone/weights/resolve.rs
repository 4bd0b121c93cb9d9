//! From a backbone's id to its weights on this machine, fetched where they have to be. In: an id and a source. Out: the
//! weights, or the path of their file.

use std::path::PathBuf;

use super::{
    BackboneWeights, DownloadProgress, HubConfig, Origin, PackageFile, WebFile, WeightsSource, fetch, origin,
};
use crate::{backbone::BackboneId, error::ModelError};

/// Gets a backbone's weights, from the network if they have to come from there; the environment decides how
/// ([`HubConfig::from_env`]).
///
/// # Errors
/// As [`resolve_with`].
pub fn resolve(
    id: BackboneId,
    source: &WeightsSource,
    progress: &dyn DownloadProgress,
) -> Result<BackboneWeights, ModelError> {
    resolve_with(id, source, &HubConfig::from_env(), progress)
}

/// The same with an explicit configuration of the Hub.
///
/// # Errors
/// A file that cannot be read, is of neither form, lacks a tensor or has one of another shape; a download that fails
/// or has another hash than the registered one; no network; weights that a person has to fetch.
pub fn resolve_with(
    id: BackboneId,
    source: &WeightsSource,
    hub: &HubConfig,
    progress: &dyn DownloadProgress,
) -> Result<BackboneWeights, ModelError> {
    match (source, origin(id)) {
        (WeightsSource::File(path), _) => BackboneWeights::from_file(id, path),
        (WeightsSource::Default, Origin::Embedded) => BackboneWeights::embedded(id),
        (WeightsSource::Default, Origin::Hub(file)) => {
            let path = fetch(id, file, hub, progress)?;
            BackboneWeights::from_file(id, &path)
        }
        (WeightsSource::Default, Origin::Package(file)) => Err(in_a_package(id, file)),
        (WeightsSource::Default, Origin::Web(file)) => Err(by_hand(id, file)),
    }
}

/// Makes sure that a backbone's file is on this machine. Returns its path, or `None` for the embedded one.
///
/// # Errors
/// As [`fetch`]; [`ModelError::WeightsInPackage`] and [`ModelError::WeightsByHand`] where a person has to fetch them.
pub fn download(
    id: BackboneId,
    hub: &HubConfig,
    progress: &dyn DownloadProgress,
) -> Result<Option<PathBuf>, ModelError> {
    match origin(id) {
        Origin::Embedded => Ok(None),
        Origin::Hub(file) => fetch(id, file, hub, progress).map(Some),
        Origin::Package(file) => Err(in_a_package(id, file)),
        Origin::Web(file) => Err(by_hand(id, file)),
    }
}

fn in_a_package(backbone: BackboneId, file: &PackageFile) -> ModelError {
    ModelError::WeightsInPackage {
        backbone: backbone.name(),
        package: format!("{}=={}", file.package, file.version),
        file: file.file,
        sha256: file.sha256,
    }
}

fn by_hand(backbone: BackboneId, file: &WebFile) -> ModelError {
    ModelError::WeightsByHand { backbone: backbone.name(), url: file.url, sha256_begins: file.sha256_begins }
}
