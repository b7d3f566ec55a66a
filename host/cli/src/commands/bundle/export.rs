//! `entail bundle export`.

use std::fs::Permissions;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use clap::Args;
use entail::bundle::{Bundle, MAX_BUNDLE_BYTES};
use entail::store::InputFile;
use entail::{BundleExport, ProviderId, ScopePath};
use entail_api::bundle::BundleExported;
use tempfile::NamedTempFile;

use super::inspect::{print, to_output};
use crate::args::path;
use crate::args::time::duration_ms;
use crate::error::CliError;
use crate::output::{Style, err, out, print_json};
use crate::session::Session;

#[derive(Args)]
pub struct ExportArgs {
    /// The scopes that may request, all of one organization
    #[arg(required = true, value_name = "SCOPE")]
    pub scopes: Vec<ScopePath>,
    /// Seal the secrets to this age recipient; repeat it for each
    #[arg(long = "to", required = true, value_name = "RECIPIENT")]
    pub recipients: Vec<String>,
    /// How long the bundle is valid: 30m, 24h, 7d
    #[arg(long, value_name = "DURATION", default_value = "24h")]
    pub expires: String,
    /// Include this provider only; repeat it for each [default: those with credentials]
    #[arg(long = "provider", value_name = "PROVIDER")]
    pub providers: Vec<ProviderId>,
    /// The file to write; it is replaced at once
    #[arg(long, short, value_name = "FILE", value_parser = path::parser())]
    pub output: PathBuf,
}

pub async fn export(session: &Session, args: &ExportArgs) -> Result<(), CliError> {
    let lifetime_ms = duration_ms(&args.expires)?;
    check_replaceable(&args.output)?;
    let failed = |error: std::io::Error| CliError::io(args.output.display(), &error);
    // Before the export is recorded.
    let created = beside(&args.output).map_err(failed)?;
    let entail = session.open_unlocked()?;
    let mut scopes = args.scopes.clone();
    scopes.sort();
    scopes.dedup();
    let export = BundleExport {
        scopes,
        recipients: args.recipients.clone(),
        providers: (!args.providers.is_empty()).then(|| args.providers.clone()),
        lifetime_ms,
    };
    let exported = entail.export_bundle(&session.principal, &export).await?;
    replace(&args.output, created, exported.text.as_bytes()).map_err(failed)?;
    let signers = vec![exported.signer.clone()];
    let output = BundleExported {
        file: args.output.to_string_lossy().into_owned(),
        signer: exported.signer,
        bundle: to_output(&exported.manifest, signers, true),
    };
    if session.global.json {
        print_json(&output);
        return Ok(());
    }
    print(&output.bundle);
    out!("written to {}", output.file);
    if output.bundle.secrets.is_empty() {
        err!(Style::Warn => "note:"; " none of its scopes can be granted a credential; why: entail explain SCOPE PROVIDER");
    }
    Ok(())
}

/// Fails if something else than a bundle is there, which would be lost.
fn check_replaceable(file: &Path) -> Result<(), CliError> {
    if file.symlink_metadata().is_err() {
        return Ok(());
    }
    let opened = InputFile::open_regular_no_link(file);
    let text = opened.and_then(|opened| opened.read_to_limit(MAX_BUNDLE_BYTES));
    if text.is_ok_and(|text| Bundle::named_signers(&text).is_ok()) {
        return Ok(());
    }
    Err(CliError::invalid(format!(
        "{} exists and is not a bundle, so it is not replaced; name another file, or remove it",
        file.display()
    )))
}

/// A new file beside `file`, which replaces it later: a reader sees the old or the new contents.
fn beside(file: &Path) -> std::io::Result<NamedTempFile> {
    let parent = file.parent();
    let directory = parent.filter(|parent| !parent.as_os_str().is_empty());
    let directory = directory.unwrap_or(Path::new("."));
    // An error of the new file would name that.
    directory.metadata()?;
    NamedTempFile::new_in(directory).map_err(|error| std::io::Error::from(error.kind()))
}

/// Replaces a file. Others may read it: its secrets are sealed.
fn replace(file: &Path, mut written: NamedTempFile, bytes: &[u8]) -> std::io::Result<()> {
    written.write_all(bytes)?;
    written.as_file().sync_all()?;
    written
        .as_file()
        .set_permissions(Permissions::from_mode(0o644))?;
    written.persist(file)?;
    Ok(())
}
