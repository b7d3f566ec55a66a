//! `policy check`: whether a component would be admitted, and what it needs; else what is
//! wrong with it.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use entail::policy::{BadSettings, Isolation, Policy, Values};
use entail_policy_tools::component::Component;
use entail_policy_tools::diagnosis::{Defect, diagnose_call, diagnose_settings};
use entail_policy_tools::source::read_settings;
use entail_policy_tools::test_engine::{CALLS, median_call_time};
use serde_json::{Value, json};

use super::component_args::ComponentArgs;
use super::convert::policy_limits;
use super::engine::{CommandEngine, announce};
use super::errors::{does_not_work, remedy_text};
use crate::args::path as paths;
use crate::error::CliError;
use crate::output::{Cell, Style, Table, out, print_json};
use crate::session::Session;
use entail_api::policy_check::{CheckedPolicy, ComponentProblem, PolicyCheck};

/// A call that takes more than this part of its deadline on an idle machine may miss it on
/// a busy one.
const DEADLINE_MARGIN: u32 = 4;

#[derive(Args)]
pub struct CheckArgs {
    #[command(flatten)]
    component: ComponentArgs,
    /// Settings to check the component with: a file with a JSON object
    #[arg(long, value_name = "FILE", value_parser = paths::parser())]
    settings: Option<PathBuf>,
    /// If the limits are too low, find out what it needs: try again with up to 2 GiB
    /// of memory and 2 minutes for compiling, and up to 512 MiB and 10 seconds a call
    #[arg(long)]
    find_limits: bool,
}

/// Checks it.
///
/// # Errors
///
/// Fails if it cannot be read, is not admitted, or fails when it is called.
pub fn check(session: &Session, args: &CheckArgs) -> Result<(), CliError> {
    let engine = CommandEngine::new(session)?;
    let component = args.component.read(engine.tests.engine())?;
    announce(&component);
    let admitted = if args.find_limits {
        engine.tests.admit_finding_limits(&component)
    } else {
        engine.tests.admit(&component)
    };
    let policy = match admitted {
        Ok(policy) => policy,
        Err(error) => {
            print_problems(session, false, &error.defects);
            return Err(error.into());
        }
    };
    let works = check_works(args, &component, policy)?;
    let checked = works.map_err(|defects| {
        print_problems(session, true, &defects);
        does_not_work(&component.name, &defects)
    })?;
    if session.global.json {
        print_json(&json!(PolicyCheck {
            admitted: true,
            problems: Vec::new(),
            policy: Some(checked),
        }));
    } else {
        print(&component.name, &checked);
    }
    Ok(())
}

/// Validates the settings and calls the policy. Returns its defects if it does not work.
fn check_works(
    args: &CheckArgs,
    component: &Component,
    policy: Policy,
) -> Result<Result<CheckedPolicy, Vec<Defect>>, CliError> {
    let settings = match &args.settings {
        Some(file) => read_settings(file)?,
        None => Values::new(),
    };
    let policy = match policy.with_settings(&settings) {
        Ok(policy) => policy,
        // A policy may need settings.
        Err(BadSettings::NotAccepted(_)) if args.settings.is_none() => policy,
        Err(bad) => return Ok(Err(diagnose_settings(&bad))),
    };
    let call_time = |isolation| {
        median_call_time(&policy.with_isolation(isolation))
            .map_err(|failure| vec![diagnose_call(&component.bytes, &failure)])
    };
    Ok(call_time(Isolation::PerCall).and_then(|fresh| {
        let warm = call_time(Isolation::PerOrganization)?;
        Ok(describe(component, &policy, fresh, warm))
    }))
}

fn print_problems(session: &Session, admitted: bool, defects: &[Defect]) {
    if !session.global.json {
        return;
    }
    let problems = defects.iter().map(|defect| ComponentProblem {
        code: defect.code.name().to_owned(),
        message: defect.message.clone(),
        remedy: defect.remedy.as_ref().map(remedy_text),
    });
    print_json(&json!(PolicyCheck {
        admitted,
        problems: problems.collect(),
        policy: None,
    }));
}

