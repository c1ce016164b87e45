//! Compares the lake with its manifests.
//!
//! Memory: one row group's id columns, the paths of all files, and [`KEYS_MAX`] keys of 24 bytes. More rows than that
//! take several passes over the id columns, each over the keys of its share. Reads one file after the other.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt;
use std::hash::{BuildHasher, RandomState};

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{RecordBatch, StringArray};
use ct_model::id::{digest, to_hex};
use ct_model::{Age, Horizon, Key, Table};
use sha2::{Digest, Sha256};

use super::Lake;
use super::known::ids;
use super::read::Published;
use crate::error::SinkError;
use crate::manifest::{FileEntry, Manifest};

/// Keys compared in one pass: 120 MiB.
const KEYS_MAX: u64 = 5 << 20;
/// Repeated ids of a table that are named; more are counted.
const DUPLICATES_NAMED_MAX: usize = 1_000;
/// Read at a time to hash a file.
const HASH_BYTES: u64 = 8 << 20;

/// What is wrong with one thing in a lake. Its text is one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The chain of manifests is broken here.
    Manifest {
        path: String,
        what: String,
    },
    /// Two manifests, or one twice, list the same file.
    ListedTwice {
        path: String,
    },
    Missing {
        path: String,
    },
    Size {
        path: String,
        expected: u64,
        found: u64,
    },
    /// The bytes are not those that were committed.
    Content {
        path: String,
    },
    Unreadable {
        path: String,
        why: String,
    },
    Rows {
        path: String,
        expected: u64,
        found: u64,
    },
    /// No manifest lists it.
    Extra {
        path: String,
    },
    /// A row is there more than once: once in each of `paths`.
    Duplicate {
        table: Table,
        id: String,
        paths: Vec<String>,
    },
    /// More ids of a table than can be named are there more than once.
    Duplicates {
        table: Table,
        more: u64,
    },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Manifest { path, what } => write!(f, "{path}: {what}"),
            Self::ListedTwice { path } => write!(f, "{path}: listed more than once"),
            Self::Missing { path } => write!(f, "{path}: missing"),
            Self::Size { path, expected, found } => write!(f, "{path}: {found} bytes, committed were {expected}"),
            Self::Content { path } => write!(f, "{path}: other bytes than were committed (SHA-256 differs)"),
            Self::Unreadable { path, why } => write!(f, "{path}: cannot be read: {why}"),
            Self::Rows { path, expected, found } => write!(f, "{path}: {found} rows, committed were {expected}"),
            // A stranger chose this name.
            Self::Extra { path } if path.contains(char::is_control) => {
                write!(f, "{}: no manifest lists it", path.escape_debug())
            }
            Self::Extra { path } => write!(f, "{path}: no manifest lists it"),
            Self::Duplicate { table, id, paths } => {
                // Control characters in the name of a log must not reach a terminal.
                write!(f, "{}: {} is there {} times:", table.as_str(), id.escape_debug(), paths.len())?;
                paths.iter().try_for_each(|path| write!(f, " {path}"))
            }
            Self::Duplicates { table, more } => write!(f, "{}: {more} more ids are repeated", table.as_str()),
        }
    }
}

/// What was looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    pub manifests: u64,
    pub files: u64,
    pub rows: u64,
    pub bytes: u64,
    /// Files of the newest manifest that still wait to become visible: a job is doing that now, or its next start will.
    pub unpublished: u64,
    /// Rows that are there again because they came again beyond the horizon of the job that took them.
    pub again: u64,
    pub faults: u64,
}

/// A file of a manifest, and when the manifest was written.
struct Listed {
    sequence: u64,
    file: FileEntry,
    age: Age,
    horizon: Option<Horizon>,
}

/// What identifies a row, in two halves so that it takes 24 bytes, and which file it is in.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Row {
    key: [u64; 2],
    place: u32,
}

impl Lake {
    /// Compares the lake with its manifests and hands everything that is wrong to `fault`.
    ///
    /// May run beside a job. An error means that the rest could not be looked at.
    pub fn verify(&self, fault: &mut dyn FnMut(Fault)) -> Result<Verified, SinkError> {
        self.verify_in_passes(KEYS_MAX, fault)
    }

