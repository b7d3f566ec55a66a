//! Tests of recovery keys and their shares.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use super::create::RecoveryFiles;
use super::error::ShareError;
use super::given::RecoveryKey;
use super::receipt::Receipt;
use super::share::{self, Share, Split};
use crate::digest::Digest;
use crate::journal::position::JournalPosition;
use crate::keys::error::KeyError;
use crate::keys::identity::{self, Identity};
use crate::keys::{Keys, source::IdentitySource};
use crate::secret::Secret;

fn shares_of(identity: &Identity, shares: u8, threshold: u8) -> Vec<Share> {
    share::split(identity, Split::new(shares, threshold).unwrap()).unwrap()
}

fn copy(share: &Share) -> Share {
    Share::parse(share.to_text().expose_text().unwrap()).unwrap()
}

/// The subsets of `0..count`, as lists.
fn subsets(count: usize) -> impl Iterator<Item = Vec<usize>> {
    (0..1_usize << count).map(move |bits| (0..count).filter(|at| bits >> at & 1 == 1).collect())
}

fn files_of(shares: &[Share]) -> Vec<(PathBuf, Secret)> {
    let file = |share: &Share| PathBuf::from(format!("share.{}", share.number));
    let files = shares.iter().map(|share| (file(share), share.to_text()));
    files.collect()
}

fn refused(files: &[(PathBuf, Secret)]) -> ShareError {
    match RecoveryKey::from_texts(files) {
        Ok(_) => panic!("the shares were combined"),
        Err(error) => error,
    }
}

fn receipt() -> Receipt {
    Receipt {
        store: "000102030405060708090a0b0c0d0e0f".parse().unwrap(),
        owners: Vec::new(),
        required: 1,
        position: JournalPosition {
            revision: 7,
            checkpoint: Some(Digest::of(b"7")),
        },
    }
}

#[test]
fn each_subset_of_at_least_the_threshold_gives_the_key() {
    let identity = Identity::generate();
    for (count, threshold) in [(2, 2), (3, 2), (5, 3), (6, 6)] {
        let shares = shares_of(&identity, count, threshold);
        let numbers: Vec<u8> = shares.iter().map(|share| share.number).collect();
        assert_eq!(numbers, (1..=count).collect::<Vec<_>>());
        for subset in subsets(count.into()) {
            let mut chosen: Vec<Share> = subset.iter().map(|at| copy(&shares[*at])).collect();
            chosen.reverse();
            let is_enough = chosen.len() >= threshold.into();
            let combined = share::combine(&chosen);
            let is_key = combined.is_some_and(|combined| combined.id == identity.id);
            assert_eq!(is_key, is_enough, "{subset:?}, {threshold} of {count}");
        }
    }
    let largest = shares_of(&identity, 16, 16);
    assert!(share::combine(&largest).is_some());
}

#[test]
fn fewer_shares_than_the_threshold_fit_every_key() {
    // For each value of the missing share there is a key, so the others exclude none.
    let identity = Identity::generate();
    let shares = shares_of(&identity, 3, 3);
    let mut found = std::collections::BTreeSet::new();
    for byte in 0..=255 {
        let mut values = shares[2].value.expose().to_vec();
        values[0] = byte;
        let mut other = copy(&shares[2]);
        other.value = Secret::new(&values);
        let key = share::interpolate(&[copy(&shares[0]), copy(&shares[1]), other]).unwrap();
        found.insert(key[0]);
    }
    assert_eq!(found.len(), 256);
}

#[test]
fn every_coefficient_occurs() {
    // With two shares, the slope is the coefficient: a byte that is never drawn excludes a key.
    let identity = Identity::generate();
    let key = identity.to_bytes().unwrap();
    let mut slopes = [false; 256];
    for _ in 0..300 {
        let shares = shares_of(&identity, 2, 2);
        for (value, byte) in shares[0].value.expose().iter().zip(key.expose()) {
            slopes[usize::from(value ^ byte)] = true;
        }
    }
    assert!(slopes.iter().all(|drawn| *drawn));
}

