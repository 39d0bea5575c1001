//! Locks on tables within this process: readers and writers share a table, schema changes do not.
//!
//! A writer that planned with the old descriptor would leave a new index without its row. So every
//! writing statement holds its tables until its transaction ends, and DDL on an existing table waits
//! until no writer is left; it waits for readers, too, if it would pull rows or columns from under
//! them. As in PostgreSQL, what a transaction block has read stays held until its end:
//!
//! ```text
//!            beside  Read  Write  Still  Alone
//!   Read              yes   yes    yes    no      SELECT
//!   Write             yes   yes    no     no      INSERT, UPDATE, DELETE, COPY FROM
//!   Still             yes   no     no     no      CREATE INDEX, ADD FOREIGN KEY
//!   Alone             no    no     no     no      the rest of ALTER TABLE, TRUNCATE, DROP
//! ```
//!
//! A SELECT on its own looks at these locks only while there is one that could be against it: its
//! snapshot is enough afterwards.
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
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::Notify;

const WAIT_MAX: Duration = Duration::from_secs(30);
/// Tables whose entries stay when nobody holds them: the next holder needs no memory.
const IDLE_TABLES_MAX: usize = 4096;

/// How a table is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hold {
    Read,
    Write,
    /// Nobody else writes.
    Still,
    /// Nobody else does anything.
    Alone,
}

impl Hold {
    fn conflicts_with(self, other: Hold) -> bool {
        use Hold::*;
        match (self, other) {
            (Alone, _) | (_, Alone) => true,
            (Still, Still | Write) | (Write, Still) => true,
            (Write, Write) | (Read, _) | (_, Read) => false,
        }
    }
}

#[derive(Default)]
pub(crate) struct TableLocks {
    state: Mutex<State>,
    released: Notify,
    /// Holds of [`Hold::Alone`].
    alone: AtomicUsize,
}

#[derive(Default)]
struct State {
    tables: HashMap<u32, Holders>,
    waiting: Vec<TableWait>,
}

#[derive(Default)]
struct Holders {
    /// By owner.
    held: Vec<(u64, Hold)>,
}

impl Holders {
    fn in_the_way(&self, owner: u64, hold: Hold) -> impl Iterator<Item = u64> + '_ {
        let others = self.held.iter().filter(move |(other, _)| *other != owner);
        others.filter(move |(_, held)| held.conflicts_with(hold)).map(|(other, _)| *other)
    }
}

/// A lock on a table that somebody has or waits for. Owners are transactions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TableWait {
    pub table: u32,
    pub owner: u64,
    pub hold: Hold,
}

impl TableWait {
    fn new(table: u32, owner: u64, hold: Hold) -> Self {
        Self { table, owner, hold }
    }
}

impl TableLocks {
    /// Whether a reader may have to wait.
    pub fn any_alone(&self) -> bool {
        self.alone.load(Ordering::Acquire) > 0
    }

    pub fn held(&self) -> Vec<TableWait> {
        let state = self.state.lock();
        let mut held = Vec::new();
        for (table, holders) in &state.tables {
            let locks = holders.held.iter();
            held.extend(locks.map(|(owner, hold)| TableWait::new(*table, *owner, *hold)));
        }
        held
    }

    /// Who waits, and for which other owners.
    pub fn waits(&self) -> Vec<(TableWait, Vec<u64>)> {
        let state = self.state.lock();
        let waits = state.waiting.iter().map(|wait| {
            let holders = state.tables.get(&wait.table);
            let blockers = holders.into_iter().flat_map(|h| h.in_the_way(wait.owner, wait.hold));
            (*wait, blockers.collect())
        });
        waits.collect()
    }
}

/// What one transaction holds; released when dropped.
pub(crate) struct TableGuards {
    locks: Arc<crate::server::Server>,
    owner: u64,
    held: Vec<(u32, Hold)>,
}

impl TableGuards {
    /// `owner` is unique among live transactions of this process.
    pub fn new(server: Arc<crate::server::Server>, owner: u64) -> Self {
        Self { locks: server, owner, held: Vec::new() }
    }

    /// Waits until `table` can be held so.
    ///
    /// # Errors
    /// What ends the wait: `limits`, or 55P03 after [`WAIT_MAX`].
    pub async fn hold(
        &mut self,
        table: u32,
        hold: Hold,
        core: &SessionCore,
        limits: Limits,
    ) -> SqlResult<()> {
        if self.held.contains(&(table, hold)) || self.try_hold(table, hold) {
            return Ok(());
        }
        Box::pin(self.wait(table, hold, core, limits)).await
    }

    /// How many are held: what [`release_to`](Self::release_to) returns to.
    pub fn mark(&self) -> usize {
        self.held.len()
    }

    /// Gives back what was taken since there were `mark`.
    pub fn release_to(&mut self, mark: usize) {
        if self.held.len() <= mark {
            return;
        }
        let locks = &self.locks.table_locks;
        let mut state = locks.state.lock();
        let crowded = state.tables.len() > IDLE_TABLES_MAX;
        for (table, hold) in self.held.drain(mark..) {
            let Some(holders) = state.tables.get_mut(&table) else { continue };
            let ours = (self.owner, hold);
            if let Some(at) = holders.held.iter().position(|held| *held == ours) {
                holders.held.swap_remove(at);
            }
            if hold == Hold::Alone {
                locks.alone.fetch_sub(1, Ordering::Release);
            }
            if crowded && holders.held.is_empty() {
                state.tables.remove(&table);
            }
        }
        drop(state);
        locks.released.notify_waiters();
    }

    async fn wait(
        &mut self,
        table: u32,
        hold: Hold,
        core: &SessionCore,
        limits: Limits,
    ) -> SqlResult<()> {
        let server = self.locks.clone();
        let wait = TableWait::new(table, self.owner, hold);
        server.table_locks.state.lock().waiting.push(wait);
        let _waiting = Waiting { locks: &server.table_locks, wait };
        let acquired = async {
            loop {
                let released = server.table_locks.released.notified();
                tokio::pin!(released);
                released.as_mut().enable();
                if self.try_hold(table, hold) {
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

    fn try_hold(&mut self, table: u32, hold: Hold) -> bool {
        let mut state = self.locks.table_locks.state.lock();
        let holders = state.tables.entry(table).or_default();
        if holders.in_the_way(self.owner, hold).next().is_some() {
            return false;
        }
        holders.held.push((self.owner, hold));
        if hold == Hold::Alone {
            self.locks.table_locks.alone.fetch_add(1, Ordering::Release);
        }
        self.held.push((table, hold));
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
        self.release_to(0);
    }
}
