//! The parts of a certificate as they stand, borrowed from its DER, for whoever judges how it is written.
//!
//! [`super::Decoder`] says what a certificate means; this says where its bytes are. Both use the same tolerant walk, so
//! what one finds the other finds. Nothing here refuses a certificate with a frame: a part that is not there, or not
//! what it should be, is `None`, and the first such fault is told.

use std::borrow::Cow;

use sha2::{Digest, Sha256};

use super::walk::{Extensions, Fault, Fields, Frame};
use super::{dn, oid, validity};
use crate::time::Timestamp;

pub use super::walk::{BIT_STRING, BOOLEAN, Element, Elements, Extension, INTEGER, OCTET_STRING, OID, SEQUENCE, SET};

/// Extensions that are looked at. Real certificates have about ten, some test certificates 30.
pub const EXTENSIONS_MAX: usize = 256;

/// A certificate, read once.
#[derive(Clone, Debug)]
pub struct View<'a> {
    /// 1, 2 or 3; `None` for what is no version.
    pub version: Option<u8>,
    /// Content of the INTEGER.
    pub serial: Option<&'a [u8]>,
    /// AlgorithmIdentifier in the TBSCertificate.
    pub inner_signature_algorithm: Option<Element<'a>>,
    /// AlgorithmIdentifier beside the signature.
    pub signature_algorithm: Element<'a>,
    /// Content of the BIT STRING, without the byte that counts unused bits.
    pub signature: &'a [u8],
    pub issuer: Option<Element<'a>>,
    pub subject: Option<Element<'a>>,
    pub not_before: Option<Timestamp>,
    pub not_after: Option<Timestamp>,
    /// SubjectPublicKeyInfo.
    pub spki: Option<Element<'a>>,
    /// In order, at most [`EXTENSIONS_MAX`]; without what is no extension.
    pub extensions: Vec<Extension<'a>>,
    /// The first part that is not what it should be.
    pub fault: Option<&'static str>,
}

impl<'a> View<'a> {
    /// `None` for bytes without even the frame of a certificate.
    pub fn read(der: &'a [u8]) -> Option<Self> {
        let mut fault = Fault::default();
        let frame = Frame::read(der, &mut fault)?;
        let fields = Fields::read(frame.tbs, &mut fault);
        let mut extensions = Vec::new();
        if let Extensions::At { list, .. } = fields.extensions {
            let mut elements = Elements::of(list.content);
            for element in elements.by_ref() {
                match Extension::read(element) {
                    Some(_) if extensions.len() == EXTENSIONS_MAX => fault.note("too many extensions"),
                    Some(extension) => extensions.push(extension),
                    None => fault.note("an extension that is none"),
                }
            }
            if !elements.at_end() {
                fault.note("an extension that reaches beyond its end");
            }
        }
        let mut times = Elements::of(fields.validity.map_or(&[], |validity| validity.content));
        let (not_before, not_after) = (times.next().and_then(validity::time), times.next().and_then(validity::time));
        if not_before.is_none() || not_after.is_none() {
            fault.note("an illegible date");
        }
        Some(Self {
            version: match *fields.version {
                [] => Some(1),
                [version @ 0..=2] => Some(version + 1),
                _ => None,
            },
            serial: fields.serial.map(|serial| serial.content),
            inner_signature_algorithm: fields.signature_algorithm,
            signature_algorithm: frame.signature_algorithm,
            signature: frame.signature.content.get(1..).unwrap_or_default(),
            issuer: fields.issuer,
            subject: fields.subject,
            not_before,
            not_after,
            spki: fields.spki,
            extensions,
            fault: fault.first(),
        })
    }

    /// The first extension of that type.
    pub fn extension(&self, oid: &[u8]) -> Option<&Extension<'a>> {
        self.extensions.iter().find(|extension| extension.oid == oid)
    }

    /// Every common name of the subject that is text, in order, as it is.
    pub fn common_names(&self) -> Vec<Cow<'a, str>> {
        self.subject.map_or_else(Vec::new, dn::common_names)
    }

    pub fn spki_sha256(&self) -> Option<[u8; 32]> {
        self.spki.map(|spki| Sha256::digest(spki.whole).into())
    }

    /// The word for the signature algorithm, see [`super::Certificate::signature_algorithm`].
    pub fn signature_word(&self) -> Option<String> {
        oid::signature_algorithm(self.signature_algorithm.content)
    }
}

/// An object identifier's content as `1.2.840.113549`; `unknown` for what is none.
pub fn oid_text(content: &[u8]) -> String {
    oid::text(content)
}
