//! The advisory locks of one session: `pg_advisory_lock` and its kin.
//!
//! ```text
//! pg_advisory_lock(1)         counts[1].session  += 1 ─┐ the first takes the key, Exclusive or Share
//! pg_advisory_xact_lock(1)    counts[1].until_end += 1 ─┤
//! pg_advisory_unlock(1)       counts[1].session  -= 1 ─┤ the last gives it back
//! COMMIT, ROLLBACK            counts[*].until_end = 0 ─┘
//! ```
//!
//! All are held by one key-value transaction of the session's own, the holder, which reads and writes
//! nothing, has no snapshot, and lives as long as a lock is held: so the session never waits for
//! itself, and its locks outlive its transactions. The leaders keep them as leases (`advisory.rs` in
//! replication); a session that lost one is ended with 57P02, as PostgreSQL's are after a crash.
//!
//! What it does not do: hold a lock that is held both exclusively and shared more weakly when only
//! the shared part is left.

use crate::error::{SqlError, SqlResult};
use core_domain::{
    Key, KvError, KvResult, KvStore, KvTransaction, LockMode, LockedValue, TxnId, TxnOptions,
    WaitPolicy,
};
use expr::session_facts::AdvisoryKey;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A lock as the session asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub key: AdvisoryKey,
    pub shared: bool,
}

#[derive(Default)]
pub(crate) struct Advisory {
    held: Mutex<Held>,
    /// One request at a time: a statement may evaluate several rows side by side.
    turn: tokio::sync::Mutex<()>,
    /// Whether there is a holder; read before every statement.
    in_use: AtomicBool,
    /// Whether the transaction has locks of its own; read at its end.
    until_end: AtomicBool,
}

#[derive(Default)]
struct Held {
    holder: Option<Arc<dyn KvTransaction>>,
    counts: BTreeMap<Lock, Counts>,
    /// What the running transaction took, in order.
    taken: Vec<Lock>,
    waiting: Option<Lock>,
}

/// The database, the form (0: one number, 1: two), the number, whether it is shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Lock {
    database: u32,
    form: u8,
    number: u64,
    shared: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    session: u32,
    until_end: u32,
}

/// A line of pg_locks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AdvisoryInfo {
    pub database: u32,
    pub class: u32,
    pub object: u32,
    /// 1: one number, its halves in `class` and `object`; 2: two numbers.
    pub sub: i16,
    pub shared: bool,
    pub granted: bool,
}

impl Lock {
    fn new(database: u32, wanted: Wanted) -> Self {
        let (form, number) = match wanted.key {
            AdvisoryKey::Big(number) => (0, number as u64),
            AdvisoryKey::Pair(high, low) => {
                (1, (u64::from(high as u32) << 32) | u64::from(low as u32))
            }
        };
        Self { database, form, number, shared: wanted.shared }
    }

    fn key(self) -> Key {
        Key::advisory(self.database, self.form, self.number)
    }

    fn mode(self) -> LockMode {
        if self.shared { LockMode::Share } else { LockMode::Exclusive }
    }

    fn info(self, granted: bool) -> AdvisoryInfo {
        AdvisoryInfo {
            database: self.database,
            class: (self.number >> 32) as u32,
            object: self.number as u32,
            sub: i16::from(self.form) + 1,
            shared: self.shared,
            granted,
        }
    }
}

impl Counts {
    fn is_zero(self) -> bool {
        self.session == 0 && self.until_end == 0
    }
}

impl Held {
    /// Whether the holder has the key in a mode that covers this one.
    fn covers(&self, lock: Lock) -> bool {
        let stronger = Lock { shared: false, ..lock };
        self.counts.contains_key(&lock) || self.counts.contains_key(&stronger)
    }

    fn holds_key(&self, lock: Lock) -> bool {
        [false, true]
            .iter()
            .any(|shared| self.counts.contains_key(&Lock { shared: *shared, ..lock }))
    }

