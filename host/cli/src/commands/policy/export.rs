//! `policy export`: writes the component of a policy to a file, or as an OCI image layout.

use std::path::{Path, PathBuf};

use clap::Args;
use entail::policy::{Limits, PolicyDigest, Sandbox};
use entail_policy_tools::export::{ExportInfo, write_file, write_layout};
use entail_policy_tools::wit::read_wit;

use super::stored::{StoredComponent, stored_component};
use crate::args::path as paths;
use crate::error::CliError;
use crate::output::{out, print_json};
use crate::session::Session;
use entail_api::policy::ExportedPolicy;

#[derive(Args)]
pub struct ExportArgs {
    /// The policy: its digest, the first digits of it, its name, or built-in, which needs
    /// no home
    #[arg(value_name = "POLICY")]
    policy: String,
    /// The file to write, which must not exist with other contents [default: NAME.wasm]
    #[arg(short, long, value_name = "FILE", value_parser = paths::parser())]
    output: Option<PathBuf>,
    /// Write an OCI image layout to this directory; the same component gives the same
    /// bytes
    #[arg(long, value_name = "DIR", conflicts_with = "output", value_parser = paths::parser())]
    oci: Option<PathBuf>,
}

/// Writes it.
///
/// # Errors
///
/// Fails if there is no such policy, or the file exists with other contents.
pub async fn export(session: &Session, args: &ExportArgs) -> Result<(), CliError> {
    let stored = stored_component(session, &args.policy).await?;
    let exported = if let Some(directory) = &args.oci {
        let manifest = export_layout(&stored, directory)?;
        let place = directory.to_string_lossy().into_owned();
        exported(&stored, place, Some(manifest.to_string()))
    } else {
        let default = || PathBuf::from(format!("{}.wasm", stored.name));
        let file = args.output.clone().unwrap_or_else(default);
        write_file(&file, &stored.bytes)?;
        exported(&stored, file.to_string_lossy().into_owned(), None)
    };
    print(session, &exported);
    Ok(())
}

/// Writes a layout, and returns the digest of its manifest.
fn export_layout(stored: &StoredComponent, directory: &Path) -> Result<PolicyDigest, CliError> {
    let wit = read_wit(&stored.bytes, &Limits::default(), &Sandbox::this_program())?;
    let info = ExportInfo {
        name: &stored.name,
        version: &stored.version,
        summary: &stored.summary,
        wit: &wit,
    };
    Ok(write_layout(directory, &stored.bytes, &info)?)
}

fn print(session: &Session, exported: &ExportedPolicy) {
    if session.global.json {
        print_json(&exported);
        return;
    }
    out!(
        "wrote {} {} ({}) to {}",
        exported.name,
        exported.version,
        exported.digest,
        exported.path
    );
    if let Some(manifest) = &exported.manifest {
        out!("manifest: {manifest}");
    }
}

fn exported(stored: &StoredComponent, path: String, manifest: Option<String>) -> ExportedPolicy {
    ExportedPolicy {
        name: stored.name.clone(),
        version: stored.version.clone(),
        digest: PolicyDigest::of(&stored.bytes).to_string(),
        bytes: u64::try_from(stored.bytes.len()).unwrap_or(u64::MAX),
        path,
        manifest,
    }
}
