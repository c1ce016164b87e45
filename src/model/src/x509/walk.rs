//! A tolerant walk over DER: the places of a certificate's fields, also where a strict parser gives up.
//!
//! Nothing is copied and nothing recurses. Lengths must be definite and lie within what holds them; whether they are
//! minimal, and what the contents are, is for others to judge. Where a field is not what RFC 5280 section 4.1 wants
//! in its place, the first such [`Fault`] is noted and the walk goes on behind it.

use sha2::{Digest, Sha256};

pub const BOOLEAN: u8 = 0x01;
pub const INTEGER: u8 = 0x02;
pub const BIT_STRING: u8 = 0x03;
pub const OCTET_STRING: u8 = 0x04;
pub const OID: u8 = 0x06;
pub(super) const UTC_TIME: u8 = 0x17;
pub(super) const GENERALIZED_TIME: u8 = 0x18;
pub const SEQUENCE: u8 = 0x30;
pub const SET: u8 = 0x31;
pub(super) const VERSION: u8 = 0xa0;
const UNIQUE_IDS: [u8; 4] = [0x81, 0x82, 0xa1, 0xa2];
pub(super) const EXTENSIONS: u8 = 0xa3;

/// What is wrong with a certificate, in a few fixed words: the first fault found, since others may follow from it.
#[derive(Debug, Default)]
pub(super) struct Fault(Option<&'static str>);

impl Fault {
    pub(super) fn note(&mut self, what: &'static str) {
        self.0.get_or_insert(what);
    }

    pub(super) fn first(&self) -> Option<&'static str> {
        self.0
    }
}

/// One element: its tag, its content, and the two with the length between them.
#[derive(Clone, Copy, Debug)]
pub struct Element<'a> {
    pub tag: u8,
    pub content: &'a [u8],
    pub whole: &'a [u8],
}

impl<'a> Element<'a> {
    /// The element `input` begins with, and what follows it. `None` when it is cut short, its length is indefinite or
    /// above 2^32, or its tag has more than one byte (X.509 has none such).
    pub fn read(input: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (&tag, rest) = input.split_first()?;
        let (&first, rest) = rest.split_first()?;
        if tag & 0x1f == 0x1f {
            return None;
        }
        let (length, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            0x81..=0x84 => {
                let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                let length = bytes.iter().fold(0_u32, |length, &byte| length << 8 | u32::from(byte));
                (usize::try_from(length).ok()?, rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        Some((Self { tag, content, whole: &input[..input.len() - rest.len()] }, rest))
    }

    /// `input` as one element with that tag and nothing behind it.
    pub fn only(input: &'a [u8], tag: u8) -> Option<Self> {
        Self::read(input).filter(|(element, rest)| element.tag == tag && rest.is_empty()).map(|(element, _)| element)
    }
}

/// The elements that follow each other in some content. Ends at the end, or at the first that cannot be read.
#[derive(Clone, Copy, Debug)]
pub struct Elements<'a> {
    rest: &'a [u8],
}

impl<'a> Elements<'a> {
    pub fn of(content: &'a [u8]) -> Self {
        Self { rest: content }
    }

    /// Whether everything has been read.
    pub fn at_end(&self) -> bool {
        self.rest.is_empty()
    }

    pub fn next_if(&mut self, wanted: impl FnOnce(u8) -> bool) -> Option<Element<'a>> {
        let (element, rest) = Element::read(self.rest)?;
        wanted(element.tag).then(|| {
            self.rest = rest;
            element
        })
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = Element<'a>;

    fn next(&mut self) -> Option<Element<'a>> {
        self.next_if(|_| true)
    }
}

/// The outermost layer of a certificate.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame<'a> {
    pub(super) tbs: Element<'a>,
    pub(super) signature_algorithm: Element<'a>,
    pub(super) signature: Element<'a>,
}

impl<'a> Frame<'a> {
    /// `None` if `der` does not begin with a sequence of a sequence, a sequence and a bit string.
    pub(super) fn read(der: &'a [u8], fault: &mut Fault) -> Option<Self> {
        let (outer, rest) = Element::read(der).filter(|(outer, _)| outer.tag == SEQUENCE)?;
        let mut parts = Elements::of(outer.content);
        let tbs = parts.next_if(|tag| tag == SEQUENCE)?;
        let signature_algorithm = parts.next_if(|tag| tag == SEQUENCE)?;
        let signature = parts.next_if(|tag| tag == BIT_STRING)?;
        if !parts.at_end() {
            fault.note("bytes behind the signature");
        }
        if !rest.is_empty() {
            fault.note("bytes behind the certificate");
        }
        Some(Self { tbs, signature_algorithm, signature })
    }
}

/// The fields of a TBSCertificate as far as they could be told apart.
#[derive(Debug)]
pub(super) struct Fields<'a> {
    /// Content of the INTEGER in its wrapper; empty when there is none, which means version 1.
    pub(super) version: &'a [u8],
    pub(super) serial: Option<Element<'a>>,
    pub(super) signature_algorithm: Option<Element<'a>>,
    pub(super) issuer: Option<Element<'a>>,
    pub(super) validity: Option<Element<'a>>,
    pub(super) subject: Option<Element<'a>>,
    pub(super) spki: Option<Element<'a>>,
    pub(super) extensions: Extensions<'a>,
}

/// Where the extensions are.
#[derive(Clone, Copy, Debug)]
pub(super) enum Extensions<'a> {
    Absent,
    Unreadable,
    At {
        list: Element<'a>,
        /// What the TBSCertificate holds before and behind them.
        before: &'a [u8],
        behind: &'a [u8],
    },
}

