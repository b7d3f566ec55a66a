//! The threads that policy calls run on, so that a policy that takes its time
//! holds up neither its caller's thread nor the policies of others.
//!
//! There are two lanes. A policy that answers at once runs in the *brisk* lane; one
//! that was seen to take long runs in the *slow* lane, whose few threads give way
//! to all others. Nobody declares which: it goes by what the last calls took, so a
//! policy that gets stuck is out of everybody's way within a call or two, and back
//! once it has mended.
//!
//! A third lane is for answers that nobody waits for: one thread that gives way to
//! all others, rests nine times as long as it works, and has little room for what
//! has to wait. In a fourth one components are looked over. It has few threads, since
//! each may have a compiler at work that takes a gigabyte, and since memory that one
//! component needed is then there for the next.
//!
//! What panics is no reason for a lane to end: its thread goes on, and whoever asked
//! is told.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, TrySendError};
use tokio::sync::{Semaphore, oneshot};

use crate::engine::EngineError;
use crate::failure::Failure;
use crate::policy::Isolation;

/// Calls of all policies that wait in a lane; there is never cause for more, since
/// callers wait for their turn before (see `Turns`).
const QUEUE: usize = 1_024;

/// From this on, on the average, a policy is slow: two hundred times what the
/// built-in one takes, and half of the tick of the clock that stops it.
const SLOW: Duration = Duration::from_millis(2);

/// How much the average moves with a call: one in so many.
const MEMORY: u64 = 16;

/// What a call that met its deadline counts for: more than a hundred quick ones
/// have to follow before the policy is brisk again.
const STUCK: Duration = Duration::from_secs(10);

/// Calls of one policy that wait for their turn. More than that is a flood.
const WAITING: usize = 512;

/// The same of a slow policy, whose calls would wait for long.
const WAITING_SLOW: usize = 16;

/// Answers that nobody waits for, which have not been worked out yet.
const UNHURRIED: usize = 64;

/// How much longer than it works the unhurried lane rests.
const REST: u32 = 9;

/// How much the slow lane gives way, on the scale of nice(1).
const GIVE_WAY: i32 = 10;

/// How much the unhurried lane does.
const GIVE_WAY_TO_ALL: i32 = 19;

type Job = Box<dyn FnOnce() + Send>;

/// The lanes. They end when this is dropped.
pub(crate) struct Lanes {
    brisk: Sender<Job>,
    slow: Sender<Job>,
    unhurried: Sender<Job>,
    admission: Sender<Job>,
    /// Calls of one policy that run at the same time.
    share: usize,
}

impl Lanes {
    /// Starts the threads: two brisk ones a processor, so that half of them can be
    /// stuck; a slow one for every second processor, and as many for admission, but at
    /// least two, so that one component that takes long does not hold up all others.
    pub(crate) fn start() -> Result<Self, EngineError> {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let (brisk, slow) = (processors * 2, processors.div_ceil(2));
        Ok(Lanes {
            brisk: lane("brisk", brisk, QUEUE, |jobs| jobs.iter().for_each(finish))?,
            slow: lane("slow", slow, QUEUE, |jobs| {
                give_way(GIVE_WAY);
                jobs.iter().for_each(finish);
            })?,
            admission: lane("admission", slow.max(2), QUEUE, |jobs| {
                jobs.iter().for_each(finish);
            })?,
            unhurried: lane("unhurried", 1, UNHURRIED, |jobs| {
                give_way(GIVE_WAY_TO_ALL);
                for job in jobs {
                    let started = Instant::now();
                    finish(job);
                    std::thread::sleep(started.elapsed() * REST);
                }
            })?,
            share: brisk / 2,
        })
    }

    /// Runs `call` in the lane that suits the policy, when it is its turn.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        turns: &Arc<Turns>,
        call: impl FnOnce() -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let _waiting = turns.wait()?;
        let turn = turns.turns(self.share).clone().acquire_owned().await;
        let turn = turn.map_err(|_| Failure::Busy)?;
        let after = Arc::clone(turns);
        let call = move || {
            let started = Instant::now();
            let result = call();
            after.took(started.elapsed(), &result);
            drop(turn);
            result
        };
        let lane = match turns.is_slow() {
            true => &self.slow,
            false => &self.brisk,
        };
        ask(lane, call).await?
    }

    /// Runs `look_over`, which is about a component, when one of the threads for that
    /// is free.
    pub(crate) async fn admit<T: Send + 'static>(
        &self,
        look_over: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Failure> {
        ask(&self.admission, look_over).await
    }

    /// Runs `call` some time, or, when there is much to do, never.
    pub(crate) fn run_unhurried(&self, call: impl FnOnce() + Send + 'static) -> bool {
        self.unhurried.try_send(Box::new(call)).is_ok()
    }
}

