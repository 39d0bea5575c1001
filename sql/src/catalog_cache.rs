//! The newest catalog this process knows, shared by its sessions.
//!
//! ```text
//! first use          scan /system/catalog; nothing there: write the bootstrap catalog
//! DDL committed here `install`: visible to the next statement of every session of this process
//! DDL elsewhere      the version key is looked at in the background when the last look is older
//!                    than CHECK_INTERVAL, and in the foreground when a name was not found
//! ```
//!
//! What is not here yet (protocol.md, rule 22): leases on descriptors. Until they exist a session
//! of another node may use the old schema for up to CHECK_INTERVAL after a DDL commit.

use crate::error::{SqlError, SqlResult};
use catalog::{Catalog, bootstrap, persistence};
use core_domain::{
    KvStore, KvTransaction, LockMode, LockedValue, ReadAt, ScanOptions, TxnOptions, WaitPolicy,
};
use parking_lot::RwLock;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How old the knowledge of the catalog version may get before it is looked at again.
const CHECK_INTERVAL: Duration = Duration::from_millis(250);

pub(crate) struct CatalogCache {
    kv: Arc<dyn KvStore>,
    current: RwLock<Option<Arc<Catalog>>>,
    start: Instant,
    /// Milliseconds since `start`.
    checked_at_ms: AtomicU64,
    checking: AtomicBool,
    loading: tokio::sync::Mutex<()>,
}

impl CatalogCache {
    pub fn new(kv: Arc<dyn KvStore>) -> Self {
        Self {
            kv,
            current: RwLock::new(None),
            start: Instant::now(),
            checked_at_ms: AtomicU64::new(0),
            checking: AtomicBool::new(false),
            loading: tokio::sync::Mutex::new(()),
        }
    }

    /// The catalog known now, loaded if there is none. Starts a look at the version in the
    /// background if the last one is too old.
    pub async fn current(self: &Arc<Self>) -> SqlResult<Arc<Catalog>> {
        let known = self.known();
        match known {
            Some(catalog) => Ok(catalog),
            None => self.refresh().await,
        }
    }

    /// The same without waiting; `None` before the first load.
    pub fn known(self: &Arc<Self>) -> Option<Arc<Catalog>> {
        let known = self.current.read().clone()?;
        self.look_if_due();
        Some(known)
    }

    fn look_if_due(self: &Arc<Self>) {
        let now = self.start.elapsed().as_millis() as u64;
        let age = now.saturating_sub(self.checked_at_ms.load(Ordering::Relaxed));
        if age > CHECK_INTERVAL.as_millis() as u64 && !self.checking.swap(true, Ordering::AcqRel) {
            let cache = self.clone();
            tokio::spawn(async move {
                if let Err(error) = cache.refresh().await {
                    tracing::debug!(%error, "cannot look at the catalog version");
                }
                cache.checking.store(false, Ordering::Release);
            });
        }
    }

    /// The version of [`known`](Self::known).
    pub fn known_version(self: &Arc<Self>) -> Option<u64> {
        self.look_if_due();
        self.current.read().as_ref().map(|known| known.version())
    }

    /// A catalog that a commit of this process made current.
    pub fn install(&self, catalog: Arc<Catalog>) {
        let mut current = self.current.write();
        if current.as_ref().is_none_or(|known| known.version() < catalog.version()) {
            *current = Some(catalog);
        }
    }

    /// Looks at the version now and loads what is newer.
    pub async fn refresh(&self) -> SqlResult<Arc<Catalog>> {
        let _one_at_a_time = self.loading.lock().await;
        let options = TxnOptions { read_only: true, ..TxnOptions::default() };
        let txn = self.kv.begin(options).await?;
        txn.begin_statement().await?;
        let version = txn.get(&persistence::version_key(), ReadAt::Latest).await?;
        let known = self.current.read().clone();
        let now = self.start.elapsed().as_millis() as u64;
        if let (Some(known), Some(version)) = (known, &version)
            && persistence::decode_version(version)? == known.version()
        {
            self.checked_at_ms.store(now, Ordering::Relaxed);
            return Ok(known);
        }
        let catalog = match load(&*txn, ReadAt::Snapshot).await? {
            Some(catalog) => catalog,
            None => self.bootstrap().await?,
        };
        self.install(Arc::new(catalog));
        self.checked_at_ms.store(now, Ordering::Relaxed);
        let current = self.current.read().clone();
        current.ok_or_else(|| SqlError::internal("the catalog was not installed"))
    }

    /// Writes what a new cluster contains, unless another node was faster.
    async fn bootstrap(&self) -> SqlResult<Catalog> {
        let txn = self.kv.begin(TxnOptions::default()).await?;
        txn.begin_statement().await?;
        let key = persistence::version_key();
        let locked = txn.lock(&[key], LockMode::Exclusive, WaitPolicy::Wait(None)).await?;
        if let [LockedValue::Locked { value: Some(_), .. }] = locked.as_slice() {
            let found = load(&*txn, ReadAt::Latest).await?;
            txn.rollback().await;
            return found.ok_or_else(|| SqlError::internal("a catalog version without a catalog"));
        }
        let writes = bootstrap::writes();
        let keys: Vec<_> = writes.iter().map(|(key, _)| key.clone()).collect();
        txn.lock(&keys, LockMode::Exclusive, WaitPolicy::Wait(None)).await?;
        for (key, value) in writes {
            txn.put(key, value)?;
        }
        txn.commit().await?;
        for database in bootstrap::catalog().databases() {
            let start = core_domain::Key::group_start(database.group);
            if let Err(error) = self.kv.split_at(&start).await {
                tracing::warn!(%error, database = database.name, "no range of its own yet");
            }
        }
        Ok(bootstrap::catalog())
    }
}

/// Everything under /system/catalog, as the transaction sees it.
pub(crate) async fn load(txn: &dyn KvTransaction, read_at: ReadAt) -> SqlResult<Option<Catalog>> {
    let mut span = Some(persistence::span());
    let mut pairs = Vec::new();
    while let Some(part) = span {
        let page = txn.scan(&part, ScanOptions { read_at, ..ScanOptions::default() }).await?;
        pairs.extend(page.rows);
        span = page.rest;
    }
    Ok(Catalog::load(pairs)?)
}
