//! One run of the program: where the home is, who asks, how keys are unlocked.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use entail::policy::{Compile, Sandbox};
use entail::store::{InputFile, check_way, inherited_file};
use entail::{
    AttributeName, AttributeValue, Entail, Home, IdentitySource, Keys, Options, Principal,
    SecondarySink, Secret, quoted,
};

use crate::args::Common;
use crate::attributes::parse_attributes;
use crate::failure::{Failure, shown};
use crate::paths;
use crate::prompt::{Shape, prompt_secret};

/// No passphrase or file of one is longer.
const MAX_PASSPHRASE_BYTES: usize = 4096;

/// Shorter ones are found by trying, whatever the work factor.
const MIN_PASSPHRASE_BYTES: usize = 8;

/// No file of an identity is longer.
const MAX_IDENTITY_BYTES: usize = 64 * 1024;

/// The name of the identity among the credentials that systemd passes to a service:
/// `LoadCredential=entail-identity:/path/to/identity.txt`.
const SYSTEMD_CREDENTIAL: &str = "entail-identity";

/// The program never makes more than a few calls at once, but to compare policies it
/// uses all processors.
const CONCURRENT_CALLS: u32 = 16;

/// How long the program stays, when all is said, for shadow policies to answer.
const SETTLE_WITHIN: Duration = Duration::from_secs(1);

/// One run of the program.
pub struct Session {
    pub common: Common,
    pub principal: Principal,
    /// The identity that came by a file descriptor.
    inherited: RefCell<Option<Secret>>,
}

impl Session {
    /// # Errors
    ///
    /// When a variable that stands for an option cannot.
    pub fn new(common: Common) -> Result<Self, Failure> {
        let common = from_environment(common)?;
        Ok(Session {
            inherited: RefCell::new(Self::take_identity(&common)),
            common,
            principal: Principal::LocalOwner,
        })
    }

    /// The same run, at another home.
    pub fn at(&self, home: &Path) -> Self {
        Session {
            common: Common {
                home: Some(home.to_owned()),
                ..self.common.clone()
            },
            principal: self.principal.clone(),
            inherited: RefCell::new(self.inherited.borrow().clone()),
        }
    }

    /// What dry runs say with the requests that they ask.
    pub fn attributes(&self) -> Result<BTreeMap<AttributeName, AttributeValue>, Failure> {
        parse_attributes(&self.common.attributes)
    }

    /// The folder of the home: given, or `entail` in the user's data folder, as
    /// the XDG Base Directory Specification has it.
    pub fn home_folder(&self) -> Result<PathBuf, Failure> {
        let folder = self.chosen_home()?;
        match folder.to_str() {
            Some(_) => Ok(folder),
            None => Err(Failure::invalid(
                "the path of the home is not UTF-8 text; set ENTAIL_HOME, or give --home",
            )),
        }
    }

    fn chosen_home(&self) -> Result<PathBuf, Failure> {
        if let Some(folder) = &self.common.home {
            return std::path::absolute(folder)
                .map_err(|error| Failure::io(folder.display(), &error));
        }
        let absolute = |path: &PathBuf| path.is_absolute();
        let data = variable("XDG_DATA_HOME")
            .map(PathBuf::from)
            .filter(absolute);
        let home = || std::env::home_dir().filter(absolute);
        data.or_else(|| home().map(|home| home.join(".local/share")))
            .map(|data| data.join("entail"))
            .ok_or_else(|| {
                Failure::invalid("there is no user data folder")
                    .with_remedies(vec!["set ENTAIL_HOME, or give --home".to_owned()])
            })
    }

    pub fn home(&self) -> Result<Home, Failure> {
        Ok(Home::open(&self.home_folder()?)?)
    }

    /// Opens the home for what needs no secret.
    pub fn open(&self) -> Result<Entail, Failure> {
        let home = self.home()?;
        let keys = self.keys(&home)?;
        Self::open_with(&home, keys)
    }

    /// Opens the home for what reveals secrets: a locked identity is unlocked.
    pub fn open_unlocked(&self) -> Result<Entail, Failure> {
        Ok(self.open_with_passphrase()?.0)
    }

    /// Refuses to print what a program reads where the settings send the decision log
    /// as well.
    pub fn check_output_is_free(&self) -> Result<(), Failure> {
        let settings = self.home()?.settings()?;
        match settings.decision_log.secondary {
            Some(SecondarySink::Stdout) => Err(Failure::invalid(
                "the settings send the decision log to the standard output, where this command prints for a program",
            )
            .with_remedies(vec![
                "in settings.toml, set decision-log.secondary to \"syslog\" or a file".to_owned(),
            ])),
            _ => Ok(()),
        }
    }

    /// The same, and with it the passphrase, if the identity is under one.
    pub fn open_with_passphrase(&self) -> Result<(Entail, Option<Secret>), Failure> {
        let home = self.home()?;
        let mut keys = self.keys(&home)?;
        let mut passphrase = None;
        if self.common.json {
            self.check_output_is_free()?;
        }
        if keys.is_locked() {
            let given = self.passphrase("Passphrase of the identity: ")?;
            keys.unlock(&given).map_err(entail::Error::from)?;
            passphrase = Some(given);
        }
        Ok((Self::open_with(&home, keys)?, passphrase))
    }

    /// The keys of the home, with the identity from wherever it is given.
    pub fn keys(&self, home: &Home) -> Result<Keys, Failure> {
        Ok(home.keys(self.identity_source()?)?)
    }

