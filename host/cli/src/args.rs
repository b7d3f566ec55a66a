//! The commands and their arguments. No argument ever takes a secret.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use entail::{CredentialName, ModelId, ProviderId, ScopePath};

use crate::component_source::SourceArgs;
use crate::policy_check::CheckArgs;
use crate::policy_compare::{DiffArgs, ReplayArgs};
use crate::policy_new::NewArgs;
use crate::policy_test::TestArgs;

const EXIT_CODES: &str = "\
Exit codes:
   0  done
   1  something else went wrong
   2  the command line is wrong
  10  refused by the policy
  11  not authorized
  12  the policy failed (trap, deadline, memory, bad output), would fail, or is not
      admitted
  13  the policy chose what it may not choose
  14  the store or the home is unavailable
  15  tampered: what the database holds is not what was written
  16  a key is missing or locked, or a secret is for other keys or hosts
  17  the decision cannot be recorded
  18  there is no such scope, provider or credential
  19  the input is not valid
  20  a grant would be widened (policy replay and diff; policy activate and
      rollback with --dry-run)
`entail run` exits as the command does; 126 if it cannot be started, 127 if it
is not found.

Secrets are entered at a hidden prompt, by --from-env, --from-file or standard
input, never as an argument.";

/// An organization's model credentials, inherited by projects that opt in.
#[derive(Parser)]
#[command(name = "entail", bin_name = "entail", version, after_long_help = EXIT_CODES, arg_required_else_help = true)]
pub struct Cli {
    #[command(flatten)]
    pub common: Common,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Args, Clone)]
pub struct Common {
    /// The folder in which everything lies [default: entail in the user's data
    /// folder]
    #[arg(
        long,
        global = true,
        env = "ENTAIL_HOME",
        value_name = "DIR",
        hide_env_values = true
    )]
    pub home: Option<PathBuf>,
    /// Print JSON, also for errors
    #[arg(long, global = true)]
    pub json: bool,
    /// Check a change, say what it would change in who gets what, and change nothing
    #[arg(long, global = true)]
    pub dry_run: bool,
    /// With --dry-run or policy diff: ask for everything also with this attribute
    // Commands whose requests have attributes have an argument of this name of their own,
    // which stands in for this one.
    #[arg(long = "attribute", global = true, value_name = "NAME=VALUE")]
    pub attributes: Vec<String>,
    /// Read the identity's passphrase from a file instead of the terminal
    #[arg(
        long,
        global = true,
        env = "ENTAIL_PASSPHRASE_FILE",
        value_name = "FILE",
        hide_env_values = true
    )]
    pub passphrase_file: Option<PathBuf>,
    /// Read the identity from this open file descriptor instead of the home
    #[arg(
        long,
        global = true,
        env = "ENTAIL_IDENTITY_FD",
        value_name = "NUMBER",
        hide_env_values = true,
        value_parser = clap::value_parser!(i32).range(3..)
    )]
    pub identity_fd: Option<i32>,
}

#[derive(Subcommand)]
pub enum Command {
    /// Make a home, if there is none yet, and an organization in it
    Init(InitArgs),
    /// Add, list and remove projects
    #[command(subcommand)]
    Project(ProjectCommand),
    /// Set, renew, switch, list and remove credentials
    #[command(subcommand)]
    Credential(CredentialCommand),
    /// Let a scope inherit credentials from its parent, or stop it
    Inherit(InheritArgs),
    /// Set the model of a scope for requests that name none
    Model(ModelArgs),
    /// Show what a scope gets for a provider, the secrets masked
    Resolve(ResolveArgs),
    /// Explain what a scope gets for a provider, and why
    Explain(ExplainArgs),
    /// Run a command with the variables of what a scope gets
    Run(RunArgs),
    /// Print shell commands that set the variables of what a scope gets
    ExportEnv(VariablesArgs),
    /// Show what every scope gets for every provider, by really resolving
    Status(StatusArgs),
    /// List the providers, or show one
    Providers(ProvidersArgs),
    /// Write policies, check and try them, put them in service, take them back
    #[command(subcommand)]
    Policy(Box<PolicyCommand>),
    /// Renew keys, and say who secrets are sealed to
    #[command(subcommand)]
    Key(KeyCommand),
    /// Look at the decision log
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Hold everything in the store against its journal, and open every secret
    Verify,
    /// Write a copy of the store to a file, while others use it
    Backup(BackupArgs),
    /// Go back to a copy, or make a home of one on a clean machine
    Restore(RestoreArgs),
    /// Check permissions, keys, the store, the log, and whether every secret opens
    Doctor,
    /// Make a throwaway organization to try things on
    Dev,
    /// Print the completions for a shell
    Completions(CompletionsArgs),
}

