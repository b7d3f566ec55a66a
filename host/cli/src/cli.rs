//! The command line: the top-level arguments, and their parser with examples in its help.

use clap::{Command as ClapCommand, CommandFactory as _, FromArgMatches as _, Parser};

use crate::commands::Command;
use crate::exit_status;
use crate::global::GlobalArgs;

/// The end of `entail --help`, after the exit codes.
const NOTES: &str = "\
Secrets are entered at a hidden prompt, by --from-env or --from-file, never as an
argument. Standard input is read for one where a secret is what the command is for:
the first `credential set` of a credential, `credential rotate`, or with --stdin.

An empty variable counts as unset.";

/// An organization's model credentials, inherited by projects that opt in.
///
/// `entail help` lists the commands by task.
#[derive(Parser)]
#[command(
    name = "entail",
    bin_name = "entail",
    version,
    arg_required_else_help = true,
    disable_help_subcommand = true
)]
#[command(after_help = "To see what you can do, by task: entail help")]
pub struct Cli {
    #[command(flatten)]
    pub global: GlobalArgs,
    #[command(subcommand)]
    pub command: Command,
}

/// Examples of each command. A section starts with the name of the command below `entail`;
/// in it, a comment precedes each example.
const EXAMPLES: &str = include_str!("examples.txt");

/// Parses the command line of this process.
///
/// # Errors
///
/// Fails if it is not valid, or asks for help or the version.
pub fn parse() -> Result<Cli, clap::Error> {
    // The full parser, which help and errors need, takes longer to build.
    Cli::try_parse().or_else(|_| {
        let mut matches = parser().try_get_matches()?;
        Cli::from_arg_matches_mut(&mut matches)
    })
}

/// The parser with examples for each command, and with usage lines that show what is required
/// and nothing else, also in errors.
pub fn parser() -> ClapCommand {
    let mut built = Cli::command();
    built.build();
    let after_long_help = format!("{}\n\n{NOTES}", exit_status::help());
    decorate(Cli::command(), &built, "").after_long_help(after_long_help)
}

fn decorate(command: ClapCommand, built: &ClapCommand, path: &str) -> ClapCommand {
    // In an error, clap would show each given option as if it were required.
    let usage = built.clone().render_usage().to_string();
    let usage = usage.strip_prefix("Usage: ").unwrap_or(&usage).to_owned();
    let mut command = command.override_usage(usage);
    if let Some(examples) = examples(path) {
        command = command.after_help(examples);
    }
    command.mut_subcommands(|sub| match built.find_subcommand(sub.get_name()) {
        Some(built) => {
            let path = format!("{path} {}", sub.get_name());
            decorate(sub, built, path.trim_start())
        }
        None => sub,
    })
}

/// The sections of [`EXAMPLES`] by name.
fn sections() -> impl Iterator<Item = (&'static str, &'static str)> {
    let sections = EXAMPLES.trim_start_matches('[').split("\n\n[");
    sections.filter_map(|section| section.split_once("]\n"))
}

fn examples(path: &str) -> Option<String> {
    let (_, examples) = sections().find(|(name, _)| *name == path)?;
    let lines: Vec<String> = examples.lines().map(|line| format!("  {line}")).collect();
    Some(format!("Examples:\n{}", lines.join("\n")))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // allowed in tests
mod tests {
    use super::*;
    use crate::commands::help::TASKS;

    /// The names of all commands below `entail`.
    fn names(command: &ClapCommand, path: &str) -> Vec<String> {
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

    /// The words of a command line that quotes with `'` only, without a surrounding `eval`.
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
            for line in commands {
                let words = words(line);
                assert_eq!(words.first().unwrap(), "entail", "{line}");
                assert!(
                    words.join(" ").contains(&format!("entail {name}")),
                    "{line}"
                );
                if let Err(error) = parser().try_get_matches_from(&words) {
                    panic!("{line}: {error}");
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
    fn an_error_shows_only_required_options() {
        for line in [
            "entail --home /nowhere resolve --reveal --name x acme openai y",
            "entail --json run --pristine --model m acme",
            "entail credential set --name x --priority 1 acme",
            "entail import --yes --nonsense",
        ] {
            let error = parser()
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

    #[test]
    fn only_commands_with_a_dry_run_take_the_option() {
        for (line, is_taken) in [
            ("init acme", true),
            ("project add acme/evals", true),
            ("project list", false),
            ("credential set acme openai", true),
            ("credential disable acme openai", true),
            ("credential show acme openai", false),
            ("inherit acme/evals", true),
            ("model acme openai", true),
            ("import", true),
            ("key rotate signer", true),
            ("key list", false),
            ("policy activate acme x", true),
            ("policy list", false),
            ("restore --accept-rollback", true),
            ("resolve acme openai", false),
            ("status", false),
        ] {
            let words = format!("entail {line} --dry-run");
            let parsed = parser().try_get_matches_from(words.split(' '));
            assert_eq!(parsed.is_ok(), is_taken, "{line}");
        }
    }
}
