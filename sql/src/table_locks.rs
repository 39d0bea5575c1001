//! Locks on tables within this process: statements share a table, schema changes have it alone.
//!
//! A writer that planned with the old descriptor would leave a new index without its row. So every
//! writing statement holds its table shared until its transaction ends, and DDL on an existing
//! table waits until it is alone. LOCK TABLE in a mode that conflicts with writers does the same.
//!
//! What it does not do: reach other processes (protocol.md, rule 22: leases on descriptors come
//! later), queue fairly, or find deadlocks: a wait ends with 55P03 after `WAIT_MAX`.

use crate::error::{SqlError, SqlResult};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

const WAIT_MAX: Duration = Duration::from_secs(30);

#[derive(Default)]
pub(crate) struct TableLocks {
    tables: Mutex<HashMap<u32, Holders>>,
    released: Notify,
}

#[derive(Default)]
struct Holders {
    shared: u32,
    /// The owner of the exclusive lock.
    exclusive: Option<u64>,
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
    pub async fn share(&mut self, table: u32) -> SqlResult<()> {
        if self.held.iter().any(|(held, _)| *held == table) {
            return Ok(());
        }
        self.acquire(table, false).await
    }

    /// Has `table` alone.
    pub async fn exclude(&mut self, table: u32) -> SqlResult<()> {
        if self.held.contains(&(table, true)) {
            return Ok(());
        }
        self.acquire(table, true).await
    }

    async fn acquire(&mut self, table: u32, exclusive: bool) -> SqlResult<()> {
        if self.try_acquire(table, exclusive) {
            return Ok(());
        }
        let server = self.locks.clone();
        let wait = async {
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
        tokio::time::timeout(WAIT_MAX, wait).await.map_err(|_| {
            SqlError::new("55P03", "canceling statement due to a wait for a table lock")
                .with_detail("Another transaction uses or changes the table.")
        })
    }

    fn try_acquire(&mut self, table: u32, exclusive: bool) -> bool {
        let mut tables = self.locks.table_locks.tables.lock();
        let holders = tables.entry(table).or_default();
        if holders.exclusive.is_some_and(|owner| owner != self.owner) {
            return false;
        }
        let ours = self.held.contains(&(table, false));
        if exclusive {
            if holders.shared > u32::from(ours) {
                return false;
            }
            holders.exclusive = Some(self.owner);
        } else {
            holders.shared += 1;
        }
        self.held.push((table, exclusive));
        true
    }
}

impl Drop for TableGuards {
    fn drop(&mut self) {
        if self.held.is_empty() {
            return;
        }
        let mut tables = self.locks.table_locks.tables.lock();
        for (table, exclusive) in self.held.drain(..) {
            let Some(holders) = tables.get_mut(&table) else { continue };
            if exclusive {
                holders.exclusive = None;
            } else {
                holders.shared -= 1;
            }
            if holders.shared == 0 && holders.exclusive.is_none() {
                tables.remove(&table);
            }
        }
        drop(tables);
        self.locks.table_locks.released.notify_waiters();
    }
}
