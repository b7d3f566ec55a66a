//! Commands about policies.

use std::io::{BufRead as _, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use entail::host_attributes::check_host_attributes;
use entail::policy::{
    CodeCache, Compiler, Engine, EngineConfig, Facts, Policy, PolicyDigest, Sandbox,
};
use entail::store::InputFile;
use entail_text::strict;
use serde_json::json;

use crate::args::{BuildArgs, DecideArgs, PolicyCommand};
use crate::code_cache::code_cache;
use crate::component_source::read_component;
use crate::failure::{Failure, shown};
use crate::output::{Cell, Style, Table, print_json, print_json_line, say, tell};
use crate::policy_build::{self, BuildError};
use crate::session::Session;
use crate::{
    build_record, component_source, policy_check, policy_compare, policy_new, policy_service,
    policy_test,
};

/// The longest line of facts that is read.
const MAX_LINE_BYTES: u64 = 4 << 20;

pub async fn policy(session: &Session, command: &PolicyCommand) -> Result<ExitCode, Failure> {
    match command {
        PolicyCommand::New(args) => policy_new::new(session, args)?,
        PolicyCommand::Build(args) => build(session, args)?,
        PolicyCommand::Check(args) => policy_check::check(session, args)?,
        PolicyCommand::Test(args) => policy_test::test(session, args)?,
        PolicyCommand::Decide(args) => decide(session, args)?,
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
    let (component, built_of) = if let Some(module) = &args.module {
        (policy_build::componentize(module)?, None)
    } else {
        // Whatever is there is of other sources, should this fail.
        if args.check.is_none()
            && args
                .output
                .as_ref()
                .is_none_or(|file| is_in(file, &args.folder))
        {
            build_record::forget(&args.folder)
                .map_err(|error| Failure::io(args.folder.display(), &error))?;
        }
        let roots = policy_build::roots(&args.folder)?;
        let before = build_record::sources(&args.folder, &roots);
        let component = policy_build::build(&args.folder)?;
        (component, Some((roots, before)))
    };
    // Notes what the component in `file` was built of. A source that is changed while it is
    // built is noted as it was before.
    let note = |file: &Path, component: &[u8]| -> Result<(), Failure> {
        let Some((roots, before)) = built_of.as_ref().filter(|_| is_in(file, &args.folder)) else {
            return Ok(());
        };
        let after = build_record::sources(&args.folder, roots);
        let (Ok(before), Ok(mut sources)) = (before, after) else {
            tell!(Style::Warn => "note:"; " the sources cannot all be read, so policy test cannot tell whether {} is of them", file.display());
            return Ok(());
        };
        sources.extend(before.iter().map(|(name, digest)| (name.clone(), *digest)));
        build_record::write(&args.folder, file, component, roots.clone(), sources)
            .map_err(|error| Failure::io(args.folder.display(), &error))
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
                    PolicyDigest::of(&committed),
                    PolicyDigest::of(&component)
                ),
            )
            .with_remedies(vec![format!(
                "entail policy build {} --output {}",
                args.folder.display(),
                file.display()
            )]));
        }
        note(file, &component)?;
        say!("{} is what a fresh build gives", file.display());
        return Ok(());
    }
    let (policy, component) =
        policy_check::admit_built(session, &args.folder, args.module.as_deref(), component)?;
    let output = args.output.clone().unwrap_or_else(|| {
        let name = format!("{}.wasm", policy.description().name);
        match args.module {
            Some(_) => PathBuf::from(name),
            None => args.folder.join(name),
        }
    });
    std::fs::write(&output, &component).map_err(|error| Failure::io(output.display(), &error))?;
    note(&output, &component)?;
    describe(session, &policy, &component, &output);
    Ok(())
}

/// Whether a file lies in a folder, or will.
fn is_in(file: &Path, folder: &Path) -> bool {
    let parent = match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let canonical = |path: &Path| path.canonicalize().ok();
    canonical(parent).is_some_and(|parent| Some(parent) == canonical(folder))
}

fn describe(session: &Session, policy: &Policy, component: &[u8], file: &Path) {
    let description = policy.description();
    let digest = PolicyDigest::of(component);
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
fn decide(session: &Session, args: &DecideArgs) -> Result<(), Failure> {
    let code = code_cache(session)?;
    let engine = engine(code.cache.clone());
    let policy = match &args.policy {
        Some(file) => engine.admit(&component_source::read(file)?.bytes),
        None => engine.admit_trusted(entail::DEFAULT_POLICY),
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
            .and_then(|facts: Facts| {
                check_host_attributes(&facts)
                    .map_err(|error| Failure::invalid(format!("{name}, line {number}: {error}")))?;
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

fn engine(code: CodeCache) -> Engine {
    Engine::new(EngineConfig {
        code_cache: Some(code),
        concurrent_calls: 1,
        compiler: Compiler::Sandboxed(Sandbox::this_program()),
        ..EngineConfig::default()
    })
}
