//! What the contract demands of the facts.

use crate::resolver::{Error, Scope};

/// Refuses facts that break the contract, naming what and where.
pub fn check(chain: &[Scope]) -> Result<(), Error> {
    let invalid = |text: String| Err(Error::InvalidFacts(text));
    if chain.is_empty() {
        return invalid("the chain is empty".to_owned());
    }
    for (scope, above) in chain.iter().zip(chain.iter().skip(1)) {
        if parent(&scope.path) != Some(above.path.as_str()) {
            return invalid(format!(
                "in the chain {} follows {}, but is not its parent",
                above.path, scope.path
            ));
        }
    }
    let mut seen: Vec<&str> = Vec::new();
    for credential in chain.iter().flat_map(|scope| &scope.credentials) {
        let id = credential.id.as_str();
        match seen.binary_search(&id) {
            Ok(_) => return invalid(format!("the credential id {id} occurs twice")),
            Err(place) => seen.insert(place, id),
        }
    }
    Ok(())
}

fn parent(path: &str) -> Option<&str> {
    path.rsplit_once('/').map(|(parent, _)| parent)
}
