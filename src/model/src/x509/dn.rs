//! Distinguished names as text.

use std::borrow::Cow;
use std::fmt::Write;

use super::oid;
use super::walk::{Element, Elements, OID, SEQUENCE, SET};
use crate::id::to_hex;
use crate::name::latin1;

/// What a Name (RFC 5280 section 4.1.2.4) says.
#[derive(Debug, Default)]
pub(super) struct Dn<'a> {
    /// `C=US, O=Let's Encrypt, CN=E7`: in encoding order, see [`read`].
    pub(super) text: String,
    /// The first common name and the first organization, as they are.
    pub(super) cn: Option<Cow<'a, str>>,
    pub(super) org: Option<Cow<'a, str>>,
    /// Whether all of it could be read, and every common name is text.
    pub(super) whole: bool,
}

const COMMON_NAME: &[u8] = &[0x55, 4, 3];
const ORGANIZATION: &[u8] = &[0x55, 4, 10];

/// Short names of attribute types: those of RFC 4514 section 3, then those that OpenSSL and everybody after it use.
const ATTRIBUTES: [(&[u8], &str); 27] = [
    (COMMON_NAME, "CN"),
    (ORGANIZATION, "O"),
    (&[0x55, 4, 6], "C"),
    (&[0x55, 4, 11], "OU"),
    (&[0x55, 4, 7], "L"),
    (&[0x55, 4, 8], "ST"),
    (&[0x55, 4, 9], "STREET"),
    (&[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 25], "DC"),
    (&[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 1], "UID"),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 1], "emailAddress"),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 2], "unstructuredName"),
    (&[0x55, 4, 4], "SN"),
    (&[0x55, 4, 5], "serialNumber"),
    (&[0x55, 4, 12], "title"),
    (&[0x55, 4, 13], "description"),
    (&[0x55, 4, 15], "businessCategory"),
    (&[0x55, 4, 17], "postalCode"),
    (&[0x55, 4, 41], "name"),
    (&[0x55, 4, 42], "GN"),
    (&[0x55, 4, 43], "initials"),
    (&[0x55, 4, 44], "generationQualifier"),
    (&[0x55, 4, 46], "dnQualifier"),
    (&[0x55, 4, 65], "pseudonym"),
    (&[0x55, 4, 97], "organizationIdentifier"),
    (&[0x2b, 6, 1, 4, 1, 0x82, 0x37, 0x3c, 2, 1, 1], "jurisdictionL"),
    (&[0x2b, 6, 1, 4, 1, 0x82, 0x37, 0x3c, 2, 1, 2], "jurisdictionST"),
    (&[0x2b, 6, 1, 4, 1, 0x82, 0x37, 0x3c, 2, 1, 3], "jurisdictionC"),
];

/// Reads a Name and calls `common_name` with each common name in it.
///
/// The text has `, ` between RDNs and ` + ` between the values of one. Values are escaped as in RFC 4514 section 2.4;
/// characters that could act on whoever shows them (controls, line separators, changes of direction) are escaped as
/// hex pairs of their UTF-8 too. A type without a short name is its dotted OID, a value that is no string `#` and its
/// DER in hex.
pub(super) fn read<'a>(name: Element<'a>, mut common_name: impl FnMut(&str)) -> Dn<'a> {
    let mut dn = Dn { whole: true, text: String::with_capacity(name.content.len()), ..Dn::default() };
    let mut rdns = Elements::of(name.content);
    for rdn in rdns.by_ref() {
        let mut between = ", ";
        let mut attributes = Elements::of(rdn.content);
        for attribute in attributes.by_ref() {
            let mut parts = Elements::of(attribute.content);
            let (Some(oid), Some(value)) = (parts.next_if(|tag| tag == OID), parts.next()) else {
                dn.whole = false;
                continue;
            };
            dn.whole &= attribute.tag == SEQUENCE && parts.at_end();
            if !dn.text.is_empty() {
                dn.text.push_str(between);
            }
            between = " + ";
            match ATTRIBUTES.iter().find(|(known, _)| *known == oid.content) {
                Some((_, short)) => dn.text.push_str(short),
                None => dn.text.push_str(&oid::text(oid.content)),
            }
            dn.text.push('=');
            let text = string(value);
            match &text {
                Some(text) => escape(text, &mut dn.text),
                None => {
                    dn.text.push('#');
                    dn.text.push_str(&to_hex(value.whole));
                }
            }
            if oid.content == COMMON_NAME {
                match &text {
                    Some(text) => common_name(text),
                    None => dn.whole = false,
                }
                dn.cn = dn.cn.or(text);
            } else if oid.content == ORGANIZATION {
                dn.org = dn.org.or(text);
            }
        }
        dn.whole &= rdn.tag == SET && attributes.at_end();
    }
    dn.whole &= rdns.at_end();
    dn
}

/// Every common name that is text, in order, as it is.
pub(super) fn common_names(name: Element<'_>) -> Vec<Cow<'_, str>> {
    fn value(attribute: Element<'_>) -> Option<Element<'_>> {
        let mut parts = Elements::of(attribute.content);
        parts.next_if(|tag| tag == OID).filter(|oid| oid.content == COMMON_NAME)?;
        parts.next()
    }
    let attributes = Elements::of(name.content).flat_map(|rdn| Elements::of(rdn.content));
    attributes.filter_map(|attribute| string(value(attribute)?)).collect()
}

/// The text of a string type. What calls itself 8-bit text is UTF-8 where it can be, else Latin-1: many certificates
/// carry one of them in a type that allows neither.
fn string(value: Element<'_>) -> Option<Cow<'_, str>> {
    const UTF8: u8 = 0x0c;
    const NUMERIC_TO_IA5: std::ops::RangeInclusive<u8> = 0x12..=0x16;
    const GRAPHIC_TO_GENERAL: std::ops::RangeInclusive<u8> = 0x19..=0x1b;
    const UNIVERSAL: u8 = 0x1c;
    const BMP: u8 = 0x1e;
    let bytes = value.content;
    match value.tag {
        BMP => {
            let (units, []) = bytes.as_chunks() else { return None };
            let units = units.iter().map(|unit| u16::from_be_bytes(*unit));
            Some(char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect())
        }
        UNIVERSAL => {
            let (units, []) = bytes.as_chunks() else { return None };
            let units = units.iter().map(|unit| u32::from_be_bytes(*unit));
            Some(units.map(|unit| char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER)).collect())
        }
        tag if tag == UTF8 || NUMERIC_TO_IA5.contains(&tag) || GRAPHIC_TO_GENERAL.contains(&tag) => {
            Some(std::str::from_utf8(bytes).map_or_else(|_| Cow::Owned(latin1(bytes)), Cow::Borrowed))
        }
        _ => None,
    }
}

pub(super) fn escape(value: &str, out: &mut String) {
    // Nearly every value there is.
    if value.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'\'' | b'*')) {
        out.push_str(value);
        return;
    }
    let last = value.len().saturating_sub(1);
    for (at, c) in value.char_indices() {
        match c {
            '"' | '+' | ',' | ';' | '<' | '>' | '\\' => {
                out.push('\\');
                out.push(c);
            }
            ' ' if at == 0 || at == last => out.push_str("\\ "),
            '#' if at == 0 => out.push_str("\\#"),
            c if acts(c) => {
                for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                    write!(out, "\\{byte:02X}").expect("a String takes what is written to it");
                }
            }
            c => out.push(c),
        }
    }
}

/// Controls, separators of lines and paragraphs, and the marks that change the direction of text.
fn acts(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}
