//! Who holds and who waits among this node's sessions, as PostgreSQL's views show it.
//!
//! ```text
//! relation        tables that statements share or change            table_locks.rs
//! advisory        every lock that is held, and one waited for       session/advisory.rs
//! virtualxid      each open transaction, by itself
//! transactionid   each that has written or is waited for, by itself; and, not granted, its waiters
//! tuple           rows that are waited for: the first waiter has it, those behind it do not
//! ```
//!
//! Row locks that nobody waits for are not listed, as in PostgreSQL, which keeps them in the rows.
//! What is held on other nodes is not shown; a waiter here for somebody there has blocking pid 0.

use crate::error::SqlResult;
use crate::server::Server;
use crate::session::SessionCore;
use crate::table_locks::{Hold, TableWait};
use catalog::Catalog;
use catalog::virtual_tables::LockInfo;
use core_domain::{LockMode, LockWait, TxnId};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;

pub(crate) struct Locks {
    sessions: Vec<Arc<SessionCore>>,
    /// The sessions' transactions, and the holders of their advisory locks.
    owners: HashMap<u64, i32>,
    /// Transactions of this node that have written something.
    written: BTreeSet<u64>,
    waits: Vec<LockWait>,
    tables: Vec<TableWait>,
    table_waits: Vec<(TableWait, Vec<u64>)>,
}

impl Locks {
    /// # Errors
    /// Whoever knows the waits of the cluster does not answer.
    pub async fn gather(server: &Server) -> SqlResult<Self> {
        let waits = server.kv.lock_waits().await?;
        let sessions = server.sessions();
        let mut owners = HashMap::new();
        for core in &sessions {
            owners.extend(transactions(core).map(|txn| (txn, core.pid)));
        }
        let tables = server.table_locks.held();
        let table_waits = server.table_locks.waits();
        Ok(Self { sessions, owners, written: server.written(), waits, tables, table_waits })
    }

    /// `pg_blocking_pids`; 0 stands for a transaction of another node.
    pub fn blocking(&self, pid: i32) -> Vec<i32> {
        let waits = self.waits.iter().filter(|wait| self.is_of(wait.waiter.0, pid));
        let rows = waits.flat_map(|wait| wait.blockers.iter().map(|blocker| blocker.0));
        let waits = self.table_waits.iter().filter(|(wait, _)| self.is_of(wait.owner, pid));
        let tables = waits.flat_map(|(_, blockers)| blockers.iter().copied());
        let pids: BTreeSet<i32> = rows.chain(tables).map(|txn| self.pid(txn)).collect();
        pids.into_iter().collect()
    }

    fn pid(&self, txn: u64) -> i32 {
        self.owners.get(&txn).copied().unwrap_or(0)
    }

    fn is_of(&self, txn: u64, pid: i32) -> bool {
        self.owners.get(&txn) == Some(&pid)
    }

    /// What a session waits for.
    pub fn wait_event(&self, core: &SessionCore) -> Option<(&'static str, &'static str)> {
        if let Some(wait) = self.waits.iter().find(|wait| self.is_of(wait.waiter.0, core.pid)) {
            let event = match (wait.key.is_advisory(), self.is_first(wait)) {
                (true, _) => "advisory",
                (false, true) => "transactionid",
                (false, false) => "tuple",
            };
            return Some(("Lock", event));
        }
        let waits = self.table_waits.iter().any(|(wait, _)| self.is_of(wait.owner, core.pid));
        waits.then_some(("Lock", "relation"))
    }

    /// The session's transaction, if it has written.
    pub fn written_by(&self, core: &SessionCore) -> Option<u64> {
        let id = core.txn_id.load(Ordering::Relaxed);
        self.written.contains(&id).then_some(id)
    }

    /// Whether nobody waits for the same key before it.
    fn is_first(&self, wait: &LockWait) -> bool {
        let waits_too = |txn: &TxnId| {
            self.waits.iter().any(|other| other.waiter == *txn && other.key == wait.key)
        };
        !wait.blockers.iter().any(waits_too)
    }

