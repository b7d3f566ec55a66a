//! What is wrong with a component that was not admitted, in words for its author, and
//! what to do about it with the tools of the language it was written in.

use std::time::Duration;

use entail::policy::{BadSettings, CallError, Costs, Engine, Exceeded, Limits, Rejected};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::contract_difference::differences_within;
use crate::failure::Failure;

/// The most imports that are named one by one.
const MAX_NAMED: usize = 4;

/// How much more than was measured is suggested.
const HEADROOM: usize = 2;

/// The same for time, which other work on a machine makes longer.
const HEADROOM_IN_TIME: u32 = 10;

/// The most that compiling may take while it is found out what a component needs: what a
/// developer's machine has to spare. Whoever gives more says so in limits.
const FINDING_MEMORY_BYTES: u64 = 2 << 30;

/// The same of time: somebody waits for it.
const FINDING_TIME: Duration = Duration::from_mins(2);

/// How to find that out.
const FIND: &str = "find out what it needs with: entail policy check FILE --find-limits; then put that into limits.json in its folder, or give a file with it by --limits";

/// Core instances that are suggested when nobody has counted: more than what those of
/// dynamic languages have.
const MANY_INSTANCES: usize = 200;

/// The interfaces that a layer imports.
const BELOW: [&str; 2] = ["entail:policy/resolver@", "entail:policy/settings@"];

/// What the system interface of WebAssembly is called.
const SYSTEM: &str = "wasi:";

/// Something that is wrong with a component.
#[derive(Debug, PartialEq, Serialize)]
pub struct Problem {
    /// What, as a sentence.
    pub what: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

impl Problem {
    fn new(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Problem {
            what: what.into(),
            remedy: Some(remedy.into()),
        }
    }

