//! Keeps an organization's model credentials in one place and lets projects inherit them
//! by choice.
//!
//! An administrator sets a key for a provider once, on the organization. A project opts in
//! to it, or keeps its own. A program gets exactly the credential that the policy allows,
//! and can ask why.
//!
//! # Open, change, resolve
//!
//! ```
//! use entail::{Change, CredentialRef, Entail, Home, Options, Principal, Request, Secret, SetCredential};
//! use entail::policy::Inheritance;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let directory = tempfile::tempdir()?;
//! # let directory = directory.path().join("home");
//! let home = Home::create(&directory, None).await?; // later: Home::open
//! let entail = Entail::open(&home, Options::default())?;
//! let me = Principal::LocalOwner;
//!
//! // An organization with a key, and a project that inherits it.
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
//! // What the project gets, and from which scope.
//! let request = Request::new("acme/evals".parse()?, "openai".parse()?);
//! let lease = entail.resolve(&me, &request).await?;
//! assert_eq!(lease.holder().as_str(), "acme");
//! let key = lease.secret("api_key").ok_or("no key")?;
//! assert_eq!(key.expose_text(), Some("canary-of-the-embedding-example"));
//!
//! // Why, and what would help if it were refused.
//! let explanation = entail.explain(&me, &request).await?;
//! assert!(explanation.hints().is_empty());
//! # Ok(())
//! # }
//! ```
//!
//! [`Entail::preview`] shows who would get what after a change, without making it.
//!
//! # In a web handler
//!
//! Open one [`Entail`] when the service starts, share it in an [`Arc`](std::sync::Arc), and
//! call it from any task: every future is `Send`.
//!
//! ```no_run
//! use std::sync::Arc;
//! use entail::{Entail, ErrorKind, Principal, Request};
//!
//! async fn handle(entail: Arc<Entail>, scope: String) -> (u16, String) {
//!     let resolved = async {
//!         let request = Request::new(scope.parse()?, "openai".parse()?);
//!         entail.resolve(&Principal::LocalOwner, &request).await
//!     };
//!     match resolved.await {
//!         // Send the lease's headers to `lease.hosts()` only, and keep no copy.
//!         Ok(lease) => (200, lease.holder().to_string()),
//!         Err(error) => {
//!             let status = match error.kind() {
//!                 ErrorKind::Refused | ErrorKind::NotAuthorized => 403,
//!                 ErrorKind::NotFound => 404,
//!                 ErrorKind::Invalid => 400,
//!                 _ => 503,
//!             };
//!             (status, error.code().to_owned())
//!         }
//!     }
//! }
//! ```
//!
//! Errors are types: a [kind](Error::kind), a stable [code](Error::code), and
//! [hints](Error::hints) that a page or an API can render as buttons or links.
//!
//! # What blocks
//!
//! - [`Entail::open`], [`Home::open`], and the functions that are not `async` block on the
//!   disk. Call them outside of the runtime, or in its pool of blocking threads.
//! - [`Entail::resolve`] and [`Entail::explain`] take microseconds when the documents are
//!   cached, and then stay on the caller's thread: they ask the database whether it changed,
//!   run the built-in policy, and append to the decision log without an `fsync`. Documents
//!   are read, and other policies run, on threads of the library.
//! - No other asynchronous function waits for the disk or computes for long on the caller's
//!   thread. Changes, changes of keys, previews, verification, backups and restores run on
//!   threads of the library. Work that has begun continues if its future is dropped, except
//!   a change that waits for its turn.
//!
//! # The handles
//!
//! [`Entail`] resolves, explains, previews and changes. The rest is grouped by subject:
//! [`Entail::policies`], [`Entail::keys`], [`Entail::maintenance`].
//!
//! # The path of a request
//!
//! ```text
//! request ─▶ authorize ─▶ facts (store) ─▶ decide (policy) ─▶ enforce (guard) ─▶ record ─▶ unseal ─▶ lease
//! ```
//!
//! Each step is one function with its own error ([`ErrorKind`]). Nothing is revealed unless
//! all of them succeed:
//!
//! 1. *authorize*: may this [`Principal`] resolve in this scope?
//! 2. *facts*: the documents of the chain, verified, at one revision.
//! 3. *decide*: the policy component, in a fresh instance, on the facts alone.
//! 4. *enforce*: the [guard] rejects a decision that grants more than the facts allow.
//! 5. *record*: the decision and its facts go to the decision log.
//! 6. *unseal*: only now is the one sealed secret opened, and its place checked.
//! 7. *lease*: the secret fields, the public parameters, the effective model.

