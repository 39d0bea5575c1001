//! Pairs of which at most one side may be taken, and two transactions that each look at both sides
//! and take one. They wait for each other between looking and taking, so the skew needs no luck.

use super::{Load, Nodes, TXN_TIMEOUT, begin, encode, end, insist, key, lock};
use crate::check::Outcome;
use crate::check::write_skew::Take;
use crate::random::Random;
use core_domain::{
    IsolationLevel, Key, KvResult, KvStore, KvTransaction, ReadAt, ScanOptions, Span,
};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Barrier;
use tokio::task::JoinSet;

/// A partner that failed does not come: not longer than this.
const PARTNER_TIMEOUT: Duration = Duration::from_millis(300);

/// `load.clients` is not used: each round has two.
#[derive(Clone, Copy, Debug)]
pub struct WriteSkew {
    pub load: Load,
    pub isolation: IsolationLevel,
}

/// What was tried, and the pairs at the end.
#[derive(Clone, Debug, Default)]
pub struct Taken {
    pub takes: Vec<Take>,
    pub state: Vec<(u64, [bool; 2])>,
}

impl WriteSkew {
    /// The first sides of all pairs lie before the second ones: a split can part them.
    pub fn key(pair: u64, side: u8) -> Key {
        key(if side == 0 { "skew-a" } else { "skew-b" }, pair)
    }

    pub async fn run(&self, nodes: &Nodes) -> Taken {
        let deadline = Instant::now() + self.load.duration;
        let mut random = Random::new(self.load.seed);
        let mut taken = Taken::default();
        let mut pairs = 0;
        while Instant::now() < deadline {
            taken.takes.extend(self.round(nodes, pairs, &mut random).await);
            pairs += 1;
        }
        for pair in 0..pairs {
            let sides = insist(nodes, |store| sides(store, pair)).await;
            taken.state.push((pair, sides));
        }
        taken
    }

    async fn round(&self, nodes: &Nodes, pair: u64, random: &mut Random) -> Vec<Take> {
        let meeting = Arc::new(Barrier::new(2));
        // By scan, what is missed is a row that was not there: a phantom.
        let by_scan = random.below(2) == 0;
        let mut tasks = JoinSet::new();
        for side in 0..2 {
            let Some(store) = nodes.choose(usize::from(side), random) else { continue };
            let (meeting, isolation) = (meeting.clone(), self.isolation);
            tasks.spawn(async move {
                let taking = take(&store, isolation, pair, side, by_scan, &meeting);
                let outcome = tokio::time::timeout(TXN_TIMEOUT, taking).await;
                let committed = outcome == Ok(Outcome::Committed);
                Take { client: usize::from(side), pair, side, committed }
            });
        }
        tasks.join_all().await
    }
}

async fn take(
    store: &Arc<dyn KvStore>,
    isolation: IsolationLevel,
    pair: u64,
    side: u8,
    by_scan: bool,
    meeting: &Barrier,
) -> Outcome {
    let Ok(txn) = begin(store, isolation).await else { return Outcome::Aborted };
    let done = async {
        let is_free = if by_scan { scan(&txn, pair).await? } else { get(&txn, pair).await? };
        // Without the partner the round shows nothing, which is no harm.
        let _ = tokio::time::timeout(PARTNER_TIMEOUT, meeting.wait()).await;
        if is_free {
            txn.begin_statement().await?;
            let key = WriteSkew::key(pair, side);
            lock(&txn, &key).await?;
            txn.put(key, encode(&[1]))?;
        }
        Ok(())
    };
    let done = done.await;
    end(&txn, &done).await
}

async fn get(txn: &Arc<dyn KvTransaction>, pair: u64) -> KvResult<bool> {
    for side in 0..2 {
        if txn.get(&WriteSkew::key(pair, side), ReadAt::Snapshot).await?.is_some() {
            return Ok(false);
        }
    }
    Ok(true)
}

async fn scan(txn: &Arc<dyn KvTransaction>, pair: u64) -> KvResult<bool> {
    for side in 0..2 {
        let span = Span::point(WriteSkew::key(pair, side));
        if !txn.scan(&span, ScanOptions::default()).await?.rows.is_empty() {
            return Ok(false);
        }
    }
    Ok(true)
}

async fn sides(store: Arc<dyn KvStore>, pair: u64) -> KvResult<[bool; 2]> {
    let txn = begin(&store, IsolationLevel::ReadCommitted).await?;
    let keys = [WriteSkew::key(pair, 0), WriteSkew::key(pair, 1)];
    let values = txn.multi_get(&keys, ReadAt::Snapshot).await?;
    Ok([values[0].is_some(), values[1].is_some()])
}
