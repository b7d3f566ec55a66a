//! The report of an import as text.

use crate::output::{Cell, Style, Table, choose, count, out};
use entail_api::import::{
    ChangeKind, ChangeReport, Comparison, CredentialReport, ImportOutcome, ImportReport,
    ProjectReport,
};

/// The maximum number of listed lines of a file.
const MAX_LISTED: usize = 20;

/// Prints what was found, and what would be changed.
pub fn plan(report: &ImportReport) {
    for project in &report.projects {
        print_project(project);
    }
    for skipped in &report.skipped {
        out!(Style::Faint => "not read"; ": {}: {}", skipped.file, skipped.reason);
    }
    for shared in &report.shared {
        out!(
            "the same {} key: {}",
            shared.provider,
            shared.scopes.join(", ")
        );
    }
    if report.changes.is_empty() {
        out!("there is nothing to change");
        return;
    }
    out!(Style::Heading => "changes");
    for change in &report.changes {
        out!("  {}", sentence(report, change));
    }
}

fn print_project(project: &ProjectReport) {
    let new = if project.exists { "" } else { " (new)" };
    out!(Style::Heading => &project.source; " → {}{new}", project.scope);
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
            out!(Style::Warn => "  note:"; " {note}");
        }
    }
    for refused in &project.not_imported {
        out!(Style::Warn => "  not imported"; ": {}: {}", refused.provider, refused.reason);
        for named in &refused.variables {
            out!("    {}  {}", named.place, named.variable);
        }
    }
    for skipped in &project.skipped {
        out!(Style::Warn => "  not read"; ": {}: {}", skipped.file, skipped.reason);
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
        out!(Style::Warn => "  not understood"; ": {}{variable}: {}", item.place, item.reason);
    }
    if !more.is_empty() {
        out!("  and {} more (see: --json)", more.len());
    }
    let nothing = project.credentials.is_empty() && project.not_imported.is_empty();
    if nothing {
        out!("  it has no credential of a known provider");
    }
}

fn outcome(credential: &CredentialReport, is_first: bool) -> Cell {
    let (text, style) = match &credential.outcome {
        _ if !is_first => return Cell::new("", Style::Plain),
        ImportOutcome::OptIn => ("inherits".to_owned(), Style::Good),
        ImportOutcome::Own => ("own key".to_owned(), Style::Good),
        ImportOutcome::AlreadySet(Comparison::Same) => {
            ("already set (same)".to_owned(), Style::Plain)
        }
        ImportOutcome::AlreadySet(Comparison::Different) => (
            "already set (different), not replaced".to_owned(),
            Style::Warn,
        ),
        ImportOutcome::AlreadySet(Comparison::Unknown { reason }) => {
            (format!("already set (not compared: {reason})"), Style::Warn)
        }
        ImportOutcome::NotCompared { reason } => (
            format!("not compared with the organization's: {reason}"),
            Style::Warn,
        ),
    };
    Cell::new(text, style)
}

fn sentence(report: &ImportReport, change: &ChangeReport) -> String {
    let scope = &change.scope;
    let provider = change.provider.as_deref().unwrap_or_default();
    match change.change {
        ChangeKind::AddScope if *scope == report.organization => {
            format!("add the organization {scope}")
        }
        ChangeKind::AddScope => format!("add the project {scope}"),
        ChangeKind::SetCredential if *scope == report.organization => {
            format!("set {provider} on {scope}")
        }
        ChangeKind::SetCredential => format!("set {provider} on {scope}, as its own key"),
        ChangeKind::Inherit => format!("let {scope} inherit {provider}"),
    }
}

/// Prints what was changed, and what can be deleted now.
pub fn done(report: &ImportReport) {
    if !report.changes.is_empty() {
        let changes = report.changes.len();
        let were = choose(changes, "was", "were");
        out!(Style::Good => "done"; ": {} {were} made", count(changes, "change"));
    }
    let credentials = report
        .projects
        .iter()
        .flat_map(|project| project.credentials.iter().map(move |c| (project, c)));
    for (project, credential) in credentials.filter(|(_, c)| c.granted == Some(false)) {
        let (scope, provider) = (&project.scope, &credential.provider);
        out!(Style::Warn => "note"; ": {scope} does not get this {provider} credential; see: entail explain {scope} {provider}");
    }
    if report.deletable.is_empty() {
        return;
    }
    out!("when everything works with `entail run`, you can delete these:");
    for named in &report.deletable {
        out!("  {}  {}", named.place, named.variable);
    }
    let is_granted = |project: &&ProjectReport| {
        let mut credentials = project.credentials.iter();
        credentials.any(|credential| credential.granted == Some(true))
    };
    if let Some(project) = report.projects.iter().find(is_granted) {
        out!(
            "next: entail run {} -- COMMAND, or, in its directory: entail use {0}",
            project.scope
        );
    }
}
