//! Certificates made to measure: a good one, with what the test changes.

use ct_model::Timestamp;
use ct_model::ctlog::list;

use super::time;

pub(super) const COMMON_NAME: &[u8] = &[0x55, 4, 3];
pub(super) const ORGANIZATION: &[u8] = &[0x55, 4, 10];
pub(super) const SAN: &[u8] = &[0x55, 0x1d, 17];
pub(super) const SKI: &[u8] = &[0x55, 0x1d, 14];
pub(super) const KEY_USAGE: &[u8] = &[0x55, 0x1d, 15];
pub(super) const CONSTRAINTS: &[u8] = &[0x55, 0x1d, 19];
pub(super) const CRLDP: &[u8] = &[0x55, 0x1d, 31];
pub(super) const POLICIES: &[u8] = &[0x55, 0x1d, 32];
pub(super) const AKI: &[u8] = &[0x55, 0x1d, 35];
pub(super) const EKU: &[u8] = &[0x55, 0x1d, 37];
pub(super) const AIA: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 1, 1];
pub(super) const SCT_LIST: &[u8] = &[0x2b, 6, 1, 4, 1, 0xd6, 0x79, 2, 4, 2];
pub(super) const POISON: &[u8] = &[0x2b, 6, 1, 4, 1, 0xd6, 0x79, 2, 4, 3];
pub(super) const SERVER_AUTH: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 1];
pub(super) const CLIENT_AUTH: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 2];

/// The id of the log whose key is this byte.
pub(super) fn log_id(key: u8) -> [u8; 32] {
    list::log_id(&[key])
}

/// An element of DER.
pub(super) fn der(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let mut out = vec![tag];
    match content.len() {
        short @ 0..=0x7f => out.push(short as u8),
        long => {
            out.push(0x83);
            out.extend_from_slice(&(long as u32).to_be_bytes()[1..]);
        }
    }
    out.extend(content);
    out
}

pub(super) fn oid(content: &[u8]) -> Vec<u8> {
    der(6, &[content])
}

pub(super) fn sequence(parts: &[Vec<u8>]) -> Vec<u8> {
    der(0x30, &parts.iter().map(Vec::as_slice).collect::<Vec<_>>())
}

#[derive(Clone)]
pub(super) struct Made {
    pub(super) serial: Vec<u8>,
    pub(super) inner_algorithm: Vec<u8>,
    pub(super) outer_algorithm: Vec<u8>,
    pub(super) issuer: Vec<u8>,
    pub(super) not_before: Timestamp,
    pub(super) not_after: Timestamp,
    pub(super) subject: Vec<u8>,
    pub(super) spki: Vec<u8>,
    /// Type, critical, value.
    pub(super) extensions: Vec<(Vec<u8>, bool, Vec<u8>)>,
}

impl Made {
    /// Of May 2026 for 90 days, for `www.example.com`, with all that the rules ask for but timestamps.
    pub(super) fn new() -> Self {
        let algorithm = sequence(&[oid(&[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2])]);
        let ocsp = sequence(&[oid(&[0x2b, 6, 1, 5, 5, 7, 0x30, 1]), der(0x86, &[b"http://ocsp.example"])]);
        let point = sequence(&[der(0xa0, &[&der(0xa0, &[&der(0x86, &[b"http://crl.example"])])])]);
        Self {
            serial: vec![0x4b; 16],
            inner_algorithm: algorithm.clone(),
            outer_algorithm: algorithm,
            issuer: name(&[(ORGANIZATION, "Example CA")]),
            not_before: time("2026-05-01T00:00:00Z"),
            not_after: time("2026-07-29T23:59:59Z"),
            subject: name(&[(COMMON_NAME, "www.example.com")]),
            spki: ec_key(&[0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7]),
            extensions: vec![
                (KEY_USAGE.to_vec(), true, vec![3, 2, 7, 0x80]),
                (EKU.to_vec(), false, sequence(&[oid(SERVER_AUTH)])),
                (CONSTRAINTS.to_vec(), true, sequence(&[])),
                (SKI.to_vec(), false, der(4, &[&[7; 20]])),
                (AKI.to_vec(), false, sequence(&[der(0x80, &[&[8; 20]])])),
                (AIA.to_vec(), false, sequence(&[ocsp])),
                (CRLDP.to_vec(), false, sequence(&[point])),
                (SAN.to_vec(), false, sequence(&[der(0x82, &[b"www.example.com"])])),
                (POLICIES.to_vec(), false, sequence(&[sequence(&[oid(&[0x67, 0x81, 0x0c, 1, 2, 1])])])),
            ],
        }
    }

