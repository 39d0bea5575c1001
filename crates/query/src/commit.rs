//! Commit: everything in one range by one entry, everything else in two phases.
//!
//! ```text
//! one range, small        Commit ─▶ done: one Raft command
//! one range, SERIALIZABLE CommitValidated, likewise (validate.rs)
//! large                   written ahead, then one record: bulk.rs
//! several, few keys       PrewriteAsync every part ─▶ committed; the rest in the background
//! several                 Prewrite every part ─▶ C ─▶ CommitPrimary: decided
//!                                                └─▶ Resolve the other parts: few in the
//!                                                    background, many before the answer
//! no answer to the decision: ask again until `outcome_timeout`, then OutcomeUnknown (40003)
//! ```
//!
//! Two phases run in a task of their own: a client that goes away does not leave a commit half
//! done. One phase needs none, the leader carries it through by itself.

use crate::bulk::BULK_BYTES_MIN;
use crate::coordinator::Shared;
use crate::sender::kv_error;
use crate::transaction::{Transaction, surprise, tracks_reads};
use crate::validate::REDRAWS_MAX;
use core_domain::{
    CommitReceipt, Key, KvError, KvResult, KvTransaction, RangeId, ReadSpan, Timestamp, TxnId,
    TxnStatus,
};
use futures::{FutureExt, StreamExt};
use replication::RangeDescriptor;
use replication::evaluate::{LockedKey, Outcome, RangeError, RangeRequest, RangeResponse, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Most that goes into one entry: commands are refused above 4 MiB.
pub(crate) const PART_BYTES_MAX: usize = 1 << 20;
const PART_KEYS_MAX: usize = 10_000;
/// Parts prewritten or resolved at once.
pub(crate) const PARTS_AT_ONCE: usize = 4;
/// A commit of more parts is answered when its intents are resolved: whoever wrote so much waits for
/// it, not those who come after.
const BACKGROUND_PARTS_MAX: usize = 8;
/// It is decided all the same: not longer than this.
const RESOLVE_WAIT_MAX: Duration = Duration::from_secs(60);

/// What one request of a commit carries.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    pub descriptor: Arc<RangeDescriptor>,
    pub writes: Vec<Write>,
    pub locked: Vec<LockedKey>,
    pub bytes: usize,
}

impl Part {
    fn new(descriptor: Arc<RangeDescriptor>) -> Self {
        Self { descriptor, writes: Vec::new(), locked: Vec::new(), bytes: 0 }
    }

    fn keys(&self) -> Vec<Key> {
        let written = self.writes.iter().map(|write| &write.key);
        written.chain(self.locked.iter().map(|locked| &locked.key)).cloned().collect()
    }

    fn is_full(&self, more: usize) -> bool {
        self.bytes > 0
            && (self.bytes + more > PART_BYTES_MAX
                || self.writes.len() + self.locked.len() >= PART_KEYS_MAX)
    }
}

/// A commit under way, detached from the transaction's handle.
#[derive(Clone)]
pub(crate) struct Commit {
    pub shared: Arc<Shared>,
    pub txn: TxnId,
    pub primary: Key,
    pub writes: Arc<Vec<Write>>,
    pub locked: Arc<Vec<LockedKey>>,
    /// To be validated (protocol.md, rule 5).
    pub reads: Arc<[ReadSpan]>,
    /// A decision was sent and not answered: it may have been carried out, whatever comes after.
    pub sent: Arc<AtomicBool>,
    /// Prewritten so (async_commit.rs).
    pub asynchronous: Arc<AtomicBool>,
}

/// Why a commit did not succeed.
pub(crate) enum Failure {
    /// Certainly not committed, nor will it be.
    No(KvError),
    /// The keys moved between ranges: plan again.
    Moved,
    /// Somebody has read that it did not commit at or below `above`: draw again.
    Pushed {
        above: Timestamp,
    },
    Unknown,
}

