//! The library's policies as structs of the API.

use std::collections::BTreeMap;

use entail::policy::{Isolation, Limits, Policy};
use entail::store::RandomId;
use entail::{Entail, Principal};

use crate::error::CliError;
use crate::session::Session;

use entail_api::policy::{
    BuiltInPolicy, InstalledPolicy, PolicyActivation, PolicyHistory, PolicyLimits,
};

/// Converts limits.
pub fn policy_limits(limits: &Limits) -> PolicyLimits {
    let ms = |time: std::time::Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    PolicyLimits {
        deadline_ms: ms(limits.deadline),
        memory_bytes: number(limits.memory_bytes),
        table_elements: number(limits.table_elements),
        instances: number(limits.instances),
        credentials: number(limits.credentials),
        result_bytes: number(limits.result_bytes),
        component_bytes: number(limits.component_bytes),
        compile_memory_bytes: limits.compile_memory_bytes,
        compile_time_ms: ms(limits.compile_time),
    }
}

/// Who the principals in the documents are.
pub struct PrincipalNames(BTreeMap<RandomId, Principal>);

impl PrincipalNames {
    /// Reads the principals that were not erased.
    ///
    /// # Errors
    ///
    /// Fails if the store cannot be read.
    pub async fn read(session: &Session, entail: &Entail) -> Result<Self, CliError> {
        Ok(PrincipalNames(entail.principals(&session.principal).await?))
    }

    /// Returns the name of a principal.
    fn name(&self, id: RandomId) -> String {
        let found = self.0.get(&id);
        found.map_or_else(|| "erased".to_owned(), ToString::to_string)
    }
}

/// Converts an installed policy.
pub fn installed_policy(
    policy: entail::InstalledPolicy,
    principals: &PrincipalNames,
) -> InstalledPolicy {
    InstalledPolicy {
        component: policy.component.to_string(),
        bytes: number(policy.bytes),
        name: policy.name,
        version: policy.version,
        summary: policy.summary,
        contract: policy.contract,
        schema: policy.schema,
        limits: policy_limits(&policy.limits),
        source: policy.source,
        over: policy.over.map(|digest| digest.to_string()),
        installed_by: principals.name(policy.installed_by),
        installed_at_ms: policy.installed_at_ms,
        dry_run: false,
    }
}

/// Converts the built-in policy.
pub fn built_in_policy(policy: &Policy) -> BuiltInPolicy {
    let description = policy.description();
    BuiltInPolicy {
        name: description.name.clone(),
        version: description.version.clone(),
        summary: description.summary.clone(),
        digest: policy.digest().to_string(),
        bytes: number(entail::DEFAULT_POLICY.len()),
        contract: policy.contract().to_string(),
    }
}

/// Converts the active policy of an organization, with its shadow and earlier ones.
pub fn policy_history(policy: entail::ActivePolicy, principals: &PrincipalNames) -> PolicyHistory {
    let convert = |activation| policy_activation(activation, principals);
    PolicyHistory {
        active: convert(policy.current),
        earlier: policy.previous.into_iter().map(convert).collect(),
        shadow: policy.shadow.map(convert),
    }
}

fn policy_activation(
    activation: entail::PolicyActivation,
    principals: &PrincipalNames,
) -> PolicyActivation {
    let activated_by = activation.activated_by;
    let isolation = match activation.isolation {
        Isolation::PerCall => "per-call",
        Isolation::PerOrganization => "per-organization",
    };
    PolicyActivation {
        component: activation.component.map(|digest| digest.to_string()),
        settings: activation.settings,
        limits: policy_limits(&activation.limits),
        isolation: isolation.to_owned(),
        activated_by: activated_by.map_or_else(String::new, |id| principals.name(id)),
        activated_at_ms: activation.activated_at_ms,
    }
}

fn number(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
