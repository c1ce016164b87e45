//! Reading of certificates, against values from another implementation, against x509-parser, and against damage.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    reason = "tests read files that are not part of the crate"
)]

use std::path::PathBuf;
use std::process::Command;

use x509_parser::asn1_rs::{Any, FromDer};
use x509_parser::certificate::{X509Certificate, X509CertificateParser};
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::nom::Parser;

use super::*;
use crate::id::from_hex;

// Made and described by Python's `cryptography`; every value expected of them below is its word.

/// A precertificate; names, addresses and a mail address in the SAN.
const PRECERT: &str = "\
    MIICfjCCAgWgAwIBAgIQAKGyw9Tl9gcYKTpLXG1+jzAKBggqhkjOPQQDAzA5MQswCQYDVQQGEwJVUzEWMBQGA1UECgwNRXhhbXBsZSwgSW5jLj\
    ESMBAGA1UEAwwJVGVzdCBDQSAxMB4XDTI2MDMwMTEyMDAwMFoXDTI2MDUzMDExNTk1OVowGjEYMBYGA1UEAwwPd3d3LmV4YW1wbGUuY29tMFkw\
    EwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEqx2BzRO0Dv3w1A8xQ4eozx4cLP9qppRZk0CjCjRU/AjVw30O4Lv9cuznPLeE4hIW+FPCSRZWWQog53\
    rVsf8cfqOCAQwwggEIMA4GA1UdDwEB/wQEAwIHgDATBgNVHSUEDDAKBggrBgEFBQcDATAMBgNVHRMBAf8EAjAAMB0GA1UdDgQWBBRtHzj1AnBD\
    PEVzozeMmAJ+Q0x8WzAfBgNVHSMEGDAWgBR4ui05z0egTol7GJJ/X1QVF64MXTBpBgNVHREEYjBggg93d3cuZXhhbXBsZS5jb22CDyouRXhhbX\
    BsZS5jby51a4cEwAACB4cQIAENuAAAAAAAAAAAAAAAB4ENYUBleGFtcGxlLm9yZ4IVeG4tLWJjaGVyLWt2YS5leGFtcGxlMBMGA1UdIAQMMAow\
    CAYGZ4EMAQIBMBMGCisGAQQB1nkCBAMBAf8EAgUAMAoGCCqGSM49BAMDA2cAMGQCMBnl89uTx0z2uxr+VqqCqqXJBtX7QqIFRbSOyw6LxpI/5T\
    qdB3cxE0SCMuMDbPZslAIwDZSrmv+vKS2ybfUAq2goOOr9eRViXLhvAEHomK0NL5k9TJNbvX3CDwsuJq7OM6QY";

/// The final certificate of the same issuance, with two invented SCTs.
const FINAL: &str = "\
    MIIDcDCCAvagAwIBAgIQAKGyw9Tl9gcYKTpLXG1+jzAKBggqhkjOPQQDAzA5MQswCQYDVQQGEwJVUzEWMBQGA1UECgwNRXhhbXBsZSwgSW5jLj\
    ESMBAGA1UEAwwJVGVzdCBDQSAxMB4XDTI2MDMwMTEyMDAwMFoXDTI2MDUzMDExNTk1OVowGjEYMBYGA1UEAwwPd3d3LmV4YW1wbGUuY29tMFkw\
    EwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEqx2BzRO0Dv3w1A8xQ4eozx4cLP9qppRZk0CjCjRU/AjVw30O4Lv9cuznPLeE4hIW+FPCSRZWWQog53\
    rVsf8cfqOCAf0wggH5MA4GA1UdDwEB/wQEAwIHgDATBgNVHSUEDDAKBggrBgEFBQcDATAMBgNVHRMBAf8EAjAAMB0GA1UdDgQWBBRtHzj1AnBD\
    PEVzozeMmAJ+Q0x8WzAfBgNVHSMEGDAWgBR4ui05z0egTol7GJJ/X1QVF64MXTBpBgNVHREEYjBggg93d3cuZXhhbXBsZS5jb22CDyouRXhhbX\
    BsZS5jby51a4cEwAACB4cQIAENuAAAAAAAAAAAAAAAB4ENYUBleGFtcGxlLm9yZ4IVeG4tLWJjaGVyLWt2YS5leGFtcGxlMBMGA1UdIAQMMAow\
    CAYGZ4EMAQIBMIIBAgYKKwYBBAHWeQIEAgSB8wSB8ADuAHUAAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEAAAGcqUUKAQAABAMARg\
    ABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4fICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj9AQUJDREUAdQACAgICAgICAgIC\
    AgICAgICAgICAgICAgICAgICAgICAgAAAZypRQoCAAAEAwBGAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS\
    4vMDEyMzQ1Njc4OTo7PD0+P0BBQkNERTAKBggqhkjOPQQDAwNoADBlAjBaubPOMS4E8q8YVHfiLew4dLZUKXo0k+zY+TotIRGtw6GaqXfaTCMo\
    hs8pq3eC0nECMQD81HGz/JonLyKrgM0uri/9fZrQOS9qoM3K4YqWaxtrimAmknh4Pmz9gsbHrM4tuNk=";