    /// The same for a root: a CA that signed itself, as far as names tell.
    pub(super) fn root() -> Self {
        let mut root = Self::new().without(SAN).without(EKU).without(POLICIES).without(AIA).without(CRLDP).without(AKI);
        root.subject = root.issuer.clone();
        root.with(CONSTRAINTS, true, sequence(&[der(1, &[&[0xff]])])).with(KEY_USAGE, true, vec![3, 2, 1, 6])
    }

    pub(super) fn lasting(mut self, from: &str, seconds: i64) -> Self {
        self.not_before = time(from);
        self.not_after = Timestamp::from_seconds(self.not_before.seconds() + seconds);
        self
    }

    pub(super) fn without(mut self, oid: &[u8]) -> Self {
        self.extensions.retain(|(known, ..)| known != oid);
        self
    }

    /// In place of what is there.
    pub(super) fn with(mut self, oid: &[u8], critical: bool, value: Vec<u8>) -> Self {
        self = self.without(oid);
        self.extensions.push((oid.to_vec(), critical, value));
        self
    }

    /// SAN entries of any tag; the first dNSName becomes the common name.
    pub(super) fn named(mut self, entries: &[(u8, &[u8])]) -> Self {
        if let Some((_, dns)) = entries.iter().find(|(tag, _)| *tag == 0x82) {
            self.subject = name(&[(COMMON_NAME, &String::from_utf8_lossy(dns))]);
        }
        let entries: Vec<Vec<u8>> = entries.iter().map(|(tag, content)| der(*tag, &[content])).collect();
        self.with(SAN, false, sequence(&entries))
    }

    pub(super) fn dns(self, names: &[&str]) -> Self {
        self.named(&names.iter().map(|name| (0x82, name.as_bytes())).collect::<Vec<_>>())
    }

    pub(super) fn for_purposes(self, purposes: &[&[u8]]) -> Self {
        let purposes: Vec<Vec<u8>> = purposes.iter().map(|purpose| oid(purpose)).collect();
        self.with(EKU, false, sequence(&purposes))
    }

    /// Timestamps of logs, by the byte that is their key.
    pub(super) fn promised(self, scts: &[(u8, Timestamp)]) -> Self {
        let item = |(log, at): &(u8, Timestamp)| {
            let sct = [&[0][..], &log_id(*log), &(at.millis() as u64).to_be_bytes(), &[0, 0, 4, 3, 0, 0]].concat();
            [&(sct.len() as u16).to_be_bytes()[..], &sct].concat()
        };
        let items: Vec<u8> = scts.iter().flat_map(item).collect();
        self.with(SCT_LIST, false, der(4, &[&(items.len() as u16).to_be_bytes(), &items]))
    }

    pub(super) fn der(&self) -> Vec<u8> {
        let extension = |(type_, critical, value): &(Vec<u8>, bool, Vec<u8>)| {
            let critical = if *critical { der(1, &[&[0xff]]) } else { Vec::new() };
            der(0x30, &[&oid(type_), &critical, &der(4, &[value])])
        };
        let extensions: Vec<Vec<u8>> = self.extensions.iter().map(extension).collect();
        let tbs = sequence(&[
            der(0xa0, &[&[2, 1, 2]]),
            der(2, &[&self.serial]),
            self.inner_algorithm.clone(),
            self.issuer.clone(),
            sequence(&[generalized(self.not_before), generalized(self.not_after)]),
            self.subject.clone(),
            self.spki.clone(),
            der(0xa3, &[&sequence(&extensions)]),
        ]);
        sequence(&[tbs, self.outer_algorithm.clone(), der(3, &[&[0; 9]])])
    }
}

fn generalized(time: Timestamp) -> Vec<u8> {
    let text: String = time.to_string().chars().take(19).filter(char::is_ascii_digit).collect();
    der(0x18, &[text.as_bytes(), b"Z"])
}

pub(super) fn name(attributes: &[(&[u8], &str)]) -> Vec<u8> {
    let attribute =
        |(type_, value): &(&[u8], &str)| der(0x31, &[&sequence(&[oid(type_), der(0x0c, &[value.as_bytes()])])]);
    sequence(&attributes.iter().map(attribute).collect::<Vec<_>>())
}

pub(super) fn ec_key(curve: &[u8]) -> Vec<u8> {
    let algorithm = sequence(&[oid(&[0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1]), oid(curve)]);
    sequence(&[algorithm, der(3, &[&[0, 4]])])
}

/// Big-endian numbers.
pub(super) fn rsa_key(modulus: &[u8], exponent: &[u8]) -> Vec<u8> {
    let algorithm = sequence(&[oid(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1]), vec![5, 0]]);
    let key = sequence(&[der(2, &[&[0], modulus]), der(2, &[exponent])]);
    sequence(&[algorithm, der(3, &[&[0], &key])])
}
