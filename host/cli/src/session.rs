//! A run of the program: its home, its principal, and how it unlocks keys.

use std::cell::RefCell;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use entail::policy::{Compiler, Sandbox};
use entail::store::{InputFile, KeySources, SignerSource, check_ancestors, inherited_file};
use entail::{
    Entail, Home, IdentitySource, Keys, Options, Principal, SecondarySink, Secret, quoted,
};

use crate::args::path;
use crate::error::{CliError, ErrorCode};
use crate::global::GlobalArgs;
use crate::prompt::{Shape, prompt_secret};
use entail_policy_tools::display::display_path;

/// The maximum length of a passphrase and of a file with one.
const MAX_PASSPHRASE_BYTES: usize = 4096;

/// Shorter passphrases can be guessed despite the work factor.
const MIN_PASSPHRASE_BYTES: usize = 8;

/// The maximum length of a file with a key.
const MAX_KEY_BYTES: usize = 64 * 1024;

/// The name of the credential by which systemd passes the identity to a service:
/// `LoadCredential=entail-identity:/path/to/identity.txt`.
const IDENTITY_CREDENTIAL: &str = "entail-identity";

/// The name of the credential by which systemd passes the signer to a service.
const SIGNER_CREDENTIAL: &str = "entail-signer";

/// The number of concurrent calls of a policy. Usually there are few, but comparing policies
/// uses all processors.
const CONCURRENT_CALLS: u32 = 16;

/// How long the program waits for shadow policies before it ends.
const SETTLE_WITHIN: Duration = Duration::from_secs(1);

/// A run of the program.
pub struct Session {
    /// The options that every command has.
    pub global: GlobalArgs,
    /// Who makes the requests.
    pub principal: Principal,
    /// The keys that were read from file descriptors.
    inherited: RefCell<InheritedKeys>,
}

/// Keys that were read from file descriptors.
#[derive(Clone)]
struct InheritedKeys {
    identity: Option<Secret>,
    signer: Option<Secret>,
}

impl Session {
    /// Starts a session with the options and the variables that replace them.
    ///
    /// # Errors
    ///
    /// Fails if a variable is not valid.
    pub fn new(global: GlobalArgs) -> Result<Self, CliError> {
        let global = from_environment(global)?;
        Ok(Session {
            inherited: RefCell::new(InheritedKeys {
                identity: take_key(global.identity_fd),
                signer: take_key(global.signer_fd),
            }),
            global,
            principal: Principal::LocalOwner,
        })
    }

    /// The same session with another home.
    pub fn at(&self, home: &Path) -> Self {
        Session {
            global: GlobalArgs {
                home: Some(home.to_owned()),
                ..self.global.clone()
            },
            principal: self.principal.clone(),
            inherited: RefCell::new(self.inherited.borrow().clone()),
        }
    }

    /// The directory of the home: the given one, or `entail` in the user's data directory by
    /// the XDG Base Directory Specification.
    ///
    /// # Errors
    ///
    /// Fails if there is no such directory, or its path is not UTF-8 text.
    pub fn home_directory(&self) -> Result<PathBuf, CliError> {
        let directory = self.chosen_home()?;
        if directory.to_str().is_none() {
            return Err(CliError::invalid(
                "the path of the home is not UTF-8 text; set ENTAIL_HOME, or give --home",
            ));
        }
        Ok(directory)
    }

    fn chosen_home(&self) -> Result<PathBuf, CliError> {
        if let Some(home) = &self.global.home {
            return std::path::absolute(home).map_err(|error| CliError::io(home.display(), &error));
        }
        let absolute = |path: &PathBuf| path.is_absolute();
        let data = variable("XDG_DATA_HOME")
            .map(PathBuf::from)
            .filter(absolute);
        let home = || std::env::home_dir().filter(absolute);
        data.or_else(|| home().map(|home| home.join(".local/share")))
            .map(|data| data.join("entail"))
            .ok_or_else(|| {
                CliError::invalid("the user has no data directory")
                    .with_remedies(vec!["set ENTAIL_HOME, or give --home".to_owned()])
            })
    }

    /// Opens the home, without its store.
    ///
    /// # Errors
    ///
    /// Fails if there is no home, or other users can access it.
    pub fn home(&self) -> Result<Home, CliError> {
        Ok(Home::open(&self.home_directory()?)?)
    }

    /// Opens the store for a command that reveals no secret.
    ///
    /// # Errors
    ///
    /// Fails if it cannot be opened.
    pub fn open(&self) -> Result<Entail, CliError> {
        let home = self.home()?;
        let keys = self.keys(&home)?;
        Self::open_with(&home, keys)
    }

