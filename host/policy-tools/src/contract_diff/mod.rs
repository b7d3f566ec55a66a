//! Differences between the exports of a component and the contract: function by function,
//! field by field.
//!
//! The engine checks types, but reports only that they differ. Authors need to know what to
//! change.
//!
//! # Security
//!
//! A component may have types of any size, and they are written out. So the limited child
//! process does it, within the limits for compiling.

mod type_text;

use entail::policy::{Job, JobLimits, Limits, Sandbox};
use wit_component::DecodedWasm;
use wit_parser::{Function, InterfaceId, Resolve, Type, TypeDefKind, WorldId, WorldItem};

use self::type_text::{NOTHING, shorten, type_text};
use crate::contract::{VERSIONS, WORLD};

/// The interface that a policy may leave out.
const OPTIONAL: &str = "settings";

/// The most differences reported: a component with more implements another contract.
const MAX_DIFFERENCES: usize = 20;

/// The most bytes of all differences: each line has a path and two types.
const MAX_BYTES: usize = 1 << 20;

/// Finds the differences in the limited child process.
pub const CONTRACT_DIFFERENCES: Job = Job {
    name: "contract-differences",
    run: |component| serde_json::to_vec(&differences(component)).map_err(|error| error.to_string()),
};

/// Returns a line for each difference, such as
/// `resolver.decide → request.settings: expected string, found nothing`. The list is empty
/// if the bytes cannot be parsed as a component within `limits`.
pub fn contract_differences(component: &[u8], limits: &Limits, sandbox: &Sandbox) -> Vec<String> {
    let bounds = JobLimits::of(limits, MAX_BYTES);
    let found = sandbox.run(CONTRACT_DIFFERENCES, component, &bounds);
    // Without the differences, the engine's reason still says that they differ.
    let found = found
        .ok()
        .and_then(|found| serde_json::from_slice(&found).ok());
    found.unwrap_or_default()
}

fn differences(component: &[u8]) -> Vec<String> {
    let Ok(DecodedWasm::Component(resolve, world)) = wit_component::decode(component) else {
        return Vec::new();
    };
    let found = World { resolve, world };
    let exports = found.exports();
    let implements = |version: &str| {
        let resolver = full_name("resolver", version);
        exports.iter().any(|(name, _)| *name == resolver)
    };
    let implemented = VERSIONS
        .iter()
        .find(|(version, _)| implements(version))
        .or(VERSIONS.first());
    let Some((version, contract)) =
        implemented.and_then(|(version, text)| Some((*version, contract(text)?)))
    else {
        return Vec::new();
    };
    let mut comparison = Comparison {
        expected: &contract.resolve,
        found: &found.resolve,
        differences: Vec::new(),
    };
    for (name, expected) in contract.exports() {
        match exports.iter().find(|(found, _)| *found == name) {
            Some((_, found)) => comparison.compare_interfaces(expected, *found),
            None => comparison.report_missing(&name, version, &exports),
        }
    }
    comparison.differences.truncate(MAX_DIFFERENCES);
    comparison.differences
}

fn contract(text: &str) -> Option<World> {
    let mut resolve = Resolve::default();
    let package = resolve.push_source("policy.wit", text).ok()?;
    let world = resolve.select_world(&[package], Some(WORLD)).ok()?;
    Some(World { resolve, world })
}

/// Returns the name of an export: `entail:policy/resolver@0.2.0`.
fn full_name(interface: &str, version: &str) -> String {
    format!("entail:policy/{interface}@{version}")
}

/// A world and its types.
struct World {
    resolve: Resolve,
    world: WorldId,
}

impl World {
    /// Returns the exported interfaces with their full names.
    fn exports(&self) -> Vec<(String, InterfaceId)> {
        let Some(world) = self.resolve.worlds.get(self.world) else {
            return Vec::new();
        };
        world
            .exports
            .iter()
            .filter_map(|(key, item)| match item {
                WorldItem::Interface { id, .. } => Some((self.resolve.name_world_key(key), *id)),
                WorldItem::Function(_) | WorldItem::Type { .. } => None,
            })
            .collect()
    }
}

/// A parameter, field or case, with its type; a case may have none.
type Member<'a> = (&'a str, Option<&'a Type>);

struct Comparison<'a> {
    expected: &'a Resolve,
    found: &'a Resolve,
    differences: Vec<String>,
}

impl<'a> Comparison<'a> {
    fn report(&mut self, path: &str, expected: &str, found: &str) {
        let (expected, found) = (shorten(expected), shorten(found));
        self.differences
            .push(format!("{path}: expected {expected}, found {found}"));
    }

    /// Reports an interface that is not exported, or only in another version.
    fn report_missing(&mut self, name: &str, version: &str, exports: &[(String, InterfaceId)]) {
        let Some((plain, _)) = name.split_once('@') else {
            return;
        };
        let other = exports
            .iter()
            .map(|(found, _)| found)
            .find(|found| found.split('@').next() == Some(plain));
        match other {
            Some(other) => self.differences.push(format!(
                "{other} is exported; the supported versions are {}",
                VERSIONS.map(|(version, _)| version).join(" and ")
            )),
            None if plain.ends_with(OPTIONAL) => {}
            None => self.differences.push(format!(
                "{name} is not exported; the world policy of the contract {version} has it"
            )),
        }
    }

