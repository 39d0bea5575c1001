//! Commits over several ranges, or too large for one entry.
//!
//! ```text
//! coordinator          range of the primary          other ranges
//!   Prewrite ─────────▶ intents ◀──────────────────── intents          (parallel)
//!   C = oracle
//!   CommitPrimary ────▶ versions at C, status record                   decided here
//!   ◀── committed
//!   Resolve ─────────────────────────────────────────▶ versions at C    (in the background)
//! ```
//!
//! Who meets an intent asks the primary (`QueryTxn`). A transaction that was not heard of for
//! [`TXN_EXPIRY`] is rolled back there; markers refuse what of it arrives later (rule 4).

use super::async_commit::AsyncPart;
use super::commit::{Evaluated, Frees, Obstacle, version_op};
use super::flight::Flight;
use super::hidden::Hidden;
use super::record::{
    IntentReader, Intents, LockIntent, Outcome, Outcomes, WriteIntent, intents_on, outcome_beside,
    outcome_op,
};
use super::{
    Admission, LockedKey, Place, RangeError, RangeResponse, TXN_EXPIRY, Write, check_keys,
};
use core_domain::planted::{PlantedBug, is_planted};
use core_domain::{Key, KvError, Timestamp, TxnId, TxnStatus};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use storage::{Cf, IterOptions, keyspace};

impl From<Outcome> for TxnStatus {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Committed(at) => TxnStatus::Committed(at),
            Outcome::RolledBack => TxnStatus::RolledBack,
        }
    }
}

/// What one entry carries that finishes intents.
const RESOLVE_BYTES_MAX: usize = 1 << 20;

/// What an evaluation leads to.
pub(super) enum Step {
    Answer(RangeResponse),
    Propose(Evaluated, Frees, RangeResponse),
}

