//! Explains why a component is rejected.

use entail::policy::{BadSettings, CallError, Exceeded, Limits, Rejected, Sandbox};
use serde_json::{Map, json};

use super::defect::{Defect, DefectCode, Remedy, SystemRemedy};
use super::toolchain::Toolchain;
use crate::contract_diff::contract_differences;

/// The most imports that are named one by one.
const MAX_NAMED: usize = 4;

/// The interfaces that a layer imports.
const LAYER_IMPORTS: [&str; 2] = ["entail:policy/resolver@", "entail:policy/settings@"];

/// The prefix of WebAssembly's system interface.
const SYSTEM: &str = "wasi:";

/// Returns what is wrong with a component that was rejected under `limits`. It is not
/// admitted again with other limits; [`super::find_limits`] does that.
pub fn diagnose(
    component: &[u8],
    limits: &Limits,
    rejected: &Rejected,
    sandbox: &Sandbox,
) -> Vec<Defect> {
    let one = |code, message: &str, remedy| vec![Defect::new(code, message, remedy)];
    let reason = rejected.to_string();
    match rejected {
        Rejected::AboveCeiling(limit) => {
            vec![out_of_range(reason, limit, &Limits::CEILING, true)]
        }
        Rejected::BelowFloor(limit) => {
            vec![out_of_range(reason, limit, &Limits::FLOOR, false)]
        }
        Rejected::CoreModule => one(
            DefectCode::NotAComponent,
            "this is a core WebAssembly module, not a component",
            Remedy::BuildFromModule,
        ),
        Rejected::NotAComponent => vec![not_a_component(component)],
        Rejected::Imports(imports) => forbidden_imports(component, imports),
        Rejected::MissingExport(reason) | Rejected::WrongType(reason) => {
            let mut found = contract_differences(component, limits, sandbox);
            if found.is_empty() {
                found.push(reason.clone());
            }
            found
                .into_iter()
                .map(|message| {
                    Defect::new(DefectCode::Contract, message, Remedy::RegenerateBindings)
                })
                .collect()
        }
        Rejected::Description(rule) => one(
            DefectCode::Description,
            &format!("about.describe returns what cannot be displayed: {rule}"),
            Remedy::Advice("return a name, a version and one sentence"),
        ),
        Rejected::Schema(reason) => vec![unusable_schema(reason)],
        Rejected::CompileAddressSpace { .. } => one(
            DefectCode::Limit,
            &reason,
            Remedy::Advice("give the program more: ulimit -v unlimited"),
        ),
        Rejected::CodeTooLarge { .. } => one(
            DefectCode::Limit,
            &format!("{reason}, far more than usual for a component of its size"),
            Remedy::Advice("look for a part of it that is instantiated over and over"),
        ),
        Rejected::Trial(failure) if !exceeds_adjustable_limit(failure) => {
            vec![failed_call(
                component,
                format!("its trial call failed: {failure}"),
                failure,
            )]
        }
        _ if may_need_higher_limits(rejected) => {
            one(DefectCode::Limit, &reason, Remedy::FindLimits)
        }
        _ => vec![Defect::without_remedy(DefectCode::Engine, reason)],
    }
}

/// Returns whether higher limits may help.
pub(super) fn may_need_higher_limits(rejected: &Rejected) -> bool {
    match rejected {
        Rejected::TooLarge { .. }
        | Rejected::CompileMemory { .. }
        | Rejected::CompileTime { .. } => true,
        Rejected::Trial(failure) => exceeds_adjustable_limit(failure),
        Rejected::Invalid(reason) => exceeds_engine_limit(reason),
        _ => false,
    }
}

/// Returns whether a call exceeded a limit that can be raised.
pub(super) fn exceeds_adjustable_limit(failure: &CallError) -> bool {
    matches!(
        failure,
        CallError::Exceeded(
            Exceeded::DeadlineMs(_)
                | Exceeded::MemoryBytes(_)
                | Exceeded::TableElements(_)
                | Exceeded::ResultBytes(_)
        )
    )
}

/// Returns whether the engine's reason is that the component needs more than its
/// allocation has.
fn exceeds_engine_limit(reason: &str) -> bool {
    ["exceeds the", "count too high at "]
        .iter()
        .any(|words| reason.contains(words))
}

fn unusable_schema(reason: &str) -> Defect {
    Defect::new(
        DefectCode::Schema,
        format!("settings.schema returns a schema that cannot be used: {reason}"),
        Remedy::Advice(
            "return a JSON Schema (draft 2020-12) of at most 64 KiB without references, as a JSON text",
        ),
    )
}

/// Returns what is wrong with settings, or with the schema that checks them.
pub fn diagnose_settings(bad: &BadSettings) -> Vec<Defect> {
    let settings = |message: String| Defect::without_remedy(DefectCode::Settings, message);
    match bad {
        BadSettings::Schema(reason) => vec![unusable_schema(reason)],
        BadSettings::NotAccepted(problems) => problems
            .iter()
            .map(|problem| settings(problem.to_string()))
            .collect(),
        other => vec![settings(other.to_string())],
    }
}

/// Describes a call with ordinary facts that failed. The component is admitted all the
/// same, since the policy may decide other facts.
pub fn diagnose_call(component: &[u8], failure: &CallError) -> Defect {
    let message = format!("it fails for an ordinary request: {failure}");
    failed_call(component, message, failure)
}

