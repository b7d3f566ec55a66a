//! The ids of principals, for who writes records.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use entail_store::RandomId;

use super::file::{MappingFile, OpenMapping, Stamp};
use crate::audit::sync::{GroupSync, Ticket};
use crate::blocking::run_on_thread;
use crate::error::Error;
use crate::home::Home;
use crate::principal::Principal;

/// Finds and adds the ids of principals. What the file contains is cached: a principal that
/// this process knows costs one `stat` of the file, which shows whether another process
/// changed it.
pub(in crate::audit) struct PrincipalIds {
    mapping: MappingFile,
    /// `None` if the settings turn syncs off.
    sync: Option<GroupSync>,
    known: Mutex<Known>,
    /// Held while this process reads or changes the file.
    reading: Mutex<()>,
}

/// What the file contained when it was read or changed last.
#[derive(Default)]
struct Known {
    /// `None` if it was not read.
    stamp: Option<Stamp>,
    ids: HashMap<Principal, KnownId>,
}

/// The id of a principal.
#[derive(Clone, Copy)]
struct KnownId {
    id: RandomId,
    /// The ticket of its line; `None` if it need not be synced.
    ticket: Option<Ticket>,
}

impl PrincipalIds {
    pub(in crate::audit) fn of(home: &Home, is_synced: bool) -> Self {
        let mapping = MappingFile::of(home);
        PrincipalIds {
            sync: is_synced.then(|| GroupSync::of(mapping.path())),
            mapping,
            known: Mutex::default(),
            reading: Mutex::default(),
        }
    }

    /// The id of a principal in the log. When this returns, the file says who it is, also
    /// after a power cut if the settings turn syncs on.
    ///
    /// # Errors
    ///
    /// [`Error::NotRecorded`] if the file cannot be read or written.
    pub(in crate::audit) async fn id_of(
        self: &Arc<Self>,
        principal: &Principal,
    ) -> Result<RandomId, Error> {
        let known = if let Some(known) = self.cached(principal) {
            known
        } else {
            let (ids, principal) = (Arc::clone(self), principal.clone());
            let find = move || ids.find_or_add(&principal);
            let found = run_on_thread("entail-principals", find).await?;
            found.map_err(|error| self.failed(error))?
        };
        if let (Some(sync), Some(ticket)) = (&self.sync, known.ticket)
            && let Err(error) = sync.wait(ticket, ticket).await
        {
            // It can be tried again.
            *self.known() = Known::default();
            return Err(self.failed(error));
        }
        Ok(known.id)
    }

    /// As [`PrincipalIds::id_of`], and always synced. Blocks on the disk.
    pub(in crate::audit) fn synced_id_of(
        &self,
        principal: &Principal,
    ) -> std::io::Result<RandomId> {
        let found = self.find_or_add(principal)?;
        self.mapping.sync()?;
        Ok(found.id)
    }

    /// The id that this process knows, unless the file was changed since it was read.
    fn cached(&self, principal: &Principal) -> Option<KnownId> {
        let stamp = self.mapping.stamp()?;
        let known = self.known();
        let is_current = known.stamp == Some(stamp);
        is_current.then(|| known.ids.get(principal).copied())?
    }

    /// Finds the id in the file; adds a line if it has none.
    fn find_or_add(&self, principal: &Principal) -> std::io::Result<KnownId> {
        let _reading = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        // Without the lock first: then a file that cannot be written suffices.
        if let Some(open) = self.mapping.open()?
            && let Some(found) = self.find(&open, principal)?
        {
            return Ok(found);
        }
        let locked = self.mapping.lock()?;
        if let Some(found) = self.find(&locked.open, principal)? {
            return Ok(found);
        }
        let id = RandomId::generate()?;
        locked.add(id, principal)?;
        let stamp = locked.open.stamp()?;
        let added = KnownId {
            id,
            ticket: self.ticket(&locked.open),
        };
        let mut known = self.known();
        known.stamp = Some(stamp);
        known.ids.insert(principal.clone(), added);
        Ok(added)
    }

    /// Finds the id in the open file, which is read if it was changed.
    fn find(&self, open: &OpenMapping, principal: &Principal) -> std::io::Result<Option<KnownId>> {
        // Before it is read: then a later change is noticed.
        let stamp = open.stamp()?;
        if self.known().stamp != Some(stamp) {
            let mut ids = HashMap::new();
            let principals = open.principals()?;
            // Another process may not have synced its lines.
            let ticket = (!stamp.is_durable()).then(|| self.ticket(open)).flatten();
            for (id, principal) in principals {
                // Of two ids, every process uses the first.
                ids.entry(principal).or_insert(KnownId { id, ticket });
            }
            *self.known() = Known {
                stamp: Some(stamp),
                ids,
            };
        }
        Ok(self.known().ids.get(principal).copied())
    }

    /// A ticket for everything in the file.
    fn ticket(&self, open: &OpenMapping) -> Option<Ticket> {
        let sync = self.sync.as_ref()?;
        Some(sync.wrote(open.file(), None))
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // A panic cannot leave it inconsistent.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failed(&self, error: std::io::Error) -> Error {
        let path: &Path = self.mapping.path();
        Error::NotRecorded {
            file: path.to_owned(),
            error,
        }
    }
}

impl std::fmt::Debug for PrincipalIds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PrincipalIds")
            .field("mapping", &self.mapping)
            .finish_non_exhaustive()
    }
}
