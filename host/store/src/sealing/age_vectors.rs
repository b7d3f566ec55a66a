//! Runs the test vectors of the age format, which are part of the source of the age
//! crate, through the functions that open sealed secrets and locked identities.

use std::path::PathBuf;
use std::process::Command;

use super::age_file::decrypt;
use super::context::MAX_SECRET_FILE_BYTES;
use crate::keys::identity;
use crate::secret::Secret;

/// A vector: lines of `name: value`, an empty line, and the age file.
struct Vector {
    name: String,
    header: Vec<(String, String)>,
    file: Vec<u8>,
}

impl Vector {
    fn read(path: &std::path::Path) -> Self {
        let bytes = std::fs::read(path).unwrap();
        let end = bytes
            .windows(2)
            .position(|pair| pair == b"\n\n")
            .expect("a vector has a header");
        let header = std::str::from_utf8(&bytes[..end])
            .unwrap()
            .lines()
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        Vector {
            name: path.file_name().unwrap().to_string_lossy().into_owned(),
            header,
            file: bytes[end + 2..].to_vec(),
        }
    }

    fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let fits = move |(known, _): &&(String, String)| known == name;
        self.header
            .iter()
            .filter(fits)
            .map(|(_, value)| value.as_str())
    }

    fn get<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        self.all(name).next()
    }

    /// Decrypts the file, if possible.
    fn open(&self) -> Option<Secret> {
        if let Some(passphrase) = self.get("passphrase") {
            let passphrase = Secret::from(passphrase);
            return identity::decrypt(&self.file, &passphrase).ok();
        }
        let keys: Vec<age::x25519::Identity> = self
            .all("identity")
            .map(|key| key.parse().unwrap())
            .collect();
        let keys = keys.iter().map(|key| key as &dyn age::Identity);
        decrypt(keys, &self.file, MAX_SECRET_FILE_BYTES).ok()
    }
}

/// The directory of the age crate's vectors.
fn vectors() -> PathBuf {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked"])
        .output()
        .unwrap();
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let package = metadata["packages"]
        .as_array()
        .unwrap()
        .iter()
        .find(|package| package["name"] == "age")
        .expect("age is a dependency");
    let manifest = PathBuf::from(package["manifest_path"].as_str().unwrap());
    manifest.with_file_name("tests/testdata/testkit")
}

#[test]
fn the_vectors_of_the_format_give_the_expected_results() {
    let mut opened = 0;
    let mut refused = 0;
    for entry in std::fs::read_dir(vectors()).unwrap() {
        let vector = Vector::read(&entry.unwrap().path());
        let name = &vector.name;
        if vector.get("compressed").is_some() {
            // They decompress to more than a sealed secret may have.
            continue;
        }
        let result = vector.open();
        // A store never writes armored files.
        let is_unsupported =
            vector.get("armored").is_some() || vector.file.len() > MAX_SECRET_FILE_BYTES;
        // The age crate still accepts files of early versions of the format.
        let is_legacy = ["stanza_missing_body", "stanza_missing_final_line"];
        match vector.get("expect") {
            Some("header failure") if is_legacy.contains(&name.as_str()) => {}
            Some("success") if !is_unsupported => {
                let plaintext = result.unwrap_or_else(|| panic!("{name} does not open"));
                let digest = crate::digest::Digest::of(plaintext.expose()).to_string();
                assert_eq!(Some(digest.as_str()), vector.get("payload"), "{name}");
                opened += 1;
            }
            _ => {
                assert!(result.is_none(), "{name} opens");
                refused += 1;
            }
        }
    }
    assert_eq!((opened, refused), (8, 93));
}
