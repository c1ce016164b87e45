//! Certificates: the fields a feed shows, and DER that says the same (RFC 5280, RFC 6962).
//!
//! Every certificate parses. Keys and signatures are random bits in the right form, so no signature verifies. A
//! precertificate and its final certificate share every byte of the TBSCertificate but the lengths around, and the
//! poison or SCT list extension, which stands in one and the same place in both.

use std::net::IpAddr;
use std::rc::Rc;

use sha1::Sha1;
use sha2::{Digest, Sha256};

use super::der::{self, Der};
use super::names::Subjects;
use super::rng::Rng;

pub const DAY: i64 = 86_400;
/// 9999-12-31T23:59:59Z, "no well-defined expiration date" (RFC 5280 section 4.1.2.5).
pub const NO_EXPIRATION: i64 = 253_402_300_799;

const COMMON_NAME_CHARS_MAX: usize = 64; // RFC 5280 appendix A.1, ub-common-name-length

const POISON: &[u32] = &[1, 3, 6, 1, 4, 1, 11129, 2, 4, 3];
const SCT_LIST: &[u32] = &[1, 3, 6, 1, 4, 1, 11129, 2, 4, 2];

/// The parts of a distinguished name other than the common name.
#[derive(Clone, Copy, Debug)]
pub struct Organization {
    pub country: Option<&'static str>,
    pub state: Option<&'static str>,
    pub locality: Option<&'static str>,
    pub street: Option<&'static str>,
    pub organization: Option<&'static str>,
    pub unit: Option<&'static str>,
}

impl Organization {
    pub const NONE: Self =
        Self { country: None, state: None, locality: None, street: None, organization: None, unit: None };
}

#[derive(Clone, Debug)]
pub struct DistinguishedName {
    pub organization: Organization,
    pub common_name: Option<String>,
}

impl DistinguishedName {
    fn is_empty(&self) -> bool {
        self.common_name.is_none() && self.organization.organization.is_none()
    }

    fn write(&self, der: &mut Der) {
        let Organization { country, state, locality, street, organization, unit } = self.organization;
        der.sequence(|der| {
            // RFC 5280 appendix A.1: a country is a PrintableString; new names should be UTF8String otherwise.
            attribute(der, 6, der::PRINTABLE_STRING, country);
            attribute(der, 8, der::UTF8_STRING, state);
            attribute(der, 7, der::UTF8_STRING, locality);
            attribute(der, 9, der::UTF8_STRING, street);
            attribute(der, 10, der::UTF8_STRING, organization);
            attribute(der, 11, der::UTF8_STRING, unit);
            attribute(der, 3, der::UTF8_STRING, self.common_name.as_deref());
        });
    }
}

fn attribute(der: &mut Der, number: u32, tag: u8, text: Option<&str>) {
    let Some(text) = text else { return };
    der.nest(der::SET, |der| {
        der.sequence(|der| {
            der.oid(&[2, 5, 4, number]);
            der.value(tag, text.as_bytes());
        });
    });
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    Rsa2048,
    Rsa4096,
    P256,
    P384,
}

impl KeyKind {
    pub fn is_rsa(self) -> bool {
        matches!(self, Self::Rsa2048 | Self::Rsa4096)
    }

    const fn field_bytes(self) -> usize {
        match self {
            Self::Rsa2048 => 256,
            Self::Rsa4096 => 512,
            Self::P256 => 32,
            Self::P384 => 48,
        }
    }

    /// A SubjectPublicKeyInfo of random bits, and the key's identifier (RFC 5280 section 4.2.1.2, method 1).
    fn draw(self, rng: &mut Rng) -> (Der, [u8; 20]) {
        let mut bits = Der::default();
        if self.is_rsa() {
            let mut modulus = [0; 512];
            let modulus = &mut modulus[..self.field_bytes()];
            rng.fill(modulus);
            modulus[0] |= 0x80;
            without_small_factors(modulus);
            bits.sequence(|der| {
                der.unsigned(modulus);
                der.unsigned(&65_537_u32.to_be_bytes());
            });
        } else {
            let mut point = [0; 97];
            let point = &mut point[..1 + 2 * self.field_bytes()];
            rng.fill(point);
            point[0] = 4; // uncompressed (SEC 1 section 2.3.3)
            bits.raw(point);
        }
        let mut spki = Der::with_capacity(bits.bytes().len() + 32);
        spki.sequence(|der| {
            der.sequence(|der| {
                if self.is_rsa() {
                    der.oid(&[1, 2, 840, 113549, 1, 1, 1]);
                    der.null();
                } else {
                    der.oid(&[1, 2, 840, 10045, 2, 1]);
                    let curve: &[u32] =
                        if self == Self::P256 { &[1, 2, 840, 10045, 3, 1, 7] } else { &[1, 3, 132, 0, 34] };
                    der.oid(curve);
                }
            });
            der.bit_string(|der| der.raw(bits.bytes()));
        });
        (spki, Sha1::digest(bits.bytes()).into())
    }
}

