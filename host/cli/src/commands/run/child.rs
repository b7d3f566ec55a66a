//! Waits for a command that runs as a child process.
//!
//! Every signal that is sent to this process is forwarded to the command; the kernel sends
//! it the terminal's signals already. When the command stops, this process stops too, so
//! that the shell gets control back; when this process continues, so does the command. As
//! the first process of a container, this process also reaps orphans, and ends with
//! 128 + the signal, because the kernel does not let a signal end it.

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

use crate::error::{CliError, ErrorCode};

/// Signals that no process can catch, and those that report a fault of this process.
const NOT_FORWARDED: [i32; 7] = [SIGKILL, SIGSTOP, SIGILL, SIGTRAP, SIGBUS, SIGFPE, SIGSEGV];

/// Signals that the C library reserves.
const RESERVED: [i32; 2] = [32, 33];

/// The highest number of a signal on Linux.
const MAX_SIGNAL: i32 = 64;

/// The signals that are forwarded to the command.
pub struct Signals(SignalsInfo<WithOrigin>);

impl Signals {
    /// Catches the signals from now on. Those that the caller ignores stay ignored, as under
    /// nohup(1).
    ///
    /// # Errors
    ///
    /// Fails if the system does not allow it.
    pub fn catch() -> Result<Self, CliError> {
        let ignored = ignored_signals();
        let is_ignored = |signal: i32| ignored & (1 << (signal - 1)) != 0;
        let caught = (1..=MAX_SIGNAL).filter(|signal| {
            // The standard library ignores SIGPIPE for every process.
            let wanted = [SIGCHLD, SIGPIPE].contains(signal) || !is_ignored(*signal);
            wanted && !NOT_FORWARDED.contains(signal) && !RESERVED.contains(signal)
        });
        SignalsInfo::new(caught)
            .map(Signals)
            .map_err(|error| CliError::io("signals", &error))
    }

    /// Forwards the signals until the command has ended, and returns its status.
    ///
    /// # Errors
    ///
    /// Fails if the command cannot be waited for.
    pub fn wait_forwarding_signals(mut self, child: &Child) -> Result<WaitStatus, CliError> {
        let process = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let process =
            process.ok_or_else(|| CliError::new(ErrorCode::Io, "the command has no process"))?;
        for origin in self.0.forever() {
            if origin.signal == SIGCHLD {
                if let Some(status) = reap_children(process)? {
                    return Ok(status);
                }
            } else if !is_sent_by_kernel(origin.signal, origin.cause)
                && let Some(signal) = Signal::from_raw(origin.signal)
            {
                // It may have ended meanwhile.
                let _ = kill_process(process, signal);
            }
        }
        Err(CliError::new(
            ErrorCode::Io,
            "the command cannot be waited for",
        ))
    }
}

/// Whether the kernel sent a signal to every process at the terminal, including the command.
fn is_sent_by_kernel(signal: i32, cause: Cause) -> bool {
    let of_terminal = [
        SIGINT, SIGQUIT, SIGTSTP, SIGTTIN, SIGTTOU, SIGWINCH, SIGCONT,
    ];
    cause == Cause::Kernel && of_terminal.contains(&signal)
}

/// Collects the status of all children that changed; returns the command's if it ended.
fn reap_children(command: Pid) -> Result<Option<WaitStatus>, CliError> {
    // `None` means every child.
    let process = if is_first_process() {
        None
    } else {
        Some(command)
    };
    loop {
        let options = WaitOptions::NOHANG | WaitOptions::UNTRACED;
        match waitpid(process, options) {
            Ok(Some((changed, status))) if changed == command => {
                if !status.stopped() {
                    return Ok(Some(status));
                }
                // Returns when this process is continued; SIGCONT is then forwarded.
                let _ = signal_hook::low_level::raise(SIGSTOP);
            }
            // An orphan that is reaped here.
            Ok(Some(_)) | Err(Errno::INTR) => {}
            Ok(None) => return Ok(None),
            Err(error) => return Err(CliError::io("the command", &error.into())),
        }
    }
}

fn is_first_process() -> bool {
    rustix::process::getpid() == Pid::INIT
}

/// Ends this process as the command ended: with the same status, or by the same signal. A
/// signal that dumps core is only reported, because the core would be of this process.
pub fn exit_as(status: WaitStatus) -> ExitCode {
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

/// The signals that this process ignores, one bit each, the lowest for signal 1; 0 if the
/// system does not report them.
fn ignored_signals() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or(0)
}
