//! Runs work that may wait for the disk or for a lock without blocking an async runtime.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Builder;

use tokio::runtime::{Handle, RuntimeFlavor};

use crate::backend::BackendError;

/// Starts `work` on a separate thread, or runs it on the calling one if the system cannot start
/// another: with little address space that happens now and then, and passes.
pub fn start_or_run(name: &str, work: impl FnOnce() + Send + 'static) {
    let work = Arc::new(Mutex::new(Some(work)));
    let take = |work: &Mutex<Option<_>>| work.lock().unwrap_or_else(PoisonError::into_inner).take();
    let shared = Arc::clone(&work);
    let started = Builder::new().name(name.to_owned()).spawn(move || {
        if let Some(work) = take(&shared) {
            work();
        }
    });
    if started.is_err()
        && let Some(work) = take(&work)
    {
        work();
    }
}

/// Runs `work` on a separate thread.
pub(crate) async fn on_thread<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, BackendError> {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    // Not `spawn_blocking`: it panics if the system cannot start a thread.
    start_or_run("entail-store", move || {
        // The caller may have been cancelled.
        let _ = sender.send(work());
    });
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
