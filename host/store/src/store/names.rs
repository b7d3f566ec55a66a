//! The names of documents.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Store;
use super::cache::Names;
use super::read::PAGE;
use crate::backend::ReadTransaction;
use crate::error::Error;
use crate::journal::head::JournalHead;
use crate::row::DocumentKey;
use crate::tampering::{Fault, Tampering};
use crate::tree;

impl Store {
    /// Returns the names of the documents of `kind` that are `under` or below it, after
    /// `after`, in byte order, at most `limit`. An empty `under` returns all names of the
    /// kind.
    ///
    /// The names are verified: the first call after a change reads all names and the
    /// whole document tree, and compares them.
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
        let all = self.all_names().await?;
        let is_under = |name: &str| match name.strip_prefix(under) {
            Some(below) => under.is_empty() || below.is_empty() || below.starts_with('/'),
            None => false,
        };
        let from = after.filter(|after| *after > under).unwrap_or(under);
        let start = all.partition_point(|key| (&*key.kind, &*key.name) < (kind, from));
        let names = all
            .iter()
            .skip(start)
            // Names with the same prefix are adjacent.
            .take_while(|key| key.kind == kind && key.name.starts_with(under))
            .map(|key| &key.name)
            .filter(|name| is_under(name) && after.is_none_or(|after| name.as_str() > after))
            .take(limit);
        Ok(names.cloned().collect())
    }

    /// Returns the keys of all documents, in order.
    async fn all_names(&self) -> Result<Names, Error> {
        let mut head = self.fetch(&[]).await?.head;
        if let Some((position, names)) = &self.local.cache().names
            && *position == head.position
        {
            return Ok(Arc::clone(names));
        }
        let anchored = self.local.anchor.read()?;
        let snapshot = self.backend.begin_read().await?;
        loop {
            let before = head.position;
            let rows = snapshot
                .journal(before.revision.saturating_sub(1), PAGE)
                .await?;
            head = head.advance(&rows, anchored)?;
            if head.position == before {
                break;
            }
        }
        head.check_anchor(anchored)?;
        let names: Names = verified_names(&*snapshot, &head).await?.into();
        self.local.cache().names = Some((head.position, Arc::clone(&names)));
        Ok(names)
    }
}

/// Reads the keys of all documents, and compares them with the document tree.
async fn verified_names(
    snapshot: &dyn ReadTransaction,
    head: &JournalHead,
) -> Result<Vec<DocumentKey>, Error> {
    let mut nodes = BTreeMap::new();
    let mut after: Option<Vec<u8>> = None;
    loop {
        let page = snapshot.nodes(after.as_deref(), PAGE).await?;
        let Some((last, _)) = page.last() else {
            break;
        };
        after = Some(last.clone());
        nodes.extend(page);
    }
    let mut missing = tree::places(head.root(), &nodes)?;
    let mut names: Vec<DocumentKey> = Vec::with_capacity(missing.len());
    loop {
        let page = snapshot.names(names.last(), PAGE).await?;
        if page.is_empty() {
            break;
        }
        for key in &page {
            if !missing.remove(&tree::place(key)) {
                return Err(Tampering::new(Fault::Extra, key, "is not in the journal").into());
            }
        }
        names.extend(page);
    }
    if missing.is_empty() {
        return Ok(names);
    }
    let (found, expected) = (names.len(), names.len() + missing.len());
    let reason = format!("has {found} entries, but the journal describes {expected}");
    Err(Tampering::new(Fault::Missing, "the list of documents", reason).into())
}
