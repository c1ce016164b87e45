//! The JSON of a message, as far as identity needs it, borrowed from the line.
//!
//! Types are read with patience: a field of an unexpected type is [`Scalar::Odd`] or absent and never fails the whole
//! message; whether that matters is decided by whoever uses the field. A key that stands twice does fail it, because
//! then nobody can say what was meant.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::time::Timestamp;

#[derive(Deserialize)]
pub(super) struct Message<'a> {
    #[serde(borrow, default)]
    pub message_type: Scalar<'a>,
    #[serde(borrow, default)]
    pub data: Data<'a>,
}

/// `data` is told apart by shape, since the type may stand behind it.
#[derive(Default)]
pub(super) enum Data<'a> {
    #[default]
    Absent,
    Names(Vec<Cow<'a, str>>),
    Update(Box<Update<'a>>),
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Update<'a> {
    #[serde(borrow)]
    pub update_type: Scalar<'a>,
    #[serde(borrow)]
    pub cert_index: Scalar<'a>,
    #[serde(borrow)]
    pub cert_link: Scalar<'a>,
    #[serde(borrow)]
    pub seen: Scalar<'a>,
    #[serde(borrow)]
    pub submission_timestamp: Scalar<'a>,
    #[serde(borrow)]
    pub source: Object<Source<'a>>,
    #[serde(borrow)]
    pub leaf_cert: Object<Leaf<'a>>,
    /// Version 2 of the Rust server: what others call `leaf_cert`.
    #[serde(borrow)]
    pub cert: Object<Leaf<'a>>,
    /// Version 2 of the Rust server.
    #[serde(borrow)]
    pub entry: Object<Entry<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Source<'a> {
    #[serde(borrow)]
    pub url: Scalar<'a>,
    #[serde(borrow)]
    pub timestamp: Scalar<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Entry<'a> {
    #[serde(borrow)]
    pub index: Scalar<'a>,
    #[serde(borrow, rename = "type")]
    pub kind: Scalar<'a>,
    #[serde(borrow)]
    pub observed_at: Scalar<'a>,
    #[serde(borrow)]
    pub submitted_at: Scalar<'a>,
    #[serde(borrow)]
    pub link: Scalar<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Leaf<'a> {
    #[serde(borrow)]
    pub as_der: Scalar<'a>,
    #[serde(borrow)]
    pub sha256: Scalar<'a>,
    #[serde(borrow)]
    pub sha1: Scalar<'a>,
    #[serde(borrow)]
    pub fingerprint: Scalar<'a>,
    #[serde(borrow)]
    pub serial_number: Scalar<'a>,
    #[serde(borrow)]
    pub issuer: Object<Issuer<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Issuer<'a> {
    #[serde(borrow)]
    pub aggregated: Scalar<'a>,
}

/// A JSON value that ought to be a text or a number.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) enum Scalar<'a> {
    #[default]
    Null,
    Text(Cow<'a, str>),
    Integer(u64),
    Float(f64),
    /// A boolean, a negative number, a list or an object.
    Odd,
}

impl Scalar<'_> {
    pub(super) fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// As a position in a log, which fits a signed 64-bit column.
    pub(super) fn index(&self) -> Option<u64> {
        const EXACT_MAX: f64 = 9_007_199_254_740_992.0; // 2^53
        match self {
            Self::Integer(index) => Some(*index),
            Self::Float(index) if index.fract() == 0.0 && (0.0..=EXACT_MAX).contains(index) => Some(*index as u64),
            Self::Text(text) => text.parse().ok(),
            _ => None,
        }
        .filter(|index| i64::try_from(*index).is_ok())
    }

    /// As seconds since 1970, fractions allowed.
    pub(super) fn seconds(&self) -> Option<Timestamp> {
        match self {
            Self::Integer(seconds) => Timestamp::from_seconds_f64(*seconds as f64),
            Self::Float(seconds) => Timestamp::from_seconds_f64(*seconds),
            Self::Text(text) => Timestamp::from_seconds_f64(text.parse().ok()?),
            _ => None,
        }
    }

    pub(super) fn rfc3339(&self) -> Option<Timestamp> {
        Timestamp::from_rfc3339(self.text()?)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Scalar<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read<'a>(PhantomData<&'a ()>);
        impl<'de: 'a, 'a> Visitor<'de> for Read<'a> {
            type Value = Scalar<'a>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON value")
            }
            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(Scalar::Null)
            }
            fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
                Ok(Scalar::Odd)
            }
            fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
                Ok(Scalar::Integer(value))
            }
            fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
                Ok(Scalar::Odd)
            }
            fn visit_f64<E>(self, value: f64) -> Result<Self::Value, E> {
                Ok(Scalar::Float(value))
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Scalar::Text(Cow::Borrowed(text)))
            }
            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Scalar::Text(Cow::Owned(text.to_owned())))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Self::Value, A::Error> {
                skip_list(list).map(|()| Scalar::Odd)
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                skip_map(map).map(|()| Scalar::Odd)
            }
        }
        deserializer.deserialize_any(Read(PhantomData))
    }
}

/// An object, or nothing where a message has something else in its place.
#[derive(Default)]
pub(super) struct Object<T>(pub Option<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Read<T> {
            type Value = Object<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON value")
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(|object| Object(Some(object)))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Self::Value, A::Error> {
                skip_list(list).map(|()| Object(None))
            }
            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(Object(None))
            }
            fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
                Ok(Object(None))
            }
            fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
                Ok(Object(None))
            }
            fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
                Ok(Object(None))
            }
            fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
                Ok(Object(None))
            }
            fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
                Ok(Object(None))
            }
        }
        deserializer.deserialize_any(Read(PhantomData))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Data<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read<'a>(PhantomData<&'a ()>);
        impl<'de: 'a, 'a> Visitor<'de> for Read<'a> {
            type Value = Data<'a>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON value")
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                Update::deserialize(MapAccessDeserializer::new(map)).map(|update| Data::Update(Box::new(update)))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                let mut names = Vec::new();
                while let Some(name) = list.next_element()? {
                    match name {
                        Scalar::Text(name) => names.push(name),
                        _ => return skip_list(list).map(|()| Data::Absent),
                    }
                }
                Ok(Data::Names(names))
            }
            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(Data::Absent)
            }
            fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
                Ok(Data::Absent)
            }
            fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
                Ok(Data::Absent)
            }
            fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
                Ok(Data::Absent)
            }
            fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
                Ok(Data::Absent)
            }
            fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
                Ok(Data::Absent)
            }
        }
        deserializer.deserialize_any(Read(PhantomData))
    }
}

fn skip_list<'de, A: SeqAccess<'de>>(mut list: A) -> Result<(), A::Error> {
    while list.next_element::<IgnoredAny>()?.is_some() {}
    Ok(())
}

fn skip_map<'de, A: MapAccess<'de>>(mut map: A) -> Result<(), A::Error> {
    while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
    Ok(())
}
