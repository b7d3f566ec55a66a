//! An open installation: how it is opened, and its handles.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use entail_policy::{Engine, EngineConfig};
use entail_store::{Access, IdentitySource, Keys, LogHead};

use crate::audit::DecisionLog;
use crate::authorize::authorize_whole;
use crate::clock::{Clock, SystemClock};
use crate::documents::store::DocumentStore;
use crate::error::Error;
use crate::home::Home;
use crate::logs::journalled_log_heads;
use crate::policies::{ServingPolicies, ShadowLog};
use crate::principal::{Action, Principal};
use crate::recovery::last_verified::LastVerified;
use crate::resolve::secret_cache::SecretCache;
use entail_decision::name::ProviderId;
use entail_decision::provider::{Catalog, Provider};

/// The built-in policy, built from `guest/default`.
pub const DEFAULT_POLICY: &[u8] = include_bytes!("../../../guest/default/default-policy.wasm");

/// How long an opened secret is cached by default: long enough for a burst of requests,
/// short enough that an idle process holds none.
const CACHE_SECRETS_FOR: Duration = Duration::from_secs(30);

/// How to open an [`Entail`].
#[derive(Clone, Debug)]
pub struct Options {
    /// How long an opened secret may be cached; `None` turns the cache off.
    pub cache_secrets_for: Option<Duration>,
    /// How policies run.
    pub engine: EngineConfig,
    /// Whether other processes, such as the command line, may use the home at the same
    /// time. A service that needs no others is faster alone: see [`Access`].
    pub access: Access,
    /// The clock.
    pub clock: Arc<dyn Clock>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            cache_secrets_for: Some(CACHE_SECRETS_FOR),
            engine: EngineConfig::default(),
            access: Access::Shared,
            clock: Arc::new(SystemClock),
        }
    }
}

/// An open installation. Share it between threads and tasks in an [`Arc`].
pub struct Entail {
    pub(crate) documents: DocumentStore,
    pub(crate) serving: Arc<ServingPolicies>,
    pub(crate) log: Arc<DecisionLog>,
    pub(crate) shadow_log: Arc<ShadowLog>,
    pub(crate) secret_cache: SecretCache,
    pub(crate) last_verified: LastVerified,
    home: Home,
    catalog: Catalog,
}

impl Entail {
    /// Opens a home with its own keys. An identity under a passphrase stays locked.
    /// Blocks on the disk.
    ///
    /// # Errors
    ///
    /// [`Error::Home`], [`Error::Keys`], [`Error::Unavailable`].
    pub fn open(home: &Home, options: Options) -> Result<Self, Error> {
        Self::with_keys(home, home.keys(IdentitySource::Directory)?, options)
    }

    /// Opens a home with `keys`, which the caller may have unlocked. Blocks on the disk.
    ///
    /// # Errors
    ///
    /// [`Error::Home`], [`Error::Unavailable`].
    pub fn with_keys(home: &Home, keys: Keys, options: Options) -> Result<Self, Error> {
        let mut engine = options.engine;
        if engine.code_cache.is_none() {
            engine.code_cache = Some(home.code_cache());
        }
        let store = home.store_with(keys, options.access)?;
        let log = Arc::new(DecisionLog::open(home, Arc::clone(&options.clock))?);
        Ok(Entail {
            documents: DocumentStore::new(store, options.clock).with_log(Arc::clone(&log)),
            serving: ServingPolicies::new(Engine::new(engine), DEFAULT_POLICY),
            home: home.clone(),
            catalog: home.catalog()?,
            shadow_log: Arc::new(ShadowLog::at(home.shadow_log())),
            log,
            secret_cache: SecretCache::new(options.cache_secrets_for),
            last_verified: LastVerified::default(),
        })
    }

    /// The public key of this machine's newest identity; `None` without an unlocked one.
    pub(crate) fn own_recipient(&self) -> Option<String> {
        let own = self.documents.store.keys().own_recipients("", 0).ok()?;
        own.first().map(|own| own.key.clone())
    }

    /// Whether an identity is unlocked. Without one no secret can be opened.
    pub fn can_unseal(&self) -> bool {
        self.documents.store.keys().can_unseal()
    }

    /// The known providers.
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// The provider with this id.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownProvider`], which lists the known ones.
    pub fn provider(&self, id: &ProviderId) -> Result<&Provider, Error> {
        Ok(self.catalog.require(id)?)
    }

    /// The present end of the decision log, for a place outside of it that a power cut or
    /// somebody with access to the log cannot change: [`verify_log`] checks that the log still
    /// contains it. What it covers is synced first. `None` if the log has no head: it is not
    /// a regular file, or its key cannot be created.
    ///
    /// [`verify_log`]: crate::verify_log
    ///
    /// # Errors
    ///
    /// [`Error::NotAuthorized`]; [`Error::Home`] if the log cannot be read or synced.
    pub async fn log_head(&self, principal: &Principal) -> Result<Option<LogHead>, Error> {
        authorize_whole(principal, Action::View)?;
        self.log.head().await
    }

    /// The ends of this home's decision log that the journal contains: what the log was when this
    /// machine made its changes. [`verify_log`] checks that the log still contains them.
    ///
    /// [`verify_log`]: crate::verify_log
    ///
    /// # Errors
    ///
    /// [`Error::NotAuthorized`]; [`Error::Tampered`], [`Error::Unavailable`]; [`Error::Home`] if
    /// the log cannot be read.
    pub async fn journalled_log_heads(&self, principal: &Principal) -> Result<Vec<LogHead>, Error> {
        let store = &self.documents.store;
        journalled_log_heads(&self.home, principal, store).await
    }

    /// The open home.
    pub(crate) fn home(&self) -> &Home {
        &self.home
    }
}

impl fmt::Debug for Entail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entail")
            .field("store", &self.documents.store)
            .field("engine", self.serving.engine())
            .finish_non_exhaustive()
    }
}
