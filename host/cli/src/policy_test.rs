//! `policy test`: holds a policy against vectors, which are facts and what must come
//! of them.
//!
//! A file of vectors is a JSON list. A vector has a `name`, which says what it shows;
//! `settings`, unless there are none; `facts`; and either the `decision` or the
//! `error` (`invalid-facts` or `other`) that must come of them. The message of a
//! refusal is for people, and is not compared.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use entail::host_attributes::check_host_attributes;
use entail::policy::{CallError, Decision, Facts, Outcome, Policy, Values};
use entail_text::{Shown, sanitize, strict};
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use similar::{ChangeTag, TextDiff};

use crate::build_record::Built;
use crate::component_source::{
    Component, ComponentArgs, SourceError, files_named, read_found, read_settings,
};
use crate::failure::{Failure, shown};
use crate::output::{Line, Style, print_json, say, tell};
use crate::policy_check::Bench;
use crate::session::Session;

/// Where the vectors of a policy lie in its folder.
const FOLDER: &str = "vectors";

/// The most bytes of all vectors of a run, some twenty thousand: all are read before the
/// first is tried.
const MAX_BYTES: usize = 8 << 20;

/// The most bytes of one vector: settings take up to ninety times their length in memory
/// when they are understood, which is done for one vector at a time.
const MAX_VECTOR_BYTES: usize = 1 << 20;

#[derive(Args)]
pub struct TestArgs {
    #[command(flatten)]
    pub component: ComponentArgs,
    /// The directory of the vectors, files *.json [default: vectors in the directory of
    /// the policy]
    #[arg(long, value_name = "DIR", value_parser = crate::paths::parser())]
    pub vectors: Option<PathBuf>,
    /// Settings for vectors that have none of their own: a file with a JSON object
    #[arg(long, value_name = "FILE", value_parser = crate::paths::parser())]
    pub settings: Option<PathBuf>,
    /// Also write a report in the JUnit format
    #[arg(long, value_name = "FILE", value_parser = crate::paths::parser())]
    pub junit: Option<PathBuf>,
}

/// Runs every vector.
///
/// # Errors
///
/// When a vector does not hold; when one is malformed, or there is none; when the
/// policy is not admitted.
pub fn test(session: &Session, args: &TestArgs) -> Result<(), Failure> {
    let bench = Bench::new(session)?;
    let component = args.component.read(bench.engine())?;
    check_is_of_its_sources(&args.component, &component)?;
    let Some(folder) = vectors_folder(args) else {
        // What is no policy has no vectors either.
        bench.admit(&component)?;
        return Err(no_vectors(&args.component.source.component));
    };
    // Vectors with a flaw are known before anything is compiled.
    let files = read_files(&folder)?;
    let settings = match &args.settings {
        Some(file) => read_settings(file)?,
        None => Values::new(),
    };
    let mut policies = Policies::new(bench.admit(&component)?);
    let results: Vec<FileResult> = files
        .into_iter()
        .map(|file| file.run(&mut policies, &settings))
        .collect();
    if let Some(file) = &args.junit {
        write_junit(file, &component.name, &results)?;
    }
    if session.common.json {
        print_results(&results);
    } else {
        for result in &results {
            result.say();
        }
    }
    let total: usize = results.iter().map(|file| file.cases.len()).sum();
    let failed: usize = results.iter().map(FileResult::failed).sum();
    if !session.common.json {
        let style = match failed {
            0 => Style::Good,
            _ => Style::Bad,
        };
        let summary = format!("{} passed, {failed} failed", total - failed);
        say!(style => summary);
    }
    match failed {
        0 => Ok(()),
        _ => Err(Failure::new(
            1,
            "vectors-failed",
            format!("{failed} of {total} vectors failed"),
        )),
    }
}

