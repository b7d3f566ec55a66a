//! JSON from outside, read strictly.
//!
//! What JSON means whose object has a member twice is up to whoever reads it: one takes
//! the first, another the last. So a file can look right to a person and say something
//! else to a program. Here it is refused, at any depth. A byte order mark before the
//! text, which some editors write, is skipped.
//!
//! # Security
//!
//! The nesting is limited by `serde_json` (128 levels), the length by whoever reads the
//! bytes. The check itself takes memory for the names of the members of the objects that
//! are open. What is read takes more: a value of two bytes may become a hundred times as
//! many, so whoever reads into [`serde_json::Value`] limits the number of values
//! ([`from_slice_within`]).

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use crate::Shown;

/// What some editors write before a text in UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The bytes of a text without the byte order mark before it.
pub fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes)
}

/// Reads JSON from outside.
///
/// # Errors
///
/// When it is no JSON or does not fit, or an object has a member twice.
pub fn from_slice<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> serde_json::Result<T> {
    from_slice_within(bytes, usize::MAX)
}

/// The same, if there are at most `max_values` values in it: objects, lists, texts,
/// numbers, `true`, `false` and `null`, however deep.
///
/// # Errors
///
/// As [`from_slice`], and when there are more.
pub fn from_slice_within<'a, T: Deserialize<'a>>(
    bytes: &'a [u8],
    max_values: usize,
) -> serde_json::Result<T> {
    let bytes = without_mark(bytes);
    let mut json = serde_json::Deserializer::from_slice(bytes);
    Unique {
        left: &Cell::new(max_values),
        max_values,
    }
    .deserialize(&mut json)?;
    json.end()?;
    serde_json::from_slice(bytes)
}

/// The same of a text.
///
/// # Errors
///
/// As [`from_slice`].
pub fn from_str<'a, T: Deserialize<'a>>(text: &'a str) -> serde_json::Result<T> {
    from_slice(text.as_bytes())
}

/// Reads a map and refuses a name that it has twice: for a member of a type whose other
/// members are known by name, which `serde` itself refuses to read twice.
///
/// # Errors
///
/// When it does not fit, or has a name twice.
pub fn unique_map<'de, D, V>(deserializer: D) -> Result<BTreeMap<String, V>, D::Error>
where
    D: Deserializer<'de>,
    V: Deserialize<'de>,
{
    struct Map<V>(PhantomData<V>);

    impl<'de, V: Deserialize<'de>> Visitor<'de> for Map<V> {
        type Value = BTreeMap<String, V>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
            let mut map = BTreeMap::new();
            while let Some((name, value)) = members.next_entry::<String, V>()? {
                if map.contains_key(&name) {
                    return Err(twice(&name));
                }
                map.insert(name, value);
            }
            Ok(map)
        }
    }

    deserializer.deserialize_map(Map(PhantomData))
}

fn twice<E: Error>(name: &str) -> E {
    E::custom(format_args!(
        "the member {:?} is there twice",
        Shown::of(name)
    ))
}

/// Any JSON in which no object has a member twice, and that has no more values than are
/// left.
#[derive(Clone, Copy)]
struct Unique<'a> {
    left: &'a Cell<usize>,
    max_values: usize,
}

impl<'de> DeserializeSeed<'de> for Unique<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        let Some(left) = self.left.get().checked_sub(1) else {
            return Err(D::Error::custom(format_args!(
                "it has more than {} values",
                self.max_values
            )));
        };
        self.left.set(left);
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Unique<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        while elements.next_element_seed(self)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let mut names = HashSet::new();
        while let Some(Name(name)) = members.next_key()? {
            if names.contains(&name) {
                return Err(twice(&name));
            }
            names.insert(name);
            members.next_value_seed(self)?;
        }
        Ok(())
    }
}

/// The name of a member, borrowed from the text where it has no escapes.
struct Name<'de>(Cow<'de, str>);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;

        impl<'de> Visitor<'de> for Text {
            type Value = Name<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a member")
            }

            fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Borrowed(name)))
            }

            fn visit_str<E>(self, name: &str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Owned(name.to_owned())))
            }
        }

        deserializer.deserialize_str(Text)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn a_member_that_is_there_twice_is_refused_at_any_depth_and_however_it_is_spelled() {
        for text in [
            r#"{"a": 1, "a": 1}"#,
            r#"{"a": 1, "\u0061": 2}"#,
            r#"[{"b": {"a": null, "c": [], "a": {}}}]"#,
            r#"{"": 1, "": 2}"#,
        ] {
            let error = from_str::<Value>(text).unwrap_err().to_string();
            assert!(error.contains("is there twice"), "{text}: {error}");
        }
        for text in [
            r#"{"a": {"a": {"a": 1}}, "A": 2}"#,
            r#"[{"a": 1}, {"a": 1}, -1, 1.5, "x", true, null]"#,
        ] {
            let plain: Value = serde_json::from_str(text).unwrap();
            assert_eq!(from_str::<Value>(text).unwrap(), plain);
        }
    }

    #[test]
    fn a_byte_order_mark_is_skipped_and_a_second_one_is_not() {
        assert_eq!(from_str::<Value>("\u{feff}1").unwrap(), 1);
        assert!(from_str::<Value>("\u{feff}\u{feff}1").is_err());
    }

    #[test]
    fn the_nesting_is_limited_and_nothing_may_follow() {
        let deep = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
        assert!(from_str::<Value>(&deep(100)).is_ok());
        assert!(from_str::<Value>(&deep(200)).is_err());
        assert!(from_str::<Value>("{} {}").is_err());
    }

    #[test]
    fn the_number_of_values_is_limited() {
        let text = br#"{"a": [1, "x", null], "b": {}}"#;
        assert!(from_slice_within::<Value>(text, 6).is_ok());
        let error = from_slice_within::<Value>(text, 5).unwrap_err();
        assert!(error.to_string().contains("more than 5 values"));
    }

    #[test]
    fn a_map_with_a_name_twice_is_refused_where_only_it_is_read_strictly() {
        #[derive(Deserialize)]
        struct Facts {
            #[serde(deserialize_with = "unique_map")]
            attributes: BTreeMap<String, String>,
        }
        let read = serde_json::from_str::<Facts>;
        let once = read(r#"{"attributes": {"a": "1", "b": "2"}}"#).unwrap();
        assert_eq!(once.attributes.len(), 2);
        let twice = read(r#"{"attributes": {"a": "1", "a": "2"}}"#);
        assert!(twice.is_err_and(|error| error.to_string().contains("is there twice")));
    }
}
