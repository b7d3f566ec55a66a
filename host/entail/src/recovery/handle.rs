//! The operations that maintain a home.

use crate::entail::Entail;

/// Maintenance of a home: destroying what is due, verifying, backing up.
/// [`Entail::maintenance`] returns it.
#[derive(Clone, Copy, Debug)]
pub struct Maintenance<'a> {
    pub(crate) entail: &'a Entail,
}

impl Entail {
    /// The operations that maintain the home.
    pub fn maintenance(&self) -> Maintenance<'_> {
        Maintenance { entail: self }
    }
}
