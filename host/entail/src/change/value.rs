//! The values of a credential, checked as they come in.
//!
//! Never by a key's prefix: vendors change them. What is refused is what cannot
//! be a value of any vendor, or would do harm on its way out: control
//! characters and line breaks, which could forge a header; the mask that
//! [`mask`] puts in a secret's place, pasted back.

use std::collections::BTreeMap;

use entail_store::Secret;
use url::{Host, Url};

use crate::change::service_account;
use crate::documents::scope::Credential;
use crate::error::hint::Hint;
use crate::error::invalid_value::InvalidValue;
use entail_decision::provider::{Field, Format, Provider};

/// No vendor's value is longer.
const MAX_VALUE_BYTES: usize = 16 * 1024;

/// Validates a value for `field` and returns it in its canonical form.
///
/// # Errors
///
/// [`InvalidValue`] names the field and the rule.
pub fn normalize_value(field: &Field, value: &Secret) -> Result<Secret, InvalidValue> {
    Ok(take(field, value, false)?.value)
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

/// Checks a value for `field` and brings it into its canonical form. `allows_http` says
/// that a URL may lead to another machine of a private network over plain HTTP.
///
/// # Errors
///
/// [`InvalidValue`] names the field and the rule.
pub fn take(field: &Field, value: &Secret, allows_http: bool) -> Result<Taken, InvalidValue> {
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
    let is_json = field.format == Format::ServiceAccount;
    if !(is_json && trimmed.starts_with('{')) && is_assignment(trimmed) {
        return Err(invalid(
            "this sets a variable, as a line of a .env file does; give only the value, \
             which is what stands after the =, without quotes",
        ));
    }
    if !is_json && is_quoted(trimmed) {
        return Err(invalid("it is in quotes; give it without them"));
    }
    if !is_json && trimmed.starts_with(['{', '[']) {
        return Err(invalid("it looks like JSON, and a single value is wanted"));
    }
    let value = match field.format {
        Format::Token => token(trimmed).map_err(invalid)?,
        Format::Url => Secret::from(canonical_url(&field.name, trimmed, allows_http)?.as_str()),
        Format::Region => region(trimmed).map_err(invalid)?,
        Format::ServiceAccount => {
            service_account::canonical(trimmed).map_err(|rule| invalid(&rule))?
        }
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
    if text.starts_with("~/") {
        return Err("it is the path of a file; give what is in that file");
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

/// Where a host is, as far as its name or address tells.
#[derive(Clone, Copy, PartialEq)]
enum Place {
    ThisMachine,
    PrivateNetwork,
    Elsewhere,
}

/// The ends of names that no public name server knows: of services in a cluster
/// (`svc`), of multicast DNS (RFC 6762), and those that are set aside for private use
/// (`internal`, RFC 8375).
const PRIVATE_DOMAINS: [&str; 4] = [".svc", ".local", ".internal", ".home.arpa"];

fn place(host: &Host<&str>) -> Place {
    let is_loopback = match host {
        Host::Domain(name) => *name == "localhost",
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
    };
    let is_private = match host {
        Host::Domain(name) => {
            !name.contains('.') || PRIVATE_DOMAINS.iter().any(|end| name.ends_with(end))
        }
        // Not the link-local ones: cloud machines are asked for their credentials there.
        Host::Ipv4(address) => {
            let [first, second, ..] = address.octets();
            let is_shared = first == 100 && (64..128).contains(&second);
            address.is_private() || is_shared
        }
        Host::Ipv6(address) => address.is_unique_local(),
    };
    match (is_loopback, is_private) {
        (true, _) => Place::ThisMachine,
        (_, true) => Place::PrivateNetwork,
        _ => Place::Elsewhere,
    }
}

/// Rejects plain HTTP to this host of a private network, which must be allowed
/// explicitly.
pub(crate) fn plain_http(field: &str, host: &str) -> InvalidValue {
    let rule = format!(
        "plain HTTP to {host} shows the secret to everybody on the network; use https, or allow \
         plain HTTP if that network is trusted"
    );
    InvalidValue::new(field, rule).with_hint(Hint::AllowUnsafeHttp)
}

/// The parameter that is a URL of another machine over plain HTTP: its name, and the URL.
/// Which of them are URLs does not matter, so that the answer does not depend on the
/// provider file.
pub(crate) fn unsafe_url(parameters: &BTreeMap<String, String>) -> Option<(&str, &str)> {
    parameters.iter().find_map(|(name, text)| {
        let url = Url::parse(text).ok()?;
        let is_unsafe = url.scheme() == "http" && place(&url.host()?) != Place::ThisMachine;
        is_unsafe.then_some((name.as_str(), text.as_str()))
    })
}

/// The one spelling of a base URL: https (or http on this machine, or, if that is
/// allowed, in a private network), without user, query or fragment, and without a slash
/// at the end.
fn canonical_url(field: &str, text: &str, allows_http: bool) -> Result<String, InvalidValue> {
    let invalid = |rule: &str| InvalidValue::new(field, rule);
    let url = Url::parse(text).map_err(|error| invalid(&format!("it is not a URL: {error}")))?;
    let host = url.host().ok_or_else(|| invalid("it has no host"))?;
    match (url.scheme(), place(&host)) {
        ("https", _) | ("http", Place::ThisMachine) => {}
        ("http", Place::PrivateNetwork) if allows_http => {}
        ("http", Place::PrivateNetwork) => return Err(plain_http(field, &host.to_string())),
        _ => {
            return Err(invalid(
                "it must be https; http is for this machine and, where it is allowed, for the \
                 names and addresses of a private network",
            ));
        }
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(invalid(
            "it contains a user or a password, which would end up in logs",
        ));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(invalid(
            "it has a query or a fragment; a base URL has neither",
        ));
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

/// Where the API is for a credential: its own URL, else the provider's.
pub(crate) fn base_url(provider: &Provider, credential: &Credential) -> Option<String> {
    let parameters = &credential.version.parameters;
    let mut urls = provider
        .fields
        .iter()
        .filter(|field| field.format == Format::Url);
    match urls.find_map(|field| parameters.get(&field.name)) {
        Some(own) => Some(own.clone()),
        None => provider.base_url(parameters),
    }
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

/// Whether a text is a line, or several, of a `.env` file or a shell that sets a
/// variable, in place of the variable's value.
fn is_assignment(text: &str) -> bool {
    text.lines().any(|line| {
        let line = line.trim();
        let bare = ["export ", "set ", "setx ", "$env:", "$Env:"]
            .iter()
            .find_map(|prefix| line.strip_prefix(prefix));
        let Some((name, value)) = bare.unwrap_or(line).split_once('=') else {
            return false;
        };
        let name = name.trim();
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.chars().all(fits);
        // Base64 has = at its end only.
        let has_value = value.trim().chars().any(|c| c != '=');
        let is_variable = name.contains('_') || !name.contains(|c: char| c.is_ascii_lowercase());
        is_name && has_value && (is_variable || bare.is_some())
    })
}

/// Whether the first character and the last are the same quote.
fn is_quoted(text: &str) -> bool {
    ['"', '\'', '`'].iter().any(|quote| {
        text.strip_prefix(*quote)
            .is_some_and(|rest| rest.ends_with(*quote))
    })
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
    use entail_decision::provider::Catalog;

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
        match take(field, &Secret::from(text), false) {
            Ok(taken) => Ok(taken.value.expose_text().unwrap().to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn a_key_is_trimmed_with_a_word_and_harmful_ones_are_refused() {
        let key = field("openai", "api_key");
        let with_spaces =
            take(&key, &Secret::from("  canary-value-1 "), false).unwrap_or_else(|_| panic!());
        assert_eq!(with_spaces.value.expose(), b"canary-value-1");
        assert!(with_spaces.note.is_some());
        let piped =
            take(&key, &Secret::from("canary-value-1\n"), false).unwrap_or_else(|_| panic!());
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
    fn a_line_of_an_env_file_and_a_quoted_value_are_no_keys() {
        let key = field("openai", "api_key");
        for bad in [
            "OPENAI_API_KEY=sk-canary",
            "OPENAI_API_KEY=\"sk-canary\"",
            "export OPENAI_API_KEY='sk-canary'",
            "export key=sk-canary",
            "set OPENAI_API_KEY=sk-canary",
            "$env:OPENAI_API_KEY=\"sk-canary\"",
            "KEY = sk-canary",
            "# keys\nOPENAI_API_KEY=sk-canary\nOTHER=1",
            "\"sk-canary\"",
            "'sk-canary'",
            "{\"api_key\":\"sk-canary\"}",
            "~/canary.txt",
        ] {
            let error = taken(&key, bad).unwrap_err();
            assert!(!error.contains("canary"), "{error}");
        }
        for good in [
            "sk-canary==",
            "c2tfY2FuYXJ5",
            "c2tfY2Fu_YXJ5=",
            "a\"b",
            "abc=def",
        ] {
            assert_eq!(taken(&key, good).unwrap(), good);
        }
        let account = field("vertex-ai", "service_account_json");
        let error = taken(&account, "ACCOUNT='{\"type\": \"service_account\"}'").unwrap_err();
        assert!(error.contains(".env"), "{error}");
    }

    #[test]
    fn plain_http_is_for_this_machine_or_where_it_is_allowed_for_a_private_network() {
        let url = field("litellm", "base_url");
        let take = |text: &str, allows| take(&url, &Secret::from(text), allows).map(drop);
        for private in [
            "http://litellm:4000",
            "http://litellm.models.svc:4000",
            "http://litellm.models.svc.cluster.local",
            "http://host.docker.internal:4000",
            "http://10.1.2.3:4000",
            "http://172.16.0.1",
            "http://192.168.1.5",
            "http://[fd00::1]:4000",
        ] {
            let error = take(private, false).unwrap_err();
            assert_eq!(error.hint(), Some(&Hint::AllowUnsafeHttp), "{error}");
            take(private, true).unwrap();
            let parameters = [("base_url".to_owned(), private.to_owned())].into();
            assert!(unsafe_url(&parameters).is_some(), "{private}");
        }
        for public in [
            "http://example.com",
            "http://8.8.8.8",
            "http://169.254.169.254",
            "http://[2001:db8::1]",
            "http://svc.example.com",
        ] {
            assert!(take(public, true).is_err(), "{public}");
        }
        for harmless in ["http://127.0.0.1:4000", "https://litellm:4000"] {
            take(harmless, false).unwrap();
            let parameters = [("base_url".to_owned(), harmless.to_owned())].into();
            assert_eq!(unsafe_url(&parameters), None);
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
        let bedrock = hosts_of("bedrock", &[("region", "eu-central-1")]).unwrap();
        assert!(bedrock.contains(&"bedrock-runtime.eu-central-1.amazonaws.com".to_owned()));
        assert!(
            bedrock.iter().all(|host| host.contains(".eu-central-1.")),
            "{bedrock:?}"
        );
        assert!(hosts_of("bedrock", &[]).is_err());
    }
}
