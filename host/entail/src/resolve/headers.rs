//! The authentication headers of a leased credential.

use entail_store::Secret;

use crate::resolve::lease::Lease;
use entail_decision::provider::{Authentication, Part, Provider, parts};

impl Lease {
    /// The headers of a request to the provider, as names and values, from the provider
    /// file for the mode of the credential. `None` if the mode authenticates in another way,
    /// by a signature or an access token.
    ///
    /// The values are secrets: in locked memory, excluded from core dumps, and overwritten
    /// on drop. They have no `Debug`. A header whose template names a field without a value
    /// is omitted.
    ///
    /// Send them only to [`Lease::hosts`], and mark them as sensitive, so that your client
    /// neither logs nor indexes them. With `http`, which hyper and reqwest use:
    ///
    /// ```ignore
    /// let mut headers = http::HeaderMap::new();
    /// for (name, value) in lease.headers(provider).ok_or("no headers")? {
    ///     let mut value = http::HeaderValue::from_bytes(value.expose())?;
    ///     value.set_sensitive(true);
    ///     headers.insert(http::HeaderName::try_from(name)?, value);
    /// }
    /// ```
    ///
    /// The client's copy is not overwritten: make it when you send the request, and keep
    /// none.
    pub fn headers<'a>(&self, provider: &'a Provider) -> Option<Vec<(&'a str, Secret)>> {
        let Authentication::Headers(templates) = &provider.mode(self.mode())?.authentication else {
            return None;
        };
        let headers = templates.iter().filter_map(|(name, template)| {
            let value = self.fill_template(provider, template)?;
            Some((name.as_str(), value))
        });
        Some(headers.collect())
    }

    /// Fills a template with the fields of the credential or their defaults. `None` if it
    /// names a field that has neither.
    fn fill_template(&self, provider: &Provider, template: &str) -> Option<Secret> {
        let filled: Option<Vec<&[u8]>> = parts(template)
            .map(|part| match part {
                Part::Text(text) => Some(text.as_bytes()),
                Part::Field(name) => self.field(provider, name),
            })
            .collect();
        Some(Secret::joined(&filled?))
    }

    fn field<'a>(&'a self, provider: &'a Provider, name: &str) -> Option<&'a [u8]> {
        if let Some(secret) = self.secret(name) {
            return Some(secret.expose());
        }
        let default = || provider.field(name)?.default.as_ref();
        let value = self.parameters().get(name).or_else(default)?;
        Some(value.as_bytes())
    }
}
