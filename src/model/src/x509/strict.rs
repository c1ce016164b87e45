//! The strict reading of a certificate.
//!
//! x509-parser judges. Most certificates are written in the plainest way there is; those are known to please it, and a
//! look at the tags of their elements costs a tenth of what it costs.

use x509_parser::certificate::X509CertificateParser;
use x509_parser::error::X509Error;
use x509_parser::nom::Parser;

use super::validity;
use super::walk::{
    BIT_STRING, BOOLEAN, EXTENSIONS, Element, Elements, INTEGER, OCTET_STRING, OID, SEQUENCE, SET, UTC_TIME, VERSION,
};

/// Why x509-parser refuses a certificate, if it does. The insides of extensions are left out: those that matter here
/// are read anyway, and the others cost half the time.
pub(super) fn refusal(der: &[u8]) -> Option<X509Error> {
    if is_plain(der) {
        return None;
    }
    X509CertificateParser::new().with_deep_parse_extensions(false).parse(der).err().map(X509Error::from)
}

/// Whether a certificate is of version 3 with extensions, without unique ids and until 2049, and has exactly the
/// elements that RFC 5280 section 4.1 wants. x509-parser refuses nothing of that kind.
pub(super) fn is_plain(der: &[u8]) -> bool {
    certificate(der).is_some()
}

fn certificate(der: &[u8]) -> Option<()> {
    let [tbs, signature_algorithm, signature] =
        exactly(Element::only(der, SEQUENCE)?, [SEQUENCE, SEQUENCE, BIT_STRING])?;
    algorithm(signature_algorithm)?;
    bits(signature)?;
    let [version, _serial, signature_algorithm, issuer, validity, subject, spki, extensions] =
        exactly(tbs, [VERSION, INTEGER, SEQUENCE, SEQUENCE, SEQUENCE, SEQUENCE, SEQUENCE, EXTENSIONS])?;
    if version.content != [INTEGER, 1, 2] {
        return None;
    }
    algorithm(signature_algorithm)?;
    name(issuer)?;
    exactly(validity, [UTC_TIME, UTC_TIME])?.into_iter().try_for_each(date)?;
    name(subject)?;
    let [key_algorithm, key] = exactly(spki, [SEQUENCE, BIT_STRING])?;
    algorithm(key_algorithm)?;
    bits(key)?;
    let [list] = exactly(extensions, [SEQUENCE])?;
    each(list, SEQUENCE, extension)
}

/// The parts of an element, which have those tags.
fn exactly<'a, const PARTS: usize>(element: Element<'a>, tags: [u8; PARTS]) -> Option<[Element<'a>; PARTS]> {
    let mut parts = Elements::of(element.content);
    let mut found = [element; PARTS];
    for (part, tag) in found.iter_mut().zip(tags) {
        *part = parts.next_if(|next| next == tag)?;
    }
    parts.at_end().then_some(found)
}

/// All parts of an element have that tag and pass.
fn each(element: Element<'_>, tag: u8, check: impl Fn(Element<'_>) -> Option<()>) -> Option<()> {
    let mut parts = Elements::of(element.content);
    while !parts.at_end() {
        check(parts.next_if(|next| next == tag)?)?;
    }
    Some(())
}

/// A type and a value of any kind, which is optional.
fn algorithm(element: Element<'_>) -> Option<()> {
    let mut parts = Elements::of(element.content);
    parts.next_if(|tag| tag == OID)?;
    parts.next();
    parts.at_end().then_some(())
}

fn name(element: Element<'_>) -> Option<()> {
    let attribute = |element: Element<'_>| {
        let mut parts = Elements::of(element.content);
        parts.next_if(|tag| tag == OID)?;
        parts.next()?;
        parts.at_end().then_some(())
    };
    each(element, SET, |rdn| if rdn.content.is_empty() { None } else { each(rdn, SEQUENCE, attribute) })
}

/// `YYMMDDhhmmssZ`, without leap seconds.
fn date(element: Element<'_>) -> Option<()> {
    let [.., b'0'..=b'5', _, b'Z'] = element.content else { return None };
    (element.content.len() == 13).then(|| validity::time(element))?.map(drop)
}

/// Whole bytes.
fn bits(element: Element<'_>) -> Option<()> {
    (*element.content.first()? == 0).then_some(())
}

fn extension(element: Element<'_>) -> Option<()> {
    let mut parts = Elements::of(element.content);
    parts.next_if(|tag| tag == OID)?;
    if let Some(critical) = parts.next_if(|tag| tag == BOOLEAN)
        && critical.content.len() != 1
    {
        return None;
    }
    parts.next_if(|tag| tag == OCTET_STRING)?;
    parts.at_end().then_some(())
}