/// How an issuer signs; `ecdsa` with SHA-384 for the larger curve, as issuers do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signature {
    pub key: KeyKind,
}

impl Signature {
    pub fn is_rsa(self) -> bool {
        self.key.is_rsa()
    }

    pub fn hash(self) -> &'static str {
        if self.key == KeyKind::P384 { "sha384" } else { "sha256" }
    }

    fn write_algorithm(self, der: &mut Der) {
        der.sequence(|der| match self.key {
            KeyKind::Rsa2048 | KeyKind::Rsa4096 => {
                der.oid(&[1, 2, 840, 113549, 1, 1, 11]);
                der.null();
            }
            KeyKind::P256 => der.oid(&[1, 2, 840, 10045, 4, 3, 2]),
            KeyKind::P384 => der.oid(&[1, 2, 840, 10045, 4, 3, 3]),
        });
    }

    fn write_value(self, der: &mut Der, rng: &mut Rng) {
        let mut random = [0; 512];
        let random = &mut random[..self.key.field_bytes()];
        rng.fill(random);
        der.bit_string(|der| {
            if self.is_rsa() {
                der.raw(random);
            } else {
                write_ecdsa(der, random, rng);
            }
        });
    }
}

/// Ecdsa-Sig-Value (RFC 3279 section 2.2.3); `r` is also the scratch space of s.
fn write_ecdsa(der: &mut Der, r: &mut [u8], rng: &mut Rng) {
    der.sequence(|der| {
        der.unsigned(r);
        rng.fill(r);
        der.unsigned(r);
    });
}

/// What an issuing certificate puts into those it signs.
#[derive(Clone, Debug)]
pub struct Parent {
    pub name: DistinguishedName,
    pub key_id: [u8; 20],
    pub signature: Signature,
    pub ocsp_url: Option<String>,
    pub certificate_url: Option<String>,
    pub crl_url: Option<String>,
    pub policies: &'static [&'static [u32]],
    /// A practice statement, named with the first policy.
    pub cps_url: Option<String>,
    pub client_auth: bool,
    /// How many of a leaf's extensions stand before the poison or SCT list.
    pub slot: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Root,
    Intermediate,
    Precert,
    Final,
}

impl Role {
    pub fn is_ca(self) -> bool {
        matches!(self, Self::Root | Self::Intermediate)
    }
}

/// A certificate as feeds tell of it.
#[derive(Debug)]
pub struct Certificate {
    pub role: Role,
    pub der: Vec<u8>,
    pub sha1: [u8; 20],
    pub sha256: [u8; 32],
    /// Big-endian, the first byte not zero.
    pub serial: [u8; 16],
    pub not_before: i64,
    pub not_after: i64,
    pub subject: Rc<DistinguishedName>,
    pub subjects: Rc<Subjects>,
    pub key_id: [u8; 20],
    pub key_kind: KeyKind,
    pub parent: Rc<Parent>,
    /// The value of a final certificate's SCT list extension (DER: an OCTET STRING).
    pub sct_list: Option<Vec<u8>>,
}

/// One signed statement of a log that it will take a certificate (RFC 6962 section 3.2).
#[derive(Clone, Copy, Debug)]
pub struct Sct {
    pub log_id: [u8; 32],
    pub timestamp_ms: u64,
    /// What static-ct-api logs add: the index of the entry to be.
    pub leaf_index: Option<u64>,
}

/// All of a leaf but what makes it a precertificate or a final one.
pub struct Issuance {
    serial: [u8; 16],
    not_before: i64,
    pub not_after: i64,
    subject: Rc<DistinguishedName>,
    subjects: Rc<Subjects>,
    key_id: [u8; 20],
    key_kind: KeyKind,
    parent: Rc<Parent>,
    /// The TBSCertificate up to its extensions.
    head: Der,
    before_slot: Der,
    after_slot: Der,
}

