//! Commands that put policies in service, and show which are.

use std::collections::VecDeque;
use std::path::Path;
use std::process::ExitCode;

use entail::policy::{Digest, Isolation as Isolated, Limits, Policy, Values};
use entail::{
    ActivatePolicy, ActivePolicy, BUILT_IN, Difference, DifferenceCounts, Entail, Filter,
    InstallPolicy, InstalledPolicy, PolicyActivation, ScopePath, count_records, shadow_decisions,
};
use serde_json::{Value, json};

use crate::args::{ActivateArgs, BoundArgs, InstallArgs, Isolation, ShadowArgs, ShowArgs};
use crate::component_source::{read_limits, read_settings};
use crate::confirm;
use crate::failure::{Failure, shown};
use crate::output::{Cell, Style, Table, exactly, print_json, say, say_dry_run, with_member};
use crate::policy_check::not_admitted;
use crate::policy_compare::{self, answer};
use crate::session::Session;
use crate::times::time;

/// The digits of a digest that tables show; as many name a policy.
const SHOWN_DIGITS: usize = 12;

/// Differences of a shadow that are listed; the JSON has them all.
const MAX_ROWS: usize = 20;

/// Admits a component and keeps it.
pub async fn install(session: &Session, args: &InstallArgs) -> Result<(), Failure> {
    let entail = session.open()?;
    let principal = &session.principal;
    let component = args.source.read()?;
    let over = match &args.over {
        None => None,
        Some(text) => {
            let below = component_of(session, &entail, text).await?;
            Some(match below {
                Some(below) => below,
                None => entail.built_in_policy()?.digest(),
            })
        }
    };
    let install = InstallPolicy {
        limits: component.limits.clone(),
        source: shown(&args.source.component),
        over,
    };
    let dry_run = session.common.dry_run;
    let bytes = &component.bytes;
    let installed = if dry_run {
        entail.plan_install(principal, bytes, install).await
    } else {
        entail.install_policy(principal, bytes, install).await
    };
    let installed = installed.map_err(|error| match error {
        entail::Error::Rejected(rejected) => not_admitted(&component, &rejected),
        other => other.into(),
    })?;
    if session.common.json {
        let installed = json!(installed);
        print_json(&match dry_run {
            true => with_member(installed, "dry_run", true),
            false => installed,
        });
        return Ok(());
    }
    if dry_run {
        say!(
            "would install {} {} ({}): it can be a policy",
            installed.name,
            installed.version,
            installed.component
        );
        say_dry_run();
        return Ok(());
    }
    say!(
        "installed {} {} ({})",
        installed.name,
        installed.version,
        installed.component
    );
    say!(
        "next: entail policy activate ORG {}",
        short(installed.component)
    );
    Ok(())
}

/// Lists what is installed, and where it is in service.
pub async fn list(session: &Session) -> Result<(), Failure> {
    let entail = session.open()?;
    let installed = entail.installed_policies(&session.principal).await?;
    let bindings = entail.active_policies(&session.principal).await?;
    if session.common.json {
        let bindings: serde_json::Map<String, Value> = bindings
            .into_iter()
            .map(|(organization, binding)| (organization.to_string(), json!(binding)))
            .collect();
        print_json(&json!({
            "built_in": built_in_json(entail.built_in_policy()?), "installed": installed, "bindings": bindings,
        }));
        return Ok(());
    }
    let used_by = |component: Option<Digest>| {
        let mut used: Vec<String> = Vec::new();
        for (organization, binding) in &bindings {
            if binding.current.component == component {
                used.push(organization.to_string());
            }
            if let Some(shadow) = &binding.shadow
                && shadow.component == component
            {
                used.push(format!("{organization} (shadow)"));
            }
        }
        used.join(", ")
    };
    let mut table = Table::with_headings(["POLICY", "VERSION", "DIGEST", "SIZE", "IN SERVICE"]);
    let built_in = entail.built_in_policy()?;
    let description = built_in.description();
    let elsewhere = match used_by(None).as_str() {
        "" => "built-in, where no other is".to_owned(),
        used => format!("built-in, where no other is; {used}"),
    };
    table.row([
        description.name.as_str().into(),
        description.version.as_str().into(),
        short(built_in.digest()).into(),
        entail::DEFAULT_POLICY.len().to_string().into(),
        Cell::new(elsewhere, Style::Faint),
    ]);
    for policy in &installed {
        table.row([
            match policy.over {
                Some(over) => format!("{} over {}", policy.name, short(over)).into(),
                None => policy.name.as_str().into(),
            },
            policy.version.as_str().into(),
            short(policy.component).into(),
            policy.bytes.to_string().into(),
            Cell::new(used_by(Some(policy.component)), Style::Good),
        ]);
    }
    table.print();
    Ok(())
}

