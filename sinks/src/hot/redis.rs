//! Hot state in Redis 6.2 or newer, or a server that speaks like it.
//!
//! | key | type | what |
//! |---|---|---|
//! | `ct:cert:<sha256>` | hash | the certificate; lives `seen + ttl - horizon` of server time from its writing |
//! | `ct:domain:<registered domain>` | sorted set | fingerprints by `seen` (ms), newest `per_domain`; lives `ttl` after a write |
//! | `ct:findings` | stream | ids `<sequence>-<rank>`, newest `findings_max` |
//! | `ct:findings:new` | stream | findings of a live job as they are made, before they are published; about as many |
//! | `ct:stats:<name>` | hash | absolute counters |
//! | `ct:state` | hash | what is applied |
//! | `ct:view:…`, `ct:top:…`, `ct:issuances`, `ct:watch:…` | hash, sorted set | views, as their writer names them |
//!
//! Writes go out in transactions of at most [`COMMANDS_MAX`] commands, so that a cut connection leaves no key without
//! its expiry. A life is given to the server as a length, not as a date: its clock and ours need not agree, and no
//! repeat makes a life longer than the TTL.
//!
//! Whatever goes wrong with the server (refused, hung, full, read-only, loading) is one thing: it is away.
//! The connection is dropped and the next call makes a new one.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use ct_model::{IdKind, Timestamp};
use redis::{Cmd, ErrorKind, FromRedisValue, Pipeline, RedisError, ServerErrorKind, Value};

use crate::error::SinkError;
use crate::hot::place::Place;
use crate::hot::resp::Wire;
use crate::hot::row::{CERTIFICATE_COLUMNS, Cells, CertificateKeys, HotRow, kind_rank};
use crate::hot::stats::{Counters, Stats};
use crate::hot::views::{self, Fields, ViewChanges, ViewValue};
use crate::hot::{Applied, HotFinding, HotOptions, HotState, Piece, State, redacted};
use crate::manifest::Manifest;

/// Commands in a transaction.
const COMMANDS_MAX: usize = 500;
/// Bytes in a transaction, about: one command may be as large as a certificate with thousands of names.
const BYTES_MAX: usize = 1 << 20;
/// Keys looked at in a step over all of them.
const SCAN_COUNT: &str = "1000";
/// Findings asked for at once.
const FINDINGS_PAGE: usize = 1_000;
/// Fields in one command.
const FIELDS_MAX: usize = 500;
/// Commands that a view of some thousands of fields takes.
const VIEW_COMMANDS: usize = 32;

pub(crate) struct Redis {
    place: Place,
    wire: Option<Wire>,
    options: HotOptions,
    applying: Option<Applying>,
}

struct Applying {
    manifest: Manifest,
    horizon_ms: Option<i64>,
}

/// Commands on their way.
#[derive(Default)]
struct Batch {
    pipeline: Pipeline,
    bytes: usize,
}

impl Batch {
    fn push(&mut self, command: Cmd) {
        self.bytes += command.args_iter().map(|arg| arg_bytes(&arg)).sum::<usize>();
        self.pipeline.add_command(command);
    }

    /// Whether `commands` more, of about `bytes`, belong in the next one.
    fn is_full_for(&self, commands: usize, bytes: usize) -> bool {
        !self.pipeline.is_empty() && (self.pipeline.len() + commands > COMMANDS_MAX || self.bytes + bytes > BYTES_MAX)
    }
}

fn arg_bytes(arg: &redis::Arg<&[u8]>) -> usize {
    match arg {
        redis::Arg::Simple(bytes) => bytes.len() + 8,
        redis::Arg::Cursor => 8,
        _ => 8,
    }
}

impl Redis {
    pub(crate) fn open(url: &str, options: HotOptions) -> Result<Self, SinkError> {
        let place = Place::of(url).map_err(|why| SinkError::Url { url: redacted(url), why })?;
        Ok(Self { place, wire: None, options, applying: None })
    }

    fn key(&self, name: &str) -> String {
        format!("{}{name}", self.options.prefix)
    }

