//! `SecretEdit::New` never replaces a credential.

#![allow(clippy::unwrap_used)] // allowed in tests

use entail::{
    Change, CredentialRef, Entail, ErrorKind, Home, Options, Principal, Request, RuleChanges,
    Secret, SecretEdit, SetCredential,
};

fn set(key: &str) -> Change {
    Change::SetCredential(Box::new(SetCredential {
        credential: CredentialRef {
            scope: "acme".parse().unwrap(),
            provider: "openai".parse().unwrap(),
            name: "default".parse().unwrap(),
        },
        mode: None,
        fields: vec![("api_key".to_owned(), Secret::from(key))],
        rules: RuleChanges::default(),
        secret: SecretEdit::New,
        grace_ms: 0,
    }))
}

#[tokio::test]
async fn a_new_credential_is_set_once() {
    let directory = tempfile::tempdir().unwrap();
    let home = Home::create(&directory.path().join("home"), None)
        .await
        .unwrap();
    let entail = Entail::open(&home, Options::default()).unwrap();
    let me = Principal::LocalOwner;
    let scope = "acme".parse().unwrap();
    entail
        .change(&me, &Change::AddScope { scope })
        .await
        .unwrap();
    entail.change(&me, &set("canary-first")).await.unwrap();
    let error = entail.change(&me, &set("canary-second")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("already"), "{error}");
    let request = Request::new("acme".parse().unwrap(), "openai".parse().unwrap());
    let lease = entail.resolve(&me, &request).await.unwrap();
    assert_eq!(lease.version(), 1);
    assert_eq!(lease.secret("api_key").unwrap().expose(), b"canary-first");
}
