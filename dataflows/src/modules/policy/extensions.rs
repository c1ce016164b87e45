//! Serial number, signature algorithm and extensions.

use ct_model::Timestamp;
use ct_model::time::Day;
use ct_model::x509::BASIC_CONSTRAINTS;
use ct_model::x509::raw::{self, OID};
use std::collections::HashSet;

use super::check::{Check, Profile};
use super::view::{Context, View, any, authority_key_id, leaf, list, oids, subscriber, tls, tls_leaf};

const HYGIENE: &[Profile] = &[Profile::Hygiene];

pub(super) const CHECKS: &[Check] = &[
    Check::error("serial.not_positive", "RFC 5280 4.1.2.2", any, serial_not_positive).since(2002, 4, 1),
    Check::error("serial.long", "RFC 5280 4.1.2.2", any, serial_long).since(2002, 4, 1),
    Check::warn("serial.low_entropy", "BR 7.1", tls, serial_low_entropy).since(2016, 9, 30),
    Check::error("sig.sha1", "BR 7.1.3", issued_tls, sig_sha1).since(2016, 1, 1),
    Check::error("sig.tbs_mismatch", "RFC 5280 4.1.1.2", any, sig_mismatch).since(2008, 5, 1),
    Check::error("eku.missing", "BR 7.1.2.7.10", tls_leaf, eku_missing).since(2012, 7, 1),
    Check::error("eku.no_tls_auth", "BR 7.1.2.3 (until 1.8.7)", tls_with_eku, eku_no_tls_auth)
        .since(2012, 7, 1)
        .until(2023, 9, 15),
    Check::error("eku.no_server_auth", "BR 7.1.2.7.10", subscriber_with_eku, eku_no_server_auth).since(2023, 9, 15),
    Check::error("eku.forbidden", "BR 7.1.2.7.10", subscriber_with_eku, eku_forbidden).since(2023, 9, 15),
    Check::warn("eku.extra", "BR 7.1.2.7.10", subscriber_with_eku, eku_extra).since(2023, 9, 15),
    Check::notice("eku.client_auth", "Chrome Root Program Policy 1.8, 1.3.2", subscriber_with_eku, eku_client_auth)
        .since(2026, 2, 5)
        .until(2027, 3, 15)
        .of(HYGIENE),
    Check::error("eku.client_auth", "Chrome Root Program Policy 1.8, 1.3.2", subscriber_with_eku, eku_client_auth)
        .since(2027, 3, 15)
        .of(HYGIENE),
    Check::error("ku.cert_sign", "BR 7.1.2.7.11", tls_leaf_with_ku, ku_cert_sign).since(2012, 7, 1),
    Check::error("ku.crl_sign", "BR 7.1.2.7.11", tls_leaf_with_ku, ku_crl_sign).since(2012, 7, 1),
    Check::error("bc.ca", "BR 7.1.2.7.6, RFC 5280 4.2.1.9", tls_not_for_signing, bc_ca).since(2012, 7, 1),
    Check::error("bc.not_critical", "RFC 5280 4.2.1.9", ca_with_constraints, bc_not_critical).since(1999, 1, 1),
    Check::error("aki.no_keyid", "RFC 5280 4.2.1.1", any, aki_no_keyid).since(1999, 1, 1),
    Check::warn("ski.missing", "RFC 5280 4.2.1.2", leaf, ski_missing).since(1999, 1, 1).of(HYGIENE),
    Check::error("aia.missing", "BR 7.1.2.7.7", tls_leaf, aia_missing).since(2012, 7, 1),
    Check::error("crldp.missing", "BR 7.1.2.11.2", not_short_lived, crldp_missing).since(2024, 3, 15),
    Check::error("ext.duplicate", "RFC 5280 4.2", version_3, ext_duplicate).since(1999, 1, 1),
    Check::error("policies.empty", "BR 7.1.2.7.9", tls_leaf, policies_empty).since(2012, 7, 1),
];

/// Roots sign themselves, with whatever they signed when they were made.
fn issued_tls(view: &View<'_>, context: &Context<'_>) -> bool {
    tls(view, context) && !is_root(view)
}

fn is_root(view: &View<'_>) -> bool {
    view.is_ca && view.is_self_signed
}

fn tls_with_eku(view: &View<'_>, context: &Context<'_>) -> bool {
    tls_leaf(view, context) && view.purposes.as_ref().is_some_and(|purposes| !purposes.is_empty())
}

