//! The values of a credential, checked as they come in.
//!
//! Never by a key's prefix: vendors change them. What is refused is what cannot
//! be a value of any vendor, or would do harm on its way out: control
//! characters and line breaks, which could forge a header; the mask that
//! [`mask`] puts in a secret's place, pasted back.

use std::borrow::Cow;
use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use entail_store::Secret;
use entail_text::sanitized;
use serde::Deserialize;
use url::{Host, Url};
use zeroize::Zeroizing;

use crate::provider::{Field, Format, Provider};

/// No vendor's value is longer.
const MAX_VALUE_BYTES: usize = 16 * 1024;

/// Why a value was not taken. No message contains anything of a value that
/// could be a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {}", sanitized(.field), sanitized(.rule))]
pub struct InvalidValue {
    field: String,
    rule: String,
}

impl InvalidValue {
    pub(crate) fn new(field: &str, rule: impl Into<String>) -> Self {
        InvalidValue {
            field: field.to_owned(),
            rule: rule.into(),
        }
    }
}

impl InvalidValue {
    /// The rule that the value breaks, without the name of the field.
    pub fn rule(&self) -> &str {
        &self.rule
    }
}

impl Field {
    /// Checks a value for this field, and returns it in its canonical form.
    ///
    /// # Errors
    ///
    /// [`InvalidValue`] names the field and the rule.
    pub fn normalize(&self, value: &Secret) -> Result<Secret, InvalidValue> {
        Ok(take(self, value)?.value)
    }
}

/// A value that was taken, and what was done to it.
#[derive(Clone)]
#[allow(missing_debug_implementations)] // holds a secret
pub struct Taken {
    /// The value in its canonical form.
    pub value: Secret,
    /// What a person should be told of it.
    pub note: Option<&'static str>,
}

/// Checks a value for `field` and brings it into its canonical form.
///
/// # Errors
///
/// [`InvalidValue`] names the field and the rule.
pub fn take(field: &Field, value: &Secret) -> Result<Taken, InvalidValue> {
    let invalid = |rule: &str| InvalidValue::new(&field.name, rule);
    if value.len() > MAX_VALUE_BYTES {
        return Err(invalid("it has more than 16,384 bytes"));
    }
    let text = value
        .expose_text()
        .ok_or_else(|| invalid("it is not UTF-8 text"))?;
    // Some editors put a byte order mark before what they save.
    let trimmed = text.trim_start_matches('\u{feff}').trim();
    if trimmed.is_empty() {
        return Err(invalid("it is empty"));
    }
    if trimmed
        .chars()
        .all(|c| matches!(c, '*' | '•' | '…' | '.' | 'x' | 'X'))
        || trimmed.contains('•')
    {
        return Err(invalid(
            "this is the mask shown in place of a value, not the value",
        ));
    }
    let value = match field.format {
        Format::Token => token(trimmed).map_err(invalid)?,
        Format::Url => Secret::from(
            canonical_url(trimmed)
                .map_err(|rule| invalid(&rule))?
                .as_str(),
        ),
        Format::Region => region(trimmed).map_err(invalid)?,
        Format::ServiceAccount => service_account(trimmed).map_err(|rule| invalid(&rule))?,
    };
    let surrounded = trimmed.len() != text.len() && field.format != Format::ServiceAccount;
    // A file or a pipe ends with a line break as a matter of course.
    let note = (surrounded && text.trim_end_matches(['\n', '\r']) != trimmed)
        .then_some("white space around the value was removed");
    Ok(Taken { value, note })
}

fn token(text: &str) -> Result<Secret, &'static str> {
    if text.chars().any(char::is_control) {
        return Err("it contains a control character or a line break");
    }
    if text.chars().any(char::is_whitespace) {
        return Err("it contains white space");
    }
    if !text.is_ascii() {
        return Err("it contains characters that no HTTP header can carry");
    }
    Ok(Secret::from(text))
}

fn region(text: &str) -> Result<Secret, &'static str> {
    let fit = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if text.len() > 63 || text.starts_with('-') || !text.bytes().all(fit) {
        return Err("it takes a-z, 0-9 and -, as in eu-central-1");
    }
    Ok(Secret::from(text))
}

