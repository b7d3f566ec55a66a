//! Finds the sources of variables: files of one project or of a directory of projects, and
//! the environment.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use entail::store::InputFile;
use entail::{ScopePath, Secret};

use super::variable::{Parsed, Value, Variable};
use super::variables::{Dialect, parse};
use crate::directory_scope::{AllowedFiles, FILE_NAME, ScopeFile, in_effect};
use crate::error::CliError;
use crate::session::Session;
use crate::suggest::command_line::shell_word;
use entail_api::import::{Place, SkippedFile};
use entail_policy_tools::display::display_path;

/// The maximum length of a file of variables.
const MAX_FILE_BYTES: usize = 256 * 1024;

/// The maximum number of projects of one import.
const MAX_PROJECTS: usize = 1_000;

/// The endings of the names of template files, which contain no values.
const TEMPLATES: [&str; 7] = [
    ".default",
    ".defaults",
    ".dist",
    ".example",
    ".sample",
    ".schema",
    ".template",
];

/// The sources that are imported into one scope.
pub struct Project {
    /// The name for a person: a directory, or `the environment`.
    pub label: String,
    /// The scope that it is imported into.
    pub scope: ScopePath,
    pub sources: Vec<Source>,
}

/// A source of variables.
pub enum Source {
    File {
        path: PathBuf,
        /// Whether the command line names this file, and not its directory.
        is_given: bool,
    },
    Environment,
}

/// The sources that the command line names.
pub struct SourceSelection<'a> {
    pub paths: &'a [PathBuf],
    pub environment: bool,
    pub organization: &'a ScopePath,
    /// The pairs of `--map PATH=SCOPE`.
    pub map: &'a [(PathBuf, ScopePath)],
}

/// Finds the projects, each with its scope.
///
/// # Errors
///
/// Fails if a named path does not exist, a scope cannot be made of a name, or two projects
/// would become the same scope.
pub fn find(
    session: &Session,
    wanted: &SourceSelection<'_>,
) -> Result<(Vec<Project>, Vec<SkippedFile>), CliError> {
    let mut found = Finding {
        wanted,
        projects: Vec::new(),
        skipped: Vec::new(),
    };
    for path in wanted.paths {
        found.add(path)?;
    }
    let mut projects = Vec::new();
    for (directory, sources) in found.projects {
        projects.push(Project {
            scope: wanted.scope_of(session, &directory, &sources)?,
            label: directory.display().to_string(),
            sources,
        });
    }
    for (path, _) in wanted.map {
        let is_used = projects.iter().any(|project| {
            same_file(Path::new(&project.label), path)
                || project.sources.iter().any(|source| source.is(path))
        });
        if !is_used {
            return Err(CliError::invalid(format!(
                "--map names {}, where nothing was found to import",
                path.display()
            )));
        }
    }
    if wanted.environment {
        let scope = in_effect(session)?;
        if let Some(scope) = scope
            .as_ref()
            .filter(|scope| !wanted.organization.covers(scope.as_str()))
        {
            return Err(CliError::invalid(format!(
                "the environment belongs to the scope in effect, {scope}, which is not in {}",
                wanted.organization
            )));
        }
        projects.push(Project {
            label: "the environment".to_owned(),
            scope: scope.unwrap_or_else(|| wanted.organization.clone()),
            sources: vec![Source::Environment],
        });
    }
    check_scopes(&projects)?;
    Ok((projects, found.skipped))
}

/// Fails if two projects have the same scope: they would hide each other's keys.
fn check_scopes(projects: &[Project]) -> Result<(), CliError> {
    for (position, project) in projects.iter().enumerate() {
        let mut before = projects.iter().take(position);
        if let Some(other) = before.find(|other| other.scope == project.scope) {
            return Err(CliError::invalid(format!(
                "{} and {} would both become {}",
                other.label, project.label, project.scope
            ))
            .with_remedies(vec![format!(
                "set the scope of one: --map {}=SCOPE",
                shell_word(&project.label)
            )]));
        }
    }
    Ok(())
}

impl Source {
    fn is(&self, other: &Path) -> bool {
        match self {
            Source::File { path, .. } => same_file(path, other),
            Source::Environment => false,
        }
    }
}

fn same_file(one: &Path, other: &Path) -> bool {
    let canonical = |path: &Path| std::fs::canonicalize(path).ok();
    one == other || canonical(one).is_some_and(|one| canonical(other) == Some(one))
}

struct Finding<'a> {
    wanted: &'a SourceSelection<'a>,
    /// By directory, in the order of the command line.
    projects: Vec<(PathBuf, Vec<Source>)>,
    skipped: Vec<SkippedFile>,
}

