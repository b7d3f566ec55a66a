//! Commands about policies.

use std::io::{BufRead as _, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use entail::policy::{Digest, Engine, Facts, Policy, Sandbox, Settings};
use entail::store::InputFile;
use entail_text::strict;
use serde_json::json;

use crate::args::{BuildArgs, DecideArgs, PolicyCommand};
use crate::component_source::read_component;
use crate::failure::{Failure, shown};
use crate::output::{Cell, Style, Table, print_json, print_json_line, say};
use crate::policy_build::{self, BuildError};
use crate::session::Session;
use crate::{
    component_source, policy_check, policy_compare, policy_new, policy_service, policy_test,
};

/// The longest line of facts that is read.
const MAX_LINE_BYTES: u64 = 4 << 20;

pub async fn policy(session: &Session, command: &PolicyCommand) -> Result<ExitCode, Failure> {
    match command {
        PolicyCommand::New(args) => policy_new::new(session, args)?,
        PolicyCommand::Build(args) => build(session, args)?,
        PolicyCommand::Check(args) => policy_check::check(session, args)?,
        PolicyCommand::Test(args) => policy_test::test(session, args)?,
        PolicyCommand::Decide(args) => decide(args)?,
        PolicyCommand::Replay(args) => return policy_compare::replay(session, args),
        PolicyCommand::Diff(args) => return policy_compare::diff(session, args).await,
        PolicyCommand::Install(args) => policy_service::install(session, args).await?,
        PolicyCommand::List => policy_service::list(session).await?,
        PolicyCommand::Show(args) => policy_service::show(session, args).await?,
        PolicyCommand::Activate(args) => return policy_service::activate(session, args).await,
        PolicyCommand::Rollback { organization } => {
            return policy_service::roll_back(session, organization).await;
        }
        PolicyCommand::Shadow(args) => policy_service::shadow(session, args).await?,
        PolicyCommand::Remove { policy } => policy_service::remove(session, policy).await?,
    }
    Ok(ExitCode::SUCCESS)
}

impl From<BuildError> for Failure {
    fn from(error: BuildError) -> Self {
        let message = match std::error::Error::source(&error) {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        };
        Failure::new(1, "build", message)
    }
}

fn build(session: &Session, args: &BuildArgs) -> Result<(), Failure> {
    let component = match &args.module {
        Some(module) => policy_build::componentize(module)?,
        None => policy_build::build(&args.folder)?,
    };
    if let Some(file) = &args.check {
        let committed = read_component(file)?;
        if committed != component {
            return Err(Failure::new(
                1,
                "differs",
                format!(
                    "{} differs from a fresh build: {} against {}",
                    file.display(),
                    Digest::of(&committed),
                    Digest::of(&component)
                ),
            )
            .with_remedies(vec![format!(
                "entail policy build {} --output {}",
                args.folder.display(),
                file.display()
            )]));
        }
        say!("{} is what a fresh build gives", file.display());
        return Ok(());
    }
    let (policy, component) =
        policy_check::admit_built(&args.folder, args.module.as_deref(), component)?;
    let output = args.output.clone().unwrap_or_else(|| {
        let name = format!("{}.wasm", policy.description().name);
        match args.module {
            Some(_) => PathBuf::from(name),
            None => args.folder.join(name),
        }
    });
    std::fs::write(&output, &component).map_err(|error| Failure::io(output.display(), &error))?;
    describe(session, &policy, &component, &output);
    Ok(())
}

fn describe(session: &Session, policy: &Policy, component: &[u8], file: &Path) {
    let description = policy.description();
    let digest = Digest::of(component);
    let bytes = component.len();
    if session.common.json {
        print_json(&json!({
            "name": description.name, "version": description.version,
            "summary": description.summary, "digest": digest,
            "bytes": bytes, "file": file.to_string_lossy(),
        }));
        return;
    }
    let mut table = Table::default();
    let mut row =
        |name: &str, value: String| table.row([Cell::new(name, Style::Faint), value.into()]);
    row(
        "policy",
        format!("{} {}", description.name, description.version),
    );
    row("summary", description.summary.clone());
    row("digest", digest.to_string());
    row("size", format!("{bytes} bytes"));
    let imports = match policy.digest() == digest {
        true => "none",
        false => "those of a layer: install it --over another policy",
    };
    row("imports", imports.to_owned());
    row("file", file.display().to_string());
    table.print();
}

/// Facts as JSON lines in, decisions as JSON lines out, in the same order. A line
/// that has no decision gives `{"error": …}`, and the command fails after the
/// last line, as the first of them did.
fn decide(args: &DecideArgs) -> Result<(), Failure> {
    let engine = engine();
    let policy = match &args.policy {
        Some(file) => engine.admit(&component_source::read(file)?.bytes),
        None => engine.admit_own(entail::DEFAULT_POLICY),
    };
    let policy = policy.map_err(entail::Error::from)?;
    let mut failed = None;
    let standard_input = [PathBuf::from("-")];
    let files = if args.facts.is_empty() {
        &standard_input[..]
    } else {
        &args.facts
    };
    for file in files {
        if file.as_os_str() == "-" {
            let mut input = std::io::stdin().lock();
            decide_lines(&policy, "standard input", &mut input, &mut failed)?;
        } else {
            let name = shown(file);
            let mut opened =
                InputFile::open_stream(file).map_err(|error| Failure::io(&name, &error.into()))?;
            decide_lines(&policy, &name, &mut opened, &mut failed)?;
        }
    }
    failed.map_or(Ok(()), Err)
}

fn decide_lines(
    policy: &Policy,
    name: &str,
    source: &mut dyn Read,
    failed: &mut Option<Failure>,
) -> Result<(), Failure> {
    let mut source = BufReader::new(source);
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        let read = Read::by_ref(&mut source)
            .take(MAX_LINE_BYTES)
            .read_until(b'\n', &mut line)
            .map_err(|error| Failure::io(name, &error))?;
        if read == 0 {
            break;
        }
        if u64::try_from(read) == Ok(MAX_LINE_BYTES) && !line.ends_with(b"\n") {
            return Err(Failure::invalid(format!(
                "{name}, line {number}: it has more than {MAX_LINE_BYTES} bytes"
            )));
        }
        if line.trim_ascii().is_empty() {
            continue;
        }
        let decided = strict::from_slice::<Facts>(&line)
            .map_err(|error| Failure::invalid(format!("{name}, line {number}: not facts: {error}")))
            .and_then(|facts| {
                policy
                    .decide(&facts)
                    .map_err(|failure| Failure::from(entail::Error::PolicyFailed(failure)))
            });
        match decided {
            Ok(decision) => print_json_line(&decision),
            Err(failure) => {
                print_json_line(&json!({"error": failure.message()}));
                failed.get_or_insert(failure);
            }
        }
    }
    Ok(())
}

fn engine() -> Engine {
    Engine::new(Settings {
        concurrent_calls: 1,
        sandbox: Some(Sandbox::this_program()),
        ..Settings::default()
    })
}
