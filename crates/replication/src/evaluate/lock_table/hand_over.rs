//! Locks on their way to another leader.
//!
//! Only what is held goes along: who waits is told to ask the new leader. Locks may be lost on the
//! way, or outlive their transaction by its expiry: versions are checked again at commit
//! (protocol.md, rule 3).

use super::LockTable;
use core_domain::{Key, LockMode, Span, TxnId};
use std::time::Duration;

/// More are not handed over: the message must fit into one.
const LOCKS_MAX: usize = 50_000;

impl LockTable {
    /// What is held in `span`.
    pub fn held_in(&self, span: &Span) -> Vec<(TxnId, Key, LockMode)> {
        let keys = self.keys.iter().filter(|(key, _)| span.contains(key));
        let held = keys.flat_map(|(key, locks)| {
            locks.holders.iter().map(|(txn, mode)| (*txn, key.clone(), *mode))
        });
        held.take(LOCKS_MAX).collect()
    }

    /// Takes over what another leader held in `span`, in place of anything known here.
    pub fn take_over(&mut self, span: &Span, held: Vec<(TxnId, Key, LockMode)>, expires: Duration) {
        self.leave(span);
        for (txn, key, mode) in held.into_iter().filter(|(_, key, _)| span.contains(key)) {
            self.touch(txn, expires);
            self.grant(txn, &key, mode);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::{Acquired, Wake};

    const SOON: Duration = Duration::from_secs(5);

    fn key(text: &str) -> Key {
        Key::from(text.as_bytes())
    }

    #[test]
    fn holders_go_along_and_waiters_are_told() {
        let (mut old, mut new) = (LockTable::default(), LockTable::default());
        let span = Span::new(key("b"), key("y"));
        for (txn, name) in [(1, "a"), (1, "k"), (2, "l")] {
            let taken = old.acquire(TxnId(txn), &key(name), LockMode::Exclusive, true, SOON);
            assert!(matches!(taken, Acquired::Granted));
        }
        let waits = old.acquire(TxnId(3), &key("k"), LockMode::Share, true, SOON);
        let Acquired::Queued { mut wake, .. } = waits else { panic!("{waits:?}") };
        let stale = new.acquire(TxnId(9), &key("k"), LockMode::Share, true, SOON);
        assert!(matches!(stale, Acquired::Granted));
        new.take_over(&span, old.held_in(&span), SOON);
        old.leave(&span);
        assert_eq!(wake.try_recv(), Ok(Wake::Moved));
        assert_eq!((old.len(), new.len()), (1, 2));
        let busy = new.acquire(TxnId(3), &key("k"), LockMode::Share, false, SOON);
        assert!(matches!(busy, Acquired::Busy { holder: TxnId(1) }), "{busy:?}");
        new.release(TxnId(1));
        new.release(TxnId(2));
        assert!(new.is_empty());
    }
}
