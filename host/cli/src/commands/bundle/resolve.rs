//! `entail bundle resolve` and `explain`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use entail::bundle::{Bundle, Request, Resolution, SealedLease};
use entail::decision::Outcome;
use entail::{
    CredentialName, Error, Explanation, HiddenFindings, Hint, ModelId, ProviderId, ScopePath,
    Secret, bundle_recipients, now_ms, open_bundle_lease,
};
use entail_api::explain::Explanation as ExplanationOutput;
use entail_api::resolve::Lease as LeaseOutput;

use super::file::{TrustArgs, open};
use crate::args::attributes::parse_attributes;
use crate::args::path;
use crate::commands::resolve::{print_text, shown};
use crate::error::CliError;
use crate::output::{convert, print_explanation, print_json};
use crate::session::Session;
use crate::suggest::remedy::remedies;

/// The maximum length of a file with identities.
const MAX_IDENTITY_BYTES: usize = 64 * 1024;

#[derive(Args)]
pub struct BundleRequestArgs {
    #[command(flatten)]
    pub trust: TrustArgs,
    /// The requesting scope
    pub scope: ScopePath,
    /// The provider
    pub provider: ProviderId,
    /// The model that the credential is for
    #[arg(long)]
    pub model: Option<ModelId>,
    /// The name of the credential; any, if none is given
    #[arg(long)]
    pub name: Option<CredentialName>,
    /// An attribute for the policy, such as session=4711
    #[arg(long = "attribute", value_name = "NAME=VALUE")]
    pub attributes: Vec<String>,
}

#[derive(Args)]
pub struct BundleResolveArgs {
    #[command(flatten)]
    pub request: BundleRequestArgs,
    /// The file with the age identity that opens the secrets
    #[arg(long, value_name = "FILE", value_parser = path::parser())]
    pub identity: PathBuf,
    /// Print the secrets
    #[arg(long)]
    pub reveal: bool,
}

#[derive(Args)]
pub struct BundleExplainArgs {
    #[command(flatten)]
    pub request: BundleRequestArgs,
    /// The file with the age identity that opens the secrets, to say whether it opens them
    #[arg(long, value_name = "FILE", value_parser = path::parser())]
    pub identity: Option<PathBuf>,
}

pub fn resolve(session: &Session, args: &BundleResolveArgs) -> Result<(), CliError> {
    let identity = read_identity(&args.identity)?;
    let bundle = open(session, &args.request.trust)?;
    let request = request(&args.request, Some(&identity))?;
    let resolution = bundle.resolve(&request).map_err(Error::from)?;
    let Some(lease) = &resolution.lease else {
        return Err(refused(&bundle, &request, resolution));
    };
    let output = to_output(&bundle, &request, lease, &identity, args.reveal)?;
    if session.global.json {
        print_json(&output);
    } else {
        print_text(&output);
    }
    Ok(())
}

pub fn explain(session: &Session, args: &BundleExplainArgs) -> Result<(), CliError> {
    let identity = args.identity.as_deref().map(read_identity).transpose()?;
    let bundle = open(session, &args.request.trust)?;
    let request = request(&args.request, identity.as_ref())?;
    let resolution = bundle.resolve(&request).map_err(Error::from)?;
    let explanation = explanation(&bundle, resolution)?;
    let output = ExplanationOutput {
        revision: explanation.revision,
        policy: explanation.policy.to_string(),
        facts: convert(&*explanation.facts)?,
        decision: convert(&explanation.decision)?,
        hidden: 0,
        hidden_codes: Vec::new(),
        remedies: remedies_at_home(&explanation.hints()),
        identity_open: identity.is_some(),
    };
    if session.global.json {
        print_json(&output);
    } else {
        print_explanation(&output);
    }
    Ok(())
}

