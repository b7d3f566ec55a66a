//! The time, and how far it is trusted.
//!
//! The machine's clock can be set wrong. Whether a credential has expired may depend on it:
//! correcting the clock corrects that. What cannot be undone does not depend on the clock
//! alone: the time since boot, which nobody can set, must confirm it, or a second check a
//! day later ([`CLOCK_MARGIN_MS`]).

use std::fmt;
use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

use entail_store::Digest;
use serde::{Deserialize, Serialize};

/// How far a clock may contradict the journal, and how far apart two checks must be to
/// confirm each other: a day. A wrong time zone is less, and a clock that the network has
/// not set yet is noticed within a day.
pub const CLOCK_MARGIN_MS: u64 = 24 * 60 * 60 * 1000;

/// The kernel's id of the current boot.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// The kernel's count of the seconds since boot, including suspend.
const UPTIME: &str = "/proc/uptime";

/// The clock of an [`Entail`]. Tests replace it.
///
/// [`Entail`]: crate::Entail
pub trait Clock: fmt::Debug + Send + Sync {
    /// The time of day, in milliseconds since 1970-01-01T00:00:00Z.
    fn now_ms(&self) -> u64;

    /// The time since boot; `None` if the system does not provide it.
    fn uptime(&self) -> Option<Uptime>;
}

/// The machine's clocks.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

/// The time since boot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Uptime {
    /// Identifies the boot.
    pub boot: String,
    /// Milliseconds since boot.
    pub ms: u64,
}

/// A reading of a machine's clocks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClockReading {
    /// The time of day, in milliseconds since 1970-01-01T00:00:00Z.
    pub at_ms: u64,
    /// The time since boot, if the system provides it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uptime: Option<Uptime>,
}

impl ClockReading {
    pub(crate) fn of(clock: &dyn Clock) -> Self {
        ClockReading {
            at_ms: clock.now_ms(),
            uptime: clock.uptime(),
        }
    }

    /// The time from this reading to `later`, measured since boot; `None` if the machine
    /// rebooted in between, or the system does not provide the uptime.
    pub(crate) fn elapsed_ms(&self, later: &ClockReading) -> Option<u64> {
        let (before, after) = (self.uptime.as_ref()?, later.uptime.as_ref()?);
        (before.boot == after.boot).then(|| after.ms.saturating_sub(before.ms))
    }
}

impl Clock for SystemClock {
    fn now_ms(&self) -> u64 {
        now_ms()
    }

    fn uptime(&self) -> Option<Uptime> {
        static BOOT: OnceLock<Option<String>> = OnceLock::new();
        let boot = BOOT.get_or_init(|| {
            let id = std::fs::read_to_string(BOOT_ID).ok()?;
            // Enough to distinguish boots.
            Digest::of(id.as_bytes())
                .to_string()
                .get(..32)
                .map(str::to_owned)
        });
        Some(Uptime {
            boot: boot.clone()?,
            ms: milliseconds(&std::fs::read_to_string(UPTIME).ok()?)?,
        })
    }
}

/// The time in milliseconds since 1970-01-01T00:00:00Z.
pub fn now_ms() -> u64 {
    let elapsed = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
}

/// The first number of `/proc/uptime`: seconds with two decimals.
fn milliseconds(uptime: &str) -> Option<u64> {
    let (seconds, hundredths) = uptime.split_whitespace().next()?.split_once('.')?;
    let seconds: u64 = seconds.parse().ok()?;
    let hundredths: u64 = hundredths.parse().ok().filter(|parsed| *parsed < 100)?;
    Some(seconds.checked_mul(1000)? + hundredths * 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_uptime_is_parsed_from_the_format_of_the_kernel() {
        assert_eq!(milliseconds("1076.86 319.83\n"), Some(1_076_860));
        assert_eq!(milliseconds("0.05 0.00\n"), Some(50));
        for text in ["", "x", "12", "12.345 1.0", "-1.00 0.0"] {
            assert_eq!(milliseconds(text), None, "{text:?}");
        }
        let first = SystemClock.uptime().unwrap();
        let second = SystemClock.uptime().unwrap();
        assert_eq!(first.boot, second.boot);
        assert!(first.ms <= second.ms);
    }

    #[test]
    fn elapsed_time_is_known_only_within_one_boot() {
        let reading = |boot: &str, ms, at_ms| ClockReading {
            at_ms,
            uptime: Some(Uptime {
                boot: boot.to_owned(),
                ms,
            }),
        };
        let before = reading("a", 100, 5);
        assert_eq!(before.elapsed_ms(&reading("a", 350, 9_000_000)), Some(250));
        assert_eq!(before.elapsed_ms(&reading("b", 350, 9)), None);
        let unknown = ClockReading {
            at_ms: 9,
            uptime: None,
        };
        assert_eq!(before.elapsed_ms(&unknown), None);
        assert_eq!(unknown.elapsed_ms(&before), None);
    }
}

/// A clock for tests.
#[cfg(test)]
pub(crate) mod fake {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Debug)]
    pub(crate) struct FakeClock(Mutex<ClockReading>);

    impl FakeClock {
        /// A machine that booted an hour ago.
        pub(crate) fn new() -> Arc<Self> {
            Arc::new(FakeClock(Mutex::new(ClockReading {
                at_ms: 1_800_000_000_000,
                uptime: Some(Uptime {
                    boot: "first".to_owned(),
                    ms: 3_600_000,
                }),
            })))
        }

        /// Advances the time.
        pub(crate) fn pass(&self, ms: u64) {
            let mut reading = self.0.lock().unwrap();
            reading.at_ms += ms;
            if let Some(uptime) = &mut reading.uptime {
                uptime.ms += ms;
            }
        }

        /// Reboots the machine.
        pub(crate) fn start(&self, boot: &str) {
            self.0.lock().unwrap().uptime = Some(Uptime {
                boot: boot.to_owned(),
                ms: 1_000,
            });
        }
    }

    impl Clock for FakeClock {
        fn now_ms(&self) -> u64 {
            self.0.lock().unwrap().at_ms
        }

        fn uptime(&self) -> Option<Uptime> {
            self.0.lock().unwrap().uptime.clone()
        }
    }
}