fn describe(
    component: &Component,
    policy: &Policy,
    fresh: Duration,
    warm: Duration,
) -> CheckedPolicy {
    let number = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
    let us = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    let description = policy.description();
    let costs = policy.costs();
    CheckedPolicy {
        name: description.name.clone(),
        version: description.version.clone(),
        summary: description.summary.clone(),
        digest: policy.digest().to_string(),
        contract: policy.contract().to_string(),
        schema: policy.schema().cloned(),
        bytes: number(component.bytes.len()),
        admission_us: us(costs.admission),
        compiled: costs.compiled,
        trial_call_us: us(costs.trial_call),
        fresh_call_us: us(fresh),
        warm_call_us: us(warm),
        memory_bytes: number(costs.memory_bytes),
        table_elements: number(costs.table_elements),
        limits: policy_limits(policy.limits()),
        warnings: warnings(policy, fresh),
    }
}

/// Returns what works here but may not elsewhere.
fn warnings(policy: &Policy, fresh: Duration) -> Vec<String> {
    let limits = policy.limits();
    let us = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    let mut warnings = Vec::new();
    if fresh * DEADLINE_MARGIN > limits.deadline {
        warnings.push(format!(
            "a call takes {} of its {}; on a busy machine it may miss the deadline: raise deadline_ms in limits.json, or activate it with --isolation per-organization",
            time(us(fresh)),
            time(us(limits.deadline))
        ));
    }
    if policy.costs().memory_bytes > limits.memory_bytes / 4 * 3 {
        warnings.push(
            "it is close to its memory limit, and large facts need more: raise memory_bytes in limits.json"
                .to_owned(),
        );
    }
    warnings
}

fn print(component: &str, policy: &CheckedPolicy) {
    let limits = &policy.limits;
    let settings = match &policy.schema {
        Some(schema) => setting_names(schema),
        None => "none".to_owned(),
    };
    let admission = if policy.compiled {
        format!("{}, including compilation", time(policy.admission_us))
    } else {
        format!("{}; it was compiled before", time(policy.admission_us))
    };
    let mut table = Table::default();
    for (name, value) in [
        ("policy", format!("{} {}", policy.name, policy.version)),
        ("summary", policy.summary.clone()),
        ("digest", policy.digest.clone()),
        ("contract", policy.contract.clone()),
        ("imports", "none".to_owned()),
        ("settings", settings),
        (
            "size",
            format!("{} bytes of {}", policy.bytes, limits.component_bytes),
        ),
        ("admission", admission),
        (
            "calls",
            format!(
                "first {}; median of {CALLS}: {} in a fresh instance, {} in a warm one",
                time(policy.trial_call_us),
                time(policy.fresh_call_us),
                time(policy.warm_call_us)
            ),
        ),
        (
            "deadline",
            format!("{} a call", time(limits.deadline_ms.saturating_mul(1_000))),
        ),
        (
            "memory",
            format!("{} bytes of {}", policy.memory_bytes, limits.memory_bytes),
        ),
        (
            "tables",
            format!(
                "{} elements of {}",
                policy.table_elements, limits.table_elements
            ),
        ),
    ] {
        table.row([Cell::new(name, Style::Faint), value.into()]);
    }
    table.print();
    for warning in &policy.warnings {
        out!(Style::Warn => "warning:"; " {warning}");
    }
    out!(Style::Good => "admitted:"; " {component} can be installed");
}

/// Returns the names of the settings in a schema.
fn setting_names(schema: &Value) -> String {
    let properties = schema.get("properties").and_then(Value::as_object);
    let names: Vec<&str> = properties
        .into_iter()
        .flat_map(|properties| properties.keys().map(String::as_str))
        .collect();
    if names.is_empty() {
        return "by a schema (see: --json)".to_owned();
    }
    format!("{} (schema: --json)", names.join(", "))
}

/// Returns a time in the unit that suits it.
fn time(us: u64) -> String {
    match us {
        0..1_000 => format!("{us} µs"),
        1_000..100_000 => format!("{}.{} ms", us / 1_000, us % 1_000 / 100),
        100_000..10_000_000 => format!("{} ms", us / 1_000),
        _ => format!("{} s", us / 1_000_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_the_unit_that_suits_it() {
        let texts = [7, 1_234, 100_000, 12_345_678].map(time);
        assert_eq!(texts, ["7 µs", "1.2 ms", "100 ms", "12 s"]);
    }
}
