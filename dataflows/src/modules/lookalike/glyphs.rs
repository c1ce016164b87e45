//! What a label looks like: A-labels decoded and every character read as the Latin letter that it resembles.

use idna::punycode;
use unicode_normalization::char::is_combining_mark;

/// Bytes of a name, and room for characters that read as two letters.
pub(super) const TEXT_MAX: usize = 256;
/// Punycode takes time quadratic in its input.
const LABEL_BYTES_MAX: usize = 63;
/// Stands for a character that resembles no Latin letter.
pub(super) const UNREADABLE: u8 = 0x7f;

/// Letters that UTS #39 keeps apart from the plain ones, because it compares whole identifiers in one fixed font; in
/// a browser's address line they pass. Chosen by their Unicode names: a Latin letter with a hook, tail or bar, or
/// turned, that has no decomposition, the small capitals that are the prototypes of Cyrillic letters, and two letters
/// of old alphabets.
const ALSO_READ_AS: &[(char, &str)] = &[
    ('a', "ᴀᶏⱥɐ"),
    ('b', "ƀƃɓʙᵬᶀꞗß"),
    ('c', "ƈȼɕᴄꞓ"),
    ('d', "đƌȡɖɗᴅᵭᶁᶑꝺ"),
    ('e', "ɇᴇᶒⱸəɘǝ"),
    ('f', "ƒᵮᶂꜰꝼ"),
    ('g', "ǥɠɡɢᶃꞡ"),
    ('h', "ħɦʜⱨꞕɥ"),
    ('i', "ıɨɪᶖ"),
    ('j', "ȷɉʝᴊ"),
    ('k', "ĸƙᴋᶄⱪꝁꝃꝅꞣʞ"),
    ('l', "łƚȴɫɬɭʟᶅⱡꝉ"),
    ('m', "ɱᴍᵯᶆʍɯ"),
    ('n', "ƞȵɲɳɴᵰᶇꞑꞥ"),
    ('o', "øɵᴏⱺꝋꝍ"),
    ('p', "ƥᴘᵱᵽᶈꝑꝓꝕþ"),
    ('q', "ɋʠꝗꝙ"),
    ('r', "ɍɹɺɻɼɽɾʀᵲᵳᶉꞧ"),
    ('s', "ſȿʂᵴᶊꜱꞩ"),
    ('t', "ŧƫƭȶʈᴛᵵⱦ"),
    ('u', "ᴜᶙꞹʉ"),
    ('v', "ʋᴠᶌⱱⱴꝟʌ"),
    ('w', "ᴡⱳ"),
    ('x', "ᶍ"),
    ('y', "ƴɏʏỿ"),
    ('z', "ƶȥɀʐʑᴢᵶᶎⱬ"),
];

/// A name as it looks: lower-case bytes, labels parted by dots.
pub(super) struct Text {
    bytes: [u8; TEXT_MAX],
    /// Which bytes stand for something other than themselves.
    foreign: [bool; TEXT_MAX],
    len: usize,
    has_foreign: bool,
}

impl Text {
    /// `None` if it is longer than any name.
    pub(super) fn read(name: &str) -> Option<Self> {
        let mut text = Self { bytes: [0; TEXT_MAX], foreign: [false; TEXT_MAX], len: 0, has_foreign: false };
        // Nearly all names, without a look at single labels.
        if name.is_ascii() && !name.as_bytes().windows(4).any(|bytes| bytes.eq_ignore_ascii_case(b"xn--")) {
            text.bytes.get_mut(..name.len())?.copy_from_slice(name.as_bytes());
            text.bytes[..name.len()].make_ascii_lowercase();
            text.len = name.len();
            return Some(text);
        }
        for (index, label) in name.split('.').enumerate() {
            if index > 0 {
                text.push(b'.', false)?;
            }
            match unicode(label) {
                Some(decoded) => decoded.chars().try_for_each(|c| text.push_char(c))?,
                None => label.chars().try_for_each(|c| text.push_char(c))?,
            }
        }
        Some(text)
    }

    fn push(&mut self, byte: u8, foreign: bool) -> Option<()> {
        *self.bytes.get_mut(self.len)? = byte;
        self.foreign[self.len] = foreign;
        self.has_foreign |= foreign;
        self.len += 1;
        Some(())
    }

