//! Public keys: forbidden kinds and sizes, and keys that can be broken.

use ct_model::Timestamp;
use ct_model::time::Day;
use ct_model::x509::raw::oid_text;

use super::check::Check;
use super::fermat;
use super::residues::{MODULUS_BITS_MAX, Residues};
use super::view::{Context, Key, View, any, tls};

pub(super) const CHECKS: &[Check] = &[
    Check::error("key.rsa_small", "BR 6.1.5", tls_rsa_after_2013, rsa_small),
    Check::error("key.rsa_odd_size", "BR 6.1.5", tls_rsa, rsa_odd_size).since(2017, 2, 28),
    Check::error("key.rsa_exponent_even", "BR 6.1.6", tls_rsa, rsa_exponent_even).since(2013, 2, 21),
    Check::error("key.rsa_exponent_small", "BR 6.1.6", tls_rsa, rsa_exponent_small).since(2013, 2, 21),
    Check::warn("key.rsa_exponent_range", "BR 6.1.6", tls_rsa, rsa_exponent_range).since(2013, 2, 21),
    Check::warn("key.rsa_even", "BR 6.1.6", tls_rsa, rsa_even).since(2013, 2, 21).broken_key(),
    Check::warn("key.rsa_small_factor", "BR 6.1.6", tls_rsa_measured, rsa_small_factor).since(2013, 2, 21).broken_key(),
    Check::error("key.fermat", "BR 6.1.1.3", any_rsa_measured, rsa_close_primes).broken_key(),
    Check::error("key.roca", "BR 6.1.1.3", any_rsa_measured, rsa_roca).broken_key(),
    Check::error("key.blocklisted", "BR 6.1.1.3", any_with_list, blocklisted).broken_key(),
    Check::error("key.dsa", "BR 7.1.3.1", tls, dsa).since(2020, 8, 20),
    Check::error("key.ec_curve", "BR 6.1.5", tls_ec, ec_curve),
];

fn tls_rsa(view: &View<'_>, context: &Context<'_>) -> bool {
    tls(view, context) && matches!(view.key, Key::Rsa { .. })
}

/// Shorter keys were to be gone by the end of 2013, whenever the certificate was issued.
fn tls_rsa_after_2013(view: &View<'_>, context: &Context<'_>) -> bool {
    const END: Timestamp = Timestamp::from_seconds(Day::from_civil(2014, 1, 1).0 * 86_400);
    tls_rsa(view, context) && view.raw.not_after.is_none_or(|not_after| not_after >= END)
}

/// An overlong modulus costs too much to look into.
fn any_rsa_measured(view: &View<'_>, context: &Context<'_>) -> bool {
    any(view, context) && view.residues.is_some()
}

fn tls_rsa_measured(view: &View<'_>, context: &Context<'_>) -> bool {
    tls_rsa(view, context) && view.residues.is_some()
}

fn tls_ec(view: &View<'_>, context: &Context<'_>) -> bool {
    tls(view, context) && matches!(view.key, Key::Ec(_))
}

fn any_with_list(_: &View<'_>, context: &Context<'_>) -> bool {
    !context.blocked_keys.is_empty()
}

/// Bits of a big-endian number without leading zeros.
fn bits(number: &[u8]) -> usize {
    number.first().map_or(0, |first| number.len() * 8 - first.leading_zeros() as usize)
}

fn modulus<'a>(view: &View<'a>) -> Option<&'a [u8]> {
    match view.key {
        Key::Rsa { modulus, .. } => Some(modulus),
        _ => None,
    }
}

fn exponent<'a>(view: &View<'a>) -> Option<&'a [u8]> {
    match view.key {
        Key::Rsa { exponent, .. } => Some(exponent),
        _ => None,
    }
}

fn rsa_small(view: &View<'_>, _: &Context<'_>) -> Option<String> {
    let bits = bits(modulus(view)?);
    (bits < 2_048).then(|| format!("{bits} bits"))
}

fn rsa_odd_size(view: &View<'_>, _: &Context<'_>) -> Option<String> {
    let bits = bits(modulus(view)?);
    (!bits.is_multiple_of(8)).then(|| format!("{bits} bits are no multiple of 8"))
}

fn is_even(number: &[u8]) -> bool {
    number.last().is_none_or(|last| last % 2 == 0)
}

fn rsa_exponent_even(view: &View<'_>, _: &Context<'_>) -> Option<String> {
    is_even(exponent(view)?).then(|| "the exponent is even".to_owned())
}

fn rsa_exponent_small(view: &View<'_>, _: &Context<'_>) -> Option<String> {
    match exponent(view)? {
        [] => Some("0".to_owned()),
        [small @ 1..=2] => Some(small.to_string()),
        _ => None,
    }
}

fn rsa_exponent_range(view: &View<'_>, _: &Context<'_>) -> Option<String> {
    let exponent = exponent(view)?;
    match exponent {
        [] | [_] | [_, _] | [1, 0, 0] => Some("below 2^16 + 1".to_owned()),
        _ => (exponent.len() > 32).then(|| "above 2^256 - 1".to_owned()),
    }
}

fn rsa_even(view: &View<'_>, _: &Context<'_>) -> Option<String> {
    is_even(modulus(view)?).then(|| "the modulus is even".to_owned())
}

fn rsa_small_factor(view: &View<'_>, _: &Context<'_>) -> Option<String> {
    let factor = if is_even(modulus(view)?) { 2 } else { view.residues.as_ref()?.factor()? };
    Some(format!("divisible by {factor}"))
}

fn rsa_close_primes(view: &View<'_>, _: &Context<'_>) -> Option<String> {
    let modulus = modulus(view).filter(|modulus| modulus.len() * 8 <= MODULUS_BITS_MAX)?;
    let rounds = fermat::rounds_to_factor(modulus)?;
    Some(format!("the primes are so close that {rounds} rounds of Fermat's method find them"))
}

fn rsa_roca(view: &View<'_>, _: &Context<'_>) -> Option<String> {
    let found = view.residues.as_ref().is_some_and(Residues::are_of_roca);
    found.then(|| "the modulus has the form that ROCA (CVE-2017-15361) factors".to_owned())
}

fn blocklisted(view: &View<'_>, context: &Context<'_>) -> Option<String> {
    let key = view.raw.spki_sha256()?;
    context.blocked_keys.binary_search(&key).is_ok().then(|| "the key is on the block list".to_owned())
}

fn dsa(view: &View<'_>, _: &Context<'_>) -> Option<String> {
    matches!(view.key, Key::Dsa).then(|| "a DSA key".to_owned())
}

fn ec_curve(view: &View<'_>, _: &Context<'_>) -> Option<String> {
    /// P-256, P-384, P-521 (RFC 5480 section 2.1.1.1).
    const CURVES: [&[u8]; 3] =
        [&[0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7], &[0x2b, 0x81, 4, 0, 34], &[0x2b, 0x81, 4, 0, 35]];
    match view.key {
        Key::Ec(None) => Some("no named curve".to_owned()),
        Key::Ec(Some(curve)) => (!CURVES.contains(&curve)).then(|| oid_text(curve)),
        _ => None,
    }
}
