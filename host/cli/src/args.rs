//! The commands and their arguments. No argument ever takes a secret.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use entail::{CredentialName, ModelId, ProviderId, ScopePath};

use crate::commands::policy::PolicyCommand;
use crate::help::HelpArgs;
use crate::import::ImportArgs;
use crate::paths;
use crate::use_scope::UseArgs;

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
  20  a grant would be widened (policy replay and diff; every change with
      --dry-run)
`entail run` exits as the command does; 126 if it cannot be started, 127 if it
is not found.

Secrets are entered at a hidden prompt, by --from-env or --from-file, never as an
argument. Standard input is read for one where a secret is what the command is for:
the first `credential set` of a credential, `credential rotate`, or with --stdin.

An empty variable counts as unset.";

/// The heading of the options that every command has.
const GLOBAL_OPTIONS: &str = "Global options";

/// An organization's model credentials, inherited by projects that opt in.
///
/// `entail help` lists the commands by task.
#[derive(Parser)]
#[command(name = "entail", bin_name = "entail", version, after_long_help = EXIT_CODES, arg_required_else_help = true, disable_help_subcommand = true)]
pub struct Cli {
    #[command(flatten)]
    pub common: Common,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Args, Clone)]
pub struct Common {
    /// The directory that holds everything [env: ENTAIL_HOME] [default: entail in the
    /// user's data directory]
    #[arg(long, global = true, help_heading = GLOBAL_OPTIONS, value_name = "DIR", value_parser = paths::parser())]
    pub home: Option<PathBuf>,
    /// Print JSON, also for errors
    #[arg(long, global = true, help_heading = GLOBAL_OPTIONS)]
    pub json: bool,
    /// Check a change, show what it would change in who gets what, and change nothing
    #[arg(long, global = true, help_heading = GLOBAL_OPTIONS)]
    pub dry_run: bool,
    /// With --dry-run or policy diff: ask for everything also with this attribute
    // Commands whose requests have attributes have an argument of this name of their own,
    // which stands in for this one.
    #[arg(long = "attribute", global = true, help_heading = GLOBAL_OPTIONS, value_name = "NAME=VALUE")]
    pub attributes: Vec<String>,
    /// Continue without asking for confirmation
    #[arg(short, long, global = true, help_heading = GLOBAL_OPTIONS)]
    pub yes: bool,
    /// Read the identity's passphrase from a file instead of the terminal
    /// [env: ENTAIL_PASSPHRASE_FILE]
    #[arg(long, global = true, help_heading = GLOBAL_OPTIONS, value_name = "FILE", value_parser = paths::parser())]
    pub passphrase_file: Option<PathBuf>,
    /// Read the identity from this open file descriptor instead of the home
    /// [env: ENTAIL_IDENTITY_FD]
    #[arg(
        long,
        global = true,
        help_heading = GLOBAL_OPTIONS,
        value_name = "NUMBER",
        value_parser = clap::value_parser!(i32).range(3..)
    )]
    pub identity_fd: Option<i32>,
}

#[derive(Subcommand)]
pub enum Command {
    /// Create a home, if there is none yet, and an organization in it
    Init(InitArgs),
    /// Import credentials from .env files, shell exports, JSON or the environment
    Import(ImportArgs),
    /// Add, list and remove projects
    #[command(subcommand)]
    Project(ProjectCommand),
    /// Set, rotate, enable, disable, list and remove credentials
    #[command(subcommand)]
    Credential(CredentialCommand),
    /// Let a scope inherit credentials from its parent, or stop inheriting
    Inherit(InheritArgs),
    /// Set the default model of a scope
    Model(ModelArgs),
    /// Set the scope of a directory, so that other commands need none
    Use(UseArgs),
    /// Show the credential that a scope gets for a provider, secrets masked
    Resolve(ResolveArgs),
    /// Explain which credential a scope gets for a provider, and why
    Explain(ExplainArgs),
    /// Run a command with the credentials that a scope gets as variables
    Run(RunArgs),
    /// Print shell commands that set the variables `run` would set
    ExportEnv(VariablesArgs),
    /// Show what each scope gets for each provider, by resolving it
    Status(StatusArgs),
    /// List the providers, or show one
    Providers(ProvidersArgs),
    /// Write, check, test, install, activate and roll back policies
    #[command(subcommand)]
    Policy(Box<PolicyCommand>),
    /// Rotate keys, and set who secrets are sealed to
    #[command(subcommand)]
    Key(KeyCommand),
    /// Show and verify the decision log
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Verify the whole store against its journal, and open every secret
    Verify,
    /// Write a copy of the store to a file, while others use the store
    Backup(BackupArgs),
    /// Restore a backup, here or on a clean machine
    Restore(RestoreArgs),
    /// Check permissions, keys, the store and the log, and that every secret opens
    Doctor,
    /// Create a throwaway organization to try things out
    Dev,
    /// Print the completions for a shell
    Completions(CompletionsArgs),
    /// List the commands by task, or show the help of one
    Help(HelpArgs),
}

