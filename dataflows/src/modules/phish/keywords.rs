//! The rules in the open: words and suffixes with points, in a file that users may replace.
//!
//! The format is the subset of YAML in which keyword files of phishing_catcher are written:
//!
//! ```yaml
//! keywords:
//!     'login': 25      # points
//! tlds:
//!     '.top':
//! ```
//!
//! Words are looked for anywhere in a name, each counts once. Finding them takes time linear in the name, times the
//! length of the longest word at worst.

use std::collections::BTreeMap;

use super::features::Parts;

/// A word with so many points names a brand; one with fewer is a lure.
pub const BRAND_POINTS: i64 = 70;
const WORDS_MAX: usize = 100_000;
const WORD_BYTES_MAX: usize = 63;
const POINTS_MAX: i64 = 1_000;

/// A keyword file.
#[derive(Debug)]
pub struct Keywords {
    /// By word, each once.
    words: Vec<(Box<str>, i64)>,
    /// Texts at the end of names, as written: mostly with a dot in front.
    suffixes: Vec<Box<str>>,
    trie: Trie,
}

/// What of a name the rules know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hits {
    pub brands: usize,
    pub lures: usize,
    pub suffix: bool,
}

#[derive(Debug, PartialEq, thiserror::Error)]
pub enum KeywordsError {
    #[error("line {0}: not `word: points`, `'.suffix':`, `keywords:` or `tlds:`")]
    Line(usize),
    #[error("line {0}: unknown section {1:?}; known: keywords, tlds")]
    Section(usize, String),
    #[error("line {0}: {1:?} is no whole number from -{POINTS_MAX} to {POINTS_MAX}")]
    Points(usize, String),
    #[error("line {0}: a word has 1 to {WORD_BYTES_MAX} bytes")]
    Word(usize),
    #[error("more than {WORDS_MAX} words")]
    TooMany,
}

impl Keywords {
    pub fn parse(text: &str) -> Result<Self, KeywordsError> {
        let mut words = BTreeMap::new();
        let mut suffixes = Vec::new();
        let mut section = None;
        for (index, line) in text.strip_prefix('\u{feff}').unwrap_or(text).lines().enumerate() {
            let number = index + 1;
            let Some((key, value)) = entry(line).ok_or(KeywordsError::Line(number))? else { continue };
            let indented = line.starts_with([' ', '\t']);
            if !indented {
                section = match (key, value) {
                    ("keywords" | "tlds", "") => Some(key),
                    ("keywords" | "tlds", _) => return Err(KeywordsError::Line(number)),
                    _ => return Err(KeywordsError::Section(number, key.to_owned())),
                };
                continue;
            }
            if key.is_empty() || key.len() > WORD_BYTES_MAX {
                return Err(KeywordsError::Word(number));
            }
            let key = key.to_lowercase();
            match section {
                Some("keywords") => {
                    let points = value.parse().ok().filter(|points| (-POINTS_MAX..=POINTS_MAX).contains(points));
                    let points = points.ok_or_else(|| KeywordsError::Points(number, value.to_owned()))?;
                    words.insert(key, points);
                }
                Some(_) if value.is_empty() => suffixes.push(key.into()),
                _ => return Err(KeywordsError::Line(number)),
            }
            if words.len() + suffixes.len() > WORDS_MAX {
                return Err(KeywordsError::TooMany);
            }
        }
        let words: Vec<(Box<str>, i64)> = words.into_iter().map(|(word, points)| (word.into(), points)).collect();
        let trie = Trie::new(words.iter().map(|(word, _)| word.as_bytes()));
        Ok(Self { words, suffixes, trie })
    }

    pub fn words(&self) -> &[(Box<str>, i64)] {
        &self.words
    }

    pub fn suffixes(&self) -> &[Box<str>] {
        &self.suffixes
    }

    /// The words in `name` with their points, each once, in the order of where they begin.
    pub fn find(&self, name: &str, mut see: impl FnMut(&str, i64)) {
        let mut seen: Vec<u32> = Vec::new();
        self.trie.find(name.as_bytes(), |word| {
            if !seen.contains(&word) {
                seen.push(word);
                let (word, points) = &self.words[word as usize];
                see(word, *points);
            }
        });
    }

    pub fn hits(&self, parts: &Parts<'_>) -> Hits {
        let mut hits =
            Hits { suffix: self.suffixes.iter().any(|suffix| parts.name.ends_with(&**suffix)), ..Hits::default() };
        self.find(&parts.name[..parts.suffix_at], |_, points| match points {
            BRAND_POINTS.. => hits.brands += 1,
            1..BRAND_POINTS => hits.lures += 1,
            _ => {}
        });
        hits
    }
}

/// Key and value of a line, `Some(None)` for a line that says nothing.
fn entry(line: &str) -> Option<Option<(&str, &str)>> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') || line == "---" {
        return Some(None);
    }
    let (key, rest) = match line.as_bytes()[0] {
        quote @ (b'\'' | b'"') => {
            let (key, rest) = line[1..].split_once(char::from(quote))?;
            (key, rest.trim_start().strip_prefix(':')?)
        }
        _ => line.split_once(':')?,
    };
    let value = match rest.find('#') {
        Some(0) => "",
        Some(at) if rest[..at].ends_with([' ', '\t']) => &rest[..at],
        _ => rest,
    };
    Some(Some((key.trim(), value.trim())))
}

/// A prefix tree in arrays: the children of a node stand side by side, sorted by their byte.
#[derive(Debug)]
struct Trie {
    nodes: Vec<Node>,
}

