//! What a certificate says, read out of its DER.
//!
//! Two readers look at every certificate. x509-parser judges (`strict`): what it refuses, or what is known to slip past
//! it, is [`ParseState::Partial`]. A tolerant walk (`walk`) finds the fields, so that one bad date does not cost the names,
//! and so that a certificate says the same whether or not a strict parser likes it. Only bytes without even the frame
//! of a certificate are [`ParseState::Failed`].
//!
//! Reading is a pure function of the bytes: a [`Decoder`] keeps nothing but texts it would make again. Time and
//! memory are linear in the bytes.

mod dn;
mod oid;
pub mod raw;
pub mod sct;
mod strict;
#[cfg(test)]
mod tests;
mod validity;
mod walk;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use sha1::Sha1;
use sha2::{Digest, Sha256};
use x509_parser::error::X509Error;

use crate::id::to_hex;
use crate::name::{NameSource, Names, readings, registered_domains};
use crate::record::{EntryKind, ParseState};
use crate::time::Timestamp;
use oid::KeySize;
use sct::{Sct, SctList};
use walk::{Element, Elements, Extension, Extensions, Fault, Fields, Frame};

/// RFC 6962 section 3.1: 1.3.6.1.4.1.11129.2.4.3 marks a precertificate.
pub const POISON: &[u8] = &[0x2b, 6, 1, 4, 1, 0xd6, 0x79, 2, 4, 3];
/// RFC 6962 section 3.3: 1.3.6.1.4.1.11129.2.4.2 holds timestamps of logs.
pub const SCT_LIST: &[u8] = &[0x2b, 6, 1, 4, 1, 0xd6, 0x79, 2, 4, 2];
pub const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 17];
const AUTHORITY_KEY_ID: &[u8] = &[0x55, 0x1d, 35];
pub const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 19];

/// A certificate or precertificate as its own bytes describe it. `None` is what it does not say, or not legibly.
#[derive(Clone, Debug, PartialEq)]
pub struct Certificate {
    /// The issuance: SHA-256 of the TBSCertificate without the poison of a precertificate or the timestamps of a
    /// final certificate. What a log signs for either (unless a precertificate signing certificate was used).
    pub tbs_sha256: Option<[u8; 32]>,
    pub spki_sha256: Option<[u8; 32]>,
    pub sha1: [u8; 20],
    /// A precertificate exactly when the poison extension is there.
    pub kind: Option<EntryKind>,
    /// Lower-case hex without leading zeros ("0" for zero), a minus sign in front of a negative one.
    pub serial: Option<Box<str>>,
    pub issuer: Option<Arc<Issuer>>,
    /// In encoding order: `C=US, O=Let's Encrypt, CN=E7`, escaped as in RFC 4514, without control characters.
    pub subject_dn: Option<Box<str>>,
    /// The first common name, as it is.
    pub subject_cn: Option<Box<str>>,
    pub not_before: Option<Timestamp>,
    pub not_after: Option<Timestamp>,
    /// Plain DNS names, each once: of the SANs in order, then of the common names. See [`crate::name`].
    pub names: Vec<Box<str>>,
    /// Other readings of names, for whoever must not miss one.
    pub odd_names: Vec<Box<str>>,
    /// Of `names`, each once, in that order.
    pub registered_domains: Vec<Box<str>>,
    pub ips: Vec<Box<str>>,
    /// `rsa`, `rsapss`, `dsa`, `ecdsa-p256` (also `-p192`, `-p224`, `-p384`, `-p521`, `-secp256k1`,
    /// `-brainpoolp256r1`, `-brainpoolp384r1`, `-brainpoolp512r1`; `ecdsa` when the curve is written out), `ed25519`,
    /// `ed448`, `x25519`, `x448`, `ml-dsa-44` (also `-65`, `-87`), `sm2`; else the dotted OID.
    pub key_algorithm: Option<Arc<str>>,
    pub key_bits: Option<u32>,
    /// Of the signature, not of what is signed: `sha256-rsa`, `sha256-rsapss`, `ecdsa-sha384`, `dsa-sha256`,
    /// `ed25519`, `ml-dsa-65` and so on; else the dotted OID.
    pub signature_algorithm: Option<Arc<str>>,
    /// Basic constraints say so; `Some(false)` without any.
    pub is_ca: Option<bool>,
    /// Timestamps embedded; 0 without a list, `None` when the list cannot be read.
    pub sct_count: Option<u32>,
    /// Of those, the ones of a known version, in order, at most [`sct::SCTS_MAX`].
    pub scts: Vec<Sct>,
    /// Never [`ParseState::Absent`].
    pub parse: ParseState,
    /// Why not [`ParseState::Ok`]: one line of at most [`PARSE_ERROR_BYTES_MAX`] bytes, no control characters.
    pub parse_error: Option<Box<str>>,
}