impl Finding<'_> {
    fn add(&mut self, path: &Path) -> Result<(), CliError> {
        let metadata =
            std::fs::metadata(path).map_err(|error| CliError::io(display_path(path), &error))?;
        if !metadata.is_dir() {
            let directory = match path.parent() {
                Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
                Some(parent) => parent,
                None => path,
            };
            // A mapped file is a separate project.
            let is_mapped = self.wanted.map.iter().any(|(map, _)| same_file(map, path));
            let project = if is_mapped { path } else { directory };
            let source = Source::File {
                path: path.to_owned(),
                is_given: true,
            };
            return self.add_sources(project, vec![source]);
        }
        let own = self.sources_in(path)?;
        let below = self.directories_in(path)?;
        if own.is_empty() {
            for directory in below {
                let sources = self.sources_in(&directory)?;
                self.add_sources(&directory, sources)?;
            }
            return Ok(());
        }
        for directory in below {
            for source in self.sources_in(&directory)? {
                if let Source::File { path: file, .. } = source {
                    self.skipped.push(SkippedFile {
                        file: file.display().to_string(),
                        reason: format!(
                            "{} is a project itself; name {} to import it too",
                            path.display(),
                            directory.display()
                        ),
                    });
                }
            }
        }
        self.add_sources(path, own)
    }

    fn add_sources(&mut self, directory: &Path, sources: Vec<Source>) -> Result<(), CliError> {
        if sources.is_empty() {
            return Ok(());
        }
        let known = self
            .projects
            .iter_mut()
            .find(|(known, _)| same_file(known, directory));
        match known {
            Some((_, present)) => {
                for source in sources {
                    let Source::File { path, .. } = &source else {
                        continue;
                    };
                    if !present.iter().any(|known| known.is(path)) {
                        present.push(source);
                    }
                }
            }
            None => self.projects.push((directory.to_owned(), sources)),
        }
        if self.projects.len() > MAX_PROJECTS {
            return Err(CliError::invalid(format!(
                "more than {MAX_PROJECTS} projects are found; name fewer at once"
            )));
        }
        Ok(())
    }

    /// The directories in a directory, without hidden ones and links, sorted by name.
    fn directories_in(&mut self, directory: &Path) -> Result<Vec<PathBuf>, CliError> {
        let is_hidden = |name: &OsStr| name.as_encoded_bytes().starts_with(b".");
        let mut directories: Vec<PathBuf> = entries(directory)?
            .iter()
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
            .filter(|entry| !is_hidden(&entry.file_name()))
            .map(std::fs::DirEntry::path)
            .collect();
        directories.sort();
        directories.retain(|path| match std::fs::read_dir(path) {
            Ok(_) => true,
            Err(error) => {
                self.skipped.push(SkippedFile {
                    file: path.display().to_string(),
                    reason: error.to_string(),
                });
                false
            }
        });
        Ok(directories)
    }

    /// The files of variables in a directory. A file comes before those that add to it.
    fn sources_in(&mut self, directory: &Path) -> Result<Vec<Source>, CliError> {
        let mut names: Vec<OsString> = Vec::new();
        for entry in entries(directory)? {
            let name = entry.file_name();
            let Some(text) = name.to_str().filter(|text| is_variables_file(text)) else {
                continue;
            };
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            if TEMPLATES.iter().any(|ending| text.ends_with(ending)) {
                self.skipped.push(SkippedFile {
                    file: entry.path().display().to_string(),
                    reason: "it is a template; name it to import it".to_owned(),
                });
                continue;
            }
            names.push(name);
        }
        let rank = |name: &OsString| match name.to_str() {
            Some(".env") => 0,
            Some(".envrc") => 1,
            Some(".env.local") => 2,
            _ => 3,
        };
        names.sort_by(|one, other| rank(one).cmp(&rank(other)).then_with(|| one.cmp(other)));
        let file = |name: OsString| Source::File {
            path: directory.join(name),
            is_given: false,
        };
        Ok(names.into_iter().map(file).collect())
    }
}

fn is_variables_file(name: &str) -> bool {
    matches!(name, ".env" | ".envrc") || name.starts_with(".env.") || name.starts_with(".envrc.")
}

fn entries(directory: &Path) -> Result<Vec<std::fs::DirEntry>, CliError> {
    std::fs::read_dir(directory)
        .and_then(Iterator::collect)
        .map_err(|error| CliError::io(directory.display(), &error))
}