fn read_identity(file: impl AsRef<Path>) -> Result<Secret, CliError> {
    let file = file.as_ref();
    let shown = file.display();
    let identity = Secret::read_file(file, MAX_IDENTITY_BYTES)
        .map_err(|error| CliError::io(&shown, &error))?
        .ok_or_else(|| CliError::invalid(format!("{shown} is too large for an identity")))?;
    if bundle_recipients(&identity).is_err() {
        return Err(CliError::invalid(format!(
            "{shown} contains no age identity (AGE-SECRET-KEY-1…)"
        ))
        .with_remedies(vec![
            "if it is encrypted, decrypt it first: age --decrypt FILE".to_owned(),
        ]));
    }
    Ok(identity)
}

fn request(args: &BundleRequestArgs, identity: Option<&Secret>) -> Result<Request, CliError> {
    Ok(Request {
        scope: args.scope.clone(),
        provider: args.provider.clone(),
        model: args.model.clone(),
        credential: args.name.clone(),
        principal: None,
        attributes: parse_attributes(&args.attributes)?,
        now_ms: now_ms(),
        recipients: identity
            .map(bundle_recipients)
            .transpose()?
            .unwrap_or_default(),
    })
}

fn explanation(bundle: &Bundle, resolution: Resolution<'_>) -> Result<Explanation, CliError> {
    let manifest = bundle.manifest();
    let policy = manifest
        .policy
        .digest
        .parse()
        .map_err(|_| CliError::invalid("the digest of the bundle's policy is malformed"))?;
    Ok(Explanation {
        revision: manifest.revision,
        facts: Arc::new(resolution.facts),
        decision: resolution.decision,
        hidden: HiddenFindings::default(),
        policy,
        identity: None,
    })
}

/// What would lift a refusal. It is done at the home: nothing changes a bundle.
fn remedies_at_home(hints: &[Hint]) -> Vec<String> {
    let remedies = remedies(hints).into_iter();
    let at_home = |remedy: String| {
        if remedy.starts_with("entail ") {
            format!("at the home, before another export: {remedy}")
        } else {
            remedy
        }
    };
    remedies.map(at_home).collect()
}

fn refused(bundle: &Bundle, request: &Request, resolution: Resolution<'_>) -> CliError {
    let Outcome::Refused(refusal) = resolution.decision.outcome.clone() else {
        return CliError::invalid("the bundle lacks the granted secret");
    };
    let hints = explanation(bundle, resolution).map(|explanation| explanation.hints());
    let mut remedies = remedies_at_home(&hints.unwrap_or_default());
    if refusal.code == "unreadable" {
        let recipients = request.recipients.iter();
        remedies.extend(recipients.map(|recipient| {
            format!(
                "the identity is not one that the bundle is for; export it with --to {recipient}"
            )
        }));
    }
    CliError::from(Error::Refused {
        scope: request.scope.clone(),
        provider: request.provider.clone(),
        refusal,
    })
    .with_remedies(remedies)
}

fn to_output(
    bundle: &Bundle,
    request: &Request,
    lease: &SealedLease<'_>,
    identity: &Secret,
    reveal: bool,
) -> Result<LeaseOutput, CliError> {
    let fields = open_bundle_lease(lease, identity)?;
    let frame = &lease.secret.frame;
    let manifest = bundle.manifest();
    Ok(LeaseOutput {
        scope: request.scope.to_string(),
        provider: request.provider.to_string(),
        holder: frame.scope.to_string(),
        credential: lease.name.clone(),
        id: frame.credential.clone(),
        version: frame.version,
        mode: frame.mode.clone(),
        model: lease.model.clone(),
        base_url: lease.secret.base_url.clone(),
        hosts: frame.hosts.clone(),
        expires_at_ms: lease.expires_at_ms,
        parameters: lease.secret.parameters.clone(),
        secrets: fields
            .iter()
            .map(|(name, secret)| (name.clone(), shown(secret, reveal)))
            .collect::<BTreeMap<_, _>>(),
        revision: manifest.revision,
        policy: manifest.policy.digest.clone(),
    })
}
