//! Nodes: their states, how their data is replicated, and what happens to them.

use crate::id::{NodeId, RangeId};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Where a node is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum NodeState {
    Joining,
    Live,
    Suspect,
    Draining,
    Decommissioned,
    Dead,
}

impl fmt::Display for NodeState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            NodeState::Joining => "joining",
            NodeState::Live => "live",
            NodeState::Suspect => "suspect",
            NodeState::Draining => "draining",
            NodeState::Decommissioned => "decommissioned",
            NodeState::Dead => "dead",
        })
    }
}

/// How a write reaches other replicas before it is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ReplicationMode {
    /// A quorum of the range's voters has it on disk.
    Quorum,
    /// The local hand-off log and some reachable nodes have it on disk; merged later.
    Provisional,
}

/// Something that happened in the cluster, worth telling others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DomainEvent {
    NodeStateChanged { node: NodeId, state: NodeState },
    LeaderChanged { range: RangeId, leader: Option<NodeId> },
    ReplicasChanged { range: RangeId, nodes: Vec<NodeId> },
}