/// Refuses a component of which nobody knows whether it is what the sources beside it
/// give, unless it was named itself.
fn check_is_of_its_sources(args: &ComponentArgs, component: &Component) -> Result<(), Failure> {
    if component.built != Built::Unknown {
        return Ok(());
    }
    let name = &component.name;
    let named = &args.source.component;
    if !named.is_dir() {
        tell!(Style::Warn => "note:"; " nothing says whether {name} is what the sources beside it give");
        return Ok(());
    }
    Err(Failure::invalid(format!(
        "nothing says whether {name} is what the sources beside it give: it was not built here, \
         or the last build failed"
    ))
    .with_remedies(vec![
        format!("entail policy build {}", shown(named)),
        format!("as it is: entail policy test {name}"),
    ]))
}

/// The folder that was named, else the one in the folder of the policy, if it is there.
fn vectors_folder(args: &TestArgs) -> Option<PathBuf> {
    if let Some(folder) = &args.vectors {
        return Some(folder.clone());
    }
    let component = &args.component.source.component;
    let folder = match component.is_dir() {
        true => component.join(FOLDER),
        false => component.with_file_name(FOLDER),
    };
    folder.is_dir().then_some(folder)
}

fn no_vectors(component: &Path) -> Failure {
    let component = component.display();
    Failure::invalid(format!(
        "there is no folder {FOLDER} with {component}; say where the vectors are"
    ))
    .with_remedies(vec![format!(
        "entail policy test {component} --vectors DIR"
    )])
}

/// A file of vectors.
struct File {
    /// Its name, to be shown.
    name: String,
    vectors: Vec<Vector>,
}

/// Facts, and what must come of them.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: String,
    settings: Option<Box<RawValue>>,
    facts: Facts,
    decision: Option<Decision>,
    error: Option<PolicyError>,
}

/// The name of a vector that has a flaw.
#[derive(Deserialize)]
struct Named {
    name: Option<String>,
}

/// The same, understood, but for the settings, which are small as they are written.
struct Vector {
    name: String,
    settings: Option<Box<RawValue>>,
    facts: Facts,
    expected: Answer,
}

/// An answer of a policy; neither the words of an error nor the message of a refusal
/// count.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
enum Answer {
    Decision(Decision),
    Error { error: PolicyError },
}

/// What a policy answers instead of a decision.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum PolicyError {
    InvalidFacts,
    Other,
}

fn understood(settings: &RawValue) -> serde_json::Result<Values> {
    serde_json::from_str(settings.get())
}

fn read_files(folder: &Path) -> Result<Vec<File>, Failure> {
    let paths = files_named(folder, "json")?;
    if paths.is_empty() {
        return Err(Failure::invalid(format!(
            "{} has no vectors: no file in it ends in .json",
            folder.display()
        )));
    }
    let mut left = MAX_BYTES;
    let mut files = Vec::new();
    for path in paths {
        let text = read_found(&path, left).map_err(|error| match error {
            SourceError::TooLarge { name, .. } => Failure::invalid(format!(
                "{name}: the vectors of a run have at most {MAX_BYTES} bytes together"
            )),
            error => error.into(),
        })?;
        left = left.saturating_sub(text.len());
        files.push(File::read(&path, &text)?);
    }
    Ok(files)
}

impl File {
    fn read(path: &Path, text: &[u8]) -> Result<Self, Failure> {
        let name = shown(path);
        let list: Vec<&RawValue> = strict::from_slice(text)
            .map_err(|error| Failure::invalid(format!("{name}: no list of vectors: {error}")))?;
        let vectors = list
            .into_iter()
            .enumerate()
            .map(|(index, vector)| Vector::read(&name, index, vector.get()))
            .collect::<Result<_, Failure>>()?;
        Ok(File { name, vectors })
    }

    fn run(self, policies: &mut Policies, settings: &Values) -> FileResult {
        let cases = self
            .vectors
            .into_iter()
            .map(|vector| vector.run(policies, settings))
            .collect();
        FileResult {
            name: self.name,
            cases,
        }
    }
}

