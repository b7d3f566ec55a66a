//! Previews: how a change, or another policy, would change effective access.
//!
//! Two states are compared: what the scopes hold, and which policies are active. A planned
//! change is applied in memory ([`Entail::preview`]), or another policy is tried on the
//! current scopes ([`Policies::diff`]). Nothing is committed, recorded or unsealed.
//!
//! # Which requests are compared
//!
//! For each scope, and each provider for which its chain holds a credential before or after:
//!
//! - a request without a model, and one for each model that the chain names: its default
//!   models, and the patterns of its credentials. A pattern with a wildcard stands for the
//!   model with the same spelling, which it matches;
//! - if the chain has credentials with several names, the same for each name;
//! - if attributes are given, each of these with and without them;
//! - the recent requests in the decision log, with their model, credential and attributes;
//! - each of these now, and at later times.
//!
//! A policy can still tell a preview's requests from others, by a model or an attribute
//! that nothing names yet, or by another time. [`Coverage`] reports what was compared. The
//! guard enforces the links and the sharing in any case.
//!
//! [`Coverage`]: crate::Coverage

use std::collections::BTreeMap;

use entail_policy::Policy;

use crate::authorize::{authorize, authorize_whole};
use crate::change::Change;
use crate::compare::access::AccessChanges;
use crate::entail::Entail;
use crate::error::Error;
use crate::policies::Policies;
use crate::principal::{Action, Principal};
use entail_decision::name::{AttributeName, AttributeValue, ScopePath};

impl Entail {
    /// How a change would change effective access, in its scope and all descendants. It is
    /// checked like [`Entail::change`], and not made. With `attributes`, each request is
    /// compared with and without them.
    ///
    /// All processors work on it, about a tenth of a millisecond per scope; the caller's
    /// thread does not.
    ///
    /// # Errors
    ///
    /// As [`Entail::change`].
    pub async fn preview(
        &self,
        principal: &Principal,
        change: &Change,
        attributes: &BTreeMap<AttributeName, AttributeValue>,
    ) -> Result<AccessChanges, Error> {
        authorize(principal, Action::Change, change.scope())?;
        let path = change.scope();
        self.documents
            .until_not_contended(|| async {
                self.documents.check_can_commit().await?;
                let plan = self.plan(change).await?;
                let paths = match change {
                    Change::AddScope { .. } => vec![path.clone()],
                    _ => self.scopes(principal, Some(path)).await?,
                };
                let before = self.load_state(principal, plan.revision, &paths).await?;
                let mut after = before.clone();
                match plan.scope {
                    Some(scope) => after.scopes.insert(path.clone(), scope),
                    None => after.scopes.remove(path),
                };
                let compared = self.compare(principal, before, after, paths, attributes);
                let mut changes = compared.await?;
                changes.notes.splice(..0, plan.applied.notes);
                Ok(changes)
            })
            .await
    }
}

impl Policies<'_> {
    /// How effective access would change if `policy` were active: for `organization` (or a
    /// project) and its descendants, otherwise for all scopes. With `attributes`, each
    /// request is compared with and without them.
    ///
    /// Works like [`Entail::preview`]. Needs the right to administer: a policy of the caller's
    /// choice can tell everything that it sees.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownScope`], [`Error::Tampered`]; [`Error::Contended`] if other writers
    /// kept changing the scopes.
    pub async fn diff(
        self,
        principal: &Principal,
        policy: &Policy,
        organization: Option<&ScopePath>,
        attributes: &BTreeMap<AttributeName, AttributeValue>,
    ) -> Result<AccessChanges, Error> {
        match organization {
            Some(scope) => authorize(principal, Action::Administer, scope)?,
            None => authorize_whole(principal, Action::Administer)?,
        }
        let entail = self.entail;
        entail
            .documents
            .until_not_contended(|| async {
                let revision = entail.documents.store.revision().await?;
                let paths = entail.scopes(principal, organization).await?;
                let before = entail.load_state(principal, revision, &paths).await?;
                let mut after = before.clone();
                for active in after.policies.values_mut() {
                    *active = policy.clone();
                }
                entail
                    .compare(principal, before, after, paths, attributes)
                    .await
            })
            .await
    }
}

