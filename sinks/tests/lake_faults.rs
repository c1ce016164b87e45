//! Every operation of the store fails once, in every way, and the lake must not show it.
//!
//! A job writes [`EPOCHS`] epochs through a store that counts its operations and does something at the `k`-th: refuses
//! it, does it and loses the answer, or dies before or after it. For every `k` and every kind of fault a fresh job
//! then has to find each committed row exactly once, and nothing else, whatever it was in the middle of. Rows are read
//! by listing the tables as a glob does, not by the manifests.

#![allow(clippy::unwrap_used)]

#[path = "lake_support/mod.rs"]
mod support;

use std::fmt;
use std::ops::Range;
use std::path::Path;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Barrier, LazyLock};

use arrow_array::cast::AsArray;
use bytes::Bytes;
use ct_model::id::to_hex;
use ct_model::{Counts, Rows, Table};
use ct_sinks::lake::{EncodeOptions, EncodedFile, Head, Lake, encode};
use ct_sinks::manifest::FORMAT;
use ct_sinks::{FileEntry, Manifest, ResumePoint, SinkError, Store};
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt, TryStreamExt};
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path as ObjectPath;
use object_store::{
    CopyOptions, DynObjectStore, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    ObjectStoreExt, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result,
};
use parquet::arrow::arrow_reader::ParquetRecordBatchReader;
use tokio::runtime::Runtime;

const EPOCHS: u64 = 2;
const PARTS: u32 = 2;
const NEVER: u64 = u64::MAX;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// The operation is refused, the next one works.
    NotDone,
    /// It is done, and reported as failed.
    AnswerLost,
    /// Nothing from this operation on.
    CrashBefore,
    /// This operation is done, and nothing after it.
    CrashAfter,
    /// The disk is full.
    NoSpace,
}

const FAULTS: [Fault; 5] = [Fault::NotDone, Fault::AnswerLost, Fault::CrashBefore, Fault::CrashAfter, Fault::NoSpace];

/// A store that fails at its `at`-th operation, counted from 0.
#[derive(Debug)]
struct Faulty {
    inner: Arc<DynObjectStore>,
    fault: Fault,
    at: u64,
    operations: AtomicU64,
}

enum Verdict {
    Do,
    Refuse(Error),
    DoAndFail(Error),
}

impl Faulty {
    fn new(inner: &Arc<DynObjectStore>, fault: Fault, at: u64) -> Arc<Self> {
        Arc::new(Self { inner: Arc::clone(inner), fault, at, operations: AtomicU64::new(0) })
    }

    fn verdict(&self) -> Verdict {
        let operation = self.operations.fetch_add(1, Ordering::SeqCst);
        let error = |source: std::io::Error| Error::Generic { store: "Faulty", source: source.into() };
        let dead = || error(std::io::ErrorKind::ConnectionReset.into());
        match self.fault {
            _ if operation < self.at => Verdict::Do,
            Fault::NotDone if operation == self.at => Verdict::Refuse(dead()),
            Fault::AnswerLost if operation == self.at => Verdict::DoAndFail(dead()),
            Fault::CrashAfter if operation == self.at => Verdict::DoAndFail(dead()),
            Fault::NoSpace if operation == self.at => Verdict::Refuse(error(std::io::ErrorKind::StorageFull.into())),
            Fault::CrashBefore | Fault::CrashAfter => Verdict::Refuse(dead()),
            Fault::NotDone | Fault::AnswerLost | Fault::NoSpace => Verdict::Do,
        }
    }

    async fn pass<T>(&self, operation: impl Future<Output = Result<T>>) -> Result<T> {
        match self.verdict() {
            Verdict::Do => operation.await,
            Verdict::Refuse(error) => Err(error),
            Verdict::DoAndFail(error) => {
                operation.await?;
                Err(error)
            }
        }
    }

