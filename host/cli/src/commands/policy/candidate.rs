//! A policy that is compared before it is activated.

use std::path::PathBuf;

use clap::Args;
use entail::policy::{BadSettings, Engine, Policy, Values};
use entail_policy_tools::display::display_path;
use entail_policy_tools::source::read_settings;

use super::component_args::ComponentArgs;
use crate::args::path as paths;
use crate::error::{CliError, ErrorCode};

/// A policy that is not active, and its settings.
#[derive(Args)]
pub struct CandidateArgs {
    #[command(flatten)]
    component: ComponentArgs,
    /// The settings: a file with a JSON object [default: none]
    #[arg(long, value_name = "FILE", value_parser = paths::parser())]
    settings: Option<PathBuf>,
}

impl CandidateArgs {
    /// Admits the component with its settings, as if it were activated.
    ///
    /// # Errors
    ///
    /// Fails if it is not admitted, or does not accept the settings.
    pub fn admit(&self, engine: &Engine) -> Result<Policy, CliError> {
        let component = self.component.read(engine)?;
        let settings = match &self.settings {
            Some(file) => read_settings(file)?,
            None => Values::new(),
        };
        let admitted = match &component.limits {
            Some(limits) => engine.admit_within(&component.bytes, limits),
            None => engine.admit(&component.bytes),
        };
        let policy = admitted.map_err(|rejected| {
            let file = display_path(&self.component.source.component);
            CliError::from(entail::Error::from(rejected))
                .with_remedies(vec![format!("entail policy check {file}")])
        })?;
        let name = &component.name;
        policy
            .with_settings(&settings)
            .map_err(|error| match error {
                BadSettings::NotAccepted(problems) => {
                    let message = format!("{name}: the policy does not take these settings");
                    CliError::not_accepted(message, &problems)
                }
                error => CliError::new(ErrorCode::PolicyFailed, format!("{name}: {error}")),
            })
    }
}
