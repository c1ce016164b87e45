//! Host names: what a certificate's bytes can be read as, and which registered domain a name belongs to.
//!
//! A *plain* name is what the lake calls a DNS name: lower case, at most 253 bytes, labels of 1 to 63 bytes out of
//! letters, digits, hyphen, underscore and `*`, the last label not all digits, no trailing dot. Certificates hold much
//! else. A monitor must not miss a name because it is written badly, so [`readings`] gives every way in which a value
//! could be meant; readings that are not plain, or that are only guesses, are kept apart as *odd*.
//!
//! Everything here is linear in its input (Punycode, which is not, sees labels of bounded length only).

use std::borrow::Cow;
use std::collections::HashSet;
use std::net::IpAddr;

use idna::uts46::AsciiDenyList;
use memchr::memchr;

/// Stands for a label that cannot be read. No label that can be read is equal to it.
pub const UNPARSABLE: &str = "\u{fffd}";

/// RFC 1035 section 2.3.4: 255 octets on the wire are 253 characters of text.
const NAME_BYTES_MAX: usize = 253;
const LABEL_BYTES_MAX: usize = 63;
const PUNYCODE_PREFIX: &str = "xn--";

/// Whether every byte may stand in a plain label, and the lengths are those of a DNS name.
///
/// Hyphens at the ends of a label are let through: such hosts exist, whatever RFC 952 says. A name that ends in an
/// all-digit label is an address or a version number, never a host: there are no such top-level domains (RFC 3696
/// section 2).
pub fn is_plain(name: &[u8]) -> bool {
    if name.is_empty() || name.len() > NAME_BYTES_MAX {
        return false;
    }
    let mut label_bytes = 0;
    let mut all_digits = true;
    for &byte in name {
        match byte {
            b'.' if label_bytes == 0 => return false,
            b'.' => {
                label_bytes = 0;
                all_digits = true;
                continue;
            }
            b'0'..=b'9' => {}
            b'a'..=b'z' | b'-' | b'_' | b'*' => all_digits = false,
            _ => return false,
        }
        label_bytes += 1;
        if label_bytes > LABEL_BYTES_MAX {
            return false;
        }
    }
    label_bytes > 0 && !all_digits
}

/// A name as a feed writes it, made plain: lower case, A-labels (UTS #46, not transitional), no trailing dot.
/// `None` if it is no DNS name.
pub fn normalize(name: &str) -> Option<Box<str>> {
    if is_plain(name.as_bytes()) {
        return Some(name.into());
    }
    // An A-label is never shorter than the characters it stands for, and none of those has more than four bytes.
    if name.len() > (NAME_BYTES_MAX + 1) * 4 {
        return None;
    }
    let ascii = if name.is_ascii() {
        name.to_ascii_lowercase()
    } else {
        idna::domain_to_ascii_cow(name.as_bytes(), AsciiDenyList::EMPTY).ok()?.into_owned()
    };
    let ascii = ascii.strip_suffix('.').unwrap_or(&ascii);
    is_plain(ascii.as_bytes()).then(|| ascii.into())
}

/// The part of a plain name that somebody registered: one label more than its public suffix, by the Public Suffix
/// List with its private section (`a.b.github.io` gives `b.github.io`).
///
/// A leading `*.` is skipped. Below a top-level domain the list does not know, its own default rule holds: the last
/// two labels (`host.corp.internal` gives `corp.internal`). `None` for a bare public suffix, for a single label, and
/// where the registered label itself is a pattern (`www*.com`).
pub fn registered_domain(name: &str) -> Option<&str> {
    let name = name.strip_prefix("*.").unwrap_or(name);
    let domain = psl::domain_str(name)?;
    let mut label = domain.bytes().take_while(|byte| *byte != b'.').peekable();
    (label.peek().is_some() && label.all(|byte| byte != b'*')).then_some(domain)
}

/// The public suffix of a lower-case name by the section of the Public Suffix List that registries keep (ICANN):
/// `io` of `b.github.io`, `co.uk` of `shop.example.co.uk`. `None` below a top-level domain the list does not know, and
/// for a name with a trailing dot.
pub fn registry_suffix(name: &str) -> Option<&str> {
    let mut rest = Some(name).filter(|name| !name.ends_with('.'))?;
    loop {
        let suffix = psl::suffix(rest.as_bytes())?;
        let text = rest.get(rest.len() - suffix.trim().as_bytes().len()..)?;
        match suffix.typ()? {
            psl::Type::Icann => return Some(text),
            // A private suffix lies below one of a registry, at most a few labels up.
            psl::Type::Private => rest = text.split_once('.')?.1,
        }
    }
}

