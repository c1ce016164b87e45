//! One set of checks for every kind of hot state: what it shows is a function of the lake, whatever happened to it.
//!
//! Each check builds a small lake, lets an applier follow it, and compares with a plain loop over the rows that went
//! in (`expected`). Redis is a real server, started by the test on a Unix socket of its own.

#![allow(clippy::unwrap_used, reason = "a panic of a test says where it failed")]

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ct_model::id::to_hex;
use ct_model::record::reverse_labels;
use ct_model::{CertId, CertRecord, Counts, EntryKind, Finding, IdKind, ParseState, Rows, Severity, Table, Timestamp};
use ct_sinks::hot::{
    self, Applier, ApplierOptions, Counters, Fields, HotFinding, HotOptions, HotReport, HotRow, HotState, Piece, Stats,
    VIEW_STATE, ViewChanges, ViewValue, Window, WindowRow,
};
use ct_sinks::lake::encode::{EncodeOptions, encode};
use ct_sinks::manifest::{FORMAT, Manifest};
use ct_sinks::{Lake, ResumePoint, SinkError, Store};
use serde_json::json;
use tempfile::TempDir;

const MINUTE_MS: i64 = 60_000;
/// 2026-11-23T00:10:00Z: the first certificates are of another day than the later ones.
const START_MS: i64 = 1_795_392_600_000;
const SECONDS_30: Duration = Duration::from_secs(30);

// ---- a lake, and what hot state should show of it

struct TestLake {
    folder: TempDir,
    lake: Lake,
    id: String,
    manifests: Vec<Manifest>,
    /// Rows by manifest.
    rows: Vec<Rows>,
    _runtime: tokio::runtime::Runtime,
}

impl TestLake {
    fn new(id: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let store = Store::open(folder.path().to_str().unwrap(), runtime.handle().clone()).unwrap();
        let lake = Lake::open(store);
        Self { folder, lake, id: id.to_owned(), manifests: Vec::new(), rows: Vec::new(), _runtime: runtime }
    }

    /// A lake of several hours in several manifests, with all there is.
    fn sample() -> Self {
        let mut lake = Self::new("01");
        for manifest in 0..6_u32 {
            lake.publish(sample_rows(manifest));
        }
        lake
    }

    fn publish(&mut self, rows: Rows) -> u64 {
        let sequence = self.manifests.len() as u64 + 1;
        let mut counts = Counts { certificates: rows.certificates.len() as u64, ..Counts::default() };
        for finding in &rows.findings {
            counts.findings += 1;
            *counts.findings_by_module.entry(finding.module.to_string()).or_default() += 1;
        }
        let mut totals = self.manifests.last().map(|manifest| manifest.totals.clone()).unwrap_or_default();
        totals += &counts;
        let files = encode(rows.clone(), &EncodeOptions::default()).unwrap();
        let files = self.lake.stage("7e57", sequence, 0, files).unwrap();
        let newest_seen = self.manifests.last().and_then(|manifest| manifest.newest_seen);
        let newest_seen = files.iter().map(|file| file.max_seen).fold(newest_seen, Option::max);
        let manifest = Manifest {
            format: FORMAT,
            sequence,
            previous: self.manifests.last().map(|manifest| Manifest::digest(&manifest.encode())),
            lake: self.id.clone(),
            job: "7e57".to_owned(),
            resume: ResumePoint { chunk: sequence as u32, ..ResumePoint::default() },
            counts,
            totals,
            newest_seen,
            age: ct_model::Age::default(),
            horizon: None,
            files,
        };
        self.lake.commit(&manifest).unwrap();
        self.lake.publish(&manifest).unwrap();
        self.manifests.push(manifest);
        self.rows.push(rows);
        sequence
    }

    fn newest(&self) -> u64 {
        self.manifests.len() as u64
    }

    fn certificates(&self) -> impl Iterator<Item = &CertRecord> {
        self.rows.iter().flat_map(|rows| &rows.certificates)
    }

    /// Everything that can be asked about.
    fn questions(&self) -> (BTreeSet<String>, BTreeSet<String>) {
        let sha256 = self.certificates().filter_map(|cert| cert.sha256).map(|sha256| to_hex(&sha256)).collect();
        let domains = self.certificates().flat_map(|cert| &cert.registered_domains).map(|domain| domain.to_string());
        (sha256, domains.collect())
    }
}

fn cert(number: u32, seen_ms: i64, domains: &[&str]) -> CertRecord {
    let mut sha256 = [0; 32];
    sha256[..4].copy_from_slice(&number.wrapping_mul(0x9e37_79b9).to_be_bytes());
    sha256[28..].copy_from_slice(&number.to_be_bytes());
    CertRecord {
        id: CertId::der(sha256),
        sha256: Some(sha256),
        sha1: None,
        tbs_sha256: Some([number as u8; 32]),
        spki_sha256: None,
        kind: Some(if number.is_multiple_of(2) { EntryKind::Precert } else { EntryKind::Final }),
        serial: Some(format!("{number}").into()),
        issuer_dn: Some("CN=R1".into()),
        issuer_cn: Some("R1".into()),
        issuer_org: (!number.is_multiple_of(3)).then(|| format!("Example CA {}", number % 4).into()),
        subject_dn: None,
        subject_cn: None,
        not_before: Some(Timestamp(seen_ms * 1_000)),
        not_after: Some(Timestamp(seen_ms * 1_000 + 1)),
        names: domains.iter().map(|domain| format!("www.{domain}").into()).collect(),
        registered_domains: domains.iter().map(|domain| (*domain).into()).collect(),
        ips: Vec::new(),
        key_algorithm: Some("ecdsa".into()),
        key_bits: Some(256),
        signature_algorithm: None,
        is_ca: Some(false),
        sct_count: Some(number % 4),
        scts: Vec::new(),
        parse: ParseState::Ok,
        parse_error: None,
        der_bytes: Some(1_000 + number),
        // Microseconds that milliseconds drop.
        seen: Some(Timestamp(seen_ms * 1_000 + 123)),
        log: Some("log.example/2026h2".into()),
        log_index: Some(u64::from(number)),
        feed: "test".into(),
        der: None,
    }
}

fn finding(number: u32, seen_ms: i64) -> Finding {
    let module = ["punycode", "brand"][number as usize % 2];
    let name = format!("xn--{number}.example");
    Finding {
        id: Finding::id_of(module, "check", &name, None),
        module: module.into(),
        check: "check".into(),
        severity: Severity::Medium,
        score: number.is_multiple_of(3).then(|| f64::from(number) / 8.0),
        name: Some(name.into()),
        sha256: None,
        tbs_sha256: None,
        seen: Some(Timestamp(seen_ms * 1_000)),
        detail: json!({ "number": number }).to_string().into(),
        once: true,
    }
}

/// 40 certificates and 10 findings of 25 minutes; the next manifest starts 20 minutes later.
fn sample_rows(manifest: u32) -> Rows {
    let mut rows = Rows::default();
    let start_ms = START_MS - 60 * MINUTE_MS + i64::from(manifest) * 20 * MINUTE_MS;
    for at in 0..40 {
        let number = manifest * 40 + at;
        let own = format!("site{}.example", number % 7);
        let seen_ms = start_ms + i64::from(at) * 25 * MINUTE_MS / 40;
        rows.certificates.push(cert(number, seen_ms, &[&own, "shared.example"]));
    }
    let mut odd = cert(100_000 + manifest, start_ms, &["unseen.example"]);
    odd.seen = None;
    rows.certificates.push(odd);
    let mut odd = cert(200_000 + manifest, start_ms, &["nameless.example"]);
    odd.id = CertId::entry("log.example", u64::from(manifest));
    odd.sha256 = None;
    odd.issuer_cn = None;
    odd.issuer_org = None;
    rows.certificates.push(odd);
    rows.findings = (0..10).map(|at| finding(manifest * 10 + at, start_ms + i64::from(at))).collect();
    rows
}

/// All that hot state says.
#[derive(Debug, PartialEq)]
struct Shown {
    published: String,
    horizon: String,
    certs: BTreeMap<String, HotRow>,
    domains: BTreeMap<String, Vec<(String, i64)>>,
    findings: Vec<HotFinding>,
    stats: BTreeMap<String, Counters>,
}

fn shown(hot: &mut dyn HotState, lake: &TestLake) -> Shown {
    let (sha256, domains) = lake.questions();
    let mut state = hot.state().unwrap();
    Shown {
        published: state.remove("published").unwrap_or_default(),
        horizon: state.remove("horizon").unwrap_or_default(),
        certs: sha256.into_iter().filter_map(|sha256| Some((sha256.clone(), hot.cert(&sha256).unwrap()?))).collect(),
        domains: domains
            .into_iter()
            .map(|domain| (domain.clone(), hot.domain(&domain).unwrap()))
            .filter(|(_, certs)| !certs.is_empty())
            .collect(),
        findings: hot.findings(1_000_000).unwrap(),
        stats: Stats::NAMES.into_iter().map(|name| (name.to_owned(), hot.stats(name).unwrap())).collect(),
    }
}

