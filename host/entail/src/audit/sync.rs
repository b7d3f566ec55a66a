//! Syncing a log to the disk in groups: requests that wait at the same time share one sync.
//!
//! Each line that is written gets a ticket. A request that needs its lines on the disk waits
//! for their tickets. The first that waits starts a thread, which syncs everything that was
//! written by then, and again while there are others that wait. So no thread of an async
//! runtime waits for a disk, and the number of syncs does not grow with that of requests.

use std::fs::File;
use std::io::{Error, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use entail_store::start_or_run;
use tokio::sync::oneshot;

use super::files::sync_directory;
use super::heads::DurableMark;

/// The number of a line among those that this process wrote to a log, from 1.
pub(super) type Ticket = u64;

/// Syncs the files of one log.
#[derive(Clone)]
pub(super) struct GroupSync {
    path: PathBuf,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// The ticket of the newest line.
    written: Ticket,
    /// The files with lines that are not synced, oldest first.
    unsynced: Vec<Arc<File>>,
    /// The position after the newest line.
    mark: Option<DurableMark>,
    /// Lines up to this ticket are on the disk, or their sync failed.
    synced: Ticket,
    /// No line up to this ticket counts as synced.
    failed: Ticket,
    waiting: Vec<Waiter>,
    is_syncing: bool,
    /// The file with a name that is known to be on the disk.
    named: Option<Arc<File>>,
    #[cfg(test)]
    syncs: usize,
}

/// A request that waits for its lines.
struct Waiter {
    ticket: Ticket,
    done: oneshot::Sender<std::io::Result<()>>,
}

impl GroupSync {
    pub(super) fn of(path: &Path) -> Self {
        GroupSync {
            path: path.to_owned(),
            state: Arc::default(),
        }
    }

    /// Notes that a line was written to `file`. Call it in the order of the lines.
    pub(super) fn wrote(&self, file: &Arc<File>, mark: Option<DurableMark>) -> Ticket {
        let mut state = self.lock();
        if !state
            .unsynced
            .last()
            .is_some_and(|last| Arc::ptr_eq(last, file))
        {
            state.unsynced.push(Arc::clone(file));
        }
        state.mark = mark;
        state.written += 1;
        state.written
    }

    /// Waits until the lines with these tickets are on the disk.
    ///
    /// # Errors
    ///
    /// Fails if a sync failed since the first of them was written: the system may have
    /// dropped what it could not write, and reports that once.
    pub(super) async fn wait(&self, first: Ticket, last: Ticket) -> std::io::Result<()> {
        let Some(done) = self.join(first, last)? else {
            return Ok(());
        };
        match done.await {
            Ok(synced) => synced,
            Err(_) => Err(Error::other("the thread that syncs it ended")),
        }
    }

    /// Adds a request to those that wait; `None` if its lines are on the disk.
    fn join(
        &self,
        first: Ticket,
        last: Ticket,
    ) -> std::io::Result<Option<oneshot::Receiver<std::io::Result<()>>>> {
        let mut state = self.lock();
        if first <= state.failed {
            return Err(Error::other("an earlier line could not be synced"));
        }
        if last <= state.synced {
            return Ok(None);
        }
        let (done, receiver) = oneshot::channel();
        state.waiting.push(Waiter { ticket: last, done });
        if !std::mem::replace(&mut state.is_syncing, true) {
            drop(state);
            let sync = self.clone();
            start_or_run("entail-log-sync", move || sync.run());
        }
        Ok(Some(receiver))
    }

    /// Syncs while requests wait.
    fn run(&self) {
        loop {
            let mut state = self.lock();
            if state.waiting.is_empty() {
                state.is_syncing = false;
                return;
            }
            let target = state.written;
            let files = std::mem::take(&mut state.unsynced);
            let mark = state.mark.take();
            let named = state.named.clone();
            #[cfg(test)]
            {
                state.syncs += 1;
            }
            drop(state);
            let synced = self.sync(&files, named.as_ref(), mark.as_ref());
            let mut state = self.lock();
            match synced {
                Ok(()) => {
                    state.named = files.last().cloned().or(named);
                    state.synced = target;
                    finish(&mut state, target, || Ok(()));
                }
                Err(error) => {
                    // Also of lines that were written during the sync.
                    state.synced = state.written;
                    state.failed = state.written;
                    state.unsynced.clear();
                    let copy = || Err(Error::new(error.kind(), error.to_string()));
                    let written = state.written;
                    finish(&mut state, written, copy);
                }
            }
        }
    }

    fn sync(
        &self,
        files: &[Arc<File>],
        named: Option<&Arc<File>>,
        mark: Option<&DurableMark>,
    ) -> std::io::Result<()> {
        for file in files {
            file.sync_data()?;
        }
        let is_named = |file: &Arc<File>| named.is_some_and(|named| Arc::ptr_eq(named, file));
        if files.last().is_some_and(|file| !is_named(file))
            && !mark.is_some_and(DurableMark::has_durable_name)
        {
            sync_name(&self.path)?;
        }
        if let Some(mark) = mark {
            // Without the mark a crash excuses more than it has to.
            let _ = mark.store();
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reports the result to those that wait for a line up to `ticket`.
fn finish(state: &mut State, ticket: Ticket, result: impl Fn() -> std::io::Result<()>) {
    let (done, waiting) = std::mem::take(&mut state.waiting)
        .into_iter()
        .partition(|waiter| waiter.ticket <= ticket);
    state.waiting = waiting;
    for waiter in done {
        // The request may have been given up.
        let _ = waiter.done.send(result());
    }
}

/// Makes the name of a file durable. The path may be a link.
pub(super) fn sync_name(path: &Path) -> std::io::Result<()> {
    match sync_directory(&path.canonicalize()?) {
        // A directory that cannot be opened cannot be synced, and its owner made the file.
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Ok(()),
        synced => synced,
    }
}

impl std::fmt::Debug for GroupSync {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GroupSync")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap()
    }

    #[test]
    fn requests_that_wait_at_the_same_time_share_a_sync() {
        const REQUESTS: usize = 500;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let file = Arc::new(File::create(&path).unwrap());
        let sync = GroupSync::of(&path);
        runtime().block_on(async {
            let mut waiting = Vec::new();
            for _ in 0..REQUESTS {
                (&*file).write_all(b"line\n").unwrap();
                let ticket = sync.wrote(&file, None);
                waiting.extend(sync.join(ticket, ticket).unwrap());
            }
            for done in waiting {
                done.await.unwrap().unwrap();
            }
        });
        let syncs = sync.lock().syncs;
        assert!((1..REQUESTS / 2).contains(&syncs), "{syncs}");
    }

    #[test]
    fn a_line_that_is_on_the_disk_is_not_synced_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let file = Arc::new(File::create(&path).unwrap());
        let sync = GroupSync::of(&path);
        let first = sync.wrote(&file, None);
        let second = sync.wrote(&file, None);
        runtime().block_on(async {
            sync.wait(second, second).await.unwrap();
            sync.wait(first, second).await.unwrap();
            assert_eq!(sync.lock().syncs, 1);
            let third = sync.wrote(&file, None);
            sync.wait(third, third).await.unwrap();
        });
        assert_eq!(sync.lock().syncs, 2);
    }

    #[test]
    fn a_failed_sync_fails_for_every_line_that_it_may_have_lost() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        std::fs::write(&path, "").unwrap();
        // A device cannot be synced.
        let device = Arc::new(File::options().write(true).open("/dev/null").unwrap());
        let file = Arc::new(File::options().append(true).open(&path).unwrap());
        let sync = GroupSync::of(&path);
        let first = sync.wrote(&file, None);
        let second = sync.wrote(&device, None);
        runtime().block_on(async {
            assert!(sync.wait(second, second).await.is_err());
            // A later sync that works does not prove that the first line is on the disk.
            let third = sync.wrote(&file, None);
            assert!(sync.wait(first, third).await.is_err());
            sync.wait(third, third).await.unwrap();
        });
    }
}
