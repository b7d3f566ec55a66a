//! What is said of a request on the command line.

use std::collections::BTreeMap;

use entail::{AttributeName, AttributeValue, Error, quoted};

use crate::failure::Failure;

/// What was said: `NAME=VALUE`, each name once.
pub fn parse_attributes(
    given: &[String],
) -> Result<BTreeMap<AttributeName, AttributeValue>, Failure> {
    let mut attributes = BTreeMap::new();
    for text in given {
        let Some((name, value)) = text.split_once('=') else {
            return Err(Failure::invalid(format!(
                "{} is no attribute: give NAME=VALUE",
                quoted(text)
            )));
        };
        let name: AttributeName = name.parse().map_err(Error::from)?;
        let value = value.parse().map_err(Error::from)?;
        if attributes.insert(name.clone(), value).is_some() {
            return Err(Failure::invalid(format!(
                "the attribute {name} is given twice"
            )));
        }
    }
    Ok(attributes)
}
