//! The environment of a command that runs with granted credentials.
//!
//! A command gets the following variables; later ones override earlier ones:
//!
//! 1. the caller's variables, except those of a provider's clients ([`Catalog::unset_by`]):
//!    they could replace a granted credential, redirect it, or be a credential that was not
//!    granted;
//! 2. the blocks of all providers ([`AmbientBlock`](crate::AmbientBlock)), which stop clients from
//!    reading other sources, such as files in the home directory;
//! 3. the variables of each granted credential, including those that its mode fixes.
//!
//! The caller can keep variables, or all variables of a provider ([`Kept`]): a program may
//! need an AWS profile for something else. What is kept is part of the request, so the
//! policy and the decision log see it.
//!
//! The provider file lists the variables and the clients that read them.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use entail_store::Secret;

use crate::error::Error;
use crate::resolve::lease::Lease;
use entail_decision::name::ProviderId;
use entail_decision::provider::{
    Catalog, ClientArgument, Field, FixedVariable, Mode, Provider, RoleFields,
};

/// What a command keeps of the caller's environment.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    /// Variables, by name.
    pub variables: BTreeSet<String>,
    /// Providers, with all their variables, files and metadata services.
    pub providers: BTreeSet<ProviderId>,
}

/// The value of a command's variable.
#[allow(missing_debug_implementations)] // holds a secret
pub enum VariableValue<'a> {
    /// A public parameter, or a fixed value.
    Public(Cow<'a, str>),
    /// A secret.
    Secret(&'a Secret),
    /// The path of a file that holds this secret.
    SecretFile(&'a Secret),
}

/// An AWS role that a command assumes.
#[allow(missing_debug_implementations)] // holds secrets
pub struct AssumedRole<'a> {
    /// Its ARN.
    pub role: &'a str,
    /// The external id that it requires.
    pub external_id: Option<&'a str>,
    /// The region.
    pub region: &'a str,
    /// The granted keys to assume it with, by their names in an AWS configuration file;
    /// without any, the caller's own identity assumes it.
    pub keys: Vec<(&'a str, VariableValue<'a>)>,
}

/// A parameter of a granted credential that a client does not read from a variable.
#[derive(Clone, Copy, Debug)]
pub struct UnreadParameter<'a> {
    /// The provider.
    pub provider: &'a Provider,
    /// The parameter.
    pub field: &'a Field,
    /// The client, and its argument for the parameter.
    pub by: &'a ClientArgument,
}

impl fmt::Display for UnreadParameter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ClientArgument { client, argument } = self.by;
        let (field, provider) = (&self.field.name, &self.provider.id);
        write!(
            f,
            "{client} does not read {field} of {provider} from a variable; pass it as {argument}"
        )
    }
}

/// The environment of a command.
#[allow(missing_debug_implementations)] // holds secrets
pub struct CommandEnvironment<'a> {
    catalog: &'a Catalog,
    kept: &'a Kept,
    granted: Vec<Granted<'a>>,
}

struct Granted<'a> {
    lease: &'a Lease,
    provider: &'a Provider,
    mode: &'a Mode,
}

impl<'a> CommandEnvironment<'a> {
    /// The environment for these leases.
    ///
    /// # Errors
    ///
    /// [`Error::KeptAndGranted`] or [`Error::Invalid`] if something is kept that one of the
    /// leases sets; [`Error::UnknownProvider`] if the catalog lacks the provider of a lease.
    pub fn new(catalog: &'a Catalog, leases: &'a [Lease], kept: &'a Kept) -> Result<Self, Error> {
        let mut granted = Vec::with_capacity(leases.len());
        for lease in leases {
            let provider = catalog.require(&lease.provider)?;
            let mode = provider.require_mode(&lease.mode)?;
            granted.push(Granted {
                lease,
                provider,
                mode,
            });
        }
        let environment = CommandEnvironment {
            catalog,
            kept,
            granted,
        };
        environment.check_kept()?;
        Ok(environment)
    }

    fn grants(&self, id: &ProviderId) -> bool {
        self.granted
            .iter()
            .any(|granted| granted.provider.id == *id)
    }

    fn check_kept(&self) -> Result<(), Error> {
        for id in &self.kept.providers {
            if self.grants(id) {
                return Err(Error::KeptAndGranted(id.clone()));
            }
        }
        let set = self.granted_variables();
        match self
            .kept
            .variables
            .iter()
            .find(|name| set.contains_key(name.as_str()))
        {
            None => Ok(()),
            Some(name) => Err(Error::Invalid(format!(
                "{name} is set by a granted credential, so the caller's own cannot be kept"
            ))),
        }
    }

    /// Whether the command gets this variable from the caller.
    pub fn passes(&self, variable: &str) -> bool {
        self.catalog.unset_by(variable).is_none() || self.is_kept(variable)
    }

    /// Whether the caller keeps this variable, by name or with its provider.
    pub fn is_kept(&self, variable: &str) -> bool {
        let owner = self.catalog.owner(variable);
        self.kept.variables.contains(variable)
            || owner.is_some_and(|owner| self.kept.providers.contains(&owner.id))
    }

    /// The variables to set, by name.
    pub fn variables(&self) -> BTreeMap<&'a str, VariableValue<'a>> {
        let mut variables = self.ambient_blocks();
        variables.extend(self.granted_variables());
        variables
    }

