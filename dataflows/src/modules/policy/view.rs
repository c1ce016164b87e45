//! A certificate as the checks see it: read once, borrowed, with everything that more than one of them asks for.

use std::borrow::Cow;
use std::net::IpAddr;

use ct_model::Timestamp;
use ct_model::x509::raw::{self, BIT_STRING, Element, Elements, Extension, INTEGER, OID, SEQUENCE};
use ct_model::x509::sct::SctList;
use ct_model::x509::{BASIC_CONSTRAINTS, POISON, SCT_LIST, SUBJECT_ALT_NAME};

use super::log_list::LogList;
use super::names::NameFaults;
use super::residues::Residues;
use super::self_signed::is_self_signed;

/// What is known besides the certificate.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Context<'a> {
    /// When the entry was seen. There is no other clock.
    pub(super) seen: Option<Timestamp>,
    pub(super) logs: Option<&'a LogList>,
    /// SHA-256 of public keys (SPKI), sorted.
    pub(super) blocked_keys: &'a [[u8; 32]],
    /// Why the certificate's row is not `ok`, where a decoder found a reason.
    pub(super) parse_error: Option<&'a str>,
}

pub(super) struct View<'a> {
    pub(super) raw: raw::View<'a>,
    /// Of the subject.
    pub(super) common_names: Vec<Cow<'a, str>>,
    pub(super) subject_is_empty: bool,
    pub(super) alt_names: Option<AltNames<'a>>,
    pub(super) name_faults: NameFaults,
    /// Purposes as OIDs (contents); `None` without the extension.
    pub(super) purposes: Option<Vec<&'a [u8]>>,
    pub(super) policies: Vec<&'a [u8]>,
    pub(super) key_usage: Option<KeyUsage>,
    pub(super) key: Key<'a>,
    /// Of an RSA key that is not too long.
    pub(super) residues: Option<Residues>,
    /// `None` without the extension, and where it cannot be read.
    pub(super) scts: Option<SctList>,
    /// Basic constraints say so.
    pub(super) is_ca: bool,
    /// As far as can be told, see [`super::self_signed`].
    pub(super) is_self_signed: bool,
    pub(super) is_precertificate: bool,
    /// For TLS servers: an EKU says so, or there is none, or a policy of the Baseline Requirements is claimed.
    pub(super) is_tls: bool,
}

/// The entries of a subjectAltName, in order.
#[derive(Default)]
pub(super) struct AltNames<'a> {
    pub(super) dns: Vec<&'a [u8]>,
    pub(super) ips: Vec<IpAddr>,
    /// The first entry of another kind: its tag.
    pub(super) other: Option<u8>,
    pub(super) critical: bool,
}

/// Bits of keyUsage (RFC 5280 section 4.2.1.3): bit 0 is the highest.
#[derive(Clone, Copy)]
pub(super) struct KeyUsage(u16);

impl KeyUsage {
    pub(super) const fn cert_sign(self) -> bool {
        self.0 & (0x8000 >> 5) != 0
    }

    pub(super) const fn crl_sign(self) -> bool {
        self.0 & (0x8000 >> 6) != 0
    }
}

/// The public key; numbers are big-endian without leading zeros.
#[derive(Clone, Copy)]
pub(super) enum Key<'a> {
    Rsa {
        modulus: &'a [u8],
        exponent: &'a [u8],
    },
    /// The OID of the curve; `None` where it is written out or implied.
    Ec(Option<&'a [u8]>),
    Dsa,
    Other,
}

