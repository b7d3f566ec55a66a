//! Programs that try to make the store lose something, or lie.
//!
//! A [`worker`] changes a store and says of each change that it was acknowledged; it
//! is killed ([`kill`]), its machine loses power ([`power_loss`]), its system calls
//! fail ([`io_errors`]). Whatever happened, what was acknowledged must be there, and
//! everything must be what was written ([`check`]). [`rotation`] kills the renewal of
//! keys; [`tamper`] changes the rows of the database behind the store's back, and
//! [`schema`] what its tables mean.
//!
//! Each has a short form in the test suite, and a long one by the `torture` program.

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

use entail::policy::{CodeCache, Compile};
use entail::{
    Change, CredentialName, CredentialRef, Entail, Options, Principal, RuleChanges, Secret,
    SecretEdit, SetCredential,
};

/// The program that workers are started from.
#[derive(Clone, Debug)]
pub struct Program(PathBuf);

impl Program {
    /// The `torture` program, wherever it was built.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Program(path.into())
    }

    /// The program that runs now.
    pub fn this() -> Self {
        Program(std::env::current_exe().unwrap())
    }

    /// It, with arguments.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.0);
        command.args(arguments);
        command
    }
}

/// Settings under which an open store starts fast: policies are compiled once for all
/// homes.
pub fn settings(cache: &Path) -> Options {
    std::fs::create_dir_all(cache).unwrap();
    let mut settings = Options::default();
    settings.engine.code_cache = Some(CodeCache::new(cache.join("code"), cache.join("key")));
    settings.engine.concurrent_calls = 2;
    settings.engine.compile = Compile::UnsafeInThisProcess;
    // What was opened before would hide that it no longer opens.
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

/// What sets the key of a scope for `openai`, in the place of the one that is there.
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

/// Copies a folder with all that is in it, and the modes.
pub fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    std::fs::set_permissions(to, std::fs::metadata(from).unwrap().permissions()).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let into = to.join(entry.file_name());
        match entry.path().is_dir() {
            true => copy_folder(&entry.path(), &into),
            false => drop(std::fs::copy(entry.path(), into).unwrap()),
        }
    }
}

/// Runs what is asynchronous to its end.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(future)
}