    fn push_char(&mut self, c: char) -> Option<()> {
        match u8::try_from(c) {
            Ok(byte) if byte.is_ascii() => self.push(byte.to_ascii_lowercase(), false),
            _ => {
                let before = self.len;
                latin(c, &mut |byte| self.push(byte, true))?;
                // A mark, or nothing to see: it changes the letter before.
                if self.len == before && before > 0 {
                    self.foreign[before - 1] = true;
                    self.has_foreign = true;
                }
                Some(())
            }
        }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    pub(super) fn is_foreign(&self, at: std::ops::Range<usize>) -> bool {
        self.has_foreign && self.foreign[at].contains(&true)
    }
}

/// A label's characters, if it is an A-label that decodes.
pub(super) fn unicode(label: &str) -> Option<String> {
    let (prefix, code) = label.split_at_checked(4)?;
    if !prefix.eq_ignore_ascii_case("xn--") || label.len() > LABEL_BYTES_MAX {
        return None;
    }
    punycode::decode_to_string(&code.to_ascii_lowercase())
}

/// The Latin letters or digits that a character from elsewhere resembles.
fn latin(c: char, push: &mut impl FnMut(u8) -> Option<()>) -> Option<()> {
    let mut utf8 = [0; 4];
    let mut prototype = ['\0'; 4];
    let mut len = 0;
    let skeleton = unicode_security::skeleton(c.encode_utf8(&mut utf8));
    for c in skeleton.filter(|c| !is_combining_mark(*c)) {
        // The prototypes of characters that look like several letters are longer than any that matters here.
        let Some(place) = prototype.get_mut(len) else { return push(UNREADABLE) };
        *place = c;
        len += 1;
    }
    match &prototype[..len] {
        // UTS #39 takes `m` for `rn`.
        ['r', 'n'] => push(b'm'),
        prototype => prototype.iter().try_for_each(|c| push(letter(*c))),
    }
}

fn letter(c: char) -> u8 {
    if let Ok(byte) = u8::try_from(c)
        && byte.is_ascii_alphanumeric()
    {
        return byte.to_ascii_lowercase();
    }
    let known = ALSO_READ_AS.iter().find(|(_, glyphs)| glyphs.contains(c));
    known.map_or(UNREADABLE, |(letter, _)| u8::try_from(*letter).expect("an ASCII letter"))
}

/// A byte that reads like a letter becomes that letter: digits, and `i` like `l`.
const fn plain(byte: u8) -> u8 {
    match byte {
        b'0' => b'o',
        b'1' | b'i' | b'|' => b'l',
        b'2' => b'z',
        b'3' => b'e',
        b'4' => b'a',
        b'5' => b's',
        b'6' | b'8' => b'b',
        b'7' => b't',
        b'9' => b'g',
        byte => byte,
    }
}

/// Two letters that together read like one.
const fn pair(left: u8, right: u8) -> Option<u8> {
    match (left, right) {
        (b'r' | b'n', b'n') | (b'r', b'r') => Some(b'm'),
        (b'v', b'v') | (b'u', b'u') => Some(b'w'),
        (b'c', b'l' | b'1') => Some(b'd'),
        (b'l' | b'1', b'c') => Some(b'k'),
        _ => None,
    }
}

/// One of a group of letters that hurried eyes confuse, after the pairs.
const fn loose(byte: u8) -> u8 {
    match byte {
        b'e' => b'c',
        b'd' => b'b',
        b'm' => b'n',
        b'v' => b'u',
        b'q' => b'g',
        byte => byte,
    }
}

/// Whether a label is written on without a break: what parts tokens does not.
pub(super) const fn is_separator(byte: u8) -> bool {
    matches!(byte, b'.' | b'-' | b'_' | b'*')
}

/// A text without separators in which what reads alike is alike, and where each byte comes from.
pub(super) struct Folded {
    bytes: [u8; TEXT_MAX],
    /// The places in the text of what a byte stands for: the first and the last.
    first: [u8; TEXT_MAX],
    last: [u8; TEXT_MAX],
    len: usize,
}

impl Folded {
    const EMPTY: Self = Self { bytes: [0; TEXT_MAX], first: [0; TEXT_MAX], last: [0; TEXT_MAX], len: 0 };

    /// `text` has at most [`TEXT_MAX`] bytes. Byte by byte.
    pub(super) fn single(text: &[u8]) -> Self {
        let mut folded = Self::EMPTY;
        for (at, &byte) in text.iter().enumerate() {
            if !is_separator(byte) {
                folded.push(plain(byte), at, at);
            }
        }
        folded
    }

