//! One run of the program: where the home is, who asks, how keys are unlocked.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};
use signal_hook::consts::signal::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;

use entail::policy::{Compile, Sandbox};
use entail::store::{InputFile, check_way, inherited_file};
use entail::{
    AttributeName, AttributeValue, Entail, Home, IdentitySource, Keys, Principal, SecondSink,
    Secret, Settings,
};
use entail_text::sanitize;

use crate::args::Common;
use crate::attributes::parse_attributes;
use crate::failure::Failure;

/// No passphrase or file of one is longer.
const MAX_PASSPHRASE_BYTES: usize = 4096;

/// Shorter ones are found by trying, whatever the work factor.
const MIN_PASSPHRASE_BYTES: usize = 8;

/// No file of an identity is longer.
const MAX_IDENTITY_BYTES: usize = 64 * 1024;

/// The name of the identity among the credentials that systemd passes to a service:
/// `LoadCredential=entail-identity:/path/to/identity.txt`.
const SYSTEMD_CREDENTIAL: &str = "entail-identity";

/// How long a signal is given to end the program.
const TO_END: Duration = Duration::from_secs(1);

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
    pub fn new(common: Common) -> Self {
        Session {
            inherited: RefCell::new(Self::take_identity(&common)),
            common,
            principal: Principal::LocalOwner,
        }
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
        if let Some(folder) = &self.common.home {
            return std::path::absolute(folder)
                .map_err(|error| Failure::io(folder.display(), &error));
        }
        let data = std::env::var_os("XDG_DATA_HOME")
            .map(PathBuf::from)
            .filter(|path| path.is_absolute());
        data.or_else(|| std::env::home_dir().map(|home| home.join(".local/share")))
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
        match settings.decision_log.also_to {
            Some(SecondSink::Stdout) => Err(Failure::invalid(
                "the settings send the decision log to the standard output, where this command prints for a program",
            )
            .with_remedies(vec![
                "in settings.toml, set decision-log.also-to to \"syslog\" or a file".to_owned(),
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
        let Some(folder) = std::env::var_os("CREDENTIALS_DIRECTORY") else {
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
        std::env::var_os("CREDENTIALS_DIRECTORY")
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
        let mut settings = Settings::default();
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
            return prompt_secret(prompt);
        };
        let text = Secret::read_file(file, MAX_PASSPHRASE_BYTES)
            .map_err(|error| Failure::io(file.display(), &error))?
            .ok_or_else(|| Failure::invalid(format!("{} is too long", file.display())))?;
        let text = text
            .expose_text()
            .map(|text| text.trim_end_matches(['\n', '\r']))
            .filter(|text| !text.is_empty())
            .ok_or_else(|| Failure::invalid(format!("{} holds no text", file.display())))?;
        Ok(Secret::from(text))
    }
}

/// Asks for a secret at the terminal, without showing what is typed. The
/// terminal shows again what is typed also when a signal ends the program
/// meanwhile.
pub fn prompt_secret(prompt: &str) -> Result<Secret, Failure> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::invalid("there is no terminal to ask at"));
    }
    let failed = |error: &std::io::Error| Failure::io("the terminal", error);
    let before = tcgetattr(std::io::stdin()).map_err(|error| failed(&error.into()))?;
    let mut signals =
        Signals::new([SIGINT, SIGTERM, SIGHUP, SIGQUIT]).map_err(|error| failed(&error))?;
    let handle = signals.handle();
    let restorer = std::thread::Builder::new()
        .spawn(move || {
            if let Some(signal) = signals.forever().next() {
                // On the way out there is nobody to tell.
                let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, &before);
                let _ = signal_hook::low_level::emulate_default_handler(signal);
            }
        })
        .map_err(|error| failed(&error))?;
    let answer = rpassword::prompt_password(&*sanitize(prompt));
    if answer
        .as_ref()
        .is_err_and(|error| error.kind() == std::io::ErrorKind::Interrupted)
    {
        // The signal that interrupted is about to end the program.
        std::thread::sleep(TO_END);
    }
    let answer = answer.map_err(|error| failed(&error));
    handle.close();
    let _ = restorer.join();
    Ok(Secret::from(answer?))
}
