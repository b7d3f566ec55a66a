//! Opening the second place of the decision log, which must not be in the home.
//!
//! A second log in the place of the database, a key or the anchor would destroy it, and
//! one beside them would be taken for what it is not. So whatever the settings name is
//! compared, before anything is written to it, with every file and directory of the
//! home: by device and inode, so that no spelling, link or mount hides it.

use std::collections::HashSet;
use std::fs::File;
use std::os::fd::AsFd as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use super::files::{FileId, id_of};
use super::sink::Sink;
use crate::error::Error;
use crate::home::Home;
use crate::home::settings::{DecisionLogSettings, InvalidSettings, SecondSink};

/// Links that are followed one after the other; the system follows as many.
const MAX_LINKS: usize = 40;

/// More files than any home has; looking through more would take too long.
const MAX_FILES: usize = 100_000;

/// Opens the second place, if the settings name one. What the system says to it is
/// inside: it matters only if that place is needed.
///
/// # Errors
///
/// [`Error::InvalidSettings`] if it is in the home; [`Error::Home`] if the home cannot
/// be looked through.
pub(super) fn open(
    home: &Home,
    settings: &DecisionLogSettings,
) -> Result<Option<std::io::Result<Sink>>, Error> {
    let opened = match &settings.also_to {
        None => return Ok(None),
        Some(SecondSink::Syslog) => return Ok(Some(Sink::syslog())),
        Some(SecondSink::Stdout) => {
            let stdout = std::io::stdout();
            let stdout = stdout.as_fd().try_clone_to_owned().map(File::from);
            let own = own_files(home)?;
            // One that is closed says so when it is written to.
            match stdout.and_then(|stdout| stdout.metadata()) {
                Ok(metadata) if own.contains(&id_of(&metadata)) => {
                    return Err(inside(home, "the standard output"));
                }
                _ => Ok(Sink::Stdout),
            }
        }
        Some(SecondSink::File(path)) => {
            let own = own_files(home)?;
            let is_own = |metadata: &std::fs::Metadata| own.contains(&id_of(metadata));
            match open_file(path, is_own) {
                Ok(Place::Outside(file)) => sink_of(path, file),
                Ok(Place::Inside) => return Err(inside(home, &path.display().to_string())),
                Err(error) => Err(error),
            }
        }
    };
    Ok(Some(opened))
}

fn inside(home: &Home, place: &str) -> Error {
    let problem = format!(
        "decision-log.also-to is {place}, which is in the home {}: the second log must be outside of it",
        home.folder().display()
    );
    let file = home.settings_file();
    InvalidSettings { file, problem }.into()
}

enum Place {
    Outside(File),
    Inside,
}

/// Opens a file, a named pipe or a device for appending; makes the file if it is not
/// there and its directory is none of the home's.
fn open_file(path: &Path, is_own: impl Fn(&std::fs::Metadata) -> bool) -> std::io::Result<Place> {
    // Not even opened: a file of the database that is closed again takes the locks with
    // it that this process has on it.
    if path.metadata().is_ok_and(|metadata| is_own(&metadata)) {
        return Ok(Place::Inside);
    }
    let nonblocking = OFlags::NONBLOCK | OFlags::NOCTTY;
    let opened = File::options()
        .append(true)
        .custom_flags(nonblocking.bits().cast_signed())
        .open(path);
    let file = match opened {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let place = end_of_links(path)?;
            let directory = place.parent().unwrap_or(Path::new("/"));
            if is_own(&directory.metadata()?) {
                return Ok(Place::Inside);
            }
            File::options()
                .append(true)
                .create_new(true)
                .mode(0o600)
                .open(&place)?
        }
        opened => opened?,
    };
    Ok(match is_own(&file.metadata()?) {
        true => Place::Inside,
        false => Place::Outside(file),
    })
}

