//! What the program says to a command line that it does not understand.
//!
//! An argument may be anything: a key in the wrong place, or a text that drives a
//! terminal. What an error repeats of the command line is therefore cut when it is long,
//! and sanitized before the message is made of it, so that each line of the message is
//! the program's own.

use std::borrow::Cow;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use entail_text::{sanitize, sanitized};

use crate::failure::Failure;
use crate::help::command;
use crate::output::{exactly, tell};

/// The longest argument that an error repeats; keys are longer.
const MAX_SHOWN_BYTES: usize = 20;

/// Shows help, or what is wrong with the command line.
pub fn usage(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        exactly(error.render().ansi().to_string().trim_end());
        return ExitCode::SUCCESS;
    }
    let arguments: Vec<String> = std::env::args_os()
        .skip(1)
        .map(|argument| argument.to_string_lossy().into_owned())
        .collect();
    let text = message(error, &arguments);
    if arguments.iter().any(|argument| argument == "--json") {
        return Failure::new(2, "usage", text).report(true);
    }
    for line in text.lines() {
        tell!("{line}");
    }
    ExitCode::from(2)
}

/// The message of an error, whose line breaks are the program's own.
fn message(error: &clap::Error, arguments: &[String]) -> String {
    let mut text = rendered(error);
    for argument in arguments {
        let value = argument
            .split_once('=')
            .map_or(argument.as_str(), |(_, value)| value);
        if value.len() > MAX_SHOWN_BYTES && !value.starts_with("--") {
            text = text.replace(&*sanitize(value), "…");
        }
    }
    text.trim_end().to_owned()
}

fn rendered(error: &clap::Error) -> String {
    // Help in place of an error has no part of the command line in it.
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return error.render().to_string();
    }
    let mut harmless = clap::Error::new(error.kind()).with_cmd(&command());
    for (kind, value) in error.context() {
        harmless.insert(kind, harmless_value(kind, value));
    }
    let text = harmless.render().to_string();
    // Why a value was not taken, which cannot be handed to the new error.
    match (std::error::Error::source(error), text.split_once('\n')) {
        (Some(why), Some((first, rest))) => format!("{first}: {}\n{rest}", sanitized(why)),
        _ => text,
    }
}

fn harmless_value(kind: ContextKind, value: &ContextValue) -> ContextValue {
    match value {
        // It may come from a variable as well.
        ContextValue::String(text)
            if kind == ContextKind::InvalidValue && text.len() > MAX_SHOWN_BYTES =>
        {
            ContextValue::String("…".to_owned())
        }
        ContextValue::String(text) => ContextValue::String(sanitize(text).into_owned()),
        ContextValue::Strings(texts) => {
            let texts = texts.iter().map(|text| sanitize(text).into_owned());
            ContextValue::Strings(texts.collect())
        }
        ContextValue::StyledStrs(texts) => {
            let texts = texts
                .iter()
                .map(|text| Cow::into_owned(sanitize(&text.to_string())).into());
            ContextValue::StyledStrs(texts.collect())
        }
        // Numbers, and how the command is used.
        own => own.clone(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // a test may
mod tests {
    use super::*;
    use entail_text::is_plain;

    fn said(arguments: &[&str]) -> String {
        let error = command()
            .try_get_matches_from([&["entail"], arguments].concat())
            .err()
            .unwrap();
        let arguments: Vec<String> = arguments.iter().map(|text| (*text).to_owned()).collect();
        message(&error, &arguments)
    }

    #[test]
    fn a_message_is_as_clap_has_it() {
        for arguments in [
            &["status", "Acme"][..],
            &["statos"],
            &["status", "--nowhere"],
            &["resolve", "acme", "openai", "--format", "xml"],
            &["credential", "show", "acme"],
            &["key", "add-recipient", "age1", "--recovery", "file"],
            &["--identity-fd", "1", "status"],
            &["policy", "new", "--lang", "rusty", "x"],
            &["project"],
            &["status", "--json", "--json"],
        ] {
            let error = command().try_get_matches_from([&["entail"], arguments].concat());
            let expected = error.err().unwrap().render().to_string();
            assert_eq!(said(arguments), expected.trim_end());
        }
    }

    #[test]
    fn no_argument_adds_a_line_or_drives_a_terminal() {
        let hostile = "x\n\r\u{1b}[2K\u{9b}\u{202e}";
        let option = format!("--{hostile}");
        let short = format!("-{hostile}");
        for (arguments, harmless) in [
            (&["status", hostile][..], &["status", "X"][..]),
            (&[hostile], &["qqq"]),
            (&["status", "acme", hostile], &["status", "acme", "qqq"]),
            (&["status", &option], &["status", "--qqq"]),
            (&["status", &short], &["status", "-q"]),
            (
                &["resolve", "acme", "openai", "--format", hostile],
                &["resolve", "acme", "openai", "--format", "qqq"],
            ),
            (&["policy", hostile], &["policy", "qqq"]),
            (
                &["--identity-fd", hostile, "status"],
                &["--identity-fd", "q", "status"],
            ),
        ] {
            let said_so = said(arguments);
            let lines = said_so.lines().count();
            assert_eq!(lines, said(harmless).lines().count(), "{said_so}");
            let is_harmless = |character| is_plain(character) || character == '\n';
            assert!(said_so.chars().all(is_harmless), "{said_so:?}");
        }
    }

    #[test]
    fn what_may_be_a_key_is_not_repeated() {
        let key = "sk-CANARY-0123456789-\u{1b}[31m";
        for arguments in [
            &["status", key][..],
            &["resolve", "acme", "openai", key],
            &[key],
            &[&format!("--identity-fd={key}"), "status"],
            &["credential", "set", "acme", "openai", key],
        ] {
            let said = said(arguments);
            assert!(!said.contains("CANARY"), "{said}");
        }
    }
}