#[derive(Args)]
pub struct InitArgs {
    /// The organization
    #[arg(value_name = "ORG")]
    pub organization: ScopePath,
    /// Put the identity under a passphrase
    #[arg(long)]
    pub passphrase: bool,
}

#[derive(Subcommand)]
pub enum ProjectCommand {
    /// Add a project below a scope that is there
    Add {
        /// Its path: acme/evals
        scope: ScopePath,
    },
    /// List scopes
    List {
        /// Only this one and what is below
        scope: Option<ScopePath>,
    },
    /// Remove a project and destroy its credentials
    Remove {
        /// Its path
        scope: ScopePath,
    },
}

#[derive(Args, Clone)]
pub struct CredentialArgs {
    /// The scope that holds it: acme, acme/evals
    pub scope: ScopePath,
    /// Whom it is for: openai (see: entail providers)
    pub provider: ProviderId,
    /// Its name, if the scope has several for the provider
    #[arg(long, default_value_t, hide_default_value = true)]
    pub name: CredentialName,
}

#[derive(Subcommand)]
pub enum CredentialCommand {
    /// Set a credential: add it, or change what is given and leave the rest
    Set(Box<SetArgs>),
    /// Renew the secret of a credential: the new one serves at once, the old one is
    /// kept for a while
    Rotate(RotateArgs),
    /// Bring back the secret that a credential had before; the one that it has is kept,
    /// so doing it again brings that one back
    Rollback(RollbackArgs),
    /// List the credentials of a scope
    List {
        /// The scope
        scope: ScopePath,
    },
    /// Show a credential, the secret masked
    Show(CredentialArgs),
    /// Switch a credential off
    Disable(CredentialArgs),
    /// Switch a credential on
    Enable(CredentialArgs),
    /// Remove a credential and destroy its secret
    Remove(CredentialArgs),
}

#[derive(Args)]
pub struct InputArgs {
    /// A public field
    #[arg(long = "param", value_name = "FIELD=VALUE")]
    pub parameters: Vec<String>,
    /// The mode of the provider [default: the first that the fields suffice for]
    #[arg(long)]
    pub mode: Option<String>,
    /// Take fields from variables; without a value from those that the
    /// provider's own clients read
    #[arg(long, value_name = "[FIELD=]VARIABLE", num_args = 0..=1, default_missing_value = "", action = clap::ArgAction::Append)]
    pub from_env: Vec<String>,
    /// Take a secret field from a file
    #[arg(long, value_name = "[FIELD=]FILE")]
    pub from_file: Vec<String>,
}

#[derive(Args)]
#[allow(clippy::struct_excessive_bools)] // options are
pub struct SetArgs {
    #[command(flatten)]
    pub credential: CredentialArgs,
    #[command(flatten)]
    pub input: InputArgs,
    /// Change only the rules and parameters, keep the secret
    #[arg(long)]
    pub keep_secret: bool,
    /// Allow only models that match one of these patterns (* and ?)
    #[arg(long, value_name = "PATTERN", value_delimiter = ',', conflicts_with_all = ["all_models", "no_models"])]
    pub models: Vec<String>,
    /// Allow every model
    #[arg(long)]
    pub all_models: bool,
    /// Allow no model
    #[arg(long, conflicts_with = "all_models")]
    pub no_models: bool,
    /// Share with all below, with none, or with paths that match (* within a
    /// segment, ** for any number of segments)
    #[arg(long, value_name = "all|none|PATTERN", value_delimiter = ',')]
    pub share: Vec<String>,
    /// Make those it is shared with use it rather than their own
    #[arg(long, conflicts_with = "no_mandatory")]
    pub mandatory: bool,
    /// Let those it is shared with use their own
    #[arg(long)]
    pub no_mandatory: bool,
    /// Its place within the scope: the lower goes first
    #[arg(long, value_name = "NUMBER")]
    pub priority: Option<u32>,
    /// When it ends: 12h, 30d, 2027-01-31T12:00:00Z, never
    #[arg(long, value_name = "WHEN")]
    pub expires: Option<String>,
}

