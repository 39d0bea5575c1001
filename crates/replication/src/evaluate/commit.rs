//! Commits within one range: one entry in the log.

use super::bulk::Decides;
use super::flight::Flight;
use super::gate::GateState;
use super::hidden::{self, Hidden, Met, Stage, fates};
use super::pipeline::{Landing, Submission};
use super::record::{Outcome, outcome_beside, outcome_op};
use super::{Admission, Evaluator, LockedKey, Place, RangeError, RangeResponse, Write, check_keys};
use crate::command::EngineOp;
use core_domain::planted::{PlantedBug, is_planted};
use core_domain::{Key, KvError, LockMode, Timestamp, TxnId};
use std::sync::Arc;
use std::time::Duration;
use storage::mvcc::{PointReader, encode_version};
use storage::{Cf, Engine, keyspace};
use tokio::sync::oneshot;

/// What stops an evaluation.
pub(super) enum Obstacle {
    /// Another entry on the same keys: wait for it, then look again.
    Flight(Arc<Flight>),
    /// The term ended: look again.
    Moved,
    /// `max_ts` is above everything that was drawn: draw, then look again.
    AheadOfOracle,
    Error(RangeError),
}

impl<E: Into<RangeError>> From<E> for Obstacle {
    fn from(error: E) -> Self {
        Obstacle::Error(error.into())
    }
}

/// An entry that is evaluated and recorded, and now must be proposed.
pub(super) struct Evaluated {
    pub flight: Arc<Flight>,
    /// The keys it is recorded on.
    pub keys: Vec<Key>,
    pub ops: Vec<EngineOp>,
    /// How many of the keys had no intents before.
    pub placed: usize,
    /// Rare: what becomes of a large transaction by it.
    pub decides: Option<Box<Decides>>,
}

