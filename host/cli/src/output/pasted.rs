//! Arguments that may be keys in the wrong place: `entail restore sk-…`. No error repeats them.

use std::path::Path;

use entail_text::sanitize;

/// Shorter texts are names, not keys.
const MIN_BYTES: usize = 20;

/// From this length on, letters of one case and digits may be a key, too.
const LONG_BYTES: usize = 32;

/// How keys of the age tools begin.
const AGE_KEY: &str = "AGE-SECRET-KEY-";

/// How public keys and fingerprints begin. They may be shown.
const PUBLIC: [&str; 2] = ["age1", "ed25519:"];

/// The hexadecimal digits of a digest, which names a policy.
const DIGEST_DIGITS: usize = 64;

/// What is shown instead.
const HIDDEN: &str = "…";

/// The parts of arguments that may be keys, as messages contain them.
pub struct PastedKeys(Vec<String>);

impl PastedKeys {
    /// Those of the command line of this process.
    pub fn of_this_process() -> Self {
        let arguments = std::env::args_os().skip(1);
        Self::of(arguments.map(|argument| argument.to_string_lossy().into_owned()))
    }

    fn of(arguments: impl Iterator<Item = String>) -> Self {
        let mut found = Vec::new();
        for argument in arguments {
            // OPTION=VALUE, FIELD=FILE.
            let value = argument
                .rsplit_once('=')
                .map_or(&*argument, |(_, value)| value);
            for above in Path::new(value).ancestors() {
                let name = above.file_name().map(|name| name.to_string_lossy());
                if let Some(name) = name
                    && may_be_key(&name)
                    && above.symlink_metadata().is_err()
                {
                    found.push(sanitize(&name).into_owned());
                }
            }
        }
        PastedKeys(found)
    }

    /// The text without them.
    pub fn hide(&self, text: &str) -> String {
        let keys = self.0.iter();
        keys.fold(text.to_owned(), |text, key| text.replace(key, HIDDEN))
    }
}

/// Whether a name may be a key: it is long and random.
fn may_be_key(name: &str) -> bool {
    let has = |matches: fn(&u8) -> bool| name.as_bytes().iter().any(&matches);
    let is_digest =
        name.len() == DIGEST_DIGITS && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_digest || PUBLIC.iter().any(|public| name.starts_with(public)) {
        return false;
    }
    let is_random = name.len() >= MIN_BYTES
        && has(u8::is_ascii_digit)
        && has(u8::is_ascii_lowercase)
        && (has(u8::is_ascii_uppercase) || name.len() >= LONG_BYTES);
    is_random || name.contains(AGE_KEY)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hidden(arguments: &[&str], text: &str) -> String {
        let arguments = arguments.iter().map(|argument| (*argument).to_owned());
        PastedKeys::of(arguments).hide(text)
    }

    #[test]
    fn a_key_is_hidden_wherever_a_message_repeats_it() {
        for key in [
            "sk-ant-api03-abcdefghijklmnopqrstuvwxyz",
            "sk-proj-Abcdefghij0123456789",
            "AGE-SECRET-KEY-1QQQQQQQQ",
            "AIzaSyA0123456789abcdefghij",
        ] {
            let message = format!("/tmp/{key}/x.new: no such file; run: rm {key}");
            for argument in [
                key.to_owned(),
                format!("{key}/x"),
                format!("--recovery={key}"),
                format!("api_key={key}"),
                format!("missing/{key}"),
            ] {
                let text = hidden(&["restore", &argument], &message);
                assert_eq!(text, "/tmp/…/x.new: no such file; run: rm …");
            }
        }
    }

    #[test]
    fn names_public_keys_and_existing_files_are_shown() {
        let existing = tempfile::tempdir().unwrap();
        let existing = existing.path().join("Backup-2026-11-28-of-acme-at-night");
        std::fs::write(&existing, "").unwrap();
        for argument in [
            "acme/evals-of-2026/nightly-runs",
            "/backups/2026-11-28/acme-nightly.entail",
            "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p",
            "ed25519:Aa00000000000000000000000000000000000000000000000000000000000000",
            "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
            existing.to_str().unwrap(),
        ] {
            assert_eq!(hidden(&[argument], argument), argument);
        }
    }
}
