//! Variables as assignments that other programs read.

use entail::VariableValue;

use super::line::{Style, err};
use super::stdout::print_raw;
use crate::args::format::Format;
use crate::error::CliError;

/// Prints a variable, with its secret if it is one.
///
/// # Errors
///
/// Fails if the format cannot express the value.
pub fn print_variable(
    name: &str,
    value: &VariableValue<'_>,
    format: Format,
) -> Result<(), CliError> {
    let text = match value {
        VariableValue::Public(text) => text,
        VariableValue::Secret(secret) => secret.expose_text().unwrap_or_default(),
        VariableValue::SecretFile(_) => {
            err!(Style::Warn => "note:"; " {name} names a file, which only `entail run` can provide");
            return Ok(());
        }
    };
    // A shell or a program reads it. The characters of a value were checked when it was set.
    print_raw(&assignment(name, text, format)?);
    Ok(())
}

fn assignment(name: &str, value: &str, format: Format) -> Result<String, CliError> {
    Ok(match format {
        Format::Shell => format!("export {name}='{}'", value.replace('\'', r"'\''")),
        // Nothing is expanded within single quotes. A value that contains one, or several
        // lines, goes into double quotes with everything escaped that a shell would expand.
        Format::Dotenv if !value.contains(['\'', '\n']) => format!("{name}='{value}'"),
        Format::Dotenv => {
            let escaped = value
                .replace('\\', r"\\")
                .replace('"', "\\\"")
                .replace('$', r"\$")
                .replace('`', r"\`")
                .replace('\n', r"\n");
            format!("{name}=\"{escaped}\"")
        }
        _ if value.contains('\n') => {
            return Err(CliError::invalid(format!(
                "{name} has several lines, which this format cannot express"
            )));
        }
        _ => format!("{name}={value}"),
    })
}
