//! Help, and the errors of a command line that is not valid.
//!
//! An argument may be a key in the wrong place, or text that controls a terminal. So an error
//! does not repeat long arguments, and sanitizes short ones before they become part of its
//! message: an argument cannot add a line.

use std::borrow::Cow;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use entail_text::{sanitize, sanitized};

use crate::cli::parser;
use crate::error::CliError;
use crate::exit_status::ExitStatus;
use crate::output::{err, print_error, print_raw};

/// The maximum length of an argument that an error repeats; keys are longer.
const MAX_SHOWN_BYTES: usize = 20;

/// Prints help, or the error of the command line. Returns the status of the program.
pub fn print(error: &clap::Error) -> ExitStatus {
    if !error.use_stderr() {
        print_raw(error.render().ansi().to_string().trim_end());
        return ExitStatus::Done;
    }
    let arguments: Vec<String> = std::env::args_os()
        .skip(1)
        .map(|argument| argument.to_string_lossy().into_owned())
        .collect();
    let text = message(error, &arguments);
    if arguments.iter().any(|argument| argument == "--json") {
        print_error(&CliError::usage(text), true);
        return ExitStatus::Usage;
    }
    for line in text.lines() {
        err!("{line}");
    }
    ExitStatus::Usage
}

/// The message of an error. No argument can add a line to it.
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
    // Help contains no part of the command line.
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return error.render().to_string();
    }
    let mut harmless = clap::Error::new(error.kind()).with_cmd(&parser());
    for (kind, value) in error.context() {
        harmless.insert(kind, harmless_value(kind, value));
    }
    let text = harmless.render().to_string();
    // The reason why a value is not valid cannot be set on the new error.
    match (std::error::Error::source(error), text.split_once('\n')) {
        (Some(reason), Some((first, rest))) => format!("{first}: {}\n{rest}", sanitized(reason)),
        _ => text,
    }
}

fn harmless_value(kind: ContextKind, value: &ContextValue) -> ContextValue {
    match value {
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
        // Numbers and usage lines contain no argument.
        own => own.clone(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // allowed in tests
mod tests {
    use super::*;
    use entail_text::is_plain;

    fn message_of(arguments: &[&str]) -> String {
        let error = parser()
            .try_get_matches_from([&["entail"], arguments].concat())
            .err()
            .unwrap();
        let arguments: Vec<String> = arguments.iter().map(|text| (*text).to_owned()).collect();
        message(&error, &arguments)
    }

    #[test]
    fn a_message_is_that_of_clap() {
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
            let error = parser().try_get_matches_from([&["entail"], arguments].concat());
            let expected = error.err().unwrap().render().to_string();
            assert_eq!(message_of(arguments), expected.trim_end());
        }
    }

    #[test]
    fn no_argument_adds_a_line_or_controls_a_terminal() {
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
            let text = message_of(arguments);
            let lines = text.lines().count();
            assert_eq!(lines, message_of(harmless).lines().count(), "{text}");
            let is_harmless = |character| is_plain(character) || character == '\n';
            assert!(text.chars().all(is_harmless), "{text:?}");
        }
    }

    #[test]
    fn an_argument_that_may_be_a_key_is_not_repeated() {
        let key = "sk-CANARY-0123456789-\u{1b}[31m";
        for arguments in [
            &["status", key][..],
            &["resolve", "acme", "openai", key],
            &[key],
            &[&format!("--identity-fd={key}"), "status"],
            &["credential", "set", "acme", "openai", key],
        ] {
            let message = message_of(arguments);
            assert!(!message.contains("CANARY"), "{message}");
        }
    }
}
