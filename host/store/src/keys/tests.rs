//! Tests of the keys of a machine.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use super::error::KeyError;
use super::names::{IDENTITY, SIGNER};
use super::*;

fn directory() -> (tempfile::TempDir, PathBuf) {
    let home = tempfile::tempdir().unwrap();
    let directory = home.path().join("keys");
    (home, directory)
}

fn context() -> SealContext {
    SealContext {
        scope: "acme".to_owned(),
        credential: "c1".to_owned(),
        version: 1,
        provider: "openai".to_owned(),
        hosts: Vec::new(),
        epoch: 1,
    }
}

fn sealed(keys: &Keys) -> Vec<u8> {
    let fields = vec![("api_key".to_owned(), Secret::from("canary-keys-1"))];
    let recipients = Recipients::first(keys.own_recipients("test", 0).unwrap());
    Keys::seal(&recipients, &context(), &fields).unwrap()
}

#[test]
fn created_keys_can_be_read() {
    let (_home, directory) = directory();
    let created = Keys::create(&directory, None).unwrap();
    let read = Keys::open(&directory).unwrap();
    assert!(read.identity_ids().eq(created.identity_ids()));
    assert_eq!(read.signer().unwrap().id(), created.verifiers()[0].id());
    assert!(read.unseal(&sealed(&created), &context()).unwrap().is_ok());
}

#[test]
fn a_private_key_that_other_users_can_read_is_refused() {
    for name in [IDENTITY, SIGNER] {
        let (_home, directory) = directory();
        Keys::create(&directory, None).unwrap();
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
    Keys::create(&directory, None).unwrap();
    std::fs::set_permissions(&directory, Permissions::from_mode(0o755)).unwrap();
    assert!(matches!(
        Keys::open(&directory),
        Err(KeyError::TooOpen { .. })
    ));
}

#[test]
fn a_passphrase_locks_and_unlocks_the_identity() {
    let (_home, directory) = directory();
    let created = Keys::create(&directory, Some(&Secret::from("canary-passphrase"))).unwrap();
    let mut read = Keys::open(&directory).unwrap();
    assert!(read.is_locked());
    assert!(matches!(
        read.unseal(&sealed(&created), &context()),
        Err(KeyError::Locked)
    ));
    assert!(matches!(
        read.unlock(&Secret::from("wrong")),
        Err(KeyError::WrongPassphrase)
    ));
    read.unlock(&Secret::from("canary-passphrase")).unwrap();
    assert!(read.unseal(&sealed(&created), &context()).unwrap().is_ok());
}

#[test]
fn a_machine_without_identity_cannot_unseal_and_without_signer_cannot_sign() {
    let (_home, directory) = directory();
    let all = Keys::create(&directory, None).unwrap();
    std::fs::remove_file(directory.join(IDENTITY)).unwrap();
    let writer = Keys::open(&directory).unwrap();
    assert!(writer.signer().is_ok());
    assert!(matches!(
        writer.unseal(&sealed(&all), &context()),
        Err(KeyError::NoIdentity)
    ));
    std::fs::remove_file(directory.join(SIGNER)).unwrap();
    assert!(matches!(
        Keys::open(&directory).unwrap().signer(),
        Err(KeyError::NoSigner)
    ));
}

#[test]
fn a_new_identity_comes_first_and_the_old_one_stays_until_it_is_removed() {
    for passphrase in [None, Some(Secret::from("canary-passphrase"))] {
        let (_home, directory) = directory();
        let mut keys = Keys::create(&directory, passphrase.as_ref()).unwrap();
        let before = sealed(&keys);
        keys.begin_new_identity(passphrase.as_ref()).unwrap();
        let mut read = Keys::open(&directory).unwrap();
        if let Some(passphrase) = &passphrase {
            read.unlock(passphrase).unwrap();
        }
        assert_eq!(read.identity_ids().count(), 2);
        assert!(read.unseal(&before, &context()).unwrap().is_ok());
        read.end_old_identities(passphrase.as_ref()).unwrap();
        assert_eq!(read.identity_ids().count(), 1);
        assert_eq!(read.identity_ids().next(), keys.identity_ids().next());
        assert!(matches!(
            read.unseal(&before, &context()),
            Ok(Err(SealError::NotForThisIdentity))
        ));
    }
}

#[test]
fn the_next_signer_signs_only_after_it_is_trusted() {
    let (_home, directory) = directory();
    let mut keys = Keys::create(&directory, None).unwrap();
    let old = keys.verifiers()[0].clone();
    let next = keys.begin_new_signer().unwrap();
    assert_eq!(keys.signer().unwrap().id(), old.id());
    // An interrupted rotation finds it again.
    let mut keys = Keys::open(&directory).unwrap();
    assert_eq!(keys.begin_new_signer().unwrap().id(), next.id());
    keys.set_verifiers(&[next.clone(), old]).unwrap();
    let mut keys = Keys::open(&directory).unwrap();
    assert_eq!(keys.signer().unwrap().id(), next.id());
    assert_eq!(keys.verifiers().len(), 2);
    keys.adopt_new_signer().unwrap();
    let keys = Keys::open(&directory).unwrap();
    assert_eq!(keys.signer().unwrap().id(), next.id());
    assert!(!keys.has_next_signer());
}