pub const PARSE_ERROR_BYTES_MAX: usize = 200;

/// Who issued a certificate. Shared between the certificates of an issuer.
#[derive(Debug, PartialEq, Eq)]
pub struct Issuer {
    /// Written like [`Certificate::subject_dn`].
    pub dn: Arc<str>,
    /// The first common name, as it is.
    pub cn: Option<Arc<str>>,
    /// The first organization, as it is.
    pub org: Option<Arc<str>>,
}

/// A value as it stands in the text of a distinguished name.
pub(crate) fn escape_value(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    dn::escape(value, &mut text);
    text
}

/// Whether `der` has at least the frame of a certificate, so that [`Decoder::decode`] does not fail on it.
pub fn is_certificate(der: &[u8]) -> bool {
    Frame::read(der, &mut Fault::default()).is_some()
}

/// The issuance of a certificate or precertificate: [`Certificate::tbs_sha256`], and nothing else of it.
pub fn issuance(der: &[u8], kind: EntryKind) -> Option<[u8; 32]> {
    let mut fault = Fault::default();
    let frame = Frame::read(der, &mut fault)?;
    let fields = Fields::read(frame.tbs, &mut fault);
    let stripped = if kind == EntryKind::Precert { POISON } else { SCT_LIST };
    walk::digest_without(frame.tbs, &fields.extensions, stripped)
}

/// Whether a log can have made this leaf, the TBSCertificate of a precertificate entry, of the precertificate `der`.
///
/// All but the poison must be the same, however it is encoded around the fields. The issuer and its key identifier may
/// differ: those of the leaf are of the final issuer, also where a precertificate signing certificate was used (RFC
/// 6962 section 3.2).
pub fn is_precertificate_of(der: &[u8], tbs: &[u8]) -> bool {
    let mut fault = Fault::default();
    let Some((frame, leaf)) = Frame::read(der, &mut fault).zip(Element::only(tbs, walk::SEQUENCE)) else {
        return false;
    };
    let [own, leaf] = [frame.tbs, leaf].map(|tbs| Fields::read(tbs, &mut fault));
    let same = |field: for<'f, 'a> fn(&'f Fields<'a>) -> Option<Element<'a>>| {
        field(&own).map(|element| element.content) == field(&leaf).map(|element| element.content)
    };
    own.version == leaf.version
        && same(|fields| fields.serial)
        && same(|fields| fields.signature_algorithm)
        && same(|fields| fields.validity)
        && same(|fields| fields.subject)
        && same(|fields| fields.spki)
        && same_extensions(&own.extensions, &leaf.extensions).unwrap_or(false)
}

/// But for the poison and the key identifier of the issuer. `None` where they cannot be told apart.
fn same_extensions(own: &Extensions<'_>, leaf: &Extensions<'_>) -> Option<bool> {
    let (mut own, mut leaf) = (elements_of(own)?, elements_of(leaf)?);
    loop {
        let (mine, theirs) = (next_signed(&mut own)?, next_signed(&mut leaf)?);
        if mine != theirs || mine.is_none() {
            return Some(mine == theirs);
        }
    }
}

fn elements_of<'a>(extensions: &Extensions<'a>) -> Option<Elements<'a>> {
    match *extensions {
        Extensions::Absent => Some(Elements::of(&[])),
        Extensions::Unreadable => None,
        Extensions::At { list, .. } => Some(Elements::of(list.content)),
    }
}

