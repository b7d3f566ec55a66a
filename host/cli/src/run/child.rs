//! A command as a child process: its signals, its stops, its end.
//!
//! Whatever signal somebody sends to this process, the command gets; what is typed at the
//! terminal it gets from the kernel already. When the command stops, this process stops
//! with it, so that the shell has its job back; when it goes on, so does the command. As
//! the first process of a container this one also reaps what others leave behind, and
//! ends with 128 + the signal, since the kernel lets no signal end it.

use std::process::{Child, ExitCode};

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, kill_process, waitpid};
use rustix_libc_wrappers::process::SignalExt as _;
use signal_hook::consts::signal::{
    SIGALRM, SIGBUS, SIGCHLD, SIGCONT, SIGFPE, SIGHUP, SIGILL, SIGINT, SIGKILL, SIGPIPE, SIGQUIT,
    SIGSEGV, SIGSTOP, SIGTERM, SIGTRAP, SIGTSTP, SIGTTIN, SIGTTOU, SIGUSR1, SIGUSR2, SIGWINCH,
};
use signal_hook::iterator::SignalsInfo;
use signal_hook::iterator::exfiltrator::origin::WithOrigin;
use signal_hook::low_level::siginfo::Cause;

use crate::failure::Failure;

/// What no process can catch, and what says that this process itself is at fault.
const NOT_FORWARDED: [i32; 7] = [SIGKILL, SIGSTOP, SIGILL, SIGTRAP, SIGBUS, SIGFPE, SIGSEGV];

/// The C library keeps these for itself.
const RESERVED: [i32; 2] = [32, 33];

/// The highest number of a signal on Linux.
const MAX_SIGNAL: i32 = 64;

/// The signals that arrive for the command.
pub struct Signals(SignalsInfo<WithOrigin>);

impl Signals {
    /// Catches them from now on. Those that the caller ignores stay ignored, as under
    /// nohup(1).
    pub fn catch() -> Result<Self, Failure> {
        let ignored = ignored_signals();
        let is_ignored = |signal: i32| ignored & (1 << (signal - 1)) != 0;
        let caught = (1..=MAX_SIGNAL).filter(|signal| {
            // The standard library ignores SIGPIPE, whatever the caller does.
            let wanted = [SIGCHLD, SIGPIPE].contains(signal) || !is_ignored(*signal);
            wanted && !NOT_FORWARDED.contains(signal) && !RESERVED.contains(signal)
        });
        SignalsInfo::new(caught)
            .map(Signals)
            .map_err(|error| Failure::io("signals", &error))
    }

    /// Forwards them until the command has ended, and returns how it did.
    pub fn forward_to(mut self, child: &Child) -> Result<WaitStatus, Failure> {
        let process = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let process = process.ok_or_else(|| Failure::new(1, "io", "the command has no process"))?;
        for origin in self.0.forever() {
            if origin.signal == SIGCHLD {
                if let Some(status) = look_at_children(process)? {
                    return Ok(status);
                }
            } else if !reached_it(origin.signal, origin.cause)
                && let Some(signal) = Signal::from_raw(origin.signal)
            {
                // It may have ended meanwhile.
                let _ = kill_process(process, signal);
            }
        }
        Err(Failure::new(1, "io", "the command cannot be waited for"))
    }
}

/// Whether the kernel sent a signal to all processes at the terminal, the command among
/// them.
fn reached_it(signal: i32, cause: Cause) -> bool {
    let of_terminal = [
        SIGINT, SIGQUIT, SIGTSTP, SIGTTIN, SIGTTOU, SIGWINCH, SIGCONT,
    ];
    cause == Cause::Kernel && of_terminal.contains(&signal)
}

/// Takes note of all children that changed; returns the command's status if it ended.
fn look_at_children(command: Pid) -> Result<Option<WaitStatus>, Failure> {
    let whose = if is_first_process() {
        None
    } else {
        Some(command)
    };
    loop {
        let options = WaitOptions::NOHANG | WaitOptions::UNTRACED;
        match waitpid(whose, options) {
            Ok(Some((process, status))) if process == command => {
                if !status.stopped() {
                    return Ok(Some(status));
                }
                // Returns when somebody lets this process go on, which forwards that.
                let _ = signal_hook::low_level::raise(SIGSTOP);
            }
            // Somebody else's child that is reaped here.
            Ok(Some(_)) | Err(Errno::INTR) => {}
            Ok(None) => return Ok(None),
            Err(error) => return Err(Failure::io("the command", &error.into())),
        }
    }
}

fn is_first_process() -> bool {
    rustix::process::getpid() == Pid::INIT
}

/// Ends as the command did: with the same code, or by the same signal. One that leaves a
/// core behind is only reported: the core would be of this process.
pub fn end_like(status: WaitStatus) -> ExitCode {
    if let Some(signal) = status.terminating_signal() {
        let ends_without_core = [
            SIGHUP, SIGINT, SIGTERM, SIGKILL, SIGALRM, SIGUSR1, SIGUSR2, SIGPIPE,
        ];
        if !is_first_process() && ends_without_core.contains(&signal) {
            // Does not return for a signal that ends a process.
            let _ = signal_hook::low_level::emulate_default_handler(signal);
        }
        return ExitCode::from(u8::try_from(128 + signal).unwrap_or(1));
    }
    let code = status
        .exit_status()
        .and_then(|code| u8::try_from(code).ok());
    ExitCode::from(code.unwrap_or(1))
}

/// The signals that this process ignores, as a bit each, the first for signal 1; none
/// where the system does not tell.
fn ignored_signals() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or(0)
}