#[derive(Clone, Copy, Debug)]
struct Node {
    byte: u8,
    /// The word that ends here.
    word: Option<u32>,
    children_at: u32,
    children: u16,
}

impl Trie {
    /// Of sorted words, none of them empty.
    fn new<'a>(words: impl Iterator<Item = &'a [u8]>) -> Self {
        let words: Vec<&[u8]> = words.collect();
        let mut trie = Self { nodes: vec![Node { byte: 0, word: None, children_at: 0, children: 0 }] };
        // Breadth first: (node, words below it, depth).
        let mut open = std::collections::VecDeque::from([(0, 0..words.len(), 0)]);
        while let Some((node, mut range, depth)) = open.pop_front() {
            if range.start < range.end && words[range.start].len() == depth {
                trie.nodes[node].word = Some(u32::try_from(range.start).expect("at most WORDS_MAX"));
                range.start += 1;
            }
            trie.nodes[node].children_at = u32::try_from(trie.nodes.len()).expect("WORDS_MAX times WORD_BYTES_MAX");
            while range.start < range.end {
                let byte = words[range.start][depth];
                let next = range.start + words[range.clone()].partition_point(|word| word[depth] <= byte);
                open.push_back((trie.nodes.len(), range.start..next, depth + 1));
                trie.nodes.push(Node { byte, word: None, children_at: 0, children: 0 });
                trie.nodes[node].children += 1;
                range.start = next;
            }
        }
        trie
    }

    fn find(&self, text: &[u8], mut see: impl FnMut(u32)) {
        for start in 0..text.len() {
            let mut node = self.nodes[0];
            for byte in &text[start..] {
                let children = &self.nodes[node.children_at as usize..][..usize::from(node.children)];
                let Some(child) = children.iter().find(|child| child.byte == *byte) else { break };
                node = *child;
                if let Some(word) = node.word {
                    see(word);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, words: &[(&str, i64)], suffixes: &[&str]) {
        let keywords = Keywords::parse(text).expect("a keyword file");
        let got: Vec<(&str, i64)> = keywords.words.iter().map(|(word, points)| (&**word, *points)).collect();
        assert_eq!(got, words);
        assert_eq!(keywords.suffixes.iter().map(AsRef::as_ref).collect::<Vec<&str>>(), suffixes);
    }

    #[track_caller]
    fn check_error(text: &str, want: &KeywordsError) {
        assert_eq!(Keywords::parse(text).as_ref().err(), Some(want));
    }

    #[test]
    fn ways_to_write_it() {
        check("", &[], &[]);
        check("keywords:\ntlds:\n", &[], &[]);
        check(
            "\u{feff}---\n# words\nkeywords:\r\n    # group\n    'Login': 25\n    \"a: b\": 5 # why\n    pay-: -3\n\n",
            &[("a: b", 5), ("login", 25), ("pay-", -3)],
            &[],
        );
        check("tlds:\n  '.top':\n\t.xyz:  # cheap\n", &[], &[".top", ".xyz"]);
        check("tlds:\n  '.top':\nkeywords:\n  'x#y': 1\n  x: 2\n  x: 3\n", &[("x", 3), ("x#y", 1)], &[".top"]);
    }

    #[test]
    fn mistakes_name_their_line() {
        check_error("keywords\n", &KeywordsError::Line(1));
        check_error("keywords: 5\n", &KeywordsError::Line(1));
        check_error("  login: 5\n", &KeywordsError::Line(1));
        check_error("keywords:\n  'login: 5\n", &KeywordsError::Line(2));
        check_error("keywords:\n  login:\n", &KeywordsError::Points(2, String::new()));
        check_error("keywords:\n  login: 1001\n", &KeywordsError::Points(2, "1001".to_owned()));
        check_error("words:\n", &KeywordsError::Section(1, "words".to_owned()));
        check_error("tlds:\n  .top: 5\n", &KeywordsError::Line(2));
        check_error("keywords:\n  '': 5\n", &KeywordsError::Word(2));
        check_error(&format!("keywords:\n  {}: 5\n", "a".repeat(64)), &KeywordsError::Word(2));
        let many: String = (0..=WORDS_MAX).map(|number| format!("  a{number}: 1\n")).collect();
        check_error(&format!("keywords:\n{many}"), &KeywordsError::TooMany);
    }

    /// The tree finds what looking for each word finds.
    #[test]
    fn words_are_found_as_by_searching() {
        let words = ["a", "ab", "aba", "bab", "login", "log", "in", "-in", "b"];
        let file: String = words.iter().map(|word| format!("  '{word}': 1\n")).collect();
        let keywords = Keywords::parse(&format!("keywords:\n{file}")).expect("a keyword file");
        for name in ["", "ababab", "log-in", "login", "xloginy", "logi", "bbb", "-i", "a-in"] {
            let mut found = Vec::new();
            keywords.find(name, |word, _| found.push(word.to_owned()));
            found.sort();
            let mut want: Vec<&str> = words.into_iter().filter(|word| name.contains(word)).collect();
            want.sort_unstable();
            assert_eq!(found, want, "{name}");
        }
    }

    #[test]
    fn the_public_suffix_has_no_words() {
        let keywords = Keywords::parse("keywords:\n  shop: 10\n  bank: 80\ntlds:\n  .shop:\n").expect("a keyword file");
        for (name, brands, lures, suffix) in
            [("example.shop", 0, 0, true), ("shop.example", 0, 1, false), ("shopbank.shop", 1, 1, true)]
        {
            assert_eq!(keywords.hits(&Parts::of(name)), Hits { brands, lures, suffix }, "{name}");
        }
    }
}
