//! CertStream messages, from every known server, to what the dataflow needs of them.
//!
//! Reading happens in two steps. [`Reader::read`] runs on every message: it finds out what the message is, whose
//! certificate it shows and which entry of which log it stands for. [`claimed::record`] runs only on the first sighting
//! of a certificate that came without DER, and reads the rest of the text. What a feed says is a claim: it is used
//! only where nothing better is in hand, and it never panics or blocks anything.
//!
//! Shapes and servers: CaliDog certstream-server (Elixir), certstream-server-go and certstream-server-rust (v1 and v2).

mod chain;
pub mod claimed;
mod json;
pub mod log_line;

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use sha1::Sha1;
use sha2::{Digest, Sha256};

use crate::id::{self, CertId, EntryPlace, Key};
use crate::record::{Coverage, EntryKind};
use crate::time::Timestamp;
use crate::x509;
use chain::Chains;
use json::{Data, Leaf, Scalar, Update};

/// Why a message cannot be used. The words are a contract: they stand in `rejected.reason`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// The line is longer than the reader accepts.
    TooLong,
    /// Not UTF-8.
    Utf8,
    /// Not one JSON object.
    Json,
    /// No `message_type`, or not a text.
    MessageType,
    /// `data` of an update is no object, or `data` of names is no list of texts.
    Data,
    /// An update without a certificate.
    Leaf,
    /// An index that is no index.
    Index,
    /// `as_der` is no base64 text.
    Base64,
    /// `as_der` is no certificate, and its hash is not the one the feed claims.
    Mismatch,
    /// Nothing in the message identifies the certificate.
    Identity,
    /// Beside its leaf, a log has the precertificate of another.
    Precertificate,
}

impl Reason {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TooLong => "too_long",
            Self::Utf8 => "utf8",
            Self::Json => "json",
            Self::MessageType => "message_type",
            Self::Data => "data",
            Self::Leaf => "leaf",
            Self::Index => "index",
            Self::Base64 => "base64",
            Self::Mismatch => "mismatch",
            Self::Identity => "identity",
            Self::Precertificate => "precertificate",
        }
    }
}

/// A message that cannot be used: data, not an error.
#[derive(Clone, Debug, PartialEq)]
pub struct Unusable {
    pub reason: Reason,
    /// One line for people.
    pub detail: Box<str>,
    /// When the feed says it saw the message, if that much could be read.
    pub seen: Option<Timestamp>,
}

/// What a line turned out to be.
#[derive(Clone, Debug, PartialEq)]
pub enum Message<'a> {
    Heartbeat,
    /// A type this version does not know.
    Other,
    /// Host names alone (`dns_entries`).
    Names(Vec<Cow<'a, str>>),
    Sighting(Sighting),
    /// What somebody says of a log's coverage; only a reader of logs is to be believed.
    Coverage(Coverage),
}

impl Message<'_> {
    fn into_owned(self) -> Message<'static> {
        match self {
            Self::Heartbeat => Message::Heartbeat,
            Self::Other => Message::Other,
            Self::Names(names) => Message::Names(names.into_iter().map(|name| name.into_owned().into()).collect()),
            Self::Sighting(sighting) => Message::Sighting(sighting),
            Self::Coverage(row) => Message::Coverage(row),
        }
    }
}

/// A certificate seen as an entry of a log.
#[derive(Clone, Debug, PartialEq)]
pub struct Sighting {
    pub id: CertId,
    pub log: Option<Log>,
    pub index: Option<u64>,
    pub kind: Option<EntryKind>,
    pub seen: Option<Timestamp>,
    pub submitted: Option<Timestamp>,
    /// The feed's fingerprint is not that of the certificate it sent.
    pub wrong_claim: bool,
    /// The issuance, from the log's own leaf. It is right also where a precertificate signing certificate was used
    /// (RFC 6962 section 3.2), of which the precertificate itself says nothing.
    pub tbs_sha256: Option<[u8; 32]>,
    pub body: Body,
}

impl Sighting {
    /// Where the entry stands, if both log and index are known.
    pub fn place(&self) -> Option<EntryPlace> {
        Some(EntryPlace { log: self.log.as_ref()?.digest, index: self.index? })
    }

