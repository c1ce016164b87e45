//! The lake against plain loops over the rows that went in, and against golden files of what is written down.

#![allow(clippy::unwrap_used)]

#[path = "lake_support/mod.rs"]
mod support;

use std::collections::{BTreeSet, HashSet};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int64Type, TimestampMicrosecondType};
use arrow_array::{Array, RecordBatch, StringArray};
use ct_model::id::{log_digest, to_hex};
use ct_model::{CertId, CertRecord, Counts, Coverage, EntryPlace, Gap, Key, ParseState, Rows, Table, Timestamp};
use ct_sinks::lake::{EncodeOptions, EncodedFile, Fault, Known, Lake, encode};
use ct_sinks::manifest::FORMAT;
use ct_sinks::{FileEntry, Manifest, ResumePoint, SinkError, Store};
use object_store::memory::InMemory;
use parquet::file::reader::{FileReader, SerializedFileReader};
use support::{DAY, Random};
use tokio::runtime::Runtime;

const WITHOUT_DER: EncodeOptions = EncodeOptions { der: false };
const WITH_DER: EncodeOptions = EncodeOptions { der: true };

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build().unwrap()
}

fn in_memory(runtime: &Runtime) -> Lake {
    Lake::open(Store::from_objects(Arc::new(InMemory::new()), runtime.handle().clone()))
}

fn in_folder(folder: &Path, runtime: &Runtime) -> Lake {
    Lake::open(Store::open(folder.to_str().unwrap(), runtime.handle().clone()).unwrap())
}

/// Adds rows to a lake, each element of `parts` as a part of its own.
fn add(lake: &Lake, parts: Vec<Vec<EncodedFile>>) -> Manifest {
    let head = lake.recover().unwrap();
    let sequence = head.sequence + 1;
    let parts = (0..).zip(parts).flat_map(|(part, files)| lake.stage("job", sequence, part, files).unwrap());
    let manifest = Manifest {
        format: FORMAT,
        sequence,
        previous: head.sha256,
        lake: "0123".into(),
        job: "job".into(),
        resume: ResumePoint::default(),
        counts: Counts::default(),
        totals: Counts::default(),
        newest_seen: None,
        age: ct_model::Age::default(),
        horizon: None,
        files: parts.collect(),
    };
    lake.commit(&manifest).unwrap();
    lake.publish(&manifest).unwrap();
    manifest
}

fn scan(lake: &Lake, file: &FileEntry, columns: &[&str]) -> Vec<RecordBatch> {
    let mut batches = Vec::new();
    let read = lake.scan(file, columns, &mut |batch| {
        batches.push(batch);
        Ok(())
    });
    read.unwrap();
    batches
}

fn texts(batches: &[RecordBatch], column: usize) -> Vec<Option<String>> {
    let column = |batch: &RecordBatch| -> StringArray { batch.column(column).as_string::<i32>().clone() };
    batches
        .iter()
        .flat_map(|batch| column(batch).iter().map(|text| text.map(str::to_owned)).collect::<Vec<_>>())
        .collect()
}

fn some_certificates(count: u64) -> Rows {
    let random = &mut Random(11);
    Rows { certificates: (0..count).map(|_| support::certificate(random, false)).collect(), ..Rows::default() }
}

// What is written down.

#[track_caller]
fn check_schema(table: Table, options: &EncodeOptions, golden: &str) {
    let (gaps, coverage) = (vec![support::gap(&mut Random(1))], vec![support::stretch(&mut Random(1))]);
    let files = encode(Rows { gaps, coverage, ..support::rows(1, 1) }, options).unwrap();
    let file = files.into_iter().find(|file| file.table == table).unwrap();
    let reader = SerializedFileReader::new(file.bytes).unwrap();
    let metadata = reader.metadata().file_metadata();
    let mut text = Vec::new();
    parquet::schema::printer::print_schema(&mut text, metadata.schema());
    assert_eq!(String::from_utf8(text).unwrap(), golden);
    assert_eq!(metadata.key_value_metadata(), None);
}

#[test]
fn schema_of_certificates() {
    check_schema(Table::Certificates, &WITHOUT_DER, include_str!("golden/certificates.txt"));
}

