//! Service account keys, in any form in which they are commonly pasted.
//!
//! Clipboards, shells, variables and `.env` files change a key: quotes around it, `\n` in
//! place of line breaks or the reverse, doubled backslashes, base64, line breaks of another
//! system, a byte order mark. The result is the original JSON, with the private key in the
//! form of RFC 7468, which Google's clients accept. A key that arrives intact is kept byte
//! by byte.
//!
//! # Security
//!
//! Memory is linear in the length of the text, which the caller limits: each of at most
//! [`MAX_WRAPPINGS`] steps makes it shorter, or escapes what JSON requires to be escaped.
//! No error contains any part of it.

use std::borrow::Cow;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use entail_store::Secret;
use entail_text::strict;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use zeroize::Zeroizing;

/// The most wrappings around a key: base64 of a quoted, twice escaped text is more than
/// anybody pastes.
const MAX_WRAPPINGS: usize = 5;

/// The length of a line of a private key, by RFC 7468.
const LINE_CHARS: usize = 64;

/// The labels of a private key in PEM form: PKCS #8 and PKCS #1.
const LABELS: [&str; 2] = ["PRIVATE KEY", "RSA PRIVATE KEY"];

/// Accepts base64 with or without padding.
const ANY_PADDING: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);

/// The required fields of a service account key.
#[derive(Deserialize)]
struct ServiceAccount<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    project_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    client_email: Option<Cow<'a, str>>,
    /// The raw JSON, with its quotes.
    #[serde(borrow)]
    private_key: Option<&'a RawValue>,
    #[serde(borrow)]
    token_uri: Option<Cow<'a, str>>,
}

/// The canonical form of a service account key. Fails with the reason if it is invalid.
pub(crate) fn canonical(text: &str) -> Result<Secret, String> {
    let json = unwrapped(text, MAX_WRAPPINGS)?;
    let account = parse(&json)?;
    if account.kind != "service_account" {
        return Err("its type is not service_account".to_owned());
    }
    let missing = |name: &str| format!("its {name} is missing");
    if account.project_id.is_none() {
        return Err(missing("project_id"));
    }
    if account.client_email.is_none() {
        return Err(missing("client_email"));
    }
    let written = account.private_key.ok_or_else(|| missing("private_key"))?;
    // The signed token request goes there.
    match account.token_uri.as_deref() {
        None
        | Some(
            "https://oauth2.googleapis.com/token" | "https://accounts.google.com/o/oauth2/token",
        ) => {}
        Some(_) => return Err("its token_uri is not Google's".to_owned()),
    }
    let key = serde_json::from_str::<String>(written.get())
        .map(Zeroizing::new)
        .map_err(|_| "its private_key is not a text".to_owned())?;
    let pem =
        private_key(&key).ok_or("its private_key is not in PEM form, or not all of it is there")?;
    if *pem == *key {
        return Ok(Secret::from(json.as_str()));
    }
    let pem = Zeroizing::new(serde_json::to_string(&*pem).map_err(|error| error.to_string())?);
    with_private_key(&json, written.get(), &pem)
        .ok_or_else(|| "its private_key could not be corrected".to_owned())
}

/// The project of a service account key.
pub(crate) fn project(json: &Secret) -> Option<String> {
    parse(json.expose_text()?)
        .ok()?
        .project_id
        .map(Cow::into_owned)
}

fn parse(json: &str) -> Result<ServiceAccount<'_>, String> {
    // The parser's own message could quote the text.
    strict::from_str(json).map_err(|error| {
        format!(
            "it is not the JSON of a service account (line {})",
            error.line()
        )
    })
}

/// Replaces the private key of the JSON object; both keys are raw JSON.
fn with_private_key(json: &str, written: &str, key: &str) -> Option<Secret> {
    // By position, since another member may have the same text.
    let start = (written.as_ptr() as usize).checked_sub(json.as_ptr() as usize)?;
    let (before, after) = (json.get(..start)?, json.get(start + written.len()..)?);
    let joined = Zeroizing::new([before, key, after].concat());
    Some(Secret::from(joined.as_str()))
}

/// The JSON object in a text that may have been wrapped in other forms.
fn unwrapped(text: &str, wrappings: usize) -> Result<Zeroizing<String>, String> {
    let text = text.trim_start_matches('\u{feff}').trim();
    let Some(wrappings) = wrappings.checked_sub(1) else {
        return Err("it is not the JSON of a service account".to_owned());
    };
    if text.starts_with('{') {
        return object(text, wrappings);
    }
    if let Some(inner) = without_quotes(text) {
        // A JSON string, or a text in quotes that a shell would have removed.
        let escaped = serde_json::from_str::<String>(text).map(Zeroizing::new);
        return match escaped {
            Ok(inner) => unwrapped(&inner, wrappings),
            Err(_) => unwrapped(inner, wrappings),
        };
    }
    let packed: Zeroizing<Vec<u8>> = text
        .bytes()
        .filter(|byte| !byte.is_ascii_whitespace())
        .map(|byte| match byte {
            b'-' => b'+',
            b'_' => b'/',
            other => other,
        })
        .collect::<Vec<u8>>()
        .into();
    let inner = GeneralPurpose::new(&alphabet::STANDARD, ANY_PADDING)
        .decode(&packed)
        .map(Zeroizing::new)
        .map_err(|_| "it is neither JSON nor base64 of JSON")?;
    let inner = str::from_utf8(&inner).map_err(|_| "it is base64, but not of JSON")?;
    unwrapped(inner, wrappings)
}

