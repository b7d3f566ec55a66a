//! A separate home for each test, and the search for canaries.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE};

/// The output and the exit code of one run of the program.
pub struct RunOutput {
    pub stdout: String,
    pub stderr: String,
    pub code: Option<i32>,
}

impl RunOutput {
    /// Fails the test unless the exit code is 0.
    #[track_caller]
    pub fn ok(self) -> Self {
        assert_eq!(self.code, Some(0), "{}{}", self.stdout, self.stderr);
        self
    }

    /// Fails the test unless the run ended with this exit code.
    #[track_caller]
    pub fn fails(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}{}", self.stdout, self.stderr);
        self
    }

    /// Fails the test unless standard output or standard error contains `text`.
    #[track_caller]
    pub fn prints(self, text: &str) -> Self {
        assert!(
            self.stdout.contains(text) || self.stderr.contains(text),
            "{text:?} is not in:\n{}{}",
            self.stdout,
            self.stderr
        );
        self
    }

    /// Parses standard output as JSON. Panics if it is not.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap()
    }
}

/// A temporary home. Dropping it searches for every canary in the home and in all output,
/// except that of commands that are meant to reveal secrets.
pub struct Sandbox {
    directory: tempfile::TempDir,
    canaries: Mutex<Vec<String>>,
    outputs: Mutex<Vec<(String, Vec<u8>)>>,
    is_watched: bool,
}

static CANARIES: AtomicU32 = AtomicU32::new(0);

impl Sandbox {
    pub fn new() -> Self {
        Sandbox {
            directory: tempfile::tempdir().unwrap(),
            canaries: Mutex::default(),
            outputs: Mutex::default(),
            is_watched: true,
        }
    }

    /// A sandbox that does not search for canaries: the test does so itself.
    pub fn unwatched() -> Self {
        let mut sandbox = Sandbox::new();
        sandbox.is_watched = false;
        sandbox
    }

    /// A sandbox with the organization `acme` and an OpenAI key, the project
    /// `acme/evals` that inherits it, and `acme/agents` that does not. Returns
    /// the key.
    pub fn with_acme() -> (Self, String) {
        let sandbox = Sandbox::new();
        sandbox.entail(&["init", "acme"]).ok();
        sandbox.entail(&["project", "add", "acme/evals"]).ok();
        sandbox.entail(&["project", "add", "acme/agents"]).ok();
        sandbox.entail(&["inherit", "acme/evals", "openai"]).ok();
        let key = sandbox.canary();
        sandbox
            .entail_with(&["credential", "set", "acme", "openai"], &key)
            .ok();
        (sandbox, key)
    }

    pub fn home(&self) -> PathBuf {
        self.directory.path().join("home")
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes a file and creates its parent directories. Returns its path.
    pub fn file(&self, name: &str, contents: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, contents).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// An unwatched sandbox with a copy of the home of another.
    pub fn copy_of(other: &Sandbox) -> Self {
        let sandbox = Sandbox::unwatched();
        copy_all(&other.home(), &sandbox.home());
        sandbox
    }

    pub fn database(&self) -> PathBuf {
        self.home().join("entail.db")
    }

    /// Creates a secret that the search looks for. It has characters that JSON escapes.
    pub fn canary(&self) -> String {
        let number = CANARIES.fetch_add(1, Ordering::Relaxed);
        let canary = format!(
            "canary-{}-{number:04}-a\"b\\c-0123456789abcdef",
            std::process::id()
        );
        self.canaries.lock().unwrap().push(canary.clone());
        canary
    }

    /// Registers a text as a canary, such as a part of a larger secret.
    pub fn watch_for(&self, text: &str) {
        self.canaries.lock().unwrap().push(text.to_owned());
    }

    /// The program with an empty environment, except for `PATH` and its own variables.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_entail"));
        command
            .args(arguments)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("ENTAIL_HOME", self.home())
            .env("XDG_CACHE_HOME", self.path("cache"))
            .env("RUST_LOG", "trace")
            .env("RUST_BACKTRACE", "full");
        command
    }

    /// Runs the program, whose output must not contain a canary.
    pub fn entail(&self, arguments: &[&str]) -> RunOutput {
        self.entail_with(arguments, "")
    }

    /// Runs the program with `input` on standard input.
    pub fn entail_with(&self, arguments: &[&str], input: &str) -> RunOutput {
        let output = Self::output(self.command(arguments), input);
        self.record(&arguments.join(" "), &output)
    }

    /// Runs the program without a controlling terminal.
    pub fn entail_without_terminal(&self, arguments: &[&str]) -> RunOutput {
        let inner = self.command(arguments);
        let mut command = Command::new("setsid");
        command.arg(inner.get_program()).args(inner.get_args());
        command.env_clear();
        for (name, value) in inner.get_envs() {
            command.env(name, value.unwrap_or_default());
        }
        self.run(command, "")
    }

    /// Runs a command that the test has prepared, whose output must not contain a canary.
    pub fn run(&self, command: Command, input: &str) -> RunOutput {
        let what = format!("{command:?}");
        let output = Self::output(command, input);
        self.record(&what, &output)
    }

    /// Runs the program for a lease: its standard output may contain secrets, its standard
    /// error may not.
    pub fn lease(&self, arguments: &[&str]) -> RunOutput {
        self.lease_of(self.command(arguments))
    }

