//! The names that the rules use: see `entail.cedarschema`.

use cedar_policy::{EntityId, EntityTypeName, EntityUid, ParseErrors};

/// The types of entities, and the one action. Cedar makes them by its parser, so
/// they are made once.
#[derive(Debug)]
pub struct Vocabulary {
    principal: EntityTypeName,
    group: EntityTypeName,
    scope: EntityTypeName,
    credential: EntityTypeName,
    attributes: EntityTypeName,
    action: EntityTypeName,
}

impl Vocabulary {
    /// All of it.
    pub fn new() -> Result<Self, Box<ParseErrors>> {
        let kind = |name: &str| name.parse().map_err(Box::new);
        Ok(Vocabulary {
            principal: kind("Principal")?,
            group: kind("Group")?,
            scope: kind("Scope")?,
            credential: kind("Credential")?,
            attributes: kind("Attributes")?,
            action: kind("Action")?,
        })
    }

    /// Who asks.
    pub fn principal(&self, id: &str) -> EntityUid {
        named(&self.principal, id)
    }

    /// Principals taken together.
    pub fn group(&self, id: &str) -> EntityUid {
        named(&self.group, id)
    }

    /// A scope, by its path.
    pub fn scope(&self, path: &str) -> EntityUid {
        named(&self.scope, path)
    }

    /// A credential, by the path of its scope, its provider and its name.
    pub fn credential(&self, scope: &str, provider: &str, name: &str) -> EntityUid {
        named(&self.credential, format!("{scope}/{provider}/{name}"))
    }

    /// What is said of the request. There is one of them.
    pub fn attributes(&self) -> EntityUid {
        named(&self.attributes, "request")
    }

    /// What a principal does with a credential.
    pub fn action(&self) -> EntityUid {
        named(&self.action, "use")
    }
}

fn named(kind: &EntityTypeName, id: impl AsRef<str>) -> EntityUid {
    EntityUid::from_type_name_and_id(kind.clone(), EntityId::new(id))
}
