//! Finds out, before any work, whether this job can write to the lake, and keeps other jobs off a local one.

use std::fs::{File, TryLockError};
use std::path::Path;

use bytes::Bytes;
use object_store::PutMode;

use super::Lake;
use crate::error::SinkError;

/// Written once into every lake, to see whether the store keeps the promise that commits rest on.
const PROBE: &str = "_ct/probe";
const LOCK: &str = "_ct/lock";
const OVERWRITES: &str = "this store overwrites objects when asked to create them (no put-if-absent): use another one";

/// The right to write to a local lake. It ends when this is dropped, and with the process at the latest.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lake {
    /// Makes sure that the lake can be written to, and locks it where it is local.
    ///
    /// Remote lakes have no lock: there the manifests decide who goes on. An error that
    /// [is fenced](SinkError::is_fenced) means that another job is at work.
    pub fn lock(&self) -> Result<Option<Lock>, SinkError> {
        let refuse = |error| SinkError::NotWritable { url: self.store.url().to_owned(), source: Box::new(error) };
        // Two jobs that probe one local folder at the same moment disturb each other, so the lock comes first.
        let lock = self.store.local().map(|folder| self.lock_folder(folder)).transpose()?;
        self.probe().map_err(refuse)?;
        Ok(lock)
    }

    /// Whether a job could work on this lake: lists it, creates an object, sees that it cannot be created again, and
    /// deletes it. `name` is a name that nobody else uses.
    pub fn try_out(&self, name: &str) -> Result<(), SinkError> {
        let path = format!("_ct/{name}");
        let store = &self.store;
        store.list("_ct/check")?;
        store.put("writing", &path, Bytes::new(), PutMode::Create)?;
        let again = store.put("writing", &path, Bytes::new(), PutMode::Create);
        store.delete(&path)?;
        match again {
            Ok(()) => Err(SinkError::Url { url: store.url().to_owned(), why: OVERWRITES.to_owned() }),
            Err(SinkError::Store { source: object_store::Error::AlreadyExists { .. }, .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn lock_folder(&self, folder: &Path) -> Result<Lock, SinkError> {
        let refuse = |error| SinkError::NotWritable { url: self.store.url().to_owned(), source: Box::new(error) };
        let path = folder.join(LOCK);
        let failed = |source| SinkError::File { action: "locking", path: path.clone(), source };
        std::fs::create_dir_all(folder.join("_ct")).map_err(|source| refuse(failed(source)))?;
        // Not truncated: an open lock file has no content to lose, and none to win.
        let file = File::options().create(true).truncate(false).write(true).open(&path);
        let file = file.map_err(|source| refuse(failed(source)))?;
        match file.try_lock() {
            Ok(()) => Ok(Lock { _file: file }),
            Err(TryLockError::WouldBlock) => Err(SinkError::Locked { path }),
            Err(TryLockError::Error(source)) => Err(failed(source)),
        }
    }

    /// A store that lets two writers create one object cannot hold manifests.
    fn probe(&self) -> Result<(), SinkError> {
        for _ in 0..2 {
            match self.store.put("writing", PROBE, Bytes::new(), PutMode::Create) {
                Ok(()) => {}
                Err(SinkError::Store { source: object_store::Error::AlreadyExists { .. }, .. }) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Err(SinkError::Url { url: self.store.url().to_owned(), why: OVERWRITES.to_owned() })
    }
}