#[test]
fn schema_of_certificates_with_der() {
    check_schema(Table::Certificates, &WITH_DER, include_str!("golden/certificates-der.txt"));
}

#[test]
fn schema_of_entries() {
    check_schema(Table::Entries, &WITHOUT_DER, include_str!("golden/entries.txt"));
}

#[test]
fn schema_of_findings() {
    check_schema(Table::Findings, &WITHOUT_DER, include_str!("golden/findings.txt"));
}

#[test]
fn schema_of_rejected() {
    check_schema(Table::Rejected, &WITHOUT_DER, include_str!("golden/rejected.txt"));
}

#[test]
fn schema_of_gaps() {
    check_schema(Table::Gaps, &WITHOUT_DER, include_str!("golden/gaps.txt"));
}

#[test]
fn schema_of_coverage() {
    check_schema(Table::Coverage, &WITHOUT_DER, include_str!("golden/coverage.txt"));
}

#[test]
fn a_manifest_reads_and_writes_as_it_always_did() {
    let golden = include_bytes!("golden/manifest.json");
    let manifest = Manifest::decode(golden, 42).unwrap();
    assert_eq!(manifest.files[0].table, Table::Certificates);
    assert_eq!(String::from_utf8(manifest.encode()).unwrap(), String::from_utf8(golden.to_vec()).unwrap());
}

