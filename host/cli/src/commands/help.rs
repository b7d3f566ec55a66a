//! `entail help`: lists the commands by task, or shows the help of one.

use clap::Args;

use crate::error::CliError;
use crate::output::{Style, out, print_raw};

#[derive(Args)]
pub struct HelpArgs {
    /// The command to show the help of [default: list the commands by task]
    #[arg(value_name = "COMMAND")]
    pub command: Vec<String>,
}

/// The commands by task.
pub const TASKS: &str = include_str!("../tasks.txt");

/// Lists the commands by task, or shows the help of one. `parser` is the parser of the
/// program.
///
/// # Errors
///
/// Fails if there is no such command.
pub fn help(args: &HelpArgs, parser: clap::Command) -> Result<(), CliError> {
    if args.command.is_empty() {
        print_tasks();
        return Ok(());
    }
    let mut found = &parser;
    for name in &args.command {
        let names = found.get_subcommands().map(clap::Command::get_name);
        let names: Vec<&str> = names.collect();
        found = found.find_subcommand(name).ok_or_else(|| {
            let remedy = if names.is_empty() {
                "entail help".to_owned()
            } else {
                format!("one of: {}", names.join(", "))
            };
            CliError::usage(format!("there is no command {}", entail::quoted(name)))
                .with_remedies(vec![remedy])
        })?;
    }
    let words = std::iter::once("entail")
        .chain(args.command.iter().map(String::as_str))
        .chain(["--help"]);
    match parser.try_get_matches_from(words) {
        Err(help) => print_raw(help.render().ansi().to_string().trim_end()),
        // clap always stops at --help.
        Ok(_) => print_tasks(),
    }
    Ok(())
}

fn print_tasks() {
    for line in TASKS.lines() {
        let is_heading = line.starts_with(char::is_uppercase);
        let style = if is_heading {
            Style::Heading
        } else {
            Style::Plain
        };
        out!(style => line);
    }
}