impl Place<'_> {
    pub(super) async fn commit(
        &self,
        txn: TxnId,
        primary: Key,
        floor: Timestamp,
        writes: Vec<Write>,
        locked: Vec<LockedKey>,
    ) -> Result<RangeResponse, RangeError> {
        loop {
            let admission = self.admit_effects().await?;
            let keys = writes.iter().map(|w| &w.key).chain(locked.iter().map(|l| &l.key));
            check_keys(&admission.descriptor, keys.chain([&primary]))?;
            let evaluated = match self
                .evaluate_commit(&admission, txn, &primary, floor, &writes, &locked, false)
            {
                Ok(Committing::Already(commit)) => {
                    self.evaluator.locks.lock().release(txn);
                    return Ok(RangeResponse::Committed(commit));
                }
                Ok(Committing::Now(evaluated)) => evaluated,
                Err(Obstacle::Flight(flight)) => {
                    flight.landed().await;
                    continue;
                }
                Err(obstacle) => {
                    Box::pin(self.pass(obstacle)).await?;
                    continue;
                }
            };
            let commit = evaluated.flight.min_commit;
            self.propose(&admission, evaluated, Frees::All(txn)).await?;
            return Ok(RangeResponse::Committed(commit));
        }
    }

    /// `validates`: reads are looked at afterwards, as of the commit timestamp.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn evaluate_commit(
        &self,
        admission: &Admission,
        txn: TxnId,
        primary: &Key,
        floor: Timestamp,
        writes: &[Write],
        locked: &[LockedKey],
        validates: bool,
    ) -> Result<Committing, Obstacle> {
        let mut state = self.gate.state.lock();
        if state.term != admission.term {
            return Err(Obstacle::Moved);
        }
        let keys = || writes.iter().map(|w| &w.key).chain(locked.iter().map(|l| &l.key));
        if let Some(flight) = state.latched(keys().chain([primary])) {
            return Err(Obstacle::Flight(flight));
        }
        match outcome_beside(self.engine(), primary, txn)? {
            Some(Outcome::Committed(commit)) => return Ok(Committing::Already(commit)),
            Some(Outcome::RolledBack) => return Err(KvError::Aborted { txn }.into()),
            None => {}
        }
        let newest = self.check_writes(&state, txn, writes, locked)?;
        if state.is_ahead_of_oracle() {
            return Err(Obstacle::AheadOfOracle);
        }
        let commit = newest.max(state.max_ts).next().max(floor);
        if validates {
            state.raise(commit);
            state.undrawn = if commit > floor { commit } else { Timestamp::ZERO };
        }
        let flight = Flight::new(txn, commit);
        let keys: Vec<Key> = writes.iter().map(|write| write.key.clone()).collect();
        state.flights.take_off(&flight, keys.iter().chain([primary]));
        drop(state);
        let mut ops = Vec::with_capacity(writes.len() + 1);
        ops.extend(writes.iter().map(|write| version_op(txn, &write.key, commit, &write.value)));
        ops.push(outcome_op(primary, txn, Outcome::Committed(commit)));
        let keys = keys.into_iter().chain([primary.clone()]).collect();
        Ok(Committing::Now(Evaluated { flight, keys, ops, placed: 0, decides: None }))
    }

    /// Rule 3: nobody else holds the keys or has intents on them, and every locked key is still at
    /// the version that was seen. And there is room on the disk. Answers the newest version's
    /// timestamp of all written keys.
    pub(super) fn check_writes(
        &self,
        state: &GateState,
        txn: TxnId,
        writes: &[Write],
        locked: &[LockedKey],
    ) -> Result<Timestamp, Obstacle> {
        self.refuse_forgotten(txn)?;
        self.evaluator.refuse_growth(writes)?;
        {
            let locks = self.evaluator.locks.lock();
            for write in writes {
                let mode = LockMode::NoKeyExclusive;
                if let Some(other) = locks.conflicting_holder(txn, &write.key, mode) {
                    return Err(KvError::Conflict { key: write.key.clone(), other }.into());
                }
            }
        }
        if state.intents != Some(0) {
            let written = writes.iter().map(|write| (&write.key, LockMode::NoKeyExclusive));
            let keys = written.chain(locked.iter().map(|l| (&l.key, l.mode)));
            self.refuse_foreign(txn, keys, writes.len() + locked.len())?;
        }
        let view = state.view(None);
        let reading = view.reading(Timestamp::MAX);
        let count = writes.len() + locked.len();
        let mut reader = PointReader::new(self.engine(), count).with(fates(&reading));
        let mut newest_of_all = Timestamp::ZERO;
        let seen = writes.iter().map(|w| (&w.key, w.seen, LockMode::Exclusive));
        let locked = locked.iter().map(|l| (&l.key, Some(l.seen), l.mode));
        for (key, seen, mode) in seen.chain(locked) {
            let newest = reader.newest(key)?;
            newest_of_all = newest_of_all.max(reader.top());
            let there = newest.as_ref().is_some_and(|version| version.value.is_some());
            let met = reading.as_ref().and_then(hidden::Reading::take_met);
            if let Some(Met { mark, stage }) = Self::in_the_way(met, txn, mode) {
                match stage {
                    Stage::Committing(flight) => return Err(Obstacle::Flight(flight)),
                    Stage::Open | Stage::Prepared { .. } if mark.start == txn => {}
                    // The lock was lost, and a large transaction took the key.
                    Stage::Open | Stage::Prepared { .. } => {
                        let key = key.clone();
                        return Err(KvError::Conflict { key, other: mark.start }.into());
                    }
                }
            }
            let collected = newest.is_none();
            let (commit, start) = newest.map_or_else(Default::default, |v| (v.commit, v.start));
            // Who holds the key alone lets others change the rest of its row, not remove it.
            let may_change = mode == LockMode::KeyShare && there;
            let lost = seen.is_some_and(|seen| {
                let only_collected = collected && self.was_collected(txn, seen);
                seen != commit && !may_change && !only_collected
            });
            if lost && !is_planted(PlantedBug::CommitTrustsLocks) {
                return Err(KvError::Conflict { key: key.clone(), other: start }.into());
            }
            newest_of_all = newest_of_all.max(commit);
        }
        Ok(newest_of_all)
    }

    /// Proposes, and answers after the entry is applied and what it held is free.
    pub(super) async fn propose(
        &self,
        admission: &Admission,
        evaluated: Evaluated,
        frees: Frees,
    ) -> Result<(), RangeError> {
        let (answer, answered) = oneshot::channel();
        let Evaluated { flight, keys, ops, placed, decides } = evaluated;
        let gone = ops.iter().filter(|op| op.cf == Cf::Lock && op.value.is_none()).count();
        let aftermath = Aftermath {
            evaluator: self.evaluator.clone(),
            gate: self.gate.clone(),
            group: self.group.clone(),
            term: admission.term,
            flight,
            keys,
            placed,
            gone,
            frees,
            decides,
            answer,
        };
        let submission = Submission {
            term: admission.term,
            generation: admission.descriptor.generation,
            ops,
            done: Box::new(move |landing| aftermath.settle(landing)),
        };
        self.gate.pipeline.submit(self.group, submission);
        answered.await.unwrap_or_else(|_| Err(KvError::ShuttingDown.into()))
    }
}

pub(super) enum Committing {
    /// A retry: the first try was applied.
    Already(Timestamp),
    Now(Evaluated),
}