    /// Pairs too, from left to right. `None` if there are none.
    pub(super) fn paired(text: &[u8]) -> Option<Self> {
        if !text.windows(2).any(|bytes| pair(bytes[0], bytes[1]).is_some()) {
            return None;
        }
        let mut folded = Self::EMPTY;
        let mut at = 0;
        while let Some(&byte) = text.get(at) {
            match text.get(at + 1).and_then(|next| pair(byte, *next)) {
                Some(one) => {
                    folded.push(one, at, at + 1);
                    at += 2;
                }
                None => {
                    if !is_separator(byte) {
                        folded.push(plain(byte), at, at);
                    }
                    at += 1;
                }
            }
        }
        Some(folded)
    }

    fn push(&mut self, byte: u8, first: usize, last: usize) {
        let place = |at| u8::try_from(at).expect("less than TEXT_MAX");
        self.bytes[self.len] = byte;
        self.first[self.len] = place(first);
        self.last[self.len] = place(last);
        self.len += 1;
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// Where in the text the bytes at `found` (not empty) come from.
    pub(super) fn source(&self, found: std::ops::Range<usize>) -> std::ops::Range<usize> {
        usize::from(self.first[found.start])..usize::from(self.last[found.end - 1]) + 1
    }
}

/// The loosest reading of a label, for comparing whole labels only.
pub(super) fn loosened(label: &[u8]) -> impl Iterator<Item = u8> + Clone {
    let mut rest = label;
    std::iter::from_fn(move || {
        let (&byte, after) = rest.split_first()?;
        if let Some((&next, after)) = after.split_first()
            && let Some(one) = pair(byte, next)
        {
            rest = after;
            return Some(loose(one));
        }
        rest = after;
        Some(loose(plain(byte)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, want: &str) {
        let text = Text::read(name).expect("short");
        assert_eq!(text.bytes().escape_ascii().to_string(), want, "{name}");
    }

    #[test]
    fn ascii_is_itself_in_lower_case() {
        check("", "");
        check("WWW.PayPal-1.com", "www.paypal-1.com");
        check("xn-paypal", "xn-paypal");
        assert!(!Text::read("paypal").expect("short").is_foreign(0..6));
    }

    #[test]
    fn letters_from_elsewhere_read_like_latin_ones() {
        check("xn--paypa-n6a", "paypal");
        check("xn--80aa0cbo65f", "paypal");
        check("p\u{430}yp\u{430}l", "paypal");
        check("fa\u{e7}ebook", "facebook");
        check("f\u{131}ve", "five");
        check("\u{111}\u{142}\u{f8}", "dlo");
        check("\u{fb01}ve", "five");
        check("\u{4e2d}", "\\x7f");
        check("a\u{301}b", "ab");
    }

    #[test]
    fn foreign_is_what_does_not_stand_for_itself() {
        let text = Text::read("pa\u{301}yp\u{430}l").expect("short");
        let foreign: Vec<bool> = (0..6).map(|at| text.is_foreign(at..at + 1)).collect();
        assert_eq!((text.bytes(), foreign), (&b"paypal"[..], vec![false, true, false, false, true, false]));
    }

    #[test]
    fn broken_a_labels_are_read_as_they_stand() {
        check("xn--\u{fffd}", "xn--\\x7f");
        check("xn--99999999", "xn--99999999");
        check("xn--", "");
        let long = format!("xn--{}", "a".repeat(70));
        check(&long, &long);
    }

    #[test]
    fn no_name_is_too_long_and_what_is_no_name_may_be() {
        assert!(Text::read(&"a.".repeat(128)).is_some());
        assert!(Text::read(&"a.".repeat(129)).is_none());
        assert!(Text::read(&"\u{430}".repeat(257)).is_none());
        assert!(Text::read(&"\u{fdfa}".repeat(253)).is_some());
    }

    #[test]
    fn folding_makes_alike_what_reads_alike() {
        let single = |text: &str| Folded::single(text.as_bytes()).bytes().to_vec();
        let paired = |text: &str| Folded::paired(text.as_bytes()).map(|folded| folded.bytes().to_vec());
        assert_eq!(single("pay-pa1.l0gin"), single("paypallogin"));
        assert_eq!(paired("rnicr0soft"), Some(single("microsoft")));
        assert_eq!(paired("vvalrnart"), Some(single("walmart")));
        assert_eq!(paired("paypal"), None);
        assert_eq!(paired("r-n"), None);
    }

    #[test]
    fn folded_bytes_know_where_they_come_from() {
        let folded = Folded::paired(b"a-rn.b").expect("a pair");
        assert_eq!(folded.bytes(), b"amb");
        assert_eq!((folded.source(0..1), folded.source(1..2), folded.source(0..3)), (0..1, 2..4, 0..6));
    }
}
