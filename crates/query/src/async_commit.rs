//! Asynchronous commit of a transaction over several ranges: committed when every prewrite is
//! applied, at the highest of their `min_commit`s (replication's evaluate/async_commit.rs).
//!
//! ```text
//! client   floor ─▶ PrewriteAsync to all ─▶ COMMIT      one round
//! behind                                     └─▶ CommitPrimary ─▶ Resolve ─▶ Release
//! nobody left to do that: who meets an intent asks for all keys, then writes the record
//! ```
//!
//! Only for few keys in few parts, and only where nothing has to be validated (protocol.md, rule 5).

use crate::commit::{Commit, Failure, PART_BYTES_MAX, PARTS_AT_ONCE, Part};
use crate::coordinator::Shared;
use crate::transaction::{Leftover, Transaction};
use core_domain::planted::{PlantedBug, is_planted};
use core_domain::{Key, KvError, KvResult, Timestamp, TxnId, TxnStatus};
use futures::{FutureExt, StreamExt};
use replication::evaluate::{AsyncPrewrite, Outcome, RangeError, RangeRequest, RangeResponse};
use std::sync::atomic::Ordering;
use std::time::Instant;

/// Keys that the primary's intent may name.
const KEYS_MAX: usize = 256;
const PARTS_MAX: usize = 16;

impl Commit {
    /// Decided once: what is prewritten asynchronously stays so when its parts are cut anew.
    pub(crate) fn goes_async(&self, parts: &[Part]) -> bool {
        if self.asynchronous.load(Ordering::Relaxed) {
            return true;
        }
        let keys = self.writes.len() + self.locked.len();
        let bytes: usize = parts.iter().map(|part| part.bytes).sum();
        let nothing_to_validate =
            self.reads.is_empty() || is_planted(PlantedBug::AsyncCommitWhileValidating);
        let goes = nothing_to_validate
            && (2..=PARTS_MAX).contains(&parts.len())
            && keys <= KEYS_MAX
            && bytes <= PART_BYTES_MAX;
        self.asynchronous.store(goes, Ordering::Relaxed);
        goes
    }

    pub(crate) async fn commit_async(
        &self,
        parts: Vec<Part>,
        touched: Leftover,
        started: Instant,
    ) -> Result<Timestamp, Failure> {
        match self.prewrite_async(&parts).await {
            Ok(at) => {
                self.shared.finishing.lock().insert(self.txn, at);
                tokio::spawn(self.clone().finish_async(parts, at, touched, started));
                Ok(at)
            }
            Err(failure) => self.roll_back(failure, &parts).await,
        }
    }

    async fn prewrite_async(&self, parts: &[Part]) -> Result<Timestamp, Failure> {
        let floor = self.shared.oracle.draw().await.map_err(Failure::No)?;
        let all = self.writes.iter().map(|write| &write.key);
        let all = all.chain(self.locked.iter().map(|locked| &locked.key));
        let secondaries: Vec<Key> = all.filter(|key| **key != self.primary).cloned().collect();
        let mut prewrites = Vec::with_capacity(parts.len());
        for (at, part) in parts.iter().enumerate() {
            let request = RangeRequest::PrewriteAsync(Box::new(AsyncPrewrite {
                txn: self.txn,
                primary: self.primary.clone(),
                floor,
                writes: part.writes.clone(),
                locked: part.locked.clone(),
                // The primary is in the first part.
                secondaries: if at == 0 { secondaries.clone() } else { Vec::new() },
            }));
            prewrites.push(self.send_prewrite(part, request).boxed());
        }
        let answers: Vec<Result<Timestamp, Failure>> =
            futures::stream::iter(prewrites).buffered(PARTS_AT_ONCE).collect().await;
        answers.into_iter().try_fold(floor, |highest, answer| Ok(highest.max(answer?)))
    }

    /// Behind the client's back: the record, the versions, and the locks at last, so that those who
    /// wait for them need not look for what became of the intents.
    async fn finish_async(
        self,
        parts: Vec<Part>,
        at: Timestamp,
        touched: Leftover,
        started: Instant,
    ) {
        match self.commit_primary(&parts[0], at, started).await {
            Ok(recorded) => {
                let others: Vec<Part> = parts.into_iter().skip(1).collect();
                self.clone().resolve(others, Outcome::Committed(recorded)).await;
            }
            Err(_) => tracing::info!(txn = %self.txn, "intents left to whoever meets them"),
        }
        Transaction::release(&self.shared, self.txn, touched).await;
        self.shared.finishing.lock().remove(&self.txn);
    }
}

impl Shared {
    /// Decides an abandoned transaction by what its prewrites left.
    pub(crate) async fn recover_async(
        &self,
        txn: TxnId,
        primary: &Key,
        secondaries: Vec<Key>,
        min_commit: Timestamp,
    ) -> KvResult<TxnStatus> {
        let request = match self.settle_secondaries(txn, secondaries, min_commit).await? {
            Some(commit) => {
                let (primary, keys) = (primary.clone(), Vec::new());
                RangeRequest::CommitPrimary { txn, primary, commit, keys }
            }
            None => RangeRequest::Rollback { txn, primary: primary.clone() },
        };
        match self.at_key(primary, request).await {
            Ok(RangeResponse::Committed(at)) => Ok(TxnStatus::Committed(at)),
            Ok(RangeResponse::Status(status)) => Ok(status),
            Ok(other) => Err(crate::transaction::surprise("a recovery", &other)),
            Err(KvError::Aborted { .. }) => Ok(TxnStatus::RolledBack),
            Err(error) => Err(error),
        }
    }

    /// The commit timestamp, if every intent is there; `None`: the primary knows, or must roll back.
    async fn settle_secondaries(
        &self,
        txn: TxnId,
        secondaries: Vec<Key>,
        min_commit: Timestamp,
    ) -> KvResult<Option<Timestamp>> {
        let mut commit = min_commit;
        let mut left = secondaries;
        while !left.is_empty() {
            let descriptor = self.sender.locate(&left[0]).await?;
            let (here, elsewhere): (Vec<Key>, Vec<Key>) =
                left.into_iter().partition(|key| descriptor.span.contains(key));
            let request = RangeRequest::SettleSecondaries { txn, keys: here.clone() };
            left = elsewhere;
            match self.sender.send(&descriptor, request).await {
                Ok((RangeResponse::Prewritten { min_commit }, _)) => {
                    commit = commit.max(min_commit)
                }
                Ok((RangeResponse::Status(_), _)) => return Ok(None),
                Ok((other, _)) => {
                    return Err(crate::transaction::surprise("a settling", &other));
                }
                Err(RangeError::WrongRange { .. }) => left.extend(here),
                Err(error) => return Err(crate::sender::kv_error(descriptor.range, error)),
            }
        }
        Ok(Some(commit))
    }
}
