//! This node's part in garbage collection: it says how far back it reads, learns how far may be
//! dropped, and, where the system range is led here, moves that on.
//!
//! ```text
//! every 2 seconds    draw now ─▶ new epoch ─▶ Report { oldest } ─▶ marks ─▶ this node's engine
//! every move_interval, where the system range is led
//!                    threshold  now - retention, or what the reports leave of it
//!                    records    the same, once no range has intents of older transactions
//! ```
//!
//! A status record is what decides the intents of its transaction: records expire only below a
//! timestamp of which every range's leader has said that it has no older intents. Those it has are
//! finished first. One that shows up later is a straggler whose transaction has long been finished
//! elsewhere, or never was committed: rolling it back is right.

use crate::coordinator::{Shared, TxnCoordinator};
use core_domain::{Key, KvError, KvResult, Timestamp, TxnId};
use replication::evaluate::{Marks, RangeError, RangeRequest, RangeResponse};
use replication::{Leadership, SYSTEM_RANGE};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

/// Times of garbage collection; tests shrink them.
#[derive(Clone, Debug)]
pub struct GcTuning {
    /// For how long old versions stay readable, in oracle time.
    pub retention: Duration,
    /// How often a node says how far back it reads.
    pub report_interval: Duration,
    /// How long a node may be silent before its snapshots are not kept any more.
    pub silence_max: Duration,
    /// How often the marks move.
    pub move_interval: Duration,
    /// How often status records are looked at: every range is asked.
    pub records_interval: Duration,
}

/// For how long old versions stay readable unless told otherwise.
pub const GC_RETENTION: Duration = Duration::from_secs(10 * 60);

impl Default for GcTuning {
    fn default() -> Self {
        Self {
            retention: GC_RETENTION,
            report_interval: Duration::from_secs(2),
            silence_max: Duration::from_secs(10),
            move_interval: Duration::from_secs(10),
            records_interval: Duration::from_secs(60),
        }
    }
}

impl TxnCoordinator {
    /// Takes part in garbage collection until the coordinator is dropped.
    pub fn collect_garbage(&self, tuning: GcTuning) {
        tokio::spawn(run(Arc::downgrade(&self.shared), tuning));
    }

    /// One round, for tests: reports, moves the marks if the system range is led here, and takes over
    /// what they are then.
    ///
    /// # Errors
    /// The system range could not be reached, or the disk failed.
    pub async fn collect_garbage_once(&self, tuning: &GcTuning) -> KvResult<Marks> {
        self.shared.report().await?;
        self.shared.move_marks(tuning, true).await?;
        self.shared.report().await
    }
}

async fn run(shared: Weak<Shared>, tuning: GcTuning) {
    let mut moved = Instant::now();
    let mut records_moved = Instant::now();
    loop {
        tokio::time::sleep(tuning.report_interval).await;
        let Some(shared) = shared.upgrade() else { return };
        if let Err(error) = shared.report().await {
            tracing::debug!(%error, "no report of this node's snapshots");
        }
        if moved.elapsed() < tuning.move_interval {
            continue;
        }
        moved = Instant::now();
        let with_records = records_moved.elapsed() >= tuning.records_interval;
        if with_records {
            records_moved = Instant::now();
        }
        if let Err(error) = shared.move_marks(&tuning, with_records).await {
            tracing::debug!(%error, "what may be dropped stays as it is");
        }
    }
}

impl Shared {
    /// Whether the status record of `txn` may have expired somewhere.
    pub(crate) async fn is_forgotten(&self, txn: TxnId) -> KvResult<bool> {
        Ok(Timestamp(txn.0) < self.report().await?.records)
    }

    /// Says how far back this node reads; drops and refuses from now on what may be dropped.
    async fn report(&self) -> KvResult<Marks> {
        let now = self.oracle.draw().await?;
        self.snapshots.renew(now);
        let oldest = self.snapshots.oldest();
        let node = self.sender.node();
        let marks = self.marks(RangeRequest::Report { node, oldest }).await?;
        self.sender.evaluator().raise_marks(marks).await?;
        Ok(marks)
    }

    async fn marks(&self, request: RangeRequest) -> KvResult<Marks> {
        match self.sender.to_range(SYSTEM_RANGE, request).await? {
            RangeResponse::Marks(marks) => Ok(marks),
            other => Err(KvError::Internal(format!("a report was answered by {other:?}"))),
        }
    }

    /// Only where the system range is led: once in the cluster is enough.
    async fn move_marks(&self, tuning: &GcTuning, with_records: bool) -> KvResult<()> {
        if self.sender.leadership(SYSTEM_RANGE) == Leadership::Follower {
            return Ok(());
        }
        let threshold = self.oracle.draw().await?.minus(tuning.retention);
        let silence_max = tuning.silence_max;
        let wanted = Marks { threshold, records: Timestamp::ZERO };
        let moved = self.marks(RangeRequest::MoveMarks { wanted, silence_max }).await?;
        if !with_records || moved.records >= moved.threshold {
            return Ok(());
        }
        // Transactions that are alive began at or after it: their nodes hold it back.
        self.finish_before(moved.threshold).await?;
        let wanted = Marks { threshold, records: moved.threshold };
        self.marks(RangeRequest::MoveMarks { wanted, silence_max }).await?;
        Ok(())
    }

    /// Finishes what transactions that began before `before` left anywhere.
    async fn finish_before(&self, before: Timestamp) -> KvResult<()> {
        let mut next = Some(Key::MIN);
        let mut attempt = 0;
        while let Some(key) = next {
            let descriptor = self.sender.locate(&key).await?;
            match self.sender.send(&descriptor, RangeRequest::FindIntents { before }).await {
                Ok(_) => {
                    attempt = 0;
                    next = Some(descriptor.span.end.clone()).filter(|end| !end.is_empty());
                }
                Err(RangeError::WrongRange { .. }) => next = Some(key),
                Err(RangeError::Intents(foreign)) => {
                    self.clear_intents(foreign, attempt).await?;
                    attempt += 1;
                    next = Some(key);
                }
                Err(error) => return Err(crate::sender::kv_error(descriptor.range, error)),
            }
        }
        Ok(())
    }
}
