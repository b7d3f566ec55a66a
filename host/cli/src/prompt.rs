//! Prompts at the terminal: for secrets, which are not shown, and for confirmation.
//!
//! The terminal is used even if standard input is redirected. While a secret is entered, each
//! character is read as it is typed, because the kernel's line editing drops what is beyond
//! 4,095 characters, and JSON may have several lines. So this module implements the keys of a
//! line editor: backspace, Ctrl-W, Ctrl-U, Ctrl-D.
//!
//! Input before the prompt is discarded: it was visible, and part of a paste is useless. Input
//! after the end of the answer is discarded too and an error, so that no shell runs it as a
//! command.

use std::fs::File;
use std::io::{ErrorKind, IsTerminal as _, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::thread::JoinHandle;
use std::time::Duration;

use entail::Secret;
use entail_text::sanitize;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::termios::{
    InputModes, LocalModes, OptionalActions, QueueSelector, SpecialCodeIndex, Termios, tcflush,
    tcgetattr, tcsetattr,
};
use signal_hook::consts::signal::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::{Handle, Signals};
use zeroize::Zeroizing;

use crate::error::CliError;

/// The maximum length of a secret.
const MAX_BYTES: usize = 64 * 1024;

/// The pause that ends a paste. A terminal delivers a paste in pieces, with shorter pauses
/// than a person makes.
const PASTE_END: Duration = Duration::from_millis(100);

/// How long to wait for a signal to end the program.
const SIGNAL_WAIT: Duration = Duration::from_secs(1);

/// The maximum length of an answer to a question.
const MAX_ANSWER_BYTES: usize = 64;

/// The marks that terminals put around a paste if an earlier program asked for them.
const PASTE_MARKS: [&[u8]; 2] = [b"\x1b[200~", b"\x1b[201~"];

/// The form of a secret.
#[derive(Clone, Copy, PartialEq)]
pub enum Shape {
    /// One line.
    Line,
    /// JSON, which may have several lines and ends with its first object; or another paste of
    /// several lines, such as base64.
    Json,
}

/// Asks for a secret without showing what is typed. The terminal's settings are restored even
/// if a signal ends the program meanwhile.
///
/// # Errors
///
/// Fails if there is no terminal, or the input is too long or does not end with the answer.
pub fn prompt_secret(prompt: &str, shape: Shape) -> Result<Secret, CliError> {
    let mut terminal = Terminal::open()?;
    let hidden = terminal.hide().map_err(|error| terminal_error(&error))?;
    let entered = terminal.enter(prompt, shape);
    hidden.show();
    entered
}

/// Asks a question at the terminal. Returns whether the answer was `y` or `yes`.
///
/// # Errors
///
/// Fails if there is no terminal.
pub fn confirm(question: &str) -> Result<bool, CliError> {
    let mut terminal = Terminal::open()?;
    let answer = terminal
        .answer(question)
        .map_err(|error| terminal_error(&error))?;
    let answer = answer.trim_ascii();
    Ok(answer.eq_ignore_ascii_case(b"y") || answer.eq_ignore_ascii_case(b"yes"))
}

fn terminal_error(error: &std::io::Error) -> CliError {
    CliError::io("the terminal", error)
}

struct Terminal {
    tty: File,
    before: Termios,
}

/// A terminal that does not show what is typed.
struct Hidden {
    tty: File,
    before: Termios,
    handle: Handle,
    restorer: Option<JoinHandle<()>>,
}

impl Terminal {
    fn open() -> Result<Self, CliError> {
        let flags = OFlags::NOCTTY.bits().cast_signed();
        let opened = File::options()
            .read(true)
            .write(true)
            .custom_flags(flags)
            .open("/dev/tty");
        let stdin = std::io::stdin();
        let tty = match opened {
            Ok(tty) => tty,
            // A terminal that does not control this process.
            Err(_) if stdin.is_terminal() => stdin
                .as_fd()
                .try_clone_to_owned()
                .map_err(|error| terminal_error(&error))?
                .into(),
            Err(_) => return Err(CliError::invalid("there is no terminal to ask at")),
        };
        let before = tcgetattr(&tty).map_err(|error| terminal_error(&error.into()))?;
        Ok(Terminal { tty, before })
    }

    /// Turns off echo and line editing.
    fn hide(&self) -> std::io::Result<Hidden> {
        let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP, SIGQUIT])?;
        let handle = signals.handle();
        let (tty, before) = (self.tty.try_clone()?, self.before.clone());
        let restorer = std::thread::Builder::new().spawn(move || {
            if let Some(signal) = signals.forever().next() {
                // The program ends, so errors do not matter.
                let _ = tcsetattr(&tty, OptionalActions::Flush, &before);
                let _ = signal_hook::low_level::emulate_default_handler(signal);
            }
        })?;
        let hidden = Hidden {
            tty: self.tty.try_clone()?,
            before: self.before.clone(),
            handle,
            restorer: Some(restorer),
        };
        let mut mode = self.before.clone();
        mode.local_modes -= LocalModes::ECHO
            | LocalModes::ECHOE
            | LocalModes::ECHOK
            | LocalModes::ECHONL
            | LocalModes::ICANON
            | LocalModes::IEXTEN;
        mode.input_modes -= InputModes::IXON | InputModes::ISTRIP;
        mode.special_codes[SpecialCodeIndex::VMIN] = 1;
        mode.special_codes[SpecialCodeIndex::VTIME] = 0;
        // If the program stopped, the shell would get a terminal without echo.
        mode.special_codes[SpecialCodeIndex::VSUSP] = 0;
        match tcsetattr(&self.tty, OptionalActions::Now, &mode) {
            Ok(()) => Ok(hidden),
            Err(error) => {
                hidden.show();
                Err(error.into())
            }
        }
    }

    fn enter(&mut self, prompt: &str, shape: Shape) -> Result<Secret, CliError> {
        let io = |error: std::io::Error| terminal_error(&error);
        if self.is_ready(Duration::ZERO).map_err(io)? {
            self.discard().map_err(io)?;
            self.write("input before this prompt was discarded\n")
                .map_err(io)?;
        }
        self.write(&sanitize(prompt)).map_err(io)?;
        let entered = self.read(shape);
        let rest = match entered {
            // The signal that interrupted the read is about to end the program.
            Err(ref error) if error.kind() == ErrorKind::Interrupted => {
                std::thread::sleep(SIGNAL_WAIT);
                Ok(false)
            }
            _ => self.discard(),
        };
        // The end of the answer was not shown.
        self.write("\n").map_err(io)?;
        let entered = entered.map_err(io)?;
        if rest.map_err(io)? {
            return Err(CliError::invalid(match shape {
                Shape::Line => {
                    "several lines were entered where one is expected; nothing was changed"
                }
                Shape::Json => "there is more input after the JSON; nothing was changed",
            }));
        }
        entered
            .map(|text| Secret::new(&text))
            .ok_or_else(|| CliError::invalid(format!("more than {MAX_BYTES} bytes were entered")))
    }

    /// Reads an answer to its end; `None` if it is too long.
    fn read(&mut self, shape: Shape) -> std::io::Result<Option<Zeroizing<Vec<u8>>>> {
        // The buffer never grows, because that would leave copies behind.
        let mut text = Zeroizing::new(Vec::with_capacity(MAX_BYTES + 1));
        let code = |index| self.before.special_codes[index];
        let (kill, end, word) = (
            code(SpecialCodeIndex::VKILL),
            code(SpecialCodeIndex::VEOF),
            code(SpecialCodeIndex::VWERASE),
        );
        let mut is_too_long = false;
        while let Some(byte) = self.next()? {
            match byte {
                // A special character that is off is 0.
                0 => {}
                8 | 127 => erase(&mut text),
                byte if byte == kill => text.clear(),
                byte if byte == word => erase_word(&mut text),
                byte if byte == end => break,
                b'\n' | b'\r' => match shape {
                    Shape::Json if is_object(&text) => text.push(b'\n'),
                    // A paste continues at once; otherwise a person pressed the key.
                    Shape::Json if !text.is_empty() && self.is_ready(PASTE_END)? => {
                        text.push(b'\n');
                    }
                    Shape::Line | Shape::Json => break,
                },
                byte => text.push(byte),
            }
            if text.len() > MAX_BYTES {
                is_too_long = true;
                text.clear();
            }
            if byte == b'}' && shape == Shape::Json && is_complete(&text) {
                break;
            }
        }
        without_marks(&mut text);
        Ok((!is_too_long).then_some(text))
    }

    /// Reads a byte; `None` at the end of the input.
    fn next(&mut self) -> std::io::Result<Option<u8>> {
        let mut byte = Zeroizing::new([0]);
        let count = self.tty.read(&mut *byte)?;
        Ok(byte.first().copied().filter(|_| count > 0))
    }

    /// Discards input until no more arrives. Returns whether it contained more than white
    /// space.
    fn discard(&mut self) -> std::io::Result<bool> {
        let mut found = Zeroizing::new(Vec::with_capacity(PASTE_MARKS[0].len()));
        let mut is_more = false;
        while self.is_ready(PASTE_END)? {
            let Some(byte) = self.next()? else { break };
            found.push(byte);
            if !PASTE_MARKS.iter().any(|mark| mark.starts_with(&found)) {
                is_more |= !found.trim_ascii().is_empty();
                found.clear();
            } else if PASTE_MARKS.contains(&found.as_slice()) {
                found.clear();
            }
        }
        Ok(is_more || !found.trim_ascii().is_empty())
    }

    /// Whether input arrives within a time.
    fn is_ready(&self, within: Duration) -> std::io::Result<bool> {
        let within = Timespec::try_from(within).map_err(std::io::Error::other)?;
        let mut waiting = [PollFd::new(&self.tty, PollFlags::IN)];
        Ok(poll(&mut waiting, Some(&within))? > 0)
    }

    fn answer(&mut self, question: &str) -> std::io::Result<Vec<u8>> {
        // Input before the question does not answer it.
        tcflush(&self.tty, QueueSelector::IFlush)?;
        self.write(&format!("{} [y/N] ", sanitize(question)))?;
        let mut answer = Vec::new();
        while let Some(byte) = self.next()? {
            if byte == b'\n' {
                break;
            }
            if answer.len() < MAX_ANSWER_BYTES {
                answer.push(byte);
            }
        }
        Ok(answer)
    }

    fn write(&mut self, text: &str) -> std::io::Result<()> {
        self.tty.write_all(text.as_bytes())?;
        self.tty.flush()
    }
}

