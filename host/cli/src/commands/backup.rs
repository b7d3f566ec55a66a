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
    let readers = keyring.authority().readers.iter();
    let alone = readers.filter(|readers| readers.recipients.len() < 2);
    let alone: Vec<&str> = alone.map(|readers| &*readers.organization).collect();
    if !alone.is_empty() {
        err!(Style::Warn => "note:"; " only this home's identity can open the secrets of {} in the backup; create a recovery key: entail key add-recipient --recovery FILE", alone.join(", "));
    }
    Ok(())
}
