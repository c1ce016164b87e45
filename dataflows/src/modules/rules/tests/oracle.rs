//! The compiled set against a plain loop: each rule on its own, each name on its own, nothing shared.

use std::collections::HashSet;
use std::fmt::Write;
use std::net::Ipv4Addr;

use regex::Regex;

use super::*;

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }
}

const LABELS: [&str; 14] = [
    "login",
    "pay",
    "my-bank",
    "bank",
    "a",
    "aa",
    "ab-a",
    "www",
    "shop24",
    "x-pay-y",
    "xn--bcher-kva",
    "*",
    "secure",
    "b",
];
const SUFFIXES: [&str; 7] = ["com", "co.uk", "example", "xyz", "github.io", "bank", "aa"];
const LITERALS: [&str; 12] = ["a", "aa", "pay", "bank", "login", "büch", "24", "-", "shop", "s", "xn--", "secure"];
const REGEXES: [&str; 6] = ["^a", "[0-9]{2}", "pay.*bank", "z$", "^(login|pay)\\.", "ü"];
const ISSUERS: [&str; 4] = ["R10", "R11", "Specimen CA", "Other"];

fn name(random: &mut Random) -> String {
    let mut name = String::new();
    for _ in 0..random.below(4) {
        name.push_str(random.pick(&LABELS));
        name.push('.');
    }
    name + random.pick(&SUFFIXES)
}