/// The next extension that stays as it is from a precertificate to the leaf; `None` where there is something else.
fn next_signed<'a>(elements: &mut Elements<'a>) -> Option<Option<Extension<'a>>> {
    for element in elements.by_ref() {
        let extension = Extension::read(element)?;
        if ![POISON, AUTHORITY_KEY_ID].contains(&extension.oid) {
            return Some(Some(extension));
        }
    }
    elements.at_end().then_some(None)
}

/// Reads certificates. One for each worker: it remembers the texts of issuers and algorithms, up to a bound.
#[derive(Debug, Default)]
pub struct Decoder {
    /// Issuers, and whether all of the name could be read.
    issuers: Cache<(Arc<Issuer>, bool)>,
    keys: Cache<Option<(Arc<str>, KeySize)>>,
    signatures: Cache<Option<Arc<str>>>,
    names: Names,
}

impl Decoder {
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads one certificate. Bytes of any kind give an answer; see [`Certificate::parse`].
    pub fn decode(&mut self, der: &[u8]) -> Certificate {
        let mut fault = Fault::default();
        let Some(frame) = Frame::read(der, &mut fault) else {
            return Certificate::failed(der, "not the frame of a certificate");
        };
        let sha1 = Sha1::digest(der).into();
        let refused = strict::refusal(der);
        let fields = Fields::read(frame.tbs, &mut fault);
        let found = self.read_extensions(&fields.extensions, &mut fault);
        // After the SANs, because names are listed in that order.
        let subject = fields.subject.map(|subject| {
            dn::read(subject, |name| readings(name.as_bytes(), NameSource::CommonName, &mut self.names))
        });
        if subject.as_ref().is_some_and(|subject| !subject.whole) {
            fault.note("a subject that is not a name");
        }
        let issuer = fields.issuer.map(|issuer| {
            let (issuer, whole) = self.issuers.get(issuer.whole, || issuer_of(issuer));
            if !whole {
                fault.note("an issuer that is not a name");
            }
            issuer
        });
        let (not_before, not_after) = fields.validity.map_or((None, None), |validity| {
            let mut times = Elements::of(validity.content);
            let pair = (times.next().and_then(validity::time), times.next().and_then(validity::time));
            if !times.at_end() {
                fault.note("bytes behind the dates");
            }
            pair
        });
        if not_before.is_none() || not_after.is_none() {
            fault.note("an illegible date");
        }
        let key = fields.spki.and_then(|spki| {
            let mut parts = Elements::of(spki.content);
            let algorithm = parts.next_if(|tag| tag == walk::SEQUENCE)?;
            let bits = parts.next_if(|tag| tag == walk::BIT_STRING);
            if bits.is_none() || !parts.at_end() {
                fault.note("a public key that is none");
            }
            let (word, size) = self.keys.get(algorithm.whole, || {
                oid::key_algorithm(algorithm.content).map(|(word, size)| (word.into(), size))
            })?;
            Some((word, oid::key_bits(algorithm, bits, size)))
        });
        let signature = frame.signature_algorithm;
        let signature_algorithm =
            self.signatures.get(signature.whole, || oid::signature_algorithm(signature.content).map(Into::into));
        let (key_algorithm, key_bits) = key.map_or((None, None), |(word, bits)| (Some(word), bits));
        let stripped = if found.kind == Some(EntryKind::Precert) { POISON } else { SCT_LIST };
        let (subject_dn, subject_cn) = subject.map_or((None, None), |subject| {
            (Some(subject.text.into_boxed_str()), subject.cn.map(|cn| cn.into_owned().into_boxed_str()))
        });
        let lists = self.names.take();
        let parse_error = explain(fault.first(), refused.as_ref());
        Certificate {
            tbs_sha256: walk::digest_without(frame.tbs, &fields.extensions, stripped),
            spki_sha256: fields.spki.map(|spki| Sha256::digest(spki.whole).into()),
            sha1,
            kind: found.kind,
            serial: fields.serial.and_then(|serial| serial_text(serial.content)),
            issuer,
            subject_dn,
            subject_cn,
            not_before,
            not_after,
            registered_domains: registered_domains(&lists.names),
            names: lists.names,
            odd_names: lists.odd,
            ips: lists.ips,
            key_algorithm,
            key_bits,
            signature_algorithm,
            is_ca: found.is_ca,
            sct_count: found.sct_count,
            scts: found.scts,
            parse: if parse_error.is_none() { ParseState::Ok } else { ParseState::Partial },
            parse_error,
        }
    }

