//! Where transactions come from.
//!
//! ```text
//! let evaluator = Evaluator::new(engine.clone(), clock);              // replication
//! let store = Store::open(engine, node, transport.clone(), evaluator.clone(), …).await?;
//! let kv = TxnCoordinator::start(store, evaluator, transport, peers, SendTuning::default());
//! let txn = kv.begin(TxnOptions::default()).await?;                  // as KvStore
//! ```

use crate::oracle_client::OracleClient;
use crate::sender::{PeerList, RangeSender, SendTuning, kv_error};
use crate::size_splits;
use crate::snapshots::Snapshots;
use crate::transaction::{Transaction, surprise};
use async_trait::async_trait;
use cluster::Transport;
use core_domain::{
    Key, KvError, KvResult, KvStore, KvTransaction, LockMode, LockWait, LockedValue, NodeId,
    OtherWaits, PointRead, RangeId, Span, Timestamp, TxnId, TxnOptions, TxnStatus, WaitPolicy,
};
use parking_lot::Mutex;
use replication::evaluate::{
    Evaluator, RangeError, RangeRequest, RangeResponse, TXN_EXPIRY, WaitReport,
};
use replication::{Replica, SYSTEM_RANGE, Store};
use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

/// Largest value of one key: with its key and intent it fits into one log entry.
pub const VALUE_BYTES_MAX: u64 = 3 << 20;
/// What a transaction holds in memory unless told otherwise; beyond, it writes ahead of its commit.
pub const MEMORY_BYTES_MAX: u64 = 256 << 20;
/// Largest sum of keys and values that one transaction may write.
pub const TXN_BYTES_MAX: u64 = 1 << 30;

/// How often waiters are reported, and how long they have waited then.
const WAITS_INTERVAL: Duration = Duration::from_millis(100);
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(1);
/// Ids below are given at the founding of the cluster.
const FIRST_SPLIT_RANGE: u64 = 1000;

const _: () = assert!(TXN_EXPIRY.as_secs() >= 3 * HEARTBEAT_INTERVAL.as_secs());

/// The distributed `KvStore`. Used as `Arc<TxnCoordinator>`.
pub struct TxnCoordinator {
    pub(crate) shared: Arc<Shared>,
}

/// What every transaction of this node uses.
pub(crate) struct Shared {
    pub sender: Arc<RangeSender>,
    pub oracle: Arc<OracleClient>,
    /// Transactions with locks or intents: they are kept alive by heartbeats.
    pub alive: Mutex<HashMap<TxnId, Weak<Transaction>>>,
    /// How far back this node reads.
    pub snapshots: Snapshots,
    /// What deadlock detection should know besides the lock tables.
    pub other_waits: Mutex<Option<OtherWaits>>,
    /// Committed asynchronously; the status record is on its way.
    pub finishing: Mutex<HashMap<TxnId, Timestamp>>,
    /// Transactions of this node whose outcome was unknown, with their primaries.
    pub unresolved: Mutex<HashMap<TxnId, Key>>,
}

impl TxnCoordinator {
    /// Connects the evaluator with the oracle, and serves this node's ranges to the others.
    pub fn start(
        store: Arc<Store>,
        evaluator: Arc<Evaluator>,
        transport: Arc<dyn Transport>,
        peers: PeerList,
        tuning: SendTuning,
    ) -> Arc<Self> {
        let sender = RangeSender::start(store, evaluator.clone(), transport, peers, tuning);
        let oracle = OracleClient::new(sender.clone());
        evaluator.connect(oracle.clone());
        let shared = Arc::new(Shared {
            sender,
            oracle,
            alive: Mutex::default(),
            snapshots: Snapshots::default(),
            other_waits: Mutex::default(),
            finishing: Mutex::default(),
            unresolved: Mutex::default(),
        });
        tokio::spawn(send_heartbeats(Arc::downgrade(&shared)));
        tokio::spawn(size_splits::watch(Arc::downgrade(&shared)));
        tokio::spawn(report_waits(Arc::downgrade(&shared)));
        Arc::new(Self { shared })
    }