/// A self-signed RSA root.
const ROOT: &str = "\
    MIICzjCCAbagAwIBAgIBATANBgkqhkiG9w0BAQsFADAfMQswCQYDVQQGEwJERTEQMA4GA1UEAwwHUm9vdCDDnDAgFw0yMDAxMDEwMDAwMDBaGA\
    8yMDYwMDEwMTAwMDAwMFowHzELMAkGA1UEBhMCREUxEDAOBgNVBAMMB1Jvb3Qgw5wwggEiMA0GCSqGSIb3DQEBAQUAA4IBDwAwggEKAoIBAQCw\
    YmBZuQLXsm7KXcaloNNwK4RdveYzkSUP8oNskjFoqcHzr69iPbRAWcjrjyMMEgC35FJeFAWRuSCbf3kDxZkIrrVjw05kdld3Sa05+vgObvxvgI\
    v3nrGWoQWTqp2ps31ACQ6QRZe0CX6VNQH+2GxExqvkY0d2xS/jf8vh4Vi6EN/BLgpnynwiRI879meICFz+y2gftNJP7wmkMw48k9HCj+Fw1dIr\
    G00alxJXOhB5NMGrVTSoDTXY/tpLsTGG1Y80H5/bVaursXG3WSyV7ryg0W31XQUpYGtvTfP9rgUc0kSCcFpVEJEDmVmaVgaczKdUqxF4iqeDiW\
    Lkal/7p1BFAgMBAAGjEzARMA8GA1UdEwEB/wQFMAMBAf8wDQYJKoZIhvcNAQELBQADggEBACce3tLhkWQfU+PDLyUub116DYMbV2lLZPNoUQnI\
    UpzW+XyPiRVu3eo5FNVC4FnnSx6FZI72JlSfw7Jf/FkRpMbZ5JpF0C3sdw/Ns0hSFhAG173QP9gqSZUf11BYgC62OSwQXjPalWwNWY/+iK2H3a\
    LzXft/gzMuCsPtNDeiYLaoiP6CkAImMsuvenbOlRqiRth8F4aKOZvdo+9YU3g5ogyprlNGAYfCT0xQ838eZG9elSXEoq+oAw1w2V/fxnEChBBP\
    VFUciUt7zwRGfYJQmtUG/NJv5CLIg529YfEpngU5GUcUGx1RNzRADxU92JQRq6StP5qushGr7fyQCZ2QJek=";

fn bytes(base64: &str) -> Vec<u8> {
    base64_simd::STANDARD.decode_to_vec(base64).expect("test data")
}

fn decode(der: &[u8]) -> Certificate {
    Decoder::new().decode(der)
}

fn hash<const N: usize>(hex: &str) -> [u8; N] {
    let mut out = [0; N];
    from_hex(hex, &mut out).expect("test data");
    out
}

fn texts(list: &[Box<str>]) -> Vec<&str> {
    list.iter().map(|text| &**text).collect()
}

/// An element of DER.
fn der(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let mut out = vec![tag];
    match content.len() {
        length @ 0..0x80 => out.push(length as u8),
        length @ 0x80..0x100 => out.extend([0x81, length as u8]),
        length @ 0x100..0x10000 => out.extend([0x82, (length >> 8) as u8, length as u8]),
        length => out.extend([0x83, (length >> 16) as u8, (length >> 8) as u8, length as u8]),
    }
    out.extend(content);
    out
}

/// A certificate put together from parts, to spoil one of them.
#[derive(Clone)]
struct Parts {
    serial: Vec<u8>,
    issuer: Vec<u8>,
    not_before: Vec<u8>,
    subject: Vec<u8>,
    spki: Vec<u8>,
    extensions: Vec<Vec<u8>>,
    signature_algorithm: Vec<u8>,
}

impl Parts {
    fn new() -> Self {
        let ed25519 = der(0x30, &[&der(0x06, &[&[0x2b, 0x65, 0x70]])]);
        Self {
            serial: der(0x02, &[&[0x12, 0x34]]),
            issuer: der(0x30, &[&attribute(COMMON_NAME, 0x0c, b"Issuer")]),
            not_before: der(0x17, &[b"260301120000Z"]),
            subject: der(0x30, &[]),
            spki: der(0x30, &[&ed25519, &der(0x03, &[&[0; 33]])]),
            extensions: Vec::new(),
            signature_algorithm: ed25519,
        }
    }

    fn tbs(&self) -> Vec<u8> {
        let extensions: Vec<&[u8]> = self.extensions.iter().map(Vec::as_slice).collect();
        let extensions = match extensions.is_empty() {
            true => Vec::new(),
            false => der(0xa3, &[&der(0x30, &extensions)]),
        };
        let validity = der(0x30, &[&self.not_before, &der(0x17, &[b"260601120000Z"])]);
        der(
            0x30,
            &[
                &der(0xa0, &[&der(0x02, &[&[2]])]),
                &self.serial,
                &self.signature_algorithm,
                &self.issuer,
                &validity,
                &self.subject,
                &self.spki,
                &extensions,
            ],
        )
    }

    fn certificate(&self) -> Vec<u8> {
        der(0x30, &[&self.tbs(), &self.signature_algorithm, &der(0x03, &[&[0; 65]])])
    }

    fn decode(&self) -> Certificate {
        decode(&self.certificate())
    }
}

const COMMON_NAME: &[u8] = &[0x55, 4, 3];

/// An RDN of one attribute.
fn attribute(oid: &[u8], tag: u8, value: &[u8]) -> Vec<u8> {
    der(0x31, &[&der(0x30, &[&der(0x06, &[oid]), &der(tag, &[value])])])
}

fn extension(oid: &[u8], value: &[u8]) -> Vec<u8> {
    der(0x30, &[&der(0x06, &[oid]), &der(0x04, &[value])])
}

fn alt_names(names: &[(u8, &[u8])]) -> Vec<u8> {
    let names: Vec<Vec<u8>> = names.iter().map(|(tag, name)| der(*tag, &[name])).collect();
    extension(SUBJECT_ALT_NAME, &der(0x30, &names.iter().map(Vec::as_slice).collect::<Vec<_>>()))
}