/// The one spelling of a base URL: https (or http on this machine), without
/// user, query or fragment, and without a slash at the end.
fn canonical_url(text: &str) -> Result<String, String> {
    let url = Url::parse(text).map_err(|error| format!("it is not a URL: {error}"))?;
    let local = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => return Err("it has no host".to_owned()),
    };
    if url.scheme() != "https" && !(url.scheme() == "http" && local) {
        return Err("it must be https; http is for this machine only".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("it contains a user or a password, which would end up in logs".to_owned());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("it has a query or a fragment; a base URL has neither".to_owned());
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

/// The host of a canonical URL, with the port if it is not the scheme's own.
pub(crate) fn host_of(url: &str) -> Option<String> {
    let url = Url::parse(url).ok()?;
    let host = url.host_str()?;
    Some(match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    })
}

/// The parts of a service account key without which it is none.
#[derive(Deserialize)]
struct ServiceAccount<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    project_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    client_email: Option<Cow<'a, str>>,
    #[serde(borrow)]
    private_key: Option<Cow<'a, str>>,
    #[serde(borrow)]
    token_uri: Option<Cow<'a, str>>,
}

/// Takes a service account key as JSON or as the same in base64.
fn service_account(text: &str) -> Result<Secret, String> {
    if text.starts_with('{') {
        check_service_account(text)?;
        return Ok(Secret::from(text));
    }
    let packed: Zeroizing<Vec<u8>> = text
        .bytes()
        .filter(|byte| !byte.is_ascii_whitespace())
        .collect::<Vec<u8>>()
        .into();
    let json = BASE64_STANDARD
        .decode(&packed)
        .map(|json| Secret::new(&Zeroizing::new(json)))
        .map_err(|_| "it is neither JSON nor base64 of JSON")?;
    let text = json.expose_text().ok_or("it is base64, but not of JSON")?;
    check_service_account(text)?;
    Ok(json)
}

fn check_service_account(text: &str) -> Result<(), String> {
    // The parser's own message could quote the text.
    let account: ServiceAccount<'_> = serde_json::from_str(text).map_err(|error| {
        format!(
            "it is not the JSON of a service account (line {})",
            error.line()
        )
    })?;
    if account.kind != "service_account" {
        return Err("its type is not service_account".to_owned());
    }
    let missing = [
        ("project_id", account.project_id.is_none()),
        ("client_email", account.client_email.is_none()),
        ("private_key", account.private_key.is_none()),
    ];
    if let Some((name, _)) = missing.into_iter().find(|(_, missing)| *missing) {
        return Err(format!("its {name} is missing"));
    }
    if !account
        .private_key
        .is_some_and(|key| key.contains("PRIVATE KEY-----"))
    {
        return Err("its private_key is not in PEM form".to_owned());
    }
    // The signed token request goes there.
    match account.token_uri.as_deref() {
        None
        | Some(
            "https://oauth2.googleapis.com/token" | "https://accounts.google.com/o/oauth2/token",
        ) => Ok(()),
        Some(_) => Err("its token_uri is not Google's".to_owned()),
    }
}

/// The project that a service account key is of.
pub(crate) fn project_of(service_account: &Secret) -> Option<String> {
    let text = service_account.expose_text()?;
    let account: ServiceAccount<'_> = serde_json::from_str(text).ok()?;
    account.project_id.map(Cow::into_owned)
}

/// The hosts that a credential with these public parameters may be sent to: its
/// own URLs' if it has any, else the provider's. Sorted.
///
/// # Errors
///
/// When a parameter is missing that the provider's hosts depend on.
pub(crate) fn hosts(
    provider: &Provider,
    parameters: &BTreeMap<String, String>,
) -> Result<Vec<String>, InvalidValue> {
    let own: Vec<String> = provider
        .fields
        .iter()
        .filter(|field| field.format == Format::Url)
        .filter_map(|field| host_of(parameters.get(&field.name)?))
        .collect();
    // A template does not hold for the values that have a URL of their own.
    let special = provider
        .special_base_url(parameters)
        .map(|special| format!("{{{}}}", special.field));
    let holds = |template: &&String| {
        special
            .as_ref()
            .is_none_or(|field| !template.contains(field))
    };
    let mut hosts = if own.is_empty() {
        provider
            .hosts
            .iter()
            .filter(holds)
            .map(|template| provider.fill(template, parameters))
            .collect::<Option<Vec<String>>>()
            .ok_or_else(|| {
                InvalidValue::new("hosts", "they depend on a parameter that is missing")
            })?
    } else {
        own
    };
    hosts.sort();
    hosts.dedup();
    Ok(hosts)
}

