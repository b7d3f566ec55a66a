//! Keeps an organization's model credentials in one place and lets projects
//! inherit them by choice.
//!
//! An administrator sets a key for a provider once, on the organization; a
//! project opts in to it, or keeps its own; whoever runs the project's code gets
//! exactly the credential that the policy allows, and can ask why.
//!
//! # The path of a request
//!
//! ```text
//! request ─▶ authorize ─▶ facts (store) ─▶ decide (policy) ─▶ guard ─▶ audit ─▶ unseal ─▶ lease
//! ```
//!
//! It is a straight line ([`Entail::resolve`]); each step has its own error
//! ([`ErrorKind`]), and nothing is revealed unless all of them went well:
//!
//! 1. *authorize*: may this [`Principal`] resolve in this scope at all?
//! 2. *facts*: the documents of the chain, verified, as of one revision.
//! 3. *decide*: the policy component, in a fresh instance, on nothing but the
//!    facts.
//! 4. *guard*: what was chosen must have been offered, be usable, and be
//!    reachable through links that were opted in to. A policy cannot widen.
//! 5. *audit*: the decision and its facts go to the decision log.
//! 6. *unseal*: only now is the one sealed secret opened, and its place checked.
//! 7. *lease*: the secret fields, the public parameters, the effective model.
//!
//! # Embedding
//!
//! ```
//! use entail::{Change, CredentialRef, Entail, Home, Principal, Request, Secret, SetCredential, Options};
//! use entail::policy::Inheritance;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let folder = folder.path().join("home");
//! let home = Home::create(&folder, None).await?;
//! let entail = Entail::open(&home, Options::default())?;
//! let me = Principal::LocalOwner;
//!
//! // An organization with a key, and a project that opts in to it.
//! entail.change(&me, &Change::AddScope { scope: "acme".parse()? }).await?;
//! entail.change(&me, &Change::AddScope { scope: "acme/evals".parse()? }).await?;
//! entail.change(&me, &Change::SetCredential(Box::new(SetCredential {
//!     credential: CredentialRef {
//!         scope: "acme".parse()?,
//!         provider: "openai".parse()?,
//!         name: "default".parse()?,
//!     },
//!     mode: None,
//!     fields: vec![("api_key".to_owned(), Secret::from("canary-of-the-embedding-example"))],
//!     rules: Default::default(),
//!     secret: Default::default(),
//!     grace_ms: 0,
//! }))).await?;
//! entail.change(&me, &Change::SetInheritance {
//!     scope: "acme/evals".parse()?,
//!     provider: Some("openai".parse()?),
//!     inheritance: Inheritance::Inherit,
//! }).await?;
//!
//! // What the project gets, and from whom.
//! let request = Request::new("acme/evals".parse()?, "openai".parse()?);
//! let lease = entail.resolve(&me, &request).await?;
//! assert_eq!(lease.holder().as_str(), "acme");
//! let key = lease.secret("api_key").ok_or("no key")?;
//! assert_eq!(key.expose_text(), Some("canary-of-the-embedding-example"));
//! # Ok(())
//! # }
//! ```
//!
//! Reads of the database and calls of the built-in policy run on the caller's thread:
//! microseconds in the ordinary case. Other policies run on threads of their own.

mod audit;
mod authorize;
mod change;
mod clock;
mod compare;
mod credential_ref;
mod documents;
mod entail;
mod error;
mod home;
mod keys;
mod policies;
mod principal;
mod recovery;
mod resolve;
mod scopes;
mod sleep;
mod urls;

pub use crate::audit::{
    Breach, Filter, LogEvent, LogEventKind, LogFile, LogReport, OutcomeFilter, Purpose,
    RecordedDecision, Records, accept_log_loss, archive_log, count_records, last_records,
    log_files, records, verify as verify_log,
};
pub use crate::change::rules::{Edit, RuleChanges};
pub use crate::change::set_credential::{SecretEdit, SetCredential};
pub use crate::change::value::{mask, normalize_value};
pub use crate::change::{Applied, Change};
pub use crate::clock::{CLOCK_MARGIN_MS, Clock, ClockReading, SystemClock, Uptime, now_ms};
pub use crate::compare::access::{AccessChange, AccessChanges, ComparedRequest, Coverage};
pub use crate::compare::decision::{
    Difference, DifferenceCounts, EffectiveDecision, UsableCredential,
};
pub use crate::compare::replay::{RecordPlace, Replay, ReplayedChange, replay};
pub use crate::credential_ref::CredentialRef;
pub use crate::documents::scope::{Credential, Removed, Retired, Rules, Scope, Version};
pub use crate::entail::{DEFAULT_POLICY, Entail, Options};
pub use crate::error::classify::ErrorKind;
pub use crate::error::hint::Hint;
pub use crate::error::invalid_value::InvalidValue;
pub use crate::error::{BUILT_IN, Error};
pub use crate::home::Home;
pub use crate::home::settings::{
    DecisionLogSettings, Enough, HomeSettings, InvalidSettings, SecondSink,
};
pub use crate::keys::dry_run::{KeyChange, KeyPlan};
pub use crate::keys::rotation::{Leftover, OnStep, Renewal, Step};
pub use crate::policies::{
    ActivatePolicy, Bound, InstallPolicy, InstalledPolicy, PolicyBinding, ShadowAnswer,
    ShadowAnswers, shadow_answers,
};
pub use crate::principal::{Action, Principal};
pub use crate::recovery::maintenance::{MAINTAIN_EVERY, Maintenance};
pub use crate::recovery::restore::{
    RestorePlan, Restored, Trust, dry_run_restore_in_place, restore_in_place,
    restore_to_clean_machine,
};
pub use crate::recovery::verify::{BackgroundCheck, OnProgress, Verification};
pub use crate::resolve::environment::{
    AssumedRole, CommandEnvironment, Kept, Unread, VariableValue,
};
pub use crate::resolve::explanation::Explanation;
pub use crate::resolve::host_attributes;
pub use crate::resolve::lease::Lease;
pub use crate::resolve::request::Request;
pub use entail_decision as decision;
pub use entail_decision::guard;
pub use entail_decision::guard::Violation;
pub use entail_decision::name::{
    AttributeName, AttributeValue, CredentialId, CredentialName, HOST_PREFIX, InvalidName, ModelId,
    ProviderId, ScopePath, quoted,
};
pub use entail_decision::provider::{
    Authentication, Catalog, Check, Field, FixedVariable, Format, InvalidProviders, KeptVariable,
    Mode, Provider, ProviderKind, RoleFields, Shield, SpecialBaseUrl, UnreadBy, Variable,
};
pub use entail_policy as policy;
pub use entail_store as store;
pub use entail_store::{IdentitySource, Keys, Secret};