#[track_caller]
fn check_partial(certificate: &Certificate, error: &str) {
    assert_eq!((certificate.parse, certificate.parse_error.as_deref()), (ParseState::Partial, Some(error)));
}

#[test]
fn precertificate_and_final_certificate() {
    let (precert, last) = (decode(&bytes(PRECERT)), decode(&bytes(FINAL)));
    let tbs_sha256 = Some(hash("9d19bda2fede957760d784b3144e595607f64928b35caa0dce056d89fccaf18a"));
    assert_eq!(
        precert,
        Certificate {
            tbs_sha256,
            spki_sha256: Some(hash("12e92d17facf20add3cdd8db8b98ac89441a171db247a2e4c431d99902cc974b")),
            sha1: hash("74b9c0b2851b7a7dca06303aee6970386c7efbee"),
            kind: Some(EntryKind::Precert),
            serial: Some("a1b2c3d4e5f60718293a4b5c6d7e8f".into()),
            issuer: Some(Arc::new(Issuer {
                dn: r"C=US, O=Example\, Inc., CN=Test CA 1".into(),
                cn: Some("Test CA 1".into()),
                org: Some("Example, Inc.".into()),
            })),
            subject_dn: Some("CN=www.example.com".into()),
            subject_cn: Some("www.example.com".into()),
            not_before: Some(Timestamp::from_seconds(1_772_366_400)),
            not_after: Some(Timestamp::from_seconds(1_780_142_399)),
            names: ["www.example.com", "*.example.co.uk", "xn--bcher-kva.example"].map(Into::into).into(),
            odd_names: Vec::new(),
            registered_domains: ["example.com", "example.co.uk", "xn--bcher-kva.example"].map(Into::into).into(),
            ips: ["192.0.2.7", "2001:db8::7"].map(Into::into).into(),
            key_algorithm: Some("ecdsa-p256".into()),
            key_bits: Some(256),
            signature_algorithm: Some("ecdsa-sha384".into()),
            is_ca: Some(false),
            sct_count: Some(0),
            scts: Vec::new(),
            parse: ParseState::Ok,
            parse_error: None,
        }
    );
    let sha1 = hash("4c635fb71be98b80f999828bc6dbcbd483427f16");
    let sct = |log, timestamp_ms| Sct { log_id: [log; 32], timestamp_ms };
    let scts = vec![sct(1, 0x19c_a945_0a01), sct(2, 0x19c_a945_0a02)];
    assert_eq!(last, Certificate { sha1, kind: Some(EntryKind::Final), sct_count: Some(2), scts, ..precert });
}

#[test]
fn root() {
    let root = decode(&bytes(ROOT));
    assert_eq!(root.tbs_sha256, Some(hash("19b304e5c873e5627c7f74c36aa83fbd8a1906060e9b36d879da870d34fa1efe")));
    assert_eq!(root.spki_sha256, Some(hash("3067d8ab568bc2cf27d125fd730d0d0badadfe0fd31664954688b57a692b96f4")));
    assert_eq!(root.serial.as_deref(), Some("1"));
    assert_eq!(root.subject_dn.as_deref(), Some("C=DE, CN=Root Ü"));
    assert_eq!(root.not_after, Some(Timestamp::from_seconds(2_840_140_800)));
    assert_eq!((root.key_algorithm.as_deref(), root.key_bits), (Some("rsa"), Some(2048)));
    assert_eq!(root.signature_algorithm.as_deref(), Some("sha256-rsa"));
    assert_eq!((root.is_ca, root.sct_count, root.parse), (Some(true), Some(0), ParseState::Ok));
    assert_eq!((root.names, root.odd_names), (Vec::new(), Vec::new()));
}

#[test]
fn plain_and_not() {
    assert!(strict::is_plain(&bytes(PRECERT)) && strict::is_plain(&bytes(FINAL)));
    assert!(!strict::is_plain(&bytes(ROOT)), "it lasts until 2060");
    let plain = Parts { extensions: vec![extension(SUBJECT_ALT_NAME, &[])], ..Parts::new() };
    assert!(strict::is_plain(&plain.certificate()));
    let date = |text: &[u8]| Parts { not_before: der(0x17, &[text]), ..plain.clone() };
    for parts in [
        Parts { extensions: Vec::new(), ..plain.clone() },
        Parts { extensions: vec![der(0x30, &[])], ..plain.clone() },
        Parts { subject: der(0x30, &[&der(0x31, &[])]), ..plain.clone() },
        Parts { subject: [plain.subject.clone(), der(0x81, &[&[0]])].concat(), ..plain.clone() },
        date(b"2603011200Z"),
        date(b"260301120060Z"),
        date(b"260229120000Z"),
    ] {
        assert!(!strict::is_plain(&parts.certificate()));
    }
}

#[test]
fn a_decoder_may_be_used_again() {
    let mut decoder = Decoder::new();
    for base64 in [PRECERT, FINAL, ROOT, PRECERT] {
        let der = bytes(base64);
        assert_eq!(decoder.decode(&der), decode(&der));
    }
    let (precert, last) = (decoder.decode(&bytes(PRECERT)), decoder.decode(&bytes(FINAL)));
    assert!(Arc::ptr_eq(&precert.issuer.expect("an issuer"), &last.issuer.expect("an issuer")));
}

#[test]
fn a_full_cache_begins_anew() {
    let mut cache = Cache::default();
    for number in 0..10_000_u32 {
        assert_eq!(cache.get(&number.to_be_bytes(), || number), number);
        assert!(cache.values.len() <= Cache::<u32>::ENTRIES_MAX);
    }
    assert_eq!(cache.get(&[0; 2_000], || 7), 7);
    assert_eq!(cache.get(&[0; 2_000], || 8), 8);
}

