//! Recognizes the credentials in the variables of a project.

use std::path::Path;

use entail::store::InputFile;
use entail::{Catalog, Field, Format, Mode, Provider, ProviderId, Secret, mask};

use super::fingerprint::{Fingerprint, Fingerprints};
use super::known_variables::{is_of_a_field, looks_like_credential, may_divert, variables_of};
use super::sources::Project;
use super::variable::Value;
use crate::error::CliError;
use entail_api::import::{
    NotImported, NotUnderstood, Place, SkippedFile, VariableName, VariableUse,
};

/// A longer value of a variable that names a file is not a path, but the content itself.
const MAX_PATH_BYTES: usize = 1024;

/// The maximum length of a file that a variable names.
const MAX_FILE_BYTES: usize = 64 * 1024;

/// A credential that was found in a project.
pub struct Candidate {
    pub provider: ProviderId,
    pub mode: String,
    /// In canonical form.
    pub fields: Vec<(String, Secret)>,
    /// Of all fields.
    pub fingerprint: Fingerprint,
    /// Of the secret fields, or of all fields if none is secret.
    pub key: Fingerprint,
    /// The variables that set it, in every place with the same value.
    pub variables: Vec<VariableUse>,
    pub notes: Vec<String>,
}

/// What was found in one project.
#[derive(Default)]
pub struct Recognized {
    pub candidates: Vec<Candidate>,
    pub not_imported: Vec<NotImported>,
    pub not_understood: Vec<NotUnderstood>,
    pub skipped: Vec<SkippedFile>,
    /// How many variables belong to no credential.
    pub other_variables: usize,
}

/// A variable of a provider in a source.
struct Occurrence {
    place: Place,
    directory: std::path::PathBuf,
    name: String,
    /// `None` if it is not understood.
    value: Option<Secret>,
}

/// Reads the sources of a project, and recognizes credentials for the providers that are
/// `wanted`.
///
/// # Errors
///
/// Fails if the system has no randomness. A problem with a source is part of the result.
pub fn recognize(
    project: &Project,
    catalog: &Catalog,
    wanted: &dyn Fn(&Provider) -> bool,
    fingerprints: &Fingerprints,
) -> Result<Recognized, CliError> {
    let mut recognized = Recognized::default();
    let occurrences = read(project, catalog, &mut recognized);
    for provider in catalog.iter().filter(|provider| wanted(provider)) {
        match candidate(provider, &occurrences, fingerprints)? {
            Outcome::Nothing => {}
            Outcome::Candidate(candidate) => recognized.candidates.push(candidate),
            Outcome::NotImported(refused) => recognized.not_imported.push(refused),
        }
    }
    let is_other = |occurrence: &&Occurrence| {
        let used = recognized
            .candidates
            .iter()
            .flat_map(|candidate| &candidate.variables)
            .any(|used| used.place == occurrence.place && used.variable == occurrence.name);
        let refused = recognized
            .not_imported
            .iter()
            .flat_map(|refused| &refused.variables)
            .any(|named| named.place == occurrence.place && named.variable == occurrence.name);
        // A variable that is not understood is listed already.
        let is_listed = occurrence.value.is_none() && is_of_a_field(catalog, &occurrence.name);
        !used && !refused && !is_listed
    };
    recognized.other_variables += occurrences.iter().filter(is_other).count();
    Ok(recognized)
}

/// Reads all sources. Returns the variables of providers.
fn read(project: &Project, catalog: &Catalog, recognized: &mut Recognized) -> Vec<Occurrence> {
    let mut occurrences = Vec::new();
    for source in &project.sources {
        let parsed = match source.read(&|name| is_of_a_field(catalog, name)) {
            Ok(parsed) => parsed,
            Err(reason) => {
                recognized.skipped.push(SkippedFile {
                    file: source.place(0).file.unwrap_or_default(),
                    reason,
                });
                continue;
            }
        };
        for line in parsed.other_lines {
            recognized.not_understood.push(NotUnderstood {
                place: source.place(line),
                variable: None,
                reason: "it does not set a variable in a form that is understood".to_owned(),
            });
        }
        for variable in parsed.variables {
            let place = source.place(variable.line);
            let value = match variable.value {
                // Most clients treat an empty variable as not set.
                Value::Text(value) if value.is_empty() => continue,
                Value::Text(value) => Some(value),
                Value::NotUnderstood(reason) => {
                    recognized.not_understood.push(NotUnderstood {
                        place: place.clone(),
                        variable: Some(variable.name.clone()),
                        reason: reason.to_owned(),
                    });
                    None
                }
                Value::Unwanted if diverts(catalog, &variable.name) => None,
                Value::Unwanted if looks_like_credential(catalog, &variable.name) => {
                    recognized.not_understood.push(NotUnderstood {
                        place,
                        variable: Some(variable.name),
                        reason: "it is not a field of a known provider".to_owned(),
                    });
                    continue;
                }
                Value::Unwanted => {
                    recognized.other_variables += 1;
                    continue;
                }
            };
            occurrences.push(Occurrence {
                place,
                directory: source.directory().unwrap_or(Path::new("")).to_owned(),
                name: variable.name,
                value,
            });
        }
    }
    occurrences
}

