//! Bypasses proxies for base URLs of plain HTTP, where a proxy would see the key, and for
//! those on this machine, which a proxy cannot reach.

use std::ffi::OsString;
use std::net::IpAddr;

use entail::Lease;

/// Clients read either spelling; curl and Python prefer the second.
const NAMES: [&str; 2] = ["NO_PROXY", "no_proxy"];

/// The variables that add such hosts to the caller's exceptions.
pub fn bypass(leases: &[Lease]) -> Vec<(OsString, OsString)> {
    let hosts: Vec<&str> = leases
        .iter()
        .filter_map(Lease::base_url)
        .filter_map(direct_host)
        .collect();
    if hosts.is_empty() {
        return Vec::new();
    }
    let present = NAMES
        .iter()
        .rev()
        .find_map(|name| std::env::var_os(name).filter(|value| !value.is_empty()));
    // `*` means every host, but only without other entries.
    if present.as_ref().is_some_and(|present| present == "*") {
        return Vec::new();
    }
    let mut all = present.unwrap_or_default();
    for host in hosts {
        if !all.is_empty() {
            all.push(",");
        }
        all.push(host);
    }
    NAMES.map(|name| (name.into(), all.clone())).into()
}

/// The host of a URL that no proxy may be used for, in the form of a list of exceptions.
fn direct_host(url: &str) -> Option<&str> {
    let (scheme, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let host = match authority.strip_prefix('[') {
        Some(inside) => inside.split(']').next()?,
        None => authority.split(':').next()?,
    };
    let address: Option<IpAddr> = host.parse().ok();
    let is_here = host == "localhost" || address.is_some_and(|address| address.is_loopback());
    (is_here || scheme == "http").then_some(host)
}

#[cfg(test)]
mod tests {
    use super::direct_host;

    #[test]
    fn a_host_is_without_port_and_brackets() {
        for (url, host) in [
            ("http://127.0.0.1:4000/v1", Some("127.0.0.1")),
            ("https://127.0.0.2/", Some("127.0.0.2")),
            ("http://localhost", Some("localhost")),
            ("https://[::1]:80/", Some("::1")),
            ("http://litellm:4000", Some("litellm")),
            ("https://api.openai.com/v1", None),
        ] {
            assert_eq!(direct_host(url), host);
        }
    }
}
