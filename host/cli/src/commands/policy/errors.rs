//! Errors of the policy tools as the program reports them: the exit status, the code and
//! the remedies as commands.

use std::path::Path;

use entail_policy_tools::build::BuildError;
use entail_policy_tools::contract::RUST_TARGET;
use entail_policy_tools::diagnosis::{Defect, Remedy, SystemRemedy};
use entail_policy_tools::export::ExportError;
use entail_policy_tools::source::SourceError;
use entail_policy_tools::template::TemplateError;
use entail_policy_tools::test_engine::NotAdmitted;
use entail_policy_tools::vectors::VectorError;
use entail_policy_tools::wit::WitError;

use crate::error::{CliError, ErrorCode};

impl From<BuildError> for CliError {
    fn from(error: BuildError) -> Self {
        CliError::new(ErrorCode::Build, error.to_string())
    }
}

impl From<SourceError> for CliError {
    fn from(error: SourceError) -> Self {
        let message = error.to_string();
        let remedy = match error {
            SourceError::Unreadable { .. } => return CliError::new(ErrorCode::Io, message),
            SourceError::NoComponent(directory) | SourceError::Outdated { directory, .. } => {
                Some(format!("entail policy build {directory}"))
            }
            SourceError::SeveralComponents { directory, names } => names.first().map(|name| {
                let file = Path::new(&directory).join(name);
                format!("name one of them: {}", file.display())
            }),
            SourceError::NoManifest { layout, found, .. }
            | SourceError::SeveralManifests { layout, found } => found
                .first()
                .map(|manifest| format!("name one of them: {layout}{manifest}")),
            SourceError::Size { .. } | SourceError::Changed { .. } => {
                Some("fetch it again from where it came".to_owned())
            }
            _ => None,
        };
        CliError::invalid(message).with_remedies(remedy.into_iter().collect())
    }
}

impl From<VectorError> for CliError {
    fn from(error: VectorError) -> Self {
        match error {
            VectorError::Source(error) => error.into(),
            VectorError::NoDirectory(component) => CliError::invalid(format!(
                "there is no directory vectors beside {component}; say where the vectors are"
            ))
            .with_remedies(vec![format!(
                "entail policy test {component} --vectors DIR"
            )]),
            error => CliError::invalid(error.to_string()),
        }
    }
}

impl From<TemplateError> for CliError {
    fn from(error: TemplateError) -> Self {
        let message = error.to_string();
        match error {
            TemplateError::Io { .. } => CliError::new(ErrorCode::Io, message),
            TemplateError::Name(_) => CliError::invalid(message)
                .with_remedies(vec!["entail policy new --lang rust my-policy".to_owned()]),
            _ => CliError::invalid(message),
        }
    }
}

impl From<ExportError> for CliError {
    fn from(error: ExportError) -> Self {
        let message = error.to_string();
        match error {
            ExportError::Io(..) => CliError::new(ErrorCode::Io, message),
            _ => CliError::invalid(message),
        }
    }
}

impl From<WitError> for CliError {
    fn from(error: WitError) -> Self {
        CliError::new(ErrorCode::PolicyFailed, error.to_string())
    }
}

impl From<NotAdmitted> for CliError {
    fn from(error: NotAdmitted) -> Self {
        with_defects(format!("{} is not admitted", error.name), &error.defects)
    }
}

/// Returns the failure for a component that is admitted but does not work.
pub fn does_not_work(name: &str, defects: &[Defect]) -> CliError {
    with_defects(format!("{name} would be admitted, but fails"), defects)
}

fn with_defects(mut message: String, defects: &[Defect]) -> CliError {
    let mut details = Vec::new();
    match defects {
        [one] => message = format!("{message}: {}", one.message),
        several => details.extend(several.iter().map(|defect| defect.message.clone())),
    }
    let mut remedies: Vec<String> = Vec::new();
    for remedy in defects.iter().filter_map(|defect| defect.remedy.as_ref()) {
        let remedy = remedy_text(remedy);
        if !remedies.contains(&remedy) {
            remedies.push(remedy);
        }
    }
    CliError::new(ErrorCode::PolicyFailed, message)
        .with_details(details)
        .with_remedies(remedies)
}

/// Returns a remedy as a command or as advice.
pub fn remedy_text(remedy: &Remedy) -> String {
    match remedy {
        Remedy::BuildFromModule => "entail policy build --module FILE".to_owned(),
        Remedy::Build => "entail policy build DIRECTORY".to_owned(),
        Remedy::ConvertText => "wasm-tools parse FILE -o FILE.wasm".to_owned(),
        Remedy::ComposeOver => "name the policy below: --over built-in, or another policy (for policy install an installed one, for other commands its file)".to_owned(),
        Remedy::RegenerateBindings => "generate the bindings again from the world policy of wit/policy.wit, which `entail policy new` writes".to_owned(),
        Remedy::FindLimits => "find out what it needs: entail policy check FILE --find-limits; then put that into limits.json in its directory, or into a file for --limits".to_owned(),
        Remedy::SetLimits(limits) => format!(
            "put what it needs into limits.json in its directory, or into a file for --limits: {}",
            serde_json::Value::Object(limits.clone())
        ),
        Remedy::LimitRange { is_maximum, limit } => format!(
            "the {} is {}",
            if *is_maximum { "maximum" } else { "minimum" },
            serde_json::Value::Object(limit.clone())
        ),
        Remedy::BuildWithoutSystem(language) => without_system(*language),
        Remedy::Advice(text) => (*text).to_owned(),
        // The library may get others.
        _ => "entail help policy".to_owned(),
    }
}

fn without_system(language: SystemRemedy) -> String {
    match language {
        SystemRemedy::Rust => format!(
            "build it for {RUST_TARGET}, not wasm32-wasip1 or wasip2, as `entail policy build` does"
        ),
        SystemRemedy::JavaScript => "jco componentize with --backend qjs --backend-qjs-stub-wasi --backend-qjs-disable-async, as `entail policy build` does".to_owned(),
        SystemRemedy::Python => {
            "componentize-py componentize with --stub-wasi, as `entail policy build` does".to_owned()
        }
        SystemRemedy::Unknown => "build it without a system interface: `entail policy build` does so for Rust, JavaScript and Python; for other languages see wasi-virt".to_owned(),
    }
}
