//! DER (X.690), as much as a log needs: to take the poison out of a precertificate, find an issuer's key, and write
//! certificates.

use super::tree::{Hash, sha256};

pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const BIT_STRING: u8 = 0x03;
pub(crate) const OCTET_STRING: u8 = 0x04;
pub(crate) const OID: u8 = 0x06;
pub(crate) const UTF8_STRING: u8 = 0x0c;
pub(crate) const UTC_TIME: u8 = 0x17;
pub(crate) const SEQUENCE: u8 = 0x30;
pub(crate) const SET: u8 = 0x31;
/// `[0]`, constructed: the version of a TBSCertificate.
pub(crate) const VERSION: u8 = 0xa0;
/// `[3]`, constructed: its extensions.
pub(crate) const EXTENSIONS: u8 = 0xa3;

/// 1.3.6.1.4.1.11129.2.4.3, the poison of a precertificate (RFC 6962 section 3.1).
pub(crate) const POISON: &[u8] = &[0x2b, 6, 1, 4, 1, 0xd6, 0x79, 2, 4, 3];
/// 1.3.6.1.4.1.11129.2.4.2, the SCT list of a final certificate (RFC 6962 section 3.3).
pub(crate) const SCT_LIST: &[u8] = &[0x2b, 6, 1, 4, 1, 0xd6, 0x79, 2, 4, 2];

/// A value with this content.
pub(crate) fn value(tag: u8, content: &[&[u8]]) -> Vec<u8> {
    let bytes: usize = content.iter().map(|part| part.len()).sum();
    let mut der = Vec::with_capacity(bytes + 5);
    der.push(tag);
    if bytes < 0x80 {
        der.push(bytes as u8);
    } else {
        let octets = bytes.to_be_bytes();
        let used = &octets[octets.iter().take_while(|octet| **octet == 0).count()..];
        der.push(0x80 | used.len() as u8);
        der.extend_from_slice(used);
    }
    content.iter().for_each(|part| der.extend_from_slice(part));
    der
}

/// One value: its tag, its content, and all its bytes.
#[derive(Clone, Copy)]
struct Value<'a> {
    tag: u8,
    content: &'a [u8],
    whole: &'a [u8],
}

/// The values that follow one another in `der`; none if that is not DER to its end.
fn values(mut der: &[u8]) -> Option<Vec<Value<'_>>> {
    let mut found = Vec::new();
    while let [tag, first, rest @ ..] = der {
        let (length, content) = match first {
            0..=0x7f => (usize::from(*first), rest),
            0x81..=0x84 => {
                let (octets, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                (octets.iter().fold(0, |sum, octet| sum << 8 | usize::from(*octet)), rest)
            }
            _ => return None,
        };
        let (content, after) = content.split_at_checked(length)?;
        found.push(Value { tag: *tag, content, whole: &der[..der.len() - after.len()] });
        der = after;
    }
    der.is_empty().then_some(found)
}

/// The fields of a certificate's TBSCertificate.
fn fields(certificate: &[u8]) -> Option<Vec<Value<'_>>> {
    let [certificate] = values(certificate)?[..] else { return None };
    values(values(certificate.content)?.first()?.content)
}

/// The TBSCertificate of a precertificate without its poison; none if it has no poison or is no certificate.
pub(crate) fn without_poison(precertificate: &[u8]) -> Option<Vec<u8>> {
    let fields = fields(precertificate)?;
    let extensions = fields.iter().find(|field| field.tag == EXTENSIONS)?;
    let all = values(values(extensions.content)?.first()?.content)?;
    let kept: Vec<&[u8]> = all.iter().filter(|extension| !is_poison(extension)).map(|kept| kept.whole).collect();
    if kept.len() == all.len() {
        return None;
    }
    // RFC 5280 section 4.1: a list of extensions has at least one.
    let list = if kept.is_empty() { Vec::new() } else { value(EXTENSIONS, &[&value(SEQUENCE, &kept)]) };
    let parts: Vec<&[u8]> =
        fields.iter().map(|field| if field.tag == EXTENSIONS { list.as_slice() } else { field.whole }).collect();
    Some(value(SEQUENCE, &parts))
}

fn is_poison(extension: &Value<'_>) -> bool {
    values(extension.content).and_then(|parts| parts.first().copied()).is_some_and(|id| id.content == POISON)
}

/// SHA-256 of the certificate's SubjectPublicKeyInfo: the `issuer_key_hash` of what it has issued.
pub(crate) fn key_hash(certificate: &[u8]) -> Option<Hash> {
    let fields = fields(certificate)?;
    // Version, which a v1 certificate has not, serial, algorithm, issuer, validity, subject, key.
    let key = fields.get(5 + usize::from(fields.first()?.tag == VERSION))?;
    Some(sha256(&[key.whole]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extension(id: &[u8]) -> Vec<u8> {
        value(SEQUENCE, &[&value(OID, &[id]), &value(OCTET_STRING, &[&[5, 0]])])
    }

    fn certificate(extensions: &[&[u8]]) -> (Vec<u8>, Vec<u8>) {
        let mut tbs = vec![value(VERSION, &[&[2, 1, 2]]), vec![2, 1, 9]];
        tbs.extend((0..4).map(|_| value(SEQUENCE, &[])));
        tbs.push(value(SEQUENCE, &[b"\x02\x01\x07"]));
        if !extensions.is_empty() {
            tbs.push(value(EXTENSIONS, &[&value(SEQUENCE, extensions)]));
        }
        let tbs = value(SEQUENCE, &tbs.iter().map(Vec::as_slice).collect::<Vec<_>>());
        (value(SEQUENCE, &[&tbs, &value(SEQUENCE, &[]), &value(BIT_STRING, &[&[0]])]), tbs)
    }

    #[track_caller]
    fn check(extensions: &[&[u8]], want: Option<&[&[u8]]>) {
        assert_eq!(without_poison(&certificate(extensions).0), want.map(|kept| certificate(kept).1));
    }

    #[test]
    fn poison_goes_and_nothing_else() {
        let (poison, other, long) = (extension(POISON), extension(SCT_LIST), value(SEQUENCE, &[&[4, 100], &[7; 100]]));
        check(&[&other, &poison, &long], Some(&[&other, &long]));
        check(&[&poison], Some(&[]));
        check(&[&other], None);
        check(&[], None);
    }

    #[test]
    fn broken_der_has_no_tbs() {
        let (whole, _) = certificate(&[&extension(POISON)]);
        for end in 0..whole.len() {
            assert_eq!(without_poison(&whole[..end]), None);
            assert_eq!(key_hash(&whole[..end]), None);
        }
    }

    #[test]
    fn key_of_a_certificate() {
        assert_eq!(key_hash(&certificate(&[]).0), Some(sha256(&[b"\x30\x03\x02\x01\x07"])));
    }
}