/// Three of five shares of [`KEY`], which tests/foreign/combine.py wrote.
const FOREIGN: [&str; 3] = [
    "ENTAIL-SHARE-1QYPS2MG4975UQYG9HWF6AP0GHAE8Z8XTT4MYKNR3S2LJX834Z4PZ7T8PXEDHQND33N07Y5HWZY2",
    "ENTAIL-SHARE-1QYPSYMG4975UQYG9H0FUF30JL7YFNT5T037K536SYYMXXAR4NX228VK9URTADSFV8V9P6PW5AN9",
    "ENTAIL-SHARE-1QYPSXMG4975UQYG9HVKNYDCCR9TYKEZ9ET8APC07KWK0MCH870EDMSY046QCFXC2Z5UZWHWUENK",
];

/// The identity of the bytes 0 to 31.
const KEY: &str = "AGE-SECRET-KEY-1QQQSYQCYQ5RQWZQFPG9SCRGWPUGPZYSNZS23V9CCRYDPK8QARC0SWRYDWG";

#[test]
fn shares_of_another_implementation_give_the_key() {
    let shares = FOREIGN.map(|text| Share::parse(text).unwrap());
    assert_eq!(shares.each_ref().map(|share| share.number), [5, 2, 3]);
    let identity = share::combine(&shares).unwrap();
    let text = identity::to_text([&identity]);
    assert!(text.expose_text().unwrap().ends_with(&format!("{KEY}\n")));
    assert!(
        identity
            .to_bytes()
            .unwrap()
            .expose()
            .iter()
            .copied()
            .eq(0..32)
    );
}

#[test]
fn every_changed_byte_of_a_share_is_noticed() {
    let identity = Identity::generate();
    let shares = shares_of(&identity, 3, 2);
    let text = shares[0].to_text();
    for position in 0..text.len() {
        for bit in 0..8 {
            let mut changed = text.expose().to_vec();
            changed[position] ^= 1 << bit;
            let mut files = files_of(&shares[..2]);
            files[0].1 = Secret::new(&changed);
            assert!(
                matches!(
                    refused(&files),
                    ShareError::Damaged(_) | ShareError::NotAShare(_) | ShareError::NotOne(_)
                ),
                "byte {position}, bit {bit}"
            );
        }
    }
    for shorter in 0..text.len() {
        assert!(Share::parse(&text.expose_text().unwrap()[..shorter]).is_err());
    }
}

#[test]
fn shares_that_do_not_belong_together_are_refused() {
    let one = shares_of(&Identity::generate(), 3, 2);
    let two = shares_of(&Identity::generate(), 3, 2);
    let with = |chosen: &[&Share]| {
        let chosen: Vec<Share> = chosen.iter().map(|share| copy(share)).collect();
        refused(&files_of(&chosen))
    };
    let message = with(&[&one[0]]).to_string();
    assert!(
        message.contains("needs 2 of its shares, and 1 is"),
        "{message}"
    );
    assert!(matches!(
        with(&[&one[0], &two[1]]),
        ShareError::Mixed { .. }
    ));
    assert!(matches!(
        with(&[&one[0], &one[1], &one[0]]),
        ShareError::Doubled { number: 1, .. }
    ));
    // Made up, with a valid checksum.
    let mut forged = copy(&one[1]);
    forged.value = Secret::new(&[0; 32]);
    assert!(matches!(with(&[&one[0], &forged]), ShareError::NotGenuine));
    assert!(matches!(
        with(&[&one[0], &one[2], &forged]),
        ShareError::NotGenuine
    ));
    let mut other_threshold = copy(&one[1]);
    other_threshold.threshold = 3;
    assert!(matches!(
        with(&[&one[0], &other_threshold]),
        ShareError::Mixed { .. }
    ));
}