/// One key of a selection.
enum Ask {
    Name(Vec<String>),
    Suffix(Vec<String>),
    Keyword(Vec<&'static str>),
    KeywordAll(Vec<&'static str>),
    InLabel(Vec<&'static str>),
    Word(Vec<&'static str>),
    Label(Vec<&'static str>),
    Regex(Vec<&'static str>),
    Issuer(Vec<&'static str>),
    IssuerPart(&'static str),
    Ip(u8),
    BitsMax(u32),
    SansMin(usize),
    Wildcard(bool),
}

impl Ask {
    fn random(random: &mut Random) -> Self {
        let count = 1 + random.below(3);
        let mut literals = |of: &[&'static str]| (0..count).map(|_| random.pick(of)).collect::<Vec<_>>();
        let (some, no_dots, regexes, issuers) =
            (literals(&LITERALS), literals(&LITERALS), literals(&REGEXES), literals(&ISSUERS));
        let names: Vec<String> = (0..count).map(|_| name(random)).collect();
        match random.below(14) {
            0 => Self::Name(names),
            1 => Self::Suffix(names),
            2 | 3 => Self::Keyword(some),
            4 => Self::KeywordAll(some),
            5 => Self::InLabel(no_dots),
            6 => Self::Word(no_dots),
            7 => Self::Label(LABELS[..5].iter().copied().take(count).collect()),
            8 => Self::Regex(regexes),
            9 => Self::Issuer(issuers),
            10 => Self::IssuerPart(random.pick(&["r1", "CA", "10"])),
            11 => Self::Ip(random.pick(&[8, 23, 24, 32])),
            12 if random.below(2) == 0 => Self::BitsMax(2047),
            12 => Self::SansMin(2),
            _ => Self::Wildcard(random.below(2) == 0),
        }
    }

    fn toml(&self) -> String {
        let list = |key: &str, of: &[&str]| format!("{key} = {}", serde_json::to_string(of).unwrap());
        let owned = |key: &str, of: &[String]| format!("{key} = {}", serde_json::to_string(of).unwrap());
        match self {
            Self::Name(of) => owned("name", of),
            Self::Suffix(of) => owned("suffix", of),
            Self::Keyword(of) => list("keyword", of),
            Self::KeywordAll(of) => list("keyword_all", of),
            Self::InLabel(of) => list("keyword_in_label", of),
            Self::Word(of) => list("word", of),
            Self::Label(of) => list("label", of),
            Self::Regex(of) => list("regex", of),
            Self::Issuer(of) => list("issuer_cn", of),
            Self::IssuerPart(of) => list("issuer_cn_contains", &[of]),
            Self::Ip(prefix) => format!("ip = '192.0.2.1/{prefix}'"),
            Self::BitsMax(bits) => format!("key_bits_max = {bits}"),
            Self::SansMin(count) => format!("san_count_min = {count}"),
            Self::Wildcard(is) => format!("wildcard = {is}"),
        }
    }

    const fn is_about_names(&self) -> bool {
        !matches!(
            self,
            Self::Issuer(_)
                | Self::IssuerPart(_)
                | Self::Ip(_)
                | Self::BitsMax(_)
                | Self::SansMin(_)
                | Self::Wildcard(_)
        )
    }

    /// Both forms of the name, and of each its labels in front of the public suffix.
    fn holds_for(&self, name: &str) -> bool {
        let unicode = idna::domain_to_unicode(name).0;
        let suffix_labels = ct_model::name::registered_domain(name).map_or(0, |domain| domain.split('.').count() - 1);
        let forms = [name, unicode.as_str()];
        let own = |form: &str| -> Vec<String> {
            let labels: Vec<&str> = form.split('.').collect();
            labels[..labels.len() - suffix_labels].iter().map(|label| (*label).to_owned()).collect()
        };
        let any_label =
            |test: &dyn Fn(&str) -> bool| forms.iter().any(|form| own(form).iter().any(|label| test(label)));
        let is_word = |label: &str, word: &str| {
            (0..label.len()).filter(|at| label.is_char_boundary(*at)).any(|at| {
                let starts = label[at..].starts_with(word);
                let before = label[..at].chars().next_back();
                let after = || label[at + word.len()..].chars().next();
                let is_part =
                    |char: Option<char>| char.is_some_and(|char| char.is_ascii_alphanumeric() || !char.is_ascii());
                starts && !is_part(before) && !is_part(after())
            })
        };
        match self {
            Self::Name(of) => of.iter().any(|wanted| wanted == name),
            Self::Suffix(of) => of.iter().any(|suffix| {
                let suffix = suffix.strip_prefix("*.").unwrap_or(suffix);
                name == suffix || name.ends_with(&format!(".{suffix}"))
            }),
            Self::Keyword(of) => of.iter().any(|word| forms.iter().any(|form| form.contains(word))),
            Self::KeywordAll(of) => of.iter().all(|word| forms.iter().any(|form| form.contains(word))),
            Self::InLabel(of) => of.iter().any(|word| any_label(&|label| label.contains(word))),
            Self::Word(of) => of.iter().any(|word| any_label(&|label| is_word(label, word))),
            Self::Label(of) => of.iter().any(|word| any_label(&|label| label == *word)),
            Self::Regex(of) => of.iter().any(|regex| {
                let regex = Regex::new(regex).unwrap();
                forms.iter().any(|form| regex.is_match(form))
            }),
            _ => true,
        }
    }

    fn holds_for_certificate(&self, cert: &CertRecord) -> bool {
        let issuer = cert.issuer_cn.as_deref();
        match self {
            Self::Issuer(of) => issuer.is_some_and(|issuer| of.iter().any(|name| name.eq_ignore_ascii_case(issuer))),
            Self::IssuerPart(part) => issuer.is_some_and(|issuer| issuer.to_lowercase().contains(&part.to_lowercase())),
            Self::Ip(prefix) => cert.ips.iter().any(|ip| {
                let bits = |ip: &str| u64::from(ip.parse::<Ipv4Addr>().unwrap().to_bits());
                bits(ip) >> (32 - prefix) == bits("192.0.2.1") >> (32 - prefix)
            }),
            Self::BitsMax(bits) => cert.key_bits.is_some_and(|is| is <= *bits),
            Self::SansMin(count) => cert.names.len() + cert.ips.len() >= *count,
            Self::Wildcard(is) => cert.names.iter().any(|name| name.contains('*')) == *is,
            _ => true,
        }
    }
}

/// Three selections of a few keys each, and one of some conditions over them.
struct Plain {
    selections: [Vec<Ask>; 3],
    condition: usize,
    allow: Option<String>,
}

type Decide = fn(bool, bool, bool) -> bool;
const CONDITIONS: [(&str, Decide); 8] = [
    ("condition = 'a'", |a, _, _| a),
    ("condition = 'a and b'", |a, b, _| a && b),
    ("condition = 'a and not b'", |a, b, _| a && !b),
    ("condition = 'a or b and c'", |a, b, c| a || (b && c)),
    ("condition = '2 of them'", |a, b, c| u8::from(a) + u8::from(b) + u8::from(c) >= 2),
    ("condition = 'not (a or b) and c'", |a, b, c| !(a || b) && c),
    ("condition_cel = 'sel.a && (sel.b || !sel.c)'", |a, b, c| a && (b || !c)),
    ("condition_cel = 'sel.a ? sel.b : sel.c'", |a, b, c| if a { b } else { c }),
];

impl Plain {
    fn random(random: &mut Random) -> Self {
        let mut selection = || {
            let count = 1 + random.below(2);
            // A key stands in a table once.
            let mut keys = HashSet::new();
            (0..count)
                .map(|_| Ask::random(random))
                .filter(|ask| keys.insert(ask.toml().split(' ').next().unwrap().to_owned()))
                .collect()
        };
        let selections = [selection(), selection(), selection()];
        let allow = (random.below(4) == 0).then(|| name(random).replace("*.", ""));
        Self { selections, condition: random.below(CONDITIONS.len()), allow }
    }

    fn toml(&self, id: &str) -> String {
        let mut text = format!("[[rule]]\nid = '{id}'\ntitle = 'x'\nlevel = 'low'\n");
        if let Some(suffix) = &self.allow {
            writeln!(text, "allow = {{ suffix = '{suffix}' }}").unwrap();
        }
        writeln!(text, "[rule.detection]\n{}", CONDITIONS[self.condition].0).unwrap();
        for (name, selection) in ["a", "b", "c"].iter().zip(&self.selections) {
            let keys: Vec<String> = selection.iter().map(Ask::toml).collect();
            writeln!(text, "{name} = {{ {} }}", keys.join(", ")).unwrap();
        }
        text
    }

    fn matches(&self, cert: &CertRecord) -> bool {
        let is_allowed = |name: &str| {
            self.allow.as_ref().is_some_and(|suffix| name == suffix || name.ends_with(&format!(".{suffix}")))
        };
        let left: Vec<&str> = cert.names.iter().map(AsRef::as_ref).filter(|name| !is_allowed(name)).collect();
        if left.is_empty() && !cert.names.is_empty() {
            return false;
        }
        let [a, b, c] = [0, 1, 2].map(|number| {
            let asks: &Vec<Ask> = &self.selections[number];
            let (names, others): (Vec<&Ask>, Vec<&Ask>) = asks.iter().partition(|ask| ask.is_about_names());
            others.iter().all(|ask| ask.holds_for_certificate(cert))
                && (names.is_empty() || left.iter().any(|name| names.iter().all(|ask| ask.holds_for(name))))
        });
        (CONDITIONS[self.condition].1)(a, b, c)
    }
}

fn random_certificate(random: &mut Random) -> CertRecord {
    let mut names: Vec<String> = (0..random.below(5)).map(|_| name(random)).collect();
    names.dedup();
    let mut cert = certificate(&names.iter().map(String::as_str).collect::<Vec<_>>());
    cert.issuer_cn = (random.below(5) > 0).then(|| random.pick(&ISSUERS).into());
    cert.key_bits = (random.below(5) > 0).then(|| random.pick(&[256, 1024, 2048]));
    cert.ips = (0..random.below(2))
        .map(|_| random.pick(&["192.0.2.1", "192.0.3.1", "192.9.9.9", "10.0.0.1"]).into())
        .collect();
    cert
}

#[test]
fn the_set_agrees_with_a_plain_loop() {
    let mut random = Random(7);
    let (mut matched, mut asked) = (0, 0);
    for _ in 0..40 {
        let rules: Vec<Plain> = (0..1 + random.below(60)).map(|_| Plain::random(&mut random)).collect();
        let text: String = rules.iter().enumerate().map(|(number, rule)| rule.toml(&format!("r{number}"))).collect();
        let set = RuleSet::parse("random", &text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        for _ in 0..100 {
            let cert = random_certificate(&mut random);
            let found = set.examine(&Subject::certificate(&cert, &[]));
            let found: Vec<&str> = found.matches.iter().map(|found| &*found.rule.id).collect();
            let want = rules.iter().enumerate().filter(|(_, rule)| rule.matches(&cert));
            let want: Vec<String> = want.map(|(number, _)| format!("r{number}")).collect();
            assert_eq!(found, want, "{:?} {:?} {:?}\n{text}", cert.names, cert.issuer_cn, cert.ips);
            matched += want.len();
            asked += rules.len();
        }
    }
    assert!(matched > asked / 20 && matched < asked / 2, "{matched} of {asked}");
}