#[test]
fn a_manifest_of_a_later_format_is_refused_in_one_sentence() {
    let error = Manifest::decode(br#"{"format": 2, "everything": "else"}"#, 7).unwrap_err();
    let text = "_ct/manifests/000000000007.json has format 2, this version reads up to 1: \
                use a newer version for this lake";
    assert_eq!(error.to_string(), text);
}

// Encoding.

#[test]
fn rows_in_any_order_give_the_same_bytes() {
    let rows = support::rows(5, 500);
    let mut other = rows.clone();
    let random = &mut Random(6);
    for i in 0..500 {
        let j = random.below(500) as usize;
        other.certificates.swap(i, j);
        other.entries.swap(i, j);
        other.findings.swap(i, j);
        other.rejected.swap(i / 10, j / 10);
    }
    let [one, two] = [rows, other].map(|rows| encode(rows, &WITH_DER).unwrap());
    assert_eq!(one.len(), 4);
    for (one, two) in one.iter().zip(&two) {
        assert_eq!((one.table, one.sha256, &one.bytes), (two.table, two.sha256, &two.bytes));
    }
}

#[test]
fn no_rows_make_no_file() {
    assert!(encode(Rows::default(), &WITHOUT_DER).unwrap().is_empty());
}

#[test]
fn a_file_holds_one_utc_day() {
    let mut rows = some_certificates(4);
    let midnight = DAY + 86_400_000_000;
    let times = [Some(midnight), Some(midnight - 1), None, Some(DAY)];
    for (row, seen) in rows.certificates.iter_mut().zip(times) {
        row.seen = seen.map(Timestamp);
    }
    let files = encode(rows, &WITHOUT_DER).unwrap();
    let found: Vec<_> = files
        .iter()
        .map(|file| {
            (file.day.map(|day| day.to_string()), file.rows, file.min_seen.map(|t| t.0), file.max_seen.map(|t| t.0))
        })
        .collect();
    let expected = [
        (None, 1, None, None),
        (Some("2026-11-23".to_owned()), 2, Some(DAY), Some(midnight - 1)),
        (Some("2026-11-24".to_owned()), 1, Some(midnight), Some(midnight)),
    ];
    assert_eq!(found, expected);
}

#[test]
fn unknown_is_null_and_no_names_are_an_empty_list() {
    let mut rows = some_certificates(1);
    let row = &mut rows.certificates[0];
    *row = CertRecord {
        subject_dn: Some("".into()),
        issuer_cn: None,
        sha1: None,
        names: Vec::new(),
        registered_domains: Vec::new(),
        log_index: Some(u64::MAX),
        ..row.clone()
    };
    let runtime = runtime();
    let lake = in_memory(&runtime);
    let manifest = add(&lake, vec![encode(rows, &WITHOUT_DER).unwrap()]);
    let columns = ["subject_dn", "issuer_cn", "sha1", "apex_rev", "log_index", "der", "names"];
    let batch = scan(&lake, &manifest.files[0], &columns).remove(0);
    for (column, name) in columns[..6].iter().enumerate() {
        assert!(batch.column(column).is_null(0), "{name}");
    }
    let names = batch.column(6).as_list::<i32>();
    assert!(names.is_valid(0));
    assert_eq!(names.value(0).len(), 0);
}

#[test]
fn certificates_stand_by_reversed_domain_then_id_without_domain_last() {
    let mut rows = some_certificates(300);
    for (i, row) in rows.certificates.iter_mut().enumerate() {
        let domains = ["b.example", "a.example", "example-shop.com", "example.com", "ex.com"];
        row.registered_domains = domains.get(i % 6).map(|domain| (*domain).into()).into_iter().collect();
    }
    let mut expected: Vec<_> = rows.certificates.iter().map(|row| (row.apex_rev(), row.id.hex())).collect();
    expected.sort_by_key(|(apex, id)| (apex.is_none(), apex.clone(), id.clone()));
    let runtime = runtime();
    let lake = in_memory(&runtime);
    let manifest = add(&lake, vec![encode(rows, &WITHOUT_DER).unwrap()]);
    let batches = scan(&lake, &manifest.files[0], &["apex_rev", "id"]);
    let found: Vec<_> = texts(&batches, 0).into_iter().zip(texts(&batches, 1).into_iter().flatten()).collect();
    assert_eq!(found, expected);
}

#[test]
fn gaps_read_back_as_they_went_in() {
    let random = &mut support::Random(5);
    let gaps: Vec<Gap> = (0..50).map(|_| support::gap(random)).collect();
    let mut expected: Vec<_> = gaps.iter().map(|gap| (gap.to.0, gap.from.unwrap().0, gap.detail.to_string())).collect();
    expected.sort();
    let runtime = runtime();
    let lake = in_memory(&runtime);
    let manifest = add(&lake, vec![encode(Rows { gaps, ..Rows::default() }, &WITHOUT_DER).unwrap()]);
    let mut found = Vec::new();
    for batch in scan(&lake, &manifest.files[0], &["gap_from", "gap_to", "detail"]) {
        for row in 0..batch.num_rows() {
            let time = |column: usize| batch.column(column).as_primitive::<TimestampMicrosecondType>().value(row);
            found.push((time(1), time(0), batch.column(2).as_string::<i32>().value(row).to_owned()));
        }
    }
    assert_eq!(found, expected);
    assert_eq!(lake.verify(&mut |fault| panic!("{fault}")).unwrap().rows, 50);
}

#[test]
fn coverage_reads_back_as_it_went_in() {
    let random = &mut support::Random(5);
    let mut coverage: Vec<Coverage> = (0..50).map(|_| support::stretch(random)).collect();
    let runtime = runtime();
    let lake = in_memory(&runtime);
    for part in coverage.chunks(20) {
        let rows = Rows { coverage: part.to_vec(), ..Rows::default() };
        add(&lake, vec![encode(rows, &WITHOUT_DER).unwrap()]);
    }
    let mut found = lake.coverage().unwrap();
    coverage.sort_by_key(|row| (row.first, row.last));
    found.sort_by_key(|row| (row.first, row.last));
    assert_eq!(found, coverage);
    assert_eq!(lake.verify(&mut |fault| panic!("{fault}")).unwrap().rows, 50);
}

#[test]
fn entries_read_back_as_they_went_in() {
    let rows = support::rows(3, 5_000);
    let mut expected: Vec<_> = rows
        .entries
        .iter()
        .map(|row| {
            (row.log.as_deref().unwrap().to_owned(), row.log_index.unwrap() as i64, row.id.hex(), row.seen.unwrap().0)
        })
        .collect();
    expected.sort();
    let runtime = runtime();
    let lake = in_memory(&runtime);
    let manifest = add(&lake, vec![encode(rows, &WITHOUT_DER).unwrap()]);
    let file = manifest.files.iter().find(|file| file.table == Table::Entries).unwrap();
    let mut found = Vec::new();
    for batch in scan(&lake, file, &["seen", "id", "log_index", "log"]) {
        assert!(batch.num_rows() <= 4_096);
        for row in 0..batch.num_rows() {
            let text = |column: usize| batch.column(column).as_string::<i32>().value(row).to_owned();
            let index = batch.column(2).as_primitive::<Int64Type>().value(row);
            let seen = batch.column(0).as_primitive::<TimestampMicrosecondType>().value(row);
            found.push((text(3), index, text(1), seen));
        }
    }
    assert_eq!(found, expected);
}

// Reading.

/// Larger than what is fetched whole, in memory and on disk.
#[test]
fn a_large_file_is_read_in_pieces() {
    let random = &mut Random(9);
    let certificates: Vec<_> = (0..31_000).map(|_| support::certificate(random, true)).collect();
    let wanted = [&certificates[0], &certificates[30_999]].map(|row| to_hex(&row.sha256.unwrap()));
    let sum: u64 = certificates.iter().map(|row| u64::from(row.der_bytes.unwrap())).sum();
    let files = encode(Rows { certificates, ..Rows::default() }, &WITH_DER).unwrap();
    assert!(files[0].bytes.len() > 16 << 20);
    let runtime = runtime();
    let folder = tempfile::tempdir().unwrap();
    for lake in [in_memory(&runtime), in_folder(folder.path(), &runtime)] {
        let file = add(&lake, vec![files.clone()]).files.remove(0);
        let batches = scan(&lake, &file, &["der_bytes"]);
        let read: i64 =
            batches.iter().map(|b| b.column(0).as_primitive::<Int64Type>().values().iter().sum::<i64>()).sum();
        assert_eq!(read as u64, sum);
        for sha256 in &wanted {
            let found = lake.find_certificates(std::slice::from_ref(&file), sha256).unwrap();
            assert_eq!(found.iter().map(RecordBatch::num_rows).sum::<usize>(), 1);
            assert_eq!(found[0].column_by_name("sha256").unwrap().as_string::<i32>().value(0), sha256);
            assert_eq!(found[0].column_by_name("der").unwrap().as_binary::<i32>().value(0).len(), 1_280);
        }
        assert!(lake.find_certificates(&[file], &"5".repeat(64)).unwrap().is_empty());
        lake.verify(&mut |fault| panic!("{fault}")).unwrap();
    }
}

#[test]
fn all_parts_together_know_everything_once() {
    let runtime = runtime();
    let lake = in_memory(&runtime);
    let mut expected = Vec::new();
    for seed in 1..=3 {
        let mut rows = support::rows(seed, 5_000);
        rows.entries[0].log = None;
        rows.entries[1].log_index = None;
        rows.entries[2].id = CertId::claimed_sha1([seed as u8; 20]);
        let random = &mut Random(seed);
        rows.coverage = (0..100).map(|_| support::stretch(random)).collect();
        expected.extend(rows.coverage.iter().map(|row| Known::Other(Key::coverage(row))));
        expected.extend(rows.certificates.iter().map(|row| Known::Certificate(row.id.key())));
        expected.extend(rows.entries.iter().map(|row| match (&row.log, row.log_index) {
            (Some(log), Some(index)) => {
                Known::Entry { place: EntryPlace { log: log_digest(log), index }, tag: row.id.tag() }
            }
            (log, _) => Known::Unplaced(Key::unplaced(log.as_deref().unwrap_or(""), &row.id)),
        }));
        expected.extend(rows.findings.iter().filter(|row| row.once).map(|row| Known::Other(Key::finding(&row.id))));
        let rejected = rows.rejected.iter();
        expected.extend(rejected.map(|row| Known::Other(Key::rejected(&row.feed, &row.segment, row.offset, &row.raw))));
        add(&lake, vec![encode(rows, &WITHOUT_DER).unwrap()]);
    }
    let expected: BTreeSet<String> = expected.iter().map(|known| format!("{known:?}")).collect();
    for parts in [1, 3, 20] {
        let mut found = Vec::new();
        for part in 0..parts {
            let mut read = |_, batch: Vec<Known>| {
                assert!((1..=4_096).contains(&batch.len()));
                found.extend(batch.iter().map(|known| format!("{known:?}")));
                ControlFlow::Continue(())
            };
            lake.known(part, parts, None, &mut read).unwrap();
        }
        assert_eq!(found.len(), expected.len(), "parts={parts}");
        assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), expected, "parts={parts}");
    }
}

