//! The contract's types, generated from `wit/policy.wit`, and the way between
//! them and this crate's own.

use crate::decision::{Decision, Finding, Grant, Outcome, Refusal};
use crate::facts::{Credential, Facts, Inheritance, Sharing};

// Generated code vouches for the types it has checked.
#[allow(
    unsafe_code,
    missing_docs,
    missing_debug_implementations,
    clippy::pedantic
)]
mod generated {
    wasmtime::component::bindgen!({
        path: "../../wit",
        world: "policy",
        // Facts are lent to the component, not copied for it.
        ownership: Borrowing { duplicate_if_necessary: true },
    });
}

pub(crate) use generated::exports::entail::policy::about::GuestIndices as AboutExport;
pub(crate) use generated::exports::entail::policy::resolver::GuestIndices as ResolverExport;
pub(crate) use generated::exports::entail::policy::resolver::{Error, Request, Scope};

use generated::exports::entail::policy::resolver as wire;

type Attributes<'a> = Vec<(&'a str, &'a str)>;

/// The lists of one credential, which the contract's record only points to.
struct CredentialLists<'a> {
    models: Option<Vec<&'a str>>,
    paths: Vec<&'a str>,
    attributes: Attributes<'a>,
}

/// Lends `facts` to `call` in the shape in which they cross over. Strings are
/// not copied; what is built is the lists that point to them.
pub(crate) fn lend<R>(facts: &Facts, call: impl FnOnce(Request<'_>, &[Scope<'_>]) -> R) -> R {
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
    let attributes: Vec<Attributes<'_>> = facts
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
        attributes: &request_attributes,
    };
    call(request, &chain)
}

fn lists_of(credential: &Credential) -> CredentialLists<'_> {
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
    (credential, lists): (&'a Credential, &'a CredentialLists<'a>),
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

fn pairs(attributes: &std::collections::BTreeMap<String, String>) -> Attributes<'_> {
    attributes
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect()
}

impl From<wire::Decision> for Decision {
    fn from(decision: wire::Decision) -> Self {
        Decision {
            outcome: match decision.outcome {
                wire::Outcome::Granted(grant) => Outcome::Granted(Grant {
                    credential: grant.credential,
                    alternates: grant.alternates,
                    model: grant.model,
                }),
                wire::Outcome::Refused(refusal) => Outcome::Refused(Refusal {
                    code: refusal.code,
                    message: refusal.message,
                }),
            },
            trail: decision
                .trail
                .into_iter()
                .map(|finding| Finding {
                    credential: finding.credential,
                    code: finding.code,
                    attributes: finding.attributes.into_iter().collect(),
                })
                .collect(),
            attributes: decision.attributes.into_iter().collect(),
        }
    }
}
