//! The AWS role that a command assumes, by a private configuration file.
//!
//! No client assumes a role that a variable names. All of them assume the role of a profile,
//! which names the role, its external id, and the identity that assumes it. So the command
//! gets a private configuration file with such a profile and no other identity. The identity
//! is the first of these that exists:
//!
//! 1. the granted keys, if the credential has some;
//! 2. the caller's keys in variables;
//! 3. the caller's web identity, as in a Kubernetes cluster;
//! 4. the caller's profile: that of `AWS_PROFILE`, else the default one;
//! 5. the identity of the container, or of the virtual machine.
//!
//! Without any of them the run is refused: the command would otherwise run without the role.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use entail::{AssumedRole, Kept, Secret, VariableValue};

use super::environment::text_of;
use crate::error::{CliError, ErrorCode};
use entail_policy_tools::display::display_path;

/// The maximum length of the caller's configuration file.
const MAX_CONFIGURATION_BYTES: usize = 1 << 20;

/// The prefixes of the names of the profile with the role, and of the profile that assumes
/// it. The rest of a name cannot be guessed, so no file of the caller has a section of that
/// name, whose endpoints or keys a client would merge into this one.
const PROFILE: &str = "entail-role-";
const SOURCE: &str = "entail-source-";

/// The variables by which a command finds the profile.
const VARIABLES: [&str; 6] = [
    "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_PROFILE",
    "AWS_SDK_LOAD_CONFIG",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
];

/// An empty file.
const NO_FILE: &str = "/dev/null";

/// The variables with the container's identity.
const CONTAINER: [&str; 4] = [
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
];

/// Where Linux reports the vendor of the machine.
const VENDOR_FILE: &str = "/sys/class/dmi/id/sys_vendor";

/// A profile that assumes a role.
pub struct Profile {
    /// The content of the configuration file.
    pub configuration: Secret,
    name: String,
    credentials_file: OsString,
    region: String,
    /// Other variables that the identity needs.
    others: Vec<(&'static str, OsString)>,
}

impl Profile {
    /// The variables by which clients find the profile in `file`.
    pub fn variables(self, file: &Path) -> impl Iterator<Item = (OsString, OsString)> {
        let values: [OsString; 6] = [
            file.into(),
            self.credentials_file,
            self.name.into(),
            // Older clients read configuration files only with this.
            "1".into(),
            self.region.clone().into(),
            self.region.into(),
        ];
        VARIABLES
            .into_iter()
            .zip(values)
            .chain(self.others)
            .map(|(name, value)| (name.into(), value))
    }
}

/// Checks that the caller keeps no variable by which the profile is found.
///
/// # Errors
///
/// Fails if it does.
pub fn check_kept(kept: &Kept) -> Result<(), CliError> {
    let found = VARIABLES
        .iter()
        .find(|name| kept.variables.contains(**name));
    found.map_or(Ok(()), |name| {
        Err(CliError::invalid(format!(
            "{name} is set for the role that is granted, so the caller's value cannot be kept"
        )))
    })
}

/// A name that cannot be guessed.
fn unguessable(prefix: &str) -> Result<String, CliError> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes)
        .map_err(|error| CliError::new(ErrorCode::Io, format!("random numbers: {error}")))?;
    Ok(format!("{prefix}{:016x}", u64::from_ne_bytes(bytes)))
}

/// Makes the profile for a role.
///
/// # Errors
///
/// Fails if there is no identity to assume it with, or the identity cannot be read.
pub fn profile(role: &AssumedRole<'_>) -> Result<Profile, CliError> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let vendor = std::fs::read_to_string(VENDOR_FILE).unwrap_or_default();
    let caller = Caller {
        variable: &variable,
        home: std::env::home_dir(),
        is_virtual_machine: vendor.trim() == "Amazon EC2",
    };
    let source = Source::find(role, &caller)?;
    let name = unguessable(PROFILE)?;
    let before = source.before.expose_text().ok_or_else(not_text)?;
    let mut text = String::with_capacity(before.len() + 4096);
    text.push_str(before);
    text.push_str("\n[profile ");
    text.push_str(&name);
    text.push_str("]\n");
    let lines = [
        ("role_arn", Some(role.role)),
        ("external_id", role.external_id),
        ("role_session_name", Some("entail")),
        ("region", Some(role.region)),
        source.line(),
    ];
    for (name, value) in lines {
        if let Some(value) = value {
            push_line(&mut text, name, value)?;
        }
    }
    Ok(Profile {
        configuration: Secret::from(text),
        name,
        credentials_file: source.credentials_file,
        region: role.region.to_owned(),
        others: source.others,
    })
}

