//! `policy decide`: facts as JSON lines in, decisions as JSON lines out.

use std::io::{BufRead as _, BufReader, Read};
use std::path::PathBuf;

use clap::Args;
use entail::host_attributes::check_host_attributes;
use entail::policy::{Compiler, Decision, Engine, EngineConfig, Facts, Policy, Sandbox};
use entail::store::InputFile;
use entail_policy_tools::display::display_path;
use entail_policy_tools::source;
use entail_policy_tools::vectors::DecideErrorCode;
use entail_text::strict;

use crate::args::path as paths;
use crate::code_cache::code_cache;
use crate::error::CliError;
use crate::output::{is_closed, print_json_line};
use crate::session::Session;
use entail_api::policy::{DecideError, DecideErrorReason};

/// The longest line of facts.
const MAX_LINE_BYTES: u64 = 4 << 20;

/// The code of a line that has no facts.
const MALFORMED_FACTS: &str = "malformed-facts";

#[derive(Args)]
pub struct DecideArgs {
    /// The component to decide with [default: the built-in one]
    #[arg(long, value_name = "FILE", value_parser = paths::parser())]
    policy: Option<PathBuf>,
    /// Files of facts, one JSON object a line [default: standard input]
    #[arg(value_name = "FACTS", value_parser = paths::parser())]
    facts: Vec<PathBuf>,
}

/// A line without a decision.
struct Undecided {
    code: &'static str,
    failure: Box<CliError>,
}

/// Decides each line, in order. A line without a decision gives `{"error": …}`, and the
/// command fails after the last line, as the first of these did.
///
/// # Errors
///
/// Fails if a line has no decision, or a file cannot be read.
pub fn decide(session: &Session, args: &DecideArgs) -> Result<(), CliError> {
    let code = code_cache(session)?;
    let engine = Engine::new(EngineConfig {
        code_cache: Some(code.cache.clone()),
        concurrent_calls: 1,
        compiler: Compiler::Sandboxed(Sandbox::this_program()),
        ..EngineConfig::default()
    });
    let named = args.policy.as_deref().map(display_path);
    let policy = match &args.policy {
        Some(file) => engine.admit(&source::read(file)?.bytes),
        None => engine.admit_trusted(entail::DEFAULT_POLICY),
    };
    let policy = policy.map_err(|error| failed(named.as_deref(), error.into()))?;
    let decider = Decider {
        policy,
        named: named.as_deref(),
    };
    let standard_input = [PathBuf::from("-")];
    let files = if args.facts.is_empty() {
        &standard_input[..]
    } else {
        &args.facts
    };
    let mut first_failure = None;
    for file in files {
        let failure = if file.as_os_str() == "-" {
            decide_lines(&decider, "standard input", &mut std::io::stdin().lock())?
        } else {
            let name = display_path(file);
            let mut opened =
                InputFile::open_stream(file).map_err(|error| CliError::io(&name, &error.into()))?;
            decide_lines(&decider, &name, &mut opened)?
        };
        first_failure = first_failure.or(failure);
    }
    first_failure.map_or(Ok(()), Err)
}

/// The policy that decides.
struct Decider<'a> {
    policy: Policy,
    /// The file; `None` for the built-in one.
    named: Option<&'a str>,
}

/// The error of a policy, with its file and what checks it.
fn failed(policy: Option<&str>, error: entail::Error) -> CliError {
    let code = error.kind().into();
    match policy {
        Some(file) => CliError::new(code, format!("{file}: {error}"))
            .with_remedies(vec![format!("entail policy check {file}")]),
        None => CliError::new(code, error.to_string()),
    }
}

/// What helps with a line that has no facts.
fn facts_remedy() -> Vec<String> {
    vec!["to see facts, as the member \"facts\": entail explain SCOPE PROVIDER --json".to_owned()]
}

/// Decides the lines of a file. Returns the first failure of a line.
fn decide_lines(
    decider: &Decider<'_>,
    name: &str,
    source: &mut dyn Read,
) -> Result<Option<CliError>, CliError> {
    let mut source = BufReader::new(source);
    let mut line = Vec::new();
    let mut first_failure = None;
    for number in 1.. {
        line.clear();
        let read = Read::by_ref(&mut source)
            .take(MAX_LINE_BYTES)
            .read_until(b'\n', &mut line)
            .map_err(|error| CliError::io(name, &error))?;
        if read == 0 {
            break;
        }
        let place = format!("{name}, line {number}");
        if u64::try_from(read) == Ok(MAX_LINE_BYTES) && !line.ends_with(b"\n") {
            return Err(CliError::invalid(format!(
                "{place}: it is larger than {MAX_LINE_BYTES} bytes; the facts of each request are one line"
            ))
            .with_remedies(facts_remedy()));
        }
        if line.trim_ascii().is_empty() {
            continue;
        }
        if is_closed() {
            break;
        }
        match decide_line(decider, &place, &line) {
            Ok(decision) => print_json_line(&decision),
            Err(Undecided { code, failure }) => {
                print_json_line(&DecideError {
                    error: DecideErrorReason {
                        code: code.to_owned(),
                        message: failure.message().to_owned(),
                    },
                });
                first_failure.get_or_insert(*failure);
            }
        }
    }
    Ok(first_failure)
}

fn decide_line(decider: &Decider<'_>, place: &str, line: &[u8]) -> Result<Decision, Undecided> {
    let malformed = |message: String| Undecided {
        code: MALFORMED_FACTS,
        failure: Box::new(CliError::invalid(message).with_remedies(facts_remedy())),
    };
    let facts: Facts = strict::from_slice(line).map_err(|error| {
        malformed(format!(
            "{place}: not the facts of a request, one JSON object: {error}"
        ))
    })?;
    check_host_attributes(&facts).map_err(|error| malformed(format!("{place}: {error}")))?;
    decider.policy.decide(&facts).map_err(|failure| {
        let code = DecideErrorCode::of(&failure);
        let is_invalid = matches!(code, Some(DecideErrorCode::InvalidFacts));
        let failure = failed(decider.named, entail::Error::PolicyFailed(failure));
        let remedies = match is_invalid {
            true => facts_remedy(),
            false => failure.remedies().to_vec(),
        };
        let message = format!("{place}: {}", failure.message());
        let failure = CliError::new(failure.code(), message).with_remedies(remedies);
        Undecided {
            code: code.map_or(failure.code().as_str(), DecideErrorCode::name),
            failure: Box::new(failure),
        }
    })
}