    fn pass_stream<T: Send + 'static>(&self, stream: BoxStream<'static, Result<T>>) -> BoxStream<'static, Result<T>> {
        match self.verdict() {
            Verdict::Do => stream,
            Verdict::Refuse(error) => futures::stream::iter([Err(error)]).boxed(),
            Verdict::DoAndFail(error) => {
                let done = async move {
                    stream.try_collect::<Vec<_>>().await?;
                    Err(error)
                };
                done.into_stream().boxed()
            }
        }
    }
}

impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "faulty {}", self.inner)
    }
}

/// What an `async fn` of an object-safe trait returns.
type Returned<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

impl ObjectStore for Faulty {
    fn put_opts<'a, 'b, 'r>(
        &'a self,
        location: &'b ObjectPath,
        payload: PutPayload,
        options: PutOptions,
    ) -> Returned<'r, Result<PutResult>>
    where
        'a: 'r,
        'b: 'r,
    {
        self.pass(self.inner.put_opts(location, payload, options)).boxed()
    }

    fn put_multipart_opts<'a, 'b, 'r>(
        &'a self,
        location: &'b ObjectPath,
        options: PutMultipartOptions,
    ) -> Returned<'r, Result<Box<dyn MultipartUpload>>>
    where
        'a: 'r,
        'b: 'r,
    {
        self.pass(self.inner.put_multipart_opts(location, options)).boxed()
    }

    fn get_opts<'a, 'b, 'r>(&'a self, location: &'b ObjectPath, options: GetOptions) -> Returned<'r, Result<GetResult>>
    where
        'a: 'r,
        'b: 'r,
    {
        self.pass(self.inner.get_opts(location, options)).boxed()
    }

    fn get_ranges<'a, 'b, 'c, 'r>(
        &'a self,
        location: &'b ObjectPath,
        ranges: &'c [Range<u64>],
    ) -> Returned<'r, Result<Vec<Bytes>>>
    where
        'a: 'r,
        'b: 'r,
        'c: 'r,
    {
        self.pass(self.inner.get_ranges(location, ranges)).boxed()
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<ObjectPath>>,
    ) -> BoxStream<'static, Result<ObjectPath>> {
        self.pass_stream(self.inner.delete_stream(locations))
    }

    fn list(&self, prefix: Option<&ObjectPath>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.pass_stream(self.inner.list(prefix))
    }

    fn list_with_delimiter<'a, 'b, 'r>(&'a self, prefix: Option<&'b ObjectPath>) -> Returned<'r, Result<ListResult>>
    where
        'a: 'r,
        'b: 'r,
    {
        self.pass(self.inner.list_with_delimiter(prefix)).boxed()
    }

    fn copy_opts<'a, 'b, 'c, 'r>(
        &'a self,
        from: &'b ObjectPath,
        to: &'c ObjectPath,
        options: CopyOptions,
    ) -> Returned<'r, Result<()>>
    where
        'a: 'r,
        'b: 'r,
        'c: 'r,
    {
        self.pass(self.inner.copy_opts(from, to, options)).boxed()
    }

    fn rename_opts<'a, 'b, 'c, 'r>(
        &'a self,
        from: &'b ObjectPath,
        to: &'c ObjectPath,
        options: RenameOptions,
    ) -> Returned<'r, Result<()>>
    where
        'a: 'r,
        'b: 'r,
        'c: 'r,
    {
        self.pass(self.inner.rename_opts(from, to, options)).boxed()
    }
}

/// The two ways to publish.
struct Place {
    objects: Arc<DynObjectStore>,
    /// Renames in here, or copies.
    folder: Option<tempfile::TempDir>,
}

impl Place {
    fn in_folder() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let objects = LocalFileSystem::new_with_prefix(folder.path()).unwrap();
        Self { objects: Arc::new(objects), folder: Some(folder) }
    }

    fn in_memory() -> Self {
        Self { objects: Arc::new(InMemory::new()), folder: None }
    }

    fn lake(&self, objects: Arc<DynObjectStore>, runtime: &Runtime) -> Lake {
        let store = Store::from_objects(objects, runtime.handle().clone());
        Lake::open(match &self.folder {
            Some(folder) => store.with_folder(folder.path().to_owned()),
            None => store,
        })
    }

    fn healthy(&self, runtime: &Runtime) -> Lake {
        self.lake(Arc::clone(&self.objects), runtime)
    }
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build().unwrap()
}

