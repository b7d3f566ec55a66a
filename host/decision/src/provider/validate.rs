//! Validates the definition of a provider.

use std::collections::{BTreeMap, BTreeSet};

use entail_text::Shown;

use super::definition::{Authentication, Format, Provider, RoleFields};
use super::syntax::{is_name, is_pattern, is_text, is_token, is_variable, is_visible};
use super::template::{Part, parts};
use crate::name::ProviderId;

/// The scheme of every URL in a provider file.
const HTTPS: &str = "https://";

/// The field name for the base URL of the credential.
const BASE_URL: &str = "base_url";

/// Headers that define how a message is framed or routed, or that proxies remove (RFC 9110,
/// sections 7.2 and 7.6.1; RFC 9112, section 6): none of them can authenticate a request.
const MESSAGE_HEADERS: [&str; 11] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
];

/// Validates a provider; the error does not name the provider.
pub(super) fn validate(provider: &Provider) -> Result<(), String> {
    check_fields(provider)?;
    check_modes(provider)?;
    check_urls(provider)
}

/// Returns the prefix that the variables of an added provider must have.
pub(super) fn variable_prefix(id: &ProviderId) -> String {
    let mut prefix = id.as_str().to_ascii_uppercase().replace('-', "_");
    prefix.push('_');
    prefix
}

fn check_fields(provider: &Provider) -> Result<(), String> {
    let mut names = BTreeSet::new();
    for field in &provider.fields {
        let name = &field.name;
        if !is_name(name, b'_') {
            let name = Shown::of(name);
            return Err(format!(
                "{name:?} is not a valid field name: use a-z, 0-9 and _"
            ));
        }
        if !names.insert(name.as_str()) {
            return Err(format!("the field {name} is defined twice"));
        }
    }
    check_variables(provider)
}

fn check_variables(provider: &Provider) -> Result<(), String> {
    if let Some(name) = provider.variables().find(|name| !is_variable(name)) {
        return Err(format!(
            "{:?} is not a valid variable name: use A-Z, 0-9 and _, and do not begin with a digit",
            Shown::of(name)
        ));
    }
    let kept = provider.keep_env.iter().map(|kept| &kept.name);
    if let Some(pattern) = provider
        .unset_env
        .iter()
        .chain(kept)
        .find(|name| !is_pattern(name))
    {
        return Err(format!(
            "{:?} is not a valid pattern of variables: use a name, or a prefix of names and a final *",
            Shown::of(pattern)
        ));
    }
    let fixed = provider.modes.iter().flat_map(|mode| &mode.set_env);
    let values = fixed.map(|fixed| &fixed.value);
    let blocks = provider.block_ambient.iter().map(|block| &block.value);
    if let Some(value) = values.chain(blocks).find(|value| !is_text(value)) {
        return Err(format!(
            "{:?} is not a valid value of a variable: use visible characters and spaces",
            Shown::of(value)
        ));
    }
    for field in &provider.fields {
        for template in field.environment.iter().filter_map(|v| v.value.as_ref()) {
            if field.secret {
                return Err(format!(
                    "the field {} is secret, so no variable may have a template for it",
                    field.name
                ));
            }
            let is_public = |name: &str| provider.field(name).is_some_and(|field| !field.secret);
            check_template(template, &is_public)?;
        }
    }
    Ok(())
}

/// Checks that the fields of a role exist, and that only the keys are secret.
fn check_role(provider: &Provider, role: &RoleFields) -> Result<(), String> {
    let public = [
        Some(&role.role),
        role.external_id.as_ref(),
        Some(&role.region),
    ];
    let is_public = |name: &String| provider.field(name).is_some_and(|field| !field.secret);
    let is_field = |name: &String| provider.field(name).is_some();
    let mut public = public.into_iter().flatten();
    match public.find(|name| !is_public(name)) {
        Some(name) => Err(format!("{:?} is not a public field", Shown::of(name))),
        None => match role.keys.values().find(|name| !is_field(name)) {
            Some(name) => Err(format!("{:?} is not a field", Shown::of(name))),
            None => Ok(()),
        },
    }
}

