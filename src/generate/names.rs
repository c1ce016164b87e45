//! Host names that nobody owns.
//!
//! A registered domain is made of syllables and the word `specimen` under a real public suffix, so that it parses like
//! a real name and is none. Domain number n has the same name under every seed; a few domains are popular.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::rng::{Rng, mix};

/// In every registered domain: what keeps it from being somebody's.
const MARK: &str = "specimen";

const DOMAINS: u64 = 1 << 24;
const POPULAR_DOMAINS: u64 = 400;
const NAMES_MAX: usize = 100;

const ONSETS: [&str; 20] =
    ["b", "br", "c", "d", "dr", "f", "g", "h", "k", "l", "m", "n", "p", "qu", "r", "s", "st", "t", "v", "z"];
const VOWELS: [&str; 8] = ["a", "e", "i", "o", "u", "ai", "eo", "ia"];
const CODAS: [&str; 8] = ["", "", "", "l", "n", "r", "s", "x"];

/// Public suffixes and how often each is met.
const SUFFIXES: [(&str, u32); 27] = [
    ("com", 460),
    ("net", 70),
    ("org", 60),
    ("de", 45),
    ("co.uk", 40),
    ("dev", 30),
    ("app", 30),
    ("io", 30),
    ("com.br", 28),
    ("fr", 25),
    ("nl", 22),
    ("com.au", 20),
    ("ru", 18),
    ("pl", 16),
    ("it", 16),
    ("xyz", 14),
    ("shop", 12),
    ("online", 12),
    ("site", 10),
    ("info", 10),
    ("co.jp", 10),
    ("in", 8),
    ("co.za", 6),
    ("top", 6),
    ("com.tr", 5),
    ("org.uk", 4),
    ("ac.jp", 1),
];

const HOSTS: [&str; 28] = [
    "www",
    "mail",
    "api",
    "app",
    "dev",
    "staging",
    "portal",
    "cdn",
    "shop",
    "blog",
    "vpn",
    "autodiscover",
    "cpanel",
    "webmail",
    "cpcalendars",
    "cpcontacts",
    "webdisk",
    "git",
    "grafana",
    "auth",
    "static",
    "img",
    "m",
    "test",
    "demo",
    "status",
    "mx1",
    "remote",
];
const REGIONS: [&str; 6] = ["eu-west-1", "eu-north-1", "us-east-2", "us-west-1", "ap-south-1", "sa-east-1"];

/// A-labels of the mark behind a word with letters beyond ASCII.
const IDN_LABELS: [&str; 9] = [
    "xn--bckereispecimen-0kb",
    "xn--cafbelvedrespecimen-yybo",
    "xn--mnzhofspecimen-gsb",
    "xn--urawiespecimen-9cd",
    "xn--ystrandspecimen-4tb",
    "xn--niarealspecimen-zqb",
    "xn--specimen-06g4fuazn3b8fyg",
    "xn--specimen-vw6oj48f7l2ez4p",
    "xn--specimen-u8fuvkn4h",
];

/// What an impostor of the invented brands alderbank, northpostal and mirellapay might register: typing errors, other
/// digits and letters, brand as a subdomain, words around it, letters of another script.
const LOOK_ALIKES: [&str; 16] = [
    "login-alderbank-specimen.com",
    "a1derbank-specimen.net",
    "alderbnak-specimen.com",
    "alderbank.com.secure-session-specimen.xyz",
    "secure.alderbank-specimen.verify-account-specimen.top",
    "xn--lderbankspecimen-sdn.com",
    "xn--alderbnk-specimen-x4n.net",
    "northpostal-tracking-specimen.shop",
    "n0rthpostal-specimen.com",
    "xn--nrthpostalspecimen-d4o.com",
    "northpostal-redelivery-fee-specimen.online",
    "mirellapay-support-specimen.com",
    "mirel1apay-specimen.co.uk",
    "xn--mrellapayspecimen-cpo.com",
    "wallet-mirellapay-specimen.app",
    "alderbank-id-specimen.com.br",
];

/// What a certificate is for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subjects {
    /// DNS names as the certificate writes them, each once whatever its case.
    pub names: Vec<String>,
    pub ips: Vec<IpAddr>,
}

