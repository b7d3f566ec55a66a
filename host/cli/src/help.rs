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

/// The examples of each command, by its name below `entail`: what one does, and how.
const EXAMPLES: [(&str, &[(&str, &str)]); 58] = [
    (
        "init",
        &[
            (
                "Create a home and the organization acme in it",
                "entail init acme",
            ),
            (
                "The same, with a passphrase on the key that opens secrets",
                "entail init acme --passphrase",
            ),
        ],
    ),
    (
        "import",
        &[
            (
                "Show what the .env files of this project would become, and change nothing",
                "entail import --dry-run",
            ),
            (
                "Import every project below src, and be asked first",
                "entail import ~/src --org acme",
            ),
            (
                "Import one project into a scope of your choice",
                "entail import ~/src/evals --map ~/src/evals=acme/evals --yes",
            ),
            ("Import the variables of this shell", "entail import --env"),
        ],
    ),
    (
        "project",
        &[("Add a project below acme", "entail project add acme/evals")],
    ),
    (
        "project add",
        &[("Add a project below acme", "entail project add acme/evals")],
    ),
    (
        "project list",
        &[
            ("List every scope", "entail project list"),
            ("List acme and its projects", "entail project list acme"),
        ],
    ),
    (
        "project remove",
        &[
            (
                "Show who would lose what",
                "entail project remove acme/evals --dry-run",
            ),
            (
                "Remove the project and its credentials",
                "entail project remove acme/evals",
            ),
        ],
    ),
    (
        "credential",
        &[
            (
                "Set the OpenAI key of acme, and be asked for it",
                "entail credential set acme openai",
            ),
            (
                "List the credentials of acme",
                "entail credential list acme",
            ),
        ],
    ),
    (
        "credential set",
        &[
            (
                "Set a key, and be asked for it",
                "entail credential set acme openai",
            ),
            (
                "Read it from a file",
                "entail credential set acme anthropic --from-file key.txt",
            ),
            (
                "Read the variables that the provider's clients read",
                "entail credential set acme bedrock --from-env",
            ),
            (
                "Allow only some models, keep the secret",
                "entail credential set acme openai --models 'gpt-*'",
            ),
        ],
    ),
    (
        "credential rotate",
        &[
            (
                "Replace the key, and be asked for the new one",
                "entail credential rotate acme openai",
            ),
            (
                "Keep the old one for a week",
                "entail credential rotate acme openai --from-file key.txt --grace 7d",
            ),
        ],
    ),
    (
        "credential rollback",
        &[(
            "Restore the previous key",
            "entail credential rollback acme openai",
        )],
    ),
    (
        "credential list",
        &[(
            "List the credentials of acme",
            "entail credential list acme",
        )],
    ),
    (
        "credential show",
        &[(
            "Show the rules and parameters of a credential",
            "entail credential show acme openai",
        )],
    ),
    (
        "credential disable",
        &[(
            "Disable a credential",
            "entail credential disable acme openai",
        )],
    ),
    (
        "credential enable",
        &[("Enable it again", "entail credential enable acme openai")],
    ),
    (
        "credential restore",
        &[(
            "Restore a credential that was removed a while ago",
            "entail credential restore acme openai",
        )],
    ),
    (
        "credential remove",
        &[
            (
                "Show who would lose what",
                "entail credential remove acme openai --dry-run",
            ),
            (
                "Remove the credential",
                "entail credential remove acme openai",
            ),
        ],
    ),
    (
        "inherit",
        &[
            (
                "Let acme/evals use the OpenAI key of acme",
                "entail inherit acme/evals openai",
            ),
            (
                "Let it use the key of acme for every provider",
                "entail inherit acme/evals",
            ),
            ("Stop it", "entail inherit acme/evals openai --off"),
        ],
    ),
    (
        "model",
        &[
            (
                "Set the model for requests that name none",
                "entail model acme/evals openai gpt-5",
            ),
            ("Remove that setting", "entail model acme/evals openai"),
        ],
    ),
    (
        "use",
        &[
            (
                "Use acme/evals in this directory and those below it",
                "entail use acme/evals",
            ),
            (
                "Allow the .entail.toml that came with a repository",
                "entail use --allow",
            ),
            ("Show the scope in effect", "entail use"),
        ],
    ),
    (
        "resolve",
        &[
            (
                "Show what acme/evals gets for OpenAI, the key masked",
                "entail resolve acme/evals openai",
            ),
            (
                "The same for the scope of this directory",
                "entail resolve openai",
            ),
            (
                "Print the key, for a script",
                "entail resolve acme/evals openai --reveal --format env",
            ),
        ],
    ),
    (
        "explain",
        &[
            (
                "Explain what acme/evals gets for OpenAI",
                "entail explain acme/evals openai",
            ),
            (
                "The same for the scope of this directory, and a model",
                "entail explain openai --model gpt-5",
            ),
        ],
    ),
    (
        "run",
        &[
            (
                "Run tests with the credentials of acme/evals",
                "entail run acme/evals -- pytest",
            ),
            (
                "The same with the scope of this directory",
                "entail run -- pytest",
            ),
            (
                "Pass one provider's credential, and fail if it is refused",
                "entail run acme/evals --provider openai -- python3 main.py",
            ),
        ],
    ),
    (
        "export-env",
        &[
            (
                "Set the variables in this shell",
                "eval \"$(entail export-env acme/evals)\"",
            ),
            (
                "Only those of OpenAI",
                "eval \"$(entail export-env acme/evals --provider openai)\"",
            ),
        ],
    ),
    (
        "status",
        &[
            ("Show what each scope gets", "entail status --all"),
            ("Show acme and its projects", "entail status acme"),
        ],
    ),
    (
        "providers",
        &[
            ("List the providers and their variables", "entail providers"),
            (
                "Show the fields and modes of one",
                "entail providers bedrock",
            ),
        ],
    ),
    (
        "policy",
        &[
            (
                "Create a policy, build it, test it",
                "entail policy new --lang rust my-policy",
            ),
            ("Show the active policy of acme", "entail policy show acme"),
        ],
    ),
    (
        "policy new",
        &[(
            "Create a policy in Rust",
            "entail policy new --lang rust my-policy",
        )],
    ),
    (
        "policy build",
        &[
            ("Build the policy in this directory", "entail policy build"),
            (
                "Check that a committed component is what the sources give",
                "entail policy build my-policy --check my-policy/my-policy.wasm",
            ),
        ],
    ),
    (
        "policy check",
        &[(
            "Check a component",
            "entail policy check my-policy/my-policy.wasm",
        )],
    ),
    (
        "policy test",
        &[(
            "Run the vectors of a policy",
            "entail policy test my-policy",
        )],
    ),
    (
        "policy decide",
        &[(
            "Decide facts from a file with the built-in policy",
            "entail policy decide facts.jsonl",
        )],
    ),
    (
        "policy replay",
        &[(
            "Decide the requests of the last week again",
            "entail policy replay my-policy --since 7d",
        )],
    ),
    (
        "policy diff",
        &[(
            "Show who would get something else",
            "entail policy diff my-policy --organization acme",
        )],
    ),
    (
        "policy install",
        &[(
            "Install a policy that was built",
            "entail policy install my-policy",
        )],
    ),
    (
        "policy list",
        &[("List the installed policies", "entail policy list")],
    ),
    (
        "policy show",
        &[("Show the active policy of acme", "entail policy show acme")],
    ),
    (
        "policy activate",
        &[
            (
                "Show what would change",
                "entail policy activate acme my-policy --dry-run",
            ),
            (
                "Activate a policy with settings",
                "entail policy activate acme my-policy --settings settings.json",
            ),
        ],
    ),
    (
        "policy rollback",
        &[(
            "Activate the previous policy again",
            "entail policy rollback acme",
        )],
    ),
    (
        "policy shadow",
        &[
            (
                "Run a policy beside the active one",
                "entail policy shadow acme my-policy",
            ),
            ("Show how the two compare", "entail policy shadow acme"),
            ("Stop it", "entail policy shadow acme --off"),
        ],
    ),
    (
        "policy remove",
        &[(
            "Remove an installed policy",
            "entail policy remove my-policy",
        )],
    ),
    (
        "key",
        &[(
            "List the keys, and who secrets are sealed to",
            "entail key list",
        )],
    ),
    (
        "key list",
        &[(
            "List the keys, and who secrets are sealed to",
            "entail key list",
        )],
    ),
    (
        "key rotate",
        &[
            (
                "Replace the key that opens secrets",
                "entail key rotate identity",
            ),
            (
                "Replace the key that signs documents",
                "entail key rotate signer",
            ),
        ],
    ),
    (
        "key rotate identity",
        &[(
            "Replace the key that opens secrets",
            "entail key rotate identity",
        )],
    ),
    (
        "key rotate signer",
        &[(
            "Replace the key that signs documents",
            "entail key rotate signer",
        )],
    ),
    (
        "key add-recipient",
        &[(
            "Create a recovery key",
            "entail key add-recipient --recovery recovery.txt",
        )],
    ),
    (
        "key remove-recipient",
        &[(
            "Remove the recipient labelled old-laptop",
            "entail key remove-recipient old-laptop",
        )],
    ),
    (
        "key reseal",
        &[(
            "Finish sealing after the recipients changed",
            "entail key reseal",
        )],
    ),
    ("audit", &[("Show the last decisions", "entail audit tail")]),
    (
        "audit tail",
        &[
            ("Show the last five decisions", "entail audit tail -n 5"),
            (
                "Watch those of a project",
                "entail audit tail --follow --scope acme/evals",
            ),
        ],
    ),
    (
        "audit show",
        &[(
            "Show what was refused since yesterday",
            "entail audit show --outcome refused --since 24h",
        )],
    ),
    ("audit verify", &[("Verify the log", "entail audit verify")]),
    (
        "verify",
        &[("Verify the store, and open every secret", "entail verify")],
    ),
    ("backup", &[("Write a backup", "entail backup acme.backup")]),
    (
        "restore",
        &[
            (
                "Restore on a clean machine",
                "entail restore acme.backup --recovery recovery.txt",
            ),
            (
                "Go back to a backup on this machine",
                "entail restore acme.backup --accept-rollback",
            ),
        ],
    ),
    ("doctor", &[("Check the home", "entail doctor")]),
    ("dev", &[("Create a throwaway organization", "entail dev")]),
    (
        "completions",
        &[(
            "Complete commands in this shell",
            "eval \"$(entail completions bash)\"",
        )],
    ),
];

