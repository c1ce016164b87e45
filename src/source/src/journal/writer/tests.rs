//! Disks that fail.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::journal::JournalReader;

/// What goes wrong, and how often; then all is well again.
#[derive(Default)]
struct Faults {
    creates_full: AtomicUsize,
    writes_full: AtomicUsize,
    writes_broken: AtomicUsize,
    syncs_broken: AtomicUsize,
    syncs: AtomicUsize,
}

struct Failing(Arc<Faults>);

fn strikes(fault: &AtomicUsize) -> bool {
    fault.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
}

impl Medium for Failing {
    fn create(&self, path: &Path) -> io::Result<File> {
        if strikes(&self.0.creates_full) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Disk.create(path)
    }

    fn write_all_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        for (fault, kind) in
            [(&self.0.writes_full, io::ErrorKind::StorageFull), (&self.0.writes_broken, io::ErrorKind::Other)]
        {
            if strikes(fault) {
                // A part of it fits.
                Disk.write_all_at(file, &bytes[..bytes.len() * 2 / 3], offset)?;
                return Err(kind.into());
            }
        }
        Disk.write_all_at(file, bytes, offset)
    }

    fn sync_data(&self, file: &File) -> io::Result<()> {
        self.0.syncs.fetch_add(1, Ordering::Relaxed);
        if strikes(&self.0.syncs_broken) {
            return Err(io::ErrorKind::Other.into());
        }
        Disk.sync_data(file)
    }
}

struct Case {
    dir: tempfile::TempDir,
    faults: Arc<Faults>,
    journal: Journal,
}

impl Case {
    /// A journal with one committed frame, `0`.
    fn new(segment_bytes: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let faults = Arc::new(Faults::default());
        let medium = Box::new(Failing(Arc::clone(&faults)));
        let (mut journal, _) =
            Journal::open_on(medium, dir.path(), Options { segment_bytes, ..Options::default() }, [1; 16]).unwrap();
        journal.append("a", 0, b"0").unwrap();
        journal.commit().unwrap();
        Self { dir, faults, journal }
    }

    fn read(&self) -> Vec<String> {
        let mut reader = JournalReader::open(self.dir.path(), (0, 0));
        let mut lines = Vec::new();
        while let Some(batch) = reader.next_batch().unwrap() {
            let Body::Whole(body) = reader.body(&batch).unwrap() else { panic!("damaged: {batch:?}") };
            lines.extend(String::from_utf8(body).unwrap().lines().map(str::to_owned));
        }
        lines
    }

    fn stored_bytes(&self) -> u64 {
        let segments = list_segments(self.dir.path()).unwrap();
        segments.into_iter().map(|n| fs::metadata(segment_path(self.dir.path(), n)).unwrap().len()).sum()
    }

    /// The journal has ended, and a new one goes on with what was durable.
    fn check_ended(mut self, error: &JournalError) {
        assert!(!error.retry());
        assert!(matches!(self.journal.commit(), Err(JournalError::Poisoned { .. })));
        assert!(matches!(self.journal.append("a", 1, b"x"), Err(JournalError::Poisoned { .. })));
        assert!(matches!(self.journal.tick(1), Err(JournalError::Poisoned { .. })));
        assert_eq!(self.read(), ["0"]);
        let options = Options::default();
        let Self { dir, faults, journal } = self;
        drop(journal);
        let (journal, recovery) = Journal::open(dir.path(), options, [1; 16]).unwrap();
        assert_eq!((recovery.truncated_bytes, recovery.lost_bytes), (0, 0));
        let mut again = Self { dir, faults, journal };
        again.journal.append("a", 2, b"again").unwrap();
        again.journal.commit().unwrap();
        assert_eq!(again.read(), ["0", "again"]);
    }
}

#[test]
fn a_full_disk_is_waited_for() {
    for segment_bytes in [1, u64::MAX] {
        let mut case = Case::new(segment_bytes);
        case.faults.writes_full.store(3, Ordering::Relaxed);
        case.faults.creates_full.store(2, Ordering::Relaxed);
        let stored = case.stored_bytes();
        let mut want = vec!["0".to_owned()];
        let mut refused = 0;
        for n in 1..=8 {
            let text = n.to_string().repeat(n * 100);
            case.journal.append(["a", "b"][n % 2], n as u64, text.as_bytes()).unwrap();
            want.push(text);
            if let Err(error) = case.journal.commit() {
                assert!(error.retry(), "{error}");
                refused += 1;
                assert_eq!((case.stored_bytes(), case.journal.bytes()), (stored, stored));
                assert!(case.journal.pending_bytes() > n * 100);
                assert_eq!(case.read(), ["0"]);
            }
        }
        assert_eq!(refused, if segment_bytes == 1 { 5 } else { 3 });
        assert_eq!(case.read(), want);
        assert_eq!(case.stored_bytes(), case.journal.bytes());
    }
}

/// What does not fit is given up for what does.
#[test]
fn what_is_discarded_leaves_no_trace() {
    for segment_bytes in [1, u64::MAX] {
        let mut case = Case::new(segment_bytes);
        case.faults.writes_full.store(1, Ordering::Relaxed);
        for (feed, text) in [("a", "1"), ("b", "2"), ("a", "3")] {
            case.journal.append(feed, 1, text.as_bytes()).unwrap();
        }
        assert!(case.journal.commit().expect_err("the disk is full").retry());
        case.journal.append("a", 2, b"4").unwrap();
        case.journal.discard();
        assert_eq!((case.journal.pending_bytes(), case.read()), (0, vec!["0".to_owned()]));
        for text in ["5", "6"] {
            case.journal.append(text, 3, text.as_bytes()).unwrap();
            case.journal.commit().unwrap();
        }
        case.journal.discard();
        assert_eq!(case.read(), ["0", "5", "6"]);
        assert_eq!(case.stored_bytes(), case.journal.bytes());
    }
}

#[test]
fn a_failed_sync_is_not_repeated() {
    for segment_bytes in [1, u64::MAX] {
        let mut case = Case::new(segment_bytes);
        let (syncs, stored) = (case.faults.syncs.load(Ordering::Relaxed), case.stored_bytes());
        case.faults.syncs_broken.store(1, Ordering::Relaxed);
        case.journal.append("a", 1, b"1").unwrap();
        let error = case.journal.commit().expect_err("the sync fails");
        assert!(matches!(error, JournalError::Sync { .. }));
        assert!(matches!(case.journal.commit(), Err(JournalError::Poisoned { .. })));
        assert_eq!((case.faults.syncs.load(Ordering::Relaxed), case.stored_bytes()), (syncs + 1, stored));
        case.check_ended(&error);
    }
}

#[test]
fn a_broken_disk_ends_it() {
    let mut case = Case::new(u64::MAX);
    case.faults.writes_broken.store(1, Ordering::Relaxed);
    case.journal.append("a", 1, b"1").unwrap();
    let error = case.journal.commit().expect_err("the write fails");
    assert!(matches!(error, JournalError::Io { action: "writing", .. }));
    case.check_ended(&error);
}
