//! Transactions too large for one entry: versions are written ahead of the commit, each once into
//! the log and once into the state, and one small record decides about all of them (`hidden.rs`).
//!
//! ```text
//! coordinator             one range                                     on disk
//!   BulkWrite  ×n ──────▶ nobody else's locks, versions as seen   ────▶ hidden versions, "open"
//!   BulkCommit ─────────▶ C = max_ts + 1, in flight               ────▶ "committed at C", status
//!   ◀── committed         readers at C and above waited, others never
//! ```
//!
//! Over several ranges `BulkPrepare` fixes a lowest commit timestamp in each, the status record
//! beside the primary decides, and `BulkDecide` (or `Resolve` by whoever meets a version) tells the
//! others.
//!
//! What is written needs no entry in the lock table: who wants to lock or write the key meets the
//! hidden version and waits for its transaction, under one key that stands for all of it. So
//! neither leader nor coordinator remembers a million keys, and a change of leader loses nothing.
//!
//! Interleavings that this closes, beside those of the one-phase commit:
//! - A copy of a part arrives after the decision: the record refuses it. A decision waits for the
//!   parts that are in flight, and parts for the decision.
//! - A copy of a part arrives after a later part on the same key: it is older, and leaves the key.
//! - A lock is asked for while a part is in flight: its keys are latched, and the version is met.
//! - A split between part and commit: records are copied, and what the coordinator asks of a range
//!   holds for the generation that it knows.
//! - A leader that remembers nothing: versions lie at or below a timestamp that was drawn, and so
//!   below every commit to come.

use super::commit::{Evaluated, Frees, Obstacle};
use super::flight::Flight;
use super::gate::GateState;
use super::hidden::{Hidden, Met, Stage, fates};
use super::lock::Held;
use super::record::{Outcome, outcome_beside, outcome_op};
use super::{
    Admission, ForeignIntent, LockedKey, Place, RangeError, RangeResponse, TXN_EXPIRY, Write,
    check_keys,
};
use crate::command::{Applied, Command, EngineOp};
use core_domain::planted::{PlantedBug, is_planted};
use core_domain::{Generation, Key, KvError, LockMode, Span, Timestamp, TxnId, Value, WaitPolicy};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;
use storage::hidden::{Mark, decode_hidden, encode_hidden, is_hidden};
use storage::mvcc::PointReader;
use storage::{Cf, Engine, IterOptions, keyspace};

/// How long somebody waits for a transaction whose end nobody will announce.
const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// How long somebody waits before looking again.
const ROOM_WAIT_MAX: Duration = Duration::from_secs(1);
/// Versions looked at for one entry that removes some.
const REMOVED_AT_ONCE: usize = 8192;

/// One part of a large transaction. Sent again as it is if no answer came.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BulkPart {
    pub txn: TxnId,
    /// An oracle timestamp drawn after the keys were locked.
    pub floor: Timestamp,
    pub sequence: u32,
    /// The keys must hold nothing, and are not locked yet. Else they are, or need not be.
    pub absent: bool,
    /// The weakest lock that allows these writes.
    pub mode: LockMode,
    /// A version younger than this is a conflict.
    pub snapshot: Option<Timestamp>,
    pub wait: WaitPolicy,
    /// In ascending order of their keys.
    pub writes: Vec<Write>,
}

/// What a commit decides about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum BulkScope {
    /// All parts lie in this range, as it is in this generation.
    Only(Generation),
    /// Every range was prepared, and this drawn afterwards.
    Prepared(Timestamp),
}

enum Step {
    Propose(Evaluated, Frees),
    Answer(RangeResponse),
    /// Somebody holds a lock on the key.
    Locked(Key),
    Meets(Key, Met),
}

