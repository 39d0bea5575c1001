//! Stores on one in-process network, with a switch for each node.
#![allow(dead_code)] // Each test file uses its part.

use cluster::MemoryNetwork;
use core_domain::{NodeId, RangeId, Span};
use replication::{
    Applied, Command, Deaf, EngineOp, Leadership, LogTrace, Replica, ReplicationError, Store,
    Tuning,
};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use storage::{Cf, CrashEngine, Engine, IterOptions, StorageError};

pub const RANGE: RangeId = RangeId(1);

/// Survives a failing disk, as a crashed process would not need to.
pub struct Survive;

impl LogTrace for Survive {
    fn disk_failed(&self, _: &StorageError) {}
}

pub fn address(node: u64) -> String {
    format!("node{node}:1")
}

pub fn nodes(ids: &[u64]) -> Vec<(NodeId, String)> {
    ids.iter().map(|id| (NodeId(*id), address(*id))).collect()
}

pub fn tuning() -> Tuning {
    Tuning {
        heartbeat_interval: Duration::from_millis(50),
        election_timeout_min: Duration::from_millis(300),
        election_timeout_max: Duration::from_millis(600),
        housekeeping_interval: Duration::from_millis(50),
        ..Tuning::default()
    }
}

pub async fn open(
    net: &Arc<MemoryNetwork>,
    node: u64,
    engine: Arc<dyn Engine>,
    tuning: Tuning,
) -> Arc<Store> {
    let transport = net.node(address(node));
    Store::open(engine, NodeId(node), transport, Arc::new(Deaf), Arc::new(Survive), tuning)
        .await
        .expect("a store opens")
}

/// A range of its own per test, on one node, in memory.
pub async fn single(engine: Arc<dyn Engine>) -> Arc<Store> {
    let store = open(&Arc::default(), 1, engine, tuning()).await;
    found_alone(&store).await;
    store
}

/// One range with one voter here, serving.
pub async fn found_alone(store: &Arc<Store>) {
    store.bootstrap(&nodes(&[1]), &[(RANGE, Span::all())]).await.expect("a range is founded");
    let replica = store.group(RANGE).expect("just founded");
    eventually("leadership", || matches!(replica.leadership(), Leadership::Serving { .. })).await;
}

/// Nodes that can be killed and started again on their disks.
pub struct Cluster {
    pub net: Arc<MemoryNetwork>,
    pub engines: BTreeMap<u64, Arc<CrashEngine>>,
    pub stores: BTreeMap<u64, Arc<Store>>,
    pub tuning: Tuning,
}

impl Cluster {
    pub async fn start(ids: &[u64], founders: &[u64], tuning: Tuning) -> Self {
        let mut cluster =
            Self { net: Arc::default(), engines: BTreeMap::new(), stores: BTreeMap::new(), tuning };
        for id in ids {
            cluster.engines.insert(*id, Arc::new(CrashEngine::new()));
            cluster.restart(*id).await;
        }
        for id in founders {
            cluster.stores[id]
                .bootstrap(&nodes(founders), &[(RANGE, Span::all())])
                .await
                .expect("a range is founded");
        }
        cluster
    }

    pub async fn restart(&mut self, id: u64) {
        self.net.heal(&address(id));
        let store = open(&self.net, id, self.engines[&id].clone(), self.tuning.clone()).await;
        self.stores.insert(id, store);
    }

    /// The node vanishes, and what it had not synced with it.
    pub async fn kill(&mut self, id: u64, seed: u64) {
        self.net.cut_off(&address(id));
        let left = Arc::new(self.engines[&id].crash(seed));
        self.engines.insert(id, left);
        if let Some(store) = self.stores.remove(&id) {
            store.shutdown().await;
        }
    }

    /// The node that serves `range`, once there is one.
    pub async fn leader(&self, range: RangeId) -> (u64, Arc<Replica>) {
        let mut found = None;
        eventually("a leader", || {
            found = self.stores.iter().find_map(|(id, store)| {
                let replica = store.group(range)?;
                let serves = matches!(replica.leadership(), Leadership::Serving { .. });
                serves.then_some((*id, replica))
            });
            found.is_some()
        })
        .await;
        found.expect("just seen")
    }

    /// Writes through whoever leads, trying again as a client would.
    pub async fn put(&self, range: RangeId, key: &str, value: &str) {
        for _ in 0..100 {
            let (_, leader) = self.leader(range).await;
            match put(&leader, key, value).await {
                Ok(Applied::Ok) => return,
                Ok(Applied::StaleGeneration { .. } | Applied::StaleTerm) => {}
                Err(error) => tracing::debug!(%error, "put again"),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{key} cannot be written");
    }
}

/// A raw engine key: replication does not look inside.
pub fn engine_key(key: &str) -> Vec<u8> {
    storage::keyspace::version_key(key.as_bytes(), core_domain::Timestamp(1))
}

pub async fn put(replica: &Replica, key: &str, value: &str) -> Result<Applied, ReplicationError> {
    let op = EngineOp::put(Cf::Data, engine_key(key), value.as_bytes().to_vec());
    let generation = replica.descriptor().generation;
    replica.propose(&Command::write(replica.range(), generation, 0, vec![op])).await
}

pub fn get(engine: &dyn Engine, key: &str) -> Option<String> {
    let value = engine.get(Cf::Data, &engine_key(key)).expect("the engine answers")?;
    Some(String::from_utf8(value.to_vec()).expect("what was put"))
}

/// Every replicated key and value.
pub fn contents(engine: &dyn Engine) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut iter = engine.iter(Cf::Data, IterOptions::default());
    iter.seek_to_first();
    let mut found = Vec::new();
    while iter.valid() {
        found.push((iter.key().to_vec(), iter.value().to_vec()));
        iter.next();
    }
    found
}

pub async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(20), "{what} did not come about");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
