//! Taking locks: the newest value of a key that nobody else can change until the end.

use super::deadlock::{Victim, WaitReport};
use super::hidden::{Met, Reading, Stage, View, fates};
use super::lock_table::{Acquired, Ticket, Wake};
use super::read::foreign_write;
use super::record::IntentReader;
use super::{Admission, Evaluator, ForeignIntent, Place, RangeError, RangeResponse, check_keys};
use crate::replica::Leadership;
use core_domain::{Key, KvError, LockMode, LockedValue, Timestamp, TxnId, Value, WaitPolicy};
use std::time::Duration;
use storage::mvcc::PointReader;
use tokio::sync::oneshot;

impl Place<'_> {
    pub(super) async fn lock(
        &self,
        txn: TxnId,
        keys: &[Key],
        mode: LockMode,
        wait: WaitPolicy,
        snapshot: Option<Timestamp>,
    ) -> Result<RangeResponse, RangeError> {
        let deadline = self.deadline(wait);
        'again: loop {
            let admission = self.admit().await?;
            check_keys(&admission.descriptor, keys.iter())?;
            if let Some(key) = keys.first().filter(|key| key.is_advisory())
                && !Box::pin(self.await_takeover(&admission, deadline)).await
            {
                return Err(KvError::LockTimeout { key: key.clone() }.into());
            }
            let mut held: Vec<bool> = Vec::with_capacity(keys.len());
            for key in keys {
                match self.acquire(txn, key, mode, wait, deadline).await? {
                    Held::Yes => held.push(true),
                    Held::Skipped => held.push(false),
                    Held::Moved => continue 'again,
                }
            }
            let taken = || keys.iter().zip(&held).filter(|(_, held)| **held).map(|(key, _)| key);
            let (flight, view) = {
                let mut state = self.gate.state.lock();
                if state.term != admission.term {
                    continue;
                }
                // Whoever gets past a lock that was lost commits above: `was_collected` counts on it.
                state.raise(Timestamp(txn.0));
                (state.latched(taken()), state.view(None))
            };
            if let Some(flight) = flight {
                flight.landed().await;
                continue;
            }
            let locked =
                self.read_locked(&admission, txn, keys, &mut held, mode, (snapshot, wait), &view)?;
            let values = match locked {
                Ok(values) => values,
                Err((at, met)) => {
                    // Its writer must not wait for this one on the same key. It was not held before.
                    self.evaluator.locks.lock().release_keys(txn, [&keys[at]]);
                    Box::pin(self.wait_for(met, txn, &keys[at], wait, deadline)).await?;
                    continue;
                }
            };
            if self.still(&admission).await? {
                return Ok(RangeResponse::Locked(values));
            }
        }
    }

    pub(super) fn deadline(&self, wait: WaitPolicy) -> Option<Duration> {
        match wait {
            WaitPolicy::Wait(Some(limit)) => Some(self.now() + limit),
            WaitPolicy::Wait(None) | WaitPolicy::NoWait | WaitPolicy::SkipLocked => None,
        }
    }

    /// Also while the range is not served yet: what is freed was void already.
    pub(super) fn release_keys(
        &self,
        txn: TxnId,
        keys: &[Key],
    ) -> Result<RangeResponse, RangeError> {
        if self.group.leadership() == Leadership::Follower {
            return Err(self.not_leader());
        }
        check_keys(&self.group.descriptor(), keys.iter())?;
        self.gate.free(&self.evaluator.locks, |locks| locks.release_keys(txn, keys))
    }

    pub(super) fn weaken_keys(
        &self,
        txn: TxnId,
        weaker: &[(Key, LockMode)],
    ) -> Result<RangeResponse, RangeError> {
        if self.group.leadership() == Leadership::Follower {
            return Err(self.not_leader());
        }
        check_keys(&self.group.descriptor(), weaker.iter().map(|(key, _)| key))?;
        self.gate.free(&self.evaluator.locks, |locks| {
            weaker.iter().for_each(|(key, mode)| locks.weaken(txn, key, *mode));
        })
    }

    pub(super) async fn acquire(
        &self,
        txn: TxnId,
        key: &Key,
        mode: LockMode,
        wait: WaitPolicy,
        deadline: Option<Duration>,
    ) -> Result<Held, RangeError> {
        let may_wait = matches!(wait, WaitPolicy::Wait(_));
        let expires = self.evaluator.expiry();
        let acquired = self.evaluator.locks.lock().acquire(txn, key, mode, may_wait, expires);
        match acquired {
            Acquired::Granted => Ok(Held::Yes),
            Acquired::Busy { .. } if wait == WaitPolicy::SkipLocked => Ok(Held::Skipped),
            Acquired::Busy { .. } => Err(KvError::LockNotAvailable { key: key.clone() }.into()),
            Acquired::Deadlock { holder } => {
                Err(KvError::Deadlock { key: key.clone(), waiter: txn, holder }.into())
            }
            Acquired::Queued { ticket, wake, .. } => {
                let waiting = Waiting { evaluator: self.evaluator, txn, key, ticket };
                let woken = self.wait(wake, deadline).await;
                drop(waiting);
                match woken {
                    Some(Wake::Granted) => Ok(Held::Yes),
                    Some(Wake::Moved) => Ok(Held::Moved),
                    Some(Wake::Deadlock { holder }) => {
                        Err(KvError::Deadlock { key: key.clone(), waiter: txn, holder }.into())
                    }
                    None => Err(KvError::LockTimeout { key: key.clone() }.into()),
                }
            }
        }
    }

    /// `None`: the deadline passed.
    async fn wait(
        &self,
        wake: oneshot::Receiver<Wake>,
        deadline: Option<Duration>,
    ) -> Option<Wake> {
        // The sender goes only with the table, or when the transaction itself was released.
        let woken = async { wake.await.unwrap_or(Wake::Moved) };
        match deadline {
            None => Some(woken.await),
            Some(deadline) => {
                let left = deadline.saturating_sub(self.now());
                tokio::time::timeout(left, woken).await.ok()
            }
        }
    }

    /// The error inside: what has to be waited for, and on which of the keys it was met.
    #[allow(clippy::too_many_arguments)] // They are those of one request.
    fn read_locked(
        &self,
        admission: &Admission,
        txn: TxnId,
        keys: &[Key],
        held: &mut [bool],
        mode: LockMode,
        (snapshot, wait): (Option<Timestamp>, WaitPolicy),
        view: &View,
    ) -> Result<Result<Vec<LockedValue>, (usize, Met)>, RangeError> {
        let span = &admission.descriptor.span;
        if self.may_have_intents(&mut self.gate.state.lock(), span) {
            let taken = keys.iter().zip(&*held).filter(|(_, held)| **held);
            self.refuse_foreign(txn, taken.map(|(key, _)| (key, mode)), keys.len())?;
        }
        let reading = view.reading(Timestamp::MAX);
        let mut reader = PointReader::new(self.engine(), keys.len()).with(fates(&reading));
        let mut values = Vec::with_capacity(keys.len());
        for (at, (key, held)) in keys.iter().zip(held).enumerate() {
            if !*held {
                values.push(LockedValue::Skipped);
                continue;
            }
            let newest = reader.newest(key)?;
            let met = Self::in_the_way(reading.as_ref().and_then(Reading::take_met), txn, mode);
            match met {
                None => {}
                Some(Met { mark, stage: Stage::Open }) if mark.start == txn => {
                    let committed_at = newest.map_or(Timestamp::ZERO, |version| version.commit);
                    let value = self.own_value(key, txn, view)?;
                    values.push(LockedValue::Locked { value, committed_at });
                    continue;
                }
                Some(Met { stage: Stage::Open | Stage::Prepared { .. }, .. })
                    if wait == WaitPolicy::NoWait =>
                {
                    self.evaluator.locks.lock().release_keys(txn, [key]);
                    return Err(KvError::LockNotAvailable { key: key.clone() }.into());
                }
                Some(Met { stage: Stage::Open | Stage::Prepared { .. }, .. })
                    if wait == WaitPolicy::SkipLocked =>
                {
                    self.evaluator.locks.lock().release_keys(txn, [key]);
                    *held = false;
                    values.push(LockedValue::Skipped);
                    continue;
                }
                Some(met) => return Ok(Err((at, met))),
            }
            let committed_at = newest.as_ref().map_or(Timestamp::ZERO, |version| version.commit);
            if let (Some(snapshot), Some(version)) = (snapshot, &newest)
                && committed_at > snapshot
                && (mode != LockMode::KeyShare || version.value.is_none())
            {
                let other = version.start;
                return Err(KvError::Conflict { key: key.clone(), other }.into());
            }
            let value = newest.and_then(|version| version.value);
            values.push(LockedValue::Locked { value, committed_at });
        }
        if let Some(snapshot) = snapshot {
            // A tombstone above it, which would be a conflict, may be gone.
            self.refuse_old(snapshot)?;
        }
        tracing::trace!(range = %admission.descriptor.range, %txn, keys = keys.len(), "locked");
        Ok(Ok(values))
    }

    /// What `txn` itself wrote on `key` ahead of its commit.
    fn own_value(&self, key: &Key, txn: TxnId, view: &View) -> Result<Option<Value>, RangeError> {
        let own = view.clone().of(txn);
        let reading = own.reading(Timestamp::MAX);
        let mut reader = PointReader::new(self.engine(), 1).with(fates(&reading));
        Ok(reader.newest(key)?.and_then(|version| version.value))
    }

    /// Intents of others that conflict with locking or writing `keys`: after a change of leader
    /// they are all that is left of their transactions' locks.
    pub(super) fn refuse_foreign<'k>(
        &self,
        txn: TxnId,
        keys: impl Iterator<Item = (&'k Key, LockMode)>,
        count: usize,
    ) -> Result<(), RangeError> {
        let mut reader = IntentReader::new(self.engine(), count);
        let mut foreign = Vec::new();
        for (key, mode) in keys {
            let intents = reader.on(key)?;
            if let Some(write) = intents.write.filter(|intent| intent.txn != txn) {
                foreign.push(foreign_write(key.clone(), write));
            }
            let locks = intents.locks.into_iter();
            let against = locks.filter(|held| held.txn != txn && held.mode.conflicts_with(mode));
            foreign.extend(against.map(|held| ForeignIntent {
                key: key.clone(),
                txn: held.txn,
                primary: held.primary,
                min_commit: held.min_commit,
            }));
        }
        if foreign.is_empty() { Ok(()) } else { Err(RangeError::Intents(foreign)) }
    }
}

impl Place<'_> {
    /// Only the leader of the system range knows all waits.
    pub(super) async fn report_waits(
        &self,
        report: WaitReport,
    ) -> Result<RangeResponse, RangeError> {
        let admission = self.admit().await?;
        let victims = self.evaluator.graph.lock().report(self.now(), admission.term, report);
        for victim in &victims {
            let Victim { waiter, key, holder, .. } = victim;
            tracing::info!(%waiter, %key, %holder, "deadlock");
        }
        Ok(RangeResponse::Victims(victims))
    }

    pub(super) async fn list_waits(&self) -> Result<RangeResponse, RangeError> {
        self.admit().await?;
        Ok(RangeResponse::Waits(self.evaluator.graph.lock().waits(self.now())))
    }
}

pub(super) enum Held {
    Yes,
    Skipped,
    Moved,
}

/// Leaves the queue, also when the waiter's future is dropped.
struct Waiting<'a> {
    evaluator: &'a Evaluator,
    txn: TxnId,
    key: &'a Key,
    ticket: Ticket,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.evaluator.locks.lock().cancel(self.txn, self.key, self.ticket);
    }
}
