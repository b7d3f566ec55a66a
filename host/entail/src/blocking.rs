//! Long work off the runtime's threads, on any runtime.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::thread::JoinHandle;

use entail_store::start_or_run;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;

use crate::error::Error;

/// Work on a separate thread.
struct Running<T> {
    result: oneshot::Receiver<T>,
    thread: JoinHandle<()>,
}

impl<T: Send + 'static> Running<T> {
    /// Starts `work`, which continues if the returned value is dropped.
    fn start(name: &str, work: impl FnOnce() -> T + Send + 'static) -> Result<Self, Error> {
        let (done, result) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                // The receiver may have been dropped.
                let _ = done.send(work());
            })
            .map_err(|error| not_started(&error))?;
        Ok(Running { result, thread })
    }

    /// Waits for the result. Panics if the work did.
    async fn finish(self) -> Result<T, Error> {
        if let Ok(result) = self.result.await {
            return Ok(result);
        }
        // Only a panic drops the sender.
        match self.thread.join() {
            Err(panic) => resume_unwind(panic),
            Ok(()) => Err(ended()),
        }
    }
}

/// Runs `work` on a separate thread and waits for it, so that other tasks run meanwhile; on the
/// caller's thread if the system cannot start another. The work continues if the future is
/// dropped. Panics if the work does.
///
/// # Errors
///
/// [`Error::Unavailable`] if the thread ended without a result.
pub(crate) async fn run_on_thread<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Error> {
    let (done, result) = oneshot::channel();
    start_or_run(name, move || {
        // The receiver may have been dropped.
        let _ = done.send(catch_unwind(AssertUnwindSafe(work)));
    });
    match result.await {
        Ok(Ok(result)) => Ok(result),
        Ok(Err(panic)) => resume_unwind(panic),
        Err(_) => Err(ended()),
    }
}

/// Runs asynchronous `work` on a separate thread. It continues if the future is dropped.
///
/// # Errors
///
/// Those of the work; [`Error::Unavailable`] if the system cannot start a thread.
pub(crate) async fn run_future_on_thread<
    T: Send + 'static,
    F: Future<Output = Result<T, Error>>,
>(
    name: &str,
    work: impl FnOnce() -> F + Send + 'static,
) -> Result<T, Error> {
    Running::start(name, move || block_on(work()))?
        .finish()
        .await?
}

/// Runs asynchronous `work` on a separate thread, like [`run_future_on_thread`]. Calls
/// `on_progress`, on the task of the caller, with what the work sends. The work ends with
/// its sender.
///
/// # Errors
///
/// As [`run_future_on_thread`].
pub(crate) async fn run_with_progress<P, T, F>(
    name: &str,
    on_progress: &mut (dyn FnMut(P) + Send),
    work: impl FnOnce(UnboundedSender<P>) -> F + Send + 'static,
) -> Result<T, Error>
where
    P: Send + 'static,
    T: Send + 'static,
    F: Future<Output = Result<T, Error>>,
{
    let (sender, mut progress) = unbounded_channel();
    let running = Running::start(name, move || block_on(work(sender)))?;
    while let Some(step) = progress.recv().await {
        on_progress(step);
    }
    running.finish().await?
}

/// Runs a future on this thread. Must not be called on a runtime thread.
///
/// # Errors
///
/// Those of the work; [`Error::Unavailable`] if the system cannot set up a runtime.
fn block_on<T>(work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.map_err(|error| not_started(&error))?.block_on(work)
}

fn ended() -> Error {
    Error::Unavailable("a thread gave no result".to_owned())
}

fn not_started(error: &std::io::Error) -> Error {
    Error::Unavailable(format!("a thread did not start: {error}"))
}
