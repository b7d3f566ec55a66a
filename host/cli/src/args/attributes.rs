//! Attributes of requests.

use std::collections::BTreeMap;

use clap::Args;
use entail::{AttributeName, AttributeValue, Error, quoted};

use crate::error::CliError;

/// The attributes of a request that asks for a credential.
#[derive(Args, Clone)]
pub struct AttributeArgs {
    /// An attribute for the policy, such as session=4711; it is logged
    #[arg(long = "attribute", value_name = "NAME=VALUE")]
    pub attributes: Vec<String>,
}

impl AttributeArgs {
    /// Parses the attributes.
    ///
    /// # Errors
    ///
    /// Fails if one is not `NAME=VALUE`, or a name is given twice.
    pub fn parse(&self) -> Result<BTreeMap<AttributeName, AttributeValue>, CliError> {
        parse_attributes(&self.attributes)
    }
}

/// Parses `NAME=VALUE`, each name once.
///
/// # Errors
///
/// Fails if an attribute is not valid, or a name is given twice.
pub fn parse_attributes(
    given: &[String],
) -> Result<BTreeMap<AttributeName, AttributeValue>, CliError> {
    let mut attributes = BTreeMap::new();
    for text in given {
        let Some((name, value)) = text.split_once('=') else {
            return Err(CliError::invalid(format!(
                "{} is not an attribute: give NAME=VALUE",
                quoted(text)
            )));
        };
        let name: AttributeName = name.parse().map_err(Error::from)?;
        let value = value.parse().map_err(Error::from)?;
        if attributes.insert(name.clone(), value).is_some() {
            return Err(CliError::invalid(format!(
                "the attribute {name} is given twice"
            )));
        }
    }
    Ok(attributes)
}