    fn verify_in_passes(&self, keys_max: u64, fault: &mut dyn FnMut(Fault)) -> Result<Verified, SinkError> {
        let mut verified = Verified::default();
        let mut faults = 0;
        let fault = &mut |found| {
            faults += 1;
            fault(found);
        };
        // Listed first: what a job publishes from now on is in no list, but what is listed is in a manifest.
        let mut extra = self.listing()?;
        let mut whole = Vec::new();
        let mut listed = BTreeSet::new();
        let (files, newest) = self.check_chain(&mut verified, fault)?;
        for Listed { sequence, file, age, horizon } in files {
            extra.remove(&file.path);
            if !listed.insert(file.path.clone()) {
                fault(Fault::ListedTwice { path: file.path });
                continue;
            }
            match self.check_file(&file)? {
                None => {
                    verified.files += 1;
                    verified.rows += file.rows;
                    verified.bytes += file.bytes;
                    whole.push(Listed { sequence, file, age, horizon });
                }
                Some(Fault::Missing { .. }) if sequence == newest && self.store.size(&file.staged)?.is_some() => {
                    verified.unpublished += 1;
                }
                Some(found) => fault(found),
            }
        }
        for path in extra {
            fault(Fault::Extra { path });
        }
        for table in [Table::Certificates, Table::Entries, Table::Findings] {
            let files: Vec<&Listed> = whole.iter().filter(|listed| listed.file.table == table).collect();
            verified.again += self.check_repeats(table, &files, keys_max, fault)?;
        }
        verified.faults = faults;
        Ok(verified)
    }

    /// Everything in the table folders.
    fn listing(&self) -> Result<BTreeSet<String>, SinkError> {
        let mut paths = BTreeSet::new();
        for table in Table::ALL {
            paths.extend(self.store.list(table.as_str())?);
            let Some(folder) = self.store.local() else { continue };
            for path in super::commit::half_written(&folder.join(table.as_str()))? {
                let path = path.strip_prefix(folder).unwrap_or(&path);
                paths.insert(path.to_string_lossy().into_owned());
            }
        }
        Ok(paths)
    }

    /// All files in the order of their manifests, and the newest manifest's number.
    fn check_chain(
        &self,
        verified: &mut Verified,
        fault: &mut dyn FnMut(Fault),
    ) -> Result<(Vec<Listed>, u64), SinkError> {
        let mut files = Vec::new();
        let mut expected = 1;
        // Outer `None`: the manifest before this one cannot be read.
        let mut previous: Option<Option<String>> = Some(None);
        let mut lake_id: Option<String> = None;
        let sequences = self.sequences()?;
        for &sequence in &sequences {
            if sequence != expected {
                let what = format!("missing, {} in a row", sequence - expected);
                fault(Fault::Manifest { path: Manifest::path(expected), what });
                previous = None;
            }
            expected = sequence + 1;
            let bytes = self.store.get(&Manifest::path(sequence))?;
            let manifest = match Manifest::decode(&bytes, sequence) {
                Ok(manifest) => manifest,
                Err(SinkError::Damaged { path, what }) => {
                    fault(Fault::Manifest { path, what });
                    previous = None;
                    continue;
                }
                Err(error) => return Err(error),
            };
            let previous_known = previous.replace(Some(Manifest::digest(&bytes)));
            let before = previous_known.as_ref().map_or(manifest.previous.as_deref(), Option::as_deref);
            if let Err(SinkError::Damaged { path, what }) = manifest.follows(before, lake_id.as_deref()) {
                fault(Fault::Manifest { path, what });
            }
            lake_id.get_or_insert_with(|| manifest.lake.clone());
            verified.manifests += 1;
            let Manifest { age, horizon, files: listed, .. } = manifest;
            files.extend(listed.into_iter().map(|file| Listed { sequence, file, age, horizon }));
        }
        Ok((files, sequences.last().copied().unwrap_or(0)))
    }

    fn check_file(&self, file: &FileEntry) -> Result<Option<Fault>, SinkError> {
        let path = || file.path.clone();
        let Some(bytes) = self.store.size(&file.path)? else {
            return Ok(Some(Fault::Missing { path: path() }));
        };
        if bytes != file.bytes {
            return Ok(Some(Fault::Size { path: path(), expected: file.bytes, found: bytes }));
        }
        let rows = self.hash(file).and_then(|sha256| match sha256 == file.sha256 {
            // Only now: the bytes are ours, so that reading them as Parquet is safe.
            true => Ok(Some(Published::open(self, file)?.metadata().file_metadata().num_rows())),
            false => Ok(None),
        });
        match rows {
            Ok(Some(rows)) if u64::try_from(rows) == Ok(file.rows) => Ok(None),
            Ok(Some(rows)) => {
                Ok(Some(Fault::Rows { path: path(), expected: file.rows, found: u64::try_from(rows).unwrap_or(0) }))
            }
            Ok(None) => Ok(Some(Fault::Content { path: path() })),
            // A disk fails file by file, a remote store as a whole.
            Err(error @ SinkError::Store { .. }) if self.store.local().is_none() => Err(error),
            Err(error) => Ok(Some(Fault::Unreadable { path: path(), why: with_causes(&error) })),
        }
    }

    fn hash(&self, file: &FileEntry) -> Result<String, SinkError> {
        let mut hash = Sha256::new();
        let mut start = 0;
        while start < file.bytes {
            let range = start..file.bytes.min(start + HASH_BYTES);
            for bytes in self.store.get_ranges(&file.path, std::slice::from_ref(&range))? {
                hash.update(&bytes);
            }
            start = range.end;
        }
        Ok(to_hex(&hash.finalize()))
    }