impl Issuance {
    /// A leaf of random key and serial under `parent`.
    pub fn draw(
        rng: &mut Rng,
        parent: &Rc<Parent>,
        organization: Organization,
        subjects: Subjects,
        (not_before, not_after): (i64, i64),
    ) -> Self {
        let key_kind =
            [KeyKind::P256, KeyKind::Rsa2048, KeyKind::P384, KeyKind::Rsa4096][rng.weighted(&[62, 34, 2, 2])];
        // Some issuers leave the common name out: it is not what clients look at (RFC 6125 section 6.4.4).
        let common_name =
            subjects.names.first().cloned().filter(|name| name.len() <= COMMON_NAME_CHARS_MAX && rng.below(5) != 0);
        let subject = DistinguishedName { organization, common_name };
        let (spki, key_id) = key_kind.draw(rng);
        let serial = draw_serial(rng);
        let head = tbs_head(&serial, parent, (not_before, not_after), &subject, &spki);

        let mut extensions = [const { None }; 9];
        let mut count = 0;
        let mut push = |der: Der| {
            extensions[count] = Some(der);
            count += 1;
        };
        push(key_usage(if key_kind.is_rsa() { 0xa0 } else { 0x80 }));
        push(extended_key_usage(parent.client_auth));
        push(basic_constraints(Role::Final));
        push(subject_key_identifier(&key_id));
        push(authority_key_identifier(&parent.key_id));
        authority_information(parent).into_iter().for_each(&mut push);
        push(alternative_names(&subjects, subject.is_empty()));
        push(policies(parent));
        crl_points(parent).into_iter().for_each(&mut push);

        let (mut before_slot, mut after_slot) = (Der::with_capacity(512), Der::with_capacity(256));
        for (position, extension) in extensions.iter().flatten().enumerate() {
            let side = if position < parent.slot { &mut before_slot } else { &mut after_slot };
            side.raw(extension.bytes());
        }
        Self {
            serial,
            not_before,
            not_after,
            subject: Rc::new(subject),
            subjects: Rc::new(subjects),
            key_id,
            key_kind,
            parent: Rc::clone(parent),
            head,
            before_slot,
            after_slot,
        }
    }

    pub fn precert(&self, rng: &mut Rng) -> Certificate {
        let poison = extension(POISON, true, Der::null);
        self.certificate(rng, Role::Precert, &poison, None)
    }

    pub fn finished(&self, rng: &mut Rng, scts: &[Sct]) -> Certificate {
        let mut list = Der::with_capacity(3 * 128);
        list.nest(der::OCTET_STRING, |der| der.raw(&sct_list(rng, scts)));
        let extension = extension(SCT_LIST, false, |der| der.raw(list.bytes()));
        self.certificate(rng, Role::Final, &extension, Some(list.into_bytes()))
    }

    fn certificate(&self, rng: &mut Rng, role: Role, slot: &Der, sct_list: Option<Vec<u8>>) -> Certificate {
        let der = sign(rng, self.parent.signature, &self.head, |der| {
            der.raw(self.before_slot.bytes());
            der.raw(slot.bytes());
            der.raw(self.after_slot.bytes());
        });
        Certificate {
            role,
            sha1: Sha1::digest(&der).into(),
            sha256: Sha256::digest(&der).into(),
            der,
            serial: self.serial,
            not_before: self.not_before,
            not_after: self.not_after,
            subject: Rc::clone(&self.subject),
            subjects: Rc::clone(&self.subjects),
            key_id: self.key_id,
            key_kind: self.key_kind,
            parent: Rc::clone(&self.parent),
            sct_list,
        }
    }
}

/// A certificate authority's own certificate, and what it puts into those below it.
pub fn authority(
    rng: &mut Rng,
    role: Role,
    parent: Option<&Rc<Parent>>,
    mut own: Parent,
    not_before: i64,
) -> (Rc<Parent>, Certificate) {
    let key_kind = own.signature.key;
    let (spki, key_id) = key_kind.draw(rng);
    own.key_id = key_id;
    let own = Rc::new(own);
    let parent = parent.unwrap_or(&own);
    let serial = draw_serial(rng);
    let years = if role == Role::Root { 20 } else { 5 };
    let not_after = not_before + years * 365 * DAY - 1;
    let head = tbs_head(&serial, parent, (not_before, not_after), &own.name, &spki);
    let der = sign(rng, parent.signature, &head, |der| {
        if role == Role::Root {
            der.raw(key_usage(0x06).bytes());
            der.raw(basic_constraints(role).bytes());
            der.raw(subject_key_identifier(&key_id).bytes());
            return;
        }
        der.raw(key_usage(0x86).bytes());
        der.raw(extended_key_usage(true).bytes());
        der.raw(basic_constraints(role).bytes());
        der.raw(subject_key_identifier(&key_id).bytes());
        der.raw(authority_key_identifier(&parent.key_id).bytes());
        authority_information(parent).into_iter().for_each(|extension| der.raw(extension.bytes()));
        der.raw(policies(parent).bytes());
        crl_points(parent).into_iter().for_each(|extension| der.raw(extension.bytes()));
    });
    let certificate = Certificate {
        role,
        sha1: Sha1::digest(&der).into(),
        sha256: Sha256::digest(&der).into(),
        der,
        serial,
        not_before,
        not_after,
        subject: Rc::new(own.name.clone()),
        subjects: Rc::default(),
        key_id,
        key_kind,
        parent: Rc::clone(parent),
        sct_list: None,
    };
    (own, certificate)
}