    /// Opens the store for a command that reveals secrets: a locked identity is unlocked.
    ///
    /// # Errors
    ///
    /// Fails if it cannot be opened, or the identity cannot be unlocked.
    pub fn open_unlocked(&self) -> Result<Entail, CliError> {
        Ok(self.open_with_passphrase()?.0)
    }

    /// Checks that the settings do not send the decision log to standard output, for a command
    /// whose output a program reads.
    ///
    /// # Errors
    ///
    /// Fails if they do.
    pub fn check_output_is_free(&self) -> Result<(), CliError> {
        let settings = self.home()?.settings()?;
        match settings.decision_log.secondary {
            Some(SecondarySink::Stdout) => Err(CliError::invalid(
                "the settings send the decision log to standard output, where this command prints for a program",
            )
            .with_remedies(vec![
                "in settings.toml, set decision-log.secondary to \"syslog\" or a file".to_owned(),
            ])),
            _ => Ok(()),
        }
    }

    /// Opens the store as [`Session::open_unlocked`] does, and returns the passphrase of the
    /// identity too, if it has one.
    ///
    /// # Errors
    ///
    /// Fails if the store cannot be opened, or the identity cannot be unlocked.
    pub fn open_with_passphrase(&self) -> Result<(Entail, Option<Secret>), CliError> {
        let home = self.home()?;
        let mut keys = self.keys(&home)?;
        let mut passphrase = None;
        if self.global.json {
            self.check_output_is_free()?;
        }
        if keys.is_locked() {
            let given = self.passphrase("Passphrase of the identity: ")?;
            keys.unlock(&given).map_err(entail::Error::from)?;
            passphrase = Some(given);
        }
        Ok((Self::open_with(&home, keys)?, passphrase))
    }

    /// Reads the keys of the home. The identity and the signer may come from elsewhere.
    ///
    /// # Errors
    ///
    /// Fails if a key cannot be read.
    pub fn keys(&self, home: &Home) -> Result<Keys, CliError> {
        Ok(home.keys(KeySources {
            identity: self.identity_source()?,
            signer: self.signer_source()?,
            ..KeySources::default()
        })?)
    }

    /// Where the identity comes from: the given file descriptor, else the credentials that
    /// systemd passes to a service, else the home.
    fn identity_source(&self) -> Result<IdentitySource, CliError> {
        let given = match self.global.identity_fd {
            Some(number) => Some(given_key(
                self.inherited.borrow().identity.as_ref(),
                "identity",
                number,
            )?),
            None => systemd_credential(IDENTITY_CREDENTIAL)?,
        };
        Ok(given.map_or(IdentitySource::Directory, IdentitySource::Given))
    }

    /// Where the signer comes from, as with the identity.
    fn signer_source(&self) -> Result<SignerSource, CliError> {
        let given = match self.global.signer_fd {
            Some(number) => Some(given_key(
                self.inherited.borrow().signer.as_ref(),
                "signer",
                number,
            )?),
            None => systemd_credential(SIGNER_CREDENTIAL)?,
        };
        Ok(given.map_or(SignerSource::Directory, SignerSource::Given))
    }

    /// Whether systemd passes the identity to this process.
    pub fn identity_is_from_systemd() -> bool {
        variable("CREDENTIALS_DIRECTORY")
            .is_some_and(|directory| Path::new(&directory).join(IDENTITY_CREDENTIAL).exists())
    }

