//! The URLs of a credential, and the hosts they lead to.

use std::collections::BTreeMap;

use url::{Host, Url};

use crate::documents::scope::Credential;
use crate::error::hint::Hint;
use crate::error::invalid_value::InvalidValue;
use entail_decision::provider::{Field, Format, Provider};

/// The network of a host, judged by its name or address.
#[derive(Clone, Copy, PartialEq)]
enum Network {
    ThisMachine,
    Private,
    Public,
}

/// Suffixes of names that public DNS does not resolve: services in a cluster (`svc`),
/// multicast DNS (RFC 6762), and names reserved for private use (`internal`, RFC 8375).
const PRIVATE_DOMAINS: [&str; 4] = [".svc", ".local", ".internal", ".home.arpa"];

fn network(host: &Host<&str>) -> Network {
    let is_loopback = match host {
        Host::Domain(name) => *name == "localhost",
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
    };
    let is_private = match host {
        Host::Domain(name) => {
            !name.contains('.') || PRIVATE_DOMAINS.iter().any(|end| name.ends_with(end))
        }
        // Not link-local addresses: cloud metadata services hand out credentials there.
        Host::Ipv4(address) => {
            let [first, second, ..] = address.octets();
            let is_shared = first == 100 && (64..128).contains(&second);
            address.is_private() || is_shared
        }
        Host::Ipv6(address) => address.is_unique_local(),
    };
    if is_loopback {
        Network::ThisMachine
    } else if is_private {
        Network::Private
    } else {
        Network::Public
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

/// The parameter that is a plain HTTP URL of another machine: its name and the URL. Checks
/// all parameters, so that the result does not depend on the provider file.
pub(crate) fn unsafe_url(parameters: &BTreeMap<String, String>) -> Option<(&str, &str)> {
    parameters.iter().find_map(|(name, text)| {
        let url = Url::parse(text).ok()?;
        let is_unsafe = url.scheme() == "http" && network(&url.host()?) != Network::ThisMachine;
        is_unsafe.then_some((name.as_str(), text.as_str()))
    })
}

/// The canonical form of a base URL: https (or http on this machine, or, if that is
/// allowed, in a private network), without user, query, fragment or trailing slash.
pub(crate) fn canonical_url(
    field: &str,
    text: &str,
    allows_http: bool,
) -> Result<String, InvalidValue> {
    let invalid = |rule: &str| InvalidValue::new(field, rule);
    let url = Url::parse(text).map_err(|error| invalid(&format!("it is not a URL: {error}")))?;
    let host = url.host().ok_or_else(|| invalid("it has no host"))?;
    match (url.scheme(), network(&host)) {
        ("https", _) | ("http", Network::ThisMachine) => {}
        ("http", Network::Private) if allows_http => {}
        ("http", Network::Private) => return Err(plain_http(field, &host.to_string())),
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

/// The base URL of a credential: its own, otherwise the provider's.
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

/// The host of a canonical URL, with the port if it is not the scheme's default.
pub(crate) fn host_of(url: &str) -> Option<String> {
    let url = Url::parse(url).ok()?;
    let host = url.host_str()?;
    Some(match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    })
}

/// The hosts that a credential with these public parameters may be sent to, sorted: those
/// of its own URLs if it has any, otherwise the provider's.
///
/// # Errors
///
/// Fails if a parameter is missing that the provider's hosts depend on.
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
    // The template does not apply to values that have a special base URL.
    let special = provider
        .special_base_url(parameters)
        .map(|special| format!("{{{}}}", special.field));
    let applies = |template: &&String| {
        special
            .as_ref()
            .is_none_or(|field| !template.contains(field))
    };
    let mut hosts = if own.is_empty() {
        provider
            .hosts
            .iter()
            .filter(applies)
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

/// The names of the parameters that decide where a secret of the provider is sent, sorted: URLs,
/// regions, and those that its hosts are made of.
pub(crate) fn destination(provider: &Provider) -> Vec<String> {
    let templates = || provider.hosts.iter().chain(&provider.base_url);
    let decides = |field: &&Field| {
        let place = format!("{{{}}}", field.name);
        !field.secret
            && (matches!(field.format, Format::Url | Format::Region)
                || templates().any(|template| template.contains(&place)))
    };
    let fields = provider.fields.iter().filter(decides);
    let mut names: Vec<String> = fields.map(|field| field.name.clone()).collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use entail_decision::provider::Catalog;

    #[test]
    fn the_url_and_the_region_decide_the_destination() {
        let catalog = Catalog::new(None).unwrap();
        let destination_of =
            |provider: &str| destination(catalog.get(&provider.parse().unwrap()).unwrap());
        assert_eq!(destination_of("openai"), ["base_url"]);
        assert_eq!(destination_of("bedrock"), ["endpoint", "region"]);
        assert_eq!(destination_of("vertex-ai"), ["location"]);
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