impl Vector {
    fn read(file: &str, index: usize, vector: &str) -> Result<Self, Failure> {
        let flawed = |flaw: &dyn std::fmt::Display| {
            let called = match serde_json::from_str(vector) {
                Ok(Named { name: Some(name) }) => format!("{name:?}"),
                _ => format!("vector {}", index + 1),
            };
            Failure::invalid(format!("{file}, {called}: {flaw}"))
        };
        if vector.len() > MAX_VECTOR_BYTES {
            let flaw = format!("it has more than {MAX_VECTOR_BYTES} bytes, and no more are read");
            return Err(flawed(&flaw));
        }
        let written: Written = serde_json::from_str(vector).map_err(|error| flawed(&error))?;
        if let Some(settings) = &written.settings {
            understood(settings).map_err(|error| flawed(&error))?;
        }
        check_host_attributes(&written.facts).map_err(|error| flawed(&error))?;
        let expected = match (written.decision, written.error) {
            (Some(decision), None) => Answer::from(decision),
            (None, Some(error)) => Answer::Error { error },
            _ => return Err(flawed(&"a vector has either a decision or an error")),
        };
        Ok(Vector {
            name: written.name,
            settings: written.settings,
            facts: written.facts,
            expected,
        })
    }

    fn run(self, policies: &mut Policies, settings: &Values) -> CaseResult {
        let own = self.settings.as_deref().map(understood).transpose();
        let policy = own.map_err(|error| error.to_string());
        let policy = policy.and_then(|own| policies.with(own.as_ref().unwrap_or(settings)));
        let started = Instant::now();
        let wrong = match policy {
            Err(error) => Some(Wrong::Failed(error)),
            Ok(policy) => match Answer::of(policy.decide(&self.facts)) {
                Ok(answer) if answer == self.expected => None,
                Ok(actual) => Some(Wrong::Differs(Box::new(Answers {
                    expected: self.expected,
                    actual,
                }))),
                Err(failure) => Some(Wrong::Failed(failure.to_string())),
            },
        };
        CaseResult {
            name: self.name,
            took: started.elapsed(),
            wrong,
        }
    }
}

/// A policy with whatever is set for it. The same settings are looked over once: it takes
/// a process of its own.
struct Policies {
    unset: Policy,
    set: BTreeMap<String, Result<Policy, String>>,
}

impl Policies {
    fn new(unset: Policy) -> Self {
        Policies {
            unset,
            set: BTreeMap::new(),
        }
    }

    fn with(&mut self, settings: &Values) -> Result<Policy, String> {
        let text = json!(settings).to_string();
        let set = || {
            let set = self.unset.with_settings(settings);
            set.map_err(|error| error.to_string())
        };
        self.set.entry(text).or_insert_with(set).clone()
    }
}

impl From<Decision> for Answer {
    fn from(mut decision: Decision) -> Self {
        if let Outcome::Refused(refusal) = &mut decision.outcome {
            refusal.message = String::new().into();
        }
        Answer::Decision(decision)
    }
}

impl Answer {
    /// Tells an answer from a failure to give one.
    fn of(decided: Result<Decision, CallError>) -> Result<Self, CallError> {
        match decided {
            Ok(decision) => Ok(decision.into()),
            Err(CallError::InvalidFacts(_)) => Ok(Answer::Error {
                error: PolicyError::InvalidFacts,
            }),
            Err(CallError::Undecided(_)) => Ok(Answer::Error {
                error: PolicyError::Other,
            }),
            Err(failure) => Err(failure),
        }
    }

    /// The answer as lines that a person can compare.
    fn lines(&self) -> String {
        let mut lines = String::new();
        // Writing to a string does not fail.
        let _ = match self {
            Answer::Error { error } => writeln!(lines, "error {}", json!(error)),
            Answer::Decision(decision) => write_decision(&mut lines, decision),
        };
        lines
    }
}