    /// Looks at the extensions that matter here and collects the names of the SANs.
    fn read_extensions(&mut self, extensions: &Extensions<'_>, fault: &mut Fault) -> Found {
        let mut found =
            Found { kind: Some(EntryKind::Final), is_ca: Some(false), sct_count: Some(0), scts: Vec::new() };
        let list = match extensions {
            Extensions::Absent => return found,
            Extensions::Unreadable => return Found { kind: None, is_ca: None, sct_count: None, scts: Vec::new() },
            Extensions::At { list, .. } => list,
        };
        let mut elements = Elements::of(list.content);
        for element in elements.by_ref() {
            let Some(extension) = Extension::read(element) else {
                fault.note("an extension that is none");
                continue;
            };
            match extension.oid {
                SUBJECT_ALT_NAME => {
                    let whole = read_alt_names(extension.value, &mut self.names);
                    if whole.is_none() {
                        fault.note("a subjectAltName that is not a list of names");
                    }
                }
                BASIC_CONSTRAINTS => {
                    // Of two that disagree the dangerous one counts.
                    let is_ca = read_basic_constraints(extension.value);
                    if is_ca.is_none() {
                        fault.note("illegible basicConstraints");
                    }
                    if found.is_ca != Some(true) {
                        found.is_ca = is_ca;
                    }
                }
                SCT_LIST => {
                    let list = SctList::read(extension.value);
                    if list.is_none() {
                        fault.note("an illegible list of SCTs");
                    }
                    found.sct_count = found.sct_count.zip(list.as_ref()).map(|(sum, list)| sum + list.count);
                    found.scts.extend(list.into_iter().flat_map(|list| list.scts));
                    found.scts.truncate(sct::SCTS_MAX);
                }
                POISON => found.kind = Some(EntryKind::Precert),
                _ => {}
            }
        }
        if !elements.at_end() {
            fault.note("an extension that reaches beyond its end");
            // What was found is so; what was not found may lie in the rest.
            return Found {
                kind: found.kind.filter(|kind| *kind == EntryKind::Precert),
                is_ca: found.is_ca.filter(|is_ca| *is_ca),
                sct_count: found.sct_count.filter(|count| *count > 0),
                scts: found.scts,
            };
        }
        found
    }
}

impl Certificate {
    /// A certificate of which nothing could be read, for the reason `why` (one line without control characters).
    pub fn failed(der: &[u8], why: &str) -> Self {
        Self {
            tbs_sha256: None,
            spki_sha256: None,
            sha1: Sha1::digest(der).into(),
            kind: None,
            serial: None,
            issuer: None,
            subject_dn: None,
            subject_cn: None,
            not_before: None,
            not_after: None,
            names: Vec::new(),
            odd_names: Vec::new(),
            registered_domains: Vec::new(),
            ips: Vec::new(),
            key_algorithm: None,
            key_bits: None,
            signature_algorithm: None,
            is_ca: None,
            sct_count: None,
            scts: Vec::new(),
            parse: ParseState::Failed,
            parse_error: Some(why.into()),
        }
    }
}

/// What the extensions say.
struct Found {
    kind: Option<EntryKind>,
    is_ca: Option<bool>,
    sct_count: Option<u32>,
    scts: Vec<Sct>,
}

fn explain(fault: Option<&'static str>, refused: Option<&X509Error>) -> Option<Box<str>> {
    let mut text = match (fault, refused) {
        (None, None) => return None,
        (Some(fault), None) => return Some(fault.into()),
        (None, Some(refused)) => refused.to_string(),
        (Some(fault), Some(refused)) => format!("{fault}; {refused}"),
    };
    text.retain(|c| !c.is_control());
    text.truncate(text.floor_char_boundary(PARSE_ERROR_BYTES_MAX));
    Some(text.into())
}

