//! SERIALIZABLE at commit: what was read has not changed until the commit timestamp (protocol.md,
//! rule 5).
//!
//! ```text
//! one range, reads included   CommitValidated ─▶ done: one Raft command
//! several                     Prewrite ─▶ C ─▶ Validate every span at C ─▶ CommitPrimary: decided
//!                                         ▲                                     │ Pushed
//!                                         └──────────── redraw ─────────────────┘
//! ```
//!
//! An intent of another in what was read, undecided and below C, is pushed: its transaction will
//! commit above C or not at all. Two that push each other both redraw; then the younger one gives
//! way, so that one of them gets through.
//!
//! A transaction that wrote nothing and read only its snapshot has nothing to validate: it is
//! serialised where its snapshot is.

use crate::commit::{Commit, Failure, Part};
use crate::intents::by_transaction;
use crate::sender::kv_error;
use crate::transaction::{Transaction, UNKNOWN, surprise, tracks_reads};
use core_domain::{
    Key, KvError, KvResult, KvTransaction, ReadSpan, Span, Timestamp, TxnId, TxnStatus,
};
use replication::RangeDescriptor;
use replication::evaluate::{
    ForeignIntent, LockedKey, Outcome, RangeError, RangeRequest, RangeResponse, ValidatedCommit,
};
use std::sync::Arc;
use std::time::Duration;

/// After so many pushes a validating transaction fails: its client's server begins it again.
pub(crate) const REDRAWS_MAX: u32 = 10;
/// After so many waits, ten seconds, the other is taken to wait for this one.
const WAITS_MAX: u32 = 200;
const WAIT_MAX: Duration = Duration::from_millis(50);

impl Transaction {
    /// What the commit has to look at again.
    pub(crate) fn take_reads(&self) -> Vec<ReadSpan> {
        if !tracks_reads(self.options()) {
            return Vec::new();
        }
        let mut state = self.state.lock();
        let Some(reads) = state.reads.take() else { return Vec::new() };
        let snapshot = state.snapshot.unwrap_or_default();
        let newest_locked = state.locked.values().map(|held| held.seen).max().unwrap_or_default();
        let only_snapshot = reads.latest() <= snapshot && newest_locked <= snapshot;
        match state.buffer.is_empty() && only_snapshot {
            true => Vec::new(),
            false => reads.into_spans(),
        }
    }

    /// A transaction that wrote nothing, but has seen more than its snapshot.
    pub(crate) async fn validate_alone(
        &self,
        mut reads: Vec<ReadSpan>,
        locked: Vec<LockedKey>,
    ) -> KvResult<Timestamp> {
        // Who wrote such a key after it was locked committed above what was seen, and above the
        // beginning: whoever was let past a lost lock did.
        let since = |seen: Timestamp| seen.max(Timestamp(self.id.0));
        reads.extend(
            locked
                .into_iter()
                .map(|held| ReadSpan { span: Span::point(held.key), since: since(held.seen) }),
        );
        let commit = Commit {
            shared: self.shared.clone(),
            txn: self.id,
            primary: Key::MIN,
            writes: Arc::default(),
            locked: Arc::default(),
            reads: reads.into(),
            sent: Arc::default(),
            asynchronous: Arc::default(),
        };
        let at = self.shared.oracle.draw().await?;
        match commit.validate(at, 0).await {
            Ok(()) => Ok(at),
            Err(Failure::No(error)) => Err(error),
            Err(Failure::Moved | Failure::Pushed { .. } | Failure::Unknown) => {
                Err(KvError::Internal("a validation moved".into()))
            }
        }
    }
}

impl Transaction {
    /// A lock was lost and somebody wrote: finds out who.
    pub(crate) async fn name_the_other(&self, error: KvError) -> KvError {
        let KvError::Conflict { key, other: UNKNOWN } = &error else { return error };
        let since = self.state.lock().locked.get(key).map(|held| held.seen).unwrap_or_default();
        let Ok(at) = self.shared.oracle.draw().await else { return error };
        let reads = vec![ReadSpan { span: Span::point(key.clone()), since }];
        let request = RangeRequest::Validate { txn: self.id, at, reads, passed: Vec::new() };
        match self.shared.at_key(key, request).await {
            Err(named @ KvError::Conflict { .. }) => named,
            Ok(_) | Err(_) => error,
        }
    }
}

impl Commit {
    /// Whether one entry in the part's range can decide everything.
    pub(crate) fn reads_within(&self, part: &Part) -> bool {
        self.reads.iter().all(|read| part.descriptor.span.contains_span(&read.span))
    }

    /// Sends the one-phase commit with what is to be validated.
    pub(crate) fn validated(&self, part: &Part, floor: Timestamp) -> RangeRequest {
        RangeRequest::CommitValidated(Box::new(ValidatedCommit {
            txn: self.txn,
            primary: self.primary.clone(),
            floor,
            writes: part.writes.clone(),
            locked: part.locked.clone(),
            reads: self.reads.to_vec(),
        }))
    }

    /// A commit timestamp that the oracle has reached, since reads at it follow.
    pub(crate) async fn draw_at_least(&self, min_commit: Timestamp) -> KvResult<Timestamp> {
        loop {
            let drawn = self.shared.oracle.draw().await?;
            if drawn >= min_commit {
                return Ok(drawn);
            }
        }
    }