/// A text between two quotes of the same kind.
fn without_quotes(text: &str) -> Option<&str> {
    ['"', '\'', '`']
        .iter()
        .find_map(|quote| text.strip_prefix(*quote)?.strip_suffix(*quote))
}

/// A text that begins like an object.
fn object(text: &str, wrappings: usize) -> Result<Zeroizing<String>, String> {
    let is_json = |text: &str| serde_json::from_str::<IgnoredAny>(text).is_ok();
    if is_json(text) {
        return match strict::from_str::<IgnoredAny>(text) {
            Ok(_) => Ok(Zeroizing::new(text.to_owned())),
            Err(_) => Err("a member of it is there twice".to_owned()),
        };
    }
    let escaped = with_escapes(text);
    if is_json(&escaped) {
        return object(&escaped, wrappings);
    }
    let plain = without_escapes(text);
    if *plain != *text {
        return unwrapped(&plain, wrappings);
    }
    // Only the line number; no part of the text.
    parse(text).map(|_| Zeroizing::new(text.to_owned()))
}

/// Escapes line breaks and tabs within JSON strings, where something unescaped them.
fn with_escapes(text: &str) -> Zeroizing<String> {
    // The most it can become, so that reallocation leaves no copy behind.
    let mut escaped = Zeroizing::new(String::with_capacity(text.len() * 2));
    let mut is_text = false;
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '"' => is_text = !is_text,
            '\\' => {
                escaped.push(character);
                escaped.extend(characters.next());
                continue;
            }
            '\n' if is_text => {
                escaped.push_str("\\n");
                continue;
            }
            '\t' if is_text => {
                escaped.push_str("\\t");
                continue;
            }
            '\r' if is_text => continue,
            _ => {}
        }
        escaped.push(character);
    }
    escaped
}

/// Resolves one level of escapes.
fn without_escapes(text: &str) -> Zeroizing<String> {
    let mut plain = Zeroizing::new(String::with_capacity(text.len()));
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        if character != '\\' {
            plain.push(character);
            continue;
        }
        match characters.next() {
            Some('n') => plain.push('\n'),
            Some('r') => plain.push('\r'),
            Some('t') => plain.push('\t'),
            Some(other) => plain.push(other),
            None => plain.push('\\'),
        }
    }
    plain
}

/// A private key with the line breaks of RFC 7468 and one at the end; `None` if it is not
/// a complete private key.
fn private_key(key: &str) -> Option<Zeroizing<String>> {
    if is_pem(key) {
        return Some(Zeroizing::new(key.to_owned()));
    }
    let plain = without_escapes(key);
    let (before, rest) = plain.split_once("-----BEGIN ")?;
    let (label, rest) = rest.split_once("-----")?;
    let (body, after) = rest.split_once("-----END ")?;
    let after = after.strip_prefix(label)?.strip_prefix("-----")?;
    let is_around = |text: &str| text.chars().all(|c| c.is_whitespace() || c == '\u{feff}');
    if !is_around(before) || !is_around(after) {
        return None;
    }
    let mut base64 = Zeroizing::new(String::with_capacity(body.len()));
    base64.extend(body.chars().filter(|c| !c.is_whitespace()));
    let mut pem = Zeroizing::new(String::with_capacity(
        base64.len() + base64.len() / LINE_CHARS + 2 * label.len() + 64,
    ));
    pem.push_str("-----BEGIN ");
    pem.push_str(label);
    pem.push_str("-----\n");
    let mut rest = base64.as_str();
    while !rest.is_empty() {
        let (line, next) = rest.split_at_checked(LINE_CHARS).unwrap_or((rest, ""));
        pem.push_str(line);
        pem.push('\n');
        rest = next;
    }
    pem.push_str("-----END ");
    pem.push_str(label);
    pem.push_str("-----\n");
    is_pem(&pem).then_some(pem)
}