impl Place<'_> {
    pub(super) async fn prewrite(
        &self,
        txn: TxnId,
        primary: Key,
        writes: Vec<Write>,
        locked: Vec<LockedKey>,
    ) -> Result<RangeResponse, RangeError> {
        self.prewrite_as(txn, primary, writes, locked, None).await
    }

    pub(super) async fn prewrite_as(
        &self,
        txn: TxnId,
        primary: Key,
        writes: Vec<Write>,
        locked: Vec<LockedKey>,
        of_async: Option<&AsyncPart>,
    ) -> Result<RangeResponse, RangeError> {
        let keys: Vec<Key> =
            writes.iter().map(|w| &w.key).chain(locked.iter().map(|l| &l.key)).cloned().collect();
        self.evaluator.locks.lock().touch(txn, self.evaluator.expiry());
        self.step(&keys, |admission| {
            self.evaluate_prewrite(admission, txn, &primary, &writes, &locked, &keys, of_async)
        })
        .await
    }

    /// Evaluates until nothing is in the way, then proposes if there is something to.
    pub(super) async fn step(
        &self,
        keys: &[Key],
        evaluate: impl Fn(&Admission) -> Result<Step, Obstacle>,
    ) -> Result<RangeResponse, RangeError> {
        loop {
            let admission = self.admit_effects().await?;
            check_keys(&admission.descriptor, keys.iter())?;
            match evaluate(&admission) {
                Ok(Step::Answer(response)) => {
                    if self.still(&admission).await? {
                        return Ok(response);
                    }
                }
                Ok(Step::Propose(evaluated, frees, response)) => {
                    self.propose(&admission, evaluated, frees).await?;
                    return Ok(response);
                }
                Err(obstacle) => self.pass(obstacle).await?,
            }
        }
    }

    #[allow(clippy::too_many_arguments)]
    fn evaluate_prewrite(
        &self,
        admission: &Admission,
        txn: TxnId,
        primary: &Key,
        writes: &[Write],
        locked: &[LockedKey],
        keys: &[Key],
        of_async: Option<&AsyncPart>,
    ) -> Result<Step, Obstacle> {
        let mut state = self.gate.state.lock();
        if state.term != admission.term {
            return Err(Obstacle::Moved);
        }
        if let Some(flight) = state.latched(keys.iter()) {
            return Err(Obstacle::Flight(flight));
        }
        let may_have_intents = state.intents != Some(0);
        let mut intents_before = Vec::with_capacity(keys.len());
        let mut own_before = 0;
        let mut outcomes = Outcomes::new(self.engine(), keys.len());
        let mut reader = IntentReader::new(self.engine(), keys.len());
        for key in keys {
            match outcomes.beside(key, txn)? {
                Some(Outcome::RolledBack) => return Err(KvError::Aborted { txn }.into()),
                // A late copy of a prewrite whose transaction is long committed.
                Some(Outcome::Committed(at)) => {
                    return Ok(Step::Answer(RangeResponse::Prewritten { min_commit: at }));
                }
                None => {}
            }
            let intents = match may_have_intents {
                true => reader.on(key)?,
                false => Intents::default(),
            };
            own_before += usize::from(intents.are_of(txn));
            intents_before.push(intents);
        }
        if own_before == keys.len() && own_before > 0 {
            return Ok(Step::Answer(RangeResponse::Prewritten {
                min_commit: own_min_commit(&intents_before, txn),
            }));
        }
        let newest = self.check_writes(&state, txn, writes, locked)?;
        let mut min_commit = newest.max(state.max_ts).next();
        if let Some(part) = of_async {
            if state.is_ahead_of_oracle() {
                return Err(Obstacle::AheadOfOracle);
            }
            min_commit = min_commit.max(part.floor);
            if keys.contains(primary) {
                min_commit = min_commit.max(state.pushes.against(txn).next());
            }
        }
        let flight = Flight::new(txn, min_commit);
        state.flights.take_off(&flight, keys.iter());
        let placed = intents_before.iter().filter(|before| before.is_empty()).count();
        state.intents = state.intents.map(|known| known + placed);
        drop(state);
        let mut ops = Vec::with_capacity(keys.len());
        let (of_writes, of_locked) = intents_before.split_at(writes.len());
        // What an asynchronous commit has prewritten stays as it was answered.
        let is_kept = |before: &Intents| of_async.is_some() && before.are_of(txn);
        for (write, before) in writes.iter().zip(of_writes) {
            if is_kept(before) {
                continue;
            }
            let mut intents = before.clone();
            intents.write = Some(WriteIntent {
                txn,
                primary: primary.clone(),
                sequence: 0,
                min_commit,
                value: write.value.clone(),
                secondaries: of_async
                    .filter(|_| write.key == *primary)
                    .map(|part| part.secondaries.clone()),
            });
            ops.push(intents.op(&write.key));
        }
        for (held, before) in locked.iter().zip(of_locked) {
            if is_kept(before) {
                continue;
            }
            let mut intents = before.clone();
            intents.locks.retain(|intent| intent.txn != txn);
            let primary = primary.clone();
            intents.locks.push(LockIntent { txn, primary, mode: held.mode, min_commit });
            ops.push(intents.op(&held.key));
        }
        let evaluated = Evaluated { flight, keys: keys.to_vec(), ops, placed, decides: None };
        let min_commit = min_commit.max(own_min_commit(&intents_before, txn));
        Ok(Step::Propose(evaluated, Frees::Nothing, RangeResponse::Prewritten { min_commit }))
    }

    pub(super) async fn commit_primary(
        &self,
        txn: TxnId,
        primary: Key,
        commit: Timestamp,
        keys: Vec<Key>,
    ) -> Result<RangeResponse, RangeError> {
        let all: BTreeSet<Key> = keys.into_iter().chain([primary.clone()]).collect();
        let all: Vec<Key> = all.into_iter().collect();
        self.step(&all, |admission| {
            match self.decided(admission, &all, &primary, txn)? {
                Some(Outcome::Committed(at)) => {
                    return Ok(Step::Answer(RangeResponse::Committed(at)));
                }
                Some(Outcome::RolledBack) => return Err(KvError::Aborted { txn }.into()),
                None => {}
            }
            let on_primary = intents_on(self.engine(), &primary)?;
            let Some(own) = on_primary.write.filter(|intent| intent.txn == txn) else {
                // Its record may have expired.
                self.refuse_forgotten(txn)?;
                return Err(KvError::Aborted { txn }.into());
            };
            if commit < own.min_commit {
                let text = format!("commit of {txn} at {commit} is below {}", own.min_commit);
                return Err(KvError::Internal(text).into());
            }
            let outcome = Outcome::Committed(commit);
            let mut evaluated = self.finish(admission, txn, outcome, &all, usize::MAX)?;
            if own.secondaries.is_none()
                && let Some(above) = self.pushed(&evaluated, txn, commit)
            {
                return Ok(Step::Answer(RangeResponse::Pushed { above }));
            }
            evaluated.ops.push(outcome_op(&primary, txn, outcome));
            let frees = Frees::Keys(txn, all.clone());
            Ok(Step::Propose(evaluated, frees, RangeResponse::Committed(commit)))
        })
        .await
    }

    /// Somebody has read that `txn` did not commit at `commit` (rule 5). The evaluation is undone
    /// then.
    fn pushed(&self, evaluated: &Evaluated, txn: TxnId, commit: Timestamp) -> Option<Timestamp> {
        let mut state = self.gate.state.lock();
        let above = state.pushes.against(txn);
        if commit > above {
            return None;
        }
        state.flights.land(&evaluated.flight, evaluated.keys.iter());
        Some(above)
    }

    /// What the status record says, once nothing is in flight on `keys`.
    fn decided(
        &self,
        admission: &Admission,
        keys: &[Key],
        primary: &Key,
        txn: TxnId,
    ) -> Result<Option<Outcome>, Obstacle> {
        {
            let state = self.gate.state.lock();
            if state.term != admission.term {
                return Err(Obstacle::Moved);
            }
            if let Some(flight) = state.latched(keys.iter().chain([primary])) {
                return Err(Obstacle::Flight(flight));
            }
        }
        Ok(outcome_beside(self.engine(), primary, txn)?)
    }

    /// Takes the intents of `txn` off `keys`: into versions, or into nothing with a marker each.
    /// Only off the first of them, at least one, if all together are more than `bytes_max`.
    fn finish(
        &self,
        admission: &Admission,
        txn: TxnId,
        outcome: Outcome,
        keys: &[Key],
        bytes_max: usize,
    ) -> Result<Evaluated, Obstacle> {
        let mut state = self.gate.state.lock();
        if state.term != admission.term {
            return Err(Obstacle::Moved);
        }
        if let Some(flight) = state.latched(keys.iter()) {
            return Err(Obstacle::Flight(flight));
        }
        let threshold = self.engine().garbage().threshold();
        let mut ops = Vec::with_capacity(2 * keys.len());
        let mut reader = IntentReader::new(self.engine(), keys.len());
        let mut taken = 0;
        let mut bytes = 0;
        for key in keys {
            let mut intents = reader.on(key)?;
            let value = intents.write.as_ref().and_then(|intent| intent.value.as_ref());
            bytes += 2 * key.len() + value.map_or(0, |value| value.len());
            if taken > 0 && bytes > bytes_max {
                break;
            }
            taken += 1;
            let write = intents.write.clone().filter(|intent| intent.txn == txn);
            if intents.remove(txn) {
                ops.push(intents.op(key));
            }
            match (outcome, write) {
                // A late copy of one that was resolved long ago: its version was written then, and
                // may be gone together with the tombstone above it.
                (Outcome::Committed(at), Some(write))
                    if at < write.min_commit && at <= threshold => {}
                (Outcome::Committed(at), Some(write)) => {
                    ops.push(version_op(txn, key, at, &write.value));
                }
                (Outcome::Committed(_), None) => {}
                (Outcome::RolledBack, _) if is_planted(PlantedBug::RollbackLeavesNoMarker) => {}
                (Outcome::RolledBack, _) => ops.push(outcome_op(key, txn, outcome)),
            }
        }
        let at = match outcome {
            Outcome::Committed(at) => at,
            // Nothing becomes visible: no reader has to wait.
            Outcome::RolledBack => Timestamp::MAX,
        };
        let flight = Flight::new(txn, at);
        let keys = keys[..taken].to_vec();
        state.flights.take_off(&flight, keys.iter());
        Ok(Evaluated { flight, keys, ops, placed: 0, decides: None })
    }

    pub(super) async fn resolve(
        &self,
        txn: TxnId,
        outcome: Outcome,
        keys: Vec<Key>,
    ) -> Result<RangeResponse, RangeError> {
        let is_bulk = {
            let state = self.gate.state.lock();
            state.hidden_of(txn).is_some_and(Hidden::is_undecided)
        };
        if is_bulk {
            // Decided at its primary: what it wrote here ahead of its commit follows.
            self.bulk_decide(txn, outcome, Vec::new(), None).await?;
        }
        let mut left = &keys[..];
        while !left.is_empty() {
            let taken = AtomicUsize::new(0);
            self.step(left, |admission| {
                let evaluated = self.finish(admission, txn, outcome, left, RESOLVE_BYTES_MAX)?;
                taken.store(evaluated.keys.len(), Ordering::Relaxed);
                if evaluated.ops.is_empty() {
                    self.gate.state.lock().flights.land(&evaluated.flight, evaluated.keys.iter());
                    self.evaluator.locks.lock().release_keys(txn, &evaluated.keys);
                    return Ok(Step::Answer(RangeResponse::Done));
                }
                let frees = Frees::Keys(txn, evaluated.keys.clone());
                Ok(Step::Propose(evaluated, frees, RangeResponse::Done))
            })
            .await?;
            left = &left[taken.into_inner()..];
        }
        Ok(RangeResponse::Done)
    }

    pub(super) async fn rollback(
        &self,
        txn: TxnId,
        primary: Key,
    ) -> Result<RangeResponse, RangeError> {
        let keys = [primary];
        self.step(&keys, |admission| self.decide_rollback(admission, txn, &keys[0])).await
    }

    fn decide_rollback(
        &self,
        admission: &Admission,
        txn: TxnId,
        primary: &Key,
    ) -> Result<Step, Obstacle> {
        let keys = std::slice::from_ref(primary);
        if let Some(outcome) = self.decided(admission, keys, primary, txn)? {
            return Ok(Step::Answer(RangeResponse::Status(outcome.into())));
        }
        let evaluated = self.finish(admission, txn, Outcome::RolledBack, keys, usize::MAX)?;
        let frees = Frees::Keys(txn, keys.to_vec());
        Ok(Step::Propose(evaluated, frees, RangeResponse::Status(TxnStatus::RolledBack)))
    }

    pub(super) async fn query_txn(
        &self,
        txn: TxnId,
        primary: Key,
        seen: Timestamp,
        now: Timestamp,
    ) -> Result<RangeResponse, RangeError> {
        let keys = [primary];
        self.step(&keys, |admission| {
            let recorded = self.decided(admission, &keys, &keys[0], txn)?;
            if let Some(outcome) = recorded {
                return Ok(Step::Answer(RangeResponse::Status(outcome.into())));
            }
            let heard = self.evaluator.locks.lock().is_alive(txn, self.now());
            let fresh_leader = self.now() < self.gate.state.lock().since + TXN_EXPIRY;
            let fresh_intent = now < seen.plus(TXN_EXPIRY);
            if heard || fresh_leader || fresh_intent {
                return Ok(Step::Answer(RangeResponse::Status(TxnStatus::InProgress)));
            }
            self.decide_abandoned(admission, txn, &keys[0])
        })
        .await
    }

    /// Nobody has heard of `txn` for long, and nothing is recorded about it.
    pub(super) fn decide_abandoned(
        &self,
        admission: &Admission,
        txn: TxnId,
        primary: &Key,
    ) -> Result<Step, Obstacle> {
        let own = intents_on(self.engine(), primary)?.write.filter(|write| write.txn == txn);
        if let Some(WriteIntent { secondaries: Some(keys), min_commit, .. }) = own {
            let keys = keys.to_vec();
            return Ok(Step::Answer(RangeResponse::Secondaries { keys, min_commit }));
        }
        tracing::warn!(%txn, %primary, "rolling back an abandoned transaction");
        self.decide_rollback(admission, txn, primary)
    }

    /// Reads every status record of the range: slow, for `txid_status` alone.
    pub(super) async fn find_txn(&self, txn: TxnId) -> Result<RangeResponse, RangeError> {
        loop {
            let admission = self.admit().await?;
            let found = self.search_record(&admission, txn)?;
            if self.still(&admission).await? {
                // A marker that outlived the record may be of somebody who met a late copy of an intent.
                let forgotten = Timestamp(txn.0) < self.engine().garbage().records();
                let status = match found {
                    Some(Outcome::RolledBack) if forgotten => TxnStatus::Unknown,
                    Some(outcome) => outcome.into(),
                    None if self.evaluator.locks.lock().is_alive(txn, self.now()) => {
                        TxnStatus::InProgress
                    }
                    None => TxnStatus::Unknown,
                };
                return Ok(RangeResponse::Status(status));
            }
        }
    }

    fn search_record(
        &self,
        admission: &Admission,
        txn: TxnId,
    ) -> Result<Option<Outcome>, RangeError> {
        let (lower, upper) = keyspace::span_bounds(&admission.descriptor.span);
        let options = IterOptions { lower: Some(lower), upper, bulk: true, ..Default::default() };
        let mut cursor = self.engine().iter(Cf::Txn, options);
        cursor.seek_to_first();
        // A marker on a key says less than the record of the primary.
        let mut marker = None;
        while cursor.valid() {
            if cursor.key().ends_with(&txn.0.to_be_bytes()) {
                let found = match storage::hidden::is_record(cursor.value()) {
                    true => Hidden::outcome_in(cursor.value()),
                    false => Some(Outcome::decode(cursor.value())?),
                };
                match found {
                    Some(Outcome::RolledBack) => marker = found,
                    Some(Outcome::Committed(_)) => return Ok(found),
                    None => {}
                }
            }
            cursor.next();
        }
        cursor.status()?;
        Ok(marker)
    }
}

pub(super) fn own_min_commit(intents: &[Intents], txn: TxnId) -> Timestamp {
    let writes = intents.iter().filter_map(|i| i.write.as_ref()).map(|i| (i.txn, i.min_commit));
    let locks = intents.iter().flat_map(|i| &i.locks).map(|i| (i.txn, i.min_commit));
    let own = writes.chain(locks).filter(|(other, _)| *other == txn);
    own.map(|(_, min_commit)| min_commit).max().unwrap_or_default()
}