    /// Another handle.
    pub(crate) fn of(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    pub(crate) fn led_here(&self) -> Vec<Arc<Replica>> {
        self.shared.sender.led_here()
    }

    /// Transactions of this node that hold locks.
    pub fn active_transactions(&self) -> usize {
        self.shared.alive.lock().len()
    }

    /// A range id that was never used.
    async fn draw_range_id(&self) -> KvResult<RangeId> {
        let key = Key::system("ranges/next");
        let txn = self.begin(TxnOptions::default()).await?;
        txn.begin_statement().await?;
        let locked =
            txn.lock(std::slice::from_ref(&key), LockMode::Exclusive, WaitPolicy::Wait(None));
        let next = match locked.await?.pop() {
            Some(LockedValue::Locked { value: Some(raw), .. }) => {
                let raw = raw.as_ref().try_into().map_err(|_| {
                    KvError::Corruption("the counter of range ids is not eight bytes".into())
                })?;
                u64::from_be_bytes(raw)
            }
            Some(LockedValue::Locked { value: None, .. } | LockedValue::Skipped) | None => {
                FIRST_SPLIT_RANGE
            }
        };
        txn.put(key, (next + 1).to_be_bytes().to_vec().into())?;
        txn.commit().await?;
        Ok(RangeId(next))
    }
}

/// Tells the leaders that transactions of this node are alive, those older than one interval.
async fn send_heartbeats(shared: Weak<Shared>) {
    loop {
        tokio::time::sleep(HEARTBEAT_INTERVAL).await;
        let Some(shared) = shared.upgrade() else { return };
        let alive: Vec<Arc<Transaction>> =
            shared.alive.lock().values().filter_map(Weak::upgrade).collect();
        for txn in alive.into_iter().filter(|txn| txn.age() >= HEARTBEAT_INTERVAL) {
            if txn.has_advisory_locks() {
                let txn = txn.clone();
                tokio::spawn(async move { txn.reassert().await });
            }
            tokio::spawn(send_heartbeat(shared.clone(), txn));
        }
    }
}

async fn send_heartbeat(shared: Arc<Shared>, txn: Arc<Transaction>) {
    let id = txn.id();
    let beats = txn.heartbeat_keys().await;
    // Or the transaction would not be dropped while one of them waits for a leader.
    drop(txn);
    let beats = beats.into_iter().map(|key| {
        let shared = shared.clone();
        async move {
            let beat = RangeRequest::Heartbeat { txn: id };
            if let Err(error) = shared.at_key(&key, beat).await {
                tracing::debug!(%id, %error, "heartbeat not delivered");
            }
        }
    });
    futures::future::join_all(beats).await;
}

/// Tells the detector who has waited for an interval at least; ends the waits that it chooses.
/// Where nobody waits nothing is sent, but for one report that says so.
async fn report_waits(shared: Weak<Shared>) {
    let (mut sequence, mut answered, mut told) = (0, 0, false);
    loop {
        tokio::time::sleep(WAITS_INTERVAL).await;
        let Some(shared) = shared.upgrade() else { return };
        let waits = shared.sender.own_waits(true);
        let tell = shared.other_waits.lock().clone();
        let others = tell.map(|tell| tell()).unwrap_or_default();
        let nothing = waits.is_empty() && others.is_empty();
        if nothing && !told {
            continue;
        }
        told = !nothing;
        sequence += 1;
        let node = shared.sender.node();
        let report = WaitReport { node, sequence, answered, waits, others };
        let request = RangeRequest::ReportWaits(report);
        match shared.sender.to_range(SYSTEM_RANGE, request).await {
            Ok(RangeResponse::Victims(victims)) => {
                answered = sequence;
                victims.iter().for_each(|victim| shared.sender.give_way(victim));
            }
            Ok(other) => tracing::warn!("a report of waits was answered by {other:?}"),
            Err(error) => tracing::debug!(%error, "waits not reported"),
        }
    }
}

#[async_trait]
impl KvStore for TxnCoordinator {
    async fn begin(&self, options: TxnOptions) -> KvResult<Arc<dyn KvTransaction>> {
        let held = match options.as_of {
            None => self.shared.snapshots.hold(),
            Some(past) => self.shared.snapshots.hold_past(past),
        };
        let id = TxnId(self.shared.oracle.draw().await?.0);
        if options.as_of.is_some_and(|past| past.0 > id.0) {
            return Err(KvError::Internal("a snapshot from the future was asked for".into()));
        }
        Ok(Transaction::begin(self.shared.clone(), id, options, held))
    }

    fn try_get(&self, key: &Key) -> Option<PointRead> {
        let sender = &self.shared.sender;
        let at = sender.try_draw()?;
        let (seen, value) = sender.try_get(key, at)?.unwrap_or_default();
        Some(PointRead { value, at, seen, node: sender.node() })
    }

    async fn now(&self) -> KvResult<Timestamp> {
        self.shared.oracle.draw().await
    }