fn subscriber_with_eku(view: &View<'_>, context: &Context<'_>) -> bool {
    subscriber(view, context) && view.purposes.is_some()
}

fn tls_leaf_with_ku(view: &View<'_>, context: &Context<'_>) -> bool {
    tls_leaf(view, context) && view.key_usage.is_some()
}

/// What has no use of key that only a CA has is no CA.
fn tls_not_for_signing(view: &View<'_>, context: &Context<'_>) -> bool {
    tls(view, context) && view.has(BASIC_CONSTRAINTS) && view.key_usage.is_some_and(|usage| !usage.cert_sign())
}

fn ca_with_constraints(view: &View<'_>, _: &Context<'_>) -> bool {
    view.is_ca
}

fn version_3(view: &View<'_>, _: &Context<'_>) -> bool {
    view.raw.version == Some(3)
}

/// BR 1.6.1, Short-lived Subscriber Certificate: 10 days, and 7 days from 2026-03-15.
fn not_short_lived(view: &View<'_>, context: &Context<'_>) -> bool {
    const SEVEN_DAYS_SINCE: Day = Day::from_civil(2026, 3, 15);
    let days = match view.raw.not_before.map(Timestamp::day) {
        Some(day) if day < SEVEN_DAYS_SINCE => 10,
        _ => 7,
    };
    subscriber(view, context) && view.validity_seconds().is_none_or(|seconds| seconds > days * 86_400)
}

fn serial_not_positive(view: &View<'_>, _: &Context<'_>) -> Option<String> {
    match view.raw.serial? {
        [first, ..] if first & 0x80 != 0 => Some("negative".to_owned()),
        serial => serial.iter().all(|byte| *byte == 0).then(|| "zero".to_owned()),
    }
}

/// Octets that the number needs; what it is padded with is another fault.
fn serial_octets(serial: &[u8]) -> usize {
    let padding = serial.windows(2).take_while(|pair| match pair[0] {
        0 => pair[1] & 0x80 == 0,
        0xff => pair[1] & 0x80 != 0,
        _ => false,
    });
    serial.len() - padding.count()
}

fn serial_long(view: &View<'_>, _: &Context<'_>) -> Option<String> {
    let octets = serial_octets(view.raw.serial?);
    (octets > 20).then(|| format!("{octets} octets"))
}

/// One certificate cannot show where its number comes from, only that it has no room for 64 bits of chance.
fn serial_low_entropy(view: &View<'_>, _: &Context<'_>) -> Option<String> {
    let octets = serial_octets(view.raw.serial?);
    (octets < 8).then(|| format!("{octets} octets, too few for 64 random bits"))
}

fn sig_sha1(view: &View<'_>, _: &Context<'_>) -> Option<String> {
    let word = view.raw.signature_word()?;
    // `ecdsa-sha1`, `sha1-rsa`; but not `sha128`, if there ever is one.
    word.split('-').any(|part| part == "sha1").then_some(word)
}

fn sig_mismatch(view: &View<'_>, _: &Context<'_>) -> Option<String> {
    let inner = view.raw.inner_signature_algorithm?;
    (inner.content != view.raw.signature_algorithm.content).then(|| "inner and outer algorithm differ".to_owned())
}

fn eku_missing(view: &View<'_>, _: &Context<'_>) -> Option<String> {
    view.purposes.is_none().then(|| "no extKeyUsage".to_owned())
}

fn has_purpose(view: &View<'_>, oid: &[u8]) -> bool {
    view.purposes.as_ref().is_some_and(|purposes| purposes.contains(&oid))
}

fn eku_no_tls_auth(view: &View<'_>, _: &Context<'_>) -> Option<String> {
    let found = has_purpose(view, oids::SERVER_AUTH) || has_purpose(view, oids::CLIENT_AUTH);
    (!found).then(|| "neither serverAuth nor clientAuth".to_owned())
}

fn eku_no_server_auth(view: &View<'_>, _: &Context<'_>) -> Option<String> {
    (!has_purpose(view, oids::SERVER_AUTH)).then(|| "no serverAuth".to_owned())
}

