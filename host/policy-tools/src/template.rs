//! Projects for new policies, from the templates that this crate contains. A project builds
//! and passes its own vectors without a change.

use std::io::Write as _;
use std::path::Path;

use crate::contract::CONTRACT;

/// The suffix of a template's file that cargo would otherwise take for its own.
const TEMPLATE_SUFFIX: &str = ".template";

/// The placeholder for the policy's name in a template.
const NAME: &str = "{{name}}";

/// The longest name of a policy.
pub const MAX_NAME_BYTES: usize = 64;

/// A file of a template: its path in the project, and its text.
type TemplateFile = (&'static str, &'static str);

/// The files of a template: those in its directory, and those that it shares with the
/// built-in policy in the same language.
macro_rules! template {
    ($directory:literal, [$($file:literal),* $(,)?], $shared:literal, [$($copy:literal),*]) => {
        &[
            $((
                $file,
                include_str!(concat!("../../../guest/templates/", $directory, "/", $file)),
            ),)*
            $((
                $copy,
                include_str!(concat!("../../../guest/", $shared, "/", $copy)),
            ),)*
        ]
    };
}

const CONTRACT_FILE: TemplateFile = ("wit/policy.wit", CONTRACT);

const RUST: &[TemplateFile] = template!(
    "rust",
    [
        "Cargo.toml.template",
        "README.md",
        "gitignore",
        "limits.json",
        "src/lib.rs",
        "vectors/models.json",
        "vectors/nearest.json",
    ],
    "default",
    ["src/pattern.rs"]
);

const JAVASCRIPT: &[TemplateFile] = template!(
    "javascript",
    [
        "README.md",
        "gitignore",
        "limits.json",
        "package.json",
        "src/main.js",
        "vectors/models.json",
        "vectors/nearest.json",
    ],
    "default-javascript",
    ["src/number.js", "src/pattern.js"]
);

const PYTHON: &[TemplateFile] = template!(
    "python",
    [
        "README.md",
        "gitignore",
        "limits.json",
        "pyproject.toml",
        "requirements.txt",
        "src/main.py",
        "vectors/models.json",
        "vectors/nearest.json",
    ],
    "default-python",
    ["src/pattern.py"]
);

/// The programming language of a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// Rust.
    Rust,
    /// JavaScript, run by QuickJS.
    JavaScript,
    /// Python, run by CPython.
    Python,
}

impl Language {
    /// Returns its name: `Rust`.
    pub fn name(self) -> &'static str {
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

/// A project that was created.
#[derive(Debug)]
pub struct NewProject {
    /// The name of the policy.
    pub name: String,
    /// The files, relative to the directory, sorted.
    pub files: Vec<String>,
}

/// Why a project cannot be created.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TemplateError {
    /// The name of the directory cannot be the name of a policy.
    #[error(
        "{0}: a policy is named after its directory, in lower-case letters, digits and hyphens, at most {MAX_NAME_BYTES}, a letter first"
    )]
    Name(String),
    /// The directory is not empty.
    #[error("{0} is not empty; a new policy needs an empty or new directory")]
    NotEmpty(String),
    /// The system refuses.
    #[error("{name}: {error}")]
    Io {
        /// The file or directory.
        name: String,
        /// The system's error.
        error: std::io::Error,
    },
}

impl TemplateError {
    /// Returns a stable name for the kind of error.
    pub fn code(&self) -> &'static str {
        match self {
            TemplateError::Name(_) => "invalid-name",
            TemplateError::NotEmpty(_) => "not-empty",
            TemplateError::Io { .. } => "io",
        }
    }

    fn io(path: &Path, error: std::io::Error) -> Self {
        TemplateError::Io {
            name: path.display().to_string(),
            error,
        }
    }
}