    fn without_remedy(what: impl Into<String>) -> Self {
        Problem {
            what: what.into(),
            remedy: None,
        }
    }
}

/// What is wrong with a component that was not admitted under `limits`. It is not tried
/// again: the limits that were given hold.
pub fn problems(bytes: &[u8], limits: &Limits, rejected: &Rejected) -> Vec<Problem> {
    match rejected {
        Rejected::AboveCeiling(limit) => {
            vec![out_of_range(rejected, limit, "most", &Limits::CEILING)]
        }
        Rejected::BelowFloor(limit) => {
            vec![out_of_range(rejected, limit, "least", &Limits::FLOOR)]
        }
        Rejected::CoreModule => vec![Problem::new(
            "this is a core WebAssembly module, not a component",
            "entail policy build --module FILE",
        )],
        Rejected::NotAComponent => vec![no_component(bytes)],
        Rejected::Imports(imports) => forbidden(bytes, imports),
        Rejected::MissingExport(reason) | Rejected::WrongType(reason) => {
            let mut found = differences_within(bytes, limits);
            if found.is_empty() {
                found.push(reason.clone());
            }
            let remedy = "make the bindings anew from the world policy of wit/policy.wit, as `entail policy new` writes it";
            found
                .into_iter()
                .map(|what| Problem::new(what, remedy))
                .collect()
        }
        Rejected::Description(rule) => vec![Problem::new(
            format!("what about.describe answers is unfit to be shown: {rule}"),
            "let it answer a name, a version and one sentence",
        )],
        Rejected::Schema(reason) => vec![on_schema(reason)],
        Rejected::CompileAddressSpace { .. } => vec![Problem::new(
            rejected.to_string(),
            "give the program more: ulimit -v unlimited",
        )],
        Rejected::CodeTooLarge { .. } => vec![Problem::new(
            format!("{rejected}, which is far more than a component of its size comes to"),
            "look for a part of it that is instantiated over and over",
        )],
        Rejected::Trial(failure) if !is_for_a_limit(failure) => vec![on_trial(bytes, failure)],
        _ if is_for_more(rejected) => vec![Problem::new(rejected.to_string(), FIND)],
        other => vec![Problem::without_remedy(other.to_string())],
    }
}

/// Whether it may be that more of something cures it.
fn is_for_more(rejected: &Rejected) -> bool {
    match rejected {
        Rejected::TooLarge { .. }
        | Rejected::CompileMemory { .. }
        | Rejected::CompileTime { .. } => true,
        Rejected::Trial(failure) => is_for_a_limit(failure),
        Rejected::Invalid(reason) => is_for_room(reason),
        _ => false,
    }
}

fn on_schema(reason: &str) -> Problem {
    Problem::new(
        format!("what settings.schema answers cannot be used: {reason}"),
        "let it answer a JSON Schema (draft 2020-12) of at most 64 KiB without references, as a JSON text",
    )
}

/// What is wrong with settings, or with the schema that they are held against.
pub fn on_settings(bad: &BadSettings) -> Vec<Problem> {
    match bad {
        BadSettings::Schema(reason) => vec![on_schema(reason)],
        BadSettings::NotAccepted(problems) => problems
            .iter()
            .map(|problem| Problem::without_remedy(problem.to_string()))
            .collect(),
        other => vec![Problem::without_remedy(other.to_string())],
    }
}

/// How a command fails for a component with such problems.
pub fn failure(name: &str, problems: &[Problem]) -> Failure {
    listed_under(format!("{name} is not admitted"), problems)
}

/// How a command fails for one that is admitted, and is of no use.
pub fn failure_of_calls(name: &str, problems: &[Problem]) -> Failure {
    listed_under(format!("{name} would be admitted, and fail"), problems)
}

fn listed_under(mut message: String, problems: &[Problem]) -> Failure {
    let mut details = Vec::new();
    match problems {
        [one] => message = format!("{message}: {}", one.what),
        several => details.extend(several.iter().map(|problem| problem.what.clone())),
    }
    let mut remedies: Vec<String> = Vec::new();
    for remedy in problems.iter().filter_map(|problem| problem.remedy.clone()) {
        if !remedies.contains(&remedy) {
            remedies.push(remedy);
        }
    }
    Failure::new(12, "policy-failed", message)
        .with_details(details)
        .with_remedies(remedies)
}

/// A limit that no policy can be given, and the one that it can be given.
fn out_of_range(rejected: &Rejected, limit: &str, which: &str, given: &Limits) -> Problem {
    let what = rejected.to_string();
    match json!(given).get(limit) {
        Some(value) => Problem::new(what, format!("the {which} is {}", json!({limit: value}))),
        None => Problem::without_remedy(what),
    }
}

fn no_component(bytes: &[u8]) -> Problem {
    if bytes.is_empty() {
        return Problem::without_remedy("this file is empty");
    }
    let is_text = bytes.trim_ascii_start().starts_with(b"(");
    match is_text {
        true => Problem::new(
            "this is WebAssembly as text, and a component in binary form is wanted",
            "wasm-tools parse FILE -o FILE.wasm",
        ),
        false => Problem::new(
            "this is not a WebAssembly component in binary form",
            "entail policy build DIRECTORY",
        ),
    }
}

/// What a component was made with.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Origin {
    Rust,
    JavaScript,
    Python,
    Unknown,
}

/// Goes by what the tools leave in what they make. The compiler of Rust comes last:
/// the others' runtimes are partly made with it.
fn origin(bytes: &[u8]) -> Origin {
    const LEFT: [(&str, Origin); 5] = [
        ("componentize-qjs", Origin::JavaScript),
        ("ComponentizeJS", Origin::JavaScript),
        ("StarlingMonkey", Origin::JavaScript),
        ("componentize_py", Origin::Python),
        ("rustc", Origin::Rust),
    ];
    let contains = |text: &str| {
        bytes
            .windows(text.len())
            .any(|window| window == text.as_bytes())
    };
    LEFT.into_iter()
        .find(|(text, _)| contains(text))
        .map_or(Origin::Unknown, |(_, origin)| origin)
}

