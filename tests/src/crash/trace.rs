//! Parses the output of strace.
//!
//! Strings and paths are hexadecimal (`-xx`), descriptors are followed by their path
//! (`-y`), and lines begin with a thread id (`-f`).

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;

const UNFINISHED: &str = "<unfinished ...>";

/// An event in a thread.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// A call has begun that returns after other events.
    Begun {
        thread: u32,
        name: String,
        arguments: String,
    },
    Done(Call),
    Ended {
        thread: u32,
    },
}

/// A call that has returned.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Call {
    pub(super) thread: u32,
    pub(super) name: String,
    pub(super) arguments: Vec<Argument>,
    pub(super) result: CallResult,
}

/// The result of a call.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum CallResult {
    Returned(Argument),
    Failed,
    /// The thread ended during the call.
    Unknown,
}

/// An argument or return value, as strace writes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Argument(pub(super) String);

/// Parses lines, and joins calls that strace printed in parts.
#[derive(Debug, Default)]
pub(super) struct Reader {
    unfinished: BTreeMap<u32, String>,
}

impl Reader {
    /// Parses a line; `None` if it contains no event.
    pub(super) fn read(&mut self, line: &str) -> io::Result<Option<Event>> {
        let (thread, text) = line.split_once(' ').ok_or_else(|| unreadable(line))?;
        let thread: u32 = thread.parse().map_err(|_| unreadable(line))?;
        let text = text.trim_start();
        if text.starts_with("+++") {
            return Ok(Some(Event::Ended { thread }));
        }
        if text.starts_with("---") {
            return Ok(None);
        }
        if let Some(begun) = text.strip_suffix(UNFINISHED) {
            return self.begin(thread, begun.trim_end()).map(Some);
        }
        match text.strip_prefix("<... ") {
            None => done(thread, text).map(Some),
            Some(resumed) => {
                let (_, rest) = resumed
                    .split_once(" resumed>")
                    .ok_or_else(|| unreadable(line))?;
                let begun = self.unfinished.remove(&thread).unwrap_or_default();
                done(thread, &(begun + rest)).map(Some)
            }
        }
    }

    fn begin(&mut self, thread: u32, text: &str) -> io::Result<Event> {
        self.unfinished.insert(thread, text.to_owned());
        let (name, arguments) = text.split_once('(').ok_or_else(|| unreadable(text))?;
        Ok(Event::Begun {
            thread,
            name: name.to_owned(),
            arguments: arguments.to_owned(),
        })
    }
}

fn done(thread: u32, text: &str) -> io::Result<Event> {
    let malformed = || unreadable(text);
    let (name, rest) = text.split_once('(').ok_or_else(malformed)?;
    let (arguments, result) = rest.rsplit_once(" = ").ok_or_else(malformed)?;
    let arguments = arguments
        .trim_end()
        .strip_suffix(')')
        .ok_or_else(malformed)?;
    Ok(Event::Done(Call {
        thread,
        name: name.to_owned(),
        arguments: split(arguments),
        result: outcome(result),
    }))
}

fn outcome(text: &str) -> CallResult {
    if text.starts_with("-1 ") || text.starts_with("? ERESTART") {
        CallResult::Failed
    } else if text.starts_with('?') {
        CallResult::Unknown
    } else {
        CallResult::Returned(Argument(text.to_owned()))
    }
}

/// Splits at top-level commas.
fn split(text: &str) -> Vec<Argument> {
    let mut arguments = Vec::new();
    let mut argument = String::new();
    let mut depth = 0_usize;
    let mut quoted = false;
    for character in text.chars() {
        match character {
            '"' => quoted = !quoted,
            '(' | '[' | '{' if !quoted => depth += 1,
            ')' | ']' | '}' if !quoted => depth = depth.saturating_sub(1),
            ',' if !quoted && depth == 0 => {
                arguments.push(Argument(std::mem::take(&mut argument)));
                continue;
            }
            // Leading spaces are not part of an argument.
            ' ' if argument.is_empty() => continue,
            _ => {}
        }
        argument.push(character);
    }
    if !argument.is_empty() {
        arguments.push(Argument(argument));
    }
    arguments
}

impl Argument {
    /// The leading number: decimal, octal or hexadecimal.
    pub(super) fn number(&self) -> Option<i64> {
        let digits: &str = self
            .0
            .split(|character: char| !character.is_ascii_alphanumeric() && character != '-')
            .next()?;
        if let Some(hexadecimal) = digits.strip_prefix("0x") {
            return i64::from_str_radix(hexadecimal, 16).ok();
        }
        match digits.strip_prefix('0') {
            None | Some("") => digits.parse().ok(),
            Some(octal) => i64::from_str_radix(octal, 8).ok(),
        }
    }

    /// The path of a descriptor, or another description by the system.
    pub(super) fn descriptor_path(&self) -> Option<PathBuf> {
        let (_, after) = self.0.split_once('<')?;
        let (path, _) = after.split_once('>')?;
        Some(PathBuf::from(OsString::from_vec(unescape(path))))
    }

    /// Whether the descriptor's file was unlinked.
    pub(super) fn is_deleted(&self) -> bool {
        self.0.ends_with("(deleted)")
    }

    /// Whether it is a string.
    pub(super) fn is_string(&self) -> bool {
        self.0.starts_with('"')
    }

    /// The concatenated strings in the argument. Fails if strace cut one.
    pub(super) fn bytes(&self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        for (index, part) in self.0.split('"').enumerate() {
            // Odd parts are inside quotes.
            if index % 2 == 1 {
                bytes.append(&mut unescape(part));
            } else if part.starts_with("...") {
                return Err(io::Error::other("strace cut a string short"));
            }
        }
        Ok(bytes)
    }

    pub(super) fn path(&self) -> io::Result<PathBuf> {
        Ok(PathBuf::from(OsString::from_vec(self.bytes()?)))
    }

    pub(super) fn has(&self, flag: &str) -> bool {
        self.0
            .split(|character: char| !character.is_ascii_alphanumeric() && character != '_')
            .any(|word| word == flag)
    }
}

/// Decodes `\x` escapes; other characters stay unchanged.
fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len() / 4);
    let mut rest = text.as_bytes();
    loop {
        match rest {
            [b'\\', b'x', high, low, after @ ..] => {
                bytes.push(digit(*high) << 4 | digit(*low));
                rest = after;
            }
            [byte, after @ ..] => {
                bytes.push(*byte);
                rest = after;
            }
            [] => return bytes,
        }
    }
}

fn digit(character: u8) -> u8 {
    match character {
        b'0'..=b'9' => character - b'0',
        b'a'..=b'f' => character - b'a' + 10,
        _ => 0,
    }
}

fn unreadable(line: &str) -> io::Error {
    let start: String = line.chars().take(200).collect();
    io::Error::other(format!("unexpected output of strace: {start}"))
}
