//! The JSON Schema of all output.

use schemars::SchemaGenerator;
use serde_json::{Map, Value, json};

use crate::{
    access, audit, backup, bundle, credential, directory_scope, doctor, environment, error,
    explain, heartbeat, import, keys, policy, policy_check, policy_comparison, policy_project,
    policy_test, principal, project, provider, resolve, status, verify,
};

/// Registers the output type of each command.
macro_rules! outputs {
    ($generator:expr, $($command:literal => $output:ty,)*) => {{
        let mut commands = Map::new();
        $(commands.insert(
            $command.to_owned(),
            $generator.subschema_for::<$output>().to_value(),
        );)*
        commands
    }};
}

/// Returns the JSON Schema (draft 2020-12) of all output: the definition of each type in
/// `$defs`, and a reference for each command in `commands`.
pub fn schema() -> Value {
    let mut generator = SchemaGenerator::default();
    let commands = commands(&mut generator);
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Output of entail --json",
        "commands": commands,
        "$defs": generator.take_definitions(true),
    })
}

fn commands(generator: &mut SchemaGenerator) -> Map<String, Value> {
    outputs! { generator,
    "audit accept-loss" => audit::LogEvent,
    "audit archive" => audit::Archived,
    "audit verify" => audit::LogVerification,
    "backup" => backup::Backup,
    "bundle explain" => explain::Explanation,
    "bundle export" => bundle::BundleExported,
    "bundle inspect" => bundle::Bundle,
    "bundle resolve" => resolve::Lease,
    "bundle verify" => bundle::Bundle,
    "credential list" => credential::CredentialList,
    "credential set" => credential::CredentialChanged,
    "credential rotate" => credential::CredentialChanged,
    "credential rollback" => credential::CredentialChanged,
    "credential restore" => credential::CredentialChanged,
    "credential enable" => credential::CredentialChanged,
    "credential disable" => credential::CredentialChanged,
    "credential remove" => credential::CredentialChanged,
    "credential show" => credential::Credential,
    "dev" => project::DevHome,
    "doctor" => doctor::Checks,
    "explain" => explain::Explanation,
    "export-env" => environment::EnvironmentChanges,
    "heartbeat require" => heartbeat::Heartbeats,
    "heartbeat send" => heartbeat::Heartbeats,
    "import" => import::ImportReport,
    "inherit" => project::InheritanceSet,
    "init" => project::OrganizationCreated,
    "key add-recipient" => keys::KeysChanged,
    "key list" => keys::Keys,
    "key remove-recipient" => keys::KeysChanged,
    "key reseal" => keys::KeysChanged,
    "key rotate identity" => keys::KeysChanged,
    "key rotate signer" => keys::KeysChanged,
    "key receipt" => keys::ReceiptRenewed,
    "key … --dry-run" => keys::KeysPlan,
    "model" => project::ModelSet,
    "policy activate" => policy::OrganizationPolicy,
    "policy build" => policy_project::PolicyBuild,
    "policy build --check" => policy_project::BuildCheck,
    "policy check" => policy_check::PolicyCheck,
    "policy decide (an error)" => policy::DecideError,
    "policy diff" => access::AccessComparison,
    "policy export" => policy::ExportedPolicy,
    "policy install" => policy::InstalledPolicy,
    "policy list" => policy::PolicyList,
    "policy new" => policy_project::NewPolicy,
    "policy remove" => policy::RemovedPolicy,
    "policy replay" => policy_comparison::ReplayReport,
    "policy rollback" => policy::OrganizationPolicy,
    "policy shadow" => policy::OrganizationPolicy,
    "policy shadow ORG (after the list of decisions)" => policy_comparison::ShadowSummary,
    "policy shadow ORG (each decision)" => policy_comparison::ShadowDecision,
    "policy show ORG" => policy::OrganizationPolicy,
    "policy show POLICY" => policy::InstalledPolicy,
    "policy show built-in" => policy::BuiltInPolicy,
    "policy show --wit" => policy::PolicyWit,
    "policy test" => Vec<policy_test::VectorFileResult>,
    "principal erase" => principal::PrincipalErased,
    "principal list" => principal::PrincipalList,
    "project add" => project::ProjectCreated,
    "project list" => project::Scopes,
    "project remove" => project::ProjectRemoved,
    "providers" => provider::Providers,
    "providers PROVIDER" => provider::Provider,
    "resolve" => resolve::Lease,
    "restore" => backup::Restored,
    "restore --dry-run" => backup::RestorePlan,
    "status" => status::Status,
    "use" => directory_scope::DirectoryScope,
    "verify" => verify::Verification,
    "--dry-run of what changes who gets what" => access::AccessComparison,
    "an error, on standard error" => error::ErrorOutput,
    }
}