#[derive(Args)]
pub struct RotateArgs {
    #[command(flatten)]
    pub credential: CredentialArgs,
    #[command(flatten)]
    pub input: InputArgs,
    /// When the new secret ends: 12h, 30d, 2027-01-31T12:00:00Z, never
    #[arg(long, value_name = "WHEN")]
    pub expires: Option<String>,
    #[command(flatten)]
    pub grace: GraceArgs,
}

#[derive(Args)]
pub struct GraceArgs {
    /// How long the secret that is replaced is kept, so that one can go back: 12h,
    /// 7d; 0 destroys it at once
    #[arg(long, value_name = "TIME", default_value = "24h")]
    pub grace: String,
}

#[derive(Args)]
pub struct RollbackArgs {
    #[command(flatten)]
    pub credential: CredentialArgs,
    #[command(flatten)]
    pub grace: GraceArgs,
}

#[derive(Subcommand)]
pub enum KeyCommand {
    /// Show the keys, and who secrets are sealed to
    List,
    /// Renew a key; everything stays readable meanwhile
    #[command(subcommand)]
    Rotate(RotateKeyCommand),
    /// Seal every secret to one more: a second machine, a recovery key
    AddRecipient(AddRecipientArgs),
    /// Seal nothing to a recipient any more
    RemoveRecipient {
        /// Its id, label or key (see: entail key list)
        recipient: String,
    },
    /// Seal again what is not sealed to the present recipients
    Reseal,
}

#[derive(Subcommand)]
pub enum RotateKeyCommand {
    /// The key that opens secrets: seals every one of them again
    Identity,
    /// The key that writes: signs every document again
    Signer,
}

#[derive(Args)]
pub struct AddRecipientArgs {
    /// The age recipient: age1…
    #[arg(required_unless_present = "recovery", conflicts_with = "recovery")]
    pub recipient: Option<String>,
    /// Make a recovery key, and write it to this file, to be kept away from here
    #[arg(long, value_name = "FILE")]
    pub recovery: Option<PathBuf>,
    /// What to call it
    #[arg(long)]
    pub label: Option<String>,
}

#[derive(Args)]
pub struct BackupArgs {
    /// The file to write, which must not be there
    pub file: PathBuf,
}

#[derive(Args)]
pub struct RestoreArgs {
    /// The copy, as `entail backup` wrote it; without one what is in the home is
    /// taken for the truth
    pub file: Option<PathBuf>,
    /// Restore with the identity that `key add-recipient --recovery` wrote: on a clean
    /// machine, or where this home's own identity opens nothing in the copy
    #[arg(long, value_name = "FILE")]
    pub recovery: Option<PathBuf>,
    /// Go back behind what this home has seen
    #[arg(long)]
    pub accept_rollback: bool,
    /// Believe a copy that is signed by this key (see: entail key list)
    #[arg(long, value_name = "ID")]
    pub verifier: Option<String>,
    /// Put the new identity under a passphrase
    #[arg(long, requires = "recovery")]
    pub passphrase: bool,
}