#[test]
fn all_parts_together_recall_every_certificate_once() {
    /// What of a record is read back.
    fn recalled(row: CertRecord) -> CertRecord {
        CertRecord {
            sha1: None,
            serial: None,
            subject_dn: None,
            ips: Vec::new(),
            signature_algorithm: None,
            is_ca: None,
            sct_count: None,
            scts: Vec::new(),
            parse: ParseState::Absent,
            der_bytes: None,
            log: None,
            log_index: None,
            ..row
        }
    }
    let runtime = runtime();
    let lake = in_memory(&runtime);
    let day = |days: i64| Timestamp(DAY + days * 86_400_000_000);
    let mut expected = Vec::new();
    for days in 0..3 {
        let mut rows = some_certificates(5_000);
        for (index, row) in rows.certificates.iter_mut().enumerate() {
            row.id = CertId::der(ct_model::id::digest(&[&days.to_string().into_bytes(), &index.to_be_bytes()]));
            row.seen = (index % 100 != 0).then(|| day(days));
        }
        rows.certificates[7] = CertRecord {
            sha256: None,
            tbs_sha256: None,
            spki_sha256: None,
            kind: None,
            issuer_org: None,
            issuer_cn: None,
            subject_cn: None,
            key_algorithm: None,
            key_bits: None,
            not_after: None,
            names: Vec::new(),
            registered_domains: Vec::new(),
            ..rows.certificates[7].clone()
        };
        expected.extend(rows.certificates.iter().cloned().map(recalled));
        add(&lake, vec![encode(rows, &WITHOUT_DER).unwrap()]);
    }
    for (parts, since) in [(1, None), (3, None), (20, None), (2, Some(day(1)))] {
        let mut found = Vec::new();
        for part in 0..parts {
            let mut read = |batch: Vec<CertRecord>| {
                assert!((1..=4_096).contains(&batch.len()));
                found.extend(batch);
                ControlFlow::Continue(())
            };
            lake.recall(part, parts, since, &mut read).unwrap();
        }
        let mut expected = expected.clone();
        expected.retain(|row| since.is_none() || row.seen.is_none() || row.seen >= since);
        for rows in [&mut found, &mut expected] {
            rows.sort_by_key(|row| row.id.bytes().to_vec());
        }
        assert!(found == expected, "parts={parts}");
    }
}

