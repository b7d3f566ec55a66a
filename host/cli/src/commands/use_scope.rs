//! `entail use`: sets, shows and allows the scope of a directory.

use std::path::PathBuf;

use clap::Args;
use entail::ScopePath;

use crate::directory_scope::{AllowedFiles, FILE_NAME, ScopeFile, VARIABLE, from_variable};
use crate::error::{CliError, ErrorCode};
use crate::output::{Style, out, print_json};
use crate::session::Session;
use entail_api::directory_scope::{DirectoryScope, ScopeSource};

#[derive(Args)]
pub struct UseArgs {
    /// The scope to set for this directory and those below it [default: show the scope in
    /// effect]
    pub scope: Option<ScopePath>,
    /// Allow the nearest .entail.toml as it is now; after a change it has to be allowed
    /// again
    #[arg(long, conflicts_with_all = ["scope", "revoke"])]
    pub allow: bool,
    /// Stop allowing the nearest .entail.toml
    #[arg(long, conflicts_with = "scope")]
    pub revoke: bool,
}

pub async fn use_scope(session: &Session, args: &UseArgs) -> Result<(), CliError> {
    let (scope, print_text): (DirectoryScope, fn(&DirectoryScope)) =
        if let Some(scope) = &args.scope {
            (set(session, scope).await?, print_set)
        } else if args.allow {
            let file = ScopeFile::read(nearest()?)?;
            AllowedFiles::of(session)?.allow(&file)?;
            (of_file(&file, true), print_allowed)
        } else if args.revoke {
            (revoke(session)?, print_revoked)
        } else {
            (current(session)?, print_current)
        };
    if session.global.json {
        print_json(&scope);
    } else {
        print_text(&scope);
    }
    Ok(())
}

/// Writes the file of the working directory, and allows it.
async fn set(session: &Session, scope: &ScopePath) -> Result<DirectoryScope, CliError> {
    let allowed = AllowedFiles::of(session)?;
    // A typing error is found now, and not when a command runs here later.
    session.open()?.scope(&session.principal, scope).await?;
    let directory = std::env::current_dir()
        .and_then(std::fs::canonicalize)
        .map_err(|error| CliError::io("the working directory", &error))?;
    let file = ScopeFile::write(&directory, scope)?;
    allowed.allow(&file)?;
    Ok(of_file(&file, true))
}

/// Stops allowing the nearest file, even if it is not valid now.
fn revoke(session: &Session) -> Result<DirectoryScope, CliError> {
    let path = nearest()?;
    let file = path.display().to_string();
    if !AllowedFiles::of(session)?.revoke(&path)? {
        return Err(CliError::invalid(format!("{file} was not allowed")));
    }
    Ok(DirectoryScope {
        scope: ScopeFile::read(path)
            .ok()
            .map(|file| file.scope.to_string()),
        source: Some(ScopeSource::File),
        file: Some(file),
        allowed: false,
    })
}

fn nearest() -> Result<PathBuf, CliError> {
    ScopeFile::nearest_path()?.ok_or_else(|| {
        CliError::new(
            ErrorCode::NotFound,
            format!("there is no {FILE_NAME} in this directory or above"),
        )
        .with_remedies(vec!["entail use SCOPE".to_owned()])
    })
}

/// The scope in effect. A file that is not allowed is not in effect, but shown.
fn current(session: &Session) -> Result<DirectoryScope, CliError> {
    if let Some(scope) = from_variable()? {
        return Ok(DirectoryScope {
            scope: Some(scope.to_string()),
            source: Some(ScopeSource::Variable),
            file: None,
            allowed: true,
        });
    }
    let Some(file) = ScopeFile::nearest()? else {
        return Ok(DirectoryScope {
            scope: None,
            source: None,
            file: None,
            allowed: false,
        });
    };
    let is_allowed = AllowedFiles::of(session)?.contains(&file);
    Ok(of_file(&file, is_allowed))
}

fn of_file(file: &ScopeFile, allowed: bool) -> DirectoryScope {
    DirectoryScope {
        scope: Some(file.scope.to_string()),
        source: Some(ScopeSource::File),
        file: Some(file.path.display().to_string()),
        allowed,
    }
}

fn print_set(scope: &DirectoryScope) {
    let file = scope.file.as_deref().unwrap_or_default();
    let scope = scope.scope.as_deref().unwrap_or_default();
    out!("commands in this directory now use the scope {scope}, as set in {file}");
}

fn print_allowed(scope: &DirectoryScope) {
    let file = scope.file.as_deref().unwrap_or_default();
    let scope = scope.scope.as_deref().unwrap_or_default();
    out!("Entail may now load {file}: scope {scope}");
}

fn print_revoked(scope: &DirectoryScope) {
    let file = scope.file.as_deref().unwrap_or_default();
    match &scope.scope {
        Some(scope) => out!("Entail no longer loads {file}: scope {scope}"),
        None => out!("Entail no longer loads {file}, which is not valid"),
    }
}

fn print_current(current: &DirectoryScope) {
    match (&current.scope, &current.file) {
        (None, _) => {
            out!("no scope is set: neither {VARIABLE} nor a {FILE_NAME} here or above sets one");
            out!(Style::Faint => "  try:"; " entail use SCOPE");
        }
        (Some(scope), None) => out!("{scope}, from the variable {VARIABLE}"),
        (Some(scope), Some(file)) if current.allowed => out!("{scope}, from {file}"),
        (Some(scope), Some(file)) => {
            out!("{file} sets the scope {scope}, but it is not allowed yet");
            out!(Style::Faint => "  try:"; " entail use --allow");
        }
    }
}
