//! The plan of an import, which is shown and then carried out.

use std::collections::{BTreeMap, BTreeSet};

use entail::policy::{Inheritance, Outcome};
use entail::{Entail, Error, Explanation, ProviderId, Request, ScopePath};

use super::fingerprint::Fingerprint;
use super::present::Present;
use super::recognize::{Candidate, Recognized};
use super::sources::Project;
use super::step::Step;
use crate::error::CliError;
use crate::session::Session;
use entail_api::import::{
    Comparison, CredentialReport, ImportOutcome, ImportReport, ProjectReport, SharedKey,
    SkippedFile, VariableName,
};

/// The report that is shown, and the changes that are made.
pub struct Plan {
    pub report: ImportReport,
    pub steps: Vec<Step>,
}

/// Notes in the report that the changes are made, and what each scope gets now: earlier rules
/// or a policy may refuse it what was found.
///
/// # Errors
///
/// Fails if the store cannot be read, or the policy fails.
pub async fn set_applied(
    report: &mut ImportReport,
    session: &Session,
    entail: &Entail,
) -> Result<(), CliError> {
    report.applied = true;
    for project in &mut report.projects {
        let scope: ScopePath = project.scope.parse().map_err(Error::from)?;
        for credential in &mut project.credentials {
            let Some(holder) = holder(credential, &report.organization, &project.scope) else {
                continue;
            };
            let provider: ProviderId = credential.provider.parse().map_err(Error::from)?;
            let request = Request::new(scope.clone(), provider);
            let explanation = entail.explain(&session.principal, &request).await?;
            credential.granted = Some(is_granted_from(&explanation, holder));
        }
    }
    let credentials = report
        .projects
        .iter()
        .flat_map(|project| &project.credentials);
    report.deletable = credentials
        .filter(|credential| credential.granted == Some(true))
        .flat_map(|credential| &credential.variables)
        .map(|used| VariableName {
            place: used.place.clone(),
            variable: used.variable.clone(),
        })
        .collect();
    Ok(())
}

/// The scope that holds a credential after the import; `None` if it is not imported.
fn holder<'a>(
    credential: &CredentialReport,
    organization: &'a str,
    project: &'a str,
) -> Option<&'a str> {
    match credential.outcome {
        ImportOutcome::OptIn => Some(organization),
        ImportOutcome::Own | ImportOutcome::AlreadySet(Comparison::Same) => Some(project),
        ImportOutcome::AlreadySet(_) | ImportOutcome::NotCompared { .. } => None,
    }
}

fn is_granted_from(explanation: &Explanation, holder: &str) -> bool {
    let Outcome::Granted(grant) = &explanation.decision.outcome else {
        return false;
    };
    let mut chain = explanation.facts.chain.iter();
    let from = chain.find(|scope| scope.credentials.iter().any(|c| c.id == grant.credential));
    from.is_some_and(|scope| scope.path == holder)
}

/// Makes a plan. For each provider, the organization gets the key that most projects use,
/// unless each uses another.
pub struct Planning<'a> {
    pub session: &'a Session,
    pub entail: &'a Entail,
    pub organization: &'a ScopePath,
    pub present: &'a Present,
    pub dry_run: bool,
}

/// A credential that was found, and the project that it was found in.
struct Use<'a> {
    project: usize,
    scope: &'a ScopePath,
    candidate: &'a Candidate,
}

