//! Makes a bundle.
//!
//! It contains the facts of its scopes and of those above them, and the secrets that one of its
//! scopes can be granted, sealed to the recipients of the bundle alone. The change that records it
//! in the journal comes first: without it nothing leaves.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use entail_bundle::{
    BUILT_IN_POLICY, Bundle, BundleFile, Frame, MAX_INTEGER, MAX_LIFETIME_MS, Manifest,
    PolicyVersion, ProviderFacts, SealedSecret, Signature, digest_of, signed_bytes,
};
use entail_policy::ScopeFacts;
use entail_store::{
    Batch, Document, KeyError, Keyring, Keys, Recipient, Revision, SealContext, Tampering, seal_to,
    with_recipient,
};
use serde_json::json;

use crate::authorize::authorize_whole;
use crate::documents::policy::{ActivePolicy, active_policy_key};
use crate::documents::scope::{self, Scope};
use crate::entail::Entail;
use crate::error::Error;
use crate::principal::{Action, Principal};
use crate::resolve::chain::Chain;
use crate::resolve::request::Request;
use crate::resolve::unseal::check_hosts;
use crate::urls::base_url;
use entail_decision::guard;
use entail_decision::name::{ProviderId, ScopePath};
use entail_decision::provider::Provider;

/// The version of the contract that the built-in policy has.
const CONTRACT: &str = "0.2.0";

/// What to export.
#[derive(Clone, Debug)]
pub struct BundleExport {
    /// The scopes that may request, all of one organization.
    pub scopes: Vec<ScopePath>,
    /// The age recipients to seal the secrets to.
    pub recipients: Vec<String>,
    /// The providers; `None` means all that one of the scopes has a credential for, or a scope
    /// above it.
    pub providers: Option<Vec<ProviderId>>,
    /// How long it resolves, in milliseconds.
    pub lifetime_ms: u64,
}

/// A bundle that was made.
#[derive(Clone, Debug)]
pub struct ExportedBundle {
    /// The file, as JSON.
    pub text: String,
    /// What it says.
    pub manifest: Manifest,
    /// The fingerprint of the key that signed it.
    pub signer: String,
}

/// The documents of all scopes of a bundle and those above them, at one revision.
struct Tree {
    revision: Revision,
    keyring: Arc<Keyring>,
    scopes: BTreeMap<ScopePath, Arc<Scope>>,
}

impl Tree {
    fn chain(&self, path: &ScopePath) -> Result<Chain, Error> {
        let scopes = path.chain().map(|path| {
            let scope = self.scopes.get(&path).cloned();
            let scope = scope.ok_or_else(|| Error::UnknownScope(path.clone()))?;
            Ok((path, scope))
        });
        Ok(Chain {
            revision: self.revision,
            keyring: Arc::clone(&self.keyring),
            scopes: scopes.collect::<Result<_, Error>>()?,
        })
    }
}

/// What a bundle contains before its secrets are sealed.
#[derive(Default)]
struct Contents {
    providers: Vec<ProviderFacts>,
    /// The credentials that can be granted, by id, with the scopes that hold them.
    granted: BTreeMap<String, ScopePath>,
}

impl Entail {
    /// Makes a bundle, and records its recipients in the journal. The home needs a signer that may
    /// change the whole store, and an identity that opens the secrets.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`], [`Error::Recipient`], [`Error::UnknownScope`],
    /// [`Error::UnknownProvider`] if it cannot be made; [`Error::HostNotBound`],
    /// [`Error::Sealed`] if one of its secrets cannot be opened; else as [`Entail::change`].
    pub async fn export_bundle(
        &self,
        principal: &Principal,
        export: &BundleExport,
    ) -> Result<ExportedBundle, Error> {
        authorize_whole(principal, Action::Administer)?;
        let organization = organization_of(&export.scopes)?;
        let recipients = checked_recipients(&export.recipients)?;
        if !(1..=MAX_LIFETIME_MS).contains(&export.lifetime_ms) {
            return Err(Error::Invalid(
                "a bundle is valid for more than no time, and for at most 366 days".to_owned(),
            ));
        }
        self.documents
            .until_not_contended(|| async {
                let tree = self.read_tree(&organization, &export.scopes).await?;
                let keys = self.documents.store.keys();
                keys.check_not_limited(&tree.keyring).map_err(limited)?;
                let contents = self.contents(principal, export, &tree)?;
                let (secrets, blobs) = self.sealed(&tree, &contents, &recipients).await?;
                let record = json!({
                    "change": "export-bundle", "scopes": export.scopes,
                    "recipients": recipients, "credentials": contents.granted.keys().collect::<Vec<_>>(),
                    "lifetime_ms": export.lifetime_ms,
                });
                let batch = Batch::default();
                self.documents.commit(principal, tree.revision, batch, &record).await?;
                let receipt = self.documents.store.receipt().await?;
                let checkpoint = receipt.position.checkpoint;
                let now_ms = self.documents.now_ms();
                let manifest = Manifest {
                    kind: Manifest::kind(),
                    version: entail_bundle::VERSION,
                    critical: Vec::new(),
                    store: tree.keyring.store().to_string(),
                    lineage: tree.keyring.lineage().to_string(),
                    organization: organization.clone(),
                    revision: receipt.position.revision,
                    checkpoint: checkpoint.map(|digest| digest.to_string()).unwrap_or_default(),
                    issued_at_ms: now_ms,
                    expires_at_ms: now_ms.saturating_add(export.lifetime_ms),
                    policy: PolicyVersion {
                        digest: BUILT_IN_POLICY.to_owned(),
                        contract: CONTRACT.to_owned(),
                    },
                    recipients: recipients.clone(),
                    scopes: export.scopes.clone(),
                    providers: contents.providers,
                    secrets,
                };
                if receipt.position.revision != tree.revision + 1 {
                    return Err(Error::Contended);
                }
                self.signed(&tree.keyring, manifest, &blobs)
            })
            .await
    }

