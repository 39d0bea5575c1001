//! A cluster as workloads see it.

use super::Cluster;
use core_domain::KvStore;
use query::SendTuning;
use std::sync::Arc;
use std::time::Duration;
use testkit::workload::Nodes;

/// Faults are short here, so giving up is quick.
pub fn impatient() -> SendTuning {
    SendTuning {
        unavailable_timeout: Duration::from_millis(1500),
        call_timeout: Duration::from_millis(300),
        outcome_timeout: Duration::from_secs(3),
        ..SendTuning::default()
    }
}

impl Cluster {
    /// The nodes that live now, for a workload.
    pub fn clients(&self) -> Nodes {
        let live = self.nodes.iter();
        Nodes::of(live.map(|(id, node)| (*id, node.kv.clone() as Arc<dyn KvStore>)))
    }
}
