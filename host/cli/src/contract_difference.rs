//! Where the exports of a component differ from the contract: function by function,
//! field by field.
//!
//! The engine that runs policies is exact about types, but says no more than that
//! they differ. What is told here is what an author has to change.
//!
//! # Security
//!
//! A component may have types of any size, and they are written out. So a process of its
//! own does that, within the limits for compiling.

use entail::policy::{Job, JobLimits, Limits, Sandbox};
use wit_component::DecodedWasm;
use wit_parser::{Function, InterfaceId, Resolve, Type, TypeDefKind, WorldId, WorldItem};

use crate::policy_build::CONTRACT;

/// The versions of the contract that are served, the newest first.
const CONTRACTS: [(&str, &str); 2] = [
    ("0.2.0", CONTRACT),
    (
        "0.1.0",
        include_str!("../../../wit/released/0.1.0/policy.wit"),
    ),
];

/// An interface that a policy need not have.
const OPTIONAL: &str = "settings";

/// Whoever has more than that to mend has another contract altogether.
const MAX_DIFFERENCES: usize = 20;

/// Bytes of all differences, at most: each line has a path and two types.
const MAX_BYTES: usize = 1 << 20;

/// The longest type that is written out, in characters.
const MAX_TYPE_CHARACTERS: usize = 80;

/// What stands for a type, field or function that is not there.
const NOTHING: &str = "nothing";

/// Finds differences in a process of its own.
pub const DIFFERENCES: Job = Job {
    name: "contract-differences",
    run: |component| serde_json::to_vec(&differences(component)).map_err(|error| error.to_string()),
};

/// What differs, a line each, such as
/// `resolver.decide → request.settings: expected string, found nothing`. Empty, if
/// the bytes cannot be read as a component within `limits`, or if nothing does.
pub fn differences_within(component: &[u8], limits: &Limits) -> Vec<String> {
    let bounds = JobLimits::of(limits, MAX_BYTES);
    let found = Sandbox::this_program().run(DIFFERENCES, component, &bounds);
    // It is only told for the sake of the author.
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
    let is_meant = |version: &str| {
        let resolver = full_name("resolver", version);
        exports.iter().any(|(name, _)| *name == resolver)
    };
    let meant = CONTRACTS
        .iter()
        .find(|(version, _)| is_meant(version))
        .or(CONTRACTS.first());
    let Some((version, contract)) =
        meant.and_then(|(version, text)| Some((*version, contract(text)?)))
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
            Some((_, found)) => comparison.interfaces(expected, *found),
            None => comparison.missing(&name, version, &exports),
        }
    }
    comparison.differences.truncate(MAX_DIFFERENCES);
    comparison.differences
}

fn contract(text: &str) -> Option<World> {
    let mut resolve = Resolve::default();
    let package = resolve.push_source("policy.wit", text).ok()?;
    let world = resolve.select_world(&[package], Some("policy")).ok()?;
    Some(World { resolve, world })
}

/// As exports are called: `entail:policy/resolver@0.2.0`.
fn full_name(interface: &str, version: &str) -> String {
    format!("entail:policy/{interface}@{version}")
}

/// A world, and what its types are looked up in.
struct World {
    resolve: Resolve,
    world: WorldId,
}

impl World {
    /// The exported interfaces, by their full names.
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
    fn differ(&mut self, path: &str, expected: &str, found: &str) {
        let (expected, found) = (shortened(expected), shortened(found));
        self.differences
            .push(format!("{path}: expected {expected}, found {found}"));
    }

    /// An interface that is not exported, at least not in this version.
    fn missing(&mut self, name: &str, version: &str, exports: &[(String, InterfaceId)]) {
        let Some((plain, _)) = name.split_once('@') else {
            return;
        };
        let other = exports
            .iter()
            .map(|(found, _)| found)
            .find(|found| found.split('@').next() == Some(plain));
        match other {
            Some(other) => self.differences.push(format!(
                "{other} is exported; the versions that are served are {}",
                CONTRACTS.map(|(version, _)| version).join(" and ")
            )),
            None if plain.ends_with(OPTIONAL) => {}
            None => self.differences.push(format!(
                "{name} is not exported; the world policy of the contract {version} has it"
            )),
        }
    }