impl Transaction {
    pub(crate) async fn commit_buffer(&self) -> KvResult<CommitReceipt> {
        let large = self.may_bulk() && self.state.lock().buffer.bytes() > BULK_BYTES_MIN;
        if large {
            self.go_bulk();
        }
        if let Some(bulk) = self.bulk.get() {
            return Box::pin(self.commit_bulk(bulk)).await;
        }
        let reads = self.take_reads();
        let (writes, locked, snapshot) = self.take_writes()?;
        let Some(primary) = writes.first().map(|write| write.key.clone()) else {
            let validated = match reads.is_empty() {
                true => Ok(snapshot.unwrap_or(Timestamp(self.id.0))),
                false => Box::pin(self.validate_alone(reads, locked)).await,
            };
            self.release_except(None).await;
            return validated.map(|timestamp| CommitReceipt { timestamp });
        };
        let commit = Commit {
            shared: self.shared.clone(),
            txn: self.id,
            primary,
            writes: Arc::new(writes),
            locked: Arc::new(locked),
            reads: reads.into(),
            sent: Arc::default(),
            asynchronous: Arc::default(),
        };
        let started = Instant::now();
        loop {
            let parts = commit.parts().await;
            let outcome = match parts.as_deref() {
                Err(error) => Err(commit.failure(error.clone())),
                Ok([part]) if commit.reads_within(part) => {
                    let outcome = commit.one_phase(part, started).await;
                    if let Ok(timestamp) = outcome {
                        self.release_except(Some(part.descriptor.range)).await;
                        return Ok(CommitReceipt { timestamp });
                    }
                    outcome
                }
                Ok(parts) => self.two_phases(&commit, parts.to_vec(), started).await,
            };
            match outcome {
                Ok(timestamp) if commit.asynchronous.load(Ordering::Relaxed) => {
                    // The locks are freed when the intents are gone.
                    self.end();
                    return Ok(CommitReceipt { timestamp });
                }
                Ok(timestamp) => {
                    self.release_except(None).await;
                    return Ok(CommitReceipt { timestamp });
                }
                Err(Failure::Moved | Failure::Pushed { .. }) => {}
                Err(Failure::No(error)) => {
                    self.release_except(None).await;
                    return Err(error);
                }
                Err(Failure::Unknown) => {
                    // Locks stay until they expire: the commit may yet be applied.
                    self.end();
                    self.shared.alive.lock().remove(&self.id);
                    self.shared.remember_unresolved(self.id, commit.primary);
                    return Err(KvError::OutcomeUnknown { txn: self.id });
                }
            }
        }
    }

    /// Ends the statements; what there is to commit, in key order.
    fn take_writes(&self) -> KvResult<(Vec<Write>, Vec<LockedKey>, Option<Timestamp>)> {
        let mut state = self.state.lock();
        if std::mem::replace(&mut state.ended, true) {
            return Err(KvError::Aborted { txn: self.id });
        }
        let buffer = std::mem::take(&mut state.buffer);
        let mut locked = std::mem::take(&mut state.locked);
        let mut writes = Vec::with_capacity(buffer.len());
        for (key, value) in buffer.iter() {
            let seen = locked.remove(key).map(|held| held.seen);
            writes.push(Write { key: key.clone(), value: value.clone(), seen });
        }
        let locked = match writes.is_empty() && !tracks_reads(self.options()) {
            true => {
                // Nothing to check; they are released where they are.
                state.locked = locked;
                Vec::new()
            }
            false => locked
                .into_iter()
                // Nothing is stored under these: there is nothing to check.
                .filter(|(key, _)| !key.is_advisory())
                .map(|(key, held)| LockedKey { key, mode: held.mode, seen: held.seen })
                .collect(),
        };
        Ok((writes, locked, state.snapshot))
    }

    /// Frees the locks in every range but the one where the commit freed them.
    pub(crate) async fn release_except(&self, done: Option<RangeId>) {
        self.state.lock().touched.retain(|range, _| Some(*range) != done);
        let left = self.end();
        Self::release(&self.shared, self.id, left).await;
    }

