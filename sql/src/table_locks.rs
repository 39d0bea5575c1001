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

#[derive(Default)]
pub(crate) struct TableLocks {
    tables: Mutex<HashMap<u32, Holders>>,
    released: Notify,
    /// Holds of [`Hold::Alone`].
    alone: AtomicUsize,
    waiting: Mutex<Vec<TableLock>>,
}

/// A table as some transaction holds it or wants to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TableLock {
    pub table: u32,
    pub hold: Hold,
    pub owner: u64,
}

impl Hold {
    fn conflicts_with(self, other: Hold) -> bool {
        use Hold::*;
        match (self, other) {
            (Alone, _) | (_, Alone) => true,
            (Read, _) | (_, Read) | (Write, Write) => false,
            (Write, Still) | (Still, Write) | (Still, Still) => true,
        }
    }
}

impl TableLocks {
    pub fn held(&self) -> Vec<TableLock> {
        let tables = self.tables.lock();
        let all = tables.iter().flat_map(|(table, holders)| {
            holders.who.iter().map(|(owner, hold)| (*table, *owner, *hold))
        });
        all.map(|(table, owner, hold)| TableLock { table, hold, owner }).collect()
    }

    /// Who waits, and for which others.
    pub fn waits(&self) -> Vec<(TableLock, Vec<u64>)> {
        let waiting = self.waiting.lock().clone();
        if waiting.is_empty() {
            return Vec::new();
        }
        let held = self.held();
        let against = |wait: &TableLock| {
            let others = held.iter().filter(|lock| {
                lock.table == wait.table
                    && lock.owner != wait.owner
                    && lock.hold.conflicts_with(wait.hold)
            });
            others.map(|lock| lock.owner).collect()
        };
        waiting.iter().map(|wait| (*wait, against(wait))).collect()
    }

    /// Whether a reader may have to wait.
    pub fn any_alone(&self) -> bool {
        self.alone.load(Ordering::Acquire) > 0
    }
}

#[derive(Default)]
struct Holders {
    readers: u32,
    writers: u32,
    still: u32,
    alone: u32,
    /// Whose `still` and `alone` are.
    owner: Option<u64>,
    /// Everybody, for pg_locks.
    who: Vec<(u64, Hold)>,
}

impl Holders {
    fn count(&mut self, hold: Hold) -> &mut u32 {
        match hold {
            Hold::Read => &mut self.readers,
            Hold::Write => &mut self.writers,
            Hold::Still => &mut self.still,
            Hold::Alone => &mut self.alone,
        }
    }

    fn is_free(&self) -> bool {
        self.readers + self.writers + self.still + self.alone == 0
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
    /// 55P03 after [`WAIT_MAX`] or `lock_timeout`, and whatever else ends the statement.
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

    async fn wait(
        &mut self,
        table: u32,
        hold: Hold,
        core: &SessionCore,
        limits: Limits,
    ) -> SqlResult<()> {
        let server = self.locks.clone();
        let lock = TableLock { table, hold, owner: self.owner };
        server.table_locks.waiting.lock().push(lock);
        let _waiting = Waiting { locks: &server.table_locks, lock };
        let held = async {
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
            () = held => Ok(()),
            error = limits.lock_reached(core) => Err(error),
            () = tokio::time::sleep(WAIT_MAX) => {
                Err(SqlError::new("55P03", "canceling statement due to a wait for a table lock")
                    .with_detail("Another transaction uses or changes the table."))
            }
        }
    }

    fn try_hold(&mut self, table: u32, hold: Hold) -> bool {
        let mut tables = self.locks.table_locks.tables.lock();
        let holders = tables.entry(table).or_default();
        let ours = |hold| u32::from(self.held.contains(&(table, hold)));
        let changed_by_another = holders.owner.is_some_and(|owner| owner != self.owner);
        let read_by_others = holders.readers > ours(Hold::Read);
        let written_by_others = holders.writers > ours(Hold::Write);
        let refused = match hold {
            Hold::Read => changed_by_another && holders.alone > 0,
            Hold::Write => changed_by_another,
            Hold::Still => changed_by_another || written_by_others,
            Hold::Alone => changed_by_another || written_by_others || read_by_others,
        };
        if refused {
            return false;
        }
        *holders.count(hold) += 1;
        match hold {
            Hold::Read | Hold::Write => {}
            Hold::Still => holders.owner = Some(self.owner),
            Hold::Alone => {
                holders.owner = Some(self.owner);
                self.locks.table_locks.alone.fetch_add(1, Ordering::Release);
            }
        }
        holders.who.push((self.owner, hold));
        self.held.push((table, hold));
        true
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
        let mut tables = locks.tables.lock();
        let crowded = tables.len() > IDLE_TABLES_MAX;
        for (table, hold) in self.held.drain(mark..) {
            let Some(holders) = tables.get_mut(&table) else { continue };
            *holders.count(hold) -= 1;
            if let Some(at) = holders.who.iter().position(|who| *who == (self.owner, hold)) {
                holders.who.swap_remove(at);
            }
            if hold == Hold::Alone {
                locks.alone.fetch_sub(1, Ordering::Release);
            }
            if holders.still + holders.alone == 0 {
                holders.owner = None;
            }
            if crowded && holders.is_free() {
                tables.remove(&table);
            }
        }
        drop(tables);
        locks.released.notify_waiters();
    }
}

/// A line among the waiting, also when the wait is dropped.
struct Waiting<'a> {
    locks: &'a TableLocks,
    lock: TableLock,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut waiting = self.locks.waiting.lock();
        if let Some(at) = waiting.iter().position(|lock| *lock == self.lock) {
            waiting.swap_remove(at);
        }
    }
}

impl Drop for TableGuards {
    fn drop(&mut self) {
        self.release_to(0);
    }
}