    /// Nothing that was read has changed until `at`, nor will. `redraws`: how often this
    /// transaction was pushed.
    pub(crate) async fn validate(&self, at: Timestamp, redraws: u32) -> Result<(), Failure> {
        let mut left: Vec<ReadSpan> = self.reads.to_vec();
        let mut passed = Vec::new();
        let mut attempt = 0;
        while let Some(first) = left.first() {
            let located = self.shared.sender.locate(&first.span.start).await;
            let descriptor = located.map_err(Failure::No)?;
            let (here, elsewhere) = cut(left, &descriptor);
            let request = RangeRequest::Validate {
                txn: self.txn,
                at,
                reads: here.clone(),
                passed: passed.clone(),
            };
            left = elsewhere;
            match self.shared.sender.send(&descriptor, request).await {
                Ok((RangeResponse::Done, _)) => {}
                Ok((other, _)) => {
                    return Err(Failure::No(surprise("a validation", &other)));
                }
                Err(RangeError::WrongRange { .. }) => left.extend(here),
                Err(RangeError::Intents(foreign)) => {
                    left.extend(here);
                    self.clear_below(foreign, at, redraws, attempt, &mut passed).await?;
                    attempt += 1;
                }
                Err(error) => return Err(Failure::No(kv_error(descriptor.range, error))),
            }
        }
        Ok(())
    }

    /// Finishes intents that are decided, and pushes the others above `at`.
    async fn clear_below(
        &self,
        foreign: Vec<ForeignIntent>,
        at: Timestamp,
        redraws: u32,
        attempt: u32,
        passed: &mut Vec<TxnId>,
    ) -> Result<(), Failure> {
        let mut undecided = None;
        for ((txn, primary), (seen, keys)) in by_transaction(foreign) {
            let outcome = match self.push(txn, primary, seen, at).await.map_err(Failure::No)? {
                Pushed::Decided(outcome) => outcome,
                // It pushes us as we push it: the younger one gives way.
                Pushed::Above if redraws > 0 && txn < self.txn => {
                    let key = keys.into_iter().next().unwrap_or_default();
                    return Err(Failure::No(KvError::Conflict { key, other: txn }));
                }
                Pushed::Above => {
                    passed.push(txn);
                    continue;
                }
                Pushed::Undecided => {
                    undecided = keys.into_iter().next().map(|key| (key, txn));
                    continue;
                }
            };
            self.shared.resolve(txn, outcome, keys).await.map_err(Failure::No)?;
        }
        if let Some((key, other)) = undecided {
            // It may wait for us: only after locks were lost, but then for ever.
            if attempt >= WAITS_MAX {
                return Err(Failure::No(KvError::Conflict { key, other }));
            }
            let wait = Duration::from_millis(1 << attempt.min(6)).min(WAIT_MAX);
            tokio::time::sleep(wait).await;
        }
        Ok(())
    }

    async fn push(
        &self,
        txn: TxnId,
        primary: Key,
        seen: Timestamp,
        above: Timestamp,
    ) -> KvResult<Pushed> {
        let now = self.shared.oracle.draw().await?;
        let request = RangeRequest::PushTxn { txn, primary: primary.clone(), seen, now, above };
        let status = match self.shared.at_key(&primary, request).await? {
            RangeResponse::Pushed { .. } => return Ok(Pushed::Above),
            RangeResponse::Status(status) => status,
            RangeResponse::Secondaries { keys, min_commit } => {
                self.shared.recover_async(txn, &primary, keys, min_commit).await?
            }
            other => return Err(surprise("a push", &other)),
        };
        Ok(match status {
            TxnStatus::Committed(at) => Pushed::Decided(Outcome::Committed(at)),
            TxnStatus::RolledBack => Pushed::Decided(Outcome::RolledBack),
            TxnStatus::InProgress | TxnStatus::Unknown => Pushed::Undecided,
        })
    }
}

enum Pushed {
    Above,
    Decided(Outcome),
    Undecided,
}

/// What of `reads` lies in the range, and the rest.
fn cut(reads: Vec<ReadSpan>, descriptor: &RangeDescriptor) -> (Vec<ReadSpan>, Vec<ReadSpan>) {
    let (mut here, mut elsewhere) = (Vec::new(), Vec::new());
    for ReadSpan { span, since } in reads {
        let Some(inside) = span.intersect(&descriptor.span).filter(|inside| !inside.is_empty())
        else {
            elsewhere.push(ReadSpan { span, since });
            continue;
        };
        if span.start < inside.start {
            let before = Span::new(span.start.clone(), inside.start.clone());
            elsewhere.push(ReadSpan { span: before, since });
        }
        if inside.end != span.end {
            let after = Span::new(inside.end.clone(), span.end.clone());
            elsewhere.push(ReadSpan { span: after, since });
        }
        here.push(ReadSpan { span: inside, since });
    }
    (here, elsewhere)
}

#[cfg(test)]
mod tests {
    use super::*;
    use core_domain::{NodeId, RangeId};

    fn read(start: &str, end: &str) -> ReadSpan {
        let key = |text: &str| Key::from(text.as_bytes());
        ReadSpan { span: Span::new(key(start), key(end)), since: Timestamp(1) }
    }

    #[test]
    fn reads_are_cut_at_the_bounds_of_ranges_without_loss() {
        let founders = [(NodeId(1), "a".to_owned())];
        let range = RangeDescriptor::founding(RangeId(1), read("d", "k").span, &founders);
        let reads =
            vec![read("a", "c"), read("b", "e"), read("f", "g"), read("c", ""), read("k", "m")];
        let (here, elsewhere) = cut(reads, &range);
        assert_eq!(here, [read("d", "e"), read("f", "g"), read("d", "k")]);
        assert_eq!(
            elsewhere,
            [read("a", "c"), read("b", "d"), read("c", "d"), read("k", ""), read("k", "m")]
        );
    }
}