/// One in 16 serials starts with a zero digit, which some feeds leave out.
fn draw_serial(rng: &mut Rng) -> [u8; 16] {
    let mut serial: [u8; 16] = rng.bytes();
    serial[0] = serial[0].max(1);
    serial
}

/// Raises a big-endian number of whole 32-bit words a little, to the next one that no prime below 752 divides: what linters look for in the
/// modulus of an RSA key (CA/Browser Forum Baseline Requirements 6.1.6).
fn without_small_factors(number: &mut [u8]) {
    let is_prime =
        |n: &u64| (2..*n).take_while(|divisor| divisor * divisor <= *n).all(|divisor| !n.is_multiple_of(divisor));
    let words: Vec<u64> = number.as_chunks().0.iter().map(|word| u64::from(u32::from_be_bytes(*word))).collect();
    let residue = |prime| words.iter().fold(0, |rest, word| (rest << 32 | word) % prime);
    let residues: Vec<(u64, u64)> = (2..752).filter(is_prime).map(|prime| (prime, residue(prime))).collect();
    let step = (0..)
        .find(|step| residues.iter().all(|(prime, residue)| !(residue + step).is_multiple_of(*prime)))
        .expect("numbers without small factors are never far apart");
    let mut carry = step;
    for byte in number.iter_mut().rev() {
        let sum = u64::from(*byte) + carry;
        *byte = sum as u8;
        carry = sum >> 8;
    }
}

fn tbs_head(serial: &[u8], parent: &Parent, validity: (i64, i64), subject: &DistinguishedName, spki: &Der) -> Der {
    let mut head = Der::with_capacity(spki.bytes().len() + 256);
    head.nest(der::context_constructed(0), |der| der.unsigned(&[2])); // v3
    head.unsigned(serial);
    parent.signature.write_algorithm(&mut head);
    parent.name.write(&mut head);
    head.sequence(|der| {
        der.time(validity.0);
        der.time(validity.1);
    });
    subject.write(&mut head);
    head.raw(spki.bytes());
    head
}

fn sign(rng: &mut Rng, signature: Signature, head: &Der, extensions: impl FnOnce(&mut Der)) -> Vec<u8> {
    let mut certificate = Der::with_capacity(2_048);
    certificate.sequence(|der| {
        der.sequence(|der| {
            der.raw(head.bytes());
            der.nest(der::context_constructed(3), |der| der.sequence(extensions));
        });
        signature.write_algorithm(der);
        signature.write_value(der, rng);
    });
    certificate.into_bytes()
}

fn extension(oid: &[u32], critical: bool, value: impl FnOnce(&mut Der)) -> Der {
    let mut extension = Der::with_capacity(64);
    extension.sequence(|der| {
        der.oid(oid);
        if critical {
            der.boolean_true();
        }
        der.nest(der::OCTET_STRING, value);
    });
    extension
}

/// `bits` of KeyUsage (RFC 5280 section 4.2.1.3): 0x80 digitalSignature, 0x20 keyEncipherment, 0x04 keyCertSign,
/// 0x02 cRLSign.
fn key_usage(bits: u8) -> Der {
    let unused = bits.trailing_zeros() as u8;
    extension(&[2, 5, 29, 15], true, |der| der.value(der::BIT_STRING, &[unused, bits]))
}

fn extended_key_usage(client_auth: bool) -> Der {
    extension(&[2, 5, 29, 37], false, |der| {
        der.sequence(|der| {
            der.oid(&[1, 3, 6, 1, 5, 5, 7, 3, 1]);
            if client_auth {
                der.oid(&[1, 3, 6, 1, 5, 5, 7, 3, 2]);
            }
        });
    })
}

