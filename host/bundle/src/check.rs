//! What a manifest must say to be consistent. A signer is trusted to choose the facts, and not to
//! choose where a secret is sent: that is fixed by the frame that was sealed with it.

use std::collections::{BTreeMap, BTreeSet};

use entail_decision::ScopeFacts;
use entail_decision::name::ScopePath;
use entail_decision::provider::Provider;

use crate::manifest::{MAX_INTEGER, Manifest, SealedSecret};
use crate::signature::sha256;

/// The longest time between the making of a bundle and its end, in milliseconds: 366 days.
pub const MAX_LIFETIME_MS: u64 = 366 * 24 * 60 * 60 * 1000;

/// The most credentials of one scope for one provider, as in a store.
const MAX_CREDENTIALS: usize = 200;

/// The most recipients, as in a store.
const MAX_RECIPIENTS: usize = 64;

/// Where a credential is: its provider and the scope that holds it.
type Holders<'a> = BTreeMap<&'a str, (&'a Provider, &'a str)>;

/// Fails unless a manifest is consistent. The error is a sentence without text of the manifest
/// that is not a name.
pub(crate) fn check(manifest: &Manifest) -> Result<(), String> {
    check_header(manifest)?;
    let holders = check_facts(manifest)?;
    for (id, secret) in &manifest.secrets {
        let Some((provider, holder)) = holders.get(id.as_str()) else {
            return Err("it has a secret of no credential".to_owned());
        };
        if secret.frame.credential != *id
            || secret.frame.scope.as_str() != *holder
            || secret.frame.provider != provider.id.as_str()
            || secret.frame.store != manifest.store
            || secret.frame.epoch != 0
        {
            return Err(format!("a secret of {holder} is of another credential"));
        }
        check_secret(provider, secret)
            .map_err(|reason| format!("a secret of {holder} for {}: {reason}", provider.id))?;
    }
    Ok(())
}

fn check_header(manifest: &Manifest) -> Result<(), String> {
    let times = [
        manifest.revision,
        manifest.issued_at_ms,
        manifest.expires_at_ms,
    ];
    if times.into_iter().any(|integer| integer > MAX_INTEGER) {
        return Err(format!("an integer is larger than {MAX_INTEGER}"));
    }
    let lifetime_ms = manifest.expires_at_ms.checked_sub(manifest.issued_at_ms);
    if lifetime_ms.is_none_or(|lifetime_ms| lifetime_ms > MAX_LIFETIME_MS) {
        return Err("it expires before it was made, or more than 366 days later".to_owned());
    }
    if !is_digest(&manifest.policy.digest) {
        return Err("the digest of its policy is malformed".to_owned());
    }
    let is_recipient = |key: &String| {
        let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        key.starts_with("age1") && key.bytes().all(is_plain)
    };
    if !(1..=MAX_RECIPIENTS).contains(&manifest.recipients.len())
        || !manifest.recipients.iter().all(is_recipient)
        || !are_distinct(&manifest.recipients)
    {
        return Err("its recipients are not 1 to 64 age recipients".to_owned());
    }
    if manifest.scopes.is_empty() || !are_distinct(&manifest.scopes) {
        return Err("it is for no scope, or for one twice".to_owned());
    }
    let mut scopes = manifest.scopes.iter();
    if scopes.any(|scope| scope.organization() != manifest.organization) {
        return Err("a scope is of another organization".to_owned());
    }
    Ok(())
}

/// Returns where each credential is.
fn check_facts(manifest: &Manifest) -> Result<Holders<'_>, String> {
    let mut holders = Holders::new();
    let mut ids = BTreeSet::new();
    for facts in &manifest.providers {
        let id = &facts.provider.id;
        if !ids.insert(id) {
            return Err(format!("it has the provider {id} twice"));
        }
        let paths: Vec<&str> = facts.scopes.iter().map(|scope| &*scope.path).collect();
        if !are_distinct(&paths) {
            return Err(format!("it has a scope twice for {id}"));
        }
        let known: BTreeSet<&str> = paths.into_iter().collect();
        let mut needed = manifest.scopes.iter().flat_map(ScopePath::chain);
        if let Some(missing) = needed.find(|path| !known.contains(path.as_str())) {
            return Err(format!("it lacks {missing} for {id}"));
        }
        for scope in &facts.scopes {
            check_scope(scope, &facts.provider, &mut holders)?;
        }
    }
    Ok(holders)
}