    pub fn infos(&self, catalog: &Catalog) -> Vec<LockInfo> {
        let mut infos = Vec::new();
        for core in &self.sessions {
            self.add_session(core, &mut infos);
        }
        for lock in &self.tables {
            infos.extend(self.table_info(catalog, lock, true));
        }
        for (lock, _) in &self.table_waits {
            infos.extend(self.table_info(catalog, lock, false));
        }
        for wait in self.waits.iter().filter(|wait| !wait.key.is_advisory()) {
            self.add_row_wait(catalog, wait, &mut infos);
        }
        infos
    }

    fn add_session(&self, core: &SessionCore, infos: &mut Vec<LockInfo>) {
        let id = core.txn_id.load(Ordering::Relaxed);
        let own = LockInfo {
            pid: core.pid,
            holder: id,
            mode: "ExclusiveLock",
            granted: true,
            ..LockInfo::default()
        };
        if id != 0 {
            let virtual_id = Some(format!("{}/{id}", core.pid));
            infos.push(LockInfo { kind: "virtualxid", virtual_id, ..own.clone() });
        }
        let waited_for =
            || self.waits.iter().any(|w| !w.key.is_advisory() && w.blockers.contains(&TxnId(id)));
        if id != 0 && (self.written.contains(&id) || waited_for()) {
            infos.push(LockInfo { kind: "transactionid", transaction: Some(id), ..own });
        }
        infos.extend(core.advisory.infos().into_iter().map(|lock| LockInfo {
            kind: "advisory",
            database: Some(lock.database),
            advisory: Some((lock.class, lock.object, lock.sub)),
            pid: core.pid,
            holder: id,
            mode: if lock.shared { "ShareLock" } else { "ExclusiveLock" },
            granted: lock.granted,
            ..LockInfo::default()
        }));
    }

    fn table_info(&self, catalog: &Catalog, lock: &TableWait, granted: bool) -> Option<LockInfo> {
        Some(LockInfo {
            kind: "relation",
            database: database_of(catalog, lock.table),
            relation: Some(lock.table),
            pid: *self.owners.get(&lock.owner)?,
            holder: lock.owner,
            mode: match lock.hold {
                Hold::Read => "AccessShareLock",
                Hold::Write => "RowExclusiveLock",
                Hold::Still => "ShareLock",
                Hold::Alone => "AccessExclusiveLock",
            },
            granted,
            ..LockInfo::default()
        })
    }

    fn add_row_wait(&self, catalog: &Catalog, wait: &LockWait, infos: &mut Vec<LockInfo>) {
        let Some(pid) = self.owners.get(&wait.waiter.0) else { return };
        let own = LockInfo { pid: *pid, holder: wait.waiter.0, ..LockInfo::default() };
        let first = self.is_first(wait);
        let table = wait.key.table().and_then(|id| catalog.table_by_storage(id));
        if let Some(table) = table {
            infos.push(LockInfo {
                kind: "tuple",
                database: database_of(catalog, table.oid),
                relation: Some(table.oid),
                mode: match wait.mode {
                    LockMode::KeyShare => "AccessShareLock",
                    LockMode::Share => "RowShareLock",
                    LockMode::NoKeyExclusive => "ExclusiveLock",
                    LockMode::Exclusive => "AccessExclusiveLock",
                },
                granted: first,
                ..own.clone()
            });
        }
        if let Some(blocker) = wait.blockers.first().filter(|_| first || table.is_none()) {
            infos.push(LockInfo {
                kind: "transactionid",
                transaction: Some(blocker.0),
                mode: "ShareLock",
                granted: false,
                ..own
            });
        }
    }
}

/// What a session may hold locks by.
pub(crate) fn transactions(core: &SessionCore) -> impl Iterator<Item = u64> {
    let running = Some(core.txn_id.load(Ordering::Relaxed)).filter(|id| *id != 0);
    running.into_iter().chain(core.advisory.holder().map(|holder| holder.0))
}

fn database_of(catalog: &Catalog, table: u32) -> Option<u32> {
    let group = catalog.table(table)?.id.group;
    catalog.databases().find(|database| database.group == group).map(|database| database.oid)
}
