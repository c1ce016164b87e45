//! What was changed to make a label of a word.

use super::class::Class;
use super::index::WORD_BYTES_MAX;

/// The class of the one change between them, if it is one: a letter left out, put in, or replaced, or two neighbours
/// swapped.
pub(super) fn one_change(word: &[u8], label: &[u8]) -> Option<Class> {
    let same_start = word.iter().zip(label).take_while(|(left, right)| left == right).count();
    let (word_rest, label_rest) = (&word[same_start..], &label[same_start..]);
    match (word_rest, label_rest) {
        ([_, word_rest @ ..], _) if word_rest == label_rest => Some(Class::Omission),
        (_, [added, label_rest @ ..]) if word_rest == label_rest => {
            let doubled = same_start > 0 && label[same_start - 1] == *added;
            Some(match word_rest.is_empty() && *added == b's' && !doubled {
                _ if doubled => Class::Repetition,
                true => Class::Plural,
                false => Class::Addition,
            })
        }
        ([old, word_rest @ ..], [new, label_rest @ ..]) if word_rest == label_rest => Some(replacement(*old, *new)),
        ([first, second, word_rest @ ..], [new_first, new_second, label_rest @ ..])
            if word_rest == label_rest && (first, second) == (new_second, new_first) =>
        {
            Some(Class::Transposition)
        }
        _ => None,
    }
}

fn replacement(old: u8, new: u8) -> Class {
    match () {
        () if is_vowel(old) && is_vowel(new) => Class::VowelSwap,
        () if are_neighbours(old, new) => Class::Keyboard,
        () if (old ^ new).is_power_of_two() => Class::BitFlip,
        () => Class::Replacement,
    }
}

pub(super) const fn is_vowel(byte: u8) -> bool {
    matches!(byte, b'a' | b'e' | b'i' | b'o' | b'u' | b'y')
}

/// Keys side by side on a QWERTY, QWERTZ or AZERTY keyboard: in a row, or touching in the next one.
fn are_neighbours(left: u8, right: u8) -> bool {
    const KEYBOARDS: [[&[u8]; 4]; 3] = [
        [b"1234567890", b"qwertyuiop", b"asdfghjkl", b"zxcvbnm"],
        [b"1234567890", b"qwertzuiop", b"asdfghjkl", b"yxcvbnm"],
        [b"1234567890", b"azertyuiop", b"qsdfghjklm", b"wxcvbn"],
    ];
    let touch = |rows: &[&[u8]; 4]| {
        let place = |key| {
            let column = |row: &&[u8]| row.iter().position(|known| *known == key);
            rows.iter().enumerate().find_map(|(row, keys)| Some((row, column(keys)?)))
        };
        let (Some(left), Some(right)) = (place(left), place(right)) else { return false };
        let ((upper, upper_column), (lower, lower_column)) = (left.min(right), left.max(right));
        match lower - upper {
            0 => upper_column.abs_diff(lower_column) == 1,
            // Each row begins about half a key to the right of the one above.
            1 => upper_column == lower_column || upper_column == lower_column + 1,
            _ => false,
        }
    };
    KEYBOARDS.iter().any(touch)
}

/// Whether one letter was taken out and put in at another place.
pub(super) fn is_moved(word: &[u8], label: &[u8]) -> bool {
    let differs = |at: &usize| word[*at] != label[*at];
    if word.len() != label.len() {
        return false;
    }
    let (Some(first), Some(last)) = ((0..word.len()).find(differs), (0..word.len()).rfind(differs)) else {
        return false;
    };
    word[first] == label[last] && word[first + 1..=last] == label[first..last]
        || word[last] == label[first] && word[first..last] == label[first + 1..=last]
}

/// Whether one letter or two neighbours were replaced by another letter, twice.
pub(super) fn is_double_replacement(word: &[u8], label: &[u8]) -> bool {
    let is_new_pair =
        |at: usize| label[at] == label[at + 1] && label.len() <= word.len() + 1 && word.len() <= label.len();
    word != label
        && (1..label.len()).map(|at| at - 1).any(|at| {
            let (start, end) = (&label[..at], &label[at + 2..]);
            is_new_pair(at) && word.starts_with(start) && word[start.len()..].ends_with(end)
        })
}

/// How many vowels were swapped, if all of them were the same one and all became the same other one.
pub(super) fn vowels_swapped(word: &[u8], label: &[u8]) -> Option<usize> {
    let mut changes = word.iter().zip(label).filter(|(old, new)| old != new);
    let (old, new) = changes.next().filter(|_| word.len() == label.len())?;
    let others = changes.clone().count();
    (is_vowel(*old) && is_vowel(*new) && changes.all(|change| change == (old, new))).then_some(others + 1)
}

