//! The providers: a data file, not code.
//!
//! Eleven are built in (`providers.toml`). A home may add others in a file of the same
//! format, and cannot redefine a built-in one.
//!
//! # Security
//!
//! The provider file is trusted like the program: it defines which variables a command
//! gets, and where a key may be sent. So it is read from the home only, which nobody else
//! may be able to write. The checks of [`Catalog::new`] find mistakes; they do not protect
//! against an attacker who can edit the home. Independently of the file, a secret that was
//! sealed for certain hosts is never released for another host (`Error::HostNotBound` of the
//! library).

mod catalog;
mod definition;
mod syntax;
mod template;
mod validate;
mod variable;

pub use catalog::{Catalog, InvalidProviders, MAX_FILE_BYTES, UnknownProvider};
pub use definition::{
    Authentication, Check, Field, Format, Mode, Provider, ProviderKind, RoleFields, SpecialBaseUrl,
    UnknownMode,
};
pub use template::{Part, parts};
pub use variable::{AmbientBlock, ClientArgument, FixedVariable, KeptVariable, Variable};
