//! What crosses the rooms of Entail: that the default policy decides by its nine
//! rules, whichever way it is run, and that the store loses and reveals nothing,
//! whatever is done to it ([`torture`], on [`crash`]).
//!
//! The rules exist three times. As text they are normative; as data they are the
//! vectors in `vectors/`; as code they are [`naive`], written from the text alone
//! and as slow as it reads. The default policy must agree with all of them, called
//! as a function ([`native`]) and run as a [`component`].
//!
//! - [`generate`] makes the facts: every small configuration, and random trees.
//! - [`agreement`] compares two ways to decide over millions of them.
//! - [`ceiling`] lets policies that answer at random grant exactly what the rules hold.
//!
//! [`hostile`] are the components that the host must survive.

// Test support: whatever goes wrong here should end the test at once.
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
