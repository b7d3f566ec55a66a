//! `policy test`: runs the test vectors of a policy.

use std::path::PathBuf;

use clap::Args;
use entail::policy::Values;
use entail_policy_tools::component::Component;
use entail_policy_tools::display::display_path;
use entail_policy_tools::record::Provenance;
use entail_policy_tools::source::read_settings;
use entail_policy_tools::vectors::{
    self, CaseResult, DiffLineKind, FileResult, Mismatch, read_directory, write_junit,
};
use serde_json::json;

use super::component_args::ComponentArgs;
use super::engine::CommandEngine;
use crate::args::path as paths;
use crate::error::{CliError, ErrorCode};
use crate::output::{Line, Style, err, out, print_json};
use crate::session::Session;
use entail_api::policy_test::{FailedVector, VectorFileResult};

#[derive(Args)]
pub struct TestArgs {
    #[command(flatten)]
    component: ComponentArgs,
    /// The directory of the vectors, files *.json [default: vectors in the directory of
    /// the policy]
    #[arg(long, value_name = "DIR", value_parser = paths::parser())]
    vectors: Option<PathBuf>,
    /// Settings for vectors without settings: a file with a JSON object
    #[arg(long, value_name = "FILE", value_parser = paths::parser())]
    settings: Option<PathBuf>,
    /// Also write a report in the JUnit format
    #[arg(long, value_name = "FILE", value_parser = paths::parser())]
    junit: Option<PathBuf>,
}

/// Runs the vectors.
///
/// # Errors
///
/// Fails if a vector fails or is malformed, if there is none, or if the policy is not
/// admitted.
pub fn test(session: &Session, args: &TestArgs) -> Result<(), CliError> {
    let engine = CommandEngine::new(session)?;
    let component = args.component.read(engine.tests.engine())?;
    check_provenance(args, &component)?;
    let directory = match &args.vectors {
        Some(directory) => Ok(directory.clone()),
        None => vectors::find_directory(&args.component.source.component),
    };
    let directory = match directory {
        Ok(directory) => directory,
        Err(error) => {
            // The error that it is not a policy takes precedence.
            engine.admit(&component)?;
            return Err(error.into());
        }
    };
    // Malformed vectors are reported before anything is compiled.
    let files = read_directory(&directory)?;
    let settings = match &args.settings {
        Some(file) => read_settings(file)?,
        None => Values::new(),
    };
    let results = vectors::run(files, engine.admit(&component)?, &settings);
    if let Some(file) = &args.junit {
        write_junit(file, &component.name, &results)
            .map_err(|error| CliError::io(file.display(), &error))?;
    }
    let passed: usize = results.iter().map(FileResult::passed).sum();
    let failed: usize = results.iter().map(FileResult::failed).sum();
    if session.global.json {
        let results: Vec<VectorFileResult> = results.iter().map(to_api).collect();
        print_json(&results);
    } else {
        results.iter().for_each(print);
        let style = if failed == 0 { Style::Good } else { Style::Bad };
        out!(style => format_args!("{passed} passed, {failed} failed"));
    }
    if failed == 0 {
        return Ok(());
    }
    let message = format!("{failed} of {} vectors failed", passed + failed);
    Err(CliError::new(ErrorCode::VectorsFailed, message))
}

/// Refuses a component that may not be built from the sources beside it, unless it was
/// named itself.
fn check_provenance(args: &TestArgs, component: &Component) -> Result<(), CliError> {
    if component.provenance != Provenance::Unknown {
        return Ok(());
    }
    let name = &component.name;
    let named = &args.component.source.component;
    if !named.is_dir() {
        err!(Style::Warn => "note:"; " it is unknown whether {name} was built from the sources beside it");
        return Ok(());
    }
    let message = format!(
        "it is unknown whether {name} was built from the sources beside it: it was not built \
         here, or the last build failed"
    );
    Err(CliError::invalid(message).with_remedies(vec![
        format!("entail policy build {}", display_path(named)),
        format!("to test it anyway: entail policy test {name}"),
    ]))
}

fn to_api(result: &FileResult) -> VectorFileResult {
    VectorFileResult {
        file: result.name.clone(),
        passed: u64::try_from(result.passed()).unwrap_or(u64::MAX),
        failed: result.cases.iter().filter_map(failed_vector).collect(),
    }
}

fn failed_vector(case: &CaseResult) -> Option<FailedVector> {
    let (expected, actual, failure) = match case.mismatch.as_ref()? {
        Mismatch::Differs { expected, actual } => {
            (Some(json!(expected)), Some(json!(actual)), None)
        }
        Mismatch::NoResult(reason) => (None, None, Some(reason.clone())),
    };
    Some(FailedVector {
        name: case.name.clone(),
        expected,
        actual,
        failure,
    })
}

fn print(result: &FileResult) {
    let line = Line::plain(format_args!("{}: ", result.name));
    let passed = format!("{} passed", result.passed());
    match result.failed() {
        0 => line.then_styled(Style::Good, passed).print(),
        failed => line
            .then(format_args!("{passed}, "))
            .then_styled(Style::Bad, format_args!("{failed} failed"))
            .print(),
    }
    for case in &result.cases {
        let Some(mismatch) = &case.mismatch else {
            continue;
        };
        out!(Style::Heading => format_args!("  {}", case.name));
        if let Mismatch::Differs { .. } = mismatch {
            Line::styled(Style::Good, "    - expected")
                .then_styled(Style::Bad, " + actual")
                .print();
        }
        for line in mismatch.lines() {
            let style = match line.kind {
                DiffLineKind::Common => Style::Faint,
                DiffLineKind::Expected => Style::Good,
                DiffLineKind::Actual => Style::Bad,
            };
            out!(style => format_args!("    {} {}", line.kind.mark(), line.text));
        }
    }
}