fn write_decision(lines: &mut String, decision: &Decision) -> std::fmt::Result {
    match &decision.outcome {
        Outcome::Granted(grant) => {
            writeln!(lines, "granted {}", Shown::of(&grant.credential))?;
            if let Some(model) = &grant.model {
                writeln!(lines, "  model {}", Shown::of(model))?;
            }
            for alternate in &grant.alternates {
                writeln!(lines, "  alternate {}", Shown::of(alternate))?;
            }
        }
        Outcome::Refused(refusal) => writeln!(lines, "refused {}", refusal.code)?,
    }
    for finding in &decision.trail {
        let credential = Shown::of(&finding.credential);
        write!(lines, "trail {credential}: {}", finding.code)?;
        match finding.attributes.is_empty() {
            true => writeln!(lines)?,
            false => writeln!(lines, " {}", json!(finding.attributes))?,
        }
    }
    match decision.attributes.is_empty() {
        true => Ok(()),
        false => writeln!(lines, "attributes {}", json!(decision.attributes)),
    }
}

/// What came of a file.
struct FileResult {
    name: String,
    cases: Vec<CaseResult>,
}

/// What came of a vector.
struct CaseResult {
    name: String,
    took: Duration,
    wrong: Option<Wrong>,
}

/// Two answers that are not the same.
struct Answers {
    expected: Answer,
    actual: Answer,
}

/// Why a vector does not hold.
enum Wrong {
    /// The policy answers something else.
    Differs(Box<Answers>),
    /// It gives no answer.
    Failed(String),
}

impl Wrong {
    /// The lines of both answers: those that are only in the one, with `-`, that the
    /// vector expects; those that are only in the other, with `+`.
    fn lines(&self) -> Vec<(ChangeTag, String)> {
        match self {
            Wrong::Failed(reason) => vec![(ChangeTag::Insert, reason.clone())],
            Wrong::Differs(answers) => {
                let (expected, actual) = (answers.expected.lines(), answers.actual.lines());
                TextDiff::from_lines(&expected, &actual)
                    .iter_all_changes()
                    .map(|change| (change.tag(), change.value().trim_end().to_owned()))
                    .collect()
            }
        }
    }
}

impl FileResult {
    fn failed(&self) -> usize {
        self.cases
            .iter()
            .filter(|case| case.wrong.is_some())
            .count()
    }

    fn say(&self) {
        let failed = self.failed();
        let passed = format!("{} passed", self.cases.len() - failed);
        match failed {
            0 => Line::plain(format_args!("{}: ", self.name))
                .then_styled(Style::Good, passed)
                .print(),
            _ => Line::plain(format_args!("{}: {passed}, ", self.name))
                .then_styled(Style::Bad, format_args!("{failed} failed"))
                .print(),
        }
        for case in &self.cases {
            let Some(wrong) = &case.wrong else {
                continue;
            };
            say!(Style::Heading => format_args!("  {}", case.name));
            if let Wrong::Differs(_) = wrong {
                Line::styled(Style::Good, "    - expected")
                    .then_styled(Style::Bad, " + actual")
                    .print();
            }
            for (tag, line) in wrong.lines() {
                let style = match tag {
                    ChangeTag::Equal => Style::Faint,
                    ChangeTag::Delete => Style::Good,
                    ChangeTag::Insert => Style::Bad,
                };
                say!(style => format_args!("    {tag} {line}"));
            }
        }
    }
}

fn print_results(results: &[FileResult]) {
    let failure = |case: &CaseResult| match case.wrong.as_ref()? {
        Wrong::Differs(answers) => Some(json!({
            "name": case.name, "expected": answers.expected, "actual": answers.actual,
        })),
        Wrong::Failed(reason) => Some(json!({"name": case.name, "failure": reason})),
    };
    let files: Vec<Value> = results
        .iter()
        .map(|file| {
            let failed: Vec<Value> = file.cases.iter().filter_map(failure).collect();
            json!({
                "file": file.name, "passed": file.cases.len() - failed.len(), "failed": failed,
            })
        })
        .collect();
    print_json(&json!(files));
}