#[cfg(test)]
mod tests {
    use entail_policy::Inheritance;
    use entail_store::Secret;

    use super::*;
    use crate::change::rules::{Edit, RuleChanges};
    use crate::change::set_credential::{SecretEdit, SetCredential};
    use crate::compare::access::ComparedRequest;
    use crate::credential_ref::CredentialRef;
    use crate::entail::Options;
    use crate::home::Home;
    use entail_decision::name::{CredentialName, ModelId};

    const ME: Principal = Principal::LocalOwner;

    fn set(scope: &str, name: &str, rules: RuleChanges, secret: SecretEdit) -> Change {
        let fields = match secret {
            SecretEdit::Keep => Vec::new(),
            _ => vec![(
                "api_key".to_owned(),
                Secret::from("canary-of-effective-access"),
            )],
        };
        Change::SetCredential(Box::new(SetCredential {
            credential: CredentialRef {
                scope: scope.parse().unwrap(),
                provider: "openai".parse().unwrap(),
                name: name.parse().unwrap(),
            },
            mode: None,
            fields,
            rules,
            secret,
            grace_ms: 0,
        }))
    }

    fn inherit(scope: &str, inheritance: Inheritance) -> Change {
        Change::SetInheritance {
            scope: scope.parse().unwrap(),
            provider: Some("openai".parse().unwrap()),
            inheritance,
        }
    }

    fn add(scope: &str) -> Change {
        Change::AddScope {
            scope: scope.parse().unwrap(),
        }
    }

    /// `acme` with a key, `acme/evals` that inherits it, with `acme/evals/nightly`
    /// that inherits too, and `acme/agents` that does not.
    async fn with_acme() -> (tempfile::TempDir, Entail) {
        let directory = tempfile::tempdir().unwrap();
        let home = Home::create(&directory.path().join("home"), None)
            .await
            .unwrap();
        let entail = Entail::open(&home, Options::default()).unwrap();
        for change in [
            add("acme"),
            add("acme/agents"),
            add("acme/evals"),
            add("acme/evals/nightly"),
            set("acme", "default", RuleChanges::default(), SecretEdit::Given),
            inherit("acme/evals", Inheritance::Inherit),
            inherit("acme/evals/nightly", Inheritance::Inherit),
        ] {
            entail.change(&ME, &change).await.unwrap();
        }
        (directory, entail)
    }

    /// As `scope [model]: before → after (difference)`.
    fn shown(changes: &AccessChanges) -> Vec<String> {
        let shown = changes.changes.iter().map(|change| {
            let request = match &change.request {
                ComparedRequest::Any => String::new(),
                ComparedRequest::Only {
                    credential, model, ..
                } => {
                    let text = |text: Option<&str>| text.unwrap_or("-").to_owned();
                    format!(
                        " [{} {}]",
                        text(credential.as_ref().map(CredentialName::as_str)),
                        text(model.as_ref().map(ModelId::as_str))
                    )
                }
            };
            format!(
                "{}{request}: {} → {} ({})",
                change.scope, change.from, change.to, change.difference
            )
        });
        shown.collect()
    }

