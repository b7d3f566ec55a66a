//! Processes, identified by more than their number.

use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};

/// A process. Its start time distinguishes it from a later process with the same number.
pub struct Process {
    pub id: u32,
    /// The start time as in proc(5); empty if the system does not report it.
    pub start: String,
}

impl Process {
    /// The process with this number.
    pub fn of(id: u32) -> Self {
        let (_, start) = state_and_start(id).unwrap_or_default();
        Process { id, start }
    }

    /// Parses a number and a start time.
    pub fn parse(text: &str) -> Option<Self> {
        let (id, start) = text.split_once(' ')?;
        Some(Process {
            id: id.parse().ok()?,
            start: start.to_owned(),
        })
    }

    /// Whether the process still runs.
    pub fn is_running(&self) -> bool {
        if let Some((state, start)) = state_and_start(self.id) {
            // A zombie has ended.
            return start == self.start && !matches!(&*state, "Z" | "X");
        }
        let id = i32::try_from(self.id).ok().and_then(Pid::from_raw);
        id.is_some_and(|id| test_kill_process(id) != Err(Errno::SRCH))
    }
}

/// The 3rd and the 22nd field of a process in proc(5): its state and start time.
fn state_and_start(id: u32) -> Option<(String, String)> {
    let line = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // The name of the program may contain spaces and parentheses.
    let (_, after_name) = line.rsplit_once(") ")?;
    let mut fields = after_name.split(' ');
    Some((fields.next()?.to_owned(), fields.nth(18)?.to_owned()))
}