    /// What to know an entry without a place by.
    pub fn unplaced_key(&self) -> Key {
        Key::unplaced(self.log.as_ref().map_or("", |log| &log.name), &self.id)
    }
}

/// What is kept of a message until it is known whether its certificate is new.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// The certificate.
    Der(Vec<u8>),
    /// The whole message, for want of a certificate.
    Text(Box<str>),
}

/// A log by its URL without scheme and trailing slash, host in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    pub name: Arc<str>,
    /// [`id::log_digest`] of the name.
    pub digest: u64,
}

/// Reads messages. Keeps the names of the logs and the chains it has met, a bounded number of them.
#[derive(Default)]
pub struct Reader {
    logs: HashMap<Box<str>, Log>,
    chains: Chains,
}

impl Reader {
    const LOGS_MAX: usize = 4_096;

    /// Reads one line, which must not be blank.
    pub fn read<'a>(&mut self, line: &'a [u8]) -> Result<Message<'a>, Unusable> {
        let cut = self.chains.cut_met(line).filter(|text| is_object(text) && !text.starts_with(log_line::HEAD));
        if let Some(shorter) = cut {
            return self.understand(&shorter, line).map(Message::into_owned);
        }
        let text = std::str::from_utf8(line).map_err(|why| unusable(Reason::Utf8, why, None))?;
        if !is_object(text) {
            return Err(unusable(Reason::Json, "not a JSON object", None));
        }
        if text.starts_with(log_line::HEAD) {
            return self.log_line(text);
        }
        match self.chains.cut(text) {
            None => self.understand(text, line),
            Some(shorter) => self.understand(&shorter, line).map(Message::into_owned),
        }
    }

    /// `json` is the text of the message, or as much of it as identity needs.
    fn understand<'a>(&mut self, json: &'a str, text: &[u8]) -> Result<Message<'a>, Unusable> {
        let message: json::Message<'a> = serde_json::from_str(json).map_err(|why| unusable(Reason::Json, why, None))?;
        match message.message_type {
            Scalar::Text(kind) => match &*kind {
                "certificate_update" => match message.data {
                    Data::Update(update) => self.sighting(*update, text).map(Message::Sighting),
                    _ => Err(unusable(Reason::Data, "`data` is no object", None)),
                },
                "dns_entries" => match message.data {
                    Data::Names(names) => Ok(Message::Names(names)),
                    _ => Err(unusable(Reason::Data, "`data` is no list of names", None)),
                },
                "heartbeat" => Ok(Message::Heartbeat),
                _ => Ok(Message::Other),
            },
            _ => Err(unusable(Reason::MessageType, "no `message_type`", None)),
        }
    }

    fn sighting(&mut self, update: Update<'_>, text: &[u8]) -> Result<Sighting, Unusable> {
        let entry = update.entry.0.unwrap_or_default();
        let source = update.source.0.unwrap_or_default();
        let seen = update.seen.seconds().or_else(|| entry.observed_at.rfc3339());
        let reject = |reason, detail: &str| Err(unusable(reason, detail, seen));
        let Some(leaf) = update.leaf_cert.0.or(update.cert.0) else {
            return reject(Reason::Leaf, "no `leaf_cert`");
        };
        let index = match if update.cert_index.is_null() { &entry.index } else { &update.cert_index } {
            Scalar::Null => None,
            index => match index.index() {
                Some(index) => Some(index),
                None => return reject(Reason::Index, "`cert_index` is no index"),
            },
        };
        let kind = match (update.update_type.text(), entry.kind.text()) {
            (Some("PrecertLogEntry"), _) | (_, Some("precert")) => Some(EntryKind::Precert),
            (Some("X509LogEntry"), _) | (_, Some("x509" | "final")) => Some(EntryKind::Final),
            _ => None,
        };
        let link = update.cert_link.text().or(entry.link.text()).and_then(log_of_link);
        let log = source.url.text().filter(|url| !url.is_empty()).or(link).map(|url| self.log(url));
        let submitted = update
            .submission_timestamp
            .seconds()
            .or_else(|| source.timestamp.seconds())
            .or_else(|| entry.submitted_at.rfc3339());

        let (id, body, wrong_claim) = match &leaf.as_der {
            Scalar::Null => claimed_id(&leaf, log.as_ref(), index, kind, seen)?,
            Scalar::Text(base64) if base64.is_empty() || base64 == "REDACT" => {
                claimed_id(&leaf, log.as_ref(), index, kind, seen)?
            }
            Scalar::Text(base64) => {
                let Some(der) = decode_base64(base64) else {
                    return reject(Reason::Base64, "`as_der` is not base64");
                };
                let sha256: [u8; 32] = Sha256::digest(&der).into();
                let wrong = match Claim::of(&leaf) {
                    Some(Claim::Sha256(claim)) => claim != sha256,
                    Some(Claim::Sha1(claim)) => claim[..] != Sha1::digest(&der)[..],
                    None => false,
                };
                if wrong && !x509::is_certificate(&der) {
                    return reject(Reason::Mismatch, "`as_der` is no certificate and not what its fingerprint claims");
                }
                (CertId::der(sha256), Some(der), wrong)
            }
            _ => return reject(Reason::Base64, "`as_der` is no text"),
        };
        // It is UTF-8: nothing is lost.
        let body = body.map_or_else(|| Body::Text(String::from_utf8_lossy(text).into()), Body::Der);
        let tbs_sha256 = None;
        Ok(Sighting { id, log, index, kind, seen, submitted, wrong_claim, tbs_sha256, body })
    }

    /// The log of a URL; a hostile feed's endless list of logs is forgotten again and again, not kept.
    fn log(&mut self, url: &str) -> Log {
        if let Some(log) = self.logs.get(url) {
            return log.clone();
        }
        if self.logs.len() >= Self::LOGS_MAX {
            self.logs.clear();
        }
        let name = log_name(url);
        let log = Log { digest: id::log_digest(&name), name: name.into() };
        self.logs.insert(url.into(), log.clone());
        log
    }
}

