//! What is measured while policies misbehave: how long requests take, and how much
//! memory this process has.

use std::fmt;
use std::time::Duration;

/// How long requests took.
#[derive(Clone, Debug, Default)]
pub struct Times(Vec<Duration>);

impl Times {
    /// One request more.
    pub fn took(&mut self, time: Duration) {
        self.0.push(time);
    }

    /// Those of others as well.
    pub fn and(&mut self, others: Times) {
        self.0.extend(others.0);
    }

    /// How many.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The time that half of them took at most.
    pub fn median(&self) -> Duration {
        self.at(0.5)
    }

    /// The time that all but one in a hundred took at most.
    pub fn p99(&self) -> Duration {
        self.at(0.99)
    }

    fn at(&self, part: f64) -> Duration {
        let mut times = self.0.clone();
        times.sort_unstable();
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_precision_loss,
            clippy::cast_sign_loss
        )] // there are not that many
        let place = (times.len() as f64 * part) as usize;
        let last = times.len().saturating_sub(1);
        times.get(place.min(last)).copied().unwrap_or_default()
    }
}

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} requests, median {:.1?}, p99 {:.1?}",
            self.count(),
            self.median(),
            self.p99()
        )
    }
}

/// How many times as long.
pub fn ratio(now: Duration, before: Duration) -> f64 {
    now.as_secs_f64() / before.as_secs_f64().max(1e-9)
}

/// The memory of this process that is in use, in KiB; 0 where the system does not tell.
pub fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    number
        .and_then(|number| number.parse().ok())
        .unwrap_or_default()
}

/// By how much, in percent, memory grew.
pub fn growth(before: u64, after: u64) -> f64 {
    #[allow(clippy::cast_precision_loss)] // not that much
    let (before, after) = (before.max(1) as f64, after as f64);
    (after / before - 1.0) * 100.0
}