    fn interfaces(&mut self, expected: InterfaceId, found: InterfaceId) {
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
                Some(found) => self.functions(&path, function, found),
                None => self.differ(&path, "a function", NOTHING),
            }
        }
    }

    fn functions(&mut self, path: &str, expected: &'a Function, found: &'a Function) {
        self.members(
            &format!("{path} → "),
            &parameters(expected),
            &parameters(found),
        );
        let path = format!("{path} → result");
        self.maybe(&path, expected.result.as_ref(), found.result.as_ref());
    }

    /// Compares what has names, and an order.
    fn members(&mut self, prefix: &str, expected: &[Member<'a>], found: &[Member<'a>]) {
        let before = self.differences.len();
        for (name, kind) in expected {
            let path = format!("{prefix}{name}");
            match found.iter().find(|(found, _)| found == name) {
                Some((_, found)) => self.maybe(&path, *kind, *found),
                None => self.differ(&path, &text_of(self.expected, *kind), NOTHING),
            }
        }
        for (name, kind) in found {
            if !expected.iter().any(|(expected, _)| expected == name) {
                let path = format!("{prefix}{name}");
                self.differ(&path, NOTHING, &text_of(self.found, *kind));
            }
        }
        if before == self.differences.len() && !names(expected).eq(names(found)) {
            let list = |members: &[Member<'_>]| names(members).collect::<Vec<_>>().join(", ");
            let path = prefix.trim_end_matches([' ', '→', '.']);
            let order = |members| format!("the order {}", list(members));
            self.differ(path, &order(expected), &order(found));
        }
    }

    fn maybe(&mut self, path: &str, expected: Option<&'a Type>, found: Option<&'a Type>) {
        match (expected, found) {
            (None, None) => {}
            (Some(expected), Some(found)) => self.types(path, expected, found),
            (Some(_), None) => self.differ(path, &text_of(self.expected, expected), NOTHING),
            (None, Some(_)) => self.differ(path, NOTHING, &text_of(self.found, found)),
        }
    }

    fn types(&mut self, path: &str, expected: &'a Type, found: &'a Type) {
        let (expected, found) = (behind(self.expected, expected), behind(self.found, found));
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
                self.members(&format!("{path}."), &fields(expected), &fields(found));
            }
            (Some(TypeDefKind::Variant(expected)), Some(TypeDefKind::Variant(found))) => {
                let cases = |variant: &'a wit_parser::Variant| -> Vec<Member<'a>> {
                    let cases = variant.cases.iter();
                    cases
                        .map(|case| (case.name.as_str(), case.ty.as_ref()))
                        .collect()
                };
                self.members(&format!("{path}."), &cases(expected), &cases(found));
            }
            (Some(TypeDefKind::Enum(expected)), Some(TypeDefKind::Enum(found))) => {
                let cases = |listed: &'a wit_parser::Enum| -> Vec<Member<'a>> {
                    listed
                        .cases
                        .iter()
                        .map(|case| (case.name.as_str(), None))
                        .collect()
                };
                self.members(&format!("{path}."), &cases(expected), &cases(found));
            }
            (Some(TypeDefKind::List(expected)), Some(TypeDefKind::List(found))) => {
                self.types(&format!("{path}[]"), expected, found);
            }
            (Some(TypeDefKind::Option(expected)), Some(TypeDefKind::Option(found))) => {
                self.types(path, expected, found);
            }
            (Some(TypeDefKind::Result(expected)), Some(TypeDefKind::Result(found))) => {
                self.maybe(
                    &format!("{path}.ok"),
                    expected.ok.as_ref(),
                    found.ok.as_ref(),
                );
                self.maybe(
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
                    self.types(&format!("{path}.{index}"), expected, found);
                }
            }
            _ => {
                let expected = text_of(self.expected, Some(expected));
                self.differ(path, &expected, &text_of(self.found, Some(found)));
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

/// The type that other names stand for.
fn behind<'a>(resolve: &'a Resolve, kind_of: &'a Type) -> &'a Type {
    match kind(resolve, kind_of) {
        Some(TypeDefKind::Type(behind_it)) => behind(resolve, behind_it),
        _ => kind_of,
    }
}

/// What a type is made of; none for those that are made of nothing else.
fn kind<'a>(resolve: &'a Resolve, kind_of: &Type) -> Option<&'a TypeDefKind> {
    match kind_of {
        Type::Id(id) => resolve.types.get(*id).map(|definition| &definition.kind),
        _ => None,
    }
}

