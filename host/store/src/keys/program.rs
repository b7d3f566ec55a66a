//! Programs that sign or decrypt: a service that is run once for each call.
//!
//! The program gets its input on standard input and writes the result to standard output. A signer
//! gets the bytes to sign, and writes the 64 bytes of the signature, as they are or in hexadecimal
//! digits. An opener gets an age file, and writes what it contains: `age --decrypt --identity FILE`
//! is one. Standard error and the terminal are the program's own, so that it can ask for a PIN.
//!
//! # Security
//!
//! The program is started directly, not by a shell, with the environment of this process. Its
//! output is limited in size and goes only into locked memory. It is killed if it takes too long.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::service::{OpeningService, ServiceError, SigningService};
use crate::hex;
use crate::secret::Secret;

/// How long a program may take: somebody may have to find and touch a device.
const TIME_LIMIT: Duration = Duration::from_mins(1);

/// The pause between two looks at whether a program has ended.
const POLL_INTERVAL: Duration = Duration::from_millis(2);

/// The maximum size of the output: an identity file.
const MAX_OUTPUT_BYTES: usize = 64 * 1024;

/// A program that signs or decrypts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyProgram {
    program: PathBuf,
    arguments: Vec<String>,
}

impl KeyProgram {
    /// A program with its arguments.
    pub fn new(program: impl Into<PathBuf>, arguments: Vec<String>) -> Self {
        KeyProgram {
            program: program.into(),
            arguments,
        }
    }

    fn failed(&self, reason: impl ToString) -> ServiceError {
        ServiceError {
            service: self.program.display().to_string(),
            reason: reason.to_string(),
        }
    }

    /// Runs the program with `input`, and returns its output.
    fn run(&self, input: &[u8]) -> Result<Secret, ServiceError> {
        let mut child = Command::new(&self.program)
            .args(&self.arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| self.failed(format_args!("it cannot be started: {error}")))?;
        let (Some(mut stdin), Some(mut stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(self.failed("it has no pipes"));
        };
        // It may write before it has read everything. A process that it started may keep the pipes
        // open, so nobody waits for these threads.
        let input = input.to_vec();
        std::thread::spawn(move || {
            // It may end without reading everything.
            let _ = stdin.write_all(&input);
        });
        let (sender, receiver) = mpsc::channel();
        std::thread::spawn(move || {
            let _ = sender.send(Secret::read(&mut stdout, MAX_OUTPUT_BYTES));
        });
        let deadline = Instant::now() + TIME_LIMIT;
        let output = receiver.recv_timeout(TIME_LIMIT);
        if let Ok(Ok(None)) = output {
            let _ = child.kill();
            let _ = child.wait();
            let limit = MAX_OUTPUT_BYTES / 1024;
            return Err(self.failed(format_args!("its output is larger than {limit} KiB")));
        }
        self.wait(&mut child, deadline)?;
        match output {
            Ok(Ok(Some(output))) if !output.is_empty() => Ok(output),
            Ok(Ok(_)) => Err(self.failed("its output is empty")),
            Ok(Err(error)) => Err(self.failed(error)),
            Err(_) => Err(self.failed("its output cannot be read")),
        }
    }

    /// Waits until the program ends, and kills it at the deadline. Fails unless it succeeded.
    fn wait(&self, child: &mut Child, deadline: Instant) -> Result<(), ServiceError> {
        loop {
            match child.try_wait() {
                Ok(Some(status)) if status.success() => return Ok(()),
                Ok(Some(status)) => return Err(self.failed(format_args!("it failed: {status}"))),
                Ok(None) if Instant::now() < deadline => std::thread::sleep(POLL_INTERVAL),
                Ok(None) => {
                    let _ = child.kill();
                    let _ = child.wait();
                    let limit = TIME_LIMIT.as_secs();
                    return Err(self.failed(format_args!("it took more than {limit} seconds")));
                }
                Err(error) => return Err(self.failed(error)),
            }
        }
    }
}

impl SigningService for KeyProgram {
    fn sign(&self, bytes: &[u8]) -> Result<[u8; 64], ServiceError> {
        let output = self.run(bytes)?;
        let raw = <[u8; 64]>::try_from(output.expose()).ok();
        let text = || hex::decode(output.expose_text()?.trim());
        raw.or_else(text)
            .ok_or_else(|| self.failed("its output is not an Ed25519 signature of 64 bytes"))
    }
}

impl OpeningService for KeyProgram {
    fn open(&self, file: &[u8]) -> Result<Secret, ServiceError> {
        self.run(file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> KeyProgram {
        KeyProgram::new("/bin/sh", vec!["-c".to_owned(), script.to_owned()])
    }

    #[test]
    fn the_output_of_a_program_is_what_it_decrypts() {
        let opened = shell("cat").open(b"canary-of-a-program").unwrap();
        assert_eq!(opened.expose(), b"canary-of-a-program");
        // More than a pipe holds, and a program that does not read all of it.
        let large = vec![b'x'; 10 * MAX_OUTPUT_BYTES];
        assert_eq!(shell("head -c 3").open(&large).unwrap().expose(), b"xxx");
    }

    #[test]
    fn a_signature_is_raw_bytes_or_digits() {
        let signature = [0x5a; 64];
        let raw = shell("printf 'Z%.0s' $(seq 64)").sign(b"bytes");
        assert_eq!(raw, Ok(signature));
        let digits = shell("printf '5a%.0s' $(seq 64); echo").sign(b"bytes");
        assert_eq!(digits, Ok(signature));
        let short = shell("printf '5a%.0s' $(seq 63)").sign(b"bytes");
        assert!(
            short
                .unwrap_err()
                .reason
                .contains("not an Ed25519 signature")
        );
    }

    #[test]
    fn a_program_that_fails_says_so_and_nothing_of_its_output() {
        let too_large = format!("head -c {} /dev/zero", MAX_OUTPUT_BYTES + 1);
        for (program, reason) in [
            (shell("echo canary-of-a-failure; exit 3"), "exit status: 3"),
            (shell("kill -9 $$"), "signal: 9"),
            (shell("true"), "its output is empty"),
            (shell(&too_large), "larger than 64 KiB"),
            (
                KeyProgram::new("/nonexistent", Vec::new()),
                "cannot be started",
            ),
        ] {
            let error = program.open(b"input").map(drop).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
            assert!(!error.contains("canary"), "{error}");
        }
    }
}