fn not_text() -> CliError {
    CliError::invalid("the AWS configuration is not UTF-8 text, so its profiles are not used")
}

/// Appends a line to a configuration file. A value cannot start another line.
fn push_line(text: &mut String, name: &str, value: &str) -> Result<(), CliError> {
    if value.contains(|c: char| c.is_control()) {
        return Err(CliError::invalid(format!(
            "{name}: the value has characters that an AWS configuration cannot contain"
        )));
    }
    text.push_str(name);
    text.push_str(" = ");
    text.push_str(value);
    text.push('\n');
    Ok(())
}

/// Where the caller's identity can come from.
struct Caller<'a> {
    variable: &'a dyn Fn(&str) -> Option<OsString>,
    home: Option<PathBuf>,
    is_virtual_machine: bool,
}

impl Caller<'_> {
    fn text(&self, name: &str) -> Result<Option<String>, CliError> {
        let not_text = |_| CliError::invalid(format!("the variable {name} is not UTF-8"));
        (self.variable)(name)
            .map(|value| value.into_string().map_err(not_text))
            .transpose()
    }

    /// The file that a variable names, else the default in the caller's home directory.
    fn file(&self, variable: &str, name: &str) -> Option<PathBuf> {
        match (self.variable)(variable) {
            Some(file) => Some(file.into()),
            None => self.home.as_ref().map(|home| home.join(".aws").join(name)),
        }
    }
}

/// The identity that the role is assumed with.
struct Source {
    /// The part of the configuration file before the role's profile.
    before: Secret,
    /// The profile of the identity, or the name of another source.
    identity: Identity,
    credentials_file: OsString,
    others: Vec<(&'static str, OsString)>,
}

enum Identity {
    Profile(String),
    OtherSource(&'static str),
}

impl Source {
    fn find(role: &AssumedRole<'_>, caller: &Caller<'_>) -> Result<Self, CliError> {
        if !role.keys.is_empty() {
            let mut keys = Vec::new();
            for (name, value) in &role.keys {
                keys.push((*name, value_of(name, value)?));
            }
            return Self::written(&keys);
        }
        if let Some(source) = Self::keys_in_variables(caller)? {
            return Ok(source);
        }
        if let Some(token) = caller.text("AWS_WEB_IDENTITY_TOKEN_FILE")?
            && let Some(own_role) = caller.text("AWS_ROLE_ARN")?
        {
            return Self::written(&[("role_arn", &own_role), ("web_identity_token_file", &token)]);
        }
        if let Some(source) = Self::profile(caller)? {
            return Ok(source);
        }
        let of_container: Vec<(&'static str, OsString)> = CONTAINER
            .iter()
            .filter_map(|name| Some((*name, (caller.variable)(name)?)))
            .collect();
        if !of_container.is_empty() {
            return Ok(Self::elsewhere("EcsContainer", of_container));
        }
        if caller.is_virtual_machine {
            let looked_up = vec![("AWS_EC2_METADATA_DISABLED", "false".into())];
            return Ok(Self::elsewhere("Ec2InstanceMetadata", looked_up));
        }
        Err(CliError::new(
            ErrorCode::Sealed,
            format!(
                "no AWS identity was found to assume the role {} with",
                role.role
            ),
        )
        .with_remedies(vec![
            "set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, for the run"
                .to_owned(),
            "set a credential with the mode access-key and the role: its keys assume it".to_owned(),
        ]))
    }

    fn keys_in_variables(caller: &Caller<'_>) -> Result<Option<Self>, CliError> {
        let (Some(id), Some(key)) = (
            caller.text("AWS_ACCESS_KEY_ID")?,
            caller.text("AWS_SECRET_ACCESS_KEY")?,
        ) else {
            return Ok(None);
        };
        let token = caller.text("AWS_SESSION_TOKEN")?;
        let mut lines = vec![
            ("aws_access_key_id", id.as_str()),
            ("aws_secret_access_key", key.as_str()),
        ];
        lines.extend(token.as_deref().map(|token| ("aws_session_token", token)));
        Self::written(&lines).map(Some)
    }

    /// A profile with these lines.
    fn written(lines: &[(&str, &str)]) -> Result<Self, CliError> {
        let length: usize = lines
            .iter()
            .map(|(name, value)| name.len() + value.len() + 4)
            .sum();
        // A buffer that grows would leave copies behind.
        let name = unguessable(SOURCE)?;
        let mut text = String::with_capacity(length + 64);
        text.push_str("[profile ");
        text.push_str(&name);
        text.push_str("]\n");
        for (name, value) in lines {
            push_line(&mut text, name, value)?;
        }
        Ok(Source {
            before: Secret::from(text),
            identity: Identity::Profile(name),
            credentials_file: NO_FILE.into(),
            others: Vec::new(),
        })
    }

    fn elsewhere(name: &'static str, others: Vec<(&'static str, OsString)>) -> Self {
        Source {
            before: Secret::from(""),
            identity: Identity::OtherSource(name),
            credentials_file: NO_FILE.into(),
            others,
        }
    }

