//! Leaves the chain out of a message before it is parsed.
//!
//! Three fifths of a full message are the certificates of its issuers, which nothing here looks at. Finding where they
//! end takes a search for quotes, a tenth of what parsing them costs; and less where the same chain was met before,
//! as it mostly was: an issuer's certificates all come with the same one.

use std::collections::HashMap;

use memchr::memchr2;
use memchr::memmem::Finder;

const KEY: &str = "\"chain\":[";
/// Of a chain, to know it by: as far as the serial number of its first certificate, in the usual shapes.
const HEAD_BYTES: usize = 96;
const CHAIN_BYTES_MAX: usize = 16 << 10;
const CHAINS_MAX: usize = 512;

/// Finds chains. Keeps those it has met, a bounded number of them.
pub(super) struct Chains {
    key: Finder<'static>,
    /// UTF-8, from behind the opening bracket up to and with the closing one.
    met: HashMap<[u8; HEAD_BYTES], Box<[u8]>>,
}

impl Default for Chains {
    fn default() -> Self {
        Self { key: Finder::new(KEY), met: HashMap::new() }
    }
}

impl Chains {
    /// `text` with the array of its first key `chain` emptied; `None` when there is none, or its end cannot be told.
    ///
    /// What stands behind the key is at the place of a value whatever stands before it: a quote inside a text has a
    /// backslash before it, so that the key's own quotes begin and end a text, or the text was no JSON before them.
    /// The rest of the message means the same without the array. What is between its brackets is no longer checked to
    /// be JSON.
    pub(super) fn cut(&mut self, text: &str) -> Option<String> {
        let start = self.start(text.as_bytes())?;
        let length = self.learn(&text.as_bytes()[start..])?;
        Some([&text[..start], &text[start + length..]].concat())
    }

    /// The same of a text that may not be UTF-8, if the chain is one that [`Chains::cut`] has met and the text is UTF-8.
    ///
    /// What is cut out lies between brackets and is UTF-8, so the text is UTF-8 exactly when the rest is.
    pub(super) fn cut_met(&self, text: &[u8]) -> Option<String> {
        let start = self.start(text)?;
        // What begins like a chain ends like it: `array_length` looks at no byte behind the closing bracket.
        let chain = self.met.get(text[start..].first_chunk()?)?;
        let rest = text[start..].strip_prefix(&**chain)?;
        String::from_utf8([&text[..start], b"]", rest].concat()).ok()
    }

    /// Where the value of the first key `chain` has its first item.
    fn start(&self, text: &[u8]) -> Option<usize> {
        Some(self.key.find(text)? + KEY.len())
    }

    /// As [`array_length`].
    fn learn(&mut self, rest: &[u8]) -> Option<usize> {
        let length = array_length(rest)?;
        let Some(head) = rest.first_chunk() else { return Some(length) };
        if (HEAD_BYTES..CHAIN_BYTES_MAX).contains(&length) {
            if self.met.len() >= CHAINS_MAX {
                self.met.clear();
            }
            self.met.insert(*head, rest[..=length].into());
        }
        Some(length)
    }
}

/// Bytes up to the bracket that closes an array whose opening one comes before `rest`.
fn array_length(rest: &[u8]) -> Option<usize> {
    let (mut depth, mut at) = (0_usize, 0);
    loop {
        match rest.get(at)? {
            b'"' => at += text_length(&rest[at + 1..])?,
            b'[' | b'{' => depth += 1,
            b']' if depth == 0 => return Some(at),
            b']' | b'}' => depth = depth.checked_sub(1)?,
            _ => {}
        }
        at += 1;
    }
}