/// What people want to do, and the command for it.
const TASKS: [(&str, &[(&str, &str)]); 6] = [
    (
        "Start",
        &[
            ("create a home and an organization", "entail init ORG"),
            (
                "import the keys that you have in .env files",
                "entail import [PATH…]",
            ),
            ("try things out, without a home of your own", "entail dev"),
        ],
    ),
    (
        "Set credentials",
        &[
            (
                "set a key for a provider",
                "entail credential set SCOPE PROVIDER",
            ),
            ("replace a key", "entail credential rotate SCOPE PROVIDER"),
            (
                "restore the previous key",
                "entail credential rollback SCOPE PROVIDER",
            ),
            (
                "take back a removal",
                "entail credential restore SCOPE PROVIDER",
            ),
            (
                "see providers, their fields and variables",
                "entail providers [PROVIDER]",
            ),
        ],
    ),
    (
        "Let projects use them",
        &[
            ("add a project", "entail project add ORG/PROJECT"),
            (
                "let it use the organization's key",
                "entail inherit SCOPE PROVIDER",
            ),
            ("see who gets what", "entail status --all"),
            ("see why", "entail explain SCOPE PROVIDER"),
        ],
    ),
    (
        "Use them",
        &[
            ("run a command with them", "entail run SCOPE -- COMMAND"),
            (
                "set the scope of a directory, to leave SCOPE out",
                "entail use SCOPE",
            ),
            (
                "set the variables in a shell",
                "eval \"$(entail export-env SCOPE)\"",
            ),
        ],
    ),
    (
        "Decide who gets what by a policy of your own",
        &[
            ("create one", "entail policy new --lang LANGUAGE DIR"),
            ("compare it with the active one", "entail policy diff DIR"),
            ("install and activate it", "entail policy install DIR"),
            (
                "activate the previous one again",
                "entail policy rollback ORG",
            ),
        ],
    ),
    (
        "Keep it safe",
        &[
            ("check everything", "entail doctor"),
            ("see who got what", "entail audit tail"),
            (
                "create a recovery key",
                "entail key add-recipient --recovery FILE",
            ),
            ("write a backup", "entail backup FILE"),
            ("restore it", "entail restore FILE --recovery KEY"),
            (
                "replace the keys of the home",
                "entail key rotate identity|signer",
            ),
        ],
    ),
];

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

