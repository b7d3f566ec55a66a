//! Asking at the terminal: for secrets, which are not shown, and whether to go on.
//!
//! The terminal itself is asked, also when standard input is redirected. While a secret
//! is entered the terminal hands over each character as it is typed: a line may have any
//! length, where the kernel's own line editing drops what is beyond 4,095 characters, and
//! JSON may have several lines. What a line editor does is done here: backspace, Ctrl-W,
//! Ctrl-U, Ctrl-D.
//!
//! What is typed before the prompt is shown is discarded: it was visible, and half of
//! something pasted is worse than nothing. What is pasted beyond the end of the answer is
//! discarded as well and an error, so that no shell takes it for a command.

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

/// No secret is longer.
const MAX_BYTES: usize = 64 * 1024;

/// How long nothing arrives after the last of what was pasted. Terminals hand over a
/// paste in pieces, without a pause that a person could make.
const QUIET: Duration = Duration::from_millis(100);

/// How long a signal is given to end the program.
const TO_END: Duration = Duration::from_secs(1);

/// The longest answer to a question.
const MAX_ANSWER_BYTES: usize = 64;

/// What terminals put around what is pasted, where a program before asked them to.
const PASTE_MARKS: [&[u8]; 2] = [b"\x1b[200~", b"\x1b[201~"];

/// What is to be entered.
#[derive(Clone, Copy, PartialEq)]
pub enum Shape {
    /// One line.
    Line,
    /// JSON, which may have several lines and ends where its first object does; or
    /// anything else that is pasted, such as base64 in lines.
    Json,
}

/// Asks for a secret, without showing what is typed. The terminal shows again what is
/// typed also when a signal ends the program meanwhile.
pub fn prompt_secret(prompt: &str, shape: Shape) -> Result<Secret, CliError> {
    let mut terminal = Terminal::open()?;
    let hidden = terminal.hide().map_err(|error| failed(&error))?;
    let entered = terminal.enter(prompt, shape);
    hidden.show();
    entered
}

/// Asks a question at the terminal; the answer is no unless it is yes.
pub fn confirm(question: &str) -> Result<bool, CliError> {
    let mut terminal = Terminal::open()?;
    let answer = terminal.answer(question).map_err(|error| failed(&error))?;
    let answer = answer.trim_ascii();
    Ok(answer.eq_ignore_ascii_case(b"y") || answer.eq_ignore_ascii_case(b"yes"))
}

fn failed(error: &std::io::Error) -> CliError {
    CliError::io("the terminal", error)
}

struct Terminal {
    tty: File,
    before: Termios,
}