/// Creates a project in `directory`, which gives the policy its name.
///
/// # Errors
///
/// Fails if the directory is not empty, its name is not valid for a policy, or a file
/// cannot be written.
pub fn create(language: Language, directory: &Path) -> Result<NewProject, TemplateError> {
    let name = policy_name(directory)?;
    check_empty(directory)?;
    let mut files = Vec::new();
    for (path, contents) in language.template().iter().chain([&CONTRACT_FILE]) {
        let path = path_in_project(path);
        write_new(&directory.join(&path), &contents.replace(NAME, &name))?;
        files.push(path);
    }
    files.sort();
    Ok(NewProject { name, files })
}

/// Returns the name of the directory, if it is valid for a package of each language.
fn policy_name(directory: &Path) -> Result<String, TemplateError> {
    let absolute =
        std::path::absolute(directory).map_err(|error| TemplateError::io(directory, error))?;
    let name = absolute.file_name().and_then(|name| name.to_str());
    let is_valid = |name: &&str| {
        name.len() <= MAX_NAME_BYTES
            && name.starts_with(|first: char| first.is_ascii_lowercase())
            && name
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
    };
    name.filter(is_valid)
        .map(ToOwned::to_owned)
        .ok_or_else(|| TemplateError::Name(directory.display().to_string()))
}

fn check_empty(directory: &Path) -> Result<(), TemplateError> {
    let is_empty = match std::fs::read_dir(directory) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => true,
        Err(error) => return Err(TemplateError::io(directory, error)),
    };
    if is_empty {
        return Ok(());
    }
    Err(TemplateError::NotEmpty(directory.display().to_string()))
}

/// Returns the path in the project of a template's file.
fn path_in_project(path: &str) -> String {
    if path == "gitignore" {
        return ".gitignore".to_owned();
    }
    path.strip_suffix(TEMPLATE_SUFFIX)
        .unwrap_or(path)
        .to_owned()
}

/// Writes a file that does not exist yet.
fn write_new(file: &Path, contents: &str) -> Result<(), TemplateError> {
    let failed = |error| TemplateError::io(file, error);
    if let Some(directory) = file.parent() {
        std::fs::create_dir_all(directory).map_err(failed)?;
    }
    std::fs::File::create_new(file)
        .and_then(|mut created| created.write_all(contents.as_bytes()))
        .map_err(failed)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // allowed in tests
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_file_of_the_templates_is_included() {
        for (language, directory) in [
            (Language::Rust, "rust"),
            (Language::JavaScript, "javascript"),
            (Language::Python, "python"),
        ] {
            let root = Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("../../guest/templates")
                .join(directory);
            let mut expected = BTreeSet::new();
            collect(&root, &root, &mut expected);
            let included: BTreeSet<String> = language
                .template()
                .iter()
                .map(|(path, _)| (*path).to_owned())
                .collect();
            let missing: Vec<&String> = expected.difference(&included).collect();
            assert!(missing.is_empty(), "{directory}: {missing:?}");
            // The shared files are included once.
            assert_eq!(included.len(), language.template().len(), "{directory}");
        }
    }

    fn collect(root: &Path, directory: &Path, found: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(directory).unwrap() {
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
    fn a_policy_has_a_name_that_every_language_accepts() {
        for name in ["nearest", "a", "only-gpt-4"] {
            let accepted = policy_name(&Path::new("/tmp").join(name));
            assert_eq!(accepted.ok().unwrap(), name);
        }
        for name in ["Nearest", "4-eyes", "-a", "a_b", "ä", "a b"] {
            assert!(policy_name(&Path::new("/tmp").join(name)).is_err());
        }
        assert!(policy_name(Path::new("/")).is_err());
    }

    #[test]
    fn files_get_their_names_in_a_project() {
        assert_eq!(path_in_project("Cargo.toml.template"), "Cargo.toml");
        assert_eq!(path_in_project("gitignore"), ".gitignore");
        assert_eq!(path_in_project("src/lib.rs"), "src/lib.rs");
    }
}
