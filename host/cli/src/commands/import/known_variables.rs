//! Properties of variables by the provider file.

use entail::{Catalog, Field, Provider};

/// Whether a field is read from the variable `name`.
pub fn is_of_a_field(catalog: &Catalog, name: &str) -> bool {
    let mut fields = catalog.iter().flat_map(|provider| &provider.fields);
    fields.any(|field| variables_of(field).any(|variable| variable == name))
}

/// The variables that the clients read the field from, the usual one first.
pub fn variables_of(field: &Field) -> impl Iterator<Item = &str> {
    field.entry_variables()
}

/// Whether a variable that is not a field may send the key of `provider` to another host, so
/// that the key may not be the vendor's.
pub fn may_divert(provider: &Provider, name: &str) -> bool {
    const WORDS: [&str; 6] = ["BASE", "ENDPOINT", "HOST", "PROXY", "TYPE", "URL"];

    let is_of_provider = is_read_by(provider, name) || prefix_is_id(provider, name);
    is_of_provider && name.split('_').any(|word| WORDS.contains(&word))
}

/// Whether a variable that is not a field looks like part of a credential, of a known provider
/// or not. Such a variable is reported by its name.
pub fn looks_like_credential(catalog: &Catalog, name: &str) -> bool {
    const ENDINGS: [&str; 4] = ["_API_KEY", "_APIKEY", "_API_TOKEN", "_AUTH_TOKEN"];
    const WORDS: [&str; 6] = ["KEY", "TOKEN", "SECRET", "ENDPOINT", "BASE", "URL"];

    let has_word = |words: &[&str]| name.split('_').any(|word| words.contains(&word));
    let names_provider = catalog.iter().any(|provider| {
        let id = provider.id.as_str().to_uppercase();
        is_read_by(provider, name) || has_word(&[&id])
    });
    ENDINGS.iter().any(|ending| name.ends_with(ending)) || (names_provider && has_word(&WORDS))
}

fn is_read_by(provider: &Provider, name: &str) -> bool {
    provider.owns_variable(name)
}

fn prefix_is_id(provider: &Provider, name: &str) -> bool {
    let prefix = name.split('_').next().unwrap_or_default();
    prefix.eq_ignore_ascii_case(provider.id.as_str())
}