fn write_junit(file: &Path, policy: &str, results: &[FileResult]) -> Result<(), Failure> {
    let mut report = Report::new(&*sanitize(policy));
    for result in results {
        let mut suite = TestSuite::new(&*sanitize(&result.name));
        for case in &result.cases {
            let status = match &case.wrong {
                None => TestCaseStatus::success(),
                Some(wrong) => {
                    let (kind, message) = match wrong {
                        Wrong::Differs(_) => {
                            (NonSuccessKind::Failure, "another answer than expected")
                        }
                        Wrong::Failed(_) => (NonSuccessKind::Error, "no answer"),
                    };
                    let lines: Vec<String> = wrong
                        .lines()
                        .into_iter()
                        .map(|(tag, line)| format!("{tag} {}", sanitize(&line)))
                        .collect();
                    let mut status = TestCaseStatus::non_success(kind);
                    status
                        .set_message(message)
                        .set_description(lines.join("\n"));
                    status
                }
            };
            let mut test = TestCase::new(&*sanitize(&case.name), status);
            test.set_classname(&*sanitize(&result.name))
                .set_time(case.took);
            suite.add_test_case(test);
        }
        report.add_test_suite(suite);
    }
    let failed = |error: &dyn std::fmt::Display| {
        Failure::new(1, "io", format!("{}: {error}", file.display()))
    };
    let text = report.to_string().map_err(|error| failed(&error))?;
    std::fs::write(file, text).map_err(|error| failed(&error))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // a test may
mod tests {
    use super::*;

    fn read(vector: &Value) -> Result<Vector, String> {
        Vector::read("rules.json", 0, &vector.to_string())
            .map_err(|failure| failure.message().to_owned())
    }

    fn vector() -> Value {
        json!({
            "name": "an own key wins",
            "facts": {
                "request": {"provider": "openai", "now_ms": 1},
                "chain": [{"path": "acme"}],
            },
            "decision": {"refused": {"code": "no-credential", "message": "none"}, "trail": []},
        })
    }

    #[test]
    fn a_flaw_is_told_with_file_and_name() {
        assert!(read(&vector()).is_ok());
        for (path, name) in [
            ("", "a"),
            ("/facts", "b"),
            ("/facts/request", "c"),
            ("/decision", "d"),
        ] {
            let mut flawed = vector();
            flawed.pointer_mut(path).unwrap()[name] = json!(1);
            let flaw = read(&flawed).err().unwrap();
            assert!(
                flaw.starts_with(&format!(
                    "rules.json, \"an own key wins\": unknown field `{name}`"
                )),
                "{flaw}"
            );
        }
        let mut both = vector();
        both["error"] = json!("other");
        assert!(
            read(&both)
                .err()
                .unwrap()
                .ends_with("a decision or an error")
        );
        let mut neither = vector();
        neither.as_object_mut().unwrap().remove("decision");
        assert!(read(&neither).is_err());
    }

    #[test]
    fn a_message_is_not_compared() {
        let expected = read(&vector()).unwrap().expected;
        let mut other = vector();
        other["decision"]["refused"]["message"] = json!("other words");
        assert_eq!(read(&other).unwrap().expected, expected);
        other["decision"]["refused"]["code"] = json!("expired");
        assert_ne!(read(&other).unwrap().expected, expected);
    }

    #[test]
    fn what_differs_is_marked() {
        let answer = |decision: Value| Answer::Decision(serde_json::from_value(decision).unwrap());
        let wrong = Wrong::Differs(Box::new(Answers {
            expected: answer(json!({
                "granted": {"credential": "a"},
                "trail": [{"credential": "a", "code": "chosen"}, {"credential": "b", "code": "expired"}],
            })),
            actual: answer(json!({
                "refused": {"code": "no-credential"},
                "trail": [{"credential": "b", "code": "expired"}],
            })),
        }));
        let lines: Vec<String> = wrong
            .lines()
            .into_iter()
            .map(|(tag, line)| format!("{tag}{line}"))
            .collect();
        assert_eq!(
            lines,
            [
                "-granted a",
                "-trail a: chosen",
                "+refused no-credential",
                " trail b: expired"
            ]
        );
    }
}