/// The registered domains of `names`, each once, in the order of the names.
pub fn registered_domains(names: &[Box<str>]) -> Vec<Box<str>> {
    let mut domains = Distinct::default();
    for domain in names.iter().filter_map(|name| registered_domain(name)) {
        domains.insert(domain);
    }
    domains.take()
}

/// Where in a certificate a value stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameSource {
    /// A dNSName of subjectAltName.
    San,
    /// A commonName of the subject, as UTF-8.
    CommonName,
}

/// The names of one certificate, each once, in the order in which they were read.
#[derive(Debug, Default)]
pub struct Names {
    plain: Distinct,
    odd: Distinct,
    ips: Distinct,
}

/// [`Names`] as lists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NameLists {
    /// Plain names.
    pub names: Vec<Box<str>>,
    /// Readings that are not plain names, or are guesses; [`UNPARSABLE`] stands for each label that makes no sense.
    pub odd: Vec<Box<str>>,
    /// Addresses as text (RFC 5952).
    pub ips: Vec<Box<str>>,
}

impl Names {
    pub fn insert_ip(&mut self, ip: IpAddr) {
        self.ips.insert(&ip.to_string());
    }

    /// Gives what was collected and starts anew.
    pub fn take(&mut self) -> NameLists {
        NameLists { names: self.plain.take(), odd: self.odd.take(), ips: self.ips.take() }
    }

    fn insert(&mut self, name: &str, sure: bool) {
        if sure && is_plain(name.as_bytes()) {
            self.plain.insert(name);
        } else if !name.is_empty() && !self.plain.contains(name) {
            self.odd.insert(name);
        }
    }
}

/// Adds every name that `value` could be meant as.
///
/// The readings are those of SSLMate's certspotter, so that a watch list finds here what it finds there:
///
/// 1. `http://` or `https://` in front is cut off;
/// 2. at a NUL, the part before it is a reading, and so is the whole;
/// 3. at a slash, in either, likewise;
/// 4. what reads as an IP address is one;
/// 5. a SAN of ASCII is trimmed and lower-cased, and a label with control characters is unparsable;
/// 6. a SAN with other bytes is read as UTF-8, if it is, and as Latin-1, each label brought to ASCII;
/// 7. a common name with a space in it is no host name; any other is read like 6, once;
/// 8. empty names are dropped.
///
/// The part before a NUL or a slash, and Latin-1 where UTF-8 fits as well, are guesses, hence odd. So is a common
/// name of one label: `localhost` may be a host, `E7` is a CA, and nothing tells them apart.
pub fn readings(value: &[u8], from: NameSource, out: &mut Names) {
    // Nearly every value there is. A plain name has no scheme, NUL, slash, space or upper case, and is no address.
    if is_plain(value) && (from == NameSource::San || is_plain_common_name(value)) {
        if let Ok(name) = std::str::from_utf8(value) {
            out.plain.insert(name);
        }
        return;
    }
    let value = value.strip_prefix(b"http://").or_else(|| value.strip_prefix(b"https://")).unwrap_or(value);
    if let Some(nul) = memchr(0, value) {
        readings_around_slash(&value[..nul], from, false, out);
    }
    readings_around_slash(value, from, true, out);
}

/// Whether a plain name is what a common name of these bytes is read as: more than one label, none of them in Punycode.
fn is_plain_common_name(name: &[u8]) -> bool {
    memchr(b'.', name).is_some() && memchr::memmem::find(name, PUNYCODE_PREFIX.as_bytes()).is_none()
}

fn readings_around_slash(value: &[u8], from: NameSource, sure: bool, out: &mut Names) {
    if let Some(slash) = memchr(b'/', value) {
        reading(&value[..slash], from, false, out);
    }
    reading(value, from, sure, out);
}

fn reading(value: &[u8], from: NameSource, sure: bool, out: &mut Names) {
    let text = std::str::from_utf8(value);
    if let Some(ip) = text.ok().and_then(|text| text.parse::<IpAddr>().ok()) {
        out.insert_ip(ip);
        return;
    }
    match (from, text) {
        (NameSource::San, Ok(text)) if text.is_ascii() => out.insert(&ascii_reading(text), sure),
        (NameSource::San, Ok(text)) => {
            out.insert(&unicode_reading(text), sure);
            out.insert(&unicode_reading(&latin1(value)), false);
        }
        (NameSource::San, Err(_)) => out.insert(&unicode_reading(&latin1(value)), sure),
        (NameSource::CommonName, text) => {
            let text = text.map_or_else(|_| Cow::Owned(latin1(value)), Cow::Borrowed);
            if !text.contains(' ') {
                let name = unicode_reading(&text);
                out.insert(&name, sure && name.contains('.'));
            }
        }
    }
}

