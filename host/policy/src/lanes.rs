//! The threads that policy calls run on, so that a slow policy blocks neither its caller's
//! thread nor the policies of others.
//!
//! There are four lanes, each with its own threads and queue:
//!
//! - *fast*: calls of policies that return quickly.
//! - *slow*: calls of policies that were measured to be slow ([`CallQueue`]). Without it, a
//!   few policies that run into their deadline (100 ms, ten thousand times an ordinary call)
//!   would hold all threads, and every other organization would wait. A policy changes
//!   lanes after a call or two that get stuck, and changes back when it is fast again.
//!   These threads have a lower priority, so that on a machine with few processors the
//!   fast lane still gets its share.
//! - *background*: calls without a waiting caller, such as those of a shadow policy. One thread
//!   with the lowest priority sleeps nine times as long as it works, since a shadow policy
//!   would otherwise double the processor time of all decisions. Calls that do not fit in
//!   the short queue are dropped.
//! - *admission*: admitting and composing components, and validating settings. Few threads,
//!   since each may wait for a compiler that takes a gigabyte, and since the next component
//!   reuses the memory that the thread's allocator keeps. Each admission takes tens of
//!   milliseconds or more, so it must not run in the other lanes.
//!
//! `tests/tests/hostile.rs` measures the purpose: the time of a well-behaved policy beside
//! hostile ones.
//!
//! A lane survives a panic of a job: its thread continues, and the caller gets
//! [`CallError::Crashed`].

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, TrySendError};
use tokio::sync::oneshot;

use crate::call_queue::CallQueue;
use crate::error::{CallError, EngineError};

/// The most waiting jobs of a lane. It is rarely reached: calls of a policy wait in its
/// [`CallQueue`] first.
const MAX_QUEUED: usize = 1_024;

/// The most waiting jobs of the background lane.
const MAX_QUEUED_BACKGROUND: usize = 64;

/// How many times as long as it works the background lane sleeps.
const BACKGROUND_PAUSE: u32 = 9;

/// The priority of the slow lane, on the scale of nice(1).
const SLOW_NICENESS: i32 = 10;

/// The priority of the background lane: the lowest.
const BACKGROUND_NICENESS: i32 = 19;

type Job = Box<dyn FnOnce() + Send>;

/// The lanes. Their threads end when this is dropped.
pub(crate) struct Lanes {
    fast: Sender<Job>,
    slow: Sender<Job>,
    background: Sender<Job>,
    admission: Sender<Job>,
    /// The most calls of one policy that run at the same time.
    concurrent: usize,
}

impl Lanes {
    /// Starts the threads. The fast lane has two for each processor, so that half of them
    /// can be stuck. The slow lane has one for every second processor; admission too, but at
    /// least two, so that one slow component does not block all others.
    pub(crate) fn start() -> Result<Self, EngineError> {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let (fast, slow) = (processors * 2, processors.div_ceil(2));
        Ok(Lanes {
            fast: start_lane("fast", fast, MAX_QUEUED, |jobs| {
                jobs.iter().for_each(run_job);
            })?,
            slow: start_lane("slow", slow, MAX_QUEUED, |jobs| {
                set_niceness(SLOW_NICENESS);
                jobs.iter().for_each(run_job);
            })?,
            admission: start_lane("admission", slow.max(2), MAX_QUEUED, |jobs| {
                jobs.iter().for_each(run_job);
            })?,
            background: start_lane("background", 1, MAX_QUEUED_BACKGROUND, |jobs| {
                set_niceness(BACKGROUND_NICENESS);
                for job in jobs {
                    let started = Instant::now();
                    run_job(job);
                    std::thread::sleep(started.elapsed() * BACKGROUND_PAUSE);
                }
            })?,
            concurrent: fast / 2,
        })
    }