fn examples(path: &str) -> Option<String> {
    let (_, examples) = EXAMPLES.iter().find(|(name, _)| *name == path)?;
    let lines: Vec<String> = examples
        .iter()
        .map(|(what, how)| format!("  # {what}\n  {how}"))
        .collect();
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
    let all = || TASKS.iter().flat_map(|(_, tasks)| *tasks);
    let width = all()
        .map(|(what, _)| what.chars().count())
        .max()
        .unwrap_or(0);
    for (heading, tasks) in TASKS {
        say!(Style::Heading => heading);
        for (what, how) in tasks {
            say!("  {what:width$}  {how}");
        }
        say!("");
    }
    say!("`entail help COMMAND` or `entail COMMAND --help` shows options and examples;");
    say!("`entail --help` lists every command, global options and exit codes.");
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

    #[test]
    fn every_command_has_examples_and_every_example_is_of_a_command() {
        let mut expected = names(&Cli::command(), "");
        expected.retain(|name| name != "help");
        let mut given: Vec<&str> = EXAMPLES.iter().map(|(name, _)| *name).collect();
        expected.sort();
        given.sort_unstable();
        assert_eq!(given, expected);
        for (name, examples) in EXAMPLES {
            assert!(!examples.is_empty(), "{name}");
        }
    }

    #[test]
    fn every_example_parses_and_is_of_its_command() {
        for (name, examples) in EXAMPLES {
            for (_, how) in examples {
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
        for (_, tasks) in TASKS {
            for (_, how) in tasks {
                let words = words(how);
                assert!(
                    names
                        .iter()
                        .any(|name| words.join(" ").starts_with(&format!("entail {name}"))),
                    "{how}"
                );
            }
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
