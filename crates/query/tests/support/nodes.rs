//! A cluster as workloads see it, and where its ranges are led.

use super::Cluster;
use core_domain::{KvStore, RangeId};
use query::SendTuning;
use replication::Leadership;
use std::sync::Arc;
use std::time::{Duration, Instant};
use testkit::workload::Nodes;

/// Faults are short here, so giving up is quick.
pub fn impatient() -> SendTuning {
    SendTuning {
        unavailable_timeout: Duration::from_millis(1500),
        call_timeout: Duration::from_millis(300),
        outcome_timeout: Duration::from_secs(3),
    }
}

impl Cluster {
    /// The nodes that live now, for a workload.
    pub fn clients(&self) -> Nodes {
        let live = self.nodes.iter();
        Nodes::of(live.map(|(id, node)| (*id, node.kv.clone() as Arc<dyn KvStore>)))
    }

    pub fn leader_now(&self, range: RangeId) -> Option<u64> {
        let leads = |node: &super::Node| {
            let replica = node.store.group(range);
            replica
                .is_some_and(|replica| matches!(replica.leadership(), Leadership::Serving { .. }))
        };
        self.nodes.iter().find(|(_, node)| leads(node)).map(|(id, _)| *id)
    }

    /// The node that leads `range`, once one does.
    pub async fn leader(&self, range: RangeId) -> u64 {
        let started = Instant::now();
        loop {
            if let Some(leader) = self.leader_now(range) {
                return leader;
            }
            assert!(started.elapsed() < Duration::from_secs(10), "nobody leads {range}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}
