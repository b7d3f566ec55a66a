//! Runs work that may wait for the disk or for a lock without blocking an async runtime.

use tokio::runtime::{Handle, RuntimeFlavor};

use crate::backend::BackendError;

/// Runs `work` on a thread of its own.
pub(crate) async fn on_thread<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, BackendError> {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    // Not `spawn_blocking`: it panics if the system cannot start a thread.
    std::thread::Builder::new()
        .name("entail-store".to_owned())
        .spawn(move || {
            // The caller may have been cancelled.
            let _ = sender.send(work());
        })
        .map_err(|error| BackendError::Failed(format!("a thread could not be started: {error}")))?;
    receiver
        .await
        .map_err(|_| BackendError::Failed("a thread of the store ended unexpectedly".to_owned()))
}

/// Runs `work` on a thread of its own if the caller runs on a multi-threaded tokio
/// runtime, else on the calling thread. For work that usually takes microseconds, so
/// that a program with a single task does not pay for a thread.
pub(crate) async fn off_runtime<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, BackendError> {
    let flavor = Handle::try_current().map(|handle| handle.runtime_flavor());
    if matches!(flavor, Ok(RuntimeFlavor::MultiThread)) {
        return on_thread(work).await;
    }
    Ok(work())
}
