//! Values of credentials, secret and public, as users paste, pipe and read them from files.
//!
//! The first byte selects a field of a built-in provider, the second whether the value
//! contains a canary, and the rest is the value. The value is set on an organization and
//! leased again.
//!
//! Checked: a rejected value is reported as invalid, and the error contains no part of a
//! secret. An accepted value can be leased in the format of its field: a token is visible
//! ASCII; a URL is https, or http on this machine, has no user, and is sent only to its
//! host; a region is part of a host name; a service account is valid and requests tokens
//! only from Google. No secret is in the decision log or in the debug output of a lease. A
//! mask shows at most the last four characters, and only of a long value.

#![no_main]

use std::io::Read as _;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{LazyLock, Mutex};

use entail::{
    Catalog, Change, CredentialRef, Entail, Error, ErrorKind, Field, Format, Home, Lease, Mode,
    Options, Principal, Provider, Request, RuleChanges, ScopePath, Secret, SecretEdit,
    SetCredential, mask,
};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use tokio::runtime::Runtime;

/// A text that no error or name contains by chance.
const CANARY: &str = "CANARY-7Zq0";

/// The home is recreated after this number of changes, to limit its journal.
const CHANGES_PER_HOME: u32 = 5_000;

const SERVICE_ACCOUNT: &str = r#"{"type": "service_account", "project_id": "p1", "client_email": "a@p1.iam.gserviceaccount.com", "private_key": "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"}"#;

static CATALOG: LazyLock<Catalog> =
    LazyLock::new(|| Catalog::new(None).expect("the built-in providers are valid"));

/// Every field of every mode of every provider.
static PLACES: LazyLock<Vec<Place>> = LazyLock::new(|| {
    let modes = CATALOG
        .iter()
        .flat_map(|provider| provider.modes.iter().map(move |mode| (provider, mode)));
    modes
        .flat_map(|(provider, mode)| {
            mode.required
                .iter()
                .chain(&mode.optional)
                .map(move |name| Place {
                    provider,
                    mode,
                    field: provider.field(name).expect("a mode's fields exist"),
                })
        })
        .collect()
});

static INSTALLATION: LazyLock<Mutex<Installation>> =
    LazyLock::new(|| Mutex::new(Installation::new()));

struct Place {
    provider: &'static Provider,
    mode: &'static Mode,
    field: &'static Field,
}

fuzz_target!(
    init: {
        drop(INSTALLATION.lock());
    },
    |data: &[u8]| {
        check_mask(data);
        let [place, canary, value @ ..] = data else {
            return;
        };
        let place = &PLACES[usize::from(*place) % PLACES.len()];
        // A public value may appear everywhere.
        let hidden = place.field.secret && canary & 1 == 1;
        let value = if hidden { with_canary(value) } else { value.to_vec() };
        let mut installation = INSTALLATION.lock().expect("no run went on after a failure");
        installation.check(place, &value);
    }
);

fn with_canary(value: &[u8]) -> Vec<u8> {
    let (before, after) = value.split_at(value.len() / 2);
    [before, CANARY.as_bytes(), after].concat()
}

fn check_mask(bytes: &[u8]) {
    let shown = mask(&Secret::new(bytes));
    let tail = shown.strip_prefix("••••").expect("it begins with dots");
    if bytes.len() >= 20 && bytes.iter().all(u8::is_ascii_graphic) {
        assert_eq!(tail.as_bytes(), &bytes[bytes.len() - 4..]);
    } else {
        assert_eq!(tail, "");
    }
}

fn assert_no_canary(text: &str, what: &str) {
    assert!(!text.contains(CANARY), "a secret is in {what}");
}

/// A home with one organization and, between runs, no credential.
struct Installation {
    directory: PathBuf,
    entail: Entail,
    decision_log: std::fs::File,
    runtime: Runtime,
    organization: ScopePath,
    changes: u32,
}

impl Installation {
    fn new() -> Self {
        let directory = std::env::temp_dir().join(format!("entail-values-{}", std::process::id()));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("a runtime can be made");
        let home = runtime
            .block_on(Home::create(&directory, None))
            .expect("a home can be made");
        let settings = Options {
            // So that each lease opens the sealed secret.
            cache_secrets_for: None,
            ..Options::default()
        };
        let entail = Entail::open(&home, settings).expect("a new home opens");
        let decision_log = std::fs::File::open(home.decision_log()).expect("there is a log");
        let organization: ScopePath = "acme".parse().expect("it is a path");
        let add = Change::AddScope {
            scope: organization.clone(),
        };
        runtime
            .block_on(entail.change(&Principal::LocalOwner, &add))
            .expect("an organization can be added");
        Installation {
            directory,
            entail,
            decision_log,
            runtime,
            organization,
            changes: 0,
        }
    }

    fn check(&mut self, place: &Place, value: &[u8]) {
        if self.changes >= CHANGES_PER_HOME {
            std::fs::remove_dir_all(&self.directory).expect("the home can be removed");
            *self = Installation::new();
        }
        match self.set(place, value) {
            Ok(()) => {
                let lease = self.lease(place);
                check_lease(&lease, place, value);
                // A leased value is accepted again and stays unchanged.
                if let Some(value) = leased(&lease, place.field) {
                    self.set(place, &value).expect("it was accepted before");
                    let again = leased(&self.lease(place), place.field);
                    assert_eq!(again, Some(value));
                }
                self.remove(place);
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
                assert_no_canary(&format!("{error} {error:?}"), "an error");
            }
        }
        let mut logged = Vec::new();
        self.decision_log
            .read_to_end(&mut logged)
            .expect("the log can be read");
        assert_no_canary(&String::from_utf8_lossy(&logged), "the decision log");
    }

