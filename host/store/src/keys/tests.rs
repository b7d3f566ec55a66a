//! Tests of the keys of a machine.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use super::error::KeyError;
use super::names::{IDENTITY, OWNER, SIGNER};
use super::recovery::create::RecoveryFiles;
use super::recovery::receipt::Receipt;
use super::*;
use crate::digest::Digest;
use crate::journal::position::JournalPosition;
use crate::recipients::Readers;

fn directory() -> (tempfile::TempDir, PathBuf) {
    let home = tempfile::tempdir().unwrap();
    let directory = home.path().join("keys");
    (home, directory)
}

/// The first epoch of an organization, and the file with its key.
struct Sealed {
    epoch: Epoch,
    file: Vec<u8>,
}

fn sealed(keys: &Keys) -> Sealed {
    let recipients = keys.own_recipients("test", 0).unwrap();
    let first = Readers::first("acme", recipients).unwrap();
    Sealed {
        epoch: first.readers.newest().unwrap().clone(),
        file: first.add_blobs[0].clone(),
    }
}

fn opened(keys: &Keys, sealed: &Sealed) -> Result<Result<EpochKey, SealError>, KeyError> {
    keys.open_epoch(&sealed.file, &sealed.epoch)
}

#[test]
fn created_keys_can_be_read() {
    let (_home, directory) = directory();
    let created = Keys::create(&directory, None, "test", 0).unwrap();
    let read = Keys::open(&directory).unwrap();
    assert!(read.identity_ids().eq(created.identity_ids()));
    assert_eq!(read.keyring().digest(), created.keyring().digest());
    read.check_may_write(read.keyring()).unwrap();
    read.check_owns().unwrap();
    assert!(opened(&read, &sealed(&created)).unwrap().is_ok());
}

#[test]
fn a_private_key_that_other_users_can_read_is_refused() {
    for name in [IDENTITY, OWNER, SIGNER] {
        let (_home, directory) = directory();
        Keys::create(&directory, None, "test", 0).unwrap();
        let file = directory.join(name);
        std::fs::set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
        let error = Keys::open(&directory).unwrap_err();
        assert!(
            matches!(error, KeyError::TooOpen { mode: 0o640, .. }),
            "{error}"
        );
        assert!(error.to_string().contains("chmod 600"), "{error}");
    }
    let (_home, directory) = directory();
    Keys::create(&directory, None, "test", 0).unwrap();
    std::fs::set_permissions(&directory, Permissions::from_mode(0o755)).unwrap();
    assert!(matches!(
        Keys::open(&directory),
        Err(KeyError::TooOpen { .. })
    ));
}

#[test]
fn a_passphrase_locks_and_unlocks_the_identity() {
    let (_home, directory) = directory();
    let created = Keys::create(
        &directory,
        Some(&Secret::from("canary-passphrase")),
        "test",
        0,
    )
    .unwrap();
    let mut read = Keys::open(&directory).unwrap();
    assert!(read.is_locked());
    assert!(matches!(
        opened(&read, &sealed(&created)),
        Err(KeyError::Locked)
    ));
    assert!(matches!(
        read.unlock(&Secret::from("wrong")),
        Err(KeyError::WrongPassphrase)
    ));
    read.unlock(&Secret::from("canary-passphrase")).unwrap();
    assert!(opened(&read, &sealed(&created)).unwrap().is_ok());
}

#[test]
fn a_machine_without_identity_cannot_unseal_and_without_signer_cannot_sign() {
    let (_home, directory) = directory();
    let all = Keys::create(&directory, None, "test", 0).unwrap();
    std::fs::remove_file(directory.join(IDENTITY)).unwrap();
    let writer = Keys::open(&directory).unwrap();
    writer.check_may_write(writer.keyring()).unwrap();
    assert!(matches!(
        opened(&writer, &sealed(&all)),
        Err(KeyError::NoIdentity)
    ));
    std::fs::remove_file(directory.join(OWNER)).unwrap();
    std::fs::remove_file(directory.join(SIGNER)).unwrap();
    let reader = Keys::open(&directory).unwrap();
    assert!(matches!(
        reader.check_may_write(reader.keyring()),
        Err(KeyError::NoSigner)
    ));
    assert!(matches!(
        reader.missing_owners(&reader.keyring().authority().owners),
        Ok(1)
    ));
    let unsigned = reader.sign_keyring(reader.keyring(), &reader.keyring().next(), 0);
    let signatures = unsigned.unwrap().signatures(reader.keyring()).unwrap();
    assert_eq!((signatures.signed_by.len(), signatures.missing()), (0, 1));
}

#[test]
fn a_new_identity_comes_first_and_the_old_one_stays_until_it_is_removed() {
    for passphrase in [None, Some(Secret::from("canary-passphrase"))] {
        let (_home, directory) = directory();
        let mut keys = Keys::create(&directory, passphrase.as_ref(), "test", 0).unwrap();
        let before = sealed(&keys);
        keys.begin_new_identity(passphrase.as_ref()).unwrap();
        let mut read = Keys::open(&directory).unwrap();
        if let Some(passphrase) = &passphrase {
            read.unlock(passphrase).unwrap();
        }
        assert_eq!(read.identity_ids().count(), 2);
        assert!(opened(&read, &before).unwrap().is_ok());
        read.end_old_identities(passphrase.as_ref()).unwrap();
        assert_eq!(read.identity_ids().count(), 1);
        assert_eq!(read.identity_ids().next(), keys.identity_ids().next());
        assert!(matches!(
            opened(&read, &before),
            Ok(Err(SealError::NotForThisIdentity))
        ));
    }
}