/// Each byte is the character of that number.
pub(crate) fn latin1(bytes: &[u8]) -> String {
    bytes.iter().map(|&byte| char::from(byte)).collect()
}

fn ascii_reading(text: &str) -> String {
    let text = trim(text).to_ascii_lowercase();
    join_labels(&text, |label| is_printable(label).then_some(Cow::Borrowed(label)))
}

fn unicode_reading(text: &str) -> String {
    // By character: the lower case of a final sigma must not depend on what stands around it.
    let text: String = trim(text).chars().flat_map(char::to_lowercase).collect();
    join_labels(&text, |label| to_ascii(label).filter(|label| is_printable(label)))
}

fn trim(text: &str) -> &str {
    text.trim().trim_end_matches('.')
}

fn join_labels<'a>(name: &'a str, read: impl Fn(&'a str) -> Option<Cow<'a, str>>) -> String {
    let mut joined = String::with_capacity(name.len());
    for (at, label) in name.split('.').enumerate() {
        if at > 0 {
            joined.push('.');
        }
        joined.push_str(&read(label).unwrap_or(Cow::Borrowed(UNPARSABLE)));
    }
    joined
}

fn is_printable(label: &str) -> bool {
    label.bytes().all(|byte| matches!(byte, b'\t' | 32..=126))
}

/// Punycode and nothing else (RFC 3492): no mapping and no table of allowed characters. A name is looked for as the
/// certificate has it, and bytes of an unknown encoding must not become "anything" for being unusual.
fn to_ascii(label: &str) -> Option<Cow<'_, str>> {
    if label.is_ascii() {
        let readable = label
            .strip_prefix(PUNYCODE_PREFIX)
            .is_none_or(|code| label.len() <= LABEL_BYTES_MAX && idna::punycode::decode(code).is_some());
        return readable.then_some(Cow::Borrowed(label));
    }
    // Punycode takes time quadratic in the label, and its result is never shorter than the label.
    if label.chars().count() > LABEL_BYTES_MAX - PUNYCODE_PREFIX.len() {
        return None;
    }
    Some(Cow::Owned(format!("{PUNYCODE_PREFIX}{}", idna::punycode::encode_str(label)?)))
}

/// Texts, each once, in the order of their first insertion.
#[derive(Debug, Default)]
struct Distinct {
    list: Vec<Box<str>>,
    /// The same texts, kept only for lists too long to be searched one by one.
    index: Option<HashSet<Box<str>>>,
}

impl Distinct {
    const SEARCHED_MAX: usize = 24;

    fn contains(&self, text: &str) -> bool {
        match &self.index {
            // From the end: names of one domain stand together.
            None => self.list.iter().rev().any(|known| **known == *text),
            Some(index) => index.contains(text),
        }
    }

    fn insert(&mut self, text: &str) {
        if self.contains(text) {
            return;
        }
        self.list.push(text.into());
        match &mut self.index {
            Some(index) => {
                index.insert(text.into());
            }
            None if self.list.len() > Self::SEARCHED_MAX => self.index = Some(self.list.iter().cloned().collect()),
            None => {}
        }
    }

    fn take(&mut self) -> Vec<Box<str>> {
        self.index = None;
        std::mem::take(&mut self.list)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: &[u8], from: NameSource) -> NameLists {
        let mut names = Names::default();
        readings(value, from, &mut names);
        names.take()
    }

    #[track_caller]
    fn check(from: NameSource, value: &[u8], names: &[&str], odd: &[&str], ips: &[&str]) {
        let got = read(value, from);
        let texts = |list: &[Box<str>]| list.iter().map(|text| text.to_string()).collect::<Vec<_>>();
        assert_eq!((texts(&got.names), texts(&got.odd), texts(&got.ips)), (own(names), own(odd), own(ips)));
    }

    fn own(list: &[&str]) -> Vec<String> {
        list.iter().map(ToString::to_string).collect()
    }

    #[track_caller]
    fn san(value: &[u8], names: &[&str], odd: &[&str]) {
        check(NameSource::San, value, names, odd, &[]);
    }

    #[track_caller]
    fn cn(value: &[u8], names: &[&str], odd: &[&str]) {
        check(NameSource::CommonName, value, names, odd, &[]);
    }