    fn compare_interfaces(&mut self, expected: InterfaceId, found: InterfaceId) {
        let (Some(expected), Some(found)) = (
            self.expected.interfaces.get(expected),
            self.found.interfaces.get(found),
        ) else {
            return;
        };
        let interface = expected.name.as_deref().unwrap_or_default();
        for (name, function) in &expected.functions {
            let path = format!("{interface}.{name}");
            match found.functions.get(name) {
                Some(found) => self.compare_functions(&path, function, found),
                None => self.report(&path, "a function", NOTHING),
            }
        }
    }

    fn compare_functions(&mut self, path: &str, expected: &'a Function, found: &'a Function) {
        self.compare_members(
            &format!("{path} → "),
            &parameters(expected),
            &parameters(found),
        );
        let path = format!("{path} → result");
        self.compare_optional_types(&path, expected.result.as_ref(), found.result.as_ref());
    }

    /// Compares lists of named members, whose order matters.
    fn compare_members(&mut self, prefix: &str, expected: &[Member<'a>], found: &[Member<'a>]) {
        let before = self.differences.len();
        for (name, kind) in expected {
            let path = format!("{prefix}{name}");
            match found.iter().find(|(found, _)| found == name) {
                Some((_, found)) => self.compare_optional_types(&path, *kind, *found),
                None => self.report(&path, &type_text(self.expected, *kind), NOTHING),
            }
        }
        for (name, kind) in found {
            if !expected.iter().any(|(expected, _)| expected == name) {
                let path = format!("{prefix}{name}");
                self.report(&path, NOTHING, &type_text(self.found, *kind));
            }
        }
        if before == self.differences.len() && !names(expected).eq(names(found)) {
            let list = |members: &[Member<'_>]| names(members).collect::<Vec<_>>().join(", ");
            let path = prefix.trim_end_matches([' ', '→', '.']);
            let order = |members| format!("the order {}", list(members));
            self.report(path, &order(expected), &order(found));
        }
    }

    fn compare_optional_types(
        &mut self,
        path: &str,
        expected: Option<&'a Type>,
        found: Option<&'a Type>,
    ) {
        match (expected, found) {
            (None, None) => {}
            (Some(expected), Some(found)) => self.compare_types(path, expected, found),
            (Some(_), None) => self.report(path, &type_text(self.expected, expected), NOTHING),
            (None, Some(_)) => self.report(path, NOTHING, &type_text(self.found, found)),
        }
    }

    fn compare_types(&mut self, path: &str, expected: &'a Type, found: &'a Type) {
        let (expected, found) = (unalias(self.expected, expected), unalias(self.found, found));
        let kinds = (kind(self.expected, expected), kind(self.found, found));
        match kinds {
            (None, None) if expected == found => {}
            (Some(TypeDefKind::Record(expected)), Some(TypeDefKind::Record(found))) => {
                let fields = |record: &'a wit_parser::Record| -> Vec<Member<'a>> {
                    let fields = record.fields.iter();
                    fields
                        .map(|field| (field.name.as_str(), Some(&field.ty)))
                        .collect()
                };
                self.compare_members(&format!("{path}."), &fields(expected), &fields(found));
            }
            (Some(TypeDefKind::Variant(expected)), Some(TypeDefKind::Variant(found))) => {
                let cases = |variant: &'a wit_parser::Variant| -> Vec<Member<'a>> {
                    let cases = variant.cases.iter();
                    cases
                        .map(|case| (case.name.as_str(), case.ty.as_ref()))
                        .collect()
                };
                self.compare_members(&format!("{path}."), &cases(expected), &cases(found));
            }
            (Some(TypeDefKind::Enum(expected)), Some(TypeDefKind::Enum(found))) => {
                let cases = |listed: &'a wit_parser::Enum| -> Vec<Member<'a>> {
                    listed
                        .cases
                        .iter()
                        .map(|case| (case.name.as_str(), None))
                        .collect()
                };
                self.compare_members(&format!("{path}."), &cases(expected), &cases(found));
            }
            (Some(TypeDefKind::List(expected)), Some(TypeDefKind::List(found))) => {
                self.compare_types(&format!("{path}[]"), expected, found);
            }
            (Some(TypeDefKind::Option(expected)), Some(TypeDefKind::Option(found))) => {
                self.compare_types(path, expected, found);
            }
            (Some(TypeDefKind::Result(expected)), Some(TypeDefKind::Result(found))) => {
                self.compare_optional_types(
                    &format!("{path}.ok"),
                    expected.ok.as_ref(),
                    found.ok.as_ref(),
                );
                self.compare_optional_types(
                    &format!("{path}.err"),
                    expected.err.as_ref(),
                    found.err.as_ref(),
                );
            }
            (Some(TypeDefKind::Tuple(expected)), Some(TypeDefKind::Tuple(found)))
                if expected.types.len() == found.types.len() =>
            {
                let pairs = expected.types.iter().zip(&found.types);
                for (index, (expected, found)) in pairs.enumerate() {
                    self.compare_types(&format!("{path}.{index}"), expected, found);
                }
            }
            _ => {
                let expected = type_text(self.expected, Some(expected));
                self.report(path, &expected, &type_text(self.found, Some(found)));
            }
        }
    }
}

fn parameters(function: &Function) -> Vec<Member<'_>> {
    let parameters = function.params.iter();
    parameters
        .map(|parameter| (parameter.name.as_str(), Some(&parameter.ty)))
        .collect()
}