    fn connect(&mut self) -> Result<&mut Wire, RedisError> {
        let wire = match self.wire.take() {
            Some(wire) => wire,
            None => self.place.connect(self.options.timeout.max(Duration::from_millis(1)))?,
        };
        Ok(self.wire.insert(wire))
    }

    /// Sends packed commands and takes the answer to each, errors of the server among them.
    fn exchange(&mut self, packed: &[u8], answers: usize) -> Result<Vec<Value>, RedisError> {
        let result = self.connect().and_then(|wire| wire.exchange(packed, answers));
        if result.is_err() {
            self.wire = None;
        }
        result
    }

    fn query<T: FromRedisValue>(&mut self, action: &'static str, command: &Cmd) -> Result<T, SinkError> {
        let away = |error: RedisError| away(action, error);
        let value = self.exchange(&command.get_packed_command(), 1).map_err(away)?.pop().expect("one answer was taken");
        let value = value.extract_error().map_err(away)?;
        redis::from_redis_value(value).map_err(|error| away(error.into()))
    }

    /// Sends commands that only read; one answer for each.
    fn read_all<T: FromRedisValue>(&mut self, action: &'static str, commands: &[Cmd]) -> Result<Vec<T>, SinkError> {
        let away = |error: RedisError| away(action, error);
        let mut out = Vec::with_capacity(commands.len());
        for commands in commands.chunks(COMMANDS_MAX) {
            let packed: Vec<u8> = commands.iter().flat_map(Cmd::get_packed_command).collect();
            for value in self.exchange(&packed, commands.len()).map_err(away)? {
                let value = value.extract_error().map_err(away)?;
                out.push(redis::from_redis_value(value).map_err(|error| away(error.into()))?);
            }
        }
        Ok(out)
    }

    /// Runs a batch as one transaction and empties it; `false` when a watched key had changed.
    fn write(&mut self, action: &'static str, batch: &mut Batch) -> Result<bool, SinkError> {
        if batch.pipeline.is_empty() {
            return Ok(true);
        }
        let away = |error: RedisError| away(action, error);
        let packed = batch.pipeline.atomic().get_packed_pipeline();
        // MULTI, one QUEUED each, EXEC.
        let answers = self.exchange(&packed, batch.pipeline.len() + 2);
        *batch = Batch::default();
        let mut answers = answers.map_err(&away)?;
        let executed = answers.pop().expect("two more answers than commands were taken");
        // A command that was not queued says why; EXEC then only says that it was aborted.
        for queued in answers {
            queued.extract_error().map_err(away)?;
        }
        match executed {
            Value::ServerError(error) => Err(away(error.into())),
            Value::Nil => Ok(false),
            Value::Array(results) => {
                for result in results {
                    if let Value::ServerError(error) = result
                        && !is_repeated_id(&error)
                    {
                        return Err(away(error.into()));
                    }
                }
                Ok(true)
            }
            _ => Err(away((ErrorKind::UnexpectedReturnType, "EXEC did not answer with a list").into())),
        }
    }

