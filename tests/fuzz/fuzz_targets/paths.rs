//! Names from command lines, requests and database rows: the path of a scope, the id of a
//! provider, the name of a credential, a model, the id of a credential.
//!
//! Checked: exactly the documented alphabet and length is accepted. An accepted text prints
//! unchanged and round-trips as text and as JSON. The parent, the chain and the depth of a
//! path agree. An error repeats only short texts, and contains no control characters.

#![no_main]

use std::fmt::{Debug, Display};
use std::str::FromStr;

use entail::{CredentialId, CredentialName, InvalidName, ModelId, ProviderId, ScopePath, quoted};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let segments: Vec<&str> = text.split('/').collect();
    let is_path = segments.len() <= 8 && segments.iter().all(|segment| is_segment(segment));
    if let Some(path) = check::<ScopePath>(text, is_path) {
        check_relations(&path, &segments);
    }
    check::<ProviderId>(text, is_segment(text));
    check::<CredentialName>(text, is_segment(text));
    let is_visible = |c: char| ('!'..='~').contains(&c);
    check::<ModelId>(
        text,
        (1..=256).contains(&text.len()) && text.chars().all(is_visible),
    );
    let digit = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
    check::<CredentialId>(text, text.len() == 32 && text.chars().all(digit));
});

/// The documented rule for a segment: `[a-z0-9][a-z0-9-]{0,62}`.
fn is_segment(text: &str) -> bool {
    let mut characters = text.chars();
    let alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.len() <= 63
        && characters.next().is_some_and(alphanumeric)
        && characters.all(|c| alphanumeric(c) || c == '-')
}

/// Checks that `text` is accepted as a `Name` exactly if it is valid. Returns the name.
fn check<Name>(text: &str, is_valid: bool) -> Option<Name>
where
    Name: FromStr<Err = InvalidName> + TryFrom<String> + Into<String>,
    Name: Clone + Debug + Display + PartialEq + serde::Serialize + serde::de::DeserializeOwned,
{
    let json = serde_json::to_string(text).expect("a text is JSON");
    let from_json: Option<Name> = serde_json::from_str(&json).ok();
    let from_string = Name::try_from(text.to_owned()).ok();
    match text.parse::<Name>() {
        Ok(name) => {
            assert!(is_valid, "{text:?} was accepted");
            assert_eq!(name.to_string(), text);
            assert_eq!(name.clone().into(), text);
            assert_eq!(name.to_string().parse::<Name>().as_ref(), Ok(&name));
            assert_eq!(serde_json::to_string(&name).ok(), Some(json));
            assert_eq!(from_json.as_ref(), Some(&name));
            assert_eq!(from_string.as_ref(), Some(&name));
            Some(name)
        }
        Err(error) => {
            assert!(!is_valid, "{text:?} was refused");
            assert!(from_json.is_none() && from_string.is_none());
            check_refusal(text, &error.to_string());
            None
        }
    }
}

fn check_refusal(text: &str, message: &str) {
    let shown = quoted(text);
    if text.chars().count() <= 20 {
        assert!(shown.starts_with('"') && shown.ends_with('"'), "{shown}");
    } else {
        assert_eq!(shown, "what was given");
    }
    assert!(message.starts_with(&format!("{shown} is not ")));
    assert!(!message.chars().any(char::is_control), "{message:?}");
}

fn check_relations(path: &ScopePath, segments: &[&str]) {
    let chain: Vec<ScopePath> = path.chain().collect();
    assert_eq!(chain.len(), segments.len());
    assert_eq!(path.depth() + 1, segments.len());
    assert_eq!(path.as_str(), segments.join("/"));
    assert_eq!(Some(&path.last_segment()), segments.last());
    assert_eq!(path.is_organization(), path.parent().is_none());
    for (above, scope) in chain.iter().enumerate() {
        let expected = segments[..segments.len() - above].join("/");
        assert_eq!(scope.as_str(), expected);
        assert_eq!(expected.parse::<ScopePath>().as_ref(), Ok(scope));
        assert_eq!(scope.parent().as_ref(), chain.get(above + 1));
        assert_eq!(scope.is_organization(), above + 1 == chain.len());
    }
}