type Identified = (CertId, Option<Vec<u8>>, bool);

/// The identity of a certificate that is not in hand, best claim first.
fn claimed_id(
    leaf: &Leaf<'_>,
    log: Option<&Log>,
    index: Option<u64>,
    kind: Option<EntryKind>,
    seen: Option<Timestamp>,
) -> Result<Identified, Unusable> {
    let id = match Claim::of(leaf) {
        Some(Claim::Sha256(sha256)) => CertId::claimed_sha256(sha256),
        Some(Claim::Sha1(sha1)) => CertId::claimed_sha1(sha1),
        None => {
            let issuer = leaf.issuer.0.as_ref().and_then(|issuer| issuer.aggregated.text()).filter(|i| !i.is_empty());
            let serial = leaf.serial_number.text().and_then(claimed::serial);
            match (issuer, serial, log, index) {
                (Some(issuer), Some(serial), ..) => {
                    CertId::issuer_serial(issuer, &serial, kind == Some(EntryKind::Precert))
                }
                (_, _, Some(log), Some(index)) => CertId::entry(&log.name, index),
                _ => return Err(unusable(Reason::Identity, "no certificate, fingerprint, serial or index", seen)),
            }
        }
    };
    Ok((id, None, false))
}

/// The best fingerprint that a feed claims. That of the empty input is none.
enum Claim {
    Sha256([u8; 32]),
    Sha1([u8; 20]),
}

impl Claim {
    fn of(leaf: &Leaf<'_>) -> Option<Self> {
        let sha256 = || hash(&leaf.sha256).or_else(|| hash(&leaf.fingerprint));
        let sha1 = || hash(&leaf.sha1).or_else(|| hash(&leaf.fingerprint));
        let sha256 = sha256().filter(|hash| *hash != id::SHA256_OF_NOTHING).map(Self::Sha256);
        sha256.or_else(|| sha1().filter(|hash| *hash != id::SHA1_OF_NOTHING).map(Self::Sha1))
    }
}