/// What is imported that must not be: the policy below of a layer, the system, and
/// anything else.
fn forbidden(bytes: &[u8], imports: &[String]) -> Vec<Problem> {
    let named = |suits: &dyn Fn(&str) -> bool| -> Vec<&str> {
        let imports = imports.iter().map(String::as_str);
        imports.filter(|import| suits(import)).collect()
    };
    let is_below = |import: &str| BELOW.iter().any(|below| import.starts_with(below));
    let is_system = |import: &str| import.starts_with(SYSTEM);
    let below = named(&is_below);
    let system = named(&is_system);
    let others = named(&|import| !is_below(import) && !is_system(import));
    let mut problems = Vec::new();
    if !below.is_empty() {
        problems.push(Problem::new(
            format!(
                "it imports {}: it is a layer, which goes over another policy",
                listed(&below)
            ),
            "name the policy below: --over built-in, or another one (`policy install` takes one that is installed, other commands its file)",
        ));
    }
    if !system.is_empty() {
        problems.push(Problem::new(
            format!(
                "it imports {} of the system, and a policy imports nothing",
                listed(&system)
            ),
            without_system(origin(bytes)),
        ));
    }
    if !others.is_empty() {
        problems.push(Problem::new(
            format!("it imports {}, and a policy imports nothing", listed(&others)),
            "take the import out of the world that it is built for, and its calls out of the code: all that a policy knows arrives in the request",
        ));
    }
    problems
}

fn without_system(origin: Origin) -> &'static str {
    match origin {
        Origin::Rust => {
            "build it for wasm32-unknown-unknown, not wasm32-wasip1 or wasip2, as `entail policy build` does"
        }
        Origin::JavaScript => {
            "jco componentize with --backend qjs --backend-qjs-stub-wasi --backend-qjs-disable-async, as `entail policy build` does"
        }
        Origin::Python => {
            "componentize-py componentize with --stub-wasi, as `entail policy build` does"
        }
        Origin::Unknown => {
            "build it without a system interface: `entail policy build` does for Rust, JavaScript and Python; for other languages see wasi-virt"
        }
    }
}