/// Where a file would be made: the last of a row of links leads to it.
fn end_of_links(path: &Path) -> std::io::Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..MAX_LINKS {
        let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
            break;
        };
        let directory = directory.canonicalize()?;
        let place = directory.join(name);
        match std::fs::read_link(&place) {
            Ok(target) => path = directory.join(target),
            Err(_) => return Ok(place),
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

/// Every file and directory of a home, and what links in it lead to.
fn own_files(home: &Home) -> Result<HashSet<FileId>, Error> {
    let mut found = HashSet::new();
    // These may lie elsewhere.
    let parts = [
        home.folder().to_owned(),
        home.keys_folder(),
        home.folder().join("cache"),
    ];
    for part in parts {
        walk(part, &mut found).map_err(|error| {
            Error::Home(format!(
                "{}, which may not hold the second log: {error}",
                home.folder().display()
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
            found.insert(id_of(&metadata));
            std::fs::read_dir(&directory)
        }) {
            // It was removed meanwhile, or never made.
            Err(error) if gone(&error) => continue,
            entries => entries?,
        };
        for entry in entries {
            let path = entry?.path();
            let (own, target) = (path.symlink_metadata(), path.metadata());
            for metadata in [own, target] {
                match metadata {
                    // A device that a link leads to is nobody's.
                    Ok(metadata) if metadata.is_file() || metadata.is_dir() => {
                        found.insert(id_of(&metadata));
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

    fn home() -> (tempfile::TempDir, Home) {
        let folder = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let path = folder.path().join("home");
        let home = runtime.block_on(Home::create(&path, None)).unwrap();
        (folder, home)
    }

    fn opened(home: &Home, path: &Path) -> Result<Option<std::io::Result<Sink>>, Error> {
        let settings = DecisionLogSettings {
            also_to: Some(SecondSink::File(path.to_owned())),
            ..DecisionLogSettings::default()
        };
        open(home, &settings)
    }

    #[track_caller]
    fn refused(home: &Home, path: &Path) {
        let error = opened(home, path).unwrap_err();
        assert!(
            matches!(&error, Error::InvalidSettings(_))
                && error.to_string().contains("must be outside of it"),
            "{}: {error}",
            path.display()
        );
    }

    #[test]
    fn a_second_log_in_the_home_is_refused_before_anything_is_written() {
        let (folder, home) = home();
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
            refused(&home, &home.folder().join(name));
            assert!(!home.folder().join("another").exists(), "{name}");
        }
        // Links to it, whole and dangling, hard links, and a way through a link.
        let link = folder.path().join("link");
        for target in ["entail.db", "keys/signer.pem", "another", "keys"] {
            symlink(home.folder().join(target), &link).unwrap();
            refused(&home, &link);
            std::fs::remove_file(&link).unwrap();
        }
        symlink(home.folder(), &link).unwrap();
        refused(&home, &link.join("entail.db"));
        refused(&home, &link.join("another"));
        let second_link = folder.path().join("second-link");
        symlink(&link, &second_link).unwrap();
        refused(&home, &second_link.join("keys/another"));
        for target in ["entail.db", "keys/identity.txt", "anchor.json"] {
            let hard = folder.path().join("hard");
            std::fs::hard_link(home.folder().join(target), &hard).unwrap();
            refused(&home, &hard);
            std::fs::remove_file(&hard).unwrap();
        }
        assert_eq!(std::fs::read(home.database_file()).unwrap(), before);
    }

    #[test]
    fn what_the_home_keeps_elsewhere_is_in_the_home_too() {
        let (folder, home) = home();
        let elsewhere = folder.path().join("keys-elsewhere");
        std::fs::rename(home.keys_folder(), &elsewhere).unwrap();
        symlink(&elsewhere, home.keys_folder()).unwrap();
        refused(&home, &elsewhere.join("signer.pem"));
        refused(&home, &elsewhere.join("another"));
        let providers = folder.path().join("providers");
        std::fs::write(&providers, "").unwrap();
        symlink(&providers, home.providers_file()).unwrap();
        refused(&home, &providers);
    }

    #[test]
    fn a_second_log_beside_the_home_is_taken() {
        let (folder, home) = home();
        for name in ["log.jsonl", "home-2.jsonl", "home/../third.jsonl"] {
            let place = opened(&home, &folder.path().join(name)).unwrap();
            assert!(matches!(place, Some(Ok(Sink::File(_)))), "{name}");
        }
        let link = folder.path().join("link");
        symlink("made-through-a-link", &link).unwrap();
        let place = opened(&home, &link).unwrap();
        assert!(matches!(place, Some(Ok(Sink::File(_)))));
        assert!(folder.path().join("made-through-a-link").exists());
        let device = opened(&home, Path::new("/dev/null")).unwrap();
        assert!(matches!(device, Some(Ok(Sink::Special(_)))));
        let nowhere = opened(&home, &folder.path().join("no/such/place")).unwrap();
        assert!(matches!(nowhere, Some(Err(_))));
    }
}
