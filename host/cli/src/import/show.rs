//! The report of an import, for a person.

use entail::ScopePath;

use super::plan::{
    ChangeKind, ChangeReport, Comparison, CredentialReport, ImportReport, Outcome, ProjectReport,
};
use crate::output::{Cell, Style, Table, say};

/// The most lines of one file that are listed one by one.
const MAX_LISTED: usize = 20;

/// Shows what was found, and what would be done.
pub fn plan(report: &ImportReport) {
    for project in &report.projects {
        print_project(project);
    }
    for skipped in &report.skipped {
        say!(Style::Faint => "not read"; ": {}: {}", skipped.file, skipped.reason);
    }
    for shared in &report.shared {
        let scopes: Vec<&str> = shared.scopes.iter().map(ScopePath::as_str).collect();
        say!("the same {} key: {}", shared.provider, scopes.join(", "));
    }
    if report.changes.is_empty() {
        say!("there is nothing to change");
        return;
    }
    say!(Style::Heading => "changes");
    for change in &report.changes {
        say!("  {}", words(report, change));
    }
}

fn print_project(project: &ProjectReport) {
    let new = if project.exists { "" } else { " (new)" };
    say!(Style::Heading => &project.source; " → {}{new}", project.scope);
    let mut table = Table::default();
    for credential in &project.credentials {
        for (position, used) in credential.variables.iter().enumerate() {
            let is_first = position == 0;
            table.row([
                format!(
                    "  {}",
                    if is_first {
                        credential.provider.as_str()
                    } else {
                        ""
                    }
                )
                .into(),
                format!("{}={}", used.variable, used.shown).into(),
                Cell::new(used.place.to_string(), Style::Faint),
                outcome(credential, is_first),
            ]);
        }
    }
    table.print();
    for credential in &project.credentials {
        for note in &credential.notes {
            say!(Style::Warn => "  note:"; " {note}");
        }
    }
    for refused in &project.not_imported {
        say!(Style::Warn => "  not imported"; ": {}: {}", refused.provider, refused.reason);
        for named in &refused.variables {
            say!("    {}  {}", named.place, named.variable);
        }
    }
    for skipped in &project.skipped {
        say!(Style::Warn => "  not read"; ": {}: {}", skipped.file, skipped.reason);
    }
    let (listed, more) = project
        .not_understood
        .split_at_checked(MAX_LISTED)
        .unwrap_or((&project.not_understood, &[]));
    for item in listed {
        let variable = item
            .variable
            .as_deref()
            .map_or(String::new(), |name| format!(" {name}"));
        say!(Style::Warn => "  not understood"; ": {}{variable}: {}", item.place, item.reason);
    }
    if !more.is_empty() {
        say!("  and {} more, which --json lists", more.len());
    }
    let nothing = project.credentials.is_empty() && project.not_imported.is_empty();
    if nothing {
        say!("  no provider's credential is in it");
    }
}

fn outcome(credential: &CredentialReport, is_first: bool) -> Cell {
    let (text, style) = match &credential.outcome {
        _ if !is_first => return Cell::new("", Style::Plain),
        Outcome::OptIn => ("inherits it".to_owned(), Style::Good),
        Outcome::Own => ("its own".to_owned(), Style::Good),
        Outcome::AlreadySet(Comparison::Same) => ("already set (same)".to_owned(), Style::Plain),
        Outcome::AlreadySet(Comparison::Different) => (
            "already set (different), not replaced".to_owned(),
            Style::Warn,
        ),
        Outcome::AlreadySet(Comparison::Unknown { reason }) => {
            (format!("already set (not compared: {reason})"), Style::Warn)
        }
        Outcome::NotCompared { reason } => (
            format!("not compared with the organization's: {reason}"),
            Style::Warn,
        ),
    };
    Cell::new(text, style)
}

fn words(report: &ImportReport, change: &ChangeReport) -> String {
    let scope = &change.scope;
    let provider = change
        .provider
        .as_ref()
        .map_or("", |provider| provider.as_str());
    match change.change {
        ChangeKind::AddScope if scope.is_organization() => format!("add the organization {scope}"),
        ChangeKind::AddScope => format!("add the project {scope}"),
        ChangeKind::SetCredential if *scope == report.organization => {
            format!("set {provider} on {scope}")
        }
        ChangeKind::SetCredential => format!("set {provider} on {scope}, for itself"),
        ChangeKind::Inherit => format!("let {scope} inherit {provider}"),
    }
}

/// Shows what was done, and what can be deleted now.
pub fn done(report: &ImportReport) {
    if !report.changes.is_empty() {
        say!(Style::Good => "done"; ": {} changes are made", report.changes.len());
    }
    let credentials = report
        .projects
        .iter()
        .flat_map(|project| project.credentials.iter().map(move |c| (project, c)));
    for (project, credential) in credentials.filter(|(_, c)| c.granted == Some(false)) {
        let (scope, provider) = (&project.scope, &credential.provider);
        say!(Style::Warn => "note"; ": {scope} does not get this {provider} credential; see: entail explain {scope} {provider}");
    }
    if report.deletable.is_empty() {
        return;
    }
    say!("these can be deleted once everything works with `entail run`:");
    for named in &report.deletable {
        say!("  {}  {}", named.place, named.variable);
    }
    let is_granted = |project: &&ProjectReport| {
        let mut credentials = project.credentials.iter();
        credentials.any(|credential| credential.granted == Some(true))
    };
    if let Some(project) = report.projects.iter().find(is_granted) {
        say!(
            "next: entail run {} -- COMMAND, or, in its directory: entail use {0}",
            project.scope
        );
    }
}
