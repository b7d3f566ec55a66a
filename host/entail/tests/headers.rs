//! The authentication headers of a lease.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // allowed in tests

use entail::{
    Change, CredentialRef, Entail, Home, Options, Principal, Request, RuleChanges, Secret,
    SecretEdit, SetCredential,
};

const ME: Principal = Principal::LocalOwner;

/// The headers for `fields`, as text.
async fn headers(provider: &str, fields: &[(&str, &str)]) -> Option<Vec<(String, String)>> {
    let directory = tempfile::tempdir().unwrap();
    let home = Home::create(&directory.path().join("home"), None)
        .await
        .unwrap();
    let entail = Entail::open(&home, Options::default()).unwrap();
    let scope: entail::ScopePath = "acme".parse().unwrap();
    let id: entail::ProviderId = provider.parse().unwrap();
    for change in [
        Change::AddScope {
            scope: scope.clone(),
        },
        Change::SetCredential(Box::new(SetCredential {
            credential: CredentialRef {
                scope: scope.clone(),
                provider: id.clone(),
                name: "default".parse().unwrap(),
            },
            mode: None,
            fields: fields
                .iter()
                .map(|(name, value)| ((*name).to_owned(), Secret::from(*value)))
                .collect(),
            rules: RuleChanges::default(),
            secret: SecretEdit::default(),
            grace_ms: 0,
        })),
    ] {
        entail.change(&ME, &change).await.unwrap();
    }
    let request = Request::new(scope, id.clone());
    let lease = entail.resolve(&ME, &request).await.unwrap();
    let headers = lease.headers(entail.provider(&id).unwrap())?;
    let text =
        |(name, value): (&str, Secret)| (name.to_owned(), value.expose_text().unwrap().to_owned());
    Some(headers.into_iter().map(text).collect())
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    pairs.iter().map(owned).collect()
}

#[tokio::test]
async fn a_header_follows_its_template_and_is_omitted_without_its_field() {
    let key = ("api_key", "canary-of-the-headers");
    assert_eq!(
        headers("openai", &[key, ("project", "proj_7")]).await,
        Some(pairs(&[
            ("Authorization", "Bearer canary-of-the-headers"),
            ("OpenAI-Project", "proj_7"),
        ]))
    );
    // A default replaces a missing value.
    let anthropic = headers("anthropic", &[key]).await.unwrap();
    let version = anthropic
        .iter()
        .find(|(name, _)| name == "anthropic-version");
    assert!(!version.unwrap().1.is_empty());
    let key = ("x-api-key".to_owned(), "canary-of-the-headers".to_owned());
    assert!(anthropic.contains(&key), "{anthropic:?}");
}

#[tokio::test]
async fn a_mode_that_signs_has_no_headers() {
    let fields = [
        ("access_key_id", "AKIAIOSFODNN7EXAMPLE"),
        (
            "secret_access_key",
            "canary/of/the/signing/key/of/40/letters",
        ),
        ("region", "eu-central-1"),
    ];
    assert_eq!(headers("bedrock", &fields).await, None);
}
