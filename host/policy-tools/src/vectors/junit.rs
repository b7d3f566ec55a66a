//! Results in the JUnit format, which continuous integration systems display.

use std::io;
use std::path::Path;

use entail_text::sanitize;
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use super::run::{FileResult, Mismatch};

/// Writes the results to a file in the JUnit format.
///
/// # Errors
///
/// Fails if the file cannot be written.
pub fn write_junit(file: &Path, policy: &str, results: &[FileResult]) -> io::Result<()> {
    let mut report = Report::new(&*sanitize(policy));
    for result in results {
        let mut suite = TestSuite::new(&*sanitize(&result.name));
        for case in &result.cases {
            let status = match &case.mismatch {
                None => TestCaseStatus::success(),
                Some(mismatch) => failed(mismatch),
            };
            let mut test = TestCase::new(&*sanitize(&case.name), status);
            test.set_classname(&*sanitize(&result.name))
                .set_time(case.took);
            suite.add_test_case(test);
        }
        report.add_test_suite(suite);
    }
    let text = report.to_string().map_err(io::Error::other)?;
    std::fs::write(file, text)
}

fn failed(mismatch: &Mismatch) -> TestCaseStatus {
    let (kind, message) = match mismatch {
        Mismatch::Differs { .. } => (NonSuccessKind::Failure, "differs from the expected result"),
        Mismatch::NoResult(_) => (NonSuccessKind::Error, "no result"),
    };
    let lines: Vec<String> = mismatch
        .lines()
        .into_iter()
        .map(|line| format!("{} {}", line.kind.mark(), sanitize(&line.text)))
        .collect();
    let mut status = TestCaseStatus::non_success(kind);
    status
        .set_message(message)
        .set_description(lines.join("\n"));
    status
}