#[test]
fn a_text_that_is_not_one_share_is_refused() {
    let identity = Identity::generate();
    let shares = shares_of(&identity, 2, 2);
    let text = |share: &Share| share.to_text().expose_text().unwrap().to_owned();
    let (first, second) = (text(&shares[0]), text(&shares[1]));
    let refused = |texts: &[&str]| {
        let files = texts
            .iter()
            .map(|text| (PathBuf::from("f"), Secret::from(*text)));
        refused(&files.collect::<Vec<_>>())
    };
    let both = format!("{first}\n{second}\n");
    assert!(matches!(refused(&[&both]), ShareError::NotOne(_)));
    let whole = identity::to_text([&identity]);
    let whole = whole.expose_text().unwrap();
    assert!(matches!(refused(&[&first, whole]), ShareError::WholeKey(_)));
    assert!(matches!(refused(&[whole, whole]), ShareError::WholeKey(_)));
    assert!(matches!(
        refused(&[&first, "hello"]),
        ShareError::NotAShare(_)
    ));
    let other = format!(
        "# public key: {}\n{second}",
        Identity::generate().recipient()
    );
    let error = refused(&[&first, &other]);
    assert!(matches!(error, ShareError::ForeignPublicKey(_)), "{error}");
    let prefix = bech32::Hrp::parse_unchecked("entail-share-");
    let newer = crate::keys::encoding::encode(prefix, &[2; 50]);
    let newer = newer.expose_text().unwrap();
    assert!(matches!(refused(&[&first, newer]), ShareError::Newer(_)));
    // One with a threshold of 1, one with the number 0, one that is too long.
    for header in [&[1, 1, 1][..], &[1, 2, 0], &[1, 2, 1, 0], &[1, 17, 1]] {
        let bytes = [header, &[0; 40]].concat();
        let text = crate::keys::encoding::encode(prefix, &bytes);
        assert!(
            Share::parse(text.expose_text().unwrap()).is_err(),
            "{header:?}"
        );
    }
    // As somebody may type it.
    let typed = format!("\u{feff}\r\n  {}  \r\n", second.to_lowercase());
    let files = [first.as_str(), &typed].map(|text| (PathBuf::from("f"), Secret::from(text)));
    let given = RecoveryKey::from_texts(&files).ok().unwrap();
    assert_eq!(given.identity.expose_text(), Some(whole));
}

#[test]
fn a_split_has_limits() {
    for (shares, threshold) in [(2, 2), (16, 2), (16, 16)] {
        assert!(Split::new(shares, threshold).is_ok());
    }
    for (shares, threshold) in [(1, 1), (2, 1), (2, 3), (17, 2), (0, 0), (255, 255)] {
        assert!(matches!(
            Split::new(shares, threshold),
            Err(ShareError::InvalidSplit)
        ));
    }
}

#[test]
fn shares_are_written_to_private_files_or_none_is() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("recovery.txt");
    let split = Split::new(3, 2).unwrap();
    let recovery = RecoveryFiles::new(&file, Some(split));
    let files = recovery.files();
    std::fs::write(&files[2], "mine").unwrap();
    let create = || recovery.prepare(&receipt(), "recovery", 5);
    assert!(matches!(create(), Err(KeyError::File { .. })));
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    assert_eq!(std::fs::read(&files[2]).unwrap(), b"mine");

    std::fs::remove_file(&files[2]).unwrap();
    let recipient = create().unwrap().recipient;
    assert!(!file.exists() && files.iter().all(|file| !file.exists()));
    recovery.finish().unwrap();
    let texts: Vec<_> = files
        .iter()
        .map(|file| {
            let mode = file.metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o7777, 0o600);
            let text = std::fs::read_to_string(file).unwrap();
            assert!(!text.contains("AGE-SECRET-KEY"));
            (file.clone(), Secret::from(text))
        })
        .collect();
    let given = RecoveryKey::from_texts(&texts[1..]).ok().unwrap();
    let identities = identity::parse(&given.identity).unwrap();
    assert_eq!(identities[0].recipient(), recipient.key);
    assert_eq!(given.receipts, [receipt(), receipt()]);
}