    // Expected A-labels are from Python's `punycode` codec.
    #[test]
    fn suffixes_of_registries() {
        let check = |name, want| assert_eq!(registry_suffix(name), want, "{name}");
        check("b.github.io", Some("io"));
        check("shop.example.co.uk", Some("co.uk"));
        check("co.uk", Some("co.uk"));
        check("www.s3.dualstack.eu-west-1.amazonaws.com", Some("com"));
        check("a.b.ck", Some("b.ck"));
        for name in ["example.local", "localhost", "", ".", "example.com."] {
            check(name, None);
        }
    }
    #[test]
    fn san_plain() {
        san(b"www.example.com", &["www.example.com"], &[]);
        san(b"*.example.com", &["*.example.com"], &[]);
        san(b"www*.example.com", &["www*.example.com"], &[]);
        san(b"_dmarc.-x-.example.com", &["_dmarc.-x-.example.com"], &[]);
        san(b"localhost", &["localhost"], &[]);
        san(b"xn--not-punycode-\x7a\x7a\x7a\x7a.example", &["xn--not-punycode-zzzz.example"], &[]);
    }
    #[test]
    fn san_case_and_dots_and_space() {
        san(b"WWW.Example.COM..", &["www.example.com"], &[]);
        san(b" \t\nwww.example.com \r\x0b", &["www.example.com"], &[]);
        san(b"www..example.com", &[], &["www..example.com"]);
        san(b".example.com", &[], &[".example.com"]);
        san(b"a b.example.com", &[], &["a b.example.com"]);
        san(b"", &[], &[]);
        san(b" ... ", &[], &[]);
    }
    #[test]
    fn san_lengths() {
        let label = "a".repeat(63);
        let longest = format!("{label}.{label}.{label}.{}", "b".repeat(61));
        assert_eq!(longest.len(), 253);
        san(longest.as_bytes(), &[&longest], &[]);
        let longer = format!("{longest}b");
        san(longer.as_bytes(), &[], &[&longer]);
        let long_label = format!("{label}a.example");
        san(long_label.as_bytes(), &[], &[&long_label]);
    }
    #[test]
    fn san_redacted() {
        san(b"?.example.com", &[], &["?.example.com"]);
    }
    #[test]
    fn san_control_characters() {
        san(b"a\x01b.example.com", &[], &["\u{fffd}.example.com"]);
        san(b"a\x7f.b\tb.example.com", &[], &["\u{fffd}.b\tb.example.com"]);
    }
    #[test]
    fn san_url() {
        san(b"https://example.com", &["example.com"], &[]);
        san(b"http://example.com/a/b", &[], &["example.com", "example.com/a/b"]);
        san(b"HTTP://example.com", &[], &["http:", "http://example.com"]);
    }
    #[test]
    fn san_nul() {
        san(b"example.com\0.evil.test", &[], &["example.com", "example.\u{fffd}.evil.test"]);
        san(b"a.test/b\0c", &[], &["a.test", "a.test/b", "a.\u{fffd}"]);
    }
    #[test]
    fn san_not_ascii() {
        san(b"B\xfccher.example", &["xn--bcher-kva.example"], &[]);
        san("BÜCHER.example".as_bytes(), &["xn--bcher-kva.example"], &["xn--bcher-3ea01c.example"]);
    }
    #[test]
    fn san_label_too_long_for_punycode() {
        let name = format!("{}.example", "ü".repeat(60));
        san(name.as_bytes(), &[], &["\u{fffd}.example"]);
        let name = format!("{}.example", "\u{4e2d}".repeat(100_000));
        san(name.as_bytes(), &[], &["\u{fffd}.example"]);
    }
    #[test]
    fn addresses() {
        check(NameSource::San, b"192.0.2.1", &[], &[], &["192.0.2.1"]);
        check(NameSource::San, b"2001:DB8::1", &[], &[], &["2001:db8::1"]);
        check(NameSource::San, b"https://192.0.2.1/x", &[], &["192.0.2.1/x"], &["192.0.2.1"]);
        check(NameSource::CommonName, b"192.0.2.1", &[], &[], &["192.0.2.1"]);
        // Not addresses to any parser, and not hosts either.
        check(NameSource::San, b"192.0.2.256", &[], &["192.0.2.256"], &[]);
        check(NameSource::San, b"192.0.2.1.", &[], &["192.0.2.1"], &[]);
    }
    #[test]
    fn cn_host() {
        cn(b"www.Example.com", &["www.example.com"], &[]);
        cn("bücher.example".as_bytes(), &["xn--bcher-kva.example"], &[]);
        cn("ΟΔΟΣ.example".as_bytes(), &["xn--pxavbq.example"], &[]);
    }
    #[test]
    fn cn_not_a_host() {
        cn(b"My Company CA", &[], &[]);
        cn(b" example.com", &[], &[]);
        cn(b"E7", &[], &["e7"]);
        cn(b"localhost", &[], &["localhost"]);
        cn(b"user@example.com", &[], &["user@example.com"]);
        cn(b"", &[], &[]);
    }
    #[test]
    fn cn_with_undecodable_a_label() {
        cn(b"xn--\x7a\x7a\x7a\x7a99999999999.example", &[], &["\u{fffd}.example"]);
        cn(b"xn--bcher-kva.example", &["xn--bcher-kva.example"], &[]);
    }

