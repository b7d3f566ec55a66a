//! Reads bundles, and chooses the signers to trust.

use std::path::{Path, PathBuf};

use clap::Args;
use entail::bundle::{Bundle, BundleError, Expected, MAX_BUNDLE_BYTES};
use entail::store::{InputFile, KeyId};
use entail::{now_ms, quoted};

use crate::args::path;
use crate::error::CliError;
use crate::session::Session;

#[derive(Args)]
pub struct BundleFileArg {
    /// The bundle
    #[arg(value_name = "FILE", value_parser = path::parser())]
    pub file: PathBuf,
}

#[derive(Args)]
pub struct TrustArgs {
    #[command(flatten)]
    pub file: BundleFileArg,
    /// Trust bundles that this key signed; repeat it for each [default: the signers of the home]
    #[arg(long = "signer", value_name = "FINGERPRINT")]
    pub signers: Vec<String>,
    /// Refuse a bundle of an earlier revision of the store
    #[arg(
        long,
        value_name = "REVISION",
        default_value_t = 0,
        hide_default_value = true
    )]
    pub at_least: u64,
}

/// Reads the text of a bundle.
///
/// # Errors
///
/// Fails if the file cannot be read, or is too large.
pub fn read(file: &Path) -> Result<Vec<u8>, CliError> {
    InputFile::open_given(file)
        .and_then(|opened| opened.read_to_limit(MAX_BUNDLE_BYTES))
        .map_err(|error| CliError::io(file.display(), &error.into()))
}

/// Reads a bundle that is trusted, and has not expired.
///
/// # Errors
///
/// Fails if it cannot be read, or is not trusted.
pub fn open(session: &Session, args: &TrustArgs) -> Result<Bundle, CliError> {
    let text = read(&args.file.file)?;
    let expected = expected(session, args)?;
    Bundle::open(&text, &expected).map_err(|error| {
        let is_untrusted = matches!(error, BundleError::UntrustedSigner(_));
        let error = CliError::from(entail::Error::from(error));
        if is_untrusted {
            error.with_remedies(vec![COMPARE.to_owned()])
        } else {
            error
        }
    })
}

/// How to find the signer to trust. The bundle itself proves nothing.
const COMPARE: &str = "add --signer with the fingerprint of the signer that entail bundle export printed, or that entail key list shows at the home; do not take it from the bundle";

fn expected(session: &Session, args: &TrustArgs) -> Result<Expected, CliError> {
    let mut expected = Expected {
        lowest_revision: args.at_least,
        now_ms: now_ms(),
        ..Expected::default()
    };
    for signer in &args.signers {
        let id: KeyId = signer.parse().map_err(|error| {
            let shown = quoted(signer);
            CliError::invalid(format!(
                "{shown} is not the fingerprint of a signer: {error}"
            ))
        })?;
        expected.signers.push(id.to_string());
    }
    if !expected.signers.is_empty() {
        return Ok(expected);
    }
    let keyring = session.home().ok().map(|home| home.trusted_keyring());
    let Some(keyring) = keyring.transpose()? else {
        return Err(CliError::invalid(
            "no signer of bundles is trusted: there is no home here, and no --signer",
        )
        .with_remedies(vec![COMPARE.to_owned()]));
    };
    let signers = keyring.authority().signers.iter();
    let unlimited = signers.filter(|signer| signer.scopes.is_none());
    expected.signers = unlimited.map(|signer| signer.id().to_string()).collect();
    expected.store = Some(keyring.store().to_string());
    Ok(expected)
}