impl Hidden {
    /// Restores the terminal's settings. Unread input is lost.
    fn show(mut self) {
        let _ = tcsetattr(&self.tty, OptionalActions::Flush, &self.before);
        self.handle.close();
        if let Some(restorer) = self.restorer.take() {
            let _ = restorer.join();
        }
    }
}

/// Removes the last character.
fn erase(text: &mut Vec<u8>) {
    while text.pop().is_some_and(|byte| byte & 0xc0 == 0x80) {}
}

/// Removes the last word.
fn erase_word(text: &mut Vec<u8>) {
    while text.last().is_some_and(u8::is_ascii_whitespace) {
        text.pop();
    }
    while text.last().is_some_and(|byte| !byte.is_ascii_whitespace()) {
        text.pop();
    }
}

/// Removes the marks around a paste.
fn without_marks(text: &mut Vec<u8>) {
    for mark in PASTE_MARKS {
        while let Some(start) = text.windows(mark.len()).position(|part| part == mark) {
            text.drain(start..start + mark.len());
        }
    }
}

/// Whether a text starts like a JSON object.
fn is_object(text: &[u8]) -> bool {
    let [begin, _] = PASTE_MARKS;
    let text = text.trim_ascii_start();
    let text = text.strip_prefix(begin).unwrap_or(text).trim_ascii_start();
    let text = entail_text::strict::without_mark(text);
    text.trim_ascii_start().starts_with(b"{")
}