pub(super) mod oids {
    pub(in super::super) const SUBJECT_KEY_ID: &[u8] = &[0x55, 0x1d, 14];
    pub(in super::super) const KEY_USAGE: &[u8] = &[0x55, 0x1d, 15];
    pub(in super::super) const CRL_DISTRIBUTION_POINTS: &[u8] = &[0x55, 0x1d, 31];
    pub(in super::super) const POLICIES: &[u8] = &[0x55, 0x1d, 32];
    pub(in super::super) const AUTHORITY_KEY_ID: &[u8] = &[0x55, 0x1d, 35];
    pub(in super::super) const EXTENDED_KEY_USAGE: &[u8] = &[0x55, 0x1d, 37];
    pub(in super::super) const AUTHORITY_INFO_ACCESS: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 1, 1];
    pub(in super::super) const OCSP: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 0x30, 1];

    pub(in super::super) const ANY_PURPOSE: &[u8] = &[0x55, 0x1d, 37, 0];
    pub(in super::super) const SERVER_AUTH: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 1];
    pub(in super::super) const CLIENT_AUTH: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 2];
    pub(in super::super) const CODE_SIGNING: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 3];
    pub(in super::super) const EMAIL_PROTECTION: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 4];
    pub(in super::super) const TIME_STAMPING: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 8];
    pub(in super::super) const OCSP_SIGNING: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 9];
    /// RFC 6962 section 3.1.
    pub(in super::super) const PRECERTIFICATE_SIGNING: &[u8] = &[0x2b, 6, 1, 4, 1, 0xd6, 0x79, 2, 4, 4];

    /// CA/Browser Forum, "Reserved Certificate Policy Identifiers" (BR 7.1.6.1): EV, then DV, OV, IV.
    pub(super) const BR_POLICIES: [&[u8]; 4] = [
        &[0x67, 0x81, 0x0c, 1, 1],
        &[0x67, 0x81, 0x0c, 1, 2, 1],
        &[0x67, 0x81, 0x0c, 1, 2, 2],
        &[0x67, 0x81, 0x0c, 1, 2, 3],
    ];

    pub(super) const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1];
    pub(super) const RSA_PSS: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 10];
    pub(super) const EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1];
    pub(super) const DSA: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x38, 4, 1];
}

impl<'a> View<'a> {
    /// `None` for bytes without the frame of a certificate.
    pub(super) fn read(der: &'a [u8]) -> Option<Self> {
        let raw = raw::View::read(der)?;
        let value = |oid| raw.extension(oid).map(|extension| extension.value);
        let common_names = raw.common_names();
        let alt_names = raw.extension(SUBJECT_ALT_NAME).map(AltNames::read);
        let purposes = value(oids::EXTENDED_KEY_USAGE)
            .map(|value| list(value).filter(|purpose| purpose.tag == OID).map(|purpose| purpose.content).collect());
        let policies: Vec<&[u8]> = list(value(oids::POLICIES).unwrap_or_default())
            .filter_map(|policy| Elements::of(policy.content).next_if(|tag| tag == OID))
            .map(|oid| oid.content)
            .collect();
        let is_ca = value(BASIC_CONSTRAINTS).is_some_and(is_ca);
        let key = raw.spki.map_or(Key::Other, Key::read);
        let is_self_signed = is_self_signed(&raw, key, is_ca);
        let is_tls = is_for_servers(purposes.as_deref()) || policies.iter().any(|oid| oids::BR_POLICIES.contains(oid));
        let name_faults = NameFaults::find(
            alt_names.as_ref().map_or(&[], |names| &names.dns),
            // Only the names of hosts are looked at one by one.
            if is_ca { &[] } else { &common_names },
            raw.not_before.map(Timestamp::day),
        );
        let residues = match key {
            Key::Rsa { modulus, .. } => Residues::of(modulus),
            _ => None,
        };
        Some(Self {
            common_names,
            subject_is_empty: raw.subject.is_none_or(|subject| subject.content.is_empty()),
            alt_names,
            name_faults,
            purposes,
            policies,
            key_usage: value(oids::KEY_USAGE).and_then(key_usage),
            key,
            residues,
            scts: value(SCT_LIST).and_then(SctList::read),
            is_ca,
            is_self_signed,
            is_precertificate: value(POISON).is_some(),
            is_tls,
            raw,
        })
    }

    pub(super) fn has(&self, oid: &[u8]) -> bool {
        self.raw.extension(oid).is_some()
    }

    pub(super) fn value(&self, oid: &[u8]) -> Option<&'a [u8]> {
        self.raw.extension(oid).map(|extension| extension.value)
    }

    /// Seconds of validity: both ends count (RFC 5280 section 4.1.2.5).
    pub(super) fn validity_seconds(&self) -> Option<i64> {
        Some(self.raw.not_after?.seconds() - self.raw.not_before?.seconds() + 1)
    }
}

// Who a rule is for, as whoever wrote it says.

pub(super) fn any(_: &View<'_>, _: &Context<'_>) -> bool {
    true
}

/// The Baseline Requirements are for what works for TLS servers.
pub(super) fn tls(view: &View<'_>, _: &Context<'_>) -> bool {
    view.is_tls
}