    /// Sets `value`, and the other fields that its mode requires.
    fn set(&mut self, place: &Place, value: &[u8]) -> Result<(), Error> {
        let others = place
            .mode
            .required
            .iter()
            .filter(|name| **name != place.field.name)
            .map(|name| {
                let field = place.provider.field(name).expect("a mode's fields exist");
                (name.clone(), Secret::from(valid(field.format)))
            });
        let changed = (place.field.name.clone(), Secret::new(value));
        let change = Change::SetCredential(Box::new(SetCredential {
            credential: self.credential(place),
            mode: Some(place.mode.name.clone()),
            fields: others.chain([changed]).collect(),
            rules: RuleChanges::default(),
            secret: SecretEdit::Given,
            grace_ms: 0,
        }));
        self.change(&change)
    }

    fn lease(&self, place: &Place) -> Lease {
        let request = Request::new(self.organization.clone(), place.provider.id.clone());
        self.runtime
            .block_on(self.entail.resolve(&Principal::LocalOwner, &request))
            .expect("an accepted value can be leased")
    }

    fn remove(&mut self, place: &Place) {
        let credential = self.credential(place);
        self.change(&Change::RemoveCredential {
            credential,
            grace_ms: 0,
        })
        .expect("a credential that is there can be removed");
    }

    fn change(&mut self, change: &Change) -> Result<(), Error> {
        self.changes += 1;
        self.runtime
            .block_on(self.entail.change(&Principal::LocalOwner, change))
            .map(drop)
    }

    fn credential(&self, place: &Place) -> CredentialRef {
        CredentialRef {
            scope: self.organization.clone(),
            provider: place.provider.id.clone(),
            name: entail::CredentialName::default(),
        }
    }
}

fn valid(format: Format) -> &'static str {
    match format {
        Format::Token => "token-0123456789-0123456789",
        Format::Url => "https://example.com/v1",
        Format::Region => "eu-central-1",
        Format::ServiceAccount => SERVICE_ACCOUNT,
    }
}

fn leased(lease: &Lease, field: &Field) -> Option<Vec<u8>> {
    if field.secret {
        let secret = lease.secret(&field.name);
        return secret.map(|secret| secret.expose().to_vec());
    }
    let parameter = lease.parameters().get(&field.name);
    parameter.map(|parameter| parameter.clone().into_bytes())
}

fn check_lease(lease: &Lease, place: &Place, given: &[u8]) {
    assert_no_canary(&format!("{lease:?}"), "the debug output of a lease");
    assert!(!lease.hosts().is_empty());
    let Some(value) = leased(lease, place.field) else {
        // An empty public value removes the field.
        assert!(!place.field.secret && given.is_empty());
        return;
    };
    if given.is_empty() {
        return;
    }
    let value = String::from_utf8(value).expect("an accepted value is text");
    let given = std::str::from_utf8(given).expect("an accepted value is text");
    assert!(!value.is_empty());
    match place.field.format {
        Format::Token => {
            assert!(value.bytes().all(|byte| byte.is_ascii_graphic()));
            assert!(given.contains(&value));
        }
        Format::Url => {
            let authority = check_url(&value);
            assert_eq!(lease.hosts(), [authority]);
            assert_eq!(lease.base_url(), Some(value.as_str()));
        }
        Format::Region => {
            let is_valid = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            assert!(value.len() <= 63 && value.chars().all(is_valid) && !value.starts_with('-'));
        }
        Format::ServiceAccount => {
            let account: Value = serde_json::from_str(&value).expect("it is JSON");
            assert_eq!(account["type"], "service_account");
            assert!(account["project_id"].is_string() && account["client_email"].is_string());
            assert!(account["private_key"].is_string());
            let token_uri = account["token_uri"].as_str();
            assert!(token_uri.is_none_or(|uri| {
                uri.starts_with("https://oauth2.googleapis.com/")
                    || uri.starts_with("https://accounts.google.com/")
            }));
        }
    }
}

/// The host and port of a URL.
fn check_url(url: &str) -> String {
    assert!(url.bytes().all(|byte| byte.is_ascii_graphic()), "{url:?}");
    assert!(!url.contains(['?', '#', '\\']) && !url.ends_with('/'));
    let (scheme, rest) = url.split_once("://").expect("it has a scheme");
    let authority = rest.split('/').next().unwrap_or_default();
    assert!(!authority.is_empty() && !authority.contains('@'));
    let is_allowed = match scheme {
        "https" => true,
        "http" => is_this_machine(authority),
        _ => false,
    };
    assert!(is_allowed, "{url:?}");
    authority.to_owned()
}

fn is_this_machine(authority: &str) -> bool {
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port),
        _ => (authority, ""),
    };
    let name = host.trim_matches(['[', ']']);
    let address: Option<IpAddr> = name.parse().ok();
    port.bytes().all(|byte| byte.is_ascii_digit())
        && (name == "localhost" || address.is_some_and(|address| address.is_loopback()))
}