    /// Fingerprints among `claims` of which Redis shows something better than a claim.
    fn proven<'a>(&mut self, claims: &[&'a str]) -> Result<HashSet<&'a str>, SinkError> {
        let prefix = self.key("cert:");
        let commands: Vec<Cmd> =
            claims.iter().map(|sha256| command("HGET", &[&format!("{prefix}{sha256}"), "id_kind"])).collect();
        let kinds: Vec<Option<String>> = self.read_all("reading certificates", &commands)?;
        let proof = kind_rank(IdKind::Der.as_str());
        let proven = |kind: &Option<String>| kind.as_deref().is_some_and(|kind| kind_rank(kind) <= proof);
        Ok(claims.iter().zip(&kinds).filter(|(_, kind)| proven(kind)).map(|(sha256, _)| *sha256).collect())
    }

    /// Without a horizon nothing has expired.
    pub(crate) fn apply_certificates(
        &mut self,
        path: &str,
        rows: &arrow_array::RecordBatch,
        horizon: Option<i64>,
    ) -> Result<(), SinkError> {
        const ACTION: &str = "writing certificates";
        let horizon_ms = horizon.unwrap_or(i64::MIN);
        let expired_ms = self.options.expired_ms(horizon);
        let ttl_ms = self.options.ttl_ms();
        let keys = CertificateKeys::of(rows);
        let cells = Cells::of(rows, path)?;
        let live = |row| keys.key(row).filter(|&(_, seen_ms)| seen_ms > expired_ms);

        // A proof replaces a claim; a claim does not replace a proof, neither one of Redis nor one of this batch.
        let is_proof = |row| kind_rank(keys.id_kind(row)) == kind_rank(IdKind::Der.as_str());
        let (mut proofs, mut claims) = (HashSet::new(), Vec::new());
        for row in 0..rows.num_rows() {
            match live(row) {
                Some((sha256, _)) if is_proof(row) => _ = proofs.insert(sha256),
                Some((sha256, _)) => claims.push(sha256),
                None => {}
            }
        }
        if claims.is_empty() {
            proofs.clear();
        } else {
            proofs.extend(self.proven(&claims)?);
        }

        let prefix = self.key("cert:");
        let mut batch = Batch::default();
        let mut domains: BTreeMap<&str, Vec<(i64, &str)>> = BTreeMap::new();
        let mut scratch = String::new();
        for row in 0..rows.num_rows() {
            let Some((sha256, seen_ms)) = live(row) else { continue };
            for domain in keys.domains(row) {
                domains.entry(domain).or_default().push((seen_ms, sha256));
            }
            if !is_proof(row) && proofs.contains(sha256) {
                continue;
            }
            let key = format!("{prefix}{sha256}");
            let mut hset = redis::cmd("HSET");
            hset.arg(&key);
            cells.for_each(row, &mut scratch, |name, text| _ = hset.arg(name).arg(text));
            let life_ms = seen_ms.saturating_add(ttl_ms).saturating_sub(horizon_ms).min(ttl_ms);
            let size = hset.args_iter().map(|arg| arg_bytes(&arg)).sum();
            if batch.is_full_for(3, size) {
                self.write(ACTION, &mut batch)?;
            }
            batch.push(command("DEL", &[&key]));
            batch.push(hset);
            batch.push(command("PEXPIRE", &[&key, &life_ms.to_string()]));
        }
        self.push_domains(ACTION, &mut batch, domains)?;
        self.write(ACTION, &mut batch)?;
        Ok(())
    }

    fn push_domains(
        &mut self,
        action: &'static str,
        batch: &mut Batch,
        domains: BTreeMap<&str, Vec<(i64, &str)>>,
    ) -> Result<(), SinkError> {
        let prefix = self.key("domain:");
        let ttl_ms = self.options.ttl_ms().to_string();
        // Ranks are counted from the oldest; equal `seen` are ordered by fingerprint.
        let last_cut = (-1 - i64::try_from(self.options.per_domain).unwrap_or(i64::MAX - 1)).to_string();
        for (domain, mut members) in domains {
            members.sort_unstable_by(|a, b| b.cmp(a));
            members.dedup();
            members.truncate(self.options.per_domain);
            let key = format!("{prefix}{domain}");
            for members in members.chunks(FIELDS_MAX) {
                let mut zadd = redis::cmd("ZADD");
                zadd.arg(&key).arg("GT");
                for (seen_ms, sha256) in members {
                    zadd.arg(seen_ms).arg(*sha256);
                }
                let size = zadd.args_iter().map(|arg| arg_bytes(&arg)).sum();
                if batch.is_full_for(3, size) {
                    self.write(action, batch)?;
                }
                batch.push(zadd);
                batch.push(command("ZREMRANGEBYRANK", &[&key, "0", &last_cut]));
                batch.push(command("PEXPIRE", &[&key, &ttl_ms]));
            }
        }
        Ok(())
    }

    fn apply_findings(
        &mut self,
        path: &str,
        first_rank: u64,
        rows: &arrow_array::RecordBatch,
    ) -> Result<(), SinkError> {
        let sequence = self.applying.as_ref().expect("begin comes before apply").manifest.sequence;
        let id_of = |row| format!("{sequence}-{}", first_rank + row as u64);
        self.add_findings("writing findings", "findings", "=", path, rows, id_of)
    }

    /// Adds findings to the stream of those that may not be published so far, under ids of the server.
    pub(crate) fn announce_findings(&mut self, rows: &arrow_array::RecordBatch) -> Result<(), SinkError> {
        self.add_findings("announcing findings", "findings:new", "~", "an announcement", rows, |_| "*".to_owned())
    }

    /// Adds rows to a stream of at most (`=`) or about (`~`) `findings_max`.
    fn add_findings(
        &mut self,
        action: &'static str,
        stream: &str,
        bound: &str,
        path: &str,
        rows: &arrow_array::RecordBatch,
        id_of: impl Fn(usize) -> String,
    ) -> Result<(), SinkError> {
        let key = self.key(stream);
        let findings_max = self.options.findings_max.to_string();
        let cells = Cells::of(rows, path)?;
        let (mut batch, mut scratch) = (Batch::default(), String::new());
        for row in 0..rows.num_rows() {
            let mut xadd = command("XADD", &[&key, "MAXLEN", bound, &findings_max, &id_of(row)]);
            cells.for_each(row, &mut scratch, |name, text| _ = xadd.arg(name).arg(text));
            let size = xadd.args_iter().map(|arg| arg_bytes(&arg)).sum();
            if batch.is_full_for(1, size) {
                self.write(action, &mut batch)?;
            }
            batch.push(xadd);
        }
        self.write(action, &mut batch)?;
        Ok(())
    }

    /// Removes what the horizon passed faster than the server's clock did.
    fn apply_passed(&mut self, before_ms: i64, rows: &arrow_array::RecordBatch) -> Result<(), SinkError> {
        const ACTION: &str = "removing expired certificates";
        let applying = self.applying.as_ref().expect("begin comes before apply");
        let expired_ms = self.options.expired_ms(applying.horizon_ms);
        let keys = CertificateKeys::of(rows);
        let (certs, domains) = (self.key("cert:"), self.key("domain:"));
        let passed = |row| keys.key(row).filter(|&(_, seen_ms)| before_ms < seen_ms && seen_ms <= expired_ms);
        let mut expired = HashMap::new();
        let mut touched = HashSet::new();
        for row in 0..rows.num_rows() {
            let Some((sha256, _)) = passed(row) else { continue };
            let key = format!("{certs}{sha256}");
            expired.entry(sha256).or_insert(key);
            touched.extend(keys.domains(row));
        }
        // A younger row of the same fingerprint keeps the key. Written times have one width, so text order is theirs.
        let (expired, reads): (Vec<_>, Vec<_>) = expired
            .into_values()
            .map(|key| {
                let read = command("HGET", &[&key, "seen"]);
                (key, read)
            })
            .unzip();
        let seen: Vec<Option<String>> = self.read_all("reading certificates", &reads)?;
        let first_live = Timestamp(expired_ms.saturating_add(1).saturating_mul(1_000)).to_string();

        let mut batch = Batch::default();
        let gone = expired.iter().zip(&seen).filter(|(_, seen)| seen.as_ref().is_some_and(|seen| *seen < first_live));
        for (key, _) in gone {
            if batch.is_full_for(1, key.len()) {
                self.write(ACTION, &mut batch)?;
            }
            batch.push(command("UNLINK", &[key]));
        }
        let expired_ms = expired_ms.to_string();
        for domain in touched {
            if batch.is_full_for(1, domain.len()) {
                self.write(ACTION, &mut batch)?;
            }
            batch.push(command("ZREMRANGEBYSCORE", &[&format!("{domains}{domain}"), "-inf", &expired_ms]));
        }
        self.write(ACTION, &mut batch)?;
        Ok(())
    }

    /// The `seen` (milliseconds) up to which everything has expired, by the horizon on record.
    fn expired_ms(&mut self) -> Result<i64, SinkError> {
        let horizon_ms = State::read(&self.state()?).and_then(|state| state.horizon_ms);
        Ok(self.options.expired_ms(horizon_ms))
    }
}