/// Whether a text starts with a complete JSON object. There may be escapes outside of its
/// strings, as in JSON that was escaped as a whole.
fn is_complete(text: &[u8]) -> bool {
    if !is_object(text) {
        return false;
    }
    let (mut depth, mut is_string, mut is_escaped) = (0usize, false, false);
    for byte in text {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b'"' => is_string = !is_string,
            b'{' if !is_string => depth += 1,
            b'}' if !is_string => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return true;
                }
            }
            _ => {}
        }
    }
    false
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // allowed in tests
mod tests {
    use super::*;

    #[test]
    fn an_object_is_complete_at_its_last_brace() {
        for whole in [
            "{}",
            " {\"a\": {\"b\": \"}\"}}",
            "{\"a\": \"\\\"}\"}",
            "{\\n \\\"a\\\": \\\"b\\\"}",
            "\u{feff}{}",
            "\u{1b}[200~{}",
        ] {
            assert!(is_complete(whole.as_bytes()), "{whole}");
            let cut = &whole[..whole.len() - 1];
            assert!(!is_complete(cut.as_bytes()), "{cut}");
        }
        assert!(!is_complete(b"}"));
        assert!(!is_complete(b"'{}'"));
    }

    #[test]
    fn whole_characters_and_words_are_erased() {
        let mut text = "schlüssel ö".as_bytes().to_vec();
        erase(&mut text);
        assert_eq!(text, "schlüssel ".as_bytes());
        erase_word(&mut text);
        assert_eq!(text, b"");
        erase(&mut text);
        let mut text = b"\x1b[200~sk-1\x1b[201~".to_vec();
        without_marks(&mut text);
        assert_eq!(text, b"sk-1");
    }
}
