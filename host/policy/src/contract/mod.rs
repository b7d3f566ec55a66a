//! The contract's types, generated from `wit/policy.wit`, and the conversion between them
//! and the types of `entail-decision`.
//!
//! A component may have been built against an older version of the contract. The
//! differences are in a module named after that version.

mod v0_1_0;

use std::fmt;

use wasmtime::component::{Component, Func, Instance, InstancePre};
use wasmtime::{Result, Store};

use crate::limits::ResourceUsage;
use crate::settings::Problem;
use entail_decision::{Attributes, Decision, Finding, Grant, InvalidCode, Outcome, Refusal};
use entail_decision::{CredentialFacts, Facts, Inheritance, Sharing};

// Generated code implements unsafe traits for the types that it has checked.
#[allow(
    unsafe_code,
    missing_docs,
    missing_debug_implementations,
    clippy::pedantic
)]
mod generated {
    wasmtime::component::bindgen!({
        path: "../../wit/policy.wit",
        world: "policy",
        // Facts are borrowed, not copied.
        ownership: Borrowing { duplicate_if_necessary: true },
    });
}

use generated::exports::entail::policy::{about, resolver as wire, settings};
use wire::{Request, Scope};

pub(crate) use wire::Error;

/// A version of the contract. Policies of every version run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Contract {
    /// The first version, without settings.
    V0_1_0,
    /// The current version.
    V0_2_0,
}

impl fmt::Display for Contract {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Contract::V0_1_0 => "0.1.0",
            Contract::V0_2_0 => "0.2.0",
        })
    }
}

/// The exports of a component.
pub(crate) enum Exports {
    V0_1_0(v0_1_0::Exports),
    V0_2_0 {
        resolver: wire::GuestIndices,
        about: about::GuestIndices,
        /// Optional.
        settings: Option<settings::GuestIndices>,
    },
}

/// Why a policy returned no decision.
pub(crate) enum GuestError {
    /// It returned an error.
    Returned(Error),
    /// It returned a decision with an invalid code.
    Malformed(InvalidCode),
}

/// The function that decides, in one instance.
pub(crate) enum Resolver {
    V0_1_0(Func),
    V0_2_0(wire::Guest),
}

impl Exports {
    /// Finds the exports; fails with what is missing.
    pub(crate) fn find(
        component: &Component,
        instance: &InstancePre<ResourceUsage>,
    ) -> Result<Self, String> {
        let missing = |error: wasmtime::Error| error.to_string();
        match wire::GuestIndices::new(instance) {
            Ok(resolver) => Ok(Exports::V0_2_0 {
                resolver,
                about: about::GuestIndices::new(instance).map_err(missing)?,
                settings: match component.get_export_index(None, SETTINGS) {
                    None => None,
                    Some(_) => Some(settings::GuestIndices::new(instance).map_err(missing)?),
                },
            }),
            Err(_) if v0_1_0::Exports::are_in(component) => {
                v0_1_0::Exports::find(component).map(Exports::V0_1_0)
            }
            Err(error) => Err(missing(error)),
        }
    }

    pub(crate) fn contract(&self) -> Contract {
        match self {
            Exports::V0_1_0(_) => Contract::V0_1_0,
            Exports::V0_2_0 { .. } => Contract::V0_2_0,
        }
    }

    /// Returns the function that decides, after checking its type.
    pub(crate) fn resolver(
        &self,
        store: &mut Store<ResourceUsage>,
        instance: &Instance,
    ) -> Result<Resolver> {
        match self {
            Exports::V0_1_0(exports) => exports.decide(store, instance).map(Resolver::V0_1_0),
            Exports::V0_2_0 { resolver, .. } => {
                resolver.load(store, instance).map(Resolver::V0_2_0)
            }
        }
    }

    /// Returns name, version and summary of the policy. Fails with the outer error if the
    /// export has another type.
    pub(crate) fn describe(
        &self,
        store: &mut Store<ResourceUsage>,
        instance: &Instance,
    ) -> Result<Result<(String, String, String)>> {
        match self {
            Exports::V0_1_0(exports) => {
                let describe = exports.describe(store, instance)?;
                Ok(describe(store).map(|about| (about.name, about.version, about.summary)))
            }
            Exports::V0_2_0 { about, .. } => {
                let about = about.load(&mut *store, instance)?;
                Ok(about
                    .call_describe(store)
                    .map(|about| (about.name, about.version, about.summary)))
            }
        }
    }

    /// Returns the functions for settings, after checking their types; `None` if the policy
    /// has none.
    pub(crate) fn settings(
        &self,
        store: &mut Store<ResourceUsage>,
        instance: &Instance,
    ) -> Result<Option<SettingsFunctions>> {
        match self {
            Exports::V0_2_0 {
                settings: Some(settings),
                ..
            } => settings
                .load(store, instance)
                .map(|functions| Some(SettingsFunctions(functions))),
            _ => Ok(None),
        }
    }
}

/// The name of the optional interface.
const SETTINGS: &str = "entail:policy/settings@0.2.0";

/// The functions for settings, in one instance.
pub(crate) struct SettingsFunctions(settings::Guest);

impl SettingsFunctions {
    /// Returns the schema, as JSON.
    pub(crate) fn schema(&self, store: &mut Store<ResourceUsage>) -> Result<String> {
        self.0.call_schema(store)
    }

    /// Calls the policy's own validation of settings; returns the problems it found.
    pub(crate) fn validate(
        &self,
        store: &mut Store<ResourceUsage>,
        settings: &str,
    ) -> Result<Vec<Problem>> {
        let found = self.0.call_validate(store, settings)?;
        Ok(match found {
            Ok(()) => Vec::new(),
            // An error without problems is still a rejection.
            Err(problems) if problems.is_empty() => {
                vec![Problem::new("", "the policy does not say why")]
            }
            Err(problems) => problems
                .into_iter()
                .map(|problem| Problem::new(&problem.path, &problem.rule))
                .collect(),
        })
    }
}