#[derive(Args)]
pub struct InitArgs {
    /// The organization
    #[arg(value_name = "ORG")]
    pub organization: ScopePath,
    /// Protect the identity with a passphrase
    #[arg(long)]
    pub passphrase: bool,
}

#[derive(Subcommand)]
pub enum ProjectCommand {
    /// Add a project below an existing scope
    Add {
        /// The path of the project: acme/evals
        scope: ScopePath,
    },
    /// List scopes
    List {
        /// Only this scope and those below it
        scope: Option<ScopePath>,
    },
    /// Remove a project and destroy its credentials
    Remove {
        /// The path of the project
        scope: ScopePath,
    },
}

#[derive(Args, Clone)]
pub struct CredentialArgs {
    /// The scope that holds it: acme, acme/evals
    pub scope: ScopePath,
    /// The provider: openai (see: entail providers)
    pub provider: ProviderId,
    /// The name of the credential, if the scope has several for the provider
    #[arg(long, default_value_t, hide_default_value = true)]
    pub name: CredentialName,
}

#[derive(Subcommand)]
pub enum CredentialCommand {
    /// Add a credential, or change what is given and keep the rest; a replaced secret is
    /// kept for a while
    Set(Box<SetArgs>),
    /// Replace the secret of a credential; the new one is active at once, the old one
    /// is kept for a while
    Rotate(RotateArgs),
    /// Restore the previous secret of a credential; the current one is kept, so that a
    /// second rollback restores it
    Rollback(RollbackArgs),
    /// List the credentials of a scope
    List {
        /// The scope
        scope: ScopePath,
    },
    /// Show a credential without its secret
    Show(CredentialArgs),
    /// Disable a credential
    Disable(CredentialArgs),
    /// Enable a credential
    Enable(CredentialArgs),
    /// Remove a credential; it is kept for a while, so that it can be restored
    Remove(RemoveArgs),
    /// Restore a credential that was removed
    Restore(CredentialArgs),
}

#[derive(Args)]
pub struct InputArgs {
    /// Set a public field
    #[arg(long = "param", value_name = "FIELD=VALUE")]
    pub parameters: Vec<String>,
    /// The mode of the provider [default: the first that the given fields complete]
    #[arg(long)]
    pub mode: Option<String>,
    /// Read fields from variables; without a value, from those that the provider's
    /// clients read
    #[arg(long, value_name = "[FIELD=]VARIABLE", num_args = 0..=1, default_missing_value = "", action = clap::ArgAction::Append)]
    pub from_env: Vec<String>,
    /// Read a secret field from a file
    #[arg(long, value_name = "[FIELD=]FILE")]
    pub from_file: Vec<String>,
    /// Read the secret from standard input
    #[arg(long)]
    pub stdin: bool,
    /// Allow a URL of plain HTTP within a private network: whoever is on it can read the
    /// secret
    #[arg(long)]
    pub allow_unsafe_http: bool,
}