fn issuer_of(name: Element<'_>) -> (Arc<Issuer>, bool) {
    let dn = dn::read(name, |_| ());
    (Arc::new(Issuer { dn: dn.text.into(), cn: dn.cn.map(Into::into), org: dn.org.map(Into::into) }), dn.whole)
}

/// GeneralNames (RFC 5280 section 4.2.1.6). `None` if not all of it is, after what could be read.
fn read_alt_names(value: &[u8], names: &mut Names) -> Option<()> {
    const DNS_NAME: u8 = 0x82;
    const IP_ADDRESS: u8 = 0x87;
    const CLASS: u8 = 0xc0;
    const CONTEXT: u8 = 0x80;
    /// Strings may be of several pieces in BER; what says so here is a string all the same.
    const CONSTRUCTED: u8 = 0x20;
    let (list, rest) = Element::read(value).filter(|(list, _)| list.tag == walk::SEQUENCE)?;
    let mut whole = rest.is_empty();
    let mut elements = Elements::of(list.content);
    for element in elements.by_ref() {
        match element.tag & !CONSTRUCTED {
            DNS_NAME => readings(element.content, NameSource::San, names),
            IP_ADDRESS => {
                if let Ok(v4) = <[u8; 4]>::try_from(element.content) {
                    names.insert_ip(IpAddr::from(v4));
                } else if let Ok(v6) = <[u8; 16]>::try_from(element.content) {
                    names.insert_ip(IpAddr::from(v6));
                }
            }
            tag => whole &= tag & CLASS == CONTEXT,
        }
    }
    (whole && elements.at_end()).then_some(())
}

/// Whether BasicConstraints (RFC 5280 section 4.2.1.9) say that the subject is a CA.
fn read_basic_constraints(value: &[u8]) -> Option<bool> {
    let mut parts = Elements::of(Element::only(value, walk::SEQUENCE)?.content);
    let is_ca = parts.next_if(|tag| tag == walk::BOOLEAN).map(|flag| flag.content);
    parts.next_if(|tag| tag == walk::INTEGER);
    match is_ca {
        _ if !parts.at_end() => None,
        None => Some(false),
        Some([flag]) => Some(*flag != 0),
        Some(_) => None,
    }
}

/// An INTEGER's content as signed hex.
fn serial_text(content: &[u8]) -> Option<Box<str>> {
    let negative = content.first()? & 0x80 != 0;
    let hex = if negative {
        let mut magnitude: Vec<u8> = content.iter().map(|byte| !byte).collect();
        // Two's complement: the magnitude is the complement plus one. That cannot overflow: the first byte of the
        // complement is below 0x80.
        for byte in magnitude.iter_mut().rev() {
            *byte = byte.wrapping_add(1);
            if *byte != 0 {
                break;
            }
        }
        to_hex(&magnitude)
    } else {
        to_hex(content)
    };
    let digits = hex.trim_start_matches('0');
    Some(match (digits, negative) {
        ("", _) => "0".into(),
        (digits, true) => format!("-{digits}").into(),
        (digits, false) => digits.into(),
    })
}

/// Values by the bytes they were made of. Forgets everything when full: what is made again is the same.
#[derive(Debug)]
struct Cache<V> {
    values: HashMap<Box<[u8]>, V>,
}

impl<V> Default for Cache<V> {
    fn default() -> Self {
        Self { values: HashMap::new() }
    }
}

impl<V: Clone> Cache<V> {
    const ENTRIES_MAX: usize = 2_048;
    const KEY_BYTES_MAX: usize = 1_024;

    fn get(&mut self, key: &[u8], make: impl FnOnce() -> V) -> V {
        if let Some(value) = self.values.get(key) {
            return value.clone();
        }
        let value = make();
        if key.len() <= Self::KEY_BYTES_MAX {
            if self.values.len() >= Self::ENTRIES_MAX {
                self.values.clear();
            }
            self.values.insert(key.into(), value.clone());
        }
        value
    }
}