    fn signed(
        &self,
        keyring: &Keyring,
        manifest: Manifest,
        blobs: &[Vec<u8>],
    ) -> Result<ExportedBundle, Error> {
        let failed = |error: serde_json::Error| Error::Unavailable(error.to_string());
        let payload = serde_json::to_vec(&manifest).map_err(failed)?;
        let keys = self.documents.store.keys();
        let (key, signature) = keys.sign_for_others(keyring, &signed_bytes(&payload))?;
        let signature = Signature::new(&key.to_bytes(), &signature);
        let signer = signature.keyid.clone();
        let file = BundleFile::new(&payload, vec![signature], blobs);
        let text = serde_json::to_string(&file).map_err(failed)?;
        // What is larger than a reader accepts is found here.
        Bundle::read(text.as_bytes(), std::slice::from_ref(&signer))?;
        Ok(ExportedBundle {
            text,
            manifest,
            signer,
        })
    }

    async fn read_tree(
        &self,
        organization: &ScopePath,
        scopes: &[ScopePath],
    ) -> Result<Tree, Error> {
        let paths: BTreeSet<ScopePath> = scopes.iter().flat_map(ScopePath::chain).collect();
        let policy = active_policy_key(organization);
        let keys = paths.iter().map(scope::document_key).chain([policy]);
        let keys: Vec<_> = keys.collect();
        let mut snapshot = self.documents.store.read(&keys).await?;
        self.check_policy(organization, snapshot.documents.pop().flatten())?;
        let mut found = BTreeMap::new();
        for (path, document) in paths.into_iter().zip(snapshot.documents) {
            let document = document.ok_or_else(|| Error::UnknownScope(path.clone()))?;
            found.insert(path, document.body::<Scope>()?);
        }
        Ok(Tree {
            revision: snapshot.revision,
            keyring: snapshot.keyring,
            scopes: found,
        })
    }

    /// Fails unless the built-in policy decides for the organization.
    fn check_policy(
        &self,
        organization: &ScopePath,
        document: Option<Arc<Document>>,
    ) -> Result<(), Error> {
        let active = document.map(|document| document.body::<ActivePolicy>());
        let component = active
            .transpose()?
            .and_then(|active| active.current.component);
        let built_in = self.serving.built_in_digest();
        let digest = component.unwrap_or(built_in).to_string();
        if digest == BUILT_IN_POLICY {
            return Ok(());
        }
        Err(Error::Invalid(format!(
            "{organization} uses the policy {digest}, and bundles are decided by the built-in \
             policy alone: activate that one, or resolve with this home"
        )))
    }

    fn contents(
        &self,
        principal: &Principal,
        export: &BundleExport,
        tree: &Tree,
    ) -> Result<Contents, Error> {
        let chains: Vec<Chain> = export
            .scopes
            .iter()
            .map(|path| tree.chain(path))
            .collect::<Result<_, _>>()?;
        let keys = self.documents.store.keys();
        let mut contents = Contents::default();
        for provider in self.exported_providers(export, tree)? {
            let facts =
                self.facts_of(principal, provider, &chains, &keys, &mut contents.granted)?;
            contents.providers.push(ProviderFacts {
                provider: provider.clone(),
                scopes: facts,
            });
        }
        Ok(contents)
    }

    fn exported_providers(
        &self,
        export: &BundleExport,
        tree: &Tree,
    ) -> Result<Vec<&Provider>, Error> {
        if let Some(named) = &export.providers {
            let distinct: BTreeSet<&ProviderId> = named.iter().collect();
            let providers = distinct.into_iter().map(|id| self.provider(id));
            return providers.collect();
        }
        let all = tree.scopes.values();
        let credentials = all.flat_map(|scope| &scope.credentials);
        let found: BTreeSet<&ProviderId> = credentials.map(|found| &found.provider).collect();
        found.into_iter().map(|id| self.provider(id)).collect()
    }