    async fn two_phases(
        &self,
        commit: &Commit,
        parts: Vec<Part>,
        started: Instant,
    ) -> Result<Timestamp, Failure> {
        // From now on the primary's leader must know that the transaction lives.
        let at_primary = parts.iter().find(|part| part.descriptor.span.contains(&commit.primary));
        if let Some(part) = at_primary {
            self.touch(&part.descriptor, &commit.primary);
        }
        let commit = commit.clone();
        let touched = self.touched();
        let task = tokio::spawn(async move {
            match commit.goes_async(&parts) {
                true => commit.commit_async(parts, touched, started).await,
                false => commit.two_phases(parts, started).await,
            }
        });
        task.await.unwrap_or(Err(Failure::Unknown))
    }
}

impl Commit {
    /// The writes and locked keys, cut by range and size; the primary is in the first part.
    async fn parts(&self) -> KvResult<Vec<Part>> {
        let mut parts: Vec<Part> = Vec::new();
        let mut open = Part::new(self.shared.sender.locate(&self.primary).await?);
        for write in self.writes.iter() {
            let bytes = write.key.len() + write.value.as_ref().map_or(0, |value| value.len());
            self.make_room(&mut parts, &mut open, &write.key, bytes).await?;
            open.bytes += bytes;
            open.writes.push(write.clone());
        }
        for locked in self.locked.iter() {
            // A locked key of the same range goes along with the writes: one entry.
            let here = parts.iter_mut().chain([&mut open]).find(|part| {
                part.descriptor.span.contains(&locked.key) && !part.is_full(locked.key.len())
            });
            if let Some(part) = here {
                part.bytes += locked.key.len();
                part.locked.push(locked.clone());
                continue;
            }
            self.make_room(&mut parts, &mut open, &locked.key, locked.key.len()).await?;
            open.bytes += locked.key.len();
            open.locked.push(locked.clone());
        }
        parts.push(open);
        Ok(parts)
    }

    /// The locked keys alone, cut by range and size.
    pub(crate) async fn locked_parts(&self) -> KvResult<Vec<Part>> {
        let mut parts: Vec<Part> = Vec::new();
        for locked in self.locked.iter() {
            let here = parts.iter_mut().find(|part| {
                part.descriptor.span.contains(&locked.key) && !part.is_full(locked.key.len())
            });
            let part = match here {
                Some(part) => part,
                None => {
                    parts.push(Part::new(self.shared.sender.locate(&locked.key).await?));
                    parts.last_mut().expect("just pushed")
                }
            };
            part.bytes += locked.key.len();
            part.locked.push(locked.clone());
        }
        Ok(parts)
    }

    async fn make_room(
        &self,
        parts: &mut Vec<Part>,
        open: &mut Part,
        key: &Key,
        bytes: usize,
    ) -> KvResult<()> {
        if open.descriptor.span.contains(key) && !open.is_full(bytes) {
            return Ok(());
        }
        let descriptor = match open.descriptor.span.contains(key) {
            true => open.descriptor.clone(),
            false => self.shared.sender.locate(key).await?,
        };
        parts.push(std::mem::replace(open, Part::new(descriptor)));
        Ok(())
    }

    async fn one_phase(&self, part: &Part, started: Instant) -> Result<Timestamp, Failure> {
        let floor = self.shared.oracle.draw().await.map_err(|error| self.failure(error))?;
        let request = match self.reads.is_empty() {
            true => RangeRequest::Commit {
                txn: self.txn,
                primary: self.primary.clone(),
                floor,
                writes: part.writes.clone(),
                locked: part.locked.clone(),
            },
            false => self.validated(part, floor),
        };
        self.decide(&part.descriptor, request, started).await
    }

    /// Sends what decides the transaction until somebody knows how it was decided.
    pub(crate) async fn decide(
        &self,
        descriptor: &RangeDescriptor,
        request: RangeRequest,
        started: Instant,
    ) -> Result<Timestamp, Failure> {
        let mut attempt = 0;
        loop {
            match self.shared.sender.send(descriptor, request.clone()).await {
                Ok((RangeResponse::Committed(at), _)) => return Ok(at),
                Ok((RangeResponse::Pushed { above }, _)) => return Err(Failure::Pushed { above }),
                Ok((other, _)) => return Err(Failure::No(surprise("a commit", &other))),
                Err(RangeError::WrongRange { .. }) => return Err(Failure::Moved),
                Err(RangeError::Intents(foreign)) => {
                    let cleared = self.shared.clear_intents(foreign, attempt).await;
                    cleared.map_err(|error| self.failure(error))?;
                    attempt += 1;
                }
                Err(RangeError::OutcomeUnknown { .. }) => {
                    self.sent.store(true, Ordering::Relaxed);
                    if started.elapsed() >= self.shared.sender.tuning.outcome_timeout {
                        return Err(Failure::Unknown);
                    }
                }
                Err(error) => {
                    let error = kv_error(descriptor.range, error);
                    if self.sent.load(Ordering::Relaxed)
                        && matches!(error, KvError::Unavailable { .. })
                        && started.elapsed() < self.shared.sender.tuning.outcome_timeout
                    {
                        continue;
                    }
                    return Err(self.failure(error));
                }
            }
        }
    }

