//! A bundle that was verified.

use entail_decision::name::ScopePath;

use crate::check::check;
use crate::error::{BundleError, malformed};
use crate::file::BundleFile;
use crate::manifest::Manifest;

/// How far the clock may be behind that of the machine that made a bundle, in milliseconds.
const CLOCK_SKEW_MS: u64 = 5 * 60 * 1000;

/// What a bundle must be to count.
#[derive(Clone, Debug, Default)]
pub struct Expected {
    /// The fingerprints of the keys that may sign it: `ed25519:…`.
    pub signers: Vec<String>,
    /// The id of its store; `None` accepts any.
    pub store: Option<String>,
    /// Its organization; `None` accepts any.
    pub organization: Option<ScopePath>,
    /// The lowest revision that is accepted: the newest that was accepted before.
    pub lowest_revision: u64,
    /// The time, in milliseconds since 1970-01-01T00:00:00Z.
    pub now_ms: u64,
}

/// A bundle that was verified.
#[derive(Clone, Debug)]
pub struct Bundle {
    pub(crate) manifest: Manifest,
    file: BundleFile,
}

impl Bundle {
    /// Reads a bundle, and verifies all but its blobs, which are verified when they are used.
    ///
    /// # Errors
    ///
    /// [`BundleError`], whatever the text contains.
    pub fn open(text: &[u8], expected: &Expected) -> Result<Self, BundleError> {
        let bundle = Self::read(text, &expected.signers)?;
        bundle.check(expected)?;
        Ok(bundle)
    }

    /// Reads a bundle that is signed by keys with these fingerprints. It may have expired, or be of
    /// any store.
    ///
    /// # Errors
    ///
    /// [`BundleError`], whatever the text contains.
    pub fn read(text: &[u8], signers: &[String]) -> Result<Self, BundleError> {
        let file = BundleFile::parse(text)?;
        let manifest = file.verify(signers)?;
        check(&manifest).map_err(malformed)?;
        let mut named: Vec<&String> = manifest
            .secrets
            .values()
            .map(|secret| &secret.blob)
            .collect();
        named.sort_unstable();
        named.dedup();
        if !file.blob_names().eq(named) {
            return Err(malformed("its blobs are not those that it names"));
        }
        Ok(Bundle { manifest, file })
    }

    /// The fingerprints of the keys that the signatures of a bundle name. Verifies nothing.
    ///
    /// # Errors
    ///
    /// [`BundleError::Malformed`], [`BundleError::TooLarge`], [`BundleError::Newer`].
    pub fn named_signers(text: &[u8]) -> Result<Vec<String>, BundleError> {
        let file = BundleFile::parse(text)?;
        Ok(file.named_signers().map(str::to_owned).collect())
    }

    /// The fingerprints of the keys that signed it.
    pub fn signers(&self) -> impl Iterator<Item = &str> {
        self.file.named_signers()
    }

    /// What it says.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// A sealed secret that the manifest names: an age file.
    ///
    /// # Errors
    ///
    /// [`BundleError::ChangedBlob`] if it has another digest.
    pub fn blob(&self, digest: &str) -> Result<Vec<u8>, BundleError> {
        self.file.blob(digest)
    }

    /// Verifies every blob, and returns how many there are.
    ///
    /// # Errors
    ///
    /// [`BundleError::ChangedBlob`].
    pub fn check_blobs(&self) -> Result<usize, BundleError> {
        let mut blobs = self.file.blob_names();
        blobs.try_fold(0, |count, digest| Ok(count + self.blob(digest).map(|_| 1)?))
    }

    /// Fails unless it is what is expected.
    ///
    /// # Errors
    ///
    /// [`BundleError::OtherStore`], [`BundleError::OtherOrganization`],
    /// [`BundleError::Outdated`], [`BundleError::Expired`], [`BundleError::NotYetValid`].
    pub fn check(&self, expected: &Expected) -> Result<(), BundleError> {
        let manifest = &self.manifest;
        if expected
            .store
            .as_ref()
            .is_some_and(|store| *store != manifest.store)
        {
            return Err(BundleError::OtherStore);
        }
        if expected
            .organization
            .as_ref()
            .is_some_and(|organization| *organization != manifest.organization)
        {
            return Err(BundleError::OtherOrganization(
                manifest.organization.clone(),
            ));
        }
        if manifest.revision < expected.lowest_revision {
            return Err(BundleError::Outdated {
                found: manifest.revision,
                required: expected.lowest_revision,
            });
        }
        if expected.now_ms >= manifest.expires_at_ms {
            let expires_at_ms = manifest.expires_at_ms;
            return Err(BundleError::Expired { expires_at_ms });
        }
        if expected.now_ms.saturating_add(CLOCK_SKEW_MS) < manifest.issued_at_ms {
            let issued_at_ms = manifest.issued_at_ms;
            return Err(BundleError::NotYetValid { issued_at_ms });
        }
        Ok(())
    }
}
