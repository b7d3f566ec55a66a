//! The settings of the policy: rules, and the entities that they use.

use std::collections::BTreeMap;

use cedar_policy::ParseErrors;
use serde::Deserialize;

/// The JSON Schema of the settings.
pub const SCHEMA: &str = include_str!("../settings.schema.json");

/// The Cedar schema of the entities that rules can use.
pub const ENTITIES: &str = include_str!("../entail.cedarschema");

/// Why settings cannot be used. Settings that passed
/// [`validate`](crate::validation::validate) can.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// They do not match the schema.
    #[error("the settings do not match their schema: {0}")]
    Form(#[from] serde_json::Error),
    /// The rules are not valid Cedar.
    #[error("the rules cannot be parsed: {0}")]
    Rules(#[from] Box<ParseErrors>),
    /// The entities contradict each other.
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
    /// Its name.
    pub uid: Uid,
    /// Cedar's format has attributes; principals and groups have tags instead.
    #[serde(default, rename = "attrs")]
    pub _attributes: NoAttributes,
    /// The groups that it is in.
    #[serde(default)]
    pub parents: Vec<Uid>,
    /// Additional information about it.
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
    /// Its type.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// Its id: `local:owner`.
    pub id: String,
}

/// The types of entities in settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum Kind {
    /// A principal that makes requests.
    Principal,
    /// A group of principals.
    Group,
}

/// Parses settings.
pub fn parse(settings: &str) -> Result<Settings, serde_json::Error> {
    serde_json::from_str(settings)
}
