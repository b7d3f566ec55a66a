//! Checks that the facts satisfy the contract.

use crate::resolver::{Error, Scope};

/// Fails if the facts violate the contract.
///
/// # Errors
///
/// [`Error::InvalidFacts`] names the first violation and its place.
pub fn check(chain: &[Scope]) -> Result<(), Error> {
    let Some(organization) = chain.last() else {
        return invalid("the chain is empty".to_owned());
    };
    if let Some(above) = parent(&organization.path) {
        return invalid(format!(
            "the chain ends below the organization: {above} is missing"
        ));
    }
    for (scope, above) in chain.iter().zip(chain.iter().skip(1)) {
        if parent(&scope.path) != Some(above.path.as_str()) {
            return invalid(format!(
                "in the chain {} follows {}, but is not its parent",
                above.path, scope.path
            ));
        }
    }
    let credentials = || chain.iter().flat_map(|scope| &scope.credentials);
    if let Some(id) = repeated(credentials().map(|credential| credential.id.as_str())) {
        return invalid(format!("the credential id {id} occurs twice"));
    }
    for scope in chain {
        let names = scope
            .credentials
            .iter()
            .map(|credential| credential.name.as_str());
        if let Some(name) = repeated(names) {
            return invalid(format!("{} has two credentials named {name}", scope.path));
        }
    }
    Ok(())
}

fn invalid(text: String) -> Result<(), Error> {
    Err(Error::InvalidFacts(text))
}

fn parent(path: &str) -> Option<&str> {
    path.rsplit_once('/').map(|(parent, _)| parent)
}

/// Returns the first text that occurs twice.
fn repeated<'a>(texts: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let mut seen: Vec<&str> = Vec::new();
    for text in texts {
        match seen.binary_search(&text) {
            Ok(_) => return Some(text),
            Err(place) => seen.insert(place, text),
        }
    }
    None
}