fn basic_constraints(role: Role) -> Der {
    extension(&[2, 5, 29, 19], true, |der| {
        der.sequence(|der| {
            if role.is_ca() {
                der.boolean_true();
            }
            if role == Role::Intermediate {
                der.unsigned(&[0]); // pathLenConstraint
            }
        });
    })
}

fn subject_key_identifier(key_id: &[u8; 20]) -> Der {
    extension(&[2, 5, 29, 14], false, |der| der.value(der::OCTET_STRING, key_id))
}

fn authority_key_identifier(key_id: &[u8; 20]) -> Der {
    extension(&[2, 5, 29, 35], false, |der| der.sequence(|der| der.value(der::context(0), key_id)))
}

fn authority_information(parent: &Parent) -> Option<Der> {
    let methods = [(1, &parent.ocsp_url), (2, &parent.certificate_url)];
    methods.iter().any(|(_, url)| url.is_some()).then(|| {
        extension(&[1, 3, 6, 1, 5, 5, 7, 1, 1], false, |der| {
            der.sequence(|der| {
                for (method, url) in methods {
                    let Some(url) = url else { continue };
                    der.sequence(|der| {
                        der.oid(&[1, 3, 6, 1, 5, 5, 7, 48, method]);
                        der.value(der::context(6), url.as_bytes());
                    });
                }
            });
        })
    })
}

fn policies(parent: &Parent) -> Der {
    extension(&[2, 5, 29, 32], false, |der| {
        der.sequence(|der| {
            for (position, policy) in parent.policies.iter().enumerate() {
                der.sequence(|der| {
                    der.oid(policy);
                    let Some(url) = parent.cps_url.as_ref().filter(|_| position == 0) else { return };
                    der.sequence(|der| {
                        der.sequence(|der| {
                            der.oid(&[1, 3, 6, 1, 5, 5, 7, 2, 1]);
                            der.value(der::IA5_STRING, url.as_bytes());
                        });
                    });
                });
            }
        });
    })
}

fn crl_points(parent: &Parent) -> Option<Der> {
    let url = parent.crl_url.as_ref()?;
    Some(extension(&[2, 5, 29, 31], false, |der| {
        der.sequence(|der| {
            der.sequence(|der| {
                der.nest(der::context_constructed(0), |der| {
                    der.nest(der::context_constructed(0), |der| der.value(der::context(6), url.as_bytes()));
                });
            });
        });
    }))
}

/// Critical where the subject is empty (RFC 5280 section 4.2.1.6).
fn alternative_names(subjects: &Subjects, critical: bool) -> Der {
    extension(&[2, 5, 29, 17], critical, |der| {
        der.sequence(|der| {
            subjects.names.iter().for_each(|name| der.value(der::context(2), name.as_bytes()));
            for ip in &subjects.ips {
                match ip {
                    IpAddr::V4(ip) => der.value(der::context(7), &ip.octets()),
                    IpAddr::V6(ip) => der.value(der::context(7), &ip.octets()),
                }
            }
        });
    })
}

/// SignedCertificateTimestampList in TLS encoding (RFC 6962 sections 3.2 and 3.3).
fn sct_list(rng: &mut Rng, scts: &[Sct]) -> Vec<u8> {
    let mut list = vec![0, 0];
    for sct in scts {
        let mut signature = Der::with_capacity(72);
        let mut random: [u8; 32] = rng.bytes();
        write_ecdsa(&mut signature, &mut random, rng);

        let start = list.len();
        list.extend_from_slice(&[0, 0, 0]); // length, then version 1
        list.extend_from_slice(&sct.log_id);
        list.extend_from_slice(&sct.timestamp_ms.to_be_bytes());
        match sct.leaf_index {
            None => list.extend_from_slice(&[0, 0]),
            Some(index) => {
                list.extend_from_slice(&[0, 8, 0, 0, 5]);
                list.extend_from_slice(&index.to_be_bytes()[3..]);
            }
        }
        list.extend_from_slice(&[4, 3]); // SHA-256, ECDSA
        put_length(&mut list, signature.bytes().len());
        list.extend_from_slice(signature.bytes());
        let length = list.len() - start - 2;
        list[start..start + 2].copy_from_slice(&(length as u16).to_be_bytes());
    }
    let length = list.len() - 2;
    list[..2].copy_from_slice(&(length as u16).to_be_bytes());
    list
}

fn put_length(out: &mut Vec<u8>, bytes: usize) {
    out.extend_from_slice(&(bytes as u16).to_be_bytes());
}
