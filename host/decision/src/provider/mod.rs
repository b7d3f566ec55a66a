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
//! not handed out for another (`Error::HostNotBound` of the library),
//! whatever the file says by then.

mod catalog;
mod definition;
mod validate;

pub use catalog::{Catalog, InvalidProviders, MAX_FILE_BYTES, UnknownProvider};
pub use definition::{
    Authentication, Check, Field, FixedVariable, Format, KeptVariable, Mode, Part, Provider,
    ProviderKind, RoleFields, Shield, SpecialBaseUrl, UnknownMode, UnreadBy, Variable, parts,
};