/// Bytes up to and with the quote that ends a text whose first one comes before `rest`.
fn text_length(rest: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        at += memchr2(b'"', b'\\', rest.get(at..)?)?;
        if rest[at] == b'"' {
            return Some(at + 1);
        }
        at += 2;
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// Whatever is cut, the rest reads as the whole text does, but for the chain.
    #[track_caller]
    fn check(text: &str) {
        check_with(&mut Chains::default(), text);
    }

    #[track_caller]
    fn check_with(chains: &mut Chains, text: &str) {
        let met = chains.cut_met(text.as_bytes());
        let Some(shorter) = chains.cut(text) else { return };
        assert_eq!(Some(&shorter), cut(text).as_ref(), "{text}");
        assert!(met.is_none_or(|met| met == shorter), "{text}");
        let whole: Result<Value, _> = serde_json::from_str(text);
        let shorter: Result<Value, _> = serde_json::from_str(&shorter);
        if let Ok(mut whole) = whole {
            empty_chains(&mut whole);
            let mut shorter = shorter.expect("valid JSON stays valid");
            empty_chains(&mut shorter);
            assert_eq!(shorter, whole, "{text}");
        }
    }

    fn cut(text: &str) -> Option<String> {
        Chains::default().cut(text)
    }

    fn empty_chains(value: &mut Value) {
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    match value {
                        Value::Array(items) if name.ends_with("chain") => items.clear(),
                        value => empty_chains(value),
                    }
                }
            }
            Value::Array(items) => items.iter_mut().for_each(empty_chains),
            _ => {}
        }
    }

    #[test]
    fn the_chain_goes_and_the_rest_stays() {
        let text = r#"{"data":{"chain":[{"a":"]}\"\\"},[1,[]],"x"],"leaf_cert":{"as_der":"AA"}}}"#;
        assert_eq!(cut(text).as_deref(), Some(r#"{"data":{"chain":[],"leaf_cert":{"as_der":"AA"}}}"#));
    }

    #[test]
    fn nothing_to_cut() {
        for text in
            ["{}", r#"{"chain":null}"#, r#"{"chain":["#, r#"{"chain":["a"#, r#"{"chain":["\"#, r#"{"chain":[}]}"#]
        {
            assert_eq!(cut(text), None, "{text}");
        }
    }

    #[test]
    fn look_alikes() {
        for inner in ["\"chain\":[", "x\"chain\":[1]", "\\\"chain\":[", "\\", "\"", "chain\":["] {
            check(
                &json!({ "a": inner, "chain": [inner], "b": { inner: [inner, { "chain": [1, inner] }] } }).to_string(),
            );
            check(&json!({ inner: [1, 2], "chain": [[inner]], "z": inner }).to_string());
        }
    }

    #[test]
    fn every_edit_of_a_message() {
        let text = r#"{"x":"\"","chain":["a\\",{"b":[1,"]"]}],"y":{"chain":[2]},"z":"\"chain\":["}"#;
        for at in 0..text.len() {
            check(&text[..at]);
            check(&format!("{}{}", &text[..at], &text[at + 1..]));
            for insert in ["\"", "\\", "[", "]", "{", "}", ",", ":", "\"chain\":[", "\"chain\":[]"] {
                let edited = format!("{}{insert}{}", &text[..at], &text[at..]);
                check(&edited);
                // What is cut from invalid text and valid then was invalid inside the array only.
                if serde_json::from_str::<Value>(&edited).is_err()
                    && let Some(shorter) = cut(&edited)
                    && serde_json::from_str::<Value>(&shorter).is_ok()
                {
                    let start = edited.find(KEY).expect("it was cut") + KEY.len();
                    let array = &edited[start - 1..start + edited.len() - shorter.len() + 1];
                    assert!(serde_json::from_str::<Value>(array).is_err(), "{edited}");
                }
            }
        }
    }

    #[test]
    fn chains_met_before() {
        let mut chains = Chains::default();
        let long = "A".repeat(HEAD_BYTES);
        let inside = [
            format!(r#""{long}""#),
            format!(r#""{long}","B""#),
            format!(r#""{long}B""#),
            format!(r#""{long}\"]""#),
            format!(r#""{long}""#),
            format!(r#"["{long}"]"#),
            format!(r#"["{long}"],"{long}""#),
            r#""A""#.to_owned(),
        ];
        for inside in inside.iter().chain(&inside) {
            for rest in ["", r#","z":"]""#, r#","chain":[]"#] {
                check_with(&mut chains, &format!(r#"{{"chain":[{inside}]{rest}}}"#));
            }
            assert_eq!(chains.cut(&format!(r#"{{"chain":[{inside}"#)), None);
        }
        assert_eq!(chains.met.len(), 2, "the newest of each head");
    }

    #[test]
    fn endless_chains_are_forgotten() {
        let mut chains = Chains::default();
        let long = "A".repeat(HEAD_BYTES);
        for number in 0..=CHAINS_MAX {
            let text = format!(r#"{{"chain":["{number:08}{long}"]}}"#);
            assert_eq!(chains.cut(&text).as_deref(), Some(r#"{"chain":[]}"#));
        }
        assert_eq!(chains.met.len(), 1);
        chains.cut(&format!(r#"{{"chain":["{}"]}}"#, "A".repeat(CHAIN_BYTES_MAX)));
        assert_eq!(chains.met.len(), 1, "too long to keep");
    }
}
