//! Intents of other transactions in the way: find out at their primary what became of them, finish
//! them if they are decided, wait a little if they are not.

use crate::coordinator::Shared;
use core_domain::{Key, KvError, KvResult, Timestamp, TxnId, TxnStatus};
use replication::evaluate::{ForeignIntent, Outcome, RangeError, RangeRequest, RangeResponse};
use std::collections::BTreeMap;
use std::time::Duration;

/// Outcomes to be found out that are remembered.
const UNRESOLVED_MAX: usize = 10_000;
const WAIT_MAX: Duration = Duration::from_millis(50);

impl Shared {
    /// Clears what can be cleared; sleeps if something is still undecided. `attempt` counts from
    /// zero.
    pub(crate) async fn clear_intents(
        &self,
        foreign: Vec<ForeignIntent>,
        attempt: u32,
    ) -> KvResult<()> {
        let mut undecided = false;
        for ((txn, primary), (seen, keys)) in by_transaction(foreign) {
            let now = self.oracle.draw().await?;
            let request = RangeRequest::QueryTxn { txn, primary: primary.clone(), seen, now };
            let outcome = match self.decided(txn, &primary, request).await? {
                TxnStatus::Committed(at) => Outcome::Committed(at),
                TxnStatus::RolledBack => Outcome::RolledBack,
                TxnStatus::InProgress | TxnStatus::Unknown => {
                    undecided = true;
                    continue;
                }
            };
            self.resolve(txn, outcome, keys).await?;
        }
        if undecided {
            let wait = Duration::from_millis(1 << attempt.min(6)).min(WAIT_MAX);
            tokio::time::sleep(wait).await;
        }
        Ok(())
    }

    pub(crate) async fn decided(
        &self,
        txn: TxnId,
        primary: &Key,
        request: RangeRequest,
    ) -> KvResult<TxnStatus> {
        match self.at_key(primary, request).await? {
            RangeResponse::Status(status) => Ok(status),
            RangeResponse::Secondaries { keys, min_commit } => {
                Box::pin(self.recover_async(txn, primary, keys, min_commit)).await
            }
            other => Err(KvError::Internal(format!("a status question was answered by {other:?}"))),
        }
    }

    /// `txid_status` will be asked about it.
    pub(crate) fn remember_unresolved(&self, txn: TxnId, primary: Key) {
        let mut unresolved = self.unresolved.lock();
        if unresolved.len() < UNRESOLVED_MAX {
            unresolved.insert(txn, primary);
        }
    }

    /// What became of a transaction whose outcome was unknown. Once it is not heard of any more it is
    /// rolled back, if it was not committed: the answer is final. Until its record may have expired:
    /// then nobody knows.
    pub(crate) async fn settle_unresolved(&self, txn: TxnId, primary: Key) -> KvResult<TxnStatus> {
        if self.is_forgotten(txn).await? {
            self.unresolved.lock().remove(&txn);
            return Ok(TxnStatus::Unknown);
        }
        let now = self.oracle.draw().await?;
        let seen = Timestamp(txn.0);
        let request = RangeRequest::QueryTxn { txn, primary: primary.clone(), seen, now };
        let status = self.decided(txn, &primary, request).await?;
        if matches!(status, TxnStatus::Committed(_) | TxnStatus::RolledBack) {
            self.unresolved.lock().remove(&txn);
        }
        // Forgotten while it was asked for.
        let lost = status == TxnStatus::RolledBack && self.is_forgotten(txn).await?;
        Ok(if lost { TxnStatus::Unknown } else { status })
    }

    /// Finishes the intents of a decided transaction on `keys`, range by range.
    pub(crate) async fn resolve(
        &self,
        txn: TxnId,
        outcome: Outcome,
        keys: Vec<Key>,
    ) -> KvResult<()> {
        let mut left = keys;
        while !left.is_empty() {
            let descriptor = self.sender.locate(&left[0]).await?;
            let (here, elsewhere): (Vec<Key>, Vec<Key>) =
                left.into_iter().partition(|key| descriptor.span.contains(key));
            let request = RangeRequest::Resolve { txn, outcome, keys: here.clone() };
            left = elsewhere;
            match self.sender.send(&descriptor, request).await {
                Ok(_) => {}
                Err(RangeError::WrongRange { .. }) => left.extend(here),
                Err(error) => return Err(crate::sender::kv_error(descriptor.range, error)),
            }
        }
        Ok(())
    }

    /// A request about one key that meets no intents.
    pub(crate) async fn at_key(&self, key: &Key, request: RangeRequest) -> KvResult<RangeResponse> {
        loop {
            let descriptor = self.sender.locate(key).await?;
            match self.sender.send(&descriptor, request.clone()).await {
                Ok((response, _)) => return Ok(response),
                Err(RangeError::WrongRange { .. }) => {}
                Err(error) => return Err(crate::sender::kv_error(descriptor.range, error)),
            }
        }
    }
}

/// By transaction and primary: the highest `min_commit`, and the keys.
pub(crate) fn by_transaction(
    foreign: Vec<ForeignIntent>,
) -> BTreeMap<(TxnId, Key), (Timestamp, Vec<Key>)> {
    let mut by_txn: BTreeMap<(TxnId, Key), (Timestamp, Vec<Key>)> = BTreeMap::new();
    for intent in foreign {
        let (seen, keys) = by_txn.entry((intent.txn, intent.primary)).or_default();
        *seen = intent.min_commit.max(*seen);
        keys.push(intent.key);
    }
    by_txn
}
