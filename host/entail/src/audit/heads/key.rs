//! The key that authenticates the head file and the ledger: `keys/log.key`.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;

use entail_store::{Digest, RandomId};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::checkpoint::{BODY_BYTES, Checkpoint, CheckpointKind};
use crate::audit::files::{check_private, open_if_exists, sync_directory};

/// A checkpoint as it is in the file: the body and its authentication code.
pub(super) const WRITTEN_BYTES: usize = BODY_BYTES + 32;
pub(super) type Written = [u8; WRITTEN_BYTES];

/// More bytes than a key file has: 64 digits and a newline.
const MAX_FILE_BYTES: usize = 128;

/// The key of a decision log.
#[derive(Clone)]
pub(in crate::audit) struct LogKey(Hmac<Sha256>);

impl LogKey {
    /// Generates a key; also returns the text of its file.
    pub(super) fn generate() -> std::io::Result<(Self, Zeroizing<String>)> {
        let mut bytes = Zeroizing::new([0; 32]);
        getrandom::fill(bytes.as_mut()).map_err(std::io::Error::other)?;
        let mut text = Zeroizing::new(Digest::from(*bytes).to_string());
        text.push('\n');
        Ok((LogKey::new(&bytes)?, text))
    }

    fn new(bytes: &[u8; 32]) -> std::io::Result<Self> {
        // HMAC takes keys of any length, so this does not fail.
        let mac = Hmac::new_from_slice(bytes).map_err(std::io::Error::other)?;
        Ok(LogKey(mac))
    }

    /// Reads the key; `None` if the file does not exist.
    pub(in crate::audit) fn read(path: &Path) -> std::io::Result<Option<Self>> {
        let Some(file) = open_if_exists(path)? else {
            return Ok(None);
        };
        check_private(path, &file)?;
        let mut bytes = Zeroizing::new([0; MAX_FILE_BYTES]);
        let length = file.read_at(bytes.as_mut(), 0)?;
        let text = bytes.get(..length).map(std::str::from_utf8);
        let key: Option<Digest> = text
            .and_then(Result::ok)
            .and_then(|text| text.trim_end().parse().ok());
        match key {
            Some(key) => LogKey::new(key.as_bytes()).map(Some),
            None => Err(std::io::Error::other(
                "it is not the key of a decision log: 64 hexadecimal digits",
            )),
        }
    }

    /// The id of the log: a code of the key that says nothing about it.
    pub(in crate::audit) fn log_id(&self) -> RandomId {
        let code = self.code_of(&[b"entail log id"]);
        let (id, _) = code.as_bytes().split_at(16);
        RandomId::from_bytes(<[u8; 16]>::try_from(id).unwrap_or_default())
    }

    /// Encodes a checkpoint with its authentication code.
    pub(super) fn encode(&self, checkpoint: &Checkpoint) -> Written {
        let mut written = [0; WRITTEN_BYTES];
        let (body, code) = written.split_at_mut(BODY_BYTES);
        body.copy_from_slice(&checkpoint.encode());
        code.copy_from_slice(self.code_of(&[body]).as_bytes());
        written
    }

    /// Decodes a checkpoint of that kind; `None` if it is not authentic.
    pub(super) fn decode(&self, written: &Written, kind: CheckpointKind) -> Option<Checkpoint> {
        let (body, code) = written.split_at(BODY_BYTES);
        self.mac(&[body]).verify_slice(code).ok()?;
        Checkpoint::decode(body, kind)
    }

    fn mac(&self, parts: &[&[u8]]) -> Hmac<Sha256> {
        let mut mac = self.0.clone();
        for part in parts {
            mac.update(part);
        }
        mac
    }

    /// The authentication code of bytes, which must not begin like a checkpoint.
    pub(in crate::audit) fn code_of(&self, parts: &[&[u8]]) -> Digest {
        let code: [u8; 32] = self.mac(parts).finalize().into_bytes().into();
        Digest::from(code)
    }

    /// Whether `code` is the authentication code of these bytes.
    pub(in crate::audit) fn authenticates(&self, parts: &[&[u8]], code: &Digest) -> bool {
        self.mac(parts).verify_slice(code.as_bytes()).is_ok()
    }
}

/// Writes the file of a key atomically.
pub(super) fn write_key(path: &Path, text: &str) -> std::io::Result<()> {
    let temporary = path.with_extension("key.new");
    // A process that was stopped may have left it behind.
    let _ = std::fs::remove_file(&temporary);
    let created = File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&temporary)
        .and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_all()
        })
        .and_then(|()| std::fs::rename(&temporary, path));
    if created.is_err() {
        let _ = std::fs::remove_file(&temporary);
        return created;
    }
    sync_directory(path)
}
