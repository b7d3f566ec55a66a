//! Finding a share in the text of a file.

use std::path::Path;

use super::error::ShareError;
use super::share::{self, InvalidShare, Share};
use crate::secret::Secret;

/// What the line of a public key begins with, as in an identity file of the age tools.
pub(super) const PUBLIC_KEY: &str = "# public key: ";

/// Finds the share in a text; `None` if nothing in it is meant to be one.
pub(crate) fn find_share(file: &Path, text: &Secret) -> Result<Option<Share>, ShareError> {
    let file = || file.to_owned();
    let Some(text) = text.expose_text() else {
        return Ok(None);
    };
    let lines = || text.trim_start_matches('\u{feff}').lines().map(str::trim);
    let mut contents = lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let Some(line) = contents.clone().find(|line| share::is_share(line)) else {
        return Ok(None);
    };
    if contents.nth(1).is_some() {
        return Err(ShareError::NotOne(file()));
    }
    let share = Share::parse(line).map_err(|error| match error {
        InvalidShare::Damaged => ShareError::Damaged(file()),
        InvalidShare::Newer => ShareError::Newer(file()),
    })?;
    let mut public_keys = lines().filter_map(|line| line.strip_prefix(PUBLIC_KEY));
    if public_keys.any(|key| share::tag_of(key.trim()) != share.key) {
        return Err(ShareError::ForeignPublicKey(file()));
    }
    Ok(Some(share))
}
