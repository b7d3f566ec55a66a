//! The providers: a data file, not code.
//!
//! Eleven come built in (`providers.toml`); a home may add its own in a file of the same
//! form, and cannot redefine a built-in one.
//!
//! # Security
//!
//! The provider file is trusted like the program: it says which variables a command
//! gets, and where a key may go. So it is read from the home only, where nobody else
//! may be able to write it. What is checked of it ([`Catalog::new`]) catches slips, and
//! files that were copied from somewhere; it is no defence against somebody who can edit
//! the home. One thing holds all the same: a secret that was sealed for certain hosts is
//! not handed out for another ([`Error::HostNotBound`](crate::Error::HostNotBound)),
//! whatever the file says by then.

mod catalog;
mod definition;
mod validate;

pub(crate) use catalog::MAX_FILE_BYTES;
pub use catalog::{Catalog, InvalidProviders};
pub use definition::{
    Authentication, Check, Field, FixedVariable, Format, KeptVariable, Mode, Provider,
    ProviderKind, RoleFields, Shield, SpecialBaseUrl, UnreadBy, Variable,
};
pub(crate) use definition::{Part, parts};
