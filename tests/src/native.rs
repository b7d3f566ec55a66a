//! The built-in policy as Rust functions: the code from which its component is built.

pub use entail_bundle::decide;