// One writer.

#[test]
fn a_local_lake_has_one_writer() {
    let runtime = runtime();
    let folder = tempfile::tempdir().unwrap();
    let [first, second] = [0, 1].map(|_| in_folder(folder.path(), &runtime));
    let lock = first.lock().unwrap();
    assert!(lock.is_some());
    let error = second.lock().unwrap_err();
    assert!(error.is_fenced() && !error.retry(), "{error}");
    drop(lock);
    second.lock().unwrap();
}

#[test]
fn a_remote_lake_has_no_lock() {
    let runtime = runtime();
    let lake = in_memory(&runtime);
    assert!(lake.lock().unwrap().is_none());
    assert!(lake.lock().unwrap().is_none());
}

#[test]
fn a_lake_that_cannot_be_written_says_so_at_once() {
    let runtime = runtime();
    let folder = tempfile::tempdir().unwrap();
    let lake = in_folder(folder.path(), &runtime);
    // In the way of the folder of that name, for whatever user.
    std::fs::write(folder.path().join("_ct"), "").unwrap();
    let error = lake.lock().unwrap_err();
    assert!(matches!(error, SinkError::NotWritable { .. }), "{error}");
    assert!(!error.is_fenced());
}

#[test]
fn recovery_sweeps_what_a_kill_left_in_the_middle_of_a_put() {
    let runtime = runtime();
    let folder = tempfile::tempdir().unwrap();
    let lake = in_folder(folder.path(), &runtime);
    add(&lake, vec![encode(support::rows(1, 3), &WITHOUT_DER).unwrap()]);
    let staging = folder.path().join("_ct/staging/dead/000000000002");
    std::fs::create_dir_all(&staging).unwrap();
    let left = [
        staging.join("entries-2026-11-23-0000"),
        staging.join("certificates-2026-11-23-0000#1"),
        folder.path().join("_ct/manifests/000000000002.json#7"),
    ];
    for path in &left {
        std::fs::write(path, "half").unwrap();
    }
    assert_eq!(lake.recover().unwrap().sequence, 1);
    for path in &left {
        assert!(!path.exists(), "{path:?}");
    }
    assert!(!staging.parent().unwrap().exists());
    lake.verify(&mut |fault| panic!("{fault}")).unwrap();
}

