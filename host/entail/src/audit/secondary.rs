//! Opening the secondary sink of the decision log, which must be outside the home.
//!
//! A log written over the database, a key or the anchor would destroy it, and one beside
//! them could be mistaken for another file of the home. So before anything is written, the
//! configured file is compared with every file and directory of the home by device and
//! inode, which sees through spellings, links and mounts.

use std::collections::HashSet;
use std::fs::File;
use std::os::fd::AsFd as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use super::files::{FileId, file_id};
use super::sink::Sink;
use crate::error::Error;
use crate::home::Home;
use crate::home::settings::{DecisionLogSettings, InvalidSettings, SecondarySink};

/// The most symbolic links that are followed in a row, as in the kernel.
const MAX_LINKS: usize = 40;

/// More files than any home has; listing more would take too long.
const MAX_FILES: usize = 100_000;

/// Opens the secondary sink, if the settings name one. The inner result is an error if it
/// cannot be opened, which matters only if the settings require it.
///
/// # Errors
///
/// [`Error::InvalidSettings`] if the sink is in the home; [`Error::Home`] if the files of the
/// home cannot be listed.
pub(super) fn open(
    home: &Home,
    settings: &DecisionLogSettings,
) -> Result<Option<std::io::Result<Sink>>, Error> {
    let opened = match &settings.secondary {
        None => return Ok(None),
        Some(SecondarySink::Syslog) => return Ok(Some(Sink::syslog())),
        Some(SecondarySink::Stdout) => {
            let stdout = std::io::stdout();
            let stdout = stdout.as_fd().try_clone_to_owned().map(File::from);
            let own = own_files(home)?;
            // A closed one fails when it is written to.
            match stdout.and_then(|stdout| stdout.metadata()) {
                Ok(metadata) if own.contains(&file_id(&metadata)) => {
                    return Err(inside(home, "the standard output"));
                }
                _ => Ok(Sink::Stdout),
            }
        }
        Some(SecondarySink::File(path)) => {
            let own = own_files(home)?;
            let is_own = |metadata: &std::fs::Metadata| own.contains(&file_id(metadata));
            match open_file(path, is_own) {
                Ok(Location::Outside(file)) => sink_of(path, file),
                Ok(Location::Inside) => return Err(inside(home, &path.display().to_string())),
                Err(error) => Err(error),
            }
        }
    };
    Ok(Some(opened))
}

fn inside(home: &Home, place: &str) -> Error {
    let problem = format!(
        "decision-log.secondary is {place}, which is in the home {}: the secondary log must be outside of it",
        home.directory().display()
    );
    let file = home.settings_file();
    InvalidSettings { file, problem }.into()
}

enum Location {
    Outside(File),
    Inside,
}

/// Opens a file, a named pipe or a device for appending. Creates a missing file, unless its
/// directory is in the home.
fn open_file(
    path: &Path,
    is_own: impl Fn(&std::fs::Metadata) -> bool,
) -> std::io::Result<Location> {
    // Do not even open it: closing a file of the database would release this process's
    // locks on it.
    if path.metadata().is_ok_and(|metadata| is_own(&metadata)) {
        return Ok(Location::Inside);
    }
    let nonblocking = OFlags::NONBLOCK | OFlags::NOCTTY;
    let opened = File::options()
        .append(true)
        .custom_flags(nonblocking.bits().cast_signed())
        .open(path);
    let file = match opened {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let target = resolve_links(path)?;
            let directory = target.parent().unwrap_or(Path::new("/"));
            if is_own(&directory.metadata()?) {
                return Ok(Location::Inside);
            }
            File::options()
                .append(true)
                .create_new(true)
                .mode(0o600)
                .open(&target)?
        }
        opened => opened?,
    };
    if is_own(&file.metadata()?) {
        return Ok(Location::Inside);
    }
    Ok(Location::Outside(file))
}

/// Where a file would be created: follows symbolic links to the last one.
fn resolve_links(path: &Path) -> std::io::Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..MAX_LINKS {
        let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
            break;
        };
        let directory = directory.canonicalize()?;
        let file = directory.join(name);
        match std::fs::read_link(&file) {
            Ok(target) => path = directory.join(target),
            Err(_) => return Ok(file),
        }
    }
    Err(std::io::Error::other("it is not the name of a file"))
}

fn sink_of(path: &Path, file: File) -> std::io::Result<Sink> {
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Ok(Sink::Special(file));
    }
    if metadata.mode() & 0o077 != 0 {
        let shown = path.display();
        return Err(std::io::Error::other(format!(
            "others can use it; run: chmod 600 {shown}"
        )));
    }
    Ok(Sink::File(file))
}

/// Every file and directory of a home, and the targets of its links.
fn own_files(home: &Home) -> Result<HashSet<FileId>, Error> {
    let mut found = HashSet::new();
    // The last two may be links to other places.
    let parts = [
        home.directory().to_owned(),
        home.keys_directory(),
        home.directory().join("cache"),
    ];
    for part in parts {
        walk(part, &mut found).map_err(|error| {
            Error::Home(format!(
                "{}, which must not contain the secondary log: {error}",
                home.directory().display()
            ))
        })?;
    }
    Ok(found)
}

