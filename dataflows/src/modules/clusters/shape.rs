//! What the domains of a series have in common.

/// A way in which domains of a series are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// `com-track4x.top`: a label that begins like a top-level domain, so that `brand.com-…` is a host of it.
    Suffix,
    /// `verify-account-8fj.info`: three parts or more, of which the last is masked.
    Tail,
    /// `login-4711-shop.top`: numbers are masked.
    Digits,
    /// `claim-tokens.xyz`: two parts, of which the second is masked. Many everyday domains are of this shape.
    Word,
}

/// What brands' domains end in.
const SUFFIXES: [&str; 8] = ["com", "net", "org", "gov", "edu", "info", "co", "io"];
/// A label with fewer letters says too little: `a1.com` and `a2.com` are nobody's series.
const LETTERS_MIN: usize = 4;

impl Shape {
    pub(super) const ALL: [Self; 4] = [Self::Suffix, Self::Tail, Self::Digits, Self::Word];

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Suffix => "suffix",
            Self::Tail => "tail",
            Self::Digits => "digits",
            Self::Word => "word",
        }
    }

    /// The first shape of `wanted`, in the order of [`Shape::ALL`], that a registered domain has, and its pattern.
    pub(super) fn of(domain: &str, wanted: &[Self]) -> Option<(Self, String)> {
        let (label, suffix) = domain.split_once('.')?;
        if label.starts_with("xn--") {
            return None;
        }
        let pattern = |shape: Self| shape.pattern(label).map(|pattern| (shape, format!("{pattern}.{suffix}")));
        Self::ALL.into_iter().filter(|shape| wanted.contains(shape)).find_map(pattern)
    }

    /// Of the registered label: digits are `#`, what else is masked is `*`.
    fn pattern(self, label: &str) -> Option<String> {
        let split = label.rsplit_once('-').filter(|(head, tail)| !head.is_empty() && !tail.is_empty());
        let fits = match (self, split) {
            (Self::Suffix, Some((head, _))) => SUFFIXES.contains(&head),
            (Self::Tail, Some((head, _))) => letters(head) >= LETTERS_MIN && head.trim_matches('-').contains('-'),
            (Self::Digits, _) => letters(label) >= LETTERS_MIN && label.bytes().any(|byte| byte.is_ascii_digit()),
            (Self::Word, Some((head, _))) => !head.contains('-'),
            (_, None) => false,
        };
        match (fits, self, split) {
            (false, ..) => None,
            (true, Self::Digits, _) | (true, _, None) => Some(without_digits(label)),
            (true, _, Some((head, _))) => Some(format!("{}-*", without_digits(head))),
        }
    }
}

fn letters(label: &str) -> usize {
    label.bytes().filter(u8::is_ascii_alphabetic).count()
}

/// Each run of digits becomes one `#`.
fn without_digits(label: &str) -> String {
    let mut text = String::with_capacity(label.len());
    for char in label.chars() {
        match char.is_ascii_digit() {
            true if text.ends_with('#') => {}
            true => text.push('#'),
            false => text.push(char),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(domain: &str, want: Option<(&str, &str)>) {
        let got = Shape::of(domain, &Shape::ALL);
        assert_eq!(got.as_ref().map(|(shape, pattern)| (shape.as_str(), pattern.as_str())), want, "{domain}");
    }

    #[test]
    fn domains_have_shapes() {
        check("com-track4x.top", Some(("suffix", "com-*.top")));
        check("gov-pay.co.uk", Some(("suffix", "gov-*.co.uk")));
        check("com-tracking-ab1.cc", Some(("tail", "com-tracking-*.cc")));
        check("verif-case-12-99.ga", Some(("tail", "verif-case-#-*.ga")));
        check("login-4711-shop.top", Some(("tail", "login-#-*.top")));
        check("login4711.top", Some(("digits", "login#.top")));
        check("shop7-24x.com", Some(("digits", "shop#-#x.com")));
        check("claim-tokens.xyz", Some(("word", "claim-*.xyz")));
    }

    #[test]
    fn some_have_none() {
        for domain in ["example.com", "a1.com", "360.cn", "xn--bcher-1-n2a.example", "-shop.com", "shop-.com", "com"] {
            check(domain, None);
        }
    }

    #[test]
    fn only_what_is_wanted_is_looked_for() {
        assert_eq!(Shape::of("com-xy.top", &[Shape::Digits]), None);
        assert_eq!(Shape::of("claim-tokens.xyz", &[Shape::Suffix, Shape::Tail, Shape::Digits]), None);
        assert_eq!(Shape::of("login-1-x.top", &[Shape::Digits]).map(|shape| shape.1).as_deref(), Some("login-#-x.top"));
    }
}
