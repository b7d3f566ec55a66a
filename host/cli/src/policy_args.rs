//! The arguments of the policy commands.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use entail::ScopePath;

use crate::args::dry_run::{AccessDryRun, DryRun};
use crate::args::path as paths;
use crate::component_source::SourceArgs;
use crate::policy_check::CheckArgs;
use crate::policy_compare::{DiffArgs, ReplayArgs};
use crate::policy_new::NewArgs;
use crate::policy_test::TestArgs;

#[derive(Subcommand)]
pub enum PolicyCommand {
    /// Create a policy of your own in Rust, JavaScript or Python
    New(NewArgs),
    /// Build a policy from its sources, or a component from a core module
    Build(BuildArgs),
    /// Check whether a component can be a policy, and what it needs
    Check(CheckArgs),
    /// Run the test vectors of a policy
    Test(TestArgs),
    /// Decide facts given as JSON lines, and print the decisions as JSON lines; needs
    /// no home
    Decide(DecideArgs),
    /// Decide the requests of the decision log again, and show what would change
    Replay(ReplayArgs),
    /// Compare what every scope gets now with what it would get from another policy
    Diff(DiffArgs),
    /// Admit a component and store it; nothing changes until it is activated
    Install(InstallArgs),
    /// List the installed policies, and where they are active
    List,
    /// Show the policy of an organization, or an installed one
    Show(ShowArgs),
    /// Activate a policy for an organization and all its projects
    Activate(ActivateArgs),
    /// Activate the previous policy again
    Rollback {
        /// The organization
        organization: ScopePath,
        #[command(flatten)]
        dry_run: AccessDryRun,
    },
    /// Run a policy beside the active one and only record its answers; without a policy,
    /// show how the two compare
    Shadow(ShadowArgs),
    /// Remove an installed policy that is active nowhere
    Remove {
        /// The policy: its digest, the first digits of it, or its name
        policy: String,
        #[command(flatten)]
        dry_run: DryRun,
    },
}

#[derive(Args)]
pub struct InstallArgs {
    #[command(flatten)]
    pub source: SourceArgs,
    /// Compose the layer with this installed policy, or with the built-in one
    #[arg(long, value_name = "DIGEST|NAME|built-in")]
    pub over: Option<String>,
    #[command(flatten)]
    pub dry_run: DryRun,
}

#[derive(Args)]
pub struct ShowArgs {
    /// An organization; or the digest, its first digits, or the name of a policy
    /// [default: the built-in policy]
    #[arg(value_name = "ORG|POLICY")]
    pub which: Option<String>,
}

#[derive(Args)]
pub struct BoundArgs {
    /// The settings: a file with a JSON object [default: none]
    #[arg(long, value_name = "FILE", value_parser = paths::parser())]
    pub settings: Option<PathBuf>,
    /// Its limits, as JSON [default: those it was installed with]
    #[arg(long, value_name = "FILE", value_parser = paths::parser())]
    pub limits: Option<PathBuf>,
    /// What the calls of the policy share
    #[arg(long, value_enum, default_value = "per-call")]
    pub isolation: Isolation,
}

#[derive(Clone, Copy, ValueEnum)]
pub enum Isolation {
    /// Nothing: each call gets an instance of its own
    PerCall,
    /// One warm instance for all requests of the organization: faster where instances
    /// are slow to create, but the policy can then remember earlier requests
    PerOrganization,
}

#[derive(Args)]
pub struct ActivateArgs {
    /// The organization
    #[arg(value_name = "ORG")]
    pub organization: ScopePath,
    /// The policy: its digest, the first digits of it, its name, or built-in
    #[arg(value_name = "POLICY")]
    pub policy: String,
    #[command(flatten)]
    pub bound: BoundArgs,
    #[command(flatten)]
    pub dry_run: AccessDryRun,
}

#[derive(Args)]
pub struct ShadowArgs {
    /// The organization
    #[arg(value_name = "ORG")]
    pub organization: ScopePath,
    /// The policy to run: its digest, the first digits of it, its name, or built-in
    #[arg(value_name = "POLICY", conflicts_with = "off")]
    pub policy: Option<String>,
    /// Stop running a policy beside the active one
    #[arg(long)]
    pub off: bool,
    #[command(flatten)]
    pub bound: BoundArgs,
    #[command(flatten)]
    pub dry_run: DryRun,
}

#[derive(Args)]
pub struct BuildArgs {
    /// The directory of the sources: a Rust crate, or a JavaScript or Python project
    #[arg(default_value = ".", value_parser = paths::parser())]
    pub folder: PathBuf,
    /// Build the component from this core module instead of sources
    #[arg(long, value_name = "FILE", conflicts_with = "folder", value_parser = paths::parser())]
    pub module: Option<PathBuf>,
    /// Where to write the component [default: NAME.wasm in the directory]
    #[arg(short, long, value_name = "FILE", value_parser = paths::parser())]
    pub output: Option<PathBuf>,
    /// Write nothing; fail unless this file has exactly the same bytes
    #[arg(long, value_name = "FILE", conflicts_with = "output", value_parser = paths::parser())]
    pub check: Option<PathBuf>,
}

#[derive(Args)]
pub struct DecideArgs {
    /// The component to decide with [default: the built-in one]
    #[arg(long, value_name = "FILE", value_parser = paths::parser())]
    pub policy: Option<PathBuf>,
    /// Files of facts, one JSON object a line [default: standard input]
    #[arg(value_parser = paths::parser())]
    pub facts: Vec<PathBuf>,
}
