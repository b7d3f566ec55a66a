//! A bundle resolves each request of its scopes as the home does.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // allowed in tests

use entail::bundle::{Bundle, Expected, Request as BundleRequest};
use entail::policy::{Inheritance, Sharing};
use entail::{
    BundleExport, Change, CredentialRef, Edit, Entail, Error, Home, ModelId, Options, Principal,
    ProviderId, Request, RuleChanges, ScopePath, Secret, SecretEdit, SetCredential,
    bundle_recipients, open_bundle_lease,
};
use fastrand::Rng;

const ME: Principal = Principal::LocalOwner;

/// How many random homes are compared.
const HOMES: u64 = 12;

/// A tree with siblings, so that sharing by paths makes a difference.
const SCOPES: [&str; 6] = [
    "acme",
    "acme/a",
    "acme/a/x",
    "acme/a/x/deep",
    "acme/a/y",
    "acme/b",
];

const MODELS: [Option<&str>; 3] = [None, Some("gpt-5"), Some("gpt-4o")];

const NAMES: [&str; 3] = ["default", "one", "two"];

fn path(text: &str) -> ScopePath {
    text.parse().unwrap()
}

fn openai() -> ProviderId {
    "openai".parse().unwrap()
}

fn random_rules(rng: &mut Rng) -> RuleChanges {
    let sharing = match rng.u8(0..5) {
        0 => Sharing::None,
        1 => Sharing::Paths(vec!["acme/a/**".to_owned()]),
        2 => Sharing::Paths(vec!["acme/*/x".to_owned(), "acme/b".to_owned()]),
        _ => Sharing::All,
    };
    let models = match rng.u8(0..6) {
        0 => Edit::Set(Vec::new()),
        1 => Edit::Set(vec!["gpt-5*".to_owned()]),
        _ => Edit::Keep,
    };
    RuleChanges {
        models,
        sharing: Some(sharing),
        mandatory: Some(rng.u8(0..8) == 0),
        priority: Some(rng.u32(0..3)),
        ..RuleChanges::default()
    }
}

/// Adds the scopes with random inheritance, default models and credentials.
async fn fill(entail: &Entail, rng: &mut Rng) {
    for scope in SCOPES {
        let mut changes = vec![Change::AddScope { scope: path(scope) }];
        let inheritance = [
            Inheritance::Isolated,
            Inheritance::Inherit,
            Inheritance::FallBack,
        ];
        changes.push(Change::SetInheritance {
            scope: path(scope),
            provider: Some(openai()),
            inheritance: *rng.choice(&inheritance).unwrap(),
        });
        if rng.u8(0..4) == 0 {
            changes.push(Change::SetModel {
                scope: path(scope),
                provider: openai(),
                model: Some("gpt-5".parse().unwrap()),
            });
        }
        for name in NAMES {
            if rng.u8(0..2) == 0 {
                continue;
            }
            let credential = CredentialRef {
                scope: path(scope),
                provider: openai(),
                name: name.parse().unwrap(),
            };
            let key = format!("sk-{scope}-{name}");
            changes.push(Change::SetCredential(Box::new(SetCredential {
                credential: credential.clone(),
                mode: None,
                fields: vec![("api_key".to_owned(), Secret::from(key.as_str()))],
                rules: random_rules(rng),
                secret: SecretEdit::Given,
                grace_ms: 0,
            })));
            if rng.u8(0..5) == 0 {
                let enabled = false;
                changes.push(Change::SetEnabled {
                    credential,
                    enabled,
                });
            }
        }
        for change in changes {
            // Not every organization can inherit.
            if let Err(error) = entail.change(&ME, &change).await {
                assert!(matches!(error, Error::Invalid(_)), "{error}");
            }
        }
    }
}

