//! Reads the chain of manifests.

use super::Lake;
use crate::error::SinkError;
use crate::manifest::{self, Manifest};

impl Lake {
    /// All manifests from the first to the newest one there is now, each checked against the one before it.
    ///
    /// Only the newest can name files that are not published yet, see [`Lake::recover`].
    pub fn manifests(&self) -> Result<Manifests<'_>, SinkError> {
        Ok(Manifests { lake: self, next: 1, newest: self.newest_sequence()?, previous: None, lake_id: None })
    }

    /// The newest manifest's sequence number, 0 in an empty lake. A gap in the numbers is damage.
    pub(super) fn newest_sequence(&self) -> Result<u64, SinkError> {
        let sequences = self.sequences()?;
        for (expected, found) in (1..).zip(&sequences) {
            if expected != *found {
                let what = "is missing, a later one exists".to_owned();
                return Err(SinkError::Damaged { path: Manifest::path(expected), what });
            }
        }
        let mut newest = sequences.len() as u64;
        // A listing may lag behind; a name is read as it is.
        while self.store.size(&Manifest::path(newest + 1))?.is_some() {
            newest += 1;
        }
        Ok(newest)
    }

    /// Sequence numbers of all manifests that are listed, ascending.
    pub(super) fn sequences(&self) -> Result<Vec<u64>, SinkError> {
        let paths = self.store.list(manifest::FOLDER)?;
        let mut sequences: Vec<u64> = paths.iter().filter_map(|path| Manifest::sequence_at(path)).collect();
        sequences.sort_unstable();
        Ok(sequences)
    }
}

/// Iterates over manifests; ends after the first error.
pub struct Manifests<'a> {
    lake: &'a Lake,
    next: u64,
    newest: u64,
    /// SHA-256 of the manifest before `next`.
    previous: Option<String>,
    lake_id: Option<String>,
}

impl Iterator for Manifests<'_> {
    type Item = Result<Manifest, SinkError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next > self.newest {
            return None;
        }
        let manifest = self.read();
        self.next = if manifest.is_ok() { self.next + 1 } else { u64::MAX };
        Some(manifest)
    }
}

impl Manifests<'_> {
    fn read(&mut self) -> Result<Manifest, SinkError> {
        let bytes = self.lake.store.get(&Manifest::path(self.next))?;
        let manifest = Manifest::decode(&bytes, self.next)?;
        manifest.follows(self.previous.as_deref(), self.lake_id.as_deref())?;
        self.previous = Some(Manifest::digest(&bytes));
        self.lake_id.get_or_insert_with(|| manifest.lake.clone());
        Ok(manifest)
    }
}
