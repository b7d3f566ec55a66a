//! The exit statuses of the program. `entail --help` lists them from this table.

use std::process::ExitCode;

/// How the program ends. `entail run` ends as the command that it ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ExitStatus {
    /// The command did what it was asked to do.
    Done = 0,
    /// Another error, such as one of the file system.
    OtherError = 1,
    /// The command line is wrong.
    Usage = 2,
    /// The policy refused the request.
    Refused = 10,
    /// The principal may not do this.
    NotAuthorized = 11,
    /// The policy failed, would fail, or is not admitted.
    PolicyFailed = 12,
    /// The policy chose a credential that it may not choose.
    GuardViolated = 13,
    /// The store or the home cannot be used now.
    Unavailable = 14,
    /// The store or the decision log does not hold what was written.
    Tampered = 15,
    /// A key is missing or locked, or a secret was sealed for other keys or hosts.
    Sealed = 16,
    /// The decision cannot be recorded.
    NotRecorded = 17,
    /// A scope, provider or credential does not exist.
    NotFound = 18,
    /// The input is not valid.
    Invalid = 19,
    /// A comparison found a request that would get more than it gets now. A pipeline can stop
    /// for this status and for no other.
    Widened = 20,
    /// `entail run` found the command but could not start it, by the convention of env(1).
    CannotStart = 126,
    /// `entail run` did not find the command, by the convention of env(1).
    CommandNotFound = 127,
}

/// Each status with its line in `--help`. The last two are explained below the list.
const DESCRIPTIONS: [(ExitStatus, &str); 14] = [
    (ExitStatus::Done, "done"),
    (ExitStatus::OtherError, "another error"),
    (ExitStatus::Usage, "the command line is wrong"),
    (ExitStatus::Refused, "refused by the policy"),
    (ExitStatus::NotAuthorized, "not authorized"),
    (
        ExitStatus::PolicyFailed,
        "the policy failed (trap, deadline, memory, bad output), would fail, or is not\n      admitted",
    ),
    (
        ExitStatus::GuardViolated,
        "the policy chose a credential that it may not choose",
    ),
    (
        ExitStatus::Unavailable,
        "the store or the home is unavailable",
    ),
    (
        ExitStatus::Tampered,
        "tampered: the store or the decision log does not hold what was written",
    ),
    (
        ExitStatus::Sealed,
        "a key is missing or locked, or a secret is for other keys or hosts",
    ),
    (ExitStatus::NotRecorded, "the decision cannot be recorded"),
    (
        ExitStatus::NotFound,
        "there is no such scope, provider or credential",
    ),
    (ExitStatus::Invalid, "the input is not valid"),
    (
        ExitStatus::Widened,
        "a request would get more than now (policy replay and diff; every change with\n      --dry-run)",
    ),
];

/// The list of exit statuses in `entail --help`.
pub fn help() -> String {
    let lines: Vec<String> = DESCRIPTIONS
        .iter()
        .map(|(status, description)| format!("  {:>2}  {description}", *status as u8))
        .collect();
    format!(
        "Exit codes:\n{}\n`entail run` exits as the command does; {} if it cannot be started, {} if it\nis not found.",
        lines.join("\n"),
        ExitStatus::CannotStart as u8,
        ExitStatus::CommandNotFound as u8
    )
}

impl From<ExitStatus> for ExitCode {
    fn from(status: ExitStatus) -> Self {
        ExitCode::from(status as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_lists_every_status_in_order() {
        let numbers: Vec<u8> = DESCRIPTIONS
            .iter()
            .map(|(status, _)| *status as u8)
            .collect();
        assert_eq!(
            numbers,
            [0, 1, 2, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20]
        );
        let help = help();
        assert!(help.contains("\n   0  done\n  "));
        assert!(help.contains("126 if it cannot be started"));
    }
}