/// What a part of an epoch adds; the same however often it is computed.
fn rows(epoch: u64, part: u32) -> Rows {
    let seed = epoch * 100 + u64::from(part);
    let mut rows = support::rows(seed, 3);
    rows.gaps = vec![support::gap(&mut support::Random(seed))];
    rows.coverage = vec![support::stretch(&mut support::Random(seed))];
    if part > 0 {
        rows.entries.clear();
        rows.findings.clear();
    }
    rows
}

/// Its files. They are computed once: there are thousands of cases.
fn files(epoch: u64, part: u32) -> Vec<EncodedFile> {
    static FILES: LazyLock<Vec<Vec<EncodedFile>>> = LazyLock::new(|| {
        let parts = (1..=EPOCHS).flat_map(|epoch| (0..PARTS).map(move |part| rows(epoch, part)));
        parts.map(|rows| encode(rows, &EncodeOptions::default()).unwrap()).collect()
    });
    FILES[(epoch - 1) as usize * PARTS as usize + part as usize].clone()
}

fn manifest(head: &Head, job: &str, files: Vec<FileEntry>) -> Manifest {
    Manifest {
        format: FORMAT,
        sequence: head.sequence + 1,
        previous: head.sha256.clone(),
        lake: "0123".into(),
        job: job.into(),
        resume: ResumePoint::default(),
        counts: Counts::default(),
        totals: Counts::default(),
        newest_seen: None,
        age: ct_model::Age::default(),
        horizon: None,
        files,
    }
}

/// Tries what failed once more, as a job does when an error says that it helps.
fn again<T>(tries: u32, mut operation: impl FnMut() -> Result<T, SinkError>) -> Result<T, SinkError> {
    let mut result = operation();
    for _ in 1..tries {
        match result {
            Err(error) if error.retry() => result = operation(),
            _ => break,
        }
    }
    result
}

/// A job from recovery to the last epoch.
fn run(lake: &Lake, job: &str, tries: u32) -> Result<(), SinkError> {
    let mut head = again(tries, || lake.recover())?;
    while head.sequence < EPOCHS {
        let epoch = head.sequence + 1;
        let mut staged = Vec::new();
        for part in 0..PARTS {
            staged.extend(again(tries, || lake.stage(job, epoch, part, files(epoch, part)))?);
        }
        let manifest = manifest(&head, job, staged);
        head = again(tries, || lake.commit(&manifest))?;
        again(tries, || lake.publish(&manifest))?;
    }
    Ok(())
}

/// A name for each row of a table, sorted: `findings 0af3…`.
fn visible(place: &Place, runtime: &Runtime) -> Vec<String> {
    let mut names = Vec::new();
    for table in Table::ALL {
        let list = place.objects.list(Some(&table.as_str().into())).try_collect::<Vec<_>>();
        for meta in runtime.block_on(list).unwrap() {
            if !meta.location.as_ref().ends_with(".parquet") {
                continue;
            }
            let get = async { place.objects.get(&meta.location).await.unwrap().bytes().await.unwrap() };
            // The text or bytes that tell the rows apart.
            let column = match table {
                Table::Rejected => "raw",
                Table::Gaps => "detail",
                Table::Coverage => "root",
                Table::Certificates | Table::Entries | Table::Findings => "id",
            };
            for batch in ParquetRecordBatchReader::try_new(runtime.block_on(get), 1_024).unwrap() {
                let batch = batch.unwrap();
                let column = batch.column_by_name(column).unwrap();
                names.extend((0..batch.num_rows()).map(|row| match column.as_string_opt::<i32>() {
                    Some(ids) => format!("{} {}", table.as_str(), ids.value(row)),
                    None => format!("{} {}", table.as_str(), to_hex(column.as_binary::<i32>().value(row))),
                }));
            }
        }
    }
    names.sort();
    names
}