impl SourceSelection<'_> {
    /// The scope of a project: that of `--map`, else that of its `.entail.toml` if it is
    /// allowed, else a scope below the organization with its name.
    fn scope_of(
        &self,
        session: &Session,
        directory: &Path,
        sources: &[Source],
    ) -> Result<ScopePath, CliError> {
        let mapped = self.map.iter().find(|(path, _)| {
            same_file(directory, path) || sources.iter().any(|source| source.is(path))
        });
        if let Some((_, scope)) = mapped {
            return Ok(scope.clone());
        }
        let canonical = std::fs::canonicalize(directory)
            .map_err(|error| CliError::io(directory.display(), &error))?;
        if let Ok(file) = ScopeFile::read(canonical.join(FILE_NAME))
            && self.organization.covers(file.scope.as_str())
            && AllowedFiles::of(session)?.contains(&file)
        {
            return Ok(file.scope);
        }
        let name = canonical.file_name().map(OsStr::to_string_lossy);
        name.as_deref()
            .and_then(segment)
            .and_then(|segment| format!("{}/{segment}", self.organization).parse().ok())
            .ok_or_else(|| {
                CliError::invalid(format!(
                    "the name of {} cannot be made a scope",
                    directory.display()
                ))
                .with_remedies(vec![format!(
                    "set its scope: --map {}={}/NAME",
                    shell_word(&directory.display().to_string()),
                    self.organization
                )])
            })
    }
}

/// Makes the segment of a scope of a name: its letters and digits in lower case, with `-` for
/// everything between them. `None` if nothing is left.
fn segment(name: &str) -> Option<String> {
    const MAX_CHARS: usize = 63;

    let mut segment = String::new();
    for character in name.chars() {
        if character.is_ascii_alphanumeric() {
            segment.push(character.to_ascii_lowercase());
        } else if !segment.ends_with('-') {
            segment.push('-');
        }
    }
    let segment = segment.trim_matches('-');
    let segment = segment.get(..MAX_CHARS).unwrap_or(segment);
    (!segment.is_empty()).then(|| segment.trim_end_matches('-').to_owned())
}

impl Source {
    /// Reads the source. Keeps only the values of variables that are `wanted`.
    ///
    /// # Errors
    ///
    /// Returns the reason why it cannot be read.
    pub fn read(&self, wanted: &dyn Fn(&str) -> bool) -> Result<Parsed, String> {
        let Source::File { path, is_given } = self else {
            return Ok(environment(wanted));
        };
        let open = if *is_given {
            InputFile::open_given
        } else {
            InputFile::open_regular
        };
        let mut file = open(path).map_err(|error| error.to_string())?;
        let bytes = Secret::read(&mut file, MAX_FILE_BYTES)
            .map_err(|error| error.to_string())?
            .ok_or_else(|| format!("it is longer than {MAX_FILE_BYTES} bytes"))?;
        let text = bytes.expose_text().ok_or("it is not UTF-8 text")?;
        parse(text, dialect(path, text), wanted)
    }

    /// The place of a line.
    pub fn place(&self, line: usize) -> Place {
        match self {
            Source::File { path, .. } => Place {
                file: Some(path.display().to_string()),
                line: Some(line),
            },
            Source::Environment => Place {
                file: None,
                line: None,
            },
        }
    }

    /// The directory that a relative path in it starts from.
    pub fn directory(&self) -> Option<&Path> {
        match self {
            Source::File { path, .. } => path.parent(),
            Source::Environment => Some(Path::new("")),
        }
    }
}

fn dialect(path: &Path, text: &str) -> Dialect {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let extension = path.extension().and_then(OsStr::to_str).unwrap_or_default();
    let is_object = text
        .trim_start_matches('\u{feff}')
        .trim_start()
        .starts_with('{');
    match extension {
        "json" => Dialect::Json,
        "sh" | "bash" | "zsh" => Dialect::Shell,
        _ if name.starts_with(".envrc") => Dialect::Shell,
        _ if is_object => Dialect::Json,
        _ => Dialect::Dotenv,
    }
}

fn environment(wanted: &dyn Fn(&str) -> bool) -> Parsed {
    let mut parsed = Parsed::default();
    for (name, value) in std::env::vars_os() {
        // No provider has a variable whose name is not text.
        let Ok(name) = name.into_string() else {
            continue;
        };
        let value = match value.into_string() {
            _ if !wanted(&name) => Value::Unwanted,
            Ok(text) => Value::Text(Secret::from(text)),
            Err(_) => Value::NotUnderstood("its value is not UTF-8 text"),
        };
        parsed.variables.push(Variable {
            line: 0,
            name,
            value,
        });
    }
    parsed
        .variables
        .sort_by(|one, other| one.name.cmp(&other.name));
    parsed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_is_made_of_the_name_of_a_directory() {
        for (name, expected) in [
            ("evals", Some("evals")),
            ("My App_2", Some("my-app-2")),
            ("--x--", Some("x")),
            ("été", Some("t")),
            ("_", None),
            ("", None),
        ] {
            assert_eq!(segment(name).as_deref(), expected, "{name}");
        }
        assert_eq!(segment(&"a".repeat(99)).map(|name| name.len()), Some(63));
    }
}
