//! The popular registered domains, as hashes: a weights file can be asked about a domain and lists none.

use ct_model::id::digest;

/// Keeps these hashes apart from all others that are made with [`digest`].
const PREFIX: &[u8] = b"phish popular";
const HASHES_PER_LINE: usize = 8;
const HASH_DIGITS: usize = 16;

/// A set of registered domains, each as the first 64 bits of a SHA-256.
///
/// With n members, a domain that is none of them is taken for one with probability n / 2^64: for 2,500 of them, 1.4 in
/// 10^16. So long a hash also keeps people from finding such a domain by trial, which takes 2^64 / n hashes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Popular {
    /// Ascending, each once.
    hashes: Vec<u64>,
}

impl Popular {
    pub fn of<'a>(domains: impl IntoIterator<Item = &'a str>) -> Self {
        let mut hashes: Vec<u64> = domains.into_iter().map(hash_of).collect();
        hashes.sort_unstable();
        hashes.dedup();
        Self { hashes }
    }

    pub fn len(&self) -> usize {
        self.hashes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.hashes.is_empty()
    }

    pub(super) fn contains(&self, domain: &str) -> bool {
        self.hashes.binary_search(&hash_of(domain)).is_ok()
    }

    /// Lines of eight hashes in hexadecimal, the last one with as many as are left.
    pub(super) fn to_text(&self) -> String {
        let mut text = String::new();
        for line in self.hashes.chunks(HASHES_PER_LINE) {
            line.iter().for_each(|hash| text += &format!("{hash:0HASH_DIGITS$x}"));
            text.push('\n');
        }
        text
    }

    /// Takes the lines of `count` hashes. None unless they are as [`Popular::to_text`] writes them.
    pub(super) fn read<'a>(count: usize, lines: &mut impl Iterator<Item = &'a str>) -> Option<Self> {
        let mut hashes = Vec::new();
        while hashes.len() < count {
            let line = lines.next()?;
            let expected = HASHES_PER_LINE.min(count - hashes.len());
            if line.len() != expected * HASH_DIGITS
                || !line.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
            {
                return None;
            }
            for at in (0..line.len()).step_by(HASH_DIGITS) {
                let hash = u64::from_str_radix(&line[at..at + HASH_DIGITS], 16).ok()?;
                hashes.push(hash);
            }
        }
        hashes.is_sorted_by(|left, right| left < right).then_some(Self { hashes })
    }
}

fn hash_of(domain: &str) -> u64 {
    let digest = digest(&[PREFIX, domain.as_bytes()]);
    u64::from_be_bytes(digest[..8].try_into().expect("eight bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOMAINS: [&str; 9] = ["a.com", "b.com", "c.com", "d.com", "e.com", "f.com", "g.com", "example.com", "t.co"];

    #[track_caller]
    fn check_refused(count: usize, text: &str) {
        assert_eq!(Popular::read(count, &mut text.lines()), None, "{count} of {text:?}");
    }

    #[test]
    fn hashes_are_those_of_another_program() {
        // Python's hashlib: sha256 of length (8 bytes, big-endian) and text of the prefix, then of the domain.
        assert_eq!(hash_of("example.com"), 0x920c_611d_5fc4_6878);
        assert_eq!(hash_of("t.co"), 0x8217_8fe9_1472_c0f3);
    }

    #[test]
    fn members_are_found() {
        let popular = Popular::of(DOMAINS.into_iter().chain(DOMAINS));
        assert_eq!(popular.len(), DOMAINS.len());
        assert!(DOMAINS.iter().all(|domain| popular.contains(domain)));
        assert!(["", "com", "a.co", "www.a.com", "A.com"].iter().all(|domain| !popular.contains(domain)));
    }

    #[test]
    fn what_is_written_is_read() {
        for count in [0, 1, 8, 9] {
            let popular = Popular::of(DOMAINS.into_iter().take(count));
            let text = popular.to_text() + "the next line";
            let mut lines = text.lines();
            assert_eq!(Popular::read(count, &mut lines), Some(popular));
            assert_eq!(lines.next(), Some("the next line"), "{count}");
        }
    }

    #[test]
    fn the_form_is_strict() {
        let text = Popular::of(DOMAINS).to_text();
        let (line, last) = text.trim_end().split_once('\n').expect("two lines");
        check_refused(1, "");
        check_refused(8, &text[..100]);
        check_refused(8, last);
        check_refused(9, line);
        check_refused(10, &text);
        check_refused(usize::MAX, &text);
        check_refused(9, &format!("{line} \n{last}"));
        check_refused(9, &format!("{line}\n\n{last}"));
        check_refused(9, &text.to_uppercase());
        check_refused(1, "+20c611d5fc46878");
        check_refused(1, "g20c611d5fc46878");
        check_refused(2, &format!("{last}{last}"));
        check_refused(2, "920c611d5fc4687882178fe91472c0f3");
        check_refused(1, "ü20c611d5fc4687");
    }
}
