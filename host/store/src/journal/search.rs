//! Searching the journal for what a change wrote.

use crate::backend::BackendError;
use crate::digest::Digest;
use crate::error::Error;
use crate::journal::entry::JournalEntry;
use crate::journal::position::Revision;
use crate::row::{DocumentKey, JournalRow};

/// Whether any change wrote these bytes as the document `key`. Reads the whole journal, a page
/// after a revision at a time.
pub(crate) async fn was_written<F>(
    page_after: impl Fn(Revision) -> F,
    key: &DocumentKey,
    bytes: &[u8],
) -> Result<bool, Error>
where
    F: Future<Output = Result<Vec<JournalRow>, BackendError>>,
{
    let digest = Digest::of(bytes);
    let wrote =
        |row: &JournalRow| JournalEntry::parse(row).is_ok_and(|entry| entry.wrote(key, digest));
    let mut after = 0;
    loop {
        let rows = page_after(after).await?;
        match rows.last() {
            None => return Ok(false),
            Some(_) if rows.iter().any(wrote) => return Ok(true),
            Some(last) => after = last.revision,
        }
    }
}