fn row_of(cert: &CertRecord) -> HotRow {
    let hex = |bytes: Option<[u8; 32]>| bytes.map(|bytes| to_hex(&bytes));
    let text = |text: &Option<Box<str>>| text.as_deref().map(str::to_owned);
    let shared = |text: &Option<std::sync::Arc<str>>| text.as_deref().map(str::to_owned);
    let columns = [
        ("id_kind", Some(cert.id.kind.as_str().to_owned())),
        ("id", Some(cert.id.hex())),
        ("sha256", hex(cert.sha256)),
        ("sha1", cert.sha1.map(|bytes| to_hex(&bytes))),
        ("tbs_sha256", hex(cert.tbs_sha256)),
        ("spki_sha256", hex(cert.spki_sha256)),
        ("kind", cert.kind.map(|kind| kind.as_str().to_owned())),
        ("serial", text(&cert.serial)),
        ("issuer_dn", shared(&cert.issuer_dn)),
        ("issuer_cn", shared(&cert.issuer_cn)),
        ("issuer_org", shared(&cert.issuer_org)),
        ("subject_dn", text(&cert.subject_dn)),
        ("subject_cn", text(&cert.subject_cn)),
        ("not_before", cert.not_before.map(|time| time.to_string())),
        ("not_after", cert.not_after.map(|time| time.to_string())),
        ("names", Some(json!(cert.names).to_string())),
        ("registered_domains", Some(json!(cert.registered_domains).to_string())),
        ("apex_rev", cert.registered_domains.first().map(|domain| reverse_labels(domain))),
        ("ips", Some(json!(cert.ips).to_string())),
        ("sct_logs", Some("[]".to_owned())),
        ("key_algorithm", shared(&cert.key_algorithm)),
        ("key_bits", cert.key_bits.map(|number| number.to_string())),
        ("signature_algorithm", shared(&cert.signature_algorithm)),
        ("is_ca", cert.is_ca.map(|flag| flag.to_string())),
        ("sct_count", cert.sct_count.map(|number| number.to_string())),
        ("parse", Some(cert.parse.as_str().to_owned())),
        ("parse_error", text(&cert.parse_error)),
        ("der_bytes", cert.der_bytes.map(|number| number.to_string())),
        ("seen", cert.seen.map(|time| time.to_string())),
        ("log", shared(&cert.log)),
        ("log_index", cert.log_index.map(|number| number.to_string())),
        ("feed", Some(cert.feed.to_string())),
    ];
    columns.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

/// What hot state should show, by a plain loop over all rows.
fn expected(lake: &TestLake, options: &HotOptions) -> Shown {
    let seen_ms = |cert: &CertRecord| cert.seen.map(Timestamp::millis);
    let horizon = lake.manifests.last().and_then(|manifest| manifest.newest_seen).map(|seen| Timestamp(seen).millis());
    let ttl_ms = options.ttl_seconds as i64 * 1_000;
    let live = |cert: &&CertRecord| {
        cert.sha256.is_some() && seen_ms(cert).is_some_and(|seen_ms| seen_ms + ttl_ms > horizon.unwrap())
    };
    let mut best: BTreeMap<String, &CertRecord> = BTreeMap::new();
    let mut domains: BTreeMap<String, BTreeMap<String, i64>> = BTreeMap::new();
    for cert in lake.certificates().filter(live) {
        let sha256 = to_hex(&cert.sha256.unwrap());
        for domain in &cert.registered_domains {
            let newest = domains.entry(domain.to_string()).or_default().entry(sha256.clone()).or_insert(i64::MIN);
            *newest = (*newest).max(seen_ms(cert).unwrap());
        }
        let shown = best.entry(sha256).or_insert(cert);
        if cert.id.kind < shown.id.kind {
            *shown = cert;
        }
    }
    let newest_first = |certs: BTreeMap<String, i64>| {
        let mut certs: Vec<_> = certs.into_iter().collect();
        certs.sort_by_key(|(sha256, seen_ms)| Reverse((*seen_ms, sha256.clone())));
        certs.truncate(options.per_domain);
        certs
    };

    let mut findings = Vec::new();
    for (manifest, rows) in lake.manifests.iter().zip(&lake.rows) {
        // Files are of one day each, days ascending, and sorted by id.
        let mut sorted: Vec<&Finding> = rows.findings.iter().collect();
        sorted.sort_by_key(|finding| (finding.seen.map(Timestamp::day), finding.id));
        for (rank, finding) in sorted.into_iter().enumerate() {
            let columns = [
                ("id", Some(to_hex(&finding.id))),
                ("module", Some(finding.module.to_string())),
                ("check", Some(finding.check.to_string())),
                ("severity", Some(finding.severity.as_str().to_owned())),
                ("score", finding.score.map(|score| score.to_string())),
                ("name", finding.name.as_deref().map(str::to_owned)),
                ("seen", finding.seen.map(|time| time.to_string())),
                ("detail", Some(finding.detail.to_string())),
            ];
            let row = columns.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect();
            findings.push(HotFinding { place: format!("{}-{rank}", manifest.sequence), row });
        }
    }
    findings.reverse();
    findings.truncate(options.findings_max);

    let totals = &lake.manifests.last().unwrap().totals;
    let (mut issuers, mut hours) = (Counters::new(), Counters::new());
    for cert in lake.certificates() {
        let issuer = cert.issuer_org.as_deref().or(cert.issuer_cn.as_deref()).unwrap_or("unknown");
        *issuers.entry(issuer.to_owned()).or_default() += 1;
        if let Some(seen) = cert.seen {
            *hours.entry(seen.hour_text()).or_default() += 1;
        }
    }
    let mut all_totals = Counters::new();
    for (name, value) in serde_json::to_value(totals).unwrap().as_object().unwrap() {
        all_totals.extend(value.as_u64().map(|value| (name.clone(), value)));
    }
    Shown {
        published: lake.newest().to_string(),
        horizon: horizon.map(|horizon| horizon.to_string()).unwrap_or_default(),
        certs: best.into_iter().map(|(sha256, cert)| (sha256, row_of(cert))).collect(),
        domains: domains.into_iter().map(|(domain, certs)| (domain, newest_first(certs))).collect(),
        findings,
        stats: [
            ("totals", all_totals),
            ("modules", totals.findings_by_module.clone()),
            ("issuers", issuers),
            ("hours", hours),
        ]
        .map(|(name, counters)| (name.to_owned(), counters))
        .into(),
    }
}

// ---- the kinds of hot state

struct RedisServer {
    folder: TempDir,
    child: Child,
    args: &'static [&'static str],
}

impl RedisServer {
    /// `None`, said loudly, where there is no redis-server.
    fn start() -> Option<Self> {
        Self::start_with(&[])
    }

