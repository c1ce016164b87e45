//! Lines that are not messages a reader can use, each made from a message that would have been one.
//!
//! Whatever a reader's tastes, each kind leaves it one answer: reject the line, count it as a message of a type it does
//! not know, or skip it as blank. The entry a line was made from is never sent; its index stays a hole.

use serde_json::{Value, json};

use super::options::Stream;
use super::rng::Rng;

/// What a reader has to make of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    Rejected,
    /// A message of an unknown type.
    Other,
    /// No message at all.
    Blank,
}

impl Expect {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rejected => "rejected",
            Self::Other => "other",
            Self::Blank => "blank",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// Cut off in the middle.
    Truncated,
    /// Bytes that are no UTF-8 within a string.
    InvalidUtf8,
    /// `{}`
    Empty,
    /// Text of another kind.
    NotJson,
    /// `leaf_cert` is null.
    LeafNull,
    /// `leaf_cert` is absent.
    LeafMissing,
    /// `data` is of another type.
    WrongTypes,
    /// `as_der` is no base64.
    BadBase64,
    /// The DER ends early.
    DerTruncated,
    /// The DER is random bytes.
    DerGarbage,
    /// The message is wrapped into an array.
    ArrayTop,
    /// `message_type` is absent.
    NoMessageType,
    /// `data` is nested deeper than any reader's stack.
    Nested,
    /// `cert_index` is below zero.
    NegativeIndex,
    /// `cert_index` is no whole number.
    FloatIndex,
    /// `message_type` is one that no server sends.
    UnknownType,
    /// An empty line, or one of spaces.
    Blank,
}

const NESTED_DEPTH: usize = 10_000;

impl Malformed {
    pub const ALL: [Self; 17] = [
        Self::Truncated,
        Self::InvalidUtf8,
        Self::Empty,
        Self::NotJson,
        Self::LeafNull,
        Self::LeafMissing,
        Self::WrongTypes,
        Self::BadBase64,
        Self::DerTruncated,
        Self::DerGarbage,
        Self::ArrayTop,
        Self::NoMessageType,
        Self::Nested,
        Self::NegativeIndex,
        Self::FloatIndex,
        Self::UnknownType,
        Self::Blank,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Truncated => "truncated",
            Self::InvalidUtf8 => "invalid_utf8",
            Self::Empty => "empty",
            Self::NotJson => "not_json",
            Self::LeafNull => "leaf_null",
            Self::LeafMissing => "leaf_missing",
            Self::WrongTypes => "wrong_types",
            Self::BadBase64 => "bad_base64",
            Self::DerTruncated => "der_truncated",
            Self::DerGarbage => "der_garbage",
            Self::ArrayTop => "array_top",
            Self::NoMessageType => "no_message_type",
            Self::Nested => "nested",
            Self::NegativeIndex => "negative_index",
            Self::FloatIndex => "float_index",
            Self::UnknownType => "unknown_type",
            Self::Blank => "blank",
        }
    }

    pub const fn expect(self) -> Expect {
        match self {
            Self::UnknownType => Expect::Other,
            Self::Blank => Expect::Blank,
            _ => Expect::Rejected,
        }
    }

    /// Whether messages of `stream` have what this kind damages.
    pub const fn applies_to(self, stream: Stream) -> bool {
        match self {
            Self::BadBase64 | Self::DerTruncated | Self::DerGarbage => matches!(stream, Stream::Full),
            Self::LeafNull | Self::LeafMissing | Self::NegativeIndex | Self::FloatIndex => {
                !matches!(stream, Stream::Domains)
            }
            _ => true,
        }
    }

    /// Turns the message in `line` into a line of this kind.
    pub fn apply(self, rng: &mut Rng, line: &mut Vec<u8>) {
        match self {
            Self::Truncated => line.truncate(rng.between(2, line.len() as u64 - 2) as usize),
            // Within the first key: read with replacement characters, the message lacks it.
            Self::InvalidUtf8 => {
                let quote = line.iter().position(|byte| *byte == b'"').expect("a message has strings");
                line.splice(quote + 1..quote + 1, [0xc3, 0x28, 0xff]);
            }
            Self::Empty => *line = b"{}".to_vec(),
            Self::NotJson => *line = b"<html><body>502 Bad Gateway</body></html>".to_vec(),
            Self::LeafNull => edit(line, |message| message["data"]["leaf_cert"] = Value::Null),
            Self::LeafMissing => edit(line, |message| remove(&mut message["data"], "leaf_cert")),
            Self::WrongTypes => {
                edit(line, |message| message["data"] = json!({"leaf_cert": [1, true], "cert_index": {}}));
            }
            Self::BadBase64 => edit_der(line, |_| format!("!{}*", "A-_=".repeat(20))),
            Self::DerTruncated => edit_der(line, |der| {
                // Whole groups of four: valid base64 of the first half.
                der[..der.len() / 8 * 4].to_owned()
            }),
            Self::DerGarbage => edit_der(line, |_| base64_simd::STANDARD.encode_to_string(rng.bytes::<900>())),
            Self::ArrayTop => {
                line.insert(0, b'[');
                line.push(b']');
            }
            Self::NoMessageType => edit(line, |message| remove(message, "message_type")),
            Self::Nested => {
                *line = br#"{"message_type":"certificate_update","data":"#.to_vec();
                line.resize(line.len() + NESTED_DEPTH, b'[');
                line.resize(line.len() + NESTED_DEPTH, b']');
                line.push(b'}');
            }
            Self::NegativeIndex => edit(line, |message| message["data"]["cert_index"] = json!(-17)),
            Self::FloatIndex => edit(line, |message| message["data"]["cert_index"] = json!(1234.5)),
            Self::UnknownType => edit(line, |message| message["message_type"] = json!("server_notice")),
            Self::Blank => *line = vec![b' '; rng.below(4) as usize],
        }
    }
}

fn edit(line: &mut Vec<u8>, change: impl FnOnce(&mut Value)) {
    let mut message = serde_json::from_slice(line).expect("a generated message is JSON");
    change(&mut message);
    *line = message.to_string().into_bytes();
}

fn edit_der(line: &mut Vec<u8>, change: impl FnOnce(&str) -> String) {
    edit(line, |message| {
        let der = &mut message["data"]["leaf_cert"]["as_der"];
        *der = Value::String(change(der.as_str().expect("a full message about a proved entry has DER")));
    });
}

fn remove(value: &mut Value, key: &str) {
    value.as_object_mut().expect("messages and their data are objects").remove(key);
}