    /// Gives the number of rows that came again beyond a horizon.
    fn check_repeats(
        &self,
        table: Table,
        files: &[&Listed],
        keys_max: u64,
        fault: &mut dyn FnMut(Fault),
    ) -> Result<u64, SinkError> {
        let rows: u64 = files.iter().map(|listed| listed.file.rows).sum();
        let passes = rows.div_ceil(keys_max);
        // With a key of its own, or a feed could choose ids that all fall into one pass.
        let share = RandomState::new();
        let mut repeated = HashSet::new();
        let (mut more, mut again) = (0, 0);
        for pass in 0..passes {
            let mut keys = Vec::new();
            for (place, listed) in (0_u32..).zip(files) {
                self.identities(&listed.file, &mut |key, _| {
                    if passes == 1 || share.hash_one(key) % passes == pass {
                        keys.push(Row { key: [(key >> 64) as u64, key as u64], place });
                    }
                })?;
            }
            keys.sort_unstable();
            for run in keys.chunk_by(|a, b| a.key == b.key).filter(|run| run.len() > 1) {
                let came_again = |pair: &[Row]| {
                    let [first, later] = [pair[0], pair[1]].map(|row| files[row.place as usize]);
                    later.horizon.is_some_and(|horizon| horizon.is_beyond(first.age, later.age))
                };
                if run.windows(2).all(came_again) {
                    again += run.len() as u64 - 1;
                } else if repeated.len() < DUPLICATES_NAMED_MAX {
                    let [high, low] = run[0].key;
                    repeated.insert(u128::from(high) << 64 | u128::from(low));
                } else {
                    more += 1;
                }
            }
        }
        if repeated.is_empty() {
            return Ok(again);
        }
        let mut named: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for Listed { file, .. } in files {
            self.identities(file, &mut |key, name| {
                if repeated.contains(&key) {
                    named.entry(name()).or_default().push(file.path.clone());
                }
            })?;
        }
        for (id, paths) in named {
            fault(Fault::Duplicate { table, id, paths });
        }
        if more > 0 {
            fault(Fault::Duplicates { table, more });
        }
        Ok(again)
    }

    /// What identifies each row of a file: a key, and a way to its name.
    fn identities(&self, file: &FileEntry, each: &mut dyn FnMut(u128, &dyn Fn() -> String)) -> Result<(), SinkError> {
        let columns: &[&str] = match file.table {
            Table::Certificates => &["id_kind", "id"],
            Table::Entries => &["id_kind", "id", "log", "log_index"],
            Table::Findings | Table::Rejected | Table::Gaps | Table::Coverage => &["id"],
        };
        self.scan(file, columns, &mut |batch: RecordBatch| {
            let text = |column: usize| -> &StringArray { batch.column(column).as_string() };
            if columns.len() == 1 {
                for id in text(0).iter().flatten() {
                    each(key(&[id.as_bytes()]), &|| id.to_owned());
                }
                return Ok(());
            }
            let unknown = || SinkError::Damaged { path: file.path.clone(), what: "has an id that is none".to_owned() };
            let ids = ids(text(0), text(1));
            if file.table == Table::Certificates {
                for id in ids {
                    let id = id.ok_or_else(unknown)?;
                    each(key(&[&[id.kind as u8], id.bytes()]), &|| id.to_string());
                }
                return Ok(());
            }
            for ((id, log), index) in ids.zip(text(2)).zip(batch.column(3).as_primitive::<Int64Type>()) {
                let id = id.ok_or_else(unknown)?;
                match (log, index) {
                    (Some(log), Some(index)) => {
                        let key = key(&[log.as_bytes(), &index.to_be_bytes(), &[id.kind as u8], id.bytes()]);
                        each(key, &|| format!("{log} {index} {id}"));
                    }
                    _ => each(Key::unplaced(log.unwrap_or(""), &id).0, &|| format!("{} {id}", log.unwrap_or("NULL"))),
                }
            }
            Ok(())
        })
    }
}