    #[tokio::test]
    async fn a_preview_shows_the_scope_and_its_descendants_and_changes_nothing() {
        let (_directory, entail) = with_acme().await;
        let revision = entail.documents.store.revision().await.unwrap();
        let planned = async |change: Change| {
            shown(
                &entail
                    .preview(&ME, &change, &BTreeMap::new())
                    .await
                    .unwrap(),
            )
        };
        assert_eq!(
            planned(inherit("acme/evals", Inheritance::Isolated)).await,
            [
                "acme/evals: default of acme → refused: not-opted-in (narrowed)",
                "acme/evals/nightly: default of acme → refused: not-opted-in (narrowed)",
            ]
        );
        assert_eq!(
            planned(inherit("acme/agents", Inheritance::Inherit)).await,
            ["acme/agents: refused: not-opted-in → default of acme (widened)"]
        );
        // The project's own key comes first, so the parent's is no longer used.
        let own = set(
            "acme/evals",
            "own",
            RuleChanges::default(),
            SecretEdit::Given,
        );
        assert_eq!(
            planned(own).await,
            [
                "acme/evals [- -]: default of acme → own of acme/evals (widened)",
                "acme/evals [own -]: refused: no-credential → own of acme/evals (widened)",
                "acme/evals/nightly [- -]: default of acme → own of acme/evals (widened)",
                "acme/evals/nightly [own -]: refused: no-credential → own of acme/evals (widened)",
            ]
        );
        assert_eq!(
            planned(add("acme/new")).await,
            ["acme/new: no such scope → refused: not-opted-in (reason-changed)"]
        );
        let nightly = "acme/evals/nightly".parse().unwrap();
        assert_eq!(
            planned(Change::RemoveProject { scope: nightly }).await,
            ["acme/evals/nightly: default of acme → no such scope (narrowed)"]
        );
        let same = inherit("acme/evals", Inheritance::FallBack);
        assert_eq!(planned(same).await, [""; 0]);
        assert_eq!(entail.documents.store.revision().await.unwrap(), revision);
    }

    #[tokio::test]
    async fn model_patterns_are_compared_as_models() {
        let (_directory, entail) = with_acme().await;
        let only = |patterns: &[&str]| RuleChanges {
            models: Edit::Set(patterns.iter().map(|p| (*p).to_owned()).collect()),
            ..RuleChanges::default()
        };
        let change = set("acme", "default", only(&["gpt-*"]), SecretEdit::Keep);
        let planned = entail
            .preview(&ME, &change, &BTreeMap::new())
            .await
            .unwrap();
        assert_eq!(
            shown(&planned),
            [
                "acme [- -]: default of acme → refused: model-required (narrowed)",
                // Opting in would no longer help.
                "acme/agents [- -]: refused: not-opted-in → refused: no-credential (reason-changed)",
                "acme/evals [- -]: default of acme → refused: model-required (narrowed)",
                "acme/evals/nightly [- -]: default of acme → refused: model-required (narrowed)",
            ]
        );
        entail.change(&ME, &change).await.unwrap();
        let change = set("acme", "default", only(&["o-*"]), SecretEdit::Keep);
        let planned = entail
            .preview(&ME, &change, &BTreeMap::new())
            .await
            .unwrap();
        assert_eq!(
            shown(&planned)[..2],
            [
                "acme [- gpt-*]: default of acme → refused: model-not-allowed (narrowed)",
                "acme [- o-*]: refused: model-not-allowed → default of acme (widened)",
            ]
        );
    }

    #[tokio::test]
    async fn an_invalid_change_fails_the_same_in_a_preview_and_for_real() {
        let (_directory, entail) = with_acme().await;
        for change in [
            add("acme/evals"),
            add("acme/nowhere/below"),
            inherit("acme/nowhere", Inheritance::Inherit),
            set("acme", "other", RuleChanges::default(), SecretEdit::Keep),
            Change::RemoveProject {
                scope: "acme/evals".parse().unwrap(),
            },
        ] {
            let planned = entail
                .preview(&ME, &change, &BTreeMap::new())
                .await
                .unwrap_err();
            let made = entail.change(&ME, &change).await.unwrap_err();
            assert_eq!(planned.to_string(), made.to_string());
        }
    }

    #[tokio::test]
    async fn the_active_policy_does_not_differ_from_itself() {
        let (_directory, entail) = with_acme().await;
        let policy = entail.policies().built_in().unwrap().clone();
        let changes = entail
            .policies()
            .diff(&ME, &policy, None, &BTreeMap::new())
            .await
            .unwrap();
        assert_eq!((changes.scopes, changes.counts.same), (4, 4));
        assert_eq!(shown(&changes), [""; 0]);
        let evals = "acme/evals".parse().unwrap();
        let changes = entail
            .policies()
            .diff(&ME, &policy, Some(&evals), &BTreeMap::new())
            .await;
        assert_eq!(changes.unwrap().scopes, 2);
    }
}