impl Planning<'_> {
    /// Makes the plan for what was found.
    ///
    /// # Errors
    ///
    /// Fails if the store cannot be read.
    pub async fn plan(
        &self,
        found: Vec<(Project, Recognized)>,
        skipped: Vec<SkippedFile>,
    ) -> Result<Plan, CliError> {
        let mut outcomes: BTreeMap<(usize, ProviderId), ImportOutcome> = BTreeMap::new();
        let mut shared = Vec::new();
        let mut organization_steps = Vec::new();
        let mut own_steps = Vec::new();
        let mut opt_ins = Vec::new();
        let providers: BTreeSet<&ProviderId> = found
            .iter()
            .flat_map(|(_, recognized)| &recognized.candidates)
            .map(|candidate| &candidate.provider)
            .collect();
        for provider in providers {
            let uses: Vec<Use<'_>> = uses_of(&found, provider);
            shared.extend(shared_keys(provider, &uses));
            let decided = self.decide(provider, &uses).await?;
            for (used, outcome) in uses.iter().zip(decided.outcomes) {
                match &outcome {
                    ImportOutcome::Own => own_steps.push(Step::set(used.scope, used.candidate)),
                    ImportOutcome::OptIn => self.opt_in(used.scope, provider, &mut opt_ins),
                    ImportOutcome::AlreadySet(_) | ImportOutcome::NotCompared { .. } => {}
                }
                outcomes.insert((used.project, provider.clone()), outcome);
            }
            if let Some(candidate) = decided.for_organization {
                organization_steps.push(Step::set(self.organization, candidate));
            }
        }
        let mut steps = self.missing_scopes(&own_steps, &opt_ins);
        steps.extend(organization_steps);
        steps.extend(own_steps);
        steps.extend(opt_ins);
        let projects = found
            .into_iter()
            .enumerate()
            .map(|(position, (project, recognized))| {
                self.project_report(position, project, recognized, &outcomes)
            })
            .collect();
        Ok(Plan {
            report: ImportReport {
                organization: self.organization.to_string(),
                projects,
                skipped,
                shared,
                changes: steps.iter().map(Step::report).collect(),
                dry_run: self.dry_run,
                applied: false,
                deletable: Vec::new(),
            },
            steps,
        })
    }

    /// Decides what becomes of each use of a provider's credentials.
    async fn decide<'a>(
        &self,
        provider: &ProviderId,
        uses: &[Use<'a>],
    ) -> Result<ProviderDecisions<'a>, CliError> {
        let has_credential = !self
            .present
            .credentials(self.organization, provider)
            .is_empty();
        // A scope with a credential gets none from the organization.
        let has_own = |used: &&Use<'a>| !self.present.credentials(used.scope, provider).is_empty();
        let wanting: Vec<&Use<'a>> = uses.iter().filter(|used| !has_own(used)).collect();
        let for_organization = if has_credential {
            None
        } else {
            self.most_used(&wanting)
        };
        let mut outcomes = Vec::new();
        for used in uses {
            let outcome = if has_own(&used) {
                ImportOutcome::AlreadySet(self.compare(used.scope, used.candidate).await)
            } else if let Some(chosen) = for_organization {
                let is_same = chosen.fingerprint == used.candidate.fingerprint;
                if is_same && used.scope != self.organization {
                    ImportOutcome::OptIn
                } else {
                    ImportOutcome::Own
                }
            } else if has_credential {
                match self.compare(self.organization, used.candidate).await {
                    Comparison::Same => ImportOutcome::OptIn,
                    Comparison::Different => ImportOutcome::Own,
                    Comparison::Unknown { reason } => ImportOutcome::NotCompared { reason },
                }
            } else {
                ImportOutcome::Own
            };
            outcomes.push(outcome);
        }
        // The organization's own use sets it.
        let is_set_by_use = uses.iter().any(|used| used.scope == self.organization);
        Ok(ProviderDecisions {
            for_organization: for_organization.filter(|_| !is_set_by_use),
            outcomes,
        })
    }

    /// The credential that the organization gets: its own, else the one that most projects
    /// use; `None` if there are several and each is used once.
    fn most_used<'a>(&self, uses: &[&Use<'a>]) -> Option<&'a Candidate> {
        if let Some(own) = uses.iter().find(|used| used.scope == self.organization) {
            return Some(own.candidate);
        }
        let count = |fingerprint: Fingerprint| {
            uses.iter()
                .filter(|used| used.candidate.fingerprint == fingerprint)
                .count()
        };
        let mut most: Option<(&Candidate, usize)> = None;
        for used in uses {
            let count = count(used.candidate.fingerprint);
            // Of several that are used equally often, the first.
            if most.is_none_or(|(_, before)| count > before) {
                most = Some((used.candidate, count));
            }
        }
        let (candidate, count) = most?;
        (count > 1 || uses.len() == 1).then_some(candidate)
    }

    /// Compares a candidate with the one credential that a scope holds for its provider.
    async fn compare(&self, scope: &ScopePath, candidate: &Candidate) -> Comparison {
        let unknown = |reason| Comparison::Unknown { reason };
        let names = self.present.credentials(scope, &candidate.provider);
        let [name] = names.as_slice() else {
            return unknown(format!(
                "{scope} has several credentials for {}",
                candidate.provider
            ));
        };
        let request = Request {
            credential: Some(name.clone()),
            ..Request::new(scope.clone(), candidate.provider.clone())
        };
        let provider = self.entail.catalog().get(&candidate.provider);
        let is_secret = |name: &str| {
            let field = provider.and_then(|provider| provider.field(name));
            field.is_some_and(|field| field.secret)
        };
        let (secrets, public): (Vec<_>, Vec<_>) = candidate
            .fields
            .iter()
            .cloned()
            .partition(|(name, _)| is_secret(name));
        let principal = &self.session.principal;
        let (lease, secrets_agree) = match self
            .entail
            .compare_secret(principal, &request, &secrets)
            .await
        {
            Ok((lease, agree)) if lease.holder() == scope => (lease, agree),
            Ok(_) => return unknown("another credential takes precedence".to_owned()),
            Err(error) => return unknown(error.to_string()),
        };
        let parameters_agree = public.iter().all(|(name, value)| {
            let parameter = lease.parameters().get(name).map(String::as_bytes);
            parameter == Some(value.expose())
        });
        let given = |field: &str| public.iter().any(|(name, _)| name == field);
        // A credential that is sent to another URL is not the same.
        let leads_elsewhere = lease
            .parameters()
            .keys()
            .any(|name| name == "base_url" && !given(name));
        if lease.mode() == candidate.mode && secrets_agree && parameters_agree && !leads_elsewhere {
            Comparison::Same
        } else {
            Comparison::Different
        }
    }

    /// Adds the steps by which `scope` inherits the organization's credential. Scopes that
    /// inherit already are not changed.
    fn opt_in(&self, scope: &ScopePath, provider: &ProviderId, opt_ins: &mut Vec<Step>) {
        let links: Vec<ScopePath> = scope
            .chain()
            .filter(|link| !link.is_organization())
            .filter(|link| self.present.inheritance(link, provider) == Inheritance::Isolated)
            .collect();
        for link in links.into_iter().rev() {
            let is_planned = opt_ins.iter().any(|step| {
                matches!(step, Step::Inherit { scope, provider: planned } if *scope == link && planned == provider)
            });
            if !is_planned {
                opt_ins.push(Step::Inherit {
                    scope: link,
                    provider: provider.clone(),
                });
            }
        }
    }

    /// The scopes that the steps need and that do not exist, parents first.
    fn missing_scopes(&self, own: &[Step], opt_ins: &[Step]) -> Vec<Step> {
        let needed: BTreeSet<ScopePath> = own
            .iter()
            .chain(opt_ins)
            .flat_map(|step| step.scope().chain().collect::<Vec<_>>())
            .chain(std::iter::once(self.organization.clone()))
            .collect();
        let is_needed = !own.is_empty() || !opt_ins.is_empty();
        needed
            .into_iter()
            .filter(|scope| is_needed && !self.present.exists(scope))
            .map(Step::AddScope)
            .collect()
    }

    fn project_report(
        &self,
        position: usize,
        project: Project,
        recognized: Recognized,
        outcomes: &BTreeMap<(usize, ProviderId), ImportOutcome>,
    ) -> ProjectReport {
        let credentials = recognized
            .candidates
            .into_iter()
            .filter_map(|candidate| {
                let outcome = outcomes.get(&(position, candidate.provider.clone()))?;
                Some(CredentialReport {
                    provider: candidate.provider.to_string(),
                    mode: candidate.mode,
                    outcome: outcome.clone(),
                    variables: candidate.variables,
                    notes: candidate.notes,
                    granted: None,
                })
            })
            .collect();
        ProjectReport {
            exists: self.present.exists(&project.scope),
            source: project.label,
            scope: project.scope.to_string(),
            credentials,
            not_imported: recognized.not_imported,
            not_understood: recognized.not_understood,
            skipped: recognized.skipped,
            other_variables: recognized.other_variables,
        }
    }
}