#[test]
fn smallest() {
    let parts = Parts::new();
    let certificate = parts.decode();
    assert_eq!((certificate.parse, certificate.serial.as_deref()), (ParseState::Ok, Some("1234")));
    assert_eq!(certificate.tbs_sha256, Some(Sha256::digest(parts.tbs()).into()));
    assert_eq!((certificate.subject_dn.as_deref(), certificate.subject_cn), (Some(""), None));
    assert_eq!((certificate.key_algorithm.as_deref(), certificate.key_bits), (Some("ed25519"), Some(256)));
    assert_eq!(certificate.signature_algorithm.as_deref(), Some("ed25519"));
    assert_eq!(certificate.kind, Some(EntryKind::Final));
}

#[test]
fn the_wrapper_goes_with_the_last_extension() {
    let bare = Parts::new();
    for oid in [POISON, SCT_LIST] {
        let value = if oid == POISON { der(0x05, &[]) } else { der(0x04, &[&[0, 0]]) };
        let only = Parts { extensions: vec![extension(oid, &value)], ..bare.clone() };
        assert_eq!(only.decode().tbs_sha256, Some(Sha256::digest(bare.tbs()).into()));
    }
}

#[test]
fn only_the_poison_leaves_a_precertificate() {
    let scts = extension(SCT_LIST, &der(0x04, &[&[0, 0]]));
    let without = Parts { extensions: vec![alt_names(&[(0x82, b"a.example")]), scts.clone()], ..Parts::new() };
    let mut with = without.clone();
    with.extensions.insert(1, extension(POISON, &der(0x05, &[])));
    assert_eq!(with.decode().tbs_sha256, Some(Sha256::digest(without.tbs()).into()));
    assert_eq!(with.decode().kind, Some(EntryKind::Precert));
}

#[test]
fn lengths_are_written_in_as_few_bytes_as_possible() {
    // Sizes around each change of the length of a length; the poison is the difference.
    for size in [1, 90, 100, 110, 120, 127, 128, 130, 200, 255, 256, 300, 65_400, 65_535, 65_536, 70_000] {
        let names = alt_names(&[(0x82, &vec![b'a'; size])]);
        let without = Parts { extensions: vec![names], ..Parts::new() };
        let mut with = without.clone();
        with.extensions.push(extension(POISON, &der(0x05, &[])));
        assert_eq!(with.decode().tbs_sha256, Some(stripped_by_copy(&without.certificate(), SCT_LIST)), "{size}");
        assert_eq!(with.decode().tbs_sha256, Some(stripped_by_copy(&with.certificate(), POISON)), "{size}");
    }
}

#[test]
fn an_illegible_date_costs_only_itself() {
    let names = alt_names(&[(0x82, b"a.example")]);
    let not_before = der(0x17, &[b"260229120000Z"]);
    let certificate = Parts { extensions: vec![names], not_before, ..Parts::new() }.decode();
    check_partial(&certificate, "an illegible date; invalid date");
    assert_eq!(texts(&certificate.names), ["a.example"]);
    assert_eq!((certificate.not_before, certificate.not_after), (None, Some(Timestamp::from_seconds(1_780_315_200))));
    assert!(certificate.tbs_sha256.is_some() && certificate.spki_sha256.is_some());
}

#[test]
fn serials() {
    let cases: [(&[u8], Option<&str>); 8] = [
        (&[0], Some("0")),
        (&[0, 0x80], Some("80")),
        (&[0x0a, 0xbc], Some("abc")),
        (&[0xff], Some("-1")),
        (&[0x80], Some("-80")),
        (&[0x80, 0], Some("-8000")),
        (&[0xff, 0x00], Some("-100")),
        (&[], None),
    ];
    for (content, want) in cases {
        let certificate = Parts { serial: der(0x02, &[content]), ..Parts::new() }.decode();
        assert_eq!(certificate.serial.as_deref(), want);
    }
}

#[test]
fn a_context_tag_is_no_serial() {
    let certificate = Parts { serial: der(0x82, &[&[1]]), ..Parts::new() }.decode();
    assert_eq!((certificate.parse, certificate.serial), (ParseState::Partial, None));
    assert_eq!(certificate.issuer.expect("an issuer").cn.as_deref(), Some("Issuer"));
}

#[test]
fn trailing_bytes() {
    let mut der = bytes(FINAL);
    der.push(0);
    let certificate = decode(&der);
    check_partial(&certificate, "bytes behind the certificate");
    assert_eq!(certificate.names.len(), 3);
    assert!(is_certificate(&der));
}

#[test]
fn every_san_extension_counts() {
    let extensions = vec![alt_names(&[(0x82, b"a.example")]), alt_names(&[(0x82, b"b.example"), (0x82, b"A.example")])];
    assert_eq!(texts(&Parts { extensions, ..Parts::new() }.decode().names), ["a.example", "b.example"]);
}

#[test]
fn spoilt_san() {
    let names: [(u8, &[u8]); 5] =
        [(0x82, b"a.example"), (0x0c, b"b.example"), (0x87, &[1, 2, 3]), (0x82, b"a\0b"), (0x82, b"?.c.example")];
    let certificate = Parts { extensions: vec![alt_names(&names)], ..Parts::new() }.decode();
    check_partial(&certificate, "a subjectAltName that is not a list of names");
    assert_eq!(texts(&certificate.names), ["a.example"]);
    assert_eq!(texts(&certificate.odd_names), ["a", "\u{fffd}", "?.c.example"]);
    let cut = extension(SUBJECT_ALT_NAME, &[0x30, 0x0f, 0x82, 9, b'a']);
    let certificate = Parts { extensions: vec![cut], ..Parts::new() }.decode();
    check_partial(&certificate, "a subjectAltName that is not a list of names");
}

