//! Nodes with ranges and transactions in one process, on a network in memory.
#![allow(dead_code)] // Each test file uses its part.

pub mod faults;
pub mod nodes;

use cluster::{MemoryNetwork, Transport};
use core_domain::{
    Key, KvResult, KvStore, KvTransaction, LockMode, LockedValue, NodeId, RangeId, Span,
    SystemClock, TxnOptions, Value, WaitPolicy,
};
use query::{SendTuning, TxnCoordinator};
use replication::evaluate::{Evaluator, Group, RangeError, RangeRequest, RangeResponse};
use replication::{LogTrace, SYSTEM_RANGE, Store, Tuning};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use storage::{CrashEngine, Engine, StorageError};

pub const DATA_RANGE: RangeId = RangeId(2);
pub const WAIT: WaitPolicy = WaitPolicy::Wait(None);

/// A killed node's log writer finds its disk gone; the test's process goes on.
struct Survive;

impl LogTrace for Survive {
    fn disk_failed(&self, _: &StorageError) {}
}

pub fn address(node: u64) -> String {
    format!("node{node}:1")
}

pub struct Node {
    pub store: Arc<Store>,
    pub evaluator: Arc<Evaluator>,
    pub kv: Arc<TxnCoordinator>,
}

impl Node {
    async fn start(
        net: &Arc<MemoryNetwork>,
        id: u64,
        engine: Arc<dyn Engine>,
        ids: &[u64],
        sending: SendTuning,
    ) -> Self {
        let wire: Arc<dyn Transport> = net.node(address(id));
        let evaluator = Evaluator::new(engine.clone(), Arc::new(SystemClock::default()));
        let tuning = Tuning {
            heartbeat_interval: Duration::from_millis(50),
            election_timeout_min: Duration::from_millis(300),
            election_timeout_max: Duration::from_millis(600),
            ..Tuning::default()
        };
        let store = Store::open(
            engine,
            NodeId(id),
            wire.clone(),
            evaluator.clone(),
            Arc::new(Survive),
            tuning,
        )
        .await
        .expect("a store opens");
        let members: Vec<(NodeId, String)> =
            ids.iter().map(|id| (NodeId(*id), address(*id))).collect();
        let (net, all) = (net.clone(), members.clone());
        let peers =
            move || all.iter().filter(|(_, address)| !net.is_cut_off(address)).cloned().collect();
        let kv =
            TxnCoordinator::start(store.clone(), evaluator.clone(), wire, Arc::new(peers), sending);
        Self { store, evaluator, kv }
    }
}

/// Nodes that can be killed and started again on what their disks kept.
pub struct Cluster {
    pub net: Arc<MemoryNetwork>,
    pub ids: Vec<u64>,
    pub engines: BTreeMap<u64, Arc<CrashEngine>>,
    pub nodes: BTreeMap<u64, Node>,
    sending: SendTuning,
}

impl Cluster {
    /// A system range and one for all tables, on every node.
    pub async fn start(ids: &[u64]) -> Self {
        Self::start_tuned(ids, SendTuning::default()).await
    }

    pub async fn start_tuned(ids: &[u64], sending: SendTuning) -> Self {
        let mut cluster = Self {
            net: Arc::default(),
            ids: ids.to_vec(),
            engines: BTreeMap::new(),
            nodes: BTreeMap::new(),
            sending,
        };
        for id in ids {
            cluster.engines.insert(*id, Arc::new(CrashEngine::new()));
            cluster.restart(*id).await;
        }
        for node in cluster.nodes.values() {
            bootstrap(&node.store, ids).await;
        }
        cluster.agree().await;
        cluster
    }

