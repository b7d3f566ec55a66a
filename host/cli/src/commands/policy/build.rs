//! `policy build`: builds a policy from its sources, or a component from a core module.

use std::path::{Path, PathBuf};

use clap::Args;
use entail::policy::{Policy, PolicyDigest, Sandbox};
use entail_policy_tools::build::{
    self, BuildOptions, BuiltComponent, Recorded, componentize_module, is_in_directory,
};
use entail_policy_tools::record;
use entail_policy_tools::source::{read_component, read_directory_limits};

use super::engine::CommandEngine;
use crate::args::path as paths;
use crate::error::{CliError, ErrorCode};
use crate::output::{Cell, Style, Table, err, out, print_json};
use crate::session::Session;
use crate::temporary;
use entail_api::policy_project::{BuildCheck, PolicyBuild};

#[derive(Args)]
pub struct BuildArgs {
    /// The directory of the sources: a Rust crate, or a JavaScript or Python project
    #[arg(value_name = "DIRECTORY", default_value = ".", value_parser = paths::parser())]
    directory: PathBuf,
    /// Build the component from this core module instead of sources
    #[arg(long, value_name = "FILE", conflicts_with = "directory", value_parser = paths::parser())]
    module: Option<PathBuf>,
    /// Where to write the component [default: NAME.wasm in the directory]
    #[arg(short, long, value_name = "FILE", value_parser = paths::parser())]
    output: Option<PathBuf>,
    /// Write nothing; fail unless this file has exactly the same bytes
    #[arg(long, value_name = "FILE", conflicts_with = "output", value_parser = paths::parser())]
    check: Option<PathBuf>,
}

/// What was built.
enum Built {
    FromSources(BuiltComponent),
    FromModule(Vec<u8>),
}

impl Built {
    fn bytes(&self) -> &[u8] {
        match self {
            Built::FromSources(component) => &component.bytes,
            Built::FromModule(bytes) => bytes,
        }
    }
}

/// Builds it.
///
/// # Errors
///
/// Fails if it cannot be built or is not admitted; with `--check`, if the file differs.
pub fn build(session: &Session, args: &BuildArgs) -> Result<(), CliError> {
    let built = run_build(args)?;
    if let Some(file) = &args.check {
        return check(session, args, &built, file);
    }
    let name = args.module.as_ref().unwrap_or(&args.directory).display();
    let policy = CommandEngine::new(session)?.tests.admit_built(
        built.bytes(),
        read_directory_limits(&args.directory)?,
        name.to_string(),
    )?;
    let output = args.output.clone().unwrap_or_else(|| {
        let name = format!("{}.wasm", policy.description().name);
        match args.module {
            Some(_) => PathBuf::from(name),
            None => args.directory.join(name),
        }
    });
    std::fs::write(&output, built.bytes())
        .map_err(|error| CliError::io(output.display(), &error))?;
    record_build(args, &built, &output)?;
    print(session, &summary(&policy, built.bytes(), &output));
    Ok(())
}

fn run_build(args: &BuildArgs) -> Result<Built, CliError> {
    let sandbox = Sandbox::this_program();
    if let Some(module) = &args.module {
        return Ok(Built::FromModule(componentize_module(module, &sandbox)?));
    }
    let replaces_component = args
        .output
        .as_ref()
        .is_none_or(|file| is_in_directory(file, &args.directory));
    if args.check.is_none() && replaces_component {
        // If the build fails, the component in the directory is of unknown sources.
        record::remove(&args.directory)
            .map_err(|error| CliError::io(args.directory.display(), &error))?;
    }
    let scratch = temporary::directory()
        .map_err(|error| CliError::io("a directory for intermediate files", &error))?;
    let options = BuildOptions {
        sandbox: &sandbox,
        scratch: scratch.path(),
    };
    Ok(Built::FromSources(build::build(&args.directory, options)?))
}

fn check(session: &Session, args: &BuildArgs, built: &Built, file: &Path) -> Result<(), CliError> {
    let committed = read_component(file)?;
    let digest = PolicyDigest::of(built.bytes());
    if committed != built.bytes() {
        let message = format!(
            "{} differs from a fresh build: {} instead of {digest}",
            file.display(),
            PolicyDigest::of(&committed),
        );
        let remedy = format!(
            "entail policy build {} --output {}",
            args.directory.display(),
            file.display()
        );
        return Err(CliError::new(ErrorCode::Differs, message).with_remedies(vec![remedy]));
    }
    record_build(args, built, file)?;
    let check = BuildCheck {
        file: file.to_string_lossy().into_owned(),
        digest: digest.to_string(),
    };
    if session.global.json {
        print_json(&check);
    } else {
        out!("{} matches a fresh build", check.file);
    }
    Ok(())
}

/// Records what the component in `file` was built from.
fn record_build(args: &BuildArgs, built: &Built, file: &Path) -> Result<(), CliError> {
    let Built::FromSources(component) = built else {
        return Ok(());
    };
    let recorded = component
        .record(file)
        .map_err(|error| CliError::io(args.directory.display(), &error))?;
    if recorded == Recorded::SourcesUnreadable {
        err!(Style::Warn => "note:"; " the sources cannot all be read, so policy test cannot tell whether {} was built from them", file.display());
    }
    Ok(())
}

fn summary(policy: &Policy, component: &[u8], file: &Path) -> PolicyBuild {
    let description = policy.description();
    let digest = PolicyDigest::of(component);
    PolicyBuild {
        name: description.name.clone(),
        version: description.version.clone(),
        summary: description.summary.clone(),
        digest: digest.to_string(),
        bytes: u64::try_from(component.len()).unwrap_or(u64::MAX),
        // A layer was composed with another policy to be admitted.
        is_layer: policy.digest() != digest,
        file: file.to_string_lossy().into_owned(),
    }
}

fn print(session: &Session, build: &PolicyBuild) {
    if session.global.json {
        print_json(&build);
        return;
    }
    let imports = if build.is_layer {
        "those of a layer: install it --over another policy"
    } else {
        "none"
    };
    let mut table = Table::default();
    for (name, value) in [
        ("policy", format!("{} {}", build.name, build.version)),
        ("summary", build.summary.clone()),
        ("digest", build.digest.clone()),
        ("size", format!("{} bytes", build.bytes)),
        ("imports", imports.to_owned()),
        ("file", build.file.clone()),
    ] {
        table.row([Cell::new(name, Style::Faint), value.into()]);
    }
    table.print();
}
