//! Whether a certificate was signed with its own key.
//!
//! Rules for what an authority issues do not hold for what somebody made alone, nor for roots. Names and key ids tell
//! most of them, and all of the roots. An RSA signature tells by itself: opened with the wrong key it is noise, with the right one it shows
//! its padding, so the hash need not be computed. Signatures on curves are not verified.

use ct_model::x509::raw::{self, Element};
use num_bigint::BigUint;

use super::view::{Key, authority_key_id, oids};

/// Issuer and subject are one, no key ids say that their keys are two, and the signature, which is asked about what is
/// no CA, does not deny it. Where only names could tell, an empty name tells nothing.
pub(super) fn is_self_signed(raw: &raw::View<'_>, key: Key<'_>, is_ca: bool) -> bool {
    let (Some(subject), Some(issuer)) = (raw.subject, raw.issuer) else { return false };
    subject.content == issuer.content
        && key_ids_agree(raw)
        && match key {
            Key::Rsa { modulus, exponent } if !is_ca => opens(raw.signature, modulus, exponent),
            _ => !subject.content.is_empty(),
        }
}

fn key_ids_agree(raw: &raw::View<'_>) -> bool {
    let value = |oid| raw.extension(oid).map(|extension| extension.value);
    let subject_key = value(oids::SUBJECT_KEY_ID).and_then(Element::read);
    match (subject_key, value(oids::AUTHORITY_KEY_ID).and_then(authority_key_id)) {
        (Some((subject_key, _)), Some(authority_key)) => subject_key.content == authority_key,
        _ => true,
    }
}

/// Whether a signature, opened with that key, has the padding of RSASSA-PKCS1-v1_5 (RFC 8017 section 9.2) or ends like
/// one of RSASSA-PSS (section 9.1.1). No certificate with an absurdly large key or exponent is asked.
fn opens(signature: &[u8], modulus: &[u8], exponent: &[u8]) -> bool {
    const MODULUS_BYTES_MAX: usize = 1_024;
    const EXPONENT_BYTES_MAX: usize = 4;
    const PSS_TRAILER: u8 = 0xbc;
    let unusual = modulus.len() > MODULUS_BYTES_MAX || exponent.len() > EXPONENT_BYTES_MAX || modulus.len() < 32;
    if unusual || signature.len() != modulus.len() {
        return false;
    }
    let [signature, modulus_number, exponent] = [signature, modulus, exponent].map(BigUint::from_bytes_be);
    let opened = signature.modpow(&exponent, &modulus_number).to_bytes_be();
    // The first byte of the padding is 0, so it is not there.
    let is_v1_5 =
        opened.len() == modulus.len() - 1 && opened.starts_with(&[1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
    is_v1_5 || opened.last() == Some(&PSS_TRAILER)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With exponent 1, a signature is what it opens to.
    #[track_caller]
    fn check(signature: &[u8], want: bool) {
        let modulus = (BigUint::from(1_u32) << 512_u32) - 569_u32;
        assert_eq!(opens(signature, &modulus.to_bytes_be(), &[1]), want);
    }

    #[test]
    fn paddings() {
        let v1_5 = [&[0, 1][..], &[0xff; 29], &[0], &[0x30; 32]].concat();
        check(&v1_5, true);
        check(&[&[0, 2][..], &v1_5[2..]].concat(), false);
        check(&[0x5a; 64], false);
        check(&[&[0x5a; 63][..], &[0xbc]].concat(), true);
    }
    #[test]
    fn lengths() {
        check(&[0xbc; 63], false);
        check(&[0xbc; 65], false);
        check(&[], false);
        assert!(!opens(&[0xbc; 2_048], &[0xff; 2_048], &[1]), "too large a key");
        assert!(!opens(&[0xbc; 64], &[0xff; 64], &[1; 5]), "too large an exponent");
        assert!(!opens(&[], &[], &[]));
    }
}
