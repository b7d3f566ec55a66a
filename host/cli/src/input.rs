//! How the fields of a credential come in: parameters as arguments, secrets by
//! prompt, variable, file or standard input.

use std::env::VarError;
use std::io::{IsTerminal as _, Read as _};
use std::path::Path;

use entail::{Field, Format, Mode, Provider, Secret, quoted};

use crate::args::InputArgs;
use crate::failure::{Failure, shown};
use crate::output::tell;
use crate::paths;
use crate::prompt::{Shape, prompt_secret};

/// No vendor's value is longer.
const MAX_VALUE_BYTES: usize = 64 * 1024;

type Fields = Vec<(String, Secret)>;

/// Whether a secret is asked for that no option gives. Standard input may be meant for
/// something else, such as the loop of a shell that the command stands in: it is read
/// only where a secret is what the command is for.
pub enum Ask {
    /// No.
    No,
    /// At the terminal. Without one it is an error, which says `otherwise`.
    Terminal { otherwise: String },
    /// At the terminal, or else on standard input.
    Input,
}

/// Collects the fields that `input` gives, for a credential that is in the mode
/// `present` if it is there. If none of them is secret, the secrets are asked for as
/// `ask` says.
pub fn fields(
    provider: &Provider,
    input: &InputArgs,
    present: Option<&str>,
    ask: &Ask,
) -> Result<Fields, Failure> {
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

fn parameter_field(provider: &Provider, parameter: &str) -> Result<(String, Secret), Failure> {
    let Some((name, value)) = parameter.split_once('=') else {
        // What was given may be a secret in the wrong place.
        return Err(Failure::invalid("--param takes FIELD=VALUE"));
    };
    match provider.field(name) {
        Some(field) if field.secret => Err(Failure::invalid(format!(
            "{name} is a secret, and arguments can be seen by others; if this was the real one, renew it"
        ))
        .with_remedies(vec!["leave it out to be asked, or use --from-env, --from-file or standard input".to_owned()])),
        _ => Ok((name.to_owned(), Secret::from(value))),
    }
}

fn from_environment(provider: &Provider, source: &str, fields: &mut Fields) -> Result<(), Failure> {
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
            return Err(Failure::invalid(format!(
                "none of {} is set",
                known.join(", ")
            )));
        }
        return Ok(());
    }
    let (field, variable) = match source.split_once('=') {
        Some((name, variable)) => (
            provider.field(name).ok_or_else(|| {
                Failure::invalid(format!("{} has no field {}", provider.id, quoted(name)))
            })?,
            variable,
        ),
        None => (
            provider
                .fields
                .iter()
                .find(|field| field.entry_variables().any(|known| known == source))
                .or_else(|| provider.fields.iter().find(|field| field.secret))
                .ok_or_else(|| Failure::invalid(format!("{} has no secret field", provider.id)))?,
            source,
        ),
    };
    let value = variable_value(variable)?.ok_or_else(|| {
        let message = format!("the variable {} is not set, or empty", named(variable));
        Failure::invalid(message).with_remedies(vec![
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

/// The value of the first variable that the provider's own clients would read.
pub fn conventional_value(field: &Field) -> Result<Option<Secret>, Failure> {
    for variable in field.entry_variables() {
        match variable_value(variable)? {
            Some(value) if field.file => return file_or_value(value).map(Some),
            Some(value) => return Ok(Some(value)),
            None => {}
        }
    }
    Ok(None)
}

/// The value of a variable; an empty one counts as unset.
fn variable_value(variable: &str) -> Result<Option<Secret>, Failure> {
    match std::env::var(variable) {
        Ok(value) if value.is_empty() => Ok(None),
        Ok(value) => Ok(Some(Secret::from(value))),
        Err(VarError::NotPresent) => Ok(None),
        Err(VarError::NotUnicode(_)) => Err(Failure::invalid(format!(
            "the value of the variable {} is not UTF-8 text",
            named(variable)
        ))),
    }
}

/// A variable's name, unless it may be a key in the place of one: keys have no
/// underscores, or are not of capital letters.
fn named(variable: &str) -> String {
    let fits = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    match variable.contains('_') && variable.chars().all(fits) {
        true => variable.to_owned(),
        false => quoted(variable),
    }
}

/// A variable that is to hold a path may hold the value itself.
fn file_or_value(value: Secret) -> Result<Secret, Failure> {
    match value.expose_text() {
        Some(text) if !text.trim_start().starts_with('{') && Path::new(text).is_file() => {
            read_file(Path::new(text))
        }
        // It can be nothing else.
        Some(text) if text.starts_with(['/', '~']) && text.lines().count() == 1 => {
            read_file(Path::new(text))
        }
        _ => Ok(value),
    }
}

fn read_file(file: &Path) -> Result<Secret, Failure> {
    paths::check(file).map_err(Failure::invalid)?;
    Secret::read_file(file, MAX_VALUE_BYTES)
        .map_err(|error| Failure::io(shown(file), &error))?
        .ok_or_else(|| Failure::invalid(format!("{} is too large for a secret", shown(file))))
}

fn ask_for_secrets(
    provider: &Provider,
    input: &InputArgs,
    present: Option<&str>,
    ask: &Ask,
    fields: &mut Fields,
) -> Result<(), Failure> {
    let mode = likely_mode(provider, input, present, fields)?;
    let wanted: Vec<&Field> = mode
        .required
        .iter()
        .filter_map(|name| provider.field(name))
        .filter(|field| field.secret && !fields.iter().any(|(name, _)| *name == field.name))
        .collect();
    if std::io::stdin().is_terminal() {
        for field in wanted {
            if let Some(hint) = &field.hint {
                tell!("{hint}");
            }
            let shape = match field.format {
                Format::ServiceAccount => Shape::Json,
                _ => Shape::Line,
            };
            let prompt = format!("{} for {} (hidden): ", field.label, provider.name);
            let value = prompt_secret(&prompt, shape)?;
            fields.push((field.name.clone(), value));
        }
        return Ok(());
    }
    if let Ask::Terminal { otherwise } = ask
        && !wanted.is_empty()
    {
        return Err(Failure::invalid(otherwise.clone()));
    }
    match wanted.as_slice() {
        [] => Ok(()),
        [field] => {
            let value = Secret::read(&mut std::io::stdin().lock().by_ref(), MAX_VALUE_BYTES)
                .map_err(|error| Failure::io("standard input", &error))?
                .ok_or_else(|| Failure::invalid("standard input is too large for a secret"))?;
            if value.is_empty() {
                let name = &field.name;
                return Err(Failure::invalid(format!("{name}: standard input is empty")));
            }
            fields.push((field.name.clone(), value));
            Ok(())
        }
        several => {
            let names: Vec<&str> = several.iter().map(|field| field.name.as_str()).collect();
            Err(Failure::invalid(format!(
                "{} needs several secrets ({}), and standard input holds one; use --from-env or --from-file",
                provider.id,
                names.join(", ")
            )))
        }
    }
}

/// The mode that is meant: the one given, else the one that the credential is in,
/// else the first that takes all fields given so far.
fn likely_mode<'a>(
    provider: &'a Provider,
    input: &InputArgs,
    present: Option<&str>,
    fields: &Fields,
) -> Result<&'a Mode, Failure> {
    if let Some(name) = &input.mode {
        return Ok(provider.require_mode(name).map_err(entail::Error::from)?);
    }
    let takes_all = |mode: &&Mode| fields.iter().all(|(name, _)| mode.takes(name));
    present
        .and_then(|name| provider.mode(name))
        .filter(takes_all)
        .or_else(|| provider.modes.iter().find(takes_all))
        .or_else(|| provider.modes.first())
        .ok_or_else(|| Failure::invalid(format!("{} has no mode", provider.id)))
}

/// The secret field that is meant when none is named: the only one of the mode.
fn only_secret<'a>(
    provider: &'a Provider,
    input: &InputArgs,
    present: Option<&str>,
) -> Result<&'a Field, Failure> {
    let mode = likely_mode(provider, input, present, &Fields::new())?;
    let mut secrets = mode
        .required
        .iter()
        .filter_map(|name| provider.field(name))
        .filter(|field| field.secret);
    match (secrets.next(), secrets.next()) {
        (Some(field), None) => Ok(field),
        _ => Err(Failure::invalid(format!(
            "say which field of {} the value is for: --from-file FIELD=FILE",
            provider.id
        ))),
    }
}