impl HotState for Redis {
    fn options(&self) -> &HotOptions {
        &self.options
    }

    fn applied(&mut self) -> Result<Option<Applied>, SinkError> {
        Ok(State::read(&self.state()?).and_then(|state| state.applied(&self.options)))
    }

    fn reset(&mut self, lake: &str) -> Result<(), SinkError> {
        self.applying = None;
        let mut batch = Batch::default();
        batch.push(command("DEL", &[&self.key("findings")]));
        for name in Stats::NAMES {
            batch.push(command("DEL", &[&self.key(&format!("stats:{name}"))]));
        }
        push_hash(&mut batch, &self.key("state"), &State::empty(lake, &self.options).fields());
        self.write("resetting", &mut batch)?;
        Ok(())
    }

    fn clear(&mut self) -> Result<(), SinkError> {
        const ACTION: &str = "emptying";
        // A prefix is no pattern.
        let mut pattern = String::new();
        for char in self.options.prefix.chars() {
            if matches!(char, '*' | '?' | '[' | ']' | '^' | '-' | '\\') {
                pattern.push('\\');
            }
            pattern.push(char);
        }
        pattern.push('*');
        let ours = ["cert:", "domain:", "findings:new", "view:", "top:", "watch:", "issuances"];
        let ours = ours.map(|name| self.key(name).into_bytes());
        let mut cursor = "0".to_owned();
        loop {
            let scan = command("SCAN", &[&cursor, "MATCH", &pattern, "COUNT", SCAN_COUNT]);
            let (next, keys): (String, Vec<Vec<u8>>) = self.query(ACTION, &scan)?;
            let mut batch = Batch::default();
            for key in keys.iter().filter(|key| ours.iter().any(|ours| key.starts_with(ours))) {
                if batch.is_full_for(1, key.len()) {
                    self.write(ACTION, &mut batch)?;
                }
                let mut unlink = redis::cmd("UNLINK");
                unlink.arg(key);
                batch.push(unlink);
            }
            self.write(ACTION, &mut batch)?;
            if next == "0" {
                return Ok(());
            }
            cursor = next;
        }
    }

