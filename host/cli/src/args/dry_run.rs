//! Dry runs. A command that has no dry run does not have these arguments, so that the
//! parser refuses them.

use std::collections::BTreeMap;

use clap::Args;
use entail::{AttributeName, AttributeValue};

use super::attributes::parse_attributes;
use crate::error::CliError;

/// The dry run of a command that does not change what scopes get.
#[derive(Args, Clone, Copy)]
pub struct DryRun {
    /// Make all checks and show what would be changed, but change nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// The dry run of a command that can change what scopes get.
#[derive(Args, Clone)]
pub struct AccessDryRun {
    /// Make all checks and show which requests would get something else, but change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// With --dry-run: also try every request with this attribute
    #[arg(long = "attribute", value_name = "NAME=VALUE", requires = "dry_run")]
    pub attributes: Vec<String>,
}

impl AccessDryRun {
    /// Parses the attributes.
    ///
    /// # Errors
    ///
    /// Fails if one is not `NAME=VALUE`, or a name is given twice.
    pub fn attributes(&self) -> Result<BTreeMap<AttributeName, AttributeValue>, CliError> {
        parse_attributes(&self.attributes)
    }
}
