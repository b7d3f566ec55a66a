//! Help: the examples of each command, and the commands by task.

use clap::{Args, Command, CommandFactory as _};

use crate::args::Cli;
use crate::failure::Failure;
use crate::output::{Style, exactly, say};

#[derive(Args)]
pub struct HelpArgs {
    /// The command to show the help of [default: list the commands by task]
    #[arg(value_name = "COMMAND")]
    pub command: Vec<String>,
}

/// The examples of each command: a section by its name below `entail`, and in it each
/// example after a line that says what it does.
const EXAMPLES: &str = include_str!("examples.txt");

/// What people want to do, and the command for it.
const TASKS: &str = include_str!("tasks.txt");

/// The program's command line: with examples under each command, and a usage line that
/// shows what is required and nothing else, also in errors.
pub fn command() -> Command {
    let mut built = Cli::command();
    built.build();
    dress(Cli::command(), &built, "")
}

fn dress(command: Command, built: &Command, path: &str) -> Command {
    // clap would show each option that was given as if it were required.
    let usage = built.clone().render_usage().to_string();
    let usage = usage.strip_prefix("Usage: ").unwrap_or(&usage).to_owned();
    let mut command = command.override_usage(usage);
    if let Some(examples) = examples(path) {
        command = command.after_help(examples);
    }
    command.mut_subcommands(|sub| match built.find_subcommand(sub.get_name()) {
        Some(built) => {
            let path = format!("{path} {}", sub.get_name());
            dress(sub, built, path.trim_start())
        }
        None => sub,
    })
}

/// The sections of [`EXAMPLES`], by name.
fn sections() -> impl Iterator<Item = (&'static str, &'static str)> {
    let sections = EXAMPLES.trim_start_matches('[').split("\n\n[");
    sections.filter_map(|section| section.split_once("]\n"))
}

fn examples(path: &str) -> Option<String> {
    let (_, examples) = sections().find(|(name, _)| *name == path)?;
    let lines: Vec<String> = examples.lines().map(|line| format!("  {line}")).collect();
    Some(format!("Examples:\n{}", lines.join("\n")))
}

/// Lists the commands by task, or shows the help of one.
///
/// # Errors
///
/// Fails if there is no such command.
pub fn help(args: &HelpArgs) -> Result<(), Failure> {
    if args.command.is_empty() {
        print_tasks();
        return Ok(());
    }
    let command = command();
    let mut found = &command;
    for name in &args.command {
        let known: Vec<String> = found
            .get_subcommands()
            .map(|sub| sub.get_name().to_owned())
            .collect();
        found = found.find_subcommand(name).ok_or_else(|| {
            Failure::new(
                2,
                "usage",
                format!("there is no command {}", entail::quoted(name)),
            )
            .with_remedies(vec![match known.is_empty() {
                true => "entail help".to_owned(),
                false => format!("one of: {}", known.join(", ")),
            }])
        })?;
    }
    let words = ["entail"].into_iter();
    let words = words.chain(args.command.iter().map(String::as_str));
    match self::command().try_get_matches_from(words.chain(["--help"])) {
        Err(help) => exactly(help.render().ansi().to_string().trim_end()),
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
        say!(style => line);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // a test may
mod tests {
    use super::*;

    /// Every command below `entail`, by its name.
    fn names(command: &Command, path: &str) -> Vec<String> {
        command
            .get_subcommands()
            .flat_map(|sub| {
                let path = format!("{path} {}", sub.get_name());
                let path = path.trim_start().to_owned();
                let below = names(sub, &path);
                std::iter::once(path).chain(below)
            })
            .collect()
    }

    /// The words of a command line that quotes by `'` alone, without what a shell evaluates
    /// around it.
    fn words(line: &str) -> Vec<String> {
        let line = line
            .strip_prefix("eval \"$(")
            .map_or(line, |line| line.trim_end_matches(")\""));
        line.split(' ').map(|word| word.replace('\'', "")).collect()
    }

    /// The command lines of a section.
    fn lines(examples: &str) -> Vec<&str> {
        let is_command = |line: &&str| !line.starts_with('#') && !line.is_empty();
        examples.lines().filter(is_command).collect()
    }

    #[test]
    fn every_command_has_examples_and_every_example_is_of_a_command() {
        let mut expected = names(&Cli::command(), "");
        expected.retain(|name| name != "help");
        let mut given: Vec<&str> = sections().map(|(name, _)| name).collect();
        expected.sort();
        given.sort_unstable();
        assert_eq!(given, expected);
    }

    #[test]
    fn every_example_parses_and_is_of_its_command() {
        for (name, examples) in sections() {
            let commands = lines(examples);
            assert!(!commands.is_empty(), "{name}");
            assert_eq!(examples.trim_end().lines().count(), 2 * commands.len());
            for how in commands {
                let words = words(how);
                assert_eq!(words.first().unwrap(), "entail", "{how}");
                assert!(words.join(" ").contains(&format!("entail {name}")), "{how}");
                if let Err(error) = command().try_get_matches_from(&words) {
                    panic!("{how}: {error}");
                }
            }
        }
    }

    #[test]
    fn every_task_names_a_command() {
        let names = names(&Cli::command(), "");
        let tasks: Vec<&str> = TASKS
            .lines()
            .filter(|line| line.starts_with("  "))
            .collect();
        assert!(tasks.len() > 20);
        for task in tasks {
            let (what, how) = task.trim().split_once("  ").unwrap();
            let line = words(how.trim()).join(" ");
            let is_command = |name: &String| line.starts_with(&format!("entail {name}"));
            assert!(names.iter().any(is_command), "{what}: {how}");
        }
    }

    #[test]
    fn an_error_shows_no_option_as_required_that_is_not() {
        for line in [
            "entail --home /nowhere resolve --reveal --name x acme openai y",
            "entail --json run --pristine --model m acme",
            "entail credential set --name x --priority 1 acme",
            "entail import --yes --nonsense",
        ] {
            let error = command()
                .try_get_matches_from(line.split(' '))
                .unwrap_err()
                .to_string();
            let usage = error
                .lines()
                .find(|text| text.starts_with("Usage:"))
                .unwrap();
            assert!(
                !usage.contains("--") || usage.contains(" -- <COMMAND>"),
                "{usage}"
            );
            for option in ["--home", "--reveal", "--name", "--model", "--yes"] {
                assert!(!usage.contains(option), "{usage}");
            }
        }
    }
}