    fn certificate_columns(&self) -> &'static [&'static str] {
        CERTIFICATE_COLUMNS
    }

    fn wants_copies(&self) -> bool {
        true
    }

    fn begin(&mut self, manifest: &Manifest, horizon_ms: Option<i64>) -> Result<(), SinkError> {
        self.applying = Some(Applying { manifest: manifest.clone(), horizon_ms });
        Ok(())
    }

    fn apply(&mut self, piece: Piece<'_>) -> Result<(), SinkError> {
        match piece {
            Piece::Certificates { file, batch } => {
                let applying = self.applying.as_ref().expect("begin comes before apply");
                self.apply_certificates(&file.path, batch, applying.horizon_ms)
            }
            Piece::Findings { file, first_rank, batch } => self.apply_findings(&file.path, first_rank, batch),
            Piece::Passed { before_ms, batch } => self.apply_passed(before_ms, batch),
        }
    }

    fn finish(&mut self, stats: &Stats) -> Result<bool, SinkError> {
        const ACTION: &str = "recording what is applied";
        let Applying { manifest, horizon_ms } = self.applying.take().expect("begin comes before finish");
        let state_key = self.key("state");
        // From here to EXEC nobody else may touch the state, FLUSHALL included.
        self.query::<()>(ACTION, &command("WATCH", &[&state_key]))?;
        if !State::read(&self.state()?).is_some_and(|state| state.precedes(&manifest)) {
            self.query::<()>(ACTION, &command("UNWATCH", &[]))?;
            return Ok(false);
        }
        let mut batch = Batch::default();
        for (name, counters) in stats.named() {
            push_hash(&mut batch, &self.key(&format!("stats:{name}")), &counters);
        }
        push_hash(&mut batch, &state_key, &State::after(&manifest, horizon_ms, stats, &self.options).fields());
        self.write(ACTION, &mut batch)
    }

    /// A transaction of commands that are used anyway: it meets a wrong password, a missing permission, a replica, a
    /// full server, a cluster's node.
    fn try_out(&mut self) -> Result<(), SinkError> {
        let key = self.key("check");
        let mut batch = Batch::default();
        batch.push(command("HSET", &[&key, "by", "ct-stream check"]));
        batch.push(command("PEXPIRE", &[&key, "1000"]));
        batch.push(command("DEL", &[&key]));
        self.write("trying to write", &mut batch)?;
        Ok(())
    }

    fn cert(&mut self, sha256: &str) -> Result<Option<HotRow>, SinkError> {
        let key = self.key(&format!("cert:{sha256}"));
        let row: HotRow = self.query("reading a certificate", &command("HGETALL", &[&key]))?;
        Ok((!row.is_empty()).then_some(row))
    }

    fn domain(&mut self, registered_domain: &str) -> Result<Vec<(String, i64)>, SinkError> {
        let key = self.key(&format!("domain:{registered_domain}"));
        let after = format!("({}", self.expired_ms()?);
        let members: Vec<(String, f64)> =
            self.query("reading a domain", &command("ZREVRANGEBYSCORE", &[&key, "+inf", &after, "WITHSCORES"]))?;
        Ok(members.into_iter().map(|(sha256, seen_ms)| (sha256, seen_ms as i64)).collect())
    }

    fn findings(&mut self, limit: usize) -> Result<Vec<HotFinding>, SinkError> {
        let key = self.key("findings");
        let limit = limit.min(self.options.findings_max);
        let mut findings: Vec<HotFinding> = Vec::new();
        // In pages, because an answer has a bound.
        while findings.len() < limit {
            let count = (limit - findings.len()).min(FINDINGS_PAGE);
            let before = findings.last().map_or("+".to_owned(), |oldest| format!("({}", oldest.place));
            let page: Vec<(String, HotRow)> = self
                .query("reading findings", &command("XREVRANGE", &[&key, &before, "-", "COUNT", &count.to_string()]))?;
            let is_last = page.len() < count;
            findings.extend(page.into_iter().map(|(place, row)| HotFinding { place, row }));
            if is_last {
                break;
            }
        }
        Ok(findings)
    }

    fn stats(&mut self, name: &str) -> Result<Counters, SinkError> {
        self.query("reading counters", &command("HGETALL", &[&self.key(&format!("stats:{name}"))]))
    }

    fn state(&mut self) -> Result<BTreeMap<String, String>, SinkError> {
        self.query("reading what is applied", &command("HGETALL", &[&self.key("state")]))
    }

    fn set_views(&mut self, changes: &ViewChanges<'_>) -> Result<bool, SinkError> {
        const ACTION: &str = "writing views";
        let (state_key, keys_key) = (self.key(views::STATE), self.key(views::KEYS));
        let read_state = command("HGETALL", &[&state_key]);
        let mut batch = Batch::default();
        match changes.before {
            // Spares the writing; what decides comes at the end.
            Some(before) if self.query::<Fields>(ACTION, &read_state)? != *before => return Ok(false),
            Some(_) => {}
            None => {
                for name in self.view_names()?.iter().filter(|name| !changes.values.contains_key(*name)) {
                    if batch.is_full_for(1, name.len()) {
                        self.write(ACTION, &mut batch)?;
                    }
                    batch.push(command("DEL", &[&self.key(name)]));
                }
                batch.push(command("DEL", &[&state_key, &keys_key]));
            }
        }
        for (name, value) in changes.values {
            let key = self.key(name);
            if batch.is_full_for(VIEW_COMMANDS, 0) {
                self.write(ACTION, &mut batch)?;
            }
            match value {
                ViewValue::Hash(fields) => push_hash(&mut batch, &key, fields),
                ViewValue::Set(members) => push_set(&mut batch, &key, members),
            }
            batch.push(match value.is_empty() {
                true => command("HDEL", &[&keys_key, name]),
                false => command("HSET", &[&keys_key, name, value.kind()]),
            });
        }
        self.write(ACTION, &mut batch)?;
        // From here to EXEC nobody else may touch the state, FLUSHALL included.
        self.query::<()>(ACTION, &command("WATCH", &[&state_key]))?;
        let before: Fields = self.query(ACTION, &read_state)?;
        if changes.before.map_or(!before.is_empty(), |wanted| before != *wanted) {
            self.query::<()>(ACTION, &command("UNWATCH", &[]))?;
            return Ok(false);
        }
        push_hash(&mut batch, &state_key, changes.state);
        self.write(ACTION, &mut batch)
    }

    fn view_names(&mut self) -> Result<Vec<String>, SinkError> {
        let kinds: Fields = self.query("reading views", &command("HGETALL", &[&self.key(views::KEYS)]))?;
        Ok(kinds.into_keys().collect())
    }

    fn view(&mut self, name: &str) -> Result<Option<ViewValue>, SinkError> {
        const ACTION: &str = "reading a view";
        let kind: Option<String> = match name {
            views::STATE => Some("hash".to_owned()),
            name => self.query(ACTION, &command("HGET", &[&self.key(views::KEYS), name]))?,
        };
        let key = self.key(name);
        let value = match kind.as_deref() {
            None => return Ok(None),
            Some("set") => {
                let command = command("ZREVRANGEBYSCORE", &[&key, "+inf", "-inf", "WITHSCORES"]);
                let members: Vec<(String, f64)> = self.query(ACTION, &command)?;
                ViewValue::Set(members.into_iter().map(|(member, score)| (member, score as i64)).collect())
            }
            Some(_) => ViewValue::Hash(self.query(ACTION, &command("HGETALL", &[&key]))?),
        };
        Ok((!value.is_empty()).then_some(value))
    }
}

