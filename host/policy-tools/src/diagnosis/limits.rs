//! Finds out which limits a component needs.

use std::time::Duration;

use entail::policy::{CallError, Costs, Engine, Exceeded, Limits, Rejected, Sandbox};

use super::defect::{Defect, DefectCode, Remedy};
use super::rejection::{diagnose, exceeds_adjustable_limit, may_need_higher_limits};

/// The factor between what was measured and what is suggested.
const HEADROOM: usize = 2;

/// The same for time, which other work on a machine makes longer.
const TIME_HEADROOM: u32 = 10;

/// The most memory for compiling during the search: what a developer's machine has to
/// spare. Authors who need more set it in their limits.
const SEARCH_MEMORY_BYTES: u64 = 2 << 30;

/// The most time for compiling during the search: a user waits for it.
const SEARCH_TIME: Duration = Duration::from_mins(2);

/// The suggestion for core instances when their number is unknown: more than components of
/// dynamic languages have.
const MANY_INSTANCES: usize = 200;

/// A limit that is too low.
struct Need {
    limit: &'static str,
    message: String,
    /// The suggested value.
    value: u64,
}

/// Returns what is wrong with a component that was rejected under `limits`, including
/// which limits are too low: if higher ones may help, the component is admitted again with
/// the highest.
pub fn find_limits(
    engine: &Engine,
    component: &[u8],
    limits: &Limits,
    rejected: &Rejected,
    sandbox: &Sandbox,
) -> Vec<Defect> {
    if !may_need_higher_limits(rejected) {
        return diagnose(component, limits, rejected, sandbox);
    }
    let highest = Limits {
        compile_memory_bytes: limits.compile_memory_bytes.max(SEARCH_MEMORY_BYTES),
        compile_time: limits.compile_time.max(SEARCH_TIME),
        ..Limits::CEILING
    };
    let limit_defect = |message: String| Defect::without_remedy(DefectCode::Limit, message);
    let costs = match engine.admit_within(component, &highest) {
        Ok(policy) => policy.costs(),
        Err(Rejected::Trial(failure)) if exceeds_adjustable_limit(&failure) => {
            return vec![Defect::new(
                DefectCode::Call,
                format!(
                    "{rejected}; with the highest limits of any policy its trial call fails too: {failure}"
                ),
                Remedy::Advice(
                    "look for a loop that does not end, or for data that grows without end",
                ),
            )];
        }
        Err(other) => {
            let mut found = vec![limit_defect(rejected.to_string())];
            if other.to_string() == rejected.to_string() {
                return found;
            }
            if may_need_higher_limits(&other) {
                found.push(limit_defect(format!(
                    "with the highest limits tried, {other}"
                )));
            } else {
                found.extend(diagnose(component, &highest, &other, sandbox));
            }
            return found;
        }
    };
    let needs = find_needs(engine, component, limits, &highest, rejected, costs);
    if needs.is_empty() {
        return vec![limit_defect(rejected.to_string())];
    }
    let members = needs
        .iter()
        .map(|need| (need.limit.to_owned(), need.value.into()));
    let remedy = Remedy::SetLimits(members.collect());
    needs
        .into_iter()
        .map(|need| Defect::new(DefectCode::Limit, need.message, remedy.clone()))
        .collect()
}

/// Returns which of `limits` are too low for a component that is admitted under `highest`.
fn find_needs(
    engine: &Engine,
    component: &[u8],
    limits: &Limits,
    highest: &Limits,
    rejected: &Rejected,
    costs: Costs,
) -> Vec<Need> {
    let mut raised = Limits {
        // It is compiled already.
        compile_memory_bytes: highest.compile_memory_bytes,
        compile_time: highest.compile_time,
        ..limits.clone()
    };
    let mut needs = size_needs(&mut raised, component.len(), costs);
    needs.extend(deadline_need(&mut raised, limits, rejected, costs));
    needs.extend(rejection_need(&mut raised, highest, rejected));
    needs.extend(instances_need(engine, component, &raised));
    needs
}

