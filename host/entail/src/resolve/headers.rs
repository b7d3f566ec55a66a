//! The headers by which a request proves that it has a leased credential.

use entail_store::Secret;

use crate::resolve::lease::Lease;
use entail_decision::provider::{Authentication, Part, Provider, parts};

impl Lease {
    /// The headers of a request to the provider: pairs of a name and a value, as the
    /// provider's file has them for the mode of the credential. `None` if the mode
    /// authenticates in another way, by a signature or an access token.
    ///
    /// A value is put together in memory like the secret's own: locked, left out of core
    /// dumps, and overwritten when it is dropped. It has no `Debug`. A header whose template
    /// names a field without a value is left out.
    ///
    /// Send them to [`Lease::hosts`] only, and mark what you make of them as sensitive, so
    /// that your client neither logs nor indexes it. With `http`, which hyper and reqwest
    /// use:
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
    /// That copy is the client's, and is not overwritten: make it when the request is sent,
    /// and keep none.
    pub fn headers<'a>(&self, provider: &'a Provider) -> Option<Vec<(&'a str, Secret)>> {
        let Authentication::Headers(templates) = &provider.mode(self.mode())?.authentication else {
            return None;
        };
        let headers = templates.iter().filter_map(|(name, template)| {
            let value = self.fill_secretly(provider, template)?;
            Some((name.as_str(), value))
        });
        Some(headers.collect())
    }

    /// Fills in a template with the fields of the credential or their defaults. `None` if
    /// it names a field that has neither.
    fn fill_secretly(&self, provider: &Provider, template: &str) -> Option<Secret> {
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
