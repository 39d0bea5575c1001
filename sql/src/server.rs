//! What the sessions of one process share: the store, the catalog cache, the plan cache, the
//! sequence blocks, the registry of sessions.

use crate::catalog_cache::CatalogCache;
use crate::error::{SqlError, SqlResult};
use crate::number_blocks::NumberBlocks;
use crate::plan_cache::PlanCache;
use crate::prepared::Prepared;
use crate::relational::memory;
use crate::sequence::Sequences;
use crate::session::{Session, SessionCore};
use crate::settings::Settings;
use crate::table_code::TableCodes;
use crate::table_locks::TableLocks;
use catalog::virtual_tables::{NodeInfo, RangeInfo};
use catalog::{Catalog, DatabaseDescriptor};
use core_domain::{ClusterId, KvStore, KvTransaction, NodeId, Timestamp, TokenKey, TxnId};
use parking_lot::Mutex;
use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

/// What a server is told at its start.
pub struct ServerConfig {
    pub node: NodeId,
    pub cluster: ClusterId,
    /// Authenticates the cluster's causal tokens.
    pub token_key: TokenKey,
    /// `shanghai.nodes`, `shanghai.ranges`.
    pub cluster_view: Arc<dyn ClusterView>,
    pub plan_cache_entries_max: usize,
    /// Bytes of rows that all statements together may keep in memory. The first server of a process
    /// decides.
    pub query_bytes_max: usize,
}

impl ServerConfig {
    /// One node, alone: tests.
    pub fn single(cluster: ClusterId, token_key: TokenKey) -> Self {
        Self {
            node: NodeId(1),
            cluster,
            token_key,
            cluster_view: Arc::new(NoCluster),
            plan_cache_entries_max: 4096,
            query_bytes_max: memory::QUERY_BYTES_MAX,
        }
    }
}

/// What the cluster looks like from here: the rows of `shanghai.nodes` and `shanghai.ranges`.
pub trait ClusterView: Send + Sync {
    fn nodes(&self) -> Vec<NodeInfo>;
    fn ranges(&self) -> Vec<RangeInfo>;
}

/// A view of nothing.
pub struct NoCluster;

impl ClusterView for NoCluster {
    fn nodes(&self) -> Vec<NodeInfo> {
        Vec::new()
    }

    fn ranges(&self) -> Vec<RangeInfo> {
        Vec::new()
    }
}

/// What a client says about itself at start-up.
#[derive(Clone, Debug, Default)]
pub struct ConnectParams {
    pub user: String,
    pub database: String,
    /// The start-up message's `options`: `-c name=value` and `--name=value`.
    pub options: String,
    /// The other start-up parameters that name settings: application_name, client_encoding, ...
    pub settings: Vec<(String, String)>,
    pub peer: Option<SocketAddr>,
}

/// One per process.
pub struct Server {
    pub(crate) kv: Arc<dyn KvStore>,
    pub(crate) config: ServerConfig,
    pub(crate) catalog: Arc<CatalogCache>,
    pub(crate) plans: PlanCache<Arc<Prepared>>,
    /// By texts whose literals are lifted; `None`: such a text does not mean the same.
    pub(crate) templates: PlanCache<Option<Arc<Prepared>>>,
    pub(crate) codes: TableCodes,
    pub(crate) numbers: NumberBlocks,
    pub(crate) sequences: Sequences,
    pub(crate) table_locks: TableLocks,
    /// Microseconds since 1970.
    pub(crate) started_at: i64,
    /// The newest timestamp any session has seen: no token beyond it was given out here.
    newest_seen: AtomicU64,
    /// Transactions of this node, ended ones now and then taken out.
    open: Mutex<Vec<Weak<dyn KvTransaction>>>,
    sessions: Mutex<HashMap<i32, Arc<SessionCore>>>,
    next_pid: AtomicI32,
    shutting_down: AtomicBool,
}