#[test]
fn a_remote_recovery_leaves_what_another_job_may_still_commit() {
    let runtime = runtime();
    let lake = in_memory(&runtime);
    add(&lake, vec![encode(support::rows(1, 3), &WITHOUT_DER).unwrap()]);
    let mut files = Vec::new();
    for sequence in [1, 2] {
        files.extend(lake.stage("other", sequence, 0, encode(support::rows(2, 3), &WITHOUT_DER).unwrap()).unwrap());
    }
    lake.recover().unwrap();
    let there = |file: &FileEntry| runtime.block_on(head(&lake, &file.staged));
    assert_eq!(files.iter().map(there).collect::<Vec<_>>(), [[false; 4], [true; 4]].concat());
}

async fn head(lake: &Lake, path: &str) -> bool {
    object_store::ObjectStoreExt::head(lake.store().objects(), &path.into()).await.is_ok()
}

// Damage.

/// Breaks a lake of two manifests in a folder and compares what `verify` says about it.
#[track_caller]
fn check_damage(damage: impl FnOnce(&Path, &Manifest), expected: &[&str]) {
    let runtime = runtime();
    let folder = tempfile::tempdir().unwrap();
    let lake = in_folder(folder.path(), &runtime);
    add(&lake, vec![encode(support::rows(1, 20), &WITHOUT_DER).unwrap()]);
    let second = add(&lake, vec![encode(support::rows(2, 20), &WITHOUT_DER).unwrap()]);
    let mut faults = Vec::new();
    let verified = lake.verify(&mut |fault| faults.push(fault)).unwrap();
    assert_eq!((faults, verified.manifests, verified.files, verified.rows), (Vec::<Fault>::new(), 2, 8, 124));
    damage(folder.path(), &second);
    let mut faults = Vec::new();
    let verified = lake.verify(&mut |fault| faults.push(fault.to_string())).unwrap();
    assert_eq!(faults, expected);
    assert_eq!(verified.faults, expected.len() as u64);
}