    /// Where the identity comes from: the file descriptor that was named, else the
    /// credentials that systemd passes to a service, else the home.
    fn identity_source(&self) -> Result<IdentitySource, Failure> {
        if let Some(number) = self.common.identity_fd {
            return match &*self.inherited.borrow() {
                Some(text) => Ok(IdentitySource::Given(text.clone())),
                None => Err(Failure::invalid(format!(
                    "--identity-fd {number}: that file descriptor is not open, or no identity can be read from it"
                ))),
            };
        }
        let Some(folder) = variable("CREDENTIALS_DIRECTORY") else {
            return Ok(IdentitySource::Folder);
        };
        let file = PathBuf::from(folder).join(SYSTEMD_CREDENTIAL);
        match file.symlink_metadata() {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(IdentitySource::Folder);
            }
            Err(error) => return Err(Failure::io(file.display(), &error)),
            Ok(_) => check_way(&file).map_err(entail::Error::from)?,
        }
        Secret::read_regular_file(&file, MAX_IDENTITY_BYTES)
            .map_err(|error| Failure::io(file.display(), &error))?
            .map(IdentitySource::Given)
            .ok_or_else(|| {
                Failure::invalid(format!("{} is too large for an identity", file.display()))
            })
    }

    /// Whether the folder of credentials that systemd passes has the identity.
    pub fn identity_is_from_systemd() -> bool {
        variable("CREDENTIALS_DIRECTORY")
            .is_some_and(|folder| Path::new(&folder).join(SYSTEMD_CREDENTIAL).exists())
    }

    /// Takes over the file descriptor that the identity comes by, so that no child
    /// gets it.
    fn take_identity(common: &Common) -> Option<Secret> {
        let mut file = InputFile::inherited(inherited_file(common.identity_fd?)?).ok()?;
        Secret::read(&mut file, MAX_IDENTITY_BYTES).ok().flatten()
    }

    /// Destroys the retired secrets whose time is over. It matters little when, so
    /// commands that have to do with credentials do it by the way.
    pub async fn destroy_due(&self, entail: &Entail) -> Result<(), Failure> {
        match entail.destroy_due(&self.principal).await {
            // One who can change nothing leaves it to others.
            Ok(_) | Err(entail::Error::Keys(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Lets shadow policies answer, once a person has what they asked for.
    pub async fn settle(entail: &Entail) {
        entail.settle_shadows(SETTLE_WITHIN).await;
    }

    fn open_with(home: &Home, keys: Keys) -> Result<Entail, Failure> {
        let mut settings = Options::default();
        settings.engine.concurrent_calls = CONCURRENT_CALLS;
        settings.engine.compile = Compile::InSandbox(Sandbox::this_program());
        Ok(Entail::with_keys(home, keys, settings)?)
    }

    /// Reads a passphrase for a new identity: asked for twice, since a slip would
    /// lose every secret.
    pub fn new_passphrase(&self) -> Result<Secret, Failure> {
        let passphrase = self.passphrase("New passphrase of the identity: ")?;
        if passphrase.len() < MIN_PASSPHRASE_BYTES {
            return Err(Failure::invalid(format!(
                "the passphrase has fewer than {MIN_PASSPHRASE_BYTES} characters"
            )));
        }
        // A file says the same again, and a pipe says it only once.
        let again = match self.common.passphrase_file {
            Some(_) => passphrase.clone(),
            None => self.passphrase("The same again: ")?,
        };
        if again.expose() != passphrase.expose() {
            return Err(Failure::invalid("the two passphrases differ"));
        }
        Ok(passphrase)
    }

    /// Reads a passphrase from the file that was given, else from the terminal.
    pub fn passphrase(&self, prompt: &str) -> Result<Secret, Failure> {
        let Some(file) = &self.common.passphrase_file else {
            return prompt_secret(prompt, Shape::Line);
        };
        let text = Secret::read_file(file, MAX_PASSPHRASE_BYTES)
            .map_err(|error| Failure::io(shown(file), &error))?
            .ok_or_else(|| Failure::invalid(format!("{} is too long", shown(file))))?;
        let text = text
            .expose_text()
            .map(|text| {
                text.trim_start_matches('\u{feff}')
                    .trim_end_matches(['\n', '\r'])
            })
            .filter(|text| !text.is_empty())
            .ok_or_else(|| Failure::invalid(format!("{} holds no text", shown(file))))?;
        Ok(Secret::from(text))
    }
}

/// The value of a variable; an empty one counts as unset.
fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// The options with those that variables give where the command line does not.
fn from_environment(common: Common) -> Result<Common, Failure> {
    let path = |name: &str| {
        let Some(value) = variable(name).map(PathBuf::from) else {
            return Ok::<_, Failure>(None);
        };
        let checked = paths::check(&value);
        checked.map_err(|error| Failure::invalid(format!("{name}: {error}")))?;
        Ok(Some(value))
    };
    let identity_fd = match variable("ENTAIL_IDENTITY_FD") {
        Some(number) if common.identity_fd.is_none() => {
            let parsed = number.to_str().and_then(|number| number.parse().ok());
            Some(parsed.filter(|number| *number >= 3).ok_or_else(|| {
                let given = quoted(&number.to_string_lossy());
                let message = format!(
                    "ENTAIL_IDENTITY_FD: {given} is no number of a file descriptor from 3 on"
                );
                Failure::new(2, "usage", message)
            })?)
        }
        _ => common.identity_fd,
    };
    Ok(Common {
        home: match common.home {
            None => path("ENTAIL_HOME")?,
            given => given,
        },
        passphrase_file: match common.passphrase_file {
            None => path("ENTAIL_PASSPHRASE_FILE")?,
            given => given,
        },
        identity_fd,
        ..common
    })
}