#[test]
fn common_names_are_names() {
    let subject = der(
        0x30,
        &[
            &attribute(COMMON_NAME, 0x13, b"B.example"),
            &attribute(COMMON_NAME, 0x1e, b"\0c\0.\0e\0x"),
            &attribute(COMMON_NAME, 0x0c, b"Some Company"),
        ],
    );
    let extensions = vec![alt_names(&[(0x82, b"a.example"), (0x82, b"b.example")])];
    let certificate = Parts { subject, extensions, ..Parts::new() }.decode();
    assert_eq!(texts(&certificate.names), ["a.example", "b.example", "c.ex"]);
    assert_eq!(certificate.subject_cn.as_deref(), Some("B.example"));
    assert_eq!(certificate.parse, ParseState::Ok);
}

#[test]
fn many_names() {
    let names: Vec<Vec<u8>> = (0..3_000).map(|number| format!("h{number}.example.org").into_bytes()).collect();
    let names: Vec<(u8, &[u8])> = names.iter().map(|name| (0x82, name.as_slice())).collect();
    let certificate = Parts { extensions: vec![alt_names(&names)], ..Parts::new() }.decode();
    assert_eq!((certificate.names.len(), texts(&certificate.registered_domains)), (3_000, vec!["example.org"]));
    assert_eq!(certificate.parse, ParseState::Ok);
}

#[track_caller]
fn check_dn(rdns: &[Vec<u8>], want: &str) {
    let subject = der(0x30, &rdns.iter().map(Vec::as_slice).collect::<Vec<_>>());
    assert_eq!(Parts { subject, ..Parts::new() }.decode().subject_dn.as_deref(), Some(want));
}

