//! `policy shadow`: runs a policy beside the active one, or shows how the two compare.

use std::collections::VecDeque;

use clap::Args;
use entail::policy::PolicyDigest;
use entail::{
    ActivatePolicy, DifferenceCounts, Entail, Filter, ScopePath, count_records, shadow_decisions,
};
use serde::Serialize;

use super::activation::{ActivationArgs, organization_policy};
use super::lookup::PolicyNames;
use crate::args::dry_run::DryRun;
use crate::error::{CliError, ErrorCode};
use crate::output::access::{
    decision_cell, difference, difference_cell, difference_counts, effective_decision,
    print_summary,
};
use crate::output::time;
use crate::output::{Table, count, is_closed, out, print_dry_run_notice, print_json, print_raw};
use crate::session::Session;
use entail_api::access::Difference;
use entail_api::policy::OrganizationPolicy;
use entail_api::policy_comparison::{ShadowDecision, ShadowSummary};

/// The most differing decisions that are listed; the JSON has them all.
const MAX_ROWS: usize = 20;

#[derive(Args)]
pub struct ShadowArgs {
    /// The organization
    #[arg(value_name = "ORG")]
    organization: ScopePath,
    /// The policy to run: its digest, the first digits of it, its name, or built-in
    #[arg(value_name = "POLICY", conflicts_with = "off")]
    policy: Option<String>,
    /// Stop running a policy beside the active one
    #[arg(long)]
    off: bool,
    #[command(flatten)]
    activation: ActivationArgs,
    #[command(flatten)]
    dry_run: DryRun,
}

impl ShadowArgs {
    /// Returns whether it sets or removes a shadow.
    pub fn changes_shadow(&self) -> bool {
        self.policy.is_some() || self.off
    }
}

/// Sets or removes a shadow, or shows how it compares.
///
/// # Errors
///
/// Fails if there is no such policy or organization, or no shadow to compare.
pub async fn shadow(session: &Session, args: &ShadowArgs) -> Result<(), CliError> {
    let entail = session.open()?;
    if !args.changes_shadow() {
        if args.dry_run.dry_run {
            return Err(CliError::new(
                ErrorCode::Usage,
                "--dry-run needs a policy or --off here: without them the command changes nothing",
            ));
        }
        return compare(session, &entail, &args.organization).await;
    }
    let shadow = match &args.policy {
        Some(policy) => {
            let activation = args.activation.activation(session, &entail, policy);
            Some(activation.await?)
        }
        None => None,
    };
    set(session, &entail, args, shadow).await
}

async fn set(
    session: &Session,
    entail: &Entail,
    args: &ShadowArgs,
    shadow: Option<ActivatePolicy>,
) -> Result<(), CliError> {
    let principal = &session.principal;
    let organization = &args.organization;
    let dry_run = args.dry_run.dry_run;
    let active = if dry_run {
        let planned = entail
            .policies()
            .plan_shadow(principal, organization, shadow.as_ref());
        planned.await?
    } else {
        let set = entail.policies().shadow(principal, organization, shadow);
        set.await?
    };
    let policy = organization_policy(session, entail, organization, active, dry_run).await?;
    if session.global.json {
        print_json(&policy);
        return Ok(());
    }
    let names = PolicyNames::read(session, entail).await?;
    print_set(&policy, &names);
    Ok(())
}

fn print_set(policy: &OrganizationPolicy, names: &PolicyNames) {
    let organization = &policy.organization;
    let shadow = policy.policies.shadow.as_ref();
    let name = shadow.map(|shadow| names.name(shadow.component.as_deref()));
    if policy.dry_run {
        match name {
            None => out!("{organization} would have no shadow policy"),
            Some(name) => out!("{name} would run beside the active policy of {organization}"),
        }
        out!("who gets what would not change");
        print_dry_run_notice();
        return;
    }
    match name {
        None => out!("{organization} has no shadow policy now"),
        Some(name) => {
            out!(
                "{name} runs beside the active policy of {organization}; its decisions are only recorded"
            );
            out!("to compare the two: entail policy shadow {organization}");
        }
    }
}

/// The decisions of a shadow.
struct ShadowComparison {
    counts: DifferenceCounts,
    /// The newest that differ.
    differing: VecDeque<ShadowDecision>,
    json: JsonList,
}