/// A terminal that does not show what is typed, until it is told to.
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
            // A terminal that is nobody's.
            Err(_) if stdin.is_terminal() => stdin
                .as_fd()
                .try_clone_to_owned()
                .map_err(|error| failed(&error))?
                .into(),
            Err(_) => return Err(CliError::invalid("there is no terminal to ask at")),
        };
        let before = tcgetattr(&tty).map_err(|error| failed(&error.into()))?;
        Ok(Terminal { tty, before })
    }

    /// Stops showing what is typed, and editing lines.
    fn hide(&self) -> std::io::Result<Hidden> {
        let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP, SIGQUIT])?;
        let handle = signals.handle();
        let (tty, before) = (self.tty.try_clone()?, self.before.clone());
        let restorer = std::thread::Builder::new().spawn(move || {
            if let Some(signal) = signals.forever().next() {
                // On the way out there is nobody to tell.
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
        // Stopped, the shell would be left with a terminal that shows nothing.
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
        let io = |error: std::io::Error| failed(&error);
        if self.is_ready(Duration::ZERO).map_err(io)? {
            self.discard().map_err(io)?;
            self.write("what was typed before this prompt is discarded\n")
                .map_err(io)?;
        }
        self.write(&sanitize(prompt)).map_err(io)?;
        let entered = self.read(shape);
        let rest = match entered {
            // The signal that interrupted is about to end the program.
            Err(ref error) if error.kind() == ErrorKind::Interrupted => {
                std::thread::sleep(TO_END);
                Ok(false)
            }
            _ => self.discard(),
        };
        // The line break of the answer was not shown.
        self.write("\n").map_err(io)?;
        let entered = entered.map_err(io)?;
        if rest.map_err(io)? {
            return Err(CliError::invalid(match shape {
                Shape::Line => "several lines were entered where one is wanted; nothing is taken",
                Shape::Json => "something follows the JSON that was entered; nothing is taken",
            }));
        }
        entered
            .map(|text| Secret::new(&text))
            .ok_or_else(|| CliError::invalid(format!("more than {MAX_BYTES} bytes were entered")))
    }

    /// Reads an answer to its end; `None` if it is too long.
    fn read(&mut self, shape: Shape) -> std::io::Result<Option<Zeroizing<Vec<u8>>>> {
        // Never larger, so that nothing is left behind where it was before.
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
                // A character that is switched off is 0.
                0 => {}
                8 | 127 => erase(&mut text),
                byte if byte == kill => text.clear(),
                byte if byte == word => erase_word(&mut text),
                byte if byte == end => break,
                b'\n' | b'\r' => match shape {
                    Shape::Json if is_object(&text) => text.push(b'\n'),
                    // A paste goes on at once, a person has pressed the key.
                    Shape::Json if !text.is_empty() && self.is_ready(QUIET)? => text.push(b'\n'),
                    Shape::Line | Shape::Json => break,
                },
                byte => text.push(byte),
            }
            if text.len() > MAX_BYTES {
                is_too_long = true;
                text.clear();
            }
            if byte == b'}' && shape == Shape::Json && is_whole(&text) {
                break;
            }
        }
        without_marks(&mut text);
        Ok((!is_too_long).then_some(text))
    }

    /// The next byte; `None` at the end of the terminal.
    fn next(&mut self) -> std::io::Result<Option<u8>> {
        let mut byte = Zeroizing::new([0]);
        let count = self.tty.read(&mut *byte)?;
        Ok(byte.first().copied().filter(|_| count > 0))
    }

    /// Drops what arrives until nothing more does. Returns whether there was anything
    /// but white space.
    fn discard(&mut self) -> std::io::Result<bool> {
        let mut found = Zeroizing::new(Vec::with_capacity(PASTE_MARKS[0].len()));
        let mut is_more = false;
        while self.is_ready(QUIET)? {
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

    /// Whether something can be read within that time.
    fn is_ready(&self, within: Duration) -> std::io::Result<bool> {
        let within = Timespec::try_from(within).map_err(std::io::Error::other)?;
        let mut waiting = [PollFd::new(&self.tty, PollFlags::IN)];
        Ok(poll(&mut waiting, Some(&within))? > 0)
    }

    fn answer(&mut self, question: &str) -> std::io::Result<Vec<u8>> {
        // What was typed before the question does not answer it.
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
    /// Shows again what is typed; what nobody has read until now is lost.
    fn show(mut self) {
        let _ = tcsetattr(&self.tty, OptionalActions::Flush, &self.before);
        self.handle.close();
        if let Some(restorer) = self.restorer.take() {
            let _ = restorer.join();
        }
    }
}

/// Takes the last character away.
fn erase(text: &mut Vec<u8>) {
    while text.pop().is_some_and(|byte| byte & 0xc0 == 0x80) {}
}

/// Takes the last word away.
fn erase_word(text: &mut Vec<u8>) {
    while text.last().is_some_and(u8::is_ascii_whitespace) {
        text.pop();
    }
    while text.last().is_some_and(|byte| !byte.is_ascii_whitespace()) {
        text.pop();
    }
}

/// Takes away what a terminal puts around a paste.
fn without_marks(text: &mut Vec<u8>) {
    for mark in PASTE_MARKS {
        while let Some(start) = text.windows(mark.len()).position(|part| part == mark) {
            text.drain(start..start + mark.len());
        }
    }
}

/// Whether a text begins as an object of JSON does.
fn is_object(text: &[u8]) -> bool {
    let [begin, _] = PASTE_MARKS;
    let text = text.trim_ascii_start();
    let text = text.strip_prefix(begin).unwrap_or(text).trim_ascii_start();
    let text = entail_text::strict::without_mark(text);
    text.trim_ascii_start().starts_with(b"{")
}

/// Whether a text begins with an object of JSON that ends in it. Outside of its texts
/// there may be escapes, as in what was escaped as a whole.
fn is_whole(text: &[u8]) -> bool {
    if !is_object(text) {
        return false;
    }
    let (mut depth, mut is_text, mut is_escaped) = (0usize, false, false);
    for byte in text {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b'"' => is_text = !is_text,
            b'{' if !is_text => depth += 1,
            b'}' if !is_text => {
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
#[allow(clippy::unwrap_used)] // a test may
mod tests {
    use super::*;

    #[test]
    fn an_object_is_whole_where_its_last_brace_is() {
        for whole in [
            "{}",
            " {\"a\": {\"b\": \"}\"}}",
            "{\"a\": \"\\\"}\"}",
            "{\\n \\\"a\\\": \\\"b\\\"}",
            "\u{feff}{}",
            "\u{1b}[200~{}",
        ] {
            assert!(is_whole(whole.as_bytes()), "{whole}");
            let cut = &whole[..whole.len() - 1];
            assert!(!is_whole(cut.as_bytes()), "{cut}");
        }
        assert!(!is_whole(b"}"));
        assert!(!is_whole(b"'{}'"));
    }

    #[test]
    fn characters_and_words_are_erased_whole() {
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