fn command(name: &str, args: &[&str]) -> Cmd {
    let mut command = redis::cmd(name);
    for arg in args {
        command.arg(*arg);
    }
    command
}

/// Replaces a hash.
fn push_hash(batch: &mut Batch, key: &str, fields: &BTreeMap<String, impl redis::ToRedisArgs>) {
    batch.push(command("DEL", &[key]));
    let fields: Vec<_> = fields.iter().collect();
    for fields in fields.chunks(FIELDS_MAX) {
        let mut hset = redis::cmd("HSET");
        hset.arg(key);
        for (name, value) in fields {
            hset.arg(name.as_str()).arg(*value);
        }
        batch.push(hset);
    }
}

/// Replaces a sorted set.
fn push_set(batch: &mut Batch, key: &str, members: &BTreeMap<String, i64>) {
    batch.push(command("DEL", &[key]));
    let members: Vec<_> = members.iter().collect();
    for members in members.chunks(FIELDS_MAX) {
        let mut zadd = redis::cmd("ZADD");
        zadd.arg(key);
        for (member, score) in members {
            zadd.arg(**score).arg(member.as_str());
        }
        batch.push(zadd);
    }
}

/// What failed, with the way out where the server's word for it tells nobody.
fn away(action: &'static str, error: RedisError) -> SinkError {
    let source = match error.kind() {
        ErrorKind::Server(ServerErrorKind::Moved | ServerErrorKind::Ask) => {
            (ErrorKind::InvalidClientConfig, "this server is a node of a Redis Cluster; hot state wants one server")
                .into()
        }
        _ => error,
    };
    SinkError::Hot { action, source }
}

/// A stream refuses an id that is not newer than its newest: the finding is there, or was and has been trimmed.
fn is_repeated_id(error: &redis::ServerError) -> bool {
    error.details().is_some_and(|details| details.contains("equal or smaller than the target stream top item"))
}