    fn count(&mut self, lock: Lock, until_end: bool) {
        let counts = self.counts.entry(lock).or_default();
        if until_end {
            counts.until_end += 1;
            self.taken.push(lock);
        } else {
            counts.session += 1;
        }
    }
}

/// Forgets that a lock is waited for, also when the wait is dropped.
struct Waiting<'a>(&'a Mutex<Held>);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.lock().waiting = None;
    }
}

impl Advisory {
    /// Takes a lock; false if it is not free and `wait` says not to wait. After an error, or if the
    /// future was dropped, call [`tidy`](Self::tidy).
    pub async fn lock(
        &self,
        kv: &dyn KvStore,
        database: u32,
        wanted: Wanted,
        until_end: bool,
        wait: WaitPolicy,
    ) -> KvResult<bool> {
        let _turn = self.turn.lock().await;
        let lock = Lock::new(database, wanted);
        let holder = self.held.lock().holder.clone();
        let holder = match holder {
            Some(holder) => holder,
            None => kv.begin(TxnOptions::default()).await?,
        };
        if self.held.lock().covers(lock) {
            // Still alive? A lock that is lost is not taken a second time.
            holder.unlock(&[]).await?;
            self.note(lock, until_end);
            return Ok(true);
        }
        {
            let mut held = self.held.lock();
            held.holder = Some(holder.clone());
            held.waiting = Some(lock);
        }
        self.in_use.store(true, Ordering::Release);
        let waiting = Waiting(&self.held);
        let locked = holder.lock(&[lock.key()], lock.mode(), wait).await;
        drop(waiting);
        match locked?.pop() {
            Some(LockedValue::Locked { .. }) => {
                self.note(lock, until_end);
                Ok(true)
            }
            Some(LockedValue::Skipped) | None => {
                self.retire_if_empty().await;
                Ok(false)
            }
        }
    }

    fn note(&self, lock: Lock, until_end: bool) {
        self.held.lock().count(lock, until_end);
        if until_end {
            self.until_end.store(true, Ordering::Release);
        }
    }

    /// Gives back what a broken-off request may have got.
    pub async fn tidy(&self, database: u32, wanted: Wanted) {
        let _turn = self.turn.lock().await;
        let lock = Lock::new(database, wanted);
        let (holder, keeps) = {
            let held = self.held.lock();
            (held.holder.clone(), held.holds_key(lock))
        };
        if let Some(holder) = holder.filter(|_| !keeps)
            && let Err(error) = holder.unlock(&[lock.key()]).await
        {
            tracing::debug!(%error, "an advisory lock is left to its holder's end");
        }
        self.retire_if_empty().await;
    }

    /// Gives a session-level lock back; false if there is none.
    pub async fn unlock(&self, database: u32, wanted: Wanted) -> KvResult<bool> {
        let _turn = self.turn.lock().await;
        let lock = Lock::new(database, wanted);
        {
            let mut held = self.held.lock();
            let Some(counts) = held.counts.get_mut(&lock).filter(|counts| counts.session > 0)
            else {
                return Ok(false);
            };
            counts.session -= 1;
            if counts.is_zero() {
                held.counts.remove(&lock);
            }
        }
        self.free(vec![lock]).await?;
        Ok(true)
    }

    /// Gives back every session-level lock.
    pub async fn unlock_all(&self) -> KvResult<()> {
        if !self.is_in_use() {
            return Ok(());
        }
        let _turn = self.turn.lock().await;
        let freed = self.forget(|counts| counts.session = 0);
        self.free(freed).await
    }

    /// The transaction has ended, and its locks with it.
    pub async fn end_transaction(&self) {
        if !self.until_end.swap(false, Ordering::AcqRel) {
            return;
        }
        let _turn = self.turn.lock().await;
        self.held.lock().taken.clear();
        let freed = self.forget(|counts| counts.until_end = 0);
        if let Err(error) = self.free(freed).await {
            tracing::debug!(%error, "advisory locks are left to their holder's end");
        }
    }