fn check_modes(provider: &Provider) -> Result<(), String> {
    if provider.modes.is_empty() {
        return Err("it has no mode".to_owned());
    }
    let mut names = BTreeSet::new();
    for mode in &provider.modes {
        let name = &mode.name;
        if !is_name(name, b'-') {
            let name = Shown::of(name);
            return Err(format!(
                "{name:?} is not a valid mode name: use a-z, 0-9 and -"
            ));
        }
        if !names.insert(name) {
            return Err(format!("the mode {name} is defined twice"));
        }
        let mut fields = mode.required.iter().chain(&mode.optional);
        if let Some(field) = fields.find(|field| provider.field(field).is_none()) {
            let field = Shown::of(field);
            return Err(format!(
                "the mode {name} names the field {field}, which does not exist"
            ));
        }
        if let Some(role) = &mode.assume_role {
            check_role(provider, role)?;
        }
        match &mode.authentication {
            Authentication::Headers(headers) => {
                check_headers(headers, &|field| field == BASE_URL || mode.takes(field))?;
            }
            Authentication::AwsSigV4 { service } if is_name(service, b'-') => {}
            Authentication::AwsSigV4 { service } => {
                let service = Shown::of(service);
                return Err(format!("{service:?} is not a valid AWS service"));
            }
            Authentication::GoogleServiceAccount { scope } if is_visible(scope) => {}
            Authentication::GoogleServiceAccount { scope } => {
                let scope = Shown::of(scope);
                return Err(format!("{scope:?} is not a valid OAuth scope"));
            }
        }
    }
    Ok(())
}

fn check_headers(
    headers: &BTreeMap<String, String>,
    allowed: &dyn Fn(&str) -> bool,
) -> Result<(), String> {
    let mut names = BTreeSet::new();
    for (name, template) in headers {
        let shown = Shown::of(name);
        if !is_token(name) {
            return Err(format!("{shown:?} is not a valid HTTP header name"));
        }
        let name = name.to_ascii_lowercase();
        if MESSAGE_HEADERS.contains(&name.as_str()) {
            return Err(format!(
                "the header {shown} frames or routes the message, and cannot authenticate it"
            ));
        }
        if !names.insert(name) {
            return Err(format!("the header {shown} is defined twice"));
        }
        if !is_text(template) || template.trim() != template {
            return Err(format!(
                "the value of the header {shown} has characters that a header cannot have"
            ));
        }
        check_template(template, allowed)?;
    }
    Ok(())
}

/// Checks that the URLs are https, and that secrets may be sent to their hosts.
fn check_urls(provider: &Provider) -> Result<(), String> {
    let is_public = |name: &str| provider.field(name).is_some_and(|field| !field.secret);
    for host in &provider.hosts {
        check_host(provider, host)?;
    }
    for special in &provider.special_base_urls {
        if !is_public(&special.field) {
            let field = Shown::of(&special.field);
            return Err(format!(
                "a special base URL depends on {field}, which is not a public field"
            ));
        }
    }
    let special = provider.special_base_urls.iter().map(|s| &s.base_url);
    for url in provider.base_url.iter().chain(special) {
        check_url(provider, url, &is_public)?;
    }
    let Some(check) = &provider.check else {
        return Ok(());
    };
    if !is_token(&check.method) {
        let method = Shown::of(&check.method);
        return Err(format!("{method:?} is not a valid HTTP method"));
    }
    match check.url.strip_prefix("{base_url}") {
        Some(path) if path.is_empty() || path.starts_with('/') => {
            check_path(path)?;
            check_template(path, &is_public)
        }
        _ => check_url(provider, &check.url, &is_public),
    }
}

/// Checks that a host consists of letters, digits, dots and hyphens, and of fields with such
/// values.
fn check_host(provider: &Provider, host: &str) -> Result<(), String> {
    let is_region = |name: &str| {
        let field = provider.field(name);
        field.is_some_and(|field| !field.secret && field.format == Format::Region)
    };
    check_template(host, &is_region)?;
    let is_valid = |text: &str| {
        let is_allowed = |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b':');
        text.bytes().all(is_allowed)
    };
    let is_host = parts(host).all(|part| match part {
        Part::Text(text) => is_valid(text),
        Part::Field(_) => true,
    });
    if is_host && !host.is_empty() {
        Ok(())
    } else {
        let host = Shown::of(host);
        Err(format!(
            "{host:?} is not a valid host: use a-z, 0-9, -, . and fields of the format region"
        ))
    }
}

fn check_url(provider: &Provider, url: &str, allowed: &dyn Fn(&str) -> bool) -> Result<(), String> {
    let shown = Shown::of(url);
    let Some(rest) = url.strip_prefix(HTTPS) else {
        return Err(format!("the URL {shown:?} is not https"));
    };
    let host = rest.split('/').next().unwrap_or_default();
    let path = rest.get(host.len()..).unwrap_or_default();
    check_path(path)?;
    check_template(path, allowed)?;
    check_host(provider, host)?;
    if provider.hosts.iter().any(|known| known == host) {
        Ok(())
    } else {
        Err(format!(
            "the host of the URL {shown:?} is not one of the provider's hosts"
        ))
    }
}

fn check_path(path: &str) -> Result<(), String> {
    if is_visible(path) && !path.contains(['?', '#', '@', '\\']) || path.is_empty() {
        Ok(())
    } else {
        let path = Shown::of(path);
        Err(format!("{path:?} is not a valid URL path without a query"))
    }
}

