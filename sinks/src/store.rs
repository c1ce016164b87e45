//! One folder or bucket prefix, local or remote, behind blocking calls.

use std::collections::HashSet;
use std::ffi::OsString;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::local::LocalFileSystem;
use object_store::prefix::PrefixStore;
use object_store::{DynObjectStore, ObjectStore, ObjectStoreExt, PutMode};
use tokio::runtime::Handle;

use crate::error::SinkError;

/// An object store rooted at a lake, with the runtime its calls run on.
///
/// Every method blocks, so none may be called from a timely worker or from inside the runtime.
#[derive(Clone)]
pub struct Store {
    objects: Arc<DynObjectStore>,
    /// The folder, where the store is the local file system.
    local: Option<PathBuf>,
    url: String,
    runtime: Handle,
}

impl Store {
    /// Opens `./lake`, `file://…`, `s3://…`, `gs://…` or `az://…`. A local folder is created.
    ///
    /// Credentials and endpoints of remote stores come from the usual environment variables.
    pub fn open(url: &str, runtime: Handle) -> Result<Self, SinkError> {
        let refuse = |why: String| SinkError::Url { url: url.to_owned(), why };
        let folder = match url.split_once("://") {
            None => Some(PathBuf::from(url)),
            Some(("file", path)) => Some(PathBuf::from(path)),
            Some(("s3" | "gs" | "az" | "abfs" | "abfss" | "s3a", _)) => None,
            Some((scheme, _)) => {
                return Err(refuse(format!(
                    "unknown scheme \"{scheme}\"; a lake is a path, file://, s3://, gs:// or az://"
                )));
            }
        };
        if let Some(folder) = folder {
            let failed = |action, source| SinkError::File { action, path: folder.clone(), source };
            std::fs::create_dir_all(&folder).map_err(|source| failed("creating the lake's folder", source))?;
            let folder = folder.canonicalize().map_err(|source| failed("opening the lake's folder", source))?;
            let objects = LocalFileSystem::new_with_prefix(&folder)
                .map_err(|source| SinkError::Store { action: "opening", path: url.to_owned(), source })?
                .with_fsync(true);
            return Ok(Self { objects: Arc::new(objects), local: Some(folder), url: url.to_owned(), runtime });
        }
        // A second install loses to the first; either way ring is the provider.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let parsed = url::Url::parse(url).map_err(|why| refuse(why.to_string()))?;
        let (objects, prefix) = object_store::parse_url_opts(&parsed, settings(std::env::vars_os()))
            .map_err(|source| SinkError::Store { action: "opening", path: url.to_owned(), source })?;
        let objects: Arc<DynObjectStore> =
            if prefix.as_ref().is_empty() { objects.into() } else { Arc::new(PrefixStore::new(objects, prefix)) };
        Ok(Self { objects, local: None, url: url.to_owned(), runtime })
    }

    /// Any object store as a lake. It publishes by copying, unless [`Store::with_folder`] follows.
    pub fn from_objects(objects: Arc<DynObjectStore>, runtime: Handle) -> Self {
        let url = objects.to_string();
        Self { objects, local: None, url, runtime }
    }

    /// Says that the objects are the files under `folder`: renames are atomic there and file locks hold.
    #[must_use]
    pub fn with_folder(mut self, folder: PathBuf) -> Self {
        self.local = Some(folder);
        self
    }

    pub fn objects(&self) -> &Arc<dyn ObjectStore> {
        &self.objects
    }

