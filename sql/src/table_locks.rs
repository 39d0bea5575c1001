//! Locks on tables within this process: statements share a table, schema changes have it alone.
//!
//! A writer that planned with the old descriptor would leave a new index without its row. So every
//! writing statement holds its table shared until its transaction ends, and DDL on an existing
//! table waits until it is alone. LOCK TABLE in a mode that conflicts with writers does the same.
//!
//! What it does not do: reach other processes (protocol.md, rule 22: leases on descriptors come
//! later), queue fairly, or find deadlocks: a wait ends with 55P03 after `WAIT_MAX`, or earlier by
//! what ends every wait.

use crate::error::{SqlError, SqlResult};
use crate::session::SessionCore;
use crate::session::limits::Limits;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

const WAIT_MAX: Duration = Duration::from_secs(30);
/// Tables whose entries stay when nobody holds them: the next holder needs no memory.
const IDLE_TABLES_MAX: usize = 4096;

#[derive(Default)]
pub(crate) struct TableLocks {
    state: Mutex<State>,
    released: Notify,
}

#[derive(Default)]
struct State {
    tables: HashMap<u32, Holders>,
    waiting: Vec<TableWait>,
}

#[derive(Default)]
struct Holders {
    /// The owners of shared locks.
    shared: Vec<u64>,
    /// The owner of the exclusive lock.
    exclusive: Option<u64>,
}

impl Holders {
    fn in_the_way(&self, owner: u64, exclusive: bool) -> impl Iterator<Item = u64> + '_ {
        let shared = self.shared.iter().copied().filter(move |_| exclusive);
        self.exclusive.into_iter().chain(shared).filter(move |other| *other != owner)
    }
}

/// A lock on a table that somebody has or waits for. Owners are transactions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TableWait {
    pub table: u32,
    pub owner: u64,
    pub exclusive: bool,
}

impl TableLocks {
    pub fn held(&self) -> Vec<TableWait> {
        let state = self.state.lock();
        let mut held = Vec::new();
        for (table, holders) in &state.tables {
            let lock = |owner, exclusive| TableWait { table: *table, owner, exclusive };
            held.extend(holders.exclusive.map(|owner| lock(owner, true)));
            held.extend(holders.shared.iter().map(|owner| lock(*owner, false)));
        }
        held
    }

    /// Who waits, and for which other owners.
    pub fn waits(&self) -> Vec<(TableWait, Vec<u64>)> {
        let state = self.state.lock();
        let waits = state.waiting.iter().map(|wait| {
            let holders = state.tables.get(&wait.table);
            let blockers =
                holders.into_iter().flat_map(|h| h.in_the_way(wait.owner, wait.exclusive));
            (*wait, blockers.collect())
        });
        waits.collect()
    }
}

/// What one transaction holds; released when dropped.
pub(crate) struct TableGuards {
    locks: Arc<crate::server::Server>,
    owner: u64,
    held: Vec<(u32, bool)>,
}

impl TableGuards {
    /// `owner` is unique among live transactions of this process.
    pub fn new(server: Arc<crate::server::Server>, owner: u64) -> Self {
        Self { locks: server, owner, held: Vec::new() }
    }

    /// Shares `table` with other statements.
    pub async fn share(&mut self, table: u32, core: &SessionCore, limits: Limits) -> SqlResult<()> {
        if self.held.iter().any(|(held, _)| *held == table) || self.try_acquire(table, false) {
            return Ok(());
        }
        Box::pin(self.wait(table, false, core, limits)).await
    }

    /// Has `table` alone.
    pub async fn exclude(
        &mut self,
        table: u32,
        core: &SessionCore,
        limits: Limits,
    ) -> SqlResult<()> {
        if self.held.contains(&(table, true)) || self.try_acquire(table, true) {
            return Ok(());
        }
        Box::pin(self.wait(table, true, core, limits)).await
    }

    async fn wait(
        &mut self,
        table: u32,
        exclusive: bool,
        core: &SessionCore,
        limits: Limits,
    ) -> SqlResult<()> {
        let server = self.locks.clone();
        let wait = TableWait { table, owner: self.owner, exclusive };
        server.table_locks.state.lock().waiting.push(wait);
        let _waiting = Waiting { locks: &server.table_locks, wait };
        let acquired = async {
            loop {
                let released = server.table_locks.released.notified();
                tokio::pin!(released);
                released.as_mut().enable();
                if self.try_acquire(table, exclusive) {
                    return;
                }
                released.await;
            }
        };
        tokio::select! {
            biased;
            () = acquired => Ok(()),
            error = limits.lock_reached(core) => Err(error),
            () = tokio::time::sleep(WAIT_MAX) => {
                Err(SqlError::new("55P03", "canceling statement due to a wait for a table lock")
                    .with_detail("Another transaction uses or changes the table."))
            }
        }
    }

    fn try_acquire(&mut self, table: u32, exclusive: bool) -> bool {
        let mut state = self.locks.table_locks.state.lock();
        let holders = state.tables.entry(table).or_default();
        if holders.in_the_way(self.owner, exclusive).next().is_some() {
            return false;
        }
        if exclusive {
            holders.exclusive = Some(self.owner);
        } else {
            holders.shared.push(self.owner);
        }
        self.held.push((table, exclusive));
        true
    }
}

/// A line among the waiting, also when the wait is dropped.
struct Waiting<'a> {
    locks: &'a TableLocks,
    wait: TableWait,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut state = self.locks.state.lock();
        if let Some(at) = state.waiting.iter().position(|wait| *wait == self.wait) {
            state.waiting.swap_remove(at);
        }
    }
}

impl Drop for TableGuards {
    fn drop(&mut self) {
        if self.held.is_empty() {
            return;
        }
        let mut state = self.locks.table_locks.state.lock();
        let crowded = state.tables.len() > IDLE_TABLES_MAX;
        for (table, exclusive) in self.held.drain(..) {
            let Some(holders) = state.tables.get_mut(&table) else { continue };
            if exclusive {
                holders.exclusive = None;
            } else if let Some(at) = holders.shared.iter().position(|owner| *owner == self.owner) {
                holders.shared.swap_remove(at);
            }
            if crowded && holders.shared.is_empty() && holders.exclusive.is_none() {
                state.tables.remove(&table);
            }
        }
        drop(state);
        self.locks.table_locks.released.notify_waiters();
    }
}
