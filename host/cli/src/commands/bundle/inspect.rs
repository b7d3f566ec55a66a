//! `entail bundle inspect` and `verify`.

use entail::bundle::{Bundle, Manifest};
use entail_api::bundle::{Bundle as BundleOutput, BundleSecret};

use super::file::{self, BundleFileArg, TrustArgs};
use crate::error::CliError;
use crate::output::{Cell, Style, Table, count, err, out, print_json, time};
use crate::session::Session;

pub fn inspect(session: &Session, args: &BundleFileArg) -> Result<(), CliError> {
    let text = file::read(&args.file)?;
    let signers = Bundle::named_signers(&text).map_err(entail::Error::from)?;
    let bundle = Bundle::read(&text, &signers).map_err(entail::Error::from)?;
    bundle.check_blobs().map_err(entail::Error::from)?;
    let output = to_output(bundle.manifest(), signers, false);
    if session.global.json {
        print_json(&output);
        return Ok(());
    }
    print(&output);
    err!(Style::Warn => "note:"; " whether it is from the right organization was not checked: entail bundle verify {} --signer FINGERPRINT", args.file.display());
    Ok(())
}

pub fn verify(session: &Session, args: &TrustArgs) -> Result<(), CliError> {
    let bundle = file::open(session, args)?;
    let blobs = bundle.check_blobs().map_err(entail::Error::from)?;
    let signers = bundle.signers().map(str::to_owned).collect();
    let output = to_output(bundle.manifest(), signers, true);
    if session.global.json {
        print_json(&output);
        return Ok(());
    }
    out!(
        "ok: signed by {}, revision {}, {}, valid until {}",
        output.signers.join(", "),
        output.revision,
        count(u64::try_from(blobs).unwrap_or(u64::MAX), "sealed secret"),
        time(output.expires_at_ms)
    );
    Ok(())
}

/// What a bundle says, for output.
pub fn to_output(manifest: &Manifest, signers: Vec<String>, trusted: bool) -> BundleOutput {
    let scopes = manifest.providers.iter().flat_map(|facts| &facts.scopes);
    let credentials: Vec<_> = scopes.flat_map(|scope| &scope.credentials).collect();
    let name = |id: &str| {
        let found = credentials.iter().find(|credential| credential.id == id);
        found.map_or_else(String::new, |credential| credential.name.clone())
    };
    let secrets = manifest.secrets.iter().map(|(id, secret)| BundleSecret {
        id: id.clone(),
        holder: secret.frame.scope.to_string(),
        provider: secret.frame.provider.clone(),
        credential: name(id),
        version: secret.frame.version,
        hosts: secret.frame.hosts.clone(),
        blob: secret.blob.clone(),
    });
    let providers = manifest.providers.iter();
    BundleOutput {
        signers,
        trusted,
        store: manifest.store.clone(),
        organization: manifest.organization.to_string(),
        revision: manifest.revision,
        issued_at_ms: manifest.issued_at_ms,
        expires_at_ms: manifest.expires_at_ms,
        policy: manifest.policy.digest.clone(),
        recipients: manifest.recipients.clone(),
        scopes: manifest.scopes.iter().map(ToString::to_string).collect(),
        providers: providers
            .map(|facts| facts.provider.id.to_string())
            .collect(),
        secrets: secrets.collect(),
    }
}

/// Prints what a bundle says.
pub fn print(bundle: &BundleOutput) {
    out!(Style::Heading => format_args!("bundle of {}", bundle.organization));
    let mut table = Table::default();
    let mut row = |name: &str, value: &str| {
        table.row([Cell::new(format!("  {name}"), Style::Faint), value.into()]);
    };
    row(
        "store",
        &format!("{}, revision {}", bundle.store, bundle.revision),
    );
    row("made", &time(bundle.issued_at_ms));
    row("expires", &time(bundle.expires_at_ms));
    row("policy", &bundle.policy);
    for signer in &bundle.signers {
        row("signed by", signer);
    }
    for recipient in &bundle.recipients {
        row("recipient", recipient);
    }
    row("scopes", &bundle.scopes.join(", "));
    row("providers", &bundle.providers.join(", "));
    for secret in &bundle.secrets {
        let BundleSecret {
            provider,
            credential,
            holder,
            version,
            ..
        } = secret;
        row(
            "secret",
            &format!("{provider}/{credential} of {holder}, version {version}"),
        );
    }
    table.print();
}
