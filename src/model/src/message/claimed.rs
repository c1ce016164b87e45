//! A certificate as a feed describes it in words, for messages that carry no DER.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;

use crate::id::{self, CertId, IdKind};
use crate::name::{self, NameSource, Names};
use crate::record::{CertRecord, EntryKind, ParseState};
use crate::time::Timestamp;

/// A certificate in a feed's words, and the readings of its names that are no plain names.
pub struct Claimed {
    pub record: CertRecord,
    pub odd_names: Vec<Box<str>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Message<'a> {
    #[serde(borrow)]
    data: Data<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Data<'a> {
    #[serde(borrow, alias = "cert")]
    leaf_cert: HashMap<Cow<'a, str>, Value>,
}

/// Builds the row of `certificates` from the text of a message that [`super::Reader::read`] accepted.
///
/// Fields of unexpected types are unknown; a feed that sends nonsense gets a row with little in it.
pub fn record(text: &str, id: CertId, kind: Option<EntryKind>) -> Claimed {
    let read: Result<Message<'_>, _> = serde_json::from_str(text);
    let parse_error = read.as_ref().err().map(|why| why.to_string().into());
    let leaf = read.unwrap_or_default().data.leaf_cert;
    let text = |key: &str| leaf.get(key).and_then(Value::as_str);
    let names_of = |party: &str, key: &str| {
        leaf.get(party).and_then(|party| party.get(key)).and_then(Value::as_str).filter(|value| !value.is_empty())
    };

    let mut names = Names::default();
    for name in leaf.get("all_domains").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
        name::readings(name.as_bytes(), NameSource::San, &mut names);
    }
    if let Some(common_name) = names_of("subject", "CN") {
        name::readings(common_name.as_bytes(), NameSource::CommonName, &mut names);
    }
    let names = names.take();
    let registered_domains = name::registered_domains(&names.names);
    let sha256 = match id.kind {
        IdKind::Sha256 => id.bytes().try_into().ok(),
        _ => None,
    };
    let record = CertRecord {
        id,
        sha256,
        sha1: ["sha1", "fingerprint"].into_iter().find_map(|key| {
            let mut sha1 = [0; 20];
            id::from_hex(text(key)?, &mut sha1)?;
            (sha1 != id::SHA1_OF_NOTHING).then_some(sha1)
        }),
        tbs_sha256: None,
        spki_sha256: None,
        kind,
        serial: text("serial_number").and_then(serial),
        issuer_dn: distinguished_name(leaf.get("issuer")).map(Arc::from),
        issuer_cn: names_of("issuer", "CN").map(Arc::from),
        issuer_org: names_of("issuer", "O").map(Arc::from),
        subject_dn: distinguished_name(leaf.get("subject")).map(Box::from),
        subject_cn: names_of("subject", "CN").map(Box::from),
        not_before: leaf.get("not_before").and_then(time),
        not_after: leaf.get("not_after").and_then(time),
        names: names.names,
        registered_domains,
        ips: names.ips,
        key_algorithm: None,
        key_bits: None,
        signature_algorithm: text("signature_algorithm").and_then(signature_algorithm).map(Arc::from),
        is_ca: leaf.get("is_ca").and_then(Value::as_bool),
        sct_count: None,
        scts: Vec::new(),
        parse: ParseState::Absent,
        parse_error,
        der_bytes: None,
        seen: None,
        log: None,
        log_index: None,
        feed: Arc::from(""),
        der: None,
    };
    Claimed { record, odd_names: names.odd }
}

/// Lower-case hex without leading zeros; `None` for what is no hex number.
pub(super) fn serial(text: &str) -> Option<Box<str>> {
    let (sign, digits) = text.strip_prefix('-').map_or(("", text), |digits| ("-", digits));
    let digits = digits.strip_prefix("0x").or(digits.strip_prefix("0X")).unwrap_or(digits);
    let digits: String = digits.chars().filter(|c| *c != ':').map(|c| c.to_ascii_lowercase()).collect();
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let digits = digits.trim_start_matches('0');
    Some(if digits.is_empty() { "0".into() } else { format!("{sign}{digits}").into() })
}

