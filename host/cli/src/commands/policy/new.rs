//! `policy new`: creates a project for a policy.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use entail_policy_tools::template;

use crate::args::path as paths;
use crate::error::CliError;
use crate::output::{Style, out, print_json};
use crate::session::Session;
use entail_api::policy_project::NewPolicy;

#[derive(Args)]
pub struct NewArgs {
    /// The programming language
    #[arg(long = "lang", value_enum, value_name = "LANGUAGE")]
    language: Language,
    /// The directory to create, which gives the policy its name
    #[arg(value_name = "DIRECTORY", value_parser = paths::parser())]
    directory: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum Language {
    /// Small and fast
    Rust,
    /// JavaScript, run by QuickJS
    #[value(name = "js", alias = "javascript")]
    JavaScript,
    /// Python, run by CPython
    Python,
}

impl From<Language> for template::Language {
    fn from(language: Language) -> Self {
        match language {
            Language::Rust => template::Language::Rust,
            Language::JavaScript => template::Language::JavaScript,
            Language::Python => template::Language::Python,
        }
    }
}

/// Creates the project.
///
/// # Errors
///
/// Fails if the directory is not empty, its name is not valid for a policy, or it cannot
/// be written.
pub fn new(session: &Session, args: &NewArgs) -> Result<(), CliError> {
    let language = template::Language::from(args.language);
    let project = template::create(language, &args.directory)?;
    let new = NewPolicy {
        name: project.name,
        language: language.name().to_owned(),
        directory: args.directory.to_string_lossy().into_owned(),
        files: project.files,
    };
    if session.global.json {
        print_json(&new);
        return Ok(());
    }
    out!("created the policy {} in {}", new.name, new.language);
    out!(Style::Heading => "next:");
    for step in ["build", "check", "test", "install"] {
        out!("  entail policy {step} {}", new.directory);
    }
    Ok(())
}
