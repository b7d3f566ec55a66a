//! Long work off the runtime's threads, on any runtime.

use crate::error::Error;

/// Runs `work` on a separate thread and waits for it, so that other tasks run meanwhile.
/// The work continues if the future is dropped.
///
/// # Errors
///
/// [`Error::Unavailable`] if the system cannot start a thread.
pub(crate) async fn run_on_thread<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Error> {
    let (done, result) = tokio::sync::oneshot::channel();
    let thread = std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || {
            // The receiver may have been dropped.
            let _ = done.send(work());
        })
        .map_err(|error| Error::Unavailable(format!("a thread did not start: {error}")))?;
    if let Ok(result) = result.await {
        return Ok(result);
    }
    // Only a panic drops the sender.
    match thread.join() {
        Err(panic) => std::panic::resume_unwind(panic),
        Ok(()) => Err(Error::Unavailable("a thread gave no result".to_owned())),
    }
}