#[test]
fn distinguished_names() {
    const ORGANIZATION: &[u8] = &[0x55, 4, 10];
    check_dn(
        &[attribute(COMMON_NAME, 0x0c, b"a"), attribute(ORGANIZATION, 0x13, b"Let's Encrypt")],
        "CN=a, O=Let's Encrypt",
    );
    check_dn(&[attribute(COMMON_NAME, 0x0c, br#" #"+,;<>\= "#)], r#"CN=\ #\"\+\,\;\<\>\\=\ "#);
    check_dn(&[attribute(COMMON_NAME, 0x0c, b"# ")], r"CN=\#\ ");
    check_dn(&[attribute(COMMON_NAME, 0x0c, "a\0\x1b[2J\u{85}\u{202e}b".as_bytes())], r"CN=a\00\1B[2J\C2\85\E2\80\AEb");
    check_dn(&[attribute(COMMON_NAME, 0x14, b"M\xfcller")], "CN=Müller");
    check_dn(&[attribute(COMMON_NAME, 0x1e, b"\0M\0\xfc\xd8\x3d\xdd\x12\xd8\x3d")], "CN=Mü🔒\u{fffd}");
    check_dn(&[attribute(COMMON_NAME, 0x1c, b"\0\0\0M\0\x01\xf5\x12\0\xff\xff\xff")], "CN=M🔒\u{fffd}");
    check_dn(&[attribute(COMMON_NAME, 0x1e, b"odd")], "CN=#1e036f6464");
    check_dn(&[attribute(&[0x2a, 3, 4], 0x0c, b"x"), attribute(COMMON_NAME, 0x04, b"x")], "1.2.3.4=x, CN=#040178");
    let pair = [(COMMON_NAME, b"a"), (ORGANIZATION, b"b")]
        .map(|(oid, value)| der(0x30, &[&der(0x06, &[oid]), &der(0x0c, &[value])]));
    check_dn(&[der(0x31, &[&pair[0], &pair[1]]), attribute(COMMON_NAME, 0x0c, b"")], "CN=a + O=b, CN=");
}

#[test]
fn an_illegible_subject_keeps_what_is_legible() {
    let subject = der(0x30, &[&attribute(COMMON_NAME, 0x0c, b"a.example"), &[0x31, 0x7f]]);
    let certificate = Parts { subject, ..Parts::new() }.decode();
    assert_eq!(certificate.parse, ParseState::Partial);
    assert_eq!(texts(&certificate.names), ["a.example"]);
}

#[track_caller]
fn check_extension(oid: &[u8], value: &[u8], is_ca: Option<bool>, sct_count: Option<u32>) {
    let certificate = Parts { extensions: vec![extension(oid, value)], ..Parts::new() }.decode();
    assert_eq!((certificate.is_ca, certificate.sct_count), (is_ca, sct_count));
    assert_eq!(certificate.parse == ParseState::Ok, is_ca.is_some() && sct_count.is_some());
}

#[test]
fn basic_constraints() {
    let check = |value: &[u8], is_ca| check_extension(BASIC_CONSTRAINTS, value, is_ca, Some(0));
    check(&[0x30, 0], Some(false));
    check(&[0x30, 3, 1, 1, 0xff], Some(true));
    check(&[0x30, 6, 1, 1, 0xff, 2, 1, 0], Some(true));
    check(&[0x30, 3, 1, 1, 1], Some(true));
    check(&[0x30, 3, 1, 1, 0], Some(false));
    check(&[0x30, 3, 2, 1, 0], Some(false));
    check(&[0x30, 2, 1, 0], None);
    check(&[0x30, 3, 4, 1, 0], None);
    check(&[0x30, 0, 0], None);
    check(&[], None);
}

#[test]
fn of_two_basic_constraints_the_dangerous_one_counts() {
    let (yes, no) = (extension(BASIC_CONSTRAINTS, &[0x30, 3, 1, 1, 0xff]), extension(BASIC_CONSTRAINTS, &[0x30, 0]));
    for extensions in [vec![yes.clone(), no.clone()], vec![no, yes]] {
        assert_eq!(Parts { extensions, ..Parts::new() }.decode().is_ca, Some(true));
    }
}

#[test]
fn lists_of_scts() {
    let check = |value: &[u8], count| check_extension(SCT_LIST, value, Some(false), count);
    check(&[4, 2, 0, 0], Some(0));
    check(&[4, 5, 0, 3, 0, 1, 7], Some(1));
    check(&[4, 9, 0, 7, 0, 1, 7, 0, 2, 7, 7], Some(2));
    check(&[4, 6, 0, 3, 0, 1, 7, 7], None);
    check(&[4, 5, 0, 3, 0, 2, 7], None);
    check(&[4, 3, 0, 1, 0], None);
    check(&[4, 0], None);
    check(&[0, 3, 0, 1, 7], None);
}

#[test]
fn algorithms() {
    let oid = |content: &[u8]| der(0x06, &[content]);
    let rsapss: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 10];
    let sha512 = der(0xa0, &[&der(0x30, &[&oid(&[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 3]), &[5, 0]])]);
    let ec: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1];
    let check = |algorithm: &[&[u8]], key: &str, bits, signature: &str| {
        let algorithm = der(0x30, algorithm);
        let spki = der(0x30, &[&algorithm, &der(0x03, &[&[0; 5]])]);
        let certificate = Parts { spki, signature_algorithm: algorithm, ..Parts::new() }.decode();
        assert_eq!((certificate.key_algorithm.as_deref(), certificate.key_bits), (Some(key), bits));
        assert_eq!(certificate.signature_algorithm.as_deref(), Some(signature));
    };
    check(&[&oid(&[0x2a, 3, 4]), &[5, 0]], "1.2.3.4", None, "1.2.3.4");
    check(&[&oid(rsapss), &der(0x30, &[&sha512])], "rsapss", None, "sha512-rsapss");
    check(&[&oid(rsapss), &der(0x30, &[])], "rsapss", None, "sha1-rsapss");
    check(&[&oid(rsapss)], "rsapss", None, "1.2.840.113549.1.1.10");
    check(&[&oid(ec), &oid(&[0x2b, 0x81, 4, 0, 34])], "ecdsa-p384", Some(384), "1.2.840.10045.2.1");
    check(&[&oid(ec), &oid(&[0x2b, 0x81, 4, 0, 1])], "ecdsa-1.3.132.0.1", None, "1.2.840.10045.2.1");
    check(&[&oid(ec), &der(0x30, &[])], "ecdsa", None, "1.2.840.10045.2.1");
    let prime = der(0x30, &[&der(0x02, &[&[0, 0x80, 0]])]);
    check(&[&oid(&[0x2a, 0x86, 0x48, 0xce, 0x38, 4, 1]), &prime], "dsa", Some(16), "1.2.840.10040.4.1");
}

#[test]
fn missing_fields() {
    let certificate =
        Parts { spki: Vec::new(), extensions: vec![alt_names(&[(0x82, b"a.example")])], ..Parts::new() }.decode();
    assert_eq!((certificate.parse, certificate.spki_sha256), (ParseState::Partial, None));
    assert_eq!(texts(&certificate.names), ["a.example"]);
}

#[test]
fn frames() {
    for not in
        [&b""[..], b"0", b"\x30\x00", b"\x30\x80\x30\x00\x30\x00\x03\x00\x00\x00", b"-----BEGIN CERTIFICATE-----"]
    {
        assert!(!is_certificate(not));
        assert_eq!(decode(not).parse, ParseState::Failed);
    }
    let least = [0x30, 6, 0x30, 0, 0x30, 0, 0x03, 0];
    assert!(is_certificate(&least));
    assert_eq!(decode(&least).parse, ParseState::Partial);
    let huge = [0x30, 0x84, 0xff, 0xff, 0xff, 0xff, 0x30, 0];
    assert!(!is_certificate(&huge));
}

/// What holds for the answer to any bytes.
#[track_caller]
fn check_any(decoder: &mut Decoder, der: &[u8]) -> Certificate {
    let certificate = decoder.decode(der);
    assert_eq!(is_certificate(der), certificate.parse != ParseState::Failed);
    assert_eq!(certificate.parse == ParseState::Ok, certificate.parse_error.is_none());
    let error = certificate.parse_error.as_deref().unwrap_or("-");
    assert!(!error.is_empty() && error.len() <= PARSE_ERROR_BYTES_MAX && !error.contains(char::is_control), "{error}");
    for dn in
        certificate.subject_dn.as_deref().into_iter().chain(certificate.issuer.as_deref().map(|issuer| &*issuer.dn))
    {
        assert!(!dn.contains(char::is_control));
    }
    for name in &certificate.names {
        assert!(crate::name::is_plain(name.as_bytes()));
    }
    assert!(!strict::is_plain(der) || strict_parser(der).is_ok(), "x509-parser refuses what is plain");
    check_against_x509_parser(der, &certificate);
    certificate
}

fn strict_parser(der: &[u8]) -> Result<(), String> {
    let parsed = X509CertificateParser::new().with_deep_parse_extensions(false).parse(der);
    parsed.map(drop).map_err(|why| why.to_string())
}

/// Where x509-parser accepts a certificate, both readers must have found the same.
#[track_caller]
fn check_against_x509_parser(der: &[u8], certificate: &Certificate) {
    let Ok((_, strict)) = X509Certificate::from_der(der) else { return };
    if certificate.parse != ParseState::Ok {
        return;
    }
    let serial = strict.tbs_certificate.serial.to_str_radix(16);
    if certificate.serial.as_deref().is_some_and(|serial| !serial.starts_with('-')) {
        assert_eq!(certificate.serial.as_deref(), Some(&*serial));
    }
    assert_eq!(certificate.spki_sha256, Some(Sha256::digest(strict.public_key().raw).into()));
    let second = |time: Option<Timestamp>| time.expect("a date that x509-parser reads").seconds();
    assert_eq!(second(certificate.not_before), strict.validity().not_before.timestamp());
    assert_eq!(second(certificate.not_after), strict.validity().not_after.timestamp());
    let poisoned = strict.extensions().iter().any(|extension| extension.oid.as_bytes() == POISON);
    assert_eq!(certificate.kind, Some(if poisoned { EntryKind::Precert } else { EntryKind::Final }));
    assert_eq!(certificate.tbs_sha256, Some(stripped_by_copy(der, if poisoned { POISON } else { SCT_LIST })));
    for extension in strict.extensions() {
        match extension.parsed_extension() {
            ParsedExtension::SubjectAlternativeName(names) => {
                for name in &names.general_names {
                    let GeneralName::DNSName(name) = name else { continue };
                    let name = name.to_ascii_lowercase();
                    if crate::name::is_plain(name.as_bytes()) {
                        assert!(texts(&certificate.names).contains(&&*name), "{name}");
                    }
                }
            }
            ParsedExtension::BasicConstraints(constraints) => assert!(certificate.is_ca >= Some(constraints.ca)),
            _ => {}
        }
    }
}

/// The digest of an issuance by another way: with asn1-rs, building the stripped TBSCertificate.
fn stripped_by_copy(der: &[u8], oid: &[u8]) -> [u8; 32] {
    fn elements(mut content: &[u8]) -> Vec<&[u8]> {
        let mut list = Vec::new();
        while !content.is_empty() {
            let (rest, _) = Any::from_der(content).expect("elements of DER");
            list.push(&content[..content.len() - rest.len()]);
            content = rest;
        }
        list
    }
    fn content(element: &[u8]) -> &[u8] {
        Any::from_der(element).expect("an element of DER").1.data
    }
    fn wrap(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
        let content = parts.concat();
        let length = content.len();
        let mut out = vec![tag];
        match length {
            0..=0x7f => out.push(length as u8),
            0x80..=0xff => out.extend([0x81, length as u8]),
            0x100..=0xffff => out.extend([0x82, (length >> 8) as u8, length as u8]),
            _ => out.extend([0x83, (length >> 16) as u8, (length >> 8) as u8, length as u8]),
        }
        [out, content].concat()
    }
    let tbs = elements(content(der))[0];
    let Some((&wrapper, fields)) = elements(content(tbs)).split_last().map(|(last, rest)| (last, rest.concat())) else {
        return Sha256::digest(tbs).into();
    };
    if wrapper[0] != 0xa3 {
        return Sha256::digest(tbs).into();
    }
    let all = elements(content(content(wrapper)));
    let kept: Vec<&[u8]> =
        all.iter().copied().filter(|extension| content(elements(content(extension))[0]) != oid).collect();
    if kept.len() == all.len() {
        return Sha256::digest(tbs).into();
    }
    let wrapper = if kept.is_empty() { Vec::new() } else { wrap(0xa3, &[&wrap(0x30, &kept)]) };
    Sha256::digest(wrap(0x30, &[&fields, &wrapper])).into()
}

#[test]
fn every_truncation_fails() {
    let mut decoder = Decoder::new();
    for base64 in [PRECERT, FINAL, ROOT] {
        let der = bytes(base64);
        for length in 0..der.len() {
            assert_eq!(check_any(&mut decoder, &der[..length]).parse, ParseState::Failed, "{length}");
        }
    }
}

#[test]
fn every_change_of_one_byte_is_survived() {
    let mut decoder = Decoder::new();
    for base64 in [PRECERT, FINAL, ROOT] {
        let whole = bytes(base64);
        let mut der = whole.clone();
        for at in 0..der.len() {
            for change in [0x01, 0x02, 0x10, 0x20, 0x40, 0x80, 0xff, whole[at], whole[at] ^ 0x7f] {
                der[at] = whole[at] ^ change;
                check_any(&mut decoder, &der);
            }
            der[at] = whole[at];
        }
    }
}

/// xorshift64 of Marsaglia (2003).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

#[test]
fn garbage_is_survived() {
    let mut random = Random(0x5eed);
    let mut decoder = Decoder::new();
    for _ in 0..5_000 {
        let garbage: Vec<u8> = (0..random.next() % 400).map(|_| random.next() as u8).collect();
        assert_eq!(check_any(&mut decoder, &garbage).parse, ParseState::Failed);
        let framed = der(0x30, &[&der(0x30, &[&garbage]), &der(0x30, &[&garbage]), &der(0x03, &[&garbage])]);
        assert_eq!(check_any(&mut decoder, &framed).parse, ParseState::Partial);
        let parts = Parts {
            subject: der(0x30, &[&garbage]),
            extensions: vec![extension(SUBJECT_ALT_NAME, &der(0x30, &[&garbage])), extension(SCT_LIST, &garbage)],
            ..Parts::new()
        };
        check_any(&mut decoder, &parts.certificate());
    }
}

#[test]
fn many_changes_are_survived() {
    let mut random = Random(0xc0ffee);
    let mut decoder = Decoder::new();
    let originals = [PRECERT, FINAL, ROOT].map(bytes);
    for round in 0..20_000 {
        let mut der = originals[round % 3].clone();
        for _ in 0..random.next() % 6 + 1 {
            let at = random.next() as usize % der.len();
            match random.next() % 3 {
                0 => der[at] = random.next() as u8,
                1 => drop(der.remove(at)),
                _ => der.insert(at, random.next() as u8),
            }
        }
        check_any(&mut decoder, &der);
    }
}

/// A folder of real certificates and log entries, which are not part of this repository.
fn real_data() -> Option<PathBuf> {
    let folder = std::env::var_os("CT_STREAM_DATA").map(PathBuf::from);
    if folder.is_none() {
        eprintln!("skipped: CT_STREAM_DATA names no folder of real certificates");
    }
    folder
}

fn json_lines(text: &[u8]) -> impl Iterator<Item = serde_json::Value> {
    text.split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).expect("a line of JSON"))
}