fn diverts(catalog: &Catalog, name: &str) -> bool {
    catalog.iter().any(|provider| may_divert(provider, name))
}

enum Outcome {
    Nothing,
    Candidate(Candidate),
    NotImported(NotImported),
}

/// A field with its value, and the variables that set it.
struct Filled<'a> {
    field: &'a Field,
    value: Secret,
    uses: Vec<&'a Occurrence>,
    /// Variables with another value and lower precedence.
    others: Vec<&'a Occurrence>,
}

/// The reason why a field has no value that can be imported.
struct UnusableField<'a> {
    occurrence: &'a Occurrence,
    reason: String,
}

fn candidate(
    provider: &Provider,
    occurrences: &[Occurrence],
    fingerprints: &Fingerprints,
) -> Result<Outcome, CliError> {
    let mut filled = Vec::new();
    let mut unusable = Vec::new();
    for field in &provider.fields {
        match fill(field, occurrences) {
            Ok(Some(field)) => filled.push(field),
            Ok(None) => {}
            Err(field) => unusable.push(field),
        }
    }
    let mode = suitable_mode(provider, &filled);
    if mode.is_none() && !has_secret(provider, &filled, &unusable) {
        return Ok(Outcome::Nothing);
    }
    if let Some(UnusableField { occurrence, reason }) = unusable.first() {
        let reason = format!("{}: {reason}", occurrence.name);
        return Ok(not_imported(provider, reason, &filled, Some(occurrence)));
    }
    let diverting = occurrences
        .iter()
        .find(|o| is_no_field(provider, &o.name) && may_divert(provider, &o.name));
    if let Some(diverting) = diverting {
        let reason = format!(
            "{} may send its key to another host, and is not a field of {}",
            diverting.name, provider.id
        );
        return Ok(not_imported(provider, reason, &filled, Some(diverting)));
    }
    match mode {
        None => {
            let reason = missing(provider, &filled);
            Ok(not_imported(provider, reason, &filled, None))
        }
        Some(mode) => complete(provider, mode, filled, fingerprints).map(Outcome::Candidate),
    }
}

/// Whether a secret field has a value, or a variable without a usable one.
fn has_secret(provider: &Provider, filled: &[Filled<'_>], unusable: &[UnusableField<'_>]) -> bool {
    let is_secret = |name: &str| {
        let mut fields = provider.fields.iter();
        fields.any(|field| field.secret && reads(field, name))
    };
    filled.iter().any(|filled| filled.field.secret)
        || unusable
            .iter()
            .any(|unusable| is_secret(&unusable.occurrence.name))
}