    /// The caller's profile, with the whole file, since a profile may name others.
    fn profile(caller: &Caller<'_>) -> Result<Option<Self>, CliError> {
        let named = match caller.text("AWS_PROFILE")? {
            Some(name) => Some(name),
            None => caller.text("AWS_DEFAULT_PROFILE")?,
        };
        let name = named.clone().unwrap_or_else(|| "default".to_owned());
        let configuration = read(caller.file("AWS_CONFIG_FILE", "config").as_deref())?;
        let file = caller.file("AWS_SHARED_CREDENTIALS_FILE", "credentials");
        let credentials = read(file.as_deref())?;
        let mut is_there = false;
        for file in [&configuration, &credentials] {
            is_there |= has_profile(file.expose_text().ok_or_else(not_text)?, &name);
        }
        match named {
            _ if is_there => Ok(Some(Source {
                before: configuration,
                identity: Identity::Profile(name),
                credentials_file: file.map_or_else(|| NO_FILE.into(), PathBuf::into_os_string),
                others: Vec::new(),
            })),
            None => Ok(None),
            Some(name) => Err(CliError::invalid(format!(
                "AWS_PROFILE is {name:?}, and the AWS configuration has no such profile"
            ))),
        }
    }

    fn line(&self) -> (&'static str, Option<&str>) {
        match &self.identity {
            Identity::Profile(name) => ("source_profile", Some(name)),
            Identity::OtherSource(name) => ("credential_source", Some(name)),
        }
    }
}

fn value_of<'a>(name: &str, value: &'a VariableValue<'_>) -> Result<&'a str, CliError> {
    match value {
        VariableValue::Public(text) => Ok(text.as_ref()),
        VariableValue::Secret(secret) | VariableValue::SecretFile(secret) => text_of(name, secret),
    }
}

/// The content of a file; empty if there is no file.
fn read(file: Option<&Path>) -> Result<Secret, CliError> {
    let Some(file) = file.filter(|file| *file != OsStr::new(NO_FILE)) else {
        return Ok(Secret::from(""));
    };
    match Secret::read_file(file, MAX_CONFIGURATION_BYTES) {
        Ok(Some(text)) => Ok(text),
        Ok(None) => Err(CliError::invalid(format!(
            "{} is too large for an AWS configuration",
            display_path(file)
        ))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Secret::from("")),
        Err(error) => Err(CliError::io(display_path(file), &error)),
    }
}

/// Whether a configuration or credentials file has the profile.
fn has_profile(text: &str, name: &str) -> bool {
    text.lines()
        .filter_map(|line| line.trim().strip_prefix('[')?.split_once(']'))
        .map(|(section, _)| section.trim())
        .any(|section| {
            let after = section.strip_prefix("profile").map(str::trim);
            let quoted = after.map(|name| name.trim_matches(['"', '\'']));
            section == name || quoted == Some(name)
        })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // allowed in tests
mod tests {
    use super::*;

    const ROLE: &str = "arn:aws:iam::123456789012:role/x";

    fn role<'a>(keys: Vec<(&'a str, VariableValue<'a>)>) -> AssumedRole<'a> {
        AssumedRole {
            role: ROLE,
            external_id: Some("e-1"),
            region: "eu-central-1",
            keys,
        }
    }

    fn found(variables: &[(&str, &str)], home: Option<PathBuf>) -> Result<Source, CliError> {
        let variable = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| OsString::from(value))
        };
        Source::find(
            &role(Vec::new()),
            &Caller {
                variable: &variable,
                home,
                is_virtual_machine: false,
            },
        )
    }