/// Seconds as a number, a float of old servers, or a text of digits; `no_expiration` is 9999-12-31T23:59:59Z
/// (RFC 5280 section 4.1.2.5).
fn time(value: &Value) -> Option<Timestamp> {
    match value {
        Value::String(text) if text == "no_expiration" => Some(Timestamp::from_seconds(253_402_300_799)),
        Value::String(text) => Timestamp::from_seconds_f64(text.parse().ok()?),
        number => Timestamp::from_seconds_f64(number.as_f64()?),
    }
}

/// In the notation of decoded certificates, from the parts a feed names.
fn distinguished_name(party: Option<&Value>) -> Option<String> {
    let party = party?;
    let parts: Vec<String> = ["C", "ST", "L", "O", "OU", "CN"]
        .into_iter()
        .filter_map(|key| {
            let value = party.get(key)?.as_str().filter(|value| !value.is_empty())?;
            Some(format!("{key}={}", crate::x509::escape_value(value)))
        })
        .collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

/// `sha256, rsa` and `ecdsa, sha256` in the words used for decoded certificates.
fn signature_algorithm(text: &str) -> Option<String> {
    let (first, second) = text.split_once(", ")?;
    match (first, second) {
        (hash, "rsa") | ("rsa", hash) => Some(format!("{hash}-rsa")),
        (hash, "ecdsa") | ("ecdsa", hash) => Some(format!("ecdsa-{hash}")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serials_of_every_server() {
        assert_eq!(serial("00F1").as_deref(), Some("f1"));
        assert_eq!(serial("A0141420000015385736A0B85ECA708").as_deref(), Some("a0141420000015385736a0b85eca708"));
        assert_eq!(serial("0x00cc").as_deref(), Some("cc"));
        assert_eq!(serial("0").as_deref(), Some("0"));
        assert_eq!(serial("serial123"), None);
        assert_eq!(serial(""), None);
    }

    #[test]
    fn a_lite_message_of_an_old_server() {
        let text = r#"{"message_type":"certificate_update","data":{"leaf_cert":{
            "subject":{"CN":"Shop.Example.com","C":null,"aggregated":"/CN=Shop.Example.com"},
            "issuer":{"C":"US","CN":"R3","O":"Let's, Encrypt","aggregated":"/C=US/CN=R3","emailAddress":null},
            "serial_number":"0498","not_before":1508123861.0,"not_after":"no_expiration",
            "fingerprint":"27:58:3D:01:3D:71:B8:D3:A6:6E:2C:7A:86:3A:E9:1F:DB:F0:1B:5D",
            "signature_algorithm":"sha256, rsa","all_domains":["*.Example.com","www.example.co.uk", 7]}}}"#;
        let Claimed { record, .. } = record(text, CertId::claimed_sha1([1; 20]), Some(EntryKind::Final));
        let names: Vec<&str> = record.names.iter().map(|name| &**name).collect();
        assert_eq!(names, ["*.example.com", "www.example.co.uk", "shop.example.com"]);
        assert_eq!(record.apex_rev().as_deref(), Some("com.example"));
        assert_eq!(record.issuer_dn.as_deref(), Some(r"C=US, O=Let's\, Encrypt, CN=R3"));
        assert_eq!(record.serial.as_deref(), Some("498"));
        assert_eq!(record.not_before, Some(Timestamp::from_seconds(1_508_123_861)));
        assert_eq!(record.not_after.map(|t| t.to_string()).as_deref(), Some("9999-12-31T23:59:59.000000Z"));
        assert_eq!(record.signature_algorithm.as_deref(), Some("sha256-rsa"));
        assert_eq!(record.parse, ParseState::Absent);
    }

    #[test]
    fn nonsense_gives_a_row_with_little_in_it() {
        let text = r#"{"data":{"leaf_cert":{"all_domains":"a.com","not_before":"soon","subject":[1],"issuer":7}}}"#;
        let Claimed { record, .. } = record(text, CertId::claimed_sha1([1; 20]), None);
        assert!(record.names.is_empty() && record.not_before.is_none() && record.issuer_dn.is_none());
    }
}