mod audit;
mod authorize;
mod blocking;
mod bundles;
mod change;
mod clock;
mod compare;
mod credential_ref;
mod documents;
mod entail;
mod error;
mod home;
mod keys;
mod logs;
mod policies;
mod principal;
mod principals;
mod recovery;
mod resolve;
mod scopes;
mod sleep;
mod urls;

pub use crate::audit::{
    Breach, Filter, LogEvent, LogEventKind, LogFile, LogReport, OutcomeFilter, Purpose,
    RecordedDecision, RecordedOpening, Records, accept_log_loss, archive_log, log_files,
};
pub use crate::bundles::{BundleExport, ExportedBundle, bundle_recipients, open_bundle_lease};
pub use crate::change::rules::{Edit, RuleChanges};
pub use crate::change::set_credential::{SecretEdit, SetCredential};
pub use crate::change::value::{mask, normalize_value};
pub use crate::change::{Applied, Change};
pub use crate::clock::{CLOCK_MARGIN_MS, Clock, ClockReading, SystemClock, Uptime, now_ms};
pub use crate::compare::access::{AccessChange, AccessChanges, ComparedRequest, Coverage};
pub use crate::compare::decision::{
    Difference, DifferenceCounts, EffectiveDecision, UsableCredential,
};
pub use crate::compare::replay::{RecordPosition, Replay, ReplayedChange};
pub use crate::credential_ref::CredentialRef;
pub use crate::documents::scope::{
    Credential, RemovedCredential, RetiredVersion, Rules, Scope, Version,
};
pub use crate::entail::{DEFAULT_POLICY, Entail, Options};
pub use crate::error::classify::ErrorKind;
pub use crate::error::hint::Hint;
pub use crate::error::invalid_value::InvalidValue;
pub use crate::error::{BUILT_IN, Error};
pub use crate::home::Home;
pub use crate::home::settings::{
    DecisionLogSettings, HomeSettings, InvalidSettings, LogSync, Require, SecondarySink,
};
pub use crate::keys::{
    KeyChange, KeyPlan, OnStep, ProposalReview, Renewal, StaleSecret, Step, StoreKeys,
    review_proposal, sign_proposal,
};
pub use crate::logs::{
    count_records, journalled_log_heads, last_records, records, replay, shadow_decisions,
    verify_log,
};
pub use crate::policies::{
    ActivatePolicy, ActivePolicy, InstallPolicy, InstalledPolicy, Policies, PolicyActivation,
    ShadowDecision, ShadowDecisions,
};
pub use crate::principal::{
    Action, InvalidPrincipal, InvalidPrincipalRef, Principal, PrincipalKind, PrincipalRef,
};
pub use crate::principals::{ErasedPrincipal, erase_logged_principal, logged_principals};
pub use crate::recovery::maintenance::{MAINTAIN_EVERY, MaintenanceReport};
pub use crate::recovery::restore::{
    RestorePlan, Restored, plan_restore_in_place, plan_restore_to_clean_machine, restore_in_place,
    restore_to_clean_machine,
};
pub use crate::recovery::verify::{OnProgress, Verification};
pub use crate::recovery::{Maintenance, RestoreRequest, Trust};
pub use crate::resolve::environment::{
    AssumedRole, CommandEnvironment, Kept, UnreadParameter, VariableValue,
};
pub use crate::resolve::explanation::Explanation;
pub use crate::resolve::host_attributes;
pub use crate::resolve::lease::Lease;
pub use crate::resolve::redaction::HiddenFindings;
pub use crate::resolve::request::Request;
pub use crate::scopes::RecordedChange;
pub use entail_bundle as bundle;
pub use entail_decision as decision;
pub use entail_decision::guard;
pub use entail_decision::guard::Violation;
pub use entail_decision::name::{
    AttributeName, AttributeValue, CredentialId, CredentialName, HOST_PREFIX, InvalidName, ModelId,
    ProviderId, ScopePath, quoted,
};
pub use entail_decision::provider::{
    AmbientBlock, Authentication, Catalog, Check, ClientArgument, Field, FixedVariable, Format,
    InvalidProviders, KeptVariable, Mode, Provider, ProviderKind, RoleFields, SpecialBaseUrl,
    Variable,
};
pub use entail_policy as policy;
pub use entail_store as store;
pub use entail_store::{IdentitySource, Keys, LogHead, Secret};