fn listed(names: &[&str]) -> String {
    let shown: Vec<&str> = names.iter().take(MAX_NAMED).copied().collect();
    match names.len() - shown.len() {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

fn is_for_a_limit(failure: &CallError) -> bool {
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

/// A trial call that failed for a reason that more of something does not cure.
fn on_trial(bytes: &[u8], failure: &CallError) -> Problem {
    on_failure(bytes, format!("its trial call failed: {failure}"), failure)
}

/// A call with ordinary facts that failed. The component would be admitted all the
/// same, since the policy may answer others.
pub fn on_call(bytes: &[u8], failure: &CallError) -> Problem {
    let what = format!("it fails for a request like most: {failure}");
    on_failure(bytes, what, failure)
}

fn on_failure(bytes: &[u8], what: String, failure: &CallError) -> Problem {
    match failure {
        CallError::Trapped(_) => Problem::new(
            what,
            match origin(bytes) {
                Origin::JavaScript | Origin::Python => {
                    "look for an exception that is not caught, and for calls of the system, such as the clock, random numbers or printing: a policy has none of them, and they trap"
                }
                Origin::Rust | Origin::Unknown => {
                    "look for a panic, such as an index out of range: a policy must answer any facts, with an error if need be"
                }
            },
        ),
        CallError::Exceeded(Exceeded::Stack) => Problem::new(
            what,
            "look for a recursion that does not end; the depth is the same for every policy",
        ),
        _ => Problem::without_remedy(what),
    }
}

/// A limit that is too low.
struct Need {
    name: &'static str,
    what: String,
    value: u64,
}

/// Tells the same, and which limits are too low: a component that may need more is tried
/// again with as much as that is worth.
pub fn needs(engine: &Engine, bytes: &[u8], limits: &Limits, rejected: &Rejected) -> Vec<Problem> {
    if !is_for_more(rejected) {
        return problems(bytes, limits, rejected);
    }
    let most = Limits {
        compile_memory_bytes: limits.compile_memory_bytes.max(FINDING_MEMORY_BYTES),
        compile_time: limits.compile_time.max(FINDING_TIME),
        ..Limits::CEILING
    };
    let costs = match engine.admit_within(bytes, &most) {
        Ok(policy) => policy.costs(),
        Err(Rejected::Trial(failure)) if is_for_a_limit(&failure) => {
            return vec![Problem::new(
                format!(
                    "{rejected}; with all that any policy is given its trial call fails, too: {failure}"
                ),
                "look for a loop that does not end, or for what grows without end",
            )];
        }
        Err(other) => {
            let mut found = vec![Problem::without_remedy(rejected.to_string())];
            if other.to_string() != rejected.to_string() {
                found.extend(match is_for_more(&other) {
                    true => vec![Problem::without_remedy(format!(
                        "with as much as is tried, {other}"
                    ))],
                    false => problems(bytes, &most, &other),
                });
            }
            return found;
        }
    };
    let needs = beyond(engine, bytes, limits, &most, rejected, costs);
    if needs.is_empty() {
        return vec![Problem::without_remedy(rejected.to_string())];
    }
    let members: Map<String, Value> = needs
        .iter()
        .map(|need| (need.name.to_owned(), need.value.into()))
        .collect();
    let remedy = format!(
        "put what it needs into limits.json in its folder, or give a file with it by --limits: {}",
        Value::Object(members)
    );
    needs
        .into_iter()
        .map(|need| Problem::new(need.what, remedy.clone()))
        .collect()
}

/// What a component that is admitted with the most needs beyond `limits`.
fn beyond(
    engine: &Engine,
    bytes: &[u8],
    limits: &Limits,
    most: &Limits,
    rejected: &Rejected,
    costs: Costs,
) -> Vec<Need> {
    let ceiling = Limits::CEILING;
    let mut given = Limits {
        // It is compiled already.
        compile_memory_bytes: most.compile_memory_bytes,
        compile_time: most.compile_time,
        ..limits.clone()
    };
    let mut needs: Vec<Need> = [
        (
            "component_bytes",
            "it has",
            "bytes",
            bytes.len(),
            1 << 20,
            (&mut given.component_bytes, ceiling.component_bytes),
        ),
        (
            "memory_bytes",
            "a call takes",
            "bytes of memory",
            costs.memory_bytes,
            1 << 20,
            (&mut given.memory_bytes, ceiling.memory_bytes),
        ),
        (
            "table_elements",
            "it has",
            "table elements",
            costs.table_elements,
            1_000,
            (&mut given.table_elements, ceiling.table_elements),
        ),
    ]
    .into_iter()
    .filter_map(|(name, verb, unit, has, step, (given, most))| {
        let before = *given;
        (has > before).then(|| {
            *given = has
                .saturating_mul(HEADROOM)
                .next_multiple_of(step)
                .min(most);
            Need {
                name,
                what: format!("{verb} {has} {unit}, and {before} are allowed"),
                value: in_u64(*given),
            }
        })
    })
    .collect();
    let is_slow = matches!(
        rejected,
        Rejected::Trial(CallError::Exceeded(Exceeded::DeadlineMs(_)))
    );
    if is_slow || costs.trial_call > limits.deadline {
        let measured = costs.trial_call.max(limits.deadline);
        given.deadline = (measured * HEADROOM_IN_TIME).min(ceiling.deadline);
        needs.push(Need {
            name: "deadline_ms",
            what: format!(
                "a call takes longer than {} ms, which is all that is allowed",
                limits.deadline.as_millis()
            ),
            value: in_ms(given.deadline),
        });
    }
    match rejected {
        Rejected::Trial(CallError::Exceeded(Exceeded::ResultBytes(limit))) => {
            given.result_bytes = ceiling.result_bytes;
            needs.push(Need {
                name: "result_bytes",
                what: format!("it answers more than {limit} bytes"),
                value: in_u64(given.result_bytes),
            });
        }
        Rejected::CompileMemory { limit } => needs.push(Need {
            name: "compile_memory_bytes",
            what: format!("compiling it takes more than {limit} bytes of memory"),
            value: most.compile_memory_bytes,
        }),
        Rejected::CompileTime { limit } => needs.push(Need {
            name: "compile_time_ms",
            what: format!("compiling it takes longer than {} s", limit.as_secs()),
            value: in_ms(most.compile_time),
        }),
        _ => {}
    }
    // How many instances it is made of is not known; that it is too many is found by
    // trying.
    if let Err(Rejected::Invalid(reason)) = engine.admit_within(bytes, &given) {
        let counted = counted(&reason);
        needs.push(Need {
            name: "instances",
            what: match counted {
                Some(count) => {
                    format!(
                        "it is made of {count} parts, and {} are allowed",
                        given.instances
                    )
                }
                None => format!("it is made of more than {} parts", given.instances),
            },
            value: in_u64(counted.map_or(MANY_INSTANCES, |count| {
                count.saturating_mul(HEADROOM).next_multiple_of(10)
            })),
        });
    }
    needs
}

/// Whether it asks for more than there is room for in the engine, in its words.
fn is_for_room(reason: &str) -> bool {
    ["exceeds the", "count too high at "]
        .iter()
        .any(|words| reason.contains(words))
}

/// The number in the engine's words for too many instances, memories or tables.
fn counted(reason: &str) -> Option<usize> {
    let (_, counted) = reason.split_once("transitively contains ")?;
    counted.split_whitespace().next()?.parse().ok()
}

fn in_u64(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

fn in_ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(problems: &[Problem]) -> Vec<&str> {
        problems
            .iter()
            .map(|problem| problem.what.as_str())
            .collect()
    }

    #[test]
    fn imports_are_told_apart() {
        let imports = [
            "entail:policy/resolver@0.2.0",
            "wasi:cli/environment@0.2.6",
            "wasi:random/random@0.2.6",
            "acme:directory/people",
        ]
        .map(str::to_owned);
        assert_eq!(
            texts(&forbidden(b"", &imports)),
            [
                "it imports entail:policy/resolver@0.2.0: it is a layer, which goes over another policy",
                "it imports wasi:cli/environment@0.2.6, wasi:random/random@0.2.6 of the system, and a policy imports nothing",
                "it imports acme:directory/people, and a policy imports nothing",
            ]
        );
    }

    #[test]
    fn a_long_list_is_cut() {
        let names: Vec<&str> = ["a", "b", "c", "d", "e", "f"].into();
        assert_eq!(listed(&names), "a, b, c, d and 2 more");
    }

    #[test]
    fn a_component_tells_what_it_was_made_with() {
        let made = |text: &str| origin(format!("\0{text}\0").as_bytes());
        assert_eq!(made("libcomponentize_py_runtime.so"), Origin::Python);
        assert_eq!(made("componentize-qjs:user.js rustc"), Origin::JavaScript);
        assert_eq!(made("rustc"), Origin::Rust);
        assert_eq!(made("tinygo"), Origin::Unknown);
    }

    #[test]
    fn the_parts_of_a_component_are_in_the_engine_s_words() {
        let reason = "The component transitively contains 31 core module instances, which exceeds";
        assert_eq!(counted(reason), Some(31));
        assert_eq!(
            counted("resource limit exceeded: instance count too high at 17"),
            None
        );
    }

    #[test]
    fn the_most_of_a_limit_is_told() {
        let rejected = Rejected::AboveCeiling("instances");
        let problem = out_of_range(&rejected, "instances", "most", &Limits::CEILING);
        assert_eq!(
            problem.remedy.as_deref(),
            Some(r#"the most is {"instances":1000}"#)
        );
    }
}