fn names<'a>(members: &'a [Member<'a>]) -> impl Iterator<Item = &'a str> {
    members.iter().map(|(name, _)| *name)
}

/// Resolves aliases.
fn unalias<'a>(resolve: &'a Resolve, type_: &'a Type) -> &'a Type {
    match kind(resolve, type_) {
        Some(TypeDefKind::Type(target)) => unalias(resolve, target),
        _ => type_,
    }
}

/// Returns the definition of a type; `None` for primitive types.
fn kind<'a>(resolve: &'a Resolve, type_: &Type) -> Option<&'a TypeDefKind> {
    match type_ {
        Type::Id(id) => resolve.types.get(*id).map(|definition| &definition.kind),
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // allowed in tests
mod tests {
    use super::*;
    use wit_component::{ComponentEncoder, StringEncoding};

    /// A component that exports the contract with one thing replaced in it.
    fn component(version: &str, from: &str, to: &str) -> Vec<u8> {
        let (_, text) = VERSIONS
            .iter()
            .find(|(found, _)| *found == version)
            .unwrap();
        assert!(text.contains(from), "{from}");
        let mut resolve = Resolve::default();
        let package = resolve
            .push_source("policy.wit", &text.replace(from, to))
            .unwrap();
        let world = resolve.select_world(&[package], Some("policy")).unwrap();
        let module =
            wit_component::dummy_module(&resolve, world, wit_parser::ManglingAndAbi::Standard32);
        let mut module = module;
        wit_component::embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8)
            .unwrap();
        let mut encoder = ComponentEncoder::default().module(&module).unwrap();
        encoder.encode().unwrap()
    }

    #[track_caller]
    fn differ(from: &str, to: &str, expected: &[&str]) {
        assert_eq!(differences(&component("0.2.0", from, to)), expected);
    }

    #[test]
    fn the_contract_does_not_differ_from_itself() {
        differ("record", "record", &[]);
        assert!(differences(&component("0.1.0", "record", "record")).is_empty());
    }

    #[test]
    fn the_settings_interface_is_optional() {
        differ("export settings;", "", &[]);
    }

    #[test]
    fn a_difference_names_its_place() {
        differ(
            "    settings: string,\n",
            "",
            &["resolver.decide → request.settings: expected string, found nothing"],
        );
        differ(
            "expires-at-ms: option<u64>",
            "expires-at-ms: option<u32>",
            &["resolver.decide → chain[].credentials[].expires-at-ms: expected u64, found u32"],
        );
        differ(
            "    enabled: bool,",
            "    enabled: bool,\n    weight: list<u8>,",
            &["resolver.decide → chain[].credentials[].weight: expected nothing, found list<u8>"],
        );
        differ(
            "refused(refusal)",
            "denied(refusal)",
            &[
                "resolver.decide → result.ok.outcome.refused: expected record refusal, found nothing",
                "resolver.decide → result.ok.outcome.denied: expected nothing, found record refusal",
            ],
        );
        differ(
            "describe: func() -> description",
            "describe: func() -> string",
            &["about.describe → result: expected record description, found string"],
        );
        differ(
            "result<_, list<problem>>",
            "result<bool, list<problem>>",
            &["settings.validate → result.ok: expected nothing, found bool"],
        );
    }

    #[test]
    fn the_order_of_fields_matters() {
        differ(
            "    name: string,\n    /// Its version, in the form of semantic versioning: `1.2.0`.\n    version: string,",
            "    version: string,\n    name: string,",
            &[
                "about.describe → result: expected the order name, version, summary, found the order version, name, summary",
            ],
        );
    }

    #[test]
    fn a_missing_export_is_named() {
        differ(
            "export about;",
            "",
            &[
                "entail:policy/about@0.2.0 is not exported; the world policy of the contract 0.2.0 has it",
            ],
        );
        differ(
            "describe: func() -> description",
            "explain: func() -> description",
            &["about.describe: expected a function, found nothing"],
        );
        let other = differences(&component(
            "0.2.0",
            "entail:policy@0.2.0",
            "entail:policy@0.9.0",
        ));
        assert_eq!(
            other.first().unwrap(),
            "entail:policy/resolver@0.9.0 is exported; the supported versions are 0.2.0 and 0.1.0"
        );
    }

    #[test]
    fn other_bytes_have_no_differences() {
        assert!(differences(b"").is_empty());
        assert!(differences(b"(component)").is_empty());
    }
}