fn walk(from: PathBuf, found: &mut HashSet<FileId>) -> std::io::Result<()> {
    let gone = |error: &std::io::Error| error.kind() == std::io::ErrorKind::NotFound;
    let mut directories = vec![from];
    while let Some(directory) = directories.pop() {
        let entries = match directory.metadata().and_then(|metadata| {
            found.insert(file_id(&metadata));
            std::fs::read_dir(&directory)
        }) {
            // It was removed meanwhile, or never created.
            Err(error) if gone(&error) => continue,
            entries => entries?,
        };
        for entry in entries {
            let path = entry?.path();
            let (own, target) = (path.symlink_metadata(), path.metadata());
            for metadata in [own, target] {
                match metadata {
                    // Devices do not belong to the home.
                    Ok(metadata) if metadata.is_file() || metadata.is_dir() => {
                        found.insert(file_id(&metadata));
                    }
                    Ok(_) => {}
                    Err(error) if gone(&error) => {}
                    Err(error) => return Err(error),
                }
            }
            if path.symlink_metadata().is_ok_and(|found| found.is_dir()) {
                directories.push(path);
            }
            if found.len() > MAX_FILES {
                return Err(std::io::Error::other("it has too many files"));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn create_home() -> (tempfile::TempDir, Home) {
        let directory = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let path = directory.path().join("home");
        let home = runtime.block_on(Home::create(&path, None)).unwrap();
        (directory, home)
    }

    fn try_open(home: &Home, path: &Path) -> Result<Option<std::io::Result<Sink>>, Error> {
        let settings = DecisionLogSettings {
            secondary: Some(SecondarySink::File(path.to_owned())),
            ..DecisionLogSettings::default()
        };
        open(home, &settings)
    }

    #[track_caller]
    fn assert_refused(home: &Home, path: &Path) {
        let error = try_open(home, path).unwrap_err();
        assert!(
            matches!(&error, Error::InvalidSettings(_))
                && error.to_string().contains("must be outside of it"),
            "{}: {error}",
            path.display()
        );
    }

    #[test]
    fn a_secondary_log_in_the_home_is_refused_before_anything_is_written() {
        let (directory, home) = create_home();
        let before = std::fs::read(home.database_file()).unwrap();
        for name in [
            "entail.db",
            "entail.db-wal",
            "entail.db-shm",
            "anchor.json",
            "decisions.jsonl",
            "decisions.head",
            "decisions.000001.jsonl",
            "settings.toml",
            "providers.toml",
            "keys/identity.txt",
            "keys/signer.pem",
            "keys/another",
            "cache",
            "another",
            "./keys/../entail.db",
            "keys/../../home/another",
        ] {
            assert_refused(&home, &home.directory().join(name));
            assert!(!home.directory().join("another").exists(), "{name}");
        }
        // Links into it, dangling links, hard links, and paths through links.
        let link = directory.path().join("link");
        for target in ["entail.db", "keys/signer.pem", "another", "keys"] {
            symlink(home.directory().join(target), &link).unwrap();
            assert_refused(&home, &link);
            std::fs::remove_file(&link).unwrap();
        }
        symlink(home.directory(), &link).unwrap();
        assert_refused(&home, &link.join("entail.db"));
        assert_refused(&home, &link.join("another"));
        let second_link = directory.path().join("second-link");
        symlink(&link, &second_link).unwrap();
        assert_refused(&home, &second_link.join("keys/another"));
        for target in ["entail.db", "keys/identity.txt", "anchor.json"] {
            let hard = directory.path().join("hard");
            std::fs::hard_link(home.directory().join(target), &hard).unwrap();
            assert_refused(&home, &hard);
            std::fs::remove_file(&hard).unwrap();
        }
        assert_eq!(std::fs::read(home.database_file()).unwrap(), before);
    }

    #[test]
    fn targets_of_links_in_the_home_count_as_in_the_home() {
        let (directory, home) = create_home();
        let elsewhere = directory.path().join("keys-elsewhere");
        std::fs::rename(home.keys_directory(), &elsewhere).unwrap();
        symlink(&elsewhere, home.keys_directory()).unwrap();
        assert_refused(&home, &elsewhere.join("signer.pem"));
        assert_refused(&home, &elsewhere.join("another"));
        let providers = directory.path().join("providers");
        std::fs::write(&providers, "").unwrap();
        symlink(&providers, home.providers_file()).unwrap();
        assert_refused(&home, &providers);
    }

    #[test]
    fn a_secondary_log_beside_the_home_is_accepted() {
        let (directory, home) = create_home();
        for name in ["log.jsonl", "home-2.jsonl", "home/../third.jsonl"] {
            let sink = try_open(&home, &directory.path().join(name)).unwrap();
            assert!(matches!(sink, Some(Ok(Sink::File(_)))), "{name}");
        }
        let link = directory.path().join("link");
        symlink("made-through-a-link", &link).unwrap();
        let sink = try_open(&home, &link).unwrap();
        assert!(matches!(sink, Some(Ok(Sink::File(_)))));
        assert!(directory.path().join("made-through-a-link").exists());
        let device = try_open(&home, Path::new("/dev/null")).unwrap();
        assert!(matches!(device, Some(Ok(Sink::Special(_)))));
        let nowhere = try_open(&home, &directory.path().join("no/such/place")).unwrap();
        assert!(matches!(nowhere, Some(Err(_))));
    }
}
