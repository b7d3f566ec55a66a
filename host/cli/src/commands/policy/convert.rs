//! The library's policies as structs of the API.

use entail::policy::{Isolation, Limits, Policy};

use crate::api::policy::{
    BuiltInPolicy, InstalledPolicy, PolicyActivation, PolicyHistory, PolicyLimits,
};

impl From<&Limits> for PolicyLimits {
    fn from(limits: &Limits) -> Self {
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
}

impl From<entail::InstalledPolicy> for InstalledPolicy {
    fn from(policy: entail::InstalledPolicy) -> Self {
        InstalledPolicy {
            component: policy.component.to_string(),
            bytes: number(policy.bytes),
            name: policy.name,
            version: policy.version,
            summary: policy.summary,
            contract: policy.contract,
            schema: policy.schema,
            limits: (&policy.limits).into(),
            source: policy.source,
            over: policy.over.map(|digest| digest.to_string()),
            installed_by: policy.installed_by,
            installed_at_ms: policy.installed_at_ms,
            dry_run: false,
        }
    }
}

impl From<&Policy> for BuiltInPolicy {
    fn from(policy: &Policy) -> Self {
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
}

impl From<entail::ActivePolicy> for PolicyHistory {
    fn from(policy: entail::ActivePolicy) -> Self {
        PolicyHistory {
            active: policy.current.into(),
            earlier: policy.previous.into_iter().map(Into::into).collect(),
            shadow: policy.shadow.map(Into::into),
        }
    }
}

impl From<entail::PolicyActivation> for PolicyActivation {
    fn from(activation: entail::PolicyActivation) -> Self {
        let isolation = match activation.isolation {
            Isolation::PerCall => "per-call",
            Isolation::PerOrganization => "per-organization",
        };
        PolicyActivation {
            component: activation.component.map(|digest| digest.to_string()),
            settings: activation.settings,
            limits: (&activation.limits).into(),
            isolation: isolation.to_owned(),
            activated_by: activation.activated_by,
            activated_at_ms: activation.activated_at_ms,
        }
    }
}

fn number(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
