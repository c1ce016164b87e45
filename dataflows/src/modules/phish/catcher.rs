//! The points that phishing_catcher gives a name, for those who come from it with their keyword file.
//!
//! Written from a description of its rules, checked and completed by asking the program about names, not from its
//! text.
//! Known differences: characters of other scripts that look like Latin ones are not replaced in names with A-labels,
//! and below a top-level domain that the Public Suffix List does not know, the last label still counts as a suffix.

use super::Reason;
use super::features::Parts;
use super::keywords::{BRAND_POINTS, Keywords};

/// From so many points on the program logs a name.
const LOGGED_POINTS: i64 = 75;
/// For a certificate of Let's Encrypt, whatever the name.
pub(super) const LETS_ENCRYPT_POINTS: i64 = 10;

const SUFFIX_POINTS: i64 = 20;
const FIRST_WORD_POINTS: i64 = 10;
const NEAR_WORD_POINTS: i64 = 70;
/// Words that lie near a keyword without meaning it.
const NO_NEAR_WORDS: [&str; 3] = ["email", "mail", "cloud"];

/// Half of the way to 1 is where the program begins to log.
pub(super) fn score(points: i64) -> f64 {
    let share = points as f64 / (2 * LOGGED_POINTS) as f64;
    super::rounded(share.clamp(0.0, 1.0))
}

/// Each rule that gives points, with its points; their sum is the score.
pub(super) fn points(name: &str, keywords: &Keywords) -> Vec<(Reason, i64)> {
    let mut rules = Vec::new();
    let mut rule = |points: i64, what: String| {
        if points != 0 {
            rules.push((Reason { what, weight: points as f64 }, points));
        }
    };
    for suffix in keywords.suffixes().iter().filter(|suffix| name.ends_with(&***suffix)) {
        rule(SUFFIX_POINTS, format!("ends with {suffix:?}"));
    }
    let name = without_suffix(name);
    rule(entropy_points(&name), "entropy of the name".to_owned());

    let name = name.replace('1', "l");
    let words: Vec<&str> = name.split(['.', '-']).collect();
    if let Some(word @ ("com" | "net" | "org")) = words.first().copied() {
        rule(FIRST_WORD_POINTS, format!("the first word is {word:?}"));
    }
    keywords.find(&name, |word, points| rule(points, format!("keyword {word:?}")));
    for (keyword, _) in keywords.words().iter().filter(|(_, points)| *points >= BRAND_POINTS) {
        for word in words.iter().filter(|word| !NO_NEAR_WORDS.contains(word)) {
            if is_one_edit(word.as_bytes(), keyword.as_bytes()) {
                rule(NEAR_WORD_POINTS, format!("{word:?} is one edit from {keyword:?}"));
            }
        }
    }
    let count = |byte: u8| i64::try_from(name.bytes().filter(|b| *b == byte).count()).expect("at most 253 bytes");
    let (dashes, dots) = (count(b'-'), count(b'.'));
    if dashes >= 4 && !name.contains("xn--") {
        rule(3 * dashes, format!("{dashes} dashes"));
    }
    if dots >= 3 {
        rule(3 * dots, format!("{dots} dots"));
    }
    rules
}

/// What stands below the registered domain, a dot, and its first label. The dot stays when nothing stands below.
fn without_suffix(name: &str) -> String {
    let parts = Parts::with_www(name);
    if parts.domain().is_empty() {
        return parts.name.to_owned();
    }
    let below = parts.name[..parts.domain_at].trim_end_matches('.');
    format!("{below}.{}", parts.label())
}

/// Shannon's entropy in bits a byte, times ten.
fn entropy_points(name: &str) -> i64 {
    let mut counts = [0_u32; 256];
    for byte in name.bytes() {
        counts[usize::from(byte)] += 1;
    }
    let shares = counts.iter().filter(|count| **count > 0).map(|count| f64::from(*count) / name.len() as f64);
    let entropy: f64 = shares.map(|share| -share * share.log2()).sum();
    (entropy * 10.0).round_ties_even() as i64
}

/// Whether one inserted, removed or replaced byte makes one of the other.
fn is_one_edit(left: &[u8], right: &[u8]) -> bool {
    let (short, long) = if left.len() < right.len() { (left, right) } else { (right, left) };
    if long.len() - short.len() > 1 || left == right {
        return false;
    }
    let same = short.iter().zip(long).take_while(|(l, r)| l == r).count();
    let skipped = usize::from(short.len() == long.len());
    short[same..].get(skipped..) == long.get(same + 1..)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "keywords:\n    'login': 25\n    'verify': 35\n    'mail': 30\n    'paypal': 75\n    \
                        'bank-': 15\n    'apple': 70\n    '.com-': 20\n    'cloud': 80\ntlds:\n    '.tk':\n    \
                        '.top':\n    '.xyz':\n    'z':\n";

    /// The points are answers of phishing_catcher (089208e, of 2020-12-08) with this file.
    #[test]
    fn as_the_program_answers() {
        let keywords = Keywords::parse(FILE).expect("a keyword file");
        for (name, want) in [
            ("example.com", 28),
            ("www.example.co.uk", 28),
            ("a.b.github.io", 16),
            ("*.login.example.com", 59),
            ("com.example.net", 41),
            ("com-login.x.tk", 88),
            ("a-b-c-d-e.com", 37),
            ("xn--a-b-c-d-e.com", 27),
            ("1.2.3.4.5.example.com", 48),
            ("paypa1.com", 97),
            ("pay.pal.paypall.xyz", 208),
            ("localhost", 27),
            ("emai1.mail.cloud.com", 144),
            ("email.com", 56),
            ("login.com", 51),
            ("verify.tk", 83),
            ("appl.e.apple.com", 163),
            ("mai1l.com", 56),
            ("clouds.com", 178),
            ("a.com-b.top", 68),
            ("a.b.c.d.uk", 30),
            ("www.com", 8),
        ] {
            let got: i64 = points(name, &keywords).iter().map(|(_, points)| points).sum();
            assert_eq!(got, want, "{name}");
        }
    }

    #[test]
    fn by_hand() {
        let keywords = Keywords::parse("keywords:\n  paypal: 75\n  zz: -4\n").expect("a keyword file");
        for (name, want) in [
            ("abc.com", 20),         // four bytes once each: 2 bits
            ("aabbccc.com", 19),     // 1/8, 2/8, 2/8, 3/8: 1.906 bits
            ("a.bb.com", 15),        // 1/4, 1/4, 2/4: 1.5 bits
            ("zz.com", 9 - 4),       // 1/3, 2/3: 0.918 bits
            ("paypax.com", 22 + 70), // 2/7, 2/7 and three of 1/7: 2.236 bits; one edit
        ] {
            let got: i64 = points(name, &keywords).iter().map(|(_, points)| points).sum();
            assert_eq!(got, want, "{name}");
        }
    }

    #[test]
    fn one_edit() {
        for (left, right, want) in [
            ("", "", false),
            ("", "a", true),
            ("a", "a", false),
            ("a", "b", true),
            ("ab", "b", true),
            ("ab", "a", true),
            ("ab", "ba", false),
            ("paypal", "paypall", true),
            ("paypal", "papal", true),
            ("paypal", "pazpal", true),
            ("paypal", "pazpaz", false),
            ("abc", "a", false),
        ] {
            assert_eq!(is_one_edit(left.as_bytes(), right.as_bytes()), want, "{left} {right}");
            assert_eq!(is_one_edit(right.as_bytes(), left.as_bytes()), want, "{right} {left}");
        }
    }
}