    #[test]
    fn each_name_once() {
        let mut names = Names::default();
        for value in [&b"a.example"[..], b"A.example.", b"b.example", b"a.example"] {
            readings(value, NameSource::San, &mut names);
        }
        readings(b"B.example", NameSource::CommonName, &mut names);
        readings(b"a.example/", NameSource::CommonName, &mut names);
        let lists = names.take();
        assert_eq!(lists.names, ["a.example".into(), "b.example".into()] as [Box<str>; 2]);
        assert_eq!(lists.odd, ["a.example/".into()] as [Box<str>; 1]);
    }

    #[test]
    fn many_names_agree_with_a_set() {
        let mut names = Names::default();
        let mut want = Vec::new();
        for number in 0..20_000_u64 {
            let name = format!("n{}.example", number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 51);
            readings(name.as_bytes(), NameSource::San, &mut names);
            want.push(name);
        }
        let mut seen = HashSet::new();
        want.retain(|name| seen.insert(name.clone()));
        assert_eq!(own(&names.take().names.iter().map(|name| &**name).collect::<Vec<_>>()), want);
    }

    #[track_caller]
    fn check_registered(name: &str, want: Option<&str>) {
        assert_eq!(registered_domain(name), want);
    }

    #[test]
    fn registered() {
        check_registered("example.com", Some("example.com"));
        check_registered("a.b.example.com", Some("example.com"));
        check_registered("*.shop.example.co.uk", Some("example.co.uk"));
        check_registered("*.example.co.uk", Some("example.co.uk"));
        check_registered("a.b.github.io", Some("b.github.io"));
        check_registered("xn--bcher-kva.xn--p1ai", Some("xn--bcher-kva.xn--p1ai"));
        // `*.ck` is a suffix, `www.ck` an exception to it.
        check_registered("a.b.c.ck", Some("b.c.ck"));
        check_registered("a.www.ck", Some("www.ck"));
    }
    #[test]
    fn registered_bare_suffix() {
        for name in ["com", "*.com", "co.uk", "*.co.uk", "github.io", "*.ck", "localhost", "*", ""] {
            check_registered(name, None);
        }
    }
    #[test]
    fn registered_unknown_top_level_domain() {
        check_registered("host.corp.internal", Some("corp.internal"));
        check_registered("corp.internal", Some("corp.internal"));
        check_registered("internal", None);
    }
    #[test]
    fn registered_pattern_or_nonsense() {
        for name in ["www*.com", "*a.co.uk", "..com", ".com", ".", "*.*.com"] {
            check_registered(name, None);
        }
        check_registered("www*.example.com", Some("example.com"));
    }
    #[test]
    fn registered_list() {
        let names: Vec<Box<str>> = ["b.example.com", "com", "x.org", "*.example.com"].map(Into::into).into();
        assert_eq!(registered_domains(&names), ["example.com".into(), "x.org".into()] as [Box<str>; 2]);
    }

    #[track_caller]
    fn check_normal(name: &str, want: Option<&str>) {
        assert_eq!(normalize(name).as_deref(), want);
    }

    #[test]
    fn normal() {
        check_normal("www.example.com", Some("www.example.com"));
        check_normal("*.Example.COM.", Some("*.example.com"));
        check_normal("Bücher.example", Some("xn--bcher-kva.example"));
        check_normal("*.ｂｕ\u{308}cher。example", Some("*.xn--bcher-kva.example"));
        check_normal("_sip._tcp.example.com", Some("_sip._tcp.example.com"));
    }
    #[test]
    fn not_normal() {
        for name in
            ["", ".", "a..b", "a b.com", "example.com..", "192.0.2.1", "::1", "a@b.com", "\u{fffd}.com", "?.com"]
        {
            check_normal(name, None);
        }
        check_normal(&"ü".repeat(100_000), None);
    }
}