#[test]
fn an_interrupted_creation_continues_with_the_same_key() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("recovery.txt");
    for split in [None, Some(Split::new(3, 2).unwrap())] {
        let recovery = RecoveryFiles::new(&file, split);
        let prepare = || recovery.prepare(&receipt(), "recovery", 5).unwrap();
        let first = prepare();
        assert!(!first.resumed);
        let key = first.recipient.key;
        let again = prepare();
        assert!(again.resumed);
        assert_eq!(again.recipient.key, key);
        let pending = |at: usize| {
            let mut name = recovery.files()[at].as_os_str().to_owned();
            name.push(".pending");
            PathBuf::from(name)
        };
        // The process ended after it had named the first file.
        if split.is_some() {
            std::fs::rename(pending(0), &recovery.files()[0]).unwrap();
            assert_eq!(prepare().recipient.key, key);
        }
        recovery.finish().unwrap();
        assert!(recovery.files().iter().all(|file| file.exists()));
        assert!(!pending(0).exists());
        // A finished key is not overwritten.
        let refused = recovery.prepare(&receipt(), "recovery", 5);
        assert!(matches!(refused, Err(KeyError::File { .. })));
        recovery
            .files()
            .iter()
            .for_each(|file| std::fs::remove_file(file).unwrap());

        // The process ended while it wrote the files: nothing is sealed to that key.
        if split.is_some() {
            prepare();
            std::fs::remove_file(pending(2)).unwrap();
            assert!(!prepare().resumed);
        }
        // Another number of shares is another key.
        prepare();
        let other = RecoveryFiles::new(&file, Some(Split::new(3, 3).unwrap()));
        if split.is_some() {
            let refused = other.prepare(&receipt(), "recovery", 5);
            assert!(matches!(refused, Err(KeyError::Malformed { .. })));
        }
        let other = RecoveryFiles::new(&file, Some(Split::new(5, 2).unwrap()));
        let refused = other.prepare(&receipt(), "recovery", 5);
        assert!(matches!(refused, Err(KeyError::Malformed { .. })));
        // What others can read, or is of another store, is nobody's interrupted run.
        let private = pending(0).metadata().unwrap().permissions();
        let open = std::fs::Permissions::from_mode(0o644);
        std::fs::set_permissions(pending(0), open).unwrap();
        let refused = recovery.prepare(&receipt(), "recovery", 5);
        assert!(matches!(refused, Err(KeyError::TooOpen { .. })));
        std::fs::set_permissions(pending(0), private).unwrap();
        let of_another = Receipt {
            store: "0f0e0d0c0b0a09080706050403020100".parse().unwrap(),
            ..receipt()
        };
        let refused = recovery.prepare(&of_another, "recovery", 5);
        assert!(matches!(refused, Err(KeyError::Malformed { .. })));
        recovery.discard();
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}

#[test]
fn a_share_is_no_identity() {
    let home = tempfile::tempdir().unwrap();
    let directory = home.path().join("keys");
    Keys::create(&directory, None, "test", 0).unwrap();
    let shares = shares_of(&Identity::generate(), 2, 2);
    let source = IdentitySource::Given(shares[0].to_text());
    let error = Keys::open_with(&directory, source).unwrap_err();
    assert!(error.to_string().contains("opens nothing"), "{error}");
}

#[test]
fn no_message_has_a_part_of_a_share() {
    let shares = shares_of(&Identity::generate(), 3, 3);
    let mut files = files_of(&shares);
    files.truncate(2);
    let text = files[0].1.expose_text().unwrap().to_owned();
    let mut errors = vec![refused(&files)];
    for (at, replacement) in [(20, "Q"), (60, "QQ"), (88, "")] {
        let mut damaged = text.clone();
        damaged.replace_range(at..=at, replacement);
        files[0].1 = Secret::from(damaged);
        errors.push(refused(&files));
    }
    for error in errors {
        let shown = format!("{error} {error:?}");
        for part in text.as_bytes().windows(8).skip("ENTAIL-SHARE-1".len()) {
            assert!(
                !shown.contains(std::str::from_utf8(part).unwrap()),
                "{shown}"
            );
        }
    }
}
