//! Parses untrusted JSON strictly.
//!
//! JSON with a duplicate member is ambiguous: one parser takes the first value, another the
//! last. So a file can look right to a person and mean something else to a program. This
//! module rejects duplicate members at any depth. It skips a leading byte order mark, which
//! some editors write.
//!
//! # Security
//!
//! `serde_json` limits the nesting (128 levels); the caller must limit the length. The
//! check itself needs memory for the member names of the open objects. Parsing needs more:
//! a value of two bytes can take a hundred times as many. A caller that parses into
//! [`serde_json::Value`] should limit the number of values ([`from_slice_within`]).

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use crate::Shown;

/// The UTF-8 byte order mark.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Returns the bytes without a leading byte order mark.
pub fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes)
}

/// Parses untrusted JSON.
///
/// # Errors
///
/// If it is not valid JSON, does not match the type, or has a duplicate member.
pub fn from_slice<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> serde_json::Result<T> {
    from_slice_within(bytes, usize::MAX)
}

/// Like [`from_slice`], with at most `max_values` values: objects, arrays, strings,
/// numbers, `true`, `false` and `null`, at any depth.
///
/// # Errors
///
/// The same as [`from_slice`], and if there are more values.
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

/// Parses untrusted JSON from a string.
///
/// # Errors
///
/// The same as [`from_slice`].
pub fn from_str<'a, T: Deserialize<'a>>(text: &'a str) -> serde_json::Result<T> {
    from_slice(text.as_bytes())
}

/// Deserializes a map and rejects duplicate names. For maps in a type whose other members
/// are known by name; `serde` itself rejects duplicates of those.
///
/// # Errors
///
/// If it does not match the type, or has a duplicate name.
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
                    return Err(duplicate(&name));
                }
                map.insert(name, value);
            }
            Ok(map)
        }
    }

    deserializer.deserialize_map(Map(PhantomData))
}

fn duplicate<E: Error>(name: &str) -> E {
    E::custom(format_args!(
        "the member {:?} occurs twice",
        Shown::of(name)
    ))
}

/// Accepts any JSON without duplicate members and with no more values than are left.
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
                return Err(duplicate(&name));
            }
            names.insert(name);
            members.next_value_seed(self)?;
        }
        Ok(())
    }
}

/// A member name, borrowed from the text unless it contains escapes.
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
    fn a_duplicate_member_is_rejected_at_any_depth_and_in_any_spelling() {
        for text in [
            r#"{"a": 1, "a": 1}"#,
            r#"{"a": 1, "\u0061": 2}"#,
            r#"[{"b": {"a": null, "c": [], "a": {}}}]"#,
            r#"{"": 1, "": 2}"#,
        ] {
            let error = from_str::<Value>(text).unwrap_err().to_string();
            assert!(error.contains("occurs twice"), "{text}: {error}");
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
    fn one_byte_order_mark_is_skipped_but_not_a_second_one() {
        assert_eq!(from_str::<Value>("\u{feff}1").unwrap(), 1);
        assert!(from_str::<Value>("\u{feff}\u{feff}1").is_err());
    }

    #[test]
    fn the_nesting_is_limited_and_trailing_data_is_rejected() {
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
    fn a_map_with_a_duplicate_name_is_rejected() {
        #[derive(Deserialize)]
        struct Facts {
            #[serde(deserialize_with = "unique_map")]
            attributes: BTreeMap<String, String>,
        }
        let read = serde_json::from_str::<Facts>;
        let once = read(r#"{"attributes": {"a": "1", "b": "2"}}"#).unwrap();
        assert_eq!(once.attributes.len(), 2);
        let duplicated = read(r#"{"attributes": {"a": "1", "a": "2"}}"#);
        assert!(duplicated.is_err_and(|error| error.to_string().contains("occurs twice")));
    }
}