    /// Founders campaign side by side. Until all have heard of the winner, it may have to campaign
    /// once more, which would cost it its locks.
    async fn agree(&self) {
        let known = |range: RangeId| {
            let leader = |node: &Node| node.store.group(range)?.leader();
            let mut leaders = self.nodes.values().map(leader);
            let first = leaders.next().flatten();
            first.is_some() && leaders.all(|leader| leader == first)
        };
        for _ in 0..1000 {
            if known(SYSTEM_RANGE) && known(DATA_RANGE) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("the founders agree on no leaders");
    }

    pub async fn restart(&mut self, id: u64) {
        self.net.heal(&address(id));
        let engine = self.engines[&id].clone();
        let node = Node::start(&self.net, id, engine, &self.ids, self.sending.clone()).await;
        self.nodes.insert(id, node);
    }

    /// The node vanishes, and what it had not synced with it.
    pub async fn kill(&mut self, id: u64, seed: u64) {
        self.net.cut_off(&address(id));
        self.engines.insert(id, Arc::new(self.engines[&id].crash(seed)));
        if let Some(node) = self.nodes.remove(&id) {
            node.store.shutdown().await;
        }
    }

    /// The node lives on, alone.
    pub fn net_cut(&self, id: u64) {
        self.net.cut_off(&address(id));
    }

    /// The node that leads `range`, once one does.
    pub async fn leader_of(&self, range: RangeId) -> u64 {
        let leads = |node: &Node| {
            let group = node.store.group(range);
            group.is_some_and(|replica| replica.leadership() != replication::Leadership::Follower)
        };
        for _ in 0..100 {
            if let Some((id, _)) = self.nodes.iter().find(|(_, node)| leads(node)) {
                return *id;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("nobody leads {range}");
    }

    /// The range of a table key.
    pub fn range_of(&self, name: &str) -> RangeId {
        let group = self.nodes.values().find_map(|node| node.store.group_at(&key(name)));
        group.expect("every key has a range").descriptor().range
    }

    /// Makes `to` the leader of `range`.
    pub async fn transfer(&self, range: RangeId, to: u64) {
        for _ in 0..20 {
            let from = self.leader_of(range).await;
            if from == to {
                return;
            }
            let group = self.nodes[&from].store.group(range).expect("it leads");
            // Refused while the heir is behind.
            let _ = group.transfer_to(NodeId(to)).await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{range} did not move to n{to}");
    }

    pub fn kv(&self, id: u64) -> Arc<TxnCoordinator> {
        self.nodes[&id].kv.clone()
    }
}

pub async fn bootstrap(store: &Arc<Store>, ids: &[u64]) {
    let tables = Key::from(vec![core_domain::key::TABLE_PREFIX]);
    let founders: Vec<(NodeId, String)> =
        ids.iter().map(|id| (NodeId(*id), address(*id))).collect();
    let ranges = [
        (SYSTEM_RANGE, Span::new(Key::MIN, tables.clone())),
        (DATA_RANGE, Span::new(tables, Key::MIN)),
    ];
    store.bootstrap(&founders, &ranges).await.expect("ranges are founded");
}

pub fn key(text: &str) -> Key {
    let mut bytes = vec![core_domain::key::TABLE_PREFIX];
    bytes.extend_from_slice(text.as_bytes());
    Key::from(bytes)
}

pub fn value(text: &str) -> Value {
    Value::copy_from_slice(text.as_bytes())
}

pub fn number(value: &Option<Value>) -> i64 {
    value.as_ref().map_or(0, |value| std::str::from_utf8(value).unwrap().parse().unwrap())
}

pub async fn begin(kv: &TxnCoordinator) -> Arc<dyn KvTransaction> {
    let txn = kv.begin(TxnOptions::default()).await.unwrap();
    txn.begin_statement().await.unwrap();
    txn
}

pub async fn put(kv: &TxnCoordinator, rows: &[(&str, &str)]) -> KvResult<()> {
    let txn = kv.begin(TxnOptions::default()).await?;
    txn.begin_statement().await?;
    for (k, v) in rows {
        txn.lock(&[key(k)], LockMode::Exclusive, WAIT).await?;
        txn.put(key(k), value(v))?;
    }
    txn.commit().await.map(|_| ())
}

pub async fn get(kv: &TxnCoordinator, k: &str) -> Option<String> {
    let txn = begin(kv).await;
    let found = txn.get(&key(k), core_domain::ReadAt::Snapshot).await.unwrap();
    found.map(|value| String::from_utf8(value.to_vec()).unwrap())
}

/// Adds to a number under a lock.
pub async fn add(txn: &Arc<dyn KvTransaction>, k: &str, amount: i64) -> KvResult<i64> {
    let mut locked = txn.lock(&[key(k)], LockMode::NoKeyExclusive, WAIT).await?;
    let Some(LockedValue::Locked { value: before, .. }) = locked.pop() else {
        panic!("a waiting lock is granted");
    };
    let after = number(&before) + amount;
    txn.put(key(k), value(&after.to_string()))?;
    Ok(after)
}

/// A request as the first node's replica answers it.
pub async fn execute(
    cluster: &Cluster,
    key: &Key,
    request: RangeRequest,
) -> Result<RangeResponse, RangeError> {
    let node = &cluster.nodes[&1];
    loop {
        let group: Arc<dyn Group> = node.store.group_at(key).expect("a range");
        match node.evaluator.execute(&group, request.clone()).await {
            // It has just been split off.
            Err(RangeError::NotLeader { leader: None, .. }) => {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            answer => return answer,
        }
    }
}