/// Reports a credential that is not imported, with its variables.
fn not_imported(
    provider: &Provider,
    reason: String,
    filled: &[Filled<'_>],
    cause: Option<&Occurrence>,
) -> Outcome {
    let used = filled.iter().flat_map(|filled| filled.uses.iter().copied());
    let mut variables: Vec<&Occurrence> = used.chain(cause).collect();
    variables.sort_by_key(|occurrence| (occurrence.place.file.clone(), occurrence.place.line));
    Outcome::NotImported(NotImported {
        provider: provider.id.to_string(),
        reason,
        variables: variables
            .into_iter()
            .map(|occurrence| VariableName {
                place: occurrence.place.clone(),
                variable: occurrence.name.clone(),
            })
            .collect(),
    })
}

/// Makes a credential of the fields that a mode has.
fn complete(
    provider: &Provider,
    mode: &Mode,
    filled: Vec<Filled<'_>>,
    fingerprints: &Fingerprints,
) -> Result<Candidate, CliError> {
    let (mode_fields, other_fields): (Vec<Filled<'_>>, Vec<Filled<'_>>) = filled
        .into_iter()
        .partition(|filled| mode.takes(&filled.field.name));
    let mut notes = Vec::new();
    for unused in other_fields.iter().flat_map(|filled| &filled.uses) {
        notes.push(format!(
            "{} ({}) is not part of the mode {}",
            unused.name, unused.place, mode.name
        ));
    }
    for other in mode_fields.iter().flat_map(|filled| &filled.others) {
        notes.push(format!(
            "{} ({}) has another value, which is not imported",
            other.name, other.place
        ));
    }
    let is_secret = |filled: &Filled<'_>| filled.field.secret;
    let has_key = mode_fields.iter().any(is_secret);
    let fields = mode_fields
        .iter()
        .map(|filled| (filled.field.name.as_str(), &filled.value));
    let key = mode_fields
        .iter()
        .filter(|filled| !has_key || is_secret(filled))
        .map(|filled| (filled.field.name.as_str(), &filled.value));
    let context = [provider.id.as_str(), mode.name.as_str()];
    Ok(Candidate {
        provider: provider.id.clone(),
        mode: mode.name.clone(),
        fingerprint: fingerprints.of(&context, fields)?,
        key: fingerprints.of(&context, key)?,
        variables: mode_fields.iter().flat_map(uses).collect(),
        fields: mode_fields
            .into_iter()
            .map(|filled| (filled.field.name.clone(), filled.value))
            .collect(),
        notes,
    })
}

fn reads(field: &Field, name: &str) -> bool {
    variables_of(field).any(|variable| variable == name)
}

fn is_no_field(provider: &Provider, name: &str) -> bool {
    !provider.fields.iter().any(|field| reads(field, name))
}

fn uses(filled: &Filled<'_>) -> Vec<VariableUse> {
    let shown = match filled.field.format {
        Format::Url | Format::Region if !filled.field.secret => {
            filled.value.expose_text().unwrap_or_default().to_owned()
        }
        _ => mask(&filled.value),
    };
    let of = |occurrence: &&Occurrence| VariableUse {
        place: occurrence.place.clone(),
        variable: occurrence.name.clone(),
        field: filled.field.name.clone(),
        shown: shown.clone(),
    };
    filled.uses.iter().map(of).collect()
}

/// The value of a field: from the first source that sets it, and there from the usual
/// variable before others.
fn fill<'a>(
    field: &'a Field,
    occurrences: &'a [Occurrence],
) -> Result<Option<Filled<'a>>, UnusableField<'a>> {
    let rank = |name: &str| variables_of(field).position(|variable| variable == name);
    let mut found: Vec<(&Occurrence, usize)> = occurrences
        .iter()
        .filter_map(|occurrence| Some((occurrence, rank(&occurrence.name)?)))
        .collect();
    let Some((first, _)) = found.first().copied() else {
        return Ok(None);
    };
    // The first file has precedence, and within it the usual variable.
    let is_first_file = |o: &Occurrence| o.place.file == first.place.file;
    found.sort_by_key(|(occurrence, rank)| (!is_first_file(occurrence), *rank));
    let mut filled: Option<Filled<'a>> = None;
    for (occurrence, _) in found {
        let value = match value(field, occurrence) {
            Ok(value) => value,
            // A variable with lower precedence does not matter.
            Err(_) if filled.is_some() => continue,
            Err(reason) => return Err(UnusableField { occurrence, reason }),
        };
        match &mut filled {
            None => {
                filled = Some(Filled {
                    field,
                    value,
                    uses: vec![occurrence],
                    others: Vec::new(),
                });
            }
            Some(filled) if filled.value.expose() == value.expose() => filled.uses.push(occurrence),
            Some(filled) => {
                let is_set_twice = filled.uses.iter().any(|used| {
                    used.name == occurrence.name && used.place.file == occurrence.place.file
                });
                if is_set_twice {
                    let reason = format!(
                        "it is set twice in {}",
                        first.place.file.as_deref().unwrap_or("the environment")
                    );
                    return Err(UnusableField { occurrence, reason });
                }
                filled.others.push(occurrence);
            }
        }
    }
    Ok(filled)
}