/// The effect that adds a version.
pub(super) fn version_op(
    txn: TxnId,
    key: &Key,
    commit: Timestamp,
    value: &Option<core_domain::Value>,
) -> EngineOp {
    let stored = encode_version(txn, value.as_deref());
    EngineOp::put(Cf::Data, keyspace::version_key(key.as_ref(), commit), stored)
}

/// Locks that are free once an entry is applied.
pub(super) enum Frees {
    Nothing,
    All(TxnId),
    Keys(TxnId, Vec<Key>),
}

/// What follows a proposal, whoever still listens.
struct Aftermath {
    evaluator: Arc<Evaluator>,
    gate: Arc<super::gate::Gate>,
    group: Arc<dyn super::Group>,
    term: u64,
    flight: Arc<Flight>,
    keys: Vec<Key>,
    /// Keys that get their first intent by this, and those that lose their last.
    placed: usize,
    gone: usize,
    frees: Frees,
    decides: Option<Box<Decides>>,
    answer: oneshot::Sender<Result<(), RangeError>>,
}

impl Aftermath {
    fn settle(mut self, landing: Landing) {
        let decides = self.decides.take();
        match landing {
            Landing::Applied => {
                self.land(self.gone, decides.map(|d| (d.txn, d.after)));
                let mut locks = self.evaluator.locks.lock();
                match &self.frees {
                    Frees::Nothing => {}
                    Frees::All(txn) => locks.release(*txn),
                    Frees::Keys(txn, keys) => locks.release_keys(*txn, keys),
                }
                drop(locks);
                self.tell(Ok(()));
            }
            Landing::Stale => {
                self.land(self.placed, decides.map(|d| (d.txn, d.before)));
                let actual = Some((*self.group.descriptor()).clone());
                self.tell(Err(RangeError::WrongRange { actual }));
            }
            Landing::NotProposed(error) => {
                self.land(self.placed, decides.map(|d| (d.txn, d.before)));
                self.tell(Err(error.into()));
            }
            Landing::Unknown(error) => {
                let Self { evaluator, gate, group, term, flight, keys, answer, .. } = self;
                gate.state.lock().intents = None;
                let engine = decides.is_some().then(|| evaluator.engine.clone());
                tokio::spawn(land_when_certain(gate, group, term, flight, keys, engine));
                // Whoever asked may be gone.
                let _ = answer.send(Err(error.into()));
            }
        }
    }

    /// `intents_gone`: keys that have no intents after this. `decided`: a large transaction.
    fn land(&self, intents_gone: usize, decided: Option<(TxnId, Hidden)>) {
        let mut state = self.gate.state.lock();
        if let Some((txn, hidden)) = decided
            && state.flights_of == self.term
        {
            state.set_hidden(txn, hidden);
        }
        state.flights.land(&self.flight, self.keys.iter());
        if state.term == self.term {
            state.forget_intents(intents_gone);
        }
    }

    fn tell(self, answer: Result<(), RangeError>) {
        // Whoever asked may be gone.
        let _ = self.answer.send(answer);
    }
}

/// A proposal without an answer stays in flight until a later entry of the same term is applied:
/// then it was applied too, or never will be. A loss of leadership clears it by itself.
async fn land_when_certain(
    gate: Arc<super::gate::Gate>,
    group: Arc<dyn super::Group>,
    term: u64,
    flight: Arc<Flight>,
    keys: Vec<Key>,
    // Where it is written what became of a large transaction, if it decided one.
    engine: Option<Arc<dyn Engine>>,
) {
    loop {
        tokio::time::sleep(Duration::from_millis(100)).await;
        if gate.state.lock().flights_of != term {
            return;
        }
        let generation = group.descriptor().generation;
        let barrier = crate::command::Command::write(group.range(), generation, term, Vec::new());
        if let Ok(applied) = group.propose(barrier).await
            && applied != crate::command::Applied::StaleTerm
        {
            let start = group.descriptor().span.start.clone();
            let hidden = engine.as_ref().map(|engine| hidden::load(&**engine, &start));
            let mut state = gate.state.lock();
            match hidden {
                Some(Ok(mut hidden)) if state.flights_of == term => {
                    // Others of them may be under way: only this one is certain.
                    let now = hidden.remove(&flight.txn).unwrap_or(Hidden::Open);
                    state.set_hidden(flight.txn, now);
                }
                Some(Err(error)) => {
                    tracing::error!(%error, "records cannot be read");
                    continue;
                }
                Some(Ok(_)) | None => {}
            }
            state.flights.land(&flight, keys.iter());
            return;
        }
    }
}
