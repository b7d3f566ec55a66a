//! The attributes that only the host sets on a request and its credentials.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // allowed in tests

use std::collections::BTreeMap;

use entail::{
    AttributeName, Change, ComparedRequest, CredentialRef, Entail, Filter, Home, Options,
    Principal, Request, RuleChanges, Secret, SecretEdit, SetCredential, records,
};

const ME: Principal = Principal::LocalOwner;

async fn set(entail: &Entail, scope: &str, provider: &str, fields: &[(&str, &str)]) {
    let change = Change::SetCredential(Box::new(SetCredential {
        credential: CredentialRef {
            scope: scope.parse().unwrap(),
            provider: provider.parse().unwrap(),
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
    }));
    entail.change(&ME, &change).await.unwrap();
}

/// `acme` with a key for OpenAI at a gateway, and one for Bedrock in Frankfurt.
async fn with_acme() -> (tempfile::TempDir, Home, Entail) {
    let directory = tempfile::tempdir().unwrap();
    let home = Home::create(&directory.path().join("home"), None)
        .await
        .unwrap();
    let entail = Entail::open(&home, Options::default()).unwrap();
    let scope = "acme".parse().unwrap();
    entail
        .change(&ME, &Change::AddScope { scope })
        .await
        .unwrap();
    let at_gateway = [
        ("api_key", "canary-of-the-attributes"),
        ("base_url", "https://llm.acme.example:8443/v1"),
    ];
    set(&entail, "acme", "openai", &at_gateway).await;
    let in_frankfurt = [
        ("api_key", "canary-of-the-other-attributes"),
        ("region", "eu-central-1"),
    ];
    set(&entail, "acme", "bedrock", &in_frankfurt).await;
    (directory, home, entail)
}

fn request(provider: &str) -> Request {
    Request::new("acme".parse().unwrap(), provider.parse().unwrap())
}

#[tokio::test]
async fn the_policy_sees_mode_region_host_and_holder_of_a_credential() {
    let (_directory, _, entail) = with_acme().await;
    let of = async |provider: &str| {
        let explained = entail.explain(&ME, &request(provider)).await.unwrap();
        explained.facts.chain[0].credentials[0].attributes.clone()
    };
    let attributes = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        pairs.iter().map(owned).collect()
    };
    assert_eq!(
        of("openai").await,
        attributes(&[
            ("entail:mode", "api-key"),
            ("entail:host", "llm.acme.example:8443"),
            ("entail:holder", "acme"),
        ])
    );
    assert_eq!(
        of("bedrock").await,
        attributes(&[
            ("entail:mode", "api-key"),
            ("entail:region", "eu-central-1"),
            ("entail:host", "bedrock-runtime.eu-central-1.amazonaws.com"),
            ("entail:holder", "acme"),
        ])
    );
}

#[tokio::test]
async fn kept_names_reach_the_policy_the_log_and_a_preview() {
    let (_directory, home, entail) = with_acme().await;
    let keeping = Request {
        kept: vec!["bedrock".to_owned(), "AWS_PROFILE".to_owned()],
        ..request("openai")
    };
    entail.resolve(&ME, &keeping).await.unwrap();
    let record = records(&home, &ME, &Filter::default())
        .unwrap()
        .next()
        .unwrap()
        .unwrap();
    let record: serde_json::Value = serde_json::from_str(record.json()).unwrap();
    assert_eq!(
        record["facts"]["request"]["attributes"]["entail:kept"],
        "AWS_PROFILE,bedrock"
    );
    // A preview compares the recorded requests.
    let off = Change::SetEnabled {
        credential: CredentialRef {
            scope: "acme".parse().unwrap(),
            provider: "openai".parse().unwrap(),
            name: "default".parse().unwrap(),
        },
        enabled: false,
    };
    let planned = entail.preview(&ME, &off, &BTreeMap::new()).await.unwrap();
    assert_eq!(planned.coverage.recorded_requests, 1);
    assert_eq!(planned.counts.narrowed, 2, "with what is kept and without");
    assert_eq!(planned.changes[0].request, ComparedRequest::Any);
    // Invalid names are rejected before anything is decided.
    let wrong = Request {
        kept: vec!["A,entail:mode".to_owned()],
        ..request("openai")
    };
    let error = entail.resolve(&ME, &wrong).await.unwrap_err();
    assert!(error.to_string().contains("letters, digits"), "{error}");
}

#[test]
fn a_caller_cannot_set_an_attribute_of_the_host() {
    for name in ["entail:mode", "entail:kept", "entail:anything"] {
        let error = name.parse::<AttributeName>().unwrap_err().to_string();
        assert!(error.contains("reserved for the host"), "{error}");
        assert!(serde_json::from_value::<AttributeName>(name.into()).is_err());
    }
}