fn expected(epochs: u64) -> Vec<String> {
    let mut names = Vec::new();
    for (epoch, part) in (1..=epochs).flat_map(|epoch| (0..PARTS).map(move |part| (epoch, part))) {
        let rows = rows(epoch, part);
        names.extend(rows.certificates.iter().map(|row| format!("certificates {}", row.id.hex())));
        names.extend(rows.entries.iter().map(|row| format!("entries {}", row.id.hex())));
        names.extend(rows.findings.iter().map(|row| format!("findings {}", to_hex(&row.id))));
        names.extend(rows.rejected.iter().map(|row| format!("rejected {}", to_hex(&row.raw))));
        names.extend(rows.gaps.iter().map(|row| format!("gaps {}", row.detail)));
        names.extend(rows.coverage.iter().map(|row| format!("coverage {}", to_hex(&row.root))));
    }
    names.sort();
    names
}

/// Manifests there are, without any help of the code under test.
fn committed(place: &Place, runtime: &Runtime) -> u64 {
    let list = place.objects.list(Some(&"_ct/manifests".into())).try_collect::<Vec<_>>();
    runtime.block_on(list).unwrap().len() as u64
}

#[track_caller]
fn check_whole(place: &Place, runtime: &Runtime, what: &str) {
    let lake = place.healthy(runtime);
    let before = committed(place, runtime);

    // A reader meanwhile: whole files, no row twice, nothing that is not committed.
    let seen = visible(place, runtime);
    let all = expected(before);
    assert!(seen.windows(2).all(|pair| pair[0] != pair[1]), "{what}: rows twice before recovery");
    assert!(seen.iter().all(|name| all.binary_search(name).is_ok()), "{what}: rows that are not committed");

    let head = lake.recover().unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_eq!(head.sequence, before, "{what}");
    assert_eq!(visible(place, runtime), all, "{what}: rows after recovery");
    let verified = lake.verify(&mut |fault| panic!("{what}: {fault}")).unwrap();
    assert_eq!((verified.manifests, verified.unpublished), (before, 0), "{what}");
}

#[track_caller]
fn check_end(place: &Place, runtime: &Runtime, what: &str) {
    check_whole(place, runtime, what);
    run(&place.healthy(runtime), "last", 1).unwrap_or_else(|error| panic!("{what}: {error}"));
    place.healthy(runtime).recover().unwrap();
    assert_eq!(visible(place, runtime), expected(EPOCHS), "{what}: at the end");
    let staged = place.objects.list(Some(&"_ct/staging".into())).try_collect::<Vec<_>>();
    assert_eq!(runtime.block_on(staged).unwrap(), [], "{what}: left in staging");
}

/// Operations of a run in which nothing fails.
fn operations(place: &Place, runtime: &Runtime) -> u64 {
    let faulty = Faulty::new(&place.objects, Fault::NotDone, NEVER);
    let job = Arc::clone(&faulty) as Arc<DynObjectStore>;
    run(&place.lake(job, runtime), "first", 1).unwrap();
    faulty.operations.load(Ordering::SeqCst)
}

/// Every fault at every operation of a job; how many cases that were.
fn check_all(place: fn() -> Place) -> u64 {
    let runtime = runtime();
    let operations = operations(&place(), &runtime);
    let mut cells = 0;
    for fault in FAULTS {
        for at in 0..operations {
            let crashed = matches!(fault, Fault::CrashBefore | Fault::CrashAfter);
            // The dead do not try again.
            for tries in if crashed { 1..=1 } else { 1..=2 } {
                let what = format!("{fault:?} at operation {at} of {operations}, {tries} tries");
                let place = place();
                let job = place.lake(Faulty::new(&place.objects, fault, at), &runtime);
                let result = run(&job, "first", tries);
                if crashed {
                    assert!(result.is_err(), "{what}");
                }
                if tries == 2 && !crashed {
                    assert!(result.is_ok(), "{what}: {:?}", result.unwrap_err());
                    assert_eq!(visible(&place, &runtime), expected(EPOCHS), "{what}: without a restart");
                }
                check_end(&place, &runtime, &what);
                cells += 1;
            }
        }
    }
    cells
}