/// Prints how the shadow of an organization compares with the active policy.
async fn compare(
    session: &Session,
    entail: &Entail,
    organization: &ScopePath,
) -> Result<(), CliError> {
    let active = entail
        .policies()
        .active(&session.principal, organization)
        .await?;
    let Some(shadow) = &active.shadow else {
        let message = format!("{organization} has no shadow policy");
        return Err(CliError::invalid(message)
            .with_remedies(vec![format!("entail policy shadow {organization} POLICY")]));
    };
    let digest = match shadow.component {
        Some(component) => component,
        None => entail.policies().built_in()?.digest(),
    };
    let since_ms = shadow.activated_at_ms;
    let decisions = read_decisions(session, organization, digest, since_ms)?;
    let filter = Filter {
        scope: Some(organization.clone()),
        since_ms: Some(since_ms),
        ..Filter::default()
    };
    let requests = count_records(&session.home()?, &session.principal, &filter)?;
    let summary = ShadowSummary {
        organization: organization.to_string(),
        shadow: digest.to_string(),
        requests: u64::try_from(requests).unwrap_or(u64::MAX),
        counts: difference_counts(&decisions.counts),
    };
    if session.global.json {
        decisions.json.end(&summary);
    } else {
        print_comparison(decisions.differing, &summary);
    }
    Ok(())
}

/// Reads the decisions of a shadow since it was set; with `--json`, prints each.
fn read_decisions(
    session: &Session,
    organization: &ScopePath,
    shadow: PolicyDigest,
    since_ms: u64,
) -> Result<ShadowComparison, CliError> {
    let mut decisions = ShadowComparison {
        counts: DifferenceCounts::default(),
        differing: VecDeque::new(),
        json: JsonList::default(),
    };
    for decision in shadow_decisions(&session.home()?, &session.principal)? {
        let decision = decision?;
        if is_closed() {
            break;
        }
        let is_current = decision.shadow == shadow && decision.at_ms >= since_ms;
        if !is_current || !organization.covers(&decision.scope) {
            continue;
        }
        decisions.counts.add(decision.difference);
        let decision = to_api(decision);
        if session.global.json {
            decisions.json.item(&decision);
        } else if decision.difference != Difference::Same {
            decisions.differing.push_front(decision);
            decisions.differing.truncate(MAX_ROWS);
        }
    }
    Ok(decisions)
}

fn to_api(decision: entail::ShadowDecision) -> ShadowDecision {
    ShadowDecision {
        at_ms: decision.at_ms,
        scope: decision.scope,
        provider: decision.provider,
        policy: decision.policy.to_string(),
        decision: effective_decision(&decision.decision),
        shadow: decision.shadow.to_string(),
        shadow_decision: effective_decision(&decision.shadow_decision),
        difference: difference(decision.difference),
    }
}

fn print_comparison(differing: VecDeque<ShadowDecision>, summary: &ShadowSummary) {
    if !differing.is_empty() {
        let headings = ["TIME", "SCOPE", "PROVIDER", "ACTIVE", "SHADOW", "CHANGE"];
        let mut table = Table::with_headings(headings);
        for decision in differing {
            table.row([
                time(decision.at_ms).into(),
                decision.scope.as_str().into(),
                decision.provider.as_str().into(),
                decision_cell(&decision.decision),
                decision_cell(&decision.shadow_decision),
                difference_cell(decision.difference),
            ]);
        }
        table.print();
    }
    let decisions = summary.counts.all();
    print_summary(&count(decisions, "decision"), &summary.counts);
    if decisions < summary.requests {
        out!(
            "the shadow decided {decisions} of {}; the others were skipped, or are not decided yet",
            count(summary.requests, "request")
        );
    }
}

/// Prints a JSON object whose member `decisions` may be too long for memory.
#[derive(Default)]
struct JsonList {
    has_begun: bool,
    /// The last item, which is printed once it is known whether another follows.
    pending: Option<String>,
}

impl JsonList {
    fn item(&mut self, item: &impl Serialize) {
        if !self.has_begun {
            print_raw("{\"decisions\": [");
            self.has_begun = true;
        }
        if let Some(item) = self.pending.replace(sanitized_json(item)) {
            print_raw(&format!("  {item},"));
        }
    }

    /// Prints the other members.
    fn end(self, others: &impl Serialize) {
        let others = sanitized_json(others);
        let others = others.strip_prefix('{').unwrap_or_default();
        match self.pending {
            Some(item) => print_raw(&format!("  {item}\n],{others}")),
            None => print_raw(&format!("{{\"decisions\": [],{others}")),
        }
    }
}

/// Returns a value as JSON without characters that a terminal obeys.
fn sanitized_json(value: &impl Serialize) -> String {
    // These structs always have a form in JSON.
    entail_text::json::to_string(value).unwrap_or_default()
}