/// Resolves a request at home and with the bundle, and compares all of the answers. Returns
/// whether it was granted.
async fn compare(entail: &Entail, bundle: &Bundle, identity: &Secret, request: &Request) -> bool {
    let asked = BundleRequest {
        scope: request.scope.clone(),
        provider: request.provider.clone(),
        model: request.model.clone(),
        credential: request.credential.clone(),
        principal: None,
        attributes: request.attributes.clone(),
        now_ms: entail::now_ms(),
        recipients: bundle_recipients(identity).unwrap(),
    };
    let explained = entail.explain(&ME, request).await.unwrap();
    let found = bundle.resolve(&asked).unwrap();
    assert_eq!(found.decision, explained.decision, "{request:?}");
    assert_eq!(found.facts.chain, explained.facts.chain, "{request:?}");
    match (entail.resolve(&ME, request).await, found.lease) {
        (Ok(lease), Some(sealed)) => {
            let fields = open_bundle_lease(&sealed, identity).unwrap();
            let here: Vec<_> = lease
                .secrets()
                .map(|(name, secret)| (name, secret.expose()))
                .collect();
            let there = fields
                .iter()
                .map(|(name, secret)| (name.as_str(), secret.expose()));
            assert!(there.eq(here), "the secrets differ");
            let frame = &sealed.secret.frame;
            assert_eq!(frame.scope, *lease.holder());
            assert_eq!(frame.version, lease.version());
            assert_eq!(frame.hosts, lease.hosts());
            assert_eq!(sealed.secret.base_url.as_deref(), lease.base_url());
            assert_eq!(sealed.secret.parameters, *lease.parameters());
            assert_eq!(sealed.model.as_deref(), lease.model().map(ModelId::as_str));
            true
        }
        (Err(Error::Refused { .. }), None) => false,
        (here, there) => panic!("{:?}, {:?}", here.map(drop), there.is_some()),
    }
}

#[tokio::test]
async fn a_bundle_of_a_random_home_answers_each_request_as_the_home_does() {
    let (mut granted, mut refused, mut left_out) = (0, 0, 0);
    for seed in 0..HOMES {
        let mut rng = Rng::with_seed(seed);
        let directory = tempfile::tempdir().unwrap();
        let home = Home::create(&directory.path().join("home"), None)
            .await
            .unwrap();
        let entail = Entail::open(&home, Options::default()).unwrap();
        fill(&entail, &mut rng).await;
        let identity = std::fs::read(directory.path().join("home/keys/identity.txt")).unwrap();
        let identity = Secret::new(&identity);
        let scopes: Vec<ScopePath> = SCOPES.into_iter().map(path).collect();
        let export = BundleExport {
            scopes: scopes.clone(),
            recipients: bundle_recipients(&identity).unwrap(),
            providers: Some(vec![openai()]),
            lifetime_ms: 60_000,
        };
        let exported = entail.export_bundle(&ME, &export).await.unwrap();
        let expected = Expected {
            signers: vec![exported.signer],
            now_ms: entail::now_ms(),
            ..Expected::default()
        };
        let bundle = Bundle::open(exported.text.as_bytes(), &expected).unwrap();
        let mut opened = std::collections::BTreeSet::new();
        for scope in scopes {
            for model in MODELS {
                for name in [None].into_iter().chain(NAMES.map(Some)) {
                    let request = Request {
                        model: model.map(|model| model.parse().unwrap()),
                        credential: name.map(|name| name.parse().unwrap()),
                        ..Request::new(scope.clone(), openai())
                    };
                    if compare(&entail, &bundle, &identity, &request).await {
                        granted += 1;
                        let lease = entail.resolve(&ME, &request).await.unwrap();
                        opened.insert(lease.id().to_string());
                    } else {
                        refused += 1;
                    }
                }
            }
        }
        // No other secret is in it than one that some request opened.
        let secrets = bundle.manifest().secrets.keys();
        let unopened: Vec<_> = secrets.filter(|id| !opened.contains(*id)).collect();
        assert!(unopened.is_empty(), "home {seed}: {unopened:?}");
        let facts = &bundle.manifest().providers[0].scopes;
        let credentials: usize = facts.iter().map(|scope| scope.credentials.len()).sum();
        left_out += credentials - opened.len();
        let report = entail.maintenance().verify(&ME, &mut |_| {}).await.unwrap();
        assert!(report.faults.is_empty(), "home {seed}");
    }
    assert!(
        granted > 100 && refused > 100 && left_out > 10,
        "{granted} {refused} {left_out}"
    );
}
