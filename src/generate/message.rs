//! CertStream messages as the three servers write them: field order, spelling, and what each leaves out.
//!
//! A message is one line of JSON without its line end. The writer appends and never fails.

use std::fmt::Write as _;
use std::net::IpAddr;

use super::certificate::{Certificate, DistinguishedName, NO_EXPIRATION, Role};
use super::log::Log;
use super::options::{Shape, Stream};

/// One entry of a log as a server reads it.
pub struct Sighting<'a> {
    pub log: &'a Log,
    pub index: u64,
    pub seen_us: i64,
    /// The log's own timestamp.
    pub submitted_ms: i64,
}

/// Whether a message about this certificate in this log carries no DER and hashes of nothing: certstream-server-go 1.9
/// throws the submitted precertificate of a tiled log away.
pub fn hashless(shape: Shape, certificate: &Certificate, log: &Log) -> bool {
    shape == Shape::Go && log.tiled && certificate.role == Role::Precert
}

/// A `certificate_update`; `chain` is what [`chain`] wrote for the certificate's issuer.
pub fn certificate_update(
    out: &mut Vec<u8>,
    (shape, stream): (Shape, Stream),
    certificate: &Certificate,
    sighting: &Sighting<'_>,
    chain: &[u8],
) {
    let with_der = stream == Stream::Full;
    let hashless = hashless(shape, certificate, sighting.log);
    // The Go server never has a chain for a tiled log.
    let chain = (with_der && !(shape == Shape::Go && sighting.log.tiled)).then_some(chain);
    let link = link(shape, sighting);
    let update_type = if certificate.role == Role::Precert { "PrecertLogEntry" } else { "X509LogEntry" };
    match shape {
        Shape::Go | Shape::Elixir => object(out, shape, |message| {
            message.object("data", |data| {
                data.number("cert_index", sighting.index);
                data.text("cert_link", &link);
                if let Some(chain) = chain {
                    data.raw("chain", chain);
                }
                write_certificate(data.key("leaf_cert"), shape, certificate, with_der, hashless);
                data.seconds("seen", sighting.seen_us);
                data.object("source", |source| write_source(source, sighting));
                data.text("update_type", update_type);
            });
            message.text("message_type", "certificate_update");
        }),
        Shape::Rust => object(out, shape, |message| {
            message.text("message_type", "certificate_update");
            message.object("data", |data| {
                data.text("update_type", update_type);
                write_certificate(data.key("leaf_cert"), shape, certificate, with_der, hashless);
                if let Some(chain) = chain {
                    data.raw("chain", chain);
                }
                data.number("cert_index", sighting.index);
                data.text("cert_link", &link);
                data.seconds("seen", sighting.seen_us);
                data.seconds("submission_timestamp", sighting.submitted_ms * 1_000);
                data.object("source", |source| write_source(source, sighting));
            });
        }),
    }
}

/// A `dns_entries` message.
pub fn dns_entries(out: &mut Vec<u8>, shape: Shape, certificate: &Certificate) {
    object(out, shape, |message| {
        if shape == Shape::Rust {
            message.text("message_type", "dns_entries");
            write_names(message.key("data"), shape, certificate);
        } else {
            write_names(message.key("data"), shape, certificate);
            message.text("message_type", "dns_entries");
        }
    });
}

/// A `heartbeat`; the time is what older servers add.
pub fn heartbeat(out: &mut Vec<u8>, shape: Shape, seen_us: i64) {
    object(out, shape, |message| {
        message.text("message_type", "heartbeat");
        if shape == Shape::Elixir {
            message.seconds("timestamp", seen_us);
        }
    });
}

/// The `chain` array of a full message.
pub fn chain(shape: Shape, certificates: &[Certificate]) -> Vec<u8> {
    let mut out = vec![b'['];
    for (position, certificate) in certificates.iter().enumerate() {
        if position > 0 {
            out.push(b',');
        }
        write_certificate(&mut out, shape, certificate, shape != Shape::Rust, false);
    }
    out.push(b']');
    out
}

fn link(shape: Shape, sighting: &Sighting<'_>) -> String {
    let Sighting { log, index, .. } = sighting;
    match (shape, log.tiled) {
        (Shape::Go, true) => String::new(),
        (Shape::Rust, true) => format!("https://{}/tile/data/{}", log.place, tile_path(index / 256)),
        _ => format!("https://{}/ct/v1/get-entries?start={index}&end={index}", log.place),
    }
}

/// static-ct-api, "Merkle Tree": groups of three digits, all but the last marked with an `x`.
fn tile_path(tile: u64) -> String {
    let digits = tile.to_string();
    let padded = format!("{tile:0>width$}", width = digits.len().next_multiple_of(3));
    let groups: Vec<&str> = (0..padded.len() / 3).map(|group| &padded[3 * group..3 * group + 3]).collect();
    let (last, first) = groups.split_last().expect("a number has at least one digit");
    first.iter().map(|group| format!("x{group}/")).collect::<String>() + last
}

