//! Foreign text, which comes from outside the program, never controls a terminal, a log or
//! a code.
//!
//! Every source of foreign text ([`sources`]) is filled with hostile texts ([`corpus`]), and
//! each command that prints it is run: into a pipe, with colours as on a terminal,
//! and with `--json`. The output must be plain, with as many lines as for a harmless text;
//! all colours are those of the program; JSON contains the exact text where it is data.

mod corpus;
mod sources;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Mutex, OnceLock};

use entail_text::is_plain;
use serde_json::Value;

use self::corpus::{Kind, MARK, harmless};
use self::sources::BUILT_IN;
use crate::sandbox::{RunOutput, Sandbox};
use crate::terminal::ScriptedUser;

/// Where a foreign text comes from, and the commands that print it.
struct Source {
    name: &'static str,
    prepare: fn(&mut World),
    rows: &'static [Row],
}

/// A command, and what the test expects of it.
struct Row {
    /// The expected exit code; `None` means any but 0.
    exit: Option<i32>,
    /// Its arguments; names in braces are replaced by values.
    line: &'static str,
    /// Whether the text output shows the text, sanitized.
    shows: bool,
    /// Whether a harmless text gives the same exit code and number of lines.
    compares_lines: bool,
    json: Json,
}

#[derive(Clone, Copy, PartialEq)]
enum Json {
    /// It parses.
    Sound,
    /// It contains the exact text.
    Exact,
}

/// A command that ends with this exit code, and shows the text.
const fn row(exit: i32, line: &'static str) -> Row {
    Row {
        exit: Some(exit),
        line,
        shows: true,
        compares_lines: true,
        json: Json::Sound,
    }
}

/// A command that fails with any exit code, and shows the text.
const fn failing(line: &'static str) -> Row {
    Row {
        exit: None,
        ..row(1, line)
    }
}

impl Row {
    /// The text output does not show the text: it is not part of the output, or might be a
    /// misplaced key.
    const fn hidden(mut self) -> Self {
        self.shows = false;
        self
    }

    /// A harmless text is accepted, so the outputs are not compared.
    const fn alone(mut self) -> Self {
        self.compares_lines = false;
        self
    }

    const fn exact(mut self) -> Self {
        self.json = Json::Exact;
        self
    }
}

/// How a command is run.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Form {
    Pipe,
    /// Colours are forced.
    Colours,
    Json,
}

/// A home that contains a text somewhere.
struct World {
    sandbox: Sandbox,
    text: String,
    /// How the text is hostile, even if `text` is its harmless version.
    kind: Kind,
    values: BTreeMap<&'static str, OsString>,
    /// Environment variables; `None` removes one.
    environment: BTreeMap<&'static str, Option<OsString>>,
    input: Vec<u8>,
    fresh: Mutex<u32>,
}

/// A home with the organization `acme`, as in the other tests.
struct Template {
    sandbox: Sandbox,
    /// The id of its credential.
    credential: String,
}

fn template() -> &'static Template {
    static TEMPLATE: OnceLock<Template> = OnceLock::new();
    TEMPLATE.get_or_init(|| {
        let (sandbox, _) = Sandbox::with_acme();
        let shown = sandbox.entail(&["credential", "show", "acme", "openai", "--json"]);
        let credential = shown.ok().json()["id"].as_str().unwrap().to_owned();
        Template {
            sandbox,
            credential,
        }
    })
}

impl World {
    fn new(source: &Source, kind: Kind, is_harmless: bool) -> Self {
        let mut world = World {
            sandbox: Sandbox::copy_of(&template().sandbox),
            text: kind.text(),
            kind,
            values: [("built-in", BUILT_IN.into())].into(),
            environment: BTreeMap::new(),
            input: Vec::new(),
            fresh: Mutex::new(0),
        };
        if is_harmless {
            world.text = harmless(&world.text);
        }
        (source.prepare)(&mut world);
        world
    }