    /// Searches every range: slow when the transaction is not of this node and now.
    async fn txn_status(&self, txn: TxnId) -> KvResult<TxnStatus> {
        if let Some(at) = self.shared.finishing.lock().get(&txn) {
            return Ok(TxnStatus::Committed(*at));
        }
        if self.shared.alive.lock().contains_key(&txn) {
            return Ok(TxnStatus::InProgress);
        }
        let unresolved = self.shared.unresolved.lock().get(&txn).cloned();
        if let Some(primary) = unresolved {
            return self.shared.settle_unresolved(txn, primary).await;
        }
        let (mut in_progress, mut rolled_back) = (false, false);
        let mut next = Some(Key::MIN);
        while let Some(key) = next {
            let descriptor = self.shared.sender.locate(&key).await?;
            match self.shared.sender.send(&descriptor, RangeRequest::FindTxn { txn }).await {
                Ok((RangeResponse::Status(found), _)) => match found {
                    TxnStatus::Committed(_) => return Ok(found),
                    // Of one key; the primary's record says more.
                    TxnStatus::RolledBack => rolled_back = true,
                    TxnStatus::InProgress => in_progress = true,
                    TxnStatus::Unknown => {}
                },
                Ok((other, _)) => {
                    return Err(KvError::Internal(format!("a search was answered by {other:?}")));
                }
                Err(RangeError::WrongRange { .. }) => {
                    next = Some(key);
                    continue;
                }
                Err(error) => return Err(kv_error(descriptor.range, error)),
            }
            next = Some(descriptor.span.end.clone()).filter(|end| !end.is_empty());
        }
        Ok(match (rolled_back, in_progress) {
            (true, _) => TxnStatus::RolledBack,
            (false, true) => TxnStatus::InProgress,
            (false, false) => TxnStatus::Unknown,
        })
    }

    async fn lock_waits(&self) -> KvResult<Vec<LockWait>> {
        let reported = self.shared.sender.to_range(SYSTEM_RANGE, RangeRequest::ListWaits).await;
        let reported = match reported {
            Ok(RangeResponse::Waits(waits)) => waits,
            Ok(other) => return Err(surprise("a list of waits", &other)),
            Err(error) => {
                // Whoever looks at a cluster in trouble is shown what is known here.
                tracing::debug!(%error, "waits on other nodes are not known");
                Vec::new()
            }
        };
        let mut waits = self.shared.sender.own_waits(false);
        for wait in reported {
            if !waits.iter().any(|own| own.waiter == wait.waiter && own.key == wait.key) {
                waits.push(wait);
            }
        }
        let waits = waits.into_iter().map(|wait| LockWait {
            waiter: wait.waiter,
            key: wait.key,
            mode: wait.mode,
            blockers: wait.blockers,
        });
        Ok(waits.collect())
    }

    fn watch_waits(&self, others: OtherWaits) {
        *self.shared.other_waits.lock() = Some(others);
    }

    async fn split_at(&self, key: &Key) -> KvResult<()> {
        let mut right = None;
        let started = Instant::now();
        loop {
            let descriptor = self.shared.sender.locate(key).await?;
            if descriptor.span.start == *key {
                return Ok(());
            }
            let right = match right {
                Some(right) => right,
                None => *right.insert(self.draw_range_id().await?),
            };
            match self.shared.sender.split(&descriptor, key, right).await {
                Ok(()) | Err(RangeError::WrongRange { .. }) => {}
                // Trying again does no harm: of two tries, only one finds its generation.
                Err(RangeError::OutcomeUnknown { .. })
                    if started.elapsed() < self.shared.sender.tuning.outcome_timeout =>
                {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                Err(error) => return Err(kv_error(descriptor.range, error)),
            }
        }
    }

    async fn transfer_leader(&self, range: RangeId, node: NodeId) -> KvResult<bool> {
        self.shared.sender.transfer(range, node).await
    }

    async fn erase(&self, span: &Span) -> KvResult<()> {
        let mut rest = Some(span.clone());
        while let Some(part) = rest.take() {
            let descriptor = self.shared.sender.locate(&part.start).await?;
            let Some(here) = descriptor.span.intersect(&part) else { return Ok(()) };
            let request = RangeRequest::Erase { span: here.clone() };
            rest = match self.shared.sender.send(&descriptor, request).await {
                Ok(_) if here.end == part.end => None,
                Ok(_) => Some(Span::new(here.end, part.end)),
                Err(RangeError::WrongRange { .. }) => Some(part),
                Err(error) => return Err(kv_error(descriptor.range, error)),
            };
        }
        Ok(())
    }
}