fn write_source(source: &mut Object<'_>, sighting: &Sighting<'_>) {
    let Sighting { log, submitted_ms, .. } = sighting;
    source.text("name", &log.name);
    match source.shape {
        Shape::Go => {
            source.text("url", &format!("https://{}", log.place));
            source.seconds("timestamp", submitted_ms * 1_000);
            source.text("type", if log.tiled { "tiled" } else { "rfc6962" });
        }
        Shape::Rust => source.text("url", &format!("https://{}", log.place)),
        Shape::Elixir => source.text("url", &format!("https://{}/", log.place)),
    }
}

fn write_certificate(out: &mut Vec<u8>, shape: Shape, certificate: &Certificate, with_der: bool, hashless: bool) {
    let with_der = with_der && !hashless;
    let hash = |object: &mut Object<'_>, key, hash: &[u8], nothing: &[u8]| {
        object.colon_hex(key, "", if hashless { nothing } else { hash }, UPPER);
    };
    let sha1 = |object: &mut Object<'_>, key| hash(object, key, &certificate.sha1, &ct_model::id::SHA1_OF_NOTHING);
    let sha256 =
        |object: &mut Object<'_>| hash(object, "sha256", &certificate.sha256, &ct_model::id::SHA256_OF_NOTHING);
    let names = |object: &mut Object<'_>| write_names(object.key("all_domains"), shape, certificate);
    let der = |object: &mut Object<'_>| {
        if with_der {
            let text = object.key("as_der");
            text.push(b'"');
            base64_simd::STANDARD.encode_append(&certificate.der, text);
            text.push(b'"');
        }
    };
    let is_ca = certificate.role.is_ca();
    object(out, shape, |object| match shape {
        Shape::Go => {
            names(object);
            der(object);
            object.object("extensions", |object| write_extensions(object, certificate));
            sha1(object, "fingerprint");
            sha1(object, "sha1");
            sha256(object);
            object.number("not_after", certificate.not_after);
            object.number("not_before", certificate.not_before);
            object.text("serial_number", &serial(shape, certificate));
            object.text("signature_algorithm", &signature_algorithm(shape, certificate));
            object.object("subject", |object| write_name(object, &certificate.subject));
            object.object("issuer", |object| write_name(object, &certificate.parent.name));
            object.raw("is_ca", if is_ca { b"true" } else { b"false" });
        }
        Shape::Rust => {
            object.object("subject", |object| write_name(object, &certificate.subject));
            object.object("issuer", |object| write_name(object, &certificate.parent.name));
            object.text("serial_number", &serial(shape, certificate));
            object.number("not_before", certificate.not_before);
            object.number("not_after", certificate.not_after);
            sha1(object, "fingerprint");
            sha1(object, "sha1");
            sha256(object);
            object.text("signature_algorithm", &signature_algorithm(shape, certificate));
            object.raw("is_ca", if is_ca { b"true" } else { b"false" });
            if !is_ca {
                names(object);
            }
            der(object);
            object.object("extensions", |object| write_extensions(object, certificate));
        }
        Shape::Elixir => {
            names(object);
            der(object);
            object.object("extensions", |object| write_extensions(object, certificate));
            sha1(object, "fingerprint");
            object.object("issuer", |object| write_name(object, &certificate.parent.name));
            if certificate.not_after == NO_EXPIRATION {
                object.text("not_after", "no_expiration");
            } else {
                object.number("not_after", certificate.not_after);
            }
            object.number("not_before", certificate.not_before);
            object.text("serial_number", &serial(shape, certificate));
            object.text("signature_algorithm", &signature_algorithm(shape, certificate));
            object.object("subject", |object| write_name(object, &certificate.subject));
        }
    });
}

/// The Elixir server keeps names in a set, which it writes sorted.
fn write_names(out: &mut Vec<u8>, shape: Shape, certificate: &Certificate) {
    let mut names: Vec<&str> = certificate.subjects.names.iter().map(String::as_str).collect();
    if shape == Shape::Elixir {
        names.sort_unstable();
    }
    out.push(b'[');
    for (position, name) in names.into_iter().enumerate() {
        if position > 0 {
            out.push(b',');
        }
        write_text(out, name);
    }
    out.push(b']');
}

/// Upper-case hex; the Elixir server leaves a leading zero digit out.
fn serial(shape: Shape, certificate: &Certificate) -> String {
    let mut text = ct_model::id::to_hex(&certificate.serial).to_ascii_uppercase();
    if shape == Shape::Elixir && text.starts_with('0') {
        text.remove(0);
    }
    text
}