#[test]
fn every_fault_at_every_operation_where_publishing_renames() {
    let cells = check_all(Place::in_folder);
    assert!(cells >= 200, "{cells}");
}

#[test]
fn every_fault_at_every_operation_where_publishing_copies() {
    let cells = check_all(Place::in_memory);
    assert!(cells >= 400, "{cells}");
}

#[test]
fn a_crash_at_every_operation_of_a_recovery_after_a_crash_at_every_operation() {
    let runtime = runtime();
    let operations = operations(&Place::in_memory(), &runtime);
    let mut cells = 0;
    for at in 0..operations {
        let crashed = Arc::new(InMemory::new());
        let objects = Arc::clone(&crashed) as Arc<DynObjectStore>;
        let place = Place { objects: Arc::clone(&objects), folder: None };
        let job = place.lake(Faulty::new(&objects, Fault::CrashAfter, at), &runtime);
        assert!(run(&job, "first", 1).is_err());
        for fault in [Fault::CrashBefore, Fault::CrashAfter] {
            for second in 0.. {
                let place = Place { objects: Arc::new(crashed.fork()), folder: None };
                let recovery = place.lake(Faulty::new(&place.objects, fault, second), &runtime).recover();
                check_whole(&place, &runtime, &format!("crash at {at}, recovery: {fault:?} at {second}"));
                cells += 1;
                if recovery.is_ok() {
                    break;
                }
            }
        }
    }
    assert!(cells >= 2_000, "{cells}");
}

/// Two jobs that both believe to be next, where no lock keeps them apart.
fn check_race(place: fn() -> Place) {
    let runtime = runtime();
    for round in 0..50 {
        let place = place();
        let barrier = Barrier::new(2);
        let commit = |job: &'static str| {
            let lake = place.healthy(&runtime);
            let manifest = manifest(&Head::default(), job, lake.stage(job, 1, 0, files(1, 0)).unwrap());
            barrier.wait();
            (lake.commit(&manifest).map(|_| lake.publish(&manifest).unwrap()), lake)
        };
        let results = std::thread::scope(|scope| {
            let jobs = ["one", "two"].map(|job| scope.spawn(move || commit(job)));
            jobs.map(|job| job.join().unwrap())
        });
        let won = results.iter().filter(|(result, _)| result.is_ok()).count();
        let fenced = results.iter().filter(|(result, _)| result.as_ref().is_err_and(SinkError::is_fenced)).count();
        assert_eq!((won, fenced), (1, 1), "round {round}");
        results[0].1.recover().unwrap();
        let mut all = visible(&place, &runtime);
        all.dedup();
        assert_eq!(all.len(), visible(&place, &runtime).len());
        results[0].1.verify(&mut |fault| panic!("round {round}: {fault}")).unwrap();
    }
}

#[test]
fn of_two_jobs_in_a_folder_one_wins() {
    check_race(Place::in_folder);
}

#[test]
fn of_two_jobs_in_an_object_store_one_wins() {
    check_race(Place::in_memory);
}

/// The winner went on and cleaned up; the other one woke late, in the middle of publishing.
#[test]
fn a_job_that_slept_publishes_its_old_commit_without_harm() {
    let runtime = runtime();
    let place = Place::in_memory();
    let sleeper = place.healthy(&runtime);
    let parts = [0, 1].map(|part| sleeper.stage("sleeper", 1, part, files(1, part)).unwrap());
    let manifest = manifest(&Head::default(), "sleeper", parts.concat());
    let head = sleeper.commit(&manifest).unwrap();
    run(&place.healthy(&runtime), "other", 1).unwrap();
    sleeper.publish(&manifest).unwrap();
    assert_eq!(visible(&place, &runtime), expected(EPOCHS));
    let next = self::manifest(&head, "sleeper", Vec::new());
    assert!(sleeper.commit(&next).unwrap_err().is_fenced());
    check_end(&place, &runtime, "sleeper");
}

