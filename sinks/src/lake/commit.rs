//! Stage, commit, publish, recover: see the table of effects at the top of the lake.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use ct_model::id::to_hex;
use futures::{StreamExt, TryStreamExt};
use object_store::{Error, ObjectStoreExt, PutMode};

use super::{EncodedFile, Lake, STAGING, published_path, staged_path, staged_sequence};
use crate::error::SinkError;
use crate::manifest::{FileEntry, Manifest};
use crate::store::Store;

/// Files staged at a time.
const PUTS_AT_A_TIME: usize = 4;
/// Files of one table shown at a time.
const SHOWN_AT_A_TIME: usize = 4;
/// A commit whose outcome stays unknown that often is given up; the store has tried again by itself each time.
const COMMIT_TRIES: u32 = 5;
/// Before the second try; doubles with each.
const COMMIT_PAUSE: Duration = Duration::from_millis(20);

/// Where the lake stands.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Head {
    /// Of the newest manifest; 0 in an empty lake.
    pub sequence: u64,
    /// SHA-256 (hex) of the newest manifest's bytes: what the next one names as `previous`.
    pub sha256: Option<String>,
    pub manifest: Option<Manifest>,
}

impl Head {
    fn of(manifest: Manifest, bytes: &[u8]) -> Self {
        Self { sequence: manifest.sequence, sha256: Some(Manifest::digest(bytes)), manifest: Some(manifest) }
    }
}

impl Lake {
    /// Puts `files` where no reader looks, as `part` of manifest `sequence`. May be repeated with the same files.
    ///
    /// Panics if two files are of one table and day: one part has one file for each, or one would replace the other.
    pub fn stage(
        &self,
        job: &str,
        sequence: u64,
        part: u32,
        files: Vec<EncodedFile>,
    ) -> Result<Vec<FileEntry>, SinkError> {
        let folders: BTreeSet<_> = files.iter().map(|file| (file.table, file.day)).collect();
        assert_eq!(folders.len(), files.len(), "a part has one file for each table and day");
        let puts = files.into_iter().map(|file| async move {
            let entry = FileEntry {
                table: file.table,
                staged: staged_path(job, sequence, part, file.table, file.day),
                path: published_path(sequence, part, file.table, file.day),
                bytes: file.bytes.len() as u64,
                rows: file.rows,
                sha256: to_hex(&file.sha256),
                min_seen: file.min_seen.map(|seen| seen.0),
                max_seen: file.max_seen.map(|seen| seen.0),
            };
            let put = self.store.objects().put(&entry.staged.as_str().into(), file.bytes.into()).await;
            put.map_err(|source| Store::failed("staging", &entry.staged, source))?;
            Ok(entry)
        });
        let puts = futures::stream::iter(puts).buffered(PUTS_AT_A_TIME).try_collect();
        self.store.runtime().block_on(puts)
    }

    /// Makes `manifest` the newest, if nobody else took its place. May be repeated with the same manifest.
    ///
    /// After an error that is not [fenced](SinkError::is_fenced) the manifest may or may not be there: repeat, or
    /// start again from [`Lake::recover`].
    pub fn commit(&self, manifest: &Manifest) -> Result<Head, SinkError> {
        let path = Manifest::path(manifest.sequence);
        let bytes = Bytes::from(manifest.encode());
        let mut pause = COMMIT_PAUSE;
        for last in (0..COMMIT_TRIES).map(|tries| tries + 1 == COMMIT_TRIES) {
            let Err(error) = self.store.put("committing", &path, bytes.clone(), PutMode::Create) else { break };
            // "Exists" may be our own write whose answer was lost, and a failure may have succeeded.
            match self.store.find(&path) {
                Ok(Some(there)) if there == bytes => break,
                Ok(Some(_)) => return Err(SinkError::Fenced { sequence: manifest.sequence }),
                Ok(None) | Err(_) if last || !error.retry() => return Err(error),
                Ok(None) | Err(_) => std::thread::sleep(pause),
            }
            pause *= 2;
        }
        Ok(Head::of(manifest.clone(), &bytes))
    }

    /// Shows the files of a committed manifest to readers. May be repeated, also after a part of it was done.
    pub fn publish(&self, manifest: &Manifest) -> Result<(), SinkError> {
        let mut files: Vec<&FileEntry> = manifest.files.iter().collect();
        // What refers to a row comes after it. Within a table the order says nothing, and each file waits for the disk.
        files.sort_by(|a, b| (a.table, &a.path).cmp(&(b.table, &b.path)));
        for table in files.chunk_by(|a, b| a.table == b.table) {
            let shown = futures::stream::iter(table).map(|file| self.show(file)).buffered(SHOWN_AT_A_TIME);
            self.store.runtime().block_on(shown.try_collect::<()>())?;
        }
        match self.store.local() {
            Some(folder) => {
                let folders: BTreeSet<_> = files.iter().filter_map(|file| Path::new(&file.staged).parent()).collect();
                for staging in folders {
                    // An empty folder that stays does no harm.
                    let _ = std::fs::remove_dir(folder.join(staging));
                }
            }
            // Only now: until the last file is in place, the staged copies are what makes the commit true.
            None => files.iter().try_for_each(|file| self.store.delete(&file.staged))?,
        }
        Ok(())
    }

