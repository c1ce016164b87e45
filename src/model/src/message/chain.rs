//! Leaves the chain out of a message before it is parsed.
//!
//! Three fifths of a full message are the certificates of its issuers, which nothing here looks at. Finding where they
//! end takes a search for quotes, a tenth of what parsing them costs.

use memchr::{memchr2, memmem};

const KEY: &str = "\"chain\":[";

/// `text` with the array of its first key `chain` emptied; `None` when there is none, or its end cannot be told.
///
/// What stands behind the key is at the place of a value whatever stands before it: a quote inside a text has a
/// backslash before it, so that the key's own quotes begin and end a text, or the text was no JSON before them. The
/// rest of the message means the same without the array. What is between its brackets is no longer checked to be JSON.
pub(super) fn cut(text: &str) -> Option<String> {
    let start = memmem::find(text.as_bytes(), KEY.as_bytes())? + KEY.len();
    let length = array_length(&text.as_bytes()[start..])?;
    let mut shorter = String::with_capacity(text.len() - length);
    shorter.push_str(&text[..start]);
    shorter.push_str(&text[start + length..]);
    Some(shorter)
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
        let Some(shorter) = cut(text) else { return };
        let whole: Result<Value, _> = serde_json::from_str(text);
        let shorter: Result<Value, _> = serde_json::from_str(&shorter);
        if let Ok(mut whole) = whole {
            empty_chains(&mut whole);
            let mut shorter = shorter.expect("valid JSON stays valid");
            empty_chains(&mut shorter);
            assert_eq!(shorter, whole, "{text}");
        }
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
}
