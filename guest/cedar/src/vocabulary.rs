//! The entity types that rules use: see `entail.cedarschema`.

use cedar_policy::{EntityId, EntityTypeName, EntityUid, ParseErrors};

/// The entity types, and the only action. Creating one runs Cedar's parser, so they are
/// created once.
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
    /// Returns all types.
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

    /// Returns a principal.
    pub fn principal(&self, id: &str) -> EntityUid {
        named(&self.principal, id)
    }

    /// Returns a group of principals.
    pub fn group(&self, id: &str) -> EntityUid {
        named(&self.group, id)
    }

    /// Returns a scope, by its path.
    pub fn scope(&self, path: &str) -> EntityUid {
        named(&self.scope, path)
    }

    /// Returns a credential, by the path of its scope, its provider and its name.
    pub fn credential(&self, scope: &str, provider: &str, name: &str) -> EntityUid {
        named(&self.credential, format!("{scope}/{provider}/{name}"))
    }

    /// Returns the only entity with the attributes of the request.
    pub fn attributes(&self) -> EntityUid {
        named(&self.attributes, "request")
    }

    /// Returns the action of using a credential.
    pub fn action(&self) -> EntityUid {
        named(&self.action, "use")
    }
}

fn named(kind: &EntityTypeName, id: impl AsRef<str>) -> EntityUid {
    EntityUid::from_type_name_and_id(kind.clone(), EntityId::new(id))
}
