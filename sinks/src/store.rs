//! One folder or bucket prefix, local or remote, behind blocking calls.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use object_store::local::LocalFileSystem;
use object_store::path::Path as ObjectPath;
use object_store::prefix::PrefixStore;
use object_store::{DynObjectStore, ObjectStore};
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
                return Err(refuse(format!("unknown scheme \"{scheme}\"; a lake is a path, file://, s3://, gs:// or az://")));
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

    pub(crate) fn failed(action: &'static str, path: &ObjectPath, source: object_store::Error) -> SinkError {
        SinkError::Store { action, path: path.to_string(), source }
    }
}
