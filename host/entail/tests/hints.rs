//! Errors and refusals carry typed hints and stable codes, and no command lines.

#![allow(clippy::unwrap_used, clippy::panic)] // allowed in tests

use entail::policy::Inheritance;
use entail::{
    Change, CredentialRef, Entail, Error, ErrorKind, Hint, Home, Options, Principal, Request,
    RuleChanges, Secret, SecretEdit, SetCredential,
};

const ME: Principal = Principal::LocalOwner;

fn credential() -> CredentialRef {
    CredentialRef {
        scope: "acme".parse().unwrap(),
        provider: "openai".parse().unwrap(),
        name: "default".parse().unwrap(),
    }
}

fn set(url: Option<&str>) -> Change {
    let key = ("api_key".to_owned(), Secret::from("canary-of-the-hints"));
    let url = url.map(|url| ("base_url".to_owned(), Secret::from(url)));
    Change::SetCredential(Box::new(SetCredential {
        credential: credential(),
        mode: None,
        fields: [key].into_iter().chain(url).collect(),
        rules: RuleChanges::default(),
        secret: SecretEdit::Given,
        grace_ms: 0,
    }))
}

/// `acme` with a key, and `acme/evals`, which does not inherit it yet.
async fn with_acme() -> (tempfile::TempDir, Entail) {
    let directory = tempfile::tempdir().unwrap();
    let home = Home::create(&directory.path().join("home"), None)
        .await
        .unwrap();
    let entail = Entail::open(&home, Options::default()).unwrap();
    for scope in ["acme", "acme/evals"] {
        let scope = scope.parse().unwrap();
        let change = Change::AddScope { scope };
        entail.change(&ME, &change).await.unwrap();
    }
    entail.change(&ME, &set(None)).await.unwrap();
    (directory, entail)
}

#[tokio::test]
async fn a_refusal_names_what_would_lift_it() {
    let (_directory, entail) = with_acme().await;
    let request = Request::new("acme/evals".parse().unwrap(), "openai".parse().unwrap());
    let hints = async || entail.explain(&ME, &request).await.unwrap().hints();
    let (scope, provider) = (request.scope.clone(), request.provider.clone());
    assert_eq!(hints().await, [Hint::OptIn { scope, provider }]);
    let inherit = Change::SetInheritance {
        scope: request.scope.clone(),
        provider: None,
        inheritance: Inheritance::Inherit,
    };
    entail.change(&ME, &inherit).await.unwrap();
    assert_eq!(hints().await, []);
    let disable = Change::SetEnabled {
        credential: credential(),
        enabled: false,
    };
    entail.change(&ME, &disable).await.unwrap();
    let credential = credential();
    assert_eq!(hints().await, [Hint::EnableCredential { credential }]);
}

#[tokio::test]
async fn an_error_has_a_kind_a_code_and_hints() {
    let (directory, entail) = with_acme().await;
    let elsewhere = "acme/nowhere".parse().unwrap();
    let unknown = entail.scope(&ME, &elsewhere).await.unwrap_err();
    assert_eq!(unknown.kind(), ErrorKind::NotFound);
    assert_eq!(unknown.code(), "unknown-scope");
    assert_eq!(unknown.hints(), [Hint::ListScopes]);

    let plain = set(Some("http://litellm:4000"));
    let unsafe_http = entail.change(&ME, &plain).await.unwrap_err();
    assert_eq!(unsafe_http.code(), "invalid-value");
    assert_eq!(unsafe_http.hints(), [Hint::AllowUnsafeHttp]);

    let directory = directory.path().join("none");
    let Err(no_home) = Home::open(&directory) else {
        panic!("there is no home");
    };
    assert!(matches!(no_home, Error::NotAHome(_)), "{no_home}");
    assert_eq!(no_home.hints(), [Hint::CreateHome { directory }]);
}

#[test]
fn a_hint_has_one_json_form() {
    let hint = Hint::RotateCredential {
        credential: credential(),
    };
    assert_eq!(
        serde_json::to_value(hint).unwrap(),
        serde_json::json!({
            "hint": "rotate-credential",
            "credential": {"scope": "acme", "provider": "openai", "name": "default"},
        })
    );
}