impl<'a> Fields<'a> {
    pub(super) fn read(tbs: Element<'a>, fault: &mut Fault) -> Self {
        let mut rest = Elements::of(tbs.content);
        // A field with another tag is passed over, except that what holds the extensions is never taken for a field.
        let mut field = |rest: &mut Elements<'a>, tag: u8, what| {
            let element = rest.next_if(|found| found != EXTENSIONS).filter(|element| element.tag == tag);
            if element.is_none() {
                fault.note(what);
            }
            element
        };
        let version = rest.next_if(|tag| tag == VERSION).and_then(|wrapper| Element::only(wrapper.content, INTEGER));
        let version = version.map_or(&[][..], |number| number.content);
        let serial = field(&mut rest, INTEGER, "no serial number in its place");
        let signature_algorithm = field(&mut rest, SEQUENCE, "no signature algorithm in its place");
        let issuer = field(&mut rest, SEQUENCE, "no issuer in its place");
        let validity = field(&mut rest, SEQUENCE, "no validity in its place");
        let subject = field(&mut rest, SEQUENCE, "no subject in its place");
        let spki = field(&mut rest, SEQUENCE, "no public key in its place");
        while let Some(element) = rest.next_if(|tag| tag != EXTENSIONS) {
            if !UNIQUE_IDS.contains(&element.tag) {
                fault.note("an unknown field before the extensions");
            }
        }
        let before = &tbs.content[..tbs.content.len() - rest.rest.len()];
        let extensions = match rest.next() {
            None if rest.at_end() => Extensions::Absent,
            None => {
                fault.note("a field that reaches beyond its end");
                Extensions::Unreadable
            }
            Some(wrapper) => match Element::only(wrapper.content, SEQUENCE) {
                None => {
                    fault.note("extensions that are not a sequence");
                    Extensions::Unreadable
                }
                Some(list) => {
                    if !rest.at_end() {
                        fault.note("bytes behind the extensions");
                    }
                    Extensions::At { list, before, behind: rest.rest }
                }
            },
        };
        Self { version, serial, signature_algorithm, issuer, validity, subject, spki, extensions }
    }
}

/// An extension (RFC 5280 section 4.2); `oid` and `value` are contents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extension<'a> {
    pub oid: &'a [u8],
    pub critical: bool,
    pub value: &'a [u8],
}

impl<'a> Extension<'a> {
    pub(super) fn read(element: Element<'a>) -> Option<Self> {
        let mut parts = Elements::of(element.content);
        let oid = parts.next_if(|tag| tag == OID).filter(|_| element.tag == SEQUENCE)?;
        let critical =
            parts.next_if(|tag| tag == BOOLEAN).is_some_and(|flag| flag.content.iter().any(|byte| *byte != 0));
        let value = parts.next_if(|tag| tag == OCTET_STRING).filter(|_| parts.at_end())?;
        Some(Self { oid: oid.content, critical, value: value.content })
    }
}

/// SHA-256 of a TBSCertificate without its extensions of type `stripped`: order and bytes of all else stay, the
/// lengths around it are written anew, and the wrapper goes with its last extension (RFC 6962 section 3.1 for the
/// poison, section 3.3 for the list of timestamps). `None` where the extensions cannot be told apart.
pub(super) fn digest_without(tbs: Element<'_>, extensions: &Extensions<'_>, stripped: &[u8]) -> Option<[u8; 32]> {
    let (list, before, behind) = match *extensions {
        Extensions::Unreadable => return None,
        Extensions::Absent => return Some(Sha256::digest(tbs.whole).into()),
        Extensions::At { list, before, behind } => (list, before, behind),
    };
    let is_stripped = |element: &Element<'_>| {
        Elements::of(element.content).next_if(|tag| tag == OID).is_some_and(|oid| oid.content == stripped)
    };
    let mut elements = Elements::of(list.content);
    let stripped_bytes: usize = elements.by_ref().filter(is_stripped).map(|element| element.whole.len()).sum();
    if !elements.at_end() {
        return None;
    }
    if stripped_bytes == 0 {
        return Some(Sha256::digest(tbs.whole).into());
    }
    let kept_bytes = list.content.len() - stripped_bytes;
    let mut hash = Sha256::new();
    if kept_bytes == 0 {
        hash.update(Header::new(SEQUENCE, before.len() + behind.len()).as_bytes());
        hash.update(before);
    } else {
        let list_header = Header::new(SEQUENCE, kept_bytes);
        let wrapper_header = Header::new(EXTENSIONS, list_header.as_bytes().len() + kept_bytes);
        let wrapper_bytes = wrapper_header.as_bytes().len() + list_header.as_bytes().len() + kept_bytes;
        hash.update(Header::new(SEQUENCE, before.len() + wrapper_bytes + behind.len()).as_bytes());
        hash.update(before);
        hash.update(wrapper_header.as_bytes());
        hash.update(list_header.as_bytes());
        for element in Elements::of(list.content).filter(|element| !is_stripped(element)) {
            hash.update(element.whole);
        }
    }
    hash.update(behind);
    Some(hash.finalize().into())
}

/// A tag and a length in DER, that is, in as few bytes as possible.
struct Header {
    bytes: [u8; 10],
    len: usize,
}

impl Header {
    fn new(tag: u8, length: usize) -> Self {
        let mut bytes = [0; 10];
        bytes[0] = tag;
        let big_endian = (length as u64).to_be_bytes();
        let len = if length < 0x80 {
            bytes[1] = big_endian[7];
            2
        } else {
            let digits = &big_endian[length.leading_zeros() as usize / 8..];
            bytes[1] = 0x80 | digits.len() as u8;
            bytes[2..2 + digits.len()].copy_from_slice(digits);
            2 + digits.len()
        };
        Self { bytes, len }
    }

    fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}