    fn start_with(args: &'static [&'static str]) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        match Self::spawn(folder.path(), args) {
            Ok(child) => {
                let server = Self { folder, child, args };
                server.wait_until_up();
                Some(server)
            }
            Err(error) => {
                let required = std::env::var_os("CT_STREAM_REQUIRE_REDIS").is_some_and(|value| value == "1");
                assert!(!required, "CT_STREAM_REQUIRE_REDIS=1 but redis-server does not start: {error}");
                let _ = writeln!(std::io::stderr(), "SKIPPED for Redis: redis-server does not start: {error}");
                None
            }
        }
    }

    fn spawn(folder: &Path, args: &[&str]) -> std::io::Result<Child> {
        Command::new("redis-server")
            .args(["--port", "0", "--save", "", "--appendonly", "no", "--unixsocket", "redis.sock"])
            .args(args)
            .current_dir(folder)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("redis.sock")
    }

    fn url(&self) -> String {
        format!("redis+unix://{}", self.socket().display())
    }

    fn wait_until_up(&self) {
        let start = Instant::now();
        // A server that wants a password is up, too.
        while self.try_run::<String>("PING", &[]).is_err_and(|error| error.is_io_error()) {
            assert!(start.elapsed() < SECONDS_30, "redis-server does not come up");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn try_run<T: redis::FromRedisValue>(&self, command: &str, args: &[&str]) -> redis::RedisResult<T> {
        let mut connection = redis::Client::open(self.url())?.get_connection()?;
        redis::cmd(command).arg(args).query(&mut connection)
    }

    fn run<T: redis::FromRedisValue>(&self, command: &str, args: &[&str]) -> T {
        self.try_run(command, args).unwrap()
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn restart(&mut self) {
        let _ = std::fs::remove_file(self.socket());
        self.child = Self::spawn(self.folder.path(), self.args).unwrap();
        self.wait_until_up();
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

enum Kind {
    Embedded,
    Redis(RedisServer),
}

impl Kind {
    fn all() -> Vec<Self> {
        [Some(Self::Embedded), RedisServer::start().map(Self::Redis)].into_iter().flatten().collect()
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
            Self::Redis(_) => "redis",
        }
    }

    fn open(&self, lake: &TestLake, options: &HotOptions) -> Box<dyn HotState> {
        let url = match self {
            Self::Embedded => "embedded".to_owned(),
            Self::Redis(server) => server.url(),
        };
        hot::open(&url, &lake.lake, options.clone()).unwrap().unwrap()
    }

    fn empty(&self, lake: &TestLake) {
        match self {
            Self::Embedded => {
                let _ = std::fs::remove_dir_all(lake.folder.path().join("_ct/hot"));
            }
            Self::Redis(server) => server.run("FLUSHALL", &[]),
        }
    }
}

fn quick() -> ApplierOptions {
    ApplierOptions {
        retry_first: Duration::from_millis(20),
        retry_longest: Duration::from_millis(50),
        check_every: Duration::from_millis(50),
    }
}

/// Follows the lake to its end.
fn follow(kind: &Kind, lake: &TestLake, options: &HotOptions) -> HotReport {
    let applier = Applier::start(lake.lake.clone(), Some(kind.open(lake, options)), quick());
    let report = applier.finish(SECONDS_30);
    assert!(report.converged && report.applied == lake.newest(), "{}: {report:?}", kind.name());
    report
}

#[track_caller]
fn check_shown(kind: &Kind, lake: &TestLake, options: &HotOptions) {
    let name = kind.name();
    let (is, want) = (shown(&mut *kind.open(lake, options), lake), expected(lake, options));
    assert_eq!(is.stats, want.stats, "{name}");
    assert_eq!(is.certs.keys().collect::<Vec<_>>(), want.certs.keys().collect::<Vec<_>>(), "{name}");
    assert_eq!(is.domains, want.domains, "{name}");
    assert_eq!(is.findings, want.findings, "{name}");
    assert_eq!(is, want, "{name}");
}

fn small() -> HotOptions {
    HotOptions { timeout: Duration::from_millis(500), ..HotOptions::default() }
}

// ---- the checks

#[test]
fn shows_what_the_lake_holds() {
    let lake = TestLake::sample();
    for kind in Kind::all() {
        let report = follow(&kind, &lake, &small());
        assert_eq!((report.rebuilds, report.manifests, report.errors), (1, 6, 0));
        check_shown(&kind, &lake, &small());
        // 40 certificates of 25 minutes every 20 minutes, 85 minutes of six manifests not shown any more.
        let certs = expected(&lake, &small()).certs.len();
        assert!((90..140).contains(&certs), "{certs} of 240 certificates are of the last hour");
    }
}

#[test]
fn following_closely_equals_catching_up() {
    for kind in Kind::all() {
        let mut lake = TestLake::new("02");
        let applier = Applier::start(lake.lake.clone(), Some(kind.open(&lake, &small())), quick());
        for manifest in 0..6 {
            let sequence = lake.publish(sample_rows(manifest));
            applier.published(sequence);
            wait_for(|| applier.report().applied == sequence);
            check_shown(&kind, &lake, &small());
        }
        assert_eq!(applier.finish(SECONDS_30).rebuilds, 1);
        let close = shown(&mut *kind.open(&lake, &small()), &lake);
        assert_eq!(hot::rebuild(&lake.lake, kind.open(&lake, &small())).unwrap(), 6);
        assert_eq!(shown(&mut *kind.open(&lake, &small()), &lake), close, "{}", kind.name());
    }
}

#[test]
fn repeating_changes_nothing() {
    let lake = TestLake::sample();
    for kind in Kind::all() {
        follow(&kind, &lake, &small());
        let report = follow(&kind, &lake, &small());
        assert_eq!((report.rebuilds, report.manifests), (0, 0));
        hot::rebuild(&lake.lake, kind.open(&lake, &small())).unwrap();
        hot::rebuild(&lake.lake, kind.open(&lake, &small())).unwrap();
        check_shown(&kind, &lake, &small());
    }
}

#[test]
fn a_manifest_applied_in_part_is_applied_again() {
    for kind in Kind::all() {
        let mut lake = TestLake::new("03");
        for manifest in 0..3 {
            lake.publish(sample_rows(manifest));
        }
        follow(&kind, &lake, &small());
        lake.publish(sample_rows(3));
        for pieces in 0..5 {
            let mut hot = kind.open(&lake, &small());
            apply_part(&mut *hot, &lake, pieces).unwrap();
        }
        assert_eq!(follow(&kind, &lake, &small()).manifests, 1);
        check_shown(&kind, &lake, &small());
    }
}

/// Starts the newest manifest and leaves off after some pieces, as a kill would.
fn apply_part(hot: &mut dyn HotState, lake: &TestLake, mut pieces: usize) -> Result<(), SinkError> {
    let manifest = lake.manifests.last().unwrap();
    hot.begin(manifest, manifest.newest_seen.map(|seen| Timestamp(seen).millis()))?;
    for file in &manifest.files {
        let columns = match file.table {
            Table::Certificates => hot.certificate_columns(),
            _ => &["id", "module", "check", "severity", "score", "name", "sha256", "tbs_sha256", "seen", "detail"],
        };
        lake.lake.scan(file, columns, &mut |batch| {
            if pieces == 0 {
                return Ok(());
            }
            pieces -= 1;
            match file.table {
                Table::Certificates => hot.apply(Piece::Certificates { file, batch: &batch }),
                Table::Findings => hot.apply(Piece::Findings { file, first_rank: 0, batch: &batch.slice(0, 3) }),
                _ => Ok(()),
            }
        })?;
    }
    Ok(())
}

#[test]
fn an_emptied_store_is_filled_again() {
    let mut lake = TestLake::sample();
    for kind in Kind::all() {
        let applier = Applier::start(lake.lake.clone(), Some(kind.open(&lake, &small())), quick());
        wait_for(|| applier.report().converged);
        kind.empty(&lake);
        // Nobody publishes: the applier notices by itself.
        wait_for(|| applier.report().rebuilds == 2 && applier.report().converged);
        check_shown(&kind, &lake, &small());
        kind.empty(&lake);
        lake.publish(sample_rows(lake.newest() as u32));
        applier.published(lake.newest());
        let report = applier.finish(SECONDS_30);
        assert!(report.converged && report.rebuilds == 3, "{report:?}");
        check_shown(&kind, &lake, &small());
    }
}

#[test]
fn emptied_while_a_manifest_is_applied() {
    for kind in Kind::all() {
        let mut lake = TestLake::new("04");
        lake.publish(sample_rows(0));
        follow(&kind, &lake, &small());
        lake.publish(sample_rows(1));
        let mut hot = kind.open(&lake, &small());
        apply_part(&mut *hot, &lake, 2).unwrap();
        kind.empty(&lake);
        assert!(!hot.finish(&Stats::default()).unwrap(), "{}: what was applied before is gone", kind.name());
        assert_eq!(follow(&kind, &lake, &small()).rebuilds, 1);
        check_shown(&kind, &lake, &small());
    }
}

#[test]
fn lost_in_part_is_lost() {
    let lake = TestLake::sample();
    for kind in Kind::all() {
        follow(&kind, &lake, &small());
        match &kind {
            Kind::Embedded => std::fs::remove_file(last_posting(&lake)).unwrap(),
            Kind::Redis(server) => server.run("DEL", &["ct:state"]),
        }
        assert_eq!(follow(&kind, &lake, &small()).rebuilds, 1);
        check_shown(&kind, &lake, &small());
    }
}

fn last_posting(lake: &TestLake) -> PathBuf {
    let postings = std::fs::read_dir(lake.folder.path().join("_ct/hot/postings")).unwrap();
    postings.map(|posting| posting.unwrap().path()).max().unwrap()
}

#[test]
fn a_damaged_posting_file_is_lost() {
    let lake = TestLake::sample();
    let damages: [fn(&mut Vec<u8>); 4] = [
        |bytes| bytes.truncate(bytes.len() - 1),
        |bytes| bytes.truncate(7),
        |bytes| bytes.push(0),
        // The number of certificates: the size is right, the header is not.
        |bytes| bytes[8] ^= 1,
    ];
    follow(&Kind::Embedded, &lake, &small());
    for damage in damages {
        let path = last_posting(&lake);
        let mut bytes = std::fs::read(&path).unwrap();
        damage(&mut bytes);
        std::fs::write(&path, bytes).unwrap();
        assert_eq!(follow(&Kind::Embedded, &lake, &small()).rebuilds, 1);
        check_shown(&Kind::Embedded, &lake, &small());
    }
    // Whoever asks before the next job is told what to do.
    std::fs::write(last_posting(&lake), "short").unwrap();
    let error = Kind::Embedded.open(&lake, &small()).domain("shared.example").unwrap_err().to_string();
    assert!(error.contains(".bin: has another size") && error.contains("anew"), "{error}");
}

/// Certificates seen in 2100, in a manifest of their own.
fn publish_far_ahead(lake: &mut TestLake, first: u32, count: u32) {
    let year_2100_ms = 4_102_444_800_000;
    let certificates = (first..first + count).map(|at| cert(at, year_2100_ms + i64::from(at), &["ahead.example"]));
    lake.publish(Rows { certificates: certificates.collect(), ..Rows::default() });
}

#[test]
fn a_time_far_ahead_expires_nothing_until_many_say_so() {
    for kind in Kind::all() {
        let mut lake = TestLake::sample();
        let quiet = expected(&lake, &small());
        publish_far_ahead(&mut lake, 500_000, 1);
        follow(&kind, &lake, &small());
        let is = shown(&mut *kind.open(&lake, &small()), &lake);
        assert_eq!(is.horizon, quiet.horizon, "{}", kind.name());
        assert!(quiet.certs.keys().all(|sha256| is.certs.contains_key(sha256)), "{}", kind.name());
        assert_eq!(is.certs.len(), quiet.certs.len() + 1, "{}: what is ahead is shown, too", kind.name());

        // The clock goes on as before: what was seen in 2100 keeps nothing else.
        for manifest in 6..12 {
            lake.publish(sample_rows(manifest));
        }
        follow(&kind, &lake, &small());
        let is = shown(&mut *kind.open(&lake, &small()), &lake);
        assert!(is.certs.len() < 150, "{}: {} certificates", kind.name(), is.certs.len());

        // 504 rows say otherwise.
        publish_far_ahead(&mut lake, 600_000, 400);
        follow(&kind, &lake, &small());
        assert_ne!(kind.open(&lake, &small()).state().unwrap()["horizon"], expected(&lake, &small()).horizon);
        publish_far_ahead(&mut lake, 700_000, 200);
        let report = follow(&kind, &lake, &small());
        assert_eq!(report.rebuilds, 0);
        check_shown(&kind, &lake, &small());
    }
}

#[test]
fn a_first_time_far_ahead_is_taken_back() {
    for kind in Kind::all() {
        let mut lake = TestLake::new("11");
        publish_far_ahead(&mut lake, 500_000, 1);
        follow(&kind, &lake, &small());
        lake.publish(sample_rows(0));
        let applier = Applier::start(lake.lake.clone(), Some(kind.open(&lake, &small())), quick());
        let report = applier.finish(SECONDS_30);
        assert!(report.converged && report.rebuilds == 1, "{report:?}");
        let is = shown(&mut *kind.open(&lake, &small()), &lake);
        assert_eq!(is.certs.len(), 41, "{}", kind.name());
    }
}

#[test]
fn another_lake_or_an_older_one_begins_anew() {
    for kind in Kind::all() {
        let Kind::Redis(_) = &kind else { continue };
        let long = TestLake::sample();
        follow(&kind, &long, &small());
        let mut short = TestLake::new("01");
        short.publish(sample_rows(5));
        assert_eq!(follow(&kind, &short, &small()).rebuilds, 1, "ahead of the lake");
        assert_eq!(kind.open(&short, &small()).state().unwrap()["published"], "1");
        let mut other = TestLake::new("05");
        other.publish(sample_rows(5));
        assert_eq!(follow(&kind, &other, &small()).rebuilds, 1, "of another lake");
        assert_eq!(kind.open(&other, &small()).state().unwrap()["lake"], "05");
    }
}

#[test]
fn other_options_begin_anew() {
    let lake = TestLake::sample();
    for kind in Kind::all() {
        for ttl_seconds in [600, 7_200, 1, 86_400] {
            let options = HotOptions { ttl_seconds, ..small() };
            // Another TTL cannot bring back, or take away, what a server expires by itself.
            if let Kind::Redis(server) = &kind {
                server.run::<()>("FLUSHALL", &[]);
            }
            follow(&kind, &lake, &options);
            if ttl_seconds > 1 {
                check_shown(&kind, &lake, &options);
            }
        }
        assert_eq!(follow(&kind, &lake, &HotOptions { per_domain: 7, ..small() }).rebuilds, 1);
    }
}

#[test]
fn domains_and_findings_are_capped() {
    let options = HotOptions { per_domain: 5, findings_max: 13, ..small() };
    for kind in Kind::all() {
        let mut lake = TestLake::new("06");
        let applier = Applier::start(lake.lake.clone(), Some(kind.open(&lake, &options)), quick());
        for manifest in 0..4 {
            let mut rows = sample_rows(manifest);
            // Equal times: the order of fingerprints decides.
            for (at, cert) in rows.certificates.iter_mut().take(30).enumerate() {
                cert.seen = Some(Timestamp((START_MS + i64::from(manifest)) * 1_000 + at as i64 % 3));
            }
            applier.published(lake.publish(rows));
            wait_for(|| applier.report().applied == lake.newest());
            check_shown(&kind, &lake, &options);
        }
        drop(applier);
        let mut hot = kind.open(&lake, &options);
        assert_eq!(hot.domain("shared.example").unwrap().len(), 5);
        assert_eq!(hot.findings(1_000).unwrap().len(), 13);
        assert_eq!(hot.findings(4).unwrap(), expected(&lake, &options).findings[..4]);
        hot::rebuild(&lake.lake, hot).unwrap();
        check_shown(&kind, &lake, &options);
    }
}

#[test]
fn hostile_text_comes_back_as_it_was() {
    const HOSTILE: &[&str] = &[
        "nul\0.example",
        "crlf\r\nSET x y\r\n.example",
        "esc\u{1b}[31m.example",
        "rtl\u{202e}.example",
        "\u{1f600}.example",
        "quote\"back\\slash.example",
        "*.[a-z]?.example",
        "=cmd|'/c'!A1",
        " ",
    ];
    for kind in Kind::all() {
        let mut lake = TestLake::new("07");
        let mut rows = Rows::default();
        for (at, text) in HOSTILE.iter().enumerate() {
            let mut cert = cert(at as u32, START_MS + at as i64, &[text, "x.example"]);
            cert.subject_cn = Some((*text).into());
            cert.issuer_org = Some((*text).into());
            rows.certificates.push(cert);
            let mut finding = finding(at as u32, START_MS);
            finding.name = Some((*text).into());
            finding.detail = json!({ *text: text }).to_string().into();
            rows.findings.push(finding);
        }
        let mut large = cert(1_000, START_MS, &["large.example"]);
        large.names = (0..5_000).map(|name| format!("{name}.{}.large.example", "x".repeat(200)).into()).collect();
        rows.certificates.push(large);
        lake.publish(rows);
        follow(&kind, &lake, &small());
        check_shown(&kind, &lake, &small());
    }
}

#[test]
fn a_proof_hides_a_claim_of_the_same_fingerprint() {
    for kind in Kind::all() {
        let claim = |number, seen_ms| {
            let mut claim = cert(number, seen_ms, &["claimed.example"]);
            claim.id = CertId::claimed_sha256(claim.sha256.unwrap());
            assert_eq!(claim.id.kind, IdKind::Sha256);
            claim.parse = ParseState::Absent;
            claim.subject_cn = Some("only claimed".into());
            claim
        };
        let proof = |number, seen_ms| cert(number, seen_ms, &["claimed.example"]);
        let mut lake = TestLake::new("08");
        let both = |a, b| Rows { certificates: vec![a, b], ..Rows::default() };
        // In one manifest in both orders, then in two.
        lake.publish(both(claim(1, START_MS), proof(1, START_MS + 5)));
        lake.publish(both(proof(2, START_MS), claim(2, START_MS + 5)));
        lake.publish(both(claim(3, START_MS), proof(4, START_MS)));
        lake.publish(both(proof(3, START_MS + 9), claim(4, START_MS + 9)));
        lake.publish(both(claim(5, START_MS), claim(6, START_MS)));
        follow(&kind, &lake, &small());
        let mut hot = kind.open(&lake, &small());
        let want = expected(&lake, &small());
        assert_eq!(shown(&mut *hot, &lake).certs, want.certs, "{}", kind.name());
        assert_eq!(want.certs.values().filter(|row| row.contains_key("subject_cn")).count(), 2);
    }
}

#[test]
fn an_empty_lake_and_no_hot_state_are_level() {
    let lake = TestLake::new("09");
    for kind in Kind::all() {
        assert_eq!(follow(&kind, &lake, &small()), HotReport { converged: true, ..HotReport::default() });
        assert_eq!(hot::rebuild(&lake.lake, kind.open(&lake, &small())).unwrap(), 0);
        let mut hot = kind.open(&lake, &small());
        assert_eq!(hot.applied().unwrap(), None);
        assert_eq!((hot.cert("00").unwrap(), hot.domain("a.example").unwrap()), (None, vec![]));
    }
    assert!(hot::open("none", &lake.lake, small()).unwrap().is_none());
    let applier = Applier::start(lake.lake.clone(), None, quick());
    applier.published(3);
    assert!(applier.finish(SECONDS_30).converged);
}

#[test]
fn bad_urls_are_refused_without_their_secrets() {
    let lake = TestLake::new("10");
    for url in ["", "redis", "http://:hush@host", "redis://:hush@host/not-a-number", "rediss://:hush@host#insecure"] {
        let error = hot::open(url, &lake.lake, small()).err().expect(url);
        assert!(matches!(&error, SinkError::Url { .. }), "{url}");
        assert!(!error.to_string().contains("hush"), "{error}");
    }
}

// ---- what only a server does

#[test]
fn redis_killed_on_the_way_converges_when_it_is_back() {
    let Some(server) = RedisServer::start() else { return };
    let mut kind = Kind::Redis(server);
    let mut lake = TestLake::new("11");
    lake.publish(sample_rows(0));
    let applier = Applier::start(lake.lake.clone(), Some(kind.open(&lake, &small())), quick());
    wait_for(|| applier.report().converged);
    let Kind::Redis(server) = &mut kind else { unreachable!() };
    server.kill();
    for manifest in 1..5 {
        let start = Instant::now();
        applier.published(lake.publish(sample_rows(manifest)));
        assert!(start.elapsed() < Duration::from_secs(5), "publishing waits for nobody");
    }
    wait_for(|| applier.report().errors >= 2);
    assert!(!applier.report().converged);
    server.restart();
    let report = applier.finish(SECONDS_30);
    assert!(report.converged && report.rebuilds == 2 && report.last_error.is_some(), "{report:?}");
    check_shown(&kind, &lake, &small());
}

#[test]
fn redis_away_to_the_end_is_reported() {
    let Some(mut server) = RedisServer::start() else { return };
    server.kill();
    let kind = Kind::Redis(server);
    let lake = TestLake::sample();
    let applier = Applier::start(lake.lake.clone(), Some(kind.open(&lake, &small())), quick());
    let start = Instant::now();
    let report = applier.finish(Duration::from_millis(300));
    assert!(start.elapsed() < Duration::from_secs(5));
    assert!(!report.converged && report.errors > 0 && report.applied == 0, "{report:?}");
    let line = report.last_error.unwrap();
    assert!(line.starts_with("hot state: ") && !line.contains('\n'), "{line}");
}

#[test]
fn redis_that_hangs_is_given_up_after_one_time_out() {
    let Some(server) = RedisServer::start() else { return };
    let lake = TestLake::sample();
    let kind = Kind::Redis(server);
    follow(&kind, &lake, &small());
    let Kind::Redis(server) = &kind else { unreachable!() };
    let mut hot = kind.open(&lake, &small());
    hot.begin(&lake.manifests[5], Some(START_MS + 65 * MINUTE_MS)).unwrap();
    // One pipeline of hundreds of commands: waiting for each answer would be minutes.
    server.run::<()>("CLIENT", &["PAUSE", "20000", "ALL"]);
    let start = Instant::now();
    let file = lake.manifests[5].files.iter().find(|file| file.max_seen.is_some()).unwrap();
    assert_eq!(file.table, Table::Certificates);
    let result = lake
        .lake
        .scan(file, hot.certificate_columns(), &mut |batch| hot.apply(Piece::Certificates { file, batch: &batch }));
    assert!(matches!(result, Err(SinkError::Hot { .. })), "{result:?}");
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}

#[test]
fn redis_that_is_full_is_away_until_it_has_room() {
    let Some(server) = RedisServer::start() else { return };
    let lake = TestLake::sample();
    let kind = Kind::Redis(server);
    let Kind::Redis(server) = &kind else { unreachable!() };
    server.run::<()>("CONFIG", &["SET", "maxmemory", "1"]);
    let applier = Applier::start(lake.lake.clone(), Some(kind.open(&lake, &small())), quick());
    wait_for(|| applier.report().errors >= 2);
    let line = applier.report().last_error.unwrap();
    assert!(line.contains("OOM") && line.len() < 400, "{line}");
    server.run::<()>("CONFIG", &["SET", "maxmemory", "0"]);
    assert!(applier.finish(SECONDS_30).converged);
    check_shown(&kind, &lake, &small());
}

#[test]
fn redis_without_hello_will_do() {
    let Some(server) = RedisServer::start_with(&["--rename-command", "HELLO", ""]) else { return };
    let kind = Kind::Redis(server);
    let lake = TestLake::sample();
    assert_eq!(follow(&kind, &lake, &small()).errors, 0);
    check_shown(&kind, &lake, &small());
}

#[test]
fn redis_passwords_are_used_and_never_shown() {
    let Some(server) = RedisServer::start_with(&["--requirepass", "hush-7"]) else { return };
    let lake = TestLake::sample();
    let open = |pass: &str| hot::open(&format!("{}?pass={pass}", server.url()), &lake.lake, small()).unwrap();
    let report = Applier::start(lake.lake.clone(), open("hush-8"), quick()).finish(Duration::from_millis(200));
    let line = report.last_error.unwrap();
    assert!(!report.converged && line.contains("WRONGPASS") && !line.contains("hush"), "{line}");
    assert!(Applier::start(lake.lake.clone(), open("hush-7"), quick()).finish(SECONDS_30).converged);
}

#[test]
fn redis_keys_all_end_or_are_bounded() {
    let Some(server) = RedisServer::start() else { return };
    let lake = TestLake::sample();
    let kind = Kind::Redis(server);
    let options = HotOptions { prefix: "hot-7:".to_owned(), ..small() };
    let Kind::Redis(server) = &kind else { unreachable!() };
    for _ in 0..2 {
        hot::rebuild(&lake.lake, kind.open(&lake, &options)).unwrap();
        let keys: BTreeSet<String> = server.run("KEYS", &["*"]);
        let want = expected(&lake, &options);
        let mut named: BTreeSet<String> = want.certs.keys().map(|sha256| format!("hot-7:cert:{sha256}")).collect();
        named.extend(want.domains.keys().map(|domain| format!("hot-7:domain:{domain}")));
        let fixed = ["findings", "state", "stats:totals", "stats:modules", "stats:issuers", "stats:hours"];
        named.extend(fixed.map(|name| format!("hot-7:{name}")));
        assert_eq!(keys, named);
        for (sha256, row) in &want.certs {
            // The lives of certificates are as far apart as their `seen`.
            let seen =
                lake.certificates().find(|cert| cert.sha256.map(|bytes| to_hex(&bytes)).as_ref() == Some(sha256));
            let seen_ms = seen.unwrap().seen.unwrap().millis();
            let life_ms = seen_ms + 3_600_000 - want.horizon.parse::<i64>().unwrap();
            let left_ms: i64 = server.run("PTTL", &[&format!("hot-7:cert:{sha256}")]);
            assert!((1..=life_ms).contains(&left_ms) && life_ms - left_ms < 30_000, "{left_ms} of {life_ms}: {row:?}");
        }
        for domain in want.domains.keys() {
            let left_ms: i64 = server.run("PTTL", &[&format!("hot-7:domain:{domain}")]);
            assert!((1..=3_600_000).contains(&left_ms), "{domain}: {left_ms}");
        }
    }
}

// ---- views, and the window they are computed over

fn hash(fields: &[(&str, &str)]) -> ViewValue {
    ViewValue::Hash(fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
}

fn set(members: &[(&str, i64)]) -> ViewValue {
    ViewValue::Set(members.iter().map(|(member, score)| ((*member).to_owned(), *score)).collect())
}

fn set_views(
    hot: &mut dyn HotState,
    values: &[(&str, ViewValue)],
    before: Option<&str>,
    state: &str,
) -> Result<bool, SinkError> {
    let values = values.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    let fields = |said: &str| Fields::from([("published".to_owned(), said.to_owned())]);
    let before = before.map(fields);
    hot.set_views(&ViewChanges { values: &values, before: before.as_ref(), state: &fields(state) })
}

/// All views that another handle finds.
fn views(kind: &Kind, lake: &TestLake) -> BTreeMap<String, ViewValue> {
    let mut hot = kind.open(lake, &small());
    let names = hot.view_names().unwrap();
    names.into_iter().map(|name| (name.clone(), hot.view(&name).unwrap().unwrap())).collect()
}

fn named<const N: usize>(values: [(&str, ViewValue); N]) -> BTreeMap<String, ViewValue> {
    values.map(|(name, value)| (name.to_owned(), value)).into()
}

#[test]
fn views_are_kept_as_they_were_written() {
    let lake = TestLake::new("0a");
    let hostile = "\u{1b}[31m \"\r\n\0 \u{202e}";
    let many: Vec<_> = (0..3_000).map(|number| (format!("{number:04} name"), i64::from(number) - 9)).collect();
    let many = ViewValue::Set(many.into_iter().collect());
    for kind in Kind::all() {
        let mut hot = kind.open(&lake, &small());
        assert_eq!(views(&kind, &lake), BTreeMap::new());
        assert_eq!(hot.view(VIEW_STATE).unwrap(), None);
        let (counts, watch) = (hash(&[("Let's Encrypt", "7"), (hostile, "1")]), set(&[(hostile, 1_795_392_600_000)]));
        let first = [("view:counts:issuer", counts.clone()), ("watch:.example.com", watch), ("top:log", many.clone())];
        assert!(set_views(&mut *hot, &first, None, "1").unwrap());
        assert_eq!(views(&kind, &lake), named(first), "{}", kind.name());
        assert_eq!(hot.view(VIEW_STATE).unwrap(), Some(hash(&[("published", "1")])));

        // What is not named stays, and an empty value goes.
        let issuances = hash(&[("pairs", "3")]);
        let next = [("watch:.example.com", set(&[])), ("issuances", issuances.clone())];
        assert!(set_views(&mut *hot, &next, Some("1"), "2").unwrap());
        let want = named([("view:counts:issuer", counts), ("issuances", issuances), ("top:log", many.clone())]);
        assert_eq!(views(&kind, &lake), want, "{}", kind.name());

        // Somebody else wrote meanwhile.
        assert!(!set_views(&mut *hot, &[], Some("1"), "3").unwrap());
        assert_eq!(hot.view(VIEW_STATE).unwrap(), Some(hash(&[("published", "2")])));

        // All of it anew leaves nothing of before.
        let whole = [("top:domain", set(&[("example.com", 2)]))];
        assert!(set_views(&mut *hot, &whole, None, "4").unwrap());
        assert_eq!(views(&kind, &lake), named(whole), "{}", kind.name());

        kind.empty(&lake);
        assert!(!set_views(&mut *hot, &[], Some("4"), "5").unwrap(), "{}: all is lost", kind.name());
        assert_eq!((views(&kind, &lake), hot.view(VIEW_STATE).unwrap()), (BTreeMap::new(), None));
        assert!(set_views(&mut *hot, &[("issuances", hash(&[("pairs", "4")]))], None, "6").unwrap());
        hot.clear().unwrap();
        assert_eq!((views(&kind, &lake), hot.view(VIEW_STATE).unwrap()), (BTreeMap::new(), None), "{}", kind.name());
    }
}

/// What a window hands over: ids of certificates with their names.
fn read_window(window: &mut Window, newest: u64, found: &mut BTreeMap<String, Vec<String>>) -> bool {
    let whole = window.read(newest, &mut |row| {
        let WindowRow::Certificate(row) = row else { panic!("the lake has no entries") };
        assert_eq!((row.issuer().is_some(), row.key_bits()), (row.id.kind == IdKind::Der, Some(256)));
        let names = row.names().map(str::to_owned).collect();
        assert!(found.insert(format!("{} {}", row.id.kind.as_str(), row.id.hex()), names).is_none());
    });
    whole.unwrap()
}

#[test]
fn a_window_reads_what_was_seen_within_it() {
    let mut lake = TestLake::sample();
    let held = |lake: &TestLake, from_ms: i64| {
        let within = |cert: &&CertRecord| cert.seen.is_some_and(|seen| seen.millis() > from_ms);
        let names = |cert: &CertRecord| cert.names.iter().map(|name| name.to_string()).collect::<Vec<_>>();
        let rows = lake.certificates().filter(within);
        rows.map(|cert| (format!("{} {}", cert.id.kind.as_str(), cert.id.hex()), names(cert))).collect()
    };
    let newest_ms = |lake: &TestLake| Timestamp(lake.manifests.last().unwrap().newest_seen.unwrap()).millis();
    let mut found = BTreeMap::new();
    let mut window = Window::new(lake.lake.clone(), 60 * MINUTE_MS, true);
    assert!(read_window(&mut window, lake.newest(), &mut found));
    let want: BTreeMap<String, Vec<String>> = held(&lake, newest_ms(&lake) - 60 * MINUTE_MS);
    assert_eq!(found, want);
    assert_eq!(window.state().horizon_ms, Some(newest_ms(&lake)));
    // Nothing new, nothing read; then only what is new.
    assert!(read_window(&mut window, lake.newest(), &mut found));
    lake.publish(sample_rows(6));
    assert!(read_window(&mut window, lake.newest(), &mut found));
    assert_eq!(found.len() - want.len(), 41, "all of a manifest that has a time");
    assert_eq!(window.state().published, lake.newest());

    let mut names = Window::new(lake.lake.clone(), 60 * MINUTE_MS, false);
    assert!(
        names
            .read(lake.newest(), &mut |row| {
                let WindowRow::Certificate(row) = row else { panic!("the lake has no entries") };
                assert_eq!((row.names().count(), row.registered_domains().next().is_some()), (0, true));
            })
            .unwrap()
    );
}

#[test]
fn a_window_whose_horizon_goes_back_ends() {
    let mut lake = TestLake::new("0b");
    publish_far_ahead(&mut lake, 500, 1);
    let mut window = Window::new(lake.lake.clone(), 60 * MINUTE_MS, true);
    assert!(read_window(&mut window, lake.newest(), &mut BTreeMap::new()));
    lake.publish(sample_rows(0));
    assert!(!read_window(&mut window, lake.newest(), &mut BTreeMap::new()));
}

// ---- between us and a server: a proxy that spoils things

/// What becomes of what the server says.
#[derive(Clone, Debug)]
enum Fault {
    None,
    /// Connections end at once.
    Refuse,
    /// Connections are taken, and nothing is ever said.
    Hang,
    /// Answers are late.
    Late(Duration),
    /// Answers come a byte at a time.
    Drip(Duration),
    /// After so many bytes of answers the connection ends.
    Cut(usize),
    /// After so many bytes of answers the rest is kept back.
    Stall(usize),
    /// These bytes come instead of answers, as often as something is asked.
    Say(Vec<u8>),
    /// These bytes come without end.
    Flood(Vec<u8>),
}

struct Proxy {
    port: u16,
    fault: Arc<Mutex<Fault>>,
    connections: Arc<Mutex<Vec<TcpStream>>>,
}

impl Proxy {
    /// Its thread ends with the process.
    fn start(server: &RedisServer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let fault = Arc::new(Mutex::new(Fault::None));
        let connections = Arc::new(Mutex::new(Vec::new()));
        let (shared, opened, socket) = (Arc::clone(&fault), Arc::clone(&connections), server.socket());
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let client = client.unwrap();
                opened.lock().unwrap().push(client.try_clone().unwrap());
                let (fault, socket) = (shared.lock().unwrap().clone(), socket.clone());
                // Whatever goes wrong is what is wanted.
                std::thread::spawn(move || _ = Self::serve(&client, &fault, &socket));
            }
        });
        Self { port, fault, connections }
    }

    fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Open connections end, new ones fare so.
    fn set(&self, fault: Fault) {
        *self.fault.lock().unwrap() = fault;
        for connection in self.connections.lock().unwrap().drain(..) {
            let _ = connection.shutdown(Shutdown::Both);
        }
    }

    fn serve(client: &TcpStream, fault: &Fault, socket: &Path) -> std::io::Result<()> {
        let (mut from, mut to) = (client, client);
        let mut buffer = vec![0; 1 << 16];
        match fault {
            Fault::Refuse => return client.shutdown(Shutdown::Both),
            Fault::Hang => loop {
                if from.read(&mut buffer)? == 0 {
                    return Ok(());
                }
            },
            Fault::Say(bytes) => {
                while from.read(&mut buffer)? > 0 {
                    to.write_all(bytes)?;
                }
                return Ok(());
            }
            Fault::Flood(bytes) => loop {
                to.write_all(bytes)?;
            },
            _ => {}
        }
        let server = UnixStream::connect(socket)?;
        let (mut asked, mut questions) = (server.try_clone()?, client.try_clone()?);
        std::thread::spawn(move || {
            let _ = std::io::copy(&mut questions, &mut asked);
            let _ = asked.shutdown(Shutdown::Both);
        });
        let mut said = 0;
        loop {
            let bytes = (&server).read(&mut buffer)?;
            if bytes == 0 {
                return client.shutdown(Shutdown::Both);
            }
            match fault {
                Fault::Late(pause) => std::thread::sleep(*pause),
                Fault::Drip(pause) => {
                    for byte in &buffer[..bytes] {
                        std::thread::sleep(*pause);
                        to.write_all(std::slice::from_ref(byte))?;
                    }
                    continue;
                }
                Fault::Cut(after) if said + bytes > *after => {
                    to.write_all(&buffer[..*after - said])?;
                    return client.shutdown(Shutdown::Both);
                }
                Fault::Stall(after) if said + bytes > *after => {
                    to.write_all(&buffer[..*after - said])?;
                    std::thread::sleep(SECONDS_30);
                    return Ok(());
                }
                _ => {}
            }
            said += bytes;
            to.write_all(&buffer[..bytes])?;
        }
    }
}

/// With this fault hot state is away, the lake is published to as if nothing were, and later hot state is level.
#[track_caller]
fn check_fault(fault: &Fault, words: &str) {
    let Some(server) = RedisServer::start() else { return };
    let proxy = Proxy::start(&server);
    let kind = Kind::Redis(server);
    let mut lake = TestLake::new("12");
    lake.publish(sample_rows(0));
    let options = HotOptions { timeout: Duration::from_millis(200), ..small() };
    let hot = hot::open(&proxy.url(), &lake.lake, options.clone()).unwrap();
    let applier = Applier::start(lake.lake.clone(), hot, quick());
    wait_for(|| applier.report().converged);
    proxy.set(fault.clone());
    for manifest in 1..5 {
        let start = Instant::now();
        applier.published(lake.publish(sample_rows(manifest)));
        assert!(start.elapsed() < Duration::from_secs(5), "publishing waits for nobody");
    }
    // The first error is that of the connection that was cut.
    wait_for(|| applier.report().errors >= 3);
    let report = applier.report();
    let line = report.last_error.unwrap();
    assert!(!report.converged && line.contains(words) && line.len() < 400 && !line.contains('\n'), "{fault:?}: {line}");
    // Whoever asks is answered, in time: ten time-outs are the most.
    let mut asked = hot::open(&proxy.url(), &lake.lake, options.clone()).unwrap().unwrap();
    let start = Instant::now();
    let answer = asked.applied();
    assert!(start.elapsed() < Duration::from_secs(3), "{fault:?}: {:?} {answer:?}", start.elapsed());
    proxy.set(Fault::None);
    let report = applier.finish(SECONDS_30);
    assert!(report.converged && report.applied == 5, "{fault:?}: {report:?}");
    check_shown(&kind, &lake, &small());
}

#[test]
fn redis_that_ends_every_connection() {
    check_fault(&Fault::Refuse, "");
}
#[test]
fn redis_that_never_answers() {
    check_fault(&Fault::Hang, "did not answer in time");
}
#[test]
fn redis_that_answers_too_late() {
    check_fault(&Fault::Late(Duration::from_millis(400)), "did not answer in time");
}
#[test]
fn redis_that_drips() {
    check_fault(&Fault::Drip(Duration::from_millis(50)), "did not answer in time");
}
#[test]
fn redis_cut_in_the_first_answer() {
    check_fault(&Fault::Cut(3), "ended the connection");
}
#[test]
fn redis_cut_in_the_middle() {
    check_fault(&Fault::Cut(3_000), "ended the connection");
}
#[test]
fn redis_that_falls_silent_in_the_middle() {
    check_fault(&Fault::Stall(3_000), "did not answer in time");
}
#[test]
fn redis_that_is_loading() {
    check_fault(&Fault::Say(b"-LOADING Redis is loading the dataset in memory\r\n".to_vec()), "loading the dataset");
}
#[test]
fn redis_of_a_cluster() {
    check_fault(&Fault::Say(b"-MOVED 3999 127.0.0.1:6381\r\n".to_vec()), "a node of a Redis Cluster");
}
#[test]
fn something_that_is_no_redis() {
    check_fault(&Fault::Say(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()), "not RESP");
}
#[test]
fn lengths_that_lie() {
    for answer in [
        "*4611686018427387904\r\n",
        "$9223372036854775807\r\n",
        "*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n",
    ] {
        check_fault(&Fault::Say(answer.as_bytes().to_vec()), "");
    }
}
#[test]
fn answers_without_end() {
    check_fault(&Fault::Flood(b"x".repeat(1 << 16)), "too long");
    check_fault(&Fault::Flood(b":1\r\n".repeat(1 << 14)), "");
    check_fault(&Fault::Flood([b"*2000000000\r\n".to_vec(), b":1\r\n".repeat(1 << 14)].concat()), "");
}
#[test]
fn answers_of_another_kind() {
    check_fault(&Fault::Say(b":1\r\n".to_vec()), "");
    check_fault(&Fault::Say(b"*0\r\n+OK\r\n".to_vec()), "");
}

#[test]
fn a_rebuild_leaves_nothing_of_before() {
    let Some(server) = RedisServer::start() else { return };
    let kind = Kind::Redis(server);
    let Kind::Redis(server) = &kind else { unreachable!() };
    let options = HotOptions { prefix: "h[o]t*:".to_owned(), ..small() };
    let mut other = TestLake::new("16");
    other.publish(sample_rows(9));
    follow(&kind, &other, &options);
    for key in ["h[o]t*:cert:stray", "h[o]t*:domain:stray", "hot:cert:theirs", "h[o]t*:theirs"] {
        server.run::<()>("HSET", &[key, "field", "value"]);
    }
    let lake = TestLake::sample();
    hot::rebuild(&lake.lake, kind.open(&lake, &options)).unwrap();
    check_shown(&kind, &lake, &options);
    let keys: BTreeSet<String> = server.run("KEYS", &["*"]);
    let shown = expected(&lake, &options);
    assert_eq!(keys.len(), shown.certs.len() + shown.domains.len() + 6 + 2, "{keys:?}");
    assert!(keys.contains("hot:cert:theirs") && keys.contains("h[o]t*:theirs"));
}

/// An attempt by an earlier horizon must not leave what a later one would not show.
#[test]
fn what_expired_between_two_attempts_is_not_shown() {
    let Some(server) = RedisServer::start() else { return };
    let kind = Kind::Redis(server);
    let mut lake = TestLake::new("17");
    lake.publish(sample_rows(0));
    follow(&kind, &lake, &small());
    lake.publish(sample_rows(1));
    apply_part(&mut *kind.open(&lake, &small()), &lake, 3).unwrap();
    for manifest in 2..6 {
        lake.publish(sample_rows(manifest));
    }
    assert_eq!(follow(&kind, &lake, &small()).rebuilds, 0);
    check_shown(&kind, &lake, &small());
}

#[test]
fn redis_that_is_slow_is_followed_all_the_same() {
    let Some(server) = RedisServer::start() else { return };
    let proxy = Proxy::start(&server);
    proxy.set(Fault::Late(Duration::from_millis(20)));
    let kind = Kind::Redis(server);
    let lake = TestLake::sample();
    let hot = hot::open(&proxy.url(), &lake.lake, small()).unwrap();
    let report = Applier::start(lake.lake.clone(), hot, quick()).finish(SECONDS_30);
    assert!(report.converged && report.errors == 0, "{report:?}");
    check_shown(&kind, &lake, &small());
}

#[test]
fn redis_cut_anywhere_converges() {
    let Some(server) = RedisServer::start() else { return };
    let proxy = Proxy::start(&server);
    let kind = Kind::Redis(server);
    let mut lake = TestLake::new("13");
    // Each try gets a little further.
    for (manifest, after) in [(0, 1), (1, 200), (2, 2_000), (3, 4_000), (4, 6_000), (5, 9_000)] {
        lake.publish(sample_rows(manifest));
        proxy.set(Fault::Cut(after));
        let hot = hot::open(&proxy.url(), &lake.lake, small()).unwrap();
        let applier = Applier::start(lake.lake.clone(), hot, quick());
        wait_for(|| applier.report().errors >= 2 || applier.report().converged);
        drop(applier);
    }
    proxy.set(Fault::None);
    follow(&kind, &lake, &small());
    check_shown(&kind, &lake, &small());
}

#[test]
fn a_replica_is_away_until_it_takes_writes() {
    let Some(server) = RedisServer::start() else { return };
    let kind = Kind::Redis(server);
    let Kind::Redis(server) = &kind else { unreachable!() };
    let mut lake = TestLake::new("14");
    lake.publish(sample_rows(0));
    follow(&kind, &lake, &small());
    // Nobody is there to be followed: it keeps what it has, and is read-only.
    server.run::<()>("REPLICAOF", &["127.0.0.1", "1"]);
    lake.publish(sample_rows(1));
    let applier = Applier::start(lake.lake.clone(), Some(kind.open(&lake, &small())), quick());
    wait_for(|| applier.report().errors >= 2);
    let line = applier.report().last_error.unwrap();
    assert!(line.to_lowercase().contains("read only replica"), "{line}");
    server.run::<()>("REPLICAOF", &["NO", "ONE"]);
    let report = applier.finish(SECONDS_30);
    assert!(report.converged && report.rebuilds == 0, "{report:?}");
    check_shown(&kind, &lake, &small());
}

#[test]
fn redis_that_fills_up_in_the_middle() {
    let Some(server) = RedisServer::start() else { return };
    let kind = Kind::Redis(server);
    let Kind::Redis(server) = &kind else { unreachable!() };
    let lake = TestLake::sample();
    server.run::<()>("CONFIG", &["SET", "maxmemory-policy", "noeviction"]);
    let info: String = server.run("INFO", &["memory"]);
    let used = info.lines().find_map(|line| line.strip_prefix("used_memory:")).unwrap();
    let some = used.trim().parse::<u64>().unwrap() + (150 << 10);
    server.run::<()>("CONFIG", &["SET", "maxmemory", &some.to_string()]);
    let applier = Applier::start(lake.lake.clone(), Some(kind.open(&lake, &small())), quick());
    wait_for(|| applier.report().errors >= 2);
    assert!(applier.report().last_error.unwrap().contains("OOM"));
    server.run::<()>("CONFIG", &["SET", "maxmemory", "0"]);
    assert!(applier.finish(SECONDS_30).converged);
    check_shown(&kind, &lake, &small());
}

/// What an account needs; `docs/contracts.md` has it for those who set one up.
const PERMISSIONS: &[&str] = &[
    "resetchannels",
    "~ct:*",
    "-@all",
    "+multi",
    "+exec",
    "+watch",
    "+unwatch",
    "+select",
    "+hset",
    "+hget",
    "+hgetall",
    "+del",
    "+unlink",
    "+pexpire",
    "+zadd",
    "+zremrangebyrank",
    "+zremrangebyscore",
    "+zrevrangebyscore",
    "+xadd",
    "+xrevrange",
    "+scan",
];

#[test]
fn an_account_with_few_permissions_is_enough() {
    let Some(server) = RedisServer::start() else { return };
    let proxy = Proxy::start(&server);
    let kind = Kind::Redis(server);
    let Kind::Redis(server) = &kind else { unreachable!() };
    server.run::<()>("ACL", &[&["SETUSER", "ct", "on", ">p@ss/w?rd"], PERMISSIONS].concat());
    let lake = TestLake::sample();
    let try_out = |user: &str, options: &HotOptions| {
        let url = format!("redis://{user}@127.0.0.1:{}", proxy.port);
        hot::open_server(&url, options.clone()).unwrap().try_out()
    };
    let good = "ct:p%40ss%2Fw%3Frd";
    try_out(good, &small()).unwrap();
    let report = Applier::start(
        lake.lake.clone(),
        hot::open(&format!("redis://{good}@127.0.0.1:{}", proxy.port), &lake.lake, small()).unwrap(),
        quick(),
    )
    .finish(SECONDS_30);
    assert!(report.converged && report.errors == 0, "{report:?}");
    // The same account over the socket; the proxy's account for other keys.
    let by_socket = format!("{}?user=ct&pass=p%40ss%2Fw%3Frd", server.url());
    assert_eq!(hot::open_server(&by_socket, small()).unwrap().applied().unwrap().unwrap().sequence, 6);
    let elsewhere = HotOptions { prefix: "other:".to_owned(), ..small() };
    for (user, options, words) in [
        (good, &elsewhere, "no permissions"),
        ("ct:wrong", &small(), "WRONGPASS"),
        ("nobody:p%40ss%2Fw%3Frd", &small(), "WRONGPASS"),
    ] {
        let error = try_out(user, options).unwrap_err();
        let line = format!("{error}: {}", std::error::Error::source(&error).unwrap());
        assert!(line.contains(words) && !line.contains("p@ss"), "{line}");
    }
    // What the account sees is what all see.
    check_shown(&kind, &lake, &small());
    let keys: BTreeSet<String> = server.run("KEYS", &["*check*"]);
    assert_eq!(keys, BTreeSet::new(), "trying out leaves nothing");
}

/// Servers on ports, as Sentinels know them.
struct Fleet {
    folder: TempDir,
    children: Vec<Child>,
}

impl Drop for Fleet {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl Fleet {
    fn start(&mut self, name: &str, lines: &[String], flags: &[&str]) {
        let folder = self.folder.path().join(name);
        std::fs::create_dir(&folder).unwrap();
        let file = folder.join("redis.conf");
        std::fs::write(&file, lines.join("\n")).unwrap();
        let child = Command::new("redis-server")
            .arg(&file)
            .args(flags)
            .current_dir(&folder)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        self.children.push(child.unwrap());
    }
}

fn ask<T: redis::FromRedisValue>(port: u16, command: &str, args: &[&str]) -> redis::RedisResult<T> {
    let mut connection = redis::Client::open(format!("redis://:hush@127.0.0.1:{port}"))?.get_connection()?;
    redis::cmd(command).arg(args).query(&mut connection)
}

#[test]
fn sentinels_lead_to_the_server_that_takes_writes() {
    if RedisServer::start().is_none() {
        return;
    }
    let [first, second, sentinel] = [free_port(), free_port(), free_port()];
    let mut fleet = Fleet { folder: tempfile::tempdir().unwrap(), children: Vec::new() };
    let server = |port: u16, more: &str| {
        let text = format!("port {port}\nbind 127.0.0.1\nsave \"\"\nrequirepass hush\nmasterauth hush\n{more}");
        [text + "\nrepl-diskless-sync-delay 0"]
    };
    fleet.start("first", &server(first, ""), &[]);
    fleet.start("second", &server(second, &format!("replicaof 127.0.0.1 {first}")), &[]);
    wait_for(|| {
        ask::<String>(second, "INFO", &["replication"]).is_ok_and(|info| info.contains("master_link_status:up"))
    });
    let lines = format!(
        "port {sentinel}\nbind 127.0.0.1\nsentinel monitor lead 127.0.0.1 {first} 1\nsentinel auth-pass lead hush\n\
         sentinel down-after-milliseconds lead 300\nsentinel failover-timeout lead 2000\nrequirepass watch"
    );
    fleet.start("sentinel", &[lines], &["--sentinel"]);

    let dead = free_port();
    let url = format!("redis+sentinel://:hush@127.0.0.1:{dead},127.0.0.1:{sentinel}/lead?pass=watch");
    let mut lake = TestLake::new("15");
    lake.publish(sample_rows(0));
    let applier = Applier::start(lake.lake.clone(), hot::open(&url, &lake.lake, small()).unwrap(), quick());
    wait_for(|| applier.report().converged);
    let wrong = url.replace("/lead", "/another");
    let error = hot::open_server(&wrong, small()).unwrap().try_out().unwrap_err();
    let line = std::error::Error::source(&error).unwrap().to_string();
    assert!(line.contains("knows no server of this name"), "{line}");

    // The Sentinel has to know of the replica before it can promote it.
    let replicas = || {
        let mut at =
            redis::Client::open(format!("redis://:watch@127.0.0.1:{sentinel}")).unwrap().get_connection().ok()?;
        redis::cmd("INFO").arg("sentinel").query::<String>(&mut at).ok()
    };
    wait_for(|| replicas().is_some_and(|info| info.contains("slaves=1")));
    fleet.children[0].kill().unwrap();
    fleet.children[0].wait().unwrap();
    applier.published(lake.publish(sample_rows(1)));
    wait_for(|| applier.report().converged);
    applier.published(lake.publish(sample_rows(2)));
    let report = applier.finish(SECONDS_30);
    assert!(report.converged && report.errors > 0, "{report:?}");
    assert_eq!(ask::<String>(second, "HGET", &["ct:state", "published"]).unwrap(), "3");
    let (is, want) = (shown(&mut *hot::open_server(&url, small()).unwrap(), &lake), expected(&lake, &small()));
    assert_eq!(is, want);
}

#[track_caller]
fn wait_for(done: impl Fn() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < SECONDS_30, "waited too long");
        std::thread::sleep(Duration::from_millis(5));
    }
}
