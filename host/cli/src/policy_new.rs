//! `policy new`: a project for a policy, from one of the templates that the program
//! carries. It builds and passes its own vectors as it is.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use serde_json::json;

use crate::error::CliError;
use crate::output::{Style, out, print_json};
use crate::policy_build;
use crate::session::Session;

/// What a file of a template is called so that cargo does not take it for one.
const TEMPLATE_SUFFIX: &str = ".template";

/// What stands for the policy's name in a template.
const NAME: &str = "{{name}}";

/// The longest name of a policy.
const MAX_NAME_BYTES: usize = 64;

/// A file of a template: its path in the project, and what is in it.
type TemplateFile = (&'static str, &'static str);

macro_rules! template {
    ($folder:literal, [$($file:literal),* $(,)?]) => {
        &[$((
            $file,
            include_str!(concat!("../../../guest/templates/", $folder, "/", $file)),
        )),*]
    };
}

const CONTRACT: TemplateFile = ("wit/policy.wit", policy_build::CONTRACT);

const RUST: &[TemplateFile] = template!(
    "rust",
    [
        "Cargo.toml.template",
        "README.md",
        "gitignore",
        "limits.json",
        "src/lib.rs",
        "src/pattern.rs",
        "vectors/models.json",
        "vectors/nearest.json",
    ]
);

const JAVASCRIPT: &[TemplateFile] = template!(
    "javascript",
    [
        "README.md",
        "gitignore",
        "limits.json",
        "package.json",
        "src/main.js",
        "src/number.js",
        "src/pattern.js",
        "vectors/models.json",
        "vectors/nearest.json",
    ]
);

const PYTHON: &[TemplateFile] = template!(
    "python",
    [
        "README.md",
        "gitignore",
        "limits.json",
        "requirements.txt",
        "src/main.py",
        "src/pattern.py",
        "vectors/models.json",
        "vectors/nearest.json",
    ]
);

/// What a policy is written in.
#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
pub enum Language {
    /// Small and fast
    Rust,
    /// JavaScript, run by QuickJS
    #[value(name = "js", alias = "javascript")]
    JavaScript,
    /// Python, run by CPython
    Python,
}

impl Language {
    fn name(self) -> &'static str {
        match self {
            Language::Rust => "Rust",
            Language::JavaScript => "JavaScript",
            Language::Python => "Python",
        }
    }

    fn template(self) -> &'static [TemplateFile] {
        match self {
            Language::Rust => RUST,
            Language::JavaScript => JAVASCRIPT,
            Language::Python => PYTHON,
        }
    }
}

#[derive(Args)]
pub struct NewArgs {
    /// The programming language
    #[arg(long = "lang", value_enum, value_name = "LANGUAGE")]
    pub language: Language,
    /// The directory to create, which gives the policy its name
    #[arg(value_parser = crate::args::path::parser())]
    pub folder: PathBuf,
}

/// Writes the project.
///
/// # Errors
///
/// When the folder is not empty, its name is none for a policy, or it cannot be
/// written.
pub fn new(session: &Session, args: &NewArgs) -> Result<(), CliError> {
    let folder = &args.folder;
    let name = policy_name(folder)?;
    check_empty(folder)?;
    let mut written = Vec::new();
    for (path, contents) in args.language.template().iter().chain([&CONTRACT]) {
        let path = path_in_project(path);
        write(&folder.join(&path), &contents.replace(NAME, &name))?;
        written.push(path);
    }
    written.sort();
    if session.global.json {
        print_json(&json!({
            "name": name, "language": args.language.name(), "folder": folder.to_string_lossy(), "files": written,
        }));
        return Ok(());
    }
    out!(Style::Heading => &name; " is a policy in {} now. Next:",
        args.language.name()
    );
    let shown = folder.display();
    for step in [
        format!("entail policy build {shown}"),
        format!("entail policy check {shown}"),
        format!("entail policy test {shown}"),
        format!("entail policy install {shown}"),
    ] {
        out!("  {step}");
    }
    Ok(())
}

/// The name of the folder, which has to do for a package of each language.
fn policy_name(folder: &Path) -> Result<String, CliError> {
    let absolute =
        std::path::absolute(folder).map_err(|error| CliError::io(folder.display(), &error))?;
    let name = absolute.file_name().and_then(|name| name.to_str());
    let is_fit = |name: &&str| {
        name.len() <= MAX_NAME_BYTES
            && name.starts_with(|first: char| first.is_ascii_lowercase())
            && name
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
    };
    name.filter(is_fit).map(ToOwned::to_owned).ok_or_else(|| {
        CliError::invalid(format!(
            "{}: a policy is called as its folder, in lower-case letters, digits and hyphens, at most {MAX_NAME_BYTES}, a letter first",
            folder.display()
        ))
        .with_remedies(vec![
            "entail policy new --lang rust my-policy".to_owned(),
        ])
    })
}

fn check_empty(folder: &Path) -> Result<(), CliError> {
    let not_empty = match std::fs::read_dir(folder) {
        Ok(mut entries) => entries.next().is_some(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => false,
        Err(error) => return Err(CliError::io(folder.display(), &error)),
    };
    match not_empty {
        true => Err(CliError::invalid(format!(
            "{} is there and not empty; a new policy needs a folder of its own",
            folder.display()
        ))),
        false => Ok(()),
    }
}

/// Where a file of a template goes.
fn path_in_project(path: &str) -> String {
    match path {
        "gitignore" => ".gitignore".to_owned(),
        path => path
            .strip_suffix(TEMPLATE_SUFFIX)
            .unwrap_or(path)
            .to_owned(),
    }
}

/// Writes a file that is not there yet.
fn write(file: &Path, contents: &str) -> Result<(), CliError> {
    let failed = |error| CliError::io(file.display(), &error);
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    std::fs::File::create_new(file)
        .and_then(|mut created| created.write_all(contents.as_bytes()))
        .map_err(failed)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // a test may
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_program_carries_every_file_of_the_templates() {
        for (language, folder) in [
            (Language::Rust, "rust"),
            (Language::JavaScript, "javascript"),
            (Language::Python, "python"),
        ] {
            let root = Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("../../guest/templates")
                .join(folder);
            let mut there = BTreeSet::new();
            collect(&root, &root, &mut there);
            let carried: BTreeSet<String> = language
                .template()
                .iter()
                .map(|(path, _)| (*path).to_owned())
                .collect();
            assert_eq!(carried, there, "{folder}");
        }
    }

    fn collect(root: &Path, folder: &Path, found: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(root, &path, found);
            } else {
                let below = path.strip_prefix(root).unwrap();
                found.insert(below.to_str().unwrap().to_owned());
            }
        }
    }

    #[test]
    fn a_policy_has_a_name_that_every_language_takes() {
        for name in ["nearest", "a", "only-gpt-4"] {
            assert_eq!(
                policy_name(&Path::new("/tmp").join(name)).ok().unwrap(),
                name
            );
        }
        for name in ["Nearest", "4-eyes", "-a", "a_b", "ä", "a b", ""] {
            assert!(
                policy_name(&Path::new("/tmp").join(name).join("")).is_err() || name.is_empty()
            );
        }
        assert!(policy_name(Path::new("/")).is_err());
    }

    #[test]
    fn files_get_the_names_that_they_have_in_a_project() {
        assert_eq!(path_in_project("Cargo.toml.template"), "Cargo.toml");
        assert_eq!(path_in_project("gitignore"), ".gitignore");
        assert_eq!(path_in_project("src/lib.rs"), "src/lib.rs");
    }
}