#[derive(Subcommand)]
pub enum AuditCommand {
    /// Show the last decisions
    Tail {
        /// How many
        #[arg(short = 'n', long, default_value_t = 20)]
        lines: usize,
        /// Go on with those that are made from now on
        #[arg(short, long)]
        follow: bool,
        /// Also the looks at what would be granted, which handed out nothing
        #[arg(long)]
        all: bool,
        #[command(flatten)]
        filter: FilterArgs,
    },
    /// Show decisions
    Show {
        #[command(flatten)]
        filter: FilterArgs,
    },
    /// Check that no record was changed or taken out
    Verify,
    /// Move full files of the log elsewhere, so that they are not missed
    Archive {
        /// The directory to move them to
        #[arg(long, value_name = "DIR")]
        to: PathBuf,
        /// Only those before the file of this number [default: all that are full]
        #[arg(long, value_name = "NUMBER")]
        before: Option<u64>,
    },
    /// Note that what is wrong with the log is known, and go on
    AcceptLoss {
        /// How it came, for whoever verifies the log later
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
}

#[derive(Args)]
pub struct FilterArgs {
    /// Of this scope and all below
    #[arg(long)]
    pub scope: Option<ScopePath>,
    /// For this provider
    #[arg(long)]
    pub provider: Option<ProviderId>,
    /// Of this principal
    #[arg(long)]
    pub principal: Option<String>,
    /// With this outcome: granted, refused, failed, or the code of a refusal
    #[arg(long)]
    pub outcome: Option<String>,
    /// From then on: 2h, 7d (ago), 2027-01-31T12:00:00Z
    #[arg(long, value_name = "WHEN")]
    pub since: Option<String>,
    /// Until then
    #[arg(long, value_name = "WHEN")]
    pub until: Option<String>,
}

#[derive(Args)]
pub struct InheritArgs {
    /// The scope that inherits
    pub scope: ScopePath,
    /// The provider; without it every one
    pub provider: Option<ProviderId>,
    /// Stop inheriting
    #[arg(long, conflicts_with = "fall_back")]
    pub off: bool,
    /// Inherit also when all of the scope's own credentials are unusable
    #[arg(long)]
    pub fall_back: bool,
}

#[derive(Args)]
pub struct ModelArgs {
    /// The scope
    pub scope: ScopePath,
    /// The provider
    pub provider: ProviderId,
    /// The model; without it the setting is taken away
    pub model: Option<ModelId>,
}

#[derive(Args)]
pub struct RequestArgs {
    /// The scope that asks
    pub scope: ScopePath,
    /// The provider
    pub provider: ProviderId,
    /// The model that it is for
    #[arg(long)]
    pub model: Option<ModelId>,
    /// The one credential wanted
    #[arg(long)]
    pub name: Option<CredentialName>,
    #[command(flatten)]
    pub attributes: AttributeArgs,
}

#[derive(Args)]
pub struct AttributeArgs {
    /// Something for the policy to go by, such as session=4711; it is logged
    #[arg(long = "attribute", value_name = "NAME=VALUE")]
    pub attributes: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
pub enum Format {
    /// For a person
    Text,
    /// One JSON object
    Json,
    /// NAME=value, as env(1) prints it
    Env,
    /// NAME="value", for a .env file
    Dotenv,
    /// export NAME='value', for a shell to evaluate
    Shell,
}

#[derive(Args)]
pub struct ResolveArgs {
    #[command(flatten)]
    pub request: RequestArgs,
    /// Print the secrets
    #[arg(long)]
    pub reveal: bool,
    /// How to print
    #[arg(long, value_enum, default_value = "text")]
    pub format: Format,
}

#[derive(Args)]
pub struct ExplainArgs {
    #[command(flatten)]
    pub request: RequestArgs,
}

/// What `run` and `export-env` ask for.
#[derive(Args)]
pub struct VariablesArgs {
    /// The scope whose credentials are used
    pub scope: ScopePath,
    /// Only this provider, and fail if it is refused [default: all that are
    /// granted]
    #[arg(long = "provider", value_name = "PROVIDER")]
    pub providers: Vec<ProviderId>,
    /// The model that it is for
    #[arg(long)]
    pub model: Option<ModelId>,
    #[command(flatten)]
    pub attributes: AttributeArgs,
}

#[derive(Args)]
pub struct RunArgs {
    #[command(flatten)]
    pub wanted: VariablesArgs,
    /// Pass none of the caller's variables
    #[arg(long)]
    pub pristine: bool,
    /// The command and its arguments
    #[arg(last = true, required = true)]
    pub command: Vec<std::ffi::OsString>,
}

#[derive(Args)]
pub struct StatusArgs {
    /// Only this scope and what is below
    pub scope: Option<ScopePath>,
}

#[derive(Args)]
pub struct ProvidersArgs {
    /// Show this one in full
    pub provider: Option<ProviderId>,
}

#[derive(Subcommand)]
pub enum PolicyCommand {
    /// Begin a policy of your own, in Rust, JavaScript or Python
    New(NewArgs),
    /// Build a policy from its sources, or make a component of a core module
    Build(BuildArgs),
    /// Say whether a component can be a policy, what it takes, or what is wrong with it
    Check(CheckArgs),
    /// Run the vectors of a policy
    Test(TestArgs),
    /// Decide facts given as JSON lines, and print the decisions as JSON lines;
    /// needs no home
    Decide(DecideArgs),
    /// Decide the requests of the decision log again, and say what would change
    Replay(ReplayArgs),
    /// Compare what every scope gets now with what it would get
    Diff(DiffArgs),
    /// Admit a component and keep it; nothing changes until it is activated
    Install(InstallArgs),
    /// List the policies that are installed, and where they are in service
    List,
    /// Show the policy of an organization, or one that is installed
    Show(ShowArgs),
    /// Put a policy in service for an organization and all its projects
    Activate(ActivateArgs),
    /// Go back to the policy that was in service before
    Rollback {
        /// The organization
        organization: ScopePath,
    },
    /// Ask a policy beside the one in service, and only write down what it says; without
    /// a policy, show how it compares
    Shadow(ShadowArgs),
    /// Remove an installed policy that is in service nowhere
    Remove {
        /// Its digest, the first digits of it, or its name
        policy: String,
    },
}

#[derive(Args)]
pub struct InstallArgs {
    #[command(flatten)]
    pub source: SourceArgs,
    /// It is a layer: compose it with this installed policy, or with the built-in one
    #[arg(long, value_name = "DIGEST|NAME|built-in")]
    pub over: Option<String>,
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
    /// What is set for it: a file with a JSON object [default: nothing]
    #[arg(long, value_name = "FILE")]
    pub settings: Option<PathBuf>,
    /// What it may use up, as JSON [default: what it was installed with]
    #[arg(long, value_name = "FILE")]
    pub limits: Option<PathBuf>,
    /// What its calls share
    #[arg(long, value_enum, default_value = "per-call")]
    pub isolation: Isolation,
}

#[derive(Clone, Copy, ValueEnum)]
pub enum Isolation {
    /// Nothing: each call gets an instance of its own
    PerCall,
    /// One warm instance for all requests of the organization: faster where instances
    /// take long to make, but the policy can then remember earlier requests
    PerOrganization,
}

#[derive(Args)]
pub struct ActivateArgs {
    /// The organization
    #[arg(value_name = "ORG")]
    pub organization: ScopePath,
    /// Its digest, the first digits of it, its name, or: built-in
    #[arg(value_name = "POLICY")]
    pub policy: String,
    #[command(flatten)]
    pub bound: BoundArgs,
}

#[derive(Args)]
pub struct ShadowArgs {
    /// The organization
    #[arg(value_name = "ORG")]
    pub organization: ScopePath,
    /// The policy to ask: its digest, the first digits of it, its name, or: built-in
    #[arg(value_name = "POLICY", conflicts_with = "off")]
    pub policy: Option<String>,
    /// Ask nobody any more
    #[arg(long)]
    pub off: bool,
    #[command(flatten)]
    pub bound: BoundArgs,
}

#[derive(Args)]
pub struct BuildArgs {
    /// The folder of the sources: a Rust crate, or a project of JavaScript or Python
    #[arg(default_value = ".")]
    pub folder: PathBuf,
    /// A core module to make a component of, instead of a crate
    #[arg(long, value_name = "FILE", conflicts_with = "folder")]
    pub module: Option<PathBuf>,
    /// Where to put the component [default: NAME.wasm in the folder]
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Write nothing; fail unless this file holds the very same bytes
    #[arg(long, value_name = "FILE", conflicts_with = "output")]
    pub check: Option<PathBuf>,
}

#[derive(Args)]
pub struct DecideArgs {
    /// The component to decide with [default: the built-in one]
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
    /// Files of facts, one JSON object a line [default: standard input]
    pub facts: Vec<PathBuf>,
}

#[derive(Args)]
pub struct CompletionsArgs {
    /// The shell
    pub shell: clap_complete::Shell,
}