fn signature_algorithm(shape: Shape, certificate: &Certificate) -> String {
    let signature = certificate.parent.signature;
    match (signature.is_rsa(), shape) {
        (true, _) => format!("{}, rsa", signature.hash()),
        (false, Shape::Elixir) => format!("{}, ecdsa", signature.hash()),
        (false, _) => format!("ecdsa, {}", signature.hash()),
    }
}

fn write_name(object: &mut Object<'_>, name: &DistinguishedName) {
    let organization = name.organization;
    // Go and Rust show the street where one expects the state.
    let place = if object.shape == Shape::Elixir { organization.state } else { organization.street };
    let common_name = name.common_name.as_deref();
    let parts = [
        ("C", organization.country),
        ("CN", common_name),
        ("L", organization.locality),
        ("O", organization.organization),
        ("OU", organization.unit),
        ("ST", place),
    ];
    let mut aggregated = String::new();
    for (key, part) in parts {
        match part {
            Some(text) => {
                object.text(key, text);
                aggregated.extend(["/", key, "=", text]);
            }
            None if object.shape == Shape::Rust => {}
            None if object.shape == Shape::Go && key == "CN" => object.text(key, ""),
            None => object.raw(key, b"null"),
        }
    }
    object.text("aggregated", &aggregated);
    match object.shape {
        Shape::Go => object.raw("email_address", b"null"),
        Shape::Rust => {}
        Shape::Elixir => object.raw("emailAddress", b"null"),
    }
}

fn write_extensions(object: &mut Object<'_>, certificate: &Certificate) {
    let shape = object.shape;
    let elixir = shape == Shape::Elixir;
    let (parent, role) = (&certificate.parent, certificate.role);
    let urls = [("OCSP", &parent.ocsp_url), ("CA Issuers", &parent.certificate_url)];
    let known = urls.iter().filter_map(|(method, url)| Some((method, url.as_deref()?)));
    if role != Role::Root {
        let text = if elixir {
            known.fold(String::new(), |text, (method, url)| text + method + " - URI:" + url + "\n")
        } else {
            known.map(|(_, url)| format!("URI:{url}")).collect::<Vec<_>>().join(", ")
        };
        object.text("authorityInfoAccess", &text);
        let (after, digits) = if elixir { ("\\n", UPPER) } else { ("", LOWER) };
        object.colon_hex_between("authorityKeyIdentifier", "keyid:", &parent.key_id, after, digits);
    }
    object.text("basicConstraints", if role.is_ca() { "CA:TRUE" } else { "CA:FALSE" });
    if role != Role::Root {
        let mut text = String::new();
        for (position, policy) in parent.policies.iter().enumerate() {
            let arcs: Vec<String> = policy.iter().map(u32::to_string).collect();
            text.extend(["Policy: ", &arcs.join("."), "\n"]);
            if let Some(url) = parent.cps_url.as_ref().filter(|_| elixir && position == 0) {
                text.extend(["  CPS: ", url.as_str(), "\n"]);
            }
        }
        object.text("certificatePolicies", &text);
    }
    if elixir
        && role != Role::Root
        && let Some(url) = &parent.crl_url
    {
        object.text("crlDistributionPoints", &format!("Full Name:\n URI:{url}\n"));
    }
    if elixir && role == Role::Precert {
        object.raw("ctlPoisonByte", b"true");
    }
    if elixir && let Some(list) = &certificate.sct_list {
        let text = object.key("ctlSignedCertificateTimestamp");
        text.push(b'"');
        base64_simd::URL_SAFE.encode_append(list, text);
        text.push(b'"');
    }
    let client_auth = role.is_ca() || parent.client_auth;
    match shape {
        Shape::Rust if client_auth && role != Role::Root => object.text("extendedKeyUsage", "serverAuth, clientAuth"),
        Shape::Rust if role != Role::Root => object.text("extendedKeyUsage", "serverAuth"),
        Shape::Elixir if client_auth && role != Role::Root => {
            object.text("extendedKeyUsage", "TLS Web server authentication, TLS Web client authentication");
        }
        Shape::Elixir if role != Role::Root => object.text("extendedKeyUsage", "TLS Web server authentication"),
        _ => {}
    }
    object.text("keyUsage", key_usage(certificate));
    if !role.is_ca() {
        let text = alternative_names(shape, certificate);
        object.text("subjectAltName", &text);
    }
    let (before, digits) = if elixir { ("", UPPER) } else { ("keyid:", LOWER) };
    object.colon_hex("subjectKeyIdentifier", before, &certificate.key_id, digits);
    if !elixir && role == Role::Precert {
        object.raw("ctlPoisonByte", b"true");
    }
}

fn key_usage(certificate: &Certificate) -> &'static str {
    match certificate.role {
        Role::Root => "Certificate Signing, CRL Signing",
        Role::Intermediate => "Digital Signature, Certificate Signing, CRL Signing",
        _ if certificate.key_kind.is_rsa() => "Digital Signature, Key Encipherment",
        _ => "Digital Signature",
    }
}

