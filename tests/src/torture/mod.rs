//! Stress tests that try to make the store lose data or return wrong data.
//!
//! A [`worker`] changes a store and acknowledges each change. It is killed ([`kill`]), its
//! machine loses power ([`power_loss`]), its system calls fail ([`io_errors`]). Afterwards
//! every acknowledged change must exist, and everything must be as written ([`check`]).
//! [`rotation`] kills the rotation of keys; [`tamper`] changes rows of the database
//! directly, and [`schema`] its definition.
//!
//! Each has a short form in the test suite, and a long one in the `torture` program.

pub mod check;
pub mod io_errors;
pub mod kill;
pub mod power_loss;
pub mod rotation;
pub mod schema;
pub mod tamper;
pub mod worker;

use std::path::{Path, PathBuf};
use std::process::Command;

use entail::policy::{CodeCache, Compiler};
use entail::{
    Change, CredentialName, CredentialRef, Entail, Options, Principal, RuleChanges, Secret,
    SecretEdit, SetCredential,
};

/// The program that contains the workers.
#[derive(Clone, Debug)]
pub struct Program(PathBuf);

impl Program {
    /// The `torture` program at a path.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Program(path.into())
    }

    /// The current program.
    pub fn this() -> Self {
        Program(std::env::current_exe().unwrap())
    }

    /// A command that runs the program with arguments.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.0);
        command.args(arguments);
        command
    }
}

/// Options that make opening a store fast: compiled policies are cached for all homes.
pub fn settings(cache: &Path) -> Options {
    std::fs::create_dir_all(cache).unwrap();
    let mut settings = Options::default();
    settings.engine.code_cache = Some(CodeCache::new(cache.join("code"), cache.join("key")));
    settings.engine.concurrent_calls = 2;
    settings.engine.compiler = Compiler::UnsafeInThisProcess;
    // A cached secret would hide that it can no longer be opened.
    settings.cache_secrets_for = None;
    settings
}

/// Adds a scope.
pub async fn add_scope(entail: &Entail, scope: &str) {
    let scope = scope.parse().unwrap();
    entail
        .change(&Principal::LocalOwner, &Change::AddScope { scope })
        .await
        .unwrap();
}

/// A change that sets or replaces the key of a scope for `openai`.
pub fn set_key(scope: &str, key: String) -> SetCredential {
    SetCredential {
        credential: CredentialRef {
            scope: scope.parse().unwrap(),
            provider: "openai".parse().unwrap(),
            name: CredentialName::default(),
        },
        mode: None,
        fields: vec![("api_key".to_owned(), Secret::from(key))],
        rules: RuleChanges::default(),
        secret: SecretEdit::Given,
        grace_ms: 0,
    }
}

/// Copies a directory recursively, with its modes.
pub fn copy_directory(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    std::fs::set_permissions(to, std::fs::metadata(from).unwrap().permissions()).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let into = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_directory(&entry.path(), &into);
        } else {
            std::fs::copy(entry.path(), into).unwrap();
        }
    }
}

/// Runs a future to completion.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(future)
}