pub(super) fn leaf(view: &View<'_>, _: &Context<'_>) -> bool {
    !view.is_ca
}

pub(super) fn tls_leaf(view: &View<'_>, _: &Context<'_>) -> bool {
    view.is_tls && !view.is_ca
}

/// A certificate of a subscriber was issued by somebody else.
pub(super) fn subscriber(view: &View<'_>, _: &Context<'_>) -> bool {
    view.is_tls && !view.is_ca && !view.is_self_signed
}

impl<'a> AltNames<'a> {
    fn read(extension: &Extension<'a>) -> Self {
        const DNS_NAME: u8 = 0x82;
        const IP_ADDRESS: u8 = 0x87;
        let mut names = Self { critical: extension.critical, ..Self::default() };
        for name in list(extension.value) {
            match name.tag {
                DNS_NAME => names.dns.push(name.content),
                IP_ADDRESS => match (<[u8; 4]>::try_from(name.content), <[u8; 16]>::try_from(name.content)) {
                    (Ok(v4), _) => names.ips.push(v4.into()),
                    (_, Ok(v6)) => names.ips.push(v6.into()),
                    _ => {}
                },
                tag => _ = names.other.get_or_insert(tag),
            }
        }
        names
    }
}

impl<'a> Key<'a> {
    fn read(spki: Element<'a>) -> Self {
        let mut parts = Elements::of(spki.content);
        let mut algorithm = Elements::of(parts.next_if(|tag| tag == SEQUENCE).map_or(&[], |found| found.content));
        let bits = parts.next_if(|tag| tag == BIT_STRING).and_then(|bits| bits.content.strip_prefix(&[0]));
        match algorithm.next_if(|tag| tag == OID).map(|oid| oid.content) {
            Some(oids::RSA | oids::RSA_PSS) => bits.and_then(Self::rsa).unwrap_or(Key::Other),
            Some(oids::EC) => Key::Ec(algorithm.next_if(|tag| tag == OID).map(|curve| curve.content)),
            Some(oids::DSA) => Key::Dsa,
            _ => Key::Other,
        }
    }

    /// RFC 8017 appendix A.1.1.
    fn rsa(bits: &'a [u8]) -> Option<Self> {
        let mut numbers = Elements::of(Element::read(bits).filter(|(key, _)| key.tag == SEQUENCE)?.0.content);
        let mut number = || numbers.next_if(|tag| tag == INTEGER).map(|number| without_zeros(number.content));
        Some(Key::Rsa { modulus: number()?, exponent: number()? })
    }
}

fn without_zeros(number: &[u8]) -> &[u8] {
    &number[number.iter().position(|byte| *byte != 0).unwrap_or(number.len())..]
}

/// The members of a SEQUENCE; none where there is no such thing.
pub(super) fn list(value: &[u8]) -> Elements<'_> {
    Elements::of(Element::read(value).filter(|(list, _)| list.tag == SEQUENCE).map_or(&[], |(list, _)| list.content))
}

fn is_ca(value: &[u8]) -> bool {
    list(value).next_if(|tag| tag == raw::BOOLEAN).is_some_and(|flag| flag.content.iter().any(|byte| *byte != 0))
}

fn key_usage(value: &[u8]) -> Option<KeyUsage> {
    let (bits, _) = Element::read(value).filter(|(bits, _)| bits.tag == BIT_STRING)?;
    let byte = |at: usize| bits.content.get(at).copied().unwrap_or(0);
    Some(KeyUsage(u16::from_be_bytes([byte(1), byte(2)])))
}

/// No EKU allows every purpose (RFC 5280 section 4.2.1.12), and that is how clients take it.
fn is_for_servers(purposes: Option<&[&[u8]]>) -> bool {
    purposes.is_none_or(|purposes| {
        purposes.is_empty() || purposes.iter().any(|oid| [oids::SERVER_AUTH, oids::ANY_PURPOSE].contains(oid))
    })
}

/// The keyIdentifier of an authority key identifier (RFC 5280 section 4.2.1.1).
pub(super) fn authority_key_id(value: &[u8]) -> Option<&[u8]> {
    const KEY_ID: u8 = 0x80;
    list(value).find(|part| part.tag == KEY_ID).map(|part| part.content)
}