fn alternative_names(shape: Shape, certificate: &Certificate) -> String {
    let subjects = &certificate.subjects;
    let ip_kind = if shape == Shape::Elixir { "IP" } else { "IP Address" };
    let mut parts: Vec<(&str, &dyn std::fmt::Display)> = Vec::with_capacity(subjects.names.len() + 2);
    parts.extend(subjects.names.iter().map(|name| ("DNS", name as _)));
    parts.extend(subjects.ips.iter().map(|ip: &IpAddr| (ip_kind, ip as _)));
    if shape == Shape::Elixir {
        parts.reverse();
    }
    let mut text = String::new();
    for (position, (kind, name)) in parts.into_iter().enumerate() {
        let comma = if position > 0 { ", " } else { "" };
        write!(text, "{comma}{kind}:{name}").expect("a String takes any text");
    }
    text
}

const UPPER: &[u8; 16] = b"0123456789ABCDEF";
const LOWER: &[u8; 16] = b"0123456789abcdef";

/// A JSON object under construction.
struct Object<'a> {
    out: &'a mut Vec<u8>,
    shape: Shape,
    empty: bool,
}

fn object(out: &mut Vec<u8>, shape: Shape, fields: impl FnOnce(&mut Object<'_>)) {
    out.push(b'{');
    fields(&mut Object { out, shape, empty: true });
    out.push(b'}');
}

impl Object<'_> {
    /// Where the value of `key` is to be written.
    fn key(&mut self, key: &str) -> &mut Vec<u8> {
        if !self.empty {
            self.out.push(b',');
        }
        self.empty = false;
        self.out.push(b'"');
        self.out.extend_from_slice(key.as_bytes());
        self.out.extend_from_slice(b"\":");
        self.out
    }

    fn raw(&mut self, key: &str, json: &[u8]) {
        self.key(key).extend_from_slice(json);
    }

    fn text(&mut self, key: &str, text: &str) {
        write_text(self.key(key), text);
    }

    fn object(&mut self, key: &str, fields: impl FnOnce(&mut Object<'_>)) {
        let shape = self.shape;
        object(self.key(key), shape, fields);
    }

    fn number(&mut self, key: &str, number: impl ToString + Copy) {
        self.raw(key, number.to_string().as_bytes());
    }

    /// Seconds with as many digits as are needed: microseconds from the Elixir server, else milliseconds.
    fn seconds(&mut self, key: &str, micros: i64) {
        let (whole, micros) = (micros.div_euclid(1_000_000), micros.rem_euclid(1_000_000));
        let text = match self.shape {
            Shape::Elixir => format!("{whole}.{micros:06}"),
            Shape::Go | Shape::Rust => format!("{whole}.{:03}", micros / 1_000),
        };
        self.raw(key, text.trim_end_matches('0').trim_end_matches('.').as_bytes());
    }

    fn colon_hex(&mut self, key: &str, before: &str, bytes: &[u8], digits: &[u8; 16]) {
        self.colon_hex_between(key, before, bytes, "", digits);
    }

    fn colon_hex_between(&mut self, key: &str, before: &str, bytes: &[u8], after: &str, digits: &[u8; 16]) {
        let out = self.key(key);
        out.push(b'"');
        out.extend_from_slice(before.as_bytes());
        for (position, byte) in bytes.iter().enumerate() {
            if position > 0 {
                out.push(b':');
            }
            out.extend_from_slice(&[digits[usize::from(byte >> 4)], digits[usize::from(byte & 15)]]);
        }
        out.extend_from_slice(after.as_bytes());
        out.push(b'"');
    }
}

/// A JSON string (RFC 8259 section 7).
fn write_text(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            _ => out.push(byte),
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tile_paths_as_the_specification_has_them() {
        assert_eq!(tile_path(5), "005");
        assert_eq!(tile_path(1_234_067), "x001/x234/067");
    }

    #[test]
    fn text_is_escaped() {
        let mut out = Vec::new();
        write_text(&mut out, "a\"b\\c\n<&>ł");
        assert_eq!(String::from_utf8(out).unwrap(), r#""a\"b\\c\n<&>ł""#);
    }

    #[test]
    fn seconds_have_no_needless_digits() {
        for (shape, micros, want) in [
            (Shape::Go, 1_500_120_999, "{\"t\":1500.12}"),
            (Shape::Rust, 1_500_000_000, "{\"t\":1500}"),
            (Shape::Elixir, 1_500_000_010, "{\"t\":1500.00001}"),
        ] {
            let mut out = Vec::new();
            object(&mut out, shape, |object| object.seconds("t", micros));
            assert_eq!(String::from_utf8(out).unwrap(), want);
        }
    }
}