    pub fn local(&self) -> Option<&Path> {
        self.local.as_deref()
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    pub fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// Writes a whole object; readers see all of it or nothing.
    pub(crate) fn put(&self, action: &'static str, path: &str, bytes: Bytes, mode: PutMode) -> Result<(), SinkError> {
        let location = path.into();
        let put = self.objects.put_opts(&location, bytes.into(), mode.into());
        self.runtime.block_on(put).map(drop).map_err(|source| Self::failed(action, path, source))
    }

    /// Writes a whole object, or replaces it.
    pub fn write(&self, path: &str, bytes: Bytes) -> Result<(), SinkError> {
        self.put("writing", path, bytes, PutMode::Overwrite)
    }

    pub(crate) fn get(&self, path: &str) -> Result<Bytes, SinkError> {
        let get = async { self.objects.get(&path.into()).await?.bytes().await };
        self.runtime.block_on(get).map_err(|source| Self::failed("reading", path, source))
    }

    /// The same as [`Store::get`]; `None` when there is no such object.
    pub(crate) fn find(&self, path: &str) -> Result<Option<Bytes>, SinkError> {
        match self.get(path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(SinkError::Store { source: object_store::Error::NotFound { .. }, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(crate) fn get_ranges(&self, path: &str, ranges: &[Range<u64>]) -> Result<Vec<Bytes>, SinkError> {
        let location = path.into();
        let get = self.objects.get_ranges(&location, ranges);
        self.runtime.block_on(get).map_err(|source| Self::failed("reading", path, source))
    }

    /// Size of an object in bytes; `None` when there is no such object.
    pub(crate) fn size(&self, path: &str) -> Result<Option<u64>, SinkError> {
        self.runtime.block_on(self.size_of(path))
    }

    /// The same as [`Store::size`], for callers on the runtime.
    pub(crate) async fn size_of(&self, path: &str) -> Result<Option<u64>, SinkError> {
        match self.objects.head(&path.into()).await {
            Ok(meta) => Ok(Some(meta.size)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(source) => Err(Self::failed("looking for", path, source)),
        }
    }

    /// Paths of all objects below a folder, in no particular order.
    pub(crate) fn list(&self, folder: &str) -> Result<Vec<String>, SinkError> {
        Ok(self.list_sizes(folder)?.into_iter().map(|(path, _)| path).collect())
    }

    /// The same as [`Store::list`], with the size of each object in bytes.
    ///
    /// A path may hold control characters: strangers' files are in no way bound to names that we would choose.
    pub(crate) fn list_sizes(&self, folder: &str) -> Result<Vec<(String, u64)>, SinkError> {
        let location = folder.into();
        let list =
            self.objects.list(Some(&location)).map_ok(|meta| (meta.location.to_string(), meta.size)).try_collect();
        match (self.runtime.block_on(list), &self.local) {
            // One file whose name is no path of an object ends the whole listing.
            (Err(object_store::Error::InvalidPath { .. }), Some(root)) => walk(root, folder),
            (listed, _) => listed.map_err(|source| Self::failed("listing", folder, source)),
        }
    }

    /// Deletes an object that may be gone already.
    pub(crate) fn delete(&self, path: &str) -> Result<(), SinkError> {
        match self.runtime.block_on(self.objects.delete(&path.into())) {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(source) => Err(Self::failed("deleting", path, source)),
        }
    }

    pub(crate) fn failed(action: &'static str, path: &str, source: object_store::Error) -> SinkError {
        SinkError::Store { action, path: path.to_owned(), source }
    }
}

/// The environment's settings of the stores. Names without a store's prefix, such as `TOKEN`, mean other things, and
/// what is not Unicode is none of them.
fn settings(environment: impl Iterator<Item = (OsString, OsString)>) -> Vec<(String, String)> {
    environment
        .filter_map(|(name, value)| Some((name.into_string().ok()?.to_ascii_uppercase(), value.into_string().ok()?)))
        .filter(|(name, _)| ["AWS_", "AZURE_", "GOOGLE_"].iter().any(|prefix| name.starts_with(prefix)))
        .collect()
}

/// All files below a folder under `root`, whatever their names are; bytes that are not UTF-8 are replaced. As in the
/// listings of the object store, links are followed, and files that are being written (`<name>#<number>`) are left out.
fn walk(root: &Path, folder: &str) -> Result<Vec<(String, u64)>, SinkError> {
    let mut found = Vec::new();
    let mut met = HashSet::new();
    let mut folders = vec![root.join(folder)];
    while let Some(folder) = folders.pop() {
        let failed = |source| SinkError::File { action: "listing", path: folder.clone(), source };
        // A link may lead back to where we came from.
        if !folder.canonicalize().is_ok_and(|folder| met.insert(folder)) {
            continue;
        }
        for entry in std::fs::read_dir(&folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            // Gone meanwhile, or a link to nowhere.
            let Ok(metadata) = std::fs::metadata(&path) else { continue };
            let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
            let suffix = name.rsplit('/').next().and_then(|name| name.split_once('#')).map(|(_, suffix)| suffix);
            if metadata.is_dir() {
                folders.push(path);
            } else if !suffix.is_some_and(|suffix| !suffix.is_empty() && suffix.bytes().all(|b| b.is_ascii_digit())) {
                found.push((name, metadata.len()));
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt;

    use super::*;

    #[test]
    fn settings_are_those_of_stores_and_text() {
        let strange = OsString::from_vec(vec![b'A', 0xff]);
        let environment = [
            ("AWS_REGION".into(), "eu-west-1".into()),
            ("google_service_account".into(), "key.json".into()),
            ("TOKEN".into(), "of something else".into()),
            ("AWS_ENDPOINT".into(), strange.clone()),
            (strange, "value".into()),
        ];
        let found = settings(environment.into_iter());
        let found: Vec<_> = found.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(found, [("AWS_REGION", "eu-west-1"), ("GOOGLE_SERVICE_ACCOUNT", "key.json")]);
    }
}