fn key(parts: &[&[u8]]) -> u128 {
    u128::from_be_bytes(digest(parts)[..16].try_into().expect("a digest has 32 bytes"))
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::ops::ControlFlow;
    use std::sync::Arc;

    use ct_model::{CertId, Counts, EntryRecord, Rows};
    use object_store::memory::InMemory;

    use super::*;
    use crate::lake::encode;
    use crate::{ResumePoint, Store};

    #[test]
    fn repeats_are_found_in_any_number_of_passes() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let lake = Lake::open(Store::from_objects(Arc::new(InMemory::new()), runtime.handle().clone()));
        let entry = |log: Option<&str>, index: Option<u64>, id: u8| EntryRecord {
            log: log.map(Into::into),
            log_index: index,
            kind: None,
            id: CertId::der([id; 32]),
            sha256: None,
            submitted: None,
            seen: None,
            feed: "test".into(),
        };
        let first = vec![
            entry(Some("a.example"), Some(1), 1),
            entry(Some("a.example"), Some(1), 2),
            entry(Some("a.example"), Some(2), 1),
            entry(None, Some(1), 1),
        ];
        let second =
            vec![entry(Some("a.example"), Some(1), 2), entry(Some("b.example"), Some(1), 2), entry(None, None, 1)];
        let mut files = Vec::new();
        for (part, entries) in (0..).zip([first, second]) {
            let encoded = encode(Rows { entries, ..Rows::default() }, &Default::default()).unwrap();
            files.extend(lake.stage("job", 1, part, encoded).unwrap());
        }
        let manifest = Manifest {
            format: crate::manifest::FORMAT,
            sequence: 1,
            previous: None,
            lake: "l".into(),
            job: "job".into(),
            resume: ResumePoint::default(),
            counts: Counts::default(),
            totals: Counts::default(),
            newest_seen: None,
            age: Age::default(),
            horizon: None,
            files,
        };
        lake.commit(&manifest).unwrap();
        lake.publish(&manifest).unwrap();
        for keys_max in [1, 2, 3, 100] {
            let mut faults = Vec::new();
            let verified = lake.verify_in_passes(keys_max, &mut |fault| faults.push(fault.to_string())).unwrap();
            let files = ["0000", "0001"]
                .map(|part| format!("entries/date=__HIVE_DEFAULT_PARTITION__/000000000001-{part}.parquet"));
            let (one, two) = ("01".repeat(32), "02".repeat(32));
            let expected = [
                // Nothing tells the entries of unknown place apart but their certificate.
                format!("entries: NULL der:{one} is there 2 times: {} {}", files[0], files[1]),
                format!("entries: a.example 1 der:{two} is there 2 times: {} {}", files[0], files[1]),
            ];
            assert_eq!(faults, expected, "keys_max={keys_max}");
            assert_eq!((verified.rows, verified.faults), (7, 2));
        }
        let mut known = 0;
        lake.known(0, 1, None, &mut |_, batch| {
            known += batch.len();
            ControlFlow::Break(())
        })
        .unwrap();
        assert_eq!(known, 4, "reading ends with the first batch");
    }

    /// The same entry in manifests of different ages: within the horizon it is a fault, beyond it is counted.
    #[test]
    fn what_came_again_beyond_the_horizon_is_counted() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let lake = Lake::open(Store::from_objects(Arc::new(InMemory::new()), runtime.handle().clone()));
        let entry = EntryRecord {
            log: Some("a.example".into()),
            log_index: Some(1),
            kind: None,
            id: CertId::der([1; 32]),
            sha256: None,
            submitted: None,
            seen: None,
            feed: "test".into(),
        };
        let horizon = Some(Horizon(800));
        // Ages in ms; a generation is 100 ms.
        let manifests = [(50, horizon), (950, horizon), (960, None), (5_000, None)];
        let mut previous = None;
        let mut told = Vec::new();
        for (sequence, (ms, horizon)) in (1..).zip(manifests) {
            let rows = Rows { entries: vec![entry.clone()], ..Rows::default() };
            let files = lake.stage("job", sequence, 0, encode(rows, &Default::default()).unwrap()).unwrap();
            let manifest = Manifest {
                format: crate::manifest::FORMAT,
                sequence,
                previous,
                lake: "l".into(),
                job: "job".into(),
                resume: ResumePoint::default(),
                counts: Counts::default(),
                totals: Counts::default(),
                newest_seen: None,
                age: Age { ms, at_ms: 1 },
                horizon,
                files,
            };
            previous = Some(Manifest::digest(&manifest.encode()));
            lake.commit(&manifest).unwrap();
            lake.publish(&manifest).unwrap();
            let verified = lake.verify(&mut |_| {}).unwrap();
            told.push((verified.again, verified.faults));
        }
        assert_eq!(told, [(0, 0), (1, 0), (0, 1), (0, 1)]);

        let known = |now| {
            let mut generations = Vec::new();
            let within = Some((Horizon(800), Age { ms: now, at_ms: 1 }));
            let mut each = |generation, batch: Vec<_>| {
                generations.push((generation, batch.len()));
                ControlFlow::Continue(())
            };
            lake.known(0, 1, within, &mut each).unwrap();
            generations
        };
        assert_eq!(known(850), [(0, 1), (9, 1), (9, 1), (50, 1)]);
        assert_eq!(known(950), [(9, 1), (9, 1), (50, 1)]);
        assert_eq!(known(5_000), [(50, 1)]);
    }
}
