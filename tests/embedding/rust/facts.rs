//! The JSON of facts and decisions, as the conformance vectors have it, and the types that
//! are generated from the contract. A crate that includes this file has them in
//! `crate::resolver`.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use crate::resolver;

/// Reads the JSON of facts into the arguments of `decide`.
pub fn read(text: &str) -> Result<(resolver::Request, Vec<resolver::Scope>), serde_json::Error> {
    let Object(Facts { request, chain }) = serde_json::from_str(text)?;
    let chain = chain.into_iter().map(|scope| scope.0.into()).collect();
    Ok((request.0.into(), chain))
}

/// What the policy returned, in the JSON form of the vectors.
pub fn write(result: Result<resolver::Decision, resolver::Error>) -> Value {
    let decision = match result {
        Ok(decision) => decision,
        Err(resolver::Error::InvalidFacts(text)) => {
            return json!({"error": "invalid-facts", "message": text});
        }
        Err(resolver::Error::Other(text)) => return json!({"error": "other", "message": text}),
    };
    let mut written = match decision.outcome {
        resolver::Outcome::Granted(grant) => {
            let mut granted = json!({"credential": grant.credential});
            if !grant.alternates.is_empty() {
                granted["alternates"] = grant.alternates.into();
            }
            if let Some(model) = grant.model {
                granted["model"] = model.into();
            }
            json!({"granted": granted})
        }
        resolver::Outcome::Refused(refusal) => {
            json!({"refused": {"code": refusal.code, "message": refusal.message}})
        }
    };
    let trail = decision.trail.into_iter().map(|finding| {
        let mut found = json!({"credential": finding.credential, "code": finding.code});
        write_attributes(finding.attributes, &mut found);
        found
    });
    written["trail"] = trail.collect();
    write_attributes(decision.attributes, &mut written);
    written
}

fn write_attributes(attributes: Vec<(String, String)>, holder: &mut Value) {
    if !attributes.is_empty() {
        holder["attributes"] = attributes.into_iter().collect();
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Facts {
    request: Object<Request>,
    chain: Vec<Object<Scope>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    provider: String,
    model: Option<String>,
    credential: Option<String>,
    #[serde(default)]
    principal: String,
    now_ms: u64,
    #[serde(default)]
    attributes: Attributes,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Scope {
    path: String,
    #[serde(default)]
    inheritance: Inheritance,
    default_model: Option<String>,
    #[serde(default)]
    credentials: Vec<Object<Credential>>,
    #[serde(default)]
    attributes: Attributes,
}

#[derive(Default, Deserialize)]
#[serde(try_from = "String")]
enum Inheritance {
    #[default]
    Isolated,
    Inherit,
    FallBack,
}

// A derived enum would also be read from {"inherit": null}.
impl TryFrom<String> for Inheritance {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        match name.as_str() {
            "isolated" => Ok(Self::Isolated),
            "inherit" => Ok(Self::Inherit),
            "fall-back" => Ok(Self::FallBack),
            _ => Err(format!("{name} is no inheritance")),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Credential {
    id: String,
    name: String,
    #[serde(default = "yes")]
    enabled: bool,
    #[serde(default = "yes")]
    readable: bool,
    expires_at_ms: Option<u64>,
    models: Option<Vec<String>>,
    #[serde(default)]
    sharing: Sharing,
    #[serde(default)]
    mandatory: bool,
    #[serde(default)]
    priority: u32,
    #[serde(default)]
    attributes: Attributes,
}

fn yes() -> bool {
    true
}

#[derive(Default, Deserialize)]
#[serde(try_from = "SharingJson")]
enum Sharing {
    #[default]
    All,
    None,
    Paths(Vec<String>),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum SharingJson {
    Name(String),
    Patterns(Object<Patterns>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Patterns {
    paths: Vec<String>,
}

impl TryFrom<SharingJson> for Sharing {
    type Error = String;

    fn try_from(json: SharingJson) -> Result<Self, String> {
        match json {
            SharingJson::Name(name) if name == "all" => Ok(Self::All),
            SharingJson::Name(name) if name == "none" => Ok(Self::None),
            SharingJson::Name(name) => Err(format!("{name} is no sharing")),
            SharingJson::Patterns(patterns) => Ok(Self::Paths(patterns.0.paths)),
        }
    }
}

/// A record that is read from an object only. Serde reads one from a list, too.
struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Members<T> {
            type Value = Object<T>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<M: MapAccess<'de>>(self, members: M) -> Result<Object<T>, M::Error> {
                T::deserialize(MapAccessDeserializer::new(members)).map(Object)
            }
        }

        deserializer.deserialize_map(Members(PhantomData))
    }
}

/// Names and values. Serde's maps keep the last of two equal names; this one refuses them.
#[derive(Default)]
struct Attributes(BTreeMap<String, String>);

impl<'de> Deserialize<'de> for Attributes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Unique;

        impl<'de> Visitor<'de> for Unique {
            type Value = Attributes;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object of strings")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut members: M) -> Result<Attributes, M::Error> {
                let mut found = BTreeMap::new();
                while let Some((name, value)) = members.next_entry::<String, String>()? {
                    if found.contains_key(&name) {
                        return Err(Error::custom(format!("{name} occurs twice")));
                    }
                    found.insert(name, value);
                }
                Ok(Attributes(found))
            }
        }

        deserializer.deserialize_map(Unique)
    }
}

impl From<Request> for resolver::Request {
    fn from(request: Request) -> Self {
        Self {
            provider: request.provider,
            model: request.model,
            credential: request.credential,
            principal: request.principal,
            now_ms: request.now_ms,
            settings: "{}".to_owned(),
            attributes: request.attributes.0.into_iter().collect(),
        }
    }
}

impl From<Scope> for resolver::Scope {
    fn from(scope: Scope) -> Self {
        Self {
            path: scope.path,
            inheritance: match scope.inheritance {
                Inheritance::Isolated => resolver::Inheritance::Isolated,
                Inheritance::Inherit => resolver::Inheritance::Inherit,
                Inheritance::FallBack => resolver::Inheritance::FallBack,
            },
            default_model: scope.default_model,
            credentials: scope
                .credentials
                .into_iter()
                .map(|credential| credential.0.into())
                .collect(),
            attributes: scope.attributes.0.into_iter().collect(),
        }
    }
}

impl From<Credential> for resolver::Credential {
    fn from(credential: Credential) -> Self {
        Self {
            id: credential.id,
            name: credential.name,
            enabled: credential.enabled,
            readable: credential.readable,
            expires_at_ms: credential.expires_at_ms,
            models: credential.models,
            sharing: match credential.sharing {
                Sharing::All => resolver::Sharing::All,
                Sharing::None => resolver::Sharing::None,
                Sharing::Paths(patterns) => resolver::Sharing::Paths(patterns),
            },
            mandatory: credential.mandatory,
            priority: credential.priority,
            attributes: credential.attributes.0.into_iter().collect(),
        }
    }
}
