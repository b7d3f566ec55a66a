//! The library's policies as structs of the API.

use entail::policy::{Isolation, Limits, Policy};

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

/// Converts an installed policy.
pub fn installed_policy(policy: entail::InstalledPolicy) -> InstalledPolicy {
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
        installed_by: policy.installed_by,
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
pub fn policy_history(policy: entail::ActivePolicy) -> PolicyHistory {
    PolicyHistory {
        active: policy_activation(policy.current),
        earlier: policy.previous.into_iter().map(policy_activation).collect(),
        shadow: policy.shadow.map(policy_activation),
    }
}

fn policy_activation(activation: entail::PolicyActivation) -> PolicyActivation {
    let isolation = match activation.isolation {
        Isolation::PerCall => "per-call",
        Isolation::PerOrganization => "per-organization",
    };
    PolicyActivation {
        component: activation.component.map(|digest| digest.to_string()),
        settings: activation.settings,
        limits: policy_limits(&activation.limits),
        isolation: isolation.to_owned(),
        activated_by: activation.activated_by,
        activated_at_ms: activation.activated_at_ms,
    }
}

fn number(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