fn check_scope<'a>(
    scope: &'a ScopeFacts,
    provider: &'a Provider,
    holders: &mut Holders<'a>,
) -> Result<(), String> {
    if scope.credentials.len() > MAX_CREDENTIALS {
        return Err(format!(
            "a scope has more than {MAX_CREDENTIALS} credentials"
        ));
    }
    for credential in &scope.credentials {
        if credential
            .expires_at_ms
            .is_some_and(|end| end > MAX_INTEGER)
        {
            return Err(format!("an integer is larger than {MAX_INTEGER}"));
        }
        let place = (provider, scope.path.as_str());
        if holders.insert(&credential.id, place).is_some() {
            return Err("two credentials have the same id".to_owned());
        }
    }
    Ok(())
}

/// Fails unless the secret goes where it was sealed for.
fn check_secret(provider: &Provider, secret: &SealedSecret) -> Result<(), &'static str> {
    let frame = &secret.frame;
    if !is_digest(&secret.blob) {
        return Err("its digest is malformed");
    }
    let mode = provider.mode(&frame.mode).ok_or("its mode is unknown")?;
    let is_public = |name: &String| {
        let field = provider.field(name);
        mode.takes(name) && field.is_some_and(|field| !field.secret)
    };
    if !secret.parameters.keys().all(is_public) {
        return Err("it has a parameter that its mode does not have");
    }
    let is_sorted = |list: &[String]| list.is_sorted_by(|one, next| one < next);
    if !is_sorted(&frame.fields) || !is_sorted(&frame.hosts) || !is_sorted(&secret.destination) {
        return Err("a list is not in order");
    }
    if destination_of(secret) != frame.destination {
        return Err("it was sealed for another destination");
    }
    if !secret
        .base_url
        .as_ref()
        .is_none_or(|url| is_bound(url, secret))
    {
        return Err("its base URL leads to another host than it was sealed for");
    }
    Ok(())
}

/// The digest of the parameters that decide where the secret is sent: a JSON object with their
/// names in order, and `null` for those without a value.
fn destination_of(secret: &SealedSecret) -> String {
    let values: BTreeMap<&String, Option<&String>> = secret
        .destination
        .iter()
        .map(|name| (name, secret.parameters.get(name)))
        .collect();
    // Texts always serialize.
    sha256(&serde_json::to_vec(&values).unwrap_or_default())
}

/// Whether a base URL leads to a host of the frame: `https://HOST` or below it. Plain HTTP is
/// allowed only if the URL is a parameter that the frame fixes. There is nothing to parse, so no
/// two readers understand it differently.
fn is_bound(url: &str, secret: &SealedSecret) -> bool {
    let is_fixed = || {
        let mut names = secret.destination.iter();
        names.any(|name| {
            secret
                .parameters
                .get(name)
                .is_some_and(|value| value == url)
        })
    };
    let rest = match url.strip_prefix("https://") {
        Some(rest) => Some(rest),
        None => url.strip_prefix("http://").filter(|_| is_fixed()),
    };
    let is_plain = url
        .bytes()
        .all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'@' | b'\\' | b'?' | b'#'));
    is_plain
        && rest.is_some_and(|rest| {
            let host = rest.split('/').next().unwrap_or_default();
            secret.frame.hosts.iter().any(|allowed| allowed == host)
        })
}

fn is_digest(text: &str) -> bool {
    text.strip_prefix("sha256:").is_some_and(|digits| {
        let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        digits.len() == 64 && digits.bytes().all(is_digit)
    })
}

fn are_distinct<T: Ord>(list: &[T]) -> bool {
    list.iter().collect::<BTreeSet<_>>().len() == list.len()
}