    /// The facts of all scopes for one provider. Adds the credentials that can be granted.
    fn facts_of(
        &self,
        principal: &Principal,
        provider: &Provider,
        chains: &[Chain],
        keys: &Keys,
        granted: &mut BTreeMap<String, ScopePath>,
    ) -> Result<Vec<ScopeFacts>, Error> {
        let mut scopes = BTreeMap::new();
        for chain in chains {
            let Some((path, _)) = chain.scopes.first() else {
                continue;
            };
            let request = Request::new(path.clone(), provider.id.clone());
            let now_ms = self.documents.now_ms();
            let facts = chain.facts(&request, provider, principal, now_ms, keys)?;
            for id in guard::grantable(&facts) {
                if let Some((holder, _)) = chain.credential(id) {
                    granted.insert(id.to_owned(), holder.clone());
                }
            }
            for mut scope in facts.chain {
                for credential in &mut scope.credentials {
                    let expires_at_ms = &mut credential.expires_at_ms;
                    *expires_at_ms = expires_at_ms.map(|end| end.min(MAX_INTEGER));
                }
                scopes.insert(scope.path.clone(), scope);
            }
        }
        Ok(scopes.into_values().collect())
    }

    /// The secrets of a bundle, and their age files.
    async fn sealed(
        &self,
        tree: &Tree,
        contents: &Contents,
        recipients: &[String],
    ) -> Result<(BTreeMap<String, SealedSecret>, Vec<Vec<u8>>), Error> {
        let mut secrets = BTreeMap::new();
        let mut blobs = Vec::new();
        for (id, holder) in &contents.granted {
            let chain = tree.chain(holder)?;
            let (_, credential) = chain.credential(id).ok_or_else(|| {
                let what = format!("credential {id}");
                Tampering::new(entail_store::Fault::Missing, what, "is missing")
            })?;
            let provider = self.provider(&credential.provider)?;
            let base_url = base_url(provider, credential);
            check_hosts(provider, holder, credential, base_url.as_deref())?;
            let fields = self.open_secret(&tree.keyring, holder, credential).await?;
            let context = SealContext {
                // No epoch: it is sealed to the recipients themselves.
                epoch: 0,
                ..credential.seal_context(holder, tree.keyring.store())
            };
            let sealed = seal_to(recipients, &context, &fields);
            let sealed = sealed.map_err(entail_store::Error::Seal)?;
            let secret = SealedSecret {
                blob: digest_of(&sealed),
                frame: frame_of(holder, context),
                parameters: credential.version.parameters.clone(),
                destination: credential.version.destination.clone(),
                base_url,
            };
            secrets.insert(id.clone(), secret);
            blobs.push(sealed);
        }
        Ok((secrets, blobs))
    }
}

/// What the frame of a secret says, as in a manifest.
fn frame_of(holder: &ScopePath, context: SealContext) -> Frame {
    Frame {
        store: context.store.to_string(),
        scope: holder.clone(),
        credential: context.credential,
        version: context.version,
        provider: context.provider,
        mode: context.mode,
        hosts: context.hosts,
        destination: context.destination.to_string(),
        epoch: context.epoch,
        fields: context.fields,
    }
}

/// Says what a limited signer cannot do here.
fn limited(error: KeyError) -> Error {
    match error {
        KeyError::OutsideDelegation { .. } => Error::Invalid(
            "the signer of this machine may change only some scopes, and a bundle speaks for the \
             whole organization; export it on a machine with a signer that may change everything"
                .to_owned(),
        ),
        error => error.into(),
    }
}

/// The organization of the scopes, which is one.
fn organization_of(scopes: &[ScopePath]) -> Result<ScopePath, Error> {
    let first = scopes
        .first()
        .ok_or_else(|| Error::Invalid("a bundle is for at least one scope".to_owned()))?;
    let organization = first.organization();
    match scopes
        .iter()
        .find(|scope| scope.organization() != organization)
    {
        None => Ok(organization),
        Some(other) => Err(Error::Invalid(format!(
            "a bundle is for one organization, and {first} and {other} are of two: export one for \
             each"
        ))),
    }
}

/// The keys of the recipients, without repetitions.
fn checked_recipients(keys: &[String]) -> Result<Vec<String>, Error> {
    let mut recipients: Vec<Recipient> = Vec::new();
    for key in keys {
        let recipient = Recipient::new(key, "bundle", 0)?;
        if !recipients.iter().any(|known| known.key == recipient.key) {
            recipients = with_recipient(&recipients, recipient)?;
        }
    }
    if recipients.is_empty() {
        return Err(Error::Invalid(
            "a bundle has at least one recipient".to_owned(),
        ));
    }
    Ok(recipients
        .into_iter()
        .map(|recipient| recipient.key)
        .collect())
}
