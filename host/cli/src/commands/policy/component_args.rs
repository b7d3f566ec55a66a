//! Arguments that name a component.

use std::path::PathBuf;

use clap::Args;
use entail::policy::Engine;
use entail_policy_tools::component::Component;
use entail_policy_tools::source::{self, SourceError};

use crate::args::path as paths;
use crate::error::{CliError, ErrorCode};

/// A component on the command line.
#[derive(Args)]
pub struct SourceArgs {
    /// A component; the directory of a built policy; or an OCI image layout:
    /// DIR, DIR#TAG or DIR@sha256:…
    #[arg(value_name = "FILE|DIRECTORY", default_value = ".", value_parser = paths::parser())]
    pub component: PathBuf,
    /// Its limits, as JSON [default: limits.json in the directory]
    #[arg(long, value_name = "FILE", value_parser = paths::parser())]
    pub limits: Option<PathBuf>,
}

impl SourceArgs {
    /// Reads the component and its limits.
    ///
    /// # Errors
    ///
    /// [`SourceError`] names the file and the rule.
    pub fn read(&self) -> Result<Component, SourceError> {
        let mut component = source::read(&self.component)?;
        if let Some(file) = &self.limits {
            component.limits = Some(source::read_limits(file)?);
        }
        Ok(component)
    }
}

/// A component on the command line that may be a layer.
#[derive(Args)]
pub struct ComponentArgs {
    #[command(flatten)]
    pub source: SourceArgs,
    /// The policy below, if it is a layer: another component, or the built-in one
    #[arg(long, value_name = "FILE|DIRECTORY|built-in", value_parser = paths::parser())]
    pub over: Option<PathBuf>,
}

impl ComponentArgs {
    /// Reads the component and its limits, and composes it with the policy below.
    ///
    /// # Errors
    ///
    /// Fails if one of them cannot be read, or the two cannot be composed.
    pub fn read(&self, engine: &Engine) -> Result<Component, CliError> {
        let component = self.source.read()?;
        let Some(over) = &self.over else {
            return Ok(component);
        };
        let below = if over.as_os_str() == entail::BUILT_IN {
            entail::DEFAULT_POLICY.to_vec()
        } else {
            source::read(over)?.bytes
        };
        let name = component.name.clone();
        component.compose_over(engine, &below).map_err(|error| {
            let message = format!("{name} over {}: {error}", over.display());
            CliError::new(ErrorCode::PolicyFailed, message)
        })
    }
}
