//! The environment variables of a provider.

use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::name::ProviderId;

/// A variable that clients read a field from. In the file, a plain name is enough.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Variable {
    /// Its name: `OPENAI_BASE_URL`.
    pub name: String,
    /// Its value as a template, if it differs from the value of the field.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// The clients that read it.
    pub read_by: Vec<String>,
}

impl<'de> Deserialize<'de> for Variable {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(VariableVisitor)
    }
}

struct VariableVisitor;

impl<'de> Visitor<'de> for VariableVisitor {
    type Value = Variable;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a variable, or a table with name, value and read-by")
    }

    fn visit_str<E>(self, name: &str) -> Result<Variable, E> {
        Ok(Variable {
            name: name.to_owned(),
            ..Variable::default()
        })
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Variable, A::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields, rename_all = "kebab-case")]
        struct Table {
            name: String,
            #[serde(default)]
            value: Option<String>,
            #[serde(default)]
            read_by: Vec<String>,
        }
        let Table {
            name,
            value,
            read_by,
        } = Table::deserialize(MapAccessDeserializer::new(map))?;
        Ok(Variable {
            name,
            value,
            read_by,
        })
    }
}

/// A client that takes the value of a field as an argument, not from a variable.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ClientArgument {
    /// The client: `xai-sdk`.
    pub client: String,
    /// The argument: `api_host`.
    pub argument: String,
}

/// A variable with a fixed value.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct FixedVariable {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
    /// The clients that read it.
    #[serde(default)]
    pub read_by: Vec<String>,
    /// The providers whose credentials it would interfere with: it is not set if one of
    /// them is granted too.
    #[serde(default)]
    pub unless_granted: Vec<ProviderId>,
}

/// A variable of the caller that a command keeps although a pattern of `unset-env` matches.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct KeptVariable {
    /// Its name, as a pattern.
    pub name: String,
    /// Why it is harmless, or what needs it.
    pub reason: String,
}

/// A variable that stops clients from using ambient credentials, which nobody granted: it
/// names a file that does not exist, or disables a source.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct AmbientBlock {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
    /// What clients would read without it.
    pub reason: String,
    /// The variables of the caller that need what it blocks: it is not set if one of them is
    /// kept.
    #[serde(default)]
    pub unless_kept: Vec<String>,
    /// The providers whose granted credentials make it unnecessary.
    #[serde(default)]
    pub unless_granted: Vec<ProviderId>,
}

/// Whether a name matches a pattern, ignoring case.
pub(super) fn matches_pattern(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        None => pattern.eq_ignore_ascii_case(name),
        Some(prefix) => name
            .get(..prefix.len())
            .is_some_and(|beginning| beginning.eq_ignore_ascii_case(prefix)),
    }
}
