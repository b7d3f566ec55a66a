//! Policies that were built against version 0.1.0 of the contract
//! (`wit/released/0.1.0`).
//!
//! That version has no settings: neither the interface nor the field of the request. All
//! other types are the same, so only the request is converted.

// Derived code implements unsafe traits for the types that it has checked.
#![allow(unsafe_code)]

use wasmtime::component::{
    Component, ComponentExportIndex, ComponentType, Func, Instance, Lift, Lower,
};
use wasmtime::{Result, Store};

use super::{Request, Scope, wire};
use crate::limits::ResourceUsage;

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
type DecideReturn = (Result<wire::Decision, wire::Error>,);

/// How the policy describes itself.
#[derive(ComponentType, Lift)]
#[component(record)]
pub(crate) struct OldDescription {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) summary: String,
}

/// The exports of a component.
pub(crate) struct Exports {
    decide: ComponentExportIndex,
    describe: ComponentExportIndex,
}

impl Exports {
    /// Whether a component was built against this version.
    pub(crate) fn are_in(component: &Component) -> bool {
        component.get_export_index(None, RESOLVER).is_some()
    }

    /// Finds the exports; fails with the name of the missing one.
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

    /// Returns the function that decides, after checking its type.
    pub(crate) fn decide(
        &self,
        store: &mut Store<ResourceUsage>,
        instance: &Instance,
    ) -> Result<Func> {
        instance
            .get_typed_func::<DecideParameters<'_>, DecideReturn>(store, &self.decide)
            .map(|function| *function.func())
    }

    /// Returns the function that describes the policy, after checking its type.
    pub(crate) fn describe(
        &self,
        store: &mut Store<ResourceUsage>,
        instance: &Instance,
    ) -> Result<impl FnOnce(&mut Store<ResourceUsage>) -> Result<OldDescription> + use<>> {
        let describe =
            instance.get_typed_func::<(), (OldDescription,)>(&mut *store, &self.describe)?;
        Ok(move |store: &mut Store<ResourceUsage>| Ok(describe.call(store, ())?.0))
    }
}

/// Calls the function that decides, with the fields that this version has.
pub(crate) fn call_decide(
    decide: &Func,
    store: &mut Store<ResourceUsage>,
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
    let decide = decide.typed::<DecideParameters<'_>, DecideReturn>(&*store)?;
    Ok(decide.call(store, (request, chain))?.0)
}
