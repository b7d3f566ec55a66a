//! The names of ids, for who reads records.

use std::borrow::Cow;
use std::collections::HashMap;

use entail_store::RandomId;

use super::file::{MappingFile, Stamp};
use crate::home::Home;

/// What an id without a name is shown with. It is no kind of a principal.
const UNKNOWN: &str = "unknown";

/// Who the ids in a log are. A file that is missing or cannot be read names nobody.
#[derive(Clone, Debug)]
pub(crate) struct PrincipalNames {
    mapping: MappingFile,
    /// The state of the file when it was read.
    stamp: Option<Stamp>,
    names: HashMap<RandomId, String>,
}

impl PrincipalNames {
    pub(crate) fn read(home: &Home) -> Self {
        let mut names = PrincipalNames {
            mapping: MappingFile::of(home),
            stamp: None,
            names: HashMap::new(),
        };
        names.refresh();
        names
    }

    /// Reads the file again if it was changed.
    pub(crate) fn refresh(&mut self) {
        let stamp = self.mapping.stamp();
        if stamp == self.stamp {
            return;
        }
        self.stamp = stamp;
        let read = self.mapping.principals().unwrap_or_default();
        let names = read.into_iter().map(|(id, who)| (id, who.to_string()));
        self.names = names.collect();
    }

    /// The text of a recorded principal: its name, or `unknown:` and its id. What is not an id
    /// is returned as it is. Reads the file again if an id is new and the file was changed.
    pub(crate) fn shown<'a>(&'a mut self, recorded: &'a str) -> Cow<'a, str> {
        let Ok(id) = recorded.parse::<RandomId>() else {
            return Cow::Borrowed(recorded);
        };
        if !self.names.contains_key(&id) {
            self.refresh();
        }
        match self.names.get(&id) {
            Some(name) => Cow::Borrowed(name),
            None => Cow::Owned(format!("{UNKNOWN}:{id}")),
        }
    }
}