    fn text(source: &Source) -> &str {
        source.before.expose_text().unwrap()
    }

    #[test]
    fn the_first_identity_that_exists_is_used() {
        let keys = [
            ("AWS_ACCESS_KEY_ID", "AKIA1"),
            ("AWS_SECRET_ACCESS_KEY", "s3cret"),
            ("AWS_PROFILE", "mine"),
        ];
        let source = found(&keys, None).unwrap();
        assert!(text(&source).contains("aws_secret_access_key = s3cret\n"));
        let (name, value) = source.line();
        assert_eq!(name, "source_profile");
        assert!(value.unwrap().starts_with(SOURCE));

        let web = [
            ("AWS_WEB_IDENTITY_TOKEN_FILE", "/run/token"),
            ("AWS_ROLE_ARN", "arn:own"),
        ];
        let source = found(&web, None).unwrap();
        assert!(text(&source).contains("web_identity_token_file = /run/token\n"));
        assert!(text(&source).contains("role_arn = arn:own\n"));

        let container = [("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/v2/x")];
        let source = found(&container, None).unwrap();
        assert_eq!(source.line(), ("credential_source", Some("EcsContainer")));
        assert_eq!(source.others.len(), 1);
    }

    #[test]
    fn a_profile_is_copied_with_all_that_it_may_refer_to() {
        let home = tempfile::tempdir().unwrap();
        let aws = home.path().join(".aws");
        std::fs::create_dir(&aws).unwrap();
        let configuration =
            "[profile mine]\nsource_profile = base\n[profile base]\nsso_session = x\n";
        std::fs::write(aws.join("config"), configuration).unwrap();
        let at_home = || Some(home.path().to_owned());
        let source = found(&[("AWS_PROFILE", "mine")], at_home()).unwrap();
        assert_eq!(text(&source), configuration);
        assert_eq!(source.line(), ("source_profile", Some("mine")));
        assert_eq!(source.credentials_file, aws.join("credentials"));

        assert!(found(&[("AWS_PROFILE", "other")], at_home()).is_err());
        assert!(found(&[], at_home()).is_err());
        std::fs::write(
            aws.join("credentials"),
            "[default]\naws_access_key_id = x\n",
        )
        .unwrap();
        let source = found(&[], at_home()).unwrap();
        assert_eq!(source.line(), ("source_profile", Some("default")));
    }

    #[test]
    fn a_file_that_is_not_text_is_an_error() {
        let home = tempfile::tempdir().unwrap();
        let aws = home.path().join(".aws");
        std::fs::create_dir(&aws).unwrap();
        std::fs::write(aws.join("config"), b"# caf\xe9\n[profile mine]\nx = y\n").unwrap();
        std::fs::write(aws.join("credentials"), "[mine]\naws_access_key_id = x\n").unwrap();
        let error = found(&[("AWS_PROFILE", "mine")], Some(home.path().to_owned()));
        assert!(error.err().unwrap().message().contains("not UTF-8"));
    }

    #[test]
    fn without_an_identity_it_is_refused() {
        assert!(found(&[], None).is_err());
    }

    #[test]
    fn no_value_starts_another_line() {
        let keys = [
            ("AWS_ACCESS_KEY_ID", "AKIA1\nrole_arn = arn:other"),
            ("AWS_SECRET_ACCESS_KEY", "s3cret"),
        ];
        assert!(found(&keys, None).is_err());
    }

    #[test]
    fn granted_keys_come_first() {
        let secret = Secret::from("granted");
        let keys = vec![
            ("aws_access_key_id", VariableValue::Public("AKIA2".into())),
            ("aws_secret_access_key", VariableValue::Secret(&secret)),
        ];
        let profile = profile(&role(keys)).unwrap();
        let text = profile.configuration.expose_text().unwrap();
        assert!(text.contains("aws_secret_access_key = granted\n"), "{text}");
        assert!(text.contains("external_id = e-1\n"), "{text}");
        assert!(text.contains("source_profile = entail-source-"), "{text}");
    }
}