/// Has a lane do `work`, unless whoever asked has gone before it begins.
async fn ask<T: Send + 'static>(
    lane: &Sender<Job>,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Failure> {
    let (answer, answered) = oneshot::channel();
    let job: Job = Box::new(move || {
        if !answer.is_closed() {
            // It may go at any time.
            let _ = answer.send(work());
        }
    });
    match lane.try_send(job) {
        Ok(()) => answered.await.map_err(|_| Failure::Crashed),
        Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => Err(Failure::Busy),
    }
}

/// Does a job, and survives it. Nothing that it may have left half done is used again:
/// its answer is gone with it, and so is a warm instance.
fn finish(job: Job) {
    let _ = catch_unwind(AssertUnwindSafe(job));
}

fn lane(
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
            // If the system gives no more threads, those that are there do all of it.
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

/// Lets the other threads of the machine go first. Where the system does not let it,
/// the lane works all the same.
fn give_way(how_much: i32) {
    #[cfg(target_os = "linux")]
    {
        // On Linux a priority belongs to the thread.
        let thread = rustix::thread::gettid();
        let _ = rustix::process::setpriority_process(Some(thread), how_much);
    }
    #[cfg(not(target_os = "linux"))]
    let _ = how_much;
}

/// Whose turn it is among the calls of one policy, and how long they take.
pub(crate) struct Turns {
    isolation: Isolation,
    at_once: OnceLock<Arc<Semaphore>>,
    waiting: AtomicUsize,
    average_ns: AtomicU64,
}

/// One that waits for its turn, or has it.
struct Waiting<'a>(&'a Turns);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Turns {
    pub(crate) fn new(isolation: Isolation) -> Self {
        Turns {
            isolation,
            at_once: OnceLock::new(),
            waiting: AtomicUsize::new(0),
            average_ns: AtomicU64::new(0),
        }
    }

    /// One for each call that may run at the same time.
    fn turns(&self, share: usize) -> &Arc<Semaphore> {
        let turns = match self.isolation {
            Isolation::PerCall => share,
            Isolation::PerOrganization => 1,
        };
        self.at_once.get_or_init(|| Arc::new(Semaphore::new(turns)))
    }

    fn wait(&self) -> Result<Waiting<'_>, Failure> {
        let before = self.waiting.fetch_add(1, Ordering::Relaxed);
        let waiting = Waiting(self);
        let most = match self.is_slow() {
            true => WAITING_SLOW,
            false => WAITING,
        };
        match before < most {
            true => Ok(waiting),
            false => Err(Failure::Busy),
        }
    }

    fn is_slow(&self) -> bool {
        u128::from(self.average_ns.load(Ordering::Relaxed)) > SLOW.as_nanos()
    }

    /// Works the time of a call into the average.
    fn took<T>(&self, time: Duration, result: &Result<T, Failure>) {
        let nanoseconds = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let average = match result {
            Err(failure) if failure.is_deadline() => nanoseconds(STUCK),
            _ => {
                let before = self.average_ns.load(Ordering::Relaxed);
                (before / MEMORY * (MEMORY - 1)).saturating_add(nanoseconds(time) / MEMORY)
            }
        };
        // Two at once may lose one of their times; it is an average.
        self.average_ns.store(average, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::panic, clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_lane_survives_what_panics_in_it() {
        let lanes = Lanes::start().unwrap();
        let turns = Arc::new(Turns::new(Isolation::PerCall));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        runtime.block_on(async {
            // More often than there are threads, or calls at once.
            for _ in 0..lanes.share * 4 {
                let crashed = lanes.run::<()>(&turns, || panic!("on purpose")).await;
                assert!(matches!(crashed, Err(Failure::Crashed)), "{crashed:?}");
                let crashed = lanes.admit::<()>(|| panic!("on purpose")).await;
                assert!(matches!(crashed, Err(Failure::Crashed)), "{crashed:?}");
            }
            assert_eq!(lanes.run(&turns, || Ok(1)).await.unwrap(), 1);
            assert_eq!(lanes.admit(|| 2).await.unwrap(), 2);
        });
    }
}
