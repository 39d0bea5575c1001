//! Entries in flight: evaluated and proposed, not yet applied (protocol.md, rule 1).
//!
//! ```text
//! evaluate ── record {keys, min_commit} ── propose ─ ─ ─ fsync, quorum ─ ─ ─ apply ── land
//!                          │                                                    │
//!            a read at R ≥ min_commit of one of the keys ── waits ──────────────┘
//!            another entry on one of the keys            ── waits ──────────────┘
//! ```
//!
//! A record leaves when its entry is applied, certainly never will be, or leadership is lost;
//! never on a timeout.

use super::dead_runs::DeadRuns;
use core_domain::{Key, Span, Timestamp, TxnId};
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use storage::gc::Run;
use storage::keyspace::decode_key;
use tokio::sync::Semaphore;

pub(super) struct Flight {
    pub txn: TxnId,
    /// No version that this entry writes is older.
    pub min_commit: Timestamp,
    /// Closed when the record leaves.
    landed: Semaphore,
}

impl Flight {
    pub fn new(txn: TxnId, min_commit: Timestamp) -> Arc<Self> {
        Arc::new(Self { txn, min_commit, landed: Semaphore::new(0) })
    }

    /// Waits until the record has left.
    pub async fn landed(&self) {
        // No permit is ever added: the only answer is that the semaphore was closed.
        let _ = self.landed.acquire().await;
    }
}

/// The flights of one range. At most one per key: also the latch of what is evaluated next.
#[derive(Default)]
pub(super) struct Flights {
    by_key: BTreeMap<Key, Arc<Flight>>,
    /// What scans leap over, as long as no entry writes to it.
    pub dead: DeadRuns,
}

impl Flights {
    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    pub fn on(&self, key: &Key) -> Option<&Arc<Flight>> {
        if self.by_key.is_empty() { None } else { self.by_key.get(key) }
    }

    /// A flight over `span` that a read at `at` must wait for.
    pub fn under(&self, span: &Span, at: Timestamp) -> Option<&Arc<Flight>> {
        self.over(span).find(|flight| flight.min_commit <= at)
    }

    fn over(&self, span: &Span) -> impl Iterator<Item = &Arc<Flight>> {
        let upper = match span.end.is_empty() {
            true => Bound::Unbounded,
            false => Bound::Excluded(&span.end),
        };
        let some = !self.by_key.is_empty() && !span.is_empty();
        let range =
            some.then(|| self.by_key.range::<Key, _>((Bound::Included(&span.start), upper)));
        range.into_iter().flatten().map(|(_, flight)| flight)
    }

    /// As `under`, but for flights of `txn` itself.
    pub fn against(&self, span: &Span, at: Timestamp, txn: TxnId) -> Option<&Arc<Flight>> {
        self.over(span).find(|flight| flight.min_commit <= at && flight.txn != txn)
    }

    /// A flight of a transaction that began before `before`.
    pub fn of_before(&self, before: Timestamp) -> Option<&Arc<Flight>> {
        self.by_key.values().find(|flight| Timestamp(flight.txn.0) < before)
    }

    /// Lets scans leap over `run`, if nothing was written to it since `moment` or is about to be.
    pub fn remember_dead(&mut self, run: Run, moment: u64) {
        let (Ok((start, _)), Ok((end, _))) = (decode_key(&run.start), decode_key(&run.end)) else {
            return;
        };
        if self.under(&Span::new(start, end.next()), Timestamp::MAX).is_none() {
            self.dead.record(run, moment);
        }
    }

    /// # Panics
    /// If another flight is on one of the keys: evaluation must have waited for it.
    pub fn take_off<'a>(&mut self, flight: &Arc<Flight>, keys: impl Iterator<Item = &'a Key>) {
        for key in keys {
            self.dead.wrote(key);
            if let Some(other) = self.by_key.insert(key.clone(), flight.clone()) {
                assert!(
                    Arc::ptr_eq(&other, flight),
                    "{key} is in flight for {} and {}",
                    other.txn,
                    flight.txn
                );
            }
        }
    }

    pub fn land<'a>(&mut self, flight: &Arc<Flight>, keys: impl Iterator<Item = &'a Key>) {
        for key in keys {
            self.dead.wrote(key);
            // After a loss of leadership the key may be in flight for somebody else.
            if self.by_key.get(key).is_some_and(|on| Arc::ptr_eq(on, flight)) {
                self.by_key.remove(key);
            }
        }
        flight.landed.close();
    }

    /// Each once.
    pub fn all(&self) -> Vec<Arc<Flight>> {
        let mut all: Vec<Arc<Flight>> = self.by_key.values().cloned().collect();
        all.sort_by_key(Arc::as_ptr);
        all.dedup_by(|a, b| Arc::ptr_eq(a, b));
        all
    }

    /// Leadership is lost: every record leaves, and who waited looks again.
    pub fn clear(&mut self) {
        self.dead.clear();
        for flight in std::mem::take(&mut self.by_key).into_values() {
            flight.landed.close();
        }
    }
}