const FORBIDDEN_PURPOSES: [(&[u8], &str); 6] = [
    (oids::ANY_PURPOSE, "anyExtendedKeyUsage"),
    (oids::CODE_SIGNING, "codeSigning"),
    (oids::EMAIL_PROTECTION, "emailProtection"),
    (oids::TIME_STAMPING, "timeStamping"),
    (oids::OCSP_SIGNING, "OCSPSigning"),
    (oids::PRECERTIFICATE_SIGNING, "precertificate signing"),
];

fn eku_forbidden(view: &View<'_>, _: &Context<'_>) -> Option<String> {
    let purposes = view.purposes.as_ref()?;
    let (_, name) = FORBIDDEN_PURPOSES.iter().find(|(oid, _)| purposes.contains(oid))?;
    Some((*name).to_owned())
}

fn eku_extra(view: &View<'_>, _: &Context<'_>) -> Option<String> {
    let is_known = |oid: &[u8]| {
        [oids::SERVER_AUTH, oids::CLIENT_AUTH].contains(&oid)
            || FORBIDDEN_PURPOSES.iter().any(|(known, _)| *known == oid)
    };
    view.purposes.as_ref()?.iter().find(|oid| !is_known(oid)).map(|oid| raw::oid_text(oid))
}

fn eku_client_auth(view: &View<'_>, _: &Context<'_>) -> Option<String> {
    let both = has_purpose(view, oids::SERVER_AUTH) && has_purpose(view, oids::CLIENT_AUTH);
    both.then(|| "clientAuth beside serverAuth".to_owned())
}

fn ku_cert_sign(view: &View<'_>, _: &Context<'_>) -> Option<String> {
    view.key_usage?.cert_sign().then(|| "keyCertSign".to_owned())
}

fn ku_crl_sign(view: &View<'_>, _: &Context<'_>) -> Option<String> {
    view.key_usage?.crl_sign().then(|| "cRLSign".to_owned())
}

fn bc_ca(view: &View<'_>, _: &Context<'_>) -> Option<String> {
    view.is_ca.then(|| "cA without keyCertSign".to_owned())
}

fn bc_not_critical(view: &View<'_>, _: &Context<'_>) -> Option<String> {
    (!view.raw.extension(BASIC_CONSTRAINTS)?.critical).then(|| "basicConstraints of a CA, not critical".to_owned())
}

fn aki_no_keyid(view: &View<'_>, _: &Context<'_>) -> Option<String> {
    let found = view.value(oids::AUTHORITY_KEY_ID).is_some_and(|value| authority_key_id(value).is_some());
    (!found && !is_root(view)).then(|| "no keyIdentifier of the authority".to_owned())
}

fn ski_missing(view: &View<'_>, _: &Context<'_>) -> Option<String> {
    (!view.has(oids::SUBJECT_KEY_ID)).then(|| "no subjectKeyIdentifier".to_owned())
}

fn aia_missing(view: &View<'_>, _: &Context<'_>) -> Option<String> {
    (!view.has(oids::AUTHORITY_INFO_ACCESS)).then(|| "no authorityInfoAccess".to_owned())
}

/// A pointer to OCSP, which is a URI (BR 7.1.2.7.7), stands in for it.
fn crldp_missing(view: &View<'_>, _: &Context<'_>) -> Option<String> {
    const URI: u8 = 0x86;
    let has_ocsp = list(view.value(oids::AUTHORITY_INFO_ACCESS).unwrap_or_default()).any(|access| {
        let mut parts = raw::Elements::of(access.content);
        let is_ocsp = parts.next_if(|tag| tag == OID).is_some_and(|oid| oid.content == oids::OCSP);
        is_ocsp && parts.next_if(|tag| tag == URI).is_some()
    });
    let has_points = view.value(oids::CRL_DISTRIBUTION_POINTS).is_some_and(|value| list(value).next().is_some());
    (!has_ocsp && !has_points).then(|| "neither cRLDistributionPoints nor OCSP".to_owned())
}

fn ext_duplicate(view: &View<'_>, _: &Context<'_>) -> Option<String> {
    let mut seen = HashSet::with_capacity(view.raw.extensions.len());
    let again = view.raw.extensions.iter().find(|extension| !seen.insert(extension.oid))?;
    Some(raw::oid_text(again.oid))
}

fn policies_empty(view: &View<'_>, _: &Context<'_>) -> Option<String> {
    view.policies.is_empty().then(|| "no certificate policy".to_owned())
}