    fn arguments(&self, line: &str) -> Vec<OsString> {
        line.split(' ')
            .map(|argument| self.expand(argument))
            .collect()
    }

    /// Replaces a name in braces in an argument by its value.
    fn expand(&self, argument: &str) -> OsString {
        let Some((before, rest)) = argument.split_once('{') else {
            return argument.into();
        };
        let (name, after) = rest.split_once('}').unwrap();
        let value = match name {
            // An argument cannot contain NUL.
            "text" => self.text.replace('\0', "").into(),
            "fresh" => self.fresh().into(),
            name => self
                .values
                .get(name)
                .unwrap_or_else(|| panic!("{name}"))
                .clone(),
        };
        let mut argument = OsString::from(before);
        argument.push(value);
        argument.push(after);
        argument
    }

    /// Returns a path at which no file exists yet.
    fn fresh(&self) -> PathBuf {
        let mut count = self.fresh.lock().unwrap();
        *count += 1;
        let name = corpus::file_name(&self.text);
        self.sandbox.path(&format!("{name}-{count}"))
    }

    fn command(&self, row: &Row, form: Form) -> Command {
        let mut command = self.sandbox.command(&[]);
        for (name, value) in &self.environment {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        match form {
            Form::Pipe => {}
            Form::Colours => drop(command.env("CLICOLOR_FORCE", "1").env("TERM", "xterm")),
            Form::Json => drop(command.arg("--json")),
        }
        command.args(self.arguments(row.line));
        command
    }

    #[track_caller]
    fn run(&self, source: &Source, row: &Row, form: Form) -> RunOutput {
        let output = Sandbox::output(self.command(row, form), &self.input);
        let ran = RunOutput {
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
            code: output.status.code(),
        };
        let what = self.what(source, row, form);
        match row.exit {
            Some(exit) => assert_eq!(ran.code, Some(exit), "{what}: {}", beginning(&ran)),
            None => assert_ne!(ran.code, Some(0), "{what}: {}", beginning(&ran)),
        }
        ran
    }

    fn what(&self, source: &Source, row: &Row, form: Form) -> String {
        format!("{} × {} ({:?}, {form:?})", source.name, row.line, self.kind)
    }
}

/// The beginning of the output, escaped.
fn beginning(ran: &RunOutput) -> String {
    let part = |text: &str| text.chars().take(1_000).collect::<String>();
    format!("{:?}, {:?}", part(&ran.stdout), part(&ran.stderr))
}

/// Runs every command of a source with each text, and reports all that fail.
fn check_source(source: &Source) {
    let mut broken = Vec::new();
    for kind in Kind::ALL {
        let hostile = World::new(source, kind, false);
        let harmless = World::new(source, kind, true);
        for row in source.rows {
            let result = catch_unwind(AssertUnwindSafe(|| {
                pipe(source, row, &hostile, &harmless);
                // A long text takes the same code path as `Everything`.
                if kind != Kind::Long {
                    colours(source, row, &hostile);
                    json(source, row, &hostile);
                }
            }));
            if result.is_err() {
                broken.push(format!("{} ({kind:?})", row.line));
            }
        }
        check_logs(source, &hostile);
    }
    assert!(broken.is_empty(), "{}: {broken:#?}", source.name);
}

fn pipe(source: &Source, row: &Row, hostile: &World, harmless: &World) {
    let ran = hostile.run(source, row, Form::Pipe);
    let what = hostile.what(source, row, Form::Pipe);
    assert_plain(&what, &ran.stdout);
    assert_plain(&what, &ran.stderr);
    let shows = [&ran.stdout, &ran.stderr]
        .iter()
        .any(|text| text.contains(MARK));
    // A longer text may be truncated, or only described.
    if row.shows && hostile.kind == Kind::Short {
        assert!(shows, "{what}: the text is not shown: {}", beginning(&ran));
    }
    if row.compares_lines {
        compare_lines(source, row, &ran, harmless);
    }
    if let Some(report) = hostile.values.get("report").map(PathBuf::from)
        && row.line.contains("{report}")
        && report.exists()
    {
        let report = std::fs::read_to_string(report).unwrap();
        assert_plain(&what, &report);
        quick_junit::Report::deserialize(report.as_bytes()).unwrap();
    }
}

/// Checks that the output has as many lines as for a harmless text.
fn compare_lines(source: &Source, row: &Row, ran: &RunOutput, harmless: &World) {
    let what = harmless.what(source, row, Form::Pipe);
    let other = harmless.run(source, row, Form::Pipe);
    for (actual, expected) in [(&ran.stdout, &other.stdout), (&ran.stderr, &other.stderr)] {
        assert_eq!(
            actual.lines().count(),
            expected.lines().count(),
            "{what}: a line was added or lost: {actual:.2000}\n{expected:.2000}"
        );
    }
}

fn colours(source: &Source, row: &Row, hostile: &World) {
    let ran = hostile.run(source, row, Form::Colours);
    let what = hostile.what(source, row, Form::Colours);
    for text in [&ran.stdout, &ran.stderr] {
        assert_plain(&what, &without_styles(&what, text));
    }
}

fn json(source: &Source, row: &Row, hostile: &World) {
    let ran = hostile.run(source, row, Form::Json);
    let what = hostile.what(source, row, Form::Json);
    assert_plain(&what, &ran.stdout);
    assert_plain(&what, &ran.stderr);
    let parse = |text: &str| serde_json::from_str::<Value>(text);
    let mut values: Vec<Value> = match parse(&ran.stdout) {
        Ok(value) => vec![value],
        // One value per line, or none.
        Err(_) => ran
            .stdout
            .lines()
            .map(|line| parse(line).unwrap_or_else(|error| panic!("{what}: {error}: {line}")))
            .collect(),
    };
    // Besides the error there may be notes in plain text.
    let errors = ran.stderr.lines().filter(|line| line.starts_with('{'));
    values.extend(errors.map(|line| parse(line).unwrap()));
    if ran.code != Some(0) {
        let is_reported = values
            .iter()
            .any(|value| value.pointer("/error/code").is_some() || value.get("error").is_some());
        // The exit codes of comparisons are not errors.
        let compares = matches!(ran.code, Some(12 | 20)) && !values.is_empty();
        assert!(is_reported || compares, "{what}: {}", beginning(&ran));
    }
    if row.json == Json::Exact {
        assert!(
            values
                .iter()
                .any(|value| contains_text(value, &hostile.text)),
            "{what}: the text is not in the JSON: {}",
            beginning(&ran)
        );
    }
}

/// Whether a value contains the exact text, in a string or in the name of a member.
fn contains_text(value: &Value, text: &str) -> bool {
    match value {
        Value::String(string) => string.contains(text),
        Value::Array(items) => items.iter().any(|item| contains_text(item, text)),
        Value::Object(members) => members
            .iter()
            .any(|(name, member)| name.contains(text) || contains_text(member, text)),
        _ => false,
    }
}

#[track_caller]
fn assert_plain(what: &str, text: &str) {
    let violation = text
        .char_indices()
        .find(|(_, c)| !is_plain(*c) && *c != '\n');
    if let Some((at, character)) = violation {
        let around: String = text[..at].chars().rev().take(200).collect();
        let around: String = around.chars().rev().collect();
        panic!("{what}: {character:?} after {around:?}");
    }
}

/// The escape sequences of the styles that the program uses.
const STYLES: [&str; 5] = [
    "\u{1b}[1m",
    "\u{1b}[2m",
    "\u{1b}[31m",
    "\u{1b}[32m",
    "\u{1b}[33m",
];

const RESET: &str = "\u{1b}[0m";

/// Removes the program's styles from a text. Each style must end before its line does and
/// before another begins.
#[track_caller]
fn without_styles(what: &str, text: &str) -> String {
    let mut plain = String::new();
    for line in text.split_inclusive('\n') {
        let mut rest = line;
        let mut is_open = false;
        while let Some(at) = rest.find('\u{1b}') {
            plain.push_str(&rest[..at]);
            rest = &rest[at..];
            let expected = match is_open {
                true => &[RESET][..],
                false => &STYLES[..],
            };
            let style = expected.iter().find(|style| rest.starts_with(**style));
            let style =
                style.unwrap_or_else(|| panic!("{what}: not a style of the program: {rest:?}"));
            rest = &rest[style.len()..];
            is_open = !is_open;
        }
        assert!(!is_open, "{what}: a style goes on after the line: {line:?}");
        plain.push_str(rest);
    }
    plain
}

/// Checks that the logs are plain, with one JSON object per line.
fn check_logs(source: &Source, hostile: &World) {
    if hostile.values.contains_key("forged") {
        return;
    }
    for name in ["decisions.jsonl", "shadow.jsonl"] {
        let Ok(log) = std::fs::read_to_string(hostile.sandbox.home().join(name)) else {
            continue;
        };
        let what = format!("{} × {name} ({:?})", source.name, hostile.kind);
        assert_plain(&what, &log);
        for line in log.lines() {
            serde_json::from_str::<Value>(line).unwrap();
        }
    }
}

/// Commands that print no foreign text, each with the reason.
const NOTHING_FOREIGN: [(&str, &str); 0] = [];

/// The subcommands of a command, read from its help.
fn commands_below(sandbox: &Sandbox, command: &[String]) -> Vec<Vec<String>> {
    let mut arguments: Vec<&str> = command.iter().map(String::as_str).collect();
    arguments.push("--help");
    let help = sandbox.entail(&arguments).ok().stdout;
    let listed = help
        .split_once("\nCommands:\n")
        .map_or("", |(_, rest)| rest);
    let names = listed
        .lines()
        .take_while(|line| !line.is_empty())
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help");
    names
        .map(|name| [command, &[name.to_owned()]].concat())
        .collect()
}

#[test]
fn every_command_is_in_the_table() {
    let sandbox = Sandbox::new();
    let mut commands = commands_below(&sandbox, &[]);
    let mut leaves = BTreeSet::new();
    while let Some(command) = commands.pop() {
        match commands_below(&sandbox, &command).as_slice() {
            [] => drop(leaves.insert(command.join(" "))),
            below => commands.extend_from_slice(below),
        }
    }
    assert!(leaves.contains("policy shadow") && leaves.contains("key rotate signer"));
    let is_run = |command: &str| {
        let begins = |row: &Row| {
            let rest = row.line.strip_prefix(command);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
        };
        sources::all().flat_map(|source| source.rows).any(begins)
    };
    let missing: Vec<&String> = leaves
        .iter()
        .filter(|command| !is_run(command))
        .filter(|command| NOTHING_FOREIGN.iter().all(|(known, _)| known != command))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn the_program_name_is_not_repeated() {
    let sandbox = Sandbox::new();
    let name = Kind::Short.text();
    for arguments in [
        &["--help"][..],
        &["policy", "--help"],
        &["--version"],
        &["nowhere"],
    ] {
        let mut command = sandbox.command(arguments);
        command.arg0(&name);
        let ran = sandbox.run(command, "");
        assert_plain("arg0", &ran.stdout);
        assert_plain("arg0", &ran.stderr);
        assert!(!ran.stdout.contains(MARK) && !ran.stderr.contains(MARK));
    }
}

/// Runs the program on a pseudo-terminal and types `typed`. Returns `None` if script(1) is
/// not installed.
fn on_a_terminal(world: &World, arguments: &[&str], typed: &str) -> Option<RunOutput> {
    let quoted = |argument: &str| format!("'{}'", argument.replace('\'', r"'\''"));
    let mut line = quoted(env!("CARGO_BIN_EXE_entail"));
    for argument in arguments {
        line = format!("{line} {}", quoted(argument));
    }
    let mut command = Command::new("script");
    command
        .args(["-qec", &line, "/dev/null"])
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("SHELL", "/bin/sh")
        .env("TERM", "xterm-256color")
        .env("ENTAIL_HOME", world.sandbox.home());
    if Command::new("script").arg("--version").output().is_err() {
        println!("skipped: script(1) is not installed");
        return None;
    }
    let output = Sandbox::output(command, typed);
    Some(RunOutput {
        // The terminal replaces each LF by CR LF.
        stdout: String::from_utf8(output.stdout)
            .unwrap()
            .replace("\r\n", "\n"),
        stderr: String::from_utf8(output.stderr).unwrap(),
        code: output.status.code(),
    })
}

fn source(name: &str) -> &'static Source {
    sources::all().find(|source| source.name == name).unwrap()
}

#[test]
fn a_real_terminal_gets_the_programs_own_styles_and_nothing_else() {
    for (name, commands) in [
        (
            "the refusal of a policy",
            &[
                "resolve acme openai",
                "explain acme openai",
                "status",
                "run acme -- true",
                "audit tail",
            ][..],
        ),
        (
            "the model of a grant",
            &["explain acme openai", "status", "doctor", "audit tail"],
        ),
        (
            "a line of the decision log",
            &["audit tail", "audit verify"],
        ),
        ("the texts of a provider", &["providers", "providers local"]),
        (
            "the name of a home that others can use",
            &["status", "policy list"],
        ),
    ] {
        let world = World::new(source(name), Kind::Everything, false);
        for line in commands {
            let arguments: Vec<&str> = line.split(' ').collect();
            let Some(ran) = on_a_terminal(&world, &arguments, "") else {
                return;
            };
            let what = format!("{name} × {line} on a terminal");
            // The progress bar clears its line when it finishes.
            let text = match *line {
                "doctor" => ran.stdout.replace("\r\u{1b}[2K", ""),
                _ => ran.stdout,
            };
            let plain = without_styles(&what, &text);
            assert_plain(&what, &plain);
            assert!(text != plain, "{what}: there are no styles: {text}");
        }
    }
}

#[test]
fn a_prompt_on_a_real_terminal_is_one_line_and_plain() {
    let world = World::new(source("the texts of a provider"), Kind::Everything, false);
    let arguments = ["credential", "set", "acme", "local"];
    let ran = ScriptedUser::entail(&world.sandbox, &arguments)
        .at("(hidden): ", "canary-of-nobody-0000\n")
        .run()
        .ran
        .ok();
    let plain = without_styles("the prompt", &ran.stdout);
    assert_plain("the prompt", &plain);
    let prompts: Vec<&str> = plain.lines().filter(|line| line.contains(MARK)).collect();
    // The hint, and the prompt with the names of field and provider.
    assert_eq!(prompts.len(), 2, "{plain}");
    assert!(plain.contains("(hidden): "), "{plain}");
    assert!(plain.contains("acme local is set"), "{plain}");
}

#[test]
fn the_secondary_decision_log_gets_plain_lines() {
    let refusing = source("the refusal of a policy");
    for place in ["file", "stdout"] {
        let world = World::new(refusing, Kind::Everything, false);
        let second = world.sandbox.path("second.jsonl");
        let to = match place {
            "stdout" => "stdout",
            _ => second.to_str().unwrap(),
        };
        let settings = format!("[decision-log]\nsecondary = \"{to}\"\n");
        world.in_home("settings.toml", &settings);
        let ran = world
            .sandbox
            .entail(&["resolve", "acme", "openai"])
            .fails(10);
        assert_plain(place, &ran.stdout);
        assert_plain(place, &ran.stderr);
        let log = match place {
            "stdout" => ran.stdout,
            _ => std::fs::read_to_string(&second).unwrap(),
        };
        assert_plain(place, &log);
        assert_eq!(log.lines().count(), 1);
        let line: Value = serde_json::from_str(&log).unwrap();
        assert!(contains_text(&line, &world.text));
    }
}
