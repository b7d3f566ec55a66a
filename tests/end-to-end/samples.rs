//! Runs the samples in the documentation and compares their output.
//!
//! A `console` block holds commands (`$ …`) and what they print. The blocks of all pages
//! run in one session, in the order of [`PAGES`]. `host/COMMANDS.md` holds the help of
//! every command. With `UPDATE_SAMPLES=1` the tests write the actual output to the pages.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::help::help_of_every_command;
use crate::sandbox::Sandbox;

/// The pages with `console` blocks, in the order of reading.
const PAGES: [&str; 3] = ["README.md", "host/guides/operations.md", "guest/README.md"];

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A user's directories, with the repository as the working directory.
struct User {
    sandbox: Sandbox,
}

impl User {
    fn new() -> Self {
        // The samples print keys, so the sandbox does not search for canaries.
        let sandbox = Sandbox::unwatched();
        for (project, key) in [("agents", "5678"), ("evals", "9abc")] {
            sandbox.file(
                &format!("me/src/{project}/.env"),
                format!("OPENAI_API_KEY=not-a-real-key-0000-{key}\n"),
            );
        }
        std::fs::create_dir(sandbox.path("work")).unwrap();
        std::os::unix::fs::symlink(repository().join("guest"), sandbox.path("work/guest")).unwrap();
        User { sandbox }
    }

    /// Runs a command line and returns what it prints.
    fn run(&self, line: &str) -> String {
        let program = Path::new(env!("CARGO_BIN_EXE_entail")).parent().unwrap();
        let path = std::env::var("PATH").unwrap();
        let mut command = Command::new("bash");
        command
            .args(["-c", &format!("exec 2>&1\n{line}")])
            .current_dir(self.sandbox.path("work"))
            .env_clear()
            .env("PATH", format!("{}:{path}", program.display()))
            .env("HOME", self.sandbox.path("me"))
            .env("ENTAIL_HOME", self.sandbox.path("me/entail"));
        let ran = self.sandbox.run(command, "");
        ran.stdout
            .replace(&self.sandbox.path("me").display().to_string(), "/home/me")
    }

    /// The page with the current output of its commands.
    fn run_page(&self, page: &str) -> String {
        let mut result = String::new();
        let mut lines = page.lines().peekable();
        while let Some(line) = lines.next() {
            push_line(&mut result, line);
            if line != "```console" {
                continue;
            }
            while let Some(command) = lines.next_if(|line| line.starts_with("$ ")) {
                push_line(&mut result, command);
                let mut script = command[2..].to_owned();
                if let Some((_, end)) = command.split_once("<<'") {
                    let end = end.trim_end_matches('\'');
                    for line in lines.by_ref() {
                        push_line(&mut result, line);
                        script.push('\n');
                        script.push_str(line);
                        if line == end {
                            break;
                        }
                    }
                }
                result += &self.run(&script);
                while lines
                    .next_if(|line| !line.starts_with("$ ") && *line != "```")
                    .is_some()
                {}
            }
        }
        result
    }
}

/// The form of a time, with zeros for its digits.
const TEMPLATE: &[u8] = b"0000-00-00T00:00:00Z";

fn push_line(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}

/// Replaces the times in a text, which differ between runs.
fn normalized(text: &str) -> String {
    let is_digit_or = |template: u8, byte: u8| match template {
        b'0' => byte.is_ascii_digit(),
        other => byte == other,
    };
    let mut bytes = text.as_bytes().to_vec();
    for start in 0..bytes.len().saturating_sub(TEMPLATE.len()) {
        let end = start + TEMPLATE.len();
        let is_time = TEMPLATE
            .iter()
            .zip(&bytes[start..end])
            .all(|(template, byte)| is_digit_or(*template, *byte));
        if is_time {
            bytes[start..end].copy_from_slice(TEMPLATE);
        }
    }
    String::from_utf8(bytes).unwrap()
}

/// Fails if the file differs from `actual`, or updates it.
fn compare(file: &str, actual: &str) {
    let path = repository().join(file);
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    let (wanted, got) = (normalized(&expected), normalized(actual));
    if wanted == got {
        return;
    }
    if std::env::var_os("UPDATE_SAMPLES").is_some() {
        std::fs::write(path, actual).unwrap();
        return;
    }
    let difference = similar::TextDiff::from_lines(&wanted, &got)
        .unified_diff()
        .header(file, "now")
        .to_string();
    panic!("{difference}\nUPDATE_SAMPLES=1 with this test updates the page");
}

#[test]
fn the_samples_in_the_pages_are_what_the_program_prints() {
    let user = User::new();
    for file in PAGES {
        let page = std::fs::read_to_string(repository().join(file)).unwrap();
        compare(file, &user.run_page(&page));
    }
}

#[test]
fn the_page_of_commands_holds_the_help_of_every_command() {
    let mut page = String::from(
        "# Commands\n\nThe help of every command, as `entail COMMAND --help` prints it. A test \
         keeps this page up to date.\n",
    );
    let mut commands = help_of_every_command(&Sandbox::new());
    commands.sort();
    for (words, help) in commands {
        let command = [&["entail".to_owned()], &words[..]].concat().join(" ");
        let help = help.trim_end();
        write!(page, "\n## {command}\n\n```text\n{help}\n```\n").unwrap();
    }
    compare("host/COMMANDS.md", &page);
}

/// Every Markdown page of the repository that git tracks.
fn pages() -> Vec<PathBuf> {
    let listed = Command::new("git")
        .args(["ls-files", "-z", "*.md"])
        .current_dir(repository())
        .output()
        .unwrap();
    let pages: Vec<PathBuf> = String::from_utf8(listed.stdout)
        .unwrap()
        .split_terminator('\0')
        .map(|name| repository().join(name))
        .collect();
    assert!(pages.len() > 10, "{pages:?}");
    pages
}

#[test]
fn every_local_link_of_a_page_leads_to_a_file() {
    for page in pages() {
        let text = std::fs::read_to_string(&page).unwrap();
        for link in text.split("](").skip(1) {
            let link = link.split([')', '#']).next().unwrap();
            let is_local = !link.is_empty() && !link.contains("://");
            let target = page.parent().unwrap().join(link);
            assert!(!is_local || target.exists(), "{}: {link}", page.display());
        }
    }
}