#[test]
fn a_full_disk_is_named_with_its_path_and_leaves_nothing() {
    let runtime = runtime();
    let place = Place::in_folder();
    let lake = place.lake(Faulty::new(&place.objects, Fault::NoSpace, 1), &runtime);
    let error = lake.stage("job", 1, 0, files(1, 0)).unwrap_err();
    assert_eq!(error.to_string(), "staging _ct/staging/job/000000000001/entries-2026-11-23-0000");
    assert!(error.retry());
    let mut source = std::error::Error::source(&error);
    let mut kinds = Vec::new();
    while let Some(cause) = source {
        kinds.extend(cause.downcast_ref::<std::io::Error>().map(std::io::Error::kind));
        source = cause.source();
    }
    assert_eq!(kinds, [std::io::ErrorKind::StorageFull]);
    check_end(&place, &runtime, "full disk");
}

/// A server that ignores `If-None-Match`.
#[test]
fn a_store_without_put_if_absent_is_refused() {
    #[derive(Debug)]
    struct Overwrites(InMemory);
    impl fmt::Display for Overwrites {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a careless store")
        }
    }
    impl ObjectStore for Overwrites {
        fn put_opts<'a, 'b, 'r>(
            &'a self,
            location: &'b ObjectPath,
            payload: PutPayload,
            _: PutOptions,
        ) -> Returned<'r, Result<PutResult>>
        where
            'a: 'r,
            'b: 'r,
        {
            self.0.put_opts(location, payload, PutMode::Overwrite.into())
        }

        fn put_multipart_opts<'a, 'b, 'r>(
            &'a self,
            location: &'b ObjectPath,
            options: PutMultipartOptions,
        ) -> Returned<'r, Result<Box<dyn MultipartUpload>>>
        where
            'a: 'r,
            'b: 'r,
        {
            self.0.put_multipart_opts(location, options)
        }

        fn get_opts<'a, 'b, 'r>(
            &'a self,
            location: &'b ObjectPath,
            options: GetOptions,
        ) -> Returned<'r, Result<GetResult>>
        where
            'a: 'r,
            'b: 'r,
        {
            self.0.get_opts(location, options)
        }

        fn delete_stream(
            &self,
            locations: BoxStream<'static, Result<ObjectPath>>,
        ) -> BoxStream<'static, Result<ObjectPath>> {
            self.0.delete_stream(locations)
        }

        fn list(&self, prefix: Option<&ObjectPath>) -> BoxStream<'static, Result<ObjectMeta>> {
            self.0.list(prefix)
        }

        fn list_with_delimiter<'a, 'b, 'r>(&'a self, prefix: Option<&'b ObjectPath>) -> Returned<'r, Result<ListResult>>
        where
            'a: 'r,
            'b: 'r,
        {
            self.0.list_with_delimiter(prefix)
        }

        fn copy_opts<'a, 'b, 'c, 'r>(
            &'a self,
            from: &'b ObjectPath,
            to: &'c ObjectPath,
            options: CopyOptions,
        ) -> Returned<'r, Result<()>>
        where
            'a: 'r,
            'b: 'r,
            'c: 'r,
        {
            self.0.copy_opts(from, to, options)
        }
    }
    let runtime = runtime();
    let store = Store::from_objects(Arc::new(Overwrites(InMemory::new())), runtime.handle().clone());
    let error = Lake::open(store).lock().unwrap_err();
    assert_eq!(error.to_string(), "the lake a careless store cannot be written to");
    let why = std::error::Error::source(&error).unwrap().to_string();
    assert!(why.contains("put-if-absent"), "{why}");
}

/// The table of effects speaks of one file system: staged and published files must share it.
#[test]
fn nothing_in_the_working_folder_looks_like_a_table() {
    let runtime = runtime();
    let place = Place::in_folder();
    let lake = place.healthy(&runtime);
    lake.stage("job", 1, 0, files(1, 0)).unwrap();
    let mut folders = vec![place.folder.as_ref().unwrap().path().join("_ct")];
    let mut files = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                files += 1;
                assert_ne!(path.extension(), Some(Path::new("parquet").as_os_str()), "{path:?}");
            }
        }
    }
    assert_eq!(files, 6);
}