#[derive(Args)]
#[allow(clippy::struct_excessive_bools)] // options are
pub struct SetArgs {
    #[command(flatten)]
    pub credential: CredentialArgs,
    #[command(flatten)]
    pub input: InputArgs,
    /// Keep the secret; change only rules and parameters
    #[arg(long, conflicts_with = "stdin")]
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
    /// Share with all scopes below, with none, or with paths that match (* within a
    /// segment, ** for any number of segments)
    #[arg(long, value_name = "all|none|PATTERN", value_delimiter = ',')]
    pub share: Vec<String>,
    /// Require the scopes it is shared with to use it instead of their own
    #[arg(long, conflicts_with = "no_mandatory")]
    pub mandatory: bool,
    /// Allow the scopes it is shared with to use their own
    #[arg(long)]
    pub no_mandatory: bool,
    /// Its priority within the scope: lower goes first
    #[arg(long, value_name = "NUMBER")]
    pub priority: Option<u32>,
    /// When the credential expires: 12h, 30d, 2027-01-31 (the start of that day in UTC),
    /// 2027-01-31T12:00:00Z, never
    #[arg(long, value_name = "WHEN")]
    pub expires: Option<String>,
    #[command(flatten)]
    pub grace: GraceArgs,
}

impl SetArgs {
    /// Whether a rule is among what is given.
    pub fn changes_rules(&self) -> bool {
        !self.models.is_empty()
            || self.all_models
            || self.no_models
            || !self.share.is_empty()
            || self.mandatory
            || self.no_mandatory
            || self.priority.is_some()
            || self.expires.is_some()
    }
}

#[derive(Args)]
pub struct RotateArgs {
    #[command(flatten)]
    pub credential: CredentialArgs,
    #[command(flatten)]
    pub input: InputArgs,
    /// When the new secret expires: 12h, 30d, 2027-01-31 (the start of that day in UTC),
    /// 2027-01-31T12:00:00Z, never
    #[arg(long, value_name = "WHEN")]
    pub expires: Option<String>,
    #[command(flatten)]
    pub grace: GraceArgs,
}

#[derive(Args)]
pub struct GraceArgs {
    /// How long a secret that is replaced or removed is kept for a rollback: 12h, 7d; 0
    /// destroys it at once
    #[arg(long, value_name = "TIME", default_value = "24h")]
    pub grace: String,
}

#[derive(Args)]
pub struct RemoveArgs {
    #[command(flatten)]
    pub credential: CredentialArgs,
    #[command(flatten)]
    pub grace: GraceArgs,
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
    /// List the keys, and who secrets are sealed to
    List,
    /// Replace a key; everything stays readable meanwhile
    #[command(subcommand)]
    Rotate(RotateKeyCommand),
    /// Add a recipient that every secret is sealed to: a second machine, a recovery key
    AddRecipient(AddRecipientArgs),
    /// Remove a recipient, and seal nothing to it any more
    RemoveRecipient {
        /// Its id, label or public key (see: entail key list)
        recipient: String,
    },
    /// Seal every secret again that is not sealed to the current recipients
    Reseal,
}

#[derive(Subcommand)]
pub enum RotateKeyCommand {
    /// Replace the key that opens secrets, and seal all of them again
    Identity,
    /// Replace the key that signs documents, and sign all of them again
    Signer,
}

#[derive(Args)]
pub struct AddRecipientArgs {
    /// The age recipient: age1…
    #[arg(required_unless_present = "recovery", conflicts_with = "recovery")]
    pub recipient: Option<String>,
    /// Create a recovery key and write it to this file, to be kept elsewhere
    #[arg(long, value_name = "FILE", value_parser = paths::parser())]
    pub recovery: Option<PathBuf>,
    /// A label for the recipient
    #[arg(long)]
    pub label: Option<String>,
}

#[derive(Args)]
pub struct BackupArgs {
    /// The file to write, which must not exist
    #[arg(value_parser = paths::parser())]
    pub file: PathBuf,
}

#[derive(Args)]
pub struct RestoreArgs {
    /// A file that `entail backup` wrote [default: accept what is in the home]
    #[arg(value_parser = paths::parser())]
    pub file: Option<PathBuf>,
    /// Restore with the key that `key add-recipient --recovery` wrote: on a clean
    /// machine, or where this home's own identity does not open the backup
    #[arg(long, value_name = "FILE", value_parser = paths::parser())]
    pub recovery: Option<PathBuf>,
    /// Accept a state older than what this home has seen
    #[arg(long)]
    pub accept_rollback: bool,
    /// Trust a backup that is signed by this key (see: entail key list)
    #[arg(long, value_name = "ID")]
    pub verifier: Option<String>,
    /// Protect the new identity with a passphrase
    #[arg(long, requires = "recovery")]
    pub passphrase: bool,
}

