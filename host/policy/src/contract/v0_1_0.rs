//! Policies that were built against version 0.1.0 of the contract
//! (`wit/released/0.1.0`).
//!
//! That version has no settings: neither the interface nor the field of the
//! request. All other types are the same, so this is the whole way between them.

// Derived code vouches for the types it has checked.
#![allow(unsafe_code)]

use wasmtime::component::{
    Component, ComponentExportIndex, ComponentType, Func, Instance, Lift, Lower,
};
use wasmtime::{Result, Store};

use super::{Request, Scope, wire};
use crate::limits::Account;

const RESOLVER: &str = "entail:policy/resolver@0.1.0";
const ABOUT: &str = "entail:policy/about@0.1.0";

/// The request without its settings.
#[derive(ComponentType, Lower)]
#[component(record)]
struct OldRequest<'a> {
    provider: &'a str,
    model: Option<&'a str>,
    credential: Option<&'a str>,
    principal: &'a str,
    #[component(name = "now-ms")]
    now_ms: u64,
    attributes: &'a [(&'a str, &'a str)],
}

type DecideParameters<'a> = (OldRequest<'a>, &'a [Scope<'a>]);
type DecideResult = (Result<wire::Decision, wire::Error>,);

/// What the policy says of itself.
#[derive(ComponentType, Lift)]
#[component(record)]
pub(crate) struct OldDescription {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) summary: String,
}

/// Where the exports are.
pub(crate) struct Exports {
    decide: ComponentExportIndex,
    describe: ComponentExportIndex,
}

impl Exports {
    /// Whether a component was built against this version.
    pub(crate) fn are_in(component: &Component) -> bool {
        component.get_export_index(None, RESOLVER).is_some()
    }

    /// Finds them; else names the one that is missing.
    pub(crate) fn find(component: &Component) -> Result<Self, String> {
        let find = |interface: &str, function: &str| {
            component
                .get_export_index(None, interface)
                .and_then(|interface| component.get_export_index(Some(&interface), function))
                .ok_or_else(|| format!("no function {function} in {interface}"))
        };
        Ok(Exports {
            decide: find(RESOLVER, "decide")?,
            describe: find(ABOUT, "describe")?,
        })
    }

    /// The function that decides, its type checked.
    pub(crate) fn decide(&self, store: &mut Store<Account>, instance: &Instance) -> Result<Func> {
        instance
            .get_typed_func::<DecideParameters<'_>, DecideResult>(store, &self.decide)
            .map(|function| *function.func())
    }

    /// Asks the policy what it is.
    pub(crate) fn describe(
        &self,
        store: &mut Store<Account>,
        instance: &Instance,
    ) -> Result<impl FnOnce(&mut Store<Account>) -> Result<OldDescription> + use<>> {
        let describe =
            instance.get_typed_func::<(), (OldDescription,)>(&mut *store, &self.describe)?;
        Ok(move |store: &mut Store<Account>| Ok(describe.call(store, ())?.0))
    }
}

/// Asks with what this version knows of a request.
pub(crate) fn call_decide(
    decide: &Func,
    store: &mut Store<Account>,
    request: Request<'_>,
    chain: &[Scope<'_>],
) -> Result<Result<wire::Decision, wire::Error>> {
    let request = OldRequest {
        provider: request.provider,
        model: request.model,
        credential: request.credential,
        principal: request.principal,
        now_ms: request.now_ms,
        attributes: request.attributes,
    };
    let decide = decide.typed::<DecideParameters<'_>, DecideResult>(&*store)?;
    Ok(decide.call(store, (request, chain))?.0)
}
