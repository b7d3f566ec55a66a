//! Support for the cross-crate tests of Entail: the default policy decides by its nine
//! rules, natively and as a component, and the store neither loses nor reveals data under
//! stress ([`torture`], with [`crash`]).
//!
//! The rules exist three times: as normative text, as data in the vectors in `vectors/`,
//! and as code in [`naive`], which follows the text literally and slowly. The default
//! policy must agree with all of them, called as a function ([`native`]) and run as a
//! [`component`].
//!
//! - [`generate`] generates the facts: every small configuration, and random trees.
//! - [`agreement`] compares two implementations over millions of facts.
//! - [`ceiling`] checks that the guard lets random policies grant exactly what the rules
//!   permit.
//!
//! [`hostile`] contains the components that the host must survive.

// Test support: any failure here should end the test at once.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    clippy::missing_errors_doc
)]

pub mod agreement;
pub mod ceiling;
pub mod component;
pub mod crash;
pub mod generate;
pub mod hostile;
pub mod naive;
pub mod native;
pub mod torture;
