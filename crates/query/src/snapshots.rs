//! How far back this node reads: what garbage collection must leave alone.
//!
//! ```text
//! epochs    e1 starts 100      e2 starts 200      e3 starts 300 (now)
//! held by   txn a              —                  txn b, and every one to come
//! oldest    100 until a ends, then 300
//! ```
//!
//! A transaction holds the epoch that it began in until it ends: its identity and all its snapshots
//! are above the epoch's start. The epoch changes with every report, so nobody is registered one by one.
//! The present epoch always counts: what begins while the answer is on its way is above it.

use core_domain::Timestamp;
use parking_lot::Mutex;
use std::sync::{Arc, Weak};

/// Snapshots at or after its start.
pub(crate) struct Epoch {
    start: Timestamp,
}

pub(crate) struct Snapshots {
    present: Mutex<Arc<Epoch>>,
    /// Before the present one, and those of transactions that read the past.
    others: Mutex<Vec<Weak<Epoch>>>,
}

impl Default for Snapshots {
    /// Until a first timestamp is known, everything is kept.
    fn default() -> Self {
        let epoch = Arc::new(Epoch { start: Timestamp::ZERO });
        Self { present: Mutex::new(epoch), others: Mutex::default() }
    }
}

impl Snapshots {
    /// To be held for as long as snapshots drawn from now on are read.
    pub fn hold(&self) -> Arc<Epoch> {
        self.present.lock().clone()
    }

    /// To be held while `at`, which lies in the past, is read.
    pub fn hold_past(&self, at: Timestamp) -> Arc<Epoch> {
        let epoch = Arc::new(Epoch { start: at });
        self.others.lock().push(Arc::downgrade(&epoch));
        epoch
    }

    /// `now` was drawn from the oracle: what begins after this has snapshots above it.
    pub fn renew(&self, now: Timestamp) {
        let mut present = self.present.lock();
        if present.start >= now {
            return;
        }
        let before = std::mem::replace(&mut *present, Arc::new(Epoch { start: now }));
        // Under the lock: at no moment is an epoch that somebody holds in neither place.
        self.others.lock().push(Arc::downgrade(&before));
    }

    /// Nothing below is read on this node, now or later.
    pub fn oldest(&self) -> Timestamp {
        let present = self.present.lock();
        let mut others = self.others.lock();
        others.retain(|epoch| epoch.strong_count() > 0);
        let held = others.iter().filter_map(Weak::upgrade).map(|epoch| epoch.start);
        held.chain([present.start]).min().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_snapshot_is_that_of_the_oldest_holder() {
        let snapshots = Snapshots::default();
        assert_eq!(snapshots.oldest(), Timestamp::ZERO);
        snapshots.renew(Timestamp(100));
        assert_eq!(snapshots.oldest(), Timestamp(100));
        let first = snapshots.hold();
        snapshots.renew(Timestamp(200));
        let second = snapshots.hold();
        snapshots.renew(Timestamp(300));
        assert_eq!(snapshots.oldest(), Timestamp(100));
        drop(first);
        assert_eq!(snapshots.oldest(), Timestamp(200));
        let past = snapshots.hold_past(Timestamp(50));
        drop(second);
        assert_eq!(snapshots.oldest(), Timestamp(50));
        drop(past);
        assert_eq!(snapshots.oldest(), Timestamp(300));
    }
}
