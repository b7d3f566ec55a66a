//! The names of documents.

use std::sync::Arc;

use super::Store;
use super::cache::CachedList;
use crate::error::Error;
use crate::tree;

impl Store {
    /// Returns the names of the documents of `kind` that are `under` or below it, after
    /// `after`, in the order of their segments, at most `limit`. An empty `under` returns all
    /// names of the kind.
    ///
    /// The list is proven: it has all such documents and no others. The first call after a
    /// change reads the part of the document tree above and below `under`.
    ///
    /// # Errors
    ///
    /// The same as [`Store::read`].
    pub async fn names(
        &self,
        kind: &str,
        under: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>, Error> {
        let names = self.list(tree::prefix(kind, under)).await?;
        let start = match after {
            Some(after) => {
                let after = tree::prefix(kind, after);
                names.partition_point(|name| tree::prefix(kind, name) <= after)
            }
            None => 0,
        };
        Ok(names.iter().skip(start).take(limit).cloned().collect())
    }

    /// Returns the names of all documents whose keys begin with `prefix`, in order.
    async fn list(&self, prefix: Vec<u8>) -> Result<Arc<[String]>, Error> {
        loop {
            let head = self.fetch(&[]).await?.head;
            if let Some(list) = &self.local.cache().list
                && list.position == head.position
                && list.prefix == prefix
            {
                return Ok(Arc::clone(&list.names));
            }
            let anchored = self.local.anchor.read()?;
            let rows = self.backend.read_list(&prefix, head.start()).await?;
            let head = head.advance_to(&rows.journal, anchored)?;
            if head.position.revision < rows.journal.newest {
                continue;
            }
            head.check_anchor(anchored)?;
            let listed = tree::list(head.root(), &prefix, &rows.nodes)?;
            let names: Arc<[String]> = listed.into_iter().map(|key| key.name).collect();
            self.local.cache().list = Some(CachedList {
                position: head.position,
                prefix,
                names: Arc::clone(&names),
            });
            return Ok(names);
        }
    }
}
