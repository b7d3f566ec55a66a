//! `entail use`: sets, shows and allows the scope of a directory.

use std::path::PathBuf;

use clap::Args;
use entail::ScopePath;
use serde::Serialize;
use serde_json::json;

use crate::directory_scope::{AllowedFiles, FILE_NAME, ScopeFile, VARIABLE, from_variable};
use crate::failure::Failure;
use crate::output::{Style, print_json, say};
use crate::session::Session;

#[derive(Args)]
pub struct UseArgs {
    /// The scope to set for this directory and those below it [default: show the scope in
    /// effect]
    pub scope: Option<ScopePath>,
    /// Allow the nearest .entail.toml as it is now; one that is changed later has to be
    /// allowed again
    #[arg(long, conflicts_with_all = ["scope", "revoke"])]
    pub allow: bool,
    /// Stop allowing the nearest .entail.toml
    #[arg(long, conflicts_with = "scope")]
    pub revoke: bool,
}

/// The scope of the working directory.
#[derive(Serialize)]
struct DirectoryScope {
    /// `None` if neither the variable nor a file sets one.
    scope: Option<ScopePath>,
    source: Option<SourceKind>,
    /// The file that sets it. (Text: what is not UTF-8 in a name has no form in JSON.)
    file: Option<String>,
    /// Whether commands use it.
    allowed: bool,
}

#[derive(Serialize, PartialEq)]
#[serde(rename_all = "kebab-case")]
enum SourceKind {
    Variable,
    File,
}

pub async fn use_scope(session: &Session, args: &UseArgs) -> Result<(), Failure> {
    let shown = if let Some(scope) = &args.scope {
        set(session, scope).await?
    } else if args.allow {
        let file = ScopeFile::read(nearest()?)?;
        AllowedFiles::of(session)?.allow(&file)?;
        DirectoryScope::of_file(file, true)
    } else if args.revoke {
        revoke(session)?
    } else {
        current(session)?
    };
    let print = if session.common.json {
        DirectoryScope::print_json
    } else {
        DirectoryScope::print
    };
    print(&shown);
    Ok(())
}

/// Writes the file of the working directory, and allows it.
async fn set(session: &Session, scope: &ScopePath) -> Result<DirectoryScope, Failure> {
    let allowed = AllowedFiles::of(session)?;
    // A typo is found now, and not by whoever runs something here later.
    session.open()?.scope(&session.principal, scope).await?;
    let directory = std::env::current_dir()
        .and_then(std::fs::canonicalize)
        .map_err(|error| Failure::io("the working directory", &error))?;
    let file = ScopeFile::write(&directory, scope)?;
    allowed.allow(&file)?;
    Ok(DirectoryScope::of_file(file, true))
}

/// Allows the nearest file no more, also if it is not valid now.
fn revoke(session: &Session) -> Result<DirectoryScope, Failure> {
    let path = nearest()?;
    let file = path.display().to_string();
    if !AllowedFiles::of(session)?.revoke(&path)? {
        return Err(Failure::invalid(format!("{file} was not allowed")));
    }
    Ok(DirectoryScope {
        scope: ScopeFile::read(path).ok().map(|file| file.scope),
        source: Some(SourceKind::File),
        file: Some(file),
        allowed: false,
    })
}

fn nearest() -> Result<PathBuf, Failure> {
    ScopeFile::nearest_path()?.ok_or_else(|| {
        Failure::new(
            18,
            "not-found",
            format!("there is no {FILE_NAME} in this directory or above"),
        )
        .with_remedies(vec!["entail use SCOPE".to_owned()])
    })
}

fn current(session: &Session) -> Result<DirectoryScope, Failure> {
    if let Some(scope) = from_variable()? {
        return Ok(DirectoryScope {
            scope: Some(scope),
            source: Some(SourceKind::Variable),
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
    Ok(DirectoryScope::of_file(file, is_allowed))
}

impl DirectoryScope {
    fn of_file(file: ScopeFile, allowed: bool) -> Self {
        DirectoryScope {
            scope: Some(file.scope),
            source: Some(SourceKind::File),
            file: Some(file.path.display().to_string()),
            allowed,
        }
    }

    fn print_json(&self) {
        print_json(&json!(self));
    }

    fn print(&self) {
        let Some(scope) = &self.scope else {
            if let Some(file) = &self.file {
                say!("{file} is not allowed, and not valid");
                return;
            }
            say!("no scope is set: neither {VARIABLE} nor a {FILE_NAME} here or above sets one");
            say!(Style::Faint => "  try:"; " entail use SCOPE");
            return;
        };
        match &self.file {
            None => say!("{scope}, from the variable {VARIABLE}"),
            Some(file) if self.allowed => say!("{scope}, from {file}"),
            Some(file) => {
                say!("{file} sets the scope {scope}, and is not allowed");
                say!(Style::Faint => "  try:"; " entail use --allow");
            }
        }
    }
}
