//! Who holds which key of this node's ranges, and who waits behind whom.
//!
//! Pure state: the caller holds the mutex, waits on the receiver it is given, and tells the time.
//! One table serves every range that this node leads, so a circle of waiters within the node is
//! seen whichever ranges it runs through, and a split moves nothing.
//!
//! ```text
//! key a   held: t1 Exclusive            queue: t2 Exclusive, t3 KeyShare, t4 KeyShare
//! t1 ends → t2 is granted; t2 ends → t3 and t4 together
//! ```
//!
//! Queues are fair: a request that conflicts with an earlier waiter waits behind it. A holder that
//! asks for more on the same key goes to the front: the others wait for it anyway.
//!
//! Locks are memory only. What makes losing them harmless is the re-check of versions at commit
//! (protocol.md, rule 3). Circles through several nodes are not seen here but in `deadlock.rs`.

#[cfg(test)]
mod golden;
mod hand_over;

use super::deadlock::{Victim, WaitEdge};
use core_domain::{Key, LockMode, Span, TxnId};
use hashbrown::{HashMap, HashSet};
use std::collections::VecDeque;
use std::time::Duration;
use tokio::sync::oneshot;

/// The place of one waiter in one queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ticket(u64);

/// What a waiter hears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// The lock is its transaction's.
    Granted,
    /// The range left this node: ask its new leader.
    Moved,
    /// Waiting would never end: it is in a circle through other nodes.
    Deadlock { holder: TxnId },
}

/// The answer to [`LockTable::acquire`].
#[derive(Debug)]
pub enum Acquired {
    Granted,
    /// Wait on `wake`; give up with [`LockTable::cancel`].
    Queued {
        ticket: Ticket,
        wake: oneshot::Receiver<Wake>,
        holder: TxnId,
    },
    /// Not free, and the caller would not wait.
    Busy {
        holder: TxnId,
    },
    /// Waiting would close a circle.
    Deadlock {
        holder: TxnId,
    },
}

#[derive(Default)]
pub struct LockTable {
    keys: HashMap<Key, KeyLocks>,
    txns: HashMap<TxnId, Holdings>,
    tickets: u64,
    /// The newest ticket when the waits were last reported.
    reported: u64,
}

#[derive(Default)]
struct KeyLocks {
    holders: Vec<(TxnId, LockMode)>,
    queue: VecDeque<Waiter>,
}

struct Waiter {
    txn: TxnId,
    mode: LockMode,
    ticket: Ticket,
    wake: oneshot::Sender<Wake>,
}

struct Holdings {
    keys: HashSet<Key>,
    waits: Vec<(Key, Ticket)>,
    /// Monotonic time at which the transaction counts as dead unless it is heard of.
    expires: Duration,
}

impl KeyLocks {
    fn holds(&self, txn: TxnId) -> bool {
        self.holders.iter().any(|(holder, _)| *holder == txn)
    }

    fn holds_at_least(&self, txn: TxnId, mode: LockMode) -> bool {
        self.holders.iter().any(|(holder, held)| *holder == txn && covers(*held, mode))
    }

