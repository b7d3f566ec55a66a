//! Validates and normalizes the values of a credential.
//!
//! A value is never checked by a vendor's key prefix: vendors change them. Rejects what no
//! vendor issues and what would do harm later: control characters and line breaks, which
//! could forge a header; the mask that [`mask`] shows in place of a secret, pasted back.

use entail_store::Secret;

use crate::change::service_account;
use crate::error::invalid_value::InvalidValue;
use crate::urls::canonical_url;
use entail_decision::provider::{Field, Format};

/// The longest value; no vendor's is longer.
const MAX_VALUE_BYTES: usize = 16 * 1024;

/// Validates a value for `field` and returns it in its canonical form.
///
/// # Errors
///
/// [`InvalidValue`] names the field and the rule.
pub fn normalize_value(field: &Field, value: &Secret) -> Result<Secret, InvalidValue> {
    Ok(normalize(field, value, false)?.value)
}

/// A normalized value.
pub(crate) struct Normalized {
    /// The value in its canonical form.
    pub(crate) value: Secret,
    /// What was changed, for the user.
    pub(crate) note: Option<&'static str>,
}

/// Validates a value for `field` and normalizes it. With `allows_http` a URL may use plain
/// HTTP to another machine of a private network.
///
/// # Errors
///
/// [`InvalidValue`] names the field and the rule.
pub(crate) fn normalize(
    field: &Field,
    value: &Secret,
    allows_http: bool,
) -> Result<Normalized, InvalidValue> {
    let invalid = |rule: &str| InvalidValue::new(&field.name, rule);
    if value.len() > MAX_VALUE_BYTES {
        return Err(invalid("it has more than 16,384 bytes"));
    }
    let text = value
        .expose_text()
        .ok_or_else(|| invalid("it is not UTF-8 text"))?;
    // Some editors save a byte order mark.
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
            "this sets a variable, like a line of a .env file; give only the value after the =, \
             without quotes",
        ));
    }
    if !is_json && is_quoted(trimmed) {
        return Err(invalid("it is in quotes; give it without them"));
    }
    if !is_json && trimmed.starts_with(['{', '[']) {
        return Err(invalid("it looks like JSON; give a single value"));
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
    // A file or a pipe normally ends with a line break.
    let note = (surrounded && text.trim_end_matches(['\n', '\r']) != trimmed)
        .then_some("white space around the value was removed");
    Ok(Normalized { value, note })
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
    let is_allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if text.len() > 63 || text.starts_with('-') || !text.bytes().all(is_allowed) {
        return Err("it takes a-z, 0-9 and -, as in eu-central-1");
    }
    Ok(Secret::from(text))
}

/// Whether the text assigns a variable, like a line of a `.env` file or a shell script.
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
        let is_allowed = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.chars().all(is_allowed);
        // Base64 has = only at its end.
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

/// What is shown in place of a secret: its last four characters if it is long enough for
/// them to reveal nothing, otherwise none.
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
    use crate::error::hint::Hint;
    use crate::urls::unsafe_url;
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

    fn normalized(field: &Field, text: &str) -> Result<String, String> {
        match normalize(field, &Secret::from(text), false) {
            Ok(normalized) => Ok(normalized.value.expose_text().unwrap().to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn a_key_is_trimmed_with_a_note_and_harmful_keys_are_rejected() {
        let key = field("openai", "api_key");
        let with_spaces =
            normalize(&key, &Secret::from("  canary-value-1 "), false).unwrap_or_else(|_| panic!());
        assert_eq!(with_spaces.value.expose(), b"canary-value-1");
        assert!(with_spaces.note.is_some());
        let piped =
            normalize(&key, &Secret::from("canary-value-1\n"), false).unwrap_or_else(|_| panic!());
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
            assert!(normalized(&key, bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn an_error_reveals_nothing_of_the_value() {
        let key = field("openai", "api_key");
        let error = normalized(&key, "canary value\n2").unwrap_err();
        assert!(!error.contains("canary"), "{error}");
        let account = field("vertex-ai", "service_account_json");
        let error = normalized(&account, r#"{"type": "canary-value-3"}"#).unwrap_err();
        assert!(!error.contains("canary"), "{error}");
    }

    #[test]
    fn a_base_url_has_one_canonical_form() {
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
            assert_eq!(normalized(&url, given).unwrap(), canonical);
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
            assert!(normalized(&url, bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_line_of_an_env_file_and_a_quoted_value_are_rejected() {
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
            let error = normalized(&key, bad).unwrap_err();
            assert!(!error.contains("canary"), "{error}");
        }
        for good in [
            "sk-canary==",
            "c2tfY2FuYXJ5",
            "c2tfY2Fu_YXJ5=",
            "a\"b",
            "abc=def",
        ] {
            assert_eq!(normalized(&key, good).unwrap(), good);
        }
        let account = field("vertex-ai", "service_account_json");
        let error = normalized(&account, "ACCOUNT='{\"type\": \"service_account\"}'").unwrap_err();
        assert!(error.contains(".env"), "{error}");
    }

    #[test]
    fn plain_http_is_allowed_to_this_machine_or_where_allowed_to_a_private_network() {
        let url = field("litellm", "base_url");
        let check = |text: &str, allows| normalize(&url, &Secret::from(text), allows).map(drop);
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
            let error = check(private, false).unwrap_err();
            assert_eq!(error.hint(), Some(&Hint::AllowUnsafeHttp), "{error}");
            check(private, true).unwrap();
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
            assert!(check(public, true).is_err(), "{public}");
        }
        for harmless in ["http://127.0.0.1:4000", "https://litellm:4000"] {
            check(harmless, false).unwrap();
            let parameters = [("base_url".to_owned(), harmless.to_owned())].into();
            assert_eq!(unsafe_url(&parameters), None);
        }
    }

    #[test]
    fn a_mask_shows_only_the_end_of_long_values() {
        assert_eq!(
            mask(&Secret::from("canary-value-0123456789abcd")),
            "••••abcd"
        );
        assert_eq!(mask(&Secret::from("short")), "••••");
    }
}
