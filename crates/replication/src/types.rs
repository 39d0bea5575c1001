//! openraft, with this crate's words. Nothing here is public.

use crate::command::Applied;
use bytes::Bytes;
use core_domain::{NodeId, ReplicaId};
use serde::{Deserialize, Serialize};
use std::fmt;

openraft::declare_raft_types!(
    /// A group member is a *replica*, whose id is never reused, not a node.
    pub TypeConfig:
        D = Proposal,
        R = Applied,
        NodeId = ReplicaId,
        Node = Place,
);

pub type Raft = openraft::Raft<TypeConfig, crate::machine::Machine>;
pub type Entry = openraft::type_config::alias::EntryOf<TypeConfig>;
pub type Vote = openraft::type_config::alias::VoteOf<TypeConfig>;
pub type LogId = openraft::type_config::alias::LogIdOf<TypeConfig>;
pub type LeaderId = openraft::type_config::alias::LeaderIdOf<TypeConfig>;
pub type Membership = openraft::Membership<ReplicaId, Place>;
pub type StoredMembership = openraft::type_config::alias::StoredMembershipOf<TypeConfig>;
pub type SnapshotMeta = openraft::type_config::alias::SnapshotMetaOf<TypeConfig>;
pub type TransferLeaderRequest = openraft::raft::TransferLeaderRequest<TypeConfig>;
pub type Metrics = openraft::RaftMetrics<TypeConfig>;
pub type MetricsWatch = openraft::type_config::alias::WatchReceiverOf<TypeConfig, Metrics>;

/// An encoded [`crate::Command`]: shared, never copied, between log, network and apply.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Proposal(pub Bytes);

impl fmt::Debug for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl fmt::Display for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// Where a replica lives.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Place {
    pub node: NodeId,
    pub address: String,
}

pub fn log_id(term: u64, leader: ReplicaId, index: u64) -> LogId {
    LogId::new(LeaderId { term, node_id: leader }, index)
}