    fn ambient_blocks(&self) -> BTreeMap<&'a str, VariableValue<'a>> {
        let is_kept = |name: &String| self.kept.variables.contains(name);
        self.catalog
            .iter()
            .filter(|provider| !self.kept.providers.contains(&provider.id))
            .flat_map(|provider| &provider.block_ambient)
            .filter(|block| !is_kept(&block.name) && !block.unless_kept.iter().any(is_kept))
            .filter(|block| !block.unless_granted.iter().any(|id| self.grants(id)))
            .map(|block| {
                let value = VariableValue::Public(Cow::Borrowed(&block.value));
                (block.name.as_str(), value)
            })
            .collect()
    }

    /// The variables of the granted credentials, without the ambient blocks.
    pub fn granted_variables(&self) -> BTreeMap<&'a str, VariableValue<'a>> {
        let mut variables = BTreeMap::new();
        for granted in &self.granted {
            variables.extend(self.fixed(granted));
            variables.extend(granted.variables());
        }
        variables
    }

    fn fixed(&self, granted: &Granted<'a>) -> impl Iterator<Item = (&'a str, VariableValue<'a>)> {
        granted
            .mode
            .set_env
            .iter()
            .filter(|fixed| !fixed.unless_granted.iter().any(|id| self.grants(id)))
            .map(|fixed| {
                let value = VariableValue::Public(Cow::Borrowed(fixed.value.as_str()));
                (fixed.name.as_str(), value)
            })
    }

    /// The role that the command assumes, if a granted credential names one. The variables
    /// do not include its keys.
    pub fn assumed_role(&self) -> Option<AssumedRole<'a>> {
        self.granted.iter().find_map(Granted::assumed_role)
    }

    /// The fixed variables that are not set because clients would then ignore another
    /// granted credential; each with that credential's provider.
    pub fn withheld(&self) -> impl Iterator<Item = (&'a FixedVariable, &'a ProviderId)> {
        let fixed = self
            .granted
            .iter()
            .flat_map(|granted| &granted.mode.set_env);
        fixed.filter_map(|fixed| {
            let mut others = fixed.unless_granted.iter();
            Some((fixed, others.find(|id| self.grants(id))?))
        })
    }

    /// The parameters of the granted credentials that clients do not read from variables.
    pub fn unread(&self) -> impl Iterator<Item = UnreadParameter<'a>> {
        self.granted.iter().flat_map(|granted| {
            let provider = granted.provider;
            provider
                .client_arguments_for(&granted.lease.parameters)
                .map(move |(field, by)| UnreadParameter {
                    provider,
                    field,
                    by,
                })
        })
    }
}

impl<'a> Granted<'a> {
    fn variables(&self) -> impl Iterator<Item = (&'a str, VariableValue<'a>)> {
        let Granted {
            lease, provider, ..
        } = *self;
        let role = self.role_fields();
        let is_with_role = move |field: &&Field| {
            role.is_some_and(|role| role.keys.values().any(|key| *key == field.name))
        };
        provider
            .fields
            .iter()
            .filter(move |field| !is_with_role(field))
            .flat_map(move |field| {
                field.environment.iter().filter_map(move |variable| {
                    let template = variable.value.as_deref();
                    let value = value(lease, provider, field, template)?;
                    Some((variable.name.as_str(), value))
                })
            })
    }

    /// The fields of the role, if the credential has one.
    fn role_fields(&self) -> Option<&'a RoleFields> {
        let fields = self.mode.assume_role.as_ref()?;
        let lease: &'a Lease = self.lease;
        lease
            .parameters
            .contains_key(&fields.role)
            .then_some(fields)
    }

    fn assumed_role(&self) -> Option<AssumedRole<'a>> {
        let fields = self.role_fields()?;
        let lease: &'a Lease = self.lease;
        let parameter = |name: &String| lease.parameters.get(name).map(String::as_str);
        let keys = fields.keys.iter().filter_map(|(name, field)| {
            let field = self.provider.field(field)?;
            Some((name.as_str(), value(lease, self.provider, field, None)?))
        });
        Some(AssumedRole {
            role: parameter(&fields.role)?,
            external_id: fields.external_id.as_ref().and_then(parameter),
            region: parameter(&fields.region)?,
            keys: keys.collect(),
        })
    }
}

/// The value of a field, or of its template; `None` if the lease has no value.
fn value<'a>(
    lease: &'a Lease,
    provider: &Provider,
    field: &Field,
    template: Option<&str>,
) -> Option<VariableValue<'a>> {
    if let Some(secret) = lease.secret(&field.name) {
        return Some(if field.file {
            VariableValue::SecretFile(secret)
        } else {
            VariableValue::Secret(secret)
        });
    }
    let text = lease.parameters.get(&field.name)?;
    Some(VariableValue::Public(match template {
        None => Cow::Borrowed(text.as_str()),
        Some(template) => Cow::Owned(provider.fill(template, &lease.parameters)?),
    }))
}

impl Kept {
    /// The names that would have been passed anyway, for a note.
    pub fn without_effect<'a>(&'a self, catalog: &'a Catalog) -> impl Iterator<Item = &'a str> {
        self.variables
            .iter()
            .map(String::as_str)
            .filter(|name| catalog.unset_by(name).is_none())
    }
}
