//! The home that is tampered with.

use std::path::PathBuf;

use entail::{Change, Entail, Home, Principal};

use crate::torture::{add_scope, block_on, copy_directory, set_key, settings};

/// The number of projects, each with a separate secret.
pub(super) const PROJECTS: usize = 6;

/// The unmodified home.
pub(super) struct Original {
    directory: tempfile::TempDir,
    cache: tempfile::TempDir,
    /// Copies of the database, one after each change.
    pub(super) older: Vec<PathBuf>,
}

pub(super) fn project(number: usize) -> String {
    format!("acme/p{number}")
}

pub(super) fn secret(number: usize, round: usize) -> String {
    format!("canary-of-project-{number}-round-{round:03}")
}

fn set(number: usize, round: usize) -> Change {
    Change::SetCredential(Box::new(set_key(&project(number), secret(number, round))))
}

impl Original {
    /// Creates a home with more than `older` changes, and a copy after each.
    pub(super) fn create(older: usize) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut original = Original {
            directory,
            cache: tempfile::tempdir().unwrap(),
            older: Vec::new(),
        };
        block_on(original.fill(older));
        original
    }

    pub(super) fn home(&self) -> PathBuf {
        self.directory.path().join("home")
    }

    async fn fill(&mut self, older: usize) {
        let home = Home::create(&self.home(), None).await.unwrap();
        let entail = Entail::open(&home, settings(self.cache.path())).unwrap();
        let me = Principal::LocalOwner;
        add_scope(&entail, "acme").await;
        for number in 0..PROJECTS {
            add_scope(&entail, &project(number)).await;
        }
        let rounds = older.div_ceil(PROJECTS).max(2);
        for round in 0..rounds {
            for number in 0..PROJECTS {
                let set = set(number, round);
                entail.change(&me, &set).await.unwrap();
                if self.older.len() < older {
                    let copy = self
                        .directory
                        .path()
                        .join(format!("{}.db", self.older.len()));
                    entail.maintenance().backup(&me, &copy).await.unwrap();
                    self.older.push(copy);
                }
            }
        }
        // So that even the newest copy is outdated.
        entail.change(&me, &set(0, rounds)).await.unwrap();
        for number in 1..PROJECTS {
            entail.change(&me, &set(number, rounds)).await.unwrap();
        }
    }

    pub(super) fn rounds(&self) -> usize {
        self.older.len().div_ceil(PROJECTS).max(2)
    }

    /// Copies the home.
    pub(super) fn copy(&self) -> (tempfile::TempDir, Home) {
        let directory = tempfile::tempdir().unwrap();
        let home = directory.path().join("home");
        copy_directory(&self.home(), &home);
        (directory, Home::open(&home).unwrap())
    }

    pub(super) fn open(&self, home: &Home) -> Entail {
        Entail::open(home, settings(self.cache.path())).unwrap()
    }
}