/// The decisions for one provider.
struct ProviderDecisions<'a> {
    /// The credential to set on the organization.
    for_organization: Option<&'a Candidate>,
    /// One per use.
    outcomes: Vec<ImportOutcome>,
}

fn uses_of<'a>(found: &'a [(Project, Recognized)], provider: &ProviderId) -> Vec<Use<'a>> {
    found
        .iter()
        .enumerate()
        .filter_map(|(position, (project, recognized))| {
            let mut candidates = recognized.candidates.iter();
            let candidate = candidates.find(|candidate| candidate.provider == *provider)?;
            Some(Use {
                project: position,
                scope: &project.scope,
                candidate,
            })
        })
        .collect()
}

/// The groups of scopes that use the same key.
fn shared_keys(provider: &ProviderId, uses: &[Use<'_>]) -> Vec<SharedKey> {
    let mut groups: BTreeMap<Fingerprint, Vec<ScopePath>> = BTreeMap::new();
    for used in uses {
        groups
            .entry(used.candidate.key)
            .or_default()
            .push(used.scope.clone());
    }
    let mut shared: Vec<SharedKey> = groups
        .into_values()
        .filter(|scopes| scopes.len() > 1)
        .map(|scopes| SharedKey {
            provider: provider.to_string(),
            scopes: scopes.iter().map(ToString::to_string).collect(),
        })
        .collect();
    // The order of the groups would reveal something about the fingerprints.
    shared.sort_by(|one, other| one.scopes.cmp(&other.scopes));
    shared
}