impl Server {
    pub fn new(kv: Arc<dyn KvStore>, config: ServerConfig) -> Arc<Self> {
        memory::limit(config.query_bytes_max);
        let server = Arc::new(Self {
            catalog: Arc::new(CatalogCache::new(kv.clone())),
            plans: PlanCache::new(config.plan_cache_entries_max),
            templates: PlanCache::new(config.plan_cache_entries_max),
            codes: TableCodes::default(),
            numbers: NumberBlocks::new(kv.clone()),
            sequences: Sequences::new(kv.clone()),
            table_locks: TableLocks::default(),
            started_at: crate::session::now_micros(),
            newest_seen: AtomicU64::new(0),
            open: Mutex::default(),
            sessions: Mutex::default(),
            next_pid: AtomicI32::new(1),
            shutting_down: AtomicBool::new(false),
            kv,
            config,
        });
        let told = Arc::downgrade(&server);
        server.kv.watch_waits(Arc::new(move || match told.upgrade() {
            Some(server) => server.other_waits(),
            None => Vec::new(),
        }));
        server
    }

    /// Waits that the store's lock tables do not show: for tables, and of a session that holds
    /// advisory locks, which waits as whichever of its two transactions it has asked by.
    fn other_waits(&self) -> Vec<(TxnId, TxnId)> {
        let mut waits = Vec::new();
        for core in self.sessions.lock().values() {
            let running = TxnId(core.txn_id.load(Ordering::Relaxed));
            if let Some(holder) = core.advisory.holder()
                && running != TxnId(0)
            {
                waits.extend([(running, holder), (holder, running)]);
            }
        }
        for (wait, blockers) in self.table_locks.waits() {
            waits.extend(blockers.into_iter().map(|other| (TxnId(wait.owner), TxnId(other))));
        }
        waits
    }

    /// The open transactions of this node that have written something.
    pub(crate) fn written(&self) -> BTreeSet<u64> {
        let open = self.open.lock().clone();
        let open = open.iter().filter_map(Weak::upgrade);
        open.filter(|kv| kv.has_writes()).map(|kv| kv.id().0).collect()
    }

    /// Remembers a transaction for [`Server::others_ended`].
    pub(crate) fn opened(&self, kv: &Arc<dyn KvTransaction>) {
        let mut open = self.open.lock();
        if open.len() == open.capacity() {
            open.retain(|known| known.strong_count() > 0);
        }
        open.push(Arc::downgrade(kv));
    }

