//! The contract's types, generated from `wit/policy.wit`, and the way between
//! them and this crate's own.
//!
//! A component may have been built against an older version of the contract;
//! whatever is different about that stands in a module named for it, and nobody
//! else knows.

mod v0_1_0;

use std::fmt;

use wasmtime::component::{Component, Func, Instance, InstancePre};
use wasmtime::{Result, Store};

use crate::limits::Account;
use crate::settings::Problem;
use entail_decision::{Attributes, Decision, Finding, Grant, InvalidCode, Outcome, Refusal};
use entail_decision::{CredentialFacts, Facts, Inheritance, Sharing};

// Generated code vouches for the types it has checked.
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
        // Facts are lent to the component, not copied for it.
        ownership: Borrowing { duplicate_if_necessary: true },
    });
}

use generated::exports::entail::policy::{about, resolver as wire, settings};
use wire::{Request, Scope};

pub(crate) use wire::Error;

/// A version of the contract. Policies of each are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Contract {
    /// The first one: no settings.
    V0_1_0,
    /// The present one.
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

/// Where a component's exports are.
pub(crate) enum Exports {
    V0_1_0(v0_1_0::Exports),
    V0_2_0 {
        resolver: wire::GuestIndices,
        about: about::GuestIndices,
        /// A host asks for it; a policy need not have it.
        settings: Option<settings::GuestIndices>,
    },
}

/// Why a policy gave no decision.
pub(crate) enum DecideError {
    /// It said so.
    Said(Error),
    /// What it returned is no decision of the contract.
    Malformed(InvalidCode),
}

/// The function that decides, in one instance.
pub(crate) enum Resolver {
    V0_1_0(Func),
    V0_2_0(wire::Guest),
}

impl Exports {
    /// Finds them; else tells what is missing.
    pub(crate) fn find(
        component: &Component,
        instance: &InstancePre<Account>,
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

    /// The function that decides, its type checked.
    pub(crate) fn resolver(
        &self,
        store: &mut Store<Account>,
        instance: &Instance,
    ) -> Result<Resolver> {
        match self {
            Exports::V0_1_0(exports) => exports.decide(store, instance).map(Resolver::V0_1_0),
            Exports::V0_2_0 { resolver, .. } => {
                resolver.load(store, instance).map(Resolver::V0_2_0)
            }
        }
    }

    /// Asks the policy what it is: name, version, summary. The outer error is that
    /// the export has another type.
    pub(crate) fn describe(
        &self,
        store: &mut Store<Account>,
        instance: &Instance,
    ) -> Result<Result<(String, String, String)>> {
        match self {
            Exports::V0_1_0(exports) => {
                let describe = exports.describe(store, instance)?;
                Ok(describe(store).map(|said| (said.name, said.version, said.summary)))
            }
            Exports::V0_2_0 { about, .. } => {
                let about = about.load(&mut *store, instance)?;
                Ok(about
                    .call_describe(store)
                    .map(|said| (said.name, said.version, said.summary)))
            }
        }
    }

    /// The functions about settings, their types checked; none if there are none.
    pub(crate) fn settings(
        &self,
        store: &mut Store<Account>,
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

/// The name of the interface that a policy may leave out.
const SETTINGS: &str = "entail:policy/settings@0.2.0";

/// The functions about settings, in one instance.
pub(crate) struct SettingsFunctions(settings::Guest);

impl SettingsFunctions {
    /// Asks for the schema, as a JSON text.
    pub(crate) fn schema(&self, store: &mut Store<Account>) -> Result<String> {
        self.0.call_schema(store)
    }

    /// Has the policy look settings over.
    pub(crate) fn validate(
        &self,
        store: &mut Store<Account>,
        settings: &str,
    ) -> Result<Vec<Problem>> {
        let found = self.0.call_validate(store, settings)?;
        Ok(match found {
            Ok(()) => Vec::new(),
            // It does not take them, whether or not it says why.
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
    /// Asks for a decision. The outer error is the engine's.
    pub(crate) fn decide(
        &self,
        store: &mut Store<Account>,
        facts: &Facts,
        settings: &str,
    ) -> Result<Result<Decision, DecideError>> {
        let decided = lend(facts, settings, |request, chain| match self {
            Resolver::V0_1_0(decide) => v0_1_0::call_decide(decide, store, request, chain),
            Resolver::V0_2_0(resolver) => resolver.call_decide(store, request, chain),
        })?;
        Ok(match decided {
            Ok(decision) => Decision::try_from(decision).map_err(DecideError::Malformed),
            Err(error) => Err(DecideError::Said(error)),
        })
    }
}

type Pairs<'a> = Vec<(&'a str, &'a str)>;

/// The lists of one credential, which the contract's record only points to.
struct CredentialLists<'a> {
    models: Option<Vec<&'a str>>,
    paths: Vec<&'a str>,
    attributes: Pairs<'a>,
}

/// Lends `facts` to `call` in the shape in which they cross over. Strings are
/// not copied; what is built is the lists that point to them.
fn lend<R>(facts: &Facts, settings: &str, call: impl FnOnce(Request<'_>, &[Scope<'_>]) -> R) -> R {
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
                .map(lend_credential)
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

fn lend_credential<'a>(
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