/// Whether a private key is in strict PEM form: lines of base64 between the two labels.
fn is_pem(key: &str) -> bool {
    let Some(label) = key
        .strip_prefix("-----BEGIN ")
        .and_then(|rest| Some(rest.split_once("-----\n")?.0))
        .filter(|label| LABELS.contains(label))
    else {
        return false;
    };
    let body = key
        .trim_end_matches('\n')
        .strip_suffix("-----")
        .and_then(|rest| rest.strip_suffix(label))
        .and_then(|rest| rest.strip_suffix("-----END "))
        .and_then(|rest| Some(rest.split_once('\n')?.1));
    let is_base64 = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=');
    body.is_some_and(|body| {
        let mut lines = body.lines();
        !body.trim().is_empty()
            && body.ends_with('\n')
            && lines.all(|line| (1..=76).contains(&line.len()) && line.bytes().all(is_base64))
    })
}

#[cfg(test)]
mod tests {
    use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
    use serde_json::{Value, json};

    use super::*;

    const BODY: &str =
        "Y2FuYXJ5Y2FuYXJ5Y2FuYXJ5Y2FuYXJ5Y2FuYXJ5Y2FuYXJ5Y2FuYXJ5Y2FuYXJ5\nY2FuYXJ5Y2Fu";

    fn account() -> Value {
        json!({
            "type": "service_account", "project_id": "p1", "client_email": "a@p1.example",
            "private_key": format!("-----BEGIN PRIVATE KEY-----\n{BODY}\n-----END PRIVATE KEY-----\n"),
            "token_uri": "https://oauth2.googleapis.com/token", "note": "a \"word\" with \\ in it",
        })
    }

    fn read(text: &str) -> Result<Value, String> {
        let json = canonical(text)?;
        Ok(serde_json::from_slice(json.expose()).unwrap())
    }

    #[test]
    fn an_intact_key_is_kept_byte_by_byte() {
        for text in [
            account().to_string(),
            format!("{:#}", account()),
            format!("{:#}", account()).replace('\n', "\r\n"),
        ] {
            assert_eq!(canonical(&text).unwrap().expose(), text.as_bytes());
            assert_eq!(project(&Secret::from(text)).unwrap(), "p1");
        }
    }

    #[test]
    fn changes_by_clipboards_and_shells_are_undone() {
        let pretty = format!("{:#}", account());
        let escaped = serde_json::to_string(&pretty).unwrap();
        let bare = escaped.trim_matches('"').to_owned();
        let twice = serde_json::to_string(&bare).unwrap();
        let key = account()["private_key"].as_str().unwrap().to_owned();
        let with_key = |key: String| {
            let mut account = account();
            account["private_key"] = key.into();
            account.to_string()
        };
        for text in [
            format!("\u{feff}{pretty}\n"),
            format!("'{pretty}'"),
            format!("\"{pretty}\""),
            escaped.clone(),
            bare,
            twice,
            BASE64_STANDARD.encode(&pretty),
            BASE64_URL_SAFE_NO_PAD.encode(&pretty),
            BASE64_STANDARD.encode(format!("\u{feff}{escaped}")),
            BASE64_STANDARD
                .encode(&pretty)
                .chars()
                .fold(String::new(), |lines, c| match lines.len() % 77 {
                    76 => lines + "\n" + &c.to_string(),
                    _ => lines + &c.to_string(),
                }),
            // Unescaped by `echo -e`: the line breaks of the key are real ones.
            pretty.replace("\\n", "\n"),
            pretty.replace("\\n", "\r\n"),
            with_key(key.replace('\n', "\\n")),
            with_key(key.replace('\n', "\r\n")),
            with_key(key.replace('\n', " ")),
            with_key(format!("  {key}")),
        ] {
            assert_eq!(read(&text).unwrap(), account(), "{text}");
        }
    }

    #[test]
    fn a_partial_key_and_another_kind_of_key_are_rejected_without_quoting_them() {
        let text = account().to_string();
        let with = |name: &str, value: Value| {
            let mut account = account();
            account[name] = value;
            account.to_string()
        };
        let cut = account()["private_key"].as_str().unwrap()[..60].to_owned();
        for (what, text) in [
            ("another type", with("type", json!("authorized_user"))),
            ("no project", text.replace("project_id", "project")),
            ("half a private key", with("private_key", json!(cut))),
            ("no private key", with("private_key", Value::Null)),
            ("a public key", text.replace("PRIVATE KEY", "PUBLIC KEY")),
            (
                "a foreign token URI",
                with("token_uri", json!("https://example.com/token")),
            ),
            (
                "a member twice",
                text.replacen('{', r#"{"private_key": "x", "#, 1),
            ),
            ("the first half", text[..text.len() / 2].to_owned()),
            ("not JSON", "nonsense".to_owned()),
            (
                "base64 of something else",
                BASE64_STANDARD.encode("nonsense"),
            ),
            ("quotes alone", "\"".to_owned()),
            ("quotes in quotes", "'\"'\"'\"'\"".to_owned()),
        ] {
            let error = canonical(&text).map(|_| ()).expect_err(what);
            assert!(!error.contains("Y2Fu"), "{what}: {error}");
        }
    }
}