fn check_template(template: &str, allowed: &dyn Fn(&str) -> bool) -> Result<(), String> {
    let shown = Shown::of(template);
    let opened = template.matches('{').count();
    let closed = template.matches('}').count();
    let is_field = |part: &Part<'_>| matches!(part, Part::Field(_));
    if opened != closed || parts(template).filter(is_field).count() != opened {
        return Err(format!("{shown:?} has an unmatched brace"));
    }
    let forbidden = parts(template).find_map(|part| match part {
        Part::Field(name) if !allowed(name) => Some(name),
        _ => None,
    });
    match forbidden {
        None => Ok(()),
        Some(name) => Err(format!(
            "{shown:?} may not use the field {:?}",
            Shown::of(name)
        )),
    }
}

#[cfg(test)]
mod tests {
    use crate::provider::Catalog;

    const LOCAL: &str = r#"
        [[provider]]
        id = "local"
        name = "Local"
        kind = "gateway"
        docs = "https://example.com"
        base-url = "https://{region}.llm.example.com/v1"
        hosts = ["{region}.llm.example.com"]
        check = { method = "GET", url = "{base_url}/models" }
        [[provider.field]]
        name = "api_key"
        label = "API key"
        secret = true
        environment = ["LOCAL_API_KEY"]
        [[provider.field]]
        name = "region"
        label = "Region"
        format = "region"
        [[provider.mode]]
        name = "api-key"
        label = "API key"
        required = ["api_key", "region"]
        authentication = { headers = { Authorization = "Bearer {api_key}" } }
    "#;

    fn refused(from: &str, to: &str) -> String {
        assert!(LOCAL.contains(from), "{from}");
        let text = LOCAL.replacen(from, to, 1);
        let error = Catalog::new(Some(&text)).unwrap_err().to_string();
        assert!(error.chars().all(entail_text::is_plain), "{error}");
        error
    }

    #[test]
    fn the_host_of_a_url_is_one_of_the_providers_hosts() {
        assert!(Catalog::new(Some(LOCAL)).is_ok());
        for url in [
            "https://elsewhere.example/v1",
            "https://{region}.llm.example.com.elsewhere.example/v1",
            "https://{region}.llm.example.com:8443/v1",
            "https://elsewhere.example/{region}.llm.example.com",
        ] {
            let error = refused("https://{region}.llm.example.com/v1", url);
            assert!(
                error.contains("not one of the provider's hosts"),
                "{url}: {error}"
            );
            let error = refused("{base_url}/models", url);
            assert!(
                error.contains("not one of the provider's hosts"),
                "{url}: {error}"
            );
        }
        for url in [
            "http://{region}.llm.example.com/v1",
            "https://a@{region}.llm.example.com/v1",
            "https://{region}.llm.example.com/v1?key=1",
            "https://{region}.llm.example.com/v1#x",
            "https://{region}.llm.example.com\\\\elsewhere.example/",
            "https://{api_key}.llm.example.com/v1",
            "{base_url}.elsewhere.example",
            "{base_url}@elsewhere.example",
        ] {
            refused("https://{region}.llm.example.com/v1", url);
            refused("{base_url}/models", url);
        }
    }

    #[test]
    fn a_host_has_no_field_whose_value_could_be_another_host() {
        refused("format = \"region\"", "format = \"token\"");
        for host in [
            "",
            "*.example.com",
            "EXAMPLE.com",
            "example.com/x",
            "a b",
            "{api_key}.example.com",
        ] {
            refused(
                "hosts = [\"{region}.llm.example.com\"]",
                &format!("hosts = [\"{{region}}.llm.example.com\", \"{host}\"]"),
            );
        }
    }

    #[test]
    fn a_header_authenticates_and_cannot_forge_the_message() {
        for name in [
            "Host",
            "content-length",
            "Transfer-Encoding",
            "CONNECTION",
            "X Key",
            "X-Key:",
            "",
            "Schl\u{fc}ssel",
        ] {
            refused("{ Authorization =", &format!("{{ \"{name}\" ="));
        }
        for value in [
            "Bearer {api_key}\\r\\nX-Other: 1",
            "Bearer {api_key}\\u0000",
            " {api_key}",
            "Bearer {other}",
            "Bearer {api_key",
        ] {
            refused("Bearer {api_key}", value);
        }
        refused(
            "{ Authorization = \"Bearer {api_key}\" }",
            "{ Authorization = \"{api_key}\", authorization = \"{api_key}\" }",
        );
    }

    #[test]
    fn a_variable_begins_with_the_name_of_its_provider() {
        for variable in [
            "LOCALAPI_KEY",
            "LOCAL",
            "local_api_key",
            "LOCAL-API-KEY",
            "LOCAL_API_KEY=x",
            "PATH",
            "LD_PRELOAD",
            "GIT_SSH_COMMAND",
            "SSL_CERT_FILE",
        ] {
            let error = refused("LOCAL_API_KEY", variable);
            assert!(error.contains(variable), "{error}");
        }
    }
}