    /// How many locks the transaction has taken: for a savepoint.
    pub fn mark(&self) -> usize {
        self.held.lock().taken.len()
    }

    /// Gives back what the transaction took since `mark`.
    pub async fn rollback_to(&self, mark: usize) {
        if !self.until_end.load(Ordering::Acquire) {
            return;
        }
        let _turn = self.turn.lock().await;
        let freed = {
            let mut held = self.held.lock();
            let at = mark.min(held.taken.len());
            let since = held.taken.split_off(at);
            let mut freed = Vec::new();
            for lock in since {
                let Some(counts) = held.counts.get_mut(&lock) else { continue };
                counts.until_end = counts.until_end.saturating_sub(1);
                if counts.is_zero() {
                    held.counts.remove(&lock);
                    freed.push(lock);
                }
            }
            freed
        };
        if let Err(error) = self.free(freed).await {
            tracing::debug!(%error, "advisory locks are left to their holder's end");
        }
    }

    /// The session ends.
    pub async fn close(&self) {
        if !self.is_in_use() {
            return;
        }
        let holder = {
            let mut held = self.held.lock();
            held.counts.clear();
            held.taken.clear();
            held.holder.take()
        };
        self.in_use.store(false, Ordering::Release);
        if let Some(holder) = holder {
            holder.rollback().await;
        }
    }

    /// # Errors
    /// 57P02, fatal: a lock was lost; others may have it.
    pub async fn check(&self) -> SqlResult<()> {
        if !self.is_in_use() {
            return Ok(());
        }
        let holder = self.held.lock().holder.clone();
        let Some(holder) = holder else { return Ok(()) };
        match holder.unlock(&[]).await {
            Err(KvError::Aborted { .. }) => Err(SqlError::fatal(
                "57P02",
                "terminating connection because an advisory lock was lost",
            )
            .with_detail("The node that kept it did not answer for too long.")),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    pub fn is_in_use(&self) -> bool {
        self.in_use.load(Ordering::Acquire)
    }

    /// The transaction that holds them.
    pub fn holder(&self) -> Option<TxnId> {
        if !self.is_in_use() {
            return None;
        }
        self.held.lock().holder.as_ref().map(|holder| holder.id())
    }

    /// What is held, and what is waited for.
    pub fn infos(&self) -> Vec<AdvisoryInfo> {
        let held = self.held.lock();
        let granted = held.counts.keys().map(|lock| lock.info(true));
        granted.chain(held.waiting.iter().map(|lock| lock.info(false))).collect()
    }

    /// Changes every count; answers the locks of which nothing is left.
    fn forget(&self, change: impl Fn(&mut Counts)) -> Vec<Lock> {
        let mut held = self.held.lock();
        held.counts.values_mut().for_each(&change);
        let freed = held.counts.iter().filter(|(_, counts)| counts.is_zero());
        let freed: Vec<Lock> = freed.map(|(lock, _)| *lock).collect();
        held.counts.retain(|_, counts| !counts.is_zero());
        freed
    }

    /// Gives the keys back that the session has in no mode any more.
    async fn free(&self, freed: Vec<Lock>) -> KvResult<()> {
        let (holder, keys) = {
            let held = self.held.lock();
            let free = freed.iter().filter(|lock| !held.holds_key(**lock));
            (held.holder.clone(), free.map(|lock| lock.key()).collect::<Vec<Key>>())
        };
        if self.retire_if_empty().await {
            return Ok(());
        }
        match holder {
            Some(holder) if !keys.is_empty() => holder.unlock(&keys).await,
            _ => Ok(()),
        }
    }

    /// Ends the holder of nothing: whatever a leader still keeps for it goes with it.
    async fn retire_if_empty(&self) -> bool {
        let holder = {
            let mut held = self.held.lock();
            match held.counts.is_empty() && held.waiting.is_none() {
                true => held.holder.take(),
                false => return false,
            }
        };
        self.in_use.store(false, Ordering::Release);
        if let Some(holder) = holder {
            holder.rollback().await;
        }
        true
    }
}
