//! The fields of a credential: parameters are arguments, secrets are read from a prompt, a
//! variable, a file or standard input.

use std::env::VarError;
use std::io::{IsTerminal as _, Read as _};
use std::path::Path;

use clap::Args;
use entail::{Field, Format, Mode, Provider, Secret, quoted};

use super::path;
use crate::error::CliError;
use crate::output::err;
use crate::prompt::{Shape, prompt_secret};
use entail_policy_tools::display::display_path;

/// The maximum length of a value; vendors' values are shorter.
const MAX_VALUE_BYTES: usize = 64 * 1024;

type Fields = Vec<(String, Secret)>;

/// Where the fields of a credential come from.
#[derive(Args)]
pub struct InputArgs {
    /// Set a public parameter of the provider
    #[arg(long = "param", value_name = "FIELD=VALUE")]
    pub parameters: Vec<String>,
    /// The mode of the provider [default: the first that the given fields complete]
    #[arg(long)]
    pub mode: Option<String>,
    /// Read fields from variables; without a value, from those that the provider's
    /// clients read
    #[arg(long, value_name = "[FIELD=]VARIABLE", num_args = 0..=1, default_missing_value = "", action = clap::ArgAction::Append)]
    pub from_env: Vec<String>,
    /// Read a secret field from a file
    #[arg(long, value_name = "[FIELD=]FILE")]
    pub from_file: Vec<String>,
    /// Read the secret from standard input
    #[arg(long)]
    pub stdin: bool,
    /// Allow a URL of plain HTTP within a private network: anybody on that network can
    /// read the secret
    #[arg(long)]
    pub allow_unsafe_http: bool,
}

/// Whether to ask for a secret that no option gives. Standard input may belong to something
/// else, such as a shell loop around the command, so it is read only where a secret is what
/// the command is for.
pub enum Ask {
    /// Do not ask.
    No,
    /// Ask at the terminal. Without a terminal, fail with this message.
    Terminal { otherwise: String },
    /// Ask at the terminal, or else read standard input.
    Input,
}

/// Collects the fields that `input` gives. `present` is the mode of the credential if it
/// exists. If no field is secret, the secrets are asked for as `ask` says.
///
/// # Errors
///
/// Fails if a source cannot be read or gives no value.
pub fn fields(
    provider: &Provider,
    input: &InputArgs,
    present: Option<&str>,
    ask: &Ask,
) -> Result<Fields, CliError> {
    let mut fields = Fields::new();
    for parameter in &input.parameters {
        fields.push(parameter_field(provider, parameter)?);
    }
    for source in &input.from_env {
        from_environment(provider, source, &mut fields)?;
    }
    for source in &input.from_file {
        let (name, file) = match source.split_once('=') {
            Some((name, file)) if provider.field(name).is_some() => (name.to_owned(), file),
            _ => (
                only_secret(provider, input, present)?.name.clone(),
                source.as_str(),
            ),
        };
        fields.push((name, read_file(Path::new(file))?));
    }
    let secret_given = fields
        .iter()
        .any(|(name, _)| provider.field(name).is_some_and(|f| f.secret));
    if input.stdin || (!secret_given && !matches!(ask, Ask::No)) {
        ask_for_secrets(provider, input, present, ask, &mut fields)?;
    }
    Ok(fields)
}

fn parameter_field(provider: &Provider, parameter: &str) -> Result<(String, Secret), CliError> {
    let Some((name, value)) = parameter.split_once('=') else {
        // The argument may be a secret in the wrong place, so it is not repeated.
        return Err(CliError::invalid("--param takes FIELD=VALUE"));
    };
    match provider.field(name) {
        Some(field) if field.secret => Err(CliError::invalid(format!(
            "{name} is a secret, and others can see arguments; if this was the real value, replace it at the provider"
        ))
        .with_remedies(vec!["leave it out and enter it at the prompt, or use --from-env, --from-file or standard input".to_owned()])),
        _ => Ok((name.to_owned(), Secret::from(value))),
    }
}

fn from_environment(
    provider: &Provider,
    source: &str,
    fields: &mut Fields,
) -> Result<(), CliError> {
    if source.is_empty() {
        let before = fields.len();
        for field in &provider.fields {
            if let Some(value) = conventional_value(field)? {
                fields.push((field.name.clone(), value));
            }
        }
        if fields.len() == before {
            let known: Vec<&str> = provider
                .fields
                .iter()
                .flat_map(Field::entry_variables)
                .collect();
            return Err(CliError::invalid(format!(
                "none of {} is set",
                known.join(", ")
            )));
        }
        return Ok(());
    }
    let (field, variable) = match source.split_once('=') {
        Some((name, variable)) => (
            provider.field(name).ok_or_else(|| {
                CliError::invalid(format!("{} has no field {}", provider.id, quoted(name)))
            })?,
            variable,
        ),
        None => (
            provider
                .fields
                .iter()
                .find(|field| field.entry_variables().any(|known| known == source))
                .or_else(|| provider.fields.iter().find(|field| field.secret))
                .ok_or_else(|| CliError::invalid(format!("{} has no secret field", provider.id)))?,
            source,
        ),
    };
    let value = variable_value(variable)?.ok_or_else(|| {
        let message = format!("the variable {} is not set, or empty", shown_variable(variable));
        CliError::invalid(message).with_remedies(vec![
            "--from-env takes the name of a variable, not a value; a variable of the shell has to be exported".to_owned(),
        ])
    })?;
    let value = if field.file {
        file_or_value(value)?
    } else {
        value
    };
    fields.push((field.name.clone(), value));
    Ok(())
}

