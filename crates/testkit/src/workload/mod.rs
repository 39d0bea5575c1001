//! Workloads over `KvStore` whose histories the checkers judge.
//!
//! ```text
//!  seed ─▶ clients, each with its own random numbers ─▶ transactions on the nodes that live
//!            │ before the first request, after the last answer: one counter's time
//!            ▼
//!          recorder ─▶ check::…
//! ```
//!
//! ```text
//! list_append.rs  reads, scans and appends of random lists, at any level
//! registers.rs    single writes and reads
//! bank.rs         transfers, and readers of all accounts
//! long_fork.rs    two writers and readers that look at both
//! write_skew.rs   pairs of which each of two transactions takes a side
//! ```
//!
//! A client that is told "certainly not" believes it; one that is told nothing, or stopped, records
//! "unknown". What the workloads do not do: break nodes. The test does, while they run.
//!
//! A seed decides what clients do, not how their steps interleave.

pub mod bank;
pub mod list_append;
pub mod long_fork;
pub mod registers;
pub mod write_skew;

use crate::check::Outcome;
use crate::random::Random;
use core_domain::key::TABLE_PREFIX;
use core_domain::{
    IsolationLevel, Key, KvError, KvResult, KvStore, KvTransaction, LockMode, LockedValue,
    TxnOptions, Value, WaitPolicy,
};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A client gives up on a transaction after this, and does not know how it ended.
const TXN_TIMEOUT: Duration = Duration::from_secs(6);
/// Waits for locks end before deadlocks that nobody detects would stop everything.
const LOCK_TIMEOUT: Duration = Duration::from_millis(500);
/// How long the reading at the end may be refused.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(15);

/// The nodes that clients can reach. Clones share everything.
#[derive(Clone, Default)]
pub struct Nodes {
    live: Arc<Mutex<BTreeMap<u64, Arc<dyn KvStore>>>>,
}

impl Nodes {
    pub fn of(nodes: impl IntoIterator<Item = (u64, Arc<dyn KvStore>)>) -> Self {
        Self { live: Arc::new(Mutex::new(nodes.into_iter().collect())) }
    }

    pub fn set(&self, node: u64, store: Arc<dyn KvStore>) {
        self.live.lock().insert(node, store);
    }

    pub fn remove(&self, node: u64) {
        self.live.lock().remove(&node);
    }

    /// The client's own node, now and then another; whichever lives.
    fn choose(&self, client: usize, random: &mut Random) -> Option<Arc<dyn KvStore>> {
        let live = self.live.lock();
        let turn = if random.below(8) == 0 { random.draw() as usize } else { client };
        let count = live.len().max(1);
        live.values().nth(turn % count).cloned()
    }
}

/// How much is done.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    pub clients: usize,
    pub duration: Duration,
    /// Most transactions of each client: what a checker can look at.
    pub turns_max: usize,
    pub seed: u64,
}

impl Load {
    /// Runs `step` in `clients` tasks until the time is over. `step` is one transaction of a client.
    async fn run<F, Fut>(&self, nodes: &Nodes, step: F)
    where
        F: Fn(Turn) -> Fut + Clone + Send + 'static,
        Fut: Future<Output = Random> + Send + 'static,
    {
        let deadline = Instant::now() + self.duration;
        let (root, turns_max) = (Random::new(self.seed), self.turns_max);
        let mut clients = tokio::task::JoinSet::new();
        for client in 0..self.clients {
            let mut random = root.fork(client as u64 + 1);
            let (nodes, step) = (nodes.clone(), step.clone());
            clients.spawn(async move {
                for _ in 0..turns_max {
                    if Instant::now() >= deadline {
                        break;
                    }
                    let Some(store) = nodes.choose(client, &mut random) else {
                        tokio::time::sleep(Duration::from_millis(20)).await;
                        continue;
                    };
                    random = step(Turn { client, store, random }).await;
                }
            });
        }
        while let Some(ended) = clients.join_next().await {
            if let Err(error) = ended {
                std::panic::resume_unwind(error.into_panic());
            }
        }
    }
}

/// What one transaction of a client is run with.
struct Turn {
    client: usize,
    store: Arc<dyn KvStore>,
    random: Random,
}

fn key(name: &str, number: u64) -> Key {
    let mut bytes = vec![TABLE_PREFIX];
    bytes.extend_from_slice(format!("{name}{number:03}").as_bytes());
    Key::from(bytes)
}

async fn begin(
    store: &Arc<dyn KvStore>,
    isolation: IsolationLevel,
) -> KvResult<Arc<dyn KvTransaction>> {
    let txn = store.begin(TxnOptions { isolation, ..TxnOptions::default() }).await?;
    txn.begin_statement().await?;
    Ok(txn)
}

/// Locks a key to write it; its newest value.
async fn lock(txn: &Arc<dyn KvTransaction>, key: &Key) -> KvResult<Option<Value>> {
    let wait = WaitPolicy::Wait(Some(LOCK_TIMEOUT));
    let mut locked = txn.lock(std::slice::from_ref(key), LockMode::Exclusive, wait).await?;
    match locked.pop() {
        Some(LockedValue::Locked { value, .. }) => Ok(value),
        Some(LockedValue::Skipped) | None => {
            Err(KvError::Internal("a lock that waits was skipped".into()))
        }
    }
}

/// Ends a transaction whose statements ended with `done`; what the client knows then.
async fn end(txn: &Arc<dyn KvTransaction>, done: &KvResult<()>) -> Outcome {
    match done {
        Ok(()) => match txn.commit().await {
            Ok(_) => Outcome::Committed,
            Err(KvError::OutcomeUnknown { .. } | KvError::ShuttingDown) => Outcome::Unknown,
            Err(_) => Outcome::Aborted,
        },
        Err(_) => {
            // Nothing was sent that could take effect; the locks expire if this does not arrive.
            let _ = tokio::time::timeout(LOCK_TIMEOUT, txn.rollback()).await;
            Outcome::Aborted
        }
    }
}

/// Repeats `attempt` on any living node until it succeeds: for the first and the last transaction.
///
/// # Panics
/// If that takes longer than any fault lasts.
async fn insist<T, Fut>(nodes: &Nodes, attempt: impl Fn(Arc<dyn KvStore>) -> Fut) -> T
where
    Fut: Future<Output = KvResult<T>>,
{
    let started = Instant::now();
    let mut random = Random::new(0);
    loop {
        let error = match nodes.choose(random.draw() as usize, &mut random) {
            Some(store) => match tokio::time::timeout(TXN_TIMEOUT, attempt(store)).await {
                Ok(Ok(value)) => return value,
                Ok(Err(error)) => error.to_string(),
                Err(_) => format!("no answer within {TXN_TIMEOUT:?}"),
            },
            None => "no node lives".into(),
        };
        assert!(started.elapsed() < SETTLE_TIMEOUT, "the cluster does not come back: {error}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn encode(numbers: &[u64]) -> Value {
    numbers.iter().flat_map(|number| number.to_be_bytes()).collect::<Vec<u8>>().into()
}

/// # Panics
/// If the bytes are not a list: a value that nobody wrote.
fn decode(value: Option<&Value>) -> Vec<u64> {
    let bytes = value.map(|value| value.as_ref()).unwrap_or_default();
    assert!(bytes.len().is_multiple_of(8), "not a list: {bytes:?}");
    let chunks = bytes.chunks_exact(8);
    chunks.map(|raw| raw.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))).collect()
}