#[derive(Subcommand)]
pub enum AuditCommand {
    /// Show the last decisions
    Tail {
        /// How many records
        #[arg(short = 'n', long, default_value_t = 20)]
        lines: usize,
        /// Keep printing new records as they are written
        #[arg(short, long)]
        follow: bool,
        /// Also the checks by status and the like, which hand out nothing
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
    /// Verify that no record was changed or removed
    Verify,
    /// Move full files of the log elsewhere, so that they are not missed
    Archive {
        /// The directory to move them to
        #[arg(long, value_name = "DIR", value_parser = paths::parser())]
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
    /// Only this scope and those below it
    #[arg(long)]
    pub scope: Option<ScopePath>,
    /// Only this provider
    #[arg(long)]
    pub provider: Option<ProviderId>,
    /// Only this principal
    #[arg(long)]
    pub principal: Option<String>,
    /// Only this outcome: granted, refused, failed, or the code of a refusal
    #[arg(long)]
    pub outcome: Option<String>,
    /// Only from this time on: 2h, 7d (ago), 2027-01-31 (the start of that day in UTC),
    /// 2027-01-31T12:00:00Z
    #[arg(long, value_name = "WHEN")]
    pub since: Option<String>,
    /// Only until this time
    #[arg(long, value_name = "WHEN")]
    pub until: Option<String>,
}

#[derive(Args)]
pub struct InheritArgs {
    /// The scope that inherits
    pub scope: ScopePath,
    /// The provider [default: every provider]
    pub provider: Option<ProviderId>,
    /// Stop inheriting
    #[arg(long, conflicts_with = "fall_back")]
    pub off: bool,
    /// Inherit also if all of the scope's own credentials are unusable
    #[arg(long)]
    pub fall_back: bool,
}

#[derive(Args)]
pub struct ModelArgs {
    /// The scope
    pub scope: ScopePath,
    /// The provider
    pub provider: ProviderId,
    /// The model [default: remove the setting]
    pub model: Option<ModelId>,
}

/// What `resolve` and `explain` ask for: [`crate::request_target`] works out which word
/// is which.
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

#[derive(Args, Clone)]
pub struct AttributeArgs {
    /// An attribute for the policy, such as session=4711; it is logged
    #[arg(long = "attribute", value_name = "NAME=VALUE")]
    pub attributes: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
pub enum Format {
    /// Text for a person
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
    /// The output format
    #[arg(long, value_enum, default_value = "text")]
    pub format: Format,
}

#[derive(Args)]
pub struct ExplainArgs {
    #[command(flatten)]
    pub request: RequestArgs,
}

/// What `run` and `export-env` ask for: [`crate::request_target`] works out the scope.
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

/// What of the caller's own a command keeps, for its own purposes.
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

#[derive(Args)]
pub struct RunArgs {
    #[command(flatten)]
    pub wanted: VariablesArgs,
    /// Pass none of the caller's variables to the command
    #[arg(long)]
    pub pristine: bool,
    /// The command and its arguments
    #[arg(last = true, required = true)]
    pub command: Vec<std::ffi::OsString>,
}

#[derive(Args)]
pub struct StatusArgs {
    /// Only this scope and those below it [default: ENTAIL_SCOPE, or the scope of the
    /// directory, or every scope]
    pub scope: Option<ScopePath>,
    /// Show every scope, also where the directory has a scope
    #[arg(long, conflicts_with = "scope")]
    pub all: bool,
}

#[derive(Args)]
pub struct ProvidersArgs {
    /// Show this provider in full
    pub provider: Option<ProviderId>,
}

#[derive(Args)]
pub struct CompletionsArgs {
    /// The shell
    pub shell: clap_complete::Shell,
}