/// Raises the limits of sizes to what was measured, and returns which were too low.
fn size_needs(raised: &mut Limits, component_bytes: usize, costs: Costs) -> Vec<Need> {
    let ceiling = Limits::CEILING;
    let measured = [
        (
            "component_bytes",
            ("it has", "bytes"),
            component_bytes,
            1 << 20,
            (&mut raised.component_bytes, ceiling.component_bytes),
        ),
        (
            "memory_bytes",
            ("a call takes", "bytes of memory"),
            costs.memory_bytes,
            1 << 20,
            (&mut raised.memory_bytes, ceiling.memory_bytes),
        ),
        (
            "table_elements",
            ("it has", "table elements"),
            costs.table_elements,
            1_000,
            (&mut raised.table_elements, ceiling.table_elements),
        ),
    ];
    let mut needs = Vec::new();
    for (limit, (verb, unit), used, step, (raised, ceiling)) in measured {
        let allowed = *raised;
        if used <= allowed {
            continue;
        }
        *raised = used
            .saturating_mul(HEADROOM)
            .next_multiple_of(step)
            .min(ceiling);
        needs.push(Need {
            limit,
            message: format!("{verb} {used} {unit}, and {allowed} are allowed"),
            value: as_u64(*raised),
        });
    }
    needs
}

fn deadline_need(
    raised: &mut Limits,
    limits: &Limits,
    rejected: &Rejected,
    costs: Costs,
) -> Option<Need> {
    let missed_deadline = matches!(
        rejected,
        Rejected::Trial(CallError::Exceeded(Exceeded::DeadlineMs(_)))
    );
    if !missed_deadline && costs.trial_call <= limits.deadline {
        return None;
    }
    let measured = costs.trial_call.max(limits.deadline);
    raised.deadline = (measured * TIME_HEADROOM).min(Limits::CEILING.deadline);
    Some(Need {
        limit: "deadline_ms",
        message: format!(
            "a call takes longer than the allowed {} ms",
            limits.deadline.as_millis()
        ),
        value: as_ms(raised.deadline),
    })
}

/// Returns the need that the rejection itself names.
fn rejection_need(raised: &mut Limits, highest: &Limits, rejected: &Rejected) -> Option<Need> {
    match rejected {
        Rejected::Trial(CallError::Exceeded(Exceeded::ResultBytes(limit))) => {
            raised.result_bytes = Limits::CEILING.result_bytes;
            Some(Need {
                limit: "result_bytes",
                message: format!("its result has more than {limit} bytes"),
                value: as_u64(raised.result_bytes),
            })
        }
        Rejected::CompileMemory { limit } => Some(Need {
            limit: "compile_memory_bytes",
            message: format!("compiling it takes more than {limit} bytes of memory"),
            value: highest.compile_memory_bytes,
        }),
        Rejected::CompileTime { limit } => Some(Need {
            limit: "compile_time_ms",
            message: format!("compiling it takes longer than {} s", limit.as_secs()),
            value: as_ms(highest.compile_time),
        }),
        _ => None,
    }
}

/// The engine does not report how many instances a component has, only that there are too
/// many: so the component is admitted again with the raised limits.
fn instances_need(engine: &Engine, component: &[u8], raised: &Limits) -> Option<Need> {
    let Err(Rejected::Invalid(reason)) = engine.admit_within(component, raised) else {
        return None;
    };
    let count = instance_count(&reason);
    let allowed = raised.instances;
    Some(Need {
        limit: "instances",
        message: match count {
            Some(count) => {
                format!("it has {count} core instances, and {allowed} are allowed")
            }
            None => format!("it has more than {allowed} core instances"),
        },
        value: as_u64(count.map_or(MANY_INSTANCES, |count| {
            count.saturating_mul(HEADROOM).next_multiple_of(10)
        })),
    })
}

/// Returns the number in the engine's message about too many instances.
fn instance_count(reason: &str) -> Option<usize> {
    let (_, count) = reason.split_once("transitively contains ")?;
    count.split_whitespace().next()?.parse().ok()
}

fn as_u64(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

fn as_ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_instance_count_is_read_from_the_message_of_the_engine() {
        let reason = "The component transitively contains 31 core module instances, which exceeds";
        assert_eq!(instance_count(reason), Some(31));
        assert_eq!(
            instance_count("resource limit exceeded: instance count too high at 17"),
            None
        );
    }
}
