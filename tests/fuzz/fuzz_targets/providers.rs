//! The provider file of a home (`providers.toml`), which users write by hand and copy from
//! each other.
//!
//! Checked: an accepted file leaves the built-in providers unchanged, and each provider
//! that it adds is usable: its id is unique, its modes have names and existing fields, its
//! variables begin with its id, its templates can be filled without loss, its base URL is
//! https and leads to one of its hosts for any parameters, and it round-trips as JSON.

#![no_main]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use entail::{Authentication, Catalog, Provider};
use libfuzzer_sys::fuzz_target;

static BUILT_IN: LazyLock<Catalog> =
    LazyLock::new(|| Catalog::new(None).expect("the built-in providers are valid"));

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let Ok(catalog) = Catalog::new(Some(text)) else {
        return;
    };
    let mut providers = catalog.iter();
    for built_in in BUILT_IN.iter() {
        let kept = providers.next().map(json);
        assert_eq!(kept, Some(json(built_in)));
    }
    for provider in providers {
        check_names(provider, &catalog);
        check_variables(provider, &catalog);
        check_templates(provider);
        let reread: Provider = serde_json::from_str(&json(provider)).expect("it reads back");
        assert_eq!(json(&reread), json(provider));
    }
});

fn json(provider: &Provider) -> String {
    serde_json::to_string(provider).expect("a provider is plain data")
}

fn check_names(provider: &Provider, catalog: &Catalog) {
    let found = catalog.get(&provider.id).expect("it is there");
    assert!(
        std::ptr::eq(found, provider),
        "{} is there twice",
        provider.id
    );
    assert!(!provider.modes.is_empty());
    for mode in &provider.modes {
        let named = provider.require_mode(&mode.name).expect("it is there");
        assert!(
            std::ptr::eq(named, mode),
            "two modes are named {:?}",
            mode.name
        );
        for name in mode.required.iter().chain(&mode.optional) {
            assert!(mode.takes(name));
            assert!(provider.field(name).is_some(), "{name:?} is not a field");
        }
    }
    for field in &provider.fields {
        let named = provider.field(&field.name).expect("it is there");
        assert!(
            std::ptr::eq(named, field),
            "two fields are named {:?}",
            field.name
        );
    }
}

fn check_variables(provider: &Provider, catalog: &Catalog) {
    let others: BTreeSet<&str> = catalog
        .iter()
        .filter(|other| other.id != provider.id)
        .flat_map(Provider::variables)
        .collect();
    for variable in provider.variables() {
        assert!(
            !others.contains(variable),
            "{variable} is another provider's"
        );
        let fit = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
        assert!(!variable.is_empty() && variable.chars().all(fit));
        assert!(!variable.starts_with(|first: char| first.is_ascii_digit()));
        let prefix = provider.id.as_str().to_ascii_uppercase().replace('-', "_") + "_";
        assert!(variable.starts_with(&prefix), "{variable}");
    }
}

fn check_templates(provider: &Provider) {
    let names = provider.fields.iter().map(|field| field.name.as_str());
    // A template may use it even if it is not a field.
    let names: Vec<&str> = names.chain(["base_url"]).collect();
    let placeholders: BTreeMap<String, String> = names
        .iter()
        .map(|name| ((*name).to_owned(), format!("{{{name}}}")))
        .collect();
    let headers = provider
        .modes
        .iter()
        .filter_map(|mode| match &mode.authentication {
            Authentication::Headers(headers) => Some(headers.values()),
            Authentication::AwsSigV4 { .. } | Authentication::GoogleServiceAccount { .. } => None,
        });
    let templates = provider
        .base_url
        .iter()
        .chain(&provider.hosts)
        .chain(provider.check.as_ref().map(|check| &check.url))
        .chain(headers.flatten());
    for template in templates {
        let filled = provider.fill(template, &placeholders);
        assert_eq!(
            filled.as_ref(),
            Some(template),
            "a template lost a part of it"
        );
    }

    let specials = provider
        .special_base_urls
        .iter()
        .map(|special| [(special.field.clone(), special.value.clone())].into());
    for parameters in [BTreeMap::new(), placeholders.clone()]
        .into_iter()
        .chain(specials)
    {
        if let Some(url) = provider.base_url(&parameters) {
            assert!(
                url.starts_with("https://"),
                "the base URL {url:?} is not https"
            );
        }
    }
}