    /// Destroys the retired secrets whose grace period is over. Commands that list or change
    /// credentials do this, because there is no service that would.
    ///
    /// # Errors
    ///
    /// Fails if the store cannot be changed.
    pub async fn destroy_due(&self, entail: &Entail) -> Result<(), CliError> {
        match entail.maintenance().destroy_due(&self.principal).await {
            // A machine without a signer leaves it to others.
            Ok(_) | Err(entail::Error::Keys(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Waits a moment for shadow policies, after the output is printed.
    pub async fn settle(entail: &Entail) {
        entail.policies().settle_shadows(SETTLE_WITHIN).await;
    }

    fn open_with(home: &Home, keys: Keys) -> Result<Entail, CliError> {
        let mut options = Options::default();
        options.engine.concurrent_calls = CONCURRENT_CALLS;
        options.engine.compiler = Compiler::Sandboxed(Sandbox::this_program());
        Ok(Entail::with_keys(home, keys, options)?)
    }

    /// Asks for the passphrase of a new identity, twice, because a typing error would lose
    /// every secret.
    ///
    /// # Errors
    ///
    /// Fails if the passphrase is too short, or the two differ.
    pub fn new_passphrase(&self) -> Result<Secret, CliError> {
        let passphrase = self.passphrase("New passphrase of the identity: ")?;
        if passphrase.len() < MIN_PASSPHRASE_BYTES {
            return Err(CliError::invalid(format!(
                "the passphrase has fewer than {MIN_PASSPHRASE_BYTES} characters"
            )));
        }
        // A file would give the same text, and a pipe only once.
        let repeated = match self.global.passphrase_file {
            Some(_) => passphrase.clone(),
            None => self.passphrase("Repeat the passphrase: ")?,
        };
        if repeated.expose() != passphrase.expose() {
            return Err(CliError::invalid("the two passphrases differ"));
        }
        Ok(passphrase)
    }

    /// Reads a passphrase from the given file, else from the terminal.
    ///
    /// # Errors
    ///
    /// Fails if it cannot be read.
    pub fn passphrase(&self, prompt: &str) -> Result<Secret, CliError> {
        let Some(file) = &self.global.passphrase_file else {
            return prompt_secret(prompt, Shape::Line);
        };
        let text = Secret::read_file(file, MAX_PASSPHRASE_BYTES)
            .map_err(|error| CliError::io(display_path(file), &error))?
            .ok_or_else(|| CliError::invalid(format!("{} is too long", display_path(file))))?;
        let text = text
            .expose_text()
            .map(|text| {
                text.trim_start_matches('\u{feff}')
                    .trim_end_matches(['\n', '\r'])
            })
            .filter(|text| !text.is_empty())
            .ok_or_else(|| CliError::invalid(format!("{} contains no text", display_path(file))))?;
        Ok(Secret::from(text))
    }
}

/// Reads a key from a file descriptor and closes it, so that no child gets it.
fn take_key(number: Option<i32>) -> Option<Secret> {
    let mut file = InputFile::inherited(inherited_file(number?)?).ok()?;
    Secret::read(&mut file, MAX_KEY_BYTES).ok().flatten()
}

/// The key that was read from a file descriptor.
fn given_key(key: Option<&Secret>, name: &str, number: i32) -> Result<Secret, CliError> {
    key.cloned().ok_or_else(|| {
        CliError::invalid(format!(
            "--{name}-fd {number}: that file descriptor is not open, or no {name} can be read from it"
        ))
    })
}

/// A key that systemd passes to this service; `None` if there is none.
fn systemd_credential(name: &str) -> Result<Option<Secret>, CliError> {
    let Some(directory) = variable("CREDENTIALS_DIRECTORY") else {
        return Ok(None);
    };
    let file = PathBuf::from(directory).join(name);
    match file.symlink_metadata() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(CliError::io(file.display(), &error)),
        Ok(_) => check_ancestors(&file).map_err(entail::Error::from)?,
    }
    let key = Secret::read_regular_file(&file, MAX_KEY_BYTES)
        .map_err(|error| CliError::io(file.display(), &error))?;
    let too_large = || CliError::invalid(format!("{} is too large for a key", file.display()));
    key.map(Some).ok_or_else(too_large)
}

/// Returns the value of a variable; an empty one counts as unset.
fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// Adds the options that variables give and the command line does not.
fn from_environment(global: GlobalArgs) -> Result<GlobalArgs, CliError> {
    let path_of = |name: &str| {
        let Some(value) = variable(name).map(PathBuf::from) else {
            return Ok::<_, CliError>(None);
        };
        let checked = path::check(&value);
        checked.map_err(|error| CliError::invalid(format!("{name}: {error}")))?;
        Ok(Some(value))
    };
    let descriptor_of = |name: &str| {
        let Some(number) = variable(name) else {
            return Ok::<_, CliError>(None);
        };
        let parsed = number.to_str().and_then(|number| number.parse().ok());
        let number = parsed.filter(|number| *number >= 3).ok_or_else(|| {
            let given = quoted(&number.to_string_lossy());
            let message = format!("{name}: {given} is not a file descriptor number of 3 or more");
            CliError::new(ErrorCode::Usage, message)
        })?;
        Ok(Some(number))
    };
    Ok(GlobalArgs {
        home: match global.home {
            None => path_of("ENTAIL_HOME")?,
            given => given,
        },
        passphrase_file: match global.passphrase_file {
            None => path_of("ENTAIL_PASSPHRASE_FILE")?,
            given => given,
        },
        identity_fd: match global.identity_fd {
            None => descriptor_of("ENTAIL_IDENTITY_FD")?,
            given => given,
        },
        signer_fd: match global.signer_fd {
            None => descriptor_of("ENTAIL_SIGNER_FD")?,
            given => given,
        },
        ..global
    })
}