    /// Everybody whom a request would wait for: conflicting holders, and conflicting waiters in the
    /// first `ahead` places of the queue.
    fn blockers(
        &self,
        txn: TxnId,
        mode: LockMode,
        ahead: usize,
    ) -> impl Iterator<Item = TxnId> + '_ {
        let upgrade = self.holds(txn);
        let holders = self.holders.iter().map(|(holder, held)| (*holder, *held));
        let waiters = self.queue.iter().take(if upgrade { 0 } else { ahead });
        holders
            .chain(waiters.map(|waiter| (waiter.txn, waiter.mode)))
            .filter(move |(other, held)| *other != txn && held.conflicts_with(mode))
            .map(|(other, _)| other)
    }

    /// As many blockers as it takes to reach the others through them: the queue of a hot key has
    /// as many edges as waiters, not their square. Whoever waits ahead for the same or more waits for
    /// all that this one does.
    fn nearest_blockers(&self, txn: TxnId, mode: LockMode, place: usize) -> Vec<TxnId> {
        if !self.holds(txn) {
            let ahead = self.queue.iter().take(place).rev();
            let mut nearest = Vec::new();
            for waiter in ahead.filter(|w| w.txn != txn && w.mode.conflicts_with(mode)) {
                nearest.push(waiter.txn);
                if waiter.mode >= mode && !self.holds(waiter.txn) {
                    return nearest;
                }
            }
        }
        self.blockers(txn, mode, place).collect()
    }

    fn grant(&mut self, txn: TxnId, mode: LockMode) {
        self.holders.retain(|(holder, held)| *holder != txn || !covers(mode, *held));
        self.holders.push((txn, mode));
    }

    /// Grants whatever the queue's order allows; answers the transactions that got the key.
    fn wake_queue(&mut self) -> Vec<(TxnId, Ticket)> {
        let mut granted = Vec::new();
        let mut at = 0;
        while at < self.queue.len() {
            let waiter = &self.queue[at];
            if self.blockers(waiter.txn, waiter.mode, at).next().is_some() {
                at += 1;
                continue;
            }
            let waiter = self.queue.remove(at).expect("just seen");
            // A waiter that went away without cancelling takes nothing.
            if waiter.wake.send(Wake::Granted).is_ok() {
                self.grant(waiter.txn, waiter.mode);
                granted.push((waiter.txn, waiter.ticket));
            }
        }
        granted
    }
}

/// Whether a holder of `held` need not ask for `wanted`.
fn covers(held: LockMode, wanted: LockMode) -> bool {
    use LockMode::*;
    match held {
        Exclusive => true,
        NoKeyExclusive => matches!(wanted, NoKeyExclusive | Share | KeyShare),
        Share => matches!(wanted, Share | KeyShare),
        KeyShare => wanted == KeyShare,
    }
}

impl LockTable {
    /// Asks for `key`. Until `expires` (monotonic) the transaction counts as alive.
    pub fn acquire(
        &mut self,
        txn: TxnId,
        key: &Key,
        mode: LockMode,
        may_wait: bool,
        expires: Duration,
    ) -> Acquired {
        self.touch(txn, expires);
        let Some(locks) = self.keys.get(key) else {
            self.grant(txn, key, mode);
            return Acquired::Granted;
        };
        if locks.holds_at_least(txn, mode) {
            return Acquired::Granted;
        }
        let Some(holder) = locks.blockers(txn, mode, usize::MAX).next() else {
            self.grant(txn, key, mode);
            return Acquired::Granted;
        };
        if !may_wait {
            return Acquired::Busy { holder };
        }
        if self.closes_a_circle(txn, key, mode) {
            return Acquired::Deadlock { holder };
        }
        self.enqueue(txn, key, mode, holder)
    }

    fn grant(&mut self, txn: TxnId, key: &Key, mode: LockMode) {
        let locks = self.keys.entry(key.clone()).or_default();
        let known = locks.holds(txn);
        locks.grant(txn, mode);
        if !known && let Some(holdings) = self.txns.get_mut(&txn) {
            holdings.keys.insert(key.clone());
        }
    }

    fn enqueue(&mut self, txn: TxnId, key: &Key, mode: LockMode, holder: TxnId) -> Acquired {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        let (wake, receiver) = oneshot::channel();
        let locks = self.keys.entry(key.clone()).or_default();
        let waiter = Waiter { txn, mode, ticket, wake };
        if locks.holds(txn) {
            locks.queue.push_front(waiter);
        } else {
            locks.queue.push_back(waiter);
        }
        if let Some(holdings) = self.txns.get_mut(&txn) {
            holdings.waits.push((key.clone(), ticket));
        }
        Acquired::Queued { ticket, wake: receiver, holder }
    }