fn failed_call(component: &[u8], message: String, failure: &CallError) -> Defect {
    let advice = match failure {
        CallError::Trapped(_) => match Toolchain::detect(component) {
            Toolchain::JavaScript | Toolchain::Python => {
                "look for an exception that is not caught, and for system calls, such as the clock, random numbers or printing: a policy has none of them, and they trap"
            }
            Toolchain::Rust | Toolchain::Unknown => {
                "look for a panic, such as an index out of range: a policy must decide any facts, or return an error"
            }
        },
        CallError::Exceeded(Exceeded::Stack) => {
            "look for a recursion that does not end; the depth is the same for every policy"
        }
        _ => return Defect::without_remedy(DefectCode::Call, message),
    };
    Defect::new(DefectCode::Call, message, Remedy::Advice(advice))
}

/// Describes a limit that no policy can have, with the nearest one that it can.
fn out_of_range(reason: String, limit: &str, bound: &Limits, is_maximum: bool) -> Defect {
    match json!(bound).get(limit) {
        Some(value) => Defect::new(
            DefectCode::Limit,
            reason,
            Remedy::LimitRange {
                is_maximum,
                limit: Map::from_iter([(limit.to_owned(), value.clone())]),
            },
        ),
        None => Defect::without_remedy(DefectCode::Limit, reason),
    }
}

fn not_a_component(bytes: &[u8]) -> Defect {
    if bytes.is_empty() {
        return Defect::without_remedy(DefectCode::NotAComponent, "this file is empty");
    }
    if bytes.trim_ascii_start().starts_with(b"(") {
        return Defect::new(
            DefectCode::NotAComponent,
            "this is WebAssembly as text, not a component in binary form",
            Remedy::ConvertText,
        );
    }
    Defect::new(
        DefectCode::NotAComponent,
        "this is not a WebAssembly component in binary form",
        Remedy::Build,
    )
}

/// Describes forbidden imports: those of a layer, those of the system, and others.
fn forbidden_imports(component: &[u8], imports: &[String]) -> Vec<Defect> {
    let select = |matches: &dyn Fn(&str) -> bool| -> Vec<&str> {
        let imports = imports.iter().map(String::as_str);
        imports.filter(|import| matches(import)).collect()
    };
    let is_of_layer = |import: &str| LAYER_IMPORTS.iter().any(|name| import.starts_with(name));
    let is_system = |import: &str| import.starts_with(SYSTEM);
    let of_layer = select(&is_of_layer);
    let system = select(&is_system);
    let others = select(&|import| !is_of_layer(import) && !is_system(import));
    let mut defects = Vec::new();
    let mut add = |message, remedy| defects.push(Defect::new(DefectCode::Import, message, remedy));
    if !of_layer.is_empty() {
        let names = list(&of_layer);
        let message = format!("it imports {names}: it is a layer over another policy");
        add(message, Remedy::ComposeOver);
    }
    if !system.is_empty() {
        let names = list(&system);
        let message = format!("it imports {names} of the system, and a policy imports nothing");
        let remedy = match Toolchain::detect(component) {
            Toolchain::Rust => SystemRemedy::Rust,
            Toolchain::JavaScript => SystemRemedy::JavaScript,
            Toolchain::Python => SystemRemedy::Python,
            Toolchain::Unknown => SystemRemedy::Unknown,
        };
        add(message, Remedy::BuildWithoutSystem(remedy));
    }
    if !others.is_empty() {
        add(
            format!("it imports {}, and a policy imports nothing", list(&others)),
            Remedy::Advice(
                "remove the import from its world, and its calls from the code: all that a policy knows arrives in the request",
            ),
        );
    }
    defects
}

fn list(names: &[&str]) -> String {
    let shown: Vec<&str> = names.iter().take(MAX_NAMED).copied().collect();
    match names.len() - shown.len() {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imports_are_distinguished() {
        let imports = [
            "entail:policy/resolver@0.2.0",
            "wasi:cli/environment@0.2.6",
            "wasi:random/random@0.2.6",
            "acme:directory/people",
        ]
        .map(str::to_owned);
        let messages: Vec<String> = forbidden_imports(b"", &imports)
            .into_iter()
            .map(|defect| defect.message)
            .collect();
        assert_eq!(
            messages,
            [
                "it imports entail:policy/resolver@0.2.0: it is a layer over another policy",
                "it imports wasi:cli/environment@0.2.6, wasi:random/random@0.2.6 of the system, and a policy imports nothing",
                "it imports acme:directory/people, and a policy imports nothing",
            ]
        );
    }

    #[test]
    fn a_long_list_is_cut() {
        let names: Vec<&str> = ["a", "b", "c", "d", "e", "f"].into();
        assert_eq!(list(&names), "a, b, c, d and 2 more");
    }

    #[test]
    fn the_maximum_of_a_limit_is_named() {
        let reason = Rejected::AboveCeiling("instances").to_string();
        let defect = out_of_range(reason, "instances", &Limits::CEILING, true);
        assert_eq!(
            defect.remedy,
            Some(Remedy::LimitRange {
                is_maximum: true,
                limit: Map::from_iter([("instances".to_owned(), json!(1_000))]),
            })
        );
    }
}
