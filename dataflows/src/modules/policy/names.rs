//! Names of hosts in subjectAltName and common name.
//!
//! Every name is looked at once, whatever number of checks ask: [`NameFaults`] holds the first name with each fault,
//! and a check only looks whether there is one.

use std::borrow::Cow;
use std::net::IpAddr;

use ct_model::name::registry_suffix;
use ct_model::time::Day;
use icu_normalizer::ComposingNormalizerBorrowed;
use std::collections::HashSet;

use super::check::{Check, Profile};
use super::tlds;
use super::view::{Context, View, any, subscriber, tls};

const HYGIENE: &[Profile] = &[Profile::Hygiene];

pub(super) const CHECKS: &[Check] = &[
    Check::error("name.bad_char", "BR 7.1.4.2", named, first::<BAD_CHAR>).since(2012, 7, 1),
    Check::error("name.empty_label", "BR 7.1.4.2", named, first::<EMPTY_LABEL>).since(2012, 7, 1),
    Check::error("name.long_label", "BR 7.1.4.2, RFC 1035 2.3.4", named, first::<LONG_LABEL>).since(2012, 7, 1),
    Check::error("name.long", "RFC 5280 4.2.1.6, RFC 1035 2.3.4", has_alt_names, first::<LONG>).since(1999, 1, 1),
    Check::error("name.not_ia5", "RFC 5280 4.2.1.6", has_alt_names, first::<NOT_IA5>).since(1999, 1, 1),
    Check::error("name.space", "RFC 5280 4.2.1.6", has_alt_names, first::<SPACE>).since(1999, 1, 1),
    Check::error("name.underscore_in_registrable", "BR 7.1.4.2.1", named, first::<UNDERSCORE_REGISTRABLE>)
        .since(2008, 5, 1),
    Check::error("name.underscore", "BR 7.1.4.2.1", named, first::<UNDERSCORE>).since(2019, 4, 1),
    Check::error("name.unknown_tld", "BR 3.2.2.4, 4.2.2", named, first::<UNKNOWN_TLD>).since(2012, 7, 1),
    Check::error("name.bare_suffix", "BR 1.6.1, Base Domain Name", named, first::<BARE_TLD>).since(2012, 7, 1),
    Check::notice("name.public_suffix", "BR 3.2.2.6", named, first::<PUBLIC_SUFFIX>).since(2012, 7, 1).of(HYGIENE),
    Check::error("name.arpa", "BR 4.2.2, 7.1.2.7.12", subscriber, first::<ARPA>).since(2026, 3, 15),
    Check::error("name.reserved_label", "BR 7.1.4.2", named, first::<RESERVED_LABEL>).since(2021, 10, 1),
    Check::error("name.idn_not_decodable", "RFC 3490 3.1", has_alt_names, first::<IDN_UNDECODABLE>).since(2003, 3, 1),
    Check::error("name.idn_not_nfc", "RFC 8399 2.2", has_alt_names, first::<IDN_NOT_NFC>).since(2018, 5, 1),
    Check::error("wildcard.partial", "BR 1.6.1, Wildcard Domain Name", tls, first::<WILDCARD_PARTIAL>)
        .since(2012, 7, 1),
    Check::error("wildcard.position", "BR 1.6.1, Wildcard Domain Name", tls, first::<WILDCARD_INSIDE>)
        .since(2012, 7, 1),
    Check::notice("wildcard.left_of_suffix", "BR 3.2.2.6", named, first::<WILDCARD_LEFT_OF_SUFFIX>)
        .since(2012, 7, 1)
        .of(HYGIENE),
    Check::notice("san.duplicate", "community", has_alt_names, first::<DUPLICATE>).of(HYGIENE),
];

fn named(view: &View<'_>, context: &Context<'_>) -> bool {
    subscriber(view, context)
        && (view.common_names.iter().any(|name| !name.is_empty())
            || view.alt_names.as_ref().is_some_and(|names| !names.dns.is_empty()))
}

fn has_alt_names(view: &View<'_>, context: &Context<'_>) -> bool {
    any(view, context) && view.alt_names.is_some()
}

