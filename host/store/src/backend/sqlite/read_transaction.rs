//! Read transactions: a consistent snapshot of the database for as long as it is needed.

use std::sync::{Arc, MutexGuard};

use async_trait::async_trait;
use rusqlite::types::Value;
use rusqlite::{Row, params_from_iter};

use super::connection::{Checked, Guarded};
use super::rows::{self, at_most, check_order};
use crate::backend::{BackendError, ReadTransaction, RowCounts};
use crate::blocking::off_runtime;
use crate::digest::Digest;
use crate::journal::position::Revision;
use crate::keyring::KeyringNumber;
use crate::row::{BlobRow, DocumentKey, JournalRow};
use crate::statement::Statement;
use crate::tampering::Tampering;

/// A connection within a read transaction.
pub(super) struct SqliteReadTransaction(Arc<Guarded>);

impl SqliteReadTransaction {
    pub(super) fn begin(connection: Guarded) -> Result<Self, BackendError> {
        connection.lock()?.begin()?;
        Ok(SqliteReadTransaction(Arc::new(connection)))
    }

    pub(super) fn lock(&self) -> Result<MutexGuard<'_, Checked>, BackendError> {
        self.0.lock()
    }

    /// Reads within the transaction, off the async runtime.
    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Checked) -> Result<T, BackendError> + Send + 'static,
    ) -> Result<T, BackendError> {
        let connection = Arc::clone(&self.0);
        off_runtime(move || work(&*connection.lock()?)).await?
    }

    /// Returns all rows of a query.
    async fn rows<T: Send + 'static>(
        &self,
        query: &'static str,
        parameters: Vec<Value>,
        read: impl Fn(&Row<'_>) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<Vec<T>, BackendError> {
        self.read(move |checked| {
            let mut statement = checked.begun().prepare_cached(query)?;
            let rows = statement
                .query_map(params_from_iter(parameters), read)?
                .collect::<Result<_, _>>()?;
            Ok(rows)
        })
        .await
    }
}

#[async_trait]
impl ReadTransaction for SqliteReadTransaction {
    async fn counts(&self) -> Result<RowCounts, BackendError> {
        self.read(|checked| Ok(rows::counts(checked.begun())?))
            .await
    }

    async fn damages(&self) -> Result<Vec<Tampering>, BackendError> {
        self.read(|checked| rows::damages(checked.begun())).await
    }

    async fn journal(
        &self,
        after: Revision,
        limit: usize,
    ) -> Result<Vec<JournalRow>, BackendError> {
        self.read(move |checked| rows::entries(checked.begun(), after, limit))
            .await
    }

    async fn keyrings(&self, after: KeyringNumber) -> Result<Vec<Statement>, BackendError> {
        self.read(move |checked| rows::keyrings(checked.begun(), after))
            .await
    }

    async fn heartbeat(&self) -> Result<Option<Statement>, BackendError> {
        self.read(|checked| rows::heartbeat(checked.begun())).await
    }

    async fn documents(
        &self,
        after: Option<&DocumentKey>,
        limit: usize,
    ) -> Result<Vec<(DocumentKey, Vec<u8>)>, BackendError> {
        let query = "SELECT kind, name, payload FROM documents
             WHERE (kind, name) > (?1, ?2) ORDER BY kind, name LIMIT ?3";
        let (kind, name) = after.map_or(("", ""), |key| (key.kind.as_str(), key.name.as_str()));
        let parameters = vec![
            kind.to_owned().into(),
            name.to_owned().into(),
            at_most(limit).into(),
        ];
        let documents = self
            .rows(query, parameters, |row| {
                let key = DocumentKey::new(row.get::<_, String>(0)?, row.get::<_, String>(1)?);
                Ok((key, row.get(2)?))
            })
            .await?;
        check_order("documents", after, documents.iter().map(|(key, _)| key))?;
        Ok(documents)
    }

    async fn blobs(&self, after: Option<i64>, limit: usize) -> Result<Vec<BlobRow>, BackendError> {
        let query = match after {
            None => {
                "SELECT rowid, digest, bytes FROM blobs NOT INDEXED
                 WHERE rowid >= ?1 ORDER BY rowid LIMIT ?2"
            }
            Some(_) => {
                "SELECT rowid, digest, bytes FROM blobs NOT INDEXED
                 WHERE rowid > ?1 ORDER BY rowid LIMIT ?2"
            }
        };
        let parameters = vec![after.unwrap_or(i64::MIN).into(), at_most(limit).into()];
        let blobs = self
            .rows(query, parameters, |row| {
                Ok(BlobRow {
                    place: row.get(0)?,
                    name: row.get(1)?,
                    bytes: row.get(2)?,
                })
            })
            .await?;
        check_order("blobs", after, blobs.iter().map(|blob| blob.place))?;
        Ok(blobs)
    }

    async fn nodes(
        &self,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, Vec<u8>)>, BackendError> {
        // The root has the empty path, which comes first.
        let query = match after {
            None => "SELECT path, node FROM tree WHERE path >= ?1 ORDER BY path LIMIT ?2",
            Some(_) => "SELECT path, node FROM tree WHERE path > ?1 ORDER BY path LIMIT ?2",
        };
        let from = after.unwrap_or_default().to_vec();
        let parameters = vec![from.into(), at_most(limit).into()];
        let nodes: Vec<(Vec<u8>, Vec<u8>)> = self
            .rows(query, parameters, |row| Ok((row.get(0)?, row.get(1)?)))
            .await?;
        check_order("tree", after, nodes.iter().map(|(path, _)| path.as_slice()))?;
        Ok(nodes)
    }

    async fn blob(&self, digest: &Digest) -> Result<Option<Vec<u8>>, BackendError> {
        let digest = *digest;
        self.read(move |checked| Ok(rows::blob(checked.begun(), &digest)?))
            .await
    }
}
