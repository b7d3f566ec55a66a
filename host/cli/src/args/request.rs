//! Requests for credentials. [`super::request_target`] determines which word is the scope
//! and which the provider.

use clap::Args;
use entail::{CredentialName, ModelId, ProviderId, ScopePath};

use super::attributes::AttributeArgs;

/// The request of `resolve` and `explain`.
#[derive(Args)]
pub struct RequestArgs {
    /// The scope that asks [default: ENTAIL_SCOPE, or the scope of the directory]
    #[arg(value_name = "SCOPE")]
    pub first: Option<ScopePath>,
    /// The provider
    #[arg(value_name = "PROVIDER")]
    pub second: Option<ProviderId>,
    /// The model that the credential is used for
    #[arg(long)]
    pub model: Option<ModelId>,
    /// Only the credential of this name
    #[arg(long)]
    pub name: Option<CredentialName>,
    #[command(flatten)]
    pub attributes: AttributeArgs,
}

/// The requests of `run` and `export-env`.
#[derive(Args)]
pub struct VariablesArgs {
    /// The scope that asks [default: ENTAIL_SCOPE, or the scope of the directory]
    #[arg(value_name = "SCOPE")]
    pub first: Option<ScopePath>,
    /// Only this provider; fail if it is refused [default: all that are granted]
    #[arg(long = "provider", value_name = "PROVIDER")]
    pub providers: Vec<ProviderId>,
    /// The model that the credential is used for
    #[arg(long)]
    pub model: Option<ModelId>,
    #[command(flatten)]
    pub attributes: AttributeArgs,
    #[command(flatten)]
    pub keep: KeepArgs,
}

/// The caller's variables that a command keeps.
#[derive(Args, Clone)]
pub struct KeepArgs {
    /// Keep this variable of the caller although a provider's clients read it; the
    /// policy sees it and the decision log records it
    #[arg(id = "keep", long = "keep", value_name = "VARIABLE")]
    pub variables: Vec<String>,
    /// Keep all of the caller's variables, files and metadata look-ups for this
    /// provider: for a program that needs AWS for itself, bedrock
    #[arg(id = "keep-provider", long = "keep-provider", value_name = "PROVIDER")]
    pub providers: Vec<ProviderId>,
}