fn hash<const BYTES: usize>(text: &Scalar<'_>) -> Option<[u8; BYTES]> {
    let mut hash = [0; BYTES];
    id::from_hex(text.text()?, &mut hash).map(|()| hash)
}

/// Lists pass for objects where fields are read.
fn is_object(text: &str) -> bool {
    text.trim_start().starts_with('{')
}

/// Standard alphabet, padding optional.
fn decode_base64(text: &str) -> Option<Vec<u8>> {
    let text = text.trim_end_matches('=').as_bytes();
    base64_simd::STANDARD_NO_PAD.decode_to_vec(text).ok()
}

/// A log's URL without scheme and trailing slash, host in lower case.
pub fn log_name(url: &str) -> String {
    let url = url.split_once("://").map_or(url, |(_, rest)| rest).trim_end_matches('/');
    match url.split_once('/') {
        Some((host, path)) => format!("{}/{path}", host.to_ascii_lowercase()),
        None => url.to_ascii_lowercase(),
    }
}

/// The log's URL in a link to one of its entries.
fn log_of_link(link: &str) -> Option<&str> {
    link.split_once("/ct/v1/").or_else(|| link.split_once("/tile/data/")).map(|(url, _)| url)
}

fn unusable(reason: Reason, detail: impl fmt::Display, seen: Option<Timestamp>) -> Unusable {
    Unusable { reason, detail: detail.to_string().into(), seen }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DER: &str = "MAMCAQE="; // SEQUENCE { INTEGER 1 }: bytes, no certificate
    const DER_SHA256: &str = "f53c14c5ff8df59b9d37a8f8c8c5d2ad98bd4bb0d6d9ba8f7f2b6f38d0a0e9a1";

    fn read(line: &str) -> Result<Message<'_>, Reason> {
        Reader::default().read(line.as_bytes()).map_err(|unusable| unusable.reason)
    }

    #[track_caller]
    fn sighting(leaf: &str, rest: &str) -> Sighting {
        let line = format!(
            r#"{{"data":{{"leaf_cert":{leaf},{rest}"seen":1795132801.033}},"message_type":"certificate_update"}}"#
        );
        match read(&line) {
            Ok(Message::Sighting(sighting)) => sighting,
            other => panic!("{other:?} from {line}"),
        }
    }

    #[track_caller]
    fn check_rejected(line: &str, want: Reason) {
        assert_eq!(read(line), Err(want), "{line}");
    }

    #[test]
    fn stretches_say_where_their_entries_begin() {
        let (log, root, head_at) = ("ct.example.com/a".into(), [7; 32], Timestamp::from_seconds(1_795_392_000));
        let mut row = Coverage {
            log,
            first: 3,
            last: 8,
            tree_size: 9,
            root,
            head_at,
            verified: true,
            feed: "".into(),
            since: None,
        };
        let mut line = Vec::new();
        log_line::write_coverage(&mut line, &row);
        let line = line.trim_ascii_end();
        assert_eq!(Reader::default().read(line), Ok(Message::Coverage(row.clone())));
        row.since = Some(12);
        assert_eq!(Reader::default().read(&log_line::with_since(line, 12).unwrap()), Ok(Message::Coverage(row)));
        for other in [&b"{\"message_type\":\"log_entry\",\"data\":{}}"[..], b"", b"}}", &line[..line.len() - 1]] {
            assert_eq!(log_line::with_since(other, 12), None);
        }
    }

    #[test]
    fn places_of_entries() {
        let mut lines = Vec::new();
        log_line::write_entry(&mut lines, "ct.example.com/2026h2", 7, b"leaf", Some(b"precertificate"));
        log_line::write_entry(&mut lines, "a \"log\"", u64::MAX, b"", None);
        let places: Vec<_> = lines.split(|byte| *byte == b'\n').map(log_line::place).collect();
        assert_eq!(places, [Some(("ct.example.com/2026h2", 7)), None, None]);
        let whole = lines.split(|byte| *byte == b'\n').next().unwrap();
        for cut in 0..66 {
            assert_eq!(log_line::place(&whole[..cut]), None, "{cut}");
        }
        assert_eq!(log_line::place(&[0xff; 100]), None);
    }

    #[test]
    fn a_der_is_identified_by_its_own_hash() {
        let with_claim = sighting(
            &format!(
                r#"{{"as_der":"{DER}","sha256":"E3:B0:C4:42:98:FC:1C:14:9A:FB:F4:C8:99:6F:B9:24:27:AE:41:E4:64:9B:93:4C:A4:95:99:1B:78:52:B8:55"}}"#
            ),
            "",
        );
        let without = sighting(&format!(r#"{{"as_der":"{DER}"}}"#), "");
        assert_eq!(with_claim.id, without.id);
        assert_eq!(with_claim.id.kind, crate::IdKind::Der);
        assert!(!with_claim.wrong_claim, "the hash of nothing is no claim");
    }

    #[test]
    fn a_der_that_is_no_certificate_and_not_what_is_claimed() {
        check_rejected(
            &format!(
                r#"{{"message_type":"certificate_update","data":{{"leaf_cert":{{"as_der":"{DER}","sha256":"{DER_SHA256}"}}}}}}"#
            ),
            Reason::Mismatch,
        );
    }

    #[test]
    fn redacted_der_falls_back_to_claims() {
        let sha256 = "57:61:38:C0:3C:03:A3:34:6A:0B:32:89:11:1B:74:AB:8A:DF:A5:02:9F:06:43:E6:F3:0E:69:F3:0E:4E:4E:FC";
        let by_sha256 = sighting(
            &format!(
                r#"{{"as_der":"REDACT","sha256":"{sha256}","fingerprint":"27:58:3D:01:3D:71:B8:D3:A6:6E:2C:7A:86:3A:E9:1F:DB:F0:1B:5D"}}"#
            ),
            "",
        );
        assert_eq!(by_sha256.id.kind, crate::IdKind::Sha256);
        let by_sha1 = sighting(r#"{"fingerprint":"27:58:3D:01:3D:71:B8:D3:A6:6E:2C:7A:86:3A:E9:1F:DB:F0:1B:5D"}"#, "");
        assert_eq!(by_sha1.id.hex(), "27583d013d71b8d3a66e2c7a863ae91fdbf01b5d");
        let by_serial = sighting(r#"{"serial_number":"00F1","issuer":{"aggregated":"/CN=R3"}}"#, "");
        assert_eq!(by_serial.id, CertId::issuer_serial("/CN=R3", "f1", false));
        let by_entry = sighting("{}", r#""cert_index":5,"source":{"url":"https://a.example/"},"#);
        assert_eq!(by_entry.id, CertId::entry("a.example", 5));
        check_rejected(r#"{"message_type":"certificate_update","data":{"leaf_cert":{}}}"#, Reason::Identity);
    }

    #[test]
    fn logs_are_named_alike_by_every_server() {
        for source in [
            r#""source":{"url":"https://CT.example.com/logs/Argon/"},"#,
            r#""source":{"url":"ct.example.com/logs/Argon"},"#,
            r#""cert_link":"http://ct.example.com/logs/Argon/ct/v1/get-entries?start=7&end=7","#,
        ] {
            let log = sighting(r#"{"sha1":"27583d013d71b8d3a66e2c7a863ae91fdbf01b5d"}"#, source).log;
            assert_eq!(log.map(|log| log.name.to_string()).as_deref(), Some("ct.example.com/logs/Argon"), "{source}");
        }
    }

    #[test]
    fn indexes_of_every_type() {
        let index = |text: &str| {
            let line = format!(
                r#"{{"message_type":"certificate_update","data":{{"cert_index":{text},"leaf_cert":{{"as_der":"{DER}"}}}}}}"#
            );
            match read(&line) {
                Ok(Message::Sighting(sighting)) => Ok(sighting.index),
                Ok(other) => panic!("{other:?}"),
                Err(reason) => Err(reason),
            }
        };
        assert_eq!(index("17"), Ok(Some(17)));
        assert_eq!(index("17.0"), Ok(Some(17)));
        assert_eq!(index("\"17\""), Ok(Some(17)));
        assert_eq!(index("null"), Ok(None));
        for bad in ["-1", "1e30", "1.5", "\"one\"", "[]", "{}", "true", "18446744073709551615"] {
            assert_eq!(index(bad), Err(Reason::Index), "{bad}");
        }
    }

    #[test]
    fn times() {
        let sighting = sighting(
            &format!(r#"{{"as_der":"{DER}"}}"#),
            r#""source":{"url":"a","timestamp":1795132779.611},"update_type":"PrecertLogEntry","#,
        );
        assert_eq!(sighting.seen, Some(Timestamp(1_795_132_801_033_000)));
        assert_eq!(sighting.submitted, Some(Timestamp(1_795_132_779_611_000)));
        assert_eq!(sighting.kind, Some(EntryKind::Precert));
    }

    #[test]
    fn version_2_of_the_rust_server() {
        let line = r#"{"message_type":"certificate_update","version":2,"data":{"source":{"name":"x","url":"https://l.example","log_id":null},"entry":{"index":12345,"type":"precert","observed_at":"2026-11-23T10:00:00.250Z","submitted_at":"2026-11-23T09:59:00Z","link":""},"verification":{"inclusion":"unverified"},"cert":{"sha256":"5761 "}}}"#;
        let Ok(Message::Sighting(sighting)) = read(line) else { panic!("{:?}", read(line)) };
        assert_eq!(sighting.index, Some(12_345));
        assert_eq!(sighting.id, CertId::entry("l.example", 12_345));
        assert_eq!(sighting.seen.map(|t| t.to_string()).as_deref(), Some("2026-11-23T10:00:00.250000Z"));
        assert_eq!(sighting.kind, Some(EntryKind::Precert));
    }

    #[test]
    fn names_heartbeats_and_strangers() {
        assert_eq!(
            read(r#"{"data":["a.example","*.b.example"],"message_type":"dns_entries"}"#),
            Ok(Message::Names(vec!["a.example".into(), "*.b.example".into()]))
        );
        assert_eq!(read(r#"{"message_type":"dns_entries","data":[]}"#), Ok(Message::Names(vec![])));
        assert_eq!(read(r#"{"message_type":"heartbeat","timestamp":1508532970.93171}"#), Ok(Message::Heartbeat));
        assert_eq!(read(r#"{"message_type":"certificate_revoked","data":{}}"#), Ok(Message::Other));
        check_rejected(r#"{"message_type":"dns_entries","data":["a",1]}"#, Reason::Data);
        check_rejected(r#"{"message_type":"dns_entries"}"#, Reason::Data);
        check_rejected(r#"{"message_type":7}"#, Reason::MessageType);
        check_rejected(r#"{"data":{}}"#, Reason::MessageType);
    }

    #[test]
    fn broken_lines() {
        check_rejected("<html>", Reason::Json);
        check_rejected(r#"[{"message_type":"heartbeat"}]"#, Reason::Json);
        check_rejected(r#"{"message_type":"heartbeat""#, Reason::Json);
        check_rejected(r#"{"message_type":"heartbeat"} {}"#, Reason::Json);
        check_rejected(r#"{"message_type":"heartbeat","message_type":"certificate_update"}"#, Reason::Json);
        check_rejected(&format!("{{\"message_type\":\"heartbeat\",\"x\":{}", "[".repeat(200_000)), Reason::Json);
        check_rejected(r#"{"message_type":"certificate_update","data":[]}"#, Reason::Data);
        check_rejected(r#"{"message_type":"certificate_update","data":{"leaf_cert":null}}"#, Reason::Leaf);
        check_rejected(r#"{"message_type":"certificate_update","data":{"leaf_cert":[1]}}"#, Reason::Leaf);
        check_rejected(r#"{"message_type":"certificate_update","data":{"leaf_cert":{"as_der":5}}}"#, Reason::Base64);
        check_rejected(r#"{"message_type":"certificate_update","data":{"leaf_cert":{"as_der":"!!"}}}"#, Reason::Base64);
        assert_eq!(Reader::default().read(b"{\"a\":\"\xff\"}").map_err(|u| u.reason), Err(Reason::Utf8));
    }
}