    /// Runs a call of a policy in the fast or the slow lane.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        queue: &Arc<CallQueue>,
        call: impl FnOnce() -> Result<T, CallError> + Send + 'static,
    ) -> Result<T, CallError> {
        let _waiting = queue.enter()?;
        let permit = queue.acquire(self.concurrent).await?;
        let recorder = Arc::clone(queue);
        let call = move || {
            let started = Instant::now();
            let result = call();
            recorder.record(started.elapsed(), &result);
            drop(permit);
            result
        };
        let lane = if queue.is_slow() {
            &self.slow
        } else {
            &self.fast
        };
        run_in(lane, call).await?
    }

    /// Runs `work` in the admission lane.
    pub(crate) async fn run_admission<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, CallError> {
        run_in(&self.admission, work).await
    }

    /// Queues `call` in the background lane; returns false if its queue is full.
    pub(crate) fn run_background(&self, call: impl FnOnce() + Send + 'static) -> bool {
        self.background.try_send(Box::new(call)).is_ok()
    }
}

/// Runs `work` in a lane, unless the caller drops the future before it begins.
async fn run_in<T: Send + 'static>(
    lane: &Sender<Job>,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, CallError> {
    let (sender, receiver) = oneshot::channel();
    let job: Job = Box::new(move || {
        if !sender.is_closed() {
            // Fails if the caller has dropped the future meanwhile.
            let _ = sender.send(work());
        }
    });
    match lane.try_send(job) {
        Ok(()) => receiver.await.map_err(|_| CallError::Crashed),
        Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => Err(CallError::Busy),
    }
}

/// Runs a job and catches its panic. Nothing that it left half done is used again: its
/// result is lost, and so is a warm instance.
fn run_job(job: Job) {
    let _ = catch_unwind(AssertUnwindSafe(job));
}

fn start_lane(
    name: &str,
    threads: usize,
    queue: usize,
    work: impl Fn(Receiver<Job>) + Clone + Send + 'static,
) -> Result<Sender<Job>, EngineError> {
    let (sender, receiver) = crossbeam_channel::bounded(queue);
    for started in 0..threads {
        let (work, receiver) = (work.clone(), receiver.clone());
        let thread = std::thread::Builder::new()
            .name(format!("entail-policy-{name}"))
            .spawn(move || work(receiver));
        match thread {
            Ok(_) => {}
            // If the system allows no more threads, the lane works with fewer.
            Err(_) if started > 0 => break,
            Err(error) => {
                return Err(EngineError::new(format_args!(
                    "a thread for calls did not start: {error}"
                )));
            }
        }
    }
    Ok(sender)
}

/// Lowers the priority of this thread. If the system does not allow it, the lane runs at the
/// ordinary priority.
fn set_niceness(niceness: i32) {
    #[cfg(target_os = "linux")]
    {
        // On Linux a priority belongs to the thread.
        let thread = rustix::thread::gettid();
        let _ = rustix::process::setpriority_process(Some(thread), niceness);
    }
    #[cfg(not(target_os = "linux"))]
    let _ = niceness;
}

#[cfg(test)]
mod tests {
    #![allow(clippy::panic, clippy::unwrap_used)]

    use super::*;
    use crate::isolation::Isolation;

    #[test]
    fn a_lane_survives_a_panic() {
        let lanes = Lanes::start().unwrap();
        let queue = Arc::new(CallQueue::new(Isolation::PerCall));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        runtime.block_on(async {
            // More often than there are threads, or concurrent calls.
            for _ in 0..lanes.concurrent * 4 {
                let crashed = lanes.run::<()>(&queue, || panic!("on purpose")).await;
                assert!(matches!(crashed, Err(CallError::Crashed)), "{crashed:?}");
                let crashed = lanes.run_admission::<()>(|| panic!("on purpose")).await;
                assert!(matches!(crashed, Err(CallError::Crashed)), "{crashed:?}");
            }
            assert_eq!(lanes.run(&queue, || Ok(1)).await.unwrap(), 1);
            assert_eq!(lanes.run_admission(|| 2).await.unwrap(), 2);
        });
    }
}
