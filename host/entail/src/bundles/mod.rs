//! Bundles: what some scopes of an organization need to resolve without this home, in one signed
//! file ([`entail_bundle`]).

mod export;
mod open;

pub use export::{BundleExport, ExportedBundle};
pub use open::{bundle_recipients, open_bundle_lease};