    /// Depth first over "waits for", starting with whom the request would wait for.
    fn closes_a_circle(&self, txn: TxnId, key: &Key, mode: LockMode) -> bool {
        let Some(locks) = self.keys.get(key) else { return false };
        let mut open: Vec<TxnId> = locks.blockers(txn, mode, usize::MAX).collect();
        let mut seen = HashSet::new();
        while let Some(other) = open.pop() {
            if other == txn {
                return true;
            }
            if !seen.insert(other) {
                continue;
            }
            let waits = self.txns.get(&other).map(|h| h.waits.as_slice()).unwrap_or_default();
            for (key, ticket) in waits {
                if let Some(locks) = self.keys.get(key)
                    && let Some(place) = locks.queue.iter().position(|w| w.ticket == *ticket)
                {
                    open.extend(locks.blockers(other, locks.queue[place].mode, place));
                }
            }
        }
        false
    }

    /// Gives up waiting. If the lock was granted meanwhile it stays the transaction's.
    pub fn cancel(&mut self, txn: TxnId, key: &Key, ticket: Ticket) {
        self.forget_wait(txn, ticket);
        if let Some(locks) = self.keys.get_mut(key) {
            locks.queue.retain(|waiter| waiter.ticket != ticket);
            self.wake_waiters(key);
        }
    }

    fn forget_wait(&mut self, txn: TxnId, ticket: Ticket) {
        if let Some(holdings) = self.txns.get_mut(&txn) {
            holdings.waits.retain(|(_, waiting)| *waiting != ticket);
        }
    }

    /// Whether `txn` has `key` in `mode` or a stronger one.
    pub fn holds(&self, txn: TxnId, key: &Key, mode: LockMode) -> bool {
        self.keys.get(key).is_some_and(|locks| locks.holds_at_least(txn, mode))
    }

    /// Another transaction that holds `key` in a mode against `mode`.
    pub fn conflicting_holder(&self, txn: TxnId, key: &Key, mode: LockMode) -> Option<TxnId> {
        self.keys.get(key)?.blockers(txn, mode, 0).next()
    }

    /// Whether anybody but `txn` holds anything.
    pub fn others_hold(&self, txn: TxnId) -> bool {
        self.txns.iter().any(|(other, holdings)| *other != txn && !holdings.keys.is_empty())
    }

    /// Heard of the transaction: it lives until `expires`.
    pub fn touch(&mut self, txn: TxnId, expires: Duration) {
        self.txns
            .entry(txn)
            .and_modify(|holdings| holdings.expires = holdings.expires.max(expires))
            .or_insert_with(|| Holdings { keys: HashSet::new(), waits: Vec::new(), expires });
    }

    pub fn is_alive(&self, txn: TxnId, now: Duration) -> bool {
        self.txns.get(&txn).is_some_and(|holdings| holdings.expires > now)
    }

    /// The transaction ended: all its locks are free, and whoever waited for them is woken.
    pub fn release(&mut self, txn: TxnId) {
        let Some(holdings) = self.txns.remove(&txn) else { return };
        for (key, ticket) in &holdings.waits {
            if let Some(locks) = self.keys.get_mut(key) {
                locks.queue.retain(|waiter| waiter.ticket != *ticket);
            }
        }
        let waited = holdings.waits.into_iter().map(|(key, _)| key);
        for key in holdings.keys.into_iter().chain(waited) {
            self.release_key(txn, &key);
        }
    }

