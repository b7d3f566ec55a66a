//! Runs work that may wait for the disk or for a lock without blocking an async runtime.

use tokio::runtime::{Handle, RuntimeFlavor};

use crate::backend::BackendError;

/// Runs `work` on a separate thread.
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

/// Runs `work` on a separate thread if the caller runs on a multi-threaded tokio
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn work_leaves_the_threads_of_a_multi_threaded_runtime() {
        let caller = std::thread::current().id();
        let worker = off_runtime(|| std::thread::current().id()).await.unwrap();
        assert_ne!(worker, caller);
    }

    #[tokio::test]
    async fn work_stays_on_the_thread_of_a_current_thread_runtime() {
        let caller = std::thread::current().id();
        let worker = off_runtime(|| std::thread::current().id()).await.unwrap();
        assert_eq!(worker, caller);
        let worker = on_thread(|| std::thread::current().id()).await.unwrap();
        assert_ne!(worker, caller);
    }
}