/// Shows the policy of an organization, or one that is installed, or the built-in one.
pub async fn show(session: &Session, args: &ShowArgs) -> Result<(), Failure> {
    let entail = session.open()?;
    let which = args.which.as_deref().unwrap_or(BUILT_IN);
    if which != BUILT_IN
        && let Ok(organization) = which.parse::<ScopePath>()
    {
        match entail
            .active_policy(&session.principal, &organization)
            .await
        {
            Ok(binding) => return show_binding(session, &entail, &organization, &binding).await,
            // It may be the name of a policy.
            Err(entail::Error::UnknownScope(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let Some(installed) = find(session, &entail, which).await? else {
        show_built_in(session, entail.built_in_policy()?);
        return Ok(());
    };
    if session.common.json {
        print_json(&json!(installed));
        return Ok(());
    }
    let mut table = Table::default();
    let mut row = |name: &str, value: String| labelled(&mut table, name, value);
    row(
        "policy",
        format!("{} {}", installed.name, installed.version),
    );
    row("summary", installed.summary);
    row("digest", installed.component.to_string());
    row("size", format!("{} bytes", installed.bytes));
    row("contract", installed.contract);
    row("imports", "none".to_owned());
    if let Some(over) = installed.over {
        row("over", over.to_string());
    }
    row(
        "settings",
        match installed.schema {
            Some(schema) => format!("{schema}"),
            None => "nothing can be set".to_owned(),
        },
    );
    row("limits", limits(&installed.limits));
    row(
        "installed",
        format!(
            "{}, by {}, from {}",
            time(installed.installed_at_ms),
            installed.installed_by,
            installed.source
        ),
    );
    table.print();
    Ok(())
}

fn show_built_in(session: &Session, built_in: &Policy) {
    if session.common.json {
        print_json(&built_in_json(built_in));
        return;
    }
    let description = built_in.description();
    let mut table = Table::default();
    let mut row = |name: &str, value: String| labelled(&mut table, name, value);
    row(
        "policy",
        format!("{} {}, built-in", description.name, description.version),
    );
    row("summary", description.summary.clone());
    row("digest", built_in.digest().to_string());
    row("size", format!("{} bytes", entail::DEFAULT_POLICY.len()));
    row("contract", built_in.contract().to_string());
    row("imports", "none".to_owned());
    table.print();
}

fn built_in_json(built_in: &Policy) -> Value {
    let description = built_in.description();
    json!({
        "name": description.name, "version": description.version,
        "summary": description.summary, "digest": built_in.digest(),
        "bytes": entail::DEFAULT_POLICY.len(), "contract": built_in.contract().to_string(),
    })
}

async fn show_binding(
    session: &Session,
    entail: &Entail,
    organization: &ScopePath,
    binding: &ActivePolicy,
) -> Result<(), Failure> {
    if session.common.json {
        print_binding(organization, binding);
        return Ok(());
    }
    let installed = entail.installed_policies(&session.principal).await?;
    let mut table = Table::default();
    let active = &binding.current;
    labelled(
        &mut table,
        "in service",
        called(entail, &installed, active.component)?,
    );
    if active.activated_at_ms > 0 {
        let since = format!(
            "{}, by {}",
            time(active.activated_at_ms),
            active.activated_by
        );
        labelled(&mut table, "since", since);
        labelled(&mut table, "settings", json!(active.settings).to_string());
        labelled(&mut table, "limits", limits(&active.limits));
        labelled(&mut table, "isolation", isolation(active).to_owned());
    }
    if let Some(shadow) = &binding.shadow {
        let name = called(entail, &installed, shadow.component)?;
        labelled(&mut table, "shadow", name);
    }
    for (at, earlier) in binding.previous.iter().enumerate() {
        let label = if at == 0 { "before" } else { "" };
        let name = called(entail, &installed, earlier.component)?;
        labelled(&mut table, label, name);
    }
    table.print();
    Ok(())
}

/// Puts a policy in service.
pub async fn activate(session: &Session, args: &ActivateArgs) -> Result<ExitCode, Failure> {
    let entail = session.open()?;
    let organization = &args.organization;
    let activate = bound(session, &entail, &args.policy, &args.bound).await?;
    if session.common.dry_run || confirm::is_wanted(session) {
        let attributes = session.attributes()?;
        let (policy, changes) = entail
            .plan_activate(&session.principal, organization, &activate, &attributes)
            .await?;
        if session.common.dry_run {
            return Ok(policy_compare::print_dry_run(session, &policy, &changes));
        }
        confirm::ask(&confirm::access(&changes, None))?;
    }
    let binding = entail
        .activate_policy(&session.principal, organization, activate)
        .await?;
    in_service(session, &entail, organization, &binding).await?;
    Ok(ExitCode::SUCCESS)
}

/// Goes back to the policy before.
pub async fn roll_back(session: &Session, organization: &ScopePath) -> Result<ExitCode, Failure> {
    let entail = session.open()?;
    if session.common.dry_run || confirm::is_wanted(session) {
        let (policy, changes) = entail
            .plan_roll_back(&session.principal, organization, &session.attributes()?)
            .await
            .map_err(|error| nothing_before(error, organization))?;
        if session.common.dry_run {
            return Ok(policy_compare::print_dry_run(session, &policy, &changes));
        }
        confirm::ask(&confirm::access(&changes, None))?;
    }
    let binding = entail
        .roll_back_policy(&session.principal, organization)
        .await
        .map_err(|error| nothing_before(error, organization))?;
    in_service(session, &entail, organization, &binding).await?;
    Ok(ExitCode::SUCCESS)
}

fn nothing_before(error: entail::Error, organization: &ScopePath) -> Failure {
    match error {
        entail::Error::Invalid(_) => Failure::from(error).with_remedies(vec![
            "entail policy list".to_owned(),
            format!("entail policy activate {organization} POLICY"),
        ]),
        other => other.into(),
    }
}

async fn in_service(
    session: &Session,
    entail: &Entail,
    organization: &ScopePath,
    binding: &ActivePolicy,
) -> Result<(), Failure> {
    if session.common.json {
        print_binding(organization, binding);
        return Ok(());
    }
    let installed = entail.installed_policies(&session.principal).await?;
    let name = called(entail, &installed, binding.current.component)?;
    say!("{organization} is decided by {name}");
    say!("to go back: entail policy rollback {organization}");
    Ok(())
}

/// Begins or ends a shadow, or shows how it compares.
pub async fn shadow(session: &Session, args: &ShadowArgs) -> Result<(), Failure> {
    let entail = session.open()?;
    let organization = &args.organization;
    let shadow = match (&args.policy, args.off) {
        (Some(policy), _) => Some(bound(session, &entail, policy, &args.bound).await?),
        (None, true) => None,
        (None, false) => return report(session, &entail, organization).await,
    };
    if session.common.dry_run {
        return planned_shadow(session, &entail, organization, shadow.as_ref()).await;
    }
    let binding = entail
        .shadow_policy(&session.principal, organization, shadow)
        .await?;
    if session.common.json {
        print_binding(organization, &binding);
        return Ok(());
    }
    match &binding.shadow {
        None => say!("{organization} has no shadow any more"),
        Some(shadow) => {
            let installed = entail.installed_policies(&session.principal).await?;
            let name = called(&entail, &installed, shadow.component)?;
            say!(
                "{name} is asked beside the policy of {organization}; nobody acts on what it says"
            );
            say!("how it compares: entail policy shadow {organization}");
        }
    }
    Ok(())
}

/// Says what would be asked beside the policy of an organization, once it is ready to be.
async fn planned_shadow(
    session: &Session,
    entail: &Entail,
    organization: &ScopePath,
    shadow: Option<&ActivatePolicy>,
) -> Result<(), Failure> {
    let binding = entail
        .plan_shadow(&session.principal, organization, shadow)
        .await?;
    if session.common.json {
        print_json(&json!({
            "dry_run": true, "organization": organization, "binding": binding,
        }));
        return Ok(());
    }
    match &binding.shadow {
        None => say!("{organization} would have no shadow any more"),
        Some(shadow) => {
            let installed = entail.installed_policies(&session.principal).await?;
            let name = called(entail, &installed, shadow.component)?;
            say!("{name} would be asked beside the policy of {organization}");
        }
    }
    say!("who gets what stays as it is");
    say_dry_run();
    Ok(())
}

fn print_binding(organization: &ScopePath, binding: &ActivePolicy) {
    print_json(&json!({"organization": organization, "binding": binding}));
}

/// What the present shadow of an organization said so far.
async fn report(
    session: &Session,
    entail: &Entail,
    organization: &ScopePath,
) -> Result<(), Failure> {
    let binding = entail
        .active_policy(&session.principal, organization)
        .await?;
    let Some(shadow) = &binding.shadow else {
        return Err(Failure::invalid(format!("{organization} has no shadow"))
            .with_remedies(vec![format!("entail policy shadow {organization} POLICY")]));
    };
    let digest = match shadow.component {
        Some(component) => component,
        None => entail.built_in_policy()?.digest(),
    };
    let home = session.home()?;
    let as_json = session.common.json;
    let mut counts = DifferenceCounts::default();
    let mut differing = VecDeque::new();
    let mut list = JsonList::default();
    for said in shadow_decisions(&home)? {
        let said = said?;
        let is_its_own = said.shadow == digest && said.at_ms >= shadow.activated_at_ms;
        if !is_its_own || !organization.covers(&said.scope) {
            continue;
        }
        counts.add(said.difference);
        if as_json {
            list.item(&json!(said));
        } else if said.difference != Difference::Same {
            differing.push_front(said);
            differing.truncate(MAX_ROWS);
        }
    }
    let since = Filter {
        scope: Some(organization.clone()),
        since_ms: Some(shadow.activated_at_ms),
        ..Filter::default()
    };
    let requests = count_records(&home, &since)?;
    if as_json {
        list.end(&json!({
            "organization": organization, "shadow": digest, "requests": requests,
            "counts": counts,
        }));
        return Ok(());
    }
    if !differing.is_empty() {
        let mut table = Table::with_headings([
            "TIME",
            "SCOPE",
            "PROVIDER",
            "IN SERVICE",
            "SHADOW",
            "CHANGE",
        ]);
        for said in differing {
            table.row([
                time(said.at_ms).into(),
                said.scope.as_str().into(),
                said.provider.as_str().into(),
                answer(&said.decision),
                answer(&said.shadow_decision),
                said.difference.to_string().into(),
            ]);
        }
        table.print();
    }
    policy_compare::summary("answers", &counts);
    let answers = usize::try_from(counts.all()).unwrap_or(usize::MAX);
    if answers < requests {
        say!(
            "it answered {answers} of {requests} requests; the others were left out, or are not answered yet"
        );
    }
    Ok(())
}

/// Prints a JSON object whose member `answers` is too long to be made at once.
#[derive(Default)]
struct JsonList {
    is_begun: bool,
    /// An item that is printed once it is known whether there is another.
    pending: Option<String>,
}

impl JsonList {
    fn item(&mut self, item: &Value) {
        if !self.is_begun {
            exactly("{\"answers\": [");
            self.is_begun = true;
        }
        if let Some(item) = self.pending.replace(escaped(item)) {
            exactly(&format!("  {item},"));
        }
    }

    /// The other members.
    fn end(self, others: &Value) {
        let others = escaped(others);
        let others = others.strip_prefix('{').unwrap_or_default();
        match self.pending {
            Some(item) => exactly(&format!("  {item}\n],{others}")),
            None => exactly(&format!("{{\"answers\": [],{others}")),
        }
    }
}

/// A value as it may be shown.
fn escaped(value: &Value) -> String {
    // A value always has a form in JSON.
    entail_text::json::to_string(value).unwrap_or_default()
}

/// Removes an installed policy.
pub async fn remove(session: &Session, policy: &str) -> Result<(), Failure> {
    let entail = session.open()?;
    let Some(installed) = find(session, &entail, policy).await? else {
        return Err(Failure::invalid(
            "the built-in policy comes with the program, and cannot be removed",
        ));
    };
    if session.common.dry_run {
        let no_way_back = entail
            .plan_remove(&session.principal, installed.component)
            .await?;
        if session.common.json {
            print_json(&json!({
                "dry_run": true, "removed": installed.component, "no_way_back": no_way_back,
            }));
            return Ok(());
        }
        say!("would remove {} {}", installed.name, installed.version);
        for organization in no_way_back {
            say!(Style::Warn => "note:"; " {organization} could no longer go back to it"
            );
        }
        say_dry_run();
        return Ok(());
    }
    if confirm::is_wanted(session) {
        let no_way_back = entail
            .plan_remove(&session.principal, installed.component)
            .await?;
        let mut lines = vec![format!(
            "the component of {} {} is destroyed",
            installed.name, installed.version
        )];
        lines.extend(
            no_way_back
                .iter()
                .map(|organization| format!("{organization} can then no longer go back to it")),
        );
        confirm::ask(&lines)?;
    }
    entail
        .remove_policy(&session.principal, installed.component)
        .await?;
    if session.common.json {
        print_json(&json!({"removed": installed.component}));
        return Ok(());
    }
    say!("removed {} {}", installed.name, installed.version);
    Ok(())
}

/// The policy that is named on the command line; none is the built-in one.
async fn find(
    session: &Session,
    entail: &Entail,
    text: &str,
) -> Result<Option<InstalledPolicy>, Failure> {
    let found = entail.find_policy(&session.principal, text).await;
    found.map_err(|error| match Path::new(text).exists() {
        true => Failure::from(error).with_remedies(vec![format!("entail policy install {text}")]),
        false => error.into(),
    })
}

async fn component_of(
    session: &Session,
    entail: &Entail,
    text: &str,
) -> Result<Option<Digest>, Failure> {
    let found = find(session, entail, text).await?;
    Ok(found.map(|installed| installed.component))
}

async fn bound(
    session: &Session,
    entail: &Entail,
    policy: &str,
    args: &BoundArgs,
) -> Result<ActivatePolicy, Failure> {
    Ok(ActivatePolicy {
        component: component_of(session, entail, policy).await?,
        settings: match &args.settings {
            Some(file) => read_settings(file)?,
            None => Values::new(),
        },
        limits: args.limits.as_deref().map(read_limits).transpose()?,
        isolation: match args.isolation {
            Isolation::PerCall => Isolated::PerCall,
            Isolation::PerOrganization => Isolated::PerOrganization,
        },
    })
}

/// A policy in words: its name and version, and the digits that name it.
fn called(
    entail: &Entail,
    installed: &[InstalledPolicy],
    component: Option<Digest>,
) -> Result<String, Failure> {
    let Some(component) = component else {
        let description = entail.built_in_policy()?.description();
        let (name, version) = (&description.name, &description.version);
        return Ok(format!("{name} {version} (built-in)"));
    };
    Ok(
        match installed
            .iter()
            .find(|policy| policy.component == component)
        {
            Some(policy) => format!("{} {} ({})", policy.name, policy.version, short(component)),
            None => short(component),
        },
    )
}

fn short(digest: Digest) -> String {
    let digest = digest.to_string();
    let digits = digest.strip_prefix("sha256:").unwrap_or(&digest);
    digits.chars().take(SHOWN_DIGITS).collect()
}

fn isolation(bound: &PolicyActivation) -> &'static str {
    match bound.isolation {
        Isolated::PerCall => "per-call",
        Isolated::PerOrganization => "per-organization",
    }
}

/// The limits that are not the usual ones.
fn limits(limits: &Limits) -> String {
    let (usual, own) = (json!(Limits::default()), json!(limits));
    let differing: Vec<String> = own
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(name, value)| usual.get(name.as_str()) != Some(value))
        .map(|(name, value)| format!("{name} {value}"))
        .collect();
    match differing.is_empty() {
        true => "the usual ones".to_owned(),
        false => differing.join(", "),
    }
}

fn labelled(table: &mut Table, name: &str, value: String) {
    table.row([Cell::new(name, Style::Faint), value.into()]);
}