    /// Frees some keys of a transaction that lives on elsewhere.
    pub fn release_keys<'a>(&mut self, txn: TxnId, keys: impl IntoIterator<Item = &'a Key>) {
        for key in keys {
            if let Some(holdings) = self.txns.get_mut(&txn) {
                holdings.keys.remove(key);
            }
            self.release_key(txn, key);
        }
    }

    /// The transaction holds `key`, if it does, in no more than `mode` from now on.
    pub fn weaken(&mut self, txn: TxnId, key: &Key, mode: LockMode) {
        if let Some(locks) = self.keys.get_mut(key) {
            let holder = locks.holders.iter_mut().find(|(holder, _)| *holder == txn);
            if let Some((_, held)) = holder
                && covers(*held, mode)
            {
                *held = mode;
            }
            self.wake_waiters(key);
        }
    }

    fn release_key(&mut self, txn: TxnId, key: &Key) {
        if let Some(locks) = self.keys.get_mut(key) {
            locks.holders.retain(|(holder, _)| *holder != txn);
            self.wake_waiters(key);
        }
    }

    fn wake_waiters(&mut self, key: &Key) {
        let Some(locks) = self.keys.get_mut(key) else { return };
        let granted = locks.wake_queue();
        if locks.holders.is_empty() && locks.queue.is_empty() {
            self.keys.remove(key);
        }
        for (txn, ticket) in granted {
            self.forget_wait(txn, ticket);
            if let Some(holdings) = self.txns.get_mut(&txn) {
                holdings.keys.insert(key.clone());
            }
        }
    }

    /// Releases what belongs to transactions that were not heard of in time; answers those that held
    /// something.
    pub fn expire(&mut self, now: Duration) -> Vec<TxnId> {
        let dead: Vec<TxnId> = self
            .txns
            .iter()
            .filter(|(_, holdings)| holdings.expires <= now)
            .map(|(txn, _)| *txn)
            .collect();
        let held = dead.iter().copied().filter(|txn| !self.txns[txn].keys.is_empty()).collect();
        dead.iter().for_each(|txn| self.release(*txn));
        held
    }

    /// The range of `span` is led elsewhere now: its locks are void, its waiters must move.
    pub fn leave(&mut self, span: &Span) {
        let left: Vec<Key> = self.keys.keys().filter(|key| span.contains(key)).cloned().collect();
        for key in left {
            let Some(locks) = self.keys.remove(&key) else { continue };
            for (holder, _) in locks.holders {
                if let Some(holdings) = self.txns.get_mut(&holder) {
                    holdings.keys.remove(&key);
                }
            }
            for waiter in locks.queue {
                self.forget_wait(waiter.txn, waiter.ticket);
                // A waiter that is gone needs no word.
                let _ = waiter.wake.send(Wake::Moved);
            }
        }
    }

    /// Who waits for whom. `again`: only whoever has waited at the last such call already.
    pub fn waits(&mut self, again: bool) -> Vec<WaitEdge> {
        let newest = match again {
            true => std::mem::replace(&mut self.reported, self.tickets),
            false => u64::MAX,
        };
        let mut edges = Vec::new();
        for (txn, holdings) in self.txns.iter().filter(|(_, holdings)| !holdings.waits.is_empty()) {
            for (key, ticket) in holdings.waits.iter().filter(|(_, ticket)| ticket.0 <= newest) {
                let Some(locks) = self.keys.get(key) else { continue };
                let Some(place) = locks.queue.iter().position(|w| w.ticket == *ticket) else {
                    continue;
                };
                let mode = locks.queue[place].mode;
                let blockers = match again {
                    true => locks.nearest_blockers(*txn, mode, place),
                    false => locks.blockers(*txn, mode, place).collect(),
                };
                let (waiter, key) = (*txn, key.clone());
                edges.push(WaitEdge { ticket: ticket.0, waiter, key, mode, blockers });
            }
        }
        edges
    }

    /// Tells a waiter that it must give up.
    pub fn give_way(&mut self, victim: &Victim) {
        let ticket = Ticket(victim.ticket);
        let Some(locks) = self.keys.get_mut(&victim.key) else { return };
        let waiting = |waiter: &Waiter| waiter.ticket == ticket && waiter.txn == victim.waiter;
        let Some(place) = locks.queue.iter().position(waiting) else { return };
        if let Some(waiter) = locks.queue.remove(place) {
            // One that has gone needs no word.
            let _ = waiter.wake.send(Wake::Deadlock { holder: victim.holder });
        }
        self.forget_wait(victim.waiter, ticket);
        self.wake_waiters(&victim.key);
    }

    /// Keys that are held or waited for.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(5);

    /// A conversation with the table: each line is a request, each answer what its user would see.
    struct Talk {
        table: LockTable,
        waiting: Vec<(TxnId, Key, Ticket, oneshot::Receiver<Wake>)>,
    }

    impl Talk {
        fn new() -> Self {
            Self { table: LockTable::default(), waiting: Vec::new() }
        }

        fn lock(&mut self, txn: u64, key: &str, mode: LockMode) -> &'static str {
            let key = Key::from(key.as_bytes());
            match self.table.acquire(TxnId(txn), &key, mode, true, SOON) {
                Acquired::Granted => "granted",
                Acquired::Queued { ticket, wake, .. } => {
                    self.waiting.push((TxnId(txn), key, ticket, wake));
                    "waits"
                }
                Acquired::Busy { .. } => "busy",
                Acquired::Deadlock { .. } => "deadlock",
            }
        }

        /// Transactions woken since the last call.
        fn woken(&mut self) -> Vec<u64> {
            let mut woken = Vec::new();
            self.waiting.retain_mut(|(txn, _, _, wake)| match wake.try_recv() {
                Ok(Wake::Granted) => {
                    woken.push(txn.0);
                    false
                }
                _ => true,
            });
            woken
        }

        fn end(&mut self, txn: u64) -> Vec<u64> {
            self.table.release(TxnId(txn));
            self.woken()
        }
    }

    use LockMode::*;

    /// PostgreSQL's table of row-level lock conflicts; and what one holds does not stand for more.
    #[test]
    fn modes_conflict_as_postgresqls_do_also_after_an_upgrade() {
        let modes = [KeyShare, Share, NoKeyExclusive, Exclusive];
        for (h, held) in modes.into_iter().enumerate() {
            for (w, wanted) in modes.into_iter().enumerate() {
                let answer = if h + w < 3 { "granted" } else { "waits" };
                let mut talk = Talk::new();
                talk.lock(1, "a", held);
                assert_eq!(talk.lock(2, "a", wanted), answer, "{wanted:?} beside {held:?}");
                // The holder takes `wanted` too: the weakest that conflicts with it has to wait.
                let mut talk = Talk::new();
                talk.lock(1, "a", held);
                assert_eq!(talk.lock(1, "a", wanted), "granted");
                let strongest = h.max(w);
                assert_eq!(
                    talk.lock(2, "a", modes[3 - strongest]),
                    "waits",
                    "{held:?}, {wanted:?}"
                );
            }
        }
    }

    #[test]
    fn a_lock_made_weaker_lets_those_in_who_may() {
        let mut talk = Talk::new();
        assert_eq!(talk.lock(1, "a", Share), "granted");
        assert_eq!(talk.lock(1, "a", Exclusive), "granted");
        assert_eq!(talk.lock(2, "a", Share), "waits");
        assert_eq!(talk.lock(3, "a", NoKeyExclusive), "waits");
        talk.table.weaken(TxnId(1), &Key::from(&b"a"[..]), Share);
        assert_eq!(talk.woken(), [2]);
        talk.table.weaken(TxnId(1), &Key::from(&b"a"[..]), Exclusive);
        assert_eq!(talk.lock(4, "a", KeyShare), "granted");
        assert!(talk.end(2).is_empty());
        assert_eq!(talk.end(1), [3]);
    }

    #[test]
    fn waiters_are_woken_in_order_and_sharers_together() {
        let mut talk = Talk::new();
        assert_eq!(talk.lock(1, "a", Exclusive), "granted");
        assert_eq!(talk.lock(2, "a", Exclusive), "waits");
        assert_eq!(talk.lock(3, "a", KeyShare), "waits");
        assert_eq!(talk.lock(4, "a", KeyShare), "waits");
        assert_eq!(talk.lock(5, "a", Exclusive), "waits");
        assert_eq!(talk.end(1), [2]);
        assert_eq!(talk.end(2), [3, 4]);
        assert_eq!(talk.end(3), [0u64; 0]);
        assert_eq!(talk.end(4), [5]);
        assert_eq!(talk.end(5), [0u64; 0]);
        assert!(talk.table.is_empty());
    }

    #[test]
    fn a_sharer_does_not_overtake_a_waiting_writer() {
        let mut talk = Talk::new();
        assert_eq!(talk.lock(1, "a", Share), "granted");
        assert_eq!(talk.lock(2, "a", Exclusive), "waits");
        assert_eq!(talk.lock(3, "a", Share), "waits");
        assert_eq!(talk.end(1), [2]);
        assert_eq!(talk.end(2), [3]);
    }

    #[test]
    fn key_share_and_update_of_other_columns_go_together() {
        let mut talk = Talk::new();
        assert_eq!(talk.lock(1, "a", KeyShare), "granted");
        assert_eq!(talk.lock(2, "a", NoKeyExclusive), "granted");
        assert_eq!(talk.lock(3, "a", KeyShare), "granted");
        assert_eq!(talk.lock(4, "a", Exclusive), "waits");
        assert_eq!(talk.end(2), [0u64; 0]);
        assert_eq!(talk.end(1), [0u64; 0]);
        assert_eq!(talk.end(3), [4]);
    }

    #[test]
    fn an_upgrade_goes_first_and_two_upgrades_are_a_deadlock() {
        let mut talk = Talk::new();
        assert_eq!(talk.lock(1, "a", Share), "granted");
        assert_eq!(talk.lock(2, "a", Share), "granted");
        assert_eq!(talk.lock(3, "a", Exclusive), "waits");
        assert_eq!(talk.lock(1, "a", Exclusive), "waits");
        assert_eq!(talk.lock(2, "a", Exclusive), "deadlock");
        assert_eq!(talk.end(2), [1]);
        assert_eq!(talk.end(1), [3]);
    }

    #[test]
    fn the_request_that_closes_a_circle_is_refused_whoever_is_in_between() {
        let mut talk = Talk::new();
        for (txn, key) in [(1, "a"), (2, "b"), (3, "c")] {
            assert_eq!(talk.lock(txn, key, Exclusive), "granted");
        }
        assert_eq!(talk.lock(1, "b", Exclusive), "waits");
        assert_eq!(talk.lock(2, "c", Exclusive), "waits");
        assert_eq!(talk.lock(3, "a", Exclusive), "deadlock");
        assert_eq!(talk.end(3), [2]);
    }

    /// t3 waits for t2 only because t2 stands before it in the queue.
    #[test]
    fn a_circle_through_the_queue_is_seen() {
        let mut talk = Talk::new();
        assert_eq!(talk.lock(1, "a", KeyShare), "granted");
        assert_eq!(talk.lock(3, "b", Exclusive), "granted");
        assert_eq!(talk.lock(2, "a", Exclusive), "waits");
        assert_eq!(talk.lock(3, "a", KeyShare), "waits");
        assert_eq!(talk.lock(1, "b", Exclusive), "deadlock");
    }

    #[test]
    fn a_waiter_that_gives_up_lets_those_behind_it_pass() {
        let mut talk = Talk::new();
        assert_eq!(talk.lock(1, "a", Share), "granted");
        assert_eq!(talk.lock(2, "a", Exclusive), "waits");
        assert_eq!(talk.lock(3, "a", Share), "waits");
        let (txn, key, ticket, _) = talk.waiting.remove(0);
        talk.table.cancel(txn, &key, ticket);
        assert_eq!(talk.woken(), [3]);
    }

    #[test]
    fn the_locks_of_a_silent_transaction_expire() {
        let mut talk = Talk::new();
        assert_eq!(talk.lock(1, "a", Exclusive), "granted");
        assert_eq!(talk.lock(2, "a", Exclusive), "waits");
        talk.table.touch(TxnId(2), SOON * 3);
        assert_eq!(talk.table.expire(SOON * 2), [TxnId(1)]);
        assert_eq!(talk.woken(), [2]);
        assert!(talk.table.is_alive(TxnId(2), SOON * 2));
        assert!(!talk.table.is_alive(TxnId(1), Duration::ZERO));
    }

    #[test]
    fn waiters_of_a_range_that_left_are_sent_after_it() {
        let mut talk = Talk::new();
        assert_eq!(talk.lock(1, "a", Exclusive), "granted");
        assert_eq!(talk.lock(2, "a", Exclusive), "waits");
        assert_eq!(talk.lock(1, "z", Exclusive), "granted");
        talk.table.leave(&Span::new(Key::from(&b"a"[..]), Key::from(&b"m"[..])));
        assert_eq!(talk.waiting[0].3.try_recv(), Ok(Wake::Moved));
        assert_eq!(talk.lock(3, "a", Exclusive), "granted");
        assert_eq!(talk.lock(3, "z", Exclusive), "waits");
    }
}
