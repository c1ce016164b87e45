//! What a rule file says that a rule should decide: `[[rule.test]]`.

use std::net::IpAddr;
use std::sync::Arc;

use ct_model::id::from_hex;
use ct_model::name::{normalize, registered_domains};
use ct_model::{CertId, CertRecord, EntryKind, ParseState, Timestamp};

use super::error::{Mistake, shown};
use super::limits::{PROSE_BYTES_MAX, TEXT_BYTES_MAX};
use super::read::missing;
use super::toml_table::Reader;

const KEYS: [&str; 19] = [
    "match",
    "title",
    "names",
    "ips",
    "issuer_cn",
    "issuer_org",
    "issuer_dn",
    "subject_cn",
    "subject_dn",
    "key_algorithm",
    "key_bits",
    "signature_algorithm",
    "spki_sha256",
    "validity_days",
    "kind",
    "is_ca",
    "log",
    "serial",
    "sct_count",
];
const NAMES_MAX: usize = 10_000;
const DAY_SECONDS: i64 = 86_400;
/// When the certificates of tests begin: 2026-01-01.
const NOT_BEFORE_SECONDS: i64 = 1_767_225_600;

/// A certificate made for a test, and whether the rule should match it.
#[derive(Debug)]
pub(super) struct TestCase {
    /// What tells it from the others in a report.
    pub(super) title: Box<str>,
    pub(super) matches: bool,
    pub(super) certificate: CertRecord,
}

impl TestCase {
    pub(super) fn read(reader: &Reader<'_>) -> Result<Self, Mistake> {
        reader.check_keys(&KEYS)?;
        let matches = reader.bool("match")?.ok_or_else(|| missing(&reader.key("match")))?;
        let text = |name| reader.text(name, PROSE_BYTES_MAX);
        let shared = |name| text(name).map(|text| text.map(Arc::<str>::from));
        let boxed = |name| text(name).map(|text| text.map(Box::<str>::from));
        let number = |name| reader.number(name).map(|number| number.and_then(|number| u32::try_from(number).ok()));
        let given = reader.texts("names", NAMES_MAX, TEXT_BYTES_MAX)?.unwrap_or_default();
        let mut names = Vec::new();
        for (index, name) in given.iter().enumerate() {
            let why =
                || Mistake::new(reader.key(&format!("names[{index}]")), format!("{:?} is no DNS name", shown(name)));
            names.push(normalize(name).ok_or_else(why)?);
        }
        let ips = reader.texts("ips", NAMES_MAX, TEXT_BYTES_MAX)?.unwrap_or_default();
        if let Some(index) = ips.iter().position(|ip| ip.parse::<IpAddr>().is_err()) {
            return Err(Mistake::new(reader.key(&format!("ips[{index}]")), "no IP address"));
        }
        let kind = match text("kind")? {
            None => None,
            Some("precert") => Some(EntryKind::Precert),
            Some("final") => Some(EntryKind::Final),
            Some(other) => {
                let why = format!("{:?} is not allowed (precert, final)", shown(other));
                return Err(Mistake::new(reader.key("kind"), why));
            }
        };
        let spki_sha256 = match text("spki_sha256")? {
            None => None,
            Some(hex) => {
                let mut digest = [0; 32];
                let why = || Mistake::new(reader.key("spki_sha256"), "a SHA-256 has 64 hexadecimal digits");
                from_hex(hex, &mut digest).ok_or_else(why)?;
                Some(digest)
            }
        };
        let validity = reader.number("validity_days")?;
        // The second of `not_after` belongs to the last day.
        let not_after = validity.map(|days| Timestamp::from_seconds(NOT_BEFORE_SECONDS + days * DAY_SECONDS - 1));
        let shown_as = || names.first().map_or("without names", |name| name);
        let title = text("title")?.unwrap_or_else(shown_as).into();
        let certificate = CertRecord {
            id: CertId::der([0; 32]),
            sha256: None,
            sha1: None,
            tbs_sha256: None,
            spki_sha256,
            kind,
            serial: boxed("serial")?,
            issuer_dn: shared("issuer_dn")?,
            issuer_cn: shared("issuer_cn")?,
            issuer_org: shared("issuer_org")?,
            subject_dn: boxed("subject_dn")?,
            subject_cn: boxed("subject_cn")?,
            not_before: validity.map(|_| Timestamp::from_seconds(NOT_BEFORE_SECONDS)),
            not_after,
            registered_domains: registered_domains(&names),
            names,
            ips: ips.into_iter().map(Box::from).collect(),
            key_algorithm: shared("key_algorithm")?,
            key_bits: number("key_bits")?,
            signature_algorithm: shared("signature_algorithm")?,
            is_ca: reader.bool("is_ca")?,
            sct_count: number("sct_count")?,
            scts: Vec::new(),
            parse: ParseState::Ok,
            parse_error: None,
            der_bytes: None,
            seen: None,
            log: shared("log")?,
            log_index: None,
            feed: Arc::from("test"),
            der: None,
        };
        Ok(Self { title, matches, certificate })
    }
}

/// A test of a rule that did not come out as its file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestFailure<'r> {
    pub rule: &'r str,
    /// The test's title, or the first name of its certificate.
    pub test: &'r str,
    /// What the file says; the rule decided otherwise.
    pub expected: bool,
}