impl Resolver {
    /// Calls the function that decides. The outer error is the engine's.
    pub(crate) fn decide(
        &self,
        store: &mut Store<ResourceUsage>,
        facts: &Facts,
        settings: &str,
    ) -> Result<Result<Decision, GuestError>> {
        let decided = with_request(facts, settings, |request, chain| match self {
            Resolver::V0_1_0(decide) => v0_1_0::call_decide(decide, store, request, chain),
            Resolver::V0_2_0(resolver) => resolver.call_decide(store, request, chain),
        })?;
        Ok(match decided {
            Ok(decision) => Decision::try_from(decision).map_err(GuestError::Malformed),
            Err(error) => Err(GuestError::Returned(error)),
        })
    }
}

type Pairs<'a> = Vec<(&'a str, &'a str)>;

/// The lists of one credential, which the contract's record borrows.
struct CredentialLists<'a> {
    models: Option<Vec<&'a str>>,
    paths: Vec<&'a str>,
    attributes: Pairs<'a>,
}

/// Calls `call` with `facts` in the contract's types. Strings are not copied, only the lists
/// that point to them are built.
fn with_request<R>(
    facts: &Facts,
    settings: &str,
    call: impl FnOnce(Request<'_>, &[Scope<'_>]) -> R,
) -> R {
    let lists: Vec<Vec<CredentialLists<'_>>> = facts
        .chain
        .iter()
        .map(|scope| scope.credentials.iter().map(lists_of).collect())
        .collect();
    let credentials: Vec<Vec<wire::Credential<'_>>> = facts
        .chain
        .iter()
        .zip(&lists)
        .map(|(scope, lists)| {
            scope
                .credentials
                .iter()
                .zip(lists)
                .map(borrow_credential)
                .collect()
        })
        .collect();
    let attributes: Vec<Pairs<'_>> = facts
        .chain
        .iter()
        .map(|scope| pairs(&scope.attributes))
        .collect();
    let chain: Vec<Scope<'_>> = facts
        .chain
        .iter()
        .zip(&credentials)
        .zip(&attributes)
        .map(|((scope, credentials), attributes)| Scope {
            path: &scope.path,
            inheritance: match scope.inheritance {
                Inheritance::Isolated => wire::Inheritance::Isolated,
                Inheritance::Inherit => wire::Inheritance::Inherit,
                Inheritance::FallBack => wire::Inheritance::FallBack,
            },
            default_model: scope.default_model.as_deref(),
            credentials,
            attributes,
        })
        .collect();
    let request_attributes = pairs(&facts.request.attributes);
    let request = Request {
        provider: &facts.request.provider,
        model: facts.request.model.as_deref(),
        credential: facts.request.credential.as_deref(),
        principal: &facts.request.principal,
        now_ms: facts.request.now_ms,
        settings,
        attributes: &request_attributes,
    };
    call(request, &chain)
}

fn lists_of(credential: &CredentialFacts) -> CredentialLists<'_> {
    CredentialLists {
        models: credential.models.as_deref().map(strs),
        paths: match &credential.sharing {
            Sharing::Paths(paths) => strs(paths),
            Sharing::All | Sharing::None => Vec::new(),
        },
        attributes: pairs(&credential.attributes),
    }
}

fn borrow_credential<'a>(
    (credential, lists): (&'a CredentialFacts, &'a CredentialLists<'a>),
) -> wire::Credential<'a> {
    wire::Credential {
        id: &credential.id,
        name: &credential.name,
        enabled: credential.enabled,
        readable: credential.readable,
        expires_at_ms: credential.expires_at_ms,
        models: lists.models.as_deref(),
        sharing: match credential.sharing {
            Sharing::All => wire::Sharing::All,
            Sharing::None => wire::Sharing::None,
            Sharing::Paths(_) => wire::Sharing::Paths(&lists.paths),
        },
        mandatory: credential.mandatory,
        priority: credential.priority,
        attributes: &lists.attributes,
    }
}

fn strs(list: &[String]) -> Vec<&str> {
    list.iter().map(String::as_str).collect()
}

fn pairs(attributes: &std::collections::BTreeMap<String, String>) -> Pairs<'_> {
    attributes
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect()
}

impl TryFrom<wire::Decision> for Decision {
    type Error = InvalidCode;

    fn try_from(decision: wire::Decision) -> Result<Self, InvalidCode> {
        Ok(Decision {
            outcome: match decision.outcome {
                wire::Outcome::Granted(grant) => Outcome::Granted(Grant {
                    credential: grant.credential,
                    alternates: grant.alternates,
                    model: grant.model,
                }),
                wire::Outcome::Refused(refusal) => Outcome::Refused(Refusal {
                    code: refusal.code.parse()?,
                    message: refusal.message.into(),
                }),
            },
            trail: decision
                .trail
                .into_iter()
                .map(finding)
                .collect::<Result<_, _>>()?,
            attributes: attributes(decision.attributes),
        })
    }
}

fn finding(finding: wire::Finding) -> Result<Finding, InvalidCode> {
    Ok(Finding {
        credential: finding.credential,
        code: finding.code.parse()?,
        attributes: attributes(finding.attributes),
    })
}

fn attributes(pairs: Vec<(String, String)>) -> Attributes {
    pairs
        .into_iter()
        .map(|(name, value)| (name.into(), value.into()))
        .collect()
}