/// The least number of letters left out, put in or replaced and of neighbours swapped, none of them changed again
/// (optimal string alignment); at most 255. The word has at most [`WORD_BYTES_MAX`] letters.
pub(super) fn distance(word: &[u8], label: &[u8]) -> usize {
    let mut row = [0u8; WORD_BYTES_MAX + 1];
    for (at, cell) in row.iter_mut().enumerate() {
        *cell = u8::try_from(at).expect("words are short");
    }
    let mut before = row;
    let mut next = row;
    for (i, &l) in label.iter().enumerate() {
        next[0] = row[0].saturating_add(1);
        for (j, &w) in word.iter().enumerate() {
            let replaced = row[j].saturating_add(u8::from(l != w));
            let mut best = replaced.min(row[j + 1].saturating_add(1)).min(next[j].saturating_add(1));
            if i > 0 && j > 0 && l == word[j - 1] && label[i - 1] == w {
                best = best.min(before[j - 1].saturating_add(1));
            }
            next[j + 1] = best;
        }
        (before, row, next) = (row, next, before);
    }
    row[word.len()].into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(word: &str, label: &str, want: Option<Class>) {
        assert_eq!(one_change(word.as_bytes(), label.as_bytes()), want, "{word} {label}");
        if want.is_some() {
            assert_eq!(distance(word.as_bytes(), label.as_bytes()), 1, "{word} {label}");
        }
    }

    #[test]
    fn one_change_has_a_class() {
        check("paypal", "aypal", Some(Class::Omission));
        check("paypal", "paypa", Some(Class::Omission));
        check("paypal", "payppal", Some(Class::Repetition));
        check("paypal", "paypall", Some(Class::Repetition));
        check("paypal", "paypalx", Some(Class::Addition));
        check("paypal", "4paypal", Some(Class::Addition));
        check("paypal", "paxypal", Some(Class::Addition));
        check("paypal", "paypals", Some(Class::Plural));
        check("wordpress", "wordpresss", Some(Class::Repetition));
        check("paypal", "poypal", Some(Class::VowelSwap));
        check("paypal", "psypal", Some(Class::Keyboard));
        check("paypal", "paqpal", Some(Class::BitFlip));
        check("paypal", "pakpal", Some(Class::Replacement));
        check("paypal", "papyal", Some(Class::Transposition));
    }

    #[test]
    fn none_or_two_changes_have_no_class() {
        for label in ["paypal", "papayl", "aypa", "paypalxx", "xaypax", ""] {
            check("paypal", label, None);
        }
    }

    /// The same by trying everything.
    #[test]
    fn one_change_is_distance_one() {
        let words: Vec<Vec<u8>> = (0..4usize.pow(5))
            .map(|number| {
                let letters = (0..5).map(|place| b"-abc"[number / 4usize.pow(place) % 4]);
                letters.filter(|letter| *letter != b'-').collect()
            })
            .collect();
        for word in words.iter().step_by(7) {
            for label in &words {
                let is_one = one_change(word, label).is_some();
                assert_eq!(is_one, distance(word, label) == 1, "{word:?} {label:?}");
            }
        }
    }

    #[test]
    fn neighbours_touch() {
        for (left, right, want) in
            [(b'q', b'w', true), (b'a', b'q', true), (b'z', b't', true), (b's', b'z', true), (b'p', b'q', false)]
        {
            assert_eq!(are_neighbours(left, right), want);
            assert_eq!(are_neighbours(right, left), want);
        }
    }

    #[test]
    fn a_letter_may_move_either_way() {
        for (label, want) in [
            ("aypalp", true),
            ("lpaypa", true),
            ("pypaal", true),
            ("paypal", false),
            ("lapyap", false),
            ("payp", false),
        ] {
            assert_eq!(is_moved(b"paypal", label.as_bytes()), want, "{label}");
        }
    }

    #[test]
    fn two_neighbours_may_become_one_letter_twice() {
        let cases = [
            ("66ypal", true),
            ("payp77", true),
            ("pazzal", true),
            ("paaaal", true),
            ("paypal", false),
            ("payabl", false),
            ("pyypyl", false),
            ("77ypa", false),
            ("paypa44", true),
            ("44aypal", true),
            ("pa44al", true),
            ("paypal44", false),
        ];
        for (label, want) in cases {
            assert_eq!(is_double_replacement(b"paypal", label.as_bytes()), want, "{label}");
        }
        assert!(!is_double_replacement(b"x", b"y"));
        assert!(!is_double_replacement(b"", b""));
    }

    #[test]
    fn one_vowel_becomes_another_everywhere() {
        assert_eq!(vowels_swapped(b"paypal", b"piypil"), Some(2));
        assert_eq!(vowels_swapped(b"paypal", b"piypal"), Some(1));
        assert_eq!(vowels_swapped(b"paypal", b"piypol"), None);
        assert_eq!(vowels_swapped(b"paypal", b"pbypbl"), None);
        assert_eq!(vowels_swapped(b"paypal", b"paypal"), None);
        assert_eq!(vowels_swapped(b"paypal", b"piypi"), None);
    }
}