/// Returns the value of the first variable that the provider's own clients would read.
///
/// # Errors
///
/// Fails if the value is not text, or names a file that cannot be read.
pub fn conventional_value(field: &Field) -> Result<Option<Secret>, CliError> {
    for variable in field.entry_variables() {
        match variable_value(variable)? {
            Some(value) if field.file => return file_or_value(value).map(Some),
            Some(value) => return Ok(Some(value)),
            None => {}
        }
    }
    Ok(None)
}

/// Returns the value of a variable; an empty one counts as unset.
fn variable_value(variable: &str) -> Result<Option<Secret>, CliError> {
    match std::env::var(variable) {
        Ok(value) if value.is_empty() => Ok(None),
        Ok(value) => Ok(Some(Secret::from(value))),
        Err(VarError::NotPresent) => Ok(None),
        Err(VarError::NotUnicode(_)) => Err(CliError::invalid(format!(
            "the value of the variable {} is not UTF-8 text",
            shown_variable(variable)
        ))),
    }
}

/// The name of a variable as an error shows it. A key that was given in place of a name is
/// quoted and not repeated if it is long: keys have no underscores, or lower-case letters.
fn shown_variable(variable: &str) -> String {
    let is_allowed = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    if variable.contains('_') && variable.chars().all(is_allowed) {
        variable.to_owned()
    } else {
        quoted(variable)
    }
}

/// Reads the file that a variable names. The variable may hold the value itself.
fn file_or_value(value: Secret) -> Result<Secret, CliError> {
    match value.expose_text() {
        Some(text) if !text.trim_start().starts_with('{') && Path::new(text).is_file() => {
            read_file(Path::new(text))
        }
        // This can only be a path.
        Some(text) if text.starts_with(['/', '~']) && text.lines().count() == 1 => {
            read_file(Path::new(text))
        }
        _ => Ok(value),
    }
}

fn read_file(file: &Path) -> Result<Secret, CliError> {
    path::check(file).map_err(CliError::invalid)?;
    Secret::read_file(file, MAX_VALUE_BYTES)
        .map_err(|error| CliError::io(display_path(file), &error))?
        .ok_or_else(|| {
            CliError::invalid(format!("{} is too large for a secret", display_path(file)))
        })
}

fn ask_for_secrets(
    provider: &Provider,
    input: &InputArgs,
    present: Option<&str>,
    ask: &Ask,
    fields: &mut Fields,
) -> Result<(), CliError> {
    let mode = likely_mode(provider, input, present, fields)?;
    let missing: Vec<&Field> = mode
        .required
        .iter()
        .filter_map(|name| provider.field(name))
        .filter(|field| field.secret && !fields.iter().any(|(name, _)| *name == field.name))
        .collect();
    if std::io::stdin().is_terminal() {
        for field in missing {
            fields.push((field.name.clone(), prompt_for(provider, field)?));
        }
        return Ok(());
    }
    if let Ask::Terminal { otherwise } = ask
        && !missing.is_empty()
    {
        return Err(CliError::invalid(otherwise.clone()));
    }
    match missing.as_slice() {
        [] => Ok(()),
        [field] => {
            fields.push((field.name.clone(), read_standard_input(field)?));
            Ok(())
        }
        several => {
            let names: Vec<&str> = several.iter().map(|field| field.name.as_str()).collect();
            Err(CliError::invalid(format!(
                "{} needs several secrets ({}), and standard input holds one; use --from-env or --from-file",
                provider.id,
                names.join(", ")
            )))
        }
    }
}

fn prompt_for(provider: &Provider, field: &Field) -> Result<Secret, CliError> {
    if let Some(hint) = &field.hint {
        err!("{hint}");
    }
    let shape = match field.format {
        Format::ServiceAccount => Shape::Json,
        _ => Shape::Line,
    };
    let prompt = format!("{} for {} (hidden): ", field.label, provider.name);
    prompt_secret(&prompt, shape)
}

fn read_standard_input(field: &Field) -> Result<Secret, CliError> {
    let value = Secret::read(&mut std::io::stdin().lock().by_ref(), MAX_VALUE_BYTES)
        .map_err(|error| CliError::io("standard input", &error))?
        .ok_or_else(|| CliError::invalid("standard input is too large for a secret"))?;
    if value.is_empty() {
        let name = &field.name;
        return Err(CliError::invalid(format!(
            "{name}: standard input is empty"
        )));
    }
    Ok(value)
}

/// The mode that is probably meant: the one given, else the one of the credential, else the
/// first that has all the fields given so far.
fn likely_mode<'a>(
    provider: &'a Provider,
    input: &InputArgs,
    present: Option<&str>,
    fields: &Fields,
) -> Result<&'a Mode, CliError> {
    if let Some(name) = &input.mode {
        return Ok(provider.require_mode(name).map_err(entail::Error::from)?);
    }
    let takes_all = |mode: &&Mode| fields.iter().all(|(name, _)| mode.takes(name));
    present
        .and_then(|name| provider.mode(name))
        .filter(takes_all)
        .or_else(|| provider.modes.iter().find(takes_all))
        .or_else(|| provider.modes.first())
        .ok_or_else(|| CliError::invalid(format!("{} has no mode", provider.id)))
}

/// The secret field that is meant when none is named: the only required one of the mode.
fn only_secret<'a>(
    provider: &'a Provider,
    input: &InputArgs,
    present: Option<&str>,
) -> Result<&'a Field, CliError> {
    let mode = likely_mode(provider, input, present, &Fields::new())?;
    let mut secrets = mode
        .required
        .iter()
        .filter_map(|name| provider.field(name))
        .filter(|field| field.secret);
    match (secrets.next(), secrets.next()) {
        (Some(field), None) => Ok(field),
        _ => Err(CliError::invalid(format!(
            "say which field of {} the value is for: --from-file FIELD=FILE",
            provider.id
        ))),
    }
}