fn edit(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = std::fs::read(path).unwrap();
    change(&mut bytes);
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn a_missing_file_is_found() {
    check_damage(
        |lake, manifest| std::fs::remove_file(lake.join(&manifest.files[0].path)).unwrap(),
        &["certificates/date=2026-11-23/000000000002-0000.parquet: missing"],
    );
}

#[test]
fn a_file_that_waits_to_be_published_is_not_missing() {
    let hide = |lake: &Path, manifest: &Manifest| {
        let file = &manifest.files[0];
        std::fs::create_dir_all(lake.join(&file.staged).parent().unwrap()).unwrap();
        std::fs::rename(lake.join(&file.path), lake.join(&file.staged)).unwrap();
    };
    check_damage(hide, &[]);
}

#[test]
fn a_short_file_is_found() {
    let mut expected = String::new();
    check_damage_with(&mut expected, |lake, manifest, expected| {
        let file = &manifest.files[1];
        edit(&lake.join(&file.path), |bytes| bytes.truncate(100));
        *expected = format!("{}: 100 bytes, committed were {}", file.path, file.bytes);
    });
}

#[track_caller]
fn check_damage_with(expected: &mut String, damage: impl FnOnce(&Path, &Manifest, &mut String)) {
    let runtime = runtime();
    let folder = tempfile::tempdir().unwrap();
    let lake = in_folder(folder.path(), &runtime);
    let manifest = add(&lake, vec![encode(support::rows(1, 20), &WITHOUT_DER).unwrap()]);
    damage(folder.path(), &manifest, expected);
    let mut faults = Vec::new();
    lake.verify(&mut |fault| faults.push(fault.to_string())).unwrap();
    assert_eq!(faults, [expected.as_str()]);
}

#[test]
fn every_flipped_bit_is_found() {
    let path = "entries/date=2026-11-23/000000000001-0000.parquet";
    for place in [0, 3, 4, 200, 1_000] {
        let mut expected = format!("{path}: other bytes than were committed (SHA-256 differs)");
        check_damage_with(&mut expected, |lake, _, _| edit(&lake.join(path), |bytes| bytes[place] ^= 0x10));
    }
}

#[test]
fn a_flipped_bit_is_not_used_in_silence() {
    let runtime = runtime();
    let folder = tempfile::tempdir().unwrap();
    let lake = in_folder(folder.path(), &runtime);
    let manifest = add(&lake, vec![encode(support::rows(1, 20), &WITHOUT_DER).unwrap()]);
    edit(&folder.path().join(&manifest.files[0].path), |bytes| bytes[500] ^= 1);
    let error = lake.known(0, 1, None, &mut |_, _| ControlFlow::Continue(())).unwrap_err();
    assert!(matches!(error, SinkError::Damaged { .. }), "{error}");
}

#[test]
fn strange_files_are_found() {
    check_damage(
        |lake, _| {
            for path in ["findings/notes.txt", "entries/date=2026-11-23/x.parquet", "rejected/x.parquet#1"] {
                std::fs::write(lake.join(path), "").unwrap();
            }
            // Names that no object of an object store has.
            std::fs::create_dir(lake.join("certificates/a\u{1b}[2Jb")).unwrap();
            std::fs::write(lake.join("certificates/a\u{1b}[2Jb/c\nd"), "").unwrap();
            std::fs::write(lake.join("_ct/manifests/x\ny"), "").unwrap();
        },
        &[
            "certificates/a\\u{1b}[2Jb/c\\nd: no manifest lists it",
            "entries/date=2026-11-23/x.parquet: no manifest lists it",
            "findings/notes.txt: no manifest lists it",
            "rejected/x.parquet#1: no manifest lists it",
        ],
    );
}

#[test]
fn an_edited_manifest_breaks_the_chain() {
    check_damage(
        |lake, _| edit(&lake.join("_ct/manifests/000000000001.json"), |bytes| bytes.push(b'\n')),
        &["_ct/manifests/000000000002.json: does not follow the manifest before it"],
    );
}

#[test]
fn a_missing_manifest_is_found_and_stops_a_job() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = runtime();
    let lake = in_folder(folder.path(), &runtime);
    for seed in 1..=3 {
        add(
            &lake,
            vec![encode(Rows { findings: support::rows(seed, 1).findings, ..Rows::default() }, &WITHOUT_DER).unwrap()],
        );
    }
    std::fs::remove_file(folder.path().join("_ct/manifests/000000000002.json")).unwrap();
    let mut faults = Vec::new();
    lake.verify(&mut |fault| faults.push(fault.to_string())).unwrap();
    let expected = [
        "_ct/manifests/000000000002.json: missing, 1 in a row",
        "findings/date=2026-11-23/000000000002-0000.parquet: no manifest lists it",
    ];
    assert_eq!(faults, expected);
    assert!(matches!(lake.recover(), Err(SinkError::Damaged { .. })));
}

#[test]
fn rows_that_came_twice_are_found() {
    let runtime = runtime();
    let lake = in_memory(&runtime);
    for seed in [1, 2, 1] {
        add(&lake, vec![encode(support::rows(seed, 5), &WITHOUT_DER).unwrap()]);
    }
    let mut tables = Vec::new();
    let mut ids = HashSet::new();
    lake.verify(&mut |fault| match fault {
        Fault::Duplicate { table, id, paths } => {
            assert_eq!(paths.len(), 2);
            assert!(ids.insert(id));
            tables.push(table);
        }
        fault => panic!("{fault}"),
    })
    .unwrap();
    tables.dedup();
    assert_eq!((tables, ids.len()), (vec![Table::Certificates, Table::Entries, Table::Findings], 15));
}