    /// After an attempt that may have succeeded, only the leader's own words are certain.
    pub(crate) fn failure(&self, error: KvError) -> Failure {
        let says_leader = matches!(error, KvError::Conflict { .. } | KvError::Aborted { .. });
        if self.sent.load(Ordering::Relaxed) && !says_leader {
            Failure::Unknown
        } else {
            Failure::No(error)
        }
    }

    async fn two_phases(&self, parts: Vec<Part>, started: Instant) -> Result<Timestamp, Failure> {
        let prewritten = match self.prewrite(&parts).await {
            Ok(min_commit) => min_commit,
            Err(failure) => return self.roll_back(failure, &parts).await,
        };
        let committed = self.decide_two_phases(&parts[0], prewritten, started).await;
        match committed {
            Ok(at) => {
                let others: Vec<Part> = parts.into_iter().skip(1).collect();
                let many = others.len() > BACKGROUND_PARTS_MAX;
                let resolved = tokio::spawn(self.clone().resolve(others, Outcome::Committed(at)));
                if many {
                    // Decided all the same if the task is lost: others finish it.
                    let _ = tokio::time::timeout(RESOLVE_WAIT_MAX, resolved).await;
                }
                Ok(at)
            }
            Err(Failure::Unknown) => Err(Failure::Unknown),
            Err(failure) => self.roll_back(failure, &parts).await,
        }
    }

    /// Draws a commit timestamp and decides, until nobody has read that it would not.
    async fn decide_two_phases(
        &self,
        part: &Part,
        prewritten: Timestamp,
        started: Instant,
    ) -> Result<Timestamp, Failure> {
        let mut min_commit = prewritten;
        let mut redraws = 0;
        loop {
            let commit = match self.reads.is_empty() {
                true => {
                    let drawn = self.shared.oracle.draw().await;
                    drawn.map_err(|error| self.failure(error))?.max(min_commit)
                }
                false => {
                    let commit = self.draw_at_least(min_commit).await;
                    let commit = commit.map_err(|error| self.failure(error))?;
                    Box::pin(self.validate(commit, redraws)).await?;
                    commit
                }
            };
            match self.commit_primary(part, commit, started).await {
                Err(Failure::Pushed { above })
                    if self.reads.is_empty() || redraws < REDRAWS_MAX =>
                {
                    min_commit = min_commit.max(above.next());
                    redraws += 1;
                }
                Err(Failure::Pushed { .. }) => {
                    let key = self.primary.clone();
                    return Err(Failure::No(KvError::Conflict { key, other: self.txn }));
                }
                decided => return decided,
            }
        }
    }

    /// Prewrites every part; the highest `min_commit`.
    pub(crate) async fn prewrite(&self, parts: &[Part]) -> Result<Timestamp, Failure> {
        let mut requests = Vec::with_capacity(parts.len());
        for part in parts {
            requests.push(self.prewrite_part(part).boxed());
        }
        let answers: Vec<Result<Timestamp, Failure>> =
            futures::stream::iter(requests).buffered(PARTS_AT_ONCE).collect().await;
        let mut highest = Timestamp::ZERO;
        for answer in answers {
            highest = highest.max(answer?);
        }
        Ok(highest)
    }

    async fn prewrite_part(&self, part: &Part) -> Result<Timestamp, Failure> {
        let request = RangeRequest::Prewrite {
            txn: self.txn,
            primary: self.primary.clone(),
            writes: part.writes.clone(),
            locked: part.locked.clone(),
        };
        self.send_prewrite(part, request).await
    }

