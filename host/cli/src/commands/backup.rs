//! `entail backup`: writes a copy of the store.

use std::path::PathBuf;

use clap::Args;

use crate::args::path;
use crate::error::CliError;
use crate::output::{Style, err, out, print_json};
use crate::session::Session;
use entail_api::backup::Backup;

#[derive(Args)]
pub struct BackupArgs {
    /// The file to write, which must not exist
    #[arg(value_parser = path::parser())]
    pub file: PathBuf,
}

pub async fn backup(session: &Session, args: &BackupArgs) -> Result<(), CliError> {
    let entail = session.open()?;
    let backup = Backup {
        revision: entail
            .maintenance()
            .backup(&session.principal, &args.file)
            .await?,
        file: args.file.to_string_lossy().into_owned(),
    };
    if session.global.json {
        print_json(&backup);
        return Ok(());
    }
    out!(
        "{} is a copy of the store at revision {}",
        backup.file,
        backup.revision
    );
    let keyring = entail.keys().keyring(&session.principal).await?;
    let recipients = keyring.recipients();
    if recipients.recipients.len() < 2 {
        err!(Style::Warn => "note:"; " only this home's identity can open the backup; create a recovery key: entail key add-recipient --recovery FILE");
    }
    Ok(())
}