#[test]
fn precertificates_of_a_leaf() {
    let mut logged = Parts::new();
    logged.subject = der(0x30, &[&attribute(COMMON_NAME, 0x0c, b"a.example")]);
    let key_id = |byte: u8| extension(AUTHORITY_KEY_ID, &der(0x30, &[&der(0x80, &[&[byte; 20]])]));
    logged.extensions = vec![extension(BASIC_CONSTRAINTS, &der(0x30, &[])), key_id(1)];
    let leaf = logged.tbs();
    let check = |change: fn(&mut Parts), want: bool| {
        let mut submitted = logged.clone();
        submitted.extensions.insert(1, extension(POISON, &der(0x05, &[])));
        change(&mut submitted);
        assert_eq!(is_precertificate_of(&submitted.certificate(), &leaf), want);
    };
    check(|_| (), true);
    // By a precertificate signing certificate.
    check(|parts| parts.issuer = der(0x30, &[&attribute(COMMON_NAME, 0x0c, b"Signer")]), true);
    check(|parts| drop(parts.extensions.pop()), true);
    check(|parts| parts.serial = der(0x02, &[&[0x12, 0x35]]), false);
    check(|parts| parts.subject = der(0x30, &[&attribute(COMMON_NAME, 0x0c, b"b.example")]), false);
    check(|parts| parts.not_before = der(0x17, &[b"260301120001Z"]), false);
    check(|parts| parts.spki = der(0x30, &[]), false);
    check(|parts| drop(parts.extensions.remove(0)), false);
    check(|parts| parts.extensions.swap(0, 2), true);
    check(|parts| parts.extensions.push(extension(BASIC_CONSTRAINTS, &der(0x30, &[]))), false);
    check(|parts| parts.extensions.push(vec![0x30, 0x05, 0x00]), false);
    for cut in 0..leaf.len() {
        assert!(!is_precertificate_of(&logged.certificate(), &leaf[..cut]), "{cut}");
    }
    assert!(!is_precertificate_of(&[], &leaf) && !is_precertificate_of(&leaf, &[]));
}