    pub(crate) async fn send_prewrite(
        &self,
        part: &Part,
        request: RangeRequest,
    ) -> Result<Timestamp, Failure> {
        let mut attempt = 0;
        loop {
            match self.shared.sender.send(&part.descriptor, request.clone()).await {
                Ok((RangeResponse::Prewritten { min_commit }, _)) => return Ok(min_commit),
                Ok((other, _)) => return Err(Failure::No(surprise("a prewrite", &other))),
                Err(RangeError::WrongRange { .. }) => return Err(Failure::Moved),
                Err(RangeError::Intents(foreign)) => {
                    let cleared = self.shared.clear_intents(foreign, attempt).await;
                    cleared.map_err(Failure::No)?;
                    attempt += 1;
                }
                Err(error) => return Err(Failure::No(kv_error(part.descriptor.range, error))),
            }
        }
    }

    pub(crate) async fn commit_primary(
        &self,
        part: &Part,
        commit: Timestamp,
        started: Instant,
    ) -> Result<Timestamp, Failure> {
        let keys = part.keys();
        let mut request = RangeRequest::CommitPrimary {
            txn: self.txn,
            primary: self.primary.clone(),
            commit,
            keys,
        };
        let mut descriptor = part.descriptor.clone();
        loop {
            match self.decide(&descriptor, request.clone(), started).await {
                Err(Failure::Moved) => {
                    // The intents moved along: decide at the primary alone, the rest is resolved.
                    let located = self.shared.sender.locate(&self.primary).await;
                    descriptor = located.map_err(|error| self.failure(error))?;
                    request = RangeRequest::CommitPrimary {
                        txn: self.txn,
                        primary: self.primary.clone(),
                        commit,
                        keys: Vec::new(),
                    };
                }
                Ok(at) => {
                    if !Arc::ptr_eq(&descriptor, &part.descriptor) {
                        let left = vec![part.clone()];
                        tokio::spawn(self.clone().resolve(left, Outcome::Committed(at)));
                    }
                    return Ok(at);
                }
                Err(failure) => return Err(failure),
            }
        }
    }

    /// Decides the rollback at the primary, then cleans up; unless the commit came first.
    pub(crate) async fn roll_back(
        &self,
        why: Failure,
        parts: &[Part],
    ) -> Result<Timestamp, Failure> {
        let (txn, primary) = (self.txn, self.primary.clone());
        if matches!(why, Failure::Moved) {
            // Nothing is decided: the same transaction goes on with new parts. Its prewrites are
            // repeated as they are, those of keys that moved included.
            return Err(Failure::Moved);
        }
        let request = RangeRequest::Rollback { txn, primary: primary.clone() };
        match self.shared.at_key(&primary, request).await {
            Ok(RangeResponse::Status(TxnStatus::Committed(at))) => {
                tokio::spawn(self.clone().resolve(parts.to_vec(), Outcome::Committed(at)));
                Ok(at)
            }
            Ok(_) => {
                self.clone().resolve(parts.to_vec(), Outcome::RolledBack).await;
                Err(why)
            }
            // All its prewrites may be there: then it is committed.
            Err(_) if self.asynchronous.load(Ordering::Relaxed) => Err(Failure::Unknown),
            // Whoever meets the intents will roll back: nobody keeps the transaction alive.
            Err(error) => {
                tracing::info!(%txn, %error, "rollback left to others");
                Err(match why {
                    Failure::No(why) => self.failure(why),
                    why => why,
                })
            }
        }
    }

    pub(crate) async fn resolve(self, parts: Vec<Part>, outcome: Outcome) {
        let mut resolving = Vec::with_capacity(parts.len());
        for part in &parts {
            resolving.push(self.shared.resolve(self.txn, outcome, part.keys()).boxed());
        }
        let mut resolved = futures::stream::iter(resolving).buffer_unordered(PARTS_AT_ONCE);
        while let Some(result) = resolved.next().await {
            if let Err(error) = result {
                tracing::debug!(txn = %self.txn, %error, "intents left to whoever meets them");
            }
        }
    }
}
