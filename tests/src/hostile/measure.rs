//! Measures the times of requests and the memory of this process while policies misbehave.

use std::fmt;
use std::time::Duration;

/// The durations of requests.
#[derive(Clone, Debug, Default)]
pub struct Times(Vec<Duration>);

impl Times {
    /// Adds the duration of a request.
    pub fn record(&mut self, time: Duration) {
        self.0.push(time);
    }

    /// Adds the durations of other requests.
    pub fn merge(&mut self, others: Times) {
        self.0.extend(others.0);
    }

    /// The number of requests.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The median.
    pub fn median(&self) -> Duration {
        self.at(0.5)
    }

    /// The 99th percentile.
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
        let index = (times.len() as f64 * part) as usize;
        let last = times.len().saturating_sub(1);
        times.get(index.min(last)).copied().unwrap_or_default()
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

/// The ratio of two durations.
pub fn ratio(now: Duration, before: Duration) -> f64 {
    now.as_secs_f64() / before.as_secs_f64().max(1e-9)
}

/// The resident memory of this process, in KiB; 0 if the system does not report it.
pub fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    number
        .and_then(|number| number.parse().ok())
        .unwrap_or_default()
}

/// The growth of memory, in percent.
pub fn growth(before: u64, after: u64) -> f64 {
    #[allow(clippy::cast_precision_loss)] // the numbers are far below 2^53
    let (before, after) = (before.max(1) as f64, after as f64);
    (after / before - 1.0) * 100.0
}