/// RFC 6962 section 4.6: the leaf of a log's entry and what is logged beside it.
#[test]
fn real_log_entries() {
    let Some(folder) = real_data() else { return };
    let text = std::fs::read(folder.join("ct/entries.jsonl")).expect("ct/entries.jsonl");
    let mut decoder = Decoder::new();
    let (mut precerts, mut finals) = (0, 0);
    let mut logged: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    for entry in json_lines(&text) {
        let [leaf, extra] = ["leaf_input", "extra_data"].map(|key| bytes(entry[key].as_str().expect("base64")));
        let prefixed = |bytes: &[u8]| {
            let length = u32::from_be_bytes([0, bytes[0], bytes[1], bytes[2]]) as usize;
            bytes[3..3 + length].to_vec()
        };
        if leaf[10..12] == [0, 1] {
            let certificate = check_any(&mut decoder, &prefixed(&extra));
            assert_eq!(certificate.kind, Some(EntryKind::Precert));
            assert_eq!(certificate.tbs_sha256, Some(Sha256::digest(prefixed(&leaf[12 + 32..])).into()));
            assert_eq!(issuance(&prefixed(&extra), EntryKind::Precert), certificate.tbs_sha256);
            logged.push((prefixed(&extra), prefixed(&leaf[12 + 32..])));
            precerts += 1;
        } else {
            let der = prefixed(&leaf[12..]);
            let certificate = check_any(&mut decoder, &der);
            assert_eq!(certificate.kind, Some(EntryKind::Final));
            assert_eq!(certificate.tbs_sha256, Some(stripped_by_copy(&der, SCT_LIST)));
            assert!(certificate.sct_count >= Some(2));
            finals += 1;
        }
    }
    assert!(precerts > 0 && finals > 0);
    for (der, own) in &logged {
        for (_, tbs) in &logged {
            assert_eq!(is_precertificate_of(der, tbs), own == tbs);
        }
    }
}

#[test]
fn real_certificates() {
    let Some(folder) = real_data() else { return };
    let mut decoder = Decoder::new();
    for (file, key) in [("certs/certs.jsonl.zst", "der_base64"), ("certs/boringssl_fuzz_corpus.jsonl.zst", "b64")] {
        let zstd = Command::new("zstdcat").arg(folder.join(file)).output().expect("zstdcat runs");
        assert!(zstd.status.success(), "{file}");
        for line in json_lines(&zstd.stdout) {
            let der = bytes(line[key].as_str().expect("base64"));
            check_any(&mut decoder, &der);
        }
    }
}
