//! Keys of a home that programs have: see [`settings`](crate::home::settings).

use std::path::PathBuf;
use std::sync::Arc;

use entail_store::{
    IdentitySource, KeyError, KeyProgram, KeySources, ServiceIdentity, Signer, SignerSource,
    Verifier,
};

use crate::error::Error;
use crate::home::Home;
use crate::home::open::read_text;

/// The maximum size of a file with a public key.
const MAX_PUBLIC_KEY_BYTES: usize = 16 * 1024;

impl Home {
    /// Replaces the sources that are the key directory by the programs of the settings.
    pub(super) fn with_programs(&self, mut sources: KeySources) -> Result<KeySources, Error> {
        let programs = self.settings()?.key_programs;
        if let (IdentitySource::Directory, Some(command)) = (&sources.identity, programs.identity) {
            sources.identity = IdentitySource::Service(self.identity_program(command)?);
        }
        for (source, command, name) in [
            (&mut sources.signer, programs.signer, "signer.pub"),
            (&mut sources.owner, programs.owner, "owner.pub"),
        ] {
            if let (SignerSource::Directory, Some(command)) = (&*source, command) {
                *source = SignerSource::Service(Box::new(self.signer_program(command, name)?));
            }
        }
        Ok(sources)
    }

    fn identity_program(&self, command: Vec<String>) -> Result<ServiceIdentity, Error> {
        let (file, text) = self.public_key("identity.pub")?;
        ServiceIdentity::new(text.trim(), Arc::new(program(command))).map_err(|_| {
            let expected = "an age recipient (age1…)";
            KeyError::Malformed { file, expected }.into()
        })
    }

    fn signer_program(&self, command: Vec<String>, name: &str) -> Result<Signer, Error> {
        let (file, text) = self.public_key(name)?;
        let verifier = Verifier::from_pem(text.trim()).ok_or_else(|| {
            let expected = "an Ed25519 public key in PEM form";
            Error::from(KeyError::Malformed { file, expected })
        })?;
        Ok(Signer::elsewhere(verifier, Arc::new(program(command))))
    }

    /// The public key of a key that a program has.
    fn public_key(&self, name: &str) -> Result<(PathBuf, String), Error> {
        let file = self.keys_directory().join(name);
        match read_text(&file, MAX_PUBLIC_KEY_BYTES)? {
            Some(text) => Ok((file, text)),
            None => Err(Error::Home(format!(
                "{} is missing: the settings name a program for the key, and this file must have \
                 its public key",
                file.display()
            ))),
        }
    }
}

/// The program of a command, which has at least one word.
fn program(command: Vec<String>) -> KeyProgram {
    let mut words = command.into_iter();
    KeyProgram::new(words.next().unwrap_or_default(), words.collect())
}
