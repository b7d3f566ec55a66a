//! The attributes that the host sets in the facts, under a prefix reserved for it.
//!
//! Nothing checks a caller's attributes. Attributes with the prefix [`HOST_PREFIX`] are
//! set by the host: for each credential its mode, region, base URL host and holder; for the
//! request the names that the caller keeps. A policy can rely on them as on the rest of the
//! facts.

use std::collections::{BTreeMap, BTreeSet};

use entail_policy::Facts;

use crate::documents::scope::Credential;
use crate::error::Error;
use crate::urls::{base_url, host_of};
use entail_decision::name::{HOST_PREFIX, ScopePath, quoted};
use entail_decision::provider::{Format, Provider};

/// Of a credential: its mode.
pub const MODE: &str = "entail:mode";

/// Of a credential: its region, for providers that have regions.
pub const REGION: &str = "entail:region";

/// Of a credential: the host of its base URL, with the port if it is not the scheme's
/// default.
pub const HOST: &str = "entail:host";

/// Of a credential: the path of the scope that holds it.
pub const HOLDER: &str = "entail:holder";

/// Of a request: the variables and providers that the caller keeps beside the granted
/// credential, sorted and separated by commas.
pub const KEPT: &str = "entail:kept";

/// The host's attributes of a credential.
const OF_A_CREDENTIAL: [&str; 4] = [MODE, REGION, HOST, HOLDER];

/// The host's attributes of a request.
const OF_A_REQUEST: [&str; 1] = [KEPT];

/// The longest kept name in bytes: vendors' variables have some fifty.
const MAX_KEPT_NAME_BYTES: usize = 128;

/// The most bytes of all kept names with their commas: less than every variable of every
/// provider, which would leave nothing to grant.
const MAX_KEPT_BYTES: usize = 2_048;

/// The host's attributes of a credential.
pub(crate) fn of_credential(
    provider: &Provider,
    holder: &ScopePath,
    credential: &Credential,
) -> BTreeMap<String, String> {
    let version = &credential.version;
    let region = || {
        let mut fields = provider.fields.iter();
        let field = fields.find(|field| field.format == Format::Region)?;
        let own = version.parameters.get(&field.name);
        own.or(field.default.as_ref()).cloned()
    };
    let host = || host_of(&base_url(provider, credential)?);
    [
        (MODE, Some(version.mode.clone())),
        (REGION, region()),
        (HOST, host()),
        (HOLDER, Some(holder.to_string())),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name.to_owned(), value?)))
    .collect()
}

/// The value of [`KEPT`]; `None` if nothing is kept.
///
/// # Errors
///
/// [`Error::Invalid`] if a name is invalid, or there are too many.
pub(crate) fn kept(names: &[String]) -> Result<Option<String>, Error> {
    let is_name = |name: &&String| {
        (1..=MAX_KEPT_NAME_BYTES).contains(&name.len())
            && name
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
    };
    if let Some(name) = names.iter().find(|name| !is_name(name)) {
        return Err(Error::Invalid(format!(
            "a kept name has 1 to {MAX_KEPT_NAME_BYTES} letters, digits, _ and -; one of {} bytes \
             does not",
            name.len()
        )));
    }
    let names: BTreeSet<&str> = names.iter().map(String::as_str).collect();
    let text = Vec::from_iter(names).join(",");
    if text.len() > MAX_KEPT_BYTES {
        return Err(Error::Invalid(format!(
            "the kept names have {} bytes, and at most {MAX_KEPT_BYTES} are allowed: keep fewer, or \
             leave the provider out",
            text.len()
        )));
    }
    Ok((!text.is_empty()).then_some(text))
}

/// The kept names in a value of [`KEPT`].
///
/// # Errors
///
/// As [`kept`].
pub(crate) fn parse_kept(value: &str) -> Result<Vec<String>, Error> {
    let names = value.split(',').map(str::to_owned).collect::<Vec<_>>();
    kept(&names).map(|_| names)
}

/// Checks facts from outside, such as those of a vector: an attribute under
/// [`HOST_PREFIX`] must be one that the host sets in that place.
///
/// # Errors
///
/// [`Error::Invalid`], which names the attribute and the rule.
pub fn check_host_attributes(facts: &Facts) -> Result<(), Error> {
    only(&facts.request.attributes, &OF_A_REQUEST, "a request")?;
    for scope in &facts.chain {
        only(&scope.attributes, &[], "a scope")?;
        for credential in &scope.credentials {
            only(&credential.attributes, &OF_A_CREDENTIAL, "a credential")?;
        }
    }
    Ok(())
}

fn only(attributes: &BTreeMap<String, String>, known: &[&str], what: &str) -> Result<(), Error> {
    let mut of_host = attributes
        .keys()
        .filter(|name| name.starts_with(HOST_PREFIX));
    match of_host.find(|name| !known.contains(&name.as_str())) {
        None => Ok(()),
        Some(name) => {
            let known = if known.is_empty() {
                "none".to_owned()
            } else {
                known.join(", ")
            };
            Err(Error::Invalid(format!(
                "the host sets no attribute {} of {what}: names that begin with {HOST_PREFIX} \
                 are reserved for the host, which sets of {what}: {known}",
                quoted(name)
            )))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn kept_names_are_sorted_distinct_and_bounded() {
        assert_eq!(kept(&[]).unwrap(), None);
        let all = names(&["bedrock", "AWS_PROFILE", "bedrock"]);
        let text = kept(&all).unwrap().unwrap();
        assert_eq!(text, "AWS_PROFILE,bedrock");
        assert_eq!(
            parse_kept(&text).unwrap(),
            names(&["AWS_PROFILE", "bedrock"])
        );
        for wrong in ["", "A,B", "A B", "A\n", "Ä", &"A".repeat(129)] {
            let error = kept(&names(&[wrong])).unwrap_err();
            assert!(
                error.to_string().contains("letters, digits"),
                "{wrong:?}: {error}"
            );
        }
        let many: Vec<String> = (0..300).map(|n| format!("VARIABLE_{n}")).collect();
        let error = kept(&many).unwrap_err();
        assert!(error.to_string().contains("at most 2048"), "{error}");
    }

    #[test]
    fn outside_facts_have_host_attributes_only_where_the_host_sets_them() {
        let facts = |request: &str, credential: &str| -> Facts {
            serde_json::from_value(serde_json::json!({
                "request": {"provider": "openai", "now_ms": 1, "attributes": {request: "x"}},
                "chain": [{"path": "acme", "credentials": [
                    {"id": "a", "name": "default", "attributes": {credential: "x"}},
                ]}],
            }))
            .unwrap()
        };
        check_host_attributes(&facts("session", "note")).unwrap();
        check_host_attributes(&facts(KEPT, REGION)).unwrap();
        for (request, credential) in [
            ("entail:trusted", "note"),
            ("a", "entail:kept"),
            (MODE, "b"),
        ] {
            let error = check_host_attributes(&facts(request, credential)).unwrap_err();
            assert!(
                error.to_string().contains("reserved for the host"),
                "{error}"
            );
        }
    }
}