/// A type as the contract would have it; a case without one is just that.
fn text_of(resolve: &Resolve, kind_of: Option<&Type>) -> String {
    let Some(kind_of) = kind_of else {
        return "a case".to_owned();
    };
    let of = |inner: &Type| text_of(resolve, Some(inner));
    let id = match kind_of {
        Type::Bool => return "bool".to_owned(),
        Type::U8 => return "u8".to_owned(),
        Type::U16 => return "u16".to_owned(),
        Type::U32 => return "u32".to_owned(),
        Type::U64 => return "u64".to_owned(),
        Type::S8 => return "s8".to_owned(),
        Type::S16 => return "s16".to_owned(),
        Type::S32 => return "s32".to_owned(),
        Type::S64 => return "s64".to_owned(),
        Type::F32 => return "f32".to_owned(),
        Type::F64 => return "f64".to_owned(),
        Type::Char => return "char".to_owned(),
        Type::String => return "string".to_owned(),
        Type::ErrorContext => return "error-context".to_owned(),
        Type::Id(id) => id,
    };
    let Some(definition) = resolve.types.get(*id) else {
        return NOTHING.to_owned();
    };
    let or_underscore = |side: Option<&Type>| side.map_or_else(|| "_".to_owned(), of);
    match (&definition.name, &definition.kind) {
        (Some(name), TypeDefKind::Type(_)) => name.clone(),
        (Some(name), kind) => format!("{} {name}", kind.as_str()),
        (None, TypeDefKind::Type(behind)) => of(behind),
        (None, TypeDefKind::List(item)) => format!("list<{}>", of(item)),
        (None, TypeDefKind::Option(value)) => format!("option<{}>", of(value)),
        (None, TypeDefKind::Tuple(tuple)) => {
            let parts: Vec<String> = tuple.types.iter().map(of).collect();
            format!("tuple<{}>", parts.join(", "))
        }
        (None, TypeDefKind::Result(result)) => match (&result.ok, &result.err) {
            (None, None) => "result".to_owned(),
            (Some(value), None) => format!("result<{}>", of(value)),
            (value, error) => format!(
                "result<{}, {}>",
                or_underscore(value.as_ref()),
                or_underscore(error.as_ref())
            ),
        },
        (None, kind) => kind.as_str().to_owned(),
    }
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(MAX_TYPE_CHARACTERS) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // a test may
mod tests {
    use super::*;
    use wit_component::{ComponentEncoder, StringEncoding};

    /// A component that exports the contract with one thing replaced in it.
    fn component(version: &str, from: &str, to: &str) -> Vec<u8> {
        let (_, text) = CONTRACTS
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
    fn settings_need_not_be_there() {
        differ("export settings;", "", &[]);
    }

    #[test]
    fn a_difference_is_told_where_it_is() {
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
    fn an_order_matters() {
        differ(
            "    name: string,\n    /// Its own version, in the form of semantic versioning: `1.2.0`.\n    version: string,",
            "    version: string,\n    name: string,",
            &[
                "about.describe → result: expected the order name, version, summary, found the order version, name, summary",
            ],
        );
    }

    #[test]
    fn what_is_not_exported_is_named() {
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
            "entail:policy/resolver@0.9.0 is exported; the versions that are served are 0.2.0 and 0.1.0"
        );
    }

    #[test]
    fn what_is_no_component_is_not_compared() {
        assert!(differences(b"").is_empty());
        assert!(differences(b"(component)").is_empty());
    }
}