    async fn show(&self, file: &FileEntry) -> Result<(), SinkError> {
        let (staged, path) = (file.staged.as_str().into(), file.path.as_str().into());
        let objects = self.store.objects();
        let local = self.store.local().is_some();
        let shown = match local {
            true => objects.rename(&staged, &path).await,
            false => objects.copy(&staged, &path).await,
        };
        match shown {
            Ok(()) if local => return Ok(()),
            // Some stores copy in the background.
            Ok(()) => {}
            // Done before, and the staged copy is gone.
            Err(Error::NotFound { .. }) => {}
            Err(source) => return Err(Store::failed("publishing", &file.path, source)),
        }
        let damaged = |what| Err(SinkError::Damaged { path: file.path.clone(), what });
        match self.store.size_of(&file.path).await? {
            Some(bytes) if bytes == file.bytes => Ok(()),
            Some(bytes) => damaged(format!("has {bytes} bytes, its manifest says {}", file.bytes)),
            None => damaged(format!("is committed, but neither there nor at {}", file.staged)),
        }
    }

    /// Finishes what the last job began, sweeps up what it left, and says where to go on.
    ///
    /// Of a local lake, hold the [lock](Lake::lock) while calling this. Fails without touching anything when the lake
    /// was written by a newer version.
    pub fn recover(&self) -> Result<Head, SinkError> {
        let head = self.head()?;
        if let Some(manifest) = &head.manifest {
            self.publish(manifest)?;
        }
        self.sweep(&head)?;
        Ok(head)
    }

    /// The newest manifest as it stands, for a process that must not recover because another one does.
    pub fn head(&self) -> Result<Head, SinkError> {
        match self.newest_sequence()? {
            0 => Ok(Head::default()),
            sequence => {
                let bytes = self.store.get(&Manifest::path(sequence))?;
                Ok(Head::of(Manifest::decode(&bytes, sequence)?, &bytes))
            }
        }
    }

    /// Deletes staged objects that cannot become visible any more.
    fn sweep(&self, head: &Head) -> Result<(), SinkError> {
        for path in self.store.list(STAGING)? {
            let Some(sequence) = staged_sequence(&path) else { continue };
            // With the lock in hand no other job is alive. Without one, a job that stages for a manifest to come may
            // still win it; it cannot win one that exists.
            if self.store.local().is_some() || sequence <= head.sequence {
                self.store.delete(&path)?;
            }
        }
        if let Some(folder) = self.store.local() {
            for path in half_written(&folder.join("_ct"))? {
                remove_file(&path)?;
            }
            remove_empty_folders(&folder.join(STAGING));
        }
        Ok(())
    }
}

/// Files that a kill in the middle of a put left below a folder, `<name>#<number>` beside their target. The object
/// store hides them from its listings.
pub(super) fn half_written(folder: &Path) -> Result<Vec<std::path::PathBuf>, SinkError> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let failed = |source| SinkError::File { action: "listing", path: folder.clone(), source };
        let entries = match std::fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(source) if source.kind() == std::io::ErrorKind::NotFound => continue,
            Err(source) => return Err(failed(source)),
        };
        for entry in entries {
            let entry = entry.map_err(failed)?;
            // A link is not followed.
            let kind = entry.file_type().map_err(failed)?;
            let name = entry.file_name();
            let suffix = name.to_str().and_then(|name| name.rsplit_once('#')).map(|(_, suffix)| suffix);
            if kind.is_dir() {
                folders.push(entry.path());
            } else if suffix.is_some_and(|suffix| !suffix.is_empty() && suffix.bytes().all(|b| b.is_ascii_digit())) {
                found.push(entry.path());
            }
        }
    }
    found.sort();
    Ok(found)
}

fn remove_file(path: &Path) -> Result<(), SinkError> {
    match std::fs::remove_file(path) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            Err(SinkError::File { action: "deleting", path: path.to_owned(), source })
        }
        _ => Ok(()),
    }
}

/// Best effort: an empty folder that stays does no harm.
fn remove_empty_folders(staging: &Path) {
    let folders = |folder: &Path| std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    for job in folders(staging) {
        for sequence in folders(&job) {
            let _ = std::fs::remove_dir(sequence);
        }
        let _ = std::fs::remove_dir(job);
    }
}