/// The value of a variable in canonical form.
fn value(field: &Field, occurrence: &Occurrence) -> Result<Secret, String> {
    let value = occurrence
        .value
        .as_ref()
        .ok_or("its value is not understood")?;
    if field.format == Format::Token
        && let Some(reason) = value.expose_text().and_then(placeholder_reason)
    {
        return Err(reason.to_owned());
    }
    let value = if field.file {
        file_or_value(value, &occurrence.directory)?
    } else {
        value.clone()
    };
    // The error would begin with the name of the field.
    entail::normalize_value(field, &value).map_err(|error| error.rule().to_owned())
}

/// The reason why a text is a placeholder or a reference; `None` if it may be a value.
fn placeholder_reason(text: &str) -> Option<&'static str> {
    const PLACEHOLDERS: [&str; 7] = [
        "change-me",
        "change_me",
        "changeme",
        "example",
        "placeholder",
        "your-",
        "your_",
    ];
    const REFERENCES: [&str; 6] = ["encrypted:", "ENC[", "op://", "secret://", "ref+", "vault:"];

    let lower = text.to_ascii_lowercase();
    if REFERENCES.iter().any(|start| text.starts_with(start)) {
        Some("it is encrypted, or a reference to a value that is stored elsewhere")
    } else if text.starts_with('<')
        || text.ends_with("...")
        || PLACEHOLDERS.iter().any(|word| lower.contains(word))
    {
        Some("it looks like a placeholder")
    } else {
        None
    }
}

/// Reads the file that a variable names. The variable may hold the value itself.
fn file_or_value(value: &Secret, directory: &Path) -> Result<Secret, String> {
    let text = value.expose_text().unwrap_or_default().trim();
    // A service account key is longer than any path, also in base64.
    if text.starts_with('{') || text.len() > MAX_PATH_BYTES {
        return Ok(value.clone());
    }
    if text.starts_with('~') {
        return Err("it names a file with ~, which is not expanded here".to_owned());
    }
    // The path is not repeated: it may be a key.
    let mut file = InputFile::open_regular(&directory.join(text))
        .map_err(|error| format!("the file that it names cannot be read: {error}"))?;
    Secret::read(&mut file, MAX_FILE_BYTES)
        .map_err(|error| format!("the file that it names cannot be read: {error}"))?
        .ok_or_else(|| "the file that it names is too large".to_owned())
}

/// The first mode whose required fields all have a value, at least one of them not by default.
fn suitable_mode<'a>(provider: &'a Provider, filled: &[Filled<'_>]) -> Option<&'a Mode> {
    let is_given = |name: &String| filled.iter().any(|filled| filled.field.name == *name);
    let has_default = |name: &String| provider.field(name).is_some_and(|f| f.default.is_some());
    provider.modes.iter().find(|mode| {
        mode.required.iter().any(is_given)
            && mode
                .required
                .iter()
                .all(|name| is_given(name) || has_default(name))
    })
}

/// The fields that the best matching mode still needs.
fn missing(provider: &Provider, filled: &[Filled<'_>]) -> String {
    let is_given = |name: &&String| filled.iter().any(|filled| filled.field.name == **name);
    let missing_fields = |mode: &&Mode| mode.required.iter().filter(|name| !is_given(name)).count();
    let has_its_secret = |mode: &&Mode| {
        let mut secrets = filled.iter().filter(|filled| filled.field.secret);
        secrets.any(|filled| mode.takes(&filled.field.name))
    };
    let nearest = provider
        .modes
        .iter()
        .filter(has_its_secret)
        .min_by_key(missing_fields);
    let Some(mode) = nearest else {
        return "no mode has these fields".to_owned();
    };
    let names: Vec<String> = mode
        .required
        .iter()
        .filter(|name| !is_given(name))
        .map(|name| {
            let variables = provider
                .field(name)
                .map(|field| variables_of(field).collect::<Vec<_>>());
            match variables.as_deref() {
                Some([first, ..]) => format!("{name} ({first})"),
                _ => name.clone(),
            }
        })
        .collect();
    format!("the mode {} also needs {}", mode.name, names.join(", "))
}