    /// Returns once every transaction that is open now has ended: nobody reads by a catalog from
    /// before any more.
    pub(crate) async fn others_ended(&self) {
        let known = self.open.lock().clone();
        while known.iter().any(|kv| kv.strong_count() > 0) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Opens a session.
    ///
    /// # Errors
    /// 3D000 no such database, 42704/22023 a wrong option, 57P03 shutting down.
    pub async fn connect(self: &Arc<Self>, params: ConnectParams) -> SqlResult<Session> {
        if self.is_shutting_down() {
            return Err(SqlError::fatal("57P03", "the database system is shutting down"));
        }
        let name = match params.database.as_str() {
            "" => params.user.as_str(),
            name => name,
        };
        let (catalog, database) = self.find_database(name).await?;
        if !database.allow_connections {
            return Err(SqlError::fatal(
                "55000",
                format!("database \"{name}\" is not currently accepting connections"),
            ));
        }
        let mut settings = Settings::new(&params.user);
        let role = catalog.role_named(&params.user).map_or(0, |role| role.oid);
        for (name, value) in catalog.settings_for(database.oid, role) {
            // A stored value that has become invalid must not lock everyone out.
            if let Err(error) = settings.set_reset_value(name, value) {
                tracing::warn!(%error, name, "stored setting ignored");
            }
        }
        for (name, value) in options(&params.options)? {
            settings.set_reset_value(&name, &value).map_err(fatal)?;
        }
        for (name, value) in &params.settings {
            settings.set_reset_value(name, value).map_err(fatal)?;
        }
        let core = Arc::new(SessionCore::new(
            self.next_pid.fetch_add(1, Ordering::Relaxed),
            rand_secret(),
            &params,
            database.name.clone(),
            settings,
        ));
        self.sessions.lock().insert(core.pid, core.clone());
        Session::open(self.clone(), core, database, role).await
    }

    async fn find_database(
        self: &Arc<Self>,
        name: &str,
    ) -> SqlResult<(Arc<Catalog>, Arc<DatabaseDescriptor>)> {
        let mut catalog = self.catalog.current().await?;
        if catalog.database_named(name).is_none() {
            catalog = self.catalog.refresh().await?;
        }
        let database = catalog.database_named(name).cloned().ok_or_else(|| {
            SqlError::fatal("3D000", format!("database \"{name}\" does not exist"))
        })?;
        Ok((catalog, database))
    }

    /// The cancel request's side: a wrong secret does nothing.
    pub fn cancel(&self, pid: i32, secret: i32) {
        let core = self.sessions.lock().get(&pid).cloned();
        if let Some(core) = core
            && core.secret == secret
        {
            core.cancel();
        }
    }

    /// `pg_cancel_backend`; false if there is no such session.
    pub(crate) fn cancel_backend(&self, pid: i32, terminate: bool) -> bool {
        let core = self.sessions.lock().get(&pid).cloned();
        match core {
            Some(core) => {
                if terminate {
                    core.terminate();
                } else {
                    core.cancel();
                }
                true
            }
            None => false,
        }
    }

    /// The stored SCRAM-SHA-256 verifier ("SCRAM-SHA-256$4096:salt$stored:server"); `None` if the
    /// role is unknown, may not log in, or has no password.
    ///
    /// # Errors
    /// The catalog cannot be read.
    pub async fn scram_secret(&self, user: &str) -> SqlResult<Option<String>> {
        let catalog = self.catalog.current().await?;
        let now = crate::session::now_micros();
        let role = catalog
            .role_named(user)
            .filter(|role| role.login && role.valid_until.is_none_or(|until| now < until));
        Ok(role.and_then(|role| role.password.clone()))
    }

    pub fn session_count(&self) -> usize {
        self.sessions.lock().len()
    }

    /// Bytes of the rows that statements keep at the moment.
    pub fn query_bytes(&self) -> usize {
        memory::kept_bytes()
    }

    /// Refuses new sessions and ends the others with 57P01 at their next statement.
    pub fn shut_down(&self) {
        self.shutting_down.store(true, Ordering::Release);
        for core in self.sessions.lock().values() {
            core.wake();
        }
    }

    pub fn is_shutting_down(&self) -> bool {
        self.shutting_down.load(Ordering::Acquire)
    }

    pub(crate) fn forget(&self, pid: i32) {
        self.sessions.lock().remove(&pid);
    }

    pub(crate) fn sessions(&self) -> Vec<Arc<SessionCore>> {
        let mut all: Vec<_> = self.sessions.lock().values().cloned().collect();
        all.sort_by_key(|core| core.pid);
        all
    }

    pub(crate) fn saw(&self, timestamp: Timestamp) {
        self.newest_seen.fetch_max(timestamp.0, Ordering::Relaxed);
    }

    pub(crate) fn newest_seen(&self) -> Timestamp {
        Timestamp(self.newest_seen.load(Ordering::Relaxed))
    }
}

fn fatal(mut error: SqlError) -> SqlError {
    error.severity = crate::error::Severity::Fatal;
    error
}

/// A secret that others cannot guess from the sessions before: seeded by the system once per use.
fn rand_secret() -> i32 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(crate::session::now_micros()) as i32
}

/// Splits `-c a=b --c-d=e` as PostgreSQL does: blanks separate, a backslash keeps the next character.
fn options(text: &str) -> SqlResult<Vec<(String, String)>> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => word.extend(chars.next()),
            c if c.is_whitespace() => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
            }
            c => word.push(c),
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    let mut list = Vec::new();
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        let assignment = if word == "-c" {
            words.next().unwrap_or_default()
        } else if let Some(rest) = word.strip_prefix("--") {
            rest.to_owned()
        } else if let Some(rest) = word.strip_prefix("-c") {
            rest.to_owned()
        } else {
            return Err(SqlError::fatal(
                "42601",
                format!("invalid command-line argument for server process: {word}"),
            ));
        };
        let Some((name, value)) = assignment.split_once('=') else {
            return Err(SqlError::fatal("42601", format!("-c {assignment} requires a value")));
        };
        list.push((name.replace('-', "_"), value.to_owned()));
    }
    Ok(list)
}

#[cfg(test)]
mod tests {
    use super::options;

    #[test]
    fn options_are_read_in_both_spellings() {
        let read = options(r"-c consistency=causal --search-path=a,\ b -cwork_mem=8MB").unwrap();
        let read: Vec<(&str, &str)> = read.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        let expected = [("consistency", "causal"), ("search_path", "a, b"), ("work_mem", "8MB")];
        assert_eq!(read, expected);
        assert!(options("-x").is_err());
    }
}
