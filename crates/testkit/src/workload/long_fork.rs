//! Round after round: two keys, a writer for each, and readers that look at both.

use super::{Load, Nodes, TXN_TIMEOUT, begin, encode, end, key, lock};
use crate::check::long_fork::Glance;
use crate::random::Random;
use core_domain::{IsolationLevel, Key, KvResult, KvStore, ReadAt};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// Most that one of a round's tasks waits before it starts, in microseconds.
const DELAY_MAX: u64 = 2_000;

/// `load.clients`: readers of each round.
#[derive(Clone, Copy, Debug)]
pub struct LongFork {
    pub load: Load,
    pub isolation: IsolationLevel,
}

impl LongFork {
    /// The even keys of all rounds lie before the odd ones: a split can part them.
    pub fn key(number: u64) -> Key {
        key(if number.is_multiple_of(2) { "fork-even" } else { "fork-odd" }, number)
    }

    pub async fn run(&self, nodes: &Nodes) -> Vec<Glance> {
        let deadline = Instant::now() + self.load.duration;
        let mut random = Random::new(self.load.seed);
        let mut glances = Vec::new();
        let mut round = 0;
        while Instant::now() < deadline {
            let pair = [2 * round, 2 * round + 1];
            glances.extend(self.round(nodes, pair, &mut random).await);
            round += 1;
        }
        glances
    }

    async fn round(&self, nodes: &Nodes, pair: [u64; 2], random: &mut Random) -> Vec<Glance> {
        let mut tasks = JoinSet::new();
        for task in 0..self.load.clients + 2 {
            let Some(store) = nodes.choose(task, random) else { continue };
            let delay = Duration::from_micros(random.below(DELAY_MAX));
            let isolation = self.isolation;
            let mut order = pair;
            if random.below(2) == 0 {
                order.reverse();
            }
            tasks.spawn(async move {
                tokio::time::sleep(delay).await;
                let whole = async {
                    match pair.get(task) {
                        Some(number) => write(&store, *number).await.map(|()| None),
                        None => look(&store, task, isolation, order).await.map(Some),
                    }
                };
                tokio::time::timeout(TXN_TIMEOUT, whole).await.ok()?.ok()?
            });
        }
        tasks.join_all().await.into_iter().flatten().collect()
    }
}

async fn write(store: &Arc<dyn KvStore>, number: u64) -> KvResult<()> {
    let txn = begin(store, IsolationLevel::ReadCommitted).await?;
    let key = LongFork::key(number);
    let locked = lock(&txn, &key).await;
    let done = locked.and_then(|_| txn.put(key, encode(&[1])));
    end(&txn, &done).await;
    done
}

async fn look(
    store: &Arc<dyn KvStore>,
    client: usize,
    isolation: IsolationLevel,
    order: [u64; 2],
) -> KvResult<Glance> {
    let txn = begin(store, isolation).await?;
    let mut written = BTreeMap::new();
    for number in order {
        txn.begin_statement().await?;
        let found = txn.get(&LongFork::key(number), ReadAt::Snapshot).await?;
        written.insert(number, found.is_some());
    }
    txn.commit().await?;
    Ok(Glance { client, written })
}