impl Place<'_> {
    pub(super) async fn bulk_write(&self, part: BulkPart) -> Result<RangeResponse, RangeError> {
        let keys: Arc<[Key]> = part.writes.iter().map(|write| write.key.clone()).collect();
        if let Some(pair) = keys.windows(2).find(|pair| pair[0] >= pair[1]) {
            // The same key twice: the second finds what the first wrote.
            return match part.absent && pair[0] == pair[1] {
                true => Ok(RangeResponse::Present { key: pair[0].clone() }),
                false => Err(KvError::Internal("the keys of a part do not ascend".into()).into()),
            };
        }
        let deadline = self.deadline(part.wait);
        loop {
            let admission = self.admit_effects().await?;
            check_keys(&admission.descriptor, keys.iter())?;
            self.evaluator.refuse_growth(&part.writes)?;
            {
                let mut locks = self.evaluator.locks.lock();
                let expires = self.evaluator.expiry();
                // Who waits for the whole transaction waits here. Taken by it already, as a rule.
                locks.acquire(
                    part.txn,
                    &waiting_room(part.txn),
                    LockMode::Exclusive,
                    false,
                    expires,
                );
            }
            let flight = match self.latch(&admission, &part, &keys) {
                Ok(Latched::By(flight)) => flight,
                Ok(Latched::Decided) => return Ok(RangeResponse::Done),
                Err(obstacle) => {
                    self.pass(obstacle).await?;
                    continue;
                }
            };
            let step = self.evaluate_part(&admission, &part, &keys, &flight);
            if !matches!(step, Ok(Step::Propose(..))) {
                self.gate.state.lock().flights.land(&flight, [].iter());
            }
            match step? {
                Step::Propose(evaluated, frees) => {
                    self.propose(&admission, evaluated, frees).await?;
                    return Ok(RangeResponse::Done);
                }
                Step::Answer(response) => {
                    if self.still(&admission).await? {
                        return Ok(response);
                    }
                }
                Step::Locked(key) => {
                    let mode = LockMode::Exclusive;
                    let held = self.acquire(part.txn, &key, mode, part.wait, deadline).await?;
                    if let Held::Skipped = held {
                        return Err(KvError::LockNotAvailable { key }.into());
                    }
                }
                Step::Meets(key, met) => {
                    if !matches!(part.wait, WaitPolicy::Wait(_))
                        && !matches!(met.stage, Stage::Committing(_))
                    {
                        return Err(KvError::LockNotAvailable { key }.into());
                    }
                    self.wait_for(met, part.txn, &key, part.wait, deadline).await?;
                }
            }
        }
    }

    /// Keeps everybody else off the keys while the part is evaluated and proposed. Readers pass:
    /// nothing becomes visible.
    fn latch(
        &self,
        admission: &Admission,
        part: &BulkPart,
        keys: &Arc<[Key]>,
    ) -> Result<Latched, Obstacle> {
        let mut state = self.gate.state.lock();
        if state.term != admission.term {
            return Err(Obstacle::Moved);
        }
        if let Some(flight) = state.flights.deciding(part.txn) {
            return Err(Obstacle::Flight(flight));
        }
        match state.hidden_of(part.txn) {
            Some(Hidden::Committed(_)) => return Ok(Latched::Decided),
            Some(Hidden::RolledBack | Hidden::Prepared { .. } | Hidden::Committing(_)) => {
                return Err(KvError::Aborted { txn: part.txn }.into());
            }
            Some(Hidden::Open) => {}
            None => state.set_hidden(part.txn, Hidden::Open),
        }
        if let Some(flight) = state.flights.on_any(keys) {
            return Err(Obstacle::Flight(flight));
        }
        let flight = Flight::new(part.txn, Timestamp::MAX);
        state.flights.take_off_many(&flight, keys.clone());
        Ok(Latched::By(flight))
    }

    /// Without the gate's lock: the keys are latched.
    fn evaluate_part(
        &self,
        admission: &Admission,
        part: &BulkPart,
        keys: &Arc<[Key]>,
        flight: &Arc<Flight>,
    ) -> Result<Step, RangeError> {
        let txn = part.txn;
        let (view, may_have_intents) = {
            let mut state = self.gate.state.lock();
            let span = &admission.descriptor.span;
            (state.view(None), self.may_have_intents(&mut state, span))
        };
        self.refuse_forgotten(txn)?;
        let foreign = self.locked_by_others(txn, keys);
        if may_have_intents {
            let written = keys.iter().map(|key| (key, part.mode));
            self.refuse_foreign(txn, written, keys.len())?;
        }
        let own_view = view.clone().of(txn);
        let reading = view.reading(Timestamp::MAX);
        let mut reader = PointReader::new(self.engine(), keys.len()).with(fates(&reading));
        let own_reading = own_view.reading(Timestamp::MAX);
        let mut own_reader: Option<PointReader<'_>> = None;
        // Readers may have been served above it: what counts for them is the commit.
        let mut at = part.floor;
        let mut writes: Vec<&Write> = Vec::with_capacity(part.writes.len());
        for write in &part.writes {
            let newest = reader.newest(&write.key)?;
            at = at.max(reader.top().next());
            let met = reading.as_ref().and_then(|reading| reading.take_met());
            if let Some(Met { mark, .. }) = &met
                && mark.start == txn
            {
                if mark.sequence >= part.sequence && !is_planted(PlantedBug::LateCopiesWin) {
                    // This is a copy: it was written, and maybe changed since.
                    continue;
                }
                if part.absent {
                    let own = own_reader.get_or_insert_with(|| {
                        PointReader::new(self.engine(), 1).with(fates(&own_reading))
                    });
                    if own.newest(&write.key)?.is_some_and(|version| version.value.is_some()) {
                        return Ok(Step::Answer(RangeResponse::Present { key: write.key.clone() }));
                    }
                }
                writes.push(write);
                continue;
            }
            if foreign.contains(&write.key) {
                return Ok(Step::Locked(write.key.clone()));
            }
            if let Some(met) = met {
                return match part.absent {
                    true => Ok(Step::Meets(write.key.clone(), met)),
                    // The lock was lost, and somebody else took the key.
                    false => {
                        let other = met.mark.start;
                        Err(KvError::Conflict { key: write.key.clone(), other }.into())
                    }
                };
            }
            if part.absent && newest.as_ref().is_some_and(|version| version.value.is_some()) {
                return Ok(Step::Answer(RangeResponse::Present { key: write.key.clone() }));
            }
            let collected = newest.is_none();
            let (commit, start) = newest.map_or_else(Default::default, |v| (v.commit, v.start));
            let lost = |seen| seen != commit && !(collected && self.was_collected(txn, seen));
            let changed = write.seen.is_some_and(lost)
                || part.snapshot.is_some_and(|snapshot| commit > snapshot);
            if changed {
                return Err(KvError::Conflict { key: write.key.clone(), other: start }.into());
            }
            at = at.max(commit.next());
            writes.push(write);
        }
        if writes.is_empty() {
            return Ok(Step::Answer(RangeResponse::Done));
        }
        self.gate.state.lock().raise_to_version(at, part.floor);
        let mark = Mark { start: txn, sequence: part.sequence, mode: part.mode };
        let mut ops = Vec::with_capacity(writes.len() + 1);
        ops.extend(writes.iter().map(|write| hidden_op(mark, &write.key, at, &write.value)));
        ops.push(Hidden::Open.op(&admission.descriptor.span.start, txn));
        let frees = match part.absent {
            true => Frees::Nothing,
            false => Frees::Keys(txn, keys.to_vec()),
        };
        let flight = flight.clone();
        let evaluated = Evaluated { flight, keys: Vec::new(), ops, placed: 0, decides: None };
        Ok(Step::Propose(evaluated, frees))
    }

    /// Those of `keys` that others hold in the lock table: as a rule none.
    fn locked_by_others(&self, txn: TxnId, keys: &[Key]) -> Vec<Key> {
        let locks = self.evaluator.locks.lock();
        if !locks.others_hold(txn) {
            return Vec::new();
        }
        let mode = LockMode::NoKeyExclusive;
        let held = |key: &&Key| locks.conflicting_holder(txn, key, mode).is_some();
        keys.iter().filter(held).cloned().collect()
    }

    pub(super) async fn bulk_prepare(
        &self,
        txn: TxnId,
        primary: Key,
        generation: Generation,
    ) -> Result<RangeResponse, RangeError> {
        self.decision(txn, Some(generation), |state, start| {
            let before = state.hidden_of(txn).cloned();
            let min_commit = match &before {
                Some(Hidden::Committed(at)) => return Ok(Decision::Was(*at)),
                Some(Hidden::RolledBack) => return Err(KvError::Aborted { txn }.into()),
                Some(Hidden::Committing(flight)) => return Err(Obstacle::Flight(flight.clone())),
                Some(Hidden::Prepared { min_commit, .. }) => return Ok(Decision::Was(*min_commit)),
                Some(Hidden::Open) | None => state.max_ts.next(),
            };
            let after = Hidden::Prepared { primary: primary.clone(), min_commit };
            // From now on readers at or above `min_commit` ask the primary first.
            state.set_hidden(txn, after.clone());
            let ops = vec![after.op(start, txn)];
            let before = before.unwrap_or(Hidden::Open);
            Ok(Decision::Propose { at: min_commit, ops, before, after })
        })
        .await
        .map(|decided| decided.answer(|min_commit| RangeResponse::Prewritten { min_commit }))
    }

    /// Decides.
    pub(super) async fn bulk_commit(
        &self,
        txn: TxnId,
        primary: Key,
        floor: Timestamp,
        scope: BulkScope,
        locked: Vec<LockedKey>,
    ) -> Result<RangeResponse, RangeError> {
        let (generation, commit) = match scope {
            BulkScope::Only(generation) => (Some(generation), None),
            BulkScope::Prepared(commit) => (None, Some(commit)),
        };
        let keys: Vec<Key> =
            locked.iter().map(|l| l.key.clone()).chain([primary.clone()]).collect();
        self.step_decision(txn, &keys, generation, |state, start| {
            match outcome_beside(self.engine(), &primary, txn)? {
                Some(Outcome::Committed(at)) => return Ok(Decision::Was(at)),
                Some(Outcome::RolledBack) => return Err(KvError::Aborted { txn }.into()),
                None => {}
            }
            let before = match state.hidden_of(txn) {
                Some(Hidden::Committed(at)) => return Ok(Decision::Was(*at)),
                Some(Hidden::Committing(flight)) => return Err(Obstacle::Flight(flight.clone())),
                Some(open @ Hidden::Open) if commit.is_none() => open.clone(),
                Some(prepared @ Hidden::Prepared { min_commit, .. })
                    if commit.is_some_and(|commit| commit >= *min_commit) =>
                {
                    prepared.clone()
                }
                // Rolled back; or its parts were, with the leader that had them.
                Some(Hidden::Open | Hidden::Prepared { .. } | Hidden::RolledBack) | None => {
                    return Err(KvError::Aborted { txn }.into());
                }
            };
            // Rule 5: somebody has read that it would not.
            let above = state.pushes.against(txn);
            if commit.is_some_and(|commit| commit <= above) {
                return Ok(Decision::Pushed(above));
            }
            let newest = self.check_writes(state, txn, &[], &locked)?;
            if commit.is_none() && state.is_ahead_of_oracle() {
                return Err(Obstacle::AheadOfOracle);
            }
            let at = commit.unwrap_or_else(|| newest.max(state.max_ts).next().max(floor));
            let after = Hidden::Committed(at);
            let ops = vec![after.op(start, txn), outcome_op(&primary, txn, Outcome::Committed(at))];
            Ok(Decision::Propose { at, ops, before, after })
        })
        .await
        .map(|decided| decided.answer(RangeResponse::Committed))
    }

    /// What was decided elsewhere, or a rollback by the coordinator.
    pub(super) async fn bulk_decide(
        &self,
        txn: TxnId,
        outcome: Outcome,
        spans: Vec<Span>,
        generation: Option<Generation>,
    ) -> Result<RangeResponse, RangeError> {
        self.decision(txn, generation, |state, start| {
            let before = match state.hidden_of(txn) {
                Some(Hidden::Committed(at)) => return Ok(Decision::Was(*at)),
                Some(Hidden::RolledBack) => return Ok(Decision::Was(Timestamp::MAX)),
                Some(Hidden::Committing(flight)) => return Err(Obstacle::Flight(flight.clone())),
                Some(open) => open.clone(),
                None => Hidden::Open,
            };
            let (at, after) = match outcome {
                Outcome::Committed(at) => (at, Hidden::Committed(at)),
                Outcome::RolledBack => (Timestamp::MAX, Hidden::RolledBack),
            };
            let ops = vec![after.op(start, txn)];
            Ok(Decision::Propose { at, ops, before, after })
        })
        .await?;
        if outcome == Outcome::RolledBack && !spans.is_empty() {
            let engine = self.evaluator.engine.clone();
            tokio::spawn(remove_versions(engine, self.group.clone(), txn, spans));
        }
        Ok(RangeResponse::Done)
    }

    async fn decision(
        &self,
        txn: TxnId,
        generation: Option<Generation>,
        decide: impl Fn(&mut GateState, &Key) -> Result<Decision, Obstacle>,
    ) -> Result<Decided, RangeError> {
        self.step_decision(txn, &[], generation, decide).await
    }

    /// Writes the record that `decide` wants, once nothing of the transaction is in flight.
    async fn step_decision(
        &self,
        txn: TxnId,
        keys: &[Key],
        generation: Option<Generation>,
        decide: impl Fn(&mut GateState, &Key) -> Result<Decision, Obstacle>,
    ) -> Result<Decided, RangeError> {
        loop {
            let admission = self.admit_effects().await?;
            let descriptor = &admission.descriptor;
            check_keys(descriptor, keys.iter())?;
            if generation.is_some_and(|known| known != descriptor.generation) {
                // What was asked for may be about more than this range has now.
                return Err(RangeError::WrongRange { actual: Some((**descriptor).clone()) });
            }
            let start = &descriptor.span.start;
            match self.evaluate_decision(&admission, txn, keys, |state| decide(state, start)) {
                Ok(Evaluation::Known(decided)) => {
                    if self.still(&admission).await? {
                        return Ok(decided);
                    }
                }
                Ok(Evaluation::Propose(evaluated, frees)) => {
                    let at = evaluated.flight.min_commit;
                    self.propose(&admission, evaluated, frees).await?;
                    return Ok(Decided::At(at));
                }
                Err(obstacle) => self.pass(obstacle).await?,
            }
        }
    }

    fn evaluate_decision(
        &self,
        admission: &Admission,
        txn: TxnId,
        keys: &[Key],
        decide: impl Fn(&mut GateState) -> Result<Decision, Obstacle>,
    ) -> Result<Evaluation, Obstacle> {
        let mut state = self.gate.state.lock();
        if state.term != admission.term {
            return Err(Obstacle::Moved);
        }
        let flights = &state.flights;
        let own = flights.deciding(txn).or_else(|| flights.many_of(txn));
        if let Some(flight) = own.or_else(|| state.latched(keys.iter())) {
            return Err(Obstacle::Flight(flight));
        }
        match decide(&mut state)? {
            Decision::Was(at) => Ok(Evaluation::Known(Decided::At(at))),
            Decision::Pushed(above) => Ok(Evaluation::Known(Decided::Pushed(above))),
            Decision::Propose { at, ops, before, after } => {
                let flight = Flight::new(txn, at);
                if let Hidden::Committed(_) = after {
                    state.set_hidden(txn, Hidden::Committing(flight.clone()));
                }
                let keys = keys.to_vec();
                state.flights.take_off(&flight, keys.iter());
                state.flights.take_off_decision(&flight);
                let frees = match after.is_undecided() {
                    true => Frees::Nothing,
                    false => Frees::All(txn),
                };
                let decides = Some(Box::new(Decides { txn, before, after }));
                let evaluated = Evaluated { flight, keys, ops, placed: 0, decides };
                Ok(Evaluation::Propose(evaluated, frees))
            }
        }
    }

    /// Waits until what was met is out of the way, or has changed.
    pub(super) async fn wait_for(
        &self,
        met: Met,
        txn: TxnId,
        key: &Key,
        wait: WaitPolicy,
        deadline: Option<Duration>,
    ) -> Result<(), RangeError> {
        let other = met.mark.start;
        match met.stage {
            Stage::Committing(flight) => {
                flight.landed().await;
                return Ok(());
            }
            Stage::Prepared { primary, min_commit } => {
                let key = key.clone();
                let foreign = ForeignIntent { key, txn: other, primary, min_commit };
                return Err(RangeError::Intents(vec![foreign]));
            }
            Stage::Open => {}
        }
        let (alive, since) = {
            let alive = self.evaluator.locks.lock().is_alive(other, self.now());
            (alive, self.gate.state.lock().since)
        };
        if !alive && self.now() >= since + TXN_EXPIRY {
            tracing::warn!(txn = %other, "rolling back an abandoned large transaction");
            let everywhere = vec![self.group.descriptor().span.clone()];
            Box::pin(self.bulk_decide(other, Outcome::RolledBack, everywhere, None)).await?;
            return Ok(());
        }
        let room = waiting_room(other);
        let mode = LockMode::KeyShare;
        // Not for ever at this node: the range may be led elsewhere by now.
        let acquired = self.acquire(txn, &room, mode, wait, deadline);
        let Ok(held) = tokio::time::timeout(ROOM_WAIT_MAX, acquired).await else { return Ok(()) };
        let held = held.map_err(|error| about_key(error, key))?;
        if let Held::Yes = held {
            self.evaluator.locks.lock().release_keys(txn, [&room]);
        }
        let still_open = {
            let state = self.gate.state.lock();
            state.hidden_of(other).is_none_or(Hidden::is_undecided)
        };
        if still_open {
            // After a change of leader nobody announces its end.
            if deadline.is_some_and(|deadline| self.now() >= deadline) {
                return Err(KvError::LockTimeout { key: key.clone() }.into());
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        Ok(())
    }
}

/// The same error, about the key that was asked for.
fn about_key(error: RangeError, key: &Key) -> RangeError {
    let key = key.clone();
    let RangeError::Kv(error) = error else { return error };
    RangeError::Kv(match error {
        KvError::Deadlock { waiter, holder, .. } => KvError::Deadlock { key, waiter, holder },
        KvError::LockTimeout { .. } => KvError::LockTimeout { key },
        other => other,
    })
}

enum Latched {
    By(Arc<Flight>),
    /// A late copy: its transaction is committed.
    Decided,
}

/// What a leader answers about a transaction.
#[derive(Clone, Copy)]
enum Decided {
    At(Timestamp),
    Pushed(Timestamp),
}

impl Decided {
    fn answer(self, at: impl FnOnce(Timestamp) -> RangeResponse) -> RangeResponse {
        match self {
            Decided::At(timestamp) => at(timestamp),
            Decided::Pushed(above) => RangeResponse::Pushed { above },
        }
    }
}

enum Evaluation {
    Known(Decided),
    Propose(Evaluated, Frees),
}

enum Decision {
    Was(Timestamp),
    /// It must commit above this.
    Pushed(Timestamp),
    Propose {
        at: Timestamp,
        ops: Vec<EngineOp>,
        before: Hidden,
        after: Hidden,
    },
}

/// What the leader remembers of a large transaction once an entry is applied, or never will be.
pub(super) struct Decides {
    pub txn: TxnId,
    pub before: Hidden,
    pub after: Hidden,
}

/// The key under which others wait for the end of a large transaction.
fn waiting_room(txn: TxnId) -> Key {
    Key::from([&[0xff; 2][..], &txn.0.to_be_bytes()].concat())
}

/// Takes away what a transaction that was rolled back has written: nobody sees it any more, but it
/// takes room. What is left if this node stops leading stays unseen.
async fn remove_versions(
    engine: Arc<dyn Engine>,
    group: Arc<dyn super::Group>,
    txn: TxnId,
    spans: Vec<Span>,
) {
    for span in spans {
        let mut from = Some(span.start.clone());
        while let Some(start) = from.take() {
            let rest = Span::new(start, span.end.clone());
            let (ops, next) = match versions_of(&*engine, txn, &rest) {
                Ok(found) => found,
                Err(error) => {
                    tracing::warn!(%txn, %error, "versions of a rolled-back transaction stay");
                    return;
                }
            };
            from = next;
            if ops.is_empty() {
                continue;
            }
            let generation = group.descriptor().generation;
            // Bound to no term: it is true under every leader.
            let command = Command::write(group.range(), generation, 0, ops);
            match group.propose(command).await {
                Ok(Applied::Ok) => {}
                Ok(Applied::StaleGeneration { .. } | Applied::StaleTerm) | Err(_) => return,
            }
        }
    }
}

/// The removal of some versions of `txn` in `span`, and where to go on.
fn versions_of(
    engine: &dyn Engine,
    txn: TxnId,
    span: &Span,
) -> Result<(Vec<EngineOp>, Option<Key>), storage::StorageError> {
    let (lower, upper) = keyspace::span_bounds(span);
    let options = IterOptions { lower: Some(lower), upper, bulk: true, ..IterOptions::default() };
    let mut cursor = engine.iter(Cf::Data, options);
    let mut ops = Vec::new();
    let mut visited = 0;
    cursor.seek_to_first();
    while cursor.valid() {
        if visited >= REMOVED_AT_ONCE {
            let (key, _) = keyspace::decode_version_key(cursor.key())?;
            return Ok((ops, Some(key)));
        }
        visited += 1;
        if is_hidden(cursor.value()) && decode_hidden(cursor.value())?.0.start == txn {
            ops.push(EngineOp::delete(Cf::Data, cursor.key().to_vec()));
        }
        cursor.next();
    }
    cursor.status()?;
    Ok((ops, None))
}

fn hidden_op(mark: Mark, key: &Key, at: Timestamp, value: &Option<Value>) -> EngineOp {
    let stored = encode_hidden(mark, value.as_deref());
    EngineOp::put(Cf::Data, keyspace::version_key(key.as_ref(), at), stored)
}
