//! Running long work of the store on a separate thread, so that it blocks no runtime
//! thread.

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::error::Error;

/// The result of work on another thread.
pub(super) struct Running<T>(oneshot::Receiver<Result<T, Error>>);

impl<T: Send + 'static> Running<T> {
    /// Starts `work` on a thread with that name. The work continues if the returned value
    /// is dropped.
    ///
    /// # Errors
    ///
    /// [`Error::Unavailable`] if the thread cannot be started.
    pub(super) fn start<F: Future<Output = Result<T, Error>>>(
        name: &str,
        work: impl FnOnce() -> F + Send + 'static,
    ) -> Result<Self, Error> {
        let (sender, receiver) = oneshot::channel();
        let builder = std::thread::Builder::new().name(name.to_owned());
        let thread = builder.spawn(move || {
            // The receiver may have been dropped.
            let _ = sender.send(block_on(work()));
        });
        thread.map_err(|error| not_started(&error))?;
        Ok(Running(receiver))
    }

    /// Waits for the result.
    ///
    /// # Errors
    ///
    /// Those of the work; [`Error::Unavailable`] if it panicked.
    pub(super) async fn finish(self) -> Result<T, Error> {
        let panicked = |_| Error::Unavailable("a background thread panicked".to_owned());
        self.0.await.map_err(panicked)?
    }
}

/// Runs a future on this thread. Must not be called on a runtime thread.
pub(super) fn block_on<T>(work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.map_err(|error| not_started(&error))?.block_on(work)
}

fn not_started(error: &std::io::Error) -> Error {
    Error::Unavailable(format!("a background thread could not be started: {error}"))
}

/// A verification at an interval in the background, which stops when this is dropped.
#[derive(Debug)]
pub struct BackgroundVerification {
    stop: Option<Sender<()>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl BackgroundVerification {
    /// Runs `verify` at an interval.
    pub(super) fn start(
        every: Duration,
        verify: impl Fn() + Send + 'static,
    ) -> Result<Self, Error> {
        let (stop, stopped) = channel::<()>();
        let builder = std::thread::Builder::new().name("entail-verify".to_owned());
        let thread = builder.spawn(move || {
            while stopped.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
                verify();
            }
        });
        Ok(BackgroundVerification {
            stop: Some(stop),
            thread: Mutex::new(Some(thread.map_err(|error| not_started(&error))?)),
        })
    }
}

impl Drop for BackgroundVerification {
    fn drop(&mut self) {
        self.stop = None;
        let thread = self
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(thread) = thread {
            // Waits for a verification that is running.
            let _ = thread.join();
        }
    }
}