impl Subjects {
    pub fn draw(rng: &mut Rng) -> Self {
        let mut subjects = Self::default();
        match rng.below(1_000) {
            0..6 => subjects.add_ips(rng),
            6..11 => {
                let domain = registered_domain(rng);
                subjects.add(domain);
                subjects.add_ips(rng);
            }
            11..26 => subjects.add((*rng.pick(&LOOK_ALIKES)).to_owned()),
            26..36 => {
                let domain = format!("{}.{}", rng.pick(&IDN_LABELS), suffix(rng.next()));
                subjects.add_with_www(domain);
            }
            36..320 => {
                let domain = registered_domain(rng);
                subjects.add_with_www(domain);
            }
            320..600 => {
                let domain = registered_domain(rng);
                subjects.add(host(rng, &domain));
            }
            600..680 => {
                let domain = registered_domain(rng);
                subjects.add(domain);
            }
            680..810 => subjects.add_wildcard(rng),
            810..940 => {
                let hosts = rng.between(2, 8);
                subjects.add_hosts(rng, 1, hosts);
            }
            940..985 => {
                let (domains, hosts) = (rng.between(2, 6), rng.between(2, 5));
                subjects.add_hosts(rng, domains, hosts);
            }
            _ => {
                let (domains, hosts) = (rng.between(4, 12), rng.between(3, 12));
                subjects.add_hosts(rng, domains, hosts);
            }
        }
        if rng.below(300) == 0 {
            subjects.capitalise();
        }
        subjects
    }

    fn add(&mut self, name: String) {
        if self.names.len() < NAMES_MAX && !self.names.contains(&name) {
            self.names.push(name);
        }
    }

    fn add_with_www(&mut self, domain: String) {
        let www = format!("www.{domain}");
        self.add(domain);
        self.add(www);
    }

    fn add_wildcard(&mut self, rng: &mut Rng) {
        let domain = registered_domain(rng);
        if rng.below(4) == 0 {
            self.add(format!("*.{}", host(rng, &domain)));
        } else {
            self.add(format!("*.{domain}"));
        }
        if rng.below(3) != 0 {
            self.add(domain);
        }
    }

    fn add_hosts(&mut self, rng: &mut Rng, domains: u64, hosts: u64) {
        for _ in 0..domains {
            let domain = registered_domain(rng);
            (1..hosts).for_each(|_| self.add(host(rng, &domain)));
            self.add(domain);
        }
    }

    /// Addresses kept for documentation (RFC 5737, RFC 3849).
    fn add_ips(&mut self, rng: &mut Rng) {
        let [net, host] = rng.bytes();
        let (a, b, c) = *rng.pick(&[(192, 0, 2), (198, 51, 100), (203, 0, 113)]);
        self.ips.push(IpAddr::V4(Ipv4Addr::new(a, b, c, host)));
        if rng.below(3) == 0 {
            self.ips.push(IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, u16::from(net), 0, 0, 0, 0, u16::from(host))));
        }
    }

    /// Some requests write names with capitals, and certificates keep them (RFC 4343: case means nothing).
    fn capitalise(&mut self) {
        for name in self.names.iter_mut().filter(|name| !name.contains("xn--")) {
            name[..1].make_ascii_uppercase();
        }
    }
}

fn registered_domain(rng: &mut Rng) -> String {
    let number = if rng.below(4) == 0 {
        // The smaller of two numbers: the lower a number, the more popular its domain.
        rng.below(POPULAR_DOMAINS).min(rng.below(POPULAR_DOMAINS))
    } else {
        rng.below(DOMAINS)
    };
    numbered_domain(number)
}

fn numbered_domain(number: u64) -> String {
    let mut bits = Rng::new(number);
    let mut label = String::new();
    for _ in 0..bits.between(2, 4) {
        label += *bits.pick(&ONSETS);
        label += *bits.pick(&VOWELS);
        label += *bits.pick(&CODAS);
    }
    if bits.below(4) == 0 {
        label.push('-');
    }
    label + MARK + "." + suffix(mix(number))
}

fn suffix(number: u64) -> &'static str {
    SUFFIXES[Rng::new(number).weighted(&SUFFIXES.map(|(_, weight)| weight))].0
}

fn host(rng: &mut Rng, domain: &str) -> String {
    match rng.below(10) {
        0 => format!("{:08x}.{}.{domain}", rng.next() >> 32, rng.pick(&REGIONS)),
        1 => format!("{}{}.{domain}", rng.pick(&HOSTS), rng.below(40)),
        2 => format!("{}.{}.{domain}", rng.pick(&HOSTS), rng.pick(&HOSTS)),
        _ => format!("{}.{domain}", rng.pick(&HOSTS)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_keeps_its_name() {
        assert_eq!(numbered_domain(7), numbered_domain(7));
        assert_ne!(numbered_domain(7), numbered_domain(8));
    }

    #[test]
    fn every_name_is_a_host_name_and_marked() {
        let mut rng = Rng::new(1);
        for _ in 0..20_000 {
            let subjects = Subjects::draw(&mut rng);
            assert!(!subjects.names.is_empty() || !subjects.ips.is_empty());
            assert!(subjects.names.len() <= NAMES_MAX);
            for name in &subjects.names {
                assert!(name.contains(MARK), "{name}");
                assert!(name.len() <= 253, "{name}");
                for label in name.strip_prefix("*.").unwrap_or(name).split('.') {
                    let letters = label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
                    let edges = label.starts_with('-') || label.ends_with('-');
                    assert!((1..=63).contains(&label.len()) && letters && !edges, "{name}");
                }
            }
        }
    }
}
