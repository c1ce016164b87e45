//! One folder or bucket prefix, local or remote, behind blocking calls.

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
        let (objects, prefix) = object_store::parse_url_opts(&parsed, std::env::vars())
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
        match self.runtime.block_on(self.objects.head(&path.into())) {
            Ok(meta) => Ok(Some(meta.size)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(source) => Err(Self::failed("looking for", path, source)),
        }
    }

    /// Paths of all objects below a folder, in no particular order.
    pub(crate) fn list(&self, folder: &str) -> Result<Vec<String>, SinkError> {
        let location = folder.into();
        let list = self.objects.list(Some(&location)).map_ok(|meta| meta.location.to_string()).try_collect();
        self.runtime.block_on(list).map_err(|source| Self::failed("listing", folder, source))
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
