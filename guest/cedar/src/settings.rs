//! What is set for the policy: rules, and the entities that they speak of.

use std::collections::BTreeMap;

use cedar_policy::ParseErrors;
use serde::Deserialize;

/// The JSON Schema of the settings.
pub const SCHEMA: &str = include_str!("../settings.schema.json");

/// What the rules can speak of.
pub const ENTITIES: &str = include_str!("../entail.cedarschema");

/// Why settings are of no use. Settings that passed [`crate::validation::validate`] never are.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// They do not fit the schema.
    #[error("the settings do not fit their schema: {0}")]
    Form(#[from] serde_json::Error),
    /// The rules are no Cedar.
    #[error("the rules cannot be read: {0}")]
    Rules(#[from] Box<ParseErrors>),
    /// The entities contradict one another.
    #[error("the entities cannot be used: {0}")]
    Entities(String),
}

/// The settings.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The rules, in the Cedar language.
    pub rules: String,
    /// The principals and groups of the rules.
    #[serde(default)]
    pub entities: Vec<KnownEntity>,
}

/// A principal or a group, in Cedar's JSON format.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KnownEntity {
    /// Which one.
    pub uid: Uid,
    /// The format has attributes; principals and groups have none, but tags.
    #[serde(default, rename = "attrs")]
    pub _attributes: NoAttributes,
    /// The groups that it is in.
    #[serde(default)]
    pub parents: Vec<Uid>,
    /// What else is known of it.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
}

/// An object without members.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoAttributes {}

/// The name of a principal or a group.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Uid {
    /// Which of the two.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// Its id: `local:owner`.
    pub id: String,
}

/// What the settings can tell of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum Kind {
    /// Someone who asks.
    Principal,
    /// Several of them.
    Group,
}

/// Reads settings.
pub fn read(settings: &str) -> Result<Settings, serde_json::Error> {
    serde_json::from_str(settings)
}