/// What is shown in a secret's place: its last four characters if it is long
/// enough for them to tell nothing, else nothing of it.
pub fn mask(secret: &Secret) -> String {
    const SHOWN: usize = 4;
    const LONG_ENOUGH: usize = 20;
    let tail = secret
        .expose_text()
        .filter(|text| text.len() >= LONG_ENOUGH)
        .filter(|text| text.bytes().all(|byte| byte.is_ascii_graphic()))
        .and_then(|text| text.get(text.len() - SHOWN..));
    format!("••••{}", tail.unwrap_or(""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::Catalog;

    fn field(provider: &str, name: &str) -> Field {
        let catalog = Catalog::new(None).unwrap();
        catalog
            .get(&provider.parse().unwrap())
            .unwrap()
            .field(name)
            .unwrap()
            .clone()
    }

    fn taken(field: &Field, text: &str) -> Result<String, String> {
        match take(field, &Secret::from(text)) {
            Ok(taken) => Ok(taken.value.expose_text().unwrap().to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn a_key_is_trimmed_with_a_word_and_harmful_ones_are_refused() {
        let key = field("openai", "api_key");
        let with_spaces =
            take(&key, &Secret::from("  canary-value-1 ")).unwrap_or_else(|_| panic!());
        assert_eq!(with_spaces.value.expose(), b"canary-value-1");
        assert!(with_spaces.note.is_some());
        let piped = take(&key, &Secret::from("canary-value-1\n")).unwrap_or_else(|_| panic!());
        assert!(piped.note.is_none());
        for bad in [
            "",
            "  ",
            "a\nb",
            "a\rb",
            "a\0b",
            "a b",
            "\u{1b}[0m",
            "schlüssel",
            "••••abcd",
            "********",
            "xxxx",
        ] {
            assert!(taken(&key, bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn an_error_says_nothing_of_the_value() {
        let key = field("openai", "api_key");
        let error = taken(&key, "canary value\n2").unwrap_err();
        assert!(!error.contains("canary"), "{error}");
        let account = field("vertex-ai", "service_account_json");
        let error = taken(&account, r#"{"type": "canary-value-3"}"#).unwrap_err();
        assert!(!error.contains("canary"), "{error}");
    }

    #[test]
    fn a_base_url_has_one_spelling() {
        let url = field("openai", "base_url");
        for (given, canonical) in [
            (
                "https://EU.api.openai.com/v1/",
                "https://eu.api.openai.com/v1",
            ),
            ("https://example.com:443", "https://example.com"),
            ("http://localhost:4000/v1", "http://localhost:4000/v1"),
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ] {
            assert_eq!(taken(&url, given).unwrap(), canonical);
        }
        for bad in [
            "http://example.com",
            "https://user:pw@example.com",
            "https://example.com/?key=1",
            "https://example.com/#x",
            "ftp://example.com",
            "example.com",
            "https://",
        ] {
            assert!(taken(&url, bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_service_account_is_taken_as_json_or_base64_and_checked() {
        let account = field("vertex-ai", "service_account_json");
        let json = r#"{"type": "service_account", "project_id": "p1", "client_email": "a@p1.iam.gserviceaccount.com",
            "private_key": "-----BEGIN PRIVATE KEY-----\ncanary-value-4\n-----END PRIVATE KEY-----\n",
            "token_uri": "https://oauth2.googleapis.com/token"}"#;
        assert_eq!(taken(&account, json).unwrap(), json);
        let packed = BASE64_STANDARD.encode(json);
        assert_eq!(taken(&account, &packed).unwrap(), json);
        assert_eq!(project_of(&Secret::from(json)).unwrap(), "p1");
        for (what, bad) in [
            (
                "another type",
                json.replace("service_account\"", "authorized_user\""),
            ),
            ("no project", json.replace("project_id", "project")),
            ("no key", json.replace("PRIVATE KEY-----", "")),
            (
                "a stranger's token URI",
                json.replace("oauth2.googleapis.com", "example.com"),
            ),
            ("not JSON", "nonsense".to_owned()),
        ] {
            assert!(taken(&account, &bad).is_err(), "{what}");
        }
    }

    #[test]
    fn a_mask_shows_the_end_of_long_values_only() {
        assert_eq!(
            mask(&Secret::from("canary-value-0123456789abcd")),
            "••••abcd"
        );
        assert_eq!(mask(&Secret::from("short")), "••••");
    }

    #[test]
    fn hosts_follow_the_base_url_the_region_or_the_provider() {
        let catalog = Catalog::new(None).unwrap();
        let hosts_of = |provider: &str, parameters: &[(&str, &str)]| {
            let parameters = parameters
                .iter()
                .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
                .collect();
            hosts(
                catalog.get(&provider.parse().unwrap()).unwrap(),
                &parameters,
            )
        };
        assert!(
            hosts_of("openai", &[])
                .unwrap()
                .contains(&"eu.api.openai.com".to_owned())
        );
        assert_eq!(
            hosts_of("openai", &[("base_url", "https://proxy.example:8443/v1")]).unwrap(),
            ["proxy.example:8443"]
        );
        assert_eq!(
            hosts_of("bedrock", &[("region", "eu-central-1")]).unwrap(),
            [
                "bedrock-runtime.eu-central-1.amazonaws.com",
                "bedrock.eu-central-1.amazonaws.com"
            ]
        );
        assert!(hosts_of("bedrock", &[]).is_err());
    }
}