const BAD_CHAR: usize = 0;
const EMPTY_LABEL: usize = 1;
const LONG_LABEL: usize = 2;
const LONG: usize = 3;
const NOT_IA5: usize = 4;
const SPACE: usize = 5;
const UNDERSCORE: usize = 6;
const UNDERSCORE_REGISTRABLE: usize = 7;
const UNKNOWN_TLD: usize = 8;
const BARE_TLD: usize = 9;
const PUBLIC_SUFFIX: usize = 10;
const ARPA: usize = 11;
const RESERVED_LABEL: usize = 12;
const IDN_UNDECODABLE: usize = 13;
const IDN_NOT_NFC: usize = 14;
const WILDCARD_PARTIAL: usize = 15;
const WILDCARD_INSIDE: usize = 16;
const WILDCARD_LEFT_OF_SUFFIX: usize = 17;
const DUPLICATE: usize = 18;
const FAULTS: usize = 19;

fn first<const FAULT: usize>(view: &View<'_>, _: &Context<'_>) -> Option<String> {
    view.name_faults.first[FAULT].as_deref().map(str::to_owned)
}

/// RFC 1035 section 2.3.4: 255 octets on the wire are 253 characters of text.
const NAME_BYTES_MAX: usize = 253;
const LABEL_BYTES_MAX: usize = 63;

/// The first name with each fault, as text that is safe to show.
#[derive(Debug, Default)]
pub(super) struct NameFaults {
    first: [Option<Box<str>>; FAULTS],
}

impl NameFaults {
    /// Looks at every name of a certificate of that day; a common name that reads as an address, or repeats a SAN, is
    /// none of its own.
    pub(super) fn find(dns_names: &[&[u8]], common_names: &[Cow<'_, str>], issued: Option<Day>) -> Self {
        let mut faults = Self::default();
        for name in dns_names {
            faults.look_at(name, Place::San, issued);
        }
        if dns_names.len() > 1 {
            let mut seen = HashSet::with_capacity(dns_names.len());
            for name in dns_names {
                if !seen.insert(lower(name)) {
                    faults.note(DUPLICATE, name);
                }
            }
        }
        for name in common_names {
            if !name.is_empty() && name.parse::<IpAddr>().is_err() && !dns_names.contains(&name.as_bytes()) {
                faults.look_at(name.as_bytes(), Place::CommonName, issued);
            }
        }
        faults
    }

    fn note(&mut self, fault: usize, name: &[u8]) {
        self.first[fault].get_or_insert_with(|| shown(name));
    }

    fn look_at(&mut self, name: &[u8], place: Place, issued: Option<Day>) {
        let faults = Facts::of(name);
        let mut note_if = |fault, is: bool| {
            if is {
                self.note(fault, name);
            }
        };
        note_if(BAD_CHAR, faults.bad_char);
        note_if(EMPTY_LABEL, faults.empty_label);
        note_if(LONG_LABEL, faults.long_label);
        note_if(WILDCARD_PARTIAL, faults.wildcard_partial);
        note_if(WILDCARD_INSIDE, faults.wildcard_inside);
        note_if(RESERVED_LABEL, faults.reserved_label);
        if place == Place::San {
            note_if(LONG, name.len() > NAME_BYTES_MAX);
            note_if(NOT_IA5, !name.is_ascii());
            note_if(SPACE, name == b" ");
            note_if(UNDERSCORE, faults.underscore);
        }
        let lower_name = lower(name);
        // Only names that are text belong somewhere in the tree of domains.
        let Some(text) = std::str::from_utf8(&lower_name).ok().filter(|text| text.is_ascii()) else {
            return note_if(UNKNOWN_TLD, true);
        };
        if place == Place::San {
            note_if(ARPA, text.ends_with(".in-addr.arpa") || text.ends_with(".ip6.arpa"));
        }
        let place_in_tree = PlaceInTree::of(text, issued);
        note_if(UNKNOWN_TLD, !place_in_tree.known_tld);
        note_if(BARE_TLD, place_in_tree.is_tld);
        note_if(PUBLIC_SUFFIX, place_in_tree.is_public_suffix);
        note_if(UNDERSCORE_REGISTRABLE, place_in_tree.registrable_label.contains('_'));
        note_if(WILDCARD_LEFT_OF_SUFFIX, place_in_tree.registrable_label == "*");
        if place == Place::San && faults.a_label {
            let (decodable, normal) = idn(text);
            note_if(IDN_UNDECODABLE, !decodable);
            note_if(IDN_NOT_NFC, decodable && !normal);
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    San,
    CommonName,
}

/// What the bytes of a name show by themselves.
#[derive(Default)]
struct Facts {
    bad_char: bool,
    empty_label: bool,
    long_label: bool,
    underscore: bool,
    wildcard_partial: bool,
    wildcard_inside: bool,
    reserved_label: bool,
    a_label: bool,
}

impl Facts {
    fn of(name: &[u8]) -> Self {
        let mut facts = Self::default();
        for (at, label) in name.split(|byte| *byte == b'.').enumerate() {
            facts.empty_label |= label.is_empty();
            facts.long_label |= label.len() > LABEL_BYTES_MAX;
            let mut wildcard = false;
            for byte in label {
                match byte {
                    b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'-' => {}
                    b'_' => facts.underscore = true,
                    b'*' => wildcard = true,
                    _ => facts.bad_char = true,
                }
            }
            facts.wildcard_partial |= wildcard && at == 0 && label != b"*";
            facts.wildcard_inside |= wildcard && at > 0;
            if label.get(2..4) == Some(b"--") {
                // RFC 5890 section 2.3.1.
                let a_label = label[..2].eq_ignore_ascii_case(b"xn");
                facts.a_label |= a_label;
                facts.reserved_label |= !a_label;
            }
        }
        facts
    }
}

/// Where a lower-case name stands in the tree of domains, by the suffixes that registries keep.
struct PlaceInTree<'a> {
    known_tld: bool,
    is_tld: bool,
    /// Of more than one label.
    is_public_suffix: bool,
    /// The label left of the public suffix; empty where there is none.
    registrable_label: &'a str,
}

impl<'a> PlaceInTree<'a> {
    fn of(name: &'a str, issued: Option<Day>) -> Self {
        let last = name.rsplit('.').next().unwrap_or(name);
        // Where all suffixes of a top-level domain have two labels, the list does not name the domain itself.
        let is_tld = |label: &str| {
            !label.is_empty() && (tlds::existed(label, issued) || registry_suffix(&format!("x.{label}")).is_some())
        };
        let Some(suffix) = registry_suffix(name).or_else(|| is_tld(last).then_some(last)) else {
            // The list's own default: a top-level domain it does not know is a suffix.
            let registrable_label = label_before(name, last);
            return Self { known_tld: false, is_tld: false, is_public_suffix: false, registrable_label };
        };
        let is_bare = name.len() == suffix.len();
        Self {
            known_tld: true,
            is_tld: is_bare && !suffix.contains('.'),
            is_public_suffix: is_bare && suffix.contains('.'),
            registrable_label: label_before(name, suffix),
        }
    }
}

/// The last label of a name before its end `suffix`; empty where there is none.
fn label_before<'a>(name: &'a str, suffix: &str) -> &'a str {
    let left = name.strip_suffix(suffix).and_then(|left| left.strip_suffix('.')).unwrap_or_default();
    left.rsplit('.').next().unwrap_or_default()
}