    /// The same as [`Sandbox::lease`] for a command that the test has prepared.
    pub fn lease_of(&self, command: Command) -> RunOutput {
        let what = format!("{command:?}");
        let mut output = Self::output(command, "");
        let revealed = std::mem::take(&mut output.stdout);
        let mut ran = self.record(&what, &output);
        ran.stdout = String::from_utf8(revealed).unwrap();
        ran
    }

    /// The OpenAI key that the project `acme/evals` gets.
    pub fn revealed_key(&self) -> String {
        let lease = self
            .lease(&["resolve", "acme/evals", "openai", "--reveal", "--json"])
            .ok()
            .json();
        lease["secrets"]["api_key"].as_str().unwrap().to_owned()
    }

    pub fn output(mut command: Command, input: impl AsRef<[u8]>) -> Output {
        let input = input.as_ref();
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        std::thread::scope(|threads| {
            // A program that needs no input may have exited already, or be busy with its output.
            threads.spawn(move || {
                let _ = stdin.write_all(input);
                drop(stdin);
            });
            child.wait_with_output().unwrap()
        })
    }

    fn record(&self, what: &str, output: &Output) -> RunOutput {
        let mut outputs = self.outputs.lock().unwrap();
        outputs.push((format!("the output of {what}"), output.stdout.clone()));
        outputs.push((format!("the errors of {what}"), output.stderr.clone()));
        RunOutput {
            stdout: String::from_utf8(output.stdout.clone()).unwrap(),
            stderr: String::from_utf8(output.stderr.clone()).unwrap(),
            code: output.status.code(),
        }
    }

    /// Changes the database directly, without the store.
    pub fn sql(&self, statement: &str) {
        let database = rusqlite::Connection::open(self.database()).unwrap();
        let rows = database.execute(statement, []).unwrap();
        assert!(rows > 0, "{statement} changed nothing");
    }

    /// Returns where a canary was found and in what form; `None` if nowhere.
    fn find_canary(&self) -> Option<String> {
        let mut places: Vec<(String, Vec<u8>)> = self.outputs.lock().unwrap().clone();
        if self.home().exists() {
            read_all(&self.home(), &mut places);
        }
        for canary in self.canaries.lock().unwrap().iter() {
            for (form, needle) in encodings(canary) {
                for (place, bytes) in &places {
                    if bytes.windows(needle.len()).any(|window| window == needle) {
                        return Some(format!("{canary} is in {place} ({form})"));
                    }
                }
            }
        }
        None
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        if self.is_watched && !std::thread::panicking() {
            assert_eq!(self.find_canary(), None);
        }
    }
}

/// Reads every file below `directory` into `places`.
pub fn read_all(directory: &Path, places: &mut Vec<(String, Vec<u8>)>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read_all(&path, places);
        } else {
            places.push((path.display().to_string(), std::fs::read(&path).unwrap()));
        }
    }
}

/// Copies a directory with its contents and its permissions.
fn copy_all(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy_all(&entry.path(), &to),
            false => drop(std::fs::copy(entry.path(), &to).unwrap()),
        }
    }
    std::fs::set_permissions(to, from.metadata().unwrap().permissions()).unwrap();
}

fn hex(text: &str) -> String {
    text.bytes()
        .fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"))
}

/// The encodings in which a secret could leak.
pub fn encodings(secret: &str) -> BTreeMap<&'static str, Vec<u8>> {
    let json = serde_json::to_string(secret).unwrap();
    let hex = hex(secret);
    let mut forms = BTreeMap::from([
        ("unchanged", secret.as_bytes().to_vec()),
        (
            "escaped for JSON",
            json.trim_matches('"').as_bytes().to_vec(),
        ),
        (
            "escaped for JSON twice",
            serde_json::to_string(&json)
                .unwrap()
                .trim_matches('"')
                .as_bytes()
                .to_vec(),
        ),
        ("in hexadecimal", hex.clone().into_bytes()),
        ("in upper-case hexadecimal", hex.to_uppercase().into_bytes()),
        (
            "its first half",
            secret.as_bytes()[..secret.len() / 2].to_vec(),
        ),
    ]);
    // Base64 of a text that contains the secret depends on the offset of the secret.
    let names = [
        ["in base64", "in base64, one off", "in base64, two off"],
        [
            "in URL base64",
            "in URL base64, one off",
            "in URL base64, two off",
        ],
    ];
    for (names, alphabet) in names.into_iter().zip([&BASE64_STANDARD, &BASE64_URL_SAFE]) {
        for (name, skip) in names.into_iter().zip([0, 2, 1]) {
            let whole = &secret.as_bytes()[skip..];
            let whole = &whole[..whole.len() / 3 * 3];
            forms.insert(name, alphabet.encode(whole).into_bytes());
        }
    }
    forms
}

#[test]
fn a_leaked_canary_is_found() {
    for leak in ["plain", "base64", "json", "hex"] {
        let sandbox = Sandbox::new();
        let canary = sandbox.canary();
        let leaked = match leak {
            "base64" => BASE64_STANDARD.encode(format!("key={canary}")),
            "json" => serde_json::to_string(&canary).unwrap(),
            "hex" => hex(&canary),
            _ => canary,
        };
        std::fs::create_dir(sandbox.home()).unwrap();
        std::fs::write(sandbox.home().join("file"), leaked).unwrap();
        assert!(sandbox.find_canary().is_some(), "{leak}");
        std::fs::remove_file(sandbox.home().join("file")).unwrap();
    }
}
