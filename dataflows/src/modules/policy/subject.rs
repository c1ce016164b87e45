//! Which names a certificate has at all, and what stands beside them: the SAN as a whole, common names, addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ct_model::Timestamp;
use ct_model::time::Day;
use ct_model::x509::SUBJECT_ALT_NAME;

use super::check::Check;
use super::names::shown;
use super::view::{AltNames, Context, View, subscriber, tls, tls_leaf};

pub(super) const CHECKS: &[Check] = &[
    Check::error("san.missing", "BR 7.1.2.7.12", tls_leaf, san_missing).since(2012, 7, 1),
    Check::error("san.empty", "BR 7.1.2.7.12", tls_leaf_with_san, san_empty).since(2012, 7, 1),
    Check::error("san.other_type", "BR 7.1.2.7.12", tls_leaf_with_san, san_other_type).since(2012, 7, 1),
    Check::error("san.critical", "BR 7.1.2.7.12", tls_leaf_with_san, san_critical).since(2023, 9, 15),
    Check::error("cn.not_in_san", "BR 7.1.4.3", tls_leaf_with_cn, cn_not_in_san).since(2012, 7, 1).until(2021, 8, 25),
    Check::error("cn.not_copied_from_san", "BR 7.1.4.3", tls_leaf_with_cn, cn_not_copied).since(2021, 8, 25),
    Check::warn("cn.extra", "BR 7.1.4.3", subscriber, cn_extra).since(2012, 7, 1),
    Check::error("ip.reserved", "BR 7.1.4.2.1", tls_after_2015, ip_reserved).since(2012, 7, 1),
];

fn tls_leaf_with_san(view: &View<'_>, context: &Context<'_>) -> bool {
    tls_leaf(view, context) && view.alt_names.is_some()
}

fn tls_leaf_with_cn(view: &View<'_>, context: &Context<'_>) -> bool {
    tls_leaf(view, context) && view.common_names.iter().any(|name| !name.is_empty())
}

/// Certificates with such addresses had to end, or be revoked, by 2016-10-01; none was to be issued that outlives
/// 2015-11-01.
fn tls_after_2015(view: &View<'_>, context: &Context<'_>) -> bool {
    const LAST: Timestamp = Timestamp::from_seconds(Day::from_civil(2015, 11, 1).0 * 86_400);
    tls(view, context) && view.raw.not_after.is_none_or(|not_after| not_after > LAST)
}

fn san_missing(view: &View<'_>, _: &Context<'_>) -> Option<String> {
    (!view.has(SUBJECT_ALT_NAME)).then(|| "no subjectAltName".to_owned())
}

fn san_empty(view: &View<'_>, _: &Context<'_>) -> Option<String> {
    let names = view.alt_names.as_ref()?;
    (names.dns.is_empty() && names.ips.is_empty()).then(|| "neither a dNSName nor an iPAddress".to_owned())
}

fn san_other_type(view: &View<'_>, _: &Context<'_>) -> Option<String> {
    let tag = view.alt_names.as_ref()?.other?;
    // RFC 5280 section 4.2.1.6.
    Some(match tag & 0x1f {
        0 => "an otherName".to_owned(),
        1 => "an rfc822Name".to_owned(),
        3 => "an x400Address".to_owned(),
        4 => "a directoryName".to_owned(),
        5 => "an ediPartyName".to_owned(),
        6 => "a uniformResourceIdentifier".to_owned(),
        8 => "a registeredID".to_owned(),
        _ => format!("an entry with tag {tag:#04x}"),
    })
}

fn san_critical(view: &View<'_>, _: &Context<'_>) -> Option<String> {
    match (view.alt_names.as_ref()?.critical, view.subject_is_empty) {
        (true, false) => Some("critical, although there is a subject".to_owned()),
        (false, true) => Some("not critical, although the subject is empty".to_owned()),
        _ => None,
    }
}

fn cn_not_in_san(view: &View<'_>, _: &Context<'_>) -> Option<String> {
    missing_common_name(view, |name, names| {
        names.dns.iter().any(|dns| dns.eq_ignore_ascii_case(name.as_bytes())) || is_address(name, names)
    })
}

/// A character for character copy of a dNSName, or an iPAddress in its usual text.
fn cn_not_copied(view: &View<'_>, _: &Context<'_>) -> Option<String> {
    missing_common_name(view, |name, names| {
        names.dns.contains(&name.as_bytes()) || names.ips.iter().any(|ip| ip.to_string() == name)
    })
}

fn is_address(name: &str, names: &AltNames<'_>) -> bool {
    name.parse::<IpAddr>().is_ok_and(|ip| names.ips.contains(&ip))
}

fn missing_common_name(view: &View<'_>, is_there: impl Fn(&str, &AltNames<'_>) -> bool) -> Option<String> {
    let none = AltNames::default();
    let names = view.alt_names.as_ref().unwrap_or(&none);
    let missing = view.common_names.iter().find(|name| !name.is_empty() && !is_there(name, names))?;
    Some(shown(missing.as_bytes()).into())
}

fn cn_extra(view: &View<'_>, _: &Context<'_>) -> Option<String> {
    let count = view.common_names.len();
    (count > 1).then(|| format!("{count} common names"))
}

fn ip_reserved(view: &View<'_>, _: &Context<'_>) -> Option<String> {
    let ip = view.alt_names.as_ref()?.ips.iter().find(|ip| is_reserved(**ip))?;
    Some(ip.to_string())
}

/// IANA's registries of special-purpose addresses, multicast, and what it marks as reserved (BR 1.6.1, Reserved IP
/// Address): network and length of the prefix.
const RESERVED_V4: [(Ipv4Addr, u32); 18] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8),
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 0, 0, 0), 24),
    (Ipv4Addr::new(192, 0, 2, 0), 24),
    (Ipv4Addr::new(192, 31, 196, 0), 24),
    (Ipv4Addr::new(192, 52, 193, 0), 24),
    (Ipv4Addr::new(192, 88, 99, 0), 24),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    (Ipv4Addr::new(192, 175, 48, 0), 24),
    (Ipv4Addr::new(198, 18, 0, 0), 15),
    (Ipv4Addr::new(198, 51, 100, 0), 24),
    (Ipv4Addr::new(203, 0, 113, 0), 24),
    (Ipv4Addr::new(224, 0, 0, 0), 4),
    (Ipv4Addr::new(240, 0, 0, 0), 4),
];

/// Inside 2000::/3, the only unicast space given out; all else is reserved, special or multicast.
const RESERVED_V6: [(Ipv6Addr, u32); 5] = [
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32),
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16),
    (Ipv6Addr::new(0x2620, 0x4f, 0x8000, 0, 0, 0, 0, 0), 48),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20),
];

pub(super) fn is_reserved(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => RESERVED_V4.iter().any(|(net, bits)| (ip.to_bits() ^ net.to_bits()) >> (32 - bits) == 0),
        IpAddr::V6(ip) => {
            ip.to_bits() >> 125 != 1
                || RESERVED_V6.iter().any(|(net, bits)| (ip.to_bits() ^ net.to_bits()) >> (128 - bits) == 0)
        }
    }
}
