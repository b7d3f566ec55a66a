//! Parses JSON in which every record is an object.
//!
//! `serde_json` also takes an array of the values of a record's members, in their order. That is a
//! second encoding of the same record, which the formats do not have and other readers do not
//! read.
//!
//! `serde` buffers the members of a flattened record, and records within them are not checked; no
//! form has such records.

use std::fmt;

use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, Error, MapAccess, SeqAccess,
    Unexpected, VariantAccess, Visitor,
};

/// Parses JSON.
///
/// # Errors
///
/// If it is not valid JSON, does not match the type, or has an array in place of an object.
pub fn from_slice<T: DeserializeOwned>(bytes: &[u8]) -> serde_json::Result<T> {
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let parsed = T::deserialize(Objects(&mut json))?;
    json.end()?;
    Ok(parsed)
}

/// A deserializer that requires objects for records, or an access to parts of one.
struct Objects<T>(T);

/// A visitor of the same.
struct Checked<V> {
    visitor: V,
    /// Whether it visits a record.
    is_record: bool,
}

impl<V> Checked<V> {
    fn any(visitor: V) -> Self {
        Checked {
            visitor,
            is_record: false,
        }
    }

    fn record(visitor: V) -> Self {
        Checked {
            visitor,
            is_record: true,
        }
    }
}

