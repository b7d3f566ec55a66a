//! A component that is to be checked, tested or installed.

use entail::policy::{ComposeError, Engine, Limits};

use crate::record::Provenance;

/// A component as read, not yet validated.
#[derive(Debug)]
pub struct Component {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// The limits that its author asks for.
    pub limits: Option<Limits>,
    /// Its place, for messages.
    pub name: String,
    /// Whether it was built from the sources beside it.
    pub provenance: Provenance,
}

impl Component {
    /// Composes this layer with the policy `below` it. The limits stay those of the layer.
    ///
    /// # Errors
    ///
    /// Fails if the two cannot be composed.
    pub fn compose_over(self, engine: &Engine, below: &[u8]) -> Result<Self, ComposeError> {
        let bytes = engine.compose(&self.bytes, below)?;
        Ok(Component { bytes, ..self })
    }

    /// Returns the limits it asks for, or the default.
    pub fn limits_or_default(&self) -> Limits {
        self.limits.clone().unwrap_or_default()
    }
}