/// Whether all A-labels of a lower-case name decode, and whether what they decode to is in Unicode normalization
/// form C.
fn idn(name: &str) -> (bool, bool) {
    const NFC: ComposingNormalizerBorrowed<'_> = ComposingNormalizerBorrowed::new_nfc();
    let (mut decodable, mut normal) = (true, true);
    for code in name.split('.').filter_map(|label| label.strip_prefix("xn--")) {
        // Punycode takes time quadratic in the label. An overlong one is a fault of its own.
        if code.len() > LABEL_BYTES_MAX {
            continue;
        }
        match idna::punycode::decode_to_string(code) {
            Some(text) => normal &= NFC.is_normalized(&text),
            None => decodable = false,
        }
    }
    (decodable, normal)
}

fn lower(name: &[u8]) -> Cow<'_, [u8]> {
    match name.iter().any(u8::is_ascii_uppercase) {
        true => name.to_ascii_lowercase().into(),
        false => name.into(),
    }
}

/// A name as text without control characters, of bounded length.
pub(super) fn shown(name: &[u8]) -> Box<str> {
    let text = name[..name.len().min(NAME_BYTES_MAX)].escape_ascii().to_string();
    match name.len() > NAME_BYTES_MAX {
        true => format!("\"{text}\" and {} bytes more", name.len() - NAME_BYTES_MAX).into(),
        false => format!("\"{text}\"").into(),
    }
}