#[test]
fn the_next_signer_signs_only_under_a_keyring_that_names_it() {
    let (_home, directory) = directory();
    let mut keys = Keys::create(&directory, None, "test", 0).unwrap();
    let next = keys.begin_new_key(Role::Signer).unwrap();
    let before = Arc::clone(keys.keyring());
    assert_eq!(
        keys.signer_for(&before).unwrap().id(),
        before_signer(&before)
    );
    // An interrupted rotation finds it again.
    let mut keys = Keys::open(&directory).unwrap();
    assert_eq!(keys.begin_new_key(Role::Signer).unwrap(), next);
    let mut draft = before.next();
    draft.authority.signers[0].key.key = next.clone();
    let after = Arc::new(keys.sign_keyring(&before, &draft, 0).unwrap());
    after.check_follows(&before).unwrap();
    keys.save_keyring(&after).unwrap();
    let mut keys = Keys::open(&directory).unwrap();
    assert_eq!(keys.keyring().digest(), after.digest());
    assert_eq!(keys.signer_for(&after).unwrap().id(), next.id());
    keys.adopt_new_key(Role::Signer).unwrap();
    let keys = Keys::open(&directory).unwrap();
    assert_eq!(keys.id_of(Role::Signer), Some(next.id()));
    assert!(!keys.has_next_key(Role::Signer));
    assert!(matches!(
        keys.check_may_write(&before),
        Err(KeyError::OldSigner)
    ));
}

fn before_signer(keyring: &Keyring) -> KeyId {
    keyring.authority().signers[0].key.key.id()
}

#[test]
fn an_owner_is_replaced_by_both_and_rules_alone() {
    let (_home, directory) = directory();
    let mut keys = Keys::create(&directory, None, "test", 0).unwrap();
    let next = keys.begin_new_key(Role::Owner).unwrap();
    let before = Arc::clone(keys.keyring());
    let mut draft = before.next();
    draft.authority.owners.keys[0].key = next.clone();
    let after = keys.sign_keyring(&before, &draft, 0).unwrap();
    after.check_follows(&before).unwrap();
    keys.save_keyring(&Arc::new(after.clone())).unwrap();
    keys.adopt_new_key(Role::Owner).unwrap();
    // The new one alone could not have taken over.
    let stolen = keys.sign_keyring(&before, &draft, 0).unwrap();
    assert!(stolen.check_follows(&before).is_err());
    let third = keys.sign_keyring(&after, &after.next(), 0).unwrap();
    third.check_follows(&after).unwrap();
    assert!(third.check_follows(&before).is_err());
}

#[test]
fn a_private_key_is_in_the_form_that_openssl_reads() {
    let (_home, directory) = directory();
    Keys::create(&directory, None, "test", 0).unwrap();
    let pem = std::fs::read_to_string(directory.join(SIGNER)).unwrap();
    // PKCS #8 version 1 has 48 bytes for such a key; version 2 adds the public key.
    let body: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    assert_eq!(body.len(), 64, "{body}");
}

#[test]
fn a_recovery_key_has_a_receipt() {
    let (home, directory) = directory();
    let keys = Keys::create(&directory, None, "test", 0).unwrap();
    let position = JournalPosition {
        revision: 7,
        checkpoint: Some(Digest::of(b"checkpoint")),
    };
    let receipt = Receipt::new(keys.keyring(), position);
    let file = home.path().join("recovery.txt");
    let files = RecoveryFiles::new(&file, None);
    let recipient = files.prepare(&receipt, "recovery", 5).unwrap().recipient;
    files.finish().unwrap();
    let text = Secret::read_regular_file(&file, 10_000).unwrap().unwrap();
    assert_eq!(Receipt::find(&text), Some(receipt.clone()));
    let identities = identity::parse(&text).unwrap();
    assert_eq!(identities[0].recipient(), recipient.key);
    let later = Receipt {
        position: JournalPosition {
            revision: 8,
            ..position
        },
        ..receipt
    };
    assert!(matches!(
        later.renew(std::slice::from_ref(&file), keys.keyring()),
        Err(KeyError::ForeignRecoveryKey(_))
    ));
    let mut draft = keys.keyring().next();
    draft.authority.default_recipients.push(recipient.clone());
    let keyring = keys.sign_keyring(keys.keyring(), &draft, 0).unwrap();
    later.renew(std::slice::from_ref(&file), &keyring).unwrap();
    let text = Secret::read_regular_file(&file, 10_000).unwrap().unwrap();
    assert_eq!(Receipt::find(&text), Some(later.clone()));
    assert_eq!(identity::parse(&text).unwrap()[0].id, identities[0].id);
    std::fs::write(&file, "no key").unwrap();
    assert!(later.renew(std::slice::from_ref(&file), &keyring).is_err());
    assert_eq!(Receipt::find(&identity::to_text(&identities)), None);
}