/// Methods that only pass on the visitor.
macro_rules! forward {
    ($($method:ident($($argument:ident: $type:ty),*))*) => {
        $(fn $method<V: Visitor<'de>>(
            self,
            $($argument: $type,)*
            visitor: V,
        ) -> Result<V::Value, D::Error> {
            self.0.$method($($argument,)* Checked::any(visitor))
        })*
    };
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Objects<D> {
    type Error = D::Error;

    forward! {
        deserialize_any()
        deserialize_bool()
        deserialize_i8()
        deserialize_i16()
        deserialize_i32()
        deserialize_i64()
        deserialize_i128()
        deserialize_u8()
        deserialize_u16()
        deserialize_u32()
        deserialize_u64()
        deserialize_u128()
        deserialize_f32()
        deserialize_f64()
        deserialize_char()
        deserialize_str()
        deserialize_string()
        deserialize_bytes()
        deserialize_byte_buf()
        deserialize_option()
        deserialize_unit()
        deserialize_unit_struct(name: &'static str)
        deserialize_newtype_struct(name: &'static str)
        deserialize_seq()
        deserialize_tuple(length: usize)
        deserialize_tuple_struct(name: &'static str, length: usize)
        deserialize_map()
        deserialize_enum(name: &'static str, variants: &'static [&'static str])
        deserialize_identifier()
        deserialize_ignored_any()
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0
            .deserialize_struct(name, fields, Checked::record(visitor))
    }

    fn is_human_readable(&self) -> bool {
        self.0.is_human_readable()
    }
}

/// Methods that only pass on a value.
macro_rules! forward_values {
    ($($method:ident($type:ty))*) => {
        $(fn $method<E: Error>(self, value: $type) -> Result<V::Value, E> {
            self.visitor.$method(value)
        })*
    };
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Checked<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.visitor.expecting(f)
    }

    forward_values! {
        visit_bool(bool)
        visit_i64(i64)
        visit_i128(i128)
        visit_u64(u64)
        visit_u128(u128)
        visit_f64(f64)
        visit_str(&str)
        visit_borrowed_str(&'de str)
        visit_string(String)
        visit_bytes(&[u8])
        visit_borrowed_bytes(&'de [u8])
        visit_byte_buf(Vec<u8>)
    }

    fn visit_none<E: Error>(self) -> Result<V::Value, E> {
        self.visitor.visit_none()
    }

    fn visit_unit<E: Error>(self) -> Result<V::Value, E> {
        self.visitor.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        self.visitor.visit_some(Objects(inner))
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        self.visitor.visit_newtype_struct(Objects(inner))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, values: A) -> Result<V::Value, A::Error> {
        if self.is_record {
            return Err(A::Error::invalid_type(Unexpected::Seq, &"an object"));
        }
        self.visitor.visit_seq(Objects(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<V::Value, A::Error> {
        self.visitor.visit_map(Objects(members))
    }

    fn visit_enum<A: EnumAccess<'de>>(self, variant: A) -> Result<V::Value, A::Error> {
        self.visitor.visit_enum(Objects(variant))
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Objects<S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, inner: D) -> Result<S::Value, D::Error> {
        self.0.deserialize(Objects(inner))
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Objects<A> {
    type Error = A::Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, A::Error> {
        self.0.next_element_seed(Objects(seed))
    }

    fn size_hint(&self) -> Option<usize> {
        self.0.size_hint()
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Objects<A> {
    type Error = A::Error;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, A::Error> {
        self.0.next_key_seed(Objects(seed))
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        self.0.next_value_seed(Objects(seed))
    }

    fn size_hint(&self) -> Option<usize> {
        self.0.size_hint()
    }
}

impl<'de, A: EnumAccess<'de>> EnumAccess<'de> for Objects<A> {
    type Error = A::Error;
    type Variant = Objects<A::Variant>;

    fn variant_seed<S: DeserializeSeed<'de>>(
        self,
        seed: S,
    ) -> Result<(S::Value, Self::Variant), A::Error> {
        let (name, variant) = self.0.variant_seed(seed)?;
        Ok((name, Objects(variant)))
    }
}

impl<'de, A: VariantAccess<'de>> VariantAccess<'de> for Objects<A> {
    type Error = A::Error;

    fn unit_variant(self) -> Result<(), A::Error> {
        self.0.unit_variant()
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, A::Error> {
        self.0.newtype_variant_seed(Objects(seed))
    }

    fn tuple_variant<V: Visitor<'de>>(
        self,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        self.0.tuple_variant(length, Checked::any(visitor))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        self.0.struct_variant(fields, Checked::record(visitor))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;
    use serde_json::value::RawValue;

    use super::*;

    #[derive(Debug, Deserialize)]
    struct Key {
        #[allow(dead_code)] // it is parsed
        label: String,
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "kebab-case")]
    enum Kind {
        Plain,
        One(#[allow(dead_code)] Key), // it is parsed
        Several { keys: Vec<Key> },
    }

    #[derive(Debug, Deserialize)]
    struct Flat {
        #[allow(dead_code)] // it is parsed
        number: u64,
    }

    #[derive(Debug, Deserialize)]
    struct Form {
        #[serde(flatten)]
        flat: Flat,
        key: Option<Key>,
        kinds: Vec<Kind>,
        named: BTreeMap<String, Key>,
        pair: (u8, Key),
        body: Box<RawValue>,
    }

    const VALID: &str = r#"{"number":7,"key":{"label":"a"},"kinds":["plain",{"one":{"label":"b"}},{"several":{"keys":[{"label":"c"}]}}],"named":{"n":{"label":"d"}},"pair":[1,{"label":"e"}],"body":[1,{"x":[]}],"more":[["y"]]}"#;

    #[test]
    fn an_array_in_place_of_a_record_is_refused_at_any_depth() {
        let form: Form = from_slice(VALID.as_bytes()).unwrap();
        assert_eq!(form.flat.number, 7);
        assert!(form.key.is_some() && form.named.len() == 1 && form.pair.0 == 1);
        assert!(
            matches!(&form.kinds[..], [Kind::Plain, Kind::One(_), Kind::Several { keys }] if keys.len() == 1)
        );
        assert_eq!(form.body.get(), r#"[1,{"x":[]}]"#);
        for label in ["a", "b", "c", "d", "e"] {
            let record = format!(r#"{{"label":"{label}"}}"#);
            let changed = VALID.replace(&record, &format!(r#"["{label}"]"#));
            assert_ne!(changed, VALID);
            // What this guards against.
            assert!(serde_json::from_str::<Form>(&changed).is_ok(), "{label}");
            assert!(from_slice::<Form>(changed.as_bytes()).is_err(), "{label}");
        }
        let variant = VALID.replace(r#"{"keys":[{"label":"c"}]}"#, r#"[[{"label":"c"}]]"#);
        assert!(serde_json::from_str::<Form>(&variant).is_ok());
        assert!(from_slice::<Form>(variant.as_bytes()).is_err());
        assert!(from_slice::<Key>(br#"["a"]"#).is_err());
        assert!(from_slice::<Key>(br#"{"label":"a"} x"#).is_err());
    }
}
